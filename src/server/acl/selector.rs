//! A set of permissions: commands, keys, channels, databases.
//!
//! The rules about commands are kept as they were given, without those that later ones made void, so that a selector can
//! be described by what makes it again; which commands they come to is computed as they are added.

use super::RuleError;
use crate::config::split_arguments;
use crate::memory::{MemoryUsage, vec_usage};
use crate::server::command::{CommandTable, TableEntry, category};

/// May be read.
pub(super) const READ: u8 = 1;
/// May be written.
pub(super) const WRITE: u8 = 1 << 1;

/// Which keys may be used, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPattern {
    pub(super) pattern: Vec<u8>,
    /// [`READ`], [`WRITE`] or both.
    pub(super) access: u8,
}

/// A set of commands by their ids: all or none, but for some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct CommandSet {
    /// What holds for a command that no rule is about.
    base: bool,
    /// A bit for each command for which the opposite holds.
    differs: Vec<u64>,
}

impl CommandSet {
    fn has(&self, id: usize) -> bool {
        let differs = self.differs.get(id / 64).is_some_and(|word| word >> (id % 64) & 1 == 1);
        self.base != differs
    }

    fn set(&mut self, id: usize, allowed: bool) {
        let (word, bit) = (id / 64, 1 << (id % 64));
        if self.differs.len() <= word {
            self.differs.resize(word + 1, 0);
        }
        if allowed == self.base {
            self.differs[word] &= !bit;
        } else {
            self.differs[word] |= bit;
        }
    }
}

/// A set of permissions; a user has at least one.
#[derive(Debug, Clone)]
pub(super) struct Selector {
    /// Every command, whatever its id: nothing has been taken away.
    pub(super) all_commands: bool,
    commands: CommandSet,
    /// Commands that are allowed with these first arguments only, by id.
    first_arguments: Vec<(usize, Vec<Vec<u8>>)>,
    /// What made `commands` after `+@all` or `-@all`: whether it is allowed, and the name without its sign.
    rules: Vec<(bool, Vec<u8>)>,
    pub(super) all_keys: bool,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Vec<u8>>,
    pub(super) all_databases: bool,
    /// In order.
    pub(super) databases: Vec<u32>,
}

impl Selector {
    /// No permissions but for every database, and for every channel if `all_channels` says so.
    pub(super) fn new(all_channels: bool) -> Self {
        Self {
            all_commands: false,
            commands: CommandSet::default(),
            first_arguments: Vec::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
            all_databases: true,
            databases: Vec::new(),
        }
    }

    /// Every permission there is.
    pub(super) fn unrestricted() -> Self {
        let mut selector = Self::new(true);
        selector.allow_every_command(true);
        selector.all_keys = true;
        selector
    }

    /// Whether nothing has to be checked.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_databases
    }

    /// A selector from its rules, blanks between them and parentheses around.
    pub(super) fn parse(text: &[u8], commands: &CommandTable, all_channels: bool) -> Result<Self, RuleError> {
        let inner = text.get(1..text.len() - 1).unwrap_or_default();
        let mut selector = Self::new(all_channels);
        for rule in split_arguments(inner).unwrap_or_default() {
            selector.apply(&rule, commands)?;
        }
        Ok(selector)
    }

    /// Changes permissions as a rule says.
    pub(super) fn apply(&mut self, rule: &[u8], commands: &CommandTable) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.set_keys(true),
            b"resetkeys" => self.set_keys(false),
            b"allchannels" | b"&*" => self.set_channels(true),
            b"resetchannels" => self.set_channels(false),
            b"alldbs" => self.set_databases(true, Vec::new()),
            b"resetdbs" => self.set_databases(false, Vec::new()),
            b"allcommands" | b"+@all" => self.allow_every_command(true),
            b"nocommands" | b"-@all" => self.allow_every_command(false),
            [b'd', b'b', b'=', list @ ..] => self.set_databases(false, databases(list)?),
            [b'~' | b'%', ..] => self.add_keys(rule)?,
            [b'&', ..] => self.add_channels(rule)?,
            [sign @ (b'+' | b'-'), b'@', name @ ..] => self.change_category(name, *sign == b'+', commands)?,
            [b'+', name @ ..] => self.add_command(name, commands)?,
            [b'-', name @ ..] => {
                let entry = commands.by_own_name(name).ok_or(RuleError::Unknown)?;
                self.change_command(entry, false);
                self.note_rule(false, entry.full_name.as_bytes());
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn set_keys(&mut self, all: bool) {
        (self.all_keys, self.keys) = (all, Vec::new());
    }

    fn set_channels(&mut self, all: bool) {
        (self.all_channels, self.channels) = (all, Vec::new());
    }

    fn set_databases(&mut self, all: bool, databases: Vec<u32>) {
        (self.all_databases, self.databases) = (all, databases);
    }

    fn allow_every_command(&mut self, allowed: bool) {
        self.all_commands = allowed;
        self.commands = CommandSet { base: allowed, differs: Vec::new() };
        self.rules.clear();
        self.first_arguments.clear();
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (access, pattern) = access_and_pattern(rule)?;
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => known.access |= access,
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), access }),
        }
        Ok(())
    }

    fn add_channels(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        let pattern = rule.get(1..).unwrap_or_default();
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `+command`, `+container|subcommand` or `+command|first-argument`; the name is in lower case.
    fn add_command(&mut self, name: &[u8], commands: &CommandTable) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let entry = commands.by_own_name(name).ok_or(RuleError::Unknown)?;
            self.change_command(entry, true);
            self.note_rule(true, entry.full_name.as_bytes());
            return Ok(());
        };
        let (before, argument) = (&name[..bar], &name[bar + 1..]);
        let entry = commands.by_own_name(before).ok_or(RuleError::Unknown)?;
        if before.contains(&b'|') {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        if argument.is_empty() || has_spaces(argument) {
            return Err(RuleError::Syntax);
        }
        if entry.subcommands.is_empty() {
            tracing::warn!(
                "Deprecation warning: Allowing a first arg of an otherwise blocked command is a misuse of ACL and may get \
                 disabled in the future (offender: +{})",
                String::from_utf8_lossy(name)
            );
            self.allow_first_argument(entry.id, argument);
        } else {
            let subcommand = entry.subcommand(argument).ok_or(RuleError::Unknown)?;
            self.change_command(subcommand, true);
        }
        self.note_rule(true, name);
        Ok(())
    }

    fn allow_first_argument(&mut self, id: usize, argument: &[u8]) {
        match self.first_arguments.iter_mut().find(|(known, _)| *known == id) {
            Some((_, allowed)) if allowed.iter().any(|known| known == argument) => {}
            Some((_, allowed)) => allowed.push(argument.to_vec()),
            None => self.first_arguments.push((id, vec![argument.to_vec()])),
        }
    }

    fn change_category(
        &mut self,
        name: &[u8],
        allowed: bool,
        commands: &CommandTable,
    ) -> Result<(), RuleError> {
        let wanted = category::named(name).ok_or(RuleError::Unknown)?;
        self.note_rule(allowed, &[b"@", name].concat());
        for entry in commands.every_own() {
            if entry.command.all_categories() & wanted != 0 {
                self.change_command(entry, allowed);
            }
        }
        Ok(())
    }

    /// A container stands for its subcommands too.
    fn change_command(&mut self, entry: &TableEntry, allowed: bool) {
        self.commands.set(entry.id, allowed);
        self.first_arguments.retain(|(id, _)| *id != entry.id);
        for subcommand in entry.subcommands.values() {
            self.commands.set(subcommand.id, allowed);
        }
        self.all_commands &= allowed;
    }

    /// Adds a rule in place of one about the same, or about parts of it.
    fn note_rule(&mut self, allowed: bool, name: &[u8]) {
        let is_part =
            |rule: &[u8]| rule.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'|');
        self.rules.retain(|(_, rule)| !is_part(rule));
        self.rules.push((allowed, name.to_vec()));
    }

    /// Whether a command may be run with this first argument.
    pub(super) fn allows_command(&self, entry: &TableEntry, argument: Option<&[u8]>) -> bool {
        let allows_argument = || {
            let allowed = self.first_arguments.iter().filter(|(id, _)| *id == entry.id);
            let mut allowed = allowed.flat_map(|(_, arguments)| arguments);
            argument.is_some_and(|argument| allowed.any(|known| argument.eq_ignore_ascii_case(known)))
        };
        self.all_commands || self.commands.has(entry.id) || allows_argument()
    }

    /// The rules about commands, as `ACL SETUSER` takes them.
    pub(super) fn describe_commands(&self) -> Vec<u8> {
        let mut text = if self.commands.base { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (allowed, rule) in &self.rules {
            text.extend_from_slice(if *allowed { b" +" } else { b" -" });
            text.extend_from_slice(rule);
        }
        text
    }

    /// The patterns of keys, with blanks between them.
    pub(super) fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let one = |key: &KeyPattern| {
            let mark: &[u8] = match key.access {
                READ => b"%R~",
                WRITE => b"%W~",
                _ => b"~",
            };
            [mark, &key.pattern].concat()
        };
        self.keys.iter().map(one).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels, with blanks between them.
    pub(super) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let patterns = self.channels.iter().map(|pattern| [b"&", pattern.as_slice()].concat());
        patterns.collect::<Vec<_>>().join(&b' ')
    }

    /// `db=` and the databases; nothing when there are none.
    pub(super) fn describe_databases(&self) -> String {
        let list: Vec<_> = self.databases.iter().map(ToString::to_string).collect();
        if list.is_empty() { String::new() } else { format!("db={}", list.join(",")) }
    }

    /// All of it, as a line of a file has it.
    pub(super) fn describe(&self) -> Vec<u8> {
        let mut words = vec![self.describe_keys()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.push(self.describe_channels());
        // Every database is the default, and not told to those who do not know of databases.
        if !self.all_databases {
            let some = self.describe_databases().into_bytes();
            words.push(if some.is_empty() { b"resetdbs".to_vec() } else { some });
        }
        words.push(self.describe_commands());
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}

impl MemoryUsage for Selector {
    fn memory_usage(&self) -> usize {
        let words = |list: &Vec<Vec<u8>>| vec_usage(list) + list.iter().map(vec_usage).sum::<usize>();
        vec_usage(&self.commands.differs)
            + vec_usage(&self.first_arguments)
            + self.first_arguments.iter().map(|(_, arguments)| words(arguments)).sum::<usize>()
            + vec_usage(&self.rules)
            + self.rules.iter().map(|(_, rule)| vec_usage(rule)).sum::<usize>()
            + vec_usage(&self.keys)
            + self.keys.iter().map(|key| vec_usage(&key.pattern)).sum::<usize>()
            + words(&self.channels)
            + vec_usage(&self.databases)
    }
}

/// Whether text has blanks or ends a C string, which would make rules ambiguous.
pub(super) fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

/// What `~pattern` or `%RW~pattern` allows.
fn access_and_pattern(rule: &[u8]) -> Result<(u8, &[u8]), RuleError> {
    if let Some(pattern) = rule.strip_prefix(b"~") {
        return Ok((READ | WRITE, pattern));
    }
    let mut access = 0;
    let mut rest = rule.get(1..).unwrap_or_default();
    while let [first, after @ ..] = rest {
        rest = after;
        let more = match first.to_ascii_uppercase() {
            b'R' => READ,
            b'W' => WRITE,
            b'~' => break,
            _ => return Err(RuleError::Syntax),
        };
        if access & more != 0 {
            return Err(RuleError::Syntax);
        }
        access |= more;
    }
    if access == 0 { Err(RuleError::Syntax) } else { Ok((access, rest)) }
}

/// Numbers with commas between them, in order.
fn databases(list: &[u8]) -> Result<Vec<u32>, RuleError> {
    let mut databases = Vec::new();
    for word in list.split(|byte| *byte == b',') {
        let digits = word.trim_ascii_start();
        let unsigned = digits.strip_prefix(b"-").or(digits.strip_prefix(b"+")).unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
            return Err(RuleError::Syntax);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
        let number = number.and_then(|number| i32::try_from(number).ok());
        databases
            .push(number.and_then(|number| u32::try_from(number).ok()).ok_or(RuleError::DatabaseOutOfRange)?);
    }
    databases.sort_unstable();
    databases.dedup();
    Ok(databases)
}
