//! Listening sockets, and what happens to a client before its first request.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::Shared;
use super::connection::{Connection, serve};
use super::stream::Stream;
use crate::memory::allocated_bytes;
use crate::resp::{CommandError, Protocol as RespProtocol, Reply};
use crate::server::{Client, ClientKey, Server};
use crate::sys::process::is_missing_address;

/// The tasks that accept connections; dropping them closes the sockets.
pub struct Listeners {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An address that could not be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// The address as configured.
    pub address: String,
    /// Why not.
    pub error: io::Error,
}

/// A bound socket that nobody accepts from yet.
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Opens every listening socket that the configuration asks for and starts to accept.
///
/// # Errors
/// The first address that is not optional (`-` before it) and cannot be bound.
pub fn open(shared: &Rc<Shared>) -> Result<Listeners, ListenError> {
    let mut bound = Vec::new();
    {
        let engine = shared.engine.borrow();
        let config = &engine.server.config;
        let port = config.port;
        if port != 0 {
            for address in &config.bind.0 {
                bound.extend(bind_tcp(&address.as_str(), port, config.tcp_backlog)?.map(Bound::Tcp));
            }
        }
        if !config.unixsocket.is_empty() {
            bound.push(Bound::Unix(bind_unix(&config.unixsocket.as_str(), config.unixsocketperm)?));
        }
    }
    let tasks = bound
        .into_iter()
        .map(|listener| {
            let shared = Rc::clone(shared);
            tokio::task::spawn_local(async move {
                match listener {
                    Bound::Tcp(listener) => accept_tcp(shared, listener).await,
                    Bound::Unix(listener) => accept_unix(shared, listener).await,
                }
            })
        })
        .collect();
    Ok(Listeners { tasks })
}

/// Binds one address; `None` when it is optional and not there.
fn bind_tcp(address: &str, port: u16, backlog: u32) -> Result<Option<TcpListener>, ListenError> {
    let (address, optional) = address.strip_prefix('-').map_or((address, false), |rest| (rest, true));
    match try_bind_tcp(address, port, backlog) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if optional && is_missing_address(&error) => Ok(None),
        Err(error) => Err(ListenError { address: format!("{address}:{port}"), error }),
    }
}

fn try_bind_tcp(address: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let address = match address {
        "*" => SocketAddr::from(([0, 0, 0, 0], port)),
        "::*" => SocketAddr::from(([0_u16; 8], port)),
        name => resolve(name, port)?,
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    std::net::ToSocketAddrs::to_socket_addrs(&(name, port))?
        .next()
        .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

/// Binds the unix socket. It is made under a umask that lets nobody in, and opened to those it is for afterwards.
fn bind_unix(path: &str, permissions: u32) -> Result<UnixListener, ListenError> {
    let fail = |error| ListenError { address: path.to_owned(), error };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    if permissions != 0 {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(permissions);
        std::fs::set_permissions(path, permissions).map_err(fail)?;
    }
    Ok(listener)
}

async fn accept_tcp(shared: Rc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => greet_tcp(&shared, stream, peer),
            Err(error) => refused_by_system(&error).await,
        }
    }
}

async fn accept_unix(shared: Rc<Shared>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => greet_unix(&shared, stream),
            Err(error) => refused_by_system(&error).await,
        }
    }
}

/// The system has no descriptor or memory for another connection: leave it some time.
async fn refused_by_system(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(100);
    tracing::warn!("Accepting client connection: {error}");
    tokio::time::sleep(PAUSE).await;
}

fn greet_tcp(shared: &Rc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let keepalive = shared.engine.borrow().server.config.tcp_keepalive;
    let _ = stream.set_nodelay(true);
    if keepalive > 0 {
        // Three probes a third of the period apart, as Valkey sets them.
        let interval = Duration::from_secs(u64::from((keepalive / 3).max(1)));
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(u64::from(keepalive)))
            .with_interval(interval)
            .with_retries(3);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    }
    let local = stream.local_addr().map_or_else(|_| String::new(), show);
    let loopback = peer.ip().to_canonical().is_loopback();
    welcome(shared, Stream::Tcp(stream), show(peer), local, !loopback);
}

fn greet_unix(shared: &Rc<Shared>, stream: UnixStream) {
    let path = shared.engine.borrow().server.config.unixsocket.as_str().into_owned();
    let address = format!("{path}:0");
    welcome(shared, Stream::Unix(stream), address.clone(), address, false);
}

/// `address:port`, IPv6 addresses in brackets, mapped IPv4 ones as such.
fn show(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// Registers a connection and starts its task, or refuses it with the reason.
fn welcome(shared: &Rc<Shared>, stream: Stream, address: String, local_address: String, foreign: bool) {
    let before = allocated_bytes();
    let unix_socket = matches!(stream, Stream::Unix(_));
    let descriptor = stream.descriptor();
    let mut engine = shared.engine.borrow_mut();
    let server = &mut engine.server;
    server.stats.connections_received += 1;
    if let Some(error) = refusal(server, foreign && !unix_socket) {
        server.stats.connections_rejected += 1;
        let mut reply = Reply::new(RespProtocol::Resp2);
        error.write(&mut reply);
        let _ = stream.try_write(reply.as_slice());
        return;
    }
    let authenticated = server.config.requirepass.is_empty();
    let now_ms = server.now_ms;
    let key = server.clients.add(|key, id| Client {
        address,
        local_address,
        descriptor,
        unix_socket,
        authenticated,
        ..Client::new(key, id, now_ms)
    });
    drop(engine);
    let connection = Connection::new(key, stream);
    shared.register(&connection);
    tokio::task::spawn_local(serve(Rc::clone(shared), connection));
    note_connection_bytes(shared, key, before);
}

/// What the connection's task, socket and registration have allocated is the client's own.
fn note_connection_bytes(shared: &Shared, key: ClientKey, before: usize) {
    let mut engine = shared.engine.borrow_mut();
    if let Some(client) = engine.server.clients.get_mut(key) {
        let known = crate::memory::MemoryUsage::memory_usage(client);
        client.connection_bytes = (allocated_bytes() - before).saturating_sub(known);
    }
}

/// Why a connection is not taken.
fn refusal(server: &Server, foreign: bool) -> Option<CommandError> {
    if server.clients.len() >= server.config.maxclients as usize {
        return Some(CommandError::MaxClients);
    }
    let open = server.config.requirepass.is_empty();
    (server.config.protected_mode && open && foreign).then_some(CommandError::Denied)
}
