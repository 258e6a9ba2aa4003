//! The arguments of a request, borrowed from the query buffer or owned.

use crate::memory::vec_usage;
use crate::resp::ArgRange;

/// The arguments of one request, the command's name first; slices of the client's query buffer.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// Arguments that lie at `ranges` of `buffer`.
    #[must_use]
    pub fn new(buffer: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        Self { buffer, ranges }
    }

    /// How many there are, the command's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none; a request has at least its name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes of the whole request: as it came over the wire, or of its arguments when it owns them.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The request as it came over the wire, if it came as an array of bulk strings with no digit too many: the very
    /// bytes by which it would be encoded again.
    #[must_use]
    pub fn encoded(&self) -> Option<&'a [u8]> {
        /// A mark before a number and the end of line after it.
        const HEADER: usize = 3;
        let digits = |number: usize| number.checked_ilog10().map_or(1, |log| log as usize + 1);
        let arguments: usize =
            self.ranges.iter().map(|range| HEADER + digits(range.len) + range.len + 2).sum();
        let length = HEADER + digits(self.ranges.len()) + arguments;
        (self.buffer.len() == length && self.buffer.starts_with(b"*")).then_some(self.buffer)
    }

    /// The argument at `index`; empty when there is none (handlers run after the arity check).
    #[inline]
    #[must_use]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// The argument at `index`.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        self.buffer.get(range.start..range.start + range.len)
    }

    /// The arguments from `index` on.
    #[must_use]
    pub fn from(&self, index: usize) -> Self {
        Self { buffer: self.buffer, ranges: self.ranges.get(index..).unwrap_or_default() }
    }

    /// The arguments before `index`.
    #[must_use]
    pub fn until(&self, index: usize) -> Self {
        let end = index.min(self.ranges.len());
        Self { buffer: self.buffer, ranges: self.ranges.get(..end).unwrap_or_default() }
    }

    /// The arguments in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone {
        (0..self.len()).map(move |index| self.at(index))
    }

    /// A copy that outlives the query buffer.
    #[must_use]
    pub fn to_request(&self) -> Request {
        let mut request = Request::default();
        for arg in self.iter() {
            request.push(arg);
        }
        request
    }
}

/// A request that owns its arguments: what MULTI queues, a blocked client waits with, and propagation sends.
#[derive(Debug, Default, Clone)]
pub struct Request {
    buffer: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Request {
    /// Adds an argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.ranges.push(ArgRange { start: self.buffer.len(), len: arg.len() });
        self.buffer.extend_from_slice(arg);
    }

    /// The arguments.
    #[must_use]
    pub fn args(&self) -> Args<'_> {
        Args::new(&self.buffer, &self.ranges)
    }

    /// Heap bytes held.
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        vec_usage(&self.buffer) + vec_usage(&self.ranges)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resp::{Limits, Parser, Progress};

    fn is_canonical(request: &[u8]) -> bool {
        let limits = Limits { authenticated: true, max_bulk_len: 1000, from_primary: false };
        let (mut bytes, mut ranges) = (request.to_vec(), Vec::new());
        let parsed = Parser::new().parse(&mut bytes, &limits, &mut ranges);
        let Progress::Request { consumed } = parsed else { return false };
        Args::new(bytes.get(..consumed).unwrap(), &ranges).encoded() == Some(request)
    }

    #[test]
    fn only_canonical_requests_are_passed_on_as_they_came() {
        assert!(is_canonical(b"*1\r\n$4\r\nPING\r\n"));
        assert!(is_canonical(b"*2\r\n$10\r\n0123456789\r\n$0\r\n\r\n"));
        assert!(!is_canonical(b"*01\r\n$4\r\nPING\r\n"));
        assert!(!is_canonical(b"*1\r\n$04\r\nPING\r\n"));
        assert!(!is_canonical(b"PING a\r\n"));
        let mut owned = Request::default();
        owned.push(b"SET");
        assert_eq!(owned.args().encoded(), None);
    }
}
