//! Quicklist: a long list as a sequence of listpacks, with large elements in nodes of their own and inner nodes
//! compressed when asked for.
//!
//! ```text
//! nodes: | Packed | Packed | Compressed | ... | Plain | Packed |   a ring of 16-byte nodes: kind, length, pointer
//! ```
//!
//! Invariants: no node is empty; `len` is the sum of the nodes' lengths; the first and the last `compress_depth` nodes
//! are not compressed, and without a depth none is. When a node is full, split or merged follows Valkey's
//! `quicklist.c`, so that node counts and snapshots come out the same.
#![deny(clippy::indexing_slicing)]

mod cursor;
mod edit;
mod limits;
mod node;
#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests;

use std::collections::VecDeque;

pub use cursor::Cursor;
pub use limits::Limits;
use node::Node;
pub use node::{NodeBytes, NodeView};

use crate::memory::{MemoryUsage, Mover, Relocate, usable_size};
use crate::structures::listpack::{Listpack, Value};

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where index 0 is.
    Head,
    /// Where index -1 is.
    Tail,
}

/// The direction of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From head to tail.
    Forward,
    /// From tail to head.
    Backward,
}

/// On which side of an element another is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nearer to the head.
    Before,
    /// Nearer to the tail.
    After,
}

/// A list of byte strings.
#[derive(Debug, Clone)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
    limits: Limits,
}

/// The list as a whole, and reading.
impl Quicklist {
    /// An empty list.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { nodes: VecDeque::new(), len: 0, limits }
    }

    /// A list of the elements of `listpack`, which becomes its first node.
    #[must_use]
    pub fn from_listpack(listpack: Listpack, limits: Limits) -> Self {
        let mut list = Self::new(limits);
        list.append_listpack(listpack);
        list
    }

    /// The limits the list was made with.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Sets from which size on a new element gets a node of its own; see [`Limits::with_packed_threshold`].
    pub fn set_packed_threshold(&mut self, bytes: u32) {
        self.limits = self.limits.with_packed_threshold(bytes);
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes from head to tail, as a snapshot writes them.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeView<'_>> {
        self.nodes.iter().map(Node::view)
    }

    /// The bytes of all nodes when not compressed.
    #[must_use]
    pub fn uncompressed_bytes(&self) -> usize {
        self.nodes.iter().map(Node::raw_len).sum()
    }

    /// The listpack of a list that has one node, unless that is a large element. What decides whether the list may
    /// become a listpack again.
    #[must_use]
    pub fn single_listpack(&self) -> Option<&Listpack> {
        if self.nodes.len() == 1 { self.nodes.front()?.listpack() } else { None }
    }

    /// Takes the listpack of [`Quicklist::single_listpack`].
    ///
    /// # Errors
    /// The list itself, when it is not one listpack.
    pub fn into_single_listpack(mut self) -> Result<Listpack, Self> {
        if self.single_listpack().is_none() {
            return Err(self);
        }
        match self.nodes.pop_front() {
            Some(Node::Packed { listpack, .. }) => Ok(listpack),
            _ => Err(self),
        }
    }

    /// The element at an end.
    #[must_use]
    pub fn peek(&self, end: End) -> Option<Value<'_>> {
        let node = match end {
            End::Head => self.nodes.front()?,
            End::Tail => self.nodes.back()?,
        };
        let Some(listpack) = node.listpack() else { return node.element().map(Value::Bytes) };
        listpack.get(match end {
            End::Head => listpack.first()?,
            End::Tail => listpack.last()?,
        })
    }

    /// Gives the element of an index to `read`; `None` when there is no such index.
    pub fn at<R>(&self, index: usize, read: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.cursor(index, Direction::Forward).next().map(read)
    }

    /// A walk that starts with the element of `index`; empty when there is no such index.
    #[must_use]
    pub fn cursor(&self, index: usize, direction: Direction) -> Cursor<'_> {
        Cursor::new(self, self.locate(index), direction)
    }

    /// Gives up to `count` elements from `index` on to `visit`, from head to tail.
    pub fn visit(&self, index: usize, count: usize, visit: &mut impl FnMut(Value<'_>)) {
        let Some((first, mut offset)) = self.locate(index) else { return };
        let mut left = count;
        for node in self.nodes.range(first..) {
            if left == 0 {
                return;
            }
            let taken = (node.len() - offset).min(left);
            node.visit(offset, taken, visit);
            left -= taken;
            offset = 0;
        }
    }

    /// The node of an index, and the index inside of the node.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut offset = index;
            for (number, node) in self.nodes.iter().enumerate() {
                match offset.checked_sub(node.len()) {
                    Some(rest) => offset = rest,
                    None => return Some((number, offset)),
                }
            }
            return None;
        }
        let mut from_end = self.len - 1 - index;
        for (number, node) in self.nodes.iter().enumerate().rev() {
            match from_end.checked_sub(node.len()) {
                Some(rest) => from_end = rest,
                None => return Some((number, node.len() - 1 - from_end)),
            }
        }
        None
    }
}

impl MemoryUsage for Quicklist {
    fn memory_usage(&self) -> usize {
        let ring = usable_size(self.nodes.capacity() * size_of::<Node>());
        ring + self.nodes.iter().map(Node::memory_usage).sum::<usize>()
    }
}

/// Rings beyond this size have pages of their own, and turning them round would take time.
const RING_MOVED_MAX: usize = 16 * 1024;

/// A step is some nodes; the cursor counts them.
impl Relocate for Quicklist {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        if cursor == 0 && self.nodes.capacity() * size_of::<Node>() <= RING_MOVED_MAX {
            let mut ring = Vec::from(std::mem::take(&mut self.nodes));
            mover.relocate_vec(&mut ring);
            self.nodes = ring.into();
        }
        let count = self.nodes.len();
        for (number, node) in self.nodes.iter_mut().enumerate().skip(cursor) {
            node.relocate(mover);
            if mover.is_spent() && number + 1 < count {
                return number + 1;
            }
        }
        0
    }
}
