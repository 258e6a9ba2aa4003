//! The objects of one interpreter, what they weigh, and the collector that finds those nothing reaches.
//!
//! Collection is mark and sweep over everything, when what was allocated since the last one is as much as what it
//! left. It runs only between instructions, so that library code may hold values in its variables.

use std::cell::Cell;

use hashbrown::HashTable;

use super::arena::Arena;
use super::code::Proto;
use super::table::{KeyHasher, Table};
use super::thread::Thread;
use super::value::{CellRef, FunctionRef, ProtoRef, StrRef, TableRef, ThreadRef, Value};
use super::vm::Native;
use crate::algorithms::hash::hash;
use crate::memory::{MemoryUsage, usable_size};

/// Strings up to this many bytes are kept once.
const INTERNED_MAX: usize = 40;

/// What is allocated between two collections at least, and at most.
const COLLECTION_MIN: usize = 256 << 10;

/// Between a collection and the end of a run that another one is worth: what nothing runs in is kept small.
const KEPT_AT_REST: usize = 32 << 10;
const COLLECTION_MAX: usize = 64 << 20;

/// What a script's objects may weigh together, in bytes.
pub const HEAP_MAX: usize = 1 << 30;

/// A string.
#[derive(Debug, Default)]
pub(super) struct LuaString {
    bytes: Box<[u8]>,
    /// 0 when it is not known yet.
    hash: Cell<u64>,
}

/// The strings.
#[derive(Debug, Default)]
pub(super) struct Strings {
    objects: Arena<LuaString>,
    interned: HashTable<StrRef>,
}

impl Strings {
    #[inline]
    pub(super) fn bytes(&self, string: StrRef) -> &[u8] {
        &self.objects.get(string.0).bytes
    }

    fn hash_of(&self, string: StrRef) -> u64 {
        let object = self.objects.get(string.0);
        if object.hash.get() == 0 {
            object.hash.set(hash(&object.bytes) | 1);
        }
        object.hash.get()
    }
}

impl KeyHasher for Strings {
    #[inline]
    fn hash(&self, key: Value) -> u64 {
        let number = match key {
            Value::String(string) => return self.hash_of(string),
            // Zero has two forms.
            Value::Number(number) => (number + 0.0).to_bits(),
            Value::Boolean(value) => u64::from(value),
            Value::Table(TableRef(place)) => 1 << 32 | u64::from(place),
            Value::Function(FunctionRef(place)) => 2 << 32 | u64::from(place),
            Value::Thread(ThreadRef(place)) => 3 << 32 | u64::from(place),
            Value::Nil | Value::Null | Value::Cell(_) => 4 << 32,
        };
        hash(&number.to_le_bytes())
    }

    #[inline]
    fn same(&self, left: Value, right: Value) -> bool {
        let (Value::String(left), Value::String(right)) = (left, right) else { return false };
        let (left, right) = (self.bytes(left), self.bytes(right));
        left.len() > INTERNED_MAX && left == right
    }

    #[inline]
    fn is_unique(&self, key: Value) -> bool {
        !matches!(key, Value::String(string) if self.bytes(string).len() > INTERNED_MAX)
    }
}

/// A function.
#[derive(Debug, Default)]
pub(super) enum Function {
    /// Of a script.
    Lua {
        proto: ProtoRef,
        captured: Box<[CellRef]>,
        /// Where its global variables are.
        globals: TableRef,
    },
    /// Of a library, with values of its own.
    Native { native: Native, values: Box<[Value]> },
    /// In a place that was given back.
    #[default]
    None,
}

/// Objects and their weight.
#[derive(Debug, Default)]
pub struct Heap {
    pub(super) strings: Strings,
    pub(super) tables: Arena<Table>,
    pub(super) functions: Arena<Function>,
    pub(super) cells: Arena<Value>,
    pub(super) threads: Arena<Thread>,
    pub(super) protos: Arena<Proto>,
    pub(super) bytes: usize,
    pub(super) collect_at: usize,
    grey: Vec<Value>,
    grey_code: Vec<ProtoRef>,
}

impl Heap {
    /// An empty heap.
    #[must_use]
    pub fn new() -> Self {
        Self { collect_at: COLLECTION_MIN, ..Self::default() }
    }

    /// A string of these bytes.
    pub fn string(&mut self, bytes: &[u8]) -> StrRef {
        if bytes.len() > INTERNED_MAX {
            return self.owned_string(bytes.to_vec());
        }
        let hash = hash(bytes) | 1;
        let objects = &self.strings.objects;
        let is_it = |known: &StrRef| &*objects.get(known.0).bytes == bytes;
        if let Some(known) = self.strings.interned.find(hash, is_it) {
            return *known;
        }
        self.bytes += bytes.len() + size_of::<LuaString>();
        let object = LuaString { bytes: bytes.into(), hash: Cell::new(hash) };
        let string = StrRef(self.strings.objects.add(object));
        let objects = &self.strings.objects;
        self.strings.interned.insert_unique(hash, string, |known| objects.get(known.0).hash.get());
        string
    }

    /// A string that takes the vector over.
    pub fn owned_string(&mut self, bytes: Vec<u8>) -> StrRef {
        if bytes.len() <= INTERNED_MAX {
            return self.string(&bytes);
        }
        self.bytes += bytes.len() + size_of::<LuaString>();
        let object = LuaString { bytes: bytes.into_boxed_slice(), hash: Cell::new(0) };
        StrRef(self.strings.objects.add(object))
    }

    /// The bytes of a string.
    #[inline]
    #[must_use]
    pub fn bytes_of(&self, string: StrRef) -> &[u8] {
        self.strings.bytes(string)
    }

    /// Whether two strings have the same bytes.
    #[inline]
    #[must_use]
    pub fn same_string(&self, left: StrRef, right: StrRef) -> bool {
        left == right || self.strings.same(Value::String(left), Value::String(right))
    }

    /// A new table.
    pub fn new_table(&mut self, array: usize, others: usize) -> TableRef {
        let table = Table::with_room(array, others);
        self.bytes += size_of::<Table>() + table.heap_bytes();
        TableRef(self.tables.add(table))
    }

    /// A table.
    #[inline]
    #[must_use]
    pub fn table(&self, table: TableRef) -> &Table {
        self.tables.get(table.0)
    }

    /// A table, to change what is no element.
    #[inline]
    pub fn table_mut(&mut self, table: TableRef) -> &mut Table {
        self.tables.get_mut(table.0)
    }

    /// The value of a key, without metamethods.
    #[inline]
    #[must_use]
    pub fn get(&self, table: TableRef, key: Value) -> Value {
        self.tables.get(table.0).get(key, &self.strings)
    }

    /// The value of a short string's key, without metamethods.
    #[must_use]
    pub fn get_field(&self, table: TableRef, name: &str) -> Value {
        let is_it = |known: &StrRef| self.strings.bytes(*known) == name.as_bytes();
        match self.strings.interned.find(hash(name.as_bytes()) | 1, is_it) {
            Some(known) => self.tables.get(table.0).get_str(*known, &self.strings),
            None => Value::Nil,
        }
    }

    /// Sets a key that is neither nil nor NaN, without metamethods, whether or not the table is read-only.
    #[inline]
    pub fn set(&mut self, table: TableRef, key: Value, value: Value) {
        self.bytes += self.tables.get_mut(table.0).set(key, value, &self.strings);
    }

    /// Sets a string's key as [`Self::set`] does.
    pub fn set_field(&mut self, table: TableRef, name: &str, value: Value) {
        let key = self.string(name.as_bytes());
        self.set(table, Value::String(key), value);
    }

    /// Sets elements from `first` on.
    pub(super) fn set_list(&mut self, table: TableRef, first: usize, values: &[Value]) {
        self.bytes += self.tables.get_mut(table.0).set_list(first, values, &self.strings);
    }

    /// Moves the elements from a place on up by one and sets the one there; the place is from 1 to one past the end.
    pub(in crate::scripting) fn insert_element(&mut self, table: TableRef, place: usize, value: Value) {
        let object = self.tables.get_mut(table.0);
        if value.is_nil() || place > object.length() {
            return self.set(table, Value::Number(place as f64), value);
        }
        let last = Value::Number(object.length() as f64 + 1.0);
        // What was the last element goes where the table puts it, which may be beside others.
        let end = object.array()[object.length() - 1];
        self.set(table, last, end);
        let array = self.tables.get_mut(table.0).array_mut();
        let from = place - 1;
        let to = last_place(last);
        array.copy_within(from..to - 1, from + 1);
        array[from] = value;
    }

    /// Takes an element out and moves those after it down by one; the place is from 1 to the end.
    pub(in crate::scripting) fn remove_element(&mut self, table: TableRef, place: usize) -> Value {
        let object = self.tables.get_mut(table.0);
        let value = object.array()[place - 1];
        let length = object.length();
        object.array_mut().copy_within(place..length, place - 1);
        self.set(table, Value::Number(length as f64), Value::Nil);
        value
    }

    /// The element after a key; `None` at the end.
    ///
    /// # Errors
    /// When the table has no such key.
    pub fn next(
        &self,
        table: TableRef,
        key: Value,
    ) -> Result<Option<(Value, Value)>, super::table::UnknownKey> {
        self.tables.get(table.0).next(key, &self.strings)
    }

    pub(super) fn add_function(&mut self, function: Function) -> FunctionRef {
        self.bytes += size_of::<Function>();
        if let Function::Lua { captured, .. } = &function {
            self.bytes += size_of_val::<[CellRef]>(captured);
        }
        FunctionRef(self.functions.add(function))
    }

    pub(super) fn add_proto(&mut self, proto: Proto) -> ProtoRef {
        self.bytes += size_of::<Proto>() + proto.heap_bytes();
        ProtoRef(self.protos.add(proto))
    }

    #[inline]
    pub(super) fn proto(&self, proto: ProtoRef) -> &Proto {
        self.protos.get(proto.0)
    }

    #[inline]
    pub(super) fn function(&self, function: FunctionRef) -> &Function {
        self.functions.get(function.0)
    }

    pub(super) fn add_cell(&mut self, value: Value) -> CellRef {
        self.bytes += size_of::<Value>();
        CellRef(self.cells.add(value))
    }

    pub(super) fn add_thread(&mut self, thread: Thread) -> ThreadRef {
        self.bytes += size_of::<Thread>() + thread.heap_bytes();
        ThreadRef(self.threads.add(thread))
    }

    /// Bytes in objects, those included that only the next collection will find dead.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether so many bytes more would still be within the limit.
    #[must_use]
    pub fn has_room(&self, more: usize) -> bool {
        self.bytes().saturating_add(more) <= HEAP_MAX
    }

    /// Whether it is time to collect.
    #[inline]
    #[must_use]
    pub fn wants_collection(&self) -> bool {
        self.bytes >= self.collect_at
    }

    /// Whether it is time to collect, now that nothing runs.
    #[must_use]
    pub fn wants_collection_at_rest(&self) -> bool {
        self.bytes + (COLLECTION_MIN - KEPT_AT_REST) >= self.collect_at
    }

    /// Frees what cannot be reached from `roots`.
    pub fn collect(&mut self, roots: impl FnOnce(&mut Marker<'_>)) {
        let mut marker = Marker { heap: self };
        roots(&mut marker);
        marker.run();
        self.sweep();
        let live = self.bytes;
        self.collect_at = live + (live / 2).clamp(COLLECTION_MIN, COLLECTION_MAX);
    }

    fn sweep(&mut self) {
        let Self { strings, tables, functions, cells, threads, protos, .. } = self;
        let Strings { objects, interned } = strings;
        let freed = Cell::new(0_usize);
        let free = |bytes: usize| freed.set(freed.get() + bytes);
        objects.sweep(|place, object| {
            free(object.bytes.len() + size_of::<LuaString>());
            if object.bytes.len() <= INTERNED_MAX
                && let Ok(entry) = interned.find_entry(object.hash.get(), |known| known.0 == place)
            {
                entry.remove();
            }
        });
        tables.sweep(|_, table| free(size_of::<Table>() + table.heap_bytes()));
        functions.sweep(|_, function| {
            free(size_of::<Function>());
            if let Function::Lua { captured, .. } = &function {
                free(size_of_val::<[CellRef]>(captured));
            }
        });
        cells.sweep(|_, _| free(size_of::<Value>()));
        threads.sweep(|_, thread| free(size_of::<Thread>() + thread.heap_bytes()));
        protos.sweep(|_, proto| free(size_of::<Proto>() + proto.heap_bytes()));
        self.bytes = self.bytes.saturating_sub(freed.get());
    }

    /// Gives back up to so many objects of an interpreter that will not run again; false once there is none left.
    pub fn free_some(&mut self, objects: usize) -> bool {
        self.strings.interned = HashTable::new();
        let cut = self.strings.objects.cut(objects)
            + self.tables.cut(objects)
            + self.functions.cut(objects)
            + self.threads.cut(objects)
            + self.protos.cut(objects);
        cut > 0
    }

    /// Counts bytes that a thread's stack grew by.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }
}

fn last_place(key: Value) -> usize {
    if let Value::Number(number) = key { number as usize } else { 0 }
}

impl MemoryUsage for Heap {
    fn memory_usage(&self) -> usize {
        let strings: usize = self.strings.objects.live().map(|string| usable_size(string.bytes.len())).sum();
        let functions: usize = self
            .functions
            .live()
            .map(|function| match function {
                Function::Lua { captured, .. } => usable_size(size_of_val::<[CellRef]>(captured)),
                Function::Native { values, .. } => usable_size(size_of_val::<[Value]>(values)),
                Function::None => 0,
            })
            .sum();
        strings
            + functions
            + self.tables.live().map(Table::heap_bytes).sum::<usize>()
            + self.threads.live().map(Thread::heap_bytes).sum::<usize>()
            + self.strings.interned.allocation_size()
            + self.strings.objects.places_usage()
            + self.tables.places_usage()
            + self.functions.places_usage()
            + self.cells.places_usage()
            + self.threads.places_usage()
            + self.protos.live().map(Proto::heap_bytes).sum::<usize>()
            + self.protos.places_usage()
            + crate::memory::vec_usage(&self.grey)
            + crate::memory::vec_usage(&self.grey_code)
    }
}

/// The first half of a collection: what is reached.
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
            heap.grey.push(value);
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
            self.heap.grey_code.push(proto);
        }
    }

    /// How many registers code works with.
    pub(super) fn registers_of(&self, proto: ProtoRef) -> usize {
        usize::from(self.heap.proto(proto).registers)
    }

    fn run(&mut self) {
        loop {
            self.run_values();
            let Some(place) = self.heap.grey_code.pop() else { return };
            let proto = std::mem::take(self.heap.protos.get_mut(place.0));
            self.mark_all(proto.constants.iter().copied());
            for inner in &proto.functions {
                self.mark_code(*inner);
            }
            *self.heap.protos.get_mut(place.0) = proto;
        }
    }

    fn run_values(&mut self) {
        while let Some(value) = self.heap.grey.pop() {
            match value {
                Value::Table(TableRef(place)) => self.mark_table(place),
                Value::Function(FunctionRef(place)) => {
                    let function = std::mem::take(self.heap.functions.get_mut(place));
                    match &function {
                        Function::Lua { proto, captured, globals } => {
                            self.mark_code(*proto);
                            self.mark(Value::Table(*globals));
                            self.mark_all(captured.iter().map(|cell| Value::Cell(*cell)));
                        }
                        Function::Native { values, .. } => self.mark_all(values.iter().copied()),
                        Function::None => {}
                    }
                    *self.heap.functions.get_mut(place) = function;
                }
                Value::Cell(CellRef(place)) => {
                    let inner = *self.heap.cells.get(place);
                    self.mark(inner);
                }
                Value::Thread(ThreadRef(place)) => {
                    let mut thread = std::mem::take(self.heap.threads.get_mut(place));
                    thread.mark(self);
                    *self.heap.threads.get_mut(place) = thread;
                }
                _ => {}
            }
        }
    }

    fn mark_table(&mut self, place: u32) {
        let table = std::mem::take(self.heap.tables.get_mut(place));
        if let Some(metatable) = table.metatable {
            self.mark(Value::Table(metatable));
        }
        // Deleted entries keep their keys for traversals; their objects must not be given back under them.
        self.mark_all(table.all_references());
        *self.heap.tables.get_mut(place) = table;
    }
}
