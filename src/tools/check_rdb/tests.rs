//! Files of real servers are valid, no part of one is, and what is wrong is told with its place.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

const GOLDEN: [&[u8]; 4] = [
    include_bytes!("../../../tests/golden/valkey-9.1.rdb"),
    include_bytes!("../../../tests/golden/valkey-9.1-lfu-no-checksum.rdb"),
    include_bytes!("../../../tests/golden/valkey-9.1-cluster.rdb"),
    include_bytes!("../../../tests/golden/redis-8.0.rdb"),
];

fn check(bytes: &[u8], options: &Options) -> (bool, String) {
    let mut output = Vec::new();
    let valid = Check::new(options).run(bytes, b"name", &mut output).unwrap().is_some();
    (valid, String::from_utf8_lossy(&output).into_owned())
}

#[test]
fn whole_files_are_valid_and_no_part_of_one_is() {
    let options = Options::default();
    for file in GOLDEN {
        let (valid, said) = check(file, &options);
        assert!(valid && said.contains("Check RDB returned error code 0"), "{said}");
        for cut in 0..file.len() {
            let (valid, said) = check(&file[..cut], &options);
            assert!(!valid && said.contains("--- RDB ERROR DETECTED ---"), "{cut}: {said}");
            assert!(said.contains("Check RDB returned error code 1"), "{cut}: {said}");
        }
    }
}

#[test]
fn an_error_is_told_with_offset_key_and_form() {
    // A hash in a listpack whose length is wrong.
    let file = b"REDIS0011\xfe\x00\x10\x03key\x07\x09\x00\x00\x00\x01\x00\xff\xff";
    let (valid, said) = check(file, &Options::default());
    assert!(!valid);
    for line in [
        "[offset 9] Selecting DB ID 0",
        "[additional info] While doing: read-object-value",
        "[additional info] Reading key 'key'",
        "[additional info] Reading type 16 (hash-listpack)",
        "[info] 1 keys read",
    ] {
        let offset_free = line.split("] ").last().unwrap();
        assert!(said.contains(offset_free), "{line} in {said}");
    }
    assert!(check(b"REDIS0011\x96", &Options::default()).1.contains("[offset 10] Invalid object type: 150"));
    assert!(
        check(b"NOSNAPSHOT", &Options::default()).1.contains("Wrong signature trying to load DB from file")
    );
    assert!(check(b"VALKEY987\x96", &Options::default()).1.contains("with future version 987"));
    assert!(check(b"REDIS0075\x96", &Options::default()).1.contains("with foreign version 75"));
}

#[test]
fn figures_count_keys_elements_and_sizes_by_type() {
    let options = Options { statistics: true, format: Format::Info, ..Options::default() };
    let (_, said) = check(GOLDEN[0], &options);
    assert!(said.contains("[info] db.0.type.string.keys.total:"), "{said}");
    let keys: u64 =
        said.lines().filter_map(|line| line.split_once(".keys.total:")?.1.parse::<u64>().ok()).sum();
    let read =
        said.lines().find_map(|line| line.strip_prefix("[info] ")?.strip_suffix(" keys read")).unwrap();
    assert_eq!(keys.to_string(), read);
}

#[test]
fn a_database_of_any_number_takes_neither_memory_nor_output() {
    let options = Options { statistics: true, ..Options::default() };
    let file = b"REDIS0004\xfe\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01k\x01v\xff";
    let (valid, said) = check(file, &options);
    assert!(valid && said.contains("[info] 1 keys are in databases from 65536 on"), "{said}");
    assert!(said.lines().count() < 40);
}

#[test]
fn options_stand_behind_the_file() {
    let parse = |words: &[&str]| {
        Options::parse(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    };
    let options = parse(&["a.rdb", "--format", "csv", "--stats", "--output", "out"]).unwrap();
    assert_eq!(
        (options.format, options.statistics, options.output),
        (Format::Csv, true, Some(b"out".to_vec()))
    );
    for words in [&[][..], &["a", "--format"], &["a", "--format", "xml"], &["a", "--output"], &["a", "b"]] {
        assert!(parse(words).is_none(), "{words:?}");
    }
}
