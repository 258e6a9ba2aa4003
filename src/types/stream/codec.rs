//! Streams in RDB: nodes as they are, the figures of the stream, and its groups; read in every form since Redis 5.
//!
//! The first form lacks the figures that Redis 7 added, the second the time a consumer was last active; they are then
//! derived as Valkey does. Every node is checked element by element, every pending entry must have exactly one owner.
#![deny(clippy::indexing_slicing)]

use std::io;

use super::{Group, Log, Pending, Stream, StreamId, group, node};
use crate::rdb::format::ValueType;
use crate::rdb::{RdbError, RdbErrorKind, Reader, Writer};
use crate::structures::listpack::Listpack;
use crate::types::Limits;

/// How a count of entries that is not known is stored: -1.
const UNKNOWN: u64 = u64::MAX;

impl Stream {
    /// The form in which a snapshot of `version` stores the stream: one for all versions that are written.
    #[must_use]
    pub fn rdb_type(&self, _version: u16) -> ValueType {
        ValueType::StreamListpacks3
    }

    /// Writes the value.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_rdb<W: io::Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        writer.write_len(self.nodes.len() as u64)?;
        for (base, listpack) in self.nodes.iter() {
            writer.write_string(&base.to_bytes())?;
            writer.write_string(listpack.as_bytes())?;
        }
        writer.write_len(self.len)?;
        for id in [self.last, self.first, self.max_deleted] {
            write_id(writer, id)?;
        }
        writer.write_len(self.entries_added)?;
        writer.write_len(self.groups.len() as u64)?;
        for group in self.groups.iter() {
            write_group(writer, group)?;
        }
        Ok(())
    }

    /// Reads the value of a stream in any form. A stream without entries is one all the same: never `None`.
    ///
    /// # Errors
    /// Those of the reader, and corruption of what was read.
    pub fn read_rdb<R: io::Read>(
        reader: &mut Reader<R>,
        value_type: ValueType,
        _limits: &Limits,
    ) -> Result<Option<Self>, RdbError> {
        let form = match value_type {
            ValueType::StreamListpacks => 1,
            ValueType::StreamListpacks2 => 2,
            ValueType::StreamListpacks3 => 3,
            other => return Err(reader.error(RdbErrorKind::UnknownType(other.byte()))),
        };
        let mut stream = Self::default();
        let live = read_nodes(reader, &mut stream)?;
        read_figures(reader, &mut stream, form, live)?;
        for _ in 0..reader.read_len()? {
            read_group(reader, &mut stream, form)?;
        }
        Ok(Some(stream))
    }
}

fn write_id<W: io::Write>(writer: &mut Writer<W>, id: StreamId) -> io::Result<()> {
    writer.write_len(id.ms)?;
    writer.write_len(id.seq)
}

fn write_group<W: io::Write>(writer: &mut Writer<W>, group: &Group) -> io::Result<()> {
    writer.write_string(group.name())?;
    write_id(writer, group.last_id)?;
    writer.write_len(group.entries_read.unwrap_or(UNKNOWN))?;
    writer.write_len(group.pending_len() as u64)?;
    for pending in group.pending_from(StreamId::MIN) {
        writer.write_raw(&pending.id.to_bytes())?;
        writer.write_ms(pending.delivered_ms)?;
        writer.write_len(pending.deliveries)?;
    }
    writer.write_len(group.consumer_count() as u64)?;
    for consumer in group.consumers() {
        writer.write_string(consumer.name())?;
        writer.write_ms(consumer.seen_ms)?;
        writer.write_ms(consumer.active_ms)?;
        writer.write_len(consumer.pending_len() as u64)?;
        for id in consumer.pending_from(StreamId::MIN) {
            writer.write_raw(&id.to_bytes())?;
        }
    }
    Ok(())
}

fn read_id<R: io::Read>(reader: &mut Reader<R>) -> Result<StreamId, RdbError> {
    Ok(StreamId { ms: reader.read_len()?, seq: reader.read_len()? })
}

fn read_raw_id<R: io::Read>(reader: &mut Reader<R>) -> Result<StreamId, RdbError> {
    reader.read_array().map(StreamId::from_bytes)
}

/// Reads all nodes; returns how many live entries they hold.
fn read_nodes<R: io::Read>(reader: &mut Reader<R>, log: &mut Log) -> Result<u64, RdbError> {
    let mut all = 0u64;
    for _ in 0..reader.read_len()? {
        let Ok(base) = <[u8; 16]>::try_from(reader.read_string()?) else {
            return Err(reader.corrupt("Stream node key entry is not the size of a stream ID"));
        };
        let checked = Listpack::from_bytes(reader.read_string()?).ok();
        let node = checked.and_then(|listpack| node::validate(&listpack).map(|live| (listpack, live)));
        let Some((listpack, live)) = node else {
            return Err(reader.corrupt("Stream listpack integrity check failed."));
        };
        all = all.saturating_add(live);
        if log.nodes.insert(StreamId::from_bytes(base), listpack).is_err() {
            return Err(reader.corrupt("Listpack re-added with existing key"));
        }
    }
    Ok(all)
}

fn read_figures<R: io::Read>(
    reader: &mut Reader<R>,
    log: &mut Log,
    form: u8,
    live: u64,
) -> Result<(), RdbError> {
    log.len = reader.read_len()?;
    log.last = read_id(reader)?;
    if form >= 2 {
        log.first = read_id(reader)?;
        log.max_deleted = read_id(reader)?;
        log.entries_added = reader.read_len()?;
    } else {
        log.entries_added = log.len;
        log.find_first();
    }
    if log.len > 0 && log.nodes.is_empty() {
        return Err(reader.corrupt("Stream length inconsistent with rax entries"));
    }
    if log.len != live {
        return Err(reader.corrupt("Stream length inconsistent with the number of valid entries"));
    }
    Ok(())
}

fn read_group<R: io::Read>(reader: &mut Reader<R>, log: &mut Log, form: u8) -> Result<(), RdbError> {
    let name = reader.read_string_owned()?;
    let last_id = read_id(reader)?;
    let entries_read = if form >= 2 {
        Some(reader.read_len()?).filter(|read| *read != UNKNOWN)
    } else {
        log.added_through(last_id)
    };
    let Some(group) = log.groups.create(&name, last_id, entries_read) else {
        return Err(reader.corrupt("Duplicated consumer group name"));
    };
    for _ in 0..reader.read_len()? {
        let id = read_raw_id(reader)?;
        let record = Pending {
            id,
            delivered_ms: reader.read_ms()?,
            deliveries: reader.read_len()?,
            consumer: group::ConsumerKey::NOBODY,
        };
        if !group.add_unowned(record) {
            return Err(reader.corrupt("Duplicated global PEL entry loading stream consumer group"));
        }
    }
    for _ in 0..reader.read_len()? {
        read_consumer(reader, group, form)?;
    }
    if group.pending_from(StreamId::MIN).any(|pending| pending.consumer == group::ConsumerKey::NOBODY) {
        return Err(reader.corrupt("Stream CG PEL entry without consumer"));
    }
    Ok(())
}

fn read_consumer<R: io::Read>(reader: &mut Reader<R>, group: &mut Group, form: u8) -> Result<(), RdbError> {
    let name = reader.read_string_owned()?;
    let Some(key) = group.create_consumer(&name, 0) else {
        return Err(reader.corrupt("Duplicate stream consumer detected."));
    };
    let seen_ms = reader.read_ms()?;
    let active_ms = if form >= 3 { reader.read_ms()? } else { seen_ms };
    if let Some(consumer) = group.consumer_mut(key) {
        consumer.seen_ms = seen_ms;
        consumer.active_ms = active_ms;
    }
    for _ in 0..reader.read_len()? {
        let id = read_raw_id(reader)?;
        let Some(pending) = group.find_pending(id).copied() else {
            return Err(reader.corrupt("Consumer entry not found in group global PEL"));
        };
        if pending.consumer == key {
            return Err(reader.corrupt("Duplicated consumer PEL entry loading a stream consumer group"));
        }
        if pending.consumer != group::ConsumerKey::NOBODY {
            return Err(reader.corrupt(
                "NACK already assigned to a different consumer, shared NACKs across consumers are not valid",
            ));
        }
        group.set_pending(Pending { consumer: key, ..pending });
    }
    Ok(())
}
