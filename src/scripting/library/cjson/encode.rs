//! Values as JSON.

use super::super::truncated;
use super::{DEPTH_MAX, option};
use crate::scripting::host::Host;
use crate::scripting::lua::number::{Layout, write_shortest_layout};
use crate::scripting::lua::value::{Result, Stop, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, NativeResult, Vm};

/// What the options say, and what was written so far.
struct Encoder {
    output: Vec<u8>,
    convert_sparse: bool,
    sparse_ratio: f64,
    sparse_safe: f64,
    depth_max: usize,
    /// 0: an error; 1: as they are; 2: null.
    invalid: f64,
    precision: usize,
}

pub(super) fn encode(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count != 1 {
        return Err(vm.argument_error(0, "expected 1 argument"));
    }
    let mut encoder = Encoder {
        output: Vec::new(),
        convert_sparse: option(vm, arguments, "sparse convert") != 0.0,
        sparse_ratio: option(vm, arguments, "sparse ratio"),
        sparse_safe: option(vm, arguments, "sparse safe"),
        depth_max: (option(vm, arguments, "encode depth") as usize).min(DEPTH_MAX),
        invalid: option(vm, arguments, "encode invalid"),
        precision: option(vm, arguments, "precision") as usize,
    };
    let value = vm.argument(arguments, 0);
    encoder.value(vm, value, 0)?;
    let text = vm.heap.owned_string(encoder.output);
    vm.give(Value::String(text))
}

fn refuse(vm: &mut Vm, value: Value, reason: &str) -> Stop {
    vm.error(format!("Cannot serialise {}: {reason}", value.type_name()).as_bytes())
}

impl Encoder {
    fn value(&mut self, vm: &mut Vm, value: Value, depth: usize) -> Result<()> {
        vm.spend(1);
        vm.check_room(self.output.len())?;
        match value {
            Value::String(string) => self.string(vm.heap.bytes_of(string)),
            Value::Number(number) => self.number(vm, number)?,
            Value::Boolean(value) => {
                self.output.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Value::Nil | Value::Null => self.output.extend_from_slice(b"null"),
            Value::Table(table) => self.table(vm, table, depth + 1)?,
            other => return Err(refuse(vm, other, "type not supported")),
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        self.output.push(b'"');
        for byte in bytes {
            let short = match byte {
                b'"' | b'\\' | b'/' => *byte,
                8 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                12 => b'f',
                b'\r' => b'r',
                0..=31 | 127 => {
                    self.output.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                    continue;
                }
                plain => {
                    self.output.push(*plain);
                    continue;
                }
            };
            self.output.extend_from_slice(&[b'\\', short]);
        }
        self.output.push(b'"');
    }

    fn number(&mut self, vm: &mut Vm, number: f64) -> Result<()> {
        if !number.is_finite() {
            if self.invalid == 0.0 {
                return Err(refuse(vm, Value::Number(number), "must not be NaN or Inf"));
            }
            if self.invalid > 1.0 {
                self.output.extend_from_slice(b"null");
                return Ok(());
            }
            if number.is_nan() {
                self.output.extend_from_slice(b"nan");
                return Ok(());
            }
        }
        write_shortest_layout(&mut self.output, number, self.precision, Layout::default());
        Ok(())
    }

    fn table(&mut self, vm: &mut Vm, table: TableRef, depth: usize) -> Result<()> {
        if depth > self.depth_max {
            return Err(vm.error(format!("Cannot serialise, excessive nesting ({depth})").as_bytes()));
        }
        match self.array_length(vm, table)? {
            Some(length) if length > 0 => {
                self.output.push(b'[');
                for index in 1..=length {
                    if index > 1 {
                        self.output.push(b',');
                    }
                    let value = vm.heap.get(table, Value::Number(index as f64));
                    self.value(vm, value, depth)?;
                }
                self.output.push(b']');
                Ok(())
            }
            _ => self.object(vm, table, depth),
        }
    }

    /// The greatest key, if all keys are whole numbers from 1 on and not too few. Valkey keeps it in 32 bits, where a key
    /// beyond them is the least number: tables by times or large identifiers are objects.
    fn array_length(&self, vm: &mut Vm, table: TableRef) -> Result<Option<usize>> {
        let (mut max, mut items, mut key) = (0_i32, 0.0, Value::Nil);
        while let Ok(Some((next, _))) = vm.heap.next(table, key) {
            match next {
                Value::Number(number) if number >= 1.0 && number.floor() == number => {
                    if number > f64::from(max) {
                        max = i32::try_from(truncated(number)).unwrap_or(i32::MIN);
                    }
                    items += 1.0;
                }
                _ => return Ok(None),
            }
            key = next;
        }
        vm.spend(items as usize / 8);
        let largest = f64::from(max);
        let sparse =
            self.sparse_ratio > 0.0 && largest > items * self.sparse_ratio && largest > self.sparse_safe;
        if sparse && !self.convert_sparse {
            return Err(refuse(vm, Value::Table(table), "excessively sparse array"));
        }
        Ok(usize::try_from(max).ok().filter(|_| !sparse))
    }

    fn object(&mut self, vm: &mut Vm, table: TableRef, depth: usize) -> Result<()> {
        self.output.push(b'{');
        let (mut key, mut first) = (Value::Nil, true);
        while let Ok(Some((next, value))) = vm.heap.next(table, key) {
            if !std::mem::take(&mut first) {
                self.output.push(b',');
            }
            match next {
                Value::Number(number) => {
                    self.output.push(b'"');
                    self.number(vm, number)?;
                    self.output.push(b'"');
                }
                Value::String(string) => self.string(vm.heap.bytes_of(string)),
                other => return Err(refuse(vm, other, "table key must be a number or string")),
            }
            self.output.push(b':');
            self.value(vm, value, depth)?;
            key = next;
        }
        self.output.push(b'}');
        Ok(())
    }
}
