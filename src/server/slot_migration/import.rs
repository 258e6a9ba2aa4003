//! The target's end: it consents, runs what comes, and takes the slots over when it has everything.

use super::job::{Direction, Job, JobId, JobName, JobState, SlotLink, SlotRanges};
use crate::algorithms::slot_set::SlotSet;
use crate::keyspace::Keyspace;
use crate::server::client::ClientKey;
use crate::server::cluster::NodeKey;
use crate::server::{Engine, Server};

/// What a source, a primary or a file tells of an import that begins.
#[derive(Debug)]
pub struct Establish {
    /// The source's connection; `None` where the import takes place elsewhere.
    pub client: Option<ClientKey>,
    /// Whose the slots are.
    pub source: Option<NodeKey>,
    /// The migration's name.
    pub name: JobName,
    /// The slots.
    pub ranges: SlotRanges,
}

impl Server {
    /// An import begins: the keys of its slots are hidden from now on.
    pub fn establish_import(&mut self, keyspace: &mut Keyspace, establish: Establish) {
        // What comes now must not be taken for keys that are being deleted.
        self.delete_lost_keys(keyspace, usize::MAX);
        let now_ms = self.now_ms;
        let Establish { client, source, name, ranges } = establish;
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let id = cluster.migrations.next_id();
        let mut job = Job::new(id, name, Direction::Import, ranges, now_ms);
        let node = source.map(|source| &cluster.nodes[source]);
        job.describe(node.map(|node| (node.id, node.announced.human_name.as_str())));
        tracing::info!("New slot import job created: {}.", job.description);
        match client {
            Some(_) => {
                (job.source, job.target) = (node.map(|node| node.id), Some(cluster.me().id));
                job.client = client;
            }
            None => (job.state, job.is_tracked_only) = (JobState::OnPrimary, true),
        }
        cluster.migrations.add(job);
        (cluster.migrations.due, cluster.migrations.hidden_changed) = (true, true);
        if let Some(record) = client.and_then(|key| self.clients.get_mut(key)) {
            record.slot_link = Some(SlotLink { direction: Direction::Import, job: id });
        }
        self.refresh_hidden_slots(keyspace);
    }

    /// Whether the reply that has just been made is the consent to an import: the only one that a source gets.
    pub(in crate::server) fn consents(&mut self, link: SlotLink) -> bool {
        let job = self.migration_mut(link.job);
        job.is_some_and(|job| !std::mem::replace(&mut job.has_consented, true))
    }

    /// The imports that a snapshot tells of.
    pub fn adopt_slot_imports(&mut self, keyspace: &mut Keyspace, imports: &[(JobName, SlotRanges)]) {
        for (name, ranges) in imports {
            let establish = Establish { client: None, source: None, name: *name, ranges: ranges.clone() };
            self.establish_import(keyspace, establish);
        }
    }

    /// SNAPSHOT-EOF: all keys are here.
    pub fn receive_snapshot_eof(&mut self, id: JobId) {
        let complaint = |description: &str| {
            format!(
                "Received CLUSTER SYNCSLOTS SNAPSHOT-EOF from slot migration {description}, but not currently loading \
                 an AOF snapshot. Failing migration."
            )
        };
        if !self.expects(id, &[JobState::ReceivingSnapshot], complaint) {
            return;
        }
        if let Some(job) = self.cluster.as_ref().and_then(|cluster| cluster.migrations.get(id)) {
            if let Some(client) = job.client.and_then(|key| self.clients.get_mut(key)) {
                // Valkey's stream selects databases as if the snapshot had not.
                client.database = 0;
            }
            tracing::info!(
                "Slot migration {} successfully received slot snapshot. Beginning incremental stream...",
                job.description
            );
        }
        self.send_sync_slots(id, b"REQUEST-PAUSE");
        self.set_job_state(id, JobState::WaitingForPaused);
    }

    /// PAUSED: nothing more is written at the source.
    pub fn receive_paused(&mut self, id: JobId) {
        let complaint = |description: &str| {
            format!(
                "Received unexpected CLUSTER SYNCSLOTS PAUSED from slot migration {description}, . Failing migration."
            )
        };
        if self.expects(id, &[JobState::WaitingForPaused], complaint) {
            self.send_sync_slots(id, b"REQUEST-FAILOVER");
            self.set_job_state(id, JobState::FailoverRequested);
        }
    }

    /// FAILOVER-GRANTED: the slots may be taken.
    pub fn receive_failover_granted(&mut self, id: JobId) {
        let complaint = |description: &str| {
            format!(
                "Received CLUSTER SYNCSLOTS FAILOVER-GRANTED from slot migration {description}, but we never sent a \
                 failover request. Failing migration."
            )
        };
        if self.expects(id, &[JobState::FailoverRequested], complaint) {
            self.set_job_state(id, JobState::TakeoverGranted);
            self.note_migrations_due();
        }
    }

    /// ACK: the other end is alive.
    pub fn receive_sync_slots_ack(&mut self, id: JobId) {
        let now = self.now_ms / 1000;
        let Some(job) = self.migration_mut(id) else {
            return;
        };
        job.acknowledged = now;
        if job.state == JobState::WaitingForAck {
            self.set_job_state(id, JobState::ReceivingSnapshot);
        }
    }

    /// Whether a job is in one of these states; if not it has failed, and the log says why.
    pub(super) fn expects(
        &mut self,
        id: JobId,
        states: &[JobState],
        complaint: impl FnOnce(&str) -> String,
    ) -> bool {
        let Some(job) = self.migration(id) else {
            return false;
        };
        if states.contains(&job.state) {
            return true;
        }
        tracing::warn!("{}", complaint(&job.description));
        let message = b"Unexpected state machine transition";
        self.finish_slot_migration(id, JobState::Failed, Some(message));
        false
    }

    /// A word that means nothing came by a migration's connection.
    pub fn receive_unknown_sync_slots(&mut self, id: JobId) {
        if let Some(job) = self.migration(id) {
            tracing::warn!(
                "Received unknown SYNCSLOTS subcommand from slot migration {}. Failing the migration.",
                job.description
            );
        }
        let message = b"Unknown SYNCSLOTS subcommand used";
        self.finish_slot_migration(id, JobState::Failed, Some(message));
    }

    pub(super) fn note_migrations_due(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.migrations.due = true;
        }
    }
}

impl Engine {
    /// Takes the slots of an import over, and tells everybody.
    pub(super) fn take_slots_over(&mut self, id: JobId) {
        let Some(cluster) = self.server.cluster.as_deref_mut() else { return };
        if cluster.migrations.prevents_failover {
            return;
        }
        cluster.bump_epoch();
        let Some(job) = cluster.migrations.get(id) else { return };
        let (slots, description) = (job.slots.clone(), job.description.clone());
        for slot in slots.iter() {
            cluster.move_slot(cluster.myself, slot);
        }
        let todo = &mut cluster.todo;
        (todo.save, todo.sync, todo.update_state, todo.broadcast) = (true, true, true, true);
        tracing::info!(
            "Slot migration {description} completed successfully. This node is now the owner of the slots"
        );
        self.server.finish_slot_migration(id, JobState::Success, None);
    }

    /// Deletes what an import has brought that failed; once all of it is gone, the import is over.
    pub(super) fn clean_up_import(&mut self, id: JobId) {
        let Some(cluster) = self.server.cluster.as_deref() else { return };
        let Some(job) = cluster.migrations.get(id) else { return };
        let (state, message) = (job.after_cleanup, job.message.clone());
        let description = job.description.clone();
        let foreign: SlotSet = job.slots.iter().filter(|slot| !cluster.serves(*slot)).collect();
        let goes_on = |engine: &Self| {
            let cluster = engine.server.cluster.as_ref();
            cluster.is_some_and(|cluster| foreign.iter().any(|slot| cluster.is_deleting(slot)))
        };
        if cluster.me().is_primary() && !goes_on(self) {
            tracing::info!("Cleaning up slot migration {description} after {}", state.name());
            self.delete_slots(&foreign);
        }
        if goes_on(self) {
            return;
        }
        self.server.finish_slot_migration(id, state, message.as_deref());
    }
}
