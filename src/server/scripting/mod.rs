//! Scripts on the server: those that are cached, the functions, and the one that runs.
//!
//! A script runs on the engine thread. Once it has run for `busy-reply-threshold`, it is put aside between slices of its
//! work, so that the event loop serves who may be served meanwhile; all others are told that the server is busy. While
//! it is aside, nothing else touches the data.

mod discarded;
mod flags;
mod functions;
mod host;
mod run;

pub use discarded::Discarded;
pub use flags::ScriptFlags;
pub use functions::{FunctionInfo, Functions, LOAD_MS, Library, RestorePolicy};
pub use run::Callable;

use hashbrown::HashMap;

use super::command::{Args, Command, Group, Request, TableEntry};
use super::{ClientKey, REDIS_VERSION, Server};
use crate::algorithms::hash::FastHasher;
use crate::config::VALKEY_VERSION;
use crate::memory::{MemoryUsage, Mover, usable_size, vec_usage};
use crate::resp::{CommandError, Protocol, Reply};
use crate::scripting::host::{CommandRequest, replication};
use crate::scripting::library::{self, Versions};
use crate::scripting::lua::collector::STEP_UNITS;
use crate::scripting::lua::random::Random;
use crate::scripting::lua::vm::Vm;
use crate::sys::clock;

/// Scripts of EVAL that are kept; those of SCRIPT LOAD are kept for ever (Valkey: `LRU_LIST_LENGTH`).
const CACHED_MAX: usize = 500;

/// Sources that are moved in one step of defragmentation: finding where to go on takes time, too.
const SOURCES_PER_STEP: usize = 512;

/// How often interpreters are asked whether they are idle, in milliseconds.
const IDLE_MS: i64 = 2000;

/// A script's name: its SHA-1 in lower-case digits.
pub type ScriptName = [u8; 40];

/// A cached script.
#[derive(Debug)]
pub struct Script {
    /// Its source.
    pub body: Box<[u8]>,
    flags: ScriptFlags,
    /// Its function, as a place in the interpreter's registry.
    function: usize,
    /// When it was last run, in runs; `None`: it was loaded to stay.
    used: Option<u64>,
}

/// What runs, or was put aside.
#[derive(Debug)]
struct Running {
    /// Its SHA-1, or the function's name.
    name: Vec<u8>,
    is_eval: bool,
    entry: &'static TableEntry,
    request: Request,
    client: ClientKey,
    /// The client's database when it began.
    database: usize,
    read_only: bool,
    allows_oom: bool,
    /// Its keys may be in several slots of a cluster.
    allows_cross_slot: bool,
    /// The slot of the keys it was given, else of the first that it asked for.
    slot: Option<u16>,
    /// It has called a command that writes.
    wrote: bool,
    /// Replies of commands come in RESP3.
    resp3: bool,
    /// What its client speaks.
    protocol: Protocol,
    /// Somebody has asked for its end.
    killed: bool,
    /// It has run for so long that others are served.
    timed_out: bool,
    /// It may be put aside.
    pausable: bool,
    /// The clock of the batch it began in, Unix ms: the only time its commands know.
    now_ms: i64,
    /// The same in µs.
    now_us: i64,
    started: u64,
    /// Where the slice that runs ends, in ticks of the monotonic clock in microseconds.
    slice_ends_us: u64,
    started_us: u64,
    /// What EXEC has yet to run after it.
    transaction: Option<std::vec::IntoIter<(&'static TableEntry, Request)>>,
}

/// All there is of scripts.
#[derive(Debug, Default)]
pub struct Scripting {
    /// The interpreter of EVAL; taken out while it runs.
    eval: Option<Box<Vm>>,
    scripts: HashMap<ScriptName, Script, FastHasher>,
    /// Bytes of their sources.
    sources_bytes: usize,
    /// Those of them that were only run: they may make room for others.
    evictable: Vec<ScriptName>,
    /// The libraries of functions.
    pub functions: Functions,
    runs: u64,
    /// What `math.random` of all of them draws from; a flush does not begin it anew.
    random: Random,
    /// Scripts that made room for others (INFO).
    pub evicted: u64,
    aside: Option<Box<Running>>,
    /// The client of the script that was put aside has gone.
    orphaned: bool,
    off: bool,
    /// An interpreter in which nothing runs has garbage to give back.
    has_garbage: bool,
    /// When interpreters that are idle are looked at next, Unix ms.
    idle_ms: i64,
    /// A script's command runs.
    pub(super) calls: bool,
    /// When the running script began, Unix µs.
    time_us: i64,
    /// What the client of the running script speaks.
    protocol: Protocol,
    /// The script that has just run has failed.
    pub(super) failed: bool,
    request: CommandRequest,
    reply: Reply,
}

/// A new interpreter with all that scripts of EVAL have.
fn new_eval_vm(insecure: bool) -> Box<Vm> {
    let versions = Versions { redis: REDIS_VERSION, valkey: VALKEY_VERSION, name: "valkey" };
    let mut vm = Box::new(Vm::new());
    library::open_for_eval(&mut vm, versions, insecure);
    vm
}

impl Scripting {
    /// Whether an interpreter in which nothing runs is yet to give back what the last run left.
    #[inline]
    #[must_use]
    pub fn has_garbage(&self) -> bool {
        self.has_garbage
    }

    /// Goes on giving it back, for less than a millisecond.
    pub fn collect_garbage(&mut self) {
        if !self.has_garbage || self.is_busy() {
            return;
        }
        let mut interpreters = self.eval.iter_mut().chain(&mut self.functions.vm);
        let next = interpreters.find(|vm| vm.has_garbage());
        self.has_garbage = next.is_some();
        if let Some(vm) = next {
            vm.collect_some(STEP_UNITS);
        }
    }

    /// Has interpreters in which nothing has run for a while look for garbage.
    pub fn tend_idle(&mut self, now_ms: i64) {
        if self.is_busy() || !crate::server::cron::is_due(&mut self.idle_ms, now_ms, IDLE_MS) {
            return;
        }
        for vm in self.eval.iter_mut().chain(&mut self.functions.vm) {
            vm.idle();
            self.has_garbage |= vm.has_garbage();
        }
    }

    /// Whether a script has been put aside, and who else comes is to be told so.
    #[inline]
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.aside.is_some()
    }

    /// The script that was put aside is this client's.
    #[must_use]
    pub fn is_of(&self, client: ClientKey) -> bool {
        self.aside.as_ref().is_some_and(|running| running.client == client)
    }

    /// The script that was put aside was called by this client with this command.
    #[inline]
    #[must_use]
    pub(super) fn is_running(&self, client: ClientKey, entry: &TableEntry) -> bool {
        self.aside.as_ref().is_some_and(|running| running.client == client && running.entry.id == entry.id)
    }

    /// Whether the running command was called by a script.
    #[must_use]
    pub fn is_calling(&self) -> bool {
        self.calls
    }

    /// The time that a script's commands are told, Unix µs; `None` outside of one.
    #[must_use]
    pub fn time_us(&self) -> Option<i64> {
        self.calls.then_some(self.time_us)
    }

    /// What the client of the script speaks that has called the running command; `None` outside of one.
    #[must_use]
    pub fn caller_protocol(&self) -> Option<Protocol> {
        self.calls.then_some(self.protocol)
    }

    /// Whether the process may end now without half of what was to be done at once staying behind: no script that has
    /// written, or that is part of a transaction, was put aside.
    #[must_use]
    pub fn may_be_cut_off(&self) -> bool {
        self.aside.as_ref().is_none_or(|running| !running.wrote && running.transaction.is_none())
    }

    /// The error for who may not run a command now.
    #[must_use]
    pub fn busy_error(&self, title: crate::resp::ServerTitle) -> Option<CommandError> {
        let running = self.aside.as_ref()?;
        Some(if running.is_eval {
            CommandError::BusyScript(title)
        } else {
            CommandError::BusyFunction(title)
        })
    }

    /// The client of the script that was put aside is gone; its record stays until the script has ended. False if there
    /// is no such script.
    pub fn orphan(&mut self, client: ClientKey) -> bool {
        let is_of = self.is_of(client);
        self.orphaned |= is_of;
        is_of
    }

    /// A cached script, its name in letters of any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Script> {
        let mut name = ScriptName::try_from(name).ok()?;
        name.make_ascii_lowercase();
        self.scripts.get(&name)
    }

    /// How many scripts are cached.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.scripts.len()
    }

    /// Bytes of the interpreter of EVAL.
    #[must_use]
    pub fn eval_usage(&self) -> usize {
        self.eval.as_ref().map_or(0, |vm| vm.memory_usage())
    }

    /// Bytes of the cached sources and of what finds them.
    #[must_use]
    pub fn cache_usage(&self) -> usize {
        self.sources_bytes + self.scripts.allocation_size() + vec_usage(&self.evictable)
    }

    /// Bytes of all.
    #[must_use]
    pub fn scripts_usage(&self) -> usize {
        self.eval_usage()
            + self.cache_usage()
            + vec_usage(&self.request.buffer)
            + vec_usage(&self.request.ranges)
            + self.reply.memory_usage()
            + self.aside.as_ref().map_or(0, |running| size_of::<Running>() + running.request.memory_usage())
    }

    /// The flags that a request of EVAL, EVALSHA or FCALL is checked by.
    #[must_use]
    pub fn effective_flags(&self, command: &Command, args: Args<'_>) -> u64 {
        let named = args.at(1);
        let flags = match command.name {
            "eval" | "eval_ro" => match named.starts_with(b"#!") {
                true => flags::parse_shebang(named).ok().map(|(flags, _)| flags),
                false => None,
            },
            "evalsha" | "evalsha_ro" => self.find(named).map(|script| script.flags),
            "fcall" | "fcall_ro" => self.functions.find(named).map(|function| function.flags),
            _ => None,
        };
        flags.map_or(command.flags, |flags| flags.of_command(command.flags))
    }

    /// Compiles and caches a script unless it is known. `stays`: it was loaded, not merely run.
    ///
    /// # Errors
    /// A shebang or a syntax that is wrong.
    pub fn add(&mut self, name: ScriptName, body: &[u8], stays: bool) -> Result<(), CommandError> {
        if let Some(known) = self.scripts.get_mut(&name) {
            if stays && known.used.take().is_some() {
                self.evictable.retain(|other| *other != name);
            }
            return Ok(());
        }
        let (flags, code_starts) = flags::parse_shebang(body)?;
        let insecure = self.functions.insecure;
        let vm = self.eval.get_or_insert_with(|| new_eval_vm(insecure));
        let code = body.get(code_starts..).unwrap_or_default();
        let function = match vm.compile(code, b"@user_script") {
            Ok(function) => vm.keep(function),
            Err(message) => {
                let text = [b"ERR Error compiling script (new function): ", message.as_slice()].concat();
                return Err(CommandError::Script(text.into()));
            }
        };
        let used = (!stays).then(|| {
            self.make_room();
            self.evictable.push(name);
            // Newer than what has run last, even if it is not run now.
            self.runs += 1;
            self.runs
        });
        self.sources_bytes += usable_size(body.len());
        self.scripts.insert(name, Script { body: body.into(), flags, function, used });
        Ok(())
    }

    /// Drops the script of EVAL that was not run for longest, if there are as many as may be.
    fn make_room(&mut self) {
        if self.evictable.len() < CACHED_MAX {
            return;
        }
        let used = |name| self.scripts.get(name).and_then(|script: &Script| script.used);
        let oldest = self.evictable.iter().enumerate().min_by_key(|(_, name)| (used(*name), **name));
        if let Some((place, oldest)) = oldest.map(|(place, name)| (place, *name)) {
            self.evictable.swap_remove(place);
            let Some(script) = self.scripts.remove(&oldest) else { return };
            self.sources_bytes = self.sources_bytes.saturating_sub(usable_size(script.body.len()));
            self.evicted += 1;
            if let Some(vm) = &mut self.eval {
                vm.release(script.function);
            }
        }
    }

    /// Moves the sources of some cached scripts, as [`crate::memory::Relocate`] has it; the cursor counts scripts.
    pub(super) fn relocate_sources(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        let sources = self.scripts.values_mut().map(|script| &mut script.body).skip(cursor);
        let mut moved = 0;
        for source in sources.take(SOURCES_PER_STEP) {
            mover.relocate_bytes(source);
            moved += 1;
        }
        if moved < SOURCES_PER_STEP { 0 } else { cursor + moved }
    }

    /// Forgets every cached script. What they were is handed over, to be freed elsewhere.
    #[must_use]
    pub fn flush(&mut self) -> Discarded {
        let bytes = self.cache_usage() - vec_usage(&self.evictable);
        (self.sources_bytes, self.evictable) = (0, Vec::new());
        Discarded::new(self.eval.take(), std::mem::take(&mut self.scripts), bytes)
    }

    /// Turns scripts and functions off: what is cached goes, and libraries are kept without being run. They are not turned on
    /// again while the server runs.
    pub fn turn_off(&mut self) {
        if !std::mem::replace(&mut self.off, true) {
            drop(self.flush());
            self.functions.run_no_more();
        }
    }

    /// Whether scripts and functions are turned off (`scripting no`).
    #[inline]
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// What forbids a client the commands of scripts and functions. Who is obeyed may go on changing libraries, which are
    /// data: a primary, an append-only file.
    ///
    /// # Errors
    /// They are turned off.
    pub fn check_command(&self, entry: &TableEntry, obeyed: bool) -> Result<(), CommandError> {
        let is_data = obeyed && entry.full_name.starts_with("function|");
        let refused = self.off && entry.command.group == Group::Scripting && !is_data;
        if refused { Err(CommandError::ScriptingOff) } else { Ok(()) }
    }

    /// Whether scripts have the functions that were withdrawn as unsafe (`lua-enable-insecure-api`). A change of it makes
    /// the interpreter anew.
    pub fn set_insecure(&mut self, insecure: bool) {
        if std::mem::replace(&mut self.functions.insecure, insecure) != insecure {
            drop(self.flush());
        }
    }

    /// Asks for the end of the script that runs.
    ///
    /// # Errors
    /// There is none, it has written, or it is of the other kind.
    pub fn kill(&mut self, is_eval: bool, title: crate::resp::ServerTitle) -> Result<(), CommandError> {
        let running = self.aside.as_mut().ok_or(CommandError::NotBusy)?;
        if running.wrote {
            return Err(CommandError::Unkillable);
        }
        if running.is_eval != is_eval {
            return Err(if is_eval {
                CommandError::BusyFunction(title)
            } else {
                CommandError::BusyScript(title)
            });
        }
        running.killed = true;
        Ok(())
    }

    /// The function or script that was put aside: its name, its request and for how many milliseconds it has run.
    #[must_use]
    pub fn running(&self) -> Option<(&[u8], &Request, u64, bool)> {
        let running = self.aside.as_ref()?;
        let ms = clock::monotonic_us().saturating_sub(running.started_us) / 1000;
        Some((&running.name, &running.request, ms, running.is_eval))
    }
}

impl Server {
    /// What scripts' commands reach by default: everybody.
    fn reset_script_targets(&mut self) {
        self.allow_targets(replication::ALL);
    }

    fn allow_targets(&mut self, targets: u8) {
        use super::propagation::Targets;
        if !self.aof.is_replaying() {
            self.propagation.allowed = Targets {
                aof: targets & replication::AOF != 0,
                replicas: targets & replication::REPLICAS != 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_cached_is_counted_as_it_comes_and_goes() {
        let mut scripting = Scripting::default();
        let check = |scripting: &Scripting| {
            let sources = scripting.scripts.values().map(|script| usable_size(script.body.len()));
            assert_eq!(scripting.sources_bytes, sources.sum());
            let evictable = scripting.scripts.values().filter(|script| script.used.is_some()).count();
            assert_eq!(scripting.evictable.len(), evictable);
        };
        let add = |scripting: &mut Scripting, number: usize, stays| {
            let mut name = [b'0'; 40];
            name[..8].copy_from_slice(&number.to_be_bytes());
            let source = format!("return '{}'", "x".repeat(number % 50));
            scripting.add(name, source.as_bytes(), stays).unwrap();
            name
        };
        for number in 0..700 {
            // Every seventh is there to stay, every fifth of these only after it was run.
            let name = add(&mut scripting, number, number % 7 == 0 && number % 5 != 0);
            if number % 35 == 0 {
                assert_eq!(add(&mut scripting, number, true), name);
            }
            check(&scripting);
        }
        assert_eq!((scripting.cached(), scripting.evictable.len(), scripting.evicted), (600, 500, 100));
        let first_kept = scripting.scripts.values().filter_map(|script| script.used).min();
        let newest = scripting.scripts.values().filter_map(|script| script.used).max().unwrap();
        assert!(first_kept.is_some_and(|first| newest - first < 610));
        drop(scripting.flush());
        check(&scripting);
        assert_eq!(scripting.cache_usage(), 0);
    }
}
