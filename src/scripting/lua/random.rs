//! The generator behind `math.random`: 48 bits of linear congruence, as C's `lrand48`, so that sequences are Valkey's.

/// The generator.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    state: u64,
}

impl Default for Random {
    fn default() -> Self {
        Self { state: 0x1234_abcd_330e }
    }
}

impl Random {
    /// Begins the sequence of a seed.
    pub fn seed(&mut self, seed: i32) {
        self.state = u64::from(seed as u32) << 16 | 0x330e;
    }

    /// The next number, from 0 to 2^31 - 1.
    pub fn draw(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & ((1 << 48) - 1);
        (self.state >> 17) as u32
    }
}
