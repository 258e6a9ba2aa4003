//! The ids of nodes and shards: 40 lower-case hexadecimal digits, whatever else a message holds in their place.

use std::fmt;

/// Length of an id.
pub const ID_LENGTH: usize = 40;

/// The id of a node, or of a shard. Ordered as its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; ID_LENGTH]);

impl NodeId {
    /// An id that nobody else has.
    #[must_use]
    pub fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = [0; ID_LENGTH];
        if getrandom::fill(&mut id).is_err() {
            fastrand::fill(&mut id);
        }
        Self(id.map(|byte| DIGITS[usize::from(byte % 16)]))
    }

    /// The id that this text is, if it is one.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id: [u8; ID_LENGTH] = text.try_into().ok()?;
        id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(id))
    }

    /// Its digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits are what every constructor lets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
