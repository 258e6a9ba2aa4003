//! MIGRATE while it is on its way: what is sent, who waits for it, and what becomes of the keys when it has arrived.
//!
//! The engine goes on meanwhile, so a key may be changed after it was serialized. A key is deleted here only if it still
//! is what the other server has confirmed; one that was changed is sent again in another round, so that no write is lost
//! and the key is in one place in the end.

use super::client::ClientKey;
use super::propagation::Targets;
use super::waiter::Waiter;
use super::{Engine, Server};
use crate::config::EventClasses;
use crate::keyspace::{Entry, Keys};
use crate::memory::vec_usage;
use crate::persistence::dump_payload;
use crate::resp::CommandError;
use crate::sys::clock;

/// How often keys are sent that are changed each time.
const ROUNDS_MAX: u32 = 16;

/// What other servers are told about who asks.
#[derive(Debug)]
pub struct Credentials {
    /// The user; `None`: the default one.
    pub user: Option<Vec<u8>>,
    /// Its password.
    pub password: Vec<u8>,
}

/// Which keys go where.
#[derive(Debug)]
pub struct Order {
    /// The other server's address or name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long connecting, sending and each reply may take, in milliseconds.
    pub timeout_ms: u64,
    /// The database there.
    pub target_database: i64,
    /// Who we are there.
    pub credentials: Option<Credentials>,
    /// The keys stay here too.
    pub copy: bool,
    /// Keys that are there are overwritten.
    pub replace: bool,
    /// The other server is a node of a cluster.
    pub asking: bool,
    /// The database here.
    pub database: usize,
}

/// A key that was sent.
#[derive(Debug)]
struct Sent {
    key: Vec<u8>,
    /// What tells one value of it from another: the checksum that its payload ends with.
    checksum: u64,
    expiry_ms: Option<i64>,
}

/// A migration on its way.
#[derive(Debug)]
pub struct Migration {
    /// What was asked for.
    pub order: Order,
    waiter: Option<Waiter>,
    sent: Vec<Sent>,
    /// The requests to send, one for each key.
    pub requests: Vec<u8>,
    counted: usize,
    rounds: u32,
}

/// What came of one round.
#[derive(Debug, Default)]
pub struct Round {
    /// Which of the keys the other server has, in order; keys beyond it has not confirmed.
    pub confirmed: Vec<bool>,
    /// The first thing that went wrong.
    pub error: Option<CommandError>,
}

/// What the server knows of migrations.
#[derive(Debug, Default)]
pub struct Migrations {
    /// Bytes of all that are on their way.
    pub bytes: usize,
    /// Connections that are kept for the next one (INFO `migrate_cached_sockets`).
    pub cached_sockets: usize,
}

impl Migration {
    /// Serializes the keys that are there; `None` when there is none.
    ///
    /// # Errors
    /// That of writing to memory, which never fails.
    pub fn new(
        keys: &mut Keys<'_>,
        order: Order,
        names: &[&[u8]],
        compress: bool,
    ) -> std::io::Result<Option<Self>> {
        let mut migration =
            Self { order, waiter: None, sent: Vec::new(), requests: Vec::new(), counted: 0, rounds: 0 };
        let now_ms = keys.now_ms;
        for name in names {
            if let Some(entry) = keys.read(name) {
                migration.add(&entry, compress, now_ms)?;
            }
        }
        Ok((!migration.sent.is_empty()).then_some(migration))
    }

    fn add(&mut self, entry: &Entry, compress: bool, now_ms: i64) -> std::io::Result<()> {
        let payload = dump_payload(entry, compress)?;
        let expiry_ms = entry.expiry_ms();
        let ttl_ms = expiry_ms.map_or(0, |expiry_ms| (expiry_ms - now_ms).max(1));
        let command: &[u8] = if self.order.asking { b"RESTORE-ASKING" } else { b"RESTORE" };
        let ttl = ttl_ms.to_string();
        let mut args = vec![command, entry.key(), ttl.as_bytes(), payload.as_slice()];
        if self.order.replace {
            args.push(b"REPLACE");
        }
        push_request(&mut self.requests, &args);
        self.sent.push(Sent { key: entry.key().to_vec(), checksum: checksum_of(&payload), expiry_ms });
        Ok(())
    }

    /// How many keys are sent.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.sent.len()
    }

    fn usage(&self) -> usize {
        vec_usage(&self.requests)
            + vec_usage(&self.sent)
            + self.sent.iter().map(|sent| vec_usage(&sent.key)).sum::<usize>()
    }
}

fn checksum_of(payload: &[u8]) -> u64 {
    payload.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Appends a request in RESP.
pub fn push_request(output: &mut Vec<u8>, args: &[&[u8]]) {
    let header = |output: &mut Vec<u8>, mark: u8, count: usize| {
        output.push(mark);
        output.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        output.extend_from_slice(b"\r\n");
    };
    header(output, b'*', args.len());
    for arg in args {
        header(output, b'$', arg.len());
        output.extend_from_slice(arg);
        output.extend_from_slice(b"\r\n");
    }
}

impl Server {
    /// A client begins to wait for a migration.
    pub fn begin_migration(&mut self, client: ClientKey, migration: &mut Migration) {
        migration.waiter = self.waiter(client);
        self.count_migration(migration);
    }

    fn count_migration(&mut self, migration: &mut Migration) {
        let usage = migration.usage();
        self.migrations.bytes = self.migrations.bytes + usage - migration.counted;
        migration.counted = usage;
    }
}

impl Engine {
    /// A round is over: deletes the keys that are elsewhere now. Gives the migration back when keys that were changed
    /// meanwhile have to be sent again; otherwise the client has its reply.
    pub fn end_round(&mut self, mut migration: Box<Migration>, mut round: Round) -> Option<Box<Migration>> {
        self.server.now_ms = self.server.now_ms.max(clock::unix_ms());
        let sent = std::mem::take(&mut migration.sent);
        migration.requests = Vec::new();
        let confirmed = sent.into_iter().zip(&round.confirmed).filter(|(_, confirmed)| **confirmed);
        let confirmed: Vec<Sent> = confirmed.map(|(sent, _)| sent).collect();
        if !migration.order.copy {
            let changed = self.delete_migrated(migration.order.database, confirmed);
            migration.rounds += 1;
            if round.error.is_none() && migration.rounds == ROUNDS_MAX && !changed.is_empty() {
                round.error = Some(CommandError::custom("IOERR keys were changed each time they were sent"));
            }
            if round.error.is_none() && !changed.is_empty() {
                // The other server has an older value of these.
                migration.order.replace = true;
                self.add_again(&mut migration, &changed);
            }
        }
        if !migration.sent.is_empty() {
            self.server.count_migration(&mut migration);
            return Some(migration);
        }
        self.server.migrations.bytes -= migration.counted;
        if let Some(waiter) = migration.waiter {
            self.server.answer(waiter, "migrate", round.error.map_or(Ok(()), Err));
        }
        None
    }

    fn add_again(&mut self, migration: &mut Migration, changed: &[Vec<u8>]) {
        let compress = self.server.config.rdbcompression;
        let (now_ms, database) = (self.server.now_ms, migration.order.database);
        let mut keys = Keys { keyspace: &mut self.keyspace, database, now_ms, hint: None, touches: false };
        for key in changed {
            if let Some(entry) = keys.peek(key) {
                // Memory never refuses a write.
                let _ = migration.add(&entry, compress, now_ms);
            }
        }
    }

    /// Deletes the keys that still are what was sent; gives those that are not.
    fn delete_migrated(&mut self, database: usize, sent: Vec<Sent>) -> Vec<Vec<u8>> {
        let compress = self.server.config.rdbcompression;
        let now_ms = self.server.now_ms;
        let (mut deleted, mut changed) = (Vec::new(), Vec::new());
        for Sent { key, checksum, expiry_ms } in sent {
            let mut keys =
                Keys { keyspace: &mut self.keyspace, database, now_ms, hint: None, touches: false };
            let Some(entry) = keys.peek(&key) else { continue };
            let same = entry.expiry_ms() == expiry_ms
                && dump_payload(&entry, compress).is_ok_and(|payload| checksum_of(&payload) == checksum);
            if !same {
                changed.push(key);
            } else if let Some(entry) = keys.remove(&key) {
                self.server.background.free_entry(entry, self.server.config.lazyfree_lazy_server_del);
                deleted.push(key);
            }
        }
        self.tell_of_migrated(database, &deleted);
        changed
    }

    /// What a DEL of these keys would bring about.
    fn tell_of_migrated(&mut self, database: usize, deleted: &[Vec<u8>]) {
        let Self { keyspace, server } = self;
        super::events::settle(keyspace, server);
        for key in deleted {
            keyspace.counters.changes += 1;
            server.watched.touch(&mut server.clients, database, key);
            server.blocked.key_gone(&server.clients, database, key);
            server.events.notify(database, EventClasses::GENERIC, "del", key);
        }
        if !deleted.is_empty() {
            let mut args = vec![b"DEL".as_slice()];
            args.extend(deleted.iter().map(Vec::as_slice));
            server.propagation.push(database, Targets::ALL, args.into_iter());
        }
        server.end_unit();
        server.publish_events(None);
        self.serve_blocked();
    }
}
