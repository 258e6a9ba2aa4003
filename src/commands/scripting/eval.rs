//! EVAL, EVALSHA and their read-only forms.

use super::SCRIPTING;
use crate::commands::arguments::integer;
use crate::resp::CommandError;
use crate::scripting::library::sha1_hex;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, KeySpec, Outcome, category, flag, key_flag};
use crate::server::scripting::ScriptName;

const FLAGS: u64 = flag::NOSCRIPT
    | flag::SKIP_MONITOR
    | flag::MAY_REPLICATE
    | flag::NO_MANDATORY_KEYS
    | flag::STALE
    | flag::MOVABLE_KEYS;

/// How keys will be used cannot be told, so the worst is assumed.
const ANY_USE: &[KeySpec] = &[KeySpec::counted(2, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)];
const ANY_READ: &[KeySpec] = &[KeySpec::counted(2, key_flag::RO | key_flag::ACCESS)];

/// The arguments after the first one.
pub(super) const KEYS_AND_ARGUMENTS: [Arg; 3] = [
    Arg::integer("numkeys"),
    Arg::key("key").optional().multiple(),
    Arg::string("arg").optional().multiple(),
];

const OF_SCRIPT: &[Arg] =
    &[Arg::string("script"), KEYS_AND_ARGUMENTS[0], KEYS_AND_ARGUMENTS[1], KEYS_AND_ARGUMENTS[2]];
const OF_NAME: &[Arg] =
    &[Arg::string("sha1"), KEYS_AND_ARGUMENTS[0], KEYS_AND_ARGUMENTS[1], KEYS_AND_ARGUMENTS[2]];

pub(super) const EVAL: Command = Command {
    name: "eval",
    arity: -3,
    flags: FLAGS,
    categories: category::SCRIPTING,
    keys: ANY_USE,
    since: "2.6.0",
    complexity: "That of the script",
    summary: "Runs a script.",
    arguments: OF_SCRIPT,
    handler: eval,
    ..SCRIPTING
};

pub(super) const EVAL_RO: Command = Command {
    name: "eval_ro",
    flags: FLAGS & !flag::MAY_REPLICATE | flag::READONLY,
    keys: ANY_READ,
    since: "7.0.0",
    summary: "Runs a script that must not write.",
    ..EVAL
};

pub(super) const EVALSHA: Command = Command {
    name: "evalsha",
    summary: "Runs a cached script by its SHA-1.",
    arguments: OF_NAME,
    handler: evalsha,
    ..EVAL
};

pub(super) const EVALSHA_RO: Command = Command {
    name: "evalsha_ro",
    flags: FLAGS & !flag::MAY_REPLICATE | flag::READONLY,
    keys: ANY_READ,
    since: "7.0.0",
    summary: "Runs a cached script, which must not write, by its SHA-1.",
    ..EVALSHA
};

/// How many of the arguments from the third on are keys.
pub(super) fn key_count(args: Args<'_>) -> Result<usize, CommandError> {
    let count = integer(args.at(2))?;
    if count > args.len() as i64 - 3 {
        return Err(CommandError::KeysBeyondArguments);
    }
    usize::try_from(count).map_err(|_| CommandError::NegativeKeys)
}

/// Runs a cached script; what follows the count of keys is split by it.
fn run(cx: &mut Context<'_>, args: Args<'_>, name: &ScriptName, keys: usize) -> Outcome {
    let words = args.from(3);
    cx.run_script(name, args, words.until(keys), words.from(keys))
}

fn eval(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.show_monitors(args);
    let keys = key_count(args)?;
    let name = sha1_hex(args.at(1));
    cx.server.scripting.add(name, args.at(1), false)?;
    run(cx, args, &name, keys)
}

fn evalsha(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.show_monitors(args);
    let mut name = ScriptName::try_from(args.at(1)).map_err(|_| CommandError::NoScript)?;
    name.make_ascii_lowercase();
    let keys = key_count(args)?;
    run(cx, args, &name, keys)
}
