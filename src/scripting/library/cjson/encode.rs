//! Values as JSON.

use std::io::Write;

use super::super::truncated;
use super::{DEPTH_MAX, Setting, option};
use crate::scripting::host::Host;
use crate::scripting::lua::number::{Layout, write_shortest_layout};
use crate::scripting::lua::value::{Result, Stop, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, NativeResult, Vm};

/// Bytes that stand for themselves.
const PLAIN: u8 = 0;

/// What follows the backslash in the place of each byte; `u` and the byte's number for those that have no letter.
const ESCAPES: [u8; 256] = escapes();

const fn escapes() -> [u8; 256] {
    let mut table = [PLAIN; 256];
    let mut byte = 0;
    while byte < 32 {
        table[byte] = b'u';
        byte += 1;
    }
    table[127] = b'u';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table[8] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[12] = b'f';
    table[b'\r' as usize] = b'r';
    table
}

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
        output: Vec::with_capacity(128),
        convert_sparse: option(vm, arguments, Setting::SparseConvert) != 0.0,
        sparse_ratio: option(vm, arguments, Setting::SparseRatio),
        sparse_safe: option(vm, arguments, Setting::SparseSafe),
        depth_max: (option(vm, arguments, Setting::EncodeDepth) as usize).min(DEPTH_MAX),
        invalid: option(vm, arguments, Setting::EncodeInvalid),
        precision: option(vm, arguments, Setting::Precision) as usize,
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
        let mut rest = bytes;
        loop {
            let plain = rest.iter().take_while(|byte| ESCAPES[usize::from(**byte)] == PLAIN).count();
            let (run, escaped) = rest.split_at(plain);
            self.output.extend_from_slice(run);
            let Some((byte, after)) = escaped.split_first() else { break };
            match ESCAPES[usize::from(*byte)] {
                b'u' => {
                    // Writing to memory does not fail.
                    let _ = write!(self.output, "\\u{byte:04x}");
                }
                short => self.output.extend_from_slice(&[b'\\', short]),
            }
            rest = after;
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
        let (mut max, mut items, mut place) = (0_i32, 0.0, 0);
        while let Some((next, key, _)) = vm.heap.element_from(table, place) {
            match key {
                Value::Number(number) if number >= 1.0 && number.floor() == number => {
                    if number > f64::from(max) {
                        max = i32::try_from(truncated(number)).unwrap_or(i32::MIN);
                    }
                    items += 1.0;
                }
                _ => return Ok(None),
            }
            place = next;
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
        let mut place = 0;
        while let Some((next, key, value)) = vm.heap.element_from(table, place) {
            if place > 0 {
                self.output.push(b',');
            }
            match key {
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
            place = next;
        }
        self.output.push(b'}');
        Ok(())
    }
}
