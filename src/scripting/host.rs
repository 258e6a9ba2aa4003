//! What a script needs of the world around it.

use crate::resp::ArgRange;

/// Whether a run may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// For so much more work, in calls, jumps and the like.
    Continue(i64),
    /// Others are to run first.
    Pause,
    /// The script was killed.
    Kill,
}

/// Where the effects of a script's commands go; `redis.set_repl`.
pub mod replication {
    /// Nowhere.
    pub const NONE: u8 = 0;
    /// To the append-only file.
    pub const AOF: u8 = 1;
    /// To the replicas.
    pub const REPLICAS: u8 = 2;
    /// To both.
    pub const ALL: u8 = 3;
}

/// The arguments of a command that a script calls.
#[derive(Debug, Default)]
pub struct CommandRequest {
    /// One after the other.
    pub buffer: Vec<u8>,
    /// Where each is.
    pub ranges: Vec<ArgRange>,
}

impl CommandRequest {
    /// Forgets the arguments.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.ranges.clear();
    }

    /// Adds an argument.
    pub fn push(&mut self, argument: &[u8]) {
        self.push_with(|buffer| buffer.extend_from_slice(argument));
    }

    /// Adds an argument that is written in place.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        write(&mut self.buffer);
        self.ranges.push(ArgRange { start, len: self.buffer.len() - start });
    }
}

/// The server as a script sees it.
pub trait Host {
    /// Asked from time to time.
    fn tick(&mut self) -> Tick;

    /// The request to fill before [`Self::run`].
    fn request(&mut self) -> &mut CommandRequest;

    /// Runs the request. Its reply, errors included, is then what [`Self::reply`] gives.
    fn run(&mut self);

    /// The bytes of the last reply.
    fn reply(&self) -> &[u8];

    /// Chooses the protocol of replies from here on.
    fn set_resp3(&mut self, resp3: bool);

    /// Writes to the log. Levels are 0 (debug) to 3 (warning).
    fn log(&mut self, level: u8, message: &[u8]);

    /// Whether the user may run the request; `None` when there is no such command.
    fn may_run(&mut self) -> Option<bool>;

    /// See [`replication`].
    fn set_replication(&mut self, targets: u8);
}
