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
}
