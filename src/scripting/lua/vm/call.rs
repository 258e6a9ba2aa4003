//! Calls and returns: of functions of the language, of libraries, and of what waits for them.

use super::super::collector::Marker;
use super::super::heap::Function;
use super::super::thread::{After, Frame, Kind};
use super::super::value::{FunctionRef, ProtoRef, Result, Stop, ThreadRef, Value, copy_value};
use super::{CALLS_MAX, IN_HANDLING, NESTED_IN_HANDLERS_MAX, NESTED_MAX, Vm, WINDOW};
use crate::memory::vec_usage;
use crate::scripting::host::Host;

/// Where the arguments of a library function are, or the results that one waited for.
#[derive(Debug, Clone, Copy)]
pub struct Arguments {
    pub(super) first: usize,
    /// How many there are.
    pub count: usize,
    /// The values that belong to the function itself.
    pub(super) function: usize,
}

/// A library function. It may put results on the stack; what is below them stays as it is.
pub type Native = fn(&mut Vm, &mut dyn Host, Arguments) -> NativeResult;

/// How a library function goes on.
pub type NativeResult = Result<Flow>;

/// What comes after a library function's code.
pub enum Flow {
    /// It returns the topmost so many values.
    Return(usize),
    /// It calls what is below the topmost so many values with them, and goes on with the results.
    Call(usize, Box<dyn Continue>),
    /// It has not ended, but it is time for others.
    Wait(Box<dyn Continue>),
    /// It resumes a coroutine with the topmost so many values, and goes on with what that yields.
    Resume(ThreadRef, usize, Box<dyn Continue>),
    /// The coroutine yields the topmost so many values; what it is resumed with is what the function returns.
    Yield(usize),
}

/// A library function that waits for a call.
pub trait Continue: std::fmt::Debug + Send {
    /// Goes on with what the call returned.
    ///
    /// # Errors
    /// Whatever the function raises.
    fn resume(self: Box<Self>, vm: &mut Vm, host: &mut dyn Host, results: Arguments) -> NativeResult;

    /// The calls within calls that Lua's own interpreter would count for the call that is waited for.
    fn nesting(&self) -> usize {
        1
    }

    /// What the function makes of an error within the call; `None` leaves it to others.
    fn catch(self: Box<Self>, vm: &mut Vm, error: Value) -> Option<NativeResult> {
        let _ = (vm, error);
        None
    }

    /// Says which values it holds.
    fn mark(&self, marker: &mut Marker<'_>) {
        let _ = marker;
    }
}

impl Vm {
    /// An argument; nil when there is none.
    #[inline]
    #[must_use]
    pub fn argument(&self, arguments: Arguments, index: usize) -> Value {
        if index < arguments.count { self.stack[arguments.first + index] } else { Value::Nil }
    }

    /// The arguments from one on.
    #[must_use]
    pub fn arguments_from(&self, arguments: Arguments, index: usize) -> &[Value] {
        let end = arguments.first + arguments.count;
        self.stack.get((arguments.first + index).min(end)..end).unwrap_or_default()
    }

    /// A value that was given to the running library function when it was made.
    #[must_use]
    pub fn own_value(&self, arguments: Arguments, index: usize) -> Value {
        let Some(Value::Function(function)) = self.stack.get(arguments.function).copied() else {
            return Value::Nil;
        };
        match self.heap.function(function) {
            Function::Native { values, .. } => values.get(index).copied().unwrap_or_default(),
            _ => Value::Nil,
        }
    }

    /// Takes what a call returned off the stack; the first of it.
    pub fn take_result(&mut self, results: Arguments) -> Value {
        let value = self.argument(results, 0);
        self.top = results.first;
        value
    }

    /// Puts a value below the results of a call.
    pub(in crate::scripting) fn insert(&mut self, results: Arguments, value: Value) {
        self.push(value);
        self.stack[results.first..self.top].rotate_right(1);
    }

    /// Returns one value.
    ///
    /// # Errors
    /// Never; the type is that of library functions.
    #[inline]
    pub fn give(&mut self, value: Value) -> NativeResult {
        self.push(value);
        Ok(Flow::Return(1))
    }

    /// Calls the value at `function` of the stack with the `count` values after it.
    #[inline]
    pub(super) fn call_value(
        &mut self,
        function: usize,
        count: usize,
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        match self.stack[function] {
            Value::Function(callee) => self.call_function(callee, function, count, after, host),
            _ => self.call_object(function, count, after, host),
        }
    }

    #[inline]
    fn call_function(
        &mut self,
        callee: FunctionRef,
        function: usize,
        count: usize,
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        match self.heap.function(callee) {
            Function::Lua { proto, .. } => self.enter(*proto, callee, function, count, after),
            Function::Native { native, .. } => self.call_native(*native, function, count, after, host),
            Function::None => Err(self.type_error("call", Value::Nil, None)),
        }
    }

    #[inline(never)]
    fn call_native(
        &mut self,
        native: Native,
        function: usize,
        count: usize,
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        self.top = function + 1 + count;
        let flow = native(self, host, Arguments { first: function + 1, count, function })?;
        self.follow(flow, function, after, host)
    }

    /// Calls what is no function, if its metatable says how.
    #[cold]
    fn call_object(
        &mut self,
        function: usize,
        count: usize,
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        let object = self.stack[function];
        let handler = self.metamethod(object, self.events.call);
        let Value::Function(callee) = handler else {
            return Err(self.call_error(object, function));
        };
        self.ensure(function + count + 2);
        self.stack.copy_within(function..=function + count, function + 1);
        self.stack[function] = handler;
        self.call_function(callee, function, count + 1, after, host)
    }

    #[inline]
    fn enter(
        &mut self,
        proto: ProtoRef,
        closure: FunctionRef,
        function: usize,
        count: usize,
        after: After,
    ) -> Result<()> {
        if self.frames.len() >= CALLS_MAX {
            return Err(self.too_many_calls());
        }
        if after.is_nested() {
            self.check_nesting(self.nested + 1)?;
        }
        self.save_registers();
        let code = self.heap.proto(proto);
        let (named, takes_more) = (usize::from(code.parameters), code.takes_more);
        let mut base = function + 1;
        if takes_more {
            // The named ones move above the others.
            base += count;
            self.ensure(base + WINDOW);
            for index in 0..named {
                let value = if index < count { self.stack[function + 1 + index] } else { Value::Nil };
                self.stack[base + index] = value;
            }
        } else {
            self.ensure(base + WINDOW);
            for index in count..named {
                self.stack[base + index] = Value::Nil;
            }
        }
        self.push_code(proto, closure, base, function, after);
        self.proto = proto;
        self.closure = closure;
        self.base = base;
        self.pc = 0;
        Ok(())
    }

    #[cold]
    fn too_many_calls(&mut self) -> Stop {
        self.error(b"stack overflow")
    }

    /// Adds the frame of code that begins. Its parts are written where they stay: a frame that is made elsewhere and moved
    /// is read in larger words than it was written in, for which processors wait.
    #[inline(always)]
    fn push_code(
        &mut self,
        proto: ProtoRef,
        closure: FunctionRef,
        base: usize,
        function: usize,
        after: After,
    ) {
        if self.frames.len() == self.frames.capacity() {
            self.grow_frames();
        }
        self.nested += usize::from(after.is_nested());
        self.frames.push(Frame::CODE);
        if let Some(frame) = self.frames.last_mut() {
            (frame.function, frame.after) = (function, after);
            frame.kind.set_code(proto, closure, base);
        }
    }

    fn push_frame(&mut self, frame: Frame) {
        self.nested += frame.nesting();
        if self.frames.len() == self.frames.capacity() {
            self.grow_frames();
        }
        self.frames.push(frame);
    }

    #[cold]
    fn grow_frames(&mut self) {
        let before = vec_usage(&self.frames);
        self.frames.reserve(self.frames.capacity().max(8));
        self.heap.count(vec_usage(&self.frames) - before);
    }

    #[inline]
    fn pop_frame(&mut self) -> Option<Frame> {
        let frame = self.frames.pop()?;
        self.nested -= frame.nesting();
        Some(frame)
    }

    /// Whether a handler of errors may run that counts as so many calls within calls.
    pub(in crate::scripting) fn has_room_for_handler(&self, nesting: usize) -> bool {
        self.nested + nesting < NESTED_IN_HANDLERS_MAX
    }

    /// Whether one call more within others may be that many deep. Only handlers of errors, and coroutines that were
    /// resumed at the limit, ever get beyond it.
    fn check_nesting(&mut self, depth: usize) -> Result<()> {
        match depth {
            NESTED_MAX => Err(self.error(b"C stack overflow")),
            NESTED_IN_HANDLERS_MAX.. => Err(self.plain_error(IN_HANDLING)),
            _ => Ok(()),
        }
    }

    /// Goes on after a library function's code.
    fn follow(&mut self, flow: Flow, function: usize, after: After, host: &mut dyn Host) -> Result<()> {
        match flow {
            Flow::Return(count) => {
                self.finish(function, self.top - count, count, after, host)?;
                self.collect_if_due();
                Ok(())
            }
            Flow::Call(count, state) => {
                // What is called may cost nothing itself, and be called for ever.
                self.spend(1);
                self.save_registers();
                let called = self.nested + 1;
                self.push_frame(Frame { kind: Kind::Native(state), function, after });
                if after.is_nested() {
                    self.check_nesting(called)?;
                }
                self.check_nesting(self.nested)?;
                self.call_value(self.top - count - 1, count, After::Native, host)
            }
            Flow::Wait(state) => {
                self.save_registers();
                self.push_frame(Frame { kind: Kind::Native(state), function, after });
                self.refuel(host)?;
                self.delivered = 0;
                Err(Stop::Delivered)
            }
            Flow::Resume(thread, count, state) => {
                self.save_registers();
                self.push_frame(Frame { kind: Kind::Native(state), function, after });
                self.resume_thread(thread, count, host)
            }
            Flow::Yield(count) => self.yield_values(function, count, after),
        }
    }

    /// After a pause: a library function that waited for nothing goes on; code goes on by itself.
    pub(super) fn wake(&mut self) -> Result<()> {
        if !matches!(self.frames.last(), Some(Frame { kind: Kind::Native(_), .. })) {
            return Ok(());
        }
        self.delivered = 0;
        Err(Stop::Delivered)
    }

    /// Hands the values at the top of the stack to the library function that waits for them.
    pub(super) fn continue_native(&mut self, host: &mut dyn Host) -> Result<()> {
        let count = self.delivered;
        let first = self.top - count;
        let Some(frame) = self.frames.last() else { return Err(Stop::Finished) };
        let (function, after) = (frame.function, frame.after);
        self.nested -= frame.nesting();
        let Some(Frame { kind: Kind::Native(state), .. }) = self.frames.pop() else {
            return Err(Stop::Finished);
        };
        self.restore_registers();
        let flow = state.resume(self, host, Arguments { first, count, function })?;
        self.follow(flow, function, after, host)
    }

    /// Gives results to whoever called.
    #[inline]
    pub(super) fn finish(
        &mut self,
        function: usize,
        first: usize,
        count: usize,
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        match after {
            After::Results(0) => {
                self.stack.copy_within(first..first + count, function);
                self.top = function + count;
            }
            After::Results(2) => {
                if count > 0 {
                    copy_value(&mut self.stack, first, function);
                } else {
                    self.stack[function] = Value::Nil;
                }
            }
            After::Results(wanted) | After::Iterated(wanted) => {
                let wanted = usize::from(wanted) - 1;
                self.ensure(function + wanted);
                let moved = count.min(wanted);
                for index in 0..moved {
                    copy_value(&mut self.stack, first + index, function + index);
                }
                self.stack[function + moved..function + wanted].fill(Value::Nil);
            }
            _ => return self.finish_special(function, first, count, after, host),
        }
        Ok(())
    }

    #[inline(never)]
    fn finish_special(
        &mut self,
        function: usize,
        first: usize,
        count: usize,
        after: After,
        host: &mut dyn Host,
    ) -> Result<()> {
        let value = if count > 0 { self.stack[first] } else { Value::Nil };
        match after {
            After::Store(to) => self.set(to, value),
            After::Test { expected } => {
                if value.is_true() != expected {
                    self.pc += 1;
                }
            }
            After::Concat { to, first, left } => return self.concat_on(to, first, left, value, host),
            After::Drop | After::Results(_) | After::Iterated(_) => {}
            After::Native => {
                self.stack.copy_within(first..first + count, function);
                self.top = function + count;
                self.delivered = count;
                return Err(Stop::Delivered);
            }
            After::End => return self.end_thread(first, count),
        }
        Ok(())
    }

    /// Returns from the running function of the language.
    #[inline]
    pub(super) fn return_values(&mut self, first: usize, count: usize, host: &mut dyn Host) -> Result<()> {
        let Some(frame) = self.frames.last() else { return Err(Stop::Finished) };
        let (function, after) = (frame.function, frame.after);
        self.nested -= frame.nesting();
        self.frames.truncate(self.frames.len() - 1);
        self.restore_registers();
        self.finish(function, first, count, after, host)
    }

    /// Makes the innermost frame the running one.
    #[inline]
    pub(super) fn restore_registers(&mut self) {
        if let Some(Frame { kind: Kind::Lua { proto, closure, base, pc, .. }, .. }) = self.frames.last() {
            self.proto = *proto;
            self.closure = *closure;
            self.base = *base;
            self.pc = *pc;
        }
    }

    /// Calls in the place of the running function.
    pub(super) fn tail_call(&mut self, at: usize, count: usize, host: &mut dyn Host) -> Result<()> {
        let is_code = matches!(self.stack[at], Value::Function(callee)
            if matches!(self.heap.function(callee), Function::Lua { .. }));
        if !is_code {
            // A library function sees its caller, which then returns what it gave.
            self.call_value(at, count, After::Results(0), host)?;
            return Ok(());
        }
        let Some(frame) = self.pop_frame() else { return Err(Stop::Finished) };
        let earlier = match frame.kind {
            Kind::Lua { tail_calls, .. } => tail_calls,
            Kind::Native(_) => 0,
        };
        self.restore_registers();
        self.stack.copy_within(at..=at + count, frame.function);
        self.call_value(frame.function, count, frame.after, host)?;
        if let Some(Frame { kind: Kind::Lua { tail_calls, .. }, .. }) = self.frames.last_mut() {
            *tail_calls = earlier + 1;
        }
        Ok(())
    }

    /// Gives an error to the innermost function that catches it; `None` when there is none.
    pub(super) fn unwind(&mut self, host: &mut dyn Host) -> Option<Result<()>> {
        self.thrown_at = self.innermost_place();
        loop {
            while let Some(frame) = self.pop_frame() {
                let Kind::Native(state) = frame.kind else { continue };
                // What it was given, and nothing above, is what it goes on with.
                self.restore_registers();
                self.top = frame.function + 1;
                let error = self.thrown;
                if let Some(flow) = state.catch(self, error) {
                    return Some(flow.and_then(|flow| self.follow(flow, frame.function, frame.after, host)));
                }
            }
            self.fail_thread()?;
        }
    }
}
