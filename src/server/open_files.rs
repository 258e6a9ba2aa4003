//! How many clients the system lets in: every one of them takes a file descriptor.

use crate::config::Config;
use crate::sys::process;

/// Descriptors kept for everything that is no client (Valkey: `CONFIG_MIN_RESERVED_FDS`).
const RESERVED: u64 = 32;

/// Raises the limit of open files to what `maxclients` needs; where that is not granted, lowers `maxclients` to what is.
/// The log says so.
///
/// # Errors
/// What to log before the server gives up: not even one client could be served.
pub fn adjust(config: &mut Config) -> Result<(), String> {
    let wanted = u64::from(config.maxclients) + RESERVED;
    let (before, _) = process::open_file_limits();
    if before >= wanted {
        return Ok(());
    }
    let granted = process::raise_open_file_limit(wanted);
    if granted >= wanted {
        tracing::info!(
            "Increased maximum number of open files to {wanted} (it was originally set to {before})."
        );
        return Ok(());
    }
    if granted <= RESERVED {
        return Err(format!(
            "Your current 'ulimit -n' of {before} is not enough for the server to start. Please increase your open \
             file limit to at least {wanted}. Exiting."
        ));
    }
    let asked = config.maxclients;
    config.maxclients = u32::try_from(granted - RESERVED).unwrap_or(u32::MAX);
    tracing::warn!("You requested maxclients of {asked} requiring at least {wanted} max file descriptors.");
    tracing::warn!(
        "Server can't set maximum open files to {wanted} because of OS error: Operation not permitted."
    );
    tracing::warn!(
        "Current maximum open files is {granted}. maxclients has been reduced to {} to compensate for low ulimit. If \
         you need higher maxclients increase 'ulimit -n'.",
        config.maxclients
    );
    Ok(())
}
