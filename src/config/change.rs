//! CONFIG GET and CONFIG SET: options found by name or pattern, several set at once or none at all.
//!
//! Order of the checks and every error text are Valkey's `configSetCommand`. A failed set leaves the
//! configuration (and the working directory) as it was; a set whose effect the caller could not bring about
//! is taken back with [`Config::undo`].

use super::options::{Config, OPTIONS};
use super::spec::{Flags, OptionSpec};
use super::value::Reason;
use super::words::ProtectedAction;
use crate::algorithms::glob;
use std::fmt;
use std::path::PathBuf;

/// Who asks for a change, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetContext {
    /// Data is being loaded.
    pub loading: bool,
    /// The client is on this machine (a loopback address or the Unix socket).
    pub local_client: bool,
}

/// Why CONFIG SET failed. `Display` gives the error reply with its code, without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The option cannot be set while data is loading.
    Loading,
    /// There is no such option.
    UnknownOption(Vec<u8>),
    /// The option, as it was named, refused the value; or its effect failed, for this reason.
    Failed {
        /// Name of the option.
        option: Vec<u8>,
        /// What is wrong.
        reason: Reason,
    },
}

impl ConfigError {
    fn failed(option: &[u8], reason: impl Into<Reason>) -> ConfigError {
        ConfigError::Failed { option: option.to_vec(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Loading => write!(f, "LOADING Valkey is loading the dataset in memory"),
            ConfigError::UnknownOption(name) => {
                let name = String::from_utf8_lossy(name);
                write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            ConfigError::Failed { option, reason } => {
                let option = String::from_utf8_lossy(option);
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{option}') - {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// What a successful set changed: the caller brings about the effects, or takes everything back.
#[derive(Debug)]
pub struct Changes {
    changed: Vec<(&'static OptionSpec, &'static str)>,
    before: Box<Config>,
    directory_before: Option<PathBuf>,
}

impl Changes {
    /// Primary names of the options that changed, in the order they were given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.changed.iter().map(|(spec, _)| spec.name)
    }

    /// True when the option of this primary name changed.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|changed| changed == name)
    }

    /// The configuration before the change.
    pub fn before(&self) -> &Config {
        &self.before
    }

    /// The error reply for an option (by its primary name) whose effect could not be brought about.
    pub fn failure(&self, name: &str, reason: impl Into<Reason>) -> ConfigError {
        let given = self.changed.iter().find(|(spec, _)| spec.name == name).map(|(_, given)| *given);
        ConfigError::failed(given.unwrap_or(name).as_bytes(), reason)
    }
}

/// The option of this name or alias, in any case, and which of its names that is.
pub fn find_option(name: &[u8]) -> Option<(&'static OptionSpec, &'static str)> {
    OPTIONS.iter().find_map(|spec| {
        let own = spec.names().find(|own| own.as_bytes().eq_ignore_ascii_case(name))?;
        Some((spec, own))
    })
}

impl Config {
    /// CONFIG GET: name and value of every option that one of the patterns finds, sorted by name. A name
    /// without `[*?` is replied as it was asked for, and only such a name finds a hidden option.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, &'static OptionSpec)> = Vec::new();
        let mut add = |name: &[u8], spec: &'static OptionSpec| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), spec));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|b| matches!(b, b'[' | b'*' | b'?')) {
                if let Some((spec, _)) = find_option(pattern) {
                    add(pattern, spec);
                }
                continue;
            }
            for spec in OPTIONS.iter().filter(|spec| !spec.flags.has(Flags::HIDDEN)) {
                for name in spec.names().filter(|name| glob::matches(pattern, name.as_bytes(), true)) {
                    add(name.as_bytes(), spec);
                }
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.into_iter().map(|(name, spec)| (name, self.print(spec))).collect()
    }

    /// The value of an option as CONFIG GET prints it.
    pub fn print(&self, spec: &OptionSpec) -> Vec<u8> {
        (spec.value)(self).print(spec)
    }

    /// Sets one option from its arguments, as the lines of a file do; true when that counts as a change.
    pub(super) fn assign(&mut self, spec: &OptionSpec, arguments: &[&[u8]]) -> Result<bool, Reason> {
        (spec.value_mut)(self).assign(arguments, spec)
    }

    /// CONFIG SET: sets every option of `pairs` to its value, or none of them.
    pub fn set(&mut self, pairs: &[(&[u8], &[u8])], context: SetContext) -> Result<Changes, ConfigError> {
        let options = self.settable(pairs, context)?;
        let moves = options.iter().any(|(spec, _)| spec.name == "dir");
        let directory_before = if moves { std::env::current_dir().ok() } else { None };
        let mut changes = Changes { changed: Vec::new(), before: Box::new(self.clone()), directory_before };
        for ((spec, name), (_, value)) in options.into_iter().zip(pairs) {
            match self.assign(spec, &arguments_of(spec, value)) {
                Ok(true) => changes.changed.push((spec, name)),
                Ok(false) => {}
                Err(reason) => {
                    self.undo(changes);
                    return Err(ConfigError::failed(name.as_bytes(), reason));
                }
            }
        }
        self.hold_hz_in_range();
        let unsupported =
            changes.changed.iter().find_map(|(spec, name)| Some((name, self.unsupported(spec)?)));
        if let Some((name, reason)) = unsupported {
            let error = ConfigError::failed(name.as_bytes(), reason);
            self.undo(changes);
            return Err(error);
        }
        Ok(changes)
    }

    /// Takes back a change that [`Config::set`] made.
    pub fn undo(&mut self, changes: Changes) {
        *self = *changes.before;
        if let Some(directory) = changes.directory_before {
            // Nothing can be done when the directory is gone: the process stays where it is.
            let _ = std::env::set_current_dir(directory);
        }
    }

    /// The options that differ from their defaults although they have no effect in this server.
    pub fn inert_options_set(&self) -> impl Iterator<Item = &'static OptionSpec> + '_ {
        let defaults = Config::default();
        let inert = OPTIONS.iter().filter(|spec| spec.flags.has(Flags::INERT));
        inert.filter(move |spec| self.print(spec) != defaults.print(spec))
    }

    /// The options of `pairs`, if every one of them may be set.
    fn settable(
        &self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Vec<(&'static OptionSpec, &'static str)>, ConfigError> {
        let protected_allowed = match self.enable_protected_configs {
            ProtectedAction::No => false,
            ProtectedAction::Yes => true,
            ProtectedAction::Local => context.local_client,
        };
        let mut options: Vec<(&'static OptionSpec, &'static str)> = Vec::new();
        for (asked, _) in pairs {
            let Some((spec, name)) = find_option(asked) else {
                return Err(ConfigError::UnknownOption(asked.to_vec()));
            };
            if spec.flags.has(Flags::IMMUTABLE) {
                return Err(ConfigError::failed(asked, "can't set immutable config"));
            }
            if spec.flags.has(Flags::PROTECTED) && !protected_allowed {
                return Err(ConfigError::failed(asked, "can't set protected config"));
            }
            if context.loading && spec.flags.has(Flags::DENY_LOADING) {
                return Err(ConfigError::Loading);
            }
            // An option and its alias are two names: Valkey lets the last one win.
            if options.iter().any(|(_, known)| *known == name) {
                return Err(ConfigError::failed(asked, "duplicate parameter"));
            }
            options.push((spec, name));
        }
        Ok(options)
    }

    /// `hz` is taken as a wish and held between 1 and 500.
    pub(super) fn hold_hz_in_range(&mut self) {
        self.hz = self.hz.clamp(1, 500);
    }

    /// Why this server cannot do what the option now asks for, in the words of a server built without it.
    fn unsupported(&self, spec: &OptionSpec) -> Option<&'static str> {
        let wants_tls = self.tls_port != 0 || self.tls_replication || self.tls_cluster;
        match spec.name {
            "rdma-bind" | "rdma-port" => Some("No RDMA building support."),
            name if name.starts_with("tls-") && wants_tls => {
                Some("Unable to update TLS configuration. Check server logs.")
            }
            _ => None,
        }
    }
}

/// CONFIG SET has one value for each option; one with several arguments finds them between single spaces.
fn arguments_of<'a>(spec: &OptionSpec, value: &'a [u8]) -> Vec<&'a [u8]> {
    match (spec.flags.has(Flags::MULTI), value) {
        (false, _) => vec![value],
        (true, []) => Vec::new(),
        (true, _) => value.split(|b| *b == b' ').collect(),
    }
}
