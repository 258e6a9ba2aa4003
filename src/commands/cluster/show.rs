//! What shows the cluster: INFO, NODES, SLOTS, SHARDS, LINKS and the ids.

use super::{CLUSTER_COMMAND, SHOW_COMMAND, enabled};
use crate::config::{ClusterPreferredEndpointType, Config};
use crate::resp::Reply;
use crate::server::Context;
use crate::server::cluster::{Cluster, Endpoint};
use crate::server::command::{Args, Command, Outcome, flag};

/// What the client is told of where this node is.
fn endpoint(cx: &Context<'_>) -> Endpoint {
    // An IPv6 address is the one with colons in it.
    let over_ipv6 = cx.client().is_some_and(|client| {
        !client.unix_socket && client.address.bytes().filter(|byte| *byte == b':').count() > 1
    });
    Endpoint::for_client(&cx.server.config, over_ipv6)
}

pub(super) const INFO: Command = Command {
    name: "info",
    arity: 2,
    summary: "Shows the state of the cluster.",
    tips: &["nondeterministic_output"],
    handler: info,
    ..SHOW_COMMAND
};

fn info(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    let fields =
        cx.server.cluster.as_deref().map(|cluster| cluster.info(&cx.server.config)).unwrap_or_default();
    let text: String = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

pub(super) const NODES: Command = Command {
    name: "nodes",
    arity: 2,
    complexity: "O(N), N nodes.",
    summary: "Shows every node as a line of text.",
    tips: &["nondeterministic_output"],
    handler: nodes,
    ..SHOW_COMMAND
};

fn nodes(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let endpoint = endpoint(cx);
    let config = cx.server.config.clone();
    let line = enabled(cx)?.node_line(&config, &endpoint);
    cx.reply.verbatim(b"txt", format!("{line}\n").as_bytes());
    Ok(())
}

pub(super) const MYID: Command =
    Command { name: "myid", arity: 2, summary: "Gives the id of this node.", handler: myid, ..SHOW_COMMAND };

fn myid(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = enabled(cx)?.id.clone();
    cx.reply.bulk(id.as_bytes());
    Ok(())
}

pub(super) const MYSHARDID: Command = Command {
    name: "myshardid",
    arity: 2,
    since: "7.2.0",
    summary: "Gives the id of this node's shard.",
    tips: &["nondeterministic_output"],
    handler: myshardid,
    ..SHOW_COMMAND
};

fn myshardid(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = enabled(cx)?.shard_id.clone();
    cx.reply.bulk(id.as_bytes());
    Ok(())
}

pub(super) const LINKS: Command = Command {
    name: "links",
    arity: 2,
    flags: flag::STALE,
    since: "7.0.0",
    complexity: "O(N), N nodes.",
    summary: "Shows the connections to other nodes.",
    tips: &["nondeterministic_output"],
    handler: links,
    ..CLUSTER_COMMAND
};

fn links(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    cx.reply.array(0);
    Ok(())
}

pub(super) const SLOTS_REPLY: Command = Command {
    name: "slots",
    arity: 2,
    complexity: "O(N), N nodes.",
    summary: "Shows which node serves which slots.",
    history: &[
        ("4.0.0", "Shows ids."),
        ("7.0.0", "Shows more about where a node is."),
        ("9.1.0", "Shows the availability zone."),
    ],
    tips: &["nondeterministic_output"],
    handler: slots,
    ..SHOW_COMMAND
};

fn slots(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    let endpoint = endpoint(cx);
    let Context { server, reply, .. } = cx;
    let Some(cluster) = server.cluster.as_deref() else { return Ok(()) };
    let ranges = cluster.ranges();
    reply.array(ranges.len());
    for (start, end) in ranges {
        reply.array(3);
        reply.int(start.into());
        reply.int(end.into());
        reply_node(reply, cluster, &server.config, &endpoint);
    }
    Ok(())
}

/// A node in CLUSTER SLOTS: what to connect to, its port and id, and what else is known of where it is.
fn reply_node(reply: &mut Reply, cluster: &Cluster, config: &Config, endpoint: &Endpoint) {
    let hostname = config.cluster_announce_hostname.as_bytes();
    let zone = config.availability_zone.as_bytes();
    let preferred = config.cluster_preferred_endpoint_type;
    reply.array(4);
    reply_preferred(reply, config, endpoint);
    reply.int(endpoint.port.into());
    reply.bulk(cluster.id.as_bytes());
    let more = [
        ("ip", endpoint.ip.as_bytes(), preferred != ClusterPreferredEndpointType::Ip),
        ("hostname", hostname, preferred != ClusterPreferredEndpointType::Hostname && !hostname.is_empty()),
        ("availability-zone", zone, !zone.is_empty()),
    ];
    reply.map(more.iter().filter(|(_, _, told)| *told).count());
    for (name, value, _) in more.iter().filter(|(_, _, told)| *told) {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
    }
}

/// What clients are to connect to.
fn reply_preferred(reply: &mut Reply, config: &Config, endpoint: &Endpoint) {
    match config.cluster_preferred_endpoint_type {
        ClusterPreferredEndpointType::Ip => reply.bulk(endpoint.ip.as_bytes()),
        ClusterPreferredEndpointType::Hostname if config.cluster_announce_hostname.is_empty() => {
            reply.bulk(b"?")
        }
        ClusterPreferredEndpointType::Hostname => reply.bulk(config.cluster_announce_hostname.as_bytes()),
        ClusterPreferredEndpointType::UnknownEndpoint => reply.null(),
    }
}

pub(super) const SHARDS: Command = Command {
    name: "shards",
    arity: 2,
    since: "7.0.0",
    complexity: "O(N), N nodes.",
    summary: "Shows the shards: their slots and their nodes.",
    history: &[("9.1.0", "Shows the id of the shard and the availability zones of its nodes.")],
    tips: &["nondeterministic_output"],
    handler: shards,
    ..SHOW_COMMAND
};

fn shards(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    enabled(cx)?;
    let endpoint = endpoint(cx);
    let Context { server, reply, .. } = cx;
    let Some(cluster) = server.cluster.as_deref() else { return Ok(()) };
    let ranges = cluster.ranges();
    reply.array(1);
    reply.map(3);
    reply.bulk(b"slots");
    reply.array(2 * ranges.len());
    for (start, end) in ranges {
        reply.int(start.into());
        reply.int(end.into());
    }
    reply.bulk(b"nodes");
    reply.array(1);
    let offset = server.replication.offset();
    reply_shard_node(reply, cluster, &server.config, &endpoint, offset);
    reply.bulk(b"id");
    reply.bulk(cluster.shard_id.as_bytes());
    Ok(())
}

fn reply_shard_node(reply: &mut Reply, cluster: &Cluster, config: &Config, endpoint: &Endpoint, offset: i64) {
    let hostname = config.cluster_announce_hostname.as_bytes();
    let zone = config.availability_zone.as_bytes();
    reply.map(7 + usize::from(!hostname.is_empty()) + usize::from(!zone.is_empty()));
    reply.bulk(b"id");
    reply.bulk(cluster.id.as_bytes());
    reply.bulk(b"port");
    reply.int(endpoint.port.into());
    reply.bulk(b"ip");
    reply.bulk(endpoint.ip.as_bytes());
    reply.bulk(b"endpoint");
    match config.cluster_preferred_endpoint_type {
        // Here a word stands for what is not known.
        ClusterPreferredEndpointType::UnknownEndpoint => reply.bulk(b""),
        _ => reply_preferred(reply, config, endpoint),
    }
    if !hostname.is_empty() {
        reply.bulk(b"hostname");
        reply.bulk(hostname);
    }
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"replication-offset");
    reply.int(offset);
    reply.bulk(b"health");
    reply.bulk(b"online");
    if !zone.is_empty() {
        reply.bulk(b"availability-zone");
        reply.bulk(zone);
    }
}
