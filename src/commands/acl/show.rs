//! ACL CAT, GETUSER, LIST, LOG, USERS, WHOAMI: what there is.

use super::{ADMINISTERS, ASKS, too_many};
use crate::commands::arguments::{integer, is_word};
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::acl::{LogEntry, Rights};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category};

pub(super) const ACL_WHOAMI: Command = Command {
    name: "whoami",
    arity: 2,
    flags: ASKS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Replies the user of the connection.",
    handler: whoami,
    ..Command::DEFAULT
};

fn whoami(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let name = cx.client().and_then(|client| client.login.name()).map(<[u8]>::to_vec);
    match name {
        Some(name) => cx.reply.bulk(&name),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) const ACL_USERS: Command = Command {
    name: "users",
    arity: 2,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of configured users.",
    summary: "Replies the names of the users.",
    handler: users,
    ..Command::DEFAULT
};

fn users(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let users = cx.server.acl.users();
    cx.reply.array(users.len());
    for user in users {
        cx.reply.bulk(user.name());
    }
    Ok(())
}

pub(super) const ACL_LIST: Command = Command {
    name: "list",
    arity: 2,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of configured users.",
    summary: "Replies the users as lines of a configuration file.",
    handler: list,
    ..Command::DEFAULT
};

fn list(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let lines = cx.server.acl.lines();
    cx.reply.array(lines.len());
    for line in lines {
        cx.reply.bulk(&[b"user ", line.as_slice()].concat());
    }
    Ok(())
}

pub(super) const ACL_GETUSER: Command = Command {
    name: "getuser",
    arity: 3,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
    summary: "Replies the rules of a user.",
    arguments: &[Arg::string("username")],
    history: &[
        ("6.2.0", "Patterns of channels."),
        ("7.0.0", "Selectors; patterns as one string."),
        ("9.1.0", "Databases."),
    ],
    handler: get_user,
    ..Command::DEFAULT
};

fn get_user(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some(user) = cx.server.acl.user(args.at(2)) else {
        cx.reply.null();
        return Ok(());
    };
    let reply = &mut *cx.reply;
    let mut selectors = user.rights();
    let own = selectors.next();
    reply.map(7);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    let passwords = user.passwords();
    reply.array(passwords.len());
    passwords.for_each(|hash| reply.bulk(hash));
    if let Some(own) = own {
        reply_rights(reply, own);
    }
    reply.bulk(b"selectors");
    reply.array(selectors.len());
    for selector in selectors {
        reply.map(4);
        reply_rights(reply, selector);
    }
    Ok(())
}

fn reply_rights(reply: &mut Reply, rights: Rights) {
    let fields = [
        (b"commands".as_slice(), rights.commands),
        (b"keys", rights.keys),
        (b"channels", rights.channels),
        (b"databases", rights.databases),
    ];
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(&value);
    }
}

pub(super) const ACL_CAT: Command = Command {
    name: "cat",
    arity: -2,
    flags: ASKS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1) since the categories and commands are a fixed set.",
    summary: "Replies the categories of commands, or the commands of one.",
    arguments: &[Arg::string("category").optional()],
    handler: cat,
    ..Command::DEFAULT
};

fn cat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        2 => {
            cx.reply.array(category::NAMES.len());
            for (_, name) in category::NAMES {
                cx.reply.bulk(name.as_bytes());
            }
        }
        3 => {
            let wanted = category::named(args.at(2)).ok_or_else(|| {
                CommandError::custom([b"ERR Unknown category '", args.at(2), b"'"].concat())
            })?;
            let commands = cx.server.commands.every_own();
            let commands = commands.filter(|entry| entry.command.all_categories() & wanted != 0);
            let mut names: Vec<&str> = commands.map(|entry| entry.full_name.as_str()).collect();
            names.sort_unstable();
            cx.reply.array(names.len());
            for name in names {
                cx.reply.bulk(name.as_bytes());
            }
        }
        _ => return Err(too_many(args)),
    }
    Ok(())
}

pub(super) const ACL_LOG: Command = Command {
    name: "log",
    arity: -2,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N) with N being the number of entries shown.",
    summary: "Replies what was denied lately, newest first, or forgets it.",
    arguments: &[Arg::one_of("operation", &[Arg::integer("count"), Arg::flag("reset", "RESET")]).optional()],
    history: &[("7.2.0", "Entries have ids and times.")],
    handler: log,
    ..Command::DEFAULT
};

fn log(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const DEFAULT_COUNT: i64 = 10;
    if args.len() > 3 {
        return Err(too_many(args));
    }
    if args.get(2).is_some_and(|word| is_word(word, "reset")) {
        cx.server.acl.log.clear();
        cx.reply.ok();
        return Ok(());
    }
    let count = args.get(2).map_or(Ok(DEFAULT_COUNT), integer)?;
    let (now_ms, entries) = (cx.now_ms(), cx.server.acl.log.entries());
    let count = usize::try_from(count).unwrap_or(0).min(entries.len());
    cx.reply.array(count);
    for entry in entries.take(count) {
        let LogEntry { reason, place, object, user, client, id, .. } = entry;
        let reply = &mut *cx.reply;
        reply.map(10);
        reply.bulk(b"count");
        reply.int(entry.count.cast_signed());
        let texts: [(&[u8], &[u8]); 4] = [
            (b"reason", reason.name().as_bytes()),
            (b"context", place.name().as_bytes()),
            (b"object", object),
            (b"username", user),
        ];
        for (name, text) in texts {
            reply.bulk(name);
            reply.bulk(text);
        }
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(client);
        let numbers: [(&[u8], i64); 3] = [
            (b"entry-id", id.cast_signed()),
            (b"timestamp-created", entry.created_ms),
            (b"timestamp-last-updated", entry.updated_ms),
        ];
        for (name, number) in numbers {
            reply.bulk(name);
            reply.int(number);
        }
    }
    Ok(())
}
