//! Model tests of entries and groups, the weight, and the RDB forms.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;
use crate::memory::allocated_bytes;
use crate::rdb::format::{ValueType, VersionCheck};
use crate::rdb::{Event, Reader, Snapshot, Writer, WriterOptions};
use crate::structures::quicklist;
use crate::types::{FlatLimits, Limits, SetLimits};

const LIMITS: StreamLimits = StreamLimits { node_bytes: 400, node_entries: 10 };

type Contents = Vec<(StreamId, Vec<Vec<u8>>)>;

fn all_limits() -> Limits {
    let flat = FlatLimits { entries: 128, value_bytes: 64 };
    Limits {
        list: quicklist::Limits::new(-2, 0),
        set: SetLimits { intset_entries: 512, listpack: flat },
        hash: flat,
        sorted_set: flat,
        stream: LIMITS,
    }
}

const fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

fn add(stream: &mut Stream, wanted: NewId, fields: &[&[u8]]) -> Result<StreamId, AppendError> {
    stream.append(wanted, fields.iter().copied(), LIMITS)
}

fn texts(fields: Fields<'_>) -> Vec<Vec<u8>> {
    fields.flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect()
}

fn contents(entries: Entries<'_>) -> Contents {
    entries.map(|entry| (entry.id, texts(entry.fields))).collect()
}

/// A stream and its model, after random commands.
fn random_stream(random: &mut fastrand::Rng, steps: usize) -> (Stream, BTreeMap<StreamId, Vec<Vec<u8>>>) {
    let mut stream = Stream::default();
    let mut model = BTreeMap::new();
    for _ in 0..steps {
        match random.u8(..12) {
            0 => {
                let ids: Vec<_> = model.keys().copied().collect();
                let wanted = id(random.u64(..50), random.u64(..5));
                let wanted = if ids.is_empty() { wanted } else { ids[random.usize(..ids.len())] };
                assert_eq!(stream.delete(wanted), model.remove(&wanted).is_some());
            }
            1 if random.u8(..4) == 0 => trim_both(&mut stream, &mut model, random),
            _ => {
                let names: &[&[u8]] = if random.bool() { &[b"a", b"7"] } else { &[b"name", b"a", b"b"] };
                let fields: Vec<Vec<u8>> = names
                    .iter()
                    .flat_map(|name| [name.to_vec(), vec![b'0' + random.u8(..10); random.usize(..30)]])
                    .collect();
                let wanted = NewId::Auto(stream.last_id().ms + random.u64(..3) % 2);
                let given = stream.append(wanted, fields.iter().map(Vec::as_slice), LIMITS).unwrap();
                model.insert(given, fields);
            }
        }
        assert_eq!(stream.len(), model.len());
        assert_eq!(stream.first_id(), model.keys().next().copied().unwrap_or_default());
    }
    (stream, model)
}

fn trim_both(stream: &mut Stream, model: &mut BTreeMap<StreamId, Vec<Vec<u8>>>, random: &mut fastrand::Rng) {
    let before = model.len();
    let approximate = random.bool();
    let to = if random.bool() {
        TrimTo::Length(random.u64(..=before as u64))
    } else {
        TrimTo::Id(id(random.u64(..=stream.last_id().ms), random.u64(..3)))
    };
    let removed = stream.trim(Trim { to, approximate, limit: 0 });
    let wanted = match to {
        TrimTo::Length(length) => before - length as usize,
        TrimTo::Id(id) => model.range(..id).count(),
    };
    assert!(removed as usize == wanted || approximate && (removed as usize) < wanted);
    for _ in 0..removed {
        model.pop_first();
    }
}

#[test]
fn agrees_with_a_model_over_many_nodes() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..40 {
        let (stream, model) = random_stream(&mut random, 10 + round * 8);
        let all: Contents = model.clone().into_iter().collect();
        assert_eq!(contents(stream.iter()), all);
        for _ in 0..20 {
            let start = id(random.u64(..=stream.last_id().ms), random.u64(..4));
            let end = id(start.ms + random.u64(..30), random.u64(..4));
            let mut expected: Contents = if start <= end {
                model.range(start..=end).map(|(i, f)| (*i, f.clone())).collect()
            } else {
                vec![]
            };
            assert_eq!(contents(stream.range(start, end)), expected);
            expected.reverse();
            assert_eq!(contents(stream.range_reverse(start, end)), expected);
            assert_eq!(stream.get(start).is_some(), model.contains_key(&start));
        }
    }
}

#[test]
fn ids_ascend_and_are_completed() {
    let mut stream = Stream::default();
    let fields: &[&[u8]] = &[b"f", b"v"];
    assert_eq!(add(&mut stream, NewId::Given(id(0, 0)), fields), Err(AppendError::Id));
    assert_eq!(add(&mut stream, NewId::AutoSeq(0), fields), Ok(id(0, 1)));
    assert_eq!(add(&mut stream, NewId::AutoSeq(5), fields), Ok(id(5, 0)));
    assert_eq!(add(&mut stream, NewId::AutoSeq(5), fields), Ok(id(5, 1)));
    assert_eq!(add(&mut stream, NewId::AutoSeq(4), fields), Err(AppendError::Id));
    assert_eq!(add(&mut stream, NewId::Auto(3), fields), Ok(id(5, 2)));
    assert_eq!(add(&mut stream, NewId::Auto(9), fields), Ok(id(9, 0)));
    assert_eq!(add(&mut stream, NewId::Given(id(9, u64::MAX)), fields), Ok(id(9, u64::MAX)));
    assert_eq!(add(&mut stream, NewId::AutoSeq(9), fields), Err(AppendError::Id));
    assert_eq!(add(&mut stream, NewId::Auto(9), fields), Ok(id(10, 0)));
    assert_eq!(add(&mut stream, NewId::Given(StreamId::MAX), fields), Ok(StreamId::MAX));
    assert_eq!(add(&mut stream, NewId::Auto(10), fields), Err(AppendError::Id));
    assert_eq!(stream.entries_added(), stream.len() as u64);
}

#[test]
fn ids_are_read_in_every_spelling() {
    assert_eq!(StreamId::parse(b"12-3", 9), Some(id(12, 3)));
    assert_eq!(StreamId::parse(b"12", 9), Some(id(12, 9)));
    assert_eq!(StreamId::parse(b"12-", 9), None);
    assert_eq!(StreamId::parse(b"-", 9), None);
    assert_eq!(StreamId::parse(b"a-1", 9), None);
    assert_eq!(StreamId::from_bytes(id(3, u64::MAX).to_bytes()), id(3, u64::MAX));
    assert_eq!(id(3, u64::MAX).next(), Some(id(4, 0)));
    assert_eq!(id(4, 0).previous(), Some(id(3, u64::MAX)));
    assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
}

/// Groups with random deliveries and acknowledgements.
fn random_groups(stream: &mut Stream, random: &mut fastrand::Rng) {
    for name in [&b"one"[..], b"two", b"other"] {
        let group = stream.groups.create(name, id(random.u64(..9), 0), None).unwrap();
        let mut model = BTreeMap::new();
        for step in 0..random.i64(..400) {
            let name = format!("consumer {}", random.u8(..5));
            let entry = id(random.u64(..60), 1);
            match random.u8(..20) {
                0 => {
                    let before = model.len();
                    model.retain(|_, (owner, _)| *owner != name);
                    let removed = group.delete_consumer(name.as_bytes());
                    assert_eq!(removed.unwrap_or(0), before - model.len());
                }
                1..4 => assert_eq!(group.acknowledge(entry), model.remove(&entry).is_some()),
                _ => {
                    let consumer = group
                        .find_consumer(name.as_bytes())
                        .or_else(|| group.create_consumer(name.as_bytes(), step))
                        .unwrap();
                    group.set_pending(Pending { id: entry, delivered_ms: step, deliveries: 1, consumer });
                    model.insert(entry, (name, step));
                }
            }
        }
        check_group(group, &model);
    }
}

fn check_group(group: &Group, model: &BTreeMap<StreamId, (String, i64)>) {
    let owner = |pending: &Pending| group.consumer(pending.consumer).unwrap().name();
    let pending: Vec<_> =
        group.pending_from(StreamId::MIN).map(|p| (p.id, owner(p).to_vec(), p.delivered_ms)).collect();
    let expected: Vec<_> =
        model.iter().map(|(id, (name, at))| (*id, name.clone().into_bytes(), *at)).collect();
    assert_eq!(pending, expected);
    for consumer in group.consumers() {
        let own: Vec<_> = consumer.pending_from(StreamId::MIN).collect();
        let expected = model.iter().filter(|(_, (name, _))| name.as_bytes() == consumer.name());
        assert_eq!(own, expected.map(|(id, _)| *id).collect::<Vec<_>>());
        assert_eq!(consumer.pending_len(), own.len());
    }
    assert!(group.consumers().map(Consumer::name).is_sorted());
}

#[test]
fn weighs_what_is_allocated() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20 {
        let before = allocated_bytes();
        let (mut stream, model) = random_stream(&mut random, 300);
        drop(model);
        random_groups(&mut stream, &mut random);
        assert_eq!(allocated_bytes() - before, stream.memory_usage());
        let between = allocated_bytes();
        let copy = stream.duplicate();
        assert_eq!(allocated_bytes() - between, copy.memory_usage());
        assert_eq!(contents(copy.iter()), contents(stream.iter()));
        drop((stream, copy));
        assert_eq!(allocated_bytes(), before);
    }
}

#[test]
fn twenty_entries_weigh_less_than_valkeys() {
    let mut stream = Stream::default();
    let limits = StreamLimits { node_bytes: 4096, node_entries: 100 };
    for number in 0..20 {
        let value = format!("value-{number:08}");
        let fields = [&b"field"[..], value.as_bytes()];
        stream.append(NewId::Auto(1_700_000_000_000 + number), fields.into_iter(), limits).unwrap();
    }
    assert!(stream.memory_usage() < 4310, "{}", stream.memory_usage());
}

fn write(stream: &Stream) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    stream.write_rdb(&mut writer).unwrap();
    writer.into_bytes()
}

fn read_as(bytes: &[u8], value_type: ValueType) -> Result<Stream, String> {
    let read = Stream::read_rdb(&mut Reader::of_slice(bytes), value_type, &all_limits());
    read.map(Option::unwrap).map_err(|error| error.kind.to_string())
}

fn read(bytes: &[u8]) -> Result<Stream, String> {
    read_as(bytes, ValueType::StreamListpacks3)
}

#[test]
fn comes_back_from_rdb() {
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..20 {
        let (mut stream, _) = random_stream(&mut random, 200);
        random_groups(&mut stream, &mut random);
        let bytes = write(&stream);
        let again = read(&bytes).unwrap();
        assert_eq!(contents(again.iter()), contents(stream.iter()));
        assert_eq!(write(&again), bytes);
    }
}

#[test]
fn damage_is_refused_and_never_panics() {
    let mut random = fastrand::Rng::with_seed(2);
    let (mut stream, _) = random_stream(&mut random, 60);
    random_groups(&mut stream, &mut random);
    let bytes = write(&stream);
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err());
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.u8(..8);
        if let Ok(mut stream) = read(&damaged) {
            contents(stream.range_reverse(StreamId::MIN, StreamId::MAX));
            let _ = add(&mut stream, NewId::Auto(1), &[b"a", b"b"]);
            let first = stream.first_id();
            stream.delete(first);
            stream.trim(Trim { to: TrimTo::Length(1), approximate: false, limit: 0 });
        }
    }
}

/// A stream of the entries 1-0, 2-0 and 3-0 with a group that has delivered up to 1-0, in an older form.
fn older_form(form: u8) -> Vec<u8> {
    let mut stream = Stream::default();
    for ms in 1..=3 {
        add(&mut stream, NewId::Given(id(ms, 0)), &[b"f", b"v"]).unwrap();
    }
    let mut writer = Writer::in_memory(WriterOptions::default());
    writer.write_len(1).unwrap();
    let (base, listpack) = stream.nodes.first().unwrap();
    writer.write_string(&base.to_bytes()).unwrap();
    writer.write_string(listpack.as_bytes()).unwrap();
    // Length and last id; then first id, greatest deleted id and entries added.
    let figures: &[u64] = if form == 1 { &[3, 3, 0] } else { &[3, 3, 0, 1, 0, 0, 0, 7] };
    figures.iter().for_each(|figure| writer.write_len(*figure).unwrap());
    writer.write_len(1).unwrap();
    writer.write_string(b"group").unwrap();
    let figures: &[u64] = if form == 1 { &[1, 0, 1] } else { &[1, 0, 5, 1] };
    figures.iter().for_each(|figure| writer.write_len(*figure).unwrap());
    writer.write_raw(&id(1, 0).to_bytes()).unwrap();
    writer.write_ms(500).unwrap();
    writer.write_len(2).unwrap();
    writer.write_len(1).unwrap();
    writer.write_string(b"ann").unwrap();
    writer.write_ms(700).unwrap();
    writer.write_len(1).unwrap();
    writer.write_raw(&id(1, 0).to_bytes()).unwrap();
    writer.into_bytes()
}

#[test]
fn older_forms_are_completed() {
    for (form, value_type, added, read) in
        [(1, ValueType::StreamListpacks, 3, 1), (2, ValueType::StreamListpacks2, 7, 5)]
    {
        let stream = read_as(&older_form(form), value_type).unwrap();
        assert_eq!((stream.len(), stream.first_id(), stream.last_id()), (3, id(1, 0), id(3, 0)));
        assert_eq!(stream.entries_added(), added);
        let group = stream.groups.get(b"group").unwrap();
        assert_eq!(group.entries_read, Some(read));
        let consumer = group.consumers().next().unwrap();
        assert_eq!((consumer.seen_ms, consumer.active_ms), (700, 700));
        let pending = group.find_pending(id(1, 0)).unwrap();
        assert_eq!((pending.delivered_ms, pending.deliveries, group.owner(pending)), (500, 2, &b"ann"[..]));
    }
}

/// The bytes of a stream without entries and one group, with these pending ids and these of each consumer.
fn group_bytes(pending: &[u64], consumers: &[&[u64]]) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    // No node, all figures zero, one group.
    for number in [0, 0, 0, 0, 0, 0, 0, 0, 0, 1] {
        writer.write_len(number).unwrap();
    }
    writer.write_string(b"group").unwrap();
    for number in [0, 0, 0, pending.len() as u64] {
        writer.write_len(number).unwrap();
    }
    for ms in pending {
        writer.write_raw(&id(*ms, 0).to_bytes()).unwrap();
        writer.write_ms(0).unwrap();
        writer.write_len(1).unwrap();
    }
    writer.write_len(consumers.len() as u64).unwrap();
    for (number, own) in consumers.iter().enumerate() {
        writer.write_string(format!("consumer {number}").as_bytes()).unwrap();
        writer.write_ms(0).unwrap();
        writer.write_ms(0).unwrap();
        writer.write_len(own.len() as u64).unwrap();
        for ms in *own {
            writer.write_raw(&id(*ms, 0).to_bytes()).unwrap();
        }
    }
    writer.into_bytes()
}

#[test]
fn pending_entries_have_exactly_one_owner() {
    let refusal = |pending: &[u64], consumers: &[&[u64]]| read(&group_bytes(pending, consumers)).err();
    assert_eq!(refusal(&[1, 2], &[&[1], &[2]]), None);
    let text = |reason: &str| Some(reason.to_owned());
    assert_eq!(refusal(&[1, 2], &[&[1], &[]]), text("Stream CG PEL entry without consumer"));
    assert_eq!(refusal(&[1], &[&[1, 2]]), text("Consumer entry not found in group global PEL"));
    assert_eq!(
        refusal(&[1], &[&[1], &[1]]),
        text("NACK already assigned to a different consumer, shared NACKs across consumers are not valid")
    );
    assert_eq!(
        refusal(&[1], &[&[1, 1]]),
        text("Duplicated consumer PEL entry loading a stream consumer group")
    );
    assert_eq!(refusal(&[1, 1], &[]), text("Duplicated global PEL entry loading stream consumer group"));
}

#[test]
fn golden_files_are_read_and_written_back_the_same() {
    let files = [
        &include_bytes!("../../../tests/golden/valkey-9.1.rdb")[..],
        include_bytes!("../../../tests/golden/redis-8.0.rdb"),
    ];
    for file in files {
        let mut streams = 0;
        let mut snapshot = Snapshot::open(Reader::new(file), VersionCheck::Strict).unwrap();
        loop {
            let header = match snapshot.next_event().unwrap() {
                Event::Entry(header) => header,
                Event::Eof(_) => break,
                _ => continue,
            };
            if header.value_type != ValueType::StreamListpacks3 {
                continue;
            }
            let start = snapshot.offset() as usize;
            let stream =
                Stream::read_rdb(snapshot.value().1, header.value_type, &all_limits()).unwrap().unwrap();
            assert_eq!(contents(stream.iter()).iter().map(|(id, _)| id.ms).collect::<Vec<_>>(), [1, 3]);
            assert_eq!((stream.last_id(), stream.max_deleted_id()), (id(3, 1), id(2, 1)));
            assert_eq!(stream.entries_added(), 3);
            let group = stream.groups.get(b"group").unwrap();
            assert_eq!((group.pending_len(), group.consumer_count(), group.last_id), (1, 2, id(1, 1)));
            assert_eq!(write(&stream), &file[start..snapshot.offset() as usize]);
            streams += 1;
        }
        assert_eq!(streams, 1);
    }
}
