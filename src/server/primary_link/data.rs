//! The data on its way from one primary to the next: emptied, put aside, exchanged.

use std::io;
use std::path::Path;

use crate::memory;
use crate::server::aof::AofState;
use crate::server::{Engine, Server};
use crate::sys::barrier::JobQueue;

impl Engine {
    /// Deletes every key of every database, as a replica does before new data comes (`replica-lazy-flush`).
    pub fn empty_data(&mut self) {
        self.server.fail_slot_migrations_for_flush(&mut self.keyspace);
        let lazily = self.server.config.replica_lazy_flush;
        for database in 0..self.keyspace.databases().len() {
            self.tell_of_exchange(database);
            let db = &mut self.keyspace.databases_mut()[database];
            self.server.background.free_database(db.take(), lazily);
        }
        self.forget_libraries();
    }

    fn forget_libraries(&mut self) {
        self.keyspace.set_libraries(Vec::new());
        let functions = self.server.scripting.functions.flush();
        self.server.background.free_scripts(functions, true);
    }

    /// Has the append-only file turned on again that a synchronization had turned off: with the file that the snapshot was
    /// loaded from, if there is one and it may be, else with a rewrite. What fails is tried again by the cron.
    pub fn restart_aof(&mut self, snapshot: Option<&Path>) {
        let server = &mut self.server;
        if !server.config.appendonly || server.aof.state() != AofState::Off {
            return;
        }
        let snapshot = snapshot.filter(|_| server.config.aof_use_rdb_preamble);
        if !snapshot.is_some_and(|snapshot| server.start_aof_with(snapshot)) {
            server.resume_aof();
        }
    }

    /// Puts the data that was loaded beside in the place of the old, which is freed.
    pub fn adopt_data_aside(&mut self) {
        let aside = std::mem::take(&mut self.server.primary_link.aside);
        for (database, new) in aside.into_iter().enumerate() {
            self.tell_of_exchange(database);
            if let Some(db) = self.keyspace.databases_mut().get_mut(database) {
                self.server.background.free_database(std::mem::replace(db, new), true);
            }
        }
        self.forget_libraries();
        for source in std::mem::take(&mut self.server.primary_link.aside_libraries) {
            self.keyspace.add_library(source);
        }
        self.serve_blocked();
    }

    /// Frees data that was loaded beside and will not be used.
    pub fn discard_data_aside(&mut self) {
        self.server.primary_link.aside_libraries = Vec::new();
        for database in std::mem::take(&mut self.server.primary_link.aside) {
            self.server.background.free_database(database, true);
        }
    }

    /// Every key of a database may become another one.
    fn tell_of_exchange(&mut self, database: usize) {
        self.server.own_expiries.forget_all();
        let Server { watched, clients, blocked, .. } = &mut self.server;
        watched.touch_database(clients, database, |_| true);
        blocked.database_written(database);
    }
}

impl Server {
    /// The thread that receives snapshots and asks for addresses.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub fn replication_helper(&mut self) -> io::Result<JobQueue> {
        if let Some(queue) = &self.primary_link.helper {
            return Ok(queue.clone());
        }
        let before = memory::allocated_bytes();
        let queue = self.background.threads.spawn("replication", memory::register_thread)?;
        self.primary_link.helper_bytes = memory::allocated_bytes().saturating_sub(before);
        self.primary_link.helper = Some(queue.clone());
        Ok(queue)
    }

    /// Whether the data is of the history that the primary has announced, at another time.
    #[must_use]
    pub fn follows_history_of_primary(&self) -> bool {
        self.primary_link.announced == Some(self.replication.id)
    }

    /// Whether neither snapshots nor an append-only file are to be kept.
    #[must_use]
    pub fn keeps_no_files(&self) -> bool {
        self.config.save.0.is_empty() && !self.config.appendonly
    }
}
