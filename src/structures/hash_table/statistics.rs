//! How a table's buckets are filled, as `DEBUG HTSTATS` shows it.

use super::{Element, HashTable};
use crate::memory::MemoryUsage;

/// The filling of a table's buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketStatistics {
    /// Slots of the top-level buckets.
    pub slots: usize,
    /// Elements in the table.
    pub elements: usize,
    /// Buckets that a hash leads to.
    pub top_level_buckets: usize,
    /// Overflow blocks chained behind them.
    pub child_buckets: usize,
    /// How many top-level buckets have 0, 1, 2 ... overflow blocks; its length is the longest chain's plus one.
    pub chain_lengths: Vec<usize>,
    /// Usable bytes of the table, elements not included.
    pub bytes: usize,
}

impl<E: Element> HashTable<E> {
    /// Walks all buckets and describes how they are filled.
    #[must_use]
    pub fn bucket_statistics(&self) -> BucketStatistics {
        let buckets = self.buckets.count();
        let mut statistics = BucketStatistics {
            slots: buckets as usize * super::block::SLOTS,
            elements: self.len(),
            top_level_buckets: buckets as usize,
            bytes: self.memory_usage(),
            ..BucketStatistics::default()
        };
        for bucket in 0..buckets {
            let children = self.buckets.blocks(bucket).count() - 1;
            statistics.child_buckets += children;
            if statistics.chain_lengths.len() <= children {
                statistics.chain_lengths.resize(children + 1, 0);
            }
            statistics.chain_lengths[children] += 1;
        }
        statistics
    }
}
