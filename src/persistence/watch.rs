//! The task that watches a child: it drains the pipe, then waits for the process to end.
//!
//! The order matters: what the child said last is still in the pipe when it is gone. Nothing is borrowed across an
//! await; what is learned goes to a closure.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::unix::pipe;

use super::background::WatchedChild;
use crate::sys::fork;

/// A child reports about once a second; one that is silent for this long hangs.
const SILENCE: Duration = Duration::from_secs(600);
/// How often the child is looked at where the system cannot say when it ends.
const POLL: Duration = Duration::from_millis(100);

/// What the watcher has learned.
#[derive(Debug)]
pub enum News<'a> {
    /// The pipe has delivered bytes.
    Bytes(&'a [u8]),
    /// Nothing has come for so many seconds.
    Silence(u64),
    /// The child seems to have ended.
    Ended,
}

/// Watches a child until `tell` says, on [`News::Ended`], that it has been reaped. The answer to other news is ignored.
pub async fn watch(child: WatchedChild, mut tell: impl FnMut(News<'_>) -> bool) {
    let WatchedChild { pipe, pidfd } = child;
    drain(pipe, &mut tell).await;
    let ended = fork::await_end(pidfd);
    while !tell(News::Ended) {
        match &ended {
            Ok(descriptor) => {
                if let Ok(mut ready) = descriptor.readable().await {
                    if tell(News::Ended) {
                        return;
                    }
                    ready.clear_ready();
                }
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

async fn drain(pipe: OwnedFd, tell: &mut impl FnMut(News<'_>) -> bool) {
    let Ok(receiver) = pipe::Receiver::from_owned_fd(pipe) else { return };
    let mut buffer = [0; 2048];
    loop {
        if tokio::time::timeout(SILENCE, receiver.readable()).await.is_err() {
            tell(News::Silence(SILENCE.as_secs()));
            return;
        }
        match receiver.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                tell(News::Bytes(buffer.get(..count).unwrap_or_default()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
