//! Pipes, and what is done with descriptors that other objects own.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// The lowest number a duplicate may get: it must not take the place of a standard stream.
const FIRST_FREE: RawFd = 3;

/// A pipe: the end to read from and the end to write to. Both block.
///
/// # Errors
/// The system's, when it gives no more descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Reads and writes of a descriptor give up instead of waiting.
///
/// # Errors
/// The system's.
pub fn set_nonblocking(descriptor: &OwnedFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Another descriptor of what `descriptor` is, which is known by its number only.
///
/// # Errors
/// The system's; a number that is not open is refused.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, FIRST_FREE) };
    let duplicate = Errno::result(result)?;
    // SAFETY: the kernel has just given us this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// Has a TCP socket gather small writes, or send each at once (`TCP_NODELAY`).
///
/// # Errors
/// The system's, so if it is no TCP socket.
pub fn set_nodelay(socket: BorrowedFd<'_>, at_once: bool) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpNoDelay, &at_once)?)
}

/// Ends a connection for everyone who has a descriptor of it, a forked child included.
///
/// # Errors
/// The system's, so if it has ended already.
pub fn shut_down(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both)?)
}

/// Waits until something can be written, or has failed; `false` when nothing could in `timeout_ms` milliseconds.
///
/// # Errors
/// The system's.
pub fn wait_writable(descriptor: BorrowedFd<'_>, timeout_ms: u32) -> io::Result<bool> {
    let mut waited = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let timeout = i32::try_from(timeout_ms).unwrap_or(-1);
    loop {
        // SAFETY: one structure is passed and said to be, and the descriptor is open while it is borrowed.
        let result = unsafe { libc::poll(&raw mut waited, 1, timeout) };
        match Errno::result(result) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_duplicate_writes_to_the_same_pipe() {
        let (read, write) = pipe().unwrap();
        let twin = duplicate(write.as_raw_fd()).unwrap();
        drop(write);
        File::from(twin).write_all(b"text").unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert!(duplicate(-1).is_err());
    }

    #[test]
    fn a_full_pipe_is_not_writable() {
        let (_read, write) = pipe().unwrap();
        assert!(wait_writable(write.as_fd(), 0).unwrap());
        set_nonblocking(&write).unwrap();
        let mut file = File::from(write);
        while file.write(&[0; 4096]).is_ok() {}
        assert!(!wait_writable(file.as_fd(), 1).unwrap());
    }
}
