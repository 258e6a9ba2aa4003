//! Hashing: keyed for what clients choose, fast for what they cannot.
//!
//! Keys, members and fields come from clients, who could flood a table whose hash they can predict; those are hashed
//! with SipHash-1-3 under a random key of the process. Maps that no client can fill use [`FastMap`] and [`FastSet`].

use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

static KEY_LOW: AtomicU64 = AtomicU64::new(0);
static KEY_HIGH: AtomicU64 = AtomicU64::new(0);

/// The hasher of maps that no client can fill: fast, unkeyed, the same in every process.
pub type FastHasher = foldhash::fast::FixedState;

/// A hash map for keys that no client chooses.
pub type FastMap<K, V> = hashbrown::HashMap<K, V, FastHasher>;

/// A hash set for members that no client chooses.
pub type FastSet<K> = hashbrown::HashSet<K, FastHasher>;

/// Sets the key of [`hash`]. To be called once at startup, before anything is hashed: every table built under the
/// old key would be unreadable.
pub fn seed(key: [u8; 16]) {
    let whole = u128::from_le_bytes(key);
    KEY_LOW.store(whole as u64, Ordering::Relaxed);
    KEY_HIGH.store((whole >> 64) as u64, Ordering::Relaxed);
}

/// SipHash-1-3 of `bytes` under the key of the process.
#[inline]
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(KEY_LOW.load(Ordering::Relaxed), KEY_HIGH.load(Ordering::Relaxed)).hash(bytes)
}

/// MurmurHash3 for 32 bits, which Valkey's Lua hashes strings with. Whoever knows it can make strings collide.
#[must_use]
pub fn murmur3(bytes: &[u8], seed: u32) -> u32 {
    let scrambled = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(seed, |hash, word| {
        let mixed = hash ^ scrambled(u32::from_le_bytes(*word));
        mixed.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    hash ^= scrambled(last) ^ bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn is_the_keyed_siphash_of_the_bytes() {
        // The other tests of the process hash under the zero key too, so the key is left as it is.
        for length in 0..70 {
            let bytes = vec![7_u8; length];
            let mut streaming = SipHasher13::new_with_keys(0, 0);
            streaming.write(&bytes);
            assert_eq!(hash(&bytes), streaming.finish());
        }
        let keyed = SipHasher13::new_with_keys(1, 2).hash(b"key");
        assert_ne!(keyed, hash(b"key"));
    }

    #[test]
    fn murmur3_is_the_known_one() {
        let seed = 0x9747_b28c;
        assert_eq!(murmur3(b"", 0), 0);
        assert_eq!(murmur3(b"", 1), 0x514e_28b7);
        assert_eq!(murmur3(b"test", seed), 0x704b_81dc);
        assert_eq!(murmur3(b"Hello, world!", seed), 0x2488_4cba);
        assert_eq!(murmur3(b"The quick brown fox jumps over the lazy dog", seed), 0x2fa8_26cd);
    }
}
