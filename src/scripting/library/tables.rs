//! `table`.

use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::collector::Marker;
use crate::scripting::lua::value::{Result, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, Continue, Flow, NativeResult, Vm};

const FUNCTIONS: &Functions = &[
    ("concat", concat),
    ("foreach", foreach),
    ("foreachi", foreachi),
    ("getn", getn),
    ("maxn", maxn),
    ("insert", insert),
    ("remove", remove),
    ("setn", setn),
    ("sort", sort),
];

pub(super) fn open(vm: &mut Vm) {
    register(vm, "table", FUNCTIONS);
}

fn length(vm: &Vm, table: TableRef) -> usize {
    vm.heap.length(table)
}

fn element(vm: &Vm, table: TableRef, index: i64) -> Value {
    vm.heap.element(table, index)
}

fn concat(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let separator = match vm.argument(arguments, 1) {
        Value::Nil => Vec::new(),
        _ => vm.bytes_argument(arguments, 1)?,
    };
    let first = vm.integer_or(arguments, 2, 1)? as i32;
    let last = vm.integer_or(arguments, 3, length(vm, table) as i64)? as i32;
    let (mut index, last) = (i64::from(first), i64::from(last));
    let mut output = Vec::new();
    while index <= last {
        let beside = vm.heap.elements_from(table, usize::try_from(index).unwrap_or(0));
        let single = [element(vm, table, index)];
        let values = if beside.is_empty() { &single } else { beside };
        for value in values.iter().take(usize::try_from(last - index + 1).unwrap_or(0)) {
            if !matches!(value, Value::String(_) | Value::Number(_)) {
                let message =
                    format!("invalid value ({}) at index {index} in table for 'concat'", value.type_name());
                return Err(vm.error(message.as_bytes()));
            }
            vm.write_text(&mut output, *value);
            if index < last {
                output.extend_from_slice(&separator);
            }
            if !vm.heap.has_room(output.len()) {
                return Err(vm.plain_error(b"not enough memory"));
            }
            index += 1;
        }
    }
    vm.spend(output.len() / 256);
    let text = vm.heap.owned_string(output);
    vm.give(Value::String(text))
}

fn getn(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let length = length(vm, table);
    vm.give(Value::Number(length as f64))
}

fn setn(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    vm.table_argument(arguments, 0)?;
    Err(vm.error(b"'setn' is obsolete"))
}

fn maxn(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let (mut max, mut key, mut seen) = (0.0_f64, Value::Nil, 0);
    while let Ok(Some((next, _))) = vm.heap.next(table, key) {
        if let Value::Number(number) = next {
            max = max.max(number);
        }
        key = next;
        seen += 1;
    }
    vm.spend(seen / 8);
    vm.give(Value::Number(max))
}

/// `table.insert` at a place far below the first element or the last one, which moves every key from there on.
#[derive(Debug)]
struct LongInsert {
    table: TableRef,
    place: i64,
    at: i64,
    value: Value,
}

/// Elements moved between two looks at whether others should run.
const MOVED_AT_ONCE: i64 = 20_000;

impl LongInsert {
    fn go_on(mut self, vm: &mut Vm) -> NativeResult {
        let stop = self.place.max(self.at - MOVED_AT_ONCE);
        while self.at > stop {
            let value = element(vm, self.table, self.at - 1);
            vm.set_raw(self.table, Value::Number(self.at as f64), value)?;
            self.at -= 1;
        }
        if self.at > self.place {
            vm.spend(MOVED_AT_ONCE as usize);
            return Ok(Flow::Wait(Box::new(self)));
        }
        vm.set_raw(self.table, Value::Number(self.place as f64), self.value)?;
        Ok(Flow::Return(0))
    }
}

impl Continue for LongInsert {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
        self.go_on(vm)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark(Value::Table(self.table));
        marker.mark(self.value);
    }
}

fn insert(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let end = length(vm, table) as i64 + 1;
    let place = match arguments.count {
        2 => end,
        3 => i64::from(vm.integer_argument(arguments, 1)? as i32),
        _ => return Err(vm.error(b"wrong number of arguments to 'insert'")),
    };
    let value = vm.argument(arguments, arguments.count - 1);
    vm.check_writable(table)?;
    vm.check_room(64)?;
    match usize::try_from(place).ok().filter(|place| *place >= 1 && (*place as i64) < end && !value.is_nil())
    {
        Some(place) if vm.heap.moves_at_once(table, end as usize - place, end as usize) => {
            vm.spend((end as usize - place) / 1024);
            vm.heap.insert_element(table, place, end as usize - 1, value);
            Ok(Flow::Return(0))
        }
        _ => LongInsert { table, place, at: end.max(place), value }.go_on(vm),
    }
}

fn remove(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let end = length(vm, table);
    let place = i64::from(vm.integer_or(arguments, 1, end as i64)? as i32);
    let Some(place) = usize::try_from(place).ok().filter(|place| (1..=end).contains(place)) else {
        return Ok(Flow::Return(0));
    };
    vm.check_writable(table)?;
    if !vm.heap.moves_at_once(table, end - place, end) {
        let value = vm.heap.get(table, Value::Number(place as f64));
        return LongRemove { table, at: place as i64, end: end as i64, value }.go_on(vm);
    }
    vm.spend((end - place) / 1024);
    let value = vm.heap.remove_element(table, place, end);
    vm.give(value)
}

/// `table.remove` far below the last element.
#[derive(Debug)]
struct LongRemove {
    table: TableRef,
    at: i64,
    end: i64,
    value: Value,
}

impl LongRemove {
    fn go_on(mut self, vm: &mut Vm) -> NativeResult {
        let stop = self.end.min(self.at + MOVED_AT_ONCE);
        while self.at < stop {
            let value = element(vm, self.table, self.at + 1);
            vm.set_raw(self.table, Value::Number(self.at as f64), value)?;
            self.at += 1;
        }
        if self.at < self.end {
            vm.spend(MOVED_AT_ONCE as usize);
            return Ok(Flow::Wait(Box::new(self)));
        }
        vm.set_raw(self.table, Value::Number(self.end as f64), Value::Nil)?;
        vm.give(self.value)
    }
}

impl Continue for LongRemove {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
        self.go_on(vm)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark(Value::Table(self.table));
        marker.mark(self.value);
    }
}

// --- foreach ---

/// `foreach` or `foreachi` between two calls of its function.
#[derive(Debug)]
struct Each {
    table: TableRef,
    function: Value,
    key: Value,
    /// The last index, for `foreachi`.
    last: Option<usize>,
}

impl Each {
    fn go_on(mut self: Box<Self>, vm: &mut Vm) -> NativeResult {
        let next = match self.last {
            Some(last) => {
                let index = if let Value::Number(index) = self.key { index as usize + 1 } else { 1 };
                (index <= last).then(|| (Value::Number(index as f64), element(vm, self.table, index as i64)))
            }
            None => match vm.heap.next(self.table, self.key) {
                Ok(next) => next,
                Err(_) => return Err(vm.plain_error(b"invalid key to 'next'")),
            },
        };
        let Some((key, value)) = next else { return Ok(Flow::Return(0)) };
        self.key = key;
        vm.push(self.function);
        vm.push(key);
        vm.push(value);
        Ok(Flow::Call(2, self))
    }
}

impl Continue for Each {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        let value = vm.take_result(results);
        if value.is_nil() { self.go_on(vm) } else { vm.give(value) }
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark_all([Value::Table(self.table), self.function, self.key]);
    }
}

fn foreach(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let function = vm.function_argument(arguments, 1)?;
    Box::new(Each { table, function, key: Value::Nil, last: None }).go_on(vm)
}

fn foreachi(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let function = vm.function_argument(arguments, 1)?;
    let last = Some(length(vm, table));
    Box::new(Each { table, function, key: Value::Nil, last }).go_on(vm)
}

// --- sort ---

/// Which comparison the sort waits for.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The last element and the first.
    Ends,
    /// The middle and the first.
    Low,
    /// The last and the middle.
    High,
    /// Looking up from the left for what is not below the pivot.
    Up,
    /// Looking down from the right for what is not above it.
    Down,
}

/// A quicksort between two comparisons. Its steps are Lua's own, so that what order equal elements end up in, and what
/// a function that contradicts itself brings about, are the same.
#[derive(Debug)]
struct Sort {
    table: TableRef,
    function: Value,
    step: Step,
    low: i64,
    high: i64,
    left: i64,
    right: i64,
    pivot: Value,
    /// Ranges to be sorted later.
    ranges: Vec<(i64, i64)>,
    /// A comparison was called, whose result is to come.
    called: bool,
    /// Nothing has been found yet whose order depends on the steps.
    is_plain: bool,
}

/// Numbers that are sorted at once, while others wait; a quarter as many strings.
const SORTED_AT_ONCE: i64 = 8192;

/// Bytes of strings that are compared while others wait.
const COMPARED_AT_ONCE: usize = 64;

impl Sort {
    fn at(&self, vm: &Vm, index: i64) -> Value {
        element(vm, self.table, index)
    }

    fn put(&self, vm: &mut Vm, index: i64, value: Value) -> Result<()> {
        vm.set_raw(self.table, Value::Number(index as f64), value)
    }

    fn swap(&self, vm: &mut Vm, one: i64, other: i64) -> Result<()> {
        let (first, second) = (self.at(vm, one), self.at(vm, other));
        self.put(vm, one, second)?;
        self.put(vm, other, first)
    }

    /// The next range of more than one element; false at the end.
    fn next_range(&mut self) -> bool {
        while let Some((low, high)) = self.ranges.pop() {
            if low < high {
                (self.low, self.high, self.step) = (low, high, Step::Ends);
                return true;
            }
        }
        false
    }

    fn go_on(mut self: Box<Self>, vm: &mut Vm, mut answer: Option<bool>) -> NativeResult {
        loop {
            if self.is_plain && matches!(self.step, Step::Ends) && self.sort_at_once(vm)? {
                if !self.next_range() {
                    return Ok(Flow::Return(0));
                }
                if vm.is_out_of_fuel() {
                    return Ok(Flow::Wait(self));
                }
                continue;
            }
            let (one, other) = match self.step {
                Step::Ends => (self.at(vm, self.high), self.at(vm, self.low)),
                Step::Low => (self.at(vm, self.left), self.at(vm, self.low)),
                Step::High => (self.at(vm, self.high), self.at(vm, self.left)),
                Step::Up => (self.at(vm, self.left), self.pivot),
                Step::Down => (self.pivot, self.at(vm, self.right)),
            };
            let less = match answer.take() {
                Some(less) => less,
                None => match self.compare(vm, one, other)? {
                    Ok(less) => less,
                    Err(handler) => {
                        vm.push(handler);
                        vm.push(one);
                        vm.push(other);
                        self.called = true;
                        return Ok(Flow::Call(2, self));
                    }
                },
            };
            if !self.apply(vm, less)? {
                return Ok(Flow::Return(0));
            }
            vm.spend(1);
            if vm.is_out_of_fuel() {
                return Ok(Flow::Wait(self));
            }
        }
    }

    /// Sorts the range if it is short and has only one possible order, whatever the steps to it. Lua's are taken where
    /// they can be seen: with a function or metamethods, with NaN, and with zeros of both signs.
    fn sort_at_once(&mut self, vm: &mut Vm) -> Result<bool> {
        let length = self.high - self.low + 1;
        let is_short = match self.at(vm, self.low) {
            Value::String(_) => length <= SORTED_AT_ONCE / 4,
            _ => length <= SORTED_AT_ONCE,
        };
        if !is_short {
            return Ok(false);
        }
        let mut values: Vec<Value> = (self.low..=self.high).map(|index| self.at(vm, index)).collect();
        let has_one_order = match values[0] {
            Value::Number(_) => values.iter().all(|value| {
                matches!(value, Value::Number(number)
                    if !number.is_nan() && (*number != 0.0 || number.is_sign_positive()))
            }),
            _ => values
                .iter()
                .all(|value| vm.bytes(*value).is_some_and(|bytes| bytes.len() <= COMPARED_AT_ONCE)),
        };
        if !has_one_order {
            self.is_plain = false;
            return Ok(false);
        }
        values.sort_unstable_by(|one, other| match (one, other) {
            (Value::Number(one), Value::Number(other)) => one.total_cmp(other),
            _ => vm.bytes(*one).cmp(&vm.bytes(*other)),
        });
        vm.spend(values.len());
        for (index, value) in (self.low..).zip(values) {
            self.put(vm, index, value)?;
        }
        Ok(true)
    }

    /// Whether one is less than the other, or the function that says so.
    fn compare(&self, vm: &mut Vm, one: Value, other: Value) -> Result<std::result::Result<bool, Value>> {
        if !self.function.is_nil() {
            return Ok(Err(self.function));
        }
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => Ok(Ok(one < other)),
            (Value::String(one), Value::String(other)) => {
                Ok(Ok(vm.heap.bytes_of(one) < vm.heap.bytes_of(other)))
            }
            _ => match vm.order_metamethod(one, other, vm.events.lt) {
                Some(handler) => Ok(Err(handler)),
                None => Err(vm.plain_error(Vm::compare_message(one, other).as_bytes())),
            },
        }
    }

    /// Goes on with the outcome of a comparison; false when all is sorted.
    fn apply(&mut self, vm: &mut Vm, less: bool) -> Result<bool> {
        match self.step {
            Step::Ends => {
                if less {
                    self.swap(vm, self.low, self.high)?;
                }
                if self.high - self.low == 1 {
                    return Ok(self.next_range());
                }
                self.left = (self.low + self.high) / 2;
                self.step = Step::Low;
            }
            Step::Low if less => {
                self.swap(vm, self.left, self.low)?;
                return self.partition(vm);
            }
            Step::Low => self.step = Step::High,
            Step::High => {
                if less {
                    self.swap(vm, self.left, self.high)?;
                }
                return self.partition(vm);
            }
            Step::Up if less => {
                if self.left > self.high {
                    return Err(vm.error(b"invalid order function for sorting"));
                }
                self.left += 1;
            }
            Step::Up => {
                self.right -= 1;
                self.step = Step::Down;
            }
            Step::Down if less => {
                if self.right < self.low {
                    return Err(vm.error(b"invalid order function for sorting"));
                }
                self.right -= 1;
            }
            Step::Down if self.right < self.left => return self.split(vm),
            Step::Down => {
                self.swap(vm, self.left, self.right)?;
                self.left += 1;
                self.step = Step::Up;
            }
        }
        Ok(true)
    }

    /// The median of three is in the middle: it becomes the pivot.
    fn partition(&mut self, vm: &mut Vm) -> Result<bool> {
        if self.high - self.low == 2 {
            return Ok(self.next_range());
        }
        self.pivot = self.at(vm, self.left);
        self.swap(vm, self.left, self.high - 1)?;
        self.left = self.low + 1;
        self.right = self.high - 1;
        self.step = Step::Up;
        Ok(true)
    }

    /// The smaller half first, so that the list of ranges stays short.
    fn split(&mut self, vm: &mut Vm) -> Result<bool> {
        self.swap(vm, self.high - 1, self.left)?;
        let (below, above) = ((self.low, self.left - 1), (self.left + 1, self.high));
        if self.left - self.low < self.high - self.left {
            self.ranges.extend([above, below]);
        } else {
            self.ranges.extend([below, above]);
        }
        Ok(self.next_range())
    }
}

impl Continue for Sort {
    fn resume(mut self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        // After a pause there is no result.
        let value = vm.take_result(results);
        let answer = std::mem::take(&mut self.called).then_some(value.is_true());
        self.go_on(vm, answer)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark_all([Value::Table(self.table), self.function, self.pivot]);
    }
}

fn sort(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let function = match vm.argument(arguments, 1) {
        Value::Nil => Value::Nil,
        _ => vm.function_argument(arguments, 1)?,
    };
    let last = length(vm, table) as i64;
    if last > 1 {
        vm.check_writable(table)?;
    }
    let mut sort = Box::new(Sort {
        table,
        function,
        step: Step::Ends,
        low: 1,
        high: last,
        left: 0,
        right: 0,
        pivot: Value::Nil,
        ranges: vec![(1, last)],
        called: false,
        is_plain: function.is_nil(),
    });
    if sort.next_range() { sort.go_on(vm, None) } else { Ok(Flow::Return(0)) }
}
