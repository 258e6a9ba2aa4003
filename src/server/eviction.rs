//! The memory limit: what counts towards it, and making room when it is exceeded (Valkey: `maxmemory` and its kin).
//!
//! Room is made before a command runs, for as long as `maxmemory-eviction-tenacity` allows. If that is not long enough,
//! the event loop goes on between its batches, a slice of the same length at a time.

use std::time::Duration;

use super::{Engine, Server, events};
use crate::config::{Config, MaxmemoryPolicy};
use crate::keyspace::{EvictionOrder, EvictionPolicy};
use crate::memory::allocated_bytes;
use crate::sys::clock;

/// Keys that go between two looks at the time and at what other threads have freed.
const KEYS_PER_LOOK: u64 = 16;
/// The longest nap while the helper thread frees what was given to it.
const NAP_US: u64 = 1000;
/// Up to this tenacity the limit of time grows evenly, above it by a constant factor.
const EVEN_TENACITY: u32 = 10;
const STEP_US: u64 = 50;
const FACTOR: f64 = 1.15;
/// The tenacity that knows no limit.
const WHATEVER_IT_TAKES: u32 = 100;

/// How the memory in use stands to the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Within the limit, or it does not apply now.
    Enough,
    /// Over it; more will be evicted soon.
    Coming,
    /// Over it, and nothing is left that may be evicted.
    None,
}

/// What the limit has led to.
#[derive(Debug, Default)]
pub struct Eviction {
    /// The event loop has to go on evicting.
    unfinished: bool,
    /// Since when the limit has been exceeded, in microseconds of the monotonic clock.
    exceeded_since_us: Option<u64>,
    /// How long it was exceeded until then, in microseconds.
    exceeded_us: u64,
    /// No room could be made for the running command: what it runs in turn (a script's calls) must not add data.
    pub out_of_memory: bool,
}

impl Eviction {
    /// Has the event loop begin, or go on, to make room.
    pub fn start(&mut self) {
        self.unfinished = true;
    }

    /// Whether the event loop has to go on.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Milliseconds for which the limit was exceeded in all, and since it last began to be (INFO).
    #[must_use]
    pub fn exceeded_ms(&self) -> (u64, u64) {
        let current =
            self.exceeded_since_us.map_or(0, |since_us| clock::monotonic_us().saturating_sub(since_us));
        ((self.exceeded_us + current) / 1000, current / 1000)
    }

    /// Forgets the durations (CONFIG RESETSTAT).
    pub fn reset_durations(&mut self) {
        (self.exceeded_us, self.exceeded_since_us) = (0, None);
    }

    fn note(&mut self, room: Room) {
        match (room, self.exceeded_since_us) {
            (Room::Enough, Some(since_us)) => {
                self.exceeded_us += clock::monotonic_us().saturating_sub(since_us);
                self.exceeded_since_us = None;
            }
            (Room::Coming | Room::None, None) => self.exceeded_since_us = Some(clock::monotonic_us()),
            (Room::Enough, None) | (Room::Coming | Room::None, Some(_)) => {}
        }
    }
}

/// How long a slice of evictions may take, in nanoseconds: 50 µs for each step up to 10, then 15 % more for each.
fn time_limit_ns(tenacity: u32) -> u64 {
    let even_us = STEP_US * u64::from(tenacity.min(EVEN_TENACITY));
    match tenacity {
        ..=EVEN_TENACITY => even_us * 1000,
        WHATEVER_IT_TAKES.. => u64::MAX,
        _ => (even_us as f64 * FACTOR.powf(f64::from(tenacity - EVEN_TENACITY))) as u64 * 1000,
    }
}

/// What may be evicted; `None` for nothing.
fn policy(config: &Config) -> Option<EvictionPolicy> {
    use EvictionOrder::{LeastUsed, Random, SoonestExpiry};
    let (volatile_only, order) = match config.maxmemory_policy {
        MaxmemoryPolicy::NoEviction => return None,
        // What is being imported stays (Valkey: `import-mode`).
        _ if config.import_mode => return None,
        MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::VolatileLfu => (true, LeastUsed),
        MaxmemoryPolicy::VolatileRandom => (true, Random),
        MaxmemoryPolicy::VolatileTtl => (true, SoonestExpiry),
        MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::AllkeysLfu => (false, LeastUsed),
        MaxmemoryPolicy::AllkeysRandom => (false, Random),
    };
    Some(EvictionPolicy { volatile_only, order, samples: config.maxmemory_samples as usize })
}

impl Server {
    /// Bytes of buffers that grow because keys are evicted, and must not lead to further evictions: what replicas have
    /// yet to be sent beyond the backlog, what the append-only file has yet to be written, and what waits for the
    /// targets of slots that are on their way.
    #[must_use]
    pub fn uncounted_bytes(&self) -> usize {
        let exports = self.cluster.as_ref().map_or(0, |cluster| cluster.migrations.export_buffers_usage());
        self.replication.usage_beyond_backlog() + self.aof.buffer_usage() + exports
    }

    /// Bytes over `maxmemory`; 0 if it is kept or there is none.
    #[inline]
    #[must_use]
    pub fn excess_bytes(&self) -> usize {
        let limit = usize::try_from(self.config.maxmemory).unwrap_or(usize::MAX);
        let used = allocated_bytes();
        if limit == 0 || used <= limit {
            return 0;
        }
        used.saturating_sub(self.uncounted_bytes()).saturating_sub(limit)
    }

    /// Whether room may be made now: not while loading, not while writes are held back, and not on a replica that leaves
    /// that to its primary (`replica-ignore-maxmemory`).
    fn may_evict(&self) -> bool {
        let leaves_it = self.replication.is_replica() && self.config.replica_ignore_maxmemory;
        !leaves_it && !self.persistence.is_loading() && !self.is_paused()
    }

    /// What a change of `maxmemory` brings about: the event loop makes room, and the log says if there is need.
    pub(super) fn apply_maxmemory(&mut self) {
        let limit = self.config.maxmemory;
        if limit == 0 {
            return;
        }
        let used = allocated_bytes().saturating_sub(self.uncounted_bytes());
        if limit < used as u64 {
            tracing::warn!(
                "WARNING: the new maxmemory value set via CONFIG SET ({limit}) is smaller than the current memory usage ({used}). \
                 This will result in key eviction and/or the inability to accept new write commands depending on the \
                 maxmemory-policy."
            );
        }
        self.eviction.start();
    }
}

impl Engine {
    /// Makes room before a command runs if there has to be some; `false` if a command that adds data must not run.
    #[inline]
    pub(super) fn makes_room(&mut self) -> bool {
        if self.server.scripting.is_busy() {
            return true;
        }
        if self.server.config.maxmemory == 0 {
            self.server.eviction.out_of_memory = false;
            return true;
        }
        let out_of_memory = self.make_room() == Room::None;
        self.server.eviction.out_of_memory = out_of_memory;
        !out_of_memory
    }

    /// Goes on making room between two batches.
    pub fn continue_eviction(&mut self) {
        if self.server.scripting.is_busy() || !std::mem::take(&mut self.server.eviction.unfinished) {
            return;
        }
        if self.make_room() == Room::Coming {
            self.server.eviction.start();
        }
        self.serve_blocked();
        self.server.publish_events(None);
    }

    fn make_room(&mut self) -> Room {
        if !self.server.may_evict() {
            return Room::Enough;
        }
        let room = match self.server.excess_bytes() {
            0 => Room::Enough,
            excess => match policy(&self.server.config) {
                None => Room::None,
                Some(policy) => self.evict(policy, excess),
            },
        };
        self.server.eviction.note(room);
        room
    }

    /// Evicts keys until `excess` bytes are free, or the time for it is over.
    #[cold]
    fn evict(&mut self, policy: EvictionPolicy, excess: usize) -> Room {
        let started = clock::ticks();
        let limit_ns = time_limit_ns(self.server.config.maxmemory_eviction_tenacity);
        let (mut freed, mut count) = (0_i64, 0_u64);
        let mut room = if self.server.eviction.unfinished { Room::Coming } else { Room::Enough };
        while freed < excess as i64 {
            let Some(bytes) = self.evict_one(policy) else {
                room = self.await_helper(started, limit_ns);
                break;
            };
            freed += bytes;
            count += 1;
            if !count.is_multiple_of(KEYS_PER_LOOK) {
                continue;
            }
            // The helper thread may have freed what earlier keys left to it.
            if self.server.config.lazyfree_lazy_eviction && self.server.excess_bytes() == 0 {
                break;
            }
            if clock::nanoseconds_between(started, clock::ticks()) > limit_ns {
                self.server.eviction.start();
                room = Room::Coming;
                break;
            }
        }
        self.server.note_latency("eviction-cycle", started);
        room
    }

    /// Evicts a key and tells who has to know; gives the bytes that were freed at once.
    fn evict_one(&mut self, policy: EvictionPolicy) -> Option<i64> {
        let victim = self.keyspace.next_victim(policy, self.server.now_ms)?;
        // What telling others of it takes is not to lead to further evictions.
        let (before, started) = (allocated_bytes(), clock::ticks());
        let entry = self.keyspace.evict(victim);
        self.server.background.free_entry(entry, self.server.config.lazyfree_lazy_eviction);
        let freed = before as i64 - allocated_bytes() as i64;
        self.server.note_latency("eviction-del", started);
        events::settle_apart(&mut self.keyspace, &mut self.server);
        Some(freed)
    }

    /// Nothing is left to evict, but what was may still be waiting to be freed: gives the helper thread a moment.
    fn await_helper(&mut self, started: u64, limit_ns: u64) -> Room {
        let begun = clock::ticks();
        let mut room = Room::None;
        while self.server.background.pending_objects() > 0
            && clock::nanoseconds_between(started, clock::ticks()) < limit_ns
        {
            if self.server.excess_bytes() == 0 {
                room = Room::Enough;
                break;
            }
            std::thread::sleep(Duration::from_micros(NAP_US.min(limit_ns / 1000)));
        }
        self.server.note_latency("eviction-lazyfree", begun);
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_is_a_limit_of_time() {
        assert_eq!([0, 1, 10].map(time_limit_ns), [0, 50_000, 500_000]);
        assert_eq!(time_limit_ns(11), 575_000);
        assert!((100e9..180e9).contains(&(time_limit_ns(99) as f64)));
        assert_eq!(time_limit_ns(100), u64::MAX);
    }

    #[test]
    fn the_time_over_the_limit_is_added_up() {
        let mut eviction = Eviction::default();
        eviction.note(Room::None);
        let since_us = eviction.exceeded_since_us;
        std::thread::sleep(Duration::from_millis(2));
        eviction.note(Room::Coming);
        assert_eq!(eviction.exceeded_since_us, since_us);
        let (total, current) = eviction.exceeded_ms();
        assert!(total >= 2 && current >= 2);
        eviction.note(Room::Enough);
        let (total, current) = eviction.exceeded_ms();
        assert!(total >= 2 && current == 0);
    }
}
