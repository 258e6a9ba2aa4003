//! How long one command took, as a histogram of fixed size: two significant digits from 1 ns to 1 s, as Valkey keeps it.

use hdrhistogram::Histogram;

use crate::memory::{MemoryUsage, box_usage, usable_size};

const LONGEST_NS: u64 = 1_000_000_000;
const DIGITS: u8 = 2;

/// The distribution of a command's durations.
#[derive(Debug)]
pub struct LatencyHistogram(Histogram<u64>);

impl LatencyHistogram {
    /// An empty one; `None` if the bounds were refused, which they are not.
    #[must_use]
    pub fn new() -> Option<Self> {
        Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).ok().map(Self)
    }

    /// Takes note of a duration; anything above a second counts as one second.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.clamp(1, LONGEST_NS));
    }

    /// Durations recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration in microseconds that this percentage of calls did not exceed.
    #[must_use]
    pub fn percentile_us(&self, percentage: f64) -> f64 {
        self.0.value_at_percentile(percentage) as f64 / 1000.0
    }

    /// Upper bounds in microseconds, each twice the one before, with how many calls stayed within; bounds that add
    /// no call are left out.
    #[must_use]
    pub fn cumulative_us(&self) -> Vec<(u64, u64)> {
        /// The first bound, in nanoseconds.
        const FIRST_NS: u64 = 1024;
        let mut steps = Vec::new();
        let mut reached = 0;
        for step in self.0.iter_log(FIRST_NS, 2.0) {
            if step.count_since_last_iteration() > 0 {
                reached += step.count_since_last_iteration();
                steps.push((self.0.highest_equivalent(step.value_iterated_to()) / 1000, reached));
            }
        }
        steps
    }
}

impl MemoryUsage for LatencyHistogram {
    fn memory_usage(&self) -> usize {
        box_usage::<Self>() + usable_size(self.0.distinct_values() * size_of::<u64>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::allocated_bytes;

    #[test]
    fn percentiles_are_of_two_digits() {
        let mut histogram = LatencyHistogram::new().unwrap();
        histogram.record(21_000);
        assert_eq!(histogram.percentile_us(50.0), 21.119);
        assert_eq!(histogram.count(), 1);
    }

    #[test]
    fn steps_are_cumulative() {
        let mut histogram = LatencyHistogram::new().unwrap();
        for nanoseconds in [500, 1500, 1600, 100_000] {
            histogram.record(nanoseconds);
        }
        let steps = histogram.cumulative_us();
        assert_eq!(steps.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn it_weighs_what_was_allocated() {
        let before = allocated_bytes();
        let histogram = Box::new(LatencyHistogram::new().unwrap());
        assert_eq!(allocated_bytes() - before, histogram.memory_usage());
    }
}
