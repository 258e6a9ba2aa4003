//! Streams.

use crate::memory::MemoryUsage;

/// What a stream owns.
#[derive(Debug, Default)]
pub struct Log;

crate::encodings! {
    /// A stream value.
    #[derive(Debug)]
    pub enum Stream of Stream {
        /// The only encoding.
        Log(Box<Log>) = Stream,
    }
}

impl MemoryUsage for Stream {
    fn memory_usage(&self) -> usize {
        0
    }
}
