//! The RDB byte format, and nothing above it: opcodes, lengths, strings, numbers, checksum.
//!
//! [`Writer`] and [`Reader`] know the primitives; [`Snapshot`] walks a whole file as events; [`dump`] frames one value for
//! DUMP and RESTORE. What the bytes of a value mean belongs to the types above, which read and write through these.
//!
//! Invariant: no byte that comes in can cause a panic, nor an allocation much larger than the input that pays for it.
#![deny(clippy::indexing_slicing)]

/// The forms of collections that are a plain count and elements, so that a type's codec stays short.
pub mod collections;
/// One value framed for DUMP and RESTORE.
pub mod dump;
/// What can be wrong with RDB bytes, and where.
pub mod error;
/// Opcodes, value types, versions, magic.
pub mod format;
/// Function libraries framed for FUNCTION DUMP and RESTORE.
pub mod functions;
/// Flat encodings that only old files hold.
pub mod legacy;
/// The decoder of primitives.
pub mod reader;
mod skip;
/// A whole file, event by event.
pub mod snapshot;
/// The encoder.
pub mod writer;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod round_trip_tests;

pub use error::{RdbError, RdbErrorKind};
pub use format::ValueType;
pub use reader::{READ_BUFFER_BYTES, Reader};
pub use snapshot::{Event, Snapshot};
pub use writer::{Writer, WriterOptions};
