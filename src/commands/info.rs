//! INFO: the state of the server for people and tools.

use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::info::{Selection, render};

/// The family.
pub(super) const COMMANDS: &[Command] = &[INFO];

const INFO: Command = Command {
    name: "info",
    arity: -1,
    flags: flag::LOADING | flag::STALE,
    categories: category::DANGEROUS,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Replies figures about the server, in sections.",
    arguments: &[Arg::string("section").optional().multiple()],
    history: &[("7.0.0", "Several sections can be asked for.")],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: info,
    ..Command::DEFAULT
};

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if let Some(client) = cx.client_mut() {
        // What it sent is parsed and on its way to be run.
        client.query.pending = 0;
    }
    let selection = Selection::parse(args.from(1));
    let text = render(&selection, cx.keys.keyspace, cx.server);
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}
