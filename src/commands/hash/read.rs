//! Reading fields and values: HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HSTRLEN, HEXISTS, HRANDFIELD, HSCAN.

use super::{reply_text, reply_value};
use crate::algorithms::numbers::parse_i64;
use crate::commands::arguments::is_word;
use crate::commands::scan::{self, ScanOptions, ScanReply, Scanned};
use crate::resp::{CommandError, Protocol};
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::types::Hash;

pub(super) const HGET: Command = Command {
    name: "hget",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Returns the value of a field of a hash.",
    arguments: &[Arg::key("key"), Arg::string("field")],
    handler: hget,
    ..Command::DEFAULT
};

fn hget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    reply_value(cx.reply, hash.as_ref().and_then(|hash| hash.get(args.at(2), now_ms)));
    Ok(())
}

pub(super) const HMGET: Command = Command {
    name: "hmget",
    arity: -3,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields being requested.",
    summary: "Returns the values of several fields of a hash.",
    arguments: &[Arg::key("key"), Arg::string("field").multiple()],
    handler: hmget,
    ..Command::DEFAULT
};

fn hmget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    let fields = args.from(2);
    cx.reply.array(fields.len());
    for field in fields.iter() {
        reply_value(cx.reply, hash.as_ref().and_then(|hash| hash.get(field, now_ms)));
    }
    Ok(())
}

pub(super) const HGETALL: Command = Command {
    name: "hgetall",
    arity: 2,
    flags: flag::READONLY,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the size of the hash.",
    summary: "Returns all fields and values of a hash.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: hgetall,
    ..Command::DEFAULT
};

fn hgetall(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let reply = &mut *cx.reply;
    match cx.keys.read_as::<Hash>(args.at(1))? {
        None => reply.map(0),
        Some(hash) => {
            reply.map(hash.live_len(now_ms));
            hash.for_each_live(now_ms, |field, value| {
                reply.bulk(field);
                reply.bulk(value);
            });
        }
    }
    Ok(())
}

pub(super) const HKEYS: Command = Command {
    name: "hkeys",
    arity: 2,
    flags: flag::READONLY,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the size of the hash.",
    summary: "Returns all fields of a hash.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: hkeys,
    ..Command::DEFAULT
};

fn hkeys(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let reply = &mut *cx.reply;
    match cx.keys.read_as::<Hash>(args.at(1))? {
        None => reply.array(0),
        Some(hash) => {
            reply.array(hash.live_len(now_ms));
            hash.for_each_live(now_ms, |field, _| reply.bulk(field));
        }
    }
    Ok(())
}

pub(super) const HVALS: Command = Command {
    name: "hvals",
    arity: 2,
    flags: flag::READONLY,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) where N is the size of the hash.",
    summary: "Returns all values of a hash.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: hvals,
    ..Command::DEFAULT
};

fn hvals(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let reply = &mut *cx.reply;
    match cx.keys.read_as::<Hash>(args.at(1))? {
        None => reply.array(0),
        Some(hash) => {
            reply.array(hash.live_len(now_ms));
            hash.for_each_live(now_ms, |_, value| reply.bulk(value));
        }
    }
    Ok(())
}

pub(super) const HLEN: Command = Command {
    name: "hlen",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Returns the number of fields of a hash.",
    arguments: &[Arg::key("key")],
    handler: hlen,
    ..Command::DEFAULT
};

fn hlen(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    cx.reply.int(hash.map_or(0, |hash| hash.len() as i64));
    Ok(())
}

pub(super) const HSTRLEN: Command = Command {
    name: "hstrlen",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::Hash,
    since: "3.2.0",
    complexity: "O(1)",
    summary: "Returns the length of the value of a field of a hash.",
    arguments: &[Arg::key("key"), Arg::string("field")],
    handler: hstrlen,
    ..Command::DEFAULT
};

fn hstrlen(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    let value = hash.as_ref().and_then(|hash| hash.get(args.at(2), now_ms));
    cx.reply.int(value.map_or(0, |value| value.text_len() as i64));
    Ok(())
}

pub(super) const HEXISTS: Command = Command {
    name: "hexists",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Says whether a field exists in a hash.",
    arguments: &[Arg::key("key"), Arg::string("field")],
    handler: hexists,
    ..Command::DEFAULT
};

fn hexists(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    cx.reply.int(i64::from(hash.is_some_and(|hash| hash.contains(args.at(2), now_ms))));
    Ok(())
}

pub(super) const HRANDFIELD: Command = Command {
    name: "hrandfield",
    arity: -2,
    flags: flag::READONLY,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned",
    summary: "Returns one or several random fields of a hash.",
    arguments: &[
        Arg::key("key"),
        Arg::block("options", &[Arg::integer("count"), Arg::flag("withvalues", "WITHVALUES").optional()])
            .optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: hrandfield,
    ..Command::DEFAULT
};

fn hrandfield(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let mut rng = cx.keys.keyspace.random().fork();
    if args.len() > 2 {
        let (count, with_values) = random_arguments(args)?;
        return random_fields(cx, args.at(1), count, with_values, &mut rng);
    }
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    let pair = hash.as_ref().and_then(|hash| hash.random(now_ms, &mut rng));
    reply_value(cx.reply, pair.map(|(field, _)| field));
    Ok(())
}

/// The count of HRANDFIELD and whether values are wanted.
fn random_arguments(args: Args<'_>) -> Result<(i64, bool), CommandError> {
    let count = parse_i64(args.at(2)).ok_or(CommandError::NotAnInteger)?;
    if count == i64::MIN {
        return Err(CommandError::OutOfLimits(-i64::MAX, i64::MAX));
    }
    match args.get(3) {
        None => Ok((count, false)),
        Some(word) if args.len() > 4 || !is_word(word, "withvalues") => Err(CommandError::Syntax),
        Some(_) if count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 => Err(CommandError::OutOfRange),
        Some(_) => Ok((count, true)),
    }
}

/// Replies with random fields: different ones for a positive count, independent ones for a negative.
fn random_fields(
    cx: &mut Context<'_>,
    key: &[u8],
    count: i64,
    with_values: bool,
    rng: &mut fastrand::Rng,
) -> Outcome {
    let now_ms = cx.now_ms();
    let asked = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let wanted = cx.elements_worth(asked);
    let reply = &mut *cx.reply;
    let hash = cx.keys.read_as::<Hash>(key)?;
    let Some(hash) = hash.filter(|_| wanted > 0) else {
        reply.array(0);
        return Ok(());
    };
    let nested = with_values && reply.protocol() == Protocol::Resp3;
    let length = reply.deferred();
    let visit = |(field, value)| {
        if nested {
            reply.array(2);
        }
        reply_text(reply, field);
        if with_values {
            reply_text(reply, value);
        }
    };
    let found = if count < 0 {
        hash.random_many(wanted, now_ms, rng, visit)
    } else {
        hash.sample(wanted, now_ms, rng, visit)
    };
    cx.reply.set_array(length, if with_values && !nested { found * 2 } else { found });
    Ok(())
}

pub(super) const HSCAN: Command = Command {
    name: "hscan",
    arity: -3,
    flags: flag::READONLY,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
    summary: "Goes over the fields and values of a hash step by step.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::flag("novalues", "NOVALUES").optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: hscan,
    ..Command::DEFAULT
};

fn hscan(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = scan::cursor(args.at(2))?;
    let now_ms = cx.now_ms();
    let Some(hash) = cx.keys.read_as::<Hash>(args.at(1))? else {
        scan::reply_empty(cx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Scanned::Hash)?;
    let mut found = ScanReply::new(cx.reply);
    let cursor = options.walk(cursor, |cursor| {
        hash.scan(cursor, now_ms, |field, value| {
            if options.matches(field) {
                found.push(field);
                if !options.only_keys {
                    found.push(value);
                }
            }
        })
    });
    found.finish(cursor, cx.reply);
    Ok(())
}
