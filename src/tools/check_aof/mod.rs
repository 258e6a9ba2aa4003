//! `check-aof [--fix] [--truncate-to-timestamp T] FILE`: whether an append-only file, or all files that a manifest lists,
//! can be loaded to the end; and cutting off what cannot, or what came after an instant.
//!
//! Records are read as the server reads them, so nothing that it would load is called wrong. Only the last file is ever
//! cut, at the end of a record and outside of a transaction, and a copy of it is made first that no other file gives way for.

mod diagnosis;
mod repair;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::check_rdb::check_preamble;
use super::{Terminal, Verdict};
use crate::algorithms::numbers::parse_i64;
use crate::config::os_reason;
use crate::persistence::aof::{Manifest, Record, RecordError, Requests};

/// What is wrong with a transaction that the file ends in.
const NO_EXEC: &str = "Reached EOF before reading EXEC for MULTI";
/// Bytes of a line of a manifest that are looked at.
const LONGEST_LINE: u64 = 1024;

/// How the program was called.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    file: Vec<u8>,
    fix: bool,
    /// Unix s: what was written later is cut off.
    until: Option<i64>,
}

impl Options {
    /// # Errors
    /// What to say of the arguments; `None`: how the program is to be called.
    fn parse(arguments: &[Vec<u8>]) -> Result<Self, Option<&'static str>> {
        let (file, given) = arguments.split_last().ok_or(None)?;
        let mut options = Self { file: file.clone(), ..Self::default() };
        let mut given = given.iter().map(Vec::as_slice);
        while let Some(option) = given.next() {
            match option {
                b"--fix" => options.fix = true,
                b"--truncate-to-timestamp" => {
                    let seconds = given.next().ok_or(None)?;
                    // Zero was never an instant to cut at.
                    options.until = Some(parse_i64(seconds).ok_or(Some("Invalid timestamp, aborting..."))?)
                        .filter(|s| *s != 0);
                }
                _ => return Err(None),
            }
        }
        Ok(options)
    }
}

/// Why a check goes no further.
enum Ending {
    /// It was said what is wrong.
    Invalid,
    /// The terminal takes nothing.
    Terminal(io::Error),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

type Checked<T> = Result<T, Ending>;

/// What is right with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Valid,
    Empty,
    /// What could not be read was cut off.
    Fixed,
    /// What is later than the instant was cut off.
    CutToInstant,
}

pub(super) fn run(program: &str, arguments: &[Vec<u8>], terminal: &mut Terminal<'_>) -> io::Result<Verdict> {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(Some(line)) => {
            writeln!(terminal.output, "{line}")?;
            return Ok(Verdict::Invalid);
        }
        Err(None) => {
            writeln!(
                terminal.output,
                "Usage: {program} [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>"
            )?;
            return Ok(Verdict::Invalid);
        }
    };
    match (Check { options, terminal }).run() {
        Ok(()) => Ok(Verdict::Valid),
        Err(Ending::Invalid) => Ok(Verdict::Invalid),
        Err(Ending::Terminal(error)) => Err(error),
    }
}

/// A file to check.
struct Target<'a> {
    path: &'a Path,
    /// What it is called in the output.
    name: &'a str,
    is_last: bool,
    is_snapshot: bool,
}

/// How far a file can be read.
#[derive(Debug, Clone, Copy)]
struct Reach {
    /// Where what is whole ends: after the last record, or before the transaction that is not complete there.
    offset: u64,
    /// Lines read, those of a record that is not whole included.
    lines: u64,
    /// Where the first annotation stands that is later than the instant.
    later: Option<u64>,
}

struct Check<'a, 'b> {
    options: Options,
    terminal: &'a mut Terminal<'b>,
}

impl Check<'_, '_> {
    fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.terminal.output, "{line}")
    }

    /// Says what is wrong, and gives up.
    fn give_up<T>(&mut self, line: &str) -> Checked<T> {
        self.say(line)?;
        Err(Ending::Invalid)
    }

    fn run(mut self) -> Checked<()> {
        let path = PathBuf::from(OsStr::from_bytes(&self.options.file));
        if self.is_manifest(&path)? {
            return self.check_manifest(&path);
        }
        let is_snapshot = self.is_snapshot(&path)?;
        let name = path.display().to_string();
        self.say("Start checking Old-Style AOF")?;
        let finding = self.check(&Target { path: &path, name: &name, is_last: true, is_snapshot })?;
        self.tell("AOF", &name, finding)
    }

    /// Checks all files that a manifest lists.
    fn check_manifest(&mut self, path: &Path) -> Checked<()> {
        self.say("Start checking Multi Part AOF")?;
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.cannot_open(path, &error),
        };
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                error.lines().iter().try_for_each(|line| self.say(line))?;
                return Err(Ending::Invalid);
            }
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        let last = manifest.loaded().count();
        for (index, file) in manifest.loaded().enumerate() {
            let path = directory.join(OsStr::from_bytes(&file.name));
            let name = String::from_utf8_lossy(&file.name).into_owned();
            let is_base = manifest.base.is_some() && index == 0;
            let is_snapshot = is_base && self.is_snapshot(&path)?;
            if is_base {
                let format = if is_snapshot { "RDB" } else { "RESP" };
                self.say(&format!("Start to check BASE AOF ({format} format)."))?;
            } else if index == usize::from(manifest.base.is_some()) {
                self.say("Start to check INCR files.")?;
            }
            let is_last = index + 1 == last;
            let finding = self.check(&Target { path: &path, name: &name, is_last, is_snapshot })?;
            self.tell(if is_base { "BASE AOF" } else { "INCR AOF" }, &name, finding)?;
        }
        self.say("All AOF files and manifest are valid")?;
        Ok(())
    }

    fn tell(&mut self, kind: &str, name: &str, finding: Finding) -> Checked<()> {
        let line = match finding {
            Finding::Valid => format!("{kind} {name} is valid"),
            Finding::Empty => format!("{kind} {name} is empty"),
            Finding::Fixed => format!("Successfully truncated AOF {name}"),
            Finding::CutToInstant => {
                let until = self.options.until.unwrap_or_default();
                format!("Successfully truncated AOF {name} to timestamp {until}")
            }
        };
        Ok(self.say(&line)?)
    }

    /// Checks one file, and cuts it as asked for.
    fn check(&mut self, target: &Target<'_>) -> Checked<Finding> {
        let (mut file, size) = match open(target.path) {
            Ok(opened) => opened,
            Err(error) => {
                let (path, reason) = (target.path.display(), os_reason(&error));
                return self.give_up(&format!("Cannot open file {path}: {reason}, aborting..."));
            }
        };
        if size == 0 {
            return Ok(Finding::Empty);
        }
        let (mut ahead, mut start) = (Vec::new(), 0);
        if target.is_snapshot {
            let name = target.path.as_os_str().as_bytes();
            let Some(reader) = check_preamble(file, name, self.terminal.output)? else {
                return self.give_up("RDB preamble of AOF file is not sane, aborting.");
            };
            self.say("RDB preamble is OK, proceeding with AOF tail...")?;
            start = reader.offset();
            (file, ahead) = reader.into_parts();
        }
        let reach = self.walk(target, Requests::new(file, ahead, start))?;
        if let Some(later) = reach.later {
            return self.cut_to_instant(target, later, reach.offset);
        }
        let Reach { offset, lines, .. } = reach;
        let excess = size.saturating_sub(offset);
        let name = target.name;
        if let (0, Some(until)) = (excess, self.options.until) {
            self.say(&format!("Truncate nothing in AOF {name} to timestamp {until}"))?;
            return Ok(Finding::Valid);
        }
        self.say(&format!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={offset}, ok_up_to_line={lines}, diff={excess}"
        ))?;
        if excess == 0 {
            return Ok(Finding::Valid);
        }
        if !self.options.fix {
            return self.give_up(&format!("AOF {name} is not valid. Use the --fix option to try fixing it."));
        }
        if !target.is_last {
            return self.give_up(&format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        self.say(&format!(
            "This will shrink the AOF {name} from {size} bytes, with {excess} bytes, to {offset} bytes"
        ))?;
        if !self.agrees()? {
            return self.give_up("Aborting...");
        }
        self.cut(target, offset, &format!("Failed to truncate AOF {name}"))?;
        Ok(Finding::Fixed)
    }

    /// Reads a file to its end, or as far as it can be read, and says what is wrong there.
    fn walk(&mut self, target: &Target<'_>, mut requests: Requests<File>) -> Checked<Reach> {
        let mut reach = Reach { offset: requests.offset(), lines: 1, later: None };
        let mut in_transaction = false;
        // Where what was read last begins: an argument's bytes, or an annotation.
        let mut last = reach.offset;
        loop {
            let start = requests.offset();
            if !in_transaction {
                reach.offset = start;
            }
            let record = match requests.advance() {
                Ok(record) => record,
                Err(RecordError::Io(error)) => {
                    let reason = os_reason(&error);
                    return self
                        .give_up(&format!("Failed to read from AOF {}, aborting: {reason}", target.name));
                }
                Err(RecordError::Truncated | RecordError::Malformed) => {
                    reach.lines += self.diagnose(target, start, in_transaction)?;
                    return Ok(reach);
                }
            };
            match record {
                Record::End => {
                    if in_transaction {
                        self.say(&diagnosis::placed(last, NO_EXEC))?;
                    }
                    return Ok(reach);
                }
                Record::Annotation => {
                    last = start;
                    if self.is_later(requests.annotation())? {
                        reach.later = Some(start);
                        return Ok(reach);
                    }
                }
                Record::Request => {
                    let (bytes, args) = requests.request();
                    reach.lines += 1 + 2 * args.len() as u64;
                    let name = args.first().map(|arg| arg.of(bytes)).unwrap_or_default();
                    last = start + args.last().map_or(0, |arg| arg.start as u64);
                    let (begins, ends) =
                        (name.eq_ignore_ascii_case(b"multi"), name.eq_ignore_ascii_case(b"exec"));
                    if (begins && in_transaction) || (ends && !in_transaction) {
                        let word = if begins { "MULTI" } else { "EXEC" };
                        let reason = format!("Unexpected {word} in AOF {}", target.path.display());
                        self.say(&diagnosis::placed(last, &reason))?;
                        return Ok(reach);
                    }
                    in_transaction = begins || (in_transaction && !ends);
                }
            }
        }
    }

    /// Says what is wrong with the record at `offset`. Gives the lines of it that are whole.
    fn diagnose(&mut self, target: &Target<'_>, offset: u64, in_transaction: bool) -> Checked<u64> {
        let diagnosis = File::open(target.path).and_then(|mut file| {
            file.seek(io::SeekFrom::Start(offset))?;
            diagnosis::of_record(&mut BufReader::new(file), offset)
        });
        let diagnosis = match diagnosis {
            Ok(diagnosis) => diagnosis,
            Err(error) => {
                let reason = os_reason(&error);
                return self.give_up(&format!("Failed to read from AOF {}, aborting: {reason}", target.name));
            }
        };
        if diagnosis.is_no_record {
            self.say(&format!("AOF {} format error", target.name))?;
        }
        match &diagnosis.reason {
            Some(reason) => self.say(reason)?,
            None if in_transaction && !diagnosis.is_no_record => {
                self.say(&diagnosis::placed(diagnosis.offset, NO_EXEC))?;
            }
            None => {}
        }
        Ok(diagnosis.lines)
    }

    /// Whether an annotation names an instant later than the one to cut at.
    fn is_later(&mut self, annotation: &[u8]) -> Checked<bool> {
        let (Some(until), Some(seconds)) = (self.options.until, annotation.strip_prefix(b"TS:")) else {
            return Ok(false);
        };
        match parse_i64(seconds) {
            Some(seconds) => Ok(seconds > until),
            None => self.give_up("Invalid timestamp annotation"),
        }
    }

    /// Cuts a file before the annotation at `later`; before the transaction that begins at `whole`, if it stands in one.
    fn cut_to_instant(&mut self, target: &Target<'_>, later: u64, whole: u64) -> Checked<Finding> {
        let (name, until) = (target.path.display(), self.options.until.unwrap_or_default());
        if later == 0 {
            return self.give_up(&format!("AOF {name} has nothing before timestamp {until}, aborting..."));
        }
        if !target.is_last {
            self.say(&format!(
                "Failed to truncate AOF {name} to timestamp {until} to offset {later} because it is not the last file."
            ))?;
            return self.give_up(
                "If you insist, please delete all files after this file according to the manifest file and delete \
                 the corresponding records in manifest file manually. Then re-run valkey-check-aof.",
            );
        }
        self.cut(target, whole.min(later), &format!("Failed to truncate AOF {name} to timestamp {until}"))?;
        Ok(Finding::CutToInstant)
    }

    /// Cuts a file once a copy of it is safe.
    fn cut(&mut self, target: &Target<'_>, offset: u64, failure: &str) -> Checked<()> {
        match repair::cut(target.path, offset) {
            Ok(copy) => Ok(self.say(&format!("The file as it was is kept as {}", copy.display()))?),
            Err(error) => self.give_up(&format!("{failure}: {}", os_reason(&error))),
        }
    }

    fn agrees(&mut self) -> io::Result<bool> {
        write!(self.terminal.output, "Continue? [y/N]: ")?;
        self.terminal.output.flush()?;
        let mut answer = [0];
        let count = self.terminal.input.read(&mut answer)?;
        Ok(count == 1 && answer.eq_ignore_ascii_case(b"y"))
    }

    fn cannot_open<T>(&mut self, path: &Path, error: &io::Error) -> Checked<T> {
        self.give_up(&format!("Cannot open file {}: {}", path.display(), os_reason(error)))
    }

    /// Whether the first line that is no comment is one of a manifest.
    fn is_manifest(&mut self, path: &Path) -> Checked<bool> {
        let looked = open(path).and_then(|(file, _)| {
            let mut file = BufReader::new(file);
            loop {
                let mut line = Vec::new();
                (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
                if line.first() != Some(&b'#') {
                    return Ok(line.starts_with(b"file"));
                }
            }
        });
        looked.or_else(|error| self.cannot_open(path, &error))
    }

    /// Whether a file begins as a snapshot.
    fn is_snapshot(&mut self, path: &Path) -> Checked<bool> {
        let looked = open(path).and_then(|(file, _)| {
            let mut magic = Vec::new();
            file.take(6).read_to_end(&mut magic)?;
            Ok(matches!(magic.as_slice(), b"REDIS0" | b"VALKEY"))
        });
        looked.or_else(|error| self.cannot_open(path, &error))
    }
}

/// Opens a file to read, with its size.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((file, metadata.len())) }
}
