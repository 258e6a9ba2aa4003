//! Random sessions: requests from the command table's documented syntax, whole and broken, and what other clients do
//! meanwhile. The same seed makes the same session.

use fastrand::Rng;
use weighbridge::commands;
use weighbridge::server::command::{Arg, ArgKind, Command, Group, flag};

use super::agreement::is_exact;
use super::link::{Words, words};
use super::stage::{ASIDES, Step};
use super::taming::{is_lossy, tame};
use super::values::{FAMILIES, Values};

/// The groups whose commands are drawn.
pub const GROUPS: [Group; 12] = [
    Group::String,
    Group::Bitmap,
    Group::Hyperloglog,
    Group::List,
    Group::Set,
    Group::Hash,
    Group::SortedSet,
    Group::Geo,
    Group::Stream,
    Group::Generic,
    Group::Transactions,
    Group::Pubsub,
];

/// Of those groups, what is not drawn: replies that depend on replicas, a self-test of seconds, and subscribing, which
/// only the other clients do.
const NOT_DRAWN: [&str; 9] = [
    "wait",
    "waitaof",
    "pfselftest",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "unsubscribe",
    "punsubscribe",
    "sunsubscribe",
];

/// Commands that fill keys, so that the others find something.
const FILLING: [&str; 24] = [
    "set",
    "append",
    "setrange",
    "setbit",
    "bitfield",
    "pfadd",
    "rpush",
    "lpush",
    "sadd",
    "hset",
    "hsetex",
    "hexpire",
    "zadd",
    "zincrby",
    "geoadd",
    "xadd",
    "xadd",
    "xadd",
    "xgroup|create",
    "xreadgroup",
    "xreadgroup",
    "incr",
    "sadd",
    "zadd",
];

/// Commands of other groups that belong to the picture, with their arguments.
const OTHERS: [&str; 16] = [
    "SELECT 0",
    "SELECT 0",
    "SELECT 1",
    "SELECT 16",
    "SWAPDB 0 1",
    "SWAPDB 0 99",
    "FLUSHDB",
    "FLUSHDB ASYNC",
    "DBSIZE",
    "HELLO 2",
    "HELLO 3",
    "RESET",
    "PING",
    "ECHO m1",
    "OBJECT",
    "FLUSHALL",
];

/// Blocking commands of the other clients.
const BLOCKING: [&str; 14] = [
    "BLPOP list:1 0",
    "BRPOP list:2 list:1 0",
    "BLPOP zset:1 list:1 list:3 0",
    "BLMOVE list:1 list:2 LEFT RIGHT 0",
    "BLMOVE list:1 zset:2 RIGHT RIGHT 0",
    "BRPOPLPUSH list:3 list:1 0",
    "BLMPOP 0 2 list:1 list:2 LEFT COUNT 2",
    "BZPOPMIN zset:1 zset:2 0",
    "BZPOPMAX geo:1 zset:3 0",
    "BZMPOP 0 2 zset:1 list:1 MAX COUNT 3",
    "XREAD BLOCK 0 STREAMS stream:2 $",
    "XREADGROUP GROUP g1 c1 BLOCK 0 STREAMS stream:1 >",
    "XREADGROUP GROUP g2 c2 BLOCK 0 NOACK STREAMS stream:2 >",
    "XREAD COUNT 1 BLOCK 0 STREAMS stream:3 +",
];

const SUBSCRIBING: [&str; 14] = [
    "SUBSCRIBE ch:1 ch:2",
    "SUBSCRIBE news",
    "PSUBSCRIBE ch:* n?ws",
    "PSUBSCRIBE *",
    "SSUBSCRIBE ch:1",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE ch:1 nothing",
    "PUNSUBSCRIBE",
    "PUNSUBSCRIBE ch:*",
    "SUNSUBSCRIBE",
    "SUNSUBSCRIBE ch:1 ch:2",
    "PUBLISH ch:1 own",
    "GET str:1",
    "RESET",
];

/// Options that sessions are played with, so that conversions happen with few elements. The first word of a list is
/// Valkey's default.
const OPTIONS: [(&str, &[&str]); 10] = [
    ("hash-max-listpack-entries", &["512", "3"]),
    ("hash-max-listpack-value", &["64", "8"]),
    ("list-max-listpack-size", &["-2", "4", "-1"]),
    ("list-compress-depth", &["0", "1"]),
    ("set-max-intset-entries", &["512", "5"]),
    ("set-max-listpack-entries", &["128", "4"]),
    ("zset-max-listpack-entries", &["128", "5"]),
    ("stream-node-max-entries", &["100", "3"]),
    ("hll-sparse-max-bytes", &["3000", "100"]),
    ("maxmemory-policy", &["noeviction", "noeviction", "allkeys-lfu"]),
];

/// A command that can be drawn.
pub struct Choice {
    pub full_name: String,
    pub command: &'static Command,
}

/// The protocol that the main client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Now one, now the other.
    Either,
    Resp3,
}

/// What is played on every server.
pub struct Session {
    pub settings: Vec<Words>,
    pub steps: Vec<Step>,
}

/// Every command that can be drawn, by name.
pub fn choices() -> Vec<Choice> {
    let table = commands::table();
    let mut choices: Vec<Choice> = table
        .every()
        .filter(|entry| {
            GROUPS.contains(&entry.command.group) && !NOT_DRAWN.contains(&entry.full_name.as_str())
        })
        .filter(|entry| entry.subcommands.is_empty())
        .map(|entry| Choice { full_name: entry.full_name.clone(), command: entry.command })
        .collect();
    choices.sort_by(|one, other| one.full_name.cmp(&other.full_name));
    choices
}

/// The family of keys that a command is about; any for generic ones.
fn family(group: Group) -> Option<&'static str> {
    Some(match group {
        Group::String => "str",
        Group::Bitmap => "bit",
        Group::Hyperloglog => "hll",
        Group::List => "list",
        Group::Set => "set",
        Group::Hash => "hash",
        Group::SortedSet => "zset",
        Group::Geo => "geo",
        Group::Stream => "stream",
        _ => return None,
    })
}

/// Draws sessions.
pub struct Generator<'a> {
    pub values: Values,
    choices: &'a [Choice],
    filling: Vec<usize>,
    steps: Vec<Step>,
    /// Whether the main client may be inside MULTI.
    in_transaction: bool,
    /// Something that was queued inside MULTI lives for a millisecond.
    owes_pause: bool,
    /// Fields of hashes that are over may be there.
    has_brief_fields: bool,
    /// How often what was repeated last was, which counts and weights go by.
    repeated: usize,
}

impl<'a> Generator<'a> {
    pub fn new(seed: u64, choices: &'a [Choice], payloads: Vec<Vec<u8>>) -> Self {
        let filling = FILLING
            .iter()
            .filter_map(|name| choices.iter().position(|choice| choice.full_name == *name))
            .collect();
        Self {
            values: Values { random: Rng::with_seed(seed), payloads },
            choices,
            filling,
            steps: Vec::new(),
            in_transaction: false,
            owes_pause: false,
            has_brief_fields: false,
            repeated: 1,
        }
    }

    /// A session of at least so many requests.
    pub fn session(mut self, requests: usize, protocol: Protocol) -> Session {
        let settings = self.settings();
        if self.values.once_in(2) || protocol == Protocol::Resp3 {
            self.steps.push(Step::Main(words("HELLO 3")));
        }
        while self.steps.len() < requests {
            match self.values.random.u16(..600) {
                0..4 => self.block(),
                4..8 => self.subscribe(),
                8..11 => self.interfere(),
                11 => self.steps.push(Step::Gather),
                12..14 if !self.in_transaction => self.steps.push(Step::Digest),
                14..22 => self.transaction(),
                22..30 => {
                    let other = self.values.pick(&OTHERS);
                    if protocol == Protocol::Either || !matches!(other, "HELLO 2" | "RESET") {
                        self.main(words(other));
                    }
                }
                30..45 => self.clear(),
                45..50 => self.add_words(),
                _ => self.request(),
            }
        }
        self.census();
        Session { settings, steps: self.steps }
    }

    fn settings(&mut self) -> Vec<Words> {
        let mut settings = vec![words("FLUSHALL"), words("CONFIG SET notify-keyspace-events AKEmn")];
        let is_varied = self.values.once_in(2);
        for (option, values) in OPTIONS {
            let value = if is_varied { self.values.pick(values) } else { values[0] };
            settings.push(words(&format!("CONFIG SET {option} {value}")));
        }
        settings
    }

    fn block(&mut self) {
        let request = words(self.values.pick(&BLOCKING));
        let number = self.values.random.usize(..ASIDES - 1);
        self.steps.push(Step::Aside(number, vec![request]));
    }

    fn subscribe(&mut self) {
        let request = words(self.values.pick(&SUBSCRIBING));
        let number = ASIDES - 1 - self.values.random.usize(..2);
        self.steps.push(Step::Aside(number, vec![request]));
    }

    /// Another client does something while the main one watches or is inside MULTI.
    fn interfere(&mut self) {
        let index = self.values.random.usize(..self.choices.len());
        let choice = &self.choices[index];
        if matches!(choice.command.group, Group::Transactions) {
            return;
        }
        let mut request = self.whole(choice);
        let pause = tame(&mut request);
        if is_lossy(&request) || !is_exact(&request) || choice.command.has(flag::BLOCKING) {
            return;
        }
        let number = self.values.random.usize(..ASIDES);
        self.steps.push(Step::Aside(number, vec![request]));
        if pause {
            self.steps.push(Step::Pause);
        }
    }

    fn transaction(&mut self) {
        if self.values.once_in(2) {
            let key = self.any_key();
            self.main(vec![b"WATCH".to_vec(), key]);
            if self.values.once_in(3) {
                self.interfere();
            }
        }
        self.main(words("MULTI"));
        for _ in 0..self.values.random.usize(..6) {
            self.request();
        }
        let end = if self.values.once_in(6) { "DISCARD" } else { "EXEC" };
        self.main(words(end));
    }

    /// The sorted sets whose scores are all the same; and one key of another type.
    fn add_words(&mut self) {
        let mut request = words(&format!("ZADD words:{}", self.values.random.u8(1..4)));
        for _ in 0..self.values.repetitions() {
            request.push(b"0".to_vec());
            request.push(self.values.member());
        }
        self.main(request);
        self.main(words("SETNX words:0 text"));
    }

    fn any_key(&mut self) -> Vec<u8> {
        let family = self.values.pick(&FAMILIES);
        self.values.key(family)
    }

    /// Keys get away, or the stream's ids and the sizes would only grow.
    fn clear(&mut self) {
        let name = self.values.pick(&[&b"DEL"[..], b"UNLINK"]);
        let key = self.any_key();
        self.main(vec![name.to_vec(), key]);
    }

    fn request(&mut self) {
        let index = if self.values.once_in(3) {
            self.filling[self.values.random.usize(..self.filling.len())]
        } else {
            self.values.random.usize(..self.choices.len())
        };
        let choice = &self.choices[index];
        // Transactions are begun on purpose, mostly.
        if choice.command.group == Group::Transactions && !self.values.once_in(4) {
            return;
        }
        let mut request = self.whole(choice);
        if self.values.once_in(9) {
            self.damage(choice, &mut request);
        }
        if self.values.once_in(20) {
            self.change_case(&mut request);
        }
        self.main(request);
    }

    /// Adds a request of the main client, with what it needs beside it so that replies do not depend on the moment.
    fn main(&mut self, mut request: Words) {
        let pause = tame(&mut request);
        let name = request[0].to_ascii_lowercase();
        match name.as_slice() {
            b"multi" => self.in_transaction = true,
            b"exec" | b"discard" | b"reset" => self.in_transaction = false,
            // Which of several keys serves its clients first is chance when they come all at once.
            b"swapdb" | b"flushdb" | b"flushall" if self.in_transaction => return,
            // Refused there on purpose: it would hold up everybody.
            b"migrate" if self.in_transaction => return,
            // Of a hash whose fields are all over Valkey's copy is an empty hash, which no other command leaves.
            b"copy" if self.has_brief_fields => return,
            b"swapdb" | b"flushdb" | b"flushall" => self.steps.push(Step::Gather),
            // An id of this moment would be: later than every moment, the next one is not.
            b"xadd" if request.iter().any(|word| word == b"*") => {
                let key = request[1].clone();
                let mut first = words("XADD key 99999999999999-0 f v");
                first[1] = key;
                self.steps.push(Step::Main(first));
            }
            // Which expired keys it comes across is chance; a scan comes across all.
            b"randomkey" => self.steps.push(Step::Main(words("SCAN 0 COUNT 100000"))),
            _ => {}
        }
        self.has_brief_fields |= pause && name.starts_with(b"h");
        let takes_any = name == b"spop";
        let keys: Vec<Vec<u8>> =
            if takes_any { request.iter().skip(1).take(1).cloned().collect() } else { Vec::new() };
        self.steps.push(Step::Main(request));
        for key in keys {
            self.steps.push(Step::Main(vec![b"DEL".to_vec(), key]));
        }
        self.owes_pause |= pause;
        if self.owes_pause && !self.in_transaction {
            self.owes_pause = false;
            self.steps.push(Step::Pause);
        }
    }

    /// The full name of a command, any of them.
    pub fn any_command(&mut self) -> String {
        self.choices[self.values.random.usize(..self.choices.len())].full_name.clone()
    }

    /// A request of any command.
    pub fn any_request(&mut self) -> Words {
        let index = self.values.random.usize(..self.choices.len());
        let choice = &self.choices[index];
        let mut request = self.whole(choice);
        if self.values.once_in(9) {
            self.damage(choice, &mut request);
        }
        request
    }

    /// A request as the command's documentation has it, with words as they may be.
    fn whole(&mut self, choice: &Choice) -> Words {
        let mut request: Words =
            choice.full_name.split('|').map(|part| part.to_ascii_uppercase().into_bytes()).collect();
        let family = family(choice.command.group);
        let family = family.unwrap_or_else(|| self.values.pick(&FAMILIES));
        let mut counts = Vec::new();
        self.arguments(choice, family, choice.command.arguments, &mut request, &mut counts);
        request
    }

    fn arguments(
        &mut self,
        choice: &Choice,
        family: &str,
        arguments: &[Arg],
        request: &mut Words,
        counts: &mut Vec<usize>,
    ) {
        // Options are mostly left out: many clash.
        for arg in arguments {
            if arg.optional && self.values.random.u8(..10) < 6 {
                continue;
            }
            let repetitions = if arg.multiple { self.repetitions(choice, arg) } else { 1 };
            for index in 0..repetitions {
                if !arg.token.is_empty() && (index == 0 || arg.multiple_token) {
                    request.push(arg.token.as_bytes().to_vec());
                }
                self.argument(choice, family, arg, request, counts);
            }
            if arg.multiple {
                self.fill_count(repetitions, request, counts);
            }
        }
    }

    fn repetitions(&mut self, choice: &Choice, arg: &Arg) -> usize {
        // Ids and weights are as many as the keys.
        let follows = arg.token == "WEIGHTS" || (arg.name == "id" && choice.full_name.starts_with("xread"));
        if follows && !self.values.once_in(20) {
            return self.repeated;
        }
        let most = if arg.kind == ArgKind::Key || follows { 4 } else { usize::MAX };
        self.repeated = self.values.repetitions().min(most);
        self.repeated
    }

    /// The number before a list is the list's length, mostly.
    fn fill_count(&mut self, repetitions: usize, request: &mut Words, counts: &mut Vec<usize>) {
        let Some(place) = counts.pop() else { return };
        request[place] = if self.values.once_in(25) {
            self.values.integer()
        } else {
            repetitions.to_string().into_bytes()
        };
    }

    fn argument(
        &mut self,
        choice: &Choice,
        family: &str,
        arg: &Arg,
        request: &mut Words,
        counts: &mut Vec<usize>,
    ) {
        match arg.kind {
            ArgKind::OneOf => {
                let chosen = self.values.random.usize(..arg.arguments.len());
                let mut chosen = arg.arguments[chosen];
                chosen.optional = false;
                self.arguments(choice, family, &[chosen], request, counts);
            }
            ArgKind::Block => self.arguments(choice, family, arg.arguments, request, counts),
            ArgKind::PureToken => {
                if arg.token.is_empty() {
                    request.push(Vec::new());
                }
            }
            ArgKind::Integer if matches!(arg.name, "numkeys" | "numfields" | "num-vertices") => {
                counts.push(request.len());
                request.push(b"1".to_vec());
            }
            _ => {
                let word = self.values.argument(&choice.full_name, family, arg);
                request.push(word);
            }
        }
    }

    fn damage(&mut self, choice: &Choice, request: &mut Words) {
        for _ in 0..1 + self.values.random.usize(..2) {
            let place = 1 + self.values.random.usize(..request.len());
            let inner = 1 + self.values.random.usize(..request.len().max(2) - 1);
            match self.values.random.u8(..7) {
                0 if inner < request.len() => {
                    request.remove(inner);
                }
                1 if inner < request.len() => request.insert(inner, request[inner].clone()),
                2 if inner < request.len() => request[inner] = self.values.integer(),
                3 if inner < request.len() => request[inner] = self.values.member(),
                4 => request.push(self.values.member()),
                5 if place <= request.len() => {
                    let token = self.token(choice.command.arguments);
                    request.insert(place, token);
                }
                _ => {
                    let token = self.token(choice.command.arguments);
                    request.push(token);
                }
            }
        }
    }

    /// Any word of the command's options.
    fn token(&mut self, arguments: &[Arg]) -> Vec<u8> {
        let mut tokens = Vec::new();
        collect_tokens(arguments, &mut tokens);
        if tokens.is_empty() { self.values.member() } else { self.values.pick(&tokens).as_bytes().to_vec() }
    }

    fn change_case(&mut self, request: &mut Words) {
        for word in request.iter_mut().filter(|word| word.iter().all(u8::is_ascii_uppercase)) {
            for byte in word {
                if self.values.random.bool() {
                    byte.make_ascii_lowercase();
                }
            }
        }
    }

    /// At the end every key is looked at.
    fn census(&mut self) {
        self.main(words("EXEC"));
        self.main(words("RESET"));
        for database in 0..2 {
            self.main(words(&format!("SELECT {database}")));
            for family in FAMILIES {
                for number in 1..4 {
                    for command in ["TYPE", "OBJECT ENCODING", "TTL", "DUMP"] {
                        self.main(words(&format!("{command} {family}:{number}")));
                    }
                }
            }
            self.main(words("DBSIZE"));
        }
        self.steps.push(Step::Digest);
    }
}

fn collect_tokens(arguments: &[Arg], tokens: &mut Vec<&'static str>) {
    for arg in arguments {
        if !arg.token.is_empty() {
            tokens.push(arg.token);
        }
        collect_tokens(arg.arguments, tokens);
    }
}

/// Whether a setting is what sessions have anyway.
pub fn is_default(setting: &Words) -> bool {
    setting.len() < 4
        || OPTIONS
            .iter()
            .any(|(option, values)| setting[2] == option.as_bytes() && setting[3] == values[0].as_bytes())
        || setting[2] == b"notify-keyspace-events"
}
