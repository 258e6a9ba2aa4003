//! Intset: a sorted set of integers in one block, in exactly the bytes RDB files and DUMP payloads hold.
//!
//! ```text
//! | width u32 (2, 4 or 8) | length u32 | integers, ascending, each of `width` bytes |   all little-endian
//! ```
//!
//! Invariants: the pointer is to a live block that was asked for with exactly `8 + width * length` initialised bytes;
//! the integers ascend strictly. The width only grows. The format is Valkey's `intset.c`.
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests;

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};

const HEADER: usize = 8;

/// The most integers a set may hold whatever `set-max-intset-entries` says (Valkey: 2^30), so that the block stays
/// far from any limit.
pub const MAX_LEN: usize = 1 << 30;

/// An owned set of integers: one thin pointer to its block.
#[repr(transparent)]
pub struct Intset(NonNull<u8>);

// SAFETY: the block is owned alone and holds plain bytes.
unsafe impl Send for Intset {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Intset {}

/// Bytes that are not an intset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intset integrity check failed.")
    }
}

impl std::error::Error for Corrupt {}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn read(data: &[u8], width: usize, index: usize) -> Option<i64> {
    let start = index.checked_mul(width)?;
    let bytes = data.get(start..)?;
    Some(match width {
        2 => i64::from(i16::from_le_bytes(*bytes.first_chunk()?)),
        4 => i64::from(i32::from_le_bytes(*bytes.first_chunk()?)),
        _ => i64::from_le_bytes(*bytes.first_chunk()?),
    })
}

fn validate(bytes: &[u8]) -> Result<(), Corrupt> {
    let (header, data) = bytes.split_first_chunk::<HEADER>().ok_or(Corrupt)?;
    let [w0, w1, w2, w3, l0, l1, l2, l3] = *header;
    let width = u32::from_le_bytes([w0, w1, w2, w3]) as usize;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if !matches!(width, 2 | 4 | 8) || len == 0 || data.len() != len * width {
        return Err(Corrupt);
    }
    let mut previous = None;
    for index in 0..len {
        let value = read(data, width, index);
        if value <= previous {
            return Err(Corrupt);
        }
        previous = value;
    }
    Ok(())
}

impl Intset {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::from_checked(&[2, 0, 0, 0, 0, 0, 0, 0])
    }

    /// A copy of `bytes`, after checking them in full.
    ///
    /// # Errors
    /// [`Corrupt`] when the size does not fit the header, the set is empty or the integers do not ascend.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Corrupt> {
        validate(bytes)?;
        Ok(Self::from_checked(bytes))
    }

    fn from_checked(bytes: &[u8]) -> Self {
        let block = raw::allocate(bytes.len());
        // SAFETY: the new block has room for `bytes.len()` bytes and does not overlap a borrowed slice.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), block.as_ptr(), bytes.len()) };
        Self(block)
    }

    /// The bytes as RDB and DUMP hold them.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the block has `byte_len` initialised bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.byte_len()) }
    }

    /// The number of bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        HEADER + self.len() * self.width()
    }

    /// The bytes of each integer: 2, 4 or 8.
    #[inline]
    #[must_use]
    pub fn width(&self) -> usize {
        // SAFETY: every block starts with the header, and blocks are 8-byte aligned.
        u32::from_le(unsafe { self.0.cast::<u32>().read() }) as usize
    }

    /// The number of integers.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: the second word of the header that every block has.
        u32::from_le(unsafe { self.0.cast::<u32>().add(1).read() }) as usize
    }

    fn set_len(&mut self, len: usize) {
        let Ok(len) = u32::try_from(len) else { panic!("intset of {len} integers") };
        // SAFETY: as in `len`.
        unsafe { self.0.cast::<u32>().add(1).write(len.to_le()) };
    }

    /// Whether there is no integer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn data(&self) -> &[u8] {
        self.as_bytes().get(HEADER..).unwrap_or_default()
    }

    /// The integer of an index, in ascending order.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<i64> {
        read(self.data(), self.width(), index)
    }

    /// The smallest integer.
    #[must_use]
    pub fn min(&self) -> Option<i64> {
        self.get(0)
    }

    /// The largest integer.
    #[must_use]
    pub fn max(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    fn search(&self, value: i64) -> Result<usize, usize> {
        let (data, width) = (self.data(), self.width());
        let (mut low, mut high) = (0, self.len());
        if self.max().is_none_or(|max| value > max) {
            return Err(high);
        }
        while low < high {
            let middle = low.midpoint(high);
            match read(data, width, middle) {
                Some(found) if found == value => return Ok(middle),
                Some(found) if found < value => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }

    /// Whether `value` is in the set.
    #[must_use]
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.width() && self.search(value).is_ok()
    }

    /// Adds `value`; `false` when it is there already. The set may hold [`MAX_LEN`] integers; the caller sees to it.
    pub fn insert(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            self.widen_and_insert(value);
            return true;
        }
        let Err(index) = self.search(value) else { return false };
        let (len, width) = (self.len(), self.width());
        self.resize(HEADER + len * width, HEADER + (len + 1) * width);
        self.move_tail(index, index + 1, len - index);
        // SAFETY: `index` is at most `len`, and the block has room for `len + 1` integers.
        let target = unsafe { self.0.add(HEADER + index * width) };
        // SAFETY: `width` is at most 8, the bytes of `value`, and the target has room for it.
        unsafe { ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), target.as_ptr(), width) };
        self.set_len(len + 1);
        true
    }

    /// Removes `value`; `false` when it is not there.
    pub fn remove(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            return false;
        }
        let Ok(index) = self.search(value) else { return false };
        let (len, width) = (self.len(), self.width());
        self.move_tail(index + 1, index, len - index - 1);
        self.resize(HEADER + len * width, HEADER + (len - 1) * width);
        self.set_len(len - 1);
        true
    }

    // A value that needs more width than the set has is smaller or larger than all others.
    fn widen_and_insert(&mut self, value: i64) {
        let width = width_of(value);
        let len = self.len() + 1;
        let mut bytes = Vec::with_capacity(HEADER + len * width);
        bytes.extend_from_slice(&(width as u32).to_le_bytes());
        bytes.extend_from_slice(&(len as u32).to_le_bytes());
        let (lowest, highest) = if value < 0 { (Some(value), None) } else { (None, Some(value)) };
        for value in lowest.into_iter().chain(self.iter()).chain(highest) {
            bytes.extend_from_slice(value.to_le_bytes().get(..width).unwrap_or_default());
        }
        *self = Self::from_checked(&bytes);
    }

    fn move_tail(&mut self, from: usize, to: usize, count: usize) {
        let width = self.width();
        // SAFETY: the callers give indexes up to the length, inside of the block.
        let source = unsafe { self.0.add(HEADER + from * width) };
        // SAFETY: as above; a move to the right follows a resize.
        let target = unsafe { self.0.add(HEADER + to * width) };
        // SAFETY: `from + count` and `to + count` integers are inside of the block.
        unsafe { ptr::copy(source.as_ptr(), target.as_ptr(), count * width) };
    }

    fn resize(&mut self, old: usize, new: usize) {
        if usable_size(old) != usable_size(new) {
            // SAFETY: the block is live, and its old address is forgotten here.
            self.0 = unsafe { raw::reallocate(self.0, new) };
        }
    }

    /// A uniformly random integer.
    #[must_use]
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<i64> {
        if self.is_empty() {
            return None;
        }
        self.get(rng.usize(..self.len()))
    }

    /// The integers, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        let (data, width) = (self.data(), self.width());
        (0..self.len()).map(move |index| read(data, width, index).unwrap_or_default())
    }

    /// Gives the block away, for a caller that keeps the pointer in a word of its own.
    #[must_use]
    pub fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    /// Takes back what [`Intset::into_raw`] gave.
    ///
    /// # Safety
    /// `block` came from `into_raw` and is owned by nobody else.
    #[must_use]
    pub unsafe fn from_raw(block: NonNull<u8>) -> Self {
        Self(block)
    }
}

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Intset {
    fn clone(&self) -> Self {
        Self::from_checked(self.as_bytes())
    }
}

impl Drop for Intset {
    fn drop(&mut self) {
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) };
    }
}

impl fmt::Debug for Intset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl PartialEq for Intset {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Intset {}

impl MemoryUsage for Intset {
    fn memory_usage(&self) -> usize {
        usable_size(self.byte_len())
    }
}

impl Relocate for Intset {
    fn relocate(&mut self, _: usize, mover: &mut Mover) -> usize {
        // SAFETY: the block is owned and replaced at once.
        self.0 = unsafe { mover.relocate(self.0) };
        0
    }
}
