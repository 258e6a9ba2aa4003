//! Scripts and functions turned off, and flushed; what they write to the log.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::Server;
use support::info::{number, section};
use support::reply::Conversation;

const OFF: &str =
    "(error) ERR Scripts and functions are turned off in this server's configuration ('scripting no').\n";
const LIBRARY: &str = r##"FUNCTION LOAD "#!lua name=lib\nredis.register_function('f', function(keys) return redis.call('INCR', keys[1]) end)""##;

fn restarted(server: &mut Server, arguments: &[&str]) -> Server {
    server.kill();
    let directory = std::mem::replace(&mut server.directory, tempfile::tempdir().unwrap());
    Server::start_in(directory, arguments)
}

#[test]
fn nothing_runs_when_scripting_is_off() {
    let server = Server::start(&["--scripting", "no"]);
    let mut client = Conversation::open(&server);
    for request in [
        "EVAL 'return 1' 0",
        "EVAL_RO 'return 1' 0",
        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
        "SCRIPT LOAD 'return 1'",
        "SCRIPT FLUSH",
        "FCALL f 0",
        "FUNCTION LIST",
        LIBRARY,
    ] {
        assert_eq!(client.ask(request), OFF, "{request}");
    }
    assert_eq!(client.ask("MULTI"), "OK\n");
    assert_eq!(client.ask("EVAL 'return 1' 0"), OFF);
    assert!(client.ask("EXEC").contains("EXECABORT"));
    assert_eq!(client.ask("CONFIG SET scripting yes").lines().count(), 1);
    assert!(client.ask("CONFIG SET scripting yes").contains("can only be turned on by a restart"));
    assert_eq!(client.ask("EVAL 'return 1' 0"), OFF);
}

#[test]
fn libraries_outlive_a_server_that_does_not_run_them() {
    let mut server = Server::start(&[]);
    let mut client = Conversation::open(&server);
    assert!(client.ask(LIBRARY).contains("lib"));
    assert_eq!(client.ask("FCALL f 1 counter"), "(integer) 1\n");
    // Turned off at run time, it saves what it has.
    assert_eq!(client.ask("CONFIG SET scripting no"), "OK\n");
    assert_eq!(client.ask("FCALL f 1 counter"), OFF);
    assert_eq!(client.ask("SAVE"), "OK\n");
    let mut server = restarted(&mut server, &["--scripting", "no"]);
    let mut client = Conversation::open(&server);
    assert_eq!(client.ask("FCALL f 1 counter"), OFF);
    assert_eq!(client.ask("SAVE"), "OK\n");
    let server = restarted(&mut server, &[]);
    let mut client = Conversation::open(&server);
    assert_eq!(client.ask("FCALL f 1 counter"), "(integer) 2\n");
}

#[test]
fn an_append_only_file_keeps_its_libraries() {
    let only_file = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--appendfsync", "always"];
    let mut server = Server::start(&only_file);
    let mut client = Conversation::open(&server);
    assert!(client.ask(LIBRARY).contains("lib"));
    assert_eq!(client.ask("FCALL f 1 counter"), "(integer) 1\n");
    let off: Vec<&str> = only_file.into_iter().chain(["--scripting", "no"]).collect();
    let mut server = restarted(&mut server, &off);
    let mut client = Conversation::open(&server);
    assert_eq!(client.ask("GET counter"), "\"1\"\n");
    assert_eq!(client.ask("BGREWRITEAOF").lines().count(), 1);
    server.until("the rewrite is over", || {
        section(&mut client, "persistence").contains("aof_rewrite_in_progress:0")
    });
    let server = restarted(&mut server, &only_file);
    let mut client = Conversation::open(&server);
    assert_eq!(client.ask("FCALL f 1 counter"), "(integer) 2\n");
}

#[test]
fn a_replica_that_runs_nothing_keeps_what_its_primary_loads() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--scripting", "no"]);
    let (mut one, mut other) = (Conversation::open(&primary), Conversation::open(&replica));
    assert_eq!(other.ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port)), "OK\n");
    replica.until("it follows", || section(&mut other, "replication").contains("master_link_status:up"));
    assert!(one.ask(LIBRARY).contains("lib"));
    assert_eq!(one.ask("FCALL f 1 counter"), "(integer) 1\n");
    assert_eq!(one.ask("WAIT 1 5000"), "(integer) 1\n");
    assert_eq!(other.ask("GET counter"), "\"1\"\n");
    assert_eq!(other.ask("SAVE"), "OK\n");
    let mut replica = replica;
    let replica = restarted(&mut replica, &[]);
    let mut other = Conversation::open(&replica);
    assert!(other.ask("FUNCTION LIST").contains("lib"));
}

#[test]
fn a_flush_of_many_scripts_gives_its_memory_back() {
    let server = Server::start(&[]);
    let mut client = Conversation::open(&server);
    let scripts = |client: &mut Conversation| {
        let memory = section(client, "memory");
        number(&memory, "used_memory_vm_eval") + number(&memory, "used_memory_scripts_eval")
    };
    for index in 0..2000 {
        client.ask(&format!("SCRIPT LOAD 'local t = {{}} for i = 1, {index} do t[i] = {{i}} end return #t'"));
    }
    client.ask("EVAL 'local t = {} for i = 1, 10000 do t[i] = {(\"x\"):rep(400) .. i} end return #t' 0");
    assert!(scripts(&mut client) > 1_000_000);
    for mode in ["ASYNC", "SYNC", ""] {
        assert_eq!(client.ask(&format!("SCRIPT FLUSH {mode}")), "OK\n");
        assert_eq!(client.ask("EVAL 'return 7' 0"), "(integer) 7\n");
    }
    assert!(scripts(&mut client) < 400_000);
    server.until("all is given back", || number(&section(&mut client, "memory"), "used_memory") < 4_000_000);
}

#[test]
fn what_a_script_leaves_is_given_back_while_nothing_runs() {
    let server = Server::start(&[]);
    let mut client = Conversation::open(&server);
    let memory = |client: &mut Conversation, name: &str| {
        number(&section(client, "memory"), &format!("used_memory_vm_{name}"))
    };
    let keeps = r##"FUNCTION LOAD "#!lua name=keep\nlocal kept = {} redis.register_function('keep', function() for i = 1, 10000 do kept[i] = {('x'):rep(400) .. i} end end) redis.register_function('drop', function() kept = {} end)""##;
    assert!(client.ask(keeps).contains("keep"));
    client.ask("FCALL keep 0");
    assert!(memory(&mut client, "functions") > 5_000_000);
    client.ask("FCALL drop 0");
    client.ask("EVAL 'local t = {} for i = 1, 10000 do t[i] = {(\"x\"):rep(400) .. i} end return #t' 0");
    for name in ["eval", "functions"] {
        server.until("the garbage is given back", || memory(&mut client, name) < 2_500_000);
    }
    assert_eq!(client.ask("EVAL 'return 7' 0"), "(integer) 7\n");
}

/// What a server logs when scripts do; of each line what follows its time.
fn logged(server: &Server) -> Vec<String> {
    let mut client = Conversation::open(server);
    for script in [
        "redis.log(redis.LOG_WARNING, 'a', 1.5, nil, {}, 'b')",
        "redis.log(redis.LOG_NOTICE, nil)",
        "redis.log(redis.LOG_NOTICE, {}, 'x')",
        r"redis.log(redis.LOG_NOTICE, 'x\\0y', 'z')",
        "redis.log(redis.LOG_NOTICE, string.rep('x', 2000))",
        "redis.log(redis.LOG_VERBOSE, 'not shown')",
    ] {
        assert_eq!(client.ask(&format!("EVAL \"{script}\" 0")), "(nil)\n", "{script}");
    }
    let log = server.log();
    let lines = log.lines().filter_map(|line| line.split_once("<lua> "));
    lines.map(|(before, text)| format!("{} {text}", &before[before.len() - 2..])).collect()
}

#[test]
fn what_scripts_log_is_the_engines() {
    let expected = [
        "#  a 1.5 b",
        "*  (null)",
        "*  (null) x",
        "*  x z",
        &format!("*  {}", "x".repeat(1023 - "<lua> ".len())),
    ];
    assert_eq!(logged(&Server::start(&[])), expected);
    if let Some(valkey) = Server::start_valkey(&[]) {
        assert_eq!(logged(&valkey), expected);
    }
}

/// A script writes, is asked to end by a signal in the middle, and writes again; what is there after a restart.
fn kept_after_a_signal_amid_a_script(mut server: Server) -> String {
    let mut client = Conversation::open(&server);
    let script = "redis.call('set', 'first', 1) \
         local stop = os.clock() + 0.5 while os.clock() < stop do end \
         redis.call('set', 'second', 2) return redis.call('dbsize')";
    client.send(&["EVAL", script, "0"]);
    let mut other = Conversation::open(&server);
    server.until("the script is slow", || other.ask("PING").starts_with("(error) BUSY"));
    let pid = Pid::from_raw(server.process.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    server.restart();
    Conversation::open(&server).ask("MGET first second")
}

#[test]
fn a_signal_does_not_cut_off_a_script_that_has_written() {
    let arguments = ["--save", "900 1", "--busy-reply-threshold", "20"];
    let expected = "(array of 2)\n   1) \"1\"\n   2) \"2\"\n";
    assert_eq!(kept_after_a_signal_amid_a_script(Server::start(&arguments)), expected);
    if let Some(valkey) = Server::start_valkey(&arguments) {
        assert_eq!(kept_after_a_signal_amid_a_script(valkey), expected);
    }
}

#[test]
fn a_script_s_messages_reach_its_own_client_in_its_protocol() {
    for server in [Some(Server::start(&[])), Server::start_valkey(&[])].into_iter().flatten() {
        let mut client = Conversation::open(&server);
        client.ask("HELLO 3");
        client.ask("SUBSCRIBE news");
        assert_eq!(client.ask("EVAL \"return redis.call('publish', 'news', 'hello')\" 0"), "(integer) 1\n");
        assert_eq!(client.read(), "(push of 3)\n   1) \"message\"\n   2) \"news\"\n   3) \"hello\"\n");
    }
}
