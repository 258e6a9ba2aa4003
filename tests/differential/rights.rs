//! Random users: rules of every kind, right and wrong, what is shown of them, and what they would be allowed to do.

use weighbridge::commands;
use weighbridge::server::command::category;

use super::link::{Words, words};
use super::session::{Choice, Generator, Session};
use super::stage::Step;

/// Users of one session.
const USERS: usize = 12;
/// Requests that each is asked about.
const REQUESTS: usize = 30;

/// Rules that are what they are.
const FIXED: [&str; 34] = [
    "on",
    "off",
    "nopass",
    "resetpass",
    ">secret",
    ">other",
    "<secret",
    "!2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    "#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    "#2BB80D",
    "allkeys",
    "resetkeys",
    "allchannels",
    "resetchannels",
    "alldbs",
    "resetdbs",
    "db=0",
    "db=1,3,1",
    "db=",
    "db=0,x",
    "db=2147483648",
    "db= 7",
    "+@all",
    "-@all",
    "ALLCOMMANDS",
    "nocommands",
    "reset",
    "clearselectors",
    "sanitize-payload",
    "nonsense",
    "+",
    "-@",
    "&ch:*",
    "&",
];

/// What stands before a pattern of keys.
const ACCESS: [&str; 8] = ["~", "~", "%R~", "%W~", "%RW~", "%rw~", "%RR~", "%~"];
const PATTERNS: [&str; 10] =
    ["*", "str:*", "hash:?", "zset:1", "stream:[1-2]", "", "list:*", "m*", "bit:*", "set:*"];
const ARGUMENTS: [&str; 5] = ["get", "0", "nothing", "get|x", ""];

/// Every command that there is on both sides, by name.
pub fn every_command() -> Vec<Choice> {
    let table = commands::table();
    let mut choices: Vec<Choice> = table
        .every()
        .filter(|entry| entry.subcommands.is_empty())
        .map(|entry| Choice { full_name: entry.full_name.clone(), command: entry.command })
        .collect();
    choices.sort_by(|one, other| one.full_name.cmp(&other.full_name));
    choices
}

fn rule(generator: &mut Generator<'_>) -> String {
    let values = &mut generator.values;
    let sign = values.pick(&["+", "-"]);
    let (_, category) = values.pick(category::NAMES);
    match values.random.u8(..20) {
        0..4 => values.pick(&FIXED).to_owned(),
        4..9 => format!("{sign}@{category}"),
        9..12 => format!("{}{}", values.pick(&ACCESS), values.pick(&PATTERNS)),
        12 => format!("&{}", values.pick(&PATTERNS)),
        13 => {
            let argument = values.pick(&ARGUMENTS);
            format!("{sign}{}|{argument}", generator.any_command().split('|').next().unwrap_or_default())
        }
        14 => {
            let rules: Vec<String> =
                (0..generator.values.random.usize(..5)).map(|_| rule(generator)).collect();
            format!("({})", rules.join(" "))
        }
        _ => {
            let name = generator.any_command();
            let name = if generator.values.once_in(4) { name.to_ascii_uppercase() } else { name };
            format!("{sign}{name}")
        }
    }
}

/// A session about users.
pub fn session(mut generator: Generator<'_>) -> Session {
    let mut steps = Vec::new();
    let mut ask = |request: Words| steps.push(Step::Main(request));
    for _ in 0..USERS {
        let user = format!("user{}", generator.values.random.u8(..3));
        // Several at once only rarely: one that is wrong makes all of them void.
        for _ in 0..generator.values.random.usize(1..12) {
            let mut request = words(&format!("ACL SETUSER {user}"));
            let count = if generator.values.once_in(5) { 3 } else { 1 };
            request.extend((0..count).map(|_| rule(&mut generator).into_bytes()));
            ask(request);
        }
        ask(words(&format!("ACL GETUSER {user}")));
        ask(words("ACL LIST"));
        for _ in 0..REQUESTS {
            let mut request = words(&format!("ACL DRYRUN {user}"));
            request.extend(generator.any_request());
            ask(request);
        }
        if generator.values.once_in(3) {
            ask(words(&format!("ACL DELUSER {user}")));
        }
    }
    ask(words("ACL DELUSER user0 user1 user2"));
    Session { settings: vec![words("FLUSHALL")], steps }
}
