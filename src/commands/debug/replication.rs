//! The parts of DEBUG that are about replication.

use crate::algorithms::numbers::parse_i64;
use crate::replication::ReplicationId;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Args, Outcome};

/// Begins a new history: no replica can go on from here.
pub(super) fn change_id(cx: &mut Context<'_>) {
    let replication = &mut cx.server.replication;
    tracing::info!("Changing replication IDs after receiving change-repl-id");
    replication.id = ReplicationId::random();
    replication.clear_second_id();
    cx.reply.ok();
}

/// Feeds a request to the replicas that is not run here.
pub(super) fn replicate(cx: &mut Context<'_>, args: Args<'_>) {
    let words: Vec<&[u8]> = args.from(2).iter().collect();
    cx.server.feed_request(&words);
    cx.reply.ok();
}

/// How long what a replica with two connections needs is kept when its second one does not come.
pub(super) fn set_psync_grace(cx: &mut Context<'_>, seconds: &[u8]) -> Outcome {
    cx.server.replication.psync_grace_seconds = parse_i64(seconds).ok_or(CommandError::NotAnInteger)?;
    cx.reply.ok();
    Ok(())
}
