//! One node of a stream: a listpack of entries whose ids lie close to the node's own, in Valkey's format.
//!
//! ```text
//! | live | deleted | fields n | name 1 .. name n | 0 |   the first entry's fields, shared by all that have the same
//! | flags | ms - node's | seq - node's | value 1 .. value n | elements of this entry |              same fields
//! | flags | ms - node's | seq - node's | m | name 1 | value 1 | .. | elements of this entry |       fields of its own
//! ```
//! The count that ends an entry does not count itself; it lets a walk go backwards. A deleted entry stays, marked.

use super::StreamId;
use crate::structures::listpack::{Builder, Iter, Listpack, Position, Value, element_size};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Flags and the two parts of the id.
const ENTRY_HEAD: usize = 3;

/// A node of a stream, opened to be read.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    listpack: &'a Listpack,
    base: StreamId,
    names: Iter<'a>,
    field_count: usize,
    /// Where the first entry is.
    pub(super) first: Option<Position>,
    /// Entries that are not deleted.
    pub(super) live: usize,
    /// Entries that are.
    pub(super) deleted: usize,
}

/// An entry of a stream.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Its fields with their values.
    pub fields: Fields<'a>,
    pub(super) deleted: bool,
    pub(super) at: Position,
    same_fields: bool,
}

/// The fields of an entry and their values, in the order they were given in.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    /// The names, when the entry shares them with its node.
    names: Option<Iter<'a>>,
    values: Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.values.next()?,
        };
        Some((name, self.values.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

fn count(value: Option<Value<'_>>) -> Option<usize> {
    usize::try_from(value?.as_integer()?).ok()
}

fn offset(part: u64, delta: Option<Value<'_>>) -> Option<u64> {
    Some(part.wrapping_add(delta?.as_integer()?.cast_unsigned()))
}

impl<'a> Node<'a> {
    /// Opens a node; `None` when the listpack is not one.
    pub(super) fn open(base: StreamId, listpack: &'a Listpack) -> Option<Self> {
        let mut elements = listpack.iter();
        let live = count(elements.next())?;
        let deleted = count(elements.next())?;
        let field_count = count(elements.next())?;
        let names = elements;
        let first = skip(listpack, listpack.first()?, field_count.checked_add(4)?);
        Some(Self { listpack, base, names, field_count, first, live, deleted })
    }

    /// The entry at `at`.
    pub(super) fn entry(&self, at: Position) -> Option<Entry<'a>> {
        let mut elements = self.listpack.iter_from(at);
        let flags = elements.next()?.as_integer()?;
        let ms = offset(self.base.ms, elements.next())?;
        let seq = offset(self.base.seq, elements.next())?;
        let same_fields = flags & SAME_FIELDS != 0;
        let (names, left) = if same_fields {
            (Some(self.names.clone()), self.field_count)
        } else {
            (None, count(elements.next())?)
        };
        Some(Entry {
            id: StreamId { ms, seq },
            fields: Fields { names, values: elements, left },
            deleted: flags & DELETED != 0,
            at,
            same_fields,
        })
    }

    /// Where the entry of an id is that is not deleted.
    pub(super) fn find(&self, id: StreamId) -> Option<Position> {
        let mut at = self.first;
        while let Some(entry) = at.and_then(|at| self.entry(at)).filter(|entry| entry.id <= id) {
            if entry.id == id && !entry.deleted {
                return Some(entry.at);
            }
            at = self.after(&entry);
        }
        None
    }

    /// Where the entry after `entry` is, deleted or not.
    pub(super) fn after(&self, entry: &Entry<'_>) -> Option<Position> {
        skip(self.listpack, entry.at, entry_elements(entry.fields.left, entry.same_fields).checked_add(1)?)
    }

    /// Where the entry before the one at `at` is, deleted or not; `None` before the first.
    pub(super) fn before(&self, at: Position) -> Option<Position> {
        if Some(at) == self.first {
            return None;
        }
        self.ending_at(self.listpack.prev(at)?)
    }

    /// Where the last entry is, deleted or not.
    pub(super) fn last(&self) -> Option<Position> {
        self.first?;
        self.ending_at(self.listpack.last()?)
    }

    /// Where the entry is whose last element is at `end`.
    fn ending_at(&self, end: Position) -> Option<Position> {
        let mut at = end;
        for _ in 0..count(self.listpack.get(end))? {
            at = self.listpack.prev(at)?;
        }
        (at != end).then_some(at)
    }

    /// Whether the node's shared fields are these.
    fn has_fields<'v>(&self, mut fields: impl Iterator<Item = &'v [u8]>, field_count: usize) -> bool {
        self.field_count == field_count
            && self
                .names
                .clone()
                .take(field_count)
                .all(|name| fields.next().is_some_and(|other| name.equals(other)))
    }
}

/// Elements of an entry before the count that ends it.
fn entry_elements(fields: usize, same_fields: bool) -> usize {
    let values = if same_fields { fields } else { fields.saturating_mul(2).saturating_add(1) };
    values.saturating_add(ENTRY_HEAD)
}

fn skip(listpack: &Listpack, mut at: Position, elements: usize) -> Option<Position> {
    for _ in 0..elements {
        at = listpack.next(at)?;
    }
    Some(at)
}

/// A node with its first entry; `fields` are names and values in turn.
pub(super) fn create<'v>(fields: impl Iterator<Item = &'v [u8]> + Clone, field_count: usize) -> Listpack {
    let bytes = fields.clone().map(element_size).sum::<usize>();
    let mut builder = Builder::with_capacity(bytes + 32);
    for number in [1, 0, field_count as i64] {
        builder.push(number);
    }
    fields.clone().step_by(2).for_each(|name| builder.push(name));
    // The end of the shared fields, then the entry, whose id is the node's.
    for number in [0, SAME_FIELDS, 0, 0] {
        builder.push(number);
    }
    fields.skip(1).step_by(2).for_each(|value| builder.push(value));
    builder.push(entry_elements(field_count, true) as i64);
    builder.finish()
}

/// Adds an entry at the end of a node; `fields` are names and values in turn.
pub(super) fn append<'v>(
    listpack: &mut Listpack,
    base: StreamId,
    id: StreamId,
    fields: impl Iterator<Item = &'v [u8]> + Clone,
    field_count: usize,
) {
    let Some(node) = Node::open(base, listpack) else { return };
    let live = node.live;
    let same_fields = node.has_fields(fields.clone().step_by(2), field_count);
    let elements = entry_elements(field_count, same_fields);
    let mut values = Vec::with_capacity(elements + 1);
    values.push(Value::Int(if same_fields { SAME_FIELDS } else { 0 }));
    values.push(Value::Int(id.ms.wrapping_sub(base.ms).cast_signed()));
    values.push(Value::Int(id.seq.wrapping_sub(base.seq).cast_signed()));
    if same_fields {
        values.extend(fields.skip(1).step_by(2).map(Value::Bytes));
    } else {
        values.push(Value::Int(field_count as i64));
        values.extend(fields.map(Value::Bytes));
    }
    values.push(Value::Int(elements as i64));
    listpack.extend(&values);
    set_counts(listpack, live + 1, None);
}

/// Marks entries as deleted, at least one of which stays alive in the node.
pub(super) fn mark_deleted(listpack: &mut Listpack, base: StreamId, entries: &[Position]) {
    let Some((live, deleted)) = Node::open(base, listpack).map(|node| (node.live, node.deleted)) else {
        return;
    };
    for at in entries {
        // The flags stay one byte, so that the other positions stay where they are.
        let flags = listpack.get(*at).and_then(|flags| flags.as_integer()).unwrap_or_default();
        listpack.replace(*at, flags | DELETED);
    }
    set_counts(listpack, live.saturating_sub(entries.len()), Some(deleted + entries.len()));
}

fn set_counts(listpack: &mut Listpack, live: usize, deleted: Option<usize>) {
    let Some(first) = listpack.first() else { return };
    if let (Some(second), Some(deleted)) = (listpack.next(first), deleted) {
        listpack.replace(second, deleted as i64);
    }
    listpack.replace(first, live as i64);
}

/// Checks every element of a listpack that came from a file; gives the number of live entries.
pub(super) fn validate(listpack: &Listpack) -> Option<u64> {
    let mut elements = listpack.iter();
    let (live, deleted) = (count(elements.next())?, count(elements.next())?);
    let field_count = count(elements.next())?;
    pass(&mut elements, field_count)?;
    if elements.next()?.as_integer()? != 0 {
        return None;
    }
    let mut seen = [0, 0];
    while let Some(flags) = elements.next() {
        let flags = flags.as_integer()?;
        elements.next()?.as_integer()?;
        elements.next()?.as_integer()?;
        let same_fields = flags & SAME_FIELDS != 0;
        let fields = if same_fields { field_count } else { count(elements.next())? };
        pass(&mut elements, if same_fields { fields } else { fields.checked_mul(2)? })?;
        if count(elements.next())? != entry_elements(fields, same_fields) {
            return None;
        }
        let kind = usize::from(flags & DELETED != 0);
        *seen.get_mut(kind)? += 1;
    }
    (seen == [live, deleted]).then_some(live as u64)
}

/// Passes over elements that must be there.
fn pass(elements: &mut Iter<'_>, count: usize) -> Option<()> {
    match count.checked_sub(1) {
        None => Some(()),
        Some(last) => elements.nth(last).map(drop),
    }
}
