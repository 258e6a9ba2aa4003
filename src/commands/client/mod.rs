//! CLIENT: who is connected, and how each connection is treated.

mod filter;
mod tracking;

use super::arguments::is_word;
use super::help::container_help;
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::blocking::WaitEnd;
use crate::server::client::{ReplyMode, is_plain_word};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::{Client, Context, Pause, Server};

use filter::Filter;
use tracking::{CLIENT_CACHING, CLIENT_GETREDIR, CLIENT_TRACKING, CLIENT_TRACKINGINFO};

/// The family.
pub(super) const COMMANDS: &[Command] = &[CLIENT];

const CLIENT: Command = Command {
    name: "client",
    arity: -2,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about connections.",
    subcommands: &[
        CLIENT_CACHING,
        CLIENT_CAPA,
        CLIENT_GETNAME,
        CLIENT_GETREDIR,
        CLIENT_HELP,
        CLIENT_ID,
        CLIENT_IMPORT_SOURCE,
        CLIENT_INFO,
        CLIENT_KILL,
        CLIENT_LIST,
        CLIENT_NO_EVICT,
        CLIENT_NO_TOUCH,
        CLIENT_PAUSE,
        CLIENT_REPLY,
        CLIENT_SETINFO,
        CLIENT_SETNAME,
        CLIENT_TRACKING,
        CLIENT_TRACKINGINFO,
        CLIENT_UNBLOCK,
        CLIENT_UNPAUSE,
    ],
    ..Command::DEFAULT
};

const CLIENT_ID: Command = Command {
    name: "id",
    arity: 2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies the number of the connection, which is never used again.",
    handler: id,
    ..Command::DEFAULT
};

fn id(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = cx.client().map_or(0, |client| client.id);
    cx.reply.int(id.cast_signed());
    Ok(())
}

const CLIENT_INFO: Command = Command {
    name: "info",
    arity: 2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Describes the connection itself.",
    tips: &["nondeterministic_output"],
    handler: info,
    ..Command::DEFAULT
};

fn info(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let key = cx.client;
    let line = with_own_output(cx, |server| {
        server.clients.get(key).map(|client| client.describe(server.now_ms, false)).unwrap_or_default()
    });
    cx.reply.verbatim(b"txt", &[line.as_slice(), b"\n"].concat());
    Ok(())
}

const CLIENT_LIST: Command = Command {
    name: "list",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(N) where N is the number of client connections",
    summary: "Describes the connections, one line each.",
    arguments: &[
        Arg::one_of(
            "client-type",
            &[
                Arg::flag("normal", "NORMAL"),
                Arg::flag("master", "MASTER"),
                Arg::flag("replica", "REPLICA"),
                Arg::flag("pubsub", "PUBSUB"),
            ],
        )
        .token("TYPE")
        .since("5.0.0")
        .optional(),
        Arg::integer("client-id").token("ID").since("6.2.0").optional().multiple(),
        Arg::string("username").token("USER").since("8.1.0").optional(),
        Arg::string("addr").shown_as("ip:port").token("ADDR").since("8.1.0").optional(),
        Arg::string("laddr").shown_as("ip:port").token("LADDR").since("8.1.0").optional(),
        Arg::one_of("skipme", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")])
            .token("SKIPME")
            .since("8.1.0")
            .optional(),
        Arg::integer("maxage").token("MAXAGE").since("8.1.0").optional(),
        Arg::string("name").token("NAME").since("9.0.0").optional(),
        Arg::integer("idle").token("IDLE").since("9.0.0").optional(),
        Arg::string("flags").token("FLAGS").since("9.0.0").optional(),
        Arg::string("lib-name").token("LIB-NAME").since("9.0.0").optional(),
        Arg::string("lib-ver").token("LIB-VER").since("9.0.0").optional(),
        Arg::integer("db").token("DB").since("9.0.0").optional(),
        Arg::string("capa").token("CAPA").since("9.0.0").optional(),
        Arg::string("ip").token("IP").since("9.0.0").optional(),
        Arg::one_of(
            "not-client-type",
            &[
                Arg::flag("normal", "NORMAL"),
                Arg::flag("master", "MASTER"),
                Arg::flag("replica", "REPLICA"),
                Arg::flag("pubsub", "PUBSUB"),
            ],
        )
        .token("NOT-TYPE")
        .since("9.0.0")
        .optional(),
        Arg::integer("not-client-id").token("NOT-ID").since("9.0.0").optional().multiple(),
        Arg::string("not-username").token("NOT-USER").since("9.0.0").optional(),
        Arg::string("not-addr").shown_as("ip:port").token("NOT-ADDR").since("9.0.0").optional(),
        Arg::string("not-laddr").shown_as("ip:port").token("NOT-LADDR").since("9.0.0").optional(),
        Arg::string("not-name").token("NOT-NAME").since("9.0.0").optional(),
        Arg::string("not-flags").token("NOT-FLAGS").since("9.0.0").optional(),
        Arg::string("not-lib-name").token("NOT-LIB-NAME").since("9.0.0").optional(),
        Arg::string("not-lib-ver").token("NOT-LIB-VER").since("9.0.0").optional(),
        Arg::integer("not-db").token("NOT-DB").since("9.0.0").optional(),
        Arg::string("not-capa").token("NOT-CAPA").since("9.0.0").optional(),
        Arg::string("not-ip").token("NOT-IP").since("9.0.0").optional(),
    ],
    history: &[
        ("2.8.12", "The number of the client is shown."),
        ("5.0.0", "Can be limited to a type."),
        ("6.0.0", "The user is shown."),
        (
            "6.2.0",
            "Shows memory of arguments and in all, the local address and the redirection; can be limited to numbers.",
        ),
        ("7.0.0", "Shows the protocol, the memory of MULTI and the reply buffer."),
        ("7.0.3", "Shows subscriptions to sharded channels."),
        ("8.0.0", "The type `master` is called `primary` too."),
        ("8.1.0", "Can be limited by user, addresses and age, and leave the caller out."),
        (
            "9.0.0",
            "Can be limited by name, idle time, flags, library, database, capabilities and IP; every limit has a negative form.",
        ),
    ],
    tips: &["nondeterministic_output"],
    handler: list,
    ..Command::DEFAULT
};

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let filter = match args.len() {
        2 => Filter::default(),
        3 => return Err(CommandError::Syntax),
        _ => Filter::parse(args.from(2), cx)?,
    };
    let key = cx.client;
    let lines = with_own_output(cx, |server| {
        let mut lines = Vec::new();
        for client in connected(server).filter(|client| filter.matches(client, key, server.now_ms)) {
            lines.extend_from_slice(&client.describe(server.now_ms, false));
            lines.push(b'\n');
        }
        lines
    });
    cx.reply.verbatim(b"txt", &lines);
    Ok(())
}

/// Everyone but those who were closed and whose connections have not seen it yet.
fn connected(server: &Server) -> impl Iterator<Item = &Client> {
    let mut clients: Vec<_> = server.clients.iter().filter(|client| !client.close_now).collect();
    clients.sort_unstable_by_key(|client| client.id);
    clients.into_iter()
}

/// Runs `read` while the record of the calling client is complete: its replies are in the writer otherwise.
fn with_own_output<T>(cx: &mut Context<'_>, read: impl FnOnce(&Server) -> T) -> T {
    let Context { server, reply, client, command, .. } = cx;
    if let Some(record) = server.clients.get_mut(*client) {
        record.last_command = Some(command);
        // What it sent is parsed and on its way to be run.
        record.query.pending = 0;
        std::mem::swap(&mut record.output, reply);
    }
    let value = read(server);
    if let Some(record) = server.clients.get_mut(*client) {
        std::mem::swap(&mut record.output, reply);
    }
    value
}

const CLIENT_KILL: Command = Command {
    name: "kill",
    arity: -3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(N) where N is the number of client connections",
    summary: "Closes connections.",
    arguments: &[Arg::one_of(
        "filter",
        &[
            Arg::string("old-format").shown_as("ip:port").deprecated("2.8.12"),
            Arg::one_of(
                "new-format",
                &[
                    Arg::integer("client-id").token("ID").since("2.8.12").optional().multiple(),
                    Arg::one_of(
                        "client-type",
                        &[
                            Arg::flag("normal", "NORMAL"),
                            Arg::flag("master", "MASTER").since("3.2.0"),
                            Arg::flag("primary", "PRIMARY").since("8.0.0"),
                            Arg::flag("slave", "SLAVE"),
                            Arg::flag("replica", "REPLICA").since("5.0.0"),
                            Arg::flag("pubsub", "PUBSUB"),
                        ],
                    )
                    .token("TYPE")
                    .since("2.8.12")
                    .optional(),
                    Arg::string("username").token("USER").optional(),
                    Arg::string("addr").shown_as("ip:port").token("ADDR").optional(),
                    Arg::string("laddr").shown_as("ip:port").token("LADDR").since("6.2.0").optional(),
                    Arg::one_of("skipme", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")])
                        .token("SKIPME")
                        .optional(),
                    Arg::integer("maxage").token("MAXAGE").since("8.0.0").optional(),
                    Arg::string("name").token("NAME").since("9.0.0").optional(),
                    Arg::integer("idle").token("IDLE").since("9.0.0").optional(),
                    Arg::string("flags").token("FLAGS").since("9.0.0").optional(),
                    Arg::string("lib-name").token("LIB-NAME").since("9.0.0").optional(),
                    Arg::string("lib-ver").token("LIB-VER").since("9.0.0").optional(),
                    Arg::integer("db").token("DB").since("9.0.0").optional(),
                    Arg::string("capa").token("CAPA").since("9.0.0").optional(),
                    Arg::string("ip").token("IP").since("9.0.0").optional(),
                    Arg::one_of(
                        "not-client-type",
                        &[
                            Arg::flag("normal", "NORMAL"),
                            Arg::flag("master", "MASTER"),
                            Arg::flag("primary", "PRIMARY"),
                            Arg::flag("slave", "SLAVE"),
                            Arg::flag("replica", "REPLICA"),
                            Arg::flag("pubsub", "PUBSUB"),
                        ],
                    )
                    .token("NOT-TYPE")
                    .since("9.0.0")
                    .optional(),
                    Arg::integer("not-client-id").token("NOT-ID").since("9.0.0").optional().multiple(),
                    Arg::string("not-username").token("NOT-USER").since("9.0.0").optional(),
                    Arg::string("not-addr").shown_as("ip:port").token("NOT-ADDR").since("9.0.0").optional(),
                    Arg::string("not-laddr").shown_as("ip:port").token("NOT-LADDR").since("9.0.0").optional(),
                    Arg::string("not-name").token("NOT-NAME").since("9.0.0").optional(),
                    Arg::string("not-flags").token("NOT-FLAGS").since("9.0.0").optional(),
                    Arg::string("not-lib-name").token("NOT-LIB-NAME").since("9.0.0").optional(),
                    Arg::string("not-lib-ver").token("NOT-LIB-VER").since("9.0.0").optional(),
                    Arg::integer("not-db").token("NOT-DB").since("9.0.0").optional(),
                    Arg::string("not-capa").token("NOT-CAPA").since("9.0.0").optional(),
                    Arg::string("not-ip").token("NOT-IP").since("9.0.0").optional(),
                ],
            )
            .multiple(),
        ],
    )],
    history: &[
        ("2.8.12", "Filters."),
        ("2.8.12", "Filter `ID`."),
        ("3.2.0", "Type `master`."),
        ("5.0.0", "The type `slave` is called `replica` too."),
        ("6.2.0", "Filter `LADDR`."),
        ("8.0.0", "Filter `MAXAGE`."),
        ("8.0.0", "The type `master` is called `primary` too."),
        ("8.1.0", "Several numbers after `ID`."),
        (
            "9.0.0",
            "Filters by name, idle time, flags, library, database, capabilities and IP; every filter has a negative form.",
        ),
    ],
    handler: kill,
    ..Command::DEFAULT
};

fn kill(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter::of_address(args.at(2))
    } else {
        Filter::parse(args.from(2), cx)?.skipping_me()
    };
    let (own, now_ms) = (cx.client, cx.server.now_ms);
    let found: Vec<_> = with_own_output(cx, |server| {
        connected(server)
            .filter(|client| filter.matches(client, own, now_ms))
            .map(|client| client.key)
            .collect()
    });
    for key in &found {
        cx.server.kick(*key, Some(own));
    }
    match (old_form, found.len()) {
        (true, 0) => return Err(CommandError::NoSuchClient),
        (true, _) => cx.reply.ok(),
        (false, count) => cx.reply.int(count as i64),
    }
    Ok(())
}

const CLIENT_SETNAME: Command = Command {
    name: "setname",
    arity: 3,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "2.6.9",
    complexity: "O(1)",
    summary: "Names the connection.",
    arguments: &[Arg::string("connection-name")],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: setname,
    ..Command::DEFAULT
};

fn setname(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = args.at(2);
    if !is_plain_word(name) {
        return Err(CommandError::ClientName);
    }
    if let Some(client) = cx.client_mut() {
        client.name = name.to_vec();
    }
    cx.reply.ok();
    Ok(())
}

const CLIENT_GETNAME: Command = Command {
    name: "getname",
    arity: 2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "2.6.9",
    complexity: "O(1)",
    summary: "Replies the name of the connection.",
    handler: getname,
    ..Command::DEFAULT
};

fn getname(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Context { server, client, reply, .. } = cx;
    match server.clients.get(*client) {
        Some(client) if !client.name.is_empty() => reply.bulk(&client.name),
        _ => reply.null(),
    }
    Ok(())
}

const CLIENT_SETINFO: Command = Command {
    name: "setinfo",
    arity: 4,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Says which client library is at work.",
    arguments: &[Arg::one_of(
        "attr",
        &[Arg::string("libname").token("LIB-NAME"), Arg::string("libver").token("LIB-VER")],
    )],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: setinfo,
    ..Command::DEFAULT
};

fn setinfo(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (attribute, value) = (args.at(2), args.at(3));
    let is_name = is_word(attribute, "lib-name");
    if !is_name && !is_word(attribute, "lib-ver") {
        return Err(CommandError::UnrecognizedOption(attribute.into()));
    }
    if !is_plain_word(value) {
        return Err(CommandError::SpecialCharacters(attribute.into()));
    }
    if let Some(client) = cx.client_mut() {
        let place = if is_name { &mut client.library_name } else { &mut client.library_version };
        *place = value.to_vec();
    }
    cx.reply.ok();
    Ok(())
}

const CLIENT_REPLY: Command = Command {
    name: "reply",
    arity: 3,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "3.2.0",
    complexity: "O(1)",
    summary: "Chooses which replies the connection gets.",
    arguments: &[Arg::one_of(
        "action",
        &[Arg::flag("on", "ON"), Arg::flag("off", "OFF"), Arg::flag("skip", "SKIP")],
    )],
    handler: reply,
    ..Command::DEFAULT
};

fn reply(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mode = match args.at(2) {
        word if is_word(word, "on") => ReplyMode::On,
        word if is_word(word, "off") => ReplyMode::Off,
        word if is_word(word, "skip") => ReplyMode::SkipNext,
        _ => return Err(CommandError::Syntax),
    };
    // Who wants no replies at all need not skip one.
    let skips_in_vain =
        |client: &&mut Client| mode == ReplyMode::SkipNext && client.reply_mode == ReplyMode::Off;
    if let Some(client) = cx.client_mut().filter(|client| !skips_in_vain(client)) {
        client.reply_mode = mode;
    }
    if mode == ReplyMode::On {
        cx.reply.ok();
    }
    Ok(())
}

/// ON or OFF.
fn switch(word: &[u8]) -> Result<bool, CommandError> {
    match word {
        word if is_word(word, "on") => Ok(true),
        word if is_word(word, "off") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

const CLIENT_NO_EVICT: Command = Command {
    name: "no-evict",
    arity: 3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Keeps the connection when clients are closed for their memory.",
    arguments: &[Arg::one_of("enabled", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")])],
    handler: no_evict,
    ..Command::DEFAULT
};

fn no_evict(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let on = switch(args.at(2))?;
    if let Some(client) = cx.client_mut() {
        client.no_evict = on;
    }
    cx.reply.ok();
    Ok(())
}

const CLIENT_NO_TOUCH: Command = Command {
    name: "no-touch",
    arity: 3,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Leaves the access clocks of keys alone that the connection reads.",
    arguments: &[Arg::one_of("enabled", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")])],
    handler: no_touch,
    ..Command::DEFAULT
};

fn no_touch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let on = switch(args.at(2))?;
    if let Some(client) = cx.client_mut() {
        client.no_touch = on;
    }
    cx.reply.ok();
    Ok(())
}

const CLIENT_CAPA: Command = Command {
    name: "capa",
    arity: -3,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "8.0.0",
    complexity: "O(1)",
    summary: "Says what the client is able to do.",
    arguments: &[Arg::string("capability").multiple()],
    handler: capa,
    ..Command::DEFAULT
};

fn capa(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let redirect = args.from(2).iter().any(|word| is_word(word, "redirect"));
    if let Some(client) = cx.client_mut() {
        client.follows_redirects |= redirect;
    }
    cx.reply.ok();
    Ok(())
}

const CLIENT_PAUSE: Command = Command {
    name: "pause",
    arity: -3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Holds clients back for some time.",
    arguments: &[
        Arg::integer("timeout"),
        Arg::one_of("mode", &[Arg::flag("write", "WRITE"), Arg::flag("all", "ALL")])
            .since("6.2.0")
            .optional(),
    ],
    history: &[("6.2.0", "Can hold back writes only.")],
    handler: pause,
    ..Command::DEFAULT
};

fn pause(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let writes_only = match args.get(3) {
        Some(word) if is_word(word, "write") => true,
        Some(word) if !is_word(word, "all") => return Err(CommandError::ClientPauseMode),
        _ => false,
    };
    if args.len() > 4 {
        return Err(CommandError::Syntax);
    }
    let now_ms = cx.now_ms();
    let milliseconds = parse_i64(args.at(2)).ok_or(CommandError::TimeoutNotAnInteger)?;
    if milliseconds < 0 {
        return Err(CommandError::TimeoutNegative);
    }
    let until_ms = now_ms.checked_add(milliseconds).ok_or(CommandError::TimeoutOutOfRange)?;
    cx.server.pauses.pause(Pause { until_ms, writes_only }, now_ms);
    cx.reply.ok();
    Ok(())
}

const CLIENT_UNPAUSE: Command = Command {
    name: "unpause",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(N) Where N is the number of paused clients",
    summary: "Lets clients go on that were held back.",
    handler: unpause,
    ..Command::DEFAULT
};

fn unpause(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.server.end_pause();
    cx.reply.ok();
    Ok(())
}

const CLIENT_UNBLOCK: Command = Command {
    name: "unblock",
    arity: -3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(log N) where N is the number of client connections",
    summary: "Ends the wait of a blocked client.",
    arguments: &[
        Arg::integer("client-id"),
        Arg::one_of("unblock-type", &[Arg::flag("timeout", "TIMEOUT"), Arg::flag("error", "ERROR")])
            .optional(),
    ],
    handler: unblock,
    ..Command::DEFAULT
};

fn unblock(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let end = match args.get(3) {
        None => WaitEnd::Timeout,
        Some(word) if is_word(word, "timeout") => WaitEnd::Timeout,
        Some(word) if is_word(word, "error") => WaitEnd::Error,
        Some(_) => return Err(CommandError::ClientUnblockReason),
    };
    let id = parse_i64(args.at(2)).ok_or(CommandError::NotAnInteger)?;
    let key = u64::try_from(id).ok().and_then(|id| cx.server.clients.by_id(id)).map(|client| client.key);
    let ended = key.is_some_and(|key| cx.server.end_wait(key, end));
    cx.reply.int(i64::from(ended));
    Ok(())
}

const CLIENT_IMPORT_SOURCE: Command = Command {
    name: "import-source",
    arity: 3,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "8.1.0",
    complexity: "O(1)",
    summary: "Marks the connection as one that imports data.",
    arguments: &[Arg::one_of("enabled", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")])],
    handler: import_source,
    ..Command::DEFAULT
};

fn import_source(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !cx.server.config.import_mode && !is_word(args.at(2), "off") {
        return Err(CommandError::NotImporting);
    }
    let on = switch(args.at(2))?;
    if let Some(client) = cx.client_mut() {
        client.import_source = on;
    }
    cx.reply.ok();
    Ok(())
}

const CLIENT_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how CLIENT is used.",
    handler: container_help,
    ..Command::DEFAULT
};
