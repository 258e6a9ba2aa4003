//! Saving, in the foreground and by a forked child, and what follows when the child ends.
//!
//! Whoever calls this holds the server's state; here is only what saving itself changes. The child may be killed at any
//! instant: until its exit is judged nothing of the parent's state depends on it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::child::{self, ChildKind, Job, PendingUsage, RunningChild, temporary_path};
use super::frames::Frame;
use super::save::{History, NoObserver, SaveError, SaveOptions, SlotImport, reason, save_file};
use super::state::State;
use super::streams::Streams;
use crate::algorithms::slot_set::SlotSet;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::log::ChildLog;
use crate::memory::MemoryUsage;
use crate::profile::{Figures, Profile, Status};
use crate::sys::barrier::Quiet;
use crate::sys::fork::{ChildExit, Signal};
use crate::sys::{files, process};

/// The exit code by which a child says that it was told to go (Valkey: `SERVER_CHILD_NOERROR_RETVAL`).
const NO_ERROR_EXIT: i32 = 255;

/// What a background save needs beside the keyspace.
pub struct Start<'a> {
    /// The options in force.
    pub config: &'a Config,
    /// The instant, Unix ms.
    pub now_ms: i64,
    /// Where the child's lines go.
    pub log: File,
    /// What `ps` shows of the child.
    pub title: &'a str,
    /// The child's `oom_score_adj`; `None` leaves the parent's.
    pub oom_score_adj: Option<i32>,
    /// Where in a replication history the data stands, if it is part of one.
    pub history: Option<History>,
    /// Slots of a cluster that are on their way; empty for none.
    pub slot_states: String,
    /// Slots whose keys are here before the slots are.
    pub slot_imports: Vec<SlotImport>,
    /// The parent's figures at this instant, and what gives the bytes that wait to be freed, if a profile is wanted.
    pub weigh: Option<(Figures, PendingUsage<'a>)>,
}

/// A snapshot that goes to replicas.
#[derive(Debug, Clone, Copy)]
pub struct TransferPlan<'a> {
    /// How it reaches them.
    pub streams: &'a Streams,
    /// The version of the format.
    pub version: u16,
    /// No entries.
    pub without_data: bool,
    /// No function libraries.
    pub without_functions: bool,
}

/// How a child that made a snapshot has ended, for who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSnapshot {
    /// It went to replicas.
    pub to_replicas: bool,
    /// It is whole.
    pub succeeded: bool,
    /// Bytes that the child has written to replicas' sockets itself.
    pub sent_bytes: u64,
}

/// What a child that sends the keys of slots to another node needs.
#[derive(Debug, Clone, Copy)]
pub struct SlotExportPlan<'a> {
    /// The way to the parent.
    pub streams: &'a Streams,
    /// The slots.
    pub slots: &'a SlotSet,
}

/// How a child that sent the keys of slots has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSlotExport {
    /// All keys were written.
    pub succeeded: bool,
    /// What copying on write has cost.
    pub cow_bytes: u64,
}

/// A rewrite of the append-only file whose child has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedRewrite {
    /// The child's process id: the name of its file.
    pub pid: u32,
    /// It wrote a snapshot.
    pub snapshot: bool,
    /// How it ended.
    pub exit: ChildExit,
    /// When it began, Unix ms.
    pub started_ms: i64,
    /// What copying on write has cost.
    pub cow_bytes: u64,
}

/// The descriptors of a child that [`watch`](super::watch) waits on.
#[derive(Debug)]
pub struct WatchedChild {
    pub(super) pipe: OwnedFd,
    pub(super) pidfd: OwnedFd,
}

/// Where what a child writes goes.
#[derive(Debug, Clone, Copy)]
enum Way<'a> {
    File,
    Replicas(TransferPlan<'a>),
    Slots(SlotExportPlan<'a>),
}

impl<'a> Way<'a> {
    fn streams(self) -> Option<&'a Streams> {
        match self {
            Self::File => None,
            Self::Replicas(plan) => Some(plan.streams),
            Self::Slots(plan) => Some(plan.streams),
        }
    }

    fn slots(self) -> Option<&'a SlotSet> {
        match self {
            Self::File | Self::Replicas(_) => None,
            Self::Slots(plan) => Some(plan.slots),
        }
    }
}

impl State {
    /// Saves in the foreground. Gives the replaced file, to be closed where that does not hurt.
    ///
    /// # Errors
    /// Logged; the old file is whole.
    pub fn save(
        &mut self,
        keyspace: &mut Keyspace,
        config: &Config,
        history: Option<History>,
        slot_imports: Vec<SlotImport>,
        now_ms: i64,
    ) -> Result<Option<File>, SaveError> {
        let options =
            SaveOptions { history, slot_imports, ..SaveOptions::new(config, keyspace.access_policy, now_ms) };
        let temporary = temporary_path(process::id());
        let target = config.dbfilename.as_path();
        match save_file(keyspace, &options, &temporary, target, &mut NoObserver) {
            Ok(replaced) => {
                tracing::info!("DB saved on disk");
                keyspace.counters.changes = 0;
                self.last_save = crate::sys::clock::unix_ms() / 1000;
                self.last_save_ok = true;
                Ok(replaced)
            }
            Err(error) => {
                tracing::warn!("{}", error.line);
                Err(error)
            }
        }
    }

    /// Counts a SAVE that a client asked for.
    pub fn count_save(&mut self) {
        self.saves += 1;
    }

    /// Forks a child that saves.
    ///
    /// # Errors
    /// The system refused the fork, which is logged and noted. Nothing else has changed.
    pub fn start_background(
        &mut self,
        keyspace: &mut Keyspace,
        still: &Quiet<'_>,
        start: Start<'_>,
    ) -> io::Result<()> {
        self.saves += 1;
        self.last_try = start.now_ms / 1000;
        let weighs = start.weigh.is_some();
        match self.fork(keyspace, still, start, ChildKind::Snapshot, Way::File) {
            Ok(pid) => {
                tracing::info!("Background saving started by pid {pid}");
                if weighs {
                    self.profiles.begin();
                }
                Ok(())
            }
            Err(error) => {
                self.last_save_ok = false;
                if weighs {
                    self.profiles.give_up(Status::Failed);
                }
                tracing::warn!("Can't save in background: fork: {}", reason(&error));
                Err(error)
            }
        }
    }

    /// Forks a child that writes the base of an append-only file: as a snapshot, or as commands.
    ///
    /// # Errors
    /// The system refused the fork, which is logged. Nothing else has changed.
    pub fn start_rewrite(
        &mut self,
        keyspace: &mut Keyspace,
        still: &Quiet<'_>,
        start: Start<'_>,
        snapshot: bool,
    ) -> io::Result<()> {
        match self.fork(keyspace, still, start, ChildKind::AofBase { snapshot }, Way::File) {
            Ok(pid) => {
                tracing::info!("Background append only file rewriting started by pid {pid}");
                Ok(())
            }
            Err(error) => {
                let reason = reason(&error);
                tracing::warn!("Can't rewrite append only file in background: fork: {reason}");
                Err(error)
            }
        }
    }

    /// Forks a child that sends a snapshot to replicas.
    ///
    /// # Errors
    /// The system refused the fork, which is logged. Nothing else has changed.
    pub fn start_transfer(
        &mut self,
        keyspace: &mut Keyspace,
        still: &Quiet<'_>,
        start: Start<'_>,
        plan: TransferPlan<'_>,
    ) -> io::Result<()> {
        match self.fork(keyspace, still, start, ChildKind::Transfer, Way::Replicas(plan)) {
            Ok(pid) => {
                tracing::info!("Background RDB transfer started by pid {pid} to {}", plan.streams.way());
                Ok(())
            }
            Err(error) => {
                tracing::warn!("Can't save in background: fork: {}", reason(&error));
                Err(error)
            }
        }
    }

    /// Forks a child that sends the keys of slots to another node; gives its process id.
    ///
    /// # Errors
    /// The system refused the fork, which is logged. Nothing else has changed.
    pub fn start_slot_export(
        &mut self,
        keyspace: &mut Keyspace,
        still: &Quiet<'_>,
        start: Start<'_>,
        plan: SlotExportPlan<'_>,
    ) -> io::Result<i32> {
        self.fork(keyspace, still, start, ChildKind::SlotExport, Way::Slots(plan)).inspect_err(|error| {
            let reason = reason(error);
            tracing::warn!("Can't begin slot migration snapshot in background: fork: {reason}");
        })
    }

    /// Forks a child; gives its process id.
    fn fork(
        &mut self,
        keyspace: &mut Keyspace,
        still: &Quiet<'_>,
        start: Start<'_>,
        kind: ChildKind,
        way: Way<'_>,
    ) -> io::Result<i32> {
        let Start { config, now_ms, log, title, oom_score_adj, history, slot_states, slot_imports, weigh } =
            start;
        let mut options = SaveOptions::new(config, keyspace.access_policy, now_ms);
        options.history = history;
        options.slot_states = slot_states;
        options.slot_imports = slot_imports;
        if matches!(kind, ChildKind::AofBase { .. }) {
            options.aof_base = true;
            options.incremental_sync = config.aof_rewrite_incremental_fsync;
        }
        if let Way::Replicas(transfer) = way {
            options.writer.version = transfer.version;
            options.without_data = transfer.without_data;
            options.without_functions = transfer.without_functions;
        }
        let job = Job {
            kind,
            options,
            timestamp: config.aof_timestamp_enabled,
            target: config.dbfilename.as_path(),
            streams: way.streams(),
            slots: way.slots(),
            title,
            oom_score_adj,
            log,
            child_log: ChildLog::new(config),
            weigh: weigh.map(|(_, pending_usage)| pending_usage),
        };
        let child = child::start(still, keyspace, &job)?;
        keyspace.set_child_alive(true);
        let pid = child.pid();
        self.child = Some(RunningChild {
            child,
            kind,
            started_ms: now_ms,
            changes: keyspace.counters.changes,
            keys_total: keyspace.len() as u64,
            keys_done: 0,
            sent_bytes: 0,
            cow_bytes: 0,
            cow_ms: 0,
            peak_cow_bytes: 0,
            decoder: Default::default(),
            damaged: false,
            done: false,
            cancelled: false,
            figures: weigh.map(|(figures, _)| Box::new(figures)),
            census: None,
        });
        Ok(pid)
    }

    /// How long the last fork held the process, in microseconds, while its child runs.
    #[must_use]
    pub fn fork_us(&self) -> Option<u64> {
        self.child.as_ref().map(|running| running.child.fork_us())
    }

    /// The descriptors of the running child, once, for the task that watches it.
    pub fn take_watched(&mut self) -> Option<WatchedChild> {
        let running = self.child.as_mut()?;
        let pidfd = running.child.pidfd().try_clone_to_owned().ok()?;
        Some(WatchedChild { pipe: running.child.take_pipe()?, pidfd })
    }

    /// Takes in what the child's pipe has delivered.
    pub fn receive(&mut self, bytes: &[u8], now_ms: i64) {
        let Some(running) = &mut self.child else { return };
        if running.damaged {
            return;
        }
        running.decoder.feed(bytes);
        loop {
            match running.decoder.next_frame() {
                Ok(Some(frame)) => running.take_in(frame, now_ms),
                Ok(None) => return,
                Err(_) => {
                    running.damaged = true;
                    tracing::warn!(
                        "The background saving child sent a damaged frame, no memory profile will be published"
                    );
                    return;
                }
            }
        }
    }

    /// Judges the child if it has ended; says whether it has. The pipe has to be drained before.
    pub fn finish(&mut self, keyspace: &mut Keyspace, now_ms: i64) -> bool {
        let Some(running) = &mut self.child else { return true };
        let exit = match running.child.try_wait() {
            Ok(None) => return false,
            Ok(Some(exit)) => exit,
            Err(error) => {
                tracing::warn!(
                    "waitpid() returned an error: {}. child_pid = {}",
                    reason(&error),
                    running.child.pid()
                );
                ChildExit::Exited(1)
            }
        };
        let Some(running) = self.child.take() else { return true };
        keyspace.set_child_alive(false);
        if let ChildKind::AofBase { snapshot } = running.kind {
            let RunningChild { child, started_ms, peak_cow_bytes: cow_bytes, .. } = running;
            let pid = child.pid().unsigned_abs();
            self.ended_rewrite = Some(EndedRewrite { pid, snapshot, exit, started_ms, cow_bytes });
            return true;
        }
        if running.kind == ChildKind::SlotExport {
            log_end_of_slot_export(exit);
            let succeeded = exit == ChildExit::Exited(0);
            self.ended_slot_export = Some(EndedSlotExport { succeeded, cow_bytes: running.peak_cow_bytes });
            return true;
        }
        self.last_duration = now_ms / 1000 - running.started_ms / 1000;
        let (to_replicas, succeeded) = (running.kind == ChildKind::Transfer, exit == ChildExit::Exited(0));
        self.ended_snapshot = Some(EndedSnapshot { to_replicas, succeeded, sent_bytes: running.sent_bytes });
        if to_replicas {
            log_end_of_transfer(exit);
        } else {
            self.end_save(&running, keyspace, exit, now_ms);
        }
        self.settle_profile(running, succeeded, now_ms);
        true
    }

    /// How the child that sent the keys of slots ended, once.
    pub fn take_ended_slot_export(&mut self) -> Option<EndedSlotExport> {
        self.ended_slot_export.take()
    }

    /// How the child that made a snapshot ended, once.
    pub fn take_ended_snapshot(&mut self) -> Option<EndedSnapshot> {
        self.ended_snapshot.take()
    }

    fn end_save(&mut self, running: &RunningChild, keyspace: &mut Keyspace, exit: ChildExit, now_ms: i64) {
        match exit {
            ChildExit::Exited(0) => self.succeeded(running, keyspace, now_ms),
            ChildExit::Exited(NO_ERROR_EXIT) => self.terminated(running, Signal::SIGUSR1 as i32),
            ChildExit::Exited(_) => {
                tracing::warn!("Background saving error");
                self.last_save_ok = false;
                self.remove_temporary(running);
            }
            ChildExit::Signalled(signal) => self.terminated(running, signal),
        }
    }

    fn succeeded(&mut self, running: &RunningChild, keyspace: &mut Keyspace, now_ms: i64) {
        tracing::info!("Background saving terminated with success");
        let changes = &mut keyspace.counters.changes;
        *changes = changes.saturating_sub(running.changes);
        self.last_save = now_ms / 1000;
        self.last_save_ok = true;
        self.last_cow_bytes = running.peak_cow_bytes;
    }

    fn terminated(&mut self, running: &RunningChild, signal: i32) {
        tracing::warn!("Background saving terminated by signal {signal}");
        self.remove_temporary(running);
        // The signal by which this server ends a child on purpose is no failure.
        if signal != Signal::SIGUSR1 as i32 {
            self.last_save_ok = false;
        }
    }

    /// Has a helper thread remove what a child has left: giving a large file's space back takes long.
    fn remove_temporary(&self, running: &RunningChild) {
        let Some(remover) = &self.remover else { return remove_temporary(running) };
        remover.remove_later(running.kind.leftovers(running.child.pid().unsigned_abs()));
    }

    fn settle_profile(&mut self, running: RunningChild, succeeded: bool, now_ms: i64) {
        let Some(figures) = running.figures else { return };
        match running.census {
            Some(census) if succeeded && running.done && !running.damaged => {
                let profile = self.profiles.publish(Profile {
                    id: 0,
                    time_ms: running.started_ms,
                    duration_ms: (now_ms - running.started_ms).unsigned_abs(),
                    fork_us: running.child.fork_us(),
                    cow_bytes: running.peak_cow_bytes,
                    census: *census,
                    figures: *figures,
                });
                for line in profile.log_lines() {
                    tracing::info!("{line}");
                }
            }
            _ if running.cancelled => self.profiles.give_up(Status::Cancelled),
            _ => self.profiles.give_up(Status::Failed),
        }
    }

    /// The rewrite whose child has ended, once.
    pub fn take_ended_rewrite(&mut self) -> Option<EndedRewrite> {
        self.ended_rewrite.take()
    }

    /// Ends a child that saves or sends a snapshot: no failure, its file and its profile are dropped. It is judged when it is gone.
    pub fn kill_child(&mut self) {
        if self.is_saving() {
            self.kill("Killing running RDB child");
        }
    }

    /// Ends a child that rewrites the append-only file: no failure. It is judged when it is gone.
    pub fn kill_rewrite(&mut self) {
        if self.is_rewriting() {
            self.kill("Killing running AOF rewrite child");
        }
    }

    /// Ends a child that sends the keys of slots: no failure. It is judged when it is gone.
    pub fn kill_slot_export(&mut self) {
        if self.is_exporting_slots() {
            self.kill("Killing running slot migration child");
        }
    }

    fn kill(&mut self, line: &str) {
        if let Some(running) = &mut self.child {
            tracing::info!("{line}: {}", running.child.pid());
            running.cancelled = true;
            let _ = running.child.kill(Signal::SIGUSR1);
        }
    }

    /// The child has given no sign of life for too long: ends it for good, as a failure.
    pub fn kill_stuck_child(&mut self, silent_seconds: u64) {
        if let Some(running) = &mut self.child {
            tracing::warn!(
                "Background saving child {} made no progress for {silent_seconds} seconds, killing it",
                running.child.pid()
            );
            let _ = running.child.kill(Signal::SIGKILL);
        }
    }

    /// Ends and reaps the child at once: the process is about to exit.
    pub fn abandon_child(&mut self) {
        self.kill_child();
        self.kill_rewrite();
        if self.is_exporting_slots() {
            tracing::warn!("There is a slot migration child. Killing it!");
        }
        if let Some(mut running) = self.child.take() {
            let _ = running.child.kill(Signal::SIGKILL);
            let _ = running.child.wait();
            remove_temporary(&running);
        }
    }
}

impl MemoryUsage for State {
    fn memory_usage(&self) -> usize {
        let running = self.child.as_ref().map_or(0, |running| {
            running.decoder.memory_usage()
                + running.figures.as_ref().map_or(0, |_| crate::memory::box_usage::<Figures>())
        });
        running + self.profiles.memory_usage()
    }
}

impl RunningChild {
    fn take_in(&mut self, frame: Frame, now_ms: i64) {
        match frame {
            Frame::Progress { keys, cow_bytes } => {
                self.keys_done = keys;
                self.note_cow(cow_bytes, now_ms);
            }
            Frame::Census(census) => self.census = Some(census),
            Frame::Sent(bytes) => self.sent_bytes = bytes,
            Frame::Done { cow_bytes, peak_cow_bytes } => {
                self.done = true;
                self.note_cow(cow_bytes.max(peak_cow_bytes), now_ms);
            }
        }
    }

    fn note_cow(&mut self, bytes: u64, now_ms: i64) {
        if bytes > 0 {
            self.cow_bytes = bytes;
            self.cow_ms = now_ms;
            self.peak_cow_bytes = self.peak_cow_bytes.max(bytes);
        }
    }
}

fn log_end_of_transfer(exit: ChildExit) {
    match exit {
        ChildExit::Exited(0) => tracing::info!("Background RDB transfer terminated with success"),
        ChildExit::Exited(_) => tracing::warn!("Background RDB transfer error"),
        ChildExit::Signalled(signal) => {
            tracing::warn!("Background RDB transfer terminated by signal {signal}");
        }
    }
}

fn log_end_of_slot_export(exit: ChildExit) {
    match exit {
        ChildExit::Exited(0) => tracing::info!("Background SLOT MIGRATION transfer terminated with success"),
        ChildExit::Exited(NO_ERROR_EXIT) => {
            let signal = Signal::SIGUSR1 as i32;
            tracing::warn!("Background SLOT MIGRATION transfer terminated by signal {signal}");
        }
        ChildExit::Exited(_) => tracing::warn!("Background SLOT MIGRATION transfer error"),
        ChildExit::Signalled(signal) => {
            tracing::warn!("Background SLOT MIGRATION transfer terminated by signal {signal}");
        }
    }
}

fn remove_temporary(running: &RunningChild) {
    for file in running.kind.leftovers(running.child.pid().unsigned_abs()) {
        let _ = files::remove_if_present(&file);
    }
}

/// Removes the temporary files of children and servers that are gone (`temp-<pid>.rdb`, `temp-rewriteaof-<pid>.aof` and
/// `temp-rewriteaof-bg-<pid>.aof` in the working directory).
pub fn sweep_stale_files(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let base = |name: &str| {
            let name = name.strip_prefix("temp-rewriteaof-")?.strip_suffix(".aof")?;
            Some(name.strip_prefix("bg-").unwrap_or(name).to_owned())
        };
        let snapshot = |name: &str| Some(name.strip_prefix("temp-")?.strip_suffix(".rdb")?.to_owned());
        let pid = name.to_str().and_then(|name| snapshot(name).or_else(|| base(name)));
        let pid = pid.as_deref();
        // Files received from a primary have the time before the process.
        let pid = pid.and_then(|name| name.rsplit('.').next());
        if pid.and_then(|pid| pid.parse::<i32>().ok()).is_some_and(|pid| !process::is_alive(pid)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
