//! Commands about the server as such: TIME, LOLWUT, MONITOR, MODULE.

use super::help::container_help;
use crate::config::VALKEY_VERSION;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};
use crate::sys::clock;

/// The family.
pub(super) const COMMANDS: &[Command] = &[TIME, LOLWUT, MONITOR, MODULE];

const TIME: Command = Command {
    name: "time",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    group: Group::Server,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Replies the server's time: seconds of Unix time and microseconds.",
    tips: &["nondeterministic_output"],
    handler: time,
    ..Command::DEFAULT
};

fn time(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let now_us = cx.server.scripting.time_us().unwrap_or_else(clock::unix_us);
    cx.reply.array(2);
    cx.reply.bulk_int(now_us / 1_000_000);
    cx.reply.bulk_int(now_us % 1_000_000);
    Ok(())
}

const LOLWUT: Command = Command {
    name: "lolwut",
    arity: -1,
    flags: flag::READONLY | flag::FAST,
    group: Group::Server,
    since: "5.0.0",
    complexity: "",
    summary: "Replies a picture that nobody needs, and the version.",
    arguments: &[Arg::integer("version").token("VERSION").optional()],
    handler: lolwut,
    ..Command::DEFAULT
};

fn lolwut(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    /// A loaded scale.
    const PICTURE: &str = concat!(
        "          ___________\n",
        "         |  _  _  _  |\n",
        "   ______|_|_||_||_|_|______\n",
        "  /__________________________\\\n",
        "        |  000000 B  |\n",
        "        |____________|\n",
    );
    let title = cx.server.title().name();
    cx.reply.verbatim(b"txt", format!("{PICTURE}\n{title} ver. {VALKEY_VERSION}\n").as_bytes());
    Ok(())
}

const MONITOR: Command = Command {
    name: "monitor",
    arity: 1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "1.0.0",
    complexity: "",
    summary: "Feeds the connection every command as it runs.",
    handler: monitor,
    ..Command::DEFAULT
};

fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.in_transaction {
        return Err(CommandError::MonitorDenied);
    }
    let key = cx.client;
    if let Some(client) = cx.client_mut() {
        client.monitor = true;
        cx.server.monitors.add(key);
    }
    cx.reply.ok();
    Ok(())
}

const MODULE: Command = Command {
    name: "module",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about modules.",
    subcommands: &[MODULE_HELP, MODULE_LIST],
    ..Command::DEFAULT
};

const MODULE_LIST: Command = Command {
    name: "list",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(N) where N is the number of loaded modules.",
    summary: "Replies the modules that are loaded: there are none.",
    tips: &["nondeterministic_output_order"],
    handler: module_list,
    ..Command::DEFAULT
};

fn module_list(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.array(0);
    Ok(())
}

const MODULE_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how MODULE is used.",
    handler: container_help,
    ..Command::DEFAULT
};
