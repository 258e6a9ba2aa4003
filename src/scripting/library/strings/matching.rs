//! `find`, `match`, `gmatch` and `gsub`.

use super::pattern::{Capture, Matcher, Progress};
use super::position;
use crate::scripting::host::Host;
use crate::scripting::lua::collector::Marker;
use crate::scripting::lua::value::{Result, StrRef, Value};
use crate::scripting::lua::vm::{Arguments, Continue, Flow, NativeResult, Vm};

/// Steps of a match that count as one instruction.
const STEPS_PER_UNIT: usize = 10;

/// A search through a subject, from one place to the next.
#[derive(Debug)]
struct Search {
    subject: StrRef,
    pattern: StrRef,
    pattern_end: usize,
    /// `^` was there.
    anchored: bool,
    /// Where the match under way begins.
    start: usize,
    matcher: Matcher,
}

/// How far a search got.
enum Found {
    /// Up to there, from [`Search::start`].
    Match(usize),
    Nothing,
    Slow,
}

impl Search {
    fn new(vm: &Vm, subject: StrRef, pattern: StrRef, start: usize, anchors: bool) -> Self {
        let anchored = anchors && vm.heap.bytes_of(pattern).first() == Some(&b'^');
        // Patterns end at a NUL, as C's strings do.
        let text = vm.heap.bytes_of(pattern);
        let pattern_end = memchr::memchr(0, text).unwrap_or(text.len());
        let mut matcher = Matcher::default();
        matcher.begin(start);
        Self { subject, pattern, pattern_end, anchored, start, matcher }
    }

    /// Goes on: at the place it is at, and if it is to `slide`, at those after it.
    fn run(&mut self, vm: &mut Vm, slide: bool) -> Result<Found> {
        loop {
            let subject = vm.heap.bytes_of(self.subject);
            let pattern = vm.heap.bytes_of(self.pattern);
            let pattern = &pattern[usize::from(self.anchored)..self.pattern_end];
            let length = subject.len();
            let progress = self.matcher.run(subject, pattern);
            vm.spend(self.matcher.work / STEPS_PER_UNIT);
            match progress {
                Err(message) => return Err(vm.error(message.as_bytes())),
                Ok(Progress::Slow) => return Ok(Found::Slow),
                Ok(Progress::Match(end)) => return Ok(Found::Match(end)),
                Ok(Progress::NoMatch) if !slide || self.anchored || self.start >= length => {
                    return Ok(Found::Nothing);
                }
                Ok(Progress::NoMatch) => {
                    vm.spend(1);
                    self.move_to(self.start + 1);
                    if vm.is_out_of_fuel() {
                        return Ok(Found::Slow);
                    }
                }
            }
        }
    }

    fn move_to(&mut self, start: usize) {
        self.start = start;
        self.matcher.begin(start);
    }

    /// The value of a capture; the first one is the whole match where there are none.
    fn capture(&self, vm: &mut Vm, index: usize, end: usize) -> Result<Value> {
        let part = match self.matcher.captures.get(index) {
            None if index == 0 => Capture::Part(self.start, end),
            None => return Err(vm.error(b"invalid capture index")),
            Some(capture) => *capture,
        };
        match part {
            Capture::Part(start, end) => {
                let bytes = vm.heap.bytes_of(self.subject)[start..end].to_vec();
                Ok(Value::String(vm.heap.owned_string(bytes)))
            }
            Capture::Place(at) => Ok(Value::Number(at as f64 + 1.0)),
            Capture::Open(_) => Err(vm.error(b"unfinished capture")),
        }
    }

    /// Puts all captures on the stack, or the whole match if it has none and that is wanted.
    fn push_captures(&self, vm: &mut Vm, end: usize, whole: bool) -> Result<usize> {
        let count = match self.matcher.captures.len() {
            0 => usize::from(whole),
            count => count,
        };
        for index in 0..count {
            let value = self.capture(vm, index, end)?;
            vm.push(value);
        }
        Ok(count)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        marker.mark(Value::String(self.subject));
        marker.mark(Value::String(self.pattern));
    }
}

// --- find and match ---

#[derive(Debug)]
struct FindOrMatch {
    search: Search,
    find: bool,
}

impl FindOrMatch {
    fn go_on(mut self, vm: &mut Vm) -> NativeResult {
        match self.search.run(vm, true)? {
            Found::Slow => Ok(Flow::Wait(Box::new(self))),
            Found::Nothing => vm.give(Value::Nil),
            Found::Match(end) if self.find => {
                vm.push(Value::Number(self.search.start as f64 + 1.0));
                vm.push(Value::Number(end as f64));
                let captures = self.search.push_captures(vm, end, false)?;
                Ok(Flow::Return(captures + 2))
            }
            Found::Match(end) => self.search.push_captures(vm, end, true).map(Flow::Return),
        }
    }
}

impl Continue for FindOrMatch {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
        self.go_on(vm)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        self.search.mark(marker);
    }
}

fn find_or_match(vm: &mut Vm, arguments: Arguments, find: bool) -> NativeResult {
    let subject = vm.text_argument(arguments, 0)?;
    let pattern = vm.text_argument(arguments, 1)?;
    let length = vm.heap.bytes_of(subject).len();
    let start = position(vm.integer_or(arguments, 2, 1)?, length);
    let start = usize::try_from(start - 1).unwrap_or(0).min(length);
    let plain = find && vm.argument(arguments, 3).is_true();
    let literal = |pattern: &[u8]| {
        let special = |byte: &u8| b"^$*+?.([%-".contains(byte);
        !pattern.iter().take_while(|byte| **byte != 0).any(special)
    };
    if find && (plain || literal(vm.heap.bytes_of(pattern))) {
        let (bytes, wanted) = (vm.heap.bytes_of(subject), vm.heap.bytes_of(pattern));
        let size = wanted.len();
        let found = memchr::memmem::find(&bytes[start..], wanted).map(|at| at + start);
        vm.spend((length - start) / 1024);
        let Some(at) = found else { return vm.give(Value::Nil) };
        vm.push(Value::Number(at as f64 + 1.0));
        vm.push(Value::Number((at + size) as f64));
        return Ok(Flow::Return(2));
    }
    FindOrMatch { search: Search::new(vm, subject, pattern, start, true), find }.go_on(vm)
}

pub(super) fn find(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    find_or_match(vm, arguments, true)
}

pub(super) fn match_(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    find_or_match(vm, arguments, false)
}

// --- gmatch ---

pub(super) fn gmatch(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let subject = vm.text_argument(arguments, 0)?;
    let pattern = vm.text_argument(arguments, 1)?;
    // Where the next match may begin is kept in a table, which the iterator can change.
    let place = vm.heap.new_table(1, 0);
    vm.heap.set(place, Value::Number(1.0), Value::Number(0.0));
    let iterator =
        vm.native(gmatch_step, &[Value::String(subject), Value::String(pattern), Value::Table(place)]);
    vm.give(iterator)
}

#[derive(Debug)]
struct NextMatch {
    search: Search,
    place: Value,
}

impl NextMatch {
    fn go_on(mut self, vm: &mut Vm) -> NativeResult {
        match self.search.run(vm, true)? {
            Found::Slow => Ok(Flow::Wait(Box::new(self))),
            Found::Nothing => Ok(Flow::Return(0)),
            Found::Match(end) => {
                // After an empty match the search goes on one further.
                let next = if end == self.search.start { end + 1 } else { end };
                if let Value::Table(place) = self.place {
                    vm.heap.set(place, Value::Number(1.0), Value::Number(next as f64));
                }
                self.search.push_captures(vm, end, true).map(Flow::Return)
            }
        }
    }
}

impl Continue for NextMatch {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
        self.go_on(vm)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        self.search.mark(marker);
        marker.mark(self.place);
    }
}

fn gmatch_step(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let place = vm.own_value(arguments, 2);
    let (Value::String(subject), Value::String(pattern), Value::Table(table)) =
        (vm.own_value(arguments, 0), vm.own_value(arguments, 1), place)
    else {
        return Ok(Flow::Return(0));
    };
    let start = vm.to_number(vm.heap.get(table, Value::Number(1.0))).unwrap_or(0.0) as usize;
    if start > vm.heap.bytes_of(subject).len() {
        return Ok(Flow::Return(0));
    }
    NextMatch { search: Search::new(vm, subject, pattern, start, false), place }.go_on(vm)
}

// --- gsub ---

#[derive(Debug)]
struct Substitution {
    search: Search,
    replacement: Value,
    output: Vec<u8>,
    /// Substitutions made, and allowed.
    count: usize,
    max: usize,
    /// The match whose replacement a call is to give.
    waiting: Option<usize>,
}

/// A replacement.
enum Replaced {
    With(Value),
    /// A call on the stack, with so many arguments, will give it.
    Called(usize),
    /// It was written already.
    Written,
}

impl Substitution {
    fn go_on(mut self: Box<Self>, vm: &mut Vm) -> NativeResult {
        while self.count < self.max {
            match self.search.run(vm, false)? {
                Found::Slow => return Ok(Flow::Wait(self)),
                Found::Match(end) => {
                    self.count += 1;
                    match self.replace(vm, end)? {
                        Replaced::Called(count) => {
                            self.waiting = Some(end);
                            return Ok(Flow::Call(count, self));
                        }
                        Replaced::With(value) => self.add(vm, value, end)?,
                        Replaced::Written => {}
                    }
                    if !self.advance(vm, Some(end))? {
                        break;
                    }
                }
                Found::Nothing => {
                    if !self.advance(vm, None)? {
                        break;
                    }
                }
            }
            vm.spend(1);
            if vm.is_out_of_fuel() {
                return Ok(Flow::Wait(self));
            }
        }
        let rest = vm.heap.bytes_of(self.search.subject).get(self.search.start..).unwrap_or_default();
        self.output.extend_from_slice(rest);
        let (output, count) = (std::mem::take(&mut self.output), self.count);
        vm.check_room(output.len())?;
        let text = vm.heap.owned_string(output);
        vm.push(Value::String(text));
        vm.push(Value::Number(count as f64));
        Ok(Flow::Return(2))
    }

    /// Goes past a match or past a character; false at the end.
    fn advance(&mut self, vm: &mut Vm, end: Option<usize>) -> Result<bool> {
        let start = self.search.start;
        let subject = vm.heap.bytes_of(self.search.subject);
        let next = match end.filter(|end| *end > start) {
            Some(end) => end,
            None => {
                let Some(byte) = subject.get(start) else {
                    return Ok(false);
                };
                self.output.push(*byte);
                start + 1
            }
        };
        self.search.move_to(next);
        Ok(!self.search.anchored)
    }

    fn replace(&mut self, vm: &mut Vm, end: usize) -> Result<Replaced> {
        match self.replacement {
            Value::Function(_) => {
                vm.push(self.replacement);
                let count = self.search.push_captures(vm, end, true)?;
                Ok(Replaced::Called(count))
            }
            Value::Table(_) => {
                let key = self.search.capture(vm, 0, end)?;
                match vm.index_or_handler(self.replacement, key)? {
                    (value, None) => Ok(Replaced::With(value)),
                    (object, Some(handler)) => {
                        vm.push(handler);
                        vm.push(object);
                        vm.push(key);
                        Ok(Replaced::Called(2))
                    }
                }
            }
            _ => self.add_template(vm, end).map(|()| Replaced::Written),
        }
    }

    /// Adds a replacement text, in which `%1` and the like stand for captures.
    fn add_template(&mut self, vm: &mut Vm, end: usize) -> Result<()> {
        let mut template = Vec::new();
        vm.write_text(&mut template, self.replacement);
        let before = self.output.len();
        let mut rest = template.as_slice();
        while let Some(at) = memchr::memchr(b'%', rest) {
            self.output.extend_from_slice(&rest[..at]);
            match rest.get(at + 1) {
                None => self.output.push(0),
                Some(b'0') => {
                    let part = &vm.heap.bytes_of(self.search.subject)[self.search.start..end];
                    self.output.extend_from_slice(part);
                }
                Some(digit @ b'1'..=b'9') => {
                    let value = self.search.capture(vm, usize::from(digit - b'1'), end)?;
                    vm.write_text(&mut self.output, value);
                }
                Some(other) => self.output.push(*other),
            }
            rest = rest.get(at + 2..).unwrap_or_default();
            // One template may ask for a long capture any number of times.
            vm.check_room(self.output.len())?;
        }
        self.output.extend_from_slice(rest);
        self.account(vm, before)
    }

    /// Counts what was added to the output since it had so many bytes.
    fn account(&self, vm: &mut Vm, before: usize) -> Result<()> {
        vm.spend((self.output.len() - before) / 256);
        vm.check_room(self.output.len())
    }

    fn add(&mut self, vm: &mut Vm, value: Value, end: usize) -> Result<()> {
        let before = self.output.len();
        match value {
            Value::Nil | Value::Boolean(false) => {
                let part = &vm.heap.bytes_of(self.search.subject)[self.search.start..end];
                self.output.extend_from_slice(part);
            }
            Value::String(_) | Value::Number(_) => vm.write_text(&mut self.output, value),
            other => {
                let message = format!("invalid replacement value (a {})", other.type_name());
                return Err(vm.error(message.as_bytes()));
            }
        }
        self.account(vm, before)
    }
}

impl Continue for Substitution {
    fn resume(mut self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        if let Some(end) = self.waiting.take() {
            let value = vm.take_result(results);
            self.add(vm, value, end)?;
            if !self.advance(vm, Some(end))? {
                self.max = self.count;
            }
        }
        self.go_on(vm)
    }

    fn mark(&self, marker: &mut Marker<'_>) {
        self.search.mark(marker);
        marker.mark(self.replacement);
    }
}

pub(super) fn gsub(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let subject = vm.text_argument(arguments, 0)?;
    let pattern = vm.text_argument(arguments, 1)?;
    let replacement = vm.argument(arguments, 2);
    let length = vm.heap.bytes_of(subject).len();
    let max = i64::from(vm.integer_or(arguments, 3, length as i64 + 1)? as i32);
    if !matches!(replacement, Value::Number(_) | Value::String(_) | Value::Function(_) | Value::Table(_)) {
        return Err(vm.argument_error(2, "string/function/table expected"));
    }
    let max = usize::try_from(max as i32).unwrap_or(0).min(length + 1);
    let search = Search::new(vm, subject, pattern, 0, true);
    Box::new(Substitution { search, replacement, output: Vec::new(), count: 0, max, waiting: None }).go_on(vm)
}
