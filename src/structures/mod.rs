//! Containers with exact layouts: listpack, intset, quicklist, hash table, ordered index.
