//! LPUSH, RPUSH, LPUSHX, RPUSHX.

use super::push_event;
use crate::config::EventClasses;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::quicklist::End;
use crate::types::List;

pub(super) const LPUSH: Command = Command {
    name: "lpush",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1) for each element added",
    summary: "Adds elements at the head of a list, which is made if it is missing.",
    arguments: &[Arg::key("key"), Arg::string("element").multiple()],
    history: &[("2.4.0", "More than one `element` in a call.")],
    handler: lpush,
    ..Command::DEFAULT
};

fn lpush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(cx, args, End::Head)
}

pub(super) const RPUSH: Command = Command {
    name: "rpush",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1) for each element added",
    summary: "Adds elements at the tail of a list, which is made if it is missing.",
    arguments: &[Arg::key("key"), Arg::string("element").multiple()],
    history: &[("2.4.0", "More than one `element` in a call.")],
    handler: rpush,
    ..Command::DEFAULT
};

fn rpush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(cx, args, End::Tail)
}

pub(super) const LPUSHX: Command = Command {
    name: "lpushx",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(1) for each element added",
    summary: "Adds elements at the head of a list that exists already.",
    arguments: &[Arg::key("key"), Arg::string("element").multiple()],
    history: &[("4.0.0", "More than one `element` in a call.")],
    handler: lpushx,
    ..Command::DEFAULT
};

fn lpushx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push_existing(cx, args, End::Head)
}

pub(super) const RPUSHX: Command = Command {
    name: "rpushx",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(1) for each element added",
    summary: "Adds elements at the tail of a list that exists already.",
    arguments: &[Arg::key("key"), Arg::string("element").multiple()],
    history: &[("4.0.0", "More than one `element` in a call.")],
    handler: rpushx,
    ..Command::DEFAULT
};

fn rpushx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push_existing(cx, args, End::Tail)
}

fn push(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let limits = cx.server.limits.list;
    let mut list = cx.keys.write_or_create(args.at(1), List::default)?;
    list.push(end, args.from(2).iter(), limits);
    let len = list.len();
    drop(list);
    pushed(cx, args, end, len);
    Ok(())
}

fn push_existing(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let limits = cx.server.limits.list;
    let Some(mut list) = cx.keys.write_as::<List>(args.at(1))? else {
        cx.reply.int(0);
        return Ok(());
    };
    list.push(end, args.from(2).iter(), limits);
    let len = list.len();
    drop(list);
    pushed(cx, args, end, len);
    Ok(())
}

fn pushed(cx: &mut Context<'_>, args: Args<'_>, end: End, len: usize) {
    cx.reply.int(len as i64);
    cx.changed(EventClasses::LIST, push_event(end), args.at(1));
    cx.count_changes(args.len() - 3);
}
