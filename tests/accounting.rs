//! Every byte is accounted for: after each random command, what entries and tables say they use and what the server
//! says of the rest is what the allocator has handed out, to the byte.
//!
//! One test, because the allocator's counters are the process's and the helper thread lives as long as it. More steps:
//! `ACCOUNTING_STEPS=100000 cargo test --test accounting`.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use support::engine::{InProcess, bulk};
use support::requests::Requests;
use support::templates::{FAMILIES, GENERIC, RARE, TEMPLATES};
use weighbridge::keyspace::ExpiryBudget;
use weighbridge::memory::{AllocatorStatistics, Mover, allocated_bytes, flush_thread_cache};
use weighbridge::profile::Figures;
use weighbridge::server::{Engine, events};
use weighbridge::types::Encoding;

const SEEDS: [u64; 3] = [1, 20_261_122, 0x5eed];
/// Steps of each seed, unless the environment says otherwise.
const STEPS: usize = 4000;

/// How much is kept of what was done last.
const LAST_BYTES: usize = 1024;

/// An engine and what is known of it.
struct Bench {
    server: InProcess,
    /// Encodings that were met.
    seen: [bool; Encoding::ALL.len()],
    /// What was done last; made before the start, as all that the test keeps, and never longer than it was made.
    last: String,
    /// The figures of the step before.
    before: Figures,
    /// Moves everything that it is shown.
    mover: Mover,
}

impl Bench {
    fn new() -> Self {
        let last = String::with_capacity(LAST_BYTES);
        let mover = Mover::of_everything();
        let server = InProcess::start();
        Self { server, seen: [false; Encoding::ALL.len()], last, before: Figures::default(), mover }
    }

    /// Runs a request that is well-formed, whatever it meets, and gives its reply.
    fn run(&mut self, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let replied = self.server.run(words);
        let malformed = [&b"-ERR unknown"[..], b"-ERR syntax", b"-ERR wrong number"];
        assert!(
            !malformed.iter().any(|start| replied.starts_with(start)),
            "{} to {}",
            replied.escape_ascii(),
            self.last
        );
        replied
    }

    /// Remembers what is done, for the message of a failure.
    fn note(&mut self, words: &[Vec<u8>]) {
        self.last.clear();
        for word in words {
            let word = word.escape_ascii().to_string();
            let room = self.last.capacity() - self.last.len();
            if word.len() + 1 > room {
                break;
            }
            self.last.push_str(&word);
            self.last.push(' ');
        }
    }

    /// Deletes all that has expired, as the server does at intervals.
    fn expire(&mut self) {
        let Engine { keyspace, server } = &mut self.server.engine;
        let mut free = |entry| server.background.free_entry(entry, server.config.lazyfree_lazy_expire);
        let mut budget = ExpiryBudget { time_is_over: &mut || false, free: &mut free };
        keyspace.expire_some(server.now_ms, &mut budget);
        events::settle(keyspace, server);
        self.server.engine.serve_blocked();
    }

    /// Moves every allocation of every entry, large values piece by piece, which changes nothing.
    fn relocate(&mut self) {
        let digest = self.run(&[b"DEBUG", b"DIGEST".as_slice()]);
        for database in self.server.engine.keyspace.databases_mut() {
            let mut next = Some(Default::default());
            while let Some(place) = next {
                self.mover.begin_step();
                next = database.relocate(place, &mut self.mover, 20, &mut Default::default());
            }
        }
        assert!(self.run(&[b"DEBUG", b"DIGEST".as_slice()]) == digest, "moving changes after {}", self.last);
    }

    fn flush(&mut self) {
        let words = vec![b"FLUSHALL".to_vec(), b"SYNC".to_vec()];
        self.note(&words);
        self.run(&words);
    }

    /// Takes a value out as DUMP and puts it in again as RESTORE.
    fn restore(&mut self, from: &[u8], to: &[u8]) {
        let dump = self.run(&[b"DUMP", from]);
        let Some(payload) = bulk(&dump) else { return };
        let words = [&b"RESTORE"[..], to, b"0", payload, b"REPLACE"];
        let reply = self.run(&words);
        assert_eq!(reply.escape_ascii().to_string(), "+OK\\r\\n", "RESTORE of {}", payload.escape_ascii());
    }

    /// Holds the sum of all owners to what the allocator counts.
    fn check(&mut self, seed: u64, step: usize) {
        self.server.engine.server.background.wait_until_idle();
        let quiet = self.server.engine.server.background.threads.quiesce();
        let mut entries = 0;
        for database in self.server.engine.keyspace.databases() {
            database.table().for_each_prefetched(|entry| {
                entries += entry.weight() as u64;
                self.seen[entry.encoding() as usize] = true;
            });
        }
        let Engine { keyspace, server } = &self.server.engine;
        let figures = server.weigh(keyspace, 0);
        let pending = server.background.pending_usage() as u64;
        drop(quiet);
        let rest = figures.used as i64 - (figures.attributed() + pending + entries) as i64;
        assert_eq!(
            rest, 0,
            "bytes without an owner (negative: with two) after seed {seed}, step {step}: {}\nentries: {entries}\nthen {figures:?}\nbefore {:?}",
            self.last, self.before
        );
        self.before = figures;
    }
}

/// Has the thread that drops it give its free blocks back.
struct FlushesThreadCache;

impl Drop for FlushesThreadCache {
    fn drop(&mut self) {
        flush_thread_cache();
    }
}

/// What jemalloc says is allocated less what the threads' counters say: the same at all times.
fn allocator_difference(bench: &Bench) -> i64 {
    bench.server.engine.server.background.close_later(FlushesThreadCache);
    bench.server.engine.server.background.wait_until_idle();
    flush_thread_cache();
    AllocatorStatistics::now().allocated as i64 - allocated_bytes() as i64
}

fn steps() -> usize {
    std::env::var("ACCOUNTING_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(STEPS)
}

fn step(bench: &mut Bench, requests: &mut Requests) {
    let (family, templates) = TEMPLATES[requests.random.usize(..TEMPLATES.len())];
    let template = match requests.random.u16(..1000) {
        0..2 => RARE[requests.random.usize(..RARE.len())],
        2..20 => {
            bench.note(&[b"active expiry".to_vec()]);
            return bench.expire();
        }
        20..28 => {
            bench.note(&[b"relocation".to_vec()]);
            return bench.relocate();
        }
        28..60 => {
            let keys = requests.draw(family, "$k $K");
            bench.note(&[b"DUMP and RESTORE of".to_vec(), keys[0].clone(), keys[1].clone()]);
            return bench.restore(&keys[0], &keys[1]);
        }
        60..250 => GENERIC[requests.random.usize(..GENERIC.len())],
        _ => templates[requests.random.usize(..templates.len())],
    };
    bench.server.engine.server.now_ms += requests.random.i64(0..400);
    let request = requests.draw(family, template);
    bench.note(&request);
    bench.run(&request);
}

#[test]
fn what_entries_and_tables_weigh_is_what_is_allocated() {
    let mut bench = Bench::new();
    let empty_tables = bench.server.engine.keyspace.table_usage();
    let difference = allocator_difference(&bench);
    for seed in SEEDS {
        let mut requests = Requests::new(seed, FAMILIES);
        for number in 0..steps() {
            step(&mut bench, &mut requests);
            bench.check(seed, number);
        }
        assert!(!bench.server.engine.keyspace.is_empty());
        assert_eq!(allocator_difference(&bench), difference, "seed {seed}: jemalloc counts otherwise");
        bench.flush();
        bench.check(seed, steps());
        assert_eq!(bench.server.engine.keyspace.table_usage(), empty_tables, "seed {seed}: empty tables");
    }
    assert_eq!(allocator_difference(&bench), difference, "jemalloc counts otherwise at the end");
    let unseen: Vec<_> = Encoding::ALL.iter().filter(|encoding| !bench.seen[**encoding as usize]).collect();
    assert!(unseen.is_empty(), "never met: {unseen:?}");
    assert!(bench.mover.hits > 10_000, "hardly anything was moved: {}", bench.mover.hits);
}
