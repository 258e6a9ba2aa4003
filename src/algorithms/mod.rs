//! Pure functions: checksums, compression, glob patterns, numbers as text, hashing.
