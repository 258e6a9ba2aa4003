//! Reads configuration files, text from standard input and the options of the command line, in that order.
//!
//! One option a line, `#` starts a comment line, a later line wins. Errors are told in Valkey's form with
//! the number and text of the line. Directives that are no options (`user`, `rename-command`, `loadmodule`)
//! are collected for the layers that know what to do with them, which report errors through
//! [`Directive::error`].

use super::change::find_option;
use super::options::Config;
use super::spec::{Flags, OptionSpec};
use super::text::{os_reason, split_arguments, trim};
use crate::algorithms::glob;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The version of Valkey whose behaviour and texts this server follows.
pub const VALKEY_VERSION: &str = "9.1.2";

/// Files that include files: more levels than this are taken for a circle.
const MOST_INCLUDES: usize = 64;

/// Options that no longer exist and are ignored with one argument.
const RETIRED: [&str; 7] = [
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "io-threads-do-reads",
    "dynamic-hz",
    "events-per-io-thread",
    "sanitize-dump-payload",
];

/// Where options come from; later ones win over earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// A file, or a pattern of files.
    pub file: Option<&'a Path>,
    /// What was read from standard input.
    pub stdin: &'a [u8],
    /// Lines made of the command line's options.
    pub options: &'a [u8],
}

/// A configuration as it was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The options.
    pub config: Config,
    /// What else the files say.
    pub directives: Directives,
}

/// Lines of a file that are not options, in order.
#[derive(Debug, Default)]
pub struct Directives {
    /// `user <name> <rule>...`
    pub users: Vec<Directive>,
    /// `rename-command <name> <new name>`
    pub renamed_commands: Vec<Directive>,
    /// `loadmodule <path> <argument>...`
    pub modules: Vec<Directive>,
    /// `<module>.<option> <value>...`
    pub module_options: Vec<Directive>,
}

/// One such line.
#[derive(Debug)]
pub struct Directive {
    /// The words of the line, the first one (the directive itself) included, in lower case.
    pub arguments: Vec<Vec<u8>>,
    number: usize,
    line: Vec<u8>,
}

impl Directive {
    /// The error of start-up that this line is at fault for.
    pub fn error(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Line { number: self.number, line: self.line.clone(), reason: reason.into() }
    }
}

/// Why a configuration cannot be used; the server does not start. `Display` is what it prints, without a
/// last newline: the first two on standard error, the last as a warning in the log.
#[derive(Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A line is wrong.
    Line {
        /// Counted from 1 over everything that was read together.
        number: usize,
        /// The line without the blanks around it.
        line: Vec<u8>,
        /// What is wrong with it.
        reason: String,
    },
    /// The lines are right, what they say together is not.
    Whole(String),
    /// A file cannot be read.
    Unreadable {
        /// Its name as it was given.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEADING: &str = "*** FATAL CONFIG FILE ERROR (Version";
        match self {
            LoadError::Line { number, line, reason } => {
                writeln!(f, "\n{HEADING} {VALKEY_VERSION}) ***")?;
                writeln!(f, "Reading the configuration file, at line {number}")?;
                write!(f, ">>> '{}'\n{reason}", String::from_utf8_lossy(line))
            }
            LoadError::Whole(reason) => write!(f, "\n{HEADING} {VALKEY_VERSION}) ***\n{reason}"),
            LoadError::Unreadable { path, reason } => {
                write!(f, "Fatal error, can't open config file '{}': {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads the configuration. Side effects as in Valkey: `dir` changes the working directory, and a log file
/// is created to see that it can be.
pub fn load(sources: Sources<'_>) -> Result<Loaded, LoadError> {
    let mut text = match sources.file {
        Some(file) => read_files(file)?,
        None => Vec::new(),
    };
    end_line(&mut text);
    text.extend_from_slice(sources.stdin);
    text.push(b'\n');
    text.extend_from_slice(sources.options);

    let mut reader = Reader::default();
    reader.read_text(&text)?;
    let mut loaded = reader.loaded;
    check_whole(&loaded.config).map_err(LoadError::Whole)?;
    loaded.config.hold_hz_in_range();
    Ok(loaded)
}

fn check_whole(config: &Config) -> Result<(), String> {
    if !config.logfile.is_empty() {
        let opened = OpenOptions::new().append(true).create(true).open(config.logfile.as_path());
        opened.map_err(|error| format!("Can't open the log file: {}", os_reason(&error)))?;
    }
    if config.cluster_enabled && config.replicaof.0.is_some() {
        return Err("replicaof directive not allowed in cluster mode".to_owned());
    }
    Ok(())
}

#[derive(Default)]
struct Reader {
    loaded: Loaded,
    /// The first `save` replaces the default, the others add to it.
    save_seen: bool,
    includes: usize,
}

/// What is wrong with a line: itself, or a file it includes.
enum Fault {
    Reason(String),
    Included(LoadError),
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Fault {
        Fault::Reason(reason.to_owned())
    }
}

impl Reader {
    fn read_text(&mut self, text: &[u8]) -> Result<(), LoadError> {
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = trim(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            self.read_line(index + 1, line).map_err(|fault| match fault {
                Fault::Reason(reason) => LoadError::Line { number: index + 1, line: line.to_vec(), reason },
                Fault::Included(error) => error,
            })?;
        }
        Ok(())
    }

    fn read_line(&mut self, number: usize, line: &[u8]) -> Result<(), Fault> {
        let mut arguments = split_arguments(line).ok_or("Unbalanced quotes in configuration line")?;
        let Some(name) = arguments.first_mut() else { return Ok(()) };
        name.make_ascii_lowercase();
        let name = name.clone();
        if let Some((spec, _)) = find_option(&name) {
            let values: Vec<&[u8]> = arguments.iter().skip(1).map(Vec::as_slice).collect();
            return self.set_option(spec, &values);
        }
        let count = arguments.len();
        if count == 2 && RETIRED.iter().any(|retired| retired.as_bytes() == name) {
            return Ok(());
        }
        let directives = &mut self.loaded.directives;
        let list = match name.as_slice() {
            b"include" if count == 2 => {
                let included = arguments.pop().unwrap_or_default();
                return self.include(Path::new(OsStr::from_bytes(&included)));
            }
            b"rename-command" if count == 3 => &mut directives.renamed_commands,
            b"user" if count >= 2 => &mut directives.users,
            b"loadmodule" if count >= 2 => &mut directives.modules,
            name if name.contains(&b'.') && count < 2 => {
                return Err("Module config specified without value".into());
            }
            name if name.contains(&b'.') => &mut directives.module_options,
            b"sentinel" if count == 1 => return Ok(()),
            b"sentinel" => return Err("sentinel directive while not in sentinel mode".into()),
            _ => return Err("Bad directive or wrong number of arguments".into()),
        };
        list.push(Directive { arguments, number, line: line.to_vec() });
        Ok(())
    }

    fn include(&mut self, file: &Path) -> Result<(), Fault> {
        if self.includes == MOST_INCLUDES {
            return Err("Too many levels of include".into());
        }
        self.includes += 1;
        let read = read_files(file).and_then(|text| self.read_text(&text));
        self.includes -= 1;
        read.map_err(Fault::Included)
    }

    fn set_option(&mut self, spec: &OptionSpec, values: &[&[u8]]) -> Result<(), Fault> {
        let split;
        let split_values: Vec<&[u8]>;
        let values = match values {
            // One quoted argument may hold all of them: `save "3600 1 300 100"`.
            [value] if spec.flags.has(Flags::MULTI) && !value.is_empty() => {
                split = split_arguments(value).unwrap_or_default();
                split_values = split.iter().map(Vec::as_slice).collect();
                &split_values
            }
            [_] => values,
            _ if spec.flags.has(Flags::MULTI) => values,
            _ => return Err("wrong number of arguments".into()),
        };
        let earlier = self.earlier_save_points(spec, values);
        self.loaded.config.assign(spec, values).map_err(|reason| Fault::Reason(reason.into_owned()))?;
        if let Some(mut points) = earlier {
            points.append(&mut self.loaded.config.save.0);
            self.loaded.config.save.0 = points;
        }
        Ok(())
    }

    /// The save points that this line adds to: those of earlier lines, unless it says `save ""`.
    fn earlier_save_points(&mut self, spec: &OptionSpec, values: &[&[u8]]) -> Option<Vec<super::SavePoint>> {
        if spec.name != "save" {
            return None;
        }
        let adds = std::mem::replace(&mut self.save_seen, true) && !matches!(values, [[]]);
        adds.then(|| self.loaded.config.save.0.clone())
    }
}

/// The text of a file; of all files a pattern matches, which may be none.
fn read_files(file: &Path) -> Result<Vec<u8>, LoadError> {
    let name = file.as_os_str().as_bytes();
    let files = if has_wildcard(name) { expand(name) } else { vec![file.to_path_buf()] };
    let mut text = Vec::new();
    for path in files {
        let content = fs::read(&path)
            .map_err(|error| LoadError::Unreadable { reason: os_reason(&error), path: path.clone() })?;
        end_line(&mut text);
        text.extend_from_slice(&content);
    }
    Ok(text)
}

/// A last line without a newline must not run into the first line of what follows.
fn end_line(text: &mut Vec<u8>) {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
}

fn has_wildcard(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// The existing files a shell pattern matches, sorted.
fn expand(pattern: &[u8]) -> Vec<PathBuf> {
    let start = if pattern.starts_with(b"/") { PathBuf::from("/") } else { PathBuf::new() };
    let mut found = vec![start];
    for part in pattern.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let literal = !has_wildcard(part);
        found = found
            .iter()
            .flat_map(
                |base| if literal { vec![base.join(OsStr::from_bytes(part))] } else { entries(base, part) },
            )
            .filter(|path| path.exists())
            .collect();
    }
    found
}

/// Paths of the entries of a directory that the pattern of one path part matches, sorted.
fn entries(directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    // A shell negates a class with `!`, the glob of keys with `^`.
    let pattern: Vec<u8> = pattern
        .iter()
        .enumerate()
        .map(|(at, b)| if *b == b'!' && at > 0 && pattern.get(at - 1) == Some(&b'[') { b'^' } else { *b })
        .collect();
    let matches = |name: &OsStr| {
        let hidden = name.as_bytes().starts_with(b".") && !pattern.starts_with(b".");
        !hidden && glob::matches(&pattern, name.as_bytes(), false)
    };
    let Ok(read) = fs::read_dir(listed) else { return Vec::new() };
    let names = read.flatten().map(|entry| entry.file_name());
    let mut paths: Vec<PathBuf> =
        names.filter(|name| matches(name)).map(|name| directory.join(name)).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests;
