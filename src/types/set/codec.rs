//! Sets in RDB: as members, as an intset's bytes, as a listpack's bytes.
#![deny(clippy::indexing_slicing)]

use std::cell::Cell;
use std::io::{self, Read, Write};

use super::algebra::are_distinct;
use super::{MemberRef, Set, intset_limit};
use crate::rdb::collections::read_elements;
use crate::rdb::format::ValueType;
use crate::rdb::{RdbError, Reader, Writer};
use crate::structures::intset::Intset;
use crate::structures::listpack::Listpack;
use crate::types::Limits;

impl Set {
    /// The form in which the set is written; the same in every version that is.
    #[must_use]
    pub fn rdb_type(&self, _version: u16) -> ValueType {
        match self {
            Self::Intset(_) => ValueType::SetIntset,
            Self::Listpack(_) => ValueType::SetListpack,
            Self::Table(_) => ValueType::Set,
        }
    }

    /// Writes the value in the form of [`Set::rdb_type`].
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_rdb<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        match self {
            Self::Intset(intset) => writer.write_string(intset.as_bytes()),
            Self::Listpack(listpack) => writer.write_string(listpack.as_bytes()),
            Self::Table(table) => {
                writer.write_len(table.len() as u64)?;
                let mut outcome = Ok(());
                table.for_each(|member| {
                    if outcome.is_ok() {
                        outcome = writer.write_string(member);
                    }
                });
                outcome
            }
        }
    }

    /// Reads a set in any form it ever had; `None` when it is empty.
    ///
    /// # Errors
    /// Anything that is not such a set: bytes that contradict the form, a member that is there twice.
    pub fn read_rdb<R: Read>(
        reader: &mut Reader<R>,
        value_type: ValueType,
        limits: &Limits,
    ) -> Result<Option<Self>, RdbError> {
        match value_type {
            ValueType::Set => Self::read_members(reader, limits),
            ValueType::SetIntset => {
                let intset = Intset::from_bytes(reader.read_string()?);
                let intset = intset.map_err(|_| reader.corrupt("Intset integrity check failed."))?;
                let is_too_long = intset.len() > limits.set.intset_entries;
                Ok(Some(Self::Intset(intset).into_table_if(is_too_long)))
            }
            ValueType::SetListpack => {
                let listpack = Listpack::from_bytes(reader.read_string()?);
                let listpack = listpack
                    .ok()
                    .filter(|listpack| are_distinct(listpack.iter().map(MemberRef::from)))
                    .ok_or_else(|| reader.corrupt("Set listpack integrity check failed."))?;
                let is_too_long = listpack.len() > limits.set.listpack.entries;
                Ok((!listpack.is_empty()).then(|| Self::Listpack(listpack).into_table_if(is_too_long)))
            }
            _ => Err(reader.corrupt("Not a set")),
        }
    }

    fn into_table_if(mut self, is_too_long: bool) -> Self {
        if is_too_long {
            self.become_table();
        }
        self
    }

    fn read_members<R: Read>(reader: &mut Reader<R>, limits: &Limits) -> Result<Option<Self>, RdbError> {
        let limits = &limits.set;
        let expected = Cell::new(0);
        let mut set = None;
        read_elements(
            reader,
            |count| expected.set(count),
            |member| {
                let set = set.get_or_insert_with(|| {
                    if expected.get() > intset_limit(limits) {
                        Self::Table(Box::default())
                    } else {
                        Self::Intset(Intset::new())
                    }
                });
                if set.insert(member.into(), limits) { Ok(()) } else { Err("Duplicate set members detected") }
            },
        )?;
        Ok(set)
    }
}
