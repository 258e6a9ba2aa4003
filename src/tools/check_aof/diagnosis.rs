//! What is wrong with a record of an append-only file, in the words and at the offset that Valkey's program gives.
//!
//! The record is read once more for this, line by line, without keeping what it holds: its lengths may be anything.

use std::io::{self, BufRead, Read};

/// Bytes of a line with a length (Valkey: the size of its buffer).
const LONGEST_LENGTH: u64 = 127;

/// What is wrong with a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// The line that says so; `None`: the file ends at a place where a line could begin.
    pub reason: Option<String>,
    /// It does not begin as a record does.
    pub is_no_record: bool,
    /// Lines that are whole.
    pub lines: u64,
    /// Where reading has ended.
    pub offset: u64,
}

/// A reason with its offset.
pub(super) fn placed(offset: u64, reason: &str) -> String {
    format!("0x{offset:16x}: {reason}")
}

/// Reads the bad record that `input` stands at, which is `offset` in the file.
///
/// # Errors
/// Those of reading.
pub(super) fn of_record<R: BufRead>(input: &mut R, offset: u64) -> io::Result<Diagnosis> {
    let mut diagnosis = Diagnosis { offset, ..Diagnosis::default() };
    match input.fill_buf()?.first() {
        None => {}
        Some(b'#') => {
            diagnosis.reason = Some(placed(offset, "Expected the annotation to end with a newline"))
        }
        Some(b'*') => {
            let mut record = RecordReader { input, offset, lines: 0 };
            let outcome = record.read()?;
            (diagnosis.lines, diagnosis.offset) = (record.lines, record.offset);
            diagnosis.reason = match outcome {
                Err(Fault::At(offset, reason)) => Some(placed(offset, &reason)),
                Err(Fault::End) => None,
                Ok(()) => Some(placed(offset, "Expected a command, with arguments below 4 GB each")),
            };
        }
        Some(_) => diagnosis.is_no_record = true,
    }
    Ok(diagnosis)
}

/// Why a record is wrong.
enum Fault {
    /// The file ends before a line.
    End,
    /// At an offset.
    At(u64, String),
}

struct RecordReader<'a, R> {
    input: &'a mut R,
    offset: u64,
    lines: u64,
}

impl<R: BufRead> RecordReader<'_, R> {
    fn read(&mut self) -> io::Result<Result<(), Fault>> {
        let count = match self.length(b'*')? {
            Ok(count) => count,
            Err(fault) => return Ok(Err(fault)),
        };
        for _ in 0..count {
            if let Err(fault) = self.string()? {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }

    /// A line of `mark` and a number.
    fn length(&mut self, mark: u8) -> io::Result<Result<i64, Fault>> {
        let (start, mut line) = (self.offset, Vec::new());
        (&mut *self.input).take(LONGEST_LENGTH).read_until(b'\n', &mut line)?;
        self.offset += line.len() as u64;
        let Some((first, rest)) = line.split_first() else { return Ok(Err(Fault::End)) };
        if *first != mark {
            let reason = format!("Expected prefix '{}', got: '{}'", mark as char, first.escape_ascii());
            return Ok(Err(Fault::At(start, reason)));
        }
        let sign = usize::from(rest.first().is_some_and(|byte| matches!(byte, b'-' | b'+')));
        let digits = rest.iter().skip(sign).take_while(|byte| byte.is_ascii_digit()).count();
        let (number, end) = rest.split_at(sign + digits);
        if let Err(reason) = self.newline(end) {
            return Ok(Err(Fault::At(start, reason)));
        }
        let number = std::str::from_utf8(number).unwrap_or_default();
        Ok(Ok(number.parse().unwrap_or(if number.starts_with('-') { i64::MIN } else { i64::MAX })))
    }

    fn string(&mut self) -> io::Result<Result<(), Fault>> {
        let start = self.offset;
        let len = match self.length(b'$')? {
            Ok(len) => len,
            Err(fault) => return Ok(Err(fault)),
        };
        let Some(wanted) =
            u64::try_from(len).ok().and_then(|len| len.checked_add(2)).filter(|len| *len < 1 << 62)
        else {
            let reason =
                format!("Expected to read string of {len} bytes, which is not in the suitable range");
            return Ok(Err(Fault::At(start, reason)));
        };
        let start = self.offset;
        let body = io::copy(&mut (&mut *self.input).take(wanted - 2), &mut io::sink())?;
        let mut end = Vec::new();
        (&mut *self.input).take(wanted - body).read_to_end(&mut end)?;
        let got = body + end.len() as u64;
        self.offset += got;
        if got != wanted {
            let reason = format!("Expected to read {wanted} bytes, got {got} bytes");
            return Ok(Err(Fault::At(start, reason)));
        }
        Ok(self.newline(&end).map_err(|reason| Fault::At(start, reason)))
    }

    /// What should be the end of a line.
    fn newline(&mut self, end: &[u8]) -> Result<(), String> {
        if end.starts_with(b"\r\n") {
            self.lines += 1;
            return Ok(());
        }
        let byte = |place: usize| end.get(place).copied().unwrap_or(0);
        Err(format!("Expected \\r\\n, got: {:02x}{:02x}", byte(0), byte(1)))
    }
}
