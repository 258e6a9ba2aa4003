//! Sets against `BTreeSet` through every threshold, exact memory, RDB both ways, results of set algebra.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use super::*;
use crate::memory::allocated_bytes;
use crate::rdb::format::{ValueType as Form, VersionCheck};
use crate::rdb::{Event, Reader, Snapshot, Writer, WriterOptions};
use crate::structures::quicklist;
use crate::types::{Encoding, EntryValue, Limits, StreamLimits};

const FLAT: FlatLimits = FlatLimits { entries: 128, value_bytes: 64 };
const LIMITS: SetLimits = SetLimits { intset_entries: 512, listpack: FLAT };

fn all_limits(set: SetLimits) -> Limits {
    Limits {
        list: quicklist::Limits::new(-2, 0),
        set,
        hash: FLAT,
        sorted_set: FLAT,
        stream: StreamLimits { node_bytes: 4096, node_entries: 100 },
    }
}

type Model = BTreeSet<Vec<u8>>;

fn members_of(set: &Set) -> Model {
    let mut members = Model::new();
    set.for_each(|member| assert!(members.insert(member.to_vec())));
    assert_eq!(members.len(), set.len());
    assert_eq!(set.is_empty(), members.is_empty());
    members
}

fn set_of(words: &[&str]) -> Set {
    let mut set = Set::for_member(words[0].as_bytes(), words.len(), &LIMITS);
    words.iter().for_each(|word| assert!(set.insert(word.as_bytes().into(), &LIMITS)));
    set
}

fn range_set(range: std::ops::Range<i64>) -> Set {
    let mut set = Set::Intset(Intset::new());
    range.for_each(|number| assert!(set.insert(MemberRef::Int(number), &LIMITS)));
    set
}

fn names(count: usize) -> Set {
    let mut set = Set::Listpack(Listpack::new());
    (0..count).for_each(|at| assert!(set.insert(format!("member:{at}").as_bytes().into(), &LIMITS)));
    set
}

fn random_member(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u32(..20) {
        0 => vec![b'x'; rng.usize(60..70)],
        1..8 => format!("name{}", rng.u32(..300)).into_bytes(),
        8 => rng.i64(..).to_string().into_bytes(),
        9 => format!("0{}", rng.u32(..5)).into_bytes(),
        _ => rng.i32(-200..400).to_string().into_bytes(),
    }
}

#[test]
fn behaves_like_a_set_through_every_encoding() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = SetLimits {
            intset_entries: [0, 5, 40, 512][rng.usize(..4)],
            listpack: FlatLimits { entries: [0, 3, 30, 128][rng.usize(..4)], value_bytes: 64 },
        };
        let (mut set, mut model) = (Set::for_member(b"1", 1, &limits), Model::new());
        for _ in 0..600 {
            let member = random_member(&mut rng);
            if rng.u32(..3) == 0 {
                assert_eq!(set.remove(member[..].into()), model.remove(&member));
            } else {
                assert_eq!(set.insert(member[..].into(), &limits), model.insert(member.clone()));
            }
            assert_eq!(set.contains(member[..].into()), model.contains(&member));
        }
        assert_eq!(members_of(&set), model);
    }
}

#[test]
fn weighs_what_the_allocator_counts() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let before = allocated_bytes();
        let mut set = Set::for_member(b"1", 1, &LIMITS);
        for step in 0..700 {
            let member = random_member(&mut rng);
            if rng.u32(..4) == 0 {
                set.remove(member[..].into());
            } else if step % 100 == 99 {
                set.pop_many(set.len() / 3, &mut rng, &LIMITS, |_| ());
            } else {
                set.insert(member[..].into(), &LIMITS);
            }
            drop(member);
            assert_eq!(allocated_bytes() - before, set.memory_usage(), "{:?}", set.encoding());
        }
        drop(set);
        assert_eq!(allocated_bytes(), before);
    }
}

#[test]
fn converts_where_valkey_does() {
    let mut set = range_set(0..512);
    assert_eq!(set.encoding(), Encoding::Intset);
    assert!(set.insert(b"512"[..].into(), &LIMITS));
    assert_eq!(set.encoding(), Encoding::SetHashtable);

    let mut set = range_set(0..127);
    assert!(set.insert(b"word"[..].into(), &LIMITS));
    assert_eq!((set.encoding(), set.len()), (Encoding::SetListpack, 128));
    assert!(!set.insert(b"word"[..].into(), &LIMITS));
    assert!(set.insert(b"other"[..].into(), &LIMITS));
    assert_eq!(set.encoding(), Encoding::SetHashtable);

    let mut set = range_set(0..128);
    assert!(set.insert(b"word"[..].into(), &LIMITS));
    assert_eq!(set.encoding(), Encoding::SetHashtable);

    let mut set = set_of(&["a"]);
    assert!(set.insert([b'x'; 64][..].into(), &LIMITS));
    assert_eq!(set.encoding(), Encoding::SetListpack);
    assert!(set.insert([b'x'; 65][..].into(), &LIMITS));
    assert_eq!(set.encoding(), Encoding::SetHashtable);

    assert_eq!(Set::for_member(b"1", 512, &LIMITS).encoding(), Encoding::Intset);
    assert_eq!(Set::for_member(b"1", 513, &LIMITS).encoding(), Encoding::SetHashtable);
    assert_eq!(Set::for_member(b"a", 128, &LIMITS).encoding(), Encoding::SetListpack);
    assert_eq!(Set::for_member(b"a", 129, &LIMITS).encoding(), Encoding::SetHashtable);
    let mut set = set_of(&["a"]);
    set.expect(129, &LIMITS);
    assert_eq!((set.encoding(), set.len()), (Encoding::SetHashtable, 1));
}

#[test]
fn a_set_of_200_members_is_smaller_than_valkeys() {
    // Valkey 9.1 takes 29.9 bytes a member for these, key and entry included.
    let per_member = names(200).memory_usage() as f64 / 200.0;
    assert!(per_member < 29.0, "{per_member}");
}

#[test]
fn random_members_are_members_and_different_where_asked() {
    let mut rng = fastrand::Rng::with_seed(1);
    for set in [range_set(0..300), names(100), names(1000)] {
        let model = members_of(&set);
        for count in [0, 1, 5, 60, 100] {
            let sample: Model = set
                .sample(count, &mut rng)
                .iter()
                .map(|m| m.as_bytes(&mut itoa::Buffer::new()).to_vec())
                .collect();
            assert_eq!(sample.len(), count);
            assert!(sample.is_subset(&model));
        }
        assert_eq!(set.sample(usize::MAX, &mut rng).len(), set.len());
        let mut drawn = Model::new();
        set.draw(set.len() * 20, &mut rng, |m| {
            drawn.insert(m.as_bytes(&mut itoa::Buffer::new()).to_vec());
        });
        assert_eq!(drawn, model);
    }
}

#[test]
fn popped_members_leave() {
    let mut rng = fastrand::Rng::with_seed(2);
    for make in [|| range_set(0..300), || names(100), || names(1000)] {
        for count in [1, 30, 90] {
            let mut set = make();
            let before = members_of(&set);
            let mut popped = Model::new();
            set.pop_many(count, &mut rng, &LIMITS, |m| {
                assert!(popped.insert(m.as_bytes(&mut itoa::Buffer::new()).to_vec()));
            });
            while set.len() > 10
                && set.pop(&mut rng, |m| {
                    assert!(popped.insert(m.as_bytes(&mut itoa::Buffer::new()).to_vec()));
                })
            {}
            let left = members_of(&set);
            assert!(left.is_disjoint(&popped) && left.len() == 10);
            assert_eq!(&left | &popped, before);
        }
    }
    let mut set = names(1000);
    set.pop_many(990, &mut rng, &LIMITS, |_| ());
    assert_eq!((set.encoding(), set.len()), (Encoding::SetListpack, 10));
    let mut set = range_set(0..1);
    assert!(set.pop(&mut rng, |_| ()) && !set.pop(&mut rng, |_| ()));
}

fn result(members: Vec<MemberRef<'_>>) -> Model {
    let count = members.len();
    let model: Model = members.iter().map(|m| m.as_bytes(&mut itoa::Buffer::new()).to_vec()).collect();
    assert_eq!(model.len(), count);
    model
}

#[test]
fn algebra_agrees_with_the_model_whatever_the_encodings() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut sets = Vec::new();
        for _ in 0..rng.usize(1..6) {
            let mut set = Set::for_member(b"1", 1, &LIMITS);
            let (ints_only, count) = (rng.bool(), rng.usize(1..400));
            for _ in 0..count {
                let member = random_member(&mut rng);
                if !ints_only || parse_i64(&member).is_some() {
                    set.insert(member[..].into(), &LIMITS);
                }
            }
            sets.push(set);
        }
        let models: Vec<Model> = sets.iter().map(members_of).collect();
        let (first, others) = models.split_first().unwrap();
        let all: Vec<&Set> = sets.iter().collect();

        let mut common = Vec::new();
        intersect(&all, |member| {
            common.push(member);
            true
        });
        assert_eq!(result(common), others.iter().fold(first.clone(), |sum, other| &sum & other));
        assert_eq!(result(union(&all)), others.iter().fold(first.clone(), |sum, other| &sum | other));
        assert_eq!(
            result(difference(all[0], &all[1..])),
            others.iter().fold(first.clone(), |sum, other| &sum - other)
        );
        assert!(difference(all[0], &[all[0]]).is_empty());
    }
}

#[test]
fn results_are_stored_as_compact_as_valkey_stores_them() {
    let store = |members: &[MemberRef<'_>], start| Set::of_result(members, start, &LIMITS).encoding();
    let ints = |count| (0..count).map(MemberRef::Int).collect::<Vec<_>>();
    assert_eq!(store(&ints(512), Start::Listpack), Encoding::Intset);
    assert_eq!(store(&ints(513), Start::Listpack), Encoding::SetHashtable);
    let mut mixed = ints(127);
    mixed.push(b"a"[..].into());
    assert_eq!(store(&mixed, Start::Intset), Encoding::SetListpack);
    mixed.push(b"b"[..].into());
    assert_eq!(store(&mixed, Start::Intset), Encoding::SetHashtable);
}

fn written(set: &Set) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    set.write_rdb(&mut writer).unwrap();
    writer.into_bytes()
}

fn read(bytes: &[u8], form: Form, limits: SetLimits) -> Result<Option<Set>, String> {
    Set::read_rdb(&mut Reader::of_slice(bytes), form, &all_limits(limits))
        .map_err(|error| error.kind.to_string())
}

#[test]
fn every_encoding_comes_back_from_rdb() {
    for set in
        [range_set(-5..5), range_set(70_000..70_400), names(100), names(1000), set_of(&["a", "1", "-1"])]
    {
        let back = read(&written(&set), set.rdb_type(80), LIMITS).unwrap().unwrap();
        assert_eq!(back.encoding(), set.encoding());
        assert_eq!(members_of(&back), members_of(&set));
        let copy = set.duplicate();
        assert_eq!(copy.encoding(), set.encoding());
        assert_eq!(members_of(&copy), members_of(&set));
        // Under narrower limits what was compact becomes a table.
        let narrow = SetLimits { intset_entries: 2, listpack: FlatLimits { entries: 2, value_bytes: 64 } };
        let back = read(&written(&set), set.rdb_type(80), narrow).unwrap().unwrap();
        assert_eq!(back.encoding(), Encoding::SetHashtable);
        assert_eq!(members_of(&back), members_of(&set));
    }
}

#[test]
fn small_sets_saved_as_members_are_compact_again() {
    let small = Set::table_of(names(100).iter());
    assert_eq!(small.rdb_type(80), Form::Set);
    assert_eq!(read(&written(&small), Form::Set, LIMITS).unwrap().unwrap().encoding(), Encoding::SetListpack);
    let integers = Set::table_of(range_set(0..300).iter());
    assert_eq!(read(&written(&integers), Form::Set, LIMITS).unwrap().unwrap().encoding(), Encoding::Intset);
}

#[test]
fn what_is_no_set_is_refused() {
    let twice = |form, push: &dyn Fn(&mut Writer<std::io::Sink>)| {
        let mut writer = Writer::in_memory(WriterOptions::default());
        push(&mut writer);
        read(&writer.into_bytes(), form, LIMITS)
    };
    let members = twice(Form::Set, &|writer| {
        writer.write_len(2).unwrap();
        writer.write_string(b"a").unwrap();
        writer.write_string(b"a").unwrap();
    });
    assert_eq!(members.unwrap_err(), "Duplicate set members detected");
    let listpack =
        listpack_of([MemberRef::Int(1), MemberRef::Bytes(b"a"), MemberRef::Bytes(b"a")].into_iter());
    let listpack = twice(Form::SetListpack, &|writer| writer.write_string(listpack.as_bytes()).unwrap());
    assert_eq!(listpack.unwrap_err(), "Set listpack integrity check failed.");
    let intset =
        twice(Form::SetIntset, &|writer| writer.write_string(b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0").unwrap());
    assert_eq!(intset.unwrap_err(), "Intset integrity check failed.");
    assert!(twice(Form::Set, &|writer| writer.write_len(0).unwrap()).unwrap().is_none());
    assert!(twice(Form::Set, &|writer| writer.write_len(1).unwrap()).is_err());
    let empty = twice(Form::SetListpack, &|writer| writer.write_string(Listpack::new().as_bytes()).unwrap());
    assert!(empty.unwrap().is_none());
}

#[test]
fn sets_of_real_servers_are_read() {
    let files: [&[u8]; 2] = [
        include_bytes!("../../../tests/golden/valkey-9.1.rdb"),
        include_bytes!("../../../tests/golden/redis-8.0.rdb"),
    ];
    let narrow = SetLimits { intset_entries: 512, listpack: FlatLimits { entries: 4, value_bytes: 64 } };
    for file in files {
        let mut snapshot = Snapshot::open(Reader::new(file), VersionCheck::Strict).unwrap();
        let mut seen = Vec::new();
        loop {
            let header = match snapshot.next_event().unwrap() {
                Event::Entry(header) => header,
                Event::Eof(_) => break,
                _ => continue,
            };
            let key = String::from_utf8(snapshot.key().to_vec()).unwrap();
            if key.starts_with("set:") {
                let set = Set::read_rdb(snapshot.value().1, header.value_type, &all_limits(narrow));
                let set = set.unwrap().unwrap();
                let text: Vec<String> = members_of(&set)
                    .iter()
                    .map(|member| String::from_utf8_lossy(member).into_owned())
                    .collect();
                seen.push(format!("{key} {} {}", set.encoding().name(), text.join(",")));
            } else {
                snapshot.value().1.skip_value(header.value_type).unwrap();
            }
        }
        seen.sort();
        let expected =
            ["set:hashtable hashtable a,b,c,d,e", "set:intset intset 1,2,300", "set:listpack listpack 3,a,b"];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_scan_sees_every_member() {
    for set in [range_set(0..300), names(100), names(1000)] {
        let (mut seen, mut cursor) = (Model::new(), 0);
        loop {
            cursor = set.scan(cursor, |member| {
                seen.insert(member.as_bytes(&mut itoa::Buffer::new()).to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, members_of(&set));
    }
}

#[test]
fn goes_into_an_entry_and_back() {
    for set in [range_set(0..300), names(100), names(1000)] {
        let model = members_of(&set);
        let encoding = set.encoding();
        let entry = crate::keyspace::Entry::collection(b"key", set, None);
        let set = entry.value::<Set>().unwrap();
        assert_eq!((set.encoding(), members_of(&set)), (encoding, model));
        assert_eq!(Set::TYPE, entry.value_type());
    }
}
