//! SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD.

use super::super::arguments::{integer_within, is_word};
use super::{SET_COMMAND, write_member};
use crate::algorithms::hash::hash;
use crate::config::EventClasses;
use crate::keyspace::{Entry, Keys, ValueRef};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, KeySpec, Outcome, flag, key_flag};
use crate::types::Set;
use crate::types::set::{MemberRef, Start, difference, intersect, union};

const READ_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1, key_flag::RO | key_flag::ACCESS)];
const READ_ARGUMENTS: &[Arg] = &[Arg::key("key").multiple()];
const STORE_KEYS: &[KeySpec] = &[
    KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
    KeySpec::range(2, -1, 1, key_flag::RO | key_flag::ACCESS),
];
const STORE_ARGUMENTS: &[Arg] = &[Arg::key("destination"), Arg::key("key").of_key_spec(1).multiple()];
const INTERSECTION_COMPLEXITY: &str =
    "O(N*M) at worst, with N the members of the smallest set and M the number of sets.";
const ALL_MEMBERS_COMPLEXITY: &str = "O(N) with N the members of all sets together.";

/// A command that replies the result.
const READ: Command = Command {
    arity: -2,
    flags: flag::READONLY,
    keys: READ_KEYS,
    arguments: READ_ARGUMENTS,
    tips: &["nondeterministic_output_order"],
    ..SET_COMMAND
};

/// A command that stores the result.
const STORE: Command = Command {
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: STORE_KEYS,
    arguments: STORE_ARGUMENTS,
    ..SET_COMMAND
};

/// The sets under several keys at once; `None` for a key that is absent.
fn read_sets<'k, 'a>(
    keys: &'k mut Keys<'_>,
    names: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Vec<Option<ValueRef<'k, Set>>>, CommandError> {
    // Each look-up may delete what has expired and move others, so all of them come first.
    for name in names.clone() {
        keys.read_as::<Set>(name)?;
    }
    let keys: &'k Keys<'_> = keys;
    let table = keys.db().table();
    let find = |name: &[u8]| ValueRef::of(&table.get(table.find(hash(name), name)?));
    Ok(names.map(find).collect())
}

/// All sets, or `None` if one is absent: then nothing is in all of them.
fn all_present<'s>(sets: &'s [Option<ValueRef<'_, Set>>]) -> Option<Vec<&'s Set>> {
    sets.iter().map(|set| set.as_deref()).collect()
}

fn present<'s>(sets: &'s [Option<ValueRef<'_, Set>>]) -> Vec<&'s Set> {
    sets.iter().filter_map(|set| set.as_deref()).collect()
}

/// The members of the first set that are in no other.
fn difference_of<'s>(sets: &'s [Option<ValueRef<'_, Set>>]) -> Vec<MemberRef<'s>> {
    match sets.split_first() {
        Some((Some(first), others)) => difference(first, &present(others)),
        _ => Vec::new(),
    }
}

/// Makes `destination` hold the result, or nothing when it is empty, and replies how many members that is.
fn store(cx: &mut Context<'_>, destination: &[u8], event: &'static str, result: Set) {
    let count = result.len();
    if count > 0 {
        cx.keys.put(destination, Entry::collection(destination, result, None));
        cx.changed(EventClasses::SET, event, destination);
    } else if cx.keys.remove_any(destination).is_some() {
        cx.changed(EventClasses::GENERIC, "del", destination);
    }
    cx.reply.int(count as i64);
}

pub(super) const SINTER: Command = Command {
    name: "sinter",
    complexity: INTERSECTION_COMPLEXITY,
    summary: "Replies the members that are in all of several sets.",
    handler: sinter,
    ..READ
};

fn sinter(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let sets = read_sets(&mut cx.keys, args.from(1).iter())?;
    let Some(sets) = all_present(&sets) else {
        cx.reply.set(0);
        return Ok(());
    };
    let length = cx.reply.deferred();
    let mut count = 0;
    intersect(&sets, |member| {
        write_member(cx.reply, member);
        count += 1;
        true
    });
    cx.reply.set_set(length, count);
    Ok(())
}

pub(super) const SINTERSTORE: Command = Command {
    name: "sinterstore",
    complexity: INTERSECTION_COMPLEXITY,
    summary: "Stores the members that are in all of several sets as a set.",
    handler: sinterstore,
    ..STORE
};

fn sinterstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let limits = cx.server.limits.set;
    let sets = read_sets(&mut cx.keys, args.from(2).iter())?;
    let mut members = Vec::new();
    let start = all_present(&sets).map_or(Start::Intset, |sets| {
        intersect(&sets, |member| {
            members.push(member);
            true
        })
    });
    let result = Set::of_result(&members, start, &limits);
    drop(members);
    drop(sets);
    store(cx, args.at(1), "sinterstore", result);
    Ok(())
}

pub(super) const SINTERCARD: Command = Command {
    name: "sintercard",
    arity: -3,
    flags: flag::READONLY | flag::MOVABLE_KEYS,
    keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
    since: "7.0.0",
    complexity: INTERSECTION_COMPLEXITY,
    summary: "Replies how many members are in all of several sets.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("limit").token("LIMIT").optional(),
    ],
    handler: sintercard,
    ..SET_COMMAND
};

fn sintercard(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = integer_within(args.at(1), 1..=i64::MAX, CommandError::NumkeysNotPositive)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > args.len() - 2 {
        return Err(CommandError::KeysBeyondArguments);
    }
    let limit = parse_limit(args.from(2 + count))?;
    let sets = read_sets(&mut cx.keys, args.from(2).iter().take(count))?;
    let mut found = 0;
    if let Some(sets) = all_present(&sets) {
        intersect(&sets, |_| {
            found += 1;
            found != limit
        });
    }
    cx.reply.int(found);
    Ok(())
}

/// The last LIMIT of the options; 0 for none.
fn parse_limit(options: Args<'_>) -> Result<i64, CommandError> {
    let mut limit = 0;
    let mut options = options.iter();
    while let Some(word) = options.next() {
        let value = options.next().filter(|_| is_word(word, "limit")).ok_or(CommandError::Syntax)?;
        limit = integer_within(value, 0..=i64::MAX, CommandError::LimitNegative)?;
    }
    Ok(limit)
}

pub(super) const SUNION: Command = Command {
    name: "sunion",
    complexity: ALL_MEMBERS_COMPLEXITY,
    summary: "Replies the members that are in any of several sets.",
    handler: sunion,
    ..READ
};

fn sunion(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let sets = read_sets(&mut cx.keys, args.from(1).iter())?;
    let members = union(&present(&sets));
    cx.reply.set(members.len());
    members.into_iter().for_each(|member| write_member(cx.reply, member));
    Ok(())
}

pub(super) const SUNIONSTORE: Command = Command {
    name: "sunionstore",
    complexity: ALL_MEMBERS_COMPLEXITY,
    summary: "Stores the members that are in any of several sets as a set.",
    handler: sunionstore,
    ..STORE
};

fn sunionstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let limits = cx.server.limits.set;
    let sets = read_sets(&mut cx.keys, args.from(2).iter())?;
    let result = Set::of_result(&union(&present(&sets)), Start::Intset, &limits);
    drop(sets);
    store(cx, args.at(1), "sunionstore", result);
    Ok(())
}

pub(super) const SDIFF: Command = Command {
    name: "sdiff",
    complexity: ALL_MEMBERS_COMPLEXITY,
    summary: "Replies the members of the first set that are in none of the others.",
    handler: sdiff,
    ..READ
};

fn sdiff(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let sets = read_sets(&mut cx.keys, args.from(1).iter())?;
    let members = difference_of(&sets);
    cx.reply.set(members.len());
    members.into_iter().for_each(|member| write_member(cx.reply, member));
    Ok(())
}

pub(super) const SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    complexity: ALL_MEMBERS_COMPLEXITY,
    summary: "Stores the members of the first set that are in none of the others as a set.",
    handler: sdiffstore,
    ..STORE
};

fn sdiffstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let limits = cx.server.limits.set;
    let sets = read_sets(&mut cx.keys, args.from(2).iter())?;
    let result = Set::of_result(&difference_of(&sets), Start::Intset, &limits);
    drop(sets);
    store(cx, args.at(1), "sdiffstore", result);
    Ok(())
}
