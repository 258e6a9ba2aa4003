//! A walk over the elements of a list from any index, in either direction.
//!
//! A compressed node is decompressed into the cursor, never in the list: reading changes nothing. That is why an
//! element lives only until the next step.

use super::node::Node;
use super::{Direction, Quicklist};
use crate::structures::listpack::{Position, Value};

#[derive(Debug, Clone, Copy)]
enum Place {
    Before { offset: usize },
    Packed(Position),
    Plain,
}

/// A walk over a list; see [`Quicklist::cursor`].
#[derive(Debug)]
pub struct Cursor<'a> {
    list: &'a Quicklist,
    direction: Direction,
    node: usize,
    place: Option<Place>,
    unpacked: Option<Node>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(list: &'a Quicklist, start: Option<(usize, usize)>, direction: Direction) -> Self {
        let mut cursor = Self { list, direction, node: 0, place: None, unpacked: None };
        if let Some((node, offset)) = start {
            cursor.enter(node);
            cursor.place = Some(Place::Before { offset });
        }
        cursor
    }

    fn enter(&mut self, node: usize) {
        self.node = node;
        self.unpacked = self.list.nodes.get(node).and_then(Node::decompressed);
    }

    fn current(&self) -> Option<&Node> {
        self.unpacked.as_ref().or_else(|| self.list.nodes.get(self.node))
    }

    fn step_inside(&self) -> Option<Place> {
        let node = self.current()?;
        let Some(listpack) = node.listpack() else {
            return matches!(self.place?, Place::Before { .. }).then_some(Place::Plain);
        };
        let position = match self.place? {
            Place::Before { offset } => listpack.at(offset as i64),
            Place::Packed(position) if self.direction == Direction::Forward => listpack.next(position),
            Place::Packed(position) => listpack.prev(position),
            Place::Plain => None,
        };
        position.map(Place::Packed)
    }

    fn advance(&mut self) -> Option<()> {
        self.place?;
        self.place = self.step_inside();
        while self.place.is_none() {
            let next = match self.direction {
                Direction::Forward => self.node + 1,
                Direction::Backward => self.node.checked_sub(1)?,
            };
            let offset = match self.direction {
                Direction::Forward => 0,
                Direction::Backward => self.list.nodes.get(next)?.len().saturating_sub(1),
            };
            if next >= self.list.nodes.len() {
                return None;
            }
            self.enter(next);
            self.place = Some(Place::Before { offset });
            self.place = self.step_inside();
        }
        Some(())
    }

    /// The next element; `None` at the end of the list, and from then on.
    // Not an Iterator: an element borrows from the cursor.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Value<'_>> {
        self.advance()?;
        let node = self.current()?;
        match self.place? {
            Place::Packed(position) => node.listpack()?.get(position),
            _ => node.element().map(Value::Bytes),
        }
    }
}
