//! The block of a listpack: allocation, the header's two figures, and the one operation that moves bytes.
//!
//! Invariant: the pointer is to a live block that was asked for with exactly the bytes its header tells, at least 7,
//! all of them initialised.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};

use super::{EMPTY, HEADER, element};
use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};

/// An owned listpack: one thin pointer to its block.
#[repr(transparent)]
pub struct Listpack(NonNull<u8>);

// SAFETY: the block is owned alone and holds plain bytes.
unsafe impl Send for Listpack {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Listpack {}

impl Listpack {
    /// An empty listpack.
    #[must_use]
    pub fn new() -> Self {
        Self::from_checked(&[EMPTY as u8, 0, 0, 0, 0, 0, element::END])
    }

    /// A copy of bytes that are known to be a listpack; the total in the header is set to their number.
    pub(super) fn from_checked(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= EMPTY, "a listpack has a header and an end");
        let block = raw::allocate(bytes.len());
        // SAFETY: the new block has room for `bytes.len()` bytes and does not overlap a borrowed slice.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_ptr(), bytes.len()) };
        let mut listpack = Self(block);
        listpack.set_total(bytes.len());
        listpack
    }

    /// The bytes as RDB and DUMP hold them.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the block has `byte_len` initialised bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.byte_len()) }
    }

    /// The number of bytes.
    #[inline]
    #[must_use]
    pub fn byte_len(&self) -> usize {
        // SAFETY: every block starts with the header, and blocks are 8-byte aligned.
        let total = unsafe { self.0.cast::<u32>().read() };
        u32::from_le(total) as usize
    }

    fn set_total(&mut self, total: usize) {
        let Ok(total) = u32::try_from(total) else { panic!("listpack of {total} bytes") };
        // SAFETY: as in `byte_len`.
        unsafe { self.0.cast::<u32>().write(total.to_le()) };
    }

    pub(super) fn set_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
        // SAFETY: the count is bytes 4 and 5 of the header that every block has.
        unsafe { self.0.add(4).cast::<[u8; 2]>().write(count) };
    }

    fn resize(&mut self, old: usize, new: usize) {
        if usable_size(old) != usable_size(new) {
            // SAFETY: the block is live, and its old address is forgotten here.
            self.0 = unsafe { raw::reallocate(self.0, new) };
        }
    }

    /// Makes `removed` bytes at `at` into `added` bytes, which the caller fills at once: the elements behind move,
    /// the block and the total in the header follow. The count does not.
    pub(super) fn open_gap(&mut self, at: usize, removed: usize, added: usize) -> &mut [MaybeUninit<u8>] {
        let old = self.byte_len();
        assert!(at >= HEADER && at + removed < old, "a position of another listpack");
        let new = old - removed + added;
        assert!(u32::try_from(new).is_ok(), "listpack of {new} bytes");
        if new > old {
            self.resize(old, new);
        }
        // SAFETY: `at + removed` is inside of the block, as asserted.
        let source = unsafe { self.0.add(at + removed) };
        // SAFETY: `at + added` is below `new`, which the block has room for.
        let target = unsafe { self.0.add(at + added) };
        // SAFETY: the tail of `old - at - removed` bytes is inside of the block before and after.
        unsafe { ptr::copy(source.as_ptr(), target.as_ptr(), old - at - removed) };
        if new < old {
            self.resize(old, new);
        }
        self.set_total(new);
        // SAFETY: `at` is inside of the block.
        let gap = unsafe { self.0.add(at) };
        // SAFETY: `at + added` is below `new`, the block is borrowed mutably, and the bytes need not be initialised.
        unsafe { std::slice::from_raw_parts_mut(gap.cast().as_ptr(), added) }
    }

    /// Gives the block away, for a caller that keeps the pointer in a word of its own.
    #[must_use]
    pub fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    /// Takes back what [`Listpack::into_raw`] gave.
    ///
    /// # Safety
    /// `block` came from `into_raw` and is owned by nobody else.
    #[must_use]
    pub unsafe fn from_raw(block: NonNull<u8>) -> Self {
        Self(block)
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Listpack {
    fn clone(&self) -> Self {
        Self::from_checked(self.as_bytes())
    }
}

impl Drop for Listpack {
    fn drop(&mut self) {
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) };
    }
}

impl MemoryUsage for Listpack {
    #[inline]
    fn memory_usage(&self) -> usize {
        usable_size(self.byte_len())
    }
}

impl Relocate for Listpack {
    fn relocate(&mut self, _: usize, mover: &mut Mover) -> usize {
        // SAFETY: the block is owned and replaced at once.
        self.0 = unsafe { mover.relocate(self.0) };
        0
    }
}
