//! The table against `std`'s map, the SCAN guarantee, exact memory, bounded work, and figures of size and speed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;

use super::*;
use crate::memory::{allocated_bytes, raw, usable_size};

thread_local! {
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

/// `[due 0: i64][due 1: i64][key length: u64][value: u64][key]`, a due instant of `i64::MAX` meaning no mark.
struct Item(NonNull<u64>);

const NEVER: i64 = i64::MAX;

impl Item {
    fn new(key: &[u8], value: u64) -> Self {
        let block = raw::allocate(32 + key.len()).cast::<u64>();
        for (index, word) in [NEVER as u64, NEVER as u64, key.len() as u64, value].into_iter().enumerate() {
            // SAFETY: the block has room for four words and the key.
            unsafe { block.add(index).write(word) };
        }
        // SAFETY: as above.
        unsafe { block.add(4).cast::<u8>().copy_from(NonNull::from(key).cast(), key.len()) };
        ALIVE.set(ALIVE.get() + 1);
        Self(block)
    }

    fn due(mut self, mark: Mark, due_ms: i64) -> Self {
        self.set_due(mark, due_ms);
        self
    }

    fn set_due(&mut self, mark: Mark, due_ms: i64) {
        // SAFETY: the block begins with the due instants.
        unsafe { self.0.add(mark as usize).write(due_ms as u64) };
    }

    fn word(&self, index: usize) -> u64 {
        // SAFETY: the block begins with four words.
        unsafe { self.0.add(index).read() }
    }

    fn value(&self) -> u64 {
        self.word(3)
    }

    fn set_value(&mut self, value: u64) {
        // SAFETY: the block begins with four words.
        unsafe { self.0.add(3).write(value) };
    }

    fn bytes(&self) -> usize {
        usable_size(32 + self.key().len())
    }

    /// Gives the element another block, as an append to a value would.
    fn move_block(&mut self, value: u64) {
        let mut other = Self::new(self.key(), value);
        for mark in Mark::ALL {
            other.set_due(mark, self.due_ms(mark));
        }
        *self = other;
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
        // SAFETY: the block is the item's own.
        unsafe { raw::free(self.0.cast()) };
    }
}

// SAFETY: one block of the allocator, 8-aligned, with the key inside.
unsafe impl Element for Item {
    fn into_block(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_block(block: NonNull<u8>) -> Self {
        Self(block.cast())
    }

    fn key(&self) -> &[u8] {
        // SAFETY: the block holds that many bytes of key after four words.
        unsafe { std::slice::from_raw_parts(self.0.add(4).cast().as_ptr(), self.word(2) as usize) }
    }

    fn marks(&self) -> Marks {
        Mark::ALL.into_iter().fold(Marks::NONE, |marks, mark| marks.with(mark, self.due_ms(mark) != NEVER))
    }

    fn due_ms(&self, mark: Mark) -> i64 {
        self.word(mark as usize) as i64
    }
}

type Table = HashTable<Item>;

fn key(n: u64) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

fn find(table: &Table, n: u64) -> Option<Position> {
    table.find(hash_of(&key(n)), &key(n))
}

fn add(table: &mut Table, n: u64) -> Position {
    table.insert(hash_of(&key(n)), Item::new(&key(n), n))
}

fn filled(n: u64) -> Table {
    let mut table = Table::new();
    for n in 0..n {
        add(&mut table, n);
    }
    table
}

fn assert_sound(table: &Table) {
    let mut len = 0;
    let mut marked = [0; 2];
    for bucket in 0..table.buckets.count() {
        let blocks: Vec<_> = table.buckets.blocks(bucket).collect();
        for (depth, block) in blocks.iter().enumerate() {
            let header = block.header();
            let count = header.count();
            assert_eq!(header.is_chained(), depth + 1 < blocks.len());
            assert!(!header.is_chained() || count == block::LINKED);
            assert!(depth == 0 || count >= 2, "a chain's last block holds two or more");
            for slot in 0..count {
                let item = table.lend(block.word(slot));
                let hash = hash_of(item.key());
                assert_eq!(table.buckets.index(hash), bucket);
                assert_eq!(header.tag(slot), tag_of(hash));
                assert!(block.word(slot).agrees(hash));
                assert_eq!(block.word(slot).marks(), item.marks());
                for mark in Mark::ALL {
                    marked[mark as usize] += usize::from(item.marks().contains(mark));
                }
            }
            len += count;
        }
    }
    assert_eq!(len, table.len());
    assert_eq!(marked, Mark::ALL.map(|mark| table.marked(mark)));
}

#[test]
fn is_small_itself() {
    assert!(size_of::<Table>() <= 40);
    assert_eq!(size_of::<Position>(), 8);
    assert_eq!(Table::new().memory_usage(), 0);
}

#[test]
fn splits_need_no_element_between_2_to_the_8_and_2_to_the_32() {
    let mut rng = fastrand::Rng::with_seed(8);
    let item = Item::new(b"key", 0);
    for hash in (0..100).map(|_| rng.u64(..)) {
        let word = Word::new(item.0.cast(), hash, Marks::NONE.with(Mark::FieldsExpire, true));
        for bit in 0..64 {
            let kept = (8..32).contains(&bit).then_some(hash >> bit & 1 != 0);
            assert_eq!(word.hash_bit(tag_of(hash), bit), kept, "bit {bit}");
        }
        assert!(word.agrees(hash) && !word.agrees(hash ^ 1 << 8) && !word.agrees(hash ^ 1 << 23));
        assert_eq!(word.block(), item.0.cast());
        assert!(word.marks().contains(Mark::FieldsExpire) && !word.marks().contains(Mark::Expires));
    }
}

#[test]
fn a_header_finds_exactly_the_tags_it_counts() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..10_000 {
        let tags: [u8; 7] = std::array::from_fn(|_| rng.u8(..3).wrapping_sub(1));
        let count = rng.usize(..8);
        let header = tags
            .iter()
            .enumerate()
            .fold(block::Header::EMPTY, |header, (slot, &tag)| header.with_tag(slot, tag));
        let header = header.with_count(count, rng.bool());
        for tag in [0, 1, 255, 128] {
            let expected: Vec<_> = (0..count).filter(|&slot| tags[slot] == tag).collect();
            assert_eq!(header.matches(tag).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn agrees_with_a_map_through_growth_and_shrinking() {
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..12 {
        let range = [4, 12, 40, 300, 4_000, 30_000][round % 6];
        let mut table = Table::new();
        let mut model = HashMap::new();
        for step in 0..range * 8 {
            if step % (range * 2) == 0 {
                table.resize_paused(rng.u8(..3) == 0);
            }
            let n = rng.u64(..range);
            // The bias turns, so that the table is filled and emptied several times.
            let fills = (step / range) % 3 != 2;
            match (find(&table, n), rng.u8(..10)) {
                (None, 0..8) if fills => {
                    let position = add(&mut table, n);
                    assert_eq!(table.get(position).value(), n);
                    model.insert(n, n);
                }
                (Some(position), 0..8) if !fills => {
                    assert_eq!(table.remove(position).value(), model.remove(&n).unwrap());
                }
                (Some(position), 8) => {
                    table.get_mut(position).move_block(step);
                    assert_eq!(table.get(position).value(), step);
                    model.insert(n, step);
                }
                (Some(position), 9) => {
                    let old = table.replace(position, Item::new(&key(n), step + 1));
                    assert_eq!(Some(old.value()), model.insert(n, step + 1));
                }
                (found, _) => assert_eq!(found.map(|at| table.get(at).value()), model.get(&n).copied()),
            }
            assert_eq!(table.len(), model.len());
        }
        assert_sound(&table);
        let all: HashMap<_, _> = table.iter().map(|item| (item.key().to_vec(), item.value())).collect();
        assert_eq!(all, model.iter().map(|(&n, &value)| (key(n), value)).collect());
        drop(table);
        assert_eq!(ALIVE.get(), 0, "every element is dropped once");
    }
}

#[test]
fn says_exactly_what_it_has_allocated() {
    let before = allocated_bytes();
    let mut table = Table::new();
    let mut items = 0;
    let elements = 130_000_u64;
    for n in 0..elements {
        let item = Item::new(&key(n), n);
        let item = if n.is_multiple_of(16) { item.due(Mark::Expires, n as i64) } else { item };
        items += item.bytes();
        table.insert(hash_of(&key(n)), item);
        assert_eq!(allocated_bytes() - before, table.memory_usage() + items, "at {n}");
    }
    for n in 0..elements {
        let item = table.remove(find(&table, n).unwrap());
        items -= item.bytes();
        drop(item);
        assert_eq!(allocated_bytes() - before, table.memory_usage() + items, "at {n} on the way down");
    }
    assert_eq!(table.memory_usage(), 0);
}

#[test]
fn takes_few_bytes_for_each_element() {
    for (elements, most) in
        [(1, 16.0), (7, 10.0), (10, 14.0), (100, 13.0), (200, 13.0), (1_000, 13.0), (30_000, 13.5)]
    {
        let table = filled(elements);
        let each = table.memory_usage() as f64 / elements as f64;
        assert!(each <= most, "{each:.1} bytes an element at {elements}");
    }
}

#[test]
fn gives_memory_back_as_it_empties() {
    let mut table = filled(50_000);
    for n in 0..50_000 {
        let position = find(&table, n).unwrap();
        drop(table.remove(position));
        let most = 20 * table.len() + 256;
        assert!(
            table.memory_usage() <= most + 16 * 1024,
            "{} bytes for {}",
            table.memory_usage(),
            table.len()
        );
    }
    assert_eq!(table.memory_usage(), 0);
}

#[test]
fn one_insert_or_removal_moves_at_most_one_bucket() {
    let mut table = Table::new();
    for n in 0..20_000 {
        let before = table.buckets.count();
        add(&mut table, n);
        assert!(table.buckets.count() - before <= 1);
    }
    for n in 0..20_000 {
        let before = table.buckets.count();
        let position = find(&table, n).unwrap();
        drop(table.remove(position));
        assert!(before - table.buckets.count() <= 1);
    }
}

#[test]
fn a_pause_keeps_the_buckets_and_is_caught_up_with() {
    let mut table = filled(1_000);
    let buckets = table.buckets.count();
    table.resize_paused(true);
    for n in 1_000..1_900 {
        add(&mut table, n);
    }
    assert_eq!(table.buckets.count(), buckets);
    for n in 1_900..100_000 {
        add(&mut table, n);
    }
    assert!(table.buckets.count() as usize * 13 >= table.len() - 1, "chains stay short");
    table.resize_paused(false);
    let mut n = 100_000;
    while table.len() > table.capacity() {
        let before = table.buckets.count();
        add(&mut table, n);
        assert!(table.buckets.count() - before <= 2);
        n += 1;
        assert!(n < 120_000);
    }
    table.resize_paused(true);
    for n in 0..n {
        let position = find(&table, n).unwrap();
        drop(table.remove(position));
    }
    assert_eq!(table.memory_usage(), 0, "an empty table keeps nothing, paused or not");
}

#[test]
fn scan_misses_nothing_that_stays() {
    let mut rng = fastrand::Rng::with_seed(3);
    for round in 0..40 {
        let stay = rng.u64(1..3_000);
        let mut table = filled(stay);
        let mut others: Vec<u64> = Vec::new();
        let mut next = stay;
        for _ in 0..rng.usize(..6_000) {
            add(&mut table, next);
            others.push(next);
            next += 1;
        }
        let mut seen = HashSet::new();
        let mut emitted = 0_usize;
        let mut cursor = 0;
        let mut step = 0;
        loop {
            cursor = table.scan(cursor, |item| {
                emitted += 1;
                seen.insert(item.value());
            });
            if cursor == 0 {
                break;
            }
            step += 1;
            let grows = match round % 4 {
                0 => true,
                1 => false,
                2 => (step / 50) % 2 == 0,
                _ => rng.bool(),
            };
            for _ in 0..rng.usize(..if grows { 40 } else { 60 }) {
                if grows && next < 200_000 {
                    add(&mut table, next);
                    others.push(next);
                    next += 1;
                } else if !others.is_empty() {
                    let n = others.swap_remove(rng.usize(..others.len()));
                    let position = find(&table, n).unwrap();
                    drop(table.remove(position));
                }
            }
        }
        assert!((0..stay).all(|n| seen.contains(&n)), "round {round}");
        assert!(emitted <= seen.len() * 2, "{emitted} emitted for {}", seen.len());
    }
}

#[test]
fn scan_takes_any_cursor() {
    let table = filled(5_000);
    let mut rng = fastrand::Rng::with_seed(4);
    for cursor in (0..1_000).map(|_| rng.u64(..)).chain([u64::MAX]) {
        table.scan(cursor, |_| ());
    }
    assert_eq!(Table::new().scan(99, |_| ()), 0);
}

#[test]
fn random_choice_is_uniform() {
    for elements in [1_u64, 5, 40, 100, 1_000, 1_500] {
        let table = filled(elements);
        let mut rng = fastrand::Rng::with_seed(elements);
        let mut hits = vec![0_u32; elements as usize];
        let draws = elements * 200;
        for _ in 0..draws {
            hits[table.get(table.random(&mut rng).unwrap()).value() as usize] += 1;
        }
        let chi: f64 = hits.iter().map(|&hits| (f64::from(hits) - 200.0).powi(2) / 200.0).sum();
        let freedom = (elements - 1) as f64;
        assert!((chi - freedom).abs() <= 5.0 * (2.0 * freedom).sqrt(), "chi² {chi} at {elements}");
    }
}

#[test]
fn random_choice_works_in_a_table_left_nearly_empty() {
    let mut table = filled(10_000);
    table.resize_paused(true);
    table.retain(|item| item.value() == 77);
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..10 {
        assert_eq!(table.get(table.random(&mut rng).unwrap()).value(), 77);
    }
}

#[test]
fn walks_visit_every_element_once() {
    for elements in [0, 1, 7, 8, 9, 100, 10_000] {
        let mut table = filled(elements);
        let mut visited = Vec::new();
        table.for_each_prefetched(|item| visited.push(item.value()));
        let mut iterated: Vec<_> = table.iter().map(|item| item.value()).collect();
        assert_eq!(visited, iterated);
        iterated.sort_unstable();
        assert_eq!(iterated, (0..elements).collect::<Vec<_>>());
        table.retain(|item| item.value() % 3 == 0);
        assert_sound(&table);
        assert_eq!(table.len() as u64, elements.div_ceil(3));
        assert!(table.memory_usage() <= 20 * table.len() + 64);
        let mut drained = 0;
        table.drain(|item| drained += item.value());
        assert_eq!(drained, (0..elements).step_by(3).sum());
        assert_eq!(table.memory_usage(), 0);
    }
}

fn guess(table: &Table, hash: u64) -> Option<Position> {
    table.prefetch_bucket(hash);
    table.prefetch_element(hash).or_else(|| table.prefetch_overflow(hash))
}

#[test]
fn a_guess_leads_to_the_element_whether_it_is_fresh_or_stale() {
    let mut table = Table::new();
    let mut stale = Vec::new();
    for n in 0..2_000 {
        let hash = hash_of(&key(n));
        assert!(table.find_near(guess(&table, hash), hash, &key(n)).is_none());
        add(&mut table, n);
        stale.push(guess(&table, hash));
        assert!(stale.last().unwrap().is_some(), "what is there is seen ahead");
    }
    for (n, stale) in (0..).zip(stale) {
        let hash = hash_of(&key(n));
        for guess in [stale, guess(&table, hash), None, Some(Position { bucket: 9999, ordinal: 3 })] {
            let (position, item) = table.find_near(guess, hash, &key(n)).unwrap();
            assert_eq!(item.value(), n);
            assert_eq!(table.get(position).value(), n);
        }
    }
}

/// Sweeps and removes what is due until a sweep shows nothing; returns how many there were.
fn sweep_and_remove(table: &mut Table, mark: Mark, now_ms: i64) -> usize {
    let (mut removed, mut removed_before, mut cursor) = (0, 0, 0);
    loop {
        let mut due = Vec::new();
        cursor = table.sweep(mark, cursor, now_ms, 64, |item| {
            assert!(item.due_ms(mark) <= now_ms);
            due.push(item.value());
            true
        });
        removed += due.len();
        for n in due {
            let position = find(table, n).unwrap();
            drop(table.remove(position));
        }
        if cursor == 0 && removed == removed_before {
            return removed;
        }
        if cursor == 0 {
            removed_before = removed;
        }
    }
}

#[test]
fn a_sweep_shows_exactly_what_is_due() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut table = Table::new();
    let mut model: HashMap<u64, i64> = HashMap::new();
    let mut next = 0;
    for round in 0..200_i64 {
        let now_ms = round * 100;
        for _ in 0..rng.usize(..if round % 40 < 20 { 400 } else { 40 }) {
            let due_ms = now_ms + rng.i64(1..4_000);
            let item = Item::new(&key(next), next).due(Mark::Expires, due_ms);
            table.insert(hash_of(&key(next)), item);
            model.insert(next, due_ms);
            next += 1;
        }
        for _ in 0..rng.usize(..20) {
            // Some get another instant, some none.
            let n = rng.u64(..next.max(1));
            if let Some(position) = find(&table, n) {
                let due_ms = if rng.bool() { NEVER } else { now_ms + rng.i64(1..4_000) };
                table.get_mut(position).set_due(Mark::Expires, due_ms);
                model.insert(n, due_ms);
            }
        }
        let due = model.values().filter(|&&due_ms| due_ms <= now_ms).count();
        assert_eq!(sweep_and_remove(&mut table, Mark::Expires, now_ms), due, "round {round}");
        model.retain(|_, due_ms| *due_ms > now_ms);
        assert_eq!(table.len(), model.len());
        assert!(table.earliest_due_ms(Mark::Expires) <= model.values().copied().min().unwrap_or(NEVER));
        assert_eq!(sweep_and_remove(&mut table, Mark::Expires, now_ms), 0);
        assert_eq!(table.marked(Mark::FieldsExpire), 0);
    }
    assert_sound(&table);
}

#[test]
fn a_sweep_shows_again_what_was_to_stay() {
    let mut table = Table::new();
    for n in 0..100 {
        table.insert(hash_of(&key(n)), Item::new(&key(n), n).due(Mark::FieldsExpire, n as i64));
    }
    for _ in 0..3 {
        let mut shown = 0;
        assert_eq!(
            table.sweep(Mark::FieldsExpire, 0, 49, 1_000, |_| {
                shown += 1;
                false
            }),
            0
        );
        assert_eq!(shown, 50);
    }
    let mut looked = 0;
    table.sweep(Mark::FieldsExpire, 0, -1, 1_000, |_| {
        looked += 1;
        true
    });
    assert_eq!((looked, table.earliest_due_ms(Mark::FieldsExpire)), (0, 0));
}

#[test]
fn random_marked_choice_is_uniform_among_the_marked() {
    for (elements, every) in [(1_u64, 1_usize), (500, 1), (500, 7), (6_000, 3), (6_000, 1_000)] {
        let mut table = Table::new();
        for n in 0..elements {
            let due_ms = if n % every as u64 == 0 { n as i64 } else { NEVER };
            table.insert(hash_of(&key(n)), Item::new(&key(n), n).due(Mark::Expires, due_ms));
        }
        let mut rng = fastrand::Rng::with_seed(elements);
        let marked = (0..elements).step_by(every).count();
        assert_eq!(table.marked(Mark::Expires), marked);
        let mut hits = vec![0_u32; elements as usize];
        for _ in 0..marked * 100 {
            let position = table.random_marked(Mark::Expires, &mut rng).unwrap();
            hits[table.get(position).value() as usize] += 1;
        }
        let hits = hits.iter().step_by(every);
        assert_eq!(hits.clone().sum::<u32>() as usize, marked * 100, "only marked ones are chosen");
        let chi: f64 = hits.map(|&hits| (f64::from(hits) - 100.0).powi(2) / 100.0).sum();
        let freedom = marked as f64 - 1.0;
        assert!(
            (chi - freedom).abs() <= 5.0 * (2.0 * freedom).sqrt(),
            "chi² {chi} of {marked} in {elements}"
        );
        assert_eq!(table.random_marked(Mark::FieldsExpire, &mut rng), None);
    }
}

#[test]
fn statistics_describe_the_buckets() {
    let table = filled(10_000);
    let statistics = table.bucket_statistics();
    assert_eq!(statistics.elements, 10_000);
    assert_eq!(statistics.slots, statistics.top_level_buckets * 7);
    assert_eq!(statistics.chain_lengths.iter().sum::<usize>(), statistics.top_level_buckets);
    let children: usize =
        statistics.chain_lengths.iter().enumerate().map(|(length, count)| length * count).sum();
    assert_eq!(statistics.child_buckets, children);
    assert_eq!(statistics.bytes, table.memory_usage());
}

#[test]
#[should_panic(expected = "a position is used after its table has changed")]
fn a_stale_position_does_not_leave_the_table() {
    let mut table = filled(1);
    let position = find(&table, 0).unwrap();
    drop(table.remove(position));
    let _ = table.get(position).value();
}

/// `cargo test --release --lib hash_table::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn figures() {
    for elements in [1, 3, 10, 30, 100, 200, 1_000, 5_000, 10_000, 20_000, 100_000, 1_000_000] {
        let table = filled(elements);
        println!("{elements:>9} elements: {:.2} bytes each", table.memory_usage() as f64 / elements as f64);
    }
    let elements = 1_000_000;
    let mut rng = fastrand::Rng::with_seed(7);
    let order: Vec<u64> = (0..elements).map(|_| rng.u64(..elements)).collect();
    let items: Vec<_> = (0..elements).map(|n| Item::new(&short_key(n), n)).collect();
    let mut table = Table::new();
    let mut clock = Clock::start();
    for item in items {
        table.insert(hash_of(item.key()), item);
    }
    clock.report("insert");
    let is_there = |n: u64| table.find(hash_of(&short_key(n)), &short_key(n)).is_some();
    assert_eq!(order.iter().filter(|&&n| is_there(n)).count(), order.len());
    clock.report("hit");
    assert_eq!(order.iter().filter(|&&n| is_there(n + elements)).count(), 0);
    clock.report("miss");
    for batch in order.chunks(16) {
        let hashes: [u64; 16] = std::array::from_fn(|index| hash_of(&short_key(batch[index])));
        hashes.iter().for_each(|&hash| table.prefetch_bucket(hash));
        let first = hashes.map(|hash| table.prefetch_element(hash));
        let guesses =
            std::array::from_fn::<_, 16, _>(|at| first[at].or_else(|| table.prefetch_overflow(hashes[at])));
        let found = |at: usize| table.find_near(guesses[at], hashes[at], &short_key(batch[at])).is_some();
        assert!((0..batch.len()).all(found));
    }
    clock.report("hit in batches of 16");
    let mut sum = 0;
    table.for_each_prefetched(|item| sum += item.value());
    clock.report("walk");
    (0..elements).for_each(|_| sum += table.get(table.random(&mut rng).unwrap()).value());
    clock.report("random");
    let mut cursor = table.scan(0, |_| ());
    while cursor != 0 {
        cursor = table.scan(cursor, |item| sum += item.value());
    }
    clock.report("scan");
    for n in 0..elements {
        let position = table.find(hash_of(&short_key(n)), &short_key(n)).unwrap();
        drop(table.remove(position));
    }
    clock.report("find, remove and free");
    println!("{sum}");
}

fn short_key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

struct Clock(std::time::Instant);

impl Clock {
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Prints how long each of a million operations took since the last report.
    fn report(&mut self, what: &str) {
        println!("{what}: {:.0} ns", self.0.elapsed().as_nanos() as f64 / 1e6);
        *self = Self::start();
    }
}

#[test]
fn a_table_is_taken_apart_bucket_by_bucket_and_stays_countable() {
    for elements in [1, 7, 8, 200, 20_000] {
        let mut table = HashTable::new();
        for number in 0..elements {
            let key = format!("key:{number}");
            let item = Item::new(key.as_bytes(), number).due(Mark::Expires, 5);
            table.insert(crate::algorithms::hash::hash(key.as_bytes()), item);
        }
        let (mut sum, mut seen) = (0, 0);
        loop {
            assert_eq!(table.len() as u64, elements - seen);
            assert_eq!(table.iter().count() as u64, elements - seen);
            let more = table.pop_bucket(|item| {
                sum += item.value();
                seen += 1;
            });
            if !more {
                break;
            }
            if elements > 1000 && seen > 500 {
                table.drain(|item| {
                    sum += item.value();
                    seen += 1;
                });
            }
        }
        assert_eq!((seen, sum), (elements, elements * (elements - 1) / 2));
        assert_eq!((table.memory_usage(), ALIVE.get()), (0, 0));
    }
}

#[test]
fn an_amended_element_keeps_its_place_and_marks() {
    let mut table = HashTable::new();
    let place = |number: u64| {
        let key = number.to_le_bytes();
        (crate::algorithms::hash::hash(&key), key)
    };
    for number in 0..1000 {
        let (hash, key) = place(number);
        table.insert(hash, Item::new(&key, 0).due(Mark::Expires, 5));
    }
    for number in 0..1000 {
        let (hash, key) = place(number);
        let position = table.find(hash, &key).unwrap();
        let amended = table.amend(position, |item| item.set_value(number + 7));
        assert_eq!((amended.key(), amended.value()), (key.as_slice(), number + 7));
        assert_eq!(table.find(hash, &key), Some(position));
        assert_eq!(table.get(position).value(), number + 7);
    }
    assert_eq!((table.len(), table.marked(Mark::Expires)), (1000, 1000));
}
