//! Listpack: a sequence of strings and integers in one block, in exactly the bytes RDB files and DUMP payloads hold.
//!
//! ```text
//! | total bytes u32 | count u16 (65535: too many, walk) | element ... | 0xFF |
//! ```
//!
//! Invariants: the block was asked for with exactly `total bytes`; the bytes passed [`Listpack::from_bytes`]' checks
//! or were written here. Every read is bounds-checked all the same, so a stale [`Position`] reads nonsense or nothing,
//! never outside of the block. The format is Valkey's `listpack.c`.
#![deny(clippy::indexing_slicing)]

mod block;
mod element;
mod iter;
#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests;

use std::fmt;

pub use block::Listpack;
pub use element::Value;
use element::{Encoded, back_length_size, encoded_len, read, read_back_length, short_string, skip};
pub use iter::Iter;

use crate::algorithms::numbers::parse_i64;

const HEADER: usize = 6;
const EMPTY: usize = HEADER + 1;
const COUNT_UNKNOWN: usize = u16::MAX as usize;

/// Listpacks are kept below this many bytes (1 GiB), far from the 32-bit limit of the header.
const SAFE_BYTES: usize = 1 << 30;

/// Where an element starts, as an offset into the listpack; valid until the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u32);

impl Position {
    fn new(offset: usize) -> Self {
        Self(offset as u32)
    }

    fn offset(self) -> usize {
        self.0 as usize
    }
}

/// Bytes that are not a listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listpack integrity check failed.")
    }
}

impl std::error::Error for Corrupt {}

/// The bytes that `value` takes as an element.
#[must_use]
pub fn element_size<'v>(value: impl Into<Value<'v>>) -> usize {
    Encoded::new(value.into()).total_len()
}

/// Checks a whole listpack: header, every element with its back length, the end and the count.
fn validate(bytes: &[u8]) -> Result<(), Corrupt> {
    let total = bytes.first_chunk().map(|total| u32::from_le_bytes(*total) as usize);
    if bytes.len() < EMPTY || total != Some(bytes.len()) || bytes.last() != Some(&element::END) {
        return Err(Corrupt);
    }
    let end = bytes.len() - 1;
    let mut at = HEADER;
    let mut count = 0;
    while at < end {
        let encoded = encoded_len(bytes, at).ok_or(Corrupt)?;
        at = at + encoded + back_length_size(encoded);
        if at > end || read_back_length(bytes, at) != Some(encoded) {
            return Err(Corrupt);
        }
        count += 1;
    }
    let stored = stored_count(bytes);
    if stored == COUNT_UNKNOWN || stored == count { Ok(()) } else { Err(Corrupt) }
}

fn stored_count(bytes: &[u8]) -> usize {
    bytes
        .get(4..HEADER)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
}

/// Reading.
impl Listpack {
    /// A copy of `bytes`, after checking them in full.
    ///
    /// # Errors
    /// [`Corrupt`] when any element, the header or the end is not what a writer could have produced.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Corrupt> {
        validate(bytes)?;
        Ok(Self::from_checked(bytes))
    }

    /// The number of elements; a walk when it is above 65534.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match stored_count(self.as_bytes()) {
            COUNT_UNKNOWN => self.iter().count(),
            count => count,
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.byte_len() == EMPTY
    }

    /// Whether `bytes` more can be added safely: the whole stays within 1 GiB. To be asked before values of a client
    /// are added (Valkey: `lpSafeToAdd`).
    #[must_use]
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.byte_len().saturating_add(bytes) <= SAFE_BYTES
    }

    fn end(&self) -> usize {
        self.byte_len() - 1
    }

    fn at_offset(&self, offset: usize) -> Option<Position> {
        (offset < self.end()).then(|| Position::new(offset))
    }

    /// The first element.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<Position> {
        self.at_offset(HEADER)
    }

    /// The last element.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.before(self.end())
    }

    /// The element after `position`.
    #[inline]
    #[must_use]
    pub fn next(&self, position: Position) -> Option<Position> {
        self.at_offset(skip(self.as_bytes(), position.offset())?)
    }

    /// The element before `position`.
    #[must_use]
    pub fn prev(&self, position: Position) -> Option<Position> {
        self.before(position.offset())
    }

    fn before(&self, offset: usize) -> Option<Position> {
        if offset <= HEADER {
            return None;
        }
        let encoded = read_back_length(self.as_bytes(), offset)?;
        let start = offset.checked_sub(encoded + back_length_size(encoded))?;
        (start >= HEADER).then(|| Position::new(start))
    }

    /// The element of an index; negative indexes count from the end, -1 being the last.
    #[must_use]
    pub fn at(&self, index: i64) -> Option<Position> {
        let count = stored_count(self.as_bytes());
        let (from_front, steps) = if count == COUNT_UNKNOWN {
            (index >= 0, if index >= 0 { index.unsigned_abs() } else { index.unsigned_abs() - 1 })
        } else {
            let count = count as u64;
            let index =
                if index >= 0 { index.unsigned_abs() } else { count.checked_sub(index.unsigned_abs())? };
            if index >= count {
                return None;
            }
            if index <= count / 2 { (true, index) } else { (false, count - 1 - index) }
        };
        let mut position = if from_front { self.first()? } else { self.last()? };
        for _ in 0..steps {
            position = if from_front { self.next(position)? } else { self.prev(position)? };
        }
        Some(position)
    }

    /// The element at `position`.
    #[inline]
    #[must_use]
    pub fn get(&self, position: Position) -> Option<Value<'_>> {
        read(self.as_bytes(), position.offset()).map(|(value, _)| value)
    }

    /// The first element equal to `needle`, from `from` on; `stride - 1` elements are passed over after each compared
    /// one (a stride of 2 searches the fields of field and value pairs).
    #[must_use]
    pub fn find(&self, from: Position, needle: &[u8], stride: usize) -> Option<Position> {
        let bytes = self.as_bytes();
        let number = parse_i64(needle);
        let end = self.end();
        let mut at = from.offset();
        while at < end {
            let (found, mut next) = match short_string(bytes, at) {
                Some((string, next)) => (string == needle, next),
                None => match read(bytes, at)? {
                    (Value::Int(value), next) => (number == Some(value), next),
                    (Value::Bytes(value), next) => (value == needle, next),
                },
            };
            if found {
                return Some(Position::new(at));
            }
            for _ in 1..stride {
                if next >= end {
                    return None;
                }
                next = skip(bytes, next)?;
            }
            at = next;
        }
        None
    }

    /// A uniformly random group of `group` elements (1: elements, 2: pairs): the position of its first.
    #[must_use]
    pub fn random(&self, group: usize, rng: &mut fastrand::Rng) -> Option<Position> {
        let groups = self.len() / group.max(1);
        if groups == 0 {
            return None;
        }
        self.at((rng.usize(..groups) * group) as i64)
    }

    /// The elements in order; also from the back.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self.as_bytes(), HEADER)
    }

    /// The elements from `from` to the last.
    #[must_use]
    pub fn iter_from(&self, from: Position) -> Iter<'_> {
        Iter::new(self.as_bytes(), from.offset())
    }
}

/// Changing. A value that is larger than [`Listpack::has_room_for`] allows is the caller's mistake; a listpack that
/// would pass 4 GiB is a bug and panics.
impl Listpack {
    fn insert_values(&mut self, at: usize, replaced: usize, values: &[Value<'_>]) {
        let added = values.iter().map(|value| Encoded::new(*value).total_len()).sum();
        let mut gap = self.open_gap(at, replaced, added);
        for value in values {
            gap = Encoded::new(*value).write(gap);
        }
    }

    fn insert_one(&mut self, at: usize, replaced: usize, value: Value<'_>) -> Position {
        let encoded = Encoded::new(value);
        encoded.write(self.open_gap(at, replaced, encoded.total_len()));
        Position::new(at)
    }

    fn change_count(&mut self, added: usize, removed: usize) {
        let count = stored_count(self.as_bytes());
        if count != COUNT_UNKNOWN {
            self.set_count((count + added).saturating_sub(removed));
        }
    }

    /// Adds an element at the end.
    pub fn push_back<'v>(&mut self, value: impl Into<Value<'v>>) {
        self.insert_one(self.end(), 0, value.into());
        self.change_count(1, 0);
    }

    /// Adds an element at the front.
    pub fn push_front<'v>(&mut self, value: impl Into<Value<'v>>) {
        self.insert_one(HEADER, 0, value.into());
        self.change_count(1, 0);
    }

    /// Adds elements at the end, growing the block once.
    pub fn extend(&mut self, values: &[Value<'_>]) {
        self.insert_values(self.end(), 0, values);
        self.change_count(values.len(), 0);
    }

    /// Inserts elements before `position` (`None`: at the end), growing the block once.
    pub fn insert_all_before(&mut self, position: Option<Position>, values: &[Value<'_>]) {
        self.insert_values(position.map_or(self.end(), Position::offset), 0, values);
        self.change_count(values.len(), 0);
    }

    /// Inserts an element before `position` and returns where it is.
    pub fn insert_before<'v>(&mut self, position: Position, value: impl Into<Value<'v>>) -> Position {
        let position = self.insert_one(position.offset(), 0, value.into());
        self.change_count(1, 0);
        position
    }

    /// Inserts an element after `position` and returns where it is.
    pub fn insert_after<'v>(&mut self, position: Position, value: impl Into<Value<'v>>) -> Position {
        let at = skip(self.as_bytes(), position.offset()).unwrap_or(self.end());
        let position = self.insert_one(at, 0, value.into());
        self.change_count(1, 0);
        position
    }

    /// Replaces the element at `position`, which stays valid.
    pub fn replace<'v>(&mut self, position: Position, value: impl Into<Value<'v>>) {
        let at = position.offset();
        let old = skip(self.as_bytes(), at).map_or(0, |next| next - at);
        self.insert_one(at, old, value.into());
    }

    /// Removes the element at `position`; what comes after it is then at the returned position.
    pub fn remove(&mut self, position: Position) -> Option<Position> {
        self.remove_from(position, 1)
    }

    /// Removes up to `count` elements from `position` on; what comes after them is then at the returned position.
    pub fn remove_from(&mut self, position: Position, count: usize) -> Option<Position> {
        let start = position.offset();
        let end = self.end();
        let mut stop = start;
        let mut removed = 0;
        while removed < count && stop < end {
            let Some(next) = skip(self.as_bytes(), stop) else { break };
            stop = next;
            removed += 1;
        }
        self.open_gap(start, stop - start, 0);
        self.change_count(0, removed);
        self.at_offset(start)
    }

    /// Removes up to `count` elements from `index` on; negative indexes count from the end.
    pub fn remove_range(&mut self, index: i64, count: usize) {
        if let Some(position) = self.at(index) {
            self.remove_from(position, count);
        }
    }

    /// Takes the elements from `index` on away into a listpack of their own.
    #[must_use]
    pub fn split_off(&mut self, index: usize) -> Self {
        let Some(position) = self.at(index as i64) else { return Self::new() };
        let right_count = self.len() - index;
        let start = position.offset();
        let end = self.end();
        let mut right = Self::new();
        right.splice_bytes(self.as_bytes().get(start..end).unwrap_or_default());
        right.set_count(right_count);
        self.open_gap(start, end - start, 0);
        self.set_count(index);
        right
    }

    /// Adds the elements of `other` at the end.
    pub fn append(&mut self, other: &Self) {
        let count = self.len() + other.len();
        self.splice_bytes(other.as_bytes().get(HEADER..other.end()).unwrap_or_default());
        self.set_count(count);
    }

    fn splice_bytes(&mut self, elements: &[u8]) {
        self.open_gap(self.end(), 0, elements.len()).write_copy_of_slice(elements);
    }
}

impl fmt::Debug for Listpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Listpack {}

/// Collects elements and makes an exact listpack of them at the end.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    /// An empty builder with room for `bytes` bytes of elements.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes + EMPTY);
        buffer.extend_from_slice(&[0; HEADER]);
        Self { bytes: buffer, count: 0 }
    }

    /// Adds an element at the end.
    pub fn push<'v>(&mut self, value: impl Into<Value<'v>>) {
        Encoded::new(value.into()).append_to(&mut self.bytes);
        self.count += 1;
    }

    /// The number of elements so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `bytes` more can be added safely, as [`Listpack::has_room_for`] says.
    #[must_use]
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.byte_len().saturating_add(bytes) <= SAFE_BYTES
    }

    /// The bytes of the listpack so far.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len() + 1
    }

    /// The listpack.
    #[must_use]
    pub fn finish(mut self) -> Listpack {
        self.bytes.push(element::END);
        let mut listpack = Listpack::from_checked(&self.bytes);
        listpack.set_count(self.count);
        listpack
    }
}
