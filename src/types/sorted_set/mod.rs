//! Sorted sets: members with scores, ordered by score and then by the bytes of the member.
//!
//! Few short members are one listpack of member, score, member, score ... in order, in Valkey's bytes; more of them,
//! or longer ones, are [`ScoredMembers`] (which Valkey calls `skiplist`). A sorted set never goes back to a listpack
//! by removals. No score is NaN. Ranges of any kind are turned into ranges of ranks first.

mod codec;
mod flat;
mod range;

impl SortedSet {
    /// How the table's buckets are filled (DEBUG HTSTATS-KEY); `None` in another encoding.
    #[must_use]
    pub fn bucket_statistics(&self) -> Option<BucketStatistics> {
        match self {
            Self::Members(table) => Some(table.bucket_statistics()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

use crate::structures::hash_table::BucketStatistics;
use std::ops::Range;

pub use self::range::{LexBound, LexRange, ScoreRange};
use super::FlatLimits;
use crate::memory::{MemoryUsage, box_usage};
use crate::structures::listpack::{self, Listpack};
use crate::structures::scored_members::ScoredMembers;

/// Collects members in any order; [`SortedSet::collect`] makes a sorted set of them.
pub use crate::structures::scored_members::Builder;

crate::encodings! {
    /// Members with scores, in order.
    #[derive(Debug)]
    pub enum SortedSet of SortedSet {
        /// Few and short: one listpack of members and scores.
        Listpack(Listpack) = SortedSetListpack,
        /// A table of members beside an ordered index.
        Members(Box<ScoredMembers>) = Skiplist,
    }
}

/// What ZADD is told to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddOptions {
    /// NX: never change a member that is there.
    pub only_new: bool,
    /// XX: never add a member.
    pub only_present: bool,
    /// GT: never lower a score.
    pub only_greater: bool,
    /// LT: never raise a score.
    pub only_less: bool,
    /// INCR: the score given is added to the one that is there.
    pub increment: bool,
}

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It has another score.
    Updated,
    /// It had that score already.
    Unchanged,
    /// The options forbade the change.
    Refused,
}

/// A sum of scores that is not a number: infinities of both signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotANumber;

impl AddOptions {
    /// What happens to a member of score `current` that is to get `score`, and the score it has then.
    fn decide(self, current: Option<f64>, score: f64) -> Result<(Change, f64), NotANumber> {
        let Some(current) = current else {
            return Ok((if self.only_present { Change::Refused } else { Change::Added }, score));
        };
        if self.only_new {
            return Ok((Change::Refused, current));
        }
        let score = if self.increment { current + score } else { score };
        if score.is_nan() {
            return Err(NotANumber);
        }
        if (self.only_less && score >= current) || (self.only_greater && score <= current) {
            return Ok((Change::Refused, current));
        }
        Ok((if score == current { Change::Unchanged } else { Change::Updated }, score))
    }
}

/// Which end of a range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the lowest score.
    Ascending,
    /// From the highest score.
    Descending,
}

impl SortedSet {
    /// An empty sorted set that is about to get `expected` members, the longest of `longest` bytes.
    #[must_use]
    pub fn new(expected: usize, longest: usize, limits: FlatLimits) -> Self {
        if expected <= limits.entries && longest <= limits.value_bytes {
            Self::Listpack(Listpack::new())
        } else {
            Self::Members(Box::default())
        }
    }

    /// The sorted set of what was collected; `None` when that is nothing.
    #[must_use]
    pub fn collect(members: Builder, limits: FlatLimits) -> Option<Self> {
        if members.is_empty() {
            return None;
        }
        let flat = members.len() <= limits.entries && members.longest() <= limits.value_bytes;
        let members = members.finish();
        if flat && let Some(listpack) = flat::from_members(&members) {
            return Some(Self::Listpack(listpack));
        }
        Some(Self::Members(Box::new(members)))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Listpack(listpack) => flat::len(listpack),
            Self::Members(members) => members.len(),
        }
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Listpack(listpack) => listpack.is_empty(),
            Self::Members(members) => members.is_empty(),
        }
    }

    /// Converts at once, instead of on the way, when one command brings more or longer members than a listpack takes.
    pub fn prepare(&mut self, expected: usize, longest: usize, limits: FlatLimits) {
        if expected > limits.entries || longest > limits.value_bytes {
            self.convert();
        }
    }

    /// Converts whatever the limits say (SORT).
    pub fn leave_listpack(&mut self) {
        self.convert();
    }

    fn convert(&mut self) -> Option<&mut ScoredMembers> {
        if let Self::Listpack(listpack) = self {
            let mut members = Builder::default();
            flat::for_each(flat::pairs(listpack), |member, score| {
                members.add(member, score, |present| present);
            });
            *self = Self::Members(Box::new(members.finish()));
        }
        match self {
            Self::Members(members) => Some(members),
            Self::Listpack(_) => None,
        }
    }

    /// Adds a member or changes its score, as `options` say; gives what became of it and the score it has now
    /// (`score` itself for one that is not there). `score` must not be NaN.
    ///
    /// # Errors
    /// [`NotANumber`] when an increment leads to it; nothing is changed then.
    pub fn add(
        &mut self,
        member: &[u8],
        score: f64,
        options: AddOptions,
        limits: FlatLimits,
    ) -> Result<(Change, f64), NotANumber> {
        if let Self::Listpack(listpack) = self {
            let found = flat::find(listpack, member);
            let outcome = options.decide(found.map(|(_, score)| score), score)?;
            match (outcome, found) {
                ((Change::Updated, score), Some((position, _))) => {
                    flat::remove_at(listpack, position);
                    flat::insert(listpack, member, score);
                }
                ((Change::Added, _), _) if !flat::takes(listpack, member, limits) => {
                    if let Some(members) = self.convert() {
                        members.upsert(member, |_| Some(score));
                    }
                }
                ((Change::Added, score), _) => flat::insert(listpack, member, score),
                _ => {}
            }
            return Ok(outcome);
        }
        let Self::Members(members) = self else { return Err(NotANumber) };
        let mut outcome = Err(NotANumber);
        members.upsert(member, |current| {
            outcome = options.decide(current, score);
            outcome
                .ok()
                .filter(|(change, _)| matches!(change, Change::Added | Change::Updated))
                .map(|(_, s)| s)
        });
        outcome
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Listpack(listpack) => flat::find(listpack, member).map(|(_, score)| score),
            Self::Members(members) => members.score(member),
        }
    }

    /// How many members come before this one, and its score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Listpack(listpack) => flat::rank(listpack, member),
            Self::Members(members) => members.rank(member),
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Listpack(listpack) => match flat::find(listpack, member) {
                Some((position, _)) => {
                    flat::remove_at(listpack, position);
                    true
                }
                None => false,
            },
            Self::Members(members) => members.remove(member).is_some(),
        }
    }

    /// Removes the members of those ranks; gives how many there were.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let ranks = ranks.start..ranks.end.min(self.len());
        if ranks.is_empty() {
            return 0;
        }
        match self {
            Self::Listpack(listpack) => {
                listpack.remove_range(2 * ranks.start as i64, 2 * ranks.len());
                ranks.len()
            }
            Self::Members(members) => members.remove_range(ranks),
        }
    }

    /// The ranks of the members whose score is in `range`.
    #[must_use]
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let (start, end) = match self {
            Self::Listpack(listpack) => (
                flat::count_while(listpack, |_, score| !range.reaches_min(score)),
                flat::count_while(listpack, |_, score| range.stays_below_max(score)),
            ),
            Self::Members(members) => (
                members.count_while_score(|score| !range.reaches_min(score)),
                members.count_while_score(|score| range.stays_below_max(score)),
            ),
        };
        start..end.max(start)
    }

    /// The ranks of the members in `range`, which asks for all scores to be the same (otherwise the result is some
    /// range).
    #[must_use]
    pub fn lex_ranks(&self, range: &LexRange<'_>) -> Range<usize> {
        let (start, end) = match self {
            Self::Listpack(listpack) => (
                flat::count_while(listpack, |member, _| !range.reaches_min(member)),
                flat::count_while(listpack, |member, _| range.stays_below_max(member)),
            ),
            Self::Members(members) => (
                members.count_while(|member, _| !range.reaches_min(member)),
                members.count_while(|member, _| range.stays_below_max(member)),
            ),
        };
        start..end.max(start)
    }

    /// Hands over the members of those ranks with their scores.
    pub fn for_each_in(&self, ranks: Range<usize>, order: Order, mut visit: impl FnMut(&[u8], f64)) {
        let ranks = ranks.start..ranks.end.min(self.len());
        if ranks.is_empty() {
            return;
        }
        match (self, order) {
            (Self::Listpack(listpack), Order::Ascending) => {
                flat::for_each(flat::pairs_from(listpack, ranks.start).take(ranks.len()), visit);
            }
            (Self::Listpack(listpack), Order::Descending) => {
                let beyond = flat::len(listpack) - ranks.end;
                flat::for_each(flat::pairs(listpack).rev().skip(beyond).take(ranks.len()), visit);
            }
            (Self::Members(members), Order::Ascending) => {
                members.range(ranks).for_each(|(member, score)| visit(member, score));
            }
            (Self::Members(members), Order::Descending) => {
                members.range(ranks).rev().for_each(|(member, score)| visit(member, score));
            }
        }
    }

    /// Hands over every member with its score, in order.
    pub fn for_each(&self, visit: impl FnMut(&[u8], f64)) {
        self.for_each_in(0..self.len(), Order::Ascending, visit);
    }

    /// One step of a scan: hands over the members at `cursor` and gives the next cursor, 0 at the end. A listpack is
    /// scanned in one step.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(&[u8], f64)) -> u64 {
        match self {
            Self::Listpack(listpack) => {
                flat::for_each(flat::pairs(listpack), visit);
                0
            }
            Self::Members(members) => members.scan(cursor, visit),
        }
    }

    /// A copy of the same encoding.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Listpack(listpack) => Self::Listpack(listpack.clone()),
            Self::Members(members) => {
                let mut copy = Builder::default();
                for (member, score) in members.range(0..members.len()) {
                    copy.add(member, score, |present| present);
                }
                Self::Members(Box::new(copy.finish()))
            }
        }
    }

    /// About how many allocations there are to free.
    #[must_use]
    pub fn effort(&self) -> usize {
        match self {
            Self::Listpack(_) => 1,
            Self::Members(members) => members.len(),
        }
    }
}

impl MemoryUsage for SortedSet {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
            Self::Members(members) => box_usage::<ScoredMembers>() + members.memory_usage(),
        }
    }
}

/// Adds pairs to a listpack being built.
fn push_pair(builder: &mut listpack::Builder, member: &[u8], score: f64) {
    builder.push(member);
    flat::ScoreElement::new(score).with(|value| builder.push(value));
}
