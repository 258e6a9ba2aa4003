//! Lists against a model through every threshold, against the allocator, and through RDB in all its forms.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::memory::allocated_bytes;
use crate::rdb::format::{ValueType, VersionCheck};
use crate::rdb::{Event, Reader, Snapshot, Writer, WriterOptions};
use crate::types::{Encoding, FlatLimits, Limits as AllLimits, SetLimits, StreamLimits};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

fn limits(list: Limits) -> AllLimits {
    let flat = FlatLimits { entries: 128, value_bytes: 64 };
    AllLimits {
        list,
        set: SetLimits { intset_entries: 512, listpack: flat },
        hash: flat,
        sorted_set: flat,
        stream: StreamLimits { node_bytes: 4096, node_entries: 100 },
    }
}

fn contents(list: &List) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    list.for_each(|element| elements.push(element.to_vec()));
    elements
}

fn list_of(elements: &[&[u8]], limits: Limits) -> List {
    let mut list = List::default();
    list.push(End::Tail, elements.iter().copied(), limits);
    list
}

fn check(list: &List, model: &[Vec<u8>], rng: &mut fastrand::Rng) {
    assert_eq!(contents(list), model);
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    let place = rng.usize(..=model.len());
    assert_eq!(list.get(place, |value| value.to_vec()).as_ref(), model.get(place));
    let count = rng.usize(..10);
    let mut seen = Vec::new();
    list.visit(place, count, |value| seen.push(value.to_vec()));
    assert_eq!(seen, &model[place..(place + count).min(model.len())]);
    for direction in DIRECTIONS {
        let mut cursor = list.cursor(place, direction);
        for step in 0..5 {
            let expected = match direction {
                Direction::Forward => model.get(place + step),
                Direction::Backward if place < model.len() => place.checked_sub(step).map(|at| &model[at]),
                Direction::Backward => None,
            };
            assert_eq!(cursor.next().map(|value| value.to_vec()).as_ref(), expected);
        }
    }
}

fn random_element(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..20) {
        0..=7 => rng.u8(..20).to_string().into_bytes(),
        8..=15 => (0..rng.usize(..30)).map(|_| rng.u8(..)).collect(),
        16..=18 => vec![b'r'; rng.usize(100..900)],
        _ => vec![b'L'; rng.usize(4000..9000)],
    }
}

fn change(list: &mut List, model: &mut Vec<Vec<u8>>, limits: Limits, rng: &mut fastrand::Rng) {
    let element = random_element(rng);
    let end = if rng.bool() { End::Head } else { End::Tail };
    let place = rng.usize(..=model.len());
    match rng.u8(..20) {
        0..=5 => {
            let elements: Vec<Vec<u8>> = (0..rng.usize(1..4)).map(|_| random_element(rng)).collect();
            list.push(end, elements.iter().map(Vec::as_slice), limits);
            for element in elements {
                model.insert(if end == End::Head { 0 } else { model.len() }, element);
            }
        }
        6..=8 => {
            let expected = match end {
                _ if model.is_empty() => None,
                End::Head => Some(model.remove(0)),
                End::Tail => model.pop(),
            };
            assert_eq!(list.pop(end, limits, |value| value.to_vec()), expected);
        }
        9..=10 => {
            let exists = place < model.len();
            assert_eq!(list.replace(exists.then_some(place), &element, limits), exists);
            if exists {
                model[place] = element;
            }
        }
        11..=12 => insert(list, model, limits, rng),
        13 => {
            let count = rng.usize(..20);
            list.remove_range(place, count, limits);
            model.drain(place..(place + count).min(model.len()));
        }
        14 => {
            let count = rng.usize(..200);
            list.keep_range(place, count, limits);
            model.truncate(place + count);
            model.drain(..place);
        }
        15..=16 => remove_matching(list, model, limits, rng),
        _ => {
            let to = if rng.bool() { End::Head } else { End::Tail };
            let moved = list.rotate(end, to, limits, <[u8]>::to_vec);
            if !model.is_empty() {
                let value = model.remove(if end == End::Head { 0 } else { model.len() - 1 });
                assert_eq!(moved, Some(value.clone()));
                model.insert(if to == End::Head { 0 } else { model.len() }, value);
            }
        }
    }
}

fn insert(list: &mut List, model: &mut Vec<Vec<u8>>, limits: Limits, rng: &mut fastrand::Rng) {
    let (pivot, element) = (random_element(rng), random_element(rng));
    let side = if rng.bool() { Side::Before } else { Side::After };
    let found = model.iter().position(|other| *other == pivot);
    assert_eq!(list.insert(&pivot, side, &element, limits), found.is_some());
    if let Some(found) = found {
        model.insert(if side == Side::After { found + 1 } else { found }, element);
    }
}

fn remove_matching(list: &mut List, model: &mut Vec<Vec<u8>>, limits: Limits, rng: &mut fastrand::Rng) {
    let text = random_element(rng);
    let max = rng.usize(1..4);
    let direction = DIRECTIONS[rng.usize(..2)];
    let mut found: Vec<usize> = (0..model.len()).filter(|&place| model[place] == text).collect();
    if direction == Direction::Backward {
        found.reverse();
    }
    found.truncate(max);
    assert_eq!(list.remove_matching(&text, max, direction, limits), found.len());
    found.sort_unstable();
    for place in found.into_iter().rev() {
        model.remove(place);
    }
}

#[test]
fn random_changes_agree_with_a_model_and_the_allocator_under_many_limits() {
    for fill in [-1, -2, 2, 4, 32] {
        for depth in [0, 1] {
            for threshold in [0, 200] {
                let limits = Limits::new(fill, depth).with_packed_threshold(threshold);
                let mut rng = fastrand::Rng::with_seed((fill * 100 + depth) as u64);
                let (mut list, mut model) = (List::default(), Vec::new());
                let mut encodings = [0, 0];
                for _ in 0..600 {
                    change(&mut list, &mut model, limits, &mut rng);
                    check(&list, &model, &mut rng);
                    encodings[usize::from(list.encoding() == Encoding::Quicklist)] += 1;
                    let before = allocated_bytes();
                    let copy = list.duplicate();
                    assert_eq!(allocated_bytes() - before, copy.memory_usage());
                    assert_eq!(copy.encoding(), list.encoding());
                }
                assert!(encodings[0] > 10 && encodings[1] > 10, "{limits:?} {encodings:?}");
            }
        }
    }
}

#[test]
fn memory_usage_follows_every_change() {
    let limits = Limits::new(-1, 0);
    let before = allocated_bytes();
    let mut list = List::default();
    for number in 0..20_000u32 {
        let element = [0; 4].map(|_| number as u8 | 0x80);
        list.push(End::Tail, std::iter::once(&element[..]), limits);
        assert_eq!(allocated_bytes() - before, list.memory_usage());
    }
    while list.pop(End::Head, limits, |_| ()).is_some() {
        assert_eq!(allocated_bytes() - before, list.memory_usage());
    }
    assert_eq!(list.encoding(), Encoding::ListListpack);
    drop(list);
    assert_eq!(allocated_bytes(), before);
}

#[test]
fn encodings_change_at_the_limit_and_back_at_half_of_it() {
    let limits = Limits::new(4, 0);
    let mut list = list_of(&[b"a", b"b", b"c", b"d"], limits);
    assert_eq!(list.encoding(), Encoding::ListListpack);
    assert!(!list.insert(b"missing", Side::After, b"e", limits));
    assert_eq!(list.encoding(), Encoding::Quicklist, "an insert that finds no pivot converts all the same");
    list.push(End::Tail, std::iter::once(&b"e"[..]), limits);
    for (len, encoding) in [
        (4, Encoding::Quicklist),
        (3, Encoding::Quicklist),
        (2, Encoding::ListListpack),
        (1, Encoding::ListListpack),
    ] {
        list.pop(End::Tail, limits, |_| ());
        assert_eq!((list.len(), list.encoding()), (len, encoding));
    }

    let bytes = Limits::new(-1, 0);
    let mut list = list_of(&[&[b'x'; 4089]], bytes);
    assert_eq!(list.encoding(), Encoding::ListListpack);
    let mut longer = list_of(&[&[b'x'; 4090]], bytes);
    assert_eq!(longer.encoding(), Encoding::Quicklist);
    assert!(list.replace(Some(0), b"y", bytes) && longer.replace(Some(0), b"y", bytes));
    assert_eq!((list.encoding(), longer.encoding()), (Encoding::ListListpack, Encoding::ListListpack));
}

#[test]
fn places_count_from_both_ends() {
    let list = list_of(&[b"a", b"b", b"c"], Limits::new(-2, 0));
    let places = [0, 2, 3, -1, -3, -4, i64::MAX, i64::MIN].map(|index| list.place(index));
    assert_eq!(places, [Some(0), Some(2), None, Some(2), Some(0), None, None, None]);
    assert_eq!(list.position(b"c"), Some(2));
    assert_eq!(list.position(b"d"), None);
}

fn written(list: &List) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    list.write_rdb(&mut writer).unwrap();
    writer.into_bytes()
}

fn read(value_type: ValueType, bytes: &[u8], limits: &AllLimits) -> Option<List> {
    let mut reader = Reader::of_slice(bytes);
    let list = List::read_rdb(&mut reader, value_type, limits).unwrap();
    assert_eq!(reader.offset(), bytes.len() as u64);
    list
}

#[test]
fn rdb_brings_back_elements_and_encoding() {
    for (fill, depth, threshold) in [(-2, 0, 0), (-1, 1, 0), (4, 1, 500), (3, 0, 0)] {
        let all = limits(Limits::new(fill, depth).with_packed_threshold(threshold));
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut list, mut model) = (List::default(), Vec::new());
        for _ in 0..150 {
            change(&mut list, &mut model, all.list, &mut rng);
            let bytes = written(&list);
            let copy = read(list.rdb_type(80), &bytes, &all);
            assert_eq!(copy.as_ref().map(contents).unwrap_or_default(), model);
            assert_eq!(copy.is_none(), model.is_empty());
            if let Some(copy) = copy.filter(|copy| copy.encoding() == list.encoding()) {
                assert_eq!(written(&copy), bytes);
            }
        }
    }
}

/// A ziplist of two strings and a number.
const ZIPLIST: &[u8] = b"\x15\0\0\0\x11\0\0\0\x03\0\0\x01a\x03\x02bc\x04\xfe\x7b\xff";

#[test]
fn old_forms_are_read() {
    let all = limits(Limits::new(-2, 0));
    let ziplist = [&[ZIPLIST.len() as u8], ZIPLIST].concat();
    let expected = [b"a".to_vec(), b"bc".to_vec(), b"123".to_vec()];
    let list = read(ValueType::ListZiplist, &ziplist, &all).unwrap();
    assert_eq!((contents(&list), list.encoding()), (expected.to_vec(), Encoding::ListListpack));
    let two_nodes = [&[2][..], &ziplist, &ziplist].concat();
    let list = read(ValueType::ListQuicklist, &two_nodes, &all).unwrap();
    assert_eq!(
        (contents(&list), list.encoding()),
        ([expected.clone(), expected].concat(), Encoding::Quicklist)
    );
    let list = read(ValueType::List, b"\x02\x01a\xc0\x07", &all).unwrap();
    assert_eq!(contents(&list), [b"a", b"7"]);
    assert_eq!(list.encoding(), Encoding::ListListpack);
    assert!(read(ValueType::List, b"\0", &all).is_none());
    assert!(read(ValueType::ListQuicklist2, b"\0", &all).is_none());
    assert!(read(ValueType::ListQuicklist2, b"\x01\x02\x07\x07\0\0\0\0\0\xff", &all).is_none());
    let small = limits(Limits::new(2, 0));
    assert_eq!(read(ValueType::ListZiplist, &ziplist, &small).unwrap().encoding(), Encoding::Quicklist);
}

#[test]
fn damaged_forms_are_refused() {
    let all = limits(Limits::new(-2, 0));
    let refused = |value_type, bytes: &[u8]| {
        let mut reader = Reader::of_slice(bytes);
        List::read_rdb(&mut reader, value_type, &all).unwrap_err().kind.to_string()
    };
    assert_eq!(refused(ValueType::ListQuicklist2, b"\x01\x02\x03abc"), "Listpack integrity check failed.");
    assert_eq!(refused(ValueType::ListQuicklist2, b"\x01\x03\x03abc"), "Quicklist integrity check failed.");
    assert_eq!(refused(ValueType::ListQuicklist, b"\x01\x03abc"), "Ziplist integrity check failed.");
    assert_eq!(refused(ValueType::ListZiplist, b"\x03abc"), "Ziplist integrity check failed.");
    assert_eq!(refused(ValueType::List, b"\x02\x01a"), "Unexpected EOF reading RDB file");
    let list = list_of(&[b"some", b"elements", b"77", &[b'x'; 300]], all.list);
    let bytes = written(&list);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let _ = List::read_rdb(&mut Reader::of_slice(&damaged), list.rdb_type(80), &all);
        }
        let cut = List::read_rdb(&mut Reader::of_slice(&bytes[..at]), list.rdb_type(80), &all);
        assert!(cut.is_err());
    }
}

#[test]
fn golden_files_are_read_and_written_back_the_same() {
    let files: [&[u8]; 2] = [
        include_bytes!("../../../tests/golden/valkey-9.1.rdb"),
        include_bytes!("../../../tests/golden/redis-8.0.rdb"),
    ];
    let all = limits(Limits::new(4, 0));
    for file in files {
        let mut snapshot = Snapshot::open(Reader::new(file), VersionCheck::Strict).unwrap();
        let mut found = 0;
        loop {
            let header = match snapshot.next_event().unwrap() {
                Event::Entry(header) => header,
                Event::Eof(_) => break,
                _ => continue,
            };
            if !snapshot.key().starts_with(b"list:") {
                continue;
            }
            let start = snapshot.offset() as usize;
            let short = snapshot.key() == b"list:listpack";
            let list = List::read_rdb(snapshot.value().1, header.value_type, &all).unwrap().unwrap();
            assert_eq!(written(&list), &file[start..snapshot.offset() as usize]);
            let expected: &[&str] =
                if short { &["a", "1", "longer element", "-70000"] } else { &["1", "2", "3", "4", "5", "6"] };
            assert_eq!(
                contents(&list),
                expected.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()
            );
            let encoding = if short { Encoding::ListListpack } else { Encoding::Quicklist };
            assert_eq!(list.encoding(), encoding);
            found += 1;
        }
        assert_eq!(found, 2);
    }
}
