//! Every tear is mended, nothing is lost by it, and nobody is cut who did not agree.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use super::*;

/// A request as it stands in a file.
fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn check(options: &[&str], file: &Path, answer: &str) -> (Verdict, String) {
    let mut arguments: Vec<Vec<u8>> = options.iter().map(|option| option.as_bytes().to_vec()).collect();
    arguments.push(file.as_os_str().as_bytes().to_vec());
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut terminal =
        Terminal { input: &mut answer.as_bytes(), output: &mut output, errors: &mut errors, version: "" };
    let verdict = run("check-aof", &arguments, &mut terminal).unwrap();
    assert!(errors.is_empty());
    (verdict, String::from_utf8_lossy(&output).into_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_cut_at_every_byte_is_mended_to_the_last_whole_record_and_the_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("a.aof"), folder.path().join("a.aof.before-fix"));
    let whole = request(&["SET", "k", "v"]);
    let transaction =
        [request(&["MULTI"]), request(&["INCR", "a"]), request(&["INCR", "b"]), request(&["EXEC"])].concat();
    for last in [transaction, request(&["SET", "k", "w"]), b"#TS:1700000000\r\n".to_vec()] {
        for cut in 1..last.len() {
            let bytes = [whole.as_slice(), &last[..cut]].concat();
            fs::write(&path, &bytes).unwrap();
            let (verdict, said) = check(&[], &path, "");
            assert_eq!(verdict, Verdict::Invalid, "{said}");
            let reach = format!("size={}, ok_up_to={},", bytes.len(), whole.len());
            assert!(said.contains(&reach) && said.contains("is not valid"), "{said}");
            assert_eq!(names(folder.path()), ["a.aof"]);

            let (verdict, said) = check(&["--fix"], &path, "y\n");
            assert_eq!(verdict, Verdict::Valid, "{said}");
            assert!(said.contains("Successfully truncated AOF"), "{said}");
            assert_eq!(fs::read(&path).unwrap(), whole);
            assert_eq!(fs::read(&copy).unwrap(), bytes);
            assert_eq!(check(&[], &path, "").0, Verdict::Valid);
            fs::remove_file(&copy).unwrap();
        }
    }
}

#[test]
fn nothing_is_touched_without_consent_and_no_copy_gives_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.aof");
    let bytes = [request(&["SET", "k", "v"]), b"!!!".to_vec()].concat();
    fs::write(&path, &bytes).unwrap();
    for answer in ["n\n", "", "\n"] {
        let (verdict, said) = check(&["--fix"], &path, answer);
        assert_eq!(verdict, Verdict::Invalid);
        assert!(said.contains("format error") && said.ends_with("Aborting...\n"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    for _ in 0..3 {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(check(&["--fix"], &path, "yes\n").0, Verdict::Valid);
    }
    let copies = ["a.aof", "a.aof.before-fix", "a.aof.before-fix.2", "a.aof.before-fix.3"];
    assert_eq!(names(folder.path()), copies);
}

#[test]
fn what_came_after_an_instant_is_cut_off_outside_of_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.aof");
    let early = [b"#TS:100\r\n".to_vec(), request(&["INCR", "a"])].concat();
    let late =
        [request(&["MULTI"]), b"#TS:200\r\n".to_vec(), request(&["INCR", "b"]), request(&["EXEC"])].concat();
    let bytes = [early.as_slice(), &late].concat();
    for (until, left) in [("99", None), ("100", Some(&early)), ("199", Some(&early)), ("200", Some(&bytes))] {
        fs::write(&path, &bytes).unwrap();
        let (verdict, said) = check(&["--truncate-to-timestamp", until], &path, "");
        assert_eq!(verdict == Verdict::Valid, left.is_some(), "{said}");
        assert_eq!(&fs::read(&path).unwrap(), left.unwrap_or(&bytes), "{until}");
    }
    assert!(check(&["--truncate-to-timestamp", "1x"], &path, "").1.starts_with("Invalid timestamp"));
}

#[test]
fn of_the_files_that_a_manifest_lists_only_the_last_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let manifest = path("a.manifest");
    let (whole, torn) = (request(&["SET", "k", "v"]), request(&["MULTI"]));
    fs::write(path("a.1.incr.aof"), &torn).unwrap();
    fs::write(path("a.2.incr.aof"), &whole).unwrap();
    fs::write(&manifest, "file a.1.incr.aof seq 1 type i\nfile a.2.incr.aof seq 2 type i\n").unwrap();
    let (verdict, said) = check(&["--fix"], &manifest, "y");
    assert_eq!(verdict, Verdict::Invalid);
    assert!(said.contains("because it is not the last file"), "{said}");
    assert_eq!(fs::read(path("a.1.incr.aof")).unwrap(), torn);

    fs::write(&manifest, "# made by hand\nfile a.2.incr.aof seq 1 type b\nfile a.1.incr.aof seq 1 type i\n")
        .unwrap();
    let (verdict, said) = check(&["--fix"], &manifest, "y");
    assert_eq!(verdict, Verdict::Valid);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "Start checking Multi Part AOF");
    assert_eq!(lines[1], "Start to check BASE AOF (RESP format).");
    assert_eq!(lines.last(), Some(&"All AOF files and manifest are valid"));
    assert_eq!(fs::read(path("a.1.incr.aof")).unwrap(), b"");

    fs::write(&manifest, "file a.3.incr.aof seq 1 type i\n").unwrap();
    assert!(check(&[], &manifest, "").1.contains("Cannot open file"));
    fs::write(&manifest, "file ../a.1.incr.aof seq 1 type i\n").unwrap();
    assert!(check(&[], &manifest, "").1.contains("File can't be a path, just a filename"));
}

#[test]
fn a_snapshot_in_front_is_checked_with_what_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.aof");
    let snapshot = include_bytes!("../../../tests/golden/valkey-9.1.rdb");
    let bytes = [snapshot.as_slice(), &request(&["SET", "k", "v"])].concat();
    fs::write(&path, &bytes).unwrap();
    let (verdict, said) = check(&[], &path, "");
    assert_eq!(verdict, Verdict::Valid, "{said}");
    assert!(said.contains("RDB preamble is OK, proceeding with AOF tail..."), "{said}");

    fs::write(&path, &snapshot[..600]).unwrap();
    let (verdict, said) = check(&["--fix"], &path, "y");
    assert_eq!(verdict, Verdict::Invalid);
    assert!(said.ends_with("RDB preamble of AOF file is not sane, aborting.\n"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), &snapshot[..600]);
}

#[test]
fn lengths_of_any_size_are_told_and_take_no_memory() {
    let reason =
        |record: &str| diagnosis::of_record(&mut record.as_bytes(), 16).unwrap().reason.unwrap_or_default();
    assert_eq!(
        reason("*1\r\n$9000000000000000000\r\nabc"),
        "0x              14: Expected to read string of 9000000000000000000 bytes, which is not in the suitable range"
    );
    let huge = "*1\r\n$4000000000000\r\nabc";
    assert!(reason(huge).ends_with("Expected to read 4000000000002 bytes, got 3 bytes"), "{}", reason(huge));
    assert!(reason("*1\r\n$-3\r\n").contains("string of -3 bytes"));
    assert!(reason("*1\r\n+3\r\n").ends_with("Expected prefix '$', got: '+'"));
    assert!(reason("*x\r\n").ends_with("Expected \\r\\n, got: 780d"));
    assert!(!reason("*0\r\n").is_empty() && reason("*2\r\n").is_empty());
}
