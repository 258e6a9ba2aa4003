//! SPOP and SRANDMEMBER.

use super::super::{arguments, expiry::deletion};
use super::{KEY, SET_COMMAND, write_member};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, KeySpec, Outcome, Request, flag, key_flag};
use crate::types::Set;

pub(super) const SPOP: Command = Command {
    name: "spop",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    complexity: "O(1) without a count, else O(N) with N the count.",
    summary: "Takes random members out of a set and replies them; the key goes with the last one.",
    arguments: &[KEY, Arg::integer("count").since("3.2.0").optional()],
    history: &[("3.2.0", "A `count` can be given.")],
    tips: &["nondeterministic_output"],
    handler: spop,
    ..SET_COMMAND
};

fn spop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        2 => spop_one(cx, args.at(1)),
        3 => spop_many(cx, args.at(1), arguments::count(args.at(2))?),
        _ => Err(CommandError::Syntax),
    }
}

fn spop_one(cx: &mut Context<'_>, key: &[u8]) -> Outcome {
    let mut rng = cx.keys.keyspace.random().fork();
    let Some(mut set) = cx.keys.write_as::<Set>(key)? else {
        cx.reply.null();
        return Ok(());
    };
    let mut popped = Vec::new();
    let tells = cx.server.propagation.listens();
    set.pop(&mut rng, |member| {
        if tells {
            popped.extend_from_slice(member.as_bytes(&mut itoa::Buffer::new()));
        }
        write_member(cx.reply, member);
    });
    let emptied = set.is_empty();
    drop(set);
    cx.propagate_as(&[b"SREM", key, &popped]);
    cx.changed(EventClasses::SET, "spop", key);
    if emptied {
        cx.delete_emptied(key);
    }
    Ok(())
}

fn spop_many(cx: &mut Context<'_>, key: &[u8], count: usize) -> Outcome {
    let limits = cx.server.limits.set;
    let mut rng = cx.keys.keyspace.random().fork();
    let Some(mut set) = cx.keys.write_as::<Set>(key)? else {
        cx.reply.set(0);
        return Ok(());
    };
    let popped = count.min(set.len());
    let takes_all = popped == set.len();
    cx.reply.set(popped);
    let mut taken = Request::default();
    let tells = cx.server.propagation.listens();
    if takes_all {
        set.for_each_member(|member| write_member(cx.reply, member));
    } else if popped > 0 {
        set.pop_many(popped, &mut rng, &limits, |member| {
            if tells {
                taken.push(member.as_bytes(&mut itoa::Buffer::new()));
            }
            write_member(cx.reply, member);
        });
    }
    drop(set);
    if takes_all {
        cx.propagate_as(&[deletion(cx.server.config.lazyfree_lazy_server_del), key]);
    } else {
        tell_taken(cx, key, taken.args());
    }
    if popped > 0 {
        cx.changed(EventClasses::SET, "spop", key);
        cx.count_changes(popped - 1);
    }
    if takes_all {
        cx.delete_emptied(key);
    }
    Ok(())
}

/// Tells which members SPOP took.
fn tell_taken(cx: &mut Context<'_>, key: &[u8], mut taken: Args<'_>) {
    /// Members that one request takes away at most.
    const MEMBERS: usize = 1024;
    while !taken.is_empty() {
        let mut words = vec![b"SREM".as_slice(), key];
        words.extend(taken.iter().take(MEMBERS));
        cx.propagate_as(&words);
        taken = taken.from(MEMBERS);
    }
}

pub(super) const SRANDMEMBER: Command = Command {
    name: "srandmember",
    arity: -2,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    complexity: "O(1) without a count, else O(N) with N the absolute value of the count.",
    summary: "Replies random members of a set.",
    arguments: &[KEY, Arg::integer("count").since("2.6.0").optional()],
    history: &[("2.6.0", "A `count` can be given.")],
    tips: &["nondeterministic_output"],
    handler: srandmember,
    ..SET_COMMAND
};

fn srandmember(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        2 => srandmember_one(cx, args.at(1)),
        3 => {
            let count = arguments::integer(args.at(2))?;
            if count == i64::MIN {
                return Err(CommandError::OutOfLimits(-i64::MAX, i64::MAX));
            }
            srandmember_many(cx, args.at(1), count)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn srandmember_one(cx: &mut Context<'_>, key: &[u8]) -> Outcome {
    let mut rng = cx.keys.keyspace.random().fork();
    let set = cx.keys.read_as::<Set>(key)?;
    match set.as_ref().and_then(|set| set.random(&mut rng)) {
        Some(member) => write_member(cx.reply, member),
        None => cx.reply.null(),
    }
    Ok(())
}

/// A negative count asks for as many members, the same one as often as it comes.
fn srandmember_many(cx: &mut Context<'_>, key: &[u8], count: i64) -> Outcome {
    let number = cx.elements_worth(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX));
    let mut rng = cx.keys.keyspace.random().fork();
    let Some(set) = cx.keys.read_as::<Set>(key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    if count < 0 {
        cx.reply.array(number);
        set.draw(number, &mut rng, |member| write_member(cx.reply, member));
    } else if number >= set.len() {
        cx.reply.array(set.len());
        set.for_each_member(|member| write_member(cx.reply, member));
    } else {
        let sample = set.sample(number, &mut rng);
        cx.reply.array(sample.len());
        sample.into_iter().for_each(|member| write_member(cx.reply, member));
    }
    Ok(())
}
