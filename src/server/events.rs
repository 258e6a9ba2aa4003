//! Keyspace events: what happens to keys, for those who asked to be told (`notify-keyspace-events`).

use crate::config::EventClasses;

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

    /// The events noted so far, in order.
    pub fn take(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.pending)
    }
}
