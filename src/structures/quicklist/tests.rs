//! Quicklist against a model under many limits, against node counts of a real server, and against the allocator.
#![allow(clippy::unwrap_used)]

use sha1::{Digest, Sha1};

use super::*;
use crate::memory::allocated_bytes;

fn contents(list: &Quicklist) -> Vec<Vec<u8>> {
    let mut cursor = list.cursor(0, Direction::Forward);
    let mut elements = Vec::new();
    while let Some(value) = cursor.next() {
        elements.push(value.to_vec());
    }
    elements
}

fn check(list: &Quicklist, model: &[Vec<u8>]) {
    assert_eq!(list.len(), model.len());
    assert_eq!(contents(list), model);
    let mut cursor = list.cursor(model.len().saturating_sub(1), Direction::Backward);
    for element in model.iter().rev() {
        assert!(cursor.next().unwrap().equals(element));
    }
    assert!(cursor.next().is_none());
    assert_eq!(list.peek(End::Head).map(|value| value.to_vec()), model.first().cloned());
    assert_eq!(list.peek(End::Tail).map(|value| value.to_vec()), model.last().cloned());
    let depth = usize::from(list.limits.compress_depth());
    let count = list.nodes.len();
    for (number, node) in list.nodes.iter().enumerate() {
        assert!(node.len() > 0);
        let inside = depth > 0 && number >= depth && number + depth < count;
        assert!(inside || !matches!(node, Node::Compressed { .. }), "node {number} of {count}");
    }
}

fn list_of(limits: Limits, elements: &[Vec<u8>]) -> Quicklist {
    let mut list = Quicklist::new(limits);
    elements.iter().for_each(|element| list.push(End::Tail, element));
    list
}

fn random_element(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..12) {
        0..=2 => rng.u8(..20).to_string().into_bytes(),
        3..=6 => (0..rng.usize(..70)).map(|_| rng.u8(..)).collect(),
        7..=10 => vec![b'r'; rng.usize(100..900)],
        _ => vec![b'L'; rng.usize(4000..9000)],
    }
}

fn change(list: &mut Quicklist, model: &mut Vec<Vec<u8>>, rng: &mut fastrand::Rng) {
    let element = random_element(rng);
    let index = if model.is_empty() { 0 } else { rng.usize(..model.len()) };
    match rng.u8(..20) {
        0..=4 => {
            list.push(End::Tail, &element);
            model.push(element);
        }
        5..=6 => {
            list.push(End::Head, &element);
            model.insert(0, element);
        }
        7..=9 => {
            let exists = list.insert(index, Side::Before, &element);
            assert_eq!(exists, !model.is_empty());
            if exists {
                model.insert(index, element);
            }
        }
        10..=11 if !model.is_empty() => {
            assert!(list.insert(index, Side::After, &element));
            model.insert(index + 1, element);
        }
        12..=14 => {
            let exists = list.replace(index, &element);
            assert_eq!(exists, !model.is_empty());
            if exists {
                model[index] = element;
            }
        }
        15 => {
            let end = if rng.bool() { End::Head } else { End::Tail };
            let expected = match end {
                _ if model.is_empty() => None,
                End::Head => Some(model.remove(0)),
                End::Tail => model.pop(),
            };
            assert_eq!(list.pop(end, |value| value.to_vec()), expected);
        }
        16..=17 => {
            let most = 1 << rng.u8(..7);
            let count = rng.usize(..most);
            let end = (index + count).min(model.len());
            assert_eq!(list.remove_range(index, count), end - index);
            model.drain(index..end);
        }
        18 => remove_matching(list, model, &element, rng),
        _ => {
            let expected = model.get(index).cloned();
            assert_eq!(list.at(index, |value| value.to_vec()), expected);
        }
    }
}

fn remove_matching(list: &mut Quicklist, model: &mut Vec<Vec<u8>>, element: &[u8], rng: &mut fastrand::Rng) {
    let max = rng.usize(1..4);
    let direction = if rng.bool() { Direction::Forward } else { Direction::Backward };
    let mut found: Vec<usize> = (0..model.len()).filter(|&index| model[index] == element).collect();
    if direction == Direction::Backward {
        found.reverse();
    }
    found.truncate(max);
    assert_eq!(list.remove_matching(element, max, direction), found.len());
    found.sort_unstable();
    for index in found.into_iter().rev() {
        model.remove(index);
    }
}

#[test]
fn random_changes_agree_with_a_model_under_many_limits() {
    for fill in [-1, -2, -5, 1, 3, 16, 128] {
        for depth in [0, 1, 2, 5] {
            for threshold in [0, 200] {
                let limits = Limits::new(fill, depth).with_packed_threshold(threshold);
                let mut rng = fastrand::Rng::with_seed((fill * 100 + depth) as u64);
                let (mut list, mut model) = (Quicklist::new(limits), Vec::new());
                for _ in 0..400 {
                    change(&mut list, &mut model, &mut rng);
                    check(&list, &model);
                }
            }
        }
    }
}

#[test]
fn memory_usage_is_what_the_allocator_counts() {
    for (fill, depth) in [(-2, 0), (-1, 2), (4, 1)] {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut list = Quicklist::new(Limits::new(fill, depth));
        let mut model = Vec::new();
        for _ in 0..500 {
            change(&mut list, &mut model, &mut rng);
            let before = allocated_bytes();
            let copy = list.clone();
            assert_eq!(allocated_bytes() - before, copy.memory_usage());
        }
    }
    let elements: Vec<Vec<u8>> = (0..40_000).map(|number: u32| number.to_string().into_bytes()).collect();
    let before = allocated_bytes();
    let mut list = Quicklist::new(Limits::new(-2, 3));
    for element in &elements {
        list.push(End::Tail, element);
        assert_eq!(allocated_bytes() - before, list.memory_usage());
    }
    while list.remove_end(End::Head) {
        assert_eq!(allocated_bytes() - before, list.memory_usage());
    }
    drop(list);
    assert_eq!(allocated_bytes(), before);
}

#[test]
fn inner_nodes_are_compressed_and_read_without_changing_them() {
    let elements: Vec<Vec<u8>> =
        (0..500).map(|number| format!("{number} {}", "ab".repeat(100)).into_bytes()).collect();
    let list = list_of(Limits::new(-1, 1), &elements);
    let count = list.node_count();
    assert!(count > 20);
    let compressed = list.nodes().filter(|node| matches!(node.bytes, NodeBytes::Lzf { .. })).count();
    assert_eq!(compressed, count - 2);
    assert!(list.memory_usage() < list.uncompressed_bytes() / 4);
    check(&list, &elements);
    let mut changed = list.clone();
    assert!(changed.replace(250, b"short"));
    assert_eq!(changed.remove_matching(&elements[100], 1, Direction::Forward), 1);
    assert_eq!(changed.nodes().filter(|node| matches!(node.bytes, NodeBytes::Lzf { .. })).count(), count - 2);
}

#[test]
fn nodes_make_the_same_list_again() {
    let mut rng = fastrand::Rng::with_seed(9);
    let elements: Vec<Vec<u8>> = (0..300).map(|_| random_element(&mut rng)).collect();
    let list = list_of(Limits::new(-1, 0), &elements);
    let mut copy = Quicklist::new(Limits::new(-1, 2));
    for node in list.nodes() {
        let NodeBytes::Raw(bytes) = node.bytes else { panic!("compressed") };
        match node.plain {
            true => copy.append_plain(bytes),
            false => copy.append_listpack(Listpack::from_bytes(bytes).unwrap()),
        }
        assert_eq!(node.raw_len(), bytes.len());
    }
    copy.append_listpack(Listpack::new());
    assert_eq!(copy.node_count(), list.node_count());
    assert_eq!(copy.uncompressed_bytes(), list.uncompressed_bytes());
    check(&copy, &elements);
}

#[test]
fn a_list_of_one_listpack_can_become_one() {
    let elements = vec![b"a".to_vec(), b"17".to_vec()];
    let list = list_of(Limits::new(-2, 0), &elements);
    let listpack = list.into_single_listpack().unwrap();
    assert_eq!(listpack.len(), 2);
    let mut list = Quicklist::from_listpack(listpack, Limits::new(1, 0));
    assert_eq!((list.len(), list.node_count()), (2, 1));
    list.push(End::Tail, b"next");
    assert_eq!(list.node_count(), 2);
    assert!(list.into_single_listpack().is_err());
    let mut large = Quicklist::new(Limits::new(-1, 0));
    large.push(End::Head, &[b'x'; 5000]);
    assert!(large.single_listpack().is_none());
}

#[test]
fn limits_are_those_of_list_max_listpack_size() {
    for (fill, bytes) in [(-1, 4096), (-2, 8192), (-3, 16384), (-4, 32768), (-5, 65536), (-90, 65536)] {
        let limits = Limits::new(fill, 0);
        assert_eq!((limits.max_bytes(), limits.max_len()), (bytes, usize::MAX));
        assert!(!limits.exceeded_by(bytes, 1 << 20) && limits.exceeded_by(bytes + 1, 1));
        assert!(!limits.is_large(bytes) && limits.is_large(bytes + 1));
    }
    for (fill, len) in [(0, 1), (1, 1), (128, 128), (1 << 20, 32767)] {
        let limits = Limits::new(fill, -3);
        assert_eq!((limits.max_bytes(), limits.max_len()), (usize::MAX, len));
        assert!(
            !limits.exceeded_by(8192, len) && limits.exceeded_by(1, len + 1) && limits.exceeded_by(8193, 1)
        );
        assert!(!limits.is_large(8192) && limits.is_large(8193));
    }
    assert!(Limits::new(-2, 0).with_packed_threshold(5).is_large(5));
}

/// What Valkey 9.1 holds after the commands of [`replay`]: fill, packed threshold, elements, nodes, and the SHA-1 of
/// all nodes (container byte and bytes each), as its DUMP has them.
const GOLDEN: [(i64, u32, usize, usize, &str); 7] = [
    (-1, 0, 987, 80, "b9d99ffc96e78fd645ca95407a03b77c7980238b"),
    (-2, 0, 1061, 54, "e15a05869c1212fa34214d1f2843805cca7ed31c"),
    (1, 0, 1128, 1128, "75cc9e025a7a9baf5eb191fe4bb39905c4a82990"),
    (5, 0, 1155, 307, "b373c4bacbcec8edbe0b242417d1f086e4e2d890"),
    (128, 0, 1004, 41, "d8e77ef104088d4e162ce15f22e9d0bdd6cbb6b1"),
    (5, 200, 1055, 539, "55bd374a60304c44b21eb9e7538c703b12901ede"),
    (-1, 50, 1017, 601, "87c728f880dd56b006c6eef0d27e7774bb37c162"),
];

/// A generator that the script on the other side has too.
struct Generator(u64);

impl Generator {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn element(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => self.below(100_000).to_string().into_bytes(),
            1 => vec![b'r'; self.below(60)],
            2 => vec![b'q'; self.below(900)],
            _ if self.below(10) == 0 => vec![b'L'; self.below(9000)],
            _ => format!("m{}", self.below(50)).into_bytes(),
        }
    }
}

/// RPUSH, LPUSH, LINSERT, LSET, LTRIM and LREM as the list type runs them.
fn replay(limits: Limits, seed: u64) -> Quicklist {
    let mut generator = Generator(seed);
    let mut list = list_of(limits, &[vec![b'P'; 70_000]]);
    for _ in 0..3000 {
        let operation = generator.below(16);
        let element = generator.element();
        let index = generator.below(list.len());
        let chosen = list.at(index, |value| value.to_vec()).unwrap();
        let mut cursor = list.cursor(0, Direction::Forward);
        let first = (0..).find(|_| cursor.next().unwrap().equals(&chosen)).unwrap();
        match operation {
            0..=5 => list.push(End::Tail, &element),
            6 | 7 => list.push(End::Head, &element),
            8 | 9 => assert!(list.insert(first, Side::Before, &element)),
            10 => assert!(list.insert(first, Side::After, &element)),
            11 | 12 => assert!(list.replace(index, &element)),
            13 => {
                let (head, tail) = (generator.below(4), generator.below(4));
                if list.len() > 20 {
                    list.remove_range(0, head);
                    list.remove_range(list.len() - tail, tail);
                }
            }
            14 if list.len() > 20 => assert_eq!(list.remove_matching(&chosen, 1, Direction::Forward), 1),
            15 if list.len() > 20 => assert!(list.remove_matching(&chosen, 2, Direction::Backward) > 0),
            _ => {}
        }
    }
    list
}

#[test]
fn nodes_are_those_of_the_real_server() {
    for (fill, threshold, len, nodes, digest) in GOLDEN {
        let limits = Limits::new(fill, 0).with_packed_threshold(threshold);
        let list = replay(limits, (fill * 7 + i64::from(threshold) + 1).cast_unsigned());
        assert_eq!((list.len(), list.node_count()), (len, nodes), "fill {fill}, threshold {threshold}");
        let mut sha = Sha1::new();
        for node in list.nodes() {
            let NodeBytes::Raw(bytes) = node.bytes else { panic!("compressed") };
            sha.update([if node.plain { 1 } else { 2 }]);
            sha.update(bytes);
        }
        let hex: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, digest, "fill {fill}, threshold {threshold}");
    }
}
