//! Lists in RDB: written as a quicklist of listpacks and large elements (a listpack as the only node of one), read in
//! every form since Redis 2.
//!
//! A loaded list has the nodes of the file and becomes a listpack where the whole is within the limit of one.
#![deny(clippy::indexing_slicing)]

use std::io;

use super::List;
use crate::rdb::collections::{ListNode, Refusal, container, read_elements, read_list_nodes};
use crate::rdb::format::ValueType;
use crate::rdb::legacy::{self, Ziplist};
use crate::rdb::{RdbError, RdbErrorKind, Reader, Writer};
use crate::structures::listpack::{Builder, Listpack, Value};
use crate::structures::quicklist::{End, NodeBytes, Quicklist};
use crate::types::Limits;

const BAD_LISTPACK: Refusal = "Listpack integrity check failed.";
const BAD_ZIPLIST: Refusal = "Ziplist integrity check failed.";
/// What a listpack of a client's values never reaches (1 GiB): a ziplist this long is refused rather than converted.
const LARGEST_ZIPLIST: usize = 1 << 30;

impl List {
    /// The form in which a snapshot of `version` stores the list: one for all versions that are written.
    #[must_use]
    pub fn rdb_type(&self, _version: u16) -> ValueType {
        ValueType::ListQuicklist2
    }

    /// Writes the value.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_rdb<W: io::Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        let quicklist = match self {
            Self::Listpack(listpack) => {
                writer.write_len(1)?;
                writer.write_len(container::PACKED)?;
                return writer.write_string(listpack.as_bytes());
            }
            Self::Quicklist(quicklist) => quicklist,
        };
        writer.write_len(quicklist.node_count() as u64)?;
        for node in quicklist.nodes() {
            writer.write_len(if node.plain { container::PLAIN } else { container::PACKED })?;
            match node.bytes {
                NodeBytes::Raw(bytes) => writer.write_string(bytes)?,
                NodeBytes::Lzf { compressed, raw_len } => writer.write_lzf(compressed, raw_len as u64)?,
            }
        }
        Ok(())
    }

    /// Reads the value of a list in any form. `None`: it has no elements.
    ///
    /// # Errors
    /// Those of the reader, and corruption of what was read.
    pub fn read_rdb<R: io::Read>(
        reader: &mut Reader<R>,
        value_type: ValueType,
        limits: &Limits,
    ) -> Result<Option<Self>, RdbError> {
        let mut quicklist = Quicklist::new(limits.list);
        match value_type {
            ValueType::List => {
                read_elements(reader, drop, |element| {
                    quicklist.push(End::Tail, element);
                    Ok(())
                })?;
            }
            ValueType::ListQuicklist | ValueType::ListQuicklist2 => {
                read_list_nodes(reader, value_type, |node| append_node(&mut quicklist, node))?;
            }
            ValueType::ListZiplist => {
                let converted = listpack_of_ziplist(reader.read_string()?);
                let mut list = Self::Listpack(converted.map_err(|reason| reader.corrupt(reason))?);
                list.grow(std::iter::empty(), limits.list);
                return Ok(list.into_non_empty());
            }
            other => return Err(reader.error(RdbErrorKind::UnknownType(other.byte()))),
        }
        let mut list = Self::Quicklist(Box::new(quicklist));
        list.flatten(limits.list, 1);
        Ok(list.into_non_empty())
    }

    fn into_non_empty(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }
}

fn append_node(quicklist: &mut Quicklist, node: ListNode<'_>) -> Result<(), Refusal> {
    let listpack = match node {
        ListNode::Plain(element) => {
            quicklist.append_plain(element);
            return Ok(());
        }
        ListNode::Listpack(bytes) => Listpack::from_bytes(bytes).map_err(|_| BAD_LISTPACK)?,
        ListNode::Ziplist(bytes) => listpack_of_ziplist(bytes)?,
    };
    quicklist.append_listpack(listpack);
    Ok(())
}

fn listpack_of_ziplist(bytes: &[u8]) -> Result<Listpack, Refusal> {
    let ziplist = Ziplist::parse(bytes).map_err(|_| BAD_ZIPLIST)?;
    if bytes.len() > LARGEST_ZIPLIST {
        return Err(BAD_ZIPLIST);
    }
    let mut builder = Builder::with_capacity(bytes.len());
    for value in ziplist {
        builder.push(match value {
            legacy::Value::Int(number) => Value::Int(number),
            legacy::Value::Bytes(bytes) => Value::Bytes(bytes),
        });
    }
    Ok(builder.finish())
}
