//! How large a node of a list may grow, which elements get a node of their own, and how much is compressed.

const BYTES_OF_LEVEL: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
const SAFE_BYTES: usize = 8192;
const ELEMENT_OVERHEAD: usize = 8;

/// The limits of a list, fixed when it is made (Valkey: `list-max-listpack-size`, `list-compress-depth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    fill: i16,
    compress_depth: u16,
    packed_threshold: u32,
}

impl Limits {
    /// `fill`: a positive number is the most elements of a node, -1 to -5 its most bytes (4, 8, 16, 32, 64 KiB).
    /// `compress_depth`: how many nodes stay uncompressed at each end; 0 means no compression. Both are clamped.
    #[must_use]
    pub fn new(fill: i64, compress_depth: i64) -> Self {
        Self {
            fill: i16::try_from(fill.max(-5)).unwrap_or(i16::MAX),
            compress_depth: u16::try_from(compress_depth.max(0)).unwrap_or(u16::MAX),
            packed_threshold: 0,
        }
    }

    /// The same, with elements of at least `bytes` in nodes of their own; 0 leaves that to `fill`
    /// (Valkey: `DEBUG QUICKLIST-PACKED-THRESHOLD`).
    #[must_use]
    pub fn with_packed_threshold(self, bytes: u32) -> Self {
        Self { packed_threshold: bytes, ..self }
    }

    /// From which size on an element gets a node of its own; 0 leaves that to `fill`.
    #[must_use]
    pub fn packed_threshold(&self) -> u32 {
        self.packed_threshold
    }

    /// The `list-max-listpack-size` in force.
    #[must_use]
    pub fn fill(&self) -> i16 {
        self.fill
    }

    /// The `list-compress-depth` in force.
    #[must_use]
    pub fn compress_depth(&self) -> u16 {
        self.compress_depth
    }

    /// The most bytes of a node; no limit where elements are counted instead.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        let level = usize::from(self.fill.unsigned_abs());
        match level.checked_sub(1) {
            Some(level) if self.fill < 0 => BYTES_OF_LEVEL.get(level).copied().unwrap_or(SAFE_BYTES),
            _ => usize::MAX,
        }
    }

    /// The most elements of a node; no limit where bytes are counted instead.
    #[must_use]
    pub fn max_len(&self) -> usize {
        usize::try_from(self.fill).map_or(usize::MAX, |len| len.max(1))
    }

    /// Whether a node of `bytes` and `len` elements is over the limit. Also what decides when a list is no longer one
    /// listpack.
    #[must_use]
    pub fn exceeded_by(&self, bytes: usize, len: usize) -> bool {
        if self.fill < 0 { bytes > self.max_bytes() } else { bytes > SAFE_BYTES || len > self.max_len() }
    }

    /// Whether an element of `bytes` gets a node of its own.
    #[must_use]
    pub fn is_large(&self, bytes: usize) -> bool {
        if self.packed_threshold != 0 {
            return bytes >= self.packed_threshold as usize;
        }
        bytes > if self.fill < 0 { self.max_bytes() } else { SAFE_BYTES }
    }

    /// Whether a packed node of `bytes` and `len` elements takes one more of `added` bytes.
    pub(super) fn admits(&self, bytes: usize, len: usize, added: usize) -> bool {
        !self.is_large(added) && !self.exceeded_by(bytes.saturating_add(added) + ELEMENT_OVERHEAD, len + 1)
    }
}
