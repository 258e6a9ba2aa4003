//! Replication as the process knows it: its role, the history of its data, and the stream that its replicas are fed.
//!
//! A primary counts every byte of its stream. The stream exists once there was a replica (or this server is one), and
//! until `repl-backlog-ttl` has passed without any. What is fed here is written to the replicas' sockets after the
//! batch that fed it. A replica's own record is with its client ([`super::Client::replica`]).

mod acknowledgements;
mod cron;
mod failover;
mod feed;
mod replies;
mod sync;

pub use acknowledgements::ReplicaWait;
pub use failover::{Failover, FailoverState};
pub use feed::Fed;
pub use sync::{replica_address, replica_name};

use std::os::fd::OwnedFd;

use super::client::ClientKey;
use crate::memory::{MemoryUsage, vec_usage};
use crate::replication::{Cursor, Replica, ReplicationId, Stream};

/// Seconds that an awaited PSYNC may take at first (Valkey: `DEFAULT_WAIT_BEFORE_RDB_CLIENT_FREE`).
const PSYNC_GRACE_SECONDS: i64 = 60;

/// The server that this one is a replica of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryAddress {
    /// Name or address.
    pub host: Vec<u8>,
    /// Port.
    pub port: u16,
}

/// A snapshot on its way from the child's pipe to replicas.
#[derive(Debug)]
pub struct Transfer {
    /// Who gets it.
    pub members: Vec<ClientKey>,
    /// The child stays until this is closed.
    hold: Option<OwnedFd>,
}

impl Transfer {
    /// All of the snapshot was read: the child may go.
    pub fn let_child_go(&mut self) {
        self.hold = None;
    }

    fn forget(&mut self, client: ClientKey) -> bool {
        let members = self.members.len();
        self.members.retain(|member| *member != client);
        self.members.len() < members
    }
}

/// A replica that loads its snapshot from a connection of its own: what was written since the snapshot is kept until
/// its main connection asks for it.
#[derive(Debug)]
pub struct AwaitedPsync {
    /// The number of the client that gets the snapshot.
    client: u64,
    cursor: Option<Cursor>,
    /// Nothing was written since the snapshot, nor before it.
    awaits_bytes: bool,
    /// When that client went, Unix ms.
    gone_ms: Option<i64>,
}

/// How often replicas synchronized (INFO stats).
#[derive(Debug, Default, Clone, Copy)]
pub struct SyncCounts {
    /// With a snapshot.
    pub full: u64,
    /// By going on where they were.
    pub partial: u64,
    /// Those that asked for the latter in vain.
    pub partial_refused: u64,
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
    /// A snapshot is to be begun for replicas that wait for one, as soon as the batch is done.
    start_asked: bool,
    /// The snapshot that is passed on from a child's pipe.
    pub transfer: Option<Transfer>,
    awaited_psyncs: Vec<AwaitedPsync>,
    /// Seconds that an awaited PSYNC may take once its snapshot's connection is gone (`DEBUG
    /// DELAY-RDB-CLIENT-FREE-SECONDS`).
    pub psync_grace_seconds: i64,
    /// The snapshot file was made for replicas only (`rdb-del-sync-files`).
    file_for_replicas: bool,
    /// How often replicas synchronized.
    pub syncs: SyncCounts,
    /// Bytes sent to replicas.
    pub bytes_out: u64,
    /// Clients in WAIT or WAITAOF.
    waiting: Vec<ClientKey>,
    /// The replicas are to be asked how far they are, as soon as the batch is done.
    asks_acknowledgement: bool,
    /// A replica has acknowledged something since clients in WAIT were looked at.
    acknowledged: bool,
    /// What was on this server's own disk then.
    seen_on_disk: i64,
    /// Replicas that are online and do not lag (`min-replicas-max-lag`).
    good_replicas: usize,
    /// The failover that is under way.
    pub failover: Option<Failover>,
    cron_due_ms: i64,
    cron_turns: u64,
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
            start_asked: false,
            transfer: None,
            awaited_psyncs: Vec::new(),
            psync_grace_seconds: PSYNC_GRACE_SECONDS,
            file_for_replicas: false,
            syncs: SyncCounts::default(),
            bytes_out: 0,
            waiting: Vec::new(),
            asks_acknowledgement: false,
            acknowledged: false,
            seen_on_disk: -1,
            good_replicas: 0,
            failover: None,
            cron_due_ms: 0,
            cron_turns: 0,
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
        if self.fed {
            for awaited in self.awaited_psyncs.iter_mut().filter(|awaited| awaited.awaits_bytes) {
                awaited.awaits_bytes = false;
                tracing::trace!(
                    "Dual channel replication: Attach replica rdb client {} to repl buf block",
                    awaited.client
                );
            }
        }
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

    /// Clears what CONFIG RESETSTAT clears.
    pub fn reset_statistics(&mut self) {
        self.syncs = SyncCounts::default();
        self.bytes_out = 0;
    }

    /// Replicas whose snapshot has a connection of its own and whose main connection has not asked for the stream yet.
    #[must_use]
    pub fn awaited_psyncs(&self) -> usize {
        self.awaited_psyncs.len()
    }

    /// Whether the stream is kept for a replica whose snapshot this client gets.
    #[must_use]
    pub fn awaits_psync_for(&self, client: u64) -> bool {
        self.awaited_psyncs.iter().any(|awaited| awaited.client == client)
    }

    /// The PSYNC that was awaited has come, or will not come any more; says whether it was awaited.
    fn end_psync_wait(&mut self, client: u64) -> bool {
        let Some(index) = self.awaited_psyncs.iter().position(|awaited| awaited.client == client) else {
            return false;
        };
        let awaited = self.awaited_psyncs.swap_remove(index);
        self.release(awaited.cursor);
        true
    }

    /// Too much would have to be kept for an awaited PSYNC.
    pub fn give_up_psync(&mut self, client: u64) {
        if !self.awaited_psyncs.is_empty() {
            self.end_psync_wait(client);
        }
    }

    pub(super) fn drop_awaited_psyncs(&mut self) {
        for awaited in std::mem::take(&mut self.awaited_psyncs) {
            self.release(awaited.cursor);
        }
    }

    /// A client that gets a snapshot for another connection is gone.
    fn note_gone(&mut self, client: u64, now_ms: i64) {
        if let Some(awaited) = self.awaited_psyncs.iter_mut().find(|awaited| awaited.client == client) {
            awaited.gone_ms.get_or_insert(now_ms);
        }
    }

    /// Takes a place in the stream back.
    pub fn release(&mut self, cursor: Option<Cursor>) {
        if let (Some(stream), Some(cursor)) = (&mut self.stream, cursor) {
            stream.release(cursor);
        }
    }
}

impl Replication {
    /// Bytes of the stream that are held for replicas only, beyond what the backlog may hold; without replicas all of it is
    /// the backlog's.
    #[must_use]
    pub fn usage_beyond_backlog(&self) -> usize {
        if self.replicas.is_empty() && self.awaited_psyncs.is_empty() {
            return 0;
        }
        self.stream.as_ref().map_or(0, Stream::usage_beyond_backlog)
    }

    /// Bytes of the backlog, and of the lists that belong to replication.
    #[must_use]
    pub fn backlog_usage(&self) -> usize {
        self.memory_usage() - self.usage_beyond_backlog()
    }
}

impl MemoryUsage for Replication {
    fn memory_usage(&self) -> usize {
        let target = self.failover.as_ref().and_then(|failover| failover.target.as_ref());
        let target = target.map_or(0, |target| vec_usage(&target.host));
        let host = self.primary.as_ref().map_or(0, |primary| vec_usage(&primary.host));
        let members = self.transfer.as_ref().map_or(0, |transfer| vec_usage(&transfer.members));
        self.stream.as_ref().map_or(0, MemoryUsage::memory_usage)
            + vec_usage(&self.replicas)
            + vec_usage(&self.awaited_psyncs)
            + vec_usage(&self.waiting)
            + members
            + target
            + host
    }
}
