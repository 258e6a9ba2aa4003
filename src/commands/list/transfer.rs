//! LMOVE, RPOPLPUSH: an element goes from one list to another.

use super::{ENDS, parse_end, popped, push_event};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::quicklist::End;
use crate::types::List;

pub(super) const LMOVE: Command = Command {
    name: "lmove",
    arity: 5,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::LIST,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::RW | key_flag::INSERT),
    ],
    group: Group::List,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Moves an element from an end of a list to an end of another (or the same) and replies with it.",
    arguments: &[
        Arg::key("source"),
        Arg::key("destination").of_key_spec(1),
        Arg::one_of("wherefrom", ENDS),
        Arg::one_of("whereto", ENDS),
    ],
    handler: lmove,
    ..Command::DEFAULT
};

fn lmove(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let ends = Ends { from: parse_end(args.at(3))?, to: parse_end(args.at(4))? };
    if !transfer(cx, args.at(1), args.at(2), ends)? {
        cx.reply.null();
    }
    Ok(())
}

pub(super) const RPOPLPUSH: Command = Command {
    name: "rpoplpush",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::LIST,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::RW | key_flag::INSERT),
    ],
    group: Group::List,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Moves the last element of a list to the head of another (or the same) and replies with it.",
    arguments: &[Arg::key("source"), Arg::key("destination").of_key_spec(1)],
    handler: rpoplpush,
    ..Command::DEFAULT
};

fn rpoplpush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !transfer(cx, args.at(1), args.at(2), Ends::RIGHT_TO_LEFT)? {
        cx.reply.null();
    }
    Ok(())
}

/// From which end of the source to which end of the destination.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) from: End,
    pub(super) to: End,
}

impl Ends {
    /// What RPOPLPUSH does.
    pub(super) const RIGHT_TO_LEFT: Self = Self { from: End::Tail, to: End::Head };
}

/// Moves an element and replies with it; `false`, and no reply, when there is no source.
///
/// # Errors
/// WRONGTYPE when a key holds another type; nothing is moved then.
pub(super) fn transfer(
    cx: &mut Context<'_>,
    source: &[u8],
    destination: &[u8],
    ends: Ends,
) -> Result<bool, CommandError> {
    let limits = cx.server.limits.list;
    if cx.keys.write_as::<List>(source)?.is_none() {
        return Ok(false);
    }
    cx.keys.write_as::<List>(destination)?;
    let Some(mut list) = cx.keys.write_as::<List>(source)? else { return Ok(false) };
    if source == destination {
        list.rotate(ends.from, ends.to, limits, |value| cx.reply.bulk(value));
        drop(list);
        moved(cx, source, destination, ends, false);
        return Ok(true);
    }
    let Some(value) = list.pop(ends.from, limits, |value| value.to_vec()) else { return Ok(false) };
    let emptied = list.is_empty();
    drop(list);
    let mut list = cx.keys.write_or_create(destination, List::default)?;
    list.push(ends.to, std::iter::once(&value[..]), limits);
    drop(list);
    cx.reply.bulk(&value);
    moved(cx, source, destination, ends, emptied);
    Ok(true)
}

/// A move counts as one change, and its push comes first among the events.
fn moved(cx: &mut Context<'_>, source: &[u8], destination: &[u8], ends: Ends, emptied: bool) {
    cx.touched(destination);
    cx.notify(EventClasses::LIST, push_event(ends.to), destination);
    popped(cx, source, ends.from, 1, emptied);
}
