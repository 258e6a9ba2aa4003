//! Transcripts: requests and the replies they get, readable as documentation, true of this server and of Valkey 9.1.
//!
//! A file in `tests/transcripts` is a conversation on one connection with an empty server: `> ` begins a request (words
//! quoted as in an inline request), the lines below it are the reply as `redis-cli` would print it, with the kind of
//! every RESP3 reply spelled out. `# ` begins a remark. With `PEERS` set the same is asked of the real Valkey;
//! `RECORD=1` then writes the real Valkey's replies into the files.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use support::{Server, reply::Conversation};

struct Exchange {
    remarks: String,
    request: String,
    reply: String,
}

fn parse(text: &str) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    let mut remarks = String::new();
    for line in text.lines() {
        if let Some(request) = line.strip_prefix("> ") {
            exchanges.push(Exchange {
                remarks: std::mem::take(&mut remarks),
                request: request.to_owned(),
                reply: String::new(),
            });
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(remarks, "{line}").unwrap();
        } else {
            let exchange: &mut Exchange = exchanges.last_mut().expect("a reply follows a request");
            writeln!(exchange.reply, "{line}").unwrap();
        }
    }
    exchanges
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A connection to the emptied server; a file that begins with `# RESP3` is held in RESP3.
fn begin(server: &Server, text: &str) -> Conversation {
    let mut conversation = Conversation::open(server);
    conversation.ask("FLUSHALL");
    if text.starts_with("# RESP3") {
        conversation.ask("HELLO 3");
    }
    conversation
}

/// Asks a server everything in every file; the differences as text.
fn differences(server: &Server) -> String {
    let mut found = String::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let mut conversation = begin(server, &text);
        for exchange in parse(&text) {
            let reply = conversation.ask(&exchange.request);
            if reply != exchange.reply {
                let name = file.file_name().unwrap().to_string_lossy();
                writeln!(found, "{name}: > {}\nexpected:\n{}got:\n{reply}", exchange.request, exchange.reply)
                    .unwrap();
            }
        }
    }
    found
}

#[test]
fn this_server_replies_as_the_transcripts_say() {
    let server = Server::start(&[]);
    let found = differences(&server);
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn valkey_replies_as_the_transcripts_say() {
    let Some(server) = Server::start_valkey(&[]) else { return };
    if std::env::var_os("RECORD").is_some() {
        record(&server);
    }
    let found = differences(&server);
    assert!(found.is_empty(), "\n{found}");
}

fn record(server: &Server) {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let mut conversation = begin(server, &text);
        let mut recorded = String::new();
        for exchange in parse(&text) {
            let reply = conversation.ask(&exchange.request);
            write!(recorded, "{}> {}\n{reply}", exchange.remarks, exchange.request).unwrap();
        }
        fs::write(file, recorded).unwrap();
    }
}
