//! Client-side caching: which client may have which key in its cache, and telling it when the key changes (CLIENT
//! TRACKING).
//!
//! By default the server remembers the keys that a client reads, up to `tracking-table-max-keys` of them, and forgets a
//! key once it has told everyone of its change. A client that broadcasts is told of every change below its prefixes,
//! once a turn of the event loop. What the client whose request is running is to be told follows its reply.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use hashbrown::HashTable;

use super::client::{Client, ClientKey, Clients};
use super::command::{Args, TableEntry, flag, keys_of};
use super::{Engine, Server};
use crate::memory::{MemoryUsage, usable_size, vec_usage};
use crate::resp::{Protocol, Reply};

/// The channel by which clients of RESP2 are told, through another connection.
const CHANNEL: &[u8] = b"__redis__:invalidate";
/// Keys that are forgotten before a command, when there are too many; as many more each time that was not enough.
const EFFORT: usize = 100;
/// Fewer new prefixes are put among the old ones one by one.
const FEW_PREFIXES: usize = 16;
/// The counts of a shared name.
const COUNTS: usize = 16;
/// What a node of a map takes for each key, about.
const ENTRY_BYTES: usize = 48;

/// Which changes a client wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackingMode {
    /// Of every key it reads.
    Reads,
    /// Of keys it reads right after CLIENT CACHING YES.
    OptIn,
    /// Of every key it reads but for those right after CLIENT CACHING NO.
    OptOut,
    /// Of every key below its prefixes.
    Broadcast,
}

/// How a client tracks keys.
#[derive(Debug)]
pub struct ClientTracking {
    /// Which changes it wants to be told of.
    pub mode: TrackingMode,
    /// Not of changes of its own.
    pub no_loop: bool,
    /// Another client that is told in its place.
    pub redirect: Option<ClientId>,
    /// That client is gone.
    pub redirect_is_broken: bool,
    /// CLIENT CACHING was said for the next command.
    pub caching: bool,
    /// What it broadcasts, in order; the names are the table's.
    pub prefixes: Vec<Rc<[u8]>>,
}

impl ClientTracking {
    fn remembers_reads(&self) -> bool {
        match self.mode {
            TrackingMode::Reads => true,
            TrackingMode::OptIn => self.caching,
            TrackingMode::OptOut => !self.caching,
            TrackingMode::Broadcast => false,
        }
    }
}

impl MemoryUsage for ClientTracking {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.prefixes)
    }
}

/// A client for certain: places in the registry are used again, numbers are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId {
    /// `CLIENT ID`.
    pub id: u64,
    /// Its place.
    pub key: ClientKey,
}

impl ClientId {
    fn is_connected(self, clients: &Clients) -> bool {
        clients
            .get(self.key)
            .is_some_and(|client| client.id == self.id && !client.close_now && !client.close_after_reply)
    }
}

#[derive(Debug)]
struct TrackedKey {
    key: Vec<u8>,
    /// Who may have it, by number.
    clients: Vec<ClientId>,
}

/// The keys that clients may have; found by name, chosen at random.
#[derive(Debug, Default)]
struct TrackedKeys {
    keys: Vec<TrackedKey>,
    /// Places in `keys`.
    index: HashTable<usize>,
    hasher: RandomState,
    /// Clients over all keys.
    items: usize,
}

impl TrackedKeys {
    fn remember(&mut self, key: &[u8], client: ClientId) {
        let hash = self.hasher.hash_one(key);
        let Self { keys, index, hasher, items } = self;
        let place = match index.find(hash, |place| keys[*place].key == key) {
            Some(place) => *place,
            None => {
                keys.push(TrackedKey { key: key.to_vec(), clients: Vec::new() });
                let rehash = |place: &usize| hasher.hash_one(keys[*place].key.as_slice());
                index.insert_unique(hash, keys.len() - 1, rehash);
                keys.len() - 1
            }
        };
        let clients = &mut keys[place].clients;
        if let Err(at) = clients.binary_search_by_key(&client.id, |known| known.id) {
            clients.insert(at, client);
            *items += 1;
        }
    }

    fn forget(&mut self, key: &[u8]) -> Option<TrackedKey> {
        let hash = self.hasher.hash_one(key);
        let Self { keys, index, hasher, items } = self;
        let (place, _) = index.find_entry(hash, |place| keys[*place].key == key).ok()?.remove();
        let last = keys.len() - 1;
        if place != last {
            // The last one takes its place.
            let hash = hasher.hash_one(keys[last].key.as_slice());
            if let Some(moved) = index.find_mut(hash, |moved| *moved == last) {
                *moved = place;
            }
        }
        let forgotten = keys.swap_remove(place);
        *items -= forgotten.clients.len();
        Some(forgotten)
    }
}

impl MemoryUsage for TrackedKeys {
    fn memory_usage(&self) -> usize {
        let each = |tracked: &TrackedKey| vec_usage(&tracked.key) + vec_usage(&tracked.clients);
        vec_usage(&self.keys) + self.index.allocation_size() + self.keys.iter().map(each).sum::<usize>()
    }
}

/// Who broadcasts a prefix, and what changed below it in this turn.
#[derive(Debug, Default)]
struct Prefix {
    clients: Vec<ClientKey>,
    /// The keys, and who changed each last.
    changed: BTreeMap<Vec<u8>, Option<ClientKey>>,
}

/// What a client is told.
#[derive(Debug, Clone)]
enum Message {
    /// These keys have changed: a complete array of their names.
    Keys(Vec<u8>),
    /// All keys are gone.
    All,
    /// The client it had redirected to is gone.
    Broken(u64),
}

/// A message to a client whose request is running.
#[derive(Debug)]
struct Own {
    client: ClientKey,
    message: Message,
    redirected: bool,
}

/// What is tracked for whom.
#[derive(Debug, Default)]
pub struct Tracking {
    /// Clients that track.
    clients: usize,
    keys: TrackedKeys,
    prefixes: BTreeMap<Rc<[u8]>, Prefix>,
    /// Whose request is running.
    running: Option<ClientKey>,
    own: Vec<Own>,
    /// How often in turn there were still too many keys.
    still_too_many: usize,
}

impl Tracking {
    /// Clients that track.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.keys.len()
    }

    /// Clients over all keys that are remembered.
    #[must_use]
    pub fn items(&self) -> usize {
        self.keys.items
    }

    /// Prefixes that are broadcast.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether nobody tracks and nothing is remembered.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.clients == 0 && self.keys.keys.is_empty()
    }

    /// Whether no client is to be told of changes, now or by what is remembered.
    #[must_use]
    pub fn has_nobody_to_tell(&self) -> bool {
        self.is_idle() && self.own.is_empty()
    }

    fn leave_prefixes(&mut self, client: ClientKey, prefixes: &[Rc<[u8]>]) {
        for name in prefixes {
            if let Some(prefix) = self.prefixes.get_mut(name) {
                prefix.clients.retain(|other| *other != client);
                if prefix.clients.is_empty() {
                    self.prefixes.remove(name);
                }
            }
        }
    }

    fn note_for_broadcast(&mut self, key: &[u8], by: Option<ClientKey>) {
        for (name, prefix) in &mut self.prefixes {
            if key.starts_with(name) {
                prefix.changed.insert(key.to_vec(), by);
            }
        }
    }
}

impl MemoryUsage for Tracking {
    /// Exact but for the nodes of the maps of prefixes.
    fn memory_usage(&self) -> usize {
        let each = |(name, prefix): (&Rc<[u8]>, &Prefix)| {
            let changed = prefix.changed.keys().map(|key| vec_usage(key) + ENTRY_BYTES);
            usable_size(COUNTS + name.len())
                + vec_usage(&prefix.clients)
                + size_of::<Prefix>()
                + changed.sum::<usize>()
        };
        self.keys.memory_usage() + self.prefixes.iter().map(each).sum::<usize>() + vec_usage(&self.own)
    }
}

/// Adds prefixes to those that are in order.
fn merged(mut old: Vec<Rc<[u8]>>, new: Vec<Rc<[u8]>>) -> Vec<Rc<[u8]>> {
    if new.len() >= FEW_PREFIXES {
        old.extend(new);
        old.sort_unstable();
        old.dedup();
        return old;
    }
    for prefix in new {
        if let Err(place) = old.binary_search(&prefix) {
            old.insert(place, prefix);
        }
    }
    old
}

/// An array of these names.
fn array_of<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut text = Reply::new(Protocol::Resp2);
    text.array(keys.len());
    keys.for_each(|key| text.bulk(key));
    text.take()
}

/// Writes a message as its reader understands it; one who does not is told nothing.
fn write(message: &Message, redirected: bool, subscribed: bool, output: &mut Reply) {
    match (message, output.protocol()) {
        (Message::Broken(id), Protocol::Resp3) => {
            output.push(2);
            output.bulk(b"tracking-redir-broken");
            output.int(id.cast_signed());
            return;
        }
        (Message::Broken(_), Protocol::Resp2) => return,
        (_, Protocol::Resp3) => {
            output.push(2);
            output.bulk(b"invalidate");
        }
        (_, Protocol::Resp2) if redirected && subscribed => {
            output.array(3);
            output.bulk(b"message");
            output.bulk(CHANNEL);
        }
        (_, Protocol::Resp2) => return,
    }
    match message {
        Message::Keys(array) => output.raw(array),
        Message::All | Message::Broken(_) => output.null(),
    }
}

impl Server {
    /// A client tracks from now on as `tracking` says, or goes on so.
    pub fn start_tracking(&mut self, client: ClientKey, mut tracking: ClientTracking) {
        let Some(record) = self.clients.get_mut(client) else { return };
        for name in &mut tracking.prefixes {
            match self.tracking.prefixes.get_key_value(name) {
                Some((known, _)) => *name = Rc::clone(known),
                None => drop(self.tracking.prefixes.insert(Rc::clone(name), Prefix::default())),
            }
            if let Some(prefix) = self.tracking.prefixes.get_mut(name)
                && !prefix.clients.contains(&client)
            {
                prefix.clients.push(client);
            }
        }
        match record.tracking.take() {
            Some(old) => tracking.prefixes = merged(old.prefixes, tracking.prefixes),
            None => {
                self.tracking.clients += 1;
                tracking.prefixes = merged(Vec::new(), tracking.prefixes);
            }
        }
        record.tracking = Some(Box::new(tracking));
    }

    /// A client tracks no longer. What it has read is forgotten when it changes.
    pub fn stop_tracking(&mut self, client: ClientKey) {
        let tracking = self.clients.get_mut(client).and_then(|record| record.tracking.take());
        if let Some(tracking) = tracking {
            self.forget_tracking(client, &tracking);
        }
    }

    /// A client that tracked so is gone, or tracks no longer.
    pub(super) fn forget_tracking(&mut self, client: ClientKey, tracking: &ClientTracking) {
        self.tracking.clients -= 1;
        self.tracking.leave_prefixes(client, &tracking.prefixes);
    }

    /// Remembers the keys of a request that reads, for the client who asked.
    #[inline]
    pub(super) fn track_reads(&mut self, client: ClientKey, entry: &TableEntry, args: Args<'_>) {
        if self.tracking.clients > 0 && entry.command.has(flag::READONLY) {
            self.remember_keys(client, entry, args);
        }
    }

    fn remember_keys(&mut self, client: ClientKey, entry: &TableEntry, args: Args<'_>) {
        // A script's own requests say what it reads.
        if entry.command.has(flag::PUBSUB)
            || matches!(entry.command.name, "eval_ro" | "evalsha_ro" | "fcall_ro")
        {
            return;
        }
        let Some(record) = self.clients.get(client) else { return };
        if !record.tracking.as_ref().is_some_and(|tracking| tracking.remembers_reads()) {
            return;
        }
        let reader = ClientId { id: record.id, key: client };
        for position in keys_of(entry, args).unwrap_or_default() {
            self.tracking.keys.remember(args.at(position.index), reader);
        }
    }

    /// A key was changed, by this client if by any: whoever may have it is told.
    #[inline]
    pub fn invalidate(&mut self, key: &[u8], by: Option<ClientKey>) {
        if !self.tracking.is_idle() {
            self.tracking.note_for_broadcast(key, by);
            self.invalidate_readers(key);
        }
    }

    fn invalidate_readers(&mut self, key: &[u8]) {
        let Some(forgotten) = self.tracking.keys.forget(key) else { return };
        let message = Message::Keys(array_of([key].into_iter()));
        for ClientId { id, key } in forgotten.clients {
            let record = self.clients.get(key).filter(|record| record.id == id);
            let Some(tracking) = record.and_then(|record| record.tracking.as_ref()) else { continue };
            let own_change = tracking.no_loop && self.tracking.running == Some(key);
            if tracking.mode != TrackingMode::Broadcast && !own_change {
                self.send_invalidation(key, &message);
            }
        }
    }

    /// Every key is gone: whoever tracks is told so, and all is forgotten.
    pub fn invalidate_all(&mut self) {
        if self.tracking.is_idle() {
            return;
        }
        let tracking: Vec<ClientKey> =
            self.clients.iter().filter(|client| client.tracking.is_some()).map(|client| client.key).collect();
        for client in tracking {
            self.send_invalidation(client, &Message::All);
        }
        self.tracking.keys = TrackedKeys::default();
    }

    /// Tells those who broadcast what changed in this turn.
    #[inline]
    pub fn broadcast_invalidations(&mut self) {
        if !self.tracking.prefixes.is_empty() {
            self.broadcast_changes();
        }
    }

    fn broadcast_changes(&mut self) {
        let names: Vec<Rc<[u8]>> = self
            .tracking
            .prefixes
            .iter()
            .filter(|(_, prefix)| !prefix.changed.is_empty())
            .map(|(name, _)| Rc::clone(name))
            .collect();
        for name in names {
            let Some(prefix) = self.tracking.prefixes.get_mut(&name) else { continue };
            let (changed, clients) = (std::mem::take(&mut prefix.changed), prefix.clients.clone());
            let all = Message::Keys(array_of(changed.keys().map(Vec::as_slice)));
            for client in clients {
                let tracking = self.clients.get(client).and_then(|record| record.tracking.as_ref());
                if !tracking.is_some_and(|tracking| tracking.no_loop) {
                    self.send_invalidation(client, &all);
                    continue;
                }
                let others: Vec<&[u8]> = changed
                    .iter()
                    .filter(|(_, by)| **by != Some(client))
                    .map(|(key, _)| key.as_slice())
                    .collect();
                if !others.is_empty() {
                    self.send_invalidation(client, &Message::Keys(array_of(others.into_iter())));
                }
            }
        }
    }

    /// Sends a message to a client that tracks, or to the one it redirects to.
    fn send_invalidation(&mut self, client: ClientKey, message: &Message) {
        let Some(record) = self.clients.get_mut(client) else { return };
        let Some(redirect) = record.tracking.as_ref().and_then(|tracking| tracking.redirect) else {
            return self.deliver(client, message, false);
        };
        if redirect.is_connected(&self.clients) {
            return self.deliver(redirect.key, message, true);
        }
        if let Some(tracking) = self.clients.get_mut(client).and_then(|record| record.tracking.as_mut()) {
            tracking.redirect_is_broken = true;
        }
        self.deliver(client, &Message::Broken(redirect.id), false);
    }

    fn deliver(&mut self, client: ClientKey, message: &Message, redirected: bool) {
        if self.tracking.running == Some(client) {
            self.tracking.own.push(Own { client, message: message.clone(), redirected });
            return;
        }
        let Some(record) = self.clients.get_mut(client).filter(|record| !record.close_now) else { return };
        let subscribed = record.subscriptions.is_some();
        write(message, redirected, subscribed, &mut record.output);
        self.clients.needs_attention(client);
        self.weigh_client(client, 0);
    }

    /// Forgets keys, and tells who may have them, if more are remembered than `tracking-table-max-keys`.
    #[inline]
    pub fn limit_tracking(&mut self) {
        let limit = usize::try_from(self.config.tracking_table_max_keys).unwrap_or(usize::MAX);
        if self.tracking.keys() > limit && limit > 0 {
            self.forget_surplus(limit);
        } else {
            self.tracking.still_too_many = 0;
        }
    }

    #[cold]
    fn forget_surplus(&mut self, limit: usize) {
        for _ in 0..EFFORT * (self.tracking.still_too_many + 1) {
            let keys = &self.tracking.keys.keys;
            if keys.len() <= limit {
                self.tracking.still_too_many = 0;
                return;
            }
            let key = keys[fastrand::usize(..keys.len())].key.clone();
            self.invalidate_readers(&key);
        }
        self.tracking.still_too_many += 1;
    }
}

impl Engine {
    /// A client's request begins to run; gives whose was running before.
    #[inline]
    pub(super) fn begin_tracking_of(&mut self, client: ClientKey) -> Option<ClientKey> {
        self.server.tracking.running.replace(client)
    }

    /// Writes what a client whose request is running is to be told: after the reply, or of what was evicted before it.
    #[inline]
    pub(super) fn tell_of_changes(&mut self, client: ClientKey, reply: &mut Reply) {
        if self.server.tracking.own.is_empty() {
            return;
        }
        let record = self.server.clients.get(client);
        let subscribed = record.is_some_and(|record| record.subscriptions.is_some());
        self.server.tracking.own.retain(|own| {
            if own.client == client {
                write(&own.message, own.redirected, subscribed, reply);
            }
            own.client != client
        });
    }

    /// The client's request did not run after all.
    pub(super) fn pause_tracking_of(&mut self, before: Option<ClientKey>) {
        self.server.tracking.running = before;
    }

    /// The running client's request is done: what it is to be told of changes follows its reply.
    #[inline]
    pub(super) fn end_tracking_of(
        &mut self,
        client: ClientKey,
        before: Option<ClientKey>,
        entry: Option<&TableEntry>,
        reply: &mut Reply,
    ) {
        self.server.tracking.running = before;
        if self.server.tracking.has_nobody_to_tell() {
            return;
        }
        self.tell_of_changes(client, reply);
        let Some(record) = self.server.clients.get_mut(client) else { return };
        // CLIENT CACHING is for one command, or for one transaction.
        let is_client = entry.is_some_and(|entry| entry.full_name.starts_with("client|"));
        if !is_client && record.transaction.is_none() {
            forget_caching(record);
        }
    }
}

fn forget_caching(client: &mut Client) {
    if let Some(tracking) = &mut client.tracking {
        tracking.caching = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client(clients: &mut Clients) -> ClientId {
        let key = clients.add(|key, id| Client::new(key, id, 0));
        ClientId { id: clients.get(key).unwrap().id, key }
    }

    #[test]
    fn keys_are_remembered_once_for_each_client_and_forgotten_together() {
        let mut clients = Clients::default();
        let (one, other) = (client(&mut clients), client(&mut clients));
        let mut keys = TrackedKeys::default();
        for number in 0..1000_u32 {
            keys.remember(&number.to_le_bytes(), other);
            keys.remember(&number.to_le_bytes(), one);
            keys.remember(&number.to_le_bytes(), one);
        }
        assert_eq!((keys.keys.len(), keys.items), (1000, 2000));
        for number in (0..1000_u32).step_by(2) {
            assert_eq!(keys.forget(&number.to_le_bytes()).unwrap().clients, [one, other]);
            assert!(keys.forget(&number.to_le_bytes()).is_none());
        }
        assert_eq!((keys.keys.len(), keys.items), (500, 1000));
        for number in (1..1000_u32).step_by(2) {
            assert_eq!(keys.forget(&number.to_le_bytes()).unwrap().key, number.to_le_bytes());
        }
        assert_eq!(keys.items, 0);
    }

    #[test]
    fn readers_are_told_in_their_protocol() {
        let message = Message::Keys(array_of([b"key".as_slice()].into_iter()));
        let mut resp3 = Reply::new(Protocol::Resp3);
        write(&message, false, false, &mut resp3);
        assert_eq!(resp3.as_slice(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n");
        let mut resp2 = Reply::new(Protocol::Resp2);
        write(&message, true, false, &mut resp2);
        write(&message, false, true, &mut resp2);
        assert!(resp2.is_empty());
        write(&Message::All, true, true, &mut resp2);
        assert_eq!(resp2.as_slice(), b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
    }
}
