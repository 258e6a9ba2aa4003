//! Which branches of the code an input has taken, if the build counts them (`tests/fuzz/run`); otherwise nothing is known
//! and every input is as good as another.

use std::sync::Mutex;

/// The counters of the code, as address and length: one region for each compiled unit.
static REGIONS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by instrumented code before `main`, once a unit.
// SAFETY: the name is the one that the compiler's instrumentation calls, and nothing else defines it.
#[unsafe(no_mangle)]
pub extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let (start, stop) = (start as usize, stop as usize);
    let mut regions = REGIONS.lock().unwrap();
    if stop > start && !regions.iter().any(|(known, _)| *known == start) {
        regions.push((start, stop - start));
    }
}

/// What has been reached so far.
#[derive(Default)]
pub struct Coverage {
    /// For each counter the magnitudes of counts that were met, a bit each.
    seen: Vec<u8>,
    pub reached: usize,
}

impl Coverage {
    /// Whether branches are counted at all.
    pub fn is_on() -> bool {
        !REGIONS.lock().unwrap().is_empty()
    }

    /// Sets the counters back; says whether something was new.
    pub fn take(&mut self) -> bool {
        let regions = REGIONS.lock().unwrap();
        let total = regions.iter().map(|(_, length)| length).sum();
        self.seen.resize(total, 0);
        let (mut new, mut first) = (false, 0);
        for (start, length) in regions.iter().copied() {
            // SAFETY: the region belongs to the program for as long as it runs. Another thread may count meanwhile, which
            // can lose a count of no importance.
            let counters = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, length) };
            for (group, counters) in counters.chunks_mut(64).enumerate() {
                // Most code is not run: that is seen without a look at each counter.
                if counters.iter().fold(0, |all, counter| all | *counter) == 0 {
                    continue;
                }
                for (index, counter) in counters.iter_mut().enumerate().filter(|(_, counter)| **counter != 0)
                {
                    let magnitude = 1 << counter.ilog2();
                    *counter = 0;
                    let seen = &mut self.seen[first + group * 64 + index];
                    if *seen & magnitude == 0 {
                        self.reached += usize::from(*seen == 0);
                        *seen |= magnitude;
                        new = true;
                    }
                }
            }
            first += length;
        }
        new
    }
}
