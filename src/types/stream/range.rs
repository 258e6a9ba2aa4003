//! Walks over the entries of a stream between two ids, either way.

use super::node::{Entry, Node};
use super::{Log, StreamId};
use crate::structures::listpack::Position;

/// The entries from one id to another, both included, in either direction; deleted ones are passed over.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    log: &'a Log,
    start: StreamId,
    end: StreamId,
    reverse: bool,
    /// The rank of the node that comes next.
    next_node: Option<usize>,
    node: Option<Node<'a>>,
    at: Option<Position>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(log: &'a Log, start: StreamId, end: StreamId, reverse: bool) -> Self {
        let next_node = if reverse {
            log.nodes.count_through(&end).checked_sub(1)
        } else {
            Some(log.nodes.count_through(&start).saturating_sub(1))
        };
        Self { log, start, end, reverse, next_node, node: None, at: None }
    }

    /// Goes to the next node; `None` when there is none.
    fn open_node(&mut self) -> Option<()> {
        let rank = self.next_node?;
        let (base, listpack) = self.log.nodes.select(rank)?;
        self.next_node = if self.reverse { rank.checked_sub(1) } else { Some(rank + 1) };
        let node = Node::open(base, listpack)?;
        self.at = if self.reverse { node.last() } else { node.first };
        self.node = Some(node);
        Some(())
    }

    /// The next entry of the node, deleted or not; `None` at its end.
    fn step(&mut self) -> Option<Entry<'a>> {
        let node = self.node.as_ref()?;
        let entry = node.entry(self.at?)?;
        self.at = if self.reverse { node.before(entry.at) } else { node.after(&entry) };
        Some(entry)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let Some(entry) = self.step() else {
                self.open_node()?;
                continue;
            };
            let (before, beyond) = (entry.id < self.start, entry.id > self.end);
            if if self.reverse { before } else { beyond } {
                // Ids ascend: nothing further is within the range.
                self.next_node = None;
                self.at = None;
                return None;
            }
            if !(before || beyond || entry.deleted) {
                return Some(entry);
            }
        }
    }
}
