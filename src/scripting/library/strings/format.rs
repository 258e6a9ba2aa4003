//! `string.format`: the conversions of C's `printf` that Lua allows.

use crate::scripting::host::Host;
use crate::scripting::library::arguments::integer_bits;
use crate::scripting::lua::number::{Layout, write_fixed, write_scientific, write_shortest_layout};
use crate::scripting::lua::value::{Result, Value};
use crate::scripting::lua::vm::{Arguments, NativeResult, Vm};

/// Strings from this length on are not laid out, and may hold NULs.
const LONG_STRING: usize = 100;

/// What stands between `%` and the conversion.
#[derive(Debug, Default)]
struct Specification {
    left: bool,
    plus: bool,
    blank: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl Specification {
    /// Reads flags, width and precision; gives what follows.
    fn parse<'a>(vm: &mut Vm, mut rest: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let mut specification = Self::default();
        let mut flags = 0;
        while let Some((flag @ (b'-' | b'+' | b' ' | b'#' | b'0'), after)) = rest.split_first() {
            match flag {
                b'-' => specification.left = true,
                b'+' => specification.plus = true,
                b' ' => specification.blank = true,
                b'#' => specification.alternate = true,
                _ => specification.zero = true,
            }
            flags += 1;
            rest = after;
        }
        if flags > 5 {
            return Err(vm.error(b"invalid format (repeated flags)"));
        }
        (specification.width, rest) = two_digits(rest);
        if let Some((b'.', after)) = rest.split_first() {
            let (precision, after) = two_digits(after);
            specification.precision = Some(precision);
            rest = after;
        }
        if rest.first().is_some_and(u8::is_ascii_digit) {
            return Err(vm.error(b"invalid format (width or precision too long)"));
        }
        Ok((specification, rest))
    }

    /// Adds text with blanks, or zeros after the sign, up to the width.
    fn pad(&self, output: &mut Vec<u8>, text: &[u8], zeros: bool) {
        let missing = self.width.saturating_sub(text.len());
        let blanks = std::iter::repeat_n(b' ', missing);
        if self.left {
            output.extend_from_slice(text);
            output.extend(blanks);
        } else if zeros && self.zero {
            let prefix = match text {
                [b'-' | b'+' | b' ', ..] => 1,
                [b'0', b'x' | b'X', ..] => 2,
                _ => 0,
            };
            output.extend_from_slice(&text[..prefix]);
            output.extend(std::iter::repeat_n(b'0', missing));
            output.extend_from_slice(&text[prefix..]);
        } else {
            output.extend(blanks);
            output.extend_from_slice(text);
        }
    }

    fn sign(&self, negative: bool) -> &'static [u8] {
        match (negative, self.plus, self.blank) {
            (true, ..) => b"-",
            (_, true, _) => b"+",
            (.., true) => b" ",
            _ => b"",
        }
    }

    /// Digits with as many zeros before them as the precision asks for.
    fn with_precision(&self, digits: String) -> Vec<u8> {
        let precision = self.precision.unwrap_or(1);
        if precision == 0 && digits == "0" {
            return Vec::new();
        }
        let zeros = precision.saturating_sub(digits.len());
        let mut text = vec![b'0'; zeros];
        text.extend_from_slice(digits.as_bytes());
        text
    }

    fn integer(&self, output: &mut Vec<u8>, value: i64) {
        let mut text = self.sign(value < 0).to_vec();
        text.extend(self.with_precision(value.unsigned_abs().to_string()));
        self.pad(output, &text, self.precision.is_none());
    }

    fn unsigned(&self, output: &mut Vec<u8>, value: u64, conversion: u8) {
        let digits = match conversion {
            b'o' => format!("{value:o}"),
            b'x' => format!("{value:x}"),
            b'X' => format!("{value:X}"),
            _ => value.to_string(),
        };
        let mut text = self.with_precision(digits);
        match conversion {
            b'o' if self.alternate && text.first() != Some(&b'0') => text.insert(0, b'0'),
            b'x' | b'X' if self.alternate && value != 0 => drop(text.splice(0..0, [b'0', conversion])),
            _ => {}
        }
        self.pad(output, &text, self.precision.is_none());
    }

    fn double(&self, output: &mut Vec<u8>, value: f64, conversion: u8) {
        let mut text = self.sign(value.is_sign_negative()).to_vec();
        let precision = self.precision.unwrap_or(6);
        let layout = Layout { alternate: self.alternate, upper: conversion.is_ascii_uppercase() };
        let size = if value.is_nan() { f64::NAN } else { value.abs() };
        match conversion.to_ascii_lowercase() {
            b'e' => write_scientific(&mut text, size, precision, layout),
            b'f' => write_fixed(&mut text, size, precision, layout),
            _ => write_shortest_layout(&mut text, size, precision, layout),
        }
        self.pad(output, &text, value.is_finite());
    }
}

fn two_digits(rest: &[u8]) -> (usize, &[u8]) {
    let digits = rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
    let value = rest[..digits].iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
    (value, &rest[digits..])
}

pub(super) fn format(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let template = vm.bytes_argument(arguments, 0)?;
    let mut output = Vec::new();
    let mut rest = template.as_slice();
    let mut argument = 0;
    while let Some(at) = memchr::memchr(b'%', rest) {
        output.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some((b'%', after)) = rest.split_first() {
            output.push(b'%');
            rest = after;
            continue;
        }
        argument += 1;
        if argument >= arguments.count {
            return Err(vm.argument_error(argument, "no value"));
        }
        let (specification, after) = Specification::parse(vm, rest)?;
        let conversion = after.first().copied().unwrap_or(0);
        rest = after.get(1..).unwrap_or_default();
        convert(vm, arguments, argument, &specification, conversion, &mut output)?;
        vm.spend(1);
        vm.check_room(output.len())?;
    }
    output.extend_from_slice(rest);
    let text = vm.heap.owned_string(output);
    vm.give(Value::String(text))
}

fn convert(
    vm: &mut Vm,
    arguments: Arguments,
    index: usize,
    specification: &Specification,
    conversion: u8,
    output: &mut Vec<u8>,
) -> Result<()> {
    match conversion {
        b'c' => {
            let number = vm.number_argument(arguments, index)?.trunc();
            // As C makes an `int` of it: what does not fit is the smallest one, whose last byte is 0.
            let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
            let byte = if fits { number as i32 as u8 } else { 0 };
            // C's string ends at a NUL: the character is lost then.
            let text: &[u8] = if byte == 0 { b"" } else { &[byte] };
            specification.pad(output, text, false);
        }
        b'd' | b'i' => specification.integer(output, vm.integer_argument(arguments, index)?),
        b'o' | b'u' | b'x' | b'X' => {
            let number = vm.number_argument(arguments, index)?;
            specification.unsigned(output, integer_bits(number), conversion);
        }
        b'e' | b'E' | b'f' | b'g' | b'G' => {
            specification.double(output, vm.number_argument(arguments, index)?, conversion);
        }
        b'q' => quoted(output, &vm.bytes_argument(arguments, index)?),
        b's' => {
            let text = vm.bytes_argument(arguments, index)?;
            if specification.precision.is_none() && text.len() >= LONG_STRING {
                output.extend_from_slice(&text);
                return Ok(());
            }
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            let end = end.min(specification.precision.unwrap_or(usize::MAX));
            specification.pad(output, &text[..end], false);
        }
        other => {
            let mut message = b"invalid option '%".to_vec();
            message.extend((other != 0).then_some(other));
            message.extend_from_slice(b"' to 'format'");
            return Err(vm.error(&message));
        }
    }
    Ok(())
}

/// A string as source text.
fn quoted(output: &mut Vec<u8>, text: &[u8]) {
    output.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' | b'\n' => output.extend_from_slice(&[b'\\', *byte]),
            b'\r' => output.extend_from_slice(b"\\r"),
            0 => output.extend_from_slice(b"\\000"),
            other => output.push(*other),
        }
    }
    output.push(b'"');
}
