//! Small snapshots are loaded in less time than a request takes: clients wait for the end instead of being told that the
//! data set is being loaded. Valkey serves nobody during the first 2 MB of a load, so its clients never see a shorter one.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A load that takes longer is no secret.
const LONGEST: Duration = Duration::from_millis(50);

/// The load that is young, if there is one.
#[derive(Debug, Default)]
pub(in crate::net) struct BriefLoad {
    until: Cell<Option<Instant>>,
    over: Notify,
}

impl BriefLoad {
    /// A load begins.
    pub(super) fn begin(&self) {
        self.until.set(Some(Instant::now() + LONGEST));
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.until.set(None);
        self.over.notify_one();
    }

    /// Until no load is young.
    #[inline]
    pub(in crate::net) async fn sit_out(&self) {
        while let Some(until) = self.until.get() {
            if timeout_at(until, self.over.notified()).await.is_err() {
                self.until.set(None);
            }
        }
    }
}
