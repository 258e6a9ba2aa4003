//! XREAD and XREADGROUP: reading on from an id, alone or as a consumer of a group, and waiting for what comes.

use super::tell::GroupChanges;
use super::{at_most, reply_entry, reply_id, strict_id};
use crate::commands::arguments::{integer, is_word};
use crate::commands::timeout::deadline_of_ms;
use crate::config::EventClasses;
use crate::resp::{CommandError, DeferredLength, Protocol, Reply};
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{
    Arg, Args, Begin, Command, Find, Group, KeySpec, Outcome, Request, category, flag, key_flag,
};
use crate::types::Stream;
use crate::types::stream::{self, ConsumerKey, Log, Pending, StreamId};

const fn keys_after_streams(from: i32) -> KeySpec {
    KeySpec {
        flags: key_flag::RO | key_flag::ACCESS,
        begin: Begin::Keyword("STREAMS", from),
        find: Find::Range { last: -1, step: 1, limit: 2 },
        notes: "",
    }
}

const STREAMS: Arg =
    Arg::block("streams", &[Arg::key("key").multiple(), Arg::string("id").multiple()]).token("STREAMS");

pub(super) const XREAD: Command = Command {
    name: "xread",
    arity: -4,
    flags: flag::READONLY | flag::BLOCKING | flag::MOVABLE_KEYS,
    categories: category::STREAM,
    keys: &[keys_after_streams(1)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "",
    summary: "Replies with the entries of streams that come after an id each; waits for one if there is none.",
    arguments: &[
        Arg::integer("count").token("COUNT").optional(),
        Arg::integer("milliseconds").token("BLOCK").optional(),
        STREAMS,
    ],
    handler: xread,
    ..Command::DEFAULT
};

fn xread(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = Plan::parse(cx.now_ms(), args, false)?;
    let mut starts = Vec::with_capacity(plan.streams);
    for number in 0..plan.streams {
        let stream = cx.keys.read_as::<Stream>(plan.key(args, number))?;
        starts.push(start_of(plan.id(args, number), stream.as_deref())?);
    }
    let before = cx.reply.len();
    let header = cx.reply.deferred();
    let mut served = 0;
    for (number, start) in starts.iter().enumerate() {
        let key = plan.key(args, number);
        let Some(stream) = cx.keys.read_as::<Stream>(key)? else { continue };
        if let Some(first) = start.next().filter(|_| stream.last_entry_id() > *start) {
            begin_stream(cx.reply, key);
            super::reply_entries(cx.reply, stream.range(first, StreamId::MAX).take(at_most(plan.count)));
            served += 1;
        }
    }
    if served > 0 {
        end_streams(cx.reply, header, served);
        return Ok(());
    }
    cx.reply.truncate(before);
    wait_or_reply(cx, args, &plan, Some(&starts));
    Ok(())
}

pub(super) const XREADGROUP: Command = Command {
    name: "xreadgroup",
    arity: -7,
    flags: flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS,
    categories: category::STREAM,
    keys: &[keys_after_streams(4)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "For each stream O(M) where M is the number of entries replied; XADD takes O(N) to serve N clients that wait",
    summary: "Replies with entries that are new to a group, or with those pending with a consumer; waits for one if there is none.",
    arguments: &[
        Arg::block("group-block", &[Arg::string("group"), Arg::string("consumer")]).token("GROUP"),
        Arg::integer("count").token("COUNT").optional(),
        Arg::integer("milliseconds").token("BLOCK").optional(),
        Arg::flag("noack", "NOACK").optional(),
        STREAMS,
    ],
    handler: xreadgroup,
    ..Command::DEFAULT
};

fn xreadgroup(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = Plan::parse(cx.now_ms(), args, true)?;
    let (name, consumer) = plan.group.ok_or(CommandError::XreadgroupMissingGroup)?;
    let mut starts = Vec::with_capacity(plan.streams);
    for number in 0..plan.streams {
        let key = plan.key(args, number);
        let stream = cx.keys.read_as::<Stream>(key)?;
        if stream.is_none_or(|stream| stream.groups.get(name).is_none()) {
            return Err(CommandError::NoGroupRead { key: key.into(), group: name.into() });
        }
        starts.push(group_start_of(plan.id(args, number))?);
    }
    let before = cx.reply.len();
    let header = cx.reply.deferred();
    let mut served = 0;
    for (number, start) in starts.iter().enumerate() {
        let read = GroupRead { key: plan.key(args, number), name, consumer, start: *start, plan: &plan };
        served += usize::from(read.run(cx)?);
    }
    if served > 0 {
        end_streams(cx.reply, header, served);
        return Ok(());
    }
    cx.reply.truncate(before);
    wait_or_reply(cx, args, &plan, None);
    Ok(())
}

/// What XREAD and XREADGROUP are to do.
struct Plan<'a> {
    /// The most entries of each stream; 0 for all.
    count: i64,
    /// Until when to wait, Unix ms, `None` inside for ever; `None` outside not to wait.
    block: Option<Option<i64>>,
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// Where the keys are.
    streams_at: usize,
    /// How many there are, and as many ids.
    streams: usize,
}

impl<'a> Plan<'a> {
    fn parse(now_ms: i64, args: Args<'a>, of_group: bool) -> Result<Self, CommandError> {
        let mut plan = Self { count: 0, block: None, group: None, no_ack: false, streams_at: 0, streams: 0 };
        let mut at = 1;
        while let Some(option) = args.get(at) {
            let more = args.len() - at - 1;
            if is_word(option, "block") && more >= 1 {
                plan.block = Some(deadline_of_ms(args.at(at + 1), now_ms)?);
                at += 2;
            } else if is_word(option, "count") && more >= 1 {
                plan.count = integer(args.at(at + 1))?.max(0);
                at += 2;
            } else if is_word(option, "streams") && more >= 1 {
                if !more.is_multiple_of(2) {
                    let (command, symbol) = if of_group { ("xreadgroup", '>') } else { ("xread", '$') };
                    return Err(CommandError::UnbalancedStreams(command, symbol));
                }
                (plan.streams_at, plan.streams) = (at + 1, more / 2);
                break;
            } else if is_word(option, "group") && more >= 2 {
                if !of_group {
                    return Err(CommandError::XreadGroup);
                }
                plan.group = Some((args.at(at + 1), args.at(at + 2)));
                at += 3;
            } else if is_word(option, "noack") {
                if !of_group {
                    return Err(CommandError::XreadNoack);
                }
                plan.no_ack = true;
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if plan.streams == 0 { Err(CommandError::Syntax) } else { Ok(plan) }
    }

    fn key(&self, args: Args<'a>, number: usize) -> &'a [u8] {
        args.at(self.streams_at + number)
    }

    fn id(&self, args: Args<'a>, number: usize) -> &'a [u8] {
        args.at(self.streams_at + self.streams + number)
    }
}

/// The id after which XREAD reads.
fn start_of(arg: &[u8], stream: Option<&Stream>) -> Result<StreamId, CommandError> {
    match arg {
        b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.last_id())),
        b"+" => match stream.filter(|stream| !stream.is_empty()) {
            Some(stream) => stream.last_id().previous().ok_or(CommandError::StreamLastIdZero),
            None => Ok(StreamId::MIN),
        },
        b">" => Err(CommandError::XreadGreater),
        id => strict_id(id, 0),
    }
}

/// The id after which a consumer's pending entries are wanted; `None`: what is new to the group.
fn group_start_of(arg: &[u8]) -> Result<Option<StreamId>, CommandError> {
    match arg {
        b"$" => Err(CommandError::XreadgroupDollar),
        b"+" => Err(CommandError::XreadgroupPlus),
        b">" => Ok(None),
        // Valkey keeps `>` as the last id, so that one means the same.
        id => strict_id(id, 0).map(|id| Some(id).filter(|id| *id != StreamId::MAX)),
    }
}

fn begin_stream(reply: &mut Reply, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

fn end_streams(reply: &mut Reply, header: DeferredLength, served: usize) {
    if reply.protocol() == Protocol::Resp2 {
        reply.set_array(header, served);
    } else {
        reply.set_map(header, served);
    }
}

/// There was nothing to reply with: waits where BLOCK says so. A `$` means the id it meant now, also later.
fn wait_or_reply(cx: &mut Context<'_>, args: Args<'_>, plan: &Plan<'_>, starts: Option<&[StreamId]>) {
    let Some(deadline_ms) = plan.block else {
        cx.reply.null_array();
        return;
    };
    let mut request = Request::default();
    for (at, arg) in args.iter().enumerate() {
        let number = at.checked_sub(plan.streams_at + plan.streams);
        let start = number.and_then(|number| starts?.get(number)).filter(|_| arg == b"$");
        match start {
            Some(start) => request.push(start.to_string().as_bytes()),
            None => request.push(arg),
        }
    }
    let waits = cx.block(BlockRequest {
        keys: (0..plan.streams).map(|number| plan.key(args, number).to_vec()).collect(),
        deadline_ms,
        timeout_reply: TimeoutReply::NullArray,
        wants_deletion: plan.group.is_some(),
        request: Some(request),
    });
    if !waits {
        cx.reply.null_array();
    }
}

/// One stream that a consumer reads.
struct GroupRead<'a> {
    key: &'a [u8],
    name: &'a [u8],
    consumer: &'a [u8],
    /// After which of its pending entries; `None`: what is new to the group.
    start: Option<StreamId>,
    plan: &'a Plan<'a>,
}

impl GroupRead<'_> {
    /// Says whether it replied.
    fn run(&self, cx: &mut Context<'_>) -> Result<bool, CommandError> {
        let now_ms = cx.now_ms();
        let mut told = GroupChanges::new(cx);
        let Some(mut stream) = cx.keys.write_as::<Stream>(self.key)? else { return Ok(false) };
        // Entries are read while the group changes.
        let mut groups = std::mem::take(&mut stream.groups);
        let (mut created, mut served) = (false, false);
        if let Some(group) = groups.get_mut(self.name) {
            let found = group.find_consumer(self.consumer);
            created = found.is_none();
            if let Some(consumer) = found.or_else(|| group.create_consumer(self.consumer, now_ms)) {
                if let Some(consumer) = group.consumer_mut(consumer) {
                    consumer.seen_ms = now_ms;
                }
                served = match self.start {
                    Some(start) => {
                        begin_stream(cx.reply, self.key);
                        self.reply_history(cx.reply, &stream, group, consumer, start, now_ms);
                        true
                    }
                    None if stream.last_entry_id() > group.last_id => {
                        begin_stream(cx.reply, self.key);
                        self.deliver(cx.reply, &stream, group, consumer, now_ms, &mut told);
                        true
                    }
                    None => false,
                };
            }
        }
        stream.groups = groups;
        drop(stream);
        cx.propagate_nothing();
        if created {
            if self.plan.no_ack {
                // Otherwise the consumer comes into being where a claim names it.
                cx.propagate_as(&[b"XGROUP", b"CREATECONSUMER", self.key, self.name, self.consumer]);
            }
            cx.count_changes(1);
            cx.notify(EventClasses::STREAM, "xgroup-createconsumer", self.key);
        }
        cx.count_changes(usize::from(served));
        told.tell(cx, self.key, self.name);
        Ok(served)
    }

    /// What is new to the group.
    fn deliver(
        &self,
        reply: &mut Reply,
        log: &Log,
        group: &mut stream::Group,
        consumer: ConsumerKey,
        now_ms: i64,
        told: &mut GroupChanges,
    ) {
        let header = reply.deferred();
        let mut count = 0;
        let first = group.last_id.next().unwrap_or(StreamId::MAX);
        for entry in log.range(first, StreamId::MAX).take(at_most(self.plan.count)) {
            let id = entry.id;
            group.advance(log, id);
            reply_entry(reply, entry);
            if !self.plan.no_ack {
                let pending = Pending { id, delivered_ms: now_ms, deliveries: 1, consumer };
                group.set_pending(pending);
                told.claimed(group, pending);
                if let Some(consumer) = group.consumer_mut(consumer) {
                    consumer.active_ms = now_ms;
                }
            }
            count += 1;
        }
        if count > 0 {
            told.moved_on(group);
        }
        reply.set_array(header, count);
    }

    /// What is pending with the consumer; entries that were deleted meanwhile have null in place of their fields.
    fn reply_history(
        &self,
        reply: &mut Reply,
        log: &Log,
        group: &mut stream::Group,
        consumer: ConsumerKey,
        start: StreamId,
        now_ms: i64,
    ) {
        let first = start.next().unwrap_or(StreamId::MAX);
        let most = at_most(self.plan.count);
        let ids: Vec<_> = match group.consumer(consumer) {
            Some(consumer) => consumer.pending_from(first).take(most).collect(),
            None => Vec::new(),
        };
        reply.array(ids.len());
        for id in ids {
            match log.get(id) {
                Some(entry) => {
                    reply_entry(reply, entry);
                    group.redeliver(id, now_ms);
                }
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
            }
        }
    }
}
