//! A client that waits for the end of something which a task around the engine does in its place.
//!
//! Clients come and go meanwhile and their places are used again, so whoever waits is known by its number and by which of
//! its commands it waits in.

use super::Server;
use super::client::ClientKey;
use crate::resp::CommandError;

/// A client during one of its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    client: ClientKey,
    id: u64,
    /// How many commands it had run when it began to wait.
    commands: u64,
}

impl Waiter {
    /// The client's key, which is another one's if it no longer waits.
    #[must_use]
    pub fn client(self) -> ClientKey {
        self.client
    }
}

impl Server {
    /// A client that begins to wait in the command that it runs; `None` when it is gone.
    #[must_use]
    pub fn waiter(&self, client: ClientKey) -> Option<Waiter> {
        let record = self.clients.get(client)?;
        Some(Waiter { client, id: record.id, commands: record.commands })
    }

    /// Whether a client still waits in the command of this name.
    #[must_use]
    pub fn still_waits(&self, waiter: Waiter, command: &str) -> bool {
        self.clients.get(waiter.client).is_some_and(|record| {
            (record.id, record.commands) == (waiter.id, waiter.commands)
                && record.blocked.as_ref().is_some_and(|blocked| blocked.command.command.name == command)
        })
    }

    /// Replies to a client that waits in the command of this name, unless it is gone or waits no longer.
    pub fn answer(&mut self, waiter: Waiter, command: &str, outcome: Result<(), CommandError>) {
        if !self.still_waits(waiter, command) {
            return;
        }
        let Some(blocked) = self.blocked.unblock(&mut self.clients, waiter.client) else { return };
        self.count(waiter.client, blocked.command, 0, outcome.is_err());
        if let Err(error) = &outcome {
            self.stats.count_error(&error.code());
        }
        if let Some(record) = self.clients.get_mut(waiter.client) {
            match outcome {
                Err(error) => error.write(&mut record.output),
                Ok(()) => record.output.ok(),
            }
        }
        self.clients.needs_attention(waiter.client);
    }
}
