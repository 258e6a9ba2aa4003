//! CLUSTER MIGRATESLOTS and its kin: slots that move to another node as a whole.

use super::nodes::user;
use super::{ADMIN_COMMAND, enabled, slot};
use crate::algorithms::numbers::parse_i64;
use crate::bus::ID_LENGTH;
use crate::commands::arguments::is_word;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::cluster::{Cluster, NodeKey};
use crate::server::command::{Arg, Args, Command, Outcome, flag};
use crate::server::slot_migration::{Direction, Job, SlotRanges, ranges_text};

fn error(text: impl AsRef<str>) -> CommandError {
    CommandError::custom(format!("ERR {}", text.as_ref()))
}

/// Whether a migration may begin at this node, at whichever end.
///
/// # Errors
/// It is a replica, or slots are moved by hand.
pub(super) fn check_may_begin(cluster: &Cluster) -> Result<(), CommandError> {
    if !cluster.me().is_primary() {
        return Err(error("Slot migration can only be used on primary nodes."));
    }
    if cluster.imports_by_hand() {
        return Err(error("Slots are being manually imported"));
    }
    if cluster.migrates_by_hand() {
        return Err(error("Slots are being manually migrated"));
    }
    Ok(())
}

/// Slot ranges from an argument on, up to the first that is no number: the ranges, whose their slots are, and where the
/// next argument is. `any_owner`: whose they are is of no consequence.
///
/// # Errors
/// A slot or a range is wrong, is nobody's, or they are not all the same node's.
pub(super) fn parse_ranges(
    cluster: &Cluster,
    args: Args<'_>,
    from: usize,
    any_owner: bool,
) -> Result<(SlotRanges, Option<NodeKey>, usize), CommandError> {
    let (mut ranges, mut owner, mut at) = (SlotRanges::new(), None, from);
    while let Some(first) = args.get(at).filter(|arg| parse_i64(arg).is_some()) {
        let start = slot(first)?;
        let last = args.get(at + 1).ok_or_else(|| error("No end slot for final slot range"))?;
        let end = slot(last)?;
        if start > end {
            return Err(error(format!("Start slot number {start} is greater than end slot number {end}.")));
        }
        for slot in (start..=end).filter(|_| !any_owner) {
            let Some(node) = cluster.owner(slot) else {
                return Err(error(format!("Slot {slot} has no node served.")));
            };
            if *owner.get_or_insert(node) != node {
                return Err(error("Requested slots span multiple shards"));
            }
        }
        if let Some((first, last)) = ranges.iter().find(|(first, last)| *first <= end && start <= *last) {
            return Err(error(format!(
                "Slot range {start}-{end} overlaps with previous range {first}-{last}."
            )));
        }
        ranges.push((start, end));
        at += 2;
    }
    if ranges.is_empty() {
        return Err(error("No slot ranges specified"));
    }
    Ok((ranges, owner, at))
}

pub(super) const MIGRATESLOTS: Command = Command {
    name: "migrateslots",
    arity: -4,
    flags: ADMIN_COMMAND.flags | flag::ALL_DBS,
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
    handler: migrateslots,
    ..ADMIN_COMMAND
};

fn migrateslots(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cluster = &*enabled(cx)?;
    check_may_begin(cluster)?;
    let mut exports: Vec<(SlotRanges, NodeKey)> = Vec::new();
    let mut at = 2;
    while at < args.len() {
        let (export, next) = parse_export(cluster, args, at, &exports)?;
        exports.push(export);
        at = next;
    }
    let asked_by = user(cx);
    for (ranges, target) in exports {
        cx.server.begin_export(target, ranges, &asked_by);
    }
    cx.reply.ok();
    Ok(())
}

/// `SLOTSRANGE … NODE …` from an argument on, which must not name slots of the exports `before` it.
fn parse_export(
    cluster: &Cluster,
    args: Args<'_>,
    at: usize,
    before: &[(SlotRanges, NodeKey)],
) -> Result<((SlotRanges, NodeKey), usize), CommandError> {
    // valkey-cli sends the zero byte at the end of its C string along, which Valkey does not see.
    let word = args.at(at);
    if !is_word(word.strip_suffix(b"\0").unwrap_or(word), "slotsrange") {
        return Err(CommandError::Syntax);
    }
    let (ranges, owner, at) = parse_ranges(cluster, args, at + 1, false)?;
    if owner != Some(cluster.myself) {
        return Err(error("Slots are not served by this node."));
    }
    let mut slots = ranges.iter().flat_map(|(start, end)| *start..=*end);
    if let Some(slot) = slots.find(|slot| cluster.migrations.is_exporting(*slot)) {
        return Err(error(format!("I am already migrating slot {slot}.")));
    }
    let overlaps = |(start, end): &(u16, u16)| {
        let mut others = before.iter().flat_map(|(ranges, _)| ranges);
        others.any(|(first, last)| first <= end && start <= last)
    };
    if ranges.iter().any(overlaps) {
        return Err(error("Slot ranges in migrations overlap"));
    }
    let id = args.get(at + 1).filter(|_| is_word(args.at(at), "node")).ok_or(CommandError::Syntax)?;
    let named = |text: &str| CommandError::custom([text.as_bytes(), id].concat());
    if id.len() != ID_LENGTH {
        return Err(named("ERR Invalid node name: "));
    }
    let target = cluster.find(id).ok_or_else(|| named("ERR Unknown node name: "))?;
    if target == cluster.myself {
        return Err(error("Target node can not be this node."));
    }
    Ok(((ranges, target), at + 2))
}

pub(super) const CANCELSLOTMIGRATIONS: Command = Command {
    name: "cancelslotmigrations",
    arity: 2,
    flags: ADMIN_COMMAND.flags | flag::ALL_DBS,
    since: "9.0.0",
    complexity: "O(N), N migrations.",
    summary: "Calls off every migration of slots.",
    handler: cancelslotmigrations,
    ..ADMIN_COMMAND
};

fn cancelslotmigrations(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    if !cx.server.cancel_exports() {
        return Err(error("No migrations ongoing"));
    }
    let asked_by = user(cx);
    tracing::info!("Canceled all in progress slot migrations (user request from '{asked_by}')");
    cx.reply.ok();
    Ok(())
}

pub(super) const GETSLOTMIGRATIONS: Command = Command {
    name: "getslotmigrations",
    arity: 2,
    since: "9.0.0",
    complexity: "O(N), N migrations.",
    summary: "Lists the slots that are, or lately were, on their way between nodes.",
    handler: getslotmigrations,
    ..ADMIN_COMMAND
};

fn getslotmigrations(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Context { server, reply, .. } = cx;
    let cluster = server.cluster.as_deref().ok_or(CommandError::ClusterDisabled)?;
    reply.array(cluster.migrations.len());
    for job in cluster.migrations.iter() {
        let output =
            job.client.and_then(|key| server.clients.get(key)).map_or(0, |client| client.output.len());
        let waiting = match job.direction {
            Direction::Export if job.client.is_some() => job.outgoing.len() + output,
            _ => 0,
        };
        write_job(reply, job, waiting);
    }
    Ok(())
}

fn write_job(reply: &mut crate::resp::Reply, job: &Job, waiting: usize) {
    let mut texts: Vec<(&str, Vec<u8>)> = vec![
        ("name", job.name.to_vec()),
        (
            "operation",
            match job.direction {
                Direction::Import => b"IMPORT".to_vec(),
                Direction::Export => b"EXPORT".to_vec(),
            },
        ),
        ("slot_ranges", ranges_text(&job.ranges).into_bytes()),
    ];
    if !job.is_tracked_only {
        let id = |node: Option<crate::bus::NodeId>| node.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        texts.extend([("target_node", id(job.target)), ("source_node", id(job.source))]);
    }
    let field = |reply: &mut crate::resp::Reply, name: &str, text: &[u8]| {
        reply.bulk(name.as_bytes());
        reply.bulk(text);
    };
    let number = |reply: &mut crate::resp::Reply, name: &str, number: i64| {
        reply.bulk(name.as_bytes());
        reply.int(number);
    };
    reply.map(texts.len() + 7);
    texts.iter().for_each(|(name, text)| field(reply, name, text));
    number(reply, "create_time", job.created);
    number(reply, "last_update_time", job.updated);
    number(reply, "last_ack_time", job.acknowledged);
    field(reply, "state", job.state.name().as_bytes());
    field(reply, "message", job.message.as_deref().unwrap_or_default());
    number(reply, "cow_size", i64::try_from(job.cow_bytes).unwrap_or(i64::MAX));
    number(reply, "remaining_repl_size", waiting as i64);
}
