//! CLUSTER's commands about other nodes: meeting and forgetting them, replicating them, taking their place.

use super::{
    ADMIN_COMMAND, CLUSTER_COMMAND, enabled, known_node, subcommand_syntax, to_change, unknown_node,
};
use crate::algorithms::numbers::parse_i64;
use crate::bus::NodeId;
use crate::commands::arguments::is_word;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::cluster::{Address, BUS_PORT_OFFSET, FailoverMode, reader_of};
use crate::server::command::{Arg, Args, Command, Outcome, flag};

/// Who asks, for the log.
pub(super) fn user(cx: &Context<'_>) -> String {
    let hide = cx.server.config.hide_user_data_from_log;
    cx.client().map_or_else(String::new, |client| client.short_description(hide))
}

fn error(text: &str) -> CommandError {
    CommandError::custom(format!("ERR {text}"))
}

pub(super) const RESET: Command = Command {
    name: "reset",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
    complexity: "O(N), N known nodes.",
    summary: "Makes this node one that serves no slot; HARD makes it another node.",
    arguments: &[
        Arg::one_of("reset-type", &[Arg::flag("hard", "HARD"), Arg::flag("soft", "SOFT")]).optional()
    ],
    handler: reset,
    ..CLUSTER_COMMAND
};

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let is_primary = to_change(cx)?.me().is_primary();
    let hard = match args.get(2) {
        _ if args.len() > 3 => return Err(subcommand_syntax(args)),
        None => false,
        Some(word) if is_word(word, "soft") => false,
        Some(word) if is_word(word, "hard") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    if is_primary && !cx.keys.keyspace.is_empty() {
        return Err(error("CLUSTER RESET can't be called with master nodes containing keys"));
    }
    tracing::info!("Cluster reset (user request from '{}').", user(cx));
    let now_ms = cx.server.now_ms;
    enabled(cx)?.reset(hard, now_ms);
    cx.reply.ok();
    Ok(())
}

pub(super) const MEET: Command = Command {
    name: "meet",
    arity: -4,
    summary: "Makes another node known to this one.",
    arguments: &[
        Arg::string("ip"),
        Arg::integer("port"),
        Arg::integer("cluster-bus-port").since("4.0.0").optional(),
    ],
    history: &[("4.0.0", "Takes the port of the bus.")],
    handler: meet,
    ..ADMIN_COMMAND
};

/// A port of a request: of the clients (`base`), or of the bus.
fn port(arg: &[u8], what: &str, range: &str) -> Result<u16, CommandError> {
    let invalid = || error(&format!("Invalid {what} port specified: {}", String::from_utf8_lossy(arg)));
    let number = parse_i64(arg).ok_or_else(invalid)?;
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| error(range))
}

fn meet(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const BUS_RANGE: &str = "Cluster bus port number is out of range";
    enabled(cx)?;
    if args.len() > 5 {
        return Err(subcommand_syntax(args));
    }
    let client_port = port(args.at(3), "base", "Port number is out of range")?;
    let bus_port = match args.get(4) {
        Some(arg) => port(arg, "bus", BUS_RANGE)?,
        None => client_port.checked_add(BUS_PORT_OFFSET).ok_or_else(|| error(BUS_RANGE))?,
    };
    let text = String::from_utf8_lossy(args.at(2));
    let ip: std::net::IpAddr = text.parse().map_err(|_| {
        let port = String::from_utf8_lossy(args.at(3));
        error(&format!("Invalid node address specified: {text}:{port}"))
    })?;
    tracing::info!("Cluster meet {text}:{client_port} (user request from '{}').", user(cx));
    let address = Address { ip: ip.to_string(), port: client_port, tls_port: 0, bus_port };
    let now_ms = cx.server.now_ms;
    // One that is under way does as well.
    enabled(cx)?.begin_handshake(address, now_ms);
    cx.reply.ok();
    Ok(())
}

pub(super) const FORGET: Command = Command {
    name: "forget",
    arity: 3,
    summary: "Removes another node from those that are known.",
    arguments: &[Arg::string("node-id")],
    handler: forget,
    ..ADMIN_COMMAND
};

fn forget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let id = args.at(2);
    let now_ms = cx.server.now_ms;
    let cluster = enabled(cx)?;
    let Some(node) = cluster.find(id) else {
        // Another node's gossip may have been faster.
        let gone = NodeId::parse(id).is_some_and(|id| cluster.is_forgotten(id, now_ms));
        if !gone {
            return Err(unknown_node(id));
        }
        cx.reply.ok();
        return Ok(());
    };
    if node == cluster.myself {
        return Err(error("I tried hard but I can't forget myself..."));
    }
    if cluster.me().is_replica() && cluster.me().primary == Some(node) {
        return Err(error("Can't forget my master!"));
    }
    let (id, user) = (String::from_utf8_lossy(id), user(cx));
    tracing::info!("Cluster forget {id} (user request from '{user}').");
    cx.server.with_cluster(|cluster, view| cluster.forget_for_a_while(node, view));
    cx.reply.ok();
    Ok(())
}

pub(super) const REPLICATE: Command = Command {
    name: "replicate",
    arity: -3,
    summary: "Makes this node a replica of another.",
    arguments: &[Arg::one_of(
        "args",
        &[
            Arg::string("node-id"),
            Arg::block("no-one", &[Arg::flag("no", "NO"), Arg::flag("one", "ONE")]).since("9.0.0"),
        ],
    )],
    history: &[("9.0.0", "`NO ONE` makes a replica a primary.")],
    handler: replicate,
    ..ADMIN_COMMAND
};

fn replicate(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    to_change(cx)?;
    match args.len() {
        3 => return replicate_node(cx, args.at(2)),
        4 if is_word(args.at(2), "no") && is_word(args.at(3), "one") => {}
        _ => return Err(subcommand_syntax(args)),
    }
    if enabled(cx)?.me().is_replica() {
        tracing::info!(
            "Stop replication and turning myself into empty primary (request from '{}').",
            user(cx)
        );
        enabled(cx)?.replicate_no_one();
    }
    cx.reply.ok();
    Ok(())
}

fn replicate_node(cx: &mut Context<'_>, id: &[u8]) -> Outcome {
    let node = known_node(cx, id)?;
    let is_empty = cx.keys.keyspace.is_empty();
    let cluster = enabled(cx)?;
    if node == cluster.myself {
        return Err(error("Can't replicate myself"));
    }
    if cluster.nodes[node].is_replica() {
        return Err(error("I can only replicate a master, not a replica."));
    }
    if cluster.me().is_primary() && (cluster.me().slot_count > 0 || !is_empty) {
        return Err(error("To set a master the node must be empty and without assigned slots."));
    }
    if cluster.me().primary != Some(node) {
        cluster.replicate(node);
    }
    cx.reply.ok();
    Ok(())
}

pub(super) const FAILOVER: Command = Command {
    name: "failover",
    arity: -2,
    summary: "Makes a replica take its primary's place.",
    arguments: &[
        Arg::one_of("options", &[Arg::flag("force", "FORCE"), Arg::flag("takeover", "TAKEOVER")]).optional()
    ],
    handler: failover,
    ..ADMIN_COMMAND
};

fn failover(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let from_primary = cx.client().is_some_and(|client| client.primary.is_some());
    let mut mode = FailoverMode::Agreed;
    let mut replica: Option<&[u8]> = None;
    let mut words = args.from(2).iter();
    while let Some(word) = words.next() {
        if is_word(word, "force") {
            if mode == FailoverMode::Agreed {
                mode = FailoverMode::Forced;
            }
        } else if is_word(word, "takeover") {
            mode = FailoverMode::Takeover;
        } else if from_primary && is_word(word, "replicaid") {
            replica = Some(words.next().ok_or(CommandError::Syntax)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let cluster = enabled(cx)?;
    if replica.is_some_and(|id| id != cluster.me().id.as_bytes()) {
        // It is for another replica of the same stream.
        cx.reply.ok();
        return Ok(());
    }
    if cluster.me().is_primary() {
        return Err(error("You should send CLUSTER FAILOVER to a replica"));
    }
    if cluster.me().primary.is_none() {
        return Err(error("I'm a replica but my master is unknown to me"));
    }
    if mode == FailoverMode::Agreed && cluster.primary_is_down() {
        return Err(error("Master is down or failed, please use CLUSTER FAILOVER FORCE"));
    }
    let user = user(cx);
    match mode {
        FailoverMode::Takeover => tracing::info!("Taking over the primary (user request from '{user}')."),
        FailoverMode::Forced if from_primary => {
            tracing::info!("Forced failover primary request accepted (primary request from '{user}').");
        }
        FailoverMode::Forced => {
            tracing::info!("Forced failover user request accepted (user request from '{user}').");
        }
        FailoverMode::Agreed => {
            tracing::info!("Manual failover user request accepted (user request from '{user}').");
        }
    }
    cx.server.fail_over_in_cluster(mode);
    cx.reply.ok();
    Ok(())
}

pub(super) const COUNT_FAILURE_REPORTS: Command = Command {
    name: "count-failure-reports",
    arity: 3,
    flags: flag::ADMIN | flag::STALE,
    complexity: "O(N), N reports.",
    summary: "Tells how many nodes report another as failing.",
    arguments: &[Arg::string("node-id")],
    history: &[("9.0.0", "Reports of a node that is known to have failed are not counted.")],
    tips: &["nondeterministic_output"],
    handler: count_failure_reports,
    ..CLUSTER_COMMAND
};

fn count_failure_reports(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let node = known_node(cx, args.at(2))?;
    let count = cx.server.with_cluster(|cluster, view| cluster.report_count(node, view));
    cx.reply.int(count.unwrap_or(0) as i64);
    Ok(())
}

pub(super) const REPLICAS: Command = Command { name: "replicas", since: "5.0.0", ..SLAVES_COMMAND };

pub(super) const SLAVES: Command =
    Command { name: "slaves", deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")), ..SLAVES_COMMAND };

const SLAVES_COMMAND: Command = Command {
    arity: 3,
    flags: flag::ADMIN | flag::STALE,
    complexity: "O(N), N replicas.",
    summary: "Lists the replicas of a node.",
    arguments: &[Arg::string("node-id")],
    tips: &["nondeterministic_output"],
    handler: replicas,
    ..CLUSTER_COMMAND
};

fn replicas(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let node = known_node(cx, args.at(2))?;
    let Some(reader) = cx.client().map(reader_of) else { return Ok(()) };
    let cluster = enabled(cx)?;
    if cluster.nodes[node].is_replica() {
        return Err(error("The specified node is not a master"));
    }
    let lines: Vec<String> =
        cluster.replicas_of(node).into_iter().map(|replica| cluster.line_of(replica, reader)).collect();
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.bulk(line.as_bytes()));
    Ok(())
}
