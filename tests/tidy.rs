//! Holds the house in order: layers, file headers, sizes, where `unsafe` may stand, names that say nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file at most, its own tests included.
const FILE_LINES: usize = 800;
/// Lines of a function at most.
const FUNCTION_LINES: usize = 70;
/// Lines of a file's header at most.
const HEADER_LINES: usize = 15;

/// Module names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 5] = ["util", "utils", "common", "helpers", "misc"];

struct Source {
    /// From the root of the package, `/` between its parts.
    name: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        let folder = root().join(folder);
        if folder.is_dir() {
            collect(&folder, &mut found);
        }
    }
    assert!(!found.is_empty(), "no sources found");
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// The layers as `lib.rs` lists them, lowest first.
fn layers() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let layers: Vec<String> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert!(layers.len() > 10, "lib.rs lists the layers as `pub mod name;`");
    layers
}

fn is_test(source: &Source) -> bool {
    source.name.ends_with("tests.rs") || source.name.contains("/tests/")
}

/// The code of a source without its test module and without comments.
fn production(source: &Source) -> String {
    let code = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn fail_if_any(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_layer_uses_only_layers_below_it() {
    let layers = layers();
    let mut faults = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !is_test(source)) {
        let Some(own) = source.name.strip_prefix("src/").and_then(|name| name.split(['/', '.']).next())
        else {
            continue;
        };
        let Some(place) = layers.iter().position(|layer| layer == own) else { continue };
        let code = production(source);
        for upper in &layers[place + 1..] {
            for path in [format!("crate::{upper}::"), format!("crate::{upper};"), format!("crate::{{{upper}")]
            {
                if code.contains(&path) {
                    faults.push(format!("{}: layer `{own}` uses `{upper}`, which is above it", source.name));
                }
            }
        }
    }
    fail_if_any(&faults);
}

#[test]
fn sibling_structures_and_types_do_not_import_each_other() {
    /// Structures that are made of another one, and say so here.
    const MADE_OF: &[(&str, &str)] = &[
        ("structures/quicklist", "structures/listpack"),
        ("structures/scored_members", "structures/hash_table"),
        ("structures/listpack_index", "structures/listpack"),
        ("structures/listpack_index", "structures/ordered_index"),
        ("structures/member", "structures/hash_table"),
    ];
    let mut faults = Vec::new();
    for layer in ["structures", "types"] {
        let folder = root().join("src").join(layer);
        let siblings: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| !matches!(name.as_str(), "mod" | "word" | "encoding" | "limits" | "codec"))
            .collect();
        for source in sources(&[&format!("src/{layer}")]).iter().filter(|source| !is_test(source)) {
            let rest = source.name.strip_prefix(&format!("src/{layer}/")).unwrap();
            let own = rest.split(['/', '.']).next().unwrap();
            if !siblings.iter().any(|name| name == own) {
                continue;
            }
            let code = production(source);
            for other in siblings.iter().filter(|other| *other != own) {
                let allowed = MADE_OF.contains(&(&format!("{layer}/{own}"), &format!("{layer}/{other}")));
                if !allowed && code.contains(&format!("crate::{layer}::{other}")) {
                    faults.push(format!("{}: `{own}` imports its sibling `{other}`", source.name));
                }
            }
        }
    }
    fail_if_any(&faults);
}

#[test]
fn every_file_says_what_it_is() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let header = source.text.lines().take_while(|line| line.starts_with("//!")).count();
        if header == 0 {
            faults.push(format!("{}: does not open with `//!`", source.name));
        } else if header > HEADER_LINES {
            faults.push(format!("{}: a header of {header} lines, at most {HEADER_LINES}", source.name));
        }
    }
    fail_if_any(&faults);
}

#[test]
fn files_and_functions_stay_small() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{}: {lines} lines, at most {FILE_LINES}", source.name));
        }
        for (name, line, length) in long_functions(&source.text) {
            faults.push(format!(
                "{}:{line}: `{name}` has {length} lines, at most {FUNCTION_LINES}",
                source.name
            ));
        }
    }
    fail_if_any(&faults);
}

/// Functions longer than allowed, by the indentation of their closing brace: (name, first line, length).
fn long_functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(name) = function_name(trimmed) else { continue };
        let indent = &line[..line.len() - trimmed.len()];
        let close = format!("{indent}}}");
        let declaration_only = trimmed.ends_with(';') || trimmed.ends_with('}');
        if declaration_only {
            continue;
        }
        let body = lines[index + 1..].iter().position(|candidate| **candidate == close);
        if let Some(length) = body.map(|offset| offset + 2).filter(|length| *length > FUNCTION_LINES) {
            found.push((name.to_owned(), index + 1, length));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    loop {
        match words.next()? {
            "fn" => break,
            "pub" | "async" | "const" | "unsafe" | "extern" | "\"C\"" => {}
            word if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    words.next()?.split(['(', '<']).next()
}

#[test]
fn unsafe_stands_only_where_it_may() {
    const ALLOWED: [&str; 5] =
        ["src/sys/", "src/memory/", "src/structures/", "src/keyspace/entry.rs", "src/types/encoding.rs"];
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        if ALLOWED.iter().any(|allowed| source.name.starts_with(allowed)) {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code
                .split(|character: char| !character.is_alphanumeric() && character != '_')
                .any(|word| word == "unsafe")
            {
                faults.push(format!("{}:{}: `unsafe` is not for this layer", source.name, index + 1));
            }
        }
    }
    fail_if_any(&faults);
}

#[test]
fn names_say_something() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let path = Path::new(&source.name);
        for part in path.with_extension("").iter().filter_map(|part| part.to_str()) {
            let stale = ["_new", "_v2", "_fix", "_manager"].iter().any(|ending| part.ends_with(ending));
            if EMPTY_NAMES.contains(&part) || stale {
                faults.push(format!("{}: `{part}` says nothing", source.name));
            }
        }
    }
    fail_if_any(&faults);
}

#[test]
fn only_the_system_layer_touches_libc() {
    let mut faults = Vec::new();
    for source in sources(&["src"]).iter().filter(|source| !source.name.starts_with("src/sys/")) {
        if production(source).contains("libc::") {
            faults.push(format!("{}: libc belongs to `sys`", source.name));
        }
    }
    fail_if_any(&faults);
}
