//! COMMAND: what commands there are, derived from their specifications.

mod details;
mod docs;

use super::arguments::is_word;
use super::help::container_help;
use crate::algorithms::glob;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeyPosition, Outcome, TableEntry, category, declared_keys_of, flag,
    key_flag,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[COMMAND];

const COMMAND: Command = Command {
    name: "command",
    arity: -1,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of commands",
    summary: "Replies the details of every command.",
    tips: &["nondeterministic_output_order"],
    subcommands: &[
        COMMAND_COUNT,
        COMMAND_DOCS,
        COMMAND_GETKEYS,
        COMMAND_GETKEYSANDFLAGS,
        COMMAND_HELP,
        COMMAND_INFO,
        COMMAND_LIST,
    ],
    handler: command,
    ..Command::DEFAULT
};

fn command(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let entries = sorted(cx);
    cx.reply.array(entries.len());
    for entry in entries {
        details::write(entry, cx.reply);
    }
    Ok(())
}

/// The top-level commands by name.
fn sorted(cx: &Context<'_>) -> Vec<&'static TableEntry> {
    let mut entries: Vec<_> = cx.server.commands.iter().collect();
    entries.sort_unstable_by_key(|entry| entry.full_name.as_str());
    entries
}

const COMMAND_COUNT: Command = Command {
    name: "count",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Replies the number of commands.",
    handler: count,
    ..Command::DEFAULT
};

fn count(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let count = cx.server.commands.len();
    cx.reply.int(count as i64);
    Ok(())
}

const COMMAND_INFO: Command = Command {
    name: "info",
    arity: -2,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the number of commands to look up",
    summary: "Replies the details of some commands, or of every one.",
    arguments: &[Arg::string("command-name").optional().multiple()],
    history: &[("7.0.0", "Without names, every command is meant.")],
    tips: &["nondeterministic_output_order"],
    handler: info,
    ..Command::DEFAULT
};

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 2 {
        return command(cx, args);
    }
    cx.reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        match cx.server.commands.by_full_name(name) {
            Some(entry) => details::write(entry, cx.reply),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

const COMMAND_DOCS: Command = Command {
    name: "docs",
    arity: -2,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the number of commands to look up",
    summary: "Replies the documentation of some commands, or of every one.",
    arguments: &[Arg::string("command-name").optional().multiple()],
    tips: &["nondeterministic_output_order"],
    handler: docs,
    ..Command::DEFAULT
};

fn docs(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let commands = cx.server.commands;
    let entries: Vec<_> = match args.len() {
        2 => sorted(cx),
        _ => args.from(2).iter().filter_map(|name| commands.by_full_name(name)).collect(),
    };
    cx.reply.map(entries.len());
    for entry in entries {
        docs::write(entry, cx.reply);
    }
    Ok(())
}

const COMMAND_LIST: Command = Command {
    name: "list",
    arity: -2,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the total number of commands",
    summary: "Replies the names of commands.",
    arguments: &[Arg::one_of(
        "filterby",
        &[
            Arg::string("module-name").token("MODULE"),
            Arg::string("category").token("ACLCAT"),
            Arg::new("pattern", ArgKind::Pattern).token("PATTERN"),
        ],
    )
    .token("FILTERBY")
    .optional()],
    tips: &["nondeterministic_output_order"],
    handler: list,
    ..Command::DEFAULT
};

/// Which commands COMMAND LIST replies.
enum Choice<'a> {
    All,
    /// Those of a module, of which there is none.
    Module,
    Category(u32),
    Pattern(&'a [u8]),
}

impl<'a> Choice<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        match (args.len(), args.at(0), args.at(1), args.at(2)) {
            (0, ..) => Ok(Self::All),
            (3, word, kind, value) if is_word(word, "filterby") => match kind {
                kind if is_word(kind, "module") => Ok(Self::Module),
                kind if is_word(kind, "aclcat") => Ok(Self::Category(category::named(value).unwrap_or(0))),
                kind if is_word(kind, "pattern") => Ok(Self::Pattern(value)),
                _ => Err(CommandError::Syntax),
            },
            _ => Err(CommandError::Syntax),
        }
    }

    fn includes(&self, entry: &TableEntry) -> bool {
        match self {
            Self::All => true,
            Self::Module => false,
            Self::Category(category) => entry.command.all_categories() & category != 0,
            Self::Pattern(pattern) => glob::matches(pattern, entry.full_name.as_bytes(), true),
        }
    }
}

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let choice = Choice::parse(args.from(2))?;
    let mut names: Vec<&str> = cx
        .server
        .commands
        .every()
        .filter(|entry| choice.includes(entry))
        .map(|entry| entry.full_name.as_str())
        .collect();
    names.sort_unstable();
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name.as_bytes());
    }
    Ok(())
}

const COMMAND_GETKEYS: Command = Command {
    name: "getkeys",
    arity: -3,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the number of arguments to the command",
    summary: "Replies the keys among the arguments of a request.",
    arguments: &[Arg::string("command"), Arg::string("arg").optional().multiple()],
    handler: getkeys,
    ..Command::DEFAULT
};

fn getkeys(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let request = args.from(2);
    let keys = keys(cx, request)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.bulk(request.at(key.index));
    }
    Ok(())
}

const COMMAND_GETKEYSANDFLAGS: Command = Command {
    name: "getkeysandflags",
    arity: -3,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the number of arguments to the command",
    summary: "Replies the keys among the arguments of a request, and what is done to them.",
    arguments: &[Arg::string("command"), Arg::string("arg").optional().multiple()],
    handler: getkeysandflags,
    ..Command::DEFAULT
};

fn getkeysandflags(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let request = args.from(2);
    let keys = keys(cx, request)?;
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.array(2);
        cx.reply.bulk(request.at(key.index));
        names(cx.reply, key_flag::NAMES, |flag| key.flags & flag != 0);
    }
    Ok(())
}

/// The keys of a request that is an argument itself.
fn keys(cx: &Context<'_>, request: Args<'_>) -> Result<Vec<KeyPosition>, CommandError> {
    let entry = cx.server.commands.named(request).ok_or(CommandError::CommandInvalid)?;
    if !entry.command.takes_keys() {
        return Err(CommandError::CommandNoKeys);
    }
    if !entry.command.accepts(request.len()) {
        return Err(CommandError::CommandKeyCount);
    }
    match declared_keys_of(entry, request) {
        Some(keys) if !keys.is_empty() => Ok(keys),
        _ if entry.command.has(flag::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => Err(CommandError::CommandKeyArguments),
    }
}

/// A set of the names whose flags are set.
fn names<F: Copy>(reply: &mut Reply, names: &[(F, &str)], mut is_set: impl FnMut(F) -> bool) {
    let chosen: Vec<&str> = names.iter().filter(|(flag, _)| is_set(*flag)).map(|(_, name)| *name).collect();
    reply.set(chosen.len());
    for name in chosen {
        reply.simple(name);
    }
}

const COMMAND_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how COMMAND is used.",
    handler: container_help,
    ..Command::DEFAULT
};
