//! LSET, LINSERT, LREM, LTRIM.

use super::span;
use crate::commands::arguments::{integer, is_word};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::quicklist::{Direction, Side};
use crate::types::List;

pub(super) const LSET: Command = Command {
    name: "lset",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements between the index and the nearer end",
    summary: "Replaces the element of a list at an index.",
    arguments: &[Arg::key("key"), Arg::integer("index"), Arg::string("element")],
    handler: lset,
    ..Command::DEFAULT
};

fn lset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let limits = cx.server.limits.list;
    let mut list = cx.keys.write_as::<List>(key)?.ok_or(CommandError::NoSuchKey)?;
    // Valkey keeps the low 32 bits of this command's index.
    #[allow(clippy::cast_possible_truncation)]
    let index = integer(args.at(2))? as i32;
    let place = list.place(i64::from(index));
    if !list.replace(place, args.at(3), limits) {
        return Err(CommandError::IndexOutOfRange);
    }
    drop(list);
    cx.changed(EventClasses::LIST, "lset", key);
    cx.reply.ok();
    Ok(())
}

pub(super) const LINSERT: Command = Command {
    name: "linsert",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(N) where N is the number of elements from the head to the pivot",
    summary: "Adds an element to a list before or after another one.",
    arguments: &[
        Arg::key("key"),
        Arg::one_of("where", &[Arg::flag("before", "BEFORE"), Arg::flag("after", "AFTER")]),
        Arg::string("pivot"),
        Arg::string("element"),
    ],
    handler: linsert,
    ..Command::DEFAULT
};

fn linsert(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let side = if is_word(args.at(2), "after") {
        Side::After
    } else if is_word(args.at(2), "before") {
        Side::Before
    } else {
        return Err(CommandError::Syntax);
    };
    let limits = cx.server.limits.list;
    let Some(mut list) = cx.keys.write_as::<List>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    if !list.insert(args.at(3), side, args.at(4), limits) {
        cx.reply.int(-1);
        return Ok(());
    }
    cx.reply.int(list.len() as i64);
    drop(list);
    cx.changed(EventClasses::LIST, "linsert", key);
    Ok(())
}

pub(super) const LREM: Command = Command {
    name: "lrem",
    arity: 4,
    flags: flag::WRITE,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N+M) where N is the number of elements looked at and M the number removed",
    summary: "Removes elements that equal a value from a list.",
    arguments: &[Arg::key("key"), Arg::integer("count"), Arg::string("element")],
    handler: lrem,
    ..Command::DEFAULT
};

fn lrem(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let count = integer(args.at(2))?;
    if count == i64::MIN {
        return Err(CommandError::OutOfLimits(-i64::MAX, i64::MAX));
    }
    let direction = if count < 0 { Direction::Backward } else { Direction::Forward };
    let max = match count.unsigned_abs() {
        0 => usize::MAX,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let limits = cx.server.limits.list;
    let Some(mut list) = cx.keys.write_as::<List>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = list.remove_matching(args.at(3), max, direction, limits);
    let emptied = list.is_empty();
    drop(list);
    cx.reply.int(removed as i64);
    if removed > 0 {
        cx.changed(EventClasses::LIST, "lrem", key);
        cx.count_changes(removed - 1);
    }
    if emptied {
        cx.delete_emptied(key);
    }
    Ok(())
}

pub(super) const LTRIM: Command = Command {
    name: "ltrim",
    arity: 4,
    flags: flag::WRITE,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements removed",
    summary: "Removes all elements of a list but those between two indexes.",
    arguments: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    handler: ltrim,
    ..Command::DEFAULT
};

fn ltrim(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let limits = cx.server.limits.list;
    let Some(mut list) = cx.keys.write_as::<List>(key)? else {
        cx.reply.ok();
        return Ok(());
    };
    let kept = span(start, stop, list.len());
    let removed = list.len() - kept.len();
    list.keep_range(kept.start, kept.len(), limits);
    drop(list);
    if removed > 0 {
        cx.touched(key);
        cx.count_changes(removed);
    }
    // Valkey tells of a trim that removed nothing too.
    cx.notify(EventClasses::LIST, "ltrim", key);
    if kept.is_empty() {
        cx.delete_emptied(key);
    }
    cx.reply.ok();
    Ok(())
}
