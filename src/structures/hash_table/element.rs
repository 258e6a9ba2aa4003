//! What a table holds, and how its elements are lent out.
//!
//! A table keeps an element as the address of its block. A loan makes the element's handle anew and, if it was a
//! mutable one, writes the block and the marks it then has back into the table when it ends.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::marks::{Mark, Marks};
use super::{HashTable, Position};

/// An owned, thin, one-allocation element of a [`HashTable`].
///
/// # Safety
/// The block of [`Element::into_block`] is aligned to 8 bytes, lies below 2^47, and stays where it is as long as the
/// element is not changed. [`Element::key`] lies in that block (not in the handle), and is the same as long as the
/// element is in a table. Making a handle by [`Element::from_block`] and forgetting it again changes nothing.
pub unsafe trait Element: Sized {
    /// Gives the element up for the address of its block.
    fn into_block(self) -> NonNull<u8>;

    /// The element at `block`.
    ///
    /// # Safety
    /// `block` came from [`Element::into_block`], and no other handle of it is in use.
    unsafe fn from_block(block: NonNull<u8>) -> Self;

    /// What the element is looked up by.
    fn key(&self) -> &[u8];

    /// The marks the element carries now.
    fn marks(&self) -> Marks {
        Marks::NONE
    }

    /// The earliest instant, in Unix milliseconds, at which an element that carries `mark` needs attention.
    fn due_ms(&self, _mark: Mark) -> i64 {
        i64::MAX
    }
}

/// An element lent by its table.
pub struct Borrowed<'a, E: Element> {
    element: ManuallyDrop<E>,
    table: PhantomData<&'a E>,
}

impl<'a, E: Element> Borrowed<'a, E> {
    /// Lends the element at `block`.
    ///
    /// # Safety
    /// The block is that of an element which its owner neither changes nor frees during `'a`.
    #[inline]
    pub(super) unsafe fn new(block: NonNull<u8>) -> Self {
        // SAFETY: the caller lends the element; the handle is never dropped, so the block stays its owner's.
        let element = ManuallyDrop::new(unsafe { E::from_block(block) });
        Self { element, table: PhantomData }
    }

    /// The element's key, for as long as the table is lent.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        let key: *const [u8] = self.element.key();
        // SAFETY: an element's key lies in its block, which stays as it is during 'a.
        unsafe { &*key }
    }
}

impl<E: Element> Deref for Borrowed<'_, E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        &self.element
    }
}

/// An element lent by its table to be changed, its key excepted. Its block and marks go back into the table when the
/// loan ends: it must not be forgotten.
pub struct BorrowedMut<'a, E: Element> {
    pub(super) element: ManuallyDrop<E>,
    pub(super) table: &'a mut HashTable<E>,
    pub(super) position: Position,
}

impl<E: Element> Deref for BorrowedMut<'_, E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        &self.element
    }
}

impl<E: Element> DerefMut for BorrowedMut<'_, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut E {
        &mut self.element
    }
}

impl<E: Element> Drop for BorrowedMut<'_, E> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the element is taken once, here.
        let element = unsafe { ManuallyDrop::take(&mut self.element) };
        self.table.put_back(self.position, element);
    }
}
