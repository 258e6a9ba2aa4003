//! What gives slots to this node and takes them away, and what looks at their keys.

use super::{
    ADMIN_COMMAND, CLUSTER_COMMAND, enabled, keys_in_slot, slot, subcommand_syntax, to_change, unknown_node,
};
use crate::algorithms::slot::{SLOTS, slot_of};
use crate::commands::arguments::{integer, is_word};
use crate::commands::timeout::deadline_of_ms;
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::cluster::{SetSlot, SlotAction};
use crate::server::command::{Arg, Args, Command, Outcome, category, flag};
use crate::server::propagation::Targets;
use crate::server::replication::ReplicaWait;

/// How long SETSLOT waits for replicas when nothing else is asked for, in milliseconds.
const SETSLOT_TIMEOUT_MS: i64 = 2000;

/// What happens to the slots of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Assign,
    Unassign,
}

/// `start-slot end-slot` in a command's documented syntax.
const RANGE: Arg = Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple();

pub(super) const ADDSLOTS: Command = Command {
    name: "addslots",
    arity: -3,
    complexity: "O(N), N slots.",
    summary: "Gives slots to this node.",
    arguments: &[Arg::integer("slot").multiple()],
    handler: |cx, args| change_slots(cx, args, Change::Assign),
    ..ADMIN_COMMAND
};

pub(super) const DELSLOTS: Command = Command {
    name: "delslots",
    arity: -3,
    complexity: "O(N), N slots.",
    summary: "Takes slots away from this node.",
    arguments: &[Arg::integer("slot").multiple()],
    handler: |cx, args| change_slots(cx, args, Change::Unassign),
    ..ADMIN_COMMAND
};

fn change_slots(cx: &mut Context<'_>, args: Args<'_>, change: Change) -> Outcome {
    to_change(cx)?;
    let slots: Result<Vec<u16>, _> = args.from(2).iter().map(slot).collect();
    apply(cx, slots?.into_iter().map(|slot| Ok((slot, slot))), change)
}

pub(super) const ADDSLOTSRANGE: Command = Command {
    name: "addslotsrange",
    arity: -4,
    since: "7.0.0",
    complexity: "O(N), N slots in the ranges.",
    summary: "Gives ranges of slots to this node.",
    arguments: &[RANGE],
    handler: |cx, args| change_ranges(cx, args, Change::Assign),
    ..ADMIN_COMMAND
};

pub(super) const DELSLOTSRANGE: Command = Command {
    name: "delslotsrange",
    arity: -4,
    since: "7.0.0",
    complexity: "O(N), N slots in the ranges.",
    summary: "Takes ranges of slots away from this node.",
    arguments: &[RANGE],
    handler: |cx, args| change_ranges(cx, args, Change::Unassign),
    ..ADMIN_COMMAND
};

fn change_ranges(cx: &mut Context<'_>, args: Args<'_>, change: Change) -> Outcome {
    to_change(cx)?;
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(cx.command.full_name.as_str().into()));
    }
    let ends = args.from(2);
    let ranges = (0..ends.len()).step_by(2).map(|first| {
        let (start, end) = (slot(ends.at(first))?, slot(ends.at(first + 1))?);
        if start > end {
            let text = format!("ERR start slot number {start} is greater than end slot number {end}");
            return Err(CommandError::custom(text));
        }
        Ok((start, end))
    });
    apply(cx, ranges, change)
}

/// Checks all ranges, each in its turn, before any of them changes anything.
fn apply(
    cx: &mut Context<'_>,
    ranges: impl Iterator<Item = Result<(u16, u16), CommandError>>,
    change: Change,
) -> Outcome {
    let cluster = enabled(cx)?;
    let mut named = vec![false; SLOTS];
    for range in ranges {
        let (start, end) = range?;
        for slot in start..=end {
            let refusal = match change {
                Change::Unassign if cluster.owner(slot).is_none() => Some("is already unassigned"),
                Change::Assign if cluster.owner(slot).is_some() => Some("is already busy"),
                _ => named
                    .get_mut(usize::from(slot))
                    .is_some_and(|named| std::mem::replace(named, true))
                    .then_some("specified multiple times"),
            };
            if let Some(refusal) = refusal {
                return Err(CommandError::custom(format!("ERR Slot {slot} {refusal}")));
            }
        }
    }
    for slot in (0..SLOTS as u16).filter(|slot| named.get(usize::from(*slot)) == Some(&true)) {
        cluster.close_slot_import(slot);
        match change {
            Change::Assign => cluster.give_slot(cluster.myself, slot),
            Change::Unassign => cluster.release_slot(slot),
        };
    }
    (cluster.todo.save, cluster.todo.update_state) = (true, true);
    cx.reply.ok();
    Ok(())
}

pub(super) const FLUSHSLOTS: Command = Command {
    name: "flushslots",
    arity: 2,
    summary: "Takes every slot away from this node.",
    handler: flushslots,
    ..ADMIN_COMMAND
};

fn flushslots(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    to_change(cx)?;
    if !cx.keys.keyspace.is_empty() {
        return Err(CommandError::custom("ERR DB must be empty to perform CLUSTER FLUSHSLOTS."));
    }
    let cluster = enabled(cx)?;
    cluster.release_slots_of(cluster.myself);
    (cluster.todo.save, cluster.todo.update_state) = (true, true);
    cx.reply.ok();
    Ok(())
}

pub(super) const SETSLOT: Command = Command {
    name: "setslot",
    arity: -4,
    summary: "Says where a slot is, or that it is on its way.",
    arguments: &[
        Arg::integer("slot"),
        Arg::one_of(
            "subcommand",
            &[
                Arg::string("importing").shown_as("node-id").token("IMPORTING"),
                Arg::string("migrating").shown_as("node-id").token("MIGRATING"),
                Arg::string("node").shown_as("node-id").token("NODE"),
                Arg::flag("stable", "STABLE"),
            ],
        ),
        Arg::integer("timeout").token("TIMEOUT").since("8.0.0").optional(),
    ],
    history: &[("8.0.0", "New option: `TIMEOUT`.")],
    handler: setslot,
    ..ADMIN_COMMAND
};

fn setslot(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let is_obeyed = cx.is_obeyed();
    if to_change(cx)?.me().is_replica() && !is_obeyed {
        return Err(CommandError::custom("ERR Please use SETSLOT only with masters."));
    }
    let migrations = &enabled(cx)?.migrations;
    if migrations.imports() {
        return Err(CommandError::custom("ERR Slot import in progress."));
    }
    if migrations.exports() {
        return Err(CommandError::custom("ERR Slot export in progress."));
    }
    let (set, options_at) = parse_setslot(cx, args)?;
    let mut deadline_ms = Some(cx.now_ms() + SETSLOT_TIMEOUT_MS);
    let options = args.from(options_at);
    for (index, word) in options.iter().enumerate() {
        if is_word(word, "timeout") {
            let value =
                options.get(index + 1).ok_or_else(|| CommandError::custom("ERR Missing timeout value"))?;
            deadline_ms = deadline_of_ms(value, cx.now_ms())?;
        }
    }
    let has_replicas = enabled(cx)?.me().is_primary() && {
        let cluster = enabled(cx)?;
        !cluster.replicas_of(cluster.myself).is_empty()
    };
    let replicas = if has_replicas && !is_obeyed { cx.server.replicas_that_set_slots() } else { 0 };
    if replicas > 0 {
        // They do it first: what this node does then is not lost with it.
        cx.force_propagation(Targets::REPLICAS);
        let wait = ReplicaWait { offset: cx.server.replication.offset() + 1, replicas, on_disk: None };
        let request = BlockRequest {
            keys: Vec::new(),
            deadline_ms,
            timeout_reply: TimeoutReply::SetSlot(wait),
            wants_deletion: false,
            request: None,
        };
        let client = cx.client;
        if cx.block(request) {
            enabled(cx)?.set_slot_later(client, set);
            cx.server.wait_for_replicas(client);
            return Ok(());
        }
    }
    cx.server.set_slot(cx.keys.keyspace, set);
    cx.reply.ok();
    Ok(())
}

/// What is asked for, and where the options begin.
fn parse_setslot(cx: &mut Context<'_>, args: Args<'_>) -> Result<(SetSlot, usize), CommandError> {
    let error = |text: String| Err(CommandError::custom(format!("ERR {text}")));
    let (slot, action, id) = (slot(args.at(2))?, args.at(3), args.get(4));
    let has_keys = cx.keys.keyspace.keys_in_slot(slot) > 0;
    let cluster = enabled(cx)?;
    let serves = cluster.serves(slot);
    let (action, id) = match id {
        _ if is_word(action, "stable") => {
            return Ok((SetSlot { slot, action: SlotAction::Stable, node: None }, 4));
        }
        Some(id) if is_word(action, "migrating") => {
            if cluster.me().is_primary() && !serves {
                return error(format!("I'm not the owner of hash slot {slot}"));
            }
            (SlotAction::Migrating, id)
        }
        Some(id) if is_word(action, "importing") => {
            if serves {
                return error(format!("I'm already the owner of hash slot {slot}"));
            }
            (SlotAction::Importing, id)
        }
        Some(id) if is_word(action, "node") => (SlotAction::Assign, id),
        _ => {
            return error(
                "Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP".to_owned(),
            );
        }
    };
    let Some(node) = cluster.find(id) else {
        return if action == SlotAction::Assign {
            Err(unknown_node(id))
        } else {
            Err(CommandError::custom([b"ERR I don't know about node ".as_slice(), id].concat()))
        };
    };
    let is_own = node == cluster.myself;
    if is_own && action != SlotAction::Assign {
        return error("Target node is myself".to_owned());
    }
    if cluster.nodes[node].is_replica() {
        return error("Target node is not a master".to_owned());
    }
    if action == SlotAction::Assign && serves && !is_own && has_keys {
        return error(format!(
            "Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
        ));
    }
    Ok((SetSlot { slot, action, node: Some(node) }, 5))
}

pub(super) const KEYSLOT: Command = Command {
    name: "keyslot",
    arity: 3,
    flags: flag::STALE,
    complexity: "O(N), N bytes of the key.",
    summary: "Gives the slot of a key.",
    arguments: &[Arg::string("key")],
    handler: keyslot,
    ..CLUSTER_COMMAND
};

fn keyslot(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    cx.reply.int(slot_of(args.at(2)).into());
    Ok(())
}

/// A slot as COUNTKEYSINSLOT and GETKEYSINSLOT take it.
fn slot_to_look_at(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS)
}

pub(super) const COUNTKEYSINSLOT: Command = Command {
    name: "countkeysinslot",
    arity: 3,
    flags: flag::STALE,
    summary: "Tells how many keys of the selected database are in a slot.",
    arguments: &[Arg::integer("slot")],
    handler: countkeysinslot,
    ..CLUSTER_COMMAND
};

fn countkeysinslot(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let slot =
        slot_to_look_at(integer(args.at(2))?).ok_or_else(|| CommandError::custom("ERR Invalid slot"))?;
    cx.reply.int(keys_in_slot(cx, slot) as i64);
    Ok(())
}

pub(super) const GETKEYSINSLOT: Command = Command {
    name: "getkeysinslot",
    arity: 4,
    flags: flag::STALE,
    complexity: "O(N), N keys that are asked for.",
    summary: "Gives keys of the selected database that are in a slot.",
    arguments: &[Arg::integer("slot"), Arg::integer("count")],
    tips: &["nondeterministic_output"],
    handler: getkeysinslot,
    ..CLUSTER_COMMAND
};

fn getkeysinslot(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let (number, count) = (integer(args.at(2))?, integer(args.at(3))?);
    let wanted = slot_to_look_at(number).zip(usize::try_from(count).ok());
    let (slot, count) = wanted.ok_or_else(|| CommandError::custom("ERR Invalid slot or number of keys"))?;
    let count = keys_in_slot(cx, slot).min(count);
    cx.reply.array(count);
    cx.keys.db().entries_in_slot(slot).take(count).for_each(|entry| cx.reply.bulk(entry.key()));
    Ok(())
}

pub(super) const FLUSHSLOT: Command = Command {
    name: "flushslot",
    arity: -3,
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::WRITE | flag::ALL_DBS,
    categories: category::KEYSPACE,
    since: "9.0.0",
    complexity: "O(N), N keys of the slot.",
    summary: "Deletes every key of a slot.",
    arguments: &[
        Arg::integer("slot"),
        Arg::one_of("flush-type", &[Arg::flag("async", "ASYNC"), Arg::flag("sync", "SYNC")]).optional(),
    ],
    handler: flushslot,
    ..CLUSTER_COMMAND
};

fn flushslot(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let slot = slot(args.at(2))?;
    let lazily = match args.get(3) {
        _ if args.len() > 4 => return Err(subcommand_syntax(args)),
        None => cx.server.config.lazyfree_lazy_user_flush,
        Some(word) if is_word(word, "async") => true,
        Some(word) if is_word(word, "sync") => false,
        Some(_) => {
            return Err(CommandError::custom("ERR CLUSTER FLUSHSLOT only supports SYNC|ASYNC option"));
        }
    };
    let own = cx.keys.database;
    for database in 0..cx.keys.keyspace.databases().len() {
        cx.keys.database = database;
        while let keys = cx.keys.db().some_keys_in_slot(slot)
            && !keys.is_empty()
        {
            for key in keys {
                if let Some(entry) = cx.keys.remove_any(&key) {
                    cx.changed(EventClasses::GENERIC, "del", &key);
                    cx.server.background.free_entry(entry, lazily);
                }
            }
        }
    }
    cx.keys.database = own;
    cx.reply.ok();
    Ok(())
}
