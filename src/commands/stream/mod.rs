//! Commands of streams: adding and trimming, reading ranges, reading on (with a group or without), what is pending, groups.

mod add;
mod claim;
mod group;
mod info;
mod pending;
mod range;
mod read;
mod tell;
mod trim;

use crate::algorithms::numbers::parse_u64;
use crate::resp::{CommandError, Reply};
use crate::server::command::Command;
use crate::types::stream::{Entry, StreamId};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    add::XADD,
    add::XDEL,
    add::XSETID,
    trim::XTRIM,
    range::XLEN,
    range::XRANGE,
    range::XREVRANGE,
    read::XREAD,
    read::XREADGROUP,
    pending::XACK,
    pending::XPENDING,
    claim::XCLAIM,
    claim::XAUTOCLAIM,
    group::XGROUP,
    info::XINFO,
];

/// Longer texts are no ids.
const ID_TEXT_BYTES: usize = 127;

/// The text of an id; to Valkey it ends with its first zero byte. `None` when it is too long.
fn id_text(arg: &[u8]) -> Option<&[u8]> {
    if arg.len() > ID_TEXT_BYTES { None } else { arg.split(|byte| *byte == 0).next() }
}

/// An id; one without a number within its millisecond gets `seq`.
fn strict_id(arg: &[u8], seq: u64) -> Result<StreamId, CommandError> {
    id_text(arg).and_then(|text| StreamId::parse(text, seq)).ok_or(CommandError::StreamId)
}

/// An id, or `-` for the first possible and `+` for the last.
fn any_id(arg: &[u8], seq: u64) -> Result<StreamId, CommandError> {
    match id_text(arg) {
        Some(b"-") => Ok(StreamId::MIN),
        Some(b"+") => Ok(StreamId::MAX),
        _ => strict_id(arg, seq),
    }
}

/// Several ids, all of which must be right.
fn strict_ids<'a>(args: impl Iterator<Item = &'a [u8]>) -> Result<Vec<StreamId>, CommandError> {
    args.map(|arg| strict_id(arg, 0)).collect()
}

/// The time of an id `ms-*`, whose number is to be chosen.
fn time_of_partial_id(arg: &[u8]) -> Option<u64> {
    parse_u64(id_text(arg)?.strip_suffix(b"-*")?)
}

/// Where an interval starts; `(` leaves the id itself out.
fn interval_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => strict_id(id, 0)?.next().ok_or(CommandError::IntervalStart),
        _ => any_id(arg, 0),
    }
}

/// Where an interval ends; `(` leaves the id itself out.
fn interval_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => {
            strict_id(id, u64::MAX)?.previous().ok_or(CommandError::IntervalEnd)
        }
        _ => any_id(arg, u64::MAX),
    }
}

fn reply_id(reply: &mut Reply, id: StreamId) {
    let mut text = Vec::with_capacity(2 * 20 + 1);
    text.extend_from_slice(itoa::Buffer::new().format(id.ms).as_bytes());
    text.push(b'-');
    text.extend_from_slice(itoa::Buffer::new().format(id.seq).as_bytes());
    reply.bulk(&text);
}

fn reply_entry(reply: &mut Reply, entry: Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.fields.len());
    for (name, value) in entry.fields {
        reply.bulk(name.as_bytes(&mut itoa::Buffer::new()));
        reply.bulk(value.as_bytes(&mut itoa::Buffer::new()));
    }
}

/// Replies with entries as an array.
fn reply_entries<'e>(reply: &mut Reply, entries: impl Iterator<Item = Entry<'e>>) {
    let header = reply.deferred();
    let mut count = 0;
    for entry in entries {
        reply_entry(reply, entry);
        count += 1;
    }
    reply.set_array(header, count);
}

/// How many of something a count of a client means, where 0 means all.
fn at_most(count: i64) -> usize {
    match usize::try_from(count).unwrap_or(0) {
        0 => usize::MAX,
        count => count,
    }
}

fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::NoGroup { key: key.into(), group: group.into() }
}

fn no_group_for_key(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::NoGroupForKey { key: key.into(), group: group.into() }
}
