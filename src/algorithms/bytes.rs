//! Comparing byte strings.

/// Strings up to this length are compared here; a call into the C library costs more than that.
const SHORT: usize = 32;

/// Whether two strings are the same: `==` for those that mostly are, and mostly short, as a key and the one looked for.
#[inline]
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() || a.len() > SHORT {
        return a == b;
    }
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    a_words.iter().zip(b_words).all(|(a, b)| word(a) == word(b))
        && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_equality_of_slices() {
        let bytes: Vec<u8> = (0..80).collect();
        for length in 0..70 {
            let own = bytes[..length].to_vec();
            assert!(same(&own, &bytes[..length]));
            assert!(!same(&own, &bytes[..=length]));
            for at in 0..length {
                let mut other = own.clone();
                other[at] ^= 0x80;
                assert!(!same(&own, &other), "{length} {at}");
            }
        }
    }
}
