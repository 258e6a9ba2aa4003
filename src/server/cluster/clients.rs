//! Clients that wait for what is no longer served here: subscribers of sharded channels are told that their subscriptions
//! have ended, and clients that are blocked on keys get the error that asking anew would give them.

use crate::algorithms::slot::slot_of;
use crate::bus::SlotSet;
use crate::resp::CommandError;
use crate::server::Server;
use crate::server::client::ClientKey;
use crate::server::command::flag;
use crate::server::pubsub::Kind;

impl Server {
    /// Slots were taken from somebody: subscribers of their channels, unless the shard has them still, have to go.
    pub(super) fn end_channels(&mut self, released: &SlotSet) {
        let Some(cluster) = &self.cluster else { return };
        let names = self.pubsub.names(Kind::Shard);
        let unserved: Vec<Vec<u8>> = names
            .filter(|name| released.contains(slot_of(name)) && !cluster.shard_serves(slot_of(name)))
            .map(<[u8]>::to_vec)
            .collect();
        for name in unserved {
            for client in self.pubsub.subscribers_of(Kind::Shard, &name) {
                self.pubsub.unsubscribe(&mut self.clients, client, Kind::Shard, &name);
                let Some(record) = self.clients.get_mut(client) else { continue };
                let left = record.subscriptions.as_ref().map_or(0, |all| all.count(Kind::Shard));
                record.output.push(3);
                record.output.bulk(b"sunsubscribe");
                record.output.bulk(&name);
                record.output.int(left as i64);
                self.clients.needs_attention(client);
            }
        }
    }

    /// The state or the owners of slots have changed: who waits for keys that are not served here is sent on.
    pub(in crate::server) fn end_unserved_waits(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let waits: Vec<(ClientKey, CommandError)> = self
            .clients
            .iter()
            .filter_map(|client| {
                let blocked = client.blocked.as_ref()?;
                let slot = slot_of(blocked.keys.first()?);
                let reads = client.readonly && !blocked.command.command.has(flag::WRITE);
                let error = match cluster.refuses_wait(slot, reads)? {
                    Ok(redirection) => self.redirection_error(client.key, slot, redirection),
                    Err(error) => error,
                };
                Some((client.key, error))
            })
            .collect();
        for (client, error) in waits {
            let Some(blocked) = self.blocked.unblock(&mut self.clients, client) else { continue };
            self.count(client, blocked.command, 0, true);
            self.stats.count_error(&error.code());
            if let Some(record) = self.clients.get_mut(client) {
                error.write(&mut record.output);
            }
            self.clients.needs_attention(client);
        }
    }
}
