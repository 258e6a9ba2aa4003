//! What weighing costs: CPU of the child of `BGSAVE STAT_MEMORY` over that of `BGSAVE`, the same data, in turn.
//!
//! Prints the median ratio over pairs and each pair. Run: `cargo bench --bench profile_cost [-- KEYS [PAIRS]]`.
#![allow(missing_docs, clippy::print_stdout)]

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weighbridge::client::{Connection, text_of};

const PAUSE: Duration = Duration::from_millis(20);

struct Server {
    process: Child,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let process = Command::new(env!("CARGO_BIN_EXE_weighbridge"))
            .args([
                "--port",
                "0",
                "--unixsocket",
                "socket",
                "--save",
                "",
                "--enable-debug-command",
                "yes",
                "--dir",
            ])
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { process, directory })
    }

    fn connect(&self) -> io::Result<Connection> {
        let path = self.directory.path().join("socket");
        while !Path::exists(&path) {
            std::thread::sleep(PAUSE);
        }
        Connection::unix(&path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn field(connection: &mut Connection, section: &str, name: &str) -> io::Result<String> {
    let info = text_of(&connection.call(&[b"INFO", section.as_bytes()])?);
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::to_owned).ok_or_else(|| io::Error::other(format!("INFO {section} has no {name}")))
}

/// CPU seconds of all children so far.
fn children(connection: &mut Connection) -> io::Result<f64> {
    let seconds = |text: String| text.parse::<f64>().map_err(io::Error::other);
    let user = seconds(field(connection, "cpu", "used_cpu_user_children")?)?;
    Ok(user + seconds(field(connection, "cpu", "used_cpu_sys_children")?)?)
}

/// CPU seconds of one background save.
fn save(connection: &mut Connection, words: &[&[u8]]) -> io::Result<f64> {
    let before = children(connection)?;
    connection.call(words)?;
    while field(connection, "persistence", "rdb_bgsave_in_progress")? != "0" {
        std::thread::sleep(PAUSE);
    }
    Ok(children(connection)? - before)
}

fn main() -> io::Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let keys = numbers.first().copied().unwrap_or(5_000_000);
    let pairs = numbers.get(1).copied().unwrap_or(9);
    let server = Server::start()?;
    let mut connection = server.connect()?;
    connection.call(&[b"DEBUG", b"POPULATE", keys.to_string().as_bytes(), b"key", b"16"])?;
    save(&mut connection, &[b"BGSAVE"])?;
    let mut ratios = Vec::new();
    for _ in 0..pairs {
        let plain = save(&mut connection, &[b"BGSAVE"])?;
        let weighing = save(&mut connection, &[b"BGSAVE", b"STAT_MEMORY"])?;
        println!("plain {plain:.3} s, STAT_MEMORY {weighing:.3} s, ratio {:.3}", weighing / plain);
        ratios.push(weighing / plain);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{keys} keys, median ratio {:.3}", ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN));
    Ok(())
}
