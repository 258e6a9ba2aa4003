//! Commands about the server as such: TIME, LOLWUT, MONITOR, MODULE, and the fixed part of ACL.

use sha2::{Digest, Sha256};

use super::arguments::integer;
use super::help::container_help;
use crate::config::VALKEY_VERSION;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::client::DEFAULT_USER;
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::sys::clock;

/// The family.
pub(super) const COMMANDS: &[Command] = &[TIME, LOLWUT, MONITOR, MODULE, ACL];

const TIME: Command = Command {
    name: "time",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    group: Group::Server,
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Replies the server's time: seconds of Unix time and microseconds.",
    tips: &["nondeterministic_output"],
    handler: time,
    ..Command::DEFAULT
};

fn time(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let now_us = cx.server.scripting.time_us().unwrap_or_else(clock::unix_us);
    cx.reply.array(2);
    cx.reply.bulk_int(now_us / 1_000_000);
    cx.reply.bulk_int(now_us % 1_000_000);
    Ok(())
}

const LOLWUT: Command = Command {
    name: "lolwut",
    arity: -1,
    flags: flag::READONLY | flag::FAST,
    group: Group::Server,
    since: "5.0.0",
    complexity: "",
    summary: "Replies a picture that nobody needs, and the version.",
    arguments: &[Arg::integer("version").token("VERSION").optional()],
    handler: lolwut,
    ..Command::DEFAULT
};

fn lolwut(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    /// A loaded scale.
    const PICTURE: &str = concat!(
        "          ___________\n",
        "         |  _  _  _  |\n",
        "   ______|_|_||_||_|_|______\n",
        "  /__________________________\\\n",
        "        |  000000 B  |\n",
        "        |____________|\n",
    );
    let title = cx.server.title().name();
    cx.reply.verbatim(b"txt", format!("{PICTURE}\n{title} ver. {VALKEY_VERSION}\n").as_bytes());
    Ok(())
}

const MONITOR: Command = Command {
    name: "monitor",
    arity: 1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "1.0.0",
    complexity: "",
    summary: "Feeds the connection every command as it runs.",
    handler: monitor,
    ..Command::DEFAULT
};

fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.in_transaction {
        return Err(CommandError::MonitorDenied);
    }
    let key = cx.client;
    if let Some(client) = cx.client_mut() {
        client.monitor = true;
        cx.server.monitors.add(key);
    }
    cx.reply.ok();
    Ok(())
}

const MODULE: Command = Command {
    name: "module",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about modules.",
    subcommands: &[MODULE_HELP, MODULE_LIST],
    ..Command::DEFAULT
};

const MODULE_LIST: Command = Command {
    name: "list",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(N) where N is the number of loaded modules.",
    summary: "Replies the modules that are loaded: there are none.",
    tips: &["nondeterministic_output_order"],
    handler: module_list,
    ..Command::DEFAULT
};

fn module_list(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.array(0);
    Ok(())
}

const MODULE_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Replies how MODULE is used.",
    handler: container_help,
    ..Command::DEFAULT
};

const ACL: Command = Command {
    name: "acl",
    arity: -2,
    group: Group::Server,
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about users and their rights.",
    subcommands: &[ACL_CAT, ACL_GENPASS, ACL_HELP, ACL_LIST, ACL_USERS, ACL_WHOAMI],
    ..Command::DEFAULT
};

const ACL_WHOAMI: Command = Command {
    name: "whoami",
    arity: 2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Replies the user of the connection.",
    handler: whoami,
    ..Command::DEFAULT
};

fn whoami(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.bulk(DEFAULT_USER);
    Ok(())
}

const ACL_USERS: Command = Command {
    name: "users",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of configured users.",
    summary: "Replies the names of the users.",
    handler: users,
    ..Command::DEFAULT
};

fn users(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.array(1);
    cx.reply.bulk(DEFAULT_USER);
    Ok(())
}

const ACL_CAT: Command = Command {
    name: "cat",
    arity: -2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
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
            let mut names: Vec<&str> = cx
                .server
                .commands
                .every()
                .filter(|entry| entry.command.all_categories() & wanted != 0)
                .map(|entry| entry.full_name.as_str())
                .collect();
            names.sort_unstable();
            cx.reply.array(names.len());
            for name in names {
                cx.reply.bulk(name.as_bytes());
            }
        }
        _ => {
            let (command, subcommand) = (args.at(0).into(), args.at(1).into());
            return Err(CommandError::SubcommandSyntax { command, subcommand });
        }
    }
    Ok(())
}

const ACL_LIST: Command = Command {
    name: "list",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of configured users.",
    summary: "Replies the rules of the users.",
    handler: acl_list,
    ..Command::DEFAULT
};

fn acl_list(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let password = cx.server.config.requirepass.as_bytes();
    let secret = if password.is_empty() {
        "nopass".to_owned()
    } else {
        format!("#{}", hexadecimal(&Sha256::digest(password)))
    };
    cx.reply.array(1);
    cx.reply.bulk(format!("user default on {secret} ~* &* +@all").as_bytes());
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ACL_GENPASS: Command = Command {
    name: "genpass",
    arity: -2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Replies a random password.",
    arguments: &[Arg::integer("bits").optional()],
    handler: genpass,
    ..Command::DEFAULT
};

fn genpass(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const MOST_BITS: i64 = 4096;
    const DEFAULT_BITS: i64 = 256;
    if args.len() > 3 {
        let (command, subcommand) = (args.at(0).into(), args.at(1).into());
        return Err(CommandError::SubcommandSyntax { command, subcommand });
    }
    let bits = args.get(2).map_or(Ok(DEFAULT_BITS), integer)?;
    if !(1..=MOST_BITS).contains(&bits) {
        return Err(CommandError::custom(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MOST_BITS}"
        )));
    }
    let digits = bits.unsigned_abs().div_ceil(4) as usize;
    let mut random = vec![0; digits.div_ceil(2)];
    if getrandom::fill(&mut random).is_err() {
        return Err(CommandError::custom("ERR the system has no random bytes"));
    }
    let mut password = hexadecimal(&random);
    password.truncate(digits);
    cx.reply.bulk(password.as_bytes());
    Ok(())
}

const ACL_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Replies how ACL is used.",
    handler: container_help,
    ..Command::DEFAULT
};
