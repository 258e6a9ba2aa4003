//! ZADD, ZINCRBY, ZREM and the ZREMRANGEBY family: what changes members in place.

use super::{lex_range, rank_range, score_range};
use crate::commands::arguments::{double, integer, is_word};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::SortedSet;
use crate::types::sorted_set::{AddOptions, Change, LexRange, ScoreRange};

pub(super) const ZADD: Command = Command {
    name: "zadd",
    arity: -4,
    flags: flag::DENYOOM | flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)) for each member, N members in the set.",
    summary: "Adds members to a sorted set or changes their scores. Creates the key if it is not there.",
    arguments: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")]).since("3.0.2").optional(),
        Arg::one_of("comparison", &[Arg::flag("gt", "GT"), Arg::flag("lt", "LT")]).since("6.2.0").optional(),
        Arg::flag("change", "CH").since("3.0.2").optional(),
        Arg::flag("increment", "INCR").since("3.0.2").optional(),
        Arg::block("data", &[Arg::double("score"), Arg::string("member")]).multiple(),
    ],
    history: &[
        ("2.4.0", "Takes several members."),
        ("3.0.2", "New options: `XX`, `NX`, `CH`, `INCR`."),
        ("6.2.0", "New options: `GT`, `LT`."),
    ],
    handler: zadd,
    ..Command::DEFAULT
};

/// ZADD; GEOADD runs it too, on a request of its own making.
pub(in crate::commands) fn zadd(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(cx, args, AddOptions::default())
}

pub(super) const ZINCRBY: Command = Command {
    name: "zincrby",
    arity: 4,
    flags: flag::DENYOOM | flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)), N members in the set.",
    summary: "Adds to the score of a member, which begins at 0 if it is not there.",
    arguments: &[Arg::key("key"), Arg::integer("increment"), Arg::string("member")],
    handler: zincrby,
    ..Command::DEFAULT
};

fn zincrby(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    // Options are taken here too, as in Valkey: `ZINCRBY key nx 1` lacks its pair and is a syntax error.
    add(cx, args, AddOptions { increment: true, ..AddOptions::default() })
}

/// What ZADD was told.
struct AddPlan<'a> {
    options: AddOptions,
    /// CH: reply how many members changed, not only how many are new.
    count_changed: bool,
    scores: Vec<f64>,
    /// Scores and members.
    pairs: Args<'a>,
    longest: usize,
}

impl<'a> AddPlan<'a> {
    fn parse(args: Args<'a>, mut options: AddOptions) -> Result<Self, CommandError> {
        let mut count_changed = false;
        let mut first = 2;
        for word in args.from(first).iter() {
            match word {
                word if is_word(word, "nx") => options.only_new = true,
                word if is_word(word, "xx") => options.only_present = true,
                word if is_word(word, "ch") => count_changed = true,
                word if is_word(word, "incr") => options.increment = true,
                word if is_word(word, "gt") => options.only_greater = true,
                word if is_word(word, "lt") => options.only_less = true,
                _ => break,
            }
            first += 1;
        }
        let pairs = args.from(first);
        if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        if options.only_new && options.only_present {
            return Err(CommandError::ZaddNxXx);
        }
        if [options.only_new, options.only_greater, options.only_less].iter().filter(|set| **set).count() > 1
        {
            return Err(CommandError::ZaddGtLtNx);
        }
        if options.increment && pairs.len() > 2 {
            return Err(CommandError::ZaddIncrPairs);
        }
        let mut scores = Vec::with_capacity(pairs.len() / 2);
        let mut longest = 0;
        for index in 0..pairs.len() / 2 {
            scores.push(double(pairs.at(2 * index))?);
            longest = longest.max(pairs.at(2 * index + 1).len());
        }
        Ok(Self { options, count_changed, scores, pairs, longest })
    }
}

/// What ZADD has done.
#[derive(Default)]
struct Applied {
    added: usize,
    updated: usize,
    /// The score of the last member; `None` when the options forbade its change.
    score: Option<f64>,
}

fn apply(cx: &mut Context<'_>, key: &[u8], plan: &AddPlan<'_>) -> Result<Applied, CommandError> {
    let limits = cx.server.limits.sorted_set;
    let count = plan.scores.len();
    let mut applied = Applied::default();
    let set = if plan.options.only_present {
        cx.keys.write_as::<SortedSet>(key)?
    } else {
        Some(cx.keys.write_or_create(key, || SortedSet::new(count, plan.longest, limits))?)
    };
    let Some(mut set) = set else { return Ok(applied) };
    set.prepare(count, plan.longest, limits);
    for (index, score) in plan.scores.iter().enumerate() {
        let member = plan.pairs.at(2 * index + 1);
        let (change, score) =
            set.add(member, *score, plan.options, limits).map_err(|_| CommandError::ScoreNan)?;
        applied.added += usize::from(change == Change::Added);
        applied.updated += usize::from(change == Change::Updated);
        applied.score = (change != Change::Refused).then_some(score);
    }
    Ok(applied)
}

fn add(cx: &mut Context<'_>, args: Args<'_>, options: AddOptions) -> Outcome {
    let plan = AddPlan::parse(args, options)?;
    let key = args.at(1);
    let Applied { added, updated, score } = apply(cx, key, &plan)?;
    if added + updated > 0 {
        let event = if plan.options.increment { "zincr" } else { "zadd" };
        cx.changed(EventClasses::ZSET, event, key);
        cx.count_changes(added + updated - 1);
    }
    match score {
        Some(score) if plan.options.increment => cx.reply.double(score),
        None if plan.options.increment => cx.reply.null(),
        _ if plan.count_changed => cx.reply.int((added + updated) as i64),
        _ => cx.reply.int(added as i64),
    }
    Ok(())
}

pub(super) const ZREM: Command = Command {
    name: "zrem",
    arity: -3,
    flags: flag::FAST | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(M*log(N)), N members in the set, M to remove.",
    summary: "Removes members; the key goes with the last one.",
    arguments: &[Arg::key("key"), Arg::string("member").multiple()],
    history: &[("2.4.0", "Takes several members.")],
    handler: zrem,
    ..Command::DEFAULT
};

fn zrem(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let mut removed = 0;
    let mut emptied = false;
    if let Some(mut set) = cx.keys.write_as::<SortedSet>(key)? {
        for member in args.from(2).iter() {
            removed += usize::from(set.remove(member));
        }
        emptied = set.is_empty();
    }
    finish_removal(cx, key, "zrem", removed, emptied);
    Ok(())
}

fn finish_removal(cx: &mut Context<'_>, key: &[u8], event: &'static str, removed: usize, emptied: bool) {
    if removed > 0 {
        cx.changed(EventClasses::ZSET, event, key);
        cx.count_changes(removed - 1);
    }
    if emptied {
        cx.delete_emptied(key);
    }
    cx.reply.int(removed as i64);
}

enum RemovalPlan<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    arity: 4,
    flags: flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N)+M), N members in the set, M removed.",
    summary: "Removes the members in a range of ranks.",
    arguments: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    handler: zremrangebyrank,
    ..Command::DEFAULT
};

fn zremrangebyrank(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = RemovalPlan::Ranks(integer(args.at(2))?, integer(args.at(3))?);
    remove_range(cx, args.at(1), "zremrangebyrank", &plan)
}

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    arity: 4,
    flags: flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M), N members in the set, M removed.",
    summary: "Removes the members whose scores are in a range.",
    arguments: &[Arg::key("key"), Arg::double("min"), Arg::double("max")],
    handler: zremrangebyscore,
    ..Command::DEFAULT
};

fn zremrangebyscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = RemovalPlan::Scores(score_range(args.at(2), args.at(3))?);
    remove_range(cx, args.at(1), "zremrangebyscore", &plan)
}

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    arity: 4,
    flags: flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)+M), N members in the set, M removed.",
    summary: "Removes the members in a range of members, where all scores are the same.",
    arguments: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
    handler: zremrangebylex,
    ..Command::DEFAULT
};

fn zremrangebylex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = RemovalPlan::Members(lex_range(args.at(2), args.at(3))?);
    remove_range(cx, args.at(1), "zremrangebylex", &plan)
}

fn remove_range(cx: &mut Context<'_>, key: &[u8], event: &'static str, plan: &RemovalPlan<'_>) -> Outcome {
    let mut removed = 0;
    let mut emptied = false;
    if let Some(mut set) = cx.keys.write_as::<SortedSet>(key)? {
        let ranks = match plan {
            RemovalPlan::Ranks(start, stop) => rank_range(*start, *stop, set.len()),
            RemovalPlan::Scores(range) => set.score_ranks(range),
            RemovalPlan::Members(range) => set.lex_ranks(range),
        };
        removed = set.remove_range(ranks);
        emptied = set.is_empty();
    }
    finish_removal(cx, key, event, removed, emptied);
    Ok(())
}
