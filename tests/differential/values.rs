//! Words for arguments, by what the argument is called and which command it is of: mostly sensible, now and then not.
//!
//! Pools are small, so that commands meet. Nothing is drawn that would make replies depend on the moment: a ttl is far
//! away, over already, or one millisecond with a pause after it; nor anything that costs either server much memory.

use fastrand::Rng;
use weighbridge::server::command::{Arg, ArgKind};

/// Prefixes of keys, one for each kind of value.
pub const FAMILIES: [&str; 9] = ["str", "bit", "hll", "list", "set", "hash", "zset", "geo", "stream"];

/// Values of keys as DUMP wrote them, for RESTORE.
pub struct Values {
    pub random: Rng,
    pub payloads: Vec<Vec<u8>>,
}

const EDGES: [&str; 6] = [
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "4294967296",
    "4611686018427387904",
];
const NO_INTEGERS: [&str; 14] =
    ["", "abc", "1.5", " 1", "1 ", "01", "+1", "0x10", "1e3", "-0", "-", "inf", "--1", "1\0"];
const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "1.5",
    "-2.25",
    "3",
    "10",
    "0.1",
    "1e3",
    "1e-7",
    "3.0",
    "inf",
    "-inf",
    "+inf",
    "1e308",
    "-1e308",
    "123456789012345678",
    "0.30000000000000004",
    "5e-324",
    "17179869184.5",
    "1e17",
    "1e21",
];
const NO_NUMBERS: [&str; 10] = ["nan", "abc", "", " 1", "1 ", "0x1p3", "1e400", "-1e400", "1,5", "infin"];
const OVER: [&str; 4] = ["0", "-1", "-100000", "-9223372036854775808"];
const TOO_FAR: [&str; 5] = [
    "9223372036854775807",
    "9223372036854775",
    "9223372036854775808",
    "9223370000000000",
    "92233720368547758",
];

fn text(word: impl AsRef<str>) -> Vec<u8> {
    word.as_ref().as_bytes().to_vec()
}

impl Values {
    /// Once in so many times.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.random.u32(..times) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.random.usize(..from.len())].clone()
    }

    fn word(&mut self, from: &[&str]) -> Vec<u8> {
        text(self.pick(from))
    }

    /// How often something that may be repeated is.
    pub fn repetitions(&mut self) -> usize {
        match self.random.u16(..600) {
            0 => self.random.usize(500..560),
            1..8 => self.random.usize(100..150),
            8..60 => self.random.usize(8..24),
            60..350 => 1,
            _ => self.random.usize(2..5),
        }
    }

    /// A key that mostly holds what the family is for.
    pub fn key(&mut self, family: &str) -> Vec<u8> {
        let family = if self.once_in(16) { self.pick(&FAMILIES) } else { family };
        match self.random.u8(..100) {
            0 => text(""),
            1 => b"\0\xff\r\nkey\"".to_vec(),
            2 => text("nothing"),
            3 => text(format!("{family}:{}", "long".repeat(70))),
            _ => text(format!("{family}:{}", self.random.u8(1..4))),
        }
    }

    /// A member, field, element or value.
    pub fn member(&mut self) -> Vec<u8> {
        match self.random.u16(..300) {
            0..140 => text(format!("m{}", self.random.u8(..24))),
            140..220 => text(self.random.i8(-8..24).to_string()),
            220..240 => text(self.random.i64(..).to_string()),
            240..250 => self.number(),
            250..255 => text(""),
            255..262 => (0..self.random.u8(1..9)).map(|_| self.random.u8(..)).collect(),
            262..270 => text(format!("{}{}", self.random.u8(..4), "x".repeat(64 + self.random.usize(..3)))),
            270 => text("long".repeat(self.random.usize(10..3000))),
            271..275 => self.word(&EDGES),
            275..280 => text(self.random.i32(..).to_string()),
            _ => text(self.pick(&["a", "b", "c", "field", "1.50", "0"])),
        }
    }

    pub fn integer(&mut self) -> Vec<u8> {
        match self.random.u8(..40) {
            0 => self.word(&NO_INTEGERS),
            1 => self.word(&EDGES),
            2..5 => text(self.random.i16(-40..400).to_string()),
            5..9 => text((-self.random.i8(0..6)).to_string()),
            _ => text(self.random.u8(..8).to_string()),
        }
    }

    pub fn number(&mut self) -> Vec<u8> {
        match self.random.u8(..40) {
            0 => self.word(&NO_NUMBERS),
            1..8 => self.word(&NUMBERS),
            8..12 => text((f64::from(self.random.i32(-10_000..10_000)) / 7.0).to_string()),
            _ => text(self.random.i8(-6..12).to_string()),
        }
    }

    /// A ttl or point in time.
    pub fn time(&mut self, name: &str) -> Vec<u8> {
        let is_relative = !name.starts_with("unix") && name != "absolute";
        match self.random.u8(..40) {
            0 => self.word(&NO_INTEGERS),
            1 => self.word(&TOO_FAR),
            2..5 => self.word(&OVER),
            5..8 if is_relative && name != "seconds" => text("1"),
            5..8 if !is_relative => text("1500000000"),
            // No two alike, or which is later would depend on the moment.
            _ if is_relative => text(self.random.u64(100_000..100_000_000_000).to_string()),
            _ if name.contains("milli") => text(format!("9{:0>12}", self.random.u32(..))),
            _ => text(format!("9{:0>10}", self.random.u32(..1000))),
        }
    }

    pub fn stream_id(&mut self) -> Vec<u8> {
        match self.random.u8(..40) {
            0 => self.word(&["0-0", "abc", "", "1-", "-1", "1-1-1", "1-a", "18446744073709551616-1"]),
            1 => self.word(&["18446744073709551615-18446744073709551615", "99999999999999-5", "0-1"]),
            2..6 => self.word(&["-", "+", "0", "$", ">", "*", "(3-0", "(0-0"]),
            6..10 => text(self.random.u8(..40).to_string()),
            _ => text(format!("{}-{}", self.random.u8(..40), self.random.u8(..3))),
        }
    }

    fn new_stream_id(&mut self) -> Vec<u8> {
        match self.random.u8(..12) {
            0 => self.stream_id(),
            1 => text(format!("{}-*", self.random.u8(..80))),
            _ => text(format!("{}-{}", self.random.u8(1..80), self.random.u8(..4))),
        }
    }

    fn score_bound(&mut self) -> Vec<u8> {
        match self.random.u8(..12) {
            0 => text("-inf"),
            1 => text("+inf"),
            2 => self.word(&["(inf", "(-inf", "((1", "(", "(abc", "(nan", "[1", "-", "+"]),
            3..6 => [b"(".as_slice(), &self.number()].concat(),
            _ => self.number(),
        }
    }

    fn word_bound(&mut self) -> Vec<u8> {
        match self.random.u8(..12) {
            0 | 1 => text("-"),
            2 | 3 => text("+"),
            4 => self.word(&["abc", "", "++", "--", "(", "["]),
            5..8 => [b"(".as_slice(), &self.member()].concat(),
            _ => [b"[".as_slice(), &self.member()].concat(),
        }
    }

    fn bound(&mut self, command: &str) -> Vec<u8> {
        match command {
            "zrange" | "zrangestore" => match self.random.u8(..3) {
                0 => self.integer(),
                1 => self.score_bound(),
                _ => self.word_bound(),
            },
            _ if command.contains("lex") => self.word_bound(),
            _ if command.starts_with('z') && (command.contains("score") || command == "zcount") => {
                self.score_bound()
            }
            _ if command.starts_with('x') => self.stream_id(),
            _ => self.integer(),
        }
    }

    fn pattern(&mut self) -> Vec<u8> {
        match self.random.u8(..10) {
            0 => text("*"),
            1 => text("?*"),
            2 => text("[a-m]*"),
            3 => self.word(&["[", "\\", "[^", "[a-", "m\\*", "**a", "#", "#*"]),
            4 => self.word(&["str:*", "hash:*->m1", "hash:1->*", "str:*->", "list:*", "nosort", "zset:*"]),
            5 => text(format!("*{}*", self.random.u8(..10))),
            6 => self.member(),
            7 => text("#"),
            _ => text(format!("{}:*", self.pick(&FAMILIES))),
        }
    }

    fn offset(&mut self, command: &str) -> Vec<u8> {
        match self.random.u8(..60) {
            0 if command.starts_with("bitfield") => self.word(&["#", "#-1", "#abc", "#9223372036854775807"]),
            1..12 if command.starts_with("bitfield") => text(format!("#{}", self.random.u8(..20))),
            12 => text(self.random.u32(..70_000).to_string()),
            13..20 => text(self.random.u16(..1000).to_string()),
            20..22 => self.word(&EDGES),
            22 => self.word(&NO_INTEGERS),
            23 => text("-1"),
            _ => text(self.random.u8(..64).to_string()),
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        if self.payloads.is_empty() || self.once_in(20) {
            return self.member();
        }
        let chosen = self.random.usize(..self.payloads.len());
        let mut payload = self.payloads[chosen].clone();
        if self.once_in(8) {
            let at = self.random.usize(..payload.len());
            payload[at] ^= 1 << self.random.u8(..8);
        }
        payload
    }

    fn degrees(&mut self, most: f64) -> Vec<u8> {
        match self.random.u8(..40) {
            0 => self.number(),
            1 => {
                self.word(&["180", "-180", "85.05112878", "-85.05112878", "180.0000001", "-85.06", "91", "0"])
            }
            2..10 => text(format!("{:.3}", self.random.f64() * 4.0)),
            _ => text(format!("{:.6}", (self.random.f64() * 2.0 - 1.0) * most)),
        }
    }

    /// A word for this argument of this command of this family.
    pub fn argument(&mut self, command: &str, family: &str, arg: &Arg) -> Vec<u8> {
        match (arg.kind, arg.name) {
            (ArgKind::Key, _) => self.key(family),
            (ArgKind::Pattern, _) => self.pattern(),
            (ArgKind::UnixTime, name) => self.time(name),
            (ArgKind::Integer, "seconds" | "milliseconds" | "ttl")
                if command != "restore" || arg.name == "ttl" =>
            {
                self.time(arg.name)
            }
            (ArgKind::Integer, "offset") => self.offset(command),
            (ArgKind::Integer, "cursor") if !self.once_in(12) => text("0"),
            (ArgKind::Integer, "count") if command.ends_with("scan") && !self.once_in(8) => text("100000"),
            (ArgKind::Integer, "bit") => self.word(&["0", "1", "1", "1", "1", "0", "2", "-1", "a"]),
            (ArgKind::Integer, _) => self.integer(),
            (ArgKind::Double, "longitude") => self.degrees(180.0),
            (ArgKind::Double, "latitude") => self.degrees(85.0),
            (ArgKind::Double, "radius" | "width" | "height") => match self.random.u8(..10) {
                0 => self.number(),
                1 => text("0"),
                _ => text(self.random.u32(..20_000_000).to_string()),
            },
            (ArgKind::Double, _) => self.number(),
            (_, name) => self.named(command, name),
        }
    }

    fn named(&mut self, command: &str, name: &str) -> Vec<u8> {
        match name {
            "start" | "stop" | "end" | "min" | "max" => self.bound(command),
            "group" => self.word(&["g1", "g1", "g2", "g2", "nogroup"]),
            "consumer" => self.word(&["c1", "c2", "c3"]),
            "min-idle-time" => self.word(&["0", "0", "0", "0", "0", "1000000000000", "-1", "a"]),
            "id" if command == "xadd" => self.new_stream_id(),
            "id" | "lastid" | "last-id" | "max-deleted-id" => self.stream_id(),
            "threshold" => self.word(&["0", "1", "3", "10", "100", "5-0", "20-1", "-1", "a", "1-"]),
            "encoding" => self.word(&[
                "u8", "i8", "u1", "i1", "u16", "i16", "i64", "u63", "u64", "i65", "u0", "i5", "u7", "x8",
                "u", "8",
            ]),
            "channel" | "shardchannel" => self.word(&["ch:1", "ch:2", "news", "ch:1", ""]),
            "type" => self.word(&["string", "list", "set", "zset", "hash", "stream", "none", "STRING"]),
            "serialized-value" => self.payload(),
            "subcommand" if command == "pfdebug" => {
                self.word(&["getreg", "decode", "encoding", "todense", "simulate"])
            }
            "value" if command == "setbit" => self.word(&["0", "1", "1", "2"]),
            "increment" | "decrement" if command.contains("float") || command.starts_with('z') => {
                self.number()
            }
            "increment" | "decrement" => self.integer(),
            _ => self.member(),
        }
    }
}
