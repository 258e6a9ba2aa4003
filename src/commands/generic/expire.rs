//! EXPIRE and its kin, TTL and its kin, PERSIST.

use super::super::arguments::is_word;
use super::super::expiry::{ExpiryArgument, expire_at_once, is_over};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};

/// On which old expiry a new one depends.
#[derive(Default)]
struct Conditions {
    if_none: bool,
    if_any: bool,
    if_greater: bool,
    if_less: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for word in args.from(3).iter() {
            match word {
                _ if is_word(word, "nx") => conditions.if_none = true,
                _ if is_word(word, "xx") => conditions.if_any = true,
                _ if is_word(word, "gt") => conditions.if_greater = true,
                _ if is_word(word, "lt") => conditions.if_less = true,
                _ => return Err(CommandError::UnsupportedOption(word.into())),
            }
        }
        if conditions.if_none && (conditions.if_any || conditions.if_greater || conditions.if_less) {
            return Err(CommandError::ExpireNxConflict);
        }
        if conditions.if_greater && conditions.if_less {
            return Err(CommandError::ExpireGtLtConflict);
        }
        Ok(conditions)
    }

    /// Whether the new expiry may take the old one's place; no expiry counts as one that never comes.
    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        !(self.if_none && old.is_some()
            || self.if_any && old.is_none()
            || self.if_greater && old.is_none_or(|old| new <= old)
            || self.if_less && old.is_some_and(|old| new >= old))
    }
}

fn set_expiry(cx: &mut Context<'_>, args: Args<'_>, unit_ms: i64, relative: bool) -> Outcome {
    let conditions = Conditions::parse(args)?;
    let argument = ExpiryArgument { text: args.at(2), unit_ms, relative };
    let now_ms = cx.now_ms();
    let expiry_ms = argument.any(now_ms, &cx.command.full_name)?;
    let key = args.at(1);
    let allowed = cx.keys.peek(key).is_some_and(|entry| conditions.allow(entry.expiry_ms(), expiry_ms));
    if allowed && is_over(cx, expiry_ms) {
        expire_at_once(cx, key);
    } else if allowed {
        cx.keys.set_expiry(key, Some(expiry_ms));
        if cx.propagates() {
            let mut buffer = itoa::Buffer::new();
            let instant = buffer.format(expiry_ms).as_bytes();
            cx.propagate_with(args, &[(0, b"PEXPIREAT"), (2, instant)]);
        }
        cx.changed(EventClasses::GENERIC, "expire", key);
    }
    cx.reply.int(i64::from(allowed));
    Ok(())
}

pub(super) const EXPIRE: Command = Command {
    name: "expire",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Has a key expire after some seconds.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("seconds"),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    history: &[("7.0.0", "Takes `NX`, `XX`, `GT` and `LT`.")],
    handler: expire,
    ..Command::DEFAULT
};

fn expire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_expiry(cx, args, 1000, true)
}

pub(super) const PEXPIRE: Command = Command {
    name: "pexpire",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Has a key expire after some milliseconds.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("milliseconds"),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    history: &[("7.0.0", "Takes `NX`, `XX`, `GT` and `LT`.")],
    handler: pexpire,
    ..Command::DEFAULT
};

fn pexpire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_expiry(cx, args, 1, true)
}

pub(super) const EXPIREAT: Command = Command {
    name: "expireat",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Generic,
    since: "1.2.0",
    summary: "Has a key expire at an instant in seconds.",
    arguments: &[
        Arg::key("key"),
        Arg::new("unix-time-seconds", ArgKind::UnixTime),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    history: &[("7.0.0", "Takes `NX`, `XX`, `GT` and `LT`.")],
    handler: expireat,
    ..Command::DEFAULT
};

fn expireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_expiry(cx, args, 1000, false)
}

pub(super) const PEXPIREAT: Command = Command {
    name: "pexpireat",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Has a key expire at an instant in milliseconds.",
    arguments: &[
        Arg::key("key"),
        Arg::new("unix-time-milliseconds", ArgKind::UnixTime),
        Arg::one_of(
            "condition",
            &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
        )
        .since("7.0.0")
        .optional(),
    ],
    history: &[("7.0.0", "Takes `NX`, `XX`, `GT` and `LT`.")],
    handler: pexpireat,
    ..Command::DEFAULT
};

fn pexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_expiry(cx, args, 1, false)
}

fn reply_expiry(cx: &mut Context<'_>, args: Args<'_>, unit_ms: i64, relative: bool) -> Outcome {
    let now_ms = cx.now_ms();
    let value = match cx.keys.read_untouched(args.at(1)).map(|entry| entry.expiry_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(expiry_ms)) => {
            let ms = if relative { (expiry_ms - now_ms).max(0) } else { expiry_ms };
            // Seconds are rounded to the nearest; no time is too late for that.
            ((ms.max(0).unsigned_abs() + (unit_ms / 2).unsigned_abs()) / unit_ms.unsigned_abs()).cast_signed()
        }
    };
    cx.reply.int(value);
    Ok(())
}

pub(super) const TTL: Command = Command {
    name: "ttl",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Tells how many seconds a key has left.",
    arguments: &[Arg::key("key")],
    history: &[("2.8.0", "Replies -2 for a missing key.")],
    tips: &["nondeterministic_output"],
    handler: ttl,
    ..Command::DEFAULT
};

fn ttl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiry(cx, args, 1000, true)
}

pub(super) const PTTL: Command = Command {
    name: "pttl",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Tells how many milliseconds a key has left.",
    arguments: &[Arg::key("key")],
    history: &[("2.8.0", "Replies -2 for a missing key.")],
    tips: &["nondeterministic_output"],
    handler: pttl,
    ..Command::DEFAULT
};

fn pttl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiry(cx, args, 1, true)
}

pub(super) const EXPIRETIME: Command = Command {
    name: "expiretime",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Generic,
    since: "7.0.0",
    summary: "Tells when a key expires, as Unix time in seconds.",
    arguments: &[Arg::key("key")],
    handler: expiretime,
    ..Command::DEFAULT
};

fn expiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiry(cx, args, 1000, false)
}

pub(super) const PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Generic,
    since: "7.0.0",
    summary: "Tells when a key expires, as Unix time in milliseconds.",
    arguments: &[Arg::key("key")],
    handler: pexpiretime,
    ..Command::DEFAULT
};

fn pexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiry(cx, args, 1, false)
}

pub(super) const PERSIST: Command = Command {
    name: "persist",
    arity: 2,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Generic,
    since: "2.2.0",
    summary: "Takes the expiry of a key away.",
    arguments: &[Arg::key("key")],
    handler: persist,
    ..Command::DEFAULT
};

fn persist(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let expires = cx.keys.peek(key).is_some_and(|entry| entry.expiry_ms().is_some());
    if expires {
        cx.keys.set_expiry(key, None);
        cx.changed(EventClasses::GENERIC, "persist", key);
    }
    cx.reply.int(i64::from(expires));
    Ok(())
}
