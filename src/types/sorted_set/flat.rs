//! A small sorted set: one listpack of member, score, member, score ... in order.
//!
//! Scores are elements as Valkey writes them: integers up to 2^62 as integers (so that -0 becomes 0), all others as text.
//! Invariant: an even number of elements, every score readable; the codec holds it for listpacks of files.
#![deny(clippy::indexing_slicing)]

use super::FlatLimits;
use crate::algorithms::numbers::{FloatText, format_f64, parse_f64};
use crate::structures::listpack::{self, Listpack, Position, Value};
use crate::structures::scored_members::ScoredMembers;

/// The largest absolute value that is stored as an integer.
const LARGEST_INTEGER: f64 = (i64::MAX / 2) as f64;

/// A score as an element.
pub(super) enum ScoreElement {
    Integer(i64),
    Text(FloatText),
}

impl ScoreElement {
    pub(super) fn new(score: f64) -> Self {
        if score.abs() <= LARGEST_INTEGER && score.trunc() == score {
            Self::Integer(score as i64)
        } else {
            Self::Text(format_f64(score))
        }
    }

    /// Lends the element's value.
    pub(super) fn with<R>(&self, use_value: impl FnOnce(Value<'_>) -> R) -> R {
        match self {
            Self::Integer(integer) => use_value(Value::Int(*integer)),
            Self::Text(text) => use_value(Value::Bytes(text.as_bytes())),
        }
    }
}

/// The score that an element is, if it is one.
pub(super) fn score_of(element: Value<'_>) -> Option<f64> {
    match element {
        Value::Int(integer) => Some(integer as f64),
        Value::Bytes(text) => parse_f64(text),
    }
}

/// The members and scores, from either end.
#[derive(Clone)]
pub(super) struct Pairs<'a>(listpack::Iter<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (Value<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.0.next()?;
        Some((member, score_of(self.0.next()?)?))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let score = score_of(self.0.next_back()?)?;
        Some((self.0.next_back()?, score))
    }
}

pub(super) fn pairs(listpack: &Listpack) -> Pairs<'_> {
    Pairs(listpack.iter())
}

/// The pairs from this rank on, which must be there.
pub(super) fn pairs_from(listpack: &Listpack, rank: usize) -> Pairs<'_> {
    match listpack.at(2 * rank as i64) {
        Some(position) => Pairs(listpack.iter_from(position)),
        None => pairs(listpack),
    }
}

/// Hands over members as bytes.
pub(super) fn for_each<'a>(pairs: impl Iterator<Item = (Value<'a>, f64)>, mut visit: impl FnMut(&[u8], f64)) {
    let mut digits = itoa::Buffer::new();
    for (member, score) in pairs {
        visit(member.as_bytes(&mut digits), score);
    }
}

pub(super) fn len(listpack: &Listpack) -> usize {
    listpack.len() / 2
}

/// Whether one more member keeps within the limits of a listpack.
pub(super) fn takes(listpack: &Listpack, member: &[u8], limits: FlatLimits) -> bool {
    len(listpack) < limits.entries
        && member.len() <= limits.value_bytes
        && listpack.has_room_for(member.len())
}

/// Where a member is, and its score.
pub(super) fn find(listpack: &Listpack, member: &[u8]) -> Option<(Position, f64)> {
    let position = listpack.find(listpack.first()?, member, 2)?;
    let score = listpack.get(listpack.next(position)?)?;
    Some((position, score_of(score)?))
}

/// Removes the pair at `position`.
pub(super) fn remove_at(listpack: &mut Listpack, position: Position) {
    listpack.remove_from(position, 2);
}

/// Puts a member that is not there into its place.
pub(super) fn insert(listpack: &mut Listpack, member: &[u8], score: f64) {
    let place = first_after(listpack, member, score);
    ScoreElement::new(score).with(|score| listpack.insert_all_before(place, &[Value::Bytes(member), score]));
}

fn first_after(listpack: &Listpack, member: &[u8], score: f64) -> Option<Position> {
    let mut digits = itoa::Buffer::new();
    let mut position = listpack.first();
    while let Some(at) = position {
        let score_at = listpack.next(at)?;
        let present = score_of(listpack.get(score_at)?)?;
        if present > score || (present == score && listpack.get(at)?.as_bytes(&mut digits) > member) {
            return Some(at);
        }
        position = listpack.next(score_at);
    }
    None
}

/// How many members come before this one, and its score.
pub(super) fn rank(listpack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    pairs(listpack)
        .enumerate()
        .find(|(_, (present, _))| present.equals(member))
        .map(|(rank, (_, score))| (rank, score))
}

/// How many of the first members satisfy `wanted`.
pub(super) fn count_while(listpack: &Listpack, wanted: impl Fn(&[u8], f64) -> bool) -> usize {
    let mut digits = itoa::Buffer::new();
    pairs(listpack).take_while(|(member, score)| wanted(member.as_bytes(&mut digits), *score)).count()
}

/// The listpack of these members; `None` when they are too many bytes for one.
pub(super) fn from_members(members: &ScoredMembers) -> Option<Listpack> {
    let bytes = members.range(0..members.len()).map(|(member, _)| member.len()).sum();
    if !Listpack::new().has_room_for(bytes) {
        return None;
    }
    let mut builder = listpack::Builder::with_capacity(bytes + 8 * members.len());
    for (member, score) in members.range(0..members.len()) {
        super::push_pair(&mut builder, member, score);
    }
    Some(builder.finish())
}
