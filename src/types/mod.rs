//! The value types: operations, encodings and their conversion, RDB codec, memory usage; one folder each.
