//! One node of a list: a listpack, one large element, or either of them compressed.
//!
//! Invariant: `len` is the number of elements, so that finding an index touches no block. A compressed block holds
//! the uncompressed length (u32, little-endian) and LZF data that was made here.

use std::fmt;
use std::ptr::{self, NonNull};

use crate::algorithms::lzf;
use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};
use crate::structures::listpack::{Listpack, Value};

const SMALLEST_COMPRESSED: usize = 48;
const LEAST_SAVING: usize = 8;
const RAW_LEN_BYTES: usize = 4;

/// Bytes behind a thin pointer: `| length u64 | bytes |`.
#[repr(transparent)]
pub(super) struct Blob(NonNull<u8>);

// SAFETY: the block is owned alone and holds plain bytes.
unsafe impl Send for Blob {}
// SAFETY: as above; nothing changes through a shared reference.
unsafe impl Sync for Blob {}

const BLOB_HEADER: usize = size_of::<u64>();

impl Blob {
    fn new(bytes: &[u8]) -> Self {
        let block = raw::allocate(BLOB_HEADER + bytes.len());
        // SAFETY: the block starts with room for the length, and blocks are 8-byte aligned.
        unsafe { block.cast::<u64>().write(bytes.len() as u64) };
        // SAFETY: the block is longer than its header.
        let target = unsafe { block.add(BLOB_HEADER) };
        // SAFETY: the new block has room for the bytes behind its header and does not overlap a borrowed slice.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        Self(block)
    }

    fn len(&self) -> usize {
        // SAFETY: every block starts with its length.
        unsafe { self.0.cast::<u64>().read() as usize }
    }

    fn as_bytes(&self) -> &[u8] {
        // SAFETY: the bytes start behind the header.
        let start = unsafe { self.0.add(BLOB_HEADER) };
        // SAFETY: `len` initialised bytes follow, and live as long as `self`.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len()) }
    }
}

impl Clone for Blob {
    fn clone(&self) -> Self {
        Self::new(self.as_bytes())
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) };
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl MemoryUsage for Blob {
    fn memory_usage(&self) -> usize {
        usable_size(BLOB_HEADER + self.len())
    }
}

/// A node of a list.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Packed { listpack: Listpack, len: u32 },
    Plain(Blob),
    Compressed { blob: Blob, len: u32, plain: bool },
}

const _: () = assert!(size_of::<Node>() == 16);

/// What a snapshot writes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeBytes<'a> {
    /// The bytes as they are.
    Raw(&'a [u8]),
    /// LZF data of `raw_len` bytes.
    Lzf {
        /// The compressed bytes.
        compressed: &'a [u8],
        /// The number of bytes they decompress to.
        raw_len: usize,
    },
}

/// A node as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeView<'a> {
    /// One large element as it is (RDB container 1), not a listpack (2).
    pub plain: bool,
    /// The number of elements.
    pub len: usize,
    /// The bytes.
    pub bytes: NodeBytes<'a>,
}

impl NodeView<'_> {
    /// The number of bytes when not compressed.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        match self.bytes {
            NodeBytes::Raw(bytes) => bytes.len(),
            NodeBytes::Lzf { raw_len, .. } => raw_len,
        }
    }
}

impl Node {
    pub(super) fn packed(listpack: Listpack) -> Self {
        // A listpack has less than 2^32 bytes, hence elements.
        let len = listpack.len() as u32;
        Self::Packed { listpack, len }
    }

    pub(super) fn packed_with(value: &[u8]) -> Self {
        let mut listpack = Listpack::new();
        listpack.push_back(Value::Bytes(value));
        Self::Packed { listpack, len: 1 }
    }

    pub(super) fn plain(bytes: &[u8]) -> Self {
        Self::Plain(Blob::new(bytes))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Packed { len, .. } | Self::Compressed { len, .. } => *len as usize,
            Self::Plain(_) => 1,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Compressed { plain: true, .. })
    }

    pub(super) fn view(&self) -> NodeView<'_> {
        let bytes = match self {
            Self::Packed { listpack, .. } => NodeBytes::Raw(listpack.as_bytes()),
            Self::Plain(blob) => NodeBytes::Raw(blob.as_bytes()),
            Self::Compressed { blob, .. } => match blob.as_bytes().split_first_chunk::<RAW_LEN_BYTES>() {
                Some((raw_len, compressed)) => {
                    NodeBytes::Lzf { compressed, raw_len: u32::from_le_bytes(*raw_len) as usize }
                }
                None => NodeBytes::Raw(&[]),
            },
        };
        NodeView { plain: self.is_plain(), len: self.len(), bytes }
    }

    pub(super) fn raw_len(&self) -> usize {
        match self {
            Self::Packed { listpack, .. } => listpack.byte_len(),
            Self::Plain(blob) => blob.len(),
            Self::Compressed { .. } => self.view().raw_len(),
        }
    }

    pub(super) fn listpack(&self) -> Option<&Listpack> {
        match self {
            Self::Packed { listpack, .. } => Some(listpack),
            _ => None,
        }
    }

    /// Gives up to `count` elements from `offset` on to `visit`.
    pub(super) fn visit(&self, offset: usize, count: usize, visit: &mut impl FnMut(Value<'_>)) {
        let unpacked = self.decompressed();
        let node = unpacked.as_ref().unwrap_or(self);
        match (node.listpack(), node.element()) {
            (Some(listpack), _) => {
                if let Some(position) = listpack.at(offset as i64) {
                    listpack.iter_from(position).take(count).for_each(visit);
                }
            }
            (None, Some(element)) if count > 0 => visit(Value::Bytes(element)),
            _ => {}
        }
    }

    /// The element of a plain node.
    pub(super) fn element(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(blob) => Some(blob.as_bytes()),
            _ => None,
        }
    }

    /// Moves the node's block, in whatever form it is.
    pub(super) fn relocate(&mut self, mover: &mut Mover) {
        match self {
            Self::Packed { listpack, .. } => {
                listpack.relocate(0, mover);
            }
            // SAFETY: the block is owned and replaced at once.
            Self::Plain(blob) | Self::Compressed { blob, .. } => blob.0 = unsafe { mover.relocate(blob.0) },
        }
    }

    /// Changes the listpack of a node, which is decompressed for it; `added - removed` elements more are in it then.
    /// A plain node stays as it is.
    pub(super) fn edit<R>(
        &mut self,
        added: usize,
        removed: usize,
        edit: impl FnOnce(&mut Listpack) -> R,
    ) -> Option<R> {
        self.decompress();
        let Self::Packed { listpack, len } = self else { return None };
        *len = (*len + added as u32).saturating_sub(removed as u32);
        Some(edit(listpack))
    }

    /// Compresses the node where that saves enough.
    pub(super) fn compress(&mut self) {
        let NodeView { plain, len, bytes: NodeBytes::Raw(bytes) } = self.view() else { return };
        let Ok(raw_len) = u32::try_from(bytes.len()) else { return };
        if bytes.len() < SMALLEST_COMPRESSED {
            return;
        }
        let mut compressed = Vec::with_capacity(RAW_LEN_BYTES + bytes.len());
        compressed.extend_from_slice(&raw_len.to_le_bytes());
        if lzf::compress(bytes, &mut compressed)
            && compressed.len() - RAW_LEN_BYTES + LEAST_SAVING < bytes.len()
        {
            *self = Self::Compressed { blob: Blob::new(&compressed), len: len as u32, plain };
        }
    }

    /// A copy of the node that can be read, of a compressed one.
    pub(super) fn decompressed(&self) -> Option<Self> {
        let NodeView { plain, bytes: NodeBytes::Lzf { compressed, raw_len }, .. } = self.view() else {
            return None;
        };
        let node = lzf::decompress(compressed, raw_len).and_then(|bytes| match plain {
            true => Some(Self::plain(&bytes)),
            false => Listpack::from_bytes(&bytes).ok().map(Self::packed),
        });
        // The data was compressed by this process: anything else is damaged memory.
        Some(node.unwrap_or_else(|| panic!("a compressed list node does not decompress")))
    }

    pub(super) fn decompress(&mut self) {
        if let Some(node) = self.decompressed() {
            *self = node;
        }
    }
}

impl MemoryUsage for Node {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Packed { listpack, .. } => listpack.memory_usage(),
            Self::Plain(blob) | Self::Compressed { blob, .. } => blob.memory_usage(),
        }
    }
}
