//! Reading a snapshot into the keyspace, piece by piece, so that the event loop can answer in between.
//!
//! A file is refused as a whole with the offset and the reason; it is never changed. What of it was read before stays in
//! the keyspace: who called decides what that means (at start: the process ends).

use std::fs::File;
use std::io;
use std::path::Path;

use super::save::{delay, reason};
use super::state::{LoadProgress, State};
use crate::algorithms::hash::hash;
use crate::algorithms::numbers::parse_i64;
use crate::config::{Config, RdbVersionCheck};
use crate::keyspace::access::{AccessPolicy, clock_of_frequency, clock_of_idle};
use crate::keyspace::{Entry, Keyspace};
use crate::rdb::format::{self, VersionCheck};
use crate::rdb::snapshot::{ChecksumState, EntryHeader};
use crate::rdb::{Event, RdbError, RdbErrorKind, Reader, Snapshot, ValueType as Form};
use crate::types::{Limits, Value};

/// Empty keys that are named in the log; older servers could store them by mistake.
const EMPTY_KEYS_NAMED: u64 = 10;

/// How a file is loaded.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// `rdb-version-check`.
    pub check: VersionCheck,
    /// `rdbchecksum`: verify it.
    pub checksum: bool,
    /// Leave out what has expired: a primary does, unless an append-only file follows.
    pub drop_expired: bool,
    /// A key that is there already is replaced instead of refused.
    pub replace: bool,
    /// Encodings of the values.
    pub limits: Limits,
    /// What is taken over of an entry's last use.
    pub access: AccessPolicy,
    /// `key-load-delay`: microseconds to wait after each key.
    pub key_delay_us: i32,
    /// Name keys in the log.
    pub names_keys: bool,
}

impl LoadOptions {
    /// As the configuration says, for a primary.
    #[must_use]
    pub fn new(config: &Config, limits: Limits, access: AccessPolicy) -> Self {
        Self {
            check: match config.rdb_version_check {
                RdbVersionCheck::Strict => VersionCheck::Strict,
                RdbVersionCheck::Relaxed => VersionCheck::Relaxed,
            },
            checksum: config.rdbchecksum,
            drop_expired: true,
            replace: false,
            limits,
            access,
            key_delay_us: config.key_load_delay,
            names_keys: !config.hide_user_data_from_log,
        }
    }
}

/// Why a file was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be opened.
    Open(io::Error),
    /// Its bytes are wrong.
    Rdb(RdbError),
    /// It has a database beyond those of this server.
    Databases(usize),
    /// It has a key twice.
    DuplicateKey {
        /// The key, if it may be named.
        key: Option<Vec<u8>>,
        /// Its database.
        database: usize,
        /// Bytes read before the second one.
        offset: u64,
    },
    /// It has data of a module.
    Module {
        /// The module type's name.
        name: String,
    },
}

impl From<RdbError> for LoadError {
    fn from(error: RdbError) -> Self {
        Self::Rdb(error)
    }
}

impl LoadError {
    /// Whether the file itself is damaged, rather than missing or of another kind.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Rdb(error) => !matches!(
                error.kind,
                RdbErrorKind::BadMagic(_)
                    | RdbErrorKind::UnsupportedVersion(_)
                    | RdbErrorKind::ForeignType { .. }
            ),
            Self::DuplicateKey { .. } => true,
            Self::Open(_) | Self::Databases(_) | Self::Module { .. } => false,
        }
    }

    /// The lines that say so in the log.
    #[must_use]
    pub fn lines(&self, file: &Path) -> Vec<String> {
        match self {
            Self::Open(error) => vec![format!(
                "Fatal error: can't open the RDB file {} for reading: {}",
                file.display(),
                reason(error)
            )],
            Self::Rdb(error) => rdb_lines(error),
            Self::Databases(count) => vec![format!(
                "FATAL: Data file was created with a Valkey server configured to handle more than {count} \
                 databases. Exiting"
            )],
            Self::DuplicateKey { key, database, offset } => {
                let line = match key {
                    Some(key) => {
                        let key = String::from_utf8_lossy(key);
                        format!("RDB has duplicated key '{key}' in DB {database}")
                    }
                    None => format!("RDB has duplicated key in DB {database}"),
                };
                vec![line, internal_error(*offset, "Duplicated key found in RDB file")]
            }
            Self::Module { name } => vec![format!(
                "The RDB file contains AUX module data I can't load: no matching module '{name}'"
            )],
        }
    }
}

fn internal_error(offset: u64, reason: &str) -> String {
    format!("Internal error in RDB reading offset {offset} -> {reason}")
}

fn rdb_lines(error: &RdbError) -> Vec<String> {
    let at = |reason: &str| internal_error(error.offset, reason);
    match &error.kind {
        RdbErrorKind::BadMagic(_)
        | RdbErrorKind::UnsupportedVersion(_)
        | RdbErrorKind::ForeignType { .. } => {
            vec![error.kind.to_string()]
        }
        RdbErrorKind::Checksum { .. } => vec![error.kind.to_string(), at("RDB CRC error")],
        RdbErrorKind::UnknownType(_) => vec![
            at(&error.kind.to_string()),
            "Unknown type or opcode when loading DB. Unrecoverable error, aborting now.".to_owned(),
        ],
        RdbErrorKind::Corrupt(_) => vec![at(&error.kind.to_string())],
        RdbErrorKind::Truncated | RdbErrorKind::Io(_) => vec![
            "Short read or OOM loading DB. Unrecoverable error, aborting now.".to_owned(),
            at(&error.kind.to_string()),
        ],
    }
}

/// What a finished load has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that are in the keyspace now.
    pub keys: u64,
    /// Keys left out because they had expired.
    pub expired: u64,
    /// Collections left out because they were empty.
    pub empty: u64,
    /// Hashes left out because all their fields had expired.
    pub expired_hashes: u64,
}

/// A load under way.
#[derive(Debug)]
pub struct Loader {
    snapshot: Snapshot<File>,
    options: LoadOptions,
    database: usize,
    counts: Loaded,
    total_bytes: u64,
    used_memory: u64,
    functions_skipped: bool,
}

impl Loader {
    /// Opens a file and reads its magic; `None` when there is no file.
    ///
    /// # Errors
    /// The file cannot be opened, or is none that this server reads.
    pub fn open(path: &Path, options: LoadOptions) -> Result<Option<Self>, LoadError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LoadError::Open(error)),
        };
        let total_bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let reader = if options.checksum { Reader::new(file) } else { Reader::without_checksum(file) };
        Ok(Some(Self {
            snapshot: Snapshot::open(reader, options.check)?,
            options,
            database: 0,
            counts: Loaded::default(),
            total_bytes,
            used_memory: 0,
            functions_skipped: false,
        }))
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Loaded {
        self.counts
    }

    /// Loads until about `bytes` more of the file are consumed. `true`: the whole file is loaded.
    ///
    /// # Errors
    /// What is wrong with the file; the loader cannot go on.
    pub fn step(&mut self, keyspace: &mut Keyspace, now_ms: i64, bytes: u64) -> Result<bool, LoadError> {
        let end = self.snapshot.offset().saturating_add(bytes);
        while self.snapshot.offset() < end {
            match self.snapshot.next_event()? {
                Event::Entry(header) => self.load_entry(keyspace, now_ms, header)?,
                Event::SelectDb(number) => self.select(keyspace, number)?,
                Event::Aux { key, value } => self.note_aux(&key, &value, now_ms)?,
                Event::ModuleAux { module_id } => {
                    return Err(LoadError::Module { name: format::module_type_name(module_id) });
                }
                Event::Function(_) => self.skip_function(),
                // Tables grow one bucket at a time, so there is nothing to prepare; slots are a cluster's.
                Event::ResizeDb { .. } | Event::SlotInfo { .. } | Event::SlotImport { .. } => {}
                Event::Eof(checksum) => {
                    self.finish(checksum);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn select(&mut self, keyspace: &Keyspace, number: u64) -> Result<(), LoadError> {
        let count = keyspace.databases().len();
        match usize::try_from(number) {
            Ok(number) if number < count => {
                self.database = number;
                Ok(())
            }
            _ => Err(LoadError::Databases(count)),
        }
    }

    fn load_entry(
        &mut self,
        keyspace: &mut Keyspace,
        now_ms: i64,
        header: EntryHeader,
    ) -> Result<(), LoadError> {
        let (key, reader) = self.snapshot.value();
        let entry = if header.value_type == Form::String {
            Some(Entry::string(key, reader.read_string()?, header.expiry_ms))
        } else {
            let skip_before_ms = self.options.drop_expired.then_some(now_ms);
            Value::read_rdb(reader, header.value_type, &self.options.limits, skip_before_ms)?
                .map(|value| Entry::with_value(key, value, header.expiry_ms))
        };
        let Some(mut entry) = entry else {
            match header.value_type {
                Form::Hash2 | Form::HashMetadata | Form::HashListpackExpiry => {
                    self.counts.expired_hashes += 1;
                }
                _ => self.skip_empty(),
            }
            return Ok(());
        };
        if self.options.drop_expired && header.expiry_ms.is_some_and(|expiry_ms| expiry_ms < now_ms) {
            self.counts.expired += 1;
            return Ok(());
        }
        entry.set_clock(self.clock(&header, now_ms));
        self.put(keyspace, entry)?;
        if self.options.key_delay_us != 0 {
            delay(self.options.key_delay_us);
        }
        Ok(())
    }

    fn put(&mut self, keyspace: &mut Keyspace, entry: Entry) -> Result<(), LoadError> {
        let Some(database) = keyspace.databases_mut().get_mut(self.database) else {
            return Err(LoadError::Databases(self.database));
        };
        let (table, hash) = (database.table_mut(), hash(entry.key()));
        match table.find(hash, entry.key()) {
            None => {
                table.insert(hash, entry);
            }
            Some(position) if self.options.replace => drop(table.replace(position, entry)),
            Some(_) => {
                let key = self.options.names_keys.then(|| entry.key().to_vec());
                let (database, offset) = (self.database, self.snapshot.offset());
                return Err(LoadError::DuplicateKey { key, database, offset });
            }
        }
        self.counts.keys += 1;
        Ok(())
    }

    /// The access clock that goes with what the file says of the last use, if the policy is of the same kind.
    fn clock(&self, header: &EntryHeader, now_ms: i64) -> u32 {
        let access = self.options.access;
        match (header.frequency, header.idle_seconds) {
            (Some(frequency), _) if access.is_lfu() => clock_of_frequency(frequency, now_ms),
            (_, Some(idle)) if !access.is_lfu() => clock_of_idle(idle, now_ms),
            _ => access.fresh(now_ms),
        }
    }

    fn skip_empty(&mut self) {
        if self.counts.empty < EMPTY_KEYS_NAMED {
            if self.options.names_keys {
                let key = String::from_utf8_lossy(self.snapshot.key());
                tracing::info!("rdbLoadObject skipping empty key: {key}");
            } else {
                tracing::info!("rdbLoadObject skipping empty key");
            }
        }
        self.counts.empty += 1;
    }

    fn skip_function(&mut self) {
        if !std::mem::replace(&mut self.functions_skipped, true) {
            tracing::warn!(
                "The RDB file contains function libraries, which this server does not run: they are left out"
            );
        }
    }

    fn note_aux(&mut self, key: &[u8], value: &[u8], now_ms: i64) -> Result<(), LoadError> {
        let (name, text) = (key.to_ascii_lowercase(), String::from_utf8_lossy(value));
        let number = parse_i64(value).unwrap_or(0);
        match name.as_slice() {
            [b'%', ..] => tracing::info!("RDB '{}': {text}", String::from_utf8_lossy(key)),
            b"redis-ver" => tracing::info!("Loading RDB produced by Redis version {text}"),
            b"valkey-ver" => tracing::info!("Loading RDB produced by Valkey version {text}"),
            b"ctime" => tracing::info!("RDB age {} seconds", (now_ms / 1000 - number).max(0)),
            b"used-mem" => {
                tracing::info!("RDB memory usage when created {:.2} Mb", number as f64 / (1024.0 * 1024.0));
                self.used_memory = u64::try_from(number).unwrap_or(0);
            }
            b"aof-preamble" if number != 0 => tracing::info!("RDB has an AOF tail"),
            b"aof-base" if number != 0 => tracing::info!("RDB is base AOF"),
            b"slot-info" => self.check_slot_info(&text)?,
            b"aof-preamble" | b"aof-base" | b"redis-bits" | b"lua" | b"repl-stream-db" | b"repl-id"
            | b"repl-offset" => {}
            _ => tracing::trace!("Unrecognized RDB AUX field: '{}'", String::from_utf8_lossy(key)),
        }
        Ok(())
    }

    /// `slot,keys,expiries[,…]`: of no use outside of a cluster, but a malformed one means a damaged file.
    fn check_slot_info(&self, text: &str) -> Result<(), LoadError> {
        let numbers = text.split(',').take_while(|part| part.trim().parse::<i64>().is_ok());
        if numbers.count() >= 3 {
            return Ok(());
        }
        let kind = RdbErrorKind::Corrupt("Invalid slot-info".into());
        Err(RdbError { offset: self.snapshot.offset(), kind }.into())
    }

    fn finish(&self, checksum: ChecksumState) {
        if checksum == ChecksumState::NotStored && self.options.checksum {
            tracing::info!("RDB file was saved with checksum disabled: no check performed.");
        }
        let Loaded { keys, expired, empty, expired_hashes } = self.counts;
        if empty > 0 {
            tracing::info!(
                "Done loading RDB, keys loaded: {keys}, keys expired: {expired}, empty keys skipped: {empty}, all \
                 fields expired hashes: {expired_hashes}."
            );
        } else {
            tracing::info!(
                "Done loading RDB, keys loaded: {keys}, keys expired: {expired}, all fields expired hashes: \
                 {expired_hashes}."
            );
        }
    }
}

impl State {
    /// A load begins: clients are told so until [`State::end_loading`].
    pub fn begin_loading(&mut self, loader: &Loader, now_ms: i64) {
        (self.keys_expired, self.keys_loaded) = (0, 0);
        self.loading = Some(LoadProgress {
            started: now_ms / 1000,
            total_bytes: loader.total_bytes,
            ..LoadProgress::default()
        });
    }

    /// Notes how far the load has come.
    pub fn note_loading(&mut self, loader: &Loader) {
        if let Some(progress) = &mut self.loading {
            progress.loaded_bytes = loader.snapshot.offset();
            progress.used_memory = loader.used_memory;
        }
        self.keys_expired = loader.counts.expired;
        self.keys_loaded = loader.counts.keys;
    }

    /// Loads the whole file without giving way (DEBUG RELOAD).
    ///
    /// # Errors
    /// What is wrong with the file. The keyspace holds what was read before.
    pub fn load_at_once(
        &mut self,
        keyspace: &mut Keyspace,
        mut loader: Loader,
        now_ms: i64,
    ) -> Result<Loaded, LoadError> {
        self.begin_loading(&loader, now_ms);
        let outcome = loader.step(keyspace, now_ms, u64::MAX);
        self.note_loading(&loader);
        self.end_loading();
        outcome.map(|_| loader.counts())
    }

    /// The load is over, whatever came of it.
    pub fn end_loading(&mut self) {
        self.loading = None;
    }
}
