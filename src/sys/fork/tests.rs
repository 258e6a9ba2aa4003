//! Children that walk, write, panic and are killed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::super::barrier::HelperThreads;
use super::*;

fn start(plan: &Plan<'_>, role: impl FnOnce(ChildEnd) -> i32) -> Child {
    install_panic_hook();
    let helpers = HelperThreads::new();
    let still = helpers.quiesce();
    fork(&still, plan, role).unwrap()
}

/// Everything the child wrote, to the end of the pipe. Other tests fork too, and their children hold a copy of the
/// write end until they have closed what is not theirs: until then the end is not to be seen.
fn drain(child: &mut Child) -> String {
    let mut pipe = File::from(child.take_pipe().unwrap());
    let mut text = Vec::new();
    while let Err(error) = pipe.read_to_end(&mut text) {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        std::thread::sleep(Duration::from_millis(1));
    }
    String::from_utf8(text).unwrap()
}

fn finish(mut child: Child) -> (ChildExit, String) {
    let exit = child.wait().unwrap();
    let text = drain(&mut child);
    (exit, text)
}

#[test]
fn the_child_walks_the_parents_memory_as_it_was() {
    let mut data: BTreeMap<u32, String> = (0..10_000).map(|number| (number, number.to_string())).collect();
    let child = start(&Plan { title: "walker", ..Plan::default() }, |mut end| {
        let digits: usize = data.values().map(String::len).sum();
        end.pipe.write_all(format!("{} {digits}", data.len()).as_bytes()).map_or(1, |()| 7)
    });
    assert!(child.fork_us() > 0);
    data.clear();
    assert_eq!(finish(child), (ChildExit::Exited(7), "10000 38890".to_owned()));
}

#[test]
fn an_exit_is_seen_without_blocking_and_can_be_asked_for_again() {
    let mut child = start(&Plan::default(), |mut end| {
        std::thread::sleep(Duration::from_millis(50));
        end.pipe.write_all(b"done").map_or(1, |()| 0)
    });
    assert_eq!(child.try_wait().unwrap(), None);
    let exit = child.wait().unwrap();
    assert_eq!(exit, ChildExit::Exited(0));
    assert_eq!(child.try_wait().unwrap(), Some(exit));
    child.kill(Signal::SIGKILL).unwrap();
    assert_eq!(drain(&mut child), "done");
    assert!(child.take_pipe().is_none());
}

#[test]
fn a_killed_child_is_reported_with_its_signal() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGUSR1] {
        let mut child = start(&Plan::default(), |mut end| {
            let _ = end.pipe.write_all(b"ready");
            std::thread::sleep(Duration::from_secs(60));
            0
        });
        child.kill(signal).unwrap();
        assert_eq!(child.wait().unwrap(), ChildExit::Signalled(signal as i32));
    }
}

#[test]
fn a_panic_in_the_child_ends_only_the_child_and_is_logged() {
    let mut log = tempfile::tempfile().unwrap();
    let plan = Plan { title: "panics", log: Some(log.as_fd()), ..Plan::default() };
    let child = start(&plan, |end| {
        end.log(b"about to\n");
        panic!("entry {} is odd", 5)
    });
    assert_eq!(finish(child).0, ChildExit::Exited(PANICKED));
    let mut text = String::new();
    std::io::Seek::rewind(&mut log).unwrap();
    log.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("about to\nChild process panicked at "), "{text}");
    assert!(text.ends_with(": entry 5 is odd\n"), "{text}");
}

#[test]
fn the_child_keeps_only_its_own_descriptors() {
    let (kept, closed) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let keep = [kept.as_fd()];
    let kept_number = kept.as_raw_fd();
    let child = start(&Plan { keep: &keep, ..Plan::default() }, |mut end| {
        let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
            .map(|list| list.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
            .unwrap_or_default();
        // Beside the standard three: the kept file, the pipe, and the listing itself.
        let extra = open.iter().filter(|&&descriptor| descriptor > 2).count();
        let _ = write!(end.pipe, "{} {extra}", open.contains(&kept_number));
        0
    });
    assert_eq!(finish(child), (ChildExit::Exited(0), "true 3".to_owned()));
    assert_eq!(closed.metadata().unwrap().len(), 0);
}

#[test]
fn a_write_after_the_parent_has_closed_the_pipe_is_an_error() {
    let mut child = start(&Plan::default(), |mut end| {
        for _ in 0..1000 {
            if let Err(error) = end.pipe.write_all(b"x") {
                return if error.kind() == io::ErrorKind::BrokenPipe { 9 } else { 1 };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        2
    });
    drop(child.take_pipe());
    assert_eq!(child.wait().unwrap(), ChildExit::Exited(9));
}

#[test]
fn the_child_has_its_own_title_and_oom_score() {
    process::prepare_title();
    let plan = Plan { title: "wb-rdb-bgsave-title", oom_score_adj: Some(800), ..Plan::default() };
    let child = start(&plan, |mut end| {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let title = read("/proc/self/cmdline");
        let (title, name, score) =
            (title.trim_end_matches('\0'), read("/proc/self/comm"), read("/proc/self/oom_score_adj"));
        let _ = write!(end.pipe, "{title} {} {}", name.trim(), score.trim());
        0
    });
    assert_eq!(finish(child).1, "wb-rdb-bgsave-title wb-rdb-bgsave-t 800");
}

#[test]
fn children_allocate_while_other_threads_do() {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|seed| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut blocks: Vec<Vec<u8>> = Vec::new();
                let mut random = fastrand::Rng::with_seed(seed);
                while !stop.load(Ordering::Relaxed) {
                    blocks.push(vec![0; random.usize(1..4000)]);
                    if blocks.len() > 500 {
                        blocks.clear();
                    }
                }
            })
        })
        .collect();
    for round in 0..40 {
        let child = start(&Plan::default(), |_| {
            let made: Vec<String> = (0..2000).map(|number| format!("value {number}")).collect();
            i32::from(made.len() != 2000)
        });
        assert_eq!(finish(child).0, ChildExit::Exited(0), "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_child_dies_with_its_parent() {
    let child = start(&Plan::default(), |mut end| {
        let grandchild = start(&Plan::default(), |_| {
            std::thread::sleep(Duration::from_secs(60));
            0
        });
        let _ = write!(end.pipe, "{}", grandchild.pid());
        0
    });
    let (exit, grandchild) = finish(child);
    assert_eq!(exit, ChildExit::Exited(0));
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        // Dead, or a zombie where nobody reaps orphans.
        stat.rsplit(')')
            .next()
            .is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with(['Z', 'X']))
    };
    let ended = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_gone()
    });
    assert!(ended);
}

#[test]
fn a_daemon_has_a_session_of_its_own_and_survives_its_parents() {
    let child = start(&Plan::default(), |mut end| {
        let launcher = getpid();
        if process::daemonize().is_err() {
            return 1;
        }
        let null = std::fs::read_link("/proc/self/fd/1").unwrap_or_default();
        let session = nix::unistd::getsid(None).unwrap_or(launcher);
        let _ = write!(end.pipe, "{} {} {}", getpid() != launcher, session != launcher, null.display());
        0
    });
    assert_eq!(finish(child), (ChildExit::Exited(0), "true true /dev/null".to_owned()));
}
