//! Scripts that are after the server: what deep nesting, huge results, tampering, bytecode, endless loops, line breaks in
//! replies and hunger for memory get is an error, in bounded time, and everybody else goes on being served.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::Server;
use support::info::{number, section};
use support::reply::Conversation;

/// What one of the scripts may take, in a build without optimization on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the interpreter may keep for the next script of the room that the last ones took: stacks and tables of objects.
const ROOM: i64 = 16 << 20;
/// Milliseconds after which others are told that the server is busy.
const THRESHOLD: &str = "200";
/// What they are told.
const BUSY: &str =
    "(error) BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\n";

fn server() -> Server {
    Server::start(&["--busy-reply-threshold", THRESHOLD])
}

/// Scripts, and what each reply contains. After each of them the server is asked whether it is well.
fn check(cases: &[(&str, &str)]) {
    let server = server();
    let mut client = Conversation::open(&server);
    for (source, expected) in cases {
        let begun = Instant::now();
        client.send(&["EVAL", source, "0"]);
        let reply = client.read();
        let shown: String = source.chars().take(300).collect();
        assert!(reply.contains(expected), "{shown}\n{reply}");
        assert!(begun.elapsed() < PATIENCE, "{shown} takes {:?}", begun.elapsed());
        let sound =
            "return string.rep('ab', 2) .. cjson.encode({1}) .. #struct.pack('i4', 1) .. bit.band(7, 2)";
        client.send(&["EVAL", sound, "0"]);
        assert_eq!(client.read(), "\"abab[1]42\"\n", "{shown}");
        assert_eq!(client.ask("PING"), "PONG\n");
    }
    server.until("what they left is given back", || {
        number(&section(&mut client, "memory"), "used_memory_vm_eval") < ROOM
    });
}

#[test]
fn nesting_in_the_source_is_limited() {
    let levels = "chunk has too many syntax levels";
    let nested = [
        format!("return {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("return {}{}", "{".repeat(100_000), "}".repeat(100_000)),
        format!("return {}1", "not ".repeat(100_000)),
        format!("return -{}1", " -".repeat(100_000)),
        format!("return {}1", "1 .. ".repeat(100_000)),
        format!("return {}1", "2 ^ ".repeat(100_000)),
        "do ".repeat(100_000),
        "if x then ".repeat(100_000),
        "local f = function() ".repeat(100_000),
    ];
    let cases: Vec<(&str, &str)> = nested.iter().map(|source| (source.as_str(), levels)).collect();
    check(&cases);
    let long = [
        (format!("return {}x", "[".repeat(100_000)), "nesting of [[...]] is deprecated"),
        (format!("return [{}[x]]", "=".repeat(100_000)), "unfinished long string"),
        (format!("return {}", "[[".repeat(100_000)), "nesting of [[...]] is deprecated"),
        (format!("return '{}", "\\".repeat(100_001)), "unfinished string"),
        (format!("local {}x = 1", "x,".repeat(300)), "more than 200 local variables"),
        (format!("local a = 1 return {}1", "a(".repeat(300)), "(error)"),
        (format!("return f({}1)", "1,".repeat(300)), "(error)"),
        (format!("x{} = 1", ".x".repeat(100_000)), "(error)"),
    ];
    let cases: Vec<(&str, &str)> =
        long.iter().map(|(source, expected)| (source.as_str(), *expected)).collect();
    check(&cases);
}

#[test]
fn calls_within_calls_are_limited() {
    check(&[
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        ("local function f() return pcall(f) end return (select('#', f()))", "(integer) 2"),
        ("local function f(s) return (s:gsub('.', f)) end return f('x')", "stack overflow"),
        (
            "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x",
            "stack overflow",
        ),
        (
            "local a, b = setmetatable({}, {}), setmetatable({}, {}) getmetatable(a).__index = b getmetatable(b).__index = a return a.x",
            "loop in gettable",
        ),
        ("local a = setmetatable({}, {}) getmetatable(a).__newindex = a a.x = 1", "loop in settable"),
        ("local t = setmetatable({}, {__tostring = tostring}) return tostring(t)", "stack overflow"),
        (
            "local m = {} m.__concat = function(a, b) return a .. b end local t = setmetatable({}, m) return t .. t",
            "stack overflow",
        ),
        ("local m = {} m.__call = setmetatable({}, m) return setmetatable({}, m)()", "attempt to call"),
        ("local function f() return coroutine.wrap(f)() end return f()", "stack overflow"),
        ("local function f() xpcall(f, f) end f() return 'done'", "done"),
        ("local function f() return loadstring('return ...')(f()) end return f()", "stack overflow"),
        (
            "local t = {} table.sort({2, 1}, function() table.sort({2, 1}, t.f) end) local function f(a, b) table.sort({2, 1}, f) end f()",
            "stack overflow",
        ),
        ("return redis.call('EVAL', 'return 1', 0)", "not allowed from script"),
    ]);
}

#[test]
fn nesting_in_data_is_limited() {
    check(&[
        ("return cjson.decode(('['):rep(1e6))", "Found too many nested data structures (1001)"),
        ("return cjson.decode(('{\"a\":'):rep(1e6))", "Found too many nested data structures (1001)"),
        (
            "cjson.decode_max_depth(2^31 - 1) return cjson.decode(('['):rep(1e6))",
            "too many nested data structures",
        ),
        ("local t = {} t[1] = t return cjson.encode(t)", "excessive nesting (1001)"),
        ("cjson.encode_max_depth(2^31 - 1) local t = {} t.a = t return cjson.encode(t)", "excessive nesting"),
        ("local t = {} t[1] = t return #cmsgpack.pack(t)", "(integer) 17"),
        ("return cmsgpack.unpack(('\\145'):rep(1e6))", "(error)"),
        ("return cmsgpack.unpack(('\\129\\1'):rep(1e6))", "(error)"),
    ]);
}

#[test]
fn nesting_in_replies_is_limited() {
    let server = server();
    for source in ["local t = {} t[1] = t return t", "local t = 1 for i = 1, 1e5 do t = {t} end return t"] {
        let reply = raw(&server, &eval(source));
        assert!(reply.ends_with("*1\r\n-ERR reached lua stack limit\r\n+PONG\r\n"), "{}", reply.len());
        assert!(reply.len() < 100_000);
    }
}

#[test]
fn crafted_data_is_refused() {
    check(&[
        // Lengths that are not there.
        ("return cmsgpack.unpack('\\221\\255\\255\\255\\255')", "Missing bytes in input."),
        ("return cmsgpack.unpack('\\223\\255\\255\\255\\255')", "Missing bytes in input."),
        ("return cmsgpack.unpack('\\219\\255\\255\\255\\255x')", "Missing bytes in input."),
        ("return cmsgpack.unpack('\\129\\192\\1')", "table index is nil"),
        ("return cmsgpack.unpack('\\193')", "Bad data format in input."),
        ("return cmsgpack.unpack_one('\\1', -1)", "Invalid request to unpack"),
        ("return cmsgpack.unpack_limit('\\1', 2^31, 2^31)", "(error)"),
        (
            "local t = {} for i = 1, 9000 do t[i] = '\\1' end return cmsgpack.unpack(table.concat(t))",
            "too many return values at once",
        ),
        ("return #cmsgpack.pack(unpack({}, 1, 7900))", "(integer) 7900"),
        ("return struct.pack('c99999999999', 'x')", "integral size overflow"),
        ("return struct.unpack('c2147483647', 'x')", "data string too short"),
        ("return struct.unpack('i4', 'abcdef', 2^31)", "(error)"),
        ("return struct.unpack('i4', 'abcdef', 0)", "offset must be 1 or greater"),
        ("return struct.unpack('c0', 'x')", "format 'c0' needs a previous size"),
        ("return struct.unpack('bc0', '\\255x')", "(error)"),
        ("return struct.pack('I33', 1)", "integral size 33 is larger than limit of 32"),
        ("return struct.pack('!2147483648i', 1)", "(error)"),
        ("return struct.size('s')", "option 's' has no fixed size"),
        ("return struct.size(('c2147483647'):rep(100))", "(integer) 214748364700"),
        ("return struct.pack(('x'):rep(1e6))", "\\x00"),
        ("return cjson.decode('\"\\\\ud800\\\\u0000\"')", "(error)"),
        ("return type(cjson.decode('[1e' .. ('9'):rep(1e5) .. ']')[1])", ""),
        ("return cjson.decode(('[1,'):rep(900))", "Expected value but found"),
        ("return cjson.encode({[1] = 1, [2^31 - 1] = 1})", "excessively sparse array"),
        ("return bit.tohex(1, -2^31)", "00000001"),
        ("return bit.tohex(65535, 2^31 - 1)", "0000ffff"),
        ("return bit.lshift(1, 2^31)", "(integer)"),
    ]);
}

#[test]
fn what_would_be_huge_is_refused() {
    check(&[
        ("return #string.rep('x', 2^31)", "(integer) 0"),
        ("return #string.rep('xy', 2^31 - 1)", "not enough memory"),
        ("return #string.rep('', 1e15)", "(integer) 0"),
        ("return #string.rep(string.rep('x', 2^20), 2^20)", "not enough memory"),
        ("return string.format('%99999d', 1)", "invalid format (width or precision too long)"),
        ("return string.format('%.999f', 1)", "invalid format (width or precision too long)"),
        ("return #string.format('%99.99f', 1e308)", "(integer)"),
        ("return string.format(('%'):rep(1001))", "(error)"),
        ("return string.format('%' .. ('0'):rep(1e5) .. 'd', 1)", "invalid format (repeated flags)"),
        ("return unpack({}, 0, 2^31 - 1)", "too many results to unpack"),
        ("return unpack({}, -2^31, 2^31 - 1)", "too many results to unpack"),
        ("return {unpack({}, 1, 1e8)}", "too many results to unpack"),
        ("return string.byte(('x'):rep(1e5), 1, -1)", "string slice too long"),
        ("return table.concat({}, 'x', 1, 2^31 - 1)", "invalid value (nil) at index 1 in table for 'concat'"),
        (
            "local s, t = ('x'):rep(2^21), {} for i = 1, 1024 do t[i] = s end return #table.concat(t)",
            "not enough memory",
        ),
        ("local s = ('x'):rep(2^21) return #(s:gsub('', s))", "not enough memory"),
        ("local s = ('x'):rep(2^20) return #(s:gsub('.*', ('%0'):rep(2^20)))", "not enough memory"),
        ("local s = ('x'):rep(2^20) return #(s:gsub('(.*)', ('%1'):rep(2^20), 1))", "not enough memory"),
        ("return ('x'):find(('('):rep(40))", "too many captures"),
        ("return ('x'):find(('(x)'):rep(33))", "(nil)"),
        (
            "local c = 0 for a in ('x'):rep(1e5):gmatch('[' .. ('a'):rep(100) .. ']') do c = 1 end return c",
            "(integer) 0",
        ),
        ("return ('x'):find('[' .. ('a'):rep(1e6))", "malformed pattern (missing ']')"),
        ("return ('x'):find('%')", "malformed pattern (ends with '%')"),
        ("return ('x'):gsub('x', '%9')", "invalid capture index"),
        ("return redis.call(unpack({'PING', string.rep('x', 2^29 + 1)}))", "(error)"),
        ("return redis.call('SETRANGE', 'k', 2^40, 'x')", "string exceeds maximum allowed size"),
        ("return tonumber(('9'):rep(1e6)) == 1/0", "(integer) 1"),
        ("return tonumber(('z'):rep(1e6), 36) > 0", "(integer) 1"),
        ("local t = {} t[2^31] = 1 t[1e300] = 2 t[-1] = 3 return #t", "(integer) 0"),
    ]);
}

#[test]
fn memory_is_limited_and_given_back() {
    check(&[
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        ("local s, t = ('x'):rep(2^20), {} for i = 1, 1e9 do t[i] = s .. i end", "not enough memory"),
        (
            "local s = ('x'):rep(2^24) local ok, e = pcall(function() local t = {} while true do t[#t + 1] = s .. #t end end) return {tostring(ok), e}",
            "not enough memory",
        ),
        (
            "local s = ('x'):rep(2^20) local t = {} for i = 1, 600 do t[i] = s end return #cjson.encode({t, t, t, t})",
            "not enough memory",
        ),
        (
            "local s = ('x'):rep(2^20) local t = {} for i = 1, 600 do t[i] = s end return #cmsgpack.pack(t, t, t, t)",
            "not enough memory",
        ),
        ("local s = ('x'):rep(2^20) return load(function() return s end)", "not enough memory"),
        // Garbage is none.
        ("local s = ('x'):rep(2^20) for i = 1, 5000 do local t = s .. i end return 'done'", "done"),
        (
            "for i = 1, 3e5 do local t = setmetatable({i, {}}, {__gc = error, __mode = 'k'}) end return 'done'",
            "done",
        ),
        (
            "for i = 1, 2e4 do local c = coroutine.wrap(function() coroutine.yield() end) c() end return 'done'",
            "done",
        ),
        (
            "for i = 1, 1e5 do local f = function() return i end end return collectgarbage('count') < 20000",
            "(integer) 1",
        ),
        ("for i = 1, 300 do collectgarbage() collectgarbage('step', 1e9) end return 'done'", "done"),
    ]);
}

#[test]
fn what_all_scripts_share_stays_as_it_is() {
    let readonly = "Attempt to modify a readonly table";
    check(&[
        ("x = 1", readonly),
        ("rawset(_G, 'x', 1)", readonly),
        ("setmetatable(_G, {})", readonly),
        ("getmetatable(_G).__index = nil", readonly),
        ("string.rep = nil", readonly),
        ("rawset(string, 'rep', nil)", readonly),
        ("getmetatable('').__index = {}", readonly),
        ("getmetatable('').__index.rep = function() return 'mine' end", readonly),
        ("setmetatable(getmetatable(''), {__newindex = error})", readonly),
        ("table.insert(math, 1)", readonly),
        ("table.remove(redis)", "(nil)"),
        ("table.sort(cjson)", "(nil)"),
        ("redis.call = function() return 'mine' end", readonly),
        ("server.sha1hex = nil", readonly),
        ("cjson.encode = nil", readonly),
        ("cmsgpack.pack = nil", readonly),
        ("struct.pack = nil", readonly),
        ("bit.band = nil", readonly),
        ("coroutine.wrap = nil", readonly),
        ("setfenv(1, {})", "Script attempted to access nonexistent global variable 'setfenv'"),
        ("return getfenv(0)", "Script attempted to access nonexistent global variable 'getfenv'"),
        ("return newproxy(true)", "Script attempted to access nonexistent global variable 'newproxy'"),
        ("return debug.getregistry()", "Script attempted to access nonexistent global variable 'debug'"),
        ("return dofile('/etc/passwd')", "Script attempted to access nonexistent global variable 'dofile'"),
        (
            "return loadfile('/etc/passwd')",
            "Script attempted to access nonexistent global variable 'loadfile'",
        ),
        ("return io.open('/etc/passwd')", "Script attempted to access nonexistent global variable 'io'"),
        ("return os.execute('id')", "attempt to call field 'execute' (a nil value)"),
        ("return require('os')", "Script attempted to access nonexistent global variable 'require'"),
        ("print('x')", "Script attempted to access nonexistent global variable 'print'"),
    ]);
}

#[test]
fn bytecode_is_no_source() {
    check(&[
        ("\u{1b}Lua", "Error compiling script (new function): user_script:1: unexpected symbol near"),
        ("return loadstring('\\27Lua\\81\\0\\1\\4\\8\\4\\8\\0')", "(nil)"),
        ("return (select(2, loadstring('\\27Lua')))", "unexpected symbol near"),
        ("local n = 0 return load(function() n = n + 1 return ({'\\27', 'Lua', 'Q'})[n] end)", "(nil)"),
        ("return string.dump(redis.call)", "unable to dump given function"),
        ("return loadstring(string.dump(loadstring('return 1')))", "(nil)"),
    ]);
    let server = server();
    let mut client = Conversation::open(&server);
    client.send(&[b"SCRIPT".as_slice(), b"LOAD", b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0"]);
    assert!(client.read().contains("Error compiling script"));
    client.send(&[b"FUNCTION".as_slice(), b"LOAD", b"#!lua name=x\n\x1bLuaQ\0\x01\x04\x08\x04\x08\0"]);
    assert!(client.read().contains("Error compiling function"));
}

fn eval(source: &str) -> Vec<u8> {
    format!("*3\r\n$4\r\nEVAL\r\n${}\r\n{source}\r\n$1\r\n0\r\n", source.len()).into_bytes()
}

/// Every byte that is answered to requests, up to the PONG that ends it.
fn raw(server: &Server, requests: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(requests).unwrap();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"+PONG\r\n") {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "closed after {}", bytes.escape_ascii());
        bytes.extend(&chunk[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn line_breaks_do_not_end_a_reply() {
    let server = server();
    for source in [
        "return redis.error_reply('ERR a\\r\\n+OK\\r\\n$-1')",
        "return redis.status_reply('a\\r\\n+OK\\n:1')",
        "return {err = 'ERR a\\r\\n+OK\\r\\n:1'}",
        "return {ok = 'a\\r\\n$5\\r\\nhello'}",
        "error('a\\r\\n+OK')",
        "error({err = 'ERR a\\n\\r\\n+OK'})",
        "return redis.call('a\\r\\n+OK\\r\\n')",
        "return redis.pcall('SET', 'k\\r\\n+OK')",
        "redis.setresp(3) return {big_number = '1\\r\\n+OK'}",
        "return {{err = 'x\\r\\n:1'}, 2}",
        "local f = x\r\n+OK",
        "return nosuch['\\r\\n+OK']",
    ] {
        let reply = raw(&server, &eval(source));
        let lines: Vec<&str> = reply.split_terminator("\r\n").collect();
        // The last case is an array of two; everything else is one line.
        let expected = if reply.starts_with("*2\r\n") { 4 } else { 2 };
        assert!(lines.len() == expected || reply.starts_with('$') && lines.len() == 3, "{source}: {reply:?}");
        assert!(!lines.iter().any(|line| line.contains(['\r', '\n'])), "{source}: {reply:?}");
    }
}

/// Scripts that never end, each within a library function where one could be held up.
const ENDLESS: &[&str] = &[
    "while true do end",
    "repeat local x = 1 until false",
    "for i = 1, math.huge do end",
    "local function f() return f() end return f()",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(error) end",
    "local function f(...) return f(1, ...) end return f()",
    "local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end",
    "while true do local t = {} end",
    "local t = setmetatable({}, {__index = function(_, k) return k end}) while true do local x = t.x end",
    "return ('a'):rep(40):find(('a*'):rep(30) .. 'b')",
    "return ('a'):rep(40):match(('(.-)'):rep(30) .. 'b')",
    "return (('a'):rep(40):gsub(('a*'):rep(30) .. 'b', ''))",
    "for _ in ('a'):rep(40):gmatch(('a-'):rep(30) .. 'b') do end",
    "return ('('):rep(2e6):gsub('%b()', '')",
    "return ('x'):rep(1e6):find('[' .. ('ab'):rep(5e5) .. 'x]*y')",
    "return ('x'):rep(1e6):find('[' .. ('ab'):rep(5e5) .. 'x]+y')",
    "return ('x'):rep(1e6):find('x*y')",
    "return ('x'):rep(1e6):find(('x?'):rep(1e4) .. 'y')",
    "return ('x'):rep(1e6):find('(x+)%1y')",
    "return table.sort({5, 3, 4, 1, 2}, function(a, b) while true do end end)",
    "local t, m = {}, {__lt = function(a, b) while true do end end} for i = 1, 100 do t[i] = setmetatable({}, m) end table.sort(t)",
    "local t = {} table.insert(t, -2^31, 1)",
    "return load(function() return ' ' end)",
    "while true do string.rep('x', 2^20) end",
    "local t = {} for i = 1, 1000 do t[i] = 'x' end while true do table.concat(t) end",
    "local t = {} while true do unpack(t, 1, 7000) end",
    "while true do cjson.encode({1, 2}) end",
    "while true do cmsgpack.unpack(cmsgpack.pack(1)) end",
    "while true do struct.unpack('i4', struct.pack('i4', 1)) end",
    "while true do redis.call('PING') end",
    "while true do redis.pcall('NOPE') end",
    "while true do collectgarbage() end",
    "while true do loadstring('return 1') end",
    "while true do tostring(setmetatable({}, {__tostring = function() return 'x' end})) end",
];

#[test]
fn endless_scripts_are_killed_wherever_they_are() {
    let server = server();
    let (mut one, mut other) = (Conversation::open(&server), Conversation::open(&server));
    for source in ENDLESS {
        one.send(&["EVAL", source, "0"]);
        let begun = Instant::now();
        let mut replies = Vec::new();
        // Whether the script has begun yet is not known: a PONG may come before.
        while other.ask("PING") != BUSY {
            replies.push(begun.elapsed());
            assert!(begun.elapsed() < PATIENCE, "{source}: nobody hears of it");
        }
        // While it runs alone nobody is answered; then everybody is, soon.
        let begun = Instant::now();
        assert_eq!(other.ask("GET x"), BUSY, "{source}");
        assert!(other.ask("SYNC").contains("BUSY"), "{source}");
        assert_eq!(other.ask("SCRIPT KILL"), "OK\n", "{source}");
        let reply = one.read();
        assert!(reply.contains("Script killed by user with SCRIPT KILL"), "{source}: {reply}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{source}: {:?}", begun.elapsed());
        assert_eq!(other.ask("PING"), "PONG\n", "{source}");
    }
}

#[test]
fn others_hear_of_a_busy_script_about_when_they_should() {
    let server = server();
    let (mut one, mut other) = (Conversation::open(&server), Conversation::open(&server));
    for source in ["while true do end", "return ('a'):rep(40):find(('a*'):rep(30) .. 'b')"] {
        one.send(&["EVAL", source, "0"]);
        let begun = Instant::now();
        // It may be asked before the request is under way.
        server.until("somebody hears of it", || other.ask("PING") == BUSY);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(other.ask("SCRIPT KILL"), "OK\n");
        assert!(one.read().contains("killed"));
    }
}

#[test]
fn the_server_can_be_shut_down_within_a_library_call() {
    for source in ["while true do end", "return ('a'):rep(40):find(('a*'):rep(30) .. 'b')"] {
        let mut server = server();
        let (mut one, mut other) = (Conversation::open(&server), Conversation::open(&server));
        one.send(&["EVAL", source, "0"]);
        while other.ask("PING") != BUSY {}
        other.send(&["SHUTDOWN", "NOSAVE"]);
        let begun = Instant::now();
        server.until("it has ended", || TcpStream::connect(("127.0.0.1", server.port)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(20));
        server.kill();
    }
}
