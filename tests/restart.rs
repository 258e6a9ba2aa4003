//! DEBUG RESTART and DEBUG CRASH-AND-RECOVER: the process becomes a new one that is called as it was called before.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use support::info::{field, section};
use support::reply::Conversation;

/// Held while a program is written or called: a process that is forked meanwhile would keep the file open for writing, and
/// such a program cannot be called.
static PROGRAMS: Mutex<()> = Mutex::new(());

fn hold_programs() -> MutexGuard<'static, ()> {
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server of a program of its own, called with relative paths from a directory that it does not work in.
struct Called {
    directory: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Called {
    fn start() -> Self {
        Self::start_with("dir data\n", &[])
    }

    fn start_with(lines: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let held = hold_programs();
        fs::create_dir(at("data")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_weighbridge"), at("program")).unwrap();
        let options = "bind 127.0.0.1\nsave 3600 1000000\nenable-debug-command yes\n";
        fs::write(at("server.conf"), format!("{options}{lines}")).unwrap();
        let port = support::free_port();
        let process = Command::new("./program")
            .current_dir(directory.path())
            .args(["server.conf", "--logfile", "log", "--pidfile", "pid", "--port"])
            .arg(port.to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(held);
        let server = Self { directory, port, process };
        server.await_start(1);
        server
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("data/log")).unwrap_or_default()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn await_start(&self, count: usize) {
        self.until("it is ready", || self.log().matches("Ready to accept connections").count() == count);
    }

    fn connect(&self) -> Conversation {
        Conversation::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    fn about(&self, name: &str) -> String {
        field(&section(&mut self.connect(), "server"), name)
    }

    fn open_files(&self) -> usize {
        fs::read_dir(Path::new("/proc").join(self.process.id().to_string()).join("fd")).unwrap().count()
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_orderly_restart_keeps_what_was_set_and_written() {
    let mut server = Called::start();
    let mut writer = server.connect();
    let same = ["process_id", "executable", "config_file"];
    let before = same.map(|name| server.about(name));
    let run_id = server.about("run_id");
    writer.ask("SET key value");
    writer.ask("CONFIG SET maxmemory-samples 7");
    // Whatever the process has open is closed.
    let crowd: Vec<Conversation> = (0..20).map(|_| server.connect()).collect();
    server.until("all are there", || field(&section(&mut writer, "clients"), "connected_clients") == "21");
    let open = server.open_files();
    writer.send(&["DEBUG", "RESTART"]);
    server.await_start(2);
    assert!(server.process.try_wait().unwrap().is_none());
    assert_eq!(same.map(|name| server.about(name)), before);
    assert_ne!(server.about("run_id"), run_id);
    let mut reader = server.connect();
    assert_eq!(reader.ask("GET key"), "\"value\"\n");
    assert!(reader.ask("CONFIG GET maxmemory-samples").contains("\"7\""));
    assert!(
        reader.ask("CONFIG GET dir").contains(server.at("data").canonicalize().unwrap().to_str().unwrap())
    );
    assert_eq!(fs::read_to_string(server.at("data/pid")).unwrap(), format!("{}\n", server.process.id()));
    server.until("its own are closed", || server.open_files() <= open - crowd.len());
    let log = server.log();
    assert!(
        log.contains("DB saved on disk") && log.contains("Valkey is now ready to exit, bye bye..."),
        "{log}"
    );
}

#[test]
fn a_directory_of_the_command_line_is_found_again() {
    for (lines, arguments) in [("", ["--dir", "data"]), ("dir .\n", ["--hz 5", "--DIR data"])] {
        let server = Called::start_with(lines, &arguments);
        let data = server.at("data").canonicalize().unwrap();
        for (count, command) in [(2, "RESTART"), (3, "CRASH-AND-RECOVER"), (4, "RESTART")] {
            let mut writer = server.connect();
            writer.ask("SET key value");
            writer.ask("SAVE");
            writer.send(&["DEBUG", command]);
            server.await_start(count);
            let mut reader = server.connect();
            assert_eq!(reader.ask("GET key"), "\"value\"\n");
            assert!(reader.ask("CONFIG GET dir").contains(data.to_str().unwrap()));
        }
        // By now the file names it too.
        let text = fs::read_to_string(server.at("server.conf")).unwrap();
        assert!(text.contains(&format!("dir \"{}\"", data.display())), "{text}");
    }
}

#[test]
fn a_crash_writes_nothing_and_nobody_is_served_until_the_delay_is_over() {
    let mut server = Called::start();
    let mut writer = server.connect();
    writer.ask("SET saved value");
    writer.ask("SAVE");
    writer.ask("SET lost value");
    writer.ask("CONFIG SET maxmemory-samples 7 watchdog-period 800");
    assert_eq!(
        writer.ask("DEBUG CRASH-AND-RECOVER soon"),
        "(error) ERR value is not an integer or out of range\n"
    );
    let begun = Instant::now();
    writer.send(&["DEBUG", "CRASH-AND-RECOVER", "700"]);
    server.until("nobody is let in", || TcpStream::connect(("127.0.0.1", server.port)).is_err());
    server.await_start(2);
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert!(server.process.try_wait().unwrap().is_none());
    let mut reader = server.connect();
    assert_eq!(reader.ask("MGET saved lost"), "(array of 2)\n   1) \"value\"\n   2) (nil)\n");
    assert!(reader.ask("CONFIG GET maxmemory-samples").contains("\"5\""));
    assert!(!server.log().contains("User requested shutdown"));
    std::thread::sleep(Duration::from_millis(250));
    assert!(!server.log().contains("WATCHDOG"), "{}", server.log());
}

#[test]
fn a_server_that_cannot_be_started_anew_goes_on() {
    let mut server = Called::start();
    let mut writer = server.connect();
    let refused = "(error) ERR failed to restart the server. Check server logs.\n";
    // Nothing is ended before it is known that something can be started.
    fs::rename(server.at("program"), server.at("elsewhere")).unwrap();
    assert_eq!(writer.ask("DEBUG RESTART"), refused);
    assert_eq!(writer.ask("DEBUG CRASH-AND-RECOVER"), refused);
    let reason = format!(
        "Can't restart: this process has no permissions to execute {}",
        server.at("program").canonicalize().unwrap_or_else(|_| server.at("program")).display()
    );
    assert_eq!(server.log().matches(&reason).count(), 2, "{}", server.log());
    fs::rename(server.at("elsewhere"), server.at("program")).unwrap();
    fs::rename(server.at("server.conf"), server.at("kept")).unwrap();
    fs::create_dir(server.at("server.conf")).unwrap();
    assert_eq!(writer.ask("DEBUG RESTART"), refused);
    let reason = "Can't restart: configuration rewrite process failed: Is a directory";
    assert!(server.log().contains(reason), "{}", server.log());
    fs::remove_dir(server.at("server.conf")).unwrap();
    fs::rename(server.at("kept"), server.at("server.conf")).unwrap();
    fs::create_dir(server.at("data/dump.rdb")).unwrap();
    writer.ask("SET key value");
    assert_eq!(writer.ask("DEBUG RESTART"), refused);
    assert!(server.log().contains("Can't restart: error preparing for shutdown"), "{}", server.log());
    assert_eq!(writer.ask("GET key"), "\"value\"\n");
    fs::remove_dir(server.at("data/dump.rdb")).unwrap();
    // What is there by now is called, from where this was called, with the same words.
    fs::remove_file(server.at("program")).unwrap();
    let held = hold_programs();
    fs::write(server.at("program"), "#!/bin/sh\necho \"$@\" > called\n").unwrap();
    fs::set_permissions(server.at("program"), fs::Permissions::from_mode(0o755)).unwrap();
    drop(held);
    writer.send(&["DEBUG", "RESTART"]);
    assert!(server.process.wait().unwrap().success());
    assert_eq!(
        fs::read_to_string(server.at("called")).unwrap(),
        format!("server.conf --logfile log --pidfile pid --port {}\n", server.port)
    );
}
