//! ROLE: what this server is in replication, for programs.

use crate::replication::ReplicaState;
use crate::server::Context;
use crate::server::command::{Args, Command, Group, Outcome, category, flag};
use crate::server::replication::replica_address;

pub(super) const ROLE: Command = Command {
    name: "role",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST,
    categories: category::ADMIN | category::DANGEROUS,
    group: Group::Server,
    since: "2.8.12",
    complexity: "O(1)",
    summary: "Replies whether this server is a primary or a replica, and of whom.",
    handler: role,
    ..Command::DEFAULT
};

fn role(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Context { server, reply, .. } = cx;
    if let Some(primary) = &server.replication.primary {
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(&primary.host);
        reply.int(i64::from(primary.port));
        reply.bulk(server.primary_link.state.name().as_bytes());
        reply.int(server.applied_offset().unwrap_or(-1));
        return Ok(());
    }
    let replicas: Vec<_> = server
        .replication
        .replicas()
        .iter()
        .filter_map(|key| {
            let client = server.clients.get(*key)?;
            let replica = client.replica.as_deref()?;
            (replica.state == ReplicaState::Online)
                .then(|| (replica_address(client, replica), replica.port, replica.acknowledged))
        })
        .collect();
    reply.array(3);
    reply.bulk(b"master");
    reply.int(server.replication.offset());
    reply.array(replicas.len());
    for (address, port, acknowledged) in replicas {
        reply.array(3);
        reply.bulk(address.as_bytes());
        reply.bulk_int(port);
        reply.bulk_int(acknowledged);
    }
    Ok(())
}
