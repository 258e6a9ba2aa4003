//! The documentation of a command, as COMMAND DOCS replies it.

use crate::resp::Reply;
use crate::server::command::{Arg, ArgKind, TableEntry};

/// Writes a command's name and the map of its documentation.
pub(super) fn write(entry: &TableEntry, reply: &mut Reply) {
    let command = entry.command;
    let subcommands = entry.sorted_subcommands();
    let present = [
        !command.complexity.is_empty(),
        // What is deprecated has three fields about it.
        command.deprecated.is_some(),
        command.deprecated.is_some(),
        command.deprecated.is_some(),
        !command.history.is_empty(),
        !command.arguments.is_empty(),
        !subcommands.is_empty(),
    ];
    reply.bulk(entry.full_name.as_bytes());
    reply.map(3 + present.into_iter().filter(|is_present| *is_present).count());
    field(reply, "summary", command.summary);
    field(reply, "since", command.since);
    field(reply, "group", command.group.name());
    if !command.complexity.is_empty() {
        field(reply, "complexity", command.complexity);
    }
    if let Some((since, replacement)) = command.deprecated {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        field(reply, "deprecated_since", since);
        field(reply, "replaced_by", replacement);
    }
    if !command.history.is_empty() {
        reply.bulk(b"history");
        reply.set(command.history.len());
        for (version, change) in command.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !command.arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments(command.arguments, reply);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for subcommand in subcommands {
            write(subcommand, reply);
        }
    }
}

fn field(reply: &mut Reply, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn arguments(arguments: &[Arg], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        one(argument, reply);
    }
}

fn one(argument: &Arg, reply: &mut Reply) {
    let is_group = matches!(argument.kind, ArgKind::OneOf | ArgKind::Block);
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    let flags: Vec<&str> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    let present = [
        argument.key_spec.is_some(),
        argument.has_token(),
        !argument.since.is_empty(),
        !argument.deprecated.is_empty(),
        !flags.is_empty(),
    ];
    reply.map(3 + present.into_iter().filter(|is_present| *is_present).count());
    field(reply, "name", argument.name);
    field(reply, "type", argument.kind.name());
    if !is_group {
        field(reply, "display_text", argument.display);
    }
    if let Some(index) = argument.key_spec {
        reply.bulk(b"key_spec_index");
        reply.int(index as i64);
    }
    if argument.has_token() {
        field(reply, "token", argument.token);
    }
    for (name, version) in [("since", argument.since), ("deprecated_since", argument.deprecated)] {
        if !version.is_empty() {
            field(reply, name, version);
        }
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    if is_group {
        reply.bulk(b"arguments");
        self::arguments(argument.arguments, reply);
    }
}
