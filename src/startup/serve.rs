//! Builds the server and runs its event loop: connections, signals, and what happens at intervals.

use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{banner, cluster, saving, system_checks};
use crate::config::Config;
use crate::keyspace::Keyspace;
use crate::log;
use crate::memory;
use crate::net::{self, Listeners, Shared};
use crate::persistence;
use crate::server::acl::UserLine;
use crate::server::cluster::BUS_PORT_OFFSET;
use crate::server::command::CommandTable;
use crate::server::stats::Stats;
use crate::server::{
    self, Background, Cron, Engine, Identity, Listening, OomScore, Server, Task, open_files, process_title,
    shutdown,
};
use crate::sys::{clock, crash, signals};

/// Tasks that run before the sockets are asked again. While tasks are ready asking is a wasted system call, and the batch
/// of a turn must not be cut short: connections up to this many are one batch.
const TASKS_PER_POLL: u32 = 1024;

/// The server could not start or go on; the log says why.
#[derive(Debug)]
pub(super) struct Stopped;

/// Runs the server. It ends by `exit`, so this returns only when it cannot run.
pub(super) fn run(
    mut config: Config,
    identity: Identity,
    commands: CommandTable,
    users: &[UserLine],
) -> Result<Infallible, Stopped> {
    open_files::adjust(&mut config).map_err(stop_for)?;
    let log = log::descriptor().map_err(stop_for)?;
    let unfinished = format!("temp-{}.rdb", std::process::id());
    signals::install(log.as_raw_fd(), &unfinished).map_err(stop_for)?;
    crash::install(log.as_raw_fd(), config.crash_log_enabled).map_err(stop_for)?;
    // The handlers of signals write to it for as long as the process lives.
    std::mem::forget(log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_PER_POLL)
        .build()
        .map_err(stop_for)?;
    let (tasks, requests) = mpsc::unbounded_channel();
    let mut engine = build(config, identity, commands, tasks).map_err(stop_for)?;
    define_users(&mut engine.server, users)?;
    process_title::show(&engine.server);
    banner::logo(&engine.server.config);
    system_checks::warn_of_backlog(&engine.server.config);
    memory::set_background_purge(engine.server.config.jemalloc_bg_thread);
    LocalSet::new().block_on(&runtime, serve(Shared::new(engine), requests))
}

/// Users come from the configuration or from a file of their own.
fn define_users(server: &mut Server, users: &[UserLine]) -> Result<(), Stopped> {
    let title = server.title().name();
    let has_file = !server.config.aclfile.as_str().is_empty();
    if has_file && !users.is_empty() {
        return Err(stop_for(format!(
            "Configuring {title} with users defined in valkey.conf and at the same setting an ACL file path is invalid. \
             This setup is very likely to lead to configuration errors and security holes, please define either an ACL \
             file or declare users directly in your valkey.conf, but not both."
        )));
    }
    server.define_users(users).map_err(|reason| {
        tracing::warn!("{reason}");
        stop_for("Critical error while loading ACLs. Exiting.")
    })?;
    if has_file && let Err(faults) = server.load_users(None) {
        let faults = String::from_utf8_lossy(&faults);
        return Err(stop_for(format!("Aborting {title} startup because of ACL errors: {faults}")));
    }
    Ok(())
}

fn stop_for(reason: impl std::fmt::Display) -> Stopped {
    tracing::warn!("{reason}");
    Stopped
}

/// A server without data and without connections: what [`super::run`] serves, and what tests run in process.
///
/// # Errors
/// The system's, when it gives no helper thread.
pub fn build(
    config: Config,
    identity: Identity,
    commands: CommandTable,
    tasks: mpsc::UnboundedSender<Task>,
) -> std::io::Result<Engine> {
    // Requests that wait refer to it, for as long as the process lives.
    let commands = Box::leak(Box::new(commands));
    let mut keyspace = Keyspace::new(config.database_count());
    let mut background = Background::start(memory::register_thread)?;
    let mut server = Server {
        limits: server::limits(&config),
        aof: server::Aof::new(&config, &mut background.threads)?,
        config,
        commands,
        acl: Default::default(),
        clients: Default::default(),
        client_memory: Default::default(),
        connection_lists_bytes: 0,
        blocked: Default::default(),
        watched: Default::default(),
        tracking: Default::default(),
        events: Default::default(),
        command_log: Default::default(),
        latency: Default::default(),
        monitors: Default::default(),
        pubsub: Default::default(),
        scripting: Default::default(),
        propagation: Default::default(),
        own_expiries: Default::default(),
        stats: Stats::new(commands.ids()),
        persistence: persistence::State::default(),
        replication: Default::default(),
        primary_link: Default::default(),
        identity,
        eviction: Default::default(),
        migrations: Default::default(),
        file_saves: Default::default(),
        cluster: None,
        pauses: Default::default(),
        shutdown_asked: None,
        shutdown_pending: None,
        held: Vec::new(),
        active_expiry: true,
        debug: Default::default(),
        now_ms: clock::unix_ms(),
        ticks: 0,
        cron: Cron::default(),
        background,
        listening: Listening::default(),
        defrag: Default::default(),
        oom_score: OomScore::default(),
        tasks,
    };
    server.persistence.remove_on(server.background.queue());
    server.acl.set_default_password(server.config.requirepass.as_bytes());
    server.follow_configured();
    if let Err((option, reason)) = server::apply_config(&mut keyspace, &mut server, &[]) {
        tracing::warn!("{option}: {reason}");
    }
    if server.config.appendonly {
        server.expect_aof();
    }
    Ok(Engine { keyspace, server })
}

async fn serve(
    shared: Rc<Shared>,
    mut requests: mpsc::UnboundedReceiver<Task>,
) -> Result<Infallible, Stopped> {
    cluster::open(&mut shared.engine.borrow_mut()).map_err(stop_for)?;
    let mut listeners = open_listeners(&shared)?;
    open_bus(&shared)?;
    let mut interrupts = signal(SignalKind::interrupt()).map_err(stop_for)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(stop_for)?;
    if let Err(error) = clock::wake_in_time() {
        tracing::warn!("Sleeps may last longer than asked for: {error}");
    }
    let _executor = tokio::task::spawn_local(net::run_executor(Rc::clone(&shared)));
    tracing::info!("Server initialized");
    // The tasks have allocated what they need once each has run. The event loop gives back a list that it has from its
    // start when the first socket is closed: here, so that nothing of what is noted disappears.
    drop(tokio::net::UnixDatagram::unbound());
    tokio::task::yield_now().await;
    {
        let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
        server.note_startup(keyspace);
    }
    let mut load = std::pin::pin!(saving::load(&shared));
    let mut is_loaded = false;
    let mut next_turn = Instant::now();
    let mut next_duty = None;
    loop {
        tokio::select! {
            result = &mut load, if !is_loaded => {
                result.map_err(|_| Stopped)?;
                is_loaded = true;
                // What expired meanwhile goes before clients ask for it.
                next_turn = Instant::now();
                shared.engine.borrow_mut().verify_cluster_data();
                say_ready(&shared);
            }
            Some(task) = requests.recv() => perform(&shared, &mut listeners, task),
            () = tokio::time::sleep_until(next_turn) => {
                let wait = Duration::from_millis(net::run_cron(&shared));
                next_turn = Instant::now() + wait;
                next_duty = next_duty.or_else(|| net::defragments(&shared).then_some(next_turn - wait));
            }
            () = tokio::time::sleep_until(next_duty.unwrap_or(next_turn)), if next_duty.is_some() => {
                next_duty = net::run_defragmentation(&shared).map(|wait| Instant::now() + wait);
                // However short the wait is, the connections come first.
                tokio::task::yield_now().await;
            }
            () = received(&mut interrupts) => {
                ask_for_shutdown(&shared, "SIGINT");
                next_turn = Instant::now();
            }
            () = received(&mut terminations) => {
                ask_for_shutdown(&shared, "SIGTERM");
                next_turn = Instant::now();
            }
        }
    }
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending().await
    }
}

/// Binds every address and accepts from it.
fn open_listeners(shared: &Rc<Shared>) -> Result<Listeners, Stopped> {
    let (tcp, unix) = {
        let server = &mut shared.engine.borrow_mut().server;
        let port = server.config.port;
        let Some(tcp) = server.listening.open_tcp(&server.config) else {
            return Err(stop_for(format_args!("Failed listening on port {port} (tcp), aborting.")));
        };
        let unix = if server.config.unixsocket.is_empty() {
            None
        } else {
            let socket = Listening::open_unix(&server.config);
            Some(socket.ok_or_else(|| stop_for("Failed listening on port 0 (unix), aborting."))?)
        };
        (tcp, unix)
    };
    if tcp.is_empty() && unix.is_none() {
        return Err(stop_for("Configured to not listen anywhere, exiting."));
    }
    let mut listeners = Listeners::default();
    listeners.accept_tcp(shared, tcp).map_err(stop_for)?;
    if let Some(unix) = unix {
        listeners.accept_unix(shared, unix).map_err(stop_for)?;
    }
    Ok(listeners)
}

/// A node of a cluster hears other nodes on a port of its own.
fn open_bus(shared: &Rc<Shared>) -> Result<(), Stopped> {
    let (sockets, port) = {
        let server = &shared.engine.borrow().server;
        if server.cluster.is_none() {
            return Ok(());
        }
        let port = match server.config.cluster_port {
            0 => server.config.port.wrapping_add(BUS_PORT_OFFSET),
            port => port,
        };
        (Listening::open_bus(&server.config, port), port)
    };
    let sockets = sockets
        .ok_or_else(|| stop_for(format_args!("Failed listening on port {port} (cluster), aborting.")))?;
    net::accept_bus(shared, sockets).map_err(stop_for)
}

fn say_ready(shared: &Shared) {
    let server = &mut shared.engine.borrow_mut().server;
    server.begin_following();
    if server.config.port != 0 {
        tracing::info!("Ready to accept connections tcp");
    }
    if !server.config.unixsocket.is_empty() {
        tracing::info!("Ready to accept connections unix");
    }
    shutdown::notify_supervisor(server, "STATUS=Ready to accept connections\n");
    shutdown::notify_supervisor(server, "READY=1\n");
    let maxmemory = server.config.maxmemory;
    if maxmemory > 0 && maxmemory < 1 << 20 {
        tracing::warn!(
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {maxmemory} bytes). Are \
             you sure this is what you really want?"
        );
    }
    // A refusal is in the log and no reason not to serve.
    let _ = server.oom_score.apply(&server.config, server.replication.is_replica());
}

fn perform(shared: &Rc<Shared>, listeners: &mut Listeners, task: Task) {
    match task {
        Task::Listen(sockets) => {
            if let Err(error) = listeners.accept_tcp(shared, sockets) {
                tracing::warn!("Accepting client connections: {error}");
            }
        }
        Task::ConnectBus(link, ip, port) => {
            net::connect_bus(shared, link, ip, port);
        }
        Task::WatchChild => saving::watch_child(shared),
        Task::Migrate(migration) => {
            tokio::task::spawn_local(net::migrate(Rc::clone(shared), migration));
        }
        Task::DeleteLostKeys => {
            tokio::task::spawn_local(net::delete_lost_keys(Rc::clone(shared)));
        }
        Task::SaveFile(pending) => {
            tokio::task::spawn_local(net::save_file(Rc::clone(shared), pending));
        }
        Task::LoadUsers(pending) => {
            tokio::task::spawn_local(net::load_users(Rc::clone(shared), pending));
        }
        Task::ChangeAof(change) => {
            tokio::task::spawn_local(net::change_aof(Rc::clone(shared), change));
        }
        Task::ResumeAof => {
            tokio::task::spawn_local(net::resume_aof(Rc::clone(shared)));
        }
        Task::ReloadAof(reload) => saving::reload_aof(shared, reload),
        Task::FollowPrimary => shared.follow_primary(),
        Task::ExportSlots(job) => {
            tokio::task::spawn_local(net::export_slots(Rc::clone(shared), job));
        }
        Task::SendSlots(job, pipe) => {
            tokio::task::spawn_local(net::send_slots(Rc::clone(shared), job, pipe));
        }
        Task::SendSnapshot(pipe) => {
            tokio::task::spawn_local(net::send_snapshot(Rc::clone(shared), pipe));
        }
    }
}

/// A signal asks for the end: the next turn of what happens at intervals brings it about.
fn ask_for_shutdown(shared: &Shared, signal: &str) {
    let server = &mut shared.engine.borrow_mut().server;
    let message = if server.persistence.is_loading() {
        "Received shutdown signal during loading, scheduling shutdown.".to_owned()
    } else {
        format!("Received {signal} scheduling shutdown...")
    };
    let (pid, seconds) = (std::process::id(), clock::unix_ms() / 1000);
    log::write_raw(&format!("{pid}:signal-handler ({seconds}) {message}\n"));
    let options = match signal {
        "SIGINT" => server.config.shutdown_on_sigint,
        _ => server.config.shutdown_on_sigterm,
    };
    server.shutdown_asked = Some(options.into());
}
