//! `struct`: numbers and strings as the bytes of C structures.

use super::arguments::integer_bits;
use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::{Result, Value};
use crate::scripting::lua::vm::{Arguments, Flow, NativeResult, RESULTS_MAX, Vm};

const FUNCTIONS: &Functions = &[("pack", pack), ("unpack", unpack), ("size", size)];

/// Bytes of an integer at most (the library's `MAXINTSIZE`).
const INTEGER_MAX: usize = 32;

pub(super) fn open(vm: &mut Vm) {
    register(vm, "struct", FUNCTIONS);
}

/// A format being read, with the byte order and the alignment it has set so far.
struct Format<'a> {
    rest: &'a [u8],
    big: bool,
    align: usize,
}

/// One item of a format: its letter, its size, and the bytes that go before it.
struct Item {
    letter: u8,
    size: usize,
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Self {
        // Formats end at a NUL, as C's strings do.
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Self { rest: &text[..end], big: false, align: 1 }
    }

    fn number(&mut self, vm: &mut Vm, default: usize) -> Result<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let mut value = 0_i32;
        for digit in number {
            let next = value.checked_mul(10).and_then(|value| value.checked_add(i32::from(digit - b'0')));
            value = next.ok_or_else(|| vm.error(b"integral size overflow"))?;
        }
        Ok(value as usize)
    }

    /// The next item, for a position of the data.
    fn next(&mut self, vm: &mut Vm, position: usize) -> Result<Option<Item>> {
        let Some((letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(vm, 1)?,
            b'i' | b'I' => {
                let size = self.number(vm, 4)?;
                if size > INTEGER_MAX {
                    let message = format!("integral size {size} is larger than limit of {INTEGER_MAX}");
                    return Err(vm.error(message.as_bytes()));
                }
                size
            }
            _ => 0,
        };
        let unit = size.min(self.align);
        let padding = if size == 0 || *letter == b'c' {
            0
        } else {
            // Of sizes that are no power of two, the low bits decide, as in C.
            unit.wrapping_sub(position & unit.wrapping_sub(1)) & unit.wrapping_sub(1)
        };
        Ok(Some(Item { letter: *letter, size, padding }))
    }

    /// What stands for no data: byte order, alignment, blanks.
    fn control(&mut self, vm: &mut Vm, letter: u8) -> Result<()> {
        match letter {
            b' ' => {}
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let align = self.number(vm, 8)?;
                if !align.is_power_of_two() {
                    let message = format!("alignment {align} is not a power of 2");
                    return Err(vm.error(message.as_bytes()));
                }
                self.align = align;
            }
            other => {
                let message = [b"invalid format option '".as_slice(), &[other], b"'"].concat();
                return Err(vm.argument_error(0, message));
            }
        }
        Ok(())
    }

    /// Adds bytes that are in little-endian order.
    fn add(&self, output: &mut Vec<u8>, bytes: &[u8]) {
        if self.big {
            output.extend(bytes.iter().rev());
        } else {
            output.extend_from_slice(bytes);
        }
    }
}

fn pack(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let text = vm.bytes_argument(arguments, 0)?;
    let mut format = Format::new(&text);
    let mut output = Vec::new();
    let mut index = 1;
    while let Some(Item { letter, size, padding }) = format.next(vm, output.len())? {
        vm.check_room(output.len() + size)?;
        output.resize(output.len() + padding, 0);
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let number = number_to_pack(vm, arguments, index)?;
                let bytes = integer_bits(number).to_le_bytes();
                // Beyond eight bytes there is nothing but zeros.
                let mut wide = [0; INTEGER_MAX];
                wide[..8].copy_from_slice(&bytes);
                format.add(&mut output, &wide[..size]);
                index += 1;
            }
            b'x' => output.push(0),
            b'f' => {
                let number = number_to_pack(vm, arguments, index)? as f32;
                format.add(&mut output, &number.to_le_bytes());
                index += 1;
            }
            b'd' => {
                let number = number_to_pack(vm, arguments, index)?;
                format.add(&mut output, &number.to_le_bytes());
                index += 1;
            }
            b'c' | b's' => {
                if index == arguments.count {
                    return Err(vm.argument_error(index, "string expected, got nil"));
                }
                let string = vm.text_argument(arguments, index)?;
                index += 1;
                let bytes = vm.heap.bytes_of(string);
                let taken = if size == 0 { bytes.len() } else { size };
                let Some(part) = bytes.get(..taken) else {
                    return Err(vm.argument_error(index, "string too short"));
                };
                output.extend_from_slice(part);
                output.extend((letter == b's').then_some(0));
            }
            other => format.control(vm, other)?,
        }
        vm.spend(1);
    }
    let packed = vm.heap.owned_string(output);
    vm.give(Value::String(packed))
}

/// A number; where there is none the library has put a nil.
fn number_to_pack(vm: &mut Vm, arguments: Arguments, index: usize) -> Result<f64> {
    if index == arguments.count {
        return Err(vm.argument_error(index, "number expected, got nil"));
    }
    vm.number_argument(arguments, index)
}

fn integer(bytes: &[u8], big: bool, signed: bool) -> f64 {
    let mut value = 0_u64;
    let mut add = |byte: &u8| value = value << 8 | u64::from(*byte);
    if big {
        bytes.iter().for_each(&mut add)
    } else {
        bytes.iter().rev().for_each(&mut add)
    }
    if !signed {
        return value as f64;
    }
    // Wider integers keep their low eight bytes, whose sign is then the number's.
    let bits = (bytes.len() as u32 * 8).clamp(1, 64);
    let shift = if bytes.len() > 8 { 0 } else { 64 - bits };
    (((value << shift) as i64) >> shift) as f64
}

fn unpack(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let text = vm.bytes_argument(arguments, 0)?;
    let data = vm.bytes_argument(arguments, 1)?;
    let start = vm.integer_or(arguments, 2, 1)?;
    // In C the offset is unsigned: a negative one is beyond the data.
    let Some(mut position) = (start as usize).checked_sub(1) else {
        return Err(vm.argument_error(2, "offset must be 1 or greater"));
    };
    let mut format = Format::new(&text);
    let mut values: Vec<Value> = Vec::new();
    while let Some(Item { letter, size, padding }) = format.next(vm, position)? {
        position = position.saturating_add(padding);
        let Some(mut part) = data.get(position..).and_then(|rest| rest.get(..size)) else {
            return Err(vm.argument_error(1, "data string too short"));
        };
        if values.len() + 2 > RESULTS_MAX - arguments.count {
            return Err(vm.error(b"stack overflow (too many results)"));
        }
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                values.push(Value::Number(integer(part, format.big, letter.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' => {
                let bits = integer(part, format.big, false) as u32;
                values.push(Value::Number(f64::from(f32::from_bits(bits))));
            }
            b'd' => {
                let mut bytes = <[u8; 8]>::try_from(part).unwrap_or_default();
                if format.big {
                    bytes.reverse();
                }
                values.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                if size == 0 {
                    let length = values.pop().and_then(|value| vm.to_number(value));
                    let Some(length) = length else {
                        return Err(vm.error(b"format 'c0' needs a previous size"));
                    };
                    let length = integer_bits(length) as usize;
                    let rest = data.get(position..).unwrap_or_default();
                    let Some(sized) = rest.get(..length) else {
                        return Err(vm.argument_error(1, "data string too short"));
                    };
                    part = sized;
                }
                values.push(vm.string(part));
            }
            b's' => {
                let rest = data.get(position..).unwrap_or_default();
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(vm.error(b"unfinished string in data"));
                };
                values.push(vm.string(&rest[..end]));
                part = &rest[..=end];
            }
            other => format.control(vm, other)?,
        }
        position += part.len();
        vm.spend(1);
    }
    for value in &values {
        vm.push(*value);
    }
    vm.push(Value::Number(position.wrapping_add(1) as i64 as f64));
    Ok(Flow::Return(values.len() + 1))
}

fn size(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let text = vm.bytes_argument(arguments, 0)?;
    let mut format = Format::new(&text);
    let mut position = 0_usize;
    while let Some(Item { letter, size, padding }) = format.next(vm, position)? {
        match letter {
            b's' => return Err(vm.argument_error(0, "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(vm.argument_error(0, "option 'c0' has no fixed size")),
            letter if letter.is_ascii_alphanumeric() => {}
            other => format.control(vm, other)?,
        }
        position = position.saturating_add(padding).saturating_add(size);
    }
    vm.give(Value::Number(position as f64))
}
