//! The link to the primary as the server knows it: how far it has come, what is kept to go on after a cut, and what
//! becomes of the data's history when the server changes its role.
//!
//! The work (sockets, the snapshot) is done by a task of its own. Each attempt to connect has a number; what a task with
//! an older number still does is of no effect. While the link is up the primary is a client like any other, with a
//! [`PrimaryStream`] in its record.

mod data;
mod role;

use super::acl::Login;
use super::client::{Client, ClientKey};
use super::command::{TableEntry, flag};
use super::slot_migration::Direction;
use super::{Server, Task};
use crate::keyspace::{Database, ExpiredEntries};
use crate::memory::MemoryUsage;
use crate::persistence::TransferScales;
use crate::replication::{CachedPrimary, PrimaryStream, ReplicationId};
use crate::resp::Reply;
use crate::sys::barrier::JobQueue;

/// Milliseconds between two lines about commands that are applied and cannot be written to disk (Valkey: 10 s).
const UNWRITTEN_LINES_MS: i64 = 10_000;

/// How far the link to the primary has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkState {
    /// There is no primary.
    #[default]
    None,
    /// The next turn of the cron connects.
    Connect,
    /// The connection is being made.
    Connecting,
    /// The two introduce themselves to each other.
    Handshake,
    /// A snapshot is received or loaded.
    Transfer,
    /// The stream is applied as it comes.
    Connected,
}

impl LinkState {
    /// The name that ROLE shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Connect => "connect",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::Transfer => "sync",
            Self::Connected => "connected",
        }
    }

    /// Whether a task is at work that has not finished the synchronization.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Connecting | Self::Handshake | Self::Transfer)
    }
}

/// What happens after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The next attempt begins at once.
    AtOnce,
    /// The cron begins it.
    Later,
}

/// How much of a snapshot has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Its length in bytes; 0 while it is not known (it ends with a mark), -1 before it is announced.
    pub total_bytes: i64,
    /// Bytes received.
    pub read_bytes: i64,
}

/// The link to the primary.
#[derive(Default)]
pub struct PrimaryLink {
    /// How far it has come.
    pub state: LinkState,
    /// The number of the last attempt.
    pub attempt: u64,
    /// The primary's client, while it is connected.
    pub client: Option<ClientKey>,
    /// Where to go on after a cut.
    cached: Option<CachedPrimary>,
    /// Since when it has been down, Unix ms; 0 if it is up, or never was.
    pub(super) down_since_ms: i64,
    /// When something last came from the primary during an attempt, Unix ms.
    pub last_io_ms: i64,
    /// The snapshot that is received.
    pub snapshot: SnapshotProgress,
    /// Bytes of the stream that wait for the snapshot to be loaded (dual channel).
    pub waiting_bytes: usize,
    /// What they and whatever else was received and not used take of memory.
    pub unread_usage: usize,
    /// Most bytes that ever waited so.
    pub waiting_peak: usize,
    /// Bytes of a snapshot that are read from the socket.
    pub transfer_bytes: usize,
    /// Weighs what is on its way between the socket and the keyspace.
    pub transfer: Option<TransferScales>,
    /// The databases of a snapshot that is loaded beside the old data.
    pub aside: Vec<Database>,
    /// The sources of function libraries that were loaded with it.
    pub aside_libraries: Vec<Vec<u8>>,
    /// The history that the primary has announced for its snapshot.
    pub announced: Option<ReplicationId>,
    /// When the log last told of a command that could not be written to disk, Unix ms.
    unwritten_logged_ms: i64,
    /// What starting the helper thread took of memory.
    helper_bytes: usize,
    /// The thread that receives snapshots; there is none before the first one.
    helper: Option<JobQueue>,
}

impl PrimaryLink {
    /// Where to go on after a cut.
    #[must_use]
    pub fn cached(&self) -> Option<CachedPrimary> {
        self.cached
    }

    /// A command of the primary is applied though this server cannot write to its disk.
    pub fn note_unwritten(&mut self, now_ms: i64) {
        if now_ms > self.unwritten_logged_ms + UNWRITTEN_LINES_MS {
            self.unwritten_logged_ms = now_ms;
            tracing::warn!("Replica is applying a command even though it is unable to write to disk.");
        }
    }

    /// Whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == LinkState::Connected
    }
}

impl MemoryUsage for PrimaryLink {
    fn memory_usage(&self) -> usize {
        let transfer = self.transfer.as_ref().map_or(0, MemoryUsage::memory_usage);
        transfer + self.unread_usage + self.transfer_bytes + self.helper_bytes
    }
}

impl Server {
    /// Begins an attempt to connect to the primary.
    pub fn connect_to_primary(&mut self) {
        let link = &mut self.primary_link;
        link.attempt += 1;
        link.state = LinkState::Connecting;
        link.last_io_ms = self.now_ms;
        link.snapshot = SnapshotProgress { total_bytes: -1, read_bytes: 0 };
        tracing::info!("PRIMARY <-> REPLICA sync started");
        self.ask(Task::FollowPrimary);
    }

    /// Whether this is still the attempt that counts.
    #[must_use]
    pub fn is_current_attempt(&self, attempt: u64) -> bool {
        self.primary_link.attempt == attempt && self.primary_link.state.is_under_way()
    }

    /// Ends the attempt that is under way, if one is; says whether one was.
    pub fn cancel_attempt(&mut self, retry: Retry) -> bool {
        if !self.primary_link.state.is_under_way() {
            return false;
        }
        self.primary_link.attempt += 1;
        self.primary_link.state = LinkState::Connect;
        if let (Retry::AtOnce, Some(primary)) = (retry, &self.replication.primary) {
            let host = String::from_utf8_lossy(&primary.host);
            tracing::info!("Reconnecting to PRIMARY {host}:{} after failure", primary.port);
            self.connect_to_primary();
        } else {
            // The task has to hear that it is of no use any more.
            self.ask(Task::FollowPrimary);
        }
        true
    }

    /// Takes over a connection to the primary whose stream continues after `stream.applied`.
    pub fn adopt_primary(&mut self, client: ClientKey, stream: PrimaryStream, database: usize) {
        let now_ms = self.now_ms;
        let Some(record) = self.clients.get_mut(client) else { return };
        record.primary = Some(Box::new(stream));
        record.database = database;
        record.reply_mode = super::client::ReplyMode::Off;
        record.last_interaction_ms = now_ms;
        let link = &mut self.primary_link;
        link.cached = None;
        link.client = Some(client);
        link.state = LinkState::Connected;
        link.down_since_ms = 0;
        self.log_in(client, Login::Superuser, true);
    }

    /// A partial synchronization was granted: gives the stream to go on with. `new_id` is the primary's history, if it
    /// said one.
    pub fn continue_stream(&mut self, new_id: Option<ReplicationId>) -> Option<(PrimaryStream, usize)> {
        tracing::info!("Successful partial resynchronization with primary.");
        let cached = self.primary_link.cached?;
        let mut id = cached.id;
        if let Some(new_id) = new_id
            && new_id != cached.id
        {
            tracing::info!("Primary replication ID changed to {new_id}");
            self.replication.second_id = cached.id;
            self.replication.second_offset = self.replication.offset() + 1;
            self.replication.id = new_id;
            id = new_id;
            // They have to be told.
            self.drop_replicas();
        }
        let size = self.config.repl_backlog_size;
        self.replication.create_stream(size);
        Some((PrimaryStream::new(id, cached.offset), cached.database))
    }

    /// The data is about to become another one than what the replicas of this server follow: they have to begin anew,
    /// and so has this server if the new data does not come.
    pub fn leave_history(&mut self) {
        self.discard_cached_primary();
        self.fail_slot_migrations(Some(Direction::Import), "Full resynchronization occurred");
        self.drop_replicas();
        self.replication.free_stream();
    }

    /// The data is the primary's at `offset`: this server goes on with the primary's history from there.
    pub fn enter_history(&mut self, id: ReplicationId, offset: i64) {
        self.replication.id = id;
        self.replication.set_offset(offset);
        self.replication.clear_second_id();
        let size = self.config.repl_backlog_size;
        self.replication.create_stream(size);
        self.propagation.set_replicas_listen(self.replication.listens());
    }

    /// A request of the primary was executed: its bytes count as applied and go on to this server's own replicas, those
    /// of a transaction when it is over.
    pub fn note_applied(&mut self, client: ClientKey, bytes: &[u8]) {
        let Some(record) = self.clients.get_mut(client) else { return };
        let in_transaction = record.transaction.is_some();
        let Some(stream) = &mut record.primary else { return };
        if in_transaction {
            stream.unfinished.extend_from_slice(bytes);
            return;
        }
        stream.applied += (stream.unfinished.len() + bytes.len()) as i64;
        if !stream.unfinished.is_empty() {
            self.replication.feed_raw(&stream.unfinished);
            stream.unfinished = Vec::new();
        }
        self.replication.feed_raw(bytes);
    }

    /// What a command of a client does with expired entries that it comes across (Valkey:
    /// `getExpirationPolicyWithFlags`).
    #[inline]
    #[must_use]
    pub fn expired_entries(&self, client: ClientKey, entry: &TableEntry) -> ExpiredEntries {
        let imports = self.cluster.as_ref().is_some_and(|cluster| cluster.migrations.imports());
        if self.deletes_what_expired() && !imports {
            return ExpiredEntries::Delete;
        }
        let client = self.clients.get(client);
        if self.deletes_what_expired() {
            // The source says when a key of its slots has expired.
            return match client {
                Some(client) if client.imports_slots() => ExpiredEntries::Find,
                _ => ExpiredEntries::Delete,
            };
        }
        let imports = self.config.import_mode && client.is_some_and(|client| client.import_source);
        if imports || self.persistence.is_loading() || client.is_some_and(Client::is_obeyed) {
            ExpiredEntries::Find
        } else if entry.command.has(flag::WRITE) {
            // This server may be written to: what is in the way has to go.
            ExpiredEntries::Delete
        } else {
            ExpiredEntries::Hide
        }
    }

    /// Whether time alone decides what is expired here: no primary, no log of the past, no import, no pause.
    #[inline]
    fn deletes_what_expired(&self) -> bool {
        let elsewhere =
            self.replication.is_replica() | self.persistence.is_loading() | self.config.import_mode;
        !elsewhere && !self.pauses.any()
    }

    /// The connection to the primary has ended; `stream` and `database` are where it was.
    pub(super) fn primary_lost(&mut self, stream: &PrimaryStream, database: usize) {
        tracing::info!("Connection with primary lost.");
        if !stream.unusable && !stream.before_psync {
            tracing::info!("Caching the disconnected primary state.");
            self.primary_link.cached =
                Some(CachedPrimary { id: stream.id, offset: stream.applied, database });
        }
        let link = &mut self.primary_link;
        link.client = None;
        link.unread_usage = 0;
        if link.state != LinkState::Connected {
            return;
        }
        if link.down_since_ms == 0 {
            link.down_since_ms = self.now_ms;
        }
        let Some(primary) = &self.replication.primary else {
            link.state = LinkState::None;
            return;
        };
        link.state = LinkState::Connect;
        tracing::info!("Reconnecting to PRIMARY {}:{}", String::from_utf8_lossy(&primary.host), primary.port);
        self.connect_to_primary();
    }

    /// Forgets where the stream of the last primary was.
    pub(super) fn discard_cached_primary(&mut self) {
        if self.primary_link.cached.take().is_some() {
            tracing::info!("Discarding previously cached primary state.");
        }
    }

    /// Closes the connections of all replicas: they come back and are told of the new history.
    pub fn drop_replicas(&mut self) {
        for key in self.replication.replicas().to_vec() {
            self.end_replica(key);
            self.clients.close(key, None);
        }
        self.replication.drop_awaited_psyncs();
    }

    /// A replica's connection is about to be closed: it counts as none from here on, and what is kept for it goes.
    pub(super) fn end_replica(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(replica) = client.replica.take() else { return };
        client.output = Reply::new(client.output.protocol());
        let (id, descriptor) = (client.id, client.descriptor);
        self.drop_replica(key, id, descriptor, *replica);
    }

    /// Writes what the primary is to know: how far its stream was applied.
    pub fn write_acknowledgement(&self, client: ClientKey, reply: &mut Reply) {
        let Some(stream) = self.clients.get(client).and_then(|record| record.primary.as_deref()) else {
            return;
        };
        let on_disk = self.offset_on_disk();
        reply.array(if on_disk < 0 { 3 } else { 5 });
        reply.bulk(b"REPLCONF");
        reply.bulk(b"ACK");
        reply.bulk(itoa::Buffer::new().format(stream.applied).as_bytes());
        if on_disk >= 0 {
            reply.bulk(b"FACK");
            reply.bulk(itoa::Buffer::new().format(on_disk).as_bytes());
        }
    }

    /// The database that the primary's stream has selected, connected or cut.
    pub(super) fn stream_database(&self) -> Option<usize> {
        let connected = self.primary_link.client.and_then(|key| self.clients.get(key));
        connected
            .map(|client| client.database)
            .or_else(|| self.primary_link.cached.map(|cached| cached.database))
    }

    /// How much of the primary's stream was applied, while the link is up.
    #[must_use]
    pub fn applied_offset(&self) -> Option<i64> {
        let client = self.primary_link.client.and_then(|key| self.clients.get(key))?;
        client.primary.as_ref().map(|stream| stream.applied)
    }

    /// Tells the primary how far its stream was applied.
    pub fn acknowledge(&mut self) {
        let Some(client) = self.primary_link.client else { return };
        let Some(record) = self.clients.get_mut(client) else { return };
        if record.primary.as_ref().is_none_or(|stream| stream.before_psync) {
            return;
        }
        let mut output = std::mem::take(&mut record.output);
        self.write_acknowledgement(client, &mut output);
        if let Some(record) = self.clients.get_mut(client) {
            record.output = output;
        }
        self.clients.needs_attention(client);
    }

    /// What happens to the link once a second: limits of time, the next attempt, acknowledgements.
    pub fn tend_primary_link(&mut self) {
        let Some(primary) = &self.replication.primary else { return };
        let limit_ms = i64::from(self.config.repl_timeout) * 1000;
        let link = &self.primary_link;
        let silent = self.now_ms - link.last_io_ms > limit_ms;
        match link.state {
            LinkState::Connecting | LinkState::Handshake if silent => {
                tracing::warn!("Timeout connecting to the PRIMARY...");
                self.cancel_attempt(Retry::AtOnce);
            }
            LinkState::Transfer if silent => {
                tracing::warn!(
                    "Timeout receiving bulk data from PRIMARY... If the problem persists try to set the \
                     'repl-timeout' parameter in valkey.conf to a larger value."
                );
                self.cancel_attempt(Retry::AtOnce);
            }
            LinkState::Connect => {
                let host = String::from_utf8_lossy(&primary.host);
                tracing::info!("Connecting to PRIMARY {host}:{}", primary.port);
                self.connect_to_primary();
            }
            LinkState::Connected => {
                let client = link.client.and_then(|key| self.clients.get(key));
                let last_ms = client.map_or(self.now_ms, |client| client.last_interaction_ms);
                if self.now_ms - last_ms > limit_ms {
                    tracing::warn!("PRIMARY timeout: no data nor PING received...");
                    if let Some(key) = self.primary_link.client {
                        self.clients.close(key, None);
                    }
                } else {
                    self.acknowledge();
                }
            }
            _ => {}
        }
    }
}
