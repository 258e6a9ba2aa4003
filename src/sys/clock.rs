//! The time. Read once for each batch of commands, then handed down: no lower layer asks for it itself.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Has the kernel end this thread's sleeps when they are over: by default it may let them last 50 microseconds longer.
///
/// # Errors
/// The kernel's.
pub fn wake_in_time() -> nix::Result<()> {
    nix::sys::prctl::set_timerslack(1)
}

/// A reading of the cheapest clock there is, for [`nanoseconds_between`].
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 has the time stamp counter.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        monotonic_us() * 1000
    }
}

/// Nanoseconds between two readings of [`ticks`].
#[inline]
#[must_use]
pub fn nanoseconds_between(start: u64, end: u64) -> u64 {
    ((u128::from(end.saturating_sub(start)) * u128::from(scale())) >> SCALE_BITS) as u64
}

const SCALE_BITS: u32 = 24;

/// Nanoseconds per tick, as a fixed-point number of 24 fractional bits; measured once over a few milliseconds.
#[cfg(target_arch = "x86_64")]
fn scale() -> u64 {
    static SCALE: OnceLock<u64> = OnceLock::new();
    *SCALE.get_or_init(|| {
        let (start, begun) = (ticks(), Instant::now());
        std::thread::sleep(Duration::from_millis(5));
        let (end, elapsed) = (ticks(), begun.elapsed());
        let ticks = u128::from(end.saturating_sub(start)).max(1);
        ((elapsed.as_nanos() << SCALE_BITS) / ticks).max(1) as u64
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn scale() -> u64 {
    1 << SCALE_BITS
}

/// Measures what [`nanoseconds_between`] needs. To be called once at startup, that no command waits for it.
pub fn calibrate() {
    let _ = scale();
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

    #[test]
    fn ticks_agree_with_the_monotonic_clock() {
        calibrate();
        let (start, begun) = (ticks(), Instant::now());
        while begun.elapsed() < Duration::from_millis(20) {}
        let (measured, real) = (nanoseconds_between(start, ticks()), begun.elapsed().as_nanos() as u64);
        assert!(measured.abs_diff(real) < real / 5, "{measured} against {real}");
    }
}
