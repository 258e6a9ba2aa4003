//! Where encodings convert: the thresholds of every type, as the options set them.

use crate::structures::quicklist;

/// The thresholds of all types, handed down to whatever makes or grows a value.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Lists (Valkey: `list-max-listpack-size`, `list-compress-depth`).
    pub list: quicklist::Limits,
    /// Sets.
    pub set: SetLimits,
    /// Hashes.
    pub hash: FlatLimits,
    /// Sorted sets.
    pub sorted_set: FlatLimits,
    /// Streams.
    pub stream: StreamLimits,
}

/// How far a collection stays one listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatLimits {
    /// Most elements (`hash-max-listpack-entries`, `zset-max-listpack-entries`).
    pub entries: usize,
    /// Longest element in bytes (`hash-max-listpack-value`, `zset-max-listpack-value`).
    pub value_bytes: usize,
}

/// How far a set stays compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLimits {
    /// Most members of an intset (`set-max-intset-entries`).
    pub intset_entries: usize,
    /// How far it stays one listpack (`set-max-listpack-entries`, `set-max-listpack-value`).
    pub listpack: FlatLimits,
}

/// How large a stream's listpacks become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Most bytes; 0 for no limit (`stream-node-max-bytes`).
    pub node_bytes: usize,
    /// Most entries; 0 for no limit (`stream-node-max-entries`).
    pub node_entries: usize,
}
