//! The surroundings of the process: its supervisor, its names, its pid file.

use std::io::Write;
use std::path::PathBuf;

use super::Call;
use crate::config::{Config, Supervised, os_reason};
use crate::server::Identity;
use crate::sys::restart::OwnCall;
use crate::sys::{clock, signals, supervisor};

/// The file a daemon's process id goes to when none is configured.
const DEFAULT_PID_FILE: &str = "/var/run/valkey.pid";

/// Greets the supervisor that the options or the environment name; [`Supervised::No`] when there is none.
pub(super) fn find_supervisor(config: &Config) -> Supervised {
    let wanted = match config.supervised {
        Supervised::Auto if supervisor::is_upstart() => Supervised::Upstart,
        Supervised::Auto if supervisor::is_systemd() => Supervised::Systemd,
        Supervised::Auto => Supervised::No,
        named => named,
    };
    match wanted {
        Supervised::Upstart if !supervisor::is_upstart() => {
            tracing::warn!("upstart supervision requested, but UPSTART_JOB not found!");
            Supervised::No
        }
        Supervised::Upstart => {
            tracing::info!("supervised by upstart, will stop to signal readiness.");
            signals::stop_until_continued();
            Supervised::Upstart
        }
        Supervised::Systemd => match supervisor::notify_systemd("STATUS=Valkey is loading...\n") {
            Ok(()) => {
                tracing::info!(
                    "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and \
                     TimeoutStopSec in your service unit."
                );
                Supervised::Systemd
            }
            Err(_) => {
                tracing::warn!("systemd supervision error: NOTIFY_SOCKET not found!");
                Supervised::No
            }
        },
        Supervised::Auto | Supervised::No => Supervised::No,
    }
}

/// What the process is from now on; writes its pid file.
pub(super) fn identity(
    call: &Call,
    own_call: OwnCall,
    config: &Config,
    supervised: Supervised,
    background: bool,
) -> Identity {
    let pid_file = if !config.pidfile.is_empty() {
        Some(config.pidfile.as_path().to_path_buf())
    } else if background {
        Some(PathBuf::from(DEFAULT_PID_FILE))
    } else {
        None
    };
    if let Some(path) = &pid_file {
        write_pid_file(path);
    }
    let config_file = call.line.config_file.as_deref().unwrap_or(std::path::Path::new(""));
    Identity {
        run_id: run_id(),
        pid: std::process::id(),
        started_ms: clock::unix_ms(),
        program: call.program.clone(),
        executable: own_call.executable().to_string_lossy().into_owned(),
        config_file: config_file.to_string_lossy().into_owned(),
        pid_file,
        call: own_call,
        supervised,
        startup_bytes: 0,
        startup_rows: 0,
    }
}

fn write_pid_file(path: &std::path::Path) {
    let written = std::fs::File::create(path).and_then(|mut file| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        tracing::warn!("Failed to write PID file: {}", os_reason(&error));
    }
}

/// 40 random hexadecimal digits.
fn run_id() -> String {
    let mut random = [0_u8; 20];
    if getrandom::fill(&mut random).is_err() {
        fastrand::fill(&mut random);
    }
    random
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
