//! Keys that are here before their slots are: a node of a cluster receives the keys of slots that are still another
//! node's, and nobody may see them before it has taken the slots over.
//!
//! They are ordinary entries. Look-ups find them, since requests for those slots are sent elsewhere anyway; what goes over
//! a database (DBSIZE, KEYS, SCAN, RANDOMKEY, expiry, eviction) passes them over.

use super::Keyspace;
use crate::algorithms::slot::slot_of;
use crate::algorithms::slot_set::SlotSet;
use crate::memory::box_usage;

impl Keyspace {
    /// From now on the keys of these slots are hidden, and of no others.
    pub fn hide_slots(&mut self, slots: SlotSet) {
        self.importing = (!slots.is_empty()).then(|| Box::new(slots));
    }

    /// Whether there are slots whose keys are hidden.
    #[inline]
    #[must_use]
    pub fn hides_slots(&self) -> bool {
        self.importing.is_some()
    }

    /// Whether a key is hidden.
    #[inline]
    #[must_use]
    pub fn is_hidden(&self, key: &[u8]) -> bool {
        self.importing.as_ref().is_some_and(|slots| slots.contains(slot_of(key)))
    }

    /// Keys of a database that are not hidden.
    #[must_use]
    pub fn visible_len(&self, database: usize) -> usize {
        let Some(database) = self.databases.get(database) else { return 0 };
        let slots = self.importing.iter().flat_map(|slots| slots.iter());
        database.len().saturating_sub(slots.map(|slot| database.keys_in_slot(slot)).sum())
    }

    /// Bytes of the set of hidden slots.
    #[must_use]
    pub fn hidden_slots_usage(&self) -> usize {
        self.importing.as_ref().map_or(0, |_| box_usage::<SlotSet>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keyspace::{Entry, EvictionOrder, EvictionPolicy, ExpiryBudget, Keys};

    /// One visible key among `hidden` hidden ones, all of them due at 100.
    fn keyspace(hidden: usize) -> Keyspace {
        let mut keyspace = Keyspace::new(1);
        keyspace.index_slots();
        keyspace.hide_slots([slot_of(b"{h}")].into_iter().collect());
        let mut keys = Keys { keyspace: &mut keyspace, database: 0, now_ms: 0, hint: None, touches: true };
        for number in 0..hidden {
            keys.insert(Entry::string(format!("{{h}}{number}").as_bytes(), b"v", Some(100)));
        }
        keys.insert(Entry::string(b"seen", b"v", Some(100)));
        keyspace
    }

    fn random_key(keyspace: &mut Keyspace) -> Option<Vec<u8>> {
        Keys { keyspace, database: 0, now_ms: 0, hint: None, touches: true }.random_key()
    }

    #[test]
    fn what_goes_over_a_database_passes_hidden_keys_over() {
        let mut keyspace = keyspace(5000);
        assert_eq!((keyspace.len(), keyspace.visible_len(0)), (5001, 1));
        for _ in 0..5 {
            assert_eq!(random_key(&mut keyspace).as_deref(), Some(b"seen".as_slice()));
        }
        let mut budget = ExpiryBudget { time_is_over: &mut || false, free: &mut drop };
        assert!(keyspace.expire_some(500, &mut budget));
        assert_eq!((keyspace.len(), keyspace.visible_len(0)), (5000, 0));
        assert_eq!(random_key(&mut keyspace), None);
        assert!(keyspace.expire_some(500, &mut budget), "a turn without anything to do ends");
        keyspace.hide_slots(SlotSet::default());
        assert_eq!(keyspace.visible_len(0), 5000);
        assert!(keyspace.expire_some(500, &mut budget));
        assert!(keyspace.is_empty());
    }

    #[test]
    fn hidden_keys_are_not_evicted() {
        for volatile_only in [false, true] {
            for order in [EvictionOrder::Random, EvictionOrder::LeastUsed, EvictionOrder::SoonestExpiry] {
                let mut keyspace = keyspace(20);
                let policy = EvictionPolicy { volatile_only, order, samples: 5 };
                let victim = keyspace.next_victim(policy, 0).unwrap();
                assert_eq!(keyspace.evict(victim).key(), b"seen");
                assert!(keyspace.next_victim(policy, 0).is_none());
            }
        }
    }
}
