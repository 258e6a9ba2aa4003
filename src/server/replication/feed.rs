//! What goes to a replica's socket: its snapshot's file, then the stream.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::super::Server;
use super::super::client::ClientKey;
use super::Replication;
use crate::config::os_reason;
use crate::replication::{Cursor, Replica, ReplicaState};
use crate::sys::streams;

/// Bytes of a file that are read at a time (Valkey: `PROTO_IOBUF_LEN`, 16 KiB; more saves system calls).
const FILE_CHUNK: usize = 64 * 1024;
/// Bytes that one replica is sent before others have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// How sending to a replica ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// Nothing is left to send.
    All,
    /// The socket takes no more now, or others have their turn.
    Some,
    /// The connection is to be closed.
    Failed,
}

impl Server {
    /// Sends a replica what is due, by `write`, which may write less than it is given.
    pub fn feed_replica(&mut self, key: ClientKey, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> Fed {
        let mut budget = TURN_BYTES;
        let state = self.clients.get(key).and_then(|client| client.replica.as_ref()).map(|one| one.state);
        if state == Some(ReplicaState::SendsSnapshot) {
            match self.send_file_part(key, &mut budget, &mut write) {
                Fed::All => {}
                other => return other,
            }
            if !self.put_online(key) {
                return Fed::Failed;
            }
            self.start_stream(key);
        }
        self.send_stream_part(key, &mut budget, &mut write)
    }

    /// Sends of the snapshot's file; all of it was when that is the result.
    fn send_file_part(
        &mut self,
        key: ClientKey,
        budget: &mut usize,
        write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Fed {
        let mut buffer = [0; FILE_CHUNK];
        let Some(client) = self.clients.get_mut(key) else { return Fed::Failed };
        let Some(replica) = &mut client.replica else { return Fed::Failed };
        let Some(file) = &mut replica.file else { return Fed::Failed };
        while file.sent < file.size {
            if *budget == 0 {
                return Fed::Some;
            }
            let wanted = usize::try_from(file.size - file.sent).unwrap_or(FILE_CHUNK).min(FILE_CHUNK);
            let chunk = match file.file.read_at(&mut buffer[..wanted], file.sent) {
                Ok(0) => {
                    tracing::warn!("Read error sending DB to replica: premature EOF");
                    return Fed::Failed;
                }
                Ok(count) => &buffer[..count],
                Err(error) => {
                    tracing::warn!("Read error sending DB to replica: {}", os_reason(&error));
                    return Fed::Failed;
                }
            };
            match write(chunk) {
                Ok(count) => {
                    file.sent += count as u64;
                    *budget = budget.saturating_sub(count);
                    client.bytes_out += count as u64;
                    self.stats.bytes_out += count as u64;
                    self.replication.bytes_out += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fed::Some,
                Err(error) => {
                    tracing::warn!("Write error sending DB to replica: {}", os_reason(&error));
                    return Fed::Failed;
                }
            }
        }
        if let Some(file) = replica.file.take() {
            self.background.close_later(file.file);
        }
        Fed::All
    }

    fn send_stream_part(
        &mut self,
        key: ClientKey,
        budget: &mut usize,
        write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Fed {
        let Some(client) = self.clients.get_mut(key) else { return Fed::Failed };
        let Some(replica) = client.replica.as_mut().filter(|replica| replica.is_fed()) else {
            return Fed::All;
        };
        let (Some(stream), Some(cursor)) = (self.replication.stream_mut(), &mut replica.cursor) else {
            return Fed::All;
        };
        let mut sent = 0;
        let fed = loop {
            let bytes = stream.next_bytes(cursor);
            if bytes.is_empty() {
                break Fed::All;
            }
            if sent >= *budget {
                break Fed::Some;
            }
            match write(bytes) {
                Ok(count) => {
                    stream.advance(cursor, count);
                    sent += count;
                    self.stats.writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Fed::Some,
                Err(_) => break Fed::Failed,
            }
        };
        // What this replica was the last to need may go.
        stream.trim();
        client.bytes_out += sent as u64;
        self.stats.bytes_out += sent as u64;
        self.replication.bytes_out += sent as u64;
        fed
    }

    /// Sends replicas what their sockets still take, before the process ends.
    pub(in crate::server) fn flush_replicas(&mut self) {
        for key in self.replication.replicas().to_vec() {
            let Some(client) = self.clients.get(key) else { continue };
            let Ok(socket) = streams::duplicate(client.descriptor) else { continue };
            let mut socket = File::from(socket);
            let sent = client.output.is_empty() || socket.write_all(client.output.as_slice()).is_ok();
            while sent && self.feed_replica(key, |bytes| socket.write(bytes)) == Fed::Some {
                // The socket does not block: one that takes no more ends this.
                if !matches!(streams::wait_writable(socket.as_fd(), 0), Ok(true)) {
                    break;
                }
            }
        }
    }

    /// Adds a request of the server's own, such as PING, to the stream.
    pub fn feed_request(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.replication.feed(&request);
    }

    /// Lets replicas know that the connection is alive.
    pub(super) fn feed_ping(&mut self) {
        self.feed_request(&[b"PING"]);
    }

    /// Has the replicas say how far they are.
    pub(super) fn feed_getack(&mut self) {
        self.feed_request(&[b"REPLCONF", b"GETACK", b"*"]);
    }
}

impl Replication {
    /// Bytes of the stream that wait for a replica.
    #[must_use]
    pub fn unsent_bytes(&self, replica: &Replica) -> u64 {
        self.bytes_after(replica.cursor.as_ref())
    }

    /// Bytes of the stream that are kept for the other connection of a replica whose snapshot this client gets.
    #[must_use]
    pub fn bytes_awaited_for(&self, client: u64) -> u64 {
        let awaited = self.awaited_psyncs.iter().find(|awaited| awaited.client == client);
        awaited.map_or(0, |awaited| self.bytes_after(awaited.cursor.as_ref()))
    }

    fn bytes_after(&self, cursor: Option<&Cursor>) -> u64 {
        match (cursor, self.stream()) {
            (Some(cursor), Some(stream)) => stream.bytes_after(cursor),
            _ => 0,
        }
    }
}
