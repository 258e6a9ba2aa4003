//! Which keys there are: KEYS, SCAN, RANDOMKEY, DBSIZE.

use super::super::scan::{ScanOptions, ScanReply, Scanned, cursor};
use crate::algorithms::glob;
use crate::server::Context;
use crate::server::command::{Arg, ArgKind, Args, Command, Group, Outcome, category, flag};

/// Steps of a SCAN that may lead over hidden keys alone.
const HIDDEN_STEPS: usize = 10_000;

pub(super) const KEYS: Command = Command {
    name: "keys",
    arity: 2,
    flags: flag::READONLY,
    categories: category::DANGEROUS | category::KEYSPACE,
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N), N being the keys of the database",
    summary: "Lists the keys that match a pattern.",
    arguments: &[Arg::new("pattern", ArgKind::Pattern)],
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    handler: keys,
    ..Command::DEFAULT
};

fn keys(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let pattern = args.at(1);
    let (now_ms, hides) = (cx.now_ms(), cx.keys.keyspace.hides_expired());
    let limit = cx.reply_limit();
    let length = cx.reply.deferred();
    let mut count = 0;
    let hides_slots = cx.keys.keyspace.hides_slots();
    for entry in cx.keys.db().table().iter() {
        if cx.reply.len() > limit {
            break;
        }
        let matches = pattern == b"*" || glob::matches(pattern, entry.key(), false);
        let is_hidden = hides_slots && cx.keys.keyspace.is_hidden(entry.key());
        if matches && !is_hidden && !(hides && entry.is_expired(now_ms)) {
            cx.reply.bulk(entry.key());
            count += 1;
        }
    }
    cx.reply.set_array(length, count);
    Ok(())
}

pub(super) const SCAN: Command = Command {
    name: "scan",
    arity: -2,
    flags: flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS,
    categories: category::KEYSPACE,
    group: Group::Generic,
    since: "2.8.0",
    complexity: "O(1) a call, O(N) for a whole scan of N keys",
    summary: "Lists the keys of the selected database a piece at a time.",
    arguments: &[
        Arg::integer("cursor"),
        Arg::new("pattern", ArgKind::Pattern).token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::string("type").token("TYPE").since("6.0.0").optional(),
    ],
    history: &[("6.0.0", "Takes `TYPE`.")],
    tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
    handler: scan,
    ..Command::DEFAULT
};

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = cursor(args.at(1))?;
    let options = ScanOptions::parse(args, 2, Scanned::Keys)?;
    let (now_ms, hides) = (cx.now_ms(), cx.keys.keyspace.hides_expired());
    let mut found = ScanReply::new(cx.reply);
    let mut expired = Vec::new();
    let (keyspace, table) = (&*cx.keys.keyspace, cx.keys.db().table());
    let mut patience = HIDDEN_STEPS;
    let cursor = options.walk(cursor, |mut cursor| {
        loop {
            let (mut seen, mut passed_over) = (0, false);
            let next = table.scan(cursor, |entry| {
                if keyspace.is_hidden(entry.key()) {
                    passed_over = true;
                    return;
                }
                seen += 1;
                let wanted = options.value_type.is_none_or(|wanted| wanted == entry.value_type());
                if !wanted || !options.matches(entry.key()) {
                    return;
                }
                if hides && entry.is_expired(now_ms) {
                    expired.push(entry.key().to_vec());
                } else {
                    found.push(entry.key());
                }
            });
            // What nobody may see yet does not count, within reason.
            if seen > 0 || !passed_over || next == 0 || patience == 0 {
                return (next, seen);
            }
            patience -= 1;
            cursor = next;
        }
    });
    for key in &expired {
        // Looking for it deletes it.
        let _ = cx.keys.contains(key);
    }
    found.finish(cursor, cx.reply);
    Ok(())
}

pub(super) const RANDOMKEY: Command = Command {
    name: "randomkey",
    arity: 1,
    flags: flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS,
    categories: category::KEYSPACE,
    group: Group::Generic,
    since: "1.0.0",
    summary: "Gives any one key of the selected database.",
    tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
    handler: randomkey,
    ..Command::DEFAULT
};

fn randomkey(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    match cx.keys.random_key() {
        Some(key) => cx.reply.bulk(&key),
        None => cx.reply.null(),
    }
    Ok(())
}

pub(super) const DBSIZE: Command = Command {
    name: "dbsize",
    arity: 1,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    group: Group::Server,
    since: "1.0.0",
    summary: "Counts the keys of the selected database.",
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    handler: dbsize,
    ..Command::DEFAULT
};

fn dbsize(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply.int(cx.keys.keyspace.visible_len(cx.keys.database) as i64);
    Ok(())
}
