//! Jobs without their connections: which slots they are about, how they are named, and which are forgotten.
#![allow(clippy::unwrap_used)]

use super::feed::slot_of_effect;
use super::*;
use crate::algorithms::slot::slot_of;
use crate::commands;

const NOW_MS: i64 = 1_700_000_000_000;

fn add(migrations: &mut SlotMigrations, direction: Direction, range: (u16, u16), state: JobState) -> JobId {
    let id = migrations.next_id();
    let mut job = Job::new(id, [b'0' + id.0 as u8; 40], direction, vec![range], NOW_MS);
    job.state = state;
    migrations.add(job);
    id
}

#[test]
fn slots_are_on_their_way_until_the_job_is_over() {
    let mut migrations = SlotMigrations::default();
    let export = add(&mut migrations, Direction::Export, (1, 3), JobState::Streaming);
    let import = add(&mut migrations, Direction::Import, (7, 7), JobState::ReceivingSnapshot);
    assert!(migrations.exports() && migrations.imports());
    assert!(migrations.is_exporting(3) && !migrations.is_exporting(4) && !migrations.is_exporting(7));
    assert!(migrations.is_importing(7) && !migrations.is_importing(1));
    assert!(!migrations.failover_granted(1));
    migrations.get_mut(export).unwrap().state = JobState::FailoverGranted;
    assert!(migrations.failover_granted(1) && !migrations.failover_granted(7));
    assert_eq!(migrations.importing_slots().ranges(), [(7, 7)]);
    // What has come of it is still to be hidden, and to be told by snapshots.
    migrations.get_mut(import).unwrap().state = JobState::CleaningUp;
    assert_eq!(migrations.saved_imports(), [([b'2'; 40], vec![(7, 7)])]);
    assert_eq!(migrations.in_progress(None), [export]);
    migrations.get_mut(import).unwrap().state = JobState::Failed;
    migrations.recount();
    assert!(!migrations.imports() && migrations.importing_slots().is_empty());
    assert_eq!(migrations.named(&[b'1'; 40]), Some(export));
}

#[test]
fn the_oldest_jobs_that_are_over_are_forgotten_first() {
    let mut migrations = SlotMigrations::default();
    for state in [JobState::Streaming, JobState::Failed, JobState::Success, JobState::Cancelled] {
        add(&mut migrations, Direction::Export, (0, 0), state);
    }
    let states = |migrations: &SlotMigrations| migrations.iter().map(|job| job.state).collect::<Vec<_>>();
    migrations.trim(3);
    assert_eq!(states(&migrations), [JobState::Cancelled, JobState::Success, JobState::Streaming]);
    migrations.trim(0);
    assert_eq!(states(&migrations), [JobState::Streaming]);
}

#[test]
fn the_log_names_slots_and_the_other_node() {
    let mut job = Job::new(JobId(1), [b'a'; 40], Direction::Import, vec![(0, 5), (9, 9)], NOW_MS);
    job.describe(None);
    let name = "a".repeat(40);
    let text = format!("{{name: {name}, operation: import, source_node_id: unknown, slots: 0-5 9-9}}");
    assert_eq!(job.description, text);
    let other = crate::bus::NodeId::parse(&[b'b'; 40]).unwrap();
    let mut job = Job::new(JobId(2), [b'a'; 40], Direction::Export, vec![(1, 1)], NOW_MS);
    job.describe(Some((other, "people's name")));
    let text = format!(
        "{{name: {name}, operation: export, target_node_id: {other}, target_node_human_name: people's name, \
         slots: 1-1}}"
    );
    assert_eq!(job.description, text);
}

#[test]
fn an_effect_belongs_to_the_slot_of_its_keys() {
    let table = commands::table();
    let slot = |words: &[&str]| {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        slot_of_effect(&table, request.as_bytes())
    };
    assert_eq!(slot(&["SET", "key", "*1\r\n$4\r\nPING"]), Some(slot_of(b"key")));
    assert_eq!(slot(&["RENAME", "{t}a", "{t}b"]), Some(slot_of(b"t")));
    assert_eq!(slot(&["XCLAIM", "key", "g", "c", "0", "1-1"]), Some(slot_of(b"key")));
    assert_eq!(slot(&["MSET", "a", "1", "b", "2"]), None, "no target may have only a part of it");
    assert_eq!(slot(&["FUNCTION", "LOAD", "x"]), None);
    assert_eq!(slot(&["FLUSHALL"]), None);
    for damaged in [b"*2\r\n$3\r\nSET".as_slice(), b"", b"*1", b"*9999999999\r\n", b"*1\r\n$x\r\n"] {
        assert_eq!(slot_of_effect(&table, damaged), None);
    }
}

#[test]
fn every_state_is_over_or_under_way() {
    assert!(JobState::Failed.is_finished() && !JobState::Failed.is_in_progress());
    assert!(!JobState::CleaningUp.is_finished() && !JobState::CleaningUp.is_in_progress());
    assert!(JobState::OnPrimary.is_in_progress() && !JobState::OnPrimary.sends_acknowledgements());
    assert!(!JobState::WaitingToSnapshot.is_fed() && JobState::Snapshotting.is_fed());
    assert!(JobState::WaitingToSnapshot.sends_acknowledgements());
    assert!(!JobState::Snapshotting.sends_acknowledgements(), "it would stand amid the snapshot");
}
