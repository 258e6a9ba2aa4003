//! CONFIG: reading and changing options, rewriting their file, clearing statistics.

use std::path::PathBuf;

use super::help::container_help;
use crate::keyspace::Counters;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};
use crate::server::file_save::Content;

/// The family.
pub(super) const COMMANDS: &[Command] = &[CONFIG];

const CONFIG: Command = Command {
    name: "config",
    arity: -2,
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands that read and change options.",
    subcommands: &[CONFIG_GET, CONFIG_HELP, CONFIG_RESETSTAT, CONFIG_REWRITE, CONFIG_SET],
    ..Command::DEFAULT
};

const CONFIG_GET: Command = Command {
    name: "get",
    arity: -3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(N) when N is the number of configuration parameters provided",
    summary: "Replies the options that patterns find, with their values.",
    arguments: &[Arg::string("parameter").multiple()],
    history: &[("7.0.0", "Several patterns can be given.")],
    handler: get,
    ..Command::DEFAULT
};

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.from(2).iter().collect();
    let found = cx.server.config.get(&patterns);
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(&name);
        cx.reply.bulk(&value);
    }
    Ok(())
}

const CONFIG_SET: Command = Command {
    name: "set",
    arity: -4,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(N) when N is the number of configuration parameters provided",
    summary: "Changes options while the server runs, all of those given or none.",
    arguments: &[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()],
    history: &[("7.0.0", "Several options can be set at once.")],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: set,
    ..Command::DEFAULT
};

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    let values: Vec<&[u8]> = args.from(2).iter().collect();
    let pairs: Vec<(&[u8], &[u8])> = values.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if cx.set_later(&pairs) {
        return Ok(());
    }
    cx.set_now(&pairs)?;
    cx.reply.ok();
    Ok(())
}

const CONFIG_REWRITE: Command = Command {
    name: "rewrite",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.0",
    complexity: "O(1)",
    summary: "Writes the options in force into the configuration file.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: rewrite,
    ..Command::DEFAULT
};

fn rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let path = cx.server.identity.config_file.as_str();
    if path.is_empty() {
        return Err(CommandError::NoConfigFile);
    }
    let path = PathBuf::from(path);
    let rewriting = cx.server.config.rewriting(Some(cx.server.acl.lines()));
    cx.save_file(&path, Content::Configuration(rewriting))
}

const CONFIG_RESETSTAT: Command = Command {
    name: "resetstat",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Clears the statistics that INFO shows.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: resetstat,
    ..Command::DEFAULT
};

fn resetstat(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.server.stats.reset();
    cx.server.aof.reset_statistics();
    cx.server.replication.reset_statistics();
    cx.server.background.reset_freed_objects();
    cx.server.eviction.reset_durations();
    cx.server.defrag.reset_statistics();
    cx.server.scripting.evicted = 0;
    if let Some(cluster) = &mut cx.server.cluster {
        cluster.reset_statistics();
    }
    let counters = &mut cx.keys.keyspace.counters;
    *counters = Counters { changes: counters.changes, ..Counters::default() };
    cx.reply.ok();
    Ok(())
}

const CONFIG_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how CONFIG is used.",
    handler: container_help,
    ..Command::DEFAULT
};
