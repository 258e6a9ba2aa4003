//! Walks over a listpack's elements, from the front, from the back, or from both until they meet.

use super::element::{back_length_size, read, read_back_length};
use super::{Listpack, Value};

/// The elements of a listpack, in order.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(bytes: &'a [u8], front: usize) -> Self {
        Self { bytes, front, back: bytes.len().saturating_sub(1) }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (value, next) = read(self.bytes, self.front)?;
        self.front = next;
        Some(value)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let encoded = read_back_length(self.bytes, self.back)?;
        self.back = self.back.checked_sub(encoded + back_length_size(encoded))?;
        read(self.bytes, self.back).map(|(value, _)| value)
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Value<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
