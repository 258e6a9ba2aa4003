//! MEMORY: what keys and the server as a whole take.

use super::arguments::{integer, is_word};
use super::help::container_help;
use crate::memory::{MemoryUsage, allocator_report, purge_unused_pages};
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, flag, key_flag};
use crate::server::memory_figures::MemoryFigures;

/// The family.
pub(super) const COMMANDS: &[Command] = &[MEMORY];

const MEMORY: Command = Command {
    name: "memory",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about memory.",
    subcommands: &[MEMORY_DOCTOR, MEMORY_HELP, MEMORY_MALLOC_STATS, MEMORY_PURGE, MEMORY_STATS, MEMORY_USAGE],
    ..Command::DEFAULT
};

const MEMORY_USAGE: Command = Command {
    name: "usage",
    arity: -3,
    flags: flag::READONLY,
    keys: &[KeySpec::one(2, key_flag::RO)],
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(N) where N is the number of samples.",
    summary: "Replies the bytes that a key and its value take, to the byte.",
    arguments: &[Arg::key("key"), Arg::integer("count").token("SAMPLES").optional()],
    handler: usage,
    ..Command::DEFAULT
};

fn usage(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut options = args.from(3).iter();
    while let Some(option) = options.next() {
        // Entries are weighed in full, so the number of samples is only checked.
        match options.next() {
            Some(samples) if is_word(option, "samples") => {
                if integer(samples)? < 0 {
                    return Err(CommandError::Syntax);
                }
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    match cx.keys.peek(args.at(2)).map(|entry| entry.weight()) {
        Some(bytes) => cx.reply.int(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

const MEMORY_STATS: Command = Command {
    name: "stats",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Replies figures of the memory as a whole.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: stats,
    ..Command::DEFAULT
};

/// Fields of MEMORY STATS besides the databases.
const FIELDS: usize = 34;

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let figures = MemoryFigures::take(cx.keys.keyspace, cx.server);
    let databases: Vec<(usize, usize)> = cx
        .keys
        .keyspace
        .databases()
        .iter()
        .enumerate()
        .filter(|(index, database)| *index == 0 || database.is_used() || !database.is_empty())
        .map(|(index, database)| (index, database.table().memory_usage()))
        .collect();
    let reply = &mut *cx.reply;
    reply.map(FIELDS + databases.len());
    for (name, value) in holders(&figures) {
        field(reply, name, value as i64);
    }
    for (index, bytes) in &databases {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(2);
        field(reply, "overhead.hashtable.main", *bytes as i64);
        // The expiry is a part of the entry.
        field(reply, "overhead.hashtable.expires", 0);
    }
    totals(reply, &figures, databases.iter().map(|(_, bytes)| bytes).sum());
    allocator(reply, &figures);
    Ok(())
}

fn field(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

fn ratio(reply: &mut Reply, name: &str, value: f64) {
    reply.bulk(name.as_bytes());
    reply.double(value);
}

/// Who holds memory that is no data.
fn holders(figures: &MemoryFigures) -> [(&'static str, usize); 13] {
    [
        ("peak.allocated", figures.peak),
        ("total.allocated", figures.used),
        ("startup.allocated", figures.startup),
        ("replication.backlog", figures.backlog),
        ("replicas.repl.buffer", figures.unread),
        ("clients.slaves", figures.replicas),
        ("clients.normal", figures.clients),
        ("cluster.links", figures.cluster_links),
        ("cluster.slot_import", figures.slot_imports),
        ("cluster.slot_export", figures.slot_exports),
        ("aof.buffer", figures.aof_buffer),
        ("lua.caches", figures.scripts),
        ("functions.caches", figures.functions),
    ]
}

fn totals(reply: &mut Reply, figures: &MemoryFigures, tables: usize) {
    field(reply, "overhead.db.hashtable.lut", tables as i64);
    field(reply, "overhead.db.hashtable.rehashing", 0);
    field(reply, "overhead.total", figures.overhead as i64);
    field(reply, "db.dict.rehashing.count", 0);
    field(reply, "keys.count", figures.keys as i64);
    field(reply, "keys.bytes-per-key", figures.bytes_per_key() as i64);
    field(reply, "dataset.bytes", figures.dataset as i64);
    ratio(reply, "dataset.percentage", figures.dataset_percentage());
    ratio(reply, "peak.percentage", figures.peak_percentage());
}

fn allocator(reply: &mut Reply, figures: &MemoryFigures) {
    let allocator = &figures.allocator;
    field(reply, "allocator.allocated", allocator.allocated as i64);
    field(reply, "allocator.active", allocator.active as i64);
    field(reply, "allocator.resident", allocator.resident as i64);
    field(reply, "allocator.muzzy", allocator.muzzy as i64);
    ratio(reply, "allocator-fragmentation.ratio", figures.fragmentation_ratio());
    field(reply, "allocator-fragmentation.bytes", allocator.small_fragmentation as i64);
    for (ratio_name, bytes_name, (value, bytes)) in [
        ("allocator-rss.ratio", "allocator-rss.bytes", figures.allocator_resident()),
        ("rss-overhead.ratio", "rss-overhead.bytes", figures.beyond_allocator()),
        ("fragmentation", "fragmentation.bytes", figures.total_fragmentation()),
    ] {
        ratio(reply, ratio_name, value);
        field(reply, bytes_name, bytes);
    }
}

const MEMORY_DOCTOR: Command = Command {
    name: "doctor",
    arity: 2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Replies what looks wrong with the memory.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: doctor,
    ..Command::DEFAULT
};

/// Below this there is too little memory in use to judge.
const TOO_LITTLE: usize = 5 << 20;
/// Excesses below this are not worth a word.
const WORTH_A_WORD: i64 = 10 << 20;
/// Mean bytes of a client that are a lot.
const BIG_CLIENT: usize = 200 << 10;

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let figures = MemoryFigures::take(cx.keys.keyspace, cx.server);
    let clients = cx.server.clients.len().max(1);
    let report = diagnosis(&figures, clients);
    cx.reply.verbatim(b"txt", report.as_bytes());
    Ok(())
}

fn diagnosis(figures: &MemoryFigures, clients: usize) -> String {
    if figures.used < TOO_LITTLE {
        return "This instance is empty or uses very little memory: there is nothing to judge yet.\n"
            .to_owned();
    }
    let excess = |(ratio, bytes): (f64, i64), most: f64| ratio > most && bytes > WORTH_A_WORD;
    let fragmentation = (figures.fragmentation_ratio(), figures.allocator.small_fragmentation as i64);
    let findings = [
        (
            figures.peak as f64 / figures.used as f64 > 1.5,
            "Peak memory: at some time more than 150% of what is used now was in use. Resident memory may stay high after it; it is used again as data grows. MEMORY PURGE gives unused pages back.",
        ),
        (
            excess(figures.total_fragmentation(), 1.4),
            "High resident memory: the process holds more than 1.4 times what is allocated, after a peak or by fragmentation.",
        ),
        (
            excess(fragmentation, 1.1),
            "High allocator fragmentation: slabs of small sizes are more than 10% empty.",
        ),
        (
            excess(figures.allocator_resident(), 1.1),
            "High allocator overhead: the allocator keeps more than 1.1 times the pages it uses. MEMORY PURGE gives them back.",
        ),
        (
            excess(figures.beyond_allocator(), 1.1),
            "High process overhead: more than a tenth of the resident memory is not the allocator's.",
        ),
        (
            figures.clients / clients > BIG_CLIENT,
            "Big client buffers: clients hold more than 200 kB each on average. CLIENT LIST shows which (tot-mem).",
        ),
    ];
    let found: String =
        findings.iter().filter(|(is_so, _)| *is_so).map(|(_, text)| format!(" * {text}\n\n")).collect();
    if found.is_empty() {
        "No memory issue was found in this instance.\n".to_owned()
    } else {
        format!("Issues with the memory of this instance:\n\n{found}")
    }
}

const MEMORY_MALLOC_STATS: Command = Command {
    name: "malloc-stats",
    arity: 2,
    flags: flag::LOADING,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on how much memory is allocated, could be slow",
    summary: "Replies the allocator's own report.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: malloc_stats,
    ..Command::DEFAULT
};

fn malloc_stats(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.verbatim(b"txt", &allocator_report());
    Ok(())
}

const MEMORY_PURGE: Command = Command {
    name: "purge",
    arity: 2,
    flags: flag::LOADING,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on how much memory is allocated, could be slow",
    summary: "Gives unused pages back to the system.",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: purge,
    ..Command::DEFAULT
};

fn purge(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if !purge_unused_pages() {
        return Err(CommandError::PurgeFailed);
    }
    cx.reply.ok();
    Ok(())
}

const MEMORY_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Replies how MEMORY is used.",
    handler: container_help,
    ..Command::DEFAULT
};
