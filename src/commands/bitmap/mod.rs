//! Commands of bitmaps: single bits and BITOP here, counting and searching, and BITFIELD beside.

mod field;
mod search;

use super::arguments::{integer_within, is_word};
use crate::algorithms::bits;
use crate::algorithms::numbers::parse_i64;
use crate::config::EventClasses;
use crate::keyspace::{Entry, Keys, RawStringMut};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::hash_table::BorrowedMut;
use crate::structures::raw_string::RawString;

/// The family.
pub(super) const COMMANDS: &[Command] =
    &[SETBIT, GETBIT, search::BITCOUNT, search::BITPOS, BITOP, field::BITFIELD, field::BITFIELD_RO];

/// What the family shares.
const BITMAP_COMMAND: Command =
    Command { categories: category::BITMAP, group: Group::Bitmap, ..Command::DEFAULT };

/// The place of a bit. No bitmap becomes longer than an argument may be.
///
/// # Errors
/// `bit offset is not an integer or out of range`.
fn bit_offset(cx: &Context<'_>, offset: Option<i64>) -> Result<usize, CommandError> {
    let limit = cx.server.config.proto_max_bulk_len;
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| (*offset as u64 >> 3) < limit).ok_or(CommandError::BitOffset)
}

/// The string under a key, made or lengthened with zero bytes so that `last_bit` lies in it, and whether it was.
///
/// # Errors
/// WRONGTYPE.
fn with_room<'k>(
    keys: &'k mut Keys<'_>,
    key: &[u8],
    last_bit: usize,
) -> Result<(RawStringMut<BorrowedMut<'k, Entry>>, bool), CommandError> {
    let len = last_bit / 8 + 1;
    let mut grown = false;
    if !keys.contains(key) {
        keys.insert(Entry::raw_string(key, RawString::with_capacity(len), None));
        grown = true;
    }
    let mut string = keys.write_string(key)?.ok_or(CommandError::NoSuchKey)?;
    if string.len() < len {
        string.resize(len);
        grown = true;
    }
    Ok((string, grown))
}

const SETBIT: Command = Command {
    name: "setbit",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    since: "2.2.0",
    summary: "Sets or clears a bit of a string, and gives what it was.",
    arguments: &[Arg::key("key"), Arg::integer("offset"), Arg::integer("value")],
    handler: setbit,
    ..BITMAP_COMMAND
};

fn setbit(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let offset = bit_offset(cx, parse_i64(args.at(2)))?;
    let value = integer_within(args.at(3), 0..=1, CommandError::BitValue)? == 1;
    let (mut string, grown) = with_room(&mut cx.keys, key, offset)?;
    let old = bits::bit(string.as_bytes(), offset);
    bits::set_bit(string.as_bytes_mut(), offset, value);
    drop(string);
    if grown || old != value {
        cx.changed(EventClasses::STRING, "setbit", key);
    }
    cx.reply.int(i64::from(old));
    Ok(())
}

const GETBIT: Command = Command {
    name: "getbit",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "2.2.0",
    summary: "Gives a bit of a string.",
    arguments: &[Arg::key("key"), Arg::integer("offset")],
    handler: getbit,
    ..BITMAP_COMMAND
};

fn getbit(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let offset = bit_offset(cx, parse_i64(args.at(2)))?;
    let value = cx.keys.read_string(args.at(1))?;
    let mut buffer = itoa::Buffer::new();
    let set = value.is_some_and(|value| bits::bit(value.as_bytes(&mut buffer), offset));
    cx.reply.int(i64::from(set));
    Ok(())
}

/// How BITOP joins bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let words = [("and", Self::And), ("or", Self::Or), ("xor", Self::Xor), ("not", Self::Not)];
        let found = words.into_iter().find(|(word, _)| is_word(arg, word));
        found.map(|(_, operation)| operation).ok_or(CommandError::Syntax)
    }

    /// Joins another string to what the strings before it gave; the shorter one counts as filled with zeros.
    fn join(self, result: &mut Vec<u8>, bytes: &[u8]) {
        if result.len() < bytes.len() {
            result.resize(bytes.len(), 0);
        }
        let pairs = result.iter_mut().zip(bytes);
        match self {
            Self::And => {
                pairs.for_each(|(result, byte)| *result &= byte);
                result.iter_mut().skip(bytes.len()).for_each(|result| *result = 0);
            }
            Self::Or => pairs.for_each(|(result, byte)| *result |= byte),
            Self::Xor | Self::Not => pairs.for_each(|(result, byte)| *result ^= byte),
        }
    }
}

const BITOP: Command = Command {
    name: "bitop",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
        KeySpec::range(3, -1, 1, key_flag::RO | key_flag::ACCESS),
    ],
    since: "2.6.0",
    complexity: "O(N), N being the bytes of the strings",
    summary: "Joins strings bit by bit and stores the result.",
    arguments: &[
        Arg::one_of(
            "operation",
            &[
                Arg::flag("and", "AND"),
                Arg::flag("or", "OR"),
                Arg::flag("xor", "XOR"),
                Arg::flag("not", "NOT"),
            ],
        ),
        Arg::key("destkey"),
        Arg::key("key").of_key_spec(1).multiple(),
    ],
    handler: bitop,
    ..BITMAP_COMMAND
};

fn bitop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let operation = Operation::parse(args.at(1))?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(CommandError::BitopNot);
    }
    let mut result = Vec::new();
    for (index, source) in args.from(3).iter().enumerate() {
        let mut buffer = itoa::Buffer::new();
        let value = cx.keys.read_string(source)?;
        let bytes = value.map_or(&b""[..], |value| value.as_bytes(&mut buffer));
        if index == 0 {
            result.extend_from_slice(bytes);
        } else {
            operation.join(&mut result, bytes);
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let key = args.at(2);
    if result.is_empty() {
        if let Some(removed) = cx.keys.remove_any(key) {
            cx.changed(EventClasses::GENERIC, "del", key);
            cx.free_replaced(Some(removed));
        }
    } else {
        let replaced = cx.keys.put(key, Entry::raw_string(key, RawString::new(&result), None));
        cx.changed(EventClasses::STRING, "set", key);
        cx.free_replaced(replaced);
    }
    cx.reply.int(result.len() as i64);
    Ok(())
}
