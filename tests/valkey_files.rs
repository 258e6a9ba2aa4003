//! Snapshots move both ways between this server and the real Valkey and Redis, and the data stays the same: every key
//! of every database, every element, every expiry, as `DEBUG DIGEST` sees it.
//!
//! `KEYS` in the environment sets the size of the data set (default 4,000).
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::data::DataSet;
use support::reply::Conversation;
use support::{Server, peer};

fn keys() -> usize {
    std::env::var("KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(4_000)
}

fn digest(server: &Server) -> (String, Vec<String>) {
    let mut conversation = Conversation::open(server);
    let sizes = (0..4)
        .map(|database| {
            conversation.ask(&format!("SELECT {database}"));
            conversation.ask("DBSIZE")
        })
        .collect();
    (conversation.ask("DEBUG DIGEST"), sizes)
}

/// Saves, kills, and gives the directory with the snapshot.
fn save(mut server: Server) -> tempfile::TempDir {
    assert_eq!(Conversation::open(&server).ask("SAVE"), "OK\n");
    server.kill();
    let taken = tempfile::tempdir().unwrap();
    std::fs::copy(server.directory.path().join("dump.rdb"), taken.path().join("dump.rdb")).unwrap();
    taken
}

/// Waits until the server has loaded its snapshot.
fn loaded(server: &Server) {
    server.until("loaded", || !Conversation::open(server).ask("DBSIZE").starts_with("(error)"));
}

#[test]
fn what_valkey_saved_is_the_same_here_and_back_there() {
    let Some(valkey) = Server::start_valkey(&[]) else { return };
    DataSet::new(1).store(&mut Conversation::open(&valkey), keys());
    let expected = digest(&valkey);
    let ours = Server::start_in(save(valkey), &[]);
    loaded(&ours);
    assert_eq!(digest(&ours), expected, "loaded here");
    let back = Server::start_peer_in("valkey-server", save(ours), &[]).unwrap();
    loaded(&back);
    assert_eq!(digest(&back), expected, "saved here, loaded by Valkey");
}

/// Redis's own digest marks fields that expire, Valkey's does not: with such fields only what Valkey says of our save
/// can be compared, without them Redis's word is.
fn redis_file(seed: u64, field_expiry: bool) {
    if peer("redis-server").is_none() {
        return;
    }
    let redis = Server::start_peer_in("redis-server", tempfile::tempdir().unwrap(), &[]).unwrap();
    let mut data = DataSet::new(seed);
    data.field_expiry = field_expiry;
    data.store(&mut Conversation::open(&redis), keys());
    let at_redis = digest(&redis);
    let ours = Server::start_in(save(redis), &[]);
    loaded(&ours);
    let here = digest(&ours);
    assert_eq!(here.1, at_redis.1);
    if !field_expiry {
        assert_eq!(here, at_redis, "loaded here");
    }
    let back = Server::start_peer_in("valkey-server", save(ours), &[]).unwrap();
    loaded(&back);
    assert_eq!(digest(&back), here, "Redis's data, saved here, loaded by Valkey");
}

#[test]
fn what_redis_saved_is_the_same_here() {
    redis_file(2, false);
}

#[test]
fn what_redis_saved_with_expiring_fields_is_the_same_at_valkey() {
    redis_file(4, true);
}

#[test]
fn what_is_stored_here_is_the_same_at_valkey() {
    if peer("valkey-server").is_none() {
        return;
    }
    let ours = Server::start(&[]);
    DataSet::new(3).store(&mut Conversation::open(&ours), keys());
    let expected = digest(&ours);
    let valkey = Server::start_peer_in("valkey-server", save(ours), &[]).unwrap();
    loaded(&valkey);
    assert_eq!(digest(&valkey), expected);
}
