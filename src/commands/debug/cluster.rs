//! The parts of DEBUG that are about the bus of a cluster.

use super::is_on;
use crate::algorithms::numbers::parse_i64;
use crate::commands::arguments::is_word;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Args, Outcome};

/// Which messages are dropped when they arrive: a type, -2 for all, -1 for none.
pub(super) fn set_drop_filter(cx: &mut Context<'_>, kind: &[u8]) -> Outcome {
    let kind = parse_i64(kind).ok_or(CommandError::NotAnInteger)?;
    if let Some(cluster) = &mut cx.server.cluster {
        cluster.debug.drop_filter = (kind != -1).then_some(kind);
    }
    cx.reply.ok();
    Ok(())
}

/// Turns a switch of the bus; `false` when there is none of this name.
pub(super) fn set_switch(cx: &mut Context<'_>, name: &[u8], value: &[u8]) -> bool {
    let on = is_on(value);
    let mut ignored = Default::default();
    let debug = cx.server.cluster.as_mut().map_or(&mut ignored, |cluster| &mut cluster.debug);
    match name {
        b"close-cluster-link-on-packet-drop" => debug.closes_on_drop = on,
        b"disable-cluster-random-ping" => debug.no_random_ping = on,
        b"disable-cluster-reconnection" => debug.no_reconnection = on,
        _ => return false,
    }
    true
}

/// `SLOTMIGRATION <PREVENT-PAUSE|PREVENT-FAILOVER> <0|1>`: holds migrations of slots up at a step.
pub(super) fn set_migration_switch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let on = is_on(args.at(3));
    let mut ignored = Default::default();
    let migrations = cx.server.cluster.as_mut().map_or(&mut ignored, |cluster| &mut cluster.migrations);
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"prevent-pause" => migrations.prevents_pause = on,
        b"prevent-failover" => migrations.prevents_failover = on,
        _ => {
            let (command, subcommand) = (args.at(0).into(), args.at(1).into());
            return Err(CommandError::SubcommandSyntax { command, subcommand });
        }
    }
    cx.reply.ok();
    Ok(())
}

/// `CLUSTERLINK KILL <to|from|all> <node>`: ends connections to a node.
pub(super) fn kill_links(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let error = |text: &str| CommandError::custom([b"ERR ", text.as_bytes()].concat());
    let now_ms = cx.server.now_ms;
    let Some(cluster) = &mut cx.server.cluster else {
        return Err(error("Debug option only available for cluster mode enabled setup!"));
    };
    let Some(node) = cluster.find(args.at(4)) else {
        return Err(error(&format!("Unknown node {}", String::from_utf8_lossy(args.at(4)))));
    };
    if node == cluster.myself {
        return Err(error("Cannot free cluster link(s) to myself"));
    }
    let direction = args.at(3);
    let all = is_word(direction, "all");
    let (to, from) = (all || is_word(direction, "to"), all || is_word(direction, "from"));
    if !to && !from {
        return Err(error(&format!("Unknown direction {}", String::from_utf8_lossy(direction))));
    }
    let ends = [cluster.nodes[node].link.filter(|_| to), cluster.nodes[node].inbound.filter(|_| from)];
    ends.into_iter().flatten().for_each(|link| cluster.free_link(link, now_ms));
    cx.reply.ok();
    Ok(())
}
