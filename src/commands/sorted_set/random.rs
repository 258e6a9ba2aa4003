//! ZRANDMEMBER.

use std::collections::HashSet;

use super::{reply_count, reply_member};
use crate::algorithms::numbers::parse_i64;
use crate::commands::arguments::is_word;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::SortedSet;
use crate::types::sorted_set::Order;

/// A sample of more than one in this many members is chosen in one walk over all of them.
const DENSE_SAMPLE: usize = 3;

pub(super) const ZRANDMEMBER: Command = Command {
    name: "zrandmember",
    arity: -2,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N), N members in the reply.",
    summary: "Gives one or several members at random.",
    arguments: &[
        Arg::key("key"),
        Arg::block("options", &[Arg::integer("count"), Arg::flag("withscores", "WITHSCORES").optional()])
            .optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: zrandmember,
    ..Command::DEFAULT
};

fn zrandmember(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = if args.len() > 2 { Some(parse_count(args)?) } else { None };
    // A source of its own, as the keyspace is lent out together with the set.
    let mut random = fastrand::Rng::with_seed(cx.keys.keyspace.random().u64(..));
    let count = count.map(|(count, with_scores)| (worth(cx, count), with_scores));
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    let Some((count, with_scores)) = count else {
        match set {
            Some(set) => one(&set, &mut random, |member, _| cx.reply.bulk(member)),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    match set {
        Some(set) if count != 0 => sample(cx.reply, &set, &mut random, count, with_scores),
        _ => cx.reply.array(0),
    }
    Ok(())
}

/// The count without what goes beyond the limit of the client's output.
fn worth(cx: &Context<'_>, count: i64) -> i64 {
    let asked = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let worth = i64::try_from(cx.elements_worth(asked)).unwrap_or(i64::MAX);
    if count < 0 { -worth } else { worth }
}

fn parse_count(args: Args<'_>) -> Result<(i64, bool), CommandError> {
    let count = parse_i64(args.at(2)).ok_or(CommandError::NotAnInteger)?;
    if count == i64::MIN {
        return Err(CommandError::OutOfLimits(-i64::MAX, i64::MAX));
    }
    match args.len() {
        3 => Ok((count, false)),
        4 if is_word(args.at(3), "withscores") => {
            // The reply has twice as many elements, and that number has to exist.
            if count.abs() > i64::MAX / 2 { Err(CommandError::OutOfRange) } else { Ok((count, true)) }
        }
        _ => Err(CommandError::Syntax),
    }
}

fn one(set: &SortedSet, random: &mut fastrand::Rng, visit: impl FnMut(&[u8], f64)) {
    let rank = random.usize(..set.len().max(1));
    set.for_each_in(rank..rank + 1, Order::Ascending, visit);
}

fn sample(reply: &mut Reply, set: &SortedSet, random: &mut fastrand::Rng, count: i64, with_scores: bool) {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 || count == 1 {
        reply_count(reply, wanted, with_scores);
        for _ in 0..wanted {
            one(set, random, |member, score| reply_member(reply, member, score, with_scores));
        }
        return;
    }
    let len = set.len();
    let wanted = wanted.min(len);
    reply_count(reply, wanted, with_scores);
    if wanted.saturating_mul(DENSE_SAMPLE) > len {
        let (mut missing, mut left) = (wanted, len);
        set.for_each(|member, score| {
            // Each of those that are left is as likely as the others to be among the missing (Knuth's algorithm S).
            if random.usize(..left) < missing {
                missing -= 1;
                reply_member(reply, member, score, with_scores);
            }
            left -= 1;
        });
        return;
    }
    let mut chosen = HashSet::with_capacity(wanted);
    while chosen.len() < wanted {
        let rank = random.usize(..len);
        if chosen.insert(rank) {
            set.for_each_in(rank..rank + 1, Order::Ascending, |member, score| {
                reply_member(reply, member, score, with_scores);
            });
        }
    }
}
