//! The request parser: resumable, in place, no allocation for a request that is there in one piece.
//!
//! The caller shows the bytes from the first byte of the request on; ranges count from that byte too, so the buffer
//! may be compacted between calls. A request that spans reads keeps its finished arguments in the parser: each byte
//! is parsed once, however small the reads. Order of checks and texts: Valkey's `parseMultibulk`, `parseInlineBuffer`.

mod inline;
#[cfg(test)]
mod tests;

use std::mem;

use memchr::{memchr, memchr2};

use super::errors::ProtocolError;
use crate::algorithms::numbers::parse_i64;
use crate::memory::{MemoryUsage, vec_usage};

/// Longest inline request, and longest line of a multibulk header, in bytes (Valkey: `PROTO_INLINE_MAX_SIZE`).
pub const INLINE_MAX: usize = 64 * 1024;

/// From this many bytes on, the connection reserves room for the rest of an argument exactly (Valkey:
/// `PROTO_MBULK_BIG_ARG`).
pub const BIG_ARGUMENT: usize = 32 * 1024;

const UNAUTHENTICATED_MAX_ARGUMENTS: i64 = 10;
const UNAUTHENTICATED_MAX_BULK: i64 = 16 * 1024;

/// A count of arguments is the client's claim: no more than this many are made room for before they arrive.
const ARGUMENTS_RESERVED: usize = 1024;

/// Room for the arguments of an unfinished request that is kept after it was finished.
const PENDING_KEPT: usize = 64;

/// Where one argument stands, counted from the first byte of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgRange {
    /// Offset of the first byte.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
}

impl ArgRange {
    /// The argument's bytes; `request` begins with the first byte of the request. Empty when it is not that request.
    #[inline]
    #[must_use]
    pub fn of<'a>(&self, request: &'a [u8]) -> &'a [u8] {
        request.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

/// What a request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until a client is authenticated: at most 10 arguments of at most 16384 bytes. Who parses for such a client
    /// runs each request before parsing the next, as AUTH lifts these limits.
    pub authenticated: bool,
    /// Longest argument in bytes (Valkey: `proto-max-bulk-len`).
    pub max_bulk_len: usize,
    /// The stream of a primary: arguments of any length; no inline request other than an empty line.
    pub from_primary: bool,
}

/// How far a call of [`Parser::parse`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A request: its arguments were appended, it took `consumed` bytes.
    Request {
        /// Bytes of the request, ends of lines included.
        consumed: usize,
    },
    /// Nothing to run: an empty line, or a count of zero or less.
    Empty {
        /// Bytes to skip.
        consumed: usize,
    },
    /// The request goes on beyond the bytes shown. Nothing was appended.
    Incomplete {
        /// How many bytes at least are missing; what an argument still lacks once its length is known.
        missing: usize,
    },
    /// The client does not speak the protocol: it gets the error and is closed.
    Error(ProtocolError),
}

/// One connection's place within its current request.
#[derive(Debug, Default)]
pub struct Parser {
    /// First byte of the request that was not parsed yet.
    position: usize,
    /// Arguments still to come; zero between requests.
    remaining: usize,
    /// Length of the argument whose header was parsed last and whose bytes were not all there.
    bulk: Option<usize>,
    /// Finished arguments of a request that spans reads.
    pending: Vec<ArgRange>,
}

impl Parser {
    /// A parser between requests; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses one request. `bytes` begins with the first byte of the current request: after [`Progress::Request`] and
    /// [`Progress::Empty`] the next call begins `consumed` bytes later, after [`Progress::Incomplete`] at the same
    /// byte with more behind it. Quoted arguments of inline requests are decoded within `bytes`.
    pub fn parse(&mut self, bytes: &mut [u8], limits: &Limits, args: &mut Vec<ArgRange>) -> Progress {
        if self.remaining == 0 {
            match bytes.first() {
                None => return Progress::Incomplete { missing: 1 },
                Some(b'*') => match self.read_count(bytes, limits) {
                    Ok(None) => {}
                    Ok(Some(progress)) => return progress,
                    Err(error) => return Progress::Error(error),
                },
                Some(_) => return self.parse_inline(bytes, limits, args),
            }
        }
        let progress = if self.pending.is_empty() {
            let finished = args.len();
            args.reserve(self.remaining.min(ARGUMENTS_RESERVED));
            let progress = self.read_arguments(bytes, limits, args);
            if !matches!(progress, Progress::Request { .. }) {
                self.pending.extend(args.drain(finished..));
            }
            progress
        } else {
            let mut pending = mem::take(&mut self.pending);
            let progress = self.read_arguments(bytes, limits, &mut pending);
            if let Progress::Request { .. } = progress {
                args.append(&mut pending);
                pending.shrink_to(PENDING_KEPT);
            }
            self.pending = pending;
            progress
        };
        if let Progress::Request { .. } = progress {
            self.position = 0;
        }
        progress
    }

    /// True when part of a request has been parsed and its rest is awaited.
    #[must_use]
    pub fn is_within_request(&self) -> bool {
        self.remaining > 0 || self.position > 0
    }

    /// Bytes of the current request that were parsed and wait for its rest.
    #[must_use]
    pub fn parsed(&self) -> usize {
        if self.remaining > 0 { self.position } else { 0 }
    }

    /// Reads `*<count>\r\n`; `None` when arguments follow.
    fn read_count(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        let (count, end) = match short_length(bytes, 0) {
            Some(header) => header,
            None => {
                let Some(cr) = line_end(bytes, 0, ProtocolError::BigMultibulkCount)? else {
                    return Ok(Some(Progress::Incomplete { missing: 1 }));
                };
                let count = line_length(bytes, 0, cr)?.ok_or(ProtocolError::InvalidMultibulkLength)?;
                (count, cr + 2)
            }
        };
        if count > i64::from(i32::MAX) {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if count > UNAUTHENTICATED_MAX_ARGUMENTS && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        if count <= 0 {
            return Ok(Some(Progress::Empty { consumed: end }));
        }
        self.remaining = usize::try_from(count).unwrap_or_default();
        self.position = end;
        self.bulk = None;
        Ok(None)
    }

    fn read_arguments(&mut self, bytes: &[u8], limits: &Limits, args: &mut Vec<ArgRange>) -> Progress {
        if self.bulk.is_none() {
            self.read_short_arguments(bytes, args);
        }
        while self.remaining > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => match self.read_bulk_length(bytes, limits) {
                    Ok(Some(len)) => len,
                    Ok(None) => return Progress::Incomplete { missing: 1 },
                    Err(error) => return Progress::Error(error),
                },
            };
            let rest = bytes.get(self.position..).unwrap_or_default();
            let Some(end) = rest.get(len..).and_then(|tail| tail.get(..2)) else {
                self.bulk = Some(len);
                return Progress::Incomplete { missing: len + 2 - rest.len() };
            };
            if end != b"\r\n" {
                return Progress::Error(ProtocolError::InvalidCrlf);
            }
            args.push(ArgRange { start: self.position, len });
            self.position += len + 2;
            self.bulk = None;
            self.remaining -= 1;
        }
        Progress::Request { consumed: self.position }
    }

    /// Reads arguments as long as they are whole and of less than a thousand bytes, as most are: no limit forbids those.
    #[inline]
    fn read_short_arguments(&mut self, bytes: &[u8], args: &mut Vec<ArgRange>) {
        let (mut position, mut remaining) = (self.position, self.remaining);
        while remaining > 0
            && let Some(argument) = short_argument(bytes, position)
        {
            position = argument.start + argument.len + 2;
            remaining -= 1;
            args.push(argument);
        }
        (self.position, self.remaining) = (position, remaining);
    }

    /// Reads `$<length>\r\n`; `None` while the line is not complete.
    #[inline]
    fn read_bulk_length(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let short =
            if bytes.get(self.position) == Some(&b'$') { short_length(bytes, self.position) } else { None };
        let (len, end) = match short {
            Some(header) => header,
            None => {
                let Some(cr) = line_end(bytes, self.position, ProtocolError::BigBulkCount)? else {
                    return Ok(None);
                };
                match bytes.get(self.position) {
                    Some(b'$') => {}
                    other => return Err(ProtocolError::ExpectedDollar(other.copied().unwrap_or_default())),
                }
                let len = line_length(bytes, self.position, cr)?.ok_or(ProtocolError::InvalidBulkLength)?;
                (len, cr + 2)
            }
        };
        let length = usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)?;
        if length > limits.max_bulk_len && !limits.from_primary {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if len > UNAUTHENTICATED_MAX_BULK && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.position = end;
        Ok(Some(length))
    }

    fn parse_inline(&mut self, bytes: &mut [u8], limits: &Limits, args: &mut Vec<ArgRange>) -> Progress {
        // A NUL hides the rest of the line, as it does where the line is a C string.
        let unseen = bytes.get(self.position..).unwrap_or_default();
        let end = memchr2(b'\n', 0, unseen).map(|at| self.position + at);
        let Some(newline) = end.filter(|&at| bytes.get(at) == Some(&b'\n')) else {
            if bytes.len() > INLINE_MAX {
                return Progress::Error(ProtocolError::BigInlineRequest);
            }
            self.position = end.unwrap_or(bytes.len());
            return Progress::Incomplete { missing: 1 };
        };
        self.position = 0;
        let consumed = newline + 1;
        let line = bytes.get_mut(..newline).unwrap_or_default();
        let len = line.strip_suffix(b"\r").unwrap_or(line).len();
        let line = line.get_mut(..len).unwrap_or_default();
        let finished = args.len();
        if inline::split(line, args).is_none() {
            return Progress::Error(ProtocolError::UnbalancedQuotes);
        }
        if len > 0 && limits.from_primary {
            args.truncate(finished);
            return Progress::Error(ProtocolError::InlineFromPrimary);
        }
        if args.len() == finished { Progress::Empty { consumed } } else { Progress::Request { consumed } }
    }
}

impl MemoryUsage for Parser {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.pending)
    }
}

/// The number of a header line of one to three digits whose mark stands at `from`, and the first byte after the line.
/// `None` sends the caller to [`line_end`], which knows every other one.
#[inline]
fn short_length(bytes: &[u8], from: usize) -> Option<(i64, usize)> {
    let digit = |byte: u8| i64::from(byte.wrapping_sub(b'0'));
    match *bytes.get(from + 1..)? {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a), from + 4)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(a) * 10 + digit(b), from + 5)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), from + 6))
        }
        _ => None,
    }
}

/// The argument whose header begins at `from`, if that is one [`short_length`] reads, and all of it is there.
#[inline]
fn short_argument(bytes: &[u8], from: usize) -> Option<ArgRange> {
    if bytes.get(from) != Some(&b'$') {
        return None;
    }
    let (len, start) = short_length(bytes, from)?;
    let len = len as usize;
    (bytes.get(start + len..)?.first_chunk() == Some(b"\r\n")).then_some(ArgRange { start, len })
}

/// Where the `\r` of the line that begins at `from` stands; `None` until it and the byte after it are there.
fn line_end(bytes: &[u8], from: usize, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
    let rest = bytes.get(from..).unwrap_or_default();
    match memchr(b'\r', rest) {
        None if rest.len() > INLINE_MAX => Err(too_long),
        Some(at) if at + 2 <= rest.len() => Ok(Some(from + at)),
        _ => Ok(None),
    }
}

/// The number between the mark at `from` and the `\r` at `cr`; `None` when it is no number.
fn line_length(bytes: &[u8], from: usize, cr: usize) -> Result<Option<i64>, ProtocolError> {
    if bytes.get(cr + 1) != Some(&b'\n') {
        return Err(ProtocolError::InvalidCrlf);
    }
    Ok(bytes.get(from + 1..cr).and_then(parse_i64))
}
