//! Lists: one listpack while short, a quicklist beyond.
//!
//! A listpack becomes a quicklist before elements are added that would take it over the limit of one node
//! (`list-max-listpack-size`). A quicklist becomes a listpack again when elements go and its only node is within half of
//! that limit, so that a list that swings around the limit does not convert all the time. The limits are passed in with
//! each change; a quicklist keeps the node size and depth it was made with, as in Valkey, but not the packed threshold.

mod codec;
mod cursor;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, Needle};

use crate::memory::MemoryUsage;
use crate::structures::listpack::{Listpack, Value};
use crate::structures::quicklist::{Direction, End, Limits, Quicklist, Side};

crate::encodings! {
    /// A list value.
    #[derive(Debug)]
    pub enum List of List {
        /// Short: one listpack.
        Listpack(Listpack) = ListListpack,
        /// Long: many listpacks.
        Quicklist(Box<Quicklist>) = Quicklist,
    }
}

impl Default for List {
    fn default() -> Self {
        Self::Listpack(Listpack::new())
    }
}

impl MemoryUsage for List {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
            Self::Quicklist(quicklist) => crate::memory::box_usage::<Quicklist>() + quicklist.memory_usage(),
        }
    }
}

/// What DEBUG OBJECT tells of a quicklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeFigures {
    /// The nodes.
    pub nodes: usize,
    /// The elements.
    pub len: usize,
    /// The most elements (positive) or the size level (negative) of a node.
    pub fill: i16,
    /// How many nodes stay uncompressed at each end; 0 means no compression.
    pub compress_depth: u16,
    /// The bytes of all nodes when not compressed.
    pub uncompressed_bytes: usize,
}

/// Reading.
impl List {
    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.len(),
            Self::Quicklist(quicklist) => quicklist.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Listpack(listpack) => listpack.is_empty(),
            Self::Quicklist(quicklist) => quicklist.is_empty(),
        }
    }

    /// The place of an index that counts from the end when it is negative; `None` when it is out of range.
    #[must_use]
    pub fn place(&self, index: i64) -> Option<usize> {
        let distance = usize::try_from(index.unsigned_abs()).ok()?;
        if index < 0 { self.len().checked_sub(distance) } else { (distance < self.len()).then_some(distance) }
    }

    /// Gives the element at `place` to `read`; `None` when there is none.
    pub fn get<R>(&self, place: usize, read: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        match self {
            Self::Listpack(listpack) => listpack.get(listpack.at(place as i64)?).map(read),
            Self::Quicklist(quicklist) => quicklist.at(place, read),
        }
    }

    /// A walk that starts with the element at `place`; empty when there is none.
    #[must_use]
    pub fn cursor(&self, place: usize, direction: Direction) -> Cursor<'_> {
        match self {
            Self::Listpack(listpack) => Cursor::of_listpack(listpack, place, direction),
            Self::Quicklist(quicklist) => Cursor::of_quicklist(quicklist.cursor(place, direction)),
        }
    }

    /// Gives up to `count` elements from `place` on to `visit`, from head to tail.
    pub fn visit(&self, place: usize, count: usize, mut visit: impl FnMut(Value<'_>)) {
        match self {
            Self::Listpack(listpack) => {
                if let Some(position) = listpack.at(place as i64) {
                    listpack.iter_from(position).take(count).for_each(visit);
                }
            }
            Self::Quicklist(quicklist) => quicklist.visit(place, count, &mut visit),
        }
    }

    /// Gives the bytes of every element to `visit`, from head to tail.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        self.visit(0, usize::MAX, |value| visit(value.as_bytes(&mut itoa::Buffer::new())));
    }

    /// The place of the first element equal to `text`.
    #[must_use]
    pub fn position(&self, text: &[u8]) -> Option<usize> {
        let needle = Needle::new(text);
        let mut cursor = self.cursor(0, Direction::Forward);
        let mut place = 0;
        loop {
            if needle.is(cursor.next()?) {
                return Some(place);
            }
            place += 1;
        }
    }

    /// How many allocations have to be freed with the list, about (Valkey: `lazyfreeGetFreeEffort`).
    #[must_use]
    pub fn effort(&self) -> usize {
        match self {
            Self::Listpack(_) => 1,
            Self::Quicklist(quicklist) => quicklist.node_count(),
        }
    }

    /// A copy with the same encoding and the same nodes.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Listpack(listpack) => Self::Listpack(listpack.clone()),
            Self::Quicklist(quicklist) => Self::Quicklist(quicklist.clone()),
        }
    }

    /// The figures of a quicklist's nodes; `None` for a listpack.
    #[must_use]
    pub fn node_figures(&self) -> Option<NodeFigures> {
        let Self::Quicklist(quicklist) = self else { return None };
        Some(NodeFigures {
            nodes: quicklist.node_count(),
            len: quicklist.len(),
            fill: quicklist.limits().fill(),
            compress_depth: quicklist.limits().compress_depth(),
            uncompressed_bytes: quicklist.uncompressed_bytes(),
        })
    }
}

/// Changing.
impl List {
    /// Adds elements at an end, one after the other: pushed to the head, they end up in reverse.
    pub fn push<'v>(&mut self, end: End, values: impl Iterator<Item = &'v [u8]> + Clone, limits: Limits) {
        self.grow(values.clone(), limits);
        match self {
            Self::Listpack(listpack) => values.for_each(|value| match end {
                End::Head => listpack.push_front(value),
                End::Tail => listpack.push_back(value),
            }),
            Self::Quicklist(quicklist) => values.for_each(|value| quicklist.push(end, value)),
        }
    }

    /// Takes the element at an end: gives it to `take`, then removes it. `None` when the list is empty.
    pub fn pop<R>(&mut self, end: End, limits: Limits, take: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let taken = self.take(end, take);
        self.shrink(limits);
        taken
    }

    /// Moves the element at one end to an end of the same list, and gives it to `read`.
    pub fn rotate<R>(
        &mut self,
        from: End,
        to: End,
        limits: Limits,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let value = self.take(from, |value| value.to_vec())?;
        self.push(to, std::iter::once(&value[..]), limits);
        self.shrink(limits);
        Some(read(&value))
    }

    fn take<R>(&mut self, end: End, take: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        match self {
            Self::Quicklist(quicklist) => quicklist.pop(end, take),
            Self::Listpack(listpack) => {
                let position = match end {
                    End::Head => listpack.first()?,
                    End::Tail => listpack.last()?,
                };
                let taken = listpack.get(position).map(take);
                listpack.remove(position);
                taken
            }
        }
    }

    /// Replaces the element at `place`; `false` when there is none. A list that is near the limit becomes a quicklist
    /// even then, as in Valkey.
    pub fn replace(&mut self, place: Option<usize>, value: &[u8], limits: Limits) -> bool {
        self.grow(std::iter::once(value), limits);
        let Some(place) = place else { return false };
        let replaced = match self {
            Self::Quicklist(quicklist) => quicklist.replace(place, value),
            Self::Listpack(listpack) => {
                listpack.at(place as i64).map(|position| listpack.replace(position, value)).is_some()
            }
        };
        self.shrink(limits);
        replaced
    }

    /// Inserts an element beside the first one equal to `pivot`; `false` when there is none. A list that is near the
    /// limit becomes a quicklist even then, as in Valkey.
    pub fn insert(&mut self, pivot: &[u8], side: Side, value: &[u8], limits: Limits) -> bool {
        self.grow(std::iter::once(value), limits);
        match self {
            Self::Quicklist(_) => {
                let place = self.position(pivot);
                let Self::Quicklist(quicklist) = self else { return false };
                place.is_some_and(|place| quicklist.insert(place, side, value))
            }
            Self::Listpack(listpack) => {
                let found = listpack.first().and_then(|first| listpack.find(first, pivot, 1));
                let Some(position) = found else { return false };
                match side {
                    Side::Before => listpack.insert_before(position, value),
                    Side::After => listpack.insert_after(position, value),
                };
                true
            }
        }
    }

    /// Removes up to `count` elements from `place` on.
    pub fn remove_range(&mut self, place: usize, count: usize, limits: Limits) {
        self.cut(place, count);
        self.shrink(limits);
    }

    /// Keeps `count` elements from `place` on and removes all others.
    pub fn keep_range(&mut self, place: usize, count: usize, limits: Limits) {
        let end = place.saturating_add(count);
        self.cut(end, self.len().saturating_sub(end));
        self.cut(0, place);
        self.shrink(limits);
    }

    fn cut(&mut self, place: usize, count: usize) {
        match self {
            Self::Listpack(listpack) => {
                if count > 0 {
                    listpack.remove_range(place as i64, count);
                }
            }
            Self::Quicklist(quicklist) => {
                quicklist.remove_range(place, count);
            }
        }
    }

    /// Removes up to `max` elements equal to `text`, looking in the given direction, and returns how many it were.
    pub fn remove_matching(
        &mut self,
        text: &[u8],
        max: usize,
        direction: Direction,
        limits: Limits,
    ) -> usize {
        let removed = match self {
            Self::Quicklist(quicklist) => quicklist.remove_matching(text, max, direction),
            Self::Listpack(listpack) => match direction {
                Direction::Forward => remove_from_head(listpack, text, max),
                Direction::Backward => remove_from_tail(listpack, text, max),
            },
        };
        // A failed LINSERT leaves a quicklist that only a change may convert back.
        if removed > 0 {
            self.shrink(limits);
        }
        removed
    }

    /// Before elements are added: a listpack that they would take over the limit becomes a quicklist.
    fn grow<'v>(&mut self, added: impl Iterator<Item = &'v [u8]>, limits: Limits) {
        match self {
            Self::Quicklist(quicklist) => quicklist.set_packed_threshold(limits.packed_threshold()),
            Self::Listpack(listpack) => {
                let start = (listpack.byte_len(), listpack.len());
                let (bytes, len) = added.fold(start, |(bytes, len), value| (bytes + value.len(), len + 1));
                if limits.exceeded_by(bytes, len) {
                    let quicklist = Quicklist::from_listpack(std::mem::take(listpack), limits);
                    *self = Self::Quicklist(Box::new(quicklist));
                }
            }
        }
    }

    /// After elements went: a quicklist within half of the limit becomes a listpack.
    fn shrink(&mut self, limits: Limits) {
        self.flatten(limits, 2);
    }

    /// A quicklist of one node within a fraction of the limit becomes a listpack.
    fn flatten(&mut self, limits: Limits, fraction: usize) {
        let Self::Quicklist(quicklist) = self else { return };
        let Some(listpack) = quicklist.single_listpack() else { return };
        let (max_bytes, max_len) = (limits.max_bytes() / fraction, limits.max_len() / fraction);
        if listpack.byte_len() > max_bytes || quicklist.len() > max_len {
            return;
        }
        let quicklist = std::mem::replace(&mut **quicklist, Quicklist::new(limits));
        if let Ok(listpack) = quicklist.into_single_listpack() {
            *self = Self::Listpack(listpack);
        }
    }
}

fn remove_from_head(listpack: &mut Listpack, text: &[u8], max: usize) -> usize {
    let mut removed = 0;
    let mut from = listpack.first();
    while removed < max {
        let Some(found) = from.and_then(|from| listpack.find(from, text, 1)) else { break };
        from = listpack.remove(found);
        removed += 1;
    }
    removed
}

fn remove_from_tail(listpack: &mut Listpack, text: &[u8], max: usize) -> usize {
    let needle = Needle::new(text);
    let mut removed = 0;
    let mut position = listpack.last();
    while let Some(at) = position.filter(|_| removed < max) {
        position = listpack.prev(at);
        if listpack.get(at).is_some_and(|value| needle.is(value)) {
            listpack.remove(at);
            removed += 1;
        }
    }
    removed
}
