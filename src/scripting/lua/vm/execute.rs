//! Instructions that need more than registers and plain tables: see [`simple`](super::simple) for the others.

use super::super::code::{Arithmetic, FIRST_CONSTANT, Op, Operand};
use super::super::heap::Function;
use super::super::number::parse_number;
use super::super::thread::After;
use super::super::value::{CellRef, Result, Stop, Value, copy_value};
use super::Vm;
use super::simple::Left;
use crate::scripting::host::Host;

impl Vm {
    /// Runs until something stops it.
    pub(super) fn execute(&mut self, host: &mut dyn Host) -> Stop {
        loop {
            // What runs next need not be a simple instruction.
            let left = if self.is_out_of_fuel() { Left::Fuel } else { self.execute_simple() };
            let outcome = match left {
                Left::Op(Op::Call { function, arguments, results }) => {
                    self.call(function, arguments, After::Results(results), host)
                }
                Left::Op(Op::Return { first, count }) => self.leave(first, count, host),
                Left::Op(op) => self.step(op, host),
                Left::Fuel => self.refuel(host),
                Left::End => return Stop::Finished,
            };
            if let Err(stop) = outcome {
                return stop;
            }
        }
    }

    #[inline]
    fn register(&self, register: u8) -> Value {
        self.stack[self.base + usize::from(register)]
    }

    #[inline]
    pub(super) fn set(&mut self, register: u8, value: Value) {
        self.stack[self.base + usize::from(register)] = value;
    }

    #[inline]
    fn operand(&self, operand: Operand) -> Value {
        if operand < FIRST_CONSTANT {
            self.stack[self.base + usize::from(operand)]
        } else {
            self.code().constants[usize::from(operand - FIRST_CONSTANT)]
        }
    }

    #[inline(always)]
    fn call(&mut self, function: u8, arguments: u8, after: After, host: &mut dyn Host) -> Result<()> {
        self.fuel -= 1;
        let at = self.base + usize::from(function);
        let count = self.counted(at, arguments);
        self.call_value(at, count, after, host)
    }

    #[inline(always)]
    fn leave(&mut self, first: u8, count: u8, host: &mut dyn Host) -> Result<()> {
        let first = self.base + usize::from(first);
        let count = if count == 0 { self.top.saturating_sub(first) } else { usize::from(count) - 1 };
        self.return_values(first, count, host)
    }

    /// Any instruction but the most frequent ones.
    #[inline(never)]
    fn step(&mut self, op: Op, host: &mut dyn Host) -> Result<()> {
        match op {
            Op::NewCell { register } => {
                let cell = self.heap.add_cell(self.register(register));
                self.set(register, Value::Cell(cell));
            }
            Op::GetGlobal { to, name } => return self.get_global(to, name, host),
            Op::SetGlobal { name, value } => {
                let (name, value) = (self.code().constants[name as usize], self.operand(value));
                let globals = self.current_globals();
                return self.set_index(Value::Table(globals), name, value, None, host);
            }
            Op::GetIndex { to, table, key } => {
                let key = self.operand(key);
                return self.get_index(to, self.register(table), key, Some(table), host);
            }
            Op::SetIndex { table, key, value } => {
                let (key, value) = (self.operand(key), self.operand(value));
                return self.set_index(self.register(table), key, value, Some(table), host);
            }
            Op::NewTable { to, array, others } => {
                let table = self.heap.new_table(usize::from(array), usize::from(others));
                self.set(to, Value::Table(table));
                self.collect_if_due();
            }
            Op::SetUpvalue { index, value } => {
                let value = self.operand(value);
                self.heap.set_cell(self.captured(index), value);
            }
            Op::SetCell { register, value } => {
                if let (Value::Cell(cell), value) = (self.register(register), self.operand(value)) {
                    self.heap.set_cell(cell, value);
                }
            }
            Op::Method { to, object, name } => {
                let name = self.operand(name);
                let value = self.register(object);
                self.set(to + 1, value);
                return self.get_index(to, value, name, Some(object), host);
            }
            Op::Arithmetic { operation, to, left, right } => {
                return self.arithmetic(operation, to, left, right, host);
            }
            Op::Equal { expected, left, right } => {
                return self.equal(self.operand(left), self.operand(right), expected, host);
            }
            Op::Less { expected, left, right } => {
                return self.less(self.operand(left), self.operand(right), expected, host);
            }
            Op::LessEqual { expected, left, right } => {
                return self.less_equal(self.operand(left), self.operand(right), expected, host);
            }
            other => return self.step_call(other, host),
        }
        Ok(())
    }

    #[inline]
    fn step_call(&mut self, op: Op, host: &mut dyn Host) -> Result<()> {
        match op {
            Op::TailCall { function, arguments } => {
                self.fuel -= 1;
                let at = self.base + usize::from(function);
                let count = self.counted(at, arguments);
                return self.tail_call(at, count, host);
            }
            Op::Concat { to, first, last } => return self.concat(to, first, last, host),
            Op::Length { to, from } => return self.length(to, from),
            Op::Negate { to, from } => return self.negate(to, from, host),
            Op::ForPrepare { base, by } => return self.for_prepare(base, by),
            Op::ForEach { base, results } => {
                let at = self.base + usize::from(base);
                self.ensure(at + 7);
                for place in at..at + 3 {
                    copy_value(&mut self.stack, place, place + 3);
                }
                return self.call_value(at + 3, 2, After::Iterated(results + 1), host);
            }
            Op::SetList { table, from, count, done } => self.set_list(table, from, count, done),
            Op::Closure { to, function } => return self.new_closure(to, function),
            Op::Vararg { to, count } => self.varargs(to, count),
            Op::ArgTable { to } => self.arg_table(to),
            _ => {}
        }
        Ok(())
    }

    /// How many values follow the function at `at`: as many as are given, or up to the top for 0.
    #[inline]
    fn counted(&self, at: usize, arguments: u8) -> usize {
        if arguments == 0 { self.top.saturating_sub(at + 1) } else { usize::from(arguments) - 1 }
    }

    #[inline]
    fn captured(&self, index: u8) -> CellRef {
        match self.heap.function(self.closure) {
            Function::Lua { captured, .. } => captured[usize::from(index)],
            _ => CellRef(0),
        }
    }

    /// What a value is as a number: itself, or what its text says.
    #[must_use]
    pub(in crate::scripting) fn to_number(&self, value: Value) -> Option<f64> {
        match value {
            Value::Number(number) => Some(number),
            Value::String(string) => parse_number(self.heap.bytes_of(string)),
            _ => None,
        }
    }

    /// Of what are not two numbers.
    fn arithmetic(
        &mut self,
        operation: Arithmetic,
        to: u8,
        from: Operand,
        and: Operand,
        host: &mut dyn Host,
    ) -> Result<()> {
        let (left, right) = (self.operand(from), self.operand(and));
        if let (Some(left), Some(right)) = (self.to_number(left), self.to_number(right)) {
            self.set(to, Value::Number(operation.apply(left, right)));
            return Ok(());
        }
        let event = match operation {
            Arithmetic::Add => self.events.add,
            Arithmetic::Subtract => self.events.subtract,
            Arithmetic::Multiply => self.events.multiply,
            Arithmetic::Divide => self.events.divide,
            Arithmetic::Modulo => self.events.modulo,
            Arithmetic::Power => self.events.power,
        };
        let handler = self.binary_metamethod(left, right, event);
        if handler.is_nil() {
            let (culprit, operand) = if self.to_number(left).is_none() { (left, from) } else { (right, and) };
            return Err(self.operand_error("perform arithmetic on", culprit, operand));
        }
        self.call_metamethod(handler, &[left, right], After::Store(to), host)
    }

    fn negate(&mut self, to: u8, from: u8, host: &mut dyn Host) -> Result<()> {
        let value = self.register(from);
        if let Some(number) = self.to_number(value) {
            self.set(to, Value::Number(-number));
            return Ok(());
        }
        let handler = self.metamethod(value, self.events.negate);
        if handler.is_nil() {
            return Err(self.type_error("perform arithmetic on", value, Some(from)));
        }
        self.call_metamethod(handler, &[value, value], After::Store(to), host)
    }

    fn length(&mut self, to: u8, from: u8) -> Result<()> {
        let value = self.register(from);
        let length = match value {
            Value::Table(table) => self.heap.length(table),
            Value::String(string) => self.heap.bytes_of(string).len(),
            _ => return Err(self.type_error("get length of", value, Some(from))),
        };
        self.set(to, Value::Number(length as f64));
        Ok(())
    }

    #[inline]
    fn for_prepare(&mut self, base: u8, by: i32) -> Result<()> {
        for (offset, name) in ["initial value", "limit", "step"].into_iter().enumerate() {
            let register = base + offset as u8;
            match self.to_number(self.register(register)) {
                Some(number) => self.set(register, Value::Number(number)),
                None => return Err(self.error(format!("'for' {name} must be a number").as_bytes())),
            }
        }
        if let (Value::Number(start), Value::Number(step)) = (self.register(base), self.register(base + 2)) {
            self.set(base, Value::Number(start - step));
        }
        self.pc = self.pc.wrapping_add_signed(by as isize);
        Ok(())
    }

    fn set_list(&mut self, table: u8, from: u8, count: u8, done: u32) {
        let Value::Table(table) = self.register(table) else { return };
        let first = self.base + usize::from(from);
        let end = if count == 0 { self.top.max(first) } else { first + usize::from(count) };
        self.heap.set_list(table, done as usize + 1, &self.stack[first..end]);
    }

    fn new_closure(&mut self, to: u8, function: u32) -> Result<()> {
        use super::super::code::Capture;
        let proto = self.code().functions[function as usize];
        let captures = self.heap.proto(proto).captures.clone();
        let captured = captures
            .into_iter()
            .map(|capture| match capture {
                Capture::Upvalue(index) => self.captured(index),
                Capture::Register(register) => match self.register(register) {
                    Value::Cell(cell) => cell,
                    value => self.heap.add_cell(value),
                },
            })
            .collect();
        let globals = self.current_globals();
        let closure = self.heap.add_function(Function::Lua { proto, captured, globals });
        self.set(to, Value::Function(closure));
        self.collect_if_due();
        Ok(())
    }

    /// The values between the function and its registers.
    fn varargs(&mut self, to: u8, count: u8) {
        let function = self.frames.last().map_or(0, |frame| frame.function);
        let first = function + 1 + usize::from(self.code().parameters);
        let there = self.base.saturating_sub(first);
        let wanted = if count == 0 { there } else { usize::from(count) - 1 };
        let to = self.base + usize::from(to);
        self.ensure(to + wanted);
        let moved = wanted.min(there);
        self.stack.copy_within(first..first + moved, to);
        self.stack[to + moved..to + wanted].fill(Value::Nil);
        if count == 0 {
            self.top = to + wanted;
        }
    }

    fn arg_table(&mut self, to: u8) {
        let function = self.frames.last().map_or(0, |frame| frame.function);
        let first = function + 1 + usize::from(self.code().parameters);
        let end = self.base.max(first);
        let table = self.heap.new_table(end - first, 1);
        self.heap.set_list(table, 1, &self.stack[first..end]);
        self.heap.set_field(table, "n", Value::Number((end - first) as f64));
        self.set(to, Value::Table(table));
    }
}
