//! Writing a base: the data set at one instant, as a snapshot or as commands, into a file beside its later place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::commands::{CommandOptions, write_commands};
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::persistence::save::Syncing;
use crate::persistence::{Observer, SaveError, SaveOptions, write_snapshot};
use crate::sys::files;

/// The file that a process of this id is writing a base to.
#[must_use]
pub fn unfinished_base(pid: u32) -> PathBuf {
    PathBuf::from(format!("temp-rewriteaof-{pid}.aof"))
}

/// The file in which a child of this process id leaves a whole base.
#[must_use]
pub fn finished_base(pid: u32) -> PathBuf {
    PathBuf::from(format!("temp-rewriteaof-bg-{pid}.aof"))
}

/// Writes a base, syncs it and moves it to `target`; `timestamp` begins one of commands with its time.
///
/// # Errors
/// With the line for the log; nothing is left of the file.
pub fn write_base(
    keyspace: &Keyspace,
    options: &SaveOptions,
    snapshot: bool,
    timestamp: bool,
    target: &Path,
    observer: &mut impl Observer,
) -> Result<(), SaveError> {
    let temporary = unfinished_base(std::process::id());
    let file = File::create(&temporary).map_err(|error| SaveError {
        line: format!(
            "Opening the temp file for AOF rewrite in rewriteAppendOnlyFile(): {}",
            os_reason(&error)
        ),
    })?;
    let sink = Syncing::new(file, options.incremental_sync);
    let written = if snapshot {
        write_snapshot(keyspace, options, sink, observer)
    } else {
        let timestamp = timestamp.then_some(options.now_ms / 1000);
        let SaveOptions { key_delay_us, slot_imports, .. } = options;
        let options = CommandOptions { timestamp, key_delay_us: *key_delay_us, slots: None, slot_imports };
        write_commands(keyspace, &options, sink, observer)
    };
    let outcome = written
        .and_then(|sink| sink.finish())
        .map_err(|error| format!("Write error writing append only file on disk: {}", os_reason(&error)))
        .and_then(|()| {
            fs::rename(&temporary, target).map_err(|error| {
                let reason = os_reason(&error);
                format!("Error moving temp append only file on the final destination: {reason}")
            })
        });
    outcome.map_err(|line| {
        let _ = files::remove_if_present(&temporary);
        SaveError { line }
    })
}
