//! What a handler works with: the keys, the reply, the server, and the client that asked.

use super::Server;
use super::blocking::BlockRequest;
use super::call::Call;
use super::client::{Client, ClientKey};
use super::command::{Args, TableEntry};
use super::cron::output_limit;
use super::propagation::OwnRequest;
use crate::config::EventClasses;
use crate::keyspace::{Entry, Keys};
use crate::resp::Reply;
use crate::types::ValueType;

/// Bytes of an empty string in a reply.
const SHORTEST_ELEMENT: usize = 6;

/// The surroundings of one command.
///
/// The fields are borrowed apart from each other, so that a value found in `keys` can be written to `reply` in place.
pub struct Context<'a> {
    /// The selected database at the instant of the command.
    pub keys: Keys<'a>,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// Everything else of the process.
    pub server: &'a mut Server,
    /// Who asked.
    pub client: ClientKey,
    /// The command being run.
    pub command: &'static TableEntry,
    /// Running inside EXEC: nothing may block.
    pub in_transaction: bool,
    /// Set by a handler that wants to wait.
    pub(super) block: Option<Box<BlockRequest>>,
    /// What is told of the request to who listens.
    pub(super) own_request: OwnRequest,
}

impl Context<'_> {
    /// The client that asked. `None` only for requests of the server's own (loading an AOF).
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        self.server.clients.get(self.client)
    }

    /// The client that asked, to change.
    pub fn client_mut(&mut self) -> Option<&mut Client> {
        self.server.clients.get_mut(self.client)
    }

    /// Whether the request is history that was made elsewhere: of the primary, or of a log that is being read.
    #[must_use]
    pub fn is_obeyed(&self) -> bool {
        self.client().is_none_or(Client::is_obeyed)
    }

    /// The instant of the command, Unix time in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.keys.now_ms
    }

    /// Bytes of replies at which the client is closed in any case, so that a command need not go on.
    #[must_use]
    pub fn reply_limit(&self) -> usize {
        let hard_bytes =
            self.client().map_or(0, |client| output_limit(&self.server.config, client.class()).hard_bytes);
        if hard_bytes == 0 { usize::MAX } else { usize::try_from(hard_bytes).unwrap_or(usize::MAX) }
    }

    /// How many elements of a reply are worth writing of those that were asked for: with more the client is closed in any
    /// case.
    #[must_use]
    pub fn elements_worth(&self, asked: usize) -> usize {
        asked.min(self.reply_limit() / SHORTEST_ELEMENT + 1)
    }

    /// Shows the request to monitors before it has run.
    pub fn show_monitors(&mut self, args: Args<'_>) {
        let Server { monitors, clients, .. } = &mut *self.server;
        if !monitors.is_empty() {
            monitors.show(clients, self.client, (self.keys.database, false), self.command, args, self.reply);
        }
    }

    /// Says that a key was changed: counts the change, breaks transactions that watch the key, and tells who
    /// listens to keyspace events. Call it once per key and event, after the change.
    pub fn changed(&mut self, class: EventClasses, event: &'static str, key: &[u8]) {
        self.keys.keyspace.counters.changes += 1;
        self.touched(key);
        self.notify(class, event, key);
    }

    /// Says that a key was changed, without an event and without counting (a command that counts by element).
    pub fn touched(&mut self, key: &[u8]) {
        self.settle();
        let database = self.keys.database;
        self.server.watched.touch(&mut self.server.clients, database, key);
        self.server.invalidate(key, Some(self.client));
        if self.server.blocked.wait_for_keys() {
            self.tell_readers_of_groups(key);
        }
    }

    /// Whoever reads a group of a stream is told when its key holds no stream any more.
    #[cold]
    fn tell_readers_of_groups(&mut self, key: &[u8]) {
        let is_stream = self.keys.raw(key).is_some_and(|entry| entry.value_type() == ValueType::Stream);
        if !is_stream {
            let Server { blocked, clients, .. } = &mut *self.server;
            blocked.key_gone(clients, self.keys.database, key);
        }
    }

    /// Serves who waits for entries of a stream, once the command is done.
    pub fn stream_grew(&mut self, key: &[u8]) {
        self.server.blocked.key_added(self.keys.database, key, ValueType::Stream);
    }

    /// Frees an entry that a command put another one in the place of, elsewhere if that is worth it and
    /// `lazyfree-lazy-server-del` allows it.
    pub fn free_replaced(&self, replaced: Option<Entry>) {
        if let Some(entry) = replaced {
            self.server.background.free_entry(entry, self.server.config.lazyfree_lazy_server_del);
        }
    }

    /// Brings about what look-ups noted before what is said next, so that events keep their order.
    #[inline]
    pub fn settle(&mut self) {
        if self.keys.keyspace.has_happened() {
            super::events::settle(self.keys.keyspace, self.server);
        }
    }

    /// Says that a key that was changed lies in another database; see [`Self::changed`], which this does without
    /// counting.
    pub fn touched_in(&mut self, database: usize, class: EventClasses, event: &'static str, key: &[u8]) {
        let own = std::mem::replace(&mut self.keys.database, database);
        self.touched(key);
        self.notify(class, event, key);
        self.keys.database = own;
    }

    /// Runs another request of the same client in this one's place: a command of a transaction, if it may still be run.
    pub fn run(&mut self, command: &'static TableEntry, args: Args<'_>) {
        let call = Call { client: self.client, entry: command, hint: None, in_transaction: true };
        call.run_queued(self.keys.keyspace, self.server, args, self.reply, self.command);
    }

    /// Counts `count` more changes since the last save.
    pub fn count_changes(&mut self, count: usize) {
        self.keys.keyspace.counters.changes += count as u64;
    }

    /// Tells who listens to keyspace events.
    pub fn notify(&mut self, class: EventClasses, event: &'static str, key: &[u8]) {
        self.settle();
        let database = self.keys.database;
        self.server.events.notify(database, class, event, key);
    }

    /// Deletes a key whose collection has become empty, with its `del` event.
    pub fn delete_emptied(&mut self, key: &[u8]) {
        if self.keys.delete(key) {
            self.touched(key);
            self.notify(EventClasses::GENERIC, "del", key);
        }
    }

    /// Makes the client wait for one of `keys` instead of replying. Inside a transaction nothing waits: the handler
    /// gets `false` and replies as if the time were over.
    #[must_use]
    pub fn block(&mut self, request: BlockRequest) -> bool {
        if self.in_transaction {
            return false;
        }
        self.block = Some(Box::new(request));
        true
    }
}
