//! The helper thread: it closes files and frees large values, so that the engine thread does not stop for them.
//!
//! One queue for both. Every fork goes through [`Background::threads`], whose barrier makes the helper hold still.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::keyspace::{Database, Entry};
use crate::memory::{MemoryUsage, usable_size, vec_usage};
use crate::server::scripting::Discarded;
use crate::sys::barrier::{HelperThreads, JobQueue, Worker};

/// Values with more allocations than this are worth a trip to the helper (Valkey: `LAZYFREE_THRESHOLD`).
pub const LAZY_EFFORT: usize = 64;

/// Entries of a table that are dropped between two looks at whether a fork waits.
const ENTRIES_AT_ONCE: usize = 256;

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

/// What waits to be freed. It stays here until the very moment it is dropped, so that a profile can weigh it.
#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    databases: VecDeque<Database>,
    buffers: Vec<Vec<u8>>,
    scripts: VecDeque<Discarded>,
    /// The helper has the job of emptying all of them.
    in_progress: bool,
}

/// What was taken out and is dropped next, outside of the lock: the engine must not wait for it.
#[derive(Default)]
struct Taken {
    entries: Vec<Entry>,
    buffer: Vec<u8>,
}

impl Taken {
    fn drop_all(&mut self) {
        self.entries.clear();
        self.buffer = Vec::new();
    }
}

impl Waiting {
    /// Takes out what is to be dropped next, or drops a small piece of it; gives the objects, `None` when nothing is left.
    fn take(&mut self, taken: &mut Taken) -> Option<usize> {
        if let Some(buffer) = self.buffers.pop() {
            taken.buffer = buffer;
            return Some(1);
        }
        if let Some(scripts) = self.scripts.front_mut() {
            if !scripts.free_some(ENTRIES_AT_ONCE) {
                self.scripts.pop_front();
            }
            return Some(0);
        }
        self.take_entries(&mut taken.entries).then_some(taken.entries.len())
    }

    fn take_entries(&mut self, taken: &mut Vec<Entry>) -> bool {
        if let Some(entry) = self.entries.pop_front() {
            taken.push(entry);
            return true;
        }
        let Some(database) = self.databases.front_mut() else { return false };
        // What of the slots' index is freed on the way counts as little as an entry.
        for _ in 0..ENTRIES_AT_ONCE {
            if !database.take_apart(|entry| taken.push(entry)) {
                self.databases.pop_front();
                break;
            }
            if taken.len() >= ENTRIES_AT_ONCE {
                break;
            }
        }
        true
    }
}

/// The helper thread and what waits for it.
pub struct Background {
    /// Every helper thread of the process: they have to hold still while it forks.
    pub threads: HelperThreads,
    queue: JobQueue,
    counts: Arc<Counts>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Background {
    /// Starts the helper thread. `on_start` runs in it first: the place to have the allocator's accounts include it.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub fn start(on_start: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let mut threads = HelperThreads::new();
        let queue = threads.spawn("background", on_start)?;
        Ok(Self { threads, queue, counts: Arc::default(), waiting: Arc::default() })
    }

    /// Where jobs of others are put.
    #[must_use]
    pub fn queue(&self) -> JobQueue {
        self.queue.clone()
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
        self.free_waiting(1, |waiting| waiting.entries.push_back(entry));
    }

    /// Frees all that a database held which was emptied: on the helper if `lazily`, else here.
    pub fn free_database(&self, database: Database, lazily: bool) {
        let objects = database.len();
        if lazily && objects > 0 {
            self.free_waiting(objects, |waiting| waiting.databases.push_back(database));
        }
    }

    /// Frees a buffer that may be large on the helper.
    pub fn free_buffer(&self, buffer: Vec<u8>) {
        if buffer.capacity() > 0 {
            self.free_waiting(1, |waiting| waiting.buffers.push(buffer));
        }
    }

    /// Frees what a flush of scripts or functions left: on the helper if `lazily`, else here.
    pub fn free_scripts(&self, scripts: Discarded, lazily: bool) {
        if lazily {
            self.free_waiting(0, |waiting| waiting.scripts.push_back(scripts));
        }
    }

    /// Puts something with so many objects to what waits, and makes sure that the helper will come to it.
    fn free_waiting(&self, objects: usize, put: impl FnOnce(&mut Waiting)) {
        self.counts.pending_objects.fetch_add(objects, Ordering::Relaxed);
        let mut waiting = lock(&self.waiting);
        put(&mut waiting);
        if !std::mem::replace(&mut waiting.in_progress, true) {
            let (shared, counts) = (Arc::clone(&self.waiting), Arc::clone(&self.counts));
            self.queue.submit(move |worker| free_all(&shared, &counts, worker));
        }
    }

    /// Objects that wait to be freed (INFO `lazyfree_pending_objects`).
    #[must_use]
    pub fn pending_objects(&self) -> usize {
        self.counts.pending_objects.load(Ordering::Relaxed)
    }

    /// Bytes of all that waits to be freed. Takes a walk over it; for a forked child, whose helper holds still outside of
    /// the lock.
    #[must_use]
    pub fn pending_usage(&self) -> usize {
        let Ok(waiting) = self.waiting.try_lock() else { return 0 };
        let lists = usable_size(waiting.entries.capacity() * size_of::<Entry>())
            + usable_size(waiting.databases.capacity() * size_of::<Database>())
            + vec_usage(&waiting.buffers)
            + usable_size(waiting.scripts.capacity() * size_of::<Discarded>());
        let entries: usize = waiting.entries.iter().map(Entry::weight).sum();
        let databases: usize = waiting
            .databases
            .iter()
            .map(|database| {
                let entries: usize = database.table().iter().map(|entry| entry.weight()).sum();
                database.table().memory_usage() + database.slots_usage() + entries
            })
            .sum();
        let buffers: usize = waiting.buffers.iter().map(vec_usage).sum();
        let scripts: usize = waiting.scripts.iter().map(Discarded::usage).sum();
        lists + entries + databases + buffers + scripts
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

/// Drops what waits, piece by piece, and looks between the pieces whether a fork waits.
fn free_all(waiting: &Mutex<Waiting>, counts: &Counts, worker: &Worker) {
    let mut taken = Taken::default();
    loop {
        let objects = {
            let mut waiting = lock(waiting);
            let Some(objects) = waiting.take(&mut taken) else {
                waiting.in_progress = false;
                return;
            };
            objects
        };
        taken.drop_all();
        counts.freed(objects);
        // A fork may be waiting; nothing is half changed here.
        worker.in_system_call(|| ());
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Background {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Background({} objects pending)", self.pending_objects())
    }
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
        assert_eq!(background.pending_objects(), 1);
        assert!((weight..weight + 1000).contains(&background.pending_usage()));
        drop(quiet);
        background.wait_until_idle();
        assert_eq!(background.pending_objects(), 0);
        assert!(background.pending_usage() < 1000);
        assert_eq!(background.freed_objects(), 1);
        background.reset_freed_objects();
        assert_eq!(background.freed_objects(), 0);
    }

    #[test]
    fn an_emptied_database_is_freed_by_the_helper() {
        let background = Background::start(|| ()).unwrap();
        let mut database = Database::default();
        for number in 0..5000_u32 {
            let key = number.to_le_bytes();
            database.insert(crate::algorithms::hash::hash(&key), Entry::string(&key, b"value", None));
        }
        let table = database.table();
        let weight: usize = table.memory_usage() + table.iter().map(|entry| entry.weight()).sum::<usize>();
        let quiet = background.threads.quiesce();
        background.free_database(database, true);
        assert!((weight..weight + 1000).contains(&background.pending_usage()));
        drop(quiet);
        background.wait_until_idle();
        assert_eq!((background.pending_objects(), background.freed_objects()), (0, 5000));
    }
}
