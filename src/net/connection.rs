//! A connection: its socket, the bytes it has read, and the task that reads and flushes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::sync::Notify;

use super::Shared;
use super::stream::{Reader, Writer};
use crate::memory::MemoryUsage;
use crate::resp::Parser;
use crate::resp::QueryBuffer;
use crate::server::ClientKey;
use crate::server::client::QueryFigures;

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
    pub(super) writer: Writer,
    pub(super) input: RefCell<Input>,
    /// In the list of the next batch.
    pub(super) queued: Cell<bool>,
    /// Wakes the task: output is left over, or the client has to be closed.
    pub(super) attention: Notify,
    /// Output is left over that the socket did not take.
    pub(super) wants_write: Cell<bool>,
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
    pub(super) fn new(key: ClientKey, writer: Writer) -> Rc<Self> {
        Rc::new(Self {
            key,
            writer,
            input: RefCell::default(),
            queued: Cell::new(false),
            attention: Notify::new(),
            wants_write: Cell::new(false),
            closing: Cell::new(false),
        })
    }

    /// Asks the task to look at `wants_write` and `closing`.
    pub(super) fn alert(&self) {
        self.attention.notify_one();
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
}

/// Serves a connection until either side closes it.
pub(super) async fn serve(shared: Rc<Shared>, connection: Rc<Connection>, mut reader: Reader) {
    while !connection.closing.get() {
        let wants_write = connection.wants_write.get();
        let done = tokio::select! {
            biased;
            () = connection.attention.notified() => false,
            read = poll_fn(|cx| connection.poll_read(cx, &mut reader)) => match read {
                Ok(0) | Err(_) => true,
                Ok(count) => receive(&shared, &connection, count),
            },
            writable = connection.writer.writable(), if wants_write => {
                writable.is_err() || !super::executor::flush(&shared, &connection)
            }
        };
        if done {
            break;
        }
    }
    // What came right before the end is run all the same, before the client's place goes to another.
    while connection.queued.get() && !connection.closing.get() {
        tokio::task::yield_now().await;
    }
    connection.closing.set(true);
    shared.unregister(connection.key);
    shared.engine.borrow_mut().server.disconnect(connection.key);
    shared.taken.notify_one();
}

/// Has what was read run with the next batch; `true` when the connection is to end.
fn receive(shared: &Rc<Shared>, connection: &Rc<Connection>, count: usize) -> bool {
    let mut engine = shared.engine.borrow_mut();
    let server = &mut engine.server;
    server.stats.reads += 1;
    server.stats.bytes_in += count as u64;
    if let Some(client) = server.clients.get_mut(connection.key) {
        client.bytes_in += count as u64;
        client.last_interaction_ms = server.now_ms;
        client.query = connection.input.borrow().figures();
        if let Some(stream) = &mut client.primary {
            stream.received += count as i64;
            server.stats.primary_bytes_in += count as u64;
        }
    }
    server.weigh_client(connection.key, 0);
    if server.closes_for_query(connection.key, connection.input.borrow().query.unread()) {
        return true;
    }
    drop(engine);
    shared.enqueue(connection);
    false
}
