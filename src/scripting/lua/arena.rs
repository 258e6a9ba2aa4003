//! Objects of one kind, each in a place that stays its own until the collector gives it back.
//!
//! A place is an index, so that a stale one can at worst name another object or none, never memory that is gone. Between
//! two collections every object has the same colour; a collection begins by giving a new meaning to the other one.

use super::paged::Paged;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Light,
    Dark,
}

/// What an arena keeps.
pub(super) trait Object: Default {
    /// Bytes of what it owns beside its place, each allocation as the allocator rounds it.
    fn heap_bytes(&self) -> usize;

    /// Bytes of the place and of what it owns.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.heap_bytes()
    }
}

/// Room that is kept however few objects there are.
const KEPT: usize = 1024;

/// The objects.
#[derive(Debug)]
pub(super) struct Arena<T> {
    slots: Paged<T>,
    states: Paged<State>,
    free: Paged<u32>,
    /// Objects that are not given back.
    live: usize,
    /// The colour of what is new or was reached; what still has the other one may be garbage.
    current: State,
    /// What is where nothing is.
    nothing: T,
}

impl<T: Object> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Paged::default(),
            states: Paged::default(),
            free: Paged::default(),
            live: 0,
            current: State::Light,
            nothing: T::default(),
        }
    }
}

impl<T: Object> Arena<T> {
    pub(super) fn add(&mut self, object: T) -> u32 {
        self.live += 1;
        if let Some(place) = self.free.pop() {
            self.slots[place as usize] = object;
            self.states[place as usize] = self.current;
            return place;
        }
        self.slots.push(object);
        self.states.push(self.current);
        (self.slots.len() - 1) as u32
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> &T {
        match self.slots.get(place as usize) {
            Some(object) => object,
            None => self.nothing(),
        }
    }

    /// Out of line, so that a processor goes on with the object before it knows that it is there.
    #[cold]
    #[inline(never)]
    fn nothing(&self) -> &T {
        &self.nothing
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        self.slots.get_mut(place as usize).unwrap_or(&mut self.nothing)
    }

    /// How many places there are, given back or not.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// Begins a collection: nothing is reached yet.
    pub(super) fn flip(&mut self) {
        self.current = if self.current == State::Light { State::Dark } else { State::Light };
    }

    /// Notes that an object is reached; says whether it was not before.
    #[inline]
    pub(super) fn mark(&mut self, place: u32) -> bool {
        let Some(state) = self.states.get_mut(place as usize) else { return false };
        let fresh = *state != State::Free && *state != self.current;
        if fresh {
            *state = self.current;
        }
        fresh
    }

    /// Begins to give back what was not reached; [`Self::sweep_some`] goes on, from the last of the places that this says
    /// to the first.
    pub(super) fn begin_sweep(&mut self) -> usize {
        self.free.truncate(0);
        self.slots.len()
    }

    /// Goes on for up to so many places: what was not reached is given to `bury`. Places at the end that hold nothing go
    /// altogether.
    pub(super) fn sweep_some(&mut self, left: &mut usize, places: usize, mut bury: impl FnMut(u32, T)) {
        for _ in 0..places.min(*left) {
            *left -= 1;
            let place = *left;
            let state = self.states[place];
            if state == self.current {
                continue;
            }
            let is_last = place + 1 == self.slots.len();
            let object = if is_last {
                self.states.pop();
                self.slots.pop().unwrap_or_default()
            } else {
                self.states[place] = State::Free;
                self.free.push(place as u32);
                std::mem::take(&mut self.slots[place])
            };
            if state != State::Free {
                self.live -= 1;
                bury(place as u32, object);
            }
        }
        if *left == 0 {
            let room = KEPT.max(self.slots.len() * 2);
            self.slots.shrink_to(room);
            self.states.shrink_to(room);
            self.free.shrink_to(room);
        }
    }

    /// Whether an object is there.
    #[cfg(test)]
    pub(super) fn is_there(&self, place: u32) -> bool {
        self.states.get(place as usize).is_some_and(|state| *state != State::Free)
    }

    /// Gives back the last so many places whatever refers to them; says how many there were, and what their objects weighed.
    pub(super) fn cut(&mut self, count: usize) -> (usize, usize) {
        let (mut cut, mut bytes) = (0, 0);
        while cut < count
            && let (Some(state), Some(object)) = (self.states.pop(), self.slots.pop())
        {
            cut += 1;
            if state != State::Free {
                self.live -= 1;
                bytes += object.weight();
            }
        }
        (cut, bytes)
    }

    /// Every object that is not given back.
    #[cfg(test)]
    pub(super) fn live(&self) -> impl Iterator<Item = &T> {
        self.slots
            .iter()
            .zip(self.states.iter())
            .filter(|(_, state)| **state != State::Free)
            .map(|(slot, _)| slot)
    }

    /// Bytes of the places themselves, in use or not.
    pub(super) fn places_usage(&self) -> usize {
        self.slots.heap_bytes() + self.states.heap_bytes() + self.free.heap_bytes()
    }

    /// Bytes of the places of objects that are not given back.
    pub(super) fn live_bytes(&self) -> usize {
        self.live * size_of::<T>()
    }
}
