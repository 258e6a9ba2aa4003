//! Fields with their expiry in one command: HSETEX, HGETEX, HGETDEL.

use super::write::fields_deleted;
use super::{expiry::expiry_changed, fields_at, find_fields, is_over, reply_value};
use crate::commands::arguments::integer;
use crate::commands::expiry::{Condition, ExpiryOption, OptionsOf, StoreOptions};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::types::Hash;
use crate::types::hash::{ExpiryChange, FieldTtl, IGNORE_EXPIRY, NewExpiry, Written};

pub(super) const HSETEX: Command = Command {
    name: "hsetex",
    arity: -6,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Sets fields of a hash to values, with an expiry and conditions if wanted.",
    arguments: &[
        Arg::key("key"),
        Arg::one_of("key-condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")]).optional(),
        Arg::one_of("fields-condition", &[Arg::flag("fnx", "FNX"), Arg::flag("fxx", "FXX")]).optional(),
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
        Arg::block(
            "fields",
            &[
                Arg::integer("numfields").of_key_spec(0),
                Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
            ],
        )
        .token("FIELDS"),
    ],
    handler: hsetex,
    ..Command::DEFAULT
};

fn hsetex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (options, pairs) = parse_hsetex(args)?;
    let (key, now_ms) = (args.at(1), cx.now_ms());
    let fields = || pairs.iter().step_by(2);
    let hash = cx.keys.write_as::<Hash>(key)?;
    let exists = hash.is_some();
    if !holds(options.condition, exists) {
        cx.reply.int(0);
        return Ok(());
    }
    let expiry_ms = match options.expiry {
        ExpiryOption::At(argument) => Some(argument.not_negative(now_ms, &cx.command.full_name)?),
        _ => None,
    };
    let has = |field| hash.as_ref().is_some_and(|hash| hash.contains(field, now_ms));
    if !fields().all(|field| holds(options.field_condition, has(field))) {
        cx.reply.int(0);
        return Ok(());
    }
    drop(hash);
    match expiry_ms {
        Some(expiry_ms) if is_over(cx, expiry_ms) => expire_at_once(cx, key, pairs, exists)?,
        _ => set_pairs(cx, key, pairs, expiry_ms, options.expiry == ExpiryOption::Keep)?,
    }
    cx.reply.int(1);
    Ok(())
}

/// Whether what is there, or is not, meets a condition.
fn holds(condition: Condition<'_>, exists: bool) -> bool {
    match condition {
        Condition::Absent => !exists,
        Condition::Exists => exists,
        Condition::None | Condition::Equals(_) => true,
    }
}

/// The options of HSETEX and its fields with their values.
fn parse_hsetex(args: Args<'_>) -> Result<(StoreOptions<'_>, Args<'_>), CommandError> {
    let Some(at) = find_fields(args, 2) else { return Err(CommandError::Numfields) };
    let options = StoreOptions::parse(args, 2, at, OptionsOf::Hset)?;
    let count = integer(args.at(at + 1))?;
    let pairs = args.from(at + 2);
    let wanted = usize::try_from(count).ok().and_then(|count| count.checked_mul(2));
    if count == 0 || wanted != Some(pairs.len()) {
        return Err(CommandError::Numfields);
    }
    Ok((options, pairs))
}

/// Sets the fields of HSETEX.
fn set_pairs(
    cx: &mut Context<'_>,
    key: &[u8],
    pairs: Args<'_>,
    expiry_ms: Option<i64>,
    keep: bool,
) -> Outcome {
    let (limits, now_ms) = (cx.server.limits.hash, cx.now_ms());
    let expiry = if keep { NewExpiry::Keep } else { NewExpiry::Set(expiry_ms) };
    let mut hash = cx.keys.write_or_create(key, Hash::new)?;
    let (count, mut expired) = (pairs.len() / 2, 0);
    for pair in 0..count {
        let written = hash.set(pairs.at(2 * pair), pairs.at(2 * pair + 1), expiry, now_ms, limits);
        expired += usize::from(written == Written::ReplacedExpired);
    }
    drop(hash);
    super::fields_changed(cx, key, "hset", count, expired);
    if expiry_ms.is_some() {
        cx.notify(EventClasses::HASH, "hexpire", key);
    }
    Ok(())
}

/// What HSETEX does with an expiry that is over: the fields go, and the key when none is left.
fn expire_at_once(cx: &mut Context<'_>, key: &[u8], pairs: Args<'_>, exists: bool) -> Outcome {
    let mut hash = cx.keys.write_as::<Hash>(key)?;
    let mut deleted = 0;
    if let Some(hash) = &mut hash {
        for field in pairs.iter().step_by(2) {
            deleted += usize::from(hash.remove(field, IGNORE_EXPIRY));
        }
    }
    let emptied = hash.as_ref().is_none_or(|hash| hash.is_empty());
    drop(hash);
    // Valkey counts every field named, whether it was there or not.
    cx.keys.keyspace.counters.expired_fields += (pairs.len() / 2) as u64;
    if deleted > 0 {
        cx.touched(key);
        cx.count_changes(deleted);
    }
    for event in ["hset", "hexpire", "hexpired"] {
        cx.notify(EventClasses::HASH, event, key);
    }
    if emptied && exists {
        cx.delete_emptied(key);
    } else if emptied {
        cx.notify(EventClasses::GENERIC, "del", key);
    }
    Ok(())
}

pub(super) const HGETEX: Command = Command {
    name: "hgetex",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Returns the values of fields of a hash, and sets or removes the expiry of the fields.",
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
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hgetex,
    ..Command::DEFAULT
};

fn hgetex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some(at) = find_fields(args, 2) else { return Err(CommandError::Numfields) };
    let options = StoreOptions::parse(args, 2, at, OptionsOf::Hget)?;
    let fields = fields_at(args, at, CommandError::Numfields)?;
    let (key, now_ms) = (args.at(1), cx.now_ms());
    if options.expiry == ExpiryOption::Unsaid {
        let hash = cx.keys.read_as::<Hash>(key)?;
        cx.reply.array(fields.len());
        for field in fields.iter() {
            reply_value(cx.reply, hash.as_ref().and_then(|hash| hash.get(field, now_ms)));
        }
        return Ok(());
    }
    // A read for the statistics, though the hash is changed.
    let exists = cx.keys.read_as::<Hash>(key)?.is_some();
    let expiry_ms = match options.expiry {
        ExpiryOption::At(argument) => Some(argument.not_negative(now_ms, &cx.command.full_name)?),
        _ => None,
    };
    let over = expiry_ms.is_some_and(|expiry_ms| is_over(cx, expiry_ms));
    let mut hash = if exists { cx.keys.write_as::<Hash>(key)? } else { None };
    let mut changed = 0;
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let Some(hash) = &mut hash else {
            cx.reply.null();
            continue;
        };
        reply_value(cx.reply, hash.get(field, now_ms));
        changed += usize::from(match expiry_ms {
            None => matches!(hash.persist(field, now_ms), FieldTtl::At(_)),
            Some(expiry_ms) => matches!(
                hash.set_expiry(field, expiry_ms, over, now_ms, |_| true),
                ExpiryChange::Set | ExpiryChange::Expired
            ),
        });
    }
    let emptied = hash.as_ref().is_some_and(|hash| hash.is_empty());
    drop(hash);
    match expiry_ms {
        None => expiry_changed(cx, key, "hpersist", changed, 0, false),
        Some(_) if over => expiry_changed(cx, key, "hexpired", 0, changed, emptied),
        Some(_) => expiry_changed(cx, key, "hexpire", changed, 0, false),
    }
    Ok(())
}

pub(super) const HGETDEL: Command = Command {
    name: "hgetdel",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::Hash,
    since: "9.1.0",
    complexity: "O(N) where N is the number of fields to be retrieved and deleted.",
    summary: "Returns the values of fields of a hash and deletes the fields.",
    arguments: &[
        Arg::key("key"),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hgetdel,
    ..Command::DEFAULT
};

fn hgetdel(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let fields = fields_at(args, 2, CommandError::Numfields)?;
    let (key, now_ms) = (args.at(1), cx.now_ms());
    let mut hash = cx.keys.write_as::<Hash>(key)?;
    let mut deleted = 0;
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let Some(hash) = &mut hash else {
            cx.reply.null();
            continue;
        };
        reply_value(cx.reply, hash.get(field, now_ms));
        deleted += usize::from(hash.remove(field, now_ms));
    }
    let emptied = hash.as_ref().is_some_and(|hash| hash.is_empty());
    drop(hash);
    fields_deleted(cx, key, deleted, emptied);
    Ok(())
}
