//! The commands, one family a file; a command is one block: specification and handler together.
//!
//! To add a command: write its constant and handler in its family's file and list it in the family's slice.

mod arguments;
mod connection;
mod expiry;
mod scan;

use crate::server::command::CommandTable;

/// The table of every command.
#[must_use]
pub fn table() -> CommandTable {
    CommandTable::new(&[connection::COMMANDS])
}
