//! ZRANGE in all its forms: by rank, by score, by member, in both orders, replied or stored.

use std::ops::Range;

use super::{LIMIT, lex_range, rank_range, reply_range, score_range, store};
use crate::commands::arguments::{integer, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::SortedSet;
use crate::types::sorted_set::{Builder, LexRange, Order, ScoreRange};

/// By what a range is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

enum Selection<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// What a range command was told.
struct Plan<'a> {
    selection: Selection<'a>,
    order: Order,
    with_scores: bool,
    offset: i64,
    /// Negative: no limit.
    limit: i64,
}

impl<'a> Plan<'a> {
    /// Parses `key start stop options...` from `args`, whose first is the key. What the command's name fixes is given
    /// and not an option.
    fn parse(
        args: Args<'a>,
        fixed_by: Option<By>,
        fixed_order: Option<Order>,
        stores: bool,
    ) -> Result<Self, CommandError> {
        let (mut by, mut order, mut with_scores) = (fixed_by, fixed_order, false);
        let (mut offset, mut limit) = (0, -1);
        let mut index = 3;
        while let Some(word) = args.get(index) {
            if !stores && is_word(word, "withscores") {
                with_scores = true;
            } else if is_word(word, "limit") && index + 2 < args.len() {
                offset = integer(args.at(index + 1))?;
                limit = integer(args.at(index + 2))?;
                index += 2;
            } else if fixed_order.is_none() && order.is_none() && is_word(word, "rev") {
                order = Some(Order::Descending);
            } else if by.is_none() && is_word(word, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && is_word(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        let (by, order) = (by.unwrap_or(By::Rank), order.unwrap_or(Order::Ascending));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::ZrangeLimit);
        }
        if with_scores && by == By::Member {
            return Err(CommandError::ZrangeWithscoresLex);
        }
        let (first, second) = (args.at(1), args.at(2));
        let (min, max) = if order == Order::Ascending { (first, second) } else { (second, first) };
        let selection = match by {
            By::Rank => Selection::Ranks(integer(first)?, integer(second)?),
            By::Score => Selection::Scores(score_range(min, max)?),
            By::Member => Selection::Members(lex_range(min, max)?),
        };
        Ok(Self { selection, order, with_scores, offset, limit })
    }

    /// The ranks, from the lowest score up, of the members that are meant.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let ranks = match &self.selection {
            Selection::Ranks(start, stop) => {
                let ranks = rank_range(*start, *stop, set.len());
                return match self.order {
                    Order::Ascending => ranks,
                    Order::Descending => set.len() - ranks.end..set.len() - ranks.start,
                };
            }
            Selection::Scores(range) => set.score_ranks(range),
            Selection::Members(range) => set.lex_ranks(range),
        };
        let Ok(offset) = usize::try_from(self.offset) else { return self.back_from_other_end(set, ranks) };
        let offset = offset.min(ranks.len());
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(ranks.len() - offset);
        match self.order {
            Order::Ascending => ranks.start + offset..ranks.start + offset + count,
            Order::Descending => ranks.end - offset - count..ranks.end - offset,
        }
    }

    /// A negative offset counts from the other end of the range, as Valkey's skip list takes it (`zslNthInRange`); its
    /// listpack takes none.
    fn back_from_other_end(&self, set: &SortedSet, ranks: Range<usize>) -> Range<usize> {
        let back = usize::try_from(self.offset.unsigned_abs()).unwrap_or(usize::MAX);
        if back > ranks.len() || matches!(set, SortedSet::Listpack(_)) {
            return 0..0;
        }
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(back);
        match self.order {
            Order::Ascending => ranks.end - back..ranks.end - back + count,
            Order::Descending => ranks.start + back - count..ranks.start + back,
        }
    }
}

fn reply(cx: &mut Context<'_>, args: Args<'_>, by: Option<By>, order: Option<Order>) -> Outcome {
    let plan = Plan::parse(args.from(1), by, order, false)?;
    match cx.keys.read_as::<SortedSet>(args.at(1))? {
        Some(set) => reply_range(cx.reply, &set, plan.ranks(&set), plan.order, plan.with_scores),
        None => cx.reply.array(0),
    }
    Ok(())
}

pub(super) const ZRANGE: Command = Command {
    name: "zrange",
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M), N members in the set, M in the reply.",
    summary: "Gives the members in a range of ranks, scores or members.",
    arguments: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("stop"),
        Arg::one_of("sortby", &[Arg::flag("byscore", "BYSCORE"), Arg::flag("bylex", "BYLEX")])
            .since("6.2.0")
            .optional(),
        Arg::flag("rev", "REV").since("6.2.0").optional(),
        Arg::block("limit", LIMIT).token("LIMIT").since("6.2.0").optional(),
        Arg::flag("withscores", "WITHSCORES").optional(),
    ],
    history: &[("6.2.0", "New options: `REV`, `BYSCORE`, `BYLEX`, `LIMIT`.")],
    handler: zrange,
    ..Command::DEFAULT
};

fn zrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, None, None)
}

pub(super) const ZRANGESTORE: Command = Command {
    name: "zrangestore",
    arity: -5,
    flags: flag::DENYOOM | flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[
        KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
        KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
    ],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(log(N)+M), N members in the set, M stored.",
    summary: "Stores the members in a range of ranks, scores or members.",
    arguments: &[
        Arg::key("dst"),
        Arg::key("src").of_key_spec(1),
        Arg::string("min"),
        Arg::string("max"),
        Arg::one_of("sortby", &[Arg::flag("byscore", "BYSCORE"), Arg::flag("bylex", "BYLEX")]).optional(),
        Arg::flag("rev", "REV").optional(),
        Arg::block("limit", LIMIT).token("LIMIT").optional(),
    ],
    handler: zrangestore,
    ..Command::DEFAULT
};

fn zrangestore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = Plan::parse(args.from(2), None, None, true)?;
    let mut members = Builder::default();
    if let Some(set) = cx.keys.read_as::<SortedSet>(args.at(2))? {
        set.for_each_in(plan.ranks(&set), Order::Ascending, |member, score| {
            members.add(member, score, |present| present);
        });
    }
    store(cx, args.at(1), members, "zrangestore");
    Ok(())
}

pub(super) const ZRANGEBYSCORE: Command = Command {
    name: "zrangebyscore",
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "1.0.5",
    complexity: "O(log(N)+M), N members in the set, M in the reply.",
    summary: "Gives the members whose scores are in a range.",
    arguments: &[
        Arg::key("key"),
        Arg::double("min"),
        Arg::double("max"),
        Arg::flag("withscores", "WITHSCORES").since("2.0.0").optional(),
        Arg::block("limit", LIMIT).token("LIMIT").optional(),
    ],
    history: &[("2.0.0", "New option: `WITHSCORES`.")],
    handler: zrangebyscore,
    ..Command::DEFAULT
};

fn zrangebyscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Some(By::Score), Some(Order::Ascending))
}

pub(super) const ZRANGEBYLEX: Command = Command {
    name: "zrangebylex",
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)+M), N members in the set, M in the reply.",
    summary: "Gives the members in a range of members, where all scores are the same.",
    arguments: &[
        Arg::key("key"),
        Arg::string("min"),
        Arg::string("max"),
        Arg::block("limit", LIMIT).token("LIMIT").optional(),
    ],
    handler: zrangebylex,
    ..Command::DEFAULT
};

fn zrangebylex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Some(By::Member), Some(Order::Ascending))
}

pub(super) const ZREVRANGE: Command = Command {
    name: "zrevrange",
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M), N members in the set, M in the reply.",
    summary: "Gives the members in a range of ranks, from the highest score down.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("start"),
        Arg::integer("stop"),
        Arg::flag("withscores", "WITHSCORES").optional(),
    ],
    handler: zrevrange,
    ..Command::DEFAULT
};

fn zrevrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Some(By::Rank), Some(Order::Descending))
}

pub(super) const ZREVRANGEBYSCORE: Command = Command {
    name: "zrevrangebyscore",
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.2.0",
    complexity: "O(log(N)+M), N members in the set, M in the reply.",
    summary: "Gives the members whose scores are in a range, from the highest score down.",
    arguments: &[
        Arg::key("key"),
        Arg::double("max"),
        Arg::double("min"),
        Arg::flag("withscores", "WITHSCORES").optional(),
        Arg::block("limit", LIMIT).token("LIMIT").optional(),
    ],
    history: &[("2.1.6", "Both ends may be exclusive.")],
    handler: zrevrangebyscore,
    ..Command::DEFAULT
};

fn zrevrangebyscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Some(By::Score), Some(Order::Descending))
}

pub(super) const ZREVRANGEBYLEX: Command = Command {
    name: "zrevrangebylex",
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)+M), N members in the set, M in the reply.",
    summary: "Gives the members in a range of members in reverse order, where all scores are the same.",
    arguments: &[
        Arg::key("key"),
        Arg::string("max"),
        Arg::string("min"),
        Arg::block("limit", LIMIT).token("LIMIT").optional(),
    ],
    handler: zrevrangebylex,
    ..Command::DEFAULT
};

fn zrevrangebylex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply(cx, args, Some(By::Member), Some(Order::Descending))
}
