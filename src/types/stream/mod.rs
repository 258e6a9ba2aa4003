//! Streams: an index of listpacks of entries, and consumer groups beside it.
//!
//! Invariants: every node has a live entry (a file may bring others); `len` is the number of live entries, `first` the id
//! of the first of them (`0-0` for none); ids ascend over all nodes. A stream without entries stays, it has its last id.

mod codec;
mod group;
mod id;
mod node;
mod range;
#[cfg(test)]
mod tests;
mod trim;

pub use group::{Consumer, ConsumerKey, Group, Groups, Pending};
pub use id::StreamId;
pub use node::{Entry, Fields};
pub use range::Entries;
pub use trim::{Trim, TrimTo};

use std::ops::{Deref, DerefMut};

use crate::memory::{MemoryUsage, Mover, Relocate};
use crate::structures::listpack_index::ListpackIndex;
use crate::types::StreamLimits;

use node::Node;

/// Nodes are kept below this many bytes (1 GiB) whatever `stream-node-max-bytes` says.
const NODE_BYTES: usize = 1 << 30;

crate::encodings! {
    /// A stream value.
    #[derive(Debug)]
    pub enum Stream of Stream {
        /// The only encoding.
        Log(Box<Log>) = Stream,
    }
}

/// What a stream owns.
#[derive(Debug, Clone, Default)]
pub struct Log {
    nodes: ListpackIndex<StreamId>,
    len: u64,
    last: StreamId,
    first: StreamId,
    max_deleted: StreamId,
    entries_added: u64,
    /// The consumer groups.
    pub groups: Groups,
}

/// Why an entry was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// The id is not above the last one, or there is none above it.
    Id,
    /// The entry is larger than a node may be.
    TooLarge,
}

/// What id an entry gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewId {
    /// The clock's time (Unix ms), or the id after the last one if that is later.
    Auto(u64),
    /// This time and the first free number in it.
    AutoSeq(u64),
    /// This one.
    Given(StreamId),
}

impl Default for Stream {
    fn default() -> Self {
        Self::Log(Box::default())
    }
}

impl Deref for Stream {
    type Target = Log;

    fn deref(&self) -> &Log {
        let Self::Log(log) = self;
        log
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut Log {
        let Self::Log(log) = self;
        log
    }
}

impl MemoryUsage for Stream {
    fn memory_usage(&self) -> usize {
        crate::memory::box_usage::<Log>() + self.nodes.memory_usage() + self.groups.memory_usage()
    }
}

/// First the nodes, which the cursor counts, then the groups.
impl Relocate for Log {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        let nodes = self.nodes.len();
        if cursor < nodes {
            let next = self.nodes.relocate(cursor, mover);
            return if next == 0 { nodes } else { next };
        }
        let next = self.groups.relocate(cursor - nodes, mover);
        if next == 0 { 0 } else { nodes + next }
    }
}

impl Stream {
    /// A copy with the same nodes and groups.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let Self::Log(log) = self;
        Self::Log(log.clone())
    }

    /// How many allocations have to be freed with the stream, about (Valkey: `lazyfreeGetFreeEffort`).
    #[must_use]
    pub fn effort(&self) -> usize {
        let pending =
            self.groups.iter().next().map_or(0, |group| group.pending_len() + group.consumer_count());
        self.nodes.len() + self.groups.len().saturating_mul(1 + pending)
    }
}

/// Reading.
impl Log {
    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id that was given last.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.last
    }

    /// The id of the first entry; `0-0` when there is none.
    #[must_use]
    pub fn first_id(&self) -> StreamId {
        self.first
    }

    /// The greatest id that was deleted from within (trimming does not count).
    #[must_use]
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted
    }

    /// How many entries were ever added.
    #[must_use]
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// The number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The entries from `start` to `end`, both included, in order.
    #[must_use]
    pub fn range(&self, start: StreamId, end: StreamId) -> Entries<'_> {
        Entries::new(self, start, end, false)
    }

    /// The entries from `end` down to `start`, both included.
    #[must_use]
    pub fn range_reverse(&self, start: StreamId, end: StreamId) -> Entries<'_> {
        Entries::new(self, start, end, true)
    }

    /// All entries in order.
    #[must_use]
    pub fn iter(&self) -> Entries<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    /// Gives every entry to `visit`, in order.
    pub fn for_each(&self, mut visit: impl FnMut(StreamId, Fields<'_>)) {
        self.iter().for_each(|entry| visit(entry.id, entry.fields));
    }

    /// The entry of an id.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The id of the last entry that is there; `0-0` when there is none.
    #[must_use]
    pub fn last_entry_id(&self) -> StreamId {
        self.range_reverse(StreamId::MIN, StreamId::MAX).next().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// Whether an entry at or after `start` was deleted from within, as far as is known.
    #[must_use]
    pub fn has_tombstone_from(&self, start: StreamId) -> bool {
        self.len > 0 && self.max_deleted != StreamId::MIN && start <= self.max_deleted
    }

    /// How many entries were added up to `id`, itself included; `None` when that cannot be told (Valkey:
    /// `streamEstimateDistanceFromFirstEverEntry`).
    #[must_use]
    pub fn added_through(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted {
            return None;
        }
        if id >= self.last {
            return (id == self.last).then_some(self.entries_added);
        }
        if self.max_deleted != StreamId::MIN && self.max_deleted >= self.first {
            return None;
        }
        let before = self.entries_added.wrapping_sub(self.len);
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// How many entries a group has yet to read; `None` when that cannot be told.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_tombstone_from(group.last_id) => read,
            _ => self.added_through(group.last_id)?,
        };
        Some(self.entries_added.wrapping_sub(read).cast_signed())
    }
}

/// Changing.
impl Log {
    /// The id that an entry would get.
    ///
    /// # Errors
    /// [`AppendError::Id`] when no id is left, or the one given is not above the last.
    pub fn resolve(&self, wanted: NewId) -> Result<StreamId, AppendError> {
        let next = self.last.next();
        let id = match wanted {
            NewId::Auto(now_ms) if now_ms > self.last.ms => Some(StreamId { ms: now_ms, seq: 0 }),
            NewId::Auto(_) => next,
            NewId::AutoSeq(ms) if ms == self.last.ms => next.filter(|next| next.ms == ms),
            NewId::AutoSeq(ms) => Some(StreamId { ms, seq: 0 }),
            NewId::Given(id) => Some(id),
        };
        id.filter(|id| *id > self.last).ok_or(AppendError::Id)
    }

    /// Adds an entry; `fields` are names and values in turn.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`AppendError::TooLarge`]. Nothing is added then.
    pub fn append<'v>(
        &mut self,
        wanted: NewId,
        fields: impl ExactSizeIterator<Item = &'v [u8]> + Clone,
        limits: StreamLimits,
    ) -> Result<StreamId, AppendError> {
        let id = self.resolve(wanted)?;
        let bytes = fields.clone().map(<[u8]>::len).sum::<usize>();
        if bytes > NODE_BYTES {
            return Err(AppendError::TooLarge);
        }
        let field_count = fields.len() / 2;
        match self.open_node(bytes, limits) {
            Some(base) => {
                self.nodes.update(&base, |listpack| node::append(listpack, base, id, fields, field_count));
            }
            None => {
                // The key is above all others: ids ascend, and so do the nodes' first ones.
                let _ = self.nodes.insert(id, node::create(fields, field_count));
            }
        }
        self.len += 1;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last = id;
        if self.len == 1 {
            self.first = id;
        }
        Ok(id)
    }

    /// The last node, if an entry of `bytes` may go into it.
    fn open_node(&self, bytes: usize, limits: StreamLimits) -> Option<StreamId> {
        let (base, listpack) = self.nodes.last()?;
        let max_bytes = if limits.node_bytes == 0 { NODE_BYTES } else { limits.node_bytes.min(NODE_BYTES) };
        if listpack.byte_len().saturating_add(bytes) >= max_bytes {
            return None;
        }
        let node = Node::open(base, listpack)?;
        (limits.node_entries == 0 || node.live + node.deleted < limits.node_entries).then_some(base)
    }

    /// Deletes the entry of an id; says whether there was one.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((base, listpack)) = self.nodes.floor(&id) else { return false };
        let Some(node) = Node::open(base, listpack) else { return false };
        let Some(at) = node.find(id) else { return false };
        if node.live <= 1 {
            self.nodes.remove(&base);
        } else {
            self.nodes.update(&base, |listpack| node::mark_deleted(listpack, base, &[at]));
        }
        self.len -= 1;
        self.max_deleted = self.max_deleted.max(id);
        if id == self.first {
            self.find_first();
        }
        true
    }

    /// Looks up the first entry anew.
    fn find_first(&mut self) {
        self.first = self.iter().next().map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Sets what XSETID sets; what is `None` stays.
    pub fn set_last_id(&mut self, last: StreamId, entries_added: Option<u64>, max_deleted: Option<StreamId>) {
        self.last = last;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted = max_deleted.unwrap_or(self.max_deleted);
    }
}
