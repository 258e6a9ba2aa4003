//! The digest of a data set or a value: the same for the same data, whatever the order of keys, members and fields,
//! and the same as Valkey's.
//!
//! Unordered things are summed by exclusive or of their SHA-1; where order counts the sum is hashed again after each part.

use sha1::{Digest as _, Sha1};

use crate::algorithms::numbers::format_f64_by_layout;
use crate::keyspace::{Entry, Keyspace};
use crate::types::{Hash, List, Set, SortedSet, Stream, ValueType};

/// Twenty bytes that parts are mixed into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// Adds a part without regard to order.
    fn add(&mut self, part: &[u8]) {
        let hash: [u8; 20] = Sha1::digest(part).into();
        for (own, other) in self.0.iter_mut().zip(hash) {
            *own ^= other;
        }
    }

    /// Adds a part at its place among the others.
    fn mix(&mut self, part: &[u8]) {
        self.add(part);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds a part made of two in order (a field and its value), itself without regard to order.
    fn add_pair(&mut self, first: &[u8], second: &[u8]) {
        let mut pair = Self::default();
        pair.mix(first);
        pair.mix(second);
        self.add(&pair.0);
    }

    /// Forty hexadecimal digits.
    pub(super) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The number of a type as Valkey numbers its objects.
fn object_number(value_type: ValueType) -> u32 {
    match value_type {
        ValueType::String => 0,
        ValueType::List => 1,
        ValueType::Set => 2,
        ValueType::SortedSet => 3,
        ValueType::Hash => 4,
        ValueType::Stream => 6,
    }
}

/// Mixes a value, and whether it has an expiry, into a digest. Fields that have expired by `now_ms` are left out.
pub(super) fn mix_value(digest: &mut Digest, entry: &Entry, now_ms: i64) {
    digest.mix(&object_number(entry.value_type()).to_be_bytes());
    if let Some(string) = entry.as_string() {
        digest.mix(string.as_bytes(&mut itoa::Buffer::new()));
    } else if let Some(list) = entry.value::<List>() {
        list.for_each(|element| digest.mix(element));
    } else if let Some(set) = entry.value::<Set>() {
        set.for_each(|member| digest.add(member));
    } else if let Some(sorted_set) = entry.value::<SortedSet>() {
        sorted_set.for_each(|member, score| digest.add_pair(member, format_f64_by_layout(score).as_bytes()));
    } else if let Some(hash) = entry.value::<Hash>() {
        hash.for_each_live(now_ms, |field, value| digest.add_pair(field, value));
    } else if let Some(stream) = entry.value::<Stream>() {
        stream.for_each(|id, fields| {
            digest.mix(format!("{}.{}", id.ms, id.seq).as_bytes());
            for part in fields.flat_map(|(field, value)| [field, value]) {
                digest.mix(part.as_bytes(&mut itoa::Buffer::new()));
            }
        });
    }
    if entry.expiry_ms().is_some() {
        digest.add(b"!!expire!!");
    }
}

/// The digest of everything, at an instant.
pub(super) fn of_keyspace(keyspace: &Keyspace, now_ms: i64) -> Digest {
    let mut whole = Digest::default();
    for (number, database) in keyspace.databases().iter().enumerate() {
        if database.is_empty() {
            continue;
        }
        whole.mix(&(number as u32).to_be_bytes());
        database.table().for_each_prefetched(|entry| {
            let mut digest = Digest::default();
            digest.mix(entry.key());
            mix_value(&mut digest, entry, now_ms);
            whole.add(&digest.0);
        });
    }
    whole
}
