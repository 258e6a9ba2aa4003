//! Intset against a model, against hostile bytes, and against the allocator.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::memory::allocated_bytes;

fn check(set: &Intset, model: &BTreeSet<i64>) {
    assert!(set.iter().eq(model.iter().copied()));
    assert!(set.iter().rev().eq(model.iter().rev().copied()));
    assert_eq!(set.len(), model.len());
    assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
    if !model.is_empty() {
        assert_eq!(&Intset::from_bytes(set.as_bytes()).unwrap(), set);
    }
}

#[test]
fn random_changes_agree_with_a_model() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut set, mut model) = (Intset::new(), BTreeSet::new());
        let narrow = rng.u8(40..64);
        let start = allocated_bytes();
        let alone = set.memory_usage();
        for step in 0..600 {
            let shift = if step < 200 { 55 } else { rng.u8(narrow..=63) };
            let value = rng.i64(..) >> shift;
            match rng.u8(..3) {
                0 | 1 => assert_eq!(set.insert(value), model.insert(value)),
                _ => assert_eq!(set.remove(value), model.remove(&value)),
            }
            assert_eq!(set.contains(value), model.contains(&value));
            check(&set, &model);
        }
        drop(model);
        assert_eq!(allocated_bytes() - start, set.memory_usage() - alone);
    }
}

#[test]
fn the_extremes_fit() {
    let mut set = Intset::new();
    let mut model = BTreeSet::new();
    for value in [0, i64::from(i16::MIN), i64::from(i16::MAX), 40_000, -40_000, i64::MIN, i64::MAX, 5] {
        assert!(set.insert(value));
        model.insert(value);
        check(&set, &model);
    }
    assert_eq!(set.width(), 8);
    assert_eq!(set.get(8), None);
    let word = set.into_raw();
    // SAFETY: the pointer was just given away.
    check(&unsafe { Intset::from_raw(word) }, &model);
}

#[test]
fn bytes_are_those_of_the_format() {
    let mut set = Intset::new();
    [3, -1, 300].into_iter().for_each(|value| assert!(set.insert(value)));
    assert_eq!(set.as_bytes(), [2, 0, 0, 0, 3, 0, 0, 0, 0xFF, 0xFF, 3, 0, 0x2C, 1]);
    assert!(set.insert(70_000));
    assert_eq!(set.as_bytes()[..12], [4, 0, 0, 0, 4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
}

#[test]
fn bad_intsets_are_refused() {
    for bytes in [
        &b""[..],
        b"\x02\0\0\0\0\0\0\0",
        b"\x03\0\0\0\x01\0\0\0abc",
        b"\x02\0\0\0\x02\0\0\0\x01\0",
        b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
        b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
        b"\x08\0\0\0\xFF\xFF\xFF\xFF\x02\0\x01\0\0\0\0\0",
    ] {
        assert_eq!(Intset::from_bytes(bytes), Err(Corrupt), "{bytes:?}");
    }
}

#[test]
fn random_reaches_every_member() {
    let mut set = Intset::new();
    assert_eq!(set.random(&mut fastrand::Rng::with_seed(1)), None);
    (0..10).for_each(|value| assert!(set.insert(value)));
    let mut rng = fastrand::Rng::with_seed(1);
    let seen: BTreeSet<i64> = (0..300).filter_map(|_| set.random(&mut rng)).collect();
    assert_eq!(seen.len(), 10);
}
