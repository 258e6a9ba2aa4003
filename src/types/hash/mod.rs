//! Hashes.

use crate::memory::MemoryUsage;
use crate::structures::listpack::Listpack;

crate::encodings! {
    /// The value.
    #[derive(Debug)]
    pub enum Hash of Hash {
        /// Short: one listpack.
        Listpack(Listpack) = HashListpack,
    }
}

impl MemoryUsage for Hash {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
        }
    }
}

impl Hash {
    /// When the first of the fields that have an expiry expires, Unix ms; `None` when no field has one.
    #[must_use]
    pub fn earliest_expiry_ms(&self) -> Option<i64> {
        None
    }
}
