//! The memory profile of a running server: its surface, and the identity on every workload.
//!
//! The identity: what is used at the fork is the sum of all rows and a remainder of at most 64 KiB or 0.1 %, and never
//! a negative one, which would be double counting.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::io::Write;
use std::net::TcpStream;

use support::Server;
use support::data::DataSet;
use support::info::{field, number, section};
use support::reply::Conversation;

const ROWS: [&str; 19] = [
    "mem_kv_user_data",
    "mem_kv_expiration",
    "mem_kv_hash_metadata",
    "mem_um_kvstore",
    "mem_um_clients_io",
    "mem_sys_aof_buffer",
    "mem_sys_repl_buffer",
    "mem_sys_repl_backlog",
    "mem_startup",
    "mem_scripts",
    "mem_functions",
    "mem_pubsub",
    "mem_tracking",
    "mem_watch_block",
    "mem_logs",
    "mem_acl_config",
    "mem_cluster",
    "mem_lazyfree_pending",
    "mem_profiler",
];
const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// Takes a profile and gives INFO's section once it is published.
fn profile(server: &Server, conversation: &mut Conversation) -> String {
    let before = section(conversation, "rdb_stats");
    let id = if field(&before, "rdb_stats_available") == "0" { 0 } else { number(&before, "rdb_stats_id") };
    assert_eq!(conversation.ask("BGSAVE STAT_MEMORY"), "Background saving started\n");
    let mut text = String::new();
    server.until("a profile is published", || {
        text = section(conversation, "rdb_stats");
        field(&text, "rdb_stats_in_progress") == "0"
    });
    assert_eq!(field(&text, "rdb_stats_last_status"), "ok", "{}", server.log());
    assert_eq!(number(&text, "rdb_stats_id"), id + 1);
    text
}

/// Takes a profile and holds it to the identity.
fn check(server: &Server, conversation: &mut Conversation, what: &str) -> String {
    let text = profile(server, conversation);
    let (used, rest) = (number(&text, "mem_used_at_fork"), number(&text, "mem_unattributed"));
    let rows: i64 = ROWS.iter().map(|row| number(&text, row)).sum();
    assert_eq!(rows, number(&text, "mem_attributed"), "{what}");
    assert_eq!(rows + rest, used, "{what}");
    let bound = (used / 1000).max(64 << 10);
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{what}: used {used}, unattributed {rest}");
    }
    assert!((0..=bound).contains(&rest), "{what}: {rest} of {used} bytes have no owner\n{text}");
    let (keys, bytes) = TYPES.iter().fold((0, 0), |(keys, bytes), kind| {
        let of = |what| number(&text, &format!("rdb_stats_{kind}_{what}"));
        (keys + of("keys"), bytes + of("bytes"))
    });
    assert_eq!(
        (keys, bytes),
        (number(&text, "rdb_stats_total_keys"), number(&text, "rdb_stats_total_bytes"))
    );
    assert_eq!(bytes, number(&text, "mem_kv_user_data"), "{what}");
    text
}

#[test]
fn an_empty_server_is_accounted_for() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    let before = section(&mut conversation, "rdb_stats");
    let names: Vec<&str> = before.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(names, ["rdb_stats_available", "rdb_stats_in_progress", "rdb_stats_last_status"]);
    assert_eq!(field(&before, "rdb_stats_last_status"), "none");
    for round in 0..3 {
        check(&server, &mut conversation, &format!("empty, round {round}"));
    }
    assert!(server.log().contains("RDB object stats: total keys=0 mem_bytes=0 | (empty)"));
    assert!(!section(&mut conversation, "default").contains("rdb_stats"));
    assert!(section(&mut conversation, "all").contains("rdb_stats_id"));
}

#[test]
fn all_types_encodings_and_databases_are_accounted_for() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    for seed in 0..3 {
        conversation.ask("FLUSHALL SYNC");
        DataSet::new(seed).store(&mut conversation, 3000);
        check(&server, &mut conversation, &format!("data set {seed}"));
    }
    for database in 4..16 {
        conversation.ask(&format!("SELECT {database}"));
        conversation.ask("SET key value EX 1000");
    }
    let text = check(&server, &mut conversation, "many databases");
    assert!(number(&text, "mem_kv_expiration") > 0 && number(&text, "mem_kv_hash_metadata") > 0);
    let [stats, breakdown, identity] = server
        .log()
        .lines()
        .filter(|line| line.contains("* RDB "))
        .map(|line| line.split_once("* ").unwrap().1.to_owned())
        .collect::<Vec<_>>()
        .last_chunk::<3>()
        .unwrap()
        .clone();
    assert!(stats.starts_with("RDB object stats: total keys=") && stats.contains(" | string="), "{stats}");
    assert!(breakdown.starts_with("RDB memory breakdown: kv[user="), "{breakdown}");
    let used = number(&text, "mem_used_at_fork");
    assert!(identity.starts_with(&format!("RDB memory identity: used={used}B attributed=")), "{identity}");
}

#[test]
fn clients_in_every_state_are_accounted_for() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    let idle: Vec<Conversation> = (0..300).map(|_| Conversation::open(&server)).collect();
    check(&server, &mut conversation, "300 idle clients");
    conversation.ask(&format!("SET big {}", "x".repeat(100_000)));
    let connect = || TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // Half a large argument, replies that nobody reads, a transaction, watched keys, a wait.
    let mut sending = connect();
    sending.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n").unwrap();
    sending.write_all(&vec![b'x'; 3_000_000]).unwrap();
    let mut deaf = connect();
    deaf.write_all(&b"GET big\r\n".repeat(200)).unwrap();
    let mut busy: Vec<Conversation> = (0..20).map(|_| Conversation::open(&server)).collect();
    for (number, client) in busy.iter_mut().enumerate() {
        client.ask(&format!("WATCH watched:{number} {}", "w".repeat(number * 10 + 1)));
        client.ask("CLIENT SETNAME somebody");
        client.ask("MULTI");
        client.ask(&format!("SET key {}", "y".repeat(number * 100)));
    }
    let mut waiting: Vec<Conversation> = (0..20).map(|_| Conversation::open(&server)).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(&["BLPOP", &format!("list:{number}"), "other", "0"]);
    }
    let settled = |conversation: &mut Conversation| {
        let text = section(conversation, "clients");
        number(&text, "blocked_clients") == 20
    };
    server.until("everybody waits", || settled(&mut conversation));
    let text = check(&server, &mut conversation, "clients in every state");
    assert!(number(&text, "mem_um_clients_io") > 3_000_000);
    assert!(number(&text, "mem_watch_block") > 0);
    drop((idle, sending, deaf, busy, waiting));
    server
        .until("they are gone", || number(&section(&mut conversation, "clients"), "connected_clients") == 1);
    check(&server, &mut conversation, "clients gone");
}

#[test]
fn subscriptions_are_accounted_for() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    let mut conversation = Conversation::open(&server);
    let mut subscribers: Vec<Conversation> = (0..20).map(|_| Conversation::open(&server)).collect();
    check(&server, &mut conversation, "nobody subscribes");
    for (number, client) in subscribers.iter_mut().enumerate() {
        for name in 0..100 {
            client.ask(&format!("SUBSCRIBE everybody:{name}"));
            client.ask(&format!("PSUBSCRIBE mine:{number}:{name}:{}*", "x".repeat(name)));
        }
        client.ask("SSUBSCRIBE shard");
    }
    let text = check(&server, &mut conversation, "channels, patterns and shards");
    let tables = number(&text, "mem_pubsub");
    assert!(tables > 2000 * 100, "{tables}");
    assert_eq!(number(&section(&mut conversation, "clients"), "pubsub_clients"), 20);
    assert_eq!(number(&section(&mut conversation, "stats"), "pubsub_patterns"), 2000);
    conversation.ask("PUBLISH everybody:1 hello");
    conversation.ask("SET key value");
    check(&server, &mut conversation, "messages");
    drop(subscribers);
    server
        .until("they are gone", || number(&section(&mut conversation, "clients"), "connected_clients") == 1);
    let text = check(&server, &mut conversation, "subscribers gone");
    assert_eq!(number(&text, "mem_pubsub"), 0);
}

#[test]
fn batches_and_growing_tables_are_accounted_for() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    let mut filled = 0;
    for round in 0..6 {
        for _ in 0..1 << round {
            for _ in 0..200 {
                conversation.send(&[
                    "SET",
                    &format!("key:{filled}"),
                    "a value of some length",
                    "PX",
                    "100000000",
                ]);
                filled += 1;
            }
            for _ in 0..200 {
                assert_eq!(conversation.read(), "OK\n");
            }
        }
        check(&server, &mut conversation, &format!("{filled} keys"));
    }
    let mut many = vec!["RPUSH".to_owned(), "list".to_owned()];
    many.extend((0..20_000).map(|number| number.to_string()));
    conversation.send(&many);
    assert_eq!(conversation.read(), "(integer) 20000\n");
    check(&server, &mut conversation, "a request of many arguments");
    conversation.ask("CONFIG SET rdb-key-save-delay 200");
    conversation.ask("BGSAVE");
    for number in 0..5000 {
        conversation.ask(&format!("SET during:{number} value"));
    }
    conversation.ask("CONFIG SET rdb-key-save-delay 0");
    conversation.ask("BGSAVE CANCEL");
    server.until("the child is gone", || {
        field(&section(&mut conversation, "persistence"), "rdb_bgsave_in_progress") == "0"
    });
    check(&server, &mut conversation, "splits put off");
    for number in 0..filled {
        conversation.ask(&format!("DEL key:{number}"));
    }
    check(&server, &mut conversation, "a shrunken table");
}

#[test]
fn values_being_freed_are_accounted_for() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lfu"]);
    let mut conversation = Conversation::open(&server);
    for round in 0..3 {
        DataSet::new(round).store(&mut conversation, 2000);
        conversation.ask("SELECT 0");
        let mut large = vec!["SADD".to_owned(), "large".to_owned()];
        large.extend((0..50_000).map(|number| format!("member:{number}")));
        conversation.send(&large);
        conversation.read();
        conversation.send(&["UNLINK", "large"]);
        conversation.send(&["FLUSHALL", "ASYNC"]);
        conversation.send(&["BGSAVE", "STAT_MEMORY"]);
        for _ in 0..3 {
            conversation.read();
        }
        server.until("the profile is done", || {
            field(&section(&mut conversation, "rdb_stats"), "rdb_stats_in_progress") == "0"
        });
        check(&server, &mut conversation, "after freeing");
    }
}
