//! Loading the append-only file: its requests are run for a client of the server's own, which no list shows.
//!
//! What forbids a command to clients does not apply: what is in the file has happened. Nothing is told to anybody,
//! and nobody waits; an error that a command replies is logged, since it means that the data are not what they were.
//! Loading goes by steps between which the event loop turns; a script of the file that is slow is put aside like any
//! other, and the executor runs its slices meanwhile.

use super::{AofState, Replaying};
use crate::keyspace::Keyspace;
use crate::persistence::LoadOptions;
use crate::persistence::aof::{AofLoader, Step};
use crate::resp::{CommandError, Protocol, Reply};
use crate::server::Server;
use crate::server::acl::Login;
use crate::server::call::Call;
use crate::server::client::{Client, ClientKey};
use crate::server::command::{Args, TableEntry};
use crate::server::propagation::Targets;
use crate::server::waiter::Waiter;
use crate::sys::clock;

/// Requests between two looks at the event loop (Valkey has the same).
const REQUESTS_AT_ONCE: usize = 1024;

/// Why the append-only file was not loaded, as lines for the log.
type Lines = Vec<String>;

/// A loading under way.
#[derive(Debug)]
pub struct Replay {
    loader: AofLoader,
    client: ClientKey,
    /// What it ran last.
    last: Option<&'static TableEntry>,
    reply: Reply,
    key_delay_us: i32,
}

/// A loading that DEBUG LOADAOF has asked for.
#[derive(Debug)]
pub struct Reload {
    /// What loads.
    pub replay: Replay,
    /// Who waits for its end.
    pub waiter: Option<Waiter>,
}

impl Replay {
    /// Reads the manifest, takes in an old single file, and prepares the loading; `None` when there is nothing to load.
    /// `in_steps`: the event loop turns between its steps, so that a slow script may be put aside.
    ///
    /// # Errors
    /// The lines for the log.
    pub fn begin(keyspace: &Keyspace, server: &mut Server, in_steps: bool) -> Result<Option<Self>, Lines> {
        server.aof.manifest = server.aof.directory.read_manifest().map_err(|failure| failure.lines())?;
        server.aof.directory.take_in_old_file(&mut server.aof.manifest).map_err(|line| vec![line])?;
        if server.aof.manifest.is_empty() {
            return Ok(None);
        }
        let config = &server.config;
        let mut options = LoadOptions::new(config, server.limits, keyspace.access_policy);
        let key_delay_us = options.key_delay_us;
        options.checksum &= !server.debug.skip_checksums;
        let directory = server.aof.directory.clone();
        let loader = AofLoader::new(directory, &server.aof.manifest, options, config.aof_load_truncated)
            .map_err(|error| error.0)?;
        let now_ms = clock::unix_ms();
        server.persistence.begin_loading_bytes(loader.total_bytes(), now_ms);
        server.propagation.allowed = Targets::NONE;
        server.aof.replaying = Some(if in_steps { Replaying::InSteps } else { Replaying::AtOnce });
        let client = server.clients.add_hidden(now_ms);
        Ok(Some(Self { loader, client, last: None, reply: Reply::new(Protocol::Resp2), key_delay_us }))
    }

    /// Loads a piece: about `bytes` of a snapshot, or some requests; nothing while a script that was put aside runs.
    /// `true`: everything is loaded.
    ///
    /// # Errors
    /// The lines for the log. The keyspace holds what was read before.
    pub fn step(&mut self, keyspace: &mut Keyspace, server: &mut Server, bytes: u64) -> Result<bool, Lines> {
        if server.scripting.is_busy() {
            return Ok(false);
        }
        self.take_late_reply(server);
        server.now_ms = clock::unix_ms();
        for _ in 0..REQUESTS_AT_ONCE {
            match self.loader.advance(keyspace, server.now_ms, bytes).map_err(|error| error.0)? {
                Step::FileBegins => {
                    server.disconnect(self.client);
                    self.client = server.clients.add_hidden(server.now_ms);
                }
                Step::Piece => {
                    let imports = self.loader.take_slot_imports();
                    server.adopt_slot_imports(keyspace, &imports);
                    break;
                }
                Step::End => {
                    self.note(server);
                    return Ok(true);
                }
                Step::Request { bytes, args } => {
                    let args = Args::new(bytes, args);
                    let ran = run(keyspace, server, self.client, args, &mut self.reply);
                    self.last = ran.map_err(|reason| self.loader.refused(&reason).0)?;
                    if self.key_delay_us != 0 {
                        crate::persistence::delay(self.key_delay_us);
                    }
                    if server.scripting.is_busy() {
                        break;
                    }
                }
            }
        }
        self.note(server);
        Ok(false)
    }

    /// Looks at what a script has replied that was put aside.
    fn take_late_reply(&self, server: &mut Server) {
        let Some(record) = server.clients.get_mut(self.client) else { return };
        if let (false, Some(entry)) = (record.output.is_empty(), self.last) {
            tell_of_error(record.output.as_slice(), entry);
            record.output.clear();
        }
    }

    fn note(&self, server: &mut Server) {
        server.persistence.note_loaded_bytes(self.loader.loaded_bytes(), self.loader.snapshot_counts());
    }

    /// Ends the loading, whatever came of it.
    pub fn end(self, server: &mut Server) {
        server.disconnect(self.client);
        server.aof.replaying = None;
        server.propagation.allowed = Targets::ALL;
        server.persistence.end_loading();
        server.aof.current_size = self.loader.total_bytes();
        server.aof.base_size = self.loader.base_bytes();
        // A tail that was cut off was cut off the file that is written, too (DEBUG LOADAOF).
        if let (true, Some(last)) = (server.aof.file.is_some(), server.aof.manifest.increments.last()) {
            server.aof.increment_size = server.aof.directory.size(&last.name).unwrap_or(0);
        }
    }

    /// Loads everything without giving way. It was not begun to be loaded in steps.
    ///
    /// # Errors
    /// The lines for the log. The keyspace holds what was read before.
    pub fn run_at_once(mut self, keyspace: &mut Keyspace, server: &mut Server) -> Result<(), Lines> {
        let outcome = loop {
            match self.step(keyspace, server, u64::MAX) {
                Ok(false) => server.defragment_while_blocked(keyspace),
                Ok(true) => break Ok(()),
                Err(lines) => break Err(lines),
            }
        };
        self.end(server);
        outcome
    }
}

impl Reload {
    /// Ends the loading, with the lines for the log if it has failed, and replies to who waits for it.
    pub fn end(self, keyspace: &mut Keyspace, server: &mut Server, outcome: Result<(), Lines>) {
        self.replay.end(server);
        let outcome = server.note_reload(keyspace, outcome);
        if let Some(waiter) = self.waiter {
            server.answer(waiter, "debug", outcome);
        }
    }
}

/// Runs a request of the file, or queues it inside MULTI.
///
/// Gives its command if it has run.
///
/// # Errors
/// Why there is no such command.
fn run(
    keyspace: &mut Keyspace,
    server: &mut Server,
    client: ClientKey,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<Option<&'static TableEntry>, String> {
    let entry = server.commands.find(args).map_err(|error| error.to_string())?;
    // To leave out what a script has done would be to lose data.
    server.scripting.check_command(entry, true).map_err(|error| error.to_string())?;
    let Some(record) = server.clients.get_mut(client) else { return Ok(None) };
    if let Some(transaction) = &mut record.transaction
        && !matches!(entry.command.name, "exec" | "discard" | "multi")
    {
        transaction.queue.push((entry, args.to_request()));
        return Ok(None);
    }
    let call = Call { client, entry, hint: None, in_transaction: false };
    // Nothing waits while loading: a wish to block is not granted.
    let _ = call.invoke(keyspace, server, args, reply);
    tell_of_error(reply.as_slice(), entry);
    reply.truncate(0);
    Ok(Some(entry))
}

/// Logs a reply that is an error.
fn tell_of_error(reply: &[u8], entry: &TableEntry) {
    if reply.first() == Some(&b'-') {
        let error = String::from_utf8_lossy(reply).trim_end().to_owned();
        tracing::warn!(
            "== CRITICAL == This server is sending an error to its AOF-loading-client: '{error}' after processing the \
             command '{}'",
            entry.full_name
        );
    }
}

impl Server {
    /// The append-only file is what the data set is loaded from: it is on from the start, though not open yet.
    pub fn expect_aof(&mut self) {
        self.aof.state = AofState::On;
    }

    /// What DEBUG LOADAOF leaves behind, and its reply.
    ///
    /// # Errors
    /// It has failed, with these lines for the log.
    pub fn note_reload(
        &mut self,
        keyspace: &mut Keyspace,
        outcome: Result<(), Lines>,
    ) -> Result<(), CommandError> {
        self.clean_aof_history();
        outcome.map_err(|lines| {
            lines.iter().for_each(|line| tracing::warn!("{line}"));
            CommandError::custom("ERR Error trying to load the AOF files, check server logs.")
        })?;
        // What was loaded is not new to anybody.
        keyspace.counters.changes = 0;
        tracing::info!("Append Only File loaded by DEBUG LOADAOF");
        Ok(())
    }
}

impl Client {
    /// The client that loading an append-only file runs its requests for.
    pub(in crate::server) fn of_aof(key: ClientKey, now_ms: i64) -> Self {
        let login = Login::Superuser;
        Self { hidden: true, authenticated: true, login, ..Self::new(key, u64::MAX, now_ms) }
    }
}
