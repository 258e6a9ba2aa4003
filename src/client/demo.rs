//! `weighbridge demo`: starts a server of its own, fills it with data of every type, and has it say what its memory
//! is for. What the server is told and what it answers is printed as it goes.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Connection, text_of};

/// How long the server may take for anything before the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// Characters of the bar that stands for all bytes.
const BAR_WIDTH: i64 = 40;

type Requests = Vec<Vec<Vec<u8>>>;

/// Runs the demonstration with the server of this executable; `print` shows a line.
///
/// # Errors
/// The server did not start or did not answer as it should.
pub fn run(executable: &Path, mut print: impl FnMut(&str)) -> io::Result<()> {
    let server = Server::start(executable)?;
    let mut connection = server.connect()?;
    print("Filling a server of our own with data of every type ...");
    for (title, requests) in data() {
        connection.pipeline(&requests)?;
        print(&format!("  {:>7} requests: {title}", requests.len()));
    }
    print("\n> BGSAVE STAT_MEMORY");
    print(&text_of(&connection.call(&[b"BGSAVE", b"STAT_MEMORY"])?));
    let info = await_profile(&mut connection)?;
    print("\nWhat the allocated bytes are for (INFO rdb_stats has every row):\n");
    table(&info, &mut print);
    print("\nThe same in the server's log:\n");
    for line in std::fs::read_to_string(server.directory.join("log"))?.lines() {
        if let Some(at) = line.find("RDB ") {
            print(line.get(at..).unwrap_or_default());
        }
    }
    Ok(())
}

/// Shows the types with their keys and the rows that are not zero, with their share of what is used.
fn table(info: &str, print: &mut impl FnMut(&str)) {
    let number = |field: &str| -> i64 {
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    let used = number("mem_used_at_fork");
    let mut row = |title: &str, bytes: i64| {
        let share = bytes as f64 * 100.0 / used.max(1) as f64;
        let bar = "#".repeat(usize::try_from(bytes * BAR_WIDTH / used.max(1)).unwrap_or(0));
        print(format!("  {title:<32} {bytes:>10} B {share:>6.2} %  {bar}").trim_end());
    };
    for value_type in ["string", "list", "set", "zset", "hash", "stream"] {
        let keys = number(&format!("rdb_stats_{value_type}_keys"));
        row(&format!("{value_type:<8}{keys:>9} keys"), number(&format!("rdb_stats_{value_type}_bytes")));
    }
    for line in info.lines().take_while(|line| !line.starts_with("mem_used_at_fork")) {
        let Some((name, bytes)) = line.split_once(':') else { continue };
        // The types above are the user data.
        if !name.starts_with("mem_") || name == "mem_kv_user_data" || bytes.trim() == "0" {
            continue;
        }
        row(name, number(name));
    }
    row("mem_unattributed", number("mem_unattributed"));
    row("mem_used_at_fork", used);
    let (fork_us, duration_ms) = (number("rdb_stats_fork_usec"), number("rdb_stats_duration_ms"));
    print(&format!(
        "\nTaken in {duration_ms} ms while the server went on; the fork held it for {fork_us} microseconds."
    ));
}

fn await_profile(connection: &mut Connection) -> io::Result<String> {
    let begun = Instant::now();
    loop {
        let info = text_of(&connection.call(&[b"INFO", b"rdb_stats"])?);
        if info.contains("rdb_stats_available:1") {
            return Ok(info);
        }
        if info.contains("rdb_stats_last_status:err") || begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("no profile was published:\n{info}")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// A server in a directory of its own, ended and removed with this value.
struct Server {
    process: Child,
    directory: PathBuf,
}

impl Server {
    fn start(executable: &Path) -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("weighbridge-demo-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let process = Command::new(executable)
            .args(["--port", "0", "--unixsocket", "socket", "--save", "", "--logfile", "log", "--dir"])
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { process, directory })
    }

    fn connect(&self) -> io::Result<Connection> {
        let begun = Instant::now();
        loop {
            match Connection::unix(&self.directory.join("socket")) {
                Ok(connection) => return Ok(connection),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What the demonstration stores, a title and the requests of each part.
fn data() -> Vec<(&'static str, Requests)> {
    vec![
        (
            "sessions, strings that expire",
            each(20_000, |n| {
                request(&["SET", &format!("session:{n:08}"), &format!("user-{n}"), "EX", "3600"])
            }),
        ),
        ("pages, longer strings", each(2_000, |n| request(&["SET", &format!("page:{n}"), &"x".repeat(500)]))),
        (
            "users, small hashes",
            each(5_000, |n| {
                request(&[
                    "HSET",
                    &format!("user:{n}"),
                    "name",
                    &format!("name {n}"),
                    "visits",
                    &n.to_string(),
                ])
            }),
        ),
        (
            "a catalogue, one large hash",
            each(5_000, |n| {
                request(&["HSET", "catalogue", &format!("item:{n}"), &format!("price {}", n * 7)])
            }),
        ),
        (
            "a ranking, one large sorted set",
            each(5_000, |n| {
                request(&["ZADD", "ranking", &(n * 13 % 997).to_string(), &format!("player:{n}")])
            }),
        ),
        ("tags, a set", each(3_000, |n| request(&["SADD", "tags", &format!("tag-{n}")]))),
        ("a queue, a list", each(5_000, |n| request(&["RPUSH", "queue", &format!("job {n}")]))),
        ("events, a stream", each(2_000, |n| request(&["XADD", "events", "*", "n", &n.to_string()]))),
    ]
}

fn each(count: usize, make: impl Fn(usize) -> Vec<Vec<u8>>) -> Requests {
    (0..count).map(make).collect()
}

fn request(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
