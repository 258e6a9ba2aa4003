//! XCLAIM and XAUTOCLAIM: pending entries go to another consumer.

use super::tell::GroupChanges;
use super::{interval_start, no_group, reply_entry, reply_id, strict_id};
use crate::commands::arguments::{integer_within, is_word};
use crate::config::EventClasses;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::types::Stream;
use crate::types::stream::{self, ConsumerKey, Log, Pending, StreamId};

pub(super) const XCLAIM: Command = Command {
    name: "xclaim",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(log N) for each id where N is the number of pending entries of the group",
    summary: "Makes a consumer the owner of pending entries, as if they were delivered to it.",
    arguments: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("id").multiple(),
        Arg::integer("ms").token("IDLE").optional(),
        Arg::new("unix-time-milliseconds", ArgKind::UnixTime).token("TIME").optional(),
        Arg::integer("count").token("RETRYCOUNT").optional(),
        Arg::flag("force", "FORCE").optional(),
        Arg::flag("justid", "JUSTID").optional(),
        Arg::string("lastid").token("LASTID").optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: xclaim,
    ..Command::DEFAULT
};

fn xclaim(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(1), args.at(2));
    let now_ms = cx.now_ms();
    let known = cx.keys.read_as::<Stream>(key)?.is_some_and(|stream| stream.groups.get(name).is_some());
    if !known {
        return Err(no_group(key, name));
    }
    let plan = Claim::parse(args, now_ms)?;
    let mut told = GroupChanges::new(cx);
    let claimed = in_group(cx, key, name, args.at(3), |reply, log, group, consumer| {
        let header = reply.deferred();
        let moved_on = plan.last_id > group.last_id;
        group.last_id = group.last_id.max(plan.last_id);
        let (mut count, mut changes) = (0, 0);
        for id in &plan.ids {
            match plan.claim(reply, log, group, consumer, *id, &mut told) {
                Claimed::Nothing => {}
                Claimed::Forgotten => changes += 1,
                Claimed::Replied => {
                    changes += 1;
                    count += 1;
                }
            }
        }
        reply.set_array(header, count);
        if changes > 0 || !moved_on {
            return changes;
        }
        told.moved_on(group);
        1
    })?;
    cx.count_changes(claimed);
    cx.propagate_nothing();
    told.tell(cx, key, name);
    Ok(())
}

/// Lets `act` change a group as a consumer, which is made if there is none; returns how much changed.
fn in_group(
    cx: &mut Context<'_>,
    key: &[u8],
    name: &[u8],
    consumer: &[u8],
    act: impl FnOnce(&mut Reply, &Log, &mut stream::Group, ConsumerKey) -> usize,
) -> Result<usize, CommandError> {
    let now_ms = cx.now_ms();
    let Some(mut stream) = cx.keys.write_as::<Stream>(key)? else { return Err(no_group(key, name)) };
    // Entries are read while the group changes.
    let mut groups = std::mem::take(&mut stream.groups);
    let mut changes = None;
    let mut created = false;
    if let Some(group) = groups.get_mut(name) {
        let found = group.find_consumer(consumer);
        created = found.is_none();
        if let Some(consumer) = found.or_else(|| group.create_consumer(consumer, now_ms)) {
            if let Some(consumer) = group.consumer_mut(consumer) {
                consumer.seen_ms = now_ms;
            }
            changes = Some(act(cx.reply, &stream, group, consumer));
        }
    }
    stream.groups = groups;
    drop(stream);
    let changes = changes.ok_or_else(|| no_group(key, name))?;
    if created {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    Ok(changes + usize::from(created))
}

/// What XCLAIM is to do.
struct Claim {
    now_ms: i64,
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    delivered_ms: i64,
    /// The number of deliveries to set.
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

/// What became of a pending entry.
enum Claimed {
    /// It stays as it is.
    Nothing,
    /// Its entry was deleted, so it is pending no longer.
    Forgotten,
    /// It was claimed, and is in the reply.
    Replied,
}

fn number(arg: &[u8], otherwise: CommandError) -> Result<i64, CommandError> {
    integer_within(arg, i64::MIN..=i64::MAX, otherwise)
}

impl Claim {
    fn parse(args: Args<'_>, now_ms: i64) -> Result<Self, CommandError> {
        let min_idle_ms = number(args.at(4), CommandError::XclaimMinIdle)?.max(0);
        // What is no id begins the options.
        let ids: Vec<_> = args.from(5).iter().map_while(|arg| strict_id(arg, 0).ok()).collect();
        let mut at = 5 + ids.len();
        let mut plan = Self {
            now_ms,
            min_idle_ms,
            ids,
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        };
        while let Some(option) = args.get(at) {
            at += 1;
            if is_word(option, "force") {
                plan.force = true;
                continue;
            }
            if is_word(option, "justid") {
                plan.just_id = true;
                continue;
            }
            let value = args.get(at).ok_or_else(|| CommandError::XclaimOption(option.into()))?;
            at += 1;
            if is_word(option, "idle") {
                plan.delivered_ms = now_ms.wrapping_sub(number(value, CommandError::XclaimIdle)?);
            } else if is_word(option, "time") {
                plan.delivered_ms = number(value, CommandError::XclaimTime)?;
            } else if is_word(option, "retrycount") {
                plan.deliveries = u64::try_from(number(value, CommandError::XclaimRetrycount)?).ok();
            } else if is_word(option, "lastid") {
                plan.last_id = strict_id(value, 0)?;
            } else {
                return Err(CommandError::XclaimOption(option.into()));
            }
        }
        // A time that cannot be right is not refused: clients reckon it by clocks of their own.
        if !(0..=now_ms).contains(&plan.delivered_ms) {
            plan.delivered_ms = now_ms;
        }
        Ok(plan)
    }

    fn claim(
        &self,
        reply: &mut Reply,
        log: &Log,
        group: &mut stream::Group,
        consumer: ConsumerKey,
        id: StreamId,
        told: &mut GroupChanges,
    ) -> Claimed {
        let Some(entry) = log.get(id) else {
            let Some(pending) = group.find_pending(id).copied() else { return Claimed::Nothing };
            told.claimed(group, pending);
            group.acknowledge(id);
            return Claimed::Forgotten;
        };
        let deliveries = match group.find_pending(id) {
            Some(pending) if self.now_ms.saturating_sub(pending.delivered_ms) < self.min_idle_ms => {
                return Claimed::Nothing;
            }
            Some(pending) => pending.deliveries,
            None if self.force => 1,
            None => return Claimed::Nothing,
        };
        let deliveries = self.deliveries.unwrap_or(deliveries.wrapping_add(u64::from(!self.just_id)));
        let pending = Pending { id, delivered_ms: self.delivered_ms, deliveries, consumer };
        group.set_pending(pending);
        told.claimed(group, pending);
        if let Some(consumer) = group.consumer_mut(consumer) {
            consumer.active_ms = self.now_ms;
        }
        if self.just_id {
            reply_id(reply, id)
        } else {
            reply_entry(reply, entry)
        }
        Claimed::Replied
    }
}

pub(super) const XAUTOCLAIM: Command = Command {
    name: "xautoclaim",
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::Stream,
    since: "6.2.0",
    complexity: "O(1) if COUNT is small",
    summary: "Makes a consumer the owner of pending entries that have been idle for long, found from an id on.",
    arguments: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("start"),
        Arg::integer("count").token("COUNT").optional(),
        Arg::flag("justid", "JUSTID").optional(),
    ],
    history: &[("7.0.0", "A third element of the reply: ids of deleted entries that are pending no longer.")],
    tips: &["nondeterministic_output"],
    handler: xautoclaim,
    ..Command::DEFAULT
};

fn xautoclaim(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    /// The greatest COUNT, so that Valkey's reckoning of bytes and attempts cannot overflow.
    const MOST: i64 = i64::MAX / 16;
    let now_ms = cx.now_ms();
    // As in Valkey, the look-up is a reader's, before anything is parsed: it counts as a hit or a miss.
    let _ = cx.keys.read_untouched(args.at(1));
    let min_idle_ms = number(args.at(4), CommandError::XautoclaimMinIdle)?.max(0);
    let start = interval_start(args.at(5))?;
    let (mut count, mut just_id) = (100, false);
    let mut options = args.from(6).iter();
    while let Some(option) = options.next() {
        if is_word(option, "justid") {
            just_id = true;
        } else {
            let value = options.next().filter(|_| is_word(option, "count")).ok_or(CommandError::Syntax)?;
            count = integer_within(value, 1..=MOST, CommandError::CountMustBePositive)?;
        }
    }
    let (key, name) = (args.at(1), args.at(2));
    let plan = Claim {
        now_ms,
        min_idle_ms,
        ids: Vec::new(),
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        just_id,
        last_id: StreamId::MIN,
    };
    let mut told = GroupChanges::new(cx);
    let changes = in_group(cx, key, name, args.at(3), |reply, log, group, consumer| {
        sweep(reply, log, group, consumer, &plan, (start, count), &mut told)
    })?;
    cx.count_changes(changes);
    cx.propagate_nothing();
    told.tell(cx, key, name);
    Ok(())
}

/// Claims up to `count` pending entries from `start` on, and replies; returns how many changed.
fn sweep(
    reply: &mut Reply,
    log: &Log,
    group: &mut stream::Group,
    consumer: ConsumerKey,
    plan: &Claim,
    (start, count): (StreamId, i64),
    told: &mut GroupChanges,
) -> usize {
    /// How many pending entries are looked at for each that is wanted.
    const ATTEMPTS: i64 = 10;
    let mut next = Some(start);
    let (mut claimed, mut forgotten) = (0, Vec::new());
    let (mut left, mut attempts) = (count, count.saturating_mul(ATTEMPTS));
    let mut body = Reply::new(reply.protocol());
    while left > 0 && attempts > 0 {
        attempts -= 1;
        let Some(id) = next.and_then(|next| group.pending_from(next).next()).map(|pending| pending.id) else {
            break;
        };
        match plan.claim(&mut body, log, group, consumer, id, told) {
            Claimed::Nothing => {}
            Claimed::Forgotten => {
                forgotten.push(id);
                left -= 1;
            }
            Claimed::Replied => {
                claimed += 1;
                left -= 1;
            }
        }
        next = id.next();
    }
    let end =
        next.and_then(|next| group.pending_from(next).next()).map_or(StreamId::MIN, |pending| pending.id);
    reply.array(3);
    reply_id(reply, end);
    reply.array(claimed);
    reply.raw(body.as_slice());
    reply.array(forgotten.len());
    forgotten.iter().for_each(|id| reply_id(reply, *id));
    claimed + forgotten.len()
}
