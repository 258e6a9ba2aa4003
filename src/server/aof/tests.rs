//! Writing to disks that fail, and what is told of it.
#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::Mutex;

use super::flush::{Write, write};
use super::*;
use crate::config::AppendFsync;
use nix::errno::Errno;

/// A disk that does as it is told.
#[derive(Debug, Default)]
struct Disk {
    file: Mutex<Vec<u8>>,
    /// Bytes that still fit.
    room: Mutex<usize>,
    /// Bytes that are taken at once.
    at_once: usize,
    /// What it says when nothing fits.
    full: Option<Errno>,
    cut_fails: bool,
    sync_fails: Option<Errno>,
}

impl Disk {
    fn with_room(room: usize, full: Errno) -> Self {
        Self { room: Mutex::new(room), at_once: 7, full: Some(full), ..Self::default() }
    }

    fn holds(&self) -> Vec<u8> {
        self.file.lock().unwrap().clone()
    }
}

impl Storage for Disk {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.room.lock().unwrap();
        let count = bytes.len().min(*room).min(self.at_once);
        if count == 0 {
            return self.full.map_or(Ok(0), |error| Err(error.into()));
        }
        *room -= count;
        self.file.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        if self.cut_fails {
            return Err(Errno::EIO.into());
        }
        self.file.lock().unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_fails.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn aof() -> Aof {
    let mut aof = Aof::new(&Config::default(), &mut HelperThreads::new()).unwrap();
    aof.state = AofState::On;
    aof
}

fn feed(aof: &mut Aof, bytes: &[u8]) {
    aof.begin_feed(None).extend_from_slice(bytes);
    aof.end_feed();
}

#[test]
fn a_write_goes_on_where_the_system_stopped() {
    let disk = Disk::with_room(1000, Errno::ENOSPC);
    assert_eq!(write(&disk, &[b'x'; 100], 0), Write::Whole);
    assert_eq!(disk.holds(), [b'x'; 100]);
}

#[test]
fn a_short_write_is_taken_back() {
    let disk = Disk::with_room(30, Errno::ENOSPC);
    assert_eq!(write(&disk, b"whole record", 0), Write::Whole);
    let Write::Failed { kept, reason, lines } = write(&disk, b"a record that is too long", 12) else {
        panic!("it has no room")
    };
    assert_eq!((kept, reason.as_str()), (0, "No space left on device"));
    assert_eq!(lines, ["Short write while writing to the AOF file: (nwritten=18, expected=25)"]);
    assert_eq!(disk.holds(), b"whole record");
}

#[test]
fn what_cannot_be_taken_back_stays_and_the_rest_follows_it() {
    let disk = Disk { cut_fails: true, ..Disk::with_room(10, Errno::EIO) };
    let mut aof = aof();
    feed(&mut aof, b"0123456789abcdef");
    let Write::Failed { kept, reason, lines } = write(&disk, &aof.buffer, 0) else {
        panic!("it has no room")
    };
    assert_eq!((kept, lines.len()), (10, 2));
    aof.write_failed(kept, reason, &lines, 0);
    assert_eq!(aof.buffer, b"abcdef");
    assert_eq!((aof.written, aof.fed, aof.increment_size), (10, 16, 10));
    assert!(aof.trouble().is_some());
    *disk.room.lock().unwrap() = 100;
    assert_eq!(write(&disk, &aof.buffer, aof.increment_size), Write::Whole);
    assert_eq!(disk.holds(), b"0123456789abcdef");
}

#[test]
fn an_error_of_the_disk_is_named_and_nothing_is_lost_of_the_buffer() {
    let words = ["Input/output error", "Read-only file system", "No space left on device"];
    for (error, word) in [Errno::EIO, Errno::EROFS, Errno::ENOSPC].into_iter().zip(words) {
        let disk = Disk::with_room(0, error);
        let mut aof = aof();
        feed(&mut aof, b"record");
        let Write::Failed { kept, reason, lines } = write(&disk, &aof.buffer, 0) else {
            panic!("it has no room")
        };
        assert_eq!((kept, reason.as_str()), (0, word));
        aof.write_failed(kept, reason, &lines, 0);
        assert_eq!((aof.buffer.as_slice(), aof.trouble()), (b"record".as_slice(), Some(word)));
    }
}

#[test]
fn a_sync_that_fails_stops_writes_until_one_succeeds_and_with_always_is_the_end() {
    let mut aof = aof();
    feed(&mut aof, b"record");
    aof.written = 6;
    let mark = aof.mark(1);
    let failed = || Err(Errno::EIO.into());
    assert_eq!(aof.sync_ended(mark, failed(), true).unwrap_err(), "Input/output error");
    aof.sync_ended(mark, failed(), false).unwrap();
    assert_eq!((aof.trouble(), aof.synced), (Some("Input/output error"), 0));
    aof.sync_ended(mark, Ok(()), false).unwrap();
    assert_eq!((aof.trouble(), aof.synced, aof.synced_replication_offset()), (None, 6, 1));
    // A device that cannot be synced has not failed.
    aof.sync_ended(mark, Err(Errno::EINVAL.into()), false).unwrap();
    assert_eq!(aof.trouble(), None);
}

#[test]
fn the_helper_syncs_and_tells() {
    let mut threads = HelperThreads::new();
    let aof = Aof::new(&Config::default(), &mut threads).unwrap();
    for fails in [None, Some(Errno::EIO)] {
        let disk = Disk { sync_fails: fails, ..Disk::default() };
        aof.helper.sync(Arc::new(disk), Mark { written: 3, replication: 4 });
        aof.helper.drain();
        let Some(helper::Outcome::Synced { mark, result, .. }) = aof.helper.take().pop() else {
            panic!("a sync was asked for")
        };
        assert_eq!((mark.written, result.is_err(), aof.helper.is_syncing()), (3, fails.is_some(), false));
    }
}

#[test]
fn replies_wait_with_always_only_and_only_for_what_is_not_synced() {
    let mut aof = aof();
    let policy = |appendfsync| Config { appendfsync, ..Config::default() };
    let always = policy(AppendFsync::Always);
    assert_eq!(aof.unsynced(&always), None);
    feed(&mut aof, b"record");
    assert_eq!(aof.unsynced(&always), Some(6));
    assert_eq!(aof.unsynced(&policy(AppendFsync::Everysec)), None);
    assert_eq!(aof.unsynced(&policy(AppendFsync::No)), None);
    aof.synced = 6;
    assert_eq!(aof.unsynced(&always), None);
}

#[test]
fn a_timestamp_stands_before_the_first_effects_of_a_second() {
    let mut aof = aof();
    for seconds in [5, 5, 6] {
        aof.begin_feed(Some(seconds)).extend_from_slice(b"x\r\n");
        aof.end_feed();
    }
    assert_eq!(aof.buffer, b"#TS:5\r\nx\r\nx\r\n#TS:6\r\nx\r\n");
    assert_eq!(aof.fed, aof.buffer.len() as u64);
}

#[test]
fn rewrites_that_fail_again_and_again_wait_longer_and_longer() {
    let mut rewrites = Rewrites::default();
    rewrites.failures = 2;
    assert!(!rewrites.is_limited(0));
    rewrites.failures = 3;
    assert!(rewrites.is_limited(0));
    assert!(rewrites.is_limited(59_999) && !rewrites.is_limited(60_000));
    assert!(rewrites.is_limited(60_001));
    assert!(rewrites.is_limited(180_000) && !rewrites.is_limited(180_001));
    rewrites.failures = 0;
    assert!(!rewrites.is_limited(180_002));
}
