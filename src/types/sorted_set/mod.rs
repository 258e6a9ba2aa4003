//! Sorted_sets.

use crate::memory::MemoryUsage;
use crate::structures::listpack::Listpack;

crate::encodings! {
    /// The value.
    #[derive(Debug)]
    pub enum SortedSet of SortedSet {
        /// Short: one listpack.
        Listpack(Listpack) = SortedSetListpack,
    }
}

impl MemoryUsage for SortedSet {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
        }
    }
}
