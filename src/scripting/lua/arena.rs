//! Objects of one kind, each in a place that stays its own until the collector gives it back.
//!
//! A place is an index, so that a stale one can at worst name another object, never memory that is gone.

use crate::memory::vec_usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Not reached yet in this collection.
    White,
    Black,
}

/// The objects.
#[derive(Debug)]
pub(super) struct Arena<T> {
    slots: Vec<T>,
    states: Vec<State>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), states: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Arena<T> {
    pub(super) fn add(&mut self, object: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.slots[place as usize] = object;
            self.states[place as usize] = State::White;
            return place;
        }
        self.slots.push(object);
        self.states.push(State::White);
        (self.slots.len() - 1) as u32
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> &T {
        &self.slots[place as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        &mut self.slots[place as usize]
    }

    /// Says whether it was not marked before.
    pub(super) fn mark(&mut self, place: u32) -> bool {
        let Some(state) = self.states.get_mut(place as usize) else { return false };
        let fresh = *state == State::White;
        if fresh {
            *state = State::Black;
        }
        fresh
    }

    /// Gives back what was not marked, each to `bury`, and takes all marks away.
    pub(super) fn sweep(&mut self, mut bury: impl FnMut(u32, T)) {
        for (place, state) in self.states.iter_mut().enumerate() {
            match state {
                State::Free => {}
                State::Black => *state = State::White,
                State::White => {
                    *state = State::Free;
                    self.free.push(place as u32);
                    bury(place as u32, std::mem::take(&mut self.slots[place]));
                }
            }
        }
    }

    /// Gives back the last so many places whatever refers to them; says how many there were.
    pub(super) fn cut(&mut self, count: usize) -> usize {
        let left = self.slots.len().saturating_sub(count);
        let cut = self.slots.len() - left;
        self.slots.truncate(left);
        self.states.truncate(left);
        cut
    }

    /// Every object that is not given back.
    pub(super) fn live(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().zip(&self.states).filter(|(_, state)| **state != State::Free).map(|(slot, _)| slot)
    }

    /// Bytes of the places themselves.
    pub(super) fn places_usage(&self) -> usize {
        vec_usage(&self.slots) + vec_usage(&self.states) + vec_usage(&self.free)
    }
}
