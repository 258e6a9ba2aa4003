//! What the integration tests share: servers in directories of their own, ended with the test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stderr, missing_docs)]

pub mod data;
pub mod engine;
pub mod exercises;
pub mod info;
pub mod nodes;
pub mod reply;
pub mod requests;
pub mod stream;
pub mod templates;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server, ours or the real Valkey; killed and its directory removed when dropped.
pub struct Server {
    pub port: u16,
    pub directory: tempfile::TempDir,
    pub process: Child,
    program: PathBuf,
    arguments: Vec<String>,
}

/// The folder of the real Valkey's programs, from `PEERS`. Without it the caller skips and says so, unless the
/// environment demands the peers.
pub fn peer(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PEERS").map(|folder| Path::new(&folder).join("bin").join(program));
    match path {
        Some(path) if path.exists() => Some(path),
        _ if std::env::var_os("WEIGHBRIDGE_REQUIRE_PEERS").is_some() => {
            panic!("{program} is required and not there")
        }
        _ => {
            eprintln!("skipped: no {program}; set PEERS to the folder whose bin/ has it");
            None
        }
    }
}

/// A port that nobody listens at, below those that the system gives to outgoing connections: a server that is started
/// again finds it free.
pub fn free_port() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(10_000..30_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

impl Server {
    /// Starts this project's server with these arguments beside the usual ones.
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(PathBuf::from(env!("CARGO_BIN_EXE_weighbridge")), arguments, tempfile::tempdir().unwrap())
    }

    /// Starts this project's server in a directory that already holds something.
    pub fn start_in(directory: tempfile::TempDir, arguments: &[&str]) -> Self {
        Self::run(PathBuf::from(env!("CARGO_BIN_EXE_weighbridge")), arguments, directory)
    }

    /// Starts this project's server and waits only until it listens: it may still be loading.
    pub fn start_loading_in(directory: tempfile::TempDir, arguments: &[&str]) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_weighbridge"));
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let port = free_port();
        let process = spawn(&program, port, directory.path(), &arguments);
        let server = Self { port, directory, process, program, arguments };
        server.until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    /// Starts the real Valkey, if it is there.
    pub fn start_valkey(arguments: &[&str]) -> Option<Self> {
        Some(Self::run(peer("valkey-server")?, arguments, tempfile::tempdir().unwrap()))
    }

    /// Starts any peer in a directory that already holds something.
    pub fn start_peer_in(program: &str, directory: tempfile::TempDir, arguments: &[&str]) -> Option<Self> {
        Some(Self::run(peer(program)?, arguments, directory))
    }

    fn run(program: PathBuf, arguments: &[&str], directory: tempfile::TempDir) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Another process may take the port between its choice and its use: then another is tried.
        for _ in 0..5 {
            let port = free_port();
            let logged = log_of(directory.path()).len();
            let mut process = spawn(&program, port, directory.path(), &arguments);
            if await_ready(directory.path(), logged, &mut process) {
                return Self { port, directory, process, program, arguments };
            }
        }
        panic!("{} did not start:\n{}", program.display(), log_of(directory.path()));
    }

    /// What it is called with besides when it is started again.
    pub fn add_arguments(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
    }

    /// Kills the server and starts it again in the same directory.
    pub fn restart(&mut self) {
        self.kill();
        let logged = self.log().len();
        self.process = spawn(&self.program, self.port, self.directory.path(), &self.arguments);
        let ready = await_ready(self.directory.path(), logged, &mut self.process);
        assert!(ready, "did not start again:\n{}", self.log());
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        log_of(self.directory.path())
    }

    /// Waits until a condition holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn(program: &Path, port: u16, directory: &Path, arguments: &[String]) -> Child {
    // A configuration file comes before all options.
    let files = arguments.iter().take_while(|argument| !argument.starts_with('-')).count();
    let (files, arguments) = arguments.split_at(files.min(1));
    Command::new(program)
        .args(files)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--logfile", "log"])
        .args(["--enable-debug-command", "yes", "--dir"])
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn log_of(directory: &Path) -> String {
    let bytes = std::fs::read(directory.join("log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the server says that it is ready, after the first `logged` bytes of its log, before it ends or the patience
/// does. The log tells, not the port: that may be another process's.
fn await_ready(directory: &Path, logged: usize, process: &mut Child) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let log = log_of(directory);
        if log.get(logged..).unwrap_or_default().contains("Ready to accept connections") {
            return true;
        }
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
