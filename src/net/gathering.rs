//! How long the executor lets requests gather before it asks the reactor who has something to read.
//!
//! A turn of the loop costs about the same for one connection as for many. Where many are active and a few at a time have
//! something to read, the server is busy with turning. Network cards know the same of interrupts, and moderate them. So a
//! turn that served a small part of the active connections is followed by a pause that is no longer than the turn was: who
//! comes meanwhile waits for no more than as long as those before it took. Where few are active, or they come together
//! anyway, there is nothing to gain, and there is no pause.

use std::time::Duration;

/// Activity is counted over so long, in ns.
const PERIOD_NS: u64 = 1_000_000;
/// With fewer active connections there is nothing to wait for.
const ACTIVE_MIN: usize = 16;
/// A turn of more than one in so many of the active connections is not followed by a pause.
const SHARE: usize = 4;

/// The activity of the running period and of the one before.
#[derive(Debug)]
pub(super) struct Gathering {
    /// When the running period began, in ns of the executor's clock.
    began_ns: u64,
    period: u32,
    /// Connections that were read in the running period.
    active: usize,
    active_before: usize,
}

/// A turn that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndedTurn {
    /// When it ended, in ns of the executor's clock.
    pub(super) at_ns: u64,
    /// How long it took, in ns.
    pub(super) lasted_ns: u64,
    /// Connections that had something to read.
    pub(super) served: usize,
}

impl Gathering {
    /// Nobody is active yet.
    pub(super) fn new() -> Self {
        Self { began_ns: 0, period: 1, active: 0, active_before: 0 }
    }

    /// A connection is read that was last read in this period; gives the running one, to be remembered for it.
    #[inline]
    pub(super) fn count(&mut self, last_period: u32) -> u32 {
        self.active += usize::from(last_period != self.period);
        self.period
    }

    /// How long to wait after a turn, `most` at most.
    pub(super) fn pause_after(&mut self, turn: EndedTurn, most: Duration) -> Option<Duration> {
        self.begin_period(turn.at_ns);
        let few = self.active_before < ACTIVE_MIN || turn.served * SHARE > self.active_before;
        let pause = Duration::from_nanos(turn.lasted_ns).min(most);
        (turn.served > 0 && !few && !pause.is_zero()).then_some(pause)
    }

    /// Begins another period if the running one is over.
    fn begin_period(&mut self, now_ns: u64) {
        let age = now_ns.saturating_sub(self.began_ns);
        if age >= PERIOD_NS {
            // What was long ago says nothing of now.
            self.active_before = if age < 2 * PERIOD_NS { self.active } else { 0 };
            self.active = 0;
            self.began_ns = now_ns;
            self.period = self.period.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);

    fn turn(at_us: u64, lasted_us: u64, served: usize) -> EndedTurn {
        EndedTurn { at_ns: at_us * 1000, lasted_ns: lasted_us * 1000, served }
    }

    /// As many connections were active in the period before the running one, which began at 2 ms.
    fn after_activity(connections: usize) -> Gathering {
        let mut gathering = Gathering::new();
        gathering.pause_after(turn(1000, 0, 0), MOST);
        for _ in 0..2 {
            let mut last = vec![0; connections];
            last.iter_mut().for_each(|last| *last = gathering.count(*last));
            // Read again in the same period it is the same connection.
            last.iter_mut().for_each(|last| *last = gathering.count(*last));
            gathering.pause_after(turn(gathering.began_ns / 1000 + 1000, 0, 0), MOST);
        }
        gathering
    }

    #[test]
    fn a_pause_is_as_long_as_the_turn_and_limited() {
        let mut gathering = after_activity(40);
        assert_eq!(gathering.pause_after(turn(3100, 20, 2), MOST), Some(Duration::from_micros(20)));
        assert_eq!(gathering.pause_after(turn(3200, 200, 10), MOST), Some(MOST));
        assert_eq!(gathering.pause_after(turn(3200, 20, 2), Duration::ZERO), None);
    }

    #[test]
    fn where_few_are_active_or_many_come_together_there_is_no_pause() {
        assert_eq!(after_activity(15).pause_after(turn(3100, 20, 1), MOST), None);
        assert_eq!(after_activity(40).pause_after(turn(3100, 20, 11), MOST), None);
        assert_eq!(after_activity(40).pause_after(turn(3100, 20, 0), MOST), None);
    }

    #[test]
    fn activity_of_long_ago_does_not_count() {
        let mut gathering = after_activity(40);
        assert_eq!(gathering.pause_after(turn(9000, 20, 2), MOST), None);
    }
}
