//! Bytes that nobody honest sends: damaged snapshots and payloads, malformed requests, and every command with arguments
//! that make no sense. The answer is an error or a clean success; never a panic, a closed server or a heap that grows
//! with what a length merely claims. All of it is drawn from fixed seeds; `HOSTILE_ROUNDS=20` draws so many times more.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use support::Server;
use support::engine::{InProcess, bulk};
use support::exercises::{EVERY_ENCODING, EXERCISES};
use support::info::{number, section};
use support::reply::Conversation;
use weighbridge::commands;
use weighbridge::config::Config;
use weighbridge::keyspace::Keyspace;
use weighbridge::memory::rc_bytes_usage;
use weighbridge::persistence::{LoadOptions, Loader, NoObserver, SaveOptions, write_snapshot};
use weighbridge::rdb::dump::append_footer;
use weighbridge::rdb::format;
use weighbridge::server::command::{Arg, ArgKind, TableEntry, flag};

/// What a load may allocate in all, beside what is in the file.
const LOAD_BYTES: u64 = 2 << 20;
/// Damaged copies of each file.
const DAMAGED_COPIES: usize = 250;
/// Damaged copies of each payload.
const DAMAGED_PAYLOADS: usize = 250;
/// Requests made for each command.
const REQUESTS: usize = 40;

/// How many times more is drawn than usual.
fn rounds() -> usize {
    std::env::var("HOSTILE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Says what was being done when the test failed.
struct Doing(String);

impl Drop for Doing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while doing: {}", self.0);
        }
    }
}

/// Bytes that this thread has allocated so far, whether freed or not.
fn ever_allocated() -> u64 {
    tikv_jemalloc_ctl::thread::allocatedp::read().unwrap().get()
}

/// Bytes that this thread has allocated and not freed.
fn held() -> u64 {
    ever_allocated() - tikv_jemalloc_ctl::thread::deallocatedp::read().unwrap().get()
}

/// What the entries and tables say they hold.
fn weight(keyspace: &Keyspace) -> u64 {
    let mut bytes = keyspace.table_usage();
    for database in keyspace.databases() {
        database.table().for_each_prefetched(|entry| bytes += entry.weight());
    }
    bytes as u64 + libraries_weight(keyspace)
}

/// The sources of function libraries, which the server weighs with what runs them.
fn libraries_weight(keyspace: &Keyspace) -> u64 {
    keyspace.libraries().iter().map(|source| rc_bytes_usage(source) as u64).sum()
}

fn filled() -> InProcess {
    let mut server = InProcess::start();
    for request in EVERY_ENCODING {
        let reply = server.ask(request);
        assert!(!reply.starts_with(b"-"), "{request}: {}", reply.escape_ascii());
    }
    server
}

/// Changes a few bits or bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let place = random.usize(..bytes.len());
        match random.u8(..8) {
            0 => bytes[place] = random.u8(..),
            1 => bytes[place] = 0xff,
            2 => drop(bytes.remove(place)),
            3 => bytes.insert(place, random.u8(..)),
            4 => {
                // A length in four bytes of a snapshot.
                let length = (random.u32(..) >> random.u32(..16)).to_be_bytes();
                let claim = [0x80, length[0], length[1], length[2], length[3]];
                bytes.splice(place..(place + random.usize(1..6)).min(bytes.len()), claim);
            }
            _ => bytes[place] ^= 1 << random.u8(..8),
        }
    }
}

/// Reads and changes every key that is there, and checks that the server's own words for it still hold.
fn exercise(server: &mut InProcess, doing: &mut Doing) {
    let mut keys = Vec::new();
    for database in server.engine.keyspace.databases() {
        database.table().for_each_prefetched(|entry| {
            assert!(entry.weight() > 0);
            keys.push((entry.key().to_vec(), entry.value_type()));
        });
    }
    let before = doing.0.len();
    for (key, value_type) in keys {
        let (_, requests) = EXERCISES.iter().find(|(of, _)| *of == value_type).unwrap();
        for request in ["DEBUG DIGEST-VALUE $", "DUMP $", "COPY $ copied REPLACE"].iter().chain(*requests) {
            doing.0.truncate(before);
            doing.0 += &format!(", then {request} of {}", key.escape_ascii());
            let words =
                request.split(' ').map(|word| if word == "$" { key.as_slice() } else { word.as_bytes() });
            let reply = server.run(&words.collect::<Vec<_>>());
            if reply.starts_with(b"-") {
                let text = String::from_utf8_lossy(&reply[1..]);
                assert!(has_code(&text) && !text.starts_with("ERR DEBUG"), "{text}");
            }
        }
    }
    doing.0.truncate(before);
}

/// Writes a file that is not there: some file systems sync one that is written over.
fn write_anew(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

/// Loads a file and says whether it was taken; what it may cost is bounded either way.
fn load(server: &mut InProcess, path: &Path, checksum: bool) -> bool {
    let (keyspace, limits) = (&mut server.engine.keyspace, server.engine.server.limits);
    // FLUSHALL leaves the libraries of the file before.
    keyspace.set_libraries(Vec::new());
    let options =
        LoadOptions { checksum, ..LoadOptions::new(&Config::default(), limits, keyspace.access_policy) };
    let size = std::fs::metadata(path).unwrap().len();
    let (before, other) = (ever_allocated(), held() - weight(keyspace));
    let loaded = Loader::open(path, options).and_then(|loader| {
        let mut loader = loader.unwrap();
        while !loader.step(keyspace, 1_700_000_000_000, u64::MAX)? {}
        Ok(())
    });
    let allocated = ever_allocated() - before;
    assert!(allocated < LOAD_BYTES + 300 * size, "{allocated} bytes for a file of {size}");
    if let Err(error) = &loaded {
        assert!(!error.lines(path).is_empty());
    }
    let taken = loaded.is_ok();
    drop(loaded);
    assert_eq!(held() - weight(keyspace), other, "bytes without an owner");
    taken
}

/// The files of other servers, and one of our own.
fn snapshots() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rdb"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    let own = filled();
    let keyspace = &own.engine.keyspace;
    let options = SaveOptions::new(&Config::default(), keyspace.access_policy, 1_700_000_000_000);
    let bytes = write_snapshot(keyspace, &options, Vec::new(), &mut NoObserver).unwrap();
    files.push(("our own".to_owned(), bytes));
    files
}

#[test]
fn damaged_snapshots_end_in_an_error_or_a_clean_load() {
    let mut server = InProcess::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.rdb");
    let mut random = fastrand::Rng::with_seed(77);
    let mut doing = Doing(String::new());
    for (name, bytes) in snapshots() {
        for length in 0..bytes.len() {
            doing.0 = format!("loading {length} bytes of {name}");
            write_anew(&path, &bytes[..length]);
            // A load that ends at the checksum has everything but that.
            assert!(!load(&mut server, &path, true), "{length} bytes of {name} are no snapshot");
            server.ask("FLUSHALL SYNC");
        }
        let mut taken = 0;
        for copy in 0..DAMAGED_COPIES * rounds() {
            doing.0 = format!("loading damaged copy {copy} of {name}");
            let mut damaged = bytes.clone();
            damage(&mut damaged, &mut random);
            write_anew(&path, &damaged);
            if load(&mut server, &path, copy % 4 == 0) {
                taken += 1;
                exercise(&mut server, &mut doing);
            }
            server.ask("FLUSHALL SYNC");
        }
        assert!((1..DAMAGED_COPIES * rounds()).contains(&taken), "{name}: {taken} damaged copies were taken");
    }
}

#[test]
fn damaged_payloads_are_refused_or_restored_whole() {
    let mut server = filled();
    let mut payloads = Vec::new();
    for database in server.engine.keyspace.databases() {
        payloads.extend(database.table().iter().map(|entry| entry.key().to_vec()));
    }
    payloads.sort();
    for key in &mut payloads {
        *key = bulk(&server.run(&[b"DUMP", key.as_slice()])).unwrap().to_vec();
    }
    let mut random = fastrand::Rng::with_seed(78);
    let mut doing = Doing(String::new());
    for payload in payloads {
        let body = &payload[..payload.len() - 10];
        for copy in 0..DAMAGED_PAYLOADS * rounds() {
            let mut damaged = match copy {
                _ if copy < body.len() => body[..copy].to_vec(),
                _ => body.to_vec(),
            };
            if copy >= body.len() {
                damage(&mut damaged, &mut random);
            }
            append_footer(&mut damaged, format::VERSION);
            doing.0 = format!("restoring {}", damaged.escape_ascii());
            server.ask("FLUSHALL SYNC");
            let before = ever_allocated();
            let reply = server.run(&[b"RESTORE", &b"key"[..], b"0", &damaged]);
            let allocated = ever_allocated() - before;
            assert!(allocated < LOAD_BYTES, "{allocated} bytes for {}", damaged.escape_ascii());
            if reply == b"+OK\r\n" {
                exercise(&mut server, &mut doing);
            } else {
                assert_eq!(reply, b"-ERR Bad data format\r\n", "{}", damaged.escape_ascii());
            }
        }
    }
}

/// Whether a server that others have mistreated still serves.
fn assert_alive(server: &Server, after: &str) {
    let answer = Conversation::open(server).ask("PING");
    assert_eq!(answer, "PONG\n", "after {after}\n{}", server.log());
}

/// Sends bytes and gives all that comes back until the server closes or has nothing more to say.
fn exchange(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut replies = Vec::new();
    let _ = stream.read_to_end(&mut replies);
    replies
}

/// Whether an error begins with a code in upper case.
fn has_code(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Requests that are wrong in their frame.
const MALFORMED: &[&[u8]] = &[
    b"*-1\r\nPING\r\n",
    b"*0\r\n*1\r\n$4\r\nPING\r\n",
    b"*99999999999999999999\r\n",
    b"*1048577\r\n",
    b"*2147483647\r\n$4\r\nPING\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$536870913\r\nx",
    b"*1\r\n$536870912\r\nx",
    b"*1\r\n$99999999999999999999\r\nx",
    b"*1\r\n$4\nPING\r\n",
    b"*1\r\n+PING\r\n",
    b"*1\r\n:4\r\nPING\r\n",
    b"*abc\r\n",
    b"* 1\r\n$4\r\nPING\r\n",
    b"*1\r\n$ 4\r\nPING\r\n",
    b"*1\r\n$0x4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"SET \"unbalanced\r\n",
    b"'\\x\r\n",
    b"\r\n\r\n\r\nPING\r\n",
    b"\0\0\0\0\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n",
    b"%1\r\n$4\r\nPING\r\n",
    b"*1\r\n*1\r\n*1\r\n*1\r\n",
];

#[test]
fn malformed_requests_are_answered_with_errors() {
    let server = Server::start(&[]);
    let mut random = fastrand::Rng::with_seed(79);
    let mut conversation = Conversation::open(&server);
    let mut requests: Vec<Vec<u8>> = MALFORMED.iter().map(|bytes| bytes.to_vec()).collect();
    requests.push(vec![b'a'; 70_000]);
    requests.push([&b"*3\r\n$3\r\nSET\r\n$1000000\r\n"[..], &[b'k'; 2000]].concat());
    requests.push(b"*1\r\n".repeat(5000));
    requests.push([b"*100000\r\n".to_vec(), b"$1\r\nx\r\n".repeat(50)].concat());
    let honest = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING \"a b\"\r\n*1\r\n$4\r\nPING\r\n";
    for _ in 0..600 * rounds() {
        let mut bytes = honest.to_vec();
        damage(&mut bytes, &mut random);
        requests.push(bytes);
    }
    for _ in 0..100 * rounds() {
        requests.push((0..random.usize(1..200)).map(|_| random.u8(..)).collect());
    }
    let before = number(&section(&mut conversation, "memory"), "used_memory");
    for request in &requests {
        let replies = exchange(&server, request);
        if replies.first() == Some(&b'-') {
            let text = String::from_utf8_lossy(&replies[1..]);
            assert!(has_code(&text), "{} to {}", replies.escape_ascii(), request.escape_ascii());
        }
    }
    assert_alive(&server, "malformed requests");
    let after = number(&section(&mut conversation, "memory"), "used_memory");
    assert!(after - before < 1 << 20, "{} bytes are left of malformed requests", after - before);
}

#[test]
fn claimed_lengths_cost_nothing() {
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    let before = number(&section(&mut conversation, "memory"), "used_memory");
    let mut open = Vec::new();
    for start in
        [&b"*1048576\r\n$1\r\n"[..], b"*2\r\n$536870912\r\nabc", b"*3\r\n$3\r\nSET\r\n$400000000\r\n"]
    {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            stream.write_all(start).unwrap();
            open.push(stream);
        }
    }
    assert_alive(&server, "claims of lengths");
    let after = number(&section(&mut conversation, "memory"), "used_memory");
    assert!(after - before < 16 << 20, "{} bytes for 60 claims", after - before);
}

/// Commands that end or stop the server, or make a connection something else than request and reply.
const LEFT_OUT: &[&str] = &[
    "shutdown",
    "debug",
    "monitor",
    "quit",
    "client|reply",
    "client|pause",
    "client|kill",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
    "sync",
    "psync",
    "replconf",
    "replicaof",
    "slaveof",
    "failover",
];

const KEYS: &[&str] = &[
    "string:int",
    "string:embstr",
    "string:raw",
    "list:listpack",
    "list:quicklist",
    "set:intset",
    "set:listpack",
    "set:hashtable",
    "hash:listpack",
    "hash:hashtable",
    "hash:expiring",
    "zset:listpack",
    "zset:skiplist",
    "stream",
    "missing",
    "",
];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "99999999999999999999",
    "1.5",
    "abc",
    "",
    " 1",
    "+1",
    "0x10",
    "1e3",
];
const NUMBERS: &[&str] = &[
    "1.5",
    "nan",
    "inf",
    "-inf",
    "(1",
    "1e400",
    "-1e-400",
    "0x1p3",
    "",
    "abc",
    "1,5",
    "1.7976931348623157e308",
];
const STRINGS: &[&str] = &[
    "a",
    "f",
    "v",
    "",
    "-",
    "+",
    "[a",
    "(b",
    "$",
    ">",
    "*",
    "1-1",
    "5-*",
    "99999999999999999999-1",
    "\u{0}\u{1}",
    "\u{fffd}\u{fffd}",
    "*[^a\\",
    "group",
    "LEFT",
];

/// Arguments after a command's documented syntax, with words that fit their kinds badly.
fn arguments(of: &[Arg], random: &mut fastrand::Rng, words: &mut Vec<String>) {
    for arg in of {
        if arg.optional && random.bool() {
            continue;
        }
        let times = if arg.multiple { random.usize(1..4) } else { 1 };
        for time in 0..times {
            if !arg.token.is_empty() && (time == 0 || arg.multiple_token) {
                words.push(arg.token.to_owned());
            }
            let mut pick = |from: &[&str]| words.push(from[random.usize(..from.len())].to_owned());
            match arg.kind {
                ArgKind::Key => pick(KEYS),
                ArgKind::Integer | ArgKind::UnixTime => pick(INTEGERS),
                ArgKind::Double => pick(NUMBERS),
                ArgKind::String | ArgKind::Pattern => pick(STRINGS),
                ArgKind::PureToken => {}
                ArgKind::OneOf => {
                    let one = random.usize(..arg.arguments.len());
                    arguments(&arg.arguments[one..=one], random, words);
                }
                ArgKind::Block => arguments(arg.arguments, random, words),
            }
        }
    }
}

/// A request for this command: near its syntax, of any length, or with words that nobody knows.
fn request(entry: &TableEntry, random: &mut fastrand::Rng) -> Vec<String> {
    let mut words: Vec<String> = entry.full_name.split('|').map(str::to_owned).collect();
    let named = words.len();
    arguments(entry.command.arguments, random, &mut words);
    match random.u8(..8) {
        0 => words.truncate(named),
        1 if words.len() > named => drop(words.remove(random.usize(named..words.len()))),
        2 => words.push("UNKNOWNOPTION".to_owned()),
        3 => words.extend(["UNKNOWNOPTION".to_owned(), "1".to_owned(), String::new()]),
        4 if words.len() > named => {
            let (from, to) = (random.usize(named..words.len()), random.usize(named..words.len()));
            words.swap(from, to);
        }
        5 => {
            words.extend((0..random.usize(1..20)).map(|_| STRINGS[random.usize(..STRINGS.len())].to_owned()))
        }
        6 => {
            words.truncate(named);
            words.extend((0..random.usize(1..6)).map(|_| KEYS[random.usize(..KEYS.len())].to_owned()));
        }
        _ => {}
    }
    words
}

/// Fails on an error without a code, at whatever depth it is.
fn check_errors(reply: &str, doing: &Doing) {
    for line in reply.lines() {
        let value = line.trim_start();
        let value =
            value.split_once(") ").filter(|(label, _)| label.bytes().all(|byte| byte.is_ascii_digit()));
        let value = value.map_or(line.trim_start(), |(_, value)| value);
        if let Some(error) = value.strip_prefix("(error) ") {
            assert!(has_code(error), "{error}: no code, to {}", doing.0);
        }
    }
}

#[test]
fn every_command_survives_senseless_arguments() {
    let server = Server::start(&[]);
    let mut random = fastrand::Rng::with_seed(80);
    let mut doing = Doing(String::new());
    let table = commands::table();
    let mut entries: Vec<_> =
        table.every().filter(|entry| !LEFT_OUT.contains(&entry.full_name.as_str())).collect();
    entries.sort_by(|one, other| one.full_name.cmp(&other.full_name));
    for entry in entries {
        let mut conversation = Conversation::open(&server);
        for request in EVERY_ENCODING {
            conversation.send(&request.split(' ').collect::<Vec<_>>());
        }
        for _ in EVERY_ENCODING {
            conversation.read();
        }
        if random.bool() {
            conversation.ask("HELLO 3");
        }
        let blocks = entry.command.has(flag::BLOCKING);
        for _ in 0..REQUESTS * rounds() {
            let words = request(entry, &mut random);
            doing.0 = format!("{words:?}");
            // What would wait is run where nothing waits.
            if blocks {
                conversation.ask("MULTI");
            }
            conversation.send(&words);
            check_errors(&conversation.read(), &doing);
            if blocks {
                check_errors(&conversation.ask("EXEC"), &doing);
            }
        }
        assert_alive(&server, &entry.full_name);
    }
}
