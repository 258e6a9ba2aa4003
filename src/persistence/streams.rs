//! A snapshot that goes to replicas without touching a disk: through a pipe that the parent reads, or straight to their
//! sockets.
//!
//! Its length is not known before it is made, so it stands between two marks: `$EOF:<mark>\r\n` and, behind the last
//! byte, the mark again. A child that writes to a pipe stays until the parent has read all of it and closes `leave`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::{fork, streams};

/// A replica's end of a connection.
#[derive(Debug)]
pub struct Receiver {
    /// A duplicate of its socket. It need not block.
    pub socket: OwnedFd,
    /// What it is sent before the snapshot.
    pub greeting: Vec<u8>,
}

/// How a snapshot reaches replicas.
#[derive(Debug)]
pub enum Streams {
    /// Through a pipe.
    Pipe {
        /// The end that the child writes to.
        pipe: OwnedFd,
        /// The child stays until the other end of this is closed.
        leave: OwnedFd,
        /// What the snapshot stands between.
        mark: [u8; 40],
    },
    /// Straight to sockets.
    Sockets {
        /// They are fed alike. One that fails is left out.
        receivers: Vec<Receiver>,
        /// Milliseconds after which a socket that takes nothing has failed.
        timeout_ms: u32,
        /// What the snapshot stands between.
        mark: [u8; 40],
    },
}

impl Streams {
    /// The way in words, for the log.
    #[must_use]
    pub fn way(&self) -> &'static str {
        match self {
            Self::Pipe { .. } => "pipe through parent process",
            Self::Sockets { .. } => "direct socket to replica",
        }
    }

    /// Whether no parent stands between the child and the replicas.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Self::Sockets { .. })
    }

    /// What the child has to keep open.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Pipe { pipe, leave, .. } => vec![pipe.as_fd(), leave.as_fd()],
            Self::Sockets { receivers, .. } => {
                receivers.iter().map(|receiver| receiver.socket.as_fd()).collect()
            }
        }
    }

    /// The child's sink. The descriptors are duplicated: closing the sink ends the stream.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(&self) -> io::Result<Fanout> {
        match self {
            Self::Pipe { pipe, .. } => {
                let output = File::from(pipe.try_clone()?);
                Ok(Fanout { outputs: vec![output], timeout_ms: u32::MAX, sent: 0 })
            }
            Self::Sockets { receivers, timeout_ms, .. } => {
                let mut outputs = Vec::with_capacity(receivers.len());
                for receiver in receivers {
                    let mut one = Fanout {
                        outputs: vec![receiver.socket.try_clone()?.into()],
                        timeout_ms: *timeout_ms,
                        sent: 0,
                    };
                    if one.write_all(&receiver.greeting).is_ok() {
                        outputs.append(&mut one.outputs);
                    }
                }
                Ok(Fanout { outputs, timeout_ms: *timeout_ms, sent: 0 })
            }
        }
    }

    /// Writes a snapshot between its marks. Gives the bytes written, over all receivers.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub(super) fn write(
        &self,
        mut sink: Fanout,
        write_snapshot: impl FnOnce(Fanout) -> io::Result<Fanout>,
    ) -> io::Result<u64> {
        let (Self::Pipe { mark, .. } | Self::Sockets { mark, .. }) = self;
        sink.write_all(b"$EOF:")?;
        sink.write_all(mark)?;
        sink.write_all(b"\r\n")?;
        let mut sink = write_snapshot(sink)?;
        sink.write_all(mark)?;
        Ok(sink.sent)
    }

    /// Waits until the parent lets the child go. The pipe is closed first: its end is what the parent waits for.
    pub(super) fn await_leave(&self) {
        if let Self::Pipe { pipe, leave, .. } = self {
            fork::close_early(pipe);
            if let Ok(leave) = leave.try_clone() {
                let _ = File::from(leave).read(&mut [0]);
            }
        }
    }
}

/// Writes the same to several outputs. One that fails is left out; without any left, writing fails.
#[derive(Debug)]
pub(super) struct Fanout {
    outputs: Vec<File>,
    timeout_ms: u32,
    /// Bytes written to all of them.
    sent: u64,
}

impl Fanout {
    fn write_to(output: &mut File, mut bytes: &[u8], timeout_ms: u32) -> io::Result<()> {
        while !bytes.is_empty() {
            match output.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !streams::wait_writable(output.as_fd(), timeout_ms)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Write for Fanout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let timeout_ms = self.timeout_ms;
        let mut failure = io::Error::from(io::ErrorKind::NotConnected);
        self.outputs.retain_mut(|output| match Self::write_to(output, bytes, timeout_ms) {
            Ok(()) => true,
            Err(error) => {
                failure = error;
                false
            }
        });
        self.sent += (bytes.len() * self.outputs.len()) as u64;
        if self.outputs.is_empty() { Err(failure) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_output_gets_the_same_between_the_marks_and_one_that_fails_is_left_out() {
        let (first, first_end) = streams::pipe().unwrap();
        let (second, second_end) = streams::pipe().unwrap();
        let (gone, gone_end) = streams::pipe().unwrap();
        drop(gone);
        let receiver = |socket, greeting: &[u8]| Receiver { socket, greeting: greeting.to_vec() };
        let streams = Streams::Sockets {
            receivers: vec![
                receiver(first_end, b"one "),
                receiver(gone_end, b"none"),
                receiver(second_end, b"two "),
            ],
            timeout_ms: 1000,
            mark: [b'm'; 40],
        };
        let sink = streams.open().unwrap();
        assert_eq!(sink.outputs.len(), 2);
        streams
            .write(sink, |mut sink| {
                sink.write_all(b"data")?;
                Ok(sink)
            })
            .unwrap();
        drop(streams);
        let mark = "m".repeat(40);
        for (end, greeting) in [(first, "one"), (second, "two")] {
            let mut text = String::new();
            File::from(end).read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("{greeting} $EOF:{mark}\r\ndata{mark}"));
        }
    }
}
