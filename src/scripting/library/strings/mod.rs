//! `string`.

mod format;
mod matching;
mod pattern;

use super::arguments::truncated;
use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::Value;
use crate::scripting::lua::vm::{Arguments, Flow, NativeResult, RESULTS_MAX, Vm};

const FUNCTIONS: &Functions = &[
    ("byte", byte),
    ("char", char),
    ("dump", dump),
    ("find", matching::find),
    ("format", format::format),
    ("gfind", matching::gmatch),
    ("gmatch", matching::gmatch),
    ("gsub", matching::gsub),
    ("len", len),
    ("lower", lower),
    ("match", matching::match_),
    ("rep", rep),
    ("reverse", reverse),
    ("sub", sub),
    ("upper", upper),
];

pub(super) fn open(vm: &mut Vm) {
    let table = register(vm, "string", FUNCTIONS);
    let metatable = vm.heap.new_table(0, 1);
    vm.heap.set_field(metatable, "__index", Value::Table(table));
    vm.string_metatable = Some(metatable);
}

/// A position from the end, where it is negative, as one from the start; 0 before the start.
fn position(position: i64, length: usize) -> i64 {
    if position < 0 { position.saturating_add(length as i64 + 1).max(0) } else { position }
}

fn byte(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let string = vm.text_argument(arguments, 0)?;
    let length = vm.heap.bytes_of(string).len();
    let first = position(vm.integer_or(arguments, 1, 1)?, length);
    let last = position(vm.integer_or(arguments, 2, first)?, length);
    let (first, last) = (first.max(1) as usize, usize::try_from(last).unwrap_or(0).min(length));
    if first > last {
        return Ok(Flow::Return(0));
    }
    let count = last - first + 1;
    if count >= RESULTS_MAX {
        return Err(vm.error(b"string slice too long"));
    }
    for at in first - 1..last {
        let byte = vm.heap.bytes_of(string)[at];
        vm.push(Value::Number(f64::from(byte)));
    }
    Ok(Flow::Return(count))
}

fn char(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let mut bytes = Vec::with_capacity(arguments.count);
    for index in 0..arguments.count {
        match u8::try_from(vm.integer_argument(arguments, index)? as i32) {
            Ok(byte) => bytes.push(byte),
            Err(_) => return Err(vm.argument_error(index, "invalid value")),
        }
    }
    let string = vm.string(&bytes);
    vm.give(string)
}

/// There is no bytecode; what is given begins as it does and, as it does, is refused by who loads it.
fn dump(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let function = vm.function_argument(arguments, 0)?;
    if !vm.is_of_the_language(function) {
        return Err(vm.error(b"unable to dump given function"));
    }
    let header = vm.string(b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0");
    vm.give(header)
}

fn len(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let string = vm.text_argument(arguments, 0)?;
    let length = vm.heap.bytes_of(string).len();
    vm.give(Value::Number(length as f64))
}

fn changed(vm: &mut Vm, arguments: Arguments, change: fn(&mut [u8])) -> NativeResult {
    let string = vm.text_argument(arguments, 0)?;
    let length = vm.heap.bytes_of(string).len();
    vm.check_room(length)?;
    vm.spend(length / 256);
    let mut bytes = vm.heap.bytes_of(string).to_vec();
    change(&mut bytes);
    let string = vm.heap.owned_string(bytes);
    vm.give(Value::String(string))
}

fn lower(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    changed(vm, arguments, <[u8]>::make_ascii_lowercase)
}

fn upper(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    changed(vm, arguments, <[u8]>::make_ascii_uppercase)
}

fn reverse(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    changed(vm, arguments, <[u8]>::reverse)
}

fn rep(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let string = vm.text_argument(arguments, 0)?;
    let count = vm.number_argument(arguments, 1)?;
    let count = usize::try_from(truncated(count) as i32).unwrap_or(0);
    let length = vm.heap.bytes_of(string).len();
    let total = length.saturating_mul(count);
    vm.check_room(total)?;
    vm.spend(total / 256);
    let bytes = vm.heap.bytes_of(string).repeat(if length == 0 { 0 } else { count });
    let string = vm.heap.owned_string(bytes);
    vm.give(Value::String(string))
}

fn sub(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let string = vm.text_argument(arguments, 0)?;
    let length = vm.heap.bytes_of(string).len();
    let first = position(vm.integer_argument(arguments, 1)?, length);
    let last = position(vm.integer_or(arguments, 2, -1)?, length);
    let (first, last) = (first.max(1) as usize, usize::try_from(last).unwrap_or(0).min(length));
    if first > last {
        let empty = vm.string(b"");
        return vm.give(empty);
    }
    vm.check_room(last - first)?;
    let part = vm.heap.bytes_of(string)[first - 1..last].to_vec();
    let part = vm.heap.owned_string(part);
    vm.give(Value::String(part))
}
