//! What is known of saving and loading: INFO persistence, and what commands ask before they run.

use crate::config::Config;

/// The state of saving and loading.
#[derive(Debug)]
pub struct State {
    /// A data set is being loaded.
    pub loading: bool,
    /// The last background save succeeded.
    pub last_background_save_ok: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { loading: false, last_background_save_ok: true }
    }
}

impl State {
    /// Whether a data set is being loaded.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading
    }

    /// Whether writes are refused because snapshots fail (`stop-writes-on-bgsave-error`).
    #[must_use]
    pub fn refuses_writes(&self, config: &Config) -> bool {
        !self.last_background_save_ok && config.stop_writes_on_bgsave_error && !config.save.0.is_empty()
    }
}
