//! Hash slots: which of 16384 parts of a cluster's keys a key belongs to.
//!
//! CRC-16/XMODEM of the key, or of its first part between `{` and `}` if that is not empty, modulo 16384.

/// How many slots there are.
pub const SLOTS: usize = 16384;

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    const POLYNOMIAL: u16 = 0x1021;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The part of a key that decides on its slot.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let rest = key.get(open + 1..)?;
        rest.get(..memchr::memchr(b'}', rest)?)
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// The slot of a key.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOTS as u16 - 1)
}

/// The slot of every key that matches a pattern; `None` when they can be in different ones, or when an escape makes that
/// hard to say.
#[must_use]
pub fn slot_of_pattern(pattern: &[u8]) -> Option<u16> {
    let tag = hash_tag(pattern);
    let end = match memchr::memchr(b'{', pattern) {
        Some(open) if tag.len() < pattern.len() => open + 1 + tag.len(),
        _ => pattern.len(),
    };
    let hashed = pattern.get(..end).unwrap_or(pattern);
    let is_plain = !hashed.iter().any(|byte| b"*?[\\".contains(byte));
    is_plain.then(|| slot_of(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots that Valkey's documentation and tests name.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{foo}bar"), 12182);
        assert_eq!(slot_of(b"alice"), 749);
        assert_eq!(slot_of(b"key"), 12539);
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn only_the_first_tag_counts_and_only_if_it_is_not_empty() {
        assert_eq!(hash_tag(b"a{b}c{d}"), b"b");
        assert_eq!(hash_tag(b"a{}c{d}"), b"a{}c{d}");
        assert_eq!(hash_tag(b"a{{b}}c"), b"{b");
        assert_eq!(hash_tag(b"a{b"), b"a{b");
        assert_eq!(hash_tag(b"}a{b}"), b"b");
    }

    #[test]
    fn a_pattern_has_a_slot_when_its_star_is_outside_of_the_tag() {
        assert_eq!(slot_of_pattern(b"{foo}*"), Some(12182));
        assert_eq!(slot_of_pattern(b"by*"), None);
        assert_eq!(slot_of_pattern(b"{a*}b"), None);
    }
}
