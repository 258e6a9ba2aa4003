//! The task of a MIGRATE: connects to the other server, sends the keys and reads what became of them.
//!
//! The engine is borrowed only between rounds, never across an await. Connections are kept for ten seconds for the next
//! migration to the same server; one that turns out to be closed is made anew once.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Shared;
use crate::memory::{MemoryUsage, usable_size, vec_usage};
use crate::resp::CommandError;
use crate::server::migration::{Migration, Order, Round, push_request};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(10);
/// How many connections are kept.
const KEPT: usize = 64;
/// Bytes that one write may take its timeout for.
const CHUNK: usize = 64 * 1024;
/// The longest line that another server may answer with.
const LINE_MAX: usize = 64 * 1024;

/// Connections that wait for the next migration.
#[derive(Debug, Default)]
pub(super) struct Links(RefCell<Vec<Link>>);

impl MemoryUsage for Links {
    fn memory_usage(&self) -> usize {
        let links = self.0.borrow();
        let each = links.iter().map(|link| usable_size(link.name.capacity()) + vec_usage(&link.unread));
        vec_usage(&links) + each.sum::<usize>()
    }
}

/// A connection to another server.
#[derive(Debug)]
struct Link {
    /// `host:port`, as the request named them.
    name: String,
    socket: TcpStream,
    /// Bytes read and not yet looked at.
    unread: Vec<u8>,
    /// The database that was selected there.
    database: Option<i64>,
    last_used: Instant,
}

/// Why the exchange with another server ended early.
struct Broken {
    /// While sending, not while reading.
    writing: bool,
    timed_out: bool,
    round: Round,
}

/// Runs a migration to its end.
pub async fn migrate(shared: Rc<Shared>, migration: Box<Migration>) {
    let mut next = Some(migration);
    while let Some(migration) = next.take() {
        let round = run_round(&shared, &migration).await;
        next = shared.engine.borrow_mut().end_round(migration, round);
    }
    shared.wake_executor();
}

async fn run_round(shared: &Rc<Shared>, migration: &Migration) -> Round {
    let order = &migration.order;
    let mut may_retry = true;
    loop {
        let mut link = match link_to(shared, order).await {
            Ok(link) => link,
            Err(Unreachable { doing }) => {
                let error = CommandError::custom(format!("IOERR error or timeout {doing}"));
                return Round { error: Some(error), ..Round::default() };
            }
        };
        match link.exchange(migration).await {
            Ok(round) => {
                link.database = round.error.is_none().then_some(order.target_database);
                keep(shared, link);
                return round;
            }
            Err(broken) => {
                let Broken { writing, timed_out, mut round } = broken;
                let nothing_done = round.confirmed.is_empty() && round.error.is_none();
                if nothing_done && !timed_out && std::mem::replace(&mut may_retry, false) {
                    continue;
                }
                let doing = if writing { "writing" } else { "reading" };
                let text = format!("IOERR error or timeout {doing} to target instance");
                round.error.get_or_insert_with(|| CommandError::custom(text));
                return round;
            }
        }
    }
}

/// Why there is no connection, in Valkey's words. Its socket connects while it waits to write, so a refusal shows there.
struct Unreachable {
    doing: &'static str,
}

const CONNECTING: Unreachable = Unreachable { doing: "connecting to the client" };
const WRITING: Unreachable = Unreachable { doing: "writing to target instance" };

/// A connection that was kept, or a new one.
async fn link_to(shared: &Rc<Shared>, order: &Order) -> Result<Link, Unreachable> {
    let name = format!("{}:{}", order.host, order.port);
    let kept = {
        let mut links = shared.migration_links.0.borrow_mut();
        links.iter().position(|link| link.name == name).map(|index| links.swap_remove(index))
    };
    count(shared);
    if let Some(link) = kept {
        return Ok(link);
    }
    let connecting = async {
        let mut refusal = CONNECTING;
        for address in resolve(shared, order).await.map_err(|_| CONNECTING)? {
            match TcpStream::connect(address).await {
                Ok(socket) => return Ok(socket),
                Err(_) => refusal = WRITING,
            }
        }
        Err(refusal)
    };
    let patience = Duration::from_millis(order.timeout_ms);
    let socket = timeout(patience, connecting).await.map_err(|_| CONNECTING)??;
    // Without it the last bytes may only be late.
    let _ = socket.set_nodelay(true);
    Ok(Link { name, socket, unread: Vec::new(), database: None, last_used: Instant::now() })
}

/// The addresses of a host. Names are asked for by a helper thread.
async fn resolve(shared: &Rc<Shared>, order: &Order) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = (order.host.clone(), order.port);
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = oneshot::channel();
    let queue = shared.engine.borrow_mut().server.replication_helper()?;
    queue.submit(move |_| {
        // Whoever asked may have given up.
        let _ = tell.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect));
    });
    told.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
}

/// Keeps a connection for the next migration, for a while.
fn keep(shared: &Rc<Shared>, mut link: Link) {
    link.last_used = Instant::now();
    let mut links = shared.migration_links.0.borrow_mut();
    if links.len() >= KEPT {
        links.remove(0);
    }
    links.push(link);
    drop(links);
    count(shared);
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(IDLE).await;
        shared.migration_links.0.borrow_mut().retain(|link| link.last_used.elapsed() < IDLE);
        count(&shared);
    });
}

fn count(shared: &Shared) {
    shared.engine.borrow_mut().server.migrations.cached_sockets = shared.migration_links.0.borrow().len();
}

impl Link {
    /// Sends everything, then reads every reply.
    async fn exchange(&mut self, migration: &Migration) -> Result<Round, Broken> {
        let order = &migration.order;
        let patience = Duration::from_millis(order.timeout_ms);
        let mut opening = Vec::new();
        let mut openings = 0;
        if let Some(credentials) = &order.credentials {
            let user = credentials.user.as_deref();
            let args: Vec<&[u8]> =
                [Some(b"AUTH".as_slice()), user, Some(&credentials.password)].into_iter().flatten().collect();
            push_request(&mut opening, &args);
            openings += 1;
        }
        if self.database != Some(order.target_database) {
            push_request(&mut opening, &[b"SELECT", order.target_database.to_string().as_bytes()]);
            openings += 1;
        }
        let mut round = Round::default();
        let broken = |writing, error: &io::Error, round| Broken {
            writing,
            timed_out: error.kind() == io::ErrorKind::TimedOut,
            round,
        };
        for chunk in opening.chunks(CHUNK).chain(migration.requests.chunks(CHUNK)) {
            if let Err(error) = within(patience, self.socket.write_all(chunk)).await {
                return Err(broken(true, &error, round));
            }
        }
        let mut refused = false;
        for reply in 0..openings + migration.keys() {
            let line = match self.line(patience).await {
                Ok(line) => line,
                Err(error) => return Err(broken(false, &error, round)),
            };
            let failure = line.strip_prefix(b"-");
            if let Some(text) = failure {
                let text = [b"ERR Target instance replied with error: ".as_slice(), text].concat();
                round.error.get_or_insert_with(|| CommandError::custom(text));
            }
            if reply < openings {
                refused |= failure.is_some();
            } else {
                // What went to another database than was asked for is not where it should be.
                round.confirmed.push(failure.is_none() && !refused);
            }
        }
        Ok(round)
    }

    /// The next line, without its end.
    async fn line(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.unread.len() > LINE_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if within(patience, self.socket.read_buf(&mut self.unread)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

async fn within<T>(patience: Duration, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, doing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
