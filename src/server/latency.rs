//! The latency monitor: for each kind of event, its latest samples of one second each (LATENCY).

use crate::memory::{box_usage, vec_usage};

/// Samples kept of an event.
const SAMPLES: usize = 160;

/// The longest occurrence of an event in one second.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Unix s.
    pub time: i64,
    /// How long it took, ms.
    pub milliseconds: u64,
}

/// The history of one kind of event.
#[derive(Debug)]
pub struct Series {
    samples: [Sample; SAMPLES],
    next: usize,
    /// Longest ever, ms.
    pub longest: u64,
    /// Sum of all, ms.
    pub sum: u64,
    /// Number of all.
    pub count: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { samples: [Sample::default(); SAMPLES], next: 0, longest: 0, sum: 0, count: 0 }
    }
}

impl Series {
    fn add(&mut self, milliseconds: u64, time: i64) {
        self.longest = self.longest.max(milliseconds);
        self.sum += milliseconds;
        self.count += 1;
        let last = &mut self.samples[(self.next + SAMPLES - 1) % SAMPLES];
        if last.time == time {
            last.milliseconds = last.milliseconds.max(milliseconds);
            return;
        }
        self.samples[self.next] = Sample { time, milliseconds };
        self.next = (self.next + 1) % SAMPLES;
    }

    /// The samples, oldest first; there is at least one.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let (newer, older) = self.samples.split_at(self.next);
        older.iter().chain(newer).copied().filter(|sample| sample.time != 0).collect()
    }

    /// The newest sample.
    #[must_use]
    pub fn latest(&self) -> Sample {
        self.samples[(self.next + SAMPLES - 1) % SAMPLES]
    }
}

/// The histories of all events.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    /// In the order of their names.
    events: Vec<(&'static str, Box<Series>)>,
}

impl LatencyMonitor {
    /// Takes note of an event that took at least `threshold_ms`; 0 keeps nothing.
    #[inline]
    pub fn note(&mut self, threshold_ms: i64, event: &'static str, microseconds: u64, now_ms: i64) {
        let milliseconds = microseconds / 1000;
        if threshold_ms > 0 && milliseconds >= threshold_ms.cast_unsigned() {
            let at = self.events.binary_search_by_key(&event, |(known, _)| known).unwrap_or_else(|at| {
                self.events.insert(at, (event, Box::default()));
                at
            });
            self.events[at].1.add(milliseconds, now_ms / 1000);
        }
    }

    /// The history of an event; its name in any case.
    #[must_use]
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, &Series)> {
        self.events().find(|(event, _)| event.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Every event that was seen, by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Series)> {
        self.events.iter().map(|(event, series)| (*event, series.as_ref()))
    }

    /// Forgets events: those that `forgotten` says yes to. Gives how many.
    pub fn reset(&mut self, mut forgotten: impl FnMut(&str) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|(event, _)| !forgotten(event));
        before - self.events.len()
    }

    /// Heap bytes of the histories; the names are few and of the program.
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        vec_usage(&self.events) + self.events.len() * box_usage::<Series>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn one_sample_a_second_keeps_the_longest() {
        let mut monitor = LatencyMonitor::default();
        monitor.note(10, "command", 9_999, 1_000);
        for (milliseconds, now_ms) in [(20, 5_000), (50, 5_500), (30, 5_900), (11, 7_000)] {
            monitor.note(10, "command", milliseconds * 1000, now_ms);
        }
        let (_, series) = monitor.event(b"COMMAND").unwrap();
        let samples: Vec<_> = series.samples().iter().map(|s| (s.time, s.milliseconds)).collect();
        assert_eq!(samples, [(5, 50), (7, 11)]);
        assert_eq!((series.longest, series.sum, series.count), (50, 111, 4));
    }

    #[test]
    fn old_samples_make_room() {
        let mut monitor = LatencyMonitor::default();
        for second in 1..=200 {
            monitor.note(1, "fork", 2_000, second * 1000);
        }
        let samples = monitor.event(b"fork").unwrap().1.samples();
        assert_eq!((samples.len(), samples[0].time, samples[159].time), (SAMPLES, 41, 200));
    }

    #[test]
    fn a_threshold_of_zero_keeps_nothing() {
        let mut monitor = LatencyMonitor::default();
        monitor.note(0, "command", 1_000_000, 1_000);
        assert_eq!(monitor.events().len(), 0);
    }
}
