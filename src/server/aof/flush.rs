//! Writing the buffer, and having it synced: once a turn of the event loop, and what follows when the disk does not do
//! its part (Valkey: `flushAppendOnlyFile`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::helper::{Mark, Outcome, Storage};
use super::{Aof, AofState, Stage};
use crate::config::{AppendFsync, os_reason};
use crate::server::Server;
use crate::sys::clock;

/// Seconds between two lines about writes that fail (Valkey: `AOF_WRITE_LOG_ERROR_RATE`), in ms.
const ERROR_LINES_MS: i64 = 30_000;
/// A write waits no longer than this for a sync that is under way, in ms.
const POSTPONED_MOST_MS: i64 = 2000;
/// With `everysec`, the time between two syncs, and between two tries of a write that failed, in ms.
const SECOND_MS: i64 = 1000;
/// A buffer above this size is given back when it was written.
const BUFFER_KEPT: usize = 16 * 1024;

/// How a write went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// All of it is in the file.
    Whole,
    /// Part of it or nothing.
    Failed {
        /// Bytes that are in the file and could not be taken back.
        kept: usize,
        /// Why.
        reason: String,
        /// Lines for the log.
        lines: Vec<String>,
    },
}

/// Writes all of `bytes` behind `length` bytes of a file, or as little of it as can be.
pub(super) fn write(file: &dyn Storage, bytes: &[u8], length: u64) -> Write {
    let mut done = 0;
    let error = loop {
        match bytes.get(done..).unwrap_or_default() {
            [] => return Write::Whole,
            rest => match file.append(rest) {
                Ok(0) => break io::Error::from_raw_os_error(nix::errno::Errno::ENOSPC as i32),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            },
        }
    };
    if done == 0 {
        let reason = os_reason(&error);
        let lines = vec![format!("Error writing to the AOF file: {reason}")];
        return Write::Failed { kept: 0, reason, lines };
    }
    let mut lines = vec![format!(
        "Short write while writing to the AOF file: (nwritten={done}, expected={})",
        bytes.len()
    )];
    let kept = match file.cut(length) {
        Ok(()) => 0,
        Err(error) => {
            lines.push(format!(
                "Could not remove short write from the append-only file. The server may refuse to load the AOF the \
                 next time it starts.  ftruncate: {}",
                os_reason(&error)
            ));
            done
        }
    };
    Write::Failed { kept, reason: "No space left on device".to_owned(), lines }
}

impl Aof {
    /// Takes a failed write into account; what is not in the file stays in the buffer.
    pub(super) fn write_failed(&mut self, kept: usize, reason: String, lines: &[String], now_ms: i64) {
        let logs = self.trouble.logged_ms.is_none_or(|logged_ms| now_ms - logged_ms > ERROR_LINES_MS);
        if logs {
            self.trouble.logged_ms = Some(now_ms);
            lines.iter().for_each(|line| tracing::warn!("{line}"));
        }
        self.trouble.write = Some(reason);
        self.buffer.drain(..kept);
        self.count_written(kept);
    }

    fn write_succeeded(&mut self) {
        if self.trouble.write.take().is_some() {
            tracing::info!("AOF write error looks solved. The server can write again.");
        }
        let length = self.buffer.len();
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        self.count_written(length);
    }

    fn count_written(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.current_size += bytes as u64;
        self.increment_size += bytes as u64;
    }

    /// Whether everything that was written is synced or about to be.
    fn is_marked(&self) -> bool {
        self.marked == self.written
    }

    /// Has the helper thread sync what was written.
    pub(super) fn request_sync(&mut self, replication: i64, now_ms: i64) {
        let Some(file) = &self.file else { return };
        self.helper.sync(Arc::clone(file), self.mark(replication));
        self.marked = self.written;
        self.last_sync_ms = now_ms;
    }

    /// A sync has ended. With `always` a failure leaves nothing that could be promised: the reason is given back.
    pub(super) fn sync_ended(
        &mut self,
        mark: Mark,
        result: io::Result<()>,
        always: bool,
    ) -> Result<(), String> {
        match result {
            Ok(()) => self.sync_succeeded(mark),
            Err(error) if always => return Err(os_reason(&error)),
            // What cannot be synced at all has not failed to be.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
                self.sync_succeeded(mark);
            }
            Err(error) => {
                let reason = os_reason(&error);
                if self.trouble.sync.is_none() {
                    tracing::warn!("Fail to fsync the AOF file: {reason}");
                }
                self.trouble.sync = Some(reason);
                // To be tried again.
                self.marked = self.synced;
            }
        }
        Ok(())
    }

    fn sync_succeeded(&mut self, mark: Mark) {
        self.trouble.sync = None;
        self.synced = self.synced.max(mark.written);
        self.synced_replication = self.synced_replication.max(mark.replication);
    }
}

impl Server {
    /// Writes what was fed since the last time and has it synced. To be called at the end of each turn, before any reply
    /// of it is sent. With `force` a write does not wait for a sync that is under way.
    #[inline]
    pub fn flush_aof(&mut self, force: bool) {
        if self.aof.file.is_some() && self.aof_has_work() {
            self.flush(force);
        }
    }

    fn aof_has_work(&self) -> bool {
        // Effects that went to replicas only move the stream on: there is nothing to sync for them.
        let behind = self.aof.synced_replication != self.replication.offset();
        !self.aof.buffer.is_empty() || self.aof.synced != self.aof.fed || behind
    }

    fn flush(&mut self, force: bool) {
        let policy = self.config.appendfsync;
        let syncing = self.aof.helper.is_syncing();
        if !matches!(self.aof.stage, Stage::Switching(_)) && !self.aof.buffer.is_empty() {
            if syncing && !force && self.must_postpone(policy) {
                return;
            }
            if !self.write_buffer(syncing) {
                return;
            }
        }
        self.sync_when_due(policy);
    }

    /// Whether a write waits for the sync that is under way: with `always` it goes with the next one, with `everysec`
    /// it would stall this thread.
    fn must_postpone(&mut self, policy: AppendFsync) -> bool {
        match policy {
            AppendFsync::Always => true,
            AppendFsync::No => false,
            AppendFsync::Everysec => {
                let since_ms = *self.aof.postponed_ms.get_or_insert(self.now_ms);
                if self.now_ms - since_ms < POSTPONED_MOST_MS {
                    return true;
                }
                self.aof.delayed_syncs += 1;
                tracing::info!(
                    "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting \
                     for fsync to complete, this may slow down the server."
                );
                false
            }
        }
    }

    /// Writes the buffer; says whether all of it is in the file now.
    fn write_buffer(&mut self, syncing: bool) -> bool {
        let failed_before = self.aof.trouble.write.is_some();
        if failed_before && self.now_ms - self.aof.tried_ms < SECOND_MS {
            return false;
        }
        self.aof.tried_ms = self.now_ms;
        let Some(file) = self.aof.file.clone() else { return false };
        if self.aof.flush_sleep_us > 0 {
            std::thread::sleep(Duration::from_micros(self.aof.flush_sleep_us));
        }
        let started_us = clock::monotonic_us();
        let outcome = write(&*file, &self.aof.buffer, self.aof.increment_size);
        let took_us = clock::monotonic_us() - started_us;
        self.note_write(syncing, took_us);
        self.aof.postponed_ms = None;
        match outcome {
            Write::Whole => {
                self.aof.write_succeeded();
                true
            }
            Write::Failed { kept, reason, lines } => {
                self.aof.write_failed(kept, reason, &lines, self.now_ms);
                if self.config.appendfsync == AppendFsync::Always {
                    tracing::warn!(
                        "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
                    );
                    std::process::exit(1);
                }
                false
            }
        }
    }

    fn note_write(&mut self, syncing: bool, microseconds: u64) {
        self.stats.event_loop.aof_ns += microseconds * 1000;
        let event = if syncing {
            "aof-write-pending-fsync"
        } else if self.persistence.has_child() {
            "aof-write-active-child"
        } else {
            "aof-write-alone"
        };
        self.note_latency_of(event, microseconds);
        self.note_latency_of("aof-write", microseconds);
    }

    fn sync_when_due(&mut self, policy: AppendFsync) {
        let replication = self.replication.offset();
        let aof = &mut self.aof;
        if aof.is_marked() {
            if aof.buffer.is_empty() && aof.synced == aof.written && policy != AppendFsync::No {
                // Nothing is missing, whatever went to replicas only.
                aof.synced_replication = replication;
            }
            return;
        }
        if self.config.no_appendfsync_on_rewrite && self.persistence.has_child() {
            if policy == AppendFsync::Always {
                // By the user's word these writes are acknowledged without.
                aof.synced = aof.written;
            }
            return;
        }
        match policy {
            AppendFsync::No => {}
            AppendFsync::Always => {
                if !aof.helper.is_syncing() {
                    aof.request_sync(replication, self.now_ms);
                }
            }
            AppendFsync::Everysec => {
                let due = self.now_ms - aof.last_sync_ms >= SECOND_MS;
                if due && !aof.helper.is_syncing() {
                    aof.request_sync(replication, self.now_ms);
                }
            }
        }
    }

    /// Takes in what the helper thread has done. To be called at the beginning of each turn.
    pub fn hear_of_aof(&mut self) {
        for outcome in self.aof.helper.take() {
            match outcome {
                Outcome::Synced { mark, microseconds, result } => self.synced(mark, microseconds, result),
                Outcome::Switched(result) => self.switched(result),
                Outcome::Opened(result) => self.opened(result),
                Outcome::Installed(result) => self.base_installed(result),
                Outcome::Adopted(result) => self.adopted(result),
                Outcome::Cleaned(result) => {
                    if let Err(line) = result {
                        tracing::warn!("{line}");
                    }
                }
            }
        }
    }

    fn synced(&mut self, mark: Mark, microseconds: u64, result: io::Result<()>) {
        let always = self.config.appendfsync == AppendFsync::Always && self.aof.state != AofState::Off;
        if always {
            self.note_latency_of("aof-fsync-always", microseconds);
        }
        if let Err(reason) = self.aof.sync_ended(mark, result, always) {
            tracing::warn!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {reason}. Exiting..."
            );
            std::process::exit(1);
        }
    }

    /// Waits until the helper thread has done all it was given, and takes that in.
    pub fn settle_aof(&mut self) {
        self.aof.helper.drain();
        self.hear_of_aof();
    }
}
