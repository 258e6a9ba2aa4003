//! What the server counts for INFO: per command, per error, and in all. CONFIG RESETSTAT clears it.

use super::histogram::{Distribution, LatencyHistogram};
use crate::memory::{MemoryUsage, usable_size, vec_usage};

/// Statistics of one command.
#[derive(Debug, Default, Clone, Copy)]
pub struct CommandStats {
    /// Times it ran.
    pub calls: u64,
    /// Nanoseconds it took in all.
    pub nanoseconds: u64,
    /// Times it was refused before it ran.
    pub rejected: u64,
    /// Times it ran and replied with an error.
    pub failed: u64,
}

/// Distinct error codes that are counted apart; a script that invents codes cannot grow the map beyond it.
const ERROR_CODES_MAX: usize = 128;
/// What is counted in place of a code too many.
const ERROR_CODES_OVERFLOW: &str = "ERRORSTATS_OVERFLOW";

/// What users were denied.
#[derive(Debug, Default, Clone, Copy)]
pub struct Denials {
    /// To log in.
    pub logins: u64,
    /// A command.
    pub commands: u64,
    /// A key.
    pub keys: u64,
    /// A channel.
    pub channels: u64,
    /// A database.
    pub databases: u64,
}

/// The server's counters.
#[derive(Debug, Default)]
pub struct Stats {
    /// By command id.
    pub commands: Vec<CommandStats>,
    /// Durations by command id, for commands that ran while `latency-tracking` was on.
    latencies: Vec<Option<LatencyHistogram>>,
    /// Error replies by their first word, in the order of the words.
    pub errors: Vec<(String, u64)>,
    /// Error replies.
    pub error_replies: u64,
    /// Commands run.
    pub commands_processed: u64,
    /// Connections accepted.
    pub connections_received: u64,
    /// Connections refused for `maxclients`.
    pub connections_rejected: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received from the primary, those of snapshots included.
    pub primary_bytes_in: u64,
    /// Errors that this server replied to its primary: their data differs.
    pub unexpected_error_replies: u64,
    /// Reads of sockets.
    pub reads: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Connections closed for breaking the protocol or a limit of the query buffer.
    pub query_buffer_closed: u64,
    /// Times a reply buffer gave back room.
    pub output_buffer_shrinks: u64,
    /// Connections closed for a limit of the output buffer.
    pub output_buffer_closed: u64,
    /// Connections closed for `maxmemory-clients`.
    pub evicted_clients: u64,
    /// Requests with a wrong password or user.
    pub denied: Denials,
    /// Duration of the last fork in microseconds.
    pub last_fork_microseconds: u64,
    /// Forks since start.
    pub forks: u64,
    /// Most bytes ever allocated, and when (Unix s).
    pub peak_allocated: usize,
    /// When the peak was reached, Unix s.
    pub peak_time: i64,
    /// Turns of the event loop that ran requests.
    pub event_loop: EventLoopStats,
    /// Per-second rates over the last samples.
    pub rates: Rates,
}

/// What turns of the event loop took.
#[derive(Debug, Default, Clone, Copy)]
pub struct EventLoopStats {
    /// How many there were.
    pub cycles: u64,
    /// Their duration in all.
    pub nanoseconds: u64,
    /// The longest one.
    pub longest_ns: u64,
    /// Most commands run in one.
    pub most_commands: u64,
    /// Duration of what runs at intervals.
    pub cron_ns: u64,
    /// Duration of writing to the append-only file.
    pub aof_ns: u64,
}

impl EventLoopStats {
    /// Counts a turn.
    pub fn count(&mut self, nanoseconds: u64, commands: u64) {
        self.cycles += 1;
        self.nanoseconds += nanoseconds;
        self.longest_ns = self.longest_ns.max(nanoseconds);
        self.most_commands = self.most_commands.max(commands);
    }
}

/// How many samples a rate is the mean of.
const SAMPLES: usize = 16;

/// Instantaneous figures: means over the last sixteen samples, as Valkey's.
#[derive(Debug, Default)]
pub struct Rates {
    last_ms: i64,
    last: [u64; 5],
    samples: [[u64; SAMPLES]; 5],
    next: usize,
}

impl Rates {
    /// Takes a sample of the running totals (commands, bytes in, bytes out, turns of the event loop, their microseconds).
    pub fn sample(&mut self, now_ms: i64, totals: [u64; 5]) {
        let elapsed = u64::try_from(now_ms - self.last_ms).unwrap_or(0).max(1);
        if self.last_ms != 0 {
            for ((samples, last), total) in self.samples.iter_mut().zip(self.last).zip(totals) {
                samples[self.next] = total.saturating_sub(last) * 1000 / elapsed;
            }
            // The last one is the mean of a turn, not of a second.
            let [_, _, _, cycles, microseconds] = totals;
            let turns = cycles.saturating_sub(self.last[3]);
            self.samples[4][self.next] =
                microseconds.saturating_sub(self.last[4]).checked_div(turns).unwrap_or(0);
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last = totals;
        self.last_ms = now_ms;
    }

    fn mean(&self, index: usize) -> u64 {
        self.samples[index].iter().sum::<u64>() / SAMPLES as u64
    }

    /// Commands per second.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.mean(0)
    }

    /// Bytes received per second.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.mean(1)
    }

    /// Bytes sent per second.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.mean(2)
    }

    /// Turns of the event loop per second.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.mean(3)
    }

    /// Microseconds of a turn.
    #[must_use]
    pub fn cycle_us(&self) -> u64 {
        self.mean(4)
    }
}

impl crate::memory::MemoryUsage for Stats {
    /// Exact but for the map of error codes, whose nodes are taken as if they were full.
    fn memory_usage(&self) -> usize {
        crate::memory::vec_usage(&self.commands)
    }
}

impl Stats {
    /// Counters for commands with ids below `commands`.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        Self {
            commands: vec![CommandStats::default(); commands],
            latencies: (0..commands).map(|_| None).collect(),
            ..Self::default()
        }
    }

    /// Takes note of how long a command took.
    #[inline]
    pub fn record_latency(&mut self, id: usize, nanoseconds: u64) {
        if let Some(place) = self.latencies.get_mut(id) {
            place.get_or_insert_default().record(nanoseconds);
        }
    }

    /// Whether any duration of a command was recorded.
    #[must_use]
    pub fn has_latency(&self, id: usize) -> bool {
        self.latencies.get(id).is_some_and(Option::is_some)
    }

    /// The durations of a command, if any was recorded.
    #[must_use]
    pub fn latency(&self, id: usize) -> Option<Distribution> {
        self.latencies.get(id)?.as_ref()?.distribution()
    }

    /// Heap bytes held.
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        vec_usage(&self.commands)
            + vec_usage(&self.latencies)
            + vec_usage(&self.errors)
            + self.errors.iter().map(|(code, _)| usable_size(code.capacity())).sum::<usize>()
            + self.latencies.iter().flatten().map(|histogram| histogram.memory_usage()).sum::<usize>()
    }

    /// Counts an error reply by its code, which is one of the server's own.
    pub fn count_error(&mut self, code: &str) {
        self.error_replies += 1;
        match self.errors.binary_search_by(|(known, _)| known.as_str().cmp(code)) {
            Ok(at) => self.errors[at].1 += 1,
            Err(at) => self.errors.insert(at, (code.to_owned(), 1)),
        }
    }

    /// The same of an error that a script made up: when there are many codes, new ones are counted together.
    pub fn count_scripts_error(&mut self, code: &str) {
        let is_known = self.errors.binary_search_by(|(known, _)| known.as_str().cmp(code)).is_ok();
        let overflows = !is_known && self.errors.len() >= ERROR_CODES_MAX;
        self.count_error(if overflows { ERROR_CODES_OVERFLOW } else { code });
    }

    /// Clears what CONFIG RESETSTAT clears.
    pub fn reset(&mut self) {
        let kept = std::mem::take(self);
        *self = Self {
            peak_allocated: kept.peak_allocated,
            peak_time: kept.peak_time,
            last_fork_microseconds: 0,
            ..Self::new(kept.commands.len())
        };
    }

    /// Notes how much is allocated now, for the peak.
    pub fn note_allocated(&mut self, bytes: usize, now_ms: i64) {
        if bytes > self.peak_allocated {
            self.peak_allocated = bytes;
            self.peak_time = now_ms / 1000;
        }
    }
}
