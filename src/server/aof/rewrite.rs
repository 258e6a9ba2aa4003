//! Rewriting: a child writes a new base while effects go to a new increment; when it is done, both are listed and what
//! they replace is deleted (Valkey: `rewriteAppendOnlyFileBackground`, `backgroundRewriteDoneHandler`).
//!
//! The fork is the instant that parts old from new: what was fed before it is in the old increment, what is fed after it
//! goes to the new one, and is kept in the buffer until that is open and listed. If it cannot be, the old increment is
//! gone on with and the child is ended.

use std::sync::Arc;

use super::helper::{Installed, Outcome, Storage, sync};
use super::{Aof, AofState, Stage};
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::log;
use crate::persistence::aof::{Directory, Manifest, finished_base, unfinished_base};
use crate::persistence::{EndedRewrite, Start};
use crate::server::{Server, Task};
use crate::sys::barrier::Worker;
use crate::sys::clock;
use crate::sys::fork::{ChildExit, Signal};

/// The exit code by which a child says that it was told to go (Valkey: `SERVER_CHILD_NOERROR_RETVAL`).
const NO_ERROR_EXIT: i32 = 255;
/// Failures in a row after which rewrites that nobody asked for wait (Valkey: `AOF_REWRITE_LIMIT_THRESHOLD`).
const FAILURES_BEFORE_LIMIT: u64 = 3;
/// They wait at most so long, in minutes.
const LONGEST_LIMIT_MINUTES: i64 = 60;

/// What is known of rewrites.
#[derive(Debug)]
pub(super) struct Rewrites {
    /// One is to begin as soon as nothing is in its way.
    pub(super) scheduled: bool,
    /// One is under way: from the fork until its base is in its place, or it has failed.
    pub(super) running: bool,
    /// The append-only file begins with it: effects go to a temporary increment.
    pub(super) collecting: bool,
    /// When it began, Unix ms.
    pub(super) started_ms: i64,
    /// Its child has ended while the increment was not open yet.
    ended: Option<EndedRewrite>,
    /// Seconds the last one took; -1 for none.
    pub(super) last_seconds: i64,
    pub(super) last_ok: bool,
    /// Begun since the start, or since CONFIG RESETSTAT.
    pub(super) begun: u64,
    /// Failed in a row.
    pub(super) failures: u64,
    pub(super) last_cow_bytes: u64,
    limit_minutes: i64,
    limit_until_ms: Option<i64>,
}

impl Default for Rewrites {
    fn default() -> Self {
        Self {
            scheduled: false,
            running: false,
            collecting: false,
            started_ms: 0,
            ended: None,
            last_seconds: -1,
            last_ok: true,
            begun: 0,
            failures: 0,
            last_cow_bytes: 0,
            limit_minutes: 0,
            limit_until_ms: None,
        }
    }
}

impl Rewrites {
    fn failed(&mut self) {
        self.last_ok = false;
        self.failures += 1;
    }

    /// Whether rewrites have failed so often that the next one has to wait (Valkey: `aofRewriteLimited`).
    pub(super) fn is_limited(&mut self, now_ms: i64) -> bool {
        if self.failures < FAILURES_BEFORE_LIMIT {
            (self.limit_minutes, self.limit_until_ms) = (0, None);
            return false;
        }
        if let Some(until_ms) = self.limit_until_ms {
            if now_ms < until_ms {
                return true;
            }
            self.limit_until_ms = None;
            return false;
        }
        self.limit_minutes = (self.limit_minutes * 2).clamp(1, LONGEST_LIMIT_MINUTES);
        self.limit_until_ms = Some(now_ms + self.limit_minutes * 60_000);
        tracing::warn!(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
            self.limit_minutes
        );
        true
    }
}

impl Aof {
    /// Schedules a rewrite at a client's word: earlier failures are forgotten.
    pub fn schedule_rewrite(&mut self) {
        self.rewrites.scheduled = true;
        self.rewrites.failures = 0;
    }

    /// Has history deleted, unless `aof-disable-auto-gc` keeps it or the directory is being changed: then later.
    pub(super) fn clean_history(&mut self, kept: bool) {
        if kept {
            return;
        }
        self.cleaning_due = self.is_changing();
        if self.cleaning_due || self.manifest.history.is_empty() {
            return;
        }
        let paths: Vec<_> = std::mem::take(&mut self.manifest.history)
            .into_iter()
            .map(|file| {
                tracing::info!("{}", removal(&file.name));
                self.directory.file(&file.name)
            })
            .collect();
        let (directory, manifest) = (self.directory.clone(), self.manifest.clone());
        self.helper.run(move |worker| {
            paths.iter().for_each(|path| worker.remove(path));
            Outcome::Cleaned(directory.write_manifest(&manifest, &|file| sync(worker, file)))
        });
    }

    /// What is fed is written to a new increment from here on.
    fn go_over_to(&mut self, file: Arc<dyn Storage>, name: &[u8]) {
        tracing::info!("Creating AOF incr file {} on background rewrite", String::from_utf8_lossy(name));
        if let Some(before) = self.file.replace(file) {
            self.helper.close(before);
        }
        self.increment_size = 0;
    }

    /// The temporary increment is of no use: the rewrite that it belonged to is over without success.
    fn drop_temporary_increment(&mut self) {
        let name = self.directory.temporary_increment();
        tracing::info!(
            "Removing the temp incr aof file {} in the background",
            String::from_utf8_lossy(&name)
        );
        self.helper.remove(vec![self.directory.file(&name)]);
        if let Some(file) = self.file.take() {
            self.helper.close(file);
        }
        self.increment_size = 0;
        self.rewrites.collecting = false;
        self.forget_unsynced();
        self.rewrites.scheduled = true;
    }
}

impl Server {
    /// Starts a rewrite; says whether that succeeded. The reason of a failure is in the log.
    pub fn rewrite_aof(&mut self, keyspace: &mut Keyspace) -> bool {
        if self.persistence.has_child() || self.aof.rewrites.running || !matches!(self.aof.stage, Stage::None)
        {
            return false;
        }
        if let Err(line) = self.aof.directory.create() {
            tracing::warn!("{line}");
            self.aof.rewrites.last_ok = false;
            return false;
        }
        // The next effect stands first in a file.
        self.propagation.aof.reset_database();
        self.flush_aof(true);
        if self.aof.state == AofState::On && !self.aof.buffer.is_empty() {
            tracing::warn!("Can't rewrite append only file in background: the present one can't be written");
            self.aof.rewrites.last_ok = false;
            return false;
        }
        self.aof.rewrites.begun += 1;
        if !self.fork_rewrite(keyspace) {
            self.aof.rewrites.last_ok = false;
            return false;
        }
        let now_ms = self.now_ms;
        let replication = self.replication.offset();
        let rewrites = &mut self.aof.rewrites;
        (rewrites.scheduled, rewrites.running, rewrites.started_ms) = (false, true, now_ms);
        match self.aof.state {
            AofState::Off => {}
            AofState::On => {
                self.aof.request_sync(replication, now_ms);
                let mut manifest = self.aof.manifest.clone();
                let name = manifest.begin_increment(self.aof.directory.append_filename());
                self.aof.helper.switch(self.aof.directory.clone(), name, Some(manifest.clone()));
                self.aof.stage = Stage::Switching(Some(manifest));
            }
            AofState::WaitRewrite => {
                self.aof.forget_unsynced();
                self.aof.rewrites.collecting = true;
                self.aof.synced_replication = replication;
                if let Some(Ok(file)) = self.aof.opened.take() {
                    self.aof.go_over_to(file, &self.aof.directory.temporary_increment());
                } else {
                    let name = self.aof.directory.temporary_increment();
                    self.aof.helper.switch(self.aof.directory.clone(), name, None);
                    self.aof.stage = Stage::Switching(None);
                }
            }
        }
        true
    }

    fn fork_rewrite(&mut self, keyspace: &mut Keyspace) -> bool {
        let still = self.background.threads.quiesce();
        let log = match log::descriptor() {
            Ok(log) => log,
            Err(error) => {
                let reason = os_reason(&error);
                tracing::warn!("Can't rewrite append only file in background: log: {reason}");
                return false;
            }
        };
        let start = Start {
            config: &self.config,
            now_ms: clock::unix_ms(),
            log,
            title: self.rewrite_title(),
            oom_score_adj: self.oom_score.of_child(&self.config),
            history: None,
            slot_states: String::new(),
            slot_imports: self.saved_slot_imports(),
            weigh: None,
        };
        let snapshot = self.config.aof_use_rdb_preamble;
        let started = self.persistence.start_rewrite(keyspace, &still, start, snapshot).is_ok();
        drop(still);
        self.note_fork();
        started
    }

    /// Counts the fork of a child that was just started, and has the child watched.
    pub(in crate::server) fn note_fork(&mut self) {
        if let Some(fork_us) = self.persistence.fork_us() {
            self.stats.forks += 1;
            self.stats.last_fork_microseconds = fork_us;
            self.note_latency_of("fork", fork_us);
            self.ask(Task::WatchChild);
        }
    }

    /// What `ps` shows of the child.
    fn rewrite_title(&self) -> &'static str {
        match self.identity.program.rsplit('/').next() {
            Some(name) if name.contains("redis-server") => "redis-aof-rewrite",
            Some(name) if name.contains("valkey-server") => "valkey-aof-rewrite",
            _ => "weighbridge-aof-rewrite",
        }
    }

    /// The new increment is open and listed, or could not be.
    pub(super) fn switched(&mut self, result: Result<Arc<dyn Storage>, String>) {
        let Stage::Switching(manifest) = std::mem::replace(&mut self.aof.stage, Stage::None) else { return };
        let aof = &mut self.aof;
        match result {
            Ok(file) => {
                let name = match &manifest {
                    Some(manifest) => {
                        manifest.increments.last().map(|file| file.name.clone()).unwrap_or_default()
                    }
                    None => aof.directory.temporary_increment(),
                };
                aof.go_over_to(file, &name);
                aof.manifest = manifest.unwrap_or_else(|| std::mem::take(&mut aof.manifest));
                self.settle_stage();
            }
            Err(line) => {
                tracing::warn!("{line}");
                aof.rewrites.last_ok = false;
                self.persistence.kill_rewrite();
                self.settle_stage();
                let Some(ended) = self.aof.rewrites.ended.take() else { return };
                return self.end_rewrite(&ended);
            }
        }
        if let Some(ended) = self.aof.rewrites.ended.take() {
            self.rewrite_ended(ended);
        }
    }

    pub(super) fn settle_stage(&mut self) {
        if self.aof.cleaning_due {
            self.aof.clean_history(self.config.aof_disable_auto_gc);
        }
    }

    /// The child of a rewrite has ended.
    pub fn rewrite_ended(&mut self, ended: EndedRewrite) {
        if matches!(self.aof.stage, Stage::Switching(_)) {
            self.aof.rewrites.ended = Some(ended);
            return;
        }
        self.aof.rewrites.last_cow_bytes = ended.cow_bytes;
        let signal = match ended.exit {
            ChildExit::Exited(0) => return self.install_base(&ended),
            ChildExit::Exited(NO_ERROR_EXIT) => Signal::SIGUSR1 as i32,
            ChildExit::Signalled(signal) => signal,
            ChildExit::Exited(_) => {
                self.aof.rewrites.failed();
                tracing::warn!("Background AOF rewrite terminated with error");
                return self.end_rewrite(&ended);
            }
        };
        // The signal by which this server ends a child on purpose is no failure.
        if signal != Signal::SIGUSR1 as i32 {
            self.aof.rewrites.failed();
        }
        tracing::warn!("Background AOF rewrite terminated by signal {signal}");
        self.end_rewrite(&ended);
    }

    fn install_base(&mut self, ended: &EndedRewrite) {
        tracing::info!("Background AOF rewrite terminated with success");
        let aof = &mut self.aof;
        let mut manifest = aof.manifest.clone();
        let base = manifest.begin_base(aof.directory.append_filename(), ended.snapshot);
        let waiting = aof.state == AofState::WaitRewrite;
        let increment = waiting.then(|| manifest.begin_increment(aof.directory.append_filename()));
        manifest.retire_increments(usize::from(aof.file.is_some()));
        let (directory, new, pid) = (aof.directory.clone(), manifest.clone(), ended.pid);
        let keeps_history = self.config.aof_disable_auto_gc;
        if !keeps_history {
            manifest.history.clear();
        }
        aof.stage = Stage::Installing(manifest);
        aof.rewrites.ended = Some(*ended);
        aof.helper.run(move |worker| {
            let installed = install(worker, &directory, pid, &base, increment.as_deref(), &new);
            Outcome::Installed(installed.map(|mut installed| {
                if !keeps_history {
                    remove_history(worker, &directory, new, &mut installed.lines);
                }
                installed
            }))
        });
    }

    /// The new base is in its place and listed, or could not be.
    pub(super) fn base_installed(&mut self, result: Result<Installed, Vec<String>>) {
        let Stage::Installing(manifest) = std::mem::replace(&mut self.aof.stage, Stage::None) else { return };
        let aof = &mut self.aof;
        match result {
            Ok(Installed { lines, base_bytes }) => {
                lines.iter().for_each(|line| tracing::info!("{line}"));
                aof.manifest = manifest;
                if aof.state != AofState::Off {
                    aof.current_size = base_bytes + aof.increment_size;
                    aof.base_size = aof.current_size;
                }
                (aof.rewrites.last_ok, aof.rewrites.failures) = (true, 0);
                tracing::info!("Background AOF rewrite finished successfully");
                if aof.state == AofState::WaitRewrite {
                    aof.state = AofState::On;
                    aof.rewrites.collecting = false;
                }
                self.settle_stage();
            }
            Err(lines) => {
                lines.iter().for_each(|line| tracing::warn!("{line}"));
                aof.rewrites.failed();
                self.settle_stage();
            }
        }
        if let Some(ended) = self.aof.rewrites.ended.take() {
            self.end_rewrite(&ended);
        }
    }

    /// A rewrite is over, whatever came of it.
    fn end_rewrite(&mut self, ended: &EndedRewrite) {
        let aof = &mut self.aof;
        aof.helper.remove(vec![finished_base(ended.pid), unfinished_base(ended.pid)]);
        aof.rewrites.running = false;
        aof.rewrites.last_seconds = clock::unix_ms() / 1000 - ended.started_ms / 1000;
        if aof.state == AofState::WaitRewrite && aof.rewrites.collecting {
            aof.drop_temporary_increment();
        }
    }

    /// Starts the rewrite that is due, if one is. To be called by the cron.
    pub fn rewrite_aof_when_due(&mut self, keyspace: &mut Keyspace) {
        if self.persistence.has_child() || self.persistence.is_loading() || self.aof.rewrites.running {
            return;
        }
        if self.aof.rewrites.scheduled && !self.aof.rewrites.is_limited(self.now_ms) {
            self.rewrite_aof(keyspace);
            return;
        }
        let (percentage, least) =
            (u64::from(self.config.auto_aof_rewrite_percentage), self.config.auto_aof_rewrite_min_size);
        let size = self.aof.current_size;
        if self.aof.state != AofState::On || percentage == 0 || size <= least {
            return;
        }
        let growth = (size.saturating_mul(100) / self.aof.base_size.max(1)).saturating_sub(100);
        if growth >= percentage && !self.aof.rewrites.is_limited(self.now_ms) {
            tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
            self.rewrite_aof(keyspace);
        }
    }

    /// Has history deleted that may be (`aof-disable-auto-gc no`).
    pub fn clean_aof_history(&mut self) {
        self.aof.clean_history(self.config.aof_disable_auto_gc);
    }
}

/// Gives a base, and the increment that was a temporary one, their names and lists them.
///
/// After a failure the files that the manifest on disk lists are there: the base is only removed if it is not among them.
fn install(
    worker: &Worker,
    directory: &Directory,
    pid: u32,
    base: &[u8],
    increment: Option<&[u8]>,
    manifest: &Manifest,
) -> Result<Installed, Vec<String>> {
    let (temporary, target) = (finished_base(pid), directory.file(base));
    let (from, to) = (temporary.display(), String::from_utf8_lossy(base));
    let mut lines = Vec::new();
    std::fs::rename(&temporary, &target).map_err(|error| {
        let (target, reason) = (target.display(), os_reason(&error));
        vec![format!("Error trying to rename the temporary AOF base file {from} into {target}: {reason}")]
    })?;
    lines.push(format!("Successfully renamed the temporary AOF base file {from} into {to}"));
    let mut made = vec![target.clone()];
    if let Some(increment) = increment {
        let name = directory.temporary_increment();
        let (temporary, target) = (directory.file(&name), directory.file(increment));
        if let Err(error) = std::fs::rename(&temporary, &target) {
            let (from, to, reason) = (temporary.display(), target.display(), os_reason(&error));
            remove_all(worker, &made);
            return Err(vec![format!(
                "Error trying to rename the temporary AOF incr file {from} into {to}: {reason}"
            )]);
        }
        let (from, to) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(increment));
        lines.push(format!("Successfully renamed the temporary AOF incr file {from} into {to}"));
        made.push(target);
    }
    if let Err(line) = directory.write_manifest(manifest, &|file| sync(worker, file)) {
        if !directory.read_manifest().is_ok_and(|on_disk| on_disk == *manifest) {
            remove_all(worker, &made);
        }
        return Err(vec![line]);
    }
    let base_bytes = std::fs::metadata(&target).map_or(0, |metadata| metadata.len());
    Ok(Installed { lines, base_bytes })
}

/// Removes what the new base and increment replace, and lists it no longer.
pub(super) fn remove_history(
    worker: &Worker,
    directory: &Directory,
    mut manifest: Manifest,
    lines: &mut Vec<String>,
) {
    for file in std::mem::take(&mut manifest.history) {
        lines.push(removal(&file.name));
        worker.remove(&directory.file(&file.name));
    }
    // A list that still has them does no harm: history is not loaded.
    lines.extend(directory.write_manifest(&manifest, &|file| sync(worker, file)).err());
}

/// The line that says so.
fn removal(name: &[u8]) -> String {
    format!("Removing the history file {} in the background", String::from_utf8_lossy(name))
}

fn remove_all(worker: &Worker, paths: &[std::path::PathBuf]) {
    paths.iter().for_each(|path| worker.remove(path));
}
