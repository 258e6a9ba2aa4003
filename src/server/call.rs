//! One run of a handler: it is given its surroundings, timed and counted, and told to who listens.

use super::acl::Place;
use super::blocking::BlockRequest;
use super::client::ClientKey;
use super::command::{Args, TableEntry, flag};
use super::command_log::{CommandCost, CommandLog};
use super::propagation::OwnRequest;
use super::{Context, Server};
use crate::keyspace::{KeyHash, Keys, Keyspace};
use crate::resp::{CommandError, Reply};
use crate::sys::clock;

/// What is run, and for whom.
pub(super) struct Call<'a> {
    /// Who asked.
    pub client: ClientKey,
    /// The command.
    pub entry: &'static TableEntry,
    /// The hash of its first key, if it is known.
    pub hint: Option<&'a KeyHash>,
    /// Nothing may block.
    pub in_transaction: bool,
}

impl Call<'_> {
    /// Runs the handler, counts it and tells the monitors. What it returns is the wish to block.
    pub(super) fn run(
        self,
        keyspace: &mut Keyspace,
        server: &mut Server,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Option<Box<BlockRequest>> {
        let (client, entry) = (self.client, self.entry);
        let block = self.invoke(keyspace, server, args, reply);
        if !server.monitors.is_empty() {
            let database = server.clients.get(client).map_or(0, |client| client.database);
            let from_script = server.scripting.calls;
            let place = (database, from_script);
            server.monitors.feed(&mut server.clients, client, place, entry, args, reply);
        }
        block
    }

    /// Runs a request that EXEC had been queued with, if the client may still run it. What is denied is shown with `exec`.
    pub(super) fn run_queued(
        self,
        keyspace: &mut Keyspace,
        server: &mut Server,
        args: Args<'_>,
        reply: &mut Reply,
        exec: &'static TableEntry,
    ) {
        if let Some(denied) = server.denied(self.client, self.entry, args) {
            server.deny(self.client, denied, (self.entry, args), Place::Multi, exec);
            let error = CommandError::NoPermExec(denied.reason_in_exec().into());
            server.stats.count_error(&error.code());
            return error.write(reply);
        }
        // Inside a transaction nothing waits, so there is no wish to block.
        let _ = self.run(keyspace, server, args, reply);
    }

    /// The same without the monitors: a blocked client's request that is tried again.
    pub(super) fn invoke(
        self,
        keyspace: &mut Keyspace,
        server: &mut Server,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Option<Box<BlockRequest>> {
        let Self { client, entry, hint, in_transaction } = self;
        let start = reply.len();
        let (database, touches) =
            server.clients.get(client).map_or((0, true), |client| (client.database, !client.no_touch));
        keyspace.expired = server.expired_entries(client, entry);
        keyspace.reports.new_keys = server.wants_new_keys();
        let started = server.ticks;
        let mut context = Context {
            keys: Keys {
                now_ms: server.now_ms,
                keyspace,
                database,
                hint,
                touches: touches || entry.command.name == "touch",
            },
            reply,
            server,
            client,
            command: entry,
            in_transaction,
            block: None,
            own_request: OwnRequest::default(),
        };
        let changes = context.keys.keyspace.counters.changes;
        let outcome = (entry.command.handler)(&mut context, args);
        let block = context.block.take();
        context.settle();
        if context.propagates() {
            // A save inside of the command counts from nothing again.
            let changed = context.keys.keyspace.counters.changes > changes;
            context.propagate_own(args, changed);
        }
        if context.server.replication.is_replica() {
            context.remember_own_expiries(args);
        }
        let Context { server, reply, .. } = context;
        server.ticks = clock::ticks();
        let nanoseconds = clock::nanoseconds_between(started, server.ticks);
        let failed = outcome.is_err() || std::mem::take(&mut server.scripting.failed);
        if let Err(error) = outcome {
            server.stats.count_error(&error.code());
            error.write(reply);
        }
        server.track_reads(client, entry, args);
        if block.is_some() || server.scripting.is_running(client, entry) {
            // A call that blocks, and a script that was put aside, count once they end.
            server.note_command(client, entry);
            return block;
        }
        server.count(client, entry, nanoseconds, failed);
        if !in_transaction {
            let bytes_out = reply.len().saturating_sub(start) as u64;
            server.count_slot_call(client, nanoseconds / 1000, bytes_out);
        }
        let cost = CommandCost {
            microseconds: nanoseconds / 1000,
            // What a script calls was not received from anybody.
            request_bytes: if server.scripting.is_calling() { 0 } else { args.request_bytes() as u64 },
            reply_bytes: reply.len().saturating_sub(start) as u64,
        };
        observe(server, client, entry, args, cost);
        None
    }
}

/// Tells the logs of what cost much.
#[inline]
pub(super) fn observe(
    server: &mut Server,
    client: ClientKey,
    entry: &TableEntry,
    args: Args<'_>,
    cost: CommandCost,
) {
    if server.config.latency_monitor_threshold > 0 {
        let event = if entry.command.has(flag::FAST) { "fast-command" } else { "command" };
        server.note_latency_of(event, cost.microseconds);
    }
    if CommandLog::wants(&server.config, cost) && !entry.command.has(flag::SKIP_COMMANDLOG) {
        let client = server.clients.get(client);
        server.command_log.add(&server.config, cost, client, entry, args, server.now_ms);
    }
}
