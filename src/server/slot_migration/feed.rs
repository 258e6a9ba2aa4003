//! What is written to slots that are on their way goes to their targets; and what waits for an end is sent.

use std::io;

use super::{Direction, SlotLink};
use crate::algorithms::numbers::parse_i64;
use crate::resp::ArgRange;
use crate::server::Server;
use crate::server::client::ClientKey;
use crate::server::cluster::slot_of_request;
use crate::server::command::{Args, CommandTable};
use crate::server::replication::Fed;

/// Bytes that one end is sent before others have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// The length after a mark, and where the line ends.
fn length_at(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let line = bytes.get(start + 1..)?;
    let end = memchr::memchr(b'\r', line)?;
    let length = usize::try_from(parse_i64(line.get(..end)?)?).ok()?;
    Some((length, start + 1 + end + 2))
}

/// Where the arguments of a request of this server's own making lie.
fn arguments_of(request: &[u8]) -> Option<Vec<ArgRange>> {
    let (count, mut at) = length_at(request, 0)?;
    let mut ranges = Vec::with_capacity(count.min(request.len()));
    for _ in 0..count {
        let (len, start) = length_at(request, at)?;
        ranges.push(ArgRange { start, len });
        at = start + len + 2;
    }
    Some(ranges)
}

/// The slot of the keys of a request; `None` when it has none.
pub(in crate::server) fn slot_of_effect(commands: &CommandTable, request: &[u8]) -> Option<u16> {
    let ranges = arguments_of(request)?;
    let args = Args::new(request, &ranges);
    slot_of_request(commands.find(args).ok()?, args).ok()?
}

impl Server {
    /// An effect that replicas are told goes to the targets of its slot, too.
    pub(in crate::server) fn feed_slot_exports(&mut self, database: usize, request: &[u8]) {
        let Some(slot) = slot_of_effect(self.commands, request) else { return };
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let jobs = cluster.migrations.jobs.iter_mut();
        for job in jobs.filter(|job| job.state.is_fed() && job.slots.contains(slot)) {
            let Some(client) = job.client else { continue };
            if job.database.replace(database) != Some(database) {
                let number = itoa::Buffer::new().format(database).to_owned();
                job.outgoing.push_request(&[b"SELECT", number.as_bytes()]);
            }
            job.outgoing.push(request);
            self.clients.needs_attention(client);
        }
    }

    /// Sends an end of a migration what waits for it, by `write`, which may write less than it is given.
    pub fn feed_slot_link(
        &mut self,
        key: ClientKey,
        link: SlotLink,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> Fed {
        let Some(cluster) = self.cluster.as_deref_mut() else { return Fed::All };
        let Some(job) = cluster.migrations.get_mut(link.job) else { return Fed::All };
        let mut sent = 0;
        let fed = loop {
            let bytes = if job.may_send() { job.outgoing.front() } else { &[] };
            if bytes.is_empty() {
                break Fed::All;
            }
            if sent >= TURN_BYTES {
                break Fed::Some;
            }
            match write(bytes) {
                Ok(count) => {
                    job.outgoing.advance(count);
                    sent += count;
                    self.stats.writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Fed::Some,
                Err(_) => break Fed::Failed,
            }
        };
        self.note_sent_on_slot_link(key, link, sent);
        fed
    }

    fn note_sent_on_slot_link(&mut self, key: ClientKey, link: SlotLink, count: usize) {
        self.stats.bytes_out += count as u64;
        if let Some(client) = self.clients.get_mut(key) {
            client.bytes_out += count as u64;
        }
        self.note_given_to_slot_link(link, count);
    }

    /// So many bytes of a migration go to its other end.
    pub fn note_given_to_slot_link(&mut self, link: SlotLink, count: usize) {
        if let (Direction::Export, Some(cluster)) = (link.direction, &mut self.cluster) {
            cluster.migrations.bytes_out += count as u64;
        }
    }

    /// Bytes that wait for an end of a migration beside its client's output.
    #[must_use]
    pub fn waiting_for_slot_link(&self, link: Option<SlotLink>) -> usize {
        let job = link.and_then(|link| self.migration(link.job));
        job.map_or(0, |job| job.outgoing.len())
    }
}
