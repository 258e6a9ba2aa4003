//! What replicas and their primaries say to each other, and what clients ask of replication.

mod failover;
mod replconf;
mod role;
mod sync;
mod wait;

use crate::server::command::Command;

/// The family.
pub(super) const COMMANDS: &[Command] =
    &[failover::FAILOVER, replconf::REPLCONF, sync::PSYNC, sync::SYNC, role::ROLE, wait::WAIT, wait::WAITAOF];
