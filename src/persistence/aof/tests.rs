//! Directories of append-only files, whole and damaged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::{self, File};
use std::path::Path;

use super::*;
use crate::config::{Config, Text};
use crate::keyspace::Keyspace;
use crate::persistence::{LoadOptions, NoObserver, SaveOptions, write_snapshot};

const FIRST: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

struct Place {
    root: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("appendonlydir");
        fs::create_dir(&directory).unwrap();
        let appenddirname = Text::new(directory.to_str().unwrap());
        Self { root, config: Config { appenddirname, ..Config::default() } }
    }

    fn directory(&self) -> Directory {
        Directory::new(&self.config)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join("appendonlydir").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn list(&self, lines: &[&str]) {
        self.write("appendonly.aof.manifest", (lines.join("\n") + "\n").as_bytes());
    }

    /// The requests as text, and how the loading ended.
    fn load(&self, cuts_tail: bool) -> (Vec<String>, Result<(), Vec<String>>) {
        let directory = self.directory();
        let manifest = match directory.read_manifest() {
            Ok(manifest) => manifest,
            Err(failure) => return (Vec::new(), Err(failure.lines())),
        };
        let mut keyspace = Keyspace::new(16);
        let limits = crate::server::limits(&self.config);
        let options = LoadOptions::new(&self.config, limits, keyspace.access_policy);
        let mut loader = match AofLoader::new(directory, &manifest, options, cuts_tail) {
            Ok(loader) => loader,
            Err(error) => return (Vec::new(), Err(error.0)),
        };
        let mut seen = Vec::new();
        loop {
            match loader.advance(&mut keyspace, 0, 1 << 20) {
                Ok(Step::FileBegins) => seen.push("--".to_owned()),
                Ok(Step::Piece) => {}
                Ok(Step::Request { bytes, args }) => {
                    let words: Vec<_> =
                        args.iter().map(|arg| String::from_utf8_lossy(arg.of(bytes)).into_owned()).collect();
                    seen.push(words.join(" "));
                }
                Ok(Step::End) => {
                    assert_eq!(loader.loaded_bytes(), loader.total_bytes());
                    return (seen, Ok(()));
                }
                Err(error) => return (seen, Err(error.0)),
            }
        }
    }
}

fn snapshot() -> Vec<u8> {
    let keyspace = Keyspace::new(16);
    let options = SaveOptions::new(&Config::default(), keyspace.access_policy, 0);
    write_snapshot(&keyspace, &options, Vec::new(), &mut NoObserver).unwrap()
}

#[test]
fn parts_are_loaded_in_order_and_empty_ones_are_skipped() {
    let place = Place::new();
    place.list(&[
        "file b seq 1 type b",
        "file gone seq 1 type h",
        "file i1 seq 1 type i",
        "file i2 seq 4 type i",
    ]);
    place.write("b", &snapshot());
    place.write("i1", b"");
    place.write("i2", &[FIRST, b"#TS:1\r\n", SET].concat());
    assert_eq!(
        place.load(false),
        (vec!["--".into(), "--".into(), "SELECT 0".into(), "SET k v".into()], Ok(()))
    );
}

#[test]
fn a_snapshot_may_be_followed_by_requests_in_the_same_file() {
    let place = Place::new();
    place.list(&["file appendonly.aof seq 1 type b"]);
    place.write("appendonly.aof", &[&snapshot(), FIRST, SET].concat());
    assert_eq!(place.load(false).0, ["--", "SELECT 0", "SET k v"]);
}

#[test]
fn a_cut_tail_of_the_last_file_is_removed_if_that_is_allowed() {
    for cut in 1..SET.len() {
        let place = Place::new();
        place.list(&["file i seq 1 type i"]);
        let torn = [FIRST, SET, &SET[..cut]].concat();
        place.write("i", &torn);
        let (seen, outcome) = place.load(false);
        assert_eq!(seen, ["--", "SELECT 0", "SET k v"]);
        assert!(
            outcome.unwrap_err()[0].starts_with("Unexpected end of file reading the append only file i. ")
        );
        assert_eq!(fs::read(place.path("i")).unwrap(), torn, "refused and not touched");
        assert_eq!(place.load(true).1, Ok(()));
        assert_eq!(fs::read(place.path("i")).unwrap(), [FIRST, SET].concat());
        assert_eq!(place.load(false).1, Ok(()));
    }
}

#[test]
fn an_incomplete_transaction_is_cut_off_from_its_multi() {
    let place = Place::new();
    place.list(&["file appendonly.aof seq 1 type b"]);
    let whole = [&snapshot(), SET].concat();
    place.write("appendonly.aof", &[whole.as_slice(), MULTI, SET].concat());
    let lines = place.load(false).1.unwrap_err();
    assert_eq!(lines[0], "Revert incomplete MULTI/EXEC transaction in AOF file appendonly.aof");
    assert_eq!(place.load(true).1, Ok(()));
    assert_eq!(fs::read(place.path("appendonly.aof")).unwrap(), whole);
}

#[test]
fn a_cut_file_that_is_not_the_last_is_refused_and_not_touched() {
    let place = Place::new();
    place.list(&["file a seq 1 type i", "file b seq 2 type i"]);
    place.write("a", &SET[..9]);
    place.write("b", SET);
    let lines = place.load(true).1.unwrap_err();
    assert!(lines.contains(&"Fatal error: the truncated file is not the last file".to_owned()), "{lines:?}");
    assert_eq!(fs::read(place.path("a")).unwrap(), &SET[..9]);
}

#[test]
fn what_is_no_command_is_refused_with_its_place() {
    for tail in [[0; 100].as_slice(), b"garbage\r\n", b"*1\r\n$x"] {
        let place = Place::new();
        place.list(&["file i seq 1 type i"]);
        place.write("i", &[SET, tail, b"\r\n"].concat());
        let lines = place.load(true).1.unwrap_err();
        assert!(lines[0].starts_with("Bad file format reading the append only file i: make a backup"));
        assert!(lines[1].contains(&format!("offset {}", SET.len())), "{lines:?}");
    }
}

#[test]
fn missing_files_and_damaged_bases_are_refused() {
    let place = Place::new();
    place.list(&["file b seq 1 type b", "file i seq 1 type i"]);
    place.write("b", &snapshot());
    assert!(place.load(true).1.is_err());
    place.write("i", b"");
    assert_eq!(place.load(true).1, Ok(()));
    let whole = snapshot();
    for cut in 6..whole.len() {
        place.write("b", &whole[..cut]);
        let lines = place.load(true).1.unwrap_err();
        assert_eq!(lines.last().unwrap(), "Error reading the RDB base file b, AOF loading aborted");
    }
}

#[test]
fn the_manifest_is_replaced_in_one_step() {
    let place = Place::new();
    let directory = place.directory();
    let mut manifest = directory.read_manifest().unwrap();
    assert!(manifest.is_empty());
    manifest.begin_increment(directory.append_filename());
    directory.write_manifest(&manifest, &File::sync_all).unwrap();
    assert_eq!(directory.read_manifest().unwrap(), manifest);
    assert!(!Path::new(&place.path("temp-appendonly.aof.manifest")).exists());
    // A rename that cannot succeed leaves the manifest as it was.
    fs::remove_file(place.path("appendonly.aof.manifest")).unwrap();
    fs::create_dir(place.path("appendonly.aof.manifest")).unwrap();
    let line = directory.write_manifest(&manifest, &File::sync_all).unwrap_err();
    assert!(line.starts_with(
        "Error trying to rename the temporary AOF manifest file temp-appendonly.aof.manifest into"
    ));
}

#[test]
fn a_manifest_that_is_wrong_says_so() {
    let place = Place::new();
    place.list(&["file a seq 1 type b", "file b seq 1 type b"]);
    let lines = place.load(true).1.unwrap_err();
    assert_eq!(lines[0], "\n*** FATAL AOF MANIFEST FILE ERROR ***\n");
    assert_eq!(lines[3], "Found duplicate base file information\n");
}
