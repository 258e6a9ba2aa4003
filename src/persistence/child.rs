//! The forked child of a background save: what it is given, what it does, and how the parent keeps track of it.
//!
//! The child walks `&Keyspace`, writes the file, moves it into place, and reports over its pipe. All that it must not do is
//! at the head of `sys::fork`. It reports progress at most once a second, and measures what copying on write has cost
//! no more often than its price allows.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::aof;
use super::aof::{CommandOptions, write_commands};
use super::frames::{Decoder, Frame};
use super::save::{Observer, SaveError, SaveOptions, reason, save_file, write_snapshot};
use super::streams::Streams;
use crate::algorithms::slot_set::SlotSet;
use crate::keyspace::{Entry, Keyspace};
use crate::log::{ChildLog, Importance};
use crate::profile::{Census, Figures};
use crate::sys::barrier::Quiet;
use crate::sys::fork::{self, Child, ChildEnd};
use crate::sys::{clock, process};

/// Keys between two looks at the clock.
const CLOCK_KEYS: u64 = 1024;
const PROGRESS_US: u64 = 1_000_000;
/// A measurement of copy-on-write is followed by at least this many times its own duration without one (Valkey:
/// `CHILD_COW_DUTY_CYCLE`).
const COW_DUTY_CYCLE: u64 = 100;

/// Gives the bytes of values that are no longer in the keyspace and not freed yet. Called in the child.
pub type PendingUsage<'a> = &'a dyn Fn() -> usize;

/// What a child is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// It saves a snapshot.
    Snapshot,
    /// It sends a snapshot to replicas.
    Transfer,
    /// It writes the base of an append-only file.
    AofBase {
        /// As a snapshot, not as commands.
        snapshot: bool,
    },
    /// It sends the keys of slots to another node.
    SlotExport,
}

impl ChildKind {
    /// The name in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Snapshot | Self::Transfer => "RDB",
            Self::AofBase { .. } => "AOF rewrite",
            Self::SlotExport => "Slot migration",
        }
    }

    /// The files that a child of this process id leaves behind when it is ended.
    pub(super) fn leftovers(self, pid: u32) -> Vec<PathBuf> {
        match self {
            Self::Snapshot => vec![temporary_path(pid)],
            Self::Transfer | Self::SlotExport => Vec::new(),
            Self::AofBase { .. } => vec![aof::unfinished_base(pid), aof::finished_base(pid)],
        }
    }
}

/// What a background save is to do.
pub(super) struct Job<'a> {
    pub(super) kind: ChildKind,
    pub(super) options: SaveOptions,
    /// Begin a base of commands with a timestamp.
    pub(super) timestamp: bool,
    pub(super) target: &'a Path,
    /// The way to the replicas, if the snapshot goes to them.
    pub(super) streams: Option<&'a Streams>,
    /// The slots whose keys are sent, if they are only some.
    pub(super) slots: Option<&'a SlotSet>,
    pub(super) title: &'a str,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) log: File,
    pub(super) child_log: ChildLog,
    /// Weigh every entry, and at the end this: what waits to be freed.
    pub(super) weigh: Option<PendingUsage<'a>>,
}

/// A running child, as the parent knows it.
#[derive(Debug)]
pub(super) struct RunningChild {
    pub(super) child: Child,
    pub(super) kind: ChildKind,
    pub(super) started_ms: i64,
    /// Changes that were not saved when it started: they are once it succeeds.
    pub(super) changes: u64,
    pub(super) keys_total: u64,
    pub(super) keys_done: u64,
    /// Bytes written to replicas' sockets.
    pub(super) sent_bytes: u64,
    pub(super) cow_bytes: u64,
    pub(super) cow_ms: i64,
    pub(super) peak_cow_bytes: u64,
    pub(super) decoder: Decoder,
    /// The pipe delivered something that does not check out.
    pub(super) damaged: bool,
    /// The last frame has come.
    pub(super) done: bool,
    pub(super) cancelled: bool,
    /// The parent's figures, if this child measures.
    pub(super) figures: Option<Box<Figures>>,
    pub(super) census: Option<Box<Census>>,
}

/// The name of the file a process writes its snapshot to before it is in its place.
pub(super) fn temporary_path(pid: u32) -> PathBuf {
    PathBuf::from(format!("temp-{pid}.rdb"))
}

/// Forks the child of a background save.
///
/// # Errors
/// The system's, when it refuses the fork; nothing is left of the attempt.
pub(super) fn start(still: &Quiet<'_>, keyspace: &Keyspace, job: &Job<'_>) -> io::Result<Child> {
    let keep = job.streams.map(Streams::descriptors).unwrap_or_default();
    let plan = fork::Plan {
        title: job.title,
        oom_score_adj: job.oom_score_adj,
        keep: &keep,
        log: Some(job.log.as_fd()),
    };
    fork::fork(still, &plan, |end| run(keyspace, job, end))
}

/// The child's whole life; its exit code.
fn run(keyspace: &Keyspace, job: &Job<'_>, end: ChildEnd) -> i32 {
    let mut reporter = Reporter::new(end, job);
    if let Err(error) = write(keyspace, job, &mut reporter) {
        reporter.log(Importance::Warning, &error.line);
        return 1;
    }
    if let (Some(census), Some(pending_usage)) = (&mut reporter.census, job.weigh) {
        census.pending_bytes = pending_usage() as u64;
    }
    let reported = reporter.finish();
    if let Some(streams) = job.streams {
        streams.await_leave();
    }
    match reported {
        Ok(()) => 0,
        Err(error) => {
            let line = format!("Child failed reporting info to parent, exiting. {error}");
            reporter.log(Importance::Warning, &line);
            1
        }
    }
}

/// Writes what the child is there for.
fn write(keyspace: &Keyspace, job: &Job<'_>, reporter: &mut Reporter<'_>) -> Result<(), SaveError> {
    let pid = std::process::id();
    match job.kind {
        ChildKind::Snapshot => {
            save_file(keyspace, &job.options, &temporary_path(pid), job.target, reporter)?;
            reporter.log(Importance::Notice, "DB saved on disk");
        }
        ChildKind::Transfer => send(keyspace, job, reporter).map_err(|error| SaveError {
            line: format!("Write error sending DB to replicas: {}", reason(&error)),
        })?,
        ChildKind::SlotExport => send_slots(keyspace, job, reporter).map_err(|error| SaveError {
            line: format!("Write error sending slots to their new node: {}", reason(&error)),
        })?,
        ChildKind::AofBase { snapshot } => {
            let target = aof::finished_base(pid);
            aof::write_base(keyspace, &job.options, snapshot, job.timestamp, &target, reporter)?;
            let line = format!("Successfully created the temporary AOF base file {}", target.display());
            reporter.log(Importance::Notice, &line);
        }
    }
    Ok(())
}

/// Sends a snapshot to replicas.
fn send(keyspace: &Keyspace, job: &Job<'_>, reporter: &mut Reporter<'_>) -> io::Result<()> {
    let Some(streams) = job.streams else { return Ok(()) };
    let sent =
        streams.write(streams.open()?, |sink| write_snapshot(keyspace, &job.options, sink, reporter))?;
    // What goes through a pipe the parent counts as it passes it on.
    let counted = if streams.is_direct() { sent } else { 0 };
    Frame::Sent(counted).send(&mut reporter.end.pipe)
}

/// Sends the keys of slots as commands, and that they are all.
fn send_slots(keyspace: &Keyspace, job: &Job<'_>, reporter: &mut Reporter<'_>) -> io::Result<()> {
    let Some(streams) = job.streams else { return Ok(()) };
    let options = CommandOptions {
        timestamp: None,
        key_delay_us: job.options.key_delay_us,
        slots: job.slots,
        slot_imports: &[],
    };
    let mut sink = write_commands(keyspace, &options, streams.open()?, reporter)?;
    sink.write_all(b"*3\r\n$7\r\nCLUSTER\r\n$9\r\nSYNCSLOTS\r\n$12\r\nSNAPSHOT-EOF\r\n")
}

/// Tells the parent how far the child has come, and weighs the entries if that was asked for.
struct Reporter<'a> {
    end: ChildEnd,
    log: &'a ChildLog,
    name: &'static str,
    census: Option<Census>,
    /// Looks at the clock after every key, because each takes long.
    slow: bool,
    reported_us: u64,
    cow: CowMeter,
}

impl<'a> Reporter<'a> {
    fn new(end: ChildEnd, job: &'a Job<'_>) -> Self {
        Self {
            end,
            log: &job.child_log,
            name: job.kind.name(),
            census: job.weigh.map(|_| Census::default()),
            slow: job.options.key_delay_us > 0,
            reported_us: 0,
            cow: CowMeter::default(),
        }
    }

    fn log(&self, importance: Importance, message: &str) {
        let (pid, now_ms) = (std::process::id(), clock::unix_ms());
        if let Some(line) = self.log.line(pid, now_ms, importance, message) {
            self.end.log(line.as_bytes());
        }
    }

    #[cold]
    fn report(&mut self, keys: u64) -> io::Result<()> {
        let now_us = clock::monotonic_us();
        if self.reported_us != 0 && now_us - self.reported_us < PROGRESS_US {
            return Ok(());
        }
        self.reported_us = now_us;
        if self.cow.is_due(now_us) {
            self.cow.measure(now_us);
            if self.cow.bytes > 0 {
                self.log(Importance::Verbose, &self.cow.line(self.name));
            }
        }
        Frame::Progress { keys, cow_bytes: self.cow.bytes }.send(&mut self.end.pipe)
    }

    /// Sends the census and the last frame.
    fn finish(&mut self) -> io::Result<()> {
        if let Some(census) = self.census {
            Frame::Census(Box::new(census)).send(&mut self.end.pipe)?;
        }
        self.cow.measure(clock::monotonic_us());
        self.log(Importance::Notice, &self.cow.line(self.name));
        let last = Frame::Done { cow_bytes: self.cow.bytes, peak_cow_bytes: self.cow.peak };
        last.send(&mut self.end.pipe)
    }
}

impl Observer for Reporter<'_> {
    #[inline]
    fn on_entry(&mut self, entry: &Entry) {
        if let Some(census) = &mut self.census {
            census.add(entry);
        }
    }

    #[inline]
    fn entry_written(&mut self, keys: u64) -> io::Result<()> {
        if keys % CLOCK_KEYS == 1 || self.slow { self.report(keys) } else { Ok(()) }
    }
}

/// What copying on write has cost so far.
#[derive(Debug, Default)]
struct CowMeter {
    bytes: u64,
    peak: u64,
    sum: u64,
    count: u64,
    measured_us: u64,
    price_us: u64,
}

impl CowMeter {
    fn is_due(&self, now_us: u64) -> bool {
        self.count == 0 || now_us - self.measured_us > self.price_us * COW_DUTY_CYCLE
    }

    fn measure(&mut self, now_us: u64) {
        self.bytes = process::private_dirty_bytes(None).unwrap_or(0);
        self.peak = self.peak.max(self.bytes);
        self.sum += self.bytes;
        self.count += 1;
        self.measured_us = clock::monotonic_us();
        self.price_us = self.measured_us - now_us;
    }

    fn line(&self, name: &str) -> String {
        format!(
            "Fork CoW for {name}: current {} MB, peak {} MB, average {} MB",
            self.bytes >> 20,
            self.peak >> 20,
            (self.sum / self.count.max(1)) >> 20
        )
    }
}
