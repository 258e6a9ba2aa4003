//! A member of a sorted set and its score in one block, and the index item that points to it.
//!
//! ```text
//! | score f64 | length u8 | bytes ... |                      up to 254 bytes
//! | score f64 | 255 | length u32 | bytes ... |               longer ones
//! ```
//! A member's bytes never change while it lives; its score does, in place. An item holds a copy of the score, so that
//! most comparisons stay inside the index, and borrows the block: whoever frees a member removes its item first.

use std::cmp::Ordering;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::memory::{raw, usable_size};
use crate::structures::hash_table::Element;

const LENGTH_AT: usize = size_of::<f64>();
const SHORT_BYTES_AT: usize = LENGTH_AT + 1;
const LONG_BYTES_AT: usize = SHORT_BYTES_AT + size_of::<u32>();
/// In the place of a short length: a long one follows.
const LONG: u8 = u8::MAX;

/// An owned member: one thin pointer to its block.
#[repr(transparent)]
pub(super) struct Member(NonNull<u8>);

// SAFETY: the block is owned alone and holds plain bytes.
unsafe impl Send for Member {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Member {}

fn bytes_at(len: usize) -> usize {
    if len < usize::from(LONG) { SHORT_BYTES_AT } else { LONG_BYTES_AT }
}

/// Where the bytes of the member in `block` begin, and how many there are.
///
/// # Safety
/// `block` is a live member's.
#[inline]
unsafe fn span(block: NonNull<u8>) -> (usize, usize) {
    // SAFETY: every block has a length byte.
    let at = unsafe { block.add(LENGTH_AT) };
    // SAFETY: as above.
    let short = unsafe { at.read() };
    if short != LONG {
        return (SHORT_BYTES_AT, usize::from(short));
    }
    // SAFETY: the mark says that four bytes of length follow.
    let at = unsafe { block.add(SHORT_BYTES_AT) };
    // SAFETY: as above; nothing is known of the alignment.
    (LONG_BYTES_AT, unsafe { at.cast::<u32>().read_unaligned() } as usize)
}

/// The bytes of the member in `block`.
///
/// # Safety
/// `block` is a live member's, and stays so for `'a`.
#[inline]
unsafe fn bytes<'a>(block: NonNull<u8>) -> &'a [u8] {
    // SAFETY: the caller says the block is alive.
    let (at, len) = unsafe { span(block) };
    // SAFETY: the block holds `len` bytes from `at` on.
    let start = unsafe { block.add(at) };
    // SAFETY: as above; they were written when the block was made and do not change.
    unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
}

impl Member {
    /// A member of these bytes. More than 4 GiB is a bug: requests and files are limited to less.
    pub(super) fn new(member: &[u8], score: f64) -> Self {
        let at = bytes_at(member.len());
        let block = raw::allocate(at + member.len());
        // SAFETY: the block has room for the score and is 8-byte aligned.
        unsafe { block.cast::<f64>().write(score) };
        // SAFETY: the block has a length byte.
        let length_at = unsafe { block.add(LENGTH_AT) };
        // SAFETY: as above.
        unsafe { length_at.write(if at == SHORT_BYTES_AT { member.len() as u8 } else { LONG }) };
        if at == LONG_BYTES_AT {
            let Ok(len) = u32::try_from(member.len()) else { panic!("a member of {} bytes", member.len()) };
            // SAFETY: a long block has four bytes of length behind the mark.
            let length_at = unsafe { block.add(SHORT_BYTES_AT) };
            // SAFETY: as above; nothing is known of the alignment.
            unsafe { length_at.cast::<u32>().write_unaligned(len) };
        }
        // SAFETY: the block was asked for with room for the bytes from `at` on.
        let start = unsafe { block.add(at) };
        // SAFETY: as above; a new block does not overlap a borrowed slice.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(member).cast(), member.len()) };
        Self(block)
    }

    /// The member itself.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the block lives as long as its owner.
        unsafe { bytes(self.0) }
    }

    /// Its score.
    #[inline]
    pub(super) fn score(&self) -> f64 {
        // SAFETY: every block begins with the score and is 8-byte aligned.
        unsafe { self.0.cast::<f64>().read() }
    }

    /// Changes the score in place.
    pub(super) fn set_score(&mut self, score: f64) {
        // SAFETY: as in `score`; the block is owned.
        unsafe { self.0.cast::<f64>().write(score) }
    }

    /// The item that stands for this member in an index.
    pub(super) fn item(&self) -> Item {
        Item { score: self.score(), block: self.0 }
    }

    /// Takes a copy of the block in its place; the old one is the caller's.
    pub(super) fn set_block(&mut self, copy: NonNull<u8>) {
        self.0 = copy;
    }

    /// Usable bytes of the block.
    pub(super) fn block_usage(&self) -> usize {
        let len = self.bytes().len();
        usable_size(bytes_at(len) + len)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) }
    }
}

// SAFETY: the block comes from `memory::raw` (8-byte aligned, user space) and never moves.
unsafe impl Element for Member {
    fn into_block(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    unsafe fn from_block(block: NonNull<u8>) -> Self {
        Self(block)
    }

    fn key(&self) -> &[u8] {
        self.bytes()
    }
}

/// What the index holds of a member: its score and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// The score, as in the member's block.
    pub(super) score: f64,
    block: NonNull<u8>,
}

// SAFETY: an item is only reachable through the structure that owns the member's block.
unsafe impl Send for Item {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Item {}

impl Item {
    /// Where the member is.
    pub(super) fn block(self) -> NonNull<u8> {
        self.block
    }

    /// Says where the member is now.
    pub(super) fn set_block(&mut self, copy: NonNull<u8>) {
        self.block = copy;
    }

    /// The item with another score.
    pub(super) fn with_score(self, score: f64) -> Self {
        Self { score, ..self }
    }

    /// The member.
    ///
    /// # Safety
    /// The member lives, and stays alive for `'a`.
    #[inline]
    pub(super) unsafe fn member<'a>(self) -> &'a [u8] {
        // SAFETY: the caller says that the block is alive.
        unsafe { bytes(self.block) }
    }

    /// How this item stands to a score and member: by score, then by the bytes of the member. Scores are never NaN.
    ///
    /// # Safety
    /// The item's member lives.
    #[inline]
    pub(super) unsafe fn compare(self, score: f64, member: &[u8]) -> Ordering {
        match self.score.partial_cmp(&score) {
            // SAFETY: the caller says that the block is alive.
            None | Some(Ordering::Equal) => unsafe { bytes(self.block) }.cmp(member),
            Some(order) => order,
        }
    }
}
