//! Intersection, union and difference of several sets, without a copy of any member.

use hashbrown::HashTable;

use super::{MemberRef, Set, Start, intset_limit};
use crate::algorithms::hash::hash;
use crate::types::SetLimits;

impl Set {
    /// The set of a result, in the encoding that Valkey's `SINTERSTORE`, `SUNIONSTORE` or `SDIFFSTORE` gives it: all
    /// begin as an intset but for an intersection, see [`intersect`].
    #[must_use]
    pub fn of_result(members: &[MemberRef<'_>], start: Start, limits: &SetLimits) -> Self {
        let are_integers = || members.iter().all(|member| member.as_integer().is_some());
        if members.len() <= intset_limit(limits) && are_integers() {
            return Self::from_distinct(members, Start::Intset, limits);
        }
        Self::from_distinct(members, start, limits)
    }
}

/// Hands over the members that all of `sets` have, until `take` returns `false`. Returns what a result set begins as:
/// an intset if the smallest is one.
pub fn intersect<'a>(sets: &[&'a Set], mut take: impl FnMut(MemberRef<'a>) -> bool) -> Start {
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return Start::Intset };
    let others: Vec<_> = others.iter().filter(|other| !other.is_same(smallest)).collect();
    for member in smallest.iter() {
        if others.iter().all(|other| other.contains(member)) && !take(member) {
            break;
        }
    }
    if matches!(smallest, Set::Intset(_)) { Start::Intset } else { Start::Listpack }
}

/// The members that any of `sets` has; ascending when all of them are intsets.
#[must_use]
pub fn union<'a>(sets: &[&'a Set]) -> Vec<MemberRef<'a>> {
    if let [only] = sets {
        return only.iter().collect();
    }
    let largest = sets.iter().map(|set| set.len()).max().unwrap_or(0);
    let mut distinct = Distinct::with_capacity(largest);
    for set in sets {
        for member in set.iter() {
            distinct.insert(member);
        }
    }
    let mut members = distinct.members;
    if sets.iter().all(|set| matches!(set, Set::Intset(_))) {
        members.sort_unstable_by_key(MemberRef::as_integer);
    }
    members
}

/// The members that `first` has and none of `others` has.
#[must_use]
pub fn difference<'a>(first: &'a Set, others: &[&'a Set]) -> Vec<MemberRef<'a>> {
    if others.iter().any(|other| other.is_same(first)) {
        return Vec::new();
    }
    // Looking each member up in every set, against going through every set once: the first is cheaper for each
    // step, and ends early where there is much in common.
    let look_ups = first.len().saturating_mul(others.len() + 1) / 2;
    let steps = first.len() + others.iter().map(|other| other.len()).sum::<usize>();
    if look_ups <= steps {
        let mut others = others.to_vec();
        others.sort_by_key(|other| std::cmp::Reverse(other.len()));
        let is_kept = |member: &MemberRef<'_>| !others.iter().any(|other| other.contains(*member));
        return first.iter().filter(is_kept).collect();
    }
    let mut distinct = Distinct::with_capacity(first.len());
    first.iter().for_each(|member| distinct.insert(member));
    for other in others {
        if distinct.is_empty() {
            break;
        }
        other.iter().for_each(|member| distinct.remove(member));
    }
    distinct.remaining()
}

/// Members by value, in the order in which they came.
struct Distinct<'a> {
    members: Vec<MemberRef<'a>>,
    indices: HashTable<usize>,
}

fn hash_of(member: &MemberRef<'_>) -> u64 {
    match member {
        MemberRef::Int(integer) => hash(&integer.to_le_bytes()),
        MemberRef::Bytes(bytes) => hash(bytes),
    }
}

/// Whether two canonical members are the same.
fn are_equal(one: &MemberRef<'_>, two: &MemberRef<'_>) -> bool {
    match (one, two) {
        (MemberRef::Int(one), MemberRef::Int(two)) => one == two,
        (MemberRef::Bytes(one), MemberRef::Bytes(two)) => one == two,
        _ => false,
    }
}

impl<'a> Distinct<'a> {
    fn with_capacity(count: usize) -> Self {
        Self { members: Vec::with_capacity(count), indices: HashTable::with_capacity(count) }
    }

    fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    fn insert(&mut self, member: MemberRef<'a>) {
        let member = member.canonical();
        let members = &mut self.members;
        let at = |index: &usize| members.get(*index).copied().unwrap_or(MemberRef::Bytes(b""));
        let entry = self.indices.entry(
            hash_of(&member),
            |index| are_equal(&at(index), &member),
            |index| hash_of(&at(index)),
        );
        if let hashbrown::hash_table::Entry::Vacant(vacant) = entry {
            vacant.insert(members.len());
            members.push(member);
        }
    }

    fn remove(&mut self, member: MemberRef<'_>) {
        let member = member.canonical();
        let is_it = |index: &usize| self.members.get(*index).is_some_and(|held| are_equal(held, &member));
        if let Ok(found) = self.indices.find_entry(hash_of(&member), is_it) {
            found.remove();
        }
    }

    /// What was added and not removed.
    fn remaining(self) -> Vec<MemberRef<'a>> {
        let mut indices: Vec<usize> = self.indices.into_iter().collect();
        indices.sort_unstable();
        indices.into_iter().filter_map(|index| self.members.get(index).copied()).collect()
    }
}

/// Whether no two of `members` are the same.
pub(super) fn are_distinct<'a>(members: impl Iterator<Item = MemberRef<'a>>) -> bool {
    let mut distinct = Distinct::with_capacity(members.size_hint().0);
    let mut count = 0;
    for member in members {
        distinct.insert(member);
        count += 1;
        if distinct.members.len() != count {
            return false;
        }
    }
    true
}
