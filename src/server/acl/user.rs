//! A user: whether and by which passwords it may be logged in as, and its selectors.

use std::rc::Rc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::RuleError;
use super::selector::Selector;
use crate::config::AclPubsubDefault;
use crate::memory::{MemoryUsage, vec_usage};
use crate::server::command::CommandTable;

/// Characters of a password's SHA-256 in hexadecimal digits.
const HASH_LENGTH: usize = 64;

/// What rules refer to.
#[derive(Debug, Clone, Copy)]
pub struct RuleContext<'a> {
    /// The commands there are.
    pub commands: &'a CommandTable,
    /// What a new selector may do with channels (`acl-pubsub-default`).
    pub channels: AclPubsubDefault,
}

impl RuleContext<'_> {
    fn all_channels(self) -> bool {
        self.channels == AclPubsubDefault::AllChannels
    }
}

/// What a selector allows, as ACL GETUSER shows it.
#[derive(Debug)]
pub struct Rights {
    /// Rules about commands.
    pub commands: Vec<u8>,
    /// Patterns of keys.
    pub keys: Vec<u8>,
    /// Patterns of channels.
    pub channels: Vec<u8>,
    /// `alldbs`, or a list.
    pub databases: Vec<u8>,
}

/// A user of the server.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name; whose clients act as it share it.
    pub(super) name: Rc<[u8]>,
    /// It can be logged in as.
    pub(super) enabled: bool,
    /// Any password will do.
    pub(super) any_password: bool,
    /// SHA-256 of each password, in hexadecimal digits.
    pub(super) passwords: Vec<[u8; HASH_LENGTH]>,
    /// The first one is the user's own; a request has to be allowed by one of them alone.
    pub(super) selectors: Vec<Selector>,
}

impl User {
    /// A user that may do nothing and cannot be logged in as.
    #[must_use]
    pub fn new(name: &[u8], context: RuleContext<'_>) -> Self {
        let selectors = vec![Selector::new(context.all_channels())];
        Self { name: name.into(), enabled: false, any_password: false, passwords: Vec::new(), selectors }
    }

    /// A user that may do everything, whoever says its name.
    pub(super) fn unrestricted(name: &[u8]) -> Self {
        let selectors = vec![Selector::unrestricted()];
        Self { name: name.into(), enabled: true, any_password: true, passwords: Vec::new(), selectors }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Words for what it is apart from its rights.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        flags.extend(self.any_password.then_some("nopass"));
        flags
    }

    /// SHA-256 of each password, in hexadecimal digits.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.passwords.iter().map(<[u8; HASH_LENGTH]>::as_slice)
    }

    /// What each selector allows, the user's own first.
    pub fn rights(&self) -> impl ExactSizeIterator<Item = Rights> {
        self.selectors.iter().map(|selector| Rights {
            commands: selector.describe_commands(),
            keys: selector.describe_keys(),
            channels: selector.describe_channels(),
            databases: match selector.all_databases {
                true => b"alldbs".to_vec(),
                false => selector.describe_databases().into_bytes(),
            },
        })
    }

    /// Whether nothing has to be checked of what it asks for.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }

    /// Whether a client acts as it without saying so: for the default user.
    pub(super) fn is_open(&self) -> bool {
        self.enabled && self.any_password
    }

    /// Whether it can be logged in as by this password, found out in a time that says nothing of the right ones.
    pub(super) fn accepts(&self, password: &[u8]) -> bool {
        let hash = hash_of(password);
        let is_right = |known: &[u8; HASH_LENGTH]| bool::from(known.ct_eq(&hash));
        self.enabled
            && (self.any_password || self.passwords.iter().fold(false, |any, known| any | is_right(known)))
    }

    /// Its only password from now on; any, if that is empty (`requirepass`).
    pub(super) fn set_password(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.any_password = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(hash_of(password));
        }
    }

    /// Changes it as rules say: all of them, or none if one is wrong, which is given back with the fault.
    ///
    /// # Errors
    /// The first rule that is wrong, and why.
    pub fn apply_all(
        &mut self,
        rules: &[Vec<u8>],
        context: RuleContext<'_>,
    ) -> Result<(), (Vec<u8>, RuleError)> {
        let mut changed = self.clone();
        for rule in rules {
            changed.apply(rule, context).map_err(|error| (rule.clone(), error))?;
        }
        *self = changed;
        Ok(())
    }

    /// Changes it as one rule says.
    ///
    /// # Errors
    /// What is wrong with the rule.
    pub fn apply(&mut self, rule: &[u8], context: RuleContext<'_>) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            // Options of former versions that have no effect any more are taken too.
            b"" | b"skip-sanitize-payload" | b"sanitize-payload" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => self.set_password(b""),
            b"resetpass" => (self.any_password, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self { name: Rc::clone(&self.name), ..Self::new(b"", context) },
            [b'>' | b'#', ..] => {
                let hash = password_of(rule)?;
                if !self.passwords.contains(&hash) {
                    self.passwords.push(hash);
                }
                self.any_password = false;
            }
            [b'<' | b'!', ..] => {
                let hash = password_of(rule)?;
                let place = self.passwords.iter().position(|known| *known == hash);
                self.passwords.remove(place.ok_or(RuleError::NoSuchPassword)?);
            }
            [b'(', .., b')'] => {
                self.selectors.push(Selector::parse(rule, context.commands, context.all_channels())?);
            }
            _ => self.selectors.first_mut().ok_or(RuleError::Syntax)?.apply(rule, context.commands)?,
        }
        Ok(())
    }

    /// What it is, as a line of a file has it after the name.
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()).collect();
        words.extend(self.passwords.iter().map(|hash| [b"#", hash.as_slice()].concat()));
        for (index, selector) in self.selectors.iter().enumerate() {
            let text = selector.describe();
            words.push(if index == 0 { text } else { [b"(", text.as_slice(), b")"].concat() });
        }
        words.join(&b' ')
    }

    /// The channels that it may use of those that `former` may not; `None` if it loses none.
    pub(super) fn channels_left(&self, former: &Self) -> Option<Vec<Vec<u8>>> {
        if self.selectors.iter().any(|selector| selector.all_channels) {
            return None;
        }
        let left: Vec<Vec<u8>> =
            self.selectors.iter().flat_map(|selector| &selector.channels).cloned().collect();
        let keeps = |selector: &Selector| {
            !selector.all_channels && selector.channels.iter().all(|pattern| left.contains(pattern))
        };
        if former.selectors.iter().all(keeps) { None } else { Some(left) }
    }
}

impl MemoryUsage for User {
    fn memory_usage(&self) -> usize {
        crate::memory::usable_size(self.name.len() + 2 * size_of::<usize>())
            + vec_usage(&self.passwords)
            + vec_usage(&self.selectors)
            + self.selectors.iter().map(MemoryUsage::memory_usage).sum::<usize>()
    }
}

fn hash_of(password: &[u8]) -> [u8; HASH_LENGTH] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; HASH_LENGTH];
    for (digits, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(password)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// The hash that `>password` and `<password` mean, or that `#hash` and `!hash` give.
fn password_of(rule: &[u8]) -> Result<[u8; HASH_LENGTH], RuleError> {
    let [mark, text @ ..] = rule else { return Err(RuleError::Syntax) };
    if matches!(mark, b'>' | b'<') {
        return Ok(hash_of(text));
    }
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    <[u8; HASH_LENGTH]>::try_from(text)
        .ok()
        .filter(|hash| hash.iter().all(is_digit))
        .ok_or(RuleError::BadHash)
}
