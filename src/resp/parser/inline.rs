//! Inline requests: a line split at blanks, with single and double quotes as Valkey's `sdssplitargs` reads them.
//!
//! Decoding never lengthens an argument, so each is decoded at the place where it stands. The whole line is checked
//! before any byte changes: the log shows a refused line as it came. One difference is meant: a raw byte 0xff is kept,
//! where Valkey loses it.

use std::cell::Cell;

use super::ArgRange;

/// Appends the arguments of `line`, which has neither its end of line nor a NUL; `None`, and nothing appended or
/// changed, when a quote is not closed.
pub(super) fn split(line: &mut [u8], args: &mut Vec<ArgRange>) -> Option<()> {
    let line = Cell::from_mut(line).as_slice_of_cells();
    let mut at = 0;
    while let Some(start) = next_start(line, at) {
        at = decode(line, start, |_| {})?;
    }
    at = 0;
    while let Some(start) = next_start(line, at) {
        let mut len = 0;
        at = decode(line, start, |byte| {
            if let Some(cell) = line.get(start + len) {
                cell.set(byte);
            }
            len += 1;
        })?;
        args.push(ArgRange { start, len });
    }
    Some(())
}

/// The first byte at or after `from` that is no blank.
fn next_start(line: &[Cell<u8>], from: usize) -> Option<usize> {
    let rest = line.get(from..)?;
    rest.iter().position(|byte| !matches!(byte.get(), b' ' | b'\t'..=b'\r')).map(|at| from + at)
}

/// Hands the decoded bytes of the argument at `from` to `emit`; the byte after it and its separator is returned.
fn decode(line: &[Cell<u8>], from: usize, mut emit: impl FnMut(u8)) -> Option<usize> {
    let mut quote = None;
    let mut at = from;
    while let Some(byte) = line.get(at).map(Cell::get) {
        // An escape counts only if another byte follows it on the line, as in Valkey.
        let escaped =
            |ahead: usize| line.get(at + ahead).and_then(|_| line.get(at + ahead - 1)).map(Cell::get);
        let mut taken = 1;
        match (quote, byte) {
            (Some(b'"'), b'\\') => match (escaped(2), hex_escape(line, at)) {
                (Some(_), Some(value)) => {
                    emit(value);
                    taken = 4;
                }
                (Some(code), None) => {
                    emit(control(code));
                    taken = 2;
                }
                (None, _) => emit(byte),
            },
            (Some(b'\''), b'\\') if escaped(2) == Some(b'\'') => {
                emit(b'\'');
                taken = 2;
            }
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => emit(byte),
            (None, b' ' | b'\n' | b'\r' | b'\t') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, _) => emit(byte),
        }
        at += taken;
    }
    if quote.is_some() { None } else { Some(at) }
}

/// The value of `\xHH` at `at`, if there is one and the line goes on after it.
fn hex_escape(line: &[Cell<u8>], at: usize) -> Option<u8> {
    let [_, x, high, low, _] = line.get(at..at + 5)? else { return None };
    if x.get() != b'x' {
        return None;
    }
    let digit = |cell: &Cell<u8>| char::from(cell.get()).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What a backslash and `code` stand for between double quotes.
fn control(code: u8) -> u8 {
    match code {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}
