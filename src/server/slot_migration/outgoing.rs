//! What a migration has yet to send: blocks of bounded size, so that neither growing nor sending ever moves much memory.

use std::collections::VecDeque;

use crate::memory::{MemoryUsage, usable_size, vec_usage};

/// The room of a block.
const BLOCK: usize = 16 * 1024;
/// The list of blocks keeps room for so many.
const LIST_KEPT: usize = 64;

/// Bytes that wait, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    blocks: VecDeque<Vec<u8>>,
    /// Bytes of the first block that were sent.
    sent: usize,
    /// Bytes that wait.
    len: usize,
}

impl Outgoing {
    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let room = self.blocks.back().map_or(0, |block| block.capacity() - block.len());
            if room == 0 {
                self.blocks.push_back(Vec::with_capacity(BLOCK));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(block) = self.blocks.back_mut() {
                block.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Adds a request: an array of bulk strings.
    pub fn push_request(&mut self, words: &[&[u8]]) {
        self.push(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.push(format!("${}\r\n", word.len()).as_bytes());
            self.push(word);
            self.push(b"\r\n");
        }
    }

    /// What comes next; empty when nothing waits.
    #[must_use]
    pub fn front(&self) -> &[u8] {
        self.blocks.front().and_then(|block| block.get(self.sent..)).unwrap_or_default()
    }

    /// So many bytes of [`Self::front`] were sent.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.front().len());
        self.len -= count;
        self.sent += count;
        if self.front().is_empty() {
            self.blocks.pop_front();
            self.sent = 0;
        }
        if self.blocks.is_empty() {
            self.blocks.shrink_to(LIST_KEPT);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl MemoryUsage for Outgoing {
    fn memory_usage(&self) -> usize {
        usable_size(self.blocks.capacity() * size_of::<Vec<u8>>())
            + self.blocks.iter().map(vec_usage).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut outgoing = Outgoing::default();
        outgoing.push_request(&[b"CLUSTER", b"SYNCSLOTS", b"ACK"]);
        let mut expected = b"*3\r\n$7\r\nCLUSTER\r\n$9\r\nSYNCSLOTS\r\n$3\r\nACK\r\n".to_vec();
        for round in 0..20_u8 {
            let piece = vec![round; 1 + usize::from(round) * 3_001];
            outgoing.push(&piece);
            expected.extend_from_slice(&piece);
        }
        assert_eq!(outgoing.len(), expected.len());
        assert!(outgoing.memory_usage() >= expected.len());
        let mut sent = Vec::new();
        while !outgoing.is_empty() {
            let now = outgoing.front().len().min(7_777);
            sent.extend_from_slice(outgoing.front().get(..now).unwrap_or_default());
            outgoing.advance(now);
        }
        assert_eq!(sent, expected);
        outgoing.clear();
        assert_eq!(outgoing.memory_usage(), 0);
    }
}
