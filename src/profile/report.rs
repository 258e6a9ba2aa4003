//! A finished profile and how it reads: three log lines and the fields of `INFO rdb_stats`.
//!
//! The identity: used = the sum of all rows + unattributed, the last signed and always shown.

use std::fmt::Write;

use super::{Census, Figures};
use crate::types::ValueType;

/// What every allocated byte was for at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Grows by one with each profile that is published.
    pub id: u64,
    /// The instant of the fork, Unix ms.
    pub time_ms: i64,
    /// How long it took, from the fork to the last frame.
    pub duration_ms: u64,
    /// How long the fork held the server, in microseconds.
    pub fork_us: u64,
    /// Bytes that copying on write cost.
    pub cow_bytes: u64,
    /// What was counted in entries.
    pub census: Census,
    /// What was counted beside them.
    pub figures: Figures,
}

impl Profile {
    /// The sum of all rows.
    #[must_use]
    pub fn attributed(&self) -> u64 {
        let census = &self.census;
        census.total().bytes + census.hash_expiry_bytes + census.pending_bytes + self.figures.attributed()
    }

    /// What no row holds; negative when bytes were counted twice.
    #[must_use]
    pub fn unattributed(&self) -> i64 {
        self.figures.used as i64 - self.attributed() as i64
    }

    /// The attributed share of what is used, in percent.
    #[must_use]
    pub fn coverage_percent(&self) -> f64 {
        match self.figures.used {
            0 => 100.0,
            used => self.attributed() as f64 * 100.0 / used as f64,
        }
    }

    fn hash_metadata(&self) -> u64 {
        self.census.hash_expiry_bytes + self.figures.hash_expiry_index
    }

    /// The three lines of the log.
    #[must_use]
    pub fn log_lines(&self) -> [String; 3] {
        let total = self.census.total();
        let mut stats = format!("RDB object stats: total keys={} mem_bytes={} |", total.keys, total.bytes);
        for value_type in ValueType::ALL {
            let row = self.census.row(value_type);
            if row.keys > 0 {
                let _ = write!(stats, " {}={}/{}B", value_type.name(), row.keys, row.bytes);
            }
        }
        if total.keys == 0 {
            stats.push_str(" (empty)");
        }
        let figures = &self.figures;
        let breakdown = format!(
            "RDB memory breakdown: kv[user={}B expire={}B hash_meta={}B] user_meta[kvstore={}B clients={}B] \
             sys[aof_buf={}B repl_buf={}B repl_backlog={}B]",
            total.bytes,
            figures.key_expiry,
            self.hash_metadata(),
            figures.tables,
            figures.clients,
            figures.aof_buffer,
            figures.replication_buffer,
            figures.backlog,
        );
        let identity = format!(
            "RDB memory identity: used={}B attributed={}B unattributed={}B coverage={:.2}%",
            figures.used,
            self.attributed(),
            self.unattributed(),
            self.coverage_percent(),
        );
        [stats, breakdown, identity]
    }

    /// The fields of INFO that a published profile adds, in order.
    pub(super) fn add_info_fields(&self, now_ms: i64, fields: &mut Vec<(String, String)>) {
        let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
        add("rdb_stats_time", (self.time_ms / 1000).to_string());
        add("rdb_stats_age_sec", ((now_ms - self.time_ms).max(0) / 1000).to_string());
        add("rdb_stats_duration_ms", self.duration_ms.to_string());
        add("rdb_stats_fork_usec", self.fork_us.to_string());
        add("rdb_stats_cow_bytes", self.cow_bytes.to_string());
        let total = self.census.total();
        add("rdb_stats_total_keys", total.keys.to_string());
        add("rdb_stats_total_bytes", total.bytes.to_string());
        for value_type in ValueType::ALL {
            let (name, row) = (value_type.name(), self.census.row(value_type));
            add(&format!("rdb_stats_{name}_keys"), row.keys.to_string());
            add(&format!("rdb_stats_{name}_bytes"), row.bytes.to_string());
        }
        add("mem_kv_user_data", total.bytes.to_string());
        for (name, bytes) in self.byte_rows() {
            add(name, bytes.to_string());
        }
        add("mem_used_at_fork", self.figures.used.to_string());
        add("mem_attributed", self.attributed().to_string());
        add("mem_unattributed", self.unattributed().to_string());
        add("mem_coverage_perc", format!("{:.2}", self.coverage_percent()));
    }

    /// Every row but the user data.
    fn byte_rows(&self) -> [(&'static str, u64); 18] {
        let figures = &self.figures;
        [
            ("mem_kv_expiration", figures.key_expiry),
            ("mem_kv_hash_metadata", self.hash_metadata()),
            ("mem_um_kvstore", figures.tables),
            ("mem_um_clients_io", figures.clients),
            ("mem_sys_aof_buffer", figures.aof_buffer),
            ("mem_sys_repl_buffer", figures.replication_buffer),
            ("mem_sys_repl_backlog", figures.backlog),
            ("mem_startup", figures.startup),
            ("mem_scripts", figures.scripts),
            ("mem_functions", figures.functions),
            ("mem_pubsub", figures.pubsub),
            ("mem_tracking", figures.tracking),
            ("mem_watch_block", figures.watch_block),
            ("mem_logs", figures.logs),
            ("mem_acl_config", figures.acl_config),
            ("mem_cluster", figures.cluster),
            ("mem_lazyfree_pending", self.census.pending_bytes),
            ("mem_profiler", figures.profiler),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::types::Encoding;

    fn sample() -> Profile {
        let mut numbers = [0; Census::NUMBERS];
        for (encoding, keys, bytes) in [
            (Encoding::Int, 1, 24),
            (Encoding::Raw, 2, 276),
            (Encoding::Intset, 1, 64),
            (Encoding::Skiplist, 2, 200),
            (Encoding::HashHashtable, 1, 128),
        ] {
            numbers[encoding as usize * 2..][..2].copy_from_slice(&[keys, bytes]);
        }
        numbers[Census::NUMBERS - 2] = 40;
        Profile {
            id: 2,
            time_ms: 1_700_000_000_500,
            duration_ms: 12,
            fork_us: 345,
            cow_bytes: 4096,
            census: Census::from_numbers(&numbers).unwrap(),
            figures: Figures {
                used: 2000,
                key_expiry: 16,
                hash_expiry_index: 8,
                tables: 512,
                clients: 600,
                startup: 100,
                ..Figures::default()
            },
        }
    }

    #[test]
    fn the_log_lines_are_the_agreed_ones() {
        assert_eq!(
            sample().log_lines(),
            [
                "RDB object stats: total keys=7 mem_bytes=692 | string=3/300B set=1/64B zset=2/200B hash=1/128B",
                "RDB memory breakdown: kv[user=692B expire=16B hash_meta=48B] user_meta[kvstore=512B clients=600B] \
                 sys[aof_buf=0B repl_buf=0B repl_backlog=0B]",
                "RDB memory identity: used=2000B attributed=1968B unattributed=32B coverage=98.40%",
            ]
        );
        let mut empty = sample();
        empty.census = Census::default();
        empty.figures.used = 1000;
        let [stats, _, identity] = empty.log_lines();
        assert_eq!(stats, "RDB object stats: total keys=0 mem_bytes=0 | (empty)");
        assert_eq!(
            identity,
            "RDB memory identity: used=1000B attributed=1236B unattributed=-236B coverage=123.60%"
        );
    }

    #[test]
    fn the_rows_and_the_remainder_make_up_what_is_used() {
        let mut fields = Vec::new();
        let profile = sample();
        profile.add_info_fields(1_700_000_007_600, &mut fields);
        let value = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
        assert_eq!(value("rdb_stats_age_sec"), "7");
        assert_eq!(value("rdb_stats_list_keys"), "0");
        let rows: i64 = fields
            .iter()
            .filter(|(name, _)| name.starts_with("mem_"))
            .take_while(|(name, _)| name != "mem_used_at_fork")
            .map(|(_, value)| value.parse::<i64>().unwrap())
            .sum();
        assert_eq!(rows.to_string(), value("mem_attributed"));
        assert_eq!(rows + profile.unattributed(), 2000);
        assert_eq!(value("mem_coverage_perc"), "98.40");
    }
}
