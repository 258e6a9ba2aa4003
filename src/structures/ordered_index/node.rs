//! The nodes of an ordered index and every operation that walks them.
//!
//! A leaf holds at most [`Node::LEAF_MAX`] items, a branch at most [`BRANCH_MAX`] children. Nodes split in halves, but
//! at the first and the last edge of the tree the full node stays full, so that ascending and descending inserts
//! leave dense leaves. After a removal a node of at most half its size is merged with a neighbour when both together
//! fill at most three quarters: splits and merges cannot chase each other.

use std::cmp::Ordering;

use crate::memory::{Mover, box_usage, usable_size, vec_usage};

/// Bytes of items in a full leaf: large enough to make the branches' share small, small enough to shift cheaply.
const LEAF_BYTES: usize = 1024;
/// Children of a full branch.
pub(super) const BRANCH_MAX: usize = 64;

#[derive(Debug)]
pub(super) enum Node<T> {
    Leaf(Vec<T>),
    Branch(Box<Branch<T>>),
}

/// Three parallel arrays, so that a search reads nothing but items and a rank nothing but counts.
#[derive(Debug)]
pub(super) struct Branch<T> {
    pub(super) firsts: Vec<T>,
    pub(super) counts: Vec<usize>,
    pub(super) nodes: Vec<Node<T>>,
}

/// What became of an insertion below a node.
pub(super) enum Insertion<T> {
    /// An equal item is there; nothing changed.
    Present,
    Done,
    /// Done, and the node gave its upper part to this new right neighbour.
    Split(Node<T>),
}

/// Which edges of the whole tree a node lies on.
#[derive(Clone, Copy)]
pub(super) struct Edges {
    first: bool,
    last: bool,
}

impl Edges {
    pub(super) const BOTH: Self = Self { first: true, last: true };

    const fn below(self, child: usize, children: usize) -> Self {
        Self { first: self.first && child == 0, last: self.last && child + 1 == children }
    }

    /// Where to split a full node of `len` that is about to take something at `at`.
    const fn split_point(self, at: usize, len: usize, first_at: usize) -> usize {
        if self.last && at == len {
            len
        } else if self.first && at == first_at {
            first_at
        } else {
            len / 2
        }
    }
}

/// How a removal finds its way down.
pub(super) trait Seek<T> {
    /// The child to go to.
    fn child(&mut self, branch: &Branch<T>) -> usize;
    /// The item's place in the leaf.
    fn slot(&mut self, leaf: &[T]) -> Option<usize>;
}

/// Seeks the item for which the closure says `Equal`.
pub(super) struct ByOrder<F>(pub(super) F);

impl<T: Copy, F: Fn(&T) -> Ordering> Seek<T> for ByOrder<F> {
    fn child(&mut self, branch: &Branch<T>) -> usize {
        branch.child_for(&self.0)
    }

    fn slot(&mut self, leaf: &[T]) -> Option<usize> {
        leaf.binary_search_by(&self.0).ok()
    }
}

/// Seeks the item of a rank, which is below the number of items.
pub(super) struct ByRank(pub(super) usize);

impl<T: Copy> Seek<T> for ByRank {
    fn child(&mut self, branch: &Branch<T>) -> usize {
        let (child, rank) = branch.child_at(self.0);
        self.0 = rank;
        child
    }

    fn slot(&mut self, leaf: &[T]) -> Option<usize> {
        (self.0 < leaf.len()).then_some(self.0)
    }
}

/// The capacity that a block for `len` elements and some more gets: one that fills its size class, `max` at most.
const fn roomy<E>(len: usize, max: usize) -> usize {
    let capacity = usable_size((len + len / 8 + 1) * size_of::<E>()) / size_of::<E>();
    if capacity > max { max } else { capacity }
}

fn insert_tight<E>(vec: &mut Vec<E>, at: usize, element: E, max: usize) {
    let len = vec.len();
    if len == vec.capacity() {
        vec.reserve_exact(roomy::<E>(len, max) - len);
    }
    vec.insert(at, element);
}

fn append_tight<E>(vec: &mut Vec<E>, mut tail: Vec<E>, max: usize) {
    let len = vec.len() + tail.len();
    if len > vec.capacity() {
        vec.reserve_exact(roomy::<E>(len, max) - vec.len());
    }
    vec.append(&mut tail);
}

/// Gives room back once a third of it is unused; less would make blocks grow and shrink in turn.
fn tighten<E>(vec: &mut Vec<E>, max: usize) {
    let len = vec.len();
    if len == 0 {
        *vec = Vec::new();
    } else if vec.capacity() > len + len / 2 + 4 {
        vec.shrink_to(roomy::<E>(len, max));
    }
}

impl<T: Copy> Node<T> {
    pub(super) const LEAF_MAX: usize = {
        let items = LEAF_BYTES / size_of::<T>();
        if items < 8 { 8 } else { items }
    };

    /// Items of a leaf, children of a branch.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(branch) => branch.nodes.len(),
        }
    }

    const fn max_len(&self) -> usize {
        match self {
            Self::Leaf(_) => Self::LEAF_MAX,
            Self::Branch(_) => BRANCH_MAX,
        }
    }

    /// Items below this node.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Branch(branch) => branch.counts.iter().sum(),
        }
    }

    pub(super) fn first(&self) -> Option<&T> {
        match self {
            Self::Leaf(items) => items.first(),
            Self::Branch(branch) => branch.firsts.first(),
        }
    }

    pub(super) fn last(&self) -> Option<&T> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(items) => return items.last(),
                Self::Branch(branch) => node = branch.nodes.last()?,
            }
        }
    }

    pub(super) fn floor(&self, cmp: &impl Fn(&T) -> Ordering) -> Option<&T> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(items) => {
                    let after = items.partition_point(|item| cmp(item) != Ordering::Greater);
                    return items.get(after.checked_sub(1)?);
                }
                Self::Branch(branch) => node = &branch.nodes[branch.child_for(cmp)],
            }
        }
    }

    pub(super) fn rank(&self, cmp: &impl Fn(&T) -> Ordering) -> Option<usize> {
        let (mut node, mut before) = (self, 0);
        loop {
            match node {
                Self::Leaf(items) => return Some(before + items.binary_search_by(cmp).ok()?),
                Self::Branch(branch) => {
                    let child = branch.child_for(cmp);
                    before += branch.count_before(child);
                    node = &branch.nodes[child];
                }
            }
        }
    }

    /// The number of items at the start for which `before` holds.
    pub(super) fn count_while(&self, before: impl Fn(&T) -> bool) -> usize {
        let (mut node, mut count) = (self, 0);
        loop {
            match node {
                Self::Leaf(items) => return count + items.partition_point(before),
                Self::Branch(branch) => {
                    let child = branch.firsts.partition_point(&before).saturating_sub(1);
                    count += branch.count_before(child);
                    node = &branch.nodes[child];
                }
            }
        }
    }

    /// The leaf that holds the item of `rank`, which is below the number of items, and the item's place there.
    pub(super) fn leaf_at(&self, rank: usize) -> (&[T], usize) {
        let (mut node, mut rank) = (self, rank);
        loop {
            match node {
                Self::Leaf(items) => return (items, rank),
                Self::Branch(branch) => {
                    let (child, within) = branch.child_at(rank);
                    rank = within;
                    node = &branch.nodes[child];
                }
            }
        }
    }

    pub(super) fn update<R>(
        &mut self,
        cmp: &impl Fn(&T) -> Ordering,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        match self {
            Self::Leaf(items) => {
                let slot = items.binary_search_by(cmp).ok()?;
                Some(change(&mut items[slot]))
            }
            Self::Branch(branch) => {
                let child = branch.child_for(cmp);
                let result = branch.nodes[child].update(cmp, change)?;
                branch.refresh_first(child);
                Some(result)
            }
        }
    }

    /// Moves an item within its leaf; false when its new place is elsewhere or there is no such item.
    pub(super) fn reposition(
        &mut self,
        old: &impl Fn(&T) -> Ordering,
        new: &impl Fn(&T) -> Ordering,
        item: T,
    ) -> bool {
        match self {
            Self::Leaf(items) => {
                let Ok(from) = items.binary_search_by(old) else { return false };
                let to = items.partition_point(|other| new(other) == Ordering::Less);
                let slot = if to > from { to - 1 } else { to };
                if slot > from {
                    items.copy_within(from + 1..=slot, from);
                } else {
                    items.copy_within(slot..from, slot + 1);
                }
                items[slot] = item;
                true
            }
            Self::Branch(branch) => {
                let child = branch.child_for(old);
                if child != branch.child_for(new) || !branch.nodes[child].reposition(old, new, item) {
                    return false;
                }
                branch.refresh_first(child);
                true
            }
        }
    }

    pub(super) fn insert(&mut self, item: T, cmp: &impl Fn(&T) -> Ordering, edges: Edges) -> Insertion<T> {
        match self {
            Self::Leaf(items) => {
                let Err(at) = items.binary_search_by(cmp) else { return Insertion::Present };
                insert_into_leaf(items, at, item, edges)
            }
            Self::Branch(branch) => {
                let after = branch.firsts.partition_point(|first| cmp(first) != Ordering::Greater);
                let child = after.saturating_sub(1);
                let below = edges.below(child, branch.nodes.len());
                let outcome = branch.nodes[child].insert(item, cmp, below);
                if matches!(outcome, Insertion::Present) {
                    return outcome;
                }
                branch.counts[child] += 1;
                if after == 0 {
                    branch.firsts[0] = item;
                }
                match outcome {
                    Insertion::Split(right) => branch.adopt(child, right, edges),
                    done => done,
                }
            }
        }
    }

    /// Puts a new root above this node and the neighbour it split off.
    pub(super) fn raise(&mut self, right: Self) {
        let left = std::mem::replace(self, Self::Leaf(Vec::new()));
        let mut branch = Branch::new();
        branch.insert_child(0, left);
        branch.insert_child(1, right);
        *self = Self::Branch(Box::new(branch));
    }

    /// Takes away a root that has one child or none.
    pub(super) fn lower(&mut self) {
        while let Self::Branch(branch) = self {
            if branch.nodes.len() > 1 {
                return;
            }
            *self = branch.nodes.pop().unwrap_or(Self::Leaf(Vec::new()));
        }
    }

    pub(super) fn remove(&mut self, seek: &mut impl Seek<T>) -> Option<T> {
        match self {
            Self::Leaf(items) => {
                let removed = items.remove(seek.slot(items)?);
                tighten(items, Self::LEAF_MAX);
                Some(removed)
            }
            Self::Branch(branch) => {
                let child = seek.child(branch);
                let removed = branch.nodes[child].remove(seek)?;
                branch.counts[child] -= 1;
                branch.settle(child);
                Some(removed)
            }
        }
    }

    pub(super) fn remove_range(&mut self, start: usize, end: usize, removed: &mut impl FnMut(T)) {
        match self {
            Self::Leaf(items) => {
                items.drain(start..end).for_each(removed);
                tighten(items, Self::LEAF_MAX);
            }
            Self::Branch(branch) => branch.remove_range(start, end, removed),
        }
    }

    /// Takes in everything of the right neighbour, which is of the same depth.
    fn absorb(&mut self, right: Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => append_tight(left, right, Self::LEAF_MAX),
            (Self::Branch(left), Self::Branch(right)) => left.absorb(*right),
            _ => debug_assert!(false, "neighbours are of one depth"),
        }
    }

    /// Moves the blocks of the leaf that holds the item of `rank`, and those of the branches that begin with it, and
    /// shows `visit` the items from there on; gives their number, which is not 0.
    pub(super) fn relocate(
        &mut self,
        rank: usize,
        mover: &mut Mover,
        visit: &mut impl FnMut(&mut T, &mut Mover),
    ) -> usize {
        match self {
            Self::Leaf(items) => {
                mover.relocate_vec(items);
                let visited = items.iter_mut().skip(rank);
                let count = visited.len();
                visited.for_each(|item| visit(item, mover));
                count.max(1)
            }
            Self::Branch(branch) => {
                if rank == 0 {
                    mover.relocate_box(branch);
                    mover.relocate_vec(&mut branch.firsts);
                    mover.relocate_vec(&mut branch.counts);
                    mover.relocate_vec(&mut branch.nodes);
                }
                let (child, within) = branch.child_at(rank);
                let count = branch.nodes[child].relocate(within, mover, visit);
                branch.refresh_first(child);
                count
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            Self::Leaf(items) => vec_usage(items),
            Self::Branch(branch) => {
                box_usage::<Branch<T>>()
                    + vec_usage(&branch.firsts)
                    + vec_usage(&branch.counts)
                    + vec_usage(&branch.nodes)
                    + branch.nodes.iter().map(Self::memory_usage).sum::<usize>()
            }
        }
    }
}

fn insert_into_leaf<T: Copy>(items: &mut Vec<T>, at: usize, item: T, edges: Edges) -> Insertion<T> {
    let max = Node::<T>::LEAF_MAX;
    let len = items.len();
    if len < max {
        insert_tight(items, at, item, max);
        return Insertion::Done;
    }
    let middle = edges.split_point(at, len, 0);
    let mut right = items.split_off(middle);
    tighten(items, max);
    if at < middle || at == 0 {
        insert_tight(items, at, item, max);
    } else {
        insert_tight(&mut right, at - middle, item, max);
    }
    Insertion::Split(Node::Leaf(right))
}

impl<T: Copy> Branch<T> {
    const fn new() -> Self {
        Self { firsts: Vec::new(), counts: Vec::new(), nodes: Vec::new() }
    }

    /// The only child that can hold the item sought, or take it.
    fn child_for(&self, cmp: &impl Fn(&T) -> Ordering) -> usize {
        self.firsts.partition_point(|first| cmp(first) != Ordering::Greater).saturating_sub(1)
    }

    /// The child that holds the item of `rank`, and the item's rank in that child.
    fn child_at(&self, rank: usize) -> (usize, usize) {
        let mut within = rank;
        for (child, &count) in self.counts.iter().enumerate() {
            if within < count {
                return (child, within);
            }
            within -= count;
        }
        debug_assert!(false, "rank {rank} is past the end");
        (0, within)
    }

    fn count_before(&self, child: usize) -> usize {
        self.counts[..child].iter().sum()
    }

    fn refresh_first(&mut self, child: usize) {
        if let Some(&first) = self.nodes[child].first() {
            self.firsts[child] = first;
        }
    }

    /// Inserts a child that is not empty.
    fn insert_child(&mut self, at: usize, node: Node<T>) {
        let Some(&first) = node.first() else { return };
        insert_tight(&mut self.firsts, at, first, BRANCH_MAX);
        insert_tight(&mut self.counts, at, node.count(), BRANCH_MAX);
        insert_tight(&mut self.nodes, at, node, BRANCH_MAX);
    }

    /// Inserts what a child split off, splitting this branch in turn when it is full.
    fn adopt(&mut self, child: usize, right: Node<T>, edges: Edges) -> Insertion<T> {
        self.counts[child] -= right.count();
        self.refresh_first(child);
        let (at, len) = (child + 1, self.nodes.len());
        if len < BRANCH_MAX {
            self.insert_child(at, right);
            return Insertion::Done;
        }
        let middle = edges.split_point(at, len, 1);
        let mut upper = self.split_off(middle);
        if at < middle {
            self.insert_child(at, right);
        } else {
            upper.insert_child(at - middle, right);
        }
        Insertion::Split(Node::Branch(Box::new(upper)))
    }

    fn split_off(&mut self, middle: usize) -> Self {
        let upper = Self {
            firsts: self.firsts.split_off(middle),
            counts: self.counts.split_off(middle),
            nodes: self.nodes.split_off(middle),
        };
        self.tighten();
        upper
    }

    fn absorb(&mut self, right: Self) {
        append_tight(&mut self.firsts, right.firsts, BRANCH_MAX);
        append_tight(&mut self.counts, right.counts, BRANCH_MAX);
        append_tight(&mut self.nodes, right.nodes, BRANCH_MAX);
    }

    fn tighten(&mut self) {
        tighten(&mut self.firsts, BRANCH_MAX);
        tighten(&mut self.counts, BRANCH_MAX);
        tighten(&mut self.nodes, BRANCH_MAX);
    }

    fn remove_children(&mut self, children: std::ops::Range<usize>) {
        self.firsts.drain(children.clone());
        self.counts.drain(children.clone());
        self.nodes.drain(children);
        self.tighten();
    }

    /// Puts right what a removal below `child` may have upset: its first item, and whether it is too small.
    fn settle(&mut self, child: usize) {
        let node = &self.nodes[child];
        let (len, max) = (node.len(), node.max_len());
        if len == 0 {
            self.remove_children(child..child + 1);
            return;
        }
        self.refresh_first(child);
        if len > max / 2 {
            return;
        }
        let room = max * 3 / 4 - len;
        if self.nodes.get(child + 1).is_some_and(|right| right.len() <= room) {
            self.merge(child);
        } else if child > 0 && self.nodes[child - 1].len() <= room {
            self.merge(child - 1);
        }
    }

    /// Merges `left` with its right neighbour.
    fn merge(&mut self, left: usize) {
        let right = self.nodes.remove(left + 1);
        self.counts[left] += self.counts.remove(left + 1);
        self.firsts.remove(left + 1);
        self.nodes[left].absorb(right);
        self.tighten();
    }

    fn remove_range(&mut self, start: usize, end: usize, removed: &mut impl FnMut(T)) {
        let (first_child, mut from) = self.child_at(start);
        let mut left = end - start;
        let mut child = first_child;
        while left > 0 {
            let to = self.counts[child].min(from + left);
            self.nodes[child].remove_range(from, to, removed);
            self.counts[child] -= to - from;
            left -= to - from;
            from = 0;
            child += 1;
        }
        let emptied = first_child + usize::from(self.counts[first_child] > 0);
        let kept = child - usize::from(self.counts[child - 1] > 0);
        if emptied < kept {
            self.remove_children(emptied..kept);
        }
        for child in [first_child + 1, first_child] {
            if child < self.nodes.len() {
                self.settle(child);
            }
        }
    }
}

/// Builds a dense tree of items that ascend.
pub(super) fn build<T: Copy>(mut items: impl Iterator<Item = T>) -> Node<T> {
    let mut level = Vec::new();
    while let Some(first) = items.next() {
        let mut leaf = Vec::with_capacity(Node::<T>::LEAF_MAX);
        leaf.push(first);
        leaf.extend(items.by_ref().take(Node::<T>::LEAF_MAX - 1));
        leaf.shrink_to_fit();
        level.push(Node::Leaf(leaf));
    }
    while level.len() > 1 {
        let mut nodes = level.into_iter();
        level = Vec::new();
        while nodes.len() > 0 {
            let mut branch = Branch::new();
            for (at, node) in nodes.by_ref().take(BRANCH_MAX).enumerate() {
                branch.insert_child(at, node);
            }
            level.push(Node::Branch(Box::new(branch)));
        }
    }
    level.pop().unwrap_or(Node::Leaf(Vec::new()))
}
