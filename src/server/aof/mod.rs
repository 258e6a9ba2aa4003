//! The append-only file as the server keeps it: effects are fed to a buffer, which is written to the last increment once a
//! turn, and synced by a helper thread as `appendfsync` says.
//!
//! With `always` the replies of a turn wait until what was fed before them is synced; nobody else waits. Offsets count
//! bytes since the process began: `synced <= written <= fed`. The manifest in memory is the one on disk; while the
//! helper thread changes the one on disk (`stage`), the buffer is kept, and nothing else changes it.

mod adopt;
mod change;
mod clients;
mod flush;
mod helper;
mod info;
mod load;
mod rewrite;
mod switch;
#[cfg(test)]
mod tests;

pub use change::{PendingChange, Preparation};
pub use clients::Gate;
pub use helper::Storage;
pub use load::{Reload, Replay};

use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

use super::client::ClientKey;
use crate::config::{AppendFsync, Config};
use crate::memory::{MemoryUsage, usable_size, vec_usage};
use crate::persistence::aof::{Directory, Manifest, annotation};
use crate::sys::barrier::{HelperThreads, JobQueue};
use adopt::Adoption;
use helper::{Helper, Mark};
use rewrite::Rewrites;

/// Whether there is an append-only file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofState {
    /// There is none.
    Off,
    /// Effects are written to it.
    On,
    /// It was turned on and begins with the rewrite that is under way or due, or with a snapshot that was received.
    WaitRewrite,
}

/// What the helper thread is doing to the directory.
#[derive(Debug)]
enum Stage {
    /// Nothing.
    None,
    /// It opens a new increment. With it goes the manifest that lists it; `None`: the increment is a temporary one.
    Switching(Option<Manifest>),
    /// It installs a new base, which this manifest lists.
    Installing(Manifest),
    /// It lists a snapshot as the base.
    Adopting(Adoption),
}

/// How requests of the append-only file are run, while they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaying {
    /// All in one go.
    AtOnce,
    /// In steps between which the event loop turns; a slow script is put aside.
    InSteps,
}

/// Errors of writing and syncing.
#[derive(Debug, Default)]
struct Trouble {
    /// Why the last write failed.
    write: Option<String>,
    /// Why the last sync failed.
    sync: Option<String>,
    /// When a failed write was last logged, Unix ms.
    logged_ms: Option<i64>,
}

/// The append-only file.
#[derive(Debug)]
pub struct Aof {
    state: AofState,
    directory: Directory,
    manifest: Manifest,
    helper: Helper,
    stage: Stage,
    replaying: Option<Replaying>,
    /// History is to be deleted once the stage is over.
    cleaning_due: bool,
    file: Option<Arc<dyn Storage>>,
    /// The increment that it can be turned on with, or why that could not be opened.
    opened: Option<Result<Arc<dyn Storage>, String>>,
    /// A task is to turn it on again, or does so.
    is_resuming: bool,
    buffer: Vec<u8>,
    fed: u64,
    written: u64,
    synced: u64,
    /// The last sync that was asked for.
    marked: u64,
    /// The replication offset up to which everything is synced.
    synced_replication: i64,
    /// Bytes of the files that a start would load.
    current_size: u64,
    /// What they were after the last rewrite.
    base_size: u64,
    /// Bytes of the increment that is written.
    increment_size: u64,
    last_sync_ms: i64,
    /// Since when a write has waited for a sync, Unix ms.
    postponed_ms: Option<i64>,
    /// When a write that failed was last tried, Unix ms.
    tried_ms: i64,
    delayed_syncs: u64,
    trouble: Trouble,
    /// The second of the last timestamp, Unix s.
    timestamp: i64,
    rewrites: Rewrites,
    /// Clients with replies that wait for a sync.
    held: Vec<ClientKey>,
    /// What was synced when they were looked at last.
    held_seen: u64,
    /// DEBUG AOF-FLUSH-SLEEP: microseconds to wait before each write.
    pub flush_sleep_us: u64,
}

impl Aof {
    /// An append-only file that is off, and its helper thread.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn new(config: &Config, threads: &mut HelperThreads) -> io::Result<Self> {
        Ok(Self {
            state: AofState::Off,
            directory: Directory::new(config),
            manifest: Manifest::default(),
            helper: Helper::start(threads, Arc::new(Notify::new()))?,
            stage: Stage::None,
            replaying: None,
            cleaning_due: false,
            file: None,
            opened: None,
            is_resuming: false,
            buffer: Vec::new(),
            fed: 0,
            written: 0,
            synced: 0,
            marked: 0,
            synced_replication: -1,
            current_size: 0,
            base_size: 0,
            increment_size: 0,
            last_sync_ms: 0,
            postponed_ms: None,
            tried_ms: 0,
            delayed_syncs: 0,
            trouble: Trouble::default(),
            timestamp: 0,
            rewrites: Rewrites::default(),
            held: Vec::new(),
            held_seen: 0,
            flush_sleep_us: 0,
        })
    }

    /// The thread that syncs: other files, too, are made to last there.
    #[must_use]
    pub fn queue(&self) -> JobQueue {
        self.helper.queue()
    }

    /// What wakes the event loop when the helper thread has done something.
    #[must_use]
    pub fn wake(&self) -> Arc<Notify> {
        self.helper.wake()
    }

    /// Whether there is one.
    #[must_use]
    pub fn state(&self) -> AofState {
        self.state
    }

    /// Whether it is being loaded: nothing that happens is told to anybody.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.replaying.is_some()
    }

    /// Whether a script that the file holds may be put aside.
    #[must_use]
    pub fn replays_in_steps(&self) -> bool {
        self.replaying == Some(Replaying::InSteps)
    }

    /// Whether effects are wanted.
    #[inline]
    #[must_use]
    pub fn listens(&self) -> bool {
        self.state == AofState::On || self.rewrites.collecting
    }

    /// Where the next effects go; `seconds` is the time, Unix s, if it is to be noted in the file.
    pub fn begin_feed(&mut self, seconds: Option<i64>) -> &mut Vec<u8> {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > self.timestamp) {
            self.timestamp = seconds;
            self.buffer.extend_from_slice(&annotation(seconds));
        }
        &mut self.buffer
    }

    /// Takes what was added to the buffer since [`Self::begin_feed`] into account.
    pub fn end_feed(&mut self) {
        self.fed = self.written + self.buffer.len() as u64;
    }

    /// The offset up to which something was fed that is not synced yet, when replies have to wait for that.
    #[inline]
    #[must_use]
    pub fn unsynced(&self, config: &Config) -> Option<u64> {
        let waits = config.appendfsync == AppendFsync::Always && self.fed > self.synced && self.listens();
        waits.then_some(self.fed)
    }

    /// The replication offset up to which everything is synced; -1 while there is no append-only file (WAITAOF).
    #[must_use]
    pub fn synced_replication_offset(&self) -> i64 {
        if self.state == AofState::On { self.synced_replication } else { -1 }
    }

    /// Why the last write or sync failed; writes of clients are refused until one succeeds.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        if self.state == AofState::Off {
            return None;
        }
        self.trouble.write.as_deref().or(self.trouble.sync.as_deref())
    }

    /// Whether the helper thread is changing the directory.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        !matches!(self.stage, Stage::None)
    }

    /// Whether a rewrite is under way, from the fork until its base is in its place.
    #[must_use]
    pub fn is_rewriting(&self) -> bool {
        self.rewrites.running
    }

    /// Whether something was fed that is to be written before the replies of this turn are sent.
    #[inline]
    #[must_use]
    pub fn writes_first(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes of the buffer.
    #[must_use]
    pub fn buffer_usage(&self) -> usize {
        vec_usage(&self.buffer)
    }

    fn mark(&self, replication: i64) -> Mark {
        Mark { written: self.written, replication }
    }

    /// What was fed needs no sync any more: the file that it went to is not used.
    fn forget_unsynced(&mut self) {
        self.buffer = Vec::new();
        self.written = self.fed;
        self.synced = self.fed;
        self.marked = self.fed;
        self.postponed_ms = None;
    }
}

impl MemoryUsage for Aof {
    fn memory_usage(&self) -> usize {
        let trouble = [&self.trouble.write, &self.trouble.sync];
        let reasons =
            trouble.into_iter().flatten().map(|reason| usable_size(reason.capacity())).sum::<usize>();
        let staged = match &self.stage {
            Stage::Switching(Some(manifest)) | Stage::Installing(manifest) => manifest.memory_usage(),
            Stage::Adopting(adoption) => adoption.manifest.memory_usage(),
            Stage::Switching(None) | Stage::None => 0,
        };
        self.buffer_usage() + vec_usage(&self.held) + self.manifest.memory_usage() + staged + reasons
    }
}
