//! Tables: a dense part for the keys 1 to n, and a part for every other key.
//!
//! ```text
//!   array    | v1 | v2 | ... | vn |        vn is never nil, so that `#t` is its length
//!   entries  | key value | key value | ...  in the order of insertion; a deleted one keeps its key, its value is nil
//!   index    hash of key -> place in `entries`, once there are more than a few
//! ```
//! The order of traversal is that of insertion. Entries are dropped only when there is no room for another one, so that
//! deleting while traversing is safe. A key that is set to nil makes an entry, too, as it does in C: `next` then knows it.

use std::cell::Cell;

use hashbrown::HashTable;

use super::value::{StrRef, TableRef, Value};

/// Entries that are searched one by one.
const SEARCHED: usize = 8;

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    array: Vec<Value>,
    entries: Vec<(Value, Value)>,
    index: Option<Box<HashTable<u32>>>,
    /// What decides over operations the table itself has no answer for.
    pub metatable: Option<TableRef>,
    /// Nothing may be set any more.
    pub readonly: bool,
    /// The collector has followed some of its references, not all.
    pub(super) is_being_scanned: bool,
}

/// How keys are hashed and compared: long strings by their bytes, which lie elsewhere.
pub trait KeyHasher {
    /// A hash of a key.
    fn hash(&self, key: Value) -> u64;
    /// Whether two keys are one. Equal places are equal keys whatever this says.
    fn same(&self, left: Value, right: Value) -> bool;
    /// Whether no other key can be the same one.
    fn is_unique(&self, key: Value) -> bool;
}

#[inline]
fn array_place(key: Value) -> Option<usize> {
    let Value::Number(number) = key else { return None };
    // What does not fit is no place of an array that could be.
    let whole = number as u32;
    (f64::from(whole) == number && whole > 0).then(|| whole as usize - 1)
}

impl Table {
    /// A table with room for so many elements.
    #[must_use]
    pub fn with_room(array: usize, others: usize) -> Self {
        Self { array: Vec::with_capacity(array), entries: Vec::with_capacity(others), ..Self::default() }
    }

    /// The value of a key; nil when there is none.
    #[inline]
    pub fn get(&self, key: Value, hasher: &impl KeyHasher) -> Value {
        if let Some(value) = array_place(key).and_then(|place| self.array.get(place)) {
            return *value;
        }
        self.find(key, hasher).map_or(Value::Nil, |place| self.entries[place].1)
    }

    /// The value of an interned string.
    #[inline]
    pub fn get_str(&self, key: StrRef, hasher: &impl KeyHasher) -> Value {
        self.find(Value::String(key), hasher).map_or(Value::Nil, |place| self.entries[place].1)
    }

    /// The value at 1, 2, ...
    #[inline]
    pub fn get_int(&self, number: usize, hasher: &impl KeyHasher) -> Value {
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

    /// Changes an element of the array that is there, or adds one if nothing has to grow for it. The value is not nil.
    #[inline]
    pub(super) fn replace_element(&mut self, key: Value, value: Value) -> bool {
        let Some(place) = array_place(key) else { return false };
        let is_next = place == self.array.len()
            && self.array.len() < self.array.capacity()
            && self.entries.is_empty()
            && self.metatable.is_none();
        match self.array.get_mut(place) {
            Some(slot) if !slot.is_nil() || self.metatable.is_none() => {
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
                .find(hasher.hash(key), |place| {
                    let candidate = self.entries[*place as usize].0;
                    candidate == key || hasher.same(candidate, key)
                })
                .map(|place| *place as usize),
        }
    }

    /// Sets a key that is neither nil nor NaN. Says by how many bytes the table grew.
    pub fn set(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> usize {
        if let Some(place) = array_place(key) {
            if place < self.array.len() {
                self.array[place] = value;
                if value.is_nil() && place + 1 == self.array.len() {
                    self.trim();
                }
                return 0;
            }
            if place == self.array.len() {
                return self.append(key, value, hasher);
            }
        }
        self.set_other(key, value, hasher)
    }

    fn set_other(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> usize {
        if let Some(place) = self.find(key, hasher) {
            self.entries[place].1 = value;
            return 0;
        }
        let before = self.heap_bytes();
        if self.drops_entries() {
            self.make_room(hasher);
        }
        self.entries.push((key, value));
        let place = self.entries.len() - 1;
        let entries = &self.entries;
        if let Some(index) = &mut self.index {
            index.insert_unique(hasher.hash(key), place as u32, |place| {
                hasher.hash(entries[*place as usize].0)
            });
        } else if self.entries.len() > SEARCHED {
            self.build_index(hasher);
        }
        self.heap_bytes() - before.min(self.heap_bytes())
    }

    /// Whether there is no room for another entry unless deleted ones go.
    pub(super) fn drops_entries(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    /// Drops deleted entries; grows only if that does not make room enough.
    fn make_room(&mut self, hasher: &impl KeyHasher) {
        let before = self.entries.len();
        self.entries.retain(|(_, value)| !value.is_nil());
        if self.entries.len() * 4 > before * 3 || before < 4 {
            self.entries.reserve_exact(before.max(4));
        }
        if self.entries.len() != before && self.index.is_some() {
            self.build_index(hasher);
        }
    }

    fn build_index(&mut self, hasher: &impl KeyHasher) {
        let mut index = HashTable::with_capacity(self.entries.capacity());
        let entries = &self.entries;
        for place in 0..entries.len() {
            index.insert_unique(hasher.hash(entries[place].0), place as u32, |place| {
                hasher.hash(entries[*place as usize].0)
            });
        }
        self.index = Some(Box::new(index));
    }

    fn append(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> usize {
        if value.is_nil() {
            return self.set_other(key, value, hasher);
        }
        let known = if self.entries.is_empty() { None } else { self.find(key, hasher) };
        if let Some(place) = known {
            self.entries[place].1 = Value::Nil;
        }
        let before = self.array.capacity();
        self.array.push(value);
        // What follows may have been set before this one.
        while !self.entries.is_empty() {
            let next = Value::Number((self.array.len() + 1) as f64);
            let Some(place) = self.find(next, hasher) else { break };
            let value = std::mem::take(&mut self.entries[place].1);
            if value.is_nil() {
                break;
            }
            self.array.push(value);
        }
        (self.array.capacity() - before) * size_of::<Value>()
    }

    fn trim(&mut self) {
        while self.array.last().is_some_and(|value| value.is_nil()) {
            self.array.pop();
        }
    }

    /// `#t`: a border of the table.
    #[inline]
    #[must_use]
    pub fn length(&self) -> usize {
        self.array.len()
    }

    /// The elements 1 to n.
    #[must_use]
    pub fn array(&self) -> &[Value] {
        &self.array
    }

    /// The elements 1 to n, to move about; nil may be put nowhere.
    pub fn array_mut(&mut self) -> &mut Vec<Value> {
        &mut self.array
    }

    /// Sets the elements from `first` on at once, as a constructor does.
    pub fn set_list(&mut self, first: usize, values: &[Value], hasher: &impl KeyHasher) -> usize {
        if first == self.array.len() + 1 && self.entries.is_empty() {
            let before = self.array.capacity();
            self.array.extend_from_slice(values);
            self.trim();
            return (self.array.capacity() - before) * size_of::<Value>();
        }
        let mut grown = 0;
        for (offset, value) in values.iter().enumerate() {
            grown += self.set(Value::Number((first + offset) as f64), *value, hasher);
        }
        grown
    }

    /// The element after a key, in the order of traversal; after nil the first.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn next(&self, key: Value, hasher: &impl KeyHasher) -> Result<Option<(Value, Value)>, UnknownKey> {
        let mut place = match array_place(key).filter(|place| *place < self.array.len()) {
            Some(place) => place + 1,
            None if key.is_nil() => 0,
            None => match self.find(key, hasher) {
                Some(place) => self.array.len() + place + 1,
                // The last elements of the array may have been deleted by the traversal.
                None if array_place(key).is_some_and(|place| place < self.array.capacity()) => {
                    self.array.len()
                }
                None => return Err(UnknownKey),
            },
        };
        while let Some(value) = self.array.get(place) {
            place += 1;
            if !value.is_nil() {
                return Ok(Some((Value::Number(place as f64), *value)));
            }
        }
        let others = self.entries.get(place - self.array.len().min(place)..).unwrap_or_default();
        Ok(others.iter().find(|(_, value)| !value.is_nil()).copied())
    }

    /// The entries, deleted ones too.
    pub(super) fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    /// How many keys and values it holds.
    pub(super) fn references(&self) -> usize {
        self.entries.len() * 2 + self.array.len()
    }

    /// Bytes of its parts.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let index =
            self.index.as_ref().map_or(0, |index| size_of::<HashTable<u32>>() + index.allocation_size());
        self.array.capacity() * size_of::<Value>()
            + self.entries.capacity() * size_of::<(Value, Value)>()
            + index
    }
}

/// `next` was asked for the element after a key that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKey;
