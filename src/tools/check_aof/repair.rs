//! Cutting a file, once a copy of it is on the disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::files;

/// How many copies of a file may stand beside it.
const COPIES_MAX: usize = 1000;

/// Cuts a file to its first `offset` bytes; gives the path of the copy that was made before.
///
/// # Errors
/// The system's. The file is as it was then, unless only the last sync failed.
pub(super) fn cut(path: &Path, offset: u64) -> io::Result<PathBuf> {
    let copy = keep_copy(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(offset)?;
    file.sync_all()?;
    Ok(copy)
}

/// Copies a file to a name beside it that is free, and makes the copy last.
fn keep_copy(path: &Path) -> io::Result<PathBuf> {
    let copy = reserve(path)?;
    let kept = fs::copy(path, &copy)
        .and_then(|_| File::open(&copy)?.sync_all())
        .and_then(|()| files::sync_directory(files::directory_of(path), &File::sync_all));
    if let Err(error) = kept {
        // Half a copy is of no use.
        let _ = fs::remove_file(&copy);
        return Err(error);
    }
    Ok(copy)
}

/// Makes an empty file `<path>.before-fix`, or with a number behind if there is one already.
fn reserve(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=COPIES_MAX {
        let mut name = OsString::from(path);
        name.push(".before-fix");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(_) => return Ok(name.into()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
