//! Users and their rights: who may log in, and which commands, keys, channels and databases each may use.
//!
//! A client keeps the name it acts as, and whether that user is limited at all: one flag is all that is looked at before
//! a command of a client that is not. Whenever users change, the flag of every client is set anew
//! (`Server::users_changed`). A user that is deleted takes its clients with it, so a name means one user for as long as
//! a client acts as it.

mod check;
mod enforce;
mod file;
mod load;
mod log;
mod selector;
#[cfg(test)]
mod tests;
mod user;

use check::allows_channel;
pub use check::{Asked, Denial, Denied};
pub use file::{UserLine, UserLineError};
pub use load::{EndedLoad, PendingLoad};
pub use log::{AclLog, LogEntry, Place, Reason};
pub use user::{Rights, RuleContext, User};

use std::rc::Rc;

use crate::memory::{MemoryUsage, vec_usage};

/// The user whom everybody is who has not said otherwise.
pub const DEFAULT_USER: &[u8] = b"default";

/// Whom a client acts as.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Login {
    /// The default user.
    #[default]
    Default,
    /// The user of this name.
    User(Rc<[u8]>),
    /// Nobody: what it sends is history that was allowed when it was made.
    Superuser,
}

impl Login {
    /// The user's name, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Default => Some(DEFAULT_USER),
            Self::User(name) => Some(name),
            Self::Superuser => None,
        }
    }
}

/// What is wrong with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleError {
    /// No such command or category.
    Unknown,
    /// Not a rule, or a pattern with blanks in it.
    Syntax,
    /// A pattern of keys where every key is allowed.
    AfterAllKeys,
    /// A pattern of channels where every channel is allowed.
    AfterAllChannels,
    /// The password to remove is none.
    NoSuchPassword,
    /// Not 64 hexadecimal digits.
    BadHash,
    /// The user was defined before.
    DuplicateUser,
    /// `+container|subcommand|argument`.
    FirstArgumentOfSubcommand,
    /// No number of a database.
    DatabaseOutOfRange,
}

impl RuleError {
    /// In Valkey's words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown command or category name in ACL",
            Self::Syntax => "Syntax error",
            Self::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
                 Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::DuplicateUser => "Duplicate user found. A user can only be defined once in config files",
            Self::FirstArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            Self::DatabaseOutOfRange => "The provided database ID is out of range",
        }
    }
}

/// All users, and the log of what was denied.
#[derive(Debug)]
pub struct Acl {
    /// In the order of their names.
    users: Vec<User>,
    /// The log.
    pub log: AclLog,
}

impl Default for Acl {
    /// The default user alone, who may do everything.
    fn default() -> Self {
        Self { users: vec![User::unrestricted(DEFAULT_USER)], log: AclLog::default() }
    }
}

impl Acl {
    fn place_of(&self, name: &[u8]) -> Result<usize, usize> {
        self.users.binary_search_by(|user| (*user.name).cmp(name))
    }

    /// The user of this name.
    #[must_use]
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.get(self.place_of(name).ok()?)
    }

    /// All users, by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.users.iter()
    }

    /// Whether a new connection may give commands without logging in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.user(DEFAULT_USER).is_some_and(User::is_open)
    }

    /// Whether the default user has passwords, or none that would do.
    #[must_use]
    pub fn asks_for_password(&self) -> bool {
        self.user(DEFAULT_USER).is_none_or(|user| !user.any_password)
    }

    /// Whether a user can be logged in as by a password.
    #[must_use]
    pub fn accepts(&self, name: &[u8], password: &[u8]) -> bool {
        self.user(name).is_some_and(|user| user.accepts(password))
    }

    /// How a client acts as a user from now on.
    #[must_use]
    pub fn login(&self, name: &[u8]) -> Login {
        match self.user(name) {
            Some(user) if name != DEFAULT_USER => Login::User(Rc::clone(&user.name)),
            _ => Login::Default,
        }
    }

    /// The user whom a client acts as.
    #[must_use]
    pub fn user_of(&self, login: &Login) -> Option<&User> {
        self.user(login.name()?)
    }

    /// Whether what a client asks for has to be checked.
    #[must_use]
    pub fn limits(&self, login: &Login) -> bool {
        *login != Login::Superuser && !self.user_of(login).is_some_and(User::is_unrestricted)
    }

    /// Every user as a line of a configuration file, without the `user` before it.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.users().map(|user| [&user.name, b" ".as_slice(), &user.describe()].concat()).collect()
    }

    /// The password of the default user; any, if it is empty (`requirepass`).
    pub fn set_default_password(&mut self, password: &[u8]) {
        if let Ok(place) = self.place_of(DEFAULT_USER) {
            self.users[place].set_password(password);
        }
    }

    /// Adds a user, or puts it in the place of the one of its name, whose name it goes on sharing.
    fn put(&mut self, mut user: User) {
        match self.place_of(&user.name) {
            Ok(place) => {
                user.name = Rc::clone(&self.users[place].name);
                self.users[place] = user;
            }
            Err(place) => self.users.insert(place, user),
        }
    }

    fn remove(&mut self, name: &[u8]) -> Option<User> {
        Some(self.users.remove(self.place_of(name).ok()?))
    }
}

impl MemoryUsage for Acl {
    fn memory_usage(&self) -> usize {
        self.log.memory_usage()
            + vec_usage(&self.users)
            + self.users().map(MemoryUsage::memory_usage).sum::<usize>()
    }
}

/// Whether a user's name can be told from what follows it in a line.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    !selector::has_spaces(name)
}

/// Joins words from one in which a parenthesis opens to the one in which it closes.
///
/// # Errors
/// The place of a parenthesis that nothing closes.
pub fn join_selectors<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, usize> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut open = None;
    for (index, word) in words.into_iter().enumerate() {
        match open.and_then(|_| joined.last_mut()) {
            Some(selector) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
            }
            None => joined.push(word.to_vec()),
        }
        if word.ends_with(b")") {
            open = None;
        } else if word.starts_with(b"(") {
            open = open.or(Some(index));
        }
    }
    open.map_or(Ok(joined), Err)
}
