//! A member of a set: its bytes in one block, one pointer wide.
//!
//! ```text
//! | length u8 | bytes ... |              up to 254 bytes
//! | 255 | length u64 | bytes ... |       longer ones
//! ```
//! Invariant: the block is exactly as long as its parts say, so its weight follows from the length.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::hash_table::Element;
use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};

/// In place of the length: eight bytes of it follow.
const LONG: u8 = u8::MAX;
const LONG_LENGTH: usize = size_of::<u64>();

/// An owned member: the element of a set's hash table.
#[derive(Debug)]
#[repr(transparent)]
pub struct Member(NonNull<u8>);

// SAFETY: the block is owned by this value alone.
unsafe impl Send for Member {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Member {}

/// Bytes before those of a member of `len` bytes.
#[inline]
fn header(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 1 + LONG_LENGTH }
}

impl Member {
    /// A member of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let header = header(bytes.len());
        let block = raw::allocate(header + bytes.len());
        let short = if header == 1 { bytes.len() as u8 } else { LONG };
        // SAFETY: the block has at least one byte.
        unsafe { block.write(short) };
        if short == LONG {
            // SAFETY: a long member has its length after the first byte.
            let length = unsafe { block.add(1) };
            // SAFETY: as above; the place is not aligned.
            unsafe { length.cast::<u64>().write_unaligned(bytes.len() as u64) };
        }
        // SAFETY: the bytes come after the header, inside of the block.
        let start = unsafe { block.add(header) };
        // SAFETY: the block has room for them and does not overlap a borrowed slice.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Self(block)
    }

    #[inline]
    fn len(&self) -> usize {
        // SAFETY: every block begins with the short length.
        let short = unsafe { self.0.read() };
        if short != LONG {
            return usize::from(short);
        }
        // SAFETY: a long member has its length after the first byte.
        let length = unsafe { self.0.add(1) };
        // SAFETY: as above; the place is not aligned.
        unsafe { length.cast::<u64>().read_unaligned() as usize }
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.len();
        // SAFETY: the bytes come after the header, inside of the block.
        let start = unsafe { self.0.add(header(len)) };
        // SAFETY: `len` initialised bytes are there as long as the member is.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) };
    }
}

// SAFETY: one block of `memory::raw` (8-byte aligned, user space) with the key inside, which stays where it is.
unsafe impl Element for Member {
    #[inline]
    fn into_block(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_block(block: NonNull<u8>) -> Self {
        Self(block)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl MemoryUsage for Member {
    #[inline]
    fn memory_usage(&self) -> usize {
        let len = self.len();
        usable_size(header(len) + len)
    }
}

impl Relocate for Member {
    fn relocate(&mut self, _: usize, mover: &mut Mover) -> usize {
        // SAFETY: the block is owned and replaced at once.
        self.0 = unsafe { mover.relocate(self.0) };
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocated_bytes;

    #[test]
    fn members_of_every_length_come_back_and_weigh_what_is_allocated() {
        for len in (0..600).chain([4096, 70_000]) {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let before = allocated_bytes();
            let member = Member::new(&bytes);
            assert_eq!(allocated_bytes() - before, member.memory_usage(), "{len} bytes");
            assert_eq!(member.as_bytes(), bytes);
        }
    }
}
