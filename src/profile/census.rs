//! What the walk over the keyspace counts: keys and bytes of each encoding, from every entry, once.
//!
//! The snapshot writer calls [`Census::add`] with each entry just before it encodes it, so that the cache lines are
//! read once for both. Nothing is sampled; the size is fixed whatever the number of keys.

use crate::keyspace::Entry;
use crate::types::{Encoding, Hash, ValueType};

/// Keys of a type and the bytes of all their allocations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeRow {
    /// Entries.
    pub keys: u64,
    /// Usable bytes of the entries and all that their values own, without what the expiry of hash fields costs.
    pub bytes: u64,
}

/// The rows of all encodings, and what the expiry of hash fields costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// By number of the encoding, which is what an entry's header holds.
    rows: [TypeRow; Encoding::ALL.len()],
    /// Bytes that the expiry of fields costs inside of hashes.
    pub hash_expiry_bytes: u64,
    /// Bytes of values that are no longer in the keyspace and wait to be freed.
    pub pending_bytes: u64,
}

impl Census {
    /// Numbers in its transport form.
    pub const NUMBERS: usize = Encoding::ALL.len() * 2 + 2;

    /// Counts an entry.
    #[inline]
    pub fn add(&mut self, entry: &Entry) {
        let encoding = entry.encoding();
        let mut bytes = entry.weight() as u64;
        if encoding == Encoding::HashHashtable {
            let apart = hash_expiry_usage(entry);
            self.hash_expiry_bytes += apart;
            bytes -= apart;
        }
        let row = &mut self.rows[encoding as usize];
        row.keys += 1;
        row.bytes += bytes;
    }

    /// The row of a type.
    #[must_use]
    pub fn row(&self, value_type: ValueType) -> TypeRow {
        let of_type = |(encoding, _): &(&Encoding, &TypeRow)| encoding.value_type() == value_type;
        Encoding::ALL.iter().zip(&self.rows).filter(of_type).map(|(_, row)| *row).sum()
    }

    /// The sum over all types.
    #[must_use]
    pub fn total(&self) -> TypeRow {
        self.rows.iter().copied().sum()
    }

    /// All figures in a fixed order.
    #[must_use]
    pub fn to_numbers(&self) -> [u64; Self::NUMBERS] {
        let mut numbers = [0; Self::NUMBERS];
        for (pair, row) in numbers.chunks_exact_mut(2).zip(&self.rows) {
            pair.copy_from_slice(&[row.keys, row.bytes]);
        }
        numbers[Self::NUMBERS - 2] = self.hash_expiry_bytes;
        numbers[Self::NUMBERS - 1] = self.pending_bytes;
        numbers
    }

    /// The census of these figures; `None` when their number is wrong.
    #[must_use]
    pub fn from_numbers(numbers: &[u64]) -> Option<Self> {
        let numbers: &[u64; Self::NUMBERS] = numbers.try_into().ok()?;
        let mut census = Self {
            hash_expiry_bytes: numbers[Self::NUMBERS - 2],
            pending_bytes: numbers[Self::NUMBERS - 1],
            ..Self::default()
        };
        for (row, pair) in census.rows.iter_mut().zip(numbers.chunks_exact(2)) {
            *row = TypeRow { keys: pair[0], bytes: pair[1] };
        }
        Some(census)
    }
}

impl std::iter::Sum for TypeRow {
    fn sum<I: Iterator<Item = Self>>(rows: I) -> Self {
        rows.fold(Self::default(), |sum, row| Self {
            keys: sum.keys + row.keys,
            bytes: sum.bytes + row.bytes,
        })
    }
}

fn hash_expiry_usage(entry: &Entry) -> u64 {
    entry.value::<Hash>().map_or(0, |hash| hash.expiry_usage() as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_entry_is_booked_once_under_its_type() {
        let entries = [
            Entry::string(b"a", b"12", None),
            Entry::string(b"b", &[7; 5000], Some(1)),
            Entry::string(b"c", b"short", None),
        ];
        let mut census = Census::default();
        entries.iter().for_each(|entry| census.add(entry));
        let bytes: usize = entries.iter().map(Entry::weight).sum();
        assert_eq!(census.row(ValueType::String), TypeRow { keys: 3, bytes: bytes as u64 });
        assert_eq!(census.total(), census.row(ValueType::String));
        assert_eq!(census.row(ValueType::Hash), TypeRow::default());
        assert_eq!(Census::from_numbers(&census.to_numbers()), Some(census));
        assert_eq!(Census::from_numbers(&[1, 2]), None);
    }
}
