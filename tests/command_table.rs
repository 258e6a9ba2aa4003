//! Every command that is here has Valkey's arity, flags, key specifications, categories, tips and syntax.
#![allow(clippy::unwrap_used, missing_docs)]

use weighbridge::commands;
use weighbridge::server::command::{Arg, Begin, Find, KeySpec, TableEntry, category, flag, key_flag};

/// See the head of the file.
const VALKEY: &str = include_str!("data/commands.tsv");

/// What is wider here than in Valkey, on purpose: command and column.
const OURS: [(&str, &str); 2] = [("bgsave", "history"), ("bgsave", "arguments")];

fn sorted(mut words: Vec<String>) -> String {
    words.sort_unstable();
    words.join(" ")
}

fn key_spec(spec: &KeySpec) -> String {
    let begin = match spec.begin {
        Begin::Index(index) => format!("index:{index}"),
        Begin::Keyword(word, from) => format!("keyword:{word},{from}"),
        Begin::Unknown => "unknown:".to_owned(),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => format!("range:{last},{step},{limit}"),
        Find::Count { index, first, step } => format!("keynum:{index},{first},{step}"),
        Find::Unknown => "unknown:".to_owned(),
    };
    let flags = key_flag::NAMES.iter().filter(|(flag, _)| spec.flags & flag != 0);
    let flags = sorted(flags.map(|(_, name)| (*name).to_owned()).collect()).replace(' ', "+");
    format!("{begin}/{find}/{flags}")
}

fn argument(arg: &Arg) -> String {
    let mut text = format!("{}:{}", arg.name, arg.kind.name());
    if let Some(index) = arg.key_spec {
        text += &format!("@{index}");
    }
    let there = |value: &str| !value.is_empty();
    let marks = [
        ('=', arg.token, arg.has_token()),
        ('^', arg.since, there(arg.since)),
        ('!', arg.deprecated, there(arg.deprecated)),
    ];
    for (mark, value, _) in marks.into_iter().filter(|(_, _, is_set)| *is_set) {
        text += &format!("{mark}{value}");
    }
    for (mark, is_set) in [('?', arg.optional), ('*', arg.multiple), ('+', arg.multiple_token)] {
        if is_set {
            text.push(mark);
        }
    }
    if !arg.arguments.is_empty() {
        text += &format!("({})", arguments(arg.arguments));
    }
    text
}

fn arguments(arguments: &[Arg]) -> String {
    arguments.iter().map(argument).collect::<Vec<_>>().join(" ")
}

fn columns(entry: &TableEntry) -> Vec<String> {
    let command = entry.command;
    let range = command.legacy_range();
    let flags = flag::NAMES.iter().filter(|(flag, _)| command.has(*flag));
    let categories = category::NAMES.iter().filter(|(category, _)| command.all_categories() & category != 0);
    vec![
        entry.full_name.clone(),
        command.arity.to_string(),
        sorted(flags.map(|(_, name)| (*name).to_owned()).collect()),
        range.first.to_string(),
        range.last.to_string(),
        range.step.to_string(),
        sorted(categories.map(|(_, name)| format!("@{name}")).collect()),
        command.tips.join(" "),
        command.keys.iter().map(key_spec).collect::<Vec<_>>().join(" "),
        command.group.name().to_owned(),
        command.since.to_owned(),
        command.history.iter().map(|(version, _)| *version).collect::<Vec<_>>().join(" "),
        arguments(command.arguments),
    ]
}

#[test]
fn specifications_are_valkeys() {
    const COLUMNS: [&str; 13] = [
        "name",
        "arity",
        "flags",
        "first key",
        "last key",
        "step",
        "categories",
        "tips",
        "keys",
        "group",
        "since",
        "history",
        "arguments",
    ];
    let table = commands::table();
    let mut faults = Vec::new();
    for entry in table.every() {
        let ours = columns(entry);
        let line = VALKEY.lines().find(|line| line.split('\t').next() == Some(&entry.full_name));
        let Some(line) = line else {
            faults.push(format!("{} is no command of Valkey", entry.full_name));
            continue;
        };
        for ((column, ours), theirs) in COLUMNS.iter().zip(&ours).zip(line.split('\t')) {
            if ours != theirs && !OURS.contains(&(entry.full_name.as_str(), column)) {
                faults.push(format!("{}: {column}\n  ours:   {ours}\n  Valkey: {theirs}", entry.full_name));
            }
        }
    }
    faults.sort_unstable();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_command_is_described() {
    for entry in commands::table().every() {
        assert!(entry.command.summary.ends_with('.'), "{} has no sentence", entry.full_name);
        assert!(!entry.command.history.iter().any(|(_, change)| change.is_empty()), "{}", entry.full_name);
    }
}
