//! Containers with exact layouts: listpack, intset, quicklist, hash table, ordered index.

/// A counted B+-tree: the ordered half of sorted sets, the index of streams.
pub mod ordered_index;
