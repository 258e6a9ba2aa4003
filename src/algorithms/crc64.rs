//! CRC-64 with the Jones polynomial: the checksum of RDB files, DUMP payloads and the replication stream.
//!
//! Feed it large pieces (64 KiB and up): it then costs a few percent of a copy, byte by byte it costs far more.
//! CRC-64/XZ, which the crate crc64fast computes, is another function and must never seal those formats.

use crc_fast::{CrcAlgorithm, Digest};

/// A CRC-64 Jones over bytes that arrive in pieces.
#[derive(Clone, Copy)]
pub struct Checksum(Digest);

impl Checksum {
    /// The checksum of no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Redis))
    }

    /// Continues from `value`, the checksum of the bytes seen so far.
    #[must_use]
    pub fn resume(value: u64) -> Self {
        Self(Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, value))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Checksum({:016x})", self.value())
    }
}

/// The checksum of one block of bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Redis, bytes)
}

/// Makes the lazy choice of CPU instructions now. To be called before the first fork: a child that finds that choice
/// half made by a thread it does not have would wait for ever.
pub fn warm_up() {
    let block = [0x5a_u8; 4096];
    for length in [8, 64, 256, 1024, 4096] {
        std::hint::black_box(checksum(&block[..length]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle(bytes: &[u8]) -> u64 {
        crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(bytes)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(length as u64);
        (0..length).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn check_value_is_that_of_the_jones_polynomial() {
        warm_up();
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn agrees_with_the_reference_for_every_short_length_and_some_long_ones() {
        for length in (0..600).chain([4095, 4096, 4097, 65_536, 100_003]) {
            let bytes = noise(length);
            assert_eq!(checksum(&bytes), oracle(&bytes), "length {length}");
        }
    }

    #[test]
    fn pieces_add_up_to_the_whole_and_a_value_can_be_resumed() {
        let bytes = noise(10_000);
        for cut in [0, 1, 7, 8, 100, 5000, 9_999, 10_000] {
            let (head, tail) = bytes.split_at(cut);
            let mut running = Checksum::new();
            running.update(head);
            assert_eq!(running.value(), oracle(head));
            let mut resumed = Checksum::resume(running.value());
            running.update(tail);
            resumed.update(tail);
            assert_eq!(running.value(), oracle(&bytes));
            assert_eq!(resumed.value(), running.value());
        }
    }
}
