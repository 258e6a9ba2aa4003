//! DEBUG RESTART and DEBUG CRASH-AND-RECOVER: the process becomes a new one of the same id, called as it was called before.
//!
//! An orderly restart first writes the configuration file, so that what was set at run time lasts, and ends as SHUTDOWN
//! NOW would. If either fails the server goes on, and the log says why.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Server, shutdown};
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::sys::crash;

/// How the process that is replaced ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order: configuration written, last snapshot saved.
    Orderly,
    /// As a crash would: nothing is written.
    Crash,
}

/// Starts the process anew after a delay, in which nobody can connect. Returns only when that is not possible. `client`
/// is who asked.
pub fn restart(keyspace: &mut Keyspace, server: &mut Server, client: &str, ending: Ending, delay: Duration) {
    if !server.identity.call.may_be_repeated() {
        let path = server.identity.call.executable().display();
        tracing::warn!("Can't restart: this process has no permissions to execute {path}");
        return;
    }
    if ending == Ending::Orderly {
        if let Err(error) = server.write_configuration() {
            let reason = os_reason(&error);
            tracing::warn!("Can't restart: configuration rewrite process failed: {reason}");
            return;
        }
        if !shutdown::prepare_restart(keyspace, server, client) {
            tracing::warn!("Can't restart: error preparing for shutdown");
            return;
        }
    }
    // It would be the new process's child, which knows nothing of it.
    server.persistence.abandon_child();
    // Timers outlive the program, and the new one is not prepared for this one at first.
    crash::set_watchdog(0);
    let quiet = server.background.threads.quiesce();
    let error = server.identity.call.repeat(&quiet, delay);
    tracing::warn!("Can't restart: {}", os_reason(&error));
    std::process::exit(1);
}

impl Server {
    /// Writes the configuration file, if there is one, after whatever was to be written before.
    fn write_configuration(&self) -> io::Result<()> {
        if self.identity.config_file.is_empty() {
            return Ok(());
        }
        let rewriting = self.config.rewriting(Some(self.acl.lines()));
        self.aof.queue().wait_until_idle();
        rewriting.write(Path::new(&self.identity.config_file), &File::sync_all)
    }
}
