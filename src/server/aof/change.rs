//! Turning the append-only file on and off, and having its history deleted: the helper thread does what that needs, and
//! only the client waits.
//!
//! To turn the file on it opens the increment that the rewrite begins with; to turn it off it ends what it is doing to the
//! directory. These requests take turns, since each depends on what the one before has left. Whatever else CONFIG SET
//! sets changes at the same instant. A replica turns its file on again in the same way, once it has its primary's data.
//! Inside of a transaction the engine thread waits.

use std::sync::Arc;

use super::helper::{Outcome, Storage};
use super::{AofState, Stage};
use crate::config::{SetContext, find_option};
use crate::keyspace::Keyspace;
use crate::memory::vec_usage;
use crate::resp::CommandError;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::file_save::Counted;
use crate::server::waiter::Waiter;
use crate::server::{Context, Server, Task, set_options};

/// The value that is given for an option.
fn value_of<'a>(pairs: &[(&[u8], &'a [u8])], option: &str) -> Option<&'a [u8]> {
    let mut pairs = pairs.iter();
    let pair = pairs.find(|(name, _)| find_option(name).is_some_and(|(spec, _)| spec.name == option));
    pair.map(|(_, value)| *value)
}

/// What the helper thread prepares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// The file is to be turned on.
    On,
    /// It is to be turned off.
    Off,
    /// It is to go on, now that the data is there for which it was stopped.
    Resumed,
    /// It stays as it is.
    Kept,
}

/// How far the helper thread is with what it prepares.
#[derive(Debug)]
pub struct Preparation {
    goal: Goal,
    /// It has been waited for.
    waited: bool,
}

impl Preparation {
    fn of(goal: Goal) -> Self {
        Self { goal, waited: false }
    }

    /// Of a file that is to go on.
    #[must_use]
    pub fn of_resumption() -> Self {
        Self::of(Goal::Resumed)
    }
}

/// A request of CONFIG SET that needs the helper thread, and who waits for it.
#[derive(Debug)]
pub struct PendingChange {
    /// Names and values of all options that it sets.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is to be done before they change.
    pub preparation: Preparation,
    /// History is to be deleted once they have.
    cleans: bool,
    local_client: bool,
    waiter: Option<Waiter>,
    _counted: Counted,
}

/// What the helper thread has to do first.
enum Step {
    /// Whatever it was given before.
    Wait,
    /// Open the increment.
    Open,
}

impl Context<'_> {
    /// Sets options as soon as the helper thread has done what they need, if they need anything; `false`: they do not, or
    /// nobody can wait.
    pub fn set_later(&mut self, pairs: &[(&[u8], &[u8])]) -> bool {
        let server = &mut self.server;
        let goal = match value_of(pairs, "appendonly").map(|value| value.eq_ignore_ascii_case(b"yes")) {
            Some(on) if on != (server.aof.state != AofState::Off) => {
                if on {
                    Goal::On
                } else {
                    Goal::Off
                }
            }
            _ => Goal::Kept,
        };
        let cleans = server.begins_to_clean(pairs);
        if goal == Goal::Kept && !cleans {
            return false;
        }
        if self.in_transaction {
            // Replies of others may wait for what it syncs.
            server.settle_aof();
            return false;
        }
        let waits = self.block(BlockRequest::for_event(TimeoutReply::Never));
        if waits {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let bytes = pairs.iter().map(|(name, value)| vec_usage(name) + vec_usage(value)).sum::<usize>();
            let change = PendingChange {
                preparation: Preparation::of(goal),
                cleans,
                local_client: self.client().is_some_and(|client| client.is_local()),
                waiter: self.server.waiter(self.client),
                _counted: Counted::new(&self.server.file_saves, bytes + vec_usage(&pairs)),
                pairs,
            };
            self.server.ask(Task::ChangeAof(Box::new(change)));
        }
        waits
    }

    /// Sets options at once, whatever the helper thread has to do for that.
    ///
    /// # Errors
    /// Which option cannot be set, and why.
    pub fn set_now(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<(), CommandError> {
        let context = SetContext {
            loading: self.server.persistence.is_loading(),
            local_client: self.client().is_some_and(|client| client.is_local()),
        };
        let cleans = self.server.begins_to_clean(pairs);
        set_options(self.keys.keyspace, self.server, pairs, context)?;
        if cleans {
            self.server.settle_cleaning();
        }
        Ok(())
    }
}

impl Server {
    /// Whether there may be history that these options would have deleted.
    fn begins_to_clean(&self, pairs: &[(&[u8], &[u8])]) -> bool {
        self.config.aof_disable_auto_gc
            && value_of(pairs, "aof-disable-auto-gc").is_some_and(|value| value.eq_ignore_ascii_case(b"no"))
            && (!matches!(self.aof.stage, Stage::None) || !self.aof.manifest.history.is_empty())
    }

    /// Has the helper thread do what is needed next, which is to be waited for; `false` when nothing is any more.
    pub fn prepare_aof(&mut self, preparation: &mut Preparation) -> bool {
        let Some(step) = self.next_step(preparation) else { return false };
        if let Step::Open = step {
            let (directory, name) = (self.aof.directory.clone(), self.aof.directory.temporary_increment());
            self.aof.helper.run(move |_| {
                let opened = directory.create().and_then(|()| directory.open_increment(&name, true));
                Outcome::Opened(opened.map(|file| Arc::new(file) as Arc<dyn Storage>))
            });
        }
        preparation.waited = true;
        true
    }

    fn next_step(&self, preparation: &Preparation) -> Option<Step> {
        let aof = &self.aof;
        let is_on = aof.state != AofState::Off;
        let stays = match preparation.goal {
            Goal::On => is_on || self.config.appendonly,
            Goal::Resumed => is_on || !self.config.appendonly,
            Goal::Off => !is_on,
            Goal::Kept => true,
        };
        if stays {
            return None;
        }
        let turns_off = preparation.goal == Goal::Off;
        if !matches!(aof.stage, Stage::None) || turns_off && !preparation.waited {
            return Some(Step::Wait);
        }
        // The rewrite that has to wait for another child opens its increment when it begins.
        let begins = !turns_off && !self.persistence.has_child() && !aof.rewrites.running;
        (begins && aof.opened.is_none()).then_some(Step::Open)
    }

    /// The increment is open that the file may be turned on with, or could not be opened.
    pub(super) fn opened(&mut self, result: Result<Arc<dyn Storage>, String>) {
        if self.aof.state == AofState::Off {
            self.aof.opened = Some(result);
        } else if let Ok(file) = result {
            // A transaction was faster.
            self.aof.helper.close(file);
        }
    }

    /// Nobody needs the increment any more that was opened and not taken.
    fn give_up_opened(&mut self) {
        if let Some(Ok(file)) = self.aof.opened.take() {
            self.aof.helper.close(file);
            let name = self.aof.directory.temporary_increment();
            self.aof.helper.remove(vec![self.aof.directory.file(&name)]);
        }
    }

    /// Sets the options of a request that has waited.
    ///
    /// # Errors
    /// Which option cannot be set, and why.
    pub fn end_change(
        &mut self,
        keyspace: &mut Keyspace,
        change: &PendingChange,
    ) -> Result<(), CommandError> {
        let pairs: Vec<(&[u8], &[u8])> =
            change.pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let context =
            SetContext { loading: self.persistence.is_loading(), local_client: change.local_client };
        let outcome = set_options(keyspace, self, &pairs, context);
        self.give_up_opened();
        outcome
    }

    /// Whether the helper thread is to be waited for once more until the history is deleted that a change has set free: what
    /// it is doing to the directory comes first.
    pub fn goes_on_cleaning(&self, change: &mut PendingChange) -> bool {
        let goes_on = change.cleans;
        change.cleans &= self.aof.cleaning_due;
        goes_on
    }

    /// Waits until history is deleted that options have just set free.
    fn settle_cleaning(&mut self) {
        // What it is doing to the directory comes first.
        self.settle_aof();
        self.settle_aof();
    }

    /// Replies to who waits for a change.
    pub fn answer_change(&mut self, change: &PendingChange, outcome: Result<(), CommandError>) {
        if let Some(waiter) = change.waiter {
            self.answer(waiter, "set", outcome);
        }
    }

    /// Begins to turn the append-only file on again that was stopped for the data of a primary, once these are there.
    pub fn resume_aof(&mut self) {
        if self.config.appendonly && self.aof.state == AofState::Off && !self.aof.is_resuming {
            self.aof.is_resuming = true;
            self.ask(Task::ResumeAof);
        }
    }

    /// Turns it on, if it is still to be. What fails is tried again by the cron.
    pub fn end_resumption(&mut self, keyspace: &mut Keyspace) {
        self.aof.is_resuming = false;
        let waits = self.replication.is_replica() && !self.primary_link.is_up();
        let is_due = self.config.appendonly && self.aof.state == AofState::Off;
        if is_due
            && !waits
            && !self.persistence.is_loading()
            && let Err(error) = self.start_aof(keyspace)
        {
            tracing::warn!(
                "Failed enabling the AOF after successful primary synchronization! Trying it again in one second. \
                 ({error})"
            );
        }
        self.give_up_opened();
    }
}
