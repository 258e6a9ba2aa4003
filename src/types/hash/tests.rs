//! The hash against a naive model, through both encodings; its weight; its RDB forms.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;
use crate::memory::allocated_bytes;
use crate::rdb::dump;
use crate::rdb::format::{VERSION, ValueType};
use crate::rdb::snapshot::{Event, Snapshot};
use crate::rdb::writer::WriterOptions;
use crate::rdb::{Reader, Writer};
use crate::types::{Encoding, Limits, SetLimits, StreamLimits};

const LIMITS: FlatLimits = FlatLimits { entries: 32, value_bytes: 64 };

fn limits(hash: FlatLimits) -> Limits {
    Limits {
        list: crate::structures::quicklist::Limits::new(-2, 0),
        set: SetLimits { intset_entries: 512, listpack: hash },
        hash,
        sorted_set: hash,
        stream: StreamLimits { node_bytes: 4096, node_entries: 100 },
    }
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn contents(hash: &Hash) -> Model {
    let mut model = Model::new();
    hash.for_each(|field, value, expiry_ms| {
        assert!(model.insert(field.to_vec(), (value.to_vec(), expiry_ms)).is_none());
    });
    assert_eq!(hash.len(), model.len());
    model
}

fn filled(fields: usize, value_len: usize) -> Hash {
    let mut hash = Hash::new();
    for field in 0..fields {
        let value = format!("{field:0value_len$}x");
        hash.set(format!("field:{field}").as_bytes(), value.as_bytes(), NewExpiry::Keep, 0, LIMITS);
    }
    hash
}

fn random_text(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..10) {
        0..4 => random.i64(-300..300).to_string().into_bytes(),
        4..9 => vec![random.alphanumeric() as u8; random.usize(..12)],
        _ => vec![b'z'; random.usize(60..400)],
    }
}

fn step(hash: &mut Hash, model: &mut Model, random: &mut fastrand::Rng, now_ms: i64, with_expiry: bool) {
    let field = random.u16(..60).to_string().into_bytes();
    let live = |model: &Model| {
        let entry = model.get(&field)?;
        entry.1.is_none_or(|expiry_ms| now_ms <= expiry_ms).then(|| entry.clone())
    };
    match random.u8(..10) {
        0..5 => {
            let value = random_text(random);
            let expiry = match random.u8(..4) {
                0 => NewExpiry::Keep,
                1 if with_expiry => NewExpiry::Set(Some(now_ms + random.i64(0..40))),
                _ => NewExpiry::Set(None),
            };
            let before = live(model);
            let expected = match (&before, model.contains_key(&field)) {
                (Some(_), _) => Written::Updated,
                (None, true) => Written::ReplacedExpired,
                (None, false) => Written::Created,
            };
            assert_eq!(hash.set(&field, &value, expiry, now_ms, LIMITS), expected);
            let expiry_ms = match expiry {
                NewExpiry::Keep => before.and_then(|entry| entry.1),
                NewExpiry::Set(expiry_ms) => expiry_ms,
            };
            model.insert(field, (value, expiry_ms));
        }
        5..7 => {
            let there = live(model).is_some();
            assert_eq!(hash.remove(&field, now_ms), there);
            if there {
                model.remove(&field);
            }
        }
        7 if with_expiry => {
            let before = live(model);
            let expiry_ms = now_ms + random.i64(1..40);
            let allowed = random.bool();
            let change = hash.set_expiry(&field, expiry_ms, false, now_ms, |present| {
                assert_eq!(present, before.as_ref().unwrap().1);
                allowed
            });
            assert_eq!(change == ExpiryChange::Missing, before.is_none());
            assert_eq!(change == ExpiryChange::Set, before.is_some() && allowed);
            if change == ExpiryChange::Set {
                model.get_mut(&field).unwrap().1 = Some(expiry_ms);
            }
        }
        8 if with_expiry => {
            let before = live(model);
            let persisted = hash.persist(&field, now_ms);
            assert_eq!(persisted, hash_ttl(before.as_ref()));
            if before.is_some() {
                model.get_mut(&field).unwrap().1 = None;
            }
        }
        _ => {
            let expected = live(model);
            assert_eq!(hash.get(&field, now_ms).map(|value| value.to_vec()), expected.clone().map(|e| e.0));
            assert_eq!(hash.ttl(&field, now_ms), hash_ttl(expected.as_ref()));
        }
    }
}

fn hash_ttl(entry: Option<&(Vec<u8>, Option<i64>)>) -> FieldTtl {
    entry.map_or(FieldTtl::Missing, |entry| entry.1.map_or(FieldTtl::Persistent, FieldTtl::At))
}

#[test]
fn behaves_like_a_map_in_both_encodings() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for now_ms in 1000..1600 {
            step(&mut hash, &mut model, &mut random, now_ms, seed % 2 == 1);
            assert_eq!(hash.len(), model.len());
            if now_ms % 50 == 0 {
                assert_eq!(contents(&hash), model);
                assert_eq!(contents(&hash.duplicate()), model);
                assert_eq!(hash.duplicate().encoding(), hash.encoding());
                let live = model.values().filter(|entry| entry.1.is_none_or(|expiry| now_ms <= expiry));
                assert_eq!(hash.live_len(now_ms), live.count());
                let earliest = model.values().filter_map(|entry| entry.1).min();
                assert_eq!(hash.earliest_expiry_ms().is_some(), earliest.is_some());
                assert!(hash.earliest_expiry_ms() <= earliest);
            }
            if now_ms % 97 == 0 {
                let gone = hash.take_expired(now_ms, usize::MAX).len();
                let before = model.len();
                model.retain(|_, entry| entry.1.is_none_or(|expiry| now_ms <= expiry));
                assert_eq!(gone, before - model.len());
            }
        }
    }
}

#[test]
fn weighs_what_the_allocator_counts() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model::new();
        let mut hash = Hash::new();
        for now_ms in 1000..1000 + i64::from(random.u16(..2000)) {
            step(&mut hash, &mut model, &mut random, now_ms, seed % 2 == 1);
        }
        let (with, weight) = (allocated_bytes(), hash.memory_usage());
        drop(hash);
        assert_eq!(with - allocated_bytes(), weight, "seed {seed}");
    }
}

#[test]
fn converts_where_valkey_does() {
    let mut hash = filled(32, 1);
    assert_eq!(hash.encoding(), Encoding::HashListpack);
    hash.set(b"field:1", &[b'v'; 64], NewExpiry::Keep, 0, LIMITS);
    assert_eq!(hash.encoding(), Encoding::HashListpack);
    let mut longer = hash.duplicate();
    longer.set(b"field:1", &[b'v'; 65], NewExpiry::Keep, 0, LIMITS);
    assert_eq!(longer.encoding(), Encoding::HashHashtable);
    let mut expiring = hash.duplicate();
    assert_eq!(expiring.set_expiry(b"none", 9, false, 5, |_| true), ExpiryChange::Missing);
    assert_eq!(expiring.set_expiry(b"field:1", 9, true, 5, |_| true), ExpiryChange::Expired);
    assert_eq!(expiring.encoding(), Encoding::HashListpack);
    assert_eq!(expiring.set_expiry(b"field:2", 9, false, 5, |_| true), ExpiryChange::Set);
    assert_eq!(expiring.encoding(), Encoding::HashHashtable);
    hash.set(b"one more", b"", NewExpiry::Keep, 0, LIMITS);
    assert_eq!(hash.encoding(), Encoding::HashHashtable);
    let mut prepared = Hash::new();
    prepared.prepare(33, 1, 66, LIMITS);
    assert_eq!(prepared.encoding(), Encoding::HashHashtable);
}

#[test]
fn a_table_of_200_fields_takes_less_than_valkeys() {
    // Valkey 9.1 takes 37.5 bytes a field with 8-byte fields and 8-byte values, its entry included.
    let mut hash = Hash::new();
    for field in 0..200 {
        let (field, value) = (format!("field{field:03}"), format!("v{field:07}"));
        hash.set(field.as_bytes(), value.as_bytes(), NewExpiry::Keep, 0, LIMITS);
    }
    let per_field = hash.memory_usage() as f64 / 200.0;
    assert!(per_field < 37.3, "{per_field}");
}

#[test]
fn sweeps_take_no_more_than_they_are_allowed() {
    let mut hash = filled(1000, 3);
    for field in 0..600 {
        let name = format!("field:{field}");
        hash.set_expiry(name.as_bytes(), 100 + field, false, 0, |_| true);
    }
    assert_eq!(hash.take_expired(100, 1000).len(), 0);
    assert_eq!(hash.take_expired(101, 1000).len(), 1);
    assert_eq!(hash.take_expired(300, 50).len(), 50);
    assert_eq!(hash.live_len(300), 800);
    assert_eq!(hash.take_expired(300, 1000).len(), 149);
    assert_eq!(hash.earliest_expiry_ms(), Some(300));
    assert!(hash.expiry_usage() > 0);
    assert_eq!(hash.take_expired(10_000, usize::MAX).len(), 400);
    assert_eq!((hash.len(), hash.volatile_fields(), hash.earliest_expiry_ms()), (400, 0, None));
}

#[test]
fn samples_are_different_live_fields() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut expiring = filled(300, 3);
    for field in 0..100 {
        expiring.set_expiry(format!("field:{field}").as_bytes(), 10, false, 0, |_| true);
    }
    for (hash, live) in [(filled(20, 2), 20), (filled(300, 2), 300), (expiring, 200)] {
        for count in [1, 5, 19, 50, 150, 400] {
            let mut seen = std::collections::HashSet::new();
            let found = hash.sample(count, 50, &mut random, |(field, value)| {
                assert_eq!(hash.get(&field.to_vec(), 50), Some(value));
                assert!(seen.insert(field.to_vec()));
            });
            assert_eq!((found, seen.len()), (count.min(live), count.min(live)));
        }
        let mut visited = 0;
        assert_eq!(hash.random_many(500, 50, &mut random, |_| visited += 1), 500);
        assert_eq!(visited, 500);
    }
    assert!(Hash::new().random(0, &mut random).is_none());
}

#[test]
fn a_scan_sees_every_field() {
    for hash in [filled(20, 2), filled(700, 2)] {
        let (mut cursor, mut seen, mut counted) = (0, Model::new(), 0);
        loop {
            let (next, count) = hash.scan(cursor, 0, |field, value| {
                seen.insert(field.to_vec(), (value.to_vec(), None));
            });
            counted += count;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, contents(&hash));
        assert!(counted >= hash.len());
    }
}

fn written(hash: &Hash) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    hash.write_rdb(&mut writer).unwrap();
    writer.into_bytes()
}

#[test]
fn comes_back_from_rdb_as_it_was() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for now_ms in 1000..1000 + i64::from(random.u16(1..400)) {
            step(&mut hash, &mut model, &mut random, now_ms, seed % 2 == 1);
        }
        let bytes = written(&hash);
        let mut reader = Reader::of_slice(&bytes);
        let read = Hash::read_rdb(&mut reader, hash.rdb_type(VERSION), &limits(LIMITS), None).unwrap();
        assert_eq!(read.as_ref().map(contents).unwrap_or_default(), model);
        assert_eq!(reader.offset(), bytes.len() as u64);
        let mut reader = Reader::of_slice(&bytes);
        let mut expired = ExpiredFields { before_ms: 1300, names: Vec::new() };
        let form = hash.rdb_type(VERSION);
        let read = Hash::read_rdb(&mut reader, form, &limits(LIMITS), Some(&mut expired)).unwrap();
        for name in &expired.names {
            let (_, expiry_ms) = model.remove(name).unwrap();
            assert!(expiry_ms.is_some_and(|expiry_ms| expiry_ms < 1300));
        }
        assert!(model.values().all(|entry| entry.1.is_none_or(|expiry_ms| expiry_ms >= 1300)));
        assert_eq!(read.as_ref().map(contents).unwrap_or_default(), model);
        for end in 0..bytes.len() {
            let mut reader = Reader::of_slice(&bytes[..end]);
            let _ = Hash::read_rdb(&mut reader, hash.rdb_type(VERSION), &limits(LIMITS), None);
        }
    }
}

fn golden(file: &[u8]) -> BTreeMap<String, (ValueType, Model, Encoding)> {
    let mut snapshot = Snapshot::open(Reader::new(file), Default::default()).unwrap();
    let mut hashes = BTreeMap::new();
    loop {
        match snapshot.next_event().unwrap() {
            Event::Entry(header) => {
                let key = String::from_utf8(snapshot.key().to_vec()).unwrap();
                let reader = snapshot.value().1;
                if !key.starts_with("hash:") {
                    reader.skip_value(header.value_type).unwrap();
                    continue;
                }
                let hash = Hash::read_rdb(reader, header.value_type, &limits(LIMITS), None);
                let hash = hash.unwrap().unwrap();
                hashes.insert(key, (header.value_type, contents(&hash), hash.encoding()));
            }
            Event::Eof(_) => return hashes,
            _ => {}
        }
    }
}

#[test]
fn reads_what_valkey_and_redis_wrote() {
    let model = |count: u8, expiring: &[(u8, i64)]| -> Model {
        let entry = |field: u8| {
            let expiry_ms = expiring.iter().find(|row| row.0 == field).map(|row| row.1);
            (vec![b'f', b'0' + field], (vec![b'v', b'0' + field], expiry_ms))
        };
        (1..=count).map(entry).collect()
    };
    let expiring = [(2, 4_102_444_800_000), (3, 4_102_444_900_000)];
    for (file, types) in [
        (&include_bytes!("../../../tests/golden/valkey-9.1.rdb")[..], [ValueType::Hash2, ValueType::Hash2]),
        (
            &include_bytes!("../../../tests/golden/redis-8.0.rdb")[..],
            [ValueType::HashListpackExpiry, ValueType::HashMetadata],
        ),
    ] {
        let hashes = golden(file);
        let (value_type, found, encoding) = &hashes["hash:expiring"];
        assert_eq!((*value_type, *encoding), (types[0], Encoding::HashHashtable));
        assert_eq!(*found, model(3, &expiring));
        let (value_type, found, _) = &hashes["hash:expiring-large"];
        assert_eq!((*value_type, found), (types[1], &model(5, &expiring)));
        // A table that fits a listpack by the limits of the reader becomes one.
        let (value_type, found, encoding) = &hashes["hash:hashtable"];
        assert_eq!((*value_type, *encoding), (ValueType::Hash, Encoding::HashListpack));
        assert_eq!(*found, model(5, &[]));
        assert_eq!(hashes["hash:listpack"].1[&b"f2"[..]].0, b"2");
    }
}

#[test]
fn reads_and_writes_valkeys_dump_payloads() {
    let payload = include_bytes!("../../../tests/golden/valkey-9.1-hash.dump");
    let payload = dump::verify(payload, Default::default(), true).unwrap();
    let (value_type, mut reader) = payload.open().unwrap();
    let hash = Hash::read_rdb(&mut reader, value_type, &limits(LIMITS), None).unwrap().unwrap();
    assert_eq!(hash.rdb_type(VERSION), value_type);
    assert!(!hash.is_empty());
}

fn refusal(value_type: ValueType, bytes: &[u8]) -> String {
    let mut writer = Writer::in_memory(WriterOptions::default());
    writer.write_string(bytes).unwrap();
    let bytes = writer.into_bytes();
    let read = Hash::read_rdb(&mut Reader::of_slice(&bytes), value_type, &limits(LIMITS), None);
    read.map(|hash| hash.map(|hash| contents(&hash))).unwrap_err().kind.to_string()
}

#[test]
fn refuses_what_contradicts_itself() {
    let mut odd = Listpack::new();
    odd.extend(&[(&b"a"[..]).into(), (&b"b"[..]).into(), (&b"c"[..]).into()]);
    let mut twice = odd.clone();
    twice.extend(&[(&b"x"[..]).into(), (&b"a"[..]).into(), (&b"y"[..]).into()]);
    let mut many = Listpack::new();
    for number in (0..30).chain([7]) {
        many.extend(&[number.into(), (&b"value"[..]).into()]);
    }
    for listpack in [&odd, &twice, &many] {
        let text = refusal(ValueType::HashListpack, listpack.as_bytes());
        assert_eq!(text, "Hash listpack integrity check failed.");
    }
    // a, b, c is a triple, but c is no time.
    let mut bytes = vec![0; 8];
    bytes.extend_from_slice(&{
        let mut writer = Writer::in_memory(WriterOptions::default());
        writer.write_string(odd.as_bytes()).unwrap();
        writer.into_bytes()
    });
    let mut reader = Reader::of_slice(&bytes);
    assert!(Hash::read_rdb(&mut reader, ValueType::HashListpackExpiry, &limits(LIMITS), None).is_err());
    let duplicate = [2, 1, b'a', 1, b'1', 1, b'a', 1, b'2'];
    let mut reader = Reader::of_slice(&duplicate);
    assert!(Hash::read_rdb(&mut reader, ValueType::Hash, &limits(LIMITS), None).is_err());
    let tables = limits(FlatLimits { entries: 0, ..LIMITS });
    let mut reader = Reader::of_slice(&duplicate);
    assert!(Hash::read_rdb(&mut reader, ValueType::Hash, &tables, None).is_err());
    let empty = Listpack::new();
    let mut bytes = vec![empty.byte_len() as u8];
    bytes.extend_from_slice(empty.as_bytes());
    let read = Hash::read_rdb(&mut Reader::of_slice(&bytes), ValueType::HashListpack, &tables, None);
    assert!(read.unwrap().is_none());
}
