//! The iterator over a range of ranks: it holds the leaf it stands in as a slice, and finds the next leaf by rank
//! from the root, which costs one descent a leaf and needs neither links between leaves nor a path.

use std::iter::FusedIterator;
use std::slice;

use super::node::Node;

/// Items of a range of ranks, in order; from either end.
#[derive(Debug, Clone)]
pub struct Range<'a, T> {
    root: &'a Node<T>,
    start: usize,
    end: usize,
    front: slice::Iter<'a, T>,
    back: slice::Iter<'a, T>,
}

impl<'a, T: Copy> Range<'a, T> {
    /// `end` is at most the number of items below `root`.
    pub(super) fn new(root: &'a Node<T>, start: usize, end: usize) -> Self {
        Self { root, start, end, front: [].iter(), back: [].iter() }
    }
}

impl<'a, T: Copy> Iterator for Range<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.start >= self.end {
            return None;
        }
        if self.front.as_slice().is_empty() {
            let (leaf, offset) = self.root.leaf_at(self.start);
            self.front = leaf[offset..].iter();
        }
        self.start += 1;
        self.front.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.start;
        (left, Some(left))
    }
}

impl<T: Copy> DoubleEndedIterator for Range<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        self.end -= 1;
        if self.back.as_slice().is_empty() {
            let (leaf, offset) = self.root.leaf_at(self.end);
            self.back = leaf[..=offset].iter();
        }
        self.back.next_back()
    }
}

impl<T: Copy> ExactSizeIterator for Range<'_, T> {}
impl<T: Copy> FusedIterator for Range<'_, T> {}
