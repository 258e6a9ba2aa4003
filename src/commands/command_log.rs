//! SLOWLOG and COMMANDLOG: the latest commands that cost much.

use super::arguments::is_word;
use super::help::container_help;
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};
use crate::server::command_log::LogKind;

/// The family.
pub(super) const COMMANDS: &[Command] = &[SLOWLOG, COMMANDLOG];

/// Entries that SLOWLOG GET replies without being told a number.
const DEFAULT_COUNT: usize = 10;

const SLOWLOG: Command = Command {
    name: "slowlog",
    arity: -2,
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about the log of slow commands.",
    subcommands: &[SLOWLOG_GET, SLOWLOG_HELP, SLOWLOG_LEN, SLOWLOG_RESET],
    ..Command::DEFAULT
};

const SLOWLOG_GET: Command = Command {
    name: "get",
    arity: -2,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(N) where N is the number of entries returned",
    summary: "Replies the newest entries of the log of slow commands.",
    arguments: &[Arg::integer("count").optional()],
    history: &[("4.0.0", "Entries have the address and name of the client.")],
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    handler: slow_get,
    ..Command::DEFAULT
};

fn slow_get(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        let (command, subcommand) = (args.at(0).into(), args.at(1).into());
        return Err(CommandError::SubcommandSyntax { command, subcommand });
    }
    let count = args.get(2).map_or(Ok(DEFAULT_COUNT), count)?;
    reply_entries(cx, LogKind::Slow, count);
    Ok(())
}

const SLOWLOG_LEN: Command = Command {
    name: "len",
    arity: 2,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(1)",
    summary: "Replies the length of the log of slow commands.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    handler: slow_len,
    ..Command::DEFAULT
};

fn slow_len(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    reply_length(cx, LogKind::Slow);
    Ok(())
}

const SLOWLOG_RESET: Command = Command {
    name: "reset",
    arity: 2,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(N) where N is the number of entries in the slowlog",
    summary: "Clears the log of slow commands.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: slow_reset,
    ..Command::DEFAULT
};

fn slow_reset(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.server.command_log.clear(LogKind::Slow);
    cx.reply.ok();
    Ok(())
}

const SLOWLOG_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Replies how SLOWLOG is used.",
    handler: container_help,
    ..Command::DEFAULT
};

const COMMANDLOG: Command = Command {
    name: "commandlog",
    arity: -2,
    group: Group::Server,
    since: "8.1.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about the logs of costly commands.",
    subcommands: &[COMMANDLOG_GET, COMMANDLOG_HELP, COMMANDLOG_LEN, COMMANDLOG_RESET],
    ..Command::DEFAULT
};

const COMMANDLOG_GET: Command = Command {
    name: "get",
    arity: 4,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "8.1.0",
    complexity: "O(N) where N is the number of entries returned",
    summary: "Replies the newest entries of a log of costly commands.",
    arguments: &[
        Arg::integer("count"),
        Arg::one_of(
            "type",
            &[
                Arg::flag("slow", "SLOW"),
                Arg::flag("large-request", "LARGE-REQUEST"),
                Arg::flag("large-reply", "LARGE-REPLY"),
            ],
        ),
    ],
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    handler: get,
    ..Command::DEFAULT
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = count(args.at(2))?;
    reply_entries(cx, kind(args.at(3))?, count);
    Ok(())
}

const COMMANDLOG_LEN: Command = Command {
    name: "len",
    arity: 3,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "8.1.0",
    complexity: "O(1)",
    summary: "Replies the length of a log of costly commands.",
    arguments: &[Arg::one_of(
        "type",
        &[
            Arg::flag("slow", "SLOW"),
            Arg::flag("large-request", "LARGE-REQUEST"),
            Arg::flag("large-reply", "LARGE-REPLY"),
        ],
    )],
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    handler: len,
    ..Command::DEFAULT
};

fn len(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_length(cx, kind(args.at(2))?);
    Ok(())
}

const COMMANDLOG_RESET: Command = Command {
    name: "reset",
    arity: 3,
    flags: flag::ADMIN | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "8.1.0",
    complexity: "O(N) where N is the number of entries in the commandlog",
    summary: "Clears a log of costly commands.",
    arguments: &[Arg::one_of(
        "type",
        &[
            Arg::flag("slow", "SLOW"),
            Arg::flag("large-request", "LARGE-REQUEST"),
            Arg::flag("large-reply", "LARGE-REPLY"),
        ],
    )],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: reset,
    ..Command::DEFAULT
};

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.server.command_log.clear(kind(args.at(2))?);
    cx.reply.ok();
    Ok(())
}

const COMMANDLOG_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "8.1.0",
    complexity: "O(1)",
    summary: "Replies how COMMANDLOG is used.",
    handler: container_help,
    ..Command::DEFAULT
};

fn kind(word: &[u8]) -> Result<LogKind, CommandError> {
    match word {
        word if is_word(word, "slow") => Ok(LogKind::Slow),
        word if is_word(word, "large-request") => Ok(LogKind::LargeRequest),
        word if is_word(word, "large-reply") => Ok(LogKind::LargeReply),
        _ => Err(CommandError::CommandlogType),
    }
}

/// A number of entries; -1 for all of them.
fn count(arg: &[u8]) -> Result<usize, CommandError> {
    match parse_i64(arg) {
        Some(-1) => Ok(usize::MAX),
        Some(count) => usize::try_from(count).map_err(|_| CommandError::CommandlogCount),
        None => Err(CommandError::CommandlogCount),
    }
}

fn reply_length(cx: &mut Context<'_>, kind: LogKind) {
    let count = cx.server.command_log.entries(kind).len();
    cx.reply.int(count as i64);
}

fn reply_entries(cx: &mut Context<'_>, kind: LogKind, count: usize) {
    let Context { server, reply, .. } = cx;
    let entries = server.command_log.entries(kind);
    reply.array(count.min(entries.len()));
    for entry in entries.take(count) {
        reply.array(6);
        reply.int(entry.id.cast_signed());
        reply.int(entry.time);
        reply.int(entry.value.cast_signed());
        reply.array(entry.arguments.len());
        for argument in &entry.arguments {
            reply.bulk(argument);
        }
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.client_name);
    }
}
