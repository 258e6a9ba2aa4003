//! Parts of strings: APPEND, STRLEN, GETRANGE, SUBSTR, SETRANGE.

use super::super::arguments::{integer, range};
use crate::config::EventClasses;
use crate::keyspace::{Entry, WriteExpiry};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::raw_string::RawString;

/// No string becomes longer than an argument may be.
fn require_length(cx: &Context<'_>, len: usize, added: usize) -> Outcome {
    let limit = usize::try_from(cx.server.config.proto_max_bulk_len).unwrap_or(usize::MAX);
    match len.checked_add(added) {
        Some(total) if total <= limit => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

pub(super) const APPEND: Command = Command {
    name: "append",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::String,
    since: "2.0.0",
    complexity: "O(1) amortised",
    summary: "Adds bytes at the end of a string, making the string if there is none.",
    arguments: &[Arg::key("key"), Arg::string("value")],
    handler: append,
    ..Command::DEFAULT
};

fn append(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, added) = (args.at(1), args.at(2));
    let old_len = match cx.keys.peek(key) {
        None => None,
        Some(entry) => Some(entry.as_string().ok_or(CommandError::WrongType)?.len()),
    };
    let total = match old_len {
        None => {
            cx.keys.insert_string(key, added, WriteExpiry::Clear);
            added.len()
        }
        Some(len) => {
            require_length(cx, len, added.len())?;
            if let Some(mut string) = cx.keys.write_string(key)? {
                string.append(added);
            }
            len + added.len()
        }
    };
    cx.changed(EventClasses::STRING, "append", key);
    cx.reply.int(total as i64);
    Ok(())
}

pub(super) const STRLEN: Command = Command {
    name: "strlen",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::String,
    since: "2.2.0",
    summary: "Gives the length of the string under a key.",
    arguments: &[Arg::key("key")],
    handler: strlen,
    ..Command::DEFAULT
};

fn strlen(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = cx.keys.read_string(args.at(1))?.map_or(0, |value| value.len());
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) const GETRANGE: Command = Command {
    name: "getrange",
    arity: 4,
    flags: flag::READONLY,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::String,
    since: "2.4.0",
    complexity: "O(N), N being the bytes asked for",
    summary: "Gives a part of the string under a key.",
    arguments: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
    handler: getrange,
    ..Command::DEFAULT
};

fn getrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
    let value = cx.keys.read_string(args.at(1))?;
    let mut buffer = itoa::Buffer::new();
    let bytes = value.as_ref().map_or(&b""[..], |value| value.as_bytes(&mut buffer));
    cx.reply.bulk(bytes.get(range(start, end, bytes.len())).unwrap_or_default());
    Ok(())
}

pub(super) const SUBSTR: Command = Command {
    name: "substr",
    arity: 4,
    flags: flag::READONLY,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(N), N being the bytes asked for",
    summary: "Gives a part of the string under a key.",
    arguments: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
    handler: getrange,
    ..Command::DEFAULT
};

pub(super) const SETRANGE: Command = Command {
    name: "setrange",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::String,
    since: "2.2.0",
    complexity: "O(N), N being the bytes written",
    summary: "Overwrites a part of a string, filling a gap before it with zero bytes.",
    arguments: &[Arg::key("key"), Arg::integer("offset"), Arg::string("value")],
    handler: setrange,
    ..Command::DEFAULT
};

fn setrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, part) = (args.at(1), args.at(3));
    let offset = usize::try_from(integer(args.at(2))?).map_err(|_| CommandError::OffsetOutOfRange)?;
    let old_len = match cx.keys.peek(key) {
        None => None,
        Some(entry) => Some(entry.as_string().ok_or(CommandError::WrongType)?.len()),
    };
    if part.is_empty() {
        cx.reply.int(old_len.unwrap_or(0) as i64);
        return Ok(());
    }
    require_length(cx, offset, part.len())?;
    let end = offset + part.len();
    if old_len.is_none() {
        cx.keys.insert(Entry::raw_string(key, RawString::with_capacity(end), None));
    }
    let mut total = end;
    if let Some(mut string) = cx.keys.write_string(key)? {
        total = string.len().max(end);
        string.resize(total);
        if let Some(place) = string.as_bytes_mut().get_mut(offset..end) {
            place.copy_from_slice(part);
        }
    }
    cx.changed(EventClasses::STRING, "setrange", key);
    cx.reply.int(total as i64);
    Ok(())
}
