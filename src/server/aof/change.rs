//! CONFIG SET appendonly: the option changes once the helper thread has done what that needs, and only the client waits.
//!
//! To turn the file on it opens the increment that the rewrite begins with; to turn it off it ends what it is doing to the
//! directory. These requests take turns, since each depends on what the one before has left. Whatever else a request
//! sets changes at the same instant. Inside of a transaction the engine thread waits.

use std::sync::Arc;

use super::helper::{Outcome, Storage};
use super::{AofState, Stage};
use crate::config::{SetContext, find_option};
use crate::keyspace::Keyspace;
use crate::memory::vec_usage;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::file_save::Counted;
use crate::server::waiter::Waiter;
use crate::server::{Context, Server, Task, set_options};

/// Whether an option of this name is the one that turns the file on and off.
fn is_switch(name: &[u8]) -> bool {
    find_option(name).is_some_and(|(spec, _)| spec.name == "appendonly")
}

/// A request that turns the append-only file on or off, and who waits for it.
#[derive(Debug)]
pub struct PendingChange {
    /// Names and values of all options that it sets.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether it turns the file on.
    on: bool,
    local_client: bool,
    waiter: Option<Waiter>,
    /// The helper thread has been waited for.
    waited: bool,
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
    /// Sets options, the append-only file's switch among them, as soon as nothing is to be waited for; `false`: nothing is
    /// now, or nobody can wait.
    pub fn set_later(&mut self, pairs: &[(&[u8], &[u8])]) -> bool {
        let Some((_, value)) = pairs.iter().find(|(name, _)| is_switch(name)) else { return false };
        let on = value.eq_ignore_ascii_case(b"yes");
        if self.in_transaction {
            // Replies of others may wait for what it syncs.
            self.server.settle_aof();
            return false;
        }
        if on == (self.server.aof.state != AofState::Off) {
            return false;
        }
        let waits = self.block(BlockRequest::for_event(TimeoutReply::Never));
        if waits {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let bytes = pairs.iter().map(|(name, value)| vec_usage(name) + vec_usage(value)).sum::<usize>();
            let change = PendingChange {
                on,
                local_client: self.client().is_some_and(|client| client.is_local()),
                waiter: self.server.waiter(self.client),
                waited: false,
                _counted: Counted::new(&self.server.file_saves, bytes + vec_usage(&pairs)),
                pairs,
            };
            self.server.ask(Task::ChangeAof(Box::new(change)));
        }
        waits
    }
}

impl Server {
    /// Has the helper thread do what a change needs next, and `tell` there that it is done; `false` when nothing is to be
    /// waited for any more.
    pub fn prepare_change(
        &mut self,
        change: &mut PendingChange,
        tell: impl FnOnce() + Send + 'static,
    ) -> bool {
        match self.next_step(change) {
            None => return false,
            Some(Step::Wait) => self.aof.helper.queue().submit(|_| tell()),
            Some(Step::Open) => {
                let (directory, name) =
                    (self.aof.directory.clone(), self.aof.directory.temporary_increment());
                self.aof.helper.run(move |_| {
                    let opened = directory.create().and_then(|()| directory.open_increment(&name, true));
                    Outcome::Opened(opened.map(|file| Arc::new(file) as Arc<dyn Storage>))
                });
                self.aof.helper.queue().submit(|_| tell());
            }
        }
        change.waited = true;
        true
    }

    fn next_step(&self, change: &PendingChange) -> Option<Step> {
        let aof = &self.aof;
        let is_on = aof.state != AofState::Off;
        if change.on == is_on || change.on && self.config.appendonly {
            return None;
        }
        if !matches!(aof.stage, Stage::None) || !change.on && !change.waited {
            return Some(Step::Wait);
        }
        // The rewrite that has to wait for another child opens its increment when it begins.
        let begins = change.on && !self.persistence.has_child() && !aof.rewrites.running;
        (begins && aof.opened.is_none()).then_some(Step::Open)
    }

    /// The increment is open that the file may be turned on with, or could not be opened.
    pub(super) fn opened(&mut self, result: Result<Arc<dyn Storage>, String>) {
        if self.aof.state == AofState::Off && !self.config.appendonly {
            self.aof.opened = Some(result);
        } else if let Ok(file) = result {
            // A transaction was faster.
            self.aof.helper.close(file);
        }
    }

    /// Sets the options of a request that has waited; the client has its reply.
    pub fn end_change(&mut self, keyspace: &mut Keyspace, change: &PendingChange) {
        let pairs: Vec<(&[u8], &[u8])> =
            change.pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let context =
            SetContext { loading: self.persistence.is_loading(), local_client: change.local_client };
        let outcome = set_options(keyspace, self, &pairs, context);
        if let Some(Ok(file)) = self.aof.opened.take() {
            self.aof.helper.close(file);
            let name = self.aof.directory.temporary_increment();
            self.aof.helper.remove(vec![self.aof.directory.file(&name)]);
        }
        if let Some(waiter) = change.waiter {
            self.answer(waiter, "set", outcome);
        }
    }
}
