//! Replies on a connection that carries a stream: nobody reads them, so they tell of something that went wrong.

use super::super::Server;
use super::super::client::{Client, ClientKey};
use super::super::command::TableEntry;
use crate::config::quote;

/// How much of the stream the log shows with an error that it brought about (Valkey: 256).
const LOGGED_STREAM_BYTES: usize = 256;

impl Client {
    /// Whether it has asked for data as a replica.
    #[inline]
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.is_attached())
    }
}

fn name(command: Option<&TableEntry>) -> &str {
    command.map_or("<unknown>", |entry| entry.full_name.as_str())
}

impl Server {
    /// A request on such a connection was answered with an error; `roles` are this server's and the peer's. What the
    /// primary did could not be done here, or a replica asks for what it may not.
    pub(in crate::server) fn note_error_to(
        &mut self,
        client: ClientKey,
        roles: [&str; 2],
        command: Option<&TableEntry>,
        reply: &[u8],
    ) {
        self.stats.unexpected_error_replies += 1;
        let text = String::from_utf8_lossy(reply.strip_prefix(b"-").unwrap_or(reply));
        let record = self.clients.get(client);
        let [own, peer] = roles;
        tracing::warn!(
            "== CRITICAL == This {own} is sending an error to its {peer}: '{}' after processing the command '{}'",
            text.trim_end(),
            name(command)
        );
        let from_primary = record.is_some_and(|record| record.primary.is_some());
        if let Some(stream) = self.replication.stream().filter(|_| from_primary) {
            let last = quote(&stream.last_bytes(LOGGED_STREAM_BYTES));
            tracing::warn!("Latest backlog is: '{}'", String::from_utf8_lossy(&last));
        }
    }

    /// A replica was replied to: its connection ends.
    pub(in crate::server) fn disconnect_talking_replica(
        &mut self,
        client: ClientKey,
        command: Option<&TableEntry>,
    ) {
        let Some(record) = self.clients.get(client) else { return };
        let description = record.describe(self.now_ms, self.config.hide_user_data_from_log);
        tracing::warn!(
            "Replica generated a reply to command '{}', disconnecting it: {}",
            name(command),
            String::from_utf8_lossy(&description)
        );
        self.clients.close(client, None);
    }
}
