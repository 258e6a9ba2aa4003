//! Whether this node may run a command: its keys must be in one slot, and the slot must be served here.
//!
//! The order of the checks is Valkey's (`getNodeByQuery`). Sharded channels are looked at as if they were keys.

use super::describe::Reader;
use super::node::NodeKey;
use super::{Cluster, View};
use crate::algorithms::numbers::parse_i64;
use crate::algorithms::slot::slot_of;
use crate::config::{ClusterPreferredEndpointType, Config};
use crate::keyspace::Keyspace;
use crate::resp::CommandError;
use crate::server::Server;
use crate::server::client::{Client, ClientKey};
use crate::server::command::{
    Args, Request as CommandRequest, TableEntry, flag, indices_of, key_flag, keys_of,
};

/// Where a client is sent on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirection {
    /// To the node that has the slot.
    Moved(NodeKey),
    /// To the node that the slot is on its way to, for this request only.
    Ask(NodeKey),
}

/// The slot of a request's keys; `None` when it has none.
///
/// # Errors
/// CROSSSLOT.
pub(in crate::server) fn slot_of_request(
    entry: &TableEntry,
    args: Args<'_>,
) -> Result<Option<u16>, CommandError> {
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

/// Which of a request's keys are there, where its slot is on its way.
#[derive(Debug, Default)]
struct Presence {
    missing: bool,
    existing: bool,
    /// The first of them.
    first: Option<Vec<u8>>,
    /// There are several different keys.
    several: bool,
    /// A command is among them of which it cannot be told.
    unclear: bool,
}

impl Presence {
    /// Looks at the keys of what EXEC would run.
    fn look_at_all(
        &mut self,
        keyspace: &Keyspace,
        mut database: usize,
        queue: &[(&'static TableEntry, CommandRequest)],
        now_ms: i64,
    ) {
        for (entry, request) in queue {
            let args = request.args();
            self.look(keyspace, database, entry, args, now_ms);
            let selected =
                (entry.command.name == "select").then(|| args.get(1)).flatten().and_then(parse_i64);
            let selected = selected.and_then(|number| usize::try_from(number).ok());
            // A SELECT that fails changes nothing.
            database = selected.filter(|number| *number < keyspace.databases().len()).unwrap_or(database);
        }
    }

    /// Looks at the keys of one command.
    fn look(
        &mut self,
        keyspace: &Keyspace,
        database: usize,
        entry: &TableEntry,
        args: Args<'_>,
        now_ms: i64,
    ) {
        let name = entry.command.name;
        for key in keys_of(entry, args).unwrap_or_default() {
            let key = args.at(key.index);
            self.several |= self.first.get_or_insert_with(|| key.to_vec()) != key;
            self.unclear |= name == "move" || name == "copy" && copies_elsewhere(args, database);
            let exists = keyspace.holds_live(database, key, now_ms);
            self.existing |= exists;
            self.missing |= !exists;
        }
    }
}

/// Whether COPY names another database.
fn copies_elsewhere(args: Args<'_>, database: usize) -> bool {
    let mut words = args.iter().skip(3);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"db")
            && let Some(number) = words.next()
            && parse_i64(number).and_then(|number| usize::try_from(number).ok()) != Some(database)
        {
            return true;
        }
    }
    false
}

impl Server {
    /// The slot that a request is for, if this is a node of a cluster; an EXEC is for that of what was queued. `flags` are
    /// those of all that runs: a script's own, and those of what was queued.
    ///
    /// # Errors
    /// CROSSSLOT; where the slot is served, or that it is not.
    pub(in crate::server) fn check_slot(
        &self,
        keyspace: &Keyspace,
        client: ClientKey,
        entry: &TableEntry,
        args: Args<'_>,
        flags: u64,
    ) -> Result<Option<u16>, CommandError> {
        let Some(cluster) = &self.cluster else { return Ok(None) };
        let record = self.clients.get(client);
        let transaction = record.and_then(|record| record.transaction.as_deref());
        let queue =
            transaction.filter(|_| entry.command.name == "exec").map(|transaction| &transaction.queue);
        let slot = match queue {
            Some(queue) => {
                // Each was refused when it was queued, had it been for several slots.
                let slots = queue
                    .iter()
                    .map(|(entry, request)| slot_of_request(entry, request.args()).unwrap_or(None));
                one_slot(slots)?
            }
            None => slot_of_request(entry, args)?,
        };
        let Some(slot) = slot else { return Ok(None) };
        let readonly = record.is_some_and(|record| record.readonly);
        let mut presence = Presence::default();
        if cluster.is_on_its_way(slot, readonly) && flags & flag::PUBSUB == 0 {
            let database = record.map_or(0, |record| record.database);
            match queue {
                Some(queue) => presence.look_at_all(keyspace, database, queue, self.now_ms),
                // What is queued is looked at when it is to run.
                None if transaction.is_none() => {
                    presence.look(keyspace, database, entry, args, self.now_ms);
                }
                None => {}
            }
        }
        let asking = record.is_some_and(|record| record.asking) || entry.command.has(flag::ASKING);
        let request =
            Request { slot, flags, presence, asking, readonly, migrates: entry.command.name == "migrate" };
        match cluster.check(&request, &self.config)? {
            None => Ok(Some(slot)),
            Some(redirection) => Err(self.redirection_error(client, slot, redirection)),
        }
    }

    /// ASKING is for one request, or for a whole transaction.
    pub(in crate::server) fn end_asking(&mut self, client: ClientKey, command: &str) {
        if let Some(record) = self.clients.get_mut(client)
            && (record.transaction.is_none() && command != "multi" || matches!(command, "exec" | "discard"))
        {
            record.asking = false;
        }
    }

    /// The error that sends a client on.
    pub(super) fn redirection_error(
        &self,
        client: ClientKey,
        slot: u16,
        redirection: Redirection,
    ) -> CommandError {
        let Some(cluster) = &self.cluster else { return CommandError::SlotNotServed };
        let reader = self.clients.get(client).map_or(Reader::Client(false), reader_of);
        let (word, node) = match redirection {
            Redirection::Moved(node) => ("MOVED", &cluster.nodes[node]),
            Redirection::Ask(node) => ("ASK", &cluster.nodes[node]),
        };
        let endpoint = match self.config.cluster_preferred_endpoint_type {
            ClusterPreferredEndpointType::Ip => node.ip_for(reader),
            ClusterPreferredEndpointType::Hostname if node.announced.hostname.is_empty() => "?",
            ClusterPreferredEndpointType::Hostname => &node.announced.hostname,
            ClusterPreferredEndpointType::UnknownEndpoint => "",
        };
        let port = node.port_for(reader);
        CommandError::Moved(format!("{word} {slot} {endpoint}:{port}").into())
    }
}

/// What a client is told of addresses: over IPv6 there may be others.
#[must_use]
pub fn reader_of(client: &Client) -> Reader {
    // An IPv6 address is the one with colons in it.
    let over_ipv6 = !client.unix_socket && client.address.bytes().filter(|byte| *byte == b':').count() > 1;
    Reader::Client(over_ipv6)
}

/// A request as far as it matters who serves it.
struct Request {
    slot: u16,
    flags: u64,
    presence: Presence,
    asking: bool,
    readonly: bool,
    migrates: bool,
}

impl Cluster {
    /// Whether the keys of a slot are partly elsewhere, as far as this node serves them at all.
    fn is_on_its_way(&self, slot: u16, readonly: bool) -> bool {
        (self.me().is_primary() || readonly) && (self.leaves(slot) || self.importing.contains_key(&slot))
    }

    fn leaves(&self, slot: u16) -> bool {
        self.shard_serves(slot) && self.migrating.contains_key(&slot)
    }

    /// Where a request has to go; `None` when it is served here.
    fn check(&self, request: &Request, config: &Config) -> Result<Option<Redirection>, CommandError> {
        let Request { slot, flags, ref presence, .. } = *request;
        let Some(owner) = self.owner(slot) else { return Err(CommandError::SlotNotServed) };
        if presence.unclear {
            return Err(CommandError::TryAgain);
        }
        self.check_state(flags, config)?;
        let is_open = self.is_on_its_way(slot, request.readonly);
        let leaves = is_open && self.leaves(slot);
        if is_open && request.migrates && self.me().is_primary() {
            return Ok(None);
        }
        if let Some(target) = self.migrating.get(&slot).filter(|_| leaves && presence.missing) {
            return if presence.existing {
                Err(CommandError::TryAgain)
            } else {
                Ok(Some(Redirection::Ask(*target)))
            };
        }
        if is_open && !leaves && request.asking {
            return if presence.several && presence.missing { Err(CommandError::TryAgain) } else { Ok(None) };
        }
        let only_reads = (request.readonly || flags & flag::PUBSUB != 0) && flags & flag::WRITE == 0;
        let served = owner == self.myself
            || only_reads && self.me().is_replica() && self.primary_of(self.myself) == owner;
        Ok((!served).then_some(Redirection::Moved(owner)))
    }

    /// What a cluster that is down does not serve.
    fn check_state(&self, flags: u64, config: &Config) -> Result<(), CommandError> {
        if self.is_ok() {
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

    /// Why a client that waits for a key of this slot waits in vain, if it does.
    pub(super) fn refuses_wait(&self, slot: u16, reads: bool) -> Option<Result<Redirection, CommandError>> {
        if !self.is_ok() {
            return Some(Err(CommandError::ClusterDown));
        }
        let Some(owner) = self.owner(slot) else { return Some(Err(CommandError::SlotNotServed)) };
        let served = owner == self.myself
            || self.importing.contains_key(&slot)
            || reads && self.me().is_replica() && self.primary_of(self.myself) == owner;
        (!served).then_some(Ok(Redirection::Moved(owner)))
    }
}

/// What a node goes by: see [`View`]. Takes the parts of the server that are not the cluster.
pub(super) fn view<'a>(config: &'a Config, now_ms: i64, offset: i64, data_age_ms: i64) -> View<'a> {
    View { config, now_ms, offset, data_age_ms }
}
