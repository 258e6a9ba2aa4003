//! Databases, entries, expiry, scan, random keys.

pub mod access;
mod database;
mod entry;
mod eviction;
mod expiry;
mod happenings;
mod importing;
mod keys;
mod relocation;
mod slot_index;
#[cfg(test)]
mod tests;

pub use crate::types::string::StringRef;
pub use database::Database;
pub use entry::{CLOCK_MAX, Entry, RawStringMut, ValueMut, ValueRef};
pub use eviction::{EvictionOrder, EvictionPolicy, Victim};
pub use expiry::ExpiryBudget;
pub use happenings::{Happened, Happening, Reports};
pub use keys::{KeyHash, Keys, WriteExpiry};
pub use relocation::KeyTally;

use std::rc::Rc;

use access::AccessPolicy;
use eviction::Candidates;

use crate::algorithms::hash::hash;
use crate::algorithms::slot_set::SlotSet;
use crate::memory::{MemoryUsage, vec_usage};
use crate::structures::hash_table::Mark;

/// Every database of the server, and what is true of all of them.
pub struct Keyspace {
    databases: Vec<Database>,
    /// How an access changes an entry's clock.
    pub access_policy: AccessPolicy,
    /// While a child shares the pages, reads leave them alone.
    child_alive: bool,
    /// What a look-up does that comes across an expired entry.
    pub expired: ExpiredEntries,
    /// What the keyspace counts for INFO.
    pub counters: Counters,
    /// Which happenings somebody wants to hear of; expiries are always noted.
    pub reports: Reports,
    happened: Vec<Happened>,
    /// Entries that look-ups have deleted and nobody has freed yet.
    discarded: Vec<Entry>,
    candidates: Candidates,
    /// The database that gave the last random victim.
    next_to_evict: usize,
    /// The database at which active expiry goes on.
    next_to_expire: usize,
    random: fastrand::Rng,
    /// Slots whose keys are here before the slots are: see `importing.rs`.
    importing: Option<Box<SlotSet>>,
    /// The sources of function libraries: snapshots hold them beside the databases. Who runs them has them too.
    libraries: Vec<Rc<[u8]>>,
    libraries_unread: bool,
}

/// What a look-up does that comes across an entry whose time is over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredEntries {
    /// Deletes it.
    #[default]
    Delete,
    /// Acts as if it were not there, and leaves its deletion to the primary. For commands that do not write.
    Hide,
    /// Finds it: the commands of a primary mean what the primary has not deleted.
    Find,
}

/// Counters that INFO shows and CONFIG RESETSTAT clears, except for `changes`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counters {
    /// Changes since the last successful save (`rdb_changes_since_last_save`).
    pub changes: u64,
    /// Look-ups for reading that found a key.
    pub hits: u64,
    /// Look-ups for reading that found none.
    pub misses: u64,
    /// Entries deleted because their time had come.
    pub expired: u64,
    /// Hash fields deleted because their time had come.
    pub expired_fields: u64,
    /// Estimated share of the keys with an expiry that have expired and are still there, in percent.
    pub expired_stale_percent: f64,
    /// Times active expiry ended for want of time.
    pub expired_time_cap_reached: u64,
    /// Entries deleted to make room.
    pub evicted: u64,
}

impl Keyspace {
    /// A keyspace of `count` empty databases.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            databases: (0..count).map(|_| Database::default()).collect(),
            access_policy: AccessPolicy::Lru,
            child_alive: false,
            expired: ExpiredEntries::default(),
            counters: Counters::default(),
            reports: Reports::default(),
            happened: Vec::new(),
            discarded: Vec::new(),
            candidates: Candidates::default(),
            next_to_evict: 0,
            next_to_expire: 0,
            random: fastrand::Rng::new(),
            importing: None,
            libraries: Vec::new(),
            libraries_unread: false,
        }
    }

    /// Whether an expired entry counts as none for the running command.
    #[must_use]
    pub fn hides_expired(&self) -> bool {
        self.expired != ExpiredEntries::Find
    }

    /// Replaces the sources of function libraries by what they are now.
    pub fn set_libraries(&mut self, sources: Vec<Rc<[u8]>>) {
        self.libraries = sources;
        self.libraries_unread = false;
    }

    /// Adds the source of a function library that a snapshot holds; [`Self::unread_libraries`] gives it out.
    pub fn add_library(&mut self, source: Vec<u8>) {
        self.libraries.push(source.into());
        self.libraries_unread = true;
    }

    /// The sources of function libraries, in the order of their names.
    #[must_use]
    pub fn libraries(&self) -> &[Rc<[u8]>] {
        &self.libraries
    }

    /// All sources, if some have come from a snapshot since the last time.
    pub fn unread_libraries(&mut self) -> Option<Vec<Rc<[u8]>>> {
        std::mem::take(&mut self.libraries_unread).then(|| self.libraries.clone())
    }

    /// The databases in order.
    #[must_use]
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The databases in order, to change.
    pub fn databases_mut(&mut self) -> &mut [Database] {
        &mut self.databases
    }

    /// The random source of sampling and random keys.
    pub fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    /// Whether a database still holds this key though its time has come.
    #[must_use]
    pub fn holds_expired(&self, database: usize, key: &[u8], now_ms: i64) -> bool {
        self.has_expired(database, key, now_ms) == Some(true)
    }

    /// Whether a database holds this key and its time has not come.
    #[must_use]
    pub fn holds_live(&self, database: usize, key: &[u8], now_ms: i64) -> bool {
        self.has_expired(database, key, now_ms) == Some(false)
    }

    /// Whether the time of the entry under this key has come; `None` without an entry.
    fn has_expired(&self, database: usize, key: &[u8], now_ms: i64) -> Option<bool> {
        let table = self.databases.get(database)?.table();
        table.find(hash(key), key).map(|position| table.get(position).is_expired(now_ms))
    }

    /// Exchanges the contents of two databases. Both must exist.
    pub fn swap_databases(&mut self, first: usize, second: usize) {
        self.databases.swap(first, second);
    }

    /// Begins to index the keys of each hash slot: this is a node of a cluster. The databases must be empty.
    pub fn index_slots(&mut self) {
        self.databases.iter_mut().for_each(Database::index_slots);
    }

    /// How many keys a hash slot has, over all databases.
    #[must_use]
    pub fn keys_in_slot(&self, slot: u16) -> usize {
        self.databases.iter().map(|database| database.keys_in_slot(slot)).sum()
    }

    /// Bytes of the indexes of slots.
    #[must_use]
    pub fn slots_usage(&self) -> usize {
        self.databases.iter().map(Database::slots_usage).sum()
    }

    /// Keys over all databases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.databases.iter().map(Database::len).sum()
    }

    /// Whether no database has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says that a child begins or ends to share the pages: meanwhile tables put off their splits and reads leave the
    /// access clocks alone.
    pub fn set_child_alive(&mut self, alive: bool) {
        self.child_alive = alive;
        for database in &mut self.databases {
            database.table_mut().resize_paused(alive);
        }
    }

    /// Bytes of the tables' indexes of what expires: keys, and hashes with fields that do.
    #[must_use]
    pub fn expiry_index_usage(&self) -> (usize, usize) {
        let of =
            |mark| self.databases.iter().map(|database| database.table().mark_usage(mark)).sum::<usize>();
        (of(Mark::Expires), of(Mark::FieldsExpire))
    }

    /// Bytes of the tables: buckets and directories, entries not included; and of the candidates for eviction.
    #[must_use]
    pub fn table_usage(&self) -> usize {
        vec_usage(&self.databases)
            + vec_usage(&self.libraries)
            + self.candidates.memory_usage()
            + self.databases.iter().map(|database| database.table().memory_usage()).sum::<usize>()
    }
}
