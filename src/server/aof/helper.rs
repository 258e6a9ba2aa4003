//! The helper thread of the append-only file: it syncs, and it changes the directory, so that the engine thread never
//! waits for the disk.
//!
//! Jobs run in the order in which they were given. What became of them is put on a list and the event loop is woken; the
//! engine thread takes the list when it turns to it.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::persistence::aof::{Directory, Manifest};
use crate::sys::barrier::{HelperThreads, JobQueue, Worker};
use crate::sys::clock;

/// A file that is appended to. A trait, so that tests can have disks that fail.
pub trait Storage: Send + Sync + Debug {
    /// Appends what the system takes at once.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to a length.
    ///
    /// # Errors
    /// The system's.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// Makes what was appended last.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;
}

impl Storage for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        file.write(bytes)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A sync that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes that were written before it, since the process began.
    pub(super) written: u64,
    /// The offset of the replication stream that goes with them.
    pub(super) replication: i64,
}

/// What became of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A sync.
    Synced { mark: Mark, microseconds: u64, result: io::Result<()> },
    /// The opening of a new increment and the writing of the manifest that lists it.
    Switched(Result<Arc<dyn Storage>, String>),
    /// The opening of an increment before the file is turned on.
    Opened(Result<Arc<dyn Storage>, String>),
    /// The installation of a new base.
    Installed(Result<Installed, Vec<String>>),
    /// The listing of a snapshot as the base.
    Adopted(Result<Adopted, String>),
    /// The writing of a manifest that no longer lists what was deleted.
    Cleaned(Result<(), String>),
}

/// A base that was installed.
#[derive(Debug)]
pub(super) struct Installed {
    /// Lines for the log.
    pub(super) lines: Vec<String>,
    /// Bytes of the base.
    pub(super) base_bytes: u64,
}

/// A snapshot that has become the base.
#[derive(Debug)]
pub(super) struct Adopted {
    /// The increment that goes on from it.
    pub(super) file: Arc<dyn Storage>,
    /// Lines for the log.
    pub(super) lines: Vec<String>,
    /// Bytes of the base.
    pub(super) base_bytes: u64,
}

#[derive(Debug)]
struct Shared {
    outcomes: Mutex<Vec<Outcome>>,
    pending_syncs: AtomicUsize,
    wake: Arc<Notify>,
}

impl Shared {
    fn outcomes(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, outcome: Outcome) {
        self.outcomes().push(outcome);
        self.wake.notify_one();
    }
}

/// Makes a file or a directory last: a fork need not wait for that.
pub(super) fn sync(worker: &Worker, file: &File) -> io::Result<()> {
    worker.in_system_call(|| file.sync_all())
}

/// The thread, as the engine thread sees it.
#[derive(Debug)]
pub(super) struct Helper {
    queue: JobQueue,
    shared: Arc<Shared>,
}

impl Helper {
    /// Starts the thread. `wake` is notified when something is to be taken.
    pub(super) fn start(threads: &mut HelperThreads, wake: Arc<Notify>) -> io::Result<Self> {
        let queue = threads.spawn("aof", crate::memory::register_thread)?;
        let outcomes = Mutex::new(Vec::with_capacity(4));
        Ok(Self { queue, shared: Arc::new(Shared { outcomes, pending_syncs: AtomicUsize::new(0), wake }) })
    }

    /// Where jobs are put.
    pub(super) fn queue(&self) -> JobQueue {
        self.queue.clone()
    }

    /// What is notified when something is to be taken.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.wake)
    }

    /// Whether a sync is under way or waits.
    pub(super) fn is_syncing(&self) -> bool {
        self.pending_syncs() > 0
    }

    /// Syncs under way or waiting.
    pub(super) fn pending_syncs(&self) -> usize {
        self.shared.pending_syncs.load(Ordering::Acquire)
    }

    /// What has become of jobs since the last time.
    pub(super) fn take(&self) -> Vec<Outcome> {
        let mut outcomes = self.shared.outcomes();
        if outcomes.is_empty() { Vec::new() } else { outcomes.drain(..).collect() }
    }

    /// Waits until every job is done.
    pub(super) fn drain(&self) {
        self.queue.wait_until_idle();
    }

    fn submit(&self, job: impl FnOnce(&Worker) -> Outcome + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.queue.submit(move |worker| {
            let outcome = job(worker);
            shared.tell(outcome);
        });
    }

    /// Syncs a file.
    pub(super) fn sync(&self, file: Arc<dyn Storage>, mark: Mark) {
        self.shared.pending_syncs.fetch_add(1, Ordering::AcqRel);
        let shared = Arc::clone(&self.shared);
        self.submit(move |worker| {
            let started_us = clock::monotonic_us();
            let result = worker.in_system_call(|| file.sync());
            let microseconds = clock::monotonic_us() - started_us;
            shared.pending_syncs.fetch_sub(1, Ordering::AcqRel);
            Outcome::Synced { mark, microseconds, result }
        });
    }

    /// Opens a new increment; `manifest`, which lists it, is written once it is there.
    pub(super) fn switch(&self, directory: Directory, name: Vec<u8>, manifest: Option<Manifest>) {
        self.submit(move |worker| {
            let opened = directory.open_increment(&name, true);
            Outcome::Switched(opened.and_then(|file| {
                if let Some(manifest) = manifest {
                    directory.write_manifest(&manifest, &|file| sync(worker, file))?;
                }
                Ok(Arc::new(file) as Arc<dyn Storage>)
            }))
        });
    }

    /// Removes files; that one stays is of no consequence.
    pub(super) fn remove(&self, paths: Vec<PathBuf>) {
        self.queue.remove_later(paths);
    }

    /// Does something else with the directory.
    pub(super) fn run(&self, job: impl FnOnce(&Worker) -> Outcome + Send + 'static) {
        self.submit(job);
    }

    /// Closes a file.
    pub(super) fn close(&self, file: Arc<dyn Storage>) {
        self.queue.drop_later(file);
    }
}
