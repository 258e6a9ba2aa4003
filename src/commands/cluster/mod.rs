//! CLUSTER and what belongs to it.

mod migrate_slots;
mod nodes;
mod scan;
mod show;
mod slots;
mod statistics;
mod sync_slots;

use super::arguments::integer;
use super::help::container_help;
use crate::algorithms::numbers::parse_i64;
use crate::algorithms::slot::SLOTS;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::cluster::{Cluster, NodeKey};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::file_save::Content;

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
        migrate_slots::CANCELSLOTMIGRATIONS,
        nodes::COUNT_FAILURE_REPORTS,
        slots::COUNTKEYSINSLOT,
        slots::DELSLOTS,
        slots::DELSLOTSRANGE,
        nodes::FAILOVER,
        slots::FLUSHSLOT,
        slots::FLUSHSLOTS,
        nodes::FORGET,
        slots::GETKEYSINSLOT,
        migrate_slots::GETSLOTMIGRATIONS,
        HELP,
        show::INFO,
        slots::KEYSLOT,
        show::LINKS,
        nodes::MEET,
        migrate_slots::MIGRATESLOTS,
        show::MYID,
        show::MYSHARDID,
        show::NODES,
        nodes::REPLICAS,
        nodes::REPLICATE,
        nodes::RESET,
        SAVECONFIG,
        SET_CONFIG_EPOCH,
        slots::SETSLOT,
        show::SHARDS,
        nodes::SLAVES,
        statistics::SLOT_STATS,
        show::SLOTS_REPLY,
        sync_slots::SYNCSLOTS,
    ],
    ..CLUSTER_COMMAND
};

/// The cluster's state; an error where this is no node of one.
fn enabled<'a>(cx: &'a mut Context<'_>) -> Result<&'a mut Cluster, CommandError> {
    cx.server.cluster.as_deref_mut().ok_or(CommandError::ClusterDisabled)
}

/// The cluster, to change which slots are whose or what this node is: first the keys of slots that it has lost are gone.
///
/// # Errors
/// This server is no node.
fn to_change<'a>(cx: &'a mut Context<'_>) -> Result<&'a mut Cluster, CommandError> {
    cx.server.delete_lost_keys(cx.keys.keyspace, usize::MAX);
    enabled(cx)
}

/// Keys of the selected database that a slot has; those that are only there to be deleted are none.
fn keys_in_slot(cx: &Context<'_>, slot: u16) -> usize {
    let is_deleting = cx.server.cluster.as_ref().is_some_and(|cluster| cluster.is_deleting(slot));
    if is_deleting { 0 } else { cx.keys.db().keys_in_slot(slot) }
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

/// The node of an id.
///
/// # Errors
/// `Unknown node`.
fn known_node(cx: &mut Context<'_>, id: &[u8]) -> Result<NodeKey, CommandError> {
    enabled(cx)?.find(id).ok_or_else(|| unknown_node(id))
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

fn asking(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    if let Some(client) = cx.client_mut() {
        client.asking = true;
    }
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
    let epoch = cluster.me().config_epoch;
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
    if cluster.nodes.count() > 1 {
        return Err(CommandError::custom(
            "ERR The user can assign a config epoch only when the node does not know any other node.",
        ));
    }
    if cluster.me().config_epoch != 0 {
        return Err(CommandError::custom("ERR Node config epoch is already non-zero"));
    }
    cluster.me_mut().config_epoch = wanted;
    cluster.current_epoch = cluster.current_epoch.max(wanted);
    tracing::info!("configEpoch set to {wanted} via CLUSTER SET-CONFIG-EPOCH");
    (cluster.todo.save, cluster.todo.update_state) = (true, true);
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
    let text = enabled(cx)?.file_text();
    let path = cx.server.config.cluster_config_file.as_path().to_owned();
    cx.save_file(&path, Content::Nodes(text))
}

/// A subcommand whose arguments do not fit.
fn subcommand_syntax(args: Args<'_>) -> CommandError {
    CommandError::SubcommandSyntax { command: args.at(0).into(), subcommand: args.at(1).into() }
}
