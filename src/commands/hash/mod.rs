//! Commands of hashes: reading, writing, and the expiry of single fields.

mod expiry;
mod read;
mod store;
mod write;

use crate::config::EventClasses;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Args, Command};
use crate::types::hash::Text;

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    read::HGET,
    read::HMGET,
    read::HGETALL,
    read::HKEYS,
    read::HVALS,
    read::HLEN,
    read::HSTRLEN,
    read::HEXISTS,
    read::HRANDFIELD,
    read::HSCAN,
    write::HSET,
    write::HSETNX,
    write::HMSET,
    write::HDEL,
    write::HINCRBY,
    write::HINCRBYFLOAT,
    expiry::HEXPIRE,
    expiry::HPEXPIRE,
    expiry::HEXPIREAT,
    expiry::HPEXPIREAT,
    expiry::HTTL,
    expiry::HPTTL,
    expiry::HEXPIRETIME,
    expiry::HPEXPIRETIME,
    expiry::HPERSIST,
    store::HSETEX,
    store::HGETEX,
    store::HGETDEL,
];

fn reply_text(reply: &mut Reply, text: Text<'_>) {
    match text {
        Text::Int(number) => reply.bulk_int(number),
        Text::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// The value of a field, or null.
fn reply_value(reply: &mut Reply, value: Option<Text<'_>>) {
    match value {
        Some(value) => reply_text(reply, value),
        None => reply.null(),
    }
}

/// Says that `count` fields were changed, and tells `event`; fields that were overwritten after their time was over
/// count as expired first.
fn fields_changed(cx: &mut Context<'_>, key: &[u8], event: &'static str, count: usize, expired: usize) {
    if expired > 0 {
        cx.keys.keyspace.counters.expired_fields += expired as u64;
        cx.notify(EventClasses::HASH, "hexpired", key);
    }
    cx.changed(EventClasses::HASH, event, key);
    cx.count_changes(count.saturating_sub(1));
}

/// The fields after `FIELDS <numfields>` at `at`; `mismatch` is the error when the number is not theirs.
fn fields_at<'a>(args: Args<'a>, at: usize, mismatch: CommandError) -> Result<Args<'a>, CommandError> {
    if !super::arguments::is_word(args.at(at), "fields") {
        return Err(CommandError::Syntax);
    }
    let count = super::arguments::integer(args.at(at + 1))?;
    let fields = args.from(at + 2);
    if count == 0 || usize::try_from(count) != Ok(fields.len()) {
        return Err(mismatch);
    }
    Ok(fields)
}

/// Where the word FIELDS is, from the argument at `from` on; it is not looked for in the last place.
fn find_fields(args: Args<'_>, from: usize) -> Option<usize> {
    (from..args.len().saturating_sub(1)).find(|&index| super::arguments::is_word(args.at(index), "fields"))
}
