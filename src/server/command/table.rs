//! The running server's table of commands: found by name in any case of letters, numbered for statistics.

use hashbrown::HashMap;

use super::{Args, Command};
use crate::algorithms::hash::FastHasher;
use crate::resp::CommandError;

/// A command as the running server knows it: its specification, full name and number.
#[derive(Debug)]
pub struct TableEntry {
    /// The specification.
    pub command: &'static Command,
    /// `get`, or `config|get` for a subcommand.
    pub full_name: String,
    /// Index of its statistics.
    pub id: usize,
    /// Its subcommands by lower-case name.
    pub subcommands: HashMap<&'static [u8], TableEntry, FastHasher>,
    /// It is called by another name than its own (`rename-command`).
    pub is_renamed: bool,
}

/// Finds a command by name, in any case of letters.
#[derive(Debug, Default)]
pub struct CommandTable {
    entries: HashMap<&'static [u8], TableEntry, FastHasher>,
    /// Those that are called by another name, by that name in lower case.
    renamed: HashMap<Vec<u8>, TableEntry, FastHasher>,
    /// Those that cannot be called at all.
    withdrawn: Vec<TableEntry>,
    count: usize,
}

/// No command's name is longer; a longer word is no command.
const LONGEST_NAME: usize = 32;

fn lower_case<'a>(name: &[u8], buffer: &'a mut [u8; LONGEST_NAME]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

impl CommandTable {
    /// A table of the commands of all families.
    #[must_use]
    pub fn new(families: &[&'static [Command]]) -> Self {
        let mut table = Self::default();
        for command in families.iter().copied().flatten() {
            let id = table.next_id();
            let subcommands = command
                .subcommands
                .iter()
                .map(|subcommand| {
                    let entry = TableEntry {
                        command: subcommand,
                        full_name: format!("{}|{}", command.name, subcommand.name),
                        id: table.next_id(),
                        subcommands: HashMap::default(),
                        is_renamed: false,
                    };
                    (subcommand.name.as_bytes(), entry)
                })
                .collect();
            let full_name = command.name.to_owned();
            let entry = TableEntry { command, full_name, id, subcommands, is_renamed: false };
            table.entries.insert(command.name.as_bytes(), entry);
        }
        table
    }

    /// Has a command be called by another name, and by its own no longer; by none if the other one is empty.
    ///
    /// # Errors
    /// Valkey's words for what is wrong with the names.
    pub fn rename(&mut self, name: &[u8], other: &[u8]) -> Result<(), &'static str> {
        let (name, other) = (name.to_ascii_lowercase(), other.to_ascii_lowercase());
        let found = self.renamed.remove(&name).or_else(|| self.entries.remove(name.as_slice()));
        let mut entry = found.ok_or("No such command in rename-command")?;
        entry.is_renamed = true;
        if self.get(&other).is_some() {
            return Err("Target command name already exists");
        }
        if other.is_empty() {
            self.withdrawn.push(entry);
        } else {
            self.renamed.insert(other, entry);
        }
        Ok(())
    }

    fn next_id(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }

    /// How many commands and subcommands there are; ids are below it.
    #[must_use]
    pub fn ids(&self) -> usize {
        self.count
    }

    /// The top-level commands, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &TableEntry> {
        self.entries.values().chain(self.renamed.values())
    }

    /// Commands and subcommands, in no order.
    pub fn every(&self) -> impl Iterator<Item = &TableEntry> {
        self.iter().flat_map(|entry| std::iter::once(entry).chain(entry.subcommands.values()))
    }

    /// How many top-level commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() + self.renamed.len()
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The top-level command of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&TableEntry> {
        let own = lower_case(name, &mut [0; LONGEST_NAME]).and_then(|name| self.entries.get(name));
        if own.is_some() || self.renamed.is_empty() {
            return own;
        }
        self.renamed.get(&name.to_ascii_lowercase())
    }

    /// The command by its full name (`config|get`), or by name alone.
    #[must_use]
    pub fn by_full_name(&self, name: &[u8]) -> Option<&TableEntry> {
        match memchr::memchr(b'|', name) {
            None => self.get(name),
            Some(bar) => self.get(&name[..bar])?.subcommand(&name[bar + 1..]),
        }
    }

    /// Every command that there is, whatever it is called by and whether it can be.
    fn own(&self) -> impl Iterator<Item = &TableEntry> {
        self.iter().chain(&self.withdrawn)
    }

    /// Commands and subcommands by their own full name in any case of letters, whatever they are called by: users' rights
    /// are about these.
    #[must_use]
    pub fn by_own_name(&self, name: &[u8]) -> Option<&TableEntry> {
        let (command, subcommand) = match memchr::memchr(b'|', name) {
            None => (name, None),
            Some(bar) => (&name[..bar], Some(&name[bar + 1..])),
        };
        let is_command = |entry: &&TableEntry| entry.full_name.as_bytes().eq_ignore_ascii_case(command);
        let entry = self.get(command).filter(is_command).or_else(|| self.own().find(is_command))?;
        match subcommand {
            None => Some(entry),
            Some(subcommand) => entry.subcommand(subcommand),
        }
    }

    /// Commands and subcommands that there are, whatever they are called by, in no order.
    pub fn every_own(&self) -> impl Iterator<Item = &TableEntry> {
        self.own().flat_map(|entry| std::iter::once(entry).chain(entry.subcommands.values()))
    }

    /// The command or subcommand that a request names, whatever its number of arguments.
    #[must_use]
    pub fn named(&self, args: Args<'_>) -> Option<&TableEntry> {
        let entry = self.get(args.at(0))?;
        if entry.subcommands.is_empty() || args.len() < 2 {
            Some(entry)
        } else {
            entry.subcommand(args.at(1))
        }
    }

    /// The command or subcommand that a request calls.
    ///
    /// # Errors
    /// Unknown command or subcommand, or a wrong number of arguments, in Valkey's words.
    #[inline]
    pub fn find(&self, args: Args<'_>) -> Result<&TableEntry, CommandError> {
        let entry = self.get(args.at(0)).ok_or_else(|| unknown_command(args))?;
        let entry = if entry.subcommands.is_empty() || args.len() < 2 {
            entry
        } else {
            entry.subcommand(args.at(1)).ok_or_else(|| CommandError::UnknownSubcommand {
                command: args.at(0).into(),
                subcommand: args.at(1).into(),
            })?
        };
        if entry.command.accepts(args.len()) {
            Ok(entry)
        } else {
            Err(CommandError::WrongArity(entry.full_name.as_str().into()))
        }
    }
}

#[cold]
fn unknown_command(args: Args<'_>) -> CommandError {
    CommandError::unknown_command(args.at(0), args.from(1).iter())
}

impl TableEntry {
    /// The subcommands by name.
    #[must_use]
    pub fn sorted_subcommands(&self) -> Vec<&Self> {
        let mut subcommands: Vec<&Self> = self.subcommands.values().collect();
        subcommands.sort_unstable_by_key(|entry| entry.full_name.as_str());
        subcommands
    }

    /// The subcommand of this name.
    #[must_use]
    pub fn subcommand(&self, name: &[u8]) -> Option<&TableEntry> {
        self.subcommands.get(lower_case(name, &mut [0; LONGEST_NAME])?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FAMILY: &[Command] =
        &[Command { name: "get", ..Command::DEFAULT }, Command { name: "set", ..Command::DEFAULT }];

    #[test]
    fn a_renamed_command_has_its_new_name_only() {
        let mut table = CommandTable::new(&[FAMILY]);
        let long = b"a-name-that-is-longer-than-any-of-our-own-names-is";
        table.rename(b"GET", long).unwrap();
        assert!(table.get(b"get").is_none());
        assert_eq!(table.get(&long.to_ascii_uppercase()).unwrap().full_name, "get");
        table.rename(long, b"set2").unwrap();
        assert!(table.get(long).is_none() && table.get(b"Set2").unwrap().is_renamed);
        assert_eq!(table.rename(b"set", b"set2").unwrap_err(), "Target command name already exists");
        assert_eq!(table.rename(b"get", b"x").unwrap_err(), "No such command in rename-command");
        table.rename(b"set2", b"").unwrap();
        assert_eq!(table.len(), 0);
    }
}
