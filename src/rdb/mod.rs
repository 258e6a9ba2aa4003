//! The RDB byte format: opcodes, lengths, strings, checksum; encoder and decoder.
