//! Going over the fields of a hash: all of them, a scan, random ones.

use crate::structures::hash_table::BucketStatistics;
use hashbrown::HashSet;

use super::{Hash, Text};
use crate::structures::hash_table::Element;
use crate::structures::listpack::Listpack;

/// Draws of a random field that may come out expired before it is taken that none is left (Valkey has the same).
const RANDOM_ATTEMPTS: usize = 100;
/// A sample of more than one field in this many goes over the hash instead of drawing fields (Valkey:
/// `HRANDFIELD_SUB_STRATEGY_MUL`).
const SPARSE_SAMPLE: usize = 3;
/// Draws for each field of a sparse sample before it stays incomplete.
const DRAWS_PER_FIELD: usize = 10;

/// A field and its value.
pub(super) type Pair<'a> = (Text<'a>, Text<'a>);

fn pairs(listpack: &Listpack) -> impl Iterator<Item = Pair<'_>> {
    let mut texts = listpack.iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}

impl Hash {
    /// Every field with its value and its expiry (Unix ms), expired ones that are still there included. In the order
    /// in which they came, while the hash is a listpack.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8], Option<i64>)) {
        match self {
            Self::Listpack(listpack) => {
                let (mut field_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
                for (field, value) in pairs(listpack) {
                    visit(field.as_bytes(&mut field_digits), value.as_bytes(&mut value_digits), None);
                }
            }
            Self::Table(table) => table.for_each_prefetched(|field| {
                visit(field.key(), field.value(), field.expiry_ms());
            }),
        }
    }

    /// Every field that is not expired, with its value.
    pub fn for_each_live(&self, now_ms: i64, mut visit: impl FnMut(&[u8], &[u8])) {
        self.for_each(|field, value, expiry_ms| {
            if expiry_ms.is_none_or(|expiry_ms| now_ms <= expiry_ms) {
                visit(field, value);
            }
        });
    }

    /// The number of fields that are not expired.
    #[must_use]
    pub fn live_len(&self, now_ms: i64) -> usize {
        if !self.may_have_expired(now_ms) {
            return self.len();
        }
        let mut count = 0;
        self.for_each_live(now_ms, |_, _| count += 1);
        count
    }

    /// One step of a scan: visits the fields at `cursor` that are not expired, and gives the next cursor and how many
    /// fields it saw. A scan begins with 0 and is complete when 0 comes back; a listpack is one step.
    pub fn scan(&self, cursor: u64, now_ms: i64, mut visit: impl FnMut(&[u8], &[u8])) -> (u64, usize) {
        match self {
            Self::Listpack(_) => {
                self.for_each_live(now_ms, visit);
                (0, self.len())
            }
            Self::Table(table) => {
                let mut seen = 0;
                let next = table.scan(cursor, |field| {
                    seen += 1;
                    if !field.is_expired(now_ms) {
                        visit(field.key(), field.value());
                    }
                });
                (next, seen)
            }
        }
    }

    /// A field chosen at random, and its value; `None` when there is none, or hardly one that is not expired.
    #[must_use]
    pub fn random(&self, now_ms: i64, rng: &mut fastrand::Rng) -> Option<Pair<'_>> {
        match self {
            Self::Listpack(listpack) => {
                let position = listpack.random(2, rng)?;
                Some((listpack.get(position)?, listpack.get(listpack.next(position)?)?))
            }
            Self::Table(table) => (0..RANDOM_ATTEMPTS).find_map(|_| {
                let field = table.get(table.random(rng)?);
                (!field.is_expired(now_ms)).then(|| (Text::Bytes(field.key()), Text::Bytes(field.value())))
            }),
        }
    }

    /// `count` fields chosen at random, each independently of the others; fewer when no field is left that is not
    /// expired.
    pub fn random_many<'a>(
        &'a self,
        count: usize,
        now_ms: i64,
        rng: &mut fastrand::Rng,
        mut visit: impl FnMut(Pair<'a>),
    ) -> usize {
        if let Self::Listpack(listpack) = self {
            let all: Vec<_> = pairs(listpack).collect();
            if all.is_empty() {
                return 0;
            }
            (0..count).filter_map(|_| all.get(rng.usize(..all.len()))).for_each(|pair| visit(*pair));
            return count;
        }
        for done in 0..count {
            let Some(pair) = self.random(now_ms, rng) else { return done };
            visit(pair);
        }
        count
    }

    /// Up to `count` different fields chosen at random, in no particular order; says how many they were.
    pub fn sample<'a>(
        &'a self,
        count: usize,
        now_ms: i64,
        rng: &mut fastrand::Rng,
        visit: impl FnMut(Pair<'a>),
    ) -> usize {
        let sparse = count < self.len() && count.saturating_mul(SPARSE_SAMPLE) <= self.len();
        match self {
            Self::Table(_) if sparse => self.draw(count, now_ms, rng, visit),
            _ => self.select(count, now_ms, rng, visit),
        }
    }

    /// Goes over all fields and takes each with the probability that makes it `count` in the end.
    fn select<'a>(
        &'a self,
        count: usize,
        now_ms: i64,
        rng: &mut fastrand::Rng,
        mut visit: impl FnMut(Pair<'a>),
    ) -> usize {
        let mut left = self.live_len(now_ms);
        let mut wanted = count.min(left);
        let selected = wanted;
        let mut offer = |pair| {
            if wanted > 0 && rng.usize(..left) < wanted {
                visit(pair);
                wanted -= 1;
            }
            left -= 1;
        };
        match self {
            Self::Listpack(listpack) => pairs(listpack).for_each(&mut offer),
            Self::Table(table) => {
                let live = table.iter().filter(|field| !field.is_expired(now_ms));
                live.for_each(|field| offer((Text::Bytes(field.key()), Text::Bytes(field.value()))));
            }
        }
        selected
    }

    /// Draws fields until `count` different ones have come out.
    fn draw<'a>(
        &'a self,
        count: usize,
        now_ms: i64,
        rng: &mut fastrand::Rng,
        mut visit: impl FnMut(Pair<'a>),
    ) -> usize {
        let mut drawn: HashSet<&[u8], std::hash::RandomState> = HashSet::default();
        for _ in 0..count.saturating_mul(DRAWS_PER_FIELD) {
            let Some(pair @ (Text::Bytes(field), _)) = self.random(now_ms, rng) else { break };
            if drawn.insert(field) {
                visit(pair);
            }
            if drawn.len() == count {
                break;
            }
        }
        drawn.len()
    }
}

impl Hash {
    /// How the table's buckets are filled (DEBUG HTSTATS-KEY); `None` in another encoding.
    #[must_use]
    pub fn bucket_statistics(&self) -> Option<BucketStatistics> {
        match self {
            Self::Table(table) => Some(table.bucket_statistics()),
            _ => None,
        }
    }
}
