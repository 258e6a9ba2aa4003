//! What replication does at intervals: signs of life, timeouts, the end of an unused backlog, snapshots that are due.

use super::super::Server;
use super::super::client::ClientKey;
use crate::keyspace::Keyspace;
use crate::replication::{Replica, ReplicaState};
use crate::sys::files;

/// The interval, in milliseconds.
const INTERVAL_MS: i64 = 1000;

impl Server {
    /// One turn, if it is due. To be called by the cron.
    pub fn run_replication_cron(&mut self, keyspace: &mut Keyspace) {
        self.tend_failover();
        if let Some(stream) = self.replication.stream_mut() {
            stream.trim();
        }
        let due_ms = self.replication.cron_due_ms;
        if self.now_ms < due_ms && due_ms - self.now_ms <= INTERVAL_MS {
            return;
        }
        self.replication.cron_due_ms = self.now_ms + INTERVAL_MS;
        let has_replicas = !self.replication.replicas().is_empty();
        let period = u64::from(self.config.repl_ping_replica_period.max(1));
        if self.replication.cron_turns.is_multiple_of(period)
            && has_replicas
            && self.replication.failover.is_none()
            && !self.holds_stream()
        {
            self.feed_ping();
        }
        self.replication.cron_turns += 1;
        self.drop_silent_replicas();
        self.drop_overdue_psyncs();
        self.free_unused_stream();
        self.start_replica_snapshot(keyspace, false);
        self.nudge_waiting_replicas();
        self.remove_file_for_replicas();
        self.refresh_good_replicas();
    }

    /// Replicas that wait for their snapshot get an empty line, which tells them that the connection is alive.
    fn nudge_waiting_replicas(&mut self) {
        let sending = self.persistence.is_sending();
        for key in self.replication.replicas().to_vec() {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let waits = client.replica.as_ref().is_some_and(|replica| match replica.state {
                ReplicaState::WaitsForSnapshot => true,
                ReplicaState::SnapshotUnderWay => !sending,
                _ => false,
            });
            if waits && client.output.is_empty() {
                client.output.raw(b"\n");
                self.clients.needs_attention(key);
            }
        }
    }

    /// Closes the connections of replicas that have not been heard of for `repl-timeout`.
    fn drop_silent_replicas(&mut self) {
        let (now_ms, timeout_ms) = (self.now_ms, i64::from(self.config.repl_timeout) * 1000);
        let silent = |replica: &Replica| match replica.state {
            ReplicaState::Online => (!replica.before_psync && now_ms - replica.acknowledged_ms > timeout_ms)
                .then_some("streaming sync"),
            ReplicaState::SnapshotUnderWay => {
                let since_ms = replica.stuck_since_ms;
                (since_ms != 0 && now_ms - since_ms > timeout_ms).then_some("full sync")
            }
            _ => None,
        };
        let replicas = self.replication.replicas().iter();
        let found: Vec<(ClientKey, &str, String)> = replicas
            .filter_map(|key| {
                let client = self.clients.get(*key)?;
                let why = silent(client.replica.as_deref()?)?;
                Some((*key, why, super::replica_name(client)))
            })
            .collect();
        for (key, why, name) in found {
            tracing::warn!("Disconnecting timedout replica ({why}): {name}");
            self.clients.close(key, None);
        }
    }

    /// Gives up what is kept for replicas whose main connection did not ask for it in time.
    fn drop_overdue_psyncs(&mut self) {
        let grace_ms = self.replication.psync_grace_seconds * 1000;
        let now_ms = self.now_ms;
        self.drop_large_psyncs();
        let overdue: Vec<(u64, i64)> = self
            .replication
            .awaited_psyncs
            .iter()
            .filter_map(|awaited| Some((awaited.client, now_ms - awaited.gone_ms?)))
            .filter(|(_, waited_ms)| *waited_ms > grace_ms)
            .collect();
        for (client, waited_ms) in overdue {
            tracing::info!(
                "Dual channel replication: Replica main channel failed to establish PSYNC within the grace period \
                 ({} seconds). Freeing RDB client {client}.",
                waited_ms / 1000
            );
            self.replication.end_psync_wait(client);
        }
    }

    /// The same for those for whom more would have to be kept than a replica may leave unread.
    fn drop_large_psyncs(&mut self) {
        let limit = self.config.client_output_buffer_limit.replica.hard_bytes;
        if limit == 0 || self.replication.awaited_psyncs.is_empty() {
            return;
        }
        let limit = limit.max(self.config.repl_backlog_size);
        let awaited = self.replication.awaited_psyncs.iter().map(|awaited| awaited.client);
        let large: Vec<u64> =
            awaited.filter(|client| self.replication.bytes_awaited_for(*client) >= limit).collect();
        for client in large {
            tracing::warn!(
                "Client id={client} scheduled to be closed ASAP for overcoming of output buffer limits."
            );
            self.stats.output_buffer_closed += 1;
            self.replication.give_up_psync(client);
        }
    }

    /// Frees the backlog of a primary that has had no replicas for `repl-backlog-ttl`.
    fn free_unused_stream(&mut self) {
        let ttl = self.config.repl_backlog_ttl;
        let replication = &mut self.replication;
        let unused = replication.has_stream()
            && replication.replicas().is_empty()
            && replication.awaited_psyncs.is_empty()
            && !replication.is_replica();
        let idle_seconds = (self.now_ms - replication.no_replicas_since_ms) / 1000;
        if ttl == 0 || !unused || idle_seconds <= ttl {
            return;
        }
        // What is written from here on is not counted, so nobody may go on from this history.
        replication.change_id();
        replication.clear_second_id();
        replication.free_stream();
        self.propagation.set_replicas_listen(false);
        tracing::info!("Replication backlog freed after {ttl} seconds without connected replicas.");
    }

    /// Removes a snapshot file that was made for replicas only, where nothing is to stay on disk.
    fn remove_file_for_replicas(&mut self) {
        if !self.config.rdb_del_sync_files {
            self.replication.file_for_replicas = false;
        }
        let persistent = !self.config.save.0.is_empty() || self.config.appendonly;
        let replicas = self.replication.replicas().iter();
        let needed = replicas.filter_map(|key| self.clients.get(*key)?.replica.as_deref()).any(|replica| {
            use ReplicaState::{SendsSnapshot, SnapshotUnderWay, WaitsForSnapshot};
            matches!(replica.state, WaitsForSnapshot | SnapshotUnderWay | SendsSnapshot)
        });
        if !self.replication.file_for_replicas || persistent || needed {
            return;
        }
        let path = self.config.dbfilename.as_path();
        let Ok(file) = std::fs::File::open(path) else { return };
        self.replication.file_for_replicas = false;
        tracing::info!("Removing the RDB file used to feed replicas in a persistence-less instance");
        let _ = files::remove_if_present(path);
        self.background.close_later(file);
    }
}
