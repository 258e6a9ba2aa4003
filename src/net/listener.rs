//! Listening sockets, and what happens to a client before its first request.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::Shared;
use super::connection::{Connection, serve};
use super::stream::{self, Reader, Writer};
use crate::memory::{MemoryUsage, allocated_bytes};
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
    let mut pace = Pace::default();
    loop {
        match accepted(|context| listener.poll_accept(context)).await {
            (Ok((stream, peer)), before) => greet_tcp(&shared, stream, peer, before),
            (Err(error), _) => refused_by_system(&error).await,
        }
        pace.keep(&shared).await;
    }
}

async fn accept_unix(shared: Rc<Shared>, listener: UnixListener) {
    let mut pace = Pace::default();
    loop {
        match accepted(|context| listener.poll_accept(context)).await {
            (Ok((stream, _)), before) => greet_unix(&shared, stream, before),
            (Err(error), _) => refused_by_system(&error).await,
        }
        pace.keep(&shared).await;
    }
}

/// A connection, and what was allocated right before it was taken: what comes on top is the connection's own.
pub(super) async fn accepted<T>(mut poll: impl FnMut(&mut TaskContext<'_>) -> Poll<T>) -> (T, usize) {
    poll_fn(|context| {
        let before = allocated_bytes();
        poll(context).map(|connection| (connection, before))
    })
    .await
}

/// Lets other tasks run after `max-new-connections-per-cycle` connections.
#[derive(Default)]
struct Pace {
    taken: u32,
}

impl Pace {
    async fn keep(&mut self, shared: &Shared) {
        self.taken += 1;
        if self.taken >= shared.engine.borrow().server.config.max_new_connections_per_cycle {
            self.taken = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// The system has no descriptor or memory for another connection: leave it some time.
async fn refused_by_system(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(100);
    tracing::warn!("Accepting client connection: {error}");
    tokio::time::sleep(PAUSE).await;
}

fn greet_tcp(shared: &Rc<Shared>, stream: TcpStream, peer: SocketAddr, before: usize) {
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
    let arrival = Arrival { address: show(peer), local_address: local, foreign: !loopback, before };
    welcome(shared, stream::of_tcp(stream), arrival, false);
}

fn greet_unix(shared: &Rc<Shared>, stream: UnixStream, before: usize) {
    let address = format!("{}:0", shared.engine.borrow().server.config.unixsocket.as_str());
    let arrival = Arrival { address: address.clone(), local_address: address, foreign: false, before };
    welcome(shared, stream::of_unix(stream), arrival, true);
}

/// `address:port`, IPv6 addresses in brackets, mapped IPv4 ones as such.
fn show(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// What is known of a connection before it has said anything.
struct Arrival {
    address: String,
    local_address: String,
    /// From another machine.
    foreign: bool,
    /// What was allocated before it was taken.
    before: usize,
}

/// Registers a connection and starts its task, or refuses it with the reason.
fn welcome(shared: &Rc<Shared>, halves: (Reader, Writer), arrival: Arrival, unix_socket: bool) {
    let Arrival { address, local_address, foreign, before } = arrival;
    let lists_before = shared.lists_usage();
    tracing::debug!("Accepted {address}");
    let writer = &halves.1;
    let descriptor = writer.descriptor();
    let mut engine = shared.engine.borrow_mut();
    let server = &mut engine.server;
    server.stats.connections_received += 1;
    if let Some(error) = refusal(server, foreign) {
        server.stats.connections_rejected += 1;
        let mut reply = Reply::new(RespProtocol::Resp2);
        error.write(&mut reply);
        let _ = writer.try_write(reply.as_slice());
        return;
    }
    let now_ms = server.now_ms;
    let registry_before = server.clients.registry_usage();
    let key = server.clients.add(|key, id| Client {
        address,
        local_address,
        descriptor,
        unix_socket,
        ..Client::new(key, id, now_ms)
    });
    server.log_out(key);
    drop(engine);
    let connection = Connection::new(key, halves, shared.arrivals.waker(key));
    shared.register(&connection);
    tokio::task::spawn_local(serve(Rc::clone(shared), connection));
    note_connection_bytes(shared, key, before.saturating_sub(lists_before + registry_before));
}

/// What the connection's socket, task and registration have allocated is the client's own, except for the lists that
/// grow with the clients and count for themselves.
fn note_connection_bytes(shared: &Shared, key: ClientKey, before: usize) {
    let lists = shared.lists_usage();
    let server = &mut shared.engine.borrow_mut().server;
    server.connection_lists_bytes = lists;
    let before = before + lists + server.clients.registry_usage();
    if let Some(client) = server.clients.get_mut(key) {
        let known = MemoryUsage::memory_usage(client);
        client.connection_bytes = allocated_bytes().saturating_sub(before + known);
    }
}

/// Why a connection is not taken.
fn refusal(server: &Server, foreign: bool) -> Option<CommandError> {
    if server.clients.len() >= server.config.maxclients as usize {
        return Some(CommandError::MaxClients);
    }
    let open = !server.acl.asks_for_password();
    (server.config.protected_mode && open && foreign).then_some(CommandError::Denied)
}
