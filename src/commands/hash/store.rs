//! Fields with their expiry in one command: HSETEX, HGETEX, HGETDEL.

use super::write::fields_deleted;
use super::{expiry::expiry_changed, fields_at, find_fields, reply_value};
use crate::commands::arguments::integer;
use crate::commands::expiry::{Condition, ExpiryOption, OptionsOf, StoreOptions, is_over};
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
    let fields_at_ms = cx.keys.fields_at_ms();
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
    let has = |field| hash.as_ref().is_some_and(|hash| hash.contains(field, fields_at_ms));
    if !fields().all(|field| holds(options.field_condition, has(field))) {
        cx.reply.int(0);
        return Ok(());
    }
    drop(hash);
    match expiry_ms {
        Some(expiry_ms) if is_over(cx, expiry_ms) => expire_at_once(cx, key, pairs, exists)?,
        _ => {
            set_pairs(cx, key, pairs, expiry_ms, options.expiry == ExpiryOption::Keep)?;
            tell_pairs(cx, args, pairs, &options, expiry_ms);
        }
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
    let Some(at) = find_fields(args, 1) else { return Err(CommandError::Numfields) };
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
    let (limits, fields_at_ms) = (cx.server.limits.hash, cx.keys.fields_at_ms());
    let expiry = if keep { NewExpiry::Keep } else { NewExpiry::Set(expiry_ms) };
    let mut hash = cx.keys.write_or_create(key, Hash::new)?;
    let count = pairs.len() / 2;
    let mut expired = Vec::new();
    for pair in 0..count {
        let field = pairs.at(2 * pair);
        if hash.set(field, pairs.at(2 * pair + 1), expiry, fields_at_ms, limits) == Written::ReplacedExpired {
            expired.push(field);
        }
    }
    drop(hash);
    if keep && !expired.is_empty() {
        // Who is told does not look at the clock, and would keep the expiry that is over.
        let mut words = vec![b"HDEL".as_slice(), key];
        words.extend(&expired);
        let database = cx.keys.database;
        cx.also_propagate(database, &words);
    }
    super::fields_changed(cx, key, "hset", count, expired.len());
    if expiry_ms.is_some() {
        cx.notify(EventClasses::HASH, "hexpire", key);
    }
    Ok(())
}

/// Tells an HSETEX that was done by the instant of its expiry, and without its conditions.
fn tell_pairs(
    cx: &mut Context<'_>,
    args: Args<'_>,
    pairs: Args<'_>,
    options: &StoreOptions<'_>,
    expiry_ms: Option<i64>,
) {
    if !cx.propagates() || options.is_told_as_it_is() {
        return;
    }
    let mut buffer = itoa::Buffer::new();
    let mut words = vec![args.at(0), args.at(1)];
    match expiry_ms {
        Some(expiry_ms) => words.extend([b"PXAT".as_slice(), buffer.format(expiry_ms).as_bytes()]),
        None if options.expiry == ExpiryOption::Keep => words.push(b"KEEPTTL"),
        None => {}
    }
    let fields_at = args.len() - pairs.len() - 2;
    words.extend(args.from(fields_at).iter());
    cx.propagate_as(&words);
}

/// What HSETEX does with an expiry that is over: the fields go, and the key when none is left.
fn expire_at_once(cx: &mut Context<'_>, key: &[u8], pairs: Args<'_>, exists: bool) -> Outcome {
    let mut hash = cx.keys.write_as::<Hash>(key)?;
    let mut gone = Vec::new();
    if let Some(hash) = &mut hash {
        gone.extend(pairs.iter().step_by(2).filter(|field| hash.remove(field, IGNORE_EXPIRY)));
    }
    let deleted = gone.len();
    let emptied = hash.as_ref().is_none_or(|hash| hash.is_empty());
    drop(hash);
    tell_fields(cx, &[b"HDEL", key], &gone);
    // Valkey counts every field named, whether it was there or not.
    cx.keys.keyspace.counters.expired_fields += (pairs.len() / 2) as u64;
    if deleted > 0 {
        cx.touched(key);
        cx.count_changes(deleted);
    }
    if !exists {
        // In Valkey it has been there for a moment.
        cx.notify(EventClasses::NEW, "new", key);
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

/// Tells what was done to these fields, if there are any.
pub(super) fn tell_fields(cx: &mut Context<'_>, command: &[&[u8]], fields: &[&[u8]]) {
    if !fields.is_empty() {
        cx.propagate_as(&[command, fields].concat());
    }
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
    let Some(at) = find_fields(args, 1) else { return Err(CommandError::Numfields) };
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
    let mut changed = Vec::new();
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let Some(hash) = &mut hash else {
            cx.reply.null();
            continue;
        };
        reply_value(cx.reply, hash.get(field, now_ms));
        let is_changed = match expiry_ms {
            None => matches!(hash.persist(field, now_ms), FieldTtl::At(_)),
            Some(expiry_ms) => matches!(
                hash.set_expiry(field, expiry_ms, over, now_ms, |_| true),
                ExpiryChange::Set | ExpiryChange::Expired
            ),
        };
        if is_changed {
            changed.push(field);
        }
    }
    let emptied = hash.as_ref().is_some_and(|hash| hash.is_empty());
    drop(hash);
    tell_hgetex(cx, key, expiry_ms, over, &changed);
    let changed = changed.len();
    match expiry_ms {
        None => expiry_changed(cx, key, "hpersist", changed, 0, false),
        Some(_) if over => expiry_changed(cx, key, "hexpired", 0, changed, emptied),
        Some(_) => expiry_changed(cx, key, "hexpire", changed, 0, false),
    }
    Ok(())
}

/// Tells what an HGETEX did to the fields that it changed.
fn tell_hgetex(cx: &mut Context<'_>, key: &[u8], expiry_ms: Option<i64>, over: bool, changed: &[&[u8]]) {
    let mut buffers = [itoa::Buffer::new(), itoa::Buffer::new()];
    let [instant, count] = &mut buffers;
    let count = count.format(changed.len()).as_bytes();
    match expiry_ms {
        None => tell_fields(cx, &[b"HPERSIST", key, b"FIELDS", count], changed),
        Some(_) if over => tell_fields(cx, &[b"HDEL", key], changed),
        Some(expiry_ms) => {
            let instant = instant.format(expiry_ms).as_bytes();
            tell_fields(cx, &[b"HPEXPIREAT", key, instant, b"FIELDS", count], changed);
        }
    }
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
    let (key, fields_at_ms) = (args.at(1), cx.keys.fields_at_ms());
    let mut hash = cx.keys.write_as::<Hash>(key)?;
    let mut deleted = 0;
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let Some(hash) = &mut hash else {
            cx.reply.null();
            continue;
        };
        reply_value(cx.reply, hash.get(field, fields_at_ms));
        deleted += usize::from(hash.remove(field, fields_at_ms));
    }
    let emptied = hash.as_ref().is_some_and(|hash| hash.is_empty());
    drop(hash);
    fields_deleted(cx, key, deleted, emptied);
    Ok(())
}
