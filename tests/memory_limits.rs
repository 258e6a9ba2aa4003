//! What the memory limits do, as clients meet it: keys and clients that go, writes that are refused, transactions that
//! fail.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Write;
use std::net::TcpStream;

use support::Server;
use support::reply::Conversation;

const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// What is in use while a client is told of it and at no other time.
const OF_A_REPLY: i64 = 40_000;

/// A field of INFO as a number.
fn info(conversation: &mut Conversation, field: &str) -> i64 {
    let text = conversation.ask("INFO everything");
    let (_, rest) = text.split_once(&format!("\\n{field}:")).unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Sets the limit so many bytes above what is in use.
fn limit_to_used_and(conversation: &mut Conversation, bytes: i64) -> i64 {
    let limit = info(conversation, "used_memory") + bytes;
    assert_eq!(conversation.ask(&format!("CONFIG SET maxmemory {limit}")), "OK\n");
    limit
}

#[test]
fn each_policy_keeps_the_limit() {
    let server = Server::start(&["--latency-tracking", "no"]);
    let mut conversation = Conversation::open(&server);
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        conversation.ask("FLUSHALL SYNC");
        conversation.ask("CONFIG RESETSTAT");
        conversation.ask("CONFIG SET maxmemory 0");
        conversation.ask(&format!("CONFIG SET maxmemory-policy {policy}"));
        conversation.ask("SET stays value");
        let limit = limit_to_used_and(&mut conversation, 200_000);
        for number in 0..6000 {
            let reply = conversation.ask(&format!("SET key:{number} value EX 10000"));
            assert_eq!(reply, "OK\n", "{policy}");
        }
        let used = info(&mut conversation, "used_memory");
        assert!(used < limit + OF_A_REPLY, "{policy}: {used} of {limit}");
        conversation.ask("CONFIG SET maxmemory 0");
        let (left, evicted) = (conversation.ask("DBSIZE"), info(&mut conversation, "evicted_keys"));
        let left: i64 = left.trim().trim_start_matches("(integer) ").parse().unwrap();
        assert_eq!(left + evicted, 6001, "{policy}");
        assert!(left > 1000 && evicted > 1000, "{policy}: {left} left, {evicted} evicted");
        if policy.starts_with("volatile") {
            assert_eq!(conversation.ask("GET stays"), "\"value\"\n", "{policy}");
        }
    }
}

#[test]
fn without_eviction_writes_are_refused_and_reads_and_deletions_are_not() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    conversation.ask("SET key value");
    conversation.ask("MULTI");
    conversation.ask("SET other value");
    let mut second = Conversation::open(&server);
    second.ask("CONFIG SET maxmemory 1");
    assert!(second.ask("SET key other").contains(OUT_OF_MEMORY));
    assert!(second.ask("GET key").contains("value"));
    assert!(
        conversation
            .ask("EXEC")
            .contains(&format!("EXECABORT Transaction discarded because of: {OUT_OF_MEMORY}"))
    );
    conversation.ask("MULTI");
    assert!(conversation.ask("SET key other").contains(OUT_OF_MEMORY));
    assert!(conversation.ask("EXEC").contains("EXECABORT"));
    conversation.ask("MULTI");
    assert!(conversation.ask("GET key").contains("QUEUED"));
    assert!(conversation.ask("EXEC").contains("value"));
    assert!(second.ask("DEL key").contains('1'));
    second.ask("CONFIG SET maxmemory 0");
    assert_eq!(second.ask("SET key other"), "OK\n");
    assert_eq!(info(&mut second, "evicted_keys"), 0);
}

#[test]
fn a_lowered_limit_is_reached_between_requests() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru", "--maxmemory-eviction-tenacity", "1"]);
    let mut conversation = Conversation::open(&server);
    for number in 0..20_000 {
        conversation.ask(&format!("SET key:{number} {}", "x".repeat(50)));
    }
    let limit = limit_to_used_and(&mut conversation, -1_000_000);
    server.until("the limit is kept", || {
        info(&mut conversation, "used_memory") < limit + OF_A_REPLY
            && info(&mut conversation, "current_eviction_exceeded_time") == 0
    });
    assert!(info(&mut conversation, "evicted_keys") > 1000);
    assert!(info(&mut conversation, "total_eviction_exceeded_time") > 0);
}

#[test]
fn the_largest_clients_go_first_and_those_that_may_stay_stay() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    let hold = |bytes: usize, before: &[u8]| -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.write_all(before).unwrap();
        stream.write_all(format!("*2\r\n$4\r\nPING\r\n${bytes}\r\n").as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; bytes]).unwrap();
        stream
    };
    let _streams = [
        hold(500_000, b"CLIENT SETNAME small\r\n"),
        hold(1_500_000, b"CLIENT SETNAME large\r\n"),
        hold(2_000_000, b"CLIENT NO-EVICT ON\r\nCLIENT SETNAME spared\r\n"),
    ];
    server.until("all is there", || {
        let list = conversation.ask("CLIENT LIST");
        ["500000", "1500000", "2000000"].iter().all(|bytes| list.contains(&format!(" qbuf={bytes} ")))
    });
    conversation.ask("CONFIG SET maxmemory-clients 3mb");
    let list = conversation.ask("CLIENT LIST");
    assert!(list.contains("name=small") && list.contains("name=spared"), "{list}");
    assert!(!list.contains("name=large"), "{list}");
    assert_eq!(info(&mut conversation, "evicted_clients"), 1);
}
