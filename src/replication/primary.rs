//! What a replica knows of its primary's stream while it is connected, and what it keeps to go on after a cut.

use super::ReplicationId;
use crate::memory::{MemoryUsage, vec_usage};

/// The stream as it comes from the primary. Offsets count from the beginning of the history.
#[derive(Debug)]
pub struct PrimaryStream {
    /// The history that the stream belongs to.
    pub id: ReplicationId,
    /// Offset of the last byte received.
    pub received: i64,
    /// Offset of the last byte whose request was executed; a transaction counts with its EXEC.
    pub applied: i64,
    /// The primary counts no offsets: it is acknowledged nothing, and there is no partial synchronization.
    pub before_psync: bool,
    /// What was executed of a transaction whose EXEC has not come.
    pub unfinished: Vec<u8>,
    /// After a cut there is nothing to go on from: the peer broke the protocol.
    pub unusable: bool,
}

impl PrimaryStream {
    /// A stream of which everything up to `offset` is applied.
    #[must_use]
    pub fn new(id: ReplicationId, offset: i64) -> Self {
        Self {
            id,
            received: offset,
            applied: offset,
            before_psync: offset < 0,
            unfinished: Vec::new(),
            unusable: false,
        }
    }
}

impl MemoryUsage for PrimaryStream {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.unfinished)
    }
}

/// Where a replica was in its primary's stream when the connection was lost: it asks to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedPrimary {
    /// The history.
    pub id: ReplicationId,
    /// Offset of the last byte that was applied.
    pub offset: i64,
    /// The database that the stream had selected.
    pub database: usize,
}
