//! Configuration files: refused with the line that is wrong, or written back as a file that says the same.

use weighbridge::config::{OPTIONS, Sources, load};

use super::{scratch, words};
use crate::mutation::Grammar;

pub fn grammar() -> Grammar {
    let example = include_str!("../../../valkey.conf.example");
    let mut pieces: Vec<Vec<u8>> = example
        .lines()
        .map(|line| line.trim_start_matches("# "))
        .filter(|line| !line.is_empty() && !touches_files(line.as_bytes()))
        .map(|line| format!("{line}\n").into_bytes())
        .collect();
    pieces.extend(words(&[
        "save 3600 1 300 100\n",
        "client-output-buffer-limit replica 256mb 64mb 60\n",
        "user default on nopass ~* &* +@all\n",
        "rename-command FLUSHALL \"\"\n",
        "notify-keyspace-events KEA\n",
        "bind 127.0.0.1 -::1\n",
        "requirepass 'a \\'b'\n",
    ]));
    let mut words = words(&[" ", "\n", "\"", "'", "\\x41", "yes", "no", "mb", "%", "-", "#", "0"]);
    words.extend(OPTIONS.iter().map(|option| format!("{} ", option.name).into_bytes()));
    Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }
}

/// Whether a file may change the working directory, make files or read others, anywhere.
fn touches_files(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    [&b"dir"[..], b"logfile", b"include"]
        .iter()
        .any(|word| text.windows(word.len()).any(|part| part == *word))
}

pub fn target() -> impl FnMut(&[u8]) {
    let folder = scratch();
    let path = folder.path().join("conf");
    move |input| {
        let _folder = &folder;
        // A quoted word may be written in numbers.
        if touches_files(input) || input.windows(2).any(|pair| pair.eq_ignore_ascii_case(b"\\x")) {
            return;
        }
        let loaded = match load(Sources { stdin: input, ..Sources::default() }) {
            Ok(loaded) => loaded,
            Err(error) => {
                assert!(error.to_string().contains("FATAL CONFIG FILE ERROR"));
                return;
            }
        };
        std::fs::write(&path, "").unwrap();
        loaded.config.rewriting_of_all().write(&path, &std::fs::File::sync_all).unwrap();
        let text: Vec<u8> = std::fs::read(&path).unwrap();
        // What was written has the options alone, a line each.
        let without =
            |line: &&[u8]| ![&b"dir "[..], b"logfile "].iter().any(|option| line.starts_with(option));
        let text = text.split(|byte| *byte == b'\n').filter(without).collect::<Vec<_>>().join(&b'\n');
        let again = load(Sources { stdin: &text, ..Sources::default() });
        let again = again.unwrap_or_else(|error| panic!("{error}\nof {}", text.escape_ascii()));
        for option in OPTIONS {
            let (before, after) = (loaded.config.print(option), again.config.print(option));
            assert_eq!(
                before.escape_ascii().to_string(),
                after.escape_ascii().to_string(),
                "{}",
                option.name
            );
        }
    }
}
