//! The table `server`, called `redis` too: commands, replies, the log and the rest of what scripts ask of the server.

use sha1::{Digest, Sha1};

use super::super::replies::{self, until_nul};
use super::arguments::truncated;
use super::base::plain_text;
use super::{Functions, fill};
use crate::algorithms::numbers::format_f64;
use crate::scripting::host::{Host, replication};
use crate::scripting::lua::value::{Stop, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, Continue, Flow, NativeResult, Vm};

/// What scripts are told of the server's version.
#[derive(Debug, Clone, Copy)]
pub struct Versions<'a> {
    /// Of Redis, `7.2.4`.
    pub redis: &'a str,
    /// Of Valkey.
    pub valkey: &'a str,
    /// The server's name.
    pub name: &'a str,
}

const CALLS: &Functions = &[("call", call), ("pcall", pcall)];

const FUNCTIONS: &Functions = &[
    ("setresp", setresp),
    ("sha1hex", sha1hex),
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("set_repl", set_repl),
];

/// What EVAL's scripts have besides.
const EVAL_FUNCTIONS: &Functions =
    &[("breakpoint", breakpoint), ("debug", debug), ("replicate_commands", replicate_commands)];

const LEVELS: &[(&str, u8)] = &[("LOG_DEBUG", 0), ("LOG_VERBOSE", 1), ("LOG_NOTICE", 2), ("LOG_WARNING", 3)];

const REPLICATION: &[(&str, u8)] = &[
    ("REPL_NONE", replication::NONE),
    ("REPL_AOF", replication::AOF),
    ("REPL_SLAVE", replication::REPLICAS),
    ("REPL_REPLICA", replication::REPLICAS),
    ("REPL_ALL", replication::ALL),
];

/// Gives an interpreter the server's functions; gives their table.
pub(in crate::scripting) fn open(vm: &mut Vm, versions: Versions<'_>, eval: bool) -> TableRef {
    let table = vm.heap.new_table(0, 0);
    fill(vm, table, CALLS);
    add_log(vm, table);
    add_versions(vm, table, versions);
    fill(vm, table, FUNCTIONS);
    add_numbers(vm, table, REPLICATION);
    fill(vm, table, &[("acl_check_cmd", acl_check_cmd)]);
    let globals = vm.globals;
    let pcall = vm.native(protected_call, &[]);
    vm.heap.set_field(globals, "pcall", pcall);
    vm.heap.set_field(globals, "server", Value::Table(table));
    vm.heap.set_field(globals, "redis", Value::Table(table));
    vm.heap.set_field(globals, "debug", Value::Nil);
    if eval {
        fill(vm, table, EVAL_FUNCTIONS);
        let handler = vm.native(error_handler, &[]);
        for name in ["__server__err__handler", "__redis__err__handler"] {
            vm.heap.set_field(globals, name, handler);
        }
    }
    table
}

fn add_numbers(vm: &mut Vm, table: TableRef, numbers: &[(&str, u8)]) {
    for (name, number) in numbers {
        vm.heap.set_field(table, name, Value::Number(f64::from(*number)));
    }
}

/// The log and its levels.
pub(super) fn add_log(vm: &mut Vm, table: TableRef) {
    fill(vm, table, &[("log", log)]);
    add_numbers(vm, table, LEVELS);
}

/// What is told of the server.
pub(super) fn add_versions(vm: &mut Vm, table: TableRef, versions: Versions<'_>) {
    for (name, version) in [("REDIS_VERSION", versions.redis), ("VALKEY_VERSION", versions.valkey)] {
        vm.heap.set_field(table, &format!("{name}_NUM"), Value::Number(version_number(version)));
        let text = vm.string(version.as_bytes());
        vm.heap.set_field(table, name, text);
    }
    let name = vm.string(versions.name.as_bytes());
    vm.heap.set_field(table, "SERVER_NAME", name);
}

/// `7.2.4` as 0x070204.
fn version_number(version: &str) -> f64 {
    let mut parts = version.split('.').map(|part| part.parse::<u8>().unwrap_or(0));
    let mut next = || u32::from(parts.next().unwrap_or(0));
    f64::from(next() << 16 | next() << 8 | next())
}

/// Raises an error as the table that commands' errors are.
fn raise(vm: &mut Vm, message: &str) -> Stop {
    let error = replies::error_table(vm, message.as_bytes());
    vm.throw(error)
}

/// Fills the host's request with the arguments; what is wrong with them.
fn fill_request(vm: &Vm, host: &mut dyn Host, arguments: Arguments) -> Result<(), &'static str> {
    if arguments.count == 0 {
        return Err("Please specify at least one argument for this call");
    }
    let request = host.request();
    request.clear();
    for value in vm.arguments_from(arguments, 0) {
        match value {
            Value::String(string) => request.push(vm.heap.bytes_of(*string)),
            Value::Number(number) => request.push_with(|buffer| write_argument(buffer, *number)),
            _ => return Err("Command arguments must be strings or integers"),
        }
    }
    Ok(())
}

/// A number as commands read it: whole if it can be, and never with less precision than it has.
fn write_argument(buffer: &mut Vec<u8>, number: f64) {
    let whole = truncated(number);
    if number.abs() <= i64::MAX as f64 / 2.0 && whole as f64 == number {
        buffer.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else if number.is_nan() && number.is_sign_negative() {
        buffer.extend_from_slice(b"-nan");
    } else {
        buffer.extend_from_slice(format_f64(number).as_ref());
    }
}

fn run_command(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments, raises: bool) -> NativeResult {
    if let Err(message) = fill_request(vm, host, arguments) {
        let error = replies::error_table(vm, message.as_bytes());
        return if raises { Err(vm.throw(error)) } else { vm.give(error) };
    }
    host.run();
    let size = host.reply().len();
    vm.check_room(size.saturating_mul(2))?;
    vm.spend(10 + size / 64);
    let reply = replies::to_value(vm, host.reply());
    match reply {
        Err(error) if raises => Err(vm.throw(error)),
        Ok(value) | Err(value) => vm.give(value),
    }
}

fn call(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments) -> NativeResult {
    run_command(vm, host, arguments, true)
}

fn pcall(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments) -> NativeResult {
    run_command(vm, host, arguments, false)
}

fn acl_check_cmd(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if let Err(message) = fill_request(vm, host, arguments) {
        return Err(raise(vm, message));
    }
    match host.may_run() {
        Some(may) => vm.give(Value::Boolean(may)),
        None => Err(raise(vm, "Invalid command passed to server.acl_check_cmd()")),
    }
}

fn one_string(vm: &Vm, arguments: Arguments) -> Option<Vec<u8>> {
    let bytes = vm.bytes(vm.argument(arguments, 0)).map(<[u8]>::to_vec);
    bytes.filter(|_| arguments.count == 1)
}

fn error_reply(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let error = match one_string(vm, arguments) {
        None => replies::error_table(vm, b"wrong number or type of arguments"),
        Some(text) if text.first() == Some(&b'-') => replies::error_table(vm, &text),
        Some(text) => replies::error_table(vm, &[b"-", text.as_slice()].concat()),
    };
    vm.give(error)
}

fn status_reply(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if one_string(vm, arguments).is_none() {
        let error = replies::error_table(vm, b"wrong number or type of arguments");
        return vm.give(error);
    }
    let text = vm.argument(arguments, 0);
    let table = vm.heap.new_table(0, 1);
    vm.heap.set_field(table, "ok", text);
    vm.give(Value::Table(table))
}

/// SHA-1 in hexadecimal digits.
#[must_use]
pub fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    let mut digits = [0; 40];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(Sha1::digest(bytes)) {
        for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = b"0123456789abcdef"[usize::from(value)];
        }
    }
    digits
}

fn sha1hex(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count != 1 {
        return Err(raise(vm, "wrong number of arguments"));
    }
    let mut text = Vec::new();
    vm.write_text(&mut text, vm.argument(arguments, 0));
    vm.spend(text.len() / 256);
    let digest = vm.string(&sha1_hex(&text));
    vm.give(digest)
}

fn log(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count < 2 {
        return Err(raise(vm, "server.log() requires two arguments or more."));
    }
    let Some(level) = vm.to_number(vm.argument(arguments, 0)) else {
        return Err(raise(vm, "First argument must be a number (log level)."));
    };
    let Some(level) = u8::try_from(truncated(level)).ok().filter(|level| *level <= 3) else {
        return Err(raise(vm, "Invalid log level."));
    };
    let mut line = Vec::new();
    for (index, value) in vm.arguments_from(arguments, 1).iter().enumerate() {
        let is_text = matches!(value, Value::String(_) | Value::Number(_));
        match (index, is_text) {
            (0, true) => {}
            (0, false) => line.extend_from_slice(b"(null)"),
            (_, true) => line.push(b' '),
            (_, false) => {}
        }
        if is_text {
            line.extend_from_slice(until_nul(&plain_text(vm, *value)));
        }
    }
    host.log(level, &line);
    Ok(Flow::Return(0))
}

fn setresp(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count != 1 {
        return Err(raise(vm, "server.setresp() requires one argument."));
    }
    match truncated(vm.to_number(vm.argument(arguments, 0)).unwrap_or(0.0)) {
        version @ 2..=3 => {
            host.set_resp3(version == 3);
            Ok(Flow::Return(0))
        }
        _ => Err(raise(vm, "RESP version must be 2 or 3.")),
    }
}

fn set_repl(vm: &mut Vm, host: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count != 1 {
        return Err(raise(vm, "server.set_repl() requires one argument."));
    }
    let flags = truncated(vm.to_number(vm.argument(arguments, 0)).unwrap_or(0.0));
    match u8::try_from(flags).ok().filter(|flags| *flags <= replication::ALL) {
        Some(targets) => {
            host.set_replication(targets);
            Ok(Flow::Return(0))
        }
        None => {
            Err(raise(vm, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."))
        }
    }
}

fn replicate_commands(vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    vm.give(Value::Boolean(true))
}

/// There is no debugger.
fn breakpoint(vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    vm.give(Value::Boolean(false))
}

fn debug(_: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    Ok(Flow::Return(0))
}

/// Makes a table of an error that is none, with the place it comes from.
fn error_handler(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let error = vm.argument(arguments, 0);
    let table = match error {
        Value::Table(table) => table,
        other => {
            let text = [b"ERR ".as_slice(), &plain_text(vm, other)].concat();
            let table = vm.heap.new_table(0, 3);
            let text = vm.string(&text);
            vm.heap.set_field(table, "err", text);
            table
        }
    };
    let place = match vm.innermost_place() {
        // Valkey's handler is a function of the language: who called it so has no place any more.
        _ if vm.is_tail_called() => Some((vm.string(b"=(tail call)"), -1.0)),
        Some((chunk, line)) => Some((Value::String(chunk), f64::from(line))),
        None => None,
    };
    if let Some((source, line)) = place {
        vm.heap.set_field(table, "source", source);
        vm.heap.set_field(table, "line", Value::Number(line));
    }
    vm.give(Value::Table(table))
}

/// `pcall`, which gives the text of an error that is a table with one (as before errors were tables).
#[derive(Debug)]
struct ProtectedCall;

impl Continue for ProtectedCall {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        vm.insert(results, Value::Boolean(true));
        Ok(Flow::Return(results.count + 1))
    }

    fn catch(self: Box<Self>, vm: &mut Vm, error: Value) -> Option<NativeResult> {
        let text = match error {
            Value::Table(table) => vm.heap.get_field(table, "err"),
            _ => Value::Nil,
        };
        vm.push(Value::Boolean(false));
        if matches!(text, Value::String(_) | Value::Number(_)) {
            vm.push(text);
            return Some(Ok(Flow::Return(2)));
        }
        vm.push(error);
        if !matches!(error, Value::Table(_)) {
            return Some(Ok(Flow::Return(2)));
        }
        // What was looked for in the table stays there.
        vm.push(text);
        Some(Ok(Flow::Return(3)))
    }
}

fn protected_call(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count == 0 {
        // Valkey's own function stands there then.
        vm.push(Value::Boolean(false));
        let message = vm.string(b"attempt to call a boolean value");
        vm.push(message);
        return Ok(Flow::Return(2));
    }
    Ok(Flow::Call(arguments.count - 1, Box::new(ProtectedCall)))
}
