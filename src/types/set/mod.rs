//! Sets: distinct byte strings, as an intset, one listpack, or a hash table of members.
//!
//! A set begins as compact as its first member allows and only ever becomes less so: intset → listpack → table. When
//! that happens is Valkey's (`t_set.c`), by the thresholds of [`SetLimits`]. Every member that is the text of an
//! integer may be held as that integer; [`MemberRef`] is either.

mod algebra;
mod codec;
mod member_ref;
mod random;
mod table;

impl Set {
    /// How the table's buckets are filled (DEBUG HTSTATS-KEY); `None` in another encoding.
    #[must_use]
    pub fn bucket_statistics(&self) -> Option<BucketStatistics> {
        match self {
            Self::Table(table) => Some(table.bucket_statistics()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

pub use algebra::{difference, intersect, union};
pub use member_ref::{Iter, MemberRef};

use self::table::MemberTable;
use crate::algorithms::numbers::{decimal_length, parse_i64};
use crate::memory::{MemoryUsage, box_usage};
use crate::structures::hash_table::BucketStatistics;
use crate::structures::intset::{self, Intset};
use crate::structures::listpack::{self, Listpack};
use crate::types::{FlatLimits, SetLimits};

crate::encodings! {
    /// The value.
    #[derive(Debug)]
    pub enum Set of Set {
        /// Integers only: sorted in one block.
        Intset(Intset) = Intset,
        /// Short: one listpack.
        Listpack(Listpack) = SetListpack,
        /// Anything else: a hash table.
        Table(Box<MemberTable>) = SetHashtable,
    }
}

/// What a set made of known members begins as; it becomes what they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// An intset as long as there are integers only.
    Intset,
    /// A listpack, even of integers.
    Listpack,
}

/// The most members an intset may have.
fn intset_limit(limits: &SetLimits) -> usize {
    limits.intset_entries.min(intset::MAX_LEN)
}

/// Whether members of these lengths can be one listpack.
fn fits_listpack(limits: &FlatLimits, mut lengths: impl ExactSizeIterator<Item = usize>) -> bool {
    let mut total = 0;
    lengths.len() <= limits.entries
        && lengths.all(|len| {
            total += len;
            len <= limits.value_bytes
        })
        && Listpack::new().has_room_for(total)
}

impl Set {
    /// An empty set that suits `member` as its first of `expected` ones.
    #[must_use]
    pub fn for_member(member: &[u8], expected: usize, limits: &SetLimits) -> Self {
        if expected <= limits.intset_entries && parse_i64(member).is_some() {
            Self::Intset(Intset::new())
        } else if expected <= limits.listpack.entries {
            Self::Listpack(Listpack::new())
        } else {
            Self::Table(Box::default())
        }
    }

    /// A set of distinct members, in the encoding that adding them one by one would have led to.
    fn from_distinct(members: &[MemberRef<'_>], start: Start, limits: &SetLimits) -> Self {
        if start == Start::Intset {
            let integers = members.iter().map_while(MemberRef::as_integer).count();
            if integers > intset_limit(limits) {
                return Self::table_of(members.iter().copied());
            }
            if integers == members.len() {
                return Self::Intset(intset_of(members.iter().filter_map(MemberRef::as_integer).collect()));
            }
        }
        if !fits_listpack(&limits.listpack, members.iter().map(MemberRef::text_len)) {
            return Self::table_of(members.iter().copied());
        }
        Self::Listpack(listpack_of(members.iter().copied()))
    }

    fn table_of<'a>(members: impl Iterator<Item = MemberRef<'a>>) -> Self {
        let mut table = Box::<MemberTable>::default();
        for member in members {
            table.insert(member.as_bytes(&mut itoa::Buffer::new()));
        }
        Self::Table(table)
    }

    fn become_table(&mut self) {
        *self = Self::table_of(self.iter());
    }

    /// Makes ready for up to `count` more members: more than a compact encoding may hold make the set a table at
    /// once.
    pub fn expect(&mut self, count: usize, limits: &SetLimits) {
        let most = match self {
            Self::Intset(_) => limits.intset_entries,
            Self::Listpack(_) => limits.listpack.entries,
            Self::Table(_) => return,
        };
        if count > most {
            self.become_table();
        }
    }

    /// Adds a member; `false` when it is there already.
    pub fn insert(&mut self, member: MemberRef<'_>, limits: &SetLimits) -> bool {
        match self {
            Self::Table(table) => table.insert(member.as_bytes(&mut itoa::Buffer::new())),
            Self::Listpack(listpack) => {
                let mut buffer = itoa::Buffer::new();
                let text = member.as_bytes(&mut buffer);
                if find(listpack, text).is_some() {
                    return false;
                }
                if listpack.len() < limits.listpack.entries
                    && text.len() <= limits.listpack.value_bytes
                    && listpack.has_room_for(text.len())
                {
                    listpack.push_back(member);
                    return true;
                }
                self.become_table();
                self.insert(member, limits)
            }
            Self::Intset(intset) => match member.as_integer() {
                Some(integer) => {
                    let added = intset.insert(integer);
                    if added && intset.len() > intset_limit(limits) {
                        self.become_table();
                    }
                    added
                }
                None => {
                    self.leave_intset(member.text_len(), &limits.listpack);
                    self.insert(member, limits)
                }
            },
        }
    }

    /// Converts an intset for a member of `len` bytes that is no integer.
    fn leave_intset(&mut self, len: usize, limits: &FlatLimits) {
        let Self::Intset(intset) = self else { return };
        let ends = [intset.min(), intset.max()].into_iter().flatten();
        let longest = ends.map(decimal_length).fold(len, usize::max);
        if intset.len() < limits.entries
            && longest <= limits.value_bytes
            && Listpack::new().has_room_for(intset.len() * listpack::element_size(i64::MAX) + len)
        {
            *self = Self::Listpack(listpack_of(self.iter()));
        } else {
            self.become_table();
        }
    }

    /// Takes a member away; `false` when it is not there.
    pub fn remove(&mut self, member: MemberRef<'_>) -> bool {
        match self {
            Self::Table(table) => table.remove(member.as_bytes(&mut itoa::Buffer::new())),
            Self::Intset(intset) => member.as_integer().is_some_and(|integer| intset.remove(integer)),
            Self::Listpack(listpack) => {
                let found = find(listpack, member.as_bytes(&mut itoa::Buffer::new()));
                if let Some(position) = found {
                    listpack.remove(position);
                }
                found.is_some()
            }
        }
    }

    /// Whether a member is there.
    #[must_use]
    pub fn contains(&self, member: MemberRef<'_>) -> bool {
        match self {
            Self::Table(table) => table.contains(member.as_bytes(&mut itoa::Buffer::new())),
            Self::Intset(intset) => member.as_integer().is_some_and(|integer| intset.contains(integer)),
            Self::Listpack(listpack) => find(listpack, member.as_bytes(&mut itoa::Buffer::new())).is_some(),
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Intset(intset) => intset.len(),
            Self::Listpack(listpack) => listpack.len(),
            Self::Table(table) => table.len(),
        }
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Intset(intset) => intset.is_empty(),
            Self::Listpack(listpack) => listpack.is_empty(),
            Self::Table(table) => table.len() == 0,
        }
    }

    /// The members: an intset's ascending, a listpack's as added, a table's in no order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Self::Intset(intset) => Iter::of_intset(intset),
            Self::Listpack(listpack) => Iter::of_listpack(listpack),
            Self::Table(table) => Iter::of_table(table),
        }
    }

    /// Calls `visit` with every member in the order of [`Set::iter`]; the quickest walk over a large set.
    pub fn for_each_member(&self, mut visit: impl FnMut(MemberRef<'_>)) {
        match self {
            Self::Table(table) => table.for_each(|bytes| visit(MemberRef::Bytes(bytes))),
            Self::Intset(_) | Self::Listpack(_) => self.iter().for_each(visit),
        }
    }

    /// Calls `visit` with the bytes of every member.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        self.for_each_member(|member| visit(member.as_bytes(&mut itoa::Buffer::new())));
    }

    /// One step of a scan: calls `visit` with the members at `cursor` and returns the next cursor, 0 at the end. A
    /// compact set is visited whole.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(MemberRef<'_>)) -> u64 {
        match self {
            Self::Table(table) => table.scan(cursor, |bytes| visit(MemberRef::Bytes(bytes))),
            Self::Intset(_) | Self::Listpack(_) => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// A copy of the same encoding.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Intset(intset) => Self::Intset(intset.clone()),
            Self::Listpack(listpack) => Self::Listpack(listpack.clone()),
            Self::Table(_) => Self::table_of(self.iter()),
        }
    }

    /// How many allocations freeing the set takes, roughly.
    #[must_use]
    pub fn effort(&self) -> usize {
        match self {
            Self::Intset(_) | Self::Listpack(_) => 1,
            Self::Table(table) => table.len(),
        }
    }

    /// Whether both are the very same value in memory (two keys of a command may be one).
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Intset(one), Self::Intset(two)) => std::ptr::eq(one.as_bytes(), two.as_bytes()),
            (Self::Listpack(one), Self::Listpack(two)) => std::ptr::eq(one.as_bytes(), two.as_bytes()),
            (Self::Table(one), Self::Table(two)) => std::ptr::eq(&**one, &**two),
            _ => false,
        }
    }
}

fn find(listpack: &Listpack, member: &[u8]) -> Option<listpack::Position> {
    listpack.find(listpack.first()?, member, 1)
}

fn listpack_of<'a>(members: impl Iterator<Item = MemberRef<'a>>) -> Listpack {
    let mut builder = listpack::Builder::with_capacity(members.size_hint().0 * 4);
    members.for_each(|member| builder.push(member));
    builder.finish()
}

fn intset_of(mut integers: Vec<i64>) -> Intset {
    integers.sort_unstable();
    let mut intset = Intset::new();
    for integer in integers {
        intset.insert(integer);
    }
    intset
}

impl MemoryUsage for Set {
    fn memory_usage(&self) -> usize {
        match self {
            Self::Intset(intset) => intset.memory_usage(),
            Self::Listpack(listpack) => listpack.memory_usage(),
            Self::Table(table) => box_usage::<MemberTable>() + table.memory_usage(),
        }
    }
}
