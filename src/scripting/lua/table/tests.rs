//! Tables against a model of them, with pages so small that every growth, compaction and settling takes place often.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use fastrand::Rng;

use super::super::heap::Heap;
use super::super::paged::PAGE;
use super::super::value::{TableRef, Value};
use super::*;

/// A table, and what is to be in it: numbers below 10,000 are themselves, others strings.
struct Pair {
    heap: Heap,
    table: TableRef,
    model: BTreeMap<u32, f64>,
    written: f64,
}

impl Pair {
    fn new() -> Self {
        Self::with_room(0)
    }

    fn large() -> Self {
        Self::with_room(NODES_MAX + 1)
    }

    fn with_room(others: usize) -> Self {
        let mut heap = Heap::new();
        let table = heap.new_table(0, others);
        Self { heap, table, model: BTreeMap::new(), written: 0.0 }
    }

    fn parts(&self) -> &Large {
        self.heap.table(self.table).large().unwrap()
    }

    fn key(&mut self, key: u32) -> Value {
        if key < 10_000 {
            return Value::Number(f64::from(key));
        }
        Value::String(self.heap.string(format!("key {key}").as_bytes()))
    }

    fn set(&mut self, key: u32) {
        self.written += 1.0;
        self.model.insert(key, self.written);
        let (key, value) = (self.key(key), Value::Number(self.written));
        self.heap.set(self.table, key, value);
    }

    fn delete(&mut self, key: u32) {
        self.model.remove(&key);
        let key = self.key(key);
        self.heap.set(self.table, key, Value::Nil);
    }

    /// Every key by itself, the border, and the traversal.
    fn check(&mut self) {
        let model = std::mem::take(&mut self.model);
        for (key, value) in &model {
            let key = self.key(*key);
            assert_eq!(self.heap.get(self.table, key), Value::Number(*value), "{key:?}");
        }
        let length = self.heap.length(self.table) as u32;
        assert!(length == 0 || model.contains_key(&length), "{length}");
        assert!(!model.contains_key(&(length + 1)), "{length}");
        let (mut seen, mut key) = (0, Value::Nil);
        while let Some((next, value)) = self.heap.next(self.table, key).unwrap() {
            assert_eq!(self.heap.get(self.table, next), value);
            (seen, key) = (seen + 1, next);
        }
        assert_eq!(seen, model.len());
        self.model = model;
    }

    fn empty_while_traversing(&mut self, every: usize) {
        let (mut key, mut seen) = (Value::Nil, 0);
        let before = self.model.len();
        while let Some((next, value)) = self.heap.next(self.table, key).unwrap() {
            (key, seen) = (next, seen + 1);
            if seen % every == 0 {
                self.model.retain(|_, known| Value::Number(*known) != value);
                self.heap.set(self.table, key, Value::Nil);
            }
        }
        assert_eq!(seen, before);
    }
}

#[test]
fn a_table_is_what_was_set() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let mut pair = if seed < 30 { Pair::new() } else { Pair::large() };
        let strings = rng.u32(0..400);
        for round in 0..40 {
            let (count, first) = (rng.u32(1..300), rng.u32(1..400));
            match rng.u32(0..9) {
                0 => (first..first + count).for_each(|key| pair.set(key)),
                1 => (first..first + count).rev().for_each(|key| pair.set(key)),
                2 => (0..count).for_each(|_| pair.set(10_000 + rng.u32(0..=strings))),
                3 => (0..count).for_each(|_| pair.delete(10_000 + rng.u32(0..=strings))),
                4 => (0..count).for_each(|_| pair.delete(rng.u32(1..700))),
                5 => (1..first + count).for_each(|key| pair.delete(key)),
                6 => (0..count).for_each(|at| pair.set(20_000 + round * 1000 + at)),
                7 => pair.empty_while_traversing(rng.usize(1..4)),
                _ => (1..first).for_each(|key| pair.set(key)),
            }
            pair.check();
        }
    }
}

#[test]
fn bytes_are_those_that_a_table_has() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let mut pair = Pair::new();
        let base = pair.heap.bytes() - pair.heap.table(pair.table).heap_bytes();
        for _ in 0..5000 {
            let key = rng.u32(1..9000) / rng.u32(1..50) + 1;
            if rng.bool() {
                pair.set(key)
            } else {
                pair.delete(key)
            }
            let bytes = pair.heap.table(pair.table).heap_bytes();
            assert_eq!(pair.heap.bytes() - base, bytes);
        }
    }
}

#[test]
fn deleted_entries_go_though_a_table_only_grows_at_its_end() {
    let mut pair = Pair::large();
    for key in 0..30_000 {
        pair.set(100_000 + key);
        if key >= 100 {
            pair.delete(100_000 + key - 100);
        }
    }
    pair.check();
    let table = pair.parts();
    assert!(table.entries().len() < 10 * PAGE, "{} entries", table.entries().len());
    assert!(table.heap_bytes() < 1000 * 100, "{} bytes", table.heap_bytes());
}

#[test]
fn what_is_left_for_later_is_done_by_later_changes() {
    let mut pair = Pair::large();
    (1..1000).rev().for_each(|key| pair.set(key));
    assert_eq!(pair.heap.length(pair.table), 999);
    assert!(!pair.parts().is_settled());
    (1..1000).for_each(|key| pair.set(key));
    assert!(!pair.parts().is_settled(), "a traversal could be under way");
    (0..1000).for_each(|key| pair.set(10_000 + key));
    assert!(pair.parts().is_settled());
    assert_eq!(pair.parts().array().len(), 999);
    (1..1000).for_each(|key| pair.delete(key));
    assert!(!pair.parts().is_settled());
    assert_eq!(pair.heap.length(pair.table), 0);
    (0..1000).for_each(|_| pair.set(10_000));
    assert_eq!(pair.parts().array().len(), 0);
    pair.set(20_000);
    assert!(pair.parts().is_settled());
    pair.check();
}

#[test]
fn a_large_table_goes_piece_by_piece() {
    let mut pair = Pair::large();
    (0..20_000).for_each(|key| pair.set(10_000 + key));
    (1..5000).for_each(|key| pair.set(key));
    let mut table = std::mem::take(pair.heap.tables.get_mut(pair.table.0)).into_large().unwrap();
    assert!(table.is_large());
    let (mut pieces, mut before) = (0, table.heap_bytes());
    while table.free_some() {
        let now = table.heap_bytes();
        assert!(now < before && before - now < 64 * 8192, "{before} {now}");
        (pieces, before) = (pieces + 1, now);
    }
    assert!(pieces > 10, "{pieces}");
}
