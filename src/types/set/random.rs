//! Random members: looked at (SRANDMEMBER) and taken out (SPOP).

use super::{MemberRef, Set, Start, intset_of, listpack_of};
use crate::algorithms::hash::FastSet;
use crate::types::SetLimits;

/// A sample of more than one in this many members is drawn from a walk over all of them.
const SPARSE_SAMPLE: usize = 3;
/// When this many times the members that stay are fewer than those that go, the ones to stay are drawn instead
/// (Valkey: `SPOP_MOVE_STRATEGY_MUL`).
const FEW_STAY: usize = 5;

impl Set {
    /// A member chosen with the same probability as every other.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<MemberRef<'_>> {
        match self {
            Self::Intset(intset) => intset.random(rng).map(MemberRef::Int),
            Self::Listpack(listpack) => listpack.get(listpack.random(1, rng)?).map(MemberRef::from),
            Self::Table(table) => table.random(rng).map(MemberRef::Bytes),
        }
    }

    /// `count` random members, the same one as often as it comes.
    pub fn draw(&self, count: usize, rng: &mut fastrand::Rng, mut take: impl FnMut(MemberRef<'_>)) {
        match self {
            Self::Listpack(_) if count > 1 => {
                let members: Vec<_> = self.iter().collect();
                for _ in 0..count {
                    let Some(member) = rng.choice(&members) else { return };
                    take(*member);
                }
            }
            _ => {
                for _ in 0..count {
                    let Some(member) = self.random(rng) else { return };
                    take(member);
                }
            }
        }
    }

    /// `count` different random members, or all of them.
    #[must_use]
    pub fn sample(&self, count: usize, rng: &mut fastrand::Rng) -> Vec<MemberRef<'_>> {
        match self {
            Self::Table(table) if count.saturating_mul(SPARSE_SAMPLE) <= table.len() => {
                let mut addresses = FastSet::default();
                let mut members = Vec::with_capacity(count);
                while members.len() < count {
                    let Some(bytes) = table.random(rng) else { break };
                    // A member is told by where it is: no two share a block.
                    if addresses.insert(bytes.as_ptr() as usize) {
                        members.push(MemberRef::Bytes(bytes));
                    }
                }
                members
            }
            // Room is made for what is asked for: a client may ask for any number.
            _ => rng.choose_multiple(self.iter(), count.min(self.len())),
        }
    }

    /// Takes a random member out and hands it over; `false` when there is none.
    pub fn pop(&mut self, rng: &mut fastrand::Rng, take: impl FnOnce(MemberRef<'_>)) -> bool {
        match self {
            Self::Intset(intset) => {
                let integer = intset.random(rng);
                if let Some(integer) = integer {
                    take(MemberRef::Int(integer));
                    intset.remove(integer);
                }
                integer.is_some()
            }
            Self::Listpack(listpack) => {
                let position = listpack.random(1, rng);
                if let Some(position) = position {
                    if let Some(value) = listpack.get(position) {
                        take(value.into());
                    }
                    listpack.remove(position);
                }
                position.is_some()
            }
            Self::Table(table) => {
                let member = table.pop(rng);
                if let Some(member) = &member {
                    take(MemberRef::Bytes(member.as_bytes()));
                }
                member.is_some()
            }
        }
    }

    /// Takes `count` random members out, less than there are, and hands them over. Where few stay, the set is made
    /// anew of them and may become a listpack again, as in Valkey.
    pub fn pop_many(
        &mut self,
        count: usize,
        rng: &mut fastrand::Rng,
        limits: &SetLimits,
        mut take: impl FnMut(MemberRef<'_>),
    ) {
        let stay = self.len().saturating_sub(count);
        match self {
            Self::Table(_) if stay.saturating_mul(FEW_STAY) > count => {
                for _ in 0..count {
                    self.pop(rng, &mut take);
                }
            }
            Self::Table(_) => {
                let kept = Self::from_distinct(&self.sample(stay, rng), Start::Listpack, limits);
                self.for_each_member(|member| {
                    if !kept.contains(member) {
                        take(member);
                    }
                });
                *self = kept;
            }
            Self::Intset(_) | Self::Listpack(_) => {
                let kept = self.partition(count, rng, take);
                *self = match self {
                    Self::Intset(_) => {
                        Self::Intset(intset_of(kept.iter().filter_map(MemberRef::as_integer).collect()))
                    }
                    _ => Self::Listpack(listpack_of(kept.into_iter())),
                };
            }
        }
    }

    /// Hands `count` random members over and returns the others, in one walk.
    fn partition(
        &self,
        count: usize,
        rng: &mut fastrand::Rng,
        mut take: impl FnMut(MemberRef<'_>),
    ) -> Vec<MemberRef<'_>> {
        let mut left = self.len();
        let mut wanted = count;
        let mut kept = Vec::with_capacity(left.saturating_sub(count));
        for member in self.iter() {
            if rng.usize(..left.max(1)) < wanted {
                take(member);
                wanted -= 1;
            } else {
                kept.push(member);
            }
            left = left.saturating_sub(1);
        }
        kept
    }
}
