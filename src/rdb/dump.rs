//! One value framed for DUMP and RESTORE.
//!
//! ```text
//! type byte | value as in a file | version, 2 bytes LE | CRC-64 of all before, 8 bytes LE
//! ```

use crate::algorithms::crc64;

use super::format::{self, Dialect, ValueType, VersionCheck};
use super::reader::Reader;

/// Version and checksum.
const FOOTER_BYTES: usize = 10;

/// Why a payload is refused. Clients see the same text for each (Valkey: "DUMP payload version or checksum are wrong").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpError {
    /// Shorter than the footer.
    TooShort,
    /// A version that is not read.
    Version(u16),
    /// The checksum does not fit.
    Checksum,
}

/// A payload whose frame is right.
#[derive(Debug, Clone, Copy)]
pub struct Dump<'a> {
    /// The version of the server that wrote it.
    pub version: u16,
    /// Everything before the footer.
    pub body: &'a [u8],
}

impl<'a> Dump<'a> {
    /// The form of the value and a reader placed at its first byte; `None` if the type is unknown or missing.
    pub fn open(&self) -> Option<(ValueType, Reader<&'a [u8]>)> {
        let (&byte, value) = self.body.split_first()?;
        Some((ValueType::from_byte(byte, Dialect::of(self.version))?, Reader::of_slice(value)))
    }
}

/// Appends the footer to a type byte and value written in `version`.
pub fn append_footer(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64::checksum(payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
}

/// Checks the frame of a payload. `verify_checksum` is false under Valkey's `DEBUG SET-SKIP-CHECKSUM-VALIDATION 1`.
pub fn verify(payload: &[u8], check: VersionCheck, verify_checksum: bool) -> Result<Dump<'_>, DumpError> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>().ok_or(DumpError::TooShort)?;
    let [v0, v1, checksum @ ..] = *footer;
    let version = u16::from_le_bytes([v0, v1]);
    if !format::accepts_dump(version, check) {
        return Err(DumpError::Version(version));
    }
    let summed = payload.get(..payload.len() - checksum.len()).unwrap_or_default();
    if verify_checksum && crc64::checksum(summed) != u64::from_le_bytes(checksum) {
        return Err(DumpError::Checksum);
    }
    Ok(Dump { version, body })
}
