//! From a parsed request to its reply: a command is checked (see `check.rs`), queued or run, and what it did is handed out.

use super::Engine;
use super::blocking::{BlockRequest, Blocked};
use super::call::Call;
use super::client::{ClientKey, ReplyMode};
use super::command::{Args, TableEntry, flag};
use super::cron::STRANGERS_OUTPUT_MAX;
use super::slot_migration::{Direction, SlotLink};
use crate::keyspace::KeyHash;
use crate::memory::MemoryUsage;
use crate::resp::{CommandError, Reply};

/// A request whose command was looked up, and whose first key was hashed, while its batch was prefetched.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'a> {
    /// The command, if there is one that accepts the request.
    pub command: Option<&'static TableEntry>,
    /// The hash of its first key.
    pub hint: Option<&'a KeyHash>,
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
        prepared: Prepared<'_>,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Executed {
        if !self.outlives_client_eviction(client) {
            return Executed::Done;
        }
        let start = reply.len();
        self.server.begin_slot(None);
        let before = self.begin_tracking_of(client);
        let executed = self.run(client, prepared, args, reply);
        if executed == Executed::Done {
            self.server.count_slot_request(args, prepared.command);
        }
        if executed != Executed::Paused {
            self.apply_reply_mode(client, prepared, start, reply);
            self.server.publish_events(Some((client, reply.protocol())));
            if self.server.pubsub.has_own() {
                reply.raw(&self.server.pubsub.take_own());
            }
            self.end_tracking_of(client, before, prepared.command, reply);
            self.server.weigh_client(client, reply.memory_usage());
            if reply.len() > STRANGERS_OUTPUT_MAX {
                self.server.closes_for_replies(client, reply.len());
            }
        } else {
            self.pause_tracking_of(before);
        }
        executed
    }

    fn run(
        &mut self,
        client: ClientKey,
        prepared: Prepared<'_>,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Executed {
        let entry = match prepared.command {
            Some(entry) => entry,
            None => match self.server.commands.find(args) {
                Ok(entry) => entry,
                Err(error) => {
                    let named = self.server.commands.named(args);
                    // A stranger learns nothing about commands but those that anybody may give.
                    let open = named.is_some_and(|entry| entry.command.has(flag::NO_AUTH));
                    let error = if open || !self.is_stranger(client) { error } else { CommandError::NoAuth };
                    self.refuse(client, named, &error, reply);
                    return Executed::Done;
                }
            },
        };
        if self.server.replication.failover_is_under_way() && self.waits_for_failover(client, entry) {
            return Executed::Paused;
        }
        let checked = self.check(client, entry, args, reply.protocol());
        self.tell_of_changes(client, reply);
        if let Err(error) = checked {
            self.refuse(client, Some(entry), &error, reply);
            return Executed::Done;
        }
        if self.must_wait(client, entry, args) {
            return Executed::Paused;
        }
        if self.queue(client, entry, args, reply) {
            return Executed::Done;
        }
        self.carry_out(client, entry, prepared.hint, args, reply)
    }

    /// Runs a command on data ([`Command::is_data`](super::command::Command::is_data)) of a client in whose way nothing
    /// stands ([`Self::way_is_clear`]): as [`Self::execute`] would, without looking at what cannot be the case.
    #[inline]
    pub fn execute_data(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        hint: Option<&KeyHash>,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Executed {
        let limited = self.server.config.maxmemory > 0;
        debug_assert!(limited || self.check(client, entry, args, reply.protocol()).is_ok());
        if limited && !self.makes_room() && entry.command.has(flag::DENYOOM) {
            self.refuse(client, Some(entry), &CommandError::OutOfMemory, reply);
            return Executed::Done;
        }
        let executed = self.carry_out(client, entry, hint, args, reply);
        self.server.publish_events(Some((client, reply.protocol())));
        executed
    }

    /// Runs a command, hands out what it has done, and serves who waited for its keys.
    #[inline]
    fn carry_out(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        hint: Option<&KeyHash>,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Executed {
        let block = self.call(client, entry, hint, args, reply, false);
        if self.server.propagation.is_pending() {
            self.end_unit_of(client, entry);
        }
        let executed = match block {
            Some(request) => {
                self.block(client, entry, args, *request);
                Executed::Blocked
            }
            None if self.server.scripting.is_of(client) => Executed::Blocked,
            None => Executed::Done,
        };
        self.serve_blocked();
        executed
    }

    /// Hands out what a command has done, and notes how far the stream is then: the client may wait for replicas.
    fn end_unit_of(&mut self, client: ClientKey, entry: &TableEntry) {
        if entry.command.has(flag::TOUCHES_ARBITRARY_KEYS) {
            self.server.end_unit_of_independent();
        } else {
            self.server.end_unit();
        }
        let offset = self.server.replication.offset();
        if let Some(record) = self.server.clients.get_mut(client) {
            record.write_offset = offset;
        }
    }

    /// Writes the error of a request that does not run. Inside MULTI it spoils the transaction.
    fn refuse(
        &mut self,
        client: ClientKey,
        entry: Option<&'static TableEntry>,
        error: &CommandError,
        reply: &mut Reply,
    ) {
        let in_exec = entry.is_some_and(|entry| entry.command.name == "exec");
        if let Some(record) = self.server.clients.get_mut(client)
            && let Some(transaction) = &mut record.transaction
        {
            transaction.aborted = true;
        }
        if in_exec {
            self.server.discard_transaction(client);
        }
        if let Some(entry) = entry {
            self.server.stats.commands[entry.id].rejected += 1;
        }
        let abort = (in_exec && !error.is_redirection())
            .then(|| CommandError::ExecAbortBecause(Box::new(error.clone())));
        let error = abort.as_ref().unwrap_or(error);
        self.server.stats.count_error(&error.code());
        error.write(reply);
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
        // What cannot be run any more need not be kept.
        if !transaction.aborted && !record.watch_broken {
            transaction.push(entry, args.to_request());
            if entry.command.name == "select" {
                transaction.select(args.at(1), self.server.config.database_count());
            }
        }
        reply.simple("QUEUED");
        true
    }

    /// Runs a handler, counts it and tells the monitors. What it returns is the wish to block.
    pub fn call(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        hint: Option<&KeyHash>,
        args: Args<'_>,
        reply: &mut Reply,
        in_transaction: bool,
    ) -> Option<Box<BlockRequest>> {
        let call = Call { client, entry, hint, in_transaction };
        call.run(&mut self.keyspace, &mut self.server, args, reply)
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
            request: request.request.unwrap_or_else(|| args.to_request()),
            keys: request.keys,
            database,
            deadline_ms: request.deadline_ms,
            timeout_reply: request.timeout_reply,
            wants_deletion: request.wants_deletion,
        };
        self.server.blocked.block(&mut self.server.clients, client, blocked);
    }

    /// A primary wants no replies, except for acknowledgements that it asked for; an error means that the data differs.
    fn drop_reply_to_primary(
        &mut self,
        client: ClientKey,
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        let is_replconf = prepared.command.is_some_and(|entry| entry.command.name == "replconf");
        if !(is_replconf && written_since(reply, start).starts_with(b"*")) {
            self.drop_reply(client, ["replica", "primary"], prepared, start, reply);
        }
    }

    /// A replica's connection carries the stream: a request that was replied to has no business there, and ends it.
    #[cold]
    fn refuse_reply_to_replica(
        &mut self,
        client: ClientKey,
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        self.drop_reply(client, ["primary", "replica"], prepared, start, reply);
        self.server.disconnect_talking_replica(client, prepared.command);
    }

    /// The ends of a migration of slots reply to nothing but what begins it; an error ends it.
    fn drop_reply_to_slot_link(
        &mut self,
        client: ClientKey,
        link: SlotLink,
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        let (roles, consents) = match link.direction {
            Direction::Import => (["slot-import-target", "slot-import-source"], self.server.consents(link)),
            Direction::Export => (["slot-export-source", "slot-export-target"], false),
        };
        let bytes = written_since(reply, start);
        if bytes.starts_with(b"-") {
            self.server.note_error_to(client, roles, prepared.command, bytes);
            self.server.fail_slot_link(link.job);
        }
        if !consents {
            reply.truncate(start);
        }
    }

    /// Drops a reply between a server and its peer, who are in these roles; an error is told to the log.
    fn drop_reply(
        &mut self,
        client: ClientKey,
        roles: [&str; 2],
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        let bytes = written_since(reply, start);
        if bytes.starts_with(b"-") {
            self.server.note_error_to(client, roles, prepared.command, bytes);
        }
        reply.truncate(start);
    }

    /// Drops the reply of a client that wants none (CLIENT REPLY), unless it is one of pushes.
    fn apply_reply_mode(
        &mut self,
        client: ClientKey,
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        let Some(record) = self.server.clients.get_mut(client) else { return };
        let kept =
            if prepared.command.is_some_and(|entry| entry.command.pushes()) { reply.len() } else { start };
        if record.primary.is_some() {
            return self.drop_reply_to_primary(client, prepared, start, reply);
        }
        if let Some(link) = record.slot_link {
            return self.drop_reply_to_slot_link(client, link, prepared, start, reply);
        }
        if record.is_replica() && reply.len() > start {
            // What begins a synchronization is told by its request's reply.
            if !prepared.command.is_some_and(|entry| matches!(entry.command.name, "sync" | "psync")) {
                self.refuse_reply_to_replica(client, prepared, start, reply);
            }
            return;
        }
        match record.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => reply.truncate(kept),
            ReplyMode::Skip => {
                reply.truncate(kept);
                record.reply_mode = ReplyMode::On;
            }
            ReplyMode::SkipNext => record.reply_mode = ReplyMode::Skip,
        }
    }
}

fn written_since(reply: &Reply, start: usize) -> &[u8] {
    reply.as_slice().get(start..).unwrap_or_default()
}
