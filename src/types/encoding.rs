//! Types, their encodings, and how a value becomes what an entry holds of it: an encoding and one word.
//!
//! The one file of this layer with `unsafe`: the macro that turns a type's encodings into words and back.

use crate::memory::{MemoryUsage, Relocate};

/// The six value types, in the order in which Valkey numbers them (and the profile lists them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValueType {
    /// Bytes, or a 64-bit integer.
    String,
    /// A sequence of byte strings.
    List,
    /// Distinct byte strings.
    Set,
    /// Distinct byte strings, each with a score, in order of score.
    SortedSet,
    /// Fields with values, each field with an expiry of its own if wanted.
    Hash,
    /// An append-only log of entries with ids, and its consumer groups.
    Stream,
}

impl ValueType {
    /// Every type, in order.
    pub const ALL: [Self; 6] =
        [Self::String, Self::List, Self::Set, Self::SortedSet, Self::Hash, Self::Stream];

    /// The name that `TYPE` replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

/// How a value is laid out; decides its type too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// String: a 64-bit integer in the entry.
    Int,
    /// String: bytes inside the entry.
    Embstr,
    /// String: bytes in a block of their own.
    Raw,
    /// List: one listpack.
    ListListpack,
    /// List: many listpacks.
    Quicklist,
    /// Set: sorted integers.
    Intset,
    /// Set: one listpack.
    SetListpack,
    /// Set: a hash table of members.
    SetHashtable,
    /// Hash: one listpack of fields and values.
    HashListpack,
    /// Hash: a hash table of fields.
    HashHashtable,
    /// Sorted set: one listpack of members and scores.
    SortedSetListpack,
    /// Sorted set: a hash table of members beside an ordered index. Valkey calls it `skiplist`.
    Skiplist,
    /// Stream: an index of listpacks.
    Stream,
}

impl Encoding {
    /// Every encoding, in the order of its number.
    pub const ALL: [Self; 13] = [
        Self::Int,
        Self::Embstr,
        Self::Raw,
        Self::ListListpack,
        Self::Quicklist,
        Self::Intset,
        Self::SetListpack,
        Self::SetHashtable,
        Self::HashListpack,
        Self::HashHashtable,
        Self::SortedSetListpack,
        Self::Skiplist,
        Self::Stream,
    ];

    /// The name that `OBJECT ENCODING` replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Embstr => "embstr",
            Self::Raw => "raw",
            Self::ListListpack | Self::SetListpack | Self::HashListpack | Self::SortedSetListpack => {
                "listpack"
            }
            Self::Quicklist => "quicklist",
            Self::Intset => "intset",
            Self::SetHashtable | Self::HashHashtable => "hashtable",
            Self::Skiplist => "skiplist",
            Self::Stream => "stream",
        }
    }

    /// The type whose encoding this is.
    #[must_use]
    pub const fn value_type(self) -> ValueType {
        match self {
            Self::Int | Self::Embstr | Self::Raw => ValueType::String,
            Self::ListListpack | Self::Quicklist => ValueType::List,
            Self::Intset | Self::SetListpack | Self::SetHashtable => ValueType::Set,
            Self::HashListpack | Self::HashHashtable => ValueType::Hash,
            Self::SortedSetListpack | Self::Skiplist => ValueType::SortedSet,
            Self::Stream => ValueType::Stream,
        }
    }
}

/// A collection that an entry can hold: an encoding and one word. Declared with [`crate::encodings!`].
///
/// # Safety
/// `from_parts(into_parts(x))` must be `x`.
pub unsafe trait EntryValue: Sized + MemoryUsage + Relocate {
    /// The type it is.
    const TYPE: ValueType;
    /// Gives up ownership into what an entry stores.
    fn into_parts(self) -> (Encoding, u64);
    /// Takes ownership back.
    ///
    /// # Safety
    /// The pair came from [`EntryValue::into_parts`] of the same type and was not taken back yet.
    unsafe fn from_parts(encoding: Encoding, word: u64) -> Self;
}

/// Declares the encodings of a value type: an enum of one-word variants, each with its `Encoding`, and how it goes
/// into an entry's word and back.
#[macro_export]
macro_rules! encodings {
    ($(#[$meta:meta])* $vis:vis enum $name:ident of $value_type:ident {
        $($(#[$vmeta:meta])* $variant:ident($inner:ty) = $encoding:ident,)+
    }) => {
        $(#[$meta])*
        $vis enum $name {
            $($(#[$vmeta])* $variant($inner),)+
        }

        impl $name {
            /// The encoding, as `OBJECT ENCODING` names it.
            #[must_use]
            $vis fn encoding(&self) -> $crate::types::Encoding {
                match self {
                    $(Self::$variant(_) => $crate::types::Encoding::$encoding,)+
                }
            }
        }

        impl $crate::memory::Relocate for $name {
            fn relocate(&mut self, cursor: usize, mover: &mut $crate::memory::Mover) -> usize {
                match self {
                    $(Self::$variant(inner) => inner.relocate(cursor, mover),)+
                }
            }
        }

        // SAFETY: each variant is one word, told apart by its encoding.
        unsafe impl $crate::types::EntryValue for $name {
            const TYPE: $crate::types::ValueType = $crate::types::ValueType::$value_type;

            fn into_parts(self) -> ($crate::types::Encoding, u64) {
                match self {
                    $(Self::$variant(inner) => {
                        ($crate::types::Encoding::$encoding, $crate::structures::word::Word::into_word(inner))
                    })+
                }
            }

            unsafe fn from_parts(encoding: $crate::types::Encoding, word: u64) -> Self {
                match encoding {
                    $($crate::types::Encoding::$encoding => {
                        // SAFETY: the caller gives back a pair that `into_parts` gave.
                        Self::$variant(unsafe { $crate::structures::word::Word::from_word(word) })
                    })+
                    _ => unreachable!("an entry's encoding belongs to its type"),
                }
            }
        }
    };
}
