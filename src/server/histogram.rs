//! How long one command took, as a histogram of fixed size: two significant digits from 1 ns to 1 s, as Valkey keeps it.

use hdrhistogram::Histogram;

use crate::memory::{MemoryUsage, usable_size};

const LONGEST_NS: u64 = 1_000_000_000;
const DIGITS: u8 = 2;
/// Counts of each power of two, so many that two digits are kept: the smaller half of an HDR histogram's sub-buckets.
const PER_OCTAVE: u64 = 128;
/// Counts up to that of the longest duration.
const COUNTS: usize = index_of(LONGEST_NS) + 1;

/// The distribution of a command's durations. Recording happens for every command and is done here, into the counts that
/// an HDR histogram has; that itself is made of them when somebody asks.
#[derive(Debug)]
pub struct LatencyHistogram(Box<[u64; COUNTS]>);

/// The count of a duration in nanoseconds.
#[inline]
const fn index_of(nanoseconds: u64) -> usize {
    let shift = (nanoseconds | PER_OCTAVE).ilog2() - PER_OCTAVE.ilog2();
    (shift as u64 * PER_OCTAVE + (nanoseconds >> shift)) as usize
}

/// The shortest duration that an index counts.
const fn shortest_at(index: usize) -> u64 {
    let shift = (index as u64 / PER_OCTAVE).saturating_sub(1);
    (index as u64 - shift * PER_OCTAVE) << shift
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self(Box::new([0; COUNTS]))
    }
}

impl LatencyHistogram {
    /// Takes note of a duration; anything above a second counts as one second.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0[index_of(nanoseconds.clamp(1, LONGEST_NS))] += 1;
    }

    /// What was recorded, to be asked; `None` if its bounds were refused, which they are not.
    #[must_use]
    pub fn distribution(&self) -> Option<Distribution> {
        let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).ok()?;
        for (index, &count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(shortest_at(index), count);
        }
        Some(Distribution(histogram))
    }
}

/// A command's durations at one instant.
#[derive(Debug)]
pub struct Distribution(Histogram<u64>);

impl Distribution {
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
        usable_size(size_of_val(&*self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::allocated_bytes;

    fn distribution_of(durations: &[u64]) -> Distribution {
        let mut histogram = LatencyHistogram::default();
        durations.iter().for_each(|&nanoseconds| histogram.record(nanoseconds));
        histogram.distribution().unwrap()
    }

    #[test]
    fn percentiles_are_of_two_digits() {
        let distribution = distribution_of(&[21_000]);
        assert_eq!(distribution.percentile_us(50.0), 21.119);
        assert_eq!(distribution.count(), 1);
    }

    #[test]
    fn each_duration_falls_where_an_hdr_histogram_puts_it() {
        let mut nanoseconds = 1;
        while nanoseconds < 3 * LONGEST_NS {
            let mut reference = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, DIGITS).unwrap();
            reference.saturating_record(nanoseconds.min(LONGEST_NS));
            assert_eq!(distribution_of(&[nanoseconds]).0, reference, "{nanoseconds}");
            nanoseconds += 1 + nanoseconds / 37;
        }
    }

    #[test]
    fn steps_are_cumulative() {
        let steps = distribution_of(&[500, 1500, 1600, 100_000]).cumulative_us();
        assert_eq!(steps.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn it_weighs_what_was_allocated() {
        let before = allocated_bytes();
        let histogram = LatencyHistogram::default();
        assert_eq!(allocated_bytes() - before, histogram.memory_usage());
    }
}
