//! The table against Valkey's, and CONFIG GET and SET.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

/// Valkey 9.1.2's options as it reported them (`tests/data/valkey_options.tsv`).
struct Known {
    name: &'static str,
    alias: Option<&'static str>,
    kind: &'static str,
    unit: &'static str,
    min: &'static str,
    max: &'static str,
    flags: &'static str,
    words: &'static str,
    default: &'static str,
}

fn known() -> Vec<Known> {
    let rows = include_str!("../../tests/data/valkey_options.tsv").lines().skip(1);
    rows.map(|row| {
        let c: Vec<&str> = row.split('\t').collect();
        let alias = Some(c[1]).filter(|alias| !alias.is_empty());
        let (name, kind, unit, min, max) = (c[0], c[2], c[3], c[4], c[5]);
        Known { name, alias, kind, unit, min, max, flags: c[6], words: c[7], default: c[8] }
    })
    .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn get(config: &Config, name: &str) -> String {
    config.print(find_option(name.as_bytes()).unwrap().0).iter().map(|b| char::from(*b)).collect()
}

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Changes, String> {
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    config.set(&pairs, SetContext::default()).map_err(|error| error.to_string())
}

#[test]
fn every_option_of_valkey_is_known_with_its_default() {
    // `dir` is the directory the process runs in.
    let depends_on_the_process = ["dir"];
    let config = Config::default();
    for option in known() {
        let (spec, _) = find_option(option.name.as_bytes()).unwrap_or_else(|| panic!("{}", option.name));
        assert_eq!(spec.name, option.name);
        assert_eq!(spec.alias, option.alias, "{}", option.name);
        assert!(!spec.doc.is_empty() && !spec.doc.starts_with(' '), "{}", option.name);
        if !depends_on_the_process.contains(&option.name) {
            assert_eq!(get(&config, option.name), option.default, "{}", option.name);
        }
    }
    assert_eq!(known().len(), 227);
    // Two more are this server's own: `scripting` and `request-gathering-max-us`.
    assert_eq!(OPTIONS.len(), 229);
    assert_eq!(OPTIONS.iter().filter(|spec| spec.alias.is_some()).count(), 28);
}

#[test]
fn types_ranges_words_and_flags_are_those_of_valkey() {
    for option in known() {
        let (spec, _) = find_option(option.name.as_bytes()).unwrap();
        let letters = [
            ('i', Flags::IMMUTABLE),
            ('h', Flags::HIDDEN),
            ('p', Flags::PROTECTED),
            ('s', Flags::SENSITIVE),
            ('l', Flags::DENY_LOADING),
            ('m', Flags::MULTI),
        ];
        let flags: String =
            letters.iter().filter(|(_, flag)| spec.flags.has(*flag)).map(|(l, _)| *l).collect();
        assert_eq!(flags, option.flags, "{}", option.name);
        match spec.kind {
            Kind::Bool { .. } => assert_eq!(option.kind, "bool", "{}", option.name),
            Kind::Text { .. } => assert!(matches!(option.kind, "string" | "sds"), "{}", option.name),
            Kind::Special => assert_eq!(option.kind, "special", "{}", option.name),
            Kind::Enum(words) | Kind::EnumSet(words) => assert_eq!(words.join(","), option.words),
            Kind::Number { form, min, max } => {
                let unit = match form {
                    Form::Integer => "INTEGER",
                    Form::Memory => "MEMORY",
                    Form::MemoryOrPercent => "MEMORY|PERCENT",
                    Form::SignedMemory => "MEMORY|SIGNED_MEMORY",
                    Form::Octal => "OCTAL",
                };
                let range = (min.to_string(), max.to_string());
                assert_eq!(
                    (unit, range.0.as_str(), range.1.as_str()),
                    (option.unit, option.min, option.max),
                    "{}",
                    option.name
                );
            }
        }
    }
}

#[test]
fn every_mutable_option_takes_its_own_printed_value_and_another() {
    for spec in OPTIONS.iter().filter(|spec| !spec.flags.has(Flags::IMMUTABLE) && spec.name != "dir") {
        let mut config = Config { enable_protected_configs: ProtectedAction::Yes, ..Config::default() };
        let printed = get(&config, spec.name);
        let unsupported = spec.name.starts_with("rdma-");
        if !unsupported {
            set(&mut config, &[(spec.name, &printed)]).unwrap_or_else(|error| panic!("{printed}: {error}"));
            assert_eq!(get(&config, spec.name), printed);
        }
        let other = other_value(spec, &printed);
        match set(&mut config, &[(spec.name, &other)]) {
            Ok(changes) => {
                assert_eq!(get(&config, spec.name), other);
                assert_eq!(changes.names().collect::<Vec<_>>(), [spec.name]);
                config.undo(changes);
            }
            Err(error) => {
                let refused = ["rdma-bind", "rdma-port", "tls-port", "tls-cluster", "tls-replication"];
                assert!(refused.contains(&spec.name), "{} to {other}: {error}", spec.name);
            }
        }
        assert_eq!(get(&config, spec.name), printed);
    }
}

/// A value that differs from `printed`, in the form CONFIG GET prints it.
fn other_value(spec: &OptionSpec, printed: &str) -> String {
    let other = match spec.kind {
        Kind::Bool { .. } => ["no", "yes"][usize::from(printed == "no")],
        Kind::Number { .. } if spec.name == "hz" => "100",
        Kind::Number { min, max, .. } => {
            return max.min(i64::MAX as u64).max(min as u64 & 0xffff).to_string();
        }
        Kind::Enum(words) | Kind::EnumSet(words) => {
            words.iter().find(|w| **w != printed && **w != "relative").unwrap()
        }
        Kind::Text { .. } => match spec.name {
            "cluster-announce-client-ipv4" => "10.0.0.1",
            "cluster-announce-client-ipv6" => "::1",
            "proc-title-template" => "{title} {port}",
            "locale-collate" => "C",
            _ => "other",
        },
        Kind::Special => match spec.name {
            "save" => "900 1",
            "client-output-buffer-limit" => "normal 1 2 3 slave 4 5 6 pubsub 7 8 9",
            "bind" | "rdma-bind" => "127.0.0.1 -::1",
            "notify-keyspace-events" => "AKE",
            "oom-score-adj-values" => "1 2 3",
            _ => "50 99.99",
        },
    };
    other.to_owned()
}

#[test]
fn patterns_find_names_and_aliases_but_no_hidden_option() {
    let config = Config::default();
    let names = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|p| p.as_bytes()).collect();
        config.get(&patterns).iter().map(|(name, _)| text(name)).collect()
    };
    assert_eq!(names(&["hash-max-*ries"]), ["hash-max-listpack-entries", "hash-max-ziplist-entries"]);
    assert_eq!(names(&["MAXMEMORY", "maxmemory", "PORT*"]), ["MAXMEMORY", "port"]);
    assert_eq!(names(&["watchdog*"]), Vec::<String>::new());
    assert_eq!(names(&["watchdog-period", "nothing"]), ["watchdog-period"]);
    let all = names(&["*"]);
    assert_eq!(all.len(), 239);
    assert!(all.is_sorted());
    assert_eq!(config.get(&[b"port"]), [(b"port".to_vec(), b"6379".to_vec())]);
}

/// Option, value and the reason Valkey gives for refusing it.
const REFUSALS: [(&str, &str, &str); 27] = [
    ("maxmemory", "lots", "argument must be a memory value"),
    ("maxmemory-clients", "lots", "argument must be a memory or percent value"),
    ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
    (
        "slot-migration-max-failover-repl-bytes",
        "-2",
        "argument must be between -1 and 9223372036854775807 inclusive",
    ),
    ("timeout", "1s", "argument couldn't be parsed into an integer"),
    ("timeout", "01", "argument couldn't be parsed into an integer"),
    ("port", "65536", "argument must be between 0 and 65535 inclusive"),
    ("maxclients", "-1", "argument must be between 1 and 4294967295 inclusive"),
    ("DATABASES", "1", "can't set immutable config"),
    ("dbfilename", "x", "can't set protected config"),
    ("rdbcompression", "maybe", "argument must be 'yes' or 'no'"),
    (
        "loglevel",
        "loud",
        "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
    ),
    ("appendfsync", "everysec no", "argument(s) must be one of the following: everysec, always, no"),
    ("shutdown-on-sigterm", "save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
    ("save", "900", "Invalid save parameters"),
    ("save", "0 1", "Invalid save parameters"),
    ("save", "900  1", "Invalid save parameters"),
    ("client-output-buffer-limit", "normal 1 2", "Wrong number of arguments in buffer limit configuration."),
    (
        "client-output-buffer-limit",
        "master 1 2 3",
        "Invalid client class specified in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit",
        "normal 1 x 3",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    ),
    ("notify-keyspace-events", "KEq", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ("oom-score-adj-values", "1 2", "wrong number of arguments"),
    (
        "oom-score-adj-values",
        "1 2 2001",
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
    ),
    (
        "latency-tracking-info-percentiles",
        "50 101",
        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
    ),
    ("latency-tracking-info-percentiles", "x", "Invalid latency-tracking-info-percentiles parameters"),
    ("proc-title-template", "{nope}", "template format is invalid or contains unknown variables"),
    ("tls-port", "1", "Unable to update TLS configuration. Check server logs."),
];

#[test]
fn errors_have_valkeys_words() {
    let mut config = Config::default();
    let mut refusal = |pairs: &[(&str, &str)]| set(&mut config, pairs).unwrap_err();
    let failed = |option: &str, reason: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{option}') - {reason}")
    };
    assert_eq!(
        refusal(&[("nope", "1")]),
        "ERR Unknown option or number of arguments for CONFIG SET - 'nope'"
    );
    for (option, value, reason) in REFUSALS {
        assert_eq!(refusal(&[(option, value)]), failed(option, reason));
    }
    assert_eq!(refusal(&[("port", "1"), ("Port", "2")]), failed("Port", "duplicate parameter"));
    assert_eq!(
        refusal(&[("slowlog-max-len", "x")]),
        failed("slowlog-max-len", "argument couldn't be parsed into an integer")
    );
    assert_eq!(config, Config::default());
}

#[test]
fn a_set_of_several_options_happens_altogether_or_not_at_all() {
    let mut config = Config::default();
    let refused = set(&mut config, &[("maxmemory", "1gb"), ("save", "60 1"), ("hz", "x")]);
    assert!(refused.is_err());
    assert_eq!(config, Config::default());

    let changes = set(&mut config, &[("maxmemory", "1gb"), ("timeout", "0"), ("hz", "1000")]).unwrap();
    assert_eq!((config.maxmemory, config.hz), (1 << 30, 500));
    assert_eq!(changes.names().collect::<Vec<_>>(), ["maxmemory", "hz"]);
    assert!(changes.contains("hz") && changes.before().hz == 10);
    let reply = changes.failure("maxmemory", "too little").to_string();
    assert_eq!(reply, "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - too little");
    config.undo(changes);
    assert_eq!(config, Config::default());
}

#[test]
fn who_asks_and_when_decides_about_protected_options() {
    let mut config = Config { enable_protected_configs: ProtectedAction::Local, ..Config::default() };
    let pairs: [(&[u8], &[u8]); 1] = [(b"dbfilename", b"other.rdb")];
    let local = SetContext { local_client: true, loading: false };
    assert!(config.set(&pairs, SetContext::default()).is_err());
    assert!(config.set(&pairs, local).is_ok());
    let loading = SetContext { loading: true, ..local };
    assert_eq!(config.set(&[(b"appendonly", b"yes")], loading).unwrap_err(), ConfigError::Loading);
}

#[test]
fn values_print_in_their_own_way() {
    let mut config = Config::default();
    for (option, value, printed) in [
        ("maxmemory", "2k", "2000"),
        ("maxmemory-clients", "5%", "5%"),
        ("maxmemory-clients", "1mb", "1048576"),
        ("slot-migration-max-failover-repl-bytes", "-1", "-1"),
        ("oom-score-adj", "relative", "yes"),
        ("shutdown-on-sigint", "FORCE now default", "now force"),
        ("save", "", ""),
        ("notify-keyspace-events", "Kg$lshzxetdn", "AK"),
        ("notify-keyspace-events", "Elmn", "lnEm"),
        ("latency-tracking-info-percentiles", "50.0 99.12", "50 99.12"),
        (
            "client-output-buffer-limit",
            "replica 1mb 0 5",
            "normal 0 0 0 slave 1048576 0 5 pubsub 33554432 8388608 60",
        ),
        ("cluster-blacklist-ttl", "-1", "-1"),
    ] {
        set(&mut config, &[(option, value)]).unwrap();
        assert_eq!(get(&config, option), printed, "{option} {value}");
    }
    assert!(config.notify_keyspace_events.has(EventClasses::LIST));
    assert!(set(&mut config, &[("dir", "/nowhere")]).unwrap_err().contains("protected"));
    config.enable_protected_configs = ProtectedAction::Yes;
    assert!(set(&mut config, &[("dir", "/nowhere")]).unwrap_err().ends_with("- No such file or directory"));
}

#[test]
fn options_without_effect_are_named_once_they_are_set() {
    let mut config = Config::default();
    assert_eq!(config.inert_options_set().count(), 0);
    set(&mut config, &[("timeout", "10"), ("activerehashing", "no")]).unwrap();
    let inert: Vec<&str> = config.inert_options_set().map(|spec| spec.name).collect();
    assert_eq!(inert, ["activerehashing"]);
}

#[test]
fn odd_values_are_taken_or_refused_without_a_trace() {
    let long = "9".repeat(400);
    let values: [&[u8]; 14] = [
        b"",
        b" ",
        b"-",
        b"%",
        b"\xff\x00",
        b"{",
        b"{{}",
        b"1 2 3 4",
        b"-9223372036854775808",
        b"-9223372036854775808%",
        b"18446744073709551615",
        b"18446744073709551615gb",
        b"1 99999999999999999999",
        long.as_bytes(),
    ];
    for spec in OPTIONS.iter().filter(|spec| spec.name != "dir") {
        for value in values {
            let mut config = Config::default();
            if config.set(&[(spec.name.as_bytes(), value)], SetContext::default()).is_err() {
                assert_eq!(config, Config::default());
            }
            config.get(&[spec.name.as_bytes()]);
        }
    }
}
