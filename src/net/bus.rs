//! The bus of a cluster: its listener, and a task for each connection to another node.
//!
//! A task reads whole messages and hands them to the engine, and writes what the engine has queued on its link. When the
//! link is gone there, the task ends, and with it the socket. A connection of this node's own making begins with the
//! link, before there is a socket.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::Shared;
use super::listener::accepted;
use crate::bus;
use crate::memory::{allocated_bytes, usable_size, vec_usage};
use crate::server::cluster::{Ends, LinkId};

/// Bytes asked of a socket at once.
const CHUNK: usize = 16 * 1024;
/// Messages that are handled before other tasks have their turn.
const MESSAGES_PER_TURN: usize = 64;

/// Accepts connections of other nodes from these sockets.
///
/// # Errors
/// The event loop's, when it cannot watch a socket.
pub fn accept_bus(shared: &Rc<Shared>, sockets: Vec<Socket>) -> io::Result<()> {
    for socket in sockets {
        let listener = TcpListener::from_std(socket.into())?;
        tokio::task::spawn_local(accept(Rc::clone(shared), listener));
    }
    Ok(())
}

async fn accept(shared: Rc<Shared>, listener: TcpListener) {
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        // What other nodes say may change data that is not there yet.
        while loads_at_start(&shared) {
            tokio::time::sleep(PAUSE).await;
        }
        match accepted(|context| listener.poll_accept(context)).await {
            (Ok((stream, peer)), before) => welcome(&shared, stream, peer, before),
            (Err(error), _) => {
                tracing::debug!("Error accepting cluster node: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes a connection in. What was allocated since `before`, the link itself aside, is its task's.
fn welcome(shared: &Rc<Shared>, stream: TcpStream, peer: SocketAddr, before: usize) {
    keep_alive(shared, &stream);
    let links_before = links_usage(shared);
    let Some(id) = shared.engine.borrow_mut().accept_link(ends_of(&stream, Some(peer))) else { return };
    tokio::task::spawn_local(serve(Rc::clone(shared), id, stream));
    let link = links_usage(shared).saturating_sub(links_before);
    let bytes = allocated_bytes().saturating_sub(before + link);
    shared.engine.borrow_mut().note_link_task(id, bytes);
}

fn links_usage(shared: &Shared) -> usize {
    shared.engine.borrow().server.cluster.as_ref().map_or(0, |cluster| cluster.links_usage())
}

fn loads_at_start(shared: &Shared) -> bool {
    let server = &shared.engine.borrow().server;
    server.persistence.is_loading() && !server.replication.is_replica()
}

fn keep_alive(shared: &Shared, stream: &TcpStream) {
    let timeout_ms = shared.engine.borrow().server.config.cluster_node_timeout;
    let seconds = u64::try_from(timeout_ms / 1000 * 2).unwrap_or(0);
    if seconds > 0 {
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(seconds));
        let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}

fn ends_of(stream: &TcpStream, peer: Option<SocketAddr>) -> Ends {
    let peer = peer.or_else(|| stream.peer_addr().ok());
    let ip = |address: Option<SocketAddr>| {
        address.map(|address| address.ip().to_canonical().to_string()).unwrap_or_default()
    };
    Ends {
        peer_ip: ip(peer),
        peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        own_ip: ip(stream.local_addr().ok()),
    }
}

/// Starts the task that connects to another node for a link, and serves it then.
pub fn connect_bus(shared: &Rc<Shared>, id: LinkId, ip: String, port: u16) {
    let address = usable_size(ip.capacity());
    let before = allocated_bytes();
    tokio::task::spawn_local(open(Rc::clone(shared), id, ip, port));
    let bytes = allocated_bytes().saturating_sub(before);
    shared.engine.borrow_mut().note_link_task(id, bytes + address);
}

async fn open(shared: Rc<Shared>, id: LinkId, ip: String, port: u16) {
    let Some(attention) = attention_of(&shared, id) else { return };
    let source = shared.engine.borrow().server.config.bind_source_addr.as_str().parse::<IpAddr>().ok();
    let connected = tokio::select! {
        () = gone(&shared, id, &attention) => return,
        connected = connect(&ip, port, source) => connected,
    };
    match connected {
        Ok((stream, bytes)) => {
            shared.engine.borrow_mut().note_link_task(id, bytes);
            let ends = ends_of(&stream, None);
            shared.engine.borrow_mut().link_connected(id, ends);
            serve(shared, id, stream).await;
        }
        Err(error) => {
            let reason = crate::config::os_reason(&error);
            shared.engine.borrow_mut().link_ended(id, Some(&reason));
        }
    }
}

/// A connection, and the bytes that the event loop has allocated for it.
async fn connect(ip: &str, port: u16, source: Option<IpAddr>) -> io::Result<(TcpStream, usize)> {
    let ip: IpAddr = ip.parse().map_err(|_| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        // As the peer would not be reached otherwise either, a source of the other family is left out.
        let _ = socket.bind(SocketAddr::new(source, 0));
    }
    let mut connecting = pin!(socket.connect(SocketAddr::new(ip, port)));
    let mut bytes = 0;
    let stream = poll_fn(|context| {
        let before = allocated_bytes();
        let connected = connecting.as_mut().poll(context);
        bytes += allocated_bytes().saturating_sub(before);
        connected
    })
    .await?;
    Ok((stream, bytes))
}

fn attention_of(shared: &Shared, id: LinkId) -> Option<Rc<Notify>> {
    shared.engine.borrow().server.cluster.as_ref()?.links.attention(id)
}

/// Until a link is gone.
async fn gone(shared: &Shared, id: LinkId, attention: &Notify) {
    while attention_of(shared, id).is_some() {
        attention.notified().await;
    }
}

/// Reads and writes until the link or the connection ends.
async fn serve(shared: Rc<Shared>, id: LinkId, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Some(attention) = attention_of(&shared, id) else { return };
    let mut received = Vec::new();
    loop {
        let wants_write = match flush(&shared, id, &stream) {
            Flushed::All => false,
            Flushed::Some => true,
            Flushed::Over => break,
        };
        let is_over = tokio::select! {
            biased;
            () = attention.notified() => false,
            writable = stream.writable(), if wants_write => writable.is_err(),
            readable = stream.readable() => readable.is_err() || read(&shared, id, &stream, &mut received),
        };
        shared.wake_if_needed();
        if is_over {
            break;
        }
        // A node that sends without end shares the loop with everybody else.
        tokio::task::yield_now().await;
    }
    shared.engine.borrow_mut().link_ended(id, None);
}

/// How far sending has come.
enum Flushed {
    /// Nothing may go now.
    All,
    /// The socket takes no more.
    Some,
    /// The link or the connection has ended.
    Over,
}

fn flush(shared: &Shared, id: LinkId, stream: &TcpStream) -> Flushed {
    let engine = &mut *shared.engine.borrow_mut();
    loop {
        let Some(bytes) = engine.sendable_on_link(id) else { return Flushed::Over };
        if bytes.is_empty() {
            engine.set_link_stuck(id, false);
            return Flushed::All;
        }
        match stream.try_write(bytes) {
            Ok(count) => engine.note_sent_on_link(id, count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                engine.set_link_stuck(id, true);
                return Flushed::Some;
            }
            Err(_) => return Flushed::Over,
        }
    }
}

/// Reads what the socket has and hands whole messages over; `true` when the link is over.
fn read(shared: &Shared, id: LinkId, stream: &TcpStream, received: &mut Vec<u8>) -> bool {
    let mut chunk = [0; CHUNK];
    match stream.try_read(&mut chunk) {
        Ok(0) => return true,
        Ok(count) => received.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
        Err(_) => return true,
    }
    let mut done = 0;
    let mut is_over = false;
    for _ in 0..MESSAGES_PER_TURN {
        let rest = received.get(done..).unwrap_or_default();
        match take(shared, id, rest) {
            Taken::Message(length) => done += length,
            Taken::Nothing => break,
            Taken::Over => {
                is_over = true;
                break;
            }
        }
    }
    received.drain(..done);
    if received.is_empty() {
        *received = Vec::new();
    }
    shared.engine.borrow_mut().note_receive_buffer(id, vec_usage(received));
    is_over
}

/// Deletes the keys of slots that are another shard's, some between two turns of the event loop.
pub async fn delete_lost_keys(shared: Rc<Shared>) {
    /// Nobody waits for it, and everybody else comes first.
    const PAUSE: Duration = Duration::from_millis(1);
    loop {
        tokio::time::sleep(PAUSE).await;
        let is_done = shared.engine.borrow_mut().continue_deletion();
        shared.wake_if_needed();
        if is_done {
            return;
        }
    }
}

/// What became of the bytes that were received.
enum Taken {
    /// A message of so many bytes was handed over.
    Message(usize),
    /// No message is whole.
    Nothing,
    /// The link is over.
    Over,
}

fn take(shared: &Shared, id: LinkId, bytes: &[u8]) -> Taken {
    let engine = &mut *shared.engine.borrow_mut();
    let Some(link) = engine.server.cluster.as_ref().and_then(|cluster| cluster.links.get(id)) else {
        return Taken::Over;
    };
    match bus::frame_length(bytes, link.node.is_some()) {
        Ok(Some(length)) => match bytes.get(..length) {
            Some(message) if engine.receive_on_link(id, message) => Taken::Message(length),
            Some(_) => Taken::Over,
            None => Taken::Nothing,
        },
        Ok(None) => Taken::Nothing,
        Err(invalid) => {
            tracing::warn!("{invalid} from {}", link.ends.peer);
            Taken::Over
        }
    }
}
