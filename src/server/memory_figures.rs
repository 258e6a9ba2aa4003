//! What the memory is used for in large, as INFO memory and MEMORY STATS show it.

use super::Server;
use super::client::ClientClass;
use crate::keyspace::Keyspace;
use crate::memory::{AllocatorStatistics, MemoryUsage};
use crate::sys::process;

/// The name and version of the allocator.
pub const ALLOCATOR: &str = "jemalloc-5.3.1";

/// Figures in bytes, all taken at one instant.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemoryFigures {
    /// Allocated.
    pub used: usize,
    /// Most that was ever allocated.
    pub peak: usize,
    /// Allocated once the server was built, with no data.
    pub startup: usize,
    /// Held by clients that are no replicas.
    pub clients: usize,
    /// Held by replicas.
    pub replicas: usize,
    /// The replication backlog.
    pub backlog: usize,
    /// The stream that replicas are fed, of which the backlog is a part.
    pub stream: usize,
    /// Received from the primary and waiting for the snapshot to be loaded.
    pub unread: usize,
    /// Tables of the databases, entries not included.
    pub tables: usize,
    /// Bytes of cached scripts and of their interpreter.
    pub scripts: usize,
    /// Bytes of function libraries and of their interpreter.
    pub functions: usize,
    /// Connections to other nodes of the cluster.
    pub cluster_links: usize,
    /// Held by the connections that slots come by.
    pub slot_imports: usize,
    /// Held by the connections that slots go by, and for them.
    pub slot_exports: usize,
    /// Not yet written to the append-only file.
    pub aof_buffer: usize,
    /// All that is not data.
    pub overhead: usize,
    /// Data.
    pub dataset: usize,
    /// Keys in all databases.
    pub keys: usize,
    /// Resident, as the system says.
    pub resident: usize,
    /// What the allocator says.
    pub allocator: AllocatorStatistics,
}

/// `part` of `whole`; of nothing, 0.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn difference(one: usize, other: usize) -> i64 {
    one as i64 - other as i64
}

impl MemoryFigures {
    /// Takes the figures now.
    #[must_use]
    pub fn take(keyspace: &Keyspace, server: &mut Server) -> Self {
        let used = server.allocated();
        let own_class = |class| match class {
            ClientClass::Replica | ClientClass::SlotImport | ClientClass::SlotExport => class,
            ClientClass::Normal | ClientClass::Pubsub | ClientClass::Primary => ClientClass::Normal,
        };
        let chosen = |class| {
            let all = server.clients.iter();
            all.filter(move |client| own_class(client.class()) == class && !client.close_now)
        };
        let held = |class| chosen(class).map(MemoryUsage::memory_usage).sum::<usize>();
        // What replicas that are gone have left is the backlog's, until it is freed.
        let beyond_backlog = match chosen(ClientClass::Replica).next() {
            Some(_) => server.replication.usage_beyond_backlog(),
            None => 0,
        };
        let (clients, replicas) = (held(ClientClass::Normal), held(ClientClass::Replica));
        let buffers = server.cluster.as_ref().map_or(0, |cluster| cluster.migrations.export_buffers_usage());
        let slot_imports = held(ClientClass::SlotImport);
        let slot_exports = held(ClientClass::SlotExport) + buffers;
        let tables = keyspace.table_usage();
        let waiting = server.waiting_usage();
        let startup = server.identity.startup_bytes;
        let lists = server.clients.registry_usage() + server.connection_lists_bytes;
        // What was allocated at the start and belongs to one of the others is counted there.
        let own = startup.saturating_sub(server.identity.startup_rows);
        let scripts = server.scripting.scripts_usage();
        let functions = server.scripting.functions.vm_usage() + server.scripting.functions.libraries_usage();
        let cluster_links = server.cluster.as_ref().map_or(0, |cluster| cluster.links_usage());
        let overhead = own
            + cluster_links
            + slot_imports
            + slot_exports
            + clients
            + replicas
            + tables
            + server.replication.memory_usage()
            + server.primary_link.memory_usage()
            + waiting
            + lists
            + server.observation_usage()
            + server.pubsub_usage()
            + scripts
            + functions
            + server.aof.memory_usage();
        Self {
            used,
            peak: server.stats.peak_allocated,
            startup,
            clients,
            replicas: replicas + beyond_backlog,
            backlog: server.replication.memory_usage() - beyond_backlog,
            stream: server.replication.stream().map_or(0, MemoryUsage::memory_usage),
            unread: server.primary_link.unread_usage,
            tables,
            scripts,
            functions,
            cluster_links,
            slot_imports,
            slot_exports,
            aof_buffer: server.aof.buffer_usage(),
            overhead,
            dataset: used.saturating_sub(overhead),
            keys: keyspace.len(),
            resident: usize::try_from(process::resident_bytes()).unwrap_or(usize::MAX),
            allocator: AllocatorStatistics::now(),
        }
    }

    /// Used in percent of the peak.
    #[must_use]
    pub fn peak_percentage(&self) -> f64 {
        ratio(self.used, self.peak) * 100.0
    }

    /// Data in percent of what was allocated since the start.
    #[must_use]
    pub fn dataset_percentage(&self) -> f64 {
        ratio(self.dataset, self.used.saturating_sub(self.startup).max(1)) * 100.0
    }

    /// Bytes of data for each key.
    #[must_use]
    pub fn bytes_per_key(&self) -> usize {
        self.dataset.checked_div(self.keys).unwrap_or(0)
    }

    /// Small allocations' fragmentation: ratio.
    #[must_use]
    pub fn fragmentation_ratio(&self) -> f64 {
        1.0 + ratio(self.allocator.small_fragmentation, self.allocator.allocated)
    }

    /// What the allocator holds resident against what it uses: ratio and bytes.
    #[must_use]
    pub fn allocator_resident(&self) -> (f64, i64) {
        let AllocatorStatistics { resident, active, .. } = self.allocator;
        (ratio(resident, active), difference(resident, active))
    }

    /// What the process holds resident against the allocator: ratio and bytes.
    #[must_use]
    pub fn beyond_allocator(&self) -> (f64, i64) {
        let resident = self.allocator.resident;
        (ratio(self.resident, resident), difference(self.resident, resident))
    }

    /// What the process holds resident against what is allocated: ratio and bytes.
    #[must_use]
    pub fn total_fragmentation(&self) -> (f64, i64) {
        (ratio(self.resident, self.used), difference(self.resident, self.used))
    }
}
