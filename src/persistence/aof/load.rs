//! Loading an append-only file: its parts in order, the base as a snapshot or as requests, then the increments.
//!
//! Nothing is run here: whoever loads is given the requests. What is wrong is said with the file, and the offset where
//! that is known. Only the tail of the last file is ever cut off, at the end of its last whole command or before the
//! transaction that is not complete there, and only if `aof-load-truncated` allows it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};

use super::directory::{Directory, show};
use super::manifest::{FileKind, Manifest};
use super::requests::{Record, RecordError, Requests};
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::persistence::{LoadOptions, Loaded, Loader, SlotImport};
use crate::resp::ArgRange;
use crate::sys::clock;

/// What comes next in loading.
#[derive(Debug)]
pub enum Step<'a> {
    /// A file begins: what runs its requests starts from database 0, outside of any transaction.
    FileBegins,
    /// A request to run.
    Request {
        /// The record.
        bytes: &'a [u8],
        /// Where its arguments stand.
        args: &'a [ArgRange],
    },
    /// A piece of a snapshot was loaded; there is more.
    Piece,
    /// Everything is loaded.
    End,
}

/// Why loading cannot go on, as lines for the log.
#[derive(Debug)]
pub struct AofLoadError(pub Vec<String>);

/// A file of the list that is being read.
#[derive(Debug)]
struct Current {
    name: Vec<u8>,
    part: Part,
    /// Where the transaction began that has not ended yet.
    transaction: Option<u64>,
    /// Where the request read last began.
    before: u64,
    started_us: u64,
    kind: FileKind,
}

#[derive(Debug)]
enum Part {
    Snapshot(Box<Loader>),
    Requests(Requests<File>),
    /// Between the two, or after an error.
    None,
}

/// The loading of an append-only file.
#[derive(Debug)]
pub struct AofLoader {
    directory: Directory,
    options: LoadOptions,
    cuts_tail: bool,
    files: VecDeque<(Vec<u8>, FileKind)>,
    current: Option<Current>,
    total_bytes: u64,
    base_bytes: u64,
    /// Bytes of the files that are done.
    done_bytes: u64,
    snapshot: Loaded,
    slot_imports: Vec<SlotImport>,
}

impl AofLoader {
    /// Prepares the loading of what `manifest` lists.
    ///
    /// # Errors
    /// A file that is listed cannot be found.
    pub fn new(
        directory: Directory,
        manifest: &Manifest,
        options: LoadOptions,
        cuts_tail: bool,
    ) -> Result<Self, AofLoadError> {
        let mut total_bytes = 0;
        for file in manifest.loaded() {
            // What is wrong is in the log already.
            total_bytes += directory.size(&file.name).map_err(|_| AofLoadError(Vec::new()))?;
        }
        let base_bytes = manifest.base.as_ref().and_then(|base| directory.size(&base.name).ok()).unwrap_or(0);
        let files = manifest.loaded().map(|file| (file.name.clone(), file.kind)).collect();
        // What has expired is deleted by requests that follow.
        let options = LoadOptions { drop_expired: false, ..options };
        Ok(Self {
            directory,
            options,
            cuts_tail,
            files,
            current: None,
            total_bytes,
            base_bytes,
            done_bytes: 0,
            snapshot: Loaded::default(),
            slot_imports: Vec::new(),
        })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes of the base.
    #[must_use]
    pub fn base_bytes(&self) -> u64 {
        self.base_bytes
    }

    /// Bytes that were read.
    #[must_use]
    pub fn loaded_bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |current| match &current.part {
            Part::Snapshot(loader) => loader.offset(),
            Part::Requests(requests) => requests.offset(),
            Part::None => 0,
        });
        self.done_bytes + current
    }

    /// What the base has counted, if it is a snapshot.
    #[must_use]
    pub fn snapshot_counts(&self) -> Loaded {
        self.snapshot
    }

    /// What the base says of slots whose keys it has before the slots are here, once it is loaded.
    pub fn take_slot_imports(&mut self) -> Vec<SlotImport> {
        std::mem::take(&mut self.slot_imports)
    }

    /// Goes on; loads about `bytes` of a snapshot at once.
    ///
    /// # Errors
    /// What is wrong with the file; loading is over.
    pub fn advance(
        &mut self,
        keyspace: &mut Keyspace,
        now_ms: i64,
        bytes: u64,
    ) -> Result<Step<'_>, AofLoadError> {
        loop {
            let Some(current) = &mut self.current else {
                let Some((name, kind)) = self.files.pop_front() else { return Ok(Step::End) };
                if self.open(name, kind)? {
                    return Ok(Step::FileBegins);
                }
                continue;
            };
            match &mut current.part {
                Part::Snapshot(loader) => {
                    let done = loader
                        .step(keyspace, now_ms, bytes)
                        .map_err(|error| error.lines(&self.directory.file(&current.name)));
                    self.snapshot = loader.counts();
                    match done {
                        Ok(false) => return Ok(Step::Piece),
                        Ok(true) => {
                            self.leave_snapshot();
                            return Ok(Step::Piece);
                        }
                        Err(lines) => return Err(self.snapshot_refused(lines)),
                    }
                }
                Part::Requests(requests) => {
                    current.before = requests.offset();
                    match requests.advance() {
                        Ok(Record::Request) => break,
                        Ok(Record::Annotation) => {}
                        Ok(Record::End) if current.transaction.is_none() => self.end_file(),
                        Ok(Record::End) | Err(RecordError::Truncated) => self.cut_tail()?,
                        Err(RecordError::Malformed) => return Err(self.malformed()),
                        Err(RecordError::Io(error)) => return Err(self.unreadable(&error)),
                    }
                }
                Part::None => self.end_file(),
            }
        }
        Ok(self.step_of_request())
    }

    /// The request read last, and whether it begins or ends a transaction.
    fn step_of_request(&mut self) -> Step<'_> {
        let Some(Current { part: Part::Requests(requests), transaction, before, .. }) = &mut self.current
        else {
            return Step::End;
        };
        let (bytes, args) = requests.request();
        let name = args.first().map(|name| name.of(bytes)).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"multi") {
            transaction.get_or_insert(*before);
        } else if name.eq_ignore_ascii_case(b"exec") || name.eq_ignore_ascii_case(b"discard") {
            *transaction = None;
        }
        Step::Request { bytes, args }
    }

    /// Opens the next file; `false` when there is nothing in it.
    fn open(&mut self, name: Vec<u8>, kind: FileKind) -> Result<bool, AofLoadError> {
        let shown = show(&name);
        let failed = |error: io::Error| {
            let reason = os_reason(&error);
            AofLoadError(vec![match error.kind() {
                io::ErrorKind::NotFound => format!("The append log file {shown} doesn't exist: {reason}"),
                _ => format!("Fatal error: can't open the append log file {shown} for reading: {reason}"),
            }])
        };
        let mut file = File::open(self.directory.file(&name)).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if size == 0 {
            return Ok(false);
        }
        let (mut magic, mut length) = ([0; 6], 0);
        while length < magic.len() {
            match file.read(magic.get_mut(length..).unwrap_or_default()).map_err(failed)? {
                0 => break,
                count => length += count,
            }
        }
        file.rewind().map_err(failed)?;
        let is_snapshot = matches!(&magic, b"REDIS0" | b"VALKEY");
        let mut current = Current {
            name,
            part: Part::None,
            transaction: None,
            before: 0,
            started_us: clock::monotonic_us(),
            kind,
        };
        let mut outcome = Ok(());
        current.part = if is_snapshot {
            tracing::info!(
                "{}",
                if self.is_old_style(&current.name) {
                    "Reading RDB preamble from AOF file..."
                } else {
                    "Reading RDB base file on AOF loading..."
                }
            );
            match Loader::of_input(file, size, self.options) {
                Ok(loader) => Part::Snapshot(Box::new(loader)),
                Err(error) => {
                    outcome = Err(error.lines(&self.directory.file(&current.name)));
                    Part::None
                }
            }
        } else {
            Part::Requests(Requests::new(file, Vec::new(), 0))
        };
        self.current = Some(current);
        outcome.map(|()| true).map_err(|lines| self.snapshot_refused(lines))
    }

    fn is_old_style(&self, name: &[u8]) -> bool {
        name == self.directory.append_filename()
    }

    /// The snapshot is loaded; requests may follow it.
    fn leave_snapshot(&mut self) {
        let Some(current) = &mut self.current else { return };
        if let Part::Snapshot(loader) = std::mem::replace(&mut current.part, Part::None) {
            self.slot_imports = loader.origin().slot_imports.clone();
            let reader = loader.into_reader();
            let offset = reader.offset();
            let (file, ahead) = reader.into_parts();
            current.part = Part::Requests(Requests::new(file, ahead, offset));
            if current.name == self.directory.append_filename() {
                tracing::info!("Reading the remaining AOF tail...");
            }
        }
    }

    /// The file is loaded whole.
    fn end_file(&mut self) {
        self.done_bytes = self.loaded_bytes();
        let Some(current) = self.current.take() else { return };
        let seconds = (clock::monotonic_us() - current.started_us) as f64 / 1e6;
        let kind = if current.kind == FileKind::Base { "base" } else { "incr" };
        tracing::info!("DB loaded from {kind} file {}: {seconds:.3} seconds", show(&current.name));
    }

    /// The file ends in the middle of something: its tail is cut off, if that is allowed.
    fn cut_tail(&mut self) -> Result<(), AofLoadError> {
        let whole = self.loaded_bytes() - self.done_bytes;
        let Some(current) = &mut self.current else { return Ok(()) };
        let name = show(&current.name);
        let mut lines = Vec::new();
        if current.transaction.is_some() {
            lines.push(format!("Revert incomplete MULTI/EXEC transaction in AOF file {name}"));
        }
        let valid = current.transaction.take().unwrap_or(whole);
        if self.cuts_tail {
            lines.push(format!("!!! Warning: short read while loading the AOF file {name}!!!"));
        }
        if self.cuts_tail && !self.files.is_empty() {
            lines.push("Fatal error: the truncated file is not the last file".to_owned());
        } else if self.cuts_tail {
            lines.push(format!("!!! Truncating the AOF {name} at offset {valid} !!!"));
            let path = self.directory.file(&current.name);
            let cut = OpenOptions::new().write(true).open(path).and_then(|file| {
                file.set_len(valid)?;
                file.sync_data()
            });
            match cut {
                Ok(()) => {
                    lines.push(format!("AOF {name} loaded anyway because aof-load-truncated is enabled"));
                    lines.iter().for_each(|line| tracing::warn!("{line}"));
                    let before = self.done_bytes;
                    self.end_file();
                    // What counts is what the file, which is the last one, holds now.
                    self.done_bytes = before + valid;
                    self.total_bytes = self.done_bytes;
                    return Ok(());
                }
                Err(error) => {
                    lines.push(format!("Error truncating the AOF file {name}: {}", os_reason(&error)));
                }
            }
        }
        lines.push(format!(
            "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, \
             then use ./valkey-check-aof --fix <filename.manifest>. 2) Alternatively you can set the \
             'aof-load-truncated' configuration option to yes and restart the server."
        ));
        Err(AofLoadError(lines))
    }

    fn current_name(&self) -> String {
        self.current.as_ref().map(|current| show(&current.name)).unwrap_or_default()
    }

    fn malformed(&self) -> AofLoadError {
        let (name, offset) = (self.current_name(), self.loaded_bytes() - self.done_bytes);
        AofLoadError(vec![
            format!(
                "Bad file format reading the append only file {name}: make a backup of your AOF file, then use \
                 ./valkey-check-aof --fix <filename.manifest>"
            ),
            format!("What stands in {name} at offset {offset} is no command."),
        ])
    }

    fn unreadable(&self, error: &io::Error) -> AofLoadError {
        let name = self.current_name();
        AofLoadError(vec![format!(
            "Unrecoverable error reading the append only file {name}: {}",
            os_reason(error)
        )])
    }

    fn snapshot_refused(&self, mut lines: Vec<String>) -> AofLoadError {
        let Some(current) = &self.current else { return AofLoadError(lines) };
        let what =
            if self.is_old_style(&current.name) { "RDB preamble of the AOF file" } else { "RDB base file" };
        lines.push(format!("Error reading the {what} {}, AOF loading aborted", show(&current.name)));
        AofLoadError(lines)
    }

    /// The request given last cannot be run: no such command, or not with so many arguments.
    #[must_use]
    pub fn refused(&self, reason: &str) -> AofLoadError {
        let (name, offset) = (self.current_name(), self.current.as_ref().map_or(0, |current| current.before));
        AofLoadError(vec![
            format!("Error reading the append only file {name}, error: {reason}"),
            format!("The command stands in {name} at offset {offset}."),
        ])
    }
}
