//! Listpacks in the order of a key: the nodes of a stream.
//!
//! ```text
//! OrderedIndex [ (key, block) (key, block) ... ]
//!                       |            |
//!                       v            v
//!                   listpack     listpack
//! ```
//! The index owns the blocks: each slot holds the one pointer to its listpack. Invariant: a block is freed exactly when its
//! slot leaves the index.

use std::cmp::Ordering;
use std::fmt;
use std::ptr::NonNull;

use super::listpack::Listpack;
use super::ordered_index::OrderedIndex;
use crate::memory::{MemoryUsage, Mover, Relocate};

/// A key and the block it owns; copies are made only inside of this file, and only one of them counts.
#[derive(Clone, Copy)]
struct Slot<K> {
    key: K,
    block: NonNull<u8>,
}

impl<K> Slot<K> {
    fn new(key: K, listpack: Listpack) -> Self {
        Self { key, block: listpack.into_raw() }
    }

    fn listpack(&self) -> &Listpack {
        // SAFETY: a listpack is `repr(transparent)` over the pointer to its block, which the slot owns.
        unsafe { NonNull::from(&self.block).cast::<Listpack>().as_ref() }
    }

    fn listpack_mut(&mut self) -> &mut Listpack {
        // SAFETY: as above; whatever becomes of the pointer stays in the slot.
        unsafe { NonNull::from(&mut self.block).cast::<Listpack>().as_mut() }
    }

    /// Takes the listpack of a slot that has left the index.
    fn into_listpack(self) -> Listpack {
        // SAFETY: the block came from `into_raw`, and its slot is gone.
        unsafe { Listpack::from_raw(self.block) }
    }
}

/// Listpacks under distinct keys, in their order.
pub struct ListpackIndex<K: Copy + Ord> {
    slots: OrderedIndex<Slot<K>>,
}

// SAFETY: the blocks are owned alone and hold plain bytes.
unsafe impl<K: Copy + Ord + Send> Send for ListpackIndex<K> {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl<K: Copy + Ord + Sync> Sync for ListpackIndex<K> {}

impl<K: Copy + Ord> ListpackIndex<K> {
    /// An empty index; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: OrderedIndex::new() }
    }

    /// The number of listpacks.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no listpack.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds a listpack; gives it back when its key is taken.
    ///
    /// # Errors
    /// The listpack, when there is another one under this key.
    pub fn insert(&mut self, key: K, listpack: Listpack) -> Result<(), Listpack> {
        let slot = Slot::new(key, listpack);
        if self.slots.insert(slot, |other| other.key.cmp(&key)) { Ok(()) } else { Err(slot.into_listpack()) }
    }

    /// The listpack of that rank with its key.
    #[must_use]
    pub fn select(&self, rank: usize) -> Option<(K, &Listpack)> {
        self.slots.select(rank).map(|slot| (slot.key, slot.listpack()))
    }

    /// The first listpack with its key.
    #[must_use]
    pub fn first(&self) -> Option<(K, &Listpack)> {
        self.slots.first().map(|slot| (slot.key, slot.listpack()))
    }

    /// The last listpack with its key.
    #[must_use]
    pub fn last(&self) -> Option<(K, &Listpack)> {
        self.slots.last().map(|slot| (slot.key, slot.listpack()))
    }

    /// The last listpack whose key is not above `key`, with its own.
    #[must_use]
    pub fn floor(&self, key: &K) -> Option<(K, &Listpack)> {
        self.slots.floor(|slot| slot.key.cmp(key)).map(|slot| (slot.key, slot.listpack()))
    }

    /// How many keys are not above `key`.
    #[must_use]
    pub fn count_through(&self, key: &K) -> usize {
        self.slots.upper_bound(|slot| slot.key.cmp(key))
    }

    /// All listpacks with their keys, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &Listpack)> {
        self.slots.iter().map(|slot| (slot.key, slot.listpack()))
    }

    /// Hands the listpack of a key to `change`; `None` when there is none.
    pub fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut Listpack) -> R) -> Option<R> {
        self.slots.update(|slot| slot.key.cmp(key), |slot| change(slot.listpack_mut()))
    }

    /// Takes the listpack of a key out.
    pub fn remove(&mut self, key: &K) -> Option<Listpack> {
        self.slots.remove(|slot: &Slot<K>| -> Ordering { slot.key.cmp(key) }).map(Slot::into_listpack)
    }
}

impl<K: Copy + Ord> Default for ListpackIndex<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Ord> Clone for ListpackIndex<K> {
    fn clone(&self) -> Self {
        let copies = self.slots.iter().map(|slot| Slot::new(slot.key, slot.listpack().clone()));
        Self { slots: OrderedIndex::from_sorted(copies) }
    }
}

impl<K: Copy + Ord> Drop for ListpackIndex<K> {
    fn drop(&mut self) {
        for slot in std::mem::take(&mut self.slots).iter() {
            drop(slot.into_listpack());
        }
    }
}

impl<K: Copy + Ord + fmt::Debug> fmt::Debug for ListpackIndex<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Copy + Ord> MemoryUsage for ListpackIndex<K> {
    /// The index's own blocks and those of the listpacks. Visits every listpack.
    fn memory_usage(&self) -> usize {
        self.slots.memory_usage() + self.iter().map(|(_, listpack)| listpack.memory_usage()).sum::<usize>()
    }
}

/// A step is some nodes of the index with their listpacks; the cursor counts listpacks.
impl<K: Copy + Ord> Relocate for ListpackIndex<K> {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        self.slots.relocate(cursor, mover, |slot, mover| {
            slot.listpack_mut().relocate(0, mover);
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::allocated_bytes;

    fn listpack_of(number: i64) -> Listpack {
        let mut listpack = Listpack::new();
        listpack.push_back(number);
        listpack
    }

    #[test]
    fn listpacks_are_found_by_key_and_by_rank() {
        let mut index = ListpackIndex::new();
        for key in (0..300u64).map(|key| key * 7919 % 300) {
            index.insert(key * 2, listpack_of(key as i64)).unwrap();
        }
        assert!(index.insert(4, listpack_of(0)).is_err());
        assert_eq!(index.len(), 300);
        assert_eq!(index.floor(&5).unwrap().0, 4);
        assert_eq!(index.count_through(&5), 3);
        assert_eq!(index.select(10).unwrap(), (20, &listpack_of(10)));
        index.update(&4, |listpack| (0..100i64).for_each(|number| listpack.push_back(number))).unwrap();
        assert_eq!(index.floor(&4).unwrap().1.len(), 101);
        assert_eq!(index.remove(&0).unwrap(), listpack_of(0));
        assert!(index.remove(&0).is_none());
        assert_eq!(index.first().unwrap().0, 2);
        assert_eq!(index.clone().iter().next_back().unwrap(), index.last().unwrap());
    }

    #[test]
    fn what_it_weighs_is_what_is_allocated() {
        let before = allocated_bytes();
        let mut index = ListpackIndex::new();
        for key in 0..1000u64 {
            index.insert(key, listpack_of(key as i64)).unwrap();
        }
        for key in (0..1000).step_by(3) {
            index.remove(&key);
        }
        assert_eq!(allocated_bytes() - before, index.memory_usage());
        drop(index);
        assert_eq!(allocated_bytes(), before);
    }
}
