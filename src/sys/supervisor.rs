//! The supervisors that may have started the process, and how they are told of its state.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Whether the environment says that Upstart started the process.
#[must_use]
pub fn is_upstart() -> bool {
    std::env::var_os("UPSTART_JOB").is_some()
}

/// Whether the environment names a socket of systemd.
#[must_use]
pub fn is_systemd() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells systemd about the state of the process (`READY=1`, `STATUS=...`, `STOPPING=1`).
///
/// # Errors
/// `NotFound` when the environment names no socket, else the system's.
pub fn notify_systemd(message: &str) -> io::Result<()> {
    let name = std::env::var_os("NOTIFY_SOCKET").ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}
