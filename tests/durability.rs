//! What was acknowledged is there after a kill, whatever was under way; a disk that fails loses nothing with `always`;
//! append-only files move between this server and the real Valkey.
//!
//! `KILL_ROUNDS` sets how often the server is killed (300 in the long form). Each round must show that every list holds
//! each number once and in order: neither lost nor applied twice.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::Server;
use support::data::DataSet;
use support::info::{field, section};
use support::reply::Conversation;

/// Connections that write at the same time.
const WRITERS: usize = 4;
/// Rounds of the short form.
const ROUNDS: usize = 10;

const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
const EVERYSEC: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec"];

fn persistence(conversation: &mut Conversation) -> String {
    section(conversation, "persistence")
}

fn aof_field(conversation: &mut Conversation, name: &str) -> String {
    field(&persistence(conversation), name)
}

fn aof_path(server: &Server, name: &str) -> PathBuf {
    server.directory.path().join("appendonlydir").join(name)
}

fn rewritten(server: &Server, conversation: &mut Conversation) {
    server.until("the rewrite is over", || aof_field(conversation, "aof_rewrite_in_progress") == "0");
}

fn manifest(server: &Server) -> String {
    fs::read_to_string(aof_path(server, "appendonly.aof.manifest")).unwrap()
}

/// Writes numbers to the end of a list until the connection breaks. Counts what was sent and what was acknowledged.
fn write_until_killed(port: u16, list: &str, sent: &AtomicU64, acknowledged: &AtomicU64) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let mut reply = [0; 1 << 12];
    loop {
        let depth = fastrand::u64(1..8);
        let first = sent.load(Ordering::SeqCst);
        let mut requests = String::new();
        for number in first..first + depth {
            requests.push_str(&format!("RPUSH {list} {number}\r\n"));
        }
        sent.store(first + depth, Ordering::SeqCst);
        if stream.write_all(requests.as_bytes()).is_err() {
            return;
        }
        let mut open = depth;
        while open > 0 {
            match stream.read(&mut reply) {
                Ok(count) if count > 0 => {
                    assert!(!reply[..count].contains(&b'-'), "{}", reply[..count].escape_ascii());
                    let done = reply[..count].iter().filter(|byte| **byte == b':').count() as u64;
                    acknowledged.fetch_add(done, Ordering::SeqCst);
                    open -= done;
                }
                _ => return,
            }
        }
    }
}

/// Begins one piece of background work after the other until told to end.
fn disturb(port: u16, stop: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let mut reply = [0; 1 << 12];
    while !stop.load(Ordering::SeqCst) {
        let request =
            fastrand::choice(["BGREWRITEAOF", "BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE SCHEDULE"]).unwrap();
        if stream.write_all(format!("{request}\r\n").as_bytes()).is_err() {
            return;
        }
        if !matches!(stream.read(&mut reply), Ok(1..)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..20)));
    }
}

/// Has writers write until the server is killed; gives what each has sent and what was acknowledged to it.
fn round(server: &mut Server, number: usize) -> Vec<(String, u64, u64)> {
    let lists: Vec<String> = (0..WRITERS).map(|writer| format!("list:{number}:{writer}")).collect();
    let counts: Vec<(AtomicU64, AtomicU64)> = lists.iter().map(|_| Default::default()).collect();
    let (port, stop) = (server.port, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (list, (sent, acknowledged)) in lists.iter().zip(&counts) {
            scope.spawn(move || write_until_killed(port, list, sent, acknowledged));
        }
        let stop = &stop;
        scope.spawn(move || disturb(port, stop));
        std::thread::sleep(Duration::from_millis(fastrand::u64(5..120)));
        server.kill();
        stop.store(true, Ordering::SeqCst);
    });
    let counts = counts.iter().map(|(sent, done)| (sent.load(Ordering::SeqCst), done.load(Ordering::SeqCst)));
    lists.into_iter().zip(counts).map(|(list, (sent, done))| (list, sent, done)).collect()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_at_any_instant() {
    let rounds = std::env::var("KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut server = Server::start(ALWAYS);
    let mut expected: Vec<(String, u64, u64)> = Vec::new();
    let mut acknowledged = 0;
    for number in 0..rounds {
        let written = round(&mut server, number);
        acknowledged += written.iter().map(|(_, _, done)| done).sum::<u64>();
        expected.extend(written);
        if fastrand::u8(..4) == 0 {
            // Killed again while it loads.
            let mut loading = Command::new(env!("CARGO_BIN_EXE_weighbridge"))
                .args(["--port", "0", "--unixsocket", "s", "--save", "", "--logfile", "log", "--dir"])
                .arg(server.directory.path())
                .args(ALWAYS)
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(fastrand::u64(1..60)));
            loading.kill().unwrap();
            loading.wait().unwrap();
        }
        server.restart();
        let mut conversation = Conversation::open(&server);
        for (list, sent, done) in &expected {
            let len: u64 = conversation
                .ask(&format!("LLEN {list}"))
                .trim()
                .trim_start_matches("(integer) ")
                .parse()
                .unwrap();
            assert!(
                (*done..=*sent).contains(&len),
                "round {number}, {list}: {done} acknowledged, {sent} sent, {len} there"
            );
        }
        for (list, ..) in expected.iter().rev().take(WRITERS) {
            let held = conversation.ask(&format!("LRANGE {list} 0 -1"));
            let numbers = held
                .lines()
                .filter_map(|line| line.rsplit(' ').next()?.trim_matches('"').parse::<u64>().ok());
            assert!(
                numbers.enumerate().all(|(place, number)| place as u64 == number),
                "{list} is not in order:\n{held}"
            );
        }
        // What was found is what the next rounds must find.
        for (list, sent, done) in &mut expected {
            let len = conversation
                .ask(&format!("LLEN {list}"))
                .trim()
                .trim_start_matches("(integer) ")
                .parse()
                .unwrap();
            (*sent, *done) = (len, len);
        }
    }
    eprintln!("{rounds} kills, {acknowledged} acknowledged writes, {} lists, none lost", expected.len());
    assert!(acknowledged > rounds as u64);
}

#[test]
fn with_everysec_a_kill_loses_at_most_the_last_two_seconds() {
    let mut server = Server::start(EVERYSEC);
    let (sent, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    let port = server.port;
    let mut older = 0;
    std::thread::scope(|scope| {
        let (sent, acknowledged) = (&sent, &acknowledged);
        scope.spawn(move || write_until_killed(port, "list", sent, acknowledged));
        std::thread::sleep(Duration::from_millis(500));
        older = acknowledged.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2000));
        server.kill();
    });
    server.restart();
    let len = Conversation::open(&server).ask("LLEN list");
    let len: u64 = len.trim().trim_start_matches("(integer) ").parse().unwrap();
    assert!(
        older > 0 && (older..=sent.load(Ordering::SeqCst)).contains(&len),
        "{older} old ones, {len} there"
    );
}

/// Limits how large the files of a process may become.
fn limit_file_size(server: &Server, bytes: &str) {
    let pid = server.process.id().to_string();
    let limit = format!("--fsize={bytes}:unlimited");
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
}

#[test]
fn a_disk_that_is_full_for_a_while_stops_writes_and_loses_none() {
    let mut server = Server::start(EVERYSEC);
    let mut conversation = Conversation::open(&server);
    let value = "x".repeat(100_000);
    for number in 0..3 {
        conversation.send(&["SET", &format!("before:{number}"), &value]);
        assert_eq!(conversation.read(), "OK\n");
    }
    // In the middle of the next record.
    limit_file_size(&server, "300500");
    let refused = |conversation: &mut Conversation| {
        conversation.send(&["SET", "during", &value]);
        conversation.read()
    };
    let mut accepted = 0;
    let begun = Instant::now();
    let error = loop {
        match refused(&mut conversation) {
            reply if reply == "OK\n" => accepted += 1,
            reply => break reply,
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    };
    assert!(accepted > 0);
    assert!(error.contains("MISCONF Errors writing to the AOF file: No space left on device"), "{error}");
    assert!(conversation.ask("PING").contains("MISCONF"), "as Valkey, PING tells too");
    assert_eq!(aof_field(&mut conversation, "aof_last_write_status"), "err");
    assert!(server.log().contains("Short write while writing to the AOF file: (nwritten="));
    limit_file_size(&server, "unlimited");
    server.until("it can write again", || aof_field(&mut conversation, "aof_last_write_status") == "ok");
    assert!(server.log().contains("AOF write error looks solved. The server can write again."));
    assert_eq!(conversation.ask("SET after 1"), "OK\n");
    // With everysec a write may wait for a sync that is under way.
    server.until("it is written", || aof_field(&mut conversation, "aof_buffer_length") == "0");
    server.restart();
    let mut conversation = Conversation::open(&server);
    assert!(conversation.ask("EXISTS before:0 before:1 before:2 during after").contains('5'));
}

#[test]
fn with_always_a_failing_write_ends_the_process_before_anything_is_acknowledged() {
    let mut server = Server::start(ALWAYS);
    let mut conversation = Conversation::open(&server);
    assert_eq!(conversation.ask("SET kept 1"), "OK\n");
    let padding = "x".repeat(100_000);
    conversation.send(&["SET", "padding", &padding]);
    assert_eq!(conversation.read(), "OK\n");
    let size = fs::metadata(aof_path(&server, "appendonly.aof.1.incr.aof")).unwrap().len();
    limit_file_size(&server, &(size + 10).to_string());
    let logged = server.log().len() as u64;
    assert!(logged + 2000 < size, "the log is a file too");
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"SET lost 1\r\n").unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert_eq!(reply, b"", "{}", reply.escape_ascii());
    assert_eq!(server.process.wait().unwrap().code(), Some(1));
    assert!(
        server
            .log()
            .contains("Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...")
    );
    server.restart();
    let mut conversation = Conversation::open(&server);
    assert!(conversation.ask("EXISTS kept padding").contains('2'));
}

#[test]
fn a_device_without_space_refuses_writes_and_says_why() {
    let mut server = Server::start(EVERYSEC);
    server.kill();
    let increment = aof_path(&server, "appendonly.aof.1.incr.aof");
    fs::remove_file(&increment).unwrap();
    std::os::unix::fs::symlink("/dev/full", &increment).unwrap();
    server.restart();
    let mut conversation = Conversation::open(&server);
    server.until("a write is refused", || conversation.ask("SET k v").contains("No space left on device"));
    assert!(server.log().contains("Error writing to the AOF file: No space left on device"));
    assert_eq!(aof_field(&mut conversation, "aof_last_write_status"), "err");
    assert!(conversation.ask("GET k").contains('v'), "reads go on");
}

#[test]
fn a_rewrite_that_cannot_be_put_in_its_place_changes_nothing() {
    let mut server = Server::start(ALWAYS);
    let mut conversation = Conversation::open(&server);
    conversation.ask("SET before 1");
    // The base cannot take its name.
    let base = aof_path(&server, "appendonly.aof.2.base.rdb");
    fs::create_dir(&base).unwrap();
    conversation.ask("BGREWRITEAOF");
    rewritten(&server, &mut conversation);
    assert_eq!(aof_field(&mut conversation, "aof_last_bgrewrite_status"), "err");
    assert_eq!(aof_field(&mut conversation, "aof_rewrites_consecutive_failures"), "1");
    conversation.ask("SET between 1");
    fs::remove_dir(&base).unwrap();
    // The manifest cannot be written: the new increment is not gone over to.
    let blocked = aof_path(&server, "temp-appendonly.aof.manifest");
    fs::create_dir(&blocked).unwrap();
    let listed = manifest(&server);
    conversation.ask("BGREWRITEAOF");
    rewritten(&server, &mut conversation);
    assert_eq!(manifest(&server), listed);
    assert_eq!(aof_field(&mut conversation, "aof_last_bgrewrite_status"), "err");
    conversation.ask("SET after 1");
    server.restart();
    let mut conversation = Conversation::open(&server);
    assert!(conversation.ask("EXISTS before between after").contains('3'));
    fs::remove_dir(&blocked).unwrap();
    conversation.ask("BGREWRITEAOF");
    rewritten(&server, &mut conversation);
    assert_eq!(aof_field(&mut conversation, "aof_last_bgrewrite_status"), "ok");
    assert_eq!(manifest(&server).lines().count(), 2);
    server.restart();
    assert!(Conversation::open(&server).ask("EXISTS before between after").contains('3'));
}

#[test]
fn what_a_rewrite_writes_as_commands_is_the_same_data() {
    let server = Server::start(&[
        "--appendonly",
        "yes",
        "--aof-use-rdb-preamble",
        "no",
        "--aof-timestamp-enabled",
        "yes",
    ]);
    let mut conversation = Conversation::open(&server);
    DataSet::new(7).store(&mut conversation, 800);
    for request in [
        "XGROUP CREATE groups g 0 MKSTREAM",
        "XADD groups 1-1 a 1",
        "XADD groups 2-1 a 2",
        "XREADGROUP GROUP g reader COUNT 1 STREAMS groups >",
        "XGROUP CREATECONSUMER groups g idle",
        "XDEL groups 2-1",
        "XADD empty 5-5 a 1",
        "XDEL empty 5-5",
    ] {
        assert!(!conversation.ask(request).contains("error"), "{request}");
    }
    let groups = conversation.ask("XINFO STREAM groups FULL");
    let digest = conversation.ask("DEBUG DIGEST");
    conversation.ask("BGREWRITEAOF");
    rewritten(&server, &mut conversation);
    assert!(manifest(&server).contains("appendonly.aof.2.base.aof"));
    let base = fs::read(aof_path(&server, "appendonly.aof.2.base.aof")).unwrap();
    assert!(base.starts_with(b"#TS:"));
    assert_eq!(conversation.ask("DEBUG LOADAOF"), "OK\n");
    assert_eq!(conversation.ask("DEBUG DIGEST"), digest);
    let parts = |text: &str| -> Vec<String> {
        let keeps = |line: &&str| !["seen", "active", "radix"].iter().any(|word| line.contains(word));
        text.lines().filter(keeps).map(str::to_owned).collect()
    };
    let again = conversation.ask("XINFO STREAM groups FULL");
    assert_eq!(parts(&again).len(), parts(&groups).len());
    assert!(!server.log().contains("CRITICAL"), "{}", server.log());
}

#[test]
fn a_slow_script_in_the_file_does_not_keep_the_server_from_answering() {
    let server = Server::start(&["--appendonly", "yes", "--busy-reply-threshold", "1"]);
    let path = aof_path(&server, "appendonly.aof.1.incr.aof");
    // Old servers wrote scripts as they were called.
    let request = |words: &[&str]| {
        let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        words
    };
    let script = "redis.call('set', KEYS[1], 'y') for i = 1, 200000 do redis.call('ping') end return 1";
    let held = format!(
        "*2\r\n{}*1\r\n{}*4\r\n{}*3\r\n{}*1\r\n{}*3\r\n{}",
        request(&["SELECT", "3"]),
        request(&["MULTI"]),
        request(&["EVAL", script, "1", "x"]),
        request(&["SET", "queued", "1"]),
        request(&["EXEC"]),
        request(&["SET", "after", "2"]),
    );
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(held.as_bytes()).unwrap();
    let size = fs::metadata(&path).unwrap().len();
    let mut conversation = Conversation::open(&server);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| Conversation::open(&server).ask("DEBUG LOADAOF"));
        server.until("it loads", || conversation.ask("PING").contains("LOADING"));
        server.until("the script is slow", || server.log().contains("Slow script detected"));
        assert!(conversation.ask("SCRIPT KILL").contains("LOADING"));
        assert_eq!(loading.join().unwrap(), "OK\n");
    });
    conversation.ask("SELECT 3");
    for (key, value) in [("x", "y"), ("queued", "1"), ("after", "2")] {
        assert_eq!(conversation.ask(&format!("GET {key}")), format!("\"{value}\"\n"));
    }
    // What was loaded is not written again.
    conversation.ask("CONFIG SET appendfsync always");
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    assert!(!server.log().contains("CRITICAL"), "{}", server.log());
}

/// Writes a data set and changes of it to an append-only file, and gives its digest.
fn write_history(server: &Server, seed: u64) -> String {
    let mut conversation = Conversation::open(server);
    DataSet::new(seed).store(&mut conversation, 400);
    conversation.ask("BGREWRITEAOF");
    rewritten(server, &mut conversation);
    for database in 0..4 {
        conversation.ask(&format!("SWAPDB {database} {}", database + 8));
    }
    DataSet::new(seed + 1).store(&mut conversation, 400);
    for request in [
        "MULTI",
        "INCR counter",
        "SPOP set",
        "SET a b EX 100000",
        "EXEC",
        "SWAPDB 0 1",
        "EXPIRE key:1:0 5000",
    ] {
        conversation.ask(request);
    }
    conversation.ask("DEBUG DIGEST")
}

#[test]
fn append_only_files_move_to_the_real_valkey_and_back() {
    for preamble in ["yes", "no"] {
        let arguments =
            ["--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", preamble];
        let Some(mut valkey) = Server::start_valkey(&arguments) else { return };
        let digest = write_history(&valkey, 11);
        valkey.kill();
        let copy = copy_of(&valkey);
        let ours = Server::start_in(copy, &arguments);
        assert_eq!(
            Conversation::open(&ours).ask("DEBUG DIGEST"),
            digest,
            "of Valkey's files, preamble {preamble}"
        );
        drop(ours);

        let mut ours = Server::start(&arguments);
        let digest = write_history(&ours, 12);
        ours.kill();
        let copy = copy_of(&ours);
        let valkey = Server::start_peer_in("valkey-server", copy, &arguments).unwrap();
        assert_eq!(
            Conversation::open(&valkey).ask("DEBUG DIGEST"),
            digest,
            "of our files, preamble {preamble}"
        );
    }
}

/// A directory with the append-only file of a server that has ended.
fn copy_of(server: &Server) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("appendonlydir")).unwrap();
    for entry in fs::read_dir(server.directory.path().join("appendonlydir")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join("appendonlydir").join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn the_append_only_file_is_turned_on_and_off_while_clients_write() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let mut conversation = Conversation::open(&server);
    conversation.ask("SET before 1");
    assert_eq!(conversation.ask("CONFIG SET appendonly yes"), "OK\n");
    conversation.ask("SET meanwhile 1");
    server.until("it is on", || manifest_lists(&server, 2));
    conversation.ask("SET after 1");
    assert_eq!(conversation.ask("CONFIG SET appendonly no"), "OK\n");
    assert_eq!(aof_field(&mut conversation, "aof_enabled"), "0");
    conversation.ask("SET unseen 1");
    server.kill();
    let copy = copy_of(&server);
    let again = Server::start_in(copy, EVERYSEC);
    assert!(Conversation::open(&again).ask("EXISTS before meanwhile after unseen").contains('3'));
}

fn manifest_lists(server: &Server, files: usize) -> bool {
    fs::read_to_string(aof_path(server, "appendonly.aof.manifest"))
        .is_ok_and(|text| text.lines().count() == files)
}
