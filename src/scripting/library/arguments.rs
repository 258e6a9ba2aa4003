//! Checks of arguments, with the messages of Lua's auxiliary library.

use crate::scripting::lua::number::write_number;
use crate::scripting::lua::value::{Result, StrRef, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, Vm};

impl Vm {
    /// A string, or a number's text.
    pub(super) fn text_argument(&mut self, arguments: Arguments, index: usize) -> Result<StrRef> {
        match self.argument(arguments, index) {
            Value::String(string) => Ok(string),
            Value::Number(number) => {
                let mut text = Vec::new();
                write_number(&mut text, number);
                Ok(self.heap.owned_string(text))
            }
            _ => Err(self.expected(arguments, index, "string")),
        }
    }

    /// A copy of the bytes of a string argument.
    pub(super) fn bytes_argument(&mut self, arguments: Arguments, index: usize) -> Result<Vec<u8>> {
        let string = self.text_argument(arguments, index)?;
        Ok(self.heap.bytes_of(string).to_vec())
    }

    pub(super) fn number_argument(&mut self, arguments: Arguments, index: usize) -> Result<f64> {
        let value = self.argument(arguments, index);
        self.to_number(value).ok_or_else(|| self.expected(arguments, index, "number"))
    }

    /// A number without its fraction.
    pub(super) fn integer_argument(&mut self, arguments: Arguments, index: usize) -> Result<i64> {
        self.number_argument(arguments, index).map(truncated)
    }

    pub(super) fn integer_or(&mut self, arguments: Arguments, index: usize, default: i64) -> Result<i64> {
        match self.argument(arguments, index) {
            Value::Nil => Ok(default),
            _ => self.integer_argument(arguments, index),
        }
    }

    pub(super) fn table_argument(&mut self, arguments: Arguments, index: usize) -> Result<TableRef> {
        match self.argument(arguments, index) {
            Value::Table(table) => Ok(table),
            _ => Err(self.expected(arguments, index, "table")),
        }
    }

    pub(super) fn function_argument(&mut self, arguments: Arguments, index: usize) -> Result<Value> {
        match self.argument(arguments, index) {
            function @ Value::Function(_) => Ok(function),
            _ => Err(self.expected(arguments, index, "function")),
        }
    }

    /// Any value, which has to be there.
    pub(in crate::scripting) fn any_argument(&mut self, arguments: Arguments, index: usize) -> Result<Value> {
        if index < arguments.count {
            Ok(self.argument(arguments, index))
        } else {
            Err(self.argument_error(index, "value expected"))
        }
    }

    /// Refuses changes of a read-only table.
    pub(in crate::scripting) fn check_writable(&mut self, table: TableRef) -> Result<()> {
        if self.heap.table(table).readonly {
            return Err(self.plain_error(b"Attempt to modify a readonly table"));
        }
        Ok(())
    }
}

/// A double as C makes an integer of it; what does not fit is the smallest one.
pub(in crate::scripting) fn truncated(number: f64) -> i64 {
    let fits = (-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&number);
    if fits { number as i64 } else { i64::MIN }
}

/// The 64 bits of a number as C's conversion to an unsigned integer makes them.
pub(super) fn integer_bits(number: f64) -> u64 {
    const HALF: f64 = 9.223_372_036_854_776e18;
    if !(HALF..).contains(&number) {
        truncated(number) as u64
    } else if number < 2.0 * HALF {
        number as u64
    } else {
        0
    }
}
