//! The encoder: primitives first, then the records of a file.
//!
//! Everything gathers in one buffer; the checksum is fed from it when it is handed to the sink, in large pieces. Nothing is
//! allocated per key: compression reuses one scratch buffer. In the child of a BGSAVE this is where the processor time goes.
//!
//! After an error the sink's state is unknown and the writer must be dropped.

use std::io::{self, Write};

use crate::algorithms::crc64::Checksum;
use crate::algorithms::{lzf, numbers};

use super::format::{self, ValueType, length, opcode};

/// Bytes gathered before they go to the sink.
const BUFFER_BYTES: usize = 256 * 1024;
/// The longest text of an integer that fits 32 bits.
const MAX_INTEGER_TEXT: usize = 11;
/// Valkey: LZF cannot shorten anything of this length or less.
const INCOMPRESSIBLE_LEN: usize = 20;

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// Compress strings of more than 20 bytes. Valkey: `rdbcompression`.
    pub compression: bool,
    /// Compute the checksum; else eight zero bytes end the file. Valkey: `rdbchecksum`.
    pub checksum: bool,
    /// The version to write: 80, or 11 for an older replica.
    pub version: u16,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { compression: true, checksum: true, version: format::VERSION }
    }
}

/// What is known of an entry's last use; which of the two depends on `maxmemory-policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastUse {
    /// The policy needs neither.
    #[default]
    Unknown,
    /// Seconds since the last access.
    IdleSeconds(u64),
    /// The logarithmic access counter.
    Frequency(u8),
}

/// Writes RDB into a sink.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    buffer: Vec<u8>,
    /// The buffer goes to the sink before it would grow past this.
    flush_at: usize,
    flushed: u64,
    checksum: Option<Checksum>,
    compressed: Vec<u8>,
    options: WriterOptions,
}

impl Writer<io::Sink> {
    /// A writer that keeps all bytes in memory, for one value: DUMP.
    pub fn in_memory(options: WriterOptions) -> Self {
        let options = WriterOptions { checksum: false, ..options };
        Self { flush_at: usize::MAX, ..Self::with_buffer(io::sink(), options, 0) }
    }

    /// The bytes of a writer made by [`Writer::in_memory`].
    pub fn into_bytes(self) -> Vec<u8> {
        self.buffer
    }

    /// A writer that only counts, see [`Writer::bytes_written`].
    pub fn counting(options: WriterOptions) -> Self {
        let options = WriterOptions { checksum: false, ..options };
        Self::with_buffer(io::sink(), options, 512)
    }
}

impl<W: Write> Writer<W> {
    /// A writer with a buffer of 256 KiB.
    pub fn new(sink: W, options: WriterOptions) -> Self {
        Self::with_buffer(sink, options, BUFFER_BYTES)
    }

    fn with_buffer(sink: W, options: WriterOptions, flush_at: usize) -> Self {
        Self {
            sink,
            buffer: Vec::with_capacity(flush_at),
            flush_at,
            flushed: 0,
            checksum: options.checksum.then(Checksum::new),
            compressed: Vec::new(),
            options,
        }
    }

    /// The version being written; a codec picks its forms by it.
    pub fn version(&self) -> u16 {
        self.options.version
    }

    /// Bytes written so far, those still in the buffer included.
    pub fn bytes_written(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Hands the buffer to the sink if it holds at least so many bytes.
    ///
    /// # Errors
    /// The sink's.
    pub fn flush_beyond(&mut self, bytes: usize) -> io::Result<()> {
        if self.buffer.len() >= bytes { self.flush_buffer() } else { Ok(()) }
    }

    /// Hands the buffer to the sink (which is not flushed itself).
    pub fn flush_buffer(&mut self) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.buffer);
        }
        self.sink.write_all(&self.buffer)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    #[cold]
    fn write_around_buffer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.flush_buffer()?;
        if bytes.len() < self.flush_at {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.sink.write_all(bytes)?;
        self.flushed += bytes.len() as u64;
        Ok(())
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.flush_at - self.buffer.len() {
            return self.write_around_buffer(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes one byte.
    #[inline]
    pub fn write_byte(&mut self, byte: u8) -> io::Result<()> {
        self.write_raw(&[byte])
    }

    /// Writes a length or a count in its shortest form.
    #[inline]
    pub fn write_len(&mut self, len: u64) -> io::Result<()> {
        if len < 1 << 6 {
            return self.write_byte(len as u8);
        }
        if len < 1 << 14 {
            return self.write_raw(&(len as u16 | 0x4000).to_be_bytes());
        }
        self.write_long_len(len)
    }

    fn write_long_len(&mut self, len: u64) -> io::Result<()> {
        if let Ok(len) = u32::try_from(len) {
            self.write_byte(length::BITS32)?;
            return self.write_raw(&len.to_be_bytes());
        }
        self.write_byte(length::BITS64)?;
        self.write_raw(&len.to_be_bytes())
    }

    /// Writes a string in its shortest form: as an integer, compressed, or as it is.
    #[inline]
    pub fn write_string(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() <= MAX_INTEGER_TEXT {
            if looks_like_integer(bytes) && self.write_as_integer(bytes)? {
                return Ok(());
            }
        } else if bytes.len() > INCOMPRESSIBLE_LEN
            && self.options.compression
            && self.write_compressed(bytes)?
        {
            return Ok(());
        }
        self.write_len(bytes.len() as u64)?;
        self.write_raw(bytes)
    }

    fn write_as_integer(&mut self, text: &[u8]) -> io::Result<bool> {
        match numbers::parse_i64(text).and_then(|value| i32::try_from(value).ok()) {
            Some(value) => self.write_small_integer(value).map(|()| true),
            None => Ok(false),
        }
    }

    fn write_small_integer(&mut self, value: i32) -> io::Result<()> {
        let [a, b, c, d] = value.to_le_bytes();
        if i8::try_from(value).is_ok() {
            self.write_raw(&[length::ENCODED | length::ENC_INT8, a])
        } else if i16::try_from(value).is_ok() {
            self.write_raw(&[length::ENCODED | length::ENC_INT16, a, b])
        } else {
            self.write_raw(&[length::ENCODED | length::ENC_INT32, a, b, c, d])
        }
    }

    fn write_compressed(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut compressed = std::mem::take(&mut self.compressed);
        compressed.clear();
        let shorter = lzf::compress(bytes, &mut compressed);
        let written = if shorter { self.write_lzf(&compressed, bytes.len() as u64) } else { Ok(()) };
        self.compressed = compressed;
        written.map(|()| shorter)
    }

    /// Writes a string that is already LZF-compressed, as the inner nodes of a compressed list are.
    pub fn write_lzf(&mut self, compressed: &[u8], original_len: u64) -> io::Result<()> {
        self.write_byte(length::ENCODED | length::ENC_LZF)?;
        self.write_len(compressed.len() as u64)?;
        self.write_len(original_len)?;
        self.write_raw(compressed)
    }

    /// Writes the string that is the decimal text of `value`.
    pub fn write_integer(&mut self, value: i64) -> io::Result<()> {
        if let Ok(small) = i32::try_from(value) {
            return self.write_small_integer(small);
        }
        let mut text = itoa::Buffer::new();
        let text = text.format(value).as_bytes();
        self.write_len(text.len() as u64)?;
        self.write_raw(text)
    }

    /// Writes a score: 8 bytes.
    pub fn write_double(&mut self, value: f64) -> io::Result<()> {
        self.write_raw(&value.to_le_bytes())
    }

    /// Writes an absolute time in milliseconds: 8 bytes.
    pub fn write_ms(&mut self, time_ms: i64) -> io::Result<()> {
        self.write_raw(&time_ms.to_le_bytes())
    }

    /// Starts a file: magic and version.
    pub fn write_header(&mut self) -> io::Result<()> {
        self.write_raw(&format::header(self.options.version))
    }

    /// Writes a pair about the file.
    pub fn write_aux(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.write_byte(opcode::AUX)?;
        self.write_string(key)?;
        self.write_string(value)
    }

    /// Writes a pair about the file whose value is a number.
    pub fn write_aux_integer(&mut self, key: &[u8], value: i64) -> io::Result<()> {
        self.write_byte(opcode::AUX)?;
        self.write_string(key)?;
        self.write_integer(value)
    }

    /// Writes the source of a function library.
    pub fn write_function(&mut self, source: &[u8]) -> io::Result<()> {
        self.write_byte(opcode::FUNCTION2)?;
        self.write_string(source)
    }

    /// Writes that the keys of some slots are here before the slots are: the name of their migration, and its ranges.
    pub fn write_slot_import(&mut self, name: &[u8], ranges: &[(u16, u16)]) -> io::Result<()> {
        self.write_byte(opcode::SLOT_IMPORT)?;
        self.write_string(name)?;
        self.write_len(ranges.len() as u64)?;
        ranges.iter().try_for_each(|(start, end)| {
            self.write_len(u64::from(*start))?;
            self.write_len(u64::from(*end))
        })
    }

    /// Starts a database: its number, how many keys it holds and how many of them expire.
    pub fn write_database(&mut self, number: u64, keys: u64, expiries: u64) -> io::Result<()> {
        self.write_byte(opcode::SELECT_DB)?;
        self.write_len(number)?;
        self.write_byte(opcode::RESIZE_DB)?;
        self.write_len(keys)?;
        self.write_len(expiries)
    }

    /// Starts an entry: all that comes before the value, which the type's codec writes next.
    pub fn write_entry(
        &mut self,
        value_type: ValueType,
        key: &[u8],
        expiry_ms: Option<i64>,
        last_use: LastUse,
    ) -> io::Result<()> {
        if let Some(expiry_ms) = expiry_ms {
            self.write_byte(opcode::EXPIRY_MS)?;
            self.write_ms(expiry_ms)?;
        }
        match last_use {
            LastUse::Unknown => {}
            LastUse::IdleSeconds(seconds) => {
                self.write_byte(opcode::IDLE)?;
                self.write_len(seconds)?;
            }
            LastUse::Frequency(frequency) => self.write_raw(&[opcode::FREQUENCY, frequency])?,
        }
        self.write_byte(value_type.byte())?;
        self.write_string(key)
    }

    /// Ends the file: end mark and checksum. Flushes the buffer, not the sink, and gives the sink back.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_byte(opcode::EOF)?;
        self.flush_buffer()?;
        let checksum = self.checksum.take().map_or(0, |checksum| checksum.value());
        self.write_raw(&checksum.to_le_bytes())?;
        self.flush_buffer()?;
        Ok(self.sink)
    }
}

/// Keeps most strings away from the parser.
fn looks_like_integer(bytes: &[u8]) -> bool {
    matches!((bytes.first(), bytes.last()), (Some(b'-' | b'0'..=b'9'), Some(b'0'..=b'9')))
}
