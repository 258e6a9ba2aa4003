//! Load data, build the server, run.

use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::commands;
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::memory::allocated_bytes;
use crate::net::{self, Shared};
use crate::persistence;
use crate::server::stats::Stats;
use crate::server::{self, Engine, Identity, Server, Task};
use crate::sys::clock;

/// Runs a server with this configuration until it is told to end; gives the exit code.
#[must_use]
pub fn run(config: Config, identity: Identity) -> i32 {
    clock::calibrate();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("Can't start the event loop: {error}");
            return 1;
        }
    };
    let (tasks, requests) = mpsc::unbounded_channel();
    let shared = Shared::new(build(config, identity, tasks));
    LocalSet::new().block_on(&runtime, serve(shared, requests))
}

fn build(config: Config, mut identity: Identity, tasks: mpsc::UnboundedSender<Task>) -> Engine {
    let commands = Box::leak(Box::new(commands::table()));
    let keyspace = Keyspace::new(config.databases as usize);
    identity.startup_bytes = allocated_bytes();
    let server = Server {
        limits: server::limits(&config),
        config,
        commands,
        clients: Default::default(),
        blocked: Default::default(),
        watched: Default::default(),
        events: Default::default(),
        monitors: Default::default(),
        stats: Stats::new(commands.ids()),
        persistence: persistence::State::default(),
        identity,
        pause: None,
        active_expiry: true,
        now_ms: clock::unix_ms(),
        tasks,
    };
    Engine { keyspace, server }
}

async fn serve(shared: Rc<Shared>, mut requests: mpsc::UnboundedReceiver<Task>) -> i32 {
    let _listeners = match net::open_listeners(&shared) {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::error!(
                "Could not create server TCP listening socket {}: {}",
                error.address,
                error.error
            );
            return 1;
        }
    };
    let executor = tokio::task::spawn_local(net::run_executor(Rc::clone(&shared)));
    while let Some(task) = requests.recv().await {
        if let Task::Shutdown(_) = task {
            break;
        }
    }
    executor.abort();
    0
}
