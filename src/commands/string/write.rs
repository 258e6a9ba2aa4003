//! SET and its older forms: SETNX, SETEX, PSETEX, GETSET.

use super::super::arguments::is_word;
use super::super::expiry::{
    Condition, ExpiryArgument, ExpiryOption, OptionsOf, StoreOptions, expire_at_once, is_over,
};
use super::reply_string;
use crate::config::EventClasses;
use crate::keyspace::WriteExpiry;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};

/// A SET, once its arguments are understood.
struct SetPlan<'a> {
    key: &'a [u8],
    value: &'a [u8],
    condition: Condition<'a>,
    /// Reply with the old value instead of whether it was set.
    get: bool,
    expiry: WriteExpiry,
}

/// Whether a SET was done.
#[derive(PartialEq, Eq)]
enum Done {
    Yes,
    /// It was, and the key has expired with it.
    Expired,
    No,
}

impl SetPlan<'_> {
    /// Does what the plan says; with GET, the old value is written to the reply first.
    fn act(&self, cx: &mut Context<'_>) -> Result<Done, CommandError> {
        if self.get {
            let old = cx.keys.read_string(self.key)?;
            reply_string(cx.reply, old);
        }
        let found = cx.keys.find(self.key);
        let wanted = match self.condition {
            Condition::None => true,
            Condition::Absent => found.is_none(),
            Condition::Exists => found.is_some(),
            Condition::Equals(wanted) => match found {
                None => false,
                Some(position) => {
                    let entry = cx.keys.db().table().get(position);
                    let value = entry.as_string().ok_or(CommandError::WrongType)?;
                    value.as_bytes(&mut itoa::Buffer::new()) == wanted
                }
            },
        };
        if !wanted {
            return Ok(Done::No);
        }
        if let WriteExpiry::At(expiry_ms) = self.expiry
            && is_over(cx, expiry_ms)
        {
            expire_at_once(cx, self.key);
            return Ok(Done::Expired);
        }
        let replaced = match found {
            Some(position) => cx.keys.set_string_at(position, self.key, self.value, self.expiry),
            None => {
                cx.keys.insert_string(self.key, self.value, self.expiry);
                None
            }
        };
        cx.changed(EventClasses::STRING, "set", self.key);
        if let WriteExpiry::At(_) = self.expiry {
            cx.notify(EventClasses::GENERIC, "expire", self.key);
        }
        cx.free_replaced(replaced);
        Ok(Done::Yes)
    }

    /// Tells a SET by the instant of its expiry, and without GET.
    fn tell(&self, cx: &mut Context<'_>, args: Args<'_>, expiry: ExpiryOption<'_>) {
        match (self.expiry, expiry) {
            (WriteExpiry::At(_), ExpiryOption::At(ExpiryArgument { unit_ms: 1, relative: false, .. })) => {}
            (WriteExpiry::At(expiry_ms), _) => {
                let mut buffer = itoa::Buffer::new();
                let instant = buffer.format(expiry_ms).as_bytes();
                if args.len() == 5 {
                    cx.propagate_with(args, &[(3, b"PXAT"), (4, instant)]);
                } else {
                    cx.propagate_as(&[b"SET", self.key, self.value, b"PXAT", instant]);
                }
            }
            _ if self.get => {
                let is_comparison = |at: usize| at > 3 && is_word(args.at(at - 1), "ifeq");
                let is_get = |at: usize| at >= 3 && is_word(args.at(at), "get") && !is_comparison(at);
                let kept = (0..args.len()).filter(|at| !is_get(*at)).map(|at| args.at(at));
                cx.propagate_as(&kept.collect::<Vec<_>>());
            }
            _ => {}
        }
    }
}

pub(super) const SET: Command = Command {
    name: "set",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STRING,
    keys: &[KeySpec {
        notes: "RW and ACCESS due to the optional `GET` argument",
        ..KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS)
    }],
    group: Group::String,
    since: "1.0.0",
    summary: "Makes a key hold a string, whatever it held before.",
    arguments: &[
        Arg::key("key"),
        Arg::string("value"),
        Arg::one_of(
            "condition",
            &[
                Arg::flag("nx", "NX").since("2.6.12"),
                Arg::flag("xx", "XX").since("2.6.12"),
                Arg::string("comparison-value").token("IFEQ").since("8.1.0"),
            ],
        )
        .optional(),
        Arg::flag("get", "GET").since("6.2.0").optional(),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").token("EX").since("2.6.12"),
                Arg::integer("milliseconds").token("PX").since("2.6.12"),
                Arg::new("unix-time-seconds", ArgKind::UnixTime).token("EXAT").since("6.2.0"),
                Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("PXAT").since("6.2.0"),
                Arg::flag("keepttl", "KEEPTTL").since("6.0.0"),
            ],
        )
        .optional(),
    ],
    history: &[
        ("2.6.12", "Takes `EX`, `PX`, `NX` and `XX`."),
        ("6.0.0", "Takes `KEEPTTL`."),
        ("6.2.0", "Takes `GET`, `EXAT` and `PXAT`."),
        ("7.0.0", "`NX` and `GET` may stand together."),
        ("8.1.0", "Takes `IFEQ`."),
    ],
    handler: set,
    ..Command::DEFAULT
};

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, value) = (args.at(1), args.at(2));
    if args.len() == 3 {
        let replaced = cx.keys.set_string(key, value, WriteExpiry::Clear);
        cx.changed(EventClasses::STRING, "set", key);
        cx.free_replaced(replaced);
        cx.reply.ok();
        return Ok(());
    }
    let options = StoreOptions::parse(args, 3, args.len(), OptionsOf::Set)?;
    let expiry = match options.expiry {
        ExpiryOption::At(expiry) => WriteExpiry::At(expiry.positive(cx.now_ms(), &cx.command.full_name)?),
        ExpiryOption::Keep => WriteExpiry::Keep,
        ExpiryOption::Unsaid | ExpiryOption::Persist => WriteExpiry::Clear,
    };
    let plan = SetPlan { key, value, condition: options.condition, get: options.get, expiry };
    let done = plan.act(cx)?;
    if done == Done::Yes && cx.propagates() {
        plan.tell(cx, args, options.expiry);
    }
    match done {
        _ if options.get => {}
        Done::Yes | Done::Expired => cx.reply.ok(),
        Done::No => cx.reply.null(),
    }
    Ok(())
}

pub(super) const SETNX: Command = Command {
    name: "setnx",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::OW | key_flag::INSERT)],
    group: Group::String,
    since: "1.0.0",
    summary: "Sets a string unless its key exists.",
    arguments: &[Arg::key("key"), Arg::string("value")],
    handler: setnx,
    ..Command::DEFAULT
};

fn setnx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = SetPlan {
        key: args.at(1),
        value: args.at(2),
        condition: Condition::Absent,
        get: false,
        expiry: WriteExpiry::Clear,
    };
    let done = plan.act(cx)? == Done::Yes;
    cx.reply.int(i64::from(done));
    Ok(())
}

fn set_with_expiry(cx: &mut Context<'_>, args: Args<'_>, unit_ms: i64) -> Outcome {
    let expiry = ExpiryArgument { text: args.at(2), unit_ms, relative: true };
    let (key, value) = (args.at(1), args.at(3));
    let expiry_ms = expiry.positive(cx.now_ms(), &cx.command.full_name)?;
    let expiry = WriteExpiry::At(expiry_ms);
    let plan = SetPlan { key, value, condition: Condition::None, get: false, expiry };
    if plan.act(cx)? == Done::Yes && cx.propagates() {
        cx.propagate_as(&[b"SET", key, value, b"PXAT", itoa::Buffer::new().format(expiry_ms).as_bytes()]);
    }
    cx.reply.ok();
    Ok(())
}

pub(super) const SETEX: Command = Command {
    name: "setex",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)],
    group: Group::String,
    since: "2.0.0",
    summary: "Sets a string that expires after some seconds.",
    arguments: &[Arg::key("key"), Arg::integer("seconds"), Arg::string("value")],
    handler: setex,
    ..Command::DEFAULT
};

fn setex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_with_expiry(cx, args, 1000)
}

pub(super) const PSETEX: Command = Command {
    name: "psetex",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)],
    group: Group::String,
    since: "2.6.0",
    summary: "Sets a string that expires after some milliseconds.",
    arguments: &[Arg::key("key"), Arg::integer("milliseconds"), Arg::string("value")],
    handler: psetex,
    ..Command::DEFAULT
};

fn psetex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_with_expiry(cx, args, 1)
}

pub(super) const GETSET: Command = Command {
    name: "getset",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    since: "1.0.0",
    summary: "Sets a string and gives the one it replaced.",
    arguments: &[Arg::key("key"), Arg::string("value")],
    handler: getset,
    ..Command::DEFAULT
};

fn getset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = SetPlan {
        key: args.at(1),
        value: args.at(2),
        condition: Condition::None,
        get: true,
        expiry: WriteExpiry::Clear,
    };
    plan.act(cx)?;
    cx.propagate_with(args, &[(0, b"SET")]);
    Ok(())
}
