//! Sockets to listen on: bound and listening, not blocking, closed on exec.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::process;

/// Why there is no socket. `Display` names the step that failed, as Valkey does: `bind: Address already in use`.
#[derive(Debug)]
pub struct ListenError {
    step: &'static str,
    /// What the system says.
    pub error: io::Error,
}

impl ListenError {
    /// The machine has no such address; an address that is optional is then left out.
    #[must_use]
    pub fn is_missing_address(&self) -> bool {
        self.error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
    }

    /// The machine has no such protocol (IPv6 switched off, mostly).
    #[must_use]
    pub fn is_missing_protocol(&self) -> bool {
        const MISSING: [i32; 5] = [
            libc::ENOPROTOOPT,
            libc::EPROTONOSUPPORT,
            libc::ESOCKTNOSUPPORT,
            libc::EPFNOSUPPORT,
            libc::EAFNOSUPPORT,
        ];
        self.error.raw_os_error().is_some_and(|number| MISSING.contains(&number))
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error.raw_os_error() {
            Some(number) => write!(f, "{}: {}", self.step, nix::errno::Errno::from_raw(number).desc()),
            None => write!(f, "{}: {}", self.step, self.error),
        }
    }
}

fn at(step: &'static str) -> impl Fn(io::Error) -> ListenError {
    move |error| ListenError { step, error }
}

/// Listens on a TCP address: a name, an address, `*` (any of IPv4) or `::*` (any of IPv6). With `multipath` a client may
/// use several paths at once.
///
/// # Errors
/// The first step that fails.
pub fn tcp(address: &str, port: u16, backlog: u32, multipath: bool) -> Result<Socket, ListenError> {
    let address = resolve(address, port).map_err(at("resolve"))?;
    let domain = Domain::for_address(address);
    let protocol = if multipath { Protocol::from(libc::IPPROTO_MPTCP) } else { Protocol::TCP };
    let socket = Socket::new(domain, Type::STREAM, Some(protocol)).map_err(at("socket"))?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(at("setsockopt"))?;
    }
    socket.set_reuse_address(true).map_err(at("setsockopt SO_REUSEADDR"))?;
    listen(&socket, &SockAddr::from(address), backlog)?;
    Ok(socket)
}

fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    match name {
        "*" => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
        "::*" => Ok(SocketAddr::from(([0_u16; 8], port))),
        name => (name, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)),
    }
}

/// Listens on a unix socket, in place of whatever has that name. `permissions` of 0 leave the rights to the umask.
///
/// # Errors
/// The first step that fails.
pub fn unix(path: &Path, permissions: u32, backlog: u32) -> Result<Socket, ListenError> {
    // A file of a former run; if it cannot be removed, binding says why.
    let _ = std::fs::remove_file(path);
    let address = SockAddr::unix(path).map_err(at("bind"))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(at("socket"))?;
    // Nobody else may connect in the moment before the rights are set.
    let umask = (permissions != 0).then(|| process::set_umask(0o777 & !permissions));
    let listening = listen(&socket, &address, backlog);
    if let Some(umask) = umask {
        process::set_umask(umask);
    }
    listening?;
    if permissions != 0 {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(permissions);
        std::fs::set_permissions(path, permissions).map_err(at("chmod"))?;
    }
    Ok(socket)
}

fn listen(socket: &Socket, address: &SockAddr, backlog: u32) -> Result<(), ListenError> {
    socket.set_nonblocking(true).map_err(at("fcntl"))?;
    socket.bind(address).map_err(at("bind"))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX)).map_err(at("listen"))
}

/// The longest queue of waiting connections that the kernel grants (`net.core.somaxconn`).
#[must_use]
pub fn longest_backlog() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_port_is_refused_until_its_socket_is_shut_down() {
        let first = tcp("127.0.0.1", 0, 5, false).unwrap();
        let port = first.local_addr().unwrap().as_socket().unwrap().port();
        let error = tcp("127.0.0.1", port, 5, false).unwrap_err();
        assert_eq!(error.to_string(), "bind: Address already in use");
        assert!(!error.is_missing_address() && !error.is_missing_protocol());
        first.shutdown(std::net::Shutdown::Both).unwrap();
        tcp("127.0.0.1", port, 5, false).unwrap();
    }

    #[test]
    fn a_unix_socket_replaces_the_file_of_a_former_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(unix(&path, 0o700, 5).unwrap());
        drop(unix(&path, 0o700, 5).unwrap());
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
    }
}
