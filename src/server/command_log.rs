//! The command log: the latest commands that ran for long, or whose request or reply was large (SLOWLOG, COMMANDLOG).
//!
//! What is kept of a command is bounded: 32 arguments of 128 bytes, secrets redacted, as in Valkey.

use std::collections::VecDeque;

use super::client::Client;
use super::command::{Args, TableEntry};
use super::redaction::{REDACTED, is_redacted};
use crate::config::Config;
use crate::memory::{MemoryUsage, usable_size, vec_usage};

/// Arguments kept of a command.
const MOST_ARGUMENTS: usize = 32;
/// Bytes kept of an argument.
const LONGEST_ARGUMENT: usize = 128;

/// What makes a command worth an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// It ran for long.
    Slow,
    /// Its request was large.
    LargeRequest,
    /// Its reply was large.
    LargeReply,
}

impl LogKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slow, Self::LargeRequest, Self::LargeReply];

    /// From which value on a command is logged (none when negative), and how many entries are kept.
    fn limits(self, config: &Config) -> (i64, u64) {
        match self {
            Self::Slow => (config.commandlog_execution_slower_than, config.commandlog_slow_execution_max_len),
            Self::LargeRequest => {
                (config.commandlog_request_larger_than, config.commandlog_large_request_max_len)
            }
            Self::LargeReply => (config.commandlog_reply_larger_than, config.commandlog_large_reply_max_len),
        }
    }
}

/// A command that was logged.
#[derive(Debug)]
pub struct LogEntry {
    /// Its number, counted for each kind from 0.
    pub id: u64,
    /// When it ended, Unix s.
    pub time: i64,
    /// Microseconds, or bytes.
    pub value: u64,
    /// Its arguments, shortened.
    pub arguments: Vec<Vec<u8>>,
    /// Who sent it.
    pub address: String,
    /// The name of who sent it.
    pub client_name: Vec<u8>,
}

/// What a command cost.
#[derive(Debug, Clone, Copy)]
pub struct CommandCost {
    /// How long it ran.
    pub microseconds: u64,
    /// Bytes of its request.
    pub request_bytes: u64,
    /// Bytes of its reply.
    pub reply_bytes: u64,
}

impl CommandCost {
    fn of(self, kind: LogKind) -> u64 {
        match kind {
            LogKind::Slow => self.microseconds,
            LogKind::LargeRequest => self.request_bytes,
            LogKind::LargeReply => self.reply_bytes,
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    /// Newest first.
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

/// The logs of all kinds.
#[derive(Debug, Default)]
pub struct CommandLog {
    logs: [Log; 3],
}

impl CommandLog {
    fn log(&self, kind: LogKind) -> &Log {
        let [slow, request, reply] = &self.logs;
        match kind {
            LogKind::Slow => slow,
            LogKind::LargeRequest => request,
            LogKind::LargeReply => reply,
        }
    }

    fn log_mut(&mut self, kind: LogKind) -> &mut Log {
        let [slow, request, reply] = &mut self.logs;
        match kind {
            LogKind::Slow => slow,
            LogKind::LargeRequest => request,
            LogKind::LargeReply => reply,
        }
    }

    /// Whether a command of this cost is logged at all; asked for every command, so it has to be quick.
    #[inline]
    #[must_use]
    pub fn wants(config: &Config, cost: CommandCost) -> bool {
        // A negative limit becomes one that nothing reaches.
        cost.microseconds >= config.commandlog_execution_slower_than.cast_unsigned()
            || cost.request_bytes >= config.commandlog_request_larger_than.cast_unsigned()
            || cost.reply_bytes >= config.commandlog_reply_larger_than.cast_unsigned()
    }

    /// Logs a command where its cost reaches the limits.
    pub fn add(
        &mut self,
        config: &Config,
        cost: CommandCost,
        client: Option<&Client>,
        entry: &TableEntry,
        args: Args<'_>,
        now_ms: i64,
    ) {
        for kind in LogKind::ALL {
            let (least, most_entries) = kind.limits(config);
            let value = cost.of(kind);
            if most_entries == 0 || value < least.cast_unsigned() {
                continue;
            }
            let log = self.log_mut(kind);
            log.entries.push_front(LogEntry {
                id: log.next_id,
                time: now_ms / 1000,
                value,
                arguments: shortened(entry, args),
                address: client.map(|client| client.address.clone()).unwrap_or_default(),
                client_name: client.map(|client| client.name.clone()).unwrap_or_default(),
            });
            log.next_id += 1;
            log.entries.truncate(usize::try_from(most_entries).unwrap_or(usize::MAX));
        }
    }

    /// The entries of a kind, newest first.
    pub fn entries(&self, kind: LogKind) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.log(kind).entries.iter()
    }

    /// Drops the entries of a kind; numbers go on.
    pub fn clear(&mut self, kind: LogKind) {
        self.log_mut(kind).entries = VecDeque::new();
    }

    /// Keeps no more entries than the options allow, after they were changed.
    pub fn trim(&mut self, config: &Config) {
        for kind in LogKind::ALL {
            let (_, most_entries) = kind.limits(config);
            self.log_mut(kind).entries.truncate(usize::try_from(most_entries).unwrap_or(usize::MAX));
        }
    }
}

fn shortened(entry: &TableEntry, args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > MOST_ARGUMENTS { MOST_ARGUMENTS - 1 } else { args.len() };
    let mut arguments: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .enumerate()
        .map(|(index, arg)| match arg.get(..LONGEST_ARGUMENT) {
            _ if is_redacted(entry, args, index) => REDACTED.to_vec(),
            Some(start) if arg.len() > LONGEST_ARGUMENT => {
                let more = format!("... ({} more bytes)", arg.len() - LONGEST_ARGUMENT);
                [start, more.as_bytes()].concat()
            }
            _ => arg.to_vec(),
        })
        .collect();
    if kept < args.len() {
        arguments.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    arguments
}

impl MemoryUsage for CommandLog {
    fn memory_usage(&self) -> usize {
        let of_entry = |entry: &LogEntry| {
            vec_usage(&entry.arguments)
                + entry.arguments.iter().map(vec_usage).sum::<usize>()
                + usable_size(entry.address.capacity())
                + vec_usage(&entry.client_name)
        };
        let of_log = |log: &Log| {
            usable_size(log.entries.capacity() * size_of::<LogEntry>())
                + log.entries.iter().map(of_entry).sum::<usize>()
        };
        self.logs.iter().map(of_log).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::server::command::{Command, CommandTable, Request};

    const TABLE: &[Command] = &[
        Command { name: "auth", arity: -1, ..Command::DEFAULT },
        Command { name: "get", arity: -1, ..Command::DEFAULT },
    ];

    fn logged(log: &mut CommandLog, config: &Config, words: &[&[u8]], microseconds: u64) {
        let mut request = Request::default();
        words.iter().for_each(|word| request.push(word));
        let table = CommandTable::new(&[TABLE]);
        let entry = table.named(request.args()).unwrap();
        let cost = CommandCost { microseconds, request_bytes: 0, reply_bytes: 0 };
        assert_eq!(
            CommandLog::wants(config, cost),
            microseconds >= config.commandlog_execution_slower_than.cast_unsigned()
        );
        log.add(config, cost, None, entry, request.args(), 1_000);
    }

    #[test]
    fn the_newest_come_first_and_old_ones_go() {
        let config = Config { commandlog_slow_execution_max_len: 2, ..Config::default() };
        let mut log = CommandLog::default();
        for microseconds in [9_999, 10_000, 20_000, 30_000] {
            logged(&mut log, &config, &[b"get", b"k"], microseconds);
        }
        let values: Vec<_> = log.entries(LogKind::Slow).map(|entry| (entry.id, entry.value)).collect();
        assert_eq!(values, [(2, 30_000), (1, 20_000)]);
        assert_eq!(log.entries(LogKind::LargeReply).len(), 0);
    }

    #[test]
    fn a_negative_limit_logs_nothing() {
        let config = Config { commandlog_execution_slower_than: -1, ..Config::default() };
        let mut log = CommandLog::default();
        logged(&mut log, &config, &[b"get", b"k"], u64::MAX / 2);
        assert_eq!(log.entries(LogKind::Slow).len(), 0);
    }

    #[test]
    fn arguments_are_shortened_and_secrets_redacted() {
        let mut log = CommandLog::default();
        let long = vec![b'x'; 130];
        let mut words: Vec<&[u8]> = vec![b"get", &long];
        words.resize(40, b"w");
        logged(&mut log, &Config::default(), &words, 10_000);
        logged(&mut log, &Config::default(), &[b"auth", b"secret"], 10_000);
        let entries: Vec<_> = log.entries(LogKind::Slow).collect();
        assert_eq!(entries[0].arguments, [b"auth".to_vec(), b"(redacted)".to_vec()]);
        assert_eq!(entries[1].arguments.len(), 32);
        assert!(entries[1].arguments[1].ends_with(b"x... (2 more bytes)"));
        assert_eq!(entries[1].arguments[31], b"... (9 more arguments)");
    }
}
