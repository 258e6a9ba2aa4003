//! A child's pipe whose bytes go on to clients, piece by piece: the next is read once everyone has taken the last.

use std::io;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe;

use super::Shared;

/// Bytes of a snapshot that are passed on at a time.
const PIECE: usize = 64 * 1024;

/// Passes on what a child writes until it closes the pipe, or until `give` says that nobody is left to take it. After
/// each piece waits until `all_have_taken`.
///
/// # Errors
/// What reading from the pipe reports.
pub(super) async fn pass_on(
    shared: &Shared,
    pipe: OwnedFd,
    mut give: impl FnMut(&[u8]) -> bool,
    all_have_taken: impl Fn() -> bool,
) -> io::Result<()> {
    crate::sys::streams::set_nonblocking(&pipe)?;
    let receiver = pipe::Receiver::from_owned_fd(pipe)?;
    let mut piece = vec![0; PIECE];
    loop {
        receiver.readable().await?;
        match receiver.try_read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if !give(piece.get(..count).unwrap_or_default()) {
                    return Ok(());
                }
                while !all_have_taken() {
                    shared.taken.notified().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
