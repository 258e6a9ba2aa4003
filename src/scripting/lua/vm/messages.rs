//! Error messages: where they come from and what they call the values they are about, as Lua 5.1 words them.

use super::super::code::{FIRST_CONSTANT, Op, Operand, Proto};
use super::super::heap::Heap;
use super::super::thread::{Frame, Kind};
use super::super::value::{Stop, StrRef, Value};
use super::{Arguments, Vm};

/// What a register's value is called: its kind and its name.
type Name = (&'static str, Vec<u8>);

impl Vm {
    /// Raises an error with a value.
    #[must_use]
    pub fn throw(&mut self, value: Value) -> Stop {
        self.thrown = value;
        Stop::Error
    }

    /// An error without a place.
    #[must_use]
    #[cold]
    pub fn plain_error(&mut self, message: &[u8]) -> Stop {
        let text = self.string(message);
        self.throw(text)
    }

    /// An error with the place of the code that runs, or that called the library function that runs.
    #[must_use]
    #[cold]
    pub fn error(&mut self, message: &[u8]) -> Stop {
        let mut text = self.place(1);
        text.extend_from_slice(message);
        self.plain_error(&text)
    }

    /// `chunk:line: ` of the function that many calls below a library function; nothing where that is a library's.
    #[must_use]
    pub(in crate::scripting) fn place(&self, level: usize) -> Vec<u8> {
        match self.frame_at(level) {
            Some((proto, pc)) => {
                let line = proto.lines.get(pc.saturating_sub(1)).copied().unwrap_or(0);
                let mut text = proto.shown_chunk(&self.heap);
                text.extend_from_slice(format!(":{line}: ").as_bytes());
                text
            }
            None => Vec::new(),
        }
    }

    /// The chunk, by the name it was loaded with, and line of the innermost code, whatever library functions it is in.
    #[must_use]
    pub(in crate::scripting) fn innermost_place(&self) -> Option<(StrRef, u32)> {
        let depth = self.frames.len();
        self.frames.iter().enumerate().rev().find_map(|(index, frame)| match &frame.kind {
            Kind::Lua { proto, pc, .. } => {
                let proto = self.heap.proto(*proto);
                let pc = if index + 1 == depth { self.pc } else { *pc };
                Some((proto.chunk, proto.lines.get(pc.saturating_sub(1)).copied().unwrap_or(0)))
            }
            Kind::Native(_) => None,
        })
    }

    fn frame_at(&self, level: usize) -> Option<(&Proto, usize)> {
        let mut at = 1;
        let depth = self.frames.len();
        for (index, frame) in self.frames.iter().enumerate().rev() {
            let Kind::Lua { proto, pc, tail_calls, .. } = &frame.kind else {
                if at == level {
                    return None;
                }
                at += 1;
                continue;
            };
            if at == level {
                return Some((self.heap.proto(*proto), if index + 1 == depth { self.pc } else { *pc }));
            }
            // Each call that was given up for another one has a level, and nothing to say.
            at += 1 + tail_calls;
            if at > level {
                return None;
            }
        }
        None
    }

    /// The instruction that runs, if it is one of the language.
    fn running_op(&self) -> Option<Op> {
        match self.frames.last() {
            Some(Frame { kind: Kind::Lua { .. }, .. }) => {
                self.code().code.get(self.pc.checked_sub(1)?).copied()
            }
            _ => None,
        }
    }

    /// `attempt to <what> <kind> '<name>' (a <type> value)`.
    #[must_use]
    #[cold]
    pub(super) fn type_error(&mut self, what: &str, value: Value, register: Option<u8>) -> Stop {
        let name = register
            .and_then(|register| name_of(&self.heap, self.code(), self.pc.saturating_sub(1), register));
        self.named_type_error(what, value, name)
    }

    fn named_type_error(&mut self, what: &str, value: Value, name: Option<Name>) -> Stop {
        let mut message = format!("attempt to {what} ").into_bytes();
        match name {
            Some((kind, name)) => {
                message.extend_from_slice(kind.as_bytes());
                message.extend_from_slice(b" '");
                message.extend_from_slice(&name);
                message.extend_from_slice(format!("' (a {} value)", value.type_name()).as_bytes());
            }
            None => message.extend_from_slice(format!("a {} value", value.type_name()).as_bytes()),
        }
        self.error(&message)
    }

    /// The error of an operand; `register` is where it is, if that is what the instruction names.
    #[must_use]
    #[cold]
    pub(super) fn operand_error(&mut self, what: &str, culprit: Value, operand: Operand) -> Stop {
        let register = u8::try_from(operand).ok().filter(|_| operand < FIRST_CONSTANT);
        self.type_error(what, culprit, register)
    }

    /// Whether the running library function was called in the place of the function that called it.
    #[must_use]
    pub(in crate::scripting) fn is_tail_called(&self) -> bool {
        matches!(self.running_op(), Some(Op::TailCall { .. }))
    }

    /// The error of calling what cannot be called.
    #[must_use]
    #[cold]
    pub(super) fn call_error(&mut self, object: Value, function: usize) -> Stop {
        let name = match self.running_op() {
            Some(Op::Call { function: register, .. } | Op::TailCall { function: register, .. })
                if self.base + usize::from(register) == function =>
            {
                name_of(&self.heap, self.code(), self.pc - 1, register)
            }
            _ => None,
        };
        self.named_type_error("call", object, name)
    }

    /// `attempt to compare ...`.
    #[must_use]
    #[cold]
    pub(super) fn compare_error(&mut self, left: Value, right: Value) -> Stop {
        self.error(Self::compare_message(left, right).as_bytes())
    }

    /// What is wrong with comparing two values.
    #[must_use]
    pub(in crate::scripting) fn compare_message(left: Value, right: Value) -> String {
        let (left, right) = (left.type_name(), right.type_name());
        if left == right {
            format!("attempt to compare two {left} values")
        } else {
            format!("attempt to compare {left} with {right}")
        }
    }

    /// What the running library function was called as.
    fn called_as(&self) -> Option<Name> {
        match self.running_op() {
            Some(Op::Call { function, .. } | Op::TailCall { function, .. }) => {
                name_of(&self.heap, self.code(), self.pc - 1, function)
            }
            // It is a variable of the loop, which no script can name.
            Some(Op::ForEach { .. }) => Some(("local", b"(for generator)".to_vec())),
            _ => None,
        }
    }

    /// `bad argument #n to 'name' (...)`; `index` counts from 0.
    #[must_use]
    #[cold]
    pub(in crate::scripting) fn argument_error(&mut self, index: usize, message: impl AsRef<[u8]>) -> Stop {
        let message = message.as_ref();
        let name = self.called_as();
        let (number, shown) = match &name {
            Some(("method", name)) if index == 0 => {
                let text = [b"calling '", name.as_slice(), b"' on bad self (", message, b")"].concat();
                return self.error(&text);
            }
            Some(("method", name)) => (index, name.clone()),
            Some((_, name)) => (index + 1, name.clone()),
            None => (index + 1, b"?".to_vec()),
        };
        let mut text = format!("bad argument #{number} to '").into_bytes();
        text.extend_from_slice(&shown);
        text.extend_from_slice(b"' (");
        text.extend_from_slice(message);
        text.push(b')');
        self.error(&text)
    }

    /// The same where an argument is missing, and is said to be the one before the first.
    #[must_use]
    #[cold]
    pub(in crate::scripting) fn no_argument_error(&mut self, message: &str) -> Stop {
        let name = self.called_as().map_or(b"?".to_vec(), |(_, name)| name);
        let text = [b"bad argument #0 to '", name.as_slice(), b"' (", message.as_bytes(), b")"].concat();
        self.error(&text)
    }

    /// `<expected> expected, got <type>`.
    #[must_use]
    #[cold]
    pub(in crate::scripting) fn expected(
        &mut self,
        arguments: Arguments,
        index: usize,
        expected: &str,
    ) -> Stop {
        let got =
            if index < arguments.count { self.argument(arguments, index).type_name() } else { "no value" };
        self.argument_error(index, format!("{expected} expected, got {got}"))
    }
}

/// What the value in a register is called at an instruction: a variable, or what was read into it last.
fn name_of(heap: &Heap, proto: &Proto, pc: usize, register: u8) -> Option<Name> {
    let is_it = |local: &&super::super::code::LocalName| {
        local.register == register && (local.from as usize) <= pc && pc < local.to as usize
    };
    if let Some(local) = proto.locals.iter().rev().find(is_it) {
        return Some(("local", local.name.to_vec()));
    }
    let (at, op) = last_writer(proto.code.get(..pc)?, register)?;
    let text = |constant: Option<usize>| match constant.and_then(|place| proto.constants.get(place)) {
        Some(Value::String(string)) => {
            let name = heap.bytes_of(*string);
            name[..memchr::memchr(0, name).unwrap_or(name.len())].to_vec()
        }
        _ => b"?".to_vec(),
    };
    let constant = |operand: Operand| operand.checked_sub(FIRST_CONSTANT).map(usize::from);
    Some(match op {
        Op::GetGlobal { name, .. } => ("global", text(Some(name as usize))),
        Op::GetUpvalue { index, .. } => ("upvalue", proto.upvalue_names.get(usize::from(index))?.to_vec()),
        Op::GetIndex { key, .. } => ("field", text(constant(key))),
        Op::Method { name, to, .. } if to == register => ("method", text(constant(name))),
        Op::Move { from, .. } if from < register => return name_of(heap, proto, at, from),
        Op::GetCell { register: from, .. } => return name_of(heap, proto, at, from),
        _ => return None,
    })
}

/// The instruction that a register's value comes from as far as can be told: jumps over code are taken, and what a jump
/// depends on has no name (Lua: `symbexec`).
fn last_writer(code: &[Op], register: u8) -> Option<(usize, Op)> {
    let (mut at, mut last) = (0, None);
    while let Some(op) = code.get(at) {
        if writes(op, register) {
            last = Some((at, *op));
        }
        at += 1;
        let (Op::Jump { by } | Op::JumpIf { by, .. } | Op::ForPrepare { by, .. }) = *op else { continue };
        let target = usize::try_from(by).ok().map(|by| at + by).filter(|target| *target <= code.len());
        if let Some(target) = target {
            if let Op::JumpIf { register: tested, when, .. } = *op
                && tested == register
            {
                // From `and` to what follows `or`: the value is not kept.
                if leads_on(code.get(target), register, when) {
                    at = target + 1;
                    continue;
                }
                last = Some((at - 1, *op));
            }
            at = target;
        }
    }
    last
}

/// Whether a jump that is taken when a register is `value`, and ends at this instruction, goes on to the next one.
fn leads_on(op: Option<&Op>, register: u8, value: bool) -> bool {
    matches!(op, Some(Op::JumpIf { register: tested, when, .. }) if *tested == register && *when != value)
}

/// Whether an instruction puts something into a register.
fn writes(op: &Op, register: u8) -> bool {
    match *op {
        Op::Move { to, .. }
        | Op::Constant { to, .. }
        | Op::Boolean { to, .. }
        | Op::GetUpvalue { to, .. }
        | Op::GetCell { to, .. }
        | Op::GetGlobal { to, .. }
        | Op::GetIndex { to, .. }
        | Op::NewTable { to, .. }
        | Op::Arithmetic { to, .. }
        | Op::Negate { to, .. }
        | Op::Not { to, .. }
        | Op::Length { to, .. }
        | Op::Concat { to, .. }
        | Op::Closure { to, .. } => to == register,
        Op::Method { to, .. } => to == register || to + 1 == register,
        Op::Nil { from, to } => (from..=to).contains(&register),
        Op::Vararg { to, .. } => register >= to,
        Op::Call { function, .. } => register >= function,
        Op::ForEach { base, .. } => register >= base + 3,
        _ => false,
    }
}
