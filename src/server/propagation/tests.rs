//! Units as they go out, spelled the way inline requests are.
#![allow(clippy::unwrap_used)]

use super::*;

/// The requests of a stream, words parted by blanks.
fn spelled(mut bytes: &[u8]) -> Vec<String> {
    let mut line = || {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let text = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes = &bytes[end + 2..];
        (!bytes.is_empty(), text)
    };
    let mut requests = Vec::new();
    let mut more = true;
    while more {
        let count: usize = line().1.strip_prefix('*').unwrap().parse().unwrap();
        let mut words = Vec::new();
        for _ in 0..count {
            let length: usize = line().1.strip_prefix('$').unwrap().parse().unwrap();
            let (rest, word) = line();
            assert_eq!(word.len(), length);
            words.push(word);
            more = rest;
        }
        requests.push(words.join(" "));
    }
    requests
}

fn say(propagation: &mut Propagation, database: usize, targets: Targets, request: &str) {
    let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    propagation.push(database, targets, words.into_iter());
}

fn aof_unit(propagation: &Propagation, database: &mut Option<usize>, wrapped: bool) -> Vec<String> {
    let mut unit = Vec::new();
    propagation.write_unit(database, |targets| targets.aof, wrapped, &mut unit);
    spelled(&unit)
}

#[test]
fn a_database_is_selected_when_it_changes_and_when_the_stream_begins() {
    let mut propagation = Propagation::default();
    propagation.set_aof_listens(true);
    let mut database = None;
    say(&mut propagation, 3, Targets::ALL, "SET k v");
    assert_eq!(aof_unit(&propagation, &mut database, false), ["SELECT 3", "SET k v"]);
    assert_eq!(database, Some(3));
    assert_eq!(aof_unit(&propagation, &mut database, false), ["SET k v"]);
    say(&mut propagation, 0, Targets::ALL, "DEL k");
    assert_eq!(
        aof_unit(&propagation, &mut database, true),
        ["MULTI", "SET k v", "SELECT 0", "DEL k", "EXEC"]
    );
}

#[test]
fn each_stream_gets_what_it_is_meant_to_get() {
    let mut propagation = Propagation::default();
    propagation.set_aof_listens(true);
    propagation.set_replicas_listen(true);
    say(&mut propagation, 0, Targets::AOF, "SET file 1");
    say(&mut propagation, 1, Targets::REPLICAS, "SET replicas 1");
    assert_eq!(aof_unit(&propagation, &mut None, false), ["SELECT 0", "SET file 1"]);
    let mut replicas = Vec::new();
    propagation.write_unit(&mut Some(1), |targets| targets.replicas, true, &mut replicas);
    assert_eq!(spelled(&replicas), ["MULTI", "SET replicas 1", "EXEC"]);
}

#[test]
fn nothing_is_encoded_for_nobody() {
    let mut propagation = Propagation::default();
    say(&mut propagation, 0, Targets::ALL, "SET k v");
    assert!(!propagation.is_pending() && !propagation.listens());
    propagation.set_aof_listens(true);
    say(&mut propagation, 0, Targets::REPLICAS, "SET k v");
    assert!(!propagation.is_pending() && propagation.listens());
}
