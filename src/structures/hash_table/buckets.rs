//! The buckets of a table in memory: which bytes are allocated for how many of them, and the chains.
//!
//! Up to 1024 buckets are one block that grows and shrinks by reallocation through the allocator's size classes;
//! above, `root` is a directory of segments of 1024. A single bucket is a short block of 16 to 64 bytes. What is
//! allocated is a pure function of the number of buckets and of each chain's length, so nothing of it is stored.
//! Chain invariant: every block but the last is full and linked (6 elements); the last one holds 2 to 7 elements, a
//! bucket's own block 0 to 7. An element's ordinal is its place in the chain, counted from 0.

use std::ptr::NonNull;

use super::block::{BLOCK_BYTES, BLOCK_WORDS, Block, Header, LINKED, SLOTS, short_bytes};
use super::word::Word;
use crate::memory::{Mover, raw, usable_size};

/// Buckets of a segment; a power of two.
pub(super) const SEGMENT_BUCKETS: u32 = 1024;
const SEGMENT_BYTES: usize = SEGMENT_BUCKETS as usize * BLOCK_BYTES;
/// The segments before this one are allocated in steps of [`SEGMENT_STEP`] as they fill, the later ones at once.
const STEPPED_SEGMENTS: u32 = 16;
const SEGMENT_STEP: usize = 8 * 1024;
/// Overflow blocks are counted in units of this many bytes.
const OVERFLOW_UNIT: usize = 16;

/// Bytes of segment `segment` when it holds `buckets` buckets.
fn segment_bytes(segment: u32, buckets: u32) -> usize {
    let filled = buckets as usize * BLOCK_BYTES;
    match segment {
        0 => usable_size(filled),
        1..STEPPED_SEGMENTS => filled.next_multiple_of(SEGMENT_STEP),
        _ if buckets == 0 => 0,
        _ => SEGMENT_BYTES,
    }
}

/// Bytes of a directory of `segments` segments.
fn directory_bytes(segments: usize) -> usize {
    if segments <= 1 { 0 } else { segments.next_power_of_two() * size_of::<NonNull<u64>>() }
}

/// The buckets; the elements belong to whoever owns this.
pub(super) struct Buckets {
    /// The buckets themselves, or the directory when there are more than one segment; dangling without a bucket.
    root: NonNull<u64>,
    count: u32,
    overflow_units: u32,
}

impl Buckets {
    pub(super) const fn new() -> Self {
        Self { root: NonNull::dangling(), count: 0, overflow_units: 0 }
    }

    /// How many buckets there are.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The first block of bucket `bucket`, which must exist.
    #[inline]
    pub(super) fn block(&self, bucket: u32) -> Block {
        debug_assert!(bucket < self.count, "bucket {bucket} of {}", self.count);
        if self.count <= SEGMENT_BUCKETS {
            // SAFETY: the root is an array of `count` blocks.
            return Block::at(unsafe { self.root.add(bucket as usize * BLOCK_WORDS) });
        }
        let segment = self.segment(bucket / SEGMENT_BUCKETS);
        // SAFETY: the segment is an array of blocks that reaches beyond this bucket's.
        Block::at(unsafe { segment.add((bucket % SEGMENT_BUCKETS) as usize * BLOCK_WORDS) })
    }

    #[inline]
    fn directory(&self, segment: u32) -> NonNull<NonNull<u64>> {
        // SAFETY: above one segment the root is an array of an address for each.
        unsafe { self.root.cast::<NonNull<u64>>().add(segment as usize) }
    }

    #[inline]
    fn segment(&self, segment: u32) -> NonNull<u64> {
        // SAFETY: the directory has an address for each segment in use.
        unsafe { self.directory(segment).read() }
    }

    fn set_segment(&mut self, segment: u32, start: NonNull<u64>) {
        if self.count <= SEGMENT_BUCKETS {
            self.root = start;
        } else {
            // SAFETY: the directory has a place for each segment in use.
            unsafe { self.directory(segment).write(start) }
        }
    }

    /// The bucket a hash belongs to; there must be one.
    #[inline]
    pub(super) fn index(&self, hash: u64) -> u32 {
        let wide = (2u64 << self.count.ilog2()) - 1;
        let index = (hash & wide) as u32;
        if index < self.count { index } else { index & (wide >> 1) as u32 }
    }

    /// The block and slot of the element at `ordinal` of `bucket`, if both exist.
    #[inline]
    pub(super) fn locate(&self, bucket: u32, ordinal: u32) -> Option<(Block, usize)> {
        if bucket >= self.count {
            return None;
        }
        let (mut block, mut slot) = (self.block(bucket), ordinal as usize);
        let mut header = block.header();
        while header.is_chained() && slot >= LINKED {
            block = block.link();
            header = block.header();
            slot -= LINKED;
        }
        (slot < header.count()).then_some((block, slot))
    }

    /// How many elements the chain of `bucket` holds.
    pub(super) fn chain_len(&self, bucket: u32) -> usize {
        self.blocks(bucket).map(|block| block.header().count()).sum()
    }

    /// The blocks of a chain in order.
    #[inline]
    pub(super) fn blocks(&self, bucket: u32) -> Blocks {
        Blocks { next: Some(self.block(bucket)) }
    }

    /// Appends a slot to the chain of `bucket` and returns its ordinal.
    pub(super) fn push(&mut self, bucket: u32, tag: u8, word: Word) -> u32 {
        let mut parent = None;
        let mut block = self.block(bucket);
        let mut before = 0;
        while block.header().is_chained() {
            parent = Some(block);
            block = block.link();
            before += LINKED;
        }
        let header = block.header();
        let count = header.count();
        if count == SLOTS {
            let tail = self.allocate_overflow(2);
            tail.append(0, header.tag(LINKED), block.word(LINKED));
            tail.append(1, tag, word);
            block.set_link(tail);
            block.set_header(header.with_count(LINKED, true));
            return (before + SLOTS) as u32;
        }
        if parent.is_some() || self.count == 1 {
            block = self.resize_short(parent, block, count, count + 1);
        }
        block.append(count, tag, word);
        (before + count) as u32
    }

    /// Takes the slot at `ordinal` out; the last one of the chain takes its place.
    pub(super) fn take(&mut self, bucket: u32, ordinal: u32) -> Option<Word> {
        let (hole, slot) = self.locate(bucket, ordinal)?;
        let taken = hole.word(slot);
        let mut parent = None;
        let mut block = self.block(bucket);
        while block.header().is_chained() {
            parent = Some(block);
            block = block.link();
        }
        let header = block.header();
        let last = header.count() - 1;
        hole.set_word(slot, block.word(last));
        hole.set_header(hole.header().with_tag(slot, header.tag(last)));
        match parent {
            Some(parent) if last == 1 => self.fold(parent, block),
            _ => {
                block.set_header(block.header().with_count(last, false));
                if parent.is_some() || self.count == 1 {
                    self.resize_short(parent, block, last + 1, last);
                }
            }
        }
        Some(taken)
    }

    /// Ends the chain at `parent`, which takes over the one element left in `tail`.
    fn fold(&mut self, parent: Block, tail: Block) {
        parent.set_word(LINKED, tail.word(0));
        parent.set_header(parent.header().with_tag(LINKED, tail.header().tag(0)).with_count(SLOTS, false));
        self.free_overflow(tail, 2);
    }

    /// Gives a short block the size for `to` elements instead of `from`.
    fn resize_short(&mut self, parent: Option<Block>, block: Block, from: usize, to: usize) -> Block {
        let (old, new) = (short_bytes(from), short_bytes(to));
        if old == new {
            return block;
        }
        // SAFETY: the block is alive and replaced by the result wherever it is known: in its parent or the root.
        let block = Block::at(unsafe { raw::reallocate(block.start().cast(), new) }.cast());
        match parent {
            Some(parent) => {
                parent.set_link(block);
                self.overflow_units = self.overflow_units - units(old) + units(new);
            }
            None => self.root = block.start(),
        }
        block
    }

    fn allocate_overflow(&mut self, count: usize) -> Block {
        let block = Block::at(raw::allocate(short_bytes(count)).cast());
        block.set_header(Header::EMPTY);
        self.overflow_units += units(short_bytes(count));
        block
    }

    /// Frees an overflow block that was sized for `count` elements.
    fn free_overflow(&mut self, block: Block, count: usize) {
        self.overflow_units -= units(short_bytes(count));
        // SAFETY: the caller has taken the block out of its chain.
        unsafe { raw::free(block.start().cast()) }
    }

    /// Empties a bucket and hands out what was in it.
    pub(super) fn detach(&mut self, bucket: u32) -> Detached {
        let block = self.block(bucket);
        let header = block.header();
        let mut words = [Word::from_bits(0); SLOTS];
        for (slot, word) in words.iter_mut().enumerate().take(header.count()) {
            *word = block.word(slot);
        }
        let next = header.is_chained().then(|| block.link());
        block.set_header(Header::EMPTY);
        Detached { header, words, slot: 0, next }
    }

    /// Adds an empty bucket at the end.
    pub(super) fn push_bucket(&mut self) {
        let (segment, within) = (self.count / SEGMENT_BUCKETS, self.count % SEGMENT_BUCKETS);
        let (old, new) = (segment_bytes(segment, within), segment_bytes(segment, within + 1));
        if self.count == 0 {
            self.root = raw::allocate(short_bytes(1)).cast();
        } else if within == 0 {
            let start = raw::allocate_aligned(new, BLOCK_BYTES).cast();
            self.append_segment(start);
        } else if old != new {
            self.resize_segment(segment, new);
        }
        self.count += 1;
        self.block(self.count - 1).set_header(Header::EMPTY);
    }

    fn resize_segment(&mut self, segment: u32, bytes: usize) {
        let start = if self.count <= SEGMENT_BUCKETS { self.root } else { self.segment(segment) };
        // SAFETY: the segment is alive and replaced by the result.
        let start = unsafe { raw::reallocate_aligned(start.cast(), bytes, BLOCK_BYTES) };
        self.set_segment(segment, start.cast());
    }

    fn append_segment(&mut self, start: NonNull<u64>) {
        let segments = (self.count / SEGMENT_BUCKETS) as usize;
        let bytes = directory_bytes(segments + 1);
        if segments == 1 {
            let first = self.root;
            self.root = raw::allocate(bytes).cast();
            // SAFETY: the new directory has room for two addresses and more.
            unsafe { self.directory(0).write(first) };
        } else if bytes != directory_bytes(segments) {
            // SAFETY: the directory is alive and replaced by the result.
            self.root = unsafe { raw::reallocate(self.root.cast(), bytes) }.cast();
        }
        // SAFETY: the directory now has room for one segment more.
        unsafe { self.directory(segments as u32).write(start) };
    }

    /// Removes the last bucket, which must be empty.
    pub(super) fn pop_bucket(&mut self) {
        let last = self.count - 1;
        debug_assert!(self.block(last).header() == Header::EMPTY, "a bucket that goes is empty");
        let (segment, within) = (last / SEGMENT_BUCKETS, last % SEGMENT_BUCKETS);
        let (old, new) = (segment_bytes(segment, within + 1), segment_bytes(segment, within));
        if last == 0 {
            // SAFETY: nothing is left that knows the root.
            unsafe { raw::free(self.root.cast()) };
            self.root = NonNull::dangling();
        } else if last == 1 {
            let filled = self.block(0).header().count();
            // SAFETY: the root is alive and replaced by the result; the first bucket is what stays of it.
            self.root = unsafe { raw::reallocate(self.root.cast(), short_bytes(filled)) }.cast();
        } else if within == 0 {
            self.remove_segment(segment);
        } else if old != new {
            self.resize_segment(segment, new);
        }
        self.count = last;
    }

    fn remove_segment(&mut self, segment: u32) {
        // SAFETY: the segment holds no bucket any more and leaves the directory.
        unsafe { raw::free(self.segment(segment).cast()) };
        let (old, new) = (directory_bytes(segment as usize + 1), directory_bytes(segment as usize));
        if new == 0 {
            let first = self.segment(0);
            // SAFETY: the one address in it has been taken over.
            unsafe { raw::free(self.root.cast()) };
            self.root = first;
        } else if old != new {
            // SAFETY: the directory is alive and replaced by the result.
            self.root = unsafe { raw::reallocate(self.root.cast(), new) }.cast();
        }
    }

    /// Frees everything. Every bucket must be empty or have been detached and drained.
    pub(super) fn free_all(&mut self) {
        debug_assert!(self.overflow_units == 0, "chains end before their buckets");
        let segments = self.count.div_ceil(SEGMENT_BUCKETS);
        if segments > 1 {
            for segment in 0..segments {
                // SAFETY: each segment is freed once and none is used again.
                unsafe { raw::free(self.segment(segment).cast()) };
            }
        }
        if segments > 0 {
            // SAFETY: the root, buckets or directory, is freed once and not used again.
            unsafe { raw::free(self.root.cast()) };
        }
        *self = Self::new();
    }

    /// Moves the overflow blocks of a bucket, and with the first bucket of a segment the segment, with the very first
    /// one the directory.
    pub(super) fn relocate(&mut self, bucket: u32, mover: &mut Mover) {
        let segment = bucket / SEGMENT_BUCKETS;
        if bucket == 0 {
            // SAFETY: the root, buckets or directory, is owned and replaced at once.
            self.root = unsafe { mover.relocate(self.root.cast()) }.cast();
        }
        if bucket.is_multiple_of(SEGMENT_BUCKETS) && self.count > SEGMENT_BUCKETS {
            // SAFETY: the segment is owned and its address in the directory replaced at once. Its new place is as well
            // aligned as its size class is.
            let start = unsafe { mover.relocate(self.segment(segment).cast()) };
            self.set_segment(segment, start.cast());
        }
        let mut parent = self.block(bucket);
        while parent.header().is_chained() {
            // SAFETY: the block is owned and its address in its parent replaced at once.
            let block = unsafe { mover.relocate(parent.link().start().cast()) };
            let block = Block::at(block.cast());
            parent.set_link(block);
            parent = block;
        }
    }

    /// Usable bytes of all blocks and of the directory.
    pub(super) fn memory_usage(&self) -> usize {
        let overflow = self.overflow_units as usize * OVERFLOW_UNIT;
        if self.count == 1 {
            return short_bytes(self.block(0).header().count()) + overflow;
        }
        let segments = self.count.div_ceil(SEGMENT_BUCKETS);
        let last = segments.saturating_sub(1);
        let whole = last as usize * SEGMENT_BYTES;
        let rest = usable_size(segment_bytes(last, self.count - last * SEGMENT_BUCKETS));
        whole + rest + usable_size(directory_bytes(segments as usize)) + overflow
    }
}

fn units(bytes: usize) -> u32 {
    (bytes / OVERFLOW_UNIT) as u32
}

/// The blocks of a chain, first to last.
pub(super) struct Blocks {
    next: Option<Block>,
}

impl Iterator for Blocks {
    type Item = Block;

    #[inline]
    fn next(&mut self) -> Option<Block> {
        let block = self.next?;
        self.next = block.header().is_chained().then(|| block.link());
        Some(block)
    }
}

/// What was in a bucket. Its overflow blocks are freed as they are passed, so it must be drained to the end.
pub(super) struct Detached {
    header: Header,
    words: [Word; SLOTS],
    slot: usize,
    next: Option<Block>,
}

impl Detached {
    /// The next slot's tag and word.
    pub(super) fn next(&mut self, buckets: &mut Buckets) -> Option<(u8, Word)> {
        if self.slot == self.header.count() {
            let block = self.next.take()?;
            self.header = block.header();
            for (slot, word) in self.words.iter_mut().enumerate().take(self.header.count()) {
                *word = block.word(slot);
            }
            self.slot = 0;
            self.next = self.header.is_chained().then(|| block.link());
            // A linked block is a full one, whatever it counts.
            let sized_for = if self.next.is_some() { SLOTS } else { self.header.count() };
            buckets.free_overflow(block, sized_for);
        }
        let slot = self.slot;
        self.slot += 1;
        Some((self.header.tag(slot), self.words[slot]))
    }
}
