//! The log of a forked child: it may take no lock and look up no time zone, so all that is settled before the fork.
//!
//! The child itself brings each line to the log, by one write to a descriptor it was given.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::line::{Line, Role};
use crate::config::{Config, LogFormat, LogTimestampFormat};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Importance {
    /// `-`
    Verbose = 1,
    /// `*`
    Notice = 2,
    /// `#`
    Warning = 3,
}

/// How a child's lines look. Made by its parent.
#[derive(Debug, Clone)]
pub struct ChildLog {
    zone: TimeZone,
    level: u8,
    format: LogFormat,
    time: LogTimestampFormat,
}

impl ChildLog {
    /// As the configuration says, in the present local time.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let zone = super::ZONE.get_or_init(TimeZone::system);
        Self {
            zone: TimeZone::fixed(zone.to_offset(Timestamp::now())),
            level: super::level_number(config.loglevel),
            format: config.log_format,
            time: config.log_timestamp_format,
        }
    }

    /// A line of the child with this id, its end of line included; `None` when it is not to be logged.
    #[must_use]
    pub fn line(&self, pid: u32, now_ms: i64, importance: Importance, message: &str) -> Option<String> {
        let importance = importance as u8;
        (importance >= self.level).then(|| {
            let time = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(self.zone.clone());
            Line { pid, role: Role::Child, time, importance, message }.format(self.format, self.time)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;

    #[test]
    fn lines_have_the_layout_of_the_servers_own_and_obey_the_level() {
        let mut log = ChildLog {
            zone: TimeZone::fixed(jiff::tz::offset(1)),
            level: super::super::level_number(LogLevel::Notice),
            format: LogFormat::Legacy,
            time: LogTimestampFormat::Legacy,
        };
        let line =
            |log: &ChildLog, importance| log.line(77, 1_795_324_035_754, importance, "DB saved on disk");
        let expected = "77:C 22 Nov 2026 06:07:15.754 * DB saved on disk\n";
        assert_eq!(line(&log, Importance::Notice).as_deref(), Some(expected));
        assert_eq!(line(&log, Importance::Verbose), None);
        log.level = super::super::level_number(LogLevel::Nothing);
        assert_eq!(line(&log, Importance::Warning), None);
    }
}
