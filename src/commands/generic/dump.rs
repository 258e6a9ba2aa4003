//! COPY, DUMP and RESTORE: a value again, under another key or in another server.
#![deny(clippy::indexing_slicing)]

use super::super::arguments::{database, integer, is_word};
use super::super::expiry::{deletion, is_over};
use crate::config::{EventClasses, RdbVersionCheck};
use crate::keyspace::access::{clock_of_frequency, clock_of_idle};
use crate::keyspace::{Entry, Keys};
use crate::persistence::dump_payload;
use crate::rdb::dump::verify;
use crate::rdb::format::{FOREIGN_VERSION_MAX, FOREIGN_VERSION_MIN, VersionCheck};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::types::{Hash, Value, ValueType};

/// The first type byte that means different things to Valkey and to Redis.
const FIRST_FOREIGN_TYPE: u8 = 22;

pub(super) const COPY: Command = Command {
    name: "copy",
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::KEYSPACE,
    keys: &[
        KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
        KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
    ],
    group: Group::Generic,
    since: "6.2.0",
    complexity: "O(N), N being the elements of a collection; O(1) for a string",
    summary: "Copies the value of a key to another key.",
    arguments: &[
        Arg::key("source"),
        Arg::new("destination", ArgKind::Key).of_key_spec(1),
        Arg::integer("destination-db").token("DB").optional(),
        Arg::flag("replace", "REPLACE").optional(),
    ],
    handler: copy,
    ..Command::DEFAULT
};

/// Fields whose time is over are not copied. (Where no others are, Valkey leaves an empty hash; here they go with the
/// key.)
fn leave_out_expired(keys: &mut Keys<'_>, copied: &[u8]) -> Outcome {
    let at_ms = keys.fields_at_ms();
    let is_hash = keys.peek(copied).is_some_and(|entry| entry.value_type() == ValueType::Hash);
    if is_hash
        && let Some(mut hash) = keys.write_as::<Hash>(copied)?
        && hash.has_volatile_fields()
        && hash.live_len(at_ms) > 0
    {
        hash.take_expired(at_ms, usize::MAX);
    }
    Ok(())
}

fn copy(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, copied) = (args.at(1), args.at(2));
    let (mut target, mut replace) = (cx.keys.database, false);
    let mut index = 3;
    while let Some(word) = args.get(index) {
        match args.get(index + 1) {
            _ if is_word(word, "replace") => replace = true,
            Some(number) if is_word(word, "db") => {
                target = database(cx, number)?;
                index += 1;
            }
            _ => return Err(CommandError::Syntax),
        }
        index += 1;
    }
    if target == cx.keys.database && key == copied {
        return Err(CommandError::SameObject);
    }
    let Some(entry) = cx.keys.read(key) else {
        cx.reply.int(0);
        return Ok(());
    };
    let duplicate = entry.duplicate(copied).ok_or(CommandError::UnknownTypeObject)?;
    let replaced = cx.keys.within(target, |keys| match keys.contains(copied) {
        true if !replace => Err(()),
        _ => Ok(keys.remove(copied)),
    });
    let Ok(replaced) = replaced else {
        cx.reply.int(0);
        return Ok(());
    };
    cx.keys.within(target, |keys| {
        keys.insert(duplicate);
        leave_out_expired(keys, copied)
    })?;
    cx.touched_in(target, EventClasses::GENERIC, "copy_to", copied);
    cx.count_changes(1);
    cx.free_replaced(replaced);
    cx.reply.int(1);
    Ok(())
}

pub(super) const DUMP: Command = Command {
    name: "dump",
    arity: 2,
    flags: flag::READONLY,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(N), N being the bytes of the value",
    summary: "Gives the value of a key in a form that RESTORE takes.",
    arguments: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: dump,
    ..Command::DEFAULT
};

fn dump(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let compress = cx.server.config.rdbcompression;
    let Some(entry) = cx.keys.read(args.at(1)) else {
        cx.reply.null();
        return Ok(());
    };
    // Memory never refuses a write.
    let payload =
        dump_payload(&entry, compress).map_err(|error| CommandError::custom(format!("ERR {error}")))?;
    cx.reply.bulk(&payload);
    Ok(())
}

/// What RESTORE does besides making the key.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 4;
        while let Some(word) = args.get(index) {
            match args.get(index + 1) {
                _ if is_word(word, "replace") => options.replace = true,
                _ if is_word(word, "absttl") => options.absolute = true,
                Some(value) if is_word(word, "idletime") && options.frequency.is_none() => {
                    let seconds = u64::try_from(integer(value)?);
                    options.idle_seconds = Some(seconds.map_err(|_| CommandError::InvalidIdletime)?);
                    index += 1;
                }
                Some(value) if is_word(word, "freq") && options.idle_seconds.is_none() => {
                    let counter = u8::try_from(integer(value)?);
                    options.frequency = Some(counter.map_err(|_| CommandError::InvalidFreq)?);
                    index += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
            index += 1;
        }
        Ok(options)
    }

    /// The access clock of the new entry, if the options say one and it is of the kind in use.
    fn clock(&self, is_lfu: bool, now_ms: i64) -> Option<u32> {
        match (self.idle_seconds, self.frequency) {
            (Some(seconds), _) if !is_lfu => Some(clock_of_idle(seconds, now_ms)),
            (_, Some(counter)) if is_lfu => Some(clock_of_frequency(counter, now_ms)),
            _ => None,
        }
    }
}

fn read_payload(cx: &Context<'_>, payload: &[u8]) -> Result<Value, CommandError> {
    let check = match cx.server.config.rdb_version_check {
        RdbVersionCheck::Strict => VersionCheck::Strict,
        RdbVersionCheck::Relaxed => VersionCheck::Relaxed,
    };
    let dump =
        verify(payload, check, !cx.server.debug.skip_checksums).map_err(|_| CommandError::DumpPayload)?;
    let foreign = (FOREIGN_VERSION_MIN..=FOREIGN_VERSION_MAX).contains(&dump.version);
    match dump.body.first() {
        Some(byte) if foreign && *byte >= FIRST_FOREIGN_TYPE => {
            return Err(CommandError::custom(format!("ERR Unsupported foreign data type: {byte}")));
        }
        _ => {}
    }
    let (form, mut reader) = dump.open().ok_or(CommandError::BadDataFormat)?;
    match Value::read_rdb(&mut reader, form, &cx.server.limits, None) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(CommandError::BadDataFormat),
        Err(error) => {
            tracing::warn!("Internal error in RDB reading offset {}: {}", error.offset, error.kind);
            Err(CommandError::BadDataFormat)
        }
    }
}

/// What MIGRATE sends to a node of a cluster, whatever the node thinks of the slot.
pub(super) const RESTORE_ASKING: Command = Command {
    name: "restore-asking",
    flags: flag::WRITE | flag::DENYOOM | flag::ASKING,
    since: "3.0.0",
    group: Group::Server,
    summary: "The RESTORE of MIGRATE between nodes of a cluster.",
    ..RESTORE
};

pub(super) const RESTORE: Command = Command {
    name: "restore",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    categories: category::DANGEROUS | category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)],
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(N), N being the bytes of the value; O(N*log(N)) for a sorted set",
    summary: "Makes a key from what DUMP gave.",
    arguments: &[
        Arg::key("key"),
        Arg::integer("ttl"),
        Arg::string("serialized-value"),
        Arg::flag("replace", "REPLACE").since("3.0.0").optional(),
        Arg::flag("absttl", "ABSTTL").since("5.0.0").optional(),
        Arg::integer("seconds").token("IDLETIME").since("5.0.0").optional(),
        Arg::integer("frequency").token("FREQ").since("5.0.0").optional(),
    ],
    history: &[
        ("3.0.0", "Takes `REPLACE`."),
        ("5.0.0", "Takes `ABSTTL`."),
        ("5.0.0", "Takes `IDLETIME` and `FREQ`."),
    ],
    handler: restore,
    ..Command::DEFAULT
};

fn restore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, now_ms) = (args.at(1), cx.now_ms());
    let options = RestoreOptions::parse(args)?;
    if !options.replace && cx.keys.contains(key) {
        return Err(CommandError::BusyKey);
    }
    let ttl = integer(args.at(2))?;
    if ttl < 0 {
        return Err(CommandError::InvalidTtl);
    }
    let value = read_payload(cx, args.at(3))?;
    let replaced = cx.keys.remove_any(key);
    let base_ms = if options.absolute { 0 } else { now_ms };
    // A time to live that overflows is in the past, as in Valkey.
    let expiry_ms = (ttl != 0).then(|| ttl.wrapping_add(base_ms));
    if expiry_ms.is_some_and(|expiry_ms| is_over(cx, expiry_ms)) {
        if replaced.is_some() {
            cx.propagate_as(&[deletion(cx.server.config.lazyfree_lazy_server_del), key]);
            cx.changed(EventClasses::GENERIC, "del", key);
        }
    } else {
        let position = cx.keys.insert(Entry::with_value(key, value, expiry_ms));
        let is_lfu = cx.keys.keyspace.access_policy.is_lfu();
        if let Some(clock) = options.clock(is_lfu, now_ms) {
            cx.keys.db_mut().table_mut().get_mut(position).set_clock(clock);
        }
        if let Some(expiry_ms) = expiry_ms.filter(|_| !options.absolute) {
            let mut buffer = itoa::Buffer::new();
            let instant = buffer.format(expiry_ms).as_bytes();
            cx.propagate_with(args, &[(2, instant), (args.len(), b"ABSTTL")]);
        }
        cx.changed(EventClasses::GENERIC, "restore", key);
    }
    cx.free_replaced(replaced);
    cx.reply.ok();
    Ok(())
}
