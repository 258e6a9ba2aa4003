//! Function libraries framed for FUNCTION DUMP and RESTORE.
//!
//! ```text
//! (245 | source as a string)* | version, 2 bytes LE | CRC-64 of all before, 8 bytes LE
//! ```

use super::dump;
use super::format::{VERSION, VersionCheck, opcode};
use super::reader::Reader;
use super::writer::{Writer, WriterOptions};

/// Why a payload is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionsError {
    /// Its version or checksum is wrong.
    Frame,
    /// A release candidate of Redis 7.0 wrote it.
    PreRelease,
    /// It holds something else.
    OtherType,
    /// It ends within a source.
    Truncated,
}

/// Frames sources.
#[must_use]
pub fn dump<'a>(sources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    for source in sources {
        // Writing to memory does not fail.
        let _ = writer.write_function(source);
    }
    let mut payload = writer.into_bytes();
    dump::append_footer(&mut payload, VERSION);
    payload
}

/// The sources of a payload.
///
/// # Errors
/// What is wrong with it.
pub fn read(payload: &[u8]) -> Result<Vec<Vec<u8>>, FunctionsError> {
    let dump = dump::verify(payload, VersionCheck::Strict, true).map_err(|_| FunctionsError::Frame)?;
    let mut sources = Vec::new();
    let mut reader = Reader::of_slice(dump.body);
    while reader.offset() < dump.body.len() as u64 {
        match reader.read_byte().map_err(|_| FunctionsError::Truncated)? {
            opcode::FUNCTION2 => {
                sources.push(reader.read_string_owned().map_err(|_| FunctionsError::Truncated)?);
            }
            opcode::FUNCTION_PRE_GA => return Err(FunctionsError::PreRelease),
            _ => return Err(FunctionsError::OtherType),
        }
    }
    Ok(sources)
}

/// The name that a library's first line gives it.
#[must_use]
pub fn library_name(source: &[u8]) -> Option<&[u8]> {
    let line = source.split(|byte| *byte == b'\n').next()?;
    line.split(u8::is_ascii_whitespace).find_map(|word| word.strip_prefix(b"name="))
}
