//! This server as a primary: of the real Valkey, of itself, of a client that only wants a snapshot, and of replicas that
//! break what they promise.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use support::data::DataSet;
use support::info::{field, number, section};
use support::reply::Conversation;
use support::{Server, peer};

fn ask(server: &Server, request: &str) -> String {
    Conversation::open(server).ask(request)
}

/// Writes of many kinds, whose effects depend on their order.
fn write(conversation: &mut Conversation, seed: u64, count: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..count {
        let (key, value) = (random.u8(..40), random.u32(..));
        conversation.ask(&match random.u8(..12) {
            0 => format!("SELECT {}", random.u8(..4)),
            1 => format!("RPUSH list:{key} {value}"),
            2 => format!("LPOP list:{key}"),
            3 => format!("SADD set:{key} {value} {key}"),
            4 => format!("SPOP set:{key}"),
            5 => format!("ZADD zset:{key} {value} {key}"),
            6 => format!("HINCRBYFLOAT hash:{key} field 0.1"),
            7 => format!("XADD stream:{key} * field {value}"),
            8 => format!("SET expiring:{key} {value} PX 50"),
            9 => format!("APPEND string:{key} {value}"),
            10 => format!("DEL string:{key} list:{key}"),
            _ => format!("INCRBY counter {value}"),
        });
    }
}

fn replication(server: &Server, name: &str) -> String {
    field(&section(&mut Conversation::open(server), "replication"), name)
}

fn statistic(server: &Server, name: &str) -> i64 {
    number(&section(&mut Conversation::open(server), "stats"), name)
}

fn follow(replica: &Server, primary: &Server) {
    assert_eq!(ask(replica, &format!("REPLICAOF 127.0.0.1 {}", primary.port)), "OK\n");
}

fn settle(primary: &Server, replica: &Server) {
    replica.until("it has caught up", || {
        replication(replica, "master_link_status") == "up"
            && replication(primary, "master_repl_offset") == replication(replica, "slave_repl_offset")
    });
}

fn assert_same(primary: &Server, replica: &Server) {
    ask(primary, "DEBUG SET-ACTIVE-EXPIRE 0");
    // What expires between the two questions is gone from both a moment later.
    replica.until("it has the same data", || {
        settle(primary, replica);
        ask(primary, "DEBUG DIGEST") == ask(replica, "DEBUG DIGEST")
    });
    ask(primary, "DEBUG SET-ACTIVE-EXPIRE 1");
}

/// A connection that speaks as a replica does.
fn attach(server: &Server, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

fn read_line(socket: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "closed after {}", String::from_utf8_lossy(&line));
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Reads a snapshot that begins with its length; skips the empty lines before it.
fn read_snapshot(socket: &mut TcpStream) -> Vec<u8> {
    let length = loop {
        let line = read_line(socket);
        if let Some(length) = line.strip_prefix('$') {
            break length.parse().unwrap();
        }
        assert_eq!(line, "");
    };
    let mut snapshot = vec![0; length];
    socket.read_exact(&mut snapshot).unwrap();
    snapshot
}

#[test]
fn valkey_gets_the_same_data_however_it_is_sent() {
    let ways: [&[&str]; 3] = [
        &["--repl-diskless-sync", "no"],
        &["--repl-diskless-sync", "yes"],
        &["--dual-channel-replication-enabled", "yes"],
    ];
    for (seed, way) in ways.into_iter().enumerate() {
        let primary = Server::start(&[&["--repl-diskless-sync-delay", "0"], way].concat());
        let arguments: &[&str] = if seed == 2 { &["--dual-channel-replication-enabled", "yes"] } else { &[] };
        let Some(replica) = Server::start_valkey(arguments) else { return };
        let mut writer = Conversation::open(&primary);
        DataSet::new(seed as u64).store(&mut writer, 1_000);
        // So that the snapshot takes its time while more is written.
        ask(&primary, "CONFIG SET rdb-key-save-delay 200");
        follow(&replica, &primary);
        write(&mut writer, seed as u64, 1_500);
        writer.ask("SWAPDB 0 1");
        writer.ask("FLUSHDB");
        write(&mut writer, 100 + seed as u64, 500);
        assert_same(&primary, &replica);
        assert_eq!(statistic(&primary, "sync_full"), 1);
    }
}

#[test]
fn a_link_that_is_cut_goes_on_and_a_backlog_that_is_too_small_begins_anew() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "1mb"]);
    let Some(replica) = Server::start_valkey(&[]) else { return };
    follow(&replica, &primary);
    settle(&primary, &replica);
    let mut writer = Conversation::open(&primary);
    for cut in 0..10 {
        write(&mut writer, cut, 100);
        ask(&primary, "CLIENT KILL TYPE replica");
    }
    assert_same(&primary, &replica);
    assert_eq!(statistic(&primary, "sync_full"), 1);
    assert!(statistic(&primary, "sync_partial_ok") >= 5);
    // Stopped, it lags further behind than the backlog reaches.
    let stop = |signal: &str| {
        let stopped = Command::new("kill").args([signal, &replica.process.id().to_string()]).status();
        assert!(stopped.unwrap().success());
    };
    ask(&primary, "CONFIG SET client-output-buffer-limit \"replica 2mb 0 0\"");
    stop("-STOP");
    let value = "x".repeat(10_000);
    for number in 0..2_000 {
        writer.ask(&format!("SET large:{number} {value}"));
    }
    primary.until("the replica is dropped", || replication(&primary, "connected_slaves") == "0");
    let held = number(&section(&mut writer, "memory"), "mem_total_replication_buffers");
    assert!(held < 8 << 20, "{held} bytes are held for nobody");
    stop("-CONT");
    assert_same(&primary, &replica);
    assert!(statistic(&primary, "sync_full") >= 2);
}

#[test]
fn a_restarted_primary_is_followed_without_a_snapshot() {
    let mut primary = Server::start(&["--repl-diskless-sync-delay", "0", "--save", "3600 1"]);
    let Some(replica) = Server::start_valkey(&[]) else { return };
    follow(&replica, &primary);
    DataSet::new(3).store(&mut Conversation::open(&primary), 300);
    assert_same(&primary, &replica);
    let (id, offset) = (replication(&primary, "master_replid"), replication(&primary, "master_repl_offset"));
    ask(&primary, "SAVE");
    ask(&replica, "CONFIG RESETSTAT");
    primary.restart();
    assert_eq!(replication(&primary, "master_replid2"), id);
    assert!(replication(&primary, "master_repl_offset").parse::<i64>().unwrap() >= offset.parse().unwrap());
    assert_same(&primary, &replica);
    assert_eq!(statistic(&primary, "sync_full"), 0);
}

#[test]
fn fields_that_a_restarted_primary_leaves_out_go_from_its_replicas_too() {
    let mut primary = Server::start(&["--repl-diskless-sync-delay", "0", "--save", "3600 1"]);
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
    let further = Server::start(&["--replicaof", &format!("127.0.0.1 {}", replica.port)]);
    settle(&primary, &replica);
    let mut writer = Conversation::open(&primary);
    writer.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.ask("HSET some lasting value brief value");
    writer.ask("HPEXPIRE some 50 FIELDS 1 brief");
    writer.ask("SELECT 3");
    // More fields than one request tells of.
    let fields: String = (0..2500).map(|field| format!(" field:{field} value")).collect();
    writer.ask(&format!("HSETEX all PX 50 FIELDS 2500{fields}"));
    writer.ask("SET key value PX 50");
    settle(&primary, &replica);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(writer.ask("HLEN all"), "(integer) 2500\n");
    writer.ask("SAVE");
    let offset = number(&section(&mut writer, "replication"), "master_repl_offset");
    for server in [&replica, &further] {
        ask(server, "CONFIG RESETSTAT");
    }
    primary.restart();
    assert!(
        number(&section(&mut Conversation::open(&primary), "replication"), "master_repl_offset") > offset
    );
    for server in [&replica, &further] {
        settle(&primary, server);
        let mut reader = Conversation::open(server);
        assert_eq!(reader.ask("HGETALL some"), "(array of 2)\n   1) \"lasting\"\n   2) \"value\"\n");
        assert_eq!(reader.ask("HLEN some"), "(integer) 1\n");
        reader.ask("SELECT 3");
        assert_eq!(reader.ask("DBSIZE"), "(integer) 0\n");
        assert_eq!(statistic(server, "sync_full"), 0);
    }
    assert_eq!(statistic(&primary, "sync_full"), 0);
}

#[test]
fn wait_counts_the_replicas_that_have_what_was_written() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
    settle(&primary, &replica);
    let mut writer = Conversation::open(&primary);
    writer.ask("SET key value");
    assert_eq!(writer.ask("WAIT 1 0"), "(integer) 1\n");
    assert_eq!(ask(&replica, "GET key"), "\"value\"\n");
    assert_eq!(writer.ask("WAIT 2 50"), "(integer) 1\n");
    assert_eq!(writer.ask("WAITAOF 0 0 50"), "(array of 2)\n   1) (integer) 0\n   2) (integer) 0\n");
    writer.ask("CONFIG SET min-replicas-to-write 2");
    assert_eq!(writer.ask("SET key other"), "(error) NOREPLICAS Not enough good replicas to write.\n");
}

#[test]
fn a_failover_changes_places_and_loses_nothing() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let Some(replica) = Server::start_valkey(&[]) else { return };
    follow(&replica, &primary);
    settle(&primary, &replica);
    DataSet::new(5).store(&mut Conversation::open(&primary), 200);
    assert_eq!(ask(&primary, &format!("FAILOVER TO 127.0.0.1 {}", replica.port)), "OK\n");
    primary.until("it is a replica", || {
        replication(&primary, "role") == "slave" && replication(&primary, "master_link_status") == "up"
    });
    assert_eq!(replication(&replica, "role"), "master");
    ask(&replica, "SET after failover");
    assert_same(&replica, &primary);
    assert_eq!(statistic(&replica, "sync_full"), 0);
}

#[test]
fn valkeys_client_fetches_a_snapshot() {
    let Some(client) = peer("valkey-cli") else { return };
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    // Clients that do not say what they read get a format without expiry of fields.
    for request in
        ["DEBUG POPULATE 1000", "RPUSH list a b c", "ZADD zset 1 a 2 b", "HSET hash f v", "XADD stream * f v"]
    {
        ask(&primary, request);
    }
    let digest = ask(&primary, "DEBUG DIGEST");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump.rdb");
    let fetched =
        Command::new(client).args(["-p", &primary.port.to_string(), "--rdb"]).arg(&file).output().unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    let loaded = Server::start_in(directory, &[]);
    assert_eq!(ask(&loaded, "DEBUG DIGEST"), digest);
    primary.until("the client is gone", || replication(&primary, "connected_slaves") == "0");
}

#[test]
fn nonsense_of_a_replica_hurts_nobody() {
    let primary = Server::start(&["--repl-diskless-sync", "no", "--repl-ping-replica-period", "3600"]);
    ask(&primary, "SET key value");
    for request in ["PSYNC x y\r\n", "PSYNC ? -9223372036854775809\r\n"] {
        let line = read_line(&mut attach(&primary, request));
        assert_eq!(line, "-ERR value is not an integer or out of range", "{request}");
    }
    assert_eq!(read_line(&mut attach(&primary, "REPLCONF capa\r\n")), "-ERR syntax error");
    let mut replica = attach(&primary, "SYNC\r\n");
    assert!(read_snapshot(&mut replica).starts_with(b"VALKEY080"));
    ask(&primary, "SET other value");
    let mut expected = vec!["*2", "$6", "SELECT", "$1", "0", "*3", "$3", "SET", "$5", "other", "$5", "value"];
    // An empty history begins with a sign of life.
    expected.splice(0..0, ["*1", "$4", "PING"]);
    for line in expected {
        assert_eq!(read_line(&mut replica), line);
    }
    for nonsense in
        ["REPLCONF ACK 99999999999\r\n", "REPLCONF ACK -5\r\n", "REPLCONF ACK x FACK y\r\n", "SYNC\r\n"]
    {
        replica.write_all(nonsense.as_bytes()).unwrap();
    }
    let id = replication(&primary, "master_replid");
    for offset in [i64::MIN, -1, 0, 1_000_000, i64::MAX] {
        let mut asks = attach(&primary, &format!("PSYNC {id} {offset}\r\n"));
        assert!(read_line(&mut asks).starts_with("+FULLRESYNC "), "{offset}");
        assert!(!read_snapshot(&mut asks).is_empty());
    }
    assert_eq!(ask(&primary, "GET other"), "\"value\"\n");
}

#[test]
fn a_replica_that_leaves_ends_the_child_that_works_for_it() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0", "--rdb-key-save-delay", "1000000"]);
    ask(&primary, "DEBUG POPULATE 100");
    let mut replica = attach(&primary, "REPLCONF capa eof\r\n");
    assert_eq!(read_line(&mut replica), "+OK");
    replica.write_all(b"PSYNC ? -1\r\n").unwrap();
    primary.until("the child is at work", || {
        field(&section(&mut Conversation::open(&primary), "persistence"), "rdb_bgsave_in_progress") == "1"
    });
    drop(replica);
    primary.until("the child is gone", || {
        field(&section(&mut Conversation::open(&primary), "persistence"), "rdb_bgsave_in_progress") == "0"
    });
    assert!(primary.log().contains("last replica dropped, killing fork child"));
    assert_eq!(replication(&primary, "connected_slaves"), "0");
}

/// Asks for a snapshot on a connection of its own, and reads up to its first byte.
fn open_channel(primary: &Server) -> TcpStream {
    let mut channel = attach(primary, "REPLCONF capa eof rdb-only 1 rdb-channel 1 version 9.1.0\r\n");
    assert_eq!(read_line(&mut channel), "+OK");
    channel.write_all(b"SYNC\r\n").unwrap();
    let announced = std::iter::repeat_with(|| read_line(&mut channel)).find(|line| !line.is_empty()).unwrap();
    assert!(announced.starts_with("$ENDOFF:"), "{announced}");
    let mark = read_line(&mut channel);
    assert!(mark.starts_with("$EOF:"), "{mark}");
    channel
}

#[test]
fn signs_of_life_do_not_come_between_a_snapshots_bytes() {
    let primary =
        Server::start(&["--dual-channel-replication-enabled", "yes", "--repl-diskless-sync-delay", "1"]);
    DataSet::new(31).store(&mut Conversation::open(&primary), 500);
    for _ in 0..4 {
        let mut channel = open_channel(&primary);
        let mut bytes = Vec::new();
        channel.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"VALKEY080"), "{:?}", String::from_utf8_lossy(&bytes[..20]));
        bytes.truncate(bytes.len() - 40);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("dump.rdb"), bytes).unwrap();
        let loaded = Server::start_in(directory, &[]);
        assert_eq!(ask(&loaded, "DEBUG DIGEST"), ask(&primary, "DEBUG DIGEST"));
    }
}

#[test]
fn a_channel_that_is_killed_ends_the_child_that_writes_to_it() {
    let primary = Server::start(&[
        "--dual-channel-replication-enabled",
        "yes",
        "--repl-diskless-sync-delay",
        "0",
        "--rdb-key-save-delay",
        "1000",
    ]);
    ask(&primary, "DEBUG POPULATE 1000000 key 16");
    let mut channel = open_channel(&primary);
    ask(&primary, "CLIENT KILL TYPE replica");
    // The end comes though the child has the connection, too.
    let mut rest = Vec::new();
    let _ = channel.read_to_end(&mut rest);
    primary.until("the child is gone", || {
        field(&section(&mut Conversation::open(&primary), "persistence"), "rdb_bgsave_in_progress") == "0"
    });
    assert!(primary.log().contains("Background RDB transfer error"), "{}", primary.log());
    assert_eq!(replication(&primary, "connected_slaves"), "0");
}

#[test]
fn a_replica_that_asks_for_something_is_sent_away() {
    let primary = Server::start(&["--repl-diskless-sync", "no"]);
    for (request, name) in [("PING", "ping"), ("GET key", "get"), ("SLOWLOG GET", "slowlog|get")] {
        let mut replica = attach(&primary, "SYNC\r\n");
        read_snapshot(&mut replica);
        replica.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = replica.read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("+PONG") && !rest.contains('-'), "{rest}");
        let line = format!("Replica generated a reply to command '{name}', disconnecting it: ");
        assert!(primary.log().contains(&line), "{}", primary.log());
    }
    assert!(primary.log().contains("is sending an error to its replica: 'ERR Replica can't interact"));
    // A killed replica counts as none at once.
    let mut replica = attach(&primary, "SYNC\r\n");
    read_snapshot(&mut replica);
    let mut conversation = Conversation::open(&primary);
    conversation.ask("MULTI");
    conversation.ask("CLIENT KILL TYPE replica");
    conversation.ask("INFO all");
    let text = conversation.ask("EXEC");
    assert!(text.contains("mem_clients_slaves:0") && text.contains("connected_slaves:0"), "{text}");
}
