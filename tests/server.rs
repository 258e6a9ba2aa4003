//! The process as its users meet it: how it starts and refuses to, how it ends, and what it does to connections.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::Server;
use support::reply::Conversation;

fn run_to_its_end(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weighbridge")).args(arguments).output().unwrap()
}

fn signal(server: &Server, signal: Signal) {
    kill(Pid::from_raw(server.process.id().try_into().unwrap()), signal).unwrap();
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What the peer sends until it closes the connection.
fn everything_from(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    // A reset is a way to close too.
    let _ = stream.read_to_end(&mut received);
    String::from_utf8_lossy(&received).into_owned()
}

/// A field of INFO as a number.
fn info(conversation: &mut Conversation, field: &str) -> i64 {
    let text = conversation.ask("INFO everything");
    let (_, rest) = text.split_once(&format!("{field}:")).unwrap();
    rest.split(|c: char| !c.is_ascii_digit() && c != '-').next().unwrap().parse().unwrap()
}

#[test]
fn it_answers_and_ends_with_code_0_on_sigterm() {
    let mut server = Server::start(&["--pidfile", "pid", "--unixsocket", "socket"]);
    assert_eq!(Conversation::open(&server).ask("PING"), "PONG\n");
    let (pid, socket) = (server.directory.path().join("pid"), server.directory.path().join("socket"));
    assert_eq!(std::fs::read_to_string(&pid).unwrap(), format!("{}\n", server.process.id()));
    assert!(socket.exists());
    signal(&server, Signal::SIGTERM);
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    assert!(!pid.exists() && !socket.exists());
    let log = server.log();
    let expected = [
        "oO0OoO0OoO0Oo Valkey is starting",
        "Configuration loaded",
        "Server initialized",
        "Ready to accept connections tcp",
        "Ready to accept connections unix",
        "Received SIGTERM scheduling shutdown...",
        "User requested shutdown...",
        "Removing the pid file.",
        "Removing the unix socket file.",
        "Valkey is now ready to exit, bye bye...",
    ];
    let mut rest = log.as_str();
    for line in expected {
        rest = rest.split_once(line).unwrap_or_else(|| panic!("no `{line}` in its place in\n{log}")).1;
    }
}

#[test]
fn a_wrong_option_is_refused_in_valkeys_words() {
    let output = run_to_its_end(&["--port", "70000"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nReading the configuration file, at line 2\n\
         >>> 'port \"70000\"'\nargument must be between 0 and 65535 inclusive\n"
    );
}

#[test]
fn a_taken_port_is_refused() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run_to_its_end(&["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains(&format!("# Failed listening on port {port} (tcp), aborting.")), "{log}");
    assert!(log.contains("bind: Address already in use"), "{log}");
}

#[test]
fn lines_that_would_open_the_server_to_more_than_meant_are_not_left_out() {
    for (line, reason) in [
        (["--rename-command", "NOTHING", ""], "No such command in rename-command"),
        (["--user", "alice", "on nopass +nothing %X~all"], "Error in user declaration"),
        (["--loadmodule", "a.so", "b"], "Modules are not supported"),
    ] {
        let output = run_to_its_end(&line);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("FATAL CONFIG FILE ERROR") && told.contains(reason), "{told}");
    }
}

#[test]
fn version_and_help_are_printed() {
    let version = String::from_utf8(run_to_its_end(&["--version"]).stdout).unwrap();
    assert!(version.starts_with("Valkey server v=9.1.2 sha="), "{version}");
    let help = String::from_utf8(run_to_its_end(&["--help"]).stdout).unwrap();
    assert!(help.contains("--maxmemory-policy noeviction"), "{help}");
}

#[test]
fn it_goes_on_when_its_last_snapshot_cannot_be_written() {
    let mut server = Server::start(&["--save", "3600 1"]);
    std::fs::create_dir(server.directory.path().join("dump.rdb")).unwrap();
    signal(&server, Signal::SIGTERM);
    server.until("refusal", || server.log().contains("Error trying to save the DB, can't exit."));
    let mut conversation = Conversation::open(&server);
    assert_eq!(conversation.ask("SHUTDOWN"), "(error) ERR Errors trying to SHUTDOWN. Check logs.\n");
    assert_eq!(conversation.ask("SHUTDOWN ABORT"), "(error) ERR No shutdown in progress.\n");
    conversation.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn clients_over_the_limit_are_told_and_closed() {
    let server = Server::start(&["--maxclients", "2"]);
    let _held: Vec<Conversation> = (0..2)
        .map(|_| {
            let mut conversation = Conversation::open(&server);
            conversation.ask("PING");
            conversation
        })
        .collect();
    assert_eq!(everything_from(connect(&server)), "-ERR max number of clients reached\r\n");
}

#[test]
fn the_port_can_be_moved_and_a_taken_one_is_refused() {
    let mut server = Server::start(&[]);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut conversation = Conversation::open(&server);
    let refused = conversation.ask(&format!("CONFIG SET port {}", taken.local_addr().unwrap().port()));
    assert!(refused.contains("Unable to listen on this port. Check server logs."), "{refused}");
    assert_eq!(Conversation::open(&server).ask("PING"), "PONG\n");
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    assert_eq!(conversation.ask(&format!("CONFIG SET port {port}")), "OK\n");
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
    server.port = port;
    assert_eq!(Conversation::open(&server).ask("PING"), "PONG\n");
}

#[test]
fn who_does_not_read_is_closed_at_the_output_limit() {
    let server = Server::start(&["--client-output-buffer-limit", "normal", "20mb", "0", "0"]);
    let mut conversation = Conversation::open(&server);
    conversation.ask(&format!("SET key {}", "x".repeat(1 << 20)));
    let mut greedy = connect(&server);
    // The server closes while this may still be writing.
    let _ = greedy.write_all("GET key\r\n".repeat(60).as_bytes());
    server.until("closed", || {
        server.log().contains("scheduled to be closed ASAP for overcoming of output buffer limits.")
    });
    server.until("forgotten", || info(&mut conversation, "connected_clients") == 1);
}

/// More is read once what was read has been run, so the query buffer stays small however much is sent.
#[test]
fn who_sends_faster_than_it_is_served_is_not_cut_off() {
    const REQUESTS: usize = 400_000;
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut sending = connect(&server);
    let mut receiving = sending.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        sending.write_all(&b"*1\r\n$4\r\nPING\r\n".repeat(REQUESTS)).unwrap();
    });
    let mut replies = vec![0; REQUESTS * b"+PONG\r\n".len()];
    receiving.read_exact(&mut replies).unwrap();
    sender.join().unwrap();
    assert!(replies == b"+PONG\r\n".repeat(REQUESTS));
}

#[test]
fn idle_clients_are_closed_and_long_queries_cut_off() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb", "--timeout", "1"]);
    let idle = connect(&server);
    let mut endless = connect(&server);
    let _ = endless.write_all(format!("*2\r\n$3\r\nGET\r\n$3000000\r\n{}", "x".repeat(2_000_000)).as_bytes());
    assert_eq!(everything_from(endless), "");
    assert!(server.log().contains("Closing client that reached max query buffer length: id="));
    assert_eq!(everything_from(idle), "");
}

#[test]
fn what_is_sent_right_before_the_end_is_run_and_for_nobody_else() {
    const CONNECTIONS: usize = 30;
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    for number in 0..CONNECTIONS {
        let mut stream = connect(&server);
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        // Requests and the end of the connection are there at once, and somebody who is to take its place.
        signal(&server, Signal::SIGSTOP);
        // That many are more than one batch takes of a connection.
        let requests = format!("INCR total\r\nSET key:{number} value\r\n").repeat(150);
        stream.write_all(requests.as_bytes()).unwrap();
        if number % 2 == 0 {
            stream.write_all(b"QUIT\r\n").unwrap();
        }
        drop(stream);
        let mut next = Conversation::open(&server);
        signal(&server, Signal::SIGCONT);
        assert_eq!(next.ask("PING"), "PONG\n");
        assert_eq!(next.ask("PING"), "PONG\n");
    }
    server.until("all is run", || {
        conversation.ask("DBSIZE") == format!("(integer) {}\n", CONNECTIONS + 1)
            && conversation.ask("GET total") == format!("\"{}\"\n", CONNECTIONS * 150)
    });
}

#[test]
fn closed_connections_give_all_their_memory_back() {
    const CONNECTIONS: usize = 300;
    const TOLERANCE: i64 = 16 * 1024;
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    let mut figures = Vec::new();
    for _ in 0..3 {
        let mut open: Vec<Conversation> = (0..CONNECTIONS).map(|_| Conversation::open(&server)).collect();
        for conversation in &mut open {
            conversation.ask("PING");
        }
        let held = info(&mut conversation, "mem_clients_normal");
        assert!(held > CONNECTIONS as i64 * 500, "{held}");
        drop(open);
        server.until("closed", || info(&mut conversation, "connected_clients") == 1);
        figures.push(info(&mut conversation, "used_memory"));
    }
    // The first round makes lists that are kept.
    assert!((figures[2] - figures[1]).abs() < TOLERANCE, "{figures:?}");
}

#[test]
fn a_process_that_crashes_says_where_and_one_that_is_asked_says_so_and_goes_on() {
    use std::os::unix::process::ExitStatusExt;
    for (request, ends_by, line) in [
        ("DEBUG SEGFAULT", Signal::SIGSEGV, "crashed by signal: 11"),
        ("DEBUG PANIC", Signal::SIGABRT, "DEBUG PANIC called at Unix time"),
        ("DEBUG ASSERT", Signal::SIGABRT, "=== ASSERTION FAILED ==="),
        ("", Signal::SIGABRT, "Killed by PID"),
    ] {
        let mut server = Server::start(&[]);
        signal(&server, Signal::SIGALRM);
        server.until("it says where it is", || server.log().contains("Received SIGALRM"));
        assert_eq!(Conversation::open(&server).ask("PING"), "PONG\n");
        if request.is_empty() {
            signal(&server, Signal::SIGABRT);
        } else {
            connect(&server).write_all(format!("{request}\r\n").as_bytes()).unwrap();
        }
        let status = server.process.wait().unwrap();
        assert_eq!(status.signal(), Some(ends_by as i32), "{}", server.log());
        let log = server.log();
        assert!(log.contains(line) && log.contains("weighbridge::"), "{log}");
        assert_eq!(log.matches("BUG REPORT START").count(), 1, "{log}");
        assert_eq!(log.matches("BUG REPORT END").count(), 1, "{log}");
    }
    let mut server = Server::start(&["--crash-log-enabled", "no"]);
    connect(&server).write_all(b"DEBUG SEGFAULT\r\n").unwrap();
    server.process.wait().unwrap();
    assert!(!server.log().contains("BUG REPORT"), "{}", server.log());
}

#[test]
fn the_watchdog_tells_of_a_command_that_takes_too_long() {
    for reports_crashes in ["yes", "no"] {
        let server = Server::start(&["--watchdog-period", "500", "--crash-log-enabled", reports_crashes]);
        let mut conversation = Conversation::open(&server);
        assert_eq!(conversation.ask("DEBUG SLEEP 0.7"), "OK\n");
        let log = server.log();
        assert_eq!(log.matches("--- WATCHDOG TIMER EXPIRED ---").count(), 1, "{log}");
        let (_, trace) = log.split_once("------ STACK TRACE ------\n").unwrap();
        let (frames, _) = trace.split_once("------ STACK TRACE DONE ------").unwrap();
        assert!(frames.lines().count() > 5 && frames.contains("(+0x"), "{log}");
        conversation.ask("CONFIG SET watchdog-period 0");
        assert_eq!(conversation.ask("DEBUG SLEEP 0.7"), "OK\n");
        assert_eq!(server.log().matches("WATCHDOG").count(), 1);
        // Less than two turns of the periodic work would tell of each.
        conversation.ask("CONFIG SET watchdog-period 1");
        assert!(conversation.ask("CONFIG GET watchdog-period").contains("\"200\""));
    }
}

#[test]
fn what_speaks_no_protocol_is_logged_without_what_users_sent_unless_that_is_wanted() {
    for (hides, shown) in [("no", "Query buffer: '$blabla..'"), ("yes", "Query buffer: *redacted*")] {
        let server = Server::start(&["--loglevel", "verbose", "--hide-user-data-from-log", hides]);
        let mut stream = connect(&server);
        stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "-ERR Protocol error: invalid bulk length\r\n");
        let log = server.log();
        assert!(log.contains("Protocol error (invalid bulk length) from client: id="), "{log}");
        assert!(log.contains(shown.trim_start_matches("Query buffer: '")), "{log}");
        assert_eq!(log.contains("blabla"), hides == "no", "{log}");
    }
}
