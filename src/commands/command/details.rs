//! The details of a command, as COMMAND and COMMAND INFO reply them.

use super::names;
use crate::resp::Reply;
use crate::server::command::{Begin, Find, KeySpec, TableEntry, category, flag, key_flag};

/// Writes the ten elements of a command, and those of its subcommands within.
pub(super) fn write(entry: &TableEntry, reply: &mut Reply) {
    let command = entry.command;
    let range = command.legacy_range();
    reply.array(10);
    reply.bulk(entry.full_name.as_bytes());
    reply.int(i64::from(command.arity));
    names(reply, flag::NAMES, |flag| command.has(flag));
    reply.int(i64::from(range.first));
    reply.int(i64::from(range.last));
    reply.int(i64::from(range.step));
    categories(command.all_categories(), reply);
    reply.set(command.tips.len());
    for tip in command.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(command.keys.len());
    for spec in command.keys {
        key_spec(spec, reply);
    }
    let subcommands = entry.sorted_subcommands();
    reply.array(subcommands.len());
    for subcommand in subcommands {
        write(subcommand, reply);
    }
}

fn categories(all: u32, reply: &mut Reply) {
    let chosen: Vec<&str> =
        category::NAMES.iter().filter(|(category, _)| all & category != 0).map(|(_, name)| *name).collect();
    reply.set(chosen.len());
    for name in chosen {
        reply.simple(&format!("@{name}"));
    }
}

fn key_spec(spec: &KeySpec, reply: &mut Reply) {
    reply.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    names(reply, key_flag::NAMES, |flag| spec.flags & flag != 0);
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => {
            search(reply, "index", 1);
            field(reply, "index", index as i64);
        }
        Begin::Keyword(word, from) => {
            search(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            field(reply, "startfrom", i64::from(from));
        }
        Begin::Unknown => search(reply, "unknown", 0),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            search(reply, "range", 3);
            field(reply, "lastkey", i64::from(last));
            field(reply, "keystep", i64::from(step));
            field(reply, "limit", i64::from(limit));
        }
        Find::Count { index, first, step } => {
            search(reply, "keynum", 3);
            field(reply, "keynumidx", i64::from(index));
            field(reply, "firstkey", i64::from(first));
            field(reply, "keystep", i64::from(step));
        }
        Find::Unknown => search(reply, "unknown", 0),
    }
}

/// The beginning of one half of a key specification: its type, and the header of its fields.
fn search(reply: &mut Reply, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn field(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}
