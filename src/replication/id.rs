//! The identifier of a history of writes: 40 hexadecimal digits, chosen at random by the primary that began it.

use std::fmt;

/// How many digits there are.
const DIGITS: usize = 40;

/// Which history a data set has: equal identifiers and equal offsets mean equal data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReplicationId([u8; DIGITS]);

impl ReplicationId {
    /// The identifier of no history.
    pub const NONE: Self = Self([b'0'; DIGITS]);

    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut random = [0_u8; DIGITS];
        if getrandom::fill(&mut random).is_err() {
            fastrand::fill(&mut random);
        }
        Self(random.map(|byte| HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0')))
    }

    /// The identifier with these characters; `None` unless there are 40.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    /// Its characters, by value.
    #[must_use]
    pub fn bytes(self) -> [u8; DIGITS] {
        self.0
    }

    /// Its characters.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_identifier_is_forty_digits_and_new_each_time() {
        let one = ReplicationId::random();
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
        assert_ne!(one, ReplicationId::random());
        assert_eq!(ReplicationId::parse(one.to_string().as_bytes()), Some(one));
        assert_eq!(ReplicationId::parse(b"?"), None);
    }
}
