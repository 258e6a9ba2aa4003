//! What the engine does at intervals, `hz` times a second: samples, expiry, limits of clients, snapshots that are due.

use super::client::{Client, ClientClass};
use super::primary_link::LinkState;
use super::replication::Replication;
use super::{ClientKey, Engine, Server, events, shutdown};
use crate::config::{Config, OutputBufferLimit, quote};
use crate::keyspace::ExpiryBudget;
use crate::memory::MemoryUsage;
use crate::sys::{clock, crash};

/// Valkey samples rates at this interval, in milliseconds.
const RATES_MS: i64 = 100;
/// The interval of the lines at level verbose and debug, in milliseconds.
const REPORT_MS: i64 = 5000;
/// The interval of what concerns the link to the primary, in milliseconds.
const PRIMARY_MS: i64 = 1000;

/// The interval of what a node of a cluster does, in milliseconds.
const CLUSTER_MS: i64 = 100;

/// The share of its time that active expiry may take at the least effort.
const EXPIRY_PERCENT: u64 = 25;
/// Output that a client without authentication may leave unread (Valkey: `REPLY_BUFFER_SIZE_UNAUTHENTICATED_CLIENT`);
/// nobody's limit is lower.
pub(super) const STRANGERS_OUTPUT_MAX: usize = 1024;

/// The room that a reply buffer begins with and keeps (Valkey: `PROTO_REPLY_MIN_BYTES`).
pub const OUTPUT_MIN: usize = 1024;
/// After so many milliseconds the most that a reply buffer has held is forgotten.
const OUTPUT_PEAK_MS: i64 = 5000;

/// How much of a query that is too long the log shows.
const LOGGED_QUERY_BYTES: usize = 64;

/// When what happens at intervals is due again, Unix ms.
#[derive(Debug, Default)]
pub struct Cron {
    rates_ms: i64,
    report_ms: i64,
    primary_ms: i64,
    cluster_ms: i64,
    /// Turns since the start.
    pub turns: u64,
}

/// Whether `due_ms` has come; sets the next time if so.
pub(super) fn is_due(due_ms: &mut i64, now_ms: i64, interval_ms: i64) -> bool {
    // A clock that was set back must not stop the intervals.
    let due = now_ms >= *due_ms || *due_ms - now_ms > interval_ms;
    if due {
        *due_ms = now_ms + interval_ms;
    }
    due
}

impl Engine {
    /// One turn. Clients have their own: see [`Server::check_client`].
    pub fn run_cron(&mut self) {
        let server = &mut self.server;
        server.now_ms = clock::unix_ms();
        let now_ms = server.now_ms;
        if server.config.watchdog_period > 0 {
            crash::set_watchdog(server.config.watchdog_period);
        }
        if server.debug.pause_cron {
            return;
        }
        if server.scripting.may_be_cut_off()
            && let Some(options) = server.shutdown_asked.take()
        {
            shutdown::shut_down(&mut self.keyspace, server, None, options);
        }
        shutdown::go_on(&mut self.keyspace, server);
        if server.scripting.is_busy() {
            return;
        }
        server.cron.turns += 1;
        if is_due(&mut server.cron.rates_ms, now_ms, RATES_MS) {
            let stats = &mut server.stats;
            let loop_us = stats.event_loop.nanoseconds / 1000;
            let totals =
                [stats.commands_processed, stats.bytes_in, stats.bytes_out, stats.event_loop.cycles, loop_us];
            stats.rates.sample(now_ms, totals);
        }
        let allocated = server.allocated();
        if is_due(&mut server.cron.report_ms, now_ms, REPORT_MS) {
            self.report(allocated);
        }
        if is_due(&mut self.server.cron.primary_ms, now_ms, PRIMARY_MS) {
            self.server.tend_primary_link();
            let synchronized =
                matches!(self.server.primary_link.state, LinkState::None | LinkState::Connected);
            if synchronized && !self.server.persistence.is_loading() {
                self.server.resume_aof();
            }
        }
        self.server.end_pause_when_over();
        self.expire_keys();
        self.server.watch_fragmentation();
        self.server.scripting.tend_idle(now_ms);
        self.server.publish_events(None);
        self.server.run_replication_cron(&mut self.keyspace);
        if is_due(&mut self.server.cron.cluster_ms, now_ms, CLUSTER_MS) {
            self.run_cluster_cron();
        }
        self.server.rewrite_aof_when_due(&mut self.keyspace);
        self.server.save_when_due(&mut self.keyspace);
    }

    /// Active expiry, for the share of the time between two turns that `active-expire-effort` allows (Valkey: 25 %,
    /// and 2 % more for each step above 1).
    fn expire_keys(&mut self) {
        let server = &mut self.server;
        if !server.active_expiry || server.persistence.is_loading() || server.is_paused() {
            return;
        }
        if server.replication.is_replica() {
            // What else has expired is for the primary to delete.
            self.expire_own_keys();
            return;
        }
        server.own_expiries.forget_all();
        if server.config.import_mode {
            return;
        }
        let share = EXPIRY_PERCENT + 2 * (server.config.active_expire_effort.max(1) as u64 - 1);
        let turn_nanoseconds = 1_000_000_000 / (server.config.hz.max(1) as u64);
        let limit = turn_nanoseconds * share / 100;
        let started = clock::ticks();
        let mut time_is_over = || clock::nanoseconds_between(started, clock::ticks()) > limit;
        let lazily = server.config.lazyfree_lazy_expire;
        let mut free = |entry| server.background.free_entry(entry, lazily);
        let mut budget = ExpiryBudget { time_is_over: &mut time_is_over, free: &mut free };
        self.keyspace.expire_some(server.now_ms, &mut budget);
        server.note_latency("expire-cycle", started);
        if self.keyspace.has_happened() {
            events::settle_apart(&mut self.keyspace, &mut self.server);
            self.serve_blocked();
        }
    }

    fn report(&self, allocated: usize) {
        for (index, database) in self.keyspace.databases().iter().enumerate() {
            if !database.is_empty() {
                tracing::debug!(
                    "DB {index}: {} keys ({} volatile) in {} slots HT.",
                    database.len(),
                    database.expires(),
                    database.table().memory_usage() / size_of::<usize>()
                );
            }
        }
        let mebibytes = allocated as f64 / f64::from(1 << 20);
        let clients = self.server.clients.len();
        tracing::trace!(
            "Total: {clients} clients connected (0 replicas), {allocated} ({mebibytes:.2}M) bytes in use"
        );
    }
}

impl Server {
    /// Checks one client against the time and output limits; `false` when it has to be closed, which is then arranged.
    /// To be called about once a second for each.
    pub fn check_client(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else { return false };
        let limit_ms = i64::from(self.config.timeout) * 1000;
        let idle = client.blocked.is_none() && client.class() == ClientClass::Normal;
        if limit_ms > 0 && idle && self.now_ms - client.last_interaction_ms > limit_ms {
            tracing::debug!("Closing idle client");
            self.clients.close(key, None);
            return false;
        }
        !self.closes_for_output(key)
    }

    /// Takes from a client's reply buffer what it has not used for a while. To be called about once a second for each.
    pub fn trim_output(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let output = &mut client.output;
        if !self.debug.keep_reply_buffers
            && output.capacity() / 2 >= OUTPUT_MIN
            && output.peak() < output.capacity() / 2
        {
            output.shrink_to(OUTPUT_MIN.max(output.peak() + 1));
            self.stats.output_buffer_shrinks += 1;
        }
        let forgotten_ms = self.debug.reply_peak_ms.unwrap_or(OUTPUT_PEAK_MS);
        if forgotten_ms >= 0 && self.now_ms - client.output_peak_reset_ms >= forgotten_ms {
            output.reset_peak();
            client.output_peak_reset_ms = self.now_ms;
        }
    }

    /// Whether a client's unsent output breaks its limit; it is then closed as soon as possible.
    pub fn closes_for_output(&mut self, key: ClientKey) -> bool {
        let bytes = self.clients.get(key).map_or(0, |client| client.output.len());
        self.closes_for_replies(key, bytes)
    }

    /// Whether a client that asks and is answered may leave only so much unread.
    pub(super) fn limits_replies(&self) -> bool {
        let limit = output_limit(&self.config, ClientClass::Normal);
        limit.hard_bytes > 0 || limit.soft_bytes > 0
    }

    /// The same of a client whose requests are running: its replies so far have `bytes`.
    pub fn closes_for_replies(&mut self, key: ClientKey, bytes: usize) -> bool {
        let link = self.clients.get(key).and_then(|client| client.slot_link);
        let waiting = self.waiting_for_slot_link(link) as u64;
        let Some(client) = self.clients.get_mut(key) else { return false };
        let bytes = bytes as u64 + unsent_stream(&self.replication, client) + waiting;
        if client.close_now || bytes == 0 {
            client.over_soft_limit_since_ms = None;
            return client.close_now;
        }
        let limit = output_limit(&self.config, client.class());
        let most = if self.debug.large_replies { 0 } else { STRANGERS_OUTPUT_MAX as u64 };
        let stranger = bytes > most && !client.ever_authenticated && !self.acl.is_open();
        if !stranger && !is_over(client, bytes, limit, self.now_ms) {
            return false;
        }
        let id = client.id;
        let description = client.describe(self.now_ms, self.config.hide_user_data_from_log);
        let description = String::from_utf8_lossy(&description);
        tracing::warn!(
            "Client {description} scheduled to be closed ASAP for overcoming of output buffer limits."
        );
        self.stats.output_buffer_closed += 1;
        self.replication.give_up_psync(id);
        self.clients.close(key, None);
        self.weigh_client(key, 0);
        true
    }

    /// Whether what a client has sent and not yet completed breaks `client-query-buffer-limit`; it is then to be closed.
    pub fn closes_for_query(&mut self, key: ClientKey, pending: &[u8]) -> bool {
        let Some(client) = self.clients.get(key) else { return false };
        if client.is_obeyed() {
            return false;
        }
        let queued = client.transaction.as_ref().map_or(0, |transaction| transaction.memory_usage());
        let bytes = (pending.len() + queued) as u64;
        if bytes <= self.config.client_query_buffer_limit {
            return false;
        }
        let hide = self.config.hide_user_data_from_log;
        let description = client.describe(self.now_ms, hide);
        let description = String::from_utf8_lossy(&description);
        if hide {
            tracing::warn!("Closing client that reached max query buffer length: {description}");
        } else {
            let first = quote(pending.get(..LOGGED_QUERY_BYTES).unwrap_or(pending));
            tracing::warn!(
                "Closing client that reached max query buffer length: {description} (qbuf initial bytes: {})",
                String::from_utf8_lossy(&first)
            );
        }
        self.stats.query_buffer_closed += 1;
        true
    }
}

/// What output a client of this class may leave unread.
pub(super) fn output_limit(config: &Config, class: ClientClass) -> OutputBufferLimit {
    let limits = &config.client_output_buffer_limit;
    match class {
        ClientClass::Normal | ClientClass::Primary | ClientClass::SlotImport => limits.normal,
        ClientClass::Replica | ClientClass::SlotExport => {
            above_backlog(limits.replica, config.repl_backlog_size)
        }
        ClientClass::Pubsub => limits.pubsub,
    }
}

/// Whether the unsent output is over the hard limit, or has been over the soft one for too long.
fn is_over(client: &mut Client, bytes: u64, limit: OutputBufferLimit, now_ms: i64) -> bool {
    if limit.hard_bytes > 0 && bytes >= limit.hard_bytes {
        return true;
    }
    if limit.soft_bytes == 0 || bytes < limit.soft_bytes {
        client.over_soft_limit_since_ms = None;
        return false;
    }
    let since_ms = *client.over_soft_limit_since_ms.get_or_insert(now_ms);
    now_ms - since_ms > i64::from(limit.soft_seconds) * 1000
}

/// Bytes of the stream that wait for a replica.
fn unsent_stream(replication: &Replication, client: &Client) -> u64 {
    client.replica.as_ref().map_or(0, |replica| {
        // What is kept for a replica's other connection counts here until that is there.
        replication.unsent_bytes(replica).max(replication.bytes_awaited_for(client.id))
    })
}

/// A limit below the backlog would close replicas that have just gone on from it.
fn above_backlog(limit: OutputBufferLimit, backlog: u64) -> OutputBufferLimit {
    let raised = |bytes: u64| if bytes == 0 { 0 } else { bytes.max(backlog) };
    OutputBufferLimit { hard_bytes: raised(limit.hard_bytes), soft_bytes: raised(limit.soft_bytes), ..limit }
}
