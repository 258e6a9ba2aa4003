//! What shows the cluster: INFO, NODES, SLOTS, SHARDS, LINKS and the ids.

use super::{CLUSTER_COMMAND, SHOW_COMMAND, enabled};
use crate::config::{ClusterPreferredEndpointType, Config};
use crate::resp::Reply;
use crate::server::Context;
use crate::server::cluster::{Link, Node, NodeKey, Reader, node_flag, reader_of};
use crate::server::command::{Args, Command, Outcome, flag};

/// What the client is told of addresses.
fn reader(cx: &Context<'_>) -> Reader {
    cx.client().map_or(Reader::Client(false), reader_of)
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
    let fields = enabled(cx)?.info();
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
    let reader = reader(cx);
    let lines = enabled(cx)?.lines(reader);
    cx.reply.verbatim(b"txt", lines.as_bytes());
    Ok(())
}

pub(super) const MYID: Command =
    Command { name: "myid", arity: 2, summary: "Gives the id of this node.", handler: myid, ..SHOW_COMMAND };

fn myid(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = enabled(cx)?.me().id;
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
    let id = enabled(cx)?.me().shard;
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
    let Context { server, reply, .. } = cx;
    let Some(cluster) = server.cluster.as_deref() else { return Ok(()) };
    let ids = cluster.nodes.iter().flat_map(|(_, node)| [(node, node.link), (node, node.inbound)]);
    let links: Vec<(&Node, &Link)> =
        ids.filter_map(|(node, id)| Some((node, cluster.links.get(id?)?))).collect();
    reply.array(links.len());
    for (node, link) in links {
        let bytes = link.queued_bytes() as i64;
        reply.map(6);
        reply.bulk(b"direction");
        reply.bulk(if link.inbound { b"from" } else { b"to" });
        reply.bulk(b"node");
        reply.bulk(node.id.as_bytes());
        reply.bulk(b"create-time");
        reply.int(link.created_ms);
        reply.bulk(b"events");
        reply.bulk(if link.stuck { b"rw" } else { b"r" });
        reply.bulk(b"send-buffer-allocated");
        reply.int(bytes);
        reply.bulk(b"send-buffer-used");
        reply.int(bytes);
    }
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
    let reader = reader(cx);
    let Context { server, reply, .. } = cx;
    let Some(cluster) = server.cluster.as_deref() else { return Ok(()) };
    let rows = cluster.rows();
    reply.array(rows.len());
    for (start, end, owner) in rows {
        // A replica without data serves nothing.
        let serves =
            |key: &NodeKey| !cluster.nodes[*key].is(node_flag::FAIL) && server.offset_of(cluster, *key) != 0;
        let replicas: Vec<NodeKey> = cluster.replicas_of(owner).into_iter().filter(serves).collect();
        reply.array(3 + replicas.len());
        reply.int(start.into());
        reply.int(end.into());
        for key in std::iter::once(owner).chain(replicas) {
            reply_node(reply, &cluster.nodes[key], &server.config, reader);
        }
    }
    Ok(())
}

/// A node in CLUSTER SLOTS: what to connect to, its port and id, and what else is known of where it is.
fn reply_node(reply: &mut Reply, node: &Node, config: &Config, reader: Reader) {
    let hostname = node.announced.hostname.as_bytes();
    let zone = node.announced.zone.as_bytes();
    let preferred = config.cluster_preferred_endpoint_type;
    reply.array(4);
    reply_preferred(reply, config, node, reader);
    reply.int(node.port_for(reader).into());
    reply.bulk(node.id.as_bytes());
    let more = [
        ("ip", node.ip_for(reader).as_bytes(), preferred != ClusterPreferredEndpointType::Ip),
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
fn reply_preferred(reply: &mut Reply, config: &Config, node: &Node, reader: Reader) {
    let hostname = &node.announced.hostname;
    match config.cluster_preferred_endpoint_type {
        ClusterPreferredEndpointType::Ip => reply.bulk(node.ip_for(reader).as_bytes()),
        ClusterPreferredEndpointType::Hostname if hostname.is_empty() => reply.bulk(b"?"),
        ClusterPreferredEndpointType::Hostname => reply.bulk(hostname.as_bytes()),
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
    let reader = reader(cx);
    let Context { server, reply, .. } = cx;
    let Some(cluster) = server.cluster.as_deref() else { return Ok(()) };
    let shards = cluster.shards();
    reply.array(shards.len());
    for (id, nodes) in shards {
        reply.map(3);
        reply.bulk(b"slots");
        let owner = nodes.iter().find(|key| cluster.nodes[**key].slot_count > 0);
        let ranges = owner.map(|key| cluster.nodes[*key].slots.ranges()).unwrap_or_default();
        reply.array(2 * ranges.len());
        for (start, end) in ranges {
            reply.int(start.into());
            reply.int(end.into());
        }
        reply.bulk(b"nodes");
        reply.array(nodes.len());
        for key in nodes {
            let offset = server.offset_of(cluster, key);
            reply_shard_node(reply, &cluster.nodes[key], &server.config, reader, offset);
        }
        reply.bulk(b"id");
        reply.bulk(id.as_bytes());
    }
    Ok(())
}

fn reply_shard_node(reply: &mut Reply, node: &Node, config: &Config, reader: Reader, offset: i64) {
    let hostname = node.announced.hostname.as_bytes();
    let zone = node.announced.zone.as_bytes();
    let ports = [("port", node.port_for(reader)), ("tls-port", node.address.tls_port)];
    let ports = ports.iter().filter(|(_, port)| *port != 0);
    reply.map(6 + ports.clone().count() + usize::from(!hostname.is_empty()) + usize::from(!zone.is_empty()));
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    for (name, port) in ports {
        reply.bulk(name.as_bytes());
        reply.int((*port).into());
    }
    reply.bulk(b"ip");
    reply.bulk(node.ip_for(reader).as_bytes());
    reply.bulk(b"endpoint");
    match config.cluster_preferred_endpoint_type {
        // Here an empty text stands for what is not known.
        ClusterPreferredEndpointType::UnknownEndpoint => reply.bulk(b""),
        _ => reply_preferred(reply, config, node, reader),
    }
    if !hostname.is_empty() {
        reply.bulk(b"hostname");
        reply.bulk(hostname);
    }
    let is_replica = node.is_replica();
    reply.bulk(b"role");
    reply.bulk(if is_replica { b"replica" } else { b"master" });
    reply.bulk(b"replication-offset");
    reply.int(offset);
    reply.bulk(b"health");
    reply.bulk(match offset {
        _ if node.is(node_flag::FAIL) => b"fail".as_slice(),
        0 if is_replica => b"loading",
        _ => b"online",
    });
    if !zone.is_empty() {
        reply.bulk(b"availability-zone");
        reply.bulk(zone);
    }
}
