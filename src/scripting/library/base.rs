//! The functions every script has without a library's name.

use crate::scripting::host::Host;
use crate::scripting::lua::collector::{Marker, STEP_UNITS};
use crate::scripting::lua::value::{Result, Value};
use crate::scripting::lua::vm::{
    Arguments, Continue, Flow, IN_HANDLING, Native, NativeResult, RESULTS_MAX, Vm,
};
use crate::scripting::replies::until_nul;

/// A function's name, and the function unless scripts must not have it: its name then only takes a place.
const FUNCTIONS: &[(&str, Option<Native>)] = &[
    ("assert", Some(assert)),
    ("collectgarbage", Some(collectgarbage)),
    ("dofile", None),
    ("error", Some(error)),
    ("gcinfo", Some(gcinfo)),
    ("getfenv", Some(getfenv)),
    ("getmetatable", Some(getmetatable)),
    ("loadfile", None),
    ("load", Some(load)),
    ("loadstring", Some(loadstring)),
    ("next", Some(next)),
    ("pcall", Some(pcall)),
    ("print", None),
    ("rawequal", Some(rawequal)),
    ("rawget", Some(rawget)),
    ("rawset", Some(rawset)),
    ("select", Some(select)),
    ("setfenv", Some(setfenv)),
    ("setmetatable", Some(setmetatable)),
    ("tonumber", Some(tonumber)),
    ("tostring", Some(tostring)),
    ("type", Some(type_of)),
    ("unpack", Some(unpack)),
    ("xpcall", Some(xpcall)),
];

/// Those that were withdrawn as unsafe.
const INSECURE: &[&str] = &["getfenv", "newproxy", "setfenv"];

pub(super) fn open(vm: &mut Vm, insecure: bool) {
    let globals = vm.globals;
    vm.heap.set_field(globals, "_G", Value::Table(globals));
    let add = |vm: &mut Vm, name, native: Option<Native>, values: &[Value]| {
        let native = native.filter(|_| insecure || !INSECURE.contains(&name));
        let value = native.map_or(Value::Nil, |native| vm.native(native, values));
        vm.heap.set_field(globals, name, value);
    };
    for (name, native) in FUNCTIONS {
        add(vm, name, *native, &[]);
    }
    let version = vm.string(b"Lua 5.1");
    vm.heap.set_field(globals, "_VERSION", version);
    // The iterators that `pairs` and `ipairs` hand out.
    let step = vm.native(ipairs_step, &[]);
    add(vm, "ipairs", Some(ipairs), &[step]);
    let next = vm.heap.get_field(globals, "next");
    vm.set_iterators(next, step);
    add(vm, "pairs", Some(pairs), &[next]);
    add(vm, "newproxy", Some(newproxy), &[]);
}

fn assert(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if vm.any_argument(arguments, 0)?.is_true() {
        return Ok(Flow::Return(arguments.count));
    }
    let message = match vm.argument(arguments, 1) {
        Value::Nil => b"assertion failed!".to_vec(),
        _ => vm.bytes_argument(arguments, 1)?,
    };
    // Lua formats the message as `%s`, and adds no place.
    Err(vm.error(until_nul(&message)))
}

/// `collectgarbage` until the collector is done.
#[derive(Debug)]
struct Collection {
    cycles: usize,
}

impl Collection {
    fn go_on(mut self: Box<Self>, vm: &mut Vm) -> NativeResult {
        while self.cycles > 0 {
            vm.collect_some(STEP_UNITS);
            if vm.heap.is_collecting() {
                return Ok(Flow::Wait(self));
            }
            self.cycles -= 1;
        }
        vm.give(Value::Number(0.0))
    }
}

impl Continue for Collection {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
        self.go_on(vm)
    }
}

fn collectgarbage(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let option = match vm.argument(arguments, 0) {
        Value::Nil => b"collect".to_vec(),
        _ => vm.bytes_argument(arguments, 0)?,
    };
    vm.integer_or(arguments, 1, 0)?;
    let value = match option.as_slice() {
        b"collect" => {
            // What is under way may have begun before something became garbage.
            let cycles = 1 + usize::from(vm.heap.is_collecting());
            return Box::new(Collection { cycles }).go_on(vm);
        }
        b"count" => Value::Number(vm.heap.bytes() as f64 / 1024.0),
        b"step" => {
            vm.collect_some(STEP_UNITS);
            Value::Boolean(!vm.heap.is_collecting())
        }
        b"stop" | b"restart" => Value::Number(0.0),
        b"setpause" | b"setstepmul" => Value::Number(200.0),
        other => {
            let message = invalid_option(other);
            return Err(vm.argument_error(0, message));
        }
    };
    vm.give(value)
}

/// What is said of a word that is none of those that may stand there.
pub(super) fn invalid_option(word: &[u8]) -> Vec<u8> {
    [b"invalid option '", until_nul(word), b"'"].concat()
}

fn gcinfo(vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    let kilobytes = vm.heap.bytes() / 1024;
    vm.give(Value::Number(kilobytes as f64))
}

fn error(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let level = vm.integer_or(arguments, 1, 1)? as i32;
    let value = vm.argument(arguments, 0);
    // Lua takes numbers for strings here.
    if let (true, Value::String(_) | Value::Number(_)) = (level > 0, value) {
        let mut text = vm.place(usize::try_from(level).unwrap_or(usize::MAX));
        vm.write_text(&mut text, value);
        return Err(vm.plain_error(&text));
    }
    Err(vm.throw(value))
}

fn getmetatable(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let value = vm.any_argument(arguments, 0)?;
    let Some(metatable) = vm.metatable_of(value) else { return vm.give(Value::Nil) };
    let shown = vm.metamethod(value, vm.events.metatable);
    vm.give(if shown.is_nil() { Value::Table(metatable) } else { shown })
}

fn setmetatable(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let metatable = match vm.argument(arguments, 1) {
        Value::Nil if arguments.count > 1 => None,
        Value::Table(metatable) => Some(metatable),
        _ => return Err(vm.argument_error(1, "nil or table expected")),
    };
    if !vm.metamethod(Value::Table(table), vm.events.metatable).is_nil() {
        return Err(vm.error(b"cannot change a protected metatable"));
    }
    vm.check_writable(table)?;
    vm.heap.set_metatable(table, metatable);
    vm.give(Value::Table(table))
}

fn ipairs(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let step = vm.own_value(arguments, 0);
    vm.push(step);
    vm.push(Value::Table(table));
    vm.push(Value::Number(0.0));
    Ok(Flow::Return(3))
}

fn ipairs_step(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let next = (vm.integer_argument(arguments, 1)? as i32).wrapping_add(1);
    let table = vm.table_argument(arguments, 0)?;
    let value = vm.heap.get(table, Value::Number(f64::from(next)));
    if value.is_nil() {
        return Ok(Flow::Return(0));
    }
    vm.push(Value::Number(f64::from(next)));
    vm.push(value);
    Ok(Flow::Return(2))
}

fn next(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    match vm.heap.next(table, vm.argument(arguments, 1)) {
        Ok(Some((key, value))) => {
            vm.push(key);
            vm.push(value);
            Ok(Flow::Return(2))
        }
        Ok(None) => vm.give(Value::Nil),
        Err(_) => Err(vm.plain_error(b"invalid key to 'next'")),
    }
}

fn pairs(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let next = vm.own_value(arguments, 0);
    vm.push(next);
    vm.push(Value::Table(table));
    vm.push(Value::Nil);
    Ok(Flow::Return(3))
}

/// `pcall` while its function runs.
#[derive(Debug)]
struct ProtectedCall;

impl Continue for ProtectedCall {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        vm.insert(results, Value::Boolean(true));
        Ok(Flow::Return(results.count + 1))
    }

    fn catch(self: Box<Self>, vm: &mut Vm, error: Value) -> Option<NativeResult> {
        vm.push(Value::Boolean(false));
        vm.push(error);
        Some(Ok(Flow::Return(2)))
    }
}

fn pcall(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    vm.any_argument(arguments, 0)?;
    Ok(Flow::Call(arguments.count - 1, Box::new(ProtectedCall)))
}

/// `xpcall` while its function runs, and then while its handler does.
#[derive(Debug)]
struct HandledCall {
    handler: Value,
    /// Errors that the handler was given.
    handled: usize,
}

impl Continue for HandledCall {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        // A handler gives one value.
        if self.handled > 0 {
            let value = vm.take_result(results);
            vm.push(Value::Boolean(false));
            vm.push(value);
            return Ok(Flow::Return(2));
        }
        vm.insert(results, Value::Boolean(true));
        Ok(Flow::Return(results.count + 1))
    }

    /// An error within the handler is handed to the handler in turn.
    fn catch(self: Box<Self>, vm: &mut Vm, error: Value) -> Option<NativeResult> {
        let next = Self { handler: self.handler, handled: self.handled + 1 };
        if !vm.has_room_for_handler(next.nesting()) || !matches!(self.handler, Value::Function(_)) {
            vm.push(Value::Boolean(false));
            let text = vm.string(IN_HANDLING);
            vm.push(text);
            return Some(Ok(Flow::Return(2)));
        }
        vm.push(self.handler);
        vm.push(error);
        Some(Ok(Flow::Call(1, Box::new(next))))
    }

    /// Lua runs a handler where the error is, within all that was under way.
    fn nesting(&self) -> usize {
        1 + self.handled
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark(self.handler);
    }
}

fn xpcall(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    vm.any_argument(arguments, 1)?;
    let (function, handler) = (vm.argument(arguments, 0), vm.argument(arguments, 1));
    vm.push(function);
    Ok(Flow::Call(0, Box::new(HandledCall { handler, handled: 0 })))
}

fn rawequal(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let left = vm.any_argument(arguments, 0)?;
    let right = vm.any_argument(arguments, 1)?;
    let same = vm.raw_equal(left, right);
    vm.give(Value::Boolean(same))
}

fn rawget(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let key = vm.any_argument(arguments, 1)?;
    let value = vm.heap.get(table, key);
    vm.give(value)
}

fn rawset(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let key = vm.any_argument(arguments, 1)?;
    let value = vm.any_argument(arguments, 2)?;
    vm.check_writable(table)?;
    vm.set_raw(table, key, value)?;
    vm.give(Value::Table(table))
}

fn select(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if vm.bytes(vm.argument(arguments, 0)).is_some_and(|text| text.first() == Some(&b'#')) {
        return vm.give(Value::Number(arguments.count as f64 - 1.0));
    }
    let wanted = i64::from(vm.integer_argument(arguments, 0)? as i32);
    let count = arguments.count as i64;
    let first = if wanted < 0 { count + wanted } else { wanted.min(count) };
    if first < 1 {
        return Err(vm.argument_error(0, "index out of range"));
    }
    Ok(Flow::Return(usize::try_from(count - first).unwrap_or(0)))
}

fn tonumber(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let base = vm.integer_or(arguments, 1, 10)? as i32;
    if base == 10 {
        let value = vm.any_argument(arguments, 0)?;
        let number = vm.to_number(value).map_or(Value::Nil, Value::Number);
        return vm.give(number);
    }
    let text = vm.bytes_argument(arguments, 0)?;
    if !(2..=36).contains(&base) {
        return Err(vm.argument_error(1, "base out of range"));
    }
    let number = parse_with_base(&text, base as u64).map_or(Value::Nil, Value::Number);
    vm.give(number)
}

/// As C's `strtoul` reads it: blanks, a sign, for base 16 a prefix; then nothing but blanks.
fn parse_with_base(text: &[u8], base: u64) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = text[..end].trim_ascii();
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let text = match text {
        [b'0', b'x' | b'X', rest @ ..] if base == 16 && !rest.is_empty() => rest,
        text => text,
    };
    let mut value = Some(0_u64);
    for byte in text {
        let digit = char::from(*byte).to_digit(36).map(u64::from).filter(|digit| *digit < base)?;
        value = value.and_then(|value| value.checked_mul(base)?.checked_add(digit));
    }
    if text.is_empty() {
        return None;
    }
    // What does not fit is the largest one, and a sign wraps around.
    let value = value.map_or(u64::MAX, |value| if negative { value.wrapping_neg() } else { value });
    Some(value as f64)
}

/// The result of `__tostring`.
#[derive(Debug)]
struct GivenText;

impl Continue for GivenText {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        let value = vm.take_result(results);
        vm.give(value)
    }
}

fn tostring(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let value = vm.any_argument(arguments, 0)?;
    let handler = vm.metamethod(value, vm.events.tostring);
    if !handler.is_nil() {
        vm.push(handler);
        vm.push(value);
        return Ok(Flow::Call(1, Box::new(GivenText)));
    }
    if let Value::String(_) = value {
        return vm.give(value);
    }
    let text = plain_text(vm, value);
    let text = vm.string(&text);
    vm.give(text)
}

/// What `tostring` makes of a value whose metatable says nothing.
pub(super) fn plain_text(vm: &Vm, value: Value) -> Vec<u8> {
    match value {
        Value::Nil | Value::Cell(_) => b"nil".to_vec(),
        Value::Boolean(value) => value.to_string().into_bytes(),
        Value::String(_) | Value::Number(_) => {
            let mut text = Vec::new();
            vm.write_text(&mut text, value);
            text
        }
        Value::Null => b"userdata: (nil)".to_vec(),
        object => format!("{}: 0x{:014x}", object.type_name(), object.identity()).into_bytes(),
    }
}

fn type_of(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let name = vm.any_argument(arguments, 0)?.type_name();
    let name = vm.string(name.as_bytes());
    vm.give(name)
}

fn unpack(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 0)?;
    let first = vm.integer_or(arguments, 1, 1)? as i32;
    let last = match vm.argument(arguments, 2) {
        Value::Nil => vm.heap.length(table) as i64,
        _ => vm.integer_argument(arguments, 2)?,
    } as i32;
    if first > last {
        return Ok(Flow::Return(0));
    }
    let count = i64::from(last) - i64::from(first) + 1;
    let Some(count) = usize::try_from(count).ok().filter(|count| count + arguments.count <= RESULTS_MAX)
    else {
        return Err(vm.error(b"too many results to unpack"));
    };
    vm.spend(count / 8);
    for index in 0..count as i64 {
        let value = vm.heap.get(table, Value::Number((i64::from(first) + index) as f64));
        vm.push(value);
    }
    Ok(Flow::Return(count))
}

/// Makes source text a function; nil and a message where it is wrong.
fn load_source(vm: &mut Vm, source: &[u8], chunk: &[u8]) -> NativeResult {
    vm.spend(source.len() / 64);
    vm.check_room(source.len().saturating_mul(16))?;
    match vm.compile(source, chunk) {
        Ok(function) => vm.give(Value::Function(function)),
        Err(message) => {
            vm.push(Value::Nil);
            let message = vm.string(&message);
            vm.push(message);
            Ok(Flow::Return(2))
        }
    }
}

fn loadstring(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let source = vm.bytes_argument(arguments, 0)?;
    let chunk = match vm.argument(arguments, 1) {
        Value::Nil => source.clone(),
        _ => vm.bytes_argument(arguments, 1)?,
    };
    load_source(vm, &source, until_nul(&chunk))
}

/// `load` while it asks its function for pieces.
#[derive(Debug)]
struct Pieces {
    reader: Value,
    chunk: Vec<u8>,
    source: Vec<u8>,
}

impl Pieces {
    fn ask(self, vm: &mut Vm) -> NativeResult {
        vm.push(self.reader);
        Ok(Flow::Call(0, Box::new(self)))
    }
}

impl Continue for Pieces {
    fn resume(mut self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        let piece = vm.take_result(results);
        let before = self.source.len();
        match piece {
            Value::String(_) | Value::Number(_) => {
                vm.write_text(&mut self.source, piece);
                vm.check_room(self.source.len())?;
                if self.source.len() > before {
                    return self.ask(vm);
                }
                load_source(vm, &self.source, &self.chunk)
            }
            Value::Nil => load_source(vm, &self.source, &self.chunk),
            _ => {
                let message = [vm.place(1).as_slice(), b"reader function must return a string"].concat();
                vm.push(Value::Nil);
                let message = vm.string(&message);
                vm.push(message);
                Ok(Flow::Return(2))
            }
        }
    }

    fn catch(self: Box<Self>, vm: &mut Vm, error: Value) -> Option<NativeResult> {
        vm.push(Value::Nil);
        vm.push(error);
        Some(Ok(Flow::Return(2)))
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark(self.reader);
    }
}

fn load(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let reader = vm.function_argument(arguments, 0)?;
    let chunk = load_chunk_name(vm, arguments)?;
    Pieces { reader, chunk, source: Vec::new() }.ask(vm)
}

fn load_chunk_name(vm: &mut Vm, arguments: Arguments) -> Result<Vec<u8>> {
    match vm.argument(arguments, 1) {
        Value::Nil => Ok(b"=(load)".to_vec()),
        _ => Ok(until_nul(&vm.bytes_argument(arguments, 1)?).to_vec()),
    }
}

/// The function that is meant: itself, or the one that many calls up; `None` for the whole program.
fn function_at(vm: &mut Vm, arguments: Arguments, default: i64) -> Result<Option<Value>> {
    if let function @ Value::Function(_) = vm.argument(arguments, 0) {
        return Ok(Some(function));
    }
    let level = vm.integer_or(arguments, 0, default)? as i32;
    match usize::try_from(level) {
        Err(_) => Err(vm.argument_error(0, "level must be non-negative")),
        Ok(0) => Ok(None),
        Ok(level) => match vm.function_of_level(level) {
            Some(function) => Ok(Some(function)),
            None => Err(vm.argument_error(0, "invalid level")),
        },
    }
}

fn getfenv(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let function = function_at(vm, arguments, 1)?;
    let globals = vm.globals_of(function);
    vm.give(Value::Table(globals))
}

fn setfenv(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let table = vm.table_argument(arguments, 1)?;
    match function_at(vm, arguments, 1)? {
        Some(function) if vm.set_globals_of(function, table) => vm.give(function),
        Some(_) => Err(vm.error(b"'setfenv' cannot change environment of given object")),
        None => {
            vm.globals = table;
            Ok(Flow::Return(0))
        }
    }
}

/// Userdata are not to be had: a table stands for one, with a metatable if that is asked for.
fn newproxy(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let proxy = vm.heap.new_table(0, 0);
    let metatable = match vm.argument(arguments, 0) {
        Value::Boolean(true) => Some(vm.heap.new_table(0, 0)),
        Value::Table(other) => vm.heap.table(other).metatable,
        _ => None,
    };
    vm.heap.set_metatable(proxy, metatable);
    vm.give(Value::Table(proxy))
}
