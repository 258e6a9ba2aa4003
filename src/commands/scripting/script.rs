//! SCRIPT: the cache of scripts, and the end of the one that runs.

use super::SCRIPTING;
use crate::commands::arguments::is_word;
use crate::resp::CommandError;
use crate::scripting::library::sha1_hex;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Outcome, flag};

pub(super) const SCRIPT: Command = Command {
    name: "script",
    arity: -2,
    since: "2.6.0",
    complexity: "That of the subcommand",
    summary: "A container of commands about cached scripts.",
    subcommands: &[DEBUG, EXISTS, FLUSH, HELP, KILL, LOAD, SHOW],
    ..SCRIPTING
};

const SUBCOMMAND: Command = Command { since: "2.6.0", ..super::SUBCOMMAND };

const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const DEBUG: Command = Command {
    name: "debug",
    arity: -3,
    since: "3.2.0",
    summary: "Sets whether scripts are debugged.",
    arguments: &[
        Arg::one_of("mode", &[Arg::flag("yes", "YES"), Arg::flag("sync", "SYNC"), Arg::flag("no", "NO")]),
        Arg::string("engine").since("9.1.0").optional(),
    ],
    handler: debug,
    ..SUBCOMMAND
};

/// There is no debugger: all that can be asked is that there be none.
fn debug(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 4 {
        return Err(CommandError::SubcommandSyntax {
            command: args.at(0).into(),
            subcommand: args.at(1).into(),
        });
    }
    if let Some(engine) = args.get(3).filter(|engine| !engine.eq_ignore_ascii_case(b"lua")) {
        let text = [b"ERR No scripting engine found with name '", engine, b"' to enable debug"].concat();
        return Err(CommandError::Script(text.into()));
    }
    if is_word(args.at(2), "no") {
        cx.reply.ok();
        return Ok(());
    }
    let text: &[u8] = if is_word(args.at(2), "yes") || is_word(args.at(2), "sync") {
        b"ERR The scripting engine of this server does not support interactive script debugging"
    } else {
        b"ERR Use SCRIPT DEBUG YES/SYNC/NO"
    };
    Err(CommandError::Script(text.into()))
}

const EXISTS: Command = Command {
    name: "exists",
    arity: -3,
    flags: flag::NOSCRIPT | flag::STALE,
    complexity: "O(N), N being the scripts asked for",
    summary: "Tells which scripts are cached.",
    arguments: &[Arg::string("sha1").multiple()],
    tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
    handler: exists,
    ..SUBCOMMAND
};

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let names = args.from(2);
    cx.reply.array(names.len());
    for name in names.iter() {
        cx.reply.int(i64::from(cx.server.scripting.find(name).is_some()));
    }
    Ok(())
}

const FLUSH: Command = Command {
    name: "flush",
    arity: -2,
    flags: flag::NOSCRIPT | flag::STALE,
    complexity: "O(N), N being the cached scripts",
    summary: "Forgets all cached scripts.",
    arguments: &[super::FLUSH_TYPE.since("6.2.0")],
    history: &[("6.2.0", "Takes `ASYNC` and `SYNC`.")],
    tips: ALL_NODES,
    handler: flush,
    ..SUBCOMMAND
};

fn flush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let lazily = super::flushes_lazily(cx, args).ok_or(CommandError::ScriptFlushOption)?;
    let scripts = cx.server.scripting.flush();
    cx.server.background.free_scripts(scripts, lazily);
    cx.reply.ok();
    Ok(())
}

const HELP: Command = Command { since: "5.0.0", ..super::HELP };

const KILL: Command = Command {
    since: "2.6.0",
    summary: "Ends the script that runs, if it has not written.",
    handler: kill,
    ..super::KILL
};

fn kill(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let title = cx.server.title();
    cx.server.scripting.kill(true, title)?;
    cx.reply.ok();
    Ok(())
}

const LOAD: Command = Command {
    name: "load",
    arity: 3,
    flags: flag::NOSCRIPT | flag::STALE,
    complexity: "O(N), N being the script's length",
    summary: "Caches a script.",
    arguments: &[Arg::string("script")],
    tips: ALL_NODES,
    handler: load,
    ..SUBCOMMAND
};

fn load(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = sha1_hex(args.at(2));
    cx.server.scripting.add(name, args.at(2), true)?;
    cx.reply.bulk(&name);
    Ok(())
}

const SHOW: Command = Command {
    name: "show",
    arity: 3,
    flags: flag::NOSCRIPT | flag::STALE,
    since: "8.0.0",
    summary: "Gives the source of a cached script.",
    arguments: &[Arg::string("sha1")],
    handler: show,
    ..SUBCOMMAND
};

fn show(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let script = cx.server.scripting.find(args.at(2)).ok_or(CommandError::NoScript)?;
    cx.reply.bulk(&script.body);
    Ok(())
}
