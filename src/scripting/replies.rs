//! Replies of commands as values of scripts, and values of scripts as replies.

use super::lua::value::{TableRef, Value};
use super::lua::vm::Vm;
use crate::algorithms::numbers::{parse_f64, parse_i64};
use crate::resp::Reply;

/// Tables within tables that a reply may have.
const DEPTH_MAX: usize = 2600;

/// The table that stands for an error. `text` begins with `-` and the error's code, or is a message without one.
pub(super) fn error_table(vm: &mut Vm, text: &[u8]) -> Value {
    let text = until_nul(text);
    let text = match text.strip_prefix(b"-") {
        Some(coded) => match coded.iter().position(|byte| *byte == b' ') {
            Some(end) => [&coded[..end], b" ", trim_line_ends(&coded[end + 1..])].concat(),
            None => [b"ERR ", coded].concat(),
        },
        None => [b"ERR ", trim_line_ends(text)].concat(),
    };
    let table = vm.heap.new_table(0, 0);
    let text = vm.string(&text);
    vm.heap.set_field(table, "err", text);
    Value::Table(table)
}

fn trim_line_ends(text: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_end(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// What a reply is to a script; an error apart.
pub(super) fn to_value(vm: &mut Vm, reply: &[u8]) -> Result<Value, Value> {
    let mut reader = Reader { rest: reply };
    match reader.rest.split_first() {
        Some((b'-', text)) => {
            let end = memchr::memchr(b'\r', text).unwrap_or(text.len());
            let error = error_table(vm, &reply[..=end]);
            if let Value::Table(table) = error {
                vm.heap.set_field(table, "ignore_error_stats_update", Value::Boolean(true));
            }
            Err(error)
        }
        _ => Ok(reader.value(vm, 0)),
    }
}

/// Reads replies of our own making.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let part = self.rest.get(..length).unwrap_or_default();
        self.rest = self.rest.get(length + 2..).unwrap_or_default();
        part
    }

    fn value(&mut self, vm: &mut Vm, depth: usize) -> Value {
        let line = self.line();
        let Some((mark, text)) = line.split_first() else { return Value::Nil };
        let count = || parse_i64(text).and_then(|count| usize::try_from(count).ok());
        match mark {
            b'$' => match count() {
                Some(length) => {
                    let bytes = self.take(length);
                    vm.string(bytes)
                }
                None => Value::Boolean(false),
            },
            b':' => Value::Number(parse_i64(text).unwrap_or(0) as f64),
            b'+' => vm.table_with("ok", text),
            b'-' => error_table(vm, line),
            b'*' | b'>' => match count() {
                Some(count) if depth < DEPTH_MAX => self.array(vm, count, depth),
                _ => Value::Boolean(false),
            },
            b'%' => self.map(vm, count().unwrap_or(0), depth),
            b'~' => self.set(vm, count().unwrap_or(0), depth),
            b'#' => Value::Boolean(text == b"t"),
            b',' => {
                let table = vm.heap.new_table(0, 0);
                let number = parse_f64(text).unwrap_or(f64::NAN);
                vm.heap.set_field(table, "double", Value::Number(number));
                Value::Table(table)
            }
            b'(' => vm.table_with("big_number", text),
            b'=' => self.verbatim(vm, count().unwrap_or(0)),
            b'|' => {
                // What is said about the value is not for scripts.
                for _ in 0..count().unwrap_or(0) * 2 {
                    self.value(vm, depth + 1);
                }
                self.value(vm, depth)
            }
            _ => Value::Nil,
        }
    }

    fn array(&mut self, vm: &mut Vm, count: usize, depth: usize) -> Value {
        let table = vm.heap.new_table(count.min(self.rest.len()), 0);
        for index in 1..=count {
            let value = self.value(vm, depth + 1);
            vm.heap.set(table, Value::Number(index as f64), value);
        }
        Value::Table(table)
    }

    fn map(&mut self, vm: &mut Vm, pairs: usize, depth: usize) -> Value {
        // The room decides over the order of keys.
        let inner = vm.heap.new_table(0, pairs.min(self.rest.len()));
        for _ in 0..pairs {
            let key = self.value(vm, depth + 1);
            let value = self.value(vm, depth + 1);
            set_if_key(vm, inner, key, value);
        }
        wrapped(vm, "map", inner)
    }

    fn set(&mut self, vm: &mut Vm, count: usize, depth: usize) -> Value {
        let inner = vm.heap.new_table(0, count.min(self.rest.len()));
        for _ in 0..count {
            let member = self.value(vm, depth + 1);
            set_if_key(vm, inner, member, Value::Boolean(true));
        }
        wrapped(vm, "set", inner)
    }

    fn verbatim(&mut self, vm: &mut Vm, length: usize) -> Value {
        let bytes = self.take(length);
        let inner = vm.heap.new_table(0, 0);
        let text = vm.string(bytes.get(4..).unwrap_or_default());
        vm.heap.set_field(inner, "string", text);
        let format = vm.string(bytes.get(..3).unwrap_or_default());
        vm.heap.set_field(inner, "format", format);
        wrapped(vm, "verbatim_string", inner)
    }
}

/// What C takes for the whole text.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

fn set_if_key(vm: &mut Vm, table: TableRef, key: Value, value: Value) {
    if !key.is_nil() && key != Value::Number(f64::NAN) {
        vm.heap.set(table, key, value);
    }
}

fn wrapped(vm: &mut Vm, name: &str, inner: TableRef) -> Value {
    let table = vm.heap.new_table(0, 0);
    vm.heap.set_field(table, name, Value::Table(inner));
    Value::Table(table)
}

impl Vm {
    fn table_with(&mut self, name: &str, text: &[u8]) -> Value {
        let table = self.heap.new_table(0, 0);
        let text = self.string(text);
        self.heap.set_field(table, name, text);
        Value::Table(table)
    }

    fn text_field(&self, table: TableRef, name: &str) -> Option<&[u8]> {
        self.bytes(self.heap.get_field(table, name))
    }
}

/// Writes a value as a reply. `resp3` is what the script has chosen (`setresp`), which decides over booleans; the
/// reply's own protocol decides over the rest. `on_error` is told of each error's text, and whether it is yet to be counted.
pub(super) fn write_value(
    vm: &Vm,
    reply: &mut Reply,
    value: Value,
    resp3: bool,
    on_error: &mut dyn FnMut(&[u8], bool),
) {
    write(vm, reply, value, resp3, on_error, 0);
}

fn write(
    vm: &Vm,
    reply: &mut Reply,
    value: Value,
    resp3: bool,
    on_error: &mut dyn FnMut(&[u8], bool),
    depth: usize,
) {
    if depth > DEPTH_MAX {
        return reply.error(b"ERR reached lua stack limit");
    }
    match value {
        Value::String(string) => reply.bulk(vm.heap.bytes_of(string)),
        Value::Boolean(value) if resp3 => reply.bool(value),
        Value::Boolean(true) => reply.int(1),
        Value::Number(number) => reply.int(super::library::truncated(number)),
        Value::Table(table) => {
            if !write_typed(vm, reply, table, resp3, on_error, depth) {
                let length = reply.deferred();
                let mut count = 0;
                loop {
                    let item = vm.heap.get(table, Value::Number(f64::from(count) + 1.0));
                    if item.is_nil() {
                        break;
                    }
                    write(vm, reply, item, resp3, on_error, depth + 1);
                    count += 1;
                }
                reply.set_array(length, count as usize);
            }
        }
        _ => reply.null(),
    }
}

/// A table that says by a field what it stands for; false if it is a plain array.
fn write_typed(
    vm: &Vm,
    reply: &mut Reply,
    table: TableRef,
    resp3: bool,
    on_error: &mut dyn FnMut(&[u8], bool),
    depth: usize,
) -> bool {
    if let Some(text) = vm.text_field(table, "err") {
        let counted = vm.heap.get_field(table, "ignore_error_stats_update") == Value::Boolean(true);
        let text = until_nul(text);
        on_error(text, !counted);
        reply.error(text);
        return true;
    }
    if let Some(text) = vm.text_field(table, "ok") {
        reply.simple_bytes(until_nul(text));
        return true;
    }
    if let Value::Number(number) = vm.heap.get_field(table, "double") {
        reply.double(number);
        return true;
    }
    if let Some(digits) = vm.text_field(table, "big_number") {
        let digits: Vec<u8> = until_nul(digits)
            .iter()
            .map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte })
            .collect();
        reply.big_number(&digits);
        return true;
    }
    if let Value::Table(inner) = vm.heap.get_field(table, "verbatim_string")
        && let (Some(format), Some(text)) = (vm.text_field(inner, "format"), vm.text_field(inner, "string"))
    {
        // Of the format, three characters are sent, whatever it is.
        let mut letters = *b"   ";
        for (letter, byte) in letters.iter_mut().zip(until_nul(format)) {
            *letter = *byte;
        }
        reply.verbatim(&letters, text);
        return true;
    }
    write_collection(vm, reply, table, resp3, on_error, depth)
}

fn write_collection(
    vm: &Vm,
    reply: &mut Reply,
    table: TableRef,
    resp3: bool,
    on_error: &mut dyn FnMut(&[u8], bool),
    depth: usize,
) -> bool {
    for name in ["map", "set"] {
        let Value::Table(inner) = vm.heap.get_field(table, name) else { continue };
        let length = reply.deferred();
        let (mut key, mut count) = (Value::Nil, 0);
        while let Ok(Some((next, value))) = vm.heap.next(inner, key) {
            write(vm, reply, next, resp3, on_error, depth + 1);
            if name == "map" {
                write(vm, reply, value, resp3, on_error, depth + 1);
            }
            key = next;
            count += 1;
        }
        if name == "map" {
            reply.set_map(length, count)
        } else {
            reply.set_set(length, count)
        }
        return true;
    }
    false
}
