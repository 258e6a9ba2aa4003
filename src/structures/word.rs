//! Owned values that are one machine word, so that an entry can hold any of them in eight bytes.

use std::ptr::NonNull;

use super::intset::Intset;
use super::listpack::Listpack;

/// A value whose whole inline state is one word.
///
/// # Safety
/// `from_word(into_word(x))` must be `x`, and a word may be turned back only once for each time it was made.
pub unsafe trait Word: Sized {
    /// Gives up ownership into a word.
    fn into_word(self) -> u64;
    /// Takes ownership back.
    ///
    /// # Safety
    /// `word` came from [`Word::into_word`] of the same type and was not taken back yet.
    unsafe fn from_word(word: u64) -> Self;
}

// SAFETY: a box is its pointer.
unsafe impl<T> Word for Box<T> {
    fn into_word(self) -> u64 {
        Box::into_raw(self) as u64
    }

    unsafe fn from_word(word: u64) -> Self {
        // SAFETY: the caller gives back what `into_word` gave.
        unsafe { Box::from_raw(word as *mut T) }
    }
}

/// Types that are the pointer to a block of their own, with `into_raw` and `from_raw`.
macro_rules! words_of_blocks {
    ($($name:ident),+) => {$(
        // SAFETY: such a type is its pointer.
        unsafe impl Word for $name {
            fn into_word(self) -> u64 {
                self.into_raw().as_ptr() as u64
            }

            unsafe fn from_word(word: u64) -> Self {
                // SAFETY: the caller gives back a word made of a non-null pointer.
                let block = unsafe { NonNull::new_unchecked(word as *mut u8) };
                // SAFETY: as above, and it came from `into_raw`.
                unsafe { Self::from_raw(block) }
            }
        }
    )+};
}

words_of_blocks!(Listpack, Intset);
