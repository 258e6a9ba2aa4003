//! What the parent knows at the instant of the fork: every byte that is not in an entry, each under one owner.

/// Bytes by owner, read immediately before the fork while helper threads hold still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Allocated bytes as the allocator counts them.
    pub used: u64,
    /// Indexes of what expires, beside the tables.
    pub key_expiry: u64,
    /// The databases' indexes of hashes whose fields expire.
    pub hash_expiry_index: u64,
    /// Buckets and directories of the databases' tables.
    pub tables: u64,
    /// Normal, pubsub and primary clients: records, query and reply buffers, connections.
    pub clients: u64,
    /// Commands not yet written to the append-only file.
    pub aof_buffer: u64,
    /// What replicas are fed with beyond the backlog, and their clients.
    pub replication_buffer: u64,
    /// The replication backlog and its index.
    pub backlog: u64,
    /// What the process had allocated when it was ready and empty, less what other rows hold of it.
    pub startup: u64,
    /// Cached scripts.
    pub scripts: u64,
    /// Function libraries.
    pub functions: u64,
    /// Channels and patterns with their subscribers.
    pub pubsub: u64,
    /// Keys tracked for clients.
    pub tracking: u64,
    /// Who waits for keys, and who watches them.
    pub watch_block: u64,
    /// Slow log, latency samples, statistics that grow.
    pub logs: u64,
    /// Users, and options changed since start.
    pub acl_config: u64,
    /// Cluster state.
    pub cluster: u64,
    /// The profile that was published last, and this one's own state.
    pub profiler: u64,
}

impl Figures {
    /// The sum of the rows.
    #[must_use]
    pub fn attributed(&self) -> u64 {
        let rows = [
            self.key_expiry,
            self.hash_expiry_index,
            self.tables,
            self.clients,
            self.aof_buffer,
            self.replication_buffer,
            self.backlog,
            self.startup,
            self.scripts,
            self.functions,
            self.pubsub,
            self.tracking,
            self.watch_block,
            self.logs,
            self.acl_config,
            self.cluster,
            self.profiler,
        ];
        rows.iter().sum()
    }
}
