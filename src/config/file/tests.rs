//! Files, their errors, and the order in which sources win.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::super::{SavePoint, Text};
use super::*;

fn read(text: &str) -> Result<Loaded, String> {
    load(Sources { stdin: text.as_bytes(), ..Sources::default() }).map_err(|error| error.to_string())
}

fn config(text: &str) -> Config {
    read(text).unwrap().config
}

fn save_points(text: &str) -> Vec<(i64, i64)> {
    config(text).save.0.iter().map(|SavePoint { seconds, changes }| (*seconds, *changes)).collect()
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err()
}

fn at_line(number: usize, line: &str, reason: &str) -> String {
    format!(
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nReading the configuration file, at line {number}\n>>> \
         '{line}'\n{reason}"
    )
}

#[test]
fn lines_set_options_and_the_last_one_wins() {
    let config = config(
        "# port 1\n\n  PORT 6380\r\nport 6381\nmaxmemory 1gb\nrequirepass \"a b\"\nslave-priority 7\n",
    );
    assert_eq!((config.port, config.maxmemory, config.replica_priority), (6381, 1 << 30, 7));
    assert_eq!(config.requirepass, "a b");
    assert_eq!(config.databases, 16);
}

#[test]
fn save_lines_replace_the_default_and_add_up() {
    assert_eq!(save_points(""), [(3600, 1), (300, 100), (60, 10000)]);
    assert_eq!(save_points("save 900 1\nsave 300 10"), [(900, 1), (300, 10)]);
    assert_eq!(save_points("save 900 1 300 10"), [(900, 1), (300, 10)]);
    assert_eq!(save_points("save \"900 1 300 10\""), [(900, 1), (300, 10)]);
    assert_eq!(save_points("save \"\""), []);
    assert_eq!(save_points("save 900 1\nsave \"\"\nsave 5 5"), [(5, 5)]);
}

#[test]
fn options_with_several_arguments_take_them_all() {
    let config = config(
        "bind 127.0.0.1 -::1\nclient-output-buffer-limit normal 1mb 0 0\nclient-output-buffer-limit pubsub 0 0 0\n\
         shutdown-on-sigterm nosave force\nreplicaof 10.0.0.1 6379\nhz 1000",
    );
    assert_eq!(config.bind.0, [Text::new("127.0.0.1"), Text::new("-::1")]);
    assert_eq!(config.client_output_buffer_limit.normal.hard_bytes, 1 << 20);
    assert_eq!(config.client_output_buffer_limit.pubsub.soft_seconds, 0);
    assert_eq!(config.client_output_buffer_limit.replica.soft_seconds, 60);
    assert_eq!(config.replicaof.0, Some((Text::new("10.0.0.1"), 6379)));
    assert_eq!(config.hz, 500);
}

#[test]
fn errors_name_the_line() {
    let integer = "argument couldn't be parsed into an integer";
    assert_eq!(refusal("# x\nport x"), at_line(2, "port x", integer));
    assert_eq!(refusal("  save 1 "), at_line(1, "save 1", "Invalid save parameters"));
    assert_eq!(refusal("port 1 2"), at_line(1, "port 1 2", "wrong number of arguments"));
    assert_eq!(refusal("port"), at_line(1, "port", "wrong number of arguments"));
    assert_eq!(refusal("logfile \"x"), at_line(1, "logfile \"x", "Unbalanced quotes in configuration line"));
    let bad = "Bad directive or wrong number of arguments";
    assert_eq!(refusal("nonsense 1"), at_line(1, "nonsense 1", bad));
    assert_eq!(refusal("include"), at_line(1, "include", bad));
    assert_eq!(refusal("dynamic-hz"), at_line(1, "dynamic-hz", bad));
    assert_eq!(refusal("a.b"), at_line(1, "a.b", "Module config specified without value"));
    let sentinel = "sentinel directive while not in sentinel mode";
    assert_eq!(refusal("sentinel monitor x"), at_line(1, "sentinel monitor x", sentinel));
    assert_eq!(
        refusal("cluster-enabled yes\nreplicaof h 1"),
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nreplicaof directive not allowed in cluster mode"
    );
    assert_eq!(
        refusal("logfile /nowhere/x.log"),
        "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nCan't open the log file: No such file or directory"
    );
}

#[test]
fn directives_are_kept_with_their_lines() {
    let loaded = read(
        "dynamic-hz yes\nport 1\nuser Alice on >x\nrename-command FLUSHALL \"\"\nloadmodule /m.so a\nm.x 1 2",
    )
    .unwrap();
    let directives = loaded.directives;
    assert_eq!(directives.users[0].arguments, [&b"user"[..], b"Alice", b"on", b">x"]);
    assert_eq!(directives.renamed_commands[0].arguments[1..], [&b"FLUSHALL"[..], b""]);
    assert_eq!((directives.modules.len(), directives.module_options.len()), (1, 1));
    let error = directives.users[0].error("no").to_string();
    assert_eq!(error, at_line(3, "user Alice on >x", "no"));
}

#[test]
fn file_then_standard_input_then_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v.conf");
    fs::write(&path, "port 1\nhz 1\ntimeout 1").unwrap();
    let sources = Sources { file: Some(&path), stdin: b"hz 2\ntimeout 2", options: b"timeout 3 " };
    let config = load(sources).unwrap().config;
    assert_eq!((config.port, config.hz, config.timeout), (1, 2, 3));
}

#[test]
fn includes_are_read_in_place_and_patterns_may_match_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let at = directory.path().display();
    write("a.inc", "timeout 1\nsave 5 5");
    write("b.inc", "timeout 2\n");
    write(".c.inc", "timeout 3\n");
    let main = write("main.conf", &format!("save 9 9\ninclude {at}/[!b].inc\ninclude {at}/*.none\nport 7"));
    let load_file = |file: &Path| load(Sources { file: Some(file), ..Sources::default() });
    let config = load_file(&main).unwrap().config;
    assert_eq!((config.timeout, config.port, config.save.0.len()), (1, 7, 2));
    assert_eq!(load_file(&directory.path().join("?.inc")).unwrap().config.timeout, 2);

    let absent = load_file(&directory.path().join("absent")).unwrap_err().to_string();
    assert_eq!(
        absent,
        format!("Fatal error, can't open config file '{at}/absent': No such file or directory")
    );
    let circle = write("circle.conf", &format!("include {at}/circle.conf"));
    assert!(load_file(&circle).unwrap_err().to_string().ends_with("Too many levels of include"));
    let wrong = write("wrong.inc", "port 1\nport x");
    let outer = write("outer.conf", &format!("\n\n\ninclude {}", wrong.display()));
    assert!(load_file(&outer).unwrap_err().to_string().contains("at line 2\n>>> 'port x'"));
}

#[test]
fn the_example_file_has_every_option_with_an_effect_at_its_default() {
    let example = include_str!("../../../valkey.conf.example");
    assert_eq!(config(example), Config::default());
    let mentions = |name: &str| {
        let lines = example.lines().map(|line| line.trim_start_matches("# "));
        lines.filter_map(|line| line.split_once(' ')).any(|(first, _)| first == name)
    };
    for spec in super::super::OPTIONS {
        let listed = !spec.flags.has(Flags::INERT) && !spec.flags.has(Flags::HIDDEN);
        assert_eq!(mentions(spec.name), listed, "{}", spec.name);
    }
}
