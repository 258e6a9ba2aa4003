//! The helper thread: it closes files and frees large values, so that the engine thread does not stop for them.
//!
//! One queue for both. Every fork goes through [`Background::threads`], whose barrier makes the helper hold still.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::keyspace::Entry;
use crate::structures::hash_table::HashTable;
use crate::sys::barrier::{HelperThreads, JobQueue};

/// Values with more allocations than this are worth a trip to the helper (Valkey: `LAZYFREE_THRESHOLD`).
pub const LAZY_EFFORT: usize = 64;

/// Entries that are dropped between two looks at whether a fork waits.
const ENTRIES_AT_ONCE: usize = 1024;

#[derive(Debug, Default)]
struct Counts {
    pending_objects: AtomicUsize,
    freed_objects: AtomicU64,
}

impl Counts {
    fn freed(&self, objects: usize) {
        self.pending_objects.fetch_sub(objects, Ordering::Relaxed);
        self.freed_objects.fetch_add(objects as u64, Ordering::Relaxed);
    }
}

/// The helper thread and what waits for it.
#[derive(Debug)]
pub struct Background {
    /// Every helper thread of the process: they have to hold still while it forks.
    pub threads: HelperThreads,
    queue: JobQueue,
    counts: Arc<Counts>,
    /// Entries that wait to be freed, in the order of their jobs.
    entries: Arc<Mutex<VecDeque<Entry>>>,
}

impl Background {
    /// Starts the helper thread. `on_start` runs in it first: the place to have the allocator's accounts include it.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub fn start(on_start: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let mut threads = HelperThreads::new();
        let queue = threads.spawn("background", on_start)?;
        Ok(Self { threads, queue, counts: Arc::default(), entries: Arc::default() })
    }

    /// Closes a file (or anything else whose end is a system call) on the helper.
    pub fn close_later<T: Send + 'static>(&self, file: T) {
        self.queue.submit(move |worker| worker.in_system_call(move || drop(file)));
    }

    /// Frees an entry: on the helper if `lazily` and if it is large enough to be worth it, else here.
    pub fn free_entry(&self, entry: Entry, lazily: bool) {
        if !lazily || entry.effort() <= LAZY_EFFORT {
            return;
        }
        lock(&self.entries).push_back(entry);
        self.counts.pending_objects.fetch_add(1, Ordering::Relaxed);
        let (counts, entries) = (Arc::clone(&self.counts), Arc::clone(&self.entries));
        self.queue.submit(move |_| {
            let entry = lock(&entries).pop_front();
            drop(entry);
            counts.freed(1);
        });
    }

    /// Frees all the entries of a database that was emptied: on the helper if `lazily`, else here.
    pub fn free_table(&self, mut table: HashTable<Entry>, lazily: bool) {
        let objects = table.len();
        if !lazily || objects == 0 {
            return;
        }
        self.counts.pending_objects.fetch_add(objects, Ordering::Relaxed);
        let counts = Arc::clone(&self.counts);
        self.queue.submit(move |worker| {
            let mut dropped = 0;
            table.drain(|entry| {
                drop(entry);
                counts.freed(1);
                dropped += 1;
                if dropped % ENTRIES_AT_ONCE == 0 {
                    // A fork may be waiting; nothing is half changed here.
                    worker.in_system_call(|| ());
                }
            });
        });
    }

    /// Objects that wait to be freed (INFO `lazyfree_pending_objects`).
    #[must_use]
    pub fn pending_objects(&self) -> usize {
        self.counts.pending_objects.load(Ordering::Relaxed)
    }

    /// Bytes of the entries that wait to be freed. What is left of emptied databases is not included. To be called while
    /// the helper holds still.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        lock(&self.entries).iter().map(Entry::weight).sum()
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

fn lock(entries: &Mutex<VecDeque<Entry>>) -> MutexGuard<'_, VecDeque<Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use crate::types::Value;
    use crate::types::set::{MemberRef, Set};

    fn large_entry() -> Entry {
        let limits = crate::server::limits(&crate::config::Config::default()).set;
        let mut set = Set::for_member(b"member", 1, &limits);
        for number in 0..2000 {
            set.insert(MemberRef::Bytes(format!("member:{number}").as_bytes()), &limits);
        }
        Entry::with_value(b"large", Value::Set(set), None)
    }

    #[test]
    fn large_entries_are_freed_by_the_helper_and_counted() {
        let background = Background::start(|| ()).unwrap();
        let entry = large_entry();
        let weight = entry.weight();
        let quiet = background.threads.quiesce();
        background.free_entry(entry, true);
        background.free_entry(Entry::string(b"small", b"value", None), true);
        assert_eq!((background.pending_objects(), background.pending_bytes()), (1, weight));
        drop(quiet);
        background.wait_until_idle();
        assert_eq!((background.pending_objects(), background.pending_bytes()), (0, 0));
        assert_eq!(background.freed_objects(), 1);
        background.reset_freed_objects();
        assert_eq!(background.freed_objects(), 0);
    }

    #[test]
    fn an_emptied_database_is_freed_by_the_helper() {
        let background = Background::start(|| ()).unwrap();
        let mut table = HashTable::default();
        for number in 0..5000_u32 {
            let key = number.to_le_bytes();
            table.insert(crate::algorithms::hash::hash(&key), Entry::string(&key, b"value", None));
        }
        background.free_table(table, true);
        background.wait_until_idle();
        assert_eq!((background.pending_objects(), background.freed_objects()), (0, 5000));
    }
}
