//! Stock Sentinels watch over servers of this project and a real Valkey: the primary is killed, another one takes its
//! place, and what was acknowledged by a replica before is there.
//!
//! `KILLS` in the environment sets how often (default 2; the time between two is mostly Sentinel's own).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod support;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::info::{field, section};
use support::reply::Conversation;
use support::{Server, peer};

/// Within this time a new primary has to serve: Sentinel's limits below, and a second attempt.
const PATIENCE: Duration = Duration::from_secs(60);
const SENTINELS: usize = 3;

struct Sentinels {
    processes: Vec<Child>,
    ports: Vec<u16>,
    _directory: tempfile::TempDir,
}

impl Sentinels {
    /// Three of them; two have to agree that the primary is gone.
    fn start(primary: u16) -> Option<Self> {
        let program = peer("valkey-sentinel")?;
        let directory = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = (0..SENTINELS)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
            .collect();
        let processes = ports
            .iter()
            .map(|port| {
                let file = directory.path().join(format!("{port}.conf"));
                let text = format!(
                    "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor watched 127.0.0.1 {primary} 2\n\
                     sentinel down-after-milliseconds watched 1000\nsentinel failover-timeout watched 6000\n\
                     sentinel parallel-syncs watched 2\n",
                    directory.path().display()
                );
                std::fs::write(&file, text).unwrap();
                let mut command = Command::new(&program);
                command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap()
            })
            .collect();
        Some(Self { processes, ports, _directory: directory })
    }

    fn ask(&self, request: &str) -> String {
        // A conversation is with a server of ours; a sentinel speaks the same protocol.
        let stream = TcpStream::connect(("127.0.0.1", self.ports[0]));
        stream.map_or_else(|_| String::new(), |stream| Conversation::over(stream).ask(request))
    }

    /// The port of the primary that clients are sent to.
    fn primary(&self) -> Option<u16> {
        let reply = self.ask("SENTINEL GET-PRIMARY-ADDR-BY-NAME watched");
        reply.rsplit('"').nth(1)?.parse().ok()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn has_replicas(server: &Server, count: usize) -> bool {
    let text = section(&mut Conversation::open(server), "replication");
    field(&text, "role") == "master" && text.matches("state=online").count() == count
}

#[test]
fn a_new_primary_serves_what_a_replica_had_acknowledged() {
    let options = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    let Some(valkey) = Server::start_valkey(&options) else { return };
    let mut servers = [Server::start(&options), Server::start(&options), valkey];
    for replica in &servers[1..] {
        Conversation::open(replica).ask(&format!("REPLICAOF 127.0.0.1 {}", servers[0].port));
    }
    wait_for("the replicas are online", || has_replicas(&servers[0], 2));
    let Some(sentinels) = Sentinels::start(servers[0].port) else { return };
    wait_for("the sentinels know all", || {
        sentinels.ask("INFO sentinel").contains(&format!("slaves=2,sentinels={SENTINELS}"))
    });
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(2);
    for round in 0..kills {
        let old = sentinels.primary().unwrap();
        let place = servers.iter().position(|server| server.port == old).unwrap();
        let mut conversation = Conversation::open(&servers[place]);
        for key in 0..50 {
            assert_eq!(conversation.ask(&format!("SET {round}:{key} {key}")), "OK\n");
        }
        assert!(["(integer) 1\n", "(integer) 2\n"].contains(&conversation.ask("WAIT 1 5000").as_str()));
        servers[place].kill();
        let killed = Instant::now();
        let mut new = old;
        wait_for("another one serves", || {
            new = sentinels.primary().unwrap_or(old);
            let server = servers.iter().find(|server| server.port == new && new != old);
            server.is_some_and(|server| Conversation::open(server).ask("SET probe 1") == "OK\n")
        });
        eprintln!("round {round}: a new primary after {:.1} s", killed.elapsed().as_secs_f64());
        let serving = servers.iter().position(|server| server.port == new).unwrap();
        let mut conversation = Conversation::open(&servers[serving]);
        for key in 0..50 {
            assert_eq!(conversation.ask(&format!("GET {round}:{key}")), format!("\"{key}\"\n"));
        }
        servers[place].restart();
        wait_for("all follow one primary", || {
            let primary = sentinels.primary();
            let primary = servers.iter().find(|server| Some(server.port) == primary);
            primary.is_some_and(|primary| has_replicas(primary, 2))
        });
    }
}
