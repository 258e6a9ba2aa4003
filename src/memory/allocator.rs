//! The global allocator: jemalloc with a quantum of 8 bytes, and its own count of what is allocated.
//!
//! tikv-jemallocator passes no alignment for layouts of alignment 16 and below, which at this quantum hands out
//! misaligned blocks (hashbrown's tables are such layouts); this wrapper asks for every alignment above 8.
//! What is allocated is the sum of each thread's own counters, which jemalloc keeps in usable bytes at no cost.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicPtr, Ordering};

use tikv_jemalloc_ctl::thread::ThreadLocal;
use tikv_jemalloc_sys as jemalloc;

/// Jemalloc's compile-time options: one arena (one thread owns the data), dirty pages given back after five seconds.
/// Huge pages are left to `thp:always` in the environment (`_RJEM_MALLOC_CONF`): look-ups and forks gain from them,
/// but a fault that zeroes two mebibytes stalled single inserts for 5 to 6 ms.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: Option<&'static std::ffi::c_char> = {
    const OPTIONS: &std::ffi::CStr = c"narenas:1,dirty_decay_ms:5000,muzzy_decay_ms:0";
    // SAFETY: the pointer is to a static string that ends in NUL.
    Some(unsafe { &*OPTIONS.as_ptr() })
};

/// The process's allocator.
#[derive(Debug, Clone, Copy)]
pub struct Allocator;

#[global_allocator]
static GLOBAL: Allocator = Allocator;

const NATURAL_ALIGN: usize = 8;

fn flags(layout: Layout) -> i32 {
    if layout.align() <= NATURAL_ALIGN { 0 } else { jemalloc::MALLOCX_ALIGN(layout.align()) }
}

// SAFETY: each call goes to jemalloc's extended interface with the alignment the layout asks for; layouts of size 0
// never reach a global allocator.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees a size above 0.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout)).cast() }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees a size above 0.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout) | jemalloc::MALLOCX_ZERO).cast() }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that `ptr` was allocated with this layout.
        unsafe { jemalloc::sdallocx(ptr.cast(), layout.size(), flags(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees a live block and a size above 0.
        unsafe { jemalloc::rallocx(ptr.cast(), size, flags(layout)).cast() }
    }
}

/// Where jemalloc counts what one thread has allocated and freed since it started, in usable bytes.
#[derive(Debug, Clone, Copy)]
pub struct ThreadCounters {
    allocated: *const u64,
    freed: *const u64,
}

// SAFETY: the counters are plain words that outlive the thread's registration; a racy read is off by at most what
// the thread is doing at that moment, and exact while it holds still.
unsafe impl Send for ThreadCounters {}

impl ThreadCounters {
    fn of_this_thread() -> Option<Self> {
        let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().ok()?;
        let freed = tikv_jemalloc_ctl::thread::deallocatedp::read().ok()?;
        // SAFETY: ThreadLocal is a transparent wrapper around the counter's address.
        let allocated = unsafe { std::mem::transmute::<ThreadLocal<u64>, *const u64>(allocated) };
        // SAFETY: as above.
        let freed = unsafe { std::mem::transmute::<ThreadLocal<u64>, *const u64>(freed) };
        Some(Self { allocated, freed })
    }

    fn balance(self) -> i64 {
        // SAFETY: registered threads live as long as the process.
        let allocated = unsafe { self.allocated.read_volatile() };
        // SAFETY: as above.
        let freed = unsafe { self.freed.read_volatile() };
        allocated.wrapping_sub(freed) as i64
    }
}

/// A registered thread, in a list that only grows.
struct Registered {
    counters: ThreadCounters,
    next: *const Registered,
}

/// The newest of the registered threads.
static HELPER_THREADS: AtomicPtr<Registered> = AtomicPtr::new(std::ptr::null_mut());

/// What the registered threads have allocated and not freed. No lock: it is asked for with each command.
fn balance_of_helpers() -> i64 {
    let mut balance = 0;
    let mut next: *const Registered = HELPER_THREADS.load(Ordering::Acquire);
    // SAFETY: what is in the list was leaked, and never changes once it is in.
    while let Some(registered) = unsafe { next.as_ref() } {
        balance += registered.counters.balance();
        next = registered.next;
    }
    balance
}

thread_local! {
    static OWN: Option<ThreadCounters> = ThreadCounters::of_this_thread();
}

/// Makes the calling helper thread part of [`allocated_bytes`]. To be called first thing by a thread that lives as
/// long as the process and allocates or frees on behalf of the engine thread.
pub fn register_thread() {
    if cfg!(test) {
        // Unit tests run side by side: what one's helper frees must not show in what another has allocated.
        return;
    }
    let Some(counters) = ThreadCounters::of_this_thread() else { return };
    let registered = Box::leak(Box::new(Registered { counters, next: std::ptr::null() }));
    // An update whose function never declines cannot fail.
    let _ = HELPER_THREADS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |newest| {
        registered.next = newest;
        Some(std::ptr::from_mut(registered))
    });
}

/// Bytes allocated and not yet freed, in usable bytes: the calling thread's and every registered helper's.
#[must_use]
pub fn allocated_bytes() -> usize {
    let own = OWN.with(|counters| counters.map_or(0, ThreadCounters::balance));
    usize::try_from(own + balance_of_helpers()).unwrap_or(0)
}

/// Gives the thread's cache of free blocks back to the arena, so that the arena's own figures are exact.
pub fn flush_thread_cache() {
    // A thread without a cache has nothing to give back.
    let _ = super::statistics::command(c"thread.tcache.flush");
}

/// Whether the allocator's own thread gives freed pages back to the system (Valkey: `jemalloc-bg-thread`). Best effort.
pub fn set_background_purge(on: bool) {
    let _ = tikv_jemalloc_ctl::background_thread::write(on);
}
