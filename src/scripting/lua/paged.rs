//! A list that grows by a page at a time, so that no growth moves more than one page.
//!
//! ```text
//!   head    | 0 | 1 | ... | PAGE-1 |     grows by doubling, up to a page
//!   pages   | PAGE ... | 2*PAGE ... |    once the head is full; all but the last one are full, none is empty
//! ```
//! Short lists cost what a vector does, and reading one of the first places takes no step more.

use std::ops::{Index, IndexMut};

use crate::memory::{box_usage, usable_size, vec_usage};

/// Places of a page.
pub(super) const PAGE: usize = if cfg!(test) { 32 } else { 8192 };

/// The list.
#[derive(Debug)]
pub(super) struct Paged<T> {
    head: Vec<T>,
    rest: Option<Box<Rest<T>>>,
    /// Bytes of the places and of the pages' list.
    bytes: usize,
}

#[derive(Debug)]
struct Rest<T> {
    pages: Vec<Vec<T>>,
    /// In all of the pages.
    len: usize,
    /// How long the list has been.
    longest: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { head: Vec::new(), rest: None, bytes: 0 }
    }
}

impl<T> Default for Rest<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0, longest: 0 }
    }
}

impl<T> Rest<T> {
    fn shrink_list(&mut self) {
        if self.pages.capacity() > 4 * self.pages.len() + 16 {
            self.pages.shrink_to(2 * self.pages.len());
        }
    }
}

impl<T> Paged<T> {
    /// A list with room for so many, but at most a page.
    pub(super) fn with_room(room: usize) -> Self {
        let mut list = Self { head: Vec::with_capacity(room.min(PAGE)), ..Self::default() };
        list.weigh();
        list
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.rest.as_ref().map_or(0, |rest| rest.len)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        match self.head.get(place) {
            Some(item) => Some(item),
            None => self.rest.as_ref()?.pages.get((place / PAGE).wrapping_sub(1))?.get(place % PAGE),
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        match self.head.get_mut(place) {
            Some(item) => Some(item),
            None => self.rest.as_mut()?.pages.get_mut((place / PAGE).wrapping_sub(1))?.get_mut(place % PAGE),
        }
    }

    pub(super) fn last(&self) -> Option<&T> {
        match &self.rest {
            Some(rest) if rest.len > 0 => rest.pages.last()?.last(),
            _ => self.head.last(),
        }
    }

    /// Whether another one fits without more memory.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.head.len() < self.head.capacity()
            || self.rest.as_ref().and_then(|rest| rest.pages.last()).is_some_and(|page| page.len() < PAGE)
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        if self.head.len() < self.head.capacity() {
            self.head.push(item);
        } else {
            self.push_beyond(item);
        }
    }

    #[inline(never)]
    fn push_beyond(&mut self, item: T) {
        if self.head.len() < PAGE {
            self.grow_head((self.head.len() * 2).max(4));
            return self.head.push(item);
        }
        let rest = self.rest.get_or_insert_default();
        rest.len += 1;
        rest.longest = rest.longest.max(rest.len);
        if let Some(page) = rest.pages.last_mut()
            && page.len() < PAGE
        {
            return page.push(item);
        }
        let mut page = Vec::with_capacity(PAGE);
        page.push(item);
        rest.pages.push(page);
        self.weigh();
    }

    /// Makes room for so many altogether, as far as they fit in the head.
    pub(super) fn grow_head(&mut self, room: usize) {
        let room = room.min(PAGE);
        self.head.reserve_exact(room.saturating_sub(self.head.len()));
        self.weigh();
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        match &mut self.rest {
            Some(rest) if rest.len > 0 => {
                let page = rest.pages.last_mut()?;
                let item = page.pop();
                rest.len -= 1;
                if page.is_empty() {
                    rest.pages.pop();
                    rest.shrink_list();
                    self.weigh();
                }
                item
            }
            _ => self.head.pop(),
        }
    }

    /// Drops what is beyond so many, page by page.
    pub(super) fn truncate(&mut self, len: usize) {
        if let Some(rest) = &mut self.rest {
            let left = len.saturating_sub(PAGE).min(rest.len);
            rest.pages.truncate(left.div_ceil(PAGE));
            if let Some(page) = rest.pages.last_mut() {
                page.truncate(left - (left - 1) / PAGE * PAGE);
            }
            rest.len = left;
            rest.shrink_list();
            self.weigh();
        }
        self.head.truncate(len);
    }

    /// Drops up to so many from the end; says how many.
    pub(super) fn cut(&mut self, count: usize) -> usize {
        let before = self.len();
        self.truncate(before.saturating_sub(count));
        before - self.len()
    }

    /// Gives back room of the head if it is more than twice as much.
    pub(super) fn shrink_to(&mut self, room: usize) {
        if self.rest.as_ref().is_none_or(|rest| rest.len == 0) && self.head.capacity() > 2 * room {
            self.head.shrink_to(room);
            self.weigh();
        }
    }

    /// Those from a place on that lie side by side; none at the end.
    pub(super) fn run_from(&self, place: usize) -> &[T] {
        let page = match place.checked_sub(PAGE) {
            None => &self.head,
            Some(beyond) => match self.rest.as_ref().and_then(|rest| rest.pages.get(beyond / PAGE)) {
                Some(page) => page,
                None => return &[],
            },
        };
        page.get(place % PAGE..).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let pages = self.rest.as_ref().map(|rest| rest.pages.as_slice()).unwrap_or_default();
        self.head.iter().chain(pages.iter().flatten())
    }

    /// How many there are or could be without more memory.
    pub(super) fn capacity(&self) -> usize {
        self.head.capacity() + self.rest.as_ref().map_or(0, |rest| rest.pages.len() * PAGE)
    }

    /// No place from this one on has ever been in use.
    pub(super) fn reached(&self) -> usize {
        self.head.capacity() + self.rest.as_ref().map_or(0, |rest| rest.longest)
    }

    /// Bytes of the places and of the pages' list.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Counts them, after something was allocated or given back.
    fn weigh(&mut self) {
        self.bytes = vec_usage(&self.head)
            + self.rest.as_ref().map_or(0, |rest| {
                rest.pages.len() * usable_size(PAGE * size_of::<T>())
                    + vec_usage(&rest.pages)
                    + box_usage::<Rest<T>>()
            });
    }
}

impl<T: Copy> Paged<T> {
    /// Copies the items of `from..to` one place up; the last goes where `to` is.
    pub(super) fn move_up(&mut self, from: usize, to: usize) {
        let mut end = to + 1;
        while end > from + 1 {
            let page = (end - 1) / PAGE * PAGE;
            let begin = page.max(from);
            let before =
                begin.checked_sub(1).filter(|_| begin > from).and_then(|place| self.get(place).copied());
            let items = self.page_mut(page);
            items.copy_within(begin - page..end - 1 - page, begin + 1 - page);
            if let Some(before) = before {
                items[begin - page] = before;
            }
            end = begin;
        }
    }

    /// Copies the items of `from..to` one place down; the first goes to the place before it.
    pub(super) fn move_down(&mut self, from: usize, to: usize) {
        let mut begin = from - 1;
        while begin + 1 < to {
            let page = begin / PAGE * PAGE;
            let end = (page + PAGE).min(to);
            let after = self.get(end).copied().filter(|_| end < to);
            let items = self.page_mut(page);
            items.copy_within(begin + 1 - page..end - page, begin - page);
            if let Some(after) = after {
                items[end - 1 - page] = after;
            }
            begin = end;
        }
    }

    fn page_mut(&mut self, first: usize) -> &mut [T] {
        match first.checked_sub(PAGE) {
            None => &mut self.head,
            Some(beyond) => self
                .rest
                .as_mut()
                .and_then(|rest| rest.pages.get_mut(beyond / PAGE))
                .map(Vec::as_mut_slice)
                .unwrap_or_default(),
        }
    }
}

impl<T> Index<usize> for Paged<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: usize) -> &T {
        match self.head.get(place) {
            Some(item) => item,
            None => &self.rest.as_ref().map(|rest| rest.pages.as_slice()).unwrap_or_default()
                [place / PAGE - 1][place % PAGE],
        }
    }
}

impl<T> IndexMut<usize> for Paged<T> {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut T {
        match self.head.get_mut(place) {
            Some(item) => item,
            None => &mut self.rest.as_mut().map(|rest| rest.pages.as_mut_slice()).unwrap_or_default()
                [place / PAGE - 1][place % PAGE],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn filled(count: usize) -> Paged<usize> {
        let mut list = Paged::default();
        (0..count).for_each(|item| list.push(item));
        list
    }

    #[test]
    fn is_a_list_however_long() {
        for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE + 5] {
            let mut list = filled(count);
            assert_eq!(list.len(), count);
            assert!(list.iter().copied().eq(0..count));
            assert_eq!(list.last().copied(), count.checked_sub(1));
            assert_eq!((list.get(count), list.get(count + 9 * PAGE)), (None, None));
            assert!((0..count).all(|place| list.get(place) == Some(&place) && list[place] == place));
            let mut place = 0;
            while let [first, ..] = list.run_from(place) {
                assert_eq!(*first, place);
                place += list.run_from(place).len();
            }
            assert_eq!(place, count);
            for left in (0..count).rev() {
                assert_eq!(list.pop(), Some(left));
                assert_eq!(list.len(), left);
            }
            assert_eq!(list.pop(), None);
            assert!(list.reached() >= count && list.capacity() <= PAGE);
        }
    }

    #[test]
    fn what_is_beyond_a_length_goes() {
        for count in [0, 5, PAGE, PAGE + 1, 3 * PAGE] {
            for len in [0, 3, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1, 4 * PAGE] {
                let mut list = filled(count);
                list.truncate(len);
                assert!(list.iter().copied().eq(0..len.min(count)), "{count} to {len}");
                assert_eq!(list.len(), len.min(count));
                list.push(7);
                assert_eq!(list[len.min(count)], 7);
            }
        }
    }

    #[test]
    fn items_move_by_one_across_pages() {
        for count in [2, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 1] {
            for from in [1, 2, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 3] {
                let mut expected: Vec<usize> = (0..count).collect();
                let mut list = filled(count);
                if from < count - 1 {
                    expected.copy_within(from..count - 1, from + 1);
                    list.move_up(from, count - 1);
                    assert!(list.iter().eq(expected.iter()), "{count} up from {from}");
                }
                if from < count {
                    expected.copy_within(from..count, from - 1);
                    list.move_down(from, count);
                    assert!(list.iter().eq(expected.iter()), "{count} down from {from}");
                }
            }
        }
    }

    #[test]
    fn growth_moves_nothing_beyond_the_first_page() {
        let mut list = filled(PAGE);
        let first: *const usize = &list[0];
        (0..20 * PAGE).for_each(|item| list.push(item));
        assert!(std::ptr::eq(first, &list[0]));
        assert_eq!(list.capacity(), 21 * PAGE);
    }
}
