//! The limit of what all clients hold together (Valkey: `maxmemory-clients`): over it, the largest are disconnected.
//!
//! While there is a limit, each client is weighed when what it holds may have changed: after each of its requests, when
//! it has sent or received something, and at intervals. The sum is kept up to date, so that a look at it costs nothing.

use super::client::{Client, ClientClass, ClientKey};
use super::{Engine, Server};
use crate::memory::MemoryUsage;
use crate::resp::Reply;

/// No limit is lower, so that a wrong one can still be corrected by a client.
const LIMIT_MIN: usize = 128 * 1024;

/// What a client weighed when it was weighed last.
#[derive(Debug, Default, Clone, Copy)]
pub struct Weighed {
    /// Bytes that count towards the limit.
    bytes: usize,
    /// It may be disconnected for them.
    evictable: bool,
}

/// The clients' weights together.
#[derive(Debug, Default)]
pub struct ClientMemory {
    /// There is a limit, and every client is weighed.
    limited: bool,
    /// Bytes of all clients that count.
    bytes: usize,
    /// How many clients may be disconnected.
    evictable: usize,
}

impl ClientMemory {
    fn exchange(&mut self, old: Weighed, new: Weighed) {
        self.bytes = self.bytes - old.bytes + new.bytes;
        self.evictable = self.evictable - usize::from(old.evictable) + usize::from(new.evictable);
    }
}

/// Replicas and the primary do not count, nor does a client that is about to go.
fn weigh(client: &Client, in_flight: usize) -> Weighed {
    let counts = matches!(client.class(), ClientClass::Normal | ClientClass::Pubsub) && !client.close_now;
    if !counts {
        return Weighed::default();
    }
    Weighed { bytes: client.memory_usage() + in_flight, evictable: !client.no_evict }
}

impl Server {
    /// Weighs a client, if there is a limit. `in_flight` is what its running request holds of a reply.
    #[inline]
    pub fn weigh_client(&mut self, key: ClientKey, in_flight: usize) {
        if !self.client_memory.limited {
            return;
        }
        if let Some(client) = self.clients.get_mut(key) {
            let new = weigh(client, in_flight);
            let old = std::mem::replace(&mut client.weighed, new);
            self.client_memory.exchange(old, new);
        }
    }

    /// A client is gone or going: what it weighed no longer counts.
    pub(super) fn forget_weight(&mut self, weighed: Weighed) {
        self.client_memory.exchange(weighed, Weighed::default());
    }

    /// Whether what clients take is limited, so that each request of theirs may change who has to go.
    pub(super) fn weighs_clients(&self) -> bool {
        self.client_memory.limited
    }

    /// What a change of `maxmemory-clients` brings about: clients are weighed from now on, or no longer.
    pub(super) fn apply_maxmemory_clients(&mut self) {
        let limited = self.config.maxmemory_clients != 0;
        if limited == self.client_memory.limited {
            return;
        }
        self.client_memory = ClientMemory { limited, ..ClientMemory::default() };
        for client in self.clients.iter_mut() {
            client.weighed = if limited { weigh(client, 0) } else { Weighed::default() };
            self.client_memory.exchange(Weighed::default(), client.weighed);
        }
    }

    /// The limit in bytes, if there is one.
    fn client_memory_limit(&self) -> Option<usize> {
        let limit = match self.config.maxmemory_clients {
            0 => return None,
            bytes if bytes > 0 => usize::try_from(bytes).unwrap_or(usize::MAX),
            _ if self.config.maxmemory == 0 => return None,
            percent => (self.config.maxmemory as f64 * percent.unsigned_abs() as f64 / 100.0) as usize,
        };
        Some(limit.max(LIMIT_MIN))
    }

    /// Disconnects the largest clients until the others keep the limit.
    #[inline]
    pub fn evict_clients(&mut self) {
        if self.client_memory.evictable > 0
            && self.client_memory_limit().is_some_and(|limit| self.client_memory.bytes > limit)
        {
            self.evict_largest_clients();
        }
    }

    #[cold]
    fn evict_largest_clients(&mut self) {
        let Some(limit) = self.client_memory_limit() else { return };
        let mut clients: Vec<(usize, ClientKey)> = self
            .clients
            .iter()
            .filter(|client| client.weighed.evictable)
            .map(|client| (client.weighed.bytes, client.key))
            .collect();
        clients.sort_unstable();
        while self.client_memory.bytes > limit {
            let Some((_, key)) = clients.pop() else {
                tracing::warn!("Over client maxmemory after evicting all evictable clients");
                return;
            };
            self.evict_client(key);
        }
    }

    fn evict_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else { return };
        let description = client.describe(self.now_ms, self.config.hide_user_data_from_log);
        tracing::info!("Evicting client: {}", String::from_utf8_lossy(&description));
        self.kick(key, None);
        self.discard_transaction(key);
        // Its connection ends in its own time; what it holds goes now.
        if let Some(client) = self.clients.get_mut(key) {
            client.output = Reply::new(client.output.protocol());
        }
        self.weigh_client(key, 0);
        self.stats.evicted_clients += 1;
    }
}

impl Engine {
    /// Has the clients keep their limit before a request of one of them runs; `false` if that one is gone by it.
    #[inline]
    pub(super) fn outlives_client_eviction(&mut self, client: ClientKey) -> bool {
        if !self.server.weighs_clients() {
            return true;
        }
        self.server.evict_clients();
        self.server.clients.get(client).is_some_and(|record| !record.close_now)
    }
}
