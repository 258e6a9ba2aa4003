//! Containers with exact layouts: listpack, intset, quicklist, hash table, ordered index.

/// A field of a hash with its value and its expiry.
pub mod field;
/// The table of the keyspace, sets, hashes and sorted sets.
pub mod hash_table;
/// A sorted set of integers in one block.
pub mod intset;
/// A sequence of strings and integers in one block.
pub mod listpack;
/// Listpacks in the order of a key: the nodes of a stream.
pub mod listpack_index;
/// A member of a set: bytes in one block.
pub mod member;
/// A counted B+-tree: the ordered half of sorted sets, the index of streams.
pub mod ordered_index;
/// A long list as a sequence of listpacks.
pub mod quicklist;
/// A growable string in one block.
pub mod raw_string;
/// Members with scores, found by member and by rank.
pub mod scored_members;
/// Owned values that are one machine word.
pub mod word;
