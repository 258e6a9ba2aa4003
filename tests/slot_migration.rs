//! Slots that move to another node as a whole (CLUSTER MIGRATESLOTS): between nodes of ours, and to and from Valkey's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::time::Duration;

use support::Server;
use support::nodes::{Node, all, form};
use support::reply::Conversation;

const OPTIONS: &[&str] = &[
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "15000",
    "--cluster-databases",
    "3",
    "--cluster-allow-replica-migration",
    "no",
];

/// The slot of `{06S}`, which the first node serves.
const SLOT: &str = "0";

fn ours() -> Node {
    Node::of(Server::start(OPTIONS))
}

fn valkeys() -> Option<Node> {
    Server::start_valkey(OPTIONS).map(Node::of)
}

/// Keys of every type in the slot, some in another database.
fn fill(client: &mut Conversation) {
    for request in [
        "SET {06S}string value",
        "SET {06S}number 4711 PX 10000000",
        "RPUSH {06S}list a b c 4",
        "SADD {06S}set a b c",
        "SADD {06S}intset 1 2 3",
        "ZADD {06S}zset 1 a 2.5 b -inf c",
        "HSET {06S}hash f1 v1 f2 v2",
        "HSETEX {06S}volatile PX 10000000 FIELDS 1 f v",
        "XADD {06S}stream 1-1 f v",
        "XADD {06S}stream 2-1 f v",
        "XGROUP CREATE {06S}stream group 0",
        "XREADGROUP GROUP group one COUNT 1 STREAMS {06S}stream >",
        "PFADD {06S}hll a b c",
        "SELECT 2",
        "SET {06S}elsewhere v",
        "SELECT 0",
        "SET {Qi}other v",
    ] {
        let reply = client.ask(request);
        assert!(!reply.contains("error"), "{request}: {reply}");
    }
    for number in 0..2000 {
        client.ask(&format!("SET {{06S}}many:{number} {number}"));
    }
}

const KEYS: [&str; 11] =
    ["string", "number", "list", "set", "intset", "zset", "hash", "volatile", "stream", "hll", "many:1999"];

/// What the slot holds, in a form that does not depend on who holds it.
fn digest(client: &mut Conversation) -> Vec<String> {
    let mut digests: Vec<String> =
        KEYS.iter().map(|key| client.ask(&format!("DEBUG DIGEST-VALUE {{06S}}{key}"))).collect();
    digests.push(client.ask("XINFO STREAM {06S}stream FULL").replace(char::is_numeric, ""));
    digests.push(client.ask(&format!("CLUSTER COUNTKEYSINSLOT {SLOT}")));
    client.ask("SELECT 2");
    digests.push(client.ask("DEBUG DIGEST-VALUE {06S}elsewhere"));
    client.ask("SELECT 0");
    digests
}

fn jobs(node: &mut Node) -> String {
    node.client.ask("CLUSTER GETSLOTMIGRATIONS")
}

/// Whether the newest job of a node has come to this.
fn is(node: &mut Node, state: &str) -> bool {
    let jobs = jobs(node);
    jobs.split("\"state\"").nth(1).is_some_and(|rest| rest.contains(&format!("\"{state}\"")))
}

fn until(node: &mut Node, state: &str) {
    all(std::slice::from_mut(node), &format!("its migration is {state}"), |node| is(node, state));
}

fn migrate(nodes: &mut [Node], from: usize, to: usize) {
    let target = nodes[to].id.clone();
    // As valkey-cli sends it, with the end of a C string.
    let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE\0", SLOT, SLOT, "NODE", &target];
    nodes[from].client.send(&words);
    assert_eq!(nodes[from].client.read(), "OK\n");
}

/// Moves the slot while it is written to, and holds what arrives against what left.
fn move_slot(nodes: &mut [Node], from: usize, to: usize) {
    nodes[from].ok("DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    migrate(nodes, from, to);
    until(&mut nodes[from], "waiting-to-pause");
    // The keys are there and nobody sees them.
    let there = nodes[to].client.ask("DBSIZE");
    assert!(there == "(integer) 0\n" || there == "(integer) 1\n", "{there}");
    assert_eq!(nodes[to].client.ask("KEYS {06S}*"), "(array of 0)\n");
    // A slow machine may have the nodes think for a moment that others have failed.
    all(&mut nodes[to..=to], "it sends clients on", |node| {
        node.client.ask("GET {06S}string").contains("MOVED 0 ")
    });
    assert!(nodes[from].client.ask("CLIENT LIST").contains("flags=E"));
    assert!(nodes[to].client.ask("CLIENT LIST").contains("flags=i"));
    // What is written now follows: a transaction, a script, an expiry, another database, a deletion.
    let source = &mut nodes[from].client;
    source.ask("MULTI");
    source.ask("APPEND {06S}string +");
    source.ask("INCR {06S}number");
    source.ask("EXEC");
    source.ask("EVAL \"redis.call('RPUSH', KEYS[1], 'x'); return redis.call('LPOP', KEYS[1])\" 1 {06S}list");
    source.ask("PEXPIRE {06S}many:0 1");
    source.ask("DEL {06S}many:1");
    source.ask("SELECT 2");
    source.ask("APPEND {06S}elsewhere +");
    source.ask("SELECT 0");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(source.ask("GET {06S}many:0"), "(nil)\n");
    let left = digest(source);
    nodes[from].ok("DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    until(&mut nodes[from], "success");
    until(&mut nodes[to], "success");
    assert_eq!(digest(&mut nodes[to].client), left);
    all(&mut nodes[from..=from], "it has nothing left of the slot", |node| {
        node.client.ask(&format!("CLUSTER COUNTKEYSINSLOT {SLOT}")) == "(integer) 0\n"
    });
    let target = nodes[to].server.port;
    all(nodes, "it knows whose the slot is", |node| {
        node.server.port == target || node.client.ask("GET {06S}string").contains(&format!(":{target}"))
    });
}

#[test]
fn a_slot_moves_between_our_nodes_with_its_replicas() {
    let mut nodes: Vec<Node> = (0..6).map(|_| ours()).collect();
    form(&mut nodes);
    fill(&mut nodes[0].client);
    for (from, to) in [(0, 1), (1, 0)] {
        move_slot(&mut nodes, from, to);
        let size = nodes[to].client.ask("DBSIZE");
        all(&mut nodes[to + 3..=to + 3], "the replica has the same", |node| {
            node.client.ask("DBSIZE") == size && is(node, "success")
        });
    }
}

/// Valkey's node takes our slot, and ours takes it back; then the same with the roles exchanged.
#[test]
fn a_slot_moves_between_our_nodes_and_valkeys() {
    let Some(valkey) = valkeys() else { return };
    let Some(replica) = valkeys() else { return };
    // Valkey replicates our first node: it hears of our imports.
    let mut nodes = vec![ours(), valkey, ours(), replica];
    form(&mut nodes);
    fill(&mut nodes[0].client);
    move_slot(&mut nodes, 0, 1);
    move_slot(&mut nodes, 1, 0);
    let size = nodes[0].client.ask("DBSIZE");
    all(&mut nodes[3..], "Valkey's replica of our node has the same", |node| {
        node.client.ask("DBSIZE") == size && is(node, "success")
    });
}

/// Our replica of Valkey's node hides what its primary imports from ours, and shows it once that is done.
#[test]
fn our_replica_follows_an_import_of_valkeys() {
    let Some(valkey) = valkeys() else { return };
    let mut nodes = vec![valkey, ours(), ours(), ours()];
    form(&mut nodes);
    let target = nodes[0].id.clone();
    nodes[1].ok("DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    // Of slot 5462, our second node's.
    nodes[1].ok("SET {450}key value");
    nodes[1].ok(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 5462 5462 NODE {target}"));
    until(&mut nodes[1], "waiting-to-pause");
    all(&mut nodes[3..], "the replica has the key", |node| {
        node.client.ask("CLUSTER COUNTKEYSINSLOT 5462") == "(integer) 1\n"
    });
    assert_eq!(nodes[3].client.ask("DBSIZE"), "(integer) 0\n");
    assert!(is(&mut nodes[3], "occurring-on-primary"));
    nodes[1].ok("DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    all(&mut nodes[3..], "the replica shows the key", |node| {
        node.client.ask("DBSIZE") == "(integer) 1\n" && is(node, "success")
    });
}

/// A target that is started again has in its file what had come; it throws that away.
#[test]
fn what_is_left_of_an_import_goes_when_the_target_starts_again() {
    for options in [["--save", "100000 1"], ["--appendonly", "yes"]] {
        // The file has what was answered: it is written before the reply, and outlives the process.
        let options = [OPTIONS, &options].concat();
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::of(Server::start(&options))).collect();
        form(&mut nodes);
        fill(&mut nodes[0].client);
        nodes[0].ok("DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        migrate(&mut nodes, 0, 1);
        until(&mut nodes[0], "waiting-to-pause");
        assert_ne!(nodes[1].client.ask(&format!("CLUSTER COUNTKEYSINSLOT {SLOT}")), "(integer) 0\n");
        if options.contains(&"--save") {
            nodes[1].ok("SAVE");
        }
        nodes[1].server.restart();
        nodes[1].client = Conversation::open(&nodes[1].server);
        all(&mut nodes[1..2], "it has nothing of the slot", |node| {
            is(node, "failed")
                && node.client.ask(&format!("CLUSTER COUNTKEYSINSLOT {SLOT}")) == "(integer) 0\n"
        });
        assert!(jobs(&mut nodes[1]).contains("Process restarted"), "{options:?}");
        until(&mut nodes[0], "failed");
        assert!(jobs(&mut nodes[0]).contains("Connection lost to target"));
        assert_eq!(nodes[0].client.ask("GET {06S}string"), "\"value\"\n");
    }
}

/// What waits for a target that does not take it belongs to the cluster's row, is limited, and goes with the job.
#[test]
fn every_byte_that_waits_for_a_target_has_an_owner() {
    let mut nodes: Vec<Node> = (0..3).map(|_| ours()).collect();
    form(&mut nodes);
    nodes[0].ok("DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    migrate(&mut nodes, 0, 1);
    until(&mut nodes[0], "waiting-to-pause");
    let target = nodes[1].server.process.id().to_string();
    let signal = |name: &str| {
        assert!(std::process::Command::new("kill").args([name, &target]).status().unwrap().success());
    };
    signal("-STOP");
    let large = "x".repeat(1 << 20);
    for _ in 0..24 {
        nodes[0].ok(&format!("SET {{06S}}large {large}"));
    }
    let waiting = figure(&nodes[0].client.ask("INFO memory"), "mem_cluster_slot_export");
    assert!(waiting > 10 << 20, "{waiting}");
    nodes[0].client.ask("BGSAVE STAT_MEMORY");
    let mut stats = String::new();
    for _ in 0..500 {
        stats = nodes[0].client.ask("INFO rdb_stats");
        if stats.contains("mem_unattributed") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!((0..4096).contains(&figure(&stats, "mem_unattributed")), "{stats}");
    nodes[0].ok("CONFIG SET repl-backlog-size 1mb");
    nodes[0].ok("CONFIG SET client-output-buffer-limit \"replica 2mb 0 0\"");
    nodes[0].ok(&format!("SET {{06S}}large {large}"));
    until(&mut nodes[0], "failed");
    assert_eq!(figure(&nodes[0].client.ask("INFO memory"), "mem_cluster_slot_export"), 0);
    signal("-CONT");
    until(&mut nodes[1], "failed");
}

fn figure(text: &str, name: &str) -> i64 {
    let at = text.find(&format!("{name}:")).unwrap() + name.len() + 1;
    let digits: String = text[at..].chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().unwrap()
}
