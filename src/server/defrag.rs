//! Active defragmentation: what lies in slabs that are hardly used is moved together, for a share of the time.
//!
//! The cron looks at how much room in slabs is unused. Where that is too much a cycle begins: one pass over the
//! databases, the sources of scripts and the names of channels. It works in duties, a fraction of a millisecond each,
//! between which the event loop turns; their length and the waits between them make up the percentage that
//! `active-defrag-cycle-min` and `-max` leave open. Which allocations move, and where to, is `memory::Mover`'s to say.
//! Nothing holds an address of what is moved between two turns: look-ups keep positions, which stay. While a child
//! lives, nothing is moved, since each page would be copied.

use std::time::Duration;

use super::Server;
use crate::config::Config;
use crate::keyspace::{KeyTally, Keyspace};
use crate::memory::{Fragmentation, Mover};
use crate::structures::hash_table::Place;
use crate::sys::clock;

/// How long a duty may be at most while clients are served, in µs, unless `active-defrag-cycle-us` says more. A late turn
/// of the event loop is made up for up to this (Valkey: without limit).
const DUTY_MAX_US: u64 = 2000;
/// How long is waited for the end of a child.
const CHILD_POLL: Duration = Duration::from_millis(100);
/// At this interval figures are taken anew where the cron does not run, in µs.
const REFRESH_US: u64 = 100_000;

/// What a cycle goes over next.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Keys { database: usize, place: Place },
    Slots { database: usize, cursor: usize },
    Scripts(usize),
    Subscriptions(usize),
}

#[derive(Debug)]
struct Cycle {
    stage: Stage,
    started_us: u64,
    /// Since when its time counts in the statistics.
    counted_from_us: u64,
    hits_before: u64,
}

/// When duties are due, and how long they are.
#[derive(Debug, Default)]
struct Pace {
    percent: u64,
    /// When the last duty ended; `None` where the time since then does not count.
    ended_us: Option<u64>,
    /// Time that was taken beyond the share, in µs: it lengthens the waits.
    overdrawn_us: u64,
}

impl Pace {
    /// How long the duty that begins now may take, in µs: `least_us`, or more if the wait before it was long.
    fn duty_us(&mut self, percent: u64, least_us: u64, now_us: u64) -> u64 {
        if std::mem::replace(&mut self.percent, percent) != percent {
            self.ended_us = None;
        }
        let overdrawn_us = std::mem::take(&mut self.overdrawn_us);
        let Some(ended_us) = self.ended_us else { return least_us };
        let earned_us = percent * now_us.saturating_sub(ended_us) / (100 - percent);
        // A duty is never shorter, since each has its costs. What is not earned is waited for afterwards.
        self.overdrawn_us = (least_us + overdrawn_us).saturating_sub(earned_us).min(least_us + overdrawn_us);
        earned_us.saturating_sub(overdrawn_us).max(least_us)
    }

    /// How long to wait after a duty that was to end at `intended_us` and ended at `now_us`, in whole ms.
    fn wait(&mut self, least_us: u64, intended_us: u64, now_us: u64) -> Duration {
        self.ended_us = Some(now_us);
        self.overdrawn_us = (self.overdrawn_us + now_us).saturating_sub(intended_us);
        let others = 100 - self.percent;
        let wait_us = least_us * others / self.percent + self.overdrawn_us * others / 100;
        Duration::from_millis(wait_us / 1000)
    }
}

/// The state of defragmentation.
#[derive(Debug, Default)]
pub struct Defrag {
    mover: Mover,
    cycle: Option<Cycle>,
    /// The percentage of the time that it aims at; 0 while there is no cycle.
    percent: u32,
    /// The options differ from those that the percentage was computed with.
    options_changed: bool,
    /// Keys that were looked at.
    pub keys: KeyTally,
    /// The time of earlier cycles.
    earlier_us: u64,
    refreshed_us: u64,
    pace: Pace,
}

impl Defrag {
    /// Whether there is a cycle, and [`Server::defragment`] has to be called.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.cycle.is_some()
    }

    /// The percentage of the time that it aims at; 0 while there is no cycle.
    #[must_use]
    pub fn percent(&self) -> u32 {
        self.percent
    }

    /// Allocations that were moved, and such that were not.
    #[must_use]
    pub fn allocations(&self) -> (u64, u64) {
        (self.mover.hits, self.mover.misses)
    }

    /// How long cycles have taken, in ms: all of them, and the present one.
    #[must_use]
    pub fn milliseconds(&self) -> (u64, u64) {
        let of_cycle = |cycle: &Cycle| clock::monotonic_us().saturating_sub(cycle.counted_from_us);
        let current_us = self.cycle.as_ref().map_or(0, of_cycle);
        ((self.earlier_us + current_us) / 1000, current_us / 1000)
    }

    /// Has the percentage computed anew, even if it becomes less.
    pub fn options_changed(&mut self) {
        self.options_changed = true;
    }

    /// CONFIG RESETSTAT.
    pub fn reset_statistics(&mut self) {
        (self.mover.hits, self.mover.misses) = (0, 0);
        self.keys = KeyTally::default();
        self.earlier_us = 0;
        if let Some(cycle) = &mut self.cycle {
            cycle.counted_from_us = clock::monotonic_us();
            cycle.hits_before = 0;
        }
    }

    fn refresh(&mut self) -> Fragmentation {
        self.refreshed_us = clock::monotonic_us();
        self.mover.refresh()
    }

    /// Decides whether there is anything to do, and how hard to try (Valkey: `updateDefragCpuPercent`).
    fn decide(&mut self, config: &Config) {
        let found = self.refresh();
        let lower = f64::from(config.active_defrag_threshold_lower);
        let enough = found.percent >= lower && found.bytes as u64 >= config.active_defrag_ignore_bytes;
        if self.percent == 0 && !enough {
            return;
        }
        let percent = effort(found.percent, config);
        // Less is not tried harder for as fragmentation goes down, but for other options.
        if percent <= self.percent && !self.options_changed {
            return;
        }
        self.options_changed = false;
        let begins = if self.is_running() { "Changing active defrag CPU" } else { "Starting active defrag" };
        let Fragmentation { bytes, percent: fragmentation } = found;
        tracing::debug!("{begins}, frag={fragmentation:.0}%, frag_bytes={bytes}, cpu={percent}%");
        self.percent = percent;
    }

    fn begin_cycle(&mut self) {
        self.mover.begin_cycle();
        let now_us = clock::monotonic_us();
        let stage = Stage::Keys { database: 0, place: Place::default() };
        self.cycle =
            Some(Cycle { stage, started_us: now_us, counted_from_us: now_us, hits_before: self.mover.hits });
        self.pace = Pace::default();
    }

    fn end_cycle(&mut self) {
        let Some(cycle) = self.cycle.take() else { return };
        let Fragmentation { bytes, percent } = self.refresh();
        let now_us = clock::monotonic_us();
        tracing::debug!(
            "Active defrag done in {}ms, reallocated={}, frag={percent:.0}%, frag_bytes={bytes}",
            now_us.saturating_sub(cycle.started_us) / 1000,
            self.mover.hits.saturating_sub(cycle.hits_before),
        );
        self.earlier_us += now_us.saturating_sub(cycle.counted_from_us);
        self.percent = 0;
    }
}

/// The percentage of the time for this much fragmentation, in percent: between the least and the most as that is between
/// the thresholds.
fn effort(fragmentation: f64, config: &Config) -> u32 {
    let (least, most) = (config.active_defrag_cycle_min, config.active_defrag_cycle_max);
    let lower = f64::from(config.active_defrag_threshold_lower);
    let upper = f64::from(config.active_defrag_threshold_upper);
    if fragmentation >= upper || upper <= lower {
        return most;
    }
    let part = (fragmentation - lower) / (upper - lower);
    let wanted = f64::from(least) + part * (f64::from(most) - f64::from(least));
    (wanted as u32).min(most).max(least)
}

impl Server {
    /// Begins a cycle where there is too much unused room, and adapts the effort of one under way. To be called by the
    /// cron.
    pub(super) fn watch_fragmentation(&mut self) {
        if !self.config.activedefrag || self.persistence.has_child() {
            return;
        }
        self.defrag.decide(&self.config);
        if self.defrag.percent > 0 && !self.defrag.is_running() {
            self.defrag.begin_cycle();
        }
    }

    /// One duty of the cycle under way, between two turns of the event loop; gives after which time the next one is due,
    /// `None` where there is no cycle any more.
    pub fn defragment(&mut self, keyspace: &mut Keyspace) -> Option<Duration> {
        let longest_us = if self.persistence.is_loading() { u64::MAX } else { DUTY_MAX_US };
        self.defragment_for(keyspace, longest_us)
    }

    /// Makes up for all duties that were due while the event loop did not turn. To be called now and then by what keeps
    /// it from turning.
    pub fn defragment_while_blocked(&mut self, keyspace: &mut Keyspace) {
        let is_stale = clock::monotonic_us().saturating_sub(self.defrag.refreshed_us) >= REFRESH_US;
        if !self.defrag.is_running() || is_stale {
            self.watch_fragmentation();
        }
        self.defragment_for(keyspace, u64::MAX);
    }

    fn defragment_for(&mut self, keyspace: &mut Keyspace, longest_us: u64) -> Option<Duration> {
        if !self.defrag.is_running() {
            return None;
        }
        if !self.config.activedefrag {
            self.defrag.end_cycle();
            return None;
        }
        if self.persistence.has_child() {
            self.defrag.pace.ended_us = None;
            return Some(CHILD_POLL);
        }
        let least_us = u64::from(self.config.active_defrag_cycle_us);
        let started_us = clock::monotonic_us();
        let duty_us = self.defrag.pace.duty_us(u64::from(self.defrag.percent), least_us, started_us);
        let intended_us = started_us.saturating_add(duty_us.min(longest_us.max(least_us)));
        let is_through = loop {
            if self.defragment_some(keyspace) {
                break true;
            }
            if clock::monotonic_us() >= intended_us {
                break false;
            }
        };
        let now_us = clock::monotonic_us();
        self.note_latency_of("active-defrag-cycle", now_us - started_us);
        if !is_through {
            return Some(self.defrag.pace.wait(least_us, intended_us, now_us));
        }
        self.defrag.end_cycle();
        self.watch_fragmentation();
        self.defrag.is_running().then_some(Duration::ZERO)
    }

    /// One step of the cycle under way; says whether it was the last one.
    fn defragment_some(&mut self, keyspace: &mut Keyspace) -> bool {
        let Defrag { mover, cycle: Some(cycle), keys, .. } = &mut self.defrag else { return true };
        mover.begin_step();
        cycle.stage = match cycle.stage {
            Stage::Keys { database, place } => match keyspace.databases_mut().get_mut(database) {
                None => Stage::Scripts(0),
                Some(present) => {
                    let whole_max =
                        usize::try_from(self.config.active_defrag_max_scan_fields).unwrap_or(usize::MAX);
                    match present.relocate(place, mover, whole_max, keys) {
                        Some(place) => Stage::Keys { database, place },
                        None => Stage::Slots { database, cursor: 0 },
                    }
                }
            },
            Stage::Slots { database, cursor } => {
                let present = keyspace.databases_mut().get_mut(database);
                match present.map_or(0, |present| present.relocate_slots(cursor, mover)) {
                    0 => Stage::Keys { database: database + 1, place: Place::default() },
                    cursor => Stage::Slots { database, cursor },
                }
            }
            Stage::Scripts(cursor) => match self.scripting.relocate_sources(cursor, mover) {
                0 => Stage::Subscriptions(0),
                next => Stage::Scripts(next),
            },
            Stage::Subscriptions(cursor) => match self.pubsub.relocate(&mut self.clients, cursor, mover) {
                0 => return true,
                next => Stage::Subscriptions(next),
            },
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_follows_fragmentation_between_the_thresholds() {
        let config = Config {
            active_defrag_threshold_lower: 10,
            active_defrag_threshold_upper: 110,
            active_defrag_cycle_min: 5,
            active_defrag_cycle_max: 25,
            ..Config::default()
        };
        let efforts = [5.0, 10.0, 60.0, 110.0, 400.0].map(|percent| effort(percent, &config));
        assert_eq!(efforts, [5, 5, 15, 25, 25]);
        let same = Config { active_defrag_threshold_upper: 10, ..config };
        assert_eq!(effort(10.0, &same), 25);
    }

    #[test]
    fn duties_and_waits_make_up_the_percentage() {
        for percent in [1, 25, 60, 90] {
            let (mut pace, mut now_us, mut worked_us, mut waited_us) = (Pace::default(), 0, 0, 0);
            for turn in 0..2000 {
                let duty_us = pace.duty_us(percent, 500, now_us);
                assert!(duty_us >= 500);
                // Some duties take longer than they should, and every wait does.
                let took_us = duty_us + if turn % 5 == 0 { 300 } else { 0 };
                let intended_us = now_us + duty_us;
                now_us += took_us;
                let wait_us = pace.wait(500, intended_us, now_us).as_micros() as u64 + 40;
                now_us += wait_us;
                worked_us += took_us;
                waited_us += wait_us;
            }
            let share = worked_us * 1000 / (worked_us + waited_us);
            assert!(share.abs_diff(percent * 10) <= percent, "{percent} %: {share} in a thousand");
        }
    }

    #[test]
    fn a_long_wait_is_made_up_for() {
        let mut pace = Pace::default();
        assert_eq!(pace.duty_us(50, 500, 0), 500);
        pace.wait(500, 500, 500);
        assert_eq!(pace.duty_us(50, 500, 100_500), 100_000);
    }
}
