//! One member as it is seen from outside, and the walk over all of them.

use super::table::{self, MemberTable};
use crate::algorithms::numbers::{decimal_length, parse_i64};
use crate::structures::intset::Intset;
use crate::structures::listpack::{self, Listpack, Value};

/// A member in place: the integer where the encoding holds one, else its bytes. Bytes may be an integer's text too.
#[derive(Debug, Clone, Copy)]
pub enum MemberRef<'a> {
    /// The member is the decimal text of this.
    Int(i64),
    /// The member is these bytes.
    Bytes(&'a [u8]),
}

impl<'a> MemberRef<'a> {
    /// The member's bytes; an integer is written into `buffer`.
    #[inline]
    #[must_use]
    pub fn as_bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(integer) => buffer.format(integer).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The member as an integer, if it is one's text.
    #[inline]
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Self::Int(integer) => Some(integer),
            Self::Bytes(bytes) => parse_i64(bytes),
        }
    }

    /// The number of bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match *self {
            Self::Int(integer) => decimal_length(integer),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// The same member, as an integer wherever it is one: two canonical members are equal as they stand.
    #[inline]
    pub(super) fn canonical(self) -> Self {
        match self.as_integer() {
            Some(integer) => Self::Int(integer),
            None => self,
        }
    }
}

impl<'a> From<&'a [u8]> for MemberRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<Value<'a>> for MemberRef<'a> {
    #[inline]
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Int(integer) => Self::Int(integer),
            Value::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

impl<'a> From<MemberRef<'a>> for Value<'a> {
    #[inline]
    fn from(member: MemberRef<'a>) -> Self {
        match member {
            MemberRef::Int(integer) => Self::Int(integer),
            MemberRef::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// The members of a set; see [`super::Set::iter`].
pub struct Iter<'a>(Walk<'a>);

enum Walk<'a> {
    Intset(&'a Intset, usize),
    Listpack(listpack::Iter<'a>),
    Table(table::Iter<'a>),
}

impl<'a> Iter<'a> {
    pub(super) fn of_intset(intset: &'a Intset) -> Self {
        Self(Walk::Intset(intset, 0))
    }

    pub(super) fn of_listpack(listpack: &'a Listpack) -> Self {
        Self(Walk::Listpack(listpack.iter()))
    }

    pub(super) fn of_table(table: &'a MemberTable) -> Self {
        Self(Walk::Table(table.iter()))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = MemberRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<MemberRef<'a>> {
        match &mut self.0 {
            Walk::Intset(intset, index) => {
                let integer = intset.get(*index)?;
                *index += 1;
                Some(MemberRef::Int(integer))
            }
            Walk::Listpack(elements) => elements.next().map(MemberRef::from),
            Walk::Table(members) => members.next().map(|member| MemberRef::Bytes(member.key())),
        }
    }
}
