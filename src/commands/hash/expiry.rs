//! The expiry of single fields: HEXPIRE and its kin, HTTL and its kin, HPERSIST.

use super::store::tell_fields;
use super::{fields_at, find_fields};
use crate::commands::arguments::is_word;
use crate::commands::expiry::{ExpiryArgument, is_over};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Hash;
use crate::types::hash::{ExpiryChange, FieldTtl};

const SECOND_MS: i64 = 1000;

pub(super) const HEXPIRE: Command = Command {
    name: "hexpire",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Sets when fields of a hash expire, in seconds from now.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("seconds"),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS"),
    ],
    handler: hexpire,
    ..Command::DEFAULT
};

fn hexpire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, SECOND_MS, true)
}

pub(super) const HPEXPIRE: Command = Command {
    name: "hpexpire",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Sets when fields of a hash expire, in milliseconds from now.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("9.0.0")
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hpexpire,
    ..Command::DEFAULT
};

fn hpexpire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, 1, true)
}

pub(super) const HEXPIREAT: Command = Command {
    name: "hexpireat",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Sets when fields of a hash expire, as a Unix time in seconds.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("unix-time-seconds"),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("9.0.0")
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hexpireat,
    ..Command::DEFAULT
};

fn hexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, SECOND_MS, false)
}

pub(super) const HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Sets when fields of a hash expire, as a Unix time in milliseconds.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("unix-time-milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("9.0.0")
        .optional(),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hpexpireat,
    ..Command::DEFAULT
};

fn hpexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, 1, false)
}

/// On what setting an expiry depends.
#[derive(Debug, Default, Clone, Copy)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    /// Whether `new_ms` may take the place of the present expiry; none counts as infinite.
    fn allows(self, present: Option<i64>, new_ms: i64) -> bool {
        match present {
            None => !self.xx && !self.gt,
            Some(present_ms) => {
                !self.nx && (!self.gt || new_ms > present_ms) && (!self.lt || new_ms < present_ms)
            }
        }
    }
}

fn expire(cx: &mut Context<'_>, args: Args<'_>, unit_ms: i64, relative: bool) -> Outcome {
    let (key, now_ms) = (args.at(1), cx.now_ms());
    let (condition, fields) = parse_expire(args)?;
    let argument = ExpiryArgument { text: args.at(2), unit_ms, relative };
    let expiry_ms = argument.not_negative(now_ms, &cx.command.full_name)?;
    let over = is_over(cx, expiry_ms);
    let fields_at_ms = cx.keys.fields_at_ms();
    let mut hash = cx.keys.write_as::<Hash>(key)?;
    let (mut set, mut gone) = (0, Vec::new());
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let change = match &mut hash {
            None => ExpiryChange::Missing,
            Some(hash) => hash.set_expiry(field, expiry_ms, over, fields_at_ms, |present| {
                condition.allows(present, expiry_ms)
            }),
        };
        set += usize::from(change == ExpiryChange::Set);
        if change == ExpiryChange::Expired {
            gone.push(field);
        }
        cx.reply.int(change as i64);
    }
    let emptied = hash.as_ref().is_some_and(|hash| hash.is_empty());
    drop(hash);
    let expired = gone.len();
    if expired > 0 {
        tell_fields(cx, &[b"HDEL", key], &gone);
    } else if set > 0 {
        let mut buffer = itoa::Buffer::new();
        let instant = buffer.format(expiry_ms).as_bytes();
        cx.propagate_with(args, &[(0, b"HPEXPIREAT"), (2, instant)]);
    }
    expiry_changed(cx, key, if expired > 0 { "hexpired" } else { "hexpire" }, set, expired, emptied);
    Ok(())
}

/// Says that fields got an expiry or went at once; the key goes when it is `emptied`.
pub(super) fn expiry_changed(
    cx: &mut Context<'_>,
    key: &[u8],
    event: &'static str,
    changed: usize,
    expired: usize,
    emptied: bool,
) {
    if changed + expired == 0 {
        return;
    }
    cx.keys.keyspace.counters.expired_fields += expired as u64;
    cx.changed(EventClasses::HASH, event, key);
    cx.count_changes(changed + expired - 1);
    if emptied {
        cx.delete_emptied(key);
    }
}

/// The options and the fields of HEXPIRE and its kin.
fn parse_expire(args: Args<'_>) -> Result<(Condition, Args<'_>), CommandError> {
    let Some(at) = find_fields(args, 3) else { return Err(CommandError::Numfields) };
    let mut condition = Condition::default();
    for word in (3..at).map(|index| args.at(index)) {
        let which = match word {
            _ if is_word(word, "nx") => &mut condition.nx,
            _ if is_word(word, "xx") => &mut condition.xx,
            _ if is_word(word, "gt") => &mut condition.gt,
            _ if is_word(word, "lt") => &mut condition.lt,
            _ => return Err(CommandError::UnsupportedOption(word.into())),
        };
        *which = true;
    }
    if condition.nx && (condition.xx || condition.gt || condition.lt) {
        return Err(CommandError::ExpireNxConflict);
    }
    if condition.gt && condition.lt {
        return Err(CommandError::ExpireGtLtConflict);
    }
    Ok((condition, fields_at(args, at, CommandError::Numfields)?))
}

pub(super) const HTTL: Command = Command {
    name: "httl",
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Tells how long fields of a hash still live, in seconds.",
    arguments: &[
        Arg::key("key"),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: httl,
    ..Command::DEFAULT
};

fn httl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    ttl(cx, args, |expiry_ms| seconds(expiry_ms - now_ms))
}

pub(super) const HPTTL: Command = Command {
    name: "hpttl",
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Tells how long fields of a hash still live, in milliseconds.",
    arguments: &[
        Arg::key("key"),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hpttl,
    ..Command::DEFAULT
};

fn hpttl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    ttl(cx, args, |expiry_ms| (expiry_ms - now_ms).max(0))
}

pub(super) const HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Tells when fields of a hash expire, as a Unix time in seconds.",
    arguments: &[
        Arg::key("key"),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hexpiretime,
    ..Command::DEFAULT
};

fn hexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ttl(cx, args, seconds)
}

pub(super) const HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Tells when fields of a hash expire, as a Unix time in milliseconds.",
    arguments: &[
        Arg::key("key"),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hpexpiretime,
    ..Command::DEFAULT
};

fn hpexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ttl(cx, args, |expiry_ms| expiry_ms)
}

/// Whole seconds, rounded; the largest instants round beyond what milliseconds can say.
fn seconds(ms: i64) -> i64 {
    ((ms.max(0).unsigned_abs() + 500) / SECOND_MS.unsigned_abs()).cast_signed()
}

fn ttl(cx: &mut Context<'_>, args: Args<'_>, shown: impl Fn(i64) -> i64) -> Outcome {
    let fields = fields_at(args, 2, CommandError::Syntax)?;
    let now_ms = cx.now_ms();
    let hash = cx.keys.read_as::<Hash>(args.at(1))?;
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let ttl = hash.as_ref().map_or(FieldTtl::Missing, |hash| hash.ttl(field, now_ms));
        cx.reply.int(match ttl {
            FieldTtl::Missing => -2,
            FieldTtl::Persistent => -1,
            FieldTtl::At(expiry_ms) => shown(expiry_ms),
        });
    }
    Ok(())
}

pub(super) const HPERSIST: Command = Command {
    name: "hpersist",
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Removes the expiry of fields of a hash.",
    arguments: &[
        Arg::key("key"),
        Arg::block("fields", &[Arg::integer("numfields").of_key_spec(0), Arg::string("field").multiple()])
            .token("FIELDS"),
    ],
    handler: hpersist,
    ..Command::DEFAULT
};

fn hpersist(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let fields = fields_at(args, 2, CommandError::Numfields)?;
    let (key, fields_at_ms) = (args.at(1), cx.keys.fields_at_ms());
    let mut hash = cx.keys.write_as::<Hash>(key)?;
    let mut changed = 0;
    cx.reply.array(fields.len());
    for field in fields.iter() {
        let before = hash.as_mut().map_or(FieldTtl::Missing, |hash| hash.persist(field, fields_at_ms));
        cx.reply.int(match before {
            FieldTtl::Missing => -2,
            FieldTtl::Persistent => -1,
            FieldTtl::At(_) => {
                changed += 1;
                1
            }
        });
    }
    drop(hash);
    expiry_changed(cx, key, "hpersist", changed, 0, false);
    Ok(())
}
