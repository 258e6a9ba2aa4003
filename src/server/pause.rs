//! Why clients are held back: CLIENT PAUSE, a shutdown or a failover that waits for replicas. Each ends by itself.

use super::Server;

/// What is held back, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Until when, Unix ms.
    pub until_ms: i64,
    /// Writes only, or every command.
    pub writes_only: bool,
}

/// Why writes are held back without a limit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A shutdown waits for replicas.
    Shutdown,
    /// A failover is under way.
    Failover,
    /// A replica of the cluster takes over on request: until then, Unix ms.
    ClusterFailover(i64),
    /// Another node takes slots over: until then, Unix ms; an earlier end than before changes nothing.
    SlotMigration(i64),
}

/// All pauses that are in force.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pauses {
    /// CLIENT PAUSE.
    command: Option<Pause>,
    shutdown: bool,
    failover: bool,
    /// Until when a failover of the cluster holds writers back, Unix ms.
    cluster_failover: Option<i64>,
    /// The same of a migration of slots.
    slot_migration: Option<i64>,
}

impl Pauses {
    /// Whether there may be one.
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.command.is_some()
            | self.shutdown
            | self.failover
            | self.cluster_failover.is_some()
            | self.slot_migration.is_some()
    }

    /// Whether writes are held back for a migration of slots.
    #[must_use]
    pub fn is_held_for_slots(&self) -> bool {
        self.slot_migration.is_some()
    }

    /// What is held back at `now_ms`: the widest and longest of all.
    #[must_use]
    pub fn in_force(&self, now_ms: i64) -> Option<Pause> {
        let command = self.command.filter(|pause| pause.until_ms > now_ms);
        let held = self.shutdown || self.failover;
        let cluster = self.cluster_failover.max(self.slot_migration).filter(|until_ms| *until_ms > now_ms);
        let until_ms = if held { Some(i64::MAX) } else { cluster };
        let hold = until_ms.map(|until_ms| Pause { until_ms, writes_only: true });
        match (command, hold) {
            // What holds back all commands ends before what holds back writes.
            (Some(command), Some(_)) if !command.writes_only => Some(command),
            (command, hold) => hold.or(command),
        }
    }

    /// The reason that INFO shows.
    #[must_use]
    pub fn reason(&self, now_ms: i64) -> &'static str {
        match self.in_force(now_ms) {
            None => "none",
            Some(pause) if Some(pause.until_ms) == self.cluster_failover => "failover_in_progress",
            Some(pause) if Some(pause.until_ms) == self.slot_migration => "slot_migration_in_progress",
            Some(pause) if pause.until_ms < i64::MAX => "client_pause",
            Some(_) if self.shutdown => "shutdown_in_progress",
            Some(_) => "failover_in_progress",
        }
    }

    /// CLIENT PAUSE; a pause that is in force gets wider and longer, never less.
    pub fn pause(&mut self, asked: Pause, now_ms: i64) {
        let in_force = self.command.filter(|pause| pause.until_ms > now_ms);
        self.command = Some(in_force.map_or(asked, |pause| Pause {
            until_ms: asked.until_ms.max(pause.until_ms),
            writes_only: asked.writes_only && pause.writes_only,
        }));
    }

    /// Holds writes back until [`Server::release`].
    pub fn hold(&mut self, hold: Hold) {
        match hold {
            Hold::Shutdown => self.shutdown = true,
            Hold::Failover => self.failover = true,
            Hold::ClusterFailover(until_ms) => self.cluster_failover = Some(until_ms),
            Hold::SlotMigration(until_ms) => {
                self.slot_migration = self.slot_migration.max(Some(until_ms));
            }
        }
    }
}

impl Server {
    /// Whether clients are held back: until then nothing expires and nothing is evicted.
    #[inline]
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pauses.any() && self.pauses.in_force(self.now_ms).is_some()
    }

    /// Ends CLIENT PAUSE.
    pub fn end_pause(&mut self) {
        if self.pauses.command.take().is_some() {
            self.retry_held();
        }
    }

    /// Ends a hold.
    pub fn release(&mut self, hold: Hold) {
        match hold {
            Hold::Shutdown => self.pauses.shutdown = false,
            Hold::Failover => self.pauses.failover = false,
            Hold::ClusterFailover(_) => self.pauses.cluster_failover = None,
            Hold::SlotMigration(_) => self.pauses.slot_migration = None,
        }
        self.retry_held();
    }

    /// Ends CLIENT PAUSE when its time is over.
    pub(super) fn end_pause_when_over(&mut self) {
        if self.pauses.command.is_some_and(|pause| pause.until_ms <= self.now_ms) {
            self.end_pause();
        }
        if self.pauses.cluster_failover.is_some_and(|until_ms| until_ms <= self.now_ms) {
            self.release(Hold::ClusterFailover(0));
        }
        if self.pauses.slot_migration.is_some_and(|until_ms| until_ms <= self.now_ms) {
            self.release(Hold::SlotMigration(0));
        }
    }

    /// What was held back runs with the next batch, or waits again.
    fn retry_held(&mut self) {
        for key in std::mem::take(&mut self.held) {
            self.clients.needs_attention(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_pause_is_in_force() {
        let mut pauses = Pauses::default();
        assert!(!pauses.any());
        pauses.pause(Pause { until_ms: 100, writes_only: true }, 0);
        pauses.pause(Pause { until_ms: 50, writes_only: false }, 0);
        assert_eq!(pauses.in_force(99), Some(Pause { until_ms: 100, writes_only: false }));
        assert_eq!(pauses.in_force(100), None);
        pauses.hold(Hold::Failover);
        assert_eq!(pauses.in_force(99).map(|pause| pause.writes_only), Some(false));
        assert_eq!(pauses.reason(99), "client_pause");
        assert_eq!(pauses.in_force(100), Some(Pause { until_ms: i64::MAX, writes_only: true }));
        assert_eq!(pauses.reason(100), "failover_in_progress");
        pauses.hold(Hold::Shutdown);
        assert_eq!(pauses.reason(100), "shutdown_in_progress");
    }

    #[test]
    fn a_migration_of_slots_holds_back_until_its_last_end() {
        let mut pauses = Pauses::default();
        pauses.hold(Hold::SlotMigration(50));
        pauses.hold(Hold::SlotMigration(40));
        assert!(pauses.is_held_for_slots());
        assert_eq!(pauses.in_force(49), Some(Pause { until_ms: 50, writes_only: true }));
        assert_eq!(pauses.reason(49), "slot_migration_in_progress");
        assert_eq!(pauses.in_force(50), None);
        pauses.hold(Hold::ClusterFailover(60));
        assert_eq!(pauses.reason(49), "failover_in_progress");
    }
}
