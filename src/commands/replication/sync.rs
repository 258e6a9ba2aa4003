//! PSYNC and SYNC: a client becomes a replica.

use super::super::arguments::{integer, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};
use crate::server::replication::replica_name;

pub(super) const PSYNC: Command = Command {
    name: "psync",
    arity: -3,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NO_MULTI | flag::NOSCRIPT,
    group: Group::Server,
    since: "2.8.0",
    summary: "Makes the connection a replica's, which goes on from an offset if that is possible. For servers.",
    arguments: &[Arg::string("replicationid"), Arg::integer("offset")],
    handler: psync,
    ..Command::DEFAULT
};

pub(super) const SYNC: Command = Command {
    name: "sync",
    arity: 1,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NO_MULTI | flag::NOSCRIPT,
    group: Group::Server,
    since: "1.0.0",
    summary: "Makes the connection a replica's, which gets all of the data. For servers.",
    handler: sync,
    ..Command::DEFAULT
};

/// Whether the client can become a replica now; `false` if it is one already.
fn may_begin(cx: &mut Context<'_>) -> Result<bool, CommandError> {
    let has_output = !cx.reply.is_empty();
    let Some(client) = cx.client_mut() else { return Ok(false) };
    let replica = client.replica.get_or_insert_default();
    if replica.is_attached() {
        return Ok(false);
    }
    let (filter, capabilities) = (replica.filter, replica.capabilities);
    if cx.server.replication.failover.is_some() {
        return Err(CommandError::NoMasterLinkFailover);
    }
    if cx.server.replication.is_replica() && !cx.server.primary_link.is_up() {
        return Err(CommandError::NoMasterLink);
    }
    if has_output {
        return Err(CommandError::SyncPendingOutput);
    }
    if filter.is_partial() && !capabilities.eof {
        return Err(CommandError::SyncFilterWithoutEof);
    }
    let name = cx.client().map(replica_name).unwrap_or_default();
    tracing::info!("Replica {name} asks for synchronization");
    Ok(true)
}

/// `PSYNC <id> <offset> FAILOVER`: the primary asks this replica to take its place.
fn take_over(cx: &mut Context<'_>, id: &[u8]) -> Result<(), CommandError> {
    tracing::info!("Failover request received for replid {}.", String::from_utf8_lossy(id));
    if !cx.server.replication.is_replica() {
        return Err(CommandError::PsyncFailoverToPrimary);
    }
    if !id.eq_ignore_ascii_case(cx.server.replication.id.as_bytes()) {
        return Err(CommandError::PsyncFailoverId);
    }
    cx.server.unfollow();
    let hide = cx.server.config.hide_user_data_from_log;
    let user = cx.client().map(|client| client.short_description(hide)).unwrap_or_default();
    tracing::info!("PRIMARY MODE enabled (failover request from '{user}')");
    Ok(())
}

fn psync(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let attached =
        cx.client().and_then(|client| client.replica.as_ref()).is_some_and(|one| one.is_attached());
    if args.len() > 3 && is_word(args.at(3), "failover") && !attached {
        take_over(cx, args.at(1))?;
    }
    if !may_begin(cx)? {
        return Ok(());
    }
    let id = args.at(1);
    let offset = integer(args.at(2)).inspect_err(|_| {
        let name = cx.client().map(replica_name).unwrap_or_default();
        tracing::warn!("Replica {name} asks for synchronization but with a wrong offset");
    })?;
    if let Some(told) = cx.server.try_partial_sync(cx.client, id, offset) {
        cx.server.replication.syncs.partial += 1;
        cx.reply.raw(&told);
        return Ok(());
    }
    if id.first() != Some(&b'?') {
        cx.server.replication.syncs.partial_refused += 1;
    }
    let Some(client) = cx.client() else { return Ok(()) };
    if client.replica.as_ref().is_some_and(|replica| replica.capabilities.dual_channel) {
        tracing::info!(
            "Dual channel replication: Replica {} is capable of dual channel synchronization, and partial sync isn't \
             possible. Full sync will continue with dedicated RDB channel.",
            replica_name(client)
        );
        cx.reply.raw(b"+DUALCHANNELSYNC\r\n");
        return Ok(());
    }
    begin_full(cx);
    Ok(())
}

fn sync(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if may_begin(cx)? {
        if let Some(replica) = cx.client_mut().and_then(|client| client.replica.as_mut()) {
            replica.before_psync = true;
        }
        begin_full(cx);
    }
    Ok(())
}

fn begin_full(cx: &mut Context<'_>) {
    let told = cx.server.begin_full_sync(cx.client);
    cx.reply.raw(&told);
}
