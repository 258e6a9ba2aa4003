//! Blocks of bytes whose length their owner keeps: what thin, one-allocation structures (entries, listpacks, raw
//! strings) are made of. All of them are 8-byte aligned.

use std::ffi::c_void;
use std::ptr::NonNull;

/// Allocates `size` bytes (at least 1), uninitialised.
#[inline]
#[must_use]
pub fn allocate(size: usize) -> NonNull<u8> {
    // SAFETY: the size is above 0; flags 0 ask for the default alignment of 8.
    let ptr = unsafe { tikv_jemalloc_sys::mallocx(size.max(1), 0) };
    NonNull::new(ptr.cast()).unwrap_or_else(|| out_of_memory(size))
}

/// Resizes a block; the first `min(old, new)` bytes stay.
///
/// # Safety
/// `block` came from this module and is not used again.
#[inline]
#[must_use]
pub unsafe fn reallocate(block: NonNull<u8>, size: usize) -> NonNull<u8> {
    // SAFETY: the caller hands over a live block of this allocator.
    let ptr = unsafe { tikv_jemalloc_sys::rallocx(block.as_ptr().cast::<c_void>(), size.max(1), 0) };
    NonNull::new(ptr.cast()).unwrap_or_else(|| out_of_memory(size))
}

/// Allocates `size` bytes (at least 1), uninitialised, at a multiple of `align`, a power of two. A size that is a
/// multiple of `align` (up to 4096) takes what [`super::usable_size`] says, as without the alignment.
#[must_use]
pub fn allocate_aligned(size: usize, align: usize) -> NonNull<u8> {
    // SAFETY: the size is above 0 and the flag asks for a valid alignment.
    let ptr = unsafe { tikv_jemalloc_sys::mallocx(size.max(1), tikv_jemalloc_sys::MALLOCX_ALIGN(align)) };
    NonNull::new(ptr.cast()).unwrap_or_else(|| out_of_memory(size))
}

/// Resizes a block to `size` bytes at a multiple of `align`; the first `min(old, new)` bytes stay.
///
/// # Safety
/// `block` came from this module and is not used again.
#[must_use]
pub unsafe fn reallocate_aligned(block: NonNull<u8>, size: usize, align: usize) -> NonNull<u8> {
    let flags = tikv_jemalloc_sys::MALLOCX_ALIGN(align);
    // SAFETY: the caller hands over a live block of this allocator.
    let ptr = unsafe { tikv_jemalloc_sys::rallocx(block.as_ptr().cast::<c_void>(), size.max(1), flags) };
    NonNull::new(ptr.cast()).unwrap_or_else(|| out_of_memory(size))
}

/// Frees a block.
///
/// # Safety
/// `block` came from this module and is not used again.
#[inline]
pub unsafe fn free(block: NonNull<u8>) {
    // SAFETY: the caller hands over a live block of this allocator.
    unsafe { tikv_jemalloc_sys::dallocx(block.as_ptr().cast::<c_void>(), 0) }
}

/// The usable size of a live block, asked of the allocator (8–14 ns; [`super::usable_size`] is cheaper where the
/// requested size is known).
///
/// # Safety
/// `block` came from this module and is alive.
#[inline]
#[must_use]
pub unsafe fn block_size(block: NonNull<u8>) -> usize {
    // SAFETY: the caller says the block is alive.
    unsafe { tikv_jemalloc_sys::sallocx(block.as_ptr().cast::<c_void>(), 0) }
}

/// Asks the processor to load the cache line at `address`, which need not be a valid one.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint that never faults; SSE is part of every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch is a hint that never faults and changes no register or flag.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{address}]", address = in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// The size class the allocator itself would use for `size` bytes.
#[must_use]
pub fn size_class(size: usize) -> usize {
    if size == 0 {
        return 0;
    }
    // SAFETY: the size is above 0; nallocx touches no memory.
    unsafe { tikv_jemalloc_sys::nallocx(size, 0) }
}

#[cold]
fn out_of_memory(size: usize) -> ! {
    std::alloc::handle_alloc_error(
        std::alloc::Layout::from_size_align(size, 8).unwrap_or(std::alloc::Layout::new::<u64>()),
    )
}
