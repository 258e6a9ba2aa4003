//! Operations that metatables may decide over: indices, comparisons, concatenation.

use super::super::heap::Function;
use super::super::number::write_number;
use super::super::thread::{After, Kind};
use super::super::value::{Result, StrRef, TableRef, Value};
use super::Vm;
use crate::scripting::host::Host;

/// Metatables that are followed for one index (Lua: `MAXTAGLOOP`).
const METATABLES_MAX: usize = 100;

/// Where a look-up along metatables has ended.
enum Found {
    Value(Value),
    /// A function that is to be called with an object and the key.
    Handler {
        handler: Value,
        object: Value,
    },
    /// An object that has no keys.
    Nothing(Value),
}

/// Places of a table that are allocated anew in about the time of a step.
const PLACES_PER_STEP: usize = 4;

impl Vm {
    /// The metatable of a value.
    #[must_use]
    pub fn metatable_of(&self, value: Value) -> Option<TableRef> {
        match value {
            Value::Table(table) => self.heap.table(table).metatable,
            Value::String(_) => self.string_metatable,
            _ => None,
        }
    }

    /// A field of a value's metatable.
    #[must_use]
    pub(in crate::scripting) fn metamethod(&self, value: Value, event: StrRef) -> Value {
        match self.metatable_of(value) {
            Some(metatable) => self.heap.get(metatable, Value::String(event)),
            None => Value::Nil,
        }
    }

    pub(super) fn binary_metamethod(&self, left: Value, right: Value, event: StrRef) -> Value {
        match self.metamethod(left, event) {
            Value::Nil => self.metamethod(right, event),
            found => found,
        }
    }

    /// Where the running function has its global variables.
    #[inline]
    pub(super) fn current_globals(&self) -> TableRef {
        match self.heap.function(self.closure) {
            Function::Lua { globals, .. } => *globals,
            _ => self.globals,
        }
    }

    /// The function of the language that many calls up; 1 is the one that called the library function that runs.
    #[must_use]
    pub(in crate::scripting) fn function_of_level(&self, level: usize) -> Option<Value> {
        let mut frames = self.frames.iter().rev();
        match &frames.nth(level.checked_sub(1)?)?.kind {
            Kind::Lua { closure, .. } => Some(Value::Function(*closure)),
            Kind::Native(_) => None,
        }
    }

    /// Where a function has its global variables.
    #[must_use]
    pub(in crate::scripting) fn globals_of(&self, function: Option<Value>) -> TableRef {
        match function {
            Some(Value::Function(function)) => match self.heap.function(function) {
                Function::Lua { globals, .. } => *globals,
                _ => self.globals,
            },
            _ => self.globals,
        }
    }

    /// Gives a function of the language other global variables; false for another one.
    pub(in crate::scripting) fn set_globals_of(&mut self, function: Value, table: TableRef) -> bool {
        matches!(function, Value::Function(function) if self.heap.set_globals(function, table))
    }

    /// Calls above the registers of the running function.
    pub(super) fn call_metamethod(
        &mut self,
        handler: Value,
        arguments: &[Value],
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        let at = self.base + usize::from(self.code().registers);
        self.ensure(at + arguments.len() + 1);
        self.stack[at] = handler;
        self.stack[at + 1..=at + arguments.len()].copy_from_slice(arguments);
        self.fuel -= 1;
        self.call_value(at, arguments.len(), after, host)
    }

    #[inline]
    pub(super) fn get_global(&mut self, to: u8, name: u32, host: &mut dyn Host) -> Result<()> {
        let name = self.code().constants[name as usize];
        let globals = self.current_globals();
        let value = self.heap.get(globals, name);
        if value.is_nil() {
            return self.get_index(to, Value::Table(globals), name, None, host);
        }
        self.set(to, value);
        Ok(())
    }

    /// `object[key]` into a register. `named` is the register that messages look for the object's name in.
    #[inline]
    pub(super) fn get_index(
        &mut self,
        to: u8,
        object: Value,
        key: Value,
        named: Option<u8>,
        host: &mut dyn Host,
    ) -> Result<()> {
        if let Value::Table(table) = object {
            let value = self.heap.get(table, key);
            if !value.is_nil() || self.heap.table(table).metatable.is_none() {
                self.set(to, value);
                return Ok(());
            }
        }
        self.get_index_slowly(to, object, key, named, host)
    }

    fn get_index_slowly(
        &mut self,
        to: u8,
        object: Value,
        key: Value,
        named: Option<u8>,
        host: &mut dyn Host,
    ) -> Result<()> {
        match self.look_up(object, key) {
            Some(Found::Value(value)) => {
                self.set(to, value);
                Ok(())
            }
            Some(Found::Handler { handler, object }) => {
                self.call_metamethod(handler, &[object, key], After::Store(to), host)
            }
            // What a metatable led to has no name. A number has none, and need not equal itself.
            Some(Found::Nothing(found)) => {
                let named = named.filter(|_| found == object || matches!(object, Value::Number(_)));
                Err(self.type_error("index", found, named))
            }
            None => Err(self.error(b"loop in gettable")),
        }
    }

    /// Follows the metatables of an object to a key's value; `None` if they lead nowhere.
    fn look_up(&self, mut object: Value, key: Value) -> Option<Found> {
        for _ in 0..METATABLES_MAX {
            let value = match object {
                Value::Table(table) => self.heap.get(table, key),
                _ => Value::Nil,
            };
            let handler =
                if value.is_nil() { self.metamethod(object, self.events.index) } else { Value::Nil };
            match handler {
                Value::Nil if matches!(object, Value::Table(_)) => return Some(Found::Value(value)),
                Value::Nil => return Some(Found::Nothing(object)),
                Value::Function(_) => return Some(Found::Handler { handler, object }),
                next => object = next,
            }
        }
        None
    }

    /// `object[key]` for a library function: the value, or the function that is to be called with an object and the
    /// key for it.
    pub(in crate::scripting) fn index_or_handler(
        &mut self,
        object: Value,
        key: Value,
    ) -> Result<(Value, Option<Value>)> {
        match self.look_up(object, key) {
            Some(Found::Value(value)) => Ok((value, None)),
            Some(Found::Nothing(_)) => Ok((Value::Nil, None)),
            Some(Found::Handler { handler, object }) => Ok((object, Some(handler))),
            None => Err(self.plain_error(b"loop in gettable")),
        }
    }

    /// `object[key] = value`.
    #[inline]
    pub(super) fn set_index(
        &mut self,
        mut object: Value,
        key: Value,
        value: Value,
        mut named: Option<u8>,
        host: &mut dyn Host,
    ) -> Result<()> {
        for _ in 0..METATABLES_MAX {
            let handler = match object {
                Value::Table(table) => {
                    if self.heap.table(table).readonly {
                        return Err(self.error(b"Attempt to modify a readonly table"));
                    }
                    if let Some(message) = wrong_key(key) {
                        return Err(self.error(message));
                    }
                    let decides = self.heap.table(table).metatable.is_some();
                    let handler = if decides && self.heap.get(table, key).is_nil() {
                        self.metamethod(object, self.events.newindex)
                    } else {
                        Value::Nil
                    };
                    if handler.is_nil() {
                        self.heap.set(table, key, value);
                        self.spend_places();
                        // Tables grow without an instruction that makes an object.
                        self.collect_if_due();
                        return Ok(());
                    }
                    // `next` knows the key from now on.
                    self.heap.set(table, key, Value::Nil);
                    handler
                }
                _ => match self.metamethod(object, self.events.newindex) {
                    Value::Nil => return Err(self.type_error("index", object, named)),
                    handler => handler,
                },
            };
            if matches!(handler, Value::Function(_)) {
                return self.call_metamethod(handler, &[object, key, value], After::Drop, host);
            }
            object = handler;
            named = None;
        }
        Err(self.error(b"loop in settable"))
    }

    /// Sets an element of a table that may be changed, whatever its metatable says.
    ///
    /// # Errors
    /// `table index is nil`, `table index is NaN`.
    #[inline]
    pub(in crate::scripting) fn set_raw(&mut self, table: TableRef, key: Value, value: Value) -> Result<()> {
        if let Some(message) = wrong_key(key) {
            return Err(self.plain_error(message));
        }
        self.heap.set(table, key, value);
        self.spend_places();
        Ok(())
    }

    /// A table that is full may be allocated anew for each key, if another one goes each time: that is work, too.
    #[inline]
    fn spend_places(&mut self) {
        let places = self.heap.take_places();
        self.spend(places / PLACES_PER_STEP);
    }

    /// Whether two values are the same, without metamethods.
    #[inline]
    #[must_use]
    pub(in crate::scripting) fn raw_equal(&self, left: Value, right: Value) -> bool {
        match (left, right) {
            (Value::String(left), Value::String(right)) => self.heap.same_string(left, right),
            _ => left == right,
        }
    }

    /// Goes past the next instruction, a jump, unless the outcome is what was expected.
    #[inline]
    fn branch(&mut self, outcome: bool, expected: bool) -> Result<()> {
        if outcome != expected {
            self.pc += 1;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn equal(
        &mut self,
        left: Value,
        right: Value,
        expected: bool,
        host: &mut dyn Host,
    ) -> Result<()> {
        let same = self.raw_equal(left, right);
        if let (false, Value::Table(_), Value::Table(_)) = (same, left, right) {
            let handler = self.metamethod(left, self.events.eq);
            if !handler.is_nil() && self.raw_equal(handler, self.metamethod(right, self.events.eq)) {
                return self.call_metamethod(handler, &[left, right], After::Test { expected }, host);
            }
        }
        self.branch(same, expected)
    }

    #[inline]
    pub(super) fn less(
        &mut self,
        left: Value,
        right: Value,
        expected: bool,
        host: &mut dyn Host,
    ) -> Result<()> {
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => self.branch(left < right, expected),
            (Value::String(one), Value::String(other)) => {
                let less = self.heap.bytes_of(one) < self.heap.bytes_of(other);
                self.branch(less, expected)
            }
            _ => match self.order_metamethod(left, right, self.events.lt) {
                Some(handler) => {
                    self.call_metamethod(handler, &[left, right], After::Test { expected }, host)
                }
                None => Err(self.compare_error(left, right)),
            },
        }
    }

    #[inline]
    pub(super) fn less_equal(
        &mut self,
        left: Value,
        right: Value,
        expected: bool,
        host: &mut dyn Host,
    ) -> Result<()> {
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => self.branch(left <= right, expected),
            (Value::String(one), Value::String(other)) => {
                let less = self.heap.bytes_of(one) <= self.heap.bytes_of(other);
                self.branch(less, expected)
            }
            _ => {
                if let Some(handler) = self.order_metamethod(left, right, self.events.le) {
                    return self.call_metamethod(handler, &[left, right], After::Test { expected }, host);
                }
                match self.order_metamethod(right, left, self.events.lt) {
                    Some(handler) => {
                        let after = After::Test { expected: !expected };
                        self.call_metamethod(handler, &[right, left], after, host)
                    }
                    None => Err(self.compare_error(left, right)),
                }
            }
        }
    }

    /// The handler of an order, if both values have the same one.
    pub(in crate::scripting) fn order_metamethod(
        &self,
        left: Value,
        right: Value,
        event: StrRef,
    ) -> Option<Value> {
        let handler = self.metamethod(left, event);
        (!handler.is_nil() && self.raw_equal(handler, self.metamethod(right, event))).then_some(handler)
    }

    fn is_text(value: Value) -> bool {
        matches!(value, Value::String(_) | Value::Number(_))
    }

    /// Adds a string's or a number's text.
    pub(in crate::scripting) fn write_text(&self, output: &mut Vec<u8>, value: Value) {
        match value {
            Value::String(string) => output.extend_from_slice(self.heap.bytes_of(string)),
            Value::Number(number) => write_number(output, number),
            _ => {}
        }
    }

    pub(super) fn concat(&mut self, to: u8, first: u8, last: u8, host: &mut dyn Host) -> Result<()> {
        let value = self.stack[self.base + usize::from(last)];
        self.concat_on(to, first, last - first, value, host)
    }

    /// Puts `left` registers from `first` on before a value; from the right, as far as they are text.
    pub(super) fn concat_on(
        &mut self,
        to: u8,
        first: u8,
        mut left: u8,
        mut value: Value,
        host: &mut dyn Host,
    ) -> Result<()> {
        while left > 0 {
            let at = self.base + usize::from(first);
            let before = &self.stack[at..at + usize::from(left)];
            let texts = before.iter().rev().take_while(|value| Self::is_text(**value)).count();
            if !Self::is_text(value) || texts == 0 {
                let other = before[before.len() - 1];
                let handler = self.binary_metamethod(other, value, self.events.concat);
                if handler.is_nil() {
                    // The culprit's register: the left one's, or the one after it.
                    let (culprit, register) =
                        if Self::is_text(other) { (value, first + left) } else { (other, first + left - 1) };
                    return Err(self.operand_error("concatenate", culprit, register.into()));
                }
                let after = After::Concat { to, first, left: left - 1 };
                return self.call_metamethod(handler, &[other, value], after, host);
            }
            value = self.join(at + usize::from(left) - texts, texts, value)?;
            left -= texts as u8;
        }
        self.set(to, value);
        self.collect_if_due();
        Ok(())
    }

    /// One string of `count` texts on the stack and one after them.
    fn join(&mut self, at: usize, count: usize, last: Value) -> Result<Value> {
        let size = |value: &Value| match value {
            Value::String(string) => self.heap.bytes_of(*string).len(),
            _ => 24,
        };
        let bytes = self.stack[at..at + count].iter().chain([&last]).map(size).sum();
        self.check_room(bytes)?;
        self.spend(bytes / 1024);
        let mut output = Vec::with_capacity(bytes);
        for value in self.stack[at..at + count].iter().chain([&last]) {
            self.write_text(&mut output, *value);
        }
        Ok(Value::String(self.heap.owned_string(output)))
    }
}

/// Why nothing can have this key.
#[inline]
fn wrong_key(key: Value) -> Option<&'static [u8]> {
    match key {
        Value::Nil => Some(b"table index is nil"),
        Value::Number(number) if number.is_nan() => Some(b"table index is NaN"),
        _ => None,
    }
}
