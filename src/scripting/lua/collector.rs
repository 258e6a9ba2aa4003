//! The collector: finds the objects that nothing reaches and gives them back, a little at a time.
//!
//! A cycle marks what can be reached, then sweeps. It works on the state that was there when it began: what was reachable
//! then is kept, as is what is made meanwhile. So whatever stops to refer to a value while it marks says so first
//! ([`Heap::let_go`] and what calls it); nothing has to be looked at twice, and a cycle always ends. Tables that are
//! scanned in pieces go entries first, since elements move only from there to the array.
//!
//! It runs between instructions only, so that library code may hold values in its variables.

use super::arena::Object;
use super::heap::{Function, HEAP_MAX, Heap, INTERNED_MAX, Strings};
use super::paged::Paged;
use super::table::Large;
use super::value::{CellRef, FunctionRef, ProtoRef, StrRef, TableRef, ThreadRef, Value};
use crate::memory::{MemoryUsage, vec_usage};

/// What is allocated between two cycles at least, and at most; during a cycle it is no more either.
pub(super) const COLLECTION_MIN: usize = 256 << 10;
const COLLECTION_MAX: usize = 64 << 20;

/// What a run may leave, at least, before it is given back: what nothing runs in is kept small.
const LEFT_MIN: usize = 32 << 10;

/// References of a table that are followed at once.
const SCANNED_AT_ONCE: usize = if cfg!(test) { 8 } else { 1024 };
/// Places that are swept at once.
const SWEPT_AT_ONCE: usize = if cfg!(test) { 8 } else { 256 };
/// What an object that is given back costs beside what its place does.
const BURIAL_UNITS: usize = 4;

/// What a step may look at: references and places. It takes less than a millisecond.
pub const STEP_UNITS: usize = 16_384;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    Marking,
    Sweeping {
        kind: Kind,
        /// Places that are yet to be looked at.
        left: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Strings,
    Tables,
    Functions,
    Cells,
    Threads,
    Protos,
}

/// A table that is scanned in pieces.
#[derive(Debug)]
struct Partial {
    table: TableRef,
    /// Entries that were followed; all of them before the first element of the array is.
    entries: usize,
    in_array: bool,
    elements: usize,
}

/// How far a cycle is.
#[derive(Debug, Default)]
pub(super) struct Cycle {
    phase: Phase,
    pub is_marking: bool,
    grey: Paged<Value>,
    grey_code: Vec<ProtoRef>,
    partial: Vec<Partial>,
    /// Its number, which threads whose stack was looked at have.
    number: u32,
    /// What it will cost, about, and what may be allocated meanwhile.
    units: usize,
    growth: usize,
    /// There was too much when it began.
    began_full: bool,
    /// Nothing ran when it began.
    began_at_rest: bool,
    /// Bytes that the last such cycle left.
    kept_at_rest: usize,
}

impl MemoryUsage for Cycle {
    fn memory_usage(&self) -> usize {
        self.grey.heap_bytes() + vec_usage(&self.grey_code) + vec_usage(&self.partial)
    }
}

impl Heap {
    /// Whether the collector has something to do.
    #[inline]
    #[must_use]
    pub fn wants_collection(&self) -> bool {
        self.bytes >= self.collect_at
    }

    /// Whether it is time for a cycle, now that nothing runs.
    #[must_use]
    pub fn wants_collection_at_rest(&self) -> bool {
        let kept = self.cycle.kept_at_rest;
        self.bytes >= kept + (kept / 8).clamp(LEFT_MIN, COLLECTION_MAX)
    }

    /// Whether a cycle has begun and not ended.
    #[inline]
    #[must_use]
    pub fn is_collecting(&self) -> bool {
        self.cycle.phase != Phase::Idle
    }

    /// Whether there is too much even after a cycle that began so.
    pub(super) fn is_full(&self) -> bool {
        !self.is_collecting() && self.cycle.began_full && self.bytes > HEAP_MAX
    }

    /// Whether there is too much before a cycle has shown what of it is garbage.
    pub(super) fn is_overfull(&self) -> bool {
        self.bytes > HEAP_MAX
    }

    /// Begins a cycle; `at_rest`: while nothing runs. The `roots` are what is reachable without any object.
    pub(super) fn begin_collection(&mut self, at_rest: bool, roots: impl FnOnce(&mut Marker<'_>)) {
        self.strings.objects.flip();
        self.tables.flip();
        self.functions.flip();
        self.cells.flip();
        self.threads.flip();
        self.protos.flip();
        let places = self.strings.objects.places()
            + self.tables.places()
            + self.functions.places()
            + self.cells.places()
            + self.threads.places()
            + self.protos.places();
        let cycle = &mut self.cycle;
        cycle.phase = Phase::Marking;
        cycle.is_marking = true;
        cycle.number = cycle.number.wrapping_add(1);
        cycle.units = self.bytes / size_of::<Value>() + places + 1;
        cycle.growth = (self.bytes / 4).clamp(COLLECTION_MIN, COLLECTION_MAX);
        cycle.began_full = self.bytes > HEAP_MAX;
        cycle.began_at_rest = at_rest;
        roots(&mut Marker { heap: self });
    }

    /// Goes on with the cycle for about so many units of work.
    pub(super) fn collect_some(&mut self, units: usize) {
        let mut left = units as isize;
        while left > 0 && self.is_collecting() {
            let done = match self.cycle.phase {
                Phase::Idle => 0,
                Phase::Marking => self.mark_some(),
                Phase::Sweeping { kind, left } => self.sweep_some(kind, left),
            };
            left -= done as isize;
        }
        if self.is_collecting() {
            // Work pays for what may be allocated until there is to be more of it.
            let done = units.saturating_add_signed(-left);
            let earned = done as u128 * self.cycle.growth as u128 / self.cycle.units as u128;
            self.collect_at = self.collect_at.saturating_add(earned as usize);
        } else {
            if self.cycle.began_at_rest {
                self.cycle.kept_at_rest = self.bytes;
            }
            self.collect_at = self.bytes + (self.bytes / 2).clamp(COLLECTION_MIN, COLLECTION_MAX);
        }
    }

    /// Says that something does not refer to a value any more.
    #[inline]
    pub(super) fn let_go(&mut self, value: Value) {
        if self.cycle.is_marking {
            Marker { heap: self }.mark(value);
        }
    }

    /// An element of a table is about to be set while the collector marks.
    #[cold]
    pub(super) fn before_set(&mut self, table: TableRef, key: Value) {
        let object = self.tables.get(table.0);
        let old = object.get(key, &self.strings);
        if object.large().is_some_and(|large| large.is_being_scanned && large.drops_entries()) {
            self.scan_entries_again(table);
        }
        self.let_go(old);
        // A key that is deleted may go from the entries while somebody holds it.
        self.let_go(key);
    }

    /// An element of a table's array is about to be taken out, and those after it moved, while the collector marks.
    #[cold]
    pub(super) fn before_removal(&mut self, table: TableRef, place: usize) {
        let object = self.tables.get(table.0);
        let removed = object.get_int(place, &self.strings);
        let scanned = self.cycle.partial.iter().rev().find(|partial| partial.table == table);
        // The first one that was not looked at takes the place of one that was.
        let array = object.large().map(Large::array);
        let moved = scanned.and_then(|partial| array?.get(partial.elements).copied());
        self.let_go(removed);
        self.let_go(moved.unwrap_or_default());
    }

    /// A table's entries change their places.
    pub(super) fn scan_entries_again(&mut self, table: TableRef) {
        let partial = self.cycle.partial.iter_mut().rev().find(|partial| partial.table == table);
        if let Some(partial) = partial {
            partial.entries = 0;
        }
    }

    /// The stack of a thread is about to be changed while the collector marks.
    #[cold]
    pub(super) fn before_resuming(&mut self, thread: ThreadRef) {
        self.threads.mark(thread.0);
        self.scan_thread(thread.0);
    }

    /// Marks what can be reached from what is marked: a piece of it. Says what that cost.
    fn mark_some(&mut self) -> usize {
        if let Some(value) = self.cycle.grey.pop() {
            return self.scan(value);
        }
        if let Some(code) = self.cycle.grey_code.pop() {
            return self.scan_code(code);
        }
        if let Some(partial) = self.cycle.partial.pop() {
            return self.scan_piece(partial);
        }
        self.cycle.is_marking = false;
        self.cycle.grey.shrink_to(SCANNED_AT_ONCE);
        self.begin_sweep(Kind::Strings);
        1
    }

    fn scan(&mut self, value: Value) -> usize {
        match value {
            Value::Table(table) => self.scan_table(table),
            Value::Function(FunctionRef(place)) => {
                let function = std::mem::take(self.functions.get_mut(place));
                let mut marker = Marker { heap: self };
                let mut references = 1;
                match &function {
                    Function::Lua { proto, captured, globals } => {
                        marker.mark_code(*proto);
                        marker.mark(Value::Table(*globals));
                        marker.mark_all(captured.iter().map(|cell| Value::Cell(*cell)));
                        references += captured.len();
                    }
                    Function::Native { values, .. } => marker.mark_all(values.iter().copied()),
                    Function::None => {}
                }
                *self.functions.get_mut(place) = function;
                references
            }
            Value::Cell(CellRef(place)) => {
                let inner = *self.cells.get(place);
                Marker { heap: self }.mark(inner);
                1
            }
            Value::Thread(ThreadRef(place)) => self.scan_thread(place),
            _ => 1,
        }
    }

    fn scan_code(&mut self, code: ProtoRef) -> usize {
        let proto = std::mem::take(self.protos.get_mut(code.0));
        let mut marker = Marker { heap: self };
        marker.mark(Value::String(proto.chunk));
        marker.mark_all(proto.constants.iter().copied());
        for inner in &proto.functions {
            marker.mark_code(*inner);
        }
        let references = proto.constants.len() + proto.functions.len();
        *self.protos.get_mut(code.0) = proto;
        references + 1
    }

    fn scan_thread(&mut self, place: u32) -> usize {
        let number = self.cycle.number;
        if self.threads.get(place).scanned_in == number {
            return 1;
        }
        let mut thread = std::mem::take(self.threads.get_mut(place));
        thread.scanned_in = number;
        thread.mark(&mut Marker { heap: self });
        let references = thread.top + thread.frames.len();
        *self.threads.get_mut(place) = thread;
        references + 1
    }

    fn scan_table(&mut self, table: TableRef) -> usize {
        let object = std::mem::take(self.tables.get_mut(table.0));
        let mut marker = Marker { heap: self };
        marker.mark(object.metatable.map_or(Value::Nil, Value::Table));
        // Keys that were deleted stay for traversals; their objects must not be given back under them.
        marker.mark_all(object.nodes().iter().flat_map(|node| [node.key, node.value]));
        marker.mark_all(object.array().iter().copied());
        let references = object.nodes().len() * 2 + object.array().len();
        let place = self.tables.get_mut(table.0);
        *place = object;
        if let Some(large) = place.large_mut() {
            large.is_being_scanned = true;
            self.cycle.partial.push(Partial { table, entries: 0, in_array: false, elements: 0 });
        }
        references + 1
    }

    fn scan_piece(&mut self, mut partial: Partial) -> usize {
        let mut object = std::mem::take(self.tables.get_mut(partial.table.0));
        let mut goes_on = false;
        if let Some(large) = object.large_mut() {
            Marker { heap: self }.mark_piece(large, &mut partial);
            goes_on = large.is_being_scanned;
        }
        *self.tables.get_mut(partial.table.0) = object;
        if goes_on {
            self.cycle.partial.push(partial);
        }
        SCANNED_AT_ONCE
    }

    fn begin_sweep(&mut self, kind: Kind) {
        let left = match kind {
            Kind::Strings => self.strings.objects.begin_sweep(),
            Kind::Tables => self.tables.begin_sweep(),
            Kind::Functions => self.functions.begin_sweep(),
            Kind::Cells => self.cells.begin_sweep(),
            Kind::Threads => self.threads.begin_sweep(),
            Kind::Protos => self.protos.begin_sweep(),
        };
        self.cycle.phase = Phase::Sweeping { kind, left };
    }

    /// Gives back what was not reached: a piece of it. Says what that cost.
    fn sweep_some(&mut self, kind: Kind, mut left: usize) -> usize {
        if let Some(table) = self.buried.last_mut() {
            if !table.free_some() {
                self.buried.pop();
            }
            return STEP_UNITS / 8;
        }
        let (mut freed, mut buried) = (0, 0);
        let mut count = |bytes: usize| {
            freed += bytes;
            buried += 1;
        };
        let rest = &mut left;
        match kind {
            Kind::Strings => {
                let Strings { objects, interned, .. } = &mut self.strings;
                objects.sweep_some(rest, SWEPT_AT_ONCE, |place, object| {
                    count(object.weight());
                    if object.bytes.len() <= INTERNED_MAX {
                        interned.remove(object.index_hash(), place);
                    }
                });
                interned.settle();
            }
            Kind::Tables => {
                let Self { tables, buried, .. } = self;
                tables.sweep_some(rest, SWEPT_AT_ONCE, |_, table| {
                    count(table.weight());
                    buried.extend(table.into_large().filter(|large| large.is_large()));
                });
            }
            Kind::Functions => {
                self.functions.sweep_some(rest, SWEPT_AT_ONCE, |_, function| count(function.weight()));
            }
            Kind::Cells => self.cells.sweep_some(rest, SWEPT_AT_ONCE, |_, cell| count(cell.weight())),
            Kind::Threads => {
                self.threads.sweep_some(rest, SWEPT_AT_ONCE, |_, thread| count(thread.weight()));
            }
            Kind::Protos => self.protos.sweep_some(rest, SWEPT_AT_ONCE, |_, proto| count(proto.weight())),
        }
        self.bytes = self.bytes.saturating_sub(freed);
        // What is given back is no leave to allocate before the next step.
        self.collect_at = self.collect_at.saturating_sub(freed);
        self.cycle.phase = Phase::Sweeping { kind, left };
        if left == 0 {
            self.end_sweep(kind);
        }
        SWEPT_AT_ONCE / 2 + buried * BURIAL_UNITS
    }

    fn end_sweep(&mut self, kind: Kind) {
        let next = match kind {
            Kind::Strings => Kind::Tables,
            Kind::Tables => Kind::Functions,
            Kind::Functions => Kind::Cells,
            Kind::Cells => Kind::Threads,
            Kind::Threads => Kind::Protos,
            Kind::Protos => {
                self.cycle.phase = Phase::Idle;
                return;
            }
        };
        if kind == Kind::Strings {
            self.strings.interned.shrink();
        }
        self.begin_sweep(next);
    }
}

/// What is reached.
pub struct Marker<'a> {
    heap: &'a mut Heap,
}

impl Marker<'_> {
    /// Marks a value and, later, what it refers to.
    #[inline]
    pub fn mark(&mut self, value: Value) {
        let heap = &mut *self.heap;
        let fresh = match value {
            Value::Nil | Value::Boolean(_) | Value::Number(_) | Value::Null => false,
            Value::String(StrRef(place)) => {
                heap.strings.objects.mark(place);
                false
            }
            Value::Table(TableRef(place)) => heap.tables.mark(place),
            Value::Function(FunctionRef(place)) => heap.functions.mark(place),
            Value::Thread(ThreadRef(place)) => heap.threads.mark(place),
            Value::Cell(CellRef(place)) => heap.cells.mark(place),
        };
        if fresh {
            heap.cycle.grey.push(value);
        }
    }

    /// Marks several values.
    pub fn mark_all(&mut self, values: impl IntoIterator<Item = Value>) {
        for value in values {
            self.mark(value);
        }
    }

    /// Marks code and, later, its constants and the functions within it.
    pub(super) fn mark_code(&mut self, proto: ProtoRef) {
        if self.heap.protos.mark(proto.0) {
            self.heap.cycle.grey_code.push(proto);
        }
    }

    /// Marks what a piece of a large table refers to.
    fn mark_piece(&mut self, large: &mut Large, partial: &mut Partial) {
        let entries = large.entries().run_from(partial.entries);
        if partial.in_array || entries.is_empty() {
            partial.in_array = true;
            let elements = large.array().run_from(partial.elements);
            let piece = elements.iter().take(SCANNED_AT_ONCE);
            partial.elements += piece.len();
            self.mark_all(piece.copied());
            large.is_being_scanned = partial.elements < large.array().len();
        } else {
            let piece = entries.iter().take(SCANNED_AT_ONCE / 2);
            partial.entries += piece.len();
            self.mark_all(piece.flat_map(|(key, value)| [*key, *value]));
        }
    }

    /// How many registers code works with.
    pub(super) fn registers_of(&self, proto: ProtoRef) -> usize {
        usize::from(self.heap.proto(proto).registers)
    }
}
