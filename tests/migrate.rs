//! MIGRATE between two servers, and to a peer that takes its time: nobody else waits, and no write is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use support::Server;
use support::reply::Conversation;

/// A server that answers when the test says so.
struct SlowServer {
    listener: TcpListener,
}

impl SlowServer {
    fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn accept(&self) -> BufReader<TcpStream> {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        BufReader::new(stream)
    }
}

fn number(stream: &mut BufReader<TcpStream>, mark: char) -> usize {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().strip_prefix(mark).unwrap().parse().unwrap()
}

/// The words of the next request.
fn request(stream: &mut BufReader<TcpStream>) -> Vec<Vec<u8>> {
    let count = number(stream, '*');
    let word = |_| {
        let mut word = vec![0; number(stream, '$') + 2];
        stream.read_exact(&mut word).unwrap();
        word.truncate(word.len() - 2);
        word
    };
    (0..count).map(word).collect()
}

fn names(request: &[Vec<u8>]) -> Vec<String> {
    request.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn migrate(client: &mut Conversation, port: u16, rest: &str) {
    let request = format!("MIGRATE 127.0.0.1 {port} {rest}");
    client.send(&weighbridge::config::split_arguments(request.as_bytes()).unwrap());
}

#[test]
fn keys_move_with_their_expiries() {
    let (here, there) = (Server::start(&[]), Server::start(&[]));
    let (mut client, mut other) = (Conversation::open(&here), Conversation::open(&there));
    client.ask("SET plain value");
    client.ask("SET volatile value PX 100000");
    client.ask("HSET hash a 1 b 2");
    migrate(&mut client, there.port, "\"\" 3 5000 KEYS plain missing volatile hash");
    assert_eq!(client.read(), "OK\n");
    assert_eq!(client.ask("DBSIZE"), "(integer) 0\n");
    other.ask("SELECT 3");
    assert_eq!(other.ask("DBSIZE"), "(integer) 3\n");
    assert_eq!(other.ask("TTL volatile"), "(integer) 100\n");
    assert_eq!(client.ask(&format!("MIGRATE 127.0.0.1 {} missing 3 5000", there.port)), "NOKEY\n");
    client.ask("SET plain other");
    let busy = client.ask(&format!("MIGRATE 127.0.0.1 {} plain 3 5000", there.port));
    assert!(busy.contains("ERR Target instance replied with error: BUSYKEY"), "{busy}");
    assert_eq!(client.ask("EXISTS plain"), "(integer) 1\n");
}

#[test]
fn others_are_served_and_what_they_change_is_sent_again() {
    let (here, peer) = (Server::start(&[]), SlowServer::start());
    let (mut client, mut other) = (Conversation::open(&here), Conversation::open(&here));
    client.ask("MSET changed 1 untouched 2 deleted 3");
    migrate(&mut client, peer.port(), "\"\" 0 60000 KEYS changed untouched deleted");
    let mut wire = peer.accept();
    assert_eq!(names(&request(&mut wire)), ["SELECT", "0"]);
    for key in ["changed", "untouched", "deleted"] {
        assert_eq!(names(&request(&mut wire))[..3], ["RESTORE", key, "0"]);
    }
    assert_eq!(other.ask("INCR changed"), "(integer) 2\n");
    assert_eq!(other.ask("DEL deleted"), "(integer) 1\n");
    wire.get_mut().write_all(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n").unwrap();
    let again = request(&mut wire);
    let words = names(&again);
    assert_eq!(
        (words[..3].to_vec(), words[4].as_str()),
        (vec!["RESTORE".into(), "changed".into(), "0".into()], "REPLACE")
    );
    assert_eq!(other.ask("EXISTS changed untouched deleted"), "(integer) 1\n");
    wire.get_mut().write_all(b"+OK\r\n").unwrap();
    assert_eq!(client.read(), "OK\n");
    assert_eq!(client.ask("DBSIZE"), "(integer) 0\n");
    // What was sent last is what the key held last.
    let (there, restored) = (Server::start(&[]), again[3].clone());
    let mut there = Conversation::open(&there);
    there.send(&[b"RESTORE".to_vec(), b"changed".to_vec(), b"0".to_vec(), restored]);
    there.read();
    assert_eq!(there.ask("GET changed"), "\"2\"\n");
}

#[test]
fn a_silent_server_is_given_up() {
    let (here, peer) = (Server::start(&[]), SlowServer::start());
    let mut client = Conversation::open(&here);
    client.ask("SET key value");
    migrate(&mut client, peer.port(), "key 0 100");
    let error = client.read();
    assert!(error.contains("IOERR error or timeout reading to target instance"), "{error}");
    assert_eq!(client.ask("EXISTS key"), "(integer) 1\n");
    let port = peer.port();
    drop(peer);
    let error = client.ask(&format!("MIGRATE 127.0.0.1 {port} key 0 100"));
    // A refused connection shows when it is written to.
    assert!(error.contains("IOERR error or timeout writing to target instance"), "{error}");
}

/// A client that leaves does not stop its migration, and nothing is sent to whoever comes after it.
#[test]
fn the_client_may_leave() {
    let (here, peer) = (Server::start(&[]), SlowServer::start());
    let mut client = Conversation::open(&here);
    client.ask("SET key value");
    migrate(&mut client, peer.port(), "key 0 60000");
    let mut wire = peer.accept();
    request(&mut wire);
    request(&mut wire);
    drop(client);
    let mut next = Conversation::open(&here);
    assert_eq!(next.ask("EXISTS key"), "(integer) 1\n");
    wire.get_mut().write_all(b"+OK\r\n+OK\r\n").unwrap();
    here.until("the key is gone", || next.ask("EXISTS key") == "(integer) 0\n");
    assert_eq!(next.ask("PING"), "PONG\n");
}
