//! Files that a command writes anew: who asks for one waits until it is on the disk, and nobody else does.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
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
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
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
    let mut pipe = fs::OpenOptions::new().write(true).open(&path).unwrap();
    pipe.write_all(b"# from the pipe\nmaxmemory-samples 3\n").unwrap();
    drop(pipe);
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
    for request in ["MULTI", "CONFIG SET maxmemory-samples 9", "CONFIG REWRITE", "ACL SAVE"] {
        conversation.ask(request);
    }
    conversation.ask("CLUSTER SAVECONFIG");
    fs::remove_file(&nodes).unwrap();
    assert_eq!(conversation.ask("EXEC"), "(array of 4)\n   1) OK\n   2) OK\n   3) OK\n   4) OK\n");
    assert!(fs::read_to_string(&path).unwrap().contains("maxmemory-samples 9\n"));
    assert!(fs::read_to_string(server.directory.path().join("acl/users")).unwrap().contains("user default"));
    assert!(fs::read_to_string(&nodes).unwrap().contains("myself,master"));
    fs::remove_file(&nodes).unwrap();
    assert_eq!(conversation.ask("CLUSTER SAVECONFIG"), "OK\n");
    assert!(fs::read_to_string(&nodes).unwrap().contains("myself,master"));
}
