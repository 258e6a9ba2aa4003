//! Replicas' sockets: the stream after each batch, and a snapshot from the child's pipe.
//!
//! A snapshot is passed on piece by piece: the next piece is read when every replica has taken the last one, so that it
//! is never held more than once for each replica, and the slowest sets the pace.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Shared;
use super::connection::Connection;
use super::executor::{close, write_output};
use super::snapshot_pipe::pass_on;
use crate::config::os_reason;
use crate::server::replication::Fed;
use crate::server::{ClientKey, Engine};

/// Sends a replica what is due; `false` when its connection is to end.
pub(super) fn feed(shared: &Shared, engine: &mut Engine, connection: &Connection) -> bool {
    shared.taken.notify_one();
    let fed = engine.server.feed_replica(connection.key, |bytes| connection.writer.try_write(bytes));
    has_fed(engine, connection, fed)
}

/// What follows when a connection was sent what is due; `false` when it is to end.
pub(super) fn has_fed(engine: &mut Engine, connection: &Connection, fed: Fed) -> bool {
    match fed {
        Fed::All => {
            if let Some(client) = engine.server.clients.get_mut(connection.key) {
                client.over_soft_limit_since_ms = None;
            }
            connection.wants_write.set(false);
            true
        }
        Fed::Some => {
            connection.wants_write.set(true);
            connection.alert();
            true
        }
        Fed::Failed => close(connection),
    }
}

/// What replication does when a batch is done: snapshots that were asked for begin, replicas are asked how far they are,
/// and what was fed is sent.
pub(super) fn follow_batch(shared: &Shared, engine: &mut Engine) {
    let Engine { keyspace, server } = engine;
    if server.takes_start_asked() {
        server.start_replica_snapshot(keyspace, true);
    }
    server.follow_acknowledgements();
    if let Some(stream) = server.replication.stream_mut() {
        stream.trim();
    }
    if !server.replication.take_fed() {
        return;
    }
    for key in server.replication.replicas().to_vec() {
        if let Some(connection) = shared.connection(key) {
            write_output(shared, engine, &connection);
        }
    }
}

/// Passes a snapshot on from the child's pipe to the replicas that wait for it.
pub async fn send_snapshot(shared: Rc<Shared>, pipe: OwnedFd) {
    let give = |piece: &[u8]| {
        give(&shared, piece);
        true
    };
    let result = pass_on(&shared, pipe, give, || all_have_taken(&shared)).await;
    let Engine { server, .. } = &mut *shared.engine.borrow_mut();
    let Some(transfer) = &mut server.replication.transfer else { return };
    match result {
        Ok(()) => {
            let members = transfer.members.len();
            if members > 0 {
                tracing::info!("Diskless rdb transfer, done reading from pipe, {members} replicas still up.");
            }
            transfer.let_child_go();
        }
        Err(error) => {
            tracing::warn!("Diskless rdb transfer, read error sending DB to replicas: {}", os_reason(&error));
            for key in transfer.members.clone() {
                server.clients.close(key, None);
            }
            server.persistence.kill_child();
        }
    }
}

/// Gives a piece to every replica: what a socket does not take at once waits in its client's output.
fn give(shared: &Shared, piece: &[u8]) {
    let engine = &mut *shared.engine.borrow_mut();
    for key in members(engine) {
        if let Some(connection) = shared.connection(key)
            && !give_one(engine, &connection, piece)
        {
            close(&connection);
        }
    }
}

fn give_one(engine: &mut Engine, connection: &Connection, piece: &[u8]) -> bool {
    let server = &mut engine.server;
    let Some(client) = server.clients.get_mut(connection.key) else { return false };
    let written = if client.output.is_empty() { connection.writer.try_write(piece) } else { Ok(0) };
    let count = match written {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => {
            tracing::warn!("Diskless rdb transfer, write error sending DB to replica: {}", os_reason(&error));
            return false;
        }
    };
    client.bytes_out += count as u64;
    server.stats.bytes_out += count as u64;
    server.replication.bytes_out += count as u64;
    let rest = piece.get(count..).unwrap_or_default();
    if let Some(replica) = &mut client.replica {
        replica.stuck_since_ms = if rest.is_empty() { 0 } else { server.now_ms };
    }
    if !rest.is_empty() {
        client.output.raw(rest);
        connection.wants_write.set(true);
        connection.alert();
    }
    true
}

fn members(engine: &Engine) -> Vec<ClientKey> {
    let transfer = engine.server.replication.transfer.as_ref();
    transfer.map(|transfer| transfer.members.clone()).unwrap_or_default()
}

fn all_have_taken(shared: &Shared) -> bool {
    let engine = shared.engine.borrow();
    members(&engine).iter().all(|key| {
        let client = engine.server.clients.get(*key);
        client.is_none_or(|client| client.output.is_empty())
    })
}
