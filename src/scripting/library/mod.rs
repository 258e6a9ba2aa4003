//! The libraries of scripts: the language's own, and those that Valkey adds.
//!
//! Tables are filled in the order in which Valkey fills them, and begin with the room that it gives them: that decides over
//! the order of `pairs`. Every function is bounded in time and memory by what it is given, or counts its work and can be paused.

mod api;
mod arguments;
mod base;
mod bits;
mod cjson;
mod cmsgpack;
mod coroutine;
mod functions;
mod math;
mod os;
mod strings;
mod structs;
mod tables;

pub use api::{Versions, sha1_hex};
pub(super) use arguments::truncated;
pub use functions::{FunctionTables, Registration, load_library, open_for_functions};

use super::host::Host;
use super::lua::value::{TableRef, Value};
use super::lua::vm::{Arguments, NativeResult};
use super::lua::vm::{Native, Vm};
use super::replies::{self, until_nul};
use crate::resp::Reply;

/// A library: its functions by name.
type Functions = [(&'static str, Native)];

/// Makes the functions the fields of a table.
fn fill(vm: &mut Vm, table: TableRef, functions: &Functions) {
    for (name, native) in functions {
        let function = vm.native(*native, &[]);
        vm.heap.set_field(table, name, function);
    }
}

/// A global table of functions.
fn register(vm: &mut Vm, name: &str, functions: &Functions) -> TableRef {
    let table = vm.heap.new_table(0, functions.len());
    fill(vm, table, functions);
    let globals = vm.globals;
    vm.heap.set_field(globals, name, Value::Table(table));
    table
}

/// Gives an interpreter all libraries but the server's own, and the functions that were withdrawn as unsafe if it is to be
/// `insecure`.
pub(super) fn open(vm: &mut Vm, insecure: bool) {
    base::open(vm, insecure);
    coroutine::open(vm);
    tables::open(vm);
    strings::open(vm);
    math::open(vm);
    // Nobody has it; a name keeps its place.
    let globals = vm.globals;
    vm.heap.set_field(globals, "debug", Value::Boolean(false));
    os::open(vm);
    cjson::open(vm);
    structs::open(vm);
    cmsgpack::open(vm);
    bits::open(vm);
}

/// Gives an interpreter all that scripts of EVAL have, and protects it.
pub fn open_for_eval(vm: &mut Vm, versions: Versions<'_>, insecure: bool) {
    open(vm, insecure);
    api::open(vm, versions, true);
    protect_globals(vm);
}

/// Makes every library read-only, and the use of a global variable that is not there an error.
fn protect_globals(vm: &mut Vm) {
    let globals = vm.globals;
    let metatable = vm.heap.new_table(0, 1);
    let handler = vm.native(nonexistent_global, &[]);
    vm.heap.set_field(metatable, "__index", handler);
    vm.heap.set_metatable(globals, Some(metatable));
    let mut waiting = vec![globals];
    waiting.extend(vm.string_metatable);
    while let Some(table) = waiting.pop() {
        if vm.heap.table(table).readonly {
            continue;
        }
        vm.heap.make_readonly(table);
        waiting.extend(vm.heap.table(table).metatable);
        let mut key = Value::Nil;
        while let Ok(Some((next, value))) = vm.heap.next(table, key) {
            if let Value::Table(inner) = value {
                waiting.push(inner);
            }
            key = next;
        }
    }
}

fn nonexistent_global(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count != 2 {
        return Err(vm.error(b"Wrong number of arguments to luaProtectedTableError"));
    }
    let mut name = Vec::new();
    match vm.argument(arguments, 1) {
        value @ (Value::String(_) | Value::Number(_)) => vm.write_text(&mut name, value),
        _ => {
            return Err(vm.error(b"Second argument to luaProtectedTableError must be a string or number"));
        }
    }
    let message =
        [b"Script attempted to access nonexistent global variable '", name.as_slice(), b"'"].concat();
    Err(vm.error(&message))
}

/// Sets `KEYS` and `ARGV`.
pub fn set_script_arguments(vm: &mut Vm, keys: Value, arguments: Value) {
    let globals = vm.globals;
    vm.heap.set_field(globals, "KEYS", keys);
    vm.heap.set_field(globals, "ARGV", arguments);
}

/// The code that an error is counted by: its first word, if that ends soon (as [`crate::resp::CommandError::code`] has it).
fn code_of(text: &[u8]) -> String {
    const LONGEST: usize = 31;
    let head = text.get(..LONGEST).unwrap_or(text);
    match head.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')) {
        Some(end) => String::from_utf8_lossy(&head[..end]).into_owned(),
        None => "ERR".to_owned(),
    }
}

/// Writes what a script returned as a reply; the codes of errors that are to be counted go to `errors`. Gives how many
/// failures of the command there were in it: all errors that are to be counted are one, each other one is one.
pub fn write_result(vm: &Vm, reply: &mut Reply, resp3: bool, errors: &mut Vec<String>) -> u64 {
    let value = vm.results().first().copied().unwrap_or_default();
    let mut counted_before = 0;
    replies::write_value(vm, reply, value, resp3, &mut |text, counts| match counts {
        true => errors.push(code_of(text)),
        false => counted_before += 1,
    });
    counted_before + u64::from(!errors.is_empty())
}

/// A field of a table, or of the tables that stand behind it: functions that would look it up are not run any more.
fn inherited_field(vm: &Vm, mut table: TableRef, name: &str) -> Value {
    for _ in 0..INHERITED_MAX {
        let value = vm.heap.get_field(table, name);
        match vm.metamethod(Value::Table(table), vm.events.index) {
            Value::Table(behind) if value.is_nil() => table = behind,
            _ => return value,
        }
    }
    Value::Nil
}

/// Tables that may stand behind each other (Lua: `MAXTAGLOOP`).
const INHERITED_MAX: usize = 100;

/// The text of the error that ended a script, and whether it is to be counted.
fn thrown_text(vm: &Vm) -> (Vec<u8>, bool) {
    match vm.thrown() {
        Value::Table(table) => {
            let text = match inherited_field(vm, table, "err") {
                text @ (Value::String(_) | Value::Number(_)) => base::plain_text(vm, text),
                _ => b"ERR unknown error".to_vec(),
            };
            (text, vm.heap.get_field(table, "ignore_error_stats_update") != Value::Boolean(true))
        }
        other => ([b"ERR ".as_slice(), &base::plain_text(vm, other)].concat(), true),
    }
}

/// Writes the error that ended a script.
pub fn write_failure(vm: &Vm, reply: &mut Reply, errors: &mut Vec<String>) {
    let (mut text, counted) = thrown_text(vm);
    text.truncate(until_nul(&text).len());
    let text = with_place(vm, text);
    if counted {
        errors.push(code_of(&text));
    }
    reply.error(&text);
}

/// Writes the error of a script that was killed.
pub fn write_killed(vm: &Vm, reply: &mut Reply, text: &str, errors: &mut Vec<String>) {
    errors.push(code_of(text.as_bytes()));
    reply.error(&with_place(vm, text.as_bytes().to_vec()));
}

fn with_place(vm: &Vm, mut text: Vec<u8>) -> Vec<u8> {
    if let Some((chunk, line)) = vm.thrown_at() {
        text.extend_from_slice(b" script: on ");
        text.extend_from_slice(until_nul(chunk));
        text.extend_from_slice(format!(":{line}.").as_bytes());
    }
    text
}
