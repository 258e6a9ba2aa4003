//! ZPOPMIN, ZPOPMAX, ZMPOP and those that wait: BZPOPMIN, BZPOPMAX, BZMPOP.

use crate::commands::arguments::{count, integer_within, is_word};
use crate::commands::timeout::deadline_ms;
use crate::config::EventClasses;
use crate::resp::{CommandError, Protocol};
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::SortedSet;
use crate::types::sorted_set::Order;

/// The end to pop from, in a command's documented syntax.
const WHERE: &[Arg] = &[Arg::flag("min", "MIN"), Arg::flag("max", "MAX")];

/// From which end: ascending pops the lowest scores.
type From = Order;

/// How popped members are replied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Members and scores in one array.
    Flat,
    /// An array of pairs.
    Pairs,
    /// The key, a member and its score.
    KeyAndOne,
    /// The key and an array of pairs.
    KeyAndPairs,
}

/// Pops up to `count` members, replies them in `shape` and tells of the change. False, without a reply, when the key
/// is not there.
fn pop(
    cx: &mut Context<'_>,
    key: &[u8],
    from: From,
    count: usize,
    shape: Shape,
) -> Result<bool, CommandError> {
    let Some(mut set) = cx.keys.write_as::<SortedSet>(key)? else { return Ok(false) };
    let len = set.len();
    let popped = count.min(len);
    match shape {
        Shape::Flat => cx.reply.array(2 * popped),
        Shape::Pairs => cx.reply.array(popped),
        Shape::KeyAndOne => {
            cx.reply.array(3);
            cx.reply.bulk(key);
        }
        Shape::KeyAndPairs => {
            cx.reply.array(2);
            cx.reply.bulk(key);
            cx.reply.array(popped);
        }
    }
    let ranks = match from {
        Order::Ascending => 0..popped,
        Order::Descending => len - popped..len,
    };
    set.for_each_in(ranks.clone(), from, |member, score| {
        if matches!(shape, Shape::Pairs | Shape::KeyAndPairs) {
            cx.reply.array(2);
        }
        cx.reply.bulk(member);
        cx.reply.double(score);
    });
    set.remove_range(ranks);
    let emptied = set.is_empty();
    drop(set);
    if popped > 0 {
        let event = if from == Order::Ascending { "zpopmin" } else { "zpopmax" };
        cx.changed(EventClasses::ZSET, event, key);
        cx.count_changes(popped - 1);
        tell(cx, key, from, popped, shape);
    }
    if emptied {
        cx.delete_emptied(key);
    }
    Ok(true)
}

/// Tells what popped from one of several keys, and what may have waited, as a pop from the key it was.
fn tell(cx: &mut Context<'_>, key: &[u8], from: From, popped: usize, shape: Shape) {
    let name: &[u8] = if from == Order::Ascending { b"ZPOPMIN" } else { b"ZPOPMAX" };
    match shape {
        Shape::Flat | Shape::Pairs => {}
        Shape::KeyAndOne => cx.propagate_as(&[name, key]),
        Shape::KeyAndPairs => cx.propagate_as(&[name, key, itoa::Buffer::new().format(popped).as_bytes()]),
    }
}

/// Pops from the first key that is there; false, without a reply, when there is none.
fn pop_from_first<'a>(
    cx: &mut Context<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
    from: From,
    count: usize,
    shape: Shape,
) -> Result<bool, CommandError> {
    for key in keys {
        if pop(cx, key, from, count, shape)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) const ZPOPMIN: Command = Command {
    name: "zpopmin",
    arity: -2,
    flags: flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)*M), N members in the set, M popped.",
    summary: "Pops the members of lowest score.",
    arguments: &[Arg::key("key"), Arg::integer("count").optional()],
    handler: zpopmin,
    ..Command::DEFAULT
};

fn zpopmin(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_empty(cx, args, Order::Ascending)
}

pub(super) const ZPOPMAX: Command = Command {
    name: "zpopmax",
    arity: -2,
    flags: flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)*M), N members in the set, M popped.",
    summary: "Pops the members of highest score.",
    arguments: &[Arg::key("key"), Arg::integer("count").optional()],
    handler: zpopmax,
    ..Command::DEFAULT
};

fn zpopmax(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_empty(cx, args, Order::Descending)
}

fn pop_or_empty(cx: &mut Context<'_>, args: Args<'_>, from: From) -> Outcome {
    let (count, shape) = match args.len() {
        2 => (1, Shape::Flat),
        3 if cx.reply.protocol() == Protocol::Resp3 => (count(args.at(2))?, Shape::Pairs),
        3 => (count(args.at(2))?, Shape::Flat),
        _ => return Err(CommandError::Syntax),
    };
    if !pop(cx, args.at(1), from, count, shape)? {
        cx.reply.array(0);
    }
    Ok(())
}

/// What ZMPOP and BZMPOP were told.
struct MultiPlan<'a> {
    keys: Args<'a>,
    count_keys: usize,
    from: From,
    count: usize,
}

impl<'a> MultiPlan<'a> {
    /// Parses `numkeys key... MIN|MAX [COUNT count]`.
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let numkeys = integer_within(args.at(0), 1..=i64::MAX, CommandError::NumkeysNotPositive)?;
        let count_keys = usize::try_from(numkeys)
            .ok()
            .filter(|count| *count < args.len() - 1)
            .ok_or(CommandError::Syntax)?;
        let from = match args.at(count_keys + 1) {
            word if is_word(word, "min") => Order::Ascending,
            word if is_word(word, "max") => Order::Descending,
            _ => return Err(CommandError::Syntax),
        };
        let rest = args.from(count_keys + 2);
        let count = match rest.len() {
            0 => 1,
            // A second COUNT, or whatever else follows, is an error only if the first one was right.
            1 => return Err(CommandError::Syntax),
            _ if !is_word(rest.at(0), "count") => return Err(CommandError::Syntax),
            more => {
                let count = integer_within(rest.at(1), 1..=i64::MAX, CommandError::CountNotPositive)?;
                if more > 2 {
                    return Err(CommandError::Syntax);
                }
                usize::try_from(count).unwrap_or(usize::MAX)
            }
        };
        Ok(Self { keys: args.from(1), count_keys, from, count })
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.keys.iter().take(self.count_keys)
    }
}

pub(super) const ZMPOP: Command = Command {
    name: "zmpop",
    arity: -4,
    flags: flag::MOVABLE_KEYS | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::counted(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)), K keys, N members in the set, M popped.",
    summary: "Pops the members of lowest or highest score from the first of several sorted sets that has any.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", WHERE),
        Arg::integer("count").token("COUNT").optional(),
    ],
    handler: zmpop,
    ..Command::DEFAULT
};

fn zmpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = MultiPlan::parse(args.from(1))?;
    if !pop_from_first(cx, plan.keys(), plan.from, plan.count, Shape::KeyAndPairs)? {
        cx.reply.null_array();
    }
    Ok(())
}

pub(super) const BZPOPMIN: Command = Command {
    name: "bzpopmin",
    arity: -3,
    flags: flag::BLOCKING | flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)), N members in the set.",
    summary: "Pops the member of lowest score from the first of several sorted sets that has any; waits for one if none has.",
    arguments: &[Arg::key("key").multiple(), Arg::double("timeout")],
    history: &[("6.0.0", "The timeout may have a fraction.")],
    handler: bzpopmin,
    ..Command::DEFAULT
};

fn bzpopmin(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one_or_wait(cx, args, Order::Ascending)
}

pub(super) const BZPOPMAX: Command = Command {
    name: "bzpopmax",
    arity: -3,
    flags: flag::BLOCKING | flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)), N members in the set.",
    summary: "Pops the member of highest score from the first of several sorted sets that has any; waits for one if none has.",
    arguments: &[Arg::key("key").multiple(), Arg::double("timeout")],
    history: &[("6.0.0", "The timeout may have a fraction.")],
    handler: bzpopmax,
    ..Command::DEFAULT
};

fn bzpopmax(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one_or_wait(cx, args, Order::Descending)
}

fn pop_one_or_wait(cx: &mut Context<'_>, args: Args<'_>, from: From) -> Outcome {
    let last = args.len() - 1;
    let deadline_ms = deadline_ms(args.at(last), cx.now_ms())?;
    let keys = args.iter().take(last).skip(1);
    if !pop_from_first(cx, keys.clone(), from, 1, Shape::KeyAndOne)? {
        wait(cx, keys, deadline_ms);
    }
    Ok(())
}

pub(super) const BZMPOP: Command = Command {
    name: "bzmpop",
    arity: -5,
    flags: flag::BLOCKING | flag::MOVABLE_KEYS | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::counted(2, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)), K keys, N members in the set, M popped.",
    summary: "Pops the members of lowest or highest score from the first of several sorted sets that has any; waits for one if none has.",
    arguments: &[
        Arg::double("timeout"),
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", WHERE),
        Arg::integer("count").token("COUNT").optional(),
    ],
    handler: bzmpop,
    ..Command::DEFAULT
};

fn bzmpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = MultiPlan::parse(args.from(2))?;
    let deadline_ms = deadline_ms(args.at(1), cx.now_ms())?;
    if !pop_from_first(cx, plan.keys(), plan.from, plan.count, Shape::KeyAndPairs)? {
        wait(cx, plan.keys(), deadline_ms);
    }
    Ok(())
}

/// Waits for one of the keys, or replies as after the timeout where nothing may wait.
fn wait<'a>(cx: &mut Context<'_>, keys: impl Iterator<Item = &'a [u8]>, deadline_ms: Option<i64>) {
    let request = BlockRequest {
        keys: keys.map(<[u8]>::to_vec).collect(),
        deadline_ms,
        timeout_reply: TimeoutReply::NullArray,
        wants_deletion: false,
        request: None,
    };
    if !cx.block(request) {
        cx.reply.null_array();
    }
}
