//! Expiry of single fields: setting, asking, sweeping.
//!
//! The table's summary of its marked fields is the only index there is; the instant itself stands in the field's block.

use super::{Fields, Hash, find};
use crate::algorithms::hash::hash;
use crate::structures::hash_table::{Element, HashTable, Mark};

/// What giving a field an expiry did; the number is what HEXPIRE replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryChange {
    /// There is no such field.
    Missing = -2,
    /// The condition did not hold.
    Refused = 0,
    /// The field has the expiry.
    Set = 1,
    /// The time was over already: the field is gone.
    Expired = 2,
}

/// What is known of a field's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldTtl {
    /// There is no such field.
    Missing,
    /// The field does not expire.
    Persistent,
    /// The field expires then, Unix ms.
    At(i64),
}

/// Buckets looked at in one step of a sweep.
const SWEEP_BUCKETS: usize = 64;

impl Hash {
    /// The expiry of a field.
    #[must_use]
    pub fn ttl(&self, field: &[u8], now_ms: i64) -> FieldTtl {
        match self {
            Self::Listpack(listpack) => {
                find(listpack, field).map_or(FieldTtl::Missing, |_| FieldTtl::Persistent)
            }
            Self::Table(table) => match table.find(hash(field), field).map(|position| table.get(position)) {
                Some(found) if !found.is_expired(now_ms) => {
                    found.expiry_ms().map_or(FieldTtl::Persistent, FieldTtl::At)
                }
                _ => FieldTtl::Missing,
            },
        }
    }

    /// Gives a field an expiry if `allowed`, asked with the present one, says so; with `is_over`, takes the field out
    /// instead. The hash becomes a table when a field gets an expiry, not before.
    pub fn set_expiry(
        &mut self,
        field: &[u8],
        expiry_ms: i64,
        is_over: bool,
        now_ms: i64,
        allowed: impl Fn(Option<i64>) -> bool,
    ) -> ExpiryChange {
        let present = match self.ttl(field, now_ms) {
            FieldTtl::Missing => return ExpiryChange::Missing,
            FieldTtl::Persistent => None,
            FieldTtl::At(expiry_ms) => Some(expiry_ms),
        };
        if !allowed(present) {
            return ExpiryChange::Refused;
        }
        if is_over {
            self.remove(field, now_ms);
            return ExpiryChange::Expired;
        }
        self.make_table();
        self.change_expiry(field, Some(expiry_ms));
        ExpiryChange::Set
    }

    /// Takes the expiry of a field away. What is returned is what there was.
    pub fn persist(&mut self, field: &[u8], now_ms: i64) -> FieldTtl {
        let present = self.ttl(field, now_ms);
        if matches!(present, FieldTtl::At(_)) {
            self.change_expiry(field, None);
        }
        present
    }

    fn change_expiry(&mut self, field: &[u8], expiry_ms: Option<i64>) {
        if let Self::Table(table) = self
            && let Some(position) = table.find(hash(field), field)
        {
            table.get_mut(position).set_expiry(expiry_ms);
        }
    }

    /// Whether a field has an expiry.
    #[must_use]
    pub fn has_volatile_fields(&self) -> bool {
        self.volatile_fields() > 0
    }

    /// How many fields have an expiry.
    #[must_use]
    pub fn volatile_fields(&self) -> usize {
        match self {
            Self::Listpack(_) => 0,
            Self::Table(table) => table.marked(Mark::Expires),
        }
    }

    /// No field expires before this (Unix ms); `None` when none has an expiry. A bound: a sweep makes it exact.
    #[must_use]
    pub fn earliest_expiry_ms(&self) -> Option<i64> {
        match self {
            Self::Table(table) if table.marked(Mark::Expires) > 0 => {
                Some(table.earliest_due_ms(Mark::Expires))
            }
            _ => None,
        }
    }

    /// Whether a field may be expired: a quick look that spares looking at each.
    pub(super) fn may_have_expired(&self, now_ms: i64) -> bool {
        self.earliest_expiry_ms().is_some_and(|earliest_ms| earliest_ms < now_ms)
    }

    /// Takes out up to `limit` fields whose time is over; their names, for those who have to be told.
    pub fn take_expired(&mut self, now_ms: i64, limit: usize) -> Vec<Vec<u8>> {
        let Self::Table(table) = self else { return Vec::new() };
        let due = due_fields(table, now_ms, limit);
        for field in &due {
            if let Some(position) = table.find(hash(field), field) {
                drop(table.remove(position));
            }
        }
        due
    }

    /// Bytes that field expiry costs beyond the fields themselves: the table's summary. Part of the memory usage.
    #[must_use]
    pub fn expiry_usage(&self) -> usize {
        match self {
            Self::Listpack(_) => 0,
            Self::Table(table) => table.marks_usage(),
        }
    }
}

fn due_fields(table: &mut Fields, now_ms: i64, limit: usize) -> Vec<Vec<u8>> {
    // A field is expired only after its last millisecond.
    let last_over_ms = now_ms.saturating_sub(1);
    let mut due = Vec::new();
    let mut cursor = 0;
    while due.len() < limit {
        cursor = HashTable::sweep(table, Mark::Expires, cursor, last_over_ms, SWEEP_BUCKETS, |field| {
            let wanted = due.len() < limit;
            if wanted {
                due.push(field.key().to_vec());
            }
            wanted
        });
        if cursor == 0 {
            break;
        }
    }
    due
}
