//! What forbids a request: its client, the state of the server, of its data, its disk, its cluster.
//!
//! The order of the checks is Valkey's (`processCommand`), so that a request that is wrong in two ways gets the
//! same error.

use super::Engine;
use super::client::{Client, ClientClass, ClientKey, ReplyMode};
use super::command::{Args, Command, Group, Request, TableEntry, flag};
use crate::persistence::LoadingMode;
use crate::resp::{CommandError, Protocol};

/// What a client's record says to the checks.
#[derive(Clone, Copy)]
struct Standing {
    /// It has logged in, or need not.
    logged_in: bool,
    /// Its requests are history that was made elsewhere.
    obeyed: bool,
    /// Its user may not do everything.
    restricted: bool,
    in_transaction: bool,
    subscribed: bool,
    is_replica: bool,
}

impl Engine {
    /// Whether nothing stands in the way of a client's commands on data, and nobody but itself is to hear of them: then
    /// what [`Self::execute`] looks at for each request need not be looked at again until a command was run that changes
    /// more than data. Memory has to be looked at all the same.
    #[must_use]
    pub fn way_is_clear(&self, client: ClientKey) -> bool {
        let server = &self.server;
        let held_up = server.cluster.is_some()
            || server.replication.is_replica()
            || server.replication.failover_is_under_way()
            || server.pauses.any()
            || server.scripting.is_busy()
            || server.persistence.loading_mode().is_some()
            || server.persistence.refuses_writes(&server.config)
            || server.aof.trouble().is_some()
            || server.lacks_replicas()
            || server.weighs_clients()
            || server.limits_replies()
            || !server.tracking.has_nobody_to_tell();
        let Some(record) = server.clients.get(client).filter(|_| !held_up) else { return false };
        let standing = self.standing(Some(record));
        let is_usual = record.reply_mode == ReplyMode::On && !record.close_now && !record.close_after_reply;
        let Standing { logged_in, obeyed, restricted, in_transaction, subscribed, is_replica } = standing;
        is_usual && logged_in && !(obeyed || restricted || in_transaction || subscribed || is_replica)
    }

    fn standing(&self, record: Option<&Client>) -> Standing {
        let is = |what: fn(&Client) -> bool| record.is_some_and(what);
        Standing {
            logged_in: is(|record| record.authenticated) || self.server.acl.is_open(),
            obeyed: is(Client::is_obeyed),
            restricted: is(|record| record.restricted),
            in_transaction: is(|record| record.transaction.is_some()),
            subscribed: is(|record| record.subscriptions.is_some()),
            is_replica: is(Client::is_replica),
        }
    }

    /// Whether a client has to log in first.
    pub(super) fn is_stranger(&self, client: ClientKey) -> bool {
        !self.standing(self.server.clients.get(client)).logged_in
    }

    /// What forbids a command, whatever it is asked to do.
    pub(super) fn check(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        args: Args<'_>,
        protocol: Protocol,
    ) -> Result<(), CommandError> {
        let command = entry.command;
        let standing = self.standing(self.server.clients.get(client));
        if !command.has(flag::NO_AUTH) && !standing.logged_in {
            return Err(CommandError::NoAuth);
        }
        if command.has(flag::NO_MULTI) && standing.in_transaction {
            return Err(CommandError::NotInTransaction(entry.full_name.as_str().into()));
        }
        if standing.restricted {
            self.server.check_rights(client, entry, args)?;
        }
        let obeyed = standing.obeyed;
        if command.group == Group::Scripting {
            self.server.scripting.check_command(entry, obeyed)?;
            self.server.read_libraries(&mut self.keyspace);
        }
        let flags = self.script_flags(command, args) | self.queued_flags(client, command);
        if self.server.cluster.is_some() && !obeyed {
            self.check_cluster(client, entry, args, flags)?;
        } else if obeyed {
            self.server.begin_slot(self.server.slot_of_obeyed(entry, args));
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
            // Who sends slots is told, and keeps them: this server need not end for it.
            let imports = self.server.clients.get(client).is_some_and(Client::imports_slots);
            self.check_disk(obeyed && !imports, writes)?;
        }
        if writes && !obeyed {
            self.check_replication()?;
        }
        if protocol == Protocol::Resp2
            && standing.subscribed
            && !command.pushes()
            && !matches!(command.name, "ping" | "quit" | "reset")
        {
            return Err(CommandError::NotWhileSubscribed(entry.full_name.as_str().into()));
        }
        self.check_data(client, command, args)?;
        // A replica is exempt from pauses, which it must not use to reach the data.
        let reaches_data = flags & (flag::WRITE | flag::READONLY | flag::MAY_REPLICATE) != 0;
        if reaches_data && standing.is_replica {
            return Err(CommandError::ReplicaKeyspace);
        }
        match self.server.scripting.busy_error(self.server.title()) {
            Some(error) if !command.has(flag::ALLOW_BUSY) => Err(error),
            _ => Ok(()),
        }
    }

    /// What forbids a write that is not the primary's: too few replicas, or this server is one.
    fn check_replication(&self) -> Result<(), CommandError> {
        if self.server.lacks_replicas() {
            return Err(CommandError::NoReplicas);
        }
        if self.server.replication.is_replica() && self.server.config.replica_read_only {
            return Err(CommandError::ReadOnly);
        }
        Ok(())
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

    /// Whether CLIENT PAUSE holds this command back.
    pub(super) fn must_wait(&mut self, client: ClientKey, entry: &TableEntry, args: Args<'_>) -> bool {
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
    pub(super) fn waits_for_failover(&mut self, client: ClientKey, entry: &TableEntry) -> bool {
        let flags = entry.command.flags | self.queued_flags(client, entry.command);
        let waits = self.check_redirection(client, flags).is_err();
        if waits && !self.server.held.contains(&client) {
            self.server.held.push(client);
        }
        waits
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
}
