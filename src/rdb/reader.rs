//! The decoder of primitives: lengths, strings, numbers, times.
//!
//! ```text
//! buffer  [ consumed, in the checksum | consumed, not yet in it | ahead | free ]
//!         0                        summed               position   filled
//! ```
//!
//! The checksum takes in consumed bytes a buffer at a time. A length in the input is only believed as far as bytes follow
//! it: destinations grow as they arrive. After an error the place in the input is unknown and the reader must be dropped.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use crate::algorithms::crc64::Checksum;
use crate::algorithms::{lzf, numbers};

use super::error::{RdbError, RdbErrorKind};
use super::format::length;

/// Bytes asked of the input at once: what a reader's buffer takes of memory.
pub const READ_BUFFER_BYTES: usize = 256 * 1024;
/// The smallest buffer: strings up to this length are always read in place.
const MIN_BUFFER_BYTES: usize = 64;
/// How much is allocated on the word of a length alone.
const TRUSTED_BYTES: u64 = 1 << 20;
/// More entries than this are not prepared for on the word of a count alone.
const TRUSTED_COUNT: u64 = 1 << 16;

/// Result of reading.
pub type Result<T> = std::result::Result<T, RdbError>;

/// Reads RDB from an input.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    buffer: Box<[u8]>,
    position: usize,
    filled: usize,
    summed: usize,
    /// Offset in the input of the first byte of the buffer.
    base: u64,
    checksum: Option<Checksum>,
    /// Holds a string that could not be lent out of the buffer.
    scratch: Vec<u8>,
}

/// The first byte of a string, read.
enum StringForm {
    Raw(u64),
    Integer(i32),
    Lzf,
}

impl<R: Read> Reader<R> {
    /// A reader that computes the checksum.
    pub fn new(input: R) -> Self {
        Self { checksum: Some(Checksum::new()), ..Self::with_buffer_bytes(input, READ_BUFFER_BYTES) }
    }

    /// A reader that leaves the checksum out: framing vouches for the bytes, or the user waived it.
    pub fn without_checksum(input: R) -> Self {
        Self::with_buffer_bytes(input, READ_BUFFER_BYTES)
    }

    /// A reader without checksum whose buffer has about `bytes`, for short inputs.
    pub fn with_buffer_bytes(input: R, bytes: usize) -> Self {
        let bytes = bytes.clamp(MIN_BUFFER_BYTES, READ_BUFFER_BYTES);
        Self {
            input,
            buffer: vec![0; bytes].into_boxed_slice(),
            position: 0,
            filled: 0,
            summed: 0,
            base: 0,
            checksum: None,
            scratch: Vec::new(),
        }
    }

    /// Bytes consumed from the start of the input.
    pub fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// Gives back the input, and the bytes taken from it that were not consumed (an AOF may follow its RDB preamble).
    pub fn into_parts(self) -> (R, Vec<u8>) {
        let ahead = self.ahead().to_vec();
        (self.input, ahead)
    }

    /// The checksum of all bytes consumed so far; `None` when it is left out.
    pub fn checksum(&mut self) -> Option<u64> {
        self.sum_consumed();
        self.checksum.as_ref().map(Checksum::value)
    }

    /// An error at the present place.
    #[cold]
    pub fn error(&self, kind: RdbErrorKind) -> RdbError {
        RdbError { offset: self.offset(), kind }
    }

    /// A [`RdbErrorKind::Corrupt`] at the present place.
    #[cold]
    pub fn corrupt(&self, reason: impl Into<Cow<'static, str>>) -> RdbError {
        self.error(RdbErrorKind::Corrupt(reason.into()))
    }

    fn ahead(&self) -> &[u8] {
        self.slice(self.position..self.filled)
    }

    /// The indices are this type's own; a mistake in them would show as an empty slice, never as a panic.
    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    fn sum_consumed(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(self.buffer.get(self.summed..self.position).unwrap_or_default());
        }
        self.summed = self.position;
    }

    /// Makes at least `wanted` bytes (no more than the buffer holds) stand ahead.
    #[inline]
    fn require(&mut self, wanted: usize) -> Result<()> {
        if self.filled - self.position >= wanted { Ok(()) } else { self.refill(wanted) }
    }

    #[cold]
    fn refill(&mut self, wanted: usize) -> Result<()> {
        self.sum_consumed();
        self.buffer.copy_within(self.position..self.filled, 0);
        self.base += self.position as u64;
        self.filled -= self.position;
        self.position = 0;
        self.summed = 0;
        while self.filled < wanted {
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.input.read(free) {
                Ok(0) => return Err(self.end_of_input()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(RdbErrorKind::Io(error))),
            }
        }
        Ok(())
    }

    /// The error names the place where the input ends, not where the broken item starts.
    fn end_of_input(&self) -> RdbError {
        RdbError { offset: self.base + self.filled as u64, kind: RdbErrorKind::Truncated }
    }

    /// Reads exactly `N` bytes.
    #[inline]
    pub fn read_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        const { assert!(N <= MIN_BUFFER_BYTES) };
        self.require(N)?;
        let Some(bytes) = self.ahead().first_chunk::<N>().copied() else { return Err(self.end_of_input()) };
        self.position += N;
        Ok(bytes)
    }

    /// Reads one byte.
    #[inline]
    pub fn read_byte(&mut self) -> Result<u8> {
        self.read_array::<1>().map(|[byte]| byte)
    }

    /// Reads a length or a count.
    #[inline]
    pub fn read_len(&mut self) -> Result<u64> {
        let first = self.read_byte()?;
        if first & length::ENCODED == length::ENCODED {
            return Err(self.corrupt("Unexpected string encoding where a length was expected"));
        }
        self.finish_len(first)
    }

    /// Reads a count and what of it is sensible to prepare room for.
    pub fn read_count(&mut self) -> Result<(u64, usize)> {
        let count = self.read_len()?;
        Ok((count, count.min(TRUSTED_COUNT) as usize))
    }

    #[inline]
    fn finish_len(&mut self, first: u8) -> Result<u64> {
        match first {
            0x00..=0x3F => Ok(u64::from(first)),
            0x40..=0x7F => Ok(u64::from(first & 0x3F) << 8 | u64::from(self.read_byte()?)),
            length::BITS32 => self.read_array().map(|bytes| u64::from(u32::from_be_bytes(bytes))),
            length::BITS64 => self.read_array().map(u64::from_be_bytes),
            _ => Err(self.corrupt("Unknown length encoding 2 in rdbLoadLen()")),
        }
    }

    fn read_string_form(&mut self) -> Result<StringForm> {
        let first = self.read_byte()?;
        if first & length::ENCODED != length::ENCODED {
            return self.finish_len(first).map(StringForm::Raw);
        }
        Ok(StringForm::Integer(match first & !length::ENCODED {
            length::ENC_INT8 => i32::from(i8::from_le_bytes(self.read_array()?)),
            length::ENC_INT16 => i32::from(i16::from_le_bytes(self.read_array()?)),
            length::ENC_INT32 => i32::from_le_bytes(self.read_array()?),
            length::ENC_LZF => return Ok(StringForm::Lzf),
            other => return Err(self.corrupt(format!("Unknown RDB string encoding type {other}"))),
        }))
    }

    /// Reads a string and lends it until the next call: the cheapest way, mostly without a copy.
    pub fn read_string(&mut self) -> Result<&[u8]> {
        match self.read_string_form()? {
            StringForm::Raw(len) if len <= self.buffer.len() as u64 => {
                let len = len as usize;
                self.require(len)?;
                let start = self.position;
                self.position += len;
                return Ok(self.slice(start..start + len));
            }
            StringForm::Raw(len) => {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                self.read_bytes(len, &mut scratch)?;
                self.scratch = scratch;
            }
            StringForm::Integer(value) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            StringForm::Lzf => self.scratch = self.read_lzf()?,
        }
        Ok(&self.scratch)
    }

    /// Reads a string into `out`, replacing what it held.
    pub fn read_string_into(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        match self.read_string_form()? {
            StringForm::Raw(len) => self.read_bytes(len, out)?,
            StringForm::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            StringForm::Lzf => *out = self.read_lzf()?,
        }
        Ok(())
    }

    /// Reads a string that the caller keeps.
    pub fn read_string_owned(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.read_string_into(&mut out)?;
        Ok(out)
    }

    /// Appends exactly `len` bytes; room is made as they arrive.
    fn read_bytes(&mut self, len: u64, out: &mut Vec<u8>) -> Result<()> {
        let mut missing = len;
        while missing > 0 {
            let room = missing.min(TRUSTED_BYTES.max(out.len() as u64));
            out.reserve_exact(room as usize);
            missing -= room;
            self.append(room as usize, out)?;
        }
        Ok(())
    }

    /// Appends exactly `len` bytes: first what is ahead, then straight from the input.
    fn append(&mut self, len: usize, out: &mut Vec<u8>) -> Result<()> {
        if len <= self.buffer.len() {
            // Nothing is consumed of what is not there whole.
            self.require(len)?;
            out.extend_from_slice(self.slice(self.position..self.position + len));
            self.position += len;
            return Ok(());
        }
        let lent = len.min(self.filled - self.position);
        out.extend_from_slice(self.slice(self.position..self.position + lent));
        self.position += lent;
        let direct = len - lent;
        if direct < self.buffer.len() {
            self.require(direct)?;
            out.extend_from_slice(self.slice(self.position..self.position + direct));
            self.position += direct;
            return Ok(());
        }
        self.sum_consumed();
        let start = out.len();
        let got = (&mut self.input).take(direct as u64).read_to_end(out);
        let arrived = out.get(start..).unwrap_or_default();
        self.base += arrived.len() as u64;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(arrived);
        }
        match got {
            Ok(count) if count == direct => Ok(()),
            Ok(_) => Err(self.end_of_input()),
            Err(error) => Err(self.error(RdbErrorKind::Io(error))),
        }
    }

    fn read_lzf(&mut self) -> Result<Vec<u8>> {
        let compressed_len = self.read_len()?;
        let len = usize::try_from(self.read_len()?).unwrap_or(usize::MAX);
        let out = if compressed_len <= self.buffer.len() as u64 {
            let compressed_len = compressed_len as usize;
            self.require(compressed_len)?;
            let start = self.position;
            self.position += compressed_len;
            lzf::decompress(self.slice(start..start + compressed_len), len)
        } else {
            let mut compressed = Vec::new();
            self.read_bytes(compressed_len, &mut compressed)?;
            lzf::decompress(&compressed, len)
        };
        out.ok_or_else(|| self.corrupt("Invalid LZF compressed string"))
    }

    /// Reads past `len` bytes.
    pub fn skip_bytes(&mut self, len: u64) -> Result<()> {
        let mut missing = len;
        while missing > 0 {
            self.require(1)?;
            let step = missing.min((self.filled - self.position) as u64);
            self.position += step as usize;
            missing -= step;
        }
        Ok(())
    }

    /// Reads past a string; a compressed one is not looked into.
    pub fn skip_string(&mut self) -> Result<()> {
        match self.read_string_form()? {
            StringForm::Raw(len) => self.skip_bytes(len),
            StringForm::Integer(_) => Ok(()),
            StringForm::Lzf => {
                let compressed_len = self.read_len()?;
                self.read_len()?;
                self.skip_bytes(compressed_len)
            }
        }
    }

    /// Reads a score of 8 bytes.
    pub fn read_double(&mut self) -> Result<f64> {
        self.read_array().map(f64::from_le_bytes)
    }

    /// Reads a score written as text: a length byte (253: NaN, 254: +inf, 255: -inf) and digits.
    pub fn read_ascii_double(&mut self) -> Result<f64> {
        let mut text = [0; 252];
        let len = match self.read_byte()? {
            253 => return Ok(f64::NAN),
            254 => return Ok(f64::INFINITY),
            255 => return Ok(f64::NEG_INFINITY),
            len => usize::from(len),
        };
        let text = text.get_mut(..len).unwrap_or_default();
        for byte in text.iter_mut() {
            *byte = self.read_byte()?;
        }
        numbers::parse_f64(text).ok_or_else(|| self.corrupt("Invalid score text"))
    }

    /// Reads an absolute time in milliseconds.
    pub fn read_ms(&mut self) -> Result<i64> {
        self.read_array().map(i64::from_le_bytes)
    }
}

impl<'a> Reader<&'a [u8]> {
    /// A reader of bytes in memory, without checksum.
    pub fn of_slice(bytes: &'a [u8]) -> Self {
        Self::with_buffer_bytes(bytes, bytes.len())
    }
}
