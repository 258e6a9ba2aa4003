//! Loading a snapshot: it is refused with a reason, or what was loaded can be saved and loaded again.

use std::path::Path;

use weighbridge::config::Config;
use weighbridge::keyspace::Keyspace;
use weighbridge::persistence::{LoadOptions, Loader, NoObserver, SaveOptions, write_snapshot};
use weighbridge::rdb::format::VersionCheck;
use weighbridge::rdb::{Event, Reader, Snapshot};
use weighbridge::server::limits;

use crate::mutation::Grammar;

const GOLDEN: [&[u8]; 3] = [
    include_bytes!("../../golden/valkey-9.1.rdb"),
    include_bytes!("../../golden/valkey-9.1-lru.rdb"),
    include_bytes!("../../golden/redis-8.0.rdb"),
];
const NOW_MS: i64 = 1_700_000_000_000;

/// The records of real files, under the one header: bytes of Redis's own types mean something else there, or nothing.
pub fn grammar() -> Grammar {
    let mut pieces = Vec::new();
    for file in GOLDEN {
        let mut snapshot = Snapshot::open(Reader::of_slice(file), VersionCheck::Strict).unwrap();
        let mut start = snapshot.offset() as usize;
        loop {
            let event = snapshot.next_event().unwrap();
            match event {
                Event::Eof(_) => break,
                Event::Entry(header) => snapshot.value().1.skip_value(header.value_type).unwrap(),
                _ => {}
            }
            let end = snapshot.offset() as usize;
            pieces.push(file[start..end].to_vec());
            start = end;
        }
    }
    let mut words: Vec<Vec<u8>> = (0..=25).map(|form| vec![form, 1, b'k']).collect();
    words.extend((243..=255).map(|opcode| vec![opcode]));
    // A checksum of zeros is none.
    Grammar { head: b"VALKEY080".to_vec(), pieces, tail: [&[0xff][..], &[0; 8]].concat(), words }
}

fn load(bytes: &[u8], check: VersionCheck) -> Option<Keyspace> {
    let config = Config::default();
    let mut keyspace = Keyspace::new(config.database_count());
    let options = LoadOptions::new(&config, limits(&config), keyspace.access_policy);
    let options = LoadOptions { check, checksum: false, replace: true, drop_expired: false, ..options };
    let loaded = Loader::of_input(bytes, bytes.len() as u64, options).and_then(|mut loader| {
        while !loader.step(&mut keyspace, NOW_MS, 64)? {}
        Ok(())
    });
    match loaded {
        Ok(()) => Some(keyspace),
        Err(error) => {
            assert!(!error.lines(Path::new("file")).is_empty());
            None
        }
    }
}

fn keys(keyspace: &Keyspace) -> usize {
    keyspace.databases().iter().map(|database| database.table().iter().count()).sum()
}

pub fn target() -> impl FnMut(&[u8]) {
    |input| {
        let Some(keyspace) = load(input, VersionCheck::Relaxed) else { return };
        let options = SaveOptions::new(&Config::default(), keyspace.access_policy, NOW_MS);
        let saved = write_snapshot(&keyspace, &options, Vec::new(), &mut NoObserver).unwrap();
        let again = load(&saved, VersionCheck::Strict);
        assert_eq!(again.as_ref().map(keys), Some(keys(&keyspace)), "what was saved does not load as it was");
    }
}
