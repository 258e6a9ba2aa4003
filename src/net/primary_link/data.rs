//! What becomes of the data while a snapshot is loaded: the old goes when it must, the new comes batch by batch.

use super::{Failure, Link};
use crate::keyspace::Database;
use crate::net::await_aof;
use crate::persistence::{Batch, LoadError, LoadingMode, Transfer};
use crate::server::aof::AofState;
use crate::sys::clock;

/// Where the entries of a snapshot are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// In the place of the old data, which goes as soon as the snapshot has shown to be one.
    InPlace,
    /// The same, and the old data has gone.
    InItsPlace,
    /// Beside the old data, which goes when the new is whole.
    Aside,
}

/// A load under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Where its entries go.
    pub(super) target: Target,
    /// Where they come from, for the log.
    pub(super) source: &'static str,
}

impl Link {
    /// Ends what would copy pages while they change, or replace the file that is loaded.
    pub(super) async fn prepare_load(&self, from_disk: bool) -> Result<(), Failure> {
        // It could not be turned off without waiting.
        while self.engine()?.server.aof.is_changing() {
            if !await_aof(&self.shared).await {
                return Err(Failure::Superseded);
            }
        }
        let server = &mut self.engine()?.server;
        if server.aof.state() != AofState::Off {
            // A rewrite that is under way would copy every page, and its result would be of the old data.
            server.stop_aof();
        }
        if let Some(pid) = server.persistence.child_pid() {
            if from_disk {
                tracing::info!(
                    "Replica is about to load the RDB file received from the primary, but there is a pending RDB child \
                     running. Killing process {pid} and removing its temp file to avoid any race"
                );
            }
            server.persistence.kill_child();
        }
        Ok(())
    }

    /// From here on clients are told that data is being loaded.
    pub(super) fn begin_load(
        &self,
        target: Target,
        source: &'static str,
        total_bytes: u64,
    ) -> Result<(), Failure> {
        tracing::info!("PRIMARY <-> REPLICA sync: Loading DB in memory");
        let mut engine = self.engine()?;
        let engine = &mut *engine;
        let same_history = engine.server.follows_history_of_primary();
        let mode =
            if target == Target::Aside && same_history { LoadingMode::Aside } else { LoadingMode::Exclusive };
        if target == Target::Aside {
            let databases = engine.keyspace.databases().iter();
            engine.server.primary_link.aside = databases.map(Database::empty_like).collect();
        }
        engine.server.persistence.begin_receiving(total_bytes, mode, clock::unix_ms());
        if mode == LoadingMode::Exclusive {
            self.shared.brief_load.begin();
        }
        self.loading.set(Some(Load { target, source }));
        Ok(())
    }

    /// Puts a batch where it belongs.
    pub(super) fn put(
        &self,
        mut batch: Batch,
        transfer: &Transfer,
    ) -> Result<Result<(), LoadError>, Failure> {
        let mut engine = self.engine()?;
        let engine = &mut *engine;
        engine.server.primary_link.last_io_ms = clock::unix_ms();
        engine.server.persistence.note_received(&batch);
        transfer.set_key_delay(engine.server.config.key_load_delay);
        let names_keys = !engine.server.config.hide_user_data_from_log;
        let libraries = std::mem::take(&mut batch.functions);
        let load = self.loading.get();
        let databases = match load.map(|load| load.target) {
            Some(Target::Aside) => {
                engine.server.primary_link.aside_libraries.extend(libraries);
                return Ok(batch.put_into(&mut engine.server.primary_link.aside, names_keys));
            }
            Some(Target::InPlace) => {
                engine.server.leave_history();
                engine.server.forget_slot_migrations(&mut engine.keyspace);
                engine.empty_data();
                self.loading.set(load.map(|load| Load { target: Target::InItsPlace, ..load }));
                engine.keyspace.databases_mut()
            }
            _ => engine.keyspace.databases_mut(),
        };
        let put = batch.put_into(databases, names_keys);
        for source in libraries {
            engine.keyspace.add_library(source);
        }
        Ok(put)
    }

    /// The snapshot is whole.
    pub(super) fn finish_load(&self, diskless: bool) -> Result<(), Failure> {
        let mut engine = self.engine()?;
        let engine = &mut *engine;
        if self.loading.take().is_some_and(|load| load.target == Target::Aside) {
            engine.server.leave_history();
            engine.server.forget_slot_migrations(&mut engine.keyspace);
            tracing::info!("PRIMARY <-> REPLICA sync: Swapping active DB with loaded DB");
            engine.adopt_data_aside();
            tracing::info!("PRIMARY <-> REPLICA sync: Discarding old DB in background");
        }
        if diskless {
            // What is in memory is in no file.
            engine.keyspace.counters.changes += 1;
        }
        engine.server.primary_link.transfer_bytes = 0;
        engine.server.primary_link.transfer = None;
        engine.server.persistence.end_loading();
        self.shared.brief_load.end();
        Ok(())
    }

    /// Nothing is on its way any more.
    pub(super) fn forget_transfer(&self) {
        let link = &mut self.shared.engine.borrow_mut().server.primary_link;
        if link.attempt == self.attempt || !link.state.is_under_way() {
            (link.transfer_bytes, link.transfer) = (0, None);
        }
    }

    /// The load that is under way, if one is, will not be finished: half of a snapshot is of no use.
    pub(super) fn abandon_load(&self) {
        let Some(Load { target, source }) = self.loading.take() else { return };
        tracing::warn!(
            "Failed trying to load the PRIMARY synchronization DB from {source}, check server logs."
        );
        let engine = &mut *self.shared.engine.borrow_mut();
        engine.server.primary_link.transfer_bytes = 0;
        engine.server.persistence.end_loading();
        self.shared.brief_load.end();
        match target {
            Target::Aside => {
                tracing::info!("PRIMARY <-> REPLICA sync: Discarding temporary DB in background");
                engine.discard_data_aside();
            }
            Target::InPlace => {
                tracing::info!(
                    "PRIMARY <-> REPLICA sync: RDB version or signature incompatible, old data preserved"
                );
            }
            Target::InItsPlace => {
                tracing::info!("PRIMARY <-> REPLICA sync: Discarding the half-loaded data");
                engine.empty_data();
            }
        }
    }
}
