//! From a parsed request to its reply: what is checked before a command runs, and what follows it.
//!
//! The order of the checks is Valkey's (`processCommand`), so that a request that is wrong in two ways gets the
//! same error.

use super::blocking::{BlockRequest, Blocked, WaitEnd};
use super::client::ClientKey;
use super::command::{Args, Group, TableEntry, flag};
use super::command_log::{CommandCost, CommandLog};
use super::{Context, Engine};
use crate::keyspace::{KeyHash, Keys};
use crate::resp::CommandError;
use crate::resp::Reply;
use crate::sys::clock;
use crate::types::ValueType;

/// What a client waits for that a command of this group has blocked.
fn awaited_type(group: Group) -> Option<ValueType> {
    match group {
        Group::List => Some(ValueType::List),
        Group::SortedSet => Some(ValueType::SortedSet),
        Group::Stream => Some(ValueType::Stream),
        _ => None,
    }
}

/// A request whose command was looked up, and whose first key was hashed, while its batch was prefetched.
#[derive(Debug, Clone, Copy)]
pub struct Prepared {
    /// The command, if there is one that accepts the request.
    pub command: Option<&'static TableEntry>,
    /// The hash of its first key.
    pub hint: Option<KeyHash>,
}

/// How the execution of a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// It replied.
    Done,
    /// Its client waits now; what it sent after this request stays unread.
    Blocked,
    /// Clients are paused: the request was not run and is to be tried again later.
    Paused,
}

impl Engine {
    /// Runs one request of a client and writes its reply.
    pub fn execute(
        &mut self,
        client: ClientKey,
        prepared: Prepared,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Executed {
        let start = reply.len();
        let executed = self.run(client, prepared, args, reply);
        if executed != Executed::Paused {
            self.apply_reply_mode(client, start, reply);
        }
        executed
    }

    fn run(&mut self, client: ClientKey, prepared: Prepared, args: Args<'_>, reply: &mut Reply) -> Executed {
        let entry = match prepared.command {
            Some(entry) => entry,
            None => match self.server.commands.find(args) {
                Ok(entry) => entry,
                Err(error) => {
                    self.refuse(client, self.server.commands.named(args), &error, reply);
                    return Executed::Done;
                }
            },
        };
        if let Err(error) = self.check(client, entry) {
            self.refuse(client, Some(entry), &error, reply);
            return Executed::Done;
        }
        if self.must_wait(client, entry) {
            return Executed::Paused;
        }
        if self.queue(client, entry, args, reply) {
            return Executed::Done;
        }
        let executed = match self.call(client, entry, prepared.hint, args, reply, false) {
            Some(request) => {
                self.block(client, entry, args, request);
                Executed::Blocked
            }
            None => Executed::Done,
        };
        self.serve_blocked();
        executed
    }

    /// What forbids a command, whatever its arguments.
    fn check(&self, client: ClientKey, entry: &TableEntry) -> Result<(), CommandError> {
        let command = entry.command;
        let authenticated = self.server.clients.get(client).is_some_and(|client| client.authenticated);
        if !authenticated && !command.has(flag::NO_AUTH) {
            return Err(CommandError::NoAuth);
        }
        if command.has(flag::NO_MULTI)
            && self.server.clients.get(client).is_some_and(|client| client.transaction.is_some())
        {
            return Err(CommandError::NotInTransaction(entry.full_name.as_str().into()));
        }
        if command.has(flag::WRITE | flag::MAY_REPLICATE)
            && self.server.persistence.refuses_writes(&self.server.config)
        {
            return Err(CommandError::MisconfSnapshot(self.server.title()));
        }
        if self.server.persistence.is_loading() && !command.has(flag::LOADING) {
            return Err(CommandError::Loading(self.server.title()));
        }
        Ok(())
    }

    /// Writes the error of a request that does not run. Inside MULTI it spoils the transaction.
    fn refuse(
        &mut self,
        client: ClientKey,
        entry: Option<&'static TableEntry>,
        error: &CommandError,
        reply: &mut Reply,
    ) {
        if let Some(transaction) =
            self.server.clients.get_mut(client).and_then(|record| record.transaction.as_mut())
        {
            transaction.aborted = true;
        }
        if let Some(entry) = entry {
            self.server.stats.commands[entry.id].rejected += 1;
        }
        self.server.stats.count_error(&error.code());
        error.write(reply);
    }

    /// Whether CLIENT PAUSE holds this command back.
    fn must_wait(&self, _client: ClientKey, entry: &TableEntry) -> bool {
        let Some(pause) = self.server.pause else { return false };
        let affected = !pause.writes_only || entry.command.has(flag::WRITE | flag::MAY_REPLICATE);
        self.server.now_ms < pause.until_ms && affected && !matches!(entry.command.name, "client" | "unpause")
    }

    /// Inside MULTI, queues the request instead of running it.
    fn queue(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> bool {
        let Some(record) = self.server.clients.get_mut(client) else { return false };
        let Some(transaction) = &mut record.transaction else { return false };
        if matches!(entry.command.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset") {
            return false;
        }
        transaction.queue.push((entry, args.to_request()));
        reply.simple("QUEUED");
        true
    }

    /// Runs a handler, counts it and tells the monitors. What it returns is the wish to block.
    pub fn call(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        hint: Option<KeyHash>,
        args: Args<'_>,
        reply: &mut Reply,
        in_transaction: bool,
    ) -> Option<BlockRequest> {
        let block = self.invoke(client, entry, hint, args, reply, in_transaction);
        let server = &mut self.server;
        if !server.monitors.is_empty() {
            let database = server.clients.get(client).map_or(0, |client| client.database);
            server.monitors.feed(&mut server.clients, client, database, entry, args, reply);
        }
        block
    }

    fn invoke(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        hint: Option<KeyHash>,
        args: Args<'_>,
        reply: &mut Reply,
        in_transaction: bool,
    ) -> Option<BlockRequest> {
        let start = reply.len();
        let (database, touches) =
            self.server.clients.get(client).map_or((0, true), |client| (client.database, !client.no_touch));
        let started = clock::ticks();
        let mut context = Context {
            keys: Keys {
                now_ms: self.server.now_ms,
                keyspace: &mut self.keyspace,
                database,
                hint,
                touches: touches || entry.command.name == "touch",
            },
            reply,
            server: &mut self.server,
            client,
            command: entry,
            in_transaction,
            block: None,
        };
        let outcome = (entry.command.handler)(&mut context, args);
        let block = context.block.take();
        let nanoseconds = clock::nanoseconds_between(started, clock::ticks());
        let failed = outcome.is_err();
        if let Err(error) = outcome {
            self.server.stats.count_error(&error.code());
            error.write(reply);
        }
        if block.is_some() {
            // A call that blocks counts once it ends.
            self.server.note_command(client, entry);
            return block;
        }
        self.server.count(client, entry, nanoseconds, failed);
        let cost = CommandCost {
            microseconds: nanoseconds / 1000,
            request_bytes: args.request_bytes() as u64,
            reply_bytes: reply.len().saturating_sub(start) as u64,
        };
        self.observe(client, entry, args, cost);
        None
    }

    /// Tells the logs of what cost much.
    #[inline]
    fn observe(&mut self, client: ClientKey, entry: &TableEntry, args: Args<'_>, cost: CommandCost) {
        let server = &mut self.server;
        let threshold_ms = server.config.latency_monitor_threshold;
        if threshold_ms > 0 {
            let event = if entry.command.has(flag::FAST) { "fast-command" } else { "command" };
            server.latency.note(threshold_ms, event, cost.microseconds, server.now_ms);
        }
        if CommandLog::wants(&server.config, cost) && !entry.command.has(flag::SKIP_COMMANDLOG) {
            let client = server.clients.get(client);
            server.command_log.add(&server.config, cost, client, entry, args, server.now_ms);
        }
    }

    fn block(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        args: Args<'_>,
        request: BlockRequest,
    ) {
        let database = self.server.clients.get(client).map_or(0, |client| client.database);
        let blocked = Blocked {
            command: entry,
            request: args.to_request(),
            keys: request.keys,
            database,
            deadline_ms: request.deadline_ms,
            timeout_reply: request.timeout_reply,
            wants_deletion: request.wants_deletion,
        };
        self.server.blocked.block(&mut self.server.clients, client, blocked);
    }

    /// Serves clients whose keys were written, until no key is ready.
    pub fn serve_blocked(&mut self) {
        while let Some((database, key, clients)) = self.server.blocked.next_ready() {
            for client in clients {
                self.retry(client, database, &key);
            }
        }
    }

    /// Runs a blocked client's request again.
    fn retry(&mut self, client: ClientKey, database: usize, key: &[u8]) {
        let Some(blocked) = self.server.clients.get(client).and_then(|record| record.blocked.as_deref())
        else {
            return;
        };
        if blocked.database != database || !blocked.keys.iter().any(|waited| waited == key) {
            return;
        }
        // A client that would only wait again keeps its place in the queues.
        if !blocked.wants_deletion {
            let awaited = awaited_type(blocked.command.command.group);
            if awaited.is_none() || self.type_of(database, key) != awaited {
                return;
            }
        }
        let Some(blocked) = self.server.blocked.unblock(&mut self.server.clients, client) else { return };
        let Some(record) = self.server.clients.get_mut(client) else { return };
        let mut reply = std::mem::take(&mut record.output);
        // Monitors saw the request when it began to wait.
        let again = self.invoke(client, blocked.command, None, blocked.request.args(), &mut reply, false);
        if let Some(record) = self.server.clients.get_mut(client) {
            record.output = reply;
        }
        match again {
            // The deadline stays the one of the first attempt.
            Some(_) => self.server.blocked.block(&mut self.server.clients, client, *blocked),
            None => self.server.clients.needs_attention(client),
        }
    }

    fn type_of(&mut self, database: usize, key: &[u8]) -> Option<ValueType> {
        let now_ms = self.server.now_ms;
        let mut keys = Keys { keyspace: &mut self.keyspace, database, now_ms, hint: None, touches: false };
        keys.peek(key).map(|entry| entry.value_type())
    }

    /// Replies to blocked clients whose time is over.
    pub fn expire_blocked(&mut self) {
        let now_ms = self.server.now_ms;
        while let Some(client) = self.server.blocked.next_overdue(&self.server.clients, now_ms) {
            self.unblock_with_timeout(client);
        }
    }

    /// Ends a client's wait as if its time were over.
    pub fn unblock_with_timeout(&mut self, client: ClientKey) {
        self.server.end_wait(client, WaitEnd::Timeout);
    }

    /// Drops the reply of a client that wants none (CLIENT REPLY).
    fn apply_reply_mode(&mut self, client: ClientKey, start: usize, reply: &mut Reply) {
        use super::client::ReplyMode;
        let Some(record) = self.server.clients.get_mut(client) else { return };
        match record.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => reply.truncate(start),
            ReplyMode::Skip => {
                reply.truncate(start);
                record.reply_mode = ReplyMode::On;
            }
            ReplyMode::SkipNext => record.reply_mode = ReplyMode::Skip,
        }
    }
}
