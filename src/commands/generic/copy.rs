//! RENAME, RENAMENX and MOVE: a key's value goes to another key.

use super::super::arguments::database;
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};

/// Gives `old` the name `new`; `false` when `new` is taken and `may_replace` is not given.
fn rename_key(cx: &mut Context<'_>, old: &[u8], new: &[u8], may_replace: bool) -> Result<bool, CommandError> {
    if !cx.keys.contains(old) {
        return Err(CommandError::NoSuchKey);
    }
    if old == new {
        return Ok(may_replace);
    }
    if cx.keys.contains(new) && !may_replace {
        return Ok(false);
    }
    let replaced = cx.keys.remove(new);
    if let Some(entry) = cx.keys.remove(old) {
        cx.keys.insert(entry.renamed(new));
    }
    cx.touched(old);
    cx.touched(new);
    cx.notify(EventClasses::GENERIC, "rename_from", old);
    cx.notify(EventClasses::GENERIC, "rename_to", new);
    cx.count_changes(1);
    cx.free_replaced(replaced);
    Ok(true)
}

pub(super) const RENAME: Command = Command {
    name: "rename",
    arity: 3,
    flags: flag::WRITE,
    categories: category::KEYSPACE,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
    ],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Gives a key another name, in the place of whatever has that name.",
    arguments: &[Arg::key("key"), Arg::new("newkey", ArgKind::Key).of_key_spec(1)],
    handler: rename,
    ..Command::DEFAULT
};

fn rename(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    rename_key(cx, args.at(1), args.at(2), true)?;
    cx.reply.ok();
    Ok(())
}

pub(super) const RENAMENX: Command = Command {
    name: "renamenx",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
        KeySpec::one(2, key_flag::OW | key_flag::INSERT),
    ],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Gives a key another name unless that is taken.",
    arguments: &[Arg::key("key"), Arg::new("newkey", ArgKind::Key).of_key_spec(1)],
    history: &[("3.2.0", "Both names may be the same.")],
    handler: renamenx,
    ..Command::DEFAULT
};

fn renamenx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let renamed = rename_key(cx, args.at(1), args.at(2), false)?;
    cx.reply.int(i64::from(renamed));
    Ok(())
}

pub(super) const MOVE: Command = Command {
    name: "move",
    arity: 3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Moves a key to another database.",
    arguments: &[Arg::key("key"), Arg::integer("db")],
    handler: move_key,
    ..Command::DEFAULT
};

fn move_key(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let (source, target) = (cx.keys.database, database(cx, args.at(2))?);
    if source == target {
        return Err(CommandError::SameObject);
    }
    let possible = cx.keys.contains(key) && !cx.keys.within(target, |keys| keys.contains(key));
    if possible && let Some(entry) = cx.keys.remove(key) {
        cx.keys.within(target, |keys| keys.insert(entry));
        cx.touched_in(source, EventClasses::GENERIC, "move_from", key);
        cx.touched_in(target, EventClasses::GENERIC, "move_to", key);
        cx.count_changes(1);
    }
    cx.reply.int(i64::from(possible));
    Ok(())
}
