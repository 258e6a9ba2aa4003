//! Random requests from templates: words of a template that begin with a mark are replaced, the others stay.
//!
//! `$k` a key of the family, `$K` a key of any family, `$b` one of many keys, `$v` a value, `$f` a member or field,
//! `$s` one that is always short, `$i` an integer, `$d` a number, `$n` a count, `$x` an index, `$t` a time to live in
//! seconds, `$m` one in milliseconds, `$e` a stream id;
//! `*$f,$v` is such a group once or more often, `#$f` the number of them first.
#![allow(dead_code, unreachable_pub, missing_docs)]

/// A request as its words.
pub type Request = Vec<Vec<u8>>;

/// Draws requests; the same seed draws the same ones.
pub struct Requests {
    pub random: fastrand::Rng,
    /// Prefixes of keys, one for each family.
    families: &'static [&'static str],
}

/// Keys of a family.
const KEYS: usize = 4;
/// Keys of no family.
const MANY_KEYS: usize = 4000;
/// Members and fields that are drawn from.
const MEMBERS: usize = 900;

impl Requests {
    pub fn new(seed: u64, families: &'static [&'static str]) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), families }
    }

    /// A request of the family after this template.
    pub fn draw(&mut self, family: &str, template: &str) -> Request {
        let mut request = Request::new();
        for word in template.split_whitespace() {
            match word.as_bytes() {
                [b'*', _, ..] => {
                    let count = self.repetitions();
                    self.group(family, &word[1..], count, &mut request);
                }
                [b'#', _, ..] => {
                    let count = self.repetitions();
                    request.push(count.to_string().into_bytes());
                    self.group(family, &word[1..], count, &mut request);
                }
                _ => request.push(self.word(family, word)),
            }
        }
        request
    }

    fn group(&mut self, family: &str, group: &str, count: usize, request: &mut Request) {
        for _ in 0..count {
            for word in group.split(',') {
                let word = self.word(family, word);
                request.push(word);
            }
        }
    }

    /// Mostly few, now and then enough to cross a threshold at once.
    fn repetitions(&mut self) -> usize {
        match self.random.u8(..40) {
            0 => self.random.usize(500..620),
            1 | 2 => self.random.usize(100..180),
            3..10 => self.random.usize(8..24),
            _ => self.random.usize(1..6),
        }
    }

    fn word(&mut self, family: &str, word: &str) -> Vec<u8> {
        let text = match word {
            "$k" => return self.key(family),
            "$K" => {
                let family = self.families[self.random.usize(..self.families.len())];
                return self.key(family);
            }
            "$v" => return self.value(),
            "$f" => return self.member(),
            "$b" => self.random.usize(..MANY_KEYS).to_string(),
            "$s" => format!("s{}", self.random.usize(..MEMBERS)),
            "$i" => return self.integer(),
            "$d" => self.number(),
            "$n" => self.random.u8(..16).to_string(),
            "$x" => self.random.i32(-30..60).to_string(),
            "$t" => self.random.u32(1..60).to_string(),
            "$m" => self.random.u32(1..60_000).to_string(),
            "$e" => format!("{}-{}", self.random.u32(1..4000), self.random.u8(..3)),
            literal => literal.to_owned(),
        };
        text.into_bytes()
    }

    /// Short keys, and one beyond what a byte says the length of.
    fn key(&mut self, family: &str) -> Vec<u8> {
        match self.random.usize(..KEYS) {
            0 => format!("{family}:{}", "long".repeat(70)).into_bytes(),
            number => format!("{family}:{}", "k".repeat(number * number * 3)).into_bytes(),
        }
    }

    /// A member that was or will be drawn again: short, an integer, or one too long for a listpack.
    fn member(&mut self) -> Vec<u8> {
        let number = self.random.usize(..MEMBERS);
        match number % 16 {
            0 => format!("{number}:{}", "member".repeat(number % 90)),
            1..6 => number.to_string(),
            _ => format!("member:{number}"),
        }
        .into_bytes()
    }

    fn integer(&mut self) -> Vec<u8> {
        let shift = self.random.u32(1..64);
        (self.random.i64(..) >> shift).to_string().into_bytes()
    }

    fn number(&mut self) -> String {
        match self.random.u8(..8) {
            0 => "-inf".to_owned(),
            1 => self.random.i32(-1000..1000).to_string(),
            _ => (f64::from(self.random.i32(-10_000..10_000)) / 7.0).to_string(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.u8(..64) {
            0 => self.random.usize(1000..20_000),
            1..4 => self.random.usize(60..300),
            _ => self.random.usize(..40),
        };
        match self.random.u8(..4) {
            0 => self.integer(),
            1 => (0..length).map(|_| self.random.u8(..)).collect(),
            _ => (0..length).map(|_| self.random.u8(b'a'..=b'z')).collect(),
        }
    }
}
