//! The end of a migration, whichever it is, and the steps that every change of a job's state takes.

use super::{Direction, JobId, JobState};
use crate::keyspace::Keyspace;
use crate::resp::Reply;
use crate::server::propagation::Targets;
use crate::server::{Hold, Server};

impl Server {
    /// A job comes to another state.
    pub(super) fn set_job_state(&mut self, id: JobId, state: JobState) {
        let now = self.now_ms / 1000;
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let Some(job) = cluster.migrations.get_mut(id) else { return };
        tracing::info!(
            "Slot migration {} state transition: {} -> {}",
            job.description,
            job.state.name(),
            state.name()
        );
        job.updated = now;
        job.state = state;
        cluster.migrations.recount();
        let is_fed = cluster.migrations.iter().any(|job| job.state.is_fed());
        self.propagation.set_exports(is_fed);
    }

    /// Ends a job. An import that has failed on a primary is cleaned up first, once the running command is done; a job
    /// that a file tells of was cleaned up when the file was written.
    pub fn finish_slot_migration(&mut self, id: JobId, state: JobState, message: Option<&[u8]>) {
        let is_loading = self.persistence.is_loading();
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let is_primary = cluster.me().is_primary();
        let migrations = &mut cluster.migrations;
        let Some(job) = migrations.get_mut(id) else { return };
        job.message = message.map(<[u8]>::to_vec);
        job.pause_until_ms = 0;
        let is_import = job.direction == Direction::Import;
        let cleans_up = is_import
            && is_primary
            && !is_loading
            && job.state != JobState::CleaningUp
            && state != JobState::Success;
        if cleans_up {
            tracing::info!("Cleaning up slot migration {} after {}", job.description, state.name());
            job.after_cleanup = state;
            migrations.due = true;
        }
        self.unlink_job(id);
        self.set_job_state(id, if cleans_up { JobState::CleaningUp } else { state });
        self.release_unless_pausing();
        if cleans_up {
            return;
        }
        self.log_end(id, state);
        if is_import {
            if let Some(cluster) = &mut self.cluster {
                cluster.migrations.hidden_changed = true;
            }
            if is_primary {
                self.tell_end_of_import(id);
            }
        }
    }

    fn log_end(&self, id: JobId, state: JobState) {
        let Some(job) = self.migration(id) else { return };
        let message = job.message.as_deref().map_or("none".into(), String::from_utf8_lossy);
        let name = state.name();
        if state == JobState::Failed {
            tracing::warn!("Slot migration {} finished. State: {name}, Message: {message}", job.description);
        } else {
            tracing::info!("Slot migration {} finished. State: {name}, Message: {message}", job.description);
        }
    }

    /// The job's connection is no longer that of a migration, and ends. Nothing more is sent.
    pub(super) fn unlink_job(&mut self, id: JobId) {
        let Some(job) = self.migration_mut(id) else {
            return;
        };
        let (client, was_snapshotting) = (job.client.take(), job.state == JobState::Snapshotting);
        job.outgoing.clear();
        job.hold = None;
        if was_snapshotting {
            tracing::info!("Slot migration target dropped, killing fork child.");
            self.persistence.kill_slot_export();
        }
        if let Some(key) = client
            && let Some(record) = self.clients.get_mut(key)
        {
            record.slot_link = None;
            record.output = Reply::new(record.output.protocol());
            self.clients.close(key, None);
        }
    }

    /// Lets writers go on unless another export stops them.
    pub(super) fn release_unless_pausing(&mut self) {
        let pauses = |cluster: &crate::server::cluster::Cluster| {
            cluster.migrations.iter().any(|job| job.pause_until_ms != 0)
        };
        if self.pauses.is_held_for_slots() && !self.cluster.as_deref().is_some_and(pauses) {
            self.release(Hold::SlotMigration(0));
        }
    }

    /// Replicas and the append-only file hear how an import has ended.
    fn tell_end_of_import(&mut self, id: JobId) {
        let Some(job) = self.cluster.as_ref().and_then(|cluster| cluster.migrations.get(id)) else { return };
        let outcome: &[u8] = if job.state == JobState::Success { b"SUCCESS" } else { b"FAILED" };
        let mut words: Vec<&[u8]> =
            vec![b"CLUSTER", b"SYNCSLOTS", b"FINISH", b"STATE", outcome, b"NAME", &job.name];
        if let Some(message) = &job.message {
            words.extend([b"MESSAGE".as_slice(), message]);
        }
        let database = self.propagation.replicas.database().unwrap_or(0);
        self.propagation.push(database, Targets::ALL, words.into_iter());
    }

    /// Shows and hides keys as the jobs want it, if that has changed.
    pub fn refresh_hidden_slots(&mut self, keyspace: &mut Keyspace) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        if std::mem::take(&mut cluster.migrations.hidden_changed) {
            let (deleting, importing) = (cluster.deleting_slots(), cluster.migrations.importing_slots());
            keyspace.hide_slots(deleting.iter().chain(importing.iter()).collect());
        }
    }

    /// Ends every job that may still succeed, of one direction if that is given.
    pub fn fail_slot_migrations(&mut self, direction: Option<Direction>, message: &str) {
        let jobs = self.cluster.as_ref().map(|cluster| cluster.migrations.in_progress(direction));
        for id in jobs.unwrap_or_default() {
            self.finish_slot_migration(id, JobState::Failed, Some(message.as_bytes()));
        }
    }

    /// Data was flushed: whoever moves slots has to begin anew.
    pub fn fail_slot_migrations_for_flush(&mut self, keyspace: &mut Keyspace) {
        self.fail_slot_migrations(None, "Data was flushed");
        self.refresh_hidden_slots(keyspace);
    }

    /// A data set is about to be loaded, which says itself which imports are under way.
    pub fn forget_slot_migrations(&mut self, keyspace: &mut Keyspace) {
        if self.cluster.is_none() {
            return;
        }
        self.fail_slot_migrations(Some(Direction::Import), "A new RDB is being loaded");
        tracing::info!("Cleaning slot migration log in anticipation of a load operation.");
        if let Some(cluster) = &mut self.cluster {
            cluster.migrations.trim(0);
            cluster.migrations.hidden_changed = true;
        }
        self.refresh_hidden_slots(keyspace);
    }

    /// A command of a migration's connection has replied with an error.
    pub(in crate::server) fn fail_slot_link(&mut self, id: JobId) {
        let message = b"Failed to process command during slot migration. Check logs for more information";
        self.finish_slot_migration(id, JobState::Failed, Some(message));
    }

    /// There is no room for what an import brings.
    pub(in crate::server) fn fail_import_for_memory(&mut self, id: JobId) {
        if let Some(job) = self.migration(id) {
            tracing::warn!("Slot migration {} failed due to OOM", job.description);
        }
        let message = b"Ran out of memory (OOM) during slot import";
        self.finish_slot_migration(id, JobState::Failed, Some(message));
    }

    /// A migration's connection is gone. Whoever was granted the slots may have them by now: that job waits to hear of it.
    pub(in crate::server) fn slot_link_lost(&mut self, id: JobId) {
        let Some(job) = self.migration_mut(id) else {
            return;
        };
        job.client = None;
        if !job.state.is_in_progress() || job.is_tracked_only {
            return;
        }
        tracing::info!("Slot migration {} connection lost", job.description);
        let (peer, granted) = match job.direction {
            Direction::Export => ("target", job.state == JobState::FailoverGranted),
            Direction::Import => ("source", false),
        };
        if granted {
            job.outgoing.clear();
            return;
        }
        let message = format!(
            "Connection lost to {peer}. Check CLUSTER GETSLOTMIGRATIONS on the {peer} node for more information."
        );
        self.finish_slot_migration(id, JobState::Failed, Some(message.as_bytes()));
    }
}
