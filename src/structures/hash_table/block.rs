//! A bucket block: a header and up to seven words, never across a cache line when it is full.
//!
//! ```text
//!   0                                7       8        16            56       64
//! +------+------+-- ... --+---------+---------+---------+-- ... --+---------+
//! | tag0 | tag1 |         | control | word 0  | word 1  |         | word 6  |
//! +------+------+-- ... --+---------+---------+---------+-- ... --+---------+
//! ```
//! The control byte holds the number of elements and, in its highest bit, whether word 6 is not an element but the
//! address of the next block of the chain. Elements fill the slots from 0 on without holes.

use std::ptr::{self, NonNull};

use super::word::Word;

/// Slots of a full block.
pub(super) const SLOTS: usize = 7;
/// Elements of a block whose last slot is the link.
pub(super) const LINKED: usize = SLOTS - 1;
/// Bytes of a full block.
pub(super) const BLOCK_BYTES: usize = 64;
/// Machine words of a full block.
pub(super) const BLOCK_WORDS: usize = BLOCK_BYTES / 8;

const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;
const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const COUNT_SHIFT: u32 = 56;
const CHAINED: u64 = 1 << 63;

/// Bytes of a short block for `count` elements: 16, 32, 48 or 64. Only the first block of a table of one bucket and
/// the last block of a chain are short.
#[inline]
pub(super) const fn short_bytes(count: usize) -> usize {
    8 + 8 * (count | 1)
}

/// A block's tags and control byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    pub(super) const EMPTY: Self = Self(0);

    #[inline]
    pub(super) fn count(self) -> usize {
        (self.0 >> COUNT_SHIFT) as usize & SLOTS
    }

    #[inline]
    pub(super) fn is_chained(self) -> bool {
        self.0 & CHAINED != 0
    }

    #[inline]
    pub(super) fn tag(self, slot: usize) -> u8 {
        (self.0 >> (8 * slot)) as u8
    }

    #[inline]
    #[must_use]
    pub(super) fn with_tag(self, slot: usize, tag: u8) -> Self {
        let shift = 8 * slot;
        Self(self.0 & !(0xFF << shift) | u64::from(tag) << shift)
    }

    #[inline]
    #[must_use]
    pub(super) fn with_count(self, count: usize, chained: bool) -> Self {
        let tags = self.0 & ((1 << COUNT_SHIFT) - 1);
        Self(tags | (count as u64) << COUNT_SHIFT | if chained { CHAINED } else { 0 })
    }

    /// The slots whose tag is `tag`.
    #[inline]
    pub(super) fn matches(self, tag: u8) -> Slots {
        let differing = self.0 ^ EVERY_BYTE.wrapping_mul(u64::from(tag));
        let nonzero = (differing & LOW_BITS).wrapping_add(LOW_BITS) | differing | LOW_BITS;
        Slots(!nonzero & ((1 << (8 * self.count())) - 1))
    }
}

/// An iterator over slots found by [`Header::matches`], lowest first.
pub(super) struct Slots(u64);

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize / 8;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

/// The address of a block. Whoever makes one vouches that the block stays allocated, with an initialised header,
/// while it is used, and that slots read lie below the header's count (or are the link of a chained block).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Block(NonNull<u64>);

impl Block {
    #[inline]
    pub(super) fn at(start: NonNull<u64>) -> Self {
        Self(start)
    }

    #[inline]
    pub(super) fn start(self) -> NonNull<u64> {
        self.0
    }

    #[inline]
    pub(super) fn header(self) -> Header {
        // SAFETY: a block begins with its header, by the promise of `at`.
        Header(unsafe { self.0.read() })
    }

    #[inline]
    pub(super) fn set_header(self, header: Header) {
        // SAFETY: as in `header`.
        unsafe { self.0.write(header.0) }
    }

    #[inline]
    fn slot(self, slot: usize) -> NonNull<u64> {
        debug_assert!(slot < SLOTS, "a block has seven slots");
        // SAFETY: the slot lies within the block, by the promise of `at`.
        unsafe { self.0.add(1 + slot) }
    }

    #[inline]
    pub(super) fn word(self, slot: usize) -> Word {
        // SAFETY: the slot lies within the block and is filled.
        Word::from_bits(unsafe { self.slot(slot).read() })
    }

    #[inline]
    pub(super) fn set_word(self, slot: usize, word: Word) {
        // SAFETY: the slot lies within the block.
        unsafe { self.slot(slot).write(word.bits()) }
    }

    /// The next block of a chained block.
    #[inline]
    pub(super) fn link(self) -> Self {
        debug_assert!(self.header().is_chained(), "only a chained block has a link");
        // SAFETY: the last slot of a chained block holds an address, written by `set_link`.
        let address = unsafe { self.slot(LINKED).read() };
        let start = ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: `set_link` wrote the address of a block, which is not null.
        Self(unsafe { NonNull::new_unchecked(start) })
    }

    /// Makes `next` the block after this one; the header must be made a chained one beside.
    #[inline]
    pub(super) fn set_link(self, next: Self) {
        let address = next.0.as_ptr().expose_provenance() as u64;
        // SAFETY: a block that gets a link is a full one of seven slots.
        unsafe { self.slot(LINKED).write(address) }
    }

    /// Fills the first free slot `slot`.
    #[inline]
    pub(super) fn append(self, slot: usize, tag: u8, word: Word) {
        self.set_word(slot, word);
        self.set_header(self.header().with_tag(slot, tag).with_count(slot + 1, false));
    }
}
