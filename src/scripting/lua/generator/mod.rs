//! The tree into code: registers are given out like a stack, local variables below, temporaries above.
//!
//! `into(expression, register)` may use the register for what lies between; callers give it one that the expression
//! does not read.

mod expressions;
mod statements;

use std::cell::Cell;
use std::collections::HashMap;

use super::ast::{FunctionBody, VariableId};
use super::code::{Capture, FIRST_CONSTANT, LocalName, Op, Operand, Proto};
use super::heap::Heap;
use super::lexer::SyntaxError;
use super::parser;
use super::value::{ProtoRef, StrRef, Value};

/// Registers of a function (Lua: `MAXSTACK`).
const REGISTERS_MAX: usize = 249;

type Generated<T> = Result<T, SyntaxError>;

#[derive(PartialEq, Eq, Hash)]
enum ConstantKey {
    Number(u64),
    String(StrRef),
    Nil,
    Boolean(bool),
}

/// Compiles a chunk to the code of its main function. `depth`: levels of nesting that count before the first of its own.
///
/// # Errors
/// The text of the first syntax error.
pub(super) fn compile(heap: &mut Heap, source: &[u8], chunk: &[u8], depth: usize) -> Generated<ProtoRef> {
    let body = parser::parse(source, chunk, depth)?;
    let chunk = heap.string(chunk);
    generate(heap, &body, chunk, Vec::new())
}

fn generate(
    heap: &mut Heap,
    body: &FunctionBody,
    chunk: StrRef,
    captures: Vec<Capture>,
) -> Generated<ProtoRef> {
    let mut generator = Generator {
        heap,
        body,
        proto: Proto::of_chunk(chunk),
        registers: vec![0; body.variables.len()],
        alive: Vec::new(),
        free: 0,
        constants: HashMap::new(),
        breaks: Vec::new(),
        line: 0,
    };
    generator.function()?;
    let mut proto = std::mem::take(&mut generator.proto);
    proto.code.shrink_to_fit();
    proto.lines.shrink_to_fit();
    proto.constants.shrink_to_fit();
    proto.locals.shrink_to_fit();
    proto.functions.shrink_to_fit();
    proto.hints = vec![Cell::default(); proto.code.len()];
    proto.captures = captures;
    Ok(heap.add_proto(proto))
}

/// The code of one function in the making.
struct Generator<'a> {
    heap: &'a mut Heap,
    body: &'a FunctionBody,
    proto: Proto,
    /// By variable.
    registers: Vec<u8>,
    /// Variables in sight, as places in the names of the code.
    alive: Vec<usize>,
    /// The first register that is not in use.
    free: usize,
    constants: HashMap<ConstantKey, u32>,
    /// Jumps out of each loop around.
    breaks: Vec<Vec<usize>>,
    line: u32,
}

impl Generator<'_> {
    fn function(&mut self) -> Generated<()> {
        let body = self.body;
        self.proto.parameters = body.parameters;
        self.proto.takes_more = body.takes_more;
        self.proto.upvalue_names = body.upvalues.iter().map(|upvalue| upvalue.name.clone()).collect();
        let mut named = usize::from(body.parameters);
        if let Some(filled) = body.arg {
            let to = body.parameters;
            named += 1;
            self.emit(if filled { Op::ArgTable { to } } else { Op::Nil { from: to, to } });
        }
        let parameters: Vec<VariableId> = (0..named).collect();
        self.activate(&parameters)?;
        self.statements(&body.body)?;
        self.line = body.end_line;
        self.hide(0);
        self.emit(Op::Return { first: 0, count: 1 });
        Ok(())
    }

    fn error(&self, message: &str) -> SyntaxError {
        let mut text = self.proto.shown_chunk(self.heap);
        text.extend_from_slice(format!(":{}: {message}", self.line).as_bytes());
        SyntaxError(text)
    }

    fn emit(&mut self, op: Op) -> usize {
        self.proto.code.push(op);
        self.proto.lines.push(self.line);
        self.proto.code.len() - 1
    }

    fn here(&self) -> usize {
        self.proto.code.len()
    }

    /// Has a jump lead to an instruction.
    fn aim(&mut self, jump: usize, target: usize) {
        let distance = target as i32 - jump as i32 - 1;
        if let Op::Jump { by }
        | Op::JumpIf { by, .. }
        | Op::ForPrepare { by, .. }
        | Op::ForLoop { by, .. }
        | Op::ForNext { by, .. } = &mut self.proto.code[jump]
        {
            *by = distance;
        }
    }

    fn aim_here(&mut self, jumps: &[usize]) {
        let here = self.here();
        for jump in jumps {
            self.aim(*jump, here);
        }
    }

    /// Takes registers into use; the first of them.
    fn reserve(&mut self, count: usize) -> Generated<u8> {
        let first = self.free;
        if first + count > REGISTERS_MAX {
            return Err(self.error("function or expression too complex"));
        }
        self.free += count;
        self.proto.registers = self.proto.registers.max(self.free as u8);
        Ok(first as u8)
    }

    /// Takes the register for granted that lies beyond those in use, without taking it into use.
    fn require(&mut self, count: usize) -> Generated<()> {
        self.reserve(count)?;
        self.free -= count;
        Ok(())
    }

    fn constant(&mut self, key: ConstantKey, value: Value) -> u32 {
        let constants = &mut self.proto.constants;
        *self.constants.entry(key).or_insert_with(|| {
            constants.push(value);
            (constants.len() - 1) as u32
        })
    }

    fn number(&mut self, number: f64) -> u32 {
        // Both zeros are one constant, the first to be met: so `-0` may stand for a `0` after it, as in Lua 5.1.
        self.constant(ConstantKey::Number((number + 0.0).to_bits()), Value::Number(number))
    }

    fn string(&mut self, bytes: &[u8]) -> u32 {
        let string = self.heap.string(bytes);
        self.constant(ConstantKey::String(string), Value::String(string))
    }

    /// A constant as an operand; through a register where there are too many.
    fn constant_operand(&mut self, constant: u32) -> Generated<Operand> {
        if let Ok(place) = u16::try_from(constant + u32::from(FIRST_CONSTANT)) {
            return Ok(place);
        }
        let to = self.reserve(1)?;
        self.emit(Op::Constant { to, constant });
        Ok(Operand::from(to))
    }

    /// Brings variables into sight whose values are in the next registers.
    fn activate(&mut self, variables: &[VariableId]) -> Generated<()> {
        let first = self.reserve(0)?;
        self.reserve(variables.len())?;
        for (register, variable) in (first..).zip(variables) {
            self.activate_at(*variable, register);
        }
        Ok(())
    }

    fn activate_at(&mut self, variable: VariableId, register: u8) {
        self.registers[variable] = register;
        let known = &self.body.variables[variable];
        if known.captured {
            self.emit(Op::NewCell { register });
        }
        self.name(&known.name, register);
    }

    fn name(&mut self, name: &[u8], register: u8) {
        let from = self.here() as u32;
        self.proto.locals.push(LocalName { name: name.into(), register, from, to: u32::MAX });
        self.alive.push(self.proto.locals.len() - 1);
    }

    /// Ends the sight of all variables but the first `kept`.
    fn hide(&mut self, kept: usize) {
        let here = self.here() as u32;
        for place in self.alive.drain(kept..) {
            self.proto.locals[place].to = here;
        }
    }
}
