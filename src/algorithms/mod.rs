//! Pure functions: bitmaps, checksums, compression, glob patterns, numbers as text, hashing.
//!
//! Nothing here knows a clock, a socket or a file, and nothing here is unsafe. The one piece of state is the hash key
//! of the process ([`hash::seed`]), set once at startup.

pub mod bits;
pub mod bytes;
pub mod crc64;
pub mod geohash;
pub mod glob;
pub mod hash;
pub mod lzf;
pub mod numbers;
pub mod slot;
pub mod slot_set;
