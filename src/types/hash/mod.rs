//! Hashes: fields with values, each field with an expiry of its own if wanted.
//!
//! Short ones are one listpack (field, value, field, value ...); the others, and every hash of which a field ever got
//! an expiry, are a table of [`Field`]s. A table never becomes a listpack again. Fields whose time is over are no longer
//! seen, but they stay, and count in [`Hash::len`], until they are swept; what looks at fields is given the instant.
//! Where expiry is not to be looked at (what the primary says goes), that instant is [`IGNORE_EXPIRY`].

mod codec;
mod expiry;
mod walk;

#[cfg(test)]
mod tests;

pub use codec::ExpiredFields;
pub use expiry::{ExpiryChange, FieldTtl};

/// A field or a value as the hash holds it: bytes, or a number in a listpack.
pub use crate::structures::listpack::Value as Text;

use super::FlatLimits;
use crate::algorithms::hash::hash;
use crate::memory::{MemoryUsage, box_usage};
use crate::structures::field::Field;
use crate::structures::hash_table::HashTable;
use crate::structures::listpack::{Listpack, Position};

/// The instant before every expiry: with it no field counts as expired.
pub const IGNORE_EXPIRY: i64 = i64::MIN;

type Fields = HashTable<Field>;

crate::encodings! {
    /// The value.
    pub enum Hash of Hash {
        /// Short: one listpack of fields and values.
        Listpack(Listpack) = HashListpack,
        /// A table of fields.
        Table(Box<Fields>) = HashHashtable,
    }
}

/// What a field's expiry becomes when its value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewExpiry {
    /// As it was; none for a field that is new or whose time was over.
    Keep,
    /// This one, Unix ms, or none.
    Set(Option<i64>),
}

/// What setting a field did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The field is new.
    Created,
    /// The field had a value.
    Updated,
    /// The field was there, but its time was over: it counts as expired, and as new.
    ReplacedExpired,
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").field("encoding", &self.encoding().name()).field("len", &self.len()).finish()
    }
}

impl Hash {
    /// An empty hash; a key that holds one must get a field or go.
    #[must_use]
    pub fn new() -> Self {
        Self::Listpack(Listpack::new())
    }

    /// The number of fields, expired ones that are still there included.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.len() / 2,
            Self::Table(table) => table.len(),
        }
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Listpack(listpack) => listpack.is_empty(),
            Self::Table(table) => table.is_empty(),
        }
    }

    /// How many allocations freeing it takes, about.
    #[must_use]
    pub fn effort(&self) -> usize {
        match self {
            Self::Listpack(_) => 1,
            Self::Table(table) => table.len(),
        }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8], now_ms: i64) -> Option<Text<'_>> {
        match self {
            Self::Listpack(listpack) => listpack.get(listpack.next(find(listpack, field)?)?),
            Self::Table(table) => {
                let found = table.get(table.find(hash(field), field)?);
                (!found.is_expired(now_ms)).then(|| Text::Bytes(found.value()))
            }
        }
    }

    /// Whether the field exists.
    #[must_use]
    pub fn contains(&self, field: &[u8], now_ms: i64) -> bool {
        self.get(field, now_ms).is_some()
    }

    /// Gets ready for `count` fields to be set, the longest text of which has `longest` bytes, all of them `total`:
    /// what will not fit a listpack becomes a table at once (Valkey: `hashTypeTryConversion`).
    pub fn prepare(&mut self, count: usize, longest: usize, total: usize, limits: FlatLimits) {
        if let Self::Listpack(listpack) = self
            && (count > limits.entries || longest > limits.value_bytes || !listpack.has_room_for(total))
        {
            self.make_table();
        }
    }

    /// Sets a field. A listpack that exceeds its limits becomes a table.
    pub fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        expiry: NewExpiry,
        now_ms: i64,
        limits: FlatLimits,
    ) -> Written {
        let longest = field.len().max(value.len());
        self.prepare(0, longest, field.len() + value.len(), limits);
        if matches!(expiry, NewExpiry::Set(Some(_))) {
            self.make_table();
        }
        match self {
            Self::Listpack(listpack) => {
                if let Some(position) = find(listpack, field).and_then(|position| listpack.next(position)) {
                    listpack.replace(position, value);
                    return Written::Updated;
                }
                listpack.extend(&[field.into(), value.into()]);
                if listpack.len() / 2 > limits.entries {
                    self.make_table();
                }
                Written::Created
            }
            Self::Table(table) => set_in_table(table, field, value, expiry, now_ms),
        }
    }

    /// Takes a field out; says whether it was there.
    pub fn remove(&mut self, field: &[u8], now_ms: i64) -> bool {
        match self {
            Self::Listpack(listpack) => {
                let Some(position) = find(listpack, field) else { return false };
                listpack.remove_from(position, 2);
                true
            }
            Self::Table(table) => {
                let Some(position) = table.find(hash(field), field) else { return false };
                if table.get(position).is_expired(now_ms) {
                    return false;
                }
                drop(table.remove(position));
                true
            }
        }
    }

    /// The same hash once more, in the same encoding.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Listpack(listpack) => Self::Listpack(listpack.clone()),
            Self::Table(table) => {
                let mut copy = Fields::new();
                table.for_each_prefetched(|field| {
                    insert(&mut copy, field.clone());
                });
                Self::Table(Box::new(copy))
            }
        }
    }

    /// A listpack becomes a table.
    fn make_table(&mut self) {
        if let Self::Listpack(listpack) = self {
            let table = table_of(listpack);
            *self = Self::Table(Box::new(table));
        }
    }
}

/// Where a field is in a listpack of fields and values.
fn find(listpack: &Listpack, field: &[u8]) -> Option<Position> {
    listpack.find(listpack.first()?, field, 2)
}

fn insert(table: &mut Fields, field: Field) {
    use crate::structures::hash_table::Element as _;
    let hash = hash(field.key());
    table.insert(hash, field);
}

fn set_in_table(table: &mut Fields, field: &[u8], value: &[u8], expiry: NewExpiry, now_ms: i64) -> Written {
    let hash = hash(field);
    let given = match expiry {
        NewExpiry::Keep => None,
        NewExpiry::Set(expiry_ms) => expiry_ms,
    };
    let Some(position) = table.find(hash, field) else {
        table.insert(hash, Field::new(field, value, given));
        return Written::Created;
    };
    let mut found = table.get_mut(position);
    let expired = found.is_expired(now_ms);
    let kept = if expiry == NewExpiry::Keep && !expired { found.expiry_ms() } else { given };
    found.set(value, kept);
    if expired { Written::ReplacedExpired } else { Written::Updated }
}

/// The fields of a listpack, none of which comes twice.
fn table_of(listpack: &Listpack) -> Fields {
    let mut table = Fields::new();
    let (mut field_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut texts = listpack.iter();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        let field = field.as_bytes(&mut field_digits);
        table.insert(hash(field), Field::new(field, value.as_bytes(&mut value_digits), None));
    }
    table
}

/// Everything the hash owns, what field expiry costs ([`Hash::expiry_usage`]) included.
impl MemoryUsage for Hash {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
            Self::Table(table) => {
                let mut bytes = box_usage::<Fields>() + table.memory_usage();
                table.for_each_prefetched(|field| bytes += field.memory_usage());
                bytes
            }
        }
    }
}
