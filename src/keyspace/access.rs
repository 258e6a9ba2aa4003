//! The access clock of an entry: 24 bits that say when it was last used (LRU, in seconds) or how often (LFU: minutes
//! of the last decay in the high 16 bits, a logarithmic counter in the low 8), as Valkey keeps them.

/// A new LFU counter starts here, so that a fresh key is not evicted before it had a chance to be used.
const LFU_INITIAL: u32 = 5;
const LFU_COUNTER_MAX: u32 = 255;
const CLOCK_MASK: u32 = super::CLOCK_MAX;
const MINUTES_MASK: u32 = 0xffff;

/// What an access does to the clock; follows from `maxmemory-policy` and the `lfu-*` options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessPolicy {
    /// The clock is the second of the last access.
    Lru,
    /// The clock counts accesses on a logarithmic scale that decays.
    Lfu {
        /// `lfu-log-factor`: how hard the counter is to raise.
        log_factor: u32,
        /// `lfu-decay-time`: minutes after which the counter loses one; 0 never.
        decay_minutes: u32,
    },
}

impl AccessPolicy {
    /// The clock of an entry made now.
    #[must_use]
    pub fn fresh(self, now_ms: i64) -> u32 {
        match self {
            Self::Lru => lru_clock(now_ms),
            Self::Lfu { .. } => (minutes(now_ms) << 8) | LFU_INITIAL,
        }
    }

    /// The clock of an entry that is used now.
    #[must_use]
    pub fn touched(self, clock: u32, now_ms: i64, random: &mut fastrand::Rng) -> u32 {
        match self {
            Self::Lru => lru_clock(now_ms),
            Self::Lfu { log_factor, .. } => {
                let counter = raised(self.frequency(clock, now_ms), log_factor, random);
                (minutes(now_ms) << 8) | counter
            }
        }
    }

    /// The LFU counter as it is now, after the decay that is due; the clock itself stays.
    #[must_use]
    pub fn frequency(self, clock: u32, now_ms: i64) -> u32 {
        let Self::Lfu { decay_minutes, .. } = self else { return 0 };
        let elapsed = minutes(now_ms).wrapping_sub(clock >> 8) & MINUTES_MASK;
        let periods = elapsed.checked_div(decay_minutes).unwrap_or(0);
        (clock & LFU_COUNTER_MAX).saturating_sub(periods)
    }

    /// Whether the clock counts accesses.
    #[must_use]
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::Lfu { .. })
    }
}

/// Seconds since the entry of this LRU clock was used.
#[must_use]
pub fn idle_seconds(clock: u32, now_ms: i64) -> u32 {
    lru_clock(now_ms).wrapping_sub(clock) & CLOCK_MASK
}

/// The LRU clock of an entry that has been idle this long.
#[must_use]
pub fn clock_of_idle(idle_seconds: u64, now_ms: i64) -> u32 {
    lru_clock(now_ms).wrapping_sub((idle_seconds & u64::from(CLOCK_MASK)) as u32) & CLOCK_MASK
}

/// The LFU clock of an entry with this counter.
#[must_use]
pub fn clock_of_frequency(counter: u8, now_ms: i64) -> u32 {
    (minutes(now_ms) << 8) | u32::from(counter)
}

fn lru_clock(now_ms: i64) -> u32 {
    (now_ms / 1000) as u32 & CLOCK_MASK
}

fn minutes(now_ms: i64) -> u32 {
    (now_ms / 60_000) as u32 & MINUTES_MASK
}

fn raised(counter: u32, log_factor: u32, random: &mut fastrand::Rng) -> u32 {
    if counter >= LFU_COUNTER_MAX {
        return LFU_COUNTER_MAX;
    }
    let base = f64::from(counter.saturating_sub(LFU_INITIAL));
    let chance = 1.0 / (base * f64::from(log_factor) + 1.0);
    if random.f64() < chance { counter + 1 } else { counter }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LFU: AccessPolicy = AccessPolicy::Lfu { log_factor: 10, decay_minutes: 1 };

    #[test]
    fn idle_time_is_counted_in_seconds_and_survives_the_clocks_wrap() {
        let clock = AccessPolicy::Lru.fresh(1_000_000);
        assert_eq!(idle_seconds(clock, 1_005_000), 5);
        let late = i64::from(CLOCK_MASK) * 1000;
        assert_eq!(idle_seconds(AccessPolicy::Lru.fresh(late), late + 3000), 3);
        assert_eq!(idle_seconds(clock_of_idle(77, late), late), 77);
    }

    #[test]
    fn the_counter_rises_slowly_and_decays_by_the_minute() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut clock = LFU.fresh(0);
        for _ in 0..1000 {
            clock = LFU.touched(clock, 0, &mut random);
        }
        let counter = LFU.frequency(clock, 0);
        assert!((10..60).contains(&counter), "{counter}");
        assert_eq!(LFU.frequency(clock, 3 * 60_000), counter - 3);
        assert_eq!(LFU.frequency(clock_of_frequency(9, 0), 60_000 * 60), 0);
    }
}
