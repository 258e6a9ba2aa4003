//! Hashes in the RDB format: every form since Redis 2 is read, what Valkey 9.1 writes is written.
//!
//! Whatever is read is checked in full: integrity of flat encodings, pairs, fields that come twice.
#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::RandomState;
use std::io::{self, Read, Write};

use hashbrown::HashSet;

use super::{Fields, Hash, Text, table_of};
use crate::algorithms::hash::hash;
use crate::rdb::collections::{Refusal, read_fields, read_listpack_with_expiry};
use crate::rdb::format::ValueType;
use crate::rdb::legacy::{Ziplist, Zipmap};
use crate::rdb::{RdbError, Reader, Writer};
use crate::structures::field::Field;
use crate::structures::hash_table::Element;
use crate::structures::listpack::{Builder, Listpack};
use crate::types::{FlatLimits, Limits};

/// Up to this many fields are compared with each other to find one that comes twice.
const COMPARED_FIELDS: usize = 16;

const DUPLICATE: Refusal = "Duplicate hash fields detected";
const BAD_LISTPACK: Refusal = "Hash listpack integrity check failed.";
const BAD_ZIPLIST: Refusal = "Hash ziplist integrity check failed.";
const BAD_ZIPMAP: Refusal = "Zipmap integrity check failed.";

/// The fields of a hash that are left out while it is read.
#[derive(Debug)]
pub struct ExpiredFields {
    /// Those are that expired before this instant, in milliseconds.
    pub before_ms: i64,
    /// Their names, in the order in which they stood.
    pub names: Vec<Vec<u8>>,
}

impl ExpiredFields {
    /// Notes a field if its time has come, and says whether it has.
    fn take(&mut self, field: &[u8], expiry_ms: Option<i64>) -> bool {
        let expired = expiry_ms.is_some_and(|expiry_ms| expiry_ms < self.before_ms);
        if expired {
            self.names.push(field.to_vec());
        }
        expired
    }
}

impl Hash {
    /// The form in which [`Hash::write_rdb`] writes it. Fields with expiry have one since version 80
    /// only: whoever writes an older one has to refuse them.
    #[must_use]
    pub fn rdb_type(&self, _version: u16) -> ValueType {
        match self {
            Self::Listpack(_) => ValueType::HashListpack,
            Self::Table(_) if self.has_volatile_fields() => ValueType::Hash2,
            Self::Table(_) => ValueType::Hash,
        }
    }

    /// Writes the value.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_rdb<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        match self {
            Self::Listpack(listpack) => writer.write_string(listpack.as_bytes()),
            Self::Table(table) => {
                let with_expiry = self.has_volatile_fields();
                writer.write_len(table.len() as u64)?;
                let mut outcome = Ok(());
                table.for_each_prefetched(|field| {
                    if outcome.is_ok() {
                        outcome = write_field(writer, field, with_expiry);
                    }
                });
                outcome
            }
        }
    }

    /// Reads a value of any form a hash ever had. Fields whose time has come are left out if `expired` is given (a
    /// primary that loads its own file), and kept if not. `None`: no field is left, or there was none.
    ///
    /// # Errors
    /// Those of the reader, and corruption of any kind.
    pub fn read_rdb<R: Read>(
        reader: &mut Reader<R>,
        value_type: ValueType,
        limits: &Limits,
        expired: Option<&mut ExpiredFields>,
    ) -> Result<Option<Self>, RdbError> {
        let limits = limits.hash;
        let read = match value_type {
            ValueType::HashListpack => return read_listpack(reader, limits),
            ValueType::HashZiplist => read_ziplist(reader, limits)?,
            ValueType::HashZipmap => read_zipmap(reader, limits)?,
            ValueType::HashListpackExpiry => read_triples(reader, limits, expired)?,
            ValueType::Hash | ValueType::Hash2 | ValueType::HashMetadata => {
                read_table(reader, value_type, limits, expired)?
            }
            _ => return Err(reader.corrupt("Not a hash")),
        };
        let hash = read.finish();
        Ok((!hash.is_empty()).then_some(hash))
    }
}

fn write_field<W: Write>(writer: &mut Writer<W>, field: &Field, with_expiry: bool) -> io::Result<()> {
    writer.write_string(field.key())?;
    writer.write_string(field.value())?;
    if with_expiry { writer.write_ms(field.expiry_ms().unwrap_or(-1)) } else { Ok(()) }
}

/// Fields as they are read, each only once; a listpack until it exceeds its limits.
enum Incoming {
    Flat { pairs: Builder, seen: HashSet<Vec<u8>, RandomState> },
    Table(Fields),
}

impl Incoming {
    fn flat() -> Self {
        Self::Flat { pairs: Builder::with_capacity(0), seen: HashSet::default() }
    }

    fn add(
        &mut self,
        field: &[u8],
        value: &[u8],
        expiry_ms: Option<i64>,
        limits: FlatLimits,
    ) -> Result<(), Refusal> {
        if let Self::Flat { pairs, seen } = self {
            let longest = field.len().max(value.len());
            let full = seen.len() == limits.entries || longest > limits.value_bytes;
            if full || expiry_ms.is_some() || !pairs.has_room_for(field.len() + value.len()) {
                let pairs = std::mem::replace(pairs, Builder::with_capacity(0));
                *self = Self::Table(table_of(&pairs.finish()));
            } else if seen.insert(field.to_vec()) {
                pairs.push(field);
                pairs.push(value);
            } else {
                return Err(DUPLICATE);
            }
        }
        match self {
            Self::Flat { .. } => Ok(()),
            Self::Table(table) => {
                let hash = hash(field);
                if table.find(hash, field).is_some() {
                    return Err(DUPLICATE);
                }
                table.insert(hash, Field::new(field, value, expiry_ms));
                Ok(())
            }
        }
    }

    fn finish(self) -> Hash {
        match self {
            Self::Flat { pairs, .. } => Hash::Listpack(pairs.finish()),
            Self::Table(table) => Hash::Table(Box::new(table)),
        }
    }
}

fn read_table<R: Read>(
    reader: &mut Reader<R>,
    value_type: ValueType,
    limits: FlatLimits,
    mut expired: Option<&mut ExpiredFields>,
) -> Result<Incoming, RdbError> {
    // A form that can hold expiries comes from a table, and stays one.
    let can_be_flat = value_type == ValueType::Hash;
    let mut incoming = if can_be_flat { Incoming::flat() } else { Incoming::Table(Fields::new()) };
    let too_many = Cell::new(false);
    read_fields(
        reader,
        value_type,
        |count| too_many.set(can_be_flat && count > limits.entries),
        |field, value, expiry_ms| {
            if too_many.take() {
                incoming = Incoming::Table(Fields::new());
            }
            if expired.as_deref_mut().is_some_and(|expired| expired.take(field, expiry_ms)) {
                return Ok(());
            }
            incoming.add(field, value, expiry_ms, limits)
        },
    )?;
    Ok(incoming)
}

/// The main form of short hashes: kept as it is.
fn read_listpack<R: Read>(reader: &mut Reader<R>, limits: FlatLimits) -> Result<Option<Hash>, RdbError> {
    let listpack = Listpack::from_bytes(reader.read_string()?);
    let Ok(listpack) = listpack else { return Err(reader.corrupt(BAD_LISTPACK)) };
    let len = listpack.len();
    if !len.is_multiple_of(2) || has_duplicates(&listpack) {
        return Err(reader.corrupt(BAD_LISTPACK));
    }
    let mut hash = Hash::Listpack(listpack);
    if len / 2 > limits.entries {
        hash.make_table();
    }
    Ok((len > 0).then_some(hash))
}

fn has_duplicates(pairs: &Listpack) -> bool {
    let fields: Vec<Text<'_>> = pairs.iter().step_by(2).collect();
    if fields.len() <= COMPARED_FIELDS {
        return fields.iter().enumerate().any(|(index, field)| {
            let before = fields.get(..index).unwrap_or_default();
            before.iter().any(|other| same(*other, *field))
        });
    }
    let mut seen: HashSet<Cow<'_, [u8]>, RandomState> = HashSet::default();
    seen.reserve(fields.len());
    !fields.into_iter().all(|field| {
        seen.insert(match field {
            Text::Bytes(bytes) => Cow::Borrowed(bytes),
            Text::Int(_) => Cow::Owned(field.to_vec()),
        })
    })
}

fn same(left: Text<'_>, right: Text<'_>) -> bool {
    match right {
        Text::Bytes(right) => left.equals(right),
        Text::Int(right) => left.as_integer() == Some(right),
    }
}

/// Redis 7.4 and later: field, value, expiry (0 for none).
fn read_triples<R: Read>(
    reader: &mut Reader<R>,
    limits: FlatLimits,
    mut expired: Option<&mut ExpiredFields>,
) -> Result<Incoming, RdbError> {
    let listpack = Listpack::from_bytes(read_listpack_with_expiry(reader)?);
    let Ok(listpack) = listpack else { return Err(reader.corrupt(BAD_LISTPACK)) };
    if !listpack.len().is_multiple_of(3) {
        return Err(reader.corrupt(BAD_LISTPACK));
    }
    let mut incoming = Incoming::flat();
    let (mut field_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut texts = listpack.iter();
    while let (Some(field), Some(value), Some(expiry)) = (texts.next(), texts.next(), texts.next()) {
        let expiry_ms = match expiry.as_integer() {
            Some(0) => None,
            Some(expiry_ms) if expiry_ms > 0 => Some(expiry_ms),
            _ => return Err(reader.corrupt(BAD_LISTPACK)),
        };
        let field = field.as_bytes(&mut field_digits);
        if expired.as_deref_mut().is_some_and(|expired| expired.take(field, expiry_ms)) {
            continue;
        }
        let value = value.as_bytes(&mut value_digits);
        incoming.add(field, value, expiry_ms, limits).map_err(|reason| reader.corrupt(reason))?;
    }
    Ok(incoming)
}

/// Redis before 7.0.
fn read_ziplist<R: Read>(reader: &mut Reader<R>, limits: FlatLimits) -> Result<Incoming, RdbError> {
    let bytes = reader.read_string_owned()?;
    let Ok(ziplist) = Ziplist::parse(&bytes) else { return Err(reader.corrupt(BAD_ZIPLIST)) };
    if !ziplist.len().is_multiple_of(2) {
        return Err(reader.corrupt(BAD_ZIPLIST));
    }
    let mut incoming = Incoming::flat();
    // As in Valkey, the length of what was flat is not looked at again.
    let limits = FlatLimits { value_bytes: usize::MAX, ..limits };
    let (mut field, mut value) = (Vec::new(), Vec::new());
    let mut texts = ziplist.iter();
    while let (Some(field_text), Some(value_text)) = (texts.next(), texts.next()) {
        field.clear();
        value.clear();
        field_text.write_to(&mut field);
        value_text.write_to(&mut value);
        incoming.add(&field, &value, None, limits).map_err(|_| reader.corrupt(BAD_ZIPLIST))?;
    }
    Ok(incoming)
}

/// Redis before 2.6.
fn read_zipmap<R: Read>(reader: &mut Reader<R>, limits: FlatLimits) -> Result<Incoming, RdbError> {
    let bytes = reader.read_string_owned()?;
    let Ok(zipmap) = Zipmap::parse(&bytes) else { return Err(reader.corrupt(BAD_ZIPMAP)) };
    let mut incoming = Incoming::flat();
    for (field, value) in zipmap.iter() {
        incoming
            .add(field, value, None, limits)
            .map_err(|_| reader.corrupt("Hash zipmap with dup elements, or big length"))?;
    }
    Ok(incoming)
}
