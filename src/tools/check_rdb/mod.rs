//! `check-rdb FILE [--stats] [--format table|info|csv] [--output FILE]`: whether a snapshot can be read to its end, and
//! what it holds.
//!
//! Values are decoded as a load would, one at a time, and checked as deeply. An error is told with its offset, and with the
//! key and the form that were being read. A check of the part of an append-only file that is a snapshot gives the reader
//! back, which stands at what follows.

mod report;
mod statistics;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Terminal, Verdict};
use crate::config::{Config, os_reason};
use crate::rdb::format::{self, FOREIGN_VERSION_MAX, FOREIGN_VERSION_MIN, VERSION, VersionCheck};
use crate::rdb::snapshot::{ChecksumState, EntryHeader, Stage};
use crate::rdb::{Event, RdbError, RdbErrorKind, Reader, Snapshot, ValueType as Form};
use crate::server::limits;
use crate::sys::clock;
use crate::types::{Limits, Value};
use report::Format;
use statistics::Statistics;

/// What a snapshot holds, as far as it was read.
#[derive(Debug, Default)]
struct Counts {
    keys: u64,
    expires: u64,
    already_expired: u64,
    functions: u64,
    scripts: u64,
}

/// How the program was called.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    file: Vec<u8>,
    /// With figures about keys and their elements.
    statistics: bool,
    format: Format,
    /// Where the figures go instead of the output.
    output: Option<Vec<u8>>,
}

impl Options {
    fn parse(arguments: &[Vec<u8>]) -> Option<Self> {
        let (file, rest) = arguments.split_first()?;
        let mut options = Self { file: file.clone(), ..Self::default() };
        let mut rest = rest.iter().map(Vec::as_slice);
        while let Some(option) = rest.next() {
            match option {
                b"--stats" => options.statistics = true,
                b"--output" => options.output = Some(rest.next()?.to_vec()),
                b"--format" => options.format = Format::parse(rest.next()?)?,
                _ => return None,
            }
        }
        Some(options)
    }
}

pub(super) fn run(program: &str, arguments: &[Vec<u8>], terminal: &mut Terminal<'_>) -> io::Result<Verdict> {
    let Some(options) = Options::parse(arguments) else {
        writeln!(
            terminal.errors,
            "Usage: {program} <rdb-file-name> [--format table|info|csv] [--stats] [--output <file>]"
        )?;
        return Ok(Verdict::Invalid);
    };
    let path = Path::new(OsStr::from_bytes(&options.file));
    let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    });
    match opened {
        Ok(file) => match Check::new(&options).run(file, &options.file, terminal.output)? {
            Some(_) => Ok(Verdict::Valid),
            None => Ok(Verdict::Invalid),
        },
        Err(error) => {
            tell(terminal.output, 0, &[b"Checking RDB file ", options.file.as_slice()])?;
            tell(terminal.output, 0, &[b"Cannot open it: ", os_reason(&error).as_bytes()])?;
            tell(terminal.output, 0, &[b"Check RDB returned error code 1 (0 means success)"])?;
            Ok(Verdict::Invalid)
        }
    }
}

/// What `check-rdb` says of a file that could not be loaded.
#[must_use]
pub fn examine(path: &Path) -> String {
    let mut output = Vec::new();
    let name = path.as_os_str().as_bytes();
    // Writing to memory cannot fail; a file that cannot be opened any more leaves nothing to say.
    if let Ok(file) = File::open(path) {
        let _ = Check::new(&Options::default()).run(file, name, &mut output);
    }
    String::from_utf8_lossy(&output).into_owned()
}

/// Checks the snapshot that an append-only file begins with. Gives the reader back if it is valid.
///
/// # Errors
/// Those of writing to `output`.
pub(super) fn check_preamble(
    file: File,
    name: &[u8],
    output: &mut dyn Write,
) -> io::Result<Option<Reader<File>>> {
    Check::new(&Options::default()).run(file, name, output)
}

/// Writes a line that begins with an offset.
fn tell(output: &mut dyn Write, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
    write!(output, "[offset {offset}] ")?;
    parts.iter().try_for_each(|part| output.write_all(part))?;
    output.write_all(b"\n")
}

/// What is wrong with a snapshot.
#[derive(Debug)]
struct Fault {
    offset: u64,
    reason: String,
    doing: &'static str,
    key: Option<Vec<u8>>,
    form: Option<Form>,
}

/// Why a check has ended early.
enum Ending {
    Fault(Fault),
    Output(io::Error),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

struct Check<'a> {
    options: &'a Options,
    limits: Limits,
    now_ms: i64,
    counts: Counts,
    database: u64,
    statistics: Option<Statistics>,
    version: u16,
}

impl<'a> Check<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            limits: limits(&Config::default()),
            now_ms: clock::unix_ms(),
            counts: Counts::default(),
            database: 0,
            statistics: options.statistics.then(Statistics::default),
            version: 0,
        }
    }

    /// Checks a file and tells of it. Gives the reader back if it is valid.
    fn run<R: Read>(
        mut self,
        input: R,
        name: &[u8],
        output: &mut dyn Write,
    ) -> io::Result<Option<Reader<R>>> {
        tell(output, 0, &[b"Checking RDB file ", name])?;
        let (reader, offset) = match self.walk(input, output) {
            Ok(reader) => {
                let offset = reader.offset();
                (Some(reader), offset)
            }
            Err(Ending::Fault(fault)) => {
                let offset = fault.offset;
                report::fault(output, &fault)?;
                self.report(output)?;
                (None, offset)
            }
            Err(Ending::Output(error)) => return Err(error),
        };
        let code = u8::from(reader.is_none());
        tell(
            output,
            offset,
            &[format!("Check RDB returned error code {code} (0 means success)").as_bytes()],
        )?;
        if reader.is_some() {
            let is_native = self.version < FOREIGN_VERSION_MIN || self.version == VERSION;
            tell(
                output,
                offset,
                &[if is_native {
                    b"\\o/ RDB looks OK! \\o/"
                } else {
                    b"\\o/ RDB looks OK, but loading requires config 'rdb-version-check relaxed'".as_slice()
                }],
            )?;
            self.report(output)?;
        }
        Ok(reader)
    }

    /// Reads a file to its end.
    fn walk<R: Read>(&mut self, input: R, output: &mut dyn Write) -> Result<Reader<R>, Ending> {
        let mut snapshot = Snapshot::open(Reader::new(input), VersionCheck::Relaxed).map_err(|error| {
            let offset = if matches!(error.kind, RdbErrorKind::Truncated) { 0 } else { error.offset };
            let reason = match error.kind {
                RdbErrorKind::BadMagic(_) => "Wrong signature trying to load DB from file".to_owned(),
                kind => kind.to_string(),
            };
            Ending::Fault(Fault { offset, reason, doing: "start", key: None, form: None })
        })?;
        self.version = snapshot.version();
        let family = match self.version {
            FOREIGN_VERSION_MIN..=FOREIGN_VERSION_MAX => Some("Foreign"),
            version if version > VERSION => Some("Future"),
            _ => None,
        };
        if let Some(family) = family {
            let line = format!("{family} RDB version {} detected", self.version);
            tell(output, snapshot.offset(), &[line.as_bytes()])?;
        }
        loop {
            match snapshot.next_event() {
                Ok(Event::Entry(header)) => self.take_entry(&mut snapshot, header)?,
                Ok(Event::Eof(state)) => {
                    let line: &[u8] = match state {
                        ChecksumState::Verified => b"Checksum OK",
                        ChecksumState::NotStored => {
                            b"RDB file was saved with checksum disabled: no check performed."
                        }
                        ChecksumState::NotInFormat | ChecksumState::NotVerified => {
                            return Ok(snapshot.into_reader());
                        }
                    };
                    tell(output, snapshot.offset(), &[line])?;
                    return Ok(snapshot.into_reader());
                }
                Ok(event) => self.note(event, snapshot.offset(), output)?,
                Err(error) => return Err(self.fault(&snapshot, &error)),
            }
        }
    }

    /// Notes what is said about the file and its databases.
    fn note(&mut self, event: Event, offset: u64, output: &mut dyn Write) -> io::Result<()> {
        match event {
            Event::Aux { key, value } => {
                self.counts.scripts += u64::from(key.eq_ignore_ascii_case(b"lua"));
                tell(output, offset, &[b"AUX FIELD ", &key, b" = '", &value, b"'"])?;
            }
            Event::SelectDb(number) => {
                self.database = number;
                if let Some(statistics) = &mut self.statistics {
                    statistics.select(number);
                }
                tell(output, offset, &[format!("Selecting DB ID {number}").as_bytes()])?;
            }
            Event::ModuleAux { module_id } => {
                let name = format::module_type_name(module_id);
                tell(output, offset, &[b"MODULE AUX for: ", name.as_bytes()])?;
            }
            Event::Function(_) => self.counts.functions += 1,
            Event::ResizeDb { .. }
            | Event::SlotInfo { .. }
            | Event::SlotImport { .. }
            | Event::Entry(_)
            | Event::Eof(_) => {}
        }
        Ok(())
    }

    fn take_entry<R: Read>(&mut self, snapshot: &mut Snapshot<R>, header: EntryHeader) -> Result<(), Ending> {
        self.counts.keys += 1;
        let expired = header.expiry_ms.is_some_and(|expiry_ms| expiry_ms < self.now_ms);
        self.counts.expires += u64::from(header.expiry_ms.is_some());
        let (_, reader) = snapshot.value();
        let value = match header.value_type {
            // A value of a module is read past without the module.
            Form::Module2 => reader.skip_value(Form::Module2).map(|()| None),
            form => match Value::read_rdb(reader, form, &self.limits, None) {
                Ok(None) => Err(reader.corrupt("The collection is empty")),
                value => value,
            },
        };
        let value = value.map_err(|error| self.fault(snapshot, &error))?;
        self.counts.already_expired += u64::from(expired);
        if let Some(statistics) = &mut self.statistics {
            let expiry = header.expiry_ms.map(|_| expired);
            statistics.add(self.database, snapshot.key(), value.as_ref(), expiry);
        }
        Ok(())
    }

    fn fault<R: Read>(&self, snapshot: &Snapshot<R>, error: &RdbError) -> Ending {
        let offset = snapshot.offset();
        let reason = match &error.kind {
            RdbErrorKind::Checksum { .. } => "RDB CRC error".to_owned(),
            RdbErrorKind::UnknownType(byte) | RdbErrorKind::ForeignType { byte, .. } => {
                let version = self.version;
                match version {
                    FOREIGN_VERSION_MIN..=FOREIGN_VERSION_MAX => {
                        format!("Unknown object type {byte} in RDB file with foreign version {version}")
                    }
                    _ if version > VERSION => {
                        format!("Unknown object type {byte} in RDB file with future version {version}")
                    }
                    _ => format!("Invalid object type: {byte}"),
                }
            }
            RdbErrorKind::Corrupt(reason) => {
                format!("Internal error in RDB reading offset {} -> {reason}", error.offset)
            }
            RdbErrorKind::Truncated if snapshot.stage() == Stage::Function => {
                "Failed loading library, Failed loading library payload".to_owned()
            }
            kind => kind.to_string(),
        };
        let (doing, form) = (snapshot.stage(), snapshot.form());
        let key = (doing == Stage::Value).then(|| snapshot.key().to_vec());
        Ending::Fault(Fault { offset, reason, doing: report::doing(doing), key, form })
    }

    fn report(&self, output: &mut dyn Write) -> io::Result<()> {
        report::counts(output, &self.counts)?;
        let Some(statistics) = &self.statistics else { return Ok(()) };
        let text = statistics.render(self.options.format);
        let Some(path) = &self.options.output else { return output.write_all(text.as_bytes()) };
        std::fs::write(OsStr::from_bytes(path), text).map_err(|error| {
            let path = String::from_utf8_lossy(path);
            io::Error::new(error.kind(), format!("Cannot open output file: '{path}': {}", os_reason(&error)))
        })
    }
}
