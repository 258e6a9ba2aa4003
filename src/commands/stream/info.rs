//! XINFO: what is to be known of a stream, its groups and their consumers.

use super::{at_most, no_group_for_key, reply_entries, reply_entry, reply_id};
use crate::commands::arguments::{integer, is_word};
use crate::commands::help::container_help;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Stream;
use crate::types::stream::{self, Entries, StreamId};

pub(super) const XINFO: Command = Command {
    name: "xinfo",
    arity: -2,
    group: Group::Stream,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands that tell of streams.",
    subcommands: &[XINFO_CONSUMERS, XINFO_GROUPS, XINFO_HELP, XINFO_STREAM],
    ..Command::DEFAULT
};

const XINFO_CONSUMERS: Command = Command {
    name: "consumers",
    arity: 4,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies with what is to be known of the consumers of a group.",
    arguments: &[Arg::key("key"), Arg::string("group")],
    history: &[("7.2.0", "The field `inactive`; `idle` means something else than before.")],
    tips: &["nondeterministic_output"],
    handler: consumers,
    ..Command::DEFAULT
};

fn consumers(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(2), args.at(3));
    let now_ms = cx.now_ms();
    let stream = cx.keys.read_as::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.groups.get(name).ok_or_else(|| no_group_for_key(key, name))?;
    cx.reply.array(group.consumer_count());
    for consumer in group.consumers() {
        let inactive_ms = match consumer.active_ms {
            -1 => -1,
            active_ms => now_ms.wrapping_sub(active_ms),
        };
        cx.reply.map(4);
        cx.reply.bulk(b"name");
        cx.reply.bulk(consumer.name());
        number(cx.reply, "pending", consumer.pending_len() as i64);
        number(cx.reply, "idle", now_ms.wrapping_sub(consumer.seen_ms).max(0));
        number(cx.reply, "inactive", inactive_ms);
    }
    Ok(())
}

const XINFO_GROUPS: Command = Command {
    name: "groups",
    arity: 3,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies with what is to be known of the groups of a stream.",
    arguments: &[Arg::key("key")],
    history: &[("7.0.0", "The fields `entries-read` and `lag`.")],
    handler: groups,
    ..Command::DEFAULT
};

fn groups(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let stream = cx.keys.read_as::<Stream>(args.at(2))?.ok_or(CommandError::NoSuchKey)?;
    cx.reply.array(stream.groups.len());
    for group in stream.groups.iter() {
        cx.reply.map(6);
        cx.reply.bulk(b"name");
        cx.reply.bulk(group.name());
        number(cx.reply, "consumers", group.consumer_count() as i64);
        number(cx.reply, "pending", group.pending_len() as i64);
        id(cx.reply, "last-delivered-id", group.last_id);
        reply_progress(cx.reply, &stream, group);
    }
    Ok(())
}

const XINFO_STREAM: Command = Command {
    name: "stream",
    arity: -3,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies with what is to be known of a stream.",
    arguments: &[
        Arg::key("key"),
        Arg::block(
            "full-block",
            &[Arg::flag("full", "FULL"), Arg::integer("count").token("COUNT").optional()],
        )
        .optional(),
    ],
    history: &[
        ("6.0.0", "The modifier `FULL`."),
        (
            "7.0.0",
            "The fields `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag`.",
        ),
        ("7.2.0", "The field `active-time`; `seen-time` means something else than before."),
    ],
    handler: stream_info,
    ..Command::DEFAULT
};

fn stream_info(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let stream = cx.keys.read_as::<Stream>(args.at(2))?.ok_or(CommandError::NoSuchKey)?;
    let full = full_count(args)?;
    let reply = &mut *cx.reply;
    reply.map(if full.is_some() { 9 } else { 10 });
    number(reply, "length", stream.len() as i64);
    number(reply, "radix-tree-keys", stream.node_count() as i64);
    // The index is no radix tree; this is what one takes at least.
    number(reply, "radix-tree-nodes", stream.node_count() as i64 + 1);
    id(reply, "last-generated-id", stream.last_id());
    id(reply, "max-deleted-entry-id", stream.max_deleted_id());
    number(reply, "entries-added", stream.entries_added().cast_signed());
    id(reply, "recorded-first-entry-id", stream.first_id());
    let Some(most) = full else {
        number(reply, "groups", stream.groups.len() as i64);
        edge(reply, "first-entry", stream.iter());
        edge(reply, "last-entry", stream.range_reverse(StreamId::MIN, StreamId::MAX));
        return Ok(());
    };
    reply.bulk(b"entries");
    reply_entries(reply, stream.iter().take(most));
    reply.bulk(b"groups");
    reply.array(stream.groups.len());
    for group in stream.groups.iter() {
        reply_full_group(reply, &stream, group, most);
    }
    Ok(())
}

/// How much of everything FULL shows; `None` without FULL.
fn full_count(args: Args<'_>) -> Result<Option<usize>, CommandError> {
    const DEFAULT: usize = 10;
    let wrong =
        || CommandError::SubcommandSyntax { command: args.at(0).into(), subcommand: args.at(1).into() };
    if args.len() == 3 {
        return Ok(None);
    }
    if !matches!(args.len(), 4 | 6) || !is_word(args.at(3), "full") {
        return Err(wrong());
    }
    if args.len() == 4 {
        return Ok(Some(DEFAULT));
    }
    if !is_word(args.at(4), "count") {
        return Err(wrong());
    }
    Ok(Some(match integer(args.at(5))? {
        negative if negative < 0 => DEFAULT,
        count => at_most(count),
    }))
}

fn number(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

fn id(reply: &mut Reply, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}

fn edge(reply: &mut Reply, name: &str, mut entries: Entries<'_>) {
    reply.bulk(name.as_bytes());
    match entries.next() {
        Some(entry) => reply_entry(reply, entry),
        None => reply.null(),
    }
}

fn optional(reply: &mut Reply, name: &str, value: Option<i64>) {
    reply.bulk(name.as_bytes());
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}

fn reply_progress(reply: &mut Reply, stream: &Stream, group: &stream::Group) {
    optional(reply, "entries-read", group.entries_read.map(u64::cast_signed));
    optional(reply, "lag", stream.lag(group));
}

fn reply_full_group(reply: &mut Reply, stream: &Stream, group: &stream::Group, most: usize) {
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(group.name());
    id(reply, "last-delivered-id", group.last_id);
    reply_progress(reply, stream, group);
    number(reply, "pel-count", group.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(most));
    for pending in group.pending_from(StreamId::MIN).take(most) {
        reply.array(4);
        reply_id(reply, pending.id);
        reply.bulk(group.owner(pending));
        reply.int(pending.delivered_ms);
        reply.int(pending.deliveries.cast_signed());
    }
    reply.bulk(b"consumers");
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(5);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        number(reply, "seen-time", consumer.seen_ms);
        number(reply, "active-time", consumer.active_ms);
        number(reply, "pel-count", consumer.pending_len() as i64);
        reply.bulk(b"pending");
        reply.array(consumer.pending_len().min(most));
        let pending = consumer.pending_from(StreamId::MIN).filter_map(|id| group.find_pending(id));
        for pending in pending.take(most) {
            reply.array(3);
            reply_id(reply, pending.id);
            reply.int(pending.delivered_ms);
            reply.int(pending.deliveries.cast_signed());
        }
    }
}

const XINFO_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    categories: category::STREAM,
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how XINFO is used.",
    handler: container_help,
    ..Command::DEFAULT
};
