//! SADD, SREM, SMOVE.

use super::{KEY, SET_COMMAND};
use crate::config::EventClasses;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, KeySpec, Outcome, flag, key_flag};
use crate::types::Set;

pub(super) const SADD: Command = Command {
    name: "sadd",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    complexity: "O(N) with N the number of members given.",
    summary: "Adds members to a set, which is made if there is none.",
    arguments: &[KEY, Arg::string("member").multiple()],
    history: &[("2.4.0", "More than one `member` can be given.")],
    handler: sadd,
    ..SET_COMMAND
};

fn sadd(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let limits = cx.server.limits.set;
    let (key, members) = (args.at(1), args.from(2));
    let create = || Set::for_member(members.at(0), members.len(), &limits);
    let mut set = cx.keys.write_or_create(key, create)?;
    set.expect(members.len(), &limits);
    let added = members.iter().filter(|member| set.insert((*member).into(), &limits)).count();
    drop(set);
    if added > 0 {
        cx.changed(EventClasses::SET, "sadd", key);
        cx.count_changes(added - 1);
    }
    cx.reply.int(added as i64);
    Ok(())
}

pub(super) const SREM: Command = Command {
    name: "srem",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    complexity: "O(N) with N the number of members given.",
    summary: "Takes members out of a set; the key goes with the last one.",
    arguments: &[KEY, Arg::string("member").multiple()],
    history: &[("2.4.0", "More than one `member` can be given.")],
    handler: srem,
    ..SET_COMMAND
};

fn srem(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let Some(mut set) = cx.keys.write_as::<Set>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = args.from(2).iter().filter(|member| set.remove((*member).into())).count();
    let emptied = set.is_empty();
    drop(set);
    if removed > 0 {
        cx.changed(EventClasses::SET, "srem", key);
        cx.count_changes(removed - 1);
    }
    if emptied {
        cx.delete_emptied(key);
    }
    cx.reply.int(removed as i64);
    Ok(())
}

pub(super) const SMOVE: Command = Command {
    name: "smove",
    arity: 4,
    flags: flag::WRITE | flag::FAST,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::RW | key_flag::INSERT),
    ],
    summary: "Moves a member from one set to another.",
    arguments: &[Arg::key("source"), Arg::key("destination").of_key_spec(1), Arg::string("member")],
    handler: smove,
    ..SET_COMMAND
};

fn smove(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (source, destination, member) = (args.at(1), args.at(2), args.at(3));
    if cx.keys.write_as::<Set>(source)?.is_none() {
        cx.reply.int(0);
        return Ok(());
    }
    // The destination's type is checked before anything moves.
    cx.keys.write_as::<Set>(destination)?;
    let Some(mut from) = cx.keys.write_as::<Set>(source)? else { return Ok(()) };
    let moves = source != destination;
    let found = if moves { from.remove(member.into()) } else { from.contains(member.into()) };
    let emptied = from.is_empty();
    drop(from);
    if found && moves {
        cx.changed(EventClasses::SET, "srem", source);
        if emptied {
            cx.delete_emptied(source);
        }
        let limits = cx.server.limits.set;
        let mut to = cx.keys.write_or_create(destination, || Set::for_member(member, 1, &limits))?;
        let added = to.insert(member.into(), &limits);
        drop(to);
        if added {
            cx.changed(EventClasses::SET, "sadd", destination);
        }
    }
    cx.reply.int(i64::from(found));
    Ok(())
}
