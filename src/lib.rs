//! Weighbridge: a Valkey-compatible in-memory key-value server that can say what every byte of its memory is for.
//!
//! The layers, lowest first. A layer may use only the layers above it in this list; `tests/tidy.rs` holds it.

/// The operating system: fork, pipes, clock, signals, process figures. The only module that touches libc.
pub mod sys;
/// Pure functions: checksums, compression, glob patterns, numbers as text, hashing.
pub mod algorithms;
/// What a counted byte is: the allocator, usable sizes, the `MemoryUsage` trait.
pub mod memory;
/// One table of options: name, type, default, mutability, documentation; the file reader and rewriter.
pub mod config;
/// The log: its lines, levels and file.
pub mod log;
/// Containers with exact layouts: listpack, intset, quicklist, hash table, ordered index.
pub mod structures;
/// The RDB byte format: opcodes, lengths, strings, checksum; encoder and decoder.
pub mod rdb;
/// The wire protocol: request parser, reply writer, every error text.
pub mod resp;
/// The value types: operations, encodings and their conversion, RDB codec, memory usage; one folder each.
pub mod types;
/// Databases, entries, expiry, scan, random keys.
pub mod keyspace;
/// The memory profile: rows, identity, walk callback, report.
pub mod profile;
/// The forked child and its frames, snapshot save and load.
pub mod persistence;
/// Histories, the stream that replicas are fed with, and what is known of each replica.
pub mod replication;
/// What nodes of a cluster say to each other, as bytes.
pub mod bus;
/// Scripts: their language and its libraries, and what they may ask of a server.
pub mod scripting;
/// Process state and sessions: clients, statistics, blocked clients. No command behaviour.
pub mod server;
/// The commands, one family a file; a command is one block: specification and handler together.
pub mod commands;
/// Listener, connection task, batch execution, flushing.
pub mod net;
/// The built-in client, and the demonstration that runs on it.
pub mod client;
/// The programs that check files while no server uses them.
pub mod tools;
/// Load data, build the server, run.
pub mod startup;
