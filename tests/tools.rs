//! `check-rdb` and `check-aof` as programs: under all their names, and beside Valkey's own, whose output and exit codes
//! they share but for what is listed here.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::data::DataSet;
use support::reply::Conversation;
use support::{Server, peer};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Runs a program in a folder; gives its exit code and what it has written.
fn run(folder: &Path, program: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut process = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that asks nothing may have ended.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    let output = process.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn ours(folder: &Path, tool: &str, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let arguments: Vec<&str> = std::iter::once(tool).chain(arguments.iter().copied()).collect();
    run(folder, Path::new(env!("CARGO_BIN_EXE_weighbridge")), &arguments, input)
}

#[test]
fn the_programs_go_by_the_names_of_valkey_and_redis() {
    let folder = tempfile::tempdir().unwrap();
    let file = golden("valkey-9.1.rdb");
    let file = file.to_str().unwrap();
    for maker in ["valkey", "redis"] {
        let name = |tool: &str| {
            let path = folder.path().join(format!("{maker}-{tool}"));
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_weighbridge"), &path).unwrap();
            path
        };
        let (check_rdb, check_aof) = (name("check-rdb"), name("check-aof"));
        let (code, said) = run(folder.path(), &check_rdb, &[file], "");
        assert!(code == Some(0) && said.contains("RDB looks OK!"), "{said}");
        let (code, said) = run(folder.path(), &check_rdb, &[], "");
        assert!(code == Some(1) && said.starts_with("Usage: "), "{said}");
        let (code, said) = run(folder.path(), &check_aof, &["nowhere"], "");
        assert_eq!((code, said.as_str()), (Some(1), "Cannot open file nowhere: No such file or directory\n"));
        let (code, said) = run(folder.path(), &check_aof, &["-v"], "");
        assert!(code == Some(0) && said.starts_with("valkey-check-aof v=9.1"), "{said}");
    }
    let (code, said) = ours(folder.path(), "check-rdb", &["nowhere"], "");
    assert!(code == Some(1) && said.contains("No such file or directory"), "{said}");
}

/// What is not compared: Valkey's log lines among the output, the line of its source, and our line about the copy.
fn plain(text: &str) -> String {
    let is_log =
        |line: &str| line.split_once(":M ").is_some_and(|(pid, _)| pid.bytes().all(|b| b.is_ascii_digit()));
    let mut lines = Vec::new();
    let copy = "The file as it was is kept as ";
    let text =
        match text.split_once(copy).and_then(|(before, after)| Some((before, after.split_once('\n')?.1))) {
            Some((before, after)) => format!("{before}{after}"),
            None => text.to_owned(),
        };
    for line in text.lines().filter(|line| !is_log(line)) {
        let line = match (line.find("Internal error in RDB reading"), line.find(" -> ")) {
            (Some(start), Some(end)) => format!("{}{}", &line[..start], &line[end..]),
            _ => line.to_owned(),
        };
        // Behind a line that ends early Valkey's program shows a byte of the line before.
        let line = line.split(", got: 00").next().unwrap_or_default().to_owned();
        lines.push(line);
    }
    lines.join("\n")
}

#[test]
fn check_rdb_says_what_valkeys_program_says() {
    let Some(real) = peer("valkey-check-rdb") else { return };
    let server = Server::start(&[]);
    let mut conversation = Conversation::open(&server);
    DataSet::new(5).store(&mut conversation, 600);
    conversation.ask("SAVE");
    let folder = tempfile::tempdir().unwrap();
    let same = |bytes: &[u8], options: &[&str], what: &str| {
        fs::write(folder.path().join("a.rdb"), bytes).unwrap();
        let arguments: Vec<&str> = std::iter::once("a.rdb").chain(options.iter().copied()).collect();
        let theirs = run(folder.path(), &real, &arguments, "");
        let ours = ours(folder.path(), "check-rdb", &arguments, "");
        assert_eq!(ours.0, theirs.0, "{what}: {}\n{}", ours.1, theirs.1);
        assert_eq!(plain(&ours.1), plain(&theirs.1), "{what}");
    };
    let saved = fs::read(server.directory.path().join("dump.rdb")).unwrap();
    let files =
        ["valkey-9.1.rdb", "valkey-9.1-lru.rdb", "valkey-9.1-lfu-no-checksum.rdb", "valkey-9.1-cluster.rdb"];
    let files: Vec<(&str, Vec<u8>)> = files
        .map(|name| (name, fs::read(golden(name)).unwrap()))
        .into_iter()
        .chain([("saved", saved)])
        .collect();
    for (name, bytes) in &files {
        for options in
            [&[][..], &["--stats"], &["--stats", "--format", "info"], &["--stats", "--format", "csv"]]
        {
            same(bytes, options, &format!("{name} {options:?}"));
        }
    }
    // Up to the stream; of streams Valkey names what it was reading, which we do not when the file merely ends.
    let (_, bytes) = &files[0];
    for cut in (0..700).step_by(23) {
        same(&bytes[..cut], &[], &format!("cut at {cut}"));
    }
    let mut wrong = bytes.clone();
    *wrong.last_mut().unwrap() ^= 1;
    same(&wrong, &[], "a wrong checksum");
}

fn request(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

#[test]
fn check_aof_says_and_does_what_valkeys_program_does() {
    let Some(real) = peer("valkey-check-aof") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.aof");
    let set = request(&["set", "foo", "hello"]);
    let transaction = [request(&["multi"]), set.clone(), request(&["exec"])].concat();
    let whole = format!("#TS:100\r\n{set}#TS:200\r\n{transaction}#TS:300\r\n{set}");
    let mut files: Vec<String> = [
        "!!!",
        "\0\0\0\0\0\0\0\0",
        &request(&["exec"]),
        &request(&["multi"]).repeat(2),
        "*1\r\n$-5\r\nabc\r\n",
        "*1\r\n$x\r\nabc\r\n",
        "*1\r\n+3\r\nabc\r\n",
        "*1\r\n$3\r\nabcxx",
        "*1\r\n$999999\r\nabc\r\n",
        "*x\r\n",
    ]
    .iter()
    .flat_map(|tail| [format!("{set}{tail}"), format!("{set}{}{tail}", request(&["multi"]))])
    .collect();
    // A torn annotation is one to Valkey's program; the next command would become a part of it.
    let torn_annotation = |cut: &usize| whole[..*cut].rfind('#') > whole[..*cut].rfind('\n');
    files.extend(
        (1..whole.len())
            .filter(|cut| cut % 3 != 1 && !torn_annotation(cut))
            .map(|cut| whole[..cut].to_owned()),
    );
    files.push(whole.clone());
    for bytes in files {
        for options in
            [&[][..], &["--fix"], &["--truncate-to-timestamp", "200"], &["--truncate-to-timestamp", "1"]]
        {
            let arguments: Vec<&str> = options.iter().copied().chain(["a.aof"]).collect();
            fs::write(&path, &bytes).unwrap();
            let theirs = run(folder.path(), &real, &arguments, "y\n");
            let cut = fs::read(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
            let ours = ours(folder.path(), "check-aof", &arguments, "y\n");
            let what = format!("{options:?} of {}", bytes.escape_default());
            assert_eq!(ours.0, theirs.0, "{what}: {}\n{}", ours.1, theirs.1);
            assert_eq!(plain(&ours.1), plain(&theirs.1), "{what}");
            assert_eq!(fs::read(&path).unwrap(), cut, "{what}");
            for copy in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
                if copy != path {
                    fs::remove_file(copy).unwrap();
                }
            }
        }
    }
}
