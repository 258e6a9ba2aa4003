//! What a command is: its specification and its handler, one constant, and the table that finds it by name.
//!
//! COMMAND INFO, DOCS and GETKEYS, ACL categories, arity errors and propagation are all derived from [`Command`].

mod flags;
mod keys;
mod request;
mod syntax;
mod table;

pub use flags::{Group, category, flag, key_flag};
pub use keys::{KeyPosition, LegacyRange, declared_keys_of, indices_of, keys_of};
pub use request::{Args, Request};
pub use syntax::{Arg, ArgKind, Begin, Find, KeySpec};
pub use table::{CommandTable, TableEntry};

use super::Context;
use crate::resp::CommandError;

/// What a handler ends with; an error becomes the reply.
pub type Outcome = Result<(), CommandError>;

/// Runs a command whose arity was checked: parses its arguments into a plan, then acts.
pub type Handler = fn(&mut Context<'_>, Args<'_>) -> Outcome;

/// A command: everything there is to know of it, in one place.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Lower-case name; of a subcommand the last word only.
    pub name: &'static str,
    /// Number of arguments, the name included (for a subcommand both words); negative: at least that many.
    pub arity: i32,
    /// [`flag`]s.
    pub flags: u64,
    /// Explicit ACL [`category`]s.
    pub categories: u32,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// The group it is documented under.
    pub group: Group,
    /// The version it came with.
    pub since: &'static str,
    /// Cost.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its syntax.
    pub arguments: &'static [Arg],
    /// Version and what changed.
    pub history: &'static [(&'static str, &'static str)],
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// Version since which it is deprecated, and what to use; empty for neither.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Its subcommands; a container has no handler of its own behaviour.
    pub subcommands: &'static [Command],
    /// What runs it.
    pub handler: Handler,
}

impl Command {
    /// What most commands leave as it is.
    pub const DEFAULT: Self = Self {
        name: "",
        arity: 1,
        flags: 0,
        categories: 0,
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        arguments: &[],
        history: &[],
        tips: &[],
        deprecated: None,
        subcommands: &[],
        handler: subcommand_only,
    };

    /// Whether it has this [`flag`].
    #[must_use]
    pub const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Whether it answers by pushes: it subscribes, or ends that. What only publishes or shows may run in scripts.
    #[must_use]
    pub const fn pushes(&self) -> bool {
        self.has(flag::PUBSUB) && self.has(flag::NOSCRIPT)
    }

    /// Whether it reads or changes data and nothing else: no state of its client, nor of the server.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        let elsewhere = matches!(
            self.group,
            Group::Cluster
                | Group::Connection
                | Group::Pubsub
                | Group::Scripting
                | Group::Server
                | Group::Transactions
        );
        self.has(flag::WRITE | flag::READONLY) && !elsewhere
    }

    /// All ACL categories: the explicit ones and those that flags imply.
    #[must_use]
    pub const fn all_categories(&self) -> u32 {
        let mut all = self.categories;
        if self.has(flag::WRITE) {
            all |= category::WRITE;
        }
        // Scripting commands read and write what the script does, so they are in neither.
        if self.has(flag::READONLY) && all & category::SCRIPTING == 0 {
            all |= category::READ;
        }
        if self.has(flag::ADMIN) {
            all |= category::ADMIN | category::DANGEROUS;
        }
        if self.has(flag::PUBSUB) {
            all |= category::PUBSUB;
        }
        if self.has(flag::FAST) {
            all |= category::FAST;
        }
        if self.has(flag::BLOCKING) {
            all |= category::BLOCKING;
        }
        if all & category::FAST == 0 {
            all |= category::SLOW;
        }
        all
    }

    /// Whether a request of `count` arguments satisfies the arity.
    #[must_use]
    pub const fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }
}

/// The handler of a container: reached only when no subcommand was given, which the arity rules out.
fn subcommand_only(_: &mut Context<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::Syntax)
}
