//! The hash table of the keyspace, sets, hashes and sorted sets: linear hashing (Litwin) over 64-byte buckets.
//!
//! With N buckets, 2^L <= N < 2^(L+1), a hash belongs to the bucket of its low L+1 bits, or of its low L bits where
//! that one does not exist yet. Growth splits bucket N - 2^L into itself and bucket N; shrinking undoes the last
//! split. An operation does at most one of these (two while it catches up after a pause), so there is no second
//! table, no spike and no long pause. Elements are single blocks ([`Element`]) that the table owns.
//! Layouts: a slot in `word`, a bucket in `block`, all buckets in `buckets`; what the marks are for in `marks`.

mod block;
mod buckets;
mod element;
mod marks;
mod relocation;
mod statistics;
mod walk;
mod word;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};

use self::block::{Block, LINKED};
use self::buckets::Buckets;
use self::marks::MarkIndex;
use self::word::{Word, tag_of};
use crate::algorithms::bytes::same;
use crate::algorithms::hash::hash as hash_of;
use crate::memory::{MemoryUsage, box_usage, raw};

pub use self::element::{Borrowed, BorrowedMut, Element};
pub use self::marks::{Mark, Marks};
pub use self::relocation::Place;
pub use self::statistics::BucketStatistics;
pub use self::walk::Iter;

/// No further bucket is added beyond this many: chains grow instead.
const MAX_BUCKETS: u32 = 1 << 31;

/// Where an element is; valid until the table is changed otherwise than through this position's `get_mut` or
/// `replace`. A stale one leads to some other element or to a panic, never out of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    bucket: u32,
    ordinal: u32,
}

/// A table of owned elements, found by the bytes of their key. Empty, it allocates nothing.
pub struct HashTable<E: Element> {
    buckets: Buckets,
    len: usize,
    marks: Option<Box<MarkIndex>>,
    resize_paused: bool,
    elements: PhantomData<E>,
}

// SAFETY: the table owns its blocks and its elements alone; it is as free to move as they are.
unsafe impl<E: Element + Send> Send for HashTable<E> {}
// SAFETY: nothing is changed through a shared reference.
unsafe impl<E: Element + Sync> Sync for HashTable<E> {}

impl<E: Element> Default for HashTable<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Element> HashTable<E> {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: Buckets::new(), len: 0, marks: None, resize_paused: false, elements: PhantomData }
    }

    /// How many elements the table holds.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table holds nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element with this key, whose hash is `hash` (`algorithms::hash::hash`).
    #[inline]
    #[must_use]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        if self.len == 0 {
            return None;
        }
        let bucket = self.buckets.index(hash);
        let tag = tag_of(hash);
        let mut before = 0;
        for block in self.buckets.blocks(bucket) {
            let header = block.header();
            for slot in header.matches(tag) {
                let word = block.word(slot);
                if word.agrees(hash) && self.lend(word).key() == key {
                    return Some(Position { bucket, ordinal: (before + slot) as u32 });
                }
            }
            before += header.count();
        }
        None
    }

    /// As [`Self::find`] with the element itself, beginning at `guess`, where [`Self::prefetch_element`] or
    /// [`Self::prefetch_overflow`] saw what is probably it. A guess may be stale: it is checked.
    #[inline]
    #[must_use]
    pub fn find_near(
        &self,
        guess: Option<Position>,
        hash: u64,
        key: &[u8],
    ) -> Option<(Position, Borrowed<'_, E>)> {
        if let Some(position) = guess
            && let Some((block, slot)) = self.buckets.locate(position.bucket, position.ordinal)
            && block.word(slot).agrees(hash)
        {
            let element = self.lend(block.word(slot));
            if same(element.key(), key) {
                return Some((position, element));
            }
        }
        self.find(hash, key).map(|position| (position, self.get(position)))
    }

    #[inline]
    fn lend(&self, word: Word) -> Borrowed<'_, E> {
        // SAFETY: the word is an element's of this table, which is borrowed as long as the loan lasts.
        unsafe { Borrowed::new(word.block()) }
    }

    #[inline]
    fn locate(&self, position: Position) -> (Block, usize) {
        match self.buckets.locate(position.bucket, position.ordinal) {
            Some(place) => place,
            None => stale_position(),
        }
    }

    /// The element at `position`.
    #[inline]
    #[must_use]
    pub fn get(&self, position: Position) -> Borrowed<'_, E> {
        let (block, slot) = self.locate(position);
        self.lend(block.word(slot))
    }

    /// The element at `position`, to be changed. The position stays valid.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, position: Position) -> BorrowedMut<'_, E> {
        let (block, slot) = self.locate(position);
        // SAFETY: the table is lent mutably, so this handle is the only one; it goes back when the loan ends.
        let element = ManuallyDrop::new(unsafe { E::from_block(block.word(slot).block()) });
        BorrowedMut { element, table: self, position }
    }

    /// Changes the element at `position` in a way that leaves its block, key and marks as they are, which spares the table
    /// what [`Self::get_mut`] does at the end of its loan; lends it then.
    #[inline]
    pub fn amend(&mut self, position: Position, change: impl FnOnce(&mut E)) -> Borrowed<'_, E> {
        let (block, slot) = self.locate(position);
        let word = block.word(slot);
        // SAFETY: the table is lent mutably, so this handle is the only one; it is gone before the element is lent.
        let mut element = ManuallyDrop::new(unsafe { E::from_block(word.block()) });
        change(&mut element);
        debug_assert!(element.marks() == word.marks(), "an amendment changed the marks");
        self.lend(word)
    }

    /// Puts `element` into the slot whose element has been taken over, and returns the old word.
    #[inline]
    fn put_back(&mut self, position: Position, element: E) -> Word {
        let (block, slot) = self.locate(position);
        let old = block.word(slot);
        let marks = element.marks();
        if !old.marks().is_empty() || !marks.is_empty() {
            self.change_marks(position.bucket, old.marks(), marks, |mark| element.due_ms(mark));
        }
        let new = old.with_element(element.into_block(), marks);
        // Most loans end as they began; then the page stays shared with a forked child.
        if new != old {
            block.set_word(slot, new);
        }
        old
    }

    /// Adds an element whose key the table does not hold yet; `hash` is that of its key.
    pub fn insert(&mut self, hash: u64, element: E) -> Position {
        self.grow();
        let bucket = self.buckets.index(hash);
        let marks = element.marks();
        if !marks.is_empty() {
            self.change_marks(bucket, Marks::NONE, marks, |mark| element.due_ms(mark));
        }
        let word = Word::new(element.into_block(), hash, marks);
        let ordinal = self.buckets.push(bucket, tag_of(hash), word);
        self.len += 1;
        Position { bucket, ordinal }
    }

    /// Takes the element at `position` out.
    pub fn remove(&mut self, position: Position) -> E {
        let Some(word) = self.buckets.take(position.bucket, position.ordinal) else { stale_position() };
        self.len -= 1;
        if !word.marks().is_empty() {
            self.change_marks(position.bucket, word.marks(), Marks::NONE, |_| i64::MAX);
        }
        self.shrink();
        // SAFETY: the word has left the table, so the handle made here owns the element.
        unsafe { E::from_block(word.block()) }
    }

    /// Puts `element`, which has the same key, in the place of the one at `position` and returns that one.
    pub fn replace(&mut self, position: Position, element: E) -> E {
        let old = self.put_back(position, element);
        // SAFETY: the word has left the table, so the handle made here owns the element.
        unsafe { E::from_block(old.block()) }
    }

    /// Drops every element and frees everything.
    pub fn clear(&mut self) {
        self.drain(drop);
    }

    /// Hands every element over, in no particular order, and leaves the table empty.
    pub fn drain(&mut self, mut take: impl FnMut(E)) {
        let mut buckets = mem::replace(&mut self.buckets, Buckets::new());
        self.len = 0;
        self.marks = None;
        for bucket in 0..buckets.count() {
            walk::prefetch_ahead(&buckets, bucket);
            let mut detached = buckets.detach(bucket);
            while let Some((_, word)) = detached.next(&mut buckets) {
                // SAFETY: the word has left the table, so the handle made here owns the element.
                take(unsafe { E::from_block(word.block()) });
            }
        }
        buckets.free_all();
    }

    /// Hands over what is in the last bucket and removes that; `false` when the table is empty. For freeing a table
    /// piece by piece: what is left can be walked and weighed, but no longer be searched.
    pub fn pop_bucket(&mut self, mut take: impl FnMut(E)) -> bool {
        let Some(last) = self.buckets.count().checked_sub(1) else { return false };
        self.marks = None;
        let mut detached = self.buckets.detach(last);
        while let Some((_, word)) = detached.next(&mut self.buckets) {
            self.len -= 1;
            // SAFETY: the word has left the table, so the handle made here owns the element.
            take(unsafe { E::from_block(word.block()) });
        }
        self.buckets.pop_bucket();
        true
    }

    /// Whether buckets are to stay as they are because a forked child shares their memory. Meanwhile the table grows
    /// only from twice its usual fill on, and does not shrink; afterwards each operation does up to two steps of what
    /// was put off.
    pub fn resize_paused(&mut self, paused: bool) {
        self.resize_paused = paused;
    }

    /// How many elements carry `mark`.
    #[must_use]
    pub fn marked(&self, mark: Mark) -> usize {
        self.marks.as_ref().map_or(0, |index| index.of(mark).marked())
    }

    /// Bytes of the summary of `mark`; those of the head that both marks share are the first one's.
    #[must_use]
    pub fn mark_usage(&self, mark: Mark) -> usize {
        let head = if mark == Mark::ALL[0] { box_usage::<MarkIndex>() } else { 0 };
        self.marks.as_ref().map_or(0, |index| head + index.of(mark).memory_usage())
    }

    /// No element that carries `mark` is due before this (Unix milliseconds); `i64::MAX` if none carries it.
    #[must_use]
    pub fn earliest_due_ms(&self, mark: Mark) -> i64 {
        self.marks.as_ref().map_or(i64::MAX, |index| index.of(mark).earliest_ms())
    }

    #[inline(never)]
    fn change_marks(&mut self, bucket: u32, old: Marks, new: Marks, due_ms: impl Fn(Mark) -> i64) {
        self.marks.get_or_insert_default().change(bucket, old, new, due_ms);
        // A large table is likely to need its summary again, and building that anew takes time.
        if self.buckets.count() <= marks::GROUP_BUCKETS
            && self.marks.as_ref().is_some_and(|index| index.is_empty())
        {
            self.marks = None;
        }
    }

    /// The most elements that this many buckets are meant to hold: 6.5 each, a fill of 93 %. Measured: the table then
    /// takes 12.1-12.8 bytes an element overflow included, and a hit touches 1.25 cache lines of it.
    fn capacity(&self) -> usize {
        let buckets = self.buckets.count() as usize;
        if self.resize_paused {
            return buckets * 13;
        }
        (buckets * 13 / 2).max(block::SLOTS)
    }

    #[inline]
    fn grow(&mut self) {
        if self.buckets.count() == 0 {
            self.buckets.push_bucket();
            return;
        }
        for _ in 0..2 {
            if self.len < self.capacity() || self.buckets.count() == MAX_BUCKETS {
                return;
            }
            self.split();
        }
    }

    fn split(&mut self) {
        let added = self.buckets.count();
        let level = added.ilog2();
        let from = added - (1 << level);
        self.buckets.push_bucket();
        let mut detached = self.buckets.detach(from);
        while let Some((tag, word)) = detached.next(&mut self.buckets) {
            let high =
                word.hash_bit(tag, level).unwrap_or_else(|| hash_of(self.lend(word).key()) >> level & 1 != 0);
            let to = if high { added } else { from };
            if high {
                self.move_marks(word, from, to);
            }
            self.buckets.push(to, tag, word);
        }
    }

    /// Gives memory back: all of it when nothing is left, a bucket when the rest is 80 % full without it.
    #[inline]
    fn shrink(&mut self) {
        if self.len == 0 {
            self.buckets.free_all();
            self.marks = None;
            return;
        }
        for _ in 0..2 {
            let rest = self.buckets.count() as usize - 1;
            if self.resize_paused || self.len * 5 >= rest * 26 {
                return;
            }
            self.merge();
        }
    }

    fn merge(&mut self) {
        let from = self.buckets.count() - 1;
        let to = from - (1 << from.ilog2());
        let mut detached = self.buckets.detach(from);
        while let Some((tag, word)) = detached.next(&mut self.buckets) {
            self.move_marks(word, from, to);
            self.buckets.push(to, tag, word);
        }
        self.buckets.pop_bucket();
        if let Some(index) = &mut self.marks
            && from.is_multiple_of(marks::GROUP_BUCKETS)
        {
            index.truncate(from);
        }
    }

    #[inline]
    fn move_marks(&mut self, word: Word, from: u32, to: u32) {
        if let Some(index) = &mut self.marks {
            index.move_one(word.marks(), from, to);
        }
    }

    /// Asks for the bucket that `hash` belongs to, ahead of [`Self::prefetch_element`] and of a look-up.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.len > 0 {
            raw::prefetch(self.buckets.block(self.buckets.index(hash)).start().as_ptr().cast());
        }
    }

    /// Asks for the beginning of what a look-up of `hash` will compare first and says where that is; where the bucket
    /// has no match, asks for its overflow block, ahead of [`Self::prefetch_overflow`].
    #[inline]
    pub fn prefetch_element(&self, hash: u64) -> Option<Position> {
        if self.len == 0 {
            return None;
        }
        let bucket = self.buckets.index(hash);
        let block = self.buckets.block(bucket);
        let found = Self::prefetch_match(block, hash);
        if found.is_none() && block.header().is_chained() {
            raw::prefetch(block.link().start().as_ptr().cast());
        }
        found.map(|slot| Position { bucket, ordinal: slot as u32 })
    }

    /// The same for what is in overflow blocks, to be called where the bucket itself had no match.
    #[inline]
    pub fn prefetch_overflow(&self, hash: u64) -> Option<Position> {
        if self.len == 0 {
            return None;
        }
        let bucket = self.buckets.index(hash);
        let mut before = LINKED;
        for block in self.buckets.blocks(bucket).skip(1) {
            if let Some(slot) = Self::prefetch_match(block, hash) {
                return Some(Position { bucket, ordinal: (before + slot) as u32 });
            }
            before += LINKED;
        }
        None
    }

    /// The first slot of a block that a look-up of `hash` will compare.
    #[inline]
    fn prefetch_match(block: Block, hash: u64) -> Option<usize> {
        let slot = block.header().matches(tag_of(hash)).find(|slot| block.word(*slot).agrees(hash))?;
        walk::prefetch_small(block.word(slot).address());
        Some(slot)
    }
}

#[cold]
fn stale_position() -> ! {
    panic!("a position is used after its table has changed")
}

impl<E: Element> Drop for HashTable<E> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<E: Element> HashTable<E> {
    /// Bytes of the summaries of marks; part of the memory usage.
    #[must_use]
    pub fn marks_usage(&self) -> usize {
        self.marks.as_ref().map_or(0, |index| box_usage::<MarkIndex>() + index.memory_usage())
    }
}

/// The table's own blocks: buckets, directory and summaries, not the elements.
impl<E: Element> MemoryUsage for HashTable<E> {
    fn memory_usage(&self) -> usize {
        self.buckets.memory_usage() + self.marks_usage()
    }
}
