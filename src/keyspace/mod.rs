//! Databases, entries, expiry, scan, random keys.
