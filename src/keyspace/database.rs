//! One database: a table of entries and what expiry needs to know of it.

use super::entry::Entry;
use crate::algorithms::slot::{SLOTS, slot_of};
use crate::structures::hash_table::{HashTable, Mark, Position};

/// A numbered database.
#[derive(Default)]
pub struct Database {
    pub(super) table: HashTable<Entry>,
    /// How many keys each hash slot has; only a node of a cluster counts.
    slots: Option<Box<[u32]>>,
    /// Where the active expiry of entries goes on.
    pub(super) expiry_cursor: usize,
    /// Where the active expiry of hash fields goes on.
    pub(super) field_cursor: usize,
    /// It has held something since the start or since it was emptied as a whole.
    used: bool,
    /// Smoothed mean of the time to live of the entries that have one, in milliseconds (INFO `avg_ttl`).
    pub average_ttl_ms: i64,
}

impl Database {
    /// Keys in this database, expired ones that are still there included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys that have an expiry.
    #[must_use]
    pub fn expires(&self) -> usize {
        self.table.marked(Mark::Expires)
    }

    /// Hashes that have fields with an expiry (in the full encoding).
    #[must_use]
    pub fn volatile_hashes(&self) -> usize {
        self.table.marked(Mark::FieldsExpire)
    }

    /// Whether it has held something since the start or since it was emptied as a whole.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// The table of entries.
    #[must_use]
    pub fn table(&self) -> &HashTable<Entry> {
        &self.table
    }

    /// The table of entries, to change.
    pub fn table_mut(&mut self) -> &mut HashTable<Entry> {
        &mut self.table
    }

    /// Puts an entry whose key is absent.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: Entry) -> Position {
        if let Some(slots) = &mut self.slots
            && let Some(count) = slots.get_mut(usize::from(slot_of(entry.key())))
        {
            *count += 1;
        }
        self.used = true;
        self.table.insert(hash, entry)
    }

    /// Takes an entry out.
    #[inline]
    pub fn remove(&mut self, position: Position) -> Entry {
        let entry = self.table.remove(position);
        if let Some(slots) = &mut self.slots
            && let Some(count) = slots.get_mut(usize::from(slot_of(entry.key())))
        {
            *count -= 1;
        }
        entry
    }

    /// Begins to count the keys of each hash slot; the database must be empty.
    pub(super) fn count_slots(&mut self) {
        self.slots = Some(vec![0; SLOTS].into_boxed_slice());
    }

    /// How many keys a hash slot has; 0 when that is not counted.
    #[must_use]
    pub fn keys_in_slot(&self, slot: u16) -> usize {
        let count = self.slots.as_ref().and_then(|slots| slots.get(usize::from(slot)));
        count.map_or(0, |count| *count as usize)
    }

    /// Bytes of the counts of slots.
    #[must_use]
    pub fn slots_usage(&self) -> usize {
        self.slots.as_ref().map_or(0, |slots| crate::memory::usable_size(size_of_val::<[u32]>(slots)))
    }

    /// An empty database that counts what this one counts.
    #[must_use]
    pub fn empty_like(&self) -> Self {
        let mut empty = Self::default();
        if self.slots.is_some() {
            empty.count_slots();
        }
        empty
    }

    /// Takes everything out and leaves an empty database.
    #[must_use]
    pub fn take(&mut self) -> HashTable<Entry> {
        let empty = self.empty_like();
        std::mem::replace(self, empty).table
    }
}
