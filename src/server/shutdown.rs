//! The end of the process: by SHUTDOWN or by a signal, with a last snapshot where one is wanted.
//!
//! When everything is in order the process ends in here, so that nothing runs after the snapshot. Otherwise the log says
//! why and the server goes on.

use super::{Hold, Server};
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
    /// Without waiting for replicas.
    pub now: bool,
    /// Not while the cluster needs this node's vote and slots.
    pub safe: bool,
    /// A replica takes the place of this node in its cluster.
    pub failover: bool,
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
        Self {
            save,
            force: option.has(ShutdownOnSignal::FORCE),
            now: option.has(ShutdownOnSignal::NOW),
            safe: option.has(ShutdownOnSignal::SAFE),
            failover: option.has(ShutdownOnSignal::FAILOVER),
        }
    }
}

/// A shutdown that waits for replicas.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    options: ShutdownOptions,
    /// When it no longer waits, Unix ms.
    deadline_ms: i64,
}

impl Pending {
    /// When it no longer waits, Unix ms.
    #[must_use]
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms
    }
}

/// What has become of a shutdown that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It waits for replicas.
    Waits,
    /// It is not possible; the log says why.
    Refused,
}

/// Begins to end the process, with code 0. Replicas that lag have `shutdown-timeout` to catch up; without any, this
/// returns only when ending would lose data. `client` is who asked, `None` for a signal.
pub fn shut_down(
    keyspace: &mut Keyspace,
    server: &mut Server,
    client: Option<&str>,
    mut options: ShutdownOptions,
) -> Asked {
    if server.shutdown_pending.is_some() {
        return Asked::Waits;
    }
    begin(server, client, &mut options);
    notify_supervisor(server, "STOPPING=1\n");
    let timeout_ms = i64::from(server.config.shutdown_timeout) * 1000;
    if !options.now && timeout_ms > 0 && !server.replicas_are_level() {
        server.shutdown_pending = Some(Pending { options, deadline_ms: server.now_ms + timeout_ms });
        server.ask_for_acknowledgements();
        server.pauses.hold(Hold::Shutdown);
        tracing::info!("Waiting for replicas before shutting down.");
        return Asked::Waits;
    }
    finish(keyspace, server, options);
    Asked::Refused
}

/// Does what SHUTDOWN NOW does, except for ending the process: another one is about to take its place, and a supervisor
/// is not told, since to it there is only one. `false`: data would be lost, or a shutdown waits; the server goes on.
pub(super) fn prepare_restart(keyspace: &mut Keyspace, server: &mut Server, client: &str) -> bool {
    if server.shutdown_pending.is_some() {
        return false;
    }
    let mut options = ShutdownOptions { now: true, ..ShutdownOptions::default() };
    begin(server, Some(client), &mut options);
    prepare(keyspace, server, options)
}

fn begin(server: &Server, client: Option<&str>, options: &mut ShutdownOptions) {
    if server.persistence.is_loading() {
        // Half a data set must not replace a whole one.
        options.save = Some(false);
    }
    match client {
        Some(client) => tracing::info!("User requested shutdown... (user request from '{client}')"),
        None => tracing::info!("User requested shutdown..."),
    }
}

/// Ends the process if a shutdown has waited for replicas and need not any more. To be called by the cron.
pub fn go_on(keyspace: &mut Keyspace, server: &mut Server) {
    let Some(pending) = server.shutdown_pending else { return };
    if server.now_ms >= pending.deadline_ms || server.replicas_are_level() {
        finish(keyspace, server, pending.options);
    }
}

/// Takes a shutdown back, one that waits for replicas or one that a signal has asked for; says whether there was one.
pub fn abort(server: &mut Server) -> bool {
    let asked = server.shutdown_asked.take().is_some();
    let pending = server.shutdown_pending.is_some();
    if pending {
        cancel(server);
    }
    if asked || pending {
        signals::forget();
        tracing::info!("Shutdown manually aborted.");
    }
    asked || pending
}

/// Clients go on, those in SHUTDOWN with an error.
fn cancel(server: &mut Server) {
    server.shutdown_pending = None;
    signals::forget();
    server.end_shutdown_waits();
    server.release(Hold::Shutdown);
}

/// Ends the process, unless that would lose data.
fn finish(keyspace: &mut Keyspace, server: &mut Server, options: ShutdownOptions) {
    if prepare(keyspace, server, options) {
        std::process::exit(0);
    }
}

/// Does what has to be done before the process ends; `false`: that would lose data, and the server goes on.
fn prepare(keyspace: &mut Keyspace, server: &mut Server, options: ShutdownOptions) -> bool {
    server.report_lagging_replicas();
    if !may_leave(server, options) || !save(keyspace, server, options) {
        tracing::warn!("Errors trying to shut down the server. Check the logs for more information.");
        cancel(server);
        return false;
    }
    server.leave_cluster(options.failover);
    remove_files(server);
    server.flush_replicas();
    // Before the clients' connections end: they may try to come back at once.
    server.listening.close_tcp();
    tracing::warn!("Valkey is now ready to exit, bye bye...");
    true
}

/// Whether the cluster may lose this node, as far as that was asked for.
fn may_leave(server: &Server, options: ShutdownOptions) -> bool {
    const WARNING: &str = "This is a voting primary. Shutting down may cause the cluster to go down.";
    let votes = server.cluster.as_ref().is_some_and(|cluster| cluster.me().votes());
    match options {
        ShutdownOptions { safe: true, force: true, .. } if votes => tracing::warn!("{WARNING} Exit anyway."),
        ShutdownOptions { safe: true, .. } if votes => {
            tracing::warn!("{WARNING} Can't exit.");
            notify_supervisor(server, &format!("STATUS={WARNING} Can't exit.\n"));
            return false;
        }
        _ => {}
    }
    true
}

/// Ends what writes snapshots and writes the last one, if there is to be one; `false` forbids the exit.
fn save(keyspace: &mut Keyspace, server: &mut Server, options: ShutdownOptions) -> bool {
    if server.persistence.is_saving() {
        tracing::warn!("There is a child saving an .rdb. Killing it!");
        server.persistence.abandon_child();
    }
    if server.persistence.is_exporting_slots() {
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
