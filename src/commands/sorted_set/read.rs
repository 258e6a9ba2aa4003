//! ZCARD, ZSCORE, ZMSCORE, ZCOUNT, ZLEXCOUNT, ZRANK, ZREVRANK, ZSCAN: what asks for figures and single members.

use super::{lex_range, score_range};
use crate::algorithms::numbers::format_f64;
use crate::commands::arguments::is_word;
use crate::commands::scan::{self, ScanOptions, ScanReply, Scanned};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::types::sorted_set::Order;
use crate::types::{Encoding, SortedSet};

pub(super) const ZCARD: Command = Command {
    name: "zcard",
    arity: 2,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Counts the members of a sorted set.",
    arguments: &[Arg::key("key")],
    handler: zcard,
    ..Command::DEFAULT
};

fn zcard(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = cx.keys.read_as::<SortedSet>(args.at(1))?.map_or(0, |set| set.len());
    cx.reply.int(count as i64);
    Ok(())
}

pub(super) const ZSCORE: Command = Command {
    name: "zscore",
    arity: 3,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Gives the score of a member.",
    arguments: &[Arg::key("key"), Arg::string("member")],
    handler: zscore,
    ..Command::DEFAULT
};

fn zscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    match set.and_then(|set| set.score(args.at(2))) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) const ZMSCORE: Command = Command {
    name: "zmscore",
    arity: -3,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N), N members asked for.",
    summary: "Gives the scores of several members.",
    arguments: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: zmscore,
    ..Command::DEFAULT
};

fn zmscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members.iter() {
        match set.as_ref().and_then(|set| set.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

pub(super) const ZCOUNT: Command = Command {
    name: "zcount",
    arity: 4,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N)), N members in the set.",
    summary: "Counts the members whose scores are in a range.",
    arguments: &[Arg::key("key"), Arg::double("min"), Arg::double("max")],
    handler: zcount,
    ..Command::DEFAULT
};

fn zcount(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let range = score_range(args.at(2), args.at(3))?;
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    cx.reply.int(set.map_or(0, |set| set.score_ranks(&range).len()) as i64);
    Ok(())
}

pub(super) const ZLEXCOUNT: Command = Command {
    name: "zlexcount",
    arity: 4,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.8.9",
    complexity: "O(log(N)), N members in the set.",
    summary: "Counts the members in a range of members, where all scores are the same.",
    arguments: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
    handler: zlexcount,
    ..Command::DEFAULT
};

fn zlexcount(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let range = lex_range(args.at(2), args.at(3))?;
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    cx.reply.int(set.map_or(0, |set| set.lex_ranks(&range).len()) as i64);
    Ok(())
}

pub(super) const ZRANK: Command = Command {
    name: "zrank",
    arity: -3,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N)), N members in the set.",
    summary: "Gives how many members come before a member, from the lowest score up.",
    arguments: &[Arg::key("key"), Arg::string("member"), Arg::flag("withscore", "WITHSCORE").optional()],
    history: &[("7.2.0", "New option: `WITHSCORE`.")],
    handler: zrank,
    ..Command::DEFAULT
};

fn zrank(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_rank(cx, args, Order::Ascending)
}

pub(super) const ZREVRANK: Command = Command {
    name: "zrevrank",
    arity: -3,
    flags: flag::FAST | flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.0.0",
    complexity: "O(log(N)), N members in the set.",
    summary: "Gives how many members come before a member, from the highest score down.",
    arguments: &[Arg::key("key"), Arg::string("member"), Arg::flag("withscore", "WITHSCORE").optional()],
    history: &[("7.2.0", "New option: `WITHSCORE`.")],
    handler: zrevrank,
    ..Command::DEFAULT
};

fn zrevrank(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_rank(cx, args, Order::Descending)
}

fn reply_rank(cx: &mut Context<'_>, args: Args<'_>, order: Order) -> Outcome {
    let with_score = match args.len() {
        3 => false,
        4 if is_word(args.at(3), "withscore") => true,
        4 => return Err(CommandError::Syntax),
        _ => return Err(CommandError::WrongArity(cx.command.full_name.as_str().into())),
    };
    let set = cx.keys.read_as::<SortedSet>(args.at(1))?;
    let Some((rank, score, len)) =
        set.and_then(|set| set.rank(args.at(2)).map(|(rank, score)| (rank, score, set.len())))
    else {
        if with_score {
            cx.reply.null_array()
        } else {
            cx.reply.null()
        }
        return Ok(());
    };
    let rank = if order == Order::Ascending { rank } else { len - 1 - rank };
    if with_score {
        cx.reply.array(2);
    }
    cx.reply.int(rank as i64);
    if with_score {
        cx.reply.double(score);
    }
    Ok(())
}

pub(super) const ZSCAN: Command = Command {
    name: "zscan",
    arity: -3,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    since: "2.8.0",
    complexity: "O(1) a call, O(N) for all N members.",
    summary: "Goes through members and scores step by step.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::flag("noscores", "NOSCORES").optional(),
    ],
    history: &[("8.0.0", "New option: `NOSCORES`.")],
    tips: &["nondeterministic_output"],
    handler: zscan,
    ..Command::DEFAULT
};

fn zscan(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = scan::cursor(args.at(2))?;
    let Some(set) = cx.keys.read_as::<SortedSet>(args.at(1))? else {
        scan::reply_empty(cx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Scanned::SortedSet)?;
    let mut found = ScanReply::new(cx.reply);
    let large = set.encoding() == Encoding::Skiplist;
    let next = options.walk(cursor, |cursor| {
        let mut seen = 0;
        let next = set.scan(cursor, |member, score| {
            seen += 1;
            if options.matches(member) {
                found.push(member);
                if !options.only_keys && large {
                    found.push(&seventeen_digits(score));
                } else if !options.only_keys {
                    found.push(format_f64(score).as_bytes());
                }
            }
        });
        (next, seen)
    });
    found.finish(next, cx.reply);
    Ok(())
}

/// A score as ZSCAN prints it for a large sorted set: C's `%.17g`, unlike every other reply.
fn seventeen_digits(score: f64) -> Vec<u8> {
    const DIGITS: i32 = 17;
    if !score.is_finite() {
        return format_f64(score).as_bytes().to_vec();
    }
    let scientific = format!("{score:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let text = format!("{score:.*}", (DIGITS - 1 - exponent).unsigned_abs() as usize);
        return without_trailing_zeros(&text).as_bytes().to_vec();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_trailing_zeros(digits), exponent.unsigned_abs()).into_bytes()
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanned_scores_have_seventeen_digits() {
        for (score, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e-5, "1.5e-05"),
            (0.00012, "0.00012"),
            (1e300, "1.0000000000000001e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(String::from_utf8_lossy(&seventeen_digits(score)), text);
        }
    }
}
