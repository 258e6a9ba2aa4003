//! Forking a child that works on a frozen copy of the memory, and watching it from the parent.
//!
//! The child is one thread in a copy of a process that had many: it may read memory, allocate (jemalloc installs fork
//! handlers), write to its descriptors and leave by `_exit`. It must not use tokio, tracing, `println!`, `std::env`,
//! local time or any lock that another thread may hold: each of these has been seen to hang. It must not drop what the
//! parent owns either: a dropped socket would take the parent's out of their common epoll set. [`fork`] closes every
//! descriptor that is not kept and never lets the child return.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, getppid, pipe2};

pub use nix::sys::signal::Signal;

use super::barrier::Quiet;
use super::{clock, process};

/// The exit code of a child whose role panicked.
pub const PANICKED: i32 = 101;
/// The exit code of a child whose parent was gone before it could start.
pub const ORPHANED: i32 = 102;

const STANDARD_ERROR: RawFd = 2;

/// What a child is given.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// What `ps` shows, such as `weighbridge-rdb-bgsave`.
    pub title: &'a str,
    /// The child's `oom_score_adj`; `None` leaves the parent's.
    pub oom_score_adj: Option<i32>,
    /// Descriptors that stay open in the child beside its pipe and the standard three. All others are closed.
    pub keep: &'a [BorrowedFd<'a>],
    /// Where the child's log lines and its panic report go; `None` is standard error.
    pub log: Option<BorrowedFd<'a>>,
}

/// The child's side: its pipe to the parent and its log.
#[derive(Debug)]
pub struct ChildEnd {
    /// Blocking; a write after the parent has gone is an error, not a signal.
    pub pipe: File,
    log: RawFd,
}

impl ChildEnd {
    /// Writes a whole log line, its newline included, in one system call.
    pub fn log(&self, line: &[u8]) {
        write_raw(self.log, line);
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildExit {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// A running child, or one that has ended and was not waited for yet. Dropping it neither ends nor reaps the child.
#[derive(Debug)]
#[must_use = "a child has to be waited for"]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    pipe: Option<OwnedFd>,
    fork_us: u64,
    exit: Option<ChildExit>,
}

impl Child {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// A descriptor that becomes readable when the child has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The read end of the child's pipe, which does not block; `None` once taken. Drain it before judging the exit.
    #[must_use]
    pub fn take_pipe(&mut self) -> Option<OwnedFd> {
        self.pipe.take()
    }

    /// How long the fork held the parent, in microseconds.
    #[must_use]
    pub fn fork_us(&self) -> u64 {
        self.fork_us
    }

    /// Sends a signal; to a child that has ended it does nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&self, signal: Signal) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null pointer asks for the same information as kill(2) gives.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal as libc::c_int,
                no_info,
                0,
            )
        };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How the child ended, `None` while it runs. Never blocks; may be asked again.
    ///
    /// # Errors
    /// The system's, as when something else has reaped the child.
    pub fn try_wait(&mut self) -> io::Result<Option<ChildExit>> {
        self.reap(WaitPidFlag::WNOHANG)
    }

    /// Waits for the child to end. For shutdown and tests: a child in the middle of a sync can take seconds to die.
    ///
    /// # Errors
    /// As [`Child::try_wait`].
    pub fn wait(&mut self) -> io::Result<ChildExit> {
        loop {
            if let Some(exit) = self.reap(WaitPidFlag::empty())? {
                return Ok(exit);
            }
        }
    }

    fn reap(&mut self, flags: WaitPidFlag) -> io::Result<Option<ChildExit>> {
        if self.exit.is_none() {
            self.exit = match waitpid(self.pid, Some(flags)) {
                Ok(WaitStatus::Exited(_, code)) => Some(ChildExit::Exited(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ChildExit::Signalled(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(self.exit)
    }
}

/// Forks. The child runs `role` and exits with what it returns; the parent gets the [`Child`].
///
/// To be called on the main thread, since a child is killed when the *thread* that forked it ends. Helper threads hold
/// still (`still` is the proof), and everything lazy must have been forced before: [`install_panic_hook`],
/// [`process::prepare_title`], checksum tables.
///
/// # Errors
/// The system's, when it refuses a pipe, a process or a descriptor for it. No child is left then.
pub fn fork(still: &Quiet<'_>, plan: &Plan<'_>, role: impl FnOnce(ChildEnd) -> i32) -> io::Result<Child> {
    let _ = still;
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let kept = kept_descriptors(plan, &write_end);
    let parent = getpid();
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let start_us = clock::monotonic_us();
    // SAFETY: the child runs `run_child` only, which keeps to what this module's head allows and never returns.
    let forked = match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Child) => {
            let end = ChildEnd { pipe: File::from(write_end), log: log_descriptor(plan) };
            run_child(plan, &kept, parent, end, role)
        }
        Ok(ForkResult::Parent { child }) => Ok(child),
        Err(error) => Err(error),
    };
    let fork_us = clock::monotonic_us() - start_us;
    // Restoring a mask that was in force before cannot be refused.
    let _ = mask.thread_set_mask();
    watch(forked?, read_end, fork_us)
}

fn log_descriptor(plan: &Plan<'_>) -> RawFd {
    plan.log.map_or(STANDARD_ERROR, |log| log.as_raw_fd())
}

/// What the child keeps open, ascending. Built by the parent, so that the child need not allocate for it.
fn kept_descriptors(plan: &Plan<'_>, pipe: &OwnedFd) -> Vec<RawFd> {
    let mut kept = vec![0, 1, STANDARD_ERROR, log_descriptor(plan), pipe.as_raw_fd()];
    kept.extend(plan.keep.iter().map(AsRawFd::as_raw_fd));
    kept.sort_unstable();
    kept
}

fn watch(pid: Pid, pipe: OwnedFd, fork_us: u64) -> io::Result<Child> {
    // SAFETY: takes a process id and flags only.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match Errno::result(result) {
        Ok(descriptor) => {
            // SAFETY: the kernel has just given us this descriptor; nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) };
            Ok(Child { pid, pidfd, pipe: Some(pipe), fork_us, exit: None })
        }
        Err(error) => {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            Err(error.into())
        }
    }
}

fn run_child(
    plan: &Plan<'_>,
    kept: &[RawFd],
    parent: Pid,
    end: ChildEnd,
    role: impl FnOnce(ChildEnd) -> i32,
) -> ! {
    CHILD_LOG.store(end.log, Ordering::Relaxed);
    IN_CHILD.store(true, Ordering::Relaxed);
    reset_signal_handlers();
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    // A parent that died before the line above sends nothing any more.
    if getppid() != parent {
        exit(ORPHANED);
    }
    close_all_but(kept);
    if let Some(value) = plan.oom_score_adj {
        let _ = process::set_oom_score_adj(value);
    }
    process::set_title(plan.title);
    let _ = SigSet::empty().thread_set_mask();
    exit(catch_unwind(AssertUnwindSafe(|| role(end))).unwrap_or(PANICKED))
}

/// Leaves without running destructors or exit handlers, which belong to the parent.
fn exit(code: i32) -> ! {
    // SAFETY: ends the process; takes a number only.
    unsafe { libc::_exit(code) }
}

/// The parent's handlers write to pipes that the parent reads: with them the child could not be ended by a signal.
fn reset_signal_handlers() {
    for number in 1..=libc::SIGRTMAX() {
        let ignored = matches!(number, libc::SIGPIPE | libc::SIGXFSZ);
        let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: installs no code of ours; numbers that cannot be changed are refused without harm.
        let _ = unsafe { libc::signal(number, action) };
    }
}

/// Closes every descriptor that is not in `kept`, which is ascending. Without it a client that the parent closes would
/// see its connection end only when the child does. Needs Linux 5.9; older kernels close nothing.
fn close_all_but(kept: &[RawFd]) {
    let mut first: libc::c_uint = 0;
    for &descriptor in kept {
        let descriptor = descriptor as libc::c_uint;
        if descriptor > first {
            close_range(first, descriptor - 1);
        }
        first = first.max(descriptor + 1);
    }
    close_range(first, libc::c_uint::MAX);
}

fn close_range(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: the child never uses nor drops the owners of these descriptors: it leaves by `_exit`.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// For the child: closes a descriptor whose owner it will neither use again nor drop, so that whoever waits for its end
/// sees it while the child goes on.
pub fn close_early(descriptor: &OwnedFd) {
    // SAFETY: takes a number only; in a child the owner is never dropped, since it leaves by `_exit`.
    let _ = unsafe { libc::close(descriptor.as_raw_fd()) };
}

/// Registers a child's pidfd with the event loop: it becomes readable when the child has ended.
///
/// # Errors
/// The event loop's.
pub fn await_end(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, which closes it only after it has been taken out again.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}

static IN_CHILD: AtomicBool = AtomicBool::new(false);
static CHILD_LOG: AtomicI32 = AtomicI32::new(STANDARD_ERROR);

/// Whether this process is a forked child.
#[must_use]
pub fn in_child() -> bool {
    IN_CHILD.load(Ordering::Relaxed)
}

/// Makes a panic in a forked child report itself by one `write(2)` to the child's log; elsewhere the hook that was
/// there goes on. To be called once at startup: the default hook takes locks that a child may find held for ever.
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let outside = std::panic::take_hook();
        std::panic::set_hook(Box::new(
            move |info| if in_child() { report_panic(info) } else { outside(info) },
        ));
    });
}

fn report_panic(info: &PanicHookInfo<'_>) {
    let mut report = Report { bytes: [0; 512], length: 0 };
    report.add(b"Child process panicked");
    if let Some(place) = info.location() {
        report.add(b" at ");
        report.add(place.file().as_bytes());
        report.add(b":");
        report.add(itoa::Buffer::new().format(place.line()).as_bytes());
    }
    if let Some(message) = info.payload_as_str() {
        report.add(b": ");
        report.add(message.as_bytes());
    }
    report.add(b"\n");
    write_raw(CHILD_LOG.load(Ordering::Relaxed), &report.bytes[..report.length]);
}

struct Report {
    bytes: [u8; 512],
    length: usize,
}

impl Report {
    /// Adds what still fits.
    fn add(&mut self, text: &[u8]) {
        let free = &mut self.bytes[self.length..];
        let kept = text.len().min(free.len());
        free[..kept].copy_from_slice(&text[..kept]);
        self.length += kept;
    }
}

fn write_raw(descriptor: RawFd, bytes: &[u8]) {
    // SAFETY: the pointer and length are those of a live slice; a closed descriptor is refused by the kernel.
    let _ = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
}

#[cfg(test)]
mod tests;
