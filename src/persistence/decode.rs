//! The entries of a snapshot, one by one, out of any input: what loading a file and loading a primary's stream share.
//!
//! The decoder knows no keyspace, so it can run on another thread than the one that owns the data.

use std::io::Read;

use super::load::{LoadError, LoadOptions};
use super::save::{SlotImport, delay};
use crate::algorithms::numbers::parse_i64;
use crate::algorithms::slot::SLOTS;
use crate::keyspace::Entry;
use crate::keyspace::access::{clock_of_frequency, clock_of_idle};
use crate::rdb::format;
use crate::rdb::snapshot::{ChecksumState, EntryHeader};
use crate::rdb::{Event, RdbError, RdbErrorKind, Reader, Snapshot, ValueType as Form};
use crate::types::{ExpiredFields, Value};

/// Empty keys that are named in the log; older servers could store them by mistake.
const EMPTY_KEYS_NAMED: u64 = 10;

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

/// What a snapshot says of the replication history that it is a part of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The database that the stream after the snapshot begins in (`repl-stream-db`).
    pub stream_database: Option<i64>,
    /// The history's id (`repl-id`).
    pub id: Option<Vec<u8>>,
    /// The offset up to which the snapshot holds the history (`repl-offset`).
    pub offset: Option<i64>,
    /// Slots of the primary's cluster that are on their way (`cluster-slot-states`).
    pub slot_states: Option<String>,
    /// Slots whose keys are in the snapshot before the slots are their server's.
    pub slot_imports: Vec<SlotImport>,
}

impl Origin {
    /// Id, offset and selected database, if the snapshot says all of them.
    #[must_use]
    pub fn complete(&self) -> Option<(&[u8], i64, usize)> {
        let offset = self.offset.filter(|offset| *offset >= 0)?;
        // Old servers wrote -1 where they should have written nothing.
        let database = usize::try_from(self.stream_database?).ok()?;
        Some((self.id.as_deref()?, offset, database))
    }
}

/// What the snapshot holds next.
#[derive(Debug)]
pub enum Item {
    /// An entry and the number of its database.
    Entry(usize, Entry),
    /// The source of a function library.
    Function(Vec<u8>),
    /// Something that was read past, noted, or left out.
    Nothing,
    /// The end.
    End,
}

/// What was left out because its time had come.
#[derive(Debug)]
pub enum Expired {
    /// An entry with this key.
    Key(Vec<u8>),
    /// Some fields of the hash at this key, perhaps all.
    Fields(Vec<u8>, Vec<Vec<u8>>),
}

/// Reads entries out of an input.
#[derive(Debug)]
pub struct Decoder<R> {
    snapshot: Snapshot<R>,
    /// What was left out since [`Decoder::take_expired`], with its databases.
    expired: Vec<(usize, Expired)>,
    options: LoadOptions,
    database: usize,
    counts: Loaded,
    used_memory: u64,
    origin: Origin,
}

impl<R: Read> Decoder<R> {
    /// Reads the magic of an input.
    ///
    /// # Errors
    /// The input is none that this server reads.
    pub fn open(input: R, options: LoadOptions) -> Result<Self, LoadError> {
        let reader = if options.checksum { Reader::new(input) } else { Reader::without_checksum(input) };
        Ok(Self {
            snapshot: Snapshot::open(reader, options.check)?,
            expired: Vec::new(),
            options,
            database: 0,
            counts: Loaded::default(),
            used_memory: 0,
            origin: Origin::default(),
        })
    }

    /// How it decodes.
    #[must_use]
    pub fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Bytes of the input consumed so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.snapshot.offset()
    }

    /// What has been counted so far; [`Loaded::keys`] counts the entries that were given out.
    #[must_use]
    pub fn counts(&self) -> Loaded {
        self.counts
    }

    /// What was left out since this was last asked because its time had come, in order, with its databases.
    pub fn take_expired(&mut self) -> Vec<(usize, Expired)> {
        std::mem::take(&mut self.expired)
    }

    /// What the server that wrote the snapshot had allocated, once the snapshot has said so.
    #[must_use]
    pub fn used_memory(&self) -> u64 {
        self.used_memory
    }

    /// What the snapshot has said of its history.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Gives the reader back; what follows the snapshot stands next in it.
    #[must_use]
    pub fn into_reader(self) -> Reader<R> {
        self.snapshot.into_reader()
    }

    /// The next item. After [`Item::End`] or an error it must not be called again.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub fn next_item(&mut self, now_ms: i64) -> Result<Item, LoadError> {
        match self.snapshot.next_event()? {
            Event::Entry(header) => return self.read_entry(now_ms, header),
            Event::SelectDb(number) => self.select(number)?,
            Event::Aux { key, value } => self.note_aux(&key, &value, now_ms)?,
            Event::ModuleAux { module_id } => {
                return Err(LoadError::Module { name: format::module_type_name(module_id) });
            }
            Event::Function(source) => return Ok(Item::Function(source)),
            // Tables grow one bucket at a time, so there is nothing to prepare; slots are a cluster's.
            Event::ResizeDb { .. } | Event::SlotInfo { .. } => {}
            Event::SlotImport { job, ranges } => self.note_slot_import(&job, &ranges)?,
            Event::Eof(checksum) => {
                self.finish(checksum);
                return Ok(Item::End);
            }
        }
        Ok(Item::Nothing)
    }

    fn select(&mut self, number: u64) -> Result<(), LoadError> {
        let count = self.options.databases;
        match usize::try_from(number) {
            Ok(number) if number < count => {
                self.database = number;
                Ok(())
            }
            _ => Err(LoadError::Databases(count)),
        }
    }

    fn read_entry(&mut self, now_ms: i64, header: EntryHeader) -> Result<Item, LoadError> {
        let (key, reader) = self.snapshot.value();
        let entry = if header.value_type == Form::String {
            Some(Entry::string(key, reader.read_string()?, header.expiry_ms))
        } else {
            let mut fields = ExpiredFields { before_ms: now_ms, names: Vec::new() };
            let expired = self.options.drop_expired.then_some(&mut fields);
            let value = Value::read_rdb(reader, header.value_type, &self.options.limits, expired)?;
            if !fields.names.is_empty() {
                self.expired.push((self.database, Expired::Fields(key.to_vec(), fields.names)));
            }
            value.map(|value| Entry::with_value(key, value, header.expiry_ms))
        };
        let Some(mut entry) = entry else {
            match header.value_type {
                Form::Hash2 | Form::HashMetadata | Form::HashListpackExpiry => {
                    self.counts.expired_hashes += 1;
                }
                _ => self.skip_empty(),
            }
            return Ok(Item::Nothing);
        };
        if self.options.drop_expired && header.expiry_ms.is_some_and(|expiry_ms| expiry_ms < now_ms) {
            self.counts.expired += 1;
            self.expired.push((self.database, Expired::Key(entry.key().to_vec())));
            return Ok(Item::Nothing);
        }
        entry.set_clock(self.clock(&header, now_ms));
        if self.options.key_delay_us != 0 {
            delay(self.options.key_delay_us);
        }
        self.counts.keys += 1;
        Ok(Item::Entry(self.database, entry))
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
            b"repl-stream-db" => self.origin.stream_database = Some(number),
            b"repl-id" => self.origin.id = Some(value.to_vec()),
            b"repl-offset" => self.origin.offset = Some(number),
            b"cluster-slot-states" => self.origin.slot_states = Some(text.into_owned()),
            b"aof-preamble" | b"aof-base" | b"redis-bits" | b"lua" => {}
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

    fn note_slot_import(&mut self, job: &[u8], ranges: &[(u64, u64)]) -> Result<(), LoadError> {
        let slot = |number: u64| u16::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS);
        let corrupt = |offset, text: String| RdbError { offset, kind: RdbErrorKind::Corrupt(text.into()) };
        let offset = self.snapshot.offset();
        let ranges: Result<Vec<_>, RdbError> = ranges
            .iter()
            .map(|&(start, end)| match (slot(start), slot(end)) {
                (Some(first), Some(last)) if first <= last => Ok((first, last)),
                _ => {
                    let text = format!("Invalid slot import range in RDB: start={start} end={end}");
                    Err(corrupt(offset, text))
                }
            })
            .collect();
        let name = job
            .try_into()
            .map_err(|_| corrupt(offset, "Invalid slot import job name length in RDB".to_owned()))?;
        self.origin.slot_imports.push((name, ranges?));
        Ok(())
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
