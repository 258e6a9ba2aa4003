//! Running a script: what is checked before, its slices, its reply, and what follows it.

use super::host::{ScriptHost, slice_end};
use super::{FunctionInfo, Running, ScriptFlags, ScriptName};
use crate::keyspace::Keyspace;
use crate::resp::{CommandError, Reply};
use crate::scripting::library;
use crate::scripting::lua::value::Value;
use crate::scripting::lua::vm::{Outcome, Vm};
use crate::server::call::{Call, observe};
use crate::server::command::{Args, Request, TableEntry, flag};
use crate::server::command_log::CommandCost;
use crate::server::{ClientKey, Context, Engine, Server};
use crate::sys::clock;

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Callable<'a> {
    /// Its SHA-1, or the function's name.
    pub name: &'a [u8],
    /// A script of EVAL.
    pub is_eval: bool,
    /// What it says of itself.
    pub flags: ScriptFlags,
    /// Its place in the registry.
    pub function: usize,
}

impl<'a> Callable<'a> {
    /// A function, by its name.
    #[must_use]
    pub fn of_function(name: &'a [u8], function: &FunctionInfo) -> Self {
        Self { name, is_eval: false, flags: function.flags, function: function.place }
    }
}

impl Context<'_> {
    /// Runs a cached script with keys and arguments.
    ///
    /// # Errors
    /// Why it may not run now; the errors of the script itself are its reply.
    pub fn run_script(
        &mut self,
        name: &ScriptName,
        request: Args<'_>,
        keys: Args<'_>,
        arguments: Args<'_>,
    ) -> Result<(), CommandError> {
        let scripting = &mut self.server.scripting;
        scripting.runs += 1;
        let runs = scripting.runs;
        let Some(script) = scripting.scripts.get_mut(name) else { return Err(CommandError::NoScript) };
        if let Some(used) = &mut script.used {
            *used = runs;
        }
        let callable = Callable { name, is_eval: true, flags: script.flags, function: script.function };
        self.run_callable(callable, request, keys, arguments)
    }

    /// Runs a script or a function.
    ///
    /// # Errors
    /// Why it may not run now.
    pub fn run_callable(
        &mut self,
        callable: Callable<'_>,
        request: Args<'_>,
        keys: Args<'_>,
        arguments: Args<'_>,
    ) -> Result<(), CommandError> {
        let read_only = self.command.command.has(flag::READONLY);
        let obeyed = self.is_obeyed();
        self.server.check_script(callable.flags, read_only, obeyed)?;
        self.propagate_nothing();
        let flags = callable.flags;
        let started_us = clock::monotonic_us();
        let pausable = if self.client().is_some_and(|client| client.hidden) {
            self.server.aof.replays_in_steps()
        } else {
            !obeyed
        };
        let mut running = Running {
            name: callable.name.to_vec(),
            is_eval: callable.is_eval,
            entry: self.command,
            request: request.to_request(),
            client: self.client,
            database: self.keys.database,
            read_only: read_only || flags.no_writes,
            allows_oom: flags.allow_oom,
            allows_cross_slot: flags.undeclared || flags.allow_cross_slot_keys,
            slot: self.server.cluster.as_ref().and_then(|cluster| cluster.running_slot),
            wrote: false,
            resp3: false,
            protocol: self.reply.protocol(),
            killed: false,
            timed_out: false,
            pausable,
            now_ms: self.keys.now_ms,
            now_us: clock::unix_us(),
            started: clock::ticks(),
            slice_ends_us: u64::MAX,
            started_us,
            transaction: None,
        };
        let Some(mut vm) = self.server.scripting.take_vm(callable.is_eval) else {
            return Err(CommandError::NoScript);
        };
        let function = vm.kept(callable.function);
        let (keys, arguments) = (array(&mut vm, keys), array(&mut vm, arguments));
        let passed: &[Value] = if callable.is_eval {
            library::set_script_arguments(&mut vm, keys, arguments);
            &[]
        } else {
            &[keys, arguments]
        };
        let outcome =
            with_host(self.keys.keyspace, self.server, &mut running, |host| vm.start(function, passed, host));
        self.server.scripting.failed = self.server.end_slice(vm, running, outcome, self.reply);
        Ok(())
    }
}

/// An array of strings.
fn array(vm: &mut Vm, words: Args<'_>) -> Value {
    let table = vm.heap.new_table(words.len(), 0);
    for (index, word) in words.iter().enumerate() {
        let word = vm.string(word);
        vm.heap.set(table, Value::Number(index as f64 + 1.0), word);
    }
    Value::Table(table)
}

/// Runs a slice.
fn with_host(
    keyspace: &mut Keyspace,
    server: &mut Server,
    running: &mut Running,
    run: impl FnOnce(&mut ScriptHost<'_>) -> Outcome,
) -> Outcome {
    let request = std::mem::take(&mut server.scripting.request);
    let reply = std::mem::take(&mut server.scripting.reply);
    server.scripting.time_us = running.now_us;
    server.scripting.protocol = running.protocol;
    let mut host = ScriptHost { keyspace, server, running, request, reply };
    let outcome = run(&mut host);
    let ScriptHost { server, mut request, mut reply, .. } = host;
    request.clear();
    request.buffer.shrink_to(KEPT_BYTES);
    reply.clear();
    reply.shrink_to(KEPT_BYTES);
    server.scripting.request = request;
    server.scripting.reply = reply;
    outcome
}

/// What the buffers of scripts' calls keep.
const KEPT_BYTES: usize = 16 * 1024;

impl Server {
    /// What forbids a script to run now, whatever it does.
    fn check_script(&self, flags: ScriptFlags, read_only: bool, obeyed: bool) -> Result<(), CommandError> {
        let text = |text: &str| CommandError::Script(text.as_bytes().into());
        let stale = self.replication.is_replica()
            && !self.primary_link.is_up()
            && !self.config.replica_serve_stale_data;
        if flags.undeclared {
            return if stale { Err(CommandError::MasterDown) } else { Ok(()) };
        }
        if flags.no_cluster && self.cluster.is_some() {
            return Err(text("ERR Can not run script on cluster, 'no-cluster' flag is set."));
        }
        if stale && !flags.allow_stale {
            return Err(text(
                "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag is not set on the script.",
            ));
        }
        if !flags.no_writes {
            if self.replication.is_replica() && self.config.replica_read_only && !obeyed {
                return Err(text("READONLY Can not run script with write flag on readonly replica"));
            }
            if self.persistence.refuses_writes(&self.config) && !obeyed {
                let title = self.title().name();
                return Err(text(&format!(
                    "MISCONF {title} is configured to save RDB snapshots, but it's currently unable to persist to disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts."
                )));
            }
            if read_only {
                return Err(text("ERR Can not execute a script with write flag using *_ro command."));
            }
            if self.lacks_replicas() {
                return Err(CommandError::NoReplicas);
            }
        }
        if self.eviction.out_of_memory && !obeyed && !flags.allow_oom && !flags.no_writes {
            return Err(text(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            ));
        }
        Ok(())
    }

    /// A slice is over: the script is put aside, or its reply is written.
    fn end_slice(&mut self, mut vm: Box<Vm>, running: Running, outcome: Outcome, reply: &mut Reply) -> bool {
        if outcome == Outcome::Paused {
            self.scripting.put_back(vm, running.is_eval);
            self.scripting.aside = Some(Box::new(running));
            return false;
        }
        let failed = self.write_outcome(&vm, &running, outcome, reply);
        vm.rest();
        self.scripting.put_back(vm, running.is_eval);
        if let Some(client) = self.clients.get_mut(running.client) {
            client.database = running.database;
        }
        self.reset_script_targets();
        failed
    }

    /// Writes what became of a script as its reply; says whether it failed.
    fn write_outcome(&mut self, vm: &Vm, running: &Running, outcome: Outcome, reply: &mut Reply) -> bool {
        let mut errors = Vec::new();
        let mut failed = true;
        match outcome {
            Outcome::Finished => {
                let failures = library::write_result(vm, reply, running.resp3, &mut errors);
                failed = failures > 0;
                // Of these, the call itself counts one.
                self.stats.commands[running.entry.id].failed += failures.saturating_sub(1);
            }
            Outcome::Failed => library::write_failure(vm, reply, &mut errors),
            Outcome::Killed | Outcome::Paused => {
                let command = if running.is_eval { "SCRIPT" } else { "FUNCTION" };
                let text = format!("Script killed by user with {command} KILL.");
                tracing::info!("<module> {text}");
                library::write_killed(vm, reply, &format!("ERR {text}"), &mut errors);
            }
        }
        for code in &errors {
            self.stats.count_scripts_error(code);
        }
        failed
    }
}

impl Server {
    /// Counts a script that was put aside, once it has ended.
    fn count_script(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        nanoseconds: u64,
        failed: bool,
        request: &Request,
    ) {
        self.count(client, entry, nanoseconds, failed);
        let cost = CommandCost {
            microseconds: nanoseconds / 1000,
            request_bytes: request.args().request_bytes() as u64,
            reply_bytes: 0,
        };
        observe(self, client, entry, request.args(), cost);
    }
}

impl Engine {
    /// Runs a slice of the script that was put aside; when it ends, what it was part of goes on.
    pub fn continue_script(&mut self) {
        let Some(mut running) = self.server.scripting.aside.take() else { return };
        let Some(mut vm) = self.server.scripting.take_vm(running.is_eval) else { return };
        let now_ms = std::mem::replace(&mut self.server.now_ms, running.now_ms);
        running.slice_ends_us = slice_end();
        let outcome = with_host(&mut self.keyspace, &mut self.server, &mut running, |host| vm.resume(host));
        self.server.now_ms = now_ms;
        let client = running.client;
        let mut reply = match self.server.clients.get_mut(client) {
            Some(record) => std::mem::take(&mut record.output),
            None => Reply::default(),
        };
        let (entry, started) = (running.entry, running.started);
        let request = if outcome == Outcome::Paused {
            Request::default()
        } else {
            std::mem::take(&mut running.request)
        };
        let transaction = if outcome == Outcome::Paused { None } else { running.transaction.take() };
        let failed = self.server.end_slice(vm, *running, outcome, &mut reply);
        if !self.server.scripting.is_busy() {
            let nanoseconds = clock::nanoseconds_between(started, clock::ticks());
            self.server.count_script(client, entry, nanoseconds, failed, &request);
            if let Some(rest) = transaction {
                self.finish_transaction(client, rest, &mut reply);
            }
        }
        if let Some(record) = self.server.clients.get_mut(client) {
            record.output = reply;
        }
        if !self.server.scripting.is_busy() {
            self.after_script(client);
        }
    }

    /// Runs what EXEC has left; another script may be put aside in turn.
    fn finish_transaction(
        &mut self,
        client: ClientKey,
        mut rest: std::vec::IntoIter<(&'static TableEntry, Request)>,
        reply: &mut Reply,
    ) {
        while let Some((entry, request)) = rest.next() {
            let call = Call { client, entry, hint: None, in_transaction: true };
            let exec = self.server.commands.by_own_name(b"exec").unwrap_or(entry);
            call.run_queued(&mut self.keyspace, &mut self.server, request.args(), reply, exec);
            if self.server.scripting.is_busy() {
                return self.server.scripting.suspend_transaction(rest);
            }
        }
    }

    /// What follows a request, once a script that was put aside has ended.
    fn after_script(&mut self, client: ClientKey) {
        if self.server.propagation.is_pending() {
            self.server.end_unit();
            let offset = self.server.replication.offset();
            if let Some(record) = self.server.clients.get_mut(client) {
                record.write_offset = offset;
            }
        }
        self.serve_blocked();
        self.server.publish_events(None);
        if std::mem::take(&mut self.server.scripting.orphaned) {
            self.server.disconnect(client);
        } else {
            self.server.clients.needs_attention(client);
        }
    }
}

impl super::Scripting {
    fn take_vm(&mut self, is_eval: bool) -> Option<Box<Vm>> {
        let mut vm = if is_eval { self.eval.take() } else { self.functions.vm.take() }?;
        vm.random = self.random;
        Some(vm)
    }

    fn put_back(&mut self, vm: Box<Vm>, is_eval: bool) {
        self.random = vm.random;
        self.has_garbage |= vm.has_garbage();
        *(if is_eval { &mut self.eval } else { &mut self.functions.vm }) = Some(vm);
    }

    /// Keeps what EXEC has left until the script that was put aside has ended.
    pub fn suspend_transaction(&mut self, rest: std::vec::IntoIter<(&'static TableEntry, Request)>) {
        if let Some(running) = &mut self.aside {
            running.transaction = Some(rest);
        }
    }
}
