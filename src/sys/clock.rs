//! The time. Read once for each batch of commands, then handed down: no lower layer asks for it itself.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Wall-clock time in milliseconds since 1970; what expiries are compared with.
#[must_use]
pub fn unix_ms() -> i64 {
    unix_us() / 1000
}

/// Wall-clock time in microseconds since 1970.
#[must_use]
pub fn unix_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

/// Microseconds on a clock that never goes back; what durations are measured with.
#[must_use]
pub fn monotonic_us() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward_and_agree_on_units() {
        let (wall, steady) = (unix_us(), monotonic_us());
        assert!(wall > 1_600_000_000_000_000);
        assert!((unix_ms() - wall / 1000).abs() < 10_000);
        assert!(monotonic_us() >= steady);
    }
}
