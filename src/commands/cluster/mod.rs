//! CLUSTER and what belongs to it, for a cluster of one node: whoever would need another node is told that there is none.

mod scan;
mod show;
mod slots;
mod statistics;

use super::arguments::{integer, is_word};
use super::help::container_help;
use crate::algorithms::numbers::parse_i64;
use crate::algorithms::slot::SLOTS;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::cluster::Cluster;
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};

/// The family.
pub(super) const COMMANDS: &[Command] = &[CLUSTER, ASKING, READONLY, READWRITE, scan::CLUSTERSCAN];

const CLUSTER_COMMAND: Command = Command { group: Group::Cluster, since: "3.0.0", ..Command::DEFAULT };

/// What changes the cluster.
const ADMIN_COMMAND: Command =
    Command { flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE, ..CLUSTER_COMMAND };

/// What shows it and may do so while data is loading.
const SHOW_COMMAND: Command = Command { flags: flag::LOADING | flag::STALE, ..CLUSTER_COMMAND };

const CLUSTER: Command = Command {
    name: "cluster",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about the cluster.",
    subcommands: &[
        slots::ADDSLOTS,
        slots::ADDSLOTSRANGE,
        BUMPEPOCH,
        CANCELSLOTMIGRATIONS,
        COUNT_FAILURE_REPORTS,
        slots::COUNTKEYSINSLOT,
        slots::DELSLOTS,
        slots::DELSLOTSRANGE,
        FAILOVER,
        slots::FLUSHSLOT,
        slots::FLUSHSLOTS,
        FORGET,
        slots::GETKEYSINSLOT,
        GETSLOTMIGRATIONS,
        HELP,
        show::INFO,
        slots::KEYSLOT,
        show::LINKS,
        MEET,
        MIGRATESLOTS,
        show::MYID,
        show::MYSHARDID,
        show::NODES,
        REPLICAS,
        REPLICATE,
        RESET,
        SAVECONFIG,
        SET_CONFIG_EPOCH,
        slots::SETSLOT,
        show::SHARDS,
        SLAVES,
        statistics::SLOT_STATS,
        show::SLOTS_REPLY,
        SYNCSLOTS,
    ],
    ..CLUSTER_COMMAND
};

/// The cluster's state; an error where this is no node of one.
fn enabled<'a>(cx: &'a mut Context<'_>) -> Result<&'a mut Cluster, CommandError> {
    cx.server.cluster.as_deref_mut().ok_or(CommandError::ClusterDisabled)
}

/// A slot.
///
/// # Errors
/// `Invalid or out of range slot`.
pub(super) fn slot(arg: &[u8]) -> Result<u16, CommandError> {
    parse_i64(arg)
        .and_then(|slot| u16::try_from(slot).ok())
        .filter(|slot| usize::from(*slot) < SLOTS)
        .ok_or_else(|| CommandError::custom("ERR Invalid or out of range slot"))
}

fn unknown_node(id: &[u8]) -> CommandError {
    CommandError::custom([b"ERR Unknown node ".as_slice(), id].concat())
}

/// Whether the argument is this node's id.
///
/// # Errors
/// `Unknown node`: there is no other.
fn expect_own_id(cx: &mut Context<'_>, id: &[u8]) -> Outcome {
    if enabled(cx)?.id.as_bytes() == id { Ok(()) } else { Err(unknown_node(id)) }
}

fn no_other_nodes(what: &str) -> CommandError {
    CommandError::custom(format!("ERR {what} is not supported by Weighbridge: its clusters have one node"))
}

const HELP: Command = Command {
    name: "help",
    arity: 2,
    since: "5.0.0",
    summary: "Lists the subcommands.",
    handler: help,
    ..SHOW_COMMAND
};

fn help(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    container_help(cx, args)
}

const ASKING: Command = Command {
    name: "asking",
    flags: flag::FAST,
    categories: category::CONNECTION,
    summary: "Says that the next request was sent on by another node.",
    handler: asking,
    ..CLUSTER_COMMAND
};

/// No slot is ever on its way to this node, so there is nothing to remember.
fn asking(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    cx.reply.ok();
    Ok(())
}

const READONLY: Command = Command {
    name: "readonly",
    flags: flag::FAST | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    summary: "Says that the client only reads and is content with a replica.",
    handler: |cx, _| set_readonly(cx, true),
    ..CLUSTER_COMMAND
};

const READWRITE: Command = Command {
    name: "readwrite",
    flags: flag::FAST | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    summary: "Takes READONLY back.",
    handler: |cx, _| set_readonly(cx, false),
    ..CLUSTER_COMMAND
};

fn set_readonly(cx: &mut Context<'_>, readonly: bool) -> Outcome {
    enabled(cx)?;
    if let Some(client) = cx.client_mut() {
        client.readonly = readonly;
    }
    cx.reply.ok();
    Ok(())
}

const BUMPEPOCH: Command = Command {
    name: "bumpepoch",
    arity: 2,
    summary: "Makes the epoch of this node the highest.",
    tips: &["nondeterministic_output"],
    handler: bumpepoch,
    ..ADMIN_COMMAND
};

fn bumpepoch(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let cluster = enabled(cx)?;
    let word = if cluster.bump_epoch() { "BUMPED" } else { "STILL" };
    let epoch = cluster.config_epoch;
    cx.server.cluster_changed();
    cx.reply.simple(&format!("{word} {epoch}"));
    Ok(())
}

const SET_CONFIG_EPOCH: Command = Command {
    name: "set-config-epoch",
    arity: 3,
    summary: "Sets the epoch of a new node.",
    arguments: &[Arg::integer("config-epoch")],
    handler: set_config_epoch,
    ..ADMIN_COMMAND
};

fn set_config_epoch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cluster = enabled(cx)?;
    let epoch = integer(args.at(2))?;
    let Ok(wanted) = u64::try_from(epoch) else {
        return Err(CommandError::custom(format!("ERR Invalid config epoch specified: {epoch}")));
    };
    if cluster.config_epoch != 0 {
        return Err(CommandError::custom("ERR Node config epoch is already non-zero"));
    }
    cluster.config_epoch = wanted;
    cluster.current_epoch = cluster.current_epoch.max(wanted);
    tracing::info!("configEpoch set to {wanted} via CLUSTER SET-CONFIG-EPOCH");
    cx.server.cluster_changed();
    cx.reply.ok();
    Ok(())
}

const SAVECONFIG: Command = Command {
    name: "saveconfig",
    arity: 2,
    summary: "Writes the node file.",
    handler: saveconfig,
    ..ADMIN_COMMAND
};

fn saveconfig(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    cx.server.save_cluster().map_err(|error| {
        let reason = crate::config::os_reason(&error);
        CommandError::custom(format!("ERR error saving the cluster node config: {reason}"))
    })?;
    cx.reply.ok();
    Ok(())
}

const RESET: Command = Command {
    name: "reset",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
    complexity: "O(N), N known nodes.",
    summary: "Makes this node one that serves no slot; HARD makes it another node.",
    arguments: &[
        Arg::one_of("reset-type", &[Arg::flag("hard", "HARD"), Arg::flag("soft", "SOFT")]).optional()
    ],
    handler: reset,
    ..CLUSTER_COMMAND
};

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let hard = match args.get(2) {
        _ if args.len() > 3 => return Err(subcommand_syntax(args)),
        None => false,
        Some(word) if is_word(word, "soft") => false,
        Some(word) if is_word(word, "hard") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if !cx.keys.keyspace.is_empty() {
        return Err(CommandError::custom(
            "ERR CLUSTER RESET can't be called with master nodes containing keys",
        ));
    }
    enabled(cx)?.reset(hard);
    cx.server.cluster_changed();
    cx.reply.ok();
    Ok(())
}

/// A subcommand whose arguments do not fit.
fn subcommand_syntax(args: Args<'_>) -> CommandError {
    CommandError::SubcommandSyntax { command: args.at(0).into(), subcommand: args.at(1).into() }
}

const MEET: Command = Command {
    name: "meet",
    arity: -4,
    summary: "Makes another node known to this one.",
    arguments: &[
        Arg::string("ip"),
        Arg::integer("port"),
        Arg::integer("cluster-bus-port").since("4.0.0").optional(),
    ],
    history: &[("4.0.0", "Takes the port of the bus.")],
    handler: meet,
    ..ADMIN_COMMAND
};

fn meet(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    if args.len() > 5 {
        return Err(subcommand_syntax(args));
    }
    for (arg, what) in [(args.get(3), "base"), (args.get(4), "bus")] {
        if let Some(arg) = arg.filter(|arg| parse_i64(arg).is_none()) {
            let text = format!("ERR Invalid {what} port specified: {}", String::from_utf8_lossy(arg));
            return Err(CommandError::custom(text));
        }
    }
    Err(no_other_nodes("CLUSTER MEET"))
}

const FORGET: Command = Command {
    name: "forget",
    arity: 3,
    summary: "Removes another node from those that are known.",
    arguments: &[Arg::string("node-id")],
    handler: forget,
    ..ADMIN_COMMAND
};

fn forget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expect_own_id(cx, args.at(2))?;
    Err(CommandError::custom("ERR I tried hard but I can't forget myself..."))
}

const REPLICATE: Command = Command {
    name: "replicate",
    arity: -3,
    summary: "Makes this node a replica of another.",
    arguments: &[Arg::one_of(
        "args",
        &[
            Arg::string("node-id"),
            Arg::block("no-one", &[Arg::flag("no", "NO"), Arg::flag("one", "ONE")]).since("9.0.0"),
        ],
    )],
    history: &[("9.0.0", "`NO ONE` makes a replica a primary.")],
    handler: replicate,
    ..ADMIN_COMMAND
};

fn replicate(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    match args.len() {
        3 => {
            expect_own_id(cx, args.at(2))?;
            Err(CommandError::custom("ERR Can't replicate myself"))
        }
        4 if is_word(args.at(2), "no") && is_word(args.at(3), "one") => {
            cx.reply.ok();
            Ok(())
        }
        _ => Err(subcommand_syntax(args)),
    }
}

const FAILOVER: Command = Command {
    name: "failover",
    arity: -2,
    summary: "Makes a replica take its primary's place.",
    arguments: &[
        Arg::one_of("options", &[Arg::flag("force", "FORCE"), Arg::flag("takeover", "TAKEOVER")]).optional()
    ],
    handler: failover,
    ..ADMIN_COMMAND
};

fn failover(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    if args.from(2).iter().any(|word| !is_word(word, "force") && !is_word(word, "takeover")) {
        return Err(CommandError::Syntax);
    }
    Err(CommandError::custom("ERR You should send CLUSTER FAILOVER to a replica"))
}

const COUNT_FAILURE_REPORTS: Command = Command {
    name: "count-failure-reports",
    arity: 3,
    flags: flag::ADMIN | flag::STALE,
    complexity: "O(N), N reports.",
    summary: "Tells how many nodes report another as failing.",
    arguments: &[Arg::string("node-id")],
    history: &[("9.0.0", "Reports of a node that is known to have failed are not counted.")],
    tips: &["nondeterministic_output"],
    handler: count_failure_reports,
    ..CLUSTER_COMMAND
};

fn count_failure_reports(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expect_own_id(cx, args.at(2))?;
    cx.reply.int(0);
    Ok(())
}

const REPLICAS: Command = Command { name: "replicas", since: "5.0.0", ..SLAVES_COMMAND };

const SLAVES: Command =
    Command { name: "slaves", deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")), ..SLAVES_COMMAND };

const SLAVES_COMMAND: Command = Command {
    arity: 3,
    flags: flag::ADMIN | flag::STALE,
    complexity: "O(N), N replicas.",
    summary: "Lists the replicas of a node.",
    arguments: &[Arg::string("node-id")],
    tips: &["nondeterministic_output"],
    handler: replicas,
    ..CLUSTER_COMMAND
};

fn replicas(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expect_own_id(cx, args.at(2))?;
    cx.reply.array(0);
    Ok(())
}

const GETSLOTMIGRATIONS: Command = Command {
    name: "getslotmigrations",
    arity: 2,
    since: "9.0.0",
    complexity: "O(N), N migrations.",
    summary: "Lists the slots that are, or lately were, on their way between nodes.",
    handler: getslotmigrations,
    ..ADMIN_COMMAND
};

fn getslotmigrations(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    cx.reply.array(0);
    Ok(())
}

const CANCELSLOTMIGRATIONS: Command = Command {
    name: "cancelslotmigrations",
    arity: 2,
    since: "9.0.0",
    complexity: "O(N), N migrations.",
    summary: "Calls off every migration of slots.",
    handler: cancelslotmigrations,
    ..ADMIN_COMMAND
};

fn cancelslotmigrations(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    Err(CommandError::custom("ERR No migrations ongoing"))
}

const MIGRATESLOTS: Command = Command {
    name: "migrateslots",
    arity: -4,
    since: "9.0.0",
    complexity: "O(N), N slots.",
    summary: "Moves slots to another node.",
    arguments: &[Arg::block(
        "migration-group",
        &[
            Arg::flag("slotsrange-token", "SLOTSRANGE"),
            Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple(),
            Arg::flag("node-token", "NODE"),
            Arg::string("node-id"),
        ],
    )
    .multiple()],
    handler: |cx, _| {
        enabled(cx)?;
        Err(no_other_nodes("CLUSTER MIGRATESLOTS"))
    },
    ..ADMIN_COMMAND
};

const SYNCSLOTS: Command = Command {
    name: "syncslots",
    arity: -3,
    since: "9.0.0",
    complexity: "Depends on subcommand.",
    summary: "What nodes say to each other while slots are on their way.",
    handler: |cx, _| {
        enabled(cx)?;
        Err(no_other_nodes("CLUSTER SYNCSLOTS"))
    },
    ..ADMIN_COMMAND
};
