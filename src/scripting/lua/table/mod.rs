//! Tables, laid out as Lua 5.1 lays them out, so that scripts meet the order and the borders that they meet there.
//!
//! ```text
//!   array    | v1 | v2 | nil | ... |       values of 1, 2, ...; more than half of it was in use when it was allocated
//!   nodes    | key value next | ... |      every other key, as many places as a power of two; `next` links those that
//!                                          would have the same place
//!   large    all of it, once either would be longer than a few thousand
//! ```
//! A traversal visits the array, then the nodes from the first place to the last. A key has its main place by its hash.
//! If that is taken, one of the two moves to the last free place: the one that is not at its own main place, else the
//! new one. When no place is free, both parts are allocated anew for the keys that have a value; nothing else moves
//! a key, and a key whose value is nil stays until then, so that a traversal may delete.
//!
//! Allocating anew takes long for a [`Large`] table, which grows by pieces, and has an order of its own.

use std::cell::Cell;

use super::arena::Object;
use super::value::{FunctionRef, StrRef, TableRef, ThreadRef, Value};
use crate::memory::{box_usage, usable_size};

mod large;

pub(super) use large::Large;

/// Places of the array; a table that needs more is a large one.
const ARRAY_MAX: usize = if cfg!(test) { 64 } else { 8192 };
/// Nodes; a table that needs more is a large one. Keys can be chosen so that all of them are one chain.
const NODES_MAX: usize = if cfg!(test) { 64 } else { 1024 };
/// Keys above 2 to this power are never candidates for the array (Lua: `MAXBITS`).
const CANDIDATE_BITS: usize = 26;
/// The end of a chain of nodes.
const NONE: u32 = u32::MAX;

/// A key that is not in the array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) key: Value,
    pub(super) value: Value,
    next: u32,
}

impl Default for Node {
    fn default() -> Self {
        Self { key: Value::Nil, value: Value::Nil, next: NONE }
    }
}

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    array: Box<[Value]>,
    nodes: Box<[Node]>,
    /// No node from this place on is free.
    free: u32,
    /// The whole table, if it is large; its other parts are empty then.
    large: Option<Box<Large>>,
    /// What decides over operations the table itself has no answer for.
    pub metatable: Option<TableRef>,
    /// Nothing may be set any more.
    pub readonly: bool,
}

/// How keys are hashed and compared: strings by their bytes, which lie elsewhere.
pub trait KeyHasher {
    /// A hash of a key that no script can foresee.
    fn hash(&self, key: Value) -> u64;
    /// The hash of a string that decides over its main place: that of Valkey's Lua.
    fn position(&self, string: StrRef) -> u32;
    /// Whether two keys are one. Equal places are equal keys whatever this says.
    fn same(&self, left: Value, right: Value) -> bool;
    /// Whether no other key can be the same one.
    fn is_unique(&self, key: Value) -> bool;
    /// A change of a table has looked at so many of its places.
    fn note_places(&self, count: usize);
}

/// `next` was asked for the element after a key that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKey;

#[inline]
fn array_place(key: Value) -> Option<usize> {
    let Value::Number(number) = key else { return None };
    // What does not fit is no place of an array that could be.
    let whole = number as u32;
    (f64::from(whole) == number && whole > 0).then(|| whole as usize - 1)
}

/// Looks for a border by halves, after one place that has an element (or before the first) and from another one on, which
/// lies twice as far each time that there is one.
fn border_between(mut element: usize, mut beyond: usize, has_element: impl Fn(usize) -> bool) -> usize {
    while has_element(beyond) {
        (element, beyond) = (beyond, beyond * 2);
    }
    while beyond - element > 1 {
        let middle = element.midpoint(beyond);
        if has_element(middle) { element = middle } else { beyond = middle }
    }
    element
}

/// Which power of two the place that a key has, or would have, in the array does not exceed.
fn slice_of(place: usize) -> usize {
    (place + 1).next_power_of_two().ilog2() as usize
}

/// Candidates for the array: how many keys there are above each power of two, up to the next one.
#[derive(Default)]
struct Candidates([usize; CANDIDATE_BITS + 1]);

impl Candidates {
    fn add(&mut self, key: Value) {
        if let Some(slice) = array_place(key).and_then(|place| self.0.get_mut(slice_of(place))) {
            *slice += 1;
        }
    }

    /// The longest array of which more than half would be in use, and the keys that it would have.
    fn array(&self) -> (usize, usize) {
        let all: usize = self.0.iter().sum();
        let (mut length, mut kept, mut seen) = (0, 0, 0);
        for (bits, count) in self.0.iter().enumerate() {
            let candidate = 1 << bits;
            if candidate / 2 >= all {
                break;
            }
            seen += count;
            if *count > 0 && seen > candidate / 2 {
                (length, kept) = (candidate, seen);
            }
        }
        (length, kept)
    }
}

impl Table {
    /// A table with room for so many elements and so many other keys.
    #[must_use]
    pub fn with_room(array: usize, others: usize) -> Self {
        if array > ARRAY_MAX || others > NODES_MAX {
            return Self { large: Some(Box::new(Large::with_room(array, others))), ..Self::default() };
        }
        let mut table = Self { array: vec![Value::Nil; array].into(), ..Self::default() };
        table.renew_nodes(others);
        table
    }

    /// The value of a key; nil when there is none.
    #[inline]
    pub fn get(&self, key: Value, hasher: &impl KeyHasher) -> Value {
        match array_place(key).and_then(|place| self.element(place)) {
            Some(value) => *value,
            None => self.get_other(key, hasher),
        }
    }

    /// The element at a place of the array, a large table's too, if it has that place.
    #[inline]
    fn element(&self, place: usize) -> Option<&Value> {
        match self.array.get(place) {
            None => self.large.as_ref()?.array().get(place),
            element => element,
        }
    }

    #[inline]
    fn get_other(&self, key: Value, hasher: &impl KeyHasher) -> Value {
        match self.find(key, hasher) {
            Some(place) => self.nodes[place].value,
            None => self.large.as_ref().map_or(Value::Nil, |large| large.get(key, hasher)),
        }
    }

    /// The value of an interned string.
    #[inline]
    pub fn get_str(&self, key: StrRef, hasher: &impl KeyHasher) -> Value {
        self.get_other(Value::String(key), hasher)
    }

    /// The value at 1, 2, ...
    #[inline]
    pub fn get_int(&self, number: usize, hasher: &impl KeyHasher) -> Value {
        match self.element(number.wrapping_sub(1)) {
            Some(value) => *value,
            None => self.get_other(Value::Number(number as f64), hasher),
        }
    }

    /// The elements from 1, 2, ... on that lie side by side; none if that one is not in the array.
    pub(super) fn run_from(&self, number: usize) -> &[Value] {
        let place = number.wrapping_sub(1);
        match &self.large {
            Some(large) if number > 0 => large.array().run_from(place),
            _ => self.array.get(place..).unwrap_or_default(),
        }
    }

    /// The value of a string. `hint` is a place to look at first, and becomes where it was found.
    #[inline]
    pub(super) fn get_hinted(&self, name: StrRef, hint: &Cell<u16>, hasher: &impl KeyHasher) -> Value {
        match self.nodes.get(usize::from(hint.get())) {
            Some(Node { key: Value::String(known), value, .. }) if *known == name => *value,
            _ => self.get_noting(name, hint, hasher),
        }
    }

    #[inline(never)]
    fn get_noting(&self, name: StrRef, hint: &Cell<u16>, hasher: &impl KeyHasher) -> Value {
        match (&self.large, self.find_noting(name, hint, hasher)) {
            (Some(large), _) => large.get_hinted(name, hint, hasher),
            (None, place) => place.map_or(Value::Nil, |place| self.nodes[place].value),
        }
    }

    fn find_noting(&self, name: StrRef, hint: &Cell<u16>, hasher: &impl KeyHasher) -> Option<usize> {
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
        let hinted = usize::from(hint.get());
        let place = match self.nodes.get(hinted) {
            Some(Node { key: Value::String(known), .. }) if *known == name => Some(hinted),
            _ => self.find_noting(name, hint, hasher),
        };
        match place.and_then(|place| self.nodes.get_mut(place)) {
            Some(node) if !node.value.is_nil() => {
                node.value = value;
                true
            }
            Some(_) => false,
            None => self.large.as_mut().is_some_and(|large| large.replace_hinted(name, value, hint, hasher)),
        }
    }

    /// Changes an element of the array that is there, or adds one if nothing has to grow for it. The value is not nil.
    #[inline]
    pub(super) fn replace_element(&mut self, key: Value, value: Value) -> bool {
        let Some(place) = array_place(key) else { return false };
        match self.array.get_mut(place) {
            Some(slot) if !slot.is_nil() || self.metatable.is_none() => {
                *slot = value;
                true
            }
            Some(_) => false,
            None => {
                let is_plain = self.metatable.is_none();
                self.large.as_mut().is_some_and(|large| large.replace_element(place, value, is_plain))
            }
        }
    }

    /// The node of a key, whatever its value.
    #[inline]
    fn find(&self, key: Value, hasher: &impl KeyHasher) -> Option<usize> {
        if self.nodes.is_empty() {
            return None;
        }
        let mut place = self.main_place(key, hasher);
        loop {
            let node = self.nodes.get(place)?;
            if node.key == key || hasher.same(node.key, key) {
                return Some(place);
            }
            place = node.next as usize;
        }
    }

    /// Where a key belongs among the nodes.
    #[inline]
    fn main_place(&self, key: Value, hasher: &impl KeyHasher) -> usize {
        let mask = self.nodes.len() as u32 - 1;
        // An odd number spreads what is even by nature.
        let spread = |number: u32| (number % (mask | 1)) as usize;
        match key {
            Value::String(string) => (hasher.position(string) & mask) as usize,
            // Zero has two forms.
            Value::Number(0.0) => 0,
            Value::Number(number) => {
                let bits = number.to_bits();
                spread((bits as u32).wrapping_add((bits >> 32) as u32))
            }
            Value::Boolean(value) => (u32::from(value) & mask) as usize,
            // Addresses in C, so that no order is known.
            Value::Table(TableRef(place))
            | Value::Function(FunctionRef(place))
            | Value::Thread(ThreadRef(place)) => spread(place),
            Value::Nil | Value::Null | Value::Cell(_) => 0,
        }
    }

    /// Sets a key that is neither nil nor NaN. Says by how many bytes the table grew.
    pub fn set(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> isize {
        if let Some(slot) = array_place(key).and_then(|place| self.array.get_mut(place)) {
            *slot = value;
            return 0;
        }
        if let Some(large) = &mut self.large {
            return large.set(key, value, hasher);
        }
        if let Some(place) = self.find(key, hasher) {
            self.nodes[place].value = value;
            return 0;
        }
        self.add(key, value, hasher)
    }

    /// Adds a key that is not there.
    fn add(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> isize {
        if self.nodes.is_empty() {
            return self.make_room(key, value, hasher);
        }
        let main = self.main_place(key, hasher);
        let mut place = main;
        if !self.nodes[main].value.is_nil() {
            let Some(free) = self.take_free() else { return self.make_room(key, value, hasher) };
            let taken = self.nodes[main];
            let other = self.main_place(taken.key, hasher);
            if other == main {
                self.nodes[free].next = taken.next;
                self.nodes[main].next = free as u32;
                place = free;
            } else {
                self.relink(other, main, free);
                self.nodes[free] = taken;
                self.nodes[main].next = NONE;
            }
        }
        (self.nodes[place].key, self.nodes[place].value) = (key, value);
        0
    }

    /// Has the chain that begins at a place go on to another node instead of one.
    fn relink(&mut self, first: usize, from: usize, to: usize) {
        let mut place = first;
        while let Some(node) = self.nodes.get_mut(place) {
            if node.next as usize == from {
                node.next = to as u32;
                return;
            }
            place = node.next as usize;
        }
    }

    fn take_free(&mut self) -> Option<usize> {
        while let Some(place) = self.free.checked_sub(1) {
            self.free = place;
            if self.nodes[place as usize].key.is_nil() {
                return Some(place as usize);
            }
        }
        None
    }

    /// Allocates both parts for the keys that have a value and for one more, and sets that.
    fn make_room(&mut self, key: Value, value: Value, hasher: &impl KeyHasher) -> isize {
        let mut candidates = Candidates::default();
        let elements = self.array.iter().enumerate().filter(|(_, value)| !value.is_nil());
        let mut keys = 1;
        for (place, _) in elements {
            candidates.0[slice_of(place)] += 1;
            keys += 1;
        }
        for node in self.nodes.iter().filter(|node| !node.value.is_nil()) {
            candidates.add(node.key);
            keys += 1;
        }
        candidates.add(key);
        hasher.note_places(self.array.len() + self.nodes.len());
        let (array, kept) = candidates.array();
        let grown = self.resize(array, keys - kept, hasher);
        grown + self.set(key, value, hasher)
    }

    /// Allocates both parts anew for so many elements and other keys.
    fn resize(&mut self, array: usize, others: usize, hasher: &impl KeyHasher) -> isize {
        let before = self.heap_bytes();
        if array > ARRAY_MAX || others > NODES_MAX {
            self.become_large(hasher);
        } else {
            let nodes = std::mem::take(&mut self.nodes);
            self.renew_nodes(others);
            let left = self.renew_array(array);
            for (place, value) in left.iter().enumerate().filter(|(_, value)| !value.is_nil()) {
                self.set(Value::Number((array + place + 1) as f64), *value, hasher);
            }
            for node in nodes.iter().rev().filter(|node| !node.value.is_nil()) {
                self.set(node.key, node.value, hasher);
            }
        }
        self.heap_bytes() as isize - before as isize
    }

    /// Gives the array another length; returns the values that it has no places for any more.
    fn renew_array(&mut self, length: usize) -> Vec<Value> {
        if length == self.array.len() {
            return Vec::new();
        }
        let mut array = std::mem::take(&mut self.array).into_vec();
        let left = if length < array.len() { array.split_off(length) } else { Vec::new() };
        array.reserve_exact(length - array.len());
        array.resize(length, Value::Nil);
        self.array = array.into();
        left
    }

    fn renew_nodes(&mut self, count: usize) {
        let length = if count == 0 { 0 } else { count.next_power_of_two() };
        self.nodes = vec![Node::default(); length].into();
        self.free = length as u32;
    }

    #[cold]
    fn become_large(&mut self, hasher: &impl KeyHasher) {
        let (array, nodes) = (std::mem::take(&mut self.array), std::mem::take(&mut self.nodes));
        let mut large = Box::new(Large::with_room(array.len(), nodes.len()));
        for (place, value) in array.iter().enumerate().filter(|(_, value)| !value.is_nil()) {
            large.set(Value::Number((place + 1) as f64), *value, hasher);
        }
        for node in nodes.iter().filter(|node| !node.value.is_nil()) {
            large.set(node.key, node.value, hasher);
        }
        self.free = 0;
        self.large = Some(large);
    }

    /// `#t`: a border of the table.
    #[inline]
    #[must_use]
    pub fn length(&self, hasher: &impl KeyHasher) -> usize {
        match self.array.last() {
            Some(value) if value.is_nil() => self.border_within(),
            _ if self.nodes.is_empty() && self.large.is_none() => self.array.len(),
            _ => self.border_beyond(hasher),
        }
    }

    /// A border within the array, whose last element is nil.
    fn border_within(&self) -> usize {
        border_between(0, self.array.len(), |place| !self.array[place - 1].is_nil())
    }

    #[cold]
    fn border_beyond(&self, hasher: &impl KeyHasher) -> usize {
        if let Some(large) = &self.large {
            return large.length(hasher);
        }
        let length = self.array.len();
        border_between(length, length + 1, |place| !self.get_int(place, hasher).is_nil())
    }

    /// Sets the elements from `first` on at once, as a constructor does. Says by how many bytes the table grew.
    pub fn set_list(&mut self, first: usize, values: &[Value], hasher: &impl KeyHasher) -> isize {
        let last = first - 1 + values.len();
        let mut grown = 0;
        if self.large.is_none() && last > self.array.len() {
            grown = self.resize(last, self.nodes.len(), hasher);
        }
        if let Some(large) = &mut self.large {
            return grown + large.set_list(first, values, hasher);
        }
        self.array[first - 1..last].copy_from_slice(values);
        grown
    }

    /// Whether the elements up to a place can be moved as one.
    pub(super) fn moves_as_one(&self, last: usize) -> bool {
        self.large.as_ref().map_or(last <= self.array.len(), |large| large.is_settled())
    }

    /// The element after a key, in the order of traversal; after nil the first.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn next(&self, key: Value, hasher: &impl KeyHasher) -> Result<Option<(Value, Value)>, UnknownKey> {
        self.next_hinted(key, &Cell::default(), hasher)
    }

    /// The same. `hint` is a node to look at first for the key, and becomes that of the element.
    #[inline]
    pub(super) fn next_hinted(
        &self,
        key: Value,
        hint: &Cell<u16>,
        hasher: &impl KeyHasher,
    ) -> Result<Option<(Value, Value)>, UnknownKey> {
        if let Some(large) = &self.large {
            return large.next(key, hasher);
        }
        let first = match array_place(key).filter(|place| *place < self.array.len()) {
            Some(place) => place + 1,
            None if key.is_nil() => 0,
            None => self.array.len() + self.find_near(key, hint, hasher).ok_or(UnknownKey)? + 1,
        };
        let next = self.element_from(first);
        if let Some((place, ..)) = next {
            hint.set(place.wrapping_sub(self.array.len() + 1) as u16);
        }
        Ok(next.map(|(_, key, value)| (key, value)))
    }

    /// The first element at a place or after it, in the order of traversal, with the place after it. Places are good until
    /// the table changes.
    #[inline]
    pub fn element_from(&self, place: usize) -> Option<(usize, Value, Value)> {
        if let Some(large) = &self.large {
            return large.element_from(place);
        }
        let mut elements = self.array.iter().enumerate().skip(place);
        if let Some((place, value)) = elements.find(|(_, value)| !value.is_nil()) {
            return Some((place + 1, Value::Number((place + 1) as f64), *value));
        }
        let length = self.array.len();
        let mut nodes = self.nodes.iter().enumerate().skip(place.saturating_sub(length));
        let (place, node) = nodes.find(|(_, node)| !node.value.is_nil())?;
        Some((length + place + 1, node.key, node.value))
    }

    /// The node of a key, which is likely to be at a place.
    #[inline]
    fn find_near(&self, key: Value, hint: &Cell<u16>, hasher: &impl KeyHasher) -> Option<usize> {
        let hinted = usize::from(hint.get());
        match self.nodes.get(hinted) {
            Some(node) if node.key == key => Some(hinted),
            _ => self.find(key, hasher),
        }
    }

    /// The elements 1, 2, ... that are not in a large table.
    pub(super) fn array(&self) -> &[Value] {
        &self.array
    }

    /// The same, to move about.
    pub(super) fn array_mut(&mut self) -> &mut [Value] {
        &mut self.array
    }

    /// The other keys that are not in a large table, those without a value too.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The whole, if it is large.
    pub(super) fn large(&self) -> Option<&Large> {
        self.large.as_deref()
    }

    /// The same, to change it.
    pub(super) fn large_mut(&mut self) -> Option<&mut Large> {
        self.large.as_deref_mut()
    }

    /// The large table, if it is one.
    pub(super) fn into_large(self) -> Option<Large> {
        self.large.map(|large| *large)
    }
}

impl Object for Table {
    fn heap_bytes(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| box_usage::<Large>() + large.heap_bytes());
        usable_size(size_of_val::<[Value]>(&self.array))
            + usable_size(size_of_val::<[Node]>(&self.nodes))
            + large
    }
}

#[cfg(test)]
mod tests;
