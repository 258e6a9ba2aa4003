//! The timeout of blocking commands: seconds with a fraction, 0 for ever.

use crate::algorithms::numbers::{LongDouble, parse_i64};
use crate::resp::CommandError;

/// When a wait that begins at `now_ms` ends, Unix ms; `None` never. Fractions of a millisecond are rounded up.
///
/// # Errors
/// `timeout is not a float or out of range`, `timeout is out of range`, `timeout is negative`.
pub(super) fn deadline_ms(arg: &[u8], now_ms: i64) -> Result<Option<i64>, CommandError> {
    let seconds = LongDouble::parse(arg).ok_or(CommandError::TimeoutNotAFloat)?;
    let timeout_ms = seconds.times_rounded_up(1000);
    if timeout_ms > i128::from(i64::MAX) {
        return Err(CommandError::TimeoutOutOfRange);
    }
    if timeout_ms < 0 {
        return Err(CommandError::TimeoutNegative);
    }
    if timeout_ms == 0 {
        return Ok(None);
    }
    let deadline_ms = i64::try_from(i128::from(now_ms) + timeout_ms);
    deadline_ms.map(Some).map_err(|_| CommandError::TimeoutOutOfRange)
}

/// The same for a timeout in whole milliseconds (BLOCK of XREAD).
///
/// # Errors
/// `timeout is not an integer or out of range`, `timeout is out of range`, `timeout is negative`.
pub(super) fn deadline_of_ms(arg: &[u8], now_ms: i64) -> Result<Option<i64>, CommandError> {
    let timeout_ms = parse_i64(arg).ok_or(CommandError::TimeoutNotAnInteger)?;
    match timeout_ms {
        0 => Ok(None),
        1.. => now_ms.checked_add(timeout_ms).map(Some).ok_or(CommandError::TimeoutOutOfRange),
        _ => Err(CommandError::TimeoutNegative),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_with_a_fraction() {
        assert_eq!(deadline_ms(b"0", 500), Ok(None));
        assert_eq!(deadline_ms(b"-0", 500), Ok(None));
        assert_eq!(deadline_ms(b"1.5", 500), Ok(Some(2000)));
        assert_eq!(deadline_ms(b"0.0001", 500), Ok(Some(501)));
        assert_eq!(deadline_ms(b"-1", 500), Err(CommandError::TimeoutNegative));
        assert_eq!(deadline_ms(b"-inf", 500), Err(CommandError::TimeoutNegative));
        assert_eq!(deadline_ms(b"inf", 500), Err(CommandError::TimeoutOutOfRange));
        assert_eq!(deadline_ms(b"0x7FFFFFFFFFFFFF", 500), Err(CommandError::TimeoutOutOfRange));
        assert_eq!(deadline_ms(b"9223372036854775", 1000), Err(CommandError::TimeoutOutOfRange));
        assert_eq!(deadline_ms(b"abc", 500), Err(CommandError::TimeoutNotAFloat));
    }
}
