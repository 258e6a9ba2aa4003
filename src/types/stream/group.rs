//! Consumer groups: how far each has read, what it delivered and has no acknowledgement of, and to whom.
//!
//! ```text
//! Group  pending   [ id, delivered, deliveries, consumer ] ...     in the order of ids, owned once, here
//!        consumers [ slot 0 | slot 1 | free | ... ]                each with the ids that are pending with it
//!        by_name   [ 1, 0, ... ]                                   slots in the order of names
//! ```
//! Invariants: an id is pending with a consumer exactly when the group's record of it names that consumer's slot; groups
//! and `by_name` are sorted by name.

use crate::memory::{MemoryUsage, Mover, Relocate, usable_size, vec_usage};
use crate::structures::ordered_index::OrderedIndex;

use super::{Log, StreamId};

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The entry, which may have been deleted meanwhile.
    pub id: StreamId,
    /// When it was delivered last, Unix ms.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// To whom.
    pub consumer: ConsumerKey,
}

/// Where a group keeps a consumer; valid while that consumer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerKey(u32);

impl ConsumerKey {
    /// No consumer's: what a record holds while a file is read and its owner is not known yet.
    pub(super) const NOBODY: Self = Self(u32::MAX);

    fn slot(self) -> usize {
        self.0 as usize
    }
}

/// Who reads for a group.
#[derive(Debug, Clone)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for anything, Unix ms.
    pub seen_ms: i64,
    /// When it last got an entry, Unix ms; -1 never.
    pub active_ms: i64,
    pending: OrderedIndex<StreamId>,
}

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries are pending with it.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of the entries that are pending with it, from `start` on.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.range(self.pending.lower_bound(|id| id.cmp(&start))..).copied()
    }
}

impl MemoryUsage for Consumer {
    fn memory_usage(&self) -> usize {
        usable_size(self.name.len()) + self.pending.memory_usage()
    }
}

/// A consumer group.
#[derive(Debug, Clone)]
pub struct Group {
    name: Box<[u8]>,
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries were added up to it; `None` when that is not known.
    pub entries_read: Option<u64>,
    pending: OrderedIndex<Pending>,
    consumers: Vec<Option<Consumer>>,
    by_name: Vec<ConsumerKey>,
}

/// Makes room for one more without the doubling that wastes most in short vectors.
fn reserve_one<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact(vec.len() / 4 + 1);
    }
}

/// Consumers.
impl Group {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many consumers it has.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// Its consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.iter().filter_map(|key| self.consumer(*key))
    }

    /// A consumer.
    #[must_use]
    pub fn consumer(&self, key: ConsumerKey) -> Option<&Consumer> {
        self.consumers.get(key.slot())?.as_ref()
    }

    /// A consumer, to change.
    pub fn consumer_mut(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.consumers.get_mut(key.slot())?.as_mut()
    }

    /// The consumer of this name.
    #[must_use]
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerKey> {
        self.by_name.get(self.place(name).ok()?).copied()
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|key| self.consumer(*key).map_or(&[][..], Consumer::name).cmp(name))
    }

    /// Makes a consumer that was just seen; `None` when there is one of this name, or no room for another.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: i64) -> Option<ConsumerKey> {
        let place = self.place(name).err()?;
        let free = if self.by_name.len() < self.consumers.len() {
            self.consumers.iter().position(Option::is_none)
        } else {
            None
        };
        let slot = free.unwrap_or(self.consumers.len());
        let key = ConsumerKey(u32::try_from(slot).ok()?);
        let consumer =
            Consumer { name: name.into(), seen_ms: now_ms, active_ms: -1, pending: OrderedIndex::new() };
        match self.consumers.get_mut(slot) {
            Some(free) => *free = Some(consumer),
            None => {
                reserve_one(&mut self.consumers);
                self.consumers.push(Some(consumer));
            }
        }
        reserve_one(&mut self.by_name);
        self.by_name.insert(place, key);
        Some(key)
    }

    /// Deletes a consumer and forgets what is pending with it; says how many entries that were.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let key = self.by_name.remove(self.place(name).ok()?);
        let consumer = self.consumers.get_mut(key.slot())?.take()?;
        for id in &consumer.pending {
            self.pending.remove(|pending| pending.id.cmp(id));
        }
        while self.consumers.last().is_some_and(Option::is_none) {
            self.consumers.pop();
        }
        Some(consumer.pending.len())
    }
}

/// What is pending.
impl Group {
    /// How many entries are pending.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The pending entries from `start` on, in order.
    pub fn pending_from(&self, start: StreamId) -> impl DoubleEndedIterator<Item = &Pending> {
        self.pending.range(self.pending.lower_bound(|pending| pending.id.cmp(&start))..)
    }

    /// The record of a pending entry.
    #[must_use]
    pub fn find_pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.find(|pending| pending.id.cmp(&id))
    }

    /// The last pending entry.
    #[must_use]
    pub fn last_pending(&self) -> Option<&Pending> {
        self.pending.last()
    }

    /// Notes a delivery: a new record, or one that takes the place of the entry's earlier one, whoever it was with.
    pub fn set_pending(&mut self, record: Pending) {
        let id = record.id;
        match self.pending.replace(|pending| pending.id.cmp(&id), record) {
            Some(earlier) if earlier.consumer == record.consumer => return,
            Some(earlier) => self.release(earlier),
            None => {
                self.pending.insert(record, |pending| pending.id.cmp(&id));
            }
        }
        if let Some(consumer) = self.consumer_mut(record.consumer) {
            consumer.pending.insert(id, |other| other.cmp(&id));
        }
    }

    /// The name of the consumer that a record of this group names.
    #[must_use]
    pub fn owner(&self, pending: &Pending) -> &[u8] {
        self.consumer(pending.consumer).map(Consumer::name).unwrap_or_default()
    }

    /// Moves on to `id`, an entry of `log` that comes next for the group, and keeps count of what it has read.
    pub fn advance(&mut self, log: &Log, id: StreamId) {
        match self.entries_read {
            Some(read) if self.last_id >= log.first_id() && !log.has_tombstone_from(self.last_id) => {
                self.entries_read = Some(read.wrapping_add(1));
            }
            _ if log.entries_added() > 0 => self.entries_read = log.added_through(id),
            _ => {}
        }
        self.last_id = id;
    }

    /// Adds a record whose consumer is not known yet; `false` when the entry is pending already.
    pub(super) fn add_unowned(&mut self, record: Pending) -> bool {
        self.pending.insert(record, |pending| pending.id.cmp(&record.id))
    }

    /// Notes that a pending entry was delivered again to the consumer it is with.
    pub fn redeliver(&mut self, id: StreamId, now_ms: i64) {
        self.pending.update(
            |pending| pending.id.cmp(&id),
            |pending| {
                pending.delivered_ms = now_ms;
                pending.deliveries = pending.deliveries.wrapping_add(1);
            },
        );
    }

    /// Forgets a pending entry; says whether it was pending.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(|pending| pending.id.cmp(&id)) else { return false };
        self.release(pending);
        true
    }

    fn release(&mut self, pending: Pending) {
        if let Some(consumer) = self.consumer_mut(pending.consumer) {
            consumer.pending.remove(|id| id.cmp(&pending.id));
        }
    }
}

impl MemoryUsage for Group {
    fn memory_usage(&self) -> usize {
        usable_size(self.name.len())
            + self.pending.memory_usage()
            + vec_usage(&self.consumers)
            + vec_usage(&self.by_name)
            + self.consumers.iter().flatten().map(MemoryUsage::memory_usage).sum::<usize>()
    }
}

/// The consumer groups of a stream, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    sorted: Vec<Group>,
}

impl Groups {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The groups in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.sorted.iter()
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.sorted.binary_search_by(|group| (*group.name).cmp(name))
    }

    /// The group of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.sorted.get(self.place(name).ok()?)
    }

    /// The group of this name, to change.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        let place = self.place(name).ok()?;
        self.sorted.get_mut(place)
    }

    /// Makes a group that has read up to `last_id`; `None` when there is one of this name.
    pub fn create(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Option<&mut Group> {
        let place = self.place(name).err()?;
        reserve_one(&mut self.sorted);
        self.sorted.insert(
            place,
            Group {
                name: name.into(),
                last_id,
                entries_read,
                pending: OrderedIndex::new(),
                consumers: Vec::new(),
                by_name: Vec::new(),
            },
        );
        self.sorted.get_mut(place)
    }

    /// Deletes the group of this name; says whether there was one.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let Ok(place) = self.place(name) else { return false };
        self.sorted.remove(place);
        if self.sorted.is_empty() {
            self.sorted = Vec::new();
        }
        true
    }
}

impl MemoryUsage for Groups {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.sorted) + self.sorted.iter().map(MemoryUsage::memory_usage).sum::<usize>()
    }
}

/// How far a cursor goes over what is pending with a group or a consumer.
fn span(pending: usize) -> usize {
    pending.max(1)
}

impl Relocate for Consumer {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        if cursor == 0 {
            mover.relocate_bytes(&mut self.name);
        }
        self.pending.relocate(cursor, mover, |_, _| {})
    }
}

/// First what is pending with the group, then each consumer; the cursor counts pending entries.
impl Relocate for Group {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        if cursor == 0 {
            mover.relocate_bytes(&mut self.name);
            mover.relocate_vec(&mut self.consumers);
            mover.relocate_vec(&mut self.by_name);
        }
        let own = span(self.pending.len());
        if cursor < own {
            let next = self.pending.relocate(cursor, mover, |_, _| {});
            return if next == 0 { own } else { next };
        }
        let consumers = self.consumers.iter_mut().flatten();
        let next = relocate_each(consumers, |consumer| span(consumer.pending.len()), cursor - own, mover);
        if next == 0 { 0 } else { own + next }
    }
}

impl Relocate for Groups {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        if cursor == 0 {
            mover.relocate_vec(&mut self.sorted);
        }
        let span_of = |group: &Group| {
            let consumers = group.consumers.iter().flatten();
            span(group.pending.len()) + consumers.map(|consumer| span(consumer.pending.len())).sum::<usize>()
        };
        relocate_each(self.sorted.iter_mut(), span_of, cursor, mover)
    }
}

/// Moves what several things own, one after the other, each of which has as many places of the cursor as `span_of` says.
fn relocate_each<'a, T: Relocate + 'a>(
    each: impl Iterator<Item = &'a mut T>,
    span_of: impl Fn(&T) -> usize,
    cursor: usize,
    mover: &mut Mover,
) -> usize {
    let (mut at, mut start) = (cursor, 0);
    for one in each {
        let end = start + span_of(one);
        while at < end {
            match one.relocate(at - start, mover) {
                0 => at = end,
                next => at = start + next,
            }
            if mover.is_spent() {
                return at;
            }
        }
        start = end;
    }
    0
}
