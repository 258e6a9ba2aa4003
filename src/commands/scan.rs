//! What SCAN, HSCAN, SSCAN and ZSCAN share: their arguments, the rounds of one call, and the reply.

use super::arguments::{integer, is_word};
use crate::algorithms::glob;
use crate::algorithms::numbers::parse_u64;
use crate::resp::{CommandError, Reply};
use crate::server::command::Args;
use crate::types::ValueType;

/// Elements that one call looks at when COUNT is not given.
const DEFAULT_COUNT: usize = 10;

/// What is scanned; decides which options there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// The keys of a database (SCAN).
    Keys,
    /// The keys of a cluster's slots (CLUSTERSCAN).
    Slots,
    /// The fields of a hash (HSCAN).
    Hash,
    /// The members of a set (SSCAN).
    Set,
    /// The members of a sorted set (ZSCAN).
    SortedSet,
}

/// The options of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanOptions<'a> {
    /// How many elements one call should look at.
    pub count: usize,
    /// MATCH; `None` when everything matches.
    pub pattern: Option<&'a [u8]>,
    /// TYPE, of SCAN.
    pub value_type: Option<ValueType>,
    /// NOVALUES or NOSCORES: fields or members alone.
    pub only_keys: bool,
    /// SLOT, of CLUSTERSCAN.
    pub slot: Option<u16>,
}

/// The cursor of a scan. Valkey reads it before it looks for the key, and the options after.
///
/// # Errors
/// `invalid cursor`. To Valkey the text ends with its first zero byte.
pub(super) fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let arg = arg.split(|byte| *byte == 0).next().unwrap_or_default();
    parse_u64(arg).ok_or(CommandError::InvalidCursor)
}

/// The reply of a scan of what is not there.
pub(super) fn reply_empty(reply: &mut Reply) {
    reply.array(2);
    reply.bulk(b"0");
    reply.array(0);
}

impl Default for ScanOptions<'_> {
    fn default() -> Self {
        Self { count: DEFAULT_COUNT, pattern: None, value_type: None, only_keys: false, slot: None }
    }
}

impl<'a> ScanOptions<'a> {
    /// The options from the argument at `from` on.
    ///
    /// # Errors
    /// Syntax errors, and options that belong to another scan.
    pub(super) fn parse(args: Args<'a>, from: usize, scanned: Scanned) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = from;
        while let Some(word) = args.get(index) {
            let value = args.get(index + 1);
            index += 1;
            if is_word(word, "novalues") {
                if scanned != Scanned::Hash {
                    return Err(CommandError::NovaluesOnlyHscan);
                }
                options.only_keys = true;
                continue;
            }
            if is_word(word, "noscores") {
                if scanned != Scanned::SortedSet {
                    return Err(CommandError::NoscoresOnlyZscan);
                }
                options.only_keys = true;
                continue;
            }
            let value = value.ok_or(CommandError::Syntax)?;
            index += 1;
            if is_word(word, "count") {
                options.count = usize::try_from(integer(value)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::Syntax)?;
            } else if is_word(word, "match") {
                options.pattern = (value != b"*").then_some(value);
            } else if is_word(word, "slot") && scanned == Scanned::Slots {
                if options.slot.is_some() {
                    return Err(CommandError::ScanSlotOnce);
                }
                options.slot = Some(super::cluster::slot(value)?);
            } else if is_word(word, "type") && matches!(scanned, Scanned::Keys | Scanned::Slots) {
                options.value_type = Some(value_type(value)?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether MATCH lets this element through.
    #[must_use]
    pub(super) fn matches(&self, element: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, element, false))
    }

    /// Goes on from `cursor` until COUNT elements were seen, or ten times as many steps were made without them, as
    /// Valkey bounds it. `step` makes one step: it gives the next cursor and how many elements it saw, those that
    /// did not match included. Gives the cursor to reply.
    pub(super) fn walk(&self, mut cursor: u64, mut step: impl FnMut(u64) -> (u64, usize)) -> u64 {
        let mut rounds = self.count.saturating_mul(10);
        let mut seen = 0;
        loop {
            let (next, count) = step(cursor);
            cursor = next;
            seen += count;
            if cursor == 0 || rounds == 0 || seen >= self.count {
                return cursor;
            }
            rounds -= 1;
        }
    }
}

fn value_type(name: &[u8]) -> Result<ValueType, CommandError> {
    ValueType::ALL
        .into_iter()
        .find(|value_type| is_word(name, value_type.name()))
        .ok_or_else(|| CommandError::UnknownTypeName(name.into()))
}

/// What a scan has found; the reply needs the cursor before it.
#[derive(Debug)]
pub(super) struct ScanReply {
    elements: Reply,
    count: usize,
}

impl ScanReply {
    /// Nothing found yet; the elements are written in the protocol of `reply`.
    #[must_use]
    pub(super) fn new(reply: &Reply) -> Self {
        Self { elements: Reply::new(reply.protocol()), count: 0 }
    }

    /// Adds an element: a key, a member, a field, or the value or score after it.
    pub(super) fn push(&mut self, element: &[u8]) {
        self.elements.bulk(element);
        self.count += 1;
    }

    /// Writes the reply.
    pub(super) fn finish(self, cursor: u64, reply: &mut Reply) {
        self.finish_at(itoa::Buffer::new().format(cursor).as_bytes(), reply);
    }

    /// The same with a cursor that is no number.
    pub(super) fn finish_at(self, cursor: &[u8], reply: &mut Reply) {
        reply.array(2);
        reply.bulk(cursor);
        reply.array(self.count);
        reply.raw(self.elements.as_slice());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::server::command::Request;

    fn parse(words: &[&str], scanned: Scanned) -> Result<(usize, bool), CommandError> {
        let mut request = Request::default();
        words.iter().for_each(|word| request.push(word.as_bytes()));
        ScanOptions::parse(request.args(), 0, scanned).map(|options| (options.count, options.only_keys))
    }

    #[test]
    fn options_are_those_of_what_is_scanned() {
        assert_eq!(parse(&["match", "*", "COUNT", "7"], Scanned::Set), Ok((7, false)));
        assert_eq!(parse(&["novalues"], Scanned::Hash), Ok((10, true)));
        assert_eq!(parse(&["novalues"], Scanned::Set), Err(CommandError::NovaluesOnlyHscan));
        assert_eq!(parse(&["noscores"], Scanned::Keys), Err(CommandError::NoscoresOnlyZscan));
        assert_eq!(parse(&["type", "list"], Scanned::Hash), Err(CommandError::Syntax));
        assert_eq!(parse(&["type", "LIST"], Scanned::Keys), Ok((10, false)));
        assert_eq!(parse(&["count", "0"], Scanned::Keys), Err(CommandError::Syntax));
        assert_eq!(parse(&["count"], Scanned::Keys), Err(CommandError::Syntax));
    }

    #[test]
    fn a_walk_ends_when_enough_was_seen_or_tried() {
        let options = ScanOptions::default();
        assert_eq!(options.walk(0, |cursor| (cursor + 1, 3)), 4);
        assert_eq!(options.walk(0, |cursor| (cursor + 1, 0)), 101);
        assert_eq!(options.walk(5, |_| (0, 1)), 0);
    }
}
