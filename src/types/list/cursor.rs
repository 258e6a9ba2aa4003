//! A walk over a list of either encoding, and the comparison of its elements with a text.

use crate::algorithms::numbers::parse_i64;
use crate::structures::listpack::{Listpack, Position, Value};
use crate::structures::quicklist::{self, Direction};

/// A walk over a list; see [`List::cursor`](super::List::cursor).
#[derive(Debug)]
pub struct Cursor<'a>(Walk<'a>);

#[derive(Debug)]
enum Walk<'a> {
    Listpack { listpack: &'a Listpack, next: Option<Position>, direction: Direction },
    Quicklist(quicklist::Cursor<'a>),
}

impl<'a> Cursor<'a> {
    pub(super) fn of_listpack(listpack: &'a Listpack, place: usize, direction: Direction) -> Self {
        let next = i64::try_from(place).ok().and_then(|place| listpack.at(place));
        Self(Walk::Listpack { listpack, next, direction })
    }

    pub(super) fn of_quicklist(cursor: quicklist::Cursor<'a>) -> Self {
        Self(Walk::Quicklist(cursor))
    }

    /// The next element; `None` at the end of the list, and from then on.
    // Not an Iterator: an element borrows from the cursor.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Value<'_>> {
        match &mut self.0 {
            Walk::Quicklist(cursor) => cursor.next(),
            Walk::Listpack { listpack, next, direction } => {
                let position = (*next)?;
                *next = match direction {
                    Direction::Forward => listpack.next(position),
                    Direction::Backward => listpack.prev(position),
                };
                listpack.get(position)
            }
        }
    }
}

/// A text that elements are compared with, parsed once.
#[derive(Debug, Clone, Copy)]
pub struct Needle<'a> {
    text: &'a [u8],
    number: Option<i64>,
}

impl<'a> Needle<'a> {
    /// A comparison with `text`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, number: parse_i64(text) }
    }

    /// Whether an element is the text.
    #[inline]
    #[must_use]
    pub fn is(&self, value: Value<'_>) -> bool {
        match value {
            Value::Int(number) => self.number == Some(number),
            Value::Bytes(bytes) => self.text == bytes,
        }
    }
}
