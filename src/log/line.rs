//! One line of the log: its parts, and the layouts that `log-format` and `log-timestamp-format` choose.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};

use crate::config::{LogFormat, LogTimestampFormat};

/// Signs of the four levels in the legacy layout, by importance.
const SIGNS: [char; 4] = ['.', '-', '*', '#'];
/// Their names in the other layouts.
const NAMES: [&str; 4] = ["debug", "info", "notice", "warning"];

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
    /// A forked child.
    Child,
}

impl Role {
    const fn sign(self) -> char {
        match self {
            Self::Primary => 'M',
            Self::Replica => 'S',
            Self::Child => 'C',
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Child => "RDB/AOF",
        }
    }
}

/// The parts of a line.
pub(super) struct Line<'a> {
    pub(super) pid: u32,
    pub(super) role: Role,
    pub(super) time: jiff::Zoned,
    /// 0 (debug) to 3 (warning).
    pub(super) importance: u8,
    pub(super) message: &'a str,
}

impl Line<'_> {
    /// The line in a layout, its end of line included.
    pub(super) fn format(&self, format: LogFormat, time: LogTimestampFormat) -> String {
        let (pid, message, time) = (self.pid, self.message, self.timestamp(time));
        let importance = usize::from(self.importance.min(3));
        let role = self.role.name();
        let name = NAMES[importance];
        match format {
            LogFormat::Legacy => {
                let role = self.role.sign();
                format!("{pid}:{role} {time} {} {message}\n", SIGNS[importance])
            }
            LogFormat::Logfmt => {
                let message = message.replace('"', "'").replace(['\r', '\n'], " ");
                format!("pid={pid} role={role} timestamp=\"{time}\" level={name} message=\"{message}\"\n")
            }
            LogFormat::Json => {
                let message = json(message);
                format!(
                    "{{\"pid\":{pid},\"role\":\"{role}\",\"timestamp\":\"{time}\",\"level\":\"{name}\",\
                     \"message\":\"{message}\"}}\n"
                )
            }
        }
    }

    fn timestamp(&self, format: LogTimestampFormat) -> String {
        match format {
            LogTimestampFormat::Legacy => self.time.strftime("%d %b %Y %H:%M:%S.%3f").to_string(),
            LogTimestampFormat::Iso8601 => self.time.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string(),
            LogTimestampFormat::Milliseconds => self.time.timestamp().as_millisecond().to_string(),
        }
    }
}

/// Text as the inside of a JSON string.
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out
}

/// Collects the message of an event; other fields follow it as `name=value`.
#[derive(Default)]
pub(super) struct Message {
    text: String,
    fields: String,
}

impl Message {
    pub(super) fn text(&mut self) -> &str {
        self.text.push_str(&self.fields);
        self.fields.clear();
        &self.text
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.text, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(message: &str) -> Line<'_> {
        let time = jiff::Timestamp::from_millisecond(1_795_324_035_754).unwrap();
        let time = time.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(2)));
        Line { pid: 77, role: Role::Primary, time, importance: 2, message }
    }

    #[test]
    fn the_classic_layout_is_valkeys() {
        let text =
            line("Ready to accept connections tcp").format(LogFormat::Legacy, LogTimestampFormat::Legacy);
        assert_eq!(text, "77:M 22 Nov 2026 07:07:15.754 * Ready to accept connections tcp\n");
        let mut warning = line("x");
        (warning.importance, warning.role) = (3, Role::Replica);
        let text = warning.format(LogFormat::Legacy, LogTimestampFormat::Milliseconds);
        assert_eq!(text, "77:S 1795324035754 # x\n");
    }

    #[test]
    fn other_layouts_quote_what_would_break_them() {
        assert_eq!(
            line("say \"x\"\n").format(LogFormat::Logfmt, LogTimestampFormat::Iso8601),
            "pid=77 role=primary timestamp=\"2026-11-22T07:07:15.754+02:00\" level=notice message=\"say 'x' \"\n"
        );
        assert_eq!(
            line("a\"b\\\u{1}\n").format(LogFormat::Json, LogTimestampFormat::Milliseconds),
            "{\"pid\":77,\"role\":\"primary\",\"timestamp\":\"1795324035754\",\"level\":\"notice\",\
             \"message\":\"a\\\"b\\\\\\u0001\\n\"}\n"
        );
    }
}
