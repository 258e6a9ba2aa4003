//! A connection: its socket, the bytes it has read, and the task that flushes what is left over and ends it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::Shared;
use super::stream::{self, Reader, Writer};
use crate::memory::MemoryUsage;
use crate::resp::Parser;
use crate::resp::QueryBuffer;
use crate::server::client::QueryFigures;
use crate::server::{Client, ClientKey, Engine, Server};

/// How much is read from a socket at a time; larger arguments are read straight into the query buffer.
const READ_CHUNK: usize = 64 * 1024;

/// What a connection has received.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) query: QueryBuffer,
    pub(super) parser: Parser,
    /// Bytes that the current argument still lacks, when it is a big one.
    pub(super) missing: usize,
}

impl Input {
    pub(super) fn figures(&self) -> QueryFigures {
        QueryFigures {
            pending: self.query.len().saturating_sub(self.parser.parsed()),
            spare: self.query.spare(),
            allocated: self.query.memory_usage() + self.parser.memory_usage(),
            arguments: self.parser.parsed(),
        }
    }
}

/// One connected client's socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: ClientKey,
    /// Gone once the connection has ended.
    reader: RefCell<Option<Reader>>,
    pub(super) writer: Writer,
    /// Notes that there is something to read.
    arrival: Waker,
    pub(super) input: RefCell<Input>,
    /// In the list of the next batch.
    pub(super) queued: Cell<bool>,
    /// There is more to read, which waits until what was read has had its turn.
    unread: Cell<bool>,
    /// The period of [`Gathering`](super::gathering::Gathering) in which it was last read.
    pub(super) active_in: Cell<u32>,
    /// Wakes the task: output is left over, or the connection is to end.
    pub(super) attention: Notify,
    /// Output is left over that the socket did not take.
    pub(super) wants_write: Cell<bool>,
    /// The peer sends no more; what came before is still run.
    ended: Cell<bool>,
    /// The client is to go.
    pub(super) closing: Cell<bool>,
}

thread_local! {
    /// Where sockets are read before their bytes go to the connection's own buffer, so that an idle connection owns
    /// no more than it needs.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_CHUNK]);
}

/// Makes the buffer that sockets are read into, so that it counts for the server itself and not for the first client.
pub(super) fn prepare() {
    READ_BUFFER.with_borrow_mut(|_| ());
}

impl Connection {
    /// `arrival` is woken whenever there is something to read, from the first [`Self::read`] on.
    pub(super) fn new(key: ClientKey, (reader, writer): (Reader, Writer), arrival: Waker) -> Rc<Self> {
        Rc::new(Self {
            key,
            reader: RefCell::new(Some(reader)),
            writer,
            arrival,
            input: RefCell::default(),
            queued: Cell::new(false),
            unread: Cell::new(false),
            active_in: Cell::new(0),
            attention: Notify::new(),
            wants_write: Cell::new(false),
            ended: Cell::new(false),
            closing: Cell::new(false),
        })
    }

    /// Asks the task to look at `wants_write`, `ended` and `closing`.
    pub(super) fn alert(&self) {
        self.attention.notify_one();
    }

    /// Its turn in a batch has come.
    pub(super) fn begin_turn(&self) {
        self.queued.set(false);
        if self.unread.take() {
            self.arrival.wake_by_ref();
        }
    }

    /// Reads what the socket has, once, and has it run with the next batch. The connection is noted again when there
    /// is more. What was read before is run first: a client may send faster than it is served.
    pub(super) fn read(self: &Rc<Self>, shared: &Shared, engine: &mut Engine) {
        if self.queued.get() {
            return self.unread.set(true);
        }
        let mut reader = self.reader.borrow_mut();
        let Some(reader) = reader.as_mut().filter(|_| !self.is_over()) else { return };
        let mut cx = Context::from_waker(&self.arrival);
        let over = match self.poll_read(&mut cx, reader) {
            Poll::Pending => return,
            Poll::Ready(Ok(0) | Err(_)) => true,
            Poll::Ready(Ok(count)) => self.receive(shared, engine, count),
        };
        if over {
            self.ended.set(true);
            self.alert();
        } else if reader.poll_read_ready(&mut cx).is_ready() {
            self.arrival.wake_by_ref();
        }
    }

    fn is_over(&self) -> bool {
        self.ended.get() || self.closing.get()
    }

    /// Reads what the socket has, once.
    fn poll_read(&self, cx: &mut Context<'_>, reader: &mut Reader) -> Poll<io::Result<usize>> {
        let mut input = self.input.borrow_mut();
        if input.missing > READ_CHUNK {
            let missing = input.missing;
            input.query.reserve_exact(missing);
            let count = ready!(reader.poll_read_into(cx, input.query.append_to()))?;
            input.missing = missing.saturating_sub(count);
            input.query.note_peak();
            return Poll::Ready(Ok(count));
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let count = ready!(reader.poll_read(cx, buffer))?;
            input.query.extend(buffer.get(..count).unwrap_or_default());
            input.query.note_peak();
            Poll::Ready(Ok(count))
        })
    }

    /// Has what was read run with the next batch; `true` when the connection is to end.
    fn receive(self: &Rc<Self>, shared: &Shared, engine: &mut Engine, count: usize) -> bool {
        let server = &mut engine.server;
        server.stats.reads += 1;
        server.stats.bytes_in += count as u64;
        if let Some(client) = server.clients.get_mut(self.key) {
            client.bytes_in += count as u64;
            client.last_interaction_ms = server.now_ms;
            client.query = self.input.borrow().figures();
            if let Some(stream) = &mut client.primary {
                stream.received += count as i64;
                server.stats.primary_bytes_in += count as u64;
            }
            if let (true, Some(cluster)) = (client.imports_slots(), &mut server.cluster) {
                cluster.migrations.bytes_in += count as u64;
            }
        }
        server.weigh_client(self.key, 0);
        if server.closes_for_query(self.key, self.input.borrow().query.unread()) {
            return true;
        }
        shared.enqueue(self);
        false
    }
}

/// Registers the client of a connection that this server has made.
pub(super) fn add_client(server: &mut Server, socket: TcpStream) -> (ClientKey, (Reader, Writer)) {
    let show = |address: io::Result<SocketAddr>| address.map_or_else(|_| String::new(), |a| a.to_string());
    let (address, local_address) = (show(socket.peer_addr()), show(socket.local_addr()));
    let halves = stream::of_tcp(socket);
    let (now_ms, descriptor) = (server.now_ms, halves.1.descriptor());
    let key = server.clients.add(|key, id| Client {
        address,
        local_address,
        descriptor,
        ..Client::new(key, id, now_ms)
    });
    (key, halves)
}

/// Serves a connection until either side closes it.
pub(super) async fn serve(shared: Rc<Shared>, connection: Rc<Connection>) {
    shared.arrivals.note(connection.key);
    while !connection.is_over() {
        let wants_write = connection.wants_write.get();
        tokio::select! {
            biased;
            () = connection.attention.notified() => {}
            writable = connection.writer.writable(), if wants_write => {
                if writable.is_err() || !super::executor::flush(&shared, &connection) {
                    break;
                }
            }
        }
    }
    // What came right before the end is run all the same, before the client's place goes to another.
    while connection.queued.get() && !connection.closing.get() {
        tokio::task::yield_now().await;
    }
    connection.closing.set(true);
    connection.reader.take();
    shared.unregister(connection.key);
    shared.engine.borrow_mut().server.disconnect(connection.key);
    shared.taken.notify_one();
}
