//! Files that a command writes, reads or turns on and off: who asks waits until that is done, and nobody else does.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::Server;
use support::reply::Conversation;

/// A server with a configuration file and a file of users.
fn start(arguments: &[&str]) -> (Server, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.conf");
    fs::write(&path, "# mine\n").unwrap();
    fs::create_dir(directory.path().join("acl")).unwrap();
    fs::write(directory.path().join("acl/users"), "").unwrap();
    let mut all = vec![path.to_str().unwrap(), "--aclfile", "acl/users"];
    all.extend(arguments);
    (Server::start_in(directory, &all), path)
}

/// A pipe in the place of a file: whoever opens it waits for the other end.
fn make_pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Writes all that is read from a pipe.
fn fill_pipe(path: &Path, text: &str) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn waiting(conversation: &mut Conversation) -> usize {
    let text = conversation.ask("INFO clients");
    let (_, rest) = text.split_once("blocked_clients:").unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn only_who_asked_waits_until_a_file_is_written() {
    let (server, path) = start(&[]);
    let users = server.directory.path().join("acl/users");
    // Whoever reads the configuration now waits for what is written into this pipe.
    make_pipe(&path);
    let [mut first, mut second, mut third] = [(); 3].map(|()| Conversation::open(&server));
    let id = first.ask("CLIENT ID");
    let id = id.trim_start_matches("(integer) ").trim();
    third.ask("ACL SETUSER early on");
    first.send(&["CONFIG", "REWRITE"]);
    first.send(&["ECHO", "after"]);
    server.until("one waits", || waiting(&mut third) == 1);
    second.send(&["ACL", "SAVE"]);
    let mut gone = Conversation::open(&server);
    gone.send(&["CONFIG", "REWRITE"]);
    server.until("three wait", || waiting(&mut third) == 3);
    drop(gone);
    server.until("one has left", || waiting(&mut third) == 2);
    assert_eq!(third.ask("SET key value"), "OK\n");
    assert_eq!(third.ask(&format!("CLIENT UNBLOCK {id}")), "(integer) 0\n");
    third.ask("ACL SETUSER late on");
    third.ask("CONFIG SET maxmemory-samples 7");
    assert_eq!(fs::read_to_string(&users).unwrap(), "");
    fill_pipe(&path, "# from the pipe\nmaxmemory-samples 3\n");
    assert_eq!(first.read(), "OK\n");
    assert_eq!(first.read(), "\"after\"\n");
    assert_eq!(second.read(), "OK\n");
    server.until("nobody waits", || waiting(&mut third) == 0);
    // Each file is what it was to be when it was asked for.
    let saved = fs::read_to_string(&users).unwrap();
    assert!(saved.contains("user early on") && !saved.contains("late"), "{saved}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# from the pipe\n") && text.contains("maxmemory-samples 5\n"), "{text}");
    assert_eq!(third.ask("CONFIG REWRITE"), "OK\n");
    assert!(fs::read_to_string(&path).unwrap().contains("maxmemory-samples 7\n"));
    let log = server.log();
    assert_eq!(log.matches("CONFIG REWRITE executed with success.").count(), 3, "{log}");
}

#[test]
fn what_cannot_be_written_is_told_in_valkeys_words() {
    let (server, path) = start(&[]);
    let mut conversation = Conversation::open(&server);
    fs::rename(server.directory.path().join("acl"), server.directory.path().join("other")).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = "(error) ERR There was an error trying to save the ACLs. Please check the server logs for more information\n";
    assert_eq!(conversation.ask("ACL SAVE"), refused);
    let refused = "(error) ERR Rewriting config file: Is a directory\n";
    assert_eq!(conversation.ask("CONFIG REWRITE"), refused);
    let log = server.log();
    assert!(log.contains("Writing ACL file for ACL SAVE: No such file or directory"), "{log}");
    assert!(log.contains("CONFIG REWRITE failed: Is a directory"), "{log}");
    let statistics = conversation.ask("INFO commandstats");
    assert!(statistics.contains("cmdstat_acl|save:calls=1,"), "{statistics}");
    assert!(conversation.ask("INFO errorstats").contains("errorstat_ERR:count=2"));
}

#[test]
fn a_transaction_has_written_its_files_before_it_replies() {
    let (server, path) = start(&["--cluster-enabled", "yes"]);
    let nodes = server.directory.path().join("nodes.conf");
    let mut conversation = Conversation::open(&server);
    let requests = [
        "CONFIG SET maxmemory-samples 9",
        "CONFIG REWRITE",
        "ACL SAVE",
        "ACL LOAD",
        "CONFIG SET appendonly yes",
        "CONFIG SET appendonly no",
    ];
    conversation.ask("MULTI");
    for request in requests {
        conversation.ask(request);
    }
    conversation.ask("CLUSTER SAVECONFIG");
    fs::remove_file(&nodes).unwrap();
    assert_eq!(
        conversation.ask("EXEC"),
        "(array of 7)\n   1) OK\n   2) OK\n   3) OK\n   4) OK\n   5) OK\n   6) OK\n   7) OK\n"
    );
    assert!(fs::read_to_string(&path).unwrap().contains("maxmemory-samples 9\n"));
    assert!(fs::read_to_string(server.directory.path().join("acl/users")).unwrap().contains("user default"));
    assert!(fs::read_to_string(&nodes).unwrap().contains("myself,master"));
    fs::remove_file(&nodes).unwrap();
    assert_eq!(conversation.ask("CLUSTER SAVECONFIG"), "OK\n");
    assert!(fs::read_to_string(&nodes).unwrap().contains("myself,master"));
}

#[test]
fn only_who_asked_waits_until_users_are_read() {
    let (server, _) = start(&[]);
    let users = server.directory.path().join("acl/users");
    let [mut first, mut second] = [(); 2].map(|()| Conversation::open(&server));
    second.ask("ACL SETUSER alice on nopass allcommands");
    second.ask("ACL SETUSER dave on nopass allcommands");
    let mut dave = Conversation::open(&server);
    assert_eq!(dave.ask("AUTH dave any"), "OK\n");
    assert_eq!(first.ask("AUTH alice any"), "OK\n");
    make_pipe(&users);
    first.send(&["ACL", "LOAD"]);
    server.until("it waits", || waiting(&mut second) == 1);
    assert_eq!(second.ask("SET key value"), "OK\n");
    fill_pipe(&users, "user alice on +nonsense\nuser bob\n");
    let refused = first.read();
    assert!(
        refused.starts_with("(error) ERR acl/users:1: Error in applying operation '+nonsense'"),
        "{refused}"
    );
    assert_eq!(second.ask("ACL USERS"), "(array of 3)\n   1) \"alice\"\n   2) \"dave\"\n   3) \"default\"\n");
    first.send(&["ACL", "LOAD"]);
    first.send(&["ECHO", "after"]);
    server.until("it waits again", || waiting(&mut second) == 1);
    fill_pipe(&users, "user bob on nopass allcommands\n");
    // Its user is gone: this reply is the last one.
    assert_eq!(first.read(), "OK\n");
    assert!(first.is_over() && dave.is_over());
    assert_eq!(second.ask("ACL USERS"), "(array of 2)\n   1) \"bob\"\n   2) \"default\"\n");
    fs::remove_file(&users).unwrap();
    let missing = "(error) ERR Error loading ACLs, opening file 'acl/users': No such file or directory\n";
    assert_eq!(second.ask("ACL LOAD"), missing);
    let statistics = second.ask("INFO commandstats");
    assert!(statistics.contains("cmdstat_acl|load:calls=3,"), "{statistics}");
}

fn aof_is_on(conversation: &mut Conversation) -> bool {
    conversation.ask("INFO persistence").contains("aof_enabled:1")
}

#[test]
fn only_who_asked_waits_until_the_append_only_file_is_on() {
    let (mut server, path) = start(&["--auto-aof-rewrite-percentage", "0"]);
    let [mut first, mut second, mut third, mut last] = [(); 4].map(|()| Conversation::open(&server));
    // What the thread does that opens files.
    make_pipe(&path);
    first.send(&["CONFIG", "REWRITE"]);
    server.until("it is held up", || waiting(&mut last) == 1);
    second.send(&["CONFIG", "SET", "appendonly", "yes", "maxmemory-samples", "7"]);
    third.send(&["CONFIG", "SET", "appendonly", "YES"]);
    server.until("all wait", || waiting(&mut last) == 3);
    assert_eq!(last.ask("SET early value"), "OK\n");
    assert!(!aof_is_on(&mut last));
    assert!(last.ask("CONFIG GET maxmemory-samples").contains("\"5\""));
    assert_eq!(last.ask("CONFIG SET appendonly no"), "OK\n");
    fill_pipe(&path, "\n");
    for waiter in [&mut first, &mut second, &mut third] {
        assert_eq!(waiter.read(), "OK\n");
    }
    assert!(aof_is_on(&mut last));
    assert!(last.ask("CONFIG GET maxmemory-samples").contains("\"7\""));
    assert_eq!(last.ask("SET late value"), "OK\n");
    let directory = server.directory.path().join("appendonlydir");
    let manifest = directory.join("appendonly.aof.manifest");
    server.until("it is complete", || {
        last.ask("INFO persistence").contains("aof_rewrite_in_progress:0")
            && fs::read_to_string(&manifest).is_ok_and(|text| text.lines().count() == 2)
    });
    // A rewrite whose increment cannot be listed yet.
    let listing = directory.join("temp-appendonly.aof.manifest");
    make_pipe(&listing);
    last.ask("BGREWRITEAOF");
    first.send(&["CONFIG", "SET", "appendonly", "no"]);
    server.until("it waits", || waiting(&mut last) == 1);
    assert_eq!(last.ask("SET last value"), "OK\n");
    assert!(aof_is_on(&mut last));
    fs::read(&listing).unwrap();
    assert_eq!(first.read(), "OK\n");
    assert!(!aof_is_on(&mut last));
    last.ask("SET unseen value");
    fs::remove_file(&listing).unwrap();
    server.kill();
    server.add_arguments(&["--appendonly", "yes"]);
    server.restart();
    assert_eq!(Conversation::open(&server).ask("EXISTS early late last unseen"), "(integer) 3\n");
}

#[test]
fn an_append_only_file_that_cannot_be_opened_stays_off() {
    let (server, _) = start(&[]);
    let mut conversation = Conversation::open(&server);
    let increment = server.directory.path().join("appendonlydir/temp-appendonly.aof.incr");
    fs::create_dir_all(&increment).unwrap();
    let refused = "(error) ERR CONFIG SET failed (possibly related to argument 'appendonly') - Unable to turn on AOF. \
                   Check server logs.\n";
    for in_transaction in [false, true] {
        if in_transaction {
            conversation.ask("MULTI");
        }
        let set = conversation.ask("CONFIG SET maxmemory-samples 7 appendonly yes");
        let reply = if in_transaction { conversation.ask("EXEC") } else { set };
        assert!(reply.ends_with(refused), "{reply}");
        assert!(!aof_is_on(&mut conversation));
        assert!(conversation.ask("CONFIG GET maxmemory-samples").contains("\"5\""));
        assert_eq!(conversation.ask("SET key value"), "OK\n");
    }
    let line = "Can't open the append-only file temp-appendonly.aof.incr: Is a directory";
    assert_eq!(server.log().matches(line).count(), 2, "{}", server.log());
    fs::remove_dir(&increment).unwrap();
    // Options that cannot be set leave nothing behind, and what was opened goes.
    let reply = conversation.ask("CONFIG SET appendonly yes maxmemory-samples many");
    assert!(reply.contains("argument 'maxmemory-samples'"), "{reply}");
    server.until("it is removed", || !increment.exists());
    assert!(!aof_is_on(&mut conversation));
    assert_eq!(conversation.ask("CONFIG SET appendonly maybe").matches("argument 'appendonly'").count(), 1);
    assert_eq!(conversation.ask("CONFIG SET appendonly yes"), "OK\n");
    assert!(aof_is_on(&mut conversation));
}

/// Names of the history that a manifest lists.
fn history(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let files = text.lines().filter(|line| line.ends_with("type h"));
    files.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn only_who_asked_waits_until_history_is_deleted() {
    let (server, path) = start(&["--appendonly", "yes", "--aof-disable-auto-gc", "yes"]);
    let directory = server.directory.path().join("appendonlydir");
    let manifest = directory.join("appendonly.aof.manifest");
    let [mut first, mut last] = [(); 2].map(|()| Conversation::open(&server));
    let rewrite = |conversation: &mut Conversation, listed| {
        conversation.ask("BGREWRITEAOF");
        server.until("it is rewritten", || history(&manifest).len() == listed);
    };
    rewrite(&mut last, 2);
    let old = history(&manifest);
    // What the thread does that deletes them.
    make_pipe(&path);
    let mut held_up = Conversation::open(&server);
    held_up.send(&["CONFIG", "REWRITE"]);
    server.until("it is held up", || waiting(&mut last) == 1);
    first.send(&["CONFIG", "SET", "aof-disable-auto-gc", "NO", "maxmemory-samples", "7"]);
    server.until("it waits", || waiting(&mut last) == 2);
    assert_eq!(last.ask("SET key value"), "OK\n");
    assert_eq!(history(&manifest), old);
    assert_eq!(last.ask("CONFIG SET aof-disable-auto-gc no"), "OK\n");
    fill_pipe(&path, "\n");
    assert_eq!(first.read(), "OK\n");
    assert!(history(&manifest).is_empty());
    assert!(last.ask("CONFIG GET maxmemory-samples").contains("\"7\""));
    server.until("they are gone", || old.iter().all(|name| !directory.join(name).exists()));
    // While the directory is being changed.
    assert_eq!(held_up.read(), "OK\n");
    last.ask("CONFIG SET aof-disable-auto-gc yes");
    rewrite(&mut last, 2);
    let listing = directory.join("temp-appendonly.aof.manifest");
    make_pipe(&listing);
    last.ask("BGREWRITEAOF");
    first.send(&["CONFIG", "SET", "aof-disable-auto-gc", "no"]);
    server.until("it waits again", || waiting(&mut last) == 1);
    assert_eq!(last.ask("SET key other"), "OK\n");
    fs::read(&listing).unwrap();
    let _ = fs::remove_file(&listing);
    assert_eq!(first.read(), "OK\n");
    assert!(history(&manifest).is_empty());
    // In a transaction.
    last.ask("CONFIG SET aof-disable-auto-gc yes");
    server.until("it is over", || last.ask("INFO persistence").contains("aof_rewrite_in_progress:0"));
    rewrite(&mut last, 2);
    last.ask("MULTI");
    last.ask("CONFIG SET aof-disable-auto-gc no");
    last.ask("EXEC");
    assert!(history(&manifest).is_empty());
}

#[test]
fn a_replica_serves_others_until_its_append_only_file_is_on_again() {
    let (primary, _) = start(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let mut source = Conversation::open(&primary);
    source.ask("SET key value");
    let (server, path) = start(&["--appendonly", "yes", "--repl-diskless-load", "swapdb"]);
    let mut last = Conversation::open(&server);
    last.ask("SET own value");
    // A rewrite whose increment cannot be listed yet has to end before the file is turned off.
    let listing = server.directory.path().join("appendonlydir/temp-appendonly.aof.manifest");
    make_pipe(&listing);
    last.ask("BGREWRITEAOF");
    last.ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    server.until("it has begun", || server.log().contains("receiving streamed RDB from primary"));
    assert_eq!(last.ask("GET own"), "\"value\"\n");
    assert!(aof_is_on(&mut last));
    // What the thread does next.
    make_pipe(&path);
    let mut held_up = Conversation::open(&server);
    held_up.send(&["CONFIG", "REWRITE"]);
    server.until("it is held up", || waiting(&mut last) == 1);
    fs::read(&listing).unwrap();
    fs::remove_file(&listing).unwrap();
    server.until("the data is there", || last.ask("GET key") == "\"value\"\n");
    source.ask("SET key other");
    server.until("what follows is, too", || last.ask("GET key") == "\"other\"\n");
    assert!(!aof_is_on(&mut last));
    // More than a second: the cron does not ask twice.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert!(!aof_is_on(&mut last));
    fill_pipe(&path, "\n");
    assert_eq!(held_up.read(), "OK\n");
    server.until("it is on", || aof_is_on(&mut last));
    let log = server.log();
    assert!(!log.contains("Failed enabling the AOF"), "{log}");
}
