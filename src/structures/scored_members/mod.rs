//! Members with scores, found by member and by rank: what a large sorted set is.
//!
//! ```text
//! ScoredMembers { members: hash table ──> | score | length | bytes |  <── index: B+-tree of (score, pointer) }
//! ```
//! The table owns the members' blocks and the index points into them. Invariants: each member of the table has exactly
//! one item in the index, with the same score; an item leaves the index before its member is freed; no score is NaN;
//! `member_bytes` is the sum of the blocks' usable sizes.

mod member;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use self::member::{Item, Member};
use super::hash_table::{BucketStatistics, HashTable};
use super::ordered_index::{self, OrderedIndex};
use crate::algorithms::hash::hash;
use crate::memory::{MemoryUsage, Mover, Relocate};

/// Members with scores, ordered by score and then by the bytes of the member.
#[derive(Default)]
pub struct ScoredMembers {
    members: HashTable<Member>,
    index: OrderedIndex<Item>,
    member_bytes: usize,
}

impl ScoredMembers {
    /// How the buckets of the table are filled.
    #[must_use]
    pub fn bucket_statistics(&self) -> BucketStatistics {
        self.members.bucket_statistics()
    }

    /// How many members there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let position = self.members.find(hash(member), member)?;
        Some(self.members.get(position).score())
    }

    /// Adds a member or changes its score. `decide` is given the score it has now, and gives the one it is to have;
    /// `None` leaves things as they are.
    pub fn upsert(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) {
        let hash = hash(member);
        let Some(position) = self.members.find(hash, member) else {
            if let Some(score) = decide(None) {
                self.add(hash, member, score);
            }
            return;
        };
        let old = self.members.get(position).item();
        let Some(score) = decide(Some(old.score)) else { return };
        let moved = self.index.reposition(
            // SAFETY: every item of the index has its member in the table.
            |item| unsafe { item.compare(old.score, member) },
            // SAFETY: as above.
            |item| unsafe { item.compare(score, member) },
            old.with_score(score),
        );
        debug_assert!(moved, "a member of the table is in the index");
        self.members.get_mut(position).set_score(score);
    }

    fn add(&mut self, hash: u64, member: &[u8], score: f64) {
        let block = Member::new(member, score);
        // SAFETY: every item of the index has its member in the table, and the new one's is alive here.
        self.index.insert(block.item(), |item| unsafe { item.compare(score, member) });
        self.member_bytes += block.block_usage();
        self.members.insert(hash, block);
    }

    /// Removes a member; gives the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let position = self.members.find(hash(member), member)?;
        let score = self.members.get(position).score();
        // SAFETY: every item of the index has its member in the table.
        self.index.remove(|item| unsafe { item.compare(score, member) });
        let removed = self.members.remove(position);
        self.member_bytes -= removed.block_usage();
        Some(score)
    }

    /// Removes the members of those ranks; gives how many there were.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let Self { members, index, member_bytes } = self;
        index.remove_range(ranks, |item| {
            // SAFETY: the item has left the index, its member has not left the table yet.
            let member = unsafe { item.member() };
            if let Some(position) = members.find(hash(member), member) {
                *member_bytes -= members.remove(position).block_usage();
            }
        })
    }

    /// How many members come before this one, and its score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        // SAFETY: every item of the index has its member in the table.
        let rank = self.index.rank(|item| unsafe { item.compare(score, member) })?;
        Some((rank, score))
    }

    /// How many of the first members satisfy `before`, which must hold for some first ones and for no later one.
    #[must_use]
    pub fn count_while(&self, before: impl Fn(&[u8], f64) -> bool) -> usize {
        self.index.lower_bound(|item| {
            // SAFETY: every item of the index has its member in the table.
            let member = unsafe { item.member() };
            if before(member, item.score) { Ordering::Less } else { Ordering::Greater }
        })
    }

    /// The same by score alone, which touches no member.
    #[must_use]
    pub fn count_while_score(&self, before: impl Fn(f64) -> bool) -> usize {
        self.index.lower_bound(|item| if before(item.score) { Ordering::Less } else { Ordering::Greater })
    }

    /// The members of those ranks with their scores, in order; `rev()` walks backwards.
    #[must_use]
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        Iter { items: self.index.range(ranks) }
    }

    /// One step of a scan; see [`HashTable::scan`].
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        self.members.scan(cursor, |member| visit(member.bytes(), member.score()))
    }
}

/// Every block but `self`: the table's, the index's and the members'.
impl MemoryUsage for ScoredMembers {
    fn memory_usage(&self) -> usize {
        self.members.memory_usage() + self.index.memory_usage() + self.member_bytes
    }
}

/// First the table's own blocks, whose buckets the cursor counts, then the index with the members, by rank.
impl Relocate for ScoredMembers {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        let Self { members, index, .. } = self;
        let buckets = members.bucket_count();
        if cursor < buckets {
            let next = members.relocate_blocks(cursor, mover);
            return if next == 0 { buckets } else { next };
        }
        let next =
            index.relocate(cursor - buckets, mover, |item, mover| relocate_member(members, item, mover));
        if next == 0 { 0 } else { buckets + next }
    }
}

/// Moves the member of an item, which the table owns.
fn relocate_member(members: &mut HashTable<Member>, item: &mut Item, mover: &mut Mover) {
    // SAFETY: the item's member lives.
    let Some(copy) = (unsafe { mover.copy(item.block()) }) else { return };
    // SAFETY: as above; the old block is there until the end of this function.
    let member = unsafe { item.member() };
    let Some(position) = members.find(hash(member), member) else {
        debug_assert!(false, "a member of the index is in the table");
        // SAFETY: nobody knows of the copy.
        return unsafe { mover.release(copy) };
    };
    members.get_mut(position).set_block(copy);
    let old = item.block();
    item.set_block(copy);
    // SAFETY: the table and the item have the copy now, and the branches above the item's leaf are given the item anew
    // before they are looked at.
    unsafe { mover.release(old) };
}

impl std::fmt::Debug for ScoredMembers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.range(0..self.len())).finish()
    }
}

/// Members with their scores, in order; see [`ScoredMembers::range`].
#[derive(Clone)]
pub struct Iter<'a> {
    items: ordered_index::Range<'a, Item>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: the structure is borrowed for 'a, and with it every member that its index points to.
        self.items.next().map(|item| (unsafe { item.member() }, item.score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        // SAFETY: as in `next`.
        self.items.next_back().map(|item| (unsafe { item.member() }, item.score))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Collects members in any order and orders them once, at the end, into a dense index.
#[derive(Default)]
pub struct Builder {
    members: HashTable<Member>,
    member_bytes: usize,
    longest: usize,
}

impl Builder {
    /// How many members were collected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The bytes of the longest member.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Adds a member; if it is there already, `merge` makes its new score of the old one. Says whether it is new.
    /// No score may be NaN.
    pub fn add(&mut self, member: &[u8], score: f64, merge: impl FnOnce(f64) -> f64) -> bool {
        let hash = hash(member);
        if let Some(position) = self.members.find(hash, member) {
            let mut present = self.members.get_mut(position);
            let merged = merge(present.score());
            present.set_score(merged);
            return false;
        }
        let block = Member::new(member, score);
        self.member_bytes += block.block_usage();
        self.longest = self.longest.max(member.len());
        self.members.insert(hash, block);
        true
    }

    /// The members, ordered.
    #[must_use]
    pub fn finish(self) -> ScoredMembers {
        let mut items = Vec::with_capacity(self.members.len());
        self.members.for_each_prefetched(|member| items.push(member.item()));
        items.sort_unstable_by(|one: &Item, other| {
            // SAFETY: the table owns every item's member.
            let member = unsafe { other.member() };
            // SAFETY: as above.
            unsafe { one.compare(other.score, member) }
        });
        ScoredMembers {
            members: self.members,
            index: OrderedIndex::from_sorted(items),
            member_bytes: self.member_bytes,
        }
    }
}
