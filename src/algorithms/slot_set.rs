//! A set of hash slots, one bit each; the lowest bit of the first byte is slot 0, in memory and in messages.

use super::slot::SLOTS;

/// Words of a set.
const WORDS: usize = SLOTS / 64;
/// Bytes of a set in a message of the bus.
pub const BYTES: usize = SLOTS / 8;

/// A set of hash slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet([u64; WORDS]);

impl Default for SlotSet {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl SlotSet {
    /// The set that a message holds; what is missing at its end is empty.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut set = Self::default();
        let (words, _) = bytes.as_chunks::<8>();
        for (word, bytes) in set.0.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        set
    }

    /// Appends the set as messages hold it.
    pub fn write_to(&self, message: &mut Vec<u8>) {
        self.0.iter().for_each(|word| message.extend_from_slice(&word.to_le_bytes()));
    }

    /// Whether a slot is in it.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot / 64)).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Adds a slot; says whether it was not there.
    pub fn insert(&mut self, slot: u16) -> bool {
        let Some(word) = self.0.get_mut(usize::from(slot / 64)) else { return false };
        let before = *word;
        *word |= 1 << (slot % 64);
        *word != before
    }

    /// Takes a slot out; says whether it was there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let Some(word) = self.0.get_mut(usize::from(slot / 64)) else { return false };
        let before = *word;
        *word &= !(1 << (slot % 64));
        *word != before
    }

    /// How many slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Without those of another set.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.0.iter_mut().zip(&other.0).for_each(|(word, taken)| *word &= !taken);
        rest
    }

    /// The slots in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some((index * 64) as u16 + bit as u16)
            })
        })
    }

    /// The slots as ranges, both ends included.
    #[must_use]
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == slot => *end = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<T: IntoIterator<Item = u16>>(slots: T) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| {
            set.insert(slot);
        });
        set
    }
}
