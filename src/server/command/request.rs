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
