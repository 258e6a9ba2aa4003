//! The executor: reads and parses what all ready connections have sent, prefetches what their keys need, runs the requests in
//! order, and writes each connection's replies at once.
//!
//! At pipelines the cache misses of look-ups decide the cost. So the keys of a batch are hashed while it is parsed, and
//! ahead of the running request they are taken in groups: the buckets of one, the entries of the nearer one, and what the
//! overflow blocks of the next one hold. Where an entry probably is, is noted then for the look-up.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::Instant;

use super::Shared;
use super::connection::{Connection, Input};
use super::gathering::{EndedTurn, Gathering};
use super::{protocol_failure, replicas, slot_export};
use crate::algorithms::hash::hash;
use crate::keyspace::{Database, KeyHash};
use crate::memory::{MemoryUsage, vec_usage};
use crate::resp::{ArgRange, Limits, Parser, Progress, ProtocolError, Reply};
use crate::server::command::{Args, TableEntry, indices_of, key_flag};
use crate::server::{ClientKey, Engine, Executed, OUTPUT_MIN, Prepared, Server};
use crate::sys::clock;

/// Requests of one connection in one batch; the rest waits its turn, so that nobody starves.
const REQUESTS_PER_CONNECTION: usize = 256;
/// Clients that always have something to read are served for so long before the reactor is asked who else is there, in ns.
const BUSY_MOST_NS: u64 = 1_000_000;
/// Requests that are prefetched together: more would push each other out of the first-level cache.
const REQUESTS_PER_PASS: usize = 256;
/// Keys whose memory is asked for together: so many that their misses overlap, so few that the first-level cache holds
/// three such groups.
const GROUP: usize = 16;
/// Keys of one request that are prefetched.
const KEYS_PER_REQUEST: usize = 16;
/// A reply buffer above this size is given back when it has been sent.
const OUTPUT_KEPT: usize = 16 * 1024;

/// Arguments that the batch's list keeps room for.
const ARGS_KEPT: usize = 4 * 1024;

/// One parsed request of the batch.
struct Parsed {
    /// Its first byte, from the first unread byte of its connection.
    start: usize,
    /// Its length in bytes.
    consumed: usize,
    /// Its arguments in the batch's list.
    args: std::ops::Range<usize>,
    /// Where its keys begin in the batch's list.
    first_key: usize,
    command: Option<&'static TableEntry>,
}

/// A connection's part of the batch.
struct Turn {
    connection: Rc<Connection>,
    requests: std::ops::Range<usize>,
    /// What ended the parsing, if not the end of the input.
    failure: Option<ProtocolError>,
    /// More requests may be there.
    more: bool,
}

/// The lists of a batch, kept for the next one.
#[derive(Default)]
struct Batch {
    turns: Vec<Turn>,
    requests: Vec<Parsed>,
    args: Vec<ArgRange>,
    /// The keys whose look-ups are prefetched.
    keys: Vec<KeyHash>,
    /// The command looked up last: requests of a pipeline are mostly alike.
    last: Option<&'static TableEntry>,
    /// Bytes of the lists of connections that the batch was made from.
    lists_bytes: usize,
}

/// Runs batches for ever.
pub async fn run(shared: Rc<Shared>) {
    let mut batch = Batch::default();
    // Changes places with the list that connections enter, so that neither is made anew for each batch.
    let mut ready = Vec::new();
    let mut arrived = Vec::new();
    let mut gathering = Gathering::new();
    let began = clock::ticks();
    let mut busy_since = began;
    loop {
        if !wait(&shared).await {
            busy_since = clock::ticks();
        } else if clock::nanoseconds_between(busy_since, clock::ticks()) > BUSY_MOST_NS {
            // Deferred until the reactor was asked: others may have come meanwhile.
            tokio::task::yield_now().await;
            busy_since = clock::ticks();
        }
        shared.brief_load.sit_out().await;
        let started = clock::ticks();
        // Reading has its own measure, not the one by which the runtime makes tasks take turns.
        let reading = poll_fn(|_| Poll::Ready(receive(&shared, &mut arrived, &mut gathering)));
        let served = unconstrained(reading).await;
        std::mem::swap(&mut *shared.ready.borrow_mut(), &mut ready);
        batch.lists_bytes = vec_usage(&ready) + vec_usage(&arrived);
        let mut engine = shared.engine.borrow_mut();
        let commands_before = engine.server.stats.commands_processed;
        engine.server.hear_of_aof();
        release(&shared, &mut engine);
        engine.expire_blocked();
        for connection in ready.drain(..) {
            connection.begin_turn();
            batch.parse(&mut engine, connection);
            if batch.requests.len() >= REQUESTS_PER_PASS {
                batch.execute(&shared, &mut engine);
            }
        }
        batch.execute(&shared, &mut engine);
        engine.continue_script();
        engine.server.scripting.collect_garbage();
        engine.continue_eviction();
        engine.server.broadcast_invalidations();
        engine.server.flush_aof(false);
        attend(&shared, &mut engine);
        engine.settle_cluster();
        engine.server.evict_clients();
        attend(&shared, &mut engine);
        let stats = &mut engine.server.stats;
        let commands = stats.commands_processed.saturating_sub(commands_before);
        let ended = clock::ticks();
        let lasted_ns = clock::nanoseconds_between(started, ended);
        stats.event_loop.count(lasted_ns, commands);
        let turn = EndedTurn { at_ns: clock::nanoseconds_between(began, ended), lasted_ns, served };
        let most = Duration::from_micros(engine.server.config.request_gathering_max_us.into());
        let pause = gathering.pause_after(turn, most);
        if let (Some(pause), false) = (pause, has_work(&engine.server) || shared.has_requests()) {
            std::thread::sleep(pause);
        }
    }
}

/// Whether there is something to do though nobody sends anything.
fn has_work(server: &Server) -> bool {
    server.eviction.is_unfinished() || server.scripting.is_busy() || server.scripting.has_garbage()
}

/// Reads every connection that has something to read, and says how many.
fn receive(shared: &Shared, arrived: &mut Vec<ClientKey>, gathering: &mut Gathering) -> usize {
    let mut engine = shared.engine.borrow_mut();
    engine.server.now_ms = clock::unix_ms();
    shared.arrivals.swap(arrived);
    let served = arrived.len();
    for key in arrived.drain(..) {
        if let Some(connection) = shared.connection(key) {
            connection.active_in.set(gathering.count(connection.active_in.get()));
            connection.read(shared, &mut engine);
        }
    }
    served
}

/// Until a connection has something to read, or a blocked client's time is over; while there is room to be made, only for
/// the other tasks' turn. Says whether there was no need to wait.
async fn wait(shared: &Shared) -> bool {
    let (deadline_ms, has_work) = {
        let server = &shared.engine.borrow().server;
        (server.blocked.next_deadline_ms(), has_work(server))
    };
    if has_work {
        tokio::task::yield_now().await;
        return false;
    }
    let mut woken = pin!(shared.wake.notified());
    let at_once = poll_fn(|cx| Poll::Ready(woken.as_mut().poll(cx).is_ready())).await;
    if at_once {
        return true;
    }
    match deadline_ms {
        None => woken.await,
        Some(deadline_ms) => {
            let left = u64::try_from(deadline_ms - clock::unix_ms()).unwrap_or(0);
            let deadline = Instant::now() + Duration::from_millis(left);
            let _ = tokio::time::timeout_at(deadline, woken).await;
        }
    }
    false
}

impl Batch {
    /// Parses a connection's requests into the batch and hashes their keys.
    fn parse(&mut self, engine: &mut Engine, connection: Rc<Connection>) {
        if connection.closing.get() {
            // Its place may be another's by now.
            return;
        }
        let Some(client) = engine.server.clients.get(connection.key) else { return };
        if client.blocked.is_some()
            || client.close_after_reply
            || client.close_now
            || engine.server.scripting.is_of(connection.key)
        {
            return;
        }
        let database = client.database;
        let limits = Limits {
            authenticated: client.authenticated || engine.server.acl.is_open(),
            max_bulk_len: usize::try_from(engine.server.config.proto_max_bulk_len).unwrap_or(usize::MAX),
            from_primary: client.primary.is_some() || client.imports_slots(),
        };
        // A request may lift the limits of those after it.
        let most = if limits.authenticated { REQUESTS_PER_CONNECTION } else { 1 };
        let first = self.requests.len();
        let mut turn =
            Turn { connection: Rc::clone(&connection), requests: first..first, failure: None, more: false };
        let mut input = connection.input.borrow_mut();
        let Input { query, parser, missing } = &mut *input;
        let unread = query.unread_mut();
        let mut start = 0;
        *missing = 0;
        loop {
            if self.requests.len() - first == most {
                turn.more = true;
                break;
            }
            let first_arg = self.args.len();
            let request = unread.get_mut(start..).unwrap_or_default();
            match parser.parse(request, &limits, &mut self.args) {
                Progress::Request { consumed } => {
                    let args = Args::new(request, &self.args[first_arg..]);
                    let command = find(engine, &mut self.last, args);
                    let first_key = self.keys.len();
                    hash_keys(command, database, args, &mut self.keys);
                    let args = first_arg..self.args.len();
                    self.requests.push(Parsed { start, consumed, args, first_key, command });
                    start += consumed;
                }
                Progress::Empty { consumed } => {
                    // Nothing to run; an empty request of no arguments keeps its place in the input.
                    let (args, first_key) = (first_arg..first_arg, self.keys.len());
                    self.requests.push(Parsed { start, consumed, args, first_key, command: None });
                    start += consumed;
                }
                Progress::Incomplete { missing: lacking } => {
                    *missing = lacking;
                    break;
                }
                Progress::Error(error) => {
                    turn.failure = Some(error);
                    break;
                }
            }
        }
        turn.requests = first..self.requests.len();
        drop(input);
        self.turns.push(turn);
    }

    /// Runs what was parsed, and writes the replies.
    fn execute(&mut self, shared: &Shared, engine: &mut Engine) {
        engine.server.connection_lists_bytes = shared.lists_usage() + self.memory_usage();
        let turns = std::mem::take(&mut self.turns);
        let mut ahead = Ahead::of(std::mem::take(&mut self.keys));
        for turn in &turns {
            self.run_turn(shared, engine, turn, &mut ahead);
        }
        if engine.server.aof.writes_first() {
            engine.server.flush_aof(false);
        }
        for turn in &turns {
            let _ = write_output(shared, engine, &turn.connection);
        }
        (self.turns, self.keys) = (turns, ahead.keys);
        self.turns.clear();
        self.requests.clear();
        self.args.clear();
        self.args.shrink_to(ARGS_KEPT);
        self.keys.clear();
    }

    /// Runs a connection's requests.
    fn run_turn(&self, shared: &Shared, engine: &mut Engine, turn: &Turn, ahead: &mut Ahead) {
        let connection = &turn.connection;
        let record = engine.server.clients.get_mut(connection.key);
        // One that was closed by an earlier request of the batch is heard no more.
        let Some(client) = record.filter(|client| !client.close_now) else { return };
        let mut reply = std::mem::take(&mut client.output);
        reply.begin(OUTPUT_MIN);
        engine.server.ticks = clock::ticks();
        let mut input = connection.input.borrow_mut();
        client.query = input.figures();
        let (consumed, stopped) = self.run_requests(engine, turn, input.query.unread(), &mut reply, ahead);
        input.query.consume(consumed);
        if stopped {
            // What was parsed ahead and not run will be parsed again.
            input.parser = Parser::new();
        }
        let figures = input.figures();
        drop(input);
        if let (Some(failure), false) = (&turn.failure, stopped) {
            protocol_failure::report(engine, connection, failure, &mut reply);
        }
        if let Some(client) = engine.server.clients.get_mut(connection.key) {
            client.query = figures;
            client.output = reply;
        }
        if turn.more && !stopped {
            shared.enqueue(connection);
        }
    }

    /// Runs a connection's requests in order; gives the bytes that are done with, and whether it stopped early.
    fn run_requests(
        &self,
        engine: &mut Engine,
        turn: &Turn,
        unread: &[u8],
        reply: &mut Reply,
        ahead: &mut Ahead,
    ) -> (usize, bool) {
        let key = turn.connection.key;
        let mut done = 0;
        let from_primary = engine.server.clients.get(key).is_some_and(|client| client.primary.is_some());
        let mut is_clear = engine.way_is_clear(key);
        for request in &self.requests[turn.requests.clone()] {
            let end = request.start + request.consumed;
            ahead.look(engine, request.first_key);
            let bytes = unread.get(request.start..end).unwrap_or_default();
            let args = Args::new(bytes, &self.args[request.args.clone()]);
            // Where the request has no key, this is another one's, and is known by its address.
            let hint = ahead.keys.get(request.first_key);
            let executed = match request.command {
                Some(entry) if is_clear && entry.command.is_data() => {
                    engine.execute_data(key, entry, hint, args, reply)
                }
                None if args.is_empty() => Executed::Done,
                command => {
                    let executed = engine.execute(key, Prepared { command, hint }, args, reply);
                    is_clear = engine.way_is_clear(key);
                    executed
                }
            };
            match executed {
                Executed::Done => {}
                Executed::Blocked => return (end, true),
                Executed::Paused => return (done, true),
            }
            done = end;
            if is_clear {
                // It is nobody's primary, and stays.
                continue;
            }
            if from_primary {
                engine.server.note_applied(key, bytes);
            }
            let closing = engine
                .server
                .clients
                .get(key)
                .is_none_or(|client| client.close_after_reply || client.close_now);
            if closing {
                return (done, true);
            }
        }
        (done, false)
    }
}

impl MemoryUsage for Batch {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.turns)
            + vec_usage(&self.requests)
            + vec_usage(&self.args)
            + vec_usage(&self.keys)
            + self.lists_bytes
    }
}

/// How far ahead of the running request memory was asked for.
struct Ahead {
    keys: Vec<KeyHash>,
    /// Keys whose buckets were asked for.
    buckets: usize,
    /// Keys whose entries were asked for, or the overflow blocks where they may be.
    entries: usize,
    /// Keys whose entries in overflow blocks were asked for.
    overflow: usize,
}

impl Ahead {
    fn of(keys: Vec<KeyHash>) -> Self {
        Self { keys, buckets: 0, entries: 0, overflow: 0 }
    }

    /// Asks for what the keys from `key` on will need.
    #[inline]
    fn look(&mut self, engine: &Engine, key: usize) {
        if key >= self.overflow && key < self.keys.len() {
            self.ask(engine.keyspace.databases(), key);
        }
    }

    fn ask(&mut self, databases: &[Database], key: usize) {
        let Self { keys, buckets, entries, overflow } = self;
        let table = |key: &KeyHash| databases.get(key.database).map(Database::table);
        for key in group(keys, buckets, key + 3 * GROUP) {
            if let Some(table) = table(key) {
                table.prefetch_bucket(key.hash);
            }
        }
        for key in group(keys, entries, key + 2 * GROUP) {
            key.position = table(key).and_then(|table| table.prefetch_element(key.hash));
        }
        for key in group(keys, overflow, key + GROUP) {
            if key.position.is_none() {
                key.position = table(key).and_then(|table| table.prefetch_overflow(key.hash));
            }
        }
    }
}

/// The keys from `done` on up to `until`, which are done then.
fn group<'a>(keys: &'a mut [KeyHash], done: &mut usize, until: usize) -> &'a mut [KeyHash] {
    let until = until.min(keys.len());
    let from = std::mem::replace(done, until.max(*done));
    keys.get_mut(from..until).unwrap_or_default()
}

/// Looks a command up; the one looked up last is tried first.
fn find(
    engine: &Engine,
    last: &mut Option<&'static TableEntry>,
    args: Args<'_>,
) -> Option<&'static TableEntry> {
    if let Some(entry) = *last
        && entry.subcommands.is_empty()
        && entry.full_name.as_bytes().eq_ignore_ascii_case(args.at(0))
    {
        return entry.command.accepts(args.len()).then_some(entry);
    }
    let found = engine.server.commands.find(args).ok();
    // Who is called by another name must not be found by its own.
    *last = found.filter(|entry| !entry.is_renamed);
    found
}

/// Hashes a request's keys, those at least that its first specification tells.
fn hash_keys(command: Option<&'static TableEntry>, database: usize, args: Args<'_>, keys: &mut Vec<KeyHash>) {
    let Some(spec) = command.and_then(|entry| entry.command.keys.first()) else { return };
    if spec.flags & key_flag::NOT_KEY != 0 {
        return;
    }
    let mut push = |key: &[u8]| {
        let address = key.as_ptr() as usize;
        keys.push(KeyHash { address, hash: hash(key), database, position: None });
    };
    match spec.single() {
        Some(index) => push(args.at(index)),
        None => indices_of(spec, args)
            .into_iter()
            .flatten()
            .take(KEYS_PER_REQUEST)
            .filter_map(|index| args.get(index))
            .for_each(push),
    }
}

/// Connections whose records changed outside of their own turn: output to send, a wait that is over, an order to close.
fn attend(shared: &Shared, engine: &mut Engine) {
    replicas::follow_batch(shared, engine);
    for key in engine.server.clients.take_attention() {
        let Some(connection) = shared.connection(key) else { continue };
        let _ = write_output(shared, engine, &connection);
        give_back(engine, key);
        let waits = engine.server.clients.get(key).is_none_or(|client| client.blocked.is_some())
            || engine.server.scripting.is_of(key);
        if !waits && !connection.input.borrow().query.is_empty() {
            shared.enqueue(&connection);
        }
    }
}

/// What a buffer grew by to tell a client of others' doings is given back once that is sent, where memory is limited:
/// else telling of evictions would lead to further ones.
fn give_back(engine: &mut Engine, key: ClientKey) {
    let server = &mut engine.server;
    if server.config.maxmemory > 0
        && let Some(client) = server.clients.get_mut(key)
        && client.output.is_empty()
    {
        client.output.shrink_to(OUTPUT_MIN);
        server.weigh_client(key, 0);
    }
}

/// Sends replies that waited for a sync of the append-only file which has ended.
fn release(shared: &Shared, engine: &mut Engine) {
    for key in engine.server.take_held() {
        if let Some(connection) = shared.connection(key) {
            let _ = write_output(shared, engine, &connection);
        }
    }
}

/// Sends what the socket takes of the output; `false` when the connection is to end.
pub(super) fn flush(shared: &Shared, connection: &Connection) -> bool {
    write_output(shared, &mut shared.engine.borrow_mut(), connection)
}

pub(super) fn write_output(shared: &Shared, engine: &mut Engine, connection: &Connection) -> bool {
    let server = &mut engine.server;
    if server.closes_for_output(connection.key) {
        // Its task ends in its own time; what it holds goes now.
        connection.input.take();
        if let Some(client) = server.clients.get_mut(connection.key) {
            client.output = Reply::new(client.output.protocol());
            client.query = Default::default();
        }
        return close(connection);
    }
    let mut sendable = server.sendable(connection.key);
    let Some(client) = server.clients.get_mut(connection.key) else { return close(connection) };
    while sendable > 0 {
        match connection.writer.try_write(client.output.as_slice().get(..sendable).unwrap_or_default()) {
            Ok(count) => {
                sendable -= count;
                server.stats.writes += 1;
                server.stats.bytes_out += count as u64;
                client.bytes_out += count as u64;
                client.output.discard_front(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                server.weigh_client(connection.key, 0);
                connection.wants_write.set(true);
                connection.alert();
                return true;
            }
            Err(_) => return close(connection),
        }
    }
    if !client.output.is_empty() {
        // The rest waits for the append-only file.
        connection.wants_write.set(false);
        return true;
    }
    client.output.shrink_to(OUTPUT_KEPT);
    let closing = client.close_after_reply;
    if client.replica.is_some() && !closing {
        return replicas::feed(shared, engine, connection);
    }
    if let Some(link) = client.slot_link.filter(|_| !closing) {
        return slot_export::feed(shared, engine, connection, link);
    }
    client.over_soft_limit_since_ms = None;
    connection.wants_write.set(false);
    server.weigh_client(connection.key, 0);
    if closing { close(connection) } else { true }
}

pub(super) fn close(connection: &Connection) -> bool {
    connection.closing.set(true);
    connection.alert();
    false
}
