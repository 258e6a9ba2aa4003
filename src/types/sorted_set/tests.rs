//! Model tests through the thresholds, the weight, and the RDB forms.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::ops::Bound;

use super::*;
use crate::memory::allocated_bytes;
use crate::rdb::format::{ValueType, VersionCheck};
use crate::rdb::{Event, Reader, Snapshot, Writer, WriterOptions};
use crate::structures::quicklist;
use crate::types::{Encoding, Limits, SetLimits, StreamLimits};

const LIMITS: FlatLimits = FlatLimits { entries: 16, value_bytes: 20 };

fn all_limits(sorted_set: FlatLimits) -> Limits {
    Limits {
        list: quicklist::Limits::new(-2, 0),
        set: SetLimits { intset_entries: 512, listpack: sorted_set },
        hash: sorted_set,
        sorted_set,
        stream: StreamLimits { node_bytes: 4096, node_entries: 100 },
    }
}

fn add(set: &mut SortedSet, member: &[u8], score: f64) -> Change {
    set.add(member, score, AddOptions::default(), LIMITS).unwrap().0
}

fn contents(set: &SortedSet) -> Vec<(Vec<u8>, f64)> {
    let mut all = Vec::new();
    set.for_each(|member, score| all.push((member.to_vec(), score)));
    all
}

fn sorted(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|one, other| one.1.partial_cmp(&other.1).unwrap().then_with(|| one.0.cmp(&other.0)));
    all
}

fn sample(count: usize) -> SortedSet {
    let mut set = SortedSet::new(0, 0, LIMITS);
    for number in 0..count {
        add(&mut set, format!("{}", number * 7 % 100).as_bytes(), (number % 5) as f64 / 2.0);
    }
    set
}

#[test]
fn agrees_with_a_model_through_the_thresholds() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..40 {
        let mut set = SortedSet::new(0, 0, LIMITS);
        let mut model = BTreeMap::new();
        for _ in 0..random.usize(..120) {
            let mut member = format!("{}", random.u32(..40)).into_bytes();
            if random.u8(..40) == 0 {
                member.resize(21, b'-');
            }
            let score = [0.0, -1.5, 3.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, 0.1][random.usize(..7)];
            if random.bool() || random.bool() {
                let change = add(&mut set, &member, score);
                let expected = match model.insert(member, score) {
                    None => Change::Added,
                    Some(old) if old == score => Change::Unchanged,
                    Some(_) => Change::Updated,
                };
                assert_eq!(change, expected);
            } else {
                assert_eq!(set.remove(&member), model.remove(&member).is_some());
            }
            assert_eq!(set.len(), model.len());
        }
        let expected = sorted(&model);
        assert_eq!(contents(&set), expected);
        assert_eq!(contents(&set.duplicate()), expected);
        for (rank, (member, score)) in expected.iter().enumerate() {
            assert_eq!(set.rank(member), Some((rank, *score)));
            assert_eq!(set.score(member), Some(*score));
        }
        let half = expected.len() / 2;
        let mut reversed = Vec::new();
        set.for_each_in(half..expected.len(), Order::Descending, |member, _| reversed.push(member.to_vec()));
        assert!(reversed.iter().rev().eq(expected[half..].iter().map(|(member, _)| member)));
        assert_eq!(set.remove_range(half..usize::MAX), expected.len() - half);
        assert_eq!(contents(&set), expected[..half]);
    }
}

#[test]
fn converts_when_members_become_too_many_or_too_long() {
    let mut set = sample(16);
    assert_eq!(set.encoding(), Encoding::SortedSetListpack);
    add(&mut set, b"one more", 1.0);
    assert_eq!(set.encoding(), Encoding::Skiplist);
    let mut set = sample(3);
    add(&mut set, &[b'x'; 20], 1.0);
    assert_eq!(set.encoding(), Encoding::SortedSetListpack);
    add(&mut set, &[b'x'; 21], 1.0);
    assert_eq!((set.encoding(), set.len()), (Encoding::Skiplist, 5));
    assert_eq!(SortedSet::new(17, 0, LIMITS).encoding(), Encoding::Skiplist);
}

#[test]
fn weighs_what_the_allocator_counts() {
    for count in [1, 16, 17, 90] {
        let before = allocated_bytes();
        let set = sample(count);
        assert_eq!(allocated_bytes() - before, set.memory_usage(), "{count} members");
        drop(set);
        assert_eq!(allocated_bytes(), before);
    }
}

#[test]
fn two_hundred_members_take_less_than_valkeys_seventy_bytes_each() {
    let mut set = SortedSet::new(0, 0, LIMITS);
    for number in 0..200 {
        add(&mut set, format!("member:{number:05}").as_bytes(), f64::from(number));
    }
    let each = set.memory_usage() as f64 / 200.0;
    assert!(each < 60.0, "{each} bytes a member");
}

#[test]
fn options_forbid_and_increments_add() {
    for count in [5, 50] {
        let mut set = sample(count);
        set.add(b"m", 5.0, AddOptions::default(), LIMITS).unwrap();
        let mut with = |score, options| set.add(b"m", score, options, LIMITS);
        let none = AddOptions::default();
        let refused = Ok((Change::Refused, 5.0));
        assert_eq!(with(7.0, AddOptions { only_new: true, ..none }), refused);
        assert_eq!(with(4.0, AddOptions { only_greater: true, ..none }), refused);
        assert_eq!(with(5.0, AddOptions { only_greater: true, ..none }), refused);
        assert_eq!(with(5.0, AddOptions { only_less: true, ..none }), refused);
        assert_eq!(with(5.0, none), Ok((Change::Unchanged, 5.0)));
        assert_eq!(
            with(-2.0, AddOptions { increment: true, only_less: true, ..none }),
            Ok((Change::Updated, 3.0))
        );
        let increment = AddOptions { increment: true, ..none };
        assert_eq!(with(f64::INFINITY, increment), Ok((Change::Updated, f64::INFINITY)));
        assert_eq!(with(f64::NEG_INFINITY, increment), Err(NotANumber));
        let xx = AddOptions { only_present: true, increment: true, ..none };
        assert_eq!(set.add(b"new", 1.0, xx, LIMITS), Ok((Change::Refused, 1.0)));
        assert_eq!(set.score(b"new"), None);
    }
}

#[test]
fn ranges_of_scores_and_members() {
    for count in [10, 100] {
        let mut set = SortedSet::new(0, 0, LIMITS);
        (0..count).for_each(|number| {
            add(&mut set, format!("{number:03}").as_bytes(), f64::from(number));
        });
        let scores = |min, max| set.score_ranks(&ScoreRange { min, max });
        assert_eq!(scores(Bound::Included(2.0), Bound::Excluded(5.0)), 2..5);
        assert_eq!(scores(Bound::Excluded(2.0), Bound::Included(5.0)), 3..6);
        assert!(scores(Bound::Excluded(2.0), Bound::Excluded(2.0)).is_empty());
        assert!(scores(Bound::Included(6.0), Bound::Included(2.0)).is_empty());
        assert_eq!(
            scores(Bound::Included(f64::NEG_INFINITY), Bound::Excluded(f64::INFINITY)).len(),
            set.len()
        );
        let lex = |min, max| set.lex_ranks(&LexRange { min, max });
        assert_eq!(lex(LexBound::BeforeAll, LexBound::AfterAll).len(), set.len());
        assert_eq!(lex(LexBound::Included(b"003"), LexBound::Excluded(b"005")), 3..5);
        assert_eq!(lex(LexBound::Excluded(b"003"), LexBound::Included(b"005")), 4..6);
        assert!(lex(LexBound::AfterAll, LexBound::BeforeAll).is_empty());
    }
}

fn write(set: &SortedSet) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    set.write_rdb(&mut writer).unwrap();
    writer.into_bytes()
}

fn read(bytes: &[u8], value_type: ValueType) -> Result<Option<SortedSet>, String> {
    let mut reader = Reader::of_slice(bytes);
    SortedSet::read_rdb(&mut reader, value_type, &all_limits(LIMITS)).map_err(|error| error.kind.to_string())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    writer.write_string(bytes).unwrap();
    writer.into_bytes()
}

fn listpack_of(elements: &[&[u8]]) -> Vec<u8> {
    let mut listpack = Listpack::new();
    elements.iter().for_each(|element| listpack.push_back(*element));
    string(listpack.as_bytes())
}

#[test]
fn comes_back_from_rdb_in_both_forms() {
    for count in [1, 16, 17, 95] {
        let mut set = sample(count);
        add(&mut set, b"0", f64::NEG_INFINITY);
        let again = read(&write(&set), set.rdb_type(80)).unwrap().unwrap();
        assert_eq!(contents(&again), contents(&set));
        assert_eq!(again.encoding(), set.encoding());
    }
    let text = b"\x02\x01b\x032.5\x01a\xff";
    let old = read(text, ValueType::SortedSet).unwrap().unwrap();
    assert_eq!(contents(&old), [(b"a".to_vec(), f64::NEG_INFINITY), (b"b".to_vec(), 2.5)]);
}

#[test]
fn a_ziplist_becomes_a_listpack() {
    // "a" 1, "b" 2.5
    let entries = b"\x00\x01a\x03\xf2\x02\x01b\x03\x032.5";
    let mut ziplist = Vec::new();
    ziplist.extend_from_slice(&(10 + entries.len() as u32 + 1).to_le_bytes());
    ziplist.extend_from_slice(&(10 + entries.len() as u32 - 5).to_le_bytes());
    ziplist.extend_from_slice(&4_u16.to_le_bytes());
    ziplist.extend_from_slice(entries);
    ziplist.push(0xff);
    let set = read(&string(&ziplist), ValueType::SortedSetZiplist).unwrap().unwrap();
    assert_eq!(contents(&set), [(b"a".to_vec(), 1.0), (b"b".to_vec(), 2.5)]);
}

#[test]
fn corrupt_forms_are_refused_and_disorder_is_mended() {
    let flat = ValueType::SortedSetListpack;
    let bad = Err("Zset listpack integrity check failed.".to_owned());
    let outcome = |bytes: &[u8]| read(bytes, flat).map(|set| set.map(|set| contents(&set)));
    assert_eq!(outcome(&listpack_of(&[])), Ok(None));
    assert_eq!(outcome(&listpack_of(&[b"a"])), bad);
    assert_eq!(outcome(&listpack_of(&[b"a", b"1", b"a", b"2"])), bad);
    assert_eq!(outcome(&listpack_of(&[b"a", b"nan"])), bad);
    assert_eq!(outcome(&listpack_of(&[b"a", b"x"])), bad);
    assert_eq!(outcome(&string(b"garbage")), bad);
    let mended = outcome(&listpack_of(&[b"b", b"2", b"a", b"1"])).unwrap().unwrap();
    assert_eq!(mended, [(b"a".to_vec(), 1.0), (b"b".to_vec(), 2.0)]);
    let twice = b"\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0";
    assert_eq!(read(twice, ValueType::SortedSet2).unwrap_err(), "Duplicate zset fields detected");
}

#[test]
fn large_listpacks_of_files_convert_by_count() {
    let elements: Vec<Vec<u8>> = (0..17).flat_map(|n| [format!("{n:02}").into_bytes(), vec![b'1']]).collect();
    let slices: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    let set = read(&listpack_of(&slices), ValueType::SortedSetListpack).unwrap().unwrap();
    assert_eq!((set.encoding(), set.len()), (Encoding::Skiplist, 17));
}

#[test]
fn minus_zero_is_kept_outside_of_listpacks_only() {
    let mut flat = sample(0);
    add(&mut flat, b"m", -0.0);
    assert!(flat.score(b"m").unwrap().is_sign_positive());
    let mut large = sample(50);
    add(&mut large, b"m", -0.0);
    assert!(large.score(b"m").unwrap().is_sign_negative());
}

#[test]
fn golden_files_are_read_and_written_back_the_same() {
    let files: [&[u8]; 2] = [
        include_bytes!("../../../tests/golden/valkey-9.1.rdb"),
        include_bytes!("../../../tests/golden/redis-8.0.rdb"),
    ];
    // The files' writers were told to keep at most four members in a listpack.
    let limits = all_limits(FlatLimits { entries: 4, value_bytes: 64 });
    let infinite = f64::INFINITY;
    for file in files {
        let mut snapshot = Snapshot::open(Reader::new(file), VersionCheck::Strict).unwrap();
        let mut found = 0;
        loop {
            let header = match snapshot.next_event().unwrap() {
                Event::Entry(header) => header,
                Event::Eof(_) => break,
                _ => continue,
            };
            let expected: &[(&str, f64)] = match snapshot.key() {
                b"zset:listpack" => &[("b", -infinite), ("a", 1.5), ("c", 3.0)],
                b"zset:skiplist" => {
                    &[("b", -infinite), ("a", 1.5), ("c", 3.0), ("e", 1e100), ("d", infinite)]
                }
                _ => continue,
            };
            let start = snapshot.offset() as usize;
            let set = SortedSet::read_rdb(snapshot.value().1, header.value_type, &limits).unwrap().unwrap();
            assert_eq!(write(&set), &file[start..snapshot.offset() as usize]);
            assert_eq!(set.rdb_type(80), header.value_type);
            let expected: Vec<_> =
                expected.iter().map(|(member, score)| (member.as_bytes().to_vec(), *score)).collect();
            assert_eq!(contents(&set), expected);
            found += 1;
        }
        assert_eq!(found, 2);
    }
}
