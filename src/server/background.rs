//! The helper thread: it closes files and frees large values, so that the engine thread does not stop for them.
//!
//! One queue for both. Every fork goes through [`Background::threads`], whose barrier makes the helper hold still.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::memory;
use crate::sys::barrier::{HelperThreads, JobQueue};

/// Values with more allocations than this are worth a trip to the helper (Valkey: `LAZYFREE_THRESHOLD`).
pub const LAZY_EFFORT: usize = 64;

#[derive(Debug, Default)]
struct Counts {
    pending_objects: AtomicUsize,
    pending_bytes: AtomicUsize,
    freed_objects: AtomicU64,
}

/// The helper thread and what waits for it.
#[derive(Debug)]
pub struct Background {
    /// Every helper thread of the process: they have to hold still while it forks.
    pub threads: HelperThreads,
    queue: JobQueue,
    counts: Arc<Counts>,
}

impl Background {
    /// Starts the helper thread.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub fn start() -> io::Result<Self> {
        let mut threads = HelperThreads::new();
        let queue = threads.spawn("background", memory::register_thread)?;
        Ok(Self { threads, queue, counts: Arc::default() })
    }

    /// Closes a file (or anything else whose end is a system call) on the helper.
    pub fn close_later<T: Send + 'static>(&self, file: T) {
        self.queue.submit(move |worker| worker.in_system_call(move || drop(file)));
    }

    /// Drops a value of so many objects (keys, or allocations) and bytes on the helper.
    pub fn free_later<T: Send + 'static>(&self, value: T, objects: usize, bytes: usize) {
        let counts = Arc::clone(&self.counts);
        counts.pending_objects.fetch_add(objects, Ordering::Relaxed);
        counts.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queue.submit(move |_| {
            drop(value);
            counts.pending_objects.fetch_sub(objects, Ordering::Relaxed);
            counts.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
            counts.freed_objects.fetch_add(objects as u64, Ordering::Relaxed);
        });
    }

    /// Objects that wait to be freed (INFO `lazyfree_pending_objects`).
    #[must_use]
    pub fn pending_objects(&self) -> usize {
        self.counts.pending_objects.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be freed.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.counts.pending_bytes.load(Ordering::Relaxed)
    }

    /// Objects freed since start or CONFIG RESETSTAT (INFO `lazyfreed_objects`).
    #[must_use]
    pub fn freed_objects(&self) -> u64 {
        self.counts.freed_objects.load(Ordering::Relaxed)
    }

    /// Begins to count freed objects anew (CONFIG RESETSTAT).
    pub fn reset_freed_objects(&self) {
        self.counts.freed_objects.store(0, Ordering::Relaxed);
    }

    /// Waits until nothing is left to do.
    pub fn wait_until_idle(&self) {
        self.queue.wait_until_idle();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn freed_values_are_counted_and_their_bytes_return() {
        let background = Background::start().unwrap();
        let before = memory::allocated_bytes();
        background.free_later(vec![vec![1_u8; 1000]; 100], 100, 100_000);
        background.wait_until_idle();
        assert_eq!((background.pending_objects(), background.pending_bytes()), (0, 0));
        assert_eq!(background.freed_objects(), 100);
        assert!(memory::allocated_bytes() < before + 10_000);
        background.reset_freed_objects();
        assert_eq!(background.freed_objects(), 0);
    }
}
