//! Listpack against a model, against bytes of a real server, against hostile bytes, and against the allocator.
#![allow(clippy::unwrap_used)]

use sha1::{Digest, Sha1};

use super::*;
use crate::memory::{MemoryUsage, allocated_bytes};

/// What Valkey 9.1 stores for the elements of [`boundary_elements`].
const GOLDEN: &str = "f90000001b0000017f01c08002dfff02cfff02d00002f1001003f1ffef03f1ff7f03f1008003f200800004f2ffff7f04f200008004f30000800005f3ffffff7f05f30000008005f4000000800000000009f4ffffffffffffff7f09f40000000000000080099339323233333732303336383534373735383038148001836162630482303103822d3003822b310382203103e0647878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787866ff";

fn boundary_elements() -> Vec<Vec<u8>> {
    let long = "x".repeat(100);
    [
        "0",
        "127",
        "128",
        "-1",
        "4095",
        "-4096",
        "4096",
        "-4097",
        "32767",
        "-32768",
        "32768",
        "8388607",
        "-8388608",
        "8388608",
        "2147483647",
        "-2147483648",
        "2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "",
        "abc",
        "01",
        "-0",
        "+1",
        " 1",
        &long,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

fn listpack_of(elements: &[Vec<u8>]) -> Listpack {
    let mut listpack = Listpack::new();
    elements.iter().for_each(|element| listpack.push_back(element));
    listpack
}

fn contents(listpack: &Listpack) -> Vec<Vec<u8>> {
    listpack.iter().map(|value| value.to_vec()).collect()
}

fn check(listpack: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(contents(listpack), model);
    assert!(listpack.iter().rev().map(|value| value.to_vec()).eq(model.iter().rev().cloned()));
    assert_eq!(listpack.len(), model.len());
    assert_eq!(validate(listpack.as_bytes()), Ok(()));
}

fn random_element(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..10) {
        0..=3 => (rng.i64(..) >> rng.u8(..64)).to_string().into_bytes(),
        4..=8 => (0..rng.usize(..70)).map(|_| rng.u8(..)).collect(),
        _ => vec![b'q'; rng.usize(..6000)],
    }
}

#[test]
fn bytes_are_those_of_the_real_server() {
    let listpack = listpack_of(&boundary_elements());
    let hex: String = listpack.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
    let short = vec![vec![b'y'; 63], vec![b'y'; 64], vec![b'z'; 4095]];
    let long = vec![vec![b'z'; 4096], b"-".to_vec()];
    for (strings, digest) in [
        (short, "6a2ce3c9052972782e935b23593b6673dc7a6d2e"),
        (long, "accbceca64e7bbfc3c75355534588c29a657aeb1"),
    ] {
        let hex: String =
            Sha1::digest(listpack_of(&strings).as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, digest);
    }
}

#[test]
fn elements_read_back_as_they_were_written() {
    let elements = boundary_elements();
    let listpack = listpack_of(&elements);
    check(&listpack, &elements);
    check(&Listpack::from_bytes(listpack.as_bytes()).unwrap(), &elements);
    let mut builder = Builder::with_capacity(10);
    elements.iter().for_each(|element| builder.push(element));
    assert_eq!(builder.byte_len(), listpack.byte_len());
    assert_eq!(builder.finish(), listpack);
    for (index, element) in elements.iter().enumerate() {
        let position = listpack.find(listpack.first().unwrap(), element, 1).unwrap();
        assert_eq!(Some(position), listpack.at(index as i64));
        assert_eq!(Some(position), listpack.at(index as i64 - elements.len() as i64));
        let value = listpack.get(position).unwrap();
        assert!(value.equals(element));
        assert_eq!(value.text_len(), element.len());
        assert_eq!(value.as_bytes(&mut itoa::Buffer::new()), element);
    }
    assert_eq!(listpack.at(27), None);
    assert_eq!(listpack.at(-28), None);
}

#[test]
fn integers_of_every_width_are_exact() {
    for shift in 0..64 {
        for delta in -2..=2 {
            for number in
                [(1i64 << shift).wrapping_add(delta), (1i64 << shift).wrapping_neg().wrapping_add(delta)]
            {
                let mut listpack = Listpack::new();
                listpack.push_back(number);
                let mut from_text = Listpack::new();
                from_text.push_back(number.to_string().as_bytes());
                assert_eq!(listpack, from_text);
                assert_eq!(listpack.get(listpack.first().unwrap()), Some(Value::Int(number)));
                assert_eq!(listpack.byte_len() - EMPTY, element_size(number));
            }
        }
    }
}

#[test]
fn find_compares_only_every_stride() {
    let listpack = listpack_of(&["a", "b", "b", "a", "7", "c"].map(|text| text.as_bytes().to_vec()));
    let first = listpack.first().unwrap();
    assert_eq!(listpack.find(first, b"b", 2), listpack.at(2));
    assert_eq!(listpack.find(first, b"b", 1), listpack.at(1));
    assert_eq!(listpack.find(first, b"7", 2), listpack.at(4));
    assert_eq!(listpack.find(first, b"c", 2), None);
    assert_eq!(listpack.find(first, b"07", 1), None);
}

#[test]
fn random_changes_agree_with_a_model() {
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut listpack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
        for _ in 0..400 {
            change(&mut listpack, &mut model, &mut rng);
            check(&listpack, &model);
        }
    }
}

fn change(listpack: &mut Listpack, model: &mut Vec<Vec<u8>>, rng: &mut fastrand::Rng) {
    let element = random_element(rng);
    let index = if model.is_empty() { 0 } else { rng.usize(..model.len()) };
    let position = listpack.at(index as i64);
    match (rng.u8(..14), position) {
        (0..=2, _) | (_, None) => {
            listpack.push_back(&element);
            model.push(element);
        }
        (3, _) => {
            listpack.push_front(&element);
            model.insert(0, element);
        }
        (4, Some(position)) => {
            let position = listpack.insert_before(position, &element);
            assert!(listpack.get(position).unwrap().equals(&element));
            model.insert(index, element);
        }
        (5, Some(position)) => {
            let position = listpack.insert_after(position, &element);
            assert!(listpack.get(position).unwrap().equals(&element));
            model.insert(index + 1, element);
        }
        (6 | 7, Some(position)) => {
            listpack.replace(position, &element);
            model[index] = element;
        }
        (8 | 9, Some(position)) => {
            let next = listpack.remove(position);
            model.remove(index);
            assert_eq!(next, listpack.at(index as i64));
        }
        (10, _) => {
            let count = rng.usize(..4);
            listpack.remove_range(index as i64 - model.len() as i64, count);
            model.drain(index..(index + count).min(model.len()));
        }
        (11, _) => {
            let right = listpack.split_off(index);
            let model_right = model.split_off(index);
            check(&right, &model_right);
            check(listpack, model);
            listpack.append(&right);
            model.extend(model_right);
        }
        (12, _) => {
            listpack.extend(&[Value::Bytes(&element), Value::Int(12)]);
            model.extend([element, b"12".to_vec()]);
        }
        (_, position) => {
            listpack.insert_all_before(position, &[Value::Bytes(&element), Value::Int(-5)]);
            model.splice(index..index, [element, b"-5".to_vec()]);
        }
    }
}

#[test]
fn the_count_survives_its_16_bits() {
    let mut builder = Builder::with_capacity(0);
    (0..70_000).for_each(|number| builder.push(number));
    let mut listpack = builder.finish();
    assert_eq!(listpack.as_bytes()[4..6], [0xFF, 0xFF]);
    assert_eq!(listpack.len(), 70_000);
    assert_eq!(listpack.get(listpack.at(-1).unwrap()), Some(Value::Int(69_999)));
    assert_eq!(listpack.get(listpack.at(69_998).unwrap()), Some(Value::Int(69_998)));
    assert_eq!(listpack.at(70_000), None);
    assert_eq!(listpack.at(-70_001), None);
    let right = listpack.split_off(69_000);
    assert_eq!((listpack.len(), right.len()), (69_000, 1000));
    listpack.remove_range(10, 60_000);
    assert_eq!(listpack.len(), 9000);
    assert_eq!(validate(listpack.as_bytes()), Ok(()));

    let mut listpack = Listpack::new();
    (0..65_534).for_each(|number| listpack.push_back(number));
    assert_eq!(listpack.as_bytes()[4..6], [0xFE, 0xFF]);
    listpack.push_back(1);
    assert_eq!(listpack.len(), 65_535);
    listpack.remove(listpack.first().unwrap());
    assert_eq!(listpack.len(), 65_534);
}

#[test]
fn memory_usage_is_what_the_allocator_counts() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let mut elements: Vec<Vec<u8>> = (0..60).map(|_| random_element(&mut rng)).collect();
        elements.shrink_to_fit();
        let before = allocated_bytes();
        let mut listpack = Listpack::new();
        for element in &elements {
            listpack.push_back(element);
            assert_eq!(allocated_bytes() - before, listpack.memory_usage());
        }
        let copy = listpack.clone();
        assert_eq!(allocated_bytes() - before, listpack.memory_usage() + copy.memory_usage());
        drop(copy);
        while let Some(position) = listpack.last() {
            listpack.remove(position);
            assert_eq!(allocated_bytes() - before, listpack.memory_usage());
        }
        let word = listpack.into_raw();
        // SAFETY: the pointer was just given away.
        drop(unsafe { Listpack::from_raw(word) });
        assert_eq!(allocated_bytes(), before);
    }
}

#[test]
fn mutated_bytes_are_refused_or_read_safely() {
    let mut rng = fastrand::Rng::with_seed(11);
    let original = listpack_of(&boundary_elements()).as_bytes().to_vec();
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut bytes = original.clone();
        for _ in 0..rng.usize(1..4) {
            let index = rng.usize(..bytes.len());
            bytes[index] = rng.u8(..);
        }
        if rng.u8(..8) == 0 {
            bytes.truncate(rng.usize(..bytes.len()));
        }
        let Ok(mut listpack) = Listpack::from_bytes(&bytes) else { continue };
        accepted += 1;
        let forwards = contents(&listpack);
        let mut backwards: Vec<Vec<u8>> = listpack.iter().rev().map(|value| value.to_vec()).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        listpack.push_front(b"front");
        listpack.remove_range(rng.i64(-30..30), 3);
        assert_eq!(validate(listpack.as_bytes()), Ok(()));
    }
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn unchecked_bytes_are_never_read_outside() {
    let mut rng = fastrand::Rng::with_seed(12);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..rng.usize(7..64)).map(|_| rng.u8(..)).collect();
        if rng.bool() {
            bytes[4..6].copy_from_slice(&[0xFF, 0xFF]);
        }
        assert!(validate(&bytes).is_err());
        let listpack = Listpack::from_checked(&bytes);
        listpack.iter().for_each(drop);
        listpack.iter().rev().for_each(drop);
        for index in -20..20 {
            listpack.at(index).and_then(|position| listpack.get(position));
        }
        if let Some(first) = listpack.first() {
            let _ = listpack.find(first, b"12", 2);
        }
    }
}

#[test]
fn bad_listpacks_are_refused() {
    for bytes in [
        &b""[..],
        b"\x07\0\0\0\0\0",
        b"\x07\0\0\0\0\0\0",
        b"\x07\0\0\0\x01\0\xFF",
        b"\x08\0\0\0\0\0\xFF\xFF",
        b"\x09\0\0\0\x01\0\x05\x02\xFF",
        b"\x09\0\0\0\x02\0\x05\x01\xFF",
        b"\x09\0\0\0\x01\0\xF5\x01\xFF",
        b"\x0d\0\0\0\x01\0\xF0\xFF\xFF\xFF\xFF\x01\xFF",
    ] {
        assert_eq!(Listpack::from_bytes(bytes), Err(Corrupt), "{bytes:?}");
    }
    assert!(Listpack::from_bytes(b"\x07\0\0\0\0\0\xFF").unwrap().is_empty());
    assert!(!Listpack::new().has_room_for(1 << 30));
}

#[test]
fn random_reaches_every_group() {
    let listpack = listpack_of(&(0..10).map(|number: u8| vec![b'a' + number]).collect::<Vec<_>>());
    let mut rng = fastrand::Rng::with_seed(3);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(listpack.get(listpack.random(2, &mut rng).unwrap()).unwrap().to_vec());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [b"a", b"c", b"e", b"g", b"i"]);
    assert_eq!(Listpack::new().random(1, &mut rng), None);
}
