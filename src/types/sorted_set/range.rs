//! Ranges of scores and of members, as ZRANGEBYSCORE and ZRANGEBYLEX mean them.

use std::ops::Bound;

/// Scores from `min` to `max`. No bound is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// The lower end.
    pub min: Bound<f64>,
    /// The upper end.
    pub max: Bound<f64>,
}

impl ScoreRange {
    pub(super) fn reaches_min(&self, score: f64) -> bool {
        match self.min {
            Bound::Included(min) => score >= min,
            Bound::Excluded(min) => score > min,
            Bound::Unbounded => true,
        }
    }

    pub(super) fn stays_below_max(&self, score: f64) -> bool {
        match self.max {
            Bound::Included(max) => score <= max,
            Bound::Excluded(max) => score < max,
            Bound::Unbounded => true,
        }
    }
}

/// One end of a range of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before every member.
    BeforeAll,
    /// `+`: after every member.
    AfterAll,
    /// `[member`.
    Included(&'a [u8]),
    /// `(member`.
    Excluded(&'a [u8]),
}

/// Members from `min` to `max`, compared by their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexBound<'a>,
    /// The upper end.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    pub(super) fn reaches_min(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::BeforeAll => true,
            LexBound::AfterAll => false,
            LexBound::Included(min) => member >= min,
            LexBound::Excluded(min) => member > min,
        }
    }

    pub(super) fn stays_below_max(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::BeforeAll => false,
            LexBound::AfterAll => true,
            LexBound::Included(max) => member <= max,
            LexBound::Excluded(max) => member < max,
        }
    }
}
