//! The stream of writes that replicas are fed with: one list of blocks, which the backlog and every replica share.
//!
//! ```text
//!  first kept byte                                   end (the offset of the last byte)
//!  | block | block | block | block | block |  .. free ..
//!      ^ a replica that lags     ^ one that is nearly up to date
//! ```
//!
//! A block is freed when it is at the front, no cursor stands in it, and the backlog is as long as it should be without
//! it. Offsets count bytes since the history began; the first byte of a history has offset 1. Every cursor handed out
//! has to be given back with [`Stream::release`].

use std::collections::VecDeque;

use crate::memory::{MemoryUsage, usable_size};

/// The least room a block has (Valkey: `PROTO_REPLY_CHUNK_BYTES`).
const BLOCK_MIN: usize = 16 * 1024;
/// A larger block is at most this part of the backlog, so that trimming keeps close to what is wanted.
const BLOCKS_OF_BACKLOG: usize = 16;
/// Blocks that are freed at a time at most (Valkey: ten times `REPL_BACKLOG_TRIM_BLOCKS_PER_CALL`, each turn).
const FREED_AT_ONCE: usize = 640;

/// The list of blocks keeps room for so many, however few there are.
const LIST_KEPT: usize = 64;

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// Offset of the first byte.
    start: i64,
    /// Cursors that stand in this block.
    readers: usize,
}

/// A place in the stream: what comes next for one replica.
#[derive(Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Number of the block, counted from the first there ever was.
    block: u64,
    /// Offset of the next byte.
    next: i64,
}

impl Cursor {
    /// The offset of the byte that comes next.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next
    }
}

/// The stream, as far back as the backlog reaches.
#[derive(Debug)]
pub struct Stream {
    blocks: VecDeque<Block>,
    /// The number of the first block.
    first_block: u64,
    /// Offset of the first byte that can still be asked for.
    first: i64,
    /// Offset of the last byte.
    end: i64,
    /// Bytes that are kept for replicas that come back.
    size: u64,
}

impl Stream {
    /// A stream that goes on after the byte `end` and keeps `size` bytes.
    #[must_use]
    pub fn new(end: i64, size: u64) -> Self {
        Self { blocks: VecDeque::new(), first_block: 0, first: end + 1, end, size }
    }

    /// Adds bytes at the end.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = self.blocks.back().map_or(0, |block| block.bytes.capacity() - block.bytes.len());
            if spare == 0 {
                self.add_block(bytes.len());
                continue;
            }
            let (now, later) = bytes.split_at(spare.min(bytes.len()));
            if let Some(block) = self.blocks.back_mut() {
                block.bytes.extend_from_slice(now);
            }
            self.end += now.len() as i64;
            bytes = later;
        }
        self.trim();
    }

    fn add_block(&mut self, wanted: usize) {
        let most = usize::try_from(self.size).unwrap_or(usize::MAX) / BLOCKS_OF_BACKLOG;
        let room = wanted.min(most).max(BLOCK_MIN);
        self.blocks.push_back(Block { bytes: Vec::with_capacity(room), start: self.end + 1, readers: 0 });
    }

    /// How much is kept.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Changes how much is kept.
    pub fn resize(&mut self, size: u64) {
        self.size = size;
        self.trim();
    }

    /// Frees blocks that are no longer needed, a limited number at a time.
    pub fn trim(&mut self) {
        for _ in 0..FREED_AT_ONCE {
            let Some(front) = self.blocks.front() else { return };
            let kept_without = self.len() - front.bytes.len() as i64;
            let is_last = self.blocks.len() == 1;
            if is_last || front.readers > 0 || kept_without <= i64::try_from(self.size).unwrap_or(i64::MAX) {
                return;
            }
            self.blocks.pop_front();
            if self.blocks.capacity() > LIST_KEPT && self.blocks.len() < self.blocks.capacity() / 4 {
                self.blocks.shrink_to(self.blocks.len() * 2);
            }
            self.first_block += 1;
            self.first = self.blocks.front().map_or(self.end + 1, |block| block.start).max(self.first);
        }
    }

    /// Offset of the first byte that can still be asked for.
    #[must_use]
    pub fn first_offset(&self) -> i64 {
        self.first
    }

    /// Offset of the last byte.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Bytes that can still be asked for.
    #[must_use]
    pub fn len(&self) -> i64 {
        self.end + 1 - self.first
    }

    /// Whether nothing was fed that is still there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cursor before the byte `offset`; `None` if that byte is no longer there, or is not the next one to come.
    #[must_use]
    pub fn cursor_at(&mut self, offset: i64) -> Option<Cursor> {
        if offset < self.first || offset > self.end + 1 {
            return None;
        }
        if self.blocks.is_empty() {
            // A cursor holds on to what comes by standing in the block before it.
            self.add_block(0);
        }
        let index = self.blocks.partition_point(|block| block.start <= offset).checked_sub(1)?;
        self.blocks.get_mut(index)?.readers += 1;
        Some(Cursor { block: self.first_block + index as u64, next: offset })
    }

    fn index_of(&self, cursor: &Cursor) -> Option<usize> {
        usize::try_from(cursor.block.checked_sub(self.first_block)?).ok()
    }

    /// The bytes that come next, as far as they lie together; empty at the end. The cursor moves to the next block when
    /// its own is read to the end.
    pub fn next_bytes(&mut self, cursor: &mut Cursor) -> &[u8] {
        let Some(mut index) = self.index_of(cursor) else { return &[] };
        while let Some(next) = self.blocks.get_mut(index + 1)
            && next.start <= cursor.next
        {
            next.readers += 1;
            cursor.block += 1;
            if let Some(left) = self.blocks.get_mut(index) {
                left.readers -= 1;
            }
            index += 1;
        }
        let Some(block) = self.blocks.get(index) else { return &[] };
        let at = usize::try_from(cursor.next - block.start).unwrap_or(0);
        block.bytes.get(at..).unwrap_or_default()
    }

    /// Moves a cursor past `count` bytes that [`Stream::next_bytes`] gave.
    pub fn advance(&mut self, cursor: &mut Cursor, count: usize) {
        cursor.next += count as i64;
    }

    /// Another cursor at the same place.
    #[must_use]
    pub fn share(&mut self, cursor: &Cursor) -> Cursor {
        let index = self.index_of(cursor);
        if let Some(block) = index.and_then(|index| self.blocks.get_mut(index)) {
            block.readers += 1;
        }
        Cursor { block: cursor.block, next: cursor.next }
    }

    /// Takes a cursor back: what only it needed may go.
    pub fn release(&mut self, cursor: Cursor) {
        let index = self.index_of(&cursor);
        if let Some(block) = index.and_then(|index| self.blocks.get_mut(index)) {
            block.readers -= 1;
        }
        self.trim();
    }

    /// Bytes that come after a cursor.
    #[must_use]
    pub fn bytes_after(&self, cursor: &Cursor) -> u64 {
        u64::try_from(self.end + 1 - cursor.next).unwrap_or(0)
    }

    /// How much of what is allocated is held for replicas only, beyond what the backlog may hold.
    #[must_use]
    pub fn usage_beyond_backlog(&self) -> usize {
        self.memory_usage().saturating_sub(usize::try_from(self.size).unwrap_or(usize::MAX))
    }

    /// The last bytes, for the log.
    #[must_use]
    pub fn last_bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for block in self.blocks.iter().rev() {
            if bytes.len() >= count {
                break;
            }
            bytes.splice(0..0, block.bytes.iter().copied());
        }
        bytes.split_off(bytes.len().saturating_sub(count))
    }
}

impl MemoryUsage for Stream {
    fn memory_usage(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| usable_size(block.bytes.capacity())).sum();
        blocks + usable_size(self.blocks.capacity() * size_of::<Block>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_all(stream: &mut Stream, cursor: &mut Cursor) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes = stream.next_bytes(cursor).to_vec();
            if bytes.is_empty() {
                return all;
            }
            stream.advance(cursor, bytes.len());
            all.extend(bytes);
        }
    }

    #[test]
    fn a_cursor_reads_what_was_fed_after_it_across_blocks() {
        let mut stream = Stream::new(100, 64 * 1024);
        let mut cursor = stream.cursor_at(101).unwrap();
        let fed: Vec<u8> = (0..50_000_u32).map(|number| number as u8).collect();
        for part in fed.chunks(777) {
            stream.feed(part);
        }
        assert_eq!(stream.end(), 100 + fed.len() as i64);
        assert_eq!(read_all(&mut stream, &mut cursor), fed);
        stream.feed(b"more");
        assert_eq!(stream.bytes_after(&cursor), 4);
        assert_eq!(read_all(&mut stream, &mut cursor), b"more");
        stream.release(cursor);
    }

    #[test]
    fn a_lagging_cursor_keeps_its_blocks_and_its_release_frees_them() {
        let mut stream = Stream::new(0, 16 * 1024);
        stream.feed(b"start");
        let mut cursor = stream.cursor_at(1).unwrap();
        for _ in 0..100 {
            stream.feed(&[7; 1024]);
        }
        assert_eq!(stream.first_offset(), 1);
        assert!(stream.usage_beyond_backlog() > 80 * 1024);
        assert_eq!(read_all(&mut stream, &mut cursor).len(), 5 + 100 * 1024);
        stream.release(cursor);
        stream.trim();
        assert!(stream.first_offset() > 64 * 1024);
        assert!((16 * 1024..=32 * 1024).contains(&stream.len()));
        assert!(stream.cursor_at(1).is_none());
    }

    #[test]
    fn only_what_is_there_or_comes_next_can_be_asked_for() {
        let mut stream = Stream::new(10, 1 << 20);
        assert!(stream.cursor_at(10).is_none());
        assert!(stream.cursor_at(12).is_none());
        let mut cursor = stream.cursor_at(11).unwrap();
        stream.feed(b"abc");
        assert_eq!(read_all(&mut stream, &mut cursor), b"abc");
        let mut again = stream.cursor_at(12).unwrap();
        assert_eq!(read_all(&mut stream, &mut again), b"bc");
        assert_eq!(stream.last_bytes(2), b"bc");
        stream.release(again);
        stream.release(cursor);
    }

    #[test]
    fn what_the_stream_weighs_is_what_the_allocator_says() {
        let before = crate::memory::allocated_bytes();
        let mut stream = Stream::new(0, 1 << 20);
        for _ in 0..1000 {
            stream.feed(&[1; 300]);
        }
        assert_eq!(crate::memory::allocated_bytes() - before, stream.memory_usage());
    }
}
