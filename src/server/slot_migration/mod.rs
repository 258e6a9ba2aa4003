//! The atomic migration of slots between nodes of a cluster (CLUSTER MIGRATESLOTS): both ends, as jobs.
//!
//! ```text
//!  source                                       target
//!  connects, AUTH            ── ESTABLISH ──▶   hides the slots' keys from now on
//!  a child sends the keys    ── commands  ──▶   runs them
//!                            ── SNAPSHOT-EOF ▶
//!  what is written follows   ◀ REQUEST-PAUSE ──
//!  stops its writers         ── PAUSED    ──▶   has everything
//!                            ◀ REQUEST-FAILOVER
//!                            ── FAILOVER-GRANTED▶ takes the slots, tells everybody
//! ```
//!
//! Whatever goes wrong ends the job at both ends, and the target deletes what has come. Its replicas and append-only file
//! hear ESTABLISH and FINISH, so that they hide the same keys. What is due is done by `Engine::tend_slot_migrations`.

mod cron;
mod export;
mod feed;
mod finish;
mod import;
mod job;
mod outgoing;
mod ownership;
mod snapshot;
#[cfg(test)]
mod tests;

pub use export::ExportTarget;
pub use import::Establish;
pub use job::{Direction, Job, JobId, JobName, JobState, SlotLink, SlotRanges, ranges_text};

use crate::algorithms::slot_set::SlotSet;
use crate::memory::{MemoryUsage, vec_usage};
use crate::server::Server;

/// The jobs of a node, the newest first.
#[derive(Debug, Default)]
pub struct SlotMigrations {
    jobs: Vec<Job>,
    last_id: u64,
    /// Something is to be done before the event loop waits again.
    pub due: bool,
    /// Slots have changed owners, or this node its role.
    pub ownership_changed: bool,
    /// Other keys are to be hidden than are.
    pub(in crate::server) hidden_changed: bool,
    /// An import is under way, or has yet to be cleaned up.
    imports: bool,
    /// An export is under way.
    exports: bool,
    /// DEBUG: exports do not stop writers.
    pub prevents_pause: bool,
    /// DEBUG: imports do not take their slots over.
    pub prevents_failover: bool,
    /// Bytes received of imports.
    pub bytes_in: u64,
    /// Bytes sent of exports.
    pub bytes_out: u64,
}

impl SlotMigrations {
    /// All jobs, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// A job.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// A job, to change.
    pub fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    /// The newest job of a name.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<JobId> {
        self.jobs.iter().find(|job| job.name == name).map(|job| job.id)
    }

    /// Jobs of one direction that are not over.
    fn unfinished(&self, direction: Direction) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |job| job.direction == direction && !job.state.is_finished())
    }

    /// The numbers of all jobs that may still succeed, of one direction if that is given.
    fn in_progress(&self, direction: Option<Direction>) -> Vec<JobId> {
        let wanted = |job: &&Job| {
            job.state.is_in_progress() && direction.is_none_or(|direction| job.direction == direction)
        };
        self.jobs.iter().filter(wanted).map(|job| job.id).collect()
    }

    /// Whether an import is not over.
    #[inline]
    #[must_use]
    pub fn imports(&self) -> bool {
        self.imports
    }

    /// Whether an export is not over.
    #[inline]
    #[must_use]
    pub fn exports(&self) -> bool {
        self.exports
    }

    /// Whether a slot is on its way here.
    #[must_use]
    pub fn is_importing(&self, slot: u16) -> bool {
        self.unfinished(Direction::Import).any(|job| job.slots.contains(slot))
    }

    /// Whether a slot is on its way to another node.
    #[must_use]
    pub fn is_exporting(&self, slot: u16) -> bool {
        self.unfinished(Direction::Export).any(|job| job.slots.contains(slot))
    }

    /// Whether another node may take a slot whatever its epoch is.
    #[must_use]
    pub fn failover_granted(&self, slot: u16) -> bool {
        self.exports
            && self.jobs.iter().any(|job| job.state == JobState::FailoverGranted && job.slots.contains(slot))
    }

    /// The slots whose keys nobody may see yet.
    #[must_use]
    pub fn importing_slots(&self) -> SlotSet {
        self.unfinished(Direction::Import).flat_map(|job| job.slots.iter()).collect()
    }

    /// The imports that a snapshot has to name.
    #[must_use]
    pub fn saved_imports(&self) -> Vec<(JobName, SlotRanges)> {
        self.unfinished(Direction::Import).map(|job| (job.name, job.ranges.clone())).collect()
    }

    fn next_id(&mut self) -> JobId {
        self.last_id += 1;
        JobId(self.last_id)
    }

    fn add(&mut self, job: Job) {
        self.jobs.insert(0, job);
        self.recount();
    }

    /// Notes anew which directions are under way, after a change of a job.
    fn recount(&mut self) {
        let is_under_way = |direction| self.unfinished(direction).next().is_some();
        (self.imports, self.exports) = (is_under_way(Direction::Import), is_under_way(Direction::Export));
    }

    /// Forgets the oldest jobs that are over, until no more than so many jobs are left.
    fn trim(&mut self, most: usize) {
        let mut surplus = self.jobs.len().saturating_sub(most);
        let mut index = self.jobs.len();
        while surplus > 0 && index > 0 {
            index -= 1;
            if self.jobs[index].state.is_finished() {
                self.jobs.remove(index);
                surplus -= 1;
            }
        }
        if self.jobs.is_empty() {
            self.jobs = Vec::new();
        }
    }

    /// Bytes that wait to be sent to targets, as they are allocated.
    #[must_use]
    pub fn export_buffers_usage(&self) -> usize {
        self.jobs
            .iter()
            .filter(|job| job.direction == Direction::Export)
            .map(|job| job.outgoing.memory_usage())
            .sum()
    }
}

impl MemoryUsage for SlotMigrations {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.jobs) + self.jobs.iter().map(MemoryUsage::memory_usage).sum::<usize>()
    }
}

impl Server {
    /// A job of this node.
    fn migration(&self, id: JobId) -> Option<&Job> {
        self.cluster.as_ref()?.migrations.get(id)
    }

    /// A job of this node, to change.
    fn migration_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.cluster.as_mut()?.migrations.get_mut(id)
    }
}
