//! Writing a snapshot: one walk over the keyspace into any sink.
//!
//! The walk reads entries by `&` only, so that in a forked child it dirties no page of theirs. It knows nothing of
//! profiling: an observer is shown each entry before it is encoded, while its cache lines are there.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::codec;
use crate::config::{Config, MaxmemoryPolicy, VALKEY_VERSION};
use crate::keyspace::access::{AccessPolicy, idle_seconds};
use crate::keyspace::{Database, Entry, Keyspace};
use crate::rdb::format::ValueType;
use crate::rdb::writer::LastUse;
use crate::rdb::{Writer, WriterOptions};
use crate::sys::files;

/// Bytes after which the kernel is told to start writing (Valkey: `REDIS_AUTOSYNC_BYTES`).
const WRITEBACK_BYTES: u64 = 4 << 20;

/// A snapshot that is slow on purpose (`rdb-key-save-delay`) goes out in pieces of this size, so that what takes it is seen
/// to (Valkey: `PROTO_IOBUF_LEN`).
const SLOW_BUFFER: usize = 16 * 1024;

/// The first version of the format that stores hashes whose fields expire, and slots that are on their way.
const FIRST_WITH_FIELD_EXPIRY: u16 = 80;

/// The name of a migration of slots whose keys are here before the slots are, and its ranges: first and last slots.
pub type SlotImport = ([u8; 40], Vec<(u16, u16)>);

/// What of the configuration decides how a snapshot is written, and the facts it states of itself.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// `rdbcompression`, `rdbchecksum` and the version.
    pub writer: WriterOptions,
    /// What is stored of an entry's last use.
    pub last_use: LastUsePolicy,
    /// `rdb-save-incremental-fsync`.
    pub incremental_sync: bool,
    /// `rdb-key-save-delay`: microseconds to wait after each key.
    pub key_delay_us: i32,
    /// The instant of the snapshot, Unix ms.
    pub now_ms: i64,
    /// Allocated bytes at that instant.
    pub used_bytes: usize,
    /// The snapshot begins an append-only file.
    pub aof_base: bool,
    /// Where in a replication history the snapshot stands, if it is part of one.
    pub history: Option<History>,
    /// Slots of a cluster that are on their way (`cluster-slot-states`); empty for none.
    pub slot_states: String,
    /// Slots whose keys are here before the slots are.
    pub slot_imports: Vec<SlotImport>,
    /// No entries: a replica that asked for less (`REPLCONF rdb-filter-only`).
    pub without_data: bool,
    /// No function libraries, for the same reason.
    pub without_functions: bool,
}

/// A place in a replication history; what a snapshot says of it is [`Origin`](super::Origin) when it is read.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// The history's id (`repl-id`).
    pub id: [u8; 40],
    /// The last byte of its stream that the snapshot holds (`repl-offset`).
    pub offset: i64,
    /// The database that the stream has selected there (`repl-stream-db`).
    pub stream_database: usize,
}

/// Which of the two meanings of the access clock is stored; neither unless `maxmemory-policy` needs it.
#[derive(Debug, Clone, Copy)]
pub enum LastUsePolicy {
    /// Nothing.
    None,
    /// Seconds since the last use.
    Idle,
    /// The access counter.
    Frequency(AccessPolicy),
}

impl LastUsePolicy {
    /// What `policy` needs.
    #[must_use]
    pub fn of(policy: MaxmemoryPolicy, access: AccessPolicy) -> Self {
        match policy {
            MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru => Self::Idle,
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => Self::Frequency(access),
            _ => Self::None,
        }
    }

    fn of_entry(self, entry: &Entry, now_ms: i64) -> LastUse {
        match self {
            Self::None => LastUse::Unknown,
            Self::Idle => LastUse::IdleSeconds(u64::from(idle_seconds(entry.clock(), now_ms))),
            Self::Frequency(access) => LastUse::Frequency(access.frequency(entry.clock(), now_ms) as u8),
        }
    }
}

impl SaveOptions {
    /// As the configuration says.
    #[must_use]
    pub fn new(config: &Config, access: AccessPolicy, now_ms: i64) -> Self {
        Self {
            writer: WriterOptions {
                compression: config.rdbcompression,
                checksum: config.rdbchecksum,
                ..WriterOptions::default()
            },
            last_use: LastUsePolicy::of(config.maxmemory_policy, access),
            incremental_sync: config.rdb_save_incremental_fsync,
            key_delay_us: config.rdb_key_save_delay,
            now_ms,
            used_bytes: crate::memory::allocated_bytes(),
            aof_base: false,
            history: None,
            slot_states: String::new(),
            slot_imports: Vec::new(),
            without_data: false,
            without_functions: false,
        }
    }
}

/// Who is told of the walk.
pub trait Observer {
    /// An entry is about to be encoded.
    fn on_entry(&mut self, entry: &Entry);
    /// An entry was written; `keys` have been so far.
    ///
    /// # Errors
    /// One ends the save.
    fn entry_written(&mut self, keys: u64) -> io::Result<()>;
}

/// Nobody.
#[derive(Debug)]
pub struct NoObserver;

impl Observer for NoObserver {
    #[inline]
    fn on_entry(&mut self, _: &Entry) {}

    #[inline]
    fn entry_written(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a whole snapshot and gives the sink back, not flushed.
///
/// # Errors
/// The sink's, or the observer's.
pub fn write_snapshot<W: Write>(
    keyspace: &Keyspace,
    options: &SaveOptions,
    sink: W,
    observer: &mut impl Observer,
) -> io::Result<W> {
    let mut writer = Writer::new(sink, options.writer);
    writer.write_header()?;
    writer.write_aux(b"valkey-ver", VALKEY_VERSION.as_bytes())?;
    writer.write_aux_integer(b"redis-bits", i64::from(usize::BITS))?;
    writer.write_aux_integer(b"ctime", options.now_ms / 1000)?;
    writer.write_aux_integer(b"used-mem", options.used_bytes as i64)?;
    if let Some(history) = &options.history {
        writer.write_aux_integer(b"repl-stream-db", history.stream_database as i64)?;
        writer.write_aux(b"repl-id", &history.id)?;
        writer.write_aux_integer(b"repl-offset", history.offset)?;
    }
    if !options.slot_states.is_empty() {
        writer.write_aux(b"cluster-slot-states", options.slot_states.as_bytes())?;
    }
    writer.write_aux_integer(b"aof-base", i64::from(options.aof_base))?;
    if !options.without_functions {
        for source in keyspace.libraries() {
            writer.write_function(source)?;
        }
    }
    if !options.without_data {
        write_slot_imports(&options.slot_imports, &mut writer)?;
    }
    let mut keys = 0;
    for (number, database) in keyspace.databases().iter().enumerate() {
        if !database.is_empty() && !options.without_data {
            writer.write_database(number as u64, database.len() as u64, database.expires() as u64)?;
            write_entries(database, options, &mut writer, &mut keys, observer)?;
        }
    }
    writer.finish()
}

/// Who reads of keys and not that they are to be hidden would show them, so an old format does not do.
fn write_slot_imports<W: Write>(imports: &[SlotImport], writer: &mut Writer<W>) -> io::Result<()> {
    if !imports.is_empty() && writer.version() < FIRST_WITH_FIELD_EXPIRY {
        let version = writer.version();
        return Err(io::Error::other(format!("Can't store slot migrations in RDB version {version}")));
    }
    imports.iter().try_for_each(|(name, ranges)| writer.write_slot_import(name, ranges))
}

fn write_entries<W: Write>(
    database: &Database,
    options: &SaveOptions,
    writer: &mut Writer<W>,
    keys: &mut u64,
    observer: &mut impl Observer,
) -> io::Result<()> {
    let mut outcome = Ok(());
    database.table().for_each_prefetched(|entry| {
        if outcome.is_ok() {
            observer.on_entry(entry);
            *keys += 1;
            outcome = write_entry(entry, options, writer).and_then(|()| observer.entry_written(*keys));
        }
    });
    outcome
}

fn write_entry<W: Write>(entry: &Entry, options: &SaveOptions, writer: &mut Writer<W>) -> io::Result<()> {
    let last_use = options.last_use.of_entry(entry, options.now_ms);
    let form = codec::stored_form(entry, writer.version());
    if form == ValueType::Hash2 && writer.version() < FIRST_WITH_FIELD_EXPIRY {
        let key = String::from_utf8_lossy(entry.key());
        return Err(io::Error::other(format!(
            "Can't store key '{key}' in RDB version {}: its fields expire",
            writer.version()
        )));
    }
    writer.write_entry(form, entry.key(), entry.expiry_ms(), last_use)?;
    codec::write_value(entry, writer)?;
    if options.key_delay_us != 0 {
        delay(options.key_delay_us);
        writer.flush_beyond(SLOW_BUFFER)?;
    }
    Ok(())
}

/// Valkey's `debugDelay`: a positive number waits so many microseconds, a negative one waits a microsecond once in so
/// many calls.
pub fn delay(microseconds: i32) {
    let wait = match u64::try_from(microseconds) {
        Ok(wait) => wait,
        Err(_) => u64::from(fastrand::u32(..microseconds.unsigned_abs()) == 0),
    };
    if wait > 0 {
        std::thread::sleep(Duration::from_micros(wait));
    }
}

/// A file whose bytes the kernel is made to write while more are coming.
pub(super) struct Syncing {
    file: File,
    incremental: bool,
    written: u64,
    started: u64,
}

impl Syncing {
    /// Around a file that is empty; `incremental` has the kernel write early.
    pub(super) fn new(file: File, incremental: bool) -> Self {
        Self { file, incremental, written: 0, started: 0 }
    }

    /// Makes what was written last.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.incremental {
            files::drop_from_page_cache(&self.file, 0, 0);
        }
        Ok(())
    }
}

impl Write for Syncing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.incremental && self.written - self.started >= WRITEBACK_BYTES {
            files::start_writeback(&self.file, self.started, self.written - self.started);
            self.started = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What went wrong with a snapshot file. The temporary file is gone, the old one is whole.
#[derive(Debug)]
pub struct SaveError {
    /// The log line that says so, Valkey's.
    pub line: String,
}

/// Writes the snapshot into `temporary`, syncs it, and moves it to `target`. Gives the replaced file, still open: to be
/// dropped where the time that takes does not hurt.
///
/// # Errors
/// With the line for the log; the temporary file is removed.
pub fn save_file(
    keyspace: &Keyspace,
    options: &SaveOptions,
    temporary: &Path,
    target: &Path,
    observer: &mut impl Observer,
) -> Result<Option<File>, SaveError> {
    let file = File::create(temporary).map_err(|error| SaveError {
        line: format!(
            "Failed opening the temp RDB file {} (in server root dir {}) for saving: {}",
            temporary.display(),
            root_directory(),
            reason(&error)
        ),
    })?;
    let saved = write_file(keyspace, options, file, observer)
        .map_err(|(step, error)| SaveError {
            line: format!("Write error while saving DB to the disk({step}): {}", reason(&error)),
        })
        .and_then(|()| move_into_place(temporary, target));
    if saved.is_err() {
        let _ = files::remove_if_present(temporary);
    }
    saved
}

fn write_file(
    keyspace: &Keyspace,
    options: &SaveOptions,
    file: File,
    observer: &mut impl Observer,
) -> Result<(), (&'static str, io::Error)> {
    let sink = Syncing::new(file, options.incremental_sync);
    let sink = write_snapshot(keyspace, options, sink, observer).map_err(|error| ("rdbSaveRio", error))?;
    sink.finish().map_err(|error| ("fsync", error))
}

fn move_into_place(temporary: &Path, target: &Path) -> Result<Option<File>, SaveError> {
    files::replace(temporary, target).map_err(|error| SaveError {
        line: format!(
            "Error moving temp DB file {} on the final destination {} (in server root dir {}): {}",
            temporary.display(),
            target.display(),
            root_directory(),
            reason(&error)
        ),
    })
}

fn root_directory() -> String {
    std::env::current_dir().map_or_else(|_| "unknown".to_owned(), |path| path.display().to_string())
}

/// An error in the system's words, as `strerror` gives them.
pub(super) fn reason(error: &io::Error) -> String {
    crate::config::os_reason(error)
}
