//! Making files last, and replacing one by another in one step.
//!
//! A saved file is safe once its bytes, its name and the directory that holds the name are on the disk. Replacing
//! a large file frees the old one, which takes far longer than the rename: [`replace`] hands the old file back, so that
//! a helper thread can close it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Makes the names in a directory last (after a create, rename or unlink in it).
///
/// # Errors
/// What opening or syncing reports, except that a filesystem which cannot sync directories counts as success.
pub fn sync_directory(directory: &Path, sync: SyncFile<'_>) -> io::Result<()> {
    match sync(&File::open(directory)?) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => Ok(()),
        result => result,
    }
}

/// What makes a file, or a directory, last: on a helper thread so that a fork need not wait for it.
pub type SyncFile<'a> = &'a dyn Fn(&File) -> io::Result<()>;

/// The directory a path's name stands in.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Renames `temporary` over `target` and makes the new name last. Returns the replaced file, still open: its space is
/// freed when it is dropped, which for a large file should happen on a helper thread.
///
/// # Errors
/// What renaming or syncing the directory reports. After a failed rename `target` is what it was.
pub fn replace(temporary: &Path, target: &Path) -> io::Result<Option<File>> {
    let replaced = File::open(target).ok();
    std::fs::rename(temporary, target)?;
    sync_directory(directory_of(target), &File::sync_all)?;
    Ok(replaced)
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// What unlinking reports.
pub fn remove_if_present(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Tells the kernel that the first `length` bytes of the file (0: all) need not stay in the page cache. Only clean
/// pages go, so sync first. A refusal is of no consequence and not reported.
pub fn drop_from_page_cache(file: &File, offset: u64, length: u64) {
    let (offset, length) = (i64::try_from(offset).unwrap_or(0), i64::try_from(length).unwrap_or(0));
    let _ = posix_fadvise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// Starts writing a range of the file to the disk without waiting for it, so that the final sync has little left to
/// do. Gives no guarantee by itself; a refusal is not reported.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    let (offset, length) = (i64::try_from(offset).unwrap_or(0), i64::try_from(length).unwrap_or(0));
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is passed.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn replacing_keeps_the_old_file_readable_until_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let (temporary, target) = (directory.path().join("temp-1.rdb"), directory.path().join("dump.rdb"));
        std::fs::write(&target, "old").unwrap();
        let mut file = File::create(&temporary).unwrap();
        file.write_all(b"new").unwrap();
        start_writeback(&file, 0, 3);
        file.sync_all().unwrap();
        drop_from_page_cache(&file, 0, 0);
        let mut old = String::new();
        replace(&temporary, &target).unwrap().unwrap().read_to_string(&mut old).unwrap();
        assert_eq!(old, "old");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert!(!temporary.exists());
    }

    #[test]
    fn the_first_file_replaces_nothing_and_a_missing_source_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (temporary, target) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&temporary, "x").unwrap();
        assert!(replace(&temporary, &target).unwrap().is_none());
        assert!(replace(&temporary, &target).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "x");
        remove_if_present(&target).unwrap();
        remove_if_present(&target).unwrap();
    }

    #[test]
    fn a_bare_name_stands_in_the_current_directory() {
        assert_eq!(directory_of(Path::new("dump.rdb")), Path::new("."));
        assert_eq!(directory_of(Path::new("/var/lib/dump.rdb")), Path::new("/var/lib"));
    }
}
