//! LATENCY: what took long, and how durations of commands are distributed.

use super::help::container_help;
use crate::resp::{CommandError, Reply};
use crate::server::command::{Arg, Args, Command, Group, Outcome, TableEntry, flag};
use crate::server::latency::{Sample, Series};
use crate::server::{Context, Server};
use crate::sys::process;

/// The family.
pub(super) const COMMANDS: &[Command] = &[LATENCY];

const LATENCY: Command = Command {
    name: "latency",
    arity: -2,
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "A container for the commands about latency.",
    subcommands: &[
        LATENCY_DOCTOR,
        LATENCY_GRAPH,
        LATENCY_HELP,
        LATENCY_HISTOGRAM,
        LATENCY_HISTORY,
        LATENCY_LATEST,
        LATENCY_RESET,
    ],
    ..Command::DEFAULT
};

const LATENCY_LATEST: Command = Command {
    name: "latest",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Replies the latest occurrence of each event, and figures of all of them.",
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    handler: latest,
    ..Command::DEFAULT
};

fn latest(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Context { server, reply, .. } = cx;
    let events = server.latency.events();
    reply.array(events.len());
    for (name, series) in events {
        let Sample { time, milliseconds } = series.latest();
        reply.array(6);
        reply.bulk(name.as_bytes());
        reply.int(time);
        for figure in [milliseconds, series.longest, series.sum, series.count] {
            reply.int(figure.cast_signed());
        }
    }
    Ok(())
}

const LATENCY_HISTORY: Command = Command {
    name: "history",
    arity: 3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Replies the latest occurrences of an event.",
    arguments: &[Arg::string("event")],
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    handler: history,
    ..Command::DEFAULT
};

fn history(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let samples = cx.server.latency.event(args.at(2)).map(|(_, series)| series.samples()).unwrap_or_default();
    cx.reply.array(samples.len());
    for Sample { time, milliseconds } in samples {
        cx.reply.array(2);
        cx.reply.int(time);
        cx.reply.int(milliseconds.cast_signed());
    }
    Ok(())
}

const LATENCY_RESET: Command = Command {
    name: "reset",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Forgets events, or all of them.",
    arguments: &[Arg::string("event").optional().multiple()],
    tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
    handler: reset,
    ..Command::DEFAULT
};

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let named = |event: &str| args.from(2).iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()));
    let all = args.len() == 2;
    let count = cx.server.latency.reset(|event| all || named(event));
    cx.reply.int(count as i64);
    Ok(())
}

const LATENCY_GRAPH: Command = Command {
    name: "graph",
    arity: 3,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Draws the latest occurrences of an event.",
    arguments: &[Arg::string("event")],
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    handler: graph,
    ..Command::DEFAULT
};

fn graph(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some((name, series)) = cx.server.latency.event(args.at(2)) else {
        return Err(CommandError::NoLatencySamples(args.at(2).into()));
    };
    let drawing = draw(name, series, cx.now_ms() / 1000);
    cx.reply.verbatim(b"txt", drawing.as_bytes());
    Ok(())
}

/// Characters of a line.
const COLUMNS: usize = 80;
/// Lines of bars.
const ROWS: usize = 4;
/// The top of a bar, by how much of its line it fills.
const TOPS: [char; 3] = ['_', 'o', '#'];

fn draw(name: &str, series: &Series, now: i64) -> String {
    let samples = series.samples();
    let high = samples.iter().map(|sample| sample.milliseconds).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.milliseconds).min().unwrap_or(0);
    let longest = series.longest;
    let head = format!("{name} - high {high} ms, low {low} ms (all time high {longest} ms)\n");
    let blocks: Vec<String> =
        samples.chunks(COLUMNS).map(|chunk| draw_block(chunk, low, high, now)).collect();
    head + &"-".repeat(COLUMNS) + "\n" + &blocks.join("\n")
}

/// Bars for up to a line of samples, and below them, from top to bottom, how long ago each was.
fn draw_block(samples: &[Sample], low: u64, high: u64, now: i64) -> String {
    let steps = ROWS * TOPS.len();
    let range = (high - low).max(1);
    let heights: Vec<usize> = samples
        .iter()
        .map(|sample| (((sample.milliseconds - low) * steps as u64 / range) as usize).min(steps - 1))
        .collect();
    let mut block = String::new();
    for row in (0..ROWS).rev() {
        let base = row * TOPS.len();
        block.extend(heights.iter().map(|height| match height.checked_sub(base) {
            None => ' ',
            Some(above) => TOPS.get(above).copied().unwrap_or('|'),
        }));
        block.push('\n');
    }
    block.push_str(&" ".repeat(samples.len()));
    block.push('\n');
    let labels: Vec<Vec<char>> =
        samples.iter().map(|sample| ago(now - sample.time).chars().collect()).collect();
    for line in 0..labels.iter().map(Vec::len).max().unwrap_or(0) {
        block.extend(labels.iter().map(|label| label.get(line).copied().unwrap_or(' ')));
        block.push('\n');
    }
    block
}

fn ago(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

const LATENCY_HISTOGRAM: Command = Command {
    name: "histogram",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "7.0.0",
    complexity: "O(N) where N is the number of commands with latency information being retrieved.",
    summary: "Replies how the durations of commands are distributed.",
    arguments: &[Arg::string("command").optional().multiple()],
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    handler: histogram,
    ..Command::DEFAULT
};

fn histogram(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let commands = cx.server.commands;
    let mut entries: Vec<&TableEntry> = match args.len() {
        2 => commands.every().collect(),
        _ => args
            .from(2)
            .iter()
            .filter_map(|name| commands.by_full_name(name))
            .flat_map(|entry| std::iter::once(entry).chain(entry.sorted_subcommands()))
            .collect(),
    };
    entries.retain(|entry| cx.server.stats.has_latency(entry.id));
    if args.len() == 2 {
        entries.sort_unstable_by_key(|entry| entry.full_name.as_str());
    }
    let Context { server, reply, .. } = cx;
    reply.map(entries.len());
    for entry in entries {
        distribution(server, entry, reply);
    }
    Ok(())
}

fn distribution(server: &Server, entry: &TableEntry, reply: &mut Reply) {
    let Some(histogram) = server.stats.latency(entry.id) else { return };
    let steps = histogram.cumulative_us();
    reply.bulk(entry.full_name.as_bytes());
    reply.map(2);
    reply.bulk(b"calls");
    reply.int(histogram.count().cast_signed());
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for (microseconds, count) in steps {
        reply.int(microseconds.cast_signed());
        reply.int(count.cast_signed());
    }
}

const LATENCY_DOCTOR: Command = Command {
    name: "doctor",
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Replies what was seen to take long, and what may be done about it.",
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    handler: doctor,
    ..Command::DEFAULT
};

/// What is to be said of an event: a prefix of its name, and the advice.
const ADVICE: &[(&str, &str)] = &[
    ("command", "Commands of higher than constant cost ran for long: SLOWLOG GET shows which."),
    (
        "fast-command",
        "Commands of constant cost ran for long: the processor or the memory of this machine may be overcommitted.",
    ),
    ("fork", "Forking takes long in proportion to the memory in use: INFO shows latest_fork_usec."),
    ("expire", "Many keys expired together: spread their expiries."),
    ("eviction", "Eviction takes long: the memory limit may be too close to what is in use."),
    ("aof", "Writing to disk takes long: other processes may use the same disk."),
    ("rdb", "Removing an old snapshot file took long: its file system may be slow."),
];

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let report = diagnosis(cx.server);
    cx.reply.verbatim(b"txt", report.as_bytes());
    Ok(())
}

fn diagnosis(server: &Server) -> String {
    let title = server.title().name();
    if server.config.latency_monitor_threshold == 0 {
        return format!(
            "Latency monitoring is disabled in this {title} instance. \"CONFIG SET latency-monitor-threshold <milliseconds>\" enables it.\n"
        );
    }
    let events = server.latency.events();
    if events.len() == 0 {
        return format!("No latency spike was observed in this {title} instance so far.\n");
    }
    let mut report = format!("Latency spikes were observed in this {title} instance:\n\n");
    for (number, (name, series)) in events.enumerate() {
        let mean = series.sum / series.count.max(1);
        let Series { longest, count, .. } = series;
        report.push_str(&format!(
            "{}. {name}: {count} latency spikes (average {mean} ms, worst all time event {longest} ms).\n",
            number + 1
        ));
    }
    report.push('\n');
    for (prefix, text) in ADVICE {
        if server.latency.events().any(|(name, _)| name.starts_with(prefix)) {
            report.push_str(&format!("- {text}\n"));
        }
    }
    if process::huge_page_bytes(None).is_some_and(|bytes| bytes > 0) {
        report.push_str("- Transparent huge pages are in use, which make copies after a fork expensive.\n");
    }
    report
}

const LATENCY_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Replies how LATENCY is used.",
    handler: container_help,
    ..Command::DEFAULT
};
