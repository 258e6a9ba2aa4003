//! Which place has what hashes to a number: an index that grows and shrinks a segment at a time.
//!
//! Segments are hash tables of a few thousand places. When there are too many for each, one segment is split in two, the
//! next one in turn (linear hashing); so no insertion moves more than a segment, however long the index is.

use hashbrown::HashTable;

use crate::memory::{usable_size, vec_usage};

/// Places for each segment, in the mean: those not yet split have twice as many, which a table of 8192 buckets holds.
const SEGMENT: usize = if cfg!(test) { 12 } else { 3072 };

/// A place and a part of what it hashes to, so that no move has to look at what is there.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: u32,
    bits: u32,
}

impl Entry {
    fn new(hash: u64, place: u32) -> Self {
        Self { place, bits: (hash >> 32) as u32 }
    }

    /// What the segments hash by: they look at the first and at the last bits.
    #[inline]
    fn hash(&self) -> u64 {
        u64::from(self.bits) << 32 | u64::from(self.bits)
    }
}

/// What the allocator gives a segment, aligned to 16 bytes.
fn segment_bytes(segment: &HashTable<Entry>) -> usize {
    usable_size(segment.allocation_size().next_multiple_of(16))
}

/// Segments that go at once; each had a quarter of that many places, or less.
const MERGED_AT_ONCE: usize = 4;

/// The index.
#[derive(Debug, Default)]
pub(super) struct PlaceIndex {
    first: HashTable<Entry>,
    rest: Vec<HashTable<Entry>>,
    len: usize,
    /// Bytes of the segments.
    allocated: usize,
}

impl PlaceIndex {
    /// An index with room for so many, but at most a segment.
    pub(super) fn with_room(room: usize) -> Self {
        let first = HashTable::with_capacity(room.min(2 * SEGMENT));
        let allocated = segment_bytes(&first);
        Self { first, allocated, ..Self::default() }
    }

    /// Which segment something belongs to.
    #[inline]
    fn number_of(&self, bits: u32) -> usize {
        // Within a segment the bits before these decide.
        let bits = bits.rotate_right(13) as usize;
        let count = self.rest.len() + 1;
        let mask = count.next_power_of_two() - 1;
        match bits & mask {
            number if number < count => number,
            // It is yet to be split.
            number => number & (mask >> 1),
        }
    }

    #[inline]
    fn numbered(&mut self, number: usize) -> &mut HashTable<Entry> {
        self.rest.get_mut(number.wrapping_sub(1)).unwrap_or(&mut self.first)
    }

    #[inline]
    fn segment_mut(&mut self, bits: u32) -> &mut HashTable<Entry> {
        if self.rest.is_empty() {
            return &mut self.first;
        }
        self.numbered(self.number_of(bits))
    }

    /// The place with this hash that is the one.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let sought = Entry::new(hash, 0);
        let segment = match self.rest.is_empty() {
            true => &self.first,
            false => self.rest.get(self.number_of(sought.bits).wrapping_sub(1)).unwrap_or(&self.first),
        };
        let found = segment.find(sought.hash(), |entry| entry.bits == sought.bits && is_it(entry.place));
        found.map(|entry| entry.place)
    }

    /// Adds a place that is not there.
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        let entry = Entry::new(hash, place);
        let segment = self.segment_mut(entry.bits);
        if segment.len() < segment.capacity() {
            segment.insert_unique(entry.hash(), entry, Entry::hash);
        } else {
            let before = segment_bytes(segment);
            segment.insert_unique(entry.hash(), entry, Entry::hash);
            let after = segment_bytes(segment);
            self.allocated = self.allocated + after - before;
        }
        self.len += 1;
        if self.len > (self.rest.len() + 1) * SEGMENT {
            self.split();
        }
    }

    /// Puts another place where one was.
    pub(super) fn replace(&mut self, hash: u64, from: u32, to: u32) {
        let sought = Entry::new(hash, from);
        let segment = self.segment_mut(sought.bits);
        if let Some(entry) = segment.find_mut(sought.hash(), |entry| entry.place == from) {
            entry.place = to;
        }
    }

    /// Takes a place out. [`Self::settle`] is to follow, now and then.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let sought = Entry::new(hash, place);
        let segment = self.segment_mut(sought.bits);
        if let Ok(entry) = segment.find_entry(sought.hash(), |entry| entry.place == place) {
            entry.remove();
            self.len -= 1;
        }
    }

    /// Has some segments less if there are too many for what is left.
    pub(super) fn settle(&mut self) {
        for _ in 0..MERGED_AT_ONCE {
            if self.len < self.rest.len() * SEGMENT / 4 {
                self.merge();
            }
        }
    }

    /// Gives back what the last segment that is left has too much of.
    pub(super) fn shrink(&mut self) {
        if self.rest.is_empty() && self.first.capacity() > 4 * self.first.len() + 1024 {
            self.first.shrink_to(self.first.len() * 2, Entry::hash);
            self.rest = Vec::new();
            self.allocated = segment_bytes(&self.first);
        }
    }

    /// Moves about half of the segment whose turn it is to a new one.
    #[cold]
    fn split(&mut self) {
        let number = self.rest.len() + 1;
        let parent = number - (1 << number.ilog2());
        let old = std::mem::take(self.numbered(parent));
        let room = old.len() / 2 + old.len() / 16;
        self.rest.push(HashTable::with_capacity(room));
        *self.numbered(parent) = HashTable::with_capacity(room);
        for entry in &old {
            self.segment_mut(entry.bits).insert_unique(entry.hash(), *entry, Entry::hash);
        }
        let (left, right) = (segment_bytes(self.numbered(parent)), segment_bytes(self.numbered(number)));
        self.allocated = self.allocated + left + right - segment_bytes(&old);
    }

    /// Gives the last segment's places back to the one it was split from.
    #[cold]
    fn merge(&mut self) {
        let Some(last) = self.rest.pop() else { return };
        if self.rest.capacity() > 4 * self.rest.len() + 16 {
            self.rest.shrink_to(2 * self.rest.len());
        }
        let number = self.rest.len() + 1;
        let parent = self.numbered(number - (1 << number.ilog2()));
        let before = segment_bytes(parent);
        for entry in &last {
            parent.insert_unique(entry.hash(), *entry, Entry::hash);
        }
        let after = segment_bytes(parent);
        self.allocated = self.allocated + after - before - segment_bytes(&last);
    }

    /// Gives back some segments of an index that nobody will use again; false once only one is left.
    pub(super) fn free_some(&mut self) -> bool {
        for segment in self.rest.drain(self.rest.len().saturating_sub(64)..) {
            self.allocated -= segment_bytes(&segment);
        }
        !self.rest.is_empty()
    }

    /// Bytes of the segments and of their list.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        self.allocated + vec_usage(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::hash::hash;

    fn hash_of(place: u32) -> u64 {
        hash(&place.to_le_bytes())
    }

    #[test]
    fn finds_what_is_there_while_it_grows_and_shrinks() {
        let mut index = PlaceIndex::default();
        let find = |index: &PlaceIndex, place: u32| index.find(hash_of(place), |known| known == place);
        for place in 0..5000 {
            index.insert(hash_of(place), place);
            assert_eq!(find(&index, place / 2), Some(place / 2));
            assert_eq!(find(&index, place + 1), None);
        }
        assert!(index.rest.len() > 100);
        let bytes: usize = index.rest.iter().chain([&index.first]).map(segment_bytes).sum();
        assert_eq!(index.allocated, bytes);
        assert!((0..5000).all(|place| find(&index, place) == Some(place)));
        for place in 0..5000 {
            index.remove(hash_of(place), place);
            index.settle();
            assert_eq!(find(&index, place), None);
            assert_eq!(find(&index, 4999), Some(4999).filter(|last| *last != place));
        }
        index.shrink();
        assert!(index.rest.len() < 2 && index.len == 0, "{} segments", index.rest.len() + 1);
        let bytes: usize = index.rest.iter().chain([&index.first]).map(segment_bytes).sum();
        assert_eq!(index.allocated, bytes);
    }

    #[test]
    fn a_place_takes_that_of_another() {
        let mut index = PlaceIndex::default();
        (0..100).for_each(|place| index.insert(hash_of(place), place));
        index.replace(hash_of(7), 7, 1007);
        assert_eq!(index.find(hash_of(7), |place| place == 1007), Some(1007));
        assert_eq!(index.find(hash_of(7), |place| place == 7), None);
    }

    #[test]
    fn no_segment_is_much_longer_than_another() {
        let mut index = PlaceIndex::default();
        for place in 0..20_000 {
            index.insert(hash_of(place), place);
            // What one insertion moves is a segment.
            let number = index.rest.len();
            assert!(index.numbered(number).len() < 5 * SEGMENT, "{place}");
        }
        assert!(index.rest.iter().all(|segment| segment.len() < 5 * SEGMENT));
    }
}
