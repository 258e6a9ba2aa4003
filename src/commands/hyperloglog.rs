//! HyperLogLogs: strings that estimate how many distinct elements were added (`types::string::hyperloglog`).

use super::arguments::is_word;
use crate::config::EventClasses;
use crate::keyspace::{Entry, Keys};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::string::hyperloglog::{self, Corrupt, Form, Histogram, REGISTERS, Registers};

/// The family.
pub(super) const COMMANDS: &[Command] = &[PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST];

/// What all commands of the family have in common.
const HYPERLOGLOG_COMMAND: Command = Command {
    categories: category::HYPERLOGLOG,
    group: Group::Hyperloglog,
    since: "2.8.9",
    ..Command::DEFAULT
};

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> Self {
        Self::CorruptHyperLogLog
    }
}

/// The bytes of the HyperLogLog under a key, to read.
fn read<'a>(keys: &'a mut Keys<'_>, key: &[u8]) -> Result<Option<(Form, &'a [u8])>, CommandError> {
    use crate::types::string::StringRef;
    match keys.read_string(key)? {
        None => Ok(None),
        Some(StringRef::Int(_)) => Err(CommandError::NotHyperLogLog),
        Some(StringRef::Bytes(bytes)) => {
            let form = Form::of(bytes).ok_or(CommandError::NotHyperLogLog)?;
            Ok(Some((form, bytes)))
        }
    }
}

/// The form of the HyperLogLog under a key that is about to be changed.
fn form_to_change(keys: &mut Keys<'_>, key: &[u8]) -> Result<Option<Form>, CommandError> {
    match keys.write(key) {
        None => Ok(None),
        Some(entry) => {
            let string = entry.as_string().ok_or(CommandError::WrongType)?;
            let form = Form::of(string.as_bytes(&mut itoa::Buffer::new()));
            form.map(Some).ok_or(CommandError::NotHyperLogLog)
        }
    }
}

fn sparse_max_bytes(cx: &Context<'_>) -> usize {
    usize::try_from(cx.server.config.hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

const PFADD: Command = Command {
    name: "pfadd",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    complexity: "O(1) for each element.",
    summary: "Adds elements to a HyperLogLog. Creates the key if it is not there.",
    arguments: &[Arg::key("key"), Arg::string("element").optional().multiple()],
    handler: pfadd,
    ..HYPERLOGLOG_COMMAND
};

fn pfadd(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, max_bytes) = (args.at(1), sparse_max_bytes(cx));
    let mut raised = 0;
    if form_to_change(&mut cx.keys, key)?.is_none() {
        cx.keys.insert(Entry::raw_string(key, hyperloglog::create(), None));
        raised += 1;
    }
    if let Some(mut string) = cx.keys.write_string(key)? {
        for element in args.from(2).iter() {
            raised += usize::from(hyperloglog::add(&mut string, element, max_bytes)?);
        }
        if raised > 0 {
            hyperloglog::invalidate(&mut string);
        }
    }
    if raised > 0 {
        cx.changed(EventClasses::STRING, "pfadd", key);
        cx.count_changes(raised - 1);
    }
    cx.reply.int(i64::from(raised > 0));
    Ok(())
}

const PFCOUNT: Command = Command {
    name: "pfcount",
    arity: -2,
    flags: flag::READONLY | flag::MAY_REPLICATE,
    keys: &[KeySpec {
        notes: "RW because it may change the internal representation of the key, and propagate to replicas",
        ..KeySpec::range(1, -1, 1, key_flag::RW | key_flag::ACCESS)
    }],
    complexity: "O(1) for one key, O(N) for N keys, with a far larger constant.",
    summary: "Estimates how many distinct elements HyperLogLogs have together.",
    arguments: &[Arg::key("key").multiple()],
    handler: pfcount,
    ..HYPERLOGLOG_COMMAND
};

fn pfcount(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        let (registers, _) = merged(&mut cx.keys, args)?;
        let mut histogram = Histogram::default();
        registers.iter().for_each(|register| histogram.add(*register, 1));
        cx.reply.int(histogram.cardinality().cast_signed());
        return Ok(());
    }
    let key = args.at(1);
    if read(&mut cx.keys, key)?.is_none() {
        cx.reply.int(0);
        return Ok(());
    }
    let Some(mut string) = cx.keys.write_string(key)? else { return Ok(()) };
    let cardinality = match hyperloglog::cached(string.as_bytes()) {
        Some(cardinality) => cardinality,
        None => {
            // A read command that changes the string, so that the next one need not count again.
            let cardinality = hyperloglog::count(string.as_bytes())?;
            hyperloglog::set_cached(&mut string, cardinality);
            drop(string);
            cx.touched(key);
            cx.count_changes(1);
            cardinality
        }
    };
    cx.reply.int(cardinality.cast_signed());
    Ok(())
}

/// The union of all keys of a request, and whether one of them is dense. Missing keys are empty.
fn merged(keys: &mut Keys<'_>, args: Args<'_>) -> Result<(Box<Registers>, bool), CommandError> {
    let mut registers = Box::new([0; REGISTERS]);
    let mut dense = false;
    for key in args.from(1).iter() {
        if let Some((form, bytes)) = read(keys, key)? {
            dense |= form == Form::Dense;
            hyperloglog::merge(&mut registers, bytes)?;
        }
    }
    Ok((registers, dense))
}

const PFMERGE: Command = Command {
    name: "pfmerge",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::INSERT),
        KeySpec::range(2, -1, 1, key_flag::RO | key_flag::ACCESS),
    ],
    complexity: "O(N) for N keys, with a large constant.",
    summary: "Adds what other HyperLogLogs hold to one. Creates the key if it is not there.",
    arguments: &[Arg::key("destkey"), Arg::key("sourcekey").of_key_spec(1).optional().multiple()],
    handler: pfmerge,
    ..HYPERLOGLOG_COMMAND
};

fn pfmerge(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (registers, dense) = merged(&mut cx.keys, args)?;
    let (key, max_bytes) = (args.at(1), sparse_max_bytes(cx));
    if !cx.keys.contains(key) {
        cx.keys.insert(Entry::raw_string(key, hyperloglog::create(), None));
    }
    if let Some(mut string) = cx.keys.write_string(key)? {
        hyperloglog::store(&mut string, &registers, dense, max_bytes)?;
    }
    cx.changed(EventClasses::STRING, "pfadd", key);
    cx.reply.ok();
    Ok(())
}

const PFDEBUG: Command = Command {
    name: "pfdebug",
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::ADMIN,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::ACCESS)],
    complexity: "N/A",
    summary: "Shows how a HyperLogLog is laid out.",
    arguments: &[Arg::string("subcommand"), Arg::key("key")],
    handler: pfdebug,
    ..HYPERLOGLOG_COMMAND
};

fn pfdebug(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (subcommand, key) = (args.at(1), args.at(2));
    if is_word(subcommand, "simd") {
        if !is_word(key, "on") && !is_word(key, "off") {
            return Err(CommandError::custom("ERR Argument must be ON or OFF"));
        }
        // Registers are merged without vector instructions of our own choosing: there is nothing to switch.
        cx.reply.simple("disabled");
        return Ok(());
    }
    let form = form_to_change(&mut cx.keys, key)?
        .ok_or_else(|| CommandError::custom("ERR The specified key does not exist"))?;
    let Some(mut string) = cx.keys.write_string(key)? else { return Ok(()) };
    let mut converted = false;
    match subcommand {
        word if is_word(word, "getreg") => {
            converted = hyperloglog::make_dense(&mut string)?;
            cx.reply.array(REGISTERS);
            hyperloglog::dense_registers(string.as_bytes())
                .for_each(|register| cx.reply.int(i64::from(register)));
        }
        word if is_word(word, "decode") => {
            if form == Form::Dense {
                return Err(CommandError::custom("ERR HLL encoding is not sparse"));
            }
            cx.reply.bulk(hyperloglog::describe(string.as_bytes()).as_bytes());
        }
        word if is_word(word, "encoding") => cx.reply.simple(form.name()),
        word if is_word(word, "todense") => {
            converted = hyperloglog::make_dense(&mut string)?;
            cx.reply.int(i64::from(converted));
        }
        _ => {
            let text = [b"ERR Unknown PFDEBUG subcommand '", subcommand, b"'"].concat();
            return Err(CommandError::custom(text));
        }
    }
    drop(string);
    cx.count_changes(usize::from(converted));
    Ok(())
}

const PFSELFTEST: Command = Command {
    name: "pfselftest",
    arity: 1,
    flags: flag::ADMIN,
    complexity: "N/A",
    summary: "Tries how well HyperLogLogs estimate.",
    handler: pfselftest,
    ..HYPERLOGLOG_COMMAND
};

/// Adds distinct elements to a sparse and a dense string at a time, and compares them with each other and the estimates
/// with the truth at every power of ten. A tenth of Valkey's ten million elements: nobody else is served meanwhile.
fn pfselftest(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    const ELEMENTS: u64 = 1_000_000;
    let failed = |why: String| Err(CommandError::custom(format!("ERR TESTFAILED {why}")));
    let max_bytes = sparse_max_bytes(cx);
    let seed = cx.keys.keyspace.random().u64(..);
    let (mut sparse, mut dense) = (hyperloglog::create(), hyperloglog::create_dense());
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS {
        let element = (number ^ seed).to_le_bytes();
        hyperloglog::add(&mut sparse, &element, max_bytes)?;
        hyperloglog::add(&mut dense, &element, max_bytes)?;
        if number != checkpoint {
            continue;
        }
        let form = Form::of(sparse.as_bytes());
        if number < max_bytes as u64 / 2 && form != Some(Form::Sparse) {
            return failed("sparse encoding not used".into());
        }
        let count = hyperloglog::count(dense.as_bytes())?;
        if count != hyperloglog::count(sparse.as_bytes())? {
            return failed("dense/sparse disagree".into());
        }
        // Six times the standard error; at ten elements collisions make that too strict now and then.
        let standard_error = 1.04 / (REGISTERS as f64).sqrt();
        let allowed = if number == 10 { 1 } else { (standard_error * 6.0 * number as f64).ceil() as u64 };
        let error = count.abs_diff(number);
        if error > allowed {
            return failed(format!("Too big error. card:{number} abserr:{error}"));
        }
        checkpoint *= 10;
    }
    cx.reply.ok();
    Ok(())
}
