//! FLUSHDB, FLUSHALL and SWAPDB: whole databases at once.

use super::super::arguments::{is_word, small_integer};
use crate::algorithms::hash::hash;
use crate::keyspace::Keyspace;
use crate::memory;
use crate::resp::CommandError;
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::propagation::Targets;
use crate::server::transaction::Replaced;
use crate::server::{Context, Server};

/// Whether the keys are to be freed in the background; without a word, as `lazyfree-lazy-user-flush` says.
fn is_lazy(cx: &Context<'_>, args: Args<'_>) -> Result<bool, CommandError> {
    match (args.len(), args.at(1)) {
        (1, _) => Ok(cx.server.config.lazyfree_lazy_user_flush),
        (2, word) if is_word(word, "sync") => Ok(false),
        (2, word) if is_word(word, "async") => Ok(true),
        _ => Err(CommandError::Syntax),
    }
}

/// Whether a database holds this key, its time over or not.
fn holds(keyspace: &Keyspace, database: usize, key: &[u8]) -> bool {
    keyspace.databases()[database].table().find(hash(key), key).is_some()
}

fn flush(keyspace: &mut Keyspace, server: &mut Server, database: usize, lazily: bool) {
    server.fail_slot_migrations_for_flush(keyspace);
    let Server { watched, clients, blocked, background, .. } = server;
    watched.touch_database(clients, database, |key| holds(keyspace, database, key));
    blocked.database_emptied(clients, database);
    let db = &mut keyspace.databases_mut()[database];
    let count = db.len();
    background.free_database(db.take(), lazily);
    keyspace.counters.changes += count as u64;
}

/// After a flush that everybody waited for, the memory goes back to the system at once.
fn give_pages_back(lazily: bool) {
    if !lazily {
        // Pages that stay are given back later all the same.
        let _ = memory::purge_unused_pages();
    }
}

pub(super) const FLUSHDB: Command = Command {
    name: "flushdb",
    arity: -1,
    flags: flag::WRITE,
    categories: category::DANGEROUS | category::KEYSPACE,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N), N being the keys of the database",
    summary: "Deletes every key of the selected database.",
    arguments: &[Arg::one_of(
        "flush-type",
        &[Arg::flag("async", "ASYNC").since("4.0.0"), Arg::flag("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    history: &[("4.0.0", "Takes `ASYNC`."), ("6.2.0", "Takes `SYNC`.")],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: flushdb,
    ..Command::DEFAULT
};

fn flushdb(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let lazily = is_lazy(cx, args)?;
    // Told even if nothing was there, as Valkey does.
    cx.force_propagation(Targets::ALL);
    let database = cx.keys.database;
    flush(cx.keys.keyspace, cx.server, database, lazily);
    cx.server.invalidate_all();
    give_pages_back(lazily);
    cx.reply.ok();
    Ok(())
}

pub(super) const FLUSHALL: Command = Command {
    name: "flushall",
    arity: -1,
    flags: flag::WRITE | flag::ALL_DBS,
    categories: category::DANGEROUS | category::KEYSPACE,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N), N being the keys of all databases",
    summary: "Deletes every key of every database.",
    arguments: &[Arg::one_of(
        "flush-type",
        &[Arg::flag("async", "ASYNC").since("4.0.0"), Arg::flag("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    history: &[("4.0.0", "Takes `ASYNC`."), ("6.2.0", "Takes `SYNC`.")],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: flushall,
    ..Command::DEFAULT
};

fn flushall(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let lazily = is_lazy(cx, args)?;
    cx.force_propagation(Targets::ALL);
    flush_all(cx.keys.keyspace, cx.server, lazily);
    // What a running child saves is gone, and the file on the disk is to be as empty as the server.
    cx.server.persistence.kill_child();
    if !cx.server.config.save.0.is_empty() {
        cx.server.save(cx.keys.keyspace);
    }
    give_pages_back(lazily);
    cx.reply.ok();
    Ok(())
}

/// Deletes every key of every database, and lets those know who watch or wait.
pub(in crate::commands) fn flush_all(keyspace: &mut Keyspace, server: &mut Server, lazily: bool) {
    for database in 0..keyspace.databases().len() {
        flush(keyspace, server, database, lazily);
    }
    server.own_expiries.forget_all();
    server.invalidate_all();
}

fn database_number(arg: &[u8], otherwise: CommandError) -> Result<i32, CommandError> {
    small_integer(arg).map_err(|_| otherwise)
}

pub(super) const SWAPDB: Command = Command {
    name: "swapdb",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    categories: category::DANGEROUS | category::KEYSPACE,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(N), N being the clients that watch or wait for keys of either database",
    summary: "Exchanges two databases.",
    arguments: &[Arg::integer("index1"), Arg::integer("index2")],
    handler: swapdb,
    ..Command::DEFAULT
};

fn swapdb(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.server.cluster.is_some() {
        return Err(CommandError::custom("ERR SWAPDB is not allowed in cluster mode"));
    }
    let count = cx.keys.keyspace.databases().len();
    let first = database_number(args.at(1), CommandError::InvalidFirstDb)?;
    let second = database_number(args.at(2), CommandError::InvalidSecondDb)?;
    let index = |number| usize::try_from(number).ok().filter(|index| *index < count);
    let (Some(first), Some(second)) = (index(first), index(second)) else {
        return Err(CommandError::DbIndexOutOfRange);
    };
    if first != second {
        let now_ms = cx.now_ms();
        let keyspace = &mut *cx.keys.keyspace;
        let Server { watched, clients, blocked, .. } = &mut *cx.server;
        for (here, there) in [(first, second), (second, first)] {
            watched.replace_database(clients, here, |key| Replaced {
                existed: holds(keyspace, here, key),
                exists: holds(keyspace, there, key),
                has_expired: keyspace.holds_expired(there, key, now_ms),
            });
        }
        keyspace.swap_databases(first, second);
        blocked.database_written(first);
        blocked.database_written(second);
    }
    cx.count_changes(1);
    cx.reply.ok();
    Ok(())
}
