//! What replicas say they have executed: who waits for it (WAIT, WAITAOF), and whether there are enough of them
//! (`min-replicas-to-write`).

use super::super::Server;
use super::super::blocking::{TimeoutReply, WaitEnd};
use super::super::client::{Client, ClientKey};
use crate::replication::{Replica, ReplicaState};
use crate::resp::Reply;

/// What a client in WAIT or WAITAOF waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaWait {
    /// The offset of its last write.
    pub offset: i64,
    /// How many replicas have to have that.
    pub replicas: i64,
    /// WAITAOF: on disk, and whether this server's own disk has to have it too.
    pub on_disk: Option<bool>,
}

/// How much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Whether the own disk has it.
    pub local: bool,
    /// Replicas that have it.
    pub replicas: i64,
}

impl Reached {
    /// Writes what WAIT or WAITAOF replies.
    pub fn write(self, wait: ReplicaWait, reply: &mut Reply) {
        if wait.on_disk.is_some() {
            reply.array(2);
            reply.int(i64::from(self.local));
        }
        reply.int(self.replicas);
    }
}

impl ReplicaWait {
    /// Whether that is enough.
    #[must_use]
    pub fn is_over(&self, reached: Reached) -> bool {
        reached.replicas >= self.replicas && (reached.local || self.on_disk != Some(true))
    }
}

impl Server {
    fn online_replicas(&self) -> impl Iterator<Item = &Replica> {
        let record = |key: &ClientKey| self.clients.get(*key)?.replica.as_deref();
        let replicas = self.replication.replicas().iter().filter_map(record);
        replicas.filter(|replica| replica.state == ReplicaState::Online)
    }

    /// How far what a client waits for has come.
    #[must_use]
    pub fn reached(&self, wait: ReplicaWait) -> Reached {
        let has = |replica: &&Replica| match wait.on_disk {
            None => replica.acknowledged >= wait.offset,
            Some(_) => replica.acknowledged_on_disk >= wait.offset,
        };
        let replicas = self.online_replicas().filter(has).count() as i64;
        Reached { local: wait.on_disk.is_some() && self.offset_on_disk() >= wait.offset, replicas }
    }

    /// How many replicas do what CLUSTER SETSLOT asks for when it is fed to them: those that are online and of a version
    /// that can.
    #[must_use]
    pub fn replicas_that_set_slots(&self) -> i64 {
        const LAST_THAT_CANNOT: u32 = 0x702ff;
        self.online_replicas().filter(|replica| replica.version > LAST_THAT_CANNOT).count() as i64
    }

    /// Counts a client among those that wait for replicas, and has these asked how far they are.
    pub fn wait_for_replicas(&mut self, client: ClientKey) {
        self.replication.waiting.push(client);
        self.replication.asks_acknowledgement = true;
    }

    /// A replica says what it has executed, and what of it is on its disk.
    pub fn note_acknowledgement(&mut self, client: ClientKey, executed: i64, on_disk: Option<i64>) {
        let now_ms = self.now_ms;
        let Some(record) = self.clients.get_mut(client) else { return };
        let Some(replica) = record.replica.as_mut().filter(|replica| replica.is_attached()) else { return };
        replica.acknowledged = replica.acknowledged.max(executed);
        replica.acknowledged_on_disk = replica.acknowledged_on_disk.max(on_disk.unwrap_or(0));
        replica.acknowledged_ms = now_ms;
        let (state, held_back) = (replica.state, replica.starts_on_acknowledgement);
        self.replication.acknowledged = true;
        match state {
            ReplicaState::Online if held_back => self.start_stream(client),
            ReplicaState::LoadsElsewhere => {
                self.put_online(client);
            }
            _ => {}
        }
    }

    /// What follows a batch: replicas are asked how far they are, and who waits for them looks again.
    pub fn follow_acknowledgements(&mut self) {
        // While writes are held back the stream stands still.
        if self.replication.asks_acknowledgement && self.pauses.in_force(self.now_ms).is_none() {
            self.replication.asks_acknowledgement = false;
            self.feed_getack();
        }
        if !self.replication.waiting.is_empty() {
            let on_disk = self.offset_on_disk();
            let synced = std::mem::replace(&mut self.replication.seen_on_disk, on_disk) != on_disk;
            if synced | std::mem::take(&mut self.replication.acknowledged) {
                self.serve_waiting();
            }
        }
    }

    /// Serves clients that wait for what has come meanwhile.
    pub fn serve_waiting(&mut self) {
        for key in std::mem::take(&mut self.replication.waiting) {
            let blocked = self.clients.get(key).and_then(|client| client.blocked.as_deref());
            let Some(wait) = blocked.and_then(|blocked| blocked.timeout_reply.replica_wait()) else {
                continue;
            };
            let reached = self.reached(wait);
            if wait.on_disk == Some(true) && !self.config.appendonly {
                self.end_wait(key, WaitEnd::AofOff);
            } else if wait.is_over(reached) {
                self.end_wait(key, WaitEnd::Timeout);
            } else {
                self.replication.waiting.push(key);
            }
        }
    }

    /// Whether every replica has executed all of the stream.
    #[must_use]
    pub fn replicas_are_level(&self) -> bool {
        let offset = self.replication.offset();
        let mut replicas =
            self.replication.replicas().iter().filter_map(|key| self.clients.get(*key)?.replica.as_deref());
        replicas.all(|replica| replica.acknowledged == offset)
    }

    /// Has the replicas say how far they are, even while the stream stands still otherwise.
    pub(in crate::server) fn ask_for_acknowledgements(&mut self) {
        if self.pauses.in_force(self.now_ms).is_none() {
            self.feed_getack();
        }
    }

    /// Says in the log which replicas lag, before the process ends.
    pub(in crate::server) fn report_lagging_replicas(&self) {
        let offset = self.replication.offset();
        let mut lagging = 0;
        for client in self.replication.replicas().iter().filter_map(|key| self.clients.get(*key)) {
            let Some(replica) = &client.replica else { continue };
            if replica.acknowledged == offset {
                continue;
            }
            lagging += 1;
            let lag_seconds = match replica.state {
                ReplicaState::Online => self.now_ms / 1000 - replica.acknowledged_ms / 1000,
                _ => 0,
            };
            tracing::info!(
                "Lagging replica {} reported offset {} behind master, lag={lag_seconds}, state={}.",
                super::replica_name(client),
                offset - replica.acknowledged,
                replica.state.name()
            );
        }
        let replicas = self.replication.replicas().len();
        if replicas > 0 {
            tracing::info!("{} of {replicas} replicas are in sync when shutting down.", replicas - lagging);
        }
    }

    /// Ends the wait of clients in SHUTDOWN, since the server goes on.
    pub(in crate::server) fn end_shutdown_waits(&mut self) {
        let waits = |client: &&Client| {
            client.blocked.as_ref().is_some_and(|blocked| blocked.timeout_reply == TimeoutReply::Shutdown)
        };
        let waiting: Vec<ClientKey> = self.clients.iter().filter(waits).map(|client| client.key).collect();
        for key in waiting {
            self.end_wait(key, WaitEnd::Timeout);
        }
    }

    /// Counts the replicas that are online and do not lag.
    pub(in crate::server) fn refresh_good_replicas(&mut self) {
        let most_ms = i64::from(self.config.min_replicas_max_lag) * 1000;
        let now_ms = self.now_ms;
        let is_good = |replica: &&Replica| (now_ms - replica.acknowledged_ms) / 1000 * 1000 <= most_ms;
        self.replication.good_replicas = self.online_replicas().filter(is_good).count();
    }

    /// Replicas that are online and do not lag.
    #[must_use]
    pub fn good_replicas(&self) -> usize {
        self.replication.good_replicas
    }

    /// Whether writes are refused for lack of replicas (`min-replicas-to-write`).
    #[inline]
    #[must_use]
    pub fn lacks_replicas(&self) -> bool {
        let config = &self.config;
        config.min_replicas_to_write > 0
            && config.min_replicas_max_lag > 0
            && !self.replication.is_replica()
            && self.replication.good_replicas < config.min_replicas_to_write as usize
    }

    /// The offset up to which this server's own append-only file is on disk; -1 without one.
    #[must_use]
    pub fn offset_on_disk(&self) -> i64 {
        self.aof.synced_replication_offset()
    }
}
