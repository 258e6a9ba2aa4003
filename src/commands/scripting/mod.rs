//! Scripts: EVAL and its kin, the cache of scripts, functions.

mod eval;
mod function;
mod script;

use crate::commands::arguments::is_word;
use crate::commands::help::container_help;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, category, flag};

/// What the family's commands have in common.
const SCRIPTING: Command = Command { group: Group::Scripting, ..Command::DEFAULT };

/// What the subcommands of SCRIPT and of FUNCTION have in common.
const SUBCOMMAND: Command = Command { flags: flag::NOSCRIPT, categories: category::SCRIPTING, ..SCRIPTING };

/// HELP of either.
const HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    summary: "Describes the subcommands.",
    handler: container_help,
    ..SUBCOMMAND
};

/// KILL of either, without its handler.
const KILL: Command = Command {
    name: "kill",
    arity: 2,
    flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    ..SUBCOMMAND
};

/// How FLUSH of either is to free what there was.
const FLUSH_TYPE: Arg =
    Arg::one_of("flush-type", &[Arg::flag("async", "ASYNC"), Arg::flag("sync", "SYNC")]).optional();

/// Whether FLUSH frees elsewhere; `None` if its arguments are wrong.
fn flushes_lazily(cx: &Context<'_>, args: Args<'_>) -> Option<bool> {
    match (args.len(), args.get(2)) {
        (2, _) => Some(cx.server.config.lazyfree_lazy_user_flush),
        (3, Some(word)) if is_word(word, "async") => Some(true),
        (3, Some(word)) if is_word(word, "sync") => Some(false),
        _ => None,
    }
}

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    eval::EVAL,
    eval::EVAL_RO,
    eval::EVALSHA,
    eval::EVALSHA_RO,
    function::FCALL,
    function::FCALL_RO,
    function::FUNCTION,
    script::SCRIPT,
];
