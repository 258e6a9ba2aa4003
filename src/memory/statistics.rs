//! What the allocator knows beyond the bytes in use: pages, residency, fragmentation, its own report; and giving
//! unused pages back.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use tikv_jemalloc_ctl::{epoch, raw, stats};
use tikv_jemalloc_sys as jemalloc;

/// Stands for all arenas together in control names (jemalloc: `MALLCTL_ARENAS_ALL`).
const ALL_ARENAS: usize = 4096;

/// The allocator's figures in bytes, taken together. Figures that cannot be read are 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AllocatorStatistics {
    /// In use by the process.
    pub allocated: usize,
    /// In pages that hold at least one allocation.
    pub active: usize,
    /// In pages that are mapped and may be resident.
    pub resident: usize,
    /// In pages that the system may take back when it likes.
    pub muzzy: usize,
    /// Room in slabs of small sizes that is not in use.
    pub small_fragmentation: usize,
}

impl AllocatorStatistics {
    /// The figures as of now.
    #[must_use]
    pub fn now() -> Self {
        let _ = epoch::advance();
        Self {
            allocated: stats::allocated::read().unwrap_or(0),
            active: stats::active::read().unwrap_or(0),
            resident: stats::resident::read().unwrap_or(0),
            muzzy: control::<usize>(&format!("stats.arenas.{ALL_ARENAS}.pmuzzy"))
                .and_then(|pages| Some(pages * control::<usize>("arenas.page")?))
                .unwrap_or(0),
            small_fragmentation: slab_usage().map(|usage| usage.unused_bytes()).sum(),
        }
    }
}

/// How the slabs of one small size are filled, as of the last refresh of the allocator's figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlabUsage {
    /// Bytes of an allocation.
    pub(super) size: usize,
    /// Allocations that a slab has room for.
    pub(super) regions: usize,
    /// Slabs there are.
    pub(super) slabs: usize,
    /// Those that wait with some room left, without the one that is being filled.
    pub(super) nonfull: usize,
    /// Allocations in all slabs.
    pub(super) used: usize,
}

impl SlabUsage {
    /// Room in slabs that is not in use.
    pub(super) fn unused_bytes(&self) -> usize {
        (self.slabs * self.regions).saturating_sub(self.used) * self.size
    }
}

/// The controls that say how the slabs of the first small size are filled. Looking up each size's by name takes ten times
/// as long as putting its number into these.
struct SlabControls {
    size: [usize; 4],
    regions: [usize; 4],
    slabs: [usize; 6],
    nonfull: [usize; 6],
    used: [usize; 6],
}

impl SlabControls {
    fn resolve() -> Option<Self> {
        let of_all = |figure| resolve(&format!("stats.arenas.{ALL_ARENAS}.bins.0.{figure}"));
        Some(Self {
            size: resolve("arenas.bin.0.size")?,
            regions: resolve("arenas.bin.0.nregs")?,
            slabs: of_all("curslabs")?,
            nonfull: of_all("nonfull_slabs")?,
            used: of_all("curregs")?,
        })
    }

    fn usage(&self, bin: usize) -> Option<SlabUsage> {
        let of_size = |[arenas, bins, _, figure]: [usize; 4]| [arenas, bins, bin, figure];
        let of_all =
            |[stats, arenas, all, bins, _, figure]: [usize; 6]| [stats, arenas, all, bins, bin, figure];
        Some(SlabUsage {
            size: resolved(&of_size(self.size))?,
            regions: resolved::<u32>(&of_size(self.regions))? as usize,
            slabs: resolved(&of_all(self.slabs))?,
            nonfull: resolved(&of_all(self.nonfull))?,
            used: resolved(&of_all(self.used))?,
        })
    }
}

/// Every small size, in order.
pub(super) fn slab_usage() -> impl Iterator<Item = SlabUsage> {
    let bins = control::<u32>("arenas.nbins").unwrap_or(0) as usize;
    let controls = SlabControls::resolve();
    (0..bins).map_while(move |bin| controls.as_ref()?.usage(bin))
}

/// Types that controls read here have; each is what jemalloc documents for the names it is read with.
trait ControlValue: Copy {}
impl ControlValue for usize {}
impl ControlValue for u32 {}
impl ControlValue for u8 {}

fn control<T: ControlValue>(name: &str) -> Option<T> {
    let name = format!("{name}\0");
    // SAFETY: the name ends in NUL, and jemalloc refuses a read whose size differs from that of the control.
    unsafe { raw::read(name.as_bytes()) }.ok()
}

/// The control of this name in the form that is quick to ask; `None` if it is not known or has another number of parts.
pub(super) fn resolve<const N: usize>(name: &str) -> Option<[usize; N]> {
    let mut control = [0; N];
    let parts = name.split('.').count();
    let known = parts == N && raw::name_to_mib(format!("{name}\0").as_bytes(), &mut control).is_ok();
    known.then_some(control)
}

fn resolved<T: ControlValue>(control: &[usize]) -> Option<T> {
    // SAFETY: jemalloc refuses a read whose size differs from that of the control.
    unsafe { raw::read_mib(control) }.ok()
}

/// What one of the allocator's controls says, if it says a number of eight or four bytes or of one.
#[must_use]
pub fn control_value(name: &str) -> Option<u64> {
    if name.contains('\0') {
        return None;
    }
    control::<usize>(name)
        .map(|value| value as u64)
        .or_else(|| control::<u32>(name).map(u64::from))
        .or_else(|| control::<u8>(name).map(u64::from))
}

/// Runs a control that neither reads nor writes; says whether jemalloc knows it.
pub(super) fn command(name: &CStr) -> bool {
    // SAFETY: the name ends in NUL, and null pointers with a length of 0 stand for no value.
    unsafe { jemalloc::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) == 0 }
}

/// Gives every unused page back to the system; says whether the allocator did it.
pub fn purge_unused_pages() -> bool {
    super::flush_thread_cache();
    let name = CString::new(format!("arena.{ALL_ARENAS}.purge"));
    name.is_ok_and(|name| command(&name))
}

/// The allocator's own report, for people.
#[must_use]
pub fn allocator_report() -> Vec<u8> {
    extern "C" fn append(report: *mut c_void, text: *const c_char) {
        // SAFETY: jemalloc hands over the pointer it was given below, to a vector that nothing else uses meanwhile.
        let report = unsafe { &mut *report.cast::<Vec<u8>>() };
        // SAFETY: jemalloc passes a string that ends in NUL.
        let text = unsafe { CStr::from_ptr(text) };
        report.extend_from_slice(text.to_bytes());
    }
    let mut report: Vec<u8> = Vec::new();
    // SAFETY: the callback gets the vector back as its first argument; no options are passed.
    unsafe {
        jemalloc::malloc_stats_print(Some(append), (&raw mut report).cast(), ptr::null());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_contain_each_other() {
        let kept: Vec<Vec<u8>> = (0..10_000).map(|_| vec![1; 100]).collect();
        let figures = AllocatorStatistics::now();
        assert!(figures.allocated > kept.len() * 100);
        assert!(figures.active >= figures.allocated);
        assert!(figures.resident >= figures.active);
    }

    #[test]
    fn controls_of_every_size_can_be_read() {
        assert_eq!(control_value("arenas.page"), Some(4096));
        assert_eq!(control_value("arenas.narenas").map(|count| count > 0), Some(true));
        assert!(control_value("opt.abort").is_some_and(|on| on <= 1));
        assert_eq!(control_value("no.such.control"), None);
        assert_eq!(control_value("arenas.page\0"), None);
    }

    #[test]
    fn the_report_is_jemallocs() {
        let report = String::from_utf8(allocator_report()).unwrap_or_default();
        assert!(report.contains("Begin jemalloc statistics"));
    }

    #[test]
    fn unused_pages_can_be_given_back() {
        assert!(purge_unused_pages());
    }
}
