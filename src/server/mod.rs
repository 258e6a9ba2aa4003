//! Process state and sessions: clients, statistics, blocked clients, transactions. No command behaviour.

pub mod acl;
pub mod aof;
mod apply;
pub mod background;
pub mod blocking;
mod call;
mod check;
pub mod client;
pub mod client_eviction;
pub mod cluster;
pub mod command;
pub mod command_log;
mod context;
mod cron;
pub mod defrag;
mod description;
mod dispatch;
pub mod events;
pub mod eviction;
pub mod file_save;
pub mod histogram;
pub mod info;
pub mod latency;
pub mod listening;
pub mod memory_figures;
pub mod migration;
pub mod monitors;
mod oom_score;
pub mod pause;
pub mod primary_link;
pub mod open_files;
mod own_expiries;
pub mod process_title;
pub mod propagation;
pub mod pubsub;
mod redaction;
pub mod replication;
pub mod restart;
mod retry;
pub mod shutdown;
pub mod slot_migration;
mod saving;
pub mod scripting;
pub mod stats;
pub mod tracking;
pub mod transaction;
pub mod waiter;
mod weighing;

pub use acl::Acl;
pub use aof::Aof;
pub use apply::{apply_config, set_options};
pub use background::Background;
pub use client::{Client, ClientKey, Clients};
pub use context::Context;
pub use cron::{Cron, OUTPUT_MIN};
pub use dispatch::{Executed, Prepared};
pub use listening::Listening;
pub use oom_score::OomScore;
pub use own_expiries::OwnExpiries;
pub use pause::{Hold, Pause, Pauses};

use blocking::{BlockedClients, TimeoutReply, WaitEnd};
use client_eviction::ClientMemory;
use command::{CommandTable, TableEntry};
use command_log::CommandLog;
use defrag::Defrag;
use events::KeyEvents;
use eviction::Eviction;
use latency::LatencyMonitor;
use monitors::Monitors;
use primary_link::PrimaryLink;
use propagation::Propagation;
use pubsub::Pubsub;
use replication::Replication;
use stats::Stats;
use tokio::sync::mpsc::UnboundedSender;
use tracking::Tracking;
use transaction::WatchedKeys;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::config::{Config, Supervised};
use crate::keyspace::Keyspace;
use crate::persistence;
use crate::resp::{CommandError, ServerTitle};
use crate::structures::quicklist;
use crate::sys::restart::OwnCall;
use crate::types::{FlatLimits, Limits, SetLimits, StreamLimits};

/// The version of Redis whose commands and formats are spoken; old clients look for it.
pub const REDIS_VERSION: &str = "7.2.4";

/// The whole state of the engine thread.
pub struct Engine {
    /// The data.
    pub keyspace: Keyspace,
    /// Everything else.
    pub server: Server,
}

/// What a running command asks of the tasks around the engine.
#[derive(Debug)]
pub enum Task {
    /// A forked child was started: read its pipe and wait for its end.
    WatchChild,
    /// There is another attempt to follow a primary, or none any more: see [`PrimaryLink::attempt`].
    FollowPrimary,
    /// Pass what comes from this pipe, a snapshot, on to the replicas that wait for it.
    SendSnapshot(std::os::fd::OwnedFd),
    /// Connect to the node that slots are to go to.
    ExportSlots(slot_migration::JobId),
    /// Pass what comes from this pipe, the keys of an export, on to its target.
    SendSlots(slot_migration::JobId, std::os::fd::OwnedFd),
    /// Connect to another node of the cluster, for this link: its address and the port of its bus.
    ConnectBus(cluster::LinkId, String, u16),
    /// Send these keys to another server.
    Migrate(Box<migration::Migration>),
    /// Go on with deleting the keys of slots that are another shard's.
    DeleteLostKeys,
    /// Have a helper thread write this file.
    SaveFile(Box<file_save::PendingSave>),
    /// Have a helper thread read the file of users.
    LoadUsers(Box<acl::PendingLoad>),
    /// Turn the append-only file on or off, or have its history deleted.
    ChangeAof(Box<aof::PendingChange>),
    /// Turn the append-only file on again that a synchronization had turned off.
    ResumeAof,
    /// Load the append-only file anew, while the event loop turns.
    ReloadAof(Box<aof::Reload>),
    /// Accept TCP connections from these sockets, and from no others any more (CONFIG SET port, bind).
    Listen(Vec<socket2::Socket>),
}

/// What the process is, fixed at start.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// Process id.
    pub pid: u32,
    /// Unix ms.
    pub started_ms: i64,
    /// The name it was called by.
    pub program: String,
    /// Path of the executable.
    pub executable: String,
    /// Path of the configuration file; empty for none.
    pub config_file: String,
    /// The file that holds the process id; `None` for none.
    pub pid_file: Option<PathBuf>,
    /// What starts it anew.
    pub call: OwnCall,
    /// Who started the process and wants to be told of its state.
    pub supervised: Supervised,
    /// What is allocated once the server is built and nothing is loaded.
    pub startup_bytes: usize,
    /// What of that belongs to rows of its own in a memory profile.
    pub startup_rows: usize,
}

/// Switches that only DEBUG turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DebugSwitches {
    /// Checksums of snapshots and RESTORE payloads are not looked at.
    pub skip_checksums: bool,
    /// The periodic work is put off.
    pub pause_cron: bool,
    /// The process stops itself when it has forked a child for replicas.
    pub pause_after_fork: bool,
    /// Scripts may call every command.
    pub allow_denied_in_scripts: bool,
    /// Every reply counts as if it began a new block of output, which is larger than what strangers may leave unread.
    pub large_replies: bool,
    /// Reply buffers that are not used keep their room.
    pub keep_reply_buffers: bool,
    /// After how many milliseconds the most that a reply buffer has held is forgotten; negative for never, `None` for the
    /// usual time.
    pub reply_peak_ms: Option<i64>,
}

/// The thresholds of encodings that a configuration sets.
#[must_use]
pub fn limits(config: &Config) -> Limits {
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let flat = |entries, value| FlatLimits { entries: size(entries), value_bytes: size(value) };
    Limits {
        list: quicklist::Limits::new(
            i64::from(config.list_max_listpack_size),
            i64::from(config.list_compress_depth),
        ),
        set: SetLimits {
            intset_entries: size(config.set_max_intset_entries),
            listpack: flat(config.set_max_listpack_entries, config.set_max_listpack_value),
        },
        hash: flat(config.hash_max_listpack_entries, config.hash_max_listpack_value),
        sorted_set: flat(config.zset_max_listpack_entries, config.zset_max_listpack_value),
        stream: StreamLimits {
            node_bytes: size(config.stream_node_max_bytes),
            node_entries: usize::try_from(config.stream_node_max_entries).unwrap_or(0),
        },
    }
}

/// The state of the process, without the data.
pub struct Server {
    /// The options in force.
    pub config: Config,
    /// Where encodings convert, as the options say; renewed with each change of them.
    pub limits: Limits,
    /// The commands.
    pub commands: &'static CommandTable,
    /// Users and their rights.
    pub acl: Acl,
    /// Who is connected.
    pub clients: Clients,
    /// What the clients hold together, while that is limited.
    pub client_memory: ClientMemory,
    /// Bytes of the connection layer's own lists: they grow with the clients and with the requests of a batch.
    pub connection_lists_bytes: usize,
    /// Who waits for keys.
    pub blocked: BlockedClients,
    /// Who watches keys.
    pub watched: WatchedKeys,
    /// What clients have cached.
    pub tracking: Tracking,
    /// Keyspace events.
    pub events: KeyEvents,
    /// Commands that cost much.
    pub command_log: CommandLog,
    /// Events that took long.
    pub latency: LatencyMonitor,
    /// Who is fed every command.
    pub monitors: Monitors,
    /// Who subscribes to what.
    pub pubsub: Pubsub,
    /// Scripts and functions.
    pub scripting: scripting::Scripting,
    /// What the append-only file and the replicas are told.
    pub propagation: Propagation,
    /// What expires of what clients of this replica made.
    pub own_expiries: OwnExpiries,
    /// Counters.
    pub stats: Stats,
    /// Saving and loading.
    pub persistence: persistence::State,
    /// The append-only file.
    pub aof: Aof,
    /// Who replicates whom, and the stream of writes.
    pub replication: Replication,
    /// The link to the primary, if this server is a replica.
    pub primary_link: PrimaryLink,
    /// What the process is.
    pub identity: Identity,
    /// What the memory limit has led to.
    pub eviction: Eviction,
    /// What MIGRATE has on its way.
    pub migrations: migration::Migrations,
    /// Bytes of the files that are to be written.
    pub file_saves: Arc<AtomicUsize>,
    /// What this is as a node of a cluster; `None` when it is none.
    pub cluster: Option<Box<cluster::Cluster>>,
    /// Why clients are held back.
    pub pauses: Pauses,
    /// A signal has asked for the end; SHUTDOWN ABORT takes it back.
    pub shutdown_asked: Option<shutdown::ShutdownOptions>,
    /// A shutdown that waits for replicas.
    pub shutdown_pending: Option<shutdown::Pending>,
    /// Clients with a request that CLIENT PAUSE holds back.
    pub held: Vec<ClientKey>,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expiry: bool,
    /// What DEBUG has switched.
    pub debug: DebugSwitches,
    /// The instant of the running batch, Unix ms.
    pub now_ms: i64,
    /// The last reading of the clock that times commands: the end of one is the start of the next one of its turn.
    pub ticks: u64,
    /// What happens at intervals.
    pub cron: Cron,
    /// The helper thread.
    pub background: Background,
    /// The sockets that are listening.
    pub listening: Listening,
    /// Moving allocations together.
    pub defrag: Defrag,
    /// How readily the kernel ends this process.
    pub oom_score: OomScore,
    /// Where work for other tasks goes.
    pub tasks: UnboundedSender<Task>,
}

impl Server {
    /// Asks a task around the engine to do something. Nothing is lost: the receiver lives as long as the process.
    pub fn ask(&self, task: Task) {
        let _ = self.tasks.send(task);
    }

    /// Forgets a client whose connection is gone.
    pub fn disconnect(&mut self, key: ClientKey) {
        if self.scripting.orphan(key) {
            return;
        }
        if let Some(mut client) = self.clients.remove(key) {
            self.forget_weight(client.weighed);
            if let Some(tracking) = &client.tracking {
                self.forget_tracking(key, tracking);
            }
            if let Some(replica) = client.replica.take() {
                self.drop_replica(key, client.id, client.descriptor, *replica);
            }
            if let Some(link) = client.slot_link {
                self.slot_link_lost(link.job);
            }
            if let Some(stream) = client.primary.take() {
                self.primary_lost(&stream, client.database);
            }
            self.watched.forget_all(key, &client.watched);
            self.monitors.remove(key);
            if let Some(subscriptions) = &client.subscriptions {
                self.pubsub.forget(key, subscriptions);
            }
            self.held.retain(|held| *held != key);
            if let Some(blocked) = &client.blocked {
                self.blocked.forget(key, blocked);
            }
        }
    }

    /// Tells the latency monitor how long an event took that began at `started`, in ticks of the clock.
    pub fn note_latency(&mut self, event: &'static str, started: u64) {
        if self.config.latency_monitor_threshold > 0 {
            let nanoseconds = crate::sys::clock::nanoseconds_between(started, crate::sys::clock::ticks());
            self.note_latency_of(event, nanoseconds / 1000);
        }
    }

    /// Tells the latency monitor how long an event took.
    pub(in crate::server) fn note_latency_of(&mut self, event: &'static str, microseconds: u64) {
        self.latency.note(self.config.latency_monitor_threshold, event, microseconds, self.now_ms);
    }

    /// Whether new keys are to be noted: somebody listens to their events, or waits for keys.
    #[inline]
    #[must_use]
    pub fn wants_new_keys(&self) -> bool {
        self.events.wanted.has(crate::config::EventClasses::NEW) || self.blocked.wait_for_keys()
    }

    /// Ends a client's transaction without running it: what it queued and watched is forgotten.
    pub fn discard_transaction(&mut self, client: ClientKey) {
        self.watched.unwatch(&mut self.clients, client);
        if let Some(record) = self.clients.get_mut(client) {
            record.discard_transaction();
        }
    }

    /// Closes a client: after its reply when its request is the running one, else at once, whatever it waits for.
    pub fn kick(&mut self, client: ClientKey, running: Option<ClientKey>) {
        self.blocked.unblock(&mut self.clients, client);
        if self.primary_link.client == Some(client) {
            // Its connection ends later: what runs now may take long.
            self.primary_link.down_since_ms = self.now_ms;
        }
        if running != Some(client) {
            self.end_subscriptions(client);
            self.end_replica(client);
        }
        self.clients.close(client, running);
        self.weigh_client(client, 0);
    }

    /// Ends a client's wait though no key ended it; says whether it waited.
    pub fn end_wait(&mut self, client: ClientKey, end: WaitEnd) -> bool {
        let blocked = self.clients.get(client).and_then(|record| record.blocked.as_ref());
        if blocked.is_some_and(|blocked| blocked.timeout_reply == TimeoutReply::Never) {
            return false;
        }
        let Some(blocked) = self.blocked.unblock(&mut self.clients, client) else { return false };
        self.count(client, blocked.command, 0, false);
        let set_slot = self.cluster.as_mut().and_then(|cluster| cluster.take_pending_set_slot(client));
        let reached = blocked.timeout_reply.replica_wait().map(|wait| (wait, self.reached(wait)));
        if let Some(record) = self.clients.get_mut(client) {
            match (end, blocked.timeout_reply) {
                (WaitEnd::Error, _) => CommandError::Unblocked.write(&mut record.output),
                (WaitEnd::AofOff, _) => CommandError::WaitaofWithoutAof.write(&mut record.output),
                (WaitEnd::Timeout, TimeoutReply::NullArray) => record.output.null_array(),
                (WaitEnd::Timeout, TimeoutReply::Null) => record.output.null(),
                (WaitEnd::Timeout, TimeoutReply::Shutdown) => {
                    CommandError::ShutdownErrors.write(&mut record.output);
                }
                (WaitEnd::Timeout, TimeoutReply::SetSlot(_)) => {
                    let is_over = reached.is_some_and(|(wait, reached)| wait.is_over(reached));
                    match (set_slot.filter(|_| is_over), &mut self.cluster) {
                        (Some(set), Some(cluster)) => {
                            cluster.todo.set_slots.push(set);
                            record.output.ok();
                        }
                        _ => CommandError::NoReplicas.write(&mut record.output),
                    }
                }
                (WaitEnd::Timeout, TimeoutReply::Never) => {}
                (WaitEnd::Timeout, TimeoutReply::Replicas(_)) => {
                    if let Some((wait, reached)) = reached {
                        reached.write(wait, &mut record.output);
                    }
                }
            }
            self.clients.needs_attention(client);
        }
        if end == WaitEnd::Error {
            self.stats.commands[blocked.command.id].rejected += 1;
            self.stats.count_error(&CommandError::Unblocked.code());
        }
        true
    }

    /// Counts a wait that ends with an error.
    fn count_refused_wait(&mut self, client: ClientKey, entry: &'static TableEntry, error: &CommandError) {
        self.count(client, entry, 0, false);
        self.stats.commands[entry.id].rejected += 1;
        self.stats.count_error(&error.code());
    }

    /// Counts a call that has ended.
    fn count(&mut self, client: ClientKey, entry: &'static TableEntry, nanoseconds: u64, failed: bool) {
        let stats = &mut self.stats.commands[entry.id];
        stats.calls += 1;
        stats.nanoseconds += nanoseconds;
        stats.failed += u64::from(failed);
        self.stats.commands_processed += 1;
        if self.config.latency_tracking {
            self.stats.record_latency(entry.id, nanoseconds);
        }
        if let Some(client) = self.clients.get_mut(client) {
            client.last_command = Some(entry);
            client.commands += 1;
        }
    }

    fn note_command(&mut self, client: ClientKey, entry: &'static TableEntry) {
        if let Some(client) = self.clients.get_mut(client) {
            client.last_command = Some(entry);
        }
    }

    /// The name the server gives itself in error texts.
    #[must_use]
    pub fn title(&self) -> ServerTitle {
        if self.config.extended_redis_compatibility { ServerTitle::Redis } else { ServerTitle::Valkey }
    }

    /// The mode that INFO and HELLO show.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        if self.cluster.is_some() { "cluster" } else { "standalone" }
    }

    /// Bytes allocated now, noted for the peak.
    pub fn allocated(&mut self) -> usize {
        let bytes = crate::memory::allocated_bytes();
        self.stats.note_allocated(bytes, self.now_ms);
        bytes
    }
}
