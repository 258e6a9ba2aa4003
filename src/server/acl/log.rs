//! The log of what was denied (ACL LOG), newest first; the same again within a minute counts as one entry.

use std::collections::VecDeque;

use super::check::Denial;
use crate::memory::{MemoryUsage, usable_size, vec_usage};

/// Entries are the same only if no more time lies between them, in ms.
const GROUPED_MS: i64 = 60_000;
/// So many of the newest entries are looked through for the same one.
const LOOKED_THROUGH: usize = 10;

/// What was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To log in.
    Auth,
    /// A request, for want of this permission.
    Denied(Denial),
}

impl Reason {
    /// As ACL LOG shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Denied(Denial::Database) => "database",
            Self::Denied(Denial::Command) => "command",
            Self::Denied(Denial::Key) => "key",
            Self::Denied(Denial::Channel) => "channel",
        }
    }
}

/// Where a request stood that was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By itself.
    TopLevel,
    /// In a transaction.
    Multi,
    /// In a script.
    Script,
}

impl Place {
    /// As ACL LOG shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Script => "lua",
        }
    }
}

/// Something that was denied, once or more.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// What it was.
    pub reason: Reason,
    /// Where it stood.
    pub place: Place,
    /// The command, key, channel or database.
    pub object: Vec<u8>,
    /// As whom it was asked for.
    pub user: Vec<u8>,
    /// The client in one line.
    pub client: Vec<u8>,
    /// How often.
    pub count: u64,
    /// When it first was, Unix ms.
    pub created_ms: i64,
    /// When it last was, Unix ms.
    pub updated_ms: i64,
    /// Never used twice.
    pub id: u64,
}

impl LogEntry {
    fn is_like(&self, other: &Self) -> bool {
        self.reason == other.reason
            && self.place == other.place
            && self.object == other.object
            && self.user == other.user
            && (self.updated_ms - other.updated_ms).abs() <= GROUPED_MS
    }
}

/// The entries.
#[derive(Debug, Default)]
pub struct AclLog {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl AclLog {
    /// Adds an entry, or counts it with one like it. At most `longest` are kept.
    pub fn add(&mut self, mut entry: LogEntry, longest: usize) {
        if longest > 0 {
            let like = self.entries.iter().take(LOOKED_THROUGH).position(|known| known.is_like(&entry));
            if let Some(mut known) = like.and_then(|at| self.entries.remove(at)) {
                (known.client, known.updated_ms) = (entry.client, entry.updated_ms);
                known.count += 1;
                self.entries.push_front(known);
                return;
            }
            entry.id = self.next_id;
            self.next_id += 1;
            self.entries.push_front(entry);
        }
        self.entries.truncate(longest);
    }

    /// Forgets every entry.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }

    /// The entries, newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.entries.iter()
    }
}

impl MemoryUsage for AclLog {
    fn memory_usage(&self) -> usize {
        let texts = self.entries.iter();
        let texts = texts.map(|one| vec_usage(&one.object) + vec_usage(&one.user) + vec_usage(&one.client));
        usable_size(self.entries.capacity() * size_of::<LogEntry>()) + texts.sum::<usize>()
    }
}
