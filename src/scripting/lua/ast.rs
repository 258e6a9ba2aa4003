//! The tree that the parser makes and the generator walks. Names are resolved already.
//!
//! What can be arbitrarily long in a source (operators of one level, suffixes, statements, `elseif`) is a list here, so
//! that the depth of the tree is bounded by the parser's own limit.

use super::code::{Arithmetic, Capture};

/// A place in [`FunctionBody::variables`].
pub(super) type VariableId = usize;

/// A local variable.
#[derive(Debug)]
pub(super) struct Variable {
    pub name: Box<[u8]>,
    /// A function within uses it.
    pub captured: bool,
}

/// A captured variable: its name and where the surrounding function has it.
#[derive(Debug)]
pub(super) struct UpvalueName {
    pub name: Box<[u8]>,
    /// The place of the surrounding function's variable, or of its own captured one.
    pub from: CaptureFrom,
}

/// Where the surrounding function has a captured variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CaptureFrom {
    Variable(VariableId),
    Upvalue(u8),
}

impl CaptureFrom {
    /// The same with the variable's register.
    pub(super) fn resolve(self, register: impl FnOnce(VariableId) -> u8) -> Capture {
        match self {
            Self::Variable(variable) => Capture::Register(register(variable)),
            Self::Upvalue(index) => Capture::Upvalue(index),
        }
    }
}

/// A function's source.
#[derive(Debug, Default)]
pub(super) struct FunctionBody {
    pub variables: Vec<Variable>,
    pub upvalues: Vec<UpvalueName>,
    /// The first variables.
    pub parameters: u8,
    pub takes_more: bool,
    /// It has a variable `arg` after its parameters; whether that is filled.
    pub arg: Option<bool>,
    pub body: Vec<Statement>,
    pub end_line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Arithmetic(Arithmetic),
    Concat,
    Compare(Comparison),
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Negate,
    Not,
    Length,
}

#[derive(Debug)]
pub(super) enum Expression {
    Nil,
    True,
    False,
    Number(f64),
    String(Vec<u8>),
    Vararg,
    Function(Box<FunctionBody>),
    Local(VariableId),
    Upvalue(u8),
    Global(Vec<u8>, u32),
    /// In parentheses: one value.
    Single(Box<Expression>),
    Suffixed(Box<Expression>, Vec<Suffix>),
    Unary(Unary, Box<Expression>, u32),
    /// Operators of one level and of falling ones, applied from the left.
    Chain(Box<Expression>, Vec<(Binary, Expression, u32)>),
    Table(Vec<Field>, u32),
}

impl Expression {
    /// Whether it is true whatever happens, or false.
    pub(super) fn constant_truth(&self) -> Option<bool> {
        match self {
            Self::Nil | Self::False => Some(false),
            Self::True | Self::Number(_) | Self::String(_) => Some(true),
            Self::Single(inner) => inner.constant_truth(),
            Self::Unary(Unary::Not, inner, _) => inner.constant_truth().map(|truth| !truth),
            _ => self.constant_number().map(|_| true),
        }
    }

    /// The number that it and what follows it are, if that is known as Lua's compiler knows it.
    pub(super) fn with_operators(&self, rest: &[(Binary, Self, u32)]) -> Option<f64> {
        let mut number = self.constant_number()?;
        for (operator, operand, _) in rest {
            let (Binary::Arithmetic(operation), operand) = (operator, operand.constant_number()?) else {
                return None;
            };
            if operand == 0.0 && matches!(operation, Arithmetic::Divide | Arithmetic::Modulo) {
                return None;
            }
            number = Some(operation.apply(number, operand)).filter(|result| !result.is_nan())?;
        }
        Some(number)
    }

    /// The number it is, if that is known as Lua's compiler knows it.
    fn constant_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Single(inner) => inner.constant_number(),
            Self::Unary(Unary::Negate, inner, _) => inner.constant_number().map(|number| -number),
            Self::Chain(first, rest) => first.with_operators(rest),
            _ => None,
        }
    }
}

/// What follows an expression. The numbers are lines.
#[derive(Debug)]
pub(super) enum Suffix {
    Index(Expression, u32),
    Call(Vec<Expression>, u32),
    Method(Vec<u8>, Vec<Expression>, u32),
}

#[derive(Debug)]
pub(super) enum Field {
    Item(Expression),
    Keyed(Expression, Expression, u32),
}

/// A statement and the lines it begins and ends at.
#[derive(Debug)]
pub(super) struct Statement {
    pub kind: StatementKind,
    pub begins: u32,
    pub line: u32,
}

#[derive(Debug)]
pub(super) enum StatementKind {
    Local(Vec<VariableId>, Vec<Expression>),
    LocalFunction(VariableId, Box<FunctionBody>),
    Assign(Vec<Expression>, Vec<Expression>),
    Call(Expression),
    Do(Vec<Statement>),
    While(Expression, Vec<Statement>),
    Repeat(Vec<Statement>, Expression),
    If(Vec<(Expression, Vec<Statement>)>, Vec<Statement>),
    ForNumber {
        variable: VariableId,
        from: Expression,
        to: Expression,
        step: Option<Expression>,
        body: Vec<Statement>,
        line: u32,
    },
    ForEach {
        variables: Vec<VariableId>,
        values: Vec<Expression>,
        body: Vec<Statement>,
        line: u32,
    },
    Return(Vec<Expression>),
    Break,
}
