//! Coroutines: a stack of values and the calls under way on it. The main program is one too.
//!
//! ```text
//!   stack | function | arguments beyond the named ones | registers ... | function | ...
//!                                                        ^ base of a call's frame
//! ```

use super::arena::Object;
use super::collector::Marker;
use super::value::{FunctionRef, ProtoRef, ThreadRef, Value};
use super::vm::Continue;
use crate::memory::vec_usage;

/// What becomes of a call's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// They go where the function was; as many as one less than this, all for 0.
    Results(u8),
    /// The same, of the function that a `for` calls.
    Iterated(u8),
    /// The first goes to a register of the caller.
    Store(u8),
    /// The first decides a comparison, whose jump is the next instruction.
    Test { expected: bool },
    /// The first is the end of a concatenation that goes on with the registers `first` to `left` before it.
    Concat { to: u8, first: u8, left: u8 },
    /// Nothing.
    Drop,
    /// A library function goes on with them.
    Native,
    /// The coroutine ends with them.
    End,
}

/// What runs in a frame.
#[derive(Debug)]
pub(super) enum Kind {
    Lua {
        proto: ProtoRef,
        closure: FunctionRef,
        base: usize,
        pc: usize,
        /// Calls that have taken each other's place here.
        tail_calls: usize,
    },
    /// A library function that waits for a call of its own.
    Native(Box<dyn Continue>),
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Frame {
    pub kind: Kind,
    /// Where the function is on the stack; results go there.
    pub function: usize,
    pub after: After,
}

impl After {
    /// Whether Lua's own interpreter calls itself for such a call.
    pub(super) fn is_nested(self) -> bool {
        !matches!(self, Self::Results(_) | Self::End | Self::Native)
    }
}

impl Kind {
    /// Says what runs in a frame of code.
    #[inline(always)]
    pub(super) fn set_code(&mut self, code: ProtoRef, function: FunctionRef, first: usize) {
        if let Self::Lua { proto, closure, base, .. } = self {
            (*proto, *closure, *base) = (code, function, first);
        }
    }
}

impl Frame {
    /// Of code, whose parts are yet to be written.
    pub(super) const CODE: Self = Self {
        kind: Kind::Lua { proto: ProtoRef(0), closure: FunctionRef(0), base: 0, pc: 0, tail_calls: 0 },
        function: 0,
        after: After::Results(0),
    };

    /// The calls within calls that Lua's own interpreter would count for it.
    pub(super) fn nesting(&self) -> usize {
        let calling = match &self.kind {
            Kind::Lua { .. } => 0,
            Kind::Native(state) => state.nesting(),
        };
        calling + usize::from(self.after.is_nested())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Status {
    #[default]
    Suspended,
    Running,
    /// It has resumed another one.
    Normal,
    Dead,
}

/// A coroutine that does not run.
#[derive(Debug, Default)]
pub(super) struct Thread {
    pub stack: Vec<Value>,
    pub frames: Vec<Frame>,
    pub top: usize,
    pub status: Status,
    /// Who gets what it yields.
    pub resumer: Option<ThreadRef>,
    /// The calls within calls that were under way when it was resumed.
    pub depth: usize,
    /// The call of `yield` that the next values are the results of.
    pub yielded: Option<(usize, After)>,
    /// The collector's cycle that has looked at its stack.
    pub scanned_in: u32,
}

impl Object for Thread {
    fn heap_bytes(&self) -> usize {
        vec_usage(&self.stack) + vec_usage(&self.frames)
    }
}

impl Thread {
    pub(super) fn mark(&mut self, marker: &mut Marker<'_>) {
        mark_stack(&self.stack, self.top, &self.frames, marker);
        if let Some(resumer) = self.resumer {
            marker.mark(Value::Thread(resumer));
        }
    }
}

/// Marks what a stack and the calls under way on it refer to.
pub(super) fn mark_stack(stack: &[Value], top: usize, frames: &[Frame], marker: &mut Marker<'_>) {
    let mut end = top;
    for frame in frames {
        match &frame.kind {
            Kind::Lua { proto, closure, base, .. } => {
                marker.mark(Value::Function(*closure));
                end = end.max(base + marker.registers_of(*proto));
            }
            Kind::Native(state) => state.mark(marker),
        }
    }
    marker.mark_all(stack.iter().take(end).copied());
}
