//! Listener, connection task, batch execution, flushing.
//!
//! Sockets that become readable are noted; the first one of a turn of the loop wakes the executor, which therefore runs
//! after every socket that was ready, reads them all, and treats all their requests as one batch.

mod arrivals;
mod bus;
mod connection;
mod cron;
mod executor;
mod file_save;
mod gathering;
mod listener;
mod migrate;
mod primary_link;
mod protocol_failure;
mod replicas;
mod slot_export;
mod snapshot_pipe;
mod stream;

pub use bus::{accept_bus, connect_bus, delete_lost_keys};
pub use cron::{defragments, run_cron, run_defragmentation};
pub use executor::run as run_executor;
pub use file_save::{await_aof, change_aof, load_users, resume_aof, save_file};
pub use listener::Listeners;
pub use migrate::migrate;
pub use replicas::send_snapshot;
pub use slot_export::{export_slots, send_slots};

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use arrivals::Arrivals;
use connection::Connection;

use crate::memory::{MemoryUsage, vec_usage};
use crate::server::{ClientKey, Engine};

/// What the tasks of the engine thread share. No borrow of it is held across an await.
pub struct Shared {
    /// The data and the state of the process.
    pub engine: RefCell<Engine>,
    /// By place of the client in the registry.
    connections: RefCell<Vec<Option<Rc<Connection>>>>,
    /// Connections that have read something since the last batch.
    ready: RefCell<Vec<Rc<Connection>>>,
    /// Connections whose sockets have something to read.
    arrivals: Arc<Arrivals>,
    /// Wakes the executor.
    wake: Arc<Notify>,
    /// Wakes the task that passes a snapshot on: a replica has taken what it was sent, or is gone.
    taken: Notify,
    /// Where the cron goes on with its round over the connections.
    next_checked: Cell<usize>,
    /// A load that clients are to notice only if it takes long.
    brief_load: primary_link::BriefLoad,
    /// Requests that turn the append-only file on or off take turns.
    aof_changes: Mutex<()>,
    /// The task that follows the primary.
    following: primary_link::Following,
    /// Connections that MIGRATE keeps.
    migration_links: migrate::Links,
}

impl Shared {
    /// Around an engine that nobody is connected to.
    #[must_use]
    pub fn new(engine: Engine) -> Rc<Self> {
        connection::prepare();
        let wake = engine.server.aof.wake();
        Rc::new(Self {
            engine: RefCell::new(engine),
            connections: RefCell::default(),
            ready: RefCell::default(),
            arrivals: Arrivals::new(Arc::clone(&wake)),
            wake,
            taken: Notify::new(),
            next_checked: Cell::new(0),
            brief_load: primary_link::BriefLoad::default(),
            aof_changes: Mutex::default(),
            following: primary_link::Following::default(),
            migration_links: migrate::Links::default(),
        })
    }

    /// Has the executor look at attention, pauses and deadlines, though nothing was read.
    pub fn wake_executor(&self) {
        self.wake.notify_one();
    }

    /// The same if something of that has come up outside of a batch.
    pub fn wake_if_needed(&self) {
        let server = &self.engine.borrow().server;
        if server.clients.has_attention() || server.replication.has_fed() || server.holds_replies() {
            self.wake.notify_one();
        }
    }

    /// The connection's requests are run with the next batch.
    fn enqueue(&self, connection: &Rc<Connection>) {
        if !connection.queued.replace(true) {
            self.ready.borrow_mut().push(Rc::clone(connection));
            self.wake.notify_one();
        }
    }

    /// Whether requests are known of that have not been run.
    fn has_requests(&self) -> bool {
        !self.ready.borrow().is_empty() || !self.arrivals.is_empty()
    }

    /// Bytes of the lists of connections.
    fn lists_usage(&self) -> usize {
        vec_usage(&self.connections.borrow())
            + vec_usage(&self.ready.borrow())
            + self.arrivals.memory_usage()
            + self.migration_links.memory_usage()
    }

    fn connection(&self, key: ClientKey) -> Option<Rc<Connection>> {
        self.connections.borrow().get(key.index())?.clone()
    }

    fn register(&self, connection: &Rc<Connection>) {
        let mut connections = self.connections.borrow_mut();
        let index = connection.key.index();
        if connections.len() <= index {
            connections.resize(index + 1, None);
        }
        connections[index] = Some(Rc::clone(connection));
    }

    fn unregister(&self, key: ClientKey) {
        if let Some(slot) = self.connections.borrow_mut().get_mut(key.index()) {
            *slot = None;
        }
    }
}
