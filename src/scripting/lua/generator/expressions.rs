//! Code of expressions.

use super::super::ast::{Binary, Comparison, Expression, Field, Suffix, Unary};
use super::super::code::{Op, Operand};
use super::statements::is_open;
use super::{ConstantKey, Generated, Generator};
use crate::scripting::lua::value::Value;

/// Elements that a table takes at once (Lua: `LFIELDS_PER_FLUSH`).
const ITEMS_AT_ONCE: usize = 50;

/// Operators after a first operand, from the left.
type Rest = [(Binary, Expression, u32)];

/// The place of the first `and` or `or` if what is before it is a constant that leaves the decision to what is after it.
/// Such a constant is not there, as for Lua 5.1: messages then name what the rest names.
fn undecided(first: &Expression, rest: &Rest) -> Option<usize> {
    let place = rest.iter().position(|(operator, ..)| matches!(operator, Binary::And | Binary::Or))?;
    let (before, after) = rest.split_at(place);
    let truth = match before {
        [] => first.constant_truth(),
        _ => first.with_operators(before).map(|_| true),
    };
    (truth == Some(after.first()?.0 == Binary::And)).then_some(place)
}

impl Generator<'_> {
    /// Into the next register.
    pub(super) fn next(&mut self, expression: &Expression) -> Generated<u8> {
        if is_open(expression) {
            self.results(expression, 2)?;
            return self.reserve(1);
        }
        let to = self.reserve(1)?;
        self.into(expression, to)?;
        self.free = usize::from(to) + 1;
        Ok(to)
    }

    /// Into some register: a variable's own where it is one.
    pub(super) fn any(&mut self, expression: &Expression) -> Generated<u8> {
        match expression {
            Expression::Local(variable) if !self.body.variables[*variable].captured => {
                Ok(self.registers[*variable])
            }
            Expression::Single(inner) => self.any(inner),
            Expression::Chain(first, rest) => match undecided(first, rest) {
                Some(place) if place + 1 == rest.len() => self.any(&rest[place].1),
                _ => self.next(expression),
            },
            _ => self.next(expression),
        }
    }

    /// As an operand: a constant stays one.
    pub(super) fn operand(&mut self, expression: &Expression) -> Generated<Operand> {
        let constant = match expression {
            Expression::Number(number) => self.number(*number),
            Expression::String(bytes) => self.string(bytes),
            Expression::Nil => self.constant(ConstantKey::Nil, Value::Nil),
            Expression::True => self.constant(ConstantKey::Boolean(true), Value::Boolean(true)),
            Expression::False => self.constant(ConstantKey::Boolean(false), Value::Boolean(false)),
            other => return self.any(other).map(Operand::from),
        };
        self.constant_operand(constant)
    }

    /// Into the register of a variable, which the expression may read.
    pub(super) fn assign_local(&mut self, expression: &Expression, register: u8) -> Generated<()> {
        match expression {
            Expression::Chain(first, rest) => match rest.as_slice() {
                [(Binary::Arithmetic(operation), right, line)] => {
                    let left = self.operand(first)?;
                    let right = self.operand(right)?;
                    self.line = *line;
                    self.emit(Op::Arithmetic { operation: *operation, to: register, left, right });
                    Ok(())
                }
                _ => self.assign_through_temporary(expression, register),
            },
            Expression::Table(..) | Expression::Single(_) | Expression::Unary(..) => {
                self.assign_through_temporary(expression, register)
            }
            _ => self.into(expression, register),
        }
    }

    fn assign_through_temporary(&mut self, expression: &Expression, register: u8) -> Generated<()> {
        let from = self.next(expression)?;
        self.emit(Op::Move { to: register, from });
        Ok(())
    }

    /// Into a register that the expression does not read.
    pub(super) fn into(&mut self, expression: &Expression, to: u8) -> Generated<()> {
        match expression {
            Expression::Nil => self.emit(Op::Nil { from: to, to }),
            Expression::True => self.emit(Op::Boolean { to, value: true }),
            Expression::False => self.emit(Op::Boolean { to, value: false }),
            Expression::Number(number) => {
                let constant = self.number(*number);
                self.emit(Op::Constant { to, constant })
            }
            Expression::String(bytes) => {
                let constant = self.string(bytes);
                self.emit(Op::Constant { to, constant })
            }
            Expression::Vararg => self.emit(Op::Vararg { to, count: 2 }),
            Expression::Function(body) => return self.closure(body, to),
            Expression::Local(variable) => {
                let from = self.registers[*variable];
                match self.body.variables[*variable].captured {
                    true => self.emit(Op::GetCell { to, register: from }),
                    false => self.emit(Op::Move { to, from }),
                }
            }
            Expression::Upvalue(index) => self.emit(Op::GetUpvalue { to, index: *index }),
            Expression::Global(name, line) => {
                let name = self.string(name);
                self.line = *line;
                self.emit(Op::GetGlobal { to, name })
            }
            Expression::Single(inner) => return self.into(inner, to),
            Expression::Suffixed(base, suffixes) => return self.suffixed_into(base, suffixes, to),
            Expression::Unary(operator, operand, line) => return self.unary(*operator, operand, *line, to),
            Expression::Chain(first, rest) => return self.chain(first, rest, to),
            Expression::Table(fields, line) => return self.table(fields, *line, to),
        };
        Ok(())
    }

    fn unary(&mut self, operator: Unary, operand: &Expression, line: u32, to: u8) -> Generated<()> {
        let free = self.free;
        let from = self.any(operand)?;
        self.free = free;
        self.line = line;
        self.emit(match operator {
            Unary::Negate => Op::Negate { to, from },
            Unary::Not => Op::Not { to, from },
            Unary::Length => Op::Length { to, from },
        });
        Ok(())
    }

    // --- operators with two operands ---

    fn chain(&mut self, first: &Expression, rest: &Rest, to: u8) -> Generated<()> {
        if let Some(place) = undecided(first, rest) {
            return self.chain(&rest[place].1, &rest[place + 1..], to);
        }
        let free = self.free;
        let Some(((operator, second, line), others)) = rest.split_first() else {
            return self.into(first, to);
        };
        match operator {
            Binary::And | Binary::Or => {
                self.into(first, to)?;
                self.either(*operator, second, to)?;
            }
            Binary::Concat => {
                let at = self.next(first)?;
                self.concat(at, second, *line, to)?;
            }
            _ => {
                let left = self.operand(first)?;
                self.step(*operator, left, second, *line, to)?;
            }
        }
        self.free = free;
        for (operator, operand, line) in others {
            match operator {
                Binary::And | Binary::Or => self.either(*operator, operand, to)?,
                Binary::Concat => {
                    let at = self.reserve(1)?;
                    self.emit(Op::Move { to: at, from: to });
                    self.concat(at, operand, *line, to)?;
                }
                _ => self.step(*operator, Operand::from(to), operand, *line, to)?,
            }
            self.free = free;
        }
        Ok(())
    }

    /// `to` is the left operand; the right one takes its place if it decides.
    fn either(&mut self, operator: Binary, right: &Expression, to: u8) -> Generated<()> {
        let skip = self.emit(Op::JumpIf { register: to, when: operator == Binary::Or, by: 0 });
        self.into(right, to)?;
        self.aim_here(&[skip]);
        Ok(())
    }

    /// One arithmetic operation or comparison.
    fn step(
        &mut self,
        operator: Binary,
        left: Operand,
        right: &Expression,
        line: u32,
        to: u8,
    ) -> Generated<()> {
        let right = self.operand(right)?;
        self.line = line;
        match operator {
            Binary::Arithmetic(operation) => {
                self.emit(Op::Arithmetic { operation, to, left, right });
            }
            Binary::Compare(comparison) => {
                let yes = self.compare(comparison, left, right, true);
                self.emit(Op::Boolean { to, value: false });
                let end = self.emit(Op::Jump { by: 0 });
                self.aim_here(&[yes]);
                self.emit(Op::Boolean { to, value: true });
                self.aim_here(&[end]);
            }
            Binary::Concat | Binary::And | Binary::Or => {}
        }
        Ok(())
    }

    /// Compares; the jump it gives is taken when the outcome is `when`.
    fn compare(&mut self, comparison: Comparison, left: Operand, right: Operand, when: bool) -> usize {
        self.emit(match comparison {
            Comparison::Equal => Op::Equal { expected: when, left, right },
            Comparison::NotEqual => Op::Equal { expected: !when, left, right },
            Comparison::Less => Op::Less { expected: when, left, right },
            Comparison::LessEqual => Op::LessEqual { expected: when, left, right },
            Comparison::Greater => Op::Less { expected: when, left: right, right: left },
            Comparison::GreaterEqual => Op::LessEqual { expected: when, left: right, right: left },
        });
        self.emit(Op::Jump { by: 0 })
    }

    /// Puts together what is at `at`, the last register in use, and what follows it.
    fn concat(&mut self, at: u8, right: &Expression, line: u32, to: u8) -> Generated<()> {
        let (mut right, mut line) = (right, line);
        // It binds to the right: the last operator of the right operand is the next concatenation.
        while let Expression::Chain(first, rest) = right
            && let Some(((Binary::Concat, further, further_line), before)) = rest.split_last()
        {
            let operand = self.reserve(1)?;
            self.chain(first, before, operand)?;
            self.free = usize::from(operand) + 1;
            (right, line) = (further, *further_line);
        }
        let last = self.next(right)?;
        self.line = line;
        self.emit(Op::Concat { to, first: at, last });
        Ok(())
    }

    // --- conditions ---

    /// Jumps that are taken when the expression is true, or when it is false; else what follows runs.
    pub(super) fn jump_when(&mut self, expression: &Expression, when: bool) -> Generated<Vec<usize>> {
        let free = self.free;
        let jumps = match expression {
            Expression::Nil | Expression::False if when => Vec::new(),
            Expression::True | Expression::Number(_) | Expression::String(_) if !when => Vec::new(),
            Expression::Single(inner) => self.jump_when(inner, when)?,
            Expression::Unary(Unary::Not, inner, _) => self.jump_when(inner, !when)?,
            Expression::Chain(first, rest) => self.jump_when_chain(first, rest, when)?,
            other => {
                let register = self.any(other)?;
                vec![self.emit(Op::JumpIf { register, when, by: 0 })]
            }
        };
        self.free = free;
        Ok(jumps)
    }

    fn jump_when_chain(&mut self, first: &Expression, rest: &Rest, when: bool) -> Generated<Vec<usize>> {
        let Some(((operator, last, line), before)) = rest.split_last() else {
            return self.jump_when(first, when);
        };
        let free = self.free;
        let jumps = match operator {
            Binary::Compare(comparison) => {
                let left = self.chain_operand(first, before)?;
                let right = self.operand(last)?;
                self.line = *line;
                vec![self.compare(*comparison, left, right, when)]
            }
            Binary::And | Binary::Or => self.jump_when_either(first, rest, *operator, when)?,
            _ => {
                let register = self.reserve(1)?;
                self.chain(first, rest, register)?;
                vec![self.emit(Op::JumpIf { register, when, by: 0 })]
            }
        };
        self.free = free;
        Ok(jumps)
    }

    /// A run of `and`, or one of `or`, at the end of the operators.
    fn jump_when_either(
        &mut self,
        first: &Expression,
        rest: &Rest,
        operator: Binary,
        when: bool,
    ) -> Generated<Vec<usize>> {
        let start = rest.iter().rposition(|(other, ..)| *other != operator).map_or(0, |at| at + 1);
        let (before, run) = rest.split_at(start);
        // What decides at once: false for `and`, true for `or`.
        let decisive = operator == Binary::Or;
        let mut jumps = Vec::new();
        let mut decided = self.jump_when_chain(first, before, decisive)?;
        for (index, (_, operand, _)) in run.iter().enumerate() {
            if index + 1 == run.len() {
                jumps = self.jump_when(operand, when)?;
            } else {
                decided.extend(self.jump_when(operand, decisive)?);
            }
        }
        if decisive == when {
            jumps.extend(decided);
        } else {
            self.aim_here(&decided);
        }
        Ok(jumps)
    }

    fn chain_operand(&mut self, first: &Expression, rest: &Rest) -> Generated<Operand> {
        if rest.is_empty() {
            return self.operand(first);
        }
        let to = self.reserve(1)?;
        self.chain(first, rest, to)?;
        Ok(Operand::from(to))
    }

    // --- indices and calls ---

    /// The results of a call or of `...` from the next register on; `count` is one more than are wanted, 0 for all.
    pub(super) fn results(&mut self, expression: &Expression, count: u8) -> Generated<u8> {
        match expression {
            Expression::Suffixed(base, suffixes) => self.suffixed_results(base, suffixes, count),
            _ => {
                let to = self.free as u8;
                let wanted = usize::from(count).saturating_sub(1);
                self.require(wanted.max(1))?;
                self.emit(Op::Vararg { to, count });
                Ok(to)
            }
        }
    }

    /// Everything but the last suffix, into some register.
    pub(super) fn suffixed_any(&mut self, base: &Expression, suffixes: &[Suffix]) -> Generated<u8> {
        if suffixes.is_empty() { self.any(base) } else { self.suffixed_next(base, suffixes) }
    }

    pub(super) fn suffixed_next(&mut self, base: &Expression, suffixes: &[Suffix]) -> Generated<u8> {
        let to = self.reserve(1)?;
        self.suffixed_into(base, suffixes, to)?;
        self.free = usize::from(to) + 1;
        Ok(to)
    }

    fn suffixed_into(&mut self, base: &Expression, suffixes: &[Suffix], to: u8) -> Generated<()> {
        let free = self.free;
        match suffixes.split_last() {
            None => self.into(base, to)?,
            Some((Suffix::Index(key, line), before)) => {
                let table = self.walk(base, before)?;
                let key = self.operand(key)?;
                self.line = *line;
                self.emit(Op::GetIndex { to, table, key });
            }
            Some(_) => {
                let from = self.suffixed_results(base, suffixes, 2)?;
                if from != to {
                    self.emit(Op::Move { to, from });
                }
            }
        }
        self.free = free;
        Ok(())
    }

    pub(super) fn suffixed_results(
        &mut self,
        base: &Expression,
        suffixes: &[Suffix],
        count: u8,
    ) -> Generated<u8> {
        let mark = self.free;
        let Some((last, before)) = suffixes.split_last() else { return self.next(base) };
        let object = self.walk(base, before)?;
        self.call(last, object, mark, count)?;
        let results = usize::from(count).saturating_sub(1);
        self.free = mark;
        self.require(results.max(1))?;
        Ok(mark as u8)
    }

    /// The value before the last suffix: in a variable's register, or in the next one.
    fn walk(&mut self, base: &Expression, suffixes: &[Suffix]) -> Generated<u8> {
        let mark = self.free;
        let mut current = self.any(base)?;
        for suffix in suffixes {
            match suffix {
                Suffix::Index(key, line) => {
                    let key = self.operand(key)?;
                    self.line = *line;
                    self.free = mark;
                    let to = self.reserve(1)?;
                    self.emit(Op::GetIndex { to, table: current, key });
                }
                call => self.call(call, current, mark, 2)?,
            }
            current = mark as u8;
            self.free = mark + 1;
        }
        Ok(current)
    }

    /// Calls what is in a register, from the register `mark` on, where the results go.
    fn call(&mut self, suffix: &Suffix, object: u8, mark: usize, count: u8) -> Generated<()> {
        self.free = mark;
        let function = self.reserve(1)?;
        let (given, line) = match suffix {
            Suffix::Method(name, given, line) => {
                self.reserve(1)?;
                let name = self.string(name);
                let name = self.constant_operand(name)?;
                self.free = mark + 2;
                self.line = *line;
                self.emit(Op::Method { to: function, object, name });
                (given, *line)
            }
            Suffix::Call(given, line) => {
                if object != function {
                    self.emit(Op::Move { to: function, from: object });
                }
                (given, *line)
            }
            Suffix::Index(..) => return Err(self.error("syntax error")),
        };
        let open = given.last().is_some_and(is_open);
        for argument in given.iter().take(given.len() - usize::from(open)) {
            self.next(argument)?;
        }
        let arguments = match given.last().filter(|_| open) {
            Some(last) => {
                self.results(last, 0)?;
                0
            }
            None => (self.free - mark) as u8,
        };
        self.line = line;
        self.emit(Op::Call { function, arguments, results: count });
        Ok(())
    }

    // --- tables ---

    fn table(&mut self, fields: &[Field], line: u32, to: u8) -> Generated<()> {
        let free = self.free;
        let items = fields.iter().filter(|field| matches!(field, Field::Item(_))).count();
        // How many an open one gives is not known.
        let open = matches!(fields.last(), Some(Field::Item(value)) if is_open(value));
        let (array, others) = (room_for(items - usize::from(open)), room_for(fields.len() - items));
        self.line = line;
        self.emit(Op::NewTable { to, array, others });
        let (mut done, mut waiting) = (0_u32, 0_usize);
        for (index, field) in fields.iter().enumerate() {
            match field {
                Field::Keyed(key, value, line) => {
                    let mark = self.free;
                    let key = self.operand(key)?;
                    let value = self.operand(value)?;
                    self.line = *line;
                    self.emit(Op::SetIndex { table: to, key, value });
                    self.free = mark;
                }
                Field::Item(value) if index + 1 == fields.len() && is_open(value) => {
                    self.results(value, 0)?;
                    self.items(to, free, 0, done)?;
                    waiting = 0;
                }
                Field::Item(value) => {
                    self.next(value)?;
                    waiting += 1;
                    if waiting == ITEMS_AT_ONCE {
                        self.items(to, free, waiting, done)?;
                        done += waiting as u32;
                        waiting = 0;
                    }
                }
            }
        }
        if waiting > 0 {
            self.items(to, free, waiting, done)?;
        }
        self.free = free;
        Ok(())
    }

    /// Moves values from the registers at `from` into a table; all there are for a count of 0.
    fn items(&mut self, table: u8, from: usize, count: usize, done: u32) -> Generated<()> {
        self.free = from;
        let Ok(start) = u8::try_from(from) else {
            return Err(self.error("function or expression too complex"));
        };
        self.emit(Op::SetList { table, from: start, count: count as u8, done });
        Ok(())
    }
}

/// The room that a constructor asks for: Lua writes it with three bits and an exponent, rounded up.
fn room_for(count: usize) -> u16 {
    let (mut mantissa, mut exponent) = (count, 0);
    while mantissa >= 16 {
        mantissa = mantissa.div_ceil(2);
        exponent += 1;
    }
    u16::try_from(mantissa << exponent).unwrap_or(u16::MAX)
}
