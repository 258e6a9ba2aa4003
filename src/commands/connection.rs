//! Commands of the connection itself: PING, ECHO, SELECT, QUIT, AUTH, HELLO, RESET.

use crate::algorithms::numbers::parse_i64;
use crate::config::VALKEY_VERSION;
use crate::resp::{CommandError, Protocol};
use crate::server::acl::DEFAULT_USER;
use crate::server::client::{ReplyMode, is_plain_word};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::{Context, REDIS_VERSION};

/// The family.
pub(super) const COMMANDS: &[Command] = &[PING, ECHO, SELECT, QUIT, AUTH, HELLO, RESET, READONLY, READWRITE];

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
    let subscribed = cx.client().is_some_and(|client| client.subscriptions.is_some());
    match args.len() {
        1 | 2 if subscribed && cx.reply.protocol() == Protocol::Resp2 => {
            cx.reply.array(2);
            cx.reply.bulk(b"pong");
            cx.reply.bulk(args.at(1));
        }
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
    flags: flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
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
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Closes the connection after a last reply.",
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

const AUTH: Command = Command {
    name: "auth",
    arity: -2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(N) where N is the number of passwords defined for the user",
    summary: "Authenticates the connection.",
    arguments: &[Arg::string("username").since("6.0.0").optional(), Arg::string("password")],
    history: &[("6.0.0", "A user name can stand before the password.")],
    handler: auth,
    ..Command::DEFAULT
};

fn auth(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (user, password) = match args.len() {
        2 if !cx.server.acl.asks_for_password() => return Err(CommandError::AuthWithoutPassword),
        2 => (DEFAULT_USER, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(CommandError::Syntax),
    };
    authenticate(cx, args.at(0), user, password)?;
    cx.reply.ok();
    Ok(())
}

/// Lets the client in, or notes that it was refused.
fn authenticate(cx: &mut Context<'_>, command: &[u8], user: &[u8], password: &[u8]) -> Outcome {
    if !cx.server.acl.accepts(user, password) {
        cx.server.note_failed_login(cx.client, user, command);
        return Err(CommandError::WrongPass);
    }
    let login = cx.server.acl.login(user);
    cx.server.log_in(cx.client, login, true);
    Ok(())
}

const HELLO: Command = Command {
    name: "hello",
    arity: -1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Chooses the protocol version and introduces the client; replies what the server is.",
    arguments: &[Arg::block(
        "arguments",
        &[
            Arg::integer("protover"),
            Arg::block("auth", &[Arg::string("username"), Arg::string("password")]).token("AUTH").optional(),
            Arg::string("clientname").token("SETNAME").optional(),
        ],
    )
    .optional()],
    history: &[
        ("8.1.0", "The reply has an `availability_zone` when that option is set."),
        ("6.2.0", "The version may be left out, to only ask."),
    ],
    handler: hello,
    ..Command::DEFAULT
};

/// What HELLO was asked to do.
#[derive(Default)]
struct Greeting<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut greeting = Self::default();
        if let Some(version) = args.get(1) {
            greeting.protocol = match parse_i64(version) {
                Some(2) => Some(Protocol::Resp2),
                Some(3) => Some(Protocol::Resp3),
                Some(_) => return Err(CommandError::NoProto),
                None => return Err(CommandError::ProtocolVersion),
            };
        }
        let mut at = 2;
        while let Some(option) = args.get(at) {
            match (args.get(at + 1), args.get(at + 2)) {
                (Some(user), Some(password)) if option.eq_ignore_ascii_case(b"auth") => {
                    greeting.credentials = Some((user, password));
                    at += 3;
                }
                (Some(name), _) if option.eq_ignore_ascii_case(b"setname") => {
                    if !is_plain_word(name) {
                        return Err(CommandError::ClientName);
                    }
                    greeting.name = Some(name);
                    at += 2;
                }
                _ => return Err(CommandError::HelloSyntax(option.into())),
            }
        }
        Ok(greeting)
    }
}

fn hello(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let greeting = Greeting::parse(args)?;
    if let Some((user, password)) = greeting.credentials {
        authenticate(cx, args.at(0), user, password)?;
    }
    if !cx.client().is_some_and(|client| client.authenticated) {
        return Err(CommandError::HelloNoAuth);
    }
    if let (Some(name), Some(client)) = (greeting.name, cx.client_mut()) {
        client.name = name.to_vec();
    }
    if let Some(protocol) = greeting.protocol {
        cx.reply.set_protocol(protocol);
    }
    introduce(cx);
    Ok(())
}

/// Replies what the server is.
fn introduce(cx: &mut Context<'_>) {
    let redis = cx.server.config.extended_redis_compatibility;
    let zone = cx.server.config.availability_zone.as_bytes();
    let id = cx.client().map_or(0, |client| client.id);
    let mode = cx.server.mode();
    let reply = &mut *cx.reply;
    reply.map(7 + usize::from(!zone.is_empty()));
    reply.bulk(b"server");
    reply.bulk(if redis { b"redis" } else { b"valkey" });
    reply.bulk(b"version");
    reply.bulk(if redis { REDIS_VERSION } else { VALKEY_VERSION }.as_bytes());
    reply.bulk(b"proto");
    reply.int(match reply.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    });
    reply.bulk(b"id");
    reply.int(id.cast_signed());
    reply.bulk(b"mode");
    reply.bulk(mode.as_bytes());
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone);
    }
}

const RESET: Command = Command {
    name: "reset",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Brings the connection back to the state of a new one.",
    handler: reset,
    ..Command::DEFAULT
};

fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Context { server, client, reply, .. } = cx;
    server.watched.unwatch(&mut server.clients, *client);
    server.monitors.remove(*client);
    server.end_subscriptions(*client);
    server.stop_tracking(*client);
    server.log_out(*client);
    if let Some(client) = server.clients.get_mut(*client) {
        client.discard_transaction();
        client.database = 0;
        client.name = Vec::new();
        client.readonly = false;
        client.asking = false;
        client.monitor = false;
        client.reply_mode = ReplyMode::On;
        client.no_touch = false;
        client.no_evict = false;
        client.import_source = false;
    }
    reply.set_protocol(Protocol::Resp2);
    reply.simple("RESET");
    Ok(())
}

/// Connections say it to nodes of a cluster; elsewhere it is only remembered.
const READONLY: Command = Command {
    name: "readonly",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    categories: category::CONNECTION,
    group: Group::Cluster,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Lets the connection read from a replica of a cluster.",
    handler: readonly,
    ..Command::DEFAULT
};

fn readonly(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    set_readonly(cx, true)
}

const READWRITE: Command = Command {
    name: "readwrite",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    categories: category::CONNECTION,
    group: Group::Cluster,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Takes READONLY back.",
    handler: readwrite,
    ..Command::DEFAULT
};

fn readwrite(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    set_readonly(cx, false)
}

fn set_readonly(cx: &mut Context<'_>, on: bool) -> Outcome {
    if let Some(client) = cx.client_mut() {
        client.readonly = on;
    }
    cx.reply.ok();
    Ok(())
}
