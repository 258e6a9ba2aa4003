//! Setting, incrementing and deleting fields: HSET, HSETNX, HMSET, HDEL, HINCRBY, HINCRBYFLOAT.

use super::fields_changed;
use crate::algorithms::numbers::LongDouble;
use crate::commands::arguments::integer;
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::hash::{FieldTtl, NewExpiry, Text, Written};
use crate::types::{FlatLimits, Hash};

pub(super) const HSET: Command = Command {
    name: "hset",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.",
    summary: "Sets fields of a hash to values, and makes the hash if it is missing.",
    arguments: &[
        Arg::key("key"),
        Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    history: &[("4.0.0", "Accepts multiple `field` and `value` arguments.")],
    handler: hset,
    ..Command::DEFAULT
};

fn hset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let created = set_pairs(cx, args)?;
    cx.reply.int(created);
    Ok(())
}

pub(super) const HMSET: Command = Command {
    name: "hmset",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields being set.",
    summary: "Sets the values of several fields of a hash.",
    arguments: &[
        Arg::key("key"),
        Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    handler: hmset,
    ..Command::DEFAULT
};

fn hmset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_pairs(cx, args)?;
    cx.reply.ok();
    Ok(())
}

/// Sets the fields of HSET and HMSET and says how many are new.
fn set_pairs(cx: &mut Context<'_>, args: Args<'_>) -> Result<i64, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(cx.command.full_name.as_str().into()));
    }
    let (key, pairs) = (args.at(1), args.from(2));
    let count = pairs.len() / 2;
    let (limits, fields_at_ms) = (cx.server.limits.hash, cx.keys.fields_at_ms());
    let mut hash = cx.keys.write_or_create(key, Hash::new)?;
    prepare(&mut hash, pairs, limits);
    let (mut created, mut expired) = (0, 0);
    for pair in 0..count {
        let (field, value) = (pairs.at(2 * pair), pairs.at(2 * pair + 1));
        match hash.set(field, value, NewExpiry::Set(None), fields_at_ms, limits) {
            Written::Updated => {}
            Written::Created => created += 1,
            Written::ReplacedExpired => {
                created += 1;
                expired += 1;
            }
        }
    }
    drop(hash);
    fields_changed(cx, key, "hset", count, expired);
    Ok(created)
}

/// Makes the hash a table at once if what comes will not fit a listpack.
pub(super) fn prepare(hash: &mut Hash, pairs: Args<'_>, limits: FlatLimits) {
    let longest = pairs.iter().map(<[u8]>::len).max().unwrap_or(0);
    let total = pairs.iter().map(<[u8]>::len).sum();
    hash.prepare(pairs.len() / 2, longest, total, limits);
}

pub(super) const HSETNX: Command = Command {
    name: "hsetnx",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Sets a field of a hash unless it exists.",
    arguments: &[Arg::key("key"), Arg::string("field"), Arg::string("value")],
    handler: hsetnx,
    ..Command::DEFAULT
};

fn hsetnx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, field, value) = (args.at(1), args.at(2), args.at(3));
    let (limits, fields_at_ms) = (cx.server.limits.hash, cx.keys.fields_at_ms());
    let mut hash = cx.keys.write_or_create(key, Hash::new)?;
    if hash.contains(field, fields_at_ms) {
        drop(hash);
        cx.reply.int(0);
        return Ok(());
    }
    let volatile = hash.has_volatile_fields();
    let written = hash.set(field, value, NewExpiry::Set(None), fields_at_ms, limits);
    drop(hash);
    fields_changed(cx, key, "hset", 1, usize::from(written == Written::ReplacedExpired));
    if volatile {
        // Where it is told, a field that is expired here may still be there.
        cx.propagate_with(args, &[(0, b"HSET")]);
    }
    cx.reply.int(1);
    Ok(())
}

pub(super) const HDEL: Command = Command {
    name: "hdel",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields to be removed.",
    summary: "Deletes fields of a hash, and the hash with its last field.",
    arguments: &[Arg::key("key"), Arg::string("field").multiple()],
    history: &[("2.4.0", "Accepts multiple `field` arguments.")],
    handler: hdel,
    ..Command::DEFAULT
};

fn hdel(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let fields_at_ms = cx.keys.fields_at_ms();
    let Some(mut hash) = cx.keys.write_as::<Hash>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let mut deleted = 0;
    for field in args.from(2).iter() {
        deleted += usize::from(hash.remove(field, fields_at_ms));
        if hash.is_empty() {
            break;
        }
    }
    let emptied = hash.is_empty();
    drop(hash);
    fields_deleted(cx, key, deleted, emptied);
    cx.reply.int(deleted as i64);
    Ok(())
}

/// Says that `deleted` fields were deleted; the key goes when it is `emptied`.
pub(super) fn fields_deleted(cx: &mut Context<'_>, key: &[u8], deleted: usize, emptied: bool) {
    if deleted == 0 {
        return;
    }
    cx.changed(EventClasses::HASH, "hdel", key);
    cx.count_changes(deleted - 1);
    if emptied {
        cx.delete_emptied(key);
    }
}

pub(super) const HINCRBY: Command = Command {
    name: "hincrby",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Adds an integer to the value of a field of a hash; a missing field counts as 0.",
    arguments: &[Arg::key("key"), Arg::string("field"), Arg::integer("increment")],
    handler: hincrby,
    ..Command::DEFAULT
};

fn hincrby(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, field) = (args.at(1), args.at(2));
    let increment = integer(args.at(3))?;
    let (limits, fields_at_ms) = (cx.server.limits.hash, cx.keys.fields_at_ms());
    let mut hash = cx.keys.write_or_create(key, Hash::new)?;
    let old = match hash.get(field, fields_at_ms) {
        None => 0,
        Some(value) => value.as_integer().ok_or(CommandError::HashNotAnInteger)?,
    };
    let new = old.checked_add(increment).ok_or(CommandError::IncrementOverflow)?;
    let text = itoa::Buffer::new().format(new).to_owned();
    let volatile = hash.has_volatile_fields();
    let written = hash.set(field, text.as_bytes(), NewExpiry::Keep, fields_at_ms, limits);
    let ttl = hash.ttl(field, fields_at_ms);
    drop(hash);
    if volatile {
        tell_sum(cx, key, field, text.as_bytes(), ttl);
    }
    fields_changed(cx, key, "hincrby", 1, usize::from(written == Written::ReplacedExpired));
    cx.reply.int(new);
    Ok(())
}

pub(super) const HINCRBYFLOAT: Command = Command {
    name: "hincrbyfloat",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::Hash,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Adds a floating point number to the value of a field of a hash; a missing field counts as 0.",
    arguments: &[Arg::key("key"), Arg::string("field"), Arg::double("increment")],
    handler: hincrbyfloat,
    ..Command::DEFAULT
};

fn hincrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, field) = (args.at(1), args.at(2));
    let increment = LongDouble::parse(args.at(3)).ok_or(CommandError::NotAFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    let (limits, fields_at_ms) = (cx.server.limits.hash, cx.keys.fields_at_ms());
    let mut hash = cx.keys.write_or_create(key, Hash::new)?;
    let old = match hash.get(field, fields_at_ms) {
        None => LongDouble::from_i64(0),
        Some(Text::Int(value)) => LongDouble::from_i64(value),
        Some(Text::Bytes(text)) => LongDouble::parse(text).ok_or(CommandError::HashNotAFloat)?,
    };
    let text = old.checked_add(increment).ok_or(CommandError::IncrementNan)?.to_text();
    let written = hash.set(field, &text, NewExpiry::Keep, fields_at_ms, limits);
    let ttl = hash.ttl(field, fields_at_ms);
    drop(hash);
    // Who is told need not compute with the same floats.
    tell_sum(cx, key, field, &text, ttl);
    fields_changed(cx, key, "hincrbyfloat", 1, usize::from(written == Written::ReplacedExpired));
    cx.reply.bulk(&text);
    Ok(())
}

/// Tells what a field was incremented to, with its expiry.
fn tell_sum(cx: &mut Context<'_>, key: &[u8], field: &[u8], sum: &[u8], ttl: FieldTtl) {
    if let FieldTtl::At(expiry_ms) = ttl {
        let mut buffer = itoa::Buffer::new();
        let instant = buffer.format(expiry_ms).as_bytes();
        cx.propagate_as(&[b"HSETEX", key, b"PXAT", instant, b"FIELDS", b"1", field, sum]);
    } else {
        cx.propagate_as(&[b"HSET", key, field, sum]);
    }
}
