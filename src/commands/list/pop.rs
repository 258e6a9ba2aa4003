//! LPOP, RPOP, LMPOP.

use super::{ENDS, first_list, parse_end, pop_into_array, pop_of, popped, reply_value};
use crate::commands::arguments::{count, integer_within, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::structures::quicklist::End;
use crate::types::List;

pub(super) const LPOP: Command = Command {
    name: "lpop",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements popped",
    summary: "Takes elements away from the head of a list and replies with them; the list goes with its last element.",
    arguments: &[Arg::key("key"), Arg::integer("count").since("6.2.0").optional()],
    history: &[("6.2.0", "The `count` argument.")],
    handler: lpop,
    ..Command::DEFAULT
};

fn lpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, End::Head)
}

pub(super) const RPOP: Command = Command {
    name: "rpop",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements popped",
    summary: "Takes elements away from the tail of a list and replies with them; the list goes with its last element.",
    arguments: &[Arg::key("key"), Arg::integer("count").since("6.2.0").optional()],
    history: &[("6.2.0", "The `count` argument.")],
    handler: rpop,
    ..Command::DEFAULT
};

fn rpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, End::Tail)
}

fn pop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let key = args.at(1);
    let wanted = match args.len() {
        2 => None,
        3 => Some(count(args.at(2))?),
        _ => return Err(CommandError::WrongArity(cx.command.full_name.as_str().into())),
    };
    let limits = cx.server.limits.list;
    let Some(mut list) = cx.keys.write_as::<List>(key)? else {
        match wanted {
            Some(_) => cx.reply.null_array(),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let taken = match wanted {
        Some(0) => {
            cx.reply.array(0);
            return Ok(());
        }
        Some(count) => pop_into_array(cx.reply, &mut list, end, count, limits),
        None => {
            list.pop(end, limits, |value| reply_value(cx.reply, value));
            1
        }
    };
    let emptied = list.is_empty();
    drop(list);
    popped(cx, key, end, taken, emptied);
    Ok(())
}

pub(super) const LMPOP: Command = Command {
    name: "lmpop",
    arity: -4,
    flags: flag::WRITE | flag::MOVABLE_KEYS,
    categories: category::LIST,
    keys: &[KeySpec::counted(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
    group: Group::List,
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of keys and M the number of elements popped",
    summary: "Takes elements away from an end of the first list that exists and replies with them.",
    arguments: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", ENDS),
        Arg::integer("count").token("COUNT").optional(),
    ],
    handler: lmpop,
    ..Command::DEFAULT
};

fn lmpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = MultiPop::parse(args, 1)?;
    if !plan.run(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}

/// What LMPOP and BLMPOP are asked to do.
pub(super) struct MultiPop<'a> {
    /// The request from the first key on.
    from_keys: Args<'a>,
    numkeys: usize,
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    /// Parses the arguments from the number of keys on.
    ///
    /// # Errors
    /// Those of Valkey, in its order.
    pub(super) fn parse(args: Args<'a>, numkeys_at: usize) -> Result<Self, CommandError> {
        let numkeys = integer_within(args.at(numkeys_at), 1..=i64::MAX, CommandError::NumkeysNotPositive)?;
        let numkeys = usize::try_from(numkeys).unwrap_or(usize::MAX);
        let end_at = numkeys.saturating_add(numkeys_at + 1);
        let end = parse_end(args.get(end_at).ok_or(CommandError::Syntax)?)?;
        let mut count = None;
        let mut at = end_at + 1;
        while let Some(option) = args.get(at) {
            let value = args.get(at + 1).filter(|_| count.is_none() && is_word(option, "count"));
            let value = value.ok_or(CommandError::Syntax)?;
            count = Some(integer_within(value, 1..=i64::MAX, CommandError::CountNotPositive)?);
            at += 2;
        }
        let count = usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX);
        Ok(Self { from_keys: args.from(numkeys_at + 1), numkeys, end, count })
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.from_keys.iter().take(self.numkeys)
    }

    /// Pops from the first list that exists; `false`, and no reply, when there is none.
    ///
    /// # Errors
    /// WRONGTYPE when a key that comes first holds another type.
    pub(super) fn run(&self, cx: &mut Context<'_>) -> Result<bool, CommandError> {
        let limits = cx.server.limits.list;
        let Some(key) = first_list(cx, self.keys())? else { return Ok(false) };
        let Some(mut list) = cx.keys.write_as::<List>(key)? else { return Ok(false) };
        cx.reply.array(2);
        cx.reply.bulk(key);
        let taken = pop_into_array(cx.reply, &mut list, self.end, self.count, limits);
        let emptied = list.is_empty();
        drop(list);
        popped(cx, key, self.end, taken, emptied);
        cx.propagate_as(&[pop_of(self.end), key, itoa::Buffer::new().format(taken).as_bytes()]);
        Ok(true)
    }
}
