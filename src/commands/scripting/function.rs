//! FUNCTION and FCALL: functions that are part of the data.

use super::SCRIPTING;
use super::eval::{EVAL, EVAL_RO, KEYS_AND_ARGUMENTS};
use crate::algorithms::glob;
use crate::algorithms::numbers::parse_i64;
use crate::commands::arguments::is_word;
use crate::rdb::functions::{self, FunctionsError};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Outcome, flag};
use crate::server::scripting::{Callable, LOAD_MS, RestorePolicy};

const OF_FUNCTION: &[Arg] =
    &[Arg::string("function"), KEYS_AND_ARGUMENTS[0], KEYS_AND_ARGUMENTS[1], KEYS_AND_ARGUMENTS[2]];

pub(super) const FCALL: Command = Command {
    name: "fcall",
    since: "7.0.0",
    complexity: "That of the function",
    summary: "Calls a function.",
    arguments: OF_FUNCTION,
    handler: fcall,
    ..EVAL
};

pub(super) const FCALL_RO: Command = Command {
    name: "fcall_ro",
    complexity: "That of the function",
    summary: "Calls a function, which must not write.",
    arguments: OF_FUNCTION,
    handler: fcall,
    ..EVAL_RO
};

fn plain(text: impl AsRef<[u8]>) -> CommandError {
    CommandError::Script([b"ERR ", text.as_ref()].concat().into())
}

/// Loads what has come with the data since the last time.
fn read_libraries(cx: &mut Context<'_>) {
    cx.server.read_libraries(cx.keys.keyspace);
}

/// Has snapshots hold the libraries as they are now; that is a change of the data.
fn write_libraries(cx: &mut Context<'_>) {
    cx.keys.keyspace.set_libraries(cx.server.scripting.functions.sources());
    cx.count_changes(1);
}

fn fcall(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_libraries(cx);
    cx.show_monitors(args);
    let function =
        cx.server.scripting.functions.find(args.at(1)).ok_or_else(|| plain("Function not found"))?;
    let keys = parse_i64(args.at(2)).ok_or_else(|| plain("Bad number of keys provided"))?;
    if keys > args.len() as i64 - 3 {
        return Err(CommandError::KeysBeyondArguments);
    }
    let keys = usize::try_from(keys).map_err(|_| CommandError::NegativeKeys)?;
    let name = function.name.clone();
    let callable = Callable::of_function(&name, function);
    let words = args.from(3);
    cx.run_callable(callable, args, words.until(keys), words.from(keys))
}

pub(super) const FUNCTION: Command = Command {
    name: "function",
    arity: -2,
    since: "7.0.0",
    complexity: "That of the subcommand",
    summary: "A container of commands about functions.",
    subcommands: &[DELETE, DUMP, FLUSH, HELP, KILL, LIST, LOAD, RESTORE, STATS],
    ..SCRIPTING
};

const SUBCOMMAND: Command = Command { since: "7.0.0", ..super::SUBCOMMAND };

const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const DELETE: Command = Command {
    name: "delete",
    arity: 3,
    flags: flag::NOSCRIPT | flag::WRITE,
    summary: "Deletes a library.",
    arguments: &[Arg::string("library-name")],
    tips: ALL_SHARDS,
    handler: delete,
    ..SUBCOMMAND
};

fn delete(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_libraries(cx);
    if !cx.server.scripting.functions.delete(args.at(2)) {
        return Err(plain("Library not found"));
    }
    write_libraries(cx);
    cx.reply.ok();
    Ok(())
}

const DUMP: Command = Command {
    name: "dump",
    arity: 2,
    complexity: "O(N), N being the functions",
    summary: "Gives all libraries in a form that FUNCTION RESTORE takes.",
    handler: dump,
    ..SUBCOMMAND
};

fn dump(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    read_libraries(cx);
    let libraries = cx.server.scripting.functions.libraries();
    let payload = functions::dump(libraries.map(|(_, library)| &*library.code));
    cx.reply.bulk(&payload);
    Ok(())
}

const FLUSH: Command = Command {
    name: "flush",
    arity: -2,
    flags: flag::NOSCRIPT | flag::WRITE,
    complexity: "O(N), N being the functions",
    summary: "Deletes all libraries.",
    arguments: &[super::FLUSH_TYPE],
    tips: ALL_SHARDS,
    handler: flush,
    ..SUBCOMMAND
};

fn syntax_error(args: Args<'_>) -> CommandError {
    CommandError::SubcommandSyntax { command: args.at(0).into(), subcommand: args.at(1).into() }
}

fn flush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(syntax_error(args));
    }
    let lazily = super::flushes_lazily(cx, args)
        .ok_or_else(|| plain("FUNCTION FLUSH only supports SYNC|ASYNC option"))?;
    let functions = cx.server.scripting.functions.flush();
    cx.server.background.free_scripts(functions, lazily);
    write_libraries(cx);
    cx.reply.ok();
    Ok(())
}

const HELP: Command = Command { since: "7.0.0", ..super::HELP };

const KILL: Command = Command {
    since: "7.0.0",
    summary: "Ends the function that runs, if it has not written.",
    handler: kill,
    ..super::KILL
};

fn kill(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let title = cx.server.title();
    cx.server.scripting.kill(false, title)?;
    cx.reply.ok();
    Ok(())
}

const LIST: Command = Command {
    name: "list",
    arity: -2,
    complexity: "O(N), N being the functions",
    summary: "Lists libraries and their functions.",
    arguments: &[
        Arg::string("library-name-pattern").token("LIBRARYNAME").optional(),
        Arg::flag("withcode", "WITHCODE").optional(),
    ],
    tips: &["nondeterministic_output_order"],
    handler: list,
    ..SUBCOMMAND
};

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_libraries(cx);
    let (mut with_code, mut pattern) = (false, None);
    let mut words = args.from(2).iter();
    while let Some(word) = words.next() {
        if !with_code && is_word(word, "withcode") {
            with_code = true;
        } else if pattern.is_none() && is_word(word, "libraryname") {
            pattern = Some(words.next().ok_or_else(|| plain("library name argument was not given"))?);
        } else {
            return Err(plain([b"Unknown argument ", word].concat()));
        }
    }
    let reply = &mut *cx.reply;
    let is_wanted = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name, true));
    let functions = &cx.server.scripting.functions;
    reply.array(functions.libraries().filter(|(name, _)| is_wanted(name)).count());
    for (name, library) in functions.libraries().filter(|(name, _)| is_wanted(name)) {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(name);
        reply.bulk(b"engine");
        reply.bulk(b"LUA");
        reply.bulk(b"functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&function.name);
            reply.bulk(b"description");
            match &function.description {
                Some(description) => reply.bulk(description),
                None => reply.null(),
            }
            reply.bulk(b"flags");
            reply.set(function.flags.names().count());
            for name in function.flags.names() {
                reply.simple(name);
            }
        }
        if with_code {
            reply.bulk(b"library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

const LOAD: Command = Command {
    name: "load",
    arity: -3,
    flags: flag::NOSCRIPT | flag::WRITE | flag::DENYOOM,
    summary: "Loads a library.",
    arguments: &[Arg::flag("replace", "REPLACE").optional(), Arg::string("function-code")],
    tips: ALL_SHARDS,
    handler: load,
    ..SUBCOMMAND
};

fn load(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_libraries(cx);
    let last = args.len() - 1;
    for option in args.until(last).from(2).iter() {
        if !is_word(option, "replace") {
            return Err(plain([b"Unknown option given: ", option].concat()));
        }
    }
    let timeout_ms = (!cx.is_obeyed()).then_some(LOAD_MS);
    let name = cx.server.scripting.functions.load(args.at(last), last > 2, timeout_ms)?;
    write_libraries(cx);
    cx.reply.bulk(&name);
    Ok(())
}

const RESTORE: Command = Command {
    name: "restore",
    arity: -3,
    flags: flag::NOSCRIPT | flag::WRITE | flag::DENYOOM,
    complexity: "O(N), N being the functions",
    summary: "Restores libraries that FUNCTION DUMP gave.",
    arguments: &[
        Arg::string("serialized-value"),
        Arg::one_of(
            "policy",
            &[Arg::flag("flush", "FLUSH"), Arg::flag("append", "APPEND"), Arg::flag("replace", "REPLACE")],
        )
        .optional(),
    ],
    tips: ALL_SHARDS,
    handler: restore,
    ..SUBCOMMAND
};

fn restore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_libraries(cx);
    if args.len() > 4 {
        return Err(syntax_error(args));
    }
    let policy = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"append") => RestorePolicy::Append,
        Some(b"replace") => RestorePolicy::Replace,
        Some(b"flush") => RestorePolicy::Flush,
        Some(_) => {
            return Err(plain(
                "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let sources = functions::read(args.at(2)).map_err(|error| {
        plain(match error {
            FunctionsError::Frame => "DUMP payload version or checksum are wrong",
            FunctionsError::PreRelease => "Pre-GA function format not supported",
            FunctionsError::OtherType => "given type is not a function",
            FunctionsError::Truncated => "Failed loading library payload",
        })
    })?;
    cx.server.scripting.functions.restore(&sources, policy)?;
    write_libraries(cx);
    cx.reply.ok();
    Ok(())
}

const STATS: Command = Command {
    name: "stats",
    arity: 2,
    flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
    summary: "Tells which function runs, and how many there are.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: stats,
    ..SUBCOMMAND
};

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    read_libraries(cx);
    let title = cx.server.title();
    let scripting = &cx.server.scripting;
    let running = scripting.running();
    if running.as_ref().is_some_and(|(.., is_eval)| *is_eval) {
        return Err(CommandError::BusyScript(title));
    }
    let reply = &mut *cx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match running {
        None => reply.null(),
        Some((name, request, milliseconds, _)) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(name);
            reply.bulk(b"command");
            reply.array(request.args().len());
            for word in request.args().iter() {
                reply.bulk(word);
            }
            reply.bulk(b"duration_ms");
            reply.int(i64::try_from(milliseconds).unwrap_or(i64::MAX));
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(scripting.functions.libraries().len() as i64);
    reply.bulk(b"functions_count");
    reply.int(scripting.functions.count() as i64);
    Ok(())
}
