//! OBJECT: how a value is kept.

use super::super::help::container_help;
use crate::keyspace::access::idle_seconds;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};

pub(super) const OBJECT: Command = Command {
    name: "object",
    arity: -2,
    group: Group::Generic,
    since: "2.2.3",
    complexity: "That of the subcommand",
    summary: "Commands that look into how a value is kept.",
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    ..Command::DEFAULT
};

const ENCODING: Command = Command {
    name: "encoding",
    arity: 3,
    flags: flag::READONLY,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(2, key_flag::RO)],
    group: Group::Generic,
    since: "2.2.3",
    summary: "Tells how a value is encoded.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: encoding,
    ..Command::DEFAULT
};

fn encoding(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match cx.keys.inspect(args.at(2)) {
        Some(entry) => cx.reply.bulk(entry.encoding().name().as_bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

const REFCOUNT: Command = Command {
    name: "refcount",
    arity: 3,
    flags: flag::READONLY,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(2, key_flag::RO)],
    group: Group::Generic,
    since: "2.2.3",
    summary: "Tells how many references a value has.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: refcount,
    ..Command::DEFAULT
};

fn refcount(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match cx.keys.inspect(args.at(2)) {
        Some(_) => cx.reply.int(1),
        None => cx.reply.null(),
    }
    Ok(())
}

const IDLETIME: Command = Command {
    name: "idletime",
    arity: 3,
    flags: flag::READONLY,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(2, key_flag::RO)],
    group: Group::Generic,
    since: "2.2.3",
    summary: "Tells for how many seconds a key was not used.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: idletime,
    ..Command::DEFAULT
};

fn idletime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let Some(clock) = cx.keys.inspect(args.at(2)).map(|entry| entry.clock()) else {
        cx.reply.null();
        return Ok(());
    };
    if cx.keys.keyspace.access_policy.is_lfu() {
        return Err(CommandError::LfuSelected);
    }
    cx.reply.int(i64::from(idle_seconds(clock, now_ms)));
    Ok(())
}

const FREQ: Command = Command {
    name: "freq",
    arity: 3,
    flags: flag::READONLY,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(2, key_flag::RO)],
    group: Group::Generic,
    since: "4.0.0",
    summary: "Tells how often a key was used, on a logarithmic scale.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: freq,
    ..Command::DEFAULT
};

fn freq(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms();
    let Some(clock) = cx.keys.inspect(args.at(2)).map(|entry| entry.clock()) else {
        cx.reply.null();
        return Ok(());
    };
    let policy = cx.keys.keyspace.access_policy;
    if !policy.is_lfu() {
        return Err(CommandError::LfuNotSelected);
    }
    cx.reply.int(i64::from(policy.frequency(clock, now_ms)));
    Ok(())
}

const HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    categories: category::KEYSPACE,
    group: Group::Generic,
    since: "6.2.0",
    summary: "Explains the subcommands.",
    handler: container_help,
    ..Command::DEFAULT
};
