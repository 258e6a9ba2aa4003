//! Which sockets have something to read.
//!
//! A task for each connection would cost more at small pipelines than its requests: so the runtime's reactor, whose
//! turn wakes whoever waits for a socket, is given a waker that only notes the connection, and the executor reads all
//! that are noted before it makes its batch of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use tokio::sync::Notify;

use crate::memory::{MemoryUsage, vec_usage};
use crate::server::ClientKey;

/// The connections whose sockets became readable since the executor last asked.
#[derive(Debug)]
pub(super) struct Arrivals {
    keys: Mutex<Vec<ClientKey>>,
    /// Wakes the executor.
    executor: Arc<Notify>,
}

impl Arrivals {
    /// None yet; the first one wakes `executor`.
    pub(super) fn new(executor: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { keys: Mutex::default(), executor })
    }

    /// The list. Whoever panicked while it was locked has left it whole.
    fn lock(&self) -> MutexGuard<'_, Vec<ClientKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a connection is to be read. Noted in vain, also for another that has its place now, costs a look.
    pub(super) fn note(&self, key: ClientKey) {
        let mut keys = self.lock();
        keys.push(key);
        if keys.len() == 1 {
            self.executor.notify_one();
        }
    }

    /// Changes places with an empty list, which is filled from now on.
    pub(super) fn swap(&self, emptied: &mut Vec<ClientKey>) {
        std::mem::swap(&mut *self.lock(), emptied);
    }

    /// Whether none is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// What notes a connection whenever its socket becomes readable.
    pub(super) fn waker(self: &Arc<Self>, key: ClientKey) -> Waker {
        Waker::from(Arc::new(Arrival { key, arrivals: Arc::clone(self) }))
    }
}

impl MemoryUsage for Arrivals {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.lock())
    }
}

struct Arrival {
    key: ClientKey,
    arrivals: Arc<Arrivals>,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.arrivals.note(self.key);
    }
}
