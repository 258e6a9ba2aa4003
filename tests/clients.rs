//! Job queues, locks and rate limiters as applications use them: BullMQ, Celery, RQ, redis-py, ioredis and what is built
//! on it, each a small program in `tests/clients`. `CLIENTS` is the folder they are installed in (`tests/clients/install`
//! does that); without it the tests say that they are skipped. `JOBS` says how many jobs each queue runs.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::Server;
use support::reply::Conversation;

/// Jobs of `cargo test`; the long form has 10000.
const JOBS: u32 = 300;

fn installed() -> Option<PathBuf> {
    let folder = std::env::var_os("CLIENTS").map(PathBuf::from).filter(|folder| folder.exists());
    if folder.is_none() {
        eprintln!("skipped: the clients are not installed; see tests/clients/README.md");
    }
    folder
}

/// Runs a program of the folder against a server of its own and says what it printed.
fn run(interpreter: &str, program: &str, share: u32) {
    let Some(folder) = installed() else { return };
    let server = Server::start(&[]);
    let jobs = std::env::var("JOBS").map_or(JOBS, |jobs| jobs.parse().unwrap()) / share;
    let output = Command::new(folder.join(interpreter))
        .arg(folder.join(program))
        .args([server.port.to_string(), jobs.to_string()])
        .current_dir(folder.join(Path::new(program).parent().unwrap()))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{program}\n{text}\n{}", server.log());
    eprintln!("{text}");
    // The errors that clients are meant to see are no faults of the server.
    let mut conversation = Conversation::open(&server);
    assert_eq!(conversation.ask("PING"), "PONG\n");
}

#[test]
fn bullmq_runs_jobs_with_retries_delays_and_children() {
    run("node/bin/node", "node/queue.js", 1);
}

#[test]
fn celery_runs_tasks_with_retries_delays_and_chords() {
    run("python/bin/python", "python/queue_celery.py", 1);
}

#[test]
fn rq_runs_jobs_with_retries_and_delays() {
    run("python/bin/python", "python/queue_rq.py", 1);
}

#[test]
fn locks_limiters_and_scripts_of_ioredis_hold() {
    run("node/bin/node", "node/limits.js", 3);
}

#[test]
fn locks_semaphores_and_functions_of_redis_py_hold() {
    run("python/bin/python", "python/limits.py", 3);
}
