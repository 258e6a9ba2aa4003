//! The end of the process: by SHUTDOWN or by a signal, with a last snapshot where one is wanted.
//!
//! When everything is in order the process ends in here, so that nothing runs after the snapshot. Otherwise the log says
//! why and the server goes on.

use super::Server;
use crate::config::{ShutdownOnSignal, Supervised};
use crate::keyspace::Keyspace;
use crate::sys::{signals, supervisor};

/// How to end (SHUTDOWN's options, or those of a signal).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// SAVE or NOSAVE; `None` saves if there are save points.
    pub save: Option<bool>,
    /// Even if saving fails.
    pub force: bool,
}

impl From<ShutdownOnSignal> for ShutdownOptions {
    fn from(option: ShutdownOnSignal) -> Self {
        let save = if option.has(ShutdownOnSignal::SAVE) {
            Some(true)
        } else if option.has(ShutdownOnSignal::NOSAVE) {
            Some(false)
        } else {
            None
        };
        Self { save, force: option.has(ShutdownOnSignal::FORCE) }
    }
}

/// Ends the process with code 0. Returns only when that would lose data: the last snapshot could not be written.
/// `client` is who asked, `None` for a signal.
pub fn shut_down(
    keyspace: &mut Keyspace,
    server: &mut Server,
    client: Option<&str>,
    mut options: ShutdownOptions,
) {
    if server.persistence.is_loading() {
        // Half a data set must not replace a whole one.
        options.save = Some(false);
    }
    match client {
        Some(client) => tracing::info!("User requested shutdown... (user request from '{client}')"),
        None => tracing::info!("User requested shutdown..."),
    }
    notify_supervisor(server, "STOPPING=1\n");
    if !save(keyspace, server, options) {
        tracing::warn!("Errors trying to shut down the server. Check the logs for more information.");
        signals::forget();
        return;
    }
    remove_files(server);
    tracing::warn!("Valkey is now ready to exit, bye bye...");
    std::process::exit(0);
}

/// Ends what writes snapshots and writes the last one, if there is to be one; `false` forbids the exit.
fn save(keyspace: &mut Keyspace, server: &mut Server, options: ShutdownOptions) -> bool {
    if server.persistence.is_saving() {
        tracing::warn!("There is a child saving an .rdb. Killing it!");
        server.persistence.abandon_child();
    }
    if !server.close_aof(options.force) {
        return false;
    }
    if !options.save.unwrap_or(!server.config.save.0.is_empty()) {
        return true;
    }
    tracing::info!("Saving the final RDB snapshot before exiting.");
    notify_supervisor(server, "STATUS=Saving the final RDB snapshot\n");
    if server.save(keyspace) {
        return true;
    }
    if options.force {
        tracing::warn!("Error trying to save the DB. Exit anyway.");
        return true;
    }
    tracing::warn!("Error trying to save the DB, can't exit.");
    notify_supervisor(server, "STATUS=Error trying to save the DB, can't exit.\n");
    false
}

fn remove_files(server: &Server) {
    let config = &server.config;
    if let Some(pid_file) = &server.identity.pid_file {
        tracing::info!("Removing the pid file.");
        let _ = std::fs::remove_file(pid_file);
    }
    if !config.unixsocket.is_empty() {
        tracing::info!("Removing the unix socket file.");
        if let Err(error) = std::fs::remove_file(config.unixsocket.as_path()) {
            let reason = crate::config::os_reason(&error);
            tracing::warn!("Error removing the unix socket file: {reason}");
        }
    }
}

/// Tells systemd, if it started the process.
pub fn notify_supervisor(server: &Server, message: &str) {
    if server.identity.supervised != Supervised::Systemd {
        return;
    }
    match supervisor::notify_systemd(message) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::warn!("systemd supervision error: NOTIFY_SOCKET not found!");
        }
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(0);
            tracing::warn!("systemd supervision error: sd_notify: -{number}");
        }
        Ok(()) => {}
    }
}
