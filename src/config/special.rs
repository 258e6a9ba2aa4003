//! The options whose value has a form of its own: save points, buffer limits, addresses, event classes,
//! out-of-memory scores, percentiles, the primary, the working directory.
//!
//! They take several arguments (except the directory and the event classes) and always count as changed.

use super::spec::OptionSpec;
use super::text::{Text, os_reason, quote};
use super::value::{
    OptionValue, Reason, Rewrite, RewriteLine, format_memory, leading_integer, only, replace,
};
use crate::algorithms::numbers::{parse_f64, parse_memory_size};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One rule of `save`: a snapshot after so many seconds with at least so many changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last snapshot, at least 1.
    pub seconds: i64,
    /// Changes since the last snapshot.
    pub changes: i64,
}

/// The rules of `save`; none means no snapshot is taken by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl SavePoints {
    pub(super) fn standard() -> SavePoints {
        let rules = [(3600, 1), (300, 100), (60, 10000)];
        SavePoints(rules.map(|(seconds, changes)| SavePoint { seconds, changes }).to_vec())
    }
}

impl OptionValue for SavePoints {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        let points: Vec<String> = self.0.iter().map(|p| format!("{} {}", p.seconds, p.changes)).collect();
        points.join(" ").into_bytes()
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        let arguments = without_single_empty(arguments);
        let (pairs, odd) = arguments.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("Invalid save parameters".into());
        }
        let mut points = Vec::new();
        for [seconds, changes] in pairs {
            let point = whole_integer(seconds).zip(whole_integer(changes));
            match point {
                Some((seconds, changes)) if seconds >= 1 && changes >= 0 => {
                    points.push(SavePoint { seconds, changes });
                }
                _ => return Err("Invalid save parameters".into()),
            }
        }
        self.0 = points;
        Ok(true)
    }

    fn rewrite(&self, spec: &OptionSpec, _: &[u8]) -> Rewrite {
        let value = if self.0.is_empty() { b"\"\"".to_vec() } else { self.print(spec) };
        Rewrite::one(value, true)
    }
}

/// `option ""` in a file means the same as no argument.
fn without_single_empty<'a, 'b>(arguments: &'a [&'b [u8]]) -> &'a [&'b [u8]] {
    match arguments {
        [[]] => &[],
        _ => arguments,
    }
}

fn whole_integer(text: &[u8]) -> Option<i64> {
    leading_integer(text, 10).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// When a client that does not read its replies is disconnected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Bytes at which it is at once; 0: never.
    pub hard_bytes: u64,
    /// Bytes at which it is after `soft_seconds`; 0: never.
    pub soft_bytes: u64,
    /// How long the soft limit may be exceeded.
    pub soft_seconds: u32,
}

/// The limits by class of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputBufferLimits {
    /// Ordinary clients.
    pub normal: OutputBufferLimit,
    /// Replicas.
    pub replica: OutputBufferLimit,
    /// Clients with a subscription.
    pub pubsub: OutputBufferLimit,
}

impl OutputBufferLimits {
    pub(super) const STANDARD: OutputBufferLimits = OutputBufferLimits {
        normal: OutputBufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
        replica: OutputBufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
        pubsub: OutputBufferLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
    };

    fn class_mut(&mut self, name: &[u8]) -> Option<&mut OutputBufferLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"slave" | b"replica" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

impl OptionValue for OutputBufferLimits {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        let class = |name: &str, l: &OutputBufferLimit| {
            format!("{name} {} {} {}", l.hard_bytes, l.soft_bytes, l.soft_seconds)
        };
        let classes =
            [class("normal", &self.normal), class("slave", &self.replica), class("pubsub", &self.pubsub)];
        classes.join(" ").into_bytes()
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        let (classes, rest) = arguments.as_chunks::<4>();
        if !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut new = *self;
        for [class, hard, soft, seconds] in classes {
            let Some(limit) = new.class_mut(class) else {
                return Err("Invalid client class specified in buffer limit configuration.".into());
            };
            let seconds = whole_integer(seconds).map(|s| s as i32).and_then(|s| u32::try_from(s).ok());
            let (Some(hard), Some(soft), Some(soft_seconds)) =
                (parse_memory_size(hard), parse_memory_size(soft), seconds)
            else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                );
            };
            *limit = OutputBufferLimit { hard_bytes: hard, soft_bytes: soft, soft_seconds };
        }
        *self = new;
        Ok(true)
    }

    fn rewrite(&self, _: &OptionSpec, _: &[u8]) -> Rewrite {
        let line = |name: &str, limit: &OutputBufferLimit, standard: &OutputBufferLimit| {
            let (hard, soft) = (format_memory(limit.hard_bytes), format_memory(limit.soft_bytes));
            let value = format!("{name} {hard} {soft} {}", limit.soft_seconds).into_bytes();
            RewriteLine { value, forced: limit != standard }
        };
        let standard = Self::STANDARD;
        Rewrite::Lines(vec![
            line("normal", &self.normal, &standard.normal),
            line("replica", &self.replica, &standard.replica),
            line("pubsub", &self.pubsub, &standard.pubsub),
        ])
    }
}

/// The addresses a listener binds to (`bind`), in the given order; a leading `-` marks one that may fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Text>);

impl Addresses {
    const MOST: usize = 16;

    /// All addresses of both families, the second one only if there is IPv6.
    pub(super) fn all() -> Addresses {
        Addresses(vec![Text::new("*"), Text::new("-::*")])
    }
}

impl OptionValue for Addresses {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        let addresses: Vec<&[u8]> = self.0.iter().map(Text::as_bytes).collect();
        addresses.join(&b' ')
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        if arguments.len() > Self::MOST {
            return Err("Too many bind addresses specified.".into());
        }
        self.0 = without_single_empty(arguments).iter().map(Text::new).collect();
        Ok(true)
    }

    fn rewrite(&self, spec: &OptionSpec, default: &[u8]) -> Rewrite {
        if self.print(spec) == default {
            return Rewrite::Absent;
        }
        // An address that is none is told when it is listened at; until then it is one word, as it was read.
        let is_plain = |word: &[u8]| {
            !word.is_empty()
                && word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'))
        };
        let words = self.0.iter().map(Text::as_bytes);
        let words = words.map(|word| if is_plain(word) { word.to_vec() } else { quote(word) });
        let line = words.collect::<Vec<_>>().join(&b' ');
        Rewrite::one(if line.is_empty() { b"\"\"".to_vec() } else { line }, true)
    }
}

/// The classes of keyspace events that are published, a letter each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u32);

impl EventClasses {
    /// `K`: publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: EventClasses = EventClasses(1 << 0);
    /// `E`: publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// `g`: commands of no type (DEL, EXPIRE, RENAME ...).
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    /// `$`: strings.
    pub const STRING: EventClasses = EventClasses(1 << 3);
    /// `l`: lists.
    pub const LIST: EventClasses = EventClasses(1 << 4);
    /// `s`: sets.
    pub const SET: EventClasses = EventClasses(1 << 5);
    /// `h`: hashes.
    pub const HASH: EventClasses = EventClasses(1 << 6);
    /// `z`: sorted sets.
    pub const ZSET: EventClasses = EventClasses(1 << 7);
    /// `x`: keys that expired.
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    /// `e`: keys that were evicted.
    pub const EVICTED: EventClasses = EventClasses(1 << 9);
    /// `t`: streams.
    pub const STREAM: EventClasses = EventClasses(1 << 10);
    /// `m`: reads of keys that are not there; not part of `A`.
    pub const KEY_MISS: EventClasses = EventClasses(1 << 11);
    /// `d`: modules.
    pub const MODULE: EventClasses = EventClasses(1 << 13);
    /// `n`: keys that are new; not part of `A`.
    pub const NEW: EventClasses = EventClasses(1 << 14);
    /// `A`: every class except `K`, `E`, `m` and `n`.
    pub const ALL: EventClasses = EventClasses(0b10_0111_1111_1100);

    /// The order in which the letters are printed after `A` was tried.
    const LETTERS: [(u8, EventClasses); 11] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
    ];
    const OUTSIDE_ALL: [(u8, EventClasses); 3] =
        [(b'K', Self::KEYSPACE), (b'E', Self::KEYEVENT), (b'm', Self::KEY_MISS)];

    /// True when every class of `other` is on.
    pub const fn has(self, other: EventClasses) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when nothing is published.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn from_letter(letter: u8) -> Option<EventClasses> {
        if letter == b'A' {
            return Some(Self::ALL);
        }
        let known = Self::LETTERS.iter().chain(&Self::OUTSIDE_ALL).find(|(own, _)| *own == letter);
        known.map(|(_, class)| *class)
    }
}

impl OptionValue for EventClasses {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        let mut letters = Vec::new();
        if self.has(Self::ALL) {
            letters.push(b'A');
        } else {
            letters.extend(Self::LETTERS.iter().filter(|(_, class)| self.has(*class)).map(|(l, _)| *l));
        }
        letters.extend(Self::OUTSIDE_ALL.iter().filter(|(_, class)| self.has(*class)).map(|(l, _)| *l));
        letters
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        let mut bits = 0;
        for letter in only(arguments)? {
            let Some(class) = Self::from_letter(*letter) else {
                return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
            };
            bits |= class.0;
        }
        self.0 = bits;
        Ok(true)
    }

    fn rewrite(&self, spec: &OptionSpec, _: &[u8]) -> Rewrite {
        Rewrite::one(quote(&self.print(spec)), !self.is_empty())
    }
}

/// `oom_score_adj` of a primary, of a replica and of background children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScores(pub [i32; 3]);

impl OptionValue for OomScores {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        self.0.map(|score| score.to_string()).join(" ").into_bytes()
    }

    fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason> {
        let Ok(texts) = <[&[u8]; 3]>::try_from(arguments) else {
            return Err("wrong number of arguments".into());
        };
        let mut scores = [0; 3];
        for (score, text) in scores.iter_mut().zip(texts) {
            *score = whole_integer(text)
                .filter(|value| (-2000..=2000).contains(value))
                .and_then(|value| i32::try_from(value).ok())
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        Ok(replace(self, OomScores(scores), spec))
    }
}

/// The latency percentiles that INFO reports, in percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl OptionValue for Percentiles {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        let short = |value: &f64| {
            let digits = format!("{value:.6}");
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        self.0.iter().map(short).collect::<Vec<_>>().join(" ").into_bytes()
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        let mut values = Vec::new();
        for argument in without_single_empty(arguments) {
            let value = parse_f64(argument).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&value) {
                let reason = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
                return Err(reason.into());
            }
            values.push(value);
        }
        self.0 = values;
        Ok(true)
    }

    fn rewrite(&self, spec: &OptionSpec, _: &[u8]) -> Rewrite {
        let value = if self.0.is_empty() { b"\"\"".to_vec() } else { self.print(spec) };
        Rewrite::one(value, true)
    }
}

/// The primary this server replicates from, if it is a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaOf(pub Option<(Text, u16)>);

impl OptionValue for ReplicaOf {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        match &self.0 {
            Some((host, port)) => [host.as_bytes(), port.to_string().as_bytes()].join(&b' '),
            None => Vec::new(),
        }
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        let [host, port] = arguments else { return Err("wrong number of arguments".into()) };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.0 = None;
            return Ok(true);
        }
        let port = whole_integer(port).and_then(|port| u16::try_from(port).ok());
        self.0 = Some((Text::new(host), port.ok_or("Invalid primary port")?));
        Ok(true)
    }

    fn rewrite(&self, spec: &OptionSpec, _: &[u8]) -> Rewrite {
        match self.0 {
            Some(_) => Rewrite::one(self.print(spec), true),
            None => Rewrite::Absent,
        }
    }
}

/// The working directory of the process (`dir`): setting the option changes it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkingDirectory;

impl OptionValue for WorkingDirectory {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        std::env::current_dir().map(|path| path.into_os_string().into_vec()).unwrap_or_default()
    }

    fn assign(&mut self, arguments: &[&[u8]], _: &OptionSpec) -> Result<bool, Reason> {
        let path = only(arguments)?;
        if path.is_empty() {
            return Err("dir can't be empty".into());
        }
        std::env::set_current_dir(OsStr::from_bytes(path)).map_err(|error| os_reason(&error))?;
        Ok(true)
    }

    fn rewrite(&self, spec: &OptionSpec, _: &[u8]) -> Rewrite {
        match self.print(spec) {
            directory if directory.is_empty() => Rewrite::Absent,
            directory => Rewrite::one(quote(&directory), true),
        }
    }
}
