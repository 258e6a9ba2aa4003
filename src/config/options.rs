//! The table of options: one declaration each gives the field of [`Config`], its default and its row.
//!
//! A declaration reads: documentation; field, type and default; name and alias; kind and range; flags.
//! Names, defaults and ranges are Valkey 9.1's. `INERT` marks what has no effect in this server:
//! remove the flag with the change that gives the option its effect. Order here is order in a rewritten file.

use super::check;
use super::spec::*;
use super::special::{
    Addresses, EventClasses, OomScores, OutputBufferLimits, Percentiles, ReplicaOf, SavePoints,
    WorkingDirectory,
};
use super::text::Text;
use super::words::*;

const MPTCP: &str = "MPTCP is not supported on this platform";

macro_rules! options {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $name:literal $(| $alias:literal)?, $kind:expr $(, $flag:ident $(| $more:ident)*)?;)+) => {
        /// Every option's value. Fields are named as the options, with `_` for `-`.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Config {
            fn default() -> Config {
                Config { $($field: $default,)+ }
            }
        }

        /// The table: one row for each option, in the order CONFIG REWRITE appends them.
        pub static OPTIONS: &[OptionSpec] = &[$(OptionSpec {
            name: $name,
            alias: [$(Some($alias),)? None][0],
            kind: $kind,
            flags: Flags::NONE$(.with(Flags::$flag)$(.with(Flags::$more))*)?,
            doc: concat!($($doc),+).trim_ascii_start(),
            value: |config| &config.$field,
            value_mut: |config| &mut config.$field,
        }),+];
    };
}

options! {
    // ---- Network and connections ----

    /// Addresses to listen on; a leading `-` lets an address be missing, an empty value closes the TCP port.
    bind: Addresses = Addresses::all(), "bind", Kind::Special, MULTI;
    /// TCP port; 0 does not listen on TCP.
    port: u16 = 6379, "port", int(0, 65535);
    /// Refuses commands of clients from other machines while the default user has no password.
    protected_mode: bool = true, "protected-mode", yes_no();
    /// Length of the queue of connections the kernel has not handed over yet.
    tcp_backlog: u32 = 511, "tcp-backlog", int(0, INT_MAX), IMMUTABLE;
    /// Path of a Unix socket to listen on as well.
    unixsocket: Text = Text::default(), "unixsocket", optional(), IMMUTABLE;
    /// Group that owns the Unix socket.
    unixsocketgroup: Text = Text::default(), "unixsocketgroup", optional(), IMMUTABLE | INERT;
    /// Access rights of the Unix socket in octal; 0 leaves them to the umask.
    unixsocketperm: u32 = 0, "unixsocketperm", number(Form::Octal, 0, 0o777), IMMUTABLE;
    /// Seconds after which an idle client is disconnected; 0 never.
    timeout: u32 = 0, "timeout", int(0, INT_MAX);
    /// Seconds between TCP keepalive probes; 0 sends none.
    tcp_keepalive: u32 = 300, "tcp-keepalive", int(0, INT_MAX);
    /// Most clients connected at once.
    maxclients: u32 = 10000, "maxclients", int(1, UINT_MAX);
    /// Most TCP connections accepted in one turn of the event loop.
    max_new_connections_per_cycle: u32 = 10, "max-new-connections-per-cycle", int(1, 1000);
    /// Most TLS connections accepted in one turn of the event loop.
    max_new_tls_connections_per_cycle: u32 = 1, "max-new-tls-connections-per-cycle", int(1, 1000), INERT;
    /// Address that outgoing connections start from.
    bind_source_addr: Text = Text::default(), "bind-source-addr", optional();
    /// Mark (`SO_MARK`) put on every socket; 0 puts none.
    socket_mark_id: u32 = 0, "socket-mark-id", int(0, UINT_MAX), IMMUTABLE | INERT;
    /// Accepts Multipath TCP.
    mptcp: bool = false, "mptcp", yes_no(), IMMUTABLE;
    /// Largest single argument of a request, in bytes.
    proto_max_bulk_len: u64 = 512 << 20, "proto-max-bulk-len", memory(1 << 20, LONG_MAX);
    /// Bytes of unprocessed request after which a client is disconnected.
    client_query_buffer_limit: u64 = 1 << 30, "client-query-buffer-limit", memory(1 << 20, LONG_MAX);
    /// Limits of unread replies by class of client: hard bytes, soft bytes, seconds over the soft limit.
    client_output_buffer_limit: OutputBufferLimits = OutputBufferLimits::STANDARD, "client-output-buffer-limit", Kind::Special, MULTI;
    /// Memory all clients together may use before the largest are disconnected; bytes, or % of `maxmemory`; 0 no limit.
    maxmemory_clients: i64 = 0, "maxmemory-clients", number(Form::MemoryOrPercent, -100, LONG_MAX);
    /// Most keys remembered for client-side caching; 0 no limit.
    tracking_table_max_keys: u64 = 1_000_000, "tracking-table-max-keys", int(0, LONG_MAX);

    // ---- Process and logging ----

    /// Runs in the background.
    daemonize: bool = false, "daemonize", yes_no(), IMMUTABLE;
    /// File that holds the process id while the server runs.
    pidfile: Text = Text::default(), "pidfile", optional(), IMMUTABLE;
    /// Supervisor to tell when the server is ready.
    supervised: Supervised = Supervised::No, "supervised", Kind::Enum(Supervised::WORDS), IMMUTABLE;
    /// Least important messages that are logged.
    loglevel: LogLevel = LogLevel::Notice, "loglevel", Kind::Enum(LogLevel::WORDS);
    /// File the log is appended to; empty writes to standard output.
    logfile: Text = Text::default(), "logfile", string(), IMMUTABLE;
    /// Layout of log lines.
    log_format: LogFormat = LogFormat::Legacy, "log-format", Kind::Enum(LogFormat::WORDS);
    /// Layout of the time in log lines.
    log_timestamp_format: LogTimestampFormat = LogTimestampFormat::Legacy, "log-timestamp-format", Kind::Enum(LogTimestampFormat::WORDS);
    /// Also logs to syslog.
    syslog_enabled: bool = false, "syslog-enabled", yes_no(), IMMUTABLE | INERT;
    /// Name the server has in syslog.
    syslog_ident: Text = Text::new("valkey"), "syslog-ident", string(), IMMUTABLE | INERT;
    /// Facility of the messages in syslog.
    syslog_facility: SyslogFacility = SyslogFacility::Local0, "syslog-facility", Kind::Enum(SyslogFacility::WORDS), IMMUTABLE | INERT;
    /// Writes a report when the server crashes.
    crash_log_enabled: bool = true, "crash-log-enabled", yes_no();
    /// Tests memory as part of the crash report.
    crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", yes_no(), INERT;
    /// Keeps keys and values out of the log.
    hide_user_data_from_log: bool = true, "hide-user-data-from-log", yes_no();
    /// Shows the logo even when the log is not a terminal.
    always_show_logo: bool = false, "always-show-logo", yes_no(), IMMUTABLE;
    /// Sets the title that process listings show.
    set_proc_title: bool = true, "set-proc-title", yes_no(), IMMUTABLE;
    /// What the process title is made of.
    proc_title_template: Text = Text::new("{title} {listen-addr} {server-mode}"), "proc-title-template", checked(check::proc_title);
    /// Collation order for text comparison.
    locale_collate: Text = Text::default(), "locale-collate", checked(check::locale), INERT;
    /// Number of databases.
    databases: u32 = 16, "databases", int(1, INT_MAX), IMMUTABLE;
    /// Seeds the hash of keys for a reproducible order; random when unset.
    hash_seed: Text = Text::default(), "hash-seed", optional_checked(check::hash_seed), IMMUTABLE;
    /// Start-up checks whose failure is ignored.
    ignore_warnings: Text = Text::default(), "ignore-warnings", string();
    /// Asks the kernel for no huge pages, which make copy-on-write after a fork expensive.
    disable_thp: bool = true, "disable-thp", yes_no(), IMMUTABLE;
    /// Whether the score by which the kernel picks processes to kill is set.
    oom_score_adj: OomScoreAdj = OomScoreAdj::No, "oom-score-adj", Kind::Enum(OomScoreAdj::WORDS);
    /// That score for a primary, a replica and a background child.
    oom_score_adj_values: OomScores = OomScores([0, 200, 800]), "oom-score-adj-values", Kind::Special, MULTI;
    /// How a shutdown by SIGINT behaves.
    shutdown_on_sigint: ShutdownOnSignal = ShutdownOnSignal::DEFAULT, "shutdown-on-sigint", Kind::EnumSet(ShutdownOnSignal::WORDS), MULTI;
    /// How a shutdown by SIGTERM behaves.
    shutdown_on_sigterm: ShutdownOnSignal = ShutdownOnSignal::DEFAULT, "shutdown-on-sigterm", Kind::EnumSet(ShutdownOnSignal::WORDS), MULTI;
    /// Seconds a shutdown waits for replicas to catch up.
    shutdown_timeout: u32 = 10, "shutdown-timeout", int(0, INT_MAX);
    /// Times a second that background work runs, from 1 to 500.
    hz: u32 = 10, "hz", int(0, INT_MAX);
    /// Microseconds, at most, that the server pauses after it has served a few of many active connections, so that more
    /// requests gather; 0 never.
    request_gathering_max_us: u32 = 50, "request-gathering-max-us", int(0, 1000);
    /// Milliseconds of a running script after which other clients are answered BUSY; 0 never.
    busy_reply_threshold: i64 = 5000, "busy-reply-threshold" | "lua-time-limit", int(0, LONG_MAX);
    /// CPUs the server's thread may run on.
    server_cpulist: Text = Text::default(), "server-cpulist" | "server_cpulist", optional(), IMMUTABLE | INERT;
    /// CPUs background threads may run on.
    bio_cpulist: Text = Text::default(), "bio-cpulist" | "bio_cpulist", optional(), IMMUTABLE | INERT;
    /// CPUs the child that rewrites the append-only file may run on.
    aof_rewrite_cpulist: Text = Text::default(), "aof-rewrite-cpulist" | "aof_rewrite_cpulist", optional(), IMMUTABLE | INERT;
    /// CPUs the child that saves a snapshot may run on.
    bgsave_cpulist: Text = Text::default(), "bgsave-cpulist" | "bgsave_cpulist", optional(), IMMUTABLE | INERT;
    /// Threads that read, parse and write for clients.
    io_threads: u32 = 1, "io-threads", int(1, 256), INERT;
    /// Keeps the I/O threads running even without work for them.
    io_threads_always_active: bool = false, "io-threads-always-active", yes_no(), HIDDEN | INERT;
    /// Commands whose keys are prefetched together; 0 and 1 prefetch none.
    prefetch_batch_max_size: u32 = 16, "prefetch-batch-max-size", int(0, 128);
    /// I/O threads from which replies refer to values instead of copying them.
    min_io_threads_avoid_copy_reply: u32 = 7, "min-io-threads-avoid-copy-reply", int(0, INT_MAX), HIDDEN | INERT;
    /// Bytes from which a reply refers to a string instead of copying it.
    min_string_size_avoid_copy_reply: u32 = 16384, "min-string-size-avoid-copy-reply", int(0, INT_MAX), HIDDEN | INERT;
    /// The same with I/O threads.
    min_string_size_avoid_copy_reply_threaded: u32 = 65536, "min-string-size-avoid-copy-reply-threaded", int(0, INT_MAX), HIDDEN | INERT;
    /// Replies in Redis's words where Valkey's differ.
    extended_redis_compatibility: bool = false, "extended-redis-compatibility", yes_no();
    /// Availability zone, shown to clients.
    availability_zone: Text = Text::default(), "availability-zone", string();

    // ---- Access ----

    /// Password of the default user.
    requirepass: Text = Text::default(), "requirepass", optional(), SENSITIVE;
    /// File of users and their rights.
    aclfile: Text = Text::default(), "aclfile", string(), IMMUTABLE;
    /// Most entries of the log of refused commands.
    acllog_max_len: u64 = 128, "acllog-max-len", int(0, LONG_MAX);
    /// Channels a new user may use.
    acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, "acl-pubsub-default", Kind::Enum(AclPubsubDefault::WORDS);
    /// Who may change protected options.
    enable_protected_configs: ProtectedAction = ProtectedAction::No, "enable-protected-configs", Kind::Enum(ProtectedAction::WORDS), IMMUTABLE;
    /// Who may use DEBUG.
    enable_debug_command: ProtectedAction = ProtectedAction::No, "enable-debug-command", Kind::Enum(ProtectedAction::WORDS), IMMUTABLE;
    /// Who may use MODULE.
    enable_module_command: ProtectedAction = ProtectedAction::No, "enable-module-command", Kind::Enum(ProtectedAction::WORDS), IMMUTABLE | INERT;

    // ---- Snapshots ----

    /// Working directory, where every file of the server is.
    dir: WorkingDirectory = WorkingDirectory, "dir", Kind::Special, PROTECTED | DENY_LOADING;
    /// File name of the snapshot.
    dbfilename: Text = Text::new("dump.rdb"), "dbfilename", checked(check::dbfilename), PROTECTED;
    /// When a snapshot is taken by itself: pairs of seconds and changes; empty never.
    save: SavePoints = SavePoints::standard(), "save", Kind::Special, MULTI;
    /// Refuses writes after a background save failed.
    stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", yes_no();
    /// Compresses strings in snapshots.
    rdbcompression: bool = true, "rdbcompression", yes_no();
    /// Ends snapshots with a checksum and verifies it on load.
    rdbchecksum: bool = true, "rdbchecksum", yes_no(), IMMUTABLE;
    /// Whether snapshots of a newer format version are refused.
    rdb_version_check: RdbVersionCheck = RdbVersionCheck::Strict, "rdb-version-check", Kind::Enum(RdbVersionCheck::WORDS);
    /// Deletes snapshot files that were made for replication only.
    rdb_del_sync_files: bool = false, "rdb-del-sync-files", yes_no();
    /// Forces a snapshot to disk bit by bit while it is written.
    rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", yes_no();
    /// Microseconds a save waits after each key; for tests.
    rdb_key_save_delay: i32 = 0, "rdb-key-save-delay", int(i32::MIN as i64, INT_MAX), HIDDEN;
    /// Microseconds a load waits after each key; for tests.
    key_load_delay: i32 = 0, "key-load-delay", int(i32::MIN as i64, INT_MAX), HIDDEN;
    /// Bytes loaded between two looks at the sockets.
    loading_process_events_interval_bytes: i64 = 2 << 20, "loading-process-events-interval-bytes", int(1024, INT_MAX), HIDDEN;

    // ---- Memory limit, expiry and freeing ----

    /// Memory for data, in bytes; 0 no limit.
    maxmemory: u64 = 0, "maxmemory", memory(0, u64::MAX);
    /// What is evicted at the limit.
    maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction, "maxmemory-policy", Kind::Enum(MaxmemoryPolicy::WORDS);
    /// Keys compared to find one to evict.
    maxmemory_samples: u32 = 5, "maxmemory-samples", int(1, 64);
    /// How hard eviction works before it lets commands run, from 0 to 100.
    maxmemory_eviction_tenacity: u32 = 10, "maxmemory-eviction-tenacity", int(0, 100);
    /// How fast the access counter of LFU saturates.
    lfu_log_factor: u32 = 10, "lfu-log-factor", int(0, INT_MAX);
    /// Minutes after which the access counter of LFU drops by one; 0 never.
    lfu_decay_time: u32 = 1, "lfu-decay-time", int(0, INT_MAX);
    /// How hard expired keys are searched for, from 1 to 10.
    active_expire_effort: u32 = 1, "active-expire-effort", int(1, 10);
    /// Frees evicted values in the background.
    lazyfree_lazy_eviction: bool = true, "lazyfree-lazy-eviction", yes_no();
    /// Frees expired values in the background.
    lazyfree_lazy_expire: bool = true, "lazyfree-lazy-expire", yes_no();
    /// Frees overwritten values in the background.
    lazyfree_lazy_server_del: bool = true, "lazyfree-lazy-server-del", yes_no();
    /// Makes DEL free in the background, as UNLINK does.
    lazyfree_lazy_user_del: bool = true, "lazyfree-lazy-user-del", yes_no();
    /// Makes FLUSHALL and FLUSHDB free in the background unless told otherwise.
    lazyfree_lazy_user_flush: bool = true, "lazyfree-lazy-user-flush", yes_no();
    /// Lets the allocator give memory back from a thread of its own.
    jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", yes_no();
    /// Spends idle time on growing and shrinking tables.
    activerehashing: bool = true, "activerehashing", yes_no(), INERT;
    /// Moves allocations together while running.
    activedefrag: bool = false, "activedefrag", yes_no();
    /// Bytes of fragmentation below which it does nothing.
    active_defrag_ignore_bytes: u64 = 100 << 20, "active-defrag-ignore-bytes", memory(1, LONG_MAX);
    /// Percentage of fragmentation at which it starts.
    active_defrag_threshold_lower: u32 = 10, "active-defrag-threshold-lower", int(0, 1000);
    /// Percentage of fragmentation at which it works hardest.
    active_defrag_threshold_upper: u32 = 100, "active-defrag-threshold-upper", int(0, 1000);
    /// Least CPU percentage it takes.
    active_defrag_cycle_min: u32 = 1, "active-defrag-cycle-min", int(1, 99);
    /// Most CPU percentage it takes.
    active_defrag_cycle_max: u32 = 25, "active-defrag-cycle-max", int(1, 99);
    /// Microseconds of one piece of its work.
    active_defrag_cycle_us: u32 = 500, "active-defrag-cycle-us", int(0, 100_000);
    /// Elements from which a collection is done piece by piece.
    active_defrag_max_scan_fields: u64 = 1000, "active-defrag-max-scan-fields", int(1, LONG_MAX);

    // ---- Encodings ----

    /// Most fields of a hash kept as a listpack.
    hash_max_listpack_entries: u64 = 512, "hash-max-listpack-entries" | "hash-max-ziplist-entries", int(0, LONG_MAX);
    /// Longest field or value of such a hash, in bytes.
    hash_max_listpack_value: u64 = 64, "hash-max-listpack-value" | "hash-max-ziplist-value", memory(0, LONG_MAX);
    /// Size of a node of a list: elements, or a class of bytes from -1 (4 kB) to -5 (64 kB).
    list_max_listpack_size: i32 = -2, "list-max-listpack-size" | "list-max-ziplist-size", int(i32::MIN as i64, INT_MAX);
    /// Nodes at each end of a list that are not compressed; 0 compresses none.
    list_compress_depth: u32 = 0, "list-compress-depth", int(0, INT_MAX);
    /// Most members of a set of integers kept as an intset.
    set_max_intset_entries: u64 = 512, "set-max-intset-entries", int(0, LONG_MAX);
    /// Most members of a set kept as a listpack.
    set_max_listpack_entries: u64 = 128, "set-max-listpack-entries", int(0, LONG_MAX);
    /// Longest member of such a set, in bytes.
    set_max_listpack_value: u64 = 64, "set-max-listpack-value", int(0, LONG_MAX);
    /// Most members of a sorted set kept as a listpack.
    zset_max_listpack_entries: u64 = 128, "zset-max-listpack-entries" | "zset-max-ziplist-entries", int(0, LONG_MAX);
    /// Longest member of such a sorted set, in bytes.
    zset_max_listpack_value: u64 = 64, "zset-max-listpack-value" | "zset-max-ziplist-value", memory(0, LONG_MAX);
    /// Most bytes of a HyperLogLog in its sparse form.
    hll_sparse_max_bytes: u64 = 3000, "hll-sparse-max-bytes", memory(0, LONG_MAX);
    /// Bytes of a node of a stream; 0 no limit.
    stream_node_max_bytes: u64 = 4096, "stream-node-max-bytes", memory(0, LONG_MAX);
    /// Entries of a node of a stream; 0 no limit.
    stream_node_max_entries: i64 = 100, "stream-node-max-entries", int(0, LONG_MAX);

    // ---- Observation ----

    /// Classes of keyspace events that are published; empty none.
    notify_keyspace_events: EventClasses = EventClasses::default(), "notify-keyspace-events", Kind::Special;
    /// Microseconds from which a command is logged as slow; -1 never, 0 always.
    commandlog_execution_slower_than: i64 = 10000, "commandlog-execution-slower-than" | "slowlog-log-slower-than", int(-1, LONG_MAX);
    /// Most entries of the log of slow commands.
    commandlog_slow_execution_max_len: u64 = 128, "commandlog-slow-execution-max-len" | "slowlog-max-len", int(0, LONG_MAX);
    /// Bytes from which a request is logged as large; -1 never.
    commandlog_request_larger_than: i64 = 1 << 20, "commandlog-request-larger-than", int(-1, LONG_MAX);
    /// Most entries of the log of large requests.
    commandlog_large_request_max_len: u64 = 128, "commandlog-large-request-max-len", int(0, LONG_MAX);
    /// Bytes from which a reply is logged as large; -1 never.
    commandlog_reply_larger_than: i64 = 1 << 20, "commandlog-reply-larger-than", int(-1, LONG_MAX);
    /// Most entries of the log of large replies.
    commandlog_large_reply_max_len: u64 = 128, "commandlog-large-reply-max-len", int(0, LONG_MAX);
    /// Milliseconds from which an event is kept by the latency monitor; 0 switches it off.
    latency_monitor_threshold: i64 = 0, "latency-monitor-threshold", int(0, LONG_MAX);
    /// Keeps a latency histogram for each command.
    latency_tracking: bool = true, "latency-tracking", yes_no();
    /// Percentiles of those histograms that INFO reports.
    latency_tracking_info_percentiles: Percentiles = Percentiles(vec![50.0, 99.0, 99.9]), "latency-tracking-info-percentiles", Kind::Special, MULTI;
    /// Milliseconds after which the log says where the engine thread is if its periodic work has not come; 0: never.
    watchdog_period: u32 = 0, "watchdog-period", int(0, INT_MAX), HIDDEN;
    /// Text added to the crash report; for debugging.
    debug_context: Text = Text::default(), "debug-context", string(), HIDDEN | INERT;
    /// Checks expensive invariants; for debugging.
    enable_debug_assert: bool = false, "enable-debug-assert", yes_no(), IMMUTABLE | HIDDEN | INERT;
    /// Exits instead of aborting on an internal error; for debugging.
    use_exit_on_panic: bool = false, "use-exit-on-panic", yes_no(), HIDDEN | INERT;
    /// File that requests and replies are recorded in; for tests.
    req_res_logfile: Text = Text::default(), "req-res-logfile", optional(), IMMUTABLE | HIDDEN | INERT;
    /// Protocol version a client starts with; for tests.
    client_default_resp: u32 = 2, "client-default-resp", int(2, 3), IMMUTABLE | HIDDEN | INERT;
    /// Lets scripts use functions that were withdrawn as unsafe.
    lua_enable_insecure_api: bool = false, "lua-enable-insecure-api" | "lua-enable-deprecated-api", yes_no(), HIDDEN | PROTECTED;
    /// Runs scripts and functions. With `no` EVAL, SCRIPT, FUNCTION, FCALL and their kin are refused; libraries that come
    /// with the data are kept, and saved again, without being run. Only a restart turns them on again.
    scripting: bool = true, "scripting", yes_no();
    /// Lets an import tool keep expired keys alive.
    import_mode: bool = false, "import-mode", yes_no();

    // ---- Append-only file ----

    /// Logs every write to a file that is replayed at start.
    appendonly: bool = false, "appendonly", yes_no(), DENY_LOADING;
    /// Base name of the append-only files.
    appendfilename: Text = Text::new("appendonly.aof"), "appendfilename", checked(check::appendfilename), IMMUTABLE;
    /// Directory of the append-only files.
    appenddirname: Text = Text::new("appendonlydir"), "appenddirname", checked(check::appenddirname), IMMUTABLE;
    /// When the append-only file is forced to disk.
    appendfsync: AppendFsync = AppendFsync::Everysec, "appendfsync", Kind::Enum(AppendFsync::WORDS);
    /// Does not force it to disk while a child is saving.
    no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", yes_no();
    /// Growth in percent at which it is rewritten; 0 never.
    auto_aof_rewrite_percentage: u32 = 100, "auto-aof-rewrite-percentage", int(0, INT_MAX);
    /// Size below which it is not rewritten.
    auto_aof_rewrite_min_size: u64 = 64 << 20, "auto-aof-rewrite-min-size", memory(0, LONG_MAX);
    /// Loads a file that ends in the middle of a command.
    aof_load_truncated: bool = true, "aof-load-truncated", yes_no();
    /// Starts the rewritten file with a snapshot.
    aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", yes_no();
    /// Adds times to the file, to restore up to one of them.
    aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", yes_no();
    /// Forces the rewritten file to disk bit by bit.
    aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", yes_no();
    /// Keeps files that a rewrite replaced; for tests.
    aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", yes_no(), HIDDEN;

    // ---- Replication ----

    /// Primary to replicate from: host and port.
    replicaof: ReplicaOf = ReplicaOf(None), "replicaof" | "slaveof", Kind::Special, IMMUTABLE | MULTI;
    /// Password told to the primary.
    primaryauth: Text = Text::default(), "primaryauth" | "masterauth", optional(), SENSITIVE;
    /// User told to the primary.
    primaryuser: Text = Text::default(), "primaryuser" | "masteruser", optional(), SENSITIVE;
    /// Answers from old data while the link to the primary is down.
    replica_serve_stale_data: bool = true, "replica-serve-stale-data" | "slave-serve-stale-data", yes_no();
    /// Refuses writes of clients on a replica.
    replica_read_only: bool = true, "replica-read-only" | "slave-read-only", yes_no();
    /// Leaves eviction to the primary.
    replica_ignore_maxmemory: bool = true, "replica-ignore-maxmemory" | "slave-ignore-maxmemory", yes_no();
    /// Frees a replica's old data in the background before a full synchronization.
    replica_lazy_flush: bool = true, "replica-lazy-flush" | "slave-lazy-flush", yes_no();
    /// Rank of a replica in a failover; 0 is never promoted.
    replica_priority: u32 = 100, "replica-priority" | "slave-priority", int(0, INT_MAX);
    /// Shows the replica to monitors.
    replica_announced: bool = true, "replica-announced", yes_no();
    /// Address a replica tells its primary.
    replica_announce_ip: Text = Text::default(), "replica-announce-ip" | "slave-announce-ip", optional();
    /// Port a replica tells its primary; 0 its own.
    replica_announce_port: u16 = 0, "replica-announce-port" | "slave-announce-port", int(0, 65535);
    /// Lets a replica go on when it cannot write to disk; else it ends.
    replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", yes_no();
    /// Sends snapshots to replicas over the socket, without a file.
    repl_diskless_sync: bool = true, "repl-diskless-sync", yes_no();
    /// Seconds to wait for more replicas before that.
    repl_diskless_sync_delay: u32 = 5, "repl-diskless-sync-delay", int(0, INT_MAX);
    /// Replicas at which waiting ends early; 0 none.
    repl_diskless_sync_max_replicas: u32 = 0, "repl-diskless-sync-max-replicas", int(0, INT_MAX);
    /// How a replica loads the snapshot it receives.
    repl_diskless_load: ReplDisklessLoad = ReplDisklessLoad::Disabled, "repl-diskless-load", Kind::Enum(ReplDisklessLoad::WORDS), DENY_LOADING;
    /// Sends the snapshot and the stream over two connections.
    dual_channel_replication_enabled: bool = false, "dual-channel-replication-enabled", yes_no();
    /// Collects small packets on the link to a replica, which costs latency.
    repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", yes_no();
    /// Uses Multipath TCP on the link.
    repl_mptcp: bool = false, "repl-mptcp", only_no(MPTCP), IMMUTABLE | INERT;
    /// Seconds between pings to replicas.
    repl_ping_replica_period: u32 = 10, "repl-ping-replica-period" | "repl-ping-slave-period", int(1, INT_MAX);
    /// Seconds of silence after which the link counts as broken.
    repl_timeout: u32 = 60, "repl-timeout", int(1, INT_MAX);
    /// Bytes of stream kept for replicas that come back.
    repl_backlog_size: u64 = 10 << 20, "repl-backlog-size", memory(1, LONG_MAX);
    /// Seconds without replicas after which that is freed; 0 never.
    repl_backlog_ttl: i64 = 3600, "repl-backlog-ttl", int(0, LONG_MAX);
    /// Replicas that must be connected for writes to be accepted; 0 none.
    min_replicas_to_write: u32 = 0, "min-replicas-to-write" | "min-slaves-to-write", int(0, INT_MAX);
    /// Seconds of lag up to which a replica counts for that.
    min_replicas_max_lag: u32 = 10, "min-replicas-max-lag" | "min-slaves-max-lag", int(0, INT_MAX);
    /// What happens when a replicated command fails.
    propagation_error_behavior: PropagationErrorBehavior = PropagationErrorBehavior::Ignore, "propagation-error-behavior", Kind::Enum(PropagationErrorBehavior::WORDS), INERT;

    // ---- Cluster ----

    /// Runs as a node of a cluster.
    cluster_enabled: bool = false, "cluster-enabled", yes_no(), IMMUTABLE;
    /// File in which the node keeps what it knows of the cluster.
    cluster_config_file: Text = Text::new("nodes.conf"), "cluster-config-file", checked(check::cluster_config_file), IMMUTABLE;
    /// What happens when that file cannot be saved.
    cluster_config_save_behavior: ClusterConfigSaveBehavior = ClusterConfigSaveBehavior::Sync, "cluster-config-save-behavior", Kind::Enum(ClusterConfigSaveBehavior::WORDS);
    /// Number of databases in a cluster.
    cluster_databases: u32 = 1, "cluster-databases", int(1, INT_MAX), IMMUTABLE;
    /// Milliseconds without an answer after which a node counts as down.
    cluster_node_timeout: i64 = 15000, "cluster-node-timeout", int(0, LONG_MAX);
    /// Port of the cluster bus; 0 is the client port + 10000.
    cluster_port: u16 = 0, "cluster-port", int(0, 65535), IMMUTABLE;
    /// Milliseconds between pings; for tests, 0 derives it from the timeout.
    cluster_ping_interval: i64 = 0, "cluster-ping-interval", int(0, LONG_MAX), HIDDEN;
    /// Percentage of the nodes that a message tells about.
    cluster_message_gossip_perc: u32 = 10, "cluster-message-gossip-perc", int(1, 100), HIDDEN;
    /// Replicas a primary keeps before one may move to another primary.
    cluster_migration_barrier: u32 = 1, "cluster-migration-barrier", int(0, INT_MAX);
    /// Lets replicas move to primaries that have none.
    cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", yes_no();
    /// Age of a replica's data, in timeouts, from which it is not promoted; 0 no limit.
    cluster_replica_validity_factor: u32 = 10, "cluster-replica-validity-factor" | "cluster-slave-validity-factor", int(0, INT_MAX);
    /// Never promotes this replica by itself.
    cluster_replica_no_failover: bool = false, "cluster-replica-no-failover" | "cluster-slave-no-failover", yes_no();
    /// Milliseconds a failover by hand may take.
    cluster_manual_failover_timeout: i64 = 5000, "cluster-manual-failover-timeout", int(1, INT_MAX);
    /// Refuses everything while a slot has no node.
    cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", yes_no();
    /// Serves reads while the cluster is down.
    cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", yes_no();
    /// Serves sharded channels while the cluster is down.
    cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", yes_no();
    /// Most bytes queued on a link between nodes; 0 no limit.
    cluster_link_sendbuf_limit: u64 = 0, "cluster-link-sendbuf-limit", memory(0, u64::MAX);
    /// Address told to other nodes.
    cluster_announce_ip: Text = Text::default(), "cluster-announce-ip", optional_checked(check::announced_ip);
    /// Client port told to other nodes; 0 its own.
    cluster_announce_port: u16 = 0, "cluster-announce-port", int(0, 65535);
    /// TLS port told to other nodes; 0 its own.
    cluster_announce_tls_port: u16 = 0, "cluster-announce-tls-port", int(0, 65535);
    /// Bus port told to other nodes; 0 its own.
    cluster_announce_bus_port: u16 = 0, "cluster-announce-bus-port", int(0, 65535);
    /// Host name told to other nodes.
    cluster_announce_hostname: Text = Text::default(), "cluster-announce-hostname", optional_checked(check::announced_hostname);
    /// Name of the node for people.
    cluster_announce_human_nodename: Text = Text::default(), "cluster-announce-human-nodename", optional_checked(check::announced_node_name);
    /// IPv4 address told to clients.
    cluster_announce_client_ipv4: Text = Text::default(), "cluster-announce-client-ipv4", optional_checked(check::ipv4);
    /// IPv6 address told to clients.
    cluster_announce_client_ipv6: Text = Text::default(), "cluster-announce-client-ipv6", optional_checked(check::ipv6);
    /// Port told to clients; 0 its own.
    cluster_announce_client_port: u16 = 0, "cluster-announce-client-port", int(0, 65535);
    /// TLS port told to clients; 0 its own.
    cluster_announce_client_tls_port: u16 = 0, "cluster-announce-client-tls-port", int(0, 65535);
    /// What clients are told to connect to.
    cluster_preferred_endpoint_type: ClusterPreferredEndpointType = ClusterPreferredEndpointType::Ip, "cluster-preferred-endpoint-type", Kind::Enum(ClusterPreferredEndpointType::WORDS);
    /// Seconds a forgotten node may not come back.
    cluster_blacklist_ttl: u64 = 60, "cluster-blacklist-ttl", int(0, u64::MAX);
    /// Most entries of the log of slot migrations.
    cluster_slot_migration_log_max_len: u64 = 1000, "cluster-slot-migration-log-max-len", int(0, LONG_MAX);
    /// Counts use by slot.
    cluster_slot_stats_enabled: bool = false, "cluster-slot-stats-enabled", yes_no();
    /// Bytes still to send up to which a slot migration may finish; -1 no limit.
    slot_migration_max_failover_repl_bytes: i64 = 0, "slot-migration-max-failover-repl-bytes", number(Form::SignedMemory, -1, LONG_MAX);

    // ---- TLS and RDMA ----

    /// TLS port; 0 none.
    tls_port: u16 = 0, "tls-port", int(0, 65535), INERT;
    /// Uses TLS between the nodes of a cluster.
    tls_cluster: bool = false, "tls-cluster", yes_no(), INERT;
    /// Uses TLS to the primary.
    tls_replication: bool = false, "tls-replication", yes_no(), INERT;
    /// Whether TLS clients must present a certificate.
    tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes, "tls-auth-clients", Kind::Enum(TlsAuthClients::WORDS), INERT;
    /// Field of the certificate that names the user.
    tls_auth_clients_user: TlsAuthClientsUser = TlsAuthClientsUser::Off, "tls-auth-clients-user", Kind::Enum(TlsAuthClientsUser::WORDS), INERT;
    /// Certificate of the server.
    tls_cert_file: Text = Text::default(), "tls-cert-file", optional(), VOLATILE | INERT;
    /// Key of the server.
    tls_key_file: Text = Text::default(), "tls-key-file", optional(), VOLATILE | INERT;
    /// Password of that key.
    tls_key_file_pass: Text = Text::default(), "tls-key-file-pass", optional(), SENSITIVE | INERT;
    /// Certificate for outgoing connections.
    tls_client_cert_file: Text = Text::default(), "tls-client-cert-file", optional(), VOLATILE | INERT;
    /// Key for outgoing connections.
    tls_client_key_file: Text = Text::default(), "tls-client-key-file", optional(), VOLATILE | INERT;
    /// Password of that key.
    tls_client_key_file_pass: Text = Text::default(), "tls-client-key-file-pass", optional(), SENSITIVE | INERT;
    /// Diffie-Hellman parameters.
    tls_dh_params_file: Text = Text::default(), "tls-dh-params-file", optional(), VOLATILE | INERT;
    /// Certificates of trusted authorities.
    tls_ca_cert_file: Text = Text::default(), "tls-ca-cert-file", optional(), VOLATILE | INERT;
    /// Directory of certificates of trusted authorities.
    tls_ca_cert_dir: Text = Text::default(), "tls-ca-cert-dir", optional(), VOLATILE | INERT;
    /// TLS versions that are accepted.
    tls_protocols: Text = Text::default(), "tls-protocols", optional(), INERT;
    /// Ciphers up to TLS 1.2.
    tls_ciphers: Text = Text::default(), "tls-ciphers", optional(), INERT;
    /// Ciphers of TLS 1.3.
    tls_ciphersuites: Text = Text::default(), "tls-ciphersuites", optional(), INERT;
    /// Lets the server choose the cipher.
    tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", yes_no(), INERT;
    /// Lets clients resume sessions.
    tls_session_caching: bool = true, "tls-session-caching", yes_no(), INERT;
    /// Most sessions kept for that; 0 no limit.
    tls_session_cache_size: u32 = 20 * 1024, "tls-session-cache-size", int(0, INT_MAX), INERT;
    /// Seconds a session is kept.
    tls_session_cache_timeout: u32 = 300, "tls-session-cache-timeout", int(0, INT_MAX), INERT;
    /// Seconds between looks for new certificates; 0 none.
    tls_auto_reload_interval: u32 = 0, "tls-auto-reload-interval", int(0, INT_MAX), INERT;
    /// Addresses to listen on for RDMA.
    rdma_bind: Addresses = Addresses(Vec::new()), "rdma-bind", Kind::Special, MULTI | INERT;
    /// RDMA port; 0 none.
    rdma_port: u16 = 0, "rdma-port", int(0, 65535), INERT;
    /// Bytes of an RDMA receive buffer.
    rdma_rx_size: u32 = 1 << 20, "rdma-rx-size", int(64 << 10, 16 << 20), IMMUTABLE | INERT;
    /// RDMA completion vector; -1 picks one.
    rdma_completion_vector: i32 = -1, "rdma-completion-vector", int(-1, 1024), IMMUTABLE | INERT;
}
