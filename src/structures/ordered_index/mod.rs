//! The ordered index: a counted B+-tree over small `Copy` items, such as the (score, member) pairs of a sorted set
//! or the ids of a stream.
//!
//! ```text
//! OrderedIndex { root, len }
//!   Branch   firsts [a    h    q  ]   a copy of the first item of each child
//!            counts [7    9    4  ]   items below each child
//!            nodes  [|    |    |  ]
//!                    v    v    v
//!   Leaf     [a b c d e f g] [h .. p] [q .. t]        all leaves at one depth
//! ```
//! The tree knows no order of its own: a search is given a closure that says how an item stands to what is sought
//! (`Less`: the item comes before), as `slice::binary_search_by` takes it. Invariants: items ascend, no node but an
//! empty root is empty, `firsts` and `counts` are exact, blocks fill an allocator size class.

mod node;
mod range;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::RangeBounds;

use self::node::{ByOrder, ByRank, Insertion, Node};
pub use self::range::Range;
use crate::memory::{MemoryUsage, Mover};

/// An ordered sequence of distinct items that also finds items by their rank. Every operation is O(log n).
///
/// What an item points to belongs to the caller; a closure handed in must agree with the order in which the items
/// were inserted, otherwise results are unspecified (but harmless).
#[derive(Debug)]
pub struct OrderedIndex<T> {
    root: Node<T>,
    len: usize,
}

impl<T: Copy> Default for OrderedIndex<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Clone for OrderedIndex<T> {
    /// A dense copy.
    fn clone(&self) -> Self {
        Self::from_sorted(self.iter().copied())
    }
}

impl<T: Copy> OrderedIndex<T> {
    /// An empty index; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0 }
    }

    /// Builds a dense index from items that ascend already.
    pub fn from_sorted(items: impl IntoIterator<Item = T>) -> Self {
        let mut len = 0;
        let root = node::build(items.into_iter().inspect(|_| len += 1));
        Self { root, len }
    }

    /// The number of items.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes every item and frees every block.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Inserts `item`, for which `cmp` says how others stand to it. Returns false, and changes nothing, when an
    /// equal item is there.
    pub fn insert(&mut self, item: T, cmp: impl Fn(&T) -> Ordering) -> bool {
        let outcome = self.root.insert(item, &cmp, node::Edges::BOTH);
        self.grown(outcome)
    }

    /// Appends an item that comes after every other.
    pub fn push_last(&mut self, item: T) {
        let outcome = self.root.insert(item, &|_| Ordering::Less, node::Edges::BOTH);
        self.grown(outcome);
    }

    fn grown(&mut self, outcome: Insertion<T>) -> bool {
        match outcome {
            Insertion::Present => return false,
            Insertion::Done => {}
            Insertion::Split(right) => self.root.raise(right),
        }
        self.len += 1;
        true
    }

    /// Removes and returns the item for which `cmp` says `Equal`.
    pub fn remove(&mut self, cmp: impl Fn(&T) -> Ordering) -> Option<T> {
        let removed = self.root.remove(&mut ByOrder(cmp))?;
        self.shrunk(1);
        Some(removed)
    }

    /// Removes and returns the item of that rank.
    pub fn remove_at(&mut self, rank: usize) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        let removed = self.root.remove(&mut ByRank(rank))?;
        self.shrunk(1);
        Some(removed)
    }

    /// Removes and returns the first item.
    pub fn pop_first(&mut self) -> Option<T> {
        self.remove_at(0)
    }

    /// Removes and returns the last item.
    pub fn pop_last(&mut self) -> Option<T> {
        self.remove_at(self.len.checked_sub(1)?)
    }

    /// Removes the items of those ranks, handing each to `removed` in order. Ranks past the end are ignored.
    /// Returns how many were removed.
    pub fn remove_range(&mut self, ranks: impl RangeBounds<usize>, mut removed: impl FnMut(T)) -> usize {
        let (start, end) = self.clamp(&ranks);
        if start < end {
            self.root.remove_range(start, end, &mut removed);
            self.shrunk(end - start);
        }
        end - start
    }

    fn shrunk(&mut self, removed: usize) {
        self.len -= removed;
        self.root.lower();
    }

    /// The item for which `cmp` says `Equal`.
    pub fn find(&self, cmp: impl Fn(&T) -> Ordering) -> Option<&T> {
        let item = self.floor(|item| cmp(item))?;
        (cmp(item) == Ordering::Equal).then_some(item)
    }

    /// The last item that is not after what is sought: the item for which `cmp` says `Equal`, or else the last for
    /// which it says `Less`.
    pub fn floor(&self, cmp: impl Fn(&T) -> Ordering) -> Option<&T> {
        self.root.floor(&cmp)
    }

    /// The rank of the item for which `cmp` says `Equal`: the number of items before it.
    pub fn rank(&self, cmp: impl Fn(&T) -> Ordering) -> Option<usize> {
        self.root.rank(&cmp)
    }

    /// The rank of the first item that is not before what is sought, `len` when there is none.
    pub fn lower_bound(&self, cmp: impl Fn(&T) -> Ordering) -> usize {
        self.root.count_while(|item| cmp(item) == Ordering::Less)
    }

    /// The rank of the first item after what is sought, `len` when there is none.
    pub fn upper_bound(&self, cmp: impl Fn(&T) -> Ordering) -> usize {
        self.root.count_while(|item| cmp(item) != Ordering::Greater)
    }

    /// The item of that rank.
    #[must_use]
    pub fn select(&self, rank: usize) -> Option<&T> {
        if rank >= self.len {
            return None;
        }
        let (leaf, offset) = self.root.leaf_at(rank);
        leaf.get(offset)
    }

    /// The first item.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.root.first()
    }

    /// The last item.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.root.last()
    }

    /// Hands the item for which `cmp` says `Equal` to `change`, which must leave it in its place in the order.
    pub fn update<R>(&mut self, cmp: impl Fn(&T) -> Ordering, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.root.update(&cmp, change)
    }

    /// Puts `item` in the place of the item for which `cmp` says `Equal`, and returns the old one. The new one must
    /// stand in the same place in the order.
    pub fn replace(&mut self, cmp: impl Fn(&T) -> Ordering, item: T) -> Option<T> {
        self.update(cmp, |old| std::mem::replace(old, item))
    }

    /// Moves an item to another place: `old` finds it, `item` replaces it, and `new` says how others stand to `item`.
    /// A move within one leaf, the common case of a small change of score, costs one descent. Returns false, and
    /// changes nothing, when `old` finds nothing. No other item may be equal to `item`.
    pub fn reposition(
        &mut self,
        old: impl Fn(&T) -> Ordering,
        new: impl Fn(&T) -> Ordering,
        item: T,
    ) -> bool {
        self.root.reposition(&old, &new, item) || (self.remove(old).is_some() && self.insert(item, new))
    }

    /// The items in order. `rev()` walks backwards.
    pub fn iter(&self) -> Range<'_, T> {
        self.range(..)
    }

    /// The items of those ranks in order, ranks past the end ignored. `range(rank..)` walks from a rank to the end,
    /// `range(..=rank).rev()` from a rank to the start.
    pub fn range(&self, ranks: impl RangeBounds<usize>) -> Range<'_, T> {
        let (start, end) = self.clamp(&ranks);
        Range::new(&self.root, start, end)
    }

    /// Moves the tree's own blocks, some leaves a step; the cursor is a rank, as [`crate::memory::Relocate`] has it. `visit`
    /// gets every item of those leaves, to move what it points to; it must not change its place in the order.
    pub fn relocate(
        &mut self,
        cursor: usize,
        mover: &mut Mover,
        mut visit: impl FnMut(&mut T, &mut Mover),
    ) -> usize {
        let mut rank = cursor;
        while rank < self.len {
            rank += self.root.relocate(rank, mover, &mut visit);
            if mover.is_spent() && rank < self.len {
                return rank;
            }
        }
        0
    }

    fn clamp(&self, ranks: &impl RangeBounds<usize>) -> (usize, usize) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = match ranks.start_bound() {
            Included(&rank) => rank,
            Excluded(&rank) => rank.saturating_add(1),
            Unbounded => 0,
        };
        let end = match ranks.end_bound() {
            Included(&rank) => rank.saturating_add(1),
            Excluded(&rank) => rank,
            Unbounded => self.len,
        };
        let end = end.min(self.len);
        (start.min(end), end)
    }
}

impl<'a, T: Copy> IntoIterator for &'a OrderedIndex<T> {
    type Item = &'a T;
    type IntoIter = Range<'a, T>;

    fn into_iter(self) -> Range<'a, T> {
        self.iter()
    }
}

impl<T: Copy> MemoryUsage for OrderedIndex<T> {
    /// The tree's own blocks; what the items point to is not included. Visits every node, not every item.
    fn memory_usage(&self) -> usize {
        self.root.memory_usage()
    }
}
