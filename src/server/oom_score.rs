//! How readily the kernel ends this process when memory runs out (`oom-score-adj`, `oom-score-adj-values`).

use crate::config::{Config, OomScoreAdj, os_reason};
use crate::sys::process;

/// The process's own value from before the server changed it; `None` while it has not.
#[derive(Debug, Default)]
pub struct OomScore {
    base: Option<i32>,
}

/// The value could not be read or written; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// Places in `oom-score-adj-values`.
const PRIMARY: usize = 0;
const REPLICA: usize = 1;
const CHILD: usize = 2;

impl OomScore {
    /// Sets the value that the options ask for, or restores the process's own.
    ///
    /// # Errors
    /// [`Refused`], by the system.
    pub fn apply(&mut self, config: &Config, is_replica: bool) -> Result<(), Refused> {
        let class = if is_replica { REPLICA } else { PRIMARY };
        let value = match (config.oom_score_adj, self.base) {
            (OomScoreAdj::No, None) => return Ok(()),
            (OomScoreAdj::No, Some(base)) => {
                self.base = None;
                base
            }
            (_, Some(base)) => score(config, class, base),
            (_, None) => {
                let base = process::oom_score_adj().map_err(|error| {
                    tracing::warn!("Unable to read oom_score_adj: {}", os_reason(&error));
                    Refused
                })?;
                self.base = Some(base);
                score(config, class, base)
            }
        };
        process::set_oom_score_adj(value).map_err(|error| {
            tracing::warn!("Unable to write oom_score_adj: {}", os_reason(&error));
            Refused
        })
    }

    /// The value for a forked child; `None` leaves it as its parent's.
    #[must_use]
    pub fn of_child(&self, config: &Config) -> Option<i32> {
        (config.oom_score_adj != OomScoreAdj::No).then(|| score(config, CHILD, self.base.unwrap_or(0)))
    }
}

fn score(config: &Config, class: usize, base: i32) -> i32 {
    let value = config.oom_score_adj_values.0[class];
    let value =
        if config.oom_score_adj == OomScoreAdj::Relative { value.saturating_add(base) } else { value };
    value.clamp(-1000, 1000)
}
