//! What a primary knows of one replica, from its first REPLCONF until its connection ends.

use std::fs::File;

use super::Cursor;
use crate::memory::{MemoryUsage, vec_usage};

/// How far a replica's synchronization has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaState {
    /// It has introduced itself (REPLCONF) and not yet asked for data: no replica so far.
    #[default]
    Introduced,
    /// A snapshot has to be begun for it.
    WaitsForSnapshot,
    /// The snapshot is being made; what is written from its fork on is kept for this replica. A diskless one is being
    /// received already.
    SnapshotUnderWay,
    /// The snapshot's file is being sent.
    SendsSnapshot,
    /// It is fed the stream, or will be once it has acknowledged the snapshot.
    Online,
    /// It has all of the snapshot and wanted no more: it is to go.
    SnapshotSent,
    /// The main connection of a replica that loads the snapshot from another connection: it is fed the stream.
    LoadsElsewhere,
}

impl ReplicaState {
    /// The name that INFO shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Introduced => "",
            Self::WaitsForSnapshot | Self::SnapshotUnderWay => "wait_bgsave",
            Self::SendsSnapshot => "send_bulk",
            Self::Online => "online",
            Self::SnapshotSent => "rdb_transmitted",
            Self::LoadsElsewhere => "bg_transfer",
        }
    }
}

/// What a replica says that it understands (`REPLCONF capa`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// A snapshot that ends with a mark instead of beginning with its length.
    pub eof: bool,
    /// `+CONTINUE` with a new replication id.
    pub psync2: bool,
    /// A snapshot on a connection of its own.
    pub dual_channel: bool,
    /// A snapshot without a checksum, where the connection checks what it carries.
    pub skip_checksum: bool,
}

impl Capabilities {
    /// Whether all that `other` understands is understood.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self.and(other) == other
    }

    /// What both understand.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            eof: self.eof && other.eof,
            psync2: self.psync2 && other.psync2,
            dual_channel: self.dual_channel && other.dual_channel,
            skip_checksum: self.skip_checksum && other.skip_checksum,
        }
    }
}

/// What a replica wants of a snapshot (`REPLCONF rdb-filter-only`, `rdb-channel`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotFilter {
    /// No entries.
    pub without_data: bool,
    /// No function libraries.
    pub without_functions: bool,
    /// On a connection of its own.
    pub own_channel: bool,
}

impl SnapshotFilter {
    /// Whether something is left out.
    #[must_use]
    pub fn is_partial(self) -> bool {
        self.without_data || self.without_functions
    }
}

/// One replica.
#[derive(Debug, Default)]
pub struct Replica {
    /// How far it has come.
    pub state: ReplicaState,
    /// The address it gave of itself; empty for that of its connection.
    pub address: Vec<u8>,
    /// Its id as a node of a cluster; empty unknown.
    pub node_id: Vec<u8>,
    /// The port it listens on; 0 unknown.
    pub port: i64,
    /// Its version as `major << 16 | minor << 8 | patch`; 0 unknown.
    pub version: u32,
    /// What it understands.
    pub capabilities: Capabilities,
    /// What it wants of a snapshot.
    pub filter: SnapshotFilter,
    /// Wants the snapshot only.
    pub snapshot_only: bool,
    /// Came by SYNC: it sends no acknowledgements.
    pub before_psync: bool,
    /// What it has executed, as far as it said.
    pub acknowledged: i64,
    /// What it has on disk, as far as it said.
    pub acknowledged_on_disk: i64,
    /// When it last said so, Unix ms.
    pub acknowledged_ms: i64,
    /// The offset at which its snapshot was begun.
    pub snapshot_offset: i64,
    /// Since when a part of its snapshot waits for its socket, Unix ms; 0 when none does.
    pub stuck_since_ms: i64,
    /// It is fed once it has acknowledged the snapshot, whose end it could not tell from what follows otherwise.
    pub starts_on_acknowledgement: bool,
    /// The number of the client that loads the snapshot for this one.
    pub snapshot_client: u64,
    /// The file of its snapshot, while that is sent.
    pub file: Option<SnapshotFile>,
    /// What comes next for it; `None` while nothing is kept for it.
    pub cursor: Option<Cursor>,
}

/// A snapshot's file on its way to a replica.
#[derive(Debug)]
pub struct SnapshotFile {
    /// The file. Closing it may take long.
    pub file: File,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes in all.
    pub size: u64,
}

impl Replica {
    /// Whether it counts as a replica: it has asked for data.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.state != ReplicaState::Introduced
    }

    /// Whether what is written has to be kept for it.
    #[must_use]
    pub fn needs_stream(&self) -> bool {
        !self.snapshot_only
            && !matches!(self.state, ReplicaState::Introduced | ReplicaState::WaitsForSnapshot)
    }

    /// Whether it may be sent the stream now.
    #[must_use]
    pub fn is_fed(&self) -> bool {
        match self.state {
            ReplicaState::Online => !self.starts_on_acknowledgement,
            ReplicaState::LoadsElsewhere => true,
            _ => false,
        }
    }
}

impl MemoryUsage for Replica {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.address) + vec_usage(&self.node_id)
    }
}
