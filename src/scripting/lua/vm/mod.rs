//! The interpreter: one stack of values, one of calls, and the loop over instructions.
//!
//! Nothing here recurses: a call of the language, a metamethod, or a function that a library calls back is a
//! [frame](super::thread), so a run can be paused between any two instructions and resumed later, whatever it is
//! within, and no depth of calls uses the processor's stack.

mod call;
mod coroutine;
mod execute;
mod index;
mod messages;
mod simple;
#[cfg(test)]
mod tests;

use std::fmt;

pub(in crate::scripting) use call::Arguments;
pub use call::{Continue, Flow, Native, NativeResult};
use simple::WINDOW;

use super::code::Proto;
use super::collector::{Marker, STEP_UNITS};
use super::heap::{Function, Heap};
use super::thread::{Frame, Kind, Status, Thread, mark_stack};
use super::value::{FunctionRef, ProtoRef, Result, Stop, StrRef, TableRef, ThreadRef, Value};
use crate::memory::{MemoryUsage, box_usage, vec_usage};
use crate::scripting::host::{Host, Tick};

/// Calls that may be under way at once (Lua: `LUAI_MAXCALLS`, one of which is the host's). Its own interpreter counts up
/// to 16,384 until that has happened once.
const CALLS_MAX: usize = 20_000 - HOST_CALLS;

/// Calls through library functions and metamethods that are too many at once (Lua: `LUAI_MAXCCALLS`).
const NESTED_MAX: usize = 200;

/// As many are too many while errors are handled: an eighth more.
const NESTED_IN_HANDLERS_MAX: usize = NESTED_MAX + NESTED_MAX / 8;

/// The host's call of the main function counts as both.
const HOST_CALLS: usize = 1;

/// What becomes of an error that there is no room to handle.
pub(in crate::scripting) const IN_HANDLING: &[u8] = b"error in error handling";

/// Values a library function may put on the stack (Lua: `LUAI_MAXCSTACK`).
pub(in crate::scripting) const RESULTS_MAX: usize = 8000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The main function returned; see [`Vm::results`].
    Finished,
    /// An error that nothing caught; see [`Vm::thrown`].
    Failed,
    /// Killed.
    Killed,
    /// It goes on with [`Vm::resume`].
    Paused,
}

macro_rules! events {
    ($($field:ident $name:literal),* $(,)?) => {
        /// The names of metamethods.
        #[derive(Debug, Clone, Copy)]
        pub(in crate::scripting) struct Events {
            $(pub $field: StrRef,)*
        }

        impl Events {
            fn new(heap: &mut Heap) -> Self {
                Self { $($field: heap.string($name.as_bytes()),)* }
            }

            fn all(&self) -> impl Iterator<Item = Value> {
                [$(self.$field,)*].into_iter().map(Value::String)
            }
        }
    };
}

events! {
    index "__index", newindex "__newindex", call "__call", eq "__eq", lt "__lt", le "__le", concat "__concat",
    negate "__unm", tostring "__tostring", metatable "__metatable", mode "__mode", add "__add", subtract "__sub",
    multiply "__mul", divide "__div", modulo "__mod", power "__pow",
}

/// The functions that `pairs` and `ipairs` hand out for a `for` to call.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::scripting) struct Iterators {
    by_key: Option<FunctionRef>,
    by_index: Option<FunctionRef>,
}

/// An interpreter with its objects.
pub struct Vm {
    /// Every object.
    pub heap: Heap,
    /// The table of global variables.
    pub globals: TableRef,
    /// Values that live as long as the interpreter, or until they are taken out.
    pub registry: Vec<Value>,
    /// What the library that is being loaded has registered.
    pub registrations: Option<Vec<crate::scripting::library::Registration>>,
    /// What `math.random` draws from.
    pub random: super::random::Random,
    /// The metatable of strings.
    pub string_metatable: Option<TableRef>,
    pub(in crate::scripting) events: Events,
    iterators: Iterators,
    main: ThreadRef,
    current: ThreadRef,
    /// Of the current coroutine.
    stack: Vec<Value>,
    frames: Vec<Frame>,
    /// The first place of the stack beyond what a library function works on, and beyond an open list of results.
    top: usize,
    nested: usize,
    /// Results on top of the stack for the innermost library function.
    delivered: usize,
    /// Of the innermost frame, if it is one of the language.
    proto: ProtoRef,
    closure: FunctionRef,
    base: usize,
    pc: usize,
    /// The error being raised.
    thrown: Value,
    /// Where it, or the end of a script that was killed, came from.
    thrown_at: Option<(StrRef, u32)>,
    free_places: Vec<usize>,
    /// Instructions of some weight until the host is asked.
    fuel: i64,
    /// Something has run since [`Vm::idle`] was last called, and since the collector last began while nothing ran.
    ran: bool,
    may_have_garbage: bool,
}

impl fmt::Debug for Vm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vm").field("calls", &self.frames.len()).finish_non_exhaustive()
    }
}

impl Vm {
    /// An interpreter without any library.
    #[must_use]
    pub fn new() -> Self {
        let mut heap = Heap::new();
        let events = Events::new(&mut heap);
        // What stands for code while none runs.
        let proto = heap.add_proto(Proto::default());
        let globals = heap.new_table(0, 2);
        let main = heap.add_thread(Thread { status: Status::Running, ..Thread::default() });
        Self {
            heap,
            globals,
            registry: Vec::new(),
            registrations: None,
            random: super::random::Random::default(),
            string_metatable: None,
            events,
            iterators: Iterators::default(),
            main,
            current: main,
            stack: Vec::new(),
            frames: Vec::new(),
            top: 0,
            nested: HOST_CALLS,
            delivered: 0,
            proto,
            closure: FunctionRef(0),
            base: 0,
            pc: 0,
            thrown: Value::Nil,
            thrown_at: None,
            free_places: Vec::new(),
            fuel: 0,
            ran: false,
            may_have_garbage: false,
        }
    }

    /// Compiles source text to a function.
    ///
    /// # Errors
    /// The text of the first syntax error.
    pub fn compile(&mut self, source: &[u8], chunk: &[u8]) -> std::result::Result<FunctionRef, Vec<u8>> {
        // Levels of syntax count with the calls within calls that are under way, of which the host's is none yet.
        let depth = if self.frames.is_empty() { 0 } else { self.nested };
        let compiled = super::generator::compile(&mut self.heap, source, chunk, depth);
        let proto = compiled.map_err(|error| error.0)?;
        let globals = self.globals;
        Ok(self.heap.add_function(Function::Lua { proto, captured: Box::default(), globals }))
    }

    /// Whether a function was compiled from source.
    #[must_use]
    pub(in crate::scripting) fn is_of_the_language(&self, function: Value) -> bool {
        matches!(function, Value::Function(function) if matches!(self.heap.function(function), Function::Lua { .. }))
    }

    /// A function of a library.
    pub fn native(&mut self, native: Native, values: &[Value]) -> Value {
        Value::Function(self.heap.add_function(Function::Native { native, values: values.into() }))
    }

    /// Says which functions go over a table by its keys (`next`) and by its elements. A `for` need not call them.
    pub(in crate::scripting) fn set_iterators(&mut self, by_key: Value, by_index: Value) {
        if let (Value::Function(by_key), Value::Function(by_index)) = (by_key, by_index) {
            self.keep(by_key);
            self.keep(by_index);
            self.iterators = Iterators { by_key: Some(by_key), by_index: Some(by_index) };
        }
    }

    /// Runs a function to its end, an error or a pause. Nothing else may be under way.
    pub fn start(&mut self, function: Value, arguments: &[Value], host: &mut dyn Host) -> Outcome {
        self.reset();
        self.push(function);
        for argument in arguments {
            self.push(*argument);
        }
        self.fuel = 0;
        self.ran = true;
        let begun = self.call_value(0, arguments.len(), super::thread::After::End, host);
        self.run(begun, host)
    }

    /// Goes on with a run that was paused.
    pub fn resume(&mut self, host: &mut dyn Host) -> Outcome {
        let begun = self.wake();
        self.run(begun, host)
    }

    fn run(&mut self, begun: Result<()>, host: &mut dyn Host) -> Outcome {
        let mut state = begun;
        loop {
            let stop = match state {
                Ok(()) => self.execute(host),
                Err(stop) => stop,
            };
            match stop {
                Stop::Delivered => state = self.continue_native(host),
                Stop::Finished => return Outcome::Finished,
                Stop::Paused => return Outcome::Paused,
                Stop::Killed => {
                    self.thrown_at = self.innermost_place();
                    self.abandon();
                    return Outcome::Killed;
                }
                Stop::Error => match self.unwind(host) {
                    None => {
                        self.abandon();
                        return Outcome::Failed;
                    }
                    Some(next) => state = next,
                },
            }
        }
    }

    /// What the main function returned.
    #[must_use]
    pub fn results(&self) -> &[Value] {
        self.stack.get(..self.top).unwrap_or_default()
    }

    /// The value of the error that ended the run.
    #[must_use]
    pub fn thrown(&self) -> Value {
        self.thrown
    }

    /// The chunk, by the name it was loaded with, and line that the error, or the end, of the last run came from.
    #[must_use]
    pub fn thrown_at(&self) -> Option<(&[u8], u32)> {
        self.thrown_at.map(|(chunk, line)| (self.heap.bytes_of(chunk), line))
    }

    /// Keeps a function; gives its place in the registry.
    pub fn keep(&mut self, function: FunctionRef) -> usize {
        let value = Value::Function(function);
        match self.free_places.pop() {
            Some(place) => {
                self.registry[place] = value;
                place
            }
            None => {
                self.registry.push(value);
                self.registry.len() - 1
            }
        }
    }

    /// Gives up what was kept.
    pub fn release(&mut self, place: usize) {
        if let Some(value) = self.registry.get_mut(place) {
            *value = Value::Nil;
            self.free_places.push(place);
        }
    }

    /// What was kept.
    #[must_use]
    pub fn kept(&self, place: usize) -> Value {
        self.registry.get(place).copied().unwrap_or_default()
    }

    /// After a run whose results were taken: begins to give back what it left, if that is worth it. As long as it then
    /// [has garbage](Self::has_garbage), somebody who has time should go on.
    pub fn rest(&mut self) {
        self.reset();
        if self.has_garbage() {
            self.collect_some(STEP_UNITS);
        }
    }

    /// Called now and then while nothing runs: a run that allocated little may have let go of much. Once nothing has run
    /// since the last call, the collector begins to look for it.
    pub fn idle(&mut self) {
        if std::mem::take(&mut self.ran) {
            self.may_have_garbage = true;
        } else if std::mem::take(&mut self.may_have_garbage) {
            self.collect_some(STEP_UNITS);
        }
    }

    /// Whether nothing runs and there is something worth giving back.
    #[must_use]
    pub fn has_garbage(&self) -> bool {
        self.frames.is_empty() && (self.heap.is_collecting() || self.heap.wants_collection_at_rest())
    }

    /// Ends whatever is under way.
    pub fn reset(&mut self) {
        self.abandon();
        self.thrown = Value::Nil;
        self.thrown_at = None;
        self.top = 0;
        if self.stack.len() > 1024 {
            let stack = std::mem::take(&mut self.stack);
            self.heap.uncount(vec_usage(&stack));
        }
    }

    fn abandon(&mut self) {
        if self.current != self.main {
            self.store_thread(Status::Dead);
            self.load_thread(self.main);
        }
        self.frames.clear();
        self.nested = HOST_CALLS;
    }

    // --- what library functions work with ---

    /// Puts a value on top of the stack.
    #[inline]
    pub fn push(&mut self, value: Value) {
        if self.top >= self.stack.len() {
            self.grow(self.top + 1);
        }
        self.stack[self.top] = value;
        self.top += 1;
    }

    /// Makes the stack at least so long.
    #[inline]
    fn ensure(&mut self, length: usize) {
        if self.stack.len() < length {
            self.grow(length);
        }
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        let before = vec_usage(&self.stack);
        self.stack.resize(length.max(self.stack.len() * 2).max(64), Value::Nil);
        self.heap.count(vec_usage(&self.stack) - before);
    }

    /// A string as a value.
    pub fn string(&mut self, bytes: &[u8]) -> Value {
        Value::String(self.heap.string(bytes))
    }

    /// The bytes of a value that is a string.
    #[must_use]
    pub fn bytes(&self, value: Value) -> Option<&[u8]> {
        match value {
            Value::String(string) => Some(self.heap.bytes_of(string)),
            _ => None,
        }
    }

    /// Says that library code has done the work of so many instructions.
    #[inline]
    pub fn spend(&mut self, work: usize) {
        self.fuel -= work as i64;
    }

    /// Whether it is time to let others run.
    #[must_use]
    pub(in crate::scripting) fn is_out_of_fuel(&self) -> bool {
        self.fuel < 0
    }

    /// Has the collector do what is due, and asks the host whether to go on.
    #[cold]
    #[inline(never)]
    fn refuel(&mut self, host: &mut dyn Host) -> Result<()> {
        loop {
            let is_due = self.heap.wants_collection() || self.heap.is_overfull();
            if is_due {
                self.collect_some(STEP_UNITS);
            }
            if self.heap.is_full() {
                return Err(self.plain_error(b"not enough memory"));
            }
            match host.tick() {
                Tick::Continue(fuel) => self.fuel = fuel,
                Tick::Pause => return Err(Stop::Paused),
                Tick::Kill => return Err(Stop::Killed),
            }
            if !is_due {
                return Ok(());
            }
        }
    }

    /// Refuses what would take the heap over its limit.
    ///
    /// # Errors
    /// `not enough memory`.
    pub fn check_room(&mut self, more: usize) -> Result<()> {
        if self.heap.has_room(more) { Ok(()) } else { Err(self.plain_error(b"not enough memory")) }
    }

    /// Has the collector run before the next instruction, if it has something to do.
    #[inline]
    fn collect_if_due(&mut self) {
        if self.heap.wants_collection() {
            self.fuel = -1;
        }
    }

    /// Frees every object that nothing reaches.
    pub fn collect(&mut self) {
        while self.heap.is_collecting() {
            self.collect_some(usize::MAX >> 1);
        }
        self.collect_some(usize::MAX >> 1);
    }

    /// Does about so much of the collector's work; begins a cycle unless one is under way.
    pub fn collect_some(&mut self, units: usize) {
        if !self.heap.is_collecting() {
            self.begin_collection();
        }
        self.heap.collect_some(units);
    }

    fn begin_collection(&mut self) {
        self.save_registers();
        let Self { heap, stack, frames, registry, .. } = self;
        let (globals, events, top) = (self.globals, self.events, self.top);
        let (main, current) = (self.main, self.current);
        let (string_metatable, thrown) = (self.string_metatable, self.thrown);
        let thrown_at = self.thrown_at.map(|(chunk, _)| Value::String(chunk));
        let (proto, closure) = (self.proto, self.closure);
        heap.begin_collection(frames.is_empty(), |marker: &mut Marker<'_>| {
            marker.mark(Value::Table(globals));
            marker.mark_all(events.all());
            marker.mark_all([main, current].map(Value::Thread));
            marker.mark_all(string_metatable.map(Value::Table));
            marker.mark_all([thrown, Value::Function(closure)]);
            marker.mark_all(thrown_at);
            marker.mark_code(proto);
            marker.mark_all(registry.iter().copied());
            mark_stack(stack, top, frames, marker);
        });
    }

    /// The code that runs.
    #[inline]
    fn code(&self) -> &Proto {
        self.heap.proto(self.proto)
    }

    /// Writes the instruction pointer back to its frame.
    #[inline]
    fn save_registers(&mut self) {
        if let Some(Frame { kind: Kind::Lua { pc, .. }, .. }) = self.frames.last_mut() {
            *pc = self.pc;
        }
    }
}

impl Default for Vm {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryUsage for Vm {
    fn memory_usage(&self) -> usize {
        // The heap counts the running coroutine's stack and calls with those of the others.
        box_usage::<Self>()
            + self.heap.memory_usage()
            + vec_usage(&self.registry)
            + vec_usage(&self.free_places)
    }
}
