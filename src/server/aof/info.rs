//! The fields of INFO persistence that concern the append-only file, in Valkey's order.

use super::{Aof, AofState};

impl Aof {
    /// The fields that are always there.
    #[must_use]
    pub fn info_fields(&self, now_ms: i64) -> Vec<(&'static str, String)> {
        let number = |value: bool| u8::from(value).to_string();
        let word = |ok: bool| if ok { "ok" } else { "err" }.to_owned();
        let rewrites = &self.rewrites;
        let running_seconds = if rewrites.running { now_ms / 1000 - rewrites.started_ms / 1000 } else { -1 };
        let trouble = self.trouble.write.is_some() || self.trouble.sync.is_some();
        vec![
            ("aof_enabled", number(self.state != AofState::Off)),
            ("aof_rewrite_in_progress", number(rewrites.running)),
            ("aof_rewrite_scheduled", number(rewrites.scheduled)),
            ("aof_last_rewrite_time_sec", rewrites.last_seconds.to_string()),
            ("aof_current_rewrite_time_sec", running_seconds.to_string()),
            ("aof_last_bgrewrite_status", word(rewrites.last_ok)),
            ("aof_rewrites", rewrites.begun.to_string()),
            ("aof_rewrites_consecutive_failures", rewrites.failures.to_string()),
            ("aof_last_write_status", word(!trouble)),
            ("aof_last_cow_size", rewrites.last_cow_bytes.to_string()),
        ]
    }

    /// The fields that are there while `appendonly` is set.
    #[must_use]
    pub fn size_fields(&self) -> [(&'static str, u64); 6] {
        [
            ("aof_current_size", self.current_size),
            ("aof_base_size", self.base_size),
            ("aof_pending_rewrite", u64::from(self.rewrites.scheduled)),
            ("aof_buffer_length", self.buffer.len() as u64),
            ("aof_pending_bio_fsync", self.helper.pending_syncs() as u64),
            ("aof_delayed_fsync", self.delayed_syncs),
        ]
    }

    /// Clears what CONFIG RESETSTAT clears.
    pub fn reset_statistics(&mut self) {
        self.rewrites.begun = 0;
        self.rewrites.failures = 0;
        self.delayed_syncs = 0;
    }
}
