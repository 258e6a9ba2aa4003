//! CLUSTER SLOT-STATS: how many keys the slots have and what their commands cost.

use super::{CLUSTER_COMMAND, enabled, slot, subcommand_syntax};
use crate::algorithms::slot::SLOTS;
use crate::commands::arguments::{integer_within, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::cluster::Metric;
use crate::server::command::{Arg, Args, Command, Outcome, flag};

pub(super) const SLOT_STATS: Command = Command {
    name: "slot-stats",
    arity: -4,
    flags: flag::LOADING | flag::STALE,
    since: "8.0.0",
    complexity: "O(N), N slots; O(N*log(N)) with ORDERBY.",
    summary: "Shows what the slots of this node hold and cost.",
    arguments: &[Arg::one_of(
        "filter",
        &[
            Arg::block("slotsrange", &[Arg::integer("start-slot"), Arg::integer("end-slot")])
                .token("SLOTSRANGE"),
            Arg::block(
                "orderby",
                &[
                    Arg::string("metric"),
                    Arg::integer("limit").token("LIMIT").optional(),
                    Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional(),
                ],
            )
            .token("ORDERBY"),
        ],
    )],
    tips: &["nondeterministic_output", "request_policy:all_shards"],
    handler: slot_stats,
    ..CLUSTER_COMMAND
};

fn slot_stats(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    if args.len() == 5 && is_word(args.at(2), "slotsrange") {
        let (start, end) = (slot(args.at(3))?, slot(args.at(4))?);
        if start > end {
            let text = format!("ERR Start slot number {start} is greater than end slot number {end}");
            return Err(CommandError::custom(text));
        }
        let slots: Vec<u16> =
            enabled(cx)?.shard_slots().iter().filter(|slot| (start..=end).contains(slot)).collect();
        reply_slots(cx, &slots);
        return Ok(());
    }
    if !is_word(args.at(2), "orderby") {
        return Err(subcommand_syntax(args));
    }
    let metric = metric(args.at(3), cx.server.config.cluster_slot_stats_enabled)?;
    let (limit, ascending) = parse_filters(args.from(4))?;
    let mut slots: Vec<u16> = enabled(cx)?.shard_slots().iter().collect();
    if ascending {
        slots.sort_by_key(|slot| (figure(cx, *slot, metric), *slot));
    } else {
        slots.sort_by_key(|slot| (std::cmp::Reverse(figure(cx, *slot, metric)), *slot));
    }
    slots.truncate(limit);
    reply_slots(cx, &slots);
    Ok(())
}

/// What slots are ordered by; only keys are counted when nothing else is asked for in the configuration.
fn metric(word: &[u8], counts_costs: bool) -> Result<Metric, CommandError> {
    match word {
        word if is_word(word, "key-count") => Ok(Metric::Keys),
        word if counts_costs && is_word(word, "cpu-usec") => Ok(Metric::Cpu),
        word if counts_costs && is_word(word, "network-bytes-in") => Ok(Metric::BytesIn),
        word if counts_costs && is_word(word, "network-bytes-out") => Ok(Metric::BytesOut),
        _ => Err(CommandError::custom("ERR Unrecognized sort metric for ORDERBY.")),
    }
}

/// How many slots are wanted, and whether the lowest figures come first.
fn parse_filters(args: Args<'_>) -> Result<(usize, bool), CommandError> {
    const LIMIT: &str = "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).";
    let (mut limit, mut ascending) = (None, None);
    let mut index = 0;
    while let Some(word) = args.get(index) {
        let value = args.get(index + 1);
        let before = match (word, value) {
            (word, Some(value)) if is_word(word, "limit") => {
                let number = integer_within(value, 1..=SLOTS as i64, CommandError::custom(LIMIT))?;
                index += 1;
                limit.replace(usize::try_from(number).unwrap_or(SLOTS)).is_some()
            }
            _ if is_word(word, "asc") => ascending.replace(true).is_some(),
            _ if is_word(word, "desc") => ascending.replace(false).is_some(),
            _ => return Err(CommandError::Syntax),
        };
        if before {
            return Err(CommandError::custom("ERR Multiple filters of the same type are disallowed."));
        }
        index += 1;
    }
    Ok((limit.unwrap_or(SLOTS), ascending.unwrap_or(false)))
}

fn figure(cx: &Context<'_>, slot: u16, metric: Metric) -> u64 {
    let costs = cx.server.cluster.as_ref().map(|cluster| cluster.statistics(slot)).unwrap_or_default();
    match metric {
        Metric::Keys => cx.keys.keyspace.keys_in_slot(slot) as u64,
        Metric::Cpu => costs.cpu_us,
        Metric::BytesIn => costs.bytes_in,
        Metric::BytesOut => costs.bytes_out,
    }
}

fn reply_slots(cx: &mut Context<'_>, slots: &[u16]) {
    const METRICS: [(&str, Metric); 4] = [
        ("key-count", Metric::Keys),
        ("cpu-usec", Metric::Cpu),
        ("network-bytes-in", Metric::BytesIn),
        ("network-bytes-out", Metric::BytesOut),
    ];
    let told = if cx.server.config.cluster_slot_stats_enabled { METRICS.len() } else { 1 };
    cx.reply.array(slots.len());
    for slot in slots {
        cx.reply.array(2);
        cx.reply.int((*slot).into());
        cx.reply.map(told);
        for (name, metric) in METRICS.iter().take(told) {
            cx.reply.bulk(name.as_bytes());
            let figure = figure(cx, *slot, *metric);
            cx.reply.int(figure.cast_signed());
        }
    }
}
