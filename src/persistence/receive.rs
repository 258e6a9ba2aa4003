//! A snapshot that arrives from elsewhere: a helper thread decodes it, or stores and checks it, while the engine thread
//! serves clients. The two meet in a [`Transfer`]: bytes go in, batches of entries and in the end an outcome come out.
//!
//! Both directions hold a bounded number of bytes: who offers has to wait for room, and so has the thread. Dropping
//! the [`Transfer`] ends the thread's work. Where the thread waits or writes it is in an announced system call, so that
//! a fork never waits for a socket or a disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::decode::{Decoder, Item, Loaded, Origin};
use super::load::{LoadError, LoadOptions};
use super::save::delay;
use crate::algorithms::hash::hash;
use crate::keyspace::{Database, Entry};
use crate::memory::{MemoryUsage, usable_size, vec_usage};
use crate::rdb::format::{self, ValueType};
use crate::rdb::{Event, READ_BUFFER_BYTES, Reader, Snapshot};
use crate::sys::barrier::{JobQueue, Worker};
use crate::sys::clock;
use crate::sys::files;

/// Bytes that may wait for the thread.
const OFFERED_MAX: usize = 4 << 20;
/// Batches that may wait for the engine thread.
const BATCHES_MAX: usize = 4;
/// Bytes of the snapshot in one batch, about.
const BATCH_BYTES: u64 = 256 * 1024;
/// Entries in one batch at most: putting them in is one turn of the engine thread.
const BATCH_ENTRIES: usize = 1024;
/// A batch is not held back for longer than this, in milliseconds.
const BATCH_MS: i64 = 50;
/// A file that is received is synced each time so much was written, so that the end is not one long sync (Valkey:
/// `REPL_MAX_WRITTEN_BEFORE_FSYNC`).
const SYNC_BYTES: u64 = 8 << 20;

/// Entries that follow each other in a snapshot.
#[derive(Debug, Default)]
pub struct Batch {
    /// The entries with their databases and the hashes of their keys.
    pub entries: Vec<(usize, u64, Entry)>,
    /// Sources of function libraries.
    pub functions: Vec<Vec<u8>>,
    /// What was counted up to here.
    pub counts: Loaded,
    /// Bytes of the snapshot up to here.
    pub offset: u64,
    /// What the server that wrote the snapshot had allocated; 0 not known.
    pub used_memory: u64,
}

impl Batch {
    /// Puts the entries into their databases.
    ///
    /// # Errors
    /// A key is there already, or its database is not.
    pub fn put_into(self, databases: &mut [Database], names_keys: bool) -> Result<(), LoadError> {
        for (database, hash, entry) in self.entries {
            let Some(entries) = databases.get_mut(database) else {
                return Err(LoadError::Databases(database));
            };
            if entries.table().find(hash, entry.key()).is_some() {
                let key = names_keys.then(|| entry.key().to_vec());
                return Err(LoadError::DuplicateKey { key, database, offset: self.offset });
            }
            entries.insert(hash, entry);
        }
        Ok(())
    }
}

/// What there is to say of a snapshot that was read to its end.
#[derive(Debug, Default)]
pub struct Finished {
    /// What was counted.
    pub counts: Loaded,
    /// What it said of its replication history.
    pub origin: Origin,
}

/// How it ended.
pub type Outcome = Result<Finished, LoadError>;

#[derive(Debug, Default)]
struct State {
    offered: VecDeque<Vec<u8>>,
    offered_bytes: usize,
    /// What the piece takes of memory that the thread reads now.
    front_usage: usize,
    /// Nothing more will be offered.
    complete: bool,
    /// Nobody wants the outcome any more.
    abandoned: bool,
    batches: VecDeque<Batch>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    /// Wakes the thread.
    changed: Condvar,
    /// Wakes the engine thread's task.
    news: Notify,
    /// `key-load-delay`: microseconds to wait after each key, as it is now.
    key_delay_us: AtomicI32,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the thread wait, and forks happen meanwhile.
    fn wait_while(&self, worker: &Worker, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        worker.in_system_call(|| {
            drop(
                self.changed
                    .wait_while(self.lock(), |state| condition(state))
                    .unwrap_or_else(PoisonError::into_inner),
            );
        });
        // Only the thread's own doing makes a condition of its own true again.
        self.lock()
    }

    /// Gives a batch to the engine thread as soon as there is room.
    fn give(&self, worker: &Worker, batch: Batch) -> io::Result<()> {
        let mut state =
            self.wait_while(worker, |state| state.batches.len() >= BATCHES_MAX && !state.abandoned);
        if state.abandoned {
            return Err(abandoned());
        }
        state.batches.push_back(batch);
        drop(state);
        self.news.notify_one();
        Ok(())
    }
}

fn abandoned() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the transfer was given up")
}

/// The engine thread's end of a snapshot that arrives.
#[derive(Debug)]
pub struct Transfer {
    pipe: Arc<Pipe>,
}

impl Transfer {
    /// Decodes what is offered.
    #[must_use]
    pub fn decode(queue: &JobQueue, options: LoadOptions) -> Self {
        Self::start(queue, move |pipe, worker| {
            decode(Offered { pipe, worker, front: Vec::new(), read: 0 }, options, pipe, worker)
        })
    }

    /// Gives a received file its place, and decodes it.
    #[must_use]
    pub fn load(queue: &JobQueue, received: PathBuf, place: PathBuf, options: LoadOptions) -> Self {
        Self::start(queue, move |pipe, worker| {
            let replaced = files::replace(&received, &place).map_err(LoadError::Place)?;
            // Giving a large file's space back takes long.
            worker.in_system_call(|| drop(replaced));
            let file = File::open(place).map_err(LoadError::Open)?;
            decode(file, options, pipe, worker)
        })
    }

    /// Stores what is offered in a file that is there already, checks that it is a whole snapshot of things that this
    /// server knows, and makes it last.
    #[must_use]
    pub fn store(queue: &JobQueue, file: File, options: LoadOptions) -> Self {
        Self::start(queue, move |pipe, worker| {
            let offered = Offered { pipe, worker, front: Vec::new(), read: 0 };
            store(offered, file, &options)
        })
    }

    fn start(queue: &JobQueue, work: impl FnOnce(&Pipe, &Worker) -> Outcome + Send + 'static) -> Self {
        let pipe = Arc::new(Pipe::default());
        let shared = Arc::clone(&pipe);
        queue.submit(move |worker| {
            let outcome = work(&shared, worker);
            shared.lock().outcome = Some(outcome);
            shared.news.notify_one();
        });
        Self { pipe }
    }

    /// Whether more may be offered now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.pipe.lock().offered_bytes < OFFERED_MAX
    }

    /// Offers the next bytes of the snapshot.
    pub fn offer(&self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            // To a reader nothing would mean the end.
            return;
        }
        let mut state = self.pipe.lock();
        state.offered_bytes += bytes.len();
        state.offered.push_back(bytes);
        drop(state);
        self.pipe.changed.notify_one();
    }

    /// Says that everything was offered.
    pub fn complete(&self) {
        self.pipe.lock().complete = true;
        self.pipe.changed.notify_one();
    }

    /// The next batch, if there is one.
    #[must_use]
    pub fn take_batch(&self) -> Option<Batch> {
        let batch = self.pipe.lock().batches.pop_front()?;
        self.pipe.changed.notify_one();
        Some(batch)
    }

    /// The outcome, once there is one and every batch was taken.
    #[must_use]
    pub fn take_outcome(&self) -> Option<Outcome> {
        let mut state = self.pipe.lock();
        if state.batches.is_empty() { state.outcome.take() } else { None }
    }

    /// Changes how long the thread waits after each key (`key-load-delay`), in microseconds.
    pub fn set_key_delay(&self, delay_us: i32) {
        self.pipe.key_delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Until there may be room, a batch or the outcome.
    pub async fn news(&self) {
        self.pipe.news.notified().await;
    }

    /// What weighs it, for as long as that is wanted.
    #[must_use]
    pub fn scales(&self) -> TransferScales {
        TransferScales(Arc::clone(&self.pipe))
    }
}

/// Weighs a [`Transfer`], also when its thread has not yet heard that it was given up.
#[derive(Debug)]
pub struct TransferScales(Arc<Pipe>);

impl MemoryUsage for TransferScales {
    /// Bytes that wait on the way, and what the thread reads into; decoded entries are not known without a walk.
    fn memory_usage(&self) -> usize {
        let state = self.0.lock();
        let reading = if state.outcome.is_none() { usable_size(READ_BUFFER_BYTES) } else { 0 };
        let offered: usize = state.offered.iter().map(vec_usage).sum();
        offered + state.front_usage + usable_size(state.offered.capacity() * size_of::<Vec<u8>>()) + reading
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.abandoned = true;
        state.offered.clear();
        state.batches.clear();
        drop(state);
        self.pipe.changed.notify_one();
    }
}

/// What is offered, as an input to read from.
struct Offered<'a> {
    pipe: &'a Pipe,
    worker: &'a Worker,
    front: Vec<u8>,
    /// Bytes of `front` that were read.
    read: usize,
}

impl Offered<'_> {
    /// Bytes that were not read yet, at least one unless everything was.
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.read == self.front.len() {
            let idle = |state: &State| state.offered.is_empty() && !state.complete && !state.abandoned;
            let mut state = self.pipe.wait_while(self.worker, idle);
            if state.abandoned {
                return Err(abandoned());
            }
            self.front = state.offered.pop_front().unwrap_or_default();
            self.read = 0;
            state.offered_bytes -= self.front.len();
            state.front_usage = vec_usage(&self.front);
            drop(state);
            self.pipe.news.notify_one();
        }
        Ok(self.front.get(self.read..).unwrap_or_default())
    }
}

impl Read for Offered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill()?.read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

fn decode<R: Read>(input: R, options: LoadOptions, pipe: &Pipe, worker: &Worker) -> Outcome {
    let give = |batch| pipe.give(worker, batch).map_err(LoadError::Open);
    pipe.key_delay_us.store(options.key_delay_us, Ordering::Relaxed);
    let mut decoder = Decoder::open(input, LoadOptions { key_delay_us: 0, ..options })?;
    // The first batch says that the input is a snapshot that can be read: only then may old data go.
    let mut batch = Batch::default();
    let mut end = 0;
    let mut given_ms = 0;
    loop {
        let now_ms = clock::unix_ms();
        if decoder.offset() >= end || batch.entries.len() >= BATCH_ENTRIES || now_ms - given_ms > BATCH_MS {
            given_ms = now_ms;
            batch.counts = decoder.counts();
            batch.offset = decoder.offset();
            batch.used_memory = decoder.used_memory();
            give(std::mem::take(&mut batch))?;
            end = decoder.offset() + BATCH_BYTES;
        }
        match decoder.next_item(now_ms)? {
            Item::Entry(database, entry) => {
                batch.entries.push((database, hash(entry.key()), entry));
                let delay_us = pipe.key_delay_us.load(Ordering::Relaxed);
                if delay_us != 0 {
                    worker.in_system_call(|| delay(delay_us));
                }
            }
            Item::Function(source) => batch.functions.push(source),
            Item::Nothing => {}
            Item::End => break,
        }
    }
    let counts = decoder.counts();
    batch.counts = counts;
    batch.offset = decoder.offset();
    batch.used_memory = decoder.used_memory();
    give(batch)?;
    Ok(Finished { counts, origin: decoder.origin().clone() })
}

/// Writes what is read from it to a file.
struct Stored<'a> {
    offered: Offered<'a>,
    file: File,
    written: u64,
    synced: u64,
}

impl Stored<'_> {
    fn sync(&mut self) -> io::Result<()> {
        let file = &self.file;
        self.synced = self.written;
        self.offered.worker.in_system_call(|| file.sync_data())
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.offered.read(buffer)?;
        let (mut file, bytes) = (&self.file, buffer.get(..count).unwrap_or_default());
        self.offered.worker.in_system_call(|| file.write_all(bytes))?;
        self.written += count as u64;
        if self.written - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(count)
    }
}

fn store(offered: Offered<'_>, file: File, options: &LoadOptions) -> Outcome {
    let mut input = Stored { offered, file, written: 0, synced: 0 };
    let read = check(&mut input, options);
    read?;
    // What follows the end is no business of the checker's, but belongs into the file.
    io::copy(&mut input, &mut io::sink()).map_err(LoadError::Open)?;
    input.sync().map_err(LoadError::Open)?;
    Ok(Finished::default())
}

/// Walks a snapshot without keeping anything of it.
///
/// # Errors
/// It is damaged, or holds what this server lacks.
fn check<R: Read>(input: R, options: &LoadOptions) -> Result<(), LoadError> {
    let reader = if options.checksum { Reader::new(input) } else { Reader::without_checksum(input) };
    let mut snapshot = Snapshot::open(reader, options.check)?;
    loop {
        match snapshot.next_event()? {
            Event::Entry(header) if header.value_type == ValueType::Module2 => {
                return Err(LoadError::ModuleValue);
            }
            Event::ModuleAux { module_id } => {
                return Err(LoadError::Module { name: format::module_type_name(module_id) });
            }
            Event::SelectDb(number) if number >= options.databases as u64 => {
                return Err(LoadError::Databases(options.databases));
            }
            Event::Eof(_) => return Ok(()),
            _ => {}
        }
    }
}

/// Opens a new file for a snapshot that is received, in the working directory (Valkey: `temp-<time>.<pid>.rdb`).
///
/// # Errors
/// The system's.
pub fn create_temporary(now_ms: i64) -> io::Result<(File, PathBuf)> {
    let name = format!("temp-{}.{}.rdb", now_ms / 1000, std::process::id());
    let path = Path::new(&name).to_path_buf();
    let file = File::options().write(true).create_new(true).open(&path)?;
    Ok((file, path))
}
