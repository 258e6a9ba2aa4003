//! Commands of the connection itself: PING, ECHO, SELECT, QUIT.

use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};

/// The family.
pub(super) const COMMANDS: &[Command] = &[PING, ECHO, SELECT, QUIT];

const PING: Command = Command {
    name: "ping",
    arity: -1,
    flags: flag::FAST,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Replies that the server is alive, or with the message it was given.",
    arguments: &[Arg::string("message").optional()],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: ping,
    ..Command::DEFAULT
};

fn ping(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        1 => cx.reply.simple("PONG"),
        2 => cx.reply.bulk(args.at(1)),
        _ => return Err(CommandError::WrongArity(cx.command.full_name.as_str().into())),
    }
    Ok(())
}

const ECHO: Command = Command {
    name: "echo",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Replies with the string it was given.",
    arguments: &[Arg::string("message")],
    handler: echo,
    ..Command::DEFAULT
};

fn echo(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.reply.bulk(args.at(1));
    Ok(())
}

const SELECT: Command = Command {
    name: "select",
    arity: 2,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Changes the database that the connection works on.",
    arguments: &[Arg::integer("index")],
    handler: select,
    ..Command::DEFAULT
};

fn select(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let index = parse_i64(args.at(1)).ok_or(CommandError::NotAnInteger)?;
    let database = usize::try_from(index)
        .ok()
        .filter(|index| *index < cx.keys.keyspace.databases().len())
        .ok_or(CommandError::DbIndexOutOfRange)?;
    if let Some(client) = cx.client_mut() {
        client.database = database;
    }
    cx.reply.ok();
    Ok(())
}

const QUIT: Command = Command {
    name: "quit",
    arity: -1,
    flags: flag::ALLOW_BUSY | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Closes the connection after a last reply.",
    deprecated: Some(("7.2.0", "just closing the connection")),
    handler: quit,
    ..Command::DEFAULT
};

fn quit(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if let Some(client) = cx.client_mut() {
        client.close_after_reply = true;
    }
    cx.reply.ok();
    Ok(())
}
