//! Moving a database's entries together, with all that they own.

use super::database::Database;
use crate::memory::{Mover, Relocate};
use crate::structures::hash_table::Place;

/// For how many keys something was moved, and for how many nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct KeyTally {
    /// Times that a key was looked at and something of it was moved.
    pub hits: u64,
    /// Times that nothing was.
    pub misses: u64,
}

impl Database {
    /// Moves what lies badly from `place` on until the mover is spent, and gives where to go on; `None` at the end. What
    /// takes up to `whole_max` allocations is done at once, larger values piece by piece.
    pub fn relocate(
        &mut self,
        place: Place,
        mover: &mut Mover,
        whole_max: usize,
        keys: &mut KeyTally,
    ) -> Option<Place> {
        self.table.relocate_elements(place, mover, |entry, part, mover| {
            let before = mover.hits;
            let mut next = entry.relocate(part, mover);
            while next != 0 && entry.effort() <= whole_max {
                next = entry.relocate(next, mover);
            }
            if mover.hits > before {
                keys.hits += 1;
            } else {
                keys.misses += 1;
            }
            next
        })
    }
}
