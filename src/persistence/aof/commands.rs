//! A data set as the commands that build it: a base that is no snapshot (`aof-use-rdb-preamble no`).
//!
//! As few commands as can be: collections are filled in steps of 64 items. What has expired and is still there is written
//! with its expiry. The walk reads entries by `&` only, as that of a snapshot does.

use std::io::{self, Write};

use crate::algorithms::numbers::format_f64_by_layout;
use crate::algorithms::slot_set::SlotSet;
use crate::keyspace::{Entry, Keyspace};
use crate::persistence::save::delay;
use crate::persistence::{Observer, SlotImport};
use crate::types::stream::{Group, StreamId};
use crate::types::{Hash, List, Set, SortedSet, Stream};

/// Items that a command adds at most (Valkey: `AOF_REWRITE_ITEMS_PER_CMD`).
const ITEMS: usize = 64;
/// Bytes that are gathered before they are written.
const GATHERED: usize = 64 * 1024;

/// What the walk needs beside the keyspace.
#[derive(Debug, Clone, Copy)]
pub struct CommandOptions<'a> {
    /// Begin with a timestamp (`aof-timestamp-enabled`): Unix s.
    pub timestamp: Option<i64>,
    /// `rdb-key-save-delay`: microseconds to wait after each key.
    pub key_delay_us: i32,
    /// Only the keys of these slots, and no libraries; `None`: everything.
    pub slots: Option<&'a SlotSet>,
    /// Slots whose keys are here before the slots are: who reads this has to hide them.
    pub slot_imports: &'a [SlotImport],
}

/// Writes the whole data set and gives the sink back, not flushed.
///
/// # Errors
/// The sink's, or the observer's.
pub fn write_commands<W: Write>(
    keyspace: &Keyspace,
    options: &CommandOptions<'_>,
    sink: W,
    observer: &mut impl Observer,
) -> io::Result<W> {
    let mut out = Requests { sink, gathered: Vec::with_capacity(GATHERED), outcome: Ok(()) };
    if let Some(seconds) = options.timestamp {
        out.gathered.extend_from_slice(&annotation(seconds));
    }
    if options.slots.is_none() {
        for source in keyspace.libraries() {
            out.request(&[b"FUNCTION", b"LOAD", source]);
            out.flush_when_full();
        }
    }
    options.slot_imports.iter().for_each(|(name, ranges)| write_slot_import(name, ranges, &mut out));
    let mut keys = 0;
    for (number, database) in keyspace.databases().iter().enumerate() {
        let keys_in = |slots: &SlotSet| slots.iter().any(|slot| database.keys_in_slot(slot) > 0);
        if database.is_empty() || !options.slots.is_none_or(keys_in) {
            continue;
        }
        out.request(&[b"SELECT", itoa::Buffer::new().format(number).as_bytes()]);
        let mut write = |entry: &Entry| {
            if out.outcome.is_err() {
                return;
            }
            observer.on_entry(entry);
            keys += 1;
            write_entry(entry, &mut out);
            out.flush_when_full();
            if options.key_delay_us != 0 {
                // What is slow on purpose goes out at once, so that whoever waits sees it come.
                out.flush();
                delay(options.key_delay_us);
            }
            if out.outcome.is_ok() {
                out.outcome = observer.entry_written(keys);
            }
        };
        match options.slots {
            None => database.table().for_each_prefetched(write),
            Some(slots) => {
                let entries = slots.iter().flat_map(|slot| database.entries_in_slot(slot));
                entries.for_each(|entry| write(&entry));
            }
        }
    }
    out.finish()
}

fn write_slot_import<W: Write>(name: &[u8], ranges: &[(u16, u16)], out: &mut Requests<W>) {
    out.begin(6 + 2 * ranges.len());
    for word in [b"CLUSTER".as_slice(), b"SYNCSLOTS", b"ESTABLISH", b"NAME", name, b"SLOTSRANGE"] {
        out.arg(word);
    }
    ranges.iter().flat_map(|(start, end)| [start, end]).for_each(|slot| out.number(i64::from(*slot)));
}

/// The line that says when what follows it was written.
#[must_use]
pub fn annotation(seconds: i64) -> Vec<u8> {
    format!("#TS:{seconds}\r\n").into_bytes()
}

/// Requests on their way to the sink.
struct Requests<W> {
    sink: W,
    gathered: Vec<u8>,
    outcome: io::Result<()>,
}

impl<W: Write> Requests<W> {
    fn header(&mut self, mark: u8, length: usize) {
        self.gathered.push(mark);
        self.gathered.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.gathered.extend_from_slice(b"\r\n");
    }

    /// Begins a request of so many arguments.
    fn begin(&mut self, args: usize) {
        self.flush_when_full();
        self.header(b'*', args);
    }

    fn arg(&mut self, arg: &[u8]) {
        self.header(b'$', arg.len());
        self.gathered.extend_from_slice(arg);
        self.gathered.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, number: i64) {
        self.arg(itoa::Buffer::new().format(number).as_bytes());
    }

    fn id(&mut self, id: StreamId) {
        self.arg(format!("{}-{}", id.ms, id.seq).as_bytes());
    }

    fn request(&mut self, args: &[&[u8]]) {
        self.begin(args.len());
        args.iter().for_each(|arg| self.arg(arg));
    }

    fn flush_when_full(&mut self) {
        if self.gathered.len() >= GATHERED {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.outcome.is_ok() {
            self.outcome = self.sink.write_all(&self.gathered);
        }
        self.gathered.clear();
        self.gathered.shrink_to(2 * GATHERED);
    }

    fn finish(mut self) -> io::Result<W> {
        self.flush();
        self.outcome.map(|()| self.sink)
    }
}

/// Splits the items of a collection over commands of [`ITEMS`] items.
struct Steps<'a> {
    command: &'a [u8],
    key: &'a [u8],
    /// Arguments that make up an item.
    width: usize,
    /// Items that are still to come.
    left: usize,
    /// Items that the running command still takes.
    room: usize,
}

impl<'a> Steps<'a> {
    fn new(command: &'a [u8], key: &'a [u8], width: usize, items: usize) -> Self {
        Self { command, key, width, left: items, room: 0 }
    }

    /// Begins an item, and a command if the one before is full.
    fn item<W: Write>(&mut self, out: &mut Requests<W>) {
        if self.room == 0 {
            self.room = self.left.clamp(1, ITEMS);
            out.begin(2 + self.room * self.width);
            out.arg(self.command);
            out.arg(self.key);
        }
        self.room -= 1;
        self.left = self.left.saturating_sub(1);
    }
}

fn write_entry<W: Write>(entry: &Entry, out: &mut Requests<W>) {
    let key = entry.key();
    if let Some(string) = entry.as_string() {
        out.request(&[b"SET", key, string.as_bytes(&mut itoa::Buffer::new())]);
    } else if let Some(list) = entry.value::<List>() {
        let mut steps = Steps::new(b"RPUSH", key, 1, list.len());
        list.for_each(|element| {
            steps.item(out);
            out.arg(element);
        });
    } else if let Some(set) = entry.value::<Set>() {
        let mut steps = Steps::new(b"SADD", key, 1, set.len());
        set.for_each(|member| {
            steps.item(out);
            out.arg(member);
        });
    } else if let Some(sorted_set) = entry.value::<SortedSet>() {
        let mut steps = Steps::new(b"ZADD", key, 2, sorted_set.len());
        sorted_set.for_each(|member, score| {
            steps.item(out);
            out.arg(format_f64_by_layout(score).as_bytes());
            out.arg(member);
        });
    } else if let Some(hash) = entry.value::<Hash>() {
        write_hash(key, &hash, out);
    } else if let Some(stream) = entry.value::<Stream>() {
        write_stream(key, &stream, out);
    }
    if let Some(expiry_ms) = entry.expiry_ms() {
        out.request(&[b"PEXPIREAT", key, itoa::Buffer::new().format(expiry_ms).as_bytes()]);
    }
}

/// Fields that expire have commands of their own.
fn write_hash<W: Write>(key: &[u8], hash: &Hash, out: &mut Requests<W>) {
    let mut volatile = 0;
    hash.for_each(|field, value, expiry_ms| {
        if let Some(expiry_ms) = expiry_ms {
            volatile += 1;
            let mut digits = itoa::Buffer::new();
            let expiry = digits.format(expiry_ms).as_bytes();
            out.request(&[b"HSETEX", key, b"PXAT", expiry, b"FIELDS", b"1", field, value]);
        }
    });
    let mut steps = Steps::new(b"HMSET", key, 2, hash.len().saturating_sub(volatile));
    hash.for_each(|field, value, expiry_ms| {
        if expiry_ms.is_none() {
            steps.item(out);
            out.arg(field);
            out.arg(value);
        }
    });
}

fn write_stream<W: Write>(key: &[u8], stream: &Stream, out: &mut Requests<W>) {
    if stream.is_empty() {
        // An entry that is trimmed at once leaves the empty stream.
        out.request(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    stream.for_each(|id, fields| {
        let parts: Vec<_> = fields.flat_map(|(field, value)| [field, value]).collect();
        out.begin(3 + parts.len());
        out.arg(b"XADD");
        out.arg(key);
        out.id(id);
        for part in parts {
            out.arg(part.as_bytes(&mut itoa::Buffer::new()));
        }
    });
    out.begin(7);
    out.arg(b"XSETID");
    out.arg(key);
    out.id(stream.last_id());
    out.arg(b"ENTRIESADDED");
    out.number(i64::try_from(stream.entries_added()).unwrap_or(i64::MAX));
    out.arg(b"MAXDELETEDID");
    out.id(stream.max_deleted_id());
    for group in stream.groups.iter() {
        write_group(key, group, out);
    }
}

fn write_group<W: Write>(key: &[u8], group: &Group, out: &mut Requests<W>) {
    out.begin(7);
    out.arg(b"XGROUP");
    out.arg(b"CREATE");
    out.arg(key);
    out.arg(group.name());
    out.id(group.last_id);
    out.arg(b"ENTRIESREAD");
    out.number(group.entries_read.map_or(-1, |read| i64::try_from(read).unwrap_or(i64::MAX)));
    for consumer in group.consumers() {
        if consumer.pending_len() == 0 {
            out.request(&[b"XGROUP", b"CREATECONSUMER", key, group.name(), consumer.name()]);
        }
        for id in consumer.pending_from(StreamId::MIN) {
            let Some(pending) = group.find_pending(id) else { continue };
            out.begin(12);
            out.arg(b"XCLAIM");
            out.arg(key);
            out.arg(group.name());
            out.arg(consumer.name());
            out.arg(b"0");
            out.id(id);
            out.arg(b"TIME");
            out.number(pending.delivered_ms);
            out.arg(b"RETRYCOUNT");
            out.number(i64::try_from(pending.deliveries).unwrap_or(i64::MAX));
            out.arg(b"JUSTID");
            out.arg(b"FORCE");
        }
    }
}
