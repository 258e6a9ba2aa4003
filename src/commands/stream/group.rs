//! XGROUP: groups and their consumers.

use super::{any_id, no_group_for_key, strict_id};
use crate::commands::arguments::{integer, is_word};
use crate::commands::help::container_help;
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Stream;

pub(super) const XGROUP: Command = Command {
    name: "xgroup",
    arity: -2,
    group: Group::Stream,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about consumer groups.",
    subcommands: &[
        XGROUP_CREATE,
        XGROUP_CREATECONSUMER,
        XGROUP_DELCONSUMER,
        XGROUP_DESTROY,
        XGROUP_HELP,
        XGROUP_SETID,
    ],
    ..Command::DEFAULT
};

const ID_OR_LAST: Arg = Arg::one_of("id-selector", &[Arg::string("id"), Arg::flag("new-id", "$")]);

const XGROUP_CREATE: Command = Command {
    name: "create",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::INSERT)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Makes a consumer group that reads a stream from an id on.",
    arguments: &[
        Arg::key("key"),
        Arg::string("group"),
        ID_OR_LAST,
        Arg::flag("mkstream", "MKSTREAM").optional(),
        Arg::integer("entriesread").shown_as("entries-read").token("ENTRIESREAD").optional(),
    ],
    history: &[("7.0.0", "The argument `entries_read`.")],
    handler: create,
    ..Command::DEFAULT
};

fn create(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(args, true)?;
    let (key, name) = (args.at(2), args.at(3));
    let last = match cx.keys.write_as::<Stream>(key)? {
        Some(stream) => Some(stream.last_id()),
        None if options.create => None,
        None => return Err(CommandError::XgroupNoKey),
    };
    if args.len() > 8 {
        return Err(wrong_syntax(args));
    }
    let id = match args.at(4) {
        b"$" => last.unwrap_or_default(),
        id => strict_id(id, 0)?,
    };
    let mut stream = cx.keys.write_or_create(key, Stream::default)?;
    let created = stream.groups.create(name, id, options.entries_read).is_some();
    drop(stream);
    if last.is_none() {
        cx.touched(key);
    }
    if !created {
        return Err(CommandError::BusyGroup);
    }
    changed(cx, "xgroup-create", key);
    cx.reply.ok();
    Ok(())
}

/// A change of a group: it leaves the entries as they are, so nobody who waits or watches is told.
fn changed(cx: &mut Context<'_>, event: &'static str, key: &[u8]) {
    cx.count_changes(1);
    cx.notify(EventClasses::STREAM, event, key);
}

fn wrong_syntax(args: Args<'_>) -> CommandError {
    CommandError::SubcommandSyntax { command: args.at(0).into(), subcommand: args.at(1).into() }
}

/// The options of CREATE and SETID.
struct Options {
    create: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>, may_create: bool) -> Result<Self, CommandError> {
        let mut plan = Self { create: false, entries_read: None };
        let mut options = args.from(5).iter();
        while let Some(option) = options.next() {
            if may_create && is_word(option, "mkstream") {
                plan.create = true;
                continue;
            }
            let value = options.next().filter(|_| is_word(option, "entriesread"));
            plan.entries_read = match integer(value.ok_or_else(|| wrong_syntax(args))?)? {
                -1 => None,
                read => Some(u64::try_from(read).map_err(|_| CommandError::EntriesRead)?),
            };
        }
        Ok(plan)
    }
}

const XGROUP_SETID: Command = Command {
    name: "setid",
    arity: -5,
    flags: flag::WRITE,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::UPDATE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Sets the id up to which a group has read.",
    arguments: &[
        Arg::key("key"),
        Arg::string("group"),
        ID_OR_LAST,
        Arg::integer("entriesread").shown_as("entries-read").token("ENTRIESREAD").optional(),
    ],
    history: &[("7.0.0", "The optional argument `entries_read`.")],
    handler: set_id,
    ..Command::DEFAULT
};

fn set_id(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(args, false)?;
    let (key, name) = (args.at(2), args.at(3));
    let mut stream = cx.keys.write_as::<Stream>(key)?.ok_or(CommandError::XgroupNoKey)?;
    let last = stream.last_id();
    let group = stream.groups.get_mut(name).ok_or_else(|| no_group_for_key(key, name))?;
    if args.len() > 7 {
        return Err(wrong_syntax(args));
    }
    group.last_id = match args.at(4) {
        b"$" => last,
        id => any_id(id, 0)?,
    };
    group.entries_read = options.entries_read;
    drop(stream);
    changed(cx, "xgroup-setid", key);
    cx.reply.ok();
    Ok(())
}

const XGROUP_DESTROY: Command = Command {
    name: "destroy",
    arity: 4,
    flags: flag::WRITE,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::DELETE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries pending in the group",
    summary: "Deletes a consumer group.",
    arguments: &[Arg::key("key"), Arg::string("group")],
    handler: destroy,
    ..Command::DEFAULT
};

fn destroy(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(2);
    let mut stream = cx.keys.write_as::<Stream>(key)?.ok_or(CommandError::XgroupNoKey)?;
    let destroyed = stream.groups.delete(args.at(3));
    drop(stream);
    cx.reply.int(i64::from(destroyed));
    if destroyed {
        changed(cx, "xgroup-destroy", key);
        // Whoever waits as a consumer of the group is told that there is none.
        cx.stream_grew(key);
    }
    Ok(())
}

const XGROUP_CREATECONSUMER: Command = Command {
    name: "createconsumer",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::INSERT)],
    group: Group::Stream,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Makes a consumer in a group.",
    arguments: &[Arg::key("key"), Arg::string("group"), Arg::string("consumer")],
    handler: create_consumer,
    ..Command::DEFAULT
};

fn create_consumer(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(2), args.at(3));
    let now_ms = cx.now_ms();
    let mut stream = cx.keys.write_as::<Stream>(key)?.ok_or(CommandError::XgroupNoKey)?;
    let group = stream.groups.get_mut(name).ok_or_else(|| no_group_for_key(key, name))?;
    let created = group.create_consumer(args.at(4), now_ms).is_some();
    drop(stream);
    cx.reply.int(i64::from(created));
    if created {
        changed(cx, "xgroup-createconsumer", key);
    }
    Ok(())
}

const XGROUP_DELCONSUMER: Command = Command {
    name: "delconsumer",
    arity: 5,
    flags: flag::WRITE,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::DELETE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Deletes a consumer of a group with what is pending with it, and replies with the number of those entries.",
    arguments: &[Arg::key("key"), Arg::string("group"), Arg::string("consumer")],
    handler: delete_consumer,
    ..Command::DEFAULT
};

fn delete_consumer(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(2), args.at(3));
    let mut stream = cx.keys.write_as::<Stream>(key)?.ok_or(CommandError::XgroupNoKey)?;
    let group = stream.groups.get_mut(name).ok_or_else(|| no_group_for_key(key, name))?;
    let pending = group.delete_consumer(args.at(4));
    drop(stream);
    cx.reply.int(pending.unwrap_or(0) as i64);
    if pending.is_some() {
        changed(cx, "xgroup-delconsumer", key);
    }
    Ok(())
}

const XGROUP_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    categories: category::STREAM,
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how XGROUP is used.",
    handler: container_help,
    ..Command::DEFAULT
};
