//! Sets.

use crate::memory::MemoryUsage;
use crate::structures::listpack::Listpack;

crate::encodings! {
    /// The value.
    #[derive(Debug)]
    pub enum Set of Set {
        /// Short: one listpack.
        Listpack(Listpack) = SetListpack,
    }
}

impl MemoryUsage for Set {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Listpack(listpack) => listpack.memory_usage(),
        }
    }
}
