//! A whole file, event by event.
//!
//! After [`Event::Entry`] the value is next in the input: the caller takes it with [`Snapshot::value`], or leaves it and the
//! next call of [`Snapshot::next_event`] reads past it. After [`Event::Eof`] the reader stands behind the checksum.

use std::io::Read;

use super::error::RdbErrorKind;
use super::format::{self, Dialect, ValueType, VersionCheck, module_opcode, opcode};
use super::reader::{Reader, Result};

/// The first version that ends with a checksum.
const FIRST_CHECKSUM_VERSION: u16 = 5;
/// Length of the name of a slot migration (Valkey: `CLUSTER_NAMELEN`).
const JOB_NAME_BYTES: usize = 40;
/// Bytes from this one up were opcodes before the families parted.
const FIRST_SHARED_OPCODE: u8 = opcode::SLOT_INFO;

/// What the file says next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A pair about the file.
    Aux {
        /// Its name.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The database of the entries that follow.
    SelectDb(u64),
    /// How much the database holds; a hint, not a promise.
    ResizeDb {
        /// Keys in all.
        keys: u64,
        /// Keys that expire.
        expiries: u64,
    },
    /// How much one cluster slot holds; a hint.
    SlotInfo {
        /// The slot.
        slot: u64,
        /// Keys in all.
        keys: u64,
        /// Keys that expire.
        expiries: u64,
    },
    /// A slot migration that was under way.
    SlotImport {
        /// The name of the job.
        job: Vec<u8>,
        /// First and last slot of each range.
        ranges: Vec<(u64, u64)>,
    },
    /// An entry; its key and value are at [`Snapshot::value`].
    Entry(EntryHeader),
    /// The source of a function library.
    Function(Vec<u8>),
    /// Data of a module, which was read past.
    ModuleAux {
        /// The module type, see [`format::module_type_name`].
        module_id: u64,
    },
    /// The end.
    Eof(ChecksumState),
}

/// What comes before the value of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// The form of the value.
    pub value_type: ValueType,
    /// Absolute expiry.
    pub expiry_ms: Option<i64>,
    /// Seconds since the last access, if the writer evicted by it.
    pub idle_seconds: Option<u64>,
    /// Access counter, if the writer evicted by it.
    pub frequency: Option<u8>,
}

/// What the checksum at the end said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumState {
    /// It fits.
    Verified,
    /// The writer had it turned off.
    NotStored,
    /// The format had none yet (before version 5).
    NotInFormat,
    /// The reader was told to leave it out.
    NotVerified,
}

/// What of a file is being read: it tells where an error was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The byte that says what comes.
    Type,
    /// An expiry.
    Expiry,
    /// A key.
    Key,
    /// A value.
    Value,
    /// The checksum at the end.
    Checksum,
    /// The number or the sizes of a database or a slot.
    Length,
    /// A pair about the file.
    Aux,
    /// Data of a module.
    ModuleAux,
    /// A function library.
    Function,
}

/// Walks a file.
#[derive(Debug)]
pub struct Snapshot<R> {
    reader: Reader<R>,
    version: u16,
    dialect: Dialect,
    key: Vec<u8>,
    stage: Stage,
    /// The form of the entry that is being read.
    form: Option<ValueType>,
    /// An entry whose value nobody has taken.
    pending: Option<ValueType>,
    /// The attributes gathered for the next entry.
    expiry_ms: Option<i64>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl<R: Read> Snapshot<R> {
    /// Reads magic and version.
    pub fn open(mut reader: Reader<R>, check: VersionCheck) -> Result<Self> {
        let header = reader.read_array()?;
        let Some((valkey_magic, version)) = format::parse_header(&header) else {
            return Err(reader.error(RdbErrorKind::BadMagic(header)));
        };
        if !format::accepts_file(version, valkey_magic, check) {
            return Err(reader.error(RdbErrorKind::UnsupportedVersion(version)));
        }
        Ok(Self {
            reader,
            version,
            dialect: Dialect::of(version),
            key: Vec::new(),
            stage: Stage::Type,
            form: None,
            pending: None,
            expiry_ms: None,
            idle_seconds: None,
            frequency: None,
        })
    }

    /// The version of the file.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Bytes consumed so far.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// What is being read, or was when an error was met.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The form of the entry that is being read, or was when an error was met.
    pub fn form(&self) -> Option<ValueType> {
        self.form
    }

    /// The key of the last entry.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The key of the last entry, and the reader placed at its value, which the caller must read to its end.
    pub fn value(&mut self) -> (&[u8], &mut Reader<R>) {
        self.pending = None;
        (&self.key, &mut self.reader)
    }

    /// Gives the reader back, see [`Reader::into_parts`].
    pub fn into_reader(self) -> Reader<R> {
        self.reader
    }

    /// The next event. After [`Event::Eof`] or an error it must not be called again.
    pub fn next_event(&mut self) -> Result<Event> {
        if let Some(value_type) = self.pending.take() {
            self.reader.skip_value(value_type)?;
        }
        self.form = None;
        loop {
            self.stage = Stage::Type;
            let byte = self.reader.read_byte()?;
            match byte {
                opcode::EXPIRY_MS => self.set_expiry_ms()?,
                opcode::EXPIRY_SECONDS => {
                    self.stage = Stage::Expiry;
                    let seconds = i32::from_le_bytes(self.reader.read_array()?);
                    self.expiry_ms = Some(i64::from(seconds) * 1000);
                }
                opcode::IDLE => self.idle_seconds = Some(self.reader.read_len()?),
                opcode::FREQUENCY => self.frequency = Some(self.reader.read_byte()?),
                opcode::EOF => return self.read_end().map(Event::Eof),
                FIRST_SHARED_OPCODE.. => return self.read_record(byte),
                opcode::SLOT_IMPORT if self.dialect == Dialect::Valkey => return self.read_slot_import(),
                _ => return self.read_entry(byte).map(Event::Entry),
            }
        }
    }

    fn set_expiry_ms(&mut self) -> Result<()> {
        self.stage = Stage::Expiry;
        // Valkey keeps "no expiry" as -1 and would take it from a file as such.
        self.expiry_ms = Some(self.reader.read_ms()?).filter(|&ms| ms != -1);
        Ok(())
    }

    fn read_entry(&mut self, byte: u8) -> Result<EntryHeader> {
        let Some(value_type) = ValueType::from_byte(byte, self.dialect) else {
            return Err(self.reader.error(match self.dialect {
                Dialect::Redis if byte > ValueType::StreamListpacks3.byte() => {
                    RdbErrorKind::ForeignType { byte, version: self.version }
                }
                _ => RdbErrorKind::UnknownType(byte),
            }));
        };
        (self.stage, self.form) = (Stage::Key, Some(value_type));
        self.reader.read_string_into(&mut self.key)?;
        (self.stage, self.pending) = (Stage::Value, Some(value_type));
        Ok(EntryHeader {
            value_type,
            expiry_ms: self.expiry_ms.take(),
            idle_seconds: self.idle_seconds.take(),
            frequency: self.frequency.take(),
        })
    }

    fn read_record(&mut self, byte: u8) -> Result<Event> {
        self.stage = match byte {
            opcode::AUX => Stage::Aux,
            opcode::SELECT_DB | opcode::RESIZE_DB | opcode::SLOT_INFO => Stage::Length,
            opcode::FUNCTION2 => Stage::Function,
            opcode::MODULE_AUX => Stage::ModuleAux,
            _ => Stage::Type,
        };
        let reader = &mut self.reader;
        Ok(match byte {
            opcode::AUX => {
                Event::Aux { key: reader.read_string_owned()?, value: reader.read_string_owned()? }
            }
            opcode::SELECT_DB => Event::SelectDb(reader.read_len()?),
            opcode::RESIZE_DB => Event::ResizeDb { keys: reader.read_len()?, expiries: reader.read_len()? },
            opcode::SLOT_INFO => Event::SlotInfo {
                slot: reader.read_len()?,
                keys: reader.read_len()?,
                expiries: reader.read_len()?,
            },
            opcode::FUNCTION2 => Event::Function(reader.read_string_owned()?),
            opcode::FUNCTION_PRE_GA => {
                return Err(reader.corrupt("Pre-release function format not supported."));
            }
            opcode::MODULE_AUX => {
                let module_id = reader.read_len()?;
                let when_opcode = reader.read_len()?;
                reader.read_len()?;
                if when_opcode != module_opcode::UNSIGNED {
                    return Err(reader.corrupt("bad when_opcode"));
                }
                reader.skip_module_data()?;
                Event::ModuleAux { module_id }
            }
            other => return Err(reader.error(RdbErrorKind::UnknownType(other))),
        })
    }

    fn read_slot_import(&mut self) -> Result<Event> {
        let job = self.reader.read_string_owned()?;
        if job.len() != JOB_NAME_BYTES {
            return Err(self.reader.corrupt("Invalid slot import job name length in RDB"));
        }
        let (count, room) = self.reader.read_count()?;
        let mut ranges = Vec::with_capacity(room);
        for _ in 0..count {
            ranges.push((self.reader.read_len()?, self.reader.read_len()?));
        }
        Ok(Event::SlotImport { job, ranges })
    }

    fn read_end(&mut self) -> Result<ChecksumState> {
        if self.version < FIRST_CHECKSUM_VERSION {
            return Ok(ChecksumState::NotInFormat);
        }
        self.stage = Stage::Checksum;
        let expected = self.reader.checksum();
        let got = u64::from_le_bytes(self.reader.read_array()?);
        match expected {
            _ if got == 0 => Ok(ChecksumState::NotStored),
            None => Ok(ChecksumState::NotVerified),
            Some(expected) if expected == got => Ok(ChecksumState::Verified),
            Some(expected) => Err(self.reader.error(RdbErrorKind::Checksum { expected, got })),
        }
    }
}
