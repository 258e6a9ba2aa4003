//! The same random sessions on this server and on the real Valkey: no reply, notification, encoding, payload of DUMP or
//! signature of the data set may differ. `COMMANDS=n SEED=s` says how many requests, and from which seed; a difference
//! is shrunk to the few requests that it takes, printed with its seed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, unreachable_pub, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod frame;
mod link;
mod rights;
mod session;
mod shapes;
mod shrink;
mod stage;
mod taming;
mod values;

use std::collections::HashMap;

use agreement::{Difference, difference};
use link::{Link, Words, words};
use session::{Choice, Generator, Protocol, Session, choices};
use shapes::Shapes;
use stage::Step;
use support::Server;

/// Requests of one session.
const REQUESTS: usize = 600;
/// Requests of `cargo test`.
const USUAL: usize = 20_000;
/// So many times as many requests at most, until every command has shown its reply.
const PATIENCE: u64 = 5;
/// Differences after which a run ends.
const ENOUGH: usize = 12;

const ARGUMENTS: [&str; 6] =
    ["--proto-max-bulk-len", "1048576", "--sanitize-dump-payload", "yes", "--rdbcompression", "no"];

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Values of every type, as DUMP writes them.
fn payloads(port: u16) -> Vec<Vec<u8>> {
    const REQUESTS: [&str; 12] = [
        "SET a text",
        "SET b 12345",
        "RPUSH c 1 2 three",
        "SADD d 1 2 3",
        "SADD e a b 3",
        "HSET f a 1 b 2",
        "HSETEX g EX 1000000000 FIELDS 1 a 1",
        "ZADD h 1 a 2.5 b inf c",
        "XADD i 5-1 a 1 b 2",
        "XGROUP CREATE i g1 0",
        "XREADGROUP GROUP g1 c1 STREAMS i >",
        "PFADD j a b c",
    ];
    let mut link = Link::open(port).unwrap();
    link.ask(&words("FLUSHALL")).unwrap();
    for request in REQUESTS {
        link.ask(&words(request)).unwrap();
    }
    let keys = "abcdefghij".chars().map(|key| link.ask(&words(&format!("DUMP {key}"))).unwrap());
    keys.filter_map(|reply| reply.text().map(<[u8]>::to_vec)).collect()
}

struct Pair {
    ours: Server,
    theirs: Server,
}

impl Pair {
    fn start() -> Option<Self> {
        let theirs = Server::start_valkey(&ARGUMENTS)?;
        let pair = Self { ours: Server::start(&ARGUMENTS), theirs };
        pair.prepare();
        Some(pair)
    }

    /// Expired keys stay until somebody comes across them, so that it happens at the same step.
    fn prepare(&self) {
        for port in [self.ours.port, self.theirs.port] {
            Link::open(port).unwrap().ask(&words("DEBUG SET-ACTIVE-EXPIRE 0")).unwrap();
        }
    }

    fn compare(&mut self, session: &Session) -> Option<Difference> {
        let (one, other) = (self.ours.port, self.theirs.port);
        let (ours, theirs) = std::thread::scope(|scope| {
            let ours = scope.spawn(|| stage::play(one, &session.settings, &session.steps));
            let theirs = stage::play(other, &session.settings, &session.steps);
            (ours.join().unwrap(), theirs)
        });
        let found = difference(session, &ours, &theirs);
        if found.is_some() {
            self.revive();
        }
        found
    }

    /// Starts a server again that a session has ended.
    fn revive(&mut self) {
        for server in [&mut self.ours, &mut self.theirs] {
            let answers = Link::open(server.port).and_then(|mut link| link.ask(&words("PING"))).is_ok();
            if !answers {
                eprintln!("a server has ended:\n{}", server.log());
                server.restart();
            }
        }
        self.prepare();
    }
}

/// Differences in notifications that random sessions have found; those in replies are kept as transcripts.
const KEPT: [&str; 14] = [
    "XAUTOCLAIM nothing g1 c1 no-number -",
    "SADD set 3 20;SET str:3 text;SORT set BY str:*",
    "SET brief text PX 1;PAUSE;SINTERSTORE brief nothing",
    "SET brief text PX 1;PAUSE;ZINTERSTORE brief 1 nothing",
    "SET brief text PX 1;PAUSE;SORT nothing STORE brief",
    "SET brief text PX 1;PAUSE;WATCH brief;DBSIZE;GET brief;MULTI;PING;EXEC",
    // A key that exists and is overwritten is not served: only one that is new.
    "ASIDE BZMPOP 0 2 zset:1 list:1 MAX COUNT 3;SADD zset:1 a;ZADD zset:3 1 b;ZUNIONSTORE zset:1 1 zset:3;ZADD zset:1 2 c",
    "ASIDE BLPOP list:1 0;SADD list:1 b a;SORT list:1 ALPHA STORE list:1;DEL list:1;RPUSH list:1 c d",
    "ASIDE BLPOP list:1 0;MULTI;SADD list:1 a;SORT list:1 ALPHA STORE list:1;EXEC;COPY list:1 x;COPY x list:1 REPLACE",
    // A reader of several streams looks them up again only when there is an entry.
    "XADD s 1-1 a 1;ASIDE XREAD BLOCK 0 STREAMS s nothing t $ $ $;XDEL s 1-1;XTRIM s MAXLEN 0;XGROUP CREATE s g 0;XADD s 2-1 b 2",
    "HSET h a 1 b 2;HGETEX h PX 1 FIELDS 1 a;PAUSE;COPY h copied;DUMP copied;HLEN copied;HLEN h",
    "HSETEX h PXAT 1500000000 FIELDS 1 a 1;HSET h b 1",
    // Watched keys whose time is over, on either side of a swap.
    "SET brief text PX 1;PAUSE;WATCH brief;SWAPDB 0 1;MULTI;PING;EXEC;WATCH brief;SWAPDB 0 1;MULTI;PING;EXEC;DBSIZE",
    "SET brief text PX 1;PAUSE;SELECT 1;SET brief live;WATCH brief;SWAPDB 0 1;MULTI;PING;EXEC;SWAPDB 0 1;GET brief",
];

#[test]
fn kept_sessions_do_not_tell_this_server_from_valkey() {
    let Some(mut pair) = Pair::start() else { return };
    for kept in KEPT {
        let step = |request| match request {
            "PAUSE" => Step::Pause,
            request => match request.strip_prefix("ASIDE ") {
                Some(request) => Step::Aside(0, vec![words(request)]),
                None => Step::Main(words(request)),
            },
        };
        let steps = kept.split(';').map(step).chain([Step::Digest]).collect();
        let settings = vec![words("FLUSHALL"), words("CONFIG SET notify-keyspace-events AKEmn")];
        let found = pair.compare(&Session { settings, steps });
        assert!(found.is_none(), "{kept}: {found:#?}");
    }
}

fn draw(seed: u64, choices: &[Choice], payloads: &[Vec<u8>]) -> Session {
    Generator::new(seed, choices, payloads.to_vec()).session(REQUESTS, Protocol::Either)
}

#[test]
fn no_random_session_tells_this_server_from_valkey() {
    let Some(pair) = Pair::start() else { return };
    let choices = choices();
    let payloads = payloads(pair.theirs.port);
    search(pair, |seed| draw(seed, &choices, &payloads));
}

#[test]
fn no_random_user_tells_this_server_from_valkey() {
    let Some(pair) = Pair::start() else { return };
    let choices = rights::every_command();
    let payloads = payloads(pair.theirs.port);
    search(pair, |seed| rights::session(Generator::new(seed, &choices, payloads.clone())));
}

/// Plays as many sessions as are asked for, and tells of differences.
fn search(mut pair: Pair, draw: impl Fn(u64) -> Session) {
    let seed = from_environment("SEED", 1);
    let sessions = from_environment("COMMANDS", USUAL as u64).div_ceil(REQUESTS as u64);
    let mut found: HashMap<String, usize> = HashMap::new();
    let mut report = String::new();

    for seed in seed..seed + sessions {
        let session = draw(seed);
        if pair.compare(&session).is_none() {
            continue;
        }
        // A machine that stood still makes one too; what is not found again is only told.
        let Some(difference) = pair.compare(&session) else {
            eprintln!("SEED={seed}: a difference that did not come again");
            continue;
        };
        let name = format!("{:?} {}", difference.kind, difference.name);
        let times = found.entry(name).or_default();
        *times += 1;
        if *times > 1 {
            continue;
        }
        let text = shrink::shrunk(session, &difference, |session| pair.compare(session));
        eprintln!("SEED={seed} COMMANDS=1\n{text}");
        report += &format!("SEED={seed} COMMANDS=1\n{text}\n");
        if found.len() >= ENOUGH {
            break;
        }
    }
    assert!(found.is_empty(), "\n{report}\n{found:#?}");
}

/// Plays sessions in RESP3 and holds every reply against the shape that its command's has.
fn check_shapes(server: &Server) {
    let port = server.port;
    let (choices, payloads) = (choices(), payloads(port));
    let mut shapes = Shapes::new();
    let seed = from_environment("SEED", 1);
    let sessions = from_environment("COMMANDS", USUAL as u64).div_ceil(REQUESTS as u64);
    for number in 0..sessions * PATIENCE {
        if number >= sessions && shapes.missing().is_empty() {
            break;
        }
        let generator = Generator::new(seed + number, &choices, payloads.clone());
        let session = generator.session(REQUESTS, Protocol::Resp3);
        let said = stage::play(port, &session.settings, &session.steps);
        shapes.check(&session, &said);
    }
    assert!(shapes.faults.is_empty(), "\n{}", shapes.faults.join("\n"));
    assert!(shapes.missing().is_empty(), "no reply was seen of {:?}", shapes.missing());
}

#[test]
fn replies_have_the_shapes_of_valkeys_schemas() {
    check_shapes(&Server::start(&ARGUMENTS));
}

#[test]
fn valkeys_own_replies_have_those_shapes() {
    let Some(server) = Server::start_valkey(&ARGUMENTS) else { return };
    check_shapes(&server);
}

/// Requests as a transcript has them.
pub fn quoted(request: &Words) -> String {
    let word = |word: &Vec<u8>| {
        let is_plain =
            !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
        if is_plain {
            String::from_utf8_lossy(word).into_owned()
        } else {
            format!("\"{}\"", word.escape_ascii())
        }
    };
    request.iter().map(word).collect::<Vec<_>>().join(" ")
}
