//! Reading an append-only file: what `check-aof` calls valid is read to its end, and `--fix` makes of any file one that
//! is valid, keeps all that is whole, and keeps the file as it was.

use std::fs;
use std::path::Path;

use weighbridge::persistence::aof::{Record, RecordError, Requests};
use weighbridge::tools::{Terminal, Tool, Verdict};

use super::{request, scratch, words};
use crate::mutation::Grammar;

pub fn grammar() -> Grammar {
    let pieces = vec![
        request(&["SELECT", "0"]),
        request(&["SET", "key", "value"]),
        request(&["MULTI"]),
        request(&["EXEC"]),
        request(&["RPUSH", "list", "", "1", "two"]),
        b"#TS:1700000000\r\n".to_vec(),
    ];
    let words =
        words(&["\r\n", "\n", "*", "$", "*1\r\n", "$0\r\n\r\n", "#", "#TS:", "multi", "exec", "\0\0\0\0"]);
    Grammar { head: Vec::new(), pieces, tail: Vec::new(), words }
}

fn check(path: &Path, fix: bool) -> (Verdict, String) {
    let fix = fix.then(|| b"--fix".to_vec());
    let file = path.as_os_str().as_encoded_bytes().to_vec();
    let arguments: Vec<_> = fix.into_iter().chain([file]).collect();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut terminal =
        Terminal { input: &mut b"y".as_slice(), output: &mut output, errors: &mut errors, version: "" };
    let verdict = Tool::CheckAof.run("check-aof", &arguments, &mut terminal).unwrap();
    (verdict, String::from_utf8_lossy(&output).into_owned())
}

/// Reads a file; gives the arguments of its requests, and whether it was read to its end.
fn read(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut requests, mut seen) = (Requests::new(bytes, Vec::new(), 0), Vec::new());
    loop {
        match requests.advance() {
            Ok(Record::Request) => {
                let (bytes, args) = requests.request();
                seen.push(args.iter().map(|arg| arg.of(bytes).to_vec()).collect());
            }
            Ok(Record::Annotation) => {}
            Ok(Record::End) => {
                assert_eq!(requests.offset(), bytes.len() as u64);
                return (seen, true);
            }
            Err(RecordError::Truncated | RecordError::Malformed) => return (seen, false),
            Err(RecordError::Io(error)) => panic!("{error}"),
        }
    }
}

pub fn target() -> impl FnMut(&[u8]) {
    let folder = scratch();
    let (path, copy) = (folder.path().join("a"), folder.path().join("a.before-fix"));
    move |input| {
        // These are checked as other kinds of files.
        if [b"REDIS0".as_slice(), b"VALKEY", b"file"].iter().any(|start| input.starts_with(start)) {
            return;
        }
        let _folder = &folder;
        fs::write(&path, input).unwrap();
        let (requests, is_whole) = read(input);
        let (verdict, said) = check(&path, false);
        let is_manifest = said.starts_with("Start checking Multi Part AOF");
        if is_manifest {
            return;
        }
        if verdict == Verdict::Valid {
            assert!(is_whole, "valid, but not read to its end: {said}");
            return;
        }
        assert_eq!(check(&path, true).0, Verdict::Valid, "not fixed: {said}");
        assert_eq!(check(&path, false).0, Verdict::Valid, "not valid once fixed: {said}");
        let fixed = fs::read(&path).unwrap();
        assert!(input.starts_with(&fixed) && fs::read(&copy).unwrap() == input);
        let (kept, _) = read(&fixed);
        assert!(requests.starts_with(&kept));
        // Only what belongs to a transaction that is not whole, or stands behind what is wrong, may go.
        let word = |request: &Vec<Vec<u8>>| request[0].to_ascii_lowercase();
        let lost = requests.get(kept.len()).map(word);
        assert!(lost.is_none_or(|word| word == b"multi" || word == b"exec"), "{said}");
        fs::remove_file(&copy).unwrap();
    }
}
