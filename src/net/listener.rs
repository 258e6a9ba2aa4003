//! Listening sockets, and what happens to a client before its first request.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::Shared;
use super::connection::{Connection, serve};
use super::stream::Stream;
use crate::memory::allocated_bytes;
use crate::resp::{CommandError, Protocol as RespProtocol, Reply};
use crate::server::{Client, ClientKey, Server};

/// The tasks that accept connections; dropping them closes their sockets.
#[derive(Default)]
pub struct Listeners {
    tcp: Vec<JoinHandle<()>>,
    unix: Option<JoinHandle<()>>,
}

impl Listeners {
    /// Accepts TCP connections from these sockets and from no others any more.
    ///
    /// # Errors
    /// The event loop's, when it cannot watch a socket.
    pub fn accept_tcp(&mut self, shared: &Rc<Shared>, sockets: Vec<Socket>) -> io::Result<()> {
        stop(self.tcp.drain(..));
        for socket in sockets {
            let listener = TcpListener::from_std(socket.into())?;
            self.tcp.push(tokio::task::spawn_local(accept_tcp(Rc::clone(shared), listener)));
        }
        Ok(())
    }

    /// Accepts connections from the unix socket.
    ///
    /// # Errors
    /// The event loop's, when it cannot watch the socket.
    pub fn accept_unix(&mut self, shared: &Rc<Shared>, socket: Socket) -> io::Result<()> {
        stop(self.unix.take());
        let listener = UnixListener::from_std(socket.into())?;
        self.unix = Some(tokio::task::spawn_local(accept_unix(Rc::clone(shared), listener)));
        Ok(())
    }
}

fn stop(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.abort();
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        stop(self.tcp.drain(..).chain(self.unix.take()));
    }
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
