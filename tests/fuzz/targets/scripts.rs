//! Scripts: whatever a text is, the interpreter ends with a result or an error, in bounded time and memory, and is as good
//! as new for the next one. What libraries take apart and put together again is the same.

use weighbridge::memory::MemoryUsage;
use weighbridge::scripting::host::{CommandRequest, Host, Tick};
use weighbridge::scripting::library::{Versions, open_for_eval, set_script_arguments};
use weighbridge::scripting::lua::value::Value;
use weighbridge::scripting::lua::vm::{Outcome, Vm};

use super::words;
use crate::mutation::Grammar;

/// Looks at the clock, as it were, that a script may live for.
const TICKS: u32 = 40;
/// Steps between two of them.
const STEPS: i64 = 5_000;
/// Bytes that an interpreter weighs at most: what its objects may, and what holds them.
const WEIGHT_MAX: usize = 3 << 30;

const REPLIES: [&[u8]; 10] = [
    b"+OK\r\n",
    b":42\r\n",
    b"$-1\r\n",
    b"$5\r\nhello\r\n",
    b"*3\r\n:1\r\n$1\r\na\r\n*1\r\n+x\r\n",
    b"-ERR wrong\r\n",
    b"%1\r\n+k\r\n,1.5\r\n",
    b"~2\r\n#t\r\n_\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"*-1\r\n",
];

/// A server that answers something to every command.
#[derive(Default)]
struct Answers {
    request: CommandRequest,
    calls: usize,
    ticks: u32,
    pauses: bool,
}

impl Host for Answers {
    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        match self.ticks {
            TICKS.. => Tick::Kill,
            ticks if self.pauses && ticks % 2 == 1 => Tick::Pause,
            _ => Tick::Continue(STEPS),
        }
    }

    fn request(&mut self) -> &mut CommandRequest {
        &mut self.request
    }

    fn run(&mut self) {
        self.calls += 1 + self.request.buffer.len();
    }

    fn reply(&self) -> &[u8] {
        REPLIES[self.calls % REPLIES.len()]
    }

    fn set_resp3(&mut self, _: bool) {}

    fn log(&mut self, _: u8, _: &[u8]) {}

    fn may_run(&mut self) -> Option<bool> {
        Some(true)
    }

    fn set_replication(&mut self, _: u8) {}
}

/// An interpreter that many inputs are given to.
pub struct Target {
    vm: Vm,
    /// What is run; `None`: the input is.
    script: Option<&'static str>,
}

impl Target {
    fn new(script: Option<&'static str>) -> Self {
        let mut vm = Vm::new();
        open_for_eval(&mut vm, Versions { redis: "7.2.4", valkey: "9.1.0", name: "valkey" }, false);
        Self { vm, script }
    }

    /// Runs a source with one argument. `None`: it was killed.
    fn run_source(&mut self, source: &[u8], argument: &[u8], pauses: bool) -> Result<Option<Value>, String> {
        let vm = &mut self.vm;
        let function = match vm.compile(source, b"@user_script") {
            Ok(function) => function,
            Err(message) => return Err(String::from_utf8_lossy(&message).into_owned()),
        };
        let (keys, arguments) = (vm.heap.new_table(0, 0), vm.heap.new_table(1, 0));
        let argument = vm.string(argument);
        vm.heap.set(arguments, Value::Number(1.0), argument);
        set_script_arguments(vm, Value::Table(keys), Value::Table(arguments));
        let mut host = Answers { pauses, ..Answers::default() };
        let mut outcome = vm.start(Value::Function(function), &[], &mut host);
        while outcome == Outcome::Paused {
            outcome = vm.resume(&mut host);
        }
        assert!(vm.memory_usage() < WEIGHT_MAX);
        match outcome {
            Outcome::Finished => Ok(Some(vm.results().first().copied().unwrap_or_default())),
            Outcome::Killed => Ok(None),
            _ => Err(self.thrown()),
        }
    }

    fn thrown(&self) -> String {
        let text = match self.vm.thrown() {
            Value::Table(table) => self.vm.heap.get_field(table, "err"),
            other => other,
        };
        String::from_utf8_lossy(self.vm.bytes(text).unwrap_or_default()).into_owned()
    }

    /// Tries an input.
    pub fn run(&mut self, input: &[u8]) {
        let pauses = input.len() % 2 == 1;
        match self.script {
            None => drop(self.run_source(input, b"", pauses)),
            Some(script) => {
                let result = self.run_source(script.as_bytes(), input, pauses);
                assert!(result.is_ok(), "{}", result.unwrap_err());
            }
        }
        // What is left does not matter to the next one, and nothing of it stays.
        let sound = self.run_source(b"return #redis.sha1hex('') + (KEYS[1] == nil and 2 or 0)", b"", false);
        assert_eq!(sound, Ok(Some(Value::Number(42.0))));
        self.vm.collect();
        assert!(self.vm.heap.bytes() < 2 << 20, "{} bytes are kept", self.vm.heap.bytes());
    }
}

pub fn scripts() -> (Grammar, Target) {
    let pieces = words(&[
        "local t, s = {}, 'text' for i = 1, 9 do t[i] = i s = s .. i end\n",
        "for k, v in pairs({a = 1, 2, 3}) do t = v end\n",
        "local function f(a, ...) if a and a > 0 then return f(a - 1, ...) end return ... end\n",
        "local o = setmetatable({}, {__index = function(t, k) return k end, __add = f, __call = f, __lt = f, __concat = f})\n",
        "local c = coroutine.wrap(function(a) while true do a = coroutine.yield(a) end end) c(1)\n",
        "local ok, e = pcall(error, {err = 'ERR x'}) local a, b = xpcall(f, function(m) return m end)\n",
        "repeat local x = (x or 0) + 1 until x > 0x1F or x ~= 1e2\n",
        "while #t > 0 do table.remove(t) if #t == 3 then break end end\n",
        "t = {[1] = 'a', n = 2; f(1, 2), ...} table.sort(t, function(a, b) return tostring(a) < tostring(b) end)\n",
        "local r = redis.call('SET', 'k', 1.5) r = redis.pcall('GET') redis.setresp(3)\n",
        "s = string.format('%5.2f %q %s %x', 1, s, 'a', 255):gsub('%w+', string.upper):rep(3)\n",
        "local g = loadstring('return ' .. (s or 1)) if g then g() end\n",
        "s = cjson.encode({a = {1, 2}}) t = cjson.decode(s) s = cmsgpack.pack(t, 1, 'x') t = cmsgpack.unpack(s)\n",
        "s = struct.pack('>I4s', 5, 'a') t = {struct.unpack('>I4s', s)} bit.band(1, 2)\n",
        "--[==[ a comment ]==] local z = [[long\nstring]]\n",
        "do local a <const> = 1 end goto x ::x::\n",
        "return {ok = 'fine'}, t, nil, 1 == 1\n",
    ]);
    let words = words(&[
        " and ",
        " or ",
        " not ",
        " nil ",
        "...",
        "..",
        "==",
        "~=",
        "<=",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "[[",
        "]]",
        "end ",
        "do ",
        "then ",
        "function ",
        "local ",
        "return ",
        "'",
        "\\",
        "#",
        "-",
        "^",
        "%",
        ":",
        ";",
        "1e308",
        "0x",
        "2^53",
        "_G",
        "KEYS",
        "math.huge",
        "string.rep",
    ]);
    (Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }, Target::new(None))
}

pub fn json() -> (Grammar, Target) {
    let pieces = words(&[
        "{\"a\":1,\"b\":[1,2,{}]}",
        "[1,-2.5e3,null,true,false]",
        "\"text \\u00e9 \\ud83d\\ude00 \\n\"",
        "[[[[]]]]",
        "{\"1\":{\"2\":\"3\"}}",
        "nan",
        "-inf",
        "0x1F",
        "1e400",
    ]);
    let words = words(&[
        "{", "}", "[", "]", ",", ":", "\"", "\\u", "\\ud800", "\\", "null", "0", "1e", "-", " ", "\0",
        "\u{fffd}",
    ]);
    // The order of an object's members is that of a table, which depends on how it was filled.
    let script = "local ok, value = pcall(cjson.decode, ARGV[1]) if not ok then return 0 end \
        local encoded, text = pcall(cjson.encode, value) if not encoded then return 1 end \
        local function same(a, b) if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end \
            for k, v in pairs(a) do if not same(v, b[k]) then return false end end \
            for k in pairs(b) do if a[k] == nil then return false end end return true end \
        local a = cjson.decode(text) assert(same(a, cjson.decode(cjson.encode(a))), text) return 2";
    (Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }, Target::new(Some(script)))
}

pub fn packed() -> (Grammar, Target) {
    let pieces: Vec<Vec<u8>> = vec![
        b"\x82\xa1a\x01\xa1b\x93\x01\x02\xc0".to_vec(),
        b"\x93\x01\xcb\x3f\xf8\0\0\0\0\0\0\xa3abc".to_vec(),
        b"\xd9\x03abc\xda\0\x01a\xdb\0\0\0\x01b\xc4\x01c\xc5\0\x01d".to_vec(),
        b"\xcc\xff\xcd\x01\0\xce\0\x01\0\0\xcf\0\0\0\x01\0\0\0\0".to_vec(),
        b"\xd0\x80\xd1\x80\0\xd2\x80\0\0\0\xd3\x80\0\0\0\0\0\0\0\xe0\xff".to_vec(),
        b"\xdc\0\x02\x01\x02\xdd\0\0\0\x01\xc3\xde\0\x01\x01\x02\xdf\0\0\0\x01\x01\xc2".to_vec(),
        b"\xca\x3f\x80\0\0\xc2\xc3\xc0\x7f".to_vec(),
    ];
    let words = vec![
        b"\xdd\xff\xff\xff\xff".to_vec(),
        b"\xdb\x7f\xff\xff\xff".to_vec(),
        b"\x91".to_vec(),
        b"\x81".to_vec(),
        b"\xc1".to_vec(),
        b"\xd4".to_vec(),
    ];
    // A key that is nested too deep is packed as nil, which is no key. The order of a map's keys depends on how its table was
    // filled.
    let script = "local function whole(...) return select(1, ...) and {n = select('#', ...) - 1, select(2, ...)} end \
        local values = whole(pcall(cmsgpack.unpack, ARGV[1])) if not values or values.n == 0 then return 0 end \
        pcall(cmsgpack.unpack_one, ARGV[1], #ARGV[1] % 7) pcall(cmsgpack.unpack_limit, ARGV[1], 2, #ARGV[1] % 5) \
        if values.n > 7000 then return 1 end \
        local function again(values) \
        local text = cmsgpack.pack(unpack(values, 1, values.n)) local read = whole(pcall(cmsgpack.unpack, text)) \
        if read then assert(read.n == values.n) return text, read end \
        local _, why = pcall(cmsgpack.unpack, text) assert(string.find(why, 'table index is nil', 1, true), why) end \
        local _, once = again(values) if not once then return 3 end \
        local text, twice = again(once) if not twice then return 3 end \
        local other = again(twice) assert(#other == #text) return 2";
    (Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }, Target::new(Some(script)))
}

pub fn structs() -> (Grammar, Target) {
    let pieces = words(&[
        ">I4i8bBhHlLT",
        "<fds",
        "c3c0x!8",
        "=!4i16I32",
        "Bc0",
        "\nabc\0def\0",
        "12345678",
        "\u{1}\u{2}\u{3}",
        "s",
        "i1i2i3",
    ]);
    let words = words(&["\n", ">", "<", "!", "c", "i33", "c99999999999", "I0", "!3", "x", " ", "s", "\0"]);
    let script = "local format, data = string.match(ARGV[1], '^([^\\n]*)\\n?(.*)$') \
        local function whole(...) return select(1, ...) and {n = select('#', ...) - 1, select(2, ...)} end \
        pcall(struct.size, format) pcall(struct.unpack, format, data, #data) pcall(struct.pack, format, data, 1, -1, 2^40, data) \
        local values = whole(pcall(struct.unpack, format, data)) if not values then return 0 end \
        local position = values[values.n] assert(position >= 1 and position <= #data + 1) \
        pcall(struct.pack, format, unpack(values, 1, values.n - 1)) return 1";
    (Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }, Target::new(Some(script)))
}

pub fn bits() -> (Grammar, Target) {
    let pieces = words(&[
        "1 2 3",
        "-1 4294967295 0.5",
        "2147483648 -2147483649",
        "1e308 -0 31 32",
        "9007199254740993 0x7f",
    ]);
    let words = words(&[" ", "-", "e", "0x", ".", "nan", "inf", "1/0", "99999999999999999999"]);
    let script = "local numbers = {} for word in string.gmatch(ARGV[1], '%S+') do local n = tonumber(word) if n and #numbers < 100 then numbers[#numbers + 1] = n end end \
        numbers[#numbers + 1] = 1 / 0 local a = numbers[1] \
        local function check(n) assert(n >= -2^31 and n < 2^31 and n == math.floor(n), n) return n end \
        for _, name in ipairs({'band', 'bor', 'bxor'}) do check(bit[name](unpack(numbers))) end \
        for _, n in ipairs(numbers) do \
        for _, name in ipairs({'lshift', 'rshift', 'arshift', 'rol', 'ror'}) do check(bit[name](a, n)) end \
        local t = check(bit.tobit(n)) assert(bit.bnot(bit.bnot(n)) == t and bit.bswap(bit.bswap(n)) == t) \
        assert(bit.ror(bit.rol(n, a), a) == t and bit.bxor(n, n) == 0 and #bit.tohex(n) == 8) pcall(bit.tohex, n, a) end return 1";
    (Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }, Target::new(Some(script)))
}

pub fn patterns() -> (Grammar, Target) {
    let pieces = words(&[
        "%a+",
        "[%w_]-",
        "(.-)%1",
        "%b()",
        "%f[%w]",
        "^(a*)$",
        "[^%s]+",
        "(()a)",
        "[]-a]",
        "\n",
        "aaaaaaaaaaaa",
        "hello (world) x=1",
        "%d?",
        ".-b",
        "<%0>",
        "%1",
    ]);
    let words = words(&[
        "\n", "%", "(", ")", "[", "]", "*", "+", "-", "?", ".", "^", "$", "%b", "%f", "%9", "\0", "a",
    ]);
    let script = "local pattern, subject, other = string.match(ARGV[1], '^([^\\n]*)\\n?([^\\n]*)\\n?(.*)$') \
        pcall(string.match, subject, pattern) pcall(string.gsub, subject, pattern, other) \
        pcall(string.gsub, subject, pattern, function(a) return a == 'a' and 'b' end) \
        local ok, first, last = pcall(string.find, subject, pattern) \
        if ok and first then assert(first >= 1 and last <= #subject and last >= first - 1) end \
        local whole, text = pcall(string.gsub, subject, pattern, '%0') if whole then assert(text == subject, text) end \
        pcall(function() for a in string.gmatch(subject, pattern) do if #tostring(a) > #subject + 20 then error() end end end) return 1";
    (Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }, Target::new(Some(script)))
}
