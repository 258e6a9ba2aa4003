//! The loop over instructions that need nothing but registers, constants and tables as they are.
//!
//! It holds the running function's code, constants and registers in variables of its own, so that no instruction has
//! to look them up. At whatever needs more (a call, a metatable, new memory, an error) the loop ends before the
//! instruction has done anything; `step` runs it then.

use std::cell::Cell;

use super::super::arena::Arena;
use super::super::code::{Op, Operand};
use super::super::heap::{Function, Heap, Strings};
use super::super::table::{KeyHasher, Table};
use super::super::value::{CellRef, StrRef, TableRef, Value, copy_value};
use super::{Iterators, Vm};

/// Values on the stack from a function's first register on: as many as an instruction can name.
pub(super) const WINDOW: usize = 256;

/// What ended the loop.
pub(super) enum Left {
    /// An instruction that is yet to be run.
    Op(Op),
    /// It is time to ask the host.
    Fuel,
    /// The end of the code.
    End,
}

/// What instructions work on.
struct Simple<'a> {
    code: &'a [Op],
    constants: &'a [Value],
    hints: &'a [Cell<u16>],
    registers: &'a mut [Value; WINDOW],
    captured: &'a [CellRef],
    globals: TableRef,
    string_metatable: Option<TableRef>,
    /// `__index`.
    index_event: StrRef,
    iterators: Iterators,
    strings: &'a Strings,
    tables: &'a mut Arena<Table>,
    cells: &'a mut Arena<Value>,
    /// The collector has to hear of what is overwritten.
    is_marking: bool,
    pc: usize,
    fuel: i64,
}

impl Vm {
    /// Runs instructions up to the first that needs more.
    pub(super) fn execute_simple(&mut self) -> Left {
        self.ensure(self.base + WINDOW);
        let Heap { strings, tables, functions, cells, protos, cycle, .. } = &mut self.heap;
        let (captured, globals): (&[CellRef], TableRef) = match functions.get(self.closure.0) {
            Function::Lua { captured, globals, .. } => (captured, *globals),
            _ => (&[], self.globals),
        };
        let proto = protos.get(self.proto.0);
        let Some(registers) = self.stack.get_mut(self.base..).and_then(<[Value]>::first_chunk_mut) else {
            return Left::End;
        };
        let mut simple = Simple {
            code: &proto.code,
            constants: &proto.constants,
            hints: &proto.hints,
            registers,
            captured,
            globals,
            string_metatable: self.string_metatable,
            index_event: self.events.index,
            iterators: self.iterators,
            strings,
            tables,
            cells,
            is_marking: cycle.is_marking,
            pc: self.pc,
            fuel: self.fuel,
        };
        let left = simple.run();
        (self.pc, self.fuel) = (simple.pc, simple.fuel);
        left
    }
}

impl Simple<'_> {
    #[inline(always)]
    fn run(&mut self) -> Left {
        loop {
            // By reference, so that each instruction loads only what it has.
            let Some(op) = self.code.get(self.pc) else { return Left::End };
            self.pc += 1;
            if !self.step(op) {
                return Left::Op(*op);
            }
            if self.fuel < 0 {
                return Left::Fuel;
            }
        }
    }

    #[inline(always)]
    fn register(&self, register: u8) -> Value {
        self.registers[usize::from(register)]
    }

    #[inline(always)]
    fn set(&mut self, register: u8, value: Value) {
        self.registers[usize::from(register)] = value;
    }

    #[inline(always)]
    fn operand(&self, operand: Operand) -> Value {
        match u8::try_from(operand) {
            Ok(register) => self.register(register),
            Err(_) => self.constants[usize::from(operand) - WINDOW],
        }
    }

    #[inline(always)]
    fn jump(&mut self, by: i32) {
        self.pc = self.pc.wrapping_add_signed(by as isize);
        self.fuel -= 1;
    }

    /// Runs an instruction; false if it is not a simple one, and has done nothing.
    #[inline(always)]
    fn step(&mut self, op: &Op) -> bool {
        match *op {
            Op::Move { to, from } => copy_value(self.registers, usize::from(from), usize::from(to)),
            Op::Constant { to, constant } => self.set(to, self.constants[constant as usize]),
            Op::Nil { from, to } => {
                for register in from..=to {
                    self.set(register, Value::Nil);
                }
            }
            Op::Boolean { to, value } => self.set(to, Value::Boolean(value)),
            Op::GetUpvalue { to, index } => {
                let value = *self.cells.get(self.captured[usize::from(index)].0);
                self.set(to, value);
            }
            Op::SetUpvalue { .. } | Op::SetCell { .. } if self.is_marking => return false,
            Op::SetUpvalue { index, value } => {
                *self.cells.get_mut(self.captured[usize::from(index)].0) = self.operand(value);
            }
            Op::GetCell { to, register } => {
                let value = self.register(register);
                self.set(
                    to,
                    if let Value::Cell(CellRef(place)) = value { *self.cells.get(place) } else { value },
                );
            }
            Op::SetCell { register, value } => {
                if let Value::Cell(CellRef(place)) = self.register(register) {
                    *self.cells.get_mut(place) = self.operand(value);
                }
            }
            Op::Not { to, from } => self.set(to, Value::Boolean(!self.register(from).is_true())),
            Op::Jump { by } => self.jump(by),
            Op::JumpIf { register, when, by } => {
                if self.register(register).is_true() == when {
                    self.jump(by);
                }
            }
            Op::ForLoop { base, by } => self.for_loop(base, by),
            Op::ForNext { base, by } => {
                let control = self.register(base.wrapping_add(3));
                if !control.is_nil() {
                    self.set(base.wrapping_add(2), control);
                    self.jump(by);
                }
            }
            Op::ForEach { base, results } => return self.for_each(base, results),
            _ => return self.step_if_plain(op),
        }
        true
    }

    /// Instructions that are simple only with some values.
    #[inline(always)]
    fn step_if_plain(&mut self, op: &Op) -> bool {
        match *op {
            Op::Arithmetic { operation, to, left, right } => {
                let (Value::Number(left), Value::Number(right)) = (self.operand(left), self.operand(right))
                else {
                    return false;
                };
                self.set(to, Value::Number(operation.apply(left, right)));
                true
            }
            Op::Negate { to, from } => {
                let Value::Number(number) = self.register(from) else { return false };
                self.set(to, Value::Number(-number));
                true
            }
            Op::Less { expected, left, right } => match (self.operand(left), self.operand(right)) {
                (Value::Number(left), Value::Number(right)) => self.branch(left < right, expected),
                _ => false,
            },
            Op::LessEqual { expected, left, right } => match (self.operand(left), self.operand(right)) {
                (Value::Number(left), Value::Number(right)) => self.branch(left <= right, expected),
                _ => false,
            },
            Op::Equal { expected, left, right } => {
                self.equal(self.operand(left), self.operand(right), expected)
            }
            Op::GetGlobal { to, name } => {
                let name = self.constants[name as usize];
                let value = self.value_of(self.tables.get(self.globals.0), name);
                self.set_found(to, Some(value).filter(|value| !value.is_nil()))
            }
            Op::GetIndex { to, table, key } => {
                let value = self.index(self.register(table), self.operand(key));
                self.set_found(to, value)
            }
            Op::Method { to, object, name } => {
                let (object, name) = (self.register(object), self.operand(name));
                let value = self.index(object, name);
                if value.is_some() {
                    self.set(to.wrapping_add(1), object);
                }
                self.set_found(to, value)
            }
            Op::SetIndex { table, key, value } => {
                self.set_index(self.register(table), self.operand(key), self.operand(value))
            }
            Op::Length { to, from } => {
                let length = match self.register(from) {
                    Value::Table(TableRef(place)) => self.tables.get(place).length(self.strings),
                    Value::String(string) => self.strings.bytes(string).len(),
                    _ => return false,
                };
                self.set(to, Value::Number(length as f64));
                true
            }
            _ => false,
        }
    }

    /// Goes past the next instruction, a jump, unless the outcome is what was expected.
    #[inline(always)]
    fn branch(&mut self, outcome: bool, expected: bool) -> bool {
        self.pc += usize::from(outcome != expected);
        true
    }

    #[inline(always)]
    fn equal(&mut self, left: Value, right: Value, expected: bool) -> bool {
        let same = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left == right,
            (Value::String(_), Value::String(_)) => left == right || self.strings.same(left, right),
            (Value::Table(left), Value::Table(right)) if left != right => return false,
            _ => left == right,
        };
        self.branch(same, expected)
    }

    /// A loop over numbers goes on, or ends.
    #[inline(always)]
    fn for_loop(&mut self, base: u8, by: i32) {
        let (index, limit, step) =
            (self.register(base), self.register(base.wrapping_add(1)), self.register(base.wrapping_add(2)));
        let (Value::Number(index), Value::Number(limit), Value::Number(step)) = (index, limit, step) else {
            return;
        };
        let next = index + step;
        if if step > 0.0 { next <= limit } else { limit <= next } {
            self.set(base, Value::Number(next));
            self.set(base.wrapping_add(3), Value::Number(next));
            self.jump(by);
        }
    }

    /// What `pairs` and `ipairs` give next, without a call of their iterators.
    #[inline(always)]
    fn for_each(&mut self, base: u8, results: u8) -> bool {
        let (Value::Function(iterator), Value::Table(TableRef(place))) =
            (self.register(base), self.register(base.wrapping_add(1)))
        else {
            return false;
        };
        let (key_to, value_to) = (base.wrapping_add(3), base.wrapping_add(4));
        let (table, control) = (self.tables.get(place), self.register(base.wrapping_add(2)));
        match (control, self.hints.get(self.pc - 1)) {
            (Value::Number(index), _) if Some(iterator) == self.iterators.by_index => {
                // The counter of `ipairs` is one of 32 bits; what does not fit is left to it.
                let whole = index as u32;
                if f64::from(whole) != index || whole >= i32::MAX as u32 {
                    return false;
                }
                let value = table.get_int(whole as usize + 1, self.strings);
                self.set(key_to, if value.is_nil() { Value::Nil } else { Value::Number(index + 1.0) });
                self.set(value_to, value);
            }
            (key, Some(hint)) if Some(iterator) == self.iterators.by_key => {
                let Ok(next) = table.next_hinted(key, hint, self.strings) else { return false };
                let (key, value) = next.unwrap_or_default();
                self.set(key_to, key);
                self.set(value_to, value);
            }
            _ => return false,
        }
        for result in 2..results {
            self.set(key_to.wrapping_add(result), Value::Nil);
        }
        true
    }

    /// The value of a key. Where a name was found is noted for the next time the instruction runs.
    #[inline(always)]
    fn value_of(&self, table: &Table, key: Value) -> Value {
        match (key, self.hints.get(self.pc - 1)) {
            (Value::String(name), Some(hint)) => table.get_hinted(name, hint, self.strings),
            _ => table.get(key, self.strings),
        }
    }

    /// Sets a register to a value, if it is known.
    #[inline(always)]
    fn set_found(&mut self, to: u8, value: Option<Value>) -> bool {
        if let Some(value) = value {
            self.set(to, value);
        }
        value.is_some()
    }

    /// `object[key]`, if neither a function nor more than one other table has to be asked for it.
    #[inline(always)]
    fn index(&self, object: Value, key: Value) -> Option<Value> {
        match object {
            Value::Table(TableRef(place)) => {
                let table = self.tables.get(place);
                let value = self.value_of(table, key);
                match table.metatable {
                    Some(metatable) if value.is_nil() => self.inherited(metatable, key),
                    _ => Some(value),
                }
            }
            // Of a string that has nothing to ask, the error is to be raised.
            Value::String(_) => self.inherited(self.string_metatable?, key).filter(|value| !value.is_nil()),
            _ => None,
        }
    }

    /// What the table gives that a metatable names for what an object does not have.
    #[inline(never)]
    fn inherited(&self, metatable: TableRef, key: Value) -> Option<Value> {
        match self.tables.get(metatable.0).get_str(self.index_event, self.strings) {
            Value::Nil => Some(Value::Nil),
            Value::Table(TableRef(place)) => {
                let parent = self.tables.get(place);
                let value = self.value_of(parent, key);
                (!value.is_nil() || parent.metatable.is_none()).then_some(value)
            }
            _ => None,
        }
    }

    /// Changes an element that is there, or adds one to an array that has room.
    #[inline(always)]
    fn set_index(&mut self, table: Value, key: Value, value: Value) -> bool {
        let Value::Table(TableRef(place)) = table else { return false };
        let table = self.tables.get_mut(place);
        if table.readonly || value.is_nil() || self.is_marking {
            return false;
        }
        match (key, self.hints.get(self.pc - 1)) {
            (Value::String(name), Some(hint)) => table.replace_hinted(name, value, hint, self.strings),
            (Value::Number(_), _) => table.replace_element(key, value),
            _ => false,
        }
    }
}
