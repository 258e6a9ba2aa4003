//! XACK and XPENDING: what was delivered to a group's consumers and is not acknowledged.

use super::{interval_end, interval_start, no_group, reply_id, strict_ids};
use crate::commands::arguments::{integer, is_word};
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Stream;
use crate::types::stream::{self, Pending, StreamId};

pub(super) const XACK: Command = Command {
    name: "xack",
    arity: -4,
    flags: flag::WRITE | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(log N) for each id where N is the number of pending entries",
    summary: "Acknowledges entries for a group and replies with the number of those that were pending.",
    arguments: &[Arg::key("key"), Arg::string("group"), Arg::string("id").multiple()],
    handler: xack,
    ..Command::DEFAULT
};

fn xack(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    // As in Valkey, the look-up is a reader's: it counts as a hit or a miss.
    let _ = cx.keys.read_untouched(args.at(1));
    let mut stream = cx.keys.write_as::<Stream>(args.at(1))?;
    let Some(group) = stream.as_mut().and_then(|stream| stream.groups.get_mut(args.at(2))) else {
        cx.reply.int(0);
        return Ok(());
    };
    let ids = strict_ids(args.from(3).iter())?;
    let acknowledged = ids.into_iter().filter(|id| group.acknowledge(*id)).count();
    drop(stream);
    cx.reply.int(acknowledged as i64);
    cx.count_changes(acknowledged);
    Ok(())
}

pub(super) const XPENDING: Command = Command {
    name: "xpending",
    arity: -3,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries looked at; without a range, the number of consumers",
    summary: "Replies with the entries of a group that are pending, or with a summary of them.",
    arguments: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::block(
            "filters",
            &[
                Arg::integer("min-idle-time").token("IDLE").since("6.2.0").optional(),
                Arg::string("start"),
                Arg::string("end"),
                Arg::integer("count"),
                Arg::string("consumer").optional(),
            ],
        )
        .optional(),
    ],
    history: &[("6.2.0", "The option `IDLE`; intervals may leave out their ends.")],
    tips: &["nondeterministic_output"],
    handler: xpending,
    ..Command::DEFAULT
};

fn xpending(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let filters = if args.len() == 3 { None } else { Some(Filters::parse(args)?) };
    let now_ms = cx.now_ms();
    let stream = cx.keys.read_as::<Stream>(args.at(1))?;
    let group = stream.as_ref().and_then(|stream| stream.groups.get(args.at(2)));
    let Some(group) = group else { return Err(no_group(args.at(1), args.at(2))) };
    match filters {
        None => reply_summary(cx.reply, group),
        Some(filters) => filters.reply_range(cx.reply, group, now_ms),
    }
    Ok(())
}

fn reply_summary(reply: &mut Reply, group: &stream::Group) {
    reply.array(4);
    reply.int(group.pending_len() as i64);
    let first = group.pending_from(StreamId::MIN).next();
    let (Some(first), Some(last)) = (first, group.last_pending()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first.id);
    reply_id(reply, last.id);
    let header = reply.deferred();
    let mut count = 0;
    for consumer in group.consumers().filter(|consumer| consumer.pending_len() > 0) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending_len() as i64);
        count += 1;
    }
    reply.set_array(header, count);
}

/// Which pending entries are wanted.
struct Filters<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filters<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        if !(6..=9).contains(&args.len()) {
            return Err(CommandError::Syntax);
        }
        let with_idle = is_word(args.at(3), "idle");
        let min_idle_ms = if with_idle { integer(args.at(4))? } else { 0 };
        if with_idle && args.len() < 8 {
            return Err(CommandError::Syntax);
        }
        let at = if with_idle { 5 } else { 3 };
        let count = usize::try_from(integer(args.at(at + 2))?).unwrap_or(0);
        let (start, end) = (interval_start(args.at(at))?, interval_end(args.at(at + 1))?);
        Ok(Self { min_idle_ms, start, end, count, consumer: args.get(at + 3) })
    }

    fn reply_range(&self, reply: &mut Reply, group: &stream::Group, now_ms: i64) {
        match self.consumer {
            None => self.reply_filtered(reply, group, group.pending_from(self.start), now_ms),
            Some(name) => {
                let consumer = group.find_consumer(name).and_then(|key| group.consumer(key));
                let ids = consumer.into_iter().flat_map(|consumer| consumer.pending_from(self.start));
                self.reply_filtered(reply, group, ids.filter_map(|id| group.find_pending(id)), now_ms);
            }
        }
    }

    fn reply_filtered<'g>(
        &self,
        reply: &mut Reply,
        group: &stream::Group,
        pending: impl Iterator<Item = &'g Pending>,
        now_ms: i64,
    ) {
        let header = reply.deferred();
        let idle_ms = |pending: &Pending| now_ms.saturating_sub(pending.delivered_ms);
        let idle_enough = |pending: &&Pending| self.min_idle_ms == 0 || idle_ms(pending) >= self.min_idle_ms;
        let within = pending.take_while(|pending| pending.id <= self.end);
        let mut count = 0;
        for pending in within.filter(idle_enough).take(self.count) {
            reply.array(4);
            reply_id(reply, pending.id);
            reply.bulk(group.owner(pending));
            reply.int(idle_ms(pending).max(0));
            reply.int(pending.deliveries.cast_signed());
            count += 1;
        }
        reply.set_array(header, count);
    }
}
