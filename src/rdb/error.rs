//! What can be wrong with RDB bytes, and where. The texts are Valkey's, so that logs read alike.

use std::borrow::Cow;
use std::{fmt, io};

use super::format::HEADER_LEN;

/// An error and the place it was met.
#[derive(Debug)]
pub struct RdbError {
    /// Bytes consumed from the start of the input when it was met.
    pub offset: u64,
    /// What was wrong.
    pub kind: RdbErrorKind,
}

/// What was wrong.
#[derive(Debug)]
pub enum RdbErrorKind {
    /// The input ended inside of something.
    Truncated,
    /// The input could not be read.
    Io(io::Error),
    /// Neither of the two magics.
    BadMagic([u8; HEADER_LEN]),
    /// A version that is not read.
    UnsupportedVersion(u16),
    /// A byte whose meaning in the other family's files is unknown.
    ForeignType {
        /// The byte.
        byte: u8,
        /// The version of the file.
        version: u16,
    },
    /// A byte that is neither an opcode nor a value type.
    UnknownType(u8),
    /// The checksum at the end does not fit what was read.
    Checksum {
        /// What the bytes read amount to.
        expected: u64,
        /// What the file says.
        got: u64,
    },
    /// The bytes contradict the format.
    Corrupt(Cow<'static, str>),
}

impl fmt::Display for RdbErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("Unexpected EOF reading RDB file"),
            Self::Io(error) => write!(f, "Error reading RDB file: {error}"),
            Self::BadMagic(bytes) => {
                write!(f, "Wrong signature trying to load DB from file: {}", String::from_utf8_lossy(bytes))
            }
            Self::UnsupportedVersion(version) => write!(f, "Can't handle RDB format version {version}"),
            Self::ForeignType { byte, version } => {
                write!(f, "Can't handle foreign type or opcode {byte} in RDB with version {version}")
            }
            Self::UnknownType(byte) => write!(f, "Unknown RDB encoding type {byte}"),
            Self::Checksum { expected, got } => {
                write!(f, "Wrong RDB checksum expected: ({expected:x}) but got ({got:x}). Aborting now.")
            }
            Self::Corrupt(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for RdbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RdbErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}
