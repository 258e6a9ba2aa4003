//! Commands that work on keys whatever they hold.

mod copy;
mod delete;
mod dump;
mod expire;
mod flush;
mod list;
mod migrate;
mod object;
mod sort;

pub(super) use flush::flush_all;

use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    EXISTS,
    TOUCH,
    TYPE,
    delete::DEL,
    delete::UNLINK,
    copy::RENAME,
    copy::RENAMENX,
    copy::MOVE,
    dump::COPY,
    dump::DUMP,
    dump::RESTORE,
    dump::RESTORE_ASKING,
    migrate::MIGRATE,
    expire::EXPIRE,
    expire::PEXPIRE,
    expire::EXPIREAT,
    expire::PEXPIREAT,
    expire::TTL,
    expire::PTTL,
    expire::EXPIRETIME,
    expire::PEXPIRETIME,
    expire::PERSIST,
    list::KEYS,
    list::SCAN,
    list::RANDOMKEY,
    list::DBSIZE,
    object::OBJECT,
    sort::SORT,
    sort::SORT_RO,
    flush::FLUSHDB,
    flush::FLUSHALL,
    flush::SWAPDB,
];

const EXISTS: Command = Command {
    name: "exists",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, key_flag::RO)],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N), N being the keys",
    summary: "Counts how many of the keys exist.",
    arguments: &[Arg::key("key").multiple()],
    history: &[("3.0.3", "Takes several keys.")],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: exists,
    ..Command::DEFAULT
};

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = args.from(1).iter().filter(|key| cx.keys.read_untouched(key).is_some()).count();
    cx.reply.int(count as i64);
    Ok(())
}

const TOUCH: Command = Command {
    name: "touch",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, key_flag::RO)],
    group: Group::Generic,
    since: "3.2.1",
    complexity: "O(N), N being the keys",
    summary: "Marks keys as used just now and counts those that exist.",
    arguments: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: touch,
    ..Command::DEFAULT
};

fn touch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let count = args.from(1).iter().filter(|key| cx.keys.read(key).is_some()).count();
    cx.reply.int(count as i64);
    Ok(())
}

const TYPE: Command = Command {
    name: "type",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO)],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Tells the type of the value under a key.",
    arguments: &[Arg::key("key")],
    handler: type_of,
    ..Command::DEFAULT
};

fn type_of(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = cx.keys.read_untouched(args.at(1)).map_or("none", |entry| entry.value_type().name());
    cx.reply.simple(name);
    Ok(())
}
