//! Requests of blocked clients that run again, because a key they wait for was written, or end because their time is over.

use super::Engine;
use super::blocking::WaitEnd;
use super::call::Call;
use super::client::ClientKey;
use crate::algorithms::slot::slot_of;
use crate::keyspace::Keys;
use crate::sys::clock;
use crate::types::ValueType;

impl Engine {
    /// Serves clients whose keys were written, until no key is ready; while the append-only file is loaded they go on waiting.
    #[inline]
    pub fn serve_blocked(&mut self) {
        let waits = self.server.scripting.is_busy() || self.server.aof.is_replaying();
        if self.server.blocked.has_ready() && !waits {
            self.serve_ready();
        }
    }

    fn serve_ready(&mut self) {
        while let Some((database, key, clients)) = self.server.blocked.next_ready() {
            // The command that wrote the key may have taken long: it may have expired since.
            self.server.now_ms = self.server.now_ms.max(clock::unix_ms());
            for client in clients {
                self.retry(client, database, &key);
            }
        }
    }

    /// Runs a blocked client's request again.
    fn retry(&mut self, client: ClientKey, database: usize, key: &[u8]) {
        let Some(blocked) = self.server.clients.get(client).and_then(|record| record.blocked.as_deref())
        else {
            return;
        };
        if blocked.database != database || !blocked.keys.iter().any(|waited| waited == key) {
            return;
        }
        // A client that would only wait again keeps its place in the queues.
        if !blocked.wants_deletion {
            let awaited = blocked.awaited_type();
            if awaited.is_none() || self.type_of(database, key) != awaited {
                return;
            }
        }
        let Some(blocked) = self.server.blocked.unblock(&mut self.server.clients, client) else { return };
        let rights = self.server.check_rights(client, blocked.command, blocked.request.args());
        let Some(record) = self.server.clients.get_mut(client) else { return };
        if let Err(error) = rights {
            error.write(&mut record.output);
            self.server.stats.commands[blocked.command.id].rejected += 1;
            self.server.stats.count_error(&error.code());
            return self.server.clients.needs_attention(client);
        }
        let mut reply = std::mem::take(&mut record.output);
        self.server.ticks = clock::ticks();
        // Monitors saw the request when it began to wait.
        if self.server.cluster.is_some() {
            self.server.begin_slot(Some(slot_of(key)));
        }
        let call = Call { client, entry: blocked.command, hint: None, in_transaction: false };
        let before = self.begin_tracking_of(client);
        let again = call.invoke(&mut self.keyspace, &mut self.server, blocked.request.args(), &mut reply);
        self.server.end_unit();
        self.end_tracking_of(client, before, Some(blocked.command), &mut reply);
        if let Some(record) = self.server.clients.get_mut(client) {
            record.output = reply;
        }
        match again {
            // The deadline stays the one of the first attempt.
            Some(_) => self.server.blocked.block(&mut self.server.clients, client, *blocked),
            None => {
                self.server.count_slot_wait(&blocked.request);
                self.server.clients.needs_attention(client);
            }
        }
    }

    /// The type of what is under a key and has not expired. An expired entry stays: it goes, and is told to have gone,
    /// when a command comes across it.
    fn type_of(&mut self, database: usize, key: &[u8]) -> Option<ValueType> {
        let now_ms = self.server.now_ms;
        let keys = Keys { keyspace: &mut self.keyspace, database, now_ms, hint: None, touches: false };
        keys.raw(key).filter(|entry| !entry.is_expired(now_ms)).map(|entry| entry.value_type())
    }

    /// Replies to blocked clients whose time is over.
    pub fn expire_blocked(&mut self) {
        let now_ms = self.server.now_ms;
        while let Some(client) = self.server.blocked.next_overdue(&self.server.clients, now_ms) {
            self.unblock_with_timeout(client);
        }
    }

    /// Ends a client's wait as if its time were over.
    pub fn unblock_with_timeout(&mut self, client: ClientKey) {
        self.server.end_wait(client, WaitEnd::Timeout);
    }
}
