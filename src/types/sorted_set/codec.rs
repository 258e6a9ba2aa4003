//! Sorted sets in RDB form: every form written since Redis 2, read and checked in full; the two that Valkey 9.1 writes.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read, Write};

use super::{Builder, SortedSet, flat, push_pair};
use crate::rdb::format::ValueType;
use crate::rdb::{RdbError, RdbErrorKind, Reader, Writer, collections, legacy};
use crate::structures::listpack::{self, Listpack};
use crate::types::Limits;

/// Why a listpack or ziplist is no sorted set.
type Refusal = &'static str;

const BAD_LISTPACK: Refusal = "Zset listpack integrity check failed.";
const BAD_ZIPLIST: Refusal = "Zset ziplist integrity check failed.";

impl SortedSet {
    /// The form in which [`SortedSet::write_rdb`] writes it; every version that is written has both.
    #[must_use]
    pub fn rdb_type(&self, _version: u16) -> ValueType {
        match self {
            Self::Listpack(_) => ValueType::SortedSetListpack,
            Self::Members(_) => ValueType::SortedSet2,
        }
    }

    /// Writes the value, from the last member to the first, as Valkey does to load it faster.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_rdb<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        match self {
            Self::Listpack(listpack) => writer.write_string(listpack.as_bytes()),
            Self::Members(members) => {
                writer.write_len(members.len() as u64)?;
                for (member, score) in members.range(0..members.len()).rev() {
                    writer.write_string(member)?;
                    writer.write_double(score)?;
                }
                Ok(())
            }
        }
    }

    /// Reads a value of any sorted set's form; `None` when it is empty.
    ///
    /// # Errors
    /// Truncated or corrupt input: duplicate members, odd counts, scores that are none.
    pub fn read_rdb<R: Read>(
        reader: &mut Reader<R>,
        value_type: ValueType,
        limits: &Limits,
    ) -> Result<Option<Self>, RdbError> {
        let limits = limits.sorted_set;
        match value_type {
            ValueType::SortedSet | ValueType::SortedSet2 => {
                let mut members = Builder::default();
                collections::read_scored(
                    reader,
                    value_type,
                    |_| {},
                    |member, score| {
                        let new = members.add(member, score, |present| present);
                        if new { Ok(()) } else { Err("Duplicate zset fields detected") }
                    },
                )?;
                Ok(Self::collect(members, limits))
            }
            ValueType::SortedSetListpack | ValueType::SortedSetZiplist => {
                let bytes = reader.read_string()?;
                let read = match value_type {
                    ValueType::SortedSetListpack => from_listpack(bytes),
                    _ => from_ziplist(bytes),
                };
                let listpack = read.map_err(|reason| reader.corrupt(reason))?;
                let mut read = Self::Listpack(listpack);
                if read.is_empty() {
                    return Ok(None);
                }
                read.prepare(read.len(), 0, limits);
                Ok(Some(read))
            }
            other => Err(reader.error(RdbErrorKind::UnknownType(other.byte()))),
        }
    }
}

/// A listpack whose pairs are in order is taken over as it is; what a hostile or broken writer has left out of order
/// is put in order.
fn from_listpack(bytes: &[u8]) -> Result<Listpack, Refusal> {
    let listpack = Listpack::from_bytes(bytes).map_err(|_| BAD_LISTPACK)?;
    let (members, ordered) = checked(listpack.iter().map(|value| match value {
        listpack::Value::Int(integer) => legacy::Value::Int(integer),
        listpack::Value::Bytes(bytes) => legacy::Value::Bytes(bytes),
    }))
    .ok_or(BAD_LISTPACK)?;
    if ordered { Ok(listpack) } else { flat::from_members(&members.finish()).ok_or(BAD_LISTPACK) }
}

fn from_ziplist(bytes: &[u8]) -> Result<Listpack, Refusal> {
    let ziplist = legacy::Ziplist::parse(bytes).map_err(|_| BAD_ZIPLIST)?;
    let (members, ordered) = checked(ziplist.iter()).ok_or(BAD_ZIPLIST)?;
    if !ordered {
        return flat::from_members(&members.finish()).ok_or(BAD_ZIPLIST);
    }
    let mut builder = listpack::Builder::with_capacity(bytes.len());
    for (member, score) in pairs(ziplist.iter()) {
        push_pair(&mut builder, &member, score.ok_or(BAD_ZIPLIST)?);
    }
    Ok(builder.finish())
}

/// Member and score of each pair; `None` for a score that is missing or none.
fn pairs<'a>(
    mut elements: impl Iterator<Item = legacy::Value<'a>>,
) -> impl Iterator<Item = (Vec<u8>, Option<f64>)> {
    std::iter::from_fn(move || {
        let mut member = Vec::new();
        elements.next()?.write_to(&mut member);
        let score = elements.next().and_then(|score| match score {
            legacy::Value::Int(integer) => Some(integer as f64),
            legacy::Value::Bytes(text) => crate::algorithms::numbers::parse_f64(text),
        });
        Some((member, score))
    })
}

/// The pairs, and whether they ascend; `None` when a member is there twice or a score is none.
fn checked<'a>(elements: impl Iterator<Item = legacy::Value<'a>>) -> Option<(Builder, bool)> {
    let mut members = Builder::default();
    let mut ordered = true;
    let mut previous: Option<(Vec<u8>, f64)> = None;
    for (member, score) in pairs(elements) {
        let score = score?;
        if !members.add(&member, score, |present| present) {
            return None;
        }
        ordered &=
            previous.is_none_or(|(before, lower)| lower < score || (lower == score && before < member));
        previous = Some((member, score));
    }
    Some((members, ordered))
}
