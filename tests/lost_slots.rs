//! The keys of slots that a node of a cluster has lost: they go some at a time, and nobody can tell.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::engine::InProcess;
use weighbridge::algorithms::slot::slot_of;
use weighbridge::server::cluster::Cluster;

/// A server with 2500 keys in one slot and 300 in another that becomes a node without slots.
fn node() -> InProcess {
    let mut node = InProcess::start();
    node.engine.keyspace.index_slots();
    fill(&mut node);
    node.engine.server.cluster = Some(Box::new(Cluster::new(0)));
    node
}

/// Makes the keys, which a node does only in slots that are its own.
fn fill(node: &mut InProcess) {
    let cluster = node.engine.server.cluster.take();
    (0..2500).for_each(|number| drop(node.ask(&format!("SET {{a}}{number} value"))));
    (0..300).for_each(|number| drop(node.ask(&format!("SET {{b}}{number} value"))));
    node.engine.server.cluster = cluster;
}

/// Another shard has taken the slot of these keys.
fn lose(node: &mut InProcess, key: &[u8]) {
    let lost = [slot_of(key)].into_iter().collect();
    node.engine.server.cluster.as_mut().unwrap().todo.dirty = Some(Box::new(lost));
    node.engine.settle_cluster();
}

fn left(node: &InProcess, key: &[u8]) -> usize {
    node.engine.keyspace.keys_in_slot(slot_of(key))
}

#[test]
fn they_go_some_at_a_time_and_are_not_counted_meanwhile() {
    let mut node = node();
    let slot = slot_of(b"{a}");
    assert_eq!(node.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), b":2500\r\n");
    lose(&mut node, b"{a}");
    assert_eq!((left(&node, b"{a}"), left(&node, b"{b}")), (1500, 300));
    assert_eq!(node.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), b":0\r\n");
    assert_eq!(node.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 5")), b"*0\r\n");
    assert_eq!(node.ask("DBSIZE"), b":300\r\n");
    assert_eq!(node.ask("KEYS {a}*"), b"*0\r\n");
    assert!(!node.engine.continue_deletion());
    assert_eq!(left(&node, b"{a}"), 500);
    assert!(node.engine.continue_deletion());
    assert_eq!((left(&node, b"{a}"), left(&node, b"{b}")), (0, 300));
    assert_eq!(node.ask("DBSIZE"), b":300\r\n");
    assert!(node.engine.continue_deletion(), "nothing is left to do");
    let slot = slot_of(b"{b}");
    assert_eq!(node.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), b":300\r\n");
}

#[test]
fn they_are_gone_before_the_slot_can_be_served_again() {
    let mut node = node();
    lose(&mut node, b"{a}");
    assert_eq!(left(&node, b"{a}"), 1500);
    // By a command, after which the next one may write to the slot.
    assert_eq!(node.ask(&format!("CLUSTER ADDSLOTS {}", slot_of(b"{a}"))), b"+OK\r\n");
    assert_eq!(left(&node, b"{a}"), 0);
    fill(&mut node);
    assert_eq!(node.ask("DBSIZE"), b":2800\r\n");
    assert!(node.engine.continue_deletion());
    assert_eq!(left(&node, b"{a}"), 2500);
    // And by what another node says.
    lose(&mut node, b"{a}");
    node.engine.settle_cluster();
    assert_eq!((left(&node, b"{a}"), left(&node, b"{b}")), (0, 300));
}

#[test]
fn slots_without_keys_are_nothing_to_delete() {
    let mut node = node();
    lose(&mut node, b"{nobody}");
    assert_eq!(node.ask(&format!("CLUSTER ADDSLOTS {}", slot_of(b"{nobody}"))), b"+OK\r\n");
    node.engine.settle_cluster();
    assert!(node.engine.continue_deletion());
    // The same where the node turns out to serve them.
    lose(&mut node, b"{nobody}");
    node.engine.settle_cluster();
    assert!(node.engine.continue_deletion());
    assert_eq!(node.ask("DBSIZE"), b":2800\r\n");
}

#[test]
fn they_are_gone_before_another_primary_is_followed() {
    let mut node = node();
    lose(&mut node, b"{a}");
    lose(&mut node, b"{b}");
    assert_eq!(left(&node, b"{a}") + left(&node, b"{b}"), 800);
    assert_eq!(node.ask("CLUSTER RESET"), b"+OK\r\n");
    assert!(node.engine.keyspace.is_empty());
}
