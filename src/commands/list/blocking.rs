//! BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP: what waits until there is an element.

use super::pop::MultiPop;
use super::transfer::{Ends, transfer};
use super::{ENDS, first_list, parse_end, pop_of, popped, reply_value};
use crate::commands::timeout::deadline_ms;
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::quicklist::End;
use crate::types::List;

pub(super) const BLPOP: Command = Command {
    name: "blpop",
    arity: -3,
    flags: flag::WRITE | flag::BLOCKING,
    categories: category::LIST,
    keys: &[KeySpec::range(1, -2, 1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::List,
    since: "2.0.0",
    complexity: "O(N) where N is the number of keys",
    summary: "Takes the element at the head of the first list that exists and replies with it; waits for one if there is none.",
    arguments: &[Arg::key("key").multiple(), Arg::double("timeout")],
    history: &[("6.0.0", "`timeout` may have a fraction.")],
    handler: blpop,
    ..Command::DEFAULT
};

fn blpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, End::Head)
}

pub(super) const BRPOP: Command = Command {
    name: "brpop",
    arity: -3,
    flags: flag::WRITE | flag::BLOCKING,
    categories: category::LIST,
    keys: &[KeySpec::range(1, -2, 1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::List,
    since: "2.0.0",
    complexity: "O(N) where N is the number of keys",
    summary: "Takes the element at the tail of the first list that exists and replies with it; waits for one if there is none.",
    arguments: &[Arg::key("key").multiple(), Arg::double("timeout")],
    history: &[("6.0.0", "`timeout` may have a fraction.")],
    handler: brpop,
    ..Command::DEFAULT
};

fn brpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, End::Tail)
}

fn pop_or_wait(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let timeout_at = args.len() - 1;
    let deadline_ms = deadline_ms(args.at(timeout_at), cx.now_ms())?;
    let keys = args.iter().take(timeout_at).skip(1);
    let limits = cx.server.limits.list;
    let Some(key) = first_list(cx, keys.clone())? else {
        wait_for(cx, keys, deadline_ms);
        return Ok(());
    };
    let Some(mut list) = cx.keys.write_as::<List>(key)? else { return Ok(()) };
    cx.reply.array(2);
    cx.reply.bulk(key);
    list.pop(end, limits, |value| reply_value(cx.reply, value));
    let emptied = list.is_empty();
    drop(list);
    popped(cx, key, end, 1, emptied);
    cx.propagate_as(&[pop_of(end), key]);
    Ok(())
}

/// Waits for one of the keys, or replies as after the timeout where nothing may wait.
fn wait_for<'k>(cx: &mut Context<'_>, keys: impl Iterator<Item = &'k [u8]>, deadline_ms: Option<i64>) {
    if !cx.block(request(keys, deadline_ms)) {
        cx.reply.null_array();
    }
}

fn request<'k>(keys: impl Iterator<Item = &'k [u8]>, deadline_ms: Option<i64>) -> BlockRequest {
    BlockRequest {
        keys: keys.map(<[u8]>::to_vec).collect(),
        deadline_ms,
        // After the timeout every command of lists replies so, BLMOVE too (`replyToBlockedClientTimedOut`).
        timeout_reply: TimeoutReply::NullArray,
        wants_deletion: false,
        request: None,
    }
}

pub(super) const BLMOVE: Command = Command {
    name: "blmove",
    arity: 6,
    flags: flag::WRITE | flag::DENYOOM | flag::BLOCKING,
    categories: category::LIST,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::RW | key_flag::INSERT),
    ],
    group: Group::List,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Moves an element from an end of a list to an end of another and replies with it; waits for one if there is none.",
    arguments: &[
        Arg::key("source"),
        Arg::key("destination").of_key_spec(1),
        Arg::one_of("wherefrom", ENDS),
        Arg::one_of("whereto", ENDS),
        Arg::double("timeout"),
    ],
    handler: blmove,
    ..Command::DEFAULT
};

fn blmove(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let ends = Ends { from: parse_end(args.at(3))?, to: parse_end(args.at(4))? };
    transfer_or_wait(cx, args, ends, 5)
}

pub(super) const BRPOPLPUSH: Command = Command {
    name: "brpoplpush",
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::BLOCKING,
    categories: category::LIST,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::RW | key_flag::INSERT),
    ],
    group: Group::List,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Moves the last element of a list to the head of another and replies with it; waits for one if there is none.",
    arguments: &[Arg::key("source"), Arg::key("destination").of_key_spec(1), Arg::double("timeout")],
    history: &[("6.0.0", "`timeout` may have a fraction.")],
    handler: brpoplpush,
    ..Command::DEFAULT
};

fn brpoplpush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    transfer_or_wait(cx, args, Ends::RIGHT_TO_LEFT, 3)
}

fn transfer_or_wait(cx: &mut Context<'_>, args: Args<'_>, ends: Ends, timeout_at: usize) -> Outcome {
    let deadline_ms = deadline_ms(args.at(timeout_at), cx.now_ms())?;
    let source = args.at(1);
    if transfer(cx, source, args.at(2), ends)? {
        // What is told does not wait, and has no timeout.
        let name: &[u8] = if timeout_at == 5 { b"LMOVE" } else { b"RPOPLPUSH" };
        let rest = args.iter().take(timeout_at).skip(1);
        cx.propagate_as(&std::iter::once(name).chain(rest).collect::<Vec<_>>());
    } else if !cx.block(request(std::iter::once(source), deadline_ms)) {
        cx.reply.null();
    }
    Ok(())
}

pub(super) const BLMPOP: Command = Command {
    name: "blmpop",
    arity: -5,
    flags: flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS,
    categories: category::LIST,
    keys: &[KeySpec::counted(2, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::List,
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of keys and M the number of elements popped",
    summary: "Takes elements away from an end of the first list that exists and replies with them; waits for one if there is none.",
    arguments: &[
        Arg::double("timeout"),
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", ENDS),
        Arg::integer("count").token("COUNT").optional(),
    ],
    handler: blmpop,
    ..Command::DEFAULT
};

fn blmpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = MultiPop::parse(args, 2)?;
    let deadline_ms = deadline_ms(args.at(1), cx.now_ms())?;
    if !plan.run(cx)? {
        wait_for(cx, plan.keys(), deadline_ms);
    }
    Ok(())
}
