//! The longest single insert while a database grows to ten million keys.
//!
//! Prints the slowest inserts by wall time; on a shared machine an outlier may be another process's turn.
//! Run: `cargo bench --bench insert_stall [-- KEYS]`.
#![allow(missing_docs, clippy::print_stdout)]

use std::time::Instant;

use weighbridge::keyspace::{Entry, Keys, Keyspace};

const KEYS: u64 = 10_000_000;

fn main() {
    let keys = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(KEYS);
    let mut keyspace = Keyspace::new(1);
    let mut slowest = [0_u128; 5];
    let begun = Instant::now();
    for number in 0..keys {
        let key = format!("key:{number:012}");
        let mut selected =
            Keys { keyspace: &mut keyspace, database: 0, now_ms: 0, hint: None, touches: true };
        let started = Instant::now();
        selected.insert(Entry::string(key.as_bytes(), b"0123456789abcdef", None));
        let elapsed = started.elapsed().as_nanos();
        if elapsed > slowest[0] {
            slowest[0] = elapsed;
            slowest.sort_unstable();
        }
    }
    let mean = begun.elapsed().as_nanos() / u128::from(keys.max(1));
    println!("{keys} inserts, {mean} ns each with the making of the key");
    println!("slowest by wall time, us: {:?}", slowest.map(|nanoseconds| nanoseconds / 1000));
}
