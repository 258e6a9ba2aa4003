//! The directory of an append-only file: names, the manifest on disk, and the old single file that is moved into it.
//!
//! The manifest is replaced in one step, and made to last before anything relies on it. Functions that change something
//! give a log line when they fail (Valkey's), and have then changed nothing that a start could trip over.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, ManifestError};
use crate::config::{Config, os_reason};
use crate::sys::files::{self, SyncFile};

/// Where an append-only file lives: two names of the configuration, fixed at the start.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    append_filename: Vec<u8>,
}

/// Why there is no manifest though there should be one.
#[derive(Debug)]
pub enum ManifestFailure {
    /// It cannot be read.
    Unreadable(String),
    /// It is wrong.
    Wrong(ManifestError),
}

impl ManifestFailure {
    /// The lines that say so in the log.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable(line) => vec![line.clone()],
            Self::Wrong(error) => error.lines(),
        }
    }
}

impl Directory {
    /// As the configuration names it, relative to the working directory.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            path: config.appenddirname.as_path().to_owned(),
            append_filename: config.appendfilename.as_bytes().to_vec(),
        }
    }

    /// `appendfilename`: what the names of the files begin with.
    #[must_use]
    pub fn append_filename(&self) -> &[u8] {
        &self.append_filename
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// The name of the increment that is written until a rewrite has succeeded that turns the AOF on.
    #[must_use]
    pub fn temporary_increment(&self) -> Vec<u8> {
        [b"temp-", self.append_filename.as_slice(), b".incr"].concat()
    }

    fn manifest_name(&self) -> Vec<u8> {
        [self.append_filename.as_slice(), b".manifest"].concat()
    }

    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// The line for the log.
    pub fn create(&self) -> Result<(), String> {
        let made = match fs::create_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.path.is_dir() => Ok(()),
            made => made,
        };
        made.map_err(|error| {
            format!("Can't open or create append-only dir {}: {}", self.path.display(), os_reason(&error))
        })
    }

    /// Reads the manifest; one that is not there lists nothing.
    ///
    /// # Errors
    /// It is there and of no use.
    pub fn read_manifest(&self) -> Result<Manifest, ManifestFailure> {
        let path = self.file(&self.manifest_name());
        if !self.path.is_dir() {
            tracing::trace!("The AOF directory {} doesn't exist", self.path.display());
            return Ok(Manifest::default());
        }
        match fs::read(&path) {
            Ok(bytes) => Manifest::parse(&bytes).map_err(ManifestFailure::Wrong),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = self.manifest_name();
                tracing::trace!("The AOF manifest file {} doesn't exist", show(&name));
                Ok(Manifest::default())
            }
            Err(error) => Err(ManifestFailure::Unreadable(format!(
                "Fatal error: can't open the AOF manifest file {} for reading: {}",
                path.display(),
                os_reason(&error)
            ))),
        }
    }

    /// Replaces the manifest and makes it last, with every name that was made in the directory before.
    ///
    /// # Errors
    /// The line for the log; the manifest on disk is the one before, unless only the last sync failed.
    pub fn write_manifest(&self, manifest: &Manifest, sync: SyncFile<'_>) -> Result<(), String> {
        let name = self.manifest_name();
        let temporary_name = [b"temp-", name.as_slice()].concat();
        let (temporary, target) = (self.file(&temporary_name), self.file(&name));
        let shown = show(&temporary_name);
        let mut file = File::create(&temporary)
            .map_err(|error| format!("Can't open the AOF manifest file {shown}: {}", os_reason(&error)))?;
        file.write_all(&manifest.to_bytes()).map_err(|error| {
            format!("Error trying to write the temporary AOF manifest file {shown}: {}", os_reason(&error))
        })?;
        sync(&file)
            .map_err(|error| format!("Fail to fsync the temp AOF file {shown}: {}.", os_reason(&error)))?;
        fs::rename(&temporary, &target).map_err(|error| {
            format!(
                "Error trying to rename the temporary AOF manifest file {shown} into {}: {}",
                show(&name),
                os_reason(&error)
            )
        })?;
        files::sync_directory(&self.path, sync).map_err(|error| {
            format!("Fail to fsync AOF directory {}: {}.", target.display(), os_reason(&error))
        })
    }

    /// Opens a file to append to; `anew` empties it first.
    ///
    /// # Errors
    /// The line for the log.
    pub fn open_increment(&self, name: &[u8], anew: bool) -> Result<File, String> {
        let path = self.file(name);
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let opened = options.open(path).and_then(|file| {
            if anew {
                file.set_len(0)?;
            }
            Ok(file)
        });
        opened
            .map_err(|error| format!("Can't open the append-only file {}: {}", show(name), os_reason(&error)))
    }

    /// Bytes of a file.
    ///
    /// # Errors
    /// The system's, which is logged.
    pub fn size(&self, name: &[u8]) -> io::Result<u64> {
        let size = fs::metadata(self.file(name)).map(|metadata| metadata.len());
        if let Err(error) = &size {
            tracing::warn!("Unable to obtain the AOF file {} length. stat: {}", show(name), os_reason(error));
        }
        size
    }

    /// Bytes of all the files that are loaded; one that is not there counts nothing.
    #[must_use]
    pub fn total_size(&self, manifest: &Manifest) -> u64 {
        manifest.loaded().map(|file| self.size(&file.name).unwrap_or(0)).sum()
    }

    /// Takes in a single file as old servers wrote it: it moves into the directory and becomes the base. A move that was
    /// interrupted is taken up again.
    ///
    /// # Errors
    /// The line for the log. Nothing is lost: the next start tries again.
    pub fn take_in_old_file(&self, manifest: &mut Manifest) -> Result<(), String> {
        let old = Path::new(OsStr::from_bytes(&self.append_filename));
        if !old.exists() || !self.awaits_old_file(manifest) {
            return Ok(());
        }
        self.create()?;
        manifest.set_base(self.append_filename.clone(), 1);
        self.write_manifest(manifest, &File::sync_all)?;
        let (name, directory) = (show(&self.append_filename), self.path.display());
        fs::rename(old, self.file(&self.append_filename)).map_err(|error| {
            format!(
                "Error trying to move the old AOF file {name} into dir {directory}: {}",
                os_reason(&error)
            )
        })?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({name}) into the AOF directory ({directory})."
        );
        Ok(())
    }

    /// Whether a single file beside the directory belongs into it.
    fn awaits_old_file(&self, manifest: &Manifest) -> bool {
        let moved_half = manifest.increments.is_empty()
            && manifest.base.as_ref().is_some_and(|base| base.name == self.append_filename)
            && !self.file(&self.append_filename).exists();
        !self.path.is_dir() || manifest.is_empty() || moved_half
    }
}

/// A name for the log.
pub(super) fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
