//! Commands of lists: pushing and popping at the ends, reading, changing in the middle, moving, and waiting for elements.

mod blocking;
mod edit;
mod pop;
mod push;
mod read;
mod transfer;

use std::ops::Range;

use super::arguments::is_word;
use crate::config::EventClasses;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Command};
use crate::structures::listpack::Value;
use crate::structures::quicklist::{Direction, End, Limits};
use crate::types::List;

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    push::LPUSH,
    push::RPUSH,
    push::LPUSHX,
    push::RPUSHX,
    pop::LPOP,
    pop::RPOP,
    pop::LMPOP,
    read::LLEN,
    read::LRANGE,
    read::LINDEX,
    read::LPOS,
    edit::LSET,
    edit::LINSERT,
    edit::LREM,
    edit::LTRIM,
    transfer::LMOVE,
    transfer::RPOPLPUSH,
    blocking::BLPOP,
    blocking::BRPOP,
    blocking::BLMOVE,
    blocking::BRPOPLPUSH,
    blocking::BLMPOP,
];

/// The documented alternatives for an end of a list.
const ENDS: &[Arg] = &[Arg::flag("left", "LEFT"), Arg::flag("right", "RIGHT")];

/// LEFT or RIGHT.
fn parse_end(arg: &[u8]) -> Result<End, CommandError> {
    if is_word(arg, "right") {
        Ok(End::Tail)
    } else if is_word(arg, "left") {
        Ok(End::Head)
    } else {
        Err(CommandError::Syntax)
    }
}

/// The places from `start` to `stop` (both included, negative from the end) of a list of `len`. Unlike GETRANGE, a stop
/// before the first element makes the range empty.
fn span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let length = i64::try_from(len).unwrap_or(i64::MAX);
    let from_head = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let start = from_head(start).max(0);
    let stop = from_head(stop).min(length - 1);
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

fn reply_value(reply: &mut Reply, value: Value<'_>) {
    match value {
        Value::Int(number) => reply.bulk_int(number),
        Value::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Pops up to `count` elements from an end into an array, the one at the end first; returns how many it were.
fn pop_into_array(reply: &mut Reply, list: &mut List, end: End, count: usize, limits: Limits) -> usize {
    let len = list.len();
    let count = count.min(len);
    reply.array(count);
    match end {
        End::Head => {
            list.visit(0, count, |value| reply_value(reply, value));
            list.remove_range(0, count, limits);
        }
        End::Tail => {
            let mut cursor = list.cursor(len.saturating_sub(1), Direction::Backward);
            for _ in 0..count {
                if let Some(value) = cursor.next() {
                    reply_value(reply, value);
                }
            }
            list.remove_range(len - count, count, limits);
        }
    }
    count
}

/// Says that elements were popped from an end, and deletes the key if none is left.
fn popped(cx: &mut Context<'_>, key: &[u8], end: End, count: usize, emptied: bool) {
    let event = match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    };
    cx.changed(EventClasses::LIST, event, key);
    cx.count_changes(count.saturating_sub(1));
    if emptied {
        cx.delete_emptied(key);
    }
}

/// The command that pops from this end of one list without waiting.
fn pop_of(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LPOP",
        End::Tail => b"RPOP",
    }
}

/// The event of a push to an end.
fn push_event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

/// The first of the keys that exists.
///
/// # Errors
/// WRONGTYPE when a key before it, or itself, holds another type.
fn first_list<'k>(
    cx: &mut Context<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Option<&'k [u8]>, CommandError> {
    for key in keys {
        if cx.keys.write_as::<List>(key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_both_ends() {
        assert_eq!(span(0, -1, 5), 0..5);
        assert_eq!(span(-3, -2, 5), 2..4);
        assert_eq!(span(1, 100, 5), 1..5);
        assert_eq!(span(-100, 1, 5), 0..2);
        assert_eq!(span(-100, -100, 5), 0..0);
        assert_eq!(span(5, 10, 5), 0..0);
        assert_eq!(span(0, -1, 0), 0..0);
        assert_eq!(span(i64::MIN, i64::MAX, 3), 0..3);
        assert_eq!(span(i64::MAX, i64::MIN, 3), 0..0);
    }
}
