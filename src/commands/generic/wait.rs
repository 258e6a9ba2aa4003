//! WAIT: until enough replicas have what was written.

use super::super::arguments::integer;
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};

pub(super) const WAIT: Command = Command {
    name: "wait",
    arity: 3,
    flags: flag::BLOCKING,
    categories: category::CONNECTION,
    group: Group::Generic,
    since: "3.0.0",
    summary: "Waits until enough replicas have what this client wrote.",
    arguments: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    handler: wait,
    ..Command::DEFAULT
};

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let wanted = integer(args.at(1))?;
    let timeout_ms = parse_i64(args.at(2)).ok_or(CommandError::TimeoutNotAnInteger)?;
    if timeout_ms < 0 {
        return Err(CommandError::TimeoutNegative);
    }
    let deadline_ms = match timeout_ms {
        0 => None,
        _ => Some(cx.now_ms().checked_add(timeout_ms).ok_or(CommandError::TimeoutOutOfRange)?),
    };
    // There are no replicas, so what is waited for never comes.
    let request = BlockRequest {
        keys: Vec::new(),
        deadline_ms,
        timeout_reply: TimeoutReply::Integer(0),
        wants_deletion: false,
        request: None,
    };
    if wanted <= 0 || !cx.block(request) {
        cx.reply.int(0);
    }
    Ok(())
}
