//! Keys with an expiry that clients of a writable replica made. What a primary made is the primary's to expire; of these
//! keys it knows nothing, so the replica remembers them and expires them itself.
//!
//! The map knows the instant of each key. In the heap of instants a key may stand with older ones too, which are skipped
//! when they come up; it is made anew before these are many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::RandomState;

use hashbrown::HashMap;

use super::command::{Args, flag, keys_of};
use super::{Context, Engine, events};
use crate::memory::{MemoryUsage, usable_size, vec_usage};

/// Keys that are looked at in one turn.
const KEYS_PER_TURN: usize = 1000;
/// How many instants there may be that are no longer true, besides one for each key.
const STALE_MAX: usize = 64;

/// A database and a key of it.
type Name = (usize, Vec<u8>);

/// The keys, by name and by instant (Unix ms).
#[derive(Debug, Default)]
pub struct OwnExpiries {
    known: HashMap<Name, i64, RandomState>,
    by_instant: BinaryHeap<Reverse<(i64, Name)>>,
}

impl OwnExpiries {
    /// Remembers a key with this instant and no other.
    fn remember(&mut self, name: Name, expiry_ms: i64) {
        self.known.insert(name.clone(), expiry_ms);
        self.by_instant.push(Reverse((expiry_ms, name)));
        if self.by_instant.len() > 2 * self.known.len() + STALE_MAX {
            let instants = self.known.iter().map(|(name, expiry_ms)| Reverse((*expiry_ms, name.clone())));
            self.by_instant = instants.collect();
        }
    }

    /// Takes out a key whose instant is over.
    fn take_due(&mut self, now_ms: i64) -> Option<Name> {
        while self.by_instant.peek().is_some_and(|Reverse((expiry_ms, _))| *expiry_ms < now_ms) {
            let Reverse((expiry_ms, name)) = self.by_instant.pop()?;
            if self.known.get(&name) == Some(&expiry_ms) {
                self.known.remove(&name);
                return Some(name);
            }
        }
        None
    }

    /// Forgets every key: the data is gone, or is this server's own from now on.
    pub fn forget_all(&mut self) {
        *self = Self::default();
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl MemoryUsage for OwnExpiries {
    fn memory_usage(&self) -> usize {
        let heap = usable_size(self.by_instant.capacity() * size_of::<Reverse<(i64, Name)>>());
        let of_heap: usize = self.by_instant.iter().map(|Reverse((_, (_, key)))| vec_usage(key)).sum();
        let of_map: usize = self.known.keys().map(|(_, key)| vec_usage(key)).sum();
        self.known.allocation_size() + heap + of_heap + of_map
    }
}

impl Context<'_> {
    /// On a replica, remembers the keys of a client's write that have an expiry now.
    #[cold]
    pub(super) fn remember_own_expiries(&mut self, args: Args<'_>) {
        if !self.command.command.has(flag::WRITE) || self.is_obeyed() {
            return;
        }
        let database = self.keys.database;
        for position in keys_of(self.command, args).unwrap_or_default() {
            let key = args.at(position.index);
            if let Some(expiry_ms) = self.keys.keyspace.expiry_of(database, key) {
                self.server.own_expiries.remember((database, key.to_vec()), expiry_ms);
            }
        }
    }
}

impl Engine {
    /// Expires a replica's own keys, as many as a turn may take.
    pub(super) fn expire_own_keys(&mut self) {
        let now_ms = self.server.now_ms;
        for _ in 0..KEYS_PER_TURN {
            let Some((database, key)) = self.server.own_expiries.take_due(now_ms) else { break };
            match self.keyspace.expiry_of(database, &key) {
                Some(expiry_ms) if expiry_ms >= now_ms => {
                    self.server.own_expiries.remember((database, key), expiry_ms);
                }
                Some(_) => {
                    let lazily = self.server.config.lazyfree_lazy_expire;
                    if let Some(entry) = self.keyspace.expire_one(database, &key) {
                        self.server.background.free_entry(entry, lazily);
                    }
                }
                None => {}
            }
        }
        if self.keyspace.has_happened() {
            events::settle_apart(&mut self.keyspace, &mut self.server);
            self.serve_blocked();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_once_and_due_at_the_instant_known_last() {
        let mut own = OwnExpiries::default();
        let name = |key: &[u8]| (0, key.to_vec());
        own.remember(name(b"a"), 100);
        own.remember(name(b"b"), 50);
        own.remember(name(b"a"), 20);
        assert_eq!(own.len(), 2);
        assert_eq!(own.take_due(20), None);
        assert_eq!(own.take_due(60), Some(name(b"a")));
        assert_eq!(own.take_due(60), Some(name(b"b")));
        assert_eq!(own.take_due(1000), None);
        assert!(own.is_empty());
    }

    #[test]
    fn instants_that_are_no_longer_true_do_not_pile_up() {
        let mut own = OwnExpiries::default();
        for expiry_ms in 0..10_000 {
            own.remember((0, b"key".to_vec()), expiry_ms);
        }
        assert_eq!(own.len(), 1);
        assert!(own.by_instant.len() <= 2 + STALE_MAX);
        assert!(own.take_due(10_000).is_some() && own.by_instant.is_empty());
    }
}
