//! The task that follows a primary: it connects, introduces this server, and takes over the data, or only the stream.
//!
//! A task belongs to one attempt. It asks before everything it does to the engine whether its attempt still counts
//! ([`Link::engine`]), and ends where it does not. Limits of time are the cron's: it begins another attempt. When the link
//! is up, the socket becomes a connection like any other and this task ends.

mod brief_load;
mod data;
mod dual_channel;
mod handshake;
mod snapshot;
pub(super) mod wire;

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};

use super::Shared;
use super::connection::{Connection, add_client, serve};
use crate::config::os_reason;
use crate::memory::vec_usage;
use crate::replication::PrimaryStream;
use crate::server::Engine;
use crate::server::primary_link::{LinkState, Retry};
pub(super) use brief_load::BriefLoad;
use data::Load;
use handshake::Granted;
use wire::Wire;

/// Which task follows the primary.
#[derive(Default)]
pub(super) struct Following {
    /// The attempt of the last task.
    attempt: Cell<u64>,
    /// Tells that task that it is of no use any more.
    stop: RefCell<Option<Rc<Notify>>>,
}

/// Why a task ends without having brought the link up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Another attempt counts now, or none.
    Superseded,
    /// It failed; the log says why.
    Failed(Retry),
}

/// Bytes of the stream that were kept and are run at a time.
const KEPT_PIECE: usize = 64 * 1024;

/// The handshake failed: the cron tries again.
const LATER: Failure = Failure::Failed(Retry::Later);
/// The transfer failed: it is tried again at once.
const AT_ONCE: Failure = Failure::Failed(Retry::AtOnce);

impl Shared {
    /// Starts the task of the present attempt, if it has none, and ends the task of the last one.
    pub fn follow_primary(self: &Rc<Self>) {
        let (attempt, state) = {
            let link = &self.engine.borrow().server.primary_link;
            (link.attempt, link.state)
        };
        if self.following.attempt.replace(attempt) == attempt {
            return;
        }
        if let Some(stop) = self.following.stop.take() {
            stop.notify_one();
        }
        if state == LinkState::Connecting {
            let stop = Rc::new(Notify::new());
            self.following.stop.replace(Some(Rc::clone(&stop)));
            tokio::task::spawn_local(follow(Rc::clone(self), attempt, stop));
        }
    }
}

async fn follow(shared: Rc<Shared>, attempt: u64, stop: Rc<Notify>) {
    let link = Link { shared, attempt, loading: Cell::new(None) };
    let outcome = tokio::select! {
        biased;
        () = stop.notified() => Err(Failure::Superseded),
        outcome = link.synchronize() => outcome,
    };
    link.abandon_load();
    link.forget_transfer();
    if let Err(Failure::Failed(retry)) = outcome
        && let Ok(mut engine) = link.engine()
    {
        engine.server.cancel_attempt(retry);
    }
}

/// One attempt.
struct Link {
    shared: Rc<Shared>,
    attempt: u64,
    /// The load that is under way.
    loading: Cell<Option<Load>>,
}

impl Link {
    /// The engine, as long as this attempt counts.
    fn engine(&self) -> Result<RefMut<'_, Engine>, Failure> {
        let engine = self.shared.engine.borrow_mut();
        if engine.server.is_current_attempt(self.attempt) { Ok(engine) } else { Err(Failure::Superseded) }
    }

    fn set_state(&self, state: LinkState) -> Result<(), Failure> {
        self.engine()?.server.primary_link.state = state;
        self.note_io()
    }

    /// Something came from the primary.
    fn note_io(&self) -> Result<(), Failure> {
        let server = &mut self.engine()?.server;
        server.primary_link.last_io_ms = crate::sys::clock::unix_ms();
        Ok(())
    }

    async fn synchronize(&self) -> Result<(), Failure> {
        let mut wire = Wire::new(self.connect("SYNC").await?);
        self.introduce(&mut wire).await?;
        match self.ask_for_stream(&mut wire).await? {
            Granted::Stream(stream, database) => {
                tracing::info!("PRIMARY <-> REPLICA sync: Primary accepted a Partial Resynchronization.");
                self.adopt(wire, *stream, database)
            }
            Granted::Snapshot(history) => self.take_snapshot(wire, history).await,
            Granted::OwnChannel => self.take_snapshot_by_own_channel(wire).await,
        }
    }

    /// Connects to the primary.
    async fn connect(&self, purpose: &str) -> Result<TcpStream, Failure> {
        let (host, port, source) = {
            let server = &self.engine()?.server;
            let Some(primary) = &server.replication.primary else { return Err(Failure::Superseded) };
            let source = server.config.bind_source_addr.as_str().parse::<IpAddr>().ok();
            (String::from_utf8_lossy(&primary.host).into_owned(), primary.port, source)
        };
        let addresses = match self.resolve(host, port).await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::warn!("Unable to connect to PRIMARY: {error}");
                return Err(LATER);
            }
        };
        let mut refusal = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match connect_to(address, source).await {
                Ok(stream) => {
                    self.engine()?;
                    return Ok(stream);
                }
                Err(error) => refusal = error,
            }
        }
        self.engine()?;
        tracing::warn!("Error condition on socket for {purpose}: {}", os_reason(&refusal));
        Err(LATER)
    }

    /// The addresses of a host. Names are asked for by a helper thread.
    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (tell, told) = oneshot::channel();
        let queue = self.shared.engine.borrow_mut().server.replication_helper()?;
        queue.submit(move |_| {
            let _ = tell.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect));
        });
        told.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
    }

    /// Makes the socket a connection whose client is the primary.
    fn adopt(&self, wire: Wire, mut stream: PrimaryStream, database: usize) -> Result<(), Failure> {
        let mut engine = self.engine()?;
        let (socket, unread) = wire.into_parts();
        stream.received += unread.len() as i64;
        let server = &mut engine.server;
        server.primary_link.unread_usage = vec_usage(&unread);
        let (key, halves) = add_client(server, socket);
        server.adopt_primary(key, stream, database);
        server.acknowledge();
        drop(engine);
        let connection = Connection::new(key, halves, self.shared.arrivals.waker(key));
        self.shared.register(&connection);
        let shared = Rc::clone(&self.shared);
        tokio::task::spawn_local(async move {
            apply_kept(&shared, &connection, unread).await;
            serve(shared, connection).await;
        });
        // The acknowledgement waits in the client's output.
        self.shared.wake_executor();
        Ok(())
    }
}

/// Has what was received before the link was up run, no more at a time than a socket would bring.
async fn apply_kept(shared: &Rc<Shared>, connection: &Rc<Connection>, kept: Vec<u8>) {
    for piece in kept.chunks(KEPT_PIECE) {
        connection.input.borrow_mut().query.extend(piece);
        shared.enqueue(connection);
        while connection.queued.get() && !connection.closing.get() {
            tokio::task::yield_now().await;
        }
    }
    let server = &mut shared.engine.borrow_mut().server;
    if server.primary_link.client == Some(connection.key) {
        server.primary_link.unread_usage = 0;
    }
    server.background.free_buffer(kept);
}

pub(super) async fn connect_to(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        // As the peer would not be reached otherwise either, a source of the other family is left out.
        let _ = socket.bind(SocketAddr::new(source, 0));
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
