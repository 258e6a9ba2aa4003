//! A replica takes its failed primary's place when most primaries vote for it.
//!
//! When the election begins depends on how far the replica's data is among those of its shard (its rank), so that the best
//! one comes first; each primary votes once in an epoch.

use super::node::{Node, NodeKey, node_flag};
use super::{Cluster, View};
use crate::bus::{Kind, Sender, mark};

/// The least time that votes are waited for, in milliseconds.
const TIMEOUT_MIN_MS: i64 = 2000;
/// The longest fixed delay before an election, in milliseconds; with short node timeouts it is a part of those.
const DELAY_MAX_MS: i64 = 500;
/// What a replica waits on top that has no data: it may not know of better ones.
const EMPTY_DELAY_MS: i64 = 500;
/// The log says the same reason again after so many milliseconds.
const RELOG_MS: i64 = 1000;

/// Why a replica does not take its primary's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    DataAge,
    WaitingDelay,
    Expired,
    WaitingVotes,
}

impl Obstacle {
    fn text(self) -> &'static str {
        match self {
            Self::DataAge => {
                "Disconnected from primary for longer than allowed. Please check the 'cluster-replica-validity-factor' \
                 configuration option."
            }
            Self::WaitingDelay => "Waiting the delay before I can start a new failover.",
            Self::Expired => "Failover attempt expired.",
            Self::WaitingVotes => "Waiting for votes, but majority still not reached.",
        }
    }
}

/// An election that this node stands in.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When it begins or began, Unix ms; 0 for none.
    pub(super) at_ms: i64,
    votes: usize,
    asked: bool,
    rank: i64,
    primary_rank: i64,
    epoch: u64,
    obstacle: Option<Obstacle>,
    logged_ms: i64,
}

fn delay_ms(view: &View<'_>) -> i64 {
    (view.config.cluster_node_timeout / 30).min(DELAY_MAX_MS)
}

impl Cluster {
    /// A primary votes for a replica that asks, if there is no reason not to.
    pub(super) fn vote_if_fit(&mut self, key: NodeKey, told: &Sender<'_>, view: &View<'_>) {
        if !self.me().votes() {
            return;
        }
        let title = self.nodes[key].title();
        let (epoch, current) = (told.current_epoch, self.current_epoch);
        let denied = |why: String| tracing::warn!("Failover auth denied to {title}{why}");
        if !self.state.safe_to_join {
            return denied(": it is not safe to vote in this moment)".to_owned());
        }
        if epoch < current {
            return denied(format!(": reqEpoch ({epoch}) < curEpoch({current})"));
        }
        if self.last_vote_epoch == current {
            return denied(format!(": already voted for epoch {current}"));
        }
        let node = &self.nodes[key];
        let forced = told.marks & mark::FORCE_ACK != 0;
        let reason = match node.primary {
            _ if node.is_primary() => Some("it is a primary node"),
            None => Some("I don't know its primary"),
            Some(primary) if !forced && !self.nodes[primary].is(node_flag::FAIL) => Some("its primary is up"),
            Some(_) => None,
        };
        if let Some(reason) = reason {
            return denied(format!(" for epoch {epoch}: {reason}"));
        }
        let newer = told.slots.iter().find_map(|slot| {
            let owner = self.owner(slot).filter(|_| !self.is_unclaimed(slot))?;
            let of_owner = self.nodes[owner].config_epoch;
            (of_owner > told.config_epoch).then_some((slot, owner, of_owner))
        });
        if let Some((slot, owner, of_owner)) = newer {
            denied(format!(": slot {slot} epoch ({of_owner}) > reqConfigEpoch ({})", told.config_epoch));
            self.send_update(key, owner, view);
            return;
        }
        self.last_vote_epoch = current;
        self.todo.save_synced();
        self.send_plain(key, Kind::AuthAck, view);
        tracing::info!("Failover auth granted to {title} for epoch {current}");
    }

    /// A vote for this node.
    pub(super) fn count_vote(&mut self, sender: NodeKey, epoch: u64) {
        if self.nodes[sender].votes() && epoch >= self.election.epoch {
            self.election.votes += 1;
            self.todo.failover = true;
        }
    }

    /// A node has an epoch that leaves no hope for the election that is under way.
    pub(super) fn drop_lost_election(&mut self, sender: NodeKey) {
        let node = &self.nodes[sender];
        let election = &mut self.election;
        if election.at_ms == 0 || !election.asked || node.config_epoch < election.epoch {
            return;
        }
        election.at_ms = 0;
        tracing::warn!(
            "Failover election in progress for epoch {}, but received a claim from node {} with an equal or higher epoch \
             {}. Resetting the election since we cannot win an election in the past.",
            election.epoch,
            node.title(),
            node.config_epoch
        );
        self.todo.failover = true;
    }

    /// How many replicas of the own primary are better than this one.
    fn rank(&self, view: &View<'_>) -> i64 {
        let me = self.me();
        let is_better =
            |node: &Node| node.offset > view.offset || node.offset == view.offset && node.id < me.id;
        let others = self.nodes.iter().filter(|(key, node)| {
            *key != self.myself && node.primary == me.primary && !node.is(node_flag::NOFAILOVER)
        });
        others.filter(|(_, node)| node.is_replica() && is_better(node)).count() as i64
    }

    /// How many failed primaries of other shards come before the own one.
    fn primary_rank(&self, view: &View<'_>) -> i64 {
        let factor = i64::from(view.config.cluster_replica_validity_factor);
        let limit_ms = view.config.cluster_node_timeout * factor;
        let counts = |key: NodeKey, node: &Node| {
            node.is(node_flag::FAIL)
                && node.votes()
                && (factor == 0 || view.now_ms - node.failed_ms <= limit_ms)
                && node.shard < self.me().shard
                && self.nodes.iter().any(|(_, other)| other.primary == Some(key))
        };
        self.nodes.iter().filter(|(key, node)| counts(*key, node)).count() as i64
    }

    /// Whether nobody could be better: all replicas know that the primary has failed, so their offsets are final.
    fn is_best_replica(&self, view: &View<'_>) -> bool {
        let primary = self.me().primary;
        self.manual.end_ms == 0
            && view.offset != 0
            && self.election.rank == 0
            && self.election.primary_rank == 0
            && self
                .nodes
                .iter()
                .filter(|(_, node)| node.primary.is_some() && node.primary == primary)
                .all(|(_, node)| node.is(node_flag::PRIMARY_FAILED))
    }

    fn log_obstacle(&mut self, obstacle: Obstacle, view: &View<'_>) {
        let election = &mut self.election;
        let since_ms = view.now_ms - election.logged_ms;
        let pause_ms = if obstacle == Obstacle::DataAge { 10 * RELOG_MS } else { RELOG_MS };
        if election.obstacle == Some(obstacle) && since_ms < pause_ms {
            return;
        }
        election.obstacle = Some(obstacle);
        election.logged_ms = view.now_ms;
        let votes = election.votes;
        tracing::info!("Currently unable to failover: {}", obstacle.text());
        if matches!(obstacle, Obstacle::WaitingVotes | Obstacle::Expired) {
            tracing::info!("Needed quorum: {}. Number of votes received so far: {votes}", self.quorum());
        }
    }

    /// Goes on with taking the primary's place, if that is due.
    pub(super) fn tend_failover(&mut self, view: &View<'_>) {
        self.todo.failover = false;
        let manual = self.manual.end_ms != 0 && self.manual.can_start;
        let me = self.me();
        let failed = me.primary.is_some_and(|primary| self.nodes[primary].is(node_flag::FAIL));
        if me.is_primary()
            || me.primary.is_none()
            || !failed && !manual
            || view.config.cluster_replica_no_failover && !manual
        {
            self.election.obstacle = None;
            return;
        }
        if !manual && self.data_is_old(view) {
            return self.log_obstacle(Obstacle::DataAge, view);
        }
        let now_ms = view.now_ms;
        let timeout_ms = (view.config.cluster_node_timeout * 2).max(TIMEOUT_MIN_MS);
        let mut age_ms = now_ms - self.election.at_ms;
        if age_ms > timeout_ms * 2 {
            self.schedule_election(view);
            if now_ms < self.election.at_ms {
                return;
            }
            age_ms = 0;
        }
        if !self.election.asked && self.manual.end_ms == 0 && self.election.at_ms != now_ms {
            self.reschedule_election(view);
        }
        if now_ms < self.election.at_ms {
            return self.log_obstacle(Obstacle::WaitingDelay, view);
        }
        if age_ms > timeout_ms {
            return self.log_obstacle(Obstacle::Expired, view);
        }
        if !self.election.asked {
            return self.ask_for_votes(view);
        }
        if self.election.votes < self.quorum() {
            return self.log_obstacle(Obstacle::WaitingVotes, view);
        }
        self.win_election(view);
    }

    fn data_is_old(&self, view: &View<'_>) -> bool {
        let config = view.config;
        let timeout_ms = config.cluster_node_timeout;
        // It was down at least for as long as it took to notice.
        let age_ms =
            if view.data_age_ms > timeout_ms { view.data_age_ms - timeout_ms } else { view.data_age_ms };
        let factor = i64::from(config.cluster_replica_validity_factor);
        let limit_ms = i64::from(config.repl_ping_replica_period) * 1000 + timeout_ms * factor;
        factor != 0 && age_ms > limit_ms
    }

    fn schedule_election(&mut self, view: &View<'_>) {
        let (now_ms, delay_ms) = (view.now_ms, delay_ms(view));
        let (rank, primary_rank) = (self.rank(view), self.primary_rank(view));
        let random_ms = if delay_ms > 0 { fastrand::i64(0..delay_ms) } else { 0 };
        let election = &mut self.election;
        (election.votes, election.asked) = (0, false);
        (election.rank, election.primary_rank) = (rank, primary_rank);
        election.at_ms = now_ms + delay_ms + random_ms + rank * delay_ms * 2 + primary_rank * delay_ms;
        if view.offset == 0 {
            election.at_ms += EMPTY_DELAY_MS;
        }
        if self.manual.end_ms != 0 {
            election.at_ms = now_ms;
            (election.rank, election.primary_rank) = (0, 0);
        } else if self.is_best_replica(view) {
            self.election.at_ms = now_ms;
            tracing::info!("This is the best ranked replica and can initiate the election immediately.");
        }
        let election = &self.election;
        tracing::info!(
            "Start of election delayed for {} milliseconds (rank #{}, primary rank #{}, offset {}).",
            election.at_ms - now_ms,
            election.rank,
            election.primary_rank,
            view.offset
        );
        self.broadcast_pong(true, view);
    }

    /// Other replicas may have turned out to be better, or other shards to be up.
    fn reschedule_election(&mut self, view: &View<'_>) {
        let delay_ms = delay_ms(view);
        let (rank, primary_rank) = (self.rank(view), self.primary_rank(view));
        let election = &mut self.election;
        if rank != election.rank {
            let added_ms = (rank - election.rank) * delay_ms * 2;
            election.at_ms += added_ms;
            election.rank = rank;
            tracing::info!("Replica rank updated to #{rank}, added {added_ms} milliseconds of delay.");
        }
        if primary_rank != election.primary_rank {
            let added_ms = (primary_rank - election.primary_rank) * delay_ms;
            election.at_ms += added_ms;
            election.primary_rank = primary_rank;
            tracing::info!(
                "Failed primary rank updated to #{primary_rank}, added {added_ms} milliseconds of delay."
            );
        }
        if self.is_best_replica(view) {
            self.election.at_ms = view.now_ms;
            tracing::info!("Myself become the best ranked replica, initiate the election immediately.");
        }
    }

    fn ask_for_votes(&mut self, view: &View<'_>) {
        self.current_epoch += 1;
        self.election.epoch = self.current_epoch;
        tracing::info!(
            "Starting a failover election for epoch {}, node config epoch is {}",
            self.current_epoch,
            self.epoch_of(self.me())
        );
        let forced = self.manual.end_ms != 0 || self.is_best_replica(view);
        self.send_auth_request(forced, view);
        self.election.asked = true;
        self.todo.save_synced();
        self.todo.update_state = true;
    }

    fn win_election(&mut self, view: &View<'_>) {
        tracing::info!("Failover election won: I'm the new primary.");
        let epoch = self.election.epoch;
        if self.me().config_epoch < epoch {
            self.me_mut().config_epoch = epoch;
            self.todo.save_synced();
            self.todo.broadcast = true;
            tracing::info!("configEpoch set to {epoch} after successful failover");
        }
        self.replace_primary(view);
    }

    /// Takes the slots of the primary, with an epoch that is already the newest.
    pub(super) fn replace_primary(&mut self, view: &View<'_>) {
        let me = self.me();
        let Some(former) = me.primary.filter(|_| me.is_replica()) else { return };
        tracing::info!(
            "Setting myself to primary in shard {} after failover; my old primary is {}",
            me.shard,
            self.nodes[former].title()
        );
        self.set_primary_role(self.myself);
        let slots = self.nodes[former].slots.clone();
        slots.iter().for_each(|slot| self.move_slot(self.myself, slot));
        self.update_state(view);
        self.todo.save_synced();
        self.todo.broadcast = true;
        self.reset_manual_failover();
        self.todo.verify_data = true;
        self.election.at_ms = 0;
        self.me_mut().clear(node_flag::PRIMARY_FAILED);
    }
}
