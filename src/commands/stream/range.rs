//! XLEN, XRANGE, XREVRANGE.

use super::{at_most, interval_end, interval_start, reply_entries};
use crate::commands::arguments::{integer, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Stream;

pub(super) const XLEN: Command = Command {
    name: "xlen",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies with the number of entries of a stream.",
    arguments: &[Arg::key("key")],
    handler: xlen,
    ..Command::DEFAULT
};

fn xlen(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = cx.keys.read_as::<Stream>(args.at(1))?.map_or(0, |stream| stream.len());
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) const XRANGE: Command = Command {
    name: "xrange",
    arity: -4,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries replied",
    summary: "Replies with the entries of a stream between two ids.",
    arguments: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("end"),
        Arg::integer("count").token("COUNT").optional(),
    ],
    history: &[("6.2.0", "Intervals may leave out their ends.")],
    handler: xrange,
    ..Command::DEFAULT
};

fn xrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(cx, args, false)
}

pub(super) const XREVRANGE: Command = Command {
    name: "xrevrange",
    arity: -4,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries replied",
    summary: "Replies with the entries of a stream between two ids, the last one first.",
    arguments: &[
        Arg::key("key"),
        Arg::string("end"),
        Arg::string("start"),
        Arg::integer("count").token("COUNT").optional(),
    ],
    history: &[("6.2.0", "Intervals may leave out their ends.")],
    handler: xrevrange,
    ..Command::DEFAULT
};

fn xrevrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(cx, args, true)
}

fn range(cx: &mut Context<'_>, args: Args<'_>, reverse: bool) -> Outcome {
    let (start_at, end_at) = if reverse { (3, 2) } else { (2, 3) };
    let start = interval_start(args.at(start_at))?;
    let end = interval_end(args.at(end_at))?;
    let mut count = None;
    let mut at = 4;
    while let Some(option) = args.get(at) {
        let value = args.get(at + 1).filter(|_| is_word(option, "count")).ok_or(CommandError::Syntax)?;
        count = Some(integer(value)?.max(0));
        at += 2;
    }
    let Some(stream) = cx.keys.read_as::<Stream>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        cx.reply.null_array();
        return Ok(());
    }
    let most = at_most(count.unwrap_or(0));
    if reverse {
        reply_entries(cx.reply, stream.range_reverse(start, end).take(most));
    } else {
        reply_entries(cx.reply, stream.range(start, end).take(most));
    }
    Ok(())
}
