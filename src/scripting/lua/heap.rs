//! The objects of one interpreter and what they weigh. The [collector](super::collector) gives back those that nothing
//! reaches.
//!
//! Whatever changes what an object refers to goes through here: while the collector marks, it has to hear of values that
//! something referred to before.

use std::cell::Cell;

use super::arena::{Arena, Object};
use super::code::Proto;
use super::collector::{COLLECTION_MIN, Cycle};
use super::index::PlaceIndex;
use super::table::{KeyHasher, Large, Table};
use super::thread::Thread;
use super::value::{CellRef, FunctionRef, ProtoRef, StrRef, TableRef, ThreadRef, Value};
use super::vm::Native;
use crate::algorithms::hash::{hash, murmur3};
use crate::memory::{MemoryUsage, usable_size, vec_usage};

/// Strings up to this many bytes are kept once.
pub(super) const INTERNED_MAX: usize = 40;

/// What a script's objects may weigh together, in bytes.
pub const HEAP_MAX: usize = 1 << 30;

/// Elements of a table that are moved at once.
const MOVED_MAX: usize = 1 << 17;

/// A string.
#[derive(Debug, Default)]
pub(super) struct LuaString {
    pub bytes: Box<[u8]>,
    /// 0 when it is not known yet.
    pub hash: Cell<u32>,
    /// What decides over its main place in a table; 0 when it is not known yet.
    position: Cell<u32>,
}

impl LuaString {
    fn new(bytes: Box<[u8]>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The hash by which a short string is found.
    pub(super) fn index_hash(&self) -> u64 {
        widened(self.hash.get())
    }
}

/// A hash of which a half is kept.
fn widened(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

fn half(bytes: &[u8]) -> u32 {
    (hash(bytes) >> 32) as u32 | 1
}

/// The strings.
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub objects: Arena<LuaString>,
    pub interned: PlaceIndex,
    /// Places of tables that were looked at to allocate them anew, since somebody asked.
    places: Cell<usize>,
}

impl Strings {
    #[inline]
    pub(super) fn bytes(&self, string: StrRef) -> &[u8] {
        &self.objects.get(string.0).bytes
    }

    fn hash_of(&self, string: StrRef) -> u64 {
        let object = self.objects.get(string.0);
        if object.hash.get() == 0 {
            object.hash.set(half(&object.bytes));
        }
        object.index_hash()
    }

    fn find_interned(&self, hash: u64, bytes: &[u8]) -> Option<u32> {
        self.interned.find(hash, |known| &*self.objects.get(known).bytes == bytes)
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
    fn position(&self, string: StrRef) -> u32 {
        let object = self.objects.get(string.0);
        if object.position.get() == 0 {
            object.position.set(murmur3(&object.bytes, object.bytes.len() as u32));
        }
        object.position.get()
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

    fn note_places(&self, count: usize) {
        self.places.set(self.places.get() + count);
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

impl Object for LuaString {
    fn heap_bytes(&self) -> usize {
        usable_size(self.bytes.len())
    }
}

impl Object for Function {
    fn heap_bytes(&self) -> usize {
        usable_size(match self {
            Self::Lua { captured, .. } => size_of_val::<[CellRef]>(captured),
            Self::Native { values, .. } => size_of_val::<[Value]>(values),
            Self::None => 0,
        })
    }
}

/// A variable that functions share.
impl Object for Value {
    fn heap_bytes(&self) -> usize {
        0
    }
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
    /// What all of them weigh, the stack and the calls of the running coroutine included.
    pub(super) bytes: usize,
    /// At how many bytes the collector has something to do.
    pub(super) collect_at: usize,
    pub(super) cycle: Cycle,
    /// Large tables that were given back, whose memory is yet to be.
    pub(super) buried: Vec<Large>,
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
        let half = half(bytes);
        if let Some(known) = self.strings.find_interned(widened(half), bytes) {
            // It may be garbage that is yet to be given back.
            self.strings.objects.mark(known);
            return StrRef(known);
        }
        let object = LuaString { hash: Cell::new(half), ..LuaString::new(bytes.into()) };
        self.bytes += object.weight();
        let string = self.strings.objects.add(object);
        self.strings.interned.insert(widened(half), string);
        StrRef(string)
    }

    /// A string that takes the vector over.
    pub fn owned_string(&mut self, bytes: Vec<u8>) -> StrRef {
        if bytes.len() <= INTERNED_MAX {
            return self.string(&bytes);
        }
        let object = LuaString::new(bytes.into_boxed_slice());
        self.bytes += object.weight();
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
        self.bytes += table.weight();
        TableRef(self.tables.add(table))
    }

    /// Changes a variable that functions share.
    pub(super) fn set_cell(&mut self, cell: CellRef, value: Value) {
        let old = std::mem::replace(self.cells.get_mut(cell.0), value);
        self.let_go(old);
    }

    /// Gives a function of the language other global variables; false for another one.
    pub(super) fn set_globals(&mut self, function: FunctionRef, table: TableRef) -> bool {
        let Function::Lua { globals, .. } = self.functions.get_mut(function.0) else { return false };
        let old = std::mem::replace(globals, table);
        self.let_go(Value::Table(old));
        true
    }

    /// A table.
    #[inline]
    #[must_use]
    pub fn table(&self, table: TableRef) -> &Table {
        self.tables.get(table.0)
    }

    /// `#t`, without metamethods.
    #[inline]
    #[must_use]
    pub fn length(&self, table: TableRef) -> usize {
        self.tables.get(table.0).length(&self.strings)
    }

    /// Gives a table another metatable, or none.
    pub fn set_metatable(&mut self, table: TableRef, metatable: Option<TableRef>) {
        let old = std::mem::replace(&mut self.tables.get_mut(table.0).metatable, metatable);
        if let Some(old) = old {
            self.let_go(Value::Table(old));
        }
    }

    /// Lets nobody set anything in a table any more.
    pub fn make_readonly(&mut self, table: TableRef) {
        self.tables.get_mut(table.0).readonly = true;
    }

    /// The value of a key, without metamethods.
    #[inline]
    #[must_use]
    pub fn get(&self, table: TableRef, key: Value) -> Value {
        self.tables.get(table.0).get(key, &self.strings)
    }

    /// The value at a whole number, without metamethods.
    #[inline]
    #[must_use]
    pub(in crate::scripting) fn element(&self, table: TableRef, index: i64) -> Value {
        match usize::try_from(index) {
            Ok(index) => self.tables.get(table.0).get_int(index, &self.strings),
            Err(_) => self.get(table, Value::Number(index as f64)),
        }
    }

    /// The elements from one on that lie side by side, the array's; none where it has no such place.
    #[must_use]
    pub(in crate::scripting) fn elements_from(&self, table: TableRef, index: usize) -> &[Value] {
        self.tables.get(table.0).run_from(index)
    }

    /// The value of a short string's key, without metamethods.
    #[must_use]
    pub fn get_field(&self, table: TableRef, name: &str) -> Value {
        match self.strings.find_interned(widened(half(name.as_bytes())), name.as_bytes()) {
            Some(known) => self.tables.get(table.0).get_str(StrRef(known), &self.strings),
            None => Value::Nil,
        }
    }

    /// Sets a key that is neither nil nor NaN, without metamethods, whether or not the table is read-only.
    #[inline]
    pub fn set(&mut self, table: TableRef, key: Value, value: Value) {
        if self.cycle.is_marking {
            self.before_set(table, key);
        }
        let object = self.tables.get_mut(table.0);
        if value.is_nil() || !object.replace_element(key, value) {
            let grown = object.set(key, value, &self.strings);
            self.bytes = self.bytes.saturating_add_signed(grown);
        }
    }

    /// Places of tables that were looked at to allocate them anew, since the last call.
    #[inline]
    pub(super) fn take_places(&self) -> usize {
        self.strings.places.take()
    }

    /// Sets a string's key as [`Self::set`] does.
    pub fn set_field(&mut self, table: TableRef, name: &str, value: Value) {
        let key = self.string(name.as_bytes());
        self.set(table, Value::String(key), value);
    }

    /// Sets elements from `first` on.
    pub(super) fn set_list(&mut self, table: TableRef, first: usize, values: &[Value]) {
        if self.cycle.is_marking {
            for place in first..first + values.len() {
                self.before_set(table, Value::Number(place as f64));
            }
            self.scan_entries_again(table);
        }
        let grown = self.tables.get_mut(table.0).set_list(first, values, &self.strings);
        self.bytes = self.bytes.saturating_add_signed(grown);
    }

    /// Whether so many elements of a table, up to a place, can be moved at once: they lie side by side, and are not too many.
    #[must_use]
    pub(in crate::scripting) fn moves_at_once(&self, table: TableRef, elements: usize, last: usize) -> bool {
        elements <= MOVED_MAX && self.tables.get(table.0).moves_as_one(last)
    }

    /// Moves the elements from a place to the end up by one and sets the one there. They [can be
    /// moved](Self::moves_at_once) up to the place after the end; the value is not nil.
    pub(in crate::scripting) fn insert_element(
        &mut self,
        table: TableRef,
        place: usize,
        end: usize,
        value: Value,
    ) {
        let object = self.tables.get_mut(table.0);
        if object.large().is_none() {
            // Nothing is lost: there was no element after the end.
            let array = object.array_mut();
            array.copy_within(place - 1..end, place);
            array[place - 1] = value;
            return;
        }
        // What was the last element goes where the table puts it, which may be beside others.
        let last = self.get(table, Value::Number(end as f64));
        self.set(table, Value::Number(end as f64 + 1.0), last);
        if let Some(large) = self.tables.get_mut(table.0).large_mut() {
            let array = large.array_mut();
            array.move_up(place - 1, end);
            array[place - 1] = value;
        }
    }

    /// Takes an element out and moves those after it down by one. They [can be moved](Self::moves_at_once) up to the end.
    pub(in crate::scripting) fn remove_element(
        &mut self,
        table: TableRef,
        place: usize,
        end: usize,
    ) -> Value {
        let value = self.get(table, Value::Number(place as f64));
        if self.cycle.is_marking {
            self.before_removal(table, place);
        }
        let object = self.tables.get_mut(table.0);
        match object.large_mut() {
            Some(large) => large.array_mut().move_down(place, end),
            None => object.array_mut().copy_within(place..end, place - 1),
        }
        self.set(table, Value::Number(end as f64), Value::Nil);
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

    /// The first element at a place of a table or after it, in the order of traversal, with the place after it: quicker
    /// than by keys, for who changes nothing meanwhile.
    #[must_use]
    pub fn element_from(&self, table: TableRef, place: usize) -> Option<(usize, Value, Value)> {
        self.tables.get(table.0).element_from(place)
    }

    pub(super) fn add_function(&mut self, function: Function) -> FunctionRef {
        self.bytes += function.weight();
        FunctionRef(self.functions.add(function))
    }

    pub(super) fn add_proto(&mut self, proto: Proto) -> ProtoRef {
        self.bytes += proto.weight();
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
        self.bytes += value.weight();
        CellRef(self.cells.add(value))
    }

    pub(super) fn add_thread(&mut self, thread: Thread) -> ThreadRef {
        self.bytes += thread.weight();
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

    /// Gives back up to so many objects of an interpreter that will not run again; false once there is none left.
    pub fn free_some(&mut self, objects: usize) -> bool {
        self.strings.interned = PlaceIndex::default();
        self.buried = Vec::new();
        let cuts = [
            self.strings.objects.cut(objects),
            self.tables.cut(objects),
            self.functions.cut(objects),
            self.threads.cut(objects),
            self.protos.cut(objects),
        ];
        self.bytes = self.bytes.saturating_sub(cuts.iter().map(|(_, bytes)| bytes).sum());
        cuts.iter().any(|(count, _)| *count > 0)
    }

    /// Counts bytes that a thread's stack or its list of calls grew by.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Takes back what was counted of a stack or list that is given back before its thread is.
    pub(super) fn uncount(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl MemoryUsage for Heap {
    // Nothing here goes over the objects, which may be millions.
    fn memory_usage(&self) -> usize {
        let (mut places, mut live) = (0, 0);
        let mut add = |places_usage, live_bytes| {
            places += places_usage;
            live += live_bytes;
        };
        add(self.strings.objects.places_usage(), self.strings.objects.live_bytes());
        add(self.tables.places_usage(), self.tables.live_bytes());
        add(self.functions.places_usage(), self.functions.live_bytes());
        add(self.cells.places_usage(), self.cells.live_bytes());
        add(self.threads.places_usage(), self.threads.live_bytes());
        add(self.protos.places_usage(), self.protos.live_bytes());
        places
            + self.bytes.saturating_sub(live)
            + self.strings.interned.heap_bytes()
            + vec_usage(&self.buried)
            + self.buried.iter().map(Large::heap_bytes).sum::<usize>()
            + self.cycle.memory_usage()
    }
}
