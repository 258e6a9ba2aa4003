//! The first lines of the log, in Valkey's words where programs look for them, and the report of a crash.

use std::io::IsTerminal;

use super::Call;
use crate::config::{Config, VALKEY_VERSION};
use crate::log;
use crate::sys::{crash, fork};

/// That the server starts, which version it is, and where its configuration came from.
pub(super) fn first_lines(call: &Call) {
    tracing::info!("oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo");
    tracing::info!(
        "Valkey version={VALKEY_VERSION}, bits=64, commit=00000000, modified=0, pid={}, just started",
        std::process::id()
    );
    if call.bare {
        tracing::warn!(
            "Warning: No config file specified, using the default config. In order to specify a config file use {} \
             /path/to/valkey.conf",
            call.program
        );
    } else {
        tracing::info!("Configuration loaded");
    }
}

/// The logo on a terminal or where it is asked for, else one line with the same facts.
pub(super) fn logo(config: &Config) {
    let port = config.port;
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    let on_terminal = !config.syslog_enabled && config.logfile.is_empty() && std::io::stdout().is_terminal();
    if !on_terminal && !config.always_show_logo {
        tracing::info!("Running mode={mode}, port={port}.");
        return;
    }
    let own = env!("CARGO_PKG_VERSION");
    let pid = std::process::id();
    log::write_raw(&format!(
        "
              _______
             |  kg   |
             |_______|            Weighbridge {own}, compatible with Valkey {VALKEY_VERSION}
                 |                Running in {mode} mode, 64 bit
      ___________|___________     Port: {port}
     /_______________________\\    PID: {pid}
    [_________________________]
       /_\\               /_\\      It can say what every byte is for: BGSAVE STAT_MEMORY

"
    ));
}

/// Has a panic of the server itself end the process with a report in the log: it is a bug, and state that a bug has
/// touched must not be served or saved. A forked child has its own way to report.
pub(super) fn report_panics(with_log: bool) {
    let outside = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if fork::in_child() {
            outside(info);
            return;
        }
        if with_log {
            log::write_raw("\n\n=== WEIGHBRIDGE BUG REPORT START: Cut & paste starting from here ===\n");
            let place = info.location().map_or_else(String::new, |place| place.to_string());
            let message = info.payload_as_str().unwrap_or("no message");
            tracing::error!("Panic at {place}: {message}");
            let trace = std::backtrace::Backtrace::force_capture();
            log::write_raw(&format!("\n------ STACK TRACE ------\n{trace}\n"));
            log::write_raw("=== WEIGHBRIDGE BUG REPORT END ===\n");
        }
        crash::leave_abort_alone();
        std::process::abort();
    }));
}
