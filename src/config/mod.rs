//! One table of options: name, type, default, mutability, documentation; the file reader and rewriter.
//!
//! `options.rs` declares each option once and generates [`Config`] and [`OPTIONS`] from that. A value is
//! set from text only through the table, so files, the command line and CONFIG SET obey the same rules.
//! `Config` is a plain value: whoever holds it reads its fields; effects outside of it (listeners, limits
//! of the process) are the caller's, who learns from [`Changes`] what to do. One exception: `dir` changes
//! the working directory at once, as in Valkey.
#![deny(clippy::indexing_slicing)]

mod change;
mod check;
mod command_line;
mod file;
mod options;
mod rewrite;
mod spec;
mod special;
mod text;
mod value;
mod words;

pub use change::{Changes, ConfigError, SetContext, find_option};
pub use command_line::{CommandLine, Invocation, parse_command_line};
pub use file::{Directive, Directives, LoadError, Loaded, Sources, VALKEY_VERSION, load};
pub use options::{Config, OPTIONS};
pub use rewrite::{Rewriting, replace_file};
pub use spec::{Flags, Form, Kind, OptionSpec, TextCheck};
pub use special::{
    Addresses, EventClasses, OomScores, OutputBufferLimit, OutputBufferLimits, Percentiles, ReplicaOf,
    SavePoint, SavePoints, WorkingDirectory,
};
pub use text::{Text, os_reason, quote, split_arguments};
pub use value::Reason;
pub use words::*;

impl Config {
    /// How many databases there are: a cluster has a number of its own.
    #[must_use]
    pub fn database_count(&self) -> usize {
        (if self.cluster_enabled { self.cluster_databases } else { self.databases }) as usize
    }
}

#[cfg(test)]
mod tests;
