//! Reading a snapshot into the keyspace, piece by piece, so that the event loop can answer in between.
//!
//! A file is refused as a whole with the offset and the reason; it is never changed. What of it was read before stays in
//! the keyspace: who called decides what that means (at start: the process ends).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::decode::{Decoder, Expired, Item, Loaded, Origin};
use super::receive::{Batch, Finished};
use super::save::reason;
use super::state::{LoadProgress, LoadingMode, State};
use crate::algorithms::hash::hash;
use crate::config::{Config, RdbVersionCheck};
use crate::keyspace::access::AccessPolicy;
use crate::keyspace::{Entry, Keyspace};
use crate::rdb::format::VersionCheck;
use crate::rdb::functions::library_name;
use crate::rdb::{RdbError, RdbErrorKind, Reader};
use crate::types::Limits;

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
    /// How many databases there are.
    pub databases: usize,
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
            databases: config.database_count(),
        }
    }
}

/// Why a file was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be opened.
    Open(io::Error),
    /// It was received and cannot be given its place.
    Place(io::Error),
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
    /// It has a function library that is there already.
    DuplicateLibrary,
    /// It has data of a module.
    Module {
        /// The module type's name.
        name: String,
    },
    /// It has a value of a module's type.
    ModuleValue,
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
            Self::Open(_)
            | Self::Place(_)
            | Self::Databases(_)
            | Self::DuplicateLibrary
            | Self::Module { .. }
            | Self::ModuleValue => false,
        }
    }

    /// Whether it is no snapshot of a kind that this server reads, which shows before anything of it was loaded.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        matches!(
            self,
            Self::Rdb(RdbError { kind: RdbErrorKind::BadMagic(_) | RdbErrorKind::UnsupportedVersion(_), .. })
        )
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
            Self::Place(error) => vec![format!(
                "Failed trying to rename the temp DB into {} in PRIMARY <-> REPLICA synchronization: {}",
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
            Self::DuplicateLibrary => {
                vec!["Failed creating the library: a library of this name already exists".to_owned()]
            }
            Self::Module { name } => vec![format!(
                "The RDB file contains AUX module data I can't load: no matching module '{name}'"
            )],
            Self::ModuleValue => vec!["The RDB file contains module data I can't load".to_owned()],
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

/// A load under way.
#[derive(Debug)]
pub struct Loader<R = File> {
    decoder: Decoder<R>,
    total_bytes: u64,
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
        Self::of_input(file, total_bytes, options).map(Some)
    }
}

impl<R: Read> Loader<R> {
    /// Loads from an input of about so many bytes, 0 if that is not known, and reads its magic.
    ///
    /// # Errors
    /// The input is none that this server reads.
    pub fn of_input(input: R, total_bytes: u64, options: LoadOptions) -> Result<Self, LoadError> {
        Ok(Self { decoder: Decoder::open(input, options)?, total_bytes })
    }

    /// Bytes of the input that were read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Loaded {
        self.decoder.counts()
    }

    /// What the snapshot has said of its replication history.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.decoder.origin()
    }

    /// Gives the reader back; what follows the snapshot stands next in it.
    #[must_use]
    pub fn into_reader(self) -> Reader<R> {
        self.decoder.into_reader()
    }

    /// What was left out since this was last asked because its time had come, in order, with its databases.
    pub fn take_expired(&mut self) -> Vec<(usize, Expired)> {
        self.decoder.take_expired()
    }

    /// Loads until about `bytes` more of the file are consumed. `true`: the whole file is loaded.
    ///
    /// # Errors
    /// What is wrong with the file; the loader cannot go on.
    pub fn step(&mut self, keyspace: &mut Keyspace, now_ms: i64, bytes: u64) -> Result<bool, LoadError> {
        let end = self.decoder.offset().saturating_add(bytes);
        while self.decoder.offset() < end {
            match self.decoder.next_item(now_ms)? {
                Item::Entry(database, entry) => self.put(keyspace, database, entry)?,
                Item::Function(source) => self.put_library(keyspace, source)?,
                Item::Nothing => {}
                Item::End => return Ok(true),
            }
        }
        Ok(false)
    }

    fn put_library(&self, keyspace: &mut Keyspace, source: Vec<u8>) -> Result<(), LoadError> {
        let name = library_name(&source);
        if !self.decoder.options().replace
            && keyspace.libraries().iter().any(|known| library_name(known) == name)
        {
            return Err(LoadError::DuplicateLibrary);
        }
        keyspace.add_library(source);
        Ok(())
    }

    fn put(&self, keyspace: &mut Keyspace, database: usize, entry: Entry) -> Result<(), LoadError> {
        let options = self.decoder.options();
        let Some(entries) = keyspace.databases_mut().get_mut(database) else {
            return Err(LoadError::Databases(database));
        };
        let hash = hash(entry.key());
        match entries.table().find(hash, entry.key()) {
            None => {
                entries.insert(hash, entry);
            }
            Some(position) if options.replace => drop(entries.table_mut().replace(position, entry)),
            Some(_) => {
                let key = options.names_keys.then(|| entry.key().to_vec());
                return Err(LoadError::DuplicateKey { key, database, offset: self.decoder.offset() });
            }
        }
        Ok(())
    }
}

impl State {
    /// A load begins: clients are told so until [`State::end_loading`].
    pub fn begin_loading<R: Read>(&mut self, loader: &Loader<R>, now_ms: i64) {
        (self.keys_expired, self.keys_loaded) = (0, 0);
        self.loading = Some(LoadProgress {
            started: now_ms / 1000,
            total_bytes: loader.total_bytes,
            ..LoadProgress::default()
        });
    }

    /// The load of a snapshot that is received begins; `total_bytes` is 0 if its length is not known.
    pub fn begin_receiving(&mut self, total_bytes: u64, mode: LoadingMode, now_ms: i64) {
        (self.keys_expired, self.keys_loaded) = (0, 0);
        self.loading =
            Some(LoadProgress { started: now_ms / 1000, total_bytes, mode, ..LoadProgress::default() });
    }

    /// Notes how far it has come.
    pub fn note_received(&mut self, batch: &Batch) {
        if let Some(progress) = &mut self.loading {
            progress.loaded_bytes = batch.offset;
            progress.used_memory = batch.used_memory;
        }
        self.keys_expired = batch.counts.expired;
        self.keys_loaded = batch.counts.keys;
    }

    /// Notes how far the load has come.
    pub fn note_loading<R: Read>(&mut self, loader: &Loader<R>) {
        if let Some(progress) = &mut self.loading {
            progress.loaded_bytes = loader.decoder.offset();
            progress.used_memory = loader.decoder.used_memory();
        }
        self.keys_expired = loader.counts().expired;
        self.keys_loaded = loader.counts().keys;
    }

    /// The load of an append-only file of so many bytes begins, see [`State::begin_loading`].
    pub fn begin_loading_bytes(&mut self, total_bytes: u64, now_ms: i64) {
        (self.keys_expired, self.keys_loaded) = (0, 0);
        self.loading = Some(LoadProgress { started: now_ms / 1000, total_bytes, ..LoadProgress::default() });
    }

    /// Notes how far that load has come, and what its base has counted.
    pub fn note_loaded_bytes(&mut self, loaded_bytes: u64, counts: Loaded) {
        if let Some(progress) = &mut self.loading {
            progress.loaded_bytes = loaded_bytes;
        }
        (self.keys_expired, self.keys_loaded) = (counts.expired, counts.keys);
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
    ) -> Result<Finished, LoadError> {
        self.begin_loading(&loader, now_ms);
        let outcome = loader.step(keyspace, now_ms, u64::MAX);
        self.note_loading(&loader);
        self.end_loading();
        outcome.map(|_| Finished { counts: loader.counts(), origin: loader.origin().clone() })
    }

    /// The load is over, whatever came of it.
    pub fn end_loading(&mut self) {
        self.loading = None;
    }
}
