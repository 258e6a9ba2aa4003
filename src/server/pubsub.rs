//! Publish/subscribe: who subscribes to which channel or pattern, and how messages reach them.
//!
//! A name is kept once and shared by the table and by the sets of its subscribers, whose lists in the table are
//! sorted. What a client is sent by its own request waits until that request has replied.

use std::hash::RandomState;
use std::rc::Rc;

use hashbrown::HashSet;
use hashbrown::hash_map::{Entry, HashMap};

use super::Server;
use super::client::{ClientKey, Clients};
use super::events::KeyEvent;
use crate::algorithms::glob;
use crate::config::EventClasses;
use crate::memory::{MemoryUsage, Mover, flush_thread_cache, usable_size, vec_usage};
use crate::resp::{Protocol, Reply};

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Channels, by name.
    Channel,
    /// All channels that a pattern matches.
    Pattern,
    /// Channels of a shard: a space of names of its own.
    Shard,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

type Names = HashSet<Rc<[u8]>, RandomState>;
type Table = HashMap<Rc<[u8]>, Vec<ClientKey>, RandomState>;

/// Tables that grew are given back once they are used to less than this part.
const SPARSE: usize = 8;

/// Names that one step of defragmentation looks at.
const NAMES_PER_STEP: usize = 128;
/// A name with more subscribers than this is not moved: each of them has to be told.
const SUBSCRIBERS_MOVED_MAX: usize = 64;

/// What the allocator gives a hash table that asks for this much, in blocks aligned to 16 bytes.
fn table_usage(bytes: usize) -> usize {
    usable_size(bytes.next_multiple_of(16))
}

/// What one client subscribes to; a client has it as long as there is anything.
#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [Names; 3],
}

impl Subscriptions {
    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.names[kind as usize].len()
    }

    /// Those of a kind, in no order.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Vec<Rc<[u8]>> {
        self.names[kind as usize].iter().cloned().collect()
    }

    fn is_empty(&self) -> bool {
        self.names.iter().all(HashSet::is_empty)
    }
}

impl MemoryUsage for Subscriptions {
    /// Without the names, which the tables of the server own.
    fn memory_usage(&self) -> usize {
        self.names.iter().map(|names| table_usage(names.allocation_size())).sum()
    }
}

/// The client whose request is running, and the protocol it speaks; its record does not hold its output meanwhile.
pub type Running = Option<(ClientKey, Protocol)>;

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Pubsub {
    tables: [Table; 3],
    /// Messages to the client whose request is running.
    own: Vec<u8>,
}

impl Pubsub {
    /// A client subscribes; nothing happens if it did already.
    pub fn subscribe(&mut self, clients: &mut Clients, client: ClientKey, kind: Kind, name: &[u8]) {
        let Some(record) = clients.get_mut(client) else { return };
        let names = &mut record.subscriptions.get_or_insert_default().names[kind as usize];
        if names.contains(name) {
            return;
        }
        let table = &mut self.tables[kind as usize];
        let shared = table.get_key_value(name).map_or_else(|| Rc::from(name), |(name, _)| Rc::clone(name));
        names.insert(Rc::clone(&shared));
        let subscribers = table.entry(shared).or_default();
        if let Err(place) = subscribers.binary_search(&client) {
            subscribers.insert(place, client);
        }
    }

    /// A client no longer subscribes; nothing happens if it did not.
    pub fn unsubscribe(&mut self, clients: &mut Clients, client: ClientKey, kind: Kind, name: &[u8]) {
        let Some(record) = clients.get_mut(client) else { return };
        let Some(subscriptions) = &mut record.subscriptions else { return };
        let names = &mut subscriptions.names[kind as usize];
        if !names.remove(name) {
            return;
        }
        if names.capacity() / SPARSE >= names.len() {
            names.shrink_to_fit();
        }
        if subscriptions.is_empty() {
            record.subscriptions = None;
        }
        self.remove(client, kind, name);
    }

    /// A client is gone or starts anew: `subscriptions` is what it had.
    pub fn forget(&mut self, client: ClientKey, subscriptions: &Subscriptions) {
        for kind in Kind::ALL {
            for name in &subscriptions.names[kind as usize] {
                self.remove(client, kind, name);
            }
        }
    }

    fn remove(&mut self, client: ClientKey, kind: Kind, name: &[u8]) {
        let table = &mut self.tables[kind as usize];
        let Some(subscribers) = table.get_mut(name) else { return };
        if let Ok(place) = subscribers.binary_search(&client) {
            subscribers.remove(place);
        }
        if subscribers.is_empty() {
            table.remove(name);
            if table.capacity() / SPARSE >= table.len() {
                table.shrink_to_fit();
            }
        } else if subscribers.capacity() / SPARSE >= subscribers.len() {
            subscribers.shrink_to_fit();
        }
    }

    /// Moves some names and lists of subscribers, as [`crate::memory::Relocate`] has it; the cursor counts names.
    pub(super) fn relocate(&mut self, clients: &mut Clients, cursor: usize, mover: &mut Mover) -> usize {
        let mut start = 0;
        for kind in Kind::ALL {
            let names = self.tables[kind as usize].len();
            if cursor < start + names {
                self.relocate_names(clients, kind, cursor - start, mover);
                return cursor + NAMES_PER_STEP.min(start + names - cursor);
            }
            start += names;
        }
        0
    }

    fn relocate_names(&mut self, clients: &mut Clients, kind: Kind, from: usize, mover: &mut Mover) {
        let table = &mut self.tables[kind as usize];
        let mut renewed = Vec::new();
        for (name, subscribers) in table.iter_mut().skip(from).take(NAMES_PER_STEP) {
            mover.relocate_vec(subscribers);
            if subscribers.len() <= SUBSCRIBERS_MOVED_MAX {
                renewed.extend(mover.renew(name));
            }
        }
        if renewed.is_empty() {
            return;
        }
        // None of the old ones is freed before all are made anew: otherwise these would only change places.
        let mut old = Vec::with_capacity(renewed.len());
        for name in renewed {
            let Entry::Occupied(mut entry) = table.entry(Rc::clone(&name)) else { continue };
            for subscriber in entry.get() {
                let subscriptions =
                    clients.get_mut(*subscriber).and_then(|record| record.subscriptions.as_mut());
                if let Some(subscriptions) = subscriptions {
                    old.extend(subscriptions.names[kind as usize].replace(Rc::clone(&name)));
                }
            }
            old.push(entry.replace_key(name));
        }
        drop(old);
        flush_thread_cache();
    }

    /// How many names of a kind have subscribers.
    #[must_use]
    pub fn len(&self, kind: Kind) -> usize {
        self.tables[kind as usize].len()
    }

    /// Whether nobody subscribes to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(HashMap::is_empty)
    }

    /// The names of a kind that have subscribers, in no order.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.tables[kind as usize].keys().map(Rc::as_ref)
    }

    /// How many clients subscribe to this very name.
    #[must_use]
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.tables[kind as usize].get(name).map_or(0, Vec::len)
    }

    /// Who subscribes to this very name.
    #[must_use]
    pub fn subscribers_of(&self, kind: Kind, name: &[u8]) -> Vec<ClientKey> {
        self.tables[kind as usize].get(name).cloned().unwrap_or_default()
    }

    /// Sends a message to all subscribers of a channel, of a shard if `kind` says so; says how many messages that made.
    fn publish(
        &mut self,
        clients: &mut Clients,
        running: Running,
        kind: Kind,
        channel: &[u8],
        message: &[u8],
    ) -> usize {
        let Self { tables: [channels, patterns, shards], own } = self;
        let mut outlet = Outlet { clients, running, own };
        if kind == Kind::Shard {
            let subscribers = shards.get(channel);
            return subscribers.map_or(0, |all| outlet.send(all, &[b"smessage", channel, message]));
        }
        let mut sent =
            channels.get(channel).map_or(0, |all| outlet.send(all, &[b"message", channel, message]));
        for (pattern, subscribers) in patterns {
            if glob::matches(pattern, channel, false) {
                sent += outlet.send(subscribers, &[b"pmessage", pattern, channel, message]);
            }
        }
        sent
    }

    /// Whether there are messages to the client whose request is running.
    #[inline]
    #[must_use]
    pub fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Takes the messages to the client whose request is running: protocol that follows its reply.
    #[must_use]
    pub fn take_own(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.own)
    }
}

impl MemoryUsage for Pubsub {
    fn memory_usage(&self) -> usize {
        /// What stands before the bytes of a shared name: two counts.
        const COUNTS: usize = 2 * size_of::<usize>();
        let table = |table: &Table| {
            let entries = table.iter().map(|(name, all)| usable_size(COUNTS + name.len()) + vec_usage(all));
            table_usage(table.allocation_size()) + entries.sum::<usize>()
        };
        self.tables.iter().map(table).sum::<usize>() + vec_usage(&self.own)
    }
}

/// Where messages go.
struct Outlet<'a> {
    clients: &'a mut Clients,
    running: Running,
    own: &'a mut Vec<u8>,
}

impl Outlet<'_> {
    /// Sends a message of these parts to each of the subscribers; says how many they are.
    fn send(&mut self, subscribers: &[ClientKey], parts: &[&[u8]]) -> usize {
        let mut text = Reply::new(Protocol::Resp2);
        text.push(parts.len());
        parts.iter().for_each(|part| text.bulk(part));
        let text = text.as_slice();
        for subscriber in subscribers {
            match self.running {
                Some((running, protocol)) if running == *subscriber => {
                    let (mark, rest) = in_protocol(text, protocol);
                    self.own.extend_from_slice(mark);
                    self.own.extend_from_slice(rest);
                }
                _ => self.append(*subscriber, text),
            }
        }
        subscribers.len()
    }

    fn append(&mut self, subscriber: ClientKey, text: &[u8]) {
        let Some(record) = self.clients.get_mut(subscriber).filter(|record| !record.close_now) else {
            return;
        };
        let (mark, rest) = in_protocol(text, record.output.protocol());
        record.output.raw(mark);
        record.output.raw(rest);
        self.clients.needs_attention(subscriber);
    }
}

/// A message as a protocol writes it, in two parts: the protocols differ in its first byte only.
fn in_protocol(text: &[u8], protocol: Protocol) -> (&[u8], &[u8]) {
    let (mark, rest) = text.split_at(text.len().min(1));
    match protocol {
        Protocol::Resp2 => (mark, rest),
        Protocol::Resp3 => (b">", rest),
    }
}

impl Server {
    /// Publishes a message, after the keyspace events that came before it; says how many clients it goes to, one that
    /// is reached in several ways counted as often.
    pub fn publish(&mut self, running: Running, kind: Kind, channel: &[u8], message: &[u8]) -> usize {
        self.publish_events(running);
        let sent = self.pubsub.publish(&mut self.clients, running, kind, channel, message);
        if kind == Kind::Shard && sent > 0 {
            self.count_slot_messages(channel, message, sent);
        }
        sent
    }

    /// Publishes the keyspace events that wait, as `notify-keyspace-events` says.
    #[inline]
    pub fn publish_events(&mut self, running: Running) {
        if !self.events.is_empty() {
            self.publish_pending(running);
        }
    }

    #[cold]
    fn publish_pending(&mut self, running: Running) {
        let wanted = self.events.wanted;
        let events = self.events.take();
        if self.pubsub.is_empty() {
            return;
        }
        let mut channel = Vec::new();
        let mut publish = |space: &str, database: usize, name: &[u8], message: &[u8]| {
            channel.clear();
            channel.extend_from_slice(format!("__{space}@{database}__:").as_bytes());
            channel.extend_from_slice(name);
            self.pubsub.publish(&mut self.clients, running, Kind::Channel, &channel, message);
        };
        for KeyEvent { database, event, key } in events {
            if wanted.has(EventClasses::KEYSPACE) {
                publish("keyspace", database, &key, event.as_bytes());
            }
            if wanted.has(EventClasses::KEYEVENT) {
                publish("keyevent", database, event.as_bytes(), &key);
            }
        }
    }

    /// A client subscribes to nothing any more, and is not told.
    pub fn end_subscriptions(&mut self, client: ClientKey) {
        let record = self.clients.get_mut(client);
        if let Some(subscriptions) = record.and_then(|record| record.subscriptions.take()) {
            self.pubsub.forget(client, &subscriptions);
        }
    }

    /// Heap bytes of all tables of subscriptions, and of messages and events that wait to be sent.
    #[must_use]
    pub fn pubsub_usage(&self) -> usize {
        self.pubsub.memory_usage() + self.events.memory_usage()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::memory::{allocated_bytes, box_usage};
    use crate::server::Client;

    fn connect(clients: &mut Clients, protocol: Protocol) -> ClientKey {
        let key = clients.add(|key, id| Client::new(key, id, 0));
        clients.get_mut(key).unwrap().output.set_protocol(protocol);
        key
    }

    fn output(clients: &mut Clients, key: ClientKey) -> String {
        String::from_utf8(clients.get_mut(key).unwrap().output.take()).unwrap()
    }

    #[test]
    fn messages_reach_subscribers_in_their_protocol() {
        let (mut pubsub, mut clients) = (Pubsub::default(), Clients::default());
        let old = connect(&mut clients, Protocol::Resp2);
        let new = connect(&mut clients, Protocol::Resp3);
        pubsub.subscribe(&mut clients, old, Kind::Channel, b"news");
        pubsub.subscribe(&mut clients, old, Kind::Channel, b"news");
        pubsub.subscribe(&mut clients, new, Kind::Pattern, b"n*");
        pubsub.subscribe(&mut clients, new, Kind::Shard, b"news");
        assert_eq!(pubsub.publish(&mut clients, None, Kind::Channel, b"news", b"m"), 2);
        assert_eq!(output(&mut clients, old), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nm\r\n");
        let text = ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\nm\r\n";
        assert_eq!(output(&mut clients, new), text);
        assert_eq!(clients.take_attention(), [old, new]);
        assert_eq!(pubsub.publish(&mut clients, None, Kind::Shard, b"news", b"m"), 1);
        assert!(output(&mut clients, new).starts_with(">3\r\n$8\r\nsmessage"));
        assert_eq!(pubsub.publish(&mut clients, None, Kind::Channel, b"other", b"m"), 0);
    }

    #[test]
    fn a_message_to_the_running_client_waits_for_its_reply() {
        let (mut pubsub, mut clients) = (Pubsub::default(), Clients::default());
        let client = connect(&mut clients, Protocol::Resp2);
        pubsub.subscribe(&mut clients, client, Kind::Channel, b"c");
        let running = Some((client, Protocol::Resp3));
        assert_eq!(pubsub.publish(&mut clients, running, Kind::Channel, b"c", b"m"), 1);
        assert_eq!(output(&mut clients, client), "");
        assert!(pubsub.has_own());
        assert_eq!(pubsub.take_own(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        assert!(!pubsub.has_own());
    }

    fn relocate_all(pubsub: &mut Pubsub, clients: &mut Clients, mover: &mut Mover) {
        let mut cursor = pubsub.relocate(clients, 0, mover);
        while cursor != 0 {
            cursor = pubsub.relocate(clients, cursor, mover);
        }
    }

    #[test]
    fn subscriptions_are_weighed_to_the_byte_and_leave_nothing() {
        let mut clients = Clients::default();
        let keys: Vec<ClientKey> = (0..40).map(|_| connect(&mut clients, Protocol::Resp2)).collect();
        let mut mover = Mover::of_everything();
        let before = allocated_bytes();
        let mut pubsub = Pubsub::default();
        let weight = |pubsub: &Pubsub, clients: &Clients| {
            let sets = clients.iter().filter_map(|client| client.subscriptions.as_deref());
            let sets = sets.map(|sets| box_usage::<Subscriptions>() + sets.memory_usage()).sum::<usize>();
            pubsub.memory_usage() + sets
        };
        for round in 0..2000_usize {
            let (client, kind) = (keys[round * 7 % keys.len()], Kind::ALL[round % 3]);
            let name = "n".repeat(round % 90) + &(round % 300).to_string();
            pubsub.subscribe(&mut clients, client, kind, name.as_bytes());
            drop(name);
            if round % 500 == 499 {
                relocate_all(&mut pubsub, &mut clients, &mut mover);
            }
            if round % 50 == 0 {
                assert_eq!(allocated_bytes() - before, weight(&pubsub, &clients), "after {round}");
            }
        }
        assert!(mover.hits > 2000, "{}", mover.hits);
        for (at, client) in keys.iter().enumerate() {
            let subscriptions = clients.get_mut(*client).unwrap().subscriptions.take().unwrap();
            if at % 2 == 0 {
                pubsub.forget(*client, &subscriptions);
                continue;
            }
            let all: Vec<(Kind, Rc<[u8]>)> = Kind::ALL
                .into_iter()
                .flat_map(|kind| {
                    subscriptions.names[kind as usize].iter().map(move |name| (kind, name.clone()))
                })
                .collect();
            clients.get_mut(*client).unwrap().subscriptions = Some(subscriptions);
            for (kind, name) in all {
                pubsub.unsubscribe(&mut clients, *client, kind, &name);
            }
            assert!(clients.get(*client).unwrap().subscriptions.is_none());
            assert_eq!(allocated_bytes() - before, weight(&pubsub, &clients));
        }
        assert!(pubsub.is_empty());
        assert_eq!((allocated_bytes() - before, pubsub.memory_usage()), (0, 0));
    }
}
