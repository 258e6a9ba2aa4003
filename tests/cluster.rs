//! This server as a node of a cluster: alone, and among others of its kind and of Valkey's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeSet;

use support::Server;
use support::nodes::{Node, all, await_replicas, form, is_ok, set};
use support::reply::Conversation;

const OPTIONS: &[&str] = &["--cluster-enabled", "yes", "--save", "", "--cluster-databases", "2"];

fn start() -> (Server, Conversation) {
    let server = Server::start(OPTIONS);
    let mut client = Conversation::open(&server);
    assert!(client.ask("SET key value").contains("CLUSTERDOWN Hash slot not served"));
    assert_eq!(client.ask("CLUSTER ADDSLOTSRANGE 0 16383"), "OK\n");
    // A node that has just started serves nothing for two seconds.
    server.until("it serves keys", || is_ok(&mut client));
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
    let (server, mut client) = start();
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
    server.until("the expired key is deleted", || count(&mut client, FOO) == "(integer) 3");
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
    // A helper thread writes the file.
    let file = server.directory.path().join("nodes.conf");
    let written = || std::fs::read_to_string(&file).unwrap().contains(" 5 connected 0-100 200-300");
    server.until("the node file is written", written);
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
        // A fingerprint may have a backslash in it, which is shown escaped.
        cursor = words[0].replace("\\\\", "\\");
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, expected);
}

/// Our nodes and Valkey's are one cluster: each follows and votes for the other, and takes a failed one's place.
#[test]
fn our_nodes_and_valkeys_fail_over_to_each_other() {
    let Some(third) = Node::valkeys() else { return };
    let Some(fourth) = Node::valkeys() else { return };
    // Valkey replicates our first node, and we replicate Valkey's.
    let mut nodes = vec![Node::ours(), Node::ours(), third, fourth, Node::ours(), Node::ours()];
    form(&mut nodes);
    for number in 0..30 {
        set(&mut nodes, &format!("key:{number}"));
    }
    await_replicas(&mut nodes);
    // Valkey's primary fails: ours takes its place, by the votes of our other two.
    let mut failed = nodes.remove(2);
    failed.server.kill();
    all(&mut nodes[4..], "it takes Valkey's place", Node::is_primary);
    set(&mut nodes, "after:1");
    await_replicas(&mut nodes);
    // Our primary fails: Valkey's replica takes its place, by our votes.
    let mut failed = nodes.remove(0);
    failed.server.kill();
    all(&mut nodes[1..2], "Valkey takes our place", Node::is_primary);
    all(&mut nodes, "it is up again", |node| is_ok(&mut node.client));
    set(&mut nodes, "after:2");
    let keys: usize = nodes
        .iter_mut()
        .filter_map(|node| node.is_primary().then(|| node.client.ask("DBSIZE")))
        .map(|size| size.trim_start_matches("(integer) ").trim().parse::<usize>().unwrap())
        .sum();
    assert_eq!(keys, 32, "nothing is lost");
}

/// A slot goes from one of our nodes to Valkey's and back, with its keys.
#[test]
fn slots_move_between_our_nodes_and_valkeys() {
    let Some(valkey) = Node::valkeys() else { return };
    let mut nodes = vec![Node::ours(), valkey, Node::ours()];
    form(&mut nodes);
    // Of slot 866, the first node's.
    set(&mut nodes, "key:0{866}");
    let slot = nodes[0].client.ask("CLUSTER KEYSLOT {866}");
    let slot: u16 = slot.trim_start_matches("(integer) ").trim().parse().unwrap();
    let owner = usize::from(slot > 5460) + usize::from(slot > 10922);
    let (from, to) = (owner, (owner + 1) % 3);
    for (from, to) in [(from, to), (to, from)] {
        let (source, target) = (nodes[from].id.clone(), nodes[to].id.clone());
        let port = nodes[to].server.port;
        nodes[to].ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {source}"));
        nodes[from].ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {target}"));
        let absent = nodes[from].client.ask("GET absent{866}");
        assert!(absent.contains(&format!("ASK {slot} 127.0.0.1:{port}")), "{absent}");
        let moved = nodes[to].client.ask("GET absent{866}");
        assert!(moved.contains(&format!("MOVED {slot} 127.0.0.1:")), "{moved}");
        nodes[to].ok("ASKING");
        assert_eq!(nodes[to].client.ask("GET absent{866}"), "(nil)\n");
        let several = nodes[from].client.ask("MGET key:0{866} absent{866}");
        assert!(several.contains("TRYAGAIN"), "{several}");
        nodes[from].ok(&format!("MIGRATE 127.0.0.1 {port} key:0{{866}} 0 5000"));
        nodes[to].ok(&format!("CLUSTER SETSLOT {slot} NODE {target}"));
        nodes[from].ok(&format!("CLUSTER SETSLOT {slot} NODE {target}"));
        assert_eq!(nodes[to].client.ask("GET key:0{866}"), "\"key:0{866}\"\n");
        all(&mut nodes, "it knows the new owner", |node| {
            let reply = node.client.ask("GET key:0{866}");
            node.id == target || reply.contains(&format!("MOVED {slot} 127.0.0.1:{port}"))
        });
    }
}

/// Connections, their tasks and the table of nodes are the cluster's row: nothing is left over.
#[test]
fn every_byte_of_the_bus_has_an_owner() {
    let mut nodes = vec![Node::ours(), Node::ours(), Node::ours()];
    form(&mut nodes);
    let node = &mut nodes[0];
    let links = |node: &mut Node| node.client.ask("CLUSTER LINKS").matches("direction").count();
    assert_eq!(links(node), 4);
    let figure = |text: &str, name: &str| {
        let at = text.find(&format!("{name}:")).unwrap() + name.len() + 1;
        let digits: String = text[at..].chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        digits.parse::<i64>().unwrap()
    };
    assert!(figure(&node.client.ask("INFO memory"), "mem_cluster_links") > 0);
    node.client.ask("BGSAVE STAT_MEMORY");
    let mut stats = String::new();
    for _ in 0..500 {
        stats = node.client.ask("INFO rdb_stats");
        if stats.contains("mem_unattributed") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let unattributed = figure(&stats, "mem_unattributed");
    assert!((0..4096).contains(&unattributed), "{stats}");
}

/// Bytes of a request that were counted for the slot of `foo`.
fn slot_bytes_of(client: &mut Conversation, request: &str) -> i64 {
    client.ask("CONFIG RESETSTAT");
    client.ask(request);
    let figures = client.ask("CLUSTER SLOT-STATS SLOTSRANGE 12182 12182");
    let (_, rest) = figures.split_once("network-bytes-in\"").unwrap();
    let (_, number) = rest.lines().nth(1).unwrap().split_once("(integer) ").unwrap();
    number.parse().unwrap()
}

/// A script that may ask for keys of any slot and calls a command is counted for none.
#[test]
fn what_a_script_costs_is_its_slot_s_unless_it_may_use_others() {
    let options = [OPTIONS, &["--cluster-slot-stats-enabled", "yes"]].concat();
    for server in [Some(Server::start(&options)), Server::start_valkey(&options)].into_iter().flatten() {
        let mut client = Conversation::open(&server);
        assert_eq!(client.ask("CLUSTER ADDSLOTSRANGE 0 16383"), "OK\n");
        server.until("it serves keys", || is_ok(&mut client));
        let mut bytes = |script: &str| slot_bytes_of(&mut client, &format!("EVAL \"{script}\" 1 foo"));
        assert!(bytes("return 1") > 0);
        assert!(bytes("#!lua\\nreturn redis.call('get', KEYS[1])") > 0);
        assert_eq!(bytes("return redis.call('get', KEYS[1])"), 0);
        assert_eq!(bytes("return redis.pcall('nosuch')"), 0);
        assert_eq!(bytes("#!lua flags=allow-cross-slot-keys\\nreturn redis.call('get', KEYS[1])"), 0);
    }
}
