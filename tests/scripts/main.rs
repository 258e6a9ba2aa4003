//! The same random scripts on this server and on the real Valkey: calls of every library function with good and bad
//! arguments, programs of the language, and texts that are none. No reply may differ, error texts included.
//! `SCRIPTS=n SEED=s` says how many, and from which seed. A difference is shrunk to the lines that it takes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, unreachable_pub, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod programs;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use support::Server;
use support::reply::Conversation;

/// Scripts of `cargo test`.
const USUAL: u64 = 600;
/// Calls in one script.
const CALLS: usize = 6;
/// Differences after which a run ends.
const ENOUGH: usize = 12;

/// What every script begins with: `R` notes values, tables in the order of their keys if that is known (keys that are
/// objects go by their addresses), `X` keeps texts short. One line, so that others count from 2.
const PROLOGUE: &str = "local out, T, G = {}, {k = 1, 'one'}, 5 \
    local function D(v, d) local t = type(v) \
    if t == 'number' then return 'n:' .. string.format('%.17g', v) elseif t == 'string' then return 's:' .. v \
    elseif t == 'boolean' or t == 'nil' then return tostring(v) elseif t ~= 'table' then return t elseif d > 4 then return '{..}' end \
    local k, u = {}, false for a, b in next, v do local y = type(a) \
    u = u or y ~= 'string' and y ~= 'number' and y ~= 'boolean' k[#k + 1] = D(a, d + 1) .. '=' .. D(b, d + 1) end \
    if u then table.sort(k) end return '{' .. table.concat(k, ' ') .. '}' end \
    local function R(...) for i = 1, select('#', ...) do out[#out + 1] = D((select(i, ...)), 0) end out[#out + 1] = ';' end \
    local function Q(...) for i = 1, select('#', ...) do out[#out + 1] = type((select(i, ...))) end end \
    local function X(v) if type(v) == 'string' and #v > 60 then return v:sub(1, 60) end return v end\n";

/// A script as parts that can be left out.
struct Script {
    parts: Vec<String>,
    ends_with_notes: bool,
    resp3: bool,
}

impl Script {
    fn source(&self) -> String {
        let end = if self.ends_with_notes { "return out" } else { "" };
        format!("{PROLOGUE}{}\n{end}", self.parts.join("\n"))
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Calls of library functions, each caught.
fn script_of_calls(random: &mut Rng, number: u64) -> Script {
    let mut parts = Vec::new();
    for index in 0..CALLS {
        // Each function comes in turn, so that none is left out.
        let function = (number as usize * CALLS + index) % calls::FUNCTIONS.len();
        let call = calls::call(random, function);
        let note = if calls::INCOMPARABLE.contains(&calls::FUNCTIONS[function].0) { "Q" } else { "R" };
        parts.push(format!("{note}(pcall(function() return {call} end))"));
    }
    Script { parts, ends_with_notes: true, resp3: false }
}

/// One value that goes out as a reply, or one error that nothing catches.
fn script_of_reply(random: &mut Rng) -> Script {
    let value = match random.u8(..4) {
        0 => {
            let commands: Vec<usize> =
                (0..calls::FUNCTIONS.len()).filter(|place| calls::FUNCTIONS[*place].1 == "C").collect();
            let place = commands[random.usize(..commands.len())];
            calls::call(random, place)
        }
        1 => {
            let name = ["ok", "err", "double", "big_number", "map", "set"][random.usize(..6)];
            format!("{{{name}={}}}", calls::value(random, 1))
        }
        2 => {
            format!("{{{},{},{}}}", calls::value(random, 1), calls::value(random, 1), calls::value(random, 1))
        }
        _ => calls::value(random, 0),
    };
    let resp = ["", "redis.setresp(3)", "redis.setresp(2)"][random.usize(..3)];
    let parts = vec![resp.to_owned(), format!("return {value}")];
    Script { parts, ends_with_notes: false, resp3: random.bool() }
}

fn script_of_program(random: &mut Rng) -> Script {
    let parts = programs::program(random).lines().map(str::to_owned).collect();
    Script { parts, ends_with_notes: true, resp3: false }
}

/// A program some of whose words are not where they should be.
fn broken_script(random: &mut Rng) -> Script {
    const WORDS: &[&str] = &[
        "end", "then", "do", "local", "function", "return", "=", "==", "(", ")", "{", "}", "[", "]", "..",
        "...", ",", ";", "'", "\"", "0x", "1e", "1..2", "[[", "--[[", "]]", "~", "~=", "not", "nil", "break",
        "goto", "until", "in", "for", "'\\q'", "'\\300'", "@", "\\", "\u{e9}", ":", "#", "elseif",
    ];
    let source = programs::program(random);
    let mut words: Vec<String> = source.split(' ').map(str::to_owned).collect();
    for _ in 0..random.usize(1..3) {
        let place = random.usize(..words.len());
        match random.u8(..3) {
            0 => words[place] = WORDS[random.usize(..WORDS.len())].to_owned(),
            1 => words.insert(place, WORDS[random.usize(..WORDS.len())].to_owned()),
            _ => words[place].clear(),
        }
    }
    let parts = words.join(" ").lines().map(str::to_owned).collect();
    Script { parts, ends_with_notes: true, resp3: false }
}

fn draw(seed: u64) -> Script {
    let mut random = Rng::with_seed(seed);
    match seed % 8 {
        0..=3 => script_of_calls(&mut random, seed / 8 * 4 + seed % 4),
        4 => script_of_reply(&mut random),
        7 => broken_script(&mut random),
        _ => script_of_program(&mut random),
    }
}

/// Takes addresses out, which say where an object is.
fn without_addresses(reply: &str) -> String {
    let mut text = String::new();
    let mut rest = reply;
    while let Some(at) = rest.find(": 0x") {
        let (before, after) = rest.split_at(at + 4);
        text += before;
        rest = after.trim_start_matches(|letter: char| letter.is_ascii_hexdigit());
    }
    text + rest
}

struct Pair {
    /// Ended with the test.
    _servers: [Server; 2],
    links: [Conversation; 2],
}

impl Pair {
    fn start() -> Option<Self> {
        let arguments = ["--enable-protected-configs", "yes"];
        let theirs = Server::start_valkey(&arguments)?;
        let servers = [Server::start(&arguments), theirs];
        let links = [Conversation::open(&servers[0]), Conversation::open(&servers[1])];
        Some(Self { _servers: servers, links })
    }

    /// What both reply to a script, from the same beginning.
    fn replies(&mut self, script: &Script) -> [String; 2] {
        let source = script.source();
        let hello = if script.resp3 { "3" } else { "2" };
        for link in &mut self.links {
            link.send(&["FLUSHALL"]);
            // What scripts set of cjson lives as long as the interpreter.
            link.send(&["SCRIPT", "FLUSH"]);
            link.send(&["HELLO", hello]);
            link.send(&["EVAL", &source, "1", "key", "1", "two"]);
        }
        self.links.each_mut().map(|link| {
            for _ in 0..3 {
                link.read();
            }
            // Which sign a result has that is no number is the compiler's choice.
            without_addresses(&link.read()).replace("-nan", "nan")
        })
    }

    fn differ(&mut self, script: &Script) -> Option<[String; 2]> {
        let replies = self.replies(script);
        // Lua's own sources refuse long strings within long strings, as this server does; some builds of it do not.
        let is_known = replies[0].contains("nesting of [[...]] is deprecated");
        (replies[0] != replies[1] && !is_known).then_some(replies)
    }

    /// The fewest parts that still make a difference.
    fn shrunk(&mut self, mut script: Script) -> (Script, [String; 2]) {
        let mut replies = self.replies(&script);
        let mut place = 0;
        while place < script.parts.len() {
            let part = script.parts.remove(place);
            match self.differ(&script) {
                // A difference between two errors of what is left is another one.
                Some(found) if found[0].starts_with("(error)") == replies[0].starts_with("(error)") => {
                    replies = found
                }
                _ => {
                    script.parts.insert(place, part);
                    place += 1;
                }
            }
        }
        (script, replies)
    }
}

/// Where two texts differ first, with what stands around.
fn excerpt(replies: &[String; 2]) -> String {
    let same = replies[0].bytes().zip(replies[1].bytes()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| {
        let bytes = text.as_bytes();
        let part = &bytes[same.saturating_sub(60).min(bytes.len())..(same + 120).min(bytes.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    format!("ours:   {}\nvalkey: {}", around(&replies[0]), around(&replies[1]))
}

#[test]
fn no_random_script_tells_this_server_from_valkey() {
    let Some(mut pair) = Pair::start() else { return };
    let (seed, scripts) = (from_environment("SEED", 1), from_environment("SCRIPTS", USUAL));
    let mut found = BTreeMap::new();
    for seed in seed..seed + scripts {
        if pair.differ(&draw(seed)).is_none() {
            continue;
        }
        let (script, replies) = pair.shrunk(draw(seed));
        let text = format!("SEED={seed} SCRIPTS=1\n{}\n{}\n", script.parts.join("\n"), excerpt(&replies));
        eprintln!("{text}");
        found.insert(seed, text);
        if found.len() >= ENOUGH {
            break;
        }
    }
    assert!(found.is_empty(), "{} differences", found.len());
}

#[test]
fn every_library_function_is_called() {
    let Some(mut pair) = Pair::start() else { return };
    let source = "local names = {} for name, value in pairs(_G) do \
        if type(value) == 'function' then names[#names + 1] = name \
        elseif type(value) == 'table' and name ~= '_G' then for inner, value in pairs(value) do \
        if type(value) == 'function' then names[#names + 1] = name .. '.' .. inner end end end end return names";
    let called: BTreeSet<&str> = calls::FUNCTIONS.iter().map(|(name, _)| *name).collect();
    for link in &mut pair.links {
        link.send(&["EVAL", source, "0"]);
        let reply = link.read();
        let names: BTreeSet<&str> =
            reply.lines().filter_map(|line| Some(line.split_once('"')?.1.trim_end_matches('"'))).collect();
        assert!(names.len() > 100, "{reply}");
        let missing: Vec<_> = names.difference(&called).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// Every table that scripts are given, in the order of its traversal.
const TABLES: &str = "local out = {} for _, name in ipairs{'_G', 'redis', 'server', 'string', 'table', 'math', 'os', \
    'bit', 'cjson', 'cmsgpack', 'struct', 'coroutine'} do for key, value in pairs(_G[name]) do \
    out[#out + 1] = name .. '.' .. key .. ' ' .. type(value) end end \
    for key in pairs(cjson.new()) do out[#out + 1] = key end return out";

#[test]
fn the_tables_that_scripts_are_given_are_traversed_in_valkeys_order() {
    let Some(mut pair) = Pair::start() else { return };
    // While a library is loaded it has no `pairs`.
    let library = "#!lua name=order\nlocal server = redis redis.register_function('order', function() local out = {} \
        for key in pairs(server) do out[#out + 1] = key end \
        for _, name in ipairs{'_G', 'redis', 'server'} do for key in pairs(_G[name]) do out[#out + 1] = key end end \
        return out end)";
    for link in &mut pair.links {
        link.send(&["FUNCTION", "LOAD", library]);
        assert_eq!(link.read(), "\"order\"\n");
    }
    let requests: [&[&str]; 3] =
        [&["EVAL", TABLES, "0"], &["EVAL", TABLES, "1", "key", "value"], &["FCALL", "order", "0"]];
    for request in requests {
        let [ours, theirs] = pair.links.each_mut().map(|link| {
            link.send(request);
            link.read()
        });
        assert!(ours.lines().count() > 30, "{ours}");
        assert_eq!(ours, theirs);
    }
    let [ours, theirs] = pair.links.each_mut().map(|link| {
        link.ask("CONFIG SET lua-enable-insecure-api yes");
        link.send(&["EVAL", TABLES, "0"]);
        link.read()
    });
    assert!(ours.contains("_G.setfenv function") && ours.contains("_G.newproxy function"), "{ours}");
    assert_eq!(ours, theirs);
}
