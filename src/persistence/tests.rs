//! Snapshots written and read again in memory and in files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::config::{Config, MaxmemoryPolicy};
use crate::keyspace::access::AccessPolicy;
use crate::keyspace::{Entry, Keys, Keyspace};
use crate::profile::Census;
use crate::types::{FlatLimits, Limits, SetLimits, StreamLimits, ValueType};
use std::path::Path;

const NOW_MS: i64 = 1_800_000_000_000;

fn options() -> SaveOptions {
    SaveOptions::new(&Config::default(), AccessPolicy::Lru, NOW_MS)
}

fn load_options() -> LoadOptions {
    let config = Config::default();
    LoadOptions::new(&config, limits(), AccessPolicy::Lru)
}

fn limits() -> Limits {
    let flat = FlatLimits { entries: 128, value_bytes: 64 };
    Limits {
        list: crate::structures::quicklist::Limits::new(-2, 0),
        set: SetLimits { intset_entries: 512, listpack: flat },
        hash: flat,
        sorted_set: flat,
        stream: StreamLimits { node_bytes: 4096, node_entries: 100 },
    }
}

fn insert(keyspace: &mut Keyspace, database: usize, entry: Entry) {
    let keys = &mut Keys { keyspace, database, now_ms: NOW_MS, hint: None, touches: true };
    keys.insert(entry);
}

fn sample() -> Keyspace {
    let mut keyspace = Keyspace::new(4);
    for number in 0..500 {
        let key = format!("key:{number}");
        insert(&mut keyspace, 0, Entry::string(key.as_bytes(), b"some value", None));
    }
    insert(&mut keyspace, 2, Entry::string(b"number", b"-123456789012", None));
    insert(&mut keyspace, 2, Entry::string(b"long", &b"ab".repeat(40_000), None));
    insert(&mut keyspace, 2, Entry::string(b"later", b"x", Some(NOW_MS + 5000)));
    insert(&mut keyspace, 2, Entry::string(b"gone", b"x", Some(NOW_MS - 1)));
    keyspace
}

/// Database, key, value, expiry, clock.
type Row = (usize, Vec<u8>, Vec<u8>, Option<i64>, u32);

fn contents(keyspace: &Keyspace) -> Vec<Row> {
    let mut all = Vec::new();
    for (number, database) in keyspace.databases().iter().enumerate() {
        for entry in database.table().iter() {
            let value = entry.as_string().unwrap().to_vec();
            all.push((number, entry.key().to_vec(), value, entry.expiry_ms(), entry.clock()));
        }
    }
    all.sort();
    all
}

fn load(path: &Path, options: LoadOptions) -> Result<(Keyspace, Loaded), LoadError> {
    let mut keyspace = Keyspace::new(4);
    let loader = Loader::open(path, options)?.unwrap();
    let counts = State::new(NOW_MS).load_at_once(&mut keyspace, loader, NOW_MS)?.counts;
    Ok((keyspace, counts))
}

#[test]
fn what_is_saved_is_loaded_and_what_has_expired_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let (temporary, target) = (directory.path().join("temp-1.rdb"), directory.path().join("dump.rdb"));
    let keyspace = sample();
    assert!(save_file(&keyspace, &options(), &temporary, &target, &mut NoObserver).unwrap().is_none());
    assert!(!temporary.exists());
    let (loaded, counts) = load(&target, load_options()).unwrap();
    assert_eq!(counts, Loaded { keys: 503, expired: 1, ..Loaded::default() });
    let live: Vec<_> = contents(&keyspace).into_iter().filter(|row| row.1 != b"gone").collect();
    assert_eq!(contents(&loaded), live);
    let everything = LoadOptions { drop_expired: false, ..load_options() };
    assert_eq!(contents(&load(&target, everything).unwrap().0), contents(&keyspace));
}

#[test]
fn the_last_use_is_stored_as_the_policy_needs_it() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("dump.rdb");
    let mut keyspace = Keyspace::new(1);
    insert(&mut keyspace, 0, Entry::string(b"k", b"v", None));
    for entry in [(MaxmemoryPolicy::AllkeysLru, 7), (MaxmemoryPolicy::NoEviction, 0)] {
        let (policy, idle) = entry;
        let config = Config { maxmemory_policy: policy, ..Config::default() };
        let options = SaveOptions::new(&config, AccessPolicy::Lru, NOW_MS + 7000);
        save_file(&keyspace, &options, &directory.path().join("t"), &target, &mut NoObserver).unwrap();
        let mut loaded = Keyspace::new(1);
        let loader = Loader::open(&target, load_options()).unwrap().unwrap();
        State::new(NOW_MS).load_at_once(&mut loaded, loader, NOW_MS + 7000).unwrap();
        let clock = contents(&loaded)[0].4;
        assert_eq!(crate::keyspace::access::idle_seconds(clock, NOW_MS + 7000), idle);
    }
}

struct Weighing(Census, u64);

impl Observer for Weighing {
    fn on_entry(&mut self, entry: &Entry) {
        self.0.add(entry);
    }

    fn entry_written(&mut self, keys: u64) -> std::io::Result<()> {
        assert_eq!(keys, self.1 + 1);
        self.1 = keys;
        Ok(())
    }
}

#[test]
fn the_observer_sees_every_entry_once_and_changes_no_byte() {
    let (keyspace, options) = (sample(), options());
    let plain = write_snapshot(&keyspace, &options, Vec::new(), &mut NoObserver).unwrap();
    let mut observer = Weighing(Census::default(), 0);
    let observed = write_snapshot(&keyspace, &options, Vec::new(), &mut observer).unwrap();
    assert!(plain == observed);
    assert_eq!(observer.1, 504);
    let weights: usize = keyspace
        .databases()
        .iter()
        .flat_map(|database| database.table().iter())
        .map(|entry| entry.weight())
        .sum();
    assert_eq!(observer.0.row(ValueType::String).bytes, weights as u64);
}

#[test]
fn damaged_files_are_refused_with_offset_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("dump.rdb");
    let bytes = write_snapshot(&sample(), &options(), Vec::new(), &mut NoObserver).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&target, bytes).unwrap();
        let lines = load(&target, load_options()).err().unwrap().lines(&target);
        assert_eq!(std::fs::read(&target).unwrap(), bytes);
        lines.join("\n")
    };
    let truncated = refused(&bytes[..100]);
    assert!(
        truncated.contains("Short read or OOM loading DB") && truncated.contains("offset 100"),
        "{truncated}"
    );
    let mut flipped = bytes.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert!(refused(&flipped).contains("RDB CRC error"));
    assert!(refused(b"NOTANRDBFILE").contains("Wrong signature trying to load DB from file: NOTANRDBF"));
    assert!(refused(b"REDIS0099").contains("Can't handle RDB format version 99"));
    let mut twice = bytes.clone();
    twice.truncate(bytes.len() - 9);
    twice.extend_from_slice(&[0, 1, b'k', 1, b'v', 0, 1, b'k', 1, b'v', 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(refused(&twice).contains("Duplicated key found in RDB file"));
    for at in (0..bytes.len()).step_by(37) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&target, &bytes).unwrap();
        assert!(load(&target, load_options()).is_err(), "byte {at}");
    }
}

#[test]
fn a_missing_file_is_no_error_and_an_unreadable_one_is() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Loader::open(&directory.path().join("none"), load_options()).unwrap().is_none());
    let error = Loader::open(directory.path(), load_options()).unwrap_err();
    assert!(matches!(error, LoadError::Open(_) | LoadError::Rdb(_)));
}

#[test]
fn loading_gives_way_after_the_bytes_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("dump.rdb");
    let bytes = write_snapshot(&sample(), &options(), Vec::new(), &mut NoObserver).unwrap();
    std::fs::write(&target, &bytes).unwrap();
    let mut loader = Loader::open(&target, load_options()).unwrap().unwrap();
    let mut keyspace = Keyspace::new(4);
    let mut state = State::new(NOW_MS);
    state.begin_loading(&loader, NOW_MS);
    let mut steps = 0;
    while !loader.step(&mut keyspace, NOW_MS, 1000).unwrap() {
        state.note_loading(&loader);
        steps += 1;
        assert!(state.is_loading() && state.load_progress().unwrap().loaded_bytes > 0);
    }
    assert!(steps > 5);
    assert!(state.loading_fields(NOW_MS).iter().any(|(name, _)| *name == "loading_eta_seconds"));
    state.end_loading();
    assert_eq!(loader.counts().keys, 503);
}

#[test]
fn a_snapshot_in_pieces_of_any_size_is_decoded_and_an_empty_piece_is_not_its_end() {
    let options = SaveOptions::new(&Config::default(), AccessPolicy::Lru, 0);
    let bytes = write_snapshot(&Keyspace::new(1), &options, Vec::new(), &mut NoObserver).unwrap();
    let mut threads = crate::sys::barrier::HelperThreads::new();
    let queue = threads.spawn("receive", || ()).unwrap();
    for size in [1, 7, 1000] {
        let transfer = super::Transfer::decode(&queue, load_options());
        for piece in bytes.chunks(size) {
            transfer.offer(Vec::new());
            transfer.offer(piece.to_vec());
        }
        transfer.complete();
        queue.wait_until_idle();
        while transfer.take_batch().is_some() {}
        assert!(transfer.take_outcome().unwrap().is_ok(), "{size}");
    }
}
