//! Keys over several servers by a proxy that is there already: twemproxy (nutcracker) in front of two servers of this
//! project. What it does not pass on is said in `docs/scale-out.md`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::reply::Conversation;
use support::{Server, peer};

struct Proxy {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Proxy {
    fn start(servers: &[&Server]) -> Option<Self> {
        let program = peer("nutcracker")?;
        let directory = tempfile::tempdir().unwrap();
        let (port, statistics) = (free_port(), free_port());
        let listed: String = servers
            .iter()
            .enumerate()
            .map(|(number, server)| format!("    - 127.0.0.1:{}:1 shard{number}\n", server.port))
            .collect();
        let text = format!(
            "shards:\n  listen: 127.0.0.1:{port}\n  hash: murmur\n  hash_tag: \"{{}}\"\n  distribution: ketama\n  \
             redis: true\n  auto_eject_hosts: false\n  timeout: 5000\n  servers:\n{listed}"
        );
        let file = directory.path().join("nutcracker.yml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(file).arg("-s").arg(statistics.to_string());
        command.arg("-o").arg(directory.path().join("log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let proxy = Self { process, port, _directory: directory };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the proxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(proxy)
    }

    fn open(&self) -> Conversation {
        Conversation::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn keys(server: &Server) -> usize {
    let reply = Conversation::open(server).ask("DBSIZE");
    reply.trim().trim_start_matches("(integer) ").parse().unwrap()
}

#[test]
fn twemproxy_spreads_keys_over_servers_and_gathers_what_is_asked_of_several() {
    let servers = [Server::start(&["--save", ""]), Server::start(&["--save", ""])];
    let Some(proxy) = Proxy::start(&[&servers[0], &servers[1]]) else { return };
    let mut conversation = proxy.open();
    for number in 0..600 {
        assert_eq!(conversation.ask(&format!("SET user:{number} {number}")), "OK\n");
    }
    let held = [keys(&servers[0]), keys(&servers[1])];
    assert_eq!(held[0] + held[1], 600);
    assert!(held.iter().all(|count| *count > 150), "{held:?}");
    // One key belongs to one server: no other has it.
    for number in [0, 1, 2, 3, 4, 5, 6, 7] {
        let question = format!("GET user:{number}");
        let answers = servers.iter().map(|server| Conversation::open(server).ask(&question));
        assert_eq!(answers.filter(|answer| *answer == format!("\"{number}\"\n")).count(), 1);
    }
    let gathered = conversation.ask("MGET user:1 user:2 user:3 user:4 absent");
    assert_eq!(gathered, "(array of 5)\n   1) \"1\"\n   2) \"2\"\n   3) \"3\"\n   4) \"4\"\n   5) (nil)\n");
    assert_eq!(conversation.ask("MSET one 1 two 2 three 3"), "OK\n");
    assert_eq!(conversation.ask("DEL one two three absent"), "(integer) 3\n");
    // What names several keys of one request goes together only where a tag keeps them together.
    assert_eq!(conversation.ask("SADD {tag}a x y"), "(integer) 2\n");
    assert_eq!(conversation.ask("SADD {tag}b y z"), "(integer) 2\n");
    assert_eq!(conversation.ask("SINTERSTORE {tag}c {tag}a {tag}b"), "(integer) 1\n");
    let script = "EVAL \"return redis.call('INCRBY', KEYS[1], ARGV[1])\" 1 {tag}n 5";
    assert_eq!(conversation.ask(script), "(integer) 5\n");
    for (request, reply) in
        [("HSET h f v", "(integer) 1\n"), ("ZADD z 1 m", "(integer) 1\n"), ("RPUSH l a b", "(integer) 2\n")]
    {
        assert_eq!(conversation.ask(request), reply, "{request}");
    }
}

#[test]
fn a_server_that_is_started_again_is_found_again() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut servers = [Server::start(&options), Server::start(&options)];
    let Some(proxy) = Proxy::start(&[&servers[0], &servers[1]]) else { return };
    let mut conversation = proxy.open();
    for number in 0..100 {
        assert_eq!(conversation.ask(&format!("SET user:{number} {number}")), "OK\n");
    }
    servers[0].restart();
    let begun = Instant::now();
    let mut found = 0;
    while found < 100 && begun.elapsed() < Duration::from_secs(60) {
        // The proxy answers what it cannot ask for with an error.
        let mut conversation = proxy.open();
        let is_there =
            |number: &i32| conversation.ask(&format!("GET user:{number}")) == format!("\"{number}\"\n");
        found = (0..100).filter(is_there).count();
    }
    assert_eq!(found, 100);
}
