//! `cmsgpack`: values as MessagePack and back.

use super::arguments::truncated;
use super::{Functions, fill, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::{Result, Stop, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, Flow, NativeResult, RESULTS_MAX, Vm};

const FUNCTIONS: &Functions =
    &[("pack", pack), ("unpack", unpack), ("unpack_one", unpack_one), ("unpack_limit", unpack_limit)];

/// Tables within tables that are packed; nil stands for deeper ones (the library's `LUACMSGPACK_MAX_NESTING`).
const NESTING_MAX: usize = 16;

/// Collections within collections that are unpacked: a C stack has room for no more.
const DEPTH_MAX: usize = 2000;

pub(super) fn open(vm: &mut Vm) {
    let table = register(vm, "cmsgpack", &[]);
    fill(vm, table, FUNCTIONS);
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd."),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        let text = vm.string(text.as_bytes());
        vm.heap.set_field(table, name, text);
    }
}

// --- packing ---

fn add_length(output: &mut Vec<u8>, length: usize, short: (u8, usize), marks: [Option<u8>; 3]) {
    let [one, two, four] = marks;
    if length <= short.1 {
        output.push(short.0 | length as u8);
    } else if let (Some(mark), Ok(length)) = (one, u8::try_from(length)) {
        output.extend_from_slice(&[mark, length]);
    } else if let (Some(mark), Ok(length)) = (two, u16::try_from(length)) {
        output.push(mark);
        output.extend_from_slice(&length.to_be_bytes());
    } else {
        output.extend(four);
        output.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

fn add_integer(output: &mut Vec<u8>, value: i64) {
    match value {
        0..=127 => output.push(value as u8),
        128..=0xff => output.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            output.push(0xcd);
            output.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            output.push(0xce);
            output.extend_from_slice(&(value as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            output.push(0xcf);
            output.extend_from_slice(&value.to_be_bytes());
        }
        -32..=-1 => output.push(value as u8),
        -128..=-33 => output.extend_from_slice(&[0xd0, value as u8]),
        -32_768..=-129 => {
            output.push(0xd1);
            output.extend_from_slice(&(value as i16).to_be_bytes());
        }
        -2_147_483_648..=-32_769 => {
            output.push(0xd2);
            output.extend_from_slice(&(value as i32).to_be_bytes());
        }
        _ => {
            output.push(0xd3);
            output.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn add_number(output: &mut Vec<u8>, number: f64) {
    let whole = truncated(number);
    if number == whole as f64 && number.is_finite() {
        add_integer(output, whole);
    } else if f64::from(number as f32) == number {
        output.push(0xca);
        output.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        output.push(0xcb);
        output.extend_from_slice(&number.to_be_bytes());
    }
}

fn add(vm: &mut Vm, output: &mut Vec<u8>, value: Value, level: usize) -> Result<()> {
    vm.check_room(output.len())?;
    vm.spend(1);
    match value {
        Value::String(string) => {
            let bytes = vm.heap.bytes_of(string);
            add_length(output, bytes.len(), (0xa0, 31), [Some(0xd9), Some(0xda), Some(0xdb)]);
            output.extend_from_slice(bytes);
        }
        Value::Boolean(value) => output.push(if value { 0xc3 } else { 0xc2 }),
        Value::Number(number) => add_number(output, number),
        Value::Table(table) if level < NESTING_MAX => add_table(vm, output, table, level)?,
        _ => output.push(0xc0),
    }
    Ok(())
}

fn add_table(vm: &mut Vm, output: &mut Vec<u8>, table: TableRef, level: usize) -> Result<()> {
    let (count, is_array) = shape(vm, table);
    if is_array {
        add_length(output, count, (0x90, 15), [None, Some(0xdc), Some(0xdd)]);
        for index in 1..=count {
            let value = vm.heap.get(table, Value::Number(index as f64));
            add(vm, output, value, level + 1)?;
        }
        return Ok(());
    }
    add_length(output, count, (0x80, 15), [None, Some(0xde), Some(0xdf)]);
    let mut key = Value::Nil;
    while let Ok(Some((next, value))) = vm.heap.next(table, key) {
        add(vm, output, next, level + 1)?;
        add(vm, output, value, level + 1)?;
        key = next;
    }
    Ok(())
}

/// How many elements a table has, and whether their keys are 1 to that.
fn shape(vm: &mut Vm, table: TableRef) -> (usize, bool) {
    let (mut count, mut max, mut is_array, mut key) = (0, 0.0_f64, true, Value::Nil);
    while let Ok(Some((next, _))) = vm.heap.next(table, key) {
        match next {
            Value::Number(number) if number > 0.0 && number.fract() == 0.0 => max = max.max(number),
            _ => is_array = false,
        }
        key = next;
        count += 1;
    }
    vm.spend(count / 8);
    (count, is_array && max == count as f64)
}

fn pack(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count == 0 {
        return Err(vm.no_argument_error("MessagePack pack needs input."));
    }
    let mut output = Vec::new();
    for index in 0..arguments.count {
        let value = vm.argument(arguments, index);
        add(vm, &mut output, value, 0)?;
    }
    let packed = vm.heap.owned_string(output);
    vm.give(Value::String(packed))
}

// --- unpacking ---

/// What is wrong with packed bytes.
enum Broken {
    Missing,
    Format,
    Depth,
    Memory,
    /// An error was raised already.
    Raised(Stop),
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> std::result::Result<&'a [u8], Broken> {
        let (part, rest) = self.rest.split_at_checked(length).ok_or(Broken::Missing)?;
        self.rest = rest;
        Ok(part)
    }

    fn unsigned(&mut self, length: usize) -> std::result::Result<u64, Broken> {
        Ok(self.take(length)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, length: usize) -> std::result::Result<Value, Broken> {
        let shift = 64 - length as u32 * 8;
        let value = ((self.unsigned(length)? << shift) as i64) >> shift;
        Ok(Value::Number(value as f64))
    }

    fn length(&mut self, bytes: usize) -> std::result::Result<usize, Broken> {
        self.unsigned(bytes).map(|length| length as usize)
    }

    fn string(&mut self, vm: &mut Vm, length: usize) -> std::result::Result<Value, Broken> {
        let bytes = self.take(length)?;
        Ok(vm.string(bytes))
    }

    fn value(&mut self, vm: &mut Vm, depth: usize) -> std::result::Result<Value, Broken> {
        let mark = self.take(1)?[0];
        vm.spend(1);
        Ok(match mark {
            0x00..=0x7f => Value::Number(f64::from(mark)),
            0xe0..=0xff => Value::Number(f64::from(mark as i8)),
            0xa0..=0xbf => return self.string(vm, usize::from(mark & 0x1f)),
            0x90..=0x9f => return self.array(vm, usize::from(mark & 0xf), depth),
            0x80..=0x8f => return self.map(vm, usize::from(mark & 0xf), depth),
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xce => Value::Number(self.unsigned(1 << (mark - 0xcc))? as f64),
            // Valkey hands it to the language as a signed one.
            0xcf => return self.signed(8),
            0xd0..=0xd3 => return self.signed(1 << (mark - 0xd0)),
            0xd9..=0xdb => {
                let length = self.length(1 << (mark - 0xd9))?;
                return self.string(vm, length);
            }
            0xdc | 0xdd => {
                let length = self.length(if mark == 0xdc { 2 } else { 4 })?;
                return self.array(vm, length, depth);
            }
            0xde | 0xdf => {
                let length = self.length(if mark == 0xde { 2 } else { 4 })?;
                return self.map(vm, length, depth);
            }
            _ => return Err(Broken::Format),
        })
    }

    fn array(&mut self, vm: &mut Vm, length: usize, depth: usize) -> std::result::Result<Value, Broken> {
        let table = new_table(vm, depth)?;
        for index in 1..=length {
            let value = self.value(vm, depth + 1)?;
            vm.heap.set(table, Value::Number(index as f64), value);
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, vm: &mut Vm, length: usize, depth: usize) -> std::result::Result<Value, Broken> {
        let table = new_table(vm, depth)?;
        for _ in 0..length {
            let key = self.value(vm, depth + 1)?;
            let value = self.value(vm, depth + 1)?;
            vm.set_raw(table, key, value).map_err(Broken::Raised)?;
        }
        Ok(Value::Table(table))
    }
}

fn new_table(vm: &mut Vm, depth: usize) -> std::result::Result<TableRef, Broken> {
    if depth >= DEPTH_MAX {
        return Err(Broken::Depth);
    }
    if !vm.heap.has_room(1024) {
        return Err(Broken::Memory);
    }
    Ok(vm.heap.new_table(0, 0))
}

fn unpack_some(vm: &mut Vm, arguments: Arguments, limit: i64, offset: i64) -> NativeResult {
    let data = vm.bytes_argument(arguments, 0)?;
    let all = limit == 0 && offset == 0;
    let Some(start) = usize::try_from(offset).ok().filter(|_| limit >= 0) else {
        let message = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            data.len() as i32
        );
        return Err(vm.error(message.as_bytes()));
    };
    let Some(rest) = data.get(start..) else {
        let message =
            format!("Start offset {} greater than input length {}.", offset as i32, data.len() as i32);
        return Err(vm.error(message.as_bytes()));
    };
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut reader = Reader { rest };
    let mut values = Vec::new();
    while !reader.rest.is_empty() && (values.len() as i64) < limit {
        if values.len() + arguments.count + 1 >= RESULTS_MAX {
            return Err(vm.error(
                b"stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
            ));
        }
        match reader.value(vm, 0) {
            Ok(value) => values.push(value),
            Err(Broken::Missing) => return Err(vm.error(b"Missing bytes in input.")),
            Err(Broken::Format) => return Err(vm.error(b"Bad data format in input.")),
            Err(Broken::Raised(stop)) => return Err(stop),
            Err(Broken::Memory) => return Err(vm.plain_error(b"not enough memory")),
            Err(Broken::Depth) => {
                return Err(vm.error(b"stack overflow (in function mp_decode_to_lua_array)"));
            }
        }
    }
    let count = values.len();
    if !all {
        let next = if reader.rest.is_empty() { -1.0 } else { (data.len() - reader.rest.len()) as f64 };
        vm.push(Value::Number(next));
    }
    for value in values {
        vm.push(value);
    }
    Ok(Flow::Return(count + usize::from(!all)))
}

fn unpack(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    unpack_some(vm, arguments, 0, 0)
}

fn unpack_one(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let offset = vm.integer_or(arguments, 1, 0)?;
    unpack_some(vm, arguments, 1, offset)
}

fn unpack_limit(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let limit = vm.integer_argument(arguments, 1)?;
    let offset = vm.integer_or(arguments, 2, 0)?;
    unpack_some(vm, arguments, limit, offset)
}
