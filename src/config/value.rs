//! How a value of each plain type is set from text, printed for CONFIG GET and written to a file.
//!
//! Parsing rules and every error text are Valkey's. A value that refuses its arguments stays as it was.

use super::spec::{Flags, Form, Kind, OptionSpec};
use super::text::{Text, quote};
use crate::algorithms::numbers::{parse_i64, parse_memory_size};
use std::borrow::Cow;

/// Why a value was refused, as told to the client.
pub type Reason = Cow<'static, str>;

/// What CONFIG REWRITE writes for an option.
pub(super) enum Rewrite {
    /// No line at all; lines that are in the file go.
    Absent,
    /// These lines' values; a forced one is added when the file has no line to replace.
    Lines(Vec<RewriteLine>),
}

pub(super) struct RewriteLine {
    pub(super) value: Vec<u8>,
    pub(super) forced: bool,
}

impl Rewrite {
    pub(super) fn one(value: Vec<u8>, forced: bool) -> Rewrite {
        Rewrite::Lines(vec![RewriteLine { value, forced }])
    }
}

/// The value of an option, whatever its type.
pub(super) trait OptionValue {
    /// As CONFIG GET prints it.
    fn print(&self, spec: &OptionSpec) -> Vec<u8>;

    /// Sets it from its arguments; true when that counts as a change.
    fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason>;

    /// As CONFIG REWRITE writes it; `default` is what `print` gives for the default.
    fn rewrite(&self, spec: &OptionSpec, default: &[u8]) -> Rewrite {
        let value = self.print(spec);
        let forced = value != default;
        Rewrite::one(value, forced)
    }
}

/// The single argument of an option that takes one.
pub(super) fn only<'a>(arguments: &[&'a [u8]]) -> Result<&'a [u8], Reason> {
    match arguments {
        [argument] => Ok(argument),
        _ => Err("wrong number of arguments".into()),
    }
}

/// Stores `new` and says whether that is a change.
pub(super) fn replace<T: PartialEq>(slot: &mut T, new: T, spec: &OptionSpec) -> bool {
    let changed = *slot != new || spec.flags.has(Flags::VOLATILE);
    *slot = new;
    changed
}

impl OptionValue for bool {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }

    fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason> {
        let argument = only(arguments)?;
        let new = if argument.eq_ignore_ascii_case(b"yes") {
            true
        } else if argument.eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        if let (true, Kind::Bool { unavailable: Some(reason) }) = (new, spec.kind) {
            return Err(reason.into());
        }
        Ok(replace(self, new, spec))
    }
}

impl OptionValue for Text {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason> {
        let argument = only(arguments)?;
        if let Kind::Text { check: Some(check), .. } = spec.kind {
            check(argument)?;
        }
        Ok(replace(self, Text::new(argument), spec))
    }

    fn rewrite(&self, spec: &OptionSpec, default: &[u8]) -> Rewrite {
        let unset = matches!(spec.kind, Kind::Text { unset_when_empty: true, .. }) && self.is_empty();
        if unset {
            return Rewrite::Absent;
        }
        Rewrite::one(quote(self.as_bytes()), self.as_bytes() != default)
    }
}

/// A number type an option can have. Bounds are checked unsigned or signed as Valkey does for the C type.
trait Number: Copy + PartialEq {
    const SIGNED: bool;
    fn from_i64(value: i64) -> Self;
    fn to_i64(self) -> i64;
}

macro_rules! number_values {
    ($($type:ty: $signed:literal),*) => {$(
        impl Number for $type {
            const SIGNED: bool = $signed;
            fn from_i64(value: i64) -> Self {
                value as $type
            }
            fn to_i64(self) -> i64 {
                self as i64
            }
        }

        impl OptionValue for $type {
            fn print(&self, spec: &OptionSpec) -> Vec<u8> {
                print_number(self.to_i64(), form_of(spec)).into_bytes()
            }

            fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason> {
                let form = form_of(spec);
                let value = parse_number(only(arguments)?, form)?;
                check_bounds(value, Self::SIGNED, spec)?;
                Ok(replace(self, Self::from_i64(value), spec))
            }

            fn rewrite(&self, spec: &OptionSpec, default: &[u8]) -> Rewrite {
                let printed = self.print(spec);
                let forced = printed != default;
                let value = self.to_i64();
                let plain = match form_of(spec) {
                    Form::Memory => false,
                    Form::MemoryOrPercent | Form::SignedMemory => value < 0,
                    Form::Integer | Form::Octal => true,
                };
                let value = if plain { printed } else { format_memory(value as u64).into_bytes() };
                Rewrite::one(value, forced)
            }
        }
    )*};
}

number_values!(u16: false, u32: false, u64: false, i32: true, i64: true);

fn form_of(spec: &OptionSpec) -> Form {
    match spec.kind {
        Kind::Number { form, .. } => form,
        _ => Form::Integer,
    }
}

fn print_number(value: i64, form: Form) -> String {
    match form {
        Form::MemoryOrPercent if value < 0 => format!("{}%", value.unsigned_abs()),
        Form::Memory | Form::MemoryOrPercent => (value as u64).to_string(),
        Form::Octal => format!("{value:o}"),
        Form::Integer | Form::SignedMemory => value.to_string(),
    }
}

fn parse_number(text: &[u8], form: Form) -> Result<i64, Reason> {
    let value = match form {
        Form::Integer => parse_i64(text),
        Form::Memory => parse_memory(text),
        Form::MemoryOrPercent => parse_memory(text).or_else(|| parse_percent(text)),
        Form::SignedMemory => parse_memory(text).or_else(|| parse_i64(text)),
        Form::Octal => leading_integer(text, 8).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value),
    };
    let reason = match form {
        Form::Integer => "argument couldn't be parsed into an integer",
        Form::Memory | Form::SignedMemory => "argument must be a memory value",
        Form::MemoryOrPercent => "argument must be a memory or percent value",
        Form::Octal => "argument couldn't be parsed as an octal number",
    };
    value.ok_or(Cow::Borrowed(reason))
}

fn check_bounds(value: i64, signed: bool, spec: &OptionSpec) -> Result<(), Reason> {
    let Kind::Number { form, min, max } = spec.kind else { return Ok(()) };
    if form == Form::MemoryOrPercent && value < 0 {
        if value < min {
            return Err(format!("percentage argument must be less or equal to {}", min.unsigned_abs()).into());
        }
        return Ok(());
    }
    let inside = if signed {
        value >= min && (value < 0 || value as u64 <= max)
    } else {
        value as u64 >= min as u64 && value as u64 <= max
    };
    if inside {
        return Ok(());
    }
    let reason = match form {
        Form::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
        _ => format!("argument must be between {min} and {max} inclusive"),
    };
    Err(reason.into())
}

fn parse_percent(text: &[u8]) -> Option<i64> {
    parse_i64(text.strip_suffix(b"%")?).filter(|percent| *percent >= 0).map(|percent| -percent)
}

/// A size with an optional unit, as the bits of a `u64`.
fn parse_memory(text: &[u8]) -> Option<i64> {
    parse_memory_size(text).map(|size| size as i64)
}

/// The size in the largest unit that divides it, as the rewriter writes it.
pub(super) fn format_memory(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}gb", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}mb", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}kb", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// What C's `strtoll` makes of `text`: the number at its start and what follows; `None` when it overflows.
pub(super) fn leading_integer(text: &[u8], radix: u32) -> Option<(i64, &[u8])> {
    let blanks = text.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
    let unsigned = text.get(blanks..).unwrap_or_default();
    let (negative, mut rest) = match unsigned {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, unsigned),
    };
    let mut value: i64 = 0;
    let mut digits = 0;
    while let Some((byte, after)) = rest.split_first() {
        let Some(digit) = char::from(*byte).to_digit(radix) else { break };
        value = value.checked_mul(i64::from(radix))?;
        value = if negative { value.checked_sub(digit.into())? } else { value.checked_add(digit.into())? };
        digits += 1;
        rest = after;
    }
    Some(if digits == 0 { (0, text) } else { (value, rest) })
}
