//! WAIT and WAITAOF: wait until replicas have what was written, in memory or on disk.

use super::super::arguments::{count, integer, integer_within};
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::replication::ReplicaWait;

pub(super) const WAIT: Command = Command {
    name: "wait",
    arity: 3,
    flags: flag::BLOCKING,
    categories: category::CONNECTION,
    group: Group::Generic,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Waits until enough replicas have what this client wrote.",
    arguments: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    handler: wait,
    ..Command::DEFAULT
};

pub(super) const WAITAOF: Command = Command {
    name: "waitaof",
    arity: 4,
    flags: flag::BLOCKING,
    categories: category::CONNECTION,
    group: Group::Generic,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Waits until enough disks have what this client wrote: this server's, and replicas'.",
    arguments: &[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    handler: waitaof,
    ..Command::DEFAULT
};

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.server.replication.is_replica() {
        return Err(CommandError::WaitOnReplica);
    }
    let replicas = integer(args.at(1))?;
    let deadline_ms = deadline(cx, args.at(2))?;
    wait_for(cx, ReplicaWait { offset: write_offset(cx), replicas, on_disk: None }, deadline_ms)
}

fn waitaof(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let local = integer_within(args.at(1), 0..=1, CommandError::OutOfLimits(0, 1))? == 1;
    let replicas = i64::try_from(count(args.at(2))?).unwrap_or(i64::MAX);
    let deadline_ms = deadline(cx, args.at(3))?;
    if cx.server.replication.is_replica() {
        return Err(CommandError::WaitaofOnReplica);
    }
    if local && !cx.server.config.appendonly {
        return Err(CommandError::WaitaofWithoutAof);
    }
    let on_disk = Some(local);
    wait_for(cx, ReplicaWait { offset: write_offset(cx), replicas, on_disk }, deadline_ms)
}

fn write_offset(cx: &Context<'_>) -> i64 {
    cx.client().map_or(0, |client| client.write_offset)
}

fn deadline(cx: &Context<'_>, timeout: &[u8]) -> Result<Option<i64>, CommandError> {
    let timeout_ms = parse_i64(timeout).ok_or(CommandError::TimeoutNotAnInteger)?;
    if timeout_ms < 0 {
        return Err(CommandError::TimeoutNegative);
    }
    match timeout_ms {
        0 => Ok(None),
        _ => Ok(Some(cx.now_ms().checked_add(timeout_ms).ok_or(CommandError::TimeoutOutOfRange)?)),
    }
}

fn wait_for(cx: &mut Context<'_>, wait: ReplicaWait, deadline_ms: Option<i64>) -> Outcome {
    let reached = cx.server.reached(wait);
    let request = BlockRequest {
        keys: Vec::new(),
        deadline_ms,
        timeout_reply: TimeoutReply::Replicas(wait),
        wants_deletion: false,
        request: None,
    };
    if wait.is_over(reached) || !cx.block(request) {
        reached.write(wait, cx.reply);
    } else {
        cx.server.wait_for_replicas(cx.client);
    }
    Ok(())
}
