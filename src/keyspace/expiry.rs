//! Active expiry: deletes, a bounded piece at a time, what has expired and nobody asks for.
//!
//! The tables know which buckets hold something that is due, so a call costs next to nothing when nothing is, and
//! never samples in vain as Valkey's cycle does. A call ends when all is done or its time is over.

use super::{Entry, Happening, Keyspace, ValueMut};
use crate::algorithms::hash::hash;
use crate::algorithms::slot::slot_of;
use crate::structures::hash_table::Mark;
use crate::types::Hash;

/// Buckets that are swept between two looks at the time.
const BUCKETS_PER_STEP: usize = 16;
/// Fields of one hash that are deleted between two looks at the time.
const FIELDS_PER_STEP: usize = 400;
/// Keys that are sampled in each database for the mean time to live.
const SAMPLES: usize = 16;
/// A new figure counts this much in a smoothed one, as in Valkey.
const STALE_SMOOTHING: f64 = 0.05;
const TTL_SMOOTHING: f64 = 0.02;

/// What limits a call, and where the deleted entries go.
pub struct ExpiryBudget<'a> {
    /// Whether the time of the call is over; asked between steps.
    pub time_is_over: &'a mut dyn FnMut() -> bool,
    /// Takes what was deleted: freeing a large value may be left to another thread.
    pub free: &'a mut dyn FnMut(Entry),
}

impl Keyspace {
    /// Deletes what has expired at `now_ms`, keys first, then fields of hashes, until the time is over. Says whether
    /// everything was done. Each deletion leaves a [`super::Happened`].
    pub fn expire_some(&mut self, now_ms: i64, budget: &mut ExpiryBudget<'_>) -> bool {
        let finished = self.expire_marked(Mark::Expires, now_ms, budget)
            && self.expire_marked(Mark::FieldsExpire, now_ms, budget);
        if !finished {
            self.counters.expired_time_cap_reached += 1;
        }
        self.sample_expiries(now_ms);
        finished
    }

    fn expire_marked(&mut self, mark: Mark, now_ms: i64, budget: &mut ExpiryBudget<'_>) -> bool {
        let count = self.databases.len();
        for _ in 0..count {
            // The next call begins at the next database even if this one takes all the time.
            let database = self.next_to_expire % count;
            self.next_to_expire = (database + 1) % count;
            if !self.expire_database(database, mark, now_ms, budget) {
                return false;
            }
        }
        true
    }

    fn expire_database(
        &mut self,
        database: usize,
        mark: Mark,
        now_ms: i64,
        budget: &mut ExpiryBudget<'_>,
    ) -> bool {
        // Keys and fields live through the millisecond of their expiry: at it, the sweep would come back in vain.
        let last_due_ms = now_ms.saturating_sub(1);
        // A round that is gone on with may have passed something.
        let mut found = true;
        loop {
            let Self { databases, importing, .. } = &mut *self;
            let db = &mut databases[database];
            if db.table().earliest_due_ms(mark) > last_due_ms {
                return true;
            }
            let cursor = match mark {
                Mark::Expires => &mut db.expiry_cursor,
                Mark::FieldsExpire => &mut db.field_cursor,
            };
            let start = *cursor;
            found &= start != 0;
            let mut due = Vec::new();
            let next = db.table.sweep(mark, start, last_due_ms, BUCKETS_PER_STEP, |entry| {
                // What is imported expires where it comes from.
                let is_hidden = importing.as_ref().is_some_and(|slots| slots.contains(slot_of(entry.key())));
                if !is_hidden {
                    due.push(entry.key().to_vec());
                }
                !is_hidden
            });
            *cursor = next;
            for key in &due {
                match mark {
                    Mark::Expires => self.expire_key(database, key, budget),
                    Mark::FieldsExpire => self.expire_fields(database, key, now_ms, budget),
                }
            }
            // Buckets that merge meanwhile take what is due to where the sweep has been, so it may take another round.
            found |= !due.is_empty();
            if next == 0 && !found {
                return true;
            }
            if (budget.time_is_over)() {
                return false;
            }
        }
    }

    /// When a key expires, Unix ms; `None` when it does not, or is not there.
    #[must_use]
    pub fn expiry_of(&self, database: usize, key: &[u8]) -> Option<i64> {
        let table = self.databases.get(database)?.table();
        table.find(hash(key), key).and_then(|position| table.get(position).expiry_ms())
    }

    /// Deletes a key as its time has come; gives what was there.
    pub fn expire_one(&mut self, database: usize, key: &[u8]) -> Option<Entry> {
        let entries = self.databases.get_mut(database)?;
        let position = entries.table().find(hash(key), key)?;
        let entry = entries.remove(position);
        self.counters.expired += 1;
        self.note(database, Happening::Expired, key);
        Some(entry)
    }

    fn expire_key(&mut self, database: usize, key: &[u8], budget: &mut ExpiryBudget<'_>) {
        if let Some(entry) = self.expire_one(database, key) {
            (budget.free)(entry);
        }
    }

    fn expire_fields(&mut self, database: usize, key: &[u8], now_ms: i64, budget: &mut ExpiryBudget<'_>) {
        let table = self.databases[database].table_mut();
        let Some(position) = table.find(hash(key), key) else { return };
        let Some(mut fields) = ValueMut::<_, Hash>::of(table.get_mut(position)) else { return };
        let expired = fields.take_expired(now_ms, FIELDS_PER_STEP);
        let emptied = fields.is_empty();
        drop(fields);
        if !expired.is_empty() {
            self.counters.expired_fields += expired.len() as u64;
            self.note_expired_fields(database, key, expired);
        }
        if emptied {
            let entry = self.databases[database].remove(position);
            self.note(database, Happening::Emptied, key);
            (budget.free)(entry);
        }
    }

    /// Estimates, from random keys with an expiry, how long they live and how many are expired already.
    fn sample_expiries(&mut self, now_ms: i64) {
        let (mut sampled, mut stale) = (0_u32, 0_u32);
        for database in &mut self.databases {
            let count = database.expires().min(SAMPLES);
            if count == 0 {
                database.average_ttl_ms = 0;
                continue;
            }
            let (mut live, mut sum_ms) = (0_i64, 0_i64);
            for _ in 0..count {
                let Some(position) = database.table.random_marked(Mark::Expires, &mut self.random) else {
                    break;
                };
                let Some(expiry_ms) = database.table.get(position).expiry_ms() else { break };
                sampled += 1;
                if expiry_ms <= now_ms {
                    stale += 1;
                } else {
                    live += 1;
                    sum_ms = sum_ms.saturating_add(expiry_ms - now_ms);
                }
            }
            if live > 0 {
                database.average_ttl_ms = smoothed(database.average_ttl_ms, sum_ms / live, live);
            }
        }
        let percent = if sampled == 0 { 0.0 } else { f64::from(stale) * 100.0 / f64::from(sampled) };
        let old = self.counters.expired_stale_percent;
        self.counters.expired_stale_percent = percent * STALE_SMOOTHING + old * (1.0 - STALE_SMOOTHING);
    }
}

/// A mean that moves slowly; the first figure counts in full.
fn smoothed(old_ms: i64, new_ms: i64, samples: i64) -> i64 {
    if old_ms == 0 {
        return new_ms;
    }
    let weight = 1.0 - (1.0 - TTL_SMOOTHING).powi(i32::try_from(samples).unwrap_or(i32::MAX));
    old_ms + ((new_ms - old_ms) as f64 * weight) as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keyspace::Keys;

    fn keyspace_with(keys: usize, expiry_ms: impl Fn(usize) -> Option<i64>) -> Keyspace {
        let mut keyspace = Keyspace::new(4);
        for index in 0..keys {
            let mut keys =
                Keys { keyspace: &mut keyspace, database: index % 4, now_ms: 0, hint: None, touches: true };
            keys.insert(Entry::string(index.to_string().as_bytes(), b"value", expiry_ms(index)));
        }
        keyspace
    }

    #[test]
    fn what_is_due_goes_and_the_rest_stays() {
        let mut keyspace = keyspace_with(3000, |index| match index % 3 {
            0 => None,
            1 => Some(100),
            _ => Some(1_000_000),
        });
        let mut freed = 0;
        let mut budget = ExpiryBudget { time_is_over: &mut || false, free: &mut |_| freed += 1 };
        assert!(keyspace.expire_some(50, &mut budget));
        assert!(keyspace.expire_some(500, &mut budget));
        assert_eq!((keyspace.len(), freed), (2000, 1000));
        assert_eq!(keyspace.counters.expired, 1000);
        let happened = keyspace.take_happened();
        assert_eq!(happened.len(), 1000);
        assert!(happened.iter().all(|happened| happened.what == Happening::Expired));
        assert!(keyspace.databases().iter().all(|database| database.average_ttl_ms > 400_000));
    }

    #[test]
    fn fields_go_after_their_last_millisecond_and_the_hash_with_its_last_field() {
        use crate::types::FlatLimits;
        use crate::types::hash::NewExpiry;
        let limits = FlatLimits { entries: 128, value_bytes: 64 };
        let mut keyspace = Keyspace::new(1);
        for (key, persistent) in [(b"a", true), (b"b", false)] {
            let mut hash = Hash::new();
            for (field, expiry_ms) in [(b"x", 100), (b"y", 200)] {
                hash.set(field, b"value", NewExpiry::Set(Some(expiry_ms)), 0, limits);
            }
            if persistent {
                hash.set(b"z", b"value", NewExpiry::Set(None), 0, limits);
            }
            let mut keys =
                Keys { keyspace: &mut keyspace, database: 0, now_ms: 0, hint: None, touches: true };
            keys.insert(Entry::collection(key, hash, None));
        }
        for (now_ms, fields, keys) in [(99, 0, 2), (100, 0, 2), (101, 2, 2), (200, 2, 2), (201, 4, 1)] {
            let mut steps = 0;
            let mut time_is_over = || {
                steps += 1;
                steps > 8
            };
            let mut budget = ExpiryBudget { time_is_over: &mut time_is_over, free: &mut drop };
            assert!(keyspace.expire_some(now_ms, &mut budget), "{now_ms}");
            assert_eq!(keyspace.counters.expired_fields, fields, "{now_ms}");
            assert_eq!(keyspace.len(), keys, "{now_ms}");
        }
        assert_eq!(keyspace.databases()[0].volatile_hashes(), 0);
    }

    #[test]
    fn a_call_ends_when_its_time_is_over_and_the_next_goes_on() {
        let mut keyspace = keyspace_with(20_000, |_| Some(1));
        let mut calls = 0;
        loop {
            calls += 1;
            let mut steps = 0;
            let mut budget = ExpiryBudget {
                time_is_over: &mut || {
                    steps += 1;
                    steps > 10
                },
                free: &mut drop,
            };
            if keyspace.expire_some(2, &mut budget) {
                break;
            }
            assert!(calls < 1000);
        }
        assert!(keyspace.is_empty());
        assert!(calls > 5, "{calls}");
        assert_eq!(keyspace.counters.expired_time_cap_reached, calls - 1);
    }
}
