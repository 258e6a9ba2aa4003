//! What is known of saving and loading: the running child, what the last ones did, and the fields of INFO persistence.

use super::background::{EndedRewrite, EndedSlotExport, EndedSnapshot};
use super::child::{ChildKind, RunningChild};
use crate::config::{Config, SavePoint};
use crate::profile::{Profile, Profiles};
use crate::sys::barrier::JobQueue;

/// Seconds after a failed background save before the next one is tried (Valkey: `CONFIG_BGSAVE_RETRY_DELAY`).
const RETRY_SECONDS: i64 = 5;

/// A background save that waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduled {
    /// With a memory profile.
    pub profile: bool,
}

/// Why a background save is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A rule of the option `save` is fulfilled.
    SavePoint(SavePoint),
    /// It was scheduled.
    Scheduled(Scheduled),
}

/// What a load means for those who ask for data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadingMode {
    /// There is no data to serve before it is over.
    #[default]
    Exclusive,
    /// The new data is put aside: what is there is served meanwhile.
    Aside,
}

/// A load under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadProgress {
    /// What it means for those who ask.
    pub mode: LoadingMode,
    /// When it began, Unix s.
    pub started: i64,
    /// Bytes of the file.
    pub total_bytes: u64,
    /// Bytes read.
    pub loaded_bytes: u64,
    /// What the server that wrote the file had allocated.
    pub used_memory: u64,
}

/// The state of saving and loading.
#[derive(Debug)]
pub struct State {
    /// The load under way.
    pub(super) loading: Option<LoadProgress>,
    /// When the last save succeeded, Unix s; at first the start of the process.
    pub(super) last_save: i64,
    /// When the last background save was tried, Unix s.
    pub(super) last_try: i64,
    /// The last background save succeeded.
    pub(super) last_save_ok: bool,
    /// Seconds the last background save took; -1 for none.
    pub(super) last_duration: i64,
    /// Saves begun since the start, or since CONFIG RESETSTAT.
    pub(super) saves: u64,
    /// What copying on write cost in the last background save.
    pub(super) last_cow_bytes: u64,
    /// Keys the last load left out because they had expired.
    pub(super) keys_expired: u64,
    /// Keys the last load put in.
    pub(super) keys_loaded: u64,
    pub(super) child: Option<RunningChild>,
    pub(super) ended_rewrite: Option<EndedRewrite>,
    pub(super) ended_snapshot: Option<EndedSnapshot>,
    pub(super) ended_slot_export: Option<EndedSlotExport>,
    pub(super) scheduled: Option<Scheduled>,
    /// The thread that removes what a child has left, which takes long for a large file.
    pub(super) remover: Option<JobQueue>,
    /// Memory profiles.
    pub profiles: Profiles,
}

impl Default for State {
    fn default() -> Self {
        Self::new(crate::sys::clock::unix_ms())
    }
}

impl State {
    /// The state of a process that starts now.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self {
            loading: None,
            last_save: now_ms / 1000,
            last_try: 0,
            last_save_ok: true,
            last_duration: -1,
            saves: 0,
            last_cow_bytes: 0,
            keys_expired: 0,
            keys_loaded: 0,
            child: None,
            ended_rewrite: None,
            ended_snapshot: None,
            ended_slot_export: None,
            scheduled: None,
            remover: None,
            profiles: Profiles::default(),
        }
    }

    /// What children leave is removed by this thread from now on.
    pub fn remove_on(&mut self, thread: JobQueue) {
        self.remover = Some(thread);
    }

    /// Whether a data set is being loaded.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// What the load under way means for those who ask for data; `None` without one.
    #[must_use]
    pub fn loading_mode(&self) -> Option<LoadingMode> {
        self.loading.map(|loading| loading.mode)
    }

    /// The load under way.
    #[must_use]
    pub fn load_progress(&self) -> Option<LoadProgress> {
        self.loading
    }

    /// Whether there is a child, whatever it does.
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.child.is_some()
    }

    /// Whether a child is saving a snapshot, or sending one to replicas.
    #[must_use]
    pub fn is_saving(&self) -> bool {
        self.child
            .as_ref()
            .is_some_and(|running| matches!(running.kind, ChildKind::Snapshot | ChildKind::Transfer))
    }

    /// Whether a child is sending a snapshot to replicas.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.child.as_ref().is_some_and(|running| running.kind == ChildKind::Transfer)
    }

    /// Whether a child is writing the base of an append-only file.
    #[must_use]
    pub fn is_rewriting(&self) -> bool {
        self.child.as_ref().is_some_and(|running| matches!(running.kind, ChildKind::AofBase { .. }))
    }

    /// Whether a child is sending the keys of slots to another node.
    #[must_use]
    pub fn is_exporting_slots(&self) -> bool {
        self.child.as_ref().is_some_and(|running| running.kind == ChildKind::SlotExport)
    }

    /// The child's process id, while there is one.
    #[must_use]
    pub fn child_pid(&self) -> Option<i32> {
        self.child.as_ref().map(|running| running.child.pid())
    }

    /// When the last save succeeded, Unix s (LASTSAVE).
    #[must_use]
    pub fn last_save(&self) -> i64 {
        self.last_save
    }

    /// A background save that waits for the cron to start it.
    #[must_use]
    pub fn scheduled(&self) -> Option<Scheduled> {
        self.scheduled
    }

    /// Has a background save started as soon as nothing is in its way. A profile once asked for stays asked for.
    pub fn schedule(&mut self, profile: bool) {
        let profile = profile || self.scheduled.is_some_and(|scheduled| scheduled.profile);
        self.scheduled = Some(Scheduled { profile });
    }

    /// Forgets the scheduled background save; says whether there was one.
    pub fn unschedule(&mut self) -> bool {
        self.scheduled.take().is_some()
    }

    /// Whether writes are refused because snapshots fail (`stop-writes-on-bgsave-error`).
    #[must_use]
    pub fn refuses_writes(&self, config: &Config) -> bool {
        !self.last_save_ok && config.stop_writes_on_bgsave_error && !config.save.0.is_empty()
    }

    /// Clears what CONFIG RESETSTAT clears.
    pub fn reset_statistics(&mut self) {
        self.saves = 0;
        self.last_cow_bytes = 0;
    }

    /// Whether enough time has passed since a failure to try again.
    fn may_try(&self, now: i64) -> bool {
        self.last_save_ok || now - self.last_try > RETRY_SECONDS
    }

    /// The background save that is due now, if one is.
    #[must_use]
    pub fn due(&self, config: &Config, changes: u64, now_ms: i64) -> Option<Due> {
        let now = now_ms / 1000;
        if self.has_child() || self.is_loading() || !self.may_try(now) {
            return None;
        }
        let changes = i64::try_from(changes).unwrap_or(i64::MAX);
        let reached = |point: &&SavePoint| changes >= point.changes && now - self.last_save > point.seconds;
        match config.save.0.iter().find(reached) {
            Some(point) => Some(Due::SavePoint(*point)),
            None => self.scheduled.map(Due::Scheduled),
        }
    }

    /// The fields of INFO persistence in Valkey's order; `changes` is what was changed since the last save.
    #[must_use]
    pub fn info_fields(&self, changes: u64, now_ms: i64) -> Vec<(&'static str, String)> {
        let mut fields = self.child_fields(now_ms);
        let number = |value: bool| u8::from(value).to_string();
        let running = self.child.as_ref().filter(|_| self.is_saving());
        fields.extend([
            ("rdb_changes_since_last_save", changes.to_string()),
            ("rdb_bgsave_in_progress", number(running.is_some())),
            ("rdb_last_save_time", self.last_save.to_string()),
            ("rdb_last_bgsave_status", if self.last_save_ok { "ok" } else { "err" }.to_owned()),
            ("rdb_last_bgsave_time_sec", self.last_duration.to_string()),
            (
                "rdb_current_bgsave_time_sec",
                running.map_or(-1, |child| now_ms / 1000 - child.started_ms / 1000).to_string(),
            ),
            ("rdb_saves", self.saves.to_string()),
            ("rdb_last_cow_size", self.last_cow_bytes.to_string()),
            ("rdb_last_load_keys_expired", self.keys_expired.to_string()),
            ("rdb_last_load_keys_loaded", self.keys_loaded.to_string()),
        ]);
        fields
    }

    /// The fields of INFO persistence that a load under way adds.
    #[must_use]
    pub fn loading_fields(&self, now_ms: i64) -> Vec<(&'static str, String)> {
        self.loading.as_ref().map_or_else(Vec::new, |loading| loading.info_fields(now_ms).to_vec())
    }

    fn child_fields(&self, now_ms: i64) -> Vec<(&'static str, String)> {
        let (mut peak, mut cow, mut age, mut done, mut total) = (0, 0, 0, 0, 0);
        if let Some(child) = &self.child {
            (peak, cow) = (child.peak_cow_bytes, child.cow_bytes);
            age = if child.cow_ms == 0 { 0 } else { (now_ms - child.cow_ms).max(0) / 1000 };
            (done, total) = (child.keys_done, child.keys_total);
        }
        let percent = if total == 0 { 0.0 } else { done as f64 * 100.0 / total as f64 };
        vec![
            ("loading", u8::from(self.loading_mode() == Some(LoadingMode::Exclusive)).to_string()),
            ("async_loading", u8::from(self.loading_mode() == Some(LoadingMode::Aside)).to_string()),
            ("current_cow_peak", peak.to_string()),
            ("current_cow_size", cow.to_string()),
            ("current_cow_size_age", age.to_string()),
            ("current_fork_perc", format!("{percent:.2}")),
            ("current_save_keys_processed", done.to_string()),
            ("current_save_keys_total", total.to_string()),
        ]
    }

    /// The last published profile.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        self.profiles.last()
    }
}

impl LoadProgress {
    fn info_fields(&self, now_ms: i64) -> [(&'static str, String); 6] {
        let loaded = self.loaded_bytes;
        let (percent, remaining) = if self.total_bytes > 0 {
            (loaded as f64 * 100.0 / self.total_bytes as f64, self.total_bytes.saturating_sub(loaded))
        } else if self.used_memory > 0 {
            // What was allocated is a rough guess at the size of the file.
            let percent = loaded as f64 * 100.0 / self.used_memory as f64;
            (percent.min(99.99), self.used_memory.saturating_sub(loaded).max(1))
        } else {
            (0.0, 1)
        };
        let elapsed = u64::try_from(now_ms / 1000 - self.started).unwrap_or(0);
        let eta = if elapsed == 0 { 1 } else { elapsed * remaining / (loaded + 1) };
        [
            ("loading_start_time", self.started.to_string()),
            ("loading_total_bytes", self.total_bytes.to_string()),
            ("loading_rdb_used_mem", self.used_memory.to_string()),
            ("loading_loaded_bytes", loaded.to_string()),
            ("loading_loaded_perc", format!("{percent:.2}")),
            ("loading_eta_seconds", eta.to_string()),
        ]
    }
}
