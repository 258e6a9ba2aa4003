//! ACL: users and their rights. The rights themselves are in `server/acl`.

mod show;

use show::{ACL_CAT, ACL_GETUSER, ACL_LIST, ACL_LOG, ACL_USERS, ACL_WHOAMI};

use super::arguments::integer;
use super::help::container_help;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::acl::{Asked, DEFAULT_USER, is_name};
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};
use crate::server::file_save::Content;

/// The family.
pub(super) const COMMANDS: &[Command] = &[ACL];

/// What the commands about users have in common.
const ADMINISTERS: u64 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;
/// What those have that anybody may give.
const ASKS: u64 = flag::NOSCRIPT | flag::LOADING | flag::STALE;

const ACL: Command = Command {
    name: "acl",
    arity: -2,
    group: Group::Server,
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about users and their rights.",
    subcommands: &[
        ACL_CAT,
        ACL_DELUSER,
        ACL_DRYRUN,
        ACL_GENPASS,
        ACL_GETUSER,
        ACL_HELP,
        ACL_LIST,
        ACL_LOAD,
        ACL_LOG,
        ACL_SAVE,
        ACL_SETUSER,
        ACL_USERS,
        ACL_WHOAMI,
    ],
    ..Command::DEFAULT
};

/// A word too many after a subcommand whose arity does not exclude it.
fn too_many(args: Args<'_>) -> CommandError {
    CommandError::SubcommandSyntax { command: args.at(0).into(), subcommand: args.at(1).into() }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ACL_SETUSER: Command = Command {
    name: "setuser",
    arity: -3,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of rules provided.",
    summary: "Makes or changes a user by rules.",
    arguments: &[Arg::string("username"), Arg::string("rule").optional().multiple()],
    history: &[
        ("6.2.0", "Patterns of channels."),
        ("7.0.0", "Selectors, and patterns of keys to read or to write."),
        ("9.1.0", "Databases."),
    ],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: set_user,
    ..Command::DEFAULT
};

fn set_user(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = args.at(2);
    if !is_name(name) {
        return Err(CommandError::custom("ERR Usernames can't contain spaces or null characters"));
    }
    cx.server.set_user(name, args.from(3).iter(), cx.client)?;
    cx.reply.ok();
    Ok(())
}

const ACL_DELUSER: Command = Command {
    name: "deluser",
    arity: -3,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1) amortized time considering the typical user.",
    summary: "Deletes users and closes their connections.",
    arguments: &[Arg::string("username").multiple()],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: delete_users,
    ..Command::DEFAULT
};

fn delete_users(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let names = args.from(2);
    if names.iter().any(|name| name == DEFAULT_USER) {
        return Err(CommandError::custom("ERR The 'default' user cannot be removed"));
    }
    let deleted = names.iter().filter(|name| cx.server.delete_user(name, cx.client)).count();
    cx.reply.int(deleted as i64);
    Ok(())
}

const ACL_DRYRUN: Command = Command {
    name: "dryrun",
    arity: -4,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(1).",
    summary: "Replies whether a user may run a command, without running it.",
    arguments: &[Arg::string("username"), Arg::string("command"), Arg::string("arg").optional().multiple()],
    handler: dry_run,
    ..Command::DEFAULT
};

fn dry_run(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (name, args) = (args.at(2), args.from(3));
    let not_found =
        |what: &str, name| CommandError::custom([what.as_bytes(), b" '", name, b"' not found"].concat());
    let user = cx.server.acl.user(name).ok_or_else(|| not_found("ERR User", name))?;
    let entry = cx.server.commands.named(args).ok_or_else(|| not_found("ERR Command", args.at(0)))?;
    if !entry.command.accepts(args.len()) {
        return Err(CommandError::WrongArity(entry.full_name.as_str().into()));
    }
    let databases = cx.keys.keyspace.databases().len();
    match user.check(Asked { entry, args, database: cx.keys.database, databases }) {
        Ok(()) => cx.reply.ok(),
        Err(denied) => cx.reply.bulk(&denied.explain(name, entry, args)),
    }
    Ok(())
}

const ACL_GENPASS: Command = Command {
    name: "genpass",
    arity: -2,
    flags: ASKS,
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
        return Err(too_many(args));
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

const ACL_LOAD: Command = Command {
    name: "load",
    arity: 2,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of configured users.",
    summary: "Replaces all users by those of the file of users.",
    handler: load,
    ..Command::DEFAULT
};

fn load(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.server.config.aclfile.is_empty() {
        return Err(CommandError::NoAclFile);
    }
    cx.load_users()
}

const ACL_SAVE: Command = Command {
    name: "save",
    arity: 2,
    flags: ADMINISTERS,
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(N). Where N is the number of configured users.",
    summary: "Writes all users into the file of users.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: save,
    ..Command::DEFAULT
};

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.server.config.aclfile.is_empty() {
        return Err(CommandError::NoAclFile);
    }
    let path = cx.server.config.aclfile.as_path().to_owned();
    let text = cx.server.acl.file_text();
    cx.save_file(&path, Content::Users(text))
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
