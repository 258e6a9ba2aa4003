//! The grammar of Lua 5.1: tokens into a tree with resolved names, with the error texts and limits of the original.

use super::ast::{
    Binary, CaptureFrom, Comparison, Expression, Field, FunctionBody, Statement, StatementKind, Suffix,
    Unary, UpvalueName, Variable, VariableId,
};
use super::code::Arithmetic;
use super::lexer::{Lexer, SyntaxError, Token, token_text};

/// How deep constructs may be nested (Lua: `LUAI_MAXCCALLS`).
const LEVELS_MAX: usize = 200;

/// Variables of a function alive at once (Lua: `LUAI_MAXVARS`).
const LOCALS_MAX: usize = 200;

/// Variables a function may capture (Lua: `LUAI_MAXUPVALUES`).
const UPVALUES_MAX: usize = 60;

/// Binds tighter than any operator with two operands but `^`.
const UNARY_PRIORITY: u8 = 8;

type Parsed<T> = Result<T, SyntaxError>;

/// A function being parsed.
#[derive(Default)]
struct Scope {
    body: FunctionBody,
    /// Variables in sight, innermost last.
    visible: Vec<VariableId>,
    /// Loops around, of this function.
    loops: usize,
    line: u32,
    uses_vararg: bool,
}

/// Where a name leads to.
enum Resolved {
    Local(VariableId),
    Upvalue(u8),
    Global,
}

pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    ahead: Option<Token>,
    /// The line of the last token that was taken.
    last_line: u32,
    scopes: Vec<Scope>,
    levels: usize,
}

/// Parses a whole chunk, `depth` levels deep already.
pub(super) fn parse(source: &[u8], chunk: &[u8], depth: usize) -> Parsed<FunctionBody> {
    let mut parser = Parser {
        lexer: Lexer::new(source, chunk),
        token: Token::End,
        ahead: None,
        last_line: 1,
        scopes: vec![Scope::default()],
        levels: depth,
    };
    parser.scope().body.takes_more = true;
    parser.take()?;
    let body = parser.block()?;
    parser.check(&Token::End)?;
    let line = parser.lexer.line;
    let scope = parser.scope();
    scope.body.body = body;
    scope.body.end_line = line;
    Ok(std::mem::take(&mut scope.body))
}

impl Parser<'_> {
    fn scope(&mut self) -> &mut Scope {
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// Goes on to the next token; gives the one that was taken.
    fn take(&mut self) -> Parsed<Token> {
        self.last_line = self.lexer.line;
        let next = match self.ahead.take() {
            Some(token) => token,
            None => self.lexer.next()?,
        };
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn is(&self, sign: u8) -> bool {
        self.token == Token::Char(sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(found) if found == word)
    }

    fn accept(&mut self, token: &Token) -> Parsed<bool> {
        let found = self.token == *token;
        if found {
            self.take()?;
        }
        Ok(found)
    }

    fn error(&self, message: &str) -> SyntaxError {
        self.lexer.error_at(message, &self.token)
    }

    fn check(&self, token: &Token) -> Parsed<()> {
        if self.token == *token {
            return Ok(());
        }
        Err(self.error(&format!("'{}' expected", token_text(token))))
    }

    fn expect(&mut self, token: &Token) -> Parsed<()> {
        self.check(token)?;
        self.take().map(|_| ())
    }

    /// The end of what began with `opening` at `line`.
    fn expect_match(&mut self, closing: &Token, opening: &str, line: u32) -> Parsed<()> {
        if self.token == *closing {
            return self.take().map(|_| ());
        }
        if line == self.lexer.line {
            return self.check(closing);
        }
        let closing = token_text(closing);
        Err(self.error(&format!("'{closing}' expected (to close '{opening}' at line {line})")))
    }

    fn name(&mut self) -> Parsed<Vec<u8>> {
        if !matches!(self.token, Token::Name(_)) {
            return Err(self.error("'<name>' expected"));
        }
        match self.take()? {
            Token::Name(name) => Ok(name),
            _ => Ok(Vec::new()),
        }
    }

    fn enter_level(&mut self) -> Parsed<()> {
        self.levels += 1;
        if self.levels > LEVELS_MAX {
            return Err(self.lexer.plain_error("chunk has too many syntax levels"));
        }
        Ok(())
    }

    fn limit_error(&mut self, max: usize, what: &str) -> SyntaxError {
        let line = self.scope().line;
        let place = if line == 0 { "main function".to_owned() } else { format!("function at line {line}") };
        self.lexer.plain_error(&format!("{place} has more than {max} {what}"))
    }

    // --- names ---

    /// A variable that comes into sight with [`Self::show`].
    fn declare(&mut self, name: &[u8]) -> Parsed<VariableId> {
        let variables = &mut self.scope().body.variables;
        variables.push(Variable { name: name.into(), captured: false });
        Ok(variables.len() - 1)
    }

    fn show(&mut self, variables: &[VariableId]) -> Parsed<()> {
        self.scope().visible.extend_from_slice(variables);
        if self.scope().visible.len() > LOCALS_MAX {
            return Err(self.limit_error(LOCALS_MAX, "local variables"));
        }
        Ok(())
    }

    fn resolve(&mut self, name: &[u8]) -> Parsed<Resolved> {
        let innermost = self.scopes.len() - 1;
        if let Some(variable) = self.local_of(innermost, name) {
            return Ok(Resolved::Local(variable));
        }
        let known = |scope: &Scope| scope.body.upvalues.iter().position(|upvalue| &*upvalue.name == name);
        let Some((level, mut from)) = (0..innermost).rev().find_map(|level| {
            let local = self.local_of(level, name).map(CaptureFrom::Variable);
            let found =
                local.or_else(|| known(&self.scopes[level]).map(|at| CaptureFrom::Upvalue(at as u8)))?;
            Some((level, found))
        }) else {
            return Ok(match known(&self.scopes[innermost]) {
                Some(at) => Resolved::Upvalue(at as u8),
                None => Resolved::Global,
            });
        };
        if let CaptureFrom::Variable(variable) = from {
            self.scopes[level].body.variables[variable].captured = true;
        }
        for inner in level + 1..=innermost {
            let upvalues = &mut self.scopes[inner].body.upvalues;
            let same = |upvalue: &UpvalueName| &*upvalue.name == name && upvalue.from == from;
            let index = upvalues.iter().position(same).unwrap_or_else(|| {
                upvalues.push(UpvalueName { name: name.into(), from });
                upvalues.len() - 1
            });
            if index >= UPVALUES_MAX {
                return Err(self.limit_error(UPVALUES_MAX, "upvalues"));
            }
            from = CaptureFrom::Upvalue(index as u8);
        }
        Ok(match from {
            CaptureFrom::Upvalue(index) => Resolved::Upvalue(index),
            CaptureFrom::Variable(variable) => Resolved::Local(variable),
        })
    }

    fn local_of(&self, level: usize, name: &[u8]) -> Option<VariableId> {
        let scope = &self.scopes[level];
        scope.visible.iter().rev().copied().find(|id| &*scope.body.variables[*id].name == name)
    }

    fn variable(&mut self) -> Parsed<Expression> {
        let name = self.name()?;
        let line = self.last_line;
        Ok(match self.resolve(&name)? {
            Resolved::Local(variable) => Expression::Local(variable),
            Resolved::Upvalue(index) => Expression::Upvalue(index),
            Resolved::Global => Expression::Global(name, line),
        })
    }

    // --- statements ---

    fn block_follows(&self) -> bool {
        matches!(self.token, Token::End | Token::Word("else" | "elseif" | "end" | "until"))
    }

    /// Statements whose variables stay in sight until the caller hides them.
    fn open_block(&mut self) -> Parsed<Vec<Statement>> {
        let mut statements = Vec::new();
        self.enter_level()?;
        let mut last = false;
        while !last && !self.block_follows() {
            last = self.is_word("return") || self.is_word("break");
            let begins = self.lexer.line;
            // A function that is defined by its name is set in the first of its lines.
            let defines = self.is_word("function");
            let kind = self.statement()?;
            let line = if defines { begins } else { self.last_line };
            self.accept(&Token::Char(b';'))?;
            statements.push(Statement { kind, begins, line });
        }
        self.levels -= 1;
        Ok(statements)
    }

    fn block(&mut self) -> Parsed<Vec<Statement>> {
        let visible = self.scope().visible.len();
        let statements = self.open_block()?;
        self.scope().visible.truncate(visible);
        Ok(statements)
    }

    fn loop_body(&mut self) -> Parsed<Vec<Statement>> {
        self.scope().loops += 1;
        let body = self.block()?;
        self.scope().loops -= 1;
        Ok(body)
    }

    fn statement(&mut self) -> Parsed<StatementKind> {
        let line = self.lexer.line;
        let Token::Word(word) = self.token else { return self.expression_statement() };
        match word {
            "if" => self.if_statement(line),
            "while" => {
                self.take()?;
                let condition = self.expression()?;
                self.expect(&Token::Word("do"))?;
                let body = self.loop_body()?;
                self.expect_match(&Token::Word("end"), "while", line)?;
                Ok(StatementKind::While(condition, body))
            }
            "do" => {
                self.take()?;
                let body = self.block()?;
                self.expect_match(&Token::Word("end"), "do", line)?;
                Ok(StatementKind::Do(body))
            }
            "for" => self.for_statement(line),
            "repeat" => self.repeat_statement(line),
            "function" => self.function_statement(line),
            "local" => self.local_statement(),
            "return" => {
                self.take()?;
                if self.block_follows() || self.is(b';') {
                    return Ok(StatementKind::Return(Vec::new()));
                }
                self.expressions().map(StatementKind::Return)
            }
            "break" => {
                self.take()?;
                if self.scope().loops == 0 {
                    return Err(self.error("no loop to break"));
                }
                Ok(StatementKind::Break)
            }
            _ => self.expression_statement(),
        }
    }

    fn if_statement(&mut self, line: u32) -> Parsed<StatementKind> {
        let mut arms = Vec::new();
        loop {
            self.take()?;
            let condition = self.expression()?;
            self.expect(&Token::Word("then"))?;
            arms.push((condition, self.block()?));
            if !self.is_word("elseif") {
                break;
            }
        }
        let otherwise = if self.accept(&Token::Word("else"))? { self.block()? } else { Vec::new() };
        self.expect_match(&Token::Word("end"), "if", line)?;
        Ok(StatementKind::If(arms, otherwise))
    }

    fn repeat_statement(&mut self, line: u32) -> Parsed<StatementKind> {
        self.take()?;
        let visible = self.scope().visible.len();
        self.scope().loops += 1;
        let body = self.open_block()?;
        self.scope().loops -= 1;
        self.expect_match(&Token::Word("until"), "repeat", line)?;
        // The condition sees the variables of the body.
        let condition = self.expression()?;
        self.scope().visible.truncate(visible);
        Ok(StatementKind::Repeat(body, condition))
    }

    fn for_statement(&mut self, line: u32) -> Parsed<StatementKind> {
        self.take()?;
        let first = self.name()?;
        let visible = self.scope().visible.len();
        let kind = match self.token {
            Token::Char(b'=') => self.for_number(&first, line)?,
            Token::Char(b',') | Token::Word("in") => self.for_each(&first, line)?,
            _ => return Err(self.error("'=' or 'in' expected")),
        };
        self.expect_match(&Token::Word("end"), "for", line)?;
        self.scope().visible.truncate(visible);
        Ok(kind)
    }

    /// The variables that a loop has for itself count against the limit too.
    fn hide_in_loop(&mut self, names: &[&str]) -> Parsed<()> {
        for name in names {
            let variable = self.declare(name.as_bytes())?;
            self.show(&[variable])?;
        }
        Ok(())
    }

    fn for_number(&mut self, name: &[u8], line: u32) -> Parsed<StatementKind> {
        self.take()?;
        let from = self.expression()?;
        self.expect(&Token::Char(b','))?;
        let to = self.expression()?;
        let step = if self.accept(&Token::Char(b','))? { Some(self.expression()?) } else { None };
        self.hide_in_loop(&["(for index)", "(for limit)", "(for step)"])?;
        self.expect(&Token::Word("do"))?;
        let variable = self.declare(name)?;
        self.show(&[variable])?;
        let body = self.loop_body()?;
        Ok(StatementKind::ForNumber { variable, from, to, step, body, line })
    }

    fn for_each(&mut self, first: &[u8], line: u32) -> Parsed<StatementKind> {
        let mut names = vec![first.to_vec()];
        while self.accept(&Token::Char(b','))? {
            names.push(self.name()?);
        }
        self.expect(&Token::Word("in"))?;
        let values = self.expressions()?;
        self.hide_in_loop(&["(for generator)", "(for state)", "(for control)"])?;
        self.expect(&Token::Word("do"))?;
        let variables = names.iter().map(|name| self.declare(name)).collect::<Parsed<Vec<_>>>()?;
        self.show(&variables)?;
        let body = self.loop_body()?;
        Ok(StatementKind::ForEach { variables, values, body, line })
    }

    fn function_statement(&mut self, line: u32) -> Parsed<StatementKind> {
        self.take()?;
        let base = self.variable()?;
        let mut suffixes = Vec::new();
        let mut method = false;
        while !method && (self.is(b'.') || self.is(b':')) {
            method = self.is(b':');
            self.take()?;
            let name = self.name()?;
            suffixes.push(Suffix::Index(Expression::String(name), self.last_line));
        }
        let target = if suffixes.is_empty() { base } else { Expression::Suffixed(Box::new(base), suffixes) };
        let body = self.function_body(method, line)?;
        Ok(StatementKind::Assign(vec![target], vec![Expression::Function(body)]))
    }

    fn local_statement(&mut self) -> Parsed<StatementKind> {
        self.take()?;
        if self.accept(&Token::Word("function"))? {
            let name = self.name()?;
            let variable = self.declare(&name)?;
            self.show(&[variable])?;
            let line = self.lexer.line;
            return Ok(StatementKind::LocalFunction(variable, self.function_body(false, line)?));
        }
        let mut variables = Vec::new();
        loop {
            let name = self.name()?;
            variables.push(self.declare(&name)?);
            if !self.accept(&Token::Char(b','))? {
                break;
            }
        }
        let values = if self.accept(&Token::Char(b'='))? { self.expressions()? } else { Vec::new() };
        self.show(&variables)?;
        Ok(StatementKind::Local(variables, values))
    }

    fn expression_statement(&mut self) -> Parsed<StatementKind> {
        let first = self.suffixed()?;
        if let Expression::Suffixed(_, suffixes) = &first
            && matches!(suffixes.last(), Some(Suffix::Call(..) | Suffix::Method(..)))
        {
            return Ok(StatementKind::Call(first));
        }
        let mut targets = vec![first];
        loop {
            let assignable = match targets.last() {
                Some(Expression::Local(_) | Expression::Upvalue(_) | Expression::Global(..)) => true,
                Some(Expression::Suffixed(_, suffixes)) => matches!(suffixes.last(), Some(Suffix::Index(..))),
                _ => false,
            };
            if !assignable {
                return Err(self.error("syntax error"));
            }
            if !self.accept(&Token::Char(b','))? {
                break;
            }
            let target = self.suffixed()?;
            let most = LEVELS_MAX.saturating_sub(self.levels);
            if targets.len() > most {
                return Err(self.limit_error(most, "variables in assignment"));
            }
            targets.push(target);
        }
        self.expect(&Token::Char(b'='))?;
        let values = self.expressions()?;
        Ok(StatementKind::Assign(targets, values))
    }

    // --- expressions ---

    fn expressions(&mut self) -> Parsed<Vec<Expression>> {
        let mut list = vec![self.expression()?];
        while self.accept(&Token::Char(b','))? {
            list.push(self.expression()?);
        }
        Ok(list)
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.operators(0)
    }

    /// An expression of operators that bind tighter than `limit`.
    fn operators(&mut self, limit: u8) -> Parsed<Expression> {
        self.enter_level()?;
        let unary = match self.token {
            Token::Char(b'-') => Some(Unary::Negate),
            Token::Char(b'#') => Some(Unary::Length),
            Token::Word("not") => Some(Unary::Not),
            _ => None,
        };
        let first = match unary {
            Some(unary) => {
                self.take()?;
                let operand = self.operators(UNARY_PRIORITY)?;
                match (unary, operand) {
                    (Unary::Negate, Expression::Number(number)) => Expression::Number(-number),
                    (unary, operand) => Expression::Unary(unary, Box::new(operand), self.last_line),
                }
            }
            None => self.simple_expression()?,
        };
        let mut rest = Vec::new();
        while let Some((operator, _, right)) = binary(&self.token).filter(|(_, left, _)| *left > limit) {
            self.take()?;
            let operand = self.operators(right)?;
            rest.push((operator, operand, self.last_line));
        }
        self.levels -= 1;
        Ok(if rest.is_empty() { first } else { Expression::Chain(Box::new(first), rest) })
    }

    fn simple_expression(&mut self) -> Parsed<Expression> {
        let expression = match &self.token {
            Token::Number(number) => Expression::Number(*number),
            Token::String(_) => {
                let Token::String(bytes) = self.take()? else { return Ok(Expression::Nil) };
                return Ok(Expression::String(bytes));
            }
            Token::Word("nil") => Expression::Nil,
            Token::Word("true") => Expression::True,
            Token::Word("false") => Expression::False,
            Token::Word("...") => {
                if !self.scope().body.takes_more {
                    return Err(self.error("cannot use '...' outside a vararg function"));
                }
                self.scope().uses_vararg = true;
                Expression::Vararg
            }
            Token::Char(b'{') => return self.table(),
            Token::Word("function") => {
                let line = self.lexer.line;
                self.take()?;
                return self.function_body(false, line).map(Expression::Function);
            }
            _ => return self.suffixed(),
        };
        self.take()?;
        Ok(expression)
    }

    fn primary(&mut self) -> Parsed<Expression> {
        if self.is(b'(') {
            let line = self.lexer.line;
            self.take()?;
            let inner = self.expression()?;
            self.expect_match(&Token::Char(b')'), "(", line)?;
            return Ok(Expression::Single(Box::new(inner)));
        }
        if matches!(self.token, Token::Name(_)) {
            return self.variable();
        }
        Err(self.error("unexpected symbol"))
    }

    fn suffixed(&mut self) -> Parsed<Expression> {
        let base = self.primary()?;
        let mut suffixes = Vec::new();
        loop {
            let line = self.lexer.line;
            match &self.token {
                Token::Char(b'.') => {
                    self.take()?;
                    let name = self.name()?;
                    suffixes.push(Suffix::Index(Expression::String(name), self.last_line));
                }
                Token::Char(b'[') => {
                    let key = self.bracketed()?;
                    suffixes.push(Suffix::Index(key, self.last_line));
                }
                Token::Char(b':') => {
                    self.take()?;
                    let name = self.name()?;
                    let line = self.lexer.line;
                    let arguments = self.arguments()?;
                    suffixes.push(Suffix::Method(name, arguments, line));
                }
                Token::Char(b'(' | b'{') | Token::String(_) => {
                    let arguments = self.arguments()?;
                    suffixes.push(Suffix::Call(arguments, line));
                }
                _ => break,
            }
        }
        Ok(if suffixes.is_empty() { base } else { Expression::Suffixed(Box::new(base), suffixes) })
    }

    fn bracketed(&mut self) -> Parsed<Expression> {
        self.take()?;
        let key = self.expression()?;
        self.expect(&Token::Char(b']'))?;
        Ok(key)
    }

    fn arguments(&mut self) -> Parsed<Vec<Expression>> {
        match &self.token {
            Token::Char(b'(') => {
                let line = self.lexer.line;
                if line != self.last_line {
                    return Err(self.error("ambiguous syntax (function call x new statement)"));
                }
                self.take()?;
                if self.accept(&Token::Char(b')'))? {
                    return Ok(Vec::new());
                }
                let arguments = self.expressions()?;
                self.expect_match(&Token::Char(b')'), "(", line)?;
                Ok(arguments)
            }
            Token::Char(b'{') => Ok(vec![self.table()?]),
            Token::String(_) => {
                let Token::String(bytes) = self.take()? else { return Ok(Vec::new()) };
                Ok(vec![Expression::String(bytes)])
            }
            _ => Err(self.error("function arguments expected")),
        }
    }

    fn table(&mut self) -> Parsed<Expression> {
        let line = self.lexer.line;
        self.expect(&Token::Char(b'{'))?;
        let mut fields = Vec::new();
        while !self.is(b'}') {
            let field = match &self.token {
                Token::Name(_) => {
                    let ahead = self.lexer.next()?;
                    let keyed = ahead == Token::Char(b'=');
                    self.ahead = Some(ahead);
                    if keyed {
                        let name = self.name()?;
                        self.take()?;
                        Field::Keyed(Expression::String(name), self.expression()?, self.last_line)
                    } else {
                        Field::Item(self.expression()?)
                    }
                }
                Token::Char(b'[') => {
                    let key = self.bracketed()?;
                    self.expect(&Token::Char(b'='))?;
                    Field::Keyed(key, self.expression()?, self.last_line)
                }
                _ => Field::Item(self.expression()?),
            };
            fields.push(field);
            if !self.accept(&Token::Char(b','))? && !self.accept(&Token::Char(b';'))? {
                break;
            }
        }
        self.expect_match(&Token::Char(b'}'), "{", line)?;
        Ok(Expression::Table(fields, line))
    }

    fn function_body(&mut self, method: bool, line: u32) -> Parsed<Box<FunctionBody>> {
        self.scopes.push(Scope { line, ..Scope::default() });
        self.expect(&Token::Char(b'('))?;
        let mut takes_more = false;
        if method {
            let variable = self.declare(b"self")?;
            self.show(&[variable])?;
        }
        while !self.is(b')') {
            match &self.token {
                Token::Name(_) => {
                    let name = self.name()?;
                    let variable = self.declare(&name)?;
                    self.show(&[variable])?;
                }
                Token::Word("...") => {
                    self.take()?;
                    self.scope().body.parameters = self.scope().visible.len() as u8;
                    let variable = self.declare(b"arg")?;
                    self.show(&[variable])?;
                    takes_more = true;
                    self.scope().body.takes_more = true;
                }
                _ => return Err(self.error("<name> or '...' expected")),
            }
            if takes_more || !self.accept(&Token::Char(b','))? {
                break;
            }
            if self.is(b')') {
                return Err(self.error("<name> or '...' expected"));
            }
        }
        if !takes_more {
            self.scope().body.parameters = self.scope().visible.len() as u8;
        }
        self.expect(&Token::Char(b')'))?;
        let body = self.block()?;
        let end_line = self.lexer.line;
        self.expect_match(&Token::Word("end"), "function", line)?;
        let mut scope = self.scopes.pop().unwrap_or_default();
        scope.body.body = body;
        scope.body.end_line = end_line;
        scope.body.arg = takes_more.then_some(!scope.uses_vararg);
        Ok(Box::new(scope.body))
    }
}

/// An operator with two operands, and how tightly it binds to the left and to the right.
fn binary(token: &Token) -> Option<(Binary, u8, u8)> {
    use Arithmetic::{Add, Divide, Modulo, Multiply, Power, Subtract};
    use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    Some(match token {
        Token::Char(b'+') => (Binary::Arithmetic(Add), 6, 6),
        Token::Char(b'-') => (Binary::Arithmetic(Subtract), 6, 6),
        Token::Char(b'*') => (Binary::Arithmetic(Multiply), 7, 7),
        Token::Char(b'/') => (Binary::Arithmetic(Divide), 7, 7),
        Token::Char(b'%') => (Binary::Arithmetic(Modulo), 7, 7),
        Token::Char(b'^') => (Binary::Arithmetic(Power), 10, 9),
        Token::Char(b'<') => (Binary::Compare(Less), 3, 3),
        Token::Char(b'>') => (Binary::Compare(Greater), 3, 3),
        Token::Word("..") => (Binary::Concat, 5, 4),
        Token::Word("==") => (Binary::Compare(Equal), 3, 3),
        Token::Word("~=") => (Binary::Compare(NotEqual), 3, 3),
        Token::Word("<=") => (Binary::Compare(LessEqual), 3, 3),
        Token::Word(">=") => (Binary::Compare(GreaterEqual), 3, 3),
        Token::Word("and") => (Binary::And, 2, 2),
        Token::Word("or") => (Binary::Or, 1, 1),
        _ => return None,
    })
}
