//! A growable string in one allocation, one word wide: what a string value of encoding `raw` is.
//!
//! ```text
//! block:  | length u64 | bytes ... | spare, up to the allocator's size class |
//! ```

use std::ptr::NonNull;

use super::word::Word;
use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};

const HEADER: usize = size_of::<u64>();
/// Growth beyond this many bytes adds this many instead of doubling (Valkey: `SDS_MAX_PREALLOC`).
const LARGEST_DOUBLING: usize = 1024 * 1024;

/// An owned string of bytes whose capacity is whatever the allocator gave.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawString(NonNull<u8>);

// SAFETY: the block is owned by this value alone.
unsafe impl Send for RawString {}

impl RawString {
    /// A string of exactly these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut string = Self::with_capacity(bytes.len());
        string.append(bytes);
        string
    }

    /// An empty string with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let string = Self(raw::allocate(HEADER + capacity));
        // SAFETY: the block has room for the header and is 8-byte aligned.
        unsafe { string.0.cast::<u64>().write(0) };
        string
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: the block begins with the length.
        unsafe { self.0.cast::<u64>().read() as usize }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the header is inside the block.
        let start = unsafe { self.0.add(HEADER) };
        // SAFETY: `len` bytes after the header are initialised.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len()) }
    }

    /// The bytes, to change in place.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the header is inside the block.
        let start = unsafe { self.0.add(HEADER) };
        // SAFETY: `len` bytes after the header are initialised and borrowed mutably through `self`.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len()) }
    }

    /// Makes these the bytes; the block stays when it is of the size class they take, else a fitting one replaces it.
    pub fn assign(&mut self, bytes: &[u8]) {
        let size = HEADER + bytes.len();
        // SAFETY: the block is live.
        if usable_size(size) == unsafe { raw::block_size(self.0) } {
            self.set_len(0);
            self.append(bytes);
        } else {
            *self = Self::new(bytes);
        }
    }

    /// Adds bytes at the end; amortised, doubling up to 1 MiB.
    pub fn append(&mut self, bytes: &[u8]) {
        let len = self.len();
        self.reserve(bytes.len());
        // SAFETY: `reserve` made room for `bytes` after the `len` bytes that are there.
        let end = unsafe { self.0.add(HEADER + len) };
        // SAFETY: source and destination are distinct and both `bytes.len()` long.
        unsafe { end.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        self.set_len(len + bytes.len());
    }

    /// Makes the string `len` bytes long; new bytes are zero.
    pub fn resize(&mut self, len: usize) {
        let old = self.len();
        if len > old {
            self.reserve(len - old);
            // SAFETY: `reserve` made room up to `len`.
            let end = unsafe { self.0.add(HEADER + old) };
            // SAFETY: the range lies inside the block.
            unsafe { end.write_bytes(0, len - old) };
        }
        self.set_len(len);
    }

    /// Gives back what is allocated beyond the bytes.
    pub fn shrink_to_fit(&mut self) {
        // SAFETY: the block is live and replaced at once.
        self.0 = unsafe { raw::reallocate(self.0, HEADER + self.len()) };
    }

    fn reserve(&mut self, additional: usize) {
        let wanted = HEADER + self.len() + additional;
        // SAFETY: the block is live.
        if wanted <= unsafe { raw::block_size(self.0) } {
            return;
        }
        let size = if self.is_empty() { wanted } else { wanted + wanted.min(LARGEST_DOUBLING) };
        // SAFETY: the block is live and replaced at once.
        self.0 = unsafe { raw::reallocate(self.0, size) };
    }

    fn set_len(&mut self, len: usize) {
        // SAFETY: the block begins with the length.
        unsafe { self.0.cast::<u64>().write(len as u64) }
    }
}

impl Drop for RawString {
    fn drop(&mut self) {
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) }
    }
}

impl MemoryUsage for RawString {
    fn memory_usage(&self) -> usize {
        // SAFETY: the block is live.
        unsafe { raw::block_size(self.0) }
    }
}

impl Relocate for RawString {
    fn relocate(&mut self, _: usize, mover: &mut Mover) -> usize {
        // SAFETY: the block is owned and replaced at once.
        self.0 = unsafe { mover.relocate(self.0) };
        0
    }
}

// SAFETY: the string is its pointer.
unsafe impl Word for RawString {
    fn into_word(self) -> u64 {
        std::mem::ManuallyDrop::new(self).0.as_ptr() as u64
    }

    unsafe fn from_word(word: u64) -> Self {
        // SAFETY: the caller gives back a word made of a non-null pointer.
        Self(unsafe { NonNull::new_unchecked(word as *mut u8) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocated_bytes;

    #[test]
    fn grows_and_shrinks_like_a_vector() {
        let mut string = RawString::new(b"");
        let mut model = Vec::new();
        for step in 0..2000_usize {
            if step % 7 == 3 {
                let len = model.len() / 2 + step % 5;
                string.resize(len);
                model.resize(len, 0);
            } else {
                let piece = vec![step as u8; step % 90];
                string.append(&piece);
                model.extend_from_slice(&piece);
            }
            assert_eq!(string.as_bytes(), model.as_slice());
        }
        string.shrink_to_fit();
        assert_eq!(string.as_bytes(), model.as_slice());
    }

    #[test]
    fn weighs_what_the_allocator_counts() {
        let before = allocated_bytes();
        let mut string = RawString::new(b"a few bytes");
        string.append(&[7; 5000]);
        assert_eq!(allocated_bytes() - before, string.memory_usage());
    }
}
