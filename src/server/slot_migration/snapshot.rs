//! The keys of an export: a forked child writes them as commands into a pipe, and a task passes them on to the target.

use super::{JobId, JobState};
use crate::algorithms::slot_set::SlotSet;
use crate::keyspace::Keyspace;
use crate::persistence::{EndedSlotExport, Streams};
use crate::server::client::ClientKey;
use crate::server::{Engine, Server, Task};
use crate::sys::streams;

/// The log says no more often than this what a snapshot waits for, in milliseconds.
const WAIT_LINE_MS: i64 = 5000;

impl Engine {
    /// Begins to send the keys of an export, unless another child is at work or something is still to be sent.
    pub(super) fn begin_slot_snapshot(&mut self, id: JobId) {
        let Self { keyspace, server } = self;
        let has_child = server.persistence.has_child();
        let now_ms = server.now_ms;
        let Some(job) = server.cluster.as_mut().and_then(|cluster| cluster.migrations.get_mut(id)) else {
            return;
        };
        let output = job.client.and_then(|key| server.clients.get(key)).map(|client| client.output.len());
        if has_child || !job.outgoing.is_empty() || output != Some(0) {
            if now_ms >= job.wait_line_due_ms {
                job.wait_line_due_ms = now_ms + WAIT_LINE_MS;
                let reason =
                    if has_child { "active child process" } else { "pending writes in output buffer" };
                tracing::info!(
                    "Slot migration {} waiting before snapshotting due to {reason}.",
                    job.description
                );
            }
            return;
        }
        tracing::info!("Beginning snapshot of slot migration {}.", job.description);
        let (slots, description) = (job.slots.clone(), job.description.clone());
        if server.send_slots(keyspace, id, &slots, &description) {
            server.set_job_state(id, JobState::Snapshotting);
        } else {
            tracing::warn!("Slot migration {description} failed to start slot snapshot");
            server.finish_slot_migration(id, JobState::Failed, Some(b"Failed to start snapshot"));
        }
    }
}

impl Server {
    /// Forks the child that sends the keys of some slots; says whether that succeeded.
    fn send_slots(&mut self, keyspace: &mut Keyspace, id: JobId, slots: &SlotSet, description: &str) -> bool {
        let (Ok((snapshot, pipe)), Ok((leave, hold))) = (streams::pipe(), streams::pipe()) else {
            return false;
        };
        // Commands need no mark at their end: SNAPSHOT-EOF is one of them.
        let way = Streams::Pipe { pipe, leave, mark: [0; 40] };
        let Some(pid) = self.fork_slot_export(keyspace, &way, slots) else { return false };
        tracing::info!("Started child process {pid} for slot migration {description}");
        if let Some(job) = self.migration_mut(id) {
            job.hold = Some(hold);
            job.database = None;
        }
        self.ask(Task::SendSlots(id, snapshot));
        true
    }

    /// Whom the keys of an export go to, while they do.
    #[must_use]
    pub fn slot_snapshot_target(&self, id: JobId) -> Option<ClientKey> {
        let job = self.migration(id)?;
        job.client.filter(|_| job.state == JobState::Snapshotting)
    }

    /// All of the child's output was sent, or cannot be: it may go.
    pub fn slot_snapshot_sent(&mut self, id: JobId) {
        if let Some(job) = self.migration_mut(id) {
            job.hold = None;
        }
    }

    /// The child that sent the keys of an export has ended.
    pub(in crate::server) fn slot_export_ended(&mut self, ended: EndedSlotExport) {
        let jobs = self.cluster.as_ref().map(|cluster| {
            let waiting = cluster.migrations.iter().filter(|job| job.state == JobState::Snapshotting);
            waiting.map(|job| (job.id, job.description.clone())).collect::<Vec<_>>()
        });
        for (id, description) in jobs.unwrap_or_default() {
            if !ended.succeeded {
                tracing::warn!("Child process failed to snapshot slot migration {description}");
                self.finish_slot_migration(id, JobState::Failed, Some(b"Failed to perform snapshot"));
                continue;
            }
            self.begin_streaming(id);
            if let Some(job) = self.migration_mut(id) {
                job.cow_bytes = ended.cow_bytes;
            }
        }
        self.note_migrations_due();
    }
}
