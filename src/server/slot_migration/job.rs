//! One migration of slots, as either end keeps it: which slots, between whom, and how far it has come.

use std::os::fd::OwnedFd;

use super::outgoing::Outgoing;
use crate::algorithms::slot_set::SlotSet;
use crate::bus::{ID_LENGTH, NodeId};
use crate::memory::{MemoryUsage, box_usage, usable_size, vec_usage};
use crate::server::client::ClientKey;

/// The name of a migration, the same at both ends.
pub type JobName = [u8; ID_LENGTH];

/// First and last slot of each range of a migration, in the order in which they were given.
pub type SlotRanges = Vec<(u16, u16)>;

/// A job of this process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobId(pub(super) u64);

/// Which end this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Slots come here.
    Import,
    /// Slots go away.
    Export,
}

/// A client whose connection is that of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLink {
    /// Which end this node is.
    pub direction: Direction,
    /// The migration.
    pub job: JobId,
}

/// How far a migration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Import: the source has not said yet that it has seen the consent.
    WaitingForAck,
    /// Import: the keys come.
    ReceivingSnapshot,
    /// Import: all keys are here; what is written meanwhile follows until the source stops its writers.
    WaitingForPaused,
    /// Import: everything is here; the source is asked for the slots.
    FailoverRequested,
    /// Import: the slots are to be taken over.
    TakeoverGranted,
    /// Import: it has failed, and what has come of it has to go.
    CleaningUp,
    /// Import: this node only knows of it: it is its primary's, or was found in a file.
    OnPrimary,
    /// Export: the connection is being made.
    Connecting,
    /// Export: AUTH is sent.
    SendingAuth,
    /// Export: AUTH is answered.
    ReadingAuth,
    /// Export: the target is told of the migration.
    SendingEstablish,
    /// Export: the target answers.
    ReadingEstablish,
    /// Export: the snapshot waits for its child.
    WaitingToSnapshot,
    /// Export: a child sends the keys.
    Snapshotting,
    /// Export: what is written is sent.
    Streaming,
    /// Export: too much waits to be sent for writers to be stopped.
    WaitingToPause,
    /// Export: writers are stopped.
    Paused,
    /// Export: the target may take the slots.
    FailoverGranted,
    /// Over: the slots have moved.
    Success,
    /// Over: called off.
    Cancelled,
    /// Over: something went wrong.
    Failed,
}

impl JobState {
    /// The name that CLUSTER GETSLOTMIGRATIONS shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaitingForAck => "waiting-for-ack",
            Self::ReceivingSnapshot => "receiving-snapshot",
            Self::WaitingForPaused => "waiting-for-paused",
            Self::FailoverRequested => "failover-requested",
            Self::TakeoverGranted | Self::FailoverGranted => "failover-granted",
            Self::CleaningUp => "cleaning-up",
            Self::OnPrimary => "occurring-on-primary",
            Self::Connecting => "connecting",
            Self::SendingAuth => "sending-auth-command",
            Self::ReadingAuth => "reading-auth-response",
            Self::SendingEstablish => "sending-establish-command",
            Self::ReadingEstablish => "reading-establish-response",
            Self::WaitingToSnapshot => "waiting-to-snapshot",
            Self::Snapshotting => "snapshotting",
            Self::Streaming => "replicating",
            Self::WaitingToPause => "waiting-to-pause",
            Self::Paused => "failover-paused",
            Self::Success => "success",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether all is over, and the job only a line of a log.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Cancelled | Self::Failed)
    }

    /// Whether the migration may still succeed.
    #[must_use]
    pub const fn is_in_progress(self) -> bool {
        !self.is_finished() && !matches!(self, Self::CleaningUp)
    }

    /// Whether what is written to the slots is kept for the target.
    #[must_use]
    pub const fn is_fed(self) -> bool {
        matches!(
            self,
            Self::Snapshotting
                | Self::Streaming
                | Self::WaitingToPause
                | Self::Paused
                | Self::FailoverGranted
        )
    }

    /// Whether the connection is still being made.
    #[must_use]
    pub const fn is_connecting(self) -> bool {
        matches!(
            self,
            Self::Connecting
                | Self::SendingAuth
                | Self::ReadingAuth
                | Self::SendingEstablish
                | Self::ReadingEstablish
        )
    }

    /// Whether the other end is to be told from time to time that this one is alive.
    pub(super) const fn sends_acknowledgements(self) -> bool {
        self.is_in_progress()
            && !self.is_connecting()
            && !matches!(
                self,
                Self::Snapshotting | Self::WaitingForAck | Self::OnPrimary | Self::FailoverGranted
            )
    }
}

/// A migration.
#[derive(Debug)]
pub struct Job {
    /// Its number here.
    pub id: JobId,
    /// Its name.
    pub name: JobName,
    /// Which end this is.
    pub direction: Direction,
    /// How far it has come.
    pub state: JobState,
    /// The slots.
    pub ranges: SlotRanges,
    /// The same.
    pub slots: Box<SlotSet>,
    /// Whose the slots were; `None` where that is not known.
    pub source: Option<NodeId>,
    /// Whose they are to be; `None` where that is not known.
    pub target: Option<NodeId>,
    /// When it began, Unix s.
    pub created: i64,
    /// When its state changed last, Unix s.
    pub updated: i64,
    /// When the other end last gave a sign of life, Unix s.
    pub acknowledged: i64,
    /// Why it ended as it did.
    pub message: Option<Vec<u8>>,
    /// How the log names it.
    pub description: String,
    /// The connection to the other end.
    pub client: Option<ClientKey>,
    /// Until when it stops writers, Unix ms; 0: it stops none.
    pub pause_until_ms: i64,
    /// What copying on write has cost in the snapshot's child.
    pub cow_bytes: u64,
    /// It takes place elsewhere; nothing here brings it about.
    pub is_tracked_only: bool,
    /// Import: the source was told that this node consents.
    pub(super) has_consented: bool,
    /// What waits to be sent.
    pub outgoing: Outgoing,
    /// The database that the stream has selected.
    pub(super) database: Option<usize>,
    /// What it becomes once what has come of it is gone.
    pub(super) after_cleanup: JobState,
    /// When the other end is to be given a sign of life, Unix ms.
    pub(super) acknowledge_due_ms: i64,
    /// When the log may say again what the snapshot waits for, Unix ms.
    pub(super) wait_line_due_ms: i64,
    /// A task is making the connection.
    pub(super) has_task: bool,
    /// The snapshot's child stays until this is closed.
    pub(super) hold: Option<OwnedFd>,
}

/// The ranges as they are shown.
#[must_use]
pub fn ranges_text(ranges: &[(u16, u16)]) -> String {
    let parts: Vec<String> = ranges.iter().map(|(start, end)| format!("{start}-{end}")).collect();
    parts.join(" ")
}

/// The slots of some ranges.
#[must_use]
pub(super) fn slots_of(ranges: &[(u16, u16)]) -> SlotSet {
    ranges.iter().flat_map(|(start, end)| *start..=*end).collect()
}

impl Job {
    /// A migration that begins now.
    #[must_use]
    pub(super) fn new(
        id: JobId,
        name: JobName,
        direction: Direction,
        ranges: SlotRanges,
        now_ms: i64,
    ) -> Self {
        let now = now_ms / 1000;
        Self {
            id,
            name,
            direction,
            state: match direction {
                Direction::Import => JobState::WaitingForAck,
                Direction::Export => JobState::Connecting,
            },
            slots: Box::new(slots_of(&ranges)),
            ranges,
            source: None,
            target: None,
            created: now,
            updated: now,
            acknowledged: now,
            message: None,
            description: String::new(),
            client: None,
            pause_until_ms: 0,
            cow_bytes: 0,
            is_tracked_only: false,
            has_consented: false,
            outgoing: Outgoing::default(),
            database: None,
            after_cleanup: JobState::Failed,
            acknowledge_due_ms: 0,
            wait_line_due_ms: 0,
            has_task: false,
            hold: None,
        }
    }

    /// Notes how the log names it. `other` is the node at the other end: its id, and the name that people gave it.
    pub(super) fn describe(&mut self, other: Option<(NodeId, &str)>) {
        let (operation, role) = match self.direction {
            Direction::Export => ("export", "target_node"),
            Direction::Import => ("import", "source_node"),
        };
        let id = other.map_or_else(|| "unknown".to_owned(), |(id, _)| id.to_string());
        let human = match other {
            Some((_, name)) if !name.is_empty() => format!(" {role}_human_name: {name},"),
            _ => String::new(),
        };
        self.description = format!(
            "{{name: {}, operation: {operation}, {role}_id: {id},{human} slots: {}}}",
            String::from_utf8_lossy(&self.name),
            ranges_text(&self.ranges)
        );
    }

    /// Whether the snapshot's bytes may be followed by what waits.
    #[must_use]
    pub fn may_send(&self) -> bool {
        self.state != JobState::Snapshotting
    }
}

impl MemoryUsage for Job {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.ranges)
            + box_usage::<SlotSet>()
            + self.message.as_ref().map_or(0, vec_usage)
            + usable_size(self.description.capacity())
            + self.outgoing.memory_usage()
    }
}
