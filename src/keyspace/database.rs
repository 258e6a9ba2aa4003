//! One database: a table of entries and what expiry needs to know of it.

use super::entry::Entry;
use super::slot_index::SlotIndex;
use crate::algorithms::hash::hash;
use crate::algorithms::slot::slot_of;
use crate::memory::Mover;
use crate::structures::hash_table::{Borrowed, HashTable, Mark, Position};

/// A numbered database.
#[derive(Default)]
pub struct Database {
    pub(super) table: HashTable<Entry>,
    /// Which keys each hash slot has; only a node of a cluster needs to know.
    slots: Option<SlotIndex>,
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
        if let Some(slots) = &mut self.slots {
            slots.insert(slot_of(entry.key()), hash);
        }
        self.used = true;
        self.table.insert(hash, entry)
    }

    /// Takes an entry out.
    #[inline]
    pub fn remove(&mut self, position: Position) -> Entry {
        let entry = self.table.remove(position);
        if let Some(slots) = &mut self.slots {
            slots.remove(slot_of(entry.key()), hash(entry.key()));
        }
        entry
    }

    /// Begins to index the keys of each hash slot; the database must be empty.
    pub(super) fn index_slots(&mut self) {
        self.slots = Some(SlotIndex::default());
    }

    /// How many keys a hash slot has; 0 when slots are not indexed.
    #[must_use]
    pub fn keys_in_slot(&self, slot: u16) -> usize {
        self.slots.as_ref().map_or(0, |slots| slots.len(slot))
    }

    /// The entries of a hash slot, in no particular order; none when slots are not indexed.
    pub fn entries_in_slot(&self, slot: u16) -> impl Iterator<Item = Borrowed<'_, Entry>> {
        let halves = self.slots.iter().flat_map(move |slots| slots.halves(slot));
        halves.flat_map(move |half| self.entries_like(slot, half))
    }

    /// The keys of some entries of a hash slot: none only if there are none. For deleting all of them.
    #[must_use]
    pub fn some_keys_in_slot(&self, slot: u16) -> Vec<Vec<u8>> {
        /// Enough that looking for them again and again costs nothing to speak of.
        const AT_ONCE: usize = 1000;
        self.entries_in_slot(slot).take(AT_ONCE).map(|entry| entry.key().to_vec()).collect()
    }

    /// One step of a scan over the entries of a hash slot: calls `visit` with those at `cursor` and returns the next
    /// cursor. A scan begins with cursor 0 and is complete when 0 comes back.
    pub fn scan_slot(&self, slot: u16, cursor: u64, mut visit: impl FnMut(&Entry)) -> u64 {
        let Some(slots) = &self.slots else { return 0 };
        slots.scan(slot, cursor, |half| self.entries_like(slot, half).for_each(|entry| visit(&entry)))
    }

    /// The entries of a slot whose keys' hashes have this low half.
    fn entries_like(&self, slot: u16, half: u32) -> impl Iterator<Item = Borrowed<'_, Entry>> {
        self.table
            .like(half)
            .filter(move |entry| hash(entry.key()) as u32 == half && slot_of(entry.key()) == slot)
    }

    /// Moves what lies badly of the index of slots, from `cursor` on until the mover is spent; gives where to go on, 0
    /// at the end.
    pub fn relocate_slots(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        self.slots.as_mut().map_or(0, |slots| slots.relocate(cursor, mover))
    }

    /// Bytes of the index of slots.
    #[must_use]
    pub fn slots_usage(&self) -> usize {
        self.slots.as_ref().map_or(0, SlotIndex::memory_usage)
    }

    /// An empty database that indexes slots if this one does.
    #[must_use]
    pub fn empty_like(&self) -> Self {
        Self { slots: self.slots.as_ref().map(|_| SlotIndex::default()), ..Self::default() }
    }

    /// Takes everything out and leaves an empty database.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = self.empty_like();
        std::mem::replace(self, empty)
    }

    /// Hands over some of the entries of a database that is to be freed piece by piece, or frees some of its index;
    /// `false` when nothing is left. Meanwhile it can be weighed, but no longer be searched.
    pub fn take_apart(&mut self, take: impl FnMut(Entry)) -> bool {
        self.table.pop_bucket(take) || self.slots.as_mut().is_some_and(SlotIndex::pop_slot)
    }
}
