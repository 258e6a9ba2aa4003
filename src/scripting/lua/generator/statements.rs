//! Code of statements.

use super::super::ast::{
    CaptureFrom, Expression, FunctionBody, Statement, StatementKind, Suffix, VariableId,
};
use super::super::code::{Op, Operand};
use super::{Generated, Generator, generate};

/// Where a value is assigned to.
enum Target {
    Local(u8),
    Cell(u8),
    Upvalue(u8),
    Global(u32),
    Index(u8, Operand),
}

impl Generator<'_> {
    pub(super) fn statements(&mut self, statements: &[Statement]) -> Generated<()> {
        for statement in statements {
            self.statement(statement)?;
            self.free = self.locals_end();
        }
        Ok(())
    }

    /// The first register above the variables in sight.
    fn locals_end(&self) -> usize {
        self.alive.last().map_or(0, |place| usize::from(self.proto.locals[*place].register) + 1)
    }

    fn block(&mut self, statements: &[Statement]) -> Generated<()> {
        let (kept, free) = (self.alive.len(), self.free);
        self.statements(statements)?;
        self.hide(kept);
        self.free = free;
        Ok(())
    }

    fn statement(&mut self, statement: &Statement) -> Generated<()> {
        self.line = statement.begins;
        match &statement.kind {
            StatementKind::Local(variables, values) => self.local(variables, values),
            StatementKind::LocalFunction(variable, body) => {
                self.activate_nil(*variable)?;
                self.assign_one(&Expression::Local(*variable), &Function(body), statement.line)
            }
            StatementKind::Assign(targets, values) => match (targets.as_slice(), values.as_slice()) {
                ([target], [value]) => self.assign_one(target, &Plain(value), statement.line),
                _ => self.assign_many(targets, values, statement.line),
            },
            StatementKind::Call(call) => self.results(call, 1).map(|_| ()),
            StatementKind::Do(body) => self.block(body),
            StatementKind::While(condition, body) => {
                let start = self.here();
                let exits = self.jump_when(condition, false)?;
                self.loop_body(body)?;
                let back = self.emit(Op::Jump { by: 0 });
                self.aim(back, start);
                self.aim_here(&exits);
                self.end_loop();
                Ok(())
            }
            StatementKind::Repeat(body, condition) => self.repeat(body, condition),
            StatementKind::If(arms, otherwise) => self.branches(arms, otherwise),
            StatementKind::ForNumber { variable, from, to, step, body, line } => {
                self.for_number(*variable, [Some(from), Some(to), step.as_ref()], body, *line)
            }
            StatementKind::ForEach { variables, values, body, line } => {
                self.for_each(variables, values, body, *line)
            }
            StatementKind::Return(values) => self.return_values(values, statement.line),
            StatementKind::Break => {
                let jump = self.emit(Op::Jump { by: 0 });
                if let Some(breaks) = self.breaks.last_mut() {
                    breaks.push(jump);
                }
                Ok(())
            }
        }
    }

    fn activate_nil(&mut self, variable: VariableId) -> Generated<()> {
        if self.body.variables[variable].captured {
            let register = self.reserve(1)?;
            self.emit(Op::Nil { from: register, to: register });
            self.free -= 1;
        }
        self.activate(&[variable])
    }

    fn local(&mut self, variables: &[VariableId], values: &[Expression]) -> Generated<()> {
        let base = self.free;
        self.list(values, variables.len())?;
        self.free = base;
        self.activate(variables)
    }

    /// Evaluates expressions into the next registers, exactly `wanted` values of them.
    pub(super) fn list(&mut self, values: &[Expression], wanted: usize) -> Generated<()> {
        let base = self.free;
        for (index, value) in values.iter().enumerate() {
            if index + 1 == values.len() && is_open(value) && wanted > index {
                let missing = wanted - index;
                self.results(value, missing as u8 + 1)?;
                self.free = base + index;
                self.reserve(missing)?;
                return Ok(());
            }
            let at = self.next(value)?;
            if index >= wanted {
                self.free = usize::from(at);
            }
        }
        let missing = wanted.saturating_sub(values.len());
        if missing > 0 {
            let from = self.reserve(missing)?;
            self.emit(Op::Nil { from, to: from + (missing - 1) as u8 });
        }
        Ok(())
    }

    fn assign_one(&mut self, target: &Expression, value: &dyn Source, line: u32) -> Generated<()> {
        let target = self.target(target, false)?;
        if let Target::Local(register) = target {
            return value.assign(self, register);
        }
        let operand = value.operand(self)?;
        self.line = line;
        self.store(&target, operand);
        Ok(())
    }

    fn assign_many(&mut self, targets: &[Expression], values: &[Expression], line: u32) -> Generated<()> {
        let targets =
            targets.iter().map(|target| self.target(target, true)).collect::<Generated<Vec<_>>>()?;
        let base = self.free;
        self.list(values, targets.len())?;
        self.line = line;
        for (index, target) in targets.iter().enumerate().rev() {
            self.store(target, (base + index) as Operand);
        }
        Ok(())
    }

    /// Evaluates what an assignment needs of its target. With several targets, what they read must not be a variable
    /// that another one writes.
    fn target(&mut self, target: &Expression, several: bool) -> Generated<Target> {
        Ok(match target {
            Expression::Local(variable) => {
                let register = self.registers[*variable];
                match self.body.variables[*variable].captured {
                    true => Target::Cell(register),
                    false => Target::Local(register),
                }
            }
            Expression::Upvalue(index) => Target::Upvalue(*index),
            Expression::Global(name, _) => Target::Global(self.string(name)),
            Expression::Suffixed(base, suffixes) => {
                let Some((Suffix::Index(key, line), before)) = suffixes.split_last() else {
                    return Err(self.error("syntax error"));
                };
                let table = if several {
                    self.suffixed_next(base, before)?
                } else {
                    self.suffixed_any(base, before)?
                };
                let key = match key {
                    Expression::Local(_) if several => Operand::from(self.next(key)?),
                    key => self.operand(key)?,
                };
                self.line = *line;
                Target::Index(table, key)
            }
            _ => return Err(self.error("syntax error")),
        })
    }

    fn store(&mut self, target: &Target, value: Operand) {
        let op = match *target {
            Target::Local(to) => Op::Move { to, from: value as u8 },
            Target::Cell(register) => Op::SetCell { register, value },
            Target::Upvalue(index) => Op::SetUpvalue { index, value },
            Target::Global(name) => Op::SetGlobal { name, value },
            Target::Index(table, key) => Op::SetIndex { table, key, value },
        };
        self.emit(op);
    }

    fn loop_body(&mut self, body: &[Statement]) -> Generated<()> {
        self.breaks.push(Vec::new());
        self.block(body)
    }

    fn end_loop(&mut self) {
        let breaks = self.breaks.pop().unwrap_or_default();
        self.aim_here(&breaks);
    }

    fn repeat(&mut self, body: &[Statement], condition: &Expression) -> Generated<()> {
        let (start, kept, free) = (self.here(), self.alive.len(), self.free);
        self.breaks.push(Vec::new());
        self.statements(body)?;
        let again = self.jump_when(condition, false)?;
        for jump in again {
            self.aim(jump, start);
        }
        self.hide(kept);
        self.free = free;
        self.end_loop();
        Ok(())
    }

    fn branches(&mut self, arms: &[(Expression, Vec<Statement>)], otherwise: &[Statement]) -> Generated<()> {
        let mut ends = Vec::new();
        for (index, (condition, body)) in arms.iter().enumerate() {
            let skips = self.jump_when(condition, false)?;
            self.free = self.locals_end();
            self.block(body)?;
            if index + 1 < arms.len() || !otherwise.is_empty() {
                ends.push(self.emit(Op::Jump { by: 0 }));
            }
            self.aim_here(&skips);
        }
        self.block(otherwise)?;
        self.aim_here(&ends);
        Ok(())
    }

    /// Names for the registers that a loop has for itself.
    fn loop_state(&mut self, base: usize, names: [&str; 3]) -> Generated<()> {
        self.free = base;
        for name in names {
            let register = self.reserve(1)?;
            self.name(name.as_bytes(), register);
        }
        Ok(())
    }

    fn for_number(
        &mut self,
        variable: VariableId,
        bounds: [Option<&Expression>; 3],
        body: &[Statement],
        line: u32,
    ) -> Generated<()> {
        let (base, kept) = (self.free, self.alive.len());
        for bound in bounds {
            match bound {
                Some(bound) => self.next(bound)?,
                None => self.next(&Expression::Number(1.0))?,
            };
        }
        self.loop_state(base, ["(for index)", "(for limit)", "(for step)"])?;
        self.line = line;
        let prepare = self.emit(Op::ForPrepare { base: base as u8, by: 0 });
        let inner = self.alive.len();
        self.activate(&[variable])?;
        self.loop_body(body)?;
        self.hide(inner);
        self.line = line;
        let back = self.emit(Op::ForLoop { base: base as u8, by: 0 });
        self.aim(prepare, back);
        self.aim(back, prepare + 1);
        self.finish_for(base, kept);
        Ok(())
    }

    fn finish_for(&mut self, base: usize, kept: usize) {
        self.hide(kept);
        self.free = base;
        self.end_loop();
    }

    fn for_each(
        &mut self,
        variables: &[VariableId],
        values: &[Expression],
        body: &[Statement],
        line: u32,
    ) -> Generated<()> {
        let (base, kept) = (self.free, self.alive.len());
        self.list(values, 3)?;
        self.loop_state(base, ["(for generator)", "(for state)", "(for control)"])?;
        // The iterator and its two arguments are called from there.
        self.require(3)?;
        self.line = line;
        let start = self.emit(Op::Jump { by: 0 });
        let inner = self.alive.len();
        self.activate(variables)?;
        self.loop_body(body)?;
        self.hide(inner);
        self.aim_here(&[start]);
        self.line = line;
        self.emit(Op::ForEach { base: base as u8, results: variables.len() as u8 });
        let back = self.emit(Op::ForNext { base: base as u8, by: 0 });
        self.aim(back, start + 1);
        self.finish_for(base, kept);
        Ok(())
    }

    fn return_values(&mut self, values: &[Expression], line: u32) -> Generated<()> {
        if let [Expression::Suffixed(base, suffixes)] = values
            && matches!(suffixes.last(), Some(Suffix::Call(..) | Suffix::Method(..)))
        {
            let function = self.suffixed_results(base, suffixes, 0)?;
            if let Some(Op::Call { arguments, .. }) = self.proto.code.last().copied() {
                let last = self.here() - 1;
                self.proto.code[last] = Op::TailCall { function, arguments };
            }
            self.emit(Op::Return { first: function, count: 0 });
            return Ok(());
        }
        let (first, count) = match values {
            [value] if !is_open(value) => (self.any(value)?, 2),
            values => {
                let first = self.free as u8;
                let open = values.last().is_some_and(is_open);
                for value in values.iter().take(values.len() - usize::from(open)) {
                    self.next(value)?;
                }
                if let Some(last) = values.last().filter(|_| open) {
                    self.results(last, 0)?;
                }
                (first, if open { 0 } else { values.len() as u8 + 1 })
            }
        };
        self.line = line;
        self.emit(Op::Return { first, count });
        Ok(())
    }

    pub(super) fn closure(&mut self, body: &FunctionBody, to: u8) -> Generated<()> {
        let registers = &self.registers;
        let capture = |from: CaptureFrom| from.resolve(|variable| registers[variable]);
        let captures = body.upvalues.iter().map(|upvalue| capture(upvalue.from)).collect();
        let proto = generate(self.heap, body, self.proto.chunk, captures)?;
        self.proto.functions.push(proto);
        let function = (self.proto.functions.len() - 1) as u32;
        self.emit(Op::Closure { to, function });
        Ok(())
    }
}

/// Whether an expression may give any number of values.
pub(super) fn is_open(expression: &Expression) -> bool {
    match expression {
        Expression::Vararg => true,
        Expression::Suffixed(_, suffixes) => {
            matches!(suffixes.last(), Some(Suffix::Call(..) | Suffix::Method(..)))
        }
        _ => false,
    }
}

/// What is assigned: an expression, or the function of a `local function`.
trait Source {
    /// Into a variable's own register.
    fn assign(&self, generator: &mut Generator<'_>, register: u8) -> Generated<()>;
    fn operand(&self, generator: &mut Generator<'_>) -> Generated<Operand>;
}

struct Plain<'a>(&'a Expression);

impl Source for Plain<'_> {
    fn assign(&self, generator: &mut Generator<'_>, register: u8) -> Generated<()> {
        generator.assign_local(self.0, register)
    }

    fn operand(&self, generator: &mut Generator<'_>) -> Generated<Operand> {
        generator.operand(self.0)
    }
}

struct Function<'a>(&'a FunctionBody);

impl Source for Function<'_> {
    fn assign(&self, generator: &mut Generator<'_>, register: u8) -> Generated<()> {
        generator.closure(self.0, register)
    }

    fn operand(&self, generator: &mut Generator<'_>) -> Generated<Operand> {
        let to = generator.reserve(1)?;
        generator.closure(self.0, to)?;
        Ok(Operand::from(to))
    }
}
