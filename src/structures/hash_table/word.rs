//! One slot of a bucket: the address of an element's block, sixteen bits of its hash and its two marks.
//!
//! ```text
//!  63            48 47                                       3   2   1   0
//! +----------------+------------------------------------------+---+---+---+
//! | hash bits 8-23 | address of the block (8-byte aligned)    | 0 | marks |
//! +----------------+------------------------------------------+---+---+---+
//! ```
//! Bits 24-31 of the hash are the slot's tag byte in the bucket's header. Together they let a bucket be split between
//! 2^8 and 2^32 buckets without a look at the elements, and make a false match of a lookup rare.

use std::ptr::{self, NonNull};

use super::marks::Marks;

const ADDRESS: u64 = 0x0000_FFFF_FFFF_FFF8;
const MARKS: u64 = 0b11;
const SPARE_SHIFT: u32 = 48;

/// The lowest hash bit a word keeps.
const SPARE_FROM: u32 = 8;
/// The lowest hash bit a tag keeps; the word's bits end here.
const TAG_FROM: u32 = SPARE_FROM + 16;
/// The hash bits from here on are kept nowhere.
const TAG_END: u32 = TAG_FROM + 8;

/// The byte of the hash that a bucket's header keeps for each slot.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash >> TAG_FROM) as u8
}

/// A filled slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    #[inline]
    pub(super) fn new(block: NonNull<u8>, hash: u64, marks: Marks) -> Self {
        let spare = ((hash >> SPARE_FROM) & 0xFFFF) << SPARE_SHIFT;
        Self(spare | block.as_ptr().expose_provenance() as u64 | marks.bits())
    }

    /// The same slot for an element whose block or marks have changed.
    #[inline]
    pub(super) fn with_element(self, block: NonNull<u8>, marks: Marks) -> Self {
        let spare = self.0 & !(ADDRESS | MARKS);
        Self(spare | block.as_ptr().expose_provenance() as u64 | marks.bits())
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn address(self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.0 & ADDRESS) as usize)
    }

    #[inline]
    pub(super) fn block(self) -> NonNull<u8> {
        // SAFETY: a word is only made of a block's address, which is not null.
        unsafe { NonNull::new_unchecked(self.address()) }
    }

    #[inline]
    pub(super) fn marks(self) -> Marks {
        Marks::from_bits(self.0 & MARKS)
    }

    /// Whether the hash bits kept here are those of `hash`.
    #[inline]
    pub(super) fn agrees(self, hash: u64) -> bool {
        self.0 >> SPARE_SHIFT == (hash >> SPARE_FROM) & 0xFFFF
    }

    /// Bit `bit` of the element's hash, when the word or its tag keeps it.
    #[inline]
    pub(super) fn hash_bit(self, tag: u8, bit: u32) -> Option<bool> {
        match bit {
            SPARE_FROM..TAG_FROM => Some(self.0 >> (SPARE_SHIFT + bit - SPARE_FROM) & 1 != 0),
            TAG_FROM..TAG_END => Some(tag >> (bit - TAG_FROM) & 1 != 0),
            _ => None,
        }
    }
}
