//! Moving a table's blocks and its elements, in the order of its buckets. What splits and merges move past the cursor
//! is left to the next time.

use super::walk::prefetch_ahead;
use super::{Element, HashTable, Position};
use crate::memory::{Mover, Relocate};

/// Where moving a table's elements goes on, and within a large element where in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    bucket: u32,
    ordinal: u32,
    /// The element's own cursor.
    part: usize,
}

impl<E: Element> HashTable<E> {
    /// How many buckets there are: the end of the cursor of [`HashTable::relocate_blocks`].
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.buckets.count() as usize
    }

    /// Moves the table's own blocks, as [`Relocate`] has it; the cursor counts buckets.
    pub fn relocate_blocks(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        let count = self.buckets.count();
        for bucket in (0..count).skip(cursor) {
            self.relocate_bucket(bucket, mover);
            if mover.is_spent() && bucket + 1 < count {
                return bucket as usize + 1;
            }
        }
        0
    }

    fn relocate_bucket(&mut self, bucket: u32, mover: &mut Mover) {
        mover.pass();
        self.buckets.relocate(bucket, mover);
        if let Some(marks) = &mut self.marks {
            if bucket == 0 {
                mover.relocate_box(marks);
            }
            marks.relocate(bucket, mover);
        }
    }

    /// Moves the table's own blocks and has `relocate` move each element: it gets the cursor within the element, and
    /// gives the next one, 0 when it is through. Goes on until the mover is spent, from `place` on, and gives where to go
    /// on; `None` at the end of the table.
    pub fn relocate_elements(
        &mut self,
        place: Place,
        mover: &mut Mover,
        mut relocate: impl FnMut(&mut E, usize, &mut Mover) -> usize,
    ) -> Option<Place> {
        let Place { mut bucket, mut ordinal, mut part } = place;
        while bucket < self.buckets.count() {
            if ordinal == 0 && part == 0 {
                prefetch_ahead(&self.buckets, bucket);
                self.relocate_bucket(bucket, mover);
            }
            if (ordinal as usize) < self.buckets.chain_len(bucket) {
                part = relocate(&mut self.get_mut(Position { bucket, ordinal }), part, mover);
                ordinal += u32::from(part == 0);
            } else {
                (bucket, ordinal, part) = (bucket + 1, 0, 0);
            }
            if mover.is_spent() {
                return Some(Place { bucket, ordinal, part });
            }
        }
        None
    }
}

/// The elements are small: a step is some buckets, which the cursor counts.
impl<E: Element + Relocate> Relocate for HashTable<E> {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        let count = self.buckets.count();
        for bucket in (0..count).skip(cursor) {
            prefetch_ahead(&self.buckets, bucket);
            self.relocate_bucket(bucket, mover);
            for ordinal in 0..self.buckets.chain_len(bucket) as u32 {
                self.get_mut(Position { bucket, ordinal }).relocate(0, mover);
            }
            if mover.is_spent() && bucket + 1 < count {
                return bucket as usize + 1;
            }
        }
        0
    }
}
