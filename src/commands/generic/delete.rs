//! DEL and UNLINK.

use crate::config::EventClasses;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};

pub(super) const DEL: Command = Command {
    name: "del",
    arity: -2,
    flags: flag::WRITE,
    categories: category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, key_flag::RM | key_flag::DELETE)],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N), N being the keys, and O(M) for a collection of M elements",
    summary: "Deletes keys.",
    arguments: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: del,
    ..Command::DEFAULT
};

fn del(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let lazily = cx.server.config.lazyfree_lazy_user_del;
    delete(cx, args, lazily)
}

pub(super) const UNLINK: Command = Command {
    name: "unlink",
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, key_flag::RM | key_flag::DELETE)],
    group: Group::Generic,
    since: "4.0.0",
    complexity: "O(N), N being the keys; freeing goes on in the background",
    summary: "Deletes keys and frees their values elsewhere.",
    arguments: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: unlink,
    ..Command::DEFAULT
};

fn unlink(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    delete(cx, args, true)
}

fn delete(cx: &mut Context<'_>, args: Args<'_>, lazily: bool) -> Outcome {
    let mut deleted = 0;
    for key in args.from(1).iter() {
        if let Some(entry) = cx.keys.remove(key) {
            deleted += 1;
            cx.changed(EventClasses::GENERIC, "del", key);
            cx.server.background.free_entry(entry, lazily);
        }
    }
    cx.reply.int(deleted);
    Ok(())
}
