//! Slots, the node file, and when keys are served.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn ranges_are_what_was_assigned() {
    let mut cluster = Cluster::default();
    for slot in [5, 0, 1, 2, 16383, 9, 8] {
        cluster.assign(slot);
        cluster.assign(slot);
    }
    assert_eq!(cluster.assigned(), 7);
    assert_eq!(cluster.ranges(), [(0, 2), (5, 5), (8, 9), (16383, 16383)]);
    cluster.unassign(1);
    cluster.unassign(1);
    assert_eq!(cluster.ranges(), [(0, 0), (2, 2), (5, 5), (8, 9), (16383, 16383)]);
    assert_eq!(cluster.assigned(), 6);
}

#[test]
fn the_node_file_comes_back_as_it_went() {
    let config = Config::default();
    let mut cluster = Cluster::default();
    (0..=100).chain([200, 16383]).for_each(|slot| cluster.assign(slot));
    (cluster.config_epoch, cluster.current_epoch, cluster.last_vote_epoch) = (3, 7, 2);
    let text = cluster.file_text(&config);
    let back = file::parse(&text).unwrap();
    assert_eq!(back.file_text(&config), text);
    assert_eq!((back.id, back.shard_id), (cluster.id, cluster.shard_id));
    assert_eq!(back.current_epoch, 7);
}

#[test]
fn a_node_file_of_valkey_is_read() {
    let text = "6c79f457e313ae8a518c0f3a1e2de2b9a5bc156c :30210@30710,,tls-port=0,\
                shard-id=79ba4670b8f97e398b099b0dd952ad114356bdba myself,master - 0 0 1 connected 0-4 8 10-16383\n\
                vars currentEpoch 1 lastVoteEpoch 0\n";
    let cluster = file::parse(text).unwrap();
    assert_eq!(cluster.id, "6c79f457e313ae8a518c0f3a1e2de2b9a5bc156c");
    assert_eq!(cluster.shard_id, "79ba4670b8f97e398b099b0dd952ad114356bdba");
    assert_eq!(cluster.ranges(), [(0, 4), (8, 8), (10, 16383)]);
}

#[test]
fn wrong_node_files_are_refused() {
    let id = "6c79f457e313ae8a518c0f3a1e2de2b9a5bc156c";
    for text in [
        "garbage".to_owned(),
        "vars currentEpoch 1\n".to_owned(),
        format!("{id} :1@2 myself,master - 0 0 x connected\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected 0-16384\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected 4-x\n"),
        format!("{id}0 :1@2 myself,master - 0 0 1 connected\n"),
        format!("{id} :1@2,,bogus=1 myself,master - 0 0 1 connected\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected\nvars currentEpoch\n"),
        format!("{id} :1@2 myself,master - 0 0 1 connected\n{id} :1@2 myself,master - 0 0 1 connected\n"),
    ] {
        assert!(matches!(file::parse(&text), Err(file::FileError::Corrupt(_))), "{text}");
    }
    let other = format!("{id} :1@2 master - 0 0 1 connected 0-5\n");
    assert!(matches!(file::parse(&other), Err(file::FileError::OtherNodes(_))));
}

#[test]
fn keys_are_served_when_every_slot_is() {
    let mut config = Config::default();
    let mut cluster = Cluster::default();
    assert!(!cluster.is_ok(&config));
    (0..16383).for_each(|slot| cluster.assign(slot));
    assert!(!cluster.is_ok(&config));
    config.cluster_require_full_coverage = false;
    assert!(cluster.is_ok(&config));
    config.cluster_require_full_coverage = true;
    cluster.assign(16383);
    assert!(cluster.is_ok(&config));
    cluster.reset(true);
    config.cluster_require_full_coverage = false;
    assert!(!cluster.is_ok(&config));
}

#[test]
fn epochs_grow() {
    let mut cluster = Cluster::default();
    assert!(cluster.bump_epoch());
    assert_eq!((cluster.config_epoch, cluster.current_epoch), (1, 1));
    assert!(!cluster.bump_epoch());
    cluster.current_epoch = 5;
    assert!(cluster.bump_epoch());
    assert_eq!(cluster.config_epoch, 6);
}
