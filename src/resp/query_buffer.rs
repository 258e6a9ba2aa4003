//! The bytes a connection has received and not yet run.
//!
//! One `Vec` with a consumed prefix: consuming moves a mark, and only making room moves bytes, at most the unread
//! ones. An empty buffer that is released owns no heap at all, so idle connections cost nothing here.

use crate::memory::{MemoryUsage, vec_usage};

/// Unused bytes below which a buffer is left alone.
const SPARE_LEFT: usize = 4 * 1024;

/// Buffers below this size are not cut to their recent peak (Valkey: `PROTO_RESIZE_THRESHOLD`).
const RESIZE_THRESHOLD: usize = 32 * 1024;

/// A buffer above this size is not kept when everything in it was consumed.
const KEPT: usize = 256 * 1024;

/// Seconds without a request after which a buffer gives its room back.
const IDLE_SECONDS: u64 = 2;

/// A connection's query buffer.
#[derive(Debug, Default)]
pub struct QueryBuffer {
    bytes: Vec<u8>,
    consumed: usize,
    /// Most bytes held since the last [`QueryBuffer::trim`].
    peak: usize,
}

impl QueryBuffer {
    /// An empty buffer without heap.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), consumed: 0, peak: 0 }
    }

    /// The bytes not consumed yet.
    #[inline]
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.consumed..).unwrap_or_default()
    }

    /// The bytes not consumed yet, for the parser, which decodes in place.
    #[inline]
    #[must_use]
    pub fn unread_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.consumed..).unwrap_or_default()
    }

    /// How many bytes are not consumed yet.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// True when everything was consumed.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that can still be appended without growing (CLIENT LIST: `qbuf-free`).
    #[must_use]
    pub fn spare(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Marks the first `count` unread bytes as done; at most all of them.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.consumed += count.min(self.len());
        if self.consumed == self.bytes.len() {
            self.bytes.clear();
            self.consumed = 0;
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        }
    }

    /// Makes room for `additional` bytes, by moving the unread ones to the front if that is enough and by growing
    /// as a `Vec` grows otherwise. For the next read of a socket.
    pub fn reserve(&mut self, additional: usize) {
        if self.spare() < additional {
            self.compact();
            self.bytes.reserve(additional);
        }
    }

    /// Makes room for exactly `additional` bytes: what a big argument still lacks. A length that no allocation can
    /// hold changes nothing; such a buffer grows with what really arrives.
    pub fn reserve_exact(&mut self, additional: usize) {
        if self.spare() < additional {
            self.compact();
            if self.bytes.try_reserve_exact(additional).is_ok() {
                self.peak = self.peak.max(self.bytes.len() + additional);
            }
        }
    }

    /// The vector to append received bytes to; what it already holds is not to be touched.
    #[inline]
    #[must_use]
    pub fn append_to(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends received bytes.
    pub fn extend(&mut self, received: &[u8]) {
        self.reserve(received.len());
        self.bytes.extend_from_slice(received);
        self.note_peak();
    }

    /// Gives unused room back, as Valkey's client cron does: all of it when the connection was idle for more than two
    /// seconds, else what a large buffer has beyond twice its recent peak. `missing` is what the parser still
    /// awaits of the current request. To be called about once a second.
    pub fn trim(&mut self, idle_seconds: u64, missing: usize) {
        self.note_peak();
        let wanted = self.len().saturating_add(missing);
        if self.spare() + self.consumed > SPARE_LEFT {
            if idle_seconds > IDLE_SECONDS {
                self.compact();
                self.bytes.shrink_to(wanted);
            } else if self.bytes.capacity() > RESIZE_THRESHOLD && self.bytes.capacity() / 2 > self.peak {
                self.compact();
                self.bytes.shrink_to(self.peak.max(wanted));
            }
        }
        self.peak = wanted;
    }

    /// Takes note of how full the buffer is; to be called after each read into [`QueryBuffer::append_to`].
    #[inline]
    pub fn note_peak(&mut self) {
        self.peak = self.peak.max(self.bytes.len());
    }

    fn compact(&mut self) {
        if self.consumed > 0 {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
    }
}

impl MemoryUsage for QueryBuffer {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn consuming_everything_rewinds_without_moving_bytes() {
        let mut buffer = QueryBuffer::new();
        buffer.extend(b"PING\r\nPI");
        buffer.consume(6);
        assert_eq!(buffer.unread(), b"PI");
        buffer.extend(b"NG\r\n");
        assert_eq!(buffer.unread(), b"PING\r\n");
        let capacity = buffer.spare() + 6;
        buffer.consume(100);
        assert!(buffer.is_empty());
        assert_eq!(buffer.spare(), capacity);
    }

    #[test]
    fn a_huge_request_leaves_nothing_behind() {
        let mut buffer = QueryBuffer::new();
        buffer.extend(&[b'x'; KEPT + 1]);
        buffer.consume(KEPT);
        assert!(buffer.memory_usage() > KEPT);
        buffer.consume(1);
        assert_eq!(buffer.memory_usage(), 0);
    }

    #[test]
    fn room_is_made_from_the_consumed_prefix_first() {
        let mut buffer = QueryBuffer::new();
        buffer.reserve_exact(100);
        buffer.extend(&[b'x'; 90]);
        buffer.consume(80);
        let before = buffer.memory_usage();
        buffer.reserve(70);
        assert_eq!(buffer.memory_usage(), before);
        assert_eq!(buffer.unread(), &[b'x'; 10]);
    }

    #[test]
    fn a_big_argument_gets_exactly_its_room() {
        let mut buffer = QueryBuffer::new();
        buffer.extend(b"*1\r\n$100000\r\n");
        let header = buffer.len();
        buffer.reserve_exact(100_002);
        assert_eq!(buffer.append_to().capacity(), header + 100_002);
        buffer.reserve_exact(usize::MAX);
        assert_eq!(buffer.append_to().capacity(), header + 100_002);
    }

    #[test]
    fn an_idle_buffer_owns_no_heap() {
        let mut buffer = QueryBuffer::new();
        buffer.reserve(16 * 1024);
        buffer.extend(b"PING\r\n");
        buffer.note_peak();
        buffer.consume(6);
        buffer.trim(1, 0);
        assert!(buffer.memory_usage() > 0);
        buffer.trim(3, 0);
        assert_eq!(buffer.memory_usage(), 0);
    }

    #[test]
    fn a_large_buffer_is_cut_to_its_recent_peak_but_keeps_room_for_what_is_awaited() {
        let mut buffer = QueryBuffer::new();
        buffer.extend(&[b'x'; 200_000]);
        buffer.consume(200_000);
        buffer.trim(0, 0);
        buffer.extend(&[b'y'; 1000]);
        buffer.trim(0, 50_000);
        assert_eq!(buffer.append_to().capacity(), 51_000);
        assert_eq!(buffer.unread(), &[b'y'; 1000]);
    }

    #[test]
    fn memory_usage_is_what_the_allocator_counts() {
        let before = crate::memory::allocated_bytes();
        let mut buffer = QueryBuffer::new();
        buffer.extend(&[b'x'; 12_345]);
        assert_eq!(crate::memory::allocated_bytes() - before, buffer.memory_usage());
    }
}
