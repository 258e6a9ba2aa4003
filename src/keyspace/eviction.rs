//! Eviction: which key goes when memory is short.
//!
//! Nothing is kept in order of use. Each time a key has to go, a few are sampled from every database, and the best ever
//! seen of them wait in a short list of candidates for their turn, as in Valkey. A candidate may have gone or have been used
//! meanwhile: one that is gone is passed over, one that was used goes all the same.

use super::access::{AccessPolicy, idle_seconds};
use super::{Entry, Happening, Keyspace};
use crate::algorithms::hash::hash;
use crate::algorithms::slot::slot_of;
use crate::memory::{MemoryUsage, vec_usage};
use crate::structures::hash_table::{Mark, Position};

/// How often keys are sampled anew when those that were met are hidden.
const ATTEMPTS: usize = 256;
/// How many candidates wait (Valkey: `EVPOOL_SIZE`).
const CANDIDATES: usize = 16;

/// Which of two keys goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionOrder {
    /// The one that was not used for longer, or less often: what the access clock counts.
    LeastUsed,
    /// The one that expires sooner.
    SoonestExpiry,
    /// Any.
    Random,
}

/// What may be evicted, and in which order (Valkey: `maxmemory-policy`, `maxmemory-samples`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictionPolicy {
    /// Only keys that have an expiry.
    pub volatile_only: bool,
    /// Who goes first.
    pub order: EvictionOrder,
    /// Keys that are sampled from each database for one that goes.
    pub samples: usize,
}

/// A key that is to go; valid until its table is changed.
#[derive(Debug, Clone, Copy)]
pub struct Victim {
    database: usize,
    position: Position,
}

#[derive(Debug)]
struct Candidate {
    /// The higher, the sooner it goes.
    score: u64,
    database: usize,
    key: Box<[u8]>,
}

/// The best candidates seen, those with the highest scores last.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// Takes a key in if its score is among the highest; of equal ones the earlier stays.
    fn offer(&mut self, score: u64, database: usize, key: &[u8]) {
        let full = self.0.len() == CANDIDATES;
        let place = self.0.partition_point(|candidate| candidate.score < score);
        if full && place == 0 {
            return;
        }
        let place = if full {
            self.0.remove(0);
            place - 1
        } else {
            place
        };
        self.0.insert(place, Candidate { score, database, key: key.into() });
    }

    fn take_best(&mut self) -> Option<Candidate> {
        self.0.pop()
    }
}

impl MemoryUsage for Candidates {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.0)
            + self.0.iter().map(|candidate| crate::memory::usable_size(candidate.key.len())).sum::<usize>()
    }
}

impl EvictionPolicy {
    fn score(self, entry: &Entry, access: AccessPolicy, now_ms: i64) -> u64 {
        match (self.order, access) {
            (EvictionOrder::SoonestExpiry, _) => {
                u64::MAX - entry.expiry_ms().map_or(u64::MAX, |expiry_ms| expiry_ms.max(0).cast_unsigned())
            }
            (_, AccessPolicy::Lru) => u64::from(idle_seconds(entry.clock(), now_ms)),
            (_, AccessPolicy::Lfu { .. }) => {
                u64::from(u8::MAX).saturating_sub(u64::from(access.frequency(entry.clock(), now_ms)))
            }
        }
    }
}

impl Keyspace {
    /// The next key to go, and a note of its eviction; `None` when the policy allows none to.
    pub fn next_victim(&mut self, policy: EvictionPolicy, now_ms: i64) -> Option<Victim> {
        let victim = match policy.order {
            EvictionOrder::Random => self.random_victim(policy.volatile_only)?,
            EvictionOrder::LeastUsed | EvictionOrder::SoonestExpiry => self.best_victim(policy, now_ms)?,
        };
        let key = self.databases[victim.database].table.get(victim.position).key().to_vec();
        self.note(victim.database, Happening::Evicted, &key);
        Some(victim)
    }

    /// Takes a victim out.
    pub fn evict(&mut self, victim: Victim) -> Entry {
        self.counters.evicted += 1;
        self.databases[victim.database].remove(victim.position)
    }

    fn best_victim(&mut self, policy: EvictionPolicy, now_ms: i64) -> Option<Victim> {
        while self.find_candidates(policy, now_ms) {
            while let Some(candidate) = self.candidates.take_best() {
                let Some(database) = self.databases.get(candidate.database) else { continue };
                let table = &database.table;
                let Some(position) = table.find(hash(&candidate.key), &candidate.key) else { continue };
                let may_go = !policy.volatile_only || table.get(position).expiry_ms().is_some();
                if may_go && !self.is_hidden(&candidate.key) {
                    return Some(Victim { database: candidate.database, position });
                }
            }
        }
        None
    }

    /// Samples keys of every database; says whether there was any that may go.
    fn find_candidates(&mut self, policy: EvictionPolicy, now_ms: i64) -> bool {
        let attempts = if self.hides_slots() { ATTEMPTS } else { 1 };
        (0..attempts).any(|_| self.sample_candidates(policy, now_ms))
    }

    fn sample_candidates(&mut self, policy: EvictionPolicy, now_ms: i64) -> bool {
        let Self { databases, candidates, random, access_policy, importing, .. } = self;
        let mut found = false;
        for (index, database) in databases.iter().enumerate() {
            let mut offer = |entry: &Entry| {
                if importing.as_ref().is_some_and(|slots| slots.contains(slot_of(entry.key()))) {
                    return;
                }
                candidates.offer(policy.score(entry, *access_policy, now_ms), index, entry.key());
                found = true;
            };
            if !policy.volatile_only {
                database.table.sample(policy.samples, random, offer);
                continue;
            }
            for _ in 0..policy.samples.min(database.expires()) {
                if let Some(position) = database.table.random_marked(Mark::Expires, random) {
                    offer(&database.table.get(position));
                }
            }
        }
        found
    }

    /// A random key of the next database that has one, so that each gives in turn.
    fn random_victim(&mut self, volatile_only: bool) -> Option<Victim> {
        let attempts = if self.hides_slots() { ATTEMPTS } else { 1 };
        (0..attempts).find_map(|_| {
            let victim = self.draw_victim(volatile_only)?;
            let table = &self.databases[victim.database].table;
            (!self.is_hidden(table.get(victim.position).key())).then_some(victim)
        })
    }

    fn draw_victim(&mut self, volatile_only: bool) -> Option<Victim> {
        let count = self.databases.len();
        for _ in 0..count {
            self.next_to_evict = (self.next_to_evict + 1) % count;
            let table = &self.databases[self.next_to_evict].table;
            let position = if volatile_only {
                table.random_marked(Mark::Expires, &mut self.random)
            } else {
                table.random(&mut self.random)
            };
            if let Some(position) = position {
                return Some(Victim { database: self.next_to_evict, position });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keyspace::Keys;

    const LEAST_USED: EvictionPolicy =
        EvictionPolicy { volatile_only: false, order: EvictionOrder::LeastUsed, samples: 5 };

    fn add(keyspace: &mut Keyspace, database: usize, key: &str, expiry_ms: Option<i64>, now_ms: i64) {
        let mut keys = Keys { keyspace, database, now_ms, hint: None, touches: true };
        keys.insert(Entry::string(key.as_bytes(), b"value", expiry_ms));
    }

    fn evict(keyspace: &mut Keyspace, policy: EvictionPolicy, now_ms: i64) -> Option<Vec<u8>> {
        let victim = keyspace.next_victim(policy, now_ms)?;
        Some(keyspace.evict(victim).key().to_vec())
    }

    /// The mean of the numbers that keys are named by, of those that go first.
    fn mean_of_evicted(keyspace: &mut Keyspace, policy: EvictionPolicy, count: usize, now_ms: i64) -> f64 {
        let numbers = (0..count).map(|_| {
            let key = evict(keyspace, policy, now_ms).unwrap();
            std::str::from_utf8(&key).unwrap().parse::<f64>().unwrap()
        });
        numbers.sum::<f64>() / count as f64
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let mut keyspace = Keyspace::new(2);
        for number in 0..4000_usize {
            add(&mut keyspace, number % 2, &number.to_string(), None, number as i64 * 1000);
        }
        let mean = mean_of_evicted(&mut keyspace, LEAST_USED, 400, 4_000_000);
        assert!(mean < 600.0, "{mean}");
        assert_eq!((keyspace.len(), keyspace.counters.evicted), (3600, 400));
        let happened = keyspace.take_happened();
        assert!(happened.iter().all(|happened| happened.what == Happening::Evicted));
        assert_eq!(happened.len(), 400);
    }

    #[test]
    fn the_least_frequently_used_go_first() {
        let mut keyspace = Keyspace::new(1);
        keyspace.access_policy = AccessPolicy::Lfu { log_factor: 0, decay_minutes: 0 };
        for number in 0..1000 {
            add(&mut keyspace, 0, &number.to_string(), None, 0);
            for _ in 0..number / 10 {
                let mut keys =
                    Keys { keyspace: &mut keyspace, database: 0, now_ms: 0, hint: None, touches: true };
                assert!(keys.read(number.to_string().as_bytes()).is_some());
            }
        }
        let mean = mean_of_evicted(&mut keyspace, LEAST_USED, 100, 0);
        assert!(mean < 200.0, "{mean}");
    }

    #[test]
    fn the_soonest_to_expire_go_first_and_nothing_else() {
        let policy =
            EvictionPolicy { volatile_only: true, order: EvictionOrder::SoonestExpiry, ..LEAST_USED };
        let mut keyspace = Keyspace::new(3);
        for number in 0..3000_usize {
            let expiry_ms = (number % 2 == 0).then_some(1_000_000 + number as i64);
            add(&mut keyspace, number % 3, &number.to_string(), expiry_ms, 0);
        }
        let mean = mean_of_evicted(&mut keyspace, policy, 150, 0);
        assert!(mean < 450.0, "{mean}");
        while evict(&mut keyspace, policy, 0).is_some() {}
        assert_eq!(keyspace.len(), 1500);
        assert!(keyspace.databases().iter().all(|database| database.expires() == 0));
    }

    #[test]
    fn random_keys_go_from_each_database_in_turn() {
        let policy = EvictionPolicy { order: EvictionOrder::Random, ..LEAST_USED };
        let mut keyspace = Keyspace::new(4);
        for number in 0..400_usize {
            add(&mut keyspace, number % 4, &number.to_string(), None, 0);
        }
        for _ in 0..200 {
            evict(&mut keyspace, policy, 0).unwrap();
        }
        assert!(keyspace.databases().iter().all(|database| database.len() == 50));
        let volatile = EvictionPolicy { volatile_only: true, ..policy };
        assert_eq!(evict(&mut keyspace, volatile, 0), None);
    }

    #[test]
    fn candidates_that_are_gone_are_passed_over() {
        let mut keyspace = Keyspace::new(1);
        for number in 0..20 {
            add(&mut keyspace, 0, &number.to_string(), None, number * 1000);
        }
        evict(&mut keyspace, LEAST_USED, 20_000).unwrap();
        assert!(keyspace.candidates.memory_usage() > 0);
        drop(keyspace.databases_mut()[0].take());
        assert_eq!(evict(&mut keyspace, LEAST_USED, 20_000), None);
        add(&mut keyspace, 0, "new", None, 20_000);
        assert_eq!(evict(&mut keyspace, LEAST_USED, 20_000).unwrap(), b"new");
    }
}
