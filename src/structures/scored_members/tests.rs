//! Model tests: a B-tree of (score, member) beside a map, through every operation, with the weight checked all along.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;
use crate::memory::allocated_bytes;

#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, f64>);

impl Model {
    fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> = self.0.iter().map(|(member, score)| (member.clone(), *score)).collect();
        all.sort_by(|one, other| one.1.partial_cmp(&other.1).unwrap().then_with(|| one.0.cmp(&other.0)));
        all
    }
}

fn contents(members: &ScoredMembers) -> Vec<(Vec<u8>, f64)> {
    members.range(0..members.len()).map(|(member, score)| (member.to_vec(), score)).collect()
}

fn random_member(random: &mut fastrand::Rng, distinct: usize) -> Vec<u8> {
    let number = random.usize(..distinct);
    let length = [3, 12, 250, 254, 255, 256, 1000][number % 7];
    let mut member = format!("{number:07}").into_bytes();
    member.resize(length.max(7), b'x');
    member
}

#[test]
fn agrees_with_a_model_and_weighs_what_the_allocator_counts() {
    let mut random = fastrand::Rng::with_seed(11);
    for (operations, distinct) in [(200, 20), (3000, 600)] {
        let mut model = Model::default();
        let before = allocated_bytes();
        let mut members = ScoredMembers::default();
        let mut model_bytes = 0;
        for step in 0..operations {
            let scratch = allocated_bytes();
            let member = random_member(&mut random, distinct);
            let score = f64::from(random.i32(-20..20));
            let spent = allocated_bytes();
            model_bytes += spent - scratch;
            if random.u8(..10) < 7 {
                members.upsert(&member, |_| Some(score));
                let at = allocated_bytes();
                model.0.insert(member, score);
                model_bytes = model_bytes.wrapping_add(allocated_bytes().wrapping_sub(at));
            } else {
                let removed = members.remove(&member);
                let at = allocated_bytes();
                assert_eq!(removed, model.0.remove(&member));
                drop(member);
                model_bytes = model_bytes.wrapping_add(allocated_bytes().wrapping_sub(at));
            }
            if step % 97 == 0 {
                assert_eq!(contents(&members), model.sorted());
            }
            let used = allocated_bytes().wrapping_sub(before).wrapping_sub(model_bytes);
            assert_eq!(used, members.memory_usage(), "step {step}");
        }
        for (rank, (member, score)) in model.sorted().into_iter().enumerate() {
            assert_eq!(members.rank(&member), Some((rank, score)));
            assert_eq!(members.score(&member), Some(score));
        }
        assert_eq!(members.rank(b"absent"), None);
    }
}

#[test]
fn ranges_count_remove_and_walk_by_rank() {
    let mut members = ScoredMembers::default();
    for number in 0..500_u32 {
        members.upsert(format!("m{number:03}").as_bytes(), |_| Some(f64::from(number / 10)));
    }
    assert_eq!(members.count_while_score(|score| score < 7.0), 70);
    assert_eq!(members.count_while(|member, _| member < &b"m123"[..]), 123);
    assert_eq!(members.range(498..500).rev().map(|(_, score)| score).collect::<Vec<_>>(), [49.0, 49.0]);
    assert_eq!(members.remove_range(10..490), 480);
    assert_eq!(members.len(), 20);
    assert_eq!(members.score(b"m010"), None);
    assert_eq!(members.rank(b"m490"), Some((10, 49.0)));
    assert_eq!(members.remove_range(0..20), 20);
    assert!(members.is_empty());
    assert_eq!(members.memory_usage(), 0);
}

#[test]
fn a_builder_merges_and_orders() {
    let mut builder = Builder::default();
    for number in (0..300_u32).rev() {
        assert!(builder.add(format!("{number}").as_bytes(), f64::from(number % 7), |present| present));
    }
    assert!(!builder.add(b"5", 1.0, |present| present + 100.0));
    assert_eq!(builder.longest(), 3);
    let mut members = builder.finish();
    assert_eq!(members.rank(b"5"), Some((299, 105.0)));
    let mut sorted = Model(contents(&members).into_iter().collect()).sorted();
    assert_eq!(contents(&members), sorted);
    assert_eq!(members.remove(b"5"), Some(105.0));
    sorted.pop();
    assert_eq!(contents(&members), sorted);
}

#[test]
fn what_is_decided_is_what_happens() {
    let mut members = ScoredMembers::default();
    members.upsert(b"a", |present| {
        assert_eq!(present, None);
        None
    });
    assert!(members.is_empty());
    members.upsert(b"a", |_| Some(f64::NEG_INFINITY));
    members.upsert(b"b", |_| Some(-0.0));
    members.upsert(b"a", |present| {
        assert_eq!(present, Some(f64::NEG_INFINITY));
        Some(0.0)
    });
    assert_eq!(contents(&members), [(b"a".to_vec(), 0.0), (b"b".to_vec(), 0.0)]);
    assert!(members.score(b"b").unwrap().is_sign_negative());
}
