//! BITCOUNT and BITPOS: bits of a range counted and searched.

use std::ops::Range;

use super::super::arguments::{integer, is_word};
use super::BITMAP_COMMAND;
use crate::algorithms::bits;
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, KeySpec, Outcome, flag, key_flag};

const READ: Command = Command {
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    complexity: "O(N), N being the bytes looked at",
    ..BITMAP_COMMAND
};

/// `start [end [BYTE | BIT]]`.
const RANGE: Arg = Arg::block(
    "range",
    &[
        Arg::integer("start"),
        Arg::block(
            "end-unit-block",
            &[
                Arg::integer("end"),
                Arg::one_of("unit", &[Arg::flag("byte", "BYTE"), Arg::flag("bit", "BIT")])
                    .since("7.0.0")
                    .optional(),
            ],
        )
        .optional(),
    ],
)
.optional();

/// A range as it was asked for: both ends are part of it, negative ones count from the end.
struct Asked {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl Asked {
    /// Parses the range that begins at argument `at`.
    fn parse(args: Args<'_>, at: usize) -> Result<Self, CommandError> {
        if args.len() > at + 3 {
            return Err(CommandError::Syntax);
        }
        let start = args.get(at).map_or(Ok(0), integer)?;
        let in_bits = match args.get(at + 2) {
            None => false,
            Some(unit) if is_word(unit, "bit") => true,
            Some(unit) if is_word(unit, "byte") => false,
            Some(_) => return Err(CommandError::Syntax),
        };
        let end = args.get(at + 1).map(integer).transpose()?;
        Ok(Self { start, end, in_bits })
    }

    /// The bits meant, of a string of `len` bytes.
    fn bits(&self, len: usize) -> Range<usize> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = (len * 8 / unit) as i64;
        let absolute = |index: i64| if index < 0 { index.saturating_add(total).max(0) } else { index };
        let start = absolute(self.start);
        let end = absolute(self.end.unwrap_or(total - 1)).min(total - 1);
        if start > end {
            return 0..0;
        }
        start as usize * unit..(end as usize + 1) * unit
    }
}

pub(super) const BITCOUNT: Command = Command {
    name: "bitcount",
    arity: -2,
    since: "2.6.0",
    summary: "Counts the bits of a string that are set.",
    arguments: &[Arg::key("key"), RANGE],
    history: &[
        ("7.0.0", "The range may be given in bits (`BIT`)."),
        ("8.0.0", "`end` may be left out: the range goes to the last byte."),
    ],
    handler: bitcount,
    ..READ
};

fn bitcount(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let asked = Asked::parse(args, 2)?;
    let value = cx.keys.read_string(args.at(1))?;
    let mut buffer = itoa::Buffer::new();
    let bytes = value.map_or(&b""[..], |value| value.as_bytes(&mut buffer));
    // Both ends before the first byte meet there, unless they crossed.
    let crossed = asked.start < 0 && asked.end.is_some_and(|end| end < 0 && asked.start > end);
    let range = if crossed { 0..0 } else { asked.bits(bytes.len()) };
    cx.reply.int(bits::count_ones(bytes, range) as i64);
    Ok(())
}

pub(super) const BITPOS: Command = Command {
    name: "bitpos",
    arity: -3,
    since: "2.8.7",
    summary: "Gives the place of the first bit of a string that is set, or that is clear.",
    arguments: &[Arg::key("key"), Arg::integer("bit"), RANGE],
    history: &[("7.0.0", "The range may be given in bits (`BIT`).")],
    handler: bitpos,
    ..READ
};

fn bitpos(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let wanted = match parse_i64(args.at(2)).ok_or(CommandError::NotAnInteger)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::BitArgument),
    };
    let asked = Asked::parse(args, 3)?;
    let Some(value) = cx.keys.read_string(args.at(1))? else {
        cx.reply.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let mut buffer = itoa::Buffer::new();
    let bytes = value.as_bytes(&mut buffer);
    let range = asked.bits(bytes.len());
    let found = match bits::find_bit(bytes, range.clone(), wanted) {
        // Unless the end was given, zeros follow it.
        None if !wanted && asked.end.is_none() && !range.is_empty() => Some(range.end),
        found => found,
    };
    cx.reply.int(found.map_or(-1, |at| at as i64));
    Ok(())
}
