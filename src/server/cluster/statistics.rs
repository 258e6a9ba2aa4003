//! What the commands on each slot cost, for CLUSTER SLOT-STATS.
//!
//! The figures take 384 KiB and are made when they are first wanted.

use super::SLOTS;
use super::check::slot_of_request;
use crate::algorithms::slot::slot_of;
use crate::memory::usable_size;
use crate::server::Server;
use crate::server::client::ClientKey;
use crate::server::command::{Args, Request, TableEntry};

/// The figures of one slot.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SlotStatistics {
    /// Microseconds that its commands ran.
    pub cpu_us: u64,
    /// Bytes of its requests.
    pub bytes_in: u64,
    /// Bytes of its replies.
    pub bytes_out: u64,
}

/// What slots can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Keys.
    Keys,
    /// Time of commands.
    Cpu,
    /// Bytes of requests.
    BytesIn,
    /// Bytes of replies.
    BytesOut,
}

/// The figures of all slots; none until something was counted.
#[derive(Debug, Default)]
pub(super) struct Statistics(Option<Box<[SlotStatistics]>>);

impl Statistics {
    /// The figures of a slot.
    pub(super) fn of(&self, slot: u16) -> SlotStatistics {
        let found = self.0.as_ref().and_then(|slots| slots.get(usize::from(slot)));
        found.copied().unwrap_or_default()
    }

    /// The figures of a slot, to change.
    pub(super) fn of_mut(&mut self, slot: u16) -> Option<&mut SlotStatistics> {
        let slots = self.0.get_or_insert_with(|| vec![SlotStatistics::default(); SLOTS].into_boxed_slice());
        slots.get_mut(usize::from(slot))
    }

    /// Forgets the figures of a slot.
    pub(super) fn reset(&mut self, slot: u16) {
        if let Some(figures) = self.0.as_mut().and_then(|slots| slots.get_mut(usize::from(slot))) {
            *figures = SlotStatistics::default();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.0.as_ref().map_or(0, |slots| usable_size(size_of_val::<[SlotStatistics]>(slots)))
    }
}

/// Bytes of an array of bulk strings in RESP.
fn resp_bytes<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> usize {
    let header = |number: usize| 3 + itoa::Buffer::new().format(number).len();
    header(args.len()) + args.map(|arg| header(arg.len()) + arg.len() + 2).sum::<usize>()
}

impl Server {
    /// The request that runs next is for this slot.
    pub(in crate::server) fn begin_slot(&mut self, slot: Option<u16>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.running_slot = slot;
        }
    }

    /// Counts the bytes of a request that was answered. EXEC brings those of its MULTI, which was for no slot.
    #[inline]
    pub(in crate::server) fn count_slot_request(&mut self, args: Args<'_>, entry: Option<&TableEntry>) {
        const MULTI_BYTES: usize = b"*1\r\n$5\r\nmulti\r\n".len();
        if self.cluster.is_some() {
            let is_exec = entry.is_some_and(|entry| entry.command.name == "exec");
            let bytes = args.request_bytes() + if is_exec { MULTI_BYTES } else { 0 };
            self.count_slot(SlotStatistics { bytes_in: bytes as u64, ..SlotStatistics::default() });
        }
    }

    /// Counts the bytes of a request whose client had to wait before it was answered: those it takes in RESP.
    pub(in crate::server) fn count_slot_wait(&mut self, request: &Request) {
        if self.cluster.is_some() {
            let bytes = resp_bytes(request.args().iter());
            self.count_slot(SlotStatistics { bytes_in: bytes as u64, ..SlotStatistics::default() });
        }
    }

    /// Counts what a call cost for its slot. A primary, and the source of slots that are on their way, get no replies.
    #[inline]
    pub(in crate::server) fn count_slot_call(&mut self, client: ClientKey, cpu_us: u64, reply_bytes: u64) {
        if self.cluster.is_some() {
            let replies = self.clients.get(client).is_some_and(|client| !client.is_obeyed());
            let bytes_out = if replies { reply_bytes } else { 0 };
            self.count_slot(SlotStatistics { cpu_us, bytes_in: 0, bytes_out });
        }
    }

    /// Counts messages of a shard's channel that went to its subscribers.
    pub(in crate::server) fn count_slot_messages(&mut self, channel: &[u8], message: &[u8], count: usize) {
        if let Some(cluster) = self.cluster.as_mut().filter(|_| self.config.cluster_slot_stats_enabled) {
            let bytes = resp_bytes([b"smessage", channel, message].into_iter()) * count;
            let cost = SlotStatistics { bytes_out: bytes as u64, ..SlotStatistics::default() };
            cluster.count(slot_of(channel), cost);
        }
    }

    /// Counts an effect of so many bytes that replicas are told.
    #[inline]
    pub(in crate::server) fn count_slot_feed(&mut self, bytes: usize) {
        if self.cluster.is_some() {
            let bytes_out = bytes as u64 * self.replication.replicas().len() as u64;
            self.count_slot(SlotStatistics { bytes_out, ..SlotStatistics::default() });
        }
    }

    /// The slot of a request that is run whatever slot it is for, if costs are counted.
    pub(in crate::server) fn slot_of_obeyed(&self, entry: &TableEntry, args: Args<'_>) -> Option<u16> {
        let is_counted = self.cluster.is_some() && self.config.cluster_slot_stats_enabled;
        is_counted.then(|| slot_of_request(entry, args).ok().flatten()).flatten()
    }

    /// Counts what a request cost for its slot, if that is wanted.
    #[inline]
    pub(in crate::server) fn count_slot(&mut self, cost: SlotStatistics) {
        if let Some(cluster) = &mut self.cluster
            && self.config.cluster_slot_stats_enabled
            && let Some(slot) = cluster.running_slot
        {
            cluster.count(slot, cost);
        }
    }
}

impl super::Cluster {
    /// The figures of a slot.
    #[must_use]
    pub fn statistics(&self, slot: u16) -> SlotStatistics {
        self.statistics.of(slot)
    }

    /// Counts a command that ran for a slot.
    pub fn count(&mut self, slot: u16, cost: SlotStatistics) {
        if let Some(figures) = self.statistics.of_mut(slot) {
            figures.cpu_us += cost.cpu_us;
            figures.bytes_in += cost.bytes_in;
            figures.bytes_out += cost.bytes_out;
        }
    }
}
