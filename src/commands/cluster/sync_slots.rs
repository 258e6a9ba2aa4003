//! CLUSTER SYNCSLOTS: what the two ends of a migration of slots say to each other, and what primaries tell their replicas.

use super::migrate_slots::{check_may_begin, parse_ranges};
use super::{ADMIN_COMMAND, enabled};
use crate::bus::ID_LENGTH;
use crate::commands::arguments::is_word;
use crate::resp::CommandError;
use crate::server::cluster::NodeKey;
use crate::server::command::{Args, Command, Outcome, flag};
use crate::server::propagation::Targets;
use crate::server::slot_migration::{Establish, JobId, JobName, JobState, SlotRanges};
use crate::server::{Context, Server};

pub(super) const SYNCSLOTS: Command = Command {
    name: "syncslots",
    arity: -3,
    flags: ADMIN_COMMAND.flags | flag::MAY_REPLICATE,
    since: "9.0.0",
    complexity: "Depends on subcommand.",
    summary: "What nodes say to each other while slots are on their way.",
    handler: syncslots,
    ..ADMIN_COMMAND
};

fn error(text: &str) -> CommandError {
    CommandError::custom([b"ERR ", text.as_bytes()].concat())
}

fn syncslots(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let word = args.at(2);
    if is_word(word, "establish") {
        return establish(cx, args);
    }
    if is_word(word, "finish") {
        return finish(cx, args);
    }
    if cx.client().is_some_and(|client| client.primary.is_some()) {
        // The primary's own dealings with a source, which pass through its stream.
        return Ok(());
    }
    let message: fn(&mut Server, JobId) = match word.to_ascii_lowercase().as_slice() {
        b"snapshot-eof" => Server::receive_snapshot_eof,
        b"request-pause" => Server::receive_request_pause,
        b"paused" => Server::receive_paused,
        b"request-failover" => Server::receive_request_failover,
        b"failover-granted" => Server::receive_failover_granted,
        b"ack" => Server::receive_sync_slots_ack,
        // No capability is known yet, and those of later versions are not to end a migration.
        b"capa" => return Ok(()),
        _ => return unknown(cx),
    };
    let Some(link) = cx.client().and_then(|client| client.slot_link) else {
        let word = String::from_utf8_lossy(word).to_ascii_uppercase();
        return Err(error(&format!(
            "CLUSTER SYNCSLOTS {word} should only be used by slot migration clients"
        )));
    };
    message(cx.server, link.job);
    Ok(())
}

fn unknown(cx: &mut Context<'_>) -> Outcome {
    match cx.client().and_then(|client| client.slot_link) {
        Some(link) => {
            cx.server.receive_unknown_sync_slots(link.job);
            Ok(())
        }
        None => Err(CommandError::Syntax),
    }
}

/// What ESTABLISH names, in any order.
#[derive(Default)]
struct Named {
    has_source: bool,
    source: Option<NodeKey>,
    name: Option<JobName>,
    ranges: Option<(SlotRanges, Option<NodeKey>)>,
}

fn establish(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !cx.is_obeyed() {
        check_may_begin(enabled(cx)?)?;
    }
    // Of a primary, or of a log: this node only hides the keys.
    let is_tracked_only = cx.client().is_none_or(|client| client.primary.is_some() || client.hidden);
    let Named { source, name, ranges, .. } = parse_establish(cx, args, is_tracked_only)?;
    let (Some(name), Some((ranges, owner))) = (name, ranges) else { return Err(CommandError::Syntax) };
    if !is_tracked_only {
        let source = source.ok_or(CommandError::Syntax)?;
        if owner != Some(source) {
            return Err(error("Target node does not agree about current slot ownership"));
        }
    }
    let client = (!is_tracked_only).then_some(cx.client);
    let establish = Establish { client, source, name, ranges };
    cx.server.establish_import(cx.keys.keyspace, establish);
    cx.force_propagation(Targets::ALL);
    cx.reply.ok();
    Ok(())
}

fn parse_establish(
    cx: &mut Context<'_>,
    args: Args<'_>,
    is_tracked_only: bool,
) -> Result<Named, CommandError> {
    let cluster = &*enabled(cx)?;
    let mut named = Named::default();
    let mut at = 3;
    while at < args.len() {
        let (word, value) = (args.at(at), args.get(at + 1));
        if is_word(word, "slotsrange") && named.ranges.is_none() {
            let (ranges, owner, next) = parse_ranges(cluster, args, at + 1, is_tracked_only)?;
            let mut slots = ranges.iter().flat_map(|(start, end)| *start..=*end);
            if slots.any(|slot| cluster.migrations.is_importing(slot)) {
                let text = "Slot is already being imported on the target by a different migration";
                return Err(error(text));
            }
            named.ranges = Some((ranges, owner));
            at = next;
            continue;
        }
        let id: JobName = value.and_then(|value| value.try_into().ok()).ok_or(CommandError::Syntax)?;
        if is_word(word, "source") && !named.has_source {
            // Replicas, and a log that is read later, may know of other nodes than who wrote it.
            if !is_tracked_only {
                let node =
                    cluster.find(&id).ok_or_else(|| error("Target node does not know the source node"))?;
                if node == cluster.myself {
                    return Err(error("Source node is target node itself"));
                }
                (named.has_source, named.source) = (true, Some(node));
            }
        } else if is_word(word, "name") && named.name.is_none() {
            named.name = Some(id);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    Ok(named)
}

/// `FINISH STATE <success|failed> NAME <name> [MESSAGE <message>]`: a primary tells how an import has ended.
fn finish(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (mut state, mut name, mut message) = (None, None, None);
    let mut words = args.from(3).iter();
    while let Some(word) = words.next() {
        let place = if is_word(word, "state") {
            &mut state
        } else if is_word(word, "name") {
            &mut name
        } else if is_word(word, "message") {
            &mut message
        } else {
            return Err(CommandError::Syntax);
        };
        let value = words.next().filter(|_| place.is_none()).ok_or(CommandError::Syntax)?;
        *place = Some(value);
    }
    let name = name.filter(|name| name.len() == ID_LENGTH).ok_or(CommandError::Syntax)?;
    let state = state.ok_or(CommandError::Syntax)?;
    let id = enabled(cx)?.migrations.named(name).ok_or_else(|| error("No such slot migration job"))?;
    let state = if is_word(state, "success") {
        JobState::Success
    } else if is_word(state, "failed") {
        JobState::Failed
    } else {
        return Err(CommandError::Syntax);
    };
    cx.reply.ok();
    cx.force_propagation(Targets::ALL);
    cx.server.finish_slot_migration(id, state, message);
    cx.server.refresh_hidden_slots(cx.keys.keyspace);
    Ok(())
}
