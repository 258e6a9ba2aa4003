//! SCARD, SISMEMBER, SMISMEMBER, SMEMBERS, SSCAN.

use super::super::scan::{self, ScanOptions, ScanReply, Scanned};
use super::{KEY, SET_COMMAND, write_member};
use crate::server::Context;
use crate::server::command::{Arg, ArgKind, Args, Command, KeySpec, Outcome, flag, key_flag};
use crate::types::Set;

pub(super) const SCARD: Command = Command {
    name: "scard",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RO)],
    summary: "Replies how many members a set has.",
    arguments: &[KEY],
    handler: scard,
    ..SET_COMMAND
};

fn scard(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = cx.keys.read_as::<Set>(args.at(1))?.map_or(0, |set| set.len());
    cx.reply.int(count as i64);
    Ok(())
}

pub(super) const SISMEMBER: Command = Command {
    name: "sismember",
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RO)],
    summary: "Replies whether a set has a member.",
    arguments: &[KEY, Arg::string("member")],
    handler: sismember,
    ..SET_COMMAND
};

fn sismember(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let set = cx.keys.read_as::<Set>(args.at(1))?;
    let found = set.is_some_and(|set| set.contains(args.at(2).into()));
    cx.reply.int(i64::from(found));
    Ok(())
}

pub(super) const SMISMEMBER: Command = Command {
    name: "smismember",
    arity: -3,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "6.2.0",
    complexity: "O(N) with N the number of members given.",
    summary: "Replies for each of several members whether a set has it.",
    arguments: &[KEY, Arg::string("member").multiple()],
    handler: smismember,
    ..SET_COMMAND
};

fn smismember(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let set = cx.keys.read_as::<Set>(args.at(1))?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members.iter() {
        let found = set.as_ref().is_some_and(|set| set.contains(member.into()));
        cx.reply.int(i64::from(found));
    }
    Ok(())
}

pub(super) const SMEMBERS: Command = Command {
    name: "smembers",
    arity: 2,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    complexity: "O(N) with N the number of members.",
    summary: "Replies all members of a set.",
    arguments: &[KEY],
    tips: &["nondeterministic_output_order"],
    handler: smembers,
    ..SET_COMMAND
};

fn smembers(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match cx.keys.read_as::<Set>(args.at(1))? {
        None => cx.reply.set(0),
        Some(set) => {
            cx.reply.set(set.len());
            set.for_each_member(|member| write_member(cx.reply, member));
        }
    }
    Ok(())
}

pub(super) const SSCAN: Command = Command {
    name: "sscan",
    arity: -3,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for a whole iteration, with N the number of members.",
    summary: "Iterates over the members of a set.",
    arguments: &[
        KEY,
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: sscan,
    ..SET_COMMAND
};

fn sscan(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = scan::cursor(args.at(2))?;
    let Some(set) = cx.keys.read_as::<Set>(args.at(1))? else {
        scan::reply_empty(cx.reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, 3, Scanned::Set)?;
    let mut found = ScanReply::new(cx.reply);
    let next = options.walk(cursor, |cursor| {
        let mut seen = 0;
        let next = set.scan(cursor, |member| {
            seen += 1;
            let mut buffer = itoa::Buffer::new();
            let bytes = member.as_bytes(&mut buffer);
            if options.matches(bytes) {
                found.push(bytes);
            }
        });
        (next, seen)
    });
    found.finish(next, cx.reply);
    Ok(())
}
