//! Figures and settings of the process and of the machine it runs on.
//!
//! Figures come from `/proc` and `getrusage`; one that cannot be read is `None` or 0, never an error that stops the
//! server. Sizes are in bytes, times in microseconds.

use std::io;
use std::sync::OnceLock;

use nix::sys::prctl;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// What a process, or its ended children together, has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user_us: u64,
    /// CPU time in the kernel.
    pub system_us: u64,
    /// Page faults served without reading from a disk.
    pub minor_faults: u64,
    /// Page faults that had to read from a disk.
    pub major_faults: u64,
    /// The largest resident size there has been.
    pub peak_resident_bytes: u64,
}

/// What this process has used so far.
#[must_use]
pub fn own_usage() -> Usage {
    usage_of(UsageWho::RUSAGE_SELF)
}

/// What the calling thread has used so far.
#[must_use]
pub fn thread_usage() -> Usage {
    usage_of(UsageWho::RUSAGE_THREAD)
}

/// What the children that have been waited for used.
#[must_use]
pub fn children_usage() -> Usage {
    usage_of(UsageWho::RUSAGE_CHILDREN)
}

fn usage_of(who: UsageWho) -> Usage {
    let Ok(usage) = getrusage(who) else { return Usage::default() };
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    Usage {
        user_us: micros(usage.user_time()),
        system_us: micros(usage.system_time()),
        minor_faults: usage.minor_page_faults() as u64,
        major_faults: usage.major_page_faults() as u64,
        peak_resident_bytes: usage.max_rss() as u64 * 1024,
    }
}

/// This process's id.
#[must_use]
pub fn id() -> u32 {
    std::process::id()
}

/// Whether a process with this id exists, whoever it belongs to.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

/// The bytes of this process that are in memory now.
#[must_use]
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * page_bytes()
}

/// The size of a memory page.
#[must_use]
pub fn page_bytes() -> u64 {
    sysconf_value(SysconfVar::PAGE_SIZE).unwrap_or(4096)
}

/// The machine's memory.
#[must_use]
pub fn total_memory_bytes() -> u64 {
    sysconf_value(SysconfVar::_PHYS_PAGES).unwrap_or(0) * page_bytes()
}

fn sysconf_value(variable: SysconfVar) -> Option<u64> {
    sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok())
}

/// Bytes a process (`None`: this one) has changed and shares with no other: for a forked child and its parent, what
/// copy-on-write has cost. Takes the kernel a walk of the page tables: milliseconds for each gigabyte.
#[must_use]
pub fn private_dirty_bytes(pid: Option<i32>) -> Option<u64> {
    memory_map_total(pid, "Private_Dirty:")
}

/// Bytes of a process (`None`: this one) that sit in transparent huge pages.
#[must_use]
pub fn huge_page_bytes(pid: Option<i32>) -> Option<u64> {
    memory_map_total(pid, "AnonHugePages:")
}

fn memory_map_total(pid: Option<i32>, field: &str) -> Option<u64> {
    let path =
        pid.map_or_else(|| "/proc/self/smaps_rollup".to_owned(), |pid| format!("/proc/{pid}/smaps_rollup"));
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// System, release and machine, as INFO's `os` field gives them: `Linux 6.1.0 x86_64`.
#[must_use]
pub fn os_description() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| "Linux".to_owned(),
        |name| {
            let parts = [name.sysname(), name.release(), name.machine()];
            parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
        },
    )
}

/// The kernel's `vm.overcommit_memory`; anything but 1 deserves a warning at start: a fork may then be refused.
#[must_use]
pub fn overcommit_memory() -> Option<i32> {
    std::fs::read_to_string("/proc/sys/vm/overcommit_memory").ok()?.trim().parse().ok()
}

/// Whether the kernel gives huge pages to every process unasked, which deserves a warning at start.
#[must_use]
pub fn huge_pages_are_always_on() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|text| text.contains("[always]"))
}

/// Switches transparent huge pages off (or back on) for this process and the children it will fork.
///
/// # Errors
/// The kernel's, where it knows no such switch.
pub fn disable_huge_pages(disable: bool) -> io::Result<()> {
    Ok(prctl::set_thp_disable(disable)?)
}

/// How many files may be open: the limit in force and the most it may be raised to without privilege.
#[must_use]
pub fn open_file_limits() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024))
}

/// Raises the number of files that may be open to `wanted`, or as near below it as the system grants; never lowers
/// it. Returns the limit then in force.
pub fn raise_open_file_limit(wanted: u64) -> u64 {
    const STEP: u64 = 16;
    let (current, hard) = open_file_limits();
    let mut attempt = wanted;
    while attempt > current {
        // Above the hard limit only the privileged are served, so that is tried once, then only what can be had.
        if setrlimit(Resource::RLIMIT_NOFILE, attempt, attempt.max(hard)).is_ok() {
            return attempt;
        }
        attempt = if attempt > hard { hard } else { attempt.saturating_sub(STEP) };
    }
    current
}

/// Lets a crash leave a core file as large as the hard limit allows. Best effort.
pub fn allow_core_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, hard, hard);
    }
}

/// Sets the permission bits that new files shall not get; returns the former ones.
pub fn set_umask(bits: u32) -> u32 {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(bits)).bits()
}

/// How readily the kernel kills this process when memory runs out: -1000 never, 1000 first.
///
/// # Errors
/// What reading `/proc/self/oom_score_adj` reports.
pub fn oom_score_adj() -> io::Result<i32> {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Sets what [`oom_score_adj`] reads, within -1000..=1000. Safe in a forked child.
///
/// # Errors
/// What writing reports: only the privileged may lower it.
pub fn set_oom_score_adj(value: i32) -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", value.clamp(-1000, 1000).to_string())
}

/// Goes to the background: two forks and a session of its own, so that no terminal can end it; standard input,
/// output and error become `/dev/null`. To be called before any thread is started; the caller's process ends here.
///
/// # Errors
/// The system's, when it refuses a fork or a session.
pub fn daemonize() -> io::Result<()> {
    go_on_in_child()?;
    nix::unistd::setsid()?;
    go_on_in_child()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

fn go_on_in_child() -> io::Result<()> {
    // SAFETY: the caller of `daemonize` has started no thread, so the child finds every lock free.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(()),
        // SAFETY: ends the process at once; nothing of it is needed any more.
        nix::unistd::ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
    }
}

/// Where the title may stand, first address and length: where the kernel keeps the arguments of this process, which is
/// what `ps` shows, and the environment right behind them, into which `ps` looks when the last argument's NUL is gone.
static TITLE_AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();

/// Finds where the title is kept. To be called once at startup, while there is no other thread and after the arguments
/// have been read: [`set_title`] overwrites them. The environment moves to the heap.
pub fn prepare_title() {
    TITLE_AREA.get_or_init(|| {
        let area = title_area()?;
        move_environment();
        Some(area)
    });
}

fn title_area() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name, may itself hold spaces and parentheses; the third follows its last parenthesis.
    let fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(45);
    let mut numbers = fields.map(|field| field.parse::<usize>().unwrap_or(0));
    let (start, end) = (numbers.next()?, numbers.next()?);
    let (environment, environment_end) = (numbers.next()?, numbers.next()?);
    if start == 0 || end <= start {
        return None;
    }
    let follows = environment == end && environment_end > end;
    let length = if follows { environment_end - start } else { end - start };
    Some((start, length))
}

/// Gives each variable of the environment a copy elsewhere, for good.
fn move_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: no other thread runs yet, so nobody changes the list meanwhile.
    let mut place = unsafe { environ };
    if place.is_null() {
        return;
    }
    loop {
        // SAFETY: the list ends in a null pointer, and the loop at it.
        let variable = unsafe { *place };
        if variable.is_null() {
            return;
        }
        // SAFETY: each entry before the null pointer is a string that ends in NUL.
        let copy = unsafe { std::ffi::CStr::from_ptr(variable) }.to_owned();
        // SAFETY: the place is within the list; the copy is never freed.
        unsafe { *place = copy.into_raw() };
        // SAFETY: the list goes on at least to its null pointer.
        place = unsafe { place.add(1) };
    }
}

/// Sets what `ps` and `top` show for this process. The title is cut to the room that arguments and environment took;
/// without [`prepare_title`] only the short name changes. Takes no lock and allocates nothing: safe in a forked child.
pub fn set_title(title: &str) {
    set_thread_name(title);
    let Some(Some((start, length))) = TITLE_AREA.get().copied() else { return };
    let kept = title.len().min(length - 1);
    let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that the arguments and the environment, which has moved away, fill `length` writable bytes
    // from here, which stay mapped for the life of the process; no reference into them is held.
    unsafe { std::ptr::write_bytes(area, 0, length) };
    // SAFETY: as above, and `kept` is less than `length`.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), area, kept) };
}

/// Names the calling thread; 15 bytes are kept.
pub fn set_thread_name(name: &str) {
    let mut short = [0_u8; 16];
    let kept = name.len().min(15);
    short[..kept].copy_from_slice(&name.as_bytes()[..kept]);
    if let Ok(short) = std::ffi::CStr::from_bytes_until_nul(&short) {
        let _ = prctl::set_name(short);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn figures_are_plausible() {
        let usage = own_usage();
        assert!(usage.minor_faults > 0 && usage.peak_resident_bytes > 1 << 20);
        assert!(resident_bytes() > 1 << 20 && total_memory_bytes() > resident_bytes());
        assert!(private_dirty_bytes(None).unwrap() > 0);
        assert!(private_dirty_bytes(Some(id() as i32)).is_some() && private_dirty_bytes(Some(-5)).is_none());
        assert!(huge_page_bytes(None).is_some());
        assert!(thread_usage().user_us <= own_usage().user_us + 1_000_000);
        let _ = (children_usage(), overcommit_memory(), huge_pages_are_always_on());
    }

    #[test]
    fn the_system_describes_itself() {
        let description = os_description();
        assert!(description.starts_with("Linux ") && description.split(' ').count() >= 3, "{description}");
    }

    #[test]
    fn the_open_file_limit_is_raised_and_never_lowered() {
        let (soft, hard) = open_file_limits();
        assert_eq!(raise_open_file_limit(1), soft);
        if hard < u64::MAX / 2 {
            assert!(raise_open_file_limit(hard) >= soft);
        }
    }

    #[test]
    fn threads_can_be_named() {
        std::thread::spawn(|| {
            set_thread_name("a-name-longer-than-fifteen-bytes");
            assert_eq!(prctl::get_name().unwrap().to_bytes(), b"a-name-longer-t");
        })
        .join()
        .unwrap();
    }
}
