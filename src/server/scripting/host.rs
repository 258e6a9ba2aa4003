//! The server as a running script sees it.

use super::Running;
use crate::keyspace::Keyspace;
use crate::resp::{CommandError, Protocol, Reply};
use crate::scripting::host::{CommandRequest, Host, Tick};
use crate::server::Server;
use crate::server::acl::Place;
use crate::server::call::Call;
use crate::server::command::{Args, TableEntry, flag};
use crate::sys::clock;

/// Work between two looks at the clock.
const FUEL: i64 = 10_000;
/// How long a script runs on while others are served in between, in microseconds.
const SLICE_US: u64 = 5_000;

/// What a script's calls reach.
pub(super) struct ScriptHost<'a> {
    pub keyspace: &'a mut Keyspace,
    pub server: &'a mut Server,
    pub running: &'a mut Running,
    pub request: CommandRequest,
    pub reply: Reply,
}

impl ScriptHost<'_> {
    fn slow(&mut self) {
        let running = &mut *self.running;
        let ms = clock::monotonic_us().saturating_sub(running.started_us) / 1000;
        let command = if running.is_eval { "SCRIPT KILL" } else { "FUNCTION KILL" };
        tracing::warn!(
            "Slow script detected: still in execution after {ms} milliseconds. You can try killing the script using the {command} command. Script name is: {}.",
            String::from_utf8_lossy(&running.name)
        );
        running.timed_out = true;
    }

    fn error(&mut self, entry: Option<&TableEntry>, error: &CommandError) {
        if let Some(entry) = entry {
            self.server.stats.commands[entry.id].rejected += 1;
        }
        self.server.stats.count_error(&error.code());
        error.write(&mut self.reply);
    }

    /// The slot of the command that is called.
    fn slot_of_call(&self, entry: &TableEntry) -> Result<Option<u16>, CommandError> {
        if self.is_obeyed() {
            return Ok(None);
        }
        let client = self.running.client;
        let args = Args::new(&self.request.buffer, &self.request.ranges);
        let name = &entry.full_name;
        self.server.check_slot(self.keyspace, client, entry, args, entry.command.flags).map_err(|error| {
            let text = match error {
                CommandError::ClusterDownReads => {
                    format!(
                        "ERR Can not execute a write command '{name}' while the cluster is down and readonly"
                    )
                }
                CommandError::ClusterDown => {
                    format!("ERR Can not execute a command '{name}' while the cluster is down")
                }
                _ => "ERR Attempted to access a non local key in a cluster node".to_owned(),
            };
            CommandError::Script(text.into_bytes().into())
        })
    }

    /// Whether a script may ask for keys of this slot after those it has asked for.
    fn check_slot(&mut self, slot: Option<u16>) -> Result<(), CommandError> {
        let running = &mut *self.running;
        match slot {
            Some(slot) if !running.allows_cross_slot => {
                if *running.slot.get_or_insert(slot) != slot {
                    let text = b"ERR Script attempted to access keys that do not hash to the same slot";
                    return Err(CommandError::Script(text.as_slice().into()));
                }
                // What the script costs is this slot's, even if it was given no key.
                self.server.begin_slot(Some(slot));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The user who runs the script has to have the right to call the command.
    fn check_rights(&mut self, entry: &TableEntry) -> Result<(), CommandError> {
        let args = Args::new(&self.request.buffer, &self.request.ranges);
        let (client, running) = (self.running.client, self.running.entry);
        let Some(denied) = self.server.denied(client, entry, args) else { return Ok(()) };
        let error = self.server.deny(client, denied, (entry, args), Place::Script, running);
        let text = error.text();
        let reason = text.strip_prefix(b"NOPERM ").unwrap_or(&text);
        Err(CommandError::Script([b"ERR ACL failure in script: ", reason].concat().into()))
    }

    /// What forbids a script to call a command.
    fn check(&mut self, entry: &TableEntry) -> Result<(), CommandError> {
        let command = entry.command;
        let text = |text: &str| CommandError::Script(text.as_bytes().into());
        if command.has(flag::NOSCRIPT) && !self.server.debug.allow_denied_in_scripts {
            return Err(text("ERR This Valkey command is not allowed from script"));
        }
        let obeyed = self.is_obeyed();
        let running = &*self.running;
        if command.has(flag::DENYOOM)
            && self.server.eviction.out_of_memory
            && !running.allows_oom
            && !running.wrote
            && !obeyed
        {
            return Err(CommandError::OutOfMemory);
        }
        self.check_rights(entry)?;
        let slot = self.slot_of_call(entry)?;
        if self.running.read_only && (command.has(flag::WRITE) || command.has(flag::MAY_REPLICATE)) {
            return Err(text("ERR Write commands are not allowed from read-only scripts."));
        }
        if command.has(flag::WRITE) && !self.running.wrote {
            self.check_write(obeyed)?;
            self.running.wrote = true;
        }
        let server = &*self.server;
        if server.replication.is_replica()
            && !server.primary_link.is_up()
            && !server.config.replica_serve_stale_data
            && !command.has(flag::STALE)
        {
            return Err(text("ERR Can not execute the command on a stale replica"));
        }
        self.check_slot(slot)
    }

    /// What forbids a script its first write.
    fn check_write(&self, obeyed: bool) -> Result<(), CommandError> {
        let server = &*self.server;
        if server.lacks_replicas() && !obeyed {
            return Err(CommandError::NoReplicas);
        }
        if server.persistence.refuses_writes(&server.config) && !obeyed {
            return Err(CommandError::MisconfSnapshot(server.title()));
        }
        if server.replication.is_replica() && server.config.replica_read_only && !obeyed {
            return Err(CommandError::ReadOnly);
        }
        Ok(())
    }

    fn is_obeyed(&self) -> bool {
        self.server.clients.get(self.running.client).is_some_and(crate::server::Client::is_obeyed)
    }
}

impl Host for ScriptHost<'_> {
    fn tick(&mut self) -> Tick {
        if self.running.killed {
            return Tick::Kill;
        }
        let threshold_ms = self.server.config.busy_reply_threshold;
        let now_us = clock::monotonic_us();
        if self.running.pausable && threshold_ms > 0 {
            let limit_us = u64::try_from(threshold_ms).unwrap_or(0).saturating_mul(1000);
            if !self.running.timed_out && now_us.saturating_sub(self.running.started_us) >= limit_us {
                self.slow();
                return Tick::Pause;
            }
            if self.running.timed_out && now_us >= self.running.slice_ends_us {
                return Tick::Pause;
            }
        }
        Tick::Continue(FUEL)
    }

    fn request(&mut self) -> &mut CommandRequest {
        &mut self.request
    }

    fn run(&mut self) {
        if self.running.allows_cross_slot {
            // It may ask for keys of any slot: what it costs is no slot's.
            self.server.begin_slot(None);
        }
        self.reply.clear();
        self.reply.set_protocol(if self.running.resp3 { Protocol::Resp3 } else { Protocol::Resp2 });
        let args = Args::new(&self.request.buffer, &self.request.ranges);
        let entry = match self.server.commands.find(args) {
            Ok(entry) => entry,
            Err(error) => {
                let named = self.server.commands.named(args);
                let text = |text: &str| CommandError::Script(text.as_bytes().into());
                return match error {
                    CommandError::WrongArity(_) | CommandError::SubcommandSyntax { .. } => {
                        self.error(named, &text("ERR Wrong number of args calling command from script"))
                    }
                    error @ CommandError::UnknownSubcommand { .. } => self.error(None, &error),
                    _ => self.error(None, &text("ERR Unknown command called from script")),
                };
            }
        };
        if let Err(error) = self.check(entry) {
            return self.error(Some(entry), &error);
        }
        let call = Call { client: self.running.client, entry, hint: None, in_transaction: true };
        let args = Args::new(&self.request.buffer, &self.request.ranges);
        self.server.scripting.calls = true;
        // Inside a script nothing waits, so there is no wish to block.
        let _ = call.run(self.keyspace, self.server, args, &mut self.reply);
        self.server.scripting.calls = false;
    }

    fn reply(&self) -> &[u8] {
        self.reply.as_slice()
    }

    fn set_resp3(&mut self, resp3: bool) {
        self.running.resp3 = resp3;
    }

    fn log(&mut self, level: u8, message: &[u8]) {
        write_log(level, message);
    }

    fn may_run(&mut self) -> Option<bool> {
        let args = Args::new(&self.request.buffer, &self.request.ranges);
        // How many arguments it has does not matter.
        let entry = self.server.commands.named(args)?;
        Some(self.server.denied(self.running.client, entry, args).is_none())
    }

    fn set_replication(&mut self, targets: u8) {
        self.server.allow_targets(targets);
    }
}

/// Where a slice that begins now ends.
pub(super) fn slice_end() -> u64 {
    clock::monotonic_us() + SLICE_US
}

/// Writes a line of a script to the log, as of the engine's module, which Valkey cuts at what its buffer holds.
pub(super) fn write_log(level: u8, message: &[u8]) {
    const LONGEST: usize = 1023;
    let line = [b"<lua> ", message].concat();
    let message = String::from_utf8_lossy(line.get(..LONGEST).unwrap_or(&line));
    match level {
        0 => tracing::trace!("{message}"),
        1 => tracing::debug!("{message}"),
        2 => tracing::info!("{message}"),
        _ => tracing::warn!("{message}"),
    }
}
