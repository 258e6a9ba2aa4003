//! What drives the jobs: at once when something has come up, and at intervals for limits of time and signs of life.

use super::{Direction, JobId, JobState};
use crate::server::Engine;

/// How often the other end is told that this one is alive, in milliseconds.
pub(super) const ACKNOWLEDGE_MS: i64 = 1000;

impl Engine {
    /// Does what has come up. Called when a command, a message or a turn of the cron is done.
    pub(in crate::server) fn tend_slot_migrations(&mut self) {
        let Self { keyspace, server } = self;
        if server.scripting.is_busy() {
            // What a script that was put aside has written is in the data, and nobody is told yet: a snapshot would have
            // it twice, and an end of the stream not at all.
            return;
        }
        server.refresh_hidden_slots(keyspace);
        let Some(cluster) = server.cluster.as_deref_mut() else { return };
        let migrations = &mut cluster.migrations;
        let is_active = migrations.imports() || migrations.exports();
        if std::mem::take(&mut migrations.ownership_changed) && is_active {
            server.check_job_owners();
        }
        let mut did = false;
        while self.server.cluster.as_mut().is_some_and(|cluster| std::mem::take(&mut cluster.migrations.due))
        {
            did = true;
            self.drive_jobs();
        }
        if did {
            self.server.refresh_hidden_slots(&mut self.keyspace);
            self.server.end_unit_of_independent();
        }
    }

    fn drive_jobs(&mut self) {
        let unfinished = self.server.cluster.as_ref().map(|cluster| {
            let jobs = cluster.migrations.iter().filter(|job| !job.state.is_finished());
            jobs.map(|job| job.id).collect::<Vec<_>>()
        });
        unfinished.unwrap_or_default().into_iter().for_each(|id| self.drive_job(id));
    }

    /// Takes the next step of a job, if it does not wait for anybody.
    fn drive_job(&mut self, id: JobId) {
        let job = self.server.migration(id);
        let Some(state) = job.map(|job| job.state) else { return };
        match state {
            JobState::Connecting => self.server.connect_export(id),
            JobState::WaitingToSnapshot => self.begin_slot_snapshot(id),
            JobState::WaitingToPause => {
                self.server.try_to_pause(id);
            }
            JobState::Paused => self.server.check_pause(id, false),
            JobState::FailoverGranted => {
                self.server.check_pause(id, true);
                let job = self.server.migration(id);
                if job.is_some_and(|job| job.state == JobState::FailoverGranted) {
                    self.server.settle_export_by_owner(id);
                }
            }
            JobState::TakeoverGranted => self.take_slots_over(id),
            JobState::CleaningUp => self.clean_up_import(id),
            _ => {}
        }
    }

    /// What happens to the jobs ten times a second.
    pub(in crate::server) fn run_slot_migration_cron(&mut self) {
        let Some(cluster) = self.server.cluster.as_deref_mut() else { return };
        if cluster.migrations.is_empty() {
            return;
        }
        for id in cluster.migrations.in_progress(None) {
            self.end_silent_job(id);
        }
        self.server.note_migrations_due();
        self.tend_slot_migrations();
        self.acknowledge_jobs();
        let most =
            usize::try_from(self.server.config.cluster_slot_migration_log_max_len).unwrap_or(usize::MAX);
        if let Some(cluster) = &mut self.server.cluster {
            cluster.migrations.trim(most);
        }
        self.server.release_unless_pausing();
    }

    /// Ends a job whose other end has given no sign of life for too long.
    fn end_silent_job(&mut self, id: JobId) {
        let server = &mut self.server;
        let Some(job) = server.migration(id) else {
            return;
        };
        if matches!(job.state, JobState::FailoverGranted | JobState::OnPrimary) {
            return;
        }
        let last = match job.direction {
            Direction::Export => job.acknowledged,
            Direction::Import => {
                let client = job.client.and_then(|key| server.clients.get(key));
                client.map_or(job.acknowledged, |client| client.last_interaction_ms / 1000)
            }
        };
        if server.now_ms / 1000 - last > i64::from(server.config.repl_timeout) {
            tracing::warn!(
                "Timing out slot migration {} after not receiving ack for too long",
                job.description
            );
            let message = b"Timed out after too long with no interaction";
            server.finish_slot_migration(id, JobState::Failed, Some(message));
        }
    }

    fn acknowledge_jobs(&mut self) {
        let now_ms = self.server.now_ms;
        let due = self.server.cluster.as_ref().map(|cluster| {
            let jobs = cluster.migrations.iter();
            let due =
                jobs.filter(|job| job.state.sends_acknowledgements() && now_ms >= job.acknowledge_due_ms);
            due.map(|job| job.id).collect::<Vec<_>>()
        });
        for id in due.unwrap_or_default() {
            self.server.send_sync_slots(id, b"ACK");
        }
    }
}
