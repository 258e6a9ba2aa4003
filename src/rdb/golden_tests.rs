//! Files written by real servers (`tests/golden/generate.sh`), read as events and to the last byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::collections::{self, ListNode};
use super::dump;
use super::format::{ValueType, VersionCheck};
use super::reader::Reader;
use super::snapshot::{ChecksumState, EntryHeader, Event, Snapshot};
use super::writer::{LastUse, Writer, WriterOptions};

const VALKEY: &[u8] = include_bytes!("../../tests/golden/valkey-9.1.rdb");
const VALKEY_LRU: &[u8] = include_bytes!("../../tests/golden/valkey-9.1-lru.rdb");
const VALKEY_LFU: &[u8] = include_bytes!("../../tests/golden/valkey-9.1-lfu-no-checksum.rdb");
const VALKEY_CLUSTER: &[u8] = include_bytes!("../../tests/golden/valkey-9.1-cluster.rdb");
const REDIS: &[u8] = include_bytes!("../../tests/golden/redis-8.0.rdb");

/// Expiry of the one string that has one.
const EXPIRY_MS: i64 = 4_102_444_800_123;

/// A file, with the bytes of each value as they stand in it.
#[derive(Default)]
struct Contents {
    events: Vec<Event>,
    entries: BTreeMap<String, (EntryHeader, Vec<u8>)>,
}

impl Contents {
    fn of(file: &[u8]) -> Self {
        let mut snapshot = Snapshot::open(Reader::new(file), VersionCheck::Strict).unwrap();
        let mut contents = Self::default();
        loop {
            match snapshot.next_event().unwrap() {
                Event::Entry(header) => {
                    let start = snapshot.offset() as usize;
                    snapshot.value().1.skip_value(header.value_type).unwrap();
                    let value = file[start..snapshot.offset() as usize].to_vec();
                    let key = String::from_utf8(snapshot.key().to_vec()).unwrap();
                    assert!(contents.entries.insert(key, (header, value)).is_none());
                }
                Event::Eof(state) => {
                    contents.events.push(Event::Eof(state));
                    assert_eq!(snapshot.offset(), file.len() as u64);
                    return contents;
                }
                other => contents.events.push(other),
            }
        }
    }

    fn aux(&self, name: &str) -> Option<&[u8]> {
        self.events.iter().find_map(|event| match event {
            Event::Aux { key, value } if key == name.as_bytes() => Some(&value[..]),
            _ => None,
        })
    }

    fn reader(&self, key: &str) -> (ValueType, Reader<&[u8]>) {
        let (header, value) = &self.entries[key];
        (header.value_type, Reader::of_slice(value))
    }

    fn text(&self, key: &str) -> String {
        let (value_type, mut reader) = self.reader(key);
        assert_eq!(value_type, ValueType::String);
        String::from_utf8(reader.read_string_owned().unwrap()).unwrap()
    }
}

fn check_strings(contents: &Contents) {
    let expected = [
        ("string:int8", "-7"),
        ("string:int16", "12345"),
        ("string:int32", "-2000000000"),
        ("string:int64", "1234567890123"),
        ("string:leading-zero", "007"),
        ("string:empty", ""),
        ("string:raw", "plain text"),
        ("string:lzf", &"a".repeat(80)),
        ("string:expiring", "soon"),
        ("other:db", "here"),
    ];
    for (key, value) in expected {
        assert_eq!(contents.text(key), value, "{key}");
        let expiry_ms = contents.entries[key].0.expiry_ms;
        assert_eq!(expiry_ms, (key == "string:expiring").then_some(EXPIRY_MS));
    }
}

fn check_collections(contents: &Contents) {
    let (value_type, mut reader) = contents.reader("set:hashtable");
    assert_eq!(value_type, ValueType::Set);
    let mut members = Vec::new();
    collections::read_elements(&mut reader, drop, |member| {
        members.push(member[0]);
        Ok(())
    })
    .unwrap();
    members.sort_unstable();
    assert_eq!(members, b"abcde");

    let (value_type, mut reader) = contents.reader("zset:skiplist");
    assert_eq!(value_type, ValueType::SortedSet2);
    let mut scored = Vec::new();
    collections::read_scored(&mut reader, value_type, drop, |member, score| {
        scored.push((member[0], score));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        scored,
        [(b'd', f64::INFINITY), (b'e', 1e100), (b'c', 3.0), (b'a', 1.5), (b'b', f64::NEG_INFINITY)]
    );

    let (value_type, mut reader) = contents.reader("list:quicklist");
    assert_eq!(value_type, ValueType::ListQuicklist2);
    let mut nodes = 0;
    collections::read_list_nodes(&mut reader, value_type, |node| {
        assert!(matches!(node, ListNode::Listpack(_)));
        nodes += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(nodes, 2);

    let types = [
        ("list:listpack", ValueType::ListQuicklist2),
        ("set:intset", ValueType::SetIntset),
        ("set:listpack", ValueType::SetListpack),
        ("hash:listpack", ValueType::HashListpack),
        ("zset:listpack", ValueType::SortedSetListpack),
        ("stream", ValueType::StreamListpacks3),
    ];
    for (key, value_type) in types {
        assert_eq!(contents.entries[key].0.value_type, value_type, "{key}");
    }
}

fn fields(contents: &Contents, key: &str) -> BTreeMap<String, (String, Option<i64>)> {
    let (value_type, mut reader) = contents.reader(key);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut seen = BTreeMap::new();
    collections::read_fields(&mut reader, value_type, drop, |field, value, expiry_ms| {
        seen.insert(text(field), (text(value), expiry_ms));
        Ok(())
    })
    .unwrap();
    seen
}

fn expected_fields(count: usize, with_expiry: bool) -> BTreeMap<String, (String, Option<i64>)> {
    let expiry_ms = |i| match i {
        2 if with_expiry => Some(4_102_444_800_000),
        3 if with_expiry => Some(4_102_444_900_000),
        _ => None,
    };
    (1..=count).map(|i| (format!("f{i}"), (format!("v{i}"), expiry_ms(i)))).collect()
}

fn check_databases(contents: &Contents) {
    let databases: Vec<_> = contents
        .events
        .iter()
        .filter(|event| matches!(event, Event::SelectDb(_) | Event::ResizeDb { .. }))
        .collect();
    let expected = [
        Event::SelectDb(0),
        Event::ResizeDb { keys: 21, expiries: 1 },
        Event::SelectDb(3),
        Event::ResizeDb { keys: 1, expiries: 0 },
    ];
    assert_eq!(databases, expected.iter().collect::<Vec<_>>());
    assert_eq!(contents.entries.len(), 22);
    assert_eq!(contents.events.last(), Some(&Event::Eof(ChecksumState::Verified)));
    let library = contents.events.iter().find_map(|event| match event {
        Event::Function(source) => Some(String::from_utf8_lossy(source)),
        _ => None,
    });
    assert!(library.unwrap().starts_with("#!lua name=mylib\nredis.register_function"));
}

#[test]
fn a_file_of_valkey_is_read() {
    let contents = Contents::of(VALKEY);
    assert!(contents.aux("valkey-ver").unwrap().starts_with(b"9.1."));
    assert_eq!(contents.aux("redis-bits"), Some(&b"64"[..]));
    check_strings(&contents);
    check_collections(&contents);
    check_databases(&contents);
    assert_eq!(contents.entries["hash:expiring"].0.value_type, ValueType::Hash2);
    assert_eq!(fields(&contents, "hash:expiring"), expected_fields(3, true));
    assert_eq!(fields(&contents, "hash:expiring-large"), expected_fields(5, true));
    assert_eq!(fields(&contents, "hash:hashtable"), expected_fields(5, false));
}

#[test]
fn a_file_of_redis_is_read() {
    let contents = Contents::of(REDIS);
    assert!(contents.aux("redis-ver").unwrap().starts_with(b"8.0."));
    check_strings(&contents);
    check_collections(&contents);
    check_databases(&contents);
    assert_eq!(contents.entries["hash:expiring-large"].0.value_type, ValueType::HashMetadata);
    assert_eq!(fields(&contents, "hash:expiring-large"), expected_fields(5, true));
    assert_eq!(fields(&contents, "hash:hashtable"), expected_fields(5, false));
    let (value_type, mut reader) = contents.reader("hash:expiring");
    assert_eq!(value_type, ValueType::HashListpackExpiry);
    let listpack = collections::read_listpack_with_expiry(&mut reader).unwrap();
    assert_eq!(listpack[..6], [listpack.len() as u8, 0, 0, 0, 9, 0]);
}

#[test]
fn last_use_follows_the_policy_of_the_writer() {
    let header =
        EntryHeader { value_type: ValueType::String, expiry_ms: None, idle_seconds: None, frequency: None };
    let lru = Contents::of(VALKEY_LRU);
    assert_eq!(lru.entries["key"].0, EntryHeader { idle_seconds: Some(0), ..header });
    let lfu = Contents::of(VALKEY_LFU);
    assert_eq!(lfu.entries["key"].0, EntryHeader { frequency: Some(5), ..header });
    assert_eq!(lfu.events.last(), Some(&Event::Eof(ChecksumState::NotStored)));
    let cluster = Contents::of(VALKEY_CLUSTER);
    assert_eq!(cluster.aux("slot-info"), Some(&b"12539,1,1,0"[..]));
    assert_eq!(cluster.entries["key"].0, EntryHeader { expiry_ms: Some(EXPIRY_MS), ..header });
}

#[test]
fn truncation_of_a_real_file_is_an_error_at_its_end() {
    for file in [VALKEY, REDIS] {
        for len in 0..file.len() {
            let outcome =
                Snapshot::open(Reader::new(&file[..len]), VersionCheck::Strict).and_then(|mut snapshot| {
                    while !matches!(snapshot.next_event()?, Event::Eof(_)) {}
                    Ok(())
                });
            assert_eq!(outcome.unwrap_err().offset, len as u64);
        }
    }
}

/// Writes again what was read, primitive by primitive; the bytes must not differ.
#[test]
fn a_file_of_valkey_is_written_again_to_the_byte() {
    let options = WriterOptions::default();
    let mut snapshot = Snapshot::open(Reader::new(VALKEY), VersionCheck::Strict).unwrap();
    let mut writer = Writer::new(Vec::new(), options);
    writer.write_header().unwrap();
    let mut database = 0;
    loop {
        match snapshot.next_event().unwrap() {
            Event::Aux { key, value } => writer.write_aux(&key, &value).unwrap(),
            Event::Function(source) => writer.write_function(&source).unwrap(),
            Event::SelectDb(number) => database = number,
            Event::ResizeDb { keys, expiries } => writer.write_database(database, keys, expiries).unwrap(),
            Event::Entry(header) => {
                writer
                    .write_entry(header.value_type, snapshot.key(), header.expiry_ms, LastUse::Unknown)
                    .unwrap();
                let start = snapshot.offset() as usize;
                snapshot.value().1.skip_value(header.value_type).unwrap();
                writer.write_raw(&VALKEY[start..snapshot.offset() as usize]).unwrap();
            }
            Event::Eof(_) => break,
            other => panic!("{other:?}"),
        }
    }
    let bytes = writer.finish().unwrap();
    assert_eq!(bytes, VALKEY);
}

#[test]
fn a_dump_payload_of_valkey_is_verified_and_made_again() {
    const DUMP: &[u8] = include_bytes!("../../tests/golden/valkey-9.1-hash.dump");
    let opened = dump::verify(DUMP, VersionCheck::Strict, true).unwrap();
    assert_eq!(opened.version, 80);
    let (value_type, mut reader) = opened.open().unwrap();
    assert_eq!(value_type, ValueType::HashListpack);
    reader.skip_value(value_type).unwrap();
    assert_eq!(reader.offset() as usize, opened.body.len() - 1);
    let mut again = opened.body.to_vec();
    dump::append_footer(&mut again, opened.version);
    assert_eq!(again, DUMP);
}
