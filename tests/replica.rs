//! This server as a replica: of the real Valkey and Redis, of itself, and of a peer that breaks what it promises.
//!
//! `WRITES` in the environment sets how many requests are written meanwhile (default 3,000).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use support::data::DataSet;
use support::info::{field, number, section};
use support::reply::Conversation;
use support::requests::Requests;
use support::{Server, peer};

const FAMILIES: &[&str] = &["string", "list", "set", "hash", "zset", "stream"];

/// Writes that a replica has to repeat to the letter.
const WRITES: &[(&str, &str)] = &[
    ("string", "SET $k $v"),
    ("string", "SET $k $v PX $m"),
    ("string", "SETRANGE $k $n $v"),
    ("string", "APPEND $k $v"),
    ("string", "INCRBYFLOAT $k $d"),
    ("string", "GETDEL $k"),
    ("string", "MSET $k $v $b $v"),
    ("string", "SET $b $v"),
    ("string", "DEL $K $b"),
    ("string", "RENAME $b $b"),
    ("string", "COPY $K $b REPLACE"),
    ("string", "EXPIRE $K $t"),
    ("list", "RPUSH $k *$v"),
    ("list", "LPUSH $k *$f"),
    ("list", "LTRIM $k $x $x"),
    ("list", "LMOVE $k $k LEFT RIGHT"),
    ("list", "RPOP $k $n"),
    ("set", "SADD $k *$f"),
    ("set", "SPOP $k"),
    ("set", "SPOP $k $n"),
    ("set", "SUNIONSTORE $k $k $k"),
    ("hash", "HSET $k *$f,$v"),
    ("hash", "HDEL $k *$f"),
    ("hash", "HINCRBYFLOAT $k $s $d"),
    ("hash", "HPEXPIRE $k $m FIELDS #$f"),
    ("hash", "HGETDEL $k FIELDS #$f"),
    ("zset", "ZADD $k *$d,$f"),
    ("zset", "ZINCRBY $k $d $f"),
    ("zset", "ZPOPMIN $k $n"),
    ("zset", "ZUNIONSTORE $k 2 $k $k"),
    ("stream", "XADD $k * *$f,$v"),
    ("stream", "XADD $k MAXLEN ~ 50 * *$f,$v"),
    ("stream", "XTRIM $k MAXLEN 10"),
    ("stream", "XGROUP CREATE $k g $ MKSTREAM"),
    ("stream", "XREADGROUP GROUP g c STREAMS $k >"),
    ("stream", "XAUTOCLAIM $k g d 0 0"),
];

fn writes() -> usize {
    std::env::var("WRITES").ok().and_then(|writes| writes.parse().ok()).unwrap_or(3_000)
}

/// Somebody who writes random requests to a server.
struct Writer {
    requests: Requests,
    conversation: Conversation,
}

impl Writer {
    fn new(server: &Server, seed: u64) -> Self {
        Self { requests: Requests::new(seed, FAMILIES), conversation: Conversation::open(server) }
    }

    fn write(&mut self, count: usize) {
        for _ in 0..count {
            let (family, template) = WRITES[self.requests.random.usize(..WRITES.len())];
            if self.requests.random.u8(..20) == 0 {
                let database = self.requests.random.u8(..4);
                self.conversation.ask(&format!("SELECT {database}"));
            }
            let in_transaction = self.requests.random.u8(..30) == 0;
            if in_transaction {
                self.conversation.ask("MULTI");
            }
            for _ in 0..if in_transaction { 3 } else { 1 } {
                let request = self.requests.draw(family, template);
                self.conversation.send(&request);
                self.conversation.read();
            }
            if in_transaction {
                self.conversation.ask("EXEC");
            }
        }
    }
}

fn replication(server: &Server, name: &str) -> String {
    field(&section(&mut Conversation::open(server), "replication"), name)
}

fn statistic(server: &Server, name: &str) -> i64 {
    number(&section(&mut Conversation::open(server), "stats"), name)
}

fn follow(replica: &Server, primary: &Server) {
    let reply = Conversation::open(replica).ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    assert_eq!(reply, "OK\n");
}

/// Waits until the replica has executed all that its primary has written.
fn settle(primary: &Server, replica: &Server) {
    replica.until("it has caught up", || {
        replication(replica, "master_link_status") == "up"
            && replication(primary, "master_repl_offset") == replication(replica, "slave_repl_offset")
    });
}

/// Every key of every database.
fn digest(server: &Server) -> String {
    Conversation::open(server).ask("DEBUG DIGEST")
}

/// The keys whose values differ, with their databases.
fn differences(primary: &Server, replica: &Server) -> Vec<(usize, String, String, String)> {
    let mut found = Vec::new();
    let (mut above, mut here) = (Conversation::open(primary), Conversation::open(replica));
    for database in 0..4 {
        above.ask(&format!("SELECT {database}"));
        here.ask(&format!("SELECT {database}"));
        for line in above.ask("KEYS *").lines() {
            let Some(key) = line.split_once('"').map(|(_, key)| key.trim_end_matches('"')) else { continue };
            for question in ["DEBUG DIGEST-VALUE", "PEXPIRETIME", "TYPE"] {
                let request = format!("{question} \"{key}\"");
                let (there, ours) = (above.ask(&request), here.ask(&request));
                if there != ours {
                    found.push((database, request, there, ours));
                }
            }
        }
    }
    found
}

/// The two hold the same data, once the primary has deleted what has expired.
fn assert_same(primary: &Server, replica: &Server) {
    let same = (0..200).any(|_| {
        settle(primary, replica);
        let same = digest(replica) == digest(primary);
        if !same {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        same
    });
    assert!(same, "different: {:?}\n{}", differences(primary, replica), replica.log());
}

fn valkey() -> Option<Server> {
    Server::start_valkey(&["--repl-diskless-sync-delay", "0"])
}

#[test]
fn the_data_is_valkeys_however_it_is_loaded() {
    for (seed, mode) in ["disabled", "on-empty-db", "swapdb", "flush-before-load"].iter().enumerate() {
        let Some(primary) = valkey() else { return };
        DataSet::new(seed as u64).store(&mut Conversation::open(&primary), 2_000);
        let replica = Server::start(&["--repl-diskless-load", mode]);
        Conversation::open(&replica).ask("SET old data");
        follow(&replica, &primary);
        Writer::new(&primary, seed as u64).write(writes());
        assert_same(&primary, &replica);
        assert_eq!(Conversation::open(&replica).ask("GET old"), "(nil)\n");
        let refused = Conversation::open(&replica).ask("SET old data");
        assert_eq!(refused, "(error) READONLY You can't write against a read only replica.\n");
    }
}

#[test]
fn a_snapshot_on_a_connection_of_its_own_ends_with_the_same_data() {
    for mode in ["disabled", "flush-before-load", "swapdb"] {
        let dual = "--dual-channel-replication-enabled";
        let Some(primary) = Server::start_valkey(&[dual, "yes", "--repl-diskless-sync-delay", "0"]) else {
            return;
        };
        DataSet::new(8).store(&mut Conversation::open(&primary), 2_000);
        let replica = Server::start(&[dual, "yes", "--repl-diskless-load", mode, "--key-load-delay", "100"]);
        follow(&replica, &primary);
        Writer::new(&primary, 9).write(writes());
        assert_same(&primary, &replica);
        assert!(
            replica.log().contains("Dual channel replication: Successfully streamed"),
            "{}",
            replica.log()
        );
    }
}

/// The primary closes that connection when all is sent, long before it has all arrived.
#[test]
fn a_slow_load_from_a_connection_of_its_own_is_not_cut_off() {
    let dual = "--dual-channel-replication-enabled";
    let options = [dual, "yes", "--repl-diskless-sync-delay", "0", "--rdbcompression", "no"];
    let Some(primary) = Server::start_valkey(&options) else { return };
    Conversation::open(&primary).ask("DEBUG POPULATE 20000 key 1000");
    let replica =
        Server::start(&[dual, "yes", "--repl-diskless-load", "flush-before-load", "--key-load-delay", "150"]);
    follow(&replica, &primary);
    settle(&primary, &replica);
    assert_eq!(digest(&replica), digest(&primary));
    assert_eq!(statistic(&primary, "sync_full"), 1, "{}", replica.log());
}

#[test]
fn chains_and_changed_roles_need_no_second_snapshot() {
    let Some(top) = valkey() else { return };
    let middle = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let Some(bottom) = valkey() else { return };
    let own = Server::start(&[]);
    follow(&middle, &top);
    settle(&top, &middle);
    for replica in [&bottom, &own] {
        follow(replica, &middle);
        settle(&middle, replica);
    }
    Writer::new(&top, 10).write(writes() / 3);
    for replica in [&middle, &bottom, &own] {
        assert_same(&top, replica);
    }
    // The middle becomes the top: who follows it goes on, and the old top goes on below it.
    Conversation::open(&middle).ask("REPLICAOF NO ONE");
    Writer::new(&middle, 11).write(writes() / 3);
    follow(&top, &middle);
    for replica in [&top, &bottom, &own] {
        assert_same(&middle, replica);
    }
    // And a real Valkey above again.
    Conversation::open(&bottom).ask("REPLICAOF NO ONE");
    follow(&middle, &bottom);
    Writer::new(&bottom, 12).write(writes() / 3);
    for replica in [&middle, &top, &own] {
        assert_same(&bottom, replica);
    }
    assert_eq!(statistic(&top, "sync_full"), 1);
    assert_eq!(statistic(&middle, "sync_full"), 2);
    assert_eq!(statistic(&bottom, "sync_full"), 0);
}

#[test]
fn a_cut_link_goes_on_where_it_was() {
    let Some(primary) = valkey() else { return };
    let replica = Server::start(&[]);
    follow(&replica, &primary);
    settle(&primary, &replica);
    let mut writer = Writer::new(&primary, 7);
    for cut in 0..20 {
        writer.write(writes() / 20);
        let (server, class) = if cut % 2 == 0 { (&replica, "primary") } else { (&primary, "replica") };
        Conversation::open(server).ask(&format!("CLIENT KILL TYPE {class}"));
    }
    assert_same(&primary, &replica);
    assert_eq!(statistic(&primary, "sync_full"), 1);
    assert!(statistic(&primary, "sync_partial_ok") >= 10);
}

#[test]
fn restarts_on_either_side_end_with_the_same_data() {
    let Some(mut primary) = Server::start_valkey(&["--repl-diskless-sync-delay", "0", "--save", "3600 1"])
    else {
        return;
    };
    let mut replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
    for round in 0..3 {
        Writer::new(&primary, round).write(writes() / 10);
        assert_same(&primary, &replica);
        replica.restart();
        Writer::new(&primary, 100 + round).write(writes() / 10);
        Conversation::open(&primary).ask("SAVE");
        primary.restart();
        Writer::new(&primary, 200 + round).write(writes() / 10);
    }
    assert_same(&primary, &replica);
}

/// A chain of three, Valkey, this server, Valkey: links are cut at either end, and servers killed and started again, while
/// requests go on being written.
#[test]
fn a_long_run_with_cuts_and_restarts_ends_with_the_same_data() {
    const ROUNDS: usize = 20;
    let Some(top) = Server::start_valkey(&["--repl-diskless-sync-delay", "0", "--save", "3600 1"]) else {
        return;
    };
    let above = format!("127.0.0.1 {}", top.port);
    let mut middle = Server::start(&["--repl-diskless-sync-delay", "0", "--replicaof", &above]);
    settle(&top, &middle);
    let here = format!("127.0.0.1 {}", middle.port);
    let mut bottom = Server::start_valkey(&["--replicaof", &here]).unwrap();
    settle(&middle, &bottom);
    let mut writer = Writer::new(&top, 4711);
    for round in 0..ROUNDS {
        writer.write(writes() / ROUNDS);
        match round % 5 {
            0 => drop(Conversation::open(&middle).ask("CLIENT KILL TYPE primary")),
            1 => drop(Conversation::open(&top).ask("CLIENT KILL TYPE replica")),
            2 => drop(Conversation::open(&middle).ask("CLIENT KILL TYPE replica")),
            3 => middle.restart(),
            _ => bottom.restart(),
        }
    }
    assert_same(&top, &middle);
    assert_same(&middle, &bottom);
    // Half a minute of cuts costs no snapshot; a restart may, when nothing was saved.
    assert!(statistic(&top, "sync_full") <= 1 + ROUNDS as i64 / 5);
    assert!(statistic(&top, "sync_partial_ok") >= ROUNDS as i64 / 5);
}

#[test]
fn what_has_expired_is_hidden_and_left_to_the_primary() {
    let Some(primary) = valkey() else { return };
    let replica = Server::start(&[]);
    follow(&replica, &primary);
    settle(&primary, &replica);
    let (mut above, mut here) = (Conversation::open(&primary), Conversation::open(&replica));
    above.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    above.ask("SET key value PX 1");
    above.ask("SET other value");
    settle(&primary, &replica);
    replica.until("its time is over", || here.ask("GET key") == "(nil)\n");
    assert_eq!(here.ask("DBSIZE"), "(integer) 2\n");
    assert_eq!(here.ask("EXISTS key"), "(integer) 0\n");
    assert!(!here.ask("KEYS *").contains("key"));
    assert_eq!(above.ask("GET key"), "(nil)\n");
    settle(&primary, &replica);
    assert_eq!(here.ask("DBSIZE"), "(integer) 1\n");
}

#[test]
fn a_redis_is_followed() {
    if peer("redis-server").is_none() {
        return;
    }
    let redis = Server::start_peer_in(
        "redis-server",
        tempfile::tempdir().unwrap(),
        &["--repl-diskless-sync-delay", "0"],
    )
    .unwrap();
    let mut data = DataSet::new(5);
    data.field_expiry = false;
    data.store(&mut Conversation::open(&redis), 1_000);
    for mode in ["disabled", "flush-before-load", "swapdb"] {
        let replica = Server::start(&["--repl-diskless-load", mode]);
        follow(&replica, &redis);
        Writer::new(&redis, 6).write(writes() / 10);
        Conversation::open(&redis).ask("DEBUG SET-ACTIVE-EXPIRE 0");
        settle(&redis, &replica);
        assert_same_keys(&redis, &replica);
        Conversation::open(&redis).ask("DEBUG SET-ACTIVE-EXPIRE 1");
    }
}

/// Redis's digest differs from Valkey's where fields of hashes expire: the number of keys has to do.
fn assert_same_keys(primary: &Server, replica: &Server) {
    for database in 0..4 {
        let [above, here] = [primary, replica].map(|server| {
            let mut conversation = Conversation::open(server);
            conversation.ask(&format!("SELECT {database}"));
            conversation.ask("DBSIZE")
        });
        assert_eq!(above, here, "{database}");
    }
}

#[test]
fn a_password_is_told_and_a_wrong_one_is_logged() {
    let Some(primary) = Server::start_valkey(&["--requirepass", "secret", "--repl-diskless-sync-delay", "0"])
    else {
        return;
    };
    let replica = Server::start(&["--masterauth", "wrong"]);
    follow(&replica, &primary);
    replica.until("it is refused", || replica.log().contains("Unable to AUTH to PRIMARY: -WRONGPASS"));
    Conversation::open(&replica).ask("CONFIG SET masterauth secret");
    replica.until("it is let in", || replication(&replica, "master_link_status") == "up");
}

#[test]
fn a_replica_says_where_it_stands_while_its_primary_is_away() {
    let Some(mut primary) = valkey() else { return };
    let replica = Server::start(&["--replica-serve-stale-data", "no"]);
    follow(&replica, &primary);
    settle(&primary, &replica);
    let mut here = Conversation::open(&replica);
    primary.kill();
    replica.until("the link is down", || replication(&replica, "master_link_status") == "down");
    let stale = "(error) MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\n";
    assert_eq!(here.ask("GET key"), stale);
    assert_eq!(here.ask("REPLICAOF NO ONE"), "OK\n");
    assert_eq!(here.ask("SET key value"), "OK\n");
    let text = section(&mut here, "replication");
    assert_eq!(field(&text, "role"), "master");
    assert_ne!(field(&text, "master_replid2"), "0".repeat(40));
}

/// A primary that introduces itself as one should, and then sends what a test wants.
struct FalsePrimary {
    listener: TcpListener,
}

impl FalsePrimary {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Takes the next connection as far as PSYNC and its reply.
    fn introduce(&self) -> BufReader<TcpStream> {
        let (stream, _) = self.listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        loop {
            let words = request(&mut stream);
            let reply = match words[0].to_ascii_uppercase().as_str() {
                "PING" => "+PONG\r\n".to_owned(),
                "PSYNC" => format!("+FULLRESYNC {} 100\r\n", "a".repeat(40)),
                _ => "+OK\r\n".to_owned(),
            };
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
            if words[0].eq_ignore_ascii_case("PSYNC") {
                return stream;
            }
        }
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let count = line()[1..].parse().unwrap();
    (0..count)
        .map(|_| {
            line();
            line()
        })
        .collect()
}

/// A whole snapshot with one key.
fn snapshot() -> Vec<u8> {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    conversation.ask("SET new data");
    conversation.ask("SAVE");
    std::fs::read(server.directory.path().join("dump.rdb")).unwrap()
}

#[test]
fn a_broken_snapshot_costs_no_data_where_the_mode_keeps_it_and_is_asked_for_again() {
    let whole = snapshot();
    let mut damaged = whole.clone();
    let middle = whole.len() - 12;
    damaged[middle] ^= 0xff;
    let foreign = [b"REDIS9999".as_slice(), &whole[9..]].concat();
    let cut = &whole[..whole.len() - 9];
    for mode in ["disabled", "swapdb"] {
        let replica = Server::start(&["--repl-diskless-load", mode]);
        Conversation::open(&replica).ask("SET old data");
        let primary = FalsePrimary::new();
        Conversation::open(&replica).ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        for bad in [&damaged, &foreign] {
            let mut stream = primary.introduce();
            write!(stream.get_mut(), "${}\r\n", bad.len()).unwrap();
            stream.get_mut().write_all(bad).unwrap();
            let mut rest = Vec::new();
            // The replica hangs up.
            let _ = stream.read_to_end(&mut rest);
        }
        let mut stream = primary.introduce();
        write!(stream.get_mut(), "${}\r\n", whole.len()).unwrap();
        stream.get_mut().write_all(cut).unwrap();
        drop(stream);
        let mut stream = primary.introduce();
        assert_eq!(Conversation::open(&replica).ask("GET old"), "\"data\"\n", "{mode}");
        // With the mark of a snapshot of unknown length, and the stream behind it.
        let mark = "m".repeat(40);
        write!(stream.get_mut(), "$EOF:{mark}\r\n").unwrap();
        stream.get_mut().write_all(&whole).unwrap();
        stream.get_mut().write_all(mark.as_bytes()).unwrap();
        replica
            .until("the new data is there", || Conversation::open(&replica).ask("GET new") == "\"data\"\n");
        assert_eq!(Conversation::open(&replica).ask("GET old"), "(nil)\n");
        let text = "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1\r\ny\r\n";
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        replica.until("the stream is applied", || Conversation::open(&replica).ask("GET x") == "\"y\"\n");
        let offset = replication(&replica, "slave_repl_offset");
        assert_eq!(offset, (100 + text.len()).to_string());
        // Garbage ends the link; the replica comes back for all of the data.
        stream.get_mut().write_all(b"*garbage\r\n").unwrap();
        let mut again = primary.introduce();
        assert!(replica.log().contains("Protocol error"), "{}", replica.log());
        let _ = again.get_mut().write_all(b"$0\r\n");
    }
}

#[test]
fn a_transaction_that_is_cut_off_is_begun_again() {
    let whole = snapshot();
    let replica = Server::start(&["--repl-diskless-load", "swapdb"]);
    let primary = FalsePrimary::new();
    Conversation::open(&replica).ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    let mut stream = primary.introduce();
    write!(stream.get_mut(), "${}\r\n", whole.len()).unwrap();
    stream.get_mut().write_all(&whole).unwrap();
    let half = "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1\r\ny\r\n";
    stream.get_mut().write_all(half.as_bytes()).unwrap();
    replica.until("it has come", || {
        replication(&replica, "slave_read_repl_offset") == (100 + half.len()).to_string()
    });
    assert_eq!(replication(&replica, "slave_repl_offset"), "100");
    drop(stream);
    let (stream, _) = primary.listener.accept().unwrap();
    let mut stream = BufReader::new(stream);
    loop {
        let words = request(&mut stream);
        if words[0] == "PSYNC" {
            assert_eq!(words[1..], ["a".repeat(40), "101".to_owned()]);
            break;
        }
        stream.get_mut().write_all(b"+OK\r\n").unwrap();
    }
    stream.get_mut().write_all(b"+CONTINUE\r\n").unwrap();
    stream.get_mut().write_all(half.as_bytes()).unwrap();
    stream.get_mut().write_all(b"*1\r\n$4\r\nEXEC\r\n").unwrap();
    replica.until("it is executed", || Conversation::open(&replica).ask("GET x") == "\"y\"\n");
}

#[test]
fn a_snapshot_by_way_of_the_disk_becomes_the_append_only_file() {
    let Some(primary) = valkey() else { return };
    let mut above = Conversation::open(&primary);
    // Nothing of it expires: what is loaded has to be the same to the last byte.
    let mut write = |round: usize| {
        for number in 0..100 {
            above.ask(&format!("SET round{round}:{number} {number}"));
            above.ask(&format!("RPUSH list:{} {round}:{number}", number % 7));
            above.ask(&format!("ZADD sorted {number} {round}:{number}"));
        }
    };
    write(0);
    let options = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
    let mut replica = Server::start(&options);
    Conversation::open(&replica).ask("SET old data");
    for round in 1..4 {
        follow(&replica, &primary);
        settle(&primary, &replica);
        let line = "Reused RDB file from primary sync as AOF base file: appendonly.aof.";
        replica.until("it is reused", || replica.log().matches(line).count() == round);
        write(round);
        assert_same(&primary, &replica);
        assert_eq!(Conversation::open(&replica).ask("REPLICAOF NO ONE"), "OK\n");
        replica.restart();
        let directory = replica.directory.path().join("appendonlydir");
        let files = std::fs::read_dir(directory).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        // The base, its increment and the manifest: what was there before is gone.
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files[0].ends_with(".base.rdb") && files[1].ends_with(".incr.aof"), "{files:?}");
        assert_eq!(digest(&replica), digest(&primary), "{}", replica.log());
        assert_eq!(Conversation::open(&replica).ask("EXISTS old"), "(integer) 0\n");
        // The next round begins with another snapshot.
        Conversation::open(&primary).ask("DEBUG CHANGE-REPL-ID");
    }
}
