//! What happens to connections at intervals: limits, and room that their buffers give back.

use std::time::Duration;

use super::Shared;
use super::connection::Connection;
use crate::server::Engine;
use crate::sys::clock;

/// Connections that are looked at in a turn at least, where there are as many.
const CONNECTIONS_MIN: usize = 5;

/// One turn of everything that happens at intervals; gives the milliseconds until the next one.
pub fn run_cron(shared: &Shared) -> u64 {
    let hz = {
        let mut engine = shared.engine.borrow_mut();
        let started = clock::ticks();
        engine.run_cron();
        engine.server.limit_tracking();
        engine.server.broadcast_invalidations();
        let nanoseconds = clock::nanoseconds_between(started, clock::ticks());
        let event_loop = &mut engine.server.stats.event_loop;
        event_loop.cron_ns += nanoseconds;
        event_loop.count(nanoseconds, 0);
        engine.server.config.hz.max(1)
    };
    check_connections(shared, hz as usize);
    shared.engine.borrow_mut().server.flush_aof(false);
    shared.wake_if_needed();
    1000 / u64::from(hz)
}

/// Whether defragmentation has begun, and [`run_defragmentation`] is to be called.
#[must_use]
pub fn defragments(shared: &Shared) -> bool {
    shared.engine.borrow().server.defrag.is_running()
}

/// One duty of defragmentation; gives after which time the next one is due, `None` for none.
pub fn run_defragmentation(shared: &Shared) -> Option<Duration> {
    let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
    server.defragment(keyspace)
}

/// Looks at so many connections that all have their turn within a second.
fn check_connections(shared: &Shared, hz: usize) {
    let places = shared.connections.borrow().len();
    let turn = (places / hz).max(CONNECTIONS_MIN).min(places);
    for _ in 0..turn {
        let place = shared.next_checked.get() % places;
        shared.next_checked.set(place + 1);
        let connection = shared.connections.borrow().get(place).cloned().flatten();
        if let Some(connection) = connection {
            check(shared, &connection);
        }
    }
}

fn check(shared: &Shared, connection: &Connection) {
    let server = &mut shared.engine.borrow_mut().server;
    if !server.check_client(connection.key) {
        return;
    }
    let now_ms = server.now_ms;
    let Some(client) = server.clients.get_mut(connection.key) else { return };
    let mut input = connection.input.borrow_mut();
    let missing = input.missing;
    let idle = u64::try_from(client.idle_seconds(now_ms)).unwrap_or(0);
    input.query.trim(idle, missing);
    client.query = input.figures();
    server.trim_output(connection.key);
    server.weigh_client(connection.key, 0);
}
