//! Long-lived helper threads that can be made to hold still.
//!
//! A helper closes files, syncs them and drops large values, one job after the other. A fork copies the memory of
//! every thread but runs only the caller, so no helper may then hold a lock or be half-way through a change:
//! [`HelperThreads::quiesce`] waits until each is between jobs, or inside a system call it announced, and holds it there
//! until the guard is dropped. The child never touches a helper's queue.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{SigSet, Signal};

use super::files;

/// What a helper thread is given to do. It runs to its end unless the process ends first.
pub type Job = Box<dyn FnOnce(&Worker) + Send>;

/// Jobs that a helper's queue has room for from the start.
const QUEUE_ROOM: usize = 64;

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// A job is under way and not in an announced system call.
    busy: bool,
    /// A job is under way at all.
    working: bool,
    /// How many guards hold the thread.
    holds: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.wait_while(|state| state.holds > 0 || state.queue.is_empty());
        let job = state.queue.pop_front();
        state.busy = job.is_some();
        state.working = state.busy;
        job
    }
}

/// The helper thread as a job sees it.
pub struct Worker(Arc<Shared>);

impl Worker {
    /// Runs something that spends its time in the kernel and takes no lock and allocates nothing (a sync, a close):
    /// a fork need not wait for it. When it is done while threads are held, it waits before it returns.
    pub fn in_system_call<T>(&self, call: impl FnOnce() -> T) -> T {
        self.0.update(|state| state.busy = false);
        let result = call();
        self.0.wait_while(|state| state.holds > 0).busy = true;
        result
    }

    /// Removes a file, which takes long for a large one. What stays is of no consequence.
    pub fn remove(&self, path: &Path) {
        let _ = self.in_system_call(|| files::remove_if_present(path));
    }

    fn run(self) {
        while let Some(job) = self.0.next_job() {
            // A panic has been reported by the hook; going on without this thread would stall every later fork.
            if catch_unwind(AssertUnwindSafe(|| job(&self))).is_err() {
                std::process::abort();
            }
            self.0.update(|state| (state.busy, state.working) = (false, false));
        }
    }
}

/// Where jobs for one helper thread are put. Clones feed the same thread.
#[derive(Clone)]
pub struct JobQueue(Arc<Shared>);

impl JobQueue {
    /// Adds a job behind those already there. Never waits.
    pub fn submit(&self, job: impl FnOnce(&Worker) + Send + 'static) {
        self.0.update(|state| state.queue.push_back(Box::new(job)));
    }

    /// Drops a value (a large one, a replaced file) on the helper thread.
    pub fn drop_later<T: Send + 'static>(&self, value: T) {
        self.submit(move |_| drop(value));
    }

    /// Removes files on the helper thread.
    pub fn remove_later(&self, paths: Vec<PathBuf>) {
        self.submit(move |worker| paths.iter().for_each(|path| worker.remove(path)));
    }

    /// Jobs not finished yet, the running one included.
    #[must_use]
    pub fn pending(&self) -> usize {
        let state = self.0.lock();
        state.queue.len() + usize::from(state.working)
    }

    /// Waits until every job submitted so far, and any submitted meanwhile, is finished.
    pub fn wait_until_idle(&self) {
        drop(self.0.wait_while(|state| state.working || !state.queue.is_empty()));
    }
}

impl std::fmt::Debug for JobQueue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "JobQueue({} pending)", self.pending())
    }
}

/// Every helper thread of the process. Owned by the engine thread, which is the only one to fork.
#[derive(Default)]
pub struct HelperThreads {
    threads: Vec<Arc<Shared>>,
}

impl HelperThreads {
    /// No thread yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a helper thread that lives as long as the process. `on_start` runs in it first (the place to register
    /// the thread with the allocator's accounts). At most 15 bytes of `name` are shown by the system.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub fn spawn(&mut self, name: &str, on_start: impl FnOnce() + Send + 'static) -> io::Result<JobQueue> {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            // Busy until its start is over: a fork waits for that too.
            state.busy = true;
            // What the queue takes is allocated at the start, where it is accounted for.
            state.queue.reserve(QUEUE_ROOM);
        }
        let worker = Worker(Arc::clone(&shared));
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            block_asynchronous_signals();
            on_start();
            worker.0.update(|state| state.busy = false);
            worker.run();
        })?;
        self.threads.push(Arc::clone(&shared));
        Ok(JobQueue(shared))
    }

    /// Waits until every helper holds still, and keeps them so until the guard is dropped. Jobs may be submitted
    /// meanwhile; they start afterwards.
    #[must_use = "the threads run on once the guard is dropped"]
    pub fn quiesce(&self) -> Quiet<'_> {
        // First hold all, so that the wait is for the longest job and not for the sum.
        for thread in &self.threads {
            thread.lock().holds += 1;
        }
        for thread in &self.threads {
            drop(thread.wait_while(|state| state.busy));
        }
        Quiet { threads: &self.threads, on_one_thread: PhantomData }
    }
}

impl std::fmt::Debug for HelperThreads {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "HelperThreads({})", self.threads.len())
    }
}

/// Proof that every helper thread holds still; dropping it lets them go on.
pub struct Quiet<'a> {
    threads: &'a [Arc<Shared>],
    on_one_thread: PhantomData<*const ()>,
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        for thread in self.threads {
            thread.update(|state| state.holds -= 1);
        }
    }
}

/// Signals to the process are the engine thread's; those a fault raises stay with the thread that caused them.
fn block_asynchronous_signals() {
    let mut signals = SigSet::all();
    for fault in
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT, Signal::SIGTRAP]
    {
        signals.remove(fault);
    }
    let _ = signals.thread_block();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[test]
    fn jobs_run_in_order_on_the_named_thread_after_its_start() {
        let mut helpers = HelperThreads::new();
        let (send, receive) = mpsc::channel();
        let started = send.clone();
        let queue = helpers.spawn("lazy-free", move || started.send("start".to_owned()).unwrap()).unwrap();
        for number in 0..3 {
            let send = send.clone();
            queue.submit(move |_| {
                send.send(format!("{number} {}", std::thread::current().name().unwrap())).unwrap();
            });
        }
        queue.wait_until_idle();
        assert_eq!(queue.pending(), 0);
        let seen: Vec<String> = receive.try_iter().collect();
        assert_eq!(seen, ["start", "0 lazy-free", "1 lazy-free", "2 lazy-free"]);
    }

    #[test]
    fn quiesce_waits_for_the_running_job_and_holds_the_next() {
        let mut helpers = HelperThreads::new();
        let queue = helpers.spawn("quiet", || ()).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let finished = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&finished);
        queue.submit(move |_| {
            begun.send(()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(30));
            flag.store(true, Ordering::SeqCst);
        });
        has_begun.recv().unwrap();
        let later = Arc::new(AtomicUsize::new(0));
        let guard = helpers.quiesce();
        assert!(finished.load(Ordering::SeqCst));
        for _ in 0..10 {
            let later = Arc::clone(&later);
            queue.submit(move |_| {
                later.fetch_add(1, Ordering::SeqCst);
            });
        }
        let second = helpers.quiesce();
        drop(guard);
        assert_eq!((later.load(Ordering::SeqCst), queue.pending()), (0, 10));
        drop(second);
        queue.wait_until_idle();
        assert_eq!(later.load(Ordering::SeqCst), 10);
    }

    #[test]
    fn a_system_call_does_not_delay_quiesce_but_its_return_is_held() {
        let mut helpers = HelperThreads::new();
        let queue = helpers.spawn("sync", || ()).unwrap();
        let (entered, has_entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let after = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&after);
        queue.submit(move |worker| {
            worker.in_system_call(|| {
                entered.send(()).unwrap();
                may_leave.recv().unwrap();
            });
            flag.store(true, Ordering::SeqCst);
        });
        has_entered.recv().unwrap();
        let guard = helpers.quiesce();
        leave.send(()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert!(!after.load(Ordering::SeqCst));
        drop(guard);
        queue.wait_until_idle();
        assert!(after.load(Ordering::SeqCst));
    }

    #[test]
    fn values_are_dropped_on_the_helper() {
        let mut helpers = HelperThreads::new();
        let queue = helpers.spawn("drop", || ()).unwrap();
        let value = Arc::new(());
        queue.drop_later(Arc::clone(&value));
        queue.wait_until_idle();
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
