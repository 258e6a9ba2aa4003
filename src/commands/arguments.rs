//! Small parsers that every family uses: option words, integers, doubles, ranges, databases.
//!
//! Each gives the error that Valkey gives for the same mistake.

use std::ops::Range;

use crate::algorithms::numbers::{parse_f64, parse_i64};
use crate::resp::CommandError;
use crate::server::Context;

/// Whether an argument is this option word, in any case of letters.
#[inline]
#[must_use]
pub(super) fn is_word(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A 64-bit integer.
///
/// # Errors
/// `value is not an integer or out of range`.
#[inline]
pub(super) fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NotAnInteger)
}

/// A 64-bit integer from `min` to `max`; whatever else it is, the error is `otherwise`.
///
/// # Errors
/// `otherwise`.
pub(super) fn integer_within(
    arg: &[u8],
    range: std::ops::RangeInclusive<i64>,
    otherwise: CommandError,
) -> Result<i64, CommandError> {
    parse_i64(arg).filter(|value| range.contains(value)).ok_or(otherwise)
}

/// An integer of 32 bits, as Valkey's C `int`.
///
/// # Errors
/// `value is not an integer or out of range`; beyond 32 bits the text that names the limits.
pub(super) fn small_integer(arg: &[u8]) -> Result<i32, CommandError> {
    let limits = CommandError::OutOfLimits(i32::MIN.into(), i32::MAX.into());
    i32::try_from(integer(arg)?).map_err(|_| limits)
}

/// A count that is not negative.
///
/// # Errors
/// `value is out of range, must be positive`; that of [`integer`] for what is no number.
pub(super) fn count(arg: &[u8]) -> Result<usize, CommandError> {
    let value = parse_i64(arg).ok_or(CommandError::NotPositive)?;
    usize::try_from(value).map_err(|_| CommandError::NotPositive)
}

/// A double.
///
/// # Errors
/// `value is not a valid float`.
pub(super) fn double(arg: &[u8]) -> Result<f64, CommandError> {
    parse_f64(arg).ok_or(CommandError::NotAFloat)
}

/// The number of a database that exists.
///
/// # Errors
/// Those of [`small_integer`]; `DB index is out of range`.
pub(super) fn database(cx: &Context<'_>, arg: &[u8]) -> Result<usize, CommandError> {
    usize::try_from(small_integer(arg)?)
        .ok()
        .filter(|index| *index < cx.keys.keyspace.databases().len())
        .ok_or(CommandError::DbIndexOutOfRange)
}

/// The elements from `start` to `end` (both included, negative from the end) of `len`; empty when there are none.
#[must_use]
pub(super) fn range(start: i64, end: i64, len: usize) -> Range<usize> {
    let length = i64::try_from(len).unwrap_or(i64::MAX);
    let absolute = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let crossed = start < 0 && end < 0 && start > end;
    let (start, end) = (absolute(start), absolute(end).min(length - 1));
    if crossed || start > end || length == 0 {
        return 0..0;
    }
    start as usize..end as usize + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_count_from_both_ends() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(-3, -2, 5), 2..4);
        assert_eq!(range(1, 100, 5), 1..5);
        assert_eq!(range(-100, 1, 5), 0..2);
        assert_eq!(range(-1, -5, 5), 0..0);
        assert_eq!(range(3, 2, 5), 0..0);
        assert_eq!(range(5, 10, 5), 0..0);
        assert_eq!(range(0, -1, 0), 0..0);
        assert_eq!(range(-100, -100, 5), 0..1);
        assert_eq!(range(i64::MIN, i64::MAX, 3), 0..3);
    }

    #[test]
    fn numbers_are_refused_in_valkeys_words() {
        assert_eq!(integer(b"12"), Ok(12));
        assert_eq!(integer(b" 12"), Err(CommandError::NotAnInteger));
        assert_eq!(
            small_integer(b"4294967296"),
            Err(CommandError::OutOfLimits(i32::MIN.into(), i32::MAX.into()))
        );
        assert_eq!(count(b"-1"), Err(CommandError::NotPositive));
        assert_eq!(double(b"1e400"), Err(CommandError::NotAFloat));
    }
}
