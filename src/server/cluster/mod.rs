//! A node of a cluster, as far as it knows itself: who it is, which hash slots it serves, and whether it may serve keys.
//!
//! There is no bus to other nodes yet, so the cluster has this one node: a slot is this node's or nobody's, nothing is
//! ever moved elsewhere, and an epoch is what an administrator made it. What is known is kept in the node file
//! (`file.rs`), which is Valkey's.

mod check;
mod clients;
mod describe;
pub mod file;
mod statistics;
#[cfg(test)]
mod tests;

pub use describe::Endpoint;
pub use statistics::{Metric, SlotStatistics};

use std::io;

use super::Server;
use crate::algorithms::slot::SLOTS;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::memory::{MemoryUsage, box_usage, usable_size};
use statistics::Statistics;

/// Length of the ids of nodes and shards: hexadecimal digits.
pub const ID_LENGTH: usize = 40;

/// How far the port of the bus is from the client port when none is given.
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// Why a node without slots serves no keys, in Valkey's words.
const WITHOUT_SLOTS: &str = "I am part of a minority partition.";

/// This node.
#[derive(Debug)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// The id of its shard.
    pub shard_id: String,
    /// The epoch of its slots.
    pub config_epoch: u64,
    /// The highest epoch that it has seen.
    pub current_epoch: u64,
    /// The epoch in which it voted last; kept for the file.
    pub last_vote_epoch: u64,
    /// Which slots it serves, one bit each.
    slots: Box<[u64; SLOTS / 64]>,
    assigned: usize,
    /// What the commands on each slot cost, while that is wanted.
    statistics: Statistics,
    /// The slot that the running request is for.
    pub running_slot: Option<u16>,
    /// What the log said last of the state.
    logged_ok: bool,
    logged_reason: Option<&'static str>,
}

/// 40 random hexadecimal digits.
fn random_id() -> String {
    let mut random = [0_u8; ID_LENGTH / 2];
    if getrandom::fill(&mut random).is_err() {
        fastrand::fill(&mut random);
    }
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Default for Cluster {
    /// A node that nobody has heard of, without slots.
    fn default() -> Self {
        Self {
            id: random_id(),
            shard_id: random_id(),
            config_epoch: 0,
            current_epoch: 0,
            last_vote_epoch: 0,
            slots: Box::new([0; SLOTS / 64]),
            assigned: 0,
            statistics: Statistics::default(),
            running_slot: None,
            logged_ok: false,
            logged_reason: Some(WITHOUT_SLOTS),
        }
    }
}

impl Cluster {
    /// Whether this node serves a slot.
    #[must_use]
    pub fn serves(&self, slot: u16) -> bool {
        let word = self.slots.get(usize::from(slot) / 64).copied().unwrap_or(0);
        word >> (slot % 64) & 1 == 1
    }

    /// Begins to serve a slot.
    pub fn assign(&mut self, slot: u16) {
        if !self.serves(slot)
            && let Some(word) = self.slots.get_mut(usize::from(slot) / 64)
        {
            *word |= 1 << (slot % 64);
            self.assigned += 1;
            self.statistics.reset(slot);
        }
    }

    /// Ceases to serve a slot; what it cost is forgotten.
    pub fn unassign(&mut self, slot: u16) {
        if self.serves(slot)
            && let Some(word) = self.slots.get_mut(usize::from(slot) / 64)
        {
            *word &= !(1 << (slot % 64));
            self.assigned -= 1;
            self.statistics.reset(slot);
        }
    }

    /// How many slots it serves.
    #[must_use]
    pub fn assigned(&self) -> usize {
        self.assigned
    }

    /// The slots it serves, in order.
    pub fn slots(&self) -> impl Iterator<Item = u16> + '_ {
        (0..SLOTS as u16).filter(|slot| self.serves(*slot))
    }

    /// The slots it serves as ranges, both ends included.
    #[must_use]
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in self.slots() {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == slot => *end = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }

    /// Why keys are not served; `None` when they are. A cluster of one node is whole when the node serves every slot, or
    /// any slot at all when `cluster-require-full-coverage` is off.
    fn failure(&self, config: &Config) -> Option<&'static str> {
        if self.assigned == 0 {
            Some(WITHOUT_SLOTS)
        } else if config.cluster_require_full_coverage && self.assigned < SLOTS {
            Some(
                "At least one hash slot is not served by any available node. Please check the \
                 'cluster-require-full-coverage' configuration.",
            )
        } else {
            None
        }
    }

    /// Whether keys are served.
    #[must_use]
    pub fn is_ok(&self, config: &Config) -> bool {
        self.failure(config).is_none()
    }

    /// Tells the log when the state, or the reason for it, has changed.
    pub fn log_state(&mut self, config: &Config) {
        let reason = self.failure(config);
        if reason.is_none() != self.logged_ok {
            match reason {
                None => tracing::info!("Cluster state changed: ok"),
                Some(_) => tracing::warn!("Cluster state changed: fail"),
            }
            self.logged_ok = reason.is_none();
        }
        if let Some(reason) = reason.filter(|reason| self.logged_reason != Some(*reason)) {
            tracing::warn!("Cluster is currently down: {reason}");
        }
        self.logged_reason = reason;
    }

    /// Makes its epoch the highest; says whether it was not.
    pub fn bump_epoch(&mut self) -> bool {
        if self.config_epoch != 0 && self.config_epoch == self.current_epoch.max(self.config_epoch) {
            return false;
        }
        self.current_epoch += 1;
        self.config_epoch = self.current_epoch;
        tracing::info!("New configEpoch set to {}", self.config_epoch);
        true
    }

    /// Serves no slot any more and belongs to a new shard; after a hard reset it is another node altogether.
    pub fn reset(&mut self, hard: bool) {
        for slot in 0..SLOTS as u16 {
            self.unassign(slot);
        }
        if hard {
            (self.config_epoch, self.current_epoch, self.last_vote_epoch) = (0, 0, 0);
            tracing::info!("configEpoch set to 0 via CLUSTER RESET HARD");
            self.id = random_id();
            tracing::info!("Node hard reset, now I'm {}", self.id);
        }
        self.shard_id = random_id();
        tracing::info!("Moving myself to a new shard {}.", self.shard_id);
    }

    /// Serves every slot that has keys, whatever the node file says; says whether that changed anything.
    pub fn take_slots_of_keys(&mut self, keyspace: &Keyspace) -> bool {
        let before = self.assigned;
        for slot in 0..SLOTS as u16 {
            if !self.serves(slot) && keyspace.keys_in_slot(slot) > 0 {
                tracing::info!("I have keys for unassigned slot {slot}. Taking responsibility for it.");
                self.assign(slot);
            }
        }
        self.assigned != before
    }
}

impl MemoryUsage for Cluster {
    fn memory_usage(&self) -> usize {
        box_usage::<Self>()
            + usable_size(self.id.capacity())
            + usable_size(self.shard_id.capacity())
            + box_usage::<[u64; SLOTS / 64]>()
            + self.statistics.memory_usage()
    }
}

impl Server {
    /// Keeps what the cluster has become: in the node file, and in the log where its state has changed.
    ///
    /// # Errors
    /// The system's, for the file.
    pub fn save_cluster(&mut self) -> io::Result<()> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        cluster.log_state(&self.config);
        let path = self.config.cluster_config_file.as_path();
        file::save(path, &cluster.file_text(&self.config))
    }

    /// The same where nobody waits to be told: what goes wrong is in the log. Clients that wait for what is not served
    /// any more are told too.
    pub fn cluster_changed(&mut self) {
        self.leave_unserved();
        if let Err(error) = self.save_cluster() {
            tracing::warn!("Could not save the cluster configuration: {error}");
        }
    }
}
