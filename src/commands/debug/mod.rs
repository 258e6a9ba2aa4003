//! DEBUG: what tests and maintainers ask of a server's insides. Refused unless `enable-debug-command` allows it.

mod cluster;
mod digest;
mod inspect;
mod replication;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use digest::Digest;

use super::arguments::{count, integer, is_word};
use super::generic::flush_all;
use crate::algorithms::numbers::{parse_f64, parse_i64, parse_memory_size};
use crate::config::{ProtectedAction, os_reason};
use crate::keyspace::Entry;
use crate::memory::control_value;
use crate::persistence::{LoadOptions, Loader};
use crate::resp::{CommandError, Protocol};
use crate::server::aof::{Reload, Replay};
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{Args, Command, Group, Outcome, flag};
use crate::server::restart::{Ending, restart};
use crate::server::{Client, Context, Task};
use crate::sys::{clock, crash};

/// The family.
pub(super) const COMMANDS: &[Command] = &[DEBUG];

const DEBUG: Command = Command {
    name: "debug",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands that tests and maintainers use.",
    handler: debug,
    ..Command::DEFAULT
};

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "AOF-FLUSH-SLEEP <microsec>",
    "    Wait before each write to the append-only file.",
    "ASSERT",
    "    End the process as a failed assertion would.",
    "CLOSE-CLUSTER-LINK-ON-PACKET-DROP <0|1>",
    "    Whether a link is closed when a message that came by it is dropped.",
    "CLUSTERLINK KILL <to|from|all> <node-id>",
    "    End the connections to a node, from it, or both.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Write every option into the configuration file, those at their defaults too.",
    "CRASH-AND-RECOVER [<milliseconds>]",
    "    End as a crash would and start again after a delay (0 if none is given).",
    "DIGEST",
    "    Reply with a signature of the whole data set, in hexadecimal digits.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Reply with a signature of the value of each key.",
    "DISABLE-CLUSTER-RANDOM-PING <0|1>",
    "    Whether no node is pinged by chance.",
    "DISABLE-CLUSTER-RECONNECTION <0|1>",
    "    Whether no connection to another node is made.",
    "DROP-CLUSTER-PACKET-FILTER <type>",
    "    Drop what arrives of this type: a number, -2 for all, -1 for none.",
    "ERROR <string>",
    "    Reply with an error of this text.",
    "HTSTATS <dbid>",
    "    Describe how the buckets of a database's table are filled.",
    "HTSTATS-KEY <key>",
    "    The same for the table of a value.",
    "LOADAOF",
    "    Flush everything and load the append-only file again.",
    "LISTPACK <key>",
    "    Write how a listpack is laid out to standard output.",
    "LOG <message>",
    "    Write a message to the log.",
    "MALLCTL <name>",
    "    Reply with the number that a control of the allocator reads.",
    "OBJECT <key> [fast]",
    "    Describe a value: encoding, length when saved, access clock.",
    "PROTECT-CLIENT <id>",
    "    Never close a client.",
    "PANIC",
    "    End the process as a bug would, with a report in the log.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> strings named <prefix>:<number> (prefix 'key' if none is given).",
    "PAUSE-AFTER-FORK <0|1>",
    "    Whether the server stops itself when it has forked a child for replicas.",
    "PROTOCOL <type>",
    "    Reply with an example of a type: string, integer, double, bignum, null, array,",
    "    set, map, attrib, push, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    List elements of at least this size get a node of their own; 0 for the default.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Save, empty the databases and load what was saved.",
    "REPLICATE <command> [<argument> ...]",
    "    Feed a command to the replicas without running it.",
    "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|milliseconds>",
    "    After which time the most that a reply buffer has held is forgotten.",
    "REPLYBUFFER RESIZING <0|1>",
    "    Whether reply buffers that are not used give back their room.",
    "RESTART [<milliseconds>]",
    "    Write the configuration, end in order and start again after a delay (0 if none is given).",
    "SEGFAULT",
    "    Write to memory that may only be read.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether expired keys are deleted though nobody looks at them.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Whether checksums of snapshots and RESTORE payloads are ignored.",
    "SLEEP <seconds>",
    "    Stop the server for a while; decimals allowed.",
    "SLOTMIGRATION PREVENT-PAUSE <0|1>",
    "    Whether exports of slots wait before they stop writers.",
    "SLOTMIGRATION PREVENT-FAILOVER <0|1>",
    "    Whether imports of slots wait before they take them over.",
    "STRINGMATCH-TEST",
    "    Try the pattern matcher with random patterns.",
    "STRUCTSIZE",
    "    Reply with the sizes of what most of the memory is made of.",
    "HELP",
    "    Print this help.",
];

/// Longest that DEBUG SLEEP stops the server, in seconds: a hundred years do for any test.
const LONGEST_SLEEP: f64 = 3e9;

fn debug(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    require_permission(cx)?;
    let name = args.at(1).to_ascii_lowercase();
    match (name.as_slice(), args.len()) {
        (b"help", 2) => help(cx),
        (b"digest", 2) => cx.reply.simple(&digest::of_keyspace(cx.keys.keyspace, cx.now_ms()).to_hex()),
        (b"digest-value", _) => digest_values(cx, args),
        (b"error", 3) => cx.reply.error(args.at(2)),
        (b"segfault", 2) => crash::fault(),
        (b"panic" | b"assert", 2) => end_by_bug(&name),
        (b"log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2)));
            cx.reply.ok();
        }
        (b"sleep", 3) => sleep(cx, args),
        (b"populate", 3..=5) => return populate(cx, args),
        (b"protocol", 3) => return protocol(cx, args.at(2)),
        (b"object", 3 | 4) => return inspect::object(cx, args),
        (b"htstats", 3..) => return inspect::table_of_database(cx, args),
        (b"htstats-key", 3..) => return inspect::table_of_value(cx, args),
        (b"listpack", 3) => return inspect::listpack(cx, args),
        (b"mallctl", 3) => return read_control(cx, args.at(2)),
        (b"structsize", 2) => cx.reply.bulk(sizes().as_bytes()),
        (b"config-rewrite-force-all", 2) => return rewrite_all(cx),
        (b"replybuffer", 4) => return set_reply_buffers(cx, args),
        (b"reload", _) => return reload(cx, args),
        (b"restart", _) => return start_anew(cx, args, Ending::Orderly),
        (b"crash-and-recover", _) => return start_anew(cx, args, Ending::Crash),
        (b"loadaof", 2) => return load_aof(cx),
        (b"aof-flush-sleep", 3) => {
            cx.server.aof.flush_sleep_us =
                parse_i64(args.at(2)).and_then(|us| us.try_into().ok()).unwrap_or(0);
            cx.reply.ok();
        }
        (b"protect-client", 3) => return protect_client(cx, args.at(2)),
        (b"change-repl-id", 2) => replication::change_id(cx),
        (b"replicate", 3..) => replication::replicate(cx, args),
        (b"delay-rdb-client-free-seconds", 3) => return replication::set_psync_grace(cx, args.at(2)),
        (b"drop-cluster-packet-filter", 3) => return cluster::set_drop_filter(cx, args.at(2)),
        (b"clusterlink", 5) if is_word(args.at(2), "kill") => return cluster::kill_links(cx, args),
        (b"slotmigration", 4) => return cluster::set_migration_switch(cx, args),
        (_, 3) if cluster::set_switch(cx, &name, args.at(2)) => cx.reply.ok(),
        (b"stringmatch-test", 2) => {
            try_patterns();
            cx.reply.simple("Apparently Valkey did not crash: test passed");
        }
        (b"quicklist-packed-threshold", 3) => return set_packed_threshold(cx, args.at(2)),
        (_, 3) if set_switch(cx, &name, is_on(args.at(2))) => cx.reply.ok(),
        _ => {
            let (command, subcommand) = (args.at(0).into(), args.at(1).into());
            return Err(CommandError::SubcommandSyntax { command, subcommand });
        }
    }
    Ok(())
}

fn require_permission(cx: &Context<'_>) -> Outcome {
    let local = cx.client().is_some_and(|client| client.is_local());
    match cx.server.config.enable_debug_command {
        ProtectedAction::Yes => Ok(()),
        ProtectedAction::Local if local => Ok(()),
        _ => Err(CommandError::Protected("DEBUG", "enable-debug-command")),
    }
}

fn help(cx: &mut Context<'_>) {
    cx.reply.array(HELP.len());
    for line in HELP {
        cx.reply.simple(line);
    }
}

fn digest_values(cx: &mut Context<'_>, args: Args<'_>) {
    cx.reply.array(args.len() - 2);
    for key in args.from(2).iter() {
        let mut digest = Digest::default();
        // Expired values count too: this looks at what is there, not at what clients see.
        if let Some(entry) = cx.keys.raw(key) {
            digest::mix_value(&mut digest, &entry, cx.now_ms());
        }
        cx.reply.simple(&digest.to_hex());
    }
}

fn sleep(cx: &mut Context<'_>, args: Args<'_>) {
    let seconds = parse_f64(args.at(2)).unwrap_or(0.0).clamp(0.0, LONGEST_SLEEP);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    cx.reply.ok();
}

fn populate(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keys = count(args.at(2))?;
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).map(count).transpose()?.filter(|size| *size > 0);
    for number in 0..keys {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        if cx.keys.contains(&key) {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = size {
            value.resize(size, 0);
        }
        cx.keys.insert(Entry::string(&key, &value, None));
        cx.touched(&key);
    }
    cx.reply.ok();
    Ok(())
}

fn protocol(cx: &mut Context<'_>, name: &[u8]) -> Outcome {
    let reply = &mut *cx.reply;
    match name.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        #[expect(clippy::approx_constant, reason = "the number that Valkey replies")]
        b"double" => reply.double(3.141),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.int(number);
                reply.bool(number == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.protocol() == Protocol::Resp2 => {
            return Err(CommandError::custom("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.bool(true),
        b"false" => reply.bool(false),
        b"verbatim" => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(CommandError::custom(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn reload(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for option in args.from(2).iter() {
        if is_word(option, "nosave") {
            save = false;
        } else if is_word(option, "noflush") {
            flush = false;
        } else if is_word(option, "merge") {
            merge = true;
        } else {
            return Err(CommandError::DebugReloadOption);
        }
    }
    if save && !cx.server.save(cx.keys.keyspace) {
        return Err(CommandError::Unspecified);
    }
    load(cx, flush, merge)?;
    tracing::info!("DB reloaded by DEBUG RELOAD");
    cx.reply.ok();
    Ok(())
}

/// Loads the snapshot. What is there is flushed only once the file has turned out to be one that this server reads.
fn load(cx: &mut Context<'_>, flush: bool, merge: bool) -> Outcome {
    let path = cx.server.config.dbfilename.as_path().to_owned();
    let access = cx.keys.keyspace.access_policy;
    let mut options = LoadOptions::new(&cx.server.config, cx.server.limits, access);
    options.replace = merge;
    options.checksum &= !cx.server.debug.skip_checksums;
    let now_ms = cx.keys.now_ms;
    let loaded = match Loader::open(&path, options) {
        Ok(None) => return Err(CommandError::DebugReloadFailed),
        Ok(Some(loader)) => {
            if flush {
                tracing::info!("RDB signature and version check passed. Flushing old data");
                flush_all(cx.keys.keyspace, cx.server, false);
                forget_libraries(cx);
                cx.server.forget_slot_migrations(cx.keys.keyspace);
            }
            let loaded = cx.server.persistence.load_at_once(cx.keys.keyspace, loader, now_ms);
            loaded.map(|finished| {
                cx.server.adopt_slot_imports(cx.keys.keyspace, &finished.origin.slot_imports);
            })
        }
        Err(error) => Err(error),
    };
    loaded.map_err(|error| {
        error.lines(&path).iter().for_each(|line| tracing::warn!("{line}"));
        CommandError::DebugReloadFailed
    })
}

/// Function libraries are data here, which FLUSHALL leaves alone.
fn forget_libraries(cx: &mut Context<'_>) {
    cx.keys.keyspace.set_libraries(Vec::new());
    drop(cx.server.scripting.functions.flush());
}

/// Loads the append-only file anew. The event loop turns meanwhile, except inside of a transaction, and on a replica, whose
/// primary would be answered like any other client that the server is loading.
fn load_aof(cx: &mut Context<'_>) -> Outcome {
    cx.server.settle_aof();
    cx.server.flush_aof(true);
    flush_all(cx.keys.keyspace, cx.server, false);
    forget_libraries(cx);
    cx.server.forget_slot_migrations(cx.keys.keyspace);
    cx.propagate_nothing();
    let in_steps = !cx.in_transaction && !cx.server.replication.is_replica();
    let loaded = match Replay::begin(cx.keys.keyspace, cx.server, in_steps) {
        Ok(Some(replay)) if in_steps => {
            let reload = Reload { replay, waiter: cx.server.waiter(cx.client) };
            cx.server.ask(Task::ReloadAof(Box::new(reload)));
            // Outside of a transaction the wish is granted.
            let _ = cx.block(BlockRequest::for_event(TimeoutReply::Null));
            return Ok(());
        }
        Ok(Some(replay)) => replay.run_at_once(cx.keys.keyspace, cx.server),
        Ok(None) => Ok(()),
        Err(lines) => Err(lines),
    };
    cx.server.note_reload(cx.keys.keyspace, loaded)?;
    cx.reply.ok();
    Ok(())
}

/// A million random patterns against random texts; the matcher must come to an end with each.
fn try_patterns() {
    const ROUNDS: usize = 100_000;
    const ALPHABET: &[u8] = b"a*?[]^-\\b";
    let mut random = fastrand::Rng::new();
    let mut word = || -> Vec<u8> {
        (0..random.usize(..32)).map(|_| *random.choice(ALPHABET).unwrap_or(&b'a')).collect()
    };
    for _ in 0..ROUNDS {
        let (pattern, text) = (word(), word());
        let _ = crate::algorithms::glob::matches(&pattern, &text, false);
    }
}

/// Ends the process as a bug of its own would: with a report in the log.
#[expect(clippy::panic, reason = "to panic is what is asked for")]
fn end_by_bug(name: &[u8]) {
    if name == b"assert" {
        tracing::warn!("=== ASSERTION FAILED ===");
    }
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    panic!("DEBUG {name} called at Unix time {}", clock::unix_ms() / 1000);
}

/// Has the process become a new one. A reply means that it has not.
fn start_anew(cx: &mut Context<'_>, args: Args<'_>, ending: Ending) -> Outcome {
    let delay_ms = args.get(2).map(integer).transpose()?.unwrap_or(0);
    let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
    let hide = cx.server.config.hide_user_data_from_log;
    let client = cx.client().map(|client| client.short_description(hide)).unwrap_or_default();
    restart(cx.keys.keyspace, cx.server, &client, ending, delay);
    Err(CommandError::custom("ERR failed to restart the server. Check server logs."))
}

fn set_packed_threshold(cx: &mut Context<'_>, size: &[u8]) -> Outcome {
    let bytes = parse_memory_size(size).and_then(|bytes| u32::try_from(bytes).ok()).ok_or_else(|| {
        CommandError::custom("ERR argument must be a memory value bigger than 1 and smaller than 4gb")
    })?;
    cx.server.limits.list = cx.server.limits.list.with_packed_threshold(bytes);
    cx.reply.ok();
    Ok(())
}

fn read_control(cx: &mut Context<'_>, name: &[u8]) -> Outcome {
    let value = std::str::from_utf8(name).ok().and_then(control_value);
    let value = value.ok_or_else(|| CommandError::custom("ERR No such file or directory"))?;
    cx.reply.int(value.cast_signed());
    Ok(())
}

/// The sizes that this server's memory is made of.
fn sizes() -> String {
    format!("bits:{} entry:{} client:{} ", usize::BITS, size_of::<Entry>(), size_of::<Client>())
}

fn rewrite_all(cx: &mut Context<'_>) -> Outcome {
    let path = cx.server.identity.config_file.as_str();
    cx.server.config.rewriting_of_all().write(Path::new(path), &File::sync_all).map_err(|error| {
        CommandError::custom(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {}", os_reason(&error)))
    })?;
    cx.reply.ok();
    Ok(())
}

/// How reply buffers give back their room.
fn set_reply_buffers(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let value = args.at(3);
    if is_word(args.at(2), "peak-reset-time") {
        cx.server.debug.reply_peak_ms = if is_word(value, "never") {
            Some(-1)
        } else if is_word(value, "reset") {
            None
        } else {
            Some(integer(value)?)
        };
    } else if is_word(args.at(2), "resizing") {
        cx.server.debug.keep_reply_buffers = !is_on(value);
    } else {
        return Err(CommandError::Syntax);
    }
    cx.reply.ok();
    Ok(())
}

fn is_on(arg: &[u8]) -> bool {
    parse_i64(arg).is_some_and(|value| value != 0)
}

/// Has a client stay connected whatever the server would close it for.
fn protect_client(cx: &mut Context<'_>, id: &[u8]) -> Outcome {
    let id = parse_i64(id).and_then(|id| u64::try_from(id).ok());
    let id = id.ok_or_else(|| CommandError::custom("ERR Invalid client id"))?;
    let client = cx.server.clients.iter_mut().find(|client| client.id == id);
    client.ok_or_else(|| CommandError::custom("ERR No such client"))?.protected = true;
    cx.reply.ok();
    Ok(())
}

/// Turns a switch; `false` when there is none of this name.
fn set_switch(cx: &mut Context<'_>, name: &[u8], on: bool) -> bool {
    match name {
        b"set-active-expire" => cx.server.active_expiry = on,
        b"set-disable-deny-scripts" => cx.server.debug.allow_denied_in_scripts = on,
        b"set-skip-checksum-validation" => cx.server.debug.skip_checksums = on,
        b"pause-cron" => cx.server.debug.pause_cron = on,
        b"pause-after-fork" => cx.server.debug.pause_after_fork = on,
        b"dict-resizing" => {
            for database in cx.keys.keyspace.databases_mut() {
                database.table_mut().resize_paused(!on);
            }
        }
        b"client-enforce-reply-list" => cx.server.debug.large_replies = on,
        // Valkey's own table has no counterpart here; its tests turn this switch all the same.
        b"hashtable-can-abort-shrink" => {}
        // The primary's connection always ends in its own time.
        b"force-free-primary-async" => {}
        _ => return false,
    }
    true
}
