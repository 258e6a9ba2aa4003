//! What happens to keys while something else is done: they expire when they are met, they come into being, they are
//! looked for in vain. The keyspace knows nobody to tell, so it keeps notes, and whoever runs the command collects them.

use super::{Entry, Keyspace};

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Its time had come: it was deleted.
    Expired,
    /// Fields of its hash were deleted as their time had come.
    FieldsExpired,
    /// It was deleted as its collection had become empty.
    Emptied,
    /// It was deleted to make room.
    Evicted,
    /// It came into being.
    New,
    /// It was read and is not there.
    Missed,
}

/// A happening with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The database of the key.
    pub database: usize,
    /// What happened.
    pub what: Happening,
    /// The key.
    pub key: Vec<u8>,
    /// The fields that went with [`Happening::FieldsExpired`]; none for anything else.
    pub fields: Vec<Vec<u8>>,
}

/// Which of the frequent happenings are noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reports {
    /// [`Happening::New`].
    pub new_keys: bool,
    /// [`Happening::Missed`].
    pub misses: bool,
}

impl Keyspace {
    pub(super) fn note(&mut self, database: usize, what: Happening, key: &[u8]) {
        self.happened.push(Happened { database, what, key: key.to_vec(), fields: Vec::new() });
    }

    pub(super) fn note_expired_fields(&mut self, database: usize, key: &[u8], fields: Vec<Vec<u8>>) {
        let what = Happening::FieldsExpired;
        self.happened.push(Happened { database, what, key: key.to_vec(), fields });
    }

    /// Whether there are notes to collect.
    #[inline]
    #[must_use]
    pub fn has_happened(&self) -> bool {
        !self.happened.is_empty()
    }

    /// Keeps a deleted entry for whoever collects the notes: freeing it may be left to another thread.
    pub(super) fn discard(&mut self, entry: Entry) {
        self.discarded.push(entry);
    }

    /// The entries that look-ups have deleted since the last time.
    pub fn take_discarded(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.discarded)
    }

    /// The notes since the last time, in order.
    pub fn take_happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }
}
