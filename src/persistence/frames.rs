//! The messages a forked child sends over its pipe, and their decoder in the parent.
//!
//! ```text
//! | payload length u32 LE | kind u8 | payload: numbers, u64 LE | CRC-64/XZ of all before, u64 LE |
//! ```
//! A frame that a killed child left half written never checks out; what does not check out fails the profile and ends
//! the reading, not the server. A frame is shorter than `PIPE_BUF`, so the pipe takes it whole.

use std::io::{self, Write};

use crc64fast::Digest;

use crate::memory::{MemoryUsage, vec_usage};
use crate::profile::Census;

const HEADER: usize = 5;
const SEAL: usize = 8;
/// No frame is longer; a larger length is damage.
const LONGEST_PAYLOAD: usize = 1024;

const PROGRESS: u8 = 1;
const CENSUS: u8 = 2;
const DONE: u8 = 3;
const SENT: u8 = 4;

/// A message of the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// How far it has come.
    Progress {
        /// Entries written.
        keys: u64,
        /// Bytes that copying on write has cost so far.
        cow_bytes: u64,
    },
    /// What it has weighed: all of it, once.
    Census(Box<Census>),
    /// Bytes it has written to replicas.
    Sent(u64),
    /// The file is in its place; nothing follows.
    Done {
        /// Bytes that copying on write has cost in the end.
        cow_bytes: u64,
        /// The most there has been.
        peak_cow_bytes: u64,
    },
}

/// A frame that does not check out; nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

impl Frame {
    fn numbers(&self) -> (u8, Vec<u64>) {
        match self {
            Self::Progress { keys, cow_bytes } => (PROGRESS, vec![*keys, *cow_bytes]),
            Self::Census(census) => (CENSUS, census.to_numbers().to_vec()),
            Self::Sent(bytes) => (SENT, vec![*bytes]),
            Self::Done { cow_bytes, peak_cow_bytes } => (DONE, vec![*cow_bytes, *peak_cow_bytes]),
        }
    }

    /// Sends the frame in one write.
    ///
    /// # Errors
    /// The pipe's: the parent is gone.
    pub(super) fn send(&self, pipe: &mut impl Write) -> io::Result<()> {
        let (kind, numbers) = self.numbers();
        let mut bytes = Vec::with_capacity(HEADER + numbers.len() * 8 + SEAL);
        bytes.extend_from_slice(&((numbers.len() * 8) as u32).to_le_bytes());
        bytes.push(kind);
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
        pipe.write_all(&bytes)
    }

    fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        let (chunks, rest) = payload.as_chunks::<8>();
        let numbers: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        match (kind, numbers.as_slice()) {
            _ if !rest.is_empty() => None,
            (PROGRESS, &[keys, cow_bytes]) => Some(Self::Progress { keys, cow_bytes }),
            (CENSUS, numbers) => Census::from_numbers(numbers).map(|census| Self::Census(Box::new(census))),
            (SENT, &[bytes]) => Some(Self::Sent(bytes)),
            (DONE, &[cow_bytes, peak_cow_bytes]) => Some(Self::Done { cow_bytes, peak_cow_bytes }),
            _ => None,
        }
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut digest = Digest::new();
    digest.write(bytes);
    digest.sum64()
}

/// Makes the choice of CPU instructions for the checksum now; to be called before the first fork.
pub fn warm_up() {
    std::hint::black_box(checksum(&[0x5a; 1024]));
}

/// Puts frames together from what the pipe delivers.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Takes in bytes of the pipe.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Damaged`], after which nothing more can be had.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, Damaged> {
        let Some((&header, _)) = self.pending.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, kind] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > LONGEST_PAYLOAD {
            return Err(Damaged);
        }
        let Some((whole, _)) = self.pending.split_at_checked(HEADER + length + SEAL) else { return Ok(None) };
        let (summed, seal) = whole.split_last_chunk::<SEAL>().ok_or(Damaged)?;
        if checksum(summed) != u64::from_le_bytes(*seal) {
            return Err(Damaged);
        }
        let frame = Frame::decode(kind, summed.get(HEADER..).unwrap_or_default()).ok_or(Damaged)?;
        self.pending.drain(..HEADER + length + SEAL);
        Ok(Some(frame))
    }
}

impl MemoryUsage for Decoder {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.pending)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn sample() -> Vec<Frame> {
        let census = Census::from_numbers(&(0..Census::NUMBERS as u64).collect::<Vec<_>>()).unwrap();
        vec![
            Frame::Progress { keys: 7, cow_bytes: 8 },
            Frame::Census(Box::new(census)),
            Frame::Done { cow_bytes: 1 << 40, peak_cow_bytes: u64::MAX },
        ]
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in sample() {
            frame.send(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn frames_survive_any_fragmentation() {
        let bytes = encoded();
        for step in [1, 3, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, sample());
        }
    }

    #[test]
    fn a_changed_byte_never_passes() {
        let bytes = encoded();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x41;
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            let mut seen = Vec::new();
            while let Ok(Some(frame)) = decoder.next_frame() {
                seen.push(frame);
            }
            assert!(seen.len() < 3, "byte {at}");
            assert_eq!(seen, sample()[..seen.len()]);
        }
    }

    #[test]
    fn a_frame_fits_the_pipe_whole() {
        let mut bytes = Vec::new();
        sample()[1].send(&mut bytes).unwrap();
        assert!(bytes.len() < 4096);
    }
}
