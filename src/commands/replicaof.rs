//! REPLICAOF and its older name SLAVEOF: whom this server replicates.

use super::arguments::is_word;
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};

pub(super) const COMMANDS: &[Command] = &[REPLICAOF, SLAVEOF];

const REPLICAOF: Command = Command {
    name: "replicaof",
    arity: 3,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::STALE,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Makes the server a replica of another one, or a primary.",
    arguments: ARGUMENTS,
    handler: replicaof,
    ..Command::DEFAULT
};

const SLAVEOF: Command = Command {
    name: "slaveof",
    since: "1.0.0",
    summary: "Makes the server a replica of another one, or a primary.",
    ..REPLICAOF
};

const ARGUMENTS: &[Arg] = &[Arg::one_of(
    "args",
    &[
        Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
        Arg::block("no-one", &[Arg::flag("no", "NO"), Arg::flag("one", "ONE")]),
    ],
)];

fn replicaof(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.server.cluster.is_some() {
        return Err(CommandError::custom("ERR REPLICAOF not allowed in cluster mode."));
    }
    if cx.server.replication.failover.is_some() {
        return Err(CommandError::ReplicaofFailover);
    }
    let (host, port) = (args.at(1), args.at(2));
    let hide = cx.server.config.hide_user_data_from_log;
    let user = cx.client().map_or_else(String::new, |client| client.short_description(hide));
    if is_word(host, "no") && is_word(port, "one") {
        if cx.server.replication.is_replica() {
            cx.server.unfollow();
            tracing::info!("PRIMARY MODE enabled (user request from '{user}')");
        }
        cx.reply.ok();
        return Ok(());
    }
    if cx.client().is_some_and(|client| client.replica.as_ref().is_some_and(|replica| replica.is_attached()))
    {
        return Err(CommandError::ReplicaCannotFollow);
    }
    let number = parse_i64(port).ok_or(CommandError::InvalidPrimaryPort)?;
    let port = u16::try_from(number).map_err(|_| CommandError::InvalidPrimaryPort)?;
    if let Some(primary) = &cx.server.replication.primary
        && primary.host.eq_ignore_ascii_case(host)
        && primary.port == port
    {
        tracing::info!(
            "REPLICAOF would result into synchronization with the primary we are already connected with. No operation \
             performed."
        );
        cx.reply.simple("OK Already connected to specified master");
        return Ok(());
    }
    cx.server.follow(host, port, Some(cx.client));
    tracing::info!("REPLICAOF {}:{port} enabled (user request from '{user}')", String::from_utf8_lossy(host));
    cx.reply.ok();
    Ok(())
}
