//! Loading the data at start, and the task that watches a child that saves.

use std::rc::Rc;

use crate::net::{Shared, await_aof};
use crate::persistence::{Expired, LoadError, LoadOptions, Loader, watch};
use crate::server::aof::{AofState, Reload, Replay};
use crate::server::{Engine, Server};
use crate::sys::clock;
use crate::{log, tools};

/// Expired fields of a hash in one HDEL to the replicas at most.
const FIELDS_TOLD: usize = 1024;

/// The data could not be loaded; the log says why.
#[derive(Debug)]
pub(super) struct NotLoaded;

/// Loads the snapshot, if there is one, and gives way to the event loop now and then: clients are told to wait, INFO
/// shows how far it is. Nothing is borrowed across an await.
///
/// # Errors
/// The file is there and cannot be loaded. It is as it was.
pub(super) async fn load(shared: &Shared) -> Result<(), NotLoaded> {
    if shared.engine.borrow().server.aof.state() == AofState::On {
        return load_aof(shared).await.map_err(|lines| {
            lines.iter().for_each(|line| tracing::warn!("{line}"));
            NotLoaded
        });
    }
    let started_us = clock::monotonic_us();
    let opened = open(&mut shared.engine.borrow_mut());
    let (mut loader, step_bytes) = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(()),
        Err(error) => return Err(refuse(shared, &error)),
    };
    loop {
        let done = step(&mut shared.engine.borrow_mut(), &mut loader, step_bytes);
        match done {
            Ok(false) => give_way().await,
            Ok(true) => break,
            Err(error) => return Err(refuse(shared, &error)),
        }
    }
    shared.engine.borrow_mut().server.persistence.end_loading();
    let seconds = (clock::monotonic_us() - started_us) as f64 / 1e6;
    tracing::info!("DB loaded from disk: {seconds:.3} seconds");
    Ok(())
}

/// Loads the append-only file, if there is one, and opens it for what comes now.
async fn load_aof(shared: &Shared) -> Result<(), Vec<String>> {
    let started_us = clock::monotonic_us();
    let (begun, step_bytes) = {
        let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
        (Replay::begin(keyspace, server, true)?, loading_step(server))
    };
    if let Some(mut replay) = begun {
        loop {
            let done = {
                let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
                replay.step(keyspace, server, step_bytes)?
            };
            if done {
                break;
            }
            give_way().await;
        }
        replay.end(&mut shared.engine.borrow_mut().server);
        let seconds = (clock::monotonic_us() - started_us) as f64 / 1e6;
        tracing::info!("DB loaded from append only file: {seconds:.3} seconds");
    }
    {
        let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
        server.open_aof(keyspace).map_err(|line| vec![line])?;
        server.clean_aof_history();
    }
    // The manifest says so before the server is ready.
    await_aof(shared).await;
    Ok(())
}

/// Starts the task that loads the append-only file anew while the server runs.
pub(super) fn reload_aof(shared: &Rc<Shared>, mut reload: Box<Reload>) {
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        let step_bytes = loading_step(&shared.engine.borrow().server);
        let outcome = loop {
            let done = {
                let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
                reload.replay.step(keyspace, server, step_bytes)
            };
            match done {
                Ok(false) => give_way().await,
                Ok(true) => break Ok(()),
                Err(lines) => break Err(lines),
            }
        };
        {
            let mut engine = shared.engine.borrow_mut();
            let Engine { keyspace, server } = &mut *engine;
            reload.end(keyspace, server, outcome);
            engine.serve_blocked();
        }
        shared.wake_if_needed();
    });
}

/// Bytes of a snapshot that are loaded between two looks at the event loop.
fn loading_step(server: &Server) -> u64 {
    u64::try_from(server.config.loading_process_events_interval_bytes).unwrap_or(u64::MAX)
}

/// Lets the event loop turn often enough that a request goes from its socket through its connection's task and the
/// executor (Valkey: the four rounds of `processEventsWhileBlocked`).
async fn give_way() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

fn open(engine: &mut Engine) -> Result<Option<(Loader, u64)>, LoadError> {
    let Engine { keyspace, server } = engine;
    let mut options = LoadOptions::new(&server.config, server.limits, keyspace.access_policy);
    // What has expired is for the primary to delete.
    options.drop_expired &= !server.replication.is_replica();
    let Some(loader) = Loader::open(server.config.dbfilename.as_path(), options)? else { return Ok(None) };
    server.persistence.begin_loading(&loader, clock::unix_ms());
    Ok(Some((loader, loading_step(server))))
}

fn step(engine: &mut Engine, loader: &mut Loader, bytes: u64) -> Result<bool, LoadError> {
    let done = loader.step(&mut engine.keyspace, clock::unix_ms(), bytes);
    let server = &mut engine.server;
    server.persistence.note_loading(loader);
    server.resume_history(loader.origin());
    if matches!(done, Ok(true)) {
        server.adopt_slot_imports(&mut engine.keyspace, &loader.origin().slot_imports);
    }
    for (database, expired) in loader.take_expired() {
        match expired {
            Expired::Key(key) => {
                server.propagate_deletion(database, &key, server.config.lazyfree_lazy_expire);
            }
            Expired::Fields(key, fields) => {
                for fields in fields.chunks(FIELDS_TOLD) {
                    server.propagate_field_deletion(database, &key, fields);
                }
            }
        }
        server.end_unit_of_independent();
    }
    done
}

fn refuse(shared: &Shared, error: &LoadError) -> NotLoaded {
    let file = shared.engine.borrow().server.config.dbfilename.clone();
    // The reason itself comes last, where it is looked for.
    if error.is_damage() {
        log::write_raw(&tools::examine(file.as_path()));
    }
    for line in error.lines(file.as_path()) {
        tracing::warn!("{line}");
    }
    tracing::warn!(
        "{}",
        if error.is_damage() {
            "Terminating server after rdb file reading failure."
        } else {
            "Fatal error loading the DB, check server logs. Exiting."
        }
    );
    NotLoaded
}

/// Starts the task that watches the child which has just been forked.
pub(super) fn watch_child(shared: &Rc<Shared>) {
    let Some(child) = shared.engine.borrow_mut().server.persistence.take_watched() else { return };
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        watch(child, |news| {
            let gone = {
                let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
                server.hear_of_child(keyspace, &news)
            };
            shared.wake_if_needed();
            gone
        })
        .await;
    });
}
