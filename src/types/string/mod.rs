//! Strings: how a value is seen, and its RDB codec. The value itself lives in the entry.

pub mod hyperloglog;

use std::io::{Read, Write};

use crate::algorithms::numbers;
use crate::rdb::{self, RdbError, Reader, Writer};

/// A string value, seen in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringRef<'a> {
    /// Encoding `int`.
    Int(i64),
    /// Encodings `embstr` and `raw`.
    Bytes(&'a [u8]),
}

impl<'a> StringRef<'a> {
    /// The string's bytes; an integer is written into `buffer`.
    pub fn as_bytes<'b>(self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Int(value) => buffer.format(value).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The string's bytes, owned.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.as_bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// The length in bytes of the string as text.
    #[must_use]
    pub fn len(self) -> usize {
        self.as_bytes(&mut itoa::Buffer::new()).len()
    }

    /// Whether the string has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::Bytes(b"")
    }

    /// The form in which the value is stored: there is only one.
    #[must_use]
    pub fn rdb_type(self) -> rdb::ValueType {
        rdb::ValueType::String
    }

    /// Writes the value: an integer in the integer form.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_rdb<W: Write>(self, writer: &mut Writer<W>) -> std::io::Result<()> {
        match self {
            Self::Int(value) => writer.write_integer(value),
            Self::Bytes(bytes) => writer.write_string(bytes),
        }
    }

    /// The string as an integer, if it is one.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Bytes(bytes) => numbers::parse_i64(bytes),
        }
    }
}

/// Reads a string value; `None` for a form that is not a string's.
///
/// # Errors
/// Bytes that contradict the format, and those of the source.
pub fn read_rdb<R: Read>(reader: &mut Reader<R>, form: rdb::ValueType) -> Result<Option<Vec<u8>>, RdbError> {
    match form {
        rdb::ValueType::String => reader.read_string_owned().map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rdb::WriterOptions;

    fn round_trip(value: StringRef<'_>) -> Vec<u8> {
        let mut writer = Writer::in_memory(WriterOptions::default());
        value.write_rdb(&mut writer).unwrap();
        let bytes = writer.into_bytes();
        read_rdb(&mut Reader::of_slice(&bytes), value.rdb_type()).unwrap().unwrap()
    }

    #[test]
    fn strings_come_back_as_they_went() {
        for integer in [0, -1, 127, 128, 65_536, i64::MIN, i64::MAX] {
            assert_eq!(round_trip(StringRef::Int(integer)), integer.to_string().as_bytes());
        }
        let long = b"compressible ".repeat(500);
        for bytes in [&b""[..], b"12", b"\0\xff", &long] {
            assert_eq!(round_trip(StringRef::Bytes(bytes)), bytes);
        }
    }

    #[test]
    fn another_form_is_no_string() {
        assert!(read_rdb(&mut Reader::of_slice(b"\0"), rdb::ValueType::Set).unwrap().is_none());
    }
}
