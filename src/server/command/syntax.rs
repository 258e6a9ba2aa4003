//! A command's documented syntax and where its keys are.

/// Where the search for keys begins.
#[derive(Debug, Clone, Copy)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// After this word, searched from this argument (negative: from the end, backwards).
    Keyword(&'static str, i32),
    /// Cannot be said.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Debug, Clone, Copy)]
pub enum Find {
    /// Every `step`th up to `last` (relative to the begin; negative: from the end), the first `1/limit` of them if `limit` > 1.
    Range {
        /// Last key, relative to the first; -1 is the last argument, -2 the one before.
        last: i32,
        /// Distance between keys.
        step: i32,
        /// 0 or 1: no limit; 2: half of the remaining arguments.
        limit: i32,
    },
    /// As many as an argument says.
    Count {
        /// Where the number is, relative to the begin.
        index: i32,
        /// Where the first key is, relative to the begin.
        first: i32,
        /// Distance between keys.
        step: i32,
    },
    /// Cannot be said.
    Unknown,
}

/// One set of keys among a command's arguments.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// [`key_flag`]s.
    pub flags: u32,
    /// Where the search begins.
    pub begin: Begin,
    /// What is found from there.
    pub find: Find,
    /// A remark that COMMAND DOCS and INFO show; empty for none.
    pub notes: &'static str,
}

impl KeySpec {
    /// One key at `index`.
    #[must_use]
    pub const fn one(index: usize, flags: u32) -> Self {
        Self::range(index, 0, 1, flags)
    }

    /// Keys from `index` to `last` (relative, or negative from the end) in steps of `step`.
    #[must_use]
    pub const fn range(index: usize, last: i32, step: i32, flags: u32) -> Self {
        Self { flags, begin: Begin::Index(index), find: Find::Range { last, step, limit: 0 }, notes: "" }
    }

    /// The index of the key, where there is always one and always there: the common case, for who reads many.
    #[inline]
    #[must_use]
    pub const fn single(&self) -> Option<usize> {
        match (self.begin, self.find) {
            (Begin::Index(index), Find::Range { last: 0, .. }) => Some(index),
            _ => None,
        }
    }

    /// As many keys as the argument at `index` says, right after it.
    #[must_use]
    pub const fn counted(index: usize, flags: u32) -> Self {
        Self {
            flags,
            begin: Begin::Index(index),
            find: Find::Count { index: 0, first: 1, step: 1 },
            notes: "",
        }
    }
}

/// The kind of an argument, as COMMAND DOCS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    /// The name that COMMAND DOCS prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// One argument of a command's documented syntax.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// What a description of the syntax shows in its place.
    pub display: &'static str,
    /// Its kind.
    pub kind: ArgKind,
    /// The word before it (or that it is); empty for none.
    pub token: &'static str,
    /// Version since which it exists, if later than the command; empty otherwise.
    pub since: &'static str,
    /// Version since which it is deprecated; empty for not.
    pub deprecated: &'static str,
    /// Which key specification it belongs to.
    pub key_spec: Option<usize>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// The token is repeated with it.
    pub multiple_token: bool,
    /// The alternatives or parts of a `oneof` or `block`.
    pub arguments: &'static [Arg],
}

impl Arg {
    /// An argument of a kind.
    #[must_use]
    pub const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            display: name,
            kind,
            token: "",
            since: "",
            deprecated: "",
            key_spec: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments: &[],
        }
    }

    /// The key of the first key specification.
    #[must_use]
    pub const fn key(name: &'static str) -> Self {
        Self::new(name, ArgKind::Key).of_key_spec(0)
    }

    /// A string.
    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, ArgKind::String)
    }

    /// An integer.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgKind::Integer)
    }

    /// A double.
    #[must_use]
    pub const fn double(name: &'static str) -> Self {
        Self::new(name, ArgKind::Double)
    }

    /// A word that stands alone.
    #[must_use]
    pub const fn flag(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgKind::PureToken).token(token)
    }

    /// One of several alternatives.
    #[must_use]
    pub const fn one_of(name: &'static str, arguments: &'static [Arg]) -> Self {
        let mut arg = Self::new(name, ArgKind::OneOf);
        arg.arguments = arguments;
        arg
    }

    /// Several arguments that belong together.
    #[must_use]
    pub const fn block(name: &'static str, arguments: &'static [Arg]) -> Self {
        let mut arg = Self::new(name, ArgKind::Block);
        arg.arguments = arguments;
        arg
    }

    /// Shown by another name.
    #[must_use]
    pub const fn shown_as(mut self, display: &'static str) -> Self {
        self.display = display;
        self
    }

    /// With a word before it.
    #[must_use]
    pub const fn token(mut self, token: &'static str) -> Self {
        self.token = token;
        self
    }

    /// Whether there is a word to give; that of an argument which is nothing else may be empty (MIGRATE).
    #[must_use]
    pub fn has_token(&self) -> bool {
        !self.token.is_empty() || self.kind == ArgKind::PureToken
    }

    /// Existing since a version.
    #[must_use]
    pub const fn since(mut self, since: &'static str) -> Self {
        self.since = since;
        self
    }

    /// Deprecated since a version.
    #[must_use]
    pub const fn deprecated(mut self, since: &'static str) -> Self {
        self.deprecated = since;
        self
    }

    /// Belonging to a key specification.
    #[must_use]
    pub const fn of_key_spec(mut self, index: usize) -> Self {
        self.key_spec = Some(index);
        self
    }

    /// That may be left out.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// That may be repeated.
    #[must_use]
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// All arguments but the last: those of a command that has everything of another one but where it stores.
    #[must_use]
    pub const fn all_but_last(arguments: &'static [Self]) -> &'static [Self] {
        match arguments.split_last() {
            Some((_, rest)) => rest,
            None => arguments,
        }
    }

    /// That may be repeated, its token with it.
    #[must_use]
    pub const fn multiple_token(mut self) -> Self {
        self.multiple = true;
        self.multiple_token = true;
        self
    }
}
