//! Whether the cluster serves keys, as this node sees it.

use super::node::node_flag;
use super::{Cluster, View};
use crate::algorithms::slot::SLOTS;

/// For so long after its start a primary serves nothing: others may have taken its place meanwhile.
const WRITABLE_DELAY_MS: i64 = 2000;
/// How long a primary that was among the minority waits at least and at most before it serves again.
const REJOIN_DELAY_MS: (i64, i64) = (500, 5000);

/// Why keys are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Slots are nobody's, or their owners have failed.
    Coverage,
    /// Most primaries cannot be reached.
    Minority,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Coverage => {
                "At least one hash slot is not served by any available node. Please check the \
                 'cluster-require-full-coverage' configuration."
            }
            Self::Minority => "I am part of a minority partition.",
        }
    }
}

/// The state.
#[derive(Debug, Default)]
pub(super) struct State {
    ok: bool,
    reason: Option<Reason>,
    /// It is long enough since the start to vote.
    pub(super) safe_to_join: bool,
    /// Primaries with slots.
    pub(super) size: usize,
    first_look_ms: i64,
    minority_ms: i64,
}

impl Cluster {
    /// Whether keys are served.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.state.ok
    }

    /// Primaries with slots.
    #[must_use]
    pub fn size(&self) -> usize {
        self.state.size
    }

    /// How many votes are most.
    pub(super) fn quorum(&self) -> usize {
        self.state.size / 2 + 1
    }

    /// Looks at the state anew.
    pub fn update_state(&mut self, view: &View<'_>) {
        let now_ms = view.now_ms;
        self.todo.update_state = false;
        if self.state.first_look_ms == 0 {
            self.state.first_look_ms = now_ms;
        }
        let just_started = now_ms - self.state.first_look_ms < WRITABLE_DELAY_MS;
        self.state.safe_to_join = !(self.me().is_primary() && !self.state.ok && just_started);
        if !self.state.safe_to_join {
            return;
        }
        let mut reason = None;
        if view.config.cluster_require_full_coverage && !self.is_covered() {
            reason = Some(Reason::Coverage);
        }
        let voters: Vec<_> = self.nodes.iter().filter(|(_, node)| node.votes()).collect();
        let fails = node_flag::PFAIL | node_flag::FAIL;
        let (size, reachable) = (voters.len(), voters.iter().filter(|(_, node)| !node.is(fails)).count());
        self.state.size = size;
        if reachable < self.quorum() {
            reason = Some(Reason::Minority);
            self.state.minority_ms = now_ms;
        }
        self.enter_state(reason, view);
    }

    fn is_covered(&self) -> bool {
        (0..SLOTS as u16)
            .all(|slot| self.owner(slot).is_some_and(|owner| !self.nodes[owner].is(node_flag::FAIL)))
    }

    fn enter_state(&mut self, reason: Option<Reason>, view: &View<'_>) {
        let ok = reason.is_none();
        if ok != self.state.ok {
            let (least, most) = REJOIN_DELAY_MS;
            let delay_ms = view.config.cluster_node_timeout.clamp(least, most);
            if ok && self.me().is_primary() && view.now_ms - self.state.minority_ms < delay_ms {
                return;
            }
            match ok {
                true => tracing::info!("Cluster state changed: ok"),
                false => tracing::warn!("Cluster state changed: fail"),
            }
            self.state.ok = ok;
            self.todo.check_waits = true;
        }
        if let Some(reason) = reason.filter(|reason| self.state.reason != Some(*reason)) {
            tracing::warn!("Cluster is currently down: {}", reason.text());
        }
        self.state.reason = reason;
    }
}
