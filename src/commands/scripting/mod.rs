//! Scripts: EVAL and its kin, the cache of scripts.

mod eval;
mod script;

use crate::server::command::{Command, Group};

/// What the family's commands have in common.
const SCRIPTING: Command = Command { group: Group::Scripting, ..Command::DEFAULT };

/// The family.
pub(super) const COMMANDS: &[Command] =
    &[eval::EVAL, eval::EVAL_RO, eval::EVALSHA, eval::EVALSHA_RO, script::SCRIPT];
