//! What of the machine deserves a warning at start, and `--check-system`, which reports the same.

use std::fmt::Write;

use crate::config::Config;
use crate::sys::{listen, process};

const OVERCOMMIT: &str = "Memory overcommit must be enabled! Without it, a background save or replication may fail under \
    low memory condition. Being disabled, it can also cause failures without low memory condition, see \
    https://github.com/jemalloc/jemalloc/issues/1328. To fix this issue add 'vm.overcommit_memory = 1' to \
    /etc/sysctl.conf and then reboot or run the command 'sysctl vm.overcommit_memory=1' for this to take effect.";

const HUGE_PAGES: &str = "You have Transparent Huge Pages (THP) support enabled in your kernel. This will create latency \
    and memory usage issues with Valkey. To fix this issue run the command 'echo madvise > \
    /sys/kernel/mm/transparent_hugepage/enabled' as root, and add it to your /etc/rc.local in order to retain the \
    setting after a reboot. Valkey must be restarted after THP is disabled (set to 'madvise' or 'never').";

const XEN_CLOCK: &str = "Your system is configured to use the 'xen' clocksource which might lead to degraded performance. \
    Check the result of the [slow-clocksource] system check: run 'valkey-server --check-system' to check if the \
    system's clocksource isn't degrading performance.";

/// The result of a check; `None` when it could not be made.
type Outcome = Option<Result<(), &'static str>>;

/// A check.
type Check = fn() -> Outcome;

fn overcommit() -> Outcome {
    process::overcommit_memory().map(|mode| if mode == 1 { Ok(()) } else { Err(OVERCOMMIT) })
}

fn huge_pages() -> Outcome {
    Some(if process::huge_pages_are_always_on() { Err(HUGE_PAGES) } else { Ok(()) })
}

fn xen_clock() -> Outcome {
    let source =
        std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource").ok()?;
    Some(if source.trim() == "xen" { Err(XEN_CLOCK) } else { Ok(()) })
}

/// Logs what deserves a warning, and switches huge pages off for this process if it may (`disable-thp`).
pub(super) fn warn(config: &Config) {
    if let Some(Err(warning)) = overcommit() {
        tracing::warn!("WARNING {warning}");
    }
    if let Some(Err(warning)) = huge_pages()
        && !(config.disable_thp && process::disable_huge_pages(true).is_ok())
    {
        tracing::warn!("WARNING {warning}");
    }
    if let Some(Err(warning)) = xen_clock() {
        tracing::warn!("WARNING {warning}");
    }
}

/// Warns of a queue of connections that the kernel cuts short.
pub(super) fn warn_of_backlog(config: &Config) {
    let wanted = config.tcp_backlog;
    if let Some(granted) = listen::longest_backlog().filter(|granted| *granted > 0 && *granted < wanted) {
        tracing::warn!(
            "WARNING: The TCP backlog setting of {wanted} cannot be enforced because /proc/sys/net/core/somaxconn is set \
             to the lower value of {granted}."
        );
    }
}

/// The report of `--check-system`, and whether all is well.
#[must_use]
pub fn check_system() -> (String, bool) {
    let checks: [(&str, Check); 3] =
        [("xen-clocksource", xen_clock), ("overcommit", overcommit), ("THP", huge_pages)];
    let mut report = String::new();
    let mut well = true;
    for (name, check) in checks {
        let _ = match check() {
            None => writeln!(report, "[{name}]...skipped"),
            Some(Ok(())) => writeln!(report, "[{name}]...OK"),
            Some(Err(warning)) => {
                well = false;
                writeln!(report, "[{name}]...WARNING:\n{warning}")
            }
        };
    }
    (report, well)
}
