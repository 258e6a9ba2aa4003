//! What replication costs beside Valkey: CPU of a primary per write that goes to one Valkey replica, and the time of a full
//! synchronization, with this server at either end.
//!
//! Run: `PEERS=/opt/peers cargo bench --bench replication [-- WRITES [MEGABYTES [ROUNDS]]]`. The measured server has the first
//! core, all else the second. `SERVER` in the environment names another binary of this project.
#![allow(missing_docs, clippy::print_stdout)]

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weighbridge::client::{Connection, text_of};

const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(300);
/// The kernel's ticks of CPU time in a second, as `/proc` counts them.
const TICKS: f64 = 100.0;
const VALUE_BYTES: &str = "100";
/// Bytes of a value of the data that is synchronized.
const SYNC_VALUE: usize = 1000;
/// Pipelines that are measured.
const PIPELINES: [&str; 2] = ["1", "16"];

fn peer(name: &str) -> io::Result<PathBuf> {
    let folder = std::env::var_os("PEERS").ok_or_else(|| io::Error::other("PEERS is not set"))?;
    Ok(Path::new(&folder).join("bin").join(name))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Valkey,
    Ours,
}

impl Kind {
    fn program(self) -> io::Result<PathBuf> {
        match (self, std::env::var_os("SERVER")) {
            (Self::Valkey, _) => peer("valkey-server"),
            (Self::Ours, Some(path)) => Ok(path.into()),
            (Self::Ours, None) => Ok(env!("CARGO_BIN_EXE_weighbridge").into()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Valkey => "valkey",
            Self::Ours => "ours",
        }
    }
}

struct Server {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(kind: Kind, core: &str, options: &[&str]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        // Below what the system gives to outgoing connections.
        let port = std::iter::repeat_with(|| fastrand::u16(10_000..30_000))
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .ok_or_else(|| io::Error::other("no port is free"))?;
        let process = Command::new("taskset")
            .args(["-c", core])
            .arg(kind.program()?)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--rdbcompression",
                "no",
            ])
            .args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--dir"])
            .arg(directory.path())
            .args(options)
            .stdout(Stdio::null())
            .spawn()?;
        let server = Self { process, port, _directory: directory };
        server.until(|server| Ok(server.connect().is_ok()))?;
        Ok(server)
    }

    fn connect(&self) -> io::Result<Connection> {
        Connection::tcp(&format!("127.0.0.1:{}", self.port))
    }

    fn until(&self, mut holds: impl FnMut(&Self) -> io::Result<bool>) -> io::Result<()> {
        let begun = Instant::now();
        while !holds(self)? {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("waited in vain"));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn field(&self, name: &str) -> io::Result<String> {
        let info = text_of(&self.connect()?.call(&[b"INFO", b"replication"])?);
        let value =
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        Ok(value.unwrap_or_default())
    }

    fn follow(&self, primary: &Self) -> io::Result<()> {
        let port = primary.port.to_string();
        self.connect()?.call(&[b"REPLICAOF", b"127.0.0.1", port.as_bytes()])?;
        self.until(|server| Ok(server.field("master_link_status")? == "up"))
    }

    /// CPU seconds of the process so far, user's and system's.
    fn cpu(&self) -> io::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, rest) = text.rsplit_once(')').ok_or_else(|| io::Error::other("/proc has another form"))?;
        let mut words = rest.split_whitespace().skip(11);
        let mut ticks = || words.next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(f64::NAN);
        Ok((ticks() + ticks()) / TICKS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Microseconds of the primary's CPU per write that one Valkey replica follows.
fn cpu_per_write(kind: Kind, writes: usize, pipeline: &str) -> io::Result<f64> {
    let primary = Server::start(kind, "0", &["--repl-backlog-size", "64mb"])?;
    let replica = Server::start(Kind::Valkey, "1", &[])?;
    replica.follow(&primary)?;
    let before = primary.cpu()?;
    let (port, count) = (primary.port.to_string(), writes.to_string());
    let done = Command::new("taskset")
        .args(["-c", "1"])
        .arg(peer("valkey-benchmark")?)
        .args(["-p", &port, "-n", &count, "-c", "50", "-P", pipeline, "-t", "set", "-r", "1000000", "-q"])
        .args(["-d", VALUE_BYTES])
        .stdout(Stdio::null())
        .status()?;
    if !done.success() {
        return Err(io::Error::other("valkey-benchmark failed"));
    }
    let end = primary.field("master_repl_offset")?;
    replica.until(|replica| Ok(replica.field("slave_repl_offset")? >= end))?;
    Ok((primary.cpu()? - before) / writes as f64 * 1e6)
}

/// Seconds until a new replica has the data of a primary.
fn synchronize(primary: &Server, kind: Kind, options: &[&str]) -> io::Result<f64> {
    let replica = Server::start(kind, "1", options)?;
    let begun = Instant::now();
    replica.follow(primary)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure_writes(writes: usize, rounds: usize) -> io::Result<()> {
    for pipeline in PIPELINES {
        let (mut valkey, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            valkey.push(cpu_per_write(Kind::Valkey, writes, pipeline)?);
            ours.push(cpu_per_write(Kind::Ours, writes, pipeline)?);
        }
        println!("SET, {VALUE_BYTES} bytes, pipeline {pipeline}: valkey {valkey:.3?} us, ours {ours:.3?} us");
        let (valkey, ours) = (median(valkey), median(ours));
        println!("  medians {valkey:.3} and {ours:.3} us, ratio {:.3}", ours / valkey);
    }
    Ok(())
}

fn measure_synchronizations(megabytes: usize, rounds: usize) -> io::Result<()> {
    let keys = (megabytes * 1_000_000 / SYNC_VALUE).to_string();
    let size = SYNC_VALUE.to_string();
    let ways: [(&str, &[&str]); 2] =
        [("from the socket", &["--repl-diskless-load", "on-empty-db"]), ("by way of the disk", &[])];
    let mut primaries = Vec::new();
    for kind in [Kind::Valkey, Kind::Ours] {
        let server = Server::start(kind, "0", &[])?;
        server.connect()?.call(&[b"DEBUG", b"POPULATE", keys.as_bytes(), b"key", size.as_bytes()])?;
        primaries.push((kind, server));
    }
    for (way, options) in ways {
        let pairs = primaries.iter().flat_map(|primary| [(primary, Kind::Valkey), (primary, Kind::Ours)]);
        for ((kind, primary), replica) in pairs {
            let taken: io::Result<Vec<f64>> =
                (0..rounds).map(|_| synchronize(primary, replica, options)).collect();
            let taken = taken?;
            println!(
                "{megabytes} MB {way}, primary {}, replica {}: {taken:.2?} s, median {:.2} s",
                kind.name(),
                replica.name(),
                median(taken.clone())
            );
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let (writes, megabytes, rounds) = (number(0, 1_000_000), number(1, 1000), number(2, 3));
    measure_writes(writes, rounds)?;
    measure_synchronizations(megabytes, rounds)
}
