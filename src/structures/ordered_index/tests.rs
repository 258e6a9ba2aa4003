//! The ordered index against a sorted model.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::node::{BRANCH_MAX, Node};
use super::*;
use crate::memory::allocated_bytes;

type Item = (u64, u64);

const LEAF_MAX: usize = Node::<Item>::LEAF_MAX;

fn item(key: u64) -> Item {
    (key, !key)
}

fn by(key: u64) -> impl Fn(&Item) -> Ordering {
    move |item| item.0.cmp(&key)
}

fn keys(index: &OrderedIndex<Item>) -> Vec<u64> {
    index.iter().map(|item| item.0).collect()
}

/// Checks every invariant below `node`; returns its depth.
fn check_node(node: &Node<Item>, root: bool) -> usize {
    match node {
        Node::Leaf(items) => {
            assert!(root || !items.is_empty());
            assert!(items.len() <= LEAF_MAX && items.capacity() <= LEAF_MAX);
            assert!(items.is_sorted_by(|a, b| a < b));
            assert!(items.capacity() <= items.len() + items.len() / 2 + 4, "a leaf wastes room");
            0
        }
        Node::Branch(branch) => {
            let children = branch.nodes.len();
            assert!(children > usize::from(root) && children <= BRANCH_MAX);
            assert_eq!((branch.firsts.len(), branch.counts.len()), (children, children));
            let mut depths = Vec::new();
            for ((child, first), &count) in branch.nodes.iter().zip(&branch.firsts).zip(&branch.counts) {
                depths.push(check_node(child, false));
                assert_eq!(child.first(), Some(first));
                assert_eq!(child.count(), count);
            }
            assert!(depths.iter().all(|&depth| depth == depths[0]));
            depths[0] + 1
        }
    }
}

fn check(index: &OrderedIndex<Item>) -> usize {
    assert_eq!(index.root.count(), index.len());
    let keys = keys(index);
    assert_eq!(keys.len(), index.len());
    assert!(keys.is_sorted_by(|a, b| a < b));
    check_node(&index.root, true)
}

fn same(index: &OrderedIndex<Item>, model: &BTreeSet<u64>) {
    check(index);
    assert!(index.iter().map(|item| item.0).eq(model.iter().copied()));
    assert!(index.iter().rev().map(|item| item.0).eq(model.iter().rev().copied()));
    assert_eq!(index.first().map(|item| item.0), model.first().copied());
    assert_eq!(index.last().map(|item| item.0), model.last().copied());
}

fn filled(count: u64) -> OrderedIndex<Item> {
    OrderedIndex::from_sorted((0..count).map(|n| item(n * 2)))
}

#[test]
fn random_operations_agree_with_a_set() {
    for (seed, span, steps) in [(1, 40, 3_000), (2, 900, 20_000), (3, 60_000, 60_000)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut index, mut model) = (OrderedIndex::new(), BTreeSet::new());
        for step in 0..steps {
            // Waves of growth and of decline, so that splits and merges both happen at every size.
            let growing = (step / (steps / 6)) % 2 == 0;
            let key = random.u64(0..span);
            match random.u32(0..10) {
                0..=3 if growing => assert_eq!(index.insert(item(key), by(key)), model.insert(key)),
                0..=3 => assert_eq!(index.remove(by(key)).is_some(), model.remove(&key)),
                4 => assert_eq!(index.insert(item(key), by(key)), model.insert(key)),
                5 => assert_eq!(index.remove(by(key)), model.take(&key).map(item)),
                6 if step % 50 == 0 => assert_eq!(index.pop_first(), model.pop_first().map(item)),
                6 if step % 50 == 1 => assert_eq!(index.pop_last(), model.pop_last().map(item)),
                7 => {
                    let target = random.u64(0..span);
                    let expected = model.contains(&key) && (key == target || !model.contains(&target));
                    if expected {
                        assert!(index.reposition(by(key), by(target), item(target)));
                        model.remove(&key);
                        model.insert(target);
                    } else if !model.contains(&key) {
                        assert!(!index.reposition(by(key), by(target), item(target)));
                    }
                }
                _ => {
                    assert_eq!(index.find(by(key)).is_some(), model.contains(&key));
                    assert_eq!(
                        index.floor(by(key)).map(|item| item.0),
                        model.range(..=key).next_back().copied()
                    );
                }
            }
            assert_eq!(index.len(), model.len());
            if step % (steps / 200) == 0 {
                same(&index, &model);
            }
        }
        same(&index, &model);
    }
}

#[test]
fn ranks_and_bounds_agree_with_a_sorted_vec() {
    for count in [0, 1, 2, 63, 64, 65, 127, 129, 4096, 4097, 9000] {
        let index = filled(count);
        check(&index);
        let count = usize::try_from(count).unwrap();
        for rank in (0..count).filter(|rank| rank % 7 == 0 || rank + 70 > count || *rank < 140) {
            let key = rank as u64 * 2;
            assert_eq!(index.select(rank), Some(&item(key)));
            assert_eq!(index.rank(by(key)), Some(rank));
            assert_eq!(index.rank(by(key + 1)), None);
            assert_eq!(index.find(by(key)), Some(&item(key)));
            assert_eq!(index.find(by(key + 1)), None);
            assert_eq!((index.lower_bound(by(key)), index.upper_bound(by(key))), (rank, rank + 1));
            assert_eq!(
                (index.lower_bound(by(key + 1)), index.upper_bound(by(key + 1))),
                (rank + 1, rank + 1)
            );
        }
        assert_eq!(index.select(count), None);
        assert_eq!(index.select(usize::MAX), None);
        assert_eq!(index.upper_bound(|_| Ordering::Less), count);
        assert_eq!(index.lower_bound(|_| Ordering::Greater), 0);
        assert_eq!(index.floor(|_| Ordering::Greater), None);
    }
}

#[test]
fn ranges_walk_from_any_rank_in_both_directions() {
    let index = filled(700);
    let all = keys(&index);
    for start in (0..=700).step_by(13) {
        for end in (0..=720).step_by(17) {
            let expected: &[u64] = all.get(start..end.min(700)).unwrap_or(&[]);
            assert_eq!(index.range(start..end).len(), expected.len());
            assert!(index.range(start..end).map(|item| item.0).eq(expected.iter().copied()));
            assert!(index.range(start..end).rev().map(|item| item.0).eq(expected.iter().rev().copied()));
        }
        assert_eq!(index.range(start..).next(), index.select(start));
        assert_eq!(index.range(..=start).next_back(), index.select(start.min(699)));
    }
    let mut both = index.iter();
    let mut met = Vec::new();
    while let Some(front) = both.next() {
        met.push(front.0);
        met.extend(both.next_back().map(|item| item.0));
    }
    met.sort_unstable();
    assert_eq!(met, all);
    assert_eq!(index.range(usize::MAX..).next(), None);
    assert_eq!(OrderedIndex::<Item>::new().range(..).next(), None);
}

#[test]
fn removing_a_range_keeps_the_rest() {
    let mut random = fastrand::Rng::with_seed(9);
    for count in [1u64, 5, 64, 65, 200, 4096, 4200, 20_000] {
        let total = usize::try_from(count).unwrap();
        let mut cases =
            vec![(0, total), (0, 1), (total - 1, total), (0, total - 1), (1, total), (total, total + 5)];
        for _ in 0..30 {
            let start = random.usize(0..=total);
            cases.push((start, random.usize(start..=total + 3)));
        }
        for (start, end) in cases {
            let mut index = filled(count);
            let mut expected = keys(&index);
            let (mut removed, end_there) = (Vec::new(), end.min(total));
            let expected_removed: Vec<u64> = expected.drain(start.min(end_there)..end_there).collect();
            let removed_count = index.remove_range(start..end, |item| removed.push(item.0));
            assert_eq!(removed_count, removed.len());
            assert_eq!(removed, expected_removed);
            assert_eq!(keys(&index), expected);
            check(&index);
        }
    }
}

#[test]
fn removing_ranges_again_and_again_empties_the_tree() {
    let mut random = fastrand::Rng::with_seed(10);
    let mut index = filled(30_000);
    let mut model = keys(&index);
    while !model.is_empty() {
        let start = random.usize(0..model.len());
        let end = (start + random.usize(0..300)).min(model.len());
        model.drain(start..end);
        index.remove_range(start..end, drop);
        check(&index);
        assert_eq!(keys(&index), model);
    }
    assert_eq!(index.memory_usage(), 0);
}

#[test]
fn every_count_around_a_node_boundary_builds_and_empties() {
    for around in [LEAF_MAX, 2 * LEAF_MAX, LEAF_MAX * BRANCH_MAX] {
        for count in around - 2..=around + 2 {
            let ascending: Vec<u64> = (0..count as u64).collect();
            let mut up = OrderedIndex::new();
            let mut down = OrderedIndex::new();
            let mut pushed = OrderedIndex::new();
            for &key in &ascending {
                assert!(up.insert(item(key), by(key)));
                pushed.push_last(item(key));
            }
            for &key in ascending.iter().rev() {
                assert!(down.insert(item(key), by(key)));
            }
            let mut built = OrderedIndex::from_sorted(ascending.iter().map(|&key| item(key)));
            for index in [&up, &down, &pushed, &built] {
                check(index);
                assert_eq!(keys(index), ascending);
            }
            for &key in &ascending {
                assert_eq!(up.pop_first(), Some(item(key)));
                assert_eq!(down.remove(by(key)), Some(item(key)));
                assert_eq!(pushed.remove_at(0), Some(item(key)));
            }
            for &key in ascending.iter().rev() {
                assert_eq!(built.pop_last(), Some(item(key)));
            }
            for index in [up, down, pushed, built] {
                assert!(index.is_empty());
                assert_eq!((index.memory_usage(), index.first(), index.last()), (0, None, None));
            }
        }
    }
}

#[test]
fn an_item_is_replaced_and_moved_in_place() {
    let mut index = filled(5000);
    for key in (0..10_000).step_by(2) {
        assert_eq!(index.replace(by(key), (key, 7)), Some(item(key)));
        assert_eq!(index.update(by(key), |item| std::mem::replace(&mut item.1, 8)), Some(7));
        assert_eq!(index.update(by(key + 1), |_| ()), None);
    }
    check(&index);
    assert!(index.iter().all(|item| item.1 == 8));
    for key in (0..10_000).step_by(2) {
        assert!(index.reposition(by(key), by(key + 1), item(key + 1)));
    }
    check(&index);
    assert!(index.iter().map(|item| item.0).eq((0..5000).map(|n| n * 2 + 1)));
    let mut replaced = filled(3);
    assert!(!replaced.insert((2, 0), by(2)));
    assert_eq!(replaced.find(by(2)), Some(&item(2)));
}

#[test]
fn memory_usage_is_what_the_allocator_counts() {
    let mut random = fastrand::Rng::with_seed(5);
    let before = allocated_bytes();
    let mut index = OrderedIndex::new();
    for step in 0..30_000u64 {
        let key = random.u64(0..20_000);
        if step < 20_000 || step % 3 == 0 {
            index.insert(item(key), by(key));
        } else {
            index.remove(by(key));
        }
        if step % 97 == 0 || step < 300 {
            assert_eq!(allocated_bytes() - before, index.memory_usage(), "step {step}");
        }
    }
    index.remove_range(10..9_000, drop);
    assert_eq!(allocated_bytes() - before, index.memory_usage());
    index.clear();
    assert_eq!(allocated_bytes(), before);
    let built = filled(10_000);
    assert_eq!(allocated_bytes() - before, built.memory_usage());
}

#[test]
fn other_item_sizes_are_weighed_too() {
    let before = allocated_bytes();
    let mut streams: OrderedIndex<(u128, u64)> = OrderedIndex::new();
    let mut bytes: OrderedIndex<[u8; 3]> = OrderedIndex::new();
    for n in 0..5_000u32 {
        let key = n.wrapping_mul(2_654_435_761);
        let [a, b, c, _] = key.to_be_bytes();
        streams.insert((key.into(), 0), |item| item.0.cmp(&key.into()));
        bytes.insert([a, b, c], |item| item.cmp(&[a, b, c]));
    }
    assert_eq!(allocated_bytes() - before, streams.memory_usage() + bytes.memory_usage());
    assert!(streams.iter().is_sorted());
    assert!(bytes.iter().is_sorted());
}

#[test]
fn items_of_sixteen_bytes_cost_less_than_twenty_four() {
    let mut random = fastrand::Rng::with_seed(6);
    let per_item = |index: &OrderedIndex<Item>| index.memory_usage() as f64 / index.len() as f64;
    for count in [17, 30, 65, 130, 200, 1000, 10_000, 100_000] {
        let (mut shuffled, mut ascending, mut descending) =
            (OrderedIndex::new(), OrderedIndex::new(), OrderedIndex::new());
        for n in 0..count {
            let key = random.u64(..);
            shuffled.insert(item(key), by(key));
            ascending.insert(item(n), by(n));
            descending.insert(item(count - n), by(count - n));
        }
        let built = filled(count);
        let costs = [&shuffled, &ascending, &descending, &built].map(per_item);
        assert!(costs.iter().all(|&cost| cost <= 24.0), "{count} items: {costs:?}");
        assert!(count < 1000 || costs[1..].iter().all(|&cost| cost <= 17.5), "{count} items: {costs:?}");
    }
}
