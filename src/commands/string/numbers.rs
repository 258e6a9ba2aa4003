//! Strings that are numbers: INCR and its kin.

use super::super::arguments::integer;
use crate::algorithms::numbers::LongDouble;
use crate::config::EventClasses;
use crate::keyspace::{Entry, StringRef};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};

fn add(cx: &mut Context<'_>, key: &[u8], delta: i64) -> Outcome {
    let value = if let Some(mut entry) = cx.keys.write(key) {
        let old = entry.as_string().ok_or(CommandError::WrongType)?;
        let old = old.as_integer().ok_or(CommandError::NotAnInteger)?;
        let value = old.checked_add(delta).ok_or(CommandError::IncrementOverflow)?;
        if !entry.set_integer(value) {
            let expiry_ms = entry.expiry_ms();
            entry.become_entry(Entry::integer(key, value, expiry_ms));
        }
        value
    } else {
        cx.keys.insert(Entry::integer(key, delta, None));
        delta
    };
    cx.changed(EventClasses::STRING, "incrby", key);
    cx.reply.int(value);
    Ok(())
}

pub(super) const INCR: Command = Command {
    name: "incr",
    arity: 2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    since: "1.0.0",
    summary: "Adds one to the integer under a key.",
    arguments: &[Arg::key("key")],
    handler: incr,
    ..Command::DEFAULT
};

fn incr(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(cx, args.at(1), 1)
}

pub(super) const DECR: Command = Command {
    name: "decr",
    arity: 2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    since: "1.0.0",
    summary: "Takes one from the integer under a key.",
    arguments: &[Arg::key("key")],
    handler: decr,
    ..Command::DEFAULT
};

fn decr(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(cx, args.at(1), -1)
}

pub(super) const INCRBY: Command = Command {
    name: "incrby",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    since: "1.0.0",
    summary: "Adds a number to the integer under a key.",
    arguments: &[Arg::key("key"), Arg::integer("increment")],
    handler: incrby,
    ..Command::DEFAULT
};

fn incrby(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let delta = integer(args.at(2))?;
    add(cx, args.at(1), delta)
}

pub(super) const DECRBY: Command = Command {
    name: "decrby",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    since: "1.0.0",
    summary: "Takes a number from the integer under a key.",
    arguments: &[Arg::key("key"), Arg::integer("decrement")],
    handler: decrby,
    ..Command::DEFAULT
};

fn decrby(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let delta = integer(args.at(2))?.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    add(cx, args.at(1), delta)
}

pub(super) const INCRBYFLOAT: Command = Command {
    name: "incrbyfloat",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    since: "2.6.0",
    summary: "Adds a decimal fraction to the number under a key.",
    arguments: &[Arg::key("key"), Arg::double("increment")],
    handler: incrbyfloat,
    ..Command::DEFAULT
};

fn incrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let sum = if let Some(mut entry) = cx.keys.write(key) {
        let old = match entry.as_string().ok_or(CommandError::WrongType)? {
            StringRef::Int(value) => LongDouble::from_i64(value),
            StringRef::Bytes(bytes) => LongDouble::parse(bytes).ok_or(CommandError::NotAFloat)?,
        };
        let sum = sum(old, args.at(2))?;
        let expiry_ms = entry.expiry_ms();
        entry.become_entry(Entry::text(key, &sum, expiry_ms));
        sum
    } else {
        let sum = sum(LongDouble::from_i64(0), args.at(2))?;
        cx.keys.insert(Entry::text(key, &sum, None));
        sum
    };
    // Who is told need not compute with the same floats.
    cx.propagate_as(&[b"SET", key, &sum, b"KEEPTTL"]);
    cx.changed(EventClasses::STRING, "incrbyfloat", key);
    cx.reply.bulk(&sum);
    Ok(())
}

fn sum(old: LongDouble, delta: &[u8]) -> Result<Vec<u8>, CommandError> {
    let delta = LongDouble::parse(delta).ok_or(CommandError::NotAFloat)?;
    Ok(old.checked_add(delta).ok_or(CommandError::IncrementNan)?.to_text())
}
