//! Scripts against what Lua 5.1 makes of them.

#![allow(clippy::unwrap_used)]

mod collection;
mod weight;

use super::{Outcome, Vm};
use crate::resp::Protocol;
use crate::scripting::host::{CommandRequest, Host, Tick};
use crate::scripting::library;
use crate::scripting::lua::value::Value;

/// A host without a server, which lets a run go on for a while.
struct Alone {
    request: CommandRequest,
    /// Ticks until the script is killed.
    ticks: usize,
    /// Every second tick is a pause.
    pauses: bool,
    paused: bool,
    /// What the collector does in a pause; 0: a whole collection.
    units: usize,
}

impl Alone {
    fn new() -> Self {
        Self { request: CommandRequest::default(), ticks: 1_000_000, pauses: false, paused: false, units: 0 }
    }
}

impl Host for Alone {
    fn tick(&mut self) -> Tick {
        if self.ticks == 0 {
            return Tick::Kill;
        }
        self.ticks -= 1;
        self.paused = self.pauses && !self.paused;
        match (self.pauses, self.paused) {
            (true, true) => Tick::Pause,
            (true, false) => Tick::Continue(0),
            (false, _) => Tick::Continue(1000),
        }
    }

    fn request(&mut self) -> &mut CommandRequest {
        &mut self.request
    }

    fn run(&mut self) {}

    fn reply(&self) -> &[u8] {
        b"+OK\r\n"
    }

    fn set_resp3(&mut self, _: bool) {
        let _ = Protocol::Resp3;
    }

    fn log(&mut self, _: u8, _: &[u8]) {}

    fn may_run(&mut self) -> Option<bool> {
        None
    }

    fn set_replication(&mut self, _: u8) {}
}

fn shown(vm: &Vm, value: Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Boolean(value) => value.to_string(),
        Value::Number(_) | Value::String(_) => {
            let mut text = Vec::new();
            vm.write_text(&mut text, value);
            String::from_utf8_lossy(&text).into_owned()
        }
        other => other.type_name().into(),
    }
}

fn machine() -> Vm {
    let mut vm = Vm::new();
    library::open(&mut vm, false);
    vm
}

fn run_in(vm: &mut Vm, source: &str, host: &mut Alone) -> String {
    let function = match vm.compile(source.as_bytes(), b"@script") {
        Ok(function) => Value::Function(function),
        Err(message) => return String::from_utf8_lossy(&message).into_owned(),
    };
    let mut outcome = vm.start(function, &[], host);
    while outcome == Outcome::Paused {
        if host.units == 0 {
            vm.collect();
        } else {
            vm.collect_some(host.units);
        }
        if host.ticks.is_multiple_of(32) {
            collection::check(vm);
        }
        outcome = vm.resume(host);
    }
    match outcome {
        Outcome::Finished => {
            let values: Vec<String> = vm.results().iter().map(|value| shown(vm, *value)).collect();
            values.join(" ")
        }
        Outcome::Failed => format!("! {}", shown(vm, vm.thrown())),
        Outcome::Killed => "killed".into(),
        Outcome::Paused => unreachable!(),
    }
}

/// Each script with what it gives; run at once, and again with a collection, or a little of one, at every step.
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(run_in(&mut machine(), source, &mut Alone::new()), *expected, "{source}");
        for units in [0, 1, 20] {
            let mut slow = Alone { pauses: true, units, ..Alone::new() };
            assert_eq!(run_in(&mut machine(), source, &mut slow), *expected, "with pauses: {source}");
        }
    }
}

#[test]
fn expressions() {
    check(&[
        ("return 1 + 2 * 3 ^ 2 / 2 - 1", "9"),
        ("return 7 % 3, -7 % 3, 7 % -3, 2 ^ 10", "1 2 -2 1024"),
        ("return 1 .. 2 .. 'x' .. 3.5", "12x3.5"),
        ("return not nil, not 0, nil == false, 'a' < 'b', 1 <= 1, 2 ~= 3", "true false false true true true"),
        ("return 1 and 2, nil and 1, false or 3, nil or false, 1 or error()", "2 nil 3 false 1"),
        ("local a, b, c = (function() return 1, 2, 3 end)() return a, b, c", "1 2 3"),
        ("return (function() return 1, 2, 3 end)(), 10", "1 10"),
        ("return ((function() return 1, 2 end)())", "1"),
        ("return #'abc', #{1, 2, 3}, -'2', '10' + 5, '0x10' * 1", "3 3 -2 15 16"),
        ("local t = {1, 2, x = 3, [10] = 4; 5} return t[1], t[2], t[3], t.x, t[10], #t", "1 2 5 3 4 3"),
        ("return 'a\\65\\n\\'' .. [[x\ny]] .. [==[]]]==]", "aA\n'x\ny]]"),
        ("local a = 1 local b = a == 1 and 'yes' or 'no' return b, a ~= 1 and 'yes' or 'no'", "yes no"),
        ("local x = 5 x = x > 3 and x < 10 and x or 0 return x", "5"),
        (
            "return 2^63 .. '', 1e15 .. '', 0.1 .. '', 1/0, -1/0, 100 .. ''",
            "9.2233720368548e+18 1e+15 0.1 inf -inf 100",
        ),
    ]);
}

#[test]
fn statements() {
    check(&[
        ("local s = 0 for i = 1, 10 do s = s + i end return s", "55"),
        ("local s = 0 for i = 10, 1, -2 do s = s + i end return s", "30"),
        ("local s = '' for k, v in pairs({a = 1}) do s = s .. k .. v end return s", "a1"),
        ("local s = '' for i, v in ipairs({'x', 'y', nil, 'z'}) do s = s .. i .. v end return s", "1x2y"),
        ("local i = 0 while true do i = i + 1 if i > 5 then break end end return i", "6"),
        ("local i = 0 repeat local j = i i = i + 1 until j >= 3 return i", "4"),
        ("local a, b = 1, 2 a, b = b, a return a, b", "2 1"),
        ("local t = {} t.x, t.y = 1 return t.x, t.y", "1 nil"),
        ("local i = 1 local t = {} i, t[i] = i + 1, 20 return i, t[1], t[2]", "2 20 nil"),
        ("if nil then return 1 elseif false then return 2 else return 3 end", "3"),
        ("local function f(n) if n <= 1 then return 1 end return n * f(n - 1) end return f(10)", "3628800"),
        ("local function f(...) return select('#', ...), ... end return f(1, nil, 3)", "3 1 nil 3"),
        ("local function f(a, ...) local x, y = ... return a, x, y end return f(1, 2)", "1 2 nil"),
        ("local function f(...) return arg.n, arg[1] end return f(7, 8)", "2 7"),
        (
            "local o = {n = 1} function o:add(x) self.n = self.n + x return self end return o:add(2):add(3).n",
            "6",
        ),
        ("do local a <const> = 1 end", "script:1: unexpected symbol near '<'"),
        ("function g(a) return a end return g(5)", "5"),
        (
            "return pcall(function() local t = setmetatable({}, {__index = function(t, k) return k .. '!' end}) return t.x end)",
            "true x!",
        ),
    ]);
}

#[test]
fn closures_share_and_renew_their_variables() {
    check(&[
        (
            "local function counter() local n = 0 return function() n = n + 1 return n end end local a, b = counter(), counter() a() a() return a(), b()",
            "3 1",
        ),
        (
            "local t = {} for i = 1, 3 do t[i] = function() return i end end return t[1](), t[2](), t[3]()",
            "1 2 3",
        ),
        (
            "local t = {} local i = 0 while i < 3 do local j = i t[#t + 1] = function() j = j + 1 return j end i = i + 1 end return t[1](), t[1](), t[2](), t[3]()",
            "1 2 2 3",
        ),
        (
            "local function f(x) return function() return function() x = x + 1 return x end end end return f(1)()()",
            "2",
        ),
        ("local a = 1 local function g() a = a + 1 return a end g() return a, g()", "2 3"),
    ]);
}

#[test]
fn errors_are_worded_as_the_original_words_them() {
    check(&[
        ("local x return x.y", "! script:1: attempt to index local 'x' (a nil value)"),
        ("local x = 0/0 return x.y", "! script:1: attempt to index local 'x' (a number value)"),
        ("return foo.bar", "! script:1: attempt to index global 'foo' (a nil value)"),
        ("local t = {} return t.a.b", "! script:1: attempt to index field 'a' (a nil value)"),
        ("local t = {} t.f()", "! script:1: attempt to call field 'f' (a nil value)"),
        ("local t = {} t:m()", "! script:1: attempt to call method 'm' (a nil value)"),
        ("foo()", "! script:1: attempt to call global 'foo' (a nil value)"),
        ("\n\nlocal a = {} + 1", "! script:3: attempt to perform arithmetic on a table value"),
        (
            "local a = {} return a + 1",
            "! script:1: attempt to perform arithmetic on local 'a' (a table value)",
        ),
        ("local a = 'x' return a .. {}", "! script:1: attempt to concatenate a table value"),
        (
            "local t = {} return 'a' .. t.x .. 'b'",
            "! script:1: attempt to concatenate field 'x' (a nil value)",
        ),
        ("return 1 < 'x'", "! script:1: attempt to compare number with string"),
        ("return {} < {}", "! script:1: attempt to compare two table values"),
        ("return #nil", "! script:1: attempt to get length of a nil value"),
        (
            "local u = nil return (function() return u.x end)()",
            "! script:1: attempt to index upvalue 'u' (a nil value)",
        ),
        ("local t = {} t[nil] = 1", "! script:1: table index is nil"),
        ("local t = {} t[0/0] = 1", "! script:1: table index is NaN"),
        ("error('boom')", "! script:1: boom"),
        ("error('boom', 0)", "! boom"),
        ("local function f() error('boom', 2) end\nf()", "! script:2: boom"),
        ("error({})", "! table"),
        ("return string.rep()", "! script:1: bad argument #1 to 'rep' (string expected, got no value)"),
        ("return ('x'):rep({})", "! script:1: bad argument #1 to 'rep' (number expected, got table)"),
        ("return select(0)", "! script:1: bad argument #1 to 'select' (index out of range)"),
        ("return pcall(string.rep)", "false bad argument #1 to '?' (string expected, got no value)"),
        ("return assert(false)", "! script:1: assertion failed!"),
        ("return assert(1 == 2, 'no')", "! script:1: no"),
        ("for i = 'a', 2 do end", "! script:1: 'for' initial value must be a number"),
        (
            "return setmetatable(1, {})",
            "! script:1: bad argument #1 to 'setmetatable' (table expected, got number)",
        ),
    ]);
}

#[test]
fn syntax_errors_are_worded_as_the_original_words_them() {
    check(&[
        ("x = = 1", "script:1: unexpected symbol near '='"),
        ("for i = 1,", "script:1: unexpected symbol near '<eof>'"),
        ("if x then", "script:1: 'end' expected near '<eof>'"),
        ("if x then\n\n", "script:3: 'end' expected (to close 'if' at line 1) near '<eof>'"),
        ("return 'abc", "script:1: unfinished string near '<eof>'"),
        ("return 'abc\n'", "script:1: unfinished string near ''abc'"),
        ("x = 3x", "script:1: malformed number near '3x'"),
        ("break", "script:1: no loop to break near '<eof>'"),
        (
            "local function f() return ... end",
            "script:1: cannot use '...' outside a vararg function near '...'",
        ),
        ("f\n(1)", "script:2: ambiguous syntax (function call x new statement) near '('"),
        ("x.y", "script:1: '=' expected near '<eof>'"),
        ("x = }", "script:1: unexpected symbol near '}'"),
        ("a.b:c = 1", "script:1: function arguments expected near '='"),
        ("return return", "script:1: unexpected symbol near 'return'"),
        ("x = [=[abc", "script:1: unfinished long string near '<eof>'"),
        ("goto x", "script:1: '=' expected near 'x'"),
    ]);
}

#[test]
fn metatables_decide() {
    check(&[
        (
            "local m = {__add = function(a, b) return 'add' end} return setmetatable({}, m) + 1, 1 + setmetatable({}, m)",
            "add add",
        ),
        (
            "local m = {__eq = function() return true end} return setmetatable({}, m) == setmetatable({}, m), setmetatable({}, m) == 1",
            "true false",
        ),
        (
            "local m = {__lt = function() return true end} local a, b = setmetatable({}, m), setmetatable({}, m) return a < b, a <= b, a > b",
            "true false true",
        ),
        (
            "local m = {__concat = function(a, b) return 'c' end} return 'x' .. 'y' .. setmetatable({}, m), setmetatable({}, m) .. 'x'",
            "xc c",
        ),
        ("local m = {__call = function(self, a) return a + 1 end} return setmetatable({}, m)(5)", "6"),
        (
            "local log = {} local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, v * 2) end}) t.x = 4 return t.x",
            "8",
        ),
        (
            "local p = {x = 1} local t = setmetatable({}, {__index = setmetatable({}, {__index = p})}) return t.x",
            "1",
        ),
        ("return tostring(setmetatable({}, {__tostring = function() return 'me' end}))", "me"),
        ("return getmetatable(setmetatable({}, {__metatable = 'no'}))", "no"),
        (
            "setmetatable(setmetatable({}, {__metatable = 1}), {})",
            "! script:1: cannot change a protected metatable",
        ),
        ("local m = {__unm = function() return 'neg' end} return -setmetatable({}, m)", "neg"),
        (
            "local t = setmetatable({}, {__index = function(t, k) return k end}) return t.a, t[1], ('x'):upper()",
            "a 1 X",
        ),
        (
            "local t = setmetatable({}, {__lt = function() return nil end}) if t < t then return 1 else return 2 end",
            "2",
        ),
    ]);
}

#[test]
fn protected_calls_and_coroutines() {
    check(&[
        ("return pcall(error, 'x')", "false x"),
        ("return pcall(function() return 1, 2 end)", "true 1 2"),
        ("return xpcall(function() error('x', 0) end, function(e) return e .. '!' end)", "false x!"),
        ("return pcall(pcall)", "false bad argument #1 to '?' (value expected)"),
        ("return select('#', pcall(pcall, error))", "3"),
        (
            "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end) local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) return x, y, coroutine.status(co)",
            "2 20 dead",
        ),
        (
            "local f = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) return f(), f(), f()",
            "1 2 3",
        ),
        (
            "local co = coroutine.create(function() error('in') end) return coroutine.resume(co)",
            "false script:1: in",
        ),
        ("return coroutine.resume(coroutine.create(function() pcall(coroutine.yield) end))", "true"),
        (
            "local co co = coroutine.create(function() return coroutine.resume(co) end) return coroutine.resume(co)",
            "true false cannot resume non-suspended coroutine",
        ),
        ("coroutine.yield()", "! attempt to yield across metamethod/C-call boundary"),
    ]);
}

#[test]
fn libraries_of_the_language() {
    check(&[
        ("return string.find('hello world', 'o w'), string.find('hello', 'l+')", "5 3 4"),
        ("return string.match('key=val', '(%w+)=(%w+)'), ('  x '):match('^%s*(.-)%s*$')", "key x"),
        ("return string.gsub('hello', 'l', 'L'), string.gsub('abc', '%w', '%0%0', 2)", "heLLo aabbc 2"),
        (
            "return string.gsub('abc', '.', {a = 1, b = true}), (string.gsub('abc', '', '-'))",
            "! script:1: invalid replacement value (a boolean)",
        ),
        ("return (string.gsub('abc', '', '-')), (string.gsub('abc', 'b*', 'x'))", "-a-b-c- xaxxcx"),
        ("return (string.gsub('hello world', '%w+', function(w) return w:upper() end))", "HELLO WORLD"),
        (
            "local t = {} for w in string.gmatch('one two', '%a+') do t[#t + 1] = w end return table.concat(t, ',')",
            "one,two",
        ),
        (
            "return string.format('%5d|%-5s|%05.1f|%x|%q|%c|%g|%%', 42, 'ab', 3.14159, 255, 'a\"b', 65, 1e20)",
            "   42|ab   |003.1|ff|\"a\\\"b\"|A|1e+20|%",
        ),
        (
            "return string.byte('abc', 1, -1), string.char(72, 105), ('abc'):sub(-2), ('x'):rep(3)",
            "97 Hi bc xxx",
        ),
        ("return string.byte('abc', 2), ('abc'):reverse(), ('abc'):len()", "98 cba 3"),
        ("local t = {5, 2, 8, 1} table.sort(t) return table.concat(t, ' ')", "1 2 5 8"),
        (
            "local t = {5, 2, 8, 1} table.sort(t, function(a, b) return a > b end) return table.concat(t, ' ')",
            "8 5 2 1",
        ),
        (
            "local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) return table.concat(t, ' '), table.remove(t), table.remove(t, 1), #t",
            "0 1 2 3 3 0 2",
        ),
        ("return unpack({1, 2, 3}), select(2, 'a', 'b', 'c')", "1 b c"),
        (
            "return math.floor(-1.5), math.max(1, 5, 3), math.fmod(7, 3), math.huge, math.abs(-2)",
            "-2 5 1 inf 2",
        ),
        (
            "return tonumber('ff', 16), tonumber('z', 36), tonumber('8', 8), tonumber('1e1'), tonumber(''), tonumber('0x')",
            "255 35 nil 10 nil nil",
        ),
        (
            "return bit.band(0xff, 0x0f), bit.bnot(0), bit.lshift(1, 31), bit.tohex(255, 4), bit.bxor(1, 3)",
            "15 -1 -2147483648 00ff 2",
        ),
        ("return string.find('a.b', '.', 1, true), string.find('abc', 'b', -1), ('x'):find('')", "2 nil 1 0"),
        ("return ('THE (quick) fox'):find('%((%a+)%)'), ('x'):match('()')", "5 1"),
        ("return ('f(a(b)c)d'):match('%b()'), ('THE (quick)'):gsub('%f[%a]%a+', 'w')", "(a(b)c) w (w) 2"),
        (
            "return loadstring('return 1 + 1')(), loadstring('x =')",
            "2 nil [string \"x =\"]:1: unexpected symbol near '<eof>'",
        ),
        ("local n = 0 return load(function() n = n + 1 return ({'return ', '7'})[n] end)()", "7"),
        ("return pcall(unpack, {}, -2147483648, 2147483647)", "false too many results to unpack"),
        ("return pcall(string.dump, print or type), string.rep('ab', -1)", "false "),
        (
            "return next({}), type(next), rawlen, rawequal('a', 'a'), rawget({5}, 1)",
            "nil function nil true 5",
        ),
        (
            "local t = {3, 1, 2, 5, 4} return pcall(table.sort, t, function(a, b) return true end)",
            "false invalid order function for sorting",
        ),
    ]);
}

#[test]
fn a_run_is_bounded() {
    let mut host = Alone { ticks: 100, ..Alone::new() };
    assert_eq!(run_in(&mut machine(), "while true do end", &mut host), "killed");
    let mut host = Alone { ticks: 100, ..Alone::new() };
    assert_eq!(
        run_in(&mut machine(), "while true do pcall(function() while true do end end) end", &mut host),
        "killed"
    );
    let mut host = Alone { ticks: 100, ..Alone::new() };
    let slow = "return ('a'):rep(300):find(('a*'):rep(12) .. 'b')";
    assert_eq!(run_in(&mut machine(), slow, &mut host), "killed");
    let mut host = Alone { ticks: 100_000, ..Alone::new() };
    let much = "local s = ('x'):rep(1024) while true do s = s .. s end";
    assert_eq!(run_in(&mut machine(), much, &mut host), "! not enough memory");
    let mut vm = machine();
    let garbage = "for i = 1, 200000 do local t = {i, {}, function() return i end, 'x' .. i} end";
    assert_eq!(run_in(&mut vm, garbage, &mut Alone::new()), "");
    assert!(vm.heap.bytes() < 8 << 20, "{}", vm.heap.bytes());
}

#[test]
fn what_random_scripts_have_found() {
    check(&[
        ("return #string.format('%c', 123456789012), string.format('%c', -159.5)", "0 a"),
        ("return string.format('%#.3g|%#g|%#.1g|%#.3g', 100.25, 1e5, 3, 1e9)", "100.|100000.|3.|1.00e+09"),
        ("return (select(2, loadstring('a\\0b', '=x')))", "x:1: '=' expected"),
        ("return (select(2, loadstring('\\0', '=x')))", "x:1: unexpected symbol"),
        (
            "local G = 5 return ((2^32 and G)):sub(2)",
            "! script:1: attempt to index local 'G' (a number value)",
        ),
        (
            "local G = 5 return ((-(1 + 2) * 3 and G)):sub(2)",
            "! script:1: attempt to index local 'G' (a number value)",
        ),
        ("local G = 5 return ((0/0 and G)):sub(2)", "! script:1: attempt to index a number value"),
        ("return struct.unpack('dc0H', 'key=value, k2=v2')", " 11365 11"),
        ("return struct.unpack('', ' 12 ', -2)", "-2"),
        (
            "local G = 5 return #(G and G or G)",
            "! script:1: attempt to get length of local 'G' (a number value)",
        ),
        ("local G = 5 return #(x or G)", "! script:1: attempt to get length of a number value"),
    ]);
}

#[test]
fn keys_that_were_set_to_nil_are_known_to_next() {
    check(&[
        ("return next({[0] = nil}, -0)", "nil"),
        ("local t = {} t.x = nil return next(t, 'x')", "nil"),
        ("local t = {} t[1] = nil return next(t, 1)", "nil"),
        ("local t = {1, 2, 3} t[4] = nil return next(t, 4)", "nil"),
        ("local t = {a = 1} t.a = nil t.b = nil return next(t), next(t, 'b')", "nil nil"),
        ("local t = {} t[1] = nil t[1] = 5 t[2] = 6 return #t, next(t, 1)", "2 2 6"),
        ("local t = {} for i = 1, 1000 do t[i + 0.5] = nil end t.x = 1 return next(t)", "x 1"),
        ("return pcall(next, {}, 1)", "false invalid key to 'next'"),
        ("return pcall(next, {1, 2}, 'x')", "false invalid key to 'next'"),
        ("local t = setmetatable({}, {__newindex = function() end}) t.a = 1 return next(t, 'a')", "nil"),
        (
            "return pcall(function() setmetatable({}, {__newindex = function() end})[nil] = 1 end)",
            "false script:1: table index is nil",
        ),
    ]);
}

/// A script sees how a table is laid out: by its order, and by its border if it has holes. The results are Valkey's.
#[test]
fn tables_are_laid_out_as_the_original_lays_them_out() {
    check(&[
        ("local t = {} t[1] = 1 t[2] = 2 t[4] = 4 return #t", "4"),
        (
            "return #{1, nil, 3}, #{nil, nil, 3}, #{n = 1, nil, 2}, #{1, nil, 3, nil}, #{nil, 2, nil, 4}",
            "3 3 2 1 4",
        ),
        (
            "local function f(...) return #{...} end return f(nil, nil, 1), f(1, nil, nil), f(1, nil, 3, nil)",
            "3 1 1",
        ),
        ("local t = {} for i = 2, 10 do t[i] = i end return #t", "10"),
        ("local t = {} for i = 10, 1, -1 do t[i] = i end return #t", "10"),
        ("local t = {1, 2, 3, 4} t[4] = nil t[3] = nil t[6] = 1 local n = #t t[5] = 1 return n, #t", "2 2"),
        (
            "local s = '' for k in pairs({10, 20, x = 1, 30, y = 2, [5] = 5, [4] = 4, [true] = 1, [1.5] = 2, [-1] = 3, \
             [100] = 4}) do s = s .. tostring(k) .. ' ' end return s",
            "1 2 3 100 true -1 1.5 y 4 x 5 ",
        ),
        (
            "local s, t = '', {} for i = 1, 40 do t['k' .. i] = i end for k in pairs(t) do s = s .. k .. ' ' end return s",
            "k14 k35 k26 k10 k40 k31 k28 k8 k11 k20 k13 k30 k3 k18 k34 k38 k17 k29 k36 k1 k39 k33 k24 k32 \
             k27 k25 k9 k2 k6 k15 k22 k37 k16 k23 k21 k5 k7 k4 k12 k19 ",
        ),
        (
            "local s, t = '', {} for i = 1, 40 do t['k' .. i] = i end for i = 1, 40, 2 do t['k' .. i] = nil end \
             for i = 50, 60 do t['k' .. i] = 1 end for k in pairs(t) do s = s .. k .. ' ' end return s",
            "k14 k51 k26 k10 k40 k50 k57 k59 k58 k60 k28 k56 k8 k20 k55 k30 k54 k52 k18 k34 k38 k36 k24 \
             k32 k2 k6 k22 k53 k16 k4 k12 ",
        ),
        (
            "local s = '' for k in pairs(string) do s = s .. k .. ' ' end return s",
            "gsub byte upper dump match sub lower len rep format find reverse char gmatch gfind ",
        ),
    ]);
}

/// A table that is full and whose keys change is allocated anew for each key, as it is in C; others must not wait for that.
#[test]
fn allocating_a_table_anew_counts_as_work() {
    let mut host = Alone { ticks: 10_000, ..Alone::new() };
    let source = "local t = {} for i = 1, 64 do t['k' .. i] = i end \
        for i = 65, 20000 do t['k' .. i - 64] = nil t['k' .. i] = i end return t.k20000";
    assert_eq!(run_in(&mut machine(), source, &mut host), "20000");
    let ticks = 10_000 - host.ticks;
    assert!(ticks > 200, "{ticks}");
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("(", ")"), ("{", "}"), ("function() return ", " end")] {
        let source = format!("return {}1{}", open.repeat(1000), close.repeat(1000));
        let result = run_in(&mut machine(), &source, &mut Alone::new());
        assert!(result.contains("chunk has too many syntax levels"), "{result}");
    }
    let sum = format!("return 0{}", " + 1".repeat(50_000));
    assert_eq!(run_in(&mut machine(), &sum, &mut Alone::new()), "50000");
    let calls = format!("local f f = function() return f end return type(f{})", "()".repeat(20_000));
    assert_eq!(run_in(&mut machine(), &calls, &mut Alone::new()), "function");
}

/// Counts as the original does: its depths are seen by scripts. The figures are Valkey's.
#[test]
fn calls_within_calls_are_counted_as_the_original_counts_them() {
    let deep =
        "local d = 0 local function f() d = d + 1 return f() + 1 end local _, e = pcall(f) return d, e";
    assert_eq!(run_in(&mut machine(), deep, &mut Alone::new()), "19997 script:1: stack overflow");
    check(&[
        (
            "local d = 0 local function f() d = d + 1 local _, e = pcall(f) return e end return f(), d",
            "C stack overflow 199",
        ),
        (
            "local d = 0 local function f() d = d + 1 local _, e = xpcall(f, function(m) return m end) return e end \
             return f(), d",
            "C stack overflow 199",
        ),
        (
            "local d = 0 local function f() d = d + 1 local _, e = coroutine.resume(coroutine.create(f)) return e end \
             return f(), d",
            "C stack overflow 200",
        ),
        (
            "local d = 0 local function f() d = d + 1 local _, e = pcall(string.gsub, 'a', 'a', f) return e end \
             return tostring(f()), d",
            "C stack overflow 100",
        ),
        (
            "local d, t = 0, nil t = setmetatable({}, {__index = function(_, k) d = d + 1 return t[k + 1] end}) \
             local _, e = pcall(function() return t[1] end) return e, d",
            "script:1: C stack overflow 197",
        ),
        (
            "local d = 0 local function f() d = d + 1 for _ in f do end end local _, e = pcall(f) return e, d",
            "script:1: C stack overflow 198",
        ),
        (
            "local c = coroutine.create(function() for _ in function() return coroutine.yield(1) end do end end) \
             return coroutine.resume(c)",
            "false attempt to yield across metamethod/C-call boundary",
        ),
        (
            "local c = 0 local _, e = xpcall(error, function() c = c + 1 error('x') end) return e, c",
            "error in error handling 221",
        ),
        (
            "local function f(n) return loadstring('return ' .. ('('):rep(n) .. '1' .. (')'):rep(n), '=f') end \
             local _, e = f(198) return type(f(197)), e",
            "function f:1: chunk has too many syntax levels",
        ),
    ]);
}

#[test]
fn libraries_of_the_server() {
    check(&[
        (
            "return cjson.encode({1, 2, {a = 'x/y'}}), cjson.encode({}), cjson.encode({[1] = 1, [2] = 'b'})",
            "[1,2,{\"a\":\"x\\/y\"}] {} [1,\"b\"]",
        ),
        (
            "local t = cjson.decode([[{\"a\": [1, 2.5, null, true], \"b\": \"\\u00e9\\n\"}]]) return t.a[2], t.a[3] == cjson.null, t.a[4], t.b",
            "2.5 true true \u{e9}\n",
        ),
        ("return pcall(cjson.decode, '{\"a\" 1}')", "false Expected colon but found T_NUMBER at character 6"),
        ("return pcall(cjson.encode, 0/0)", "false Cannot serialise number: must not be NaN or Inf"),
        (
            "return pcall(cjson.decode, ('['):rep(1001))",
            "false Found too many nested data structures (1001) at character 1001",
        ),
        (
            "local t = {} t[1] = t return pcall(cjson.encode, t)",
            "false Cannot serialise, excessive nesting (1001)",
        ),
        (
            "return cjson.encode({1e15, 0.1, 123456789012345, -0.5}), cjson.decode('[1e3]')[1]",
            "[1e+15,0.1,1.2345678901234e+14,-0.5] 1000",
        ),
        (
            "local p = cmsgpack.pack({1, 'a', {x = true}, -5, 1.5, 300}) local t = cmsgpack.unpack(p) return #p, t[1], t[2], t[3].x, t[4], t[5], t[6]",
            "17 1 a true -5 1.5 300",
        ),
        ("return pcall(cmsgpack.unpack, '\\217')", "false Missing bytes in input."),
        ("return pcall(cmsgpack.unpack, '\\193')", "false Bad data format in input."),
        ("return cmsgpack.unpack_one('\\1\\2', 0)", "1 1"),
        ("local t = {} for i = 1, 20 do t = {t} end return #cmsgpack.pack(t)", "17"),
        ("return struct.unpack('>I2i4c3s', struct.pack('>I2i4c3s', 258, -2, 'abc', 'z'))", "258 -2 abc z 12"),
        ("return struct.size('!4 b i4 d'), struct.pack('<I2', 1) == '\\1\\0'", "16 true"),
        ("return pcall(struct.pack, '!3i', 1)", "false alignment 3 is not a power of 2"),
        ("return pcall(struct.unpack, 'I4', 'abc')", "false bad argument #2 to '?' (data string too short)"),
        ("return pcall(struct.pack, 'I33', 1)", "false integral size 33 is larger than limit of 32"),
    ]);
}
