//! Lists: one listpack while short, a quicklist beyond.

use crate::memory::MemoryUsage;
use crate::structures::listpack::Listpack;

crate::encodings! {
    /// A list value.
    #[derive(Debug)]
    pub enum List of List {
        /// Short: one listpack.
        Listpack(Listpack) = ListListpack,
    }
}

impl MemoryUsage for List {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
        }
    }
}
