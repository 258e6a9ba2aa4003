//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::server::transaction::Transaction;

/// The family.
pub(super) const COMMANDS: &[Command] = &[MULTI, EXEC, DISCARD, WATCH, UNWATCH];

const MULTI: Command = Command {
    name: "multi",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_MULTI | flag::ALLOW_BUSY,
    categories: category::TRANSACTION,
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Begins a transaction.",
    handler: multi,
    ..Command::DEFAULT
};

fn multi(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if let Some(client) = cx.client_mut() {
        client.transaction = Some(Box::new(Transaction::begin(client.database)));
    }
    cx.reply.ok();
    Ok(())
}

const DISCARD: Command = Command {
    name: "discard",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
    categories: category::TRANSACTION,
    group: Group::Transactions,
    since: "2.0.0",
    complexity: "O(N), N being the queued commands",
    summary: "Ends a transaction without running it.",
    handler: discard,
    ..Command::DEFAULT
};

fn discard(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.client().is_none_or(|client| client.transaction.is_none()) {
        return Err(CommandError::DiscardWithoutMulti);
    }
    cx.server.discard_transaction(cx.client);
    cx.reply.ok();
    Ok(())
}

const EXEC: Command = Command {
    name: "exec",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_COMMANDLOG,
    categories: category::TRANSACTION,
    group: Group::Transactions,
    since: "1.2.0",
    complexity: "That of the queued commands",
    summary: "Runs what was queued since MULTI.",
    handler: exec,
    ..Command::DEFAULT
};

fn exec(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    // What is told is what the queued commands tell.
    cx.propagate_nothing();
    let now_ms = cx.now_ms();
    let Some(client) = cx.server.clients.get_mut(cx.client) else { return Ok(()) };
    let Some(transaction) = client.transaction.take() else {
        return Err(CommandError::ExecWithoutMulti);
    };
    let (keyspace, watched) = (&*cx.keys.keyspace, &cx.server.watched);
    let broken = client.watch_broken
        || client.watched.iter().any(|name| {
            keyspace.holds_expired(name.0, &name.1, now_ms) && !watched.saw_expired(cx.client, name)
        });
    cx.server.discard_transaction(cx.client);
    if transaction.aborted {
        return Err(CommandError::ExecAbort);
    }
    if broken {
        cx.reply.null_array();
        return Ok(());
    }
    cx.reply.array(transaction.queue.len());
    let mut queue = transaction.queue.into_iter();
    while let Some((command, request)) = queue.next() {
        cx.run(command, request.args());
        if cx.server.scripting.is_busy() {
            // A script takes long: the rest runs when it has ended.
            cx.server.scripting.suspend_transaction(queue);
            break;
        }
    }
    Ok(())
}

const WATCH: Command = Command {
    name: "watch",
    arity: -2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_MULTI | flag::ALLOW_BUSY,
    categories: category::TRANSACTION,
    keys: &[KeySpec::range(1, -1, 1, key_flag::RO)],
    group: Group::Transactions,
    since: "2.2.0",
    complexity: "O(N), N being the keys",
    summary: "Has EXEC run nothing if one of these keys changes before it.",
    arguments: &[Arg::key("key").multiple()],
    handler: watch,
    ..Command::DEFAULT
};

fn watch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    // What is broken stays broken, whatever else is watched.
    if cx.client().is_none_or(|client| !client.watch_broken) {
        for key in args.from(1).iter() {
            let database = cx.keys.database;
            let is_expired = cx.keys.keyspace.holds_expired(database, key, cx.now_ms());
            cx.server.watched.watch(&mut cx.server.clients, cx.client, database, key, is_expired);
        }
    }
    cx.reply.ok();
    Ok(())
}

const UNWATCH: Command = Command {
    name: "unwatch",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
    categories: category::TRANSACTION,
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Forgets the watched keys.",
    handler: unwatch,
    ..Command::DEFAULT
};

fn unwatch(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.server.watched.unwatch(&mut cx.server.clients, cx.client);
    cx.reply.ok();
    Ok(())
}
