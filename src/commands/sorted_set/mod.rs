//! The commands of sorted sets, and what they share: ranges as arguments, members as replies, storing a result.

mod change;
mod combine;
mod pop;
mod random;
mod range;
mod read;

pub(super) use change::zadd;

use std::ops::{Bound, Range};

use crate::algorithms::numbers::parse_f64;
use crate::config::EventClasses;
use crate::keyspace::Entry;
use crate::resp::{CommandError, Protocol, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Command};
use crate::types::SortedSet;
use crate::types::sorted_set::{Builder, LexBound, LexRange, Order, ScoreRange};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    change::ZADD,
    change::ZINCRBY,
    change::ZREM,
    change::ZREMRANGEBYRANK,
    change::ZREMRANGEBYSCORE,
    change::ZREMRANGEBYLEX,
    read::ZCARD,
    read::ZSCORE,
    read::ZMSCORE,
    read::ZCOUNT,
    read::ZLEXCOUNT,
    read::ZRANK,
    read::ZREVRANK,
    read::ZSCAN,
    random::ZRANDMEMBER,
    range::ZRANGE,
    range::ZRANGESTORE,
    range::ZRANGEBYSCORE,
    range::ZRANGEBYLEX,
    range::ZREVRANGE,
    range::ZREVRANGEBYSCORE,
    range::ZREVRANGEBYLEX,
    pop::ZPOPMIN,
    pop::ZPOPMAX,
    pop::ZMPOP,
    pop::BZPOPMIN,
    pop::BZPOPMAX,
    pop::BZMPOP,
    combine::ZUNION,
    combine::ZINTER,
    combine::ZDIFF,
    combine::ZINTERCARD,
    combine::ZUNIONSTORE,
    combine::ZINTERSTORE,
    combine::ZDIFFSTORE,
];

/// `LIMIT offset count` in a command's documented syntax.
const LIMIT: &[Arg] = &[Arg::integer("offset"), Arg::integer("count")];

/// A range of scores; a bound after `(` is exclusive.
///
/// # Errors
/// `min or max is not a float`.
fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    Ok(ScoreRange { min: score_bound(min)?, max: score_bound(max)? })
}

fn score_bound(text: &[u8]) -> Result<Bound<f64>, CommandError> {
    match text.strip_prefix(b"(") {
        Some(text) => Ok(Bound::Excluded(bound_value(text)?)),
        None => Ok(Bound::Included(bound_value(text)?)),
    }
}

/// More lenient than a score, as in Valkey (`zslParseRange`): no text at all is 0, a number too large for a double is
/// infinite, one too small is 0, and the text ends with its first zero byte.
fn bound_value(text: &[u8]) -> Result<f64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    parse_f64(text)
        .or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
        .filter(|value: &f64| !value.is_nan())
        .ok_or(CommandError::MinMaxNotAFloat)
}

/// A range of members: `-`, `+`, `[member` or `(member`.
///
/// # Errors
/// `min or max not valid string range item`.
fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CommandError> {
    Ok(LexRange { min: lex_bound(min)?, max: lex_bound(max)? })
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>, CommandError> {
    match text {
        b"-" => Ok(LexBound::BeforeAll),
        b"+" => Ok(LexBound::AfterAll),
        [b'[', member @ ..] => Ok(LexBound::Included(member)),
        [b'(', member @ ..] => Ok(LexBound::Excluded(member)),
        _ => Err(CommandError::MinMaxNotAString),
    }
}

/// The ranks from `start` to `stop`, both included, negative ones from the end.
fn rank_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let absolute = |rank: i64| if rank < 0 { rank + len } else { rank };
    let (start, stop) = (absolute(start).max(0), absolute(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

/// The header of `count` members; with scores, RESP2 counts both and RESP3 has pairs.
fn reply_count(reply: &mut Reply, count: usize, with_scores: bool) {
    let flat = with_scores && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { count.saturating_mul(2) } else { count });
}

/// A member after [`reply_count`].
fn reply_member(reply: &mut Reply, member: &[u8], score: f64, with_scores: bool) {
    if with_scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if with_scores {
        reply.double(score);
    }
}

/// The members of these ranks.
fn reply_range(reply: &mut Reply, set: &SortedSet, ranks: Range<usize>, order: Order, with_scores: bool) {
    reply_count(reply, ranks.len(), with_scores);
    set.for_each_in(ranks, order, |member, score| reply_member(reply, member, score, with_scores));
}

/// Puts a result in the place of whatever `key` holds, or deletes the key when there is none; replies how many
/// members were stored.
pub(super) fn store(cx: &mut Context<'_>, key: &[u8], members: Builder, event: &'static str) {
    let count = members.len();
    match SortedSet::collect(members, cx.server.limits.sorted_set) {
        Some(set) => {
            drop(cx.keys.put(key, Entry::collection(key, set, None)));
            cx.changed(EventClasses::ZSET, event, key);
        }
        None => {
            if cx.keys.remove_any(key).is_some() {
                cx.changed(EventClasses::GENERIC, "del", key);
            }
        }
    }
    cx.reply.int(count as i64);
}
