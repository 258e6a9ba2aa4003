//! The addresses the server listens on: opened here, at start and when CONFIG SET moves them; accepted from by the
//! connection layer.
//!
//! A second handle of each TCP socket is kept, so that a move can close the old sockets before it binds the new ones: the
//! two may want the same address.

use std::net::Shutdown;

use socket2::Socket;

use crate::config::Config;
use crate::sys::listen;

/// The sockets that are listening.
#[derive(Debug, Default)]
pub struct Listening {
    tcp: Vec<Socket>,
}

impl Listening {
    /// Opens the TCP sockets that the configuration asks for, in place of those that are open. `None` when one of them
    /// cannot be had; the log says why, and none is open then.
    pub fn open_tcp(&mut self, config: &Config) -> Option<Vec<Socket>> {
        self.close_tcp();
        if config.port == 0 {
            return Some(Vec::new());
        }
        let opened = Self::open(config, config.port)?;
        self.tcp = opened.iter().filter_map(|socket| socket.try_clone().ok()).collect();
        Some(opened)
    }

    /// Listens at no TCP address any more: who comes from here on is refused.
    pub fn close_tcp(&mut self) {
        for socket in self.tcp.drain(..) {
            // A socket that is shut down holds its address no longer, whoever else has a handle of it.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Opens the sockets of a cluster's bus at the same addresses. `None` when one of them cannot be had; the log says why.
    #[must_use]
    pub fn open_bus(config: &Config, port: u16) -> Option<Vec<Socket>> {
        Self::open(config, port)
    }

    fn open(config: &Config, port: u16) -> Option<Vec<Socket>> {
        let mut opened = Vec::new();
        for address in &config.bind.0 {
            let address = address.as_str();
            let (address, optional) =
                address.strip_prefix('-').map_or((&*address, false), |rest| (rest, true));
            match listen::tcp(address, port, config.tcp_backlog, config.mptcp) {
                Ok(socket) => opened.push(socket),
                Err(error) => {
                    tracing::warn!(
                        "Warning: Could not create server TCP listening socket {address}:{port}: {error}"
                    );
                    if !(optional && error.is_missing_address() || error.is_missing_protocol()) {
                        return None;
                    }
                }
            }
        }
        Some(opened)
    }

    /// Opens the unix socket of the configuration. `None` when it cannot be had; the log says why.
    #[must_use]
    pub fn open_unix(config: &Config) -> Option<Socket> {
        match listen::unix(config.unixsocket.as_path(), config.unixsocketperm, config.tcp_backlog) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("Failed opening Unix socket: {error}");
                None
            }
        }
    }

    /// Addresses that TCP is listening on.
    #[must_use]
    pub fn tcp_sockets(&self) -> usize {
        self.tcp.len()
    }
}
