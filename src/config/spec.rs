//! What the table knows of an option: its names, kind, flags and documentation, and how its value is reached.
//!
//! The table itself is in `options.rs`. Every name, alias, range and flag is Valkey 9.1's.

use super::Config;
use super::value::OptionValue;
use std::fmt;
use std::ops::BitOr;

/// The largest value of a C `int`.
pub(super) const INT_MAX: u64 = i32::MAX as u64;
/// The largest value of a C `unsigned int`.
pub(super) const UINT_MAX: u64 = u32::MAX as u64;
/// The largest value of a C `long`.
pub(super) const LONG_MAX: u64 = i64::MAX as u64;

/// How a number is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A plain decimal integer.
    Integer,
    /// Bytes, with an optional unit (`k kb m mb g gb`).
    Memory,
    /// Bytes, or a percentage kept as a negative number.
    MemoryOrPercent,
    /// Bytes, or a plain negative number with a meaning of its own.
    SignedMemory,
    /// Octal digits, for file modes.
    Octal,
}

/// A check on a string value; the error is the reason told to the client.
pub type TextCheck = fn(&[u8]) -> Result<(), &'static str>;

/// The type of an option and what its values must satisfy.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`; a reason stands for why it cannot be `yes` in this server.
    Bool {
        /// Told to whoever tries to switch it on.
        unavailable: Option<&'static str>,
    },
    /// A number between the bounds, both included.
    Number {
        /// How it is written.
        form: Form,
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: u64,
    },
    /// A byte string.
    Text {
        /// The empty string means unset, and is never written to the file.
        unset_when_empty: bool,
        /// A check beyond being a string.
        check: Option<TextCheck>,
    },
    /// One of these words, in any case.
    Enum(&'static [&'static str]),
    /// Several of these words, in any case.
    EnumSet(&'static [&'static str]),
    /// A form of its own: see `special.rs`.
    Special,
}

/// Properties of an option, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// None of them.
    pub const NONE: Flags = Flags(0);
    /// Can be set by file and command line only.
    pub const IMMUTABLE: Flags = Flags(1);
    /// Found by its exact name only, never by a pattern.
    pub const HIDDEN: Flags = Flags(2);
    /// CONFIG SET needs `enable-protected-configs`.
    pub const PROTECTED: Flags = Flags(4);
    /// The value is a secret: kept out of logs.
    pub const SENSITIVE: Flags = Flags(8);
    /// Cannot be set while data is loading.
    pub const DENY_LOADING: Flags = Flags(16);
    /// Takes several arguments.
    pub const MULTI: Flags = Flags(32);
    /// Setting it counts as a change even to the same value (files that are read again).
    pub const VOLATILE: Flags = Flags(64);
    /// Known and kept, without effect in this server.
    pub const INERT: Flags = Flags(128);

    /// True when every bit of `other` is set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        self.with(other)
    }
}

/// One row of the table of options.
pub struct OptionSpec {
    /// Primary name, lower case.
    pub name: &'static str,
    /// An older name that works everywhere the primary one does.
    pub alias: Option<&'static str>,
    /// Type and range.
    pub kind: Kind,
    /// Properties.
    pub flags: Flags,
    /// One line of documentation.
    pub doc: &'static str,
    pub(super) value: fn(&Config) -> &dyn OptionValue,
    pub(super) value_mut: fn(&mut Config) -> &mut dyn OptionValue,
}

impl OptionSpec {
    /// True when the option has this name or alias, in any case.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The primary name, then the alias if there is one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.name), self.alias].into_iter().flatten()
    }
}

impl fmt::Debug for OptionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptionSpec").field("name", &self.name).field("flags", &self.flags).finish()
    }
}

pub(super) const fn yes_no() -> Kind {
    Kind::Bool { unavailable: None }
}

pub(super) const fn only_no(reason: &'static str) -> Kind {
    Kind::Bool { unavailable: Some(reason) }
}

pub(super) const fn int(min: i64, max: u64) -> Kind {
    Kind::Number { form: Form::Integer, min, max }
}

pub(super) const fn memory(min: i64, max: u64) -> Kind {
    Kind::Number { form: Form::Memory, min, max }
}

pub(super) const fn number(form: Form, min: i64, max: u64) -> Kind {
    Kind::Number { form, min, max }
}

/// A string for which empty means unset.
pub(super) const fn optional() -> Kind {
    Kind::Text { unset_when_empty: true, check: None }
}

pub(super) const fn string() -> Kind {
    Kind::Text { unset_when_empty: false, check: None }
}

pub(super) const fn optional_checked(check: TextCheck) -> Kind {
    Kind::Text { unset_when_empty: true, check: Some(check) }
}

pub(super) const fn checked(check: TextCheck) -> Kind {
    Kind::Text { unset_when_empty: false, check: Some(check) }
}
