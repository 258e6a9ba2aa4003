//! What commands tell, done again elsewhere, makes the same data: random requests run on one engine, what it tells
//! runs on another, and both hold the same. More steps: `REPLAY_STEPS=100000 cargo test --test replay`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::thread::sleep;
use std::time::Duration;

use support::Server;
use support::engine::InProcess;
use support::reply::Conversation;
use support::requests::Requests;
use support::stream::requests;
use support::templates::{FAMILIES, GENERIC, RARE, TEMPLATES};
use weighbridge::keyspace::ExpiryBudget;
use weighbridge::server::{Engine, events};

const SEEDS: [u64; 2] = [3, 20_261_122];
/// Steps of each seed, unless the environment says otherwise.
const STEPS: usize = 6000;
/// Steps between two comparisons.
const BETWEEN: usize = 50;

fn steps() -> usize {
    std::env::var("REPLAY_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(STEPS)
}

/// Who does, and who does what that one tells.
struct Pair {
    teller: InProcess,
    listener: InProcess,
    /// What was told since the last comparison.
    told: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        let mut teller = InProcess::start();
        teller.engine.server.expect_aof();
        teller.engine.server.propagation.set_aof_listens(true);
        // What has expired there is for the teller to say.
        let mut listener = InProcess::start();
        listener.ask("CONFIG SET import-mode yes");
        listener.ask("CLIENT IMPORT-SOURCE ON");
        listener.run_as(2, &["CLIENT", "IMPORT-SOURCE", "ON"]);
        Self { teller, listener, told: Vec::new() }
    }

    fn pass_on(&mut self) {
        let told = std::mem::take(self.teller.engine.server.aof.begin_feed(None));
        self.listener.engine.server.now_ms = self.teller.engine.server.now_ms;
        for request in requests(&told) {
            let text: Vec<String> = request.iter().map(|word| word.escape_ascii().to_string()).collect();
            self.told.push(text.join(" "));
            let reply = self.listener.run(&request);
            assert!(!reply.starts_with(b"-"), "{} to {}", reply.escape_ascii(), text.join(" "));
        }
    }

    /// Deletes all that has expired, as the server does at intervals.
    fn expire(&mut self) {
        let Engine { keyspace, server } = &mut self.teller.engine;
        let mut free = drop;
        let mut budget = ExpiryBudget { time_is_over: &mut || false, free: &mut free };
        keyspace.expire_some(server.now_ms, &mut budget);
        events::settle_apart(keyspace, server);
    }

    /// Asks both on a connection of its own; gives the answers.
    fn ask_both(&mut self, question: &str) -> (String, String) {
        let words: Vec<&str> = question.split(' ').collect();
        let teller = self.teller.run_as(2, &words).escape_ascii().to_string();
        (teller, self.listener.run_as(2, &words).escape_ascii().to_string())
    }

    fn hold(&mut self, question: &str, seed: u64, step: usize) {
        let (teller, listener) = self.ask_both(question);
        if teller != listener {
            let keys = self.differing_keys().join("\n");
            let told = self.told.join("\n");
            panic!(
                "{question}:\n{teller}\n{listener}\nafter seed {seed}, step {step}:\n{told}\nkeys:\n{keys}"
            );
        }
    }

    fn differing_keys(&mut self) -> Vec<String> {
        let mut differing = Vec::new();
        for database in 0..2 {
            self.ask_both(&format!("SELECT {database}"));
            let (keys, _) = self.ask_both("KEYS *");
            for key in keys.split("\\r\\n").filter(|line| !line.starts_with(['$', '*'])) {
                let (teller, listener) = self.ask_both(&format!("DEBUG DIGEST-VALUE {key}"));
                if teller != listener {
                    differing.push(format!("{database} {key}"));
                }
            }
        }
        differing
    }

    fn compare(&mut self, seed: u64, step: usize) {
        self.expire();
        self.pass_on();
        self.hold("DEBUG DIGEST", seed, step);
        for database in 0..2 {
            self.ask_both(&format!("SELECT {database}"));
            for number in 0..KEYS {
                let key = if number == 0 { "long".repeat(70) } else { "k".repeat(number * number * 3) };
                for group in 0..16 {
                    self.hold(&format!("XPENDING stream:{key} {group} - + 1000"), seed, step);
                }
            }
        }
        self.told.clear();
    }
}

/// Keys of a family, as the requests name them.
const KEYS: usize = 4;

#[test]
fn what_is_told_makes_the_same_data() {
    for seed in SEEDS {
        let mut pair = Pair::new();
        let mut draw = Requests::new(seed, FAMILIES);
        for step in 1..=steps() {
            let (family, templates) = TEMPLATES[draw.random.usize(..TEMPLATES.len())];
            let template = match draw.random.usize(..1000) {
                0..2 => RARE[draw.random.usize(..RARE.len())],
                2..200 => GENERIC[draw.random.usize(..GENERIC.len())],
                _ => templates[draw.random.usize(..templates.len())],
            };
            // Of members with different scores it takes what it comes across in the encoding that there is.
            if template.starts_with("ZREMRANGEBYLEX") {
                continue;
            }
            pair.teller.engine.server.now_ms += draw.random.i64(0..400);
            let transaction = draw.random.u8(..20) == 0;
            if transaction {
                pair.teller.ask("MULTI");
            }
            for _ in 0..if transaction { 3 } else { 1 } {
                let request = draw.draw(family, template);
                pair.teller.run(&request);
            }
            if transaction {
                pair.teller.ask("EXEC");
            }
            pair.pass_on();
            if step % BETWEEN == 0 {
                pair.compare(seed, step);
            }
        }
        assert!(!pair.teller.engine.keyspace.is_empty());
    }
}

/// Requests that a Valkey is to follow.
const FOLLOWED: usize = 4000;

/// The real Valkey applies what this server tells, and refuses nothing.
#[test]
fn valkey_makes_the_same_data_of_it() {
    let Some(valkey) = Server::start_valkey(&["--repl-diskless-load", "swapdb"]) else { return };
    let server = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let (mut here, mut there) = (Conversation::open(&server), Conversation::open(&valkey));
    there.ask(&format!("REPLICAOF 127.0.0.1 {}", server.port));
    valkey.until("it follows", || there.ask("INFO replication").contains("master_link_status:up"));
    let mut draw = Requests::new(7, FAMILIES);
    for step in 0..FOLLOWED {
        let (family, templates) = TEMPLATES[draw.random.usize(..TEMPLATES.len())];
        let template = match draw.random.usize(..1000) {
            0..100 => GENERIC[draw.random.usize(..GENERIC.len())],
            _ => templates[draw.random.usize(..templates.len())],
        };
        if template.starts_with("ZREMRANGEBYLEX") {
            continue;
        }
        here.send(&draw.draw(family, template));
        here.read();
        if step % 1000 == 999 {
            hold_same(&server, &valkey, &mut here, &mut there, step);
        }
    }
    assert!(!valkey.log().contains("CRITICAL"), "{}", valkey.log());
}

/// Waits until the replica has applied all, and compares.
fn hold_same(
    server: &Server,
    valkey: &Server,
    here: &mut Conversation,
    there: &mut Conversation,
    step: usize,
) {
    // What expires while they are compared would not be the same on both sides.
    here.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    sleep(Duration::from_millis(200));
    assert!(here.ask("WAIT 1 10000").contains('1'));
    let digests = (here.ask("DEBUG DIGEST"), there.ask("DEBUG DIGEST"));
    assert!(digests.0 == digests.1, "after step {step}: {digests:?}\n{}\n{}", server.log(), valkey.log());
    here.ask("DEBUG SET-ACTIVE-EXPIRE 1");
}
