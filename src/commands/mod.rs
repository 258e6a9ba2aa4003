//! The commands, one family a file; a command is one block: specification and handler together.
//!
//! To add a command: write its constant and handler in its family's file and list it in the family's slice.

mod acl;
mod arguments;
mod bitmap;
mod client;
mod cluster;
mod command;
mod command_log;
mod config;
mod connection;
mod debug;
mod expiry;
mod generic;
mod geo;
mod hash;
mod help;
mod hyperloglog;
mod info;
mod latency;
mod list;
mod memory;
mod persistence;
mod pubsub;
mod replicaof;
mod replication;
mod scan;
mod scripting;
mod server;
mod set;
mod shutdown;
mod sorted_set;
mod stream;
mod string;
mod timeout;
mod transactions;

use crate::server::command::{Command, CommandTable};

/// The table of every command.
#[must_use]
pub fn table() -> CommandTable {
    const FAMILIES: &[&[Command]] = &[
        // One a line.
        acl::COMMANDS,
        bitmap::COMMANDS,
        client::COMMANDS,
        cluster::COMMANDS,
        command::COMMANDS,
        command_log::COMMANDS,
        config::COMMANDS,
        connection::COMMANDS,
        generic::COMMANDS,
        debug::COMMANDS,
        geo::COMMANDS,
        hash::COMMANDS,
        hyperloglog::COMMANDS,
        info::COMMANDS,
        latency::COMMANDS,
        list::COMMANDS,
        memory::COMMANDS,
        persistence::COMMANDS,
        pubsub::COMMANDS,
        replicaof::COMMANDS,
        replication::COMMANDS,
        scripting::COMMANDS,
        server::COMMANDS,
        set::COMMANDS,
        shutdown::COMMANDS,
        sorted_set::COMMANDS,
        stream::COMMANDS,
        string::COMMANDS,
        transactions::COMMANDS,
    ];
    CommandTable::new(FAMILIES)
}
