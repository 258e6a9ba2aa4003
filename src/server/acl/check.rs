//! Whether a user may run a request.

use super::selector::{READ, Selector, WRITE};
use super::user::User;
use crate::algorithms::glob;
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::command::{Args, KeyPosition, TableEntry, category, declared_keys_of, flag, key_flag};

/// What a request lacks a permission for. Of the selectors' reasons the last one of this order is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// A database.
    Database,
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

/// Why a request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// What it lacks a permission for.
    pub what: Denial,
    /// Which argument that is; 0 for the command as a whole.
    pub index: usize,
}

impl Denied {
    /// The error reply.
    #[must_use]
    pub fn error(self, user: &[u8], entry: &TableEntry) -> CommandError {
        match self.what {
            Denial::Database => CommandError::NoPermDatabase,
            Denial::Command => CommandError::NoPermCommand(user.into(), entry.full_name.as_str().into()),
            Denial::Key => CommandError::NoPermKey,
            Denial::Channel => CommandError::NoPermChannel,
        }
    }

    /// What EXEC says of a request that was allowed when it was queued.
    #[must_use]
    pub fn reason_in_exec(self) -> &'static str {
        match self.what {
            Denial::Database => "no permission",
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key => "no permission to touch the specified keys",
            Denial::Channel => "no permission to access one of the channels used as arguments",
        }
    }

    /// The reason in full, as ACL DRYRUN replies it.
    #[must_use]
    pub fn explain(self, user: &[u8], entry: &TableEntry, args: Args<'_>) -> Vec<u8> {
        let user = [b"User ", user, b" has no permissions to "].concat();
        let object = args.at(self.index);
        let rest = match self.what {
            Denial::Database => [b"access database ", object].concat(),
            Denial::Command => format!("run the '{}' command", entry.full_name).into_bytes(),
            Denial::Key => [b"access the '".as_slice(), object, b"' key"].concat(),
            Denial::Channel => [b"access the '".as_slice(), object, b"' channel"].concat(),
        };
        [user, rest].concat()
    }
}

/// A request to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its command.
    pub entry: &'a TableEntry,
    /// Its arguments.
    pub args: Args<'a>,
    /// The database that is selected when it runs.
    pub database: usize,
    /// How many there are.
    pub databases: usize,
}

/// The keys of a request, found once for all selectors.
type Keys = Option<Vec<KeyPosition>>;

impl User {
    /// Whether it may run a request.
    ///
    /// # Errors
    /// What it lacks a permission for.
    pub fn check(&self, asked: Asked<'_>) -> Result<(), Denied> {
        let mut denied = Denied { what: Denial::Database, index: 0 };
        let mut keys = None;
        for selector in &self.selectors {
            match selector.check(asked, &mut keys) {
                Ok(()) => return Ok(()),
                Err(other) => denied = denied.max(other),
            }
        }
        Err(denied)
    }

    /// Whether it may run a request, and read any key besides (SORT's BY and GET).
    #[must_use]
    pub fn may_read_every_key(&self, asked: Asked<'_>) -> bool {
        let mut keys = None;
        let reads = |selector: &Selector| {
            selector.all_keys || selector.keys.iter().any(|key| key.access & READ != 0 && key.pattern == b"*")
        };
        self.selectors.iter().any(|selector| selector.check(asked, &mut keys).is_ok() && reads(selector))
    }
}

impl Selector {
    fn check(&self, asked: Asked<'_>, keys: &mut Keys) -> Result<(), Denied> {
        let denied = |what, index| Err(Denied { what, index });
        let Asked { entry, args, .. } = asked;
        if let Some(index) = self.denied_database(asked) {
            return denied(Denial::Database, index);
        }
        if !entry.command.has(flag::NO_AUTH) && !self.allows_command(entry, args.get(1)) {
            return denied(Denial::Command, 0);
        }
        if !self.all_keys && entry.command.takes_keys() {
            let keys = keys.get_or_insert_with(|| declared_keys_of(entry, args).unwrap_or_default());
            if let Some(key) = keys.iter().find(|key| !self.allows_key(args.at(key.index), key.flags)) {
                return denied(Denial::Key, key.index);
            }
        }
        if !self.all_channels
            && let Some(index) = self.denied_channel(entry, args)
        {
            return denied(Denial::Channel, index);
        }
        Ok(())
    }

    fn allows_key(&self, key: &[u8], flags: u32) -> bool {
        const WRITES: u32 = key_flag::INSERT | key_flag::DELETE | key_flag::UPDATE;
        let reads = if flags & key_flag::ACCESS != 0 { READ } else { 0 };
        let needed = reads | if flags & WRITES != 0 { WRITE } else { 0 };
        let allows =
            |access: u8, pattern: &[u8]| access & needed == needed && glob::matches(pattern, key, false);
        self.keys.iter().any(|known| allows(known.access, &known.pattern))
    }

    /// The argument that is a channel which may not be used.
    fn denied_channel(&self, entry: &TableEntry, args: Args<'_>) -> Option<usize> {
        let (last, is_pattern) = match entry.full_name.as_str() {
            "publish" | "spublish" => (1, false),
            "subscribe" | "ssubscribe" => (args.len() - 1, false),
            "psubscribe" => (args.len() - 1, true),
            _ => return None,
        };
        (1..=last).find(|index| !allows_channel(&self.channels, args.at(*index), is_pattern))
    }

    /// The argument that names a database which may not be used; 0 if it is the selected one, or not all may be that are
    /// meant.
    fn denied_database(&self, asked: Asked<'_>) -> Option<usize> {
        let Asked { entry, args, database, databases } = asked;
        if self.all_databases {
            return None;
        }
        let allows = |database: usize| {
            database < databases && self.databases.iter().any(|known| *known as usize == database)
        };
        let is_denied = |index: &usize| !database_at(args, *index, databases).is_some_and(allows);
        let command = entry.command;
        if matches!(command.name, "select" | "swapdb" | "move" | "copy") && !entry.full_name.contains('|') {
            let named = database_arguments(command.name, args, databases).unwrap_or_default();
            let selected = || (command.takes_keys() && !allows(database)).then_some(0);
            return named.into_iter().find(is_denied).or_else(selected);
        }
        let uses_data = category::KEYSPACE | category::READ | category::WRITE;
        let is_denied = if command.has(flag::ALL_DBS) {
            !(0..databases).all(allows)
        } else {
            (command.all_categories() & uses_data != 0 || command.takes_keys()) && !allows(database)
        };
        is_denied.then_some(0)
    }
}

/// Whether one of the patterns allows a channel, or is the very pattern that is subscribed to.
pub(super) fn allows_channel(patterns: &[Vec<u8>], channel: &[u8], is_pattern: bool) -> bool {
    patterns
        .iter()
        .any(|pattern| if is_pattern { pattern == channel } else { glob::matches(pattern, channel, false) })
}

fn database_at(args: Args<'_>, index: usize, databases: usize) -> Option<usize> {
    let number = args.get(index).and_then(parse_i64)?;
    usize::try_from(number).ok().filter(|database| *database < databases)
}

/// The arguments that name databases; `None` if the request makes no sense, and will be told so.
fn database_arguments(name: &str, args: Args<'_>, databases: usize) -> Option<Vec<usize>> {
    let named = match name {
        "select" => vec![1],
        "swapdb" => vec![1, 2],
        "move" => vec![2],
        _ => {
            let (mut named, mut at) = (Vec::new(), 3);
            while let Some(word) = args.get(at) {
                if word.eq_ignore_ascii_case(b"db") && args.len() > at + 1 {
                    named.push(at + 1);
                    at += 1;
                } else if !word.eq_ignore_ascii_case(b"replace") {
                    return None;
                }
                at += 1;
            }
            named
        }
    };
    named.iter().all(|index| database_at(args, *index, databases).is_some()).then_some(named)
}
