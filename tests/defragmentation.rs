//! Moving allocations while the server runs: values stay what they are in every encoding, whatever happens between two
//! steps, and fragmentation goes down.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use support::engine::{InProcess, bulk};
use weighbridge::keyspace::KeyTally;
use weighbridge::memory::Mover;
use weighbridge::server::Engine;

/// Values of up to this many allocations are moved at once.
const WHOLE_MAX: usize = 50;

/// One heap is looked at at a time: the allocator's figures are those of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// What a key is like at a size.
type Fill = fn(&mut InProcess, &str, usize);

fn text(number: usize, len: usize) -> String {
    format!("{number}:{}", "x".repeat(len))
}

fn fill_lists(server: &mut InProcess, key: &str, size: usize) {
    for number in 0..size {
        let len = if number % 100 == 7 { 9000 } else { number % 60 };
        server.run(&["RPUSH", key, &text(number, len)]);
    }
}

fn fill_sets(server: &mut InProcess, key: &str, size: usize) {
    for number in 0..size {
        server.run(&["SADD", key, &text(number, number % 300)]);
        server.run(&["SADD", &format!("{key}:integers"), &(number * 7).to_string()]);
    }
}

fn fill_hashes(server: &mut InProcess, key: &str, size: usize) {
    for number in 0..size {
        let (field, value) = (text(number, number % 90), text(number, number % 600));
        server.run(&["HSET", key, &field, &value]);
        if number % 5 == 1 && size > 20 {
            server.run(&["HEXPIRE", key, "100000", "FIELDS", "1", &field]);
        }
    }
}

fn fill_sorted_sets(server: &mut InProcess, key: &str, size: usize) {
    for number in 0..size {
        let (score, member) = ((number * 7919 % 1000).to_string(), text(number, number % 280));
        server.run(&["ZADD", key, &score, &member]);
        server.run(&["ZADD", &format!("{key}:tied"), "0", &member]);
    }
}

fn fill_streams(server: &mut InProcess, key: &str, size: usize) {
    server.run(&["XGROUP", "CREATE", key, "readers", "$", "MKSTREAM"]);
    server.run(&["XGROUP", "CREATE", key, "others", "$"]);
    for number in 0..size {
        server.run(&["XADD", key, &format!("{}-1", number + 1), "field", &text(number, number % 200)]);
    }
    for number in 0..size / 3 {
        let consumer = format!("consumer-{}", number % 7);
        server.run(&["XREADGROUP", "GROUP", "readers", &consumer, "COUNT", "2", "STREAMS", key, ">"]);
    }
}

fn fill_strings(server: &mut InProcess, key: &str, size: usize) {
    for number in 0..size {
        let name = format!("{key}:{number}:{}", "k".repeat(if number % 9 == 0 { 300 } else { 0 }));
        match number % 4 {
            0 => server.run(&["SET", &name, &number.to_string()]),
            1 => server.run(&["SET", &name, &text(number, number % 2000)]),
            2 => server.run(&["SET", &name, &text(number, 10), "EX", "100000"]),
            _ => server.run(&["APPEND", &name, &text(number, number % 500)]),
        };
    }
}

const FILLS: [(&str, Fill); 6] = [
    ("list", fill_lists),
    ("set", fill_sets),
    ("hash", fill_hashes),
    ("zset", fill_sorted_sets),
    ("stream", fill_streams),
    ("string", fill_strings),
];

/// Small and large values of every type and encoding.
fn fill(server: &mut InProcess) {
    server.ask("CONFIG SET stream-node-max-entries 10 list-compress-depth 1 set-max-intset-entries 100000");
    for (name, fill) in FILLS {
        fill(server, &format!("small-{name}"), 5);
        fill(server, &format!("large-{name}"), 3000);
    }
}

fn weight(server: &InProcess) -> usize {
    let mut weight = 0;
    for database in server.engine.keyspace.databases() {
        database.table().for_each_prefetched(|entry| weight += entry.weight());
    }
    weight
}

/// Moves everything, and calls `between` after each step; gives the number of steps.
fn move_all(
    server: &mut InProcess,
    mover: &mut Mover,
    keys: &mut KeyTally,
    mut between: impl FnMut(&mut InProcess),
) -> usize {
    let mut steps = 0;
    let mut next = Some(Default::default());
    while let Some(place) = next {
        mover.begin_step();
        let database = &mut server.engine.keyspace.databases_mut()[0];
        next = database.relocate(place, mover, WHOLE_MAX, keys);
        steps += 1;
        between(server);
    }
    steps
}

#[test]
fn moving_everything_changes_no_value_and_no_weight() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = InProcess::start();
    fill(&mut server);
    let (digest, before) = (server.ask("DEBUG DIGEST"), weight(&server));
    let (mut mover, mut keys) = (Mover::of_everything(), KeyTally::default());
    for _ in 0..2 {
        let steps = move_all(&mut server, &mut mover, &mut keys, |_| {});
        assert!(steps > 300, "values are moved piece by piece: {steps}");
        assert_eq!(weight(&server), before);
    }
    assert!(mover.hits > 30_000 && keys.hits > 6000, "{} {keys:?}", mover.hits);
    assert_eq!(server.ask("DEBUG DIGEST"), digest);
    // The halves of sorted sets agree if each member is found by its name and at its place.
    for key in ["large-zset", "large-zset:tied"] {
        for number in (0..3000).step_by(7) {
            let member = text(number, number % 280);
            assert!(server.run(&["ZRANK", key, &member]).starts_with(b":"), "{key} {member}");
            assert_eq!(server.run(&["ZREM", key, &member]), b":1\r\n");
        }
    }
}

/// One change of some key, by the number of the step.
fn change(server: &mut InProcess, step: usize) {
    let number = step * 37 % 3000;
    let (list, zset) = (number.to_string(), text(number, number % 280));
    match step % 9 {
        0 => server.run(&["ZREM", "large-zset", &zset]),
        1 => server.run(&["ZADD", "large-zset:tied", "1", &zset]),
        2 => server.run(&["LSET", "large-list", &list, "another"]),
        3 => server.run(&["LTRIM", "large-list", "30", "-2"]),
        4 => server.run(&["HDEL", "large-hash", &text(number, number % 90)]),
        5 => server.run(&["SADD", "large-set", &text(step, 40)]),
        6 => server.run(&["XDEL", "large-stream", &format!("{}-1", number + 1)]),
        7 => server.run(&["XACK", "large-stream", "readers", &format!("{}-1", number + 1)]),
        _ => server.run(&["DEL", &format!("large-string:{number}:"), "small-list", "small-zset"]),
    };
}

#[test]
fn changes_between_the_steps_do_no_harm() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = InProcess::start();
    fill(&mut server);
    let (mut mover, mut keys) = (Mover::of_everything(), KeyTally::default());
    let mut step = 0;
    for round in 0..4 {
        move_all(&mut server, &mut mover, &mut keys, |server| {
            change(server, step);
            step += 1;
            // What a cursor points to may become something else altogether.
            if step % 400 == 399 {
                server.ask("DEL large-hash large-zset large-stream");
                server.ask("RENAME large-list large-zset");
                fill_lists(server, "large-hash", 300);
                fill_streams(server, "large-list", 100);
            }
        });
        let digest = server.ask("DEBUG DIGEST");
        assert_eq!(server.ask("DEBUG RELOAD"), b"+OK\r\n", "round {round}");
        assert_eq!(server.ask("DEBUG DIGEST"), digest, "round {round}");
    }
}

/// Scripts whose sources lie between strings of their size that are gone; gives their names.
fn fill_scripts(server: &mut InProcess) -> Vec<String> {
    const SCRIPTS: usize = 2000;
    let source = |number: usize| format!("--{}\nreturn {number}", "x".repeat(450));
    let names = (0..SCRIPTS).map(|number| {
        let reply = server.run(&["SCRIPT", "LOAD", &source(number)]);
        server.run(&["SET", &format!("beside:{number}"), &source(number)]);
        String::from_utf8(bulk(&reply).unwrap().to_vec()).unwrap()
    });
    let names = names.collect();
    for number in 0..SCRIPTS {
        server.run(&["DEL", &format!("beside:{number}")]);
    }
    names
}

fn info(server: &mut InProcess, field: &str) -> f64 {
    let info = String::from_utf8(server.ask("INFO everything")).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).parse().unwrap()
}

/// Lets defragmentation come to its end.
fn defragment(server: &mut InProcess) {
    server.engine.run_cron();
    assert!(info(server, "active_defrag_running") >= 20.0);
    let Engine { keyspace, server } = &mut server.engine;
    let begun = Instant::now();
    while server.defragment(keyspace).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it goes on and on");
    }
}

#[test]
fn a_fragmented_heap_comes_together() {
    const KEYS: usize = 60_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = InProcess::start();
    let pair = |number| (format!("key:{number}"), text(number, 250));
    for number in 0..KEYS {
        let (key, value) = pair(number);
        server.run(&["SET", &key, &value]);
        server.run(&["HSET", "hash", &key, &value]);
        server.run(&["ZADD", "zset", "1", &value]);
    }
    for (key, value) in (0..KEYS).filter(|number| number % 4 != 0).map(pair) {
        server.run(&["DEL", &key]);
        server.run(&["HDEL", "hash", &key]);
        server.run(&["ZREM", "zset", &value]);
    }
    let scripts = fill_scripts(&mut server);
    let (digest, used) = (server.ask("DEBUG DIGEST"), info(&mut server, "used_memory"));
    let before = info(&mut server, "allocator_frag_bytes");
    assert!(before > 20e6, "{before}");
    server.ask("CONFIG SET activedefrag yes active-defrag-ignore-bytes 1mb active-defrag-threshold-lower 5");
    server.ask("CONFIG SET active-defrag-cycle-min 20 active-defrag-cycle-max 60");
    defragment(&mut server);
    let after = info(&mut server, "allocator_frag_bytes");
    assert!(after < before / 8.0, "from {before} to {after}");
    assert!(info(&mut server, "active_defrag_hits") > 3.0 * KEYS as f64 / 5.0);
    assert!(info(&mut server, "active_defrag_key_hits") > 10_000.0);
    assert!(info(&mut server, "total_active_defrag_time") > 0.0);
    assert!(info(&mut server, "active_defrag_running") == 0.0);
    assert!((info(&mut server, "used_memory") - used).abs() < 50_000.0, "moving takes no memory");
    assert_eq!(server.ask("DEBUG DIGEST"), digest);
    for (number, name) in scripts.iter().enumerate().step_by(17) {
        assert_eq!(server.run(&["EVALSHA", name, "0"]), format!(":{number}\r\n").into_bytes());
    }
    server.ask("CONFIG RESETSTAT");
    assert!(info(&mut server, "active_defrag_hits") == 0.0);
}
