//! Replication as the process knows it: its role, the history of its data, and the stream that its replicas are fed.
//!
//! A primary counts every byte of its stream. The stream exists once there was a replica (or this server is one), and
//! until `repl-backlog-ttl` has passed without any. What is fed here is written to the replicas' sockets after the
//! batch that fed it. A replica's own record is with its client ([`super::Client::replica`]).

use super::client::ClientKey;
use crate::memory::{MemoryUsage, vec_usage};
use crate::replication::{Cursor, Replica, ReplicationId, Stream};

/// The server that this one is a replica of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryAddress {
    /// Name or address.
    pub host: Vec<u8>,
    /// Port.
    pub port: u16,
}

/// The state of replication.
#[derive(Debug)]
pub struct Replication {
    /// The history of the data.
    pub id: ReplicationId,
    /// The history before that, which is the same up to `second_offset`.
    pub second_id: ReplicationId,
    /// The first offset at which a replica of the history before may not go on; -1 for none.
    pub second_offset: i64,
    /// Whom this server replicates; `None` for a primary.
    pub primary: Option<PrimaryAddress>,
    /// Offset of the last byte of the stream, while there is no stream to say so.
    offset: i64,
    stream: Option<Stream>,
    /// Those who have asked for data, in order.
    replicas: Vec<ClientKey>,
    /// Since when there have been no replicas, Unix ms.
    pub(super) no_replicas_since_ms: i64,
    /// Something was fed since [`Replication::take_fed`].
    fed: bool,
}

impl Default for Replication {
    fn default() -> Self {
        Self {
            id: ReplicationId::random(),
            second_id: ReplicationId::NONE,
            second_offset: -1,
            primary: None,
            offset: 0,
            stream: None,
            replicas: Vec::new(),
            no_replicas_since_ms: 0,
            fed: false,
        }
    }
}

impl Replication {
    /// Whether this server replicates another one.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.primary.is_some()
    }

    /// Whether what this server's clients write has to be fed: it is a primary with a stream.
    #[inline]
    #[must_use]
    pub fn listens(&self) -> bool {
        self.stream.is_some() && self.primary.is_none()
    }

    /// Whether there is a stream: a backlog, and perhaps replicas that are fed.
    #[must_use]
    pub fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Adds effects of this server's own commands to the stream. A replica's stream is its primary's: nothing is added.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.listens() {
            self.feed_raw(bytes);
        }
    }

    /// Adds bytes to the stream as they came from the primary, or counts them if there is no stream.
    pub fn feed_raw(&mut self, bytes: &[u8]) {
        match &mut self.stream {
            Some(stream) => {
                stream.feed(bytes);
                self.fed = true;
            }
            None => self.offset += bytes.len() as i64,
        }
    }

    /// Whether something was fed since this was asked last: the replicas' sockets have to be looked at.
    pub fn take_fed(&mut self) -> bool {
        std::mem::take(&mut self.fed)
    }

    /// Whether something was fed that [`Replication::take_fed`] has not told yet.
    #[must_use]
    pub fn has_fed(&self) -> bool {
        self.fed
    }

    /// Offset of the last byte of the history (`master_repl_offset`).
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.stream.as_ref().map_or(self.offset, Stream::end)
    }

    /// Counts one more effect though nobody is fed, so that WAITAOF can tell writes apart (Valkey does so).
    pub fn count_unfed(&mut self) {
        if self.stream.is_none() {
            self.offset += 1;
        }
    }

    /// Goes on from another offset. The stream, if there is one, begins anew there; no replica may be attached.
    pub fn set_offset(&mut self, offset: i64) {
        debug_assert!(self.stream.is_none() || self.replicas.is_empty());
        self.offset = offset;
        if let Some(stream) = &mut self.stream {
            *stream = Stream::new(offset, stream.size());
        }
    }

    /// Begins to keep a stream of `size` bytes from here on, unless there is one.
    pub fn create_stream(&mut self, size: u64) {
        if self.stream.is_none() {
            self.stream = Some(Stream::new(self.offset, size));
        }
    }

    /// Gives up the stream. No replica may be attached.
    pub fn free_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.offset = stream.end();
        }
    }

    /// The stream, if there is one.
    #[must_use]
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// The stream, to read from or to change.
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut()
    }

    /// Begins a new history, of which nobody can have a part.
    pub fn change_id(&mut self) {
        self.id = ReplicationId::random();
    }

    /// The time without replicas counts from now on: a server that has become a primary gives them time to come.
    pub fn begin_time_without_replicas(&mut self, now_ms: i64) {
        self.no_replicas_since_ms = now_ms;
    }

    /// Forgets the history before.
    pub fn clear_second_id(&mut self) {
        self.second_id = ReplicationId::NONE;
        self.second_offset = -1;
    }

    /// Begins a new history that goes on from the one before: those who followed that may go on with this one. For a
    /// replica that becomes a primary.
    pub fn shift_id(&mut self) {
        self.second_id = self.id;
        self.second_offset = self.offset() + 1;
        self.change_id();
        tracing::info!(
            "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}",
            self.second_id,
            self.second_offset,
            self.id
        );
    }

    /// Who has asked for data, in order.
    #[must_use]
    pub fn replicas(&self) -> &[ClientKey] {
        &self.replicas
    }

    /// Counts a client among the replicas.
    pub fn attach(&mut self, client: ClientKey) {
        if !self.replicas.contains(&client) {
            self.replicas.push(client);
        }
    }

    /// Forgets a replica: its client is gone, or it is none any more. What only it needed of the stream may go.
    pub fn detach(&mut self, client: ClientKey, replica: &mut Replica, now_ms: i64) {
        self.release(replica.cursor.take());
        let attached = self.replicas.len();
        self.replicas.retain(|other| *other != client);
        if self.replicas.is_empty() && attached > 0 {
            self.no_replicas_since_ms = now_ms;
        }
    }

    /// Takes a place in the stream back.
    pub fn release(&mut self, cursor: Option<Cursor>) {
        if let (Some(stream), Some(cursor)) = (&mut self.stream, cursor) {
            stream.release(cursor);
        }
    }
}

impl MemoryUsage for Replication {
    fn memory_usage(&self) -> usize {
        let host = self.primary.as_ref().map_or(0, |primary| vec_usage(&primary.host));
        self.stream.as_ref().map_or(0, MemoryUsage::memory_usage) + vec_usage(&self.replicas) + host
    }
}
