//! BITFIELD and BITFIELD_RO: integers of any width at any place of a string.

use super::super::arguments::{integer, is_word};
use super::{BITMAP_COMMAND, bit_offset, with_room};
use crate::algorithms::bits;
use crate::algorithms::numbers::parse_i64;
use crate::config::EventClasses;
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, KeySpec, Outcome, flag, key_flag};

/// What becomes of a value that does not fit its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    /// Its low bits stay.
    Wrap,
    /// The nearest one that fits is taken.
    Saturate,
    /// Nothing is written, and the reply is null.
    Fail,
}

impl Overflow {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let words = [("wrap", Self::Wrap), ("sat", Self::Saturate), ("fail", Self::Fail)];
        let found = words.into_iter().find(|(word, _)| is_word(arg, word));
        found.map(|(_, overflow)| overflow).ok_or(CommandError::BitfieldOverflow)
    }
}

/// `i1` to `i64`, `u1` to `u63`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FieldType {
    signed: bool,
    width: u32,
}

impl FieldType {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (signed, widest) = match arg.first() {
            Some(b'i') => (true, 64),
            Some(b'u') => (false, 63),
            _ => return Err(CommandError::BitfieldType),
        };
        let width = arg.get(1..).and_then(parse_i64).filter(|width| (1..=widest).contains(width));
        let width = width.and_then(|width| u32::try_from(width).ok()).ok_or(CommandError::BitfieldType)?;
        Ok(Self { signed, width })
    }

    /// The number that the low bits of `raw` are in this type; no unsigned one is too large for it.
    fn number(self, raw: u64) -> i64 {
        let above = 64 - self.width;
        if self.signed { raw.cast_signed() << above >> above } else { (raw << above >> above).cast_signed() }
    }

    fn max(self) -> i64 {
        let magnitude = self.width - u32::from(self.signed);
        ((1_u64 << magnitude) - 1).cast_signed()
    }

    fn min(self) -> i64 {
        if self.signed { -self.max() - 1 } else { 0 }
    }

    /// `value + increment` as the field can hold it; `None` when it does not fit and that is to fail. A value far
    /// below a signed field saturates at its top, as in Valkey, where the distance to the top wraps.
    fn fit(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let sum = value.wrapping_add(increment);
        let limit = match self.excess(value, increment) {
            Excess::None => return Some(sum),
            Excess::Above => self.max(),
            Excess::Below => self.min(),
        };
        match overflow {
            Overflow::Wrap => Some(self.number(sum.cast_unsigned())),
            Overflow::Saturate => Some(limit),
            Overflow::Fail => None,
        }
    }

    fn excess(self, value: i64, increment: i64) -> Excess {
        let (min, max) = (self.min(), self.max());
        // An unsigned field takes a negative value for a huge one.
        if value > max || (!self.signed && value < 0) {
            return Excess::Above;
        }
        let narrow = self.width < 64;
        let (up, down) = (max.wrapping_sub(value), min.wrapping_sub(value));
        let rises = if self.signed { narrow || (value >= 0 && increment > 0) } else { increment > 0 };
        let falls = if self.signed { narrow || (value < 0 && increment < 0) } else { increment < 0 };
        if rises && increment > up {
            Excess::Above
        } else if value < min || (falls && increment < down) {
            Excess::Below
        } else {
            Excess::None
        }
    }
}

/// On which side of a field's range a value lies.
enum Excess {
    None,
    Above,
    Below,
}

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// One operation of the request.
#[derive(Debug, Clone, Copy)]
struct Operation {
    action: Action,
    field: FieldType,
    offset: usize,
    overflow: Overflow,
}

impl Operation {
    /// All operations of a request.
    fn parse_all(cx: &Context<'_>, args: Args<'_>) -> Result<Vec<Self>, CommandError> {
        let mut operations = Vec::new();
        let mut overflow = Overflow::Wrap;
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let following = args.len() - at - 1;
            if is_word(word, "overflow") && following >= 1 {
                overflow = Overflow::parse(args.at(at + 1))?;
                at += 2;
                continue;
            }
            let length = match word {
                word if is_word(word, "get") && following >= 2 => 3,
                word if (is_word(word, "set") || is_word(word, "incrby")) && following >= 3 => 4,
                _ => return Err(CommandError::Syntax),
            };
            let field = FieldType::parse(args.at(at + 1))?;
            let offset = bit_offset(cx, parse_offset(args.at(at + 2), field.width))?;
            let action = match length {
                3 => Action::Get,
                _ if is_word(word, "set") => Action::Set(integer(args.at(at + 3))?),
                _ => Action::Increment(integer(args.at(at + 3))?),
            };
            operations.push(Self { action, field, offset, overflow });
            at += length;
        }
        Ok(operations)
    }

    /// Replies what the field holds.
    fn read(&self, bytes: &[u8], reply: &mut Reply) {
        reply.int(self.field.number(bits::field(bytes, self.offset, self.field.width)));
    }

    /// Does it to the bytes of a string and replies; says whether that counts as a change. In a string that has `grown`
    /// every value that is written does.
    fn run(&self, bytes: &mut [u8], grown: bool, reply: &mut Reply) -> bool {
        let old = self.field.number(bits::field(bytes, self.offset, self.field.width));
        let new = match self.action {
            Action::Get => {
                reply.int(old);
                return false;
            }
            Action::Set(value) => self.field.fit(value, 0, self.overflow),
            Action::Increment(increment) => self.field.fit(old, increment, self.overflow),
        };
        let Some(new) = new else {
            reply.null();
            return false;
        };
        bits::set_field(bytes, self.offset, self.field.width, new.cast_unsigned());
        reply.int(if matches!(self.action, Action::Set(_)) { old } else { new });
        grown || old != new
    }
}

/// An offset in bits; `#n` is the `n`th field of this width.
fn parse_offset(arg: &[u8], width: u32) -> Option<i64> {
    match arg.strip_prefix(b"#") {
        None => parse_i64(arg),
        Some(index) => parse_i64(index)?.checked_mul(i64::from(width)),
    }
}

const GET_ARGUMENTS: &[Arg] = &[Arg::string("encoding"), Arg::integer("offset")];

pub(super) const BITFIELD: Command = Command {
    name: "bitfield",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[KeySpec {
        notes: "This command allows both access and modification of the key",
        ..KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS)
    }],
    since: "3.2.0",
    complexity: "O(1) for each operation",
    summary: "Reads and changes integers of any width at any place of a string.",
    arguments: &[
        Arg::key("key"),
        Arg::one_of(
            "operation",
            &[
                Arg::block("get-block", GET_ARGUMENTS).token("GET"),
                Arg::block(
                    "write",
                    &[
                        Arg::one_of(
                            "overflow-block",
                            &[Arg::flag("wrap", "WRAP"), Arg::flag("sat", "SAT"), Arg::flag("fail", "FAIL")],
                        )
                        .token("OVERFLOW")
                        .optional(),
                        Arg::one_of(
                            "write-operation",
                            &[
                                Arg::block(
                                    "set-block",
                                    &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("value")],
                                )
                                .token("SET"),
                                Arg::block(
                                    "incrby-block",
                                    &[
                                        Arg::string("encoding"),
                                        Arg::integer("offset"),
                                        Arg::integer("increment"),
                                    ],
                                )
                                .token("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .optional()
        .multiple(),
    ],
    handler: bitfield,
    ..BITMAP_COMMAND
};

fn bitfield(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let operations = Operation::parse_all(cx, args)?;
    let key = args.at(1);
    let Some(last_bit) = last_written(&operations) else { return read_all(cx, key, &operations) };
    let (mut string, grown) = with_room(&mut cx.keys, key, last_bit)?;
    let mut changes = 0;
    cx.reply.array(operations.len());
    for operation in &operations {
        changes += usize::from(operation.run(string.as_bytes_mut(), grown, cx.reply));
    }
    drop(string);
    if changes > 0 {
        cx.changed(EventClasses::STRING, "setbit", key);
        cx.count_changes(changes - 1);
    }
    Ok(())
}

/// The last bit that an operation writes; `None` when all of them only read.
fn last_written(operations: &[Operation]) -> Option<usize> {
    let written = operations.iter().filter(|operation| operation.action != Action::Get);
    written.map(|operation| operation.offset + operation.field.width as usize - 1).max()
}

fn read_all(cx: &mut Context<'_>, key: &[u8], operations: &[Operation]) -> Outcome {
    let value = cx.keys.read_string(key)?;
    let mut buffer = itoa::Buffer::new();
    let bytes = value.map_or(&b""[..], |value| value.as_bytes(&mut buffer));
    cx.reply.array(operations.len());
    for operation in operations {
        operation.read(bytes, cx.reply);
    }
    Ok(())
}

pub(super) const BITFIELD_RO: Command = Command {
    name: "bitfield_ro",
    arity: -2,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    since: "6.0.0",
    complexity: "O(1) for each operation",
    summary: "Reads integers of any width at any place of a string.",
    arguments: &[
        Arg::key("key"),
        Arg::block("get-block", GET_ARGUMENTS).token("GET").optional().multiple_token(),
    ],
    handler: bitfield_ro,
    ..BITMAP_COMMAND
};

fn bitfield_ro(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let operations = Operation::parse_all(cx, args)?;
    if last_written(&operations).is_some() {
        return Err(CommandError::BitfieldReadOnly);
    }
    read_all(cx, args.at(1), &operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(name: &str, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        FieldType::parse(name.as_bytes()).ok()?.fit(value, increment, overflow)
    }

    #[test]
    fn what_fits_is_stored_as_it_is() {
        for overflow in [Overflow::Wrap, Overflow::Saturate, Overflow::Fail] {
            assert_eq!(fit("i8", 100, 27, overflow), Some(127));
            assert_eq!(fit("i8", -100, -28, overflow), Some(-128));
            assert_eq!(fit("u8", 255, -255, overflow), Some(0));
            assert_eq!(fit("u63", 0, i64::MAX, overflow), Some(i64::MAX));
            assert_eq!(fit("i64", i64::MIN, i64::MAX, overflow), Some(-1));
            assert_eq!(fit("i1", 0, -1, overflow), Some(-1));
        }
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        let cases = [
            ("i8", 100, 28, -128, 127),
            ("i8", -100, -29, 127, -128),
            ("u8", 250, 10, 4, 255),
            ("u8", 5, -6, 255, 0),
            ("u8", -1, 0, 255, 255),
            ("i64", i64::MAX, 1, i64::MIN, i64::MAX),
            ("i64", i64::MIN, -1, i64::MAX, i64::MIN),
            ("i1", 1, 0, -1, 0),
            ("i8", i64::MIN, 0, 0, 127),
        ];
        for (name, value, increment, wrapped, saturated) in cases {
            let all = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail];
            let fitted = all.map(|overflow| fit(name, value, increment, overflow));
            assert_eq!(fitted, [Some(wrapped), Some(saturated), None], "{name} {value}");
        }
    }

    #[test]
    fn types_have_a_sign_and_a_width() {
        for wrong in ["", "i", "i0", "i65", "u64", "U8", "8", "u-1", "u1x"] {
            assert_eq!(FieldType::parse(wrong.as_bytes()), Err(CommandError::BitfieldType), "{wrong}");
        }
        assert_eq!(FieldType::parse(b"i64"), Ok(FieldType { signed: true, width: 64 }));
        assert_eq!(parse_offset(b"#3", 5), Some(15));
        assert_eq!(parse_offset(b"#", 5), None);
    }
}
