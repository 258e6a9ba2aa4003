//! Users in files: lines of the configuration, and the file of their own (`aclfile`).

use super::user::{RuleContext, User};
use super::{Acl, RuleError, is_name, join_selectors};
use crate::server::Server;

/// A user as a line of the configuration defines it.
#[derive(Debug)]
pub struct UserLine {
    /// The name.
    pub name: Vec<u8>,
    /// The rules, selectors joined.
    pub rules: Vec<Vec<u8>>,
}

/// Why a line of the configuration defines no user.
#[derive(Debug)]
pub struct UserLineError {
    /// The word that the error names.
    pub word: Vec<u8>,
    /// What is wrong, in Valkey's words.
    pub reason: &'static str,
}

impl UserLine {
    /// Reads the words of a line, `user` the first of them. Commands that are not known are found out later.
    ///
    /// # Errors
    /// The first rule that cannot be one.
    pub fn parse(words: &[Vec<u8>], context: RuleContext<'_>) -> Result<Self, UserLineError> {
        let word = |index: usize| words.get(index).cloned().unwrap_or_default();
        let rules = join_selectors(words.iter().skip(2).map(Vec::as_slice))
            .map_err(|at| UserLineError { word: word(at), reason: "Wrong format" })?;
        let mut user = User::new(&word(1), context);
        for (index, rule) in rules.iter().enumerate() {
            match user.apply(rule, context) {
                Ok(()) | Err(RuleError::Unknown) => {}
                // Valkey counts the rules, not the words, and so names another word.
                Err(error) => return Err(UserLineError { word: word(index), reason: error.text() }),
            }
        }
        Ok(Self { name: word(1), rules })
    }
}

/// A file of users that cannot be used: everything that is wrong with it, in one line.
struct Faults {
    file: String,
    text: Vec<u8>,
}

impl Faults {
    fn add(&mut self, number: usize, fault: &[&[u8]]) {
        self.text.extend_from_slice(format!("{}:{number}", self.file).as_bytes());
        fault.iter().for_each(|part| self.text.extend_from_slice(part));
    }

    fn user(&mut self, number: usize, user: &mut User, words: &[&[u8]], context: RuleContext<'_>) {
        let Ok(rules) = join_selectors(words.iter().copied()) else {
            return self.add(number, &[b": Unmatched parenthesis in selector definition."]);
        };
        let mut told = false;
        for rule in rules {
            let rule = trim(&rule, b"\t\r\n");
            match user.apply(rule, context) {
                Ok(()) => {}
                Err(error @ RuleError::Unknown) => {
                    let reason = error.text().as_bytes();
                    self.add(number, &[b": Error in applying operation '", rule, b"': ", reason, b". "]);
                }
                // What follows the first one may follow from it.
                Err(error) if !std::mem::replace(&mut told, true) => {
                    self.add(number, &[b": ", error.text().as_bytes(), b". "]);
                }
                Err(_) => {}
            }
        }
    }
}

fn trim<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    let is_blank = |byte: &u8| blanks.contains(byte);
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The users of a file.
///
/// # Errors
/// Everything that is wrong with it, in Valkey's words.
pub(super) fn parse(text: &[u8], file: &str, context: RuleContext<'_>) -> Result<Acl, Vec<u8>> {
    let mut faults = Faults { file: file.to_owned(), text: Vec::new() };
    let mut acl = Acl { users: Vec::new(), log: Default::default() };
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let (number, line) = (index + 1, trim(line, b" \t\r\n"));
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [first, name, rules @ ..] = words.as_slice() else {
            faults.add(number, &[b" should start with user keyword followed by the username. "]);
            continue;
        };
        if *first != b"user" {
            faults.add(number, &[b" should start with user keyword followed by the username. "]);
        } else if !is_name(name) {
            faults.text.push(b'\'');
            faults.add(number, &[b": username '", name, b"' contains invalid characters. "]);
        } else if acl.user(name).is_some() {
            let text = [b"WARNING: Duplicate user '".as_slice(), name, b"' found on line "].concat();
            faults.text.extend_from_slice(&text);
            faults.text.extend_from_slice(format!("{number}. ").as_bytes());
        } else {
            let mut user = User::new(name, context);
            faults.user(number, &mut user, rules, context);
            acl.put(user);
        }
    }
    if faults.text.is_empty() {
        return Ok(acl);
    }
    let end = b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    faults.text.extend_from_slice(end);
    Err(faults.text)
}

impl Acl {
    /// The file of all users (ACL SAVE).
    #[must_use]
    pub fn file_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for line in self.lines() {
            text.extend_from_slice(b"user ");
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        text
    }
}

impl Server {
    /// Defines the users of the configuration's lines.
    ///
    /// # Errors
    /// What is wrong with them: the server must not start.
    pub fn define_users(&mut self, lines: &[UserLine]) -> Result<(), String> {
        let context = self.rule_context();
        for UserLine { name, rules } in lines {
            let shown = String::from_utf8_lossy(name);
            if !is_name(name) {
                return Err("Spaces not allowed in ACL usernames".to_owned());
            }
            let mut user = User::new(name, context);
            user.apply_all(rules, context).map_err(|(rule, error)| {
                let (rule, error) = (String::from_utf8_lossy(&rule), error.text());
                format!("Error loading ACL rule '{rule}' for the user named '{shown}': {error}")
            })?;
            if !user.enabled {
                tracing::info!(
                    "The user '{shown}' is disabled (there is no 'on' modifier in the user description). Make sure this is \
                     not a configuration error."
                );
            }
            self.acl.put(user);
        }
        self.users_changed();
        Ok(())
    }
}
