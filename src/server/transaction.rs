//! A transaction being collected: the requests between MULTI and EXEC, and who watches which key.

use std::hash::RandomState;

use hashbrown::HashMap;

use super::Clients;
use super::client::ClientKey;
use super::command::{Request, TableEntry};
use crate::algorithms::numbers::parse_i64;
use crate::memory::{MemoryUsage, box_usage, vec_usage};

/// What a client has queued since MULTI.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The commands in order.
    pub queue: Vec<(&'static TableEntry, Request)>,
    /// The database that will be selected once all of them have run.
    pub database: usize,
    /// Bytes of the queued requests.
    request_bytes: usize,
    /// A command was refused while queueing: EXEC fails.
    pub aborted: bool,
}

impl Transaction {
    /// Queues a request.
    pub fn push(&mut self, command: &'static TableEntry, request: Request) {
        self.request_bytes += request.memory_usage();
        self.queue.push((command, request));
    }
}

impl Transaction {
    /// Begins to collect, in this database.
    #[must_use]
    pub fn begin(database: usize) -> Self {
        Self { database, ..Self::default() }
    }

    /// A SELECT was queued: what follows it runs in that database, if it is one of so many.
    pub fn select(&mut self, index: &[u8], databases: usize) {
        let index = parse_i64(index).and_then(|index| usize::try_from(index).ok());
        if let Some(database) = index.filter(|index| *index < databases) {
            self.database = database;
        }
    }
}

impl MemoryUsage for Transaction {
    fn memory_usage(&self) -> usize {
        box_usage::<Self>() + vec_usage(&self.queue) + self.request_bytes
    }
}

/// What becomes of a watched key when its database is exchanged with another one.
#[derive(Debug, Clone, Copy)]
pub struct Replaced {
    /// It was there, its time over or not.
    pub existed: bool,
    /// It is there afterwards, its time over or not.
    pub exists: bool,
    /// It is there afterwards, and its time is over.
    pub has_expired: bool,
}

/// A client that watches a key.
#[derive(Debug, Clone, Copy)]
struct Watcher {
    client: ClientKey,
    /// The key had expired when the client began to watch it: to the client it is not there, and its deletion is no
    /// change.
    saw_expired: bool,
}

/// Who watches which key. A client's own list (`Client::watched`) is the other side of it.
#[derive(Debug, Default)]
pub struct WatchedKeys {
    keys: HashMap<(usize, Vec<u8>), Vec<Watcher>, RandomState>,
}

impl WatchedKeys {
    /// `client` watches a key of a database from now on; `is_expired` says that it lies there expired.
    pub fn watch(
        &mut self,
        clients: &mut Clients,
        client: ClientKey,
        database: usize,
        key: &[u8],
        is_expired: bool,
    ) {
        let Some(record) = clients.get_mut(client) else { return };
        let watchers = self.keys.entry((database, key.to_vec())).or_default();
        if !watchers.iter().any(|watcher| watcher.client == client) {
            watchers.push(Watcher { client, saw_expired: is_expired });
            let name = key.to_vec();
            record.watched_bytes += vec_usage(&name);
            record.watched.push((database, name));
        }
    }

    /// Whether a key had expired when `client` began to watch it, and still lies there.
    #[must_use]
    pub fn saw_expired(&self, client: ClientKey, name: &(usize, Vec<u8>)) -> bool {
        let watchers = self.keys.get(name).into_iter().flatten();
        watchers.filter(|watcher| watcher.client == client).any(|watcher| watcher.saw_expired)
    }

    /// `client` watches nothing any more.
    pub fn unwatch(&mut self, clients: &mut Clients, client: ClientKey) {
        let Some(record) = clients.get_mut(client) else { return };
        for name in std::mem::take(&mut record.watched) {
            self.forget(client, &name);
        }
        record.watched_bytes = 0;
        record.watch_broken = false;
    }

    /// A client is gone: `watched` is what it watched.
    pub fn forget_all(&mut self, client: ClientKey, watched: &[(usize, Vec<u8>)]) {
        for name in watched {
            self.forget(client, name);
        }
    }

    fn forget(&mut self, client: ClientKey, name: &(usize, Vec<u8>)) {
        if let Some(watchers) = self.keys.get_mut(name) {
            watchers.retain(|watcher| watcher.client != client);
            if watchers.is_empty() {
                self.keys.remove(name);
            }
        }
    }

    /// A key was changed: the transactions of those who watch it will fail.
    pub fn touch(&self, clients: &mut Clients, database: usize, key: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        for watcher in self.keys.get(&(database, key.to_vec())).into_iter().flatten() {
            break_watch(clients, watcher.client);
        }
    }

    /// An expired key was deleted: a change for those who had seen it alive.
    pub fn expired_deleted(&mut self, clients: &mut Clients, database: usize, key: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        for watcher in self.keys.get_mut(&(database, key.to_vec())).into_iter().flatten() {
            if !std::mem::take(&mut watcher.saw_expired) {
                break_watch(clients, watcher.client);
            }
        }
    }

    /// Keys of a database go all at once; `exists` says which watched ones were there.
    pub fn touch_database(
        &mut self,
        clients: &mut Clients,
        database: usize,
        mut changes: impl FnMut(&[u8]) -> bool,
    ) {
        for ((db, key), watchers) in &mut self.keys {
            if *db == database && changes(key) {
                for watcher in watchers {
                    if !std::mem::take(&mut watcher.saw_expired) {
                        break_watch(clients, watcher.client);
                    }
                }
            }
        }
    }

    /// All keys of a database are replaced by those of another one. What has expired is not there for those who watch it.
    pub fn replace_database(
        &mut self,
        clients: &mut Clients,
        database: usize,
        replaced: impl Fn(&[u8]) -> Replaced,
    ) {
        for ((db, key), watchers) in &mut self.keys {
            if *db != database {
                continue;
            }
            let replaced = replaced(key);
            if !replaced.existed && !replaced.exists {
                continue;
            }
            for watcher in watchers {
                if watcher.saw_expired && !replaced.exists {
                    watcher.saw_expired = false;
                } else if replaced.has_expired && (watcher.saw_expired || !replaced.existed) {
                    watcher.saw_expired = true;
                } else {
                    break_watch(clients, watcher.client);
                }
            }
        }
    }

    /// Distinct keys watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn break_watch(clients: &mut Clients, client: ClientKey) {
    if let Some(record) = clients.get_mut(client) {
        record.watch_broken = true;
    }
}

impl MemoryUsage for WatchedKeys {
    fn memory_usage(&self) -> usize {
        self.keys.allocation_size()
            + self.keys.iter().map(|((_, key), watchers)| vec_usage(key) + vec_usage(watchers)).sum::<usize>()
    }
}
