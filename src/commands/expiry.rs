//! Arguments about expiry, and the options that SET, GETEX, MSETEX, HSETEX and HGETEX share.
//!
//! Which words exclude each other, and that some may be repeated, follows Valkey
//! (`parseExtendedCommandArgumentsOrReply`).

use super::arguments::{integer, is_word};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::command::Args;
use crate::server::{Client, Context};

/// Deletes a key that a command gave an expiry in the past, which is told as a deletion.
pub(super) fn expire_at_once(cx: &mut Context<'_>, key: &[u8]) {
    let Some(entry) = cx.keys.remove(key) else { return };
    cx.keys.keyspace.counters.expired += 1;
    let lazily = cx.server.config.lazyfree_lazy_expire;
    cx.propagate_as(&[deletion(lazily), key]);
    cx.changed(EventClasses::EXPIRED, "expired", key);
    cx.server.background.free_entry(entry, lazily);
}

/// The command by which a deletion is told.
pub(super) fn deletion(lazily: bool) -> &'static [u8] {
    if lazily { b"UNLINK" } else { b"DEL" }
}

/// Whether an instant is over, so that what is to expire then goes at once. While data is loaded, what the log says is
/// taken as it is, and so is what a primary says (Valkey: `checkAlreadyExpired`).
pub(super) fn is_over(cx: &Context<'_>, expiry_ms: i64) -> bool {
    let server = &cx.server;
    let is_told =
        server.persistence.is_loading() || server.replication.is_replica() || server.config.import_mode;
    expiry_ms <= cx.now_ms() && !is_told && !cx.client().is_some_and(Client::imports_slots)
}

/// An expiry as a client gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpiryArgument<'a> {
    /// The number.
    pub text: &'a [u8],
    /// Milliseconds in its unit: 1000 or 1.
    pub unit_ms: i64,
    /// From now on (EX, PX), not since 1970 (EXAT, PXAT).
    pub relative: bool,
}

impl ExpiryArgument<'_> {
    /// The absolute expiry in milliseconds, for a command that refuses zero (SET, GETEX). `command` is its full name.
    ///
    /// # Errors
    /// Not an integer; `invalid expire time` when it is not positive or out of range.
    pub(super) fn positive(&self, now_ms: i64, command: &str) -> Result<i64, CommandError> {
        match integer(self.text)? {
            ..=0 => Err(CommandError::InvalidExpireTime(command.into())),
            value => self.resolve(value, now_ms, command),
        }
    }

    /// The absolute expiry in milliseconds, for a command that refuses only what is negative (HSETEX, HEXPIRE).
    ///
    /// # Errors
    /// Not an integer; `invalid expire time` when it is negative or out of range.
    pub(super) fn not_negative(&self, now_ms: i64, command: &str) -> Result<i64, CommandError> {
        match integer(self.text)? {
            ..0 => Err(CommandError::InvalidExpireTime(command.into())),
            value => self.resolve(value, now_ms, command),
        }
    }

    /// The absolute expiry in milliseconds, for a command that takes any number (EXPIRE): what lies before 1970
    /// counts as 1970.
    ///
    /// # Errors
    /// Not an integer; `invalid expire time` when it is out of range.
    pub(super) fn any(&self, now_ms: i64, command: &str) -> Result<i64, CommandError> {
        self.resolve(integer(self.text)?, now_ms, command).map(|expiry_ms| expiry_ms.max(0))
    }

    fn resolve(&self, value: i64, now_ms: i64, command: &str) -> Result<i64, CommandError> {
        value
            .checked_mul(self.unit_ms)
            .and_then(|ms| ms.checked_add(if self.relative { now_ms } else { 0 }))
            .ok_or_else(|| CommandError::InvalidExpireTime(command.into()))
    }
}

/// What happens to the expiry of what is written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ExpiryOption<'a> {
    /// Not said: a write takes it away, a read leaves it.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT, PXAT.
    At(ExpiryArgument<'a>),
}

/// On what a write depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Condition<'a> {
    /// Nothing.
    #[default]
    None,
    /// NX (or FNX): it is absent.
    Absent,
    /// XX (or FXX): it exists.
    Exists,
    /// IFEQ: its value equals this one.
    Equals(&'a [u8]),
}

/// Whose options are read; decides which words there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionsOf {
    /// GETEX.
    Get,
    /// SET.
    Set,
    /// MSETEX.
    Mset,
    /// HGETEX.
    Hget,
    /// HSETEX.
    Hset,
}

/// The options of a write, or of a read that changes the expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StoreOptions<'a> {
    /// NX, XX, IFEQ: about the key.
    pub condition: Condition<'a>,
    /// FNX, FXX: about the fields (HSETEX).
    pub field_condition: Condition<'a>,
    /// GET: reply with the old value (SET).
    pub get: bool,
    /// EX, PX, EXAT, PXAT, KEEPTTL, PERSIST.
    pub expiry: ExpiryOption<'a>,
}

impl<'a> StoreOptions<'a> {
    /// Whether an HSETEX of these options does the same wherever and whenever it is done.
    pub(super) fn is_told_as_it_is(&self) -> bool {
        let unconditional = self.condition == Condition::None && self.field_condition == Condition::None;
        let absolute = match self.expiry {
            ExpiryOption::At(expiry) => !expiry.relative && expiry.unit_ms == 1,
            _ => true,
        };
        unconditional && absolute
    }

    /// The options among the arguments from `from` up to (not including) `to`.
    ///
    /// # Errors
    /// A syntax error for what is unknown, incomplete or excluded by what came before.
    pub(super) fn parse(args: Args<'a>, from: usize, to: usize, of: OptionsOf) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = from;
        while index < to {
            let word = args.at(index);
            let value = if index + 1 < to { args.get(index + 1) } else { None };
            let used =
                options.condition_word(word, value, of).or_else(|| options.expiry_word(word, value, of));
            index += used.ok_or(CommandError::Syntax)?;
        }
        Ok(options)
    }

    /// Takes a word that is no expiry; gives how many arguments it used.
    fn condition_word(&mut self, word: &[u8], value: Option<&'a [u8]>, of: OptionsOf) -> Option<usize> {
        let stores = matches!(of, OptionsOf::Set | OptionsOf::Hset | OptionsOf::Mset);
        let set = of == OptionsOf::Set;
        let hset = of == OptionsOf::Hset;
        if is_word(word, "nx") && stores {
            require(&mut self.condition, Condition::Absent)
        } else if is_word(word, "xx") && stores {
            require(&mut self.condition, Condition::Exists)
        } else if is_word(word, "fnx") && hset {
            require(&mut self.field_condition, Condition::Absent)
        } else if is_word(word, "fxx") && hset {
            require(&mut self.field_condition, Condition::Exists)
        } else if is_word(word, "ifeq") && set && self.condition == Condition::None {
            self.condition = Condition::Equals(value?);
            Some(2)
        } else if is_word(word, "get") && set {
            self.get = true;
            Some(1)
        } else {
            None
        }
    }

    fn expiry_word(&mut self, word: &[u8], value: Option<&'a [u8]>, of: OptionsOf) -> Option<usize> {
        let reads = matches!(of, OptionsOf::Get | OptionsOf::Hget);
        let (option, used) = if is_word(word, "keepttl") && !reads {
            (ExpiryOption::Keep, 1)
        } else if is_word(word, "persist") && reads {
            (ExpiryOption::Persist, 1)
        } else {
            let (unit_ms, relative) = match word {
                _ if is_word(word, "ex") => (1000, true),
                _ if is_word(word, "px") => (1, true),
                _ if is_word(word, "exat") => (1000, false),
                _ if is_word(word, "pxat") => (1, false),
                _ => return None,
            };
            (ExpiryOption::At(ExpiryArgument { text: value?, unit_ms, relative }), 2)
        };
        if !self.expiry.admits(&option) {
            return None;
        }
        self.expiry = option;
        Some(used)
    }
}

impl ExpiryOption<'_> {
    /// Whether `next` may follow: the same word may be repeated, another one not.
    fn admits(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Unsaid, _) => true,
            (Self::At(first), Self::At(second)) => {
                (first.unit_ms, first.relative) == (second.unit_ms, second.relative)
            }
            (first, second) => first == second,
        }
    }
}

fn require<'a>(condition: &mut Condition<'a>, wanted: Condition<'a>) -> Option<usize> {
    if *condition != Condition::None && *condition != wanted {
        return None;
    }
    *condition = wanted;
    Some(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::server::command::Request;

    fn accepted(words: &str, of: OptionsOf) -> bool {
        let mut request = Request::default();
        words.split_whitespace().for_each(|word| request.push(word.as_bytes()));
        StoreOptions::parse(request.args(), 0, request.args().len(), of).is_ok()
    }

    #[test]
    fn words_exclude_each_other_as_in_valkey() {
        for words in ["nx get ex 1", "XX nX", "get get", "ex 1 ex 2", "keepttl keepttl", "ifeq a px 1"] {
            assert_eq!(accepted(words, OptionsOf::Set), words != "XX nX", "{words}");
        }
        for words in
            ["ex", "ex 1 px 1", "ex 1 keepttl", "ifeq", "ifeq a nx", "ifeq a ifeq a", "persist", "fnx"]
        {
            assert!(!accepted(words, OptionsOf::Set), "{words}");
        }
        assert!(accepted("persist persist", OptionsOf::Get));
        assert!(!accepted("persist ex 1", OptionsOf::Get));
        assert!(!accepted("keepttl", OptionsOf::Hget));
        assert!(accepted("nx fxx keepttl", OptionsOf::Hset));
        assert!(!accepted("fnx fxx", OptionsOf::Hset));
        assert!(!accepted("get", OptionsOf::Mset));
    }

    #[test]
    fn expiries_out_of_range_are_refused() {
        let seconds = |text| ExpiryArgument { text, unit_ms: 1000, relative: true };
        assert_eq!(seconds(b"2").positive(500, "set"), Ok(2500));
        assert_eq!(seconds(b"0").not_negative(500, "hsetex"), Ok(500));
        assert_eq!(seconds(b"-1").any(500, "expire"), Ok(0));
        let invalid = Err(CommandError::InvalidExpireTime("set".into()));
        assert_eq!(seconds(b"0").positive(500, "set"), invalid);
        assert_eq!(seconds(b"-1").not_negative(500, "set"), invalid);
        assert_eq!(seconds(b"9223372036854775807").any(500, "set"), invalid);
        assert_eq!(seconds(b"9223372036854775").any(i64::MAX / 2, "set"), invalid);
        assert_eq!(seconds(b"x").any(500, "set"), Err(CommandError::NotAnInteger));
    }
}
