//! Signals that ask the process to end, and those it ignores.
//!
//! The handler only notes the request and lets the event loop find it (tokio chains to the handler that was there). A
//! second SIGINT while the first waits ends the process at once, even in the middle of a snapshot.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static SHUTDOWN_WAITS: AtomicBool = AtomicBool::new(false);
static LOG: AtomicI32 = AtomicI32::new(1);

/// A file in the working directory that must not outlive an exit in the middle of writing it.
static UNFINISHED: OnceLock<CString> = OnceLock::new();

const INSISTED: &[u8] = b"You insist... exiting now.\n";

extern "C" fn note(signal: libc::c_int) {
    if SHUTDOWN_WAITS.swap(true, Ordering::Relaxed) && signal == libc::SIGINT {
        let log = LOG.load(Ordering::Relaxed);
        // SAFETY: writes a static buffer; a descriptor that is not open is refused by the kernel.
        let _ = unsafe { libc::write(log, INSISTED.as_ptr().cast(), INSISTED.len()) };
        if let Some(path) = UNFINISHED.get() {
            // SAFETY: the path ends in NUL and lives as long as the process.
            let _ = unsafe { libc::unlink(path.as_ptr()) };
        }
        // SAFETY: ends the process; takes a number only.
        unsafe { libc::_exit(1) };
    }
}

/// Installs the handlers of SIGINT and SIGTERM, and ignores SIGHUP, SIGPIPE and SIGXFSZ. To be called before the event
/// loop registers its own. `log` is where the handler writes its one line, and `unfinished` the file in the working
/// directory that it removes before it ends the process.
///
/// # Errors
/// The system's.
pub fn install(log: RawFd, unfinished: &str) -> io::Result<()> {
    LOG.store(log, Ordering::Relaxed);
    if let Ok(path) = CString::new(unfinished) {
        let _ = UNFINISHED.set(path);
    }
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let note = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for (signal, action) in [
        (Signal::SIGHUP, &ignore),
        (Signal::SIGPIPE, &ignore),
        // A file that reaches the process's limit is an error of the write, not the end of the server.
        (Signal::SIGXFSZ, &ignore),
        (Signal::SIGINT, &note),
        (Signal::SIGTERM, &note),
    ] {
        // SAFETY: the handler does only what a signal handler may: atomics, write and _exit.
        unsafe { sigaction(signal, action) }?;
    }
    Ok(())
}

/// Says that the shutdown which was asked for was refused or taken back: the next signal counts as the first.
pub fn forget() {
    SHUTDOWN_WAITS.store(false, Ordering::Relaxed);
}

/// Stops this process until a supervisor continues it (Upstart's `expect stop`).
pub fn stop_until_continued() {
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}
