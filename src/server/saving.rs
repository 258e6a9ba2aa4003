//! Saving as the server does it: at a client's word, at a save point, and what the end of a child brings about.
//!
//! The work itself is `persistence`'s; here it meets the helper threads, the clients' memory and the cron.

use super::Server;
use crate::algorithms::slot_set::SlotSet;
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::log;
use crate::persistence::{Due, News, PendingUsage, SlotExportPlan, SlotImport, Start, Streams, TransferPlan};
use crate::sys::clock;

impl Server {
    /// Saves now, while everybody waits; says whether that succeeded. The reason of a failure is in the log.
    pub fn save(&mut self, keyspace: &mut Keyspace) -> bool {
        match self.persistence.save(
            keyspace,
            &self.config,
            self.history(),
            self.saved_slot_imports(),
            clock::unix_ms(),
        ) {
            Ok(replaced) => {
                // Giving a large file's space back takes far longer than the rename did.
                self.background.close_later(replaced);
                true
            }
            Err(_) => false,
        }
    }

    /// Starts a child that saves; says whether that succeeded. With `profile` it also weighs every entry; `in_flight` is
    /// what the running command holds of a reply that its client's record does not show.
    pub fn save_in_background(&mut self, keyspace: &mut Keyspace, profile: bool, in_flight: usize) -> bool {
        self.fork_child(keyspace, None, profile.then_some(in_flight))
    }

    /// Forks a child that makes a snapshot, to the file or to replicas; says whether that succeeded. `weigh` asks for a profile, see
    /// [`Server::save_in_background`].
    pub(super) fn fork_child(
        &mut self,
        keyspace: &mut Keyspace,
        transfer: Option<TransferPlan<'_>>,
        weigh: Option<usize>,
    ) -> bool {
        let still = self.background.threads.quiesce();
        // Before anything of the child's is prepared: what follows is not the server's own.
        let figures = weigh.map(|in_flight| self.weigh(keyspace, in_flight));
        let log = match log::descriptor() {
            Ok(log) => log,
            Err(error) => {
                tracing::warn!("Can't save in background: log: {}", os_reason(&error));
                return false;
            }
        };
        let pending_usage: PendingUsage<'_> = &|| self.background.pending_usage();
        let start = Start {
            config: &self.config,
            now_ms: clock::unix_ms(),
            log,
            title: self.child_title(transfer.is_some()),
            oom_score_adj: self.oom_score.of_child(&self.config),
            history: self.history(),
            slot_states: self.cluster.as_ref().map(|cluster| cluster.open_slots_text()).unwrap_or_default(),
            slot_imports: self.saved_slot_imports(),
            weigh: figures.map(|figures| (figures, pending_usage)),
        };
        let started = match transfer {
            None => self.persistence.start_background(keyspace, &still, start),
            Some(plan) => self.persistence.start_transfer(keyspace, &still, start, plan),
        }
        .is_ok();
        drop(still);
        self.note_fork();
        started
    }

    /// Slots whose keys are here before the slots are, for a snapshot to tell.
    pub(super) fn saved_slot_imports(&self) -> Vec<SlotImport> {
        self.cluster.as_ref().map(|cluster| cluster.migrations.saved_imports()).unwrap_or_default()
    }

    /// Forks a child that sends the keys of slots to another node; gives its process id.
    pub(super) fn fork_slot_export(
        &mut self,
        keyspace: &mut Keyspace,
        streams: &Streams,
        slots: &SlotSet,
    ) -> Option<i32> {
        let still = self.background.threads.quiesce();
        let log = log::descriptor()
            .inspect_err(|error| {
                let reason = os_reason(error);
                tracing::warn!("Can't begin slot migration snapshot in background: log: {reason}");
            })
            .ok()?;
        let start = Start {
            config: &self.config,
            now_ms: clock::unix_ms(),
            log,
            title: "weighbridge-slot-migration-to-target",
            oom_score_adj: self.oom_score.of_child(&self.config),
            history: None,
            slot_states: String::new(),
            slot_imports: Vec::new(),
            weigh: None,
        };
        let plan = SlotExportPlan { streams, slots };
        let started = self.persistence.start_slot_export(keyspace, &still, start, plan).ok();
        drop(still);
        self.note_fork();
        started
    }

    /// What `ps` shows of a child that saves.
    fn child_title(&self, to_replicas: bool) -> &'static str {
        // Tools look for the names that Valkey and Redis give theirs.
        match (self.identity.program.rsplit('/').next(), to_replicas) {
            (Some(name), false) if name.contains("redis-server") => "redis-rdb-bgsave",
            (Some(name), true) if name.contains("redis-server") => "redis-rdb-to-slaves",
            (Some(name), false) if name.contains("valkey-server") => "valkey-rdb-bgsave",
            (Some(name), true) if name.contains("valkey-server") => "valkey-rdb-to-replicas",
            (_, false) => "weighbridge-rdb-bgsave",
            (_, true) => "weighbridge-rdb-to-replicas",
        }
    }

    /// Starts the background save that is due, if one is. To be called by the cron.
    pub fn save_when_due(&mut self, keyspace: &mut Keyspace) {
        let due = self.persistence.due(&self.config, keyspace.counters.changes, self.now_ms);
        let Some(due) = due else { return };
        let scheduled = match due {
            Due::SavePoint(point) => {
                tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
                None
            }
            Due::Scheduled(scheduled) => Some(scheduled),
        };
        let profile = scheduled.is_some_and(|scheduled| scheduled.profile);
        if self.save_in_background(keyspace, profile, 0) && scheduled.is_some() {
            self.persistence.unschedule();
        }
    }

    /// Takes in what the task that watches the child has learned; the answer to [`News::Ended`] is whether it has.
    pub fn hear_of_child(&mut self, keyspace: &mut Keyspace, news: &News<'_>) -> bool {
        let now_ms = clock::unix_ms();
        match news {
            News::Bytes(bytes) => self.persistence.receive(bytes, now_ms),
            News::Silence(seconds) => self.persistence.kill_stuck_child(*seconds),
            News::Ended => {
                let gone = self.persistence.finish(keyspace, now_ms);
                if let Some(ended) = self.persistence.take_ended_snapshot() {
                    self.snapshot_ended(ended);
                }
                if let Some(ended) = self.persistence.take_ended_slot_export() {
                    self.slot_export_ended(ended);
                }
                if let Some(rewrite) = self.persistence.take_ended_rewrite() {
                    self.rewrite_ended(rewrite);
                }
                return gone;
            }
        }
        false
    }
}
