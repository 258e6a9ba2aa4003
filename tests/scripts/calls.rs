//! Calls of library functions, with good arguments and bad ones.

use fastrand::Rng;

/// Functions and what they take, a letter each; see [`argument`]. A function may stand more than once.
pub const FUNCTIONS: &[(&str, &str)] = &[
    // The language's own.
    ("assert", "vv"),
    ("error", "vi"),
    ("getmetatable", "v"),
    ("setmetatable", "tt"),
    ("ipairs", "t"),
    ("pairs", "t"),
    ("next", "t"),
    ("next", "tv"),
    ("pcall", "fvv"),
    ("xpcall", "ffv"),
    ("rawequal", "vv"),
    ("rawget", "tv"),
    ("rawset", "tvv"),
    ("select", "ivvv"),
    ("tonumber", "vi"),
    ("tonumber", "N"),
    ("tonumber", "Ni"),
    ("tostring", "v"),
    ("type", "v"),
    ("unpack", "tii"),
    ("load", "p"),
    ("loadstring", "LS"),
    ("getfenv", "v"),
    ("setfenv", "vt"),
    ("gcinfo", ""),
    ("collectgarbage", "G"),
    ("__server__err__handler", "v"),
    ("__redis__err__handler", "v"),
    // string
    ("string.byte", "Sii"),
    ("string.char", "bbb"),
    ("string.dump", "f"),
    ("string.find", "SPi"),
    ("string.find", "SSio"),
    ("string.format", "F"),
    ("string.gfind", "SP"),
    ("string.gmatch", "SP"),
    ("string.gsub", "SPRi"),
    ("string.gsub", "SPf"),
    ("string.gsub", "SPt"),
    ("string.len", "S"),
    ("string.lower", "S"),
    ("string.match", "SPi"),
    ("string.rep", "Sj"),
    ("string.reverse", "S"),
    ("string.sub", "Sii"),
    ("string.upper", "S"),
    // table
    ("table.concat", "lSii"),
    ("table.foreach", "lf"),
    ("table.foreachi", "lf"),
    ("table.getn", "l"),
    ("table.insert", "lS"),
    ("table.insert", "ljv"),
    ("table.maxn", "t"),
    ("table.remove", "li"),
    ("table.setn", "li"),
    ("table.sort", "N"),
    ("table.sort", "l"),
    ("table.sort", "hf"),
    // math
    ("math.abs", "n"),
    ("math.acos", "n"),
    ("math.asin", "n"),
    ("math.atan", "n"),
    ("math.atan2", "nn"),
    ("math.ceil", "n"),
    ("math.cos", "n"),
    ("math.cosh", "n"),
    ("math.deg", "n"),
    ("math.exp", "n"),
    ("math.floor", "n"),
    ("math.fmod", "nn"),
    ("math.frexp", "n"),
    ("math.ldexp", "ni"),
    ("math.log", "n"),
    ("math.log10", "n"),
    ("math.max", "nnn"),
    ("math.min", "nnn"),
    ("math.mod", "nn"),
    ("math.modf", "n"),
    ("math.pow", "nn"),
    ("math.rad", "n"),
    ("math.random", "ii"),
    ("math.randomseed", "n"),
    ("math.sin", "n"),
    ("math.sinh", "n"),
    ("math.sqrt", "n"),
    ("math.tan", "n"),
    ("math.tanh", "n"),
    // bit
    ("bit.tobit", "n"),
    ("bit.bnot", "n"),
    ("bit.band", "nnn"),
    ("bit.bor", "nnn"),
    ("bit.bxor", "nnn"),
    ("bit.lshift", "ni"),
    ("bit.rshift", "ni"),
    ("bit.arshift", "ni"),
    ("bit.rol", "ni"),
    ("bit.ror", "ni"),
    ("bit.bswap", "n"),
    ("bit.tohex", "ni"),
    // cjson
    ("cjson.encode", "e"),
    ("cjson.decode", "J"),
    ("cjson.encode_sparse_array", "oii"),
    ("cjson.encode_max_depth", "i"),
    ("cjson.decode_max_depth", "i"),
    ("cjson.encode_number_precision", "i"),
    ("cjson.encode_keep_buffer", "o"),
    ("cjson.encode_invalid_numbers", "o"),
    ("cjson.decode_invalid_numbers", "o"),
    ("cjson.decode_array_with_array_mt", "o"),
    ("cjson.new", ""),
    // cmsgpack
    ("cmsgpack.pack", "ee"),
    ("cmsgpack.unpack", "M"),
    ("cmsgpack.unpack_one", "Mi"),
    ("cmsgpack.unpack_limit", "Mii"),
    // struct
    ("struct.pack", "Knnn"),
    ("struct.pack", "KSSn"),
    ("struct.unpack", "KSi"),
    ("struct.unpack", "KMi"),
    ("struct.size", "K"),
    // coroutine
    ("coroutine.create", "f"),
    ("coroutine.resume", "cvv"),
    ("coroutine.running", ""),
    ("coroutine.status", "c"),
    ("coroutine.wrap", "f"),
    ("coroutine.yield", "v"),
    ("os.clock", ""),
    // server
    ("redis.call", "C"),
    ("redis.pcall", "C"),
    ("redis.acl_check_cmd", "C"),
    ("redis.error_reply", "S"),
    ("redis.status_reply", "S"),
    ("redis.sha1hex", "S"),
    ("redis.setresp", "i"),
    ("redis.set_repl", "i"),
    ("redis.replicate_commands", ""),
    ("redis.breakpoint", ""),
    ("redis.debug", "v"),
    ("redis.log", "iS"),
    ("server.call", "C"),
    ("server.pcall", "C"),
    ("server.acl_check_cmd", "C"),
    ("server.error_reply", "S"),
    ("server.status_reply", "S"),
    ("server.sha1hex", "S"),
    ("server.setresp", "i"),
    ("server.set_repl", "i"),
    ("server.replicate_commands", ""),
    ("server.breakpoint", ""),
    ("server.debug", "v"),
    ("server.log", "iS"),
];

/// Functions whose results are not those of the other server: only how many there are, and their types, are compared.
pub const INCOMPARABLE: &[&str] = &["gcinfo", "collectgarbage", "os.clock", "string.dump"];

const TEXTS: &[&str] = &[
    "''",
    "'a'",
    "'abc'",
    "'hello world'",
    "'\\0'",
    "'a\\0b'",
    "'\\255\\254'",
    "'äö'",
    "'%d'",
    "'123'",
    "'0x1F'",
    "('x'):rep(300)",
    "'line1\\nline2'",
    "'key=value, k2=v2'",
    "'  trim  '",
    "'THE (quick) [fox]'",
    "'a,b,,c'",
    "'((x)y)'",
    "'\\r\\n'",
    "[[long\n text]]",
    "'-ERR text'",
    "'1e2'",
    "' 12 '",
    "'nan'",
    "'inf'",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "16",
    "31",
    "32",
    "33",
    "64",
    "255",
    "256",
    "1000",
    "0.5",
    "-0.5",
    "1.5",
    "2^31",
    "2^31-1",
    "2^32",
    "2^53",
    "2^53+1",
    "2^63",
    "-2^31",
    "-2^63",
    "1e15",
    "1e16",
    "123456789012",
    "1e100",
    "1/0",
    "-1/0",
    "0/0",
    "-(0/0)",
    "1e-5",
    "1e-310",
    "3.14159265358979",
    "-0",
    "0.1",
    "100.25",
    "'10'",
    "'0x10'",
    "-7.99",
];

const PATTERNS: &[&str] = &[
    ".", "%a", "%d", "%s", "%w", "%W", "%p", "%x", "%c", "[abc]", "[^%s]", "[a-z]", "[%w_]", "[]]", "[^]a]",
    "%b()", "%f[%w]", "(", ")", "()", "*", "+", "-", "?", "^", "$", "%1", "%", "[", "%z", "a", "o", " ", "=",
    ",", "(.)", "(%w+)", ".-", "%%", "%l*",
];

const DIRECTIVES: &[&str] = &[
    "%d", "%5d", "%-5d|", "%05d", "%+d", "% d", "%i", "%u", "%c", "%x", "%X", "%#x", "%o", "%#o", "%e",
    "%.3e", "%E", "%f", "%.2f", "%10.2f", "%g", "%G", "%.14g", "%.17g", "%q", "%s", "%10s", "%-10s|", "%.3s",
    "%5.2s", "%%", "%a", "%y", "%123d", "%.123f", "%", "%5", "text", "%.0f", "%#.3g", "%+.3g", "%.20s", "%p",
    "%ld", "%-+ #05d",
];

const STRUCT: &[&str] = &[
    "b",
    "B",
    "h",
    "H",
    "l",
    "L",
    "T",
    "f",
    "d",
    "s",
    "i4",
    "I2",
    "i8",
    "I1",
    "i16",
    "I32",
    "i33",
    "c5",
    "c0",
    "x",
    "!4",
    "!",
    "!3",
    "<",
    ">",
    "=",
    " ",
    "z",
    "i",
    "I",
    "c3",
    "bc0",
    "Bs",
    "c99999999999",
];

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"b\\n\"",
    "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "1",
    "-2.5",
    "1e3",
    "0x1F",
    "01",
    "null",
    "true",
    "false",
    "nan",
    "inf",
    "-inf",
    "\"",
    "\\",
    " ",
    "{\"k\":1}",
    "[1,2]",
    "[]",
    "{}",
    "\"a\":",
    "\"\\x\"",
    "tru",
    "1.",
    ".5",
    "-",
    "\\u0000",
    "\"\\u0000\"",
];

const PACKED: &[&str] = &[
    "\\001",
    "\\127",
    "\\128",
    "\\129\\161a\\001",
    "\\144",
    "\\146\\001\\002",
    "\\161a",
    "\\163abc",
    "\\192",
    "\\193",
    "\\194",
    "\\195",
    "\\196\\001a",
    "\\197\\000\\001a",
    "\\202\\063\\128\\000\\000",
    "\\203\\063\\240\\000\\000\\000\\000\\000\\000",
    "\\204\\200",
    "\\205\\001\\000",
    "\\206\\255\\255\\255\\255",
    "\\207\\000\\000\\000\\000\\000\\000\\001\\000",
    "\\208\\128",
    "\\209\\128\\000",
    "\\210\\128\\000\\000\\000",
    "\\211\\255\\255\\255\\255\\255\\255\\255\\255",
    "\\217\\001a",
    "\\218\\000\\001b",
    "\\219\\000\\000\\000\\001c",
    "\\220\\000\\001\\001",
    "\\221\\000\\000\\000\\001\\001",
    "\\222\\000\\001\\161k\\002",
    "\\223\\000\\000\\000\\001\\161k\\002",
    "\\224",
    "\\255",
    "\\212\\001\\001",
    "\\219\\255\\255\\255\\255",
    "\\221\\127\\255\\255\\255",
];

const COMMANDS: &[&str] = &[
    "'SET','k',VALUE",
    "'GET','k'",
    "'GET','none'",
    "'INCR','n'",
    "'INCRBY','n',VALUE",
    "'INCR','k'",
    "'RPUSH','l',VALUE,'b'",
    "'LRANGE','l',0,-1",
    "'HSET','h','f',VALUE",
    "'HGETALL','h'",
    "'HMGET','h','f','g'",
    "'SADD','s','a'",
    "'SMEMBERS','s'",
    "'ZADD','z',1.5,'m'",
    "'ZRANGE','z',0,-1,'WITHSCORES'",
    "'ZSCORE','z','m'",
    "'ZSCORE','z','none'",
    "'PING'",
    "'ECHO',VALUE",
    "'TYPE','l'",
    "'EXISTS','k','l'",
    "'DEL','k'",
    "'EXPIRE','l',100",
    "'TTL','none'",
    "'GET'",
    "'NOPE'",
    "'SUBSCRIBE','c'",
    "'EVAL','return 1',0",
    "'SET','k','v','EX',0",
    "'LPUSH','k','x'",
    "'SET','k',{}",
    "'GET',nil",
    "VALUE",
    "'MULTI'",
    "'CONFIG','GET','maxclients'",
    "'OBJECT','ENCODING','n'",
    "'OBJECT','NOPE'",
    "'SCRIPT','LOAD','x'",
    "'XADD','x','1-*','f','v'",
    "'XRANGE','x','-','+'",
    "'BLPOP','none',1",
    "'GEOADD','g',13.36,38.11,'P'",
    "'GEOPOS','g','P','Q'",
    "'SETRANGE','r',2,VALUE",
    "'APPEND','a',VALUE",
    "'WAIT',0,0",
    "'SELECT',1",
    "'GET','k','extra'",
    "'INCRBYFLOAT','f',0.1",
    "'LPOP','l'",
    "'DEBUG','SLEEP',0",
    "'SPOP','none'",
    "'ZPOPMIN','none'",
    "'HELLO',3",
];

/// What `load` asks for pieces of a program. Endless ones are none of them.
const PIECES: &[&str] = &[
    "(function() local n = 0 return function() n = n + 1 return ({'return ', '1'})[n] end end)()",
    "(function() local n = 0 return function() n = n + 1 return ({'return ', 1, ' + 2', ''})[n] end end)()",
    "(function() local n = 0 return function() n = n + 1 return ({'x x'})[n] end end)(), 'chunk'",
    "(function() local n = 0 return function() n = n + 1 return ({'error(1)', {}})[n] end end)(), '=chunk'",
    "function() return nil end",
    "function() error('in it') end",
    "tostring",
];

fn pick<'a>(random: &mut Rng, words: &[&'a str]) -> &'a str {
    words[random.usize(..words.len())]
}

/// Some of the words, one after the other.
fn joined(random: &mut Rng, words: &[&str], most: usize) -> String {
    (0..random.usize(1..=most)).map(|_| pick(random, words)).collect()
}

/// A text as a literal of Lua, whatever is in it.
fn quoted(text: &str) -> String {
    let mut literal = String::from("'");
    for byte in text.bytes() {
        match byte {
            b'\'' | b'\\' => literal.extend(['\\', char::from(byte)]),
            b' '..=b'~' => literal.push(char::from(byte)),
            _ => literal.push_str(&format!("\\{byte:03}")),
        }
    }
    literal + "'"
}

pub fn text(random: &mut Rng) -> String {
    pick(random, TEXTS).to_owned()
}

pub fn number(random: &mut Rng) -> String {
    pick(random, NUMBERS).to_owned()
}

fn list(random: &mut Rng) -> String {
    let items: Vec<String> =
        (0..random.usize(..6)).map(|_| if random.bool() { text(random) } else { number(random) }).collect();
    format!("{{{}}}", items.join(","))
}

/// A table whose traversal has but one order.
fn table(random: &mut Rng, depth: usize) -> String {
    match random.u8(..8) {
        0..=3 => list(random),
        4 => format!("{{k={}}}", value(random, depth + 1)),
        5 => format!("{{{},{}}}", value(random, depth + 1), value(random, depth + 1)),
        6 => format!("{{[{}]={}}}", random.i32(-3..12), value(random, depth + 1)),
        _ => format!(
            "setmetatable({{}},{{__index={{k=1}},__tostring=function() return 'T' end,__len=1,__metatable={}}})",
            value(random, 9)
        ),
    }
}

fn function(random: &mut Rng) -> String {
    const BODIES: &[&str] = &[
        "function(...) return ... end",
        "function(a,b) return a<b end",
        "function(a,b) return a end",
        "function() error('in it') end",
        "function() error({1,2}) end",
        "function() return nil end",
        "function(a) return a..'!' end",
        "function() return {} end",
        "function(...) return select('#',...)>1 end",
        "tostring",
        "math.floor",
        "coroutine.yield",
        "function(a) return coroutine.yield(a) end",
    ];
    pick(random, BODIES).to_owned()
}

/// Any value.
pub fn value(random: &mut Rng, depth: usize) -> String {
    match random.u8(..10) {
        0 => "nil".to_owned(),
        1 => if random.bool() { "true" } else { "false" }.to_owned(),
        2..=4 => number(random),
        5..=7 => text(random),
        8 if depth < 3 => table(random, depth),
        9 if depth < 3 => function(random),
        _ => "cjson.null".to_owned(),
    }
}

fn command(random: &mut Rng) -> String {
    let plain = if random.bool() { text(random) } else { number(random) };
    pick(random, COMMANDS).replace("VALUE", &plain)
}

fn format_call(random: &mut Rng) -> String {
    let count = random.usize(1..4);
    let directives: String = (0..count).map(|_| pick(random, DIRECTIVES)).collect();
    let arguments: String = (0..random.usize(..=count))
        .map(|_| format!(",{}", if random.u8(..4) == 0 { value(random, 2) } else { number(random) }))
        .collect();
    quoted(&directives) + &arguments
}

/// A text in one of the small languages of the libraries; any value for any other kind.
fn text_of_kind(random: &mut Rng, kind: char) -> String {
    match kind {
        'G' => pick(
            random,
            &["'collect'", "'count'", "'step'", "'stop'", "'restart'", "'nope'", "nil", "'setpause',100"],
        )
        .to_owned(),
        'P' => quoted(&joined(random, PATTERNS, 5)),
        'R' => quoted(&joined(random, &["x", "%0", "%1", "%2", "%%", "%", "<%1>", ""], 3)),
        'F' => format_call(random),
        'J' => quoted(&joined(random, JSON, 8)),
        'M' => format!("'{}'", joined(random, PACKED, 4)),
        'K' => quoted(&joined(random, STRUCT, 4)),
        _ => value(random, 0),
    }
}

/// An argument of a kind.
fn argument(random: &mut Rng, kind: char) -> String {
    match kind {
        'S' => text(random),
        'n' => number(random),
        'i' => {
            if random.u8(..10) == 0 {
                number(random)
            } else {
                random.i32(-4..20).to_string()
            }
        }
        'j' => {
            if random.u8(..8) == 0 {
                pick(random, &["'3'", "1.5", "0.5", "'x'", "nil"]).to_owned()
            } else {
                random.i32(-3..9).to_string()
            }
        }
        'b' => random.i32(-2..260).to_string(),
        'o' => (*["true", "false", "nil"].get(random.usize(..3)).unwrap()).to_owned(),
        't' => table(random, 0),
        'l' => list(random),
        // Both ends are there, so that an order decides alone.
        'h' => "{5,3,9,1,1,7,2}".to_owned(),
        'N' => pick(
            random,
            &[
                "'10'",
                "'0x1f'",
                "'1e1'",
                "' 7 '",
                "'z'",
                "'7fffffff'",
                "'-ff'",
                "'1_0'",
                "''",
                "'0x'",
                "'1e'",
                "{3,1,2}",
            ],
        )
        .to_owned(),
        'L' => pick(
            random,
            &[
                "'return 1'",
                "'return ...'",
                "'x x'",
                "'return function() end'",
                "'\\27Lua'",
                "'error(1)'",
                "'local a = '",
            ],
        )
        .to_owned(),
        'f' => function(random),
        'p' => pick(random, PIECES).to_owned(),
        'c' => format!("coroutine.create({})", function(random)),
        'C' => command(random),
        'e' => match random.u8(..3) {
            0 => format!("{{{},{}}}", value(random, 2), value(random, 2)),
            1 => format!("{{a={{b={}}}}}", value(random, 2)),
            _ => value(random, 1),
        },
        _ => text_of_kind(random, kind),
    }
}

/// A call of a function, as an expression.
pub fn call(random: &mut Rng, function: usize) -> String {
    let (name, kinds) = FUNCTIONS[function];
    let mut arguments: Vec<String> = kinds.chars().map(|kind| argument(random, kind)).collect();
    match random.u8(..20) {
        0..=2 => {
            arguments.pop();
        }
        3 => arguments.clear(),
        4 => arguments.push(value(random, 0)),
        5..=7 => {
            let place = random.usize(..=arguments.len());
            // Of these, large numbers would cost minutes or gigabytes.
            let bounded = matches!(name, "table.insert" | "string.rep");
            let wrong = if bounded {
                pick(random, &["{}", "nil", "true", "'x'", "tostring"]).to_owned()
            } else {
                value(random, 0)
            };
            match arguments.get_mut(place) {
                Some(argument) => *argument = wrong,
                None => arguments.push(wrong),
            }
        }
        _ => {}
    }
    format!("{name}({})", arguments.join(","))
}
