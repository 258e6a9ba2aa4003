//! This server as the only node of a cluster.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeSet;

use support::Server;
use support::reply::Conversation;

const OPTIONS: &[&str] = &["--cluster-enabled", "yes", "--save", "", "--cluster-databases", "2"];

fn start() -> (Server, Conversation) {
    let server = Server::start(OPTIONS);
    let mut client = Conversation::open(&server);
    assert!(client.ask("SET key value").contains("CLUSTERDOWN Hash slot not served"));
    assert_eq!(client.ask("CLUSTER ADDSLOTSRANGE 0 16383"), "OK\n");
    (server, client)
}

fn count(client: &mut Conversation, slot: u16) -> String {
    client.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).trim_end().to_owned()
}

#[test]
fn keys_must_be_in_one_slot() {
    let (_server, mut client) = start();
    assert!(client.ask("MSET a 1 b 2").contains("CROSSSLOT Keys in request don't hash to the same slot"));
    assert_eq!(client.ask("MSET {t}a 1 {t}b 2"), "OK\n");
    assert!(client.ask("SWAPDB 0 1").contains("ERR SWAPDB is not allowed in cluster mode"));
    assert!(client.ask("SORT {t}l BY w_*").contains("denied in Cluster mode"));
    // Each command is for one slot, the transaction for two.
    client.ask("MULTI");
    assert_eq!(client.ask("SET a 1"), "QUEUED\n");
    assert_eq!(client.ask("SET b 2"), "QUEUED\n");
    let refused = client.ask("EXEC");
    assert!(refused.contains("CROSSSLOT") && !refused.contains("EXECABORT"), "{refused}");
    assert_eq!(client.ask("EXISTS a"), "(integer) 0\n");
    client.ask("MULTI");
    assert!(client.ask("MGET a b").contains("CROSSSLOT"));
    assert!(client.ask("EXEC").contains("EXECABORT"));
}

/// Whatever makes keys come and go, the counts of the slots follow.
#[test]
fn the_keys_of_slots_are_counted() {
    let (_server, mut client) = start();
    const FOO: u16 = 12182;
    for key in ["foo", "{foo}1", "{foo}2", "{foo}3"] {
        client.ask(&format!("SET {key} v"));
    }
    client.ask("SET foo other");
    assert_eq!(count(&mut client, FOO), "(integer) 4");
    client.ask("RENAME {foo}1 {foo}4");
    client.ask("DEL {foo}2");
    client.ask("COPY {foo}3 {foo}5");
    client.ask("LPUSH {foo}list a");
    client.ask("LPOP {foo}list");
    assert_eq!(count(&mut client, FOO), "(integer) 4");
    client.ask("PEXPIRE {foo}5 1");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(count(&mut client, FOO), "(integer) 3");
    client.ask("MOVE foo 1");
    assert_eq!(count(&mut client, FOO), "(integer) 2");
    assert!(client.ask("CLUSTER SLOT-STATS SLOTSRANGE 12182 12182").contains("(integer) 3"));
    assert_eq!(client.ask("CLUSTER GETKEYSINSLOT 12182 10").matches("{foo}").count(), 2);
    client.ask("DEBUG RELOAD");
    assert_eq!(count(&mut client, FOO), "(integer) 2");
    assert_eq!(client.ask("CLUSTER FLUSHSLOT 12182"), "OK\n");
    assert_eq!(client.ask("DBSIZE"), "(integer) 0\n");
    client.ask("SET foo v");
    client.ask("FLUSHALL");
    assert_eq!(count(&mut client, FOO), "(integer) 0");
    client.ask("SET foo v");
    assert_eq!(count(&mut client, FOO), "(integer) 1");
}

#[test]
fn the_node_is_the_same_after_a_restart() {
    let mut server = Server::start(OPTIONS);
    let mut client = Conversation::open(&server);
    client.ask("CLUSTER ADDSLOTSRANGE 0 100 200 300");
    client.ask("CLUSTER SET-CONFIG-EPOCH 5");
    let ask = |client: &mut Conversation| {
        ["CLUSTER MYID", "CLUSTER MYSHARDID", "CLUSTER SLOTS", "CLUSTER NODES"].map(|what| client.ask(what))
    };
    let before = ask(&mut client);
    assert!(before[3].contains(" myself,master - 0 0 5 connected 0-100 200-300"), "{}", before[3]);
    server.restart();
    let mut client = Conversation::open(&server);
    assert_eq!(ask(&mut client), before);
    client.ask("CLUSTER RESET HARD");
    assert_ne!(client.ask("CLUSTER MYID"), before[0]);
    assert!(client.ask("CLUSTER INFO").contains("cluster_slots_assigned:0"));
}

#[test]
fn who_waits_for_a_slot_learns_that_it_is_gone() {
    let (server, mut client) = start();
    let (mut subscriber, mut waiter) = (Conversation::open(&server), Conversation::open(&server));
    assert!(subscriber.ask("SSUBSCRIBE foo").contains("(integer) 1"));
    waiter.send(&["BLPOP", "{foo}list", "0"]);
    server.until("it waits", || client.ask("INFO clients").contains("blocked_clients:1"));
    assert_eq!(client.ask("CLUSTER DELSLOTS 12182"), "OK\n");
    let told = subscriber.read();
    assert!(told.contains("sunsubscribe") && told.contains("(integer) 0"), "{told}");
    assert!(waiter.read().contains("CLUSTERDOWN"));
    assert!(client.ask("GET foo").contains("CLUSTERDOWN Hash slot not served"));
    assert!(client.ask("GET bar").contains("CLUSTERDOWN The cluster is down"));
    client.ask("CONFIG SET cluster-require-full-coverage no");
    assert_eq!(client.ask("SET bar v"), "OK\n");
}

#[test]
fn a_cluster_scan_finds_every_key() {
    let (_server, mut client) = start();
    let mut expected = BTreeSet::new();
    for number in 0..500 {
        let key = format!("key:{number}");
        client.ask(&format!("SET {key} v"));
        expected.insert(key);
    }
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.ask(&format!("CLUSTERSCAN {cursor} COUNT 50"));
        let words: Vec<&str> = reply.split('"').skip(1).step_by(2).collect();
        found.extend(words[1..].iter().map(|word| (*word).to_owned()));
        cursor = words[0].to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, expected);
}
