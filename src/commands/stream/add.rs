//! XADD, XDEL, XSETID: what changes a stream but trimming.

use super::trim::{TRIM_ARGUMENTS, TrimOptions};
use super::{reply_id, strict_id, strict_ids, time_of_partial_id};
use crate::commands::arguments::{integer, is_word};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Stream;
use crate::types::stream::{AppendError, NewId, StreamId, Trim};

pub(super) const XADD: Command = Command {
    name: "xadd",
    arity: -5,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec {
        notes: "UPDATE instead of INSERT because of the optional trimming feature",
        ..KeySpec::one(1, key_flag::RW | key_flag::UPDATE)
    }],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1) to add an entry, O(N) to trim where N is the number of entries removed",
    summary: "Adds an entry at the end of a stream, which is made if there is none, and replies with its id.",
    arguments: &[
        Arg::key("key"),
        Arg::flag("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
        Arg::block("trim", TRIM_ARGUMENTS).optional(),
        Arg::one_of("id-selector", &[Arg::flag("auto-id", "*"), Arg::string("id")]),
        Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    history: &[
        ("6.2.0", "The options `NOMKSTREAM` and `LIMIT`, and the strategy `MINID`."),
        ("7.0.0", "An id may be `<ms>-*`."),
    ],
    tips: &["nondeterministic_output"],
    handler: xadd,
    ..Command::DEFAULT
};

fn xadd(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let plan = Addition::parse(cx, args)?;
    let key = args.at(1);
    let fields = (plan.fields_at..args.len()).map(|at| args.at(at));
    let limits = cx.server.limits.stream;
    let mut stream = if plan.create {
        cx.keys.write_or_create(key, Stream::default)?
    } else {
        let Some(stream) = cx.keys.write_as::<Stream>(key)? else {
            cx.reply.null();
            return Ok(());
        };
        stream
    };
    if stream.last_id() == StreamId::MAX {
        return Err(CommandError::XaddExhausted);
    }
    let id = stream.append(plan.id, fields, limits).map_err(|error| match error {
        AppendError::Id => CommandError::XaddIdTooSmall,
        AppendError::TooLarge => CommandError::XaddTooLarge,
    })?;
    let removed = plan.trim.map_or(0, |trim| stream.trim(trim));
    let exact = plan.options.exact(&stream);
    drop(stream);
    plan.tell(cx, args, id, exact);
    reply_id(cx.reply, id);
    cx.changed(EventClasses::STREAM, "xadd", key);
    cx.stream_grew(key);
    if removed > 0 {
        cx.notify(EventClasses::STREAM, "xtrim", key);
    }
    Ok(())
}

/// What XADD is to do.
struct Addition {
    id: NewId,
    create: bool,
    trim: Option<Trim>,
    options: TrimOptions,
    fields_at: usize,
}

impl Addition {
    fn parse(cx: &Context<'_>, args: Args<'_>) -> Result<Self, CommandError> {
        let (mut create, mut trim) = (true, TrimOptions::default());
        let mut at = 2;
        let mut id = None;
        while let Some(arg) = args.get(at) {
            if arg != b"*" {
                if let Some(next) = trim.parse(args, at)? {
                    at = next;
                    continue;
                }
                if is_word(arg, "nomkstream") {
                    create = false;
                    at += 1;
                    continue;
                }
            }
            id = Some(new_id(arg, cx.now_ms())?);
            break;
        }
        let options = trim;
        let trim = options.finish(cx)?;
        let fields_at = at + 1;
        let count = args.len().saturating_sub(fields_at);
        let Some(id) = id.filter(|_| count >= 2 && count.is_multiple_of(2)) else {
            return Err(CommandError::WrongArity(cx.command.full_name.as_str().into()));
        };
        if id == NewId::Given(StreamId::MIN) {
            return Err(CommandError::XaddIdZero);
        }
        Ok(Self { id, create, trim, options, fields_at })
    }

    /// Tells an XADD by the id that was made, and an approximate trim by the exact one that comes to the same.
    fn tell(&self, cx: &mut Context<'_>, args: Args<'_>, id: StreamId, exact: Option<(usize, String)>) {
        let is_given = matches!(self.id, NewId::Given(_));
        if !cx.propagates() || is_given && exact.is_none() {
            return;
        }
        let id = id.to_string();
        let mut changes: Vec<(usize, &[u8])> = Vec::new();
        if !is_given {
            changes.push((self.fields_at - 1, id.as_bytes()));
        }
        if let Some((at, bound)) = &exact {
            changes.extend([(at - 1, b"=".as_slice()), (*at, bound.as_bytes())]);
        }
        cx.propagate_with(args, &changes);
    }
}

fn new_id(arg: &[u8], now_ms: i64) -> Result<NewId, CommandError> {
    if arg == b"*" {
        return Ok(NewId::Auto(now_ms.cast_unsigned()));
    }
    match time_of_partial_id(arg) {
        Some(ms) => Ok(NewId::AutoSeq(ms)),
        None => strict_id(arg, 0).map(NewId::Given),
    }
}

pub(super) const XDEL: Command = Command {
    name: "xdel",
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1) for each entry, whatever the size of the stream",
    summary: "Deletes entries from a stream and replies with the number of those that were there.",
    arguments: &[Arg::key("key"), Arg::string("id").multiple()],
    handler: xdel,
    ..Command::DEFAULT
};

fn xdel(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let Some(mut stream) = cx.keys.write_as::<Stream>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let ids = strict_ids(args.from(2).iter())?;
    let deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
    drop(stream);
    cx.reply.int(deleted as i64);
    if deleted > 0 {
        cx.changed(EventClasses::STREAM, "xdel", key);
        cx.count_changes(deleted - 1);
    }
    Ok(())
}

pub(super) const XSETID: Command = Command {
    name: "xsetid",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Sets the last id of a stream, for the server's own use.",
    arguments: &[
        Arg::key("key"),
        Arg::string("last-id"),
        Arg::integer("entries-added").token("ENTRIESADDED").since("7.0.0").optional(),
        Arg::string("max-deleted-id").token("MAXDELETEDID").since("7.0.0").optional(),
    ],
    history: &[("7.0.0", "The arguments `entries_added` and `max_deleted_entry_id`.")],
    handler: xsetid,
    ..Command::DEFAULT
};

fn xsetid(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let last = strict_id(args.at(2), 0)?;
    let (mut entries_added, mut max_deleted) = (None, None);
    let mut at = 3;
    while let Some(option) = args.get(at) {
        let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
        if is_word(option, "entriesadded") {
            let added = u64::try_from(integer(value)?).map_err(|_| CommandError::EntriesAdded)?;
            entries_added = Some(added);
        } else if is_word(option, "maxdeletedid") {
            let id = strict_id(value, 0)?;
            if last < id {
                return Err(CommandError::XsetidBelowMaxDeleted);
            }
            max_deleted = Some(id).filter(|id| *id != StreamId::MIN);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let mut stream = cx.keys.write_as::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    if last < stream.max_deleted_id() {
        return Err(CommandError::XsetidBelowCurrentMaxDeleted);
    }
    if !stream.is_empty() {
        if last < stream.last_entry_id() {
            return Err(CommandError::XsetidBelowTop);
        }
        if entries_added.is_some_and(|added| added < stream.len() as u64) {
            return Err(CommandError::XsetidEntriesAdded);
        }
    }
    stream.set_last_id(last, entries_added, max_deleted);
    drop(stream);
    cx.count_changes(1);
    cx.notify(EventClasses::STREAM, "xsetid", key);
    cx.reply.ok();
    Ok(())
}
