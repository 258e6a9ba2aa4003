//! One database: a table of entries and what expiry needs to know of it.

use super::entry::Entry;
use crate::structures::hash_table::{HashTable, Mark};

/// A numbered database.
#[derive(Default)]
pub struct Database {
    pub(super) table: HashTable<Entry>,
    /// Where the active expiry of entries goes on.
    pub(super) expiry_cursor: usize,
    /// Where the active expiry of hash fields goes on.
    pub(super) field_cursor: usize,
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

    /// The table of entries.
    #[must_use]
    pub fn table(&self) -> &HashTable<Entry> {
        &self.table
    }

    /// The table of entries, to change.
    pub fn table_mut(&mut self) -> &mut HashTable<Entry> {
        &mut self.table
    }

    /// Takes everything out and leaves an empty database.
    #[must_use]
    pub fn take(&mut self) -> HashTable<Entry> {
        std::mem::take(self).table
    }
}
