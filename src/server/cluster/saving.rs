//! The node file on its way to the disk: a helper thread writes and syncs it, and what the node says meanwhile waits in its
//! links when it must not be heard before the file is there.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::file::{self, SaveStep};
use crate::config::{ClusterConfigSaveBehavior, Config};
use crate::memory::usable_size;
use crate::sys::barrier::JobQueue;
use crate::sys::files::SyncFile;

/// The log says at most so often that the file could not be written, in milliseconds.
const LOG_MS: i64 = 30_000;

/// What the helper thread has done.
#[derive(Debug, Default)]
struct Done {
    /// The number of the last save that is on the disk.
    saved: AtomicU64,
    /// Saves that failed.
    failed: AtomicU64,
    /// Why the last of them did: the system's number.
    reason: AtomicI32,
    /// And at which step.
    step: AtomicU8,
    /// Bytes of texts that are still to be written.
    pending_bytes: AtomicUsize,
}

/// Saves under way.
#[derive(Default)]
pub(super) struct Saving {
    helper: Option<(JobQueue, Arc<Notify>)>,
    done: Arc<Done>,
    /// The number of the last save that was handed to the helper thread.
    asked: u64,
    /// What has changed since then has to be saved too; whether it has to last.
    waiting: Option<bool>,
    /// Failures that the log has told.
    told_failures: u64,
    told_ms: i64,
    /// The lock of the file.
    lock: Option<File>,
}

impl std::fmt::Debug for Saving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saving({})", self.asked)
    }
}

impl Saving {
    /// From now on saves go to a thread; `wake` is told when one is done.
    pub(super) fn start(&mut self, queue: JobQueue, wake: Arc<Notify>, lock: File) {
        self.helper = Some((queue, wake));
        self.lock = Some(lock);
    }

    /// Where the file is written.
    pub(super) fn queue(&self) -> Option<JobQueue> {
        self.helper.as_ref().map(|(queue, _)| queue.clone())
    }

    /// The number of the last save that is on the disk.
    pub(super) fn saved(&self) -> u64 {
        self.done.saved.load(Ordering::Acquire)
    }

    /// The node file is out of date; gives the number of the save that will bring it up to date. One save is under way at
    /// a time: what changes meanwhile is saved together.
    pub(super) fn want(&mut self, sync: bool) -> u64 {
        self.waiting = Some(self.waiting.unwrap_or(false) || sync);
        self.asked + 1
    }

    /// Whether a save is to be begun now; and whether it has to last.
    pub(super) fn take_due(&mut self) -> Option<bool> {
        if self.asked > self.saved() { None } else { self.waiting.take() }
    }

    /// Has a text written. Without a thread nothing is.
    pub(super) fn begin(&mut self, config: &Config, text: String, sync: bool) {
        self.asked += 1;
        let number = self.asked;
        let Some((queue, wake)) = &self.helper else {
            self.done.saved.store(number, Ordering::Release);
            return;
        };
        let path = PathBuf::from(config.cluster_config_file.as_path());
        let (done, wake) = (Arc::clone(&self.done), Arc::clone(wake));
        let bytes = usable_size(text.capacity());
        done.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        queue.submit(move |worker| {
            // A fork need not wait for the disk.
            let sync_file = |file: &File| worker.in_system_call(|| file.sync_all());
            let sync: Option<SyncFile<'_>> = if sync { Some(&sync_file) } else { None };
            if let Err((step, error)) = file::save(&path, &text, sync) {
                done.step.store(step as u8, Ordering::Relaxed);
                done.reason.store(error.raw_os_error().unwrap_or(0), Ordering::Relaxed);
                done.failed.fetch_add(1, Ordering::Release);
            }
            drop(text);
            done.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
            done.saved.fetch_max(number, Ordering::Release);
            wake.notify_one();
        });
    }

    /// What went wrong since this was asked last is in the log; a node that may not go on without its file ends.
    pub(super) fn hear_of_failures(&mut self, config: &Config, now_ms: i64) {
        let failures = self.done.failed.load(Ordering::Acquire);
        if failures == self.told_failures {
            return;
        }
        self.told_failures = failures;
        let error = std::io::Error::from_raw_os_error(self.done.reason.load(Ordering::Relaxed));
        let reason = crate::config::os_reason(&error);
        let step = SaveStep::ALL.get(usize::from(self.done.step.load(Ordering::Relaxed)));
        tracing::warn!("{}: {reason}", step.map_or("", |step| step.failure()));
        if config.cluster_config_save_behavior == ClusterConfigSaveBehavior::Sync {
            tracing::warn!("Fatal: can't update cluster config file.");
            std::process::exit(1);
        }
        if now_ms - self.told_ms > LOG_MS {
            tracing::warn!(
                "Cluster config updated even though writing the cluster config file to disk failed."
            );
            self.told_ms = now_ms;
        }
    }

    /// Waits until everything is written.
    pub(super) fn wait_until_idle(&self) {
        if let Some((queue, _)) = &self.helper {
            queue.wait_until_idle();
        }
    }

    /// Gives the lock of the file up: another process may use it.
    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    pub(super) fn memory_usage(&self) -> usize {
        usable_size(2 * size_of::<usize>() + size_of::<Done>())
            + self.done.pending_bytes.load(Ordering::Relaxed)
    }
}
