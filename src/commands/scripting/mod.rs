//! Scripts: EVAL and its kin, the cache of scripts, functions.

mod eval;
mod function;
mod script;

use crate::server::command::{Command, Group};

/// What the family's commands have in common.
const SCRIPTING: Command = Command { group: Group::Scripting, ..Command::DEFAULT };

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
