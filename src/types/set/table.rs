//! The hash table of a large set: members, and what their blocks weigh together.
//!
//! The sum is kept so that weighing a set touches none of its members.

use crate::algorithms::hash::hash;
use crate::memory::{MemoryUsage, Mover, Relocate};
use crate::structures::hash_table::BucketStatistics;
use crate::structures::hash_table::{self, HashTable, Position};
use crate::structures::member::Member;

/// The members in no particular order.
pub(super) type Iter<'a> = hash_table::Iter<'a, Member>;

/// A table of members.
#[derive(Default)]
pub struct MemberTable {
    table: HashTable<Member>,
    member_bytes: usize,
}

impl std::fmt::Debug for MemberTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|member| member.key().escape_ascii().to_string())).finish()
    }
}

impl MemberTable {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        self.table.find(hash(bytes), bytes).is_some()
    }

    pub(super) fn insert(&mut self, bytes: &[u8]) -> bool {
        let hash = hash(bytes);
        if self.table.find(hash, bytes).is_some() {
            return false;
        }
        let member = Member::new(bytes);
        self.member_bytes += member.memory_usage();
        self.table.insert(hash, member);
        true
    }

    pub(super) fn remove(&mut self, bytes: &[u8]) -> bool {
        let found = self.table.find(hash(bytes), bytes);
        if let Some(position) = found {
            drop(self.take(position));
        }
        found.is_some()
    }

    fn take(&mut self, position: Position) -> Member {
        let member = self.table.remove(position);
        self.member_bytes -= member.memory_usage();
        member
    }

    /// Takes a random member out.
    pub(super) fn pop(&mut self, rng: &mut fastrand::Rng) -> Option<Member> {
        let position = self.table.random(rng)?;
        Some(self.take(position))
    }

    /// A random member's bytes.
    pub(super) fn random(&self, rng: &mut fastrand::Rng) -> Option<&[u8]> {
        Some(self.table.get(self.table.random(rng)?).key())
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        self.table.iter()
    }

    /// Calls `visit` with every member, loading the next ones meanwhile.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        self.table.for_each_prefetched(|member| visit(member.as_bytes()));
    }

    pub(super) fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8])) -> u64 {
        self.table.scan(cursor, |member| visit(member.as_bytes()))
    }
}

impl Relocate for MemberTable {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        self.table.relocate(cursor, mover)
    }
}

impl MemoryUsage for MemberTable {
    fn memory_usage(&self) -> usize {
        self.table.memory_usage() + self.member_bytes
    }
}

impl MemberTable {
    pub(super) fn bucket_statistics(&self) -> BucketStatistics {
        self.table.bucket_statistics()
    }
}
