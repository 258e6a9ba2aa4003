//! Moving allocations together: which ones lie in slabs that are hardly used, and where they lie better.
//!
//! Small allocations share slabs, and a slab takes its pages as long as one of them is alive. A [`Mover`] asks jemalloc
//! how full an allocation's slab is; where that is below what is usual for the size, the allocation is made anew past
//! the thread's cache, which puts it into the slab that is being filled, and the old one is freed past the cache. The
//! size class stays, and with it every weight and alignment. Larger allocations have their pages to themselves and
//! stay. Structures offer what they own through [`Relocate`].

use std::ffi::c_void;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use tikv_jemalloc_sys as jemalloc;

use super::statistics::{SlabUsage, resolve, slab_usage};
use super::{AllocatorStatistics, flush_thread_cache};

/// Questions after which a step ends: a few microseconds, and some hundred where each allocation moves.
const QUESTIONS_PER_STEP: u32 = 64;
/// An allocation moves if its slab is less full than the usual one by this many thousandths more (Valkey:
/// `UTILIZATION_THRESHOLD_FACTOR_MILLI`), or less full than this in any case.
const MARGIN_MILLI: usize = 125;

/// What owns allocations that can be moved while nothing else knows where they are.
pub trait Relocate {
    /// Moves what lies badly of the part of `self` at `cursor`, 0 being the first; a part ends when the mover
    /// [is spent](Mover::is_spent). Gives the cursor of the next part, 0 after the last. Contents and weights stay. A
    /// cursor of before a change of `self` is harmless; something may then be passed over.
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize;
}

impl<T: Relocate> Relocate for Box<T> {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        if cursor == 0 {
            mover.relocate_box(self);
        }
        (**self).relocate(cursor, mover)
    }
}

/// What jemalloc replies to `experimental.utilization.batch_query` for one address.
#[repr(C)]
#[derive(Default)]
struct SlabReply {
    free: usize,
    regions: usize,
    bytes: usize,
}

/// The same of `experimental.utilization.query`.
#[repr(C)]
struct BinReply {
    filled_now: usize,
    slab: SlabReply,
    bin_free: usize,
    bin_regions: usize,
}

const QUERY_PARTS: usize = 3;

/// The controls that are asked for each allocation.
#[derive(Debug, Clone, Copy)]
struct Controls {
    slab: [usize; QUERY_PARTS],
    bin: [usize; QUERY_PARTS],
}

impl Controls {
    fn resolve() -> Option<Self> {
        Some(Self {
            slab: resolve("experimental.utilization.batch_query")?,
            bin: resolve("experimental.utilization.query")?,
        })
    }

    fn ask<T>(control: &[usize; QUERY_PARTS], block: NonNull<u8>, reply: &mut T) -> bool {
        let mut address = block.as_ptr();
        let mut len = size_of::<T>();
        let reply: *mut c_void = ptr::from_mut(reply).cast();
        let question: *mut c_void = (&raw mut address).cast();
        // SAFETY: the control was resolved, reads an address and writes a reply of exactly this size.
        let status = unsafe {
            jemalloc::mallctlbymib(
                control.as_ptr(),
                QUERY_PARTS,
                reply,
                &raw mut len,
                question,
                size_of::<*mut u8>(),
            )
        };
        status == 0
    }

    /// The slab of an allocation; one region for an allocation that has no slab.
    fn slab_of(&self, block: NonNull<u8>) -> SlabReply {
        let mut reply = SlabReply::default();
        if Self::ask(&self.slab, block, &mut reply) { reply } else { SlabReply::default() }
    }

    /// Whether an allocation lies in the slab that the next one of its size goes to: it would gain nothing.
    fn lies_in_filled_slab(&self, block: NonNull<u8>) -> bool {
        let mut reply = BinReply { filled_now: 0, slab: SlabReply::default(), bin_free: 0, bin_regions: 0 };
        if !Self::ask(&self.bin, block, &mut reply) {
            return true;
        }
        let address = block.as_ptr() as usize;
        (reply.filled_now..reply.filled_now + reply.slab.bytes).contains(&address)
    }
}

/// How much room in slabs is not in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fragmentation {
    /// That room in bytes.
    pub bytes: usize,
    /// The same in percent of all that is allocated.
    pub percent: f64,
}

/// Moves allocations, and counts what it did.
#[derive(Debug)]
pub struct Mover {
    controls: Option<Controls>,
    /// Each small size, in order, as of the last [`Mover::refresh`].
    slabs: Vec<SlabUsage>,
    /// Allocations that were moved.
    pub hits: u64,
    /// Allocations that were left where they are.
    pub misses: u64,
    /// Questions left in this step.
    left: u32,
    /// Whether every small allocation moves, wherever it lies.
    moves_all: bool,
}

impl Default for Mover {
    fn default() -> Self {
        Self::new()
    }
}

impl Mover {
    /// A mover that leaves everything alone until its first [`Mover::refresh`].
    #[must_use]
    pub fn new() -> Self {
        let slabs = slab_usage().collect();
        let mut mover =
            Self { controls: Controls::resolve(), slabs, hits: 0, misses: 0, left: 0, moves_all: false };
        mover.slabs.iter_mut().for_each(|usage| usage.nonfull = 0);
        mover
    }

    /// One that moves every small allocation, wherever it lies: what tests hold [`Relocate`] to.
    #[must_use]
    pub fn of_everything() -> Self {
        Self { moves_all: true, ..Self::new() }
    }

    /// Looks at how full slabs are now: the measure for allocations from here on.
    pub fn refresh(&mut self) -> Fragmentation {
        let statistics = AllocatorStatistics::now();
        for (known, now) in self.slabs.iter_mut().zip(slab_usage()) {
            *known = now;
        }
        let bytes = self.slabs.iter().map(SlabUsage::unused_bytes).sum::<usize>();
        Fragmentation { bytes, percent: bytes as f64 / statistics.allocated.max(1) as f64 * 100.0 }
    }

    /// Has the thread give back the free allocations it keeps: each would keep its slab.
    pub fn begin_cycle(&self) {
        flush_thread_cache();
    }

    /// Begins a step of a few microseconds.
    pub fn begin_step(&mut self) {
        self.left = QUESTIONS_PER_STEP;
    }

    /// Whether the step has taken its time.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Counts a place where there may have been nothing to ask about, so that a step over many of them ends, too.
    pub fn pass(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// The size of an allocation if it is to move.
    fn size_if_sparse(&self, block: NonNull<u8>) -> Option<usize> {
        let controls = self.controls.as_ref()?;
        let slab = controls.slab_of(block);
        if slab.regions <= 1 {
            return None;
        }
        let size = slab.bytes / slab.regions;
        if self.moves_all {
            return Some(size);
        }
        let at = self.slabs.binary_search_by_key(&size, |usage| usage.size).ok()?;
        let usual = self.slabs.get(at)?;
        let is_sparse = is_sparser(slab.regions - slab.free, usual);
        (is_sparse && !controls.lies_in_filled_slab(block)).then_some(size)
    }

    /// A copy of an allocation that lies badly, in a better place, for an owner that has to tell others before it
    /// [releases](Mover::release) the old one; `None` if it stays.
    ///
    /// # Safety
    /// `block` is a live allocation of this process's allocator.
    pub unsafe fn copy(&mut self, block: NonNull<u8>) -> Option<NonNull<u8>> {
        self.left = self.left.saturating_sub(1);
        let Some(size) = self.size_if_sparse(block) else {
            self.misses += 1;
            return None;
        };
        // SAFETY: the size is that of a size class, above 0.
        let copy = unsafe { jemalloc::mallocx(size, jemalloc::MALLOCX_TCACHE_NONE) };
        // Without memory for a copy everything stays as it is.
        let copy = NonNull::new(copy.cast::<u8>())?;
        // SAFETY: both are `size` bytes long, the old one because that is its region's size; they are distinct.
        unsafe { ptr::copy_nonoverlapping(block.as_ptr(), copy.as_ptr(), size) };
        self.hits += 1;
        Some(copy)
    }

    /// Frees an allocation that [`Mover::copy`] has copied, past the thread's cache.
    ///
    /// # Safety
    /// Nothing uses `block` any more.
    pub unsafe fn release(&mut self, block: NonNull<u8>) {
        // SAFETY: the caller gives the allocation up.
        unsafe { jemalloc::dallocx(block.as_ptr().cast(), jemalloc::MALLOCX_TCACHE_NONE) }
    }

    /// Moves an allocation if it lies badly, and says where it is now.
    ///
    /// # Safety
    /// `block` is a live allocation of this process's allocator that the caller owns, and its old address is used no
    /// more.
    #[must_use]
    pub unsafe fn relocate(&mut self, block: NonNull<u8>) -> NonNull<u8> {
        // SAFETY: the caller says that the block is alive.
        let Some(copy) = (unsafe { self.copy(block) }) else { return block };
        // SAFETY: the caller uses the copy from here on.
        unsafe { self.release(block) };
        copy
    }

    /// Bytes made anew in the place of shared ones that lie badly; each of the sharers has to take them. They come out of
    /// the thread's cache, so that it should be flushed before some of these and after the old ones are gone.
    pub fn renew(&mut self, bytes: &Rc<[u8]>) -> Option<Rc<[u8]>> {
        self.left = self.left.saturating_sub(1);
        let renewed = match self.size_if_sparse(NonNull::from(&**bytes).cast()) {
            Some(_) => Rc::from(&**bytes),
            None => {
                self.misses += 1;
                return None;
            }
        };
        self.hits += 1;
        Some(renewed)
    }

    /// Moves a vector's buffer.
    pub fn relocate_vec<T>(&mut self, vec: &mut Vec<T>) {
        if vec.capacity() * size_of::<T>() == 0 {
            return;
        }
        let mut old = ManuallyDrop::new(mem::take(vec));
        let (len, capacity) = (old.len(), old.capacity());
        let Some(buffer) = NonNull::new(old.as_mut_ptr()) else { return };
        // SAFETY: the vector has a buffer and owns it; only what is made of the result below uses it.
        let buffer = unsafe { self.relocate(buffer.cast()) }.cast::<T>();
        // SAFETY: the buffer is of the same size class, so of the same layout to the allocator, with the same elements.
        *vec = unsafe { Vec::from_raw_parts(buffer.as_ptr(), len, capacity) };
    }

    /// Moves a boxed value.
    pub fn relocate_box<T>(&mut self, value: &mut Box<T>) {
        if size_of::<T>() == 0 {
            return;
        }
        let block = NonNull::from(&mut **value).cast::<u8>();
        // SAFETY: the box owns its allocation; only what is made of the result below uses it.
        let moved = unsafe { self.relocate(block) }.cast::<T>();
        // SAFETY: the allocation is of the same size class and holds the same value.
        let moved = unsafe { Box::from_raw(moved.as_ptr()) };
        mem::forget(mem::replace(value, moved));
    }

    /// Moves boxed bytes.
    pub fn relocate_bytes(&mut self, bytes: &mut Box<[u8]>) {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        let block = NonNull::from(&mut **bytes).cast::<u8>();
        // SAFETY: the box owns its allocation; only what is made of the result below uses it.
        let moved = unsafe { self.relocate(block) };
        let moved = ptr::slice_from_raw_parts_mut(moved.as_ptr(), len);
        // SAFETY: the allocation is of the same size class and holds the same bytes.
        let moved = unsafe { Box::from_raw(moved) };
        mem::forget(mem::replace(bytes, moved));
    }
}

/// Whether a slab with `used` regions in use is so much less full than the other ones that are not full that emptying
/// it is worth while (Valkey: `makeDefragDecision`).
fn is_sparser(used: usize, usual: &SlabUsage) -> bool {
    if usual.nonfull < 2 {
        return false;
    }
    if 1000 * used < usual.regions * MARGIN_MILLI {
        return true;
    }
    let in_full_slabs = (usual.slabs - usual.nonfull.min(usual.slabs)) * usual.regions;
    let in_nonfull_slabs = usual.used.saturating_sub(in_full_slabs);
    1000 * used * usual.nonfull <= (1000 + MARGIN_MILLI) * in_nonfull_slabs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::memory::allocated_bytes;

    #[test]
    fn a_slab_is_sparse_against_the_usual_one() {
        let usual = SlabUsage { size: 64, regions: 64, slabs: 12, nonfull: 10, used: 2 * 64 + 10 * 32 };
        assert!(is_sparser(32, &usual) && is_sparser(36, &usual) && is_sparser(1, &usual));
        assert!(!is_sparser(37, &usual) && !is_sparser(63, &usual));
        assert!(!is_sparser(1, &SlabUsage { nonfull: 1, ..usual }), "nowhere else to go");
        let nearly_empty = SlabUsage { used: 2 * 64 + 10, ..usual };
        assert!(is_sparser(7, &nearly_empty), "an eighth is always sparse");
    }

    #[test]
    fn what_is_left_of_many_moves_together_and_stays_the_same() {
        const SIZE: usize = 1500;
        let mut vecs: Vec<Vec<u8>> = (0..4000).map(|number| vec![number as u8; SIZE]).collect();
        let mut number = 0;
        vecs.retain(|_| {
            number += 1;
            number % 4 == 0
        });
        let mut mover = Mover::new();
        mover.begin_cycle();
        let before = mover.refresh();
        let weight = allocated_bytes();
        for round in 0..3 {
            mover.refresh();
            for vec in &mut vecs {
                mover.relocate_vec(vec);
            }
            assert!(round > 0 || mover.hits > 500, "{mover:?}");
        }
        assert_eq!(allocated_bytes(), weight);
        // Other tests allocate meanwhile, but not 3000 of this size.
        let class = crate::memory::usable_size(SIZE);
        let unused: usize =
            slab_usage().filter(|usage| usage.size == class).map(|usage| usage.unused_bytes()).sum();
        assert!(before.bytes > 2000 * class && unused < 1000 * class, "{before:?} {unused}");
        for (at, vec) in vecs.iter().enumerate() {
            assert!(vec.len() == SIZE && vec.iter().all(|byte| *byte == (4 * at + 3) as u8));
        }
    }

    #[test]
    fn boxes_and_bytes_survive_their_move() {
        let mut mover = Mover::new();
        let mut kept: Vec<(Box<u128>, Box<[u8]>)> = Vec::new();
        for number in 0..3000_u128 {
            let pair = (Box::new(number), vec![number as u8; 1000].into_boxed_slice());
            if number % 3 == 0 {
                kept.push(pair);
            }
        }
        mover.refresh();
        for (number, bytes) in &mut kept {
            mover.relocate_box(number);
            mover.relocate_bytes(bytes);
        }
        for (at, (number, bytes)) in kept.iter().enumerate() {
            assert_eq!(**number, 3 * at as u128);
            assert_eq!(ptr::from_ref(&**number) as usize % 16, 0);
            assert!(bytes.len() == 1000 && bytes.iter().all(|byte| *byte == (3 * at) as u8));
        }
        mover.relocate_vec(&mut Vec::<u64>::new());
        mover.relocate_bytes(&mut Box::default());
    }

    #[test]
    fn a_large_allocation_stays() {
        let mut mover = Mover::new();
        mover.refresh();
        let mut large = vec![1_u8; 1 << 20];
        let address = large.as_ptr();
        mover.relocate_vec(&mut large);
        assert_eq!((large.as_ptr(), mover.hits, mover.misses), (address, 0, 1));
    }
}
