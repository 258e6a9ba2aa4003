//! Snapshots of a running server: what survives, what is refused, and what the end of a child brings about.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::fs;
use std::path::PathBuf;

use support::Server;
use support::info::{field, number, section};
use support::reply::Conversation;

fn persistence(conversation: &mut Conversation) -> String {
    section(conversation, "persistence")
}

/// Waits until no child saves.
fn settle(server: &Server, conversation: &mut Conversation) {
    server.until("the child is gone", || field(&persistence(conversation), "rdb_bgsave_in_progress") == "0");
}

fn temporary_files(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.directory.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("temp-")).collect()
}

fn child_of(server: &Server) -> u32 {
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains("Background saving started by pid")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn signal(pid: u32, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn fill(conversation: &mut Conversation, keys: usize) {
    for number in 0..keys {
        conversation.send(&["SET", &format!("key:{number}"), &format!("value {number}")]);
    }
    for _ in 0..keys {
        conversation.read();
    }
}

#[test]
fn data_survives_a_kill_after_a_save_and_a_shutdown_with_save_points() {
    let mut server = Server::start(&["--save", "3600", "1"]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 1000);
    conversation.ask("PEXPIRE key:0 300");
    conversation.ask("EXPIRE key:1 10000");
    conversation.ask("RPUSH list a b c");
    assert_eq!(conversation.ask("SAVE"), "OK\n");
    assert_eq!(number(&persistence(&mut conversation), "rdb_changes_since_last_save"), 0);
    server.until("a key has expired", || conversation.ask("EXISTS key:0") == "(integer) 0\n");
    server.restart();
    let mut conversation = Conversation::open(&server);
    server.until("loaded", || conversation.ask("DBSIZE") == "(integer) 1000\n");
    assert!(server.log().contains("DB loaded from disk"));
    assert_eq!(conversation.ask("GET key:999"), "\"value 999\"\n");
    assert_eq!(conversation.ask("LLEN list"), "(integer) 3\n");
    assert!(conversation.ask("TTL key:1").len() > "(integer) 999\n".len());
    let text = persistence(&mut conversation);
    assert_eq!(number(&text, "rdb_last_load_keys_loaded"), 1000);
    assert_eq!(number(&text, "rdb_last_load_keys_expired"), 1);
    conversation.ask("SET late value");
    signal(server.process.id(), "-TERM");
    server.process.wait().unwrap();
    assert!(server.log().contains("DB saved on disk"));
    server.restart();
    let mut conversation = Conversation::open(&server);
    server.until("loaded", || conversation.ask("GET late") == "\"value\"\n");
}

#[test]
fn a_background_save_leaves_what_was_changed_meanwhile_to_the_next_one() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 100);
    conversation.ask("CONFIG SET rdb-key-save-delay 20000");
    assert_eq!(conversation.ask("BGSAVE"), "Background saving started\n");
    assert_eq!(conversation.ask("BGSAVE"), "(error) ERR Background save already in progress\n");
    assert_eq!(conversation.ask("BGSAVE STAT_MEMORY"), "(error) ERR Background save already in progress\n");
    assert_eq!(conversation.ask("SAVE"), "(error) ERR Background save already in progress\n");
    conversation.ask("SET meanwhile 1");
    let text = persistence(&mut conversation);
    assert_eq!(number(&text, "rdb_bgsave_in_progress"), 1);
    assert_eq!(number(&text, "current_save_keys_total"), 100);
    settle(&server, &mut conversation);
    let text = persistence(&mut conversation);
    assert_eq!(number(&text, "rdb_changes_since_last_save"), 1);
    assert_eq!(field(&text, "rdb_last_bgsave_status"), "ok");
    assert!(temporary_files(&server).is_empty());
    let log = server.log();
    for line in ["DB saved on disk", "Fork CoW for RDB: current", "Background saving terminated with success"]
    {
        assert!(log.contains(line), "{line}");
    }
}

#[test]
fn a_killed_child_leaves_the_old_file_and_no_other() {
    let server = Server::start(&["--save", "3600", "1000000"]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 50);
    conversation.ask("SAVE");
    let dump = server.directory.path().join("dump.rdb");
    let old = fs::read(&dump).unwrap();
    conversation.ask("CONFIG SET rdb-key-save-delay 10000000");
    conversation.ask("BGSAVE STAT_MEMORY");
    let pid = child_of(&server);
    server.until("the child has begun to write", || !temporary_files(&server).is_empty());
    signal(pid, "-KILL");
    settle(&server, &mut conversation);
    assert_eq!(fs::read(&dump).unwrap(), old);
    assert!(temporary_files(&server).is_empty());
    assert!(server.log().contains("Background saving terminated by signal 9"));
    let stats = section(&mut conversation, "rdb_stats");
    assert_eq!(field(&stats, "rdb_stats_last_status"), "err");
    assert_eq!(field(&stats, "rdb_stats_available"), "0");
    assert_eq!(field(&persistence(&mut conversation), "rdb_last_bgsave_status"), "err");
    assert!(conversation.ask("SET key value").starts_with("(error) MISCONF"));
    conversation.ask("CONFIG SET rdb-key-save-delay 0");
    conversation.ask("BGSAVE");
    settle(&server, &mut conversation);
    assert_eq!(conversation.ask("SET key value"), "OK\n");
}

#[test]
fn cancelling_is_no_failure_and_publishes_nothing() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 10);
    assert_eq!(
        conversation.ask("BGSAVE CANCEL"),
        "(error) ERR Background saving is currently not in progress or scheduled\n"
    );
    for refused in
        ["BGSAVE x", "BGSAVE SCHEDULE STAT_MEMORY", "BGSAVE STAT_MEMORY CANCEL", "BGSAVE STAT_MEMORY x"]
    {
        assert_eq!(conversation.ask(refused), "(error) ERR syntax error\n", "{refused}");
    }
    conversation.ask("CONFIG SET rdb-key-save-delay 10000000");
    conversation.ask("BGSAVE stat_memory");
    assert_eq!(conversation.ask("BGSAVE cancel"), "Background saving cancelled\n");
    settle(&server, &mut conversation);
    assert_eq!(field(&persistence(&mut conversation), "rdb_last_bgsave_status"), "ok");
    assert_eq!(field(&section(&mut conversation, "rdb_stats"), "rdb_stats_last_status"), "cancelled");
    assert!(!server.log().contains("RDB object stats") && temporary_files(&server).is_empty());
}

#[test]
fn inside_a_transaction_the_save_is_scheduled_with_its_profile() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    for request in ["MULTI", "SET key value", "BGSAVE STAT_MEMORY"] {
        conversation.ask(request);
    }
    assert!(conversation.ask("EXEC").contains("Background saving scheduled"));
    server.until("the profile is there", || {
        field(&section(&mut conversation, "rdb_stats"), "rdb_stats_available") == "1"
    });
    assert_eq!(number(&section(&mut conversation, "rdb_stats"), "rdb_stats_total_keys"), 1);
}

#[test]
fn a_save_point_saves_by_itself() {
    let server = Server::start(&["--save", "1", "5"]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 5);
    server.until("it has saved", || server.log().contains("Background saving terminated with success"));
    assert!(server.log().contains("5 changes in 1 seconds. Saving..."));
    assert!(!server.log().contains("RDB object stats"));
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 10);
    conversation.ask("SAVE");
    let dump = server.directory.path().join("dump.rdb");
    let old = fs::read(&dump).unwrap();
    // No file of this process may grow beyond this: what a full disk does, but to this server only.
    let limit = format!("--fsize={}", 100_000);
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &server.process.id().to_string(), &limit])
        .status();
    if !limited.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no prlimit");
        return;
    }
    let value = (0..200_000).map(|number| char::from(b'!' + (number * 7919 % 89) as u8)).collect::<String>();
    conversation.send(&["SET", "large", &value]);
    conversation.read();
    conversation.ask("CONFIG SET rdbcompression no");
    assert_eq!(conversation.ask("SAVE"), "(error) ERR\n");
    assert!(server.log().contains("Write error while saving DB to the disk(rdbSaveRio): File too large"));
    conversation.ask("BGSAVE STAT_MEMORY");
    settle(&server, &mut conversation);
    assert!(server.log().contains("Background saving error"));
    assert_eq!(fs::read(&dump).unwrap(), old);
    assert!(temporary_files(&server).is_empty());
    assert_eq!(field(&section(&mut conversation, "rdb_stats"), "rdb_stats_last_status"), "err");
}

#[test]
fn a_damaged_file_is_refused_and_stays_as_it_is() {
    let mut server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 100);
    conversation.ask("SAVE");
    server.kill();
    let dump = server.directory.path().join("dump.rdb");
    let whole = fs::read(&dump).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    let cases: [(&[u8], &str); 4] = [
        (&whole[..whole.len() / 2], "Short read or OOM loading DB. Unrecoverable error, aborting now."),
        (&flipped, "Internal error in RDB reading offset"),
        (b"REDIS0099", "Can't handle RDB format version 99"),
        (b"something else entirely", "Wrong signature trying to load DB from file: something"),
    ];
    for (bytes, reason) in cases {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("dump.rdb"), bytes).unwrap();
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_weighbridge"))
            .args(["--port", "0", "--unixsocket", "socket", "--logfile", "log", "--dir"])
            .arg(directory.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        let log = fs::read_to_string(directory.path().join("log")).unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(reason), "{reason} in\n{log}");
        // What is damaged, rather than no snapshot at all, is examined: what was being read is in the log.
        let is_damaged = bytes.len() > 100;
        assert_eq!(log.contains("--- RDB ERROR DETECTED ---"), is_damaged, "{log}");
        assert_eq!(log.contains("[additional info] While doing: "), is_damaged, "{log}");
        assert_eq!(fs::read(directory.path().join("dump.rdb")).unwrap(), bytes);
    }
}

#[test]
fn stale_temporary_files_are_swept_and_clients_wait_while_data_loads() {
    let mut server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    fill(&mut conversation, 2000);
    conversation.ask("SAVE");
    server.kill();
    fs::write(server.directory.path().join("temp-4194304.rdb"), "left over").unwrap();
    let taken = tempfile::tempdir().unwrap();
    for name in ["dump.rdb", "temp-4194304.rdb"] {
        fs::copy(server.directory.path().join(name), taken.path().join(name)).unwrap();
    }
    let server = Server::start_loading_in(
        taken,
        &["--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"],
    );
    let mut conversation = Conversation::open(&server);
    assert_eq!(conversation.ask("GET key:1"), "(error) LOADING Valkey is loading the dataset in memory\n");
    let text = persistence(&mut conversation);
    assert_eq!(number(&text, "loading"), 1);
    assert!(number(&text, "loading_total_bytes") > 0 && text.contains("loading_eta_seconds"));
    assert!(temporary_files(&server).is_empty());
}
