//! Replies that wait for a sync (`appendfsync always`): what a client may be sent already, and who is to be looked at
//! when a sync has ended.
//!
//! A reply waits for everything that was fed before it, by whomever: what it shows must not be lost. Positions count the
//! bytes of a client's output since it connected, so that output which comes meanwhile waits for its own turn.

use super::Aof;
use crate::server::Server;
use crate::server::client::{ClientKey, Clients};

/// What of a client's output waits.
#[derive(Debug, Default, Clone, Copy)]
pub struct Gate {
    /// Output up to this position may be sent.
    open_to: u64,
    /// Output up to the second position may be sent when the first offset is synced.
    waiting: Option<(u64, u64)>,
    /// In the list of those to be looked at.
    listed: bool,
}

impl Aof {
    fn sendable(&mut self, clients: &mut Clients, key: ClientKey, unsynced: u64) -> usize {
        let Some(client) = clients.get_mut(key) else { return 0 };
        let end = client.bytes_out + client.output.len() as u64;
        let gate = &mut client.gate;
        if let Some((offset, position)) = gate.waiting
            && offset <= self.synced
        {
            gate.open_to = position;
            gate.waiting = None;
        }
        if gate.waiting.is_none() && gate.open_to < end {
            gate.waiting = Some((unsynced, end));
        }
        if gate.waiting.is_some() && !std::mem::replace(&mut gate.listed, true) {
            self.held.push(key);
        }
        usize::try_from(gate.open_to.min(end).saturating_sub(client.bytes_out)).unwrap_or(usize::MAX)
    }
}

impl Server {
    /// Bytes of a client's output that may be sent now. What waits is noted: see [`Server::take_held`].
    #[inline]
    pub fn sendable(&mut self, key: ClientKey) -> usize {
        match self.aof.unsynced(&self.config) {
            None => self.clients.get(key).map_or(0, |client| client.output.len()),
            Some(unsynced) => self.aof.sendable(&mut self.clients, key, unsynced),
        }
    }

    /// Whether output waits for a sync.
    #[must_use]
    pub fn holds_replies(&self) -> bool {
        !self.aof.held.is_empty()
    }

    /// Clients whose output may have become free since this was asked last.
    pub fn take_held(&mut self) -> Vec<ClientKey> {
        let waits = self.aof.unsynced(&self.config).is_some();
        if self.aof.held.is_empty() || waits && self.aof.held_seen == self.aof.synced {
            return Vec::new();
        }
        self.aof.held_seen = self.aof.synced;
        let held = std::mem::take(&mut self.aof.held);
        for key in &held {
            if let Some(client) = self.clients.get_mut(*key) {
                client.gate.listed = false;
            }
        }
        held
    }
}
