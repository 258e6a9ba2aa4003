//! Decoders of two flat encodings that old versions wrote as one RDB string: the ziplist (lists, hashes and sorted
//! sets before Redis 7.0) and the zipmap (hashes before Redis 2.6). Nothing writes them any more.
//!
//! Both are validated whole when parsed, as strictly as Valkey's deep integrity checks, so that walking them cannot
//! fail. Bytes are foreign: no content may cause a panic or a read outside them. What elements mean (pairs, scores,
//! duplicates) is for the types to judge.

use std::fmt;
use std::iter::FusedIterator;

/// Why bytes are not a valid encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Corrupt {}

/// An element of a ziplist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number that was stored as one; its text is the element.
    Int(i64),
    /// A string.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// Appends the element as text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

const END: u8 = 0xff;
/// Announces a length in the long form; in a zipmap's count, that the count is not known.
const BIG_LENGTH: u8 = 254;

/// Takes `N` bytes off the front.
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

/// Takes `count` bytes off the front.
fn take_slice<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(head)
}

/// The length of a u32 that foreign bytes give; one that this machine cannot address is no length of anything here.
fn length(bytes: u32) -> Option<usize> {
    usize::try_from(bytes).ok()
}

/// A length of one byte, or of four little-endian ones after the byte 254; and whether it took the long form.
fn take_length(input: &mut &[u8]) -> Option<(usize, bool)> {
    match take::<1>(input)? {
        [BIG_LENGTH] => Some((length(u32::from_le_bytes(take(input)?))?, true)),
        [END] => None,
        [short] => Some((usize::from(short), false)),
    }
}

/// A validated ziplist.
///
/// ```text
/// | bytes u32 | tail offset u32 | count u16 | entry ... | 0xff |        little-endian
/// entry: | length of the entry before: u8, or 254 and u32 | encoding and length | data |
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Ziplist<'a> {
    entries: &'a [u8],
    len: usize,
}

const ZIPLIST_HEADER: usize = 10;
const COUNT_UNKNOWN: u16 = u16::MAX;

impl<'a> Ziplist<'a> {
    /// Validates `bytes` in full: sizes, terminator, every entry and its back length, the tail offset, the count.
    ///
    /// # Errors
    /// [`Corrupt`], with what was found wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut rest = bytes;
        let header = (take(&mut rest), take(&mut rest), take(&mut rest));
        let (Some(size), Some(tail), Some(count)) = header else {
            return Err(Corrupt("ziplist is too short"));
        };
        if length(u32::from_le_bytes(size)) != Some(bytes.len()) {
            return Err(Corrupt("ziplist size does not match its header"));
        }
        let Some((&END, entries)) = rest.split_last() else {
            return Err(Corrupt("ziplist has no terminator"));
        };
        let tail = length(u32::from_le_bytes(tail)).filter(|&tail| tail < bytes.len());
        let tail = tail.ok_or(Corrupt("ziplist tail is out of range"))?;

        let mut left = entries;
        let (mut len, mut previous, mut last) = (0, 0, None);
        while !left.is_empty() {
            let start = entries.len() - left.len();
            let (stated, _) = ziplist_entry(&mut left).ok_or(Corrupt("ziplist entry is invalid"))?;
            if stated != previous {
                return Err(Corrupt("ziplist back length is wrong"));
            }
            previous = entries.len() - left.len() - start;
            last = Some(start);
            len += 1;
        }
        if last.is_some_and(|last| last + ZIPLIST_HEADER != tail) {
            return Err(Corrupt("ziplist tail is not the last entry"));
        }
        let count = u16::from_le_bytes(count);
        if count != COUNT_UNKNOWN && usize::from(count) != len {
            return Err(Corrupt("ziplist count is wrong"));
        }
        Ok(Self { entries, len })
    }

    /// The number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order.
    #[must_use]
    pub const fn iter(&self) -> ZiplistIter<'a> {
        ZiplistIter { left: self.entries, len: self.len }
    }
}

impl<'a> IntoIterator for Ziplist<'a> {
    type Item = Value<'a>;
    type IntoIter = ZiplistIter<'a>;

    fn into_iter(self) -> ZiplistIter<'a> {
        self.iter()
    }
}

/// The elements of a [`Ziplist`].
#[derive(Debug, Clone)]
pub struct ZiplistIter<'a> {
    left: &'a [u8],
    len: usize,
}

impl<'a> Iterator for ZiplistIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (_, value) = ziplist_entry(&mut self.left)?;
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for ZiplistIter<'_> {}
impl FusedIterator for ZiplistIter<'_> {}

/// Takes one entry: the length it states for the entry before, and its value.
fn ziplist_entry<'a>(input: &mut &'a [u8]) -> Option<(usize, Value<'a>)> {
    let (previous, _) = take_length(input)?;
    let [encoding] = take(input)?;
    let value = match encoding {
        0x00..=0x3f => Value::Bytes(take_slice(input, usize::from(encoding))?),
        0x40..=0x7f => {
            let [low] = take(input)?;
            let len = u16::from_be_bytes([encoding & 0x3f, low]);
            Value::Bytes(take_slice(input, usize::from(len))?)
        }
        0x80..=0xbf => {
            let len = length(u32::from_be_bytes(take(input)?))?;
            Value::Bytes(take_slice(input, len)?)
        }
        0xc0 => Value::Int(i16::from_le_bytes(take(input)?).into()),
        0xd0 => Value::Int(i32::from_le_bytes(take(input)?).into()),
        0xe0 => Value::Int(i64::from_le_bytes(take(input)?)),
        0xf0 => {
            let [low, middle, high] = take(input)?;
            // The three bytes stand at the top of the word, and the shift back carries their sign down.
            Value::Int((i32::from_le_bytes([0, low, middle, high]) >> 8).into())
        }
        0xfe => Value::Int(i8::from_le_bytes(take(input)?).into()),
        0xf1..=0xfd => Value::Int((encoding - 0xf1).into()),
        _ => return None,
    };
    Some((previous, value))
}

/// A validated zipmap: the fields and values of a small hash.
///
/// ```text
/// | count u8, 254: unknown | length | field | length | free u8 | value | free bytes | ... | 0xff |
/// length: u8 below 254, or 254 and u32 little-endian
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Zipmap<'a> {
    pairs: &'a [u8],
    len: usize,
}

impl<'a> Zipmap<'a> {
    /// Validates `bytes` in full. A zipmap without pairs is corrupt: no hash was ever saved empty.
    ///
    /// # Errors
    /// [`Corrupt`], with what was found wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut rest = bytes;
        let Some([count]) = take(&mut rest) else { return Err(Corrupt("zipmap is too short")) };
        let Some((&END, pairs)) = rest.split_last() else {
            return Err(Corrupt("zipmap has no terminator"));
        };
        let (mut left, mut len) = (pairs, 0);
        while !left.is_empty() {
            zipmap_pair(&mut left).ok_or(Corrupt("zipmap entry is invalid"))?;
            len += 1;
        }
        if len == 0 {
            return Err(Corrupt("zipmap is empty"));
        }
        if count != BIG_LENGTH && usize::from(count) != len {
            return Err(Corrupt("zipmap count is wrong"));
        }
        Ok(Self { pairs, len })
    }

    /// The number of pairs, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a zipmap is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The fields and their values in order.
    #[must_use]
    pub const fn iter(&self) -> ZipmapIter<'a> {
        ZipmapIter { left: self.pairs, len: self.len }
    }
}

impl<'a> IntoIterator for Zipmap<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = ZipmapIter<'a>;

    fn into_iter(self) -> ZipmapIter<'a> {
        self.iter()
    }
}

/// The pairs of a [`Zipmap`].
#[derive(Debug, Clone)]
pub struct ZipmapIter<'a> {
    left: &'a [u8],
    len: usize,
}

impl<'a> Iterator for ZipmapIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let pair = zipmap_pair(&mut self.left)?;
        self.len = self.len.saturating_sub(1);
        Some(pair)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for ZipmapIter<'_> {}
impl FusedIterator for ZipmapIter<'_> {}

fn zipmap_pair<'a>(input: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let field_length = zipmap_length(input)?;
    let field = take_slice(input, field_length)?;
    let value_length = zipmap_length(input)?;
    let [free] = take(input)?;
    let value = take_slice(input, value_length)?;
    take_slice(input, usize::from(free))?;
    Some((field, value))
}

/// Unlike a ziplist's back length, a zipmap's length must be in its shortest form.
fn zipmap_length(input: &mut &[u8]) -> Option<usize> {
    let (length, long) = take_length(input)?;
    (long == (length >= usize::from(BIG_LENGTH))).then_some(length)
}

#[cfg(test)]
mod tests;
