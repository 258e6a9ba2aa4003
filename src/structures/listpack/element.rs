//! One listpack element: its value, its encoding and its back length.
//!
//! An element is a head (tag, and the length of a string or the bytes of an integer), the bytes of a string, and the
//! length of both written backwards in 7-bit groups, so that a walk can go from the end to the start. The tag byte:
//!
//! ```text
//! 0xxxxxxx  integer 0..=127              1111 0000  string, 32-bit length follows
//! 10xxxxxx  string, 6-bit length         1111 0001  16-bit integer   1111 0011  32-bit integer
//! 110xxxxx  13-bit integer               1111 0010  24-bit integer   1111 0100  64-bit integer
//! 1110xxxx  string, 12-bit length        1111 1111  the end
//! ```
//!
//! Reading never trusts the bytes: whatever does not fit the slice is `None`.

use std::mem::MaybeUninit;

use crate::algorithms::numbers::parse_i64;

/// The byte after the last element.
pub(super) const END: u8 = 0xFF;

const LONGEST_HEAD: usize = 9;
const LONGEST_BACK_LENGTH: usize = 5;

/// An element: what looks like an integer is stored as one, everything else as its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number; it reads back as its decimal text.
    Int(i64),
    /// Any other bytes.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Appends the element as text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The element as text; `buffer` holds the digits of a number.
    #[inline]
    #[must_use]
    pub fn as_bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(number) => buffer.format(number).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The element as text of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut buffer = itoa::Buffer::new();
        self.as_bytes(&mut buffer).to_vec()
    }

    /// The number of bytes of the element as text.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self {
            Self::Int(number) => itoa::Buffer::new().format(*number).len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the element as text is `text`.
    #[inline]
    #[must_use]
    pub fn equals(&self, text: &[u8]) -> bool {
        match self {
            Self::Int(number) => parse_i64(text) == Some(*number),
            Self::Bytes(bytes) => *bytes == text,
        }
    }

    /// The element as a number, also where a foreign writer stored the digits as a string.
    #[inline]
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bytes(bytes) => parse_i64(bytes),
        }
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

/// An element ready to be written.
#[derive(Debug)]
pub(super) struct Encoded<'a> {
    head: [u8; LONGEST_HEAD],
    head_len: usize,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Decides the encoding: an integer wherever the text is one, in the fewest bytes.
    #[inline]
    pub(super) fn new(value: Value<'a>) -> Self {
        match value {
            Value::Int(number) => Self::integer(number),
            Value::Bytes(bytes) => match parse_i64(bytes) {
                Some(number) => Self::integer(number),
                None => Self::string(bytes),
            },
        }
    }

    fn integer(number: i64) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = number.to_le_bytes();
        let (head, head_len) = match number {
            0..=127 => ([b0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
            -4096..=4095 => ([0xC0 | (b1 & 0x1F), b0, 0, 0, 0, 0, 0, 0, 0], 2),
            -32768..=32767 => ([0xF1, b0, b1, 0, 0, 0, 0, 0, 0], 3),
            -8_388_608..=8_388_607 => ([0xF2, b0, b1, b2, 0, 0, 0, 0, 0], 4),
            -2_147_483_648..=2_147_483_647 => ([0xF3, b0, b1, b2, b3, 0, 0, 0, 0], 5),
            _ => ([0xF4, b0, b1, b2, b3, b4, b5, b6, b7], 9),
        };
        Self { head, head_len, body: &[] }
    }

    fn string(body: &'a [u8]) -> Self {
        let [b0, b1, b2, b3, ..] = (body.len() as u64).to_le_bytes();
        let (head, head_len) = match body.len() {
            0..=63 => ([0x80 | b0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
            64..=4095 => ([0xE0 | b1, b0, 0, 0, 0, 0, 0, 0, 0], 2),
            _ => ([0xF0, b0, b1, b2, b3, 0, 0, 0, 0], 5),
        };
        Self { head, head_len, body }
    }

    fn encoded_len(&self) -> usize {
        self.head_len + self.body.len()
    }

    /// The bytes the element takes in the listpack, its back length included.
    pub(super) fn total_len(&self) -> usize {
        let encoded = self.encoded_len();
        encoded + back_length_size(encoded)
    }

    fn parts(&self) -> [&[u8]; 2] {
        [self.head.get(..self.head_len).unwrap_or_default(), self.body]
    }

    /// Writes the element to the front of `gap` and returns what is left of it. A gap that is too short (a bug of the
    /// caller) stays unwritten.
    pub(super) fn write<'g>(&self, gap: &'g mut [MaybeUninit<u8>]) -> &'g mut [MaybeUninit<u8>] {
        let (back, back_len) = back_length(self.encoded_len());
        let mut rest = gap;
        for part in self.parts().into_iter().chain([back.get(..back_len).unwrap_or_default()]) {
            let Some((front, remaining)) = rest.split_at_mut_checked(part.len()) else { return &mut [] };
            front.write_copy_of_slice(part);
            rest = remaining;
        }
        rest
    }

    /// Appends the element to `out`.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let (back, back_len) = back_length(self.encoded_len());
        for part in self.parts().into_iter().chain([back.get(..back_len).unwrap_or_default()]) {
            out.extend_from_slice(part);
        }
    }
}

/// How many bytes the back length of an element of `encoded` bytes takes.
#[inline]
pub(super) fn back_length_size(encoded: usize) -> usize {
    match encoded {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0xFFF_FFFF => 4,
        _ => LONGEST_BACK_LENGTH,
    }
}

fn back_length(encoded: usize) -> ([u8; LONGEST_BACK_LENGTH], usize) {
    let size = back_length_size(encoded);
    let mut bytes = [0; LONGEST_BACK_LENGTH];
    for (group, byte) in bytes.iter_mut().take(size).rev().enumerate() {
        *byte = (encoded >> (7 * group)) as u8 | 0x80;
    }
    bytes[0] &= 0x7F;
    (bytes, size)
}

/// Reads the back length that ends before `end`: the encoded length of the element there.
#[inline]
pub(super) fn read_back_length(bytes: &[u8], end: usize) -> Option<usize> {
    let mut length = 0usize;
    for group in 0..LONGEST_BACK_LENGTH {
        let byte = *bytes.get(end.checked_sub(group + 1)?)?;
        length |= usize::from(byte & 0x7F) << (7 * group);
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// The length in bytes of the element at `at` without its back length; `None` at the end and where there is no element.
#[inline]
pub(super) fn encoded_len(bytes: &[u8], at: usize) -> Option<usize> {
    let tag = *bytes.get(at)?;
    Some(match tag {
        0x00..=0x7F => 1,
        0x80..=0xBF => 1 + usize::from(tag & 0x3F),
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 2 + (usize::from(tag & 0x0F) << 8 | usize::from(*bytes.get(at + 1)?)),
        0xF0 => 5 + u32::from_le_bytes(*bytes.get(at + 1..)?.first_chunk()?) as usize,
        0xF1 => 3,
        0xF2 => 4,
        0xF3 => 5,
        0xF4 => 9,
        _ => return None,
    })
}

/// Where the element after the one at `at` starts.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let encoded = encoded_len(bytes, at)?;
    Some(at + encoded + back_length_size(encoded))
}

/// Reads the element at `at` if it is a string of less than 64 bytes: the usual case of a search, in one branch.
#[inline]
pub(super) fn short_string(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let tag = *bytes.get(at)?;
    if tag & 0xC0 != 0x80 {
        return None;
    }
    let end = at + 1 + usize::from(tag & 0x3F);
    Some((bytes.get(at + 1..end)?, end + 1))
}

/// Reads the element at `at`, and where the next one starts.
#[inline]
pub(super) fn read(bytes: &[u8], at: usize) -> Option<(Value<'_>, usize)> {
    let encoded = encoded_len(bytes, at)?;
    let element = bytes.get(at..at.checked_add(encoded)?)?;
    let value = match *element {
        [tag @ 0x00..=0x7F] => Value::Int(i64::from(tag)),
        [0x80..=0xBF, ref body @ ..] => Value::Bytes(body),
        [tag @ 0xC0..=0xDF, low] => {
            Value::Int(i64::from((u16::from_be_bytes([tag & 0x1F, low]) << 3).cast_signed() >> 3))
        }
        [0xE0..=0xEF, _, ref body @ ..] => Value::Bytes(body),
        [0xF0, _, _, _, _, ref body @ ..] => Value::Bytes(body),
        [0xF1, a, b] => Value::Int(i64::from(i16::from_le_bytes([a, b]))),
        [0xF2, a, b, c] => Value::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)),
        [0xF3, a, b, c, d] => Value::Int(i64::from(i32::from_le_bytes([a, b, c, d]))),
        [0xF4, ref number @ ..] => Value::Int(i64::from_le_bytes(*number.first_chunk()?)),
        _ => return None,
    };
    Some((value, at + encoded + back_length_size(encoded)))
}
