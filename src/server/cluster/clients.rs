//! Clients that wait for what is no longer served here: subscribers of sharded channels are told that their subscriptions
//! have ended, and clients that are blocked on keys get the error that asking anew would give them.

use crate::algorithms::slot::slot_of;
use crate::resp::CommandError;
use crate::server::Server;
use crate::server::client::ClientKey;
use crate::server::pubsub::Kind;

impl Server {
    /// To be called when slots were taken away from this node or its cluster may have failed.
    pub(super) fn leave_unserved(&mut self) {
        self.end_unserved_channels();
        self.end_unserved_waits();
    }

    fn end_unserved_channels(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let names = self.pubsub.names(Kind::Shard);
        let unserved: Vec<Vec<u8>> =
            names.filter(|name| !cluster.serves(slot_of(name))).map(<[u8]>::to_vec).collect();
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

    fn end_unserved_waits(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let is_ok = cluster.is_ok(&self.config);
        let refused = |key: &Vec<u8>| match (is_ok, cluster.serves(slot_of(key))) {
            (false, _) => Some(CommandError::ClusterDown),
            (true, false) => Some(CommandError::SlotNotServed),
            (true, true) => None,
        };
        let waits: Vec<(ClientKey, CommandError)> = self
            .clients
            .iter()
            .filter_map(|client| Some((client.key, refused(client.blocked.as_ref()?.keys.first()?)?)))
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
