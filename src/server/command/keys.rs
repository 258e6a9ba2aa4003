//! Which arguments of a request are keys, found by the command's key specifications.
//!
//! A few commands say more than specifications can (SET with GET only reads and writes, SORT may store); those are
//! looked at one by one, as in Valkey.

use super::{Args, Begin, Command, Find, KeySpec, TableEntry, key_flag};
use crate::algorithms::numbers::parse_i64;

/// A key among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPosition {
    /// Index of the argument.
    pub index: usize,
    /// [`key_flag`]s of what is done to it.
    pub flags: u32,
}

/// The one range of keys that COMMAND INFO can show: first, last (negative from the end), step; all 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LegacyRange {
    /// Index of the first key.
    pub first: i32,
    /// Index of the last key.
    pub last: i32,
    /// Distance between keys.
    pub step: i32,
}

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const STORE: u32 = key_flag::OW | key_flag::UPDATE;
const CHANGE: u32 = key_flag::RW | key_flag::ACCESS | key_flag::UPDATE;

impl Command {
    /// Whether any of its arguments can be a key.
    #[must_use]
    pub fn takes_keys(&self) -> bool {
        self.keys.iter().any(|spec| spec.flags & key_flag::NOT_KEY == 0)
    }

    /// The range of keys that old clients go by.
    #[must_use]
    pub fn legacy_range(&self) -> LegacyRange {
        if let [KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, .. }, .. }] = self.keys
        {
            let first = *first as i32;
            let last = if *last >= 0 { first + last } else { *last };
            return LegacyRange { first, last, step: *step };
        }
        let mut range = LegacyRange::default();
        for spec in self.keys {
            let (Begin::Index(first), Find::Range { last, step: 1, .. }) = (spec.begin, spec.find) else {
                continue;
            };
            let first = first as i32;
            if range.last != 0 && range.last != first - 1 {
                continue;
            }
            let last = if last >= 0 { first + last } else { last };
            range.first = if range.first == 0 { first } else { range.first.min(first) };
            // Counted from the end is later than counted from the beginning.
            range.last = range.last.cast_unsigned().max(last.cast_unsigned()).cast_signed();
            range.step = 1;
        }
        range
    }
}

/// The keys of a request, in the order of the specifications. `None` when its arguments make no sense.
#[must_use]
pub fn keys_of(entry: &TableEntry, args: Args<'_>) -> Option<Vec<KeyPosition>> {
    match entry.full_name.as_str() {
        "set" => Some(vec![set_key(args)]),
        "bitfield" => Some(vec![bitfield_key(args)]),
        "sort" => Some(sort_keys(args)),
        "sort_ro" => Some(vec![KeyPosition { index: 1, flags: READ }]),
        "georadius" | "georadiusbymember" => Some(georadius_keys(args)),
        "migrate" => Some(migrate_keys(args)),
        "xread" | "xreadgroup" => stream_keys(entry.command, args),
        _ => by_specifications(entry.command, args),
    }
}

/// The keys that users' rights are about: what the specifications say, as long as they say all there is to it, and else
/// those of [`keys_of`]. They are found in some requests that make no sense, too.
#[must_use]
pub fn declared_keys_of(entry: &TableEntry, args: Args<'_>) -> Option<Vec<KeyPosition>> {
    const SAY_NOT_ALL: u32 = key_flag::VARIABLE_FLAGS | key_flag::INCOMPLETE;
    let say_all = entry.command.keys.iter().all(|spec| spec.flags & SAY_NOT_ALL == 0);
    let declared = if say_all { by_specifications(entry.command, args) } else { None };
    declared.or_else(|| keys_of(entry, args)).or_else(|| by_loose_count(entry.command, args))
}

/// The keys of a request whose count of keys is not quite a number: whatever it begins with counts. What is done to them
/// is not said.
fn by_loose_count(command: &Command, args: Args<'_>) -> Option<Vec<KeyPosition>> {
    let (mut counted, mut others) = (Vec::new(), Vec::new());
    for spec in command.keys.iter().filter(|spec| spec.flags & key_flag::NOT_KEY == 0) {
        let Begin::Index(begin) = spec.begin else { return None };
        match spec.find {
            Find::Count { index, first, step: 1 } => {
                let count = leading_number(args.get(begin + usize::try_from(index).ok()?)?)?;
                let first = begin + usize::try_from(first).ok()?;
                if count == 0 || count > args.len().saturating_sub(first) {
                    return None;
                }
                counted.extend(first..first + count);
            }
            Find::Range { last: 0, .. } => others.push(begin),
            _ => return None,
        }
    }
    // What is stored to comes last.
    Some(counted.into_iter().chain(others).map(|index| KeyPosition { index, flags: 0 }).collect())
}

/// The number that a word begins with, as C's `atoi` reads it.
fn leading_number(word: &[u8]) -> Option<usize> {
    let word = word.trim_ascii_start();
    let word = word.strip_prefix(b"+").unwrap_or(word);
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&word[..digits]).ok()?.parse().ok()
}

fn by_specifications(command: &Command, args: Args<'_>) -> Option<Vec<KeyPosition>> {
    let mut keys = Vec::new();
    for spec in command.keys.iter().filter(|spec| spec.flags & key_flag::NOT_KEY == 0) {
        keys.extend(indices_of(spec, args)?.map(|index| KeyPosition { index, flags: spec.flags }));
    }
    Some(keys)
}

/// The arguments that are keys by one specification; none when its keyword is not there. `None` when the arguments make
/// no sense.
#[inline]
#[must_use]
pub fn indices_of(spec: &KeySpec, args: Args<'_>) -> Option<impl Iterator<Item = usize> + use<>> {
    let (first, last, step) = match begin(spec, args)? {
        Some(first) => find(spec, first, args)?,
        None => (1, 0, 1),
    };
    Some((first..=last).step_by(step))
}

/// Where the search of a specification begins; `Some(None)` when its keyword is not there.
fn begin(spec: &KeySpec, args: Args<'_>) -> Option<Option<usize>> {
    match spec.begin {
        Begin::Index(index) => Some(Some(index)),
        Begin::Keyword(word, from) => {
            let is_word = |index: &usize| args.at(*index).eq_ignore_ascii_case(word.as_bytes());
            let back = usize::try_from(from.unsigned_abs()).ok()?;
            let found = if from > 0 {
                (back..args.len()).find(is_word)
            } else {
                (2..=args.len().saturating_sub(back)).rev().find(is_word)
            };
            Some(found.map(|index| index + 1))
        }
        Begin::Unknown => None,
    }
}

/// The keys from there on: first, last and step.
fn find(spec: &KeySpec, first: usize, args: Args<'_>) -> Option<(usize, usize, usize)> {
    let count = args.len() as i64;
    let (first, last, step) = match spec.find {
        Find::Range { last, step, limit } => {
            let (first, last) = (first as i64, i64::from(last));
            let last = match (last >= 0, limit) {
                (true, _) => first + last,
                (false, 0 | 1) => count + last,
                (false, limit) => first + (count - first) / i64::from(limit) + last,
            };
            (first, last, step)
        }
        Find::Count { index, first: offset, step } => {
            let at = usize::try_from(first as i64 + i64::from(index)).ok()?;
            let number = parse_i64(args.get(at)?).filter(|number| (0..=count).contains(number))?;
            let first = first as i64 + i64::from(offset);
            (first, first + (number - 1) * i64::from(step), step)
        }
        Find::Unknown => return None,
    };
    if last >= count || last < first || first >= count {
        return None;
    }
    Some((usize::try_from(first).ok()?, usize::try_from(last).ok()?, usize::try_from(step).ok()?.max(1)))
}

fn set_key(args: Args<'_>) -> KeyPosition {
    let reads = args.from(3).iter().any(|arg| arg.eq_ignore_ascii_case(b"get"));
    KeyPosition { index: 1, flags: if reads { CHANGE } else { STORE } }
}

/// BITFIELD only reads when it has no other operation than GET.
fn bitfield_key(args: Args<'_>) -> KeyPosition {
    let mut at = 2;
    let mut reads = true;
    while let Some(operation) = args.get(at) {
        match operation.to_ascii_lowercase().as_slice() {
            b"get" if args.len() > at + 2 => at += 3,
            b"overflow" if args.len() > at + 1 => at += 2,
            _ => {
                reads = false;
                break;
            }
        }
    }
    KeyPosition { index: 1, flags: if reads { READ } else { CHANGE } }
}

fn sort_keys(args: Args<'_>) -> Vec<KeyPosition> {
    let mut keys = vec![KeyPosition { index: 1, flags: READ }];
    let mut store = None;
    let mut at = 2;
    while let Some(option) = args.get(at) {
        at += match option.to_ascii_lowercase().as_slice() {
            b"limit" => 3,
            b"get" | b"by" => 2,
            b"store" if at + 1 < args.len() => {
                store = Some(at + 1);
                1
            }
            _ => 1,
        };
    }
    keys.extend(store.map(|index| KeyPosition { index, flags: STORE }));
    keys
}

fn georadius_keys(args: Args<'_>) -> Vec<KeyPosition> {
    let mut keys = vec![KeyPosition { index: 1, flags: READ }];
    let mut store = None;
    let mut at = 5;
    while let Some(option) = args.get(at) {
        let stores = option.eq_ignore_ascii_case(b"store") || option.eq_ignore_ascii_case(b"storedist");
        if stores && at + 1 < args.len() {
            store = Some(at + 1);
            at += 1;
        }
        at += 1;
    }
    keys.extend(store.map(|index| KeyPosition { index, flags: STORE }));
    keys
}

/// The key, or those after KEYS where it is empty.
fn migrate_keys(args: Args<'_>) -> Vec<KeyPosition> {
    let flags = CHANGE ^ key_flag::UPDATE | key_flag::DELETE;
    let mut at = 6;
    while let Some(option) = args.get(at) {
        at += match option.to_ascii_lowercase().as_slice() {
            b"keys" if !args.at(3).is_empty() => return Vec::new(),
            b"keys" => return (at + 1..args.len()).map(|index| KeyPosition { index, flags }).collect(),
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    vec![KeyPosition { index: 3, flags }]
}

/// Half of what follows STREAMS, which is looked for among the options: a group may be called like it.
fn stream_keys(command: &Command, args: Args<'_>) -> Option<Vec<KeyPosition>> {
    let mut at = 1;
    loop {
        match args.get(at)?.to_ascii_lowercase().as_slice() {
            b"block" | b"count" => at += 2,
            b"group" => at += 3,
            b"noack" => at += 1,
            b"streams" => break,
            _ => return None,
        }
    }
    let rest = args.len() - at - 1;
    let flags = command.keys.first().map_or(READ, |spec| spec.flags);
    let keys = (at + 1..at + 1 + rest / 2).map(|index| KeyPosition { index, flags });
    (rest > 0 && rest.is_multiple_of(2)).then(|| keys.collect())
}
