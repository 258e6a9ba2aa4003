//! The memory profile of a replica of a real Valkey that is written to all the while: every byte has an owner, in the steady
//! state and in the middle of a synchronization.
//!
//! `KEYS` in the environment sets how many keys the primary holds (default 4,000); `SHOW` prints the figures.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use support::Server;
use support::data::DataSet;
use support::info::{field, number, section};
use support::reply::Conversation;

fn keys() -> usize {
    std::env::var("KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(4_000)
}

/// Somebody who writes to a server without a pause until this is dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, mut conversation) = (Arc::clone(&stop), Conversation::open(server));
        let thread = std::thread::spawn(move || {
            let value = "v".repeat(700);
            for number in 0_u64.. {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                conversation.ask(&format!("SET busy:{} {value}", number % 500));
                conversation.ask(&format!("LPUSH list:{} {value}", number % 7));
                conversation.ask(&format!("LTRIM list:{} 0 50", number % 7));
                conversation.ask(&format!("ZADD sorted {number} member:{}", number % 300));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Takes a profile and holds it to the identity. Gives INFO's section.
fn check(server: &Server, what: &str) -> String {
    let mut conversation = Conversation::open(server);
    let reply = conversation.ask("BGSAVE STAT_MEMORY");
    assert_eq!(reply, "Background saving started\n", "{what}");
    let mut text = String::new();
    server.until("a profile is published", || {
        text = section(&mut conversation, "rdb_stats");
        field(&text, "rdb_stats_in_progress") == "0"
    });
    assert_eq!(field(&text, "rdb_stats_last_status"), "ok", "{what}");
    let (used, rest) = (number(&text, "mem_used_at_fork"), number(&text, "mem_unattributed"));
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{what}: used {used}, unattributed {rest}");
    }
    let bound = (used / 1000).max(64 << 10);
    assert!((0..=bound).contains(&rest), "{what}: {rest} of {used} bytes have no owner\n{text}");
    text
}

fn replication(server: &Server, name: &str) -> String {
    field(&section(&mut Conversation::open(server), "replication"), name)
}

fn primary(options: &[&str]) -> Option<Server> {
    let primary = Server::start_valkey(&[&["--repl-diskless-sync-delay", "0"], options].concat())?;
    DataSet::new(3).store(&mut Conversation::open(&primary), keys());
    Some(primary)
}

fn follow(replica: &Server, primary: &Server) {
    Conversation::open(replica).ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
}

#[test]
fn a_replica_of_a_busy_primary_is_accounted_for() {
    let Some(primary) = primary(&[]) else { return };
    let _writer = Writer::start(&primary);
    let replica = Server::start(&["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"]);
    follow(&replica, &primary);
    replica.until("the link is up", || replication(&replica, "master_link_status") == "up");
    replica.until("the append-only file is there", || {
        let text = section(&mut Conversation::open(&replica), "persistence");
        field(&text, "aof_rewrite_in_progress") == "0" && field(&text, "rdb_bgsave_in_progress") == "0"
    });
    for round in 0..5 {
        let text = check(&replica, &format!("busy replica, round {round}"));
        assert!(number(&text, "mem_sys_repl_backlog") > 0);
        // A cut link leaves nothing behind.
        Conversation::open(&replica).ask("CLIENT KILL TYPE primary");
        replica.until("the link is up again", || replication(&replica, "master_link_status") == "up");
    }
}

#[test]
fn a_snapshot_on_its_way_to_the_disk_is_accounted_for() {
    let Some(primary) = primary(&["--rdb-key-save-delay", "2000"]) else { return };
    let _writer = Writer::start(&primary);
    let replica = Server::start(&[]);
    follow(&replica, &primary);
    for round in 0..3 {
        let progress = || {
            let text = section(&mut Conversation::open(&replica), "replication");
            field(&text, "master_sync_in_progress") == "1" && number(&text, "master_sync_read_bytes") > 0
        };
        replica.until("the snapshot is coming", progress);
        check(&replica, &format!("snapshot to disk, round {round}"));
    }
    Conversation::open(&primary).ask("CONFIG SET rdb-key-save-delay 0");
}

#[test]
fn a_stream_that_waits_for_its_snapshot_is_accounted_for() {
    let dual = "--dual-channel-replication-enabled";
    let Some(primary) = primary(&[dual, "yes", "--rdb-key-save-delay", "2000"]) else { return };
    let _writer = Writer::start(&primary);
    let replica = Server::start(&[dual, "yes"]);
    follow(&replica, &primary);
    for megabytes in 1..4 {
        replica.until("so much of the stream waits", || {
            let text = section(&mut Conversation::open(&replica), "replication");
            number(&text, "replicas_repl_buffer_size") > megabytes << 20
        });
        let text = check(&replica, &format!("{megabytes} MiB of the stream wait"));
        assert!(number(&text, "mem_sys_repl_buffer") > megabytes << 20, "{text}");
    }
    Conversation::open(&primary).ask("CONFIG SET rdb-key-save-delay 0");
}
