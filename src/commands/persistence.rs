//! Snapshots and rewrites at a client's word: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE.

use crate::memory::MemoryUsage;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};

/// The family.
pub(super) const COMMANDS: &[Command] = &[SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE];

const SAVE: Command = Command {
    name: "save",
    arity: 1,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::NO_MULTI,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys in all databases",
    summary: "Saves a snapshot of all databases while every client waits.",
    handler: save,
    ..Command::DEFAULT
};

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.server.persistence.is_saving() {
        return Err(CommandError::SaveInProgress);
    }
    cx.server.persistence.count_save();
    if !cx.server.save(cx.keys.keyspace) {
        return Err(CommandError::Unspecified);
    }
    cx.reply.ok();
    Ok(())
}

const BGSAVE: Command = Command {
    name: "bgsave",
    arity: -1,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Saves a snapshot of all databases in a child process, on request with a profile of the memory.",
    history: &[
        ("3.2.2", "Took the `SCHEDULE` option."),
        ("8.1.0", "Took the `CANCEL` option."),
        ("9.1.0", "Took the `STAT_MEMORY` option."),
    ],
    arguments: &[Arg::one_of(
        "operation",
        &[
            Arg::flag("schedule", "SCHEDULE").since("3.2.2"),
            Arg::flag("cancel", "CANCEL").since("8.1.0"),
            Arg::flag("stat-memory", "STAT_MEMORY").since("9.1.0"),
        ],
    )
    .optional()],
    handler: bgsave,
    ..Command::DEFAULT
};

/// What BGSAVE's option asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Start { schedule: bool, profile: bool },
    Cancel,
}

fn plan(args: Args<'_>) -> Result<Plan, CommandError> {
    let start = |schedule, profile| Ok(Plan::Start { schedule, profile });
    match args.len() {
        1 => start(false, false),
        2 => match args.at(1).to_ascii_lowercase().as_slice() {
            b"schedule" => start(true, false),
            b"stat_memory" => start(false, true),
            b"cancel" => Ok(Plan::Cancel),
            _ => Err(CommandError::Syntax),
        },
        _ => Err(CommandError::Syntax),
    }
}

fn bgsave(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Plan::Start { schedule, profile } = plan(args)? else { return cancel(cx) };
    if cx.server.persistence.is_saving() {
        return Err(CommandError::SaveInProgress);
    }
    if cx.server.persistence.has_child() && !schedule && !cx.in_transaction {
        return Err(CommandError::ChildActive);
    }
    if cx.in_transaction || cx.server.persistence.has_child() {
        tracing::info!(
            "{}",
            if schedule {
                "Background saving scheduled due to user request"
            } else {
                "Background saving scheduled to run after transaction execution"
            }
        );
        cx.server.persistence.schedule(profile);
        cx.reply.simple("Background saving scheduled");
        return Ok(());
    }
    let in_flight = cx.reply.memory_usage();
    if !cx.server.save_in_background(cx.keys.keyspace, profile, in_flight) {
        return Err(CommandError::Unspecified);
    }
    cx.reply.simple("Background saving started");
    Ok(())
}

fn cancel(cx: &mut Context<'_>) -> Outcome {
    let persistence = &mut cx.server.persistence;
    if persistence.is_saving() {
        tracing::info!("Background saving will be aborted due to user request");
        persistence.kill_child();
        cx.reply.simple("Background saving cancelled");
    } else if persistence.unschedule() {
        tracing::info!("Scheduled background saving will be cancelled due to user request");
        cx.reply.simple("Scheduled background saving cancelled");
    } else {
        return Err(CommandError::SaveNotInProgress);
    }
    Ok(())
}

const BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    arity: 1,
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Rewrites the append-only file in a child process, so that it is no longer than the data need.",
    handler: bgrewriteaof,
    ..Command::DEFAULT
};

fn bgrewriteaof(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if cx.server.aof.is_rewriting() {
        return Err(CommandError::RewriteInProgress);
    }
    if cx.server.persistence.has_child() || cx.in_transaction {
        cx.server.aof.schedule_rewrite();
        tracing::info!("Background append only file rewriting scheduled.");
        cx.reply.simple("Background append only file rewriting scheduled");
        return Ok(());
    }
    if !cx.server.rewrite_aof(cx.keys.keyspace) {
        return Err(CommandError::RewriteFailed);
    }
    cx.reply.simple("Background append only file rewriting started");
    Ok(())
}

const LASTSAVE: Command = Command {
    name: "lastsave",
    arity: 1,
    flags: flag::LOADING | flag::STALE | flag::FAST,
    categories: crate::server::command::category::ADMIN | crate::server::command::category::DANGEROUS,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Replies when the last snapshot was saved, as Unix time.",
    tips: &["nondeterministic_output"],
    handler: lastsave,
    ..Command::DEFAULT
};

fn lastsave(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.int(cx.server.persistence.last_save());
    Ok(())
}
