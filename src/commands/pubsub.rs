//! Commands of publish/subscribe. Subscribing and its end are confirmed by a push for each name, not by a reply.

use super::help::container_help;
use crate::algorithms::glob;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, flag, key_flag};
use crate::server::propagation::Targets;
use crate::server::pubsub::{Kind, Running};

/// The family.
pub(super) const COMMANDS: &[Command] =
    &[SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE, SSUBSCRIBE, SUNSUBSCRIBE, PUBLISH, SPUBLISH, PUBSUB];

/// What subscribes, or ends that.
const SUBSCRIPTION: Command = Command {
    flags: flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Pubsub,
    since: "2.0.0",
    complexity: "O(N), N being the number of names",
    ..Command::DEFAULT
};

const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1, key_flag::NOT_KEY)];

/// Confirms that a name was subscribed to or no longer is; no name for "there was none".
fn confirm(cx: &mut Context<'_>, kind: Kind, name: Option<&[u8]>) {
    let subscriptions = cx.client().and_then(|client| client.subscriptions.as_deref());
    let count = |kind| subscriptions.map_or(0, |all| all.count(kind));
    let count = match kind {
        Kind::Shard => count(Kind::Shard),
        Kind::Channel | Kind::Pattern => count(Kind::Channel) + count(Kind::Pattern),
    };
    cx.reply.push(3);
    cx.reply.bulk(cx.command.command.name.as_bytes());
    match name {
        Some(name) => cx.reply.bulk(name),
        None => cx.reply.null(),
    }
    cx.reply.int(count as i64);
}

/// The client that the command is run for. What a script calls may be replied to in another protocol than its client's.
fn running(cx: &Context<'_>) -> Running {
    Some((cx.client, cx.server.scripting.caller_protocol().unwrap_or(cx.reply.protocol())))
}

/// Keyspace events that came before a change of subscriptions go to who subscribed until then.
fn publish_events(cx: &mut Context<'_>) {
    cx.settle();
    let running = running(cx);
    cx.server.publish_events(running);
}

fn subscribe_to(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    publish_events(cx);
    for name in args.from(1).iter() {
        cx.server.pubsub.subscribe(&mut cx.server.clients, cx.client, kind, name);
        confirm(cx, kind, Some(name));
    }
    Ok(())
}

fn unsubscribe_from(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    publish_events(cx);
    if args.len() == 1 {
        return unsubscribe_from_all(cx, kind);
    }
    for name in args.from(1).iter() {
        cx.server.pubsub.unsubscribe(&mut cx.server.clients, cx.client, kind, name);
        confirm(cx, kind, Some(name));
    }
    Ok(())
}

fn unsubscribe_from_all(cx: &mut Context<'_>, kind: Kind) -> Outcome {
    let subscriptions = cx.client().and_then(|client| client.subscriptions.as_deref());
    let names = subscriptions.map(|all| all.names(kind)).unwrap_or_default();
    for name in &names {
        cx.server.pubsub.unsubscribe(&mut cx.server.clients, cx.client, kind, name);
        confirm(cx, kind, Some(name));
    }
    if names.is_empty() {
        confirm(cx, kind, None);
    }
    Ok(())
}

const SUBSCRIBE: Command = Command {
    name: "subscribe",
    arity: -2,
    summary: "Subscribes the connection to channels.",
    arguments: &[Arg::string("channel").multiple()],
    handler: subscribe,
    ..SUBSCRIPTION
};

fn subscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    subscribe_to(cx, args, Kind::Channel)
}

const UNSUBSCRIBE: Command = Command {
    name: "unsubscribe",
    arity: -1,
    summary: "Ends subscriptions to channels: to the given ones, or to all.",
    arguments: &[Arg::string("channel").optional().multiple()],
    handler: unsubscribe,
    ..SUBSCRIPTION
};

fn unsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    unsubscribe_from(cx, args, Kind::Channel)
}

const PSUBSCRIBE: Command = Command {
    name: "psubscribe",
    arity: -2,
    summary: "Subscribes the connection to all channels that match patterns.",
    arguments: &[Arg::new("pattern", ArgKind::Pattern).multiple()],
    handler: psubscribe,
    ..SUBSCRIPTION
};

fn psubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    subscribe_to(cx, args, Kind::Pattern)
}

const PUNSUBSCRIBE: Command = Command {
    name: "punsubscribe",
    arity: -1,
    summary: "Ends subscriptions to patterns: to the given ones, or to all.",
    arguments: &[Arg::new("pattern", ArgKind::Pattern).optional().multiple()],
    handler: punsubscribe,
    ..SUBSCRIPTION
};

fn punsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    unsubscribe_from(cx, args, Kind::Pattern)
}

const SSUBSCRIBE: Command = Command {
    name: "ssubscribe",
    arity: -2,
    keys: SHARD_CHANNELS,
    since: "7.0.0",
    summary: "Subscribes the connection to channels of a shard.",
    arguments: &[Arg::string("shardchannel").multiple()],
    handler: ssubscribe,
    ..SUBSCRIPTION
};

fn ssubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.in_transaction {
        return Err(CommandError::SsubscribeDenied);
    }
    subscribe_to(cx, args, Kind::Shard)
}

const SUNSUBSCRIBE: Command = Command {
    name: "sunsubscribe",
    arity: -1,
    keys: SHARD_CHANNELS,
    since: "7.0.0",
    summary: "Ends subscriptions to channels of a shard: to the given ones, or to all.",
    arguments: &[Arg::string("shardchannel").optional().multiple()],
    handler: sunsubscribe,
    ..SUBSCRIPTION
};

fn sunsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    unsubscribe_from(cx, args, Kind::Shard)
}

/// What sends a message.
const PUBLICATION: Command = Command {
    arity: 3,
    flags: flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST | flag::MAY_REPLICATE,
    group: Group::Pubsub,
    ..Command::DEFAULT
};

fn publish_to(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let is_node = cx.server.cluster.is_some();
    if !is_node {
        cx.force_propagation(Targets::REPLICAS);
    }
    cx.settle();
    let running = running(cx);
    let receivers = cx.server.publish(running, kind, args.at(1), args.at(2));
    if is_node {
        cx.server.publish_in_cluster(kind, args.at(1), args.at(2));
    }
    cx.reply.int(receivers as i64);
    Ok(())
}

const PUBLISH: Command = Command {
    name: "publish",
    since: "2.0.0",
    complexity: "O(N+M), N being the subscribers of the channel and M all patterns subscribed to",
    summary: "Sends a message to who subscribes to a channel; gives how many that are.",
    arguments: &[Arg::string("channel"), Arg::string("message")],
    handler: publish,
    ..PUBLICATION
};

fn publish(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    publish_to(cx, args, Kind::Channel)
}

const SPUBLISH: Command = Command {
    name: "spublish",
    keys: &[KeySpec::one(1, key_flag::NOT_KEY)],
    since: "7.0.0",
    complexity: "O(N), N being the subscribers of the channel",
    summary: "Sends a message to who subscribes to a channel of a shard; gives how many that are.",
    arguments: &[Arg::string("shardchannel"), Arg::string("message")],
    handler: spublish,
    ..PUBLICATION
};

fn spublish(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    publish_to(cx, args, Kind::Shard)
}

const PUBSUB: Command = Command {
    name: "pubsub",
    arity: -2,
    group: Group::Pubsub,
    since: "2.8.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands that show subscriptions.",
    subcommands: &[
        PUBSUB_CHANNELS,
        PUBSUB_HELP,
        PUBSUB_NUMPAT,
        PUBSUB_NUMSUB,
        PUBSUB_SHARDCHANNELS,
        PUBSUB_SHARDNUMSUB,
    ],
    ..Command::DEFAULT
};

/// What shows subscriptions.
const VIEW: Command = Command {
    arity: -2,
    flags: flag::PUBSUB | flag::LOADING | flag::STALE,
    group: Group::Pubsub,
    since: "2.8.0",
    ..Command::DEFAULT
};

const PUBSUB_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    since: "6.2.0",
    summary: "Lists the subcommands.",
    handler: container_help,
    ..VIEW
};

fn reply_names(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    if args.len() > 3 {
        let (command, subcommand) = (args.at(0).into(), args.at(1).into());
        return Err(CommandError::SubcommandSyntax { command, subcommand });
    }
    let wanted = |name: &&[u8]| args.get(2).is_none_or(|pattern| glob::matches(pattern, name, false));
    let length = cx.reply.deferred();
    let mut count = 0;
    for name in cx.server.pubsub.names(kind).filter(wanted) {
        cx.reply.bulk(name);
        count += 1;
    }
    cx.reply.set_array(length, count);
    Ok(())
}

fn reply_counts(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let names = args.from(2);
    cx.reply.array(names.len() * 2);
    for name in names.iter() {
        cx.reply.bulk(name);
        cx.reply.int(cx.server.pubsub.subscribers(kind, name) as i64);
    }
    Ok(())
}

const PUBSUB_CHANNELS: Command = Command {
    name: "channels",
    complexity: "O(N), N being the channels that have subscribers",
    summary: "Gives the channels that have subscribers, all or those that match a pattern.",
    arguments: &[Arg::new("pattern", ArgKind::Pattern).optional()],
    handler: pubsub_channels,
    ..VIEW
};

fn pubsub_channels(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_names(cx, args, Kind::Channel)
}

const PUBSUB_NUMPAT: Command = Command {
    name: "numpat",
    arity: 2,
    summary: "Gives how many different patterns are subscribed to.",
    handler: pubsub_numpat,
    ..VIEW
};

fn pubsub_numpat(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.int(cx.server.pubsub.len(Kind::Pattern) as i64);
    Ok(())
}

const PUBSUB_NUMSUB: Command = Command {
    name: "numsub",
    complexity: "O(N), N being the channels asked for",
    summary: "Gives how many subscribers channels have, patterns not counted.",
    arguments: &[Arg::string("channel").optional().multiple()],
    handler: pubsub_numsub,
    ..VIEW
};

fn pubsub_numsub(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_counts(cx, args, Kind::Channel)
}

const PUBSUB_SHARDCHANNELS: Command = Command {
    name: "shardchannels",
    since: "7.0.0",
    complexity: "O(N), N being the channels of the shard that have subscribers",
    summary: "Gives the channels of a shard that have subscribers, all or those that match a pattern.",
    arguments: &[Arg::new("pattern", ArgKind::Pattern).optional()],
    handler: pubsub_shardchannels,
    ..VIEW
};

fn pubsub_shardchannels(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_names(cx, args, Kind::Shard)
}

const PUBSUB_SHARDNUMSUB: Command = Command {
    name: "shardnumsub",
    since: "7.0.0",
    complexity: "O(N), N being the channels asked for",
    summary: "Gives how many subscribers channels of a shard have.",
    arguments: &[Arg::string("shardchannel").optional().multiple()],
    handler: pubsub_shardnumsub,
    ..VIEW
};

fn pubsub_shardnumsub(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_counts(cx, args, Kind::Shard)
}
