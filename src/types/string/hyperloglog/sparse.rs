//! The sparse form: runs of equal registers.
//!
//! ```text
//! 00llllll            l + 1 registers of 0 (up to 64)
//! 01llllll llllllll   l + 1 registers of 0 (up to 16384)
//! 1vvvvvll            l + 1 registers of v + 1 (up to 4, of up to 32)
//! ```
//! A string that ends within a run of two bytes counts as if a zero byte followed, as it does in Valkey.

use std::fmt;
use std::ops::Range;

use super::{Corrupt, HEADER, REGISTERS};
use crate::structures::raw_string::RawString;

/// One run that covers all registers.
pub(super) const ALL_ZERO: [u8; 2] = [0x7f, 0xff];

const LONGEST_SHORT_RUN: usize = 64;
const LONGEST_VALUE_RUN: usize = 4;
const HIGHEST_VALUE: u8 = 32;

/// Equal registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Zeros, in one byte.
    Zeros(usize),
    /// Zeros, in two bytes.
    ManyZeros(usize),
    /// Registers of a value.
    Values(u8, usize),
}

impl Run {
    /// The run at `at`; `None` at the end.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let first = *bytes.get(at)?;
        let low = usize::from(first & 0x3f);
        Some(match first >> 6 {
            0 => Self::Zeros(low + 1),
            1 => Self::ManyZeros((low << 8 | usize::from(bytes.get(at + 1).copied().unwrap_or(0))) + 1),
            _ => Self::Values((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1),
        })
    }

    fn registers(self) -> usize {
        match self {
            Self::Zeros(count) | Self::ManyZeros(count) | Self::Values(_, count) => count,
        }
    }

    fn value(self) -> u8 {
        match self {
            Self::Zeros(_) | Self::ManyZeros(_) => 0,
            Self::Values(value, _) => value,
        }
    }

    /// Bytes that it takes.
    fn size(self) -> usize {
        match self {
            Self::ManyZeros(_) => 2,
            Self::Zeros(_) | Self::Values(..) => 1,
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros(count) => write!(f, "z:{count}"),
            Self::ManyZeros(count) => write!(f, "Z:{count}"),
            Self::Values(value, count) => write!(f, "v:{value},{count}"),
        }
    }
}

/// The runs with where each begins; more or fewer than all registers, if the string is corrupt.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = (Run, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = Run::read(bytes, at)?;
        let start = at;
        at += run.size();
        Some((run, start))
    })
}

/// The runs as ranges of registers and their value; an error ends them if they are not exactly all registers.
pub(super) fn runs_checked(bytes: &[u8]) -> impl Iterator<Item = Result<(Range<usize>, u8), Corrupt>> + '_ {
    let mut runs = runs(bytes);
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let first = next?;
        let Some((run, _)) = runs.next() else {
            next = None;
            return (first != REGISTERS).then_some(Err(Corrupt));
        };
        let end = first + run.registers();
        next = (end <= REGISTERS).then_some(end);
        Some(if next.is_some() { Ok((first..end, run.value())) } else { Err(Corrupt) })
    })
}

/// What became of a register that was to be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was as high already.
    No,
    /// It is that high now.
    Yes,
    /// The sparse form cannot hold it: the value is too high or the string would be too long.
    DoesNotFit,
}

/// The run that covers a register.
struct Covering {
    run: Run,
    /// Where it begins, counted from the first run.
    at: usize,
    /// Where the run before it begins.
    previous: Option<usize>,
    /// The first register that it covers.
    first: usize,
}

fn covering(bytes: &[u8], index: usize) -> Option<Covering> {
    let mut first = 0;
    let mut previous = None;
    for (run, at) in runs(bytes) {
        if index < first + run.registers() {
            return Some(Covering { run, at, previous, first });
        }
        first += run.registers();
        previous = Some(at);
    }
    None
}

/// A run that is split: at most two zero runs of two bytes about a value.
#[derive(Default)]
struct Split {
    bytes: [u8; 5],
    len: usize,
}

impl Split {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// Registers of the value that a run had.
    fn push_rest(&mut self, run: Run, count: usize) {
        match run {
            _ if count == 0 => {}
            Run::Values(value, _) => self.push(&[values_byte(value, count)]),
            _ if count <= LONGEST_SHORT_RUN => self.push(&[(count - 1) as u8]),
            _ => {
                let [high, low] = ((count - 1) as u16).to_be_bytes();
                self.push(&[high | 0x40, low]);
            }
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn values_byte(value: u8, count: usize) -> u8 {
    0x80 | (value - 1) << 2 | (count - 1) as u8
}

/// Raises one register, splitting the run that covers it and joining equal neighbours.
pub(super) fn raise(
    string: &mut RawString,
    index: usize,
    value: u8,
    max_bytes: usize,
) -> Result<Raised, Corrupt> {
    if value > HIGHEST_VALUE {
        return Ok(Raised::DoesNotFit);
    }
    let covering = covering(super::registers_of(string.as_bytes()), index).ok_or(Corrupt)?;
    let Covering { run, at, previous, first } = covering;
    if run.value() >= value {
        return Ok(Raised::No);
    }
    let mut split = Split::default();
    split.push_rest(run, index - first);
    split.push(&[values_byte(value, 1)]);
    split.push_rest(run, first + run.registers() - 1 - index);
    let grown = split.len.saturating_sub(run.size());
    if grown > 0 && string.len() + grown > max_bytes {
        return Ok(Raised::DoesNotFit);
    }
    replace(string, HEADER + at, run.size(), split.as_slice());
    join(string, HEADER + previous.unwrap_or(0));
    Ok(Raised::Yes)
}

/// Puts other bytes in the place of `old` ones. The last of the old ones may lie beyond the end; then so does the last
/// of the new ones, and is lost.
fn replace(string: &mut RawString, at: usize, old: usize, new: &[u8]) {
    let len = string.len();
    let changed = len + new.len() - old;
    if changed > len {
        string.resize(changed);
    }
    if at + old < len {
        string.as_bytes_mut().copy_within(at + old..len, at + new.len());
    }
    string.resize(changed);
    let kept = new.len().min(changed - at);
    if let Some(place) = string.as_bytes_mut().get_mut(at..at + kept) {
        place.copy_from_slice(new.get(..kept).unwrap_or_default());
    }
}

/// Joins neighbouring runs of the same value, looking at no more than five from `at` on.
fn join(string: &mut RawString, mut at: usize) {
    for _ in 0..5 {
        let bytes = string.as_bytes();
        let Some(run) = Run::read(bytes, at) else { return };
        if let (Run::Values(value, count), Some(Run::Values(next_value, next_count))) =
            (run, Run::read(bytes, at + 1))
            && value == next_value
            && count + next_count <= LONGEST_VALUE_RUN
        {
            let len = string.len();
            string.as_bytes_mut().copy_within(at + 1..len, at);
            string.resize(len - 1);
            if let Some(joined) = string.as_bytes_mut().get_mut(at) {
                *joined = values_byte(value, count + next_count);
            }
        } else {
            at += run.size();
        }
    }
}
