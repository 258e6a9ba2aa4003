//! The patterns of Lua, matched without recursion: choices that may be taken back are kept in a list, at most one for
//! each place of the pattern, so that a match can be left and taken up again however long it takes.

/// Captures of a pattern (Lua: `LUA_MAXCAPTURES`).
const CAPTURES_MAX: usize = 32;

/// Steps between two looks at whether others should run.
const SLICE: usize = 100_000;

/// A part of the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    /// From, to.
    Part(usize, usize),
    /// `()`: a place.
    Place(usize),
    /// Not closed yet.
    Open(usize),
}

/// What to do when the rest of the pattern does not match.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// One item less: from `start`, so many were taken, and the pattern goes on at `next`.
    Fewer { start: usize, count: usize, next: usize },
    /// One item more.
    More { at: usize, item: usize, end: usize },
    /// The item was optional.
    Without { at: usize, next: usize },
    /// A capture was begun.
    Unopen,
    /// A capture was closed.
    Unclose { capture: usize, start: usize },
}

/// How far a match got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It matches up to there.
    Match(usize),
    NoMatch,
    /// It takes long: others may run first.
    Slow,
}

type Step<T> = Result<T, &'static str>;

/// A match under way.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    pub captures: Vec<Capture>,
    choices: Vec<Choice>,
    at: usize,
    place: usize,
    /// Characters that the item at `place` has taken so far, when others were to run before it had enough.
    counted: usize,
    /// Steps of the last run.
    pub work: usize,
}

impl Matcher {
    /// Begins at a place of the subject.
    pub(super) fn begin(&mut self, at: usize) {
        self.captures.clear();
        self.choices.clear();
        self.at = at;
        self.place = 0;
        self.counted = 0;
    }

    /// Goes on matching.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(super) fn run(&mut self, subject: &[u8], pattern: &[u8]) -> Step<Progress> {
        let mut match_ = Match { subject, pattern, state: self, work: 0 };
        let progress = match_.run();
        self.work = match_.work;
        progress
    }
}

struct Match<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    state: &'a mut Matcher,
    work: usize,
}

impl Match<'_> {
    fn run(&mut self) -> Step<Progress> {
        loop {
            self.work += 1;
            if self.work > SLICE {
                return Ok(Progress::Slow);
            }
            let Some(sign) = self.pattern.get(self.state.place).copied() else {
                return Ok(Progress::Match(self.state.at));
            };
            if !self.step(sign)? && !self.step_back() {
                return Ok(Progress::NoMatch);
            }
        }
    }

    fn pattern_at(&self, offset: usize) -> Option<u8> {
        self.pattern.get(self.state.place + offset).copied()
    }

    /// Matches one item; says whether it did.
    fn step(&mut self, sign: u8) -> Step<bool> {
        match (sign, self.pattern_at(1)) {
            (b'(', Some(b')')) => self.open(Capture::Place(self.state.at), 2),
            (b'(', _) => self.open(Capture::Open(self.state.at), 1),
            (b')', _) => self.close(),
            (b'$', None) => {
                self.state.place += 1;
                Ok(self.state.at == self.subject.len())
            }
            (b'%', Some(b'b')) => self.balanced(),
            (b'%', Some(b'f')) => self.frontier(),
            (b'%', Some(digit @ b'0'..=b'9')) => self.repeated(digit),
            _ => self.item(),
        }
    }

    fn open(&mut self, capture: Capture, signs: usize) -> Step<bool> {
        if self.state.captures.len() >= CAPTURES_MAX {
            return Err("too many captures");
        }
        self.state.captures.push(capture);
        self.state.choices.push(Choice::Unopen);
        self.state.place += signs;
        Ok(true)
    }

    fn close(&mut self) -> Step<bool> {
        let captures = &mut self.state.captures;
        let Some((capture, start)) =
            captures.iter().enumerate().rev().find_map(|(index, capture)| match capture {
                Capture::Open(start) => Some((index, *start)),
                _ => None,
            })
        else {
            return Err("invalid pattern capture");
        };
        captures[capture] = Capture::Part(start, self.state.at);
        self.state.choices.push(Choice::Unclose { capture, start });
        self.state.place += 1;
        Ok(true)
    }

    fn balanced(&mut self) -> Step<bool> {
        let (Some(open), Some(close)) = (self.pattern_at(2), self.pattern_at(3)) else {
            return Err("unbalanced pattern");
        };
        let Some(rest) = self.subject.get(self.state.at..).filter(|rest| rest.first() == Some(&open)) else {
            return Ok(false);
        };
        let mut depth = 1_usize;
        for (offset, byte) in rest.iter().enumerate().skip(1) {
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    self.work += offset / 16;
                    self.state.at += offset + 1;
                    self.state.place += 4;
                    return Ok(true);
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        self.work += rest.len() / 16;
        Ok(false)
    }

    fn frontier(&mut self) -> Step<bool> {
        self.state.place += 2;
        let place = self.state.place;
        if self.pattern.get(place) != Some(&b'[') {
            return Err("missing '[' after '%f' in pattern");
        }
        let end = self.item_end(place)?;
        let before = self.state.at.checked_sub(1).and_then(|at| self.subject.get(at)).copied().unwrap_or(0);
        let here = self.subject.get(self.state.at).copied().unwrap_or(0);
        let matches = !self.in_set(before, place, end) && self.in_set(here, place, end);
        self.state.place = end;
        Ok(matches)
    }

    /// `%1`: what a capture has matched.
    fn repeated(&mut self, digit: u8) -> Step<bool> {
        let capture = usize::from(digit).checked_sub(usize::from(b'1'));
        let part = match capture.and_then(|index| self.state.captures.get(index)) {
            Some(Capture::Part(start, end)) => &self.subject[*start..*end],
            // A place has no text; in C its length is taken for a huge one.
            Some(Capture::Place(_)) => return Ok(false),
            _ => return Err("invalid capture index"),
        };
        let matches = self.subject[self.state.at..].starts_with(part);
        self.work += part.len() / 16;
        self.state.at += part.len();
        self.state.place += 2;
        Ok(matches)
    }

    /// A single character, with what says how often.
    fn item(&mut self) -> Step<bool> {
        let (at, item) = (self.state.at, self.state.place);
        let end = self.item_end(item)?;
        let matches = self.matches_one(at, item, end);
        match self.pattern.get(end) {
            Some(b'?') => {
                if matches {
                    self.state.choices.push(Choice::Without { at, next: end + 1 });
                    self.state.at += 1;
                }
                self.state.place = end + 1;
                Ok(true)
            }
            Some(b'*') => Ok(self.most(at, item, end)),
            Some(b'+') => Ok(matches && self.most(at + 1, item, end)),
            Some(b'-') => {
                self.state.choices.push(Choice::More { at, item, end });
                self.state.place = end + 1;
                Ok(true)
            }
            _ => {
                self.state.at += 1;
                self.state.place = end;
                Ok(matches)
            }
        }
    }

    fn most(&mut self, start: usize, item: usize, end: usize) -> bool {
        let mut count = std::mem::take(&mut self.state.counted);
        while self.matches_one(start + count, item, end) {
            count += 1;
            self.work += usize::from(count.is_multiple_of(4));
            if self.work > SLICE {
                // The item is come back to.
                self.state.counted = count;
                return true;
            }
        }
        self.state.choices.push(Choice::Fewer { start, count, next: end + 1 });
        self.state.at = start + count;
        self.state.place = end + 1;
        true
    }

    /// Takes the last choice back for another one; false when there is none left.
    fn step_back(&mut self) -> bool {
        while let Some(choice) = self.state.choices.pop() {
            match choice {
                Choice::Fewer { start, count, next } => {
                    if let Some(count) = count.checked_sub(1) {
                        self.state.choices.push(Choice::Fewer { start, count, next });
                        self.state.at = start + count;
                        self.state.place = next;
                        return true;
                    }
                }
                Choice::More { at, item, end } => {
                    if self.matches_one(at, item, end) {
                        self.state.choices.push(Choice::More { at: at + 1, item, end });
                        self.state.at = at + 1;
                        self.state.place = end + 1;
                        return true;
                    }
                }
                Choice::Without { at, next } => {
                    self.state.at = at;
                    self.state.place = next;
                    return true;
                }
                Choice::Unopen => {
                    self.state.captures.pop();
                }
                Choice::Unclose { capture, start } => {
                    if let Some(closed) = self.state.captures.get_mut(capture) {
                        *closed = Capture::Open(start);
                    }
                }
            }
        }
        false
    }

    /// Where the item that begins at a place of the pattern ends.
    fn item_end(&mut self, place: usize) -> Step<usize> {
        match self.pattern.get(place) {
            Some(b'%') => match self.pattern.get(place + 1) {
                Some(_) => Ok(place + 2),
                None => Err("malformed pattern (ends with '%')"),
            },
            Some(b'[') => {
                let mut at = place + 1;
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                // The first one stands for itself even if it is a bracket.
                loop {
                    match self.pattern.get(at) {
                        None => return Err("malformed pattern (missing ']')"),
                        Some(b'%') => at += if at + 1 < self.pattern.len() { 2 } else { 1 },
                        Some(_) => at += 1,
                    }
                    self.work += 1;
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(place + 1),
        }
    }

    #[inline]
    fn matches_one(&mut self, at: usize, item: usize, end: usize) -> bool {
        let Some(byte) = self.subject.get(at).copied() else { return false };
        match self.pattern[item] {
            b'.' => true,
            b'%' => in_class(byte, self.pattern[item + 1]),
            b'[' => self.in_set(byte, item, end),
            sign => sign == byte,
        }
    }

    fn in_set(&mut self, byte: u8, item: usize, end: usize) -> bool {
        let set = &self.pattern[item + 1..end - 1];
        self.work += set.len() / 16;
        let (negated, set) = match set.split_first() {
            Some((b'^', rest)) => (true, rest),
            _ => (false, set),
        };
        let mut at = 0;
        while let Some(sign) = set.get(at) {
            let found = match (sign, set.get(at + 1), set.get(at + 2)) {
                (b'%', Some(class), _) => {
                    at += 2;
                    in_class(byte, *class)
                }
                (low, Some(b'-'), Some(high)) => {
                    at += 3;
                    (*low..=*high).contains(&byte)
                }
                (sign, ..) => {
                    at += 1;
                    *sign == byte
                }
            };
            if found {
                return !negated;
            }
        }
        negated
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}
