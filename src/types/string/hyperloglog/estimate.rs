//! From elements to registers, and from registers to an estimate.
//!
//! The hash is MurmurHash64A, the estimator that of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (arXiv:1702.01284): it needs no correction tables.

use super::{HIGHEST, INDEX_BITS, REGISTERS};

const SEED: u64 = 0xadc8_3b19;

/// MurmurHash2, 64 bits, for 64-bit platforms; the same on every byte order.
fn murmur(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    // Valkey's length is a C int.
    let length = i64::from(bytes.len() as i32).cast_unsigned();
    let mut hash = SEED ^ length.wrapping_mul(M);
    let (blocks, rest) = bytes.as_chunks::<8>();
    for block in blocks {
        let mut k = u64::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> R;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ hash >> R).wrapping_mul(M);
    hash ^ hash >> R
}

/// The register that an element belongs to, and how high it raises it: one more than the zeros at the low end of the
/// rest of its hash.
pub(super) fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (index, rest.trailing_zeros() as u8 + 1)
}

/// How many registers have which value.
#[derive(Debug, Clone)]
pub struct Histogram([usize; 64]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl Histogram {
    /// Counts registers of a value below 64.
    pub fn add(&mut self, value: u8, registers: usize) {
        if let Some(count) = self.0.get_mut(usize::from(value)) {
            *count += registers;
        }
    }

    fn of(&self, value: usize) -> f64 {
        self.0.get(value).map_or(0.0, |count| *count as f64)
    }

    /// The estimate. Registers that no element can raise so high make it what a conversion in C makes of infinity.
    #[must_use]
    pub fn cardinality(&self) -> u64 {
        /// 1 / (2 ln 2)
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        let m = REGISTERS as f64;
        let mut z = m * tau((m - self.of(HIGHEST)) / m);
        for value in (1..HIGHEST).rev() {
            z += self.of(value);
            z *= 0.5;
        }
        z += m * sigma(self.of(0) / m);
        let estimate = (ALPHA * m * m / z).round();
        if estimate < i64::MAX as f64 { estimate as u64 } else { i64::MIN.cast_unsigned() }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
