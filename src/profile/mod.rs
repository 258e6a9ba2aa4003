//! The memory profile: what every allocated byte is for, at the instant of a fork.
//!
//! The parent gathers [`Figures`] immediately before the fork, the child a [`Census`] while it writes the snapshot; once
//! the child has succeeded the two become a [`Profile`] and [`Profiles`] publishes it. Nothing partial is published
//! and nothing published changes.

mod census;
mod figures;
mod report;

pub use census::{Census, TypeRow};
pub use figures::Figures;
pub use report::Profile;

/// How the last attempt at a profile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// There was none.
    #[default]
    None,
    /// It was published.
    Ok,
    /// The child failed, or said nothing that can be trusted.
    Failed,
    /// It was called off.
    Cancelled,
}

impl Status {
    /// The word INFO shows.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ok => "ok",
            Self::Failed => "err",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The last published profile and the state of the next one.
#[derive(Debug, Default)]
pub struct Profiles {
    published: Option<Box<Profile>>,
    last_status: Status,
    in_progress: bool,
}

impl Profiles {
    /// The last published profile.
    #[must_use]
    pub fn last(&self) -> Option<&Profile> {
        self.published.as_deref()
    }

    /// A child begins to measure.
    pub fn begin(&mut self) {
        self.in_progress = true;
    }

    /// The child is gone without a profile.
    pub fn give_up(&mut self, status: Status) {
        self.in_progress = false;
        self.last_status = status;
    }

    /// The child has succeeded: publishes `profile` under the next number.
    pub fn publish(&mut self, mut profile: Profile) -> &Profile {
        profile.id = self.published.as_ref().map_or(0, |last| last.id) + 1;
        self.in_progress = false;
        self.last_status = Status::Ok;
        self.published.insert(Box::new(profile))
    }

    /// The fields of INFO's section `rdb_stats`, in order.
    #[must_use]
    pub fn info_fields(&self, now_ms: i64) -> Vec<(String, String)> {
        let number = |value: bool| u8::from(value).to_string();
        let mut fields = vec![
            ("rdb_stats_available".to_owned(), number(self.published.is_some())),
            ("rdb_stats_in_progress".to_owned(), number(self.in_progress)),
            ("rdb_stats_last_status".to_owned(), self.last_status.word().to_owned()),
        ];
        if let Some(profile) = &self.published {
            fields.push(("rdb_stats_id".to_owned(), profile.id.to_string()));
            profile.add_info_fields(now_ms, &mut fields);
        }
        fields
    }

    /// Bytes that the profiles themselves hold.
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        self.published.as_ref().map_or(0, |_| crate::memory::box_usage::<Profile>())
    }
}
