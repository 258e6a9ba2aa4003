//! The sockets of slots that move to other nodes: the connection to the target, the keys from the child's pipe, and what
//! waits for either end.
//!
//! As with replicas a piece of the snapshot is read when the last one was taken, so that it is never held more than once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::Shared;
use super::connection::{Connection, add_client, serve};
use super::executor::write_output;
use super::primary_link::connect_to;
use super::primary_link::wire::Wire;
use super::replicas::has_fed;
use super::snapshot_pipe::pass_on;
use crate::config::os_reason;
use crate::server::Engine;
use crate::server::slot_migration::{ExportTarget, JobId, JobState, SlotLink};

/// How often a task that waits for the target looks whether it is of use still.
const LOOK: Duration = Duration::from_millis(100);

/// Sends the other end what is due; `false` when the connection is to end.
pub(super) fn feed(shared: &Shared, engine: &mut Engine, connection: &Connection, link: SlotLink) -> bool {
    // The task that passes the keys on may wait for this connection.
    shared.taken.notify_one();
    let fed = engine.server.feed_slot_link(connection.key, link, |bytes| connection.writer.try_write(bytes));
    has_fed(engine, connection, fed)
}

/// Connects an export to its target, and has it ask for consent.
pub async fn export_slots(shared: Rc<Shared>, job: JobId) {
    let outcome = tokio::select! {
        biased;
        () = until_useless(&shared, job) => return,
        outcome = connect(&shared, job) => outcome,
    };
    if let Err(reason) = outcome {
        let mut engine = shared.engine.borrow_mut();
        engine.server.fail_export(job, &reason);
        engine.settle_cluster();
    }
    shared.wake_executor();
}

/// Until the job waits for its connection no longer.
async fn until_useless(shared: &Shared, job: JobId) {
    while shared.engine.borrow().server.export_target(job).is_some() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Why a job is to end; a job that has ended already does not look at it.
type Reason = String;

async fn connect(shared: &Rc<Shared>, job: JobId) -> Result<(), Reason> {
    let ended = String::new;
    let target = shared.engine.borrow().server.export_target(job).ok_or_else(ended)?;
    let unreachable = |error: io::Error| format!("Unable to connect to target node: {}", os_reason(&error));
    let ip: IpAddr = target.ip.parse().map_err(|_| unreachable(io::ErrorKind::InvalidInput.into()))?;
    let socket =
        connect_to(SocketAddr::new(ip, target.port), target.bind.parse().ok()).await.map_err(unreachable)?;
    let mut wire = Wire::new(socket);
    authenticate(shared, job, &target, &mut wire).await?;
    let request = shared.engine.borrow().server.establish_request(job).ok_or_else(ended)?;
    comes_to(shared, job, JobState::ReadingEstablish)?;
    let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    let lost = |_| {
        let node = "Check CLUSTER GETSLOTMIGRATIONS on the target node for more information.";
        format!("Connection lost to target. {node}")
    };
    wire.send(&words).await.map_err(lost)?;
    let line = wire.line().await.map_err(lost)?;
    if line.starts_with(b"-") {
        return Err(format!("Received error during handshake to target: {}", String::from_utf8_lossy(&line)));
    }
    adopt(shared, job, wire);
    Ok(())
}

fn comes_to(shared: &Shared, job: JobId, state: JobState) -> Result<(), Reason> {
    let goes_on = shared.engine.borrow_mut().server.export_comes_to(job, state);
    if goes_on { Ok(()) } else { Err(String::new()) }
}

async fn authenticate(
    shared: &Shared,
    job: JobId,
    target: &ExportTarget,
    wire: &mut Wire,
) -> Result<(), Reason> {
    if target.password.is_empty() {
        return comes_to(shared, job, JobState::SendingEstablish);
    }
    comes_to(shared, job, JobState::SendingAuth)?;
    let user = (!target.user.is_empty()).then(|| target.user.as_bytes());
    let words: Vec<&[u8]> =
        [Some(b"AUTH".as_slice()), user, Some(target.password.as_bytes())].into_iter().flatten().collect();
    let unsent = |error| {
        format!("Failed to send AUTH command to target node: -Writing to master: {}", os_reason(&error))
    };
    wire.send(&words).await.map_err(unsent)?;
    comes_to(shared, job, JobState::ReadingAuth)?;
    let line = wire.line().await.map_err(|_| "Target node did not respond to AUTH command".to_owned())?;
    if line.starts_with(b"-") {
        return Err(format!("Failed to AUTH to target node: {}", String::from_utf8_lossy(&line)));
    }
    comes_to(shared, job, JobState::SendingEstablish)
}

/// Makes the socket a connection like any other, whose client is the target.
fn adopt(shared: &Rc<Shared>, job: JobId, wire: Wire) {
    let (socket, unread) = wire.into_parts();
    let mut engine = shared.engine.borrow_mut();
    let server = &mut engine.server;
    let (key, halves) = add_client(server, socket);
    if !server.adopt_export_link(job, key) {
        server.clients.remove(key);
        return;
    }
    let connection = Connection::new(key, halves, shared.arrivals.waker(key));
    shared.register(&connection);
    drop(engine);
    if !unread.is_empty() {
        connection.input.borrow_mut().query.extend(&unread);
        shared.enqueue(&connection);
    }
    tokio::task::spawn_local(serve(Rc::clone(shared), connection));
}

/// Passes the keys of an export on from the child's pipe to its target.
pub async fn send_slots(shared: Rc<Shared>, job: JobId, pipe: OwnedFd) {
    let outcome = pass_on(&shared, pipe, |piece| give(&shared, job, piece), || !waits(&shared, job)).await;
    let server = &mut shared.engine.borrow_mut().server;
    if let Err(error) = outcome {
        tracing::warn!("Slot migration, read error sending snapshot to target: {}", os_reason(&error));
        if let Some(key) = server.slot_snapshot_target(job) {
            server.clients.close(key, None);
        }
    }
    server.slot_snapshot_sent(job);
}

/// Gives a piece to the target: what its socket does not take at once waits in its client's output. `false` when there is
/// no target any more.
fn give(shared: &Shared, job: JobId, piece: &[u8]) -> bool {
    let engine = &mut *shared.engine.borrow_mut();
    let Some(key) = engine.server.slot_snapshot_target(job) else { return false };
    let Some(connection) = shared.connection(key) else { return false };
    let Some(client) = engine.server.clients.get_mut(key) else { return false };
    client.output.raw(piece);
    if let (Some(link), count) = (client.slot_link, piece.len()) {
        engine.server.note_given_to_slot_link(link, count);
    }
    write_output(shared, engine, &connection)
}

/// Whether the target has yet to take what it was given.
fn waits(shared: &Shared, job: JobId) -> bool {
    let server = &shared.engine.borrow().server;
    let client = server.slot_snapshot_target(job).and_then(|key| server.clients.get(key));
    client.is_some_and(|client| !client.output.is_empty())
}
