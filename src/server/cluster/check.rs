//! Whether this node may run a command: its keys must be in one slot, and the slot must be served here.
//!
//! The order of the checks is Valkey's (`getNodeByQuery`). Sharded channels are looked at as if they were keys.

use super::Cluster;
use crate::algorithms::slot::slot_of;
use crate::config::Config;
use crate::resp::CommandError;
use crate::server::Server;
use crate::server::client::ClientKey;
use crate::server::command::{Args, TableEntry, flag, indices_of, key_flag, keys_of};

/// The slot of a request's keys; `None` when it has none.
///
/// # Errors
/// CROSSSLOT.
pub(super) fn slot_of_request(entry: &TableEntry, args: Args<'_>) -> Result<Option<u16>, CommandError> {
    let command = entry.command;
    if command.keys.is_empty() && !command.has(flag::MOVABLE_KEYS) {
        return Ok(None);
    }
    let keys = keys_of(entry, args).unwrap_or_default().into_iter().map(|key| key.index);
    let channels = command
        .keys
        .iter()
        .filter(|spec| spec.flags & key_flag::NOT_KEY != 0)
        .filter_map(|spec| indices_of(spec, args))
        .flatten();
    one_slot(keys.chain(channels).map(|index| Some(slot_of(args.at(index)))))
}

/// The one slot of several.
fn one_slot(slots: impl Iterator<Item = Option<u16>>) -> Result<Option<u16>, CommandError> {
    let mut found = None;
    for slot in slots.flatten() {
        if *found.get_or_insert(slot) != slot {
            return Err(CommandError::CrossSlot);
        }
    }
    Ok(found)
}

impl Server {
    /// The slot that a request is for, if this is a node of a cluster; an EXEC is for that of what was queued.
    ///
    /// # Errors
    /// CROSSSLOT; CLUSTERDOWN where the slot, or no slot at all, is served.
    pub(in crate::server) fn check_slot(
        &self,
        client: ClientKey,
        entry: &TableEntry,
        args: Args<'_>,
    ) -> Result<Option<u16>, CommandError> {
        let Some(cluster) = &self.cluster else { return Ok(None) };
        let transaction = self.clients.get(client).and_then(|record| record.transaction.as_deref());
        let (slot, flags) = match transaction {
            Some(transaction) if entry.command.name == "exec" => {
                let queue = &transaction.queue;
                // Each was refused when it was queued, had it been for several slots.
                let slots = queue
                    .iter()
                    .map(|(entry, request)| slot_of_request(entry, request.args()).unwrap_or(None));
                (one_slot(slots)?, queue.iter().fold(0, |flags, (entry, _)| flags | entry.command.flags))
            }
            _ => (slot_of_request(entry, args)?, entry.command.flags),
        };
        if let Some(slot) = slot {
            cluster.check(slot, flags, &self.config)?;
        }
        Ok(slot)
    }
}

impl Cluster {
    fn check(&self, slot: u16, flags: u64, config: &Config) -> Result<(), CommandError> {
        if !self.serves(slot) {
            return Err(CommandError::SlotNotServed);
        }
        if self.is_ok(config) {
            return Ok(());
        }
        if flags & flag::PUBSUB != 0 {
            return if config.cluster_allow_pubsubshard_when_down {
                Ok(())
            } else {
                Err(CommandError::ClusterDown)
            };
        }
        if !config.cluster_allow_reads_when_down {
            return Err(CommandError::ClusterDown);
        }
        if flags & flag::WRITE != 0 { Err(CommandError::ClusterDownReads) } else { Ok(()) }
    }
}
