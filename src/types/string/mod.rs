//! Strings: their RDB codec. The value itself lives in the entry.
