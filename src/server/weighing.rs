//! What the process holds beside the entries, by owner: the parent's part of a memory profile.

use std::sync::atomic::Ordering;

use super::Server;
use super::client::ClientClass;
use crate::keyspace::Keyspace;
use crate::memory::{MemoryUsage, allocated_bytes, vec_usage};
use crate::profile::Figures;

impl Server {
    /// What remembers who waits: for keys, for the end of a pause, and for changes of watched keys.
    #[must_use]
    pub fn waiting_usage(&self) -> usize {
        self.blocked.memory_usage() + self.watched.memory_usage() + vec_usage(&self.held)
    }

    /// What remembers what commands did: statistics, logs, latencies, and the list of monitors.
    #[must_use]
    pub fn observation_usage(&self) -> usize {
        self.stats.memory_usage()
            + self.command_log.memory_usage()
            + self.latency.memory_usage()
            + self.monitors.memory_usage()
    }

    /// Every row but the entries, at this instant. Helper threads have to hold still. `in_flight` is what the running
    /// command holds of a reply that its client's record does not show.
    #[must_use]
    pub fn weigh(&self, keyspace: &Keyspace, in_flight: usize) -> Figures {
        let used = allocated_bytes();
        let mut clients = self.clients.registry_usage()
            + self.connection_lists_bytes
            + self.migrations.bytes
            + self.file_saves.load(Ordering::Relaxed)
            + in_flight;
        let mut replicas = 0;
        for client in self.clients.iter() {
            match client.class() {
                ClientClass::Replica => replicas += client.memory_usage(),
                _ => clients += client.memory_usage(),
            }
        }
        let (key_expiry, hash_expiry) = keyspace.expiry_index_usage();
        let bytes = |bytes: usize| bytes as u64;
        Figures {
            used: bytes(used),
            key_expiry: bytes(key_expiry + self.own_expiries.memory_usage()),
            hash_expiry_index: bytes(hash_expiry),
            tables: bytes(keyspace.table_usage() - key_expiry - hash_expiry),
            clients: bytes(clients),
            aof_buffer: bytes(self.propagation.memory_usage() + self.aof.memory_usage()),
            replication_buffer: bytes(
                replicas + self.replication.usage_beyond_backlog() + self.primary_link.memory_usage(),
            ),
            backlog: bytes(self.replication.backlog_usage()),
            startup: bytes(self.identity.startup_bytes.saturating_sub(self.identity.startup_rows)),
            scripts: bytes(self.scripting.scripts_usage()),
            functions: bytes(
                self.scripting.functions.vm_usage() + self.scripting.functions.libraries_usage(),
            ),
            pubsub: bytes(self.pubsub_usage()),
            watch_block: bytes(self.waiting_usage()),
            logs: bytes(self.observation_usage()),
            tracking: bytes(self.tracking.memory_usage()),
            acl_config: bytes(self.acl.memory_usage()),
            cluster: bytes(
                self.cluster.as_ref().map_or(0, |c| c.memory_usage())
                    + keyspace.slots_usage()
                    + keyspace.hidden_slots_usage(),
            ),
            profiler: bytes(self.persistence.memory_usage()),
        }
    }

    /// Notes what is allocated by a server that is ready and holds nothing yet. What the other rows hold of it is theirs.
    pub fn note_startup(&mut self, keyspace: &Keyspace) {
        (self.identity.startup_bytes, self.identity.startup_rows) = (0, 0);
        // The helper may still be starting.
        let quiet = self.background.threads.quiesce();
        let figures = self.weigh(keyspace, 0);
        drop(quiet);
        self.identity.startup_bytes = figures.used as usize;
        self.identity.startup_rows = figures.attributed() as usize;
    }
}
