//! `cjson`: values as JSON and back.

mod decode;
mod encode;

use super::super::lua::value::{Result, TableRef, Value};
use super::super::lua::vm::{Arguments, Flow, Native, NativeResult, Vm};
use crate::scripting::host::Host;

/// An option: its place in the table of options that a table's functions share.
#[derive(Debug, Clone, Copy)]
enum Setting {
    SparseConvert = 1,
    SparseRatio,
    SparseSafe,
    EncodeDepth,
    DecodeDepth,
    EncodeInvalid,
    DecodeInvalid,
    KeepBuffer,
    Precision,
}

/// What the options are at first, in the order of their places.
const OPTIONS: [f64; 9] = [0.0, 2.0, 10.0, 1000.0, 1000.0, 0.0, 1.0, 1.0, 14.0];

const FUNCTIONS: &[(&str, Native)] = &[
    ("encode", encode::encode),
    ("decode", decode::decode),
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", encode_max_depth),
    ("decode_max_depth", decode_max_depth),
    ("encode_number_precision", encode_number_precision),
    ("encode_keep_buffer", encode_keep_buffer),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", decode_invalid_numbers),
    ("new", new),
];

/// Tables within tables, whatever the options say: a C stack has room for no more.
const DEPTH_MAX: usize = 2600;

pub(super) fn open(vm: &mut Vm) {
    let table = module(vm);
    let globals = vm.globals;
    vm.heap.set_field(globals, "cjson", Value::Table(table));
}

/// A table of the functions, with options of its own.
fn module(vm: &mut Vm) -> TableRef {
    let options = vm.heap.new_table(OPTIONS.len(), 0);
    for (place, value) in (1..).zip(OPTIONS) {
        vm.heap.set(options, Value::Number(f64::from(place)), Value::Number(value));
    }
    let table = vm.heap.new_table(0, 0);
    for (name, native) in FUNCTIONS {
        let function = vm.native(*native, &[Value::Table(options)]);
        vm.heap.set_field(table, name, function);
    }
    vm.heap.set_field(table, "null", Value::Null);
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        let text = vm.string(text.as_bytes());
        vm.heap.set_field(table, name, text);
    }
    table
}

fn new(vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    let table = module(vm);
    vm.give(Value::Table(table))
}

/// An option of the function that runs.
fn option(vm: &Vm, arguments: Arguments, setting: Setting) -> f64 {
    let Value::Table(options) = vm.own_value(arguments, 0) else { return 0.0 };
    match vm.heap.get(options, Value::Number(f64::from(setting as u8))) {
        Value::Number(value) => value,
        _ => 0.0,
    }
}

fn set_option(vm: &mut Vm, arguments: Arguments, setting: Setting, value: f64) {
    if let Value::Table(options) = vm.own_value(arguments, 0) {
        vm.heap.set(options, Value::Number(f64::from(setting as u8)), Value::Number(value));
    }
}

fn check_count(vm: &mut Vm, arguments: Arguments, max: usize) -> Result<()> {
    if arguments.count > max { Err(vm.argument_error(max, "found too many arguments")) } else { Ok(()) }
}

/// Sets a whole number, if it is given, and gives it.
fn integer_option(
    vm: &mut Vm,
    arguments: Arguments,
    index: usize,
    setting: Setting,
    (min, max): (i32, i32),
) -> Result<()> {
    if !vm.argument(arguments, index).is_nil() {
        let value = vm.integer_argument(arguments, index)? as i32;
        if !(min..=max).contains(&value) {
            let message = format!("expected integer between {min} and {max}");
            return Err(vm.argument_error(0, &message));
        }
        set_option(vm, arguments, setting, f64::from(value));
    }
    let value = option(vm, arguments, setting);
    vm.push(Value::Number(value));
    Ok(())
}

/// Sets one of several words, if it is given, and gives it; the first two stand for false and true.
fn word_option(
    vm: &mut Vm,
    arguments: Arguments,
    index: usize,
    setting: Setting,
    words: &[&str],
) -> Result<()> {
    match vm.argument(arguments, index) {
        Value::Nil => {}
        Value::Boolean(value) => set_option(vm, arguments, setting, f64::from(u8::from(value))),
        _ => {
            let word = vm.bytes_argument(arguments, index)?;
            let Some(place) = words.iter().position(|known| known.as_bytes() == word) else {
                return Err(vm.argument_error(index, super::base::invalid_option(&word)));
            };
            set_option(vm, arguments, setting, place as f64);
        }
    }
    let place = option(vm, arguments, setting) as usize;
    let shown = match place {
        0 | 1 => Value::Boolean(place == 1),
        place => vm.string(words.get(place).copied().unwrap_or_default().as_bytes()),
    };
    vm.push(shown);
    Ok(())
}

const ON_OFF: &[&str] = &["off", "on"];

fn encode_sparse_array(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    check_count(vm, arguments, 3)?;
    word_option(vm, arguments, 0, Setting::SparseConvert, ON_OFF)?;
    integer_option(vm, arguments, 1, Setting::SparseRatio, (0, i32::MAX))?;
    integer_option(vm, arguments, 2, Setting::SparseSafe, (0, i32::MAX))?;
    Ok(Flow::Return(3))
}

fn one_integer(vm: &mut Vm, arguments: Arguments, setting: Setting, limits: (i32, i32)) -> NativeResult {
    check_count(vm, arguments, 1)?;
    integer_option(vm, arguments, 0, setting, limits)?;
    Ok(Flow::Return(1))
}

fn one_word(vm: &mut Vm, arguments: Arguments, setting: Setting, words: &[&str]) -> NativeResult {
    check_count(vm, arguments, 1)?;
    word_option(vm, arguments, 0, setting, words)?;
    Ok(Flow::Return(1))
}

fn encode_max_depth(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    one_integer(vm, arguments, Setting::EncodeDepth, (1, i32::MAX))
}

fn decode_max_depth(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    one_integer(vm, arguments, Setting::DecodeDepth, (1, i32::MAX))
}

fn encode_number_precision(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    one_integer(vm, arguments, Setting::Precision, (1, 14))
}

fn encode_keep_buffer(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    one_word(vm, arguments, Setting::KeepBuffer, ON_OFF)
}

fn encode_invalid_numbers(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    one_word(vm, arguments, Setting::EncodeInvalid, &["off", "on", "null"])
}

fn decode_invalid_numbers(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    one_word(vm, arguments, Setting::DecodeInvalid, ON_OFF)
}
