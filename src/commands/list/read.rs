//! LLEN, LRANGE, LINDEX, LPOS.

use super::{reply_value, span};
use crate::commands::arguments::{integer, integer_within, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::quicklist::Direction;
use crate::types::List;
use crate::types::list::Needle;

pub(super) const LLEN: Command = Command {
    name: "llen",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Replies with the number of elements of a list.",
    arguments: &[Arg::key("key")],
    handler: llen,
    ..Command::DEFAULT
};

fn llen(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = cx.keys.read_as::<List>(args.at(1))?.map_or(0, |list| list.len());
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) const LRANGE: Command = Command {
    name: "lrange",
    arity: 4,
    flags: flag::READONLY,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(S+N) where S is the distance of the start from the nearer end and N the number of elements replied",
    summary: "Replies with the elements of a list between two indexes.",
    arguments: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    handler: lrange,
    ..Command::DEFAULT
};

fn lrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    let Some(list) = cx.keys.read_as::<List>(args.at(1))? else {
        cx.reply.array(0);
        return Ok(());
    };
    let places = span(start, stop, list.len());
    cx.reply.array(places.len());
    list.visit(places.start, places.len(), |value| reply_value(cx.reply, value));
    Ok(())
}

pub(super) const LINDEX: Command = Command {
    name: "lindex",
    arity: 3,
    flags: flag::READONLY,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements between the index and the nearer end",
    summary: "Replies with the element of a list at an index.",
    arguments: &[Arg::key("key"), Arg::integer("index")],
    handler: lindex,
    ..Command::DEFAULT
};

fn lindex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some(list) = cx.keys.read_as::<List>(args.at(1))? else {
        cx.reply.null();
        return Ok(());
    };
    // Valkey looks at the index only once there is a list.
    let place = list.place(integer(args.at(2))?);
    if place.and_then(|place| list.get(place, |value| reply_value(cx.reply, value))).is_none() {
        cx.reply.null();
    }
    Ok(())
}

pub(super) const LPOS: Command = Command {
    name: "lpos",
    arity: -3,
    flags: flag::READONLY,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::List,
    since: "6.0.6",
    complexity: "O(N) where N is the number of elements looked at: to the last match that is wanted, or MAXLEN",
    summary: "Replies with the indexes of elements that equal a value.",
    arguments: &[
        Arg::key("key"),
        Arg::string("element"),
        Arg::integer("rank").token("RANK").optional(),
        Arg::integer("num-matches").token("COUNT").optional(),
        Arg::integer("len").token("MAXLEN").optional(),
    ],
    handler: lpos,
    ..Command::DEFAULT
};

fn lpos(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = Search::parse(args)?;
    let Some(list) = cx.keys.read_as::<List>(args.at(1))? else {
        match plan.count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    if plan.count.is_none() {
        let mut found = None;
        plan.run(&list, args.at(2), |place| found = Some(place));
        match found {
            Some(place) => cx.reply.int(place as i64),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let header = cx.reply.deferred();
    let matches = plan.run(&list, args.at(2), |place| cx.reply.int(place as i64));
    cx.reply.set_array(header, matches);
    Ok(())
}

/// The options of LPOS.
struct Search {
    direction: Direction,
    /// The first match that is wanted, from 1.
    rank: u64,
    /// How many matches are wanted, 0 for all; `None` for the one alone.
    count: Option<u64>,
    /// How many elements are looked at; 0 for all.
    max_len: u64,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut plan = Self { direction: Direction::Forward, rank: 1, count: None, max_len: 0 };
        let mut at = 3;
        while let Some(option) = args.get(at) {
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            if is_word(option, "rank") {
                plan.set_rank(value)?;
            } else if is_word(option, "count") {
                let count = integer_within(value, 0..=i64::MAX, CommandError::CountNegative)?;
                plan.count = Some(count.unsigned_abs());
            } else if is_word(option, "maxlen") {
                let max_len = integer_within(value, 0..=i64::MAX, CommandError::MaxlenNegative)?;
                plan.max_len = max_len.unsigned_abs();
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(plan)
    }

    fn set_rank(&mut self, value: &[u8]) -> Result<(), CommandError> {
        let rank = integer(value)?;
        if rank == i64::MIN {
            return Err(CommandError::OutOfLimits(-i64::MAX, i64::MAX));
        }
        if rank == 0 {
            return Err(CommandError::RankZero);
        }
        self.direction = if rank < 0 { Direction::Backward } else { Direction::Forward };
        self.rank = rank.unsigned_abs();
        Ok(())
    }

    /// Gives the places of the wanted matches to `found`, and returns how many it were.
    fn run(&self, list: &List, text: &[u8], mut found: impl FnMut(usize)) -> usize {
        let len = list.len();
        let wanted = match self.count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let most =
            if self.max_len == 0 { len } else { usize::try_from(self.max_len).unwrap_or(len).min(len) };
        let first = if self.direction == Direction::Forward { 0 } else { len.saturating_sub(1) };
        let needle = Needle::new(text);
        let mut cursor = list.cursor(first, self.direction);
        let (mut matches, mut replied) = (0, 0);
        for index in 0..most {
            let Some(value) = cursor.next() else { break };
            if !needle.is(value) {
                continue;
            }
            matches += 1;
            if matches < self.rank {
                continue;
            }
            found(if self.direction == Direction::Forward { index } else { len - 1 - index });
            replied += 1;
            if replied as u64 == wanted {
                break;
            }
        }
        replied
    }
}
