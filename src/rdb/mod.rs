//! The RDB byte format: opcodes, lengths, strings, checksum; encoder and decoder.

/// Flat encodings that only old files hold.
pub mod legacy;
