//! What commands tell the append-only file and the replicas: true of this server and of Valkey 9.1.
//!
//! A file in `tests/propagation` is a conversation with an empty server: `> ` begins a request (words quoted as in an
//! inline request), the lines below it are the requests that it told. `>2 ` asks on a second connection and waits until
//! that is blocked; `> sleep <ms>` lets time pass, with `sorted` when what is told then has no order. In a request
//! `{+Ns}` and `{+Nms}` are an instant that many seconds (milliseconds) from now; in what was told, every instant is
//! `{+Ns}`. With `PEERS` set the same is asked of the real Valkey and read from its append-only file; `RECORD=1` then
//! writes what the real Valkey told into the files.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::Server;
use support::info::{number, section};
use support::reply::Conversation;
use support::stream::requests;

/// How far from now a number may lie to be an instant, in milliseconds.
const INSTANT_MS: i64 = 100_000_000;

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Who is asked: a server, and what it told in its append-only file.
struct Subject {
    server: Server,
    connections: Vec<Conversation>,
    read: usize,
}

impl Subject {
    const OPTIONS: &'static [&'static str] = &[
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--aof-use-rdb-preamble",
        "no",
        "--auto-aof-rewrite-percentage",
        "0",
    ];

    fn new(server: Server) -> Self {
        Self { server, connections: Vec::new(), read: 0 }
    }

    /// Runs a request on a connection; on the first one it waits for the reply, on others until the client is blocked.
    fn ask(&mut self, connection: usize, words: &[Vec<u8>]) {
        while self.connections.len() < connection {
            self.connections.push(Conversation::open(&self.server));
        }
        if connection == 1 {
            self.connections[0].send(words);
            self.connections[0].read();
            return;
        }
        let before = self.blocked_clients();
        self.connections[connection - 1].send(words);
        let begun = Instant::now();
        while self.blocked_clients() == before {
            assert!(begun.elapsed() < Duration::from_secs(20), "never blocked: {words:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn blocked_clients(&mut self) -> i64 {
        number(&section(&mut self.connections[0], "clients"), "blocked_clients")
    }

    /// What was told since the last time.
    fn told(&mut self) -> Vec<u8> {
        let path = self.server.directory.path().join("appendonlydir/appendonly.aof.1.incr.aof");
        let bytes = fs::read(path).unwrap();
        let told = bytes[self.read..].to_vec();
        self.read = bytes.len();
        told
    }

    /// Forgets the connections and empties the server.
    fn begin(&mut self) {
        self.connections.clear();
        self.ask(1, &[b"FLUSHALL".to_vec()]);
        self.told();
    }
}

/// A word as the files show it.
fn shown(word: &[u8], now_ms: i64) -> String {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: Option<i64> = std::str::from_utf8(&word[..digits]).unwrap().parse().ok();
    if let Some(number) = number.filter(|number| (number - now_ms).abs() < INSTANT_MS) {
        let seconds = (number - now_ms + 500).div_euclid(1000);
        return format!("{{+{seconds}s}}{}", word[digits..].escape_ascii());
    }
    if word.is_empty() || word.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'"') {
        return format!("\"{}\"", word.escape_ascii());
    }
    String::from_utf8(word.to_vec()).unwrap()
}

/// The words of a request of a file, with its instants put in.
fn words(request: &str) -> Vec<Vec<u8>> {
    if request.contains("s}") {
        // An instant in whole seconds is to lie less than half a second beside the one that is meant.
        let beyond = now_ms() % 1000;
        if beyond > 400 {
            std::thread::sleep(Duration::from_millis(u64::try_from(1000 - beyond).unwrap()));
        }
    }
    let words = weighbridge::config::split_arguments(request.as_bytes()).expect("balanced quotes");
    let instant = |word: &[u8]| -> Option<Vec<u8>> {
        let text = std::str::from_utf8(word).ok()?.strip_prefix("{+")?.strip_suffix("s}")?;
        let instant = match text.strip_suffix('m') {
            Some(text) => now_ms() + text.parse::<i64>().ok()?,
            None => now_ms() / 1000 + text.parse::<i64>().ok()?,
        };
        Some(instant.to_string().into_bytes())
    };
    words.into_iter().map(|word| instant(&word).unwrap_or_else(|| word.clone())).collect()
}

/// Has one line of a file done and gives what was told, a line each.
fn perform(subject: &mut Subject, line: &str) -> String {
    let (connection, request) = line.split_once(' ').unwrap();
    let connection = connection.parse().unwrap_or(1);
    let mut begun = now_ms();
    let mut is_sorted = false;
    if let Some(time) = request.strip_prefix("sleep ") {
        let time = time.strip_suffix(" sorted").inspect(|_| is_sorted = true).unwrap_or(time);
        std::thread::sleep(Duration::from_millis(time.parse().unwrap()));
    } else {
        let words = words(request);
        begun = now_ms();
        subject.ask(connection, &words);
    }
    let told = requests(&subject.told());
    let line = |request: &Vec<Vec<u8>>| {
        let words: Vec<String> = request.iter().map(|word| shown(word, begun)).collect();
        words.join(" ")
    };
    let mut lines: Vec<String> = told.iter().map(line).collect();
    if is_sorted {
        lines.sort();
        for line in &mut lines {
            let mut words: Vec<&str> = line.split(' ').collect();
            words.get_mut(2..).unwrap_or_default().sort_unstable();
            *line = words.join(" ");
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/propagation");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A file as the subject makes it: its requests and remarks, and what the subject told.
fn replayed(subject: &mut Subject, text: &str) -> String {
    subject.begin();
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(out, "{line}").unwrap();
        } else if let Some(request) = line.strip_prefix('>') {
            writeln!(out, "{line}").unwrap();
            out.push_str(&perform(subject, request));
        }
    }
    out
}

/// What differs between two texts of the same requests: each such request with both.
fn differences(name: &str, expected: &str, got: &str) -> String {
    let exchanges = |text: &str| -> Vec<String> { text.split("\n>").map(str::to_owned).collect() };
    let mut found = String::new();
    for (expected, got) in exchanges(expected).iter().zip(exchanges(got)) {
        if *expected != got {
            writeln!(found, "{name}: expected:\n>{expected}\ngot:\n>{got}\n").unwrap();
        }
    }
    found
}

fn check(subject: &mut Subject) {
    let mut found = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let got = replayed(subject, &text);
        found.push_str(&differences(&file.file_name().unwrap().to_string_lossy(), &text, &got));
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn valkey_tells_what_the_files_say() {
    let Some(server) = Server::start_valkey(Subject::OPTIONS) else { return };
    let mut subject = Subject::new(server);
    if std::env::var_os("RECORD").is_some() {
        for file in files() {
            let text = fs::read_to_string(&file).unwrap();
            fs::write(file, replayed(&mut subject, &text)).unwrap();
        }
    }
    check(&mut subject);
}

#[test]
fn this_server_tells_what_the_files_say() {
    check(&mut Subject::new(Server::start(Subject::OPTIONS)));
}
