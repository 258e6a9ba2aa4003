//! ZUNION, ZINTER, ZDIFF, ZINTERCARD and those that store: sets take part too, each member with a score of 1.

use super::{reply_count, reply_member, store};
use crate::algorithms::hash::hash;
use crate::algorithms::numbers::parse_f64;
use crate::commands::arguments::{integer, integer_within, is_word};
use crate::keyspace::{Keys, ValueRef};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::sorted_set::Builder;
use crate::types::{Set, SortedSet, ValueType};

/// `AGGREGATE SUM|MIN|MAX` in a command's documented syntax.
const AGGREGATE: &[Arg] = &[Arg::flag("sum", "SUM"), Arg::flag("min", "MIN"), Arg::flag("max", "MAX")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => number_or_zero(one + other),
            Self::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Self::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// Infinities of both signs make 0, and so does a weight of 0 on an infinite score.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input.
enum Source<'a> {
    Missing,
    Set(ValueRef<'a, Set>),
    SortedSet(ValueRef<'a, SortedSet>),
}

impl<'a> Source<'a> {
    /// The input under a key that was read already: whatever has expired is gone, its type is known to fit.
    fn of(keys: &'a Keys<'_>, key: &[u8]) -> Self {
        let table = keys.db().table();
        let Some(position) = table.find(hash(key), key) else { return Self::Missing };
        let entry = table.get(position);
        match ValueRef::<SortedSet>::of(&entry) {
            Some(set) => Self::SortedSet(set),
            None => ValueRef::<Set>::of(&entry).map_or(Self::Missing, Self::Set),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
        }
    }

    fn for_each(&self, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            Self::Missing => {}
            Self::Set(set) => set.for_each(|member| visit(member, 1.0)),
            Self::SortedSet(set) => set.for_each(visit),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Set(set) => set.contains(member.into()).then_some(1.0),
            Self::SortedSet(set) => set.score(member),
        }
    }
}

/// What a command of the family was told.
struct Plan<'a> {
    operation: Operation,
    keys: Args<'a>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// ZINTERCARD's; 0: none.
    limit: usize,
}

/// Which options a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

impl<'a> Plan<'a> {
    /// Parses `numkeys key... options...`, whose keys are looked at before the options, as Valkey does: a key of a
    /// wrong type is the first error to be met.
    fn parse(
        cx: &mut Context<'_>,
        args: Args<'a>,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Self, CommandError> {
        let numkeys = integer(args.at(0))?;
        if numkeys < 1 {
            return Err(CommandError::NoInputKeys(cx.command.full_name.as_str().into()));
        }
        let count =
            usize::try_from(numkeys).ok().filter(|count| *count < args.len()).ok_or(CommandError::Syntax)?;
        let keys = args.from(1);
        for key in keys.iter().take(count) {
            match cx.keys.read(key).map(|entry| entry.value_type()) {
                None | Some(ValueType::Set | ValueType::SortedSet) => {}
                Some(_) => return Err(CommandError::WrongType),
            }
        }
        let mut plan = Self {
            operation,
            keys,
            weights: vec![1.0; count],
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        plan.parse_options(args.from(1 + count), purpose)?;
        Ok(plan)
    }

    fn parse_options(&mut self, args: Args<'_>, purpose: Purpose) -> Result<(), CommandError> {
        let weighted = self.operation != Operation::Difference && purpose != Purpose::Count;
        let mut index = 0;
        while let Some(word) = args.get(index) {
            let left = args.len() - index;
            if weighted && left > self.weights.len() && is_word(word, "weights") {
                for (weight, text) in self.weights.iter_mut().zip(args.from(index + 1).iter()) {
                    *weight = parse_f64(text).ok_or(CommandError::WeightNotAFloat)?;
                }
                index += self.weights.len();
            } else if weighted && left >= 2 && is_word(word, "aggregate") {
                index += 1;
                self.aggregate = match args.at(index) {
                    word if is_word(word, "sum") => Aggregate::Sum,
                    word if is_word(word, "min") => Aggregate::Min,
                    word if is_word(word, "max") => Aggregate::Max,
                    _ => return Err(CommandError::Syntax),
                };
            } else if purpose == Purpose::Reply && is_word(word, "withscores") {
                self.with_scores = true;
            } else if purpose == Purpose::Count && left >= 2 && is_word(word, "limit") {
                index += 1;
                let limit = integer_within(args.at(index), 0..=i64::MAX, CommandError::LimitNegative)?;
                self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(())
    }

    /// The inputs with their weights; smallest first where their order does not matter.
    fn sources<'k>(&self, keys: &'k Keys<'_>) -> Vec<(Source<'k>, f64)> {
        let mut sources: Vec<_> = self
            .keys
            .iter()
            .zip(&self.weights)
            .map(|(key, weight)| (Source::of(keys, key), *weight))
            .collect();
        if self.operation != Operation::Difference {
            sources.sort_by_key(|(source, _)| source.len());
        }
        sources
    }

    fn run(&self, keys: &Keys<'_>) -> Builder {
        let mut members = Builder::default();
        match self.operation {
            Operation::Union => {
                for (source, weight) in self.sources(keys) {
                    source.for_each(|member, score| {
                        let score = number_or_zero(score * weight);
                        members.add(member, score, |present| self.aggregate.apply(present, score));
                    });
                }
            }
            Operation::Intersection => {
                self.intersect(keys, |member, score| members.add(member, score, |present| present))
            }
            Operation::Difference => {
                let sources = self.sources(keys);
                let Some(((first, _), others)) = sources.split_first() else { return members };
                first.for_each(|member, score| {
                    if others.iter().all(|(other, _)| other.score(member).is_none()) {
                        members.add(member, score, |present| present);
                    }
                });
            }
        }
        members
    }

    /// Hands over the members that all inputs have, until `visit` says that it is enough.
    fn intersect(&self, keys: &Keys<'_>, mut visit: impl FnMut(&[u8], f64) -> bool) {
        let sources = self.sources(keys);
        let Some(((smallest, weight), others)) = sources.split_first() else { return };
        let mut wanted = true;
        smallest.for_each(|member, score| {
            if !wanted {
                return;
            }
            let score = others.iter().try_fold(number_or_zero(score * weight), |sum, (other, weight)| {
                Some(self.aggregate.apply(sum, other.score(member)? * weight))
            });
            if let Some(score) = score {
                wanted = visit(member, score);
            }
        });
    }
}

fn reply(cx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Outcome {
    let plan = Plan::parse(cx, args.from(1), operation, Purpose::Reply)?;
    let members = plan.run(&cx.keys).finish();
    reply_count(cx.reply, members.len(), plan.with_scores);
    for (member, score) in members.range(0..members.len()) {
        reply_member(cx.reply, member, score, plan.with_scores);
    }
    Ok(())
}

fn reply_stored(cx: &mut Context<'_>, args: Args<'_>, operation: Operation, event: &'static str) -> Outcome {
    let plan = Plan::parse(cx, args.from(2), operation, Purpose::Store)?;
    let members = plan.run(&cx.keys);
    store(cx, args.at(1), members, event);
    Ok(())
}

pub(super) const ZUNION: Command = Command {
    name: "zunion",
    arity: -3,
    flags: flag::MOVABLE_KEYS | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N) + O(M*log(M)), N members in all sets, M in the result.",
    summary: "Gives the members that any of several sorted sets has.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", AGGREGATE).token("AGGREGATE").optional(),
        Arg::flag("withscores", "WITHSCORES").optional(),
    ],
    handler: zunion,
    ..Command::DEFAULT
};

fn zunion(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Operation::Union)
}

pub(super) const ZINTER: Command = Command {
    name: "zinter",
    arity: -3,
    flags: flag::MOVABLE_KEYS | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N*K) + O(M*log(M)) at worst, N members in the smallest set, K sets, M members in the result.",
    summary: "Gives the members that all of several sorted sets have.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", AGGREGATE).token("AGGREGATE").optional(),
        Arg::flag("withscores", "WITHSCORES").optional(),
    ],
    handler: zinter,
    ..Command::DEFAULT
};

fn zinter(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Operation::Intersection)
}

pub(super) const ZDIFF: Command = Command {
    name: "zdiff",
    arity: -3,
    flags: flag::MOVABLE_KEYS | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(L + (N-K)*log(N)) at worst, L members in all sets, N in the first, K in the result.",
    summary: "Gives the members of the first sorted set that none of the others has.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::flag("withscores", "WITHSCORES").optional(),
    ],
    handler: zdiff,
    ..Command::DEFAULT
};

fn zdiff(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Operation::Difference)
}

pub(super) const ZUNIONSTORE: Command = Command {
    name: "zunionstore",
    arity: -4,
    flags: flag::DENYOOM | flag::MOVABLE_KEYS | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[
        KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
        KeySpec::counted(2, key_flag::RO | key_flag::ACCESS),
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(N) + O(M*log(M)), N members in all sets, M in the result.",
    summary: "Stores the members that any of several sorted sets has.",
    arguments: &[
        Arg::key("destination"),
        Arg::integer("numkeys"),
        Arg::key("key").of_key_spec(1).multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", AGGREGATE).token("AGGREGATE").optional(),
    ],
    handler: zunionstore,
    ..Command::DEFAULT
};

fn zunionstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_stored(cx, args, Operation::Union, "zunionstore")
}

pub(super) const ZINTERSTORE: Command = Command {
    name: "zinterstore",
    arity: -4,
    flags: flag::DENYOOM | flag::MOVABLE_KEYS | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[
        KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
        KeySpec::counted(2, key_flag::RO | key_flag::ACCESS),
    ],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(N*K) + O(M*log(M)) at worst, N members in the smallest set, K sets, M members in the result.",
    summary: "Stores the members that all of several sorted sets have.",
    arguments: &[
        Arg::key("destination"),
        Arg::integer("numkeys"),
        Arg::key("key").of_key_spec(1).multiple(),
        Arg::integer("weight").token("WEIGHTS").optional().multiple(),
        Arg::one_of("aggregate", AGGREGATE).token("AGGREGATE").optional(),
    ],
    handler: zinterstore,
    ..Command::DEFAULT
};

fn zinterstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_stored(cx, args, Operation::Intersection, "zinterstore")
}

pub(super) const ZDIFFSTORE: Command = Command {
    name: "zdiffstore",
    arity: -4,
    flags: flag::DENYOOM | flag::MOVABLE_KEYS | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[
        KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
        KeySpec::counted(2, key_flag::RO | key_flag::ACCESS),
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(L + (N-K)*log(N)) at worst, L members in all sets, N in the first, K in the result.",
    summary: "Stores the members of the first sorted set that none of the others has.",
    arguments: &[Arg::key("destination"), Arg::integer("numkeys"), Arg::key("key").of_key_spec(1).multiple()],
    handler: zdiffstore,
    ..Command::DEFAULT
};

fn zdiffstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_stored(cx, args, Operation::Difference, "zdiffstore")
}

pub(super) const ZINTERCARD: Command = Command {
    name: "zintercard",
    arity: -3,
    flags: flag::MOVABLE_KEYS | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "7.0.0",
    complexity: "O(N*K) at worst, N members in the smallest set, K sets.",
    summary: "Counts the members that all of several sorted sets have.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("limit").token("LIMIT").optional(),
    ],
    handler: zintercard,
    ..Command::DEFAULT
};

fn zintercard(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = Plan::parse(cx, args.from(1), Operation::Intersection, Purpose::Count)?;
    let mut count = 0;
    plan.intersect(&cx.keys, |_, _| {
        count += 1;
        count != plan.limit
    });
    cx.reply.int(count as i64);
    Ok(())
}
