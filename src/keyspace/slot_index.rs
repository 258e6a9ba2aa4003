//! Which keys a database has of each hash slot, so that a node of a cluster finds a slot's keys without going over the
//! table: 4 bytes a key, and some for room.
//!
//! Of a key there is the low half of its hash, which is all that the table keeps of it: with that the table finds the
//! entry as if it had the key. Entries may thus move as they like. A slot's halves lie in lists of about
//! [`KEYS_PER_LIST`] by linear hashing, as the table's buckets do: no key costs more than a look at one list, or the
//! parting of one, however many keys the slot has. Two keys of a slot may have the same half; it is there twice then.

use crate::algorithms::slot::SLOTS;
use crate::memory::{Mover, vec_usage};

/// Keys that a list is meant to hold.
const KEYS_PER_LIST: usize = 64;

/// The keys of one slot.
#[derive(Default)]
struct Slot {
    len: usize,
    lists: Vec<Vec<u32>>,
}

/// The keys of all slots. Nothing is allocated before the first key.
#[derive(Default)]
pub(super) struct SlotIndex {
    slots: Vec<Slot>,
    /// Heap bytes of all lists.
    bytes: usize,
}

/// The bit that parted list `added` from another one, and which that is.
fn parting(added: usize) -> (u32, usize) {
    let bit = 1 << added.ilog2();
    (bit, added - bit as usize)
}

/// Changes a vector and keeps account of its bytes.
fn change<T, R>(vec: &mut Vec<T>, bytes: &mut usize, change: impl FnOnce(&mut Vec<T>) -> R) -> R {
    *bytes -= vec_usage(vec);
    let result = change(vec);
    *bytes += vec_usage(vec);
    result
}

fn push(list: &mut Vec<u32>, half: u32) {
    if list.len() == list.capacity() {
        // Doubling would leave a quarter unused on average.
        list.reserve_exact((list.len() / 4).max(4));
    }
    list.push(half);
}

impl Slot {
    /// The list that a half belongs to; there must be one.
    fn list_of(&self, half: u32) -> usize {
        let Some(level) = self.lists.len().checked_ilog2() else { return 0 };
        let wide = half as usize & ((2 << level) - 1);
        if wide < self.lists.len() { wide } else { wide & ((1 << level) - 1) }
    }

    fn insert(&mut self, half: u32, bytes: &mut usize) {
        if self.lists.is_empty() {
            change(&mut self.lists, bytes, |lists| {
                lists.reserve_exact(1);
                lists.push(Vec::new());
            });
        } else if self.len >= self.lists.len() * KEYS_PER_LIST {
            self.part(bytes);
        }
        let list = self.list_of(half);
        if let Some(list) = self.lists.get_mut(list) {
            change(list, bytes, |list| push(list, half));
            self.len += 1;
        }
    }

    fn part(&mut self, bytes: &mut usize) {
        let (bit, from) = parting(self.lists.len());
        let Some(list) = self.lists.get_mut(from) else { return };
        let moved = change(list, bytes, |list| {
            let moved: Vec<u32> = list.extract_if(.., |half| *half & bit != 0).collect();
            list.shrink_to_fit();
            moved
        });
        *bytes += vec_usage(&moved);
        change(&mut self.lists, bytes, |lists| lists.push(moved));
    }

    fn remove(&mut self, half: u32, bytes: &mut usize) {
        let list = self.list_of(half);
        let Some(list) = self.lists.get_mut(list) else { return };
        let Some(place) = list.iter().position(|present| *present == half) else { return };
        list.swap_remove(place);
        self.len -= 1;
        if list.len() < list.capacity() / 2 {
            change(list, bytes, |list| list.shrink_to(list.len() + list.len() / 4));
        }
        if self.len == 0 {
            *bytes -= self.usage();
            self.lists = Vec::new();
        } else if self.lists.len() > 1 && self.len < (self.lists.len() - 1) * (KEYS_PER_LIST / 2) {
            self.join(bytes);
        }
    }

    fn join(&mut self, bytes: &mut usize) {
        let Some(last) = self.lists.pop() else { return };
        *bytes -= vec_usage(&last);
        let (_, into) = parting(self.lists.len());
        if let Some(list) = self.lists.get_mut(into) {
            change(list, bytes, |list| {
                list.reserve_exact(last.len());
                list.extend(last);
            });
        }
        if self.lists.len() < self.lists.capacity() / 4 {
            change(&mut self.lists, bytes, |lists| lists.shrink_to(lists.len() * 2));
        }
    }

    fn usage(&self) -> usize {
        vec_usage(&self.lists) + self.lists.iter().map(vec_usage).sum::<usize>()
    }

    /// The halves of a list, each once.
    fn halves_in(&self, list: usize) -> impl Iterator<Item = u32> {
        let list = self.lists.get(list).map(Vec::as_slice).unwrap_or_default();
        let is_first =
            |(place, half): &(usize, &u32)| list.get(..*place).is_some_and(|before| !before.contains(half));
        list.iter().enumerate().filter(is_first).map(|(_, half)| *half)
    }
}

impl SlotIndex {
    fn slot(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(usize::from(slot))
    }

    /// How many keys a slot has.
    pub(super) fn len(&self, slot: u16) -> usize {
        self.slot(slot).map_or(0, |slot| slot.len)
    }

    /// Notes a key of a slot by its hash.
    pub(super) fn insert(&mut self, slot: u16, hash: u64) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::default);
        }
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            slot.insert(hash as u32, &mut self.bytes);
        }
    }

    /// Forgets a key of a slot.
    pub(super) fn remove(&mut self, slot: u16, hash: u64) {
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            slot.remove(hash as u32, &mut self.bytes);
        }
    }

    /// The halves of hashes that a slot's keys have, each once.
    pub(super) fn halves(&self, slot: u16) -> impl Iterator<Item = u32> {
        self.slot(slot)
            .into_iter()
            .flat_map(|slot| (0..slot.lists.len()).flat_map(|list| slot.halves_in(list)))
    }

    /// One step of a scan over a slot, as [`crate::structures::hash_table::HashTable::scan`] has it.
    pub(super) fn scan(&self, slot: u16, cursor: u64, mut visit: impl FnMut(u32)) -> u64 {
        let Some(slot) = self.slot(slot) else { return 0 };
        let Some(level) = slot.lists.len().checked_ilog2() else { return 0 };
        let mask = (1_u64 << level) - 1;
        let list = (cursor & mask) as usize;
        slot.halves_in(list).chain(slot.halves_in(list + (1 << level))).for_each(&mut visit);
        (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// Frees the lists of the last slot; `false` when nothing is left.
    pub(super) fn pop_slot(&mut self) -> bool {
        let Some(slot) = self.slots.pop() else { return false };
        self.bytes -= slot.usage();
        true
    }

    /// Moves lists that lie badly, from `cursor` on until the mover is spent; gives where to go on, 0 at the end.
    pub(super) fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        let (first, mut place) = (cursor % SLOTS, cursor / SLOTS);
        for (number, slot) in self.slots.iter_mut().enumerate().skip(first) {
            if place == 0 {
                mover.pass();
                mover.relocate_vec(&mut slot.lists);
            }
            for list in slot.lists.iter_mut().skip(place) {
                mover.relocate_vec(list);
                place += 1;
                if mover.is_spent() {
                    return number + place * SLOTS;
                }
            }
            place = 0;
            if mover.is_spent() && number + 1 < SLOTS {
                return number + 1;
            }
        }
        0
    }

    /// Heap bytes.
    pub(super) fn memory_usage(&self) -> usize {
        vec_usage(&self.slots) + self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    use std::collections::BTreeMap;

    use crate::memory::allocated_bytes;

    /// Few enough that many keys have the same half.
    fn half(random: &mut fastrand::Rng) -> u64 {
        random.u64(..40_000) | random.u64(..) << 32
    }

    fn sorted(halves: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut halves: Vec<u32> = halves.collect();
        halves.sort_unstable();
        halves
    }

    #[test]
    fn it_is_what_a_model_is_while_it_grows_and_shrinks_and_moves() {
        let mut random = fastrand::Rng::with_seed(3);
        let before = allocated_bytes();
        let mut index = SlotIndex::default();
        let mut model: BTreeMap<(u16, u32), usize> = BTreeMap::new();
        let (mut keys, mut most) = (Vec::new(), 0);
        for step in 0..60_000 {
            let grows = step < 25_000 || step % 100 == 0;
            if grows || keys.is_empty() {
                let slot = if random.u8(..4) == 0 { random.u16(..SLOTS as u16) } else { 7 };
                let hash = half(&mut random);
                index.insert(slot, hash);
                keys.push((slot, hash));
                *model.entry((slot, hash as u32)).or_default() += 1;
            } else {
                let (slot, hash) = keys.swap_remove(random.usize(..keys.len()));
                index.remove(slot, hash);
                let count = model.get_mut(&(slot, hash as u32)).unwrap();
                *count -= 1;
                if *count == 0 {
                    model.remove(&(slot, hash as u32));
                }
            }
            most = most.max(index.len(7));
            if step % 5000 == 4999 {
                let mut mover = Mover::of_everything();
                mover.begin_step();
                let mut cursor = index.relocate(0, &mut mover);
                while cursor != 0 {
                    mover.begin_step();
                    cursor = index.relocate(cursor, &mut mover);
                }
                let expected: Vec<u32> = model.range((7, 0)..(8, 0)).map(|((_, half), _)| *half).collect();
                assert_eq!(sorted(index.halves(7)), expected);
                let count: usize = model.range((7, 0)..(8, 0)).map(|(_, count)| *count).sum();
                assert_eq!(index.len(7), count);
            }
        }
        assert!(most > 15_000 && index.slots[7].lists.len() < 50);
        let lists: usize = index.slots.iter().map(Slot::usage).sum();
        assert_eq!(index.bytes, lists);
        drop((model, keys));
        assert_eq!(index.memory_usage(), allocated_bytes() - before);
        while index.pop_slot() {}
        assert_eq!(index.bytes, 0);
    }

    #[test]
    fn a_scan_finds_what_is_there_all_the_while() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut index = SlotIndex::default();
        let stay: Vec<u64> = (0..3000).map(|_| random.u64(..)).collect();
        stay.iter().for_each(|hash| index.insert(9, *hash));
        let mut found = Vec::new();
        let (mut cursor, mut passing) = (0, Vec::new());
        loop {
            cursor = index.scan(9, cursor, |half| found.push(half));
            if cursor == 0 {
                break;
            }
            if passing.len() < 9000 && random.bool() {
                passing.extend((0..600).map(|_| random.u64(..)));
                passing[passing.len() - 600..].iter().for_each(|hash| index.insert(9, *hash));
            } else {
                passing.drain(..passing.len() / 2).for_each(|hash| index.remove(9, hash));
            }
        }
        let found = sorted(found.into_iter());
        assert!(stay.iter().all(|hash| found.binary_search(&(*hash as u32)).is_ok()));
        assert_eq!(index.scan(10, 0, |_| panic!("nothing is there")), 0);
    }

    #[test]
    fn a_key_takes_little_more_than_its_half() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut index = SlotIndex::default();
        for _ in 0..200_000 {
            index.insert(1, random.u64(..));
        }
        assert!(index.bytes / 200_000 <= 5, "{} bytes", index.bytes);
    }
}
