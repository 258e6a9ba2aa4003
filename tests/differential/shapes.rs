//! The shapes of replies: a small language of types (`tests/data/reply_shapes.tsv` says how it is written), parsed and
//! held against replies.

use std::collections::{BTreeSet, HashMap};

use super::agreement::Queue;
use super::frame::Frame;
use super::link::Words;
use super::session::Session;
use super::stage::{Kind, Said, Step};

const SHAPES: &str = include_str!("../data/reply_shapes.tsv");

/// Commands whose replies no session shows: they need replicas, take long, or another server.
const NOT_SHOWN: [&str; 4] = ["wait", "waitaof", "pfselftest", "migrate"];

/// What a reply may look like.
#[derive(Debug)]
enum Shape {
    Any,
    Null,
    Text,
    /// Text of this form.
    Form(fn(&[u8]) -> bool),
    Number,
    /// An integer from here on.
    Integer(i64),
    /// This very text or number.
    Constant(String),
    OneOf(Vec<Self>),
    Array {
        elements: Vec<Self>,
        /// How often the last element may stand there.
        times: (usize, usize),
        unique: bool,
    },
    /// Names and what their values look like; none for any names.
    Map(Vec<(String, Self)>),
}

/// Reads one shape from a text.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, mark: &str) -> bool {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn shape(&mut self) -> Shape {
        if self.take("(") {
            let mut choices = vec![self.shape()];
            while self.take("|") {
                choices.push(self.shape());
            }
            assert!(self.take(")"), "no end of a choice: {}", self.rest);
            return Shape::OneOf(choices);
        }
        if self.take("[") {
            return self.array();
        }
        if self.take("<") {
            return self.map();
        }
        if self.take("=") {
            return Shape::Constant(self.word());
        }
        match self.word().as_str() {
            "any" => Shape::Any,
            "null" => Shape::Null,
            "string" => Shape::Text,
            "number" => Shape::Number,
            "integer" => Shape::Integer(i64::MIN),
            "natural" => Shape::Integer(0),
            "positive" => Shape::Integer(1),
            "id" => Shape::Form(is_id),
            "distance" => Shape::Form(is_distance),
            other => panic!("no type: {other}"),
        }
    }

    fn array(&mut self) -> Shape {
        let mut elements = Vec::new();
        let mut times = (1, 1);
        while !self.take("]") {
            elements.push(self.shape());
            if self.take("*") {
                times = (0, usize::MAX);
            } else if self.take("+") {
                times = (1, usize::MAX);
            } else if self.take("{") {
                let least = self.word().parse().unwrap();
                assert!(self.take(","));
                times = (least, self.word().parse().unwrap());
                assert!(self.take("}"));
            }
            self.take(" ");
        }
        Shape::Array { elements, times, unique: self.take("!") }
    }

    fn map(&mut self) -> Shape {
        let mut fields = Vec::new();
        while !self.take(">") {
            let name = if self.take("*") { "*".to_owned() } else { self.word() };
            assert!(self.take("="), "no type of {name}");
            fields.push((name, self.shape()));
            self.take(" ");
        }
        Shape::Map(fields)
    }
}

fn is_id(text: &[u8]) -> bool {
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let mut parts = text.split(|byte| *byte == b'-');
    parts.next().is_some_and(is_number) && parts.next().is_some_and(is_number) && parts.next().is_none()
}

fn is_distance(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'.');
    let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(is_number) && parts.next().is_none_or(is_number) && parts.next().is_none()
}

impl Shape {
    fn fits(&self, frame: &Frame) -> bool {
        match (self, frame) {
            (Self::Any, _) | (Self::Null, Frame::Null(b'_')) => true,
            (Self::Text, Frame::Simple(_) | Frame::Bulk(_) | Frame::Verbatim(_)) => true,
            (Self::Form(form), Frame::Bulk(text)) => form(text),
            (Self::Number, Frame::Integer(_) | Frame::Double(_)) => true,
            (Self::Integer(least), Frame::Integer(_)) => frame.integer().is_some_and(|value| value >= *least),
            (Self::Constant(text), Frame::Simple(_) | Frame::Integer(_)) => {
                frame.text() == Some(text.as_bytes())
            }
            (Self::OneOf(choices), _) => choices.iter().any(|choice| choice.fits(frame)),
            (Self::Array { elements, times, unique }, Frame::Array(inner) | Frame::Set(inner)) => {
                array_fits(elements, *times, inner) && (!unique || all_differ(inner))
            }
            (Self::Map(fields), Frame::Map(inner)) => inner.chunks_exact(2).all(|pair| {
                let name = String::from_utf8_lossy(pair[0].text().unwrap_or_default());
                fields.iter().any(|(known, shape)| (known == "*" || *known == name) && shape.fits(&pair[1]))
            }),
            _ => false,
        }
    }
}

fn array_fits(elements: &[Shape], times: (usize, usize), inner: &[Frame]) -> bool {
    let Some((last, first)) = elements.split_last() else { return inner.is_empty() };
    let Some(rest) = inner.get(first.len()..) else { return false };
    (times.0..=times.1).contains(&rest.len())
        && first.iter().zip(inner).all(|(shape, frame)| shape.fits(frame))
        && rest.iter().all(|frame| last.fits(frame))
}

fn all_differ(frames: &[Frame]) -> bool {
    frames.iter().collect::<BTreeSet<_>>().len() == frames.len()
}

/// What is known of replies, and which commands have shown theirs.
pub struct Shapes {
    known: HashMap<String, Shape>,
    seen: BTreeSet<String>,
    pub faults: Vec<String>,
}

impl Shapes {
    pub fn new() -> Self {
        let lines = SHAPES.lines().filter(|line| !line.starts_with('#'));
        let known = lines.map(|line| {
            let (name, shape) = line.split_once('\t').unwrap();
            let mut parser = Parser { rest: shape };
            let shape = parser.shape();
            assert!(parser.rest.is_empty(), "{name}: what is {}?", parser.rest);
            (name.to_owned(), shape)
        });
        Self { known: known.collect(), seen: BTreeSet::new(), faults: Vec::new() }
    }

    /// Commands that have not shown a reply yet.
    pub fn missing(&self) -> Vec<&str> {
        let names = self.known.keys().map(String::as_str);
        names.filter(|name| !self.seen.contains(*name) && !NOT_SHOWN.contains(name)).collect()
    }

    /// Looks at every reply of a session in RESP3.
    pub fn check(&mut self, session: &Session, said: &[Said]) {
        let mut queue = Queue::default();
        let mut is_resp3 = false;
        for said in said.iter().filter(|said| said.kind == Kind::Reply) {
            let Some(Step::Main(request)) = session.steps.get(said.step) else { continue };
            let reply = &said.frames[0];
            let executed = queue.note(request, reply);
            if matches!(reply, Frame::Map(_)) && request[0].eq_ignore_ascii_case(b"hello") {
                is_resp3 = true;
            } else if request[0].eq_ignore_ascii_case(b"reset") {
                is_resp3 = false;
            }
            if !is_resp3 || *reply == Frame::Simple(b"QUEUED".to_vec()) {
                continue;
            }
            for (request, reply) in executed.iter().zip(reply.children()) {
                self.check_reply(request, reply);
            }
            self.check_reply(request, reply);
        }
    }

    fn check_reply(&mut self, request: &Words, reply: &Frame) {
        let lower = |word: &Vec<u8>| String::from_utf8_lossy(word).to_lowercase();
        let name = lower(&request[0]);
        let full_name = request.get(1).map(|second| format!("{name}|{}", lower(second)));
        let name = full_name.filter(|name| self.known.contains_key(name)).unwrap_or(name);
        let Some(shape) = self.known.get(&name).filter(|_| !reply.is_error()) else { return };
        if !shape.fits(reply) {
            self.faults.push(format!("{}\n    {reply}", super::quoted(request)));
        }
        self.seen.insert(name);
    }
}
