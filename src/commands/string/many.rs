//! Several strings at once: MGET, MSET, MSETNX, MSETEX.

use super::super::arguments::{integer_within, is_word};
use super::super::expiry::{Condition, ExpiryOption, OptionsOf, StoreOptions};
use super::reply_string;
use crate::config::EventClasses;
use crate::keyspace::{StringRef, WriteExpiry};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Begin, Command, Find, Group, KeySpec, Outcome, category, flag, key_flag,
};

pub(super) const MGET: Command = Command {
    name: "mget",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::range(1, -1, 1, key_flag::RO | key_flag::ACCESS)],
    group: Group::String,
    since: "1.0.0",
    complexity: "O(N), N being the keys",
    summary: "Gives the strings under several keys.",
    arguments: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard"],
    handler: mget,
    ..Command::DEFAULT
};

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.reply.array(args.len() - 1);
    for key in args.from(1).iter() {
        let value = cx.keys.read(key).and_then(|entry| StringRef::of(&entry));
        reply_string(cx.reply, value);
    }
    Ok(())
}

/// Sets the pairs that begin at argument `from` and end before `to`.
fn set_pairs(cx: &mut Context<'_>, args: Args<'_>, from: usize, to: usize, expiry: WriteExpiry) {
    for index in (from..to).step_by(2) {
        let key = args.at(index);
        let replaced = cx.keys.set_string(key, args.at(index + 1), expiry);
        cx.changed(EventClasses::STRING, "set", key);
        if let WriteExpiry::At(_) = expiry {
            cx.notify(EventClasses::GENERIC, "expire", key);
        }
        cx.free_replaced(replaced);
    }
}

fn require_pairs(cx: &Context<'_>, args: Args<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(cx.command.full_name.as_str().into()));
    }
    Ok(())
}

pub(super) const MSET: Command = Command {
    name: "mset",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STRING,
    keys: &[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::UPDATE)],
    group: Group::String,
    since: "1.0.1",
    complexity: "O(N), N being the keys",
    summary: "Sets several strings at once.",
    arguments: &[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()],
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    handler: mset,
    ..Command::DEFAULT
};

fn mset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    require_pairs(cx, args)?;
    set_pairs(cx, args, 1, args.len(), WriteExpiry::Clear);
    cx.reply.ok();
    Ok(())
}

pub(super) const MSETNX: Command = Command {
    name: "msetnx",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STRING,
    keys: &[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::INSERT)],
    group: Group::String,
    since: "1.0.1",
    complexity: "O(N), N being the keys",
    summary: "Sets several strings at once, unless one of their keys exists.",
    arguments: &[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()],
    handler: msetnx,
    ..Command::DEFAULT
};

fn msetnx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    require_pairs(cx, args)?;
    let all_absent = !args.from(1).iter().step_by(2).any(|key| cx.keys.contains(key));
    if all_absent {
        set_pairs(cx, args, 1, args.len(), WriteExpiry::Clear);
    }
    cx.reply.int(i64::from(all_absent));
    Ok(())
}

pub(super) const MSETEX: Command = Command {
    name: "msetex",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS,
    categories: category::STRING,
    keys: &[KeySpec {
        flags: key_flag::OW | key_flag::UPDATE,
        begin: Begin::Index(1),
        find: Find::Count { index: 0, first: 1, step: 2 },
        notes: "",
    }],
    group: Group::String,
    since: "9.1.0",
    complexity: "O(N), N being the keys",
    summary: "Sets several strings at once, with one expiry for all of them.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple(),
        Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")]).optional(),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").token("EX"),
                Arg::integer("milliseconds").token("PX"),
                Arg::new("unix-time-seconds", ArgKind::UnixTime).token("EXAT"),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("PXAT"),
                Arg::flag("keepttl", "KEEPTTL"),
            ],
        )
        .optional(),
    ],
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    handler: msetex,
    ..Command::DEFAULT
};

fn msetex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = integer_within(args.at(1), 1..=i64::from(i32::MAX), CommandError::InvalidNumkeys)?;
    let end = 2 + count as usize * 2;
    if end > args.len() {
        return Err(CommandError::Syntax);
    }
    let options = StoreOptions::parse(args, end, args.len(), OptionsOf::Mset)?;
    let expiry = match options.expiry {
        ExpiryOption::At(expiry) => WriteExpiry::At(expiry.positive(cx.now_ms(), &cx.command.full_name)?),
        ExpiryOption::Keep => WriteExpiry::Keep,
        ExpiryOption::Unsaid | ExpiryOption::Persist => WriteExpiry::Clear,
    };
    let mut keys = (2..end).step_by(2).map(|index| args.at(index));
    let wanted = match options.condition {
        Condition::Absent => !keys.any(|key| cx.keys.contains(key)),
        Condition::Exists => keys.all(|key| cx.keys.contains(key)),
        Condition::None | Condition::Equals(_) => true,
    };
    if wanted {
        set_pairs(cx, args, 2, end, expiry);
        if let WriteExpiry::At(expiry_ms) = expiry {
            tell_with_instant(cx, args, end, expiry_ms);
        }
    }
    cx.reply.int(i64::from(wanted));
    Ok(())
}

/// Tells an MSETEX by the instant of its expiry; the options begin at `from`.
fn tell_with_instant(cx: &mut Context<'_>, args: Args<'_>, from: usize, expiry_ms: i64) {
    let mut buffer = itoa::Buffer::new();
    let instant = buffer.format(expiry_ms).as_bytes();
    let is_expiry = |word| ["ex", "px", "exat"].into_iter().any(|name| is_word(word, name));
    let mut changes = Vec::new();
    for at in from..args.len() {
        if is_expiry(args.at(at)) {
            changes.extend([(at, b"PXAT".as_slice()), (at + 1, instant)]);
        }
    }
    if !changes.is_empty() {
        cx.propagate_with(args, &changes);
    }
}
