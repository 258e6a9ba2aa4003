//! Random programs of the language: nested blocks, functions, closures, metatables, errors. Every loop is short, and a
//! function calls only those before it, so that each program ends.

use fastrand::Rng;

use super::calls;

const BINARY: &[&str] = &["+", "-", "*", "/", "%", "^", "==", "~=", "<", "<=", ">", ">=", "and", "or"];

pub struct Writer<'a> {
    random: &'a mut Rng,
    text: String,
    variables: usize,
    functions: usize,
    depth: usize,
    loops: usize,
}

/// The statements of a program.
pub fn program(random: &mut Rng) -> String {
    let mut writer = Writer { random, text: String::new(), variables: 0, functions: 0, depth: 0, loops: 0 };
    writer.block(8);
    writer.text
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn block(&mut self, statements: usize) {
        let (variables, functions) = (self.variables, self.functions);
        self.depth += 1;
        for _ in 0..self.random.usize(1..=statements) {
            self.statement();
        }
        self.depth -= 1;
        (self.variables, self.functions) = (variables, functions);
    }

    fn statement(&mut self) {
        let kind = if self.depth > 4 { self.random.u8(..6) } else { self.random.u8(..17) };
        match kind {
            0 | 1 => {
                let value = self.expression(0);
                self.line(&format!("local v{} = {value}", self.variables));
                self.variables += 1;
            }
            2 => {
                let (name, value) = (self.variable(), self.expression(0));
                self.line(&format!("{name} = {value}"));
            }
            3 => {
                let (key, value) = (self.atom(), self.expression(1));
                self.line(&format!("T[{key}] = {value}"));
            }
            4 | 5 => {
                let (one, other) = (self.expression(0), self.expression(0));
                self.line(&format!("R({one}, {other})"));
            }
            6 | 7 => self.branch(),
            8 => self.repetition(),
            9 | 10 => self.function(),
            11 | 12 => {
                self.line("R(pcall(function(...)");
                self.block(4);
                let value = self.expression(1);
                self.line(&format!("return {value}, ... end, 1, nil, 'x'))"));
            }
            13 => {
                let error = [
                    "error('text')",
                    "error({code=1})",
                    "error('text', 0)",
                    "error('text', 2)",
                    "error()",
                    "error(nil)",
                ];
                let error = error[self.random.usize(..error.len())];
                let condition = self.expression(1);
                self.line(&format!("if {condition} then {error} end"));
            }
            14 => {
                let function = self.random.usize(..calls::FUNCTIONS.len());
                let call = calls::call(self.random, function);
                if !calls::INCOMPARABLE.contains(&calls::FUNCTIONS[function].0) {
                    self.line(&format!("R(pcall(function() return {call} end))"));
                }
            }
            15 => self.metatable(),
            _ => {
                let value = self.expression(1);
                self.line(&format!(
                    "local v{0}, v{1} = {value}, (function(...) return ... end)(1, 2)",
                    self.variables,
                    self.variables + 1
                ));
                self.variables += 2;
            }
        }
    }

    fn branch(&mut self) {
        let condition = self.expression(0);
        self.line(&format!("if {condition} then"));
        self.block(3);
        if self.random.bool() {
            let condition = self.expression(1);
            self.line(&format!("elseif {condition} then"));
            self.block(2);
        }
        if self.random.bool() {
            self.line("else");
            self.block(3);
        }
        self.line("end");
    }

    fn repetition(&mut self) {
        if self.loops >= 2 {
            return;
        }
        self.loops += 1;
        let name = self.variables;
        self.variables += 1;
        let heads = [
            format!("for v{name} = 1, 3 do"),
            format!("for v{name} = 3, 1, -1 do"),
            format!("for v{name} = 0, 1, 0.25 do"),
            format!("for v{name}, x in ipairs({{1, 'b', false}}) do R(x)"),
            format!("for v{name}, x in pairs({{k = 2}}) do R(x)"),
            format!("for v{name} in string.gmatch('a b c', '%a') do"),
            // Nothing else sets what ends the loop.
            format!("local v{name}, w{name} = 0, 0 while w{name} < 3 do w{name} = w{name} + 1"),
            format!("local v{name}, w{name} = 0, 0 repeat w{name} = w{name} + 1"),
        ];
        let kind = self.random.usize(..heads.len());
        self.line(&heads[kind]);
        self.block(3);
        if self.random.u8(..4) == 0 {
            let condition = self.expression(1);
            self.line(&format!("if {condition} then break end"));
        }
        self.line(&if kind + 1 == heads.len() { format!("until w{name} > 2") } else { "end".to_owned() });
        self.variables = name;
        self.loops -= 1;
    }

    fn function(&mut self) {
        let (name, variables) = (self.functions, self.variables);
        self.line(&format!("local function f{name}(v{variables}, v{}, ...)", variables + 1));
        self.variables += 2;
        self.block(4);
        let value = self.expression(1);
        let end = match self.random.u8(..4) {
            0 => format!("return {value}, ..."),
            1 => "return select('#', ...), (...)".to_owned(),
            2 if name > 0 => format!("return f{}({value}, ...)", self.random.usize(..name)),
            _ => format!("return {value}"),
        };
        self.line(&end);
        self.line("end");
        self.variables = variables;
        self.functions += 1;
    }

    fn metatable(&mut self) {
        let events = [
            "__add",
            "__sub",
            "__mul",
            "__div",
            "__mod",
            "__pow",
            "__unm",
            "__concat",
            "__eq",
            "__lt",
            "__le",
            "__call",
            "__index",
            "__newindex",
            "__tostring",
        ];
        let fields: Vec<String> = (0..self.random.usize(1..5))
            .map(|_| {
                let event = events[self.random.usize(..events.len())];
                let body = [
                    "function(a, b) return 7 end",
                    "function(a, b) return type(a)..type(b) end",
                    "function(...) return ... end",
                    "{k = 1}",
                    "1",
                ];
                format!("{event} = {}", body[self.random.usize(..body.len())])
            })
            .collect();
        self.line(&format!("local v{} = setmetatable({{}}, {{{}}})", self.variables, fields.join(", ")));
        self.variables += 1;
    }

    fn variable(&mut self) -> String {
        match self.variables {
            0 => "G".to_owned(),
            // One past the last is a global variable that is not there.
            count if self.random.u8(..40) == 0 => format!("v{count}"),
            count => format!("v{}", self.random.usize(..count)),
        }
    }

    fn atom(&mut self) -> String {
        match self.random.u8(..8) {
            0 => calls::number(self.random),
            1 => calls::text(self.random),
            2 => self.random.i32(-3..10).to_string(),
            3 => (*["nil", "true", "false", "T", "{}", "#T", "T.k", "T[1]", "KEYS[1]", "ARGV[2]"]
                .get(self.random.usize(..10))
                .unwrap())
            .to_owned(),
            _ => self.variable(),
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth > 3 {
            return self.atom();
        }
        match self.random.u8(..13) {
            0..=3 => self.atom(),
            4..=6 => {
                let operator = BINARY[self.random.usize(..BINARY.len())];
                let (left, right) = (self.expression(depth + 1), self.expression(depth + 1));
                if self.random.bool() {
                    format!("({left} {operator} {right})")
                } else {
                    format!("{left} {operator} {right}")
                }
            }
            7 => format!("X({} .. {})", self.expression(depth + 1), self.expression(depth + 1)),
            8 => {
                let operator = ["not ", "-", "#"][self.random.usize(..3)];
                format!("{operator}{}", self.expression(depth + 1))
            }
            9 if self.functions > 0 => {
                let name = self.random.usize(..self.functions);
                format!("f{name}({}, {})", self.expression(depth + 1), self.expression(depth + 1))
            }
            10 => {
                let (one, other) = (self.expression(depth + 1), self.expression(depth + 1));
                format!("({{{one}, k = {other}}})[{}]", self.atom())
            }
            11 => format!(
                "({}):{}",
                self.expression(depth + 1),
                ["rep(2)", "upper()", "sub(2)", "len()", "nope()", "byte()"][self.random.usize(..6)]
            ),
            _ => {
                let value = self.expression(depth + 1);
                format!("(function(...) local a, b = ... return a, {value} end)({})", self.atom())
            }
        }
    }
}
