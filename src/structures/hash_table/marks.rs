//! The marks of elements and the summary that lets a sweep skip what it does not concern.
//!
//! Buckets are summed up in groups of 16, groups in segments. For each mark a group keeps how many of its elements
//! carry it and a lower bound of the instants at which they are due; a segment keeps the same over its groups.
//! Invariants: counts are exact; no element is due before its group's bound, no group before its segment's; what
//! counts nothing has the bound `i64::MAX`. Nothing is allocated before the first marked element.

use super::buckets::SEGMENT_BUCKETS;
use crate::memory::{MemoryUsage, Mover, vec_usage};

/// A property of an element that its slot repeats, so that elements without it are passed over unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The element itself expires.
    Expires = 0,
    /// The element holds parts that expire: a hash with volatile fields.
    FieldsExpire = 1,
}

impl Mark {
    pub(super) const ALL: [Self; 2] = [Self::Expires, Self::FieldsExpire];
}

/// The set of marks an element carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u8);

impl Marks {
    /// No mark at all.
    pub const NONE: Self = Self(0);

    /// These marks and `mark`, if `carried`.
    #[inline]
    #[must_use]
    pub const fn with(self, mark: Mark, carried: bool) -> Self {
        Self(self.0 | (carried as u8) << mark as u8)
    }

    /// Whether `mark` is among them.
    #[inline]
    #[must_use]
    pub const fn contains(self, mark: Mark) -> bool {
        self.0 >> mark as u8 & 1 != 0
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        u64::from(self.0)
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits as u8 & 0b11)
    }
}

/// Buckets of a group.
pub(super) const GROUP_BUCKETS: u32 = 16;
const SEGMENT_GROUPS: usize = (SEGMENT_BUCKETS / GROUP_BUCKETS) as usize;

const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy)]
struct Group {
    earliest_ms: i64,
    marked: u32,
}

impl Group {
    const EMPTY: Self = Self { earliest_ms: NEVER, marked: 0 };
}

struct Segment {
    earliest_ms: i64,
    marked: u32,
    groups: Vec<Group>,
}

impl Segment {
    const EMPTY: Self = Self { earliest_ms: NEVER, marked: 0, groups: Vec::new() };
}

/// What is known of the elements that carry one mark.
#[derive(Default)]
pub(super) struct Summary {
    marked: usize,
    segments: Vec<Segment>,
}

impl Summary {
    fn group_of(bucket: u32) -> (usize, usize) {
        let group = (bucket / GROUP_BUCKETS) as usize;
        (group / SEGMENT_GROUPS, group % SEGMENT_GROUPS)
    }

    /// Elements that carry the mark.
    pub(super) fn marked(&self) -> usize {
        self.marked
    }

    fn add(&mut self, bucket: u32, due_ms: i64) {
        let (segment, group) = Self::group_of(bucket);
        if segment >= self.segments.len() {
            self.segments.resize_with(segment + 1, || Segment::EMPTY);
        }
        let segment = &mut self.segments[segment];
        if group >= segment.groups.len() {
            segment.groups.reserve_exact(group + 1 - segment.groups.len());
            segment.groups.resize(group + 1, Group::EMPTY);
        }
        let group = &mut segment.groups[group];
        group.marked += 1;
        group.earliest_ms = group.earliest_ms.min(due_ms);
        segment.marked += 1;
        segment.earliest_ms = segment.earliest_ms.min(due_ms);
        self.marked += 1;
    }

    fn remove(&mut self, bucket: u32) {
        let (segment, group) = Self::group_of(bucket);
        let segment = &mut self.segments[segment];
        let group = &mut segment.groups[group];
        group.marked -= 1;
        if group.marked == 0 {
            group.earliest_ms = NEVER;
        }
        segment.marked -= 1;
        if segment.marked == 0 {
            segment.earliest_ms = NEVER;
        }
        self.marked -= 1;
    }

    fn bring_forward(&mut self, bucket: u32, due_ms: i64) {
        let (segment, group) = Self::group_of(bucket);
        let segment = &mut self.segments[segment];
        let group = &mut segment.groups[group];
        if due_ms < group.earliest_ms {
            group.earliest_ms = due_ms;
            segment.earliest_ms = segment.earliest_ms.min(due_ms);
        }
    }

    /// An element changes its bucket; its own due instant is not looked up, its group's bound goes with it.
    fn move_one(&mut self, from: u32, to: u32) {
        let (segment, group) = Self::group_of(from);
        let bound = self.segments[segment].groups[group].earliest_ms;
        self.remove(from);
        self.add(to, bound);
    }

    /// Forgets the groups of buckets from `buckets` on, which hold nothing any more.
    fn truncate(&mut self, buckets: u32) {
        let groups = buckets.div_ceil(GROUP_BUCKETS) as usize;
        self.segments.truncate(groups.div_ceil(SEGMENT_GROUPS));
        let last = groups.saturating_sub(1) / SEGMENT_GROUPS;
        if let Some(segment) = self.segments.get_mut(last) {
            segment.groups.truncate(groups - last * SEGMENT_GROUPS);
            segment.groups.shrink_to_fit();
        }
    }

    /// No element that carries the mark is due before this.
    pub(super) fn earliest_ms(&self) -> i64 {
        self.segments.iter().map(|segment| segment.earliest_ms).min().unwrap_or(NEVER)
    }

    /// The first group at or after `from` with an element that may be due at `now_ms`. Segments with nothing due are
    /// passed over in one step, and a segment that turns out to have no such group gets its exact bound.
    pub(super) fn next_due(&mut self, from: usize, now_ms: i64) -> Option<usize> {
        let (first, mut start) = (from / SEGMENT_GROUPS, from % SEGMENT_GROUPS);
        for (index, segment) in self.segments.iter_mut().enumerate().skip(first) {
            if segment.earliest_ms <= now_ms {
                let mut rest = segment.groups.iter().enumerate().skip(start);
                if let Some((group, _)) = rest.find(|(_, group)| group.earliest_ms <= now_ms) {
                    return Some(index * SEGMENT_GROUPS + group);
                }
                segment.earliest_ms =
                    segment.groups.iter().map(|group| group.earliest_ms).min().unwrap_or(NEVER);
            }
            start = 0;
        }
        None
    }

    /// Sets a group's bound to what looking at each of its elements has shown.
    pub(super) fn set_earliest(&mut self, group: usize, earliest_ms: i64) {
        let segment = &mut self.segments[group / SEGMENT_GROUPS];
        segment.groups[group % SEGMENT_GROUPS].earliest_ms = earliest_ms;
        segment.earliest_ms = segment.earliest_ms.min(earliest_ms);
    }

    /// Which group, and which of its marked elements, is the `n`th of all (`n` below [`Self::marked`]).
    pub(super) fn nth(&self, mut n: usize) -> Option<(usize, usize)> {
        for (index, segment) in self.segments.iter().enumerate() {
            if n >= segment.marked as usize {
                n -= segment.marked as usize;
                continue;
            }
            for (group, summary) in segment.groups.iter().enumerate() {
                if n < summary.marked as usize {
                    return Some((index * SEGMENT_GROUPS + group, n));
                }
                n -= summary.marked as usize;
            }
        }
        None
    }

    /// The counted elements of a group, 0 for one that is not known.
    pub(super) fn marked_in(&self, group: usize) -> usize {
        let segment = self.segments.get(group / SEGMENT_GROUPS);
        segment
            .and_then(|segment| segment.groups.get(group % SEGMENT_GROUPS))
            .map_or(0, |group| group.marked as usize)
    }

    /// Moves the groups of a segment, with the first one the list of segments.
    fn relocate(&mut self, segment: usize, mover: &mut Mover) {
        if segment == 0 {
            mover.relocate_vec(&mut self.segments);
        }
        if let Some(segment) = self.segments.get_mut(segment) {
            mover.relocate_vec(&mut segment.groups);
        }
    }

    /// The end of what is known: every group with a marked element has an index below this.
    pub(super) fn groups(&self) -> usize {
        self.segments.len() * SEGMENT_GROUPS
    }
}

impl MemoryUsage for Summary {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.segments)
            + self.segments.iter().map(|segment| vec_usage(&segment.groups)).sum::<usize>()
    }
}

/// The summaries of both marks.
#[derive(Default)]
pub(super) struct MarkIndex {
    summaries: [Summary; 2],
}

impl MarkIndex {
    pub(super) fn of(&self, mark: Mark) -> &Summary {
        &self.summaries[mark as usize]
    }

    pub(super) fn of_mut(&mut self, mark: Mark) -> &mut Summary {
        &mut self.summaries[mark as usize]
    }

    /// Takes note of what an element in `bucket` carried and carries now; `due_ms` is asked for marks it carries now.
    pub(super) fn change(&mut self, bucket: u32, old: Marks, new: Marks, due_ms: impl Fn(Mark) -> i64) {
        for mark in Mark::ALL {
            let summary = self.of_mut(mark);
            match (old.contains(mark), new.contains(mark)) {
                (false, false) => {}
                (false, true) => summary.add(bucket, due_ms(mark)),
                (true, false) => summary.remove(bucket),
                (true, true) => summary.bring_forward(bucket, due_ms(mark)),
            }
        }
    }

    /// An element that carries `marks` goes to another bucket.
    pub(super) fn move_one(&mut self, marks: Marks, from: u32, to: u32) {
        for mark in Mark::ALL.into_iter().filter(|&mark| marks.contains(mark)) {
            self.of_mut(mark).move_one(from, to);
        }
    }

    /// Moves what is allocated for the segment of buckets that `bucket` begins, if it does begin one.
    pub(super) fn relocate(&mut self, bucket: u32, mover: &mut Mover) {
        if bucket.is_multiple_of(SEGMENT_BUCKETS) {
            let segment = (bucket / SEGMENT_BUCKETS) as usize;
            self.summaries.iter_mut().for_each(|summary| summary.relocate(segment, mover));
        }
    }

    pub(super) fn truncate(&mut self, buckets: u32) {
        for summary in &mut self.summaries {
            summary.truncate(buckets);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.summaries.iter().all(|summary| summary.marked == 0)
    }
}

impl MemoryUsage for MarkIndex {
    fn memory_usage(&self) -> usize {
        self.summaries.iter().map(Summary::memory_usage).sum()
    }
}
