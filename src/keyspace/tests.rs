//! Strings under keys against a naive model: values, encodings, expiries, and every byte accounted for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashMap;

use super::{Entry, Keys, Keyspace, WriteExpiry};
use crate::algorithms::slot::slot_of;
use crate::memory::{MemoryUsage, allocated_bytes};
use crate::types::Encoding;

fn keys(keyspace: &mut Keyspace, now_ms: i64) -> Keys<'_> {
    Keys { keyspace, database: 0, now_ms, hint: None, touches: true }
}

fn value(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..4) {
        0 => random.i64(-1000..1000).to_string().into_bytes(),
        1 => vec![b'x'; random.usize(..140)],
        2 => vec![b'y'; random.usize(..5000)],
        _ => vec![b'z'; 100 + random.usize(..20)],
    }
}

fn expected_encoding(key: &[u8], value: &[u8], expiry: Option<i64>) -> Encoding {
    Entry::string(key, value, expiry).encoding()
}

#[test]
fn overwriting_gives_what_a_new_entry_would_hold() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut keyspace = Keyspace::new(1);
    let mut model: HashMap<Vec<u8>, (Vec<u8>, Option<i64>)> = HashMap::new();
    for step in 0..20_000 {
        let key = format!("key{}", "k".repeat(random.usize(..8) * 9)).into_bytes();
        let value = value(&mut random);
        let mut keys = keys(&mut keyspace, 0);
        let old = model.get(&key).and_then(|(_, expiry)| *expiry);
        let (write, expiry) = match random.u8(..4) {
            0 => (WriteExpiry::Clear, None),
            1 => (WriteExpiry::Keep, old),
            _ => (WriteExpiry::At(1000 + step), Some(1000 + step)),
        };
        drop(keys.set_string(&key, &value, write));
        let entry = keys.peek(&key).unwrap();
        assert_eq!(entry.key(), key);
        assert_eq!(entry.as_string().unwrap().to_vec(), value);
        assert_eq!(entry.expiry_ms(), expiry);
        assert_eq!(entry.encoding(), expected_encoding(&key, &value, expiry));
        model.insert(key, (value, expiry));
        assert_eq!(keys.db().len(), model.len());
        assert_eq!(keys.db().expires(), model.values().filter(|(_, expiry)| expiry.is_some()).count());
    }
}

#[test]
fn strings_weigh_what_the_allocator_counts() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut keyspace = Keyspace::new(1);
    let before = allocated_bytes();
    for step in 0..3000 {
        let key = format!("key:{}", random.u8(..)).into_bytes();
        let value = value(&mut random);
        let mut keys = keys(&mut keyspace, 0);
        match random.u8(..5) {
            0 => drop(keys.remove(&key)),
            1 => drop(keys.set_expiry(&key, (step % 2 == 0).then_some(50_000))),
            2 => {
                if let Some(mut string) = keys.write_string(&key).unwrap() {
                    string.append(&value);
                }
            }
            3 => drop(keys.set_string(&key, &value, WriteExpiry::Keep)),
            _ => drop(keys.set_string(&key, &value, WriteExpiry::Clear)),
        }
    }
    let table = keyspace.databases()[0].table();
    let weight: usize = table.memory_usage() + table.iter().map(|entry| entry.weight()).sum::<usize>();
    assert_eq!(allocated_bytes() - before, weight);
}

#[test]
fn an_overwrite_of_the_same_size_class_keeps_the_block() {
    let mut entry = Entry::string(b"key", b"twelve bytes", None);
    assert!(entry.overwrite(b"eleven byte", None));
    assert_eq!(entry.as_string().unwrap().to_vec(), b"eleven byte");
    assert!(!entry.overwrite(b"11", None));
    assert!(!entry.overwrite(&[b'e'; 90], None));
    let mut entry = Entry::string(b"key", &[b'r'; 1000], None);
    assert!(entry.overwrite(&[b's'; 999], None));
    assert_eq!(entry.as_string().unwrap().to_vec(), [b's'; 999]);
    assert!(!entry.overwrite(b"short", None));
    assert!(!entry.overwrite(&[b's'; 999], Some(1)));
}

#[test]
fn an_expired_key_is_gone_for_whoever_looks_and_leaves_a_note() {
    let mut keyspace = Keyspace::new(1);
    drop(keys(&mut keyspace, 0).set_string(b"key", b"value", WriteExpiry::At(10)));
    assert!(keys(&mut keyspace, 9).contains(b"key"));
    assert!(keys(&mut keyspace, 11).read(b"key").is_none());
    assert_eq!(keyspace.counters.expired, 1);
    assert_eq!(keyspace.take_happened().len(), 1);
    assert!(keyspace.is_empty());
}

#[test]
fn a_slot_knows_its_keys_whatever_becomes_of_their_entries() {
    let mut random = fastrand::Rng::with_seed(8);
    let mut keyspace = Keyspace::new(1);
    keyspace.index_slots();
    let tagged = slot_of(b"tag");
    for _ in 0..30_000 {
        let number = random.u16(..5000);
        let key = if random.bool() { format!("{{tag}}{number}") } else { number.to_string() }.into_bytes();
        let mut keys = keys(&mut keyspace, 0);
        if random.u8(..3) == 0 {
            drop(keys.remove(&key));
        } else {
            drop(keys.set_string(&key, &value(&mut random), WriteExpiry::Keep));
        }
    }
    let database = &keyspace.databases()[0];
    for slot in [tagged, slot_of(b"1"), slot_of(b"2"), slot_of(b"{nobody}")] {
        let in_slot = |entry: &Entry| (slot_of(entry.key()) == slot).then(|| entry.key().to_vec());
        let mut expected: Vec<_> = database.table().iter().filter_map(|entry| in_slot(&entry)).collect();
        let mut found: Vec<_> = database.entries_in_slot(slot).map(|entry| entry.key().to_vec()).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(database.keys_in_slot(slot), expected.len());
        let (mut scanned, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = database.scan_slot(slot, cursor, |entry| scanned.push(entry.key().to_vec()));
            if cursor == 0 {
                break;
            }
        }
        scanned.sort();
        assert_eq!(scanned, expected);
    }
    assert!(database.keys_in_slot(tagged) > 2000);
    let emptied = keyspace.databases_mut()[0].take();
    assert!(emptied.slots_usage() > 0 && keyspace.slots_usage() == 0);
}
