//! Compiled code: instructions over registers, constants, and what error messages need to know.
//!
//! Registers hold the local variables of a function, in the order of their declaration, and above them temporaries. An
//! [`Operand`] is a register or a constant. A variable that an inner function uses lives in a cell that its register
//! refers to.

use std::cell::Cell;

use super::arena::Object;
use super::heap::Heap;
use super::lexer::{SHOWN_NAME, shown_name};
use super::value::{ProtoRef, StrRef, Value};
use crate::memory::{usable_size, vec_usage};

/// A register below this, a constant from here on.
pub(super) const FIRST_CONSTANT: u16 = 256;

/// A register, or 256 and the place of a constant.
pub(super) type Operand = u16;

/// An instruction. Jumps count from the instruction after them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op {
    Move {
        to: u8,
        from: u8,
    },
    Constant {
        to: u8,
        constant: u32,
    },
    /// `from` and `to` included.
    Nil {
        from: u8,
        to: u8,
    },
    Boolean {
        to: u8,
        value: bool,
    },
    GetUpvalue {
        to: u8,
        index: u8,
    },
    SetUpvalue {
        index: u8,
        value: Operand,
    },
    /// The register's value moves into a new cell.
    NewCell {
        register: u8,
    },
    GetCell {
        to: u8,
        register: u8,
    },
    SetCell {
        register: u8,
        value: Operand,
    },
    GetGlobal {
        to: u8,
        name: u32,
    },
    SetGlobal {
        name: u32,
        value: Operand,
    },
    GetIndex {
        to: u8,
        table: u8,
        key: Operand,
    },
    SetIndex {
        table: u8,
        key: Operand,
        value: Operand,
    },
    NewTable {
        to: u8,
        array: u16,
        others: u16,
    },
    /// The method to `to`, the object to the register after it.
    Method {
        to: u8,
        object: u8,
        name: Operand,
    },
    Arithmetic {
        operation: Arithmetic,
        to: u8,
        left: Operand,
        right: Operand,
    },
    Negate {
        to: u8,
        from: u8,
    },
    Not {
        to: u8,
        from: u8,
    },
    Length {
        to: u8,
        from: u8,
    },
    /// Registers `first` to `last`.
    Concat {
        to: u8,
        first: u8,
        last: u8,
    },
    Jump {
        by: i32,
    },
    JumpIf {
        register: u8,
        when: bool,
        by: i32,
    },
    /// The next instruction, a jump, is taken only if the comparison gives what is expected.
    Equal {
        expected: bool,
        left: Operand,
        right: Operand,
    },
    Less {
        expected: bool,
        left: Operand,
        right: Operand,
    },
    LessEqual {
        expected: bool,
        left: Operand,
        right: Operand,
    },
    /// Counts are one more than they say; 0 stands for all there are.
    Call {
        function: u8,
        arguments: u8,
        results: u8,
    },
    TailCall {
        function: u8,
        arguments: u8,
    },
    Return {
        first: u8,
        count: u8,
    },
    ForPrepare {
        base: u8,
        by: i32,
    },
    ForLoop {
        base: u8,
        by: i32,
    },
    /// Calls the iterator at `base`; its results go to `base + 3` and on.
    ForEach {
        base: u8,
        results: u8,
    },
    /// Back to the body unless the iterator gave nil.
    ForNext {
        base: u8,
        by: i32,
    },
    /// Registers from `from` on become the elements after the first `done`; a count of 0 stands for all there are.
    SetList {
        table: u8,
        from: u8,
        count: u8,
        done: u32,
    },
    Closure {
        to: u8,
        function: u32,
    },
    Vararg {
        to: u8,
        count: u8,
    },
    /// The table `arg` of functions that do not use `...`.
    ArgTable {
        to: u8,
    },
}

/// What two numbers can be put through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Arithmetic {
    #[inline]
    pub(super) fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => modulo(left, right),
            Self::Power => left.powf(right),
        }
    }
}

#[inline]
fn modulo(left: f64, right: f64) -> f64 {
    // Small whole numbers, which are most, need no division of doubles.
    let (whole, divisor) = (left as u32, right as u32);
    if f64::from(whole) == left && f64::from(divisor) == right && divisor > 0 {
        return f64::from(whole % divisor);
    }
    left - (left / right).floor() * right
}

/// Where a new function finds a variable of the functions around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    /// The cell in a register of the function that makes it.
    Register(u8),
    /// A variable which that function has captured itself.
    Upvalue(u8),
}

/// A local variable, for messages.
#[derive(Debug, Clone)]
pub(super) struct LocalName {
    pub name: Box<[u8]>,
    pub register: u8,
    /// Instructions it is alive at: from, to (excluded).
    pub from: u32,
    pub to: u32,
}

/// The code of one function.
#[derive(Debug, Default)]
pub(super) struct Proto {
    pub code: Vec<Op>,
    pub lines: Vec<u32>,
    pub constants: Vec<Value>,
    /// For each instruction, where in a table its constant key was found last.
    pub hints: Vec<Cell<u16>>,
    pub functions: Vec<ProtoRef>,
    pub captures: Vec<Capture>,
    pub upvalue_names: Vec<Box<[u8]>>,
    pub locals: Vec<LocalName>,
    pub parameters: u8,
    pub takes_more: bool,
    pub registers: u8,
    /// What the chunk was named when it was loaded.
    pub chunk: StrRef,
}

impl Proto {
    /// The code of a chunk's function, empty yet.
    pub(super) fn of_chunk(chunk: StrRef) -> Self {
        Self { chunk, ..Self::default() }
    }

    /// How messages call the chunk.
    pub(super) fn shown_chunk(&self, heap: &Heap) -> Vec<u8> {
        shown_name(heap.bytes_of(self.chunk), SHOWN_NAME)
    }
}

impl Object for Proto {
    fn heap_bytes(&self) -> usize {
        vec_usage(&self.code)
            + vec_usage(&self.lines)
            + vec_usage(&self.hints)
            + vec_usage(&self.constants)
            + vec_usage(&self.functions)
            + vec_usage(&self.captures)
            + vec_usage(&self.upvalue_names)
            + vec_usage(&self.locals)
            + self.upvalue_names.iter().map(|name| usable_size(name.len())).sum::<usize>()
            + self.locals.iter().map(|local| usable_size(local.name.len())).sum::<usize>()
    }
}
