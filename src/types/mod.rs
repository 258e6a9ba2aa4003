//! The value types: operations, encodings and their conversion, RDB codec, memory usage; one folder each.
//!
//! An encoding is private to its type's folder: outside, a value is a `List`, a `Hash`, never a listpack.

mod encoding;
pub mod hash;
mod codec;
mod limits;
pub mod list;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod string;

pub use encoding::{Encoding, EntryValue, ValueType};
pub use hash::{ExpiredFields, Hash};
pub use limits::{FlatLimits, Limits, SetLimits, StreamLimits};
pub use list::List;
pub use set::Set;
pub use sorted_set::SortedSet;
pub use stream::Stream;

/// Any value, owned and outside of an entry: what a loader makes and a copy is.
#[derive(Debug)]
pub enum Value {
    /// A string's bytes.
    String(Vec<u8>),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A hash.
    Hash(Hash),
    /// A stream.
    Stream(Stream),
}
