//! The log of a forked child: whole lines by one `write(2)`, no lock, no time zone look-up.
//!
//! Everything it needs is settled before the fork: the descriptor, the level, the offset from UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Config, LogLevel};
use crate::sys::clock;
use crate::sys::fork::ChildEnd;

/// How a child's lines look. Made by the parent.
#[derive(Debug, Clone)]
pub(super) struct ChildLog {
    zone: TimeZone,
    notices: bool,
    warnings: bool,
    verbose: bool,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Importance {
    /// `-`
    Verbose,
    /// `*`
    Notice,
    /// `#`
    Warning,
}

impl ChildLog {
    /// As the configuration says, in the present local time.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        let offset = TimeZone::system().to_offset(Timestamp::now());
        Self {
            zone: TimeZone::fixed(offset),
            verbose: matches!(config.loglevel, LogLevel::Debug | LogLevel::Verbose),
            notices: !matches!(config.loglevel, LogLevel::Warning | LogLevel::Nothing),
            warnings: config.loglevel != LogLevel::Nothing,
        }
    }

    /// Writes a line to the child's log.
    pub(super) fn line(&self, end: &ChildEnd, importance: Importance, message: &str) {
        let (wanted, sign) = match importance {
            Importance::Verbose => (self.verbose, '-'),
            Importance::Notice => (self.notices, '*'),
            Importance::Warning => (self.warnings, '#'),
        };
        if wanted {
            end.log(self.format(std::process::id(), clock::unix_ms(), sign, message).as_bytes());
        }
    }

    fn format(&self, pid: u32, now_ms: i64, sign: char, message: &str) -> String {
        let time = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(self.zone.clone());
        format!("{pid}:C {} {sign} {message}\n", time.strftime("%d %b %Y %H:%M:%S.%3f"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_layout_of_the_servers_own() {
        let log = ChildLog {
            zone: TimeZone::fixed(jiff::tz::offset(1)),
            notices: true,
            warnings: true,
            verbose: true,
        };
        assert_eq!(
            log.format(77, 1_795_324_035_754, '*', "DB saved on disk"),
            "77:C 22 Nov 2026 06:07:15.754 * DB saved on disk\n"
        );
    }
}
