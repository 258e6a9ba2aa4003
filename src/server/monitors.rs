//! Who is fed every command as it runs (MONITOR), and the line they are fed.

use std::io::Write;

use super::client::{Client, ClientKey, Clients};
use super::command::{Args, TableEntry, flag};
use super::redaction::{REDACTED, is_redacted};
use crate::config::quote;
use crate::memory::vec_usage;
use crate::resp::Reply;
use crate::sys::clock;

/// The clients in monitor mode, in the order they asked for it.
#[derive(Debug, Default)]
pub struct Monitors(Vec<ClientKey>);

impl Monitors {
    /// A client is fed from now on.
    pub fn add(&mut self, client: ClientKey) {
        if !self.0.contains(&client) {
            self.0.push(client);
        }
    }

    /// A client is fed no longer.
    pub fn remove(&mut self, client: ClientKey) {
        self.0.retain(|other| *other != client);
    }

    /// Whether nobody is fed.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Heap bytes of the list.
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        vec_usage(&self.0)
    }

    /// Feeds a command that a client ran in a database; `reply` is the output of that client, which its record
    /// does not hold while it runs.
    pub fn feed(
        &self,
        clients: &mut Clients,
        running: ClientKey,
        (database, from_script): (usize, bool),
        entry: &TableEntry,
        args: Args<'_>,
        reply: &mut Reply,
    ) {
        if !entry.command.has(flag::SKIP_MONITOR | flag::ADMIN) {
            self.show(clients, running, (database, from_script), entry, args, reply);
        }
    }

    /// The same for a command that is not shown once it has run: one that runs a script, which is shown before it.
    pub fn show(
        &self,
        clients: &mut Clients,
        running: ClientKey,
        (database, from_script): (usize, bool),
        entry: &TableEntry,
        args: Args<'_>,
        reply: &mut Reply,
    ) {
        let Some(origin) = clients.get(running) else { return };
        let line = line(origin, database, from_script, entry, args);
        for monitor in &self.0 {
            if *monitor == running {
                reply.raw(&line);
            } else if let Some(client) = clients.get_mut(*monitor) {
                client.output.raw(&line);
                clients.needs_attention(*monitor);
            }
        }
    }
}

/// `+<seconds>.<microseconds> [<database> <address>] "<argument>" ...`, quoted as Valkey quotes.
fn line(origin: &Client, database: usize, from_script: bool, entry: &TableEntry, args: Args<'_>) -> Vec<u8> {
    let now_us = clock::unix_us();
    let (seconds, microseconds) = (now_us / 1_000_000, now_us % 1_000_000);
    let origin = match origin.address.strip_suffix(":0") {
        _ if from_script => "lua".to_owned(),
        Some(path) if origin.unix_socket => format!("unix:{path}"),
        _ => origin.address.clone(),
    };
    let mut line = Vec::new();
    // Writing to a vector cannot fail.
    let _ = write!(line, "+{seconds}.{microseconds:06} [{database} {origin}]");
    for (index, arg) in args.iter().enumerate() {
        line.push(b' ');
        line.extend_from_slice(&quote(if is_redacted(entry, args, index) { REDACTED } else { arg }));
    }
    line.extend_from_slice(b"\r\n");
    line
}
