//! From a parsed request to its reply: what is checked before a command runs, and what follows it.
//!
//! The order of the checks is Valkey's (`processCommand`), so that a request that is wrong in two ways gets the
//! same error.

use super::Engine;
use super::blocking::{BlockRequest, Blocked, WaitEnd};
use super::call::Call;
use super::client::{Client, ClientClass, ClientKey};
use super::command::{Args, Command, Group, Request, TableEntry, flag};
use super::cron::STRANGERS_OUTPUT_MAX;
use super::slot_migration::{Direction, SlotLink};
use crate::algorithms::slot::slot_of;
use crate::keyspace::{KeyHash, Keys};
use crate::memory::MemoryUsage;
use crate::persistence::LoadingMode;
use crate::resp::{CommandError, Protocol, Reply};
use crate::sys::clock;
use crate::types::ValueType;

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
        let block = self.call(client, entry, prepared.hint, args, reply, false);
        if self.server.propagation.is_pending() {
            self.end_unit_of(client, entry);
        }
        let executed = match block {
            Some(request) => {
                self.block(client, entry, args, request);
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

    /// Whether a client has to log in first.
    #[inline]
    fn is_stranger(&self, client: ClientKey) -> bool {
        let record = self.server.clients.get(client);
        !record.is_some_and(|record| record.authenticated) && !self.server.acl.is_open()
    }

    /// What forbids a command, whatever it is asked to do.
    fn check(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        args: Args<'_>,
        protocol: Protocol,
    ) -> Result<(), CommandError> {
        let command = entry.command;
        let record = self.server.clients.get(client);
        if !command.has(flag::NO_AUTH) && self.is_stranger(client) {
            return Err(CommandError::NoAuth);
        }
        if command.has(flag::NO_MULTI) && record.is_some_and(|record| record.transaction.is_some()) {
            return Err(CommandError::NotInTransaction(entry.full_name.as_str().into()));
        }
        let obeyed = record.is_some_and(Client::is_obeyed);
        if record.is_some_and(|record| record.restricted) {
            self.server.check_rights(client, entry, args)?;
        }
        if command.group == Group::Scripting {
            self.server.scripting.check_command(entry, obeyed)?;
            self.server.read_libraries(&mut self.keyspace);
        }
        let flags = self.script_flags(command, args) | self.queued_flags(client, command);
        if self.server.cluster.is_some() && !obeyed {
            self.check_cluster(client, entry, args, flags)?;
        }
        if self.server.replication.is_replica() && !obeyed {
            self.check_redirection(client, flags)?;
        }
        self.server.limit_tracking();
        if !self.makes_room() && flags & flag::DENYOOM != 0 {
            self.refuse_for_memory(client, obeyed)?;
        }
        let writes = flags & flag::WRITE != 0;
        // A write would not last; PING is how health is asked for.
        if writes || command.name == "ping" {
            self.check_disk(obeyed, writes)?;
        }
        let record = self.server.clients.get(client);
        if writes && !obeyed {
            if self.server.lacks_replicas() {
                return Err(CommandError::NoReplicas);
            }
            if self.server.replication.is_replica() && self.server.config.replica_read_only {
                return Err(CommandError::ReadOnly);
            }
        }
        if protocol == Protocol::Resp2
            && record.is_some_and(|record| record.subscriptions.is_some())
            && !command.pushes()
            && !matches!(command.name, "ping" | "quit" | "reset")
        {
            return Err(CommandError::NotWhileSubscribed(entry.full_name.as_str().into()));
        }
        self.check_data(client, command, args)?;
        // A replica is exempt from pauses, which it must not use to reach the data.
        let reaches_data = flags & (flag::WRITE | flag::READONLY | flag::MAY_REPLICATE) != 0;
        if reaches_data && self.server.clients.get(client).is_some_and(Client::is_replica) {
            return Err(CommandError::ReplicaKeyspace);
        }
        match self.server.scripting.busy_error(self.server.title()) {
            Some(error) if !command.has(flag::ALLOW_BUSY) => Err(error),
            _ => Ok(()),
        }
    }

    /// What adds data is refused when there is no room, and ends a migration of slots that brings it.
    #[cold]
    fn refuse_for_memory(&mut self, client: ClientKey, obeyed: bool) -> Result<(), CommandError> {
        let link = self.server.clients.get(client).and_then(|record| record.slot_link);
        if let Some(link) = link {
            self.server.fail_import_for_memory(link.job);
        }
        if link.is_some() || !obeyed { Err(CommandError::OutOfMemory) } else { Ok(()) }
    }

    /// What forbids a write or a PING because this server cannot write to its disk. The primary is obeyed all the same,
    /// or this server ends (`replica-ignore-disk-write-errors`).
    #[inline]
    fn check_disk(&mut self, obeyed: bool, writes: bool) -> Result<(), CommandError> {
        let server = &mut self.server;
        let error = if server.persistence.refuses_writes(&server.config) {
            CommandError::MisconfSnapshot(server.title())
        } else if let Some(reason) = server.aof.trouble() {
            CommandError::MisconfAof(reason.into())
        } else {
            return Ok(());
        };
        if !obeyed {
            return Err(error);
        }
        if writes && !server.config.replica_ignore_disk_write_errors {
            tracing::warn!("Replica was unable to write command to disk.");
            std::process::exit(1);
        }
        server.primary_link.note_unwritten(server.now_ms);
        Ok(())
    }

    /// Whether this node of a cluster serves the keys.
    fn check_cluster(
        &mut self,
        client: ClientKey,
        entry: &TableEntry,
        args: Args<'_>,
        flags: u64,
    ) -> Result<(), CommandError> {
        let slot = self.server.check_slot(&self.keyspace, client, entry, args, flags);
        self.server.end_asking(client, entry.command.name);
        self.server.begin_slot(slot?);
        Ok(())
    }

    /// The flags of a command; those of one that runs a script are what the script says of itself.
    #[inline]
    fn script_flags(&self, command: &Command, args: Args<'_>) -> u64 {
        if command.group == Group::Scripting && command.has(flag::MOVABLE_KEYS) {
            self.server.scripting.effective_flags(command, args)
        } else {
            command.flags
        }
    }

    /// What forbids a command because the data is not what it should be: stale, or not there yet.
    fn check_data(&self, client: ClientKey, command: &Command, args: Args<'_>) -> Result<(), CommandError> {
        let server = &self.server;
        if server.replication.is_replica()
            && !server.primary_link.is_up()
            && !server.config.replica_serve_stale_data
            && !self.all_have(client, command, args, flag::STALE)
        {
            return Err(CommandError::MasterDown);
        }
        let refused = match server.persistence.loading_mode() {
            None => false,
            Some(LoadingMode::Exclusive) => !self.all_have(client, command, args, flag::LOADING),
            Some(LoadingMode::Aside) => {
                (command.flags | self.queued_flags(client, command)) & flag::NO_ASYNC_LOADING != 0
            }
        };
        if refused { Err(CommandError::Loading(server.title())) } else { Ok(()) }
    }

    /// Whether a command, and each that EXEC would run, has a flag.
    fn all_have(&self, client: ClientKey, command: &Command, args: Args<'_>, flag: u64) -> bool {
        let transaction = (command.name == "exec")
            .then(|| self.server.clients.get(client)?.transaction.as_deref())
            .flatten();
        let has = |command: &Command, args| self.script_flags(command, args) & flag != 0;
        has(command, args)
            && transaction.is_none_or(|transaction| {
                transaction.queue.iter().all(|(entry, request)| has(entry.command, request.args()))
            })
    }

    /// Sends a client that follows redirections to the primary, unless it only reads and says that it may (READONLY).
    fn check_redirection(&self, client: ClientKey, flags: u64) -> Result<(), CommandError> {
        let reads = flags & flag::READONLY != 0
            && self.server.clients.get(client).is_some_and(|record| !record.readonly);
        if flags & flag::WRITE == 0 && !reads {
            return Ok(());
        }
        self.server.redirection(client).map_or(Ok(()), Err)
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

    /// Whether CLIENT PAUSE holds this command back.
    fn must_wait(&mut self, client: ClientKey, entry: &TableEntry, args: Args<'_>) -> bool {
        if !self.server.pauses.any() {
            return false;
        }
        let Some(pause) = self.server.pauses.in_force(self.server.now_ms) else { return false };
        let flags = self.script_flags(entry.command, args) | self.queued_flags(client, entry.command);
        let affected = !pause.writes_only || flags & (flag::WRITE | flag::MAY_REPLICATE) != 0;
        let record = self.server.clients.get(client);
        // Replicas go on saying how far they are.
        let held = affected
            && !matches!(record.map(Client::class), Some(ClientClass::Replica | ClientClass::SlotExport))
            && !matches!(entry.command.name, "client" | "unpause");
        if held && !self.server.held.contains(&client) {
            self.server.held.push(client);
        }
        held
    }

    /// Whether a client that follows redirections has to wait until it is known to whom: both servers of a failover may be
    /// replicas for a while.
    #[cold]
    fn waits_for_failover(&mut self, client: ClientKey, entry: &TableEntry) -> bool {
        let flags = entry.command.flags | self.queued_flags(client, entry.command);
        let waits = self.check_redirection(client, flags).is_err();
        if waits && !self.server.held.contains(&client) {
            self.server.held.push(client);
        }
        waits
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

    /// The flags of the commands that EXEC would run; none for another command.
    fn queued_flags(&self, client: ClientKey, command: &Command) -> u64 {
        if command.name != "exec" {
            return 0;
        }
        let transaction = self.server.clients.get(client).and_then(|record| record.transaction.as_deref());
        transaction.map_or(0, |transaction| {
            let flags_of = |(entry, request): &(&'static TableEntry, Request)| {
                self.script_flags(entry.command, request.args())
            };
            transaction.queue.iter().map(flags_of).fold(0, |flags, more| flags | more)
        })
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
    ) -> Option<BlockRequest> {
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

    /// Serves clients whose keys were written, until no key is ready; while the append-only file is loaded they go on waiting.
    #[inline]
    pub fn serve_blocked(&mut self) {
        let waits = self.server.scripting.is_busy() || self.server.aof.is_replaying();
        if self.server.blocked.has_ready() && !waits {
            self.serve_ready();
        }
    }

    fn serve_ready(&mut self) {
        while let Some((database, key, clients)) = self.server.blocked.next_ready() {
            // The command that wrote the key may have taken long: it may have expired since.
            self.server.now_ms = self.server.now_ms.max(clock::unix_ms());
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
            let awaited = blocked.awaited_type();
            if awaited.is_none() || self.type_of(database, key) != awaited {
                return;
            }
        }
        let Some(blocked) = self.server.blocked.unblock(&mut self.server.clients, client) else { return };
        let rights = self.server.check_rights(client, blocked.command, blocked.request.args());
        let Some(record) = self.server.clients.get_mut(client) else { return };
        if let Err(error) = rights {
            error.write(&mut record.output);
            self.server.stats.commands[blocked.command.id].rejected += 1;
            self.server.stats.count_error(&error.code());
            return self.server.clients.needs_attention(client);
        }
        let mut reply = std::mem::take(&mut record.output);
        self.server.ticks = clock::ticks();
        // Monitors saw the request when it began to wait.
        if self.server.cluster.is_some() {
            self.server.begin_slot(Some(slot_of(key)));
        }
        let call = Call { client, entry: blocked.command, hint: None, in_transaction: false };
        let before = self.begin_tracking_of(client);
        let again = call.invoke(&mut self.keyspace, &mut self.server, blocked.request.args(), &mut reply);
        self.server.end_unit();
        self.end_tracking_of(client, before, Some(blocked.command), &mut reply);
        if let Some(record) = self.server.clients.get_mut(client) {
            record.output = reply;
        }
        match again {
            // The deadline stays the one of the first attempt.
            Some(_) => self.server.blocked.block(&mut self.server.clients, client, *blocked),
            None => {
                self.server.count_slot_wait(&blocked.request);
                self.server.clients.needs_attention(client);
            }
        }
    }

    /// The type of what is under a key and has not expired. An expired entry stays: it goes, and is told to have gone,
    /// when a command comes across it.
    fn type_of(&mut self, database: usize, key: &[u8]) -> Option<ValueType> {
        let now_ms = self.server.now_ms;
        let keys = Keys { keyspace: &mut self.keyspace, database, now_ms, hint: None, touches: false };
        keys.raw(key).filter(|entry| !entry.is_expired(now_ms)).map(|entry| entry.value_type())
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

    /// A primary wants no replies, except for acknowledgements that it asked for; an error means that the data differs.
    fn drop_reply_to_primary(
        &mut self,
        client: ClientKey,
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        let bytes = reply.as_slice().get(start..).unwrap_or_default();
        if prepared.command.is_some_and(|entry| entry.command.name == "replconf") && bytes.starts_with(b"*") {
            return;
        }
        if bytes.starts_with(b"-") {
            self.server.note_error_to(client, ["replica", "primary"], prepared.command, bytes);
        }
        reply.truncate(start);
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
        let bytes = reply.as_slice().get(start..).unwrap_or_default();
        let (roles, consents) = match link.direction {
            Direction::Import => (["slot-import-target", "slot-import-source"], self.server.consents(link)),
            Direction::Export => (["slot-export-source", "slot-export-target"], false),
        };
        if bytes.starts_with(b"-") {
            self.server.note_error_to(client, roles, prepared.command, bytes);
            self.server.fail_slot_link(link.job);
        }
        if !consents {
            reply.truncate(start);
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
        let bytes = reply.as_slice().get(start..).unwrap_or_default();
        if bytes.starts_with(b"-") {
            self.server.note_error_to(client, ["primary", "replica"], prepared.command, bytes);
        }
        reply.truncate(start);
        self.server.disconnect_talking_replica(client, prepared.command);
    }

    /// Drops the reply of a client that wants none (CLIENT REPLY), unless it is one of pushes.
    fn apply_reply_mode(
        &mut self,
        client: ClientKey,
        prepared: Prepared<'_>,
        start: usize,
        reply: &mut Reply,
    ) {
        use super::client::ReplyMode;
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
