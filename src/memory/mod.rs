//! What a counted byte is.
//!
//! A counted byte is a byte of an allocation as the allocator rounds it (its usable size), never as it was asked for.
//! Every structure reports itself through [`MemoryUsage`]; the sum over all owners is what the allocator says is
//! allocated, and `tests/accounting.rs` holds that.

mod allocator;
pub mod raw;
mod relocation;
mod statistics;

pub use allocator::{
    Allocator, ThreadCounters, allocated_bytes, flush_thread_cache, register_thread, set_background_purge,
};
pub use relocation::{Fragmentation, Mover, Relocate};
pub use statistics::{AllocatorStatistics, allocator_report, control_value, purge_unused_pages};

/// The bytes of heap that a value owns beyond its own inline size.
pub trait MemoryUsage {
    /// Usable bytes of every allocation reachable from `self` and owned by it; `size_of_val(self)` is not included.
    fn memory_usage(&self) -> usize;
}

const LARGEST_SPACED_CLASS: usize = 32 * 1024;
const PAGE: usize = 4096;

/// The usable size in bytes of an allocation of `size` bytes: jemalloc's size classes at a quantum of 8, four to
/// each doubling (8, 16, 24, 32, 40, 48, 56, 64, 80, 96 ...), and whole pages above 32 KiB. Zero stays zero: nothing
/// is allocated then.
#[inline]
#[must_use]
pub const fn usable_size(size: usize) -> usize {
    if size <= 64 {
        return (size + 7) & !7;
    }
    if size > LARGEST_SPACED_CLASS {
        return (size + PAGE - 1) & !(PAGE - 1);
    }
    let group = (size - 1).ilog2();
    let step = 1usize << (group - 2);
    (size + step - 1) & !(step - 1)
}

/// The heap bytes of a `Vec`'s buffer; what the elements themselves own is not included.
#[must_use]
pub fn vec_usage<T>(vec: &Vec<T>) -> usize {
    usable_size(vec.capacity() * size_of::<T>())
}

/// The heap bytes of shared bytes: two counts before them.
#[must_use]
pub fn rc_bytes_usage(bytes: &std::rc::Rc<[u8]>) -> usize {
    usable_size(2 * size_of::<usize>() + bytes.len())
}

/// The heap bytes of a `Box<T>`; what `T` owns is not included.
#[must_use]
pub const fn box_usage<T>() -> usize {
    usable_size(size_of::<T>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn usable_sizes_are_the_allocators_classes() {
        for size in (1..20_000).chain((20_000..40_000_000).step_by(4093)) {
            assert_eq!(usable_size(size), raw::size_class(size), "size {size}");
        }
    }

    #[test]
    fn a_vec_is_weighed_by_its_capacity() {
        let before = allocated_bytes();
        let vec: Vec<u64> = Vec::with_capacity(100);
        assert_eq!(allocated_bytes() - before, vec_usage(&vec));
    }

    #[test]
    fn every_small_layout_is_aligned() {
        for align in [1, 2, 4, 8, 16, 32, 64, 128] {
            for size in 1..=768 {
                let layout = std::alloc::Layout::from_size_align(size, align).unwrap();
                // SAFETY: the layout has a size above 0; the block is freed with the same layout.
                let ptr = unsafe { std::alloc::alloc(layout) };
                assert_eq!(ptr as usize % align, 0, "size {size} align {align}");
                // SAFETY: `ptr` came from `alloc` with this layout.
                unsafe { std::alloc::dealloc(ptr, layout) };
            }
        }
    }
}
