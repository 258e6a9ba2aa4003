//! Large tables: a dense part for the keys 1 to n, and a part for every other key, which grow by pieces.
//!
//! ```text
//!   array    | v1 | v2 | ... | vn |        vn is never nil, so that `#t` is its length
//!   entries  | key value | key value | ...  in the order of insertion; a deleted one keeps its key, its value is nil
//!   index    hash of key -> place in `entries`, once there are more than a few
//! ```
//! The order of traversal is that of insertion. Entries are dropped only when another one is added, so that deleting while
//! traversing is safe. A key that is set to nil makes an entry, too, as it does in C: `next` then knows it.
//!
//! No change of a table does more than a bounded piece of work: what is more goes on with those that follow, and until
//! then the table is unsettled (elements among the entries, or nil at the array's end) or its entries have a gap.

use std::cell::Cell;

use super::super::index::PlaceIndex;
use super::super::paged::{PAGE, Paged};
use super::super::value::{StrRef, Value};
use super::{KeyHasher, UnknownKey, array_place, border_between};
use crate::memory::box_usage;

/// Entries that are searched one by one.
const SEARCHED: usize = 8;

/// A large table.
#[derive(Debug, Default)]
pub(in crate::scripting::lua) struct Large {
    array: Paged<Value>,
    entries: Paged<(Value, Value)>,
    index: Option<Box<Index>>,
    /// The collector has followed some of its references, not all.
    pub(in crate::scripting::lua) is_being_scanned: bool,
    /// The array may end with nil, or the element after it may be among the entries.
    is_unsettled: bool,
}

/// Where keys are, and how far the dropping of deleted ones is.
#[derive(Debug)]
struct Index {
    places: PlaceIndex,
    /// How many entries there are to be until the deleted ones are looked for.
    compact_at: usize,
    compaction: Option<Compaction>,
}

/// Deleted entries are being dropped from entries of more than a page.
///
/// Those before `end` are all in use; from there to `next` is a gap.
#[derive(Debug, Clone, Copy)]
struct Compaction {
    end: usize,
    next: usize,
}

/// Entries that are looked at when one is added, so that the looking is over long before there are twice as many.
const COMPACTED_AT_ONCE: usize = 16;
/// Elements that one change moves from the entries to the array: few, since thousands of changes may follow each other
/// before others can run.
const TAKEN_AT_ONCE: usize = if cfg!(test) { 4 } else { 8 };
/// Nil that one change takes from the array's end.
const TRIMMED_AT_ONCE: usize = if cfg!(test) { 4 } else { 2048 };

impl Large {
    /// A table with room for so many elements.
    #[must_use]
    pub(super) fn with_room(array: usize, others: usize) -> Self {
        Self { array: Paged::with_room(array), entries: Paged::with_room(others), ..Self::default() }
    }

    /// The value of a key; nil when there is none.
    #[inline]
    pub(super) fn get(&self, key: Value, hasher: &impl KeyHasher) -> Value {
        if let Some(value) = array_place(key).and_then(|place| self.array.get(place)) {
            return *value;
        }
        self.find(key, hasher).map_or(Value::Nil, |place| self.entries[place].1)
    }

    /// The value at 1, 2, ...
    #[inline]
    pub(super) fn get_int(&self, number: usize, hasher: &impl KeyHasher) -> Value {
        match self.array.get(number.wrapping_sub(1)) {
            Some(value) => *value,
            None => self
                .find(Value::Number(number as f64), hasher)
                .map_or(Value::Nil, |place| self.entries[place].1),
        }
    }

    /// The value of a string. `hint` is a place to look at first, and becomes where it was found.
    #[inline]
    pub(super) fn get_hinted(&self, name: StrRef, hint: &Cell<u16>, hasher: &impl KeyHasher) -> Value {
        match self.entries.get(usize::from(hint.get())) {
            Some((Value::String(known), value)) if *known == name => *value,
            _ => self.find_hinted(name, hint, hasher).map_or(Value::Nil, |place| self.entries[place].1),
        }
    }

    #[inline(never)]
    fn find_hinted(&self, name: StrRef, hint: &Cell<u16>, hasher: &impl KeyHasher) -> Option<usize> {
        let place = self.find(Value::String(name), hasher)?;
        hint.set(place as u16);
        Some(place)
    }

    /// Changes the value of a string that has one; false if it has none.
    #[inline]
    pub(super) fn replace_hinted(
        &mut self,
        name: StrRef,
        value: Value,
        hint: &Cell<u16>,
        hasher: &impl KeyHasher,
    ) -> bool {
        let place = match self.entries.get(usize::from(hint.get())) {
            Some((Value::String(known), _)) if *known == name => Some(usize::from(hint.get())),
            _ => self.find_hinted(name, hint, hasher),
        };
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some((_, slot)) if !slot.is_nil() => {
                *slot = value;
                true
            }
            _ => false,
        }
    }

    /// Changes an element of the array that is there, or, if the table is plain and nothing has to grow for it, adds one.
    /// The value is not nil.
    #[inline]
    pub(super) fn replace_element(&mut self, place: usize, value: Value, is_plain: bool) -> bool {
        let is_next =
            is_plain && place == self.array.len() && self.array.has_room() && self.entries.is_empty();
        match self.array.get_mut(place) {
            Some(slot) if !slot.is_nil() || is_plain => {
                *slot = value;
                true
            }
            None if is_next => {
                self.array.push(value);
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn find(&self, key: Value, hasher: &impl KeyHasher) -> Option<usize> {
        match &self.index {
            None => match key {
                Value::String(name) if hasher.is_unique(key) => self
                    .entries
                    .iter()
                    .position(|(candidate, _)| matches!(candidate, Value::String(known) if *known == name)),
                _ => self
                    .entries
                    .iter()
                    .position(|(candidate, _)| *candidate == key || hasher.same(*candidate, key)),
            },
            Some(index) => index
                .places
                .find(hasher.hash(key), |place| {
                    let candidate = self.entries[place as usize].0;
                    candidate == key || hasher.same(candidate, key)
                })
                .map(|place| place as usize),
        }
    }

    /// Sets a key that is neither nil nor NaN. Says by how many bytes the table grew.
    pub(super) fn set(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> isize {
        let before = self.heap_bytes();
        if self.is_unsettled {
            self.trim_some();
        }
        let place = array_place(key);
        if let Some(slot) = place.and_then(|place| self.array.get_mut(place)) {
            *slot = value;
            if value.is_nil() && place.is_some_and(|place| place + 1 == self.array.len()) {
                self.trim();
            }
        } else if place == Some(self.array.len()) && !value.is_nil() {
            self.append(key, value, hasher);
        } else {
            self.set_other(key, value, hasher);
        }
        self.heap_bytes() as isize - before as isize
    }

    fn set_other(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) {
        if let Some(place) = self.find(key, hasher) {
            self.entries[place].1 = value;
            return;
        }
        if self.is_unsettled && self.array.last().is_none_or(|value| !value.is_nil()) {
            self.take_elements(hasher);
            if array_place(key) == Some(self.array.len()) && !value.is_nil() {
                return self.append(key, value, hasher);
            }
        }
        if self.drops_entries() {
            self.make_room(hasher);
        } else if self.entries.len() >= PAGE {
            self.compact_some(hasher);
        }
        self.entries.push((key, value));
        let place = self.entries.len() - 1;
        if let Some(index) = &mut self.index {
            index.places.insert(hasher.hash(key), place as u32);
        } else if self.entries.len() > SEARCHED {
            self.build_index(hasher);
        }
    }

    /// Whether there is no room for another entry unless deleted ones go, all at once: those of a page at most.
    pub(in crate::scripting::lua) fn drops_entries(&self) -> bool {
        self.entries.len() < PAGE && self.entries.len() == self.entries.capacity()
    }

    /// Drops deleted entries; grows only if that does not make room enough.
    fn make_room(&mut self, hasher: &impl KeyHasher) {
        let before = self.entries.len();
        let mut kept = 0;
        for place in 0..before {
            let entry = self.entries[place];
            if !entry.1.is_nil() {
                self.entries[kept] = entry;
                kept += 1;
            }
        }
        self.entries.truncate(kept);
        if kept * 4 > before * 3 || before < 4 {
            self.entries.grow_head(kept + before.max(4));
        }
        if kept != before && self.index.is_some() {
            self.build_index(hasher);
        }
    }

    fn build_index(&mut self, hasher: &impl KeyHasher) {
        let mut places = PlaceIndex::with_room(self.entries.capacity());
        for place in 0..self.entries.len() {
            places.insert(hasher.hash(self.entries[place].0), place as u32);
        }
        self.index = Some(Box::new(Index { places, compact_at: 2 * PAGE, compaction: None }));
    }

    /// Goes on with dropping deleted ones of many entries, or begins, if it is time.
    fn compact_some(&mut self, hasher: &impl KeyHasher) {
        let Self { entries, index: Some(index), .. } = self else { return };
        // What has moved to places that the collector has passed, it would not see.
        if self.is_being_scanned || (index.compaction.is_none() && entries.len() < index.compact_at) {
            return;
        }
        let Compaction { mut end, mut next } = index.compaction.unwrap_or(Compaction { end: 0, next: 0 });
        for _ in 0..COMPACTED_AT_ONCE {
            let Some((key, value)) = entries.get(next).copied() else { break };
            if value.is_nil() {
                // In a gap that an earlier compaction left, there are no keys either.
                index.places.remove(hasher.hash(key), next as u32);
            } else {
                if end != next {
                    index.places.replace(hasher.hash(key), next as u32, end as u32);
                    entries[end] = (key, value);
                }
                end += 1;
            }
            if end <= next {
                entries[next] = Default::default();
            }
            next += 1;
        }
        if next == entries.len() {
            entries.truncate(end.max(next.saturating_sub(PAGE)));
            next = entries.len();
        }
        index.compaction = Some(Compaction { end, next }).filter(|_| end < next || next < entries.len());
        if index.compaction.is_none() {
            index.compact_at = 2 * end.max(PAGE);
        }
        index.places.settle();
    }

    fn append(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) {
        let known = if self.entries.is_empty() { None } else { self.find(key, hasher) };
        if let Some(place) = known {
            let slot = &mut self.entries[place].1;
            if !slot.is_nil() {
                // It is yet to be moved, which only a new key may do: a traversal may be under way.
                *slot = value;
                return;
            }
            self.forget(key, place, hasher);
        }
        self.array.push(value);
        if !self.entries.is_empty() {
            // What follows may have been set before this one.
            self.take_elements(hasher);
        }
    }

    /// Moves elements that follow the array there, as many as one change may.
    fn take_elements(&mut self, hasher: &impl KeyHasher) {
        self.is_unsettled = true;
        for _ in 0..TAKEN_AT_ONCE {
            let next = Value::Number((self.array.len() + 1) as f64);
            let known = self.find(next, hasher).filter(|place| !self.entries[*place].1.is_nil());
            let Some(place) = known else {
                self.is_unsettled = false;
                break;
            };
            self.array.push(self.entries[place].1);
            self.forget(next, place, hasher);
        }
    }

    /// Leaves nothing of an entry: a traversal that deletes what is in the array must not take up there.
    fn forget(&mut self, key: Value, place: usize, hasher: &impl KeyHasher) {
        self.entries[place] = Default::default();
        if let Some(index) = &mut self.index {
            index.places.remove(hasher.hash(key), place as u32);
        }
    }

    /// Takes nil from the end of the array, as much of it as one change may.
    fn trim(&mut self) {
        self.is_unsettled = true;
        for _ in 0..TRIMMED_AT_ONCE {
            if self.array.last().is_none_or(|value| !value.is_nil()) {
                self.is_unsettled = false;
                break;
            }
            self.array.pop();
        }
    }

    /// Goes on with taking nil from the end of the array.
    #[cold]
    fn trim_some(&mut self) {
        if self.array.last().is_some_and(|value| value.is_nil()) {
            self.trim();
        }
    }

    /// `#t`: a border of the table.
    #[inline]
    #[must_use]
    pub(super) fn length(&self, hasher: &impl KeyHasher) -> usize {
        if self.is_unsettled { self.border(hasher) } else { self.array.len() }
    }

    /// Whether all elements up to the border are in the array, and nothing else is.
    #[must_use]
    pub(super) fn is_settled(&self) -> bool {
        !self.is_unsettled
    }

    /// Looks for a border as C does.
    #[cold]
    fn border(&self, hasher: &impl KeyHasher) -> usize {
        let length = self.array.len();
        let (element, beyond) = match self.array.last() {
            Some(value) if value.is_nil() => (0, length),
            _ => (length, length + 1),
        };
        border_between(element, beyond, |place| !self.get_int(place, hasher).is_nil())
    }

    /// The elements 1 to n.
    pub(in crate::scripting::lua) fn array(&self) -> &Paged<Value> {
        &self.array
    }

    /// The elements 1 to n, to move about; nil may be put nowhere.
    pub(in crate::scripting::lua) fn array_mut(&mut self) -> &mut Paged<Value> {
        &mut self.array
    }

    /// Sets the elements from `first` on at once, as a constructor does. Says by how many bytes the table grew.
    pub(super) fn set_list(&mut self, first: usize, values: &[Value], hasher: &impl KeyHasher) -> isize {
        if first == self.array.len() + 1 && self.entries.is_empty() {
            let before = self.array.heap_bytes();
            values.iter().for_each(|value| self.array.push(*value));
            self.trim();
            return self.array.heap_bytes() as isize - before as isize;
        }
        let elements = values.iter().enumerate();
        elements.map(|(offset, value)| self.set(Value::Number((first + offset) as f64), *value, hasher)).sum()
    }

    /// The element after a key, in the order of traversal; after nil the first.
    ///
    /// # Errors
    /// When there is no such key.
    pub(super) fn next(
        &self,
        key: Value,
        hasher: &impl KeyHasher,
    ) -> Result<Option<(Value, Value)>, UnknownKey> {
        let place = match array_place(key).filter(|place| *place < self.array.len()) {
            Some(place) => place + 1,
            None if key.is_nil() => 0,
            None => match self.find(key, hasher) {
                Some(place) => self.array.len() + place + 1,
                // The last elements of the array may have been deleted by the traversal.
                None if array_place(key).is_some_and(|place| place < self.array.reached()) => {
                    self.array.len()
                }
                None => return Err(UnknownKey),
            },
        };
        Ok(self.element_from(place).map(|(_, key, value)| (key, value)))
    }

    /// The first element at a place or after it, in the order of traversal, with the place after it.
    pub(super) fn element_from(&self, mut place: usize) -> Option<(usize, Value, Value)> {
        while let Some(value) = self.array.get(place) {
            place += 1;
            if !value.is_nil() {
                return Some((place, Value::Number(place as f64), *value));
            }
        }
        let length = self.array.len();
        let mut entry = place - length.min(place);
        while let Some((key, value)) = self.entries.get(entry) {
            entry += 1;
            if !value.is_nil() {
                return Some((length + entry, *key, *value));
            }
        }
        None
    }

    /// The entries, deleted ones too.
    pub(in crate::scripting::lua) fn entries(&self) -> &Paged<(Value, Value)> {
        &self.entries
    }

    /// How many keys and values it holds.
    pub(in crate::scripting::lua) fn references(&self) -> usize {
        self.entries.len() * 2 + self.array.len()
    }

    /// Bytes of its parts.
    #[must_use]
    pub(in crate::scripting::lua) fn heap_bytes(&self) -> usize {
        self.array.heap_bytes() + self.entries_bytes()
    }

    fn entries_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, |index| box_usage::<Index>() + index.places.heap_bytes());
        self.entries.heap_bytes() + index
    }

    /// Whether it is so large that it should go [piece by piece](Self::free_some).
    pub(in crate::scripting::lua) fn is_large(&self) -> bool {
        self.references() > 64 * PAGE
    }

    /// Gives back a piece of a table that nobody will use again; false once what is left is small.
    pub(in crate::scripting::lua) fn free_some(&mut self) -> bool {
        if let Some(index) = &mut self.index {
            if index.places.free_some() {
                return true;
            }
            self.index = None;
        }
        self.array.cut(8 * PAGE);
        self.entries.cut(8 * PAGE);
        self.is_large()
    }
}
