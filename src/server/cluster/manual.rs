//! CLUSTER FAILOVER: a replica takes its primary's place though that is up, without losing a write.
//!
//! The replica asks (MFSTART); the primary holds its writers back and says how far its stream is then; the replica begins
//! its election when it has applied all of that.

use super::links::LinkId;
use super::node::{NodeKey, node_flag};
use super::{Cluster, Effect, View};
use crate::bus::{Kind, Sender, mark};

/// For so many times of the limit of a manual failover the primary holds writers back.
const PAUSE_FACTOR: i64 = 2;

/// A manual failover, as its primary or as its replica knows it.
#[derive(Debug, Default)]
pub(super) struct ManualFailover {
    /// When it is given up, Unix ms; 0 for none.
    pub(super) end_ms: i64,
    /// At the primary: who asked.
    pub(super) replica: Option<NodeKey>,
    /// At the replica: how far the primary's stream is.
    primary_offset: Option<i64>,
    /// At the replica: the election may begin.
    pub(super) can_start: bool,
}

/// How CLUSTER FAILOVER is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverMode {
    /// With the primary.
    Agreed,
    /// Without the primary.
    Forced,
    /// Without asking anybody.
    Takeover,
}

impl Cluster {
    /// Whether a manual failover is under way.
    #[must_use]
    pub fn fails_over_manually(&self) -> bool {
        self.manual.end_ms != 0
    }

    /// Gives a manual failover up, or clears what it left.
    pub(super) fn reset_manual_failover(&mut self) {
        if self.manual.replica.is_some() {
            self.effects.push(Effect::ReleaseWriters);
        }
        self.manual = ManualFailover::default();
    }

    /// CLUSTER FAILOVER. The caller has checked that this is a replica whose primary is known.
    pub fn begin_manual_failover(&mut self, mode: FailoverMode, view: &View<'_>) {
        self.reset_manual_failover();
        self.manual.end_ms = view.now_ms + view.config.cluster_manual_failover_timeout;
        match mode {
            FailoverMode::Takeover => {
                self.bump_epoch();
                self.replace_primary(view);
            }
            FailoverMode::Forced => {
                self.let_manual_failover_start();
                self.todo.manual_failover = true;
            }
            FailoverMode::Agreed => {
                if let Some(primary) = self.me().primary {
                    self.send_plain(primary, Kind::FailoverStart, view);
                }
            }
        }
    }

    fn let_manual_failover_start(&mut self) {
        if self.election.at_ms != 0 {
            self.election.at_ms = 0;
            tracing::warn!(
                "Failover election in progress, but received a new manual failover. Resetting the election."
            );
        }
        self.manual.can_start = true;
    }

    /// A replica asks this primary to hold its writers back.
    pub(super) fn begin_to_hold_writers(&mut self, sender: NodeKey, link: LinkId, view: &View<'_>) {
        if self.nodes[sender].primary != Some(self.myself) {
            return;
        }
        self.reset_manual_failover();
        let limit_ms = view.config.cluster_manual_failover_timeout;
        self.manual.end_ms = view.now_ms + limit_ms;
        self.manual.replica = Some(sender);
        self.effects.push(Effect::HoldWriters(view.now_ms + limit_ms * PAUSE_FACTOR));
        tracing::info!("Manual failover requested by replica {}.", self.nodes[sender].title());
        self.send_ping(link, Kind::Ping, view);
    }

    /// The primary says how far its stream is while its writers are held back.
    pub(super) fn note_paused_primary(&mut self, sender: NodeKey, told: &Sender<'_>) {
        let is_awaited = self.manual.end_ms != 0
            && self.manual.primary_offset.is_none()
            && self.me().is_replica()
            && self.me().primary == Some(sender);
        if is_awaited && told.marks & mark::PAUSED != 0 {
            self.manual.primary_offset = Some(told.offset);
            self.todo.manual_failover = true;
            tracing::info!("Received replication offset for paused primary manual failover: {}", told.offset);
        }
    }

    /// Goes on with a manual failover.
    pub(super) fn tend_manual_failover(&mut self, view: &View<'_>) {
        self.todo.manual_failover = false;
        if self.manual.end_ms == 0 || self.manual.can_start {
            return;
        }
        if self.manual.primary_offset == Some(view.offset) {
            self.let_manual_failover_start();
            tracing::info!("All primary replication stream processed, manual failover can start.");
            self.todo.failover = true;
        }
    }

    /// Whether the replica of a manual failover still has to apply some of its primary's stream.
    pub(super) fn awaits_stream(&self) -> bool {
        self.manual.primary_offset.is_some() && !self.manual.can_start
    }

    pub(super) fn end_overdue_manual_failover(&mut self, now_ms: i64) {
        if self.manual.end_ms != 0 && self.manual.end_ms < now_ms {
            tracing::warn!("Manual failover timed out.");
            self.reset_manual_failover();
        }
    }

    /// Whether the primary of this node cannot be asked.
    #[must_use]
    pub fn primary_is_down(&self) -> bool {
        self.me().primary.is_none_or(|primary| {
            let primary = &self.nodes[primary];
            primary.is(node_flag::FAIL) || primary.link.is_none()
        })
    }
}
