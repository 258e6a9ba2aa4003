//! The source's end: it connects, has a child send the keys, sends what is written meanwhile, and lets go of the slots.

use super::job::{Direction, Job, JobId, JobState, SlotLink, SlotRanges};
use crate::config::Text;
use crate::replication::ReplicationId;
use crate::server::acl::Login;
use crate::server::client::ClientKey;
use crate::server::cluster::NodeKey;
use crate::server::{Hold, Server, Task};

/// Writers are stopped for so many times `cluster-manual-failover-timeout` at most (Valkey: `CLUSTER_MF_PAUSE_MULT`).
const PAUSE_TIMES: i64 = 2;
/// For so long at least once the slots were granted, in milliseconds (Valkey: `CLUSTER_OPERATION_TIMEOUT`).
const GRANTED_MS: i64 = 2000;

/// Where an export connects to, and how.
#[derive(Debug)]
pub struct ExportTarget {
    /// The target's address.
    pub ip: String,
    /// Its port for clients.
    pub port: u16,
    /// The address to connect from; may be empty.
    pub bind: String,
    /// The user to be there; may be empty.
    pub user: Text,
    /// Its password; empty for none.
    pub password: Text,
}

impl Server {
    /// An export begins. It goes on once the running command is done.
    pub fn begin_export(&mut self, target: NodeKey, ranges: SlotRanges, asked_by: &str) {
        let now_ms = self.now_ms;
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let id = cluster.migrations.next_id();
        let name = ReplicationId::random().bytes();
        let mut job = Job::new(id, name, Direction::Export, ranges, now_ms);
        let node = &cluster.nodes[target];
        (job.source, job.target) = (Some(cluster.me().id), Some(node.id));
        job.describe(Some((node.id, &node.announced.human_name)));
        tracing::info!(
            "Slot migration initiated through CLUSTER MIGRATESLOTS command: {} (user request from '{asked_by}')",
            job.description
        );
        cluster.migrations.add(job);
        cluster.migrations.due = true;
    }

    /// Calls every export off; says whether there was one.
    pub fn cancel_exports(&mut self) -> bool {
        if !self.cluster.as_ref().is_some_and(|cluster| cluster.migrations.exports()) {
            return false;
        }
        let jobs = self.cluster.as_ref().map(|c| c.migrations.in_progress(Some(Direction::Export)));
        for id in jobs.unwrap_or_default() {
            self.finish_slot_migration(id, JobState::Cancelled, None);
        }
        true
    }

    /// Has a task connect to the target.
    pub(super) fn connect_export(&mut self, id: JobId) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let Some(job) = cluster.migrations.get_mut(id) else { return };
        if std::mem::replace(&mut job.has_task, true) {
            return;
        }
        let description = job.description.clone();
        let target = job.target;
        let Some(node) = target.and_then(|target| cluster.nodes.find(target)) else {
            tracing::warn!(
                "Slot migration {description}: target node {} not found in cluster, aborting connection attempt.",
                target.map(|target| target.to_string()).unwrap_or_default()
            );
            let message = b"Unable to connect to target node: target node not found";
            return self.finish_slot_migration(id, JobState::Failed, Some(message));
        };
        let address = &cluster.nodes[node].address;
        tracing::info!("Connecting slot migration {description} (ip: {}, port {})", address.ip, address.port);
        self.ask(Task::ExportSlots(id));
    }

    /// Where the task of an export connects to, while the job waits for it.
    #[must_use]
    pub fn export_target(&self, id: JobId) -> Option<ExportTarget> {
        let cluster = self.cluster.as_deref()?;
        let job = cluster.migrations.get(id).filter(|job| job.state.is_connecting())?;
        let address = &cluster.nodes[cluster.nodes.find(job.target?)?].address;
        Some(ExportTarget {
            ip: address.ip.clone(),
            port: address.port,
            bind: self.config.bind_source_addr.as_str().into_owned(),
            user: self.config.primaryuser.clone(),
            password: self.config.primaryauth.clone(),
        })
    }

    /// The connection of an export has come so far; `false` when the job waits for it no longer.
    pub fn export_comes_to(&mut self, id: JobId, state: JobState) -> bool {
        let job = self.migration(id);
        let Some(job) = job.filter(|job| job.state.is_connecting()) else { return false };
        match (job.state, state) {
            (JobState::Connecting, _) => {
                tracing::info!("Slot migration {} connection established.", job.description);
            }
            (JobState::ReadingAuth, _) => {
                tracing::info!("Successfully authenticated slot migration {}", job.description);
            }
            _ => {}
        }
        self.set_job_state(id, state);
        true
    }

    /// The request by which the target is told of an export.
    #[must_use]
    pub fn establish_request(&self, id: JobId) -> Option<Vec<Vec<u8>>> {
        let job = self.cluster.as_deref()?.migrations.get(id)?;
        let mut words: Vec<Vec<u8>> = vec![b"CLUSTER".to_vec(), b"SYNCSLOTS".to_vec(), b"ESTABLISH".to_vec()];
        words.extend([b"SOURCE".to_vec(), job.source?.as_bytes().to_vec()]);
        words.extend([b"NAME".to_vec(), job.name.to_vec(), b"SLOTSRANGE".to_vec()]);
        let ends = job.ranges.iter().flat_map(|(start, end)| [*start, *end]);
        words.extend(ends.map(|slot| slot.to_string().into_bytes()));
        Some(words)
    }

    /// The target has consented: this client is the connection to it from now on. `false` when nobody waits for it.
    pub fn adopt_export_link(&mut self, id: JobId, client: ClientKey) -> bool {
        let now_ms = self.now_ms;
        let job = self.migration_mut(id);
        let Some(job) = job.filter(|job| job.state.is_connecting()) else { return false };
        job.client = Some(client);
        job.acknowledged = now_ms / 1000;
        if let Some(record) = self.clients.get_mut(client) {
            record.slot_link = Some(SlotLink { direction: Direction::Export, job: id });
            record.last_interaction_ms = now_ms;
        }
        self.log_in(client, Login::Superuser, true);
        self.set_job_state(id, JobState::WaitingToSnapshot);
        self.send_sync_slots(id, b"ACK");
        self.note_migrations_due();
        true
    }

    /// The target could not be reached, or does not consent.
    pub fn fail_export(&mut self, id: JobId, message: &str) {
        let job = self.migration(id);
        if job.is_some_and(|job| job.state.is_connecting()) {
            self.finish_slot_migration(id, JobState::Failed, Some(message.as_bytes()));
        }
    }

    /// Tells the other end of a migration something.
    pub(super) fn send_sync_slots(&mut self, id: JobId, word: &[u8]) {
        let due_ms = self.now_ms + super::cron::ACKNOWLEDGE_MS;
        let Some(job) = self.migration_mut(id) else {
            return;
        };
        job.outgoing.push_request(&[b"CLUSTER", b"SYNCSLOTS", word]);
        job.acknowledge_due_ms = due_ms;
        if let Some(client) = job.client {
            self.clients.needs_attention(client);
        }
    }

    /// The snapshot is sent: what was written meanwhile follows.
    pub(super) fn begin_streaming(&mut self, id: JobId) {
        self.set_job_state(id, JobState::Streaming);
        let Some(job) = self.migration(id) else { return };
        tracing::info!("Slot migration {} snapshot finished, starting streaming.", job.description);
        if let Some(client) = job.client {
            self.clients.needs_attention(client);
        }
    }

    /// REQUEST-PAUSE: the target has all keys. The child that sent them may not have ended yet.
    pub fn receive_request_pause(&mut self, id: JobId) {
        let complaint = |description: &str| {
            format!(
                "Received CLUSTER SYNCSLOTS REQUEST-PAUSE for slot migration {description}, but the client was not \
                 streaming incremental updates. Failing migration."
            )
        };
        if !self.expects(id, &[JobState::Streaming, JobState::Snapshotting], complaint) {
            return;
        }
        let job = self.migration(id);
        if job.is_some_and(|job| job.state != JobState::Streaming) {
            self.begin_streaming(id);
        }
        if !self.try_to_pause(id) {
            self.set_job_state(id, JobState::WaitingToPause);
        }
    }

    /// Stops writers if little enough waits to be sent; says whether it did.
    pub(super) fn try_to_pause(&mut self, id: JobId) -> bool {
        let now_ms = self.now_ms;
        let most = usize::try_from(self.config.slot_migration_max_failover_repl_bytes).ok();
        let until_ms = now_ms + self.config.cluster_manual_failover_timeout * PAUSE_TIMES;
        let Some(cluster) = self.cluster.as_deref_mut() else { return false };
        let prevented = cluster.migrations.prevents_pause;
        let Some(job) = cluster.migrations.get_mut(id) else { return false };
        let client = job.client.and_then(|key| self.clients.get(key));
        let waiting = job.outgoing.len() + client.map_or(0, |client| client.output.len());
        if prevented || most.is_some_and(|most| waiting > most) {
            return false;
        }
        tracing::info!(
            "Pausing writes (remaining_repl_size is {waiting}) to allow slot migration {} to finalize failover.",
            job.description
        );
        job.pause_until_ms = until_ms;
        self.pauses.hold(Hold::SlotMigration(until_ms));
        self.send_sync_slots(id, b"PAUSED");
        self.set_job_state(id, JobState::Paused);
        true
    }

    /// Whether writers are stopped no longer.
    pub(super) fn pause_is_over(&self, id: JobId) -> bool {
        let job = self.migration(id);
        job.is_none_or(|job| job.pause_until_ms < self.now_ms) || !self.pauses.is_held_for_slots()
    }

    /// REQUEST-FAILOVER: the target has everything and asks for the slots.
    pub fn receive_request_failover(&mut self, id: JobId) {
        let complaint = |description: &str| {
            format!(
                "Received CLUSTER SYNCSLOTS REQUEST-FAILOVER for slot migration {description}, but the client was not \
                 in the paused state. Failing migration."
            )
        };
        if !self.expects(id, &[JobState::Paused], complaint) {
            return;
        }
        let is_over = self.pause_is_over(id);
        let until_ms = self.now_ms + GRANTED_MS;
        let Some(job) = self.migration_mut(id) else {
            return;
        };
        if is_over {
            tracing::warn!(
                "Received CLUSTER SYNCSLOTS REQUEST-FAILOVER on slot migration {}, but we are not paused. Denying \
                 failover.",
                job.description
            );
            let message = b"Unpaused before failover completed";
            return self.finish_slot_migration(id, JobState::Failed, Some(message));
        }
        // Long enough for the news of who has the slots to come here.
        if job.pause_until_ms < until_ms {
            job.pause_until_ms = until_ms;
            self.pauses.hold(Hold::SlotMigration(until_ms));
        }
        self.send_sync_slots(id, b"FAILOVER-GRANTED");
        self.set_job_state(id, JobState::FailoverGranted);
    }

    /// An export whose writers are stopped for too long ends, and they go on.
    pub(super) fn check_pause(&mut self, id: JobId, granted: bool) {
        if !self.pause_is_over(id) {
            return;
        }
        let Some(job) = self.migration(id) else { return };
        let message: &[u8] = if granted {
            tracing::warn!(
                "Write loss risk! During slot migration {}, new owner did not broadcast ownership before we unpaused \
                 ourselves. Any writes we have recorded since unpausing may be lost!",
                job.description
            );
            b"Unpaused before migration completed (migration may have succeeded with lost writes)"
        } else {
            tracing::warn!("Slot migration {} timed out during slot failover.", job.description);
            b"Timed out before streaming completed"
        };
        self.finish_slot_migration(id, JobState::Failed, Some(message));
    }
}
