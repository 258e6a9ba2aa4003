//! Commands of strings: SET and GET with their kin here, many keys at once, numbers, parts and LCS beside.

mod lcs;
mod many;
mod numbers;
mod parts;
mod write;

use super::expiry::{ExpiryOption, OptionsOf, StoreOptions, expire_at_once, is_over};
use crate::config::EventClasses;
use crate::keyspace::StringRef;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    GET,
    GETEX,
    GETDEL,
    DELIFEQ,
    write::SET,
    write::SETNX,
    write::SETEX,
    write::PSETEX,
    write::GETSET,
    many::MGET,
    many::MSET,
    many::MSETNX,
    many::MSETEX,
    numbers::INCR,
    numbers::DECR,
    numbers::INCRBY,
    numbers::DECRBY,
    numbers::INCRBYFLOAT,
    parts::APPEND,
    parts::STRLEN,
    parts::GETRANGE,
    parts::SUBSTR,
    parts::SETRANGE,
    lcs::LCS,
];

/// Writes a string as a bulk reply, or null.
fn reply_string(reply: &mut Reply, value: Option<StringRef<'_>>) {
    match value {
        None => reply.null(),
        Some(StringRef::Int(value)) => reply.bulk_int(value),
        Some(StringRef::Bytes(bytes)) => reply.bulk(bytes),
    }
}

/// Deletes a key for a command that has found it, with its event; it is told as DEL.
fn delete_found(cx: &mut Context<'_>, key: &[u8]) {
    if let Some(entry) = cx.keys.remove(key) {
        cx.propagate_as(&[b"DEL", key]);
        cx.changed(EventClasses::GENERIC, "del", key);
        drop(entry);
    }
}

const GET: Command = Command {
    name: "get",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::String,
    since: "1.0.0",
    summary: "Gives the string under a key.",
    arguments: &[Arg::key("key")],
    handler: get,
    ..Command::DEFAULT
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let value = cx.keys.read_string(args.at(1))?;
    reply_string(cx.reply, value);
    Ok(())
}

const GETEX: Command = Command {
    name: "getex",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec {
        notes: "RW and UPDATE because it changes the TTL",
        ..KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)
    }],
    group: Group::String,
    since: "6.2.0",
    summary: "Gives the string under a key and sets or takes away its expiry.",
    arguments: &[
        Arg::key("key"),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").token("EX"),
                Arg::integer("milliseconds").token("PX"),
                Arg::new("unix-time-seconds", ArgKind::UnixTime).token("EXAT"),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("PXAT"),
                Arg::flag("persist", "PERSIST"),
            ],
        )
        .optional(),
    ],
    handler: getex,
    ..Command::DEFAULT
};

fn getex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = StoreOptions::parse(args, 2, args.len(), OptionsOf::Get)?;
    let now_ms = cx.now_ms();
    let expiry = match options.expiry {
        ExpiryOption::At(expiry) => Some((expiry, expiry.positive(now_ms, &cx.command.full_name)?)),
        _ => None,
    };
    let key = args.at(1);
    let value = cx.keys.read_string(key)?;
    let found = value.is_some();
    reply_string(cx.reply, value);
    if !found {
        return Ok(());
    }
    match expiry {
        Some((expiry, expiry_ms)) if !expiry.relative && is_over(cx, expiry_ms) => expire_at_once(cx, key),
        Some((_, expiry_ms)) => {
            cx.keys.set_expiry(key, Some(expiry_ms));
            cx.propagate_as(&[b"PEXPIREAT", key, itoa::Buffer::new().format(expiry_ms).as_bytes()]);
            cx.changed(EventClasses::GENERIC, "expire", key);
        }
        None if options.expiry == ExpiryOption::Persist => {
            let expires = cx.keys.peek(key).is_some_and(|entry| entry.expiry_ms().is_some());
            if expires {
                cx.keys.set_expiry(key, None);
                cx.propagate_as(&[b"PERSIST", key]);
                cx.changed(EventClasses::GENERIC, "persist", key);
            }
        }
        None => {}
    }
    Ok(())
}

const GETDEL: Command = Command {
    name: "getdel",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::String,
    since: "6.2.0",
    summary: "Gives the string under a key and deletes the key.",
    arguments: &[Arg::key("key")],
    handler: getdel,
    ..Command::DEFAULT
};

fn getdel(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let value = cx.keys.read_string(key)?;
    let found = value.is_some();
    reply_string(cx.reply, value);
    if found {
        delete_found(cx, key);
    }
    Ok(())
}

const DELIFEQ: Command = Command {
    name: "delifeq",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RM | key_flag::DELETE)],
    group: Group::String,
    since: "9.0.0",
    summary: "Deletes a key if it holds this very string.",
    arguments: &[Arg::key("key"), Arg::string("value")],
    handler: delifeq,
    ..Command::DEFAULT
};

fn delifeq(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, wanted) = (args.at(1), args.at(2));
    let equal = match cx.keys.peek(key) {
        None => false,
        Some(entry) => {
            let value = entry.as_string().ok_or(CommandError::WrongType)?;
            value.as_bytes(&mut itoa::Buffer::new()) == wanted
        }
    };
    if equal {
        delete_found(cx, key);
    }
    cx.reply.int(i64::from(equal));
    Ok(())
}
