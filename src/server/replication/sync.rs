//! How a replica gets its data: going on where it was, or a snapshot and what was written since.
//!
//! A snapshot is never begun inside of the command that asks for one: its reply names the offset of the fork, and goes
//! out when the batch is done ([`Server::start_replica_snapshot`]).

use std::fs::File;
use std::os::fd::{AsFd, RawFd};

use super::super::client::{Client, ClientKey};
use super::super::{Server, Task};
use super::{AwaitedPsync, Transfer};
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::persistence::{EndedSnapshot, History, Receiver, Streams, TransferPlan};
use crate::rdb::format;
use crate::replication::{Capabilities, Replica, ReplicaState, ReplicationId, SnapshotFile, SnapshotFilter};
use crate::resp::Reply;
use crate::sys::{signals, streams};

/// The snapshot format of replicas that do not say their version (7.2 and before).
const OLD_RDB_VERSION: u16 = 11;
/// The least that a backlog keeps (Valkey: `CONFIG_REPL_BACKLOG_MIN_SIZE`).
const BACKLOG_MIN: u64 = 16 * 1024;
/// The first version that reads today's format.
const FIRST_WITH_CURRENT_RDB: u32 = 9 << 16;

/// The name a replica goes by in the log: its address and port as it said them, else what is known.
#[must_use]
pub fn replica_name(client: &Client) -> String {
    let Some(replica) = &client.replica else { return format!("client id #{}", client.id) };
    let address = replica_address(client, replica);
    match replica.port {
        0 => format!("{address}:<unknown-replica-port>"),
        port if address.contains(':') => format!("[{address}]:{port}"),
        port => format!("{address}:{port}"),
    }
}

/// The address of a replica: as it said, else its connection's.
#[must_use]
pub fn replica_address(client: &Client, replica: &Replica) -> String {
    if !replica.address.is_empty() {
        return String::from_utf8_lossy(&replica.address).into_owned();
    }
    let host = client.address.rsplit_once(':').map_or(client.address.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// The format that a replica is sent.
fn rdb_version(replica: &Replica) -> u16 {
    // A snapshot file serves others too, so it is always written in the newest format.
    if !replica.capabilities.eof || replica.version >= FIRST_WITH_CURRENT_RDB {
        format::VERSION
    } else {
        OLD_RDB_VERSION
    }
}

/// What the replicas of one snapshot have in common.
#[derive(Debug, Clone, Copy)]
struct Demand {
    capabilities: Capabilities,
    filter: SnapshotFilter,
    version: u16,
}

impl Demand {
    fn of(replica: &Replica) -> Self {
        let Replica { capabilities, filter, .. } = *replica;
        Self { capabilities, filter, version: rdb_version(replica) }
    }

    fn is_met_by(&self, replica: &Replica) -> bool {
        replica.filter == self.filter && rdb_version(replica) == self.version
    }
}

impl Server {
    fn replica(&self, key: ClientKey) -> Option<&Replica> {
        self.clients.get(key)?.replica.as_deref()
    }

    fn replica_mut(&mut self, key: ClientKey) -> Option<&mut Replica> {
        self.clients.get_mut(key)?.replica.as_deref_mut()
    }

    fn name_of(&self, key: ClientKey) -> String {
        self.clients.get(key).map(replica_name).unwrap_or_default()
    }

    /// The replicas in a state.
    fn replicas_in(&self, state: ReplicaState) -> Vec<ClientKey> {
        let is_in = |key: &ClientKey| self.replica(*key).is_some_and(|replica| replica.state == state);
        self.replication.replicas().iter().copied().filter(is_in).collect()
    }

    /// Where the data stands in its history, for snapshots; `None` while it is part of none.
    pub(in crate::server) fn history(&self) -> Option<History> {
        let replication = &self.replication;
        let stream_database = if replication.is_replica() {
            self.stream_database()?
        } else if replication.has_stream() {
            self.propagation.replicas.database().unwrap_or(0)
        } else {
            return None;
        };
        Some(History { id: replication.id.bytes(), offset: replication.offset(), stream_database })
    }

    /// Goes on with a replica where it was, if what it lacks is still there. Gives what it is told.
    pub fn try_partial_sync(&mut self, key: ClientKey, id: &[u8], offset: i64) -> Option<Vec<u8>> {
        let cursor = self.cursor_for(key, id, offset)?;
        let waiting = self.replica(key).map_or(0, |replica| replica.snapshot_client);
        let loads_elsewhere = self.replication.end_psync_wait(waiting);
        let now_ms = self.now_ms;
        let pending = self.replication.stream().map_or(0, |stream| stream.bytes_after(&cursor));
        self.replication.attach(key);
        let replica = self.replica_mut(key)?;
        replica.state = if loads_elsewhere { ReplicaState::LoadsElsewhere } else { ReplicaState::Online };
        replica.acknowledged_ms = now_ms;
        replica.starts_on_acknowledgement = false;
        replica.cursor = Some(cursor);
        let understands_id = replica.capabilities.psync2;
        tracing::info!(
            "Partial resynchronization request from {} accepted. Sending {pending} bytes of backlog starting from \
             offset {offset}.",
            self.name_of(key)
        );
        self.refresh_good_replicas();
        Some(if understands_id {
            format!("+CONTINUE {}\r\n", self.replication.id).into_bytes()
        } else {
            b"+CONTINUE\r\n".to_vec()
        })
    }

    /// The place that a replica asks for, unless it is gone or in another history; the log says which.
    fn cursor_for(&mut self, key: ClientKey, id: &[u8], offset: i64) -> Option<crate::replication::Cursor> {
        let name = self.name_of(key);
        let replication = &mut self.replication;
        let is_first = id.eq_ignore_ascii_case(replication.id.as_bytes());
        let is_second = id.eq_ignore_ascii_case(replication.second_id.as_bytes());
        let shown = String::from_utf8_lossy(id);
        if !(is_first || is_second && offset <= replication.second_offset) {
            if id.first() == Some(&b'?') {
                tracing::info!("Full resync requested by replica {name}");
            } else if is_second {
                tracing::info!(
                    "Partial resynchronization not accepted: Requested offset for second ID was {offset}, but I can \
                     reply up to {}",
                    replication.second_offset
                );
            } else {
                tracing::info!(
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{shown}', my \
                     replication IDs are '{}' and '{}')",
                    replication.id,
                    replication.second_id
                );
            }
            return None;
        }
        let end = replication.offset();
        let Some(stream) = replication.stream_mut() else {
            tracing::info!(
                "Unable to partial resync with replica {name} for lack of backlog (Replica request was: \
                 {shown}:{offset})."
            );
            return None;
        };
        if let Some(cursor) = stream.cursor_at(offset) {
            return Some(cursor);
        }
        let first = stream.first_offset();
        tracing::info!(
            "Unable to partial resync with replica {name} for lack of backlog (Replica request was {shown}:{offset}, \
             and I can only reply with the range [{first}, {}]).",
            first + stream.len()
        );
        if offset > end {
            tracing::warn!(
                "Warning: replica {name} tried to PSYNC with an offset ({offset}) that is greater than the primary \
                 replication offset ({end})"
            );
        }
        None
    }

    /// A replica begins to wait for a snapshot. Gives what it is told now, which may be nothing.
    pub fn begin_full_sync(&mut self, key: ClientKey) -> Vec<u8> {
        self.replication.syncs.full += 1;
        let Some(replica) = self.replica_mut(key) else { return Vec::new() };
        replica.state = ReplicaState::WaitsForSnapshot;
        let (capabilities, filter, snapshot_only) =
            (replica.capabilities, replica.filter, replica.snapshot_only);
        self.replication.attach(key);
        if self.config.repl_disable_tcp_nodelay {
            self.gather_small_writes(key);
        }
        if self.replication.replicas().len() == 1 && !self.replication.has_stream() {
            self.replication.change_id();
            self.replication.clear_second_id();
            self.create_stream();
            tracing::info!(
                "Replication backlog created, my new replication IDs are '{}' and '{}'",
                self.replication.id,
                self.replication.second_id
            );
        }
        if self.persistence.is_sending() {
            tracing::info!("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC");
        } else if self.persistence.is_saving() {
            return self.join_snapshot(key, capabilities, filter, snapshot_only);
        } else if self.config.repl_diskless_sync
            && capabilities.eof
            && self.config.repl_diskless_sync_delay > 0
        {
            tracing::info!("Delay next BGSAVE for diskless SYNC");
        } else if self.persistence.has_child() {
            tracing::info!(
                "No BGSAVE in progress, but another BG operation is active. BGSAVE for replication delayed"
            );
        } else {
            self.replication.start_asked = true;
        }
        Vec::new()
    }

    /// Has a replica's socket gather small writes. That it is no TCP socket is of no consequence.
    fn gather_small_writes(&self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else { return };
        let socket = streams::duplicate(client.descriptor);
        let _ = socket.and_then(|socket| streams::set_nodelay(socket.as_fd(), false));
    }

    /// Begins to keep a stream.
    pub fn create_stream(&mut self) {
        self.replication.create_stream(self.config.repl_backlog_size.max(BACKLOG_MIN));
        self.replication.no_replicas_since_ms = self.now_ms;
        self.propagation.set_replicas_listen(self.replication.listens());
    }

    /// Keeps as much of the stream as is configured now.
    pub(in crate::server) fn resize_stream(&mut self) {
        self.config.repl_backlog_size = self.config.repl_backlog_size.max(BACKLOG_MIN);
        if let Some(stream) = self.replication.stream_mut() {
            stream.resize(self.config.repl_backlog_size);
        }
    }

    /// Has a replica wait for the snapshot that is under way, if what is written is kept since for another like it.
    fn join_snapshot(
        &mut self,
        key: ClientKey,
        capabilities: Capabilities,
        filter: SnapshotFilter,
        snapshot_only: bool,
    ) -> Vec<u8> {
        let under_way = self.replicas_in(ReplicaState::SnapshotUnderWay);
        let other = under_way.into_iter().find_map(|other| {
            let other = self.replica(other)?;
            (!other.snapshot_only || snapshot_only).then_some(other)
        });
        let Some(other) =
            other.filter(|other| capabilities.includes(other.capabilities) && other.filter == filter)
        else {
            tracing::info!(
                "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
            );
            return Vec::new();
        };
        let offset = other.snapshot_offset;
        let told = self.enlist(key, offset);
        tracing::info!("Waiting for end of BGSAVE for SYNC");
        told
    }

    /// A snapshot at `offset` is being made for a replica: what is written from there on is kept for it. Gives what it
    /// is told.
    fn enlist(&mut self, key: ClientKey, offset: i64) -> Vec<u8> {
        // What follows the snapshot has to begin by selecting its database.
        self.propagation.replicas.reset_database();
        let id = self.replication.id;
        // The stream of a replica with two connections is kept for the other one.
        let is_fed = |replica: &Replica| !replica.snapshot_only && !replica.filter.own_channel;
        let is_fed = self.replica(key).is_some_and(is_fed);
        let stream = self.replication.stream_mut().filter(|_| is_fed);
        let cursor = stream.and_then(|stream| stream.cursor_at(offset + 1));
        let Some(replica) = self.replica_mut(key) else { return Vec::new() };
        replica.state = ReplicaState::SnapshotUnderWay;
        replica.snapshot_offset = offset;
        replica.cursor = cursor;
        if replica.before_psync {
            return Vec::new();
        }
        format!("+FULLRESYNC {id} {offset}\r\n").into_bytes()
    }

    /// Whether a command has asked for a snapshot since this was asked last.
    pub fn takes_start_asked(&mut self) -> bool {
        std::mem::take(&mut self.replication.start_asked)
    }

    /// Begins the snapshot that replicas wait for, if nothing is in its way. `at_once` leaves out waiting for more
    /// replicas to come (`repl-diskless-sync-delay`).
    pub fn start_replica_snapshot(&mut self, keyspace: &mut Keyspace, at_once: bool) {
        if self.persistence.has_child() || self.replication.transfer.is_some() {
            return;
        }
        let waiting = self.replicas_in(ReplicaState::WaitsForSnapshot);
        let Some(mut demand) = waiting.first().and_then(|key| self.replica(*key)).map(Demand::of) else {
            return;
        };
        let mut idle_seconds = 0;
        let mut members = Vec::new();
        for key in waiting {
            let Some(client) = self.clients.get(key) else { continue };
            let Some(replica) = &client.replica else { continue };
            if demand.is_met_by(replica) {
                demand.capabilities = demand.capabilities.and(replica.capabilities);
                idle_seconds = idle_seconds.max(client.idle_seconds(self.now_ms));
                members.push(key);
            }
        }
        let most = self.config.repl_diskless_sync_max_replicas as usize;
        let due = at_once
            || !self.config.repl_diskless_sync
            || (most > 0 && members.len() >= most)
            || idle_seconds >= i64::from(self.config.repl_diskless_sync_delay);
        if due {
            self.start_snapshot_for(keyspace, demand, &members);
        }
    }

    fn start_snapshot_for(&mut self, keyspace: &mut Keyspace, demand: Demand, members: &[ClientKey]) {
        let to_sockets = demand.capabilities.eof
            && (self.config.repl_diskless_sync
                || demand.filter.is_partial()
                || demand.version != format::VERSION);
        tracing::info!(
            "Starting BGSAVE for SYNC with target: {} using: {}",
            if to_sockets { "replicas sockets" } else { "disk" },
            if demand.filter.own_channel { "dual-channel" } else { "normal sync" }
        );
        let offset = self.replication.offset();
        let started = if !to_sockets {
            self.fork_child(keyspace, None, None)
        } else if demand.filter.own_channel {
            self.start_direct_transfer(keyspace, demand, members)
        } else {
            self.start_piped_transfer(keyspace, demand, members)
        };
        if !started {
            tracing::warn!("BGSAVE for replication failed");
            self.refuse_waiting_replicas();
            return;
        }
        if self.debug.pause_after_fork {
            tracing::info!("Process is about to stop.");
            signals::stop_until_continued();
            tracing::info!("Process has been continued.");
        }
        if !to_sockets && self.config.rdb_del_sync_files {
            self.replication.file_for_replicas = true;
        }
        for key in members {
            let told = self.enlist(*key, offset);
            if let Some(client) = self.clients.get_mut(*key) {
                client.output.raw(&told);
                self.clients.needs_attention(*key);
            }
        }
    }

    fn start_piped_transfer(
        &mut self,
        keyspace: &mut Keyspace,
        demand: Demand,
        members: &[ClientKey],
    ) -> bool {
        let (Ok((snapshot, pipe)), Ok((leave, hold))) = (streams::pipe(), streams::pipe()) else {
            return false;
        };
        let way = Streams::Pipe { pipe, leave, mark: ReplicationId::random().bytes() };
        if !self.fork_to_replicas(keyspace, demand, &way) {
            return false;
        }
        self.replication.transfer = Some(Transfer { members: members.to_vec(), hold: Some(hold) });
        self.ask(Task::SendSnapshot(snapshot));
        true
    }

    fn start_direct_transfer(
        &mut self,
        keyspace: &mut Keyspace,
        demand: Demand,
        members: &[ClientKey],
    ) -> bool {
        let (id, offset) = (self.replication.id, self.replication.offset());
        let database = self.propagation.replicas.database().map_or(-1, |database| database as i64);
        let mut receivers = Vec::with_capacity(members.len());
        for key in members {
            let Some(client) = self.clients.get_mut(*key) else { continue };
            let Ok(socket) = streams::duplicate(client.descriptor) else { continue };
            // Signs of life that were not sent yet would come in the middle of what the child writes.
            client.output = Reply::new(client.output.protocol());
            tracing::info!(
                "Dual channel replication: Sending to replica {} RDB end offset {offset} and client-id {}",
                replica_name(client),
                client.id
            );
            let greeting = format!("$ENDOFF:{offset} {id} {database} {}\r\n", client.id).into_bytes();
            receivers.push(Receiver { socket, greeting });
        }
        let timeout_ms = self.config.repl_timeout.saturating_mul(1000);
        let way = Streams::Sockets { receivers, timeout_ms, mark: ReplicationId::random().bytes() };
        if !self.fork_to_replicas(keyspace, demand, &way) {
            return false;
        }
        for key in members {
            let Some(id) = self.clients.get(*key).map(|client| client.id) else { continue };
            let cursor = self.replication.stream_mut().and_then(|stream| stream.cursor_at(offset + 1));
            let has_bytes = self.replication.stream().is_some_and(|stream| !stream.is_empty());
            tracing::trace!(
                "Dual channel replication: Add rdb replica {} to waiting psync, with cid {id}, {} ",
                self.name_of(*key),
                if has_bytes { "tracking repl-backlog tail" } else { "no repl-backlog to track" }
            );
            let awaited = AwaitedPsync { client: id, cursor, awaits_bytes: !has_bytes, gone_ms: None };
            self.replication.awaited_psyncs.push(awaited);
        }
        true
    }

    fn fork_to_replicas(&mut self, keyspace: &mut Keyspace, demand: Demand, streams: &Streams) -> bool {
        let plan = TransferPlan {
            streams,
            version: demand.version,
            without_data: demand.filter.without_data,
            without_functions: demand.filter.without_functions,
        };
        self.fork_child(keyspace, Some(plan), None)
    }

    /// No snapshot can be begun: those who wait for one are told and sent away.
    fn refuse_waiting_replicas(&mut self) {
        for key in self.replicas_in(ReplicaState::WaitsForSnapshot) {
            let now_ms = self.now_ms;
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.output.error(b"ERR BGSAVE failed, replication can't continue");
            client.close_after_reply = true;
            if let Some(mut replica) = client.replica.take() {
                self.replication.detach(key, &mut replica, now_ms);
            }
            self.clients.needs_attention(key);
        }
    }

    /// The child has ended: replicas that wait for its snapshot get it, have it, or have to go.
    pub(in crate::server) fn snapshot_ended(&mut self, ended: EndedSnapshot) {
        self.replication.transfer = None;
        self.replication.bytes_out += ended.sent_bytes;
        self.stats.bytes_out += ended.sent_bytes;
        for key in self.replicas_in(ReplicaState::SnapshotUnderWay) {
            if !ended.succeeded {
                self.clients.close(key, None);
                tracing::warn!("SYNC failed. BGSAVE child returned an error");
            } else if ended.to_replicas {
                tracing::info!(
                    "Streamed RDB transfer with replica {} succeeded (socket). Waiting for REPLCONF ACK from replica \
                     to enable streaming",
                    self.name_of(key)
                );
                self.put_online(key);
                if let Some(replica) = self.replica_mut(key) {
                    replica.starts_on_acknowledgement = true;
                }
            } else if let Err(reason) = self.send_file(key) {
                tracing::warn!("SYNC failed. {reason}");
                self.clients.close(key, None);
            }
        }
    }

    /// Begins to send the snapshot's file to a replica.
    fn send_file(&mut self, key: ClientKey) -> Result<(), String> {
        let file = File::open(self.config.dbfilename.as_path())
            .map_err(|error| format!("Can't open DB after BGSAVE: {}", os_reason(&error)))?;
        let size = file
            .metadata()
            .map_err(|error| format!("Can't stat DB after BGSAVE: {}", os_reason(&error)))?
            .len();
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        client.output.raw(format!("${size}\r\n").as_bytes());
        if let Some(replica) = &mut client.replica {
            replica.state = ReplicaState::SendsSnapshot;
            replica.file = Some(SnapshotFile { file, sent: 0, size });
        }
        self.clients.needs_attention(key);
        Ok(())
    }

    /// A replica has its snapshot; `false` when it wanted no more and is sent away.
    pub(super) fn put_online(&mut self, key: ClientKey) -> bool {
        let (name, now_ms) = (self.name_of(key), self.now_ms);
        let Some(replica) = self.replica_mut(key) else { return false };
        if replica.snapshot_only {
            replica.state = ReplicaState::SnapshotSent;
            tracing::info!("RDB transfer completed, rdb only replica ({name}) should be disconnected asap");
            self.clients.close(key, None);
            return false;
        }
        replica.state = ReplicaState::Online;
        replica.acknowledged_ms = now_ms;
        self.refresh_good_replicas();
        tracing::info!("Synchronization with replica {name} succeeded");
        true
    }

    /// A replica is ready for the stream.
    pub(super) fn start_stream(&mut self, key: ClientKey) {
        if let Some(replica) = self.replica_mut(key) {
            replica.starts_on_acknowledgement = false;
        }
        // So that the offset of a new history is not that of none.
        if self.replication.offset() == 0 {
            self.feed_ping();
        }
        self.clients.needs_attention(key);
    }

    /// A replica's connection is gone.
    pub(in crate::server) fn drop_replica(
        &mut self,
        key: ClientKey,
        id: u64,
        descriptor: RawFd,
        mut replica: Replica,
    ) {
        if replica.filter.own_channel && replica.state == ReplicaState::SnapshotUnderWay {
            // The child that writes to it has to hear of it.
            let socket = streams::duplicate(descriptor);
            let _ = socket.and_then(|socket| streams::shut_down(socket.as_fd()));
        }
        let was_fed = self.replication.transfer.as_mut().is_some_and(|transfer| transfer.forget(key));
        if let Some(sent) = replica.file.take() {
            self.background.close_later(sent.file);
        }
        self.replication.detach(key, &mut replica, self.now_ms);
        self.replication.note_gone(id, self.now_ms);
        self.refresh_good_replicas();
        if was_fed && self.replication.transfer.as_ref().is_some_and(|transfer| transfer.members.is_empty()) {
            tracing::info!("Diskless rdb transfer, last replica dropped, killing fork child.");
            self.persistence.kill_child();
        }
        let was_last = replica.state == ReplicaState::SnapshotUnderWay
            && self.replicas_in(ReplicaState::SnapshotUnderWay).is_empty();
        if was_last
            && self.config.save.0.is_empty()
            && self.persistence.is_saving()
            && !self.persistence.is_sending()
        {
            tracing::info!(
                "Background saving, persistence disabled, last replica dropped, killing fork child."
            );
            self.persistence.kill_child();
        }
    }
}
