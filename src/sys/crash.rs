//! What the log gets when the process is about to be ended by a fault, and on SIGALRM, which somebody may send and which
//! the watchdog's timer raises: where the process is.
//!
//! A handler may have interrupted anything, the allocator too. So what matters is written first, by means that need
//! nothing; only then the frames are looked up by name, under an alarm that ends the process should that not come to an
//! end. SIGALRM, which is survived, writes addresses only (`addr2line` knows them).

use std::backtrace::Backtrace;
use std::fmt::{self, Write};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

/// Signals that end the process, as a rule.
const FATAL: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];
/// Seconds that looking up names may take.
const PATIENCE_SECONDS: u32 = 10;
/// Frames that are written.
#[cfg(target_env = "gnu")]
const FRAMES: usize = 100;
/// Bytes of the stack that a handler runs on: the stack itself may be what has run out.
const STACK_BYTES: usize = 1 << 20;

static LOG: AtomicI32 = AtomicI32::new(1);
static REPORTING: AtomicBool = AtomicBool::new(false);
/// SIGALRM is survived.
static HANDLES_ALARM: AtomicBool = AtomicBool::new(false);

/// Where a handler writes.
struct RawLog(RawFd);

impl Write for RawLog {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the text is there for the length of the call; a descriptor that is not open is refused by the kernel.
        let written = unsafe { libc::write(self.0, text.as_ptr().cast(), text.len()) };
        if written < 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Installs the handlers: of SIGALRM, and `with_report` those of what ends the process. `log` is where they write; it
/// must stay open.
///
/// # Errors
/// The system's.
pub fn install(log: RawFd, with_report: bool) -> io::Result<()> {
    LOG.store(log, Ordering::Relaxed);
    use_own_stack()?;
    prepare_trace();
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let fatal = SigAction::new(SigHandler::SigAction(report), flags | SaFlags::SA_NODEFER, SigSet::empty());
    let alarm =
        SigAction::new(SigHandler::SigAction(show_place), flags | SaFlags::SA_RESTART, SigSet::empty());
    for signal in FATAL.into_iter().filter(|_| with_report) {
        // SAFETY: the handler does what a handler may until it has written what matters, see above.
        unsafe { sigaction(signal, &fatal) }?;
    }
    // SAFETY: the handler writes, and walks the stack with an unwinder that is loaded.
    unsafe { sigaction(Signal::SIGALRM, &alarm) }?;
    HANDLES_ALARM.store(true, Ordering::Relaxed);
    Ok(())
}

/// Has the log say where the process is after so many milliseconds, once, unless this is called again before; 0: not at
/// all. Without [`install`] it does nothing, since then the timer would end the process.
pub fn set_watchdog(milliseconds: u32) {
    if !HANDLES_ALARM.load(Ordering::Relaxed) {
        return;
    }
    let value =
        libc::timeval { tv_sec: (milliseconds / 1000).into(), tv_usec: (milliseconds % 1000 * 1000).into() };
    let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: never, it_value: value };
    // SAFETY: reads a value that is there for the length of the call; a time that is none is refused without harm.
    let _ = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Has SIGABRT end the process without a report: there is one already.
pub fn leave_abort_alone() {
    let _ = set_default(Signal::SIGABRT);
}

/// Writes to memory that may only be read (DEBUG SEGFAULT).
pub fn fault() {
    // SAFETY: asks for a new page of memory; nothing else is there.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0)
    };
    // SAFETY: none; to be ended by the kernel for this is what is asked for.
    unsafe { page.cast::<u8>().write_volatile(1) };
}

/// A stack for the handlers of this thread. It is never given back.
fn use_own_stack() -> io::Result<()> {
    // SAFETY: asks for new memory of the process; nothing else is there.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            STACK_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let stack = libc::stack_t { ss_sp: memory, ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the memory is as long as it says, and nobody else's.
    let outcome = unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_default(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: there is no handler.
    unsafe { sigaction(signal, &default) }.map(drop)
}

/// Has what the unwinder loads at its first use be there before a handler needs it.
#[cfg(target_env = "gnu")]
fn prepare_trace() {
    trace(&mut [std::ptr::null_mut(); 1]);
}

/// Fills in the addresses of the frames; gives how many there are.
#[cfg(target_env = "gnu")]
fn trace(frames: &mut [*mut libc::c_void]) -> i32 {
    // SAFETY: there is room for as many addresses as it says.
    unsafe { libc::backtrace(frames.as_mut_ptr(), frames.len() as libc::c_int) }
}

#[cfg(target_env = "gnu")]
fn write_addresses(log: RawFd) {
    let mut frames = [std::ptr::null_mut(); FRAMES];
    let count = trace(&mut frames);
    // SAFETY: so many addresses were filled in.
    unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), count, log) };
}

/// Only glibc walks the stack without allocating.
#[cfg(not(target_env = "gnu"))]
fn prepare_trace() {}

#[cfg(not(target_env = "gnu"))]
fn write_addresses(log: RawFd) {
    let _ = RawLog(log).write_str("no addresses: the C library has no backtrace\n");
}

/// Writes where the process is, and goes on.
extern "C" fn show_place(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let log = LOG.load(Ordering::Relaxed);
    // SAFETY: the kernel gives every handler of this kind what it knows of the signal.
    let is_timer = unsafe { info.as_ref() }.is_some_and(|info| info.si_code == libc::SI_KERNEL);
    let cause = if is_timer { "\n--- WATCHDOG TIMER EXPIRED ---\n" } else { "\nReceived SIGALRM\n" };
    // What cannot be written is lost.
    let _ = RawLog(log).write_str(cause);
    let _ = RawLog(log).write_str("\n------ STACK TRACE ------\n");
    write_addresses(log);
    let _ = RawLog(log).write_str("------ STACK TRACE DONE ------\n--------\n");
}

/// Writes the report, then lets the signal do what it does.
extern "C" fn report(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let log = LOG.load(Ordering::Relaxed);
    let signal = Signal::try_from(number).unwrap_or(Signal::SIGABRT);
    if REPORTING.swap(true, Ordering::Relaxed) {
        let _ = RawLog(log).write_str("Crashed running signal handler. The report ends here.\n");
    } else {
        let _ = write_report(&mut RawLog(log), number, info, context);
    }
    let _ = set_default(signal);
    let _ = raise(signal);
}

fn write_report(
    log: &mut RawLog,
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    log.write_str("\n\n=== WEIGHBRIDGE BUG REPORT START: Cut & paste starting from here ===\n")?;
    // SAFETY: the kernel gives every handler of this kind what it knows of the signal.
    if let Some(info) = unsafe { info.as_ref() } {
        writeln!(log, "Weighbridge {version} crashed by signal: {number}, si_code: {}", info.si_code)?;
        if matches!(number, libc::SIGSEGV | libc::SIGBUS) {
            // SAFETY: these signals have an address.
            writeln!(log, "Accessing address: {:p}", unsafe { info.si_addr() })?;
        }
        if info.si_code == libc::SI_USER {
            // SAFETY: a signal that a process has sent has the number of that process.
            let pid = unsafe { info.si_pid() };
            // SAFETY: and of its user.
            let uid = unsafe { info.si_uid() };
            writeln!(log, "Killed by PID: {pid}, UID: {uid}")?;
        }
    }
    if let Some(address) = instruction(context) {
        writeln!(log, "Crashed running the instruction at: {address:#x}")?;
    }
    log.write_str("\n------ STACK TRACE ------\n")?;
    write_addresses(log.0);
    // SAFETY: takes a number only.
    unsafe { libc::alarm(PATIENCE_SECONDS) };
    set_default(Signal::SIGALRM).map_err(|_| fmt::Error)?;
    writeln!(log, "\n{}", Backtrace::force_capture())?;
    log.write_str("------ STACK TRACE DONE ------\n\n=== WEIGHBRIDGE BUG REPORT END ===\n")
}

/// Where the process was when the signal came.
#[cfg(target_arch = "x86_64")]
fn instruction(context: *mut libc::c_void) -> Option<i64> {
    // SAFETY: the kernel gives every handler of this kind the state of the thread.
    let context = unsafe { context.cast::<libc::ucontext_t>().as_ref() }?;
    context.uc_mcontext.gregs.get(libc::REG_RIP as usize).copied()
}

/// Not known on other machines than those that this was tried on.
#[cfg(not(target_arch = "x86_64"))]
fn instruction(_: *mut libc::c_void) -> Option<i64> {
    None
}
