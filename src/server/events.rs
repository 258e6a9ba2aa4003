//! Keyspace events: what happens to keys, for those who asked to be told (`notify-keyspace-events`).

use super::Server;
use crate::algorithms::hash::hash;
use crate::config::EventClasses;
use crate::keyspace::{Database, Happened, Happening, Keyspace};
use crate::memory::{MemoryUsage, vec_usage};
use crate::sys::clock;

/// An event as it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// The database of the key.
    pub database: usize,
    /// The event's name.
    pub event: &'static str,
    /// The key.
    pub key: Vec<u8>,
}

/// Events that happened during the running command and wait to be published.
#[derive(Debug, Default)]
pub struct KeyEvents {
    /// The classes that are wanted (`notify-keyspace-events`).
    pub wanted: EventClasses,
    pending: Vec<KeyEvent>,
}

impl KeyEvents {
    /// Notes an event if its class is wanted.
    #[inline]
    pub fn notify(&mut self, database: usize, class: EventClasses, event: &'static str, key: &[u8]) {
        if self.wanted.has(class) {
            self.pending.push(KeyEvent { database, event, key: key.to_vec() });
        }
    }

    /// Whether no event waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The events noted so far, in order.
    pub fn take(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.pending)
    }
}

impl MemoryUsage for KeyEvents {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.pending) + self.pending.iter().map(|event| vec_usage(&event.key)).sum::<usize>()
    }
}

/// Tells what went without a command.
fn propagate(server: &mut Server, happened: &Happened) {
    if server.propagation.listens() {
        if happened.what == Happening::FieldsExpired {
            server.propagate_field_deletion(happened.database, &happened.key, &happened.fields);
        } else {
            let lazily = match happened.what {
                Happening::Evicted => server.config.lazyfree_lazy_eviction,
                _ => server.config.lazyfree_lazy_expire,
            };
            server.propagate_deletion(happened.database, &happened.key, lazily);
        }
    }
}

/// Brings about what the keyspace noted in passing: watchers learn of keys that went, listeners of all that happened.
#[cold]
pub fn settle(keyspace: &mut Keyspace, server: &mut Server) {
    let lazily = server.config.lazyfree_lazy_expire;
    for entry in keyspace.take_discarded() {
        let started = clock::ticks();
        server.background.free_entry(entry, lazily);
        server.note_latency("expire-del", started);
    }
    for happened in keyspace.take_happened() {
        settle_one(keyspace, server, &happened);
    }
}

/// The same for what happened outside of any command: each key's end is a unit of its own.
pub fn settle_apart(keyspace: &mut Keyspace, server: &mut Server) {
    let mut notes = keyspace.take_happened().into_iter().peekable();
    while let Some(happened) = notes.next() {
        settle_one(keyspace, server, &happened);
        // A hash goes with its last fields.
        let goes_on = notes.peek().is_some_and(|next| next.what == Happening::Emptied);
        if !goes_on {
            server.end_unit();
        }
    }
}

fn settle_one(keyspace: &Keyspace, server: &mut Server, happened: &Happened) {
    let (database, key) = (happened.database, happened.key.as_slice());
    let (class, event) = match happened.what {
        Happening::Expired => (EventClasses::EXPIRED, "expired"),
        Happening::FieldsExpired => (EventClasses::HASH, "hexpired"),
        Happening::Emptied => (EventClasses::GENERIC, "del"),
        Happening::Evicted => (EventClasses::EVICTED, "evicted"),
        Happening::New => (EventClasses::NEW, "new"),
        Happening::Missed => (EventClasses::KEY_MISS, "keymiss"),
    };
    if !matches!(happened.what, Happening::New | Happening::Missed) {
        propagate(server, happened);
        if happened.what == Happening::Expired {
            server.watched.expired_deleted(&mut server.clients, database, key);
        } else {
            server.watched.touch(&mut server.clients, database, key);
        }
        server.invalidate(key, None);
        server.blocked.key_gone(&server.clients, database, key);
    }
    if happened.what == Happening::New {
        tell_who_waits(keyspace, server, database, key);
    }
    server.events.notify(database, class, event, key);
}

/// A key has come into being: clients may wait for what it holds.
fn tell_who_waits(keyspace: &Keyspace, server: &mut Server, database: usize, key: &[u8]) {
    let Some(table) = keyspace.databases().get(database).map(Database::table) else { return };
    if let Some(position) = table.find(hash(key), key) {
        server.blocked.key_added(database, key, table.get(position).value_type());
    }
}
