//! The reply writer: one output buffer, in the protocol the client chose.
//!
//! Every method writes one complete protocol element or one header. Numbers take no formatting machinery. A length
//! that is known only afterwards is written in place: its placeholder has room for one digit, and a longer number
//! moves what follows it once.

#[cfg(test)]
mod tests;

use crate::algorithms::numbers::format_f64;
use crate::memory::{MemoryUsage, vec_usage};

/// The protocol version of a connection; HELLO changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// The protocol every connection begins with.
    #[default]
    Resp2,
    /// With maps, sets, doubles, booleans, nulls, pushes and attributes of their own.
    Resp3,
}

/// Where a length is owed. It is settled by one of the `set_` methods, inner ones before outer ones.
#[derive(Debug)]
#[must_use = "a deferred length has to be set"]
pub struct DeferredLength {
    at: usize,
}

/// Bytes of a header whose length has one digit.
const SHORT_HEADER: usize = 4;

/// Room for a mark, any length and the end of line.
const LONGEST_HEADER: usize = 24;

/// An output buffer.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    /// How many of the first bytes were sent already.
    sent: usize,
    /// Most bytes held since [`Reply::reset_peak`].
    peak: usize,
    protocol: Protocol,
}

impl Reply {
    /// An empty reply without heap.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self { bytes: Vec::new(), sent: 0, peak: 0, protocol }
    }

    /// The protocol that is written.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the protocol of what is written from here on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string: `+text`. Line ends within become blanks.
    pub fn simple(&mut self, text: &str) {
        self.bytes.push(b'+');
        self.one_line(text.as_bytes());
    }

    /// A simple string of bytes that need not be text.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.bytes.push(b'+');
        self.one_line(text);
    }

    /// An error reply. `text` begins with its code and has no `-`; line ends at its end are dropped, others become
    /// blanks (Valkey: `addReplyErrorFormat`).
    pub fn error(&mut self, text: &[u8]) {
        let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
        self.bytes.push(b'-');
        self.one_line(text.get(..end).unwrap_or_default());
    }

    /// An integer: `:value`.
    #[inline]
    pub fn int(&mut self, value: i64) {
        if let Ok(digit @ 0..=9) = u8::try_from(value) {
            self.bytes.extend_from_slice(&[b':', b'0' + digit, b'\r', b'\n']);
        } else {
            self.number(b':', itoa::Buffer::new().format(value));
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bytes.reserve(bytes.len() + LONGEST_HEADER);
        self.header(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Null: `$-1` in RESP2.
    #[inline]
    pub fn null(&mut self) {
        let text: &[u8] = if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" };
        self.bytes.extend_from_slice(text);
    }

    /// The null that stands for an array: `*-1` in RESP2.
    pub fn null_array(&mut self) {
        let text: &[u8] = if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" };
        self.bytes.extend_from_slice(text);
    }

    /// The header of an array of `count` elements.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// The header of a map of `pairs`; in RESP2 an array of twice as many elements.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        let (mark, count) = self.map_header(pairs);
        self.header(mark, count);
    }

    /// The header of a set of `count` members; an array in RESP2.
    #[inline]
    pub fn set(&mut self, count: usize) {
        let mark = self.resp3_mark(b'~');
        self.header(mark, count);
    }

    /// The header of a message nobody asked for, of `count` elements; an array in RESP2.
    pub fn push(&mut self, count: usize) {
        let mark = self.resp3_mark(b'>');
        self.header(mark, count);
    }

    /// The header of an attribute of `pairs`. False in RESP2, which has none: nothing was written then, and the pairs
    /// must not be either.
    #[must_use]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        if self.is_resp3() {
            self.header(b'|', pairs);
        }
        self.is_resp3()
    }

    /// A double; a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = format_f64(value);
        let text: &[u8] = text.as_ref();
        self.typed_or_bulk(b',', text);
    }

    /// A double that is already text (INCRBYFLOAT's and GEO's own formats); a bulk string in RESP2.
    pub fn double_text(&mut self, text: &[u8]) {
        self.typed_or_bulk(b',', text);
    }

    /// A boolean; `:1` or `:0` in RESP2.
    pub fn bool(&mut self, value: bool) {
        let text: &[u8] = match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        };
        self.bytes.extend_from_slice(text);
    }

    /// A number of any size, given as its digits; a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &[u8]) {
        self.typed_or_bulk(b'(', digits);
    }

    /// Text for people, with its format (`txt`, `mkd`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if !self.is_resp3() {
            return self.bulk(text);
        }
        self.bytes.reserve(text.len() + LONGEST_HEADER + 6);
        self.header(b'=', text.len() + 4);
        self.bytes.extend_from_slice(format);
        self.bytes.push(b':');
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Bytes that are protocol already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A header whose length comes later.
    pub fn deferred(&mut self) -> DeferredLength {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(b"\0\0\r\n");
        DeferredLength { at }
    }

    /// The deferred header becomes an array's.
    pub fn set_array(&mut self, length: DeferredLength, count: usize) {
        self.settle(length, b'*', count);
    }

    /// The deferred header becomes a map's; in RESP2 that of an array of twice as many elements.
    pub fn set_map(&mut self, length: DeferredLength, pairs: usize) {
        let (mark, count) = self.map_header(pairs);
        self.settle(length, mark, count);
    }

    /// The deferred header becomes a set's; an array's in RESP2.
    pub fn set_set(&mut self, length: DeferredLength, count: usize) {
        let mark = self.resp3_mark(b'~');
        self.settle(length, mark, count);
    }

    /// The deferred header becomes a push's; an array's in RESP2.
    pub fn set_push(&mut self, length: DeferredLength, count: usize) {
        let mark = self.resp3_mark(b'>');
        self.settle(length, mark, count);
    }

    /// Bytes written and not taken.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// True when nothing is to be sent.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Takes back everything after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.sent + len);
    }

    /// Forgets the first `count` bytes: they were sent. Bytes move only when more than half were sent, so that a large output costs no more than its length.
    pub fn discard_front(&mut self, count: usize) {
        self.sent += count.min(self.len());
        if self.sent == self.bytes.len() {
            self.clear();
        } else if self.sent > self.bytes.len() / 2 {
            self.compact();
        }
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.sent);
        self.sent = 0;
    }

    /// Makes room for `capacity` bytes if there is no room at all.
    #[inline]
    pub fn begin(&mut self, capacity: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(capacity);
        }
    }

    /// Bytes that there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Most bytes that were held since [`Reply::reset_peak`].
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak.max(self.bytes.len())
    }

    /// Begins to look for the most bytes anew.
    pub fn reset_peak(&mut self) {
        self.peak = self.bytes.len();
    }

    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.peak = self.peak.max(self.bytes.len());
        self.bytes.clear();
        self.sent = 0;
    }

    /// Hands over what was written; the reply is left without heap.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.compact();
        self.peak = self.peak.max(self.bytes.len());
        std::mem::take(&mut self.bytes)
    }

    /// Gives back room beyond `capacity` bytes that is not in use.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.compact();
        self.bytes.shrink_to(capacity);
    }

    #[inline]
    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    #[inline]
    fn resp3_mark(&self, mark: u8) -> u8 {
        if self.is_resp3() { mark } else { b'*' }
    }

    #[inline]
    fn map_header(&self, pairs: usize) -> (u8, usize) {
        if self.is_resp3() { (b'%', pairs) } else { (b'*', pairs * 2) }
    }

    #[inline]
    fn header(&mut self, mark: u8, length: usize) {
        match u8::try_from(length) {
            Ok(digit @ 0..=9) => self.bytes.extend_from_slice(&[mark, b'0' + digit, b'\r', b'\n']),
            Ok(two @ 10..=99) => {
                self.bytes.extend_from_slice(&[mark, b'0' + two / 10, b'0' + two % 10, b'\r', b'\n']);
            }
            _ => self.number(mark, itoa::Buffer::new().format(length)),
        }
    }

    fn number(&mut self, mark: u8, digits: &str) {
        self.bytes.reserve(LONGEST_HEADER);
        self.bytes.push(mark);
        self.bytes.extend_from_slice(digits.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn typed_or_bulk(&mut self, mark: u8, text: &[u8]) {
        if !self.is_resp3() {
            return self.bulk(text);
        }
        self.bytes.push(mark);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn one_line(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        for byte in self.bytes.iter_mut().skip(start) {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn settle(&mut self, length: DeferredLength, mark: u8, count: usize) {
        let DeferredLength { at } = length;
        debug_assert_eq!(
            self.bytes.get(at..at + SHORT_HEADER),
            Some(&b"\0\0\r\n"[..]),
            "inner lengths first"
        );
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(count).as_bytes();
        if let (Some(place), &[digit]) = (self.bytes.get_mut(at..at + 2), digits) {
            place.copy_from_slice(&[mark, digit]);
        } else if at + 2 <= self.bytes.len() {
            self.bytes.splice(at..at + 2, std::iter::once(mark).chain(digits.iter().copied()));
        }
    }
}

impl MemoryUsage for Reply {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.bytes)
    }
}
