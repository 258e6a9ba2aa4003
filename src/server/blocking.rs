//! Clients that wait for keys: BLPOP and its kin.
//!
//! A blocked client keeps its request. When a key it waits for comes into being, or an entry is added to its stream, the
//! request runs again, in the order in which clients began to wait; what it then finds it replies, and if it finds nothing
//! it goes on waiting. A key that exists and is given another value wakes nobody, except for readers of groups: those are
//! woken when it is no stream any more.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use std::hash::RandomState;

use hashbrown::HashMap;

use super::client::{ClientKey, Clients};
use super::command::{Group, Request, TableEntry};
use super::replication::ReplicaWait;
use crate::memory::{MemoryUsage, vec_usage};
use crate::types::ValueType;

/// What a blocked client replies when its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutReply {
    /// `*-1` / `_`.
    NullArray,
    /// `$-1` / `_`.
    Null,
    /// The error that SHUTDOWN gives when the server goes on.
    Shutdown,
    /// Its time is never over: only what it waits for ends the wait (a file that is written).
    Never,
    /// `:n`, or two of them: what was reached until then (WAIT, WAITAOF).
    Replicas(ReplicaWait),
    /// NOREPLICAS, or `OK` if the replicas have done what CLUSTER SETSLOT asks for.
    SetSlot(ReplicaWait),
}

impl TimeoutReply {
    /// What is waited for, if it is replicas.
    #[must_use]
    pub fn replica_wait(self) -> Option<ReplicaWait> {
        match self {
            Self::Replicas(wait) | Self::SetSlot(wait) => Some(wait),
            _ => None,
        }
    }
}

/// How a wait ends that no key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// Its time is over.
    Timeout,
    /// CLIENT UNBLOCK ... ERROR.
    Error,
    /// It waited for the append-only file, which is no more.
    AofOff,
}

/// What a client waits with.
#[derive(Debug)]
pub struct Blocked {
    /// The command that blocked.
    pub command: &'static TableEntry,
    /// Its request.
    pub request: Request,
    /// The keys it waits for, in its database.
    pub keys: Vec<Vec<u8>>,
    /// The database it was in.
    pub database: usize,
    /// When it gives up, Unix ms; `None` never.
    pub deadline_ms: Option<i64>,
    /// What it replies then.
    pub timeout_reply: TimeoutReply,
    /// A deleted or retyped key ends the wait too (XREADGROUP).
    pub wants_deletion: bool,
}

impl Blocked {
    /// The type of value that it waits for.
    #[must_use]
    pub fn awaited_type(&self) -> Option<ValueType> {
        match self.command.command.group {
            Group::List => Some(ValueType::List),
            Group::SortedSet => Some(ValueType::SortedSet),
            Group::Stream => Some(ValueType::Stream),
            _ => None,
        }
    }
}

impl MemoryUsage for Blocked {
    fn memory_usage(&self) -> usize {
        self.request.memory_usage() + vec_usage(&self.keys) + self.keys.iter().map(vec_usage).sum::<usize>()
    }
}

/// A handler's wish to block, before it becomes [`Blocked`].
#[derive(Debug)]
pub struct BlockRequest {
    /// The keys to wait for.
    pub keys: Vec<Vec<u8>>,
    /// When to give up, Unix ms; `None` never.
    pub deadline_ms: Option<i64>,
    /// What to reply then.
    pub timeout_reply: TimeoutReply,
    /// A deleted or retyped key ends the wait too.
    pub wants_deletion: bool,
    /// What runs when a key is written; `None`: what the client sent.
    pub request: Option<Request>,
}

impl BlockRequest {
    /// To wait until something other than a key or a deadline ends it.
    #[must_use]
    pub fn for_event(timeout_reply: TimeoutReply) -> Self {
        Self { keys: Vec::new(), deadline_ms: None, timeout_reply, wants_deletion: false, request: None }
    }
}

type Waiting = HashMap<(usize, Vec<u8>), VecDeque<ClientKey>, RandomState>;

/// Who waits for which key, and which keys have become ready.
#[derive(Debug, Default)]
pub struct BlockedClients {
    waiting: Waiting,
    ready: VecDeque<(usize, Vec<u8>)>,
    /// When waits end, the earliest on top; entries of waits that ended otherwise are skipped when they come up.
    deadlines: BinaryHeap<Reverse<(i64, ClientKey)>>,
    count: usize,
    /// Of them, those that wait for a list, a sorted set and a stream.
    by_type: [usize; 3],
}

/// The place of a type in the counts; `None` of one that nobody can wait for.
fn place_of(value_type: Option<ValueType>) -> Option<usize> {
    match value_type? {
        ValueType::List => Some(0),
        ValueType::SortedSet => Some(1),
        ValueType::Stream => Some(2),
        _ => None,
    }
}

impl BlockedClients {
    /// A client begins to wait.
    pub fn block(&mut self, clients: &mut Clients, client: ClientKey, blocked: Blocked) {
        let Some(record) = clients.get_mut(client) else { return };
        for key in &blocked.keys {
            let queue = self.waiting.entry((blocked.database, key.clone())).or_default();
            if !queue.contains(&client) {
                queue.push_back(client);
            }
        }
        if let Some(deadline_ms) = blocked.deadline_ms {
            self.deadlines.push(Reverse((deadline_ms, client)));
        }
        if let Some(place) = place_of(blocked.awaited_type()) {
            self.by_type[place] += 1;
        }
        record.blocked = Some(Box::new(blocked));
        self.count += 1;
    }

    /// When the next wait may end, Unix ms.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.peek().map(|Reverse((deadline_ms, _))| *deadline_ms)
    }

    /// A client whose time is over at `now_ms`, if there is one.
    pub fn next_overdue(&mut self, clients: &Clients, now_ms: i64) -> Option<ClientKey> {
        while let Some(Reverse((deadline_ms, client))) = self.deadlines.peek().copied() {
            if deadline_ms > now_ms {
                return None;
            }
            self.deadlines.pop();
            let blocked = clients.get(client).and_then(|record| record.blocked.as_deref());
            if blocked.is_some_and(|blocked| blocked.deadline_ms == Some(deadline_ms)) {
                return Some(client);
            }
        }
        None
    }

    /// A client waits no longer, whatever the reason; gives what it waited with.
    pub fn unblock(&mut self, clients: &mut Clients, client: ClientKey) -> Option<Box<Blocked>> {
        let blocked = clients.get_mut(client)?.blocked.take()?;
        self.forget(client, &blocked);
        Some(blocked)
    }

    /// A client that waited with `blocked` is gone or unblocked.
    pub fn forget(&mut self, client: ClientKey, blocked: &Blocked) {
        for key in &blocked.keys {
            let name = (blocked.database, key.clone());
            if let Some(queue) = self.waiting.get_mut(&name) {
                queue.retain(|other| *other != client);
                if queue.is_empty() {
                    self.waiting.remove(&name);
                }
            }
        }
        if let Some(place) = place_of(blocked.awaited_type()) {
            self.by_type[place] -= 1;
        }
        self.count -= 1;
    }

    /// Whether anybody waits for a key.
    #[inline]
    #[must_use]
    pub fn wait_for_keys(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A key came into being, or its stream has a new entry: whoever waits for it will be served once the running command
    /// is done, if anybody waits for a value of this type at all.
    pub fn key_added(&mut self, database: usize, key: &[u8], value_type: ValueType) {
        if place_of(Some(value_type)).is_some_and(|place| self.by_type[place] > 0) {
            self.mark_ready(database, key);
        }
    }

    /// A key was deleted, or holds no stream any more: whoever reads a group of it will be told.
    pub fn key_gone(&mut self, clients: &Clients, database: usize, key: &[u8]) {
        if self.by_type[2] == 0 {
            return;
        }
        let Some(queue) = self.waiting.get(&(database, key.to_vec())) else { return };
        let wants_deletion = |client: &ClientKey| {
            let blocked = clients.get(*client).and_then(|record| record.blocked.as_deref());
            blocked.is_some_and(|blocked| blocked.wants_deletion)
        };
        if queue.iter().any(wants_deletion) {
            self.mark_ready(database, key);
        }
    }

    fn mark_ready(&mut self, database: usize, key: &[u8]) {
        let name = (database, key.to_vec());
        if self.waiting.contains_key(&name) && !self.ready.contains(&name) {
            self.ready.push_back(name);
        }
    }

    /// Every key of a database goes: whoever reads a group of one will be told.
    pub fn database_emptied(&mut self, clients: &Clients, database: usize) {
        let keys: Vec<_> = self.waiting.keys().filter(|(db, _)| *db == database).cloned().collect();
        for (db, key) in keys {
            self.key_gone(clients, db, &key);
        }
    }

    /// Every key of a database may have changed (SWAPDB, a load).
    pub fn database_written(&mut self, database: usize) {
        let names: Vec<_> = self.waiting.keys().filter(|(db, _)| *db == database).cloned().collect();
        for (db, key) in names {
            self.mark_ready(db, &key);
        }
    }

    /// Whether a key is ready.
    #[inline]
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next key that is ready, with those who wait for it in order.
    pub fn next_ready(&mut self) -> Option<(usize, Vec<u8>, Vec<ClientKey>)> {
        let name = self.ready.pop_front()?;
        let clients =
            self.waiting.get(&name).map(|queue| queue.iter().copied().collect()).unwrap_or_default();
        Some((name.0, name.1, clients))
    }

    /// Clients that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keys that are waited for.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.waiting.len()
    }
}

impl MemoryUsage for BlockedClients {
    fn memory_usage(&self) -> usize {
        let ready = crate::memory::usable_size(self.ready.capacity() * size_of::<(usize, Vec<u8>)>());
        let queues: usize = self
            .waiting
            .iter()
            .map(|((_, key), queue)| {
                vec_usage(key) + crate::memory::usable_size(queue.capacity() * size_of::<ClientKey>())
            })
            .sum();
        let deadlines =
            crate::memory::usable_size(self.deadlines.capacity() * size_of::<Reverse<(i64, ClientKey)>>());
        self.waiting.allocation_size() + ready + queues + deadlines
    }
}
