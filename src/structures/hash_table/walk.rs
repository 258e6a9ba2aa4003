//! Walks over a table: iteration, the SCAN cursor, random choice, the sweep for elements that are due.
//!
//! The SCAN guarantee: an element that is in the table from the first call to the last is emitted at least once,
//! whatever splits and merges lie between the calls. The cursor counts in reverse binary over the low L bits of the
//! hash, and bucket i is emitted together with bucket i + 2^L, its half that may be split off already.

use super::block::{BLOCK_WORDS, Block, SLOTS};
use super::buckets::Buckets;
use super::marks::{GROUP_BUCKETS, Mark};
use super::word::{Word, tag_of};
use super::{Borrowed, Element, HashTable, Position};
use crate::memory::raw;

/// Offset of the last word of a small element: key and value of about sixteen bytes.
const SMALL_ELEMENT: usize = 40;
/// How many buckets ahead of a walk the elements are asked for; overflow blocks are asked for twice as early.
const AHEAD: u32 = 4;
/// The chain length that random choice weighs buckets against; practically no chain is longer.
const LONG_CHAIN: usize = 32;
/// The same for the marked elements of a group of buckets.
const FULL_GROUP: usize = 256;
/// Tables of up to this many buckets are counted through instead.
const FEW_BUCKETS: u32 = 8;
/// Buckets asked for at once by random choice.
const DRAWS: usize = 8;
/// Groups tried for a marked element before the marked ones are counted through.
const MARKED_DRAWS: usize = 16;
/// Buckets that a sample may find empty, for each element asked for, before it is ended.
const EMPTY_PER_SAMPLE: usize = 4;
/// Rejections after which random choice takes a slower way: a table left nearly empty by a pause.
const MAX_REJECTIONS: usize = 256;

/// Asks for the beginning of an element: the line where it starts and, if that is another one, the line where most
/// small ones end.
#[inline]
pub(super) fn prefetch_small(element: *mut u8) {
    raw::prefetch(element);
    raw::prefetch(element.wrapping_add(SMALL_ELEMENT));
}

fn prefetch_elements_of(block: Block) {
    for slot in 0..block.header().count() {
        prefetch_small(block.word(slot).address());
    }
}

/// Asks for what a walk in bucket order will need soon after `bucket`.
pub(super) fn prefetch_ahead(buckets: &Buckets, bucket: u32) {
    let (near, far) = (bucket + AHEAD, bucket + 2 * AHEAD);
    if far < buckets.count() {
        let block = buckets.block(far);
        if block.header().is_chained() {
            raw::prefetch(block.link().start().as_ptr().cast());
        }
    }
    if near < buckets.count() {
        buckets.blocks(near).for_each(prefetch_elements_of);
    }
}

impl<E: Element> HashTable<E> {
    /// Every element, in no particular order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, E> {
        Iter { table: self, bucket: 0, block: None, slot: 0 }
    }

    /// Calls `visit` with every element and has the elements of the next buckets loaded meanwhile: a whole walk of a
    /// large table.
    pub fn for_each_prefetched(&self, mut visit: impl FnMut(&E)) {
        for bucket in 0..self.buckets.count() {
            prefetch_ahead(&self.buckets, bucket);
            self.visit_bucket(bucket, &mut visit);
        }
    }

    /// The elements for whose hashes this is the low half, as far as the table can tell: it keeps most of those bits, so
    /// that hardly another element comes along.
    pub fn like(&self, half: u32) -> impl Iterator<Item = Borrowed<'_, E>> {
        let hash = u64::from(half);
        let bucket = (!self.is_empty()).then(|| self.buckets.index(hash));
        let blocks = bucket.into_iter().flat_map(|bucket| self.buckets.blocks(bucket));
        blocks.flat_map(move |block| {
            let words = block.header().matches(tag_of(hash)).map(move |slot| block.word(slot));
            words.filter(move |word| word.agrees(hash)).map(|word| self.lend(word))
        })
    }

    fn visit_bucket(&self, bucket: u32, visit: &mut impl FnMut(&E)) {
        for block in self.buckets.blocks(bucket) {
            for slot in 0..block.header().count() {
                visit(&self.lend(block.word(slot)));
            }
        }
    }

    /// Keeps the elements that `keep` wants and drops the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        let paused = std::mem::replace(&mut self.resize_paused, true);
        let mut bucket = 0;
        while bucket < self.buckets.count() {
            // From the end, as the last of a chain takes the place of one that goes.
            for ordinal in (0..self.buckets.chain_len(bucket) as u32).rev() {
                let position = Position { bucket, ordinal };
                if !keep(&self.get(position)) {
                    drop(self.remove(position));
                }
                if self.is_empty() {
                    break;
                }
            }
            bucket += 1;
        }
        self.resize_paused = paused;
        let mut before = u32::MAX;
        while !self.is_empty() && self.buckets.count() < before {
            before = self.buckets.count();
            self.shrink();
        }
    }

    /// One step of a scan: calls `visit` with the elements at `cursor` and returns the next cursor. A scan begins
    /// with cursor 0 and is complete when 0 comes back.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&E)) -> u64 {
        let buckets = self.buckets.count();
        if buckets == 0 {
            return 0;
        }
        let half = 1u32 << buckets.ilog2();
        let mask = u64::from(half) - 1;
        let bucket = (cursor & mask) as u32;
        let partner = bucket + half;
        self.buckets.blocks(bucket).for_each(prefetch_elements_of);
        if partner < buckets {
            self.buckets.blocks(partner).for_each(prefetch_elements_of);
        }
        self.visit_bucket(bucket, &mut visit);
        if partner < buckets {
            self.visit_bucket(partner, &mut visit);
        }
        (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// An element chosen with the same probability as every other.
    #[must_use]
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<Position> {
        if self.is_empty() {
            return None;
        }
        let buckets = self.buckets.count();
        if buckets <= FEW_BUCKETS {
            return self.nth(rng.usize(..self.len()));
        }
        for _ in 0..MAX_REJECTIONS / DRAWS {
            let drawn: [u32; DRAWS] = std::array::from_fn(|_| rng.u32(..buckets));
            for &bucket in &drawn {
                raw::prefetch(self.buckets.block(bucket).start().as_ptr().cast());
            }
            for bucket in drawn {
                if let Some(ordinal) = self.weigh(bucket, rng) {
                    return Some(Position { bucket, ordinal });
                }
            }
        }
        self.nth(rng.usize(..self.len()))
    }

    /// Calls `visit` with up to `count` elements that lie one after the other from a random one on; with at least one
    /// if there is any. Cheaper than as many draws, and as good for estimates: neighbours have nothing in common but a
    /// part of their hashes.
    pub fn sample(&self, count: usize, rng: &mut fastrand::Rng, mut visit: impl FnMut(&E)) {
        let buckets = self.buckets.count();
        if self.is_empty() || count == 0 {
            return;
        }
        let mut bucket = rng.u32(..buckets);
        let mut skipped = rng.usize(..self.buckets.chain_len(bucket).max(1));
        let mut visited = 0;
        for _ in 0..(count * EMPTY_PER_SAMPLE).min(buckets as usize) {
            self.buckets.blocks(bucket).for_each(prefetch_elements_of);
            for word in self.buckets.blocks(bucket).flat_map(words_of).skip(skipped).take(count - visited) {
                visit(&self.lend(word));
                visited += 1;
            }
            if visited == count {
                return;
            }
            skipped = 0;
            bucket = (bucket + 1) % buckets;
        }
        if visited == 0
            && let Some(position) = self.random(rng)
        {
            visit(&self.get(position));
        }
    }

    /// An element of `bucket`, each with a probability of one to `LONG_CHAIN`.
    fn weigh(&self, bucket: u32, rng: &mut fastrand::Rng) -> Option<u32> {
        let ordinal = rng.usize(..LONG_CHAIN);
        let header = self.buckets.block(bucket).header();
        if ordinal < header.count() {
            return Some(ordinal as u32);
        }
        if !header.is_chained() {
            return None;
        }
        let len = self.buckets.chain_len(bucket);
        // Were there a longer chain, its end would have its chance all the same.
        let ordinal = if len > LONG_CHAIN { rng.usize(..len) } else { ordinal };
        (ordinal < len).then_some(ordinal as u32)
    }

    /// The `n`th element in bucket order.
    fn nth(&self, mut n: usize) -> Option<Position> {
        for bucket in 0..self.buckets.count() {
            let len = self.buckets.chain_len(bucket);
            if n < len {
                return Some(Position { bucket, ordinal: n as u32 });
            }
            n -= len;
        }
        None
    }

    /// A marked element chosen with the same probability as every other that carries `mark`.
    #[must_use]
    pub fn random_marked(&self, mark: Mark, rng: &mut fastrand::Rng) -> Option<Position> {
        let summary = self.marks.as_ref()?.of(mark);
        if summary.marked() == 0 {
            return None;
        }
        for _ in 0..MARKED_DRAWS {
            let group = rng.usize(..summary.groups());
            let marked = summary.marked_in(group);
            let n = rng.usize(..marked.max(FULL_GROUP));
            if n < marked {
                return self.nth_marked(mark, group, n);
            }
        }
        let (group, n) = summary.nth(rng.usize(..summary.marked()))?;
        self.nth_marked(mark, group, n)
    }

    fn group(&self, group: usize) -> std::ops::Range<u32> {
        let start = group as u32 * GROUP_BUCKETS;
        start..(start + GROUP_BUCKETS).min(self.buckets.count())
    }

    fn nth_marked(&self, mark: Mark, group: usize, mut n: usize) -> Option<Position> {
        for bucket in self.group(group) {
            let words = self.buckets.blocks(bucket).flat_map(words_of);
            for (ordinal, word) in words.enumerate() {
                if word.marks().contains(mark) {
                    if n == 0 {
                        return Some(Position { bucket, ordinal: ordinal as u32 });
                    }
                    n -= 1;
                }
            }
        }
        None
    }

    /// One step of a sweep for elements that carry `mark` and are due at `now_ms`: calls `on_due` with each of them in
    /// the next buckets, about `max_buckets` of them, that may hold one, and returns where to go on. A sweep begins
    /// with cursor 0 and is complete when 0 comes back; what is not due costs next to nothing.
    ///
    /// `on_due` says whether the caller will remove the element or change its due instant before the next sweep; an
    /// element that is to stay as it is will be shown again by the next sweep. Removals between the steps may merge
    /// buckets into ones that the sweep has passed; what is in them is left to the next sweep as well.
    pub fn sweep(
        &mut self,
        mark: Mark,
        cursor: usize,
        now_ms: i64,
        max_buckets: usize,
        mut on_due: impl FnMut(&E) -> bool,
    ) -> usize {
        let Some(mut index) = self.marks.take() else { return 0 };
        let mut next = cursor;
        for _ in 0..max_buckets.div_ceil(GROUP_BUCKETS as usize) {
            let Some(group) = index.of_mut(mark).next_due(next, now_ms) else {
                next = 0;
                break;
            };
            index.of_mut(mark).set_earliest(group, self.sweep_group(mark, group, now_ms, &mut on_due));
            next = group + 1;
        }
        self.marks = Some(index);
        next
    }

    /// Shows what is due in a group of buckets and returns the earliest instant of what remains.
    fn sweep_group(&self, mark: Mark, group: usize, now_ms: i64, on_due: &mut impl FnMut(&E) -> bool) -> i64 {
        let marked = |bucket| {
            let words = self.buckets.blocks(bucket).flat_map(words_of);
            words.filter(move |word| word.marks().contains(mark))
        };
        let mut earliest_ms = i64::MAX;
        self.group(group).flat_map(marked).for_each(|word| prefetch_small(word.address()));
        for word in self.group(group).flat_map(marked) {
            let element = self.lend(word);
            let due_ms = element.due_ms(mark);
            if due_ms > now_ms || !on_due(&element) {
                earliest_ms = earliest_ms.min(due_ms);
            }
        }
        earliest_ms
    }
}

fn words_of(block: Block) -> impl Iterator<Item = Word> {
    (0..block.header().count()).map(move |slot| block.word(slot))
}

const _: () = assert!(BLOCK_WORDS == SLOTS + 1);

/// The elements of a table; see [`HashTable::iter`].
pub struct Iter<'a, E: Element> {
    table: &'a HashTable<E>,
    bucket: u32,
    block: Option<Block>,
    slot: usize,
}

impl<'a, E: Element> Iterator for Iter<'a, E> {
    type Item = Borrowed<'a, E>;

    fn next(&mut self) -> Option<Borrowed<'a, E>> {
        loop {
            if let Some(block) = self.block {
                let header = block.header();
                if self.slot < header.count() {
                    self.slot += 1;
                    return Some(self.table.lend(block.word(self.slot - 1)));
                }
                self.slot = 0;
                self.block = header.is_chained().then(|| block.link());
            } else if self.bucket < self.table.buckets.count() {
                self.block = Some(self.table.buckets.block(self.bucket));
                self.bucket += 1;
            } else {
                return None;
            }
        }
    }
}
