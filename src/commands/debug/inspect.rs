//! DEBUG OBJECT, HTSTATS, HTSTATS-KEY, LISTPACK: how a value or a table is laid out.

use std::fmt::Write as _;

use crate::algorithms::numbers::parse_i64;
use crate::keyspace::Entry;
use crate::keyspace::access::idle_seconds;
use crate::persistence::write_value;
use crate::rdb::{Writer, WriterOptions};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Args, Outcome};
use crate::structures::hash_table::BucketStatistics;
use crate::types::{Encoding, Hash, List, Set, SortedSet};

use super::super::arguments::is_word;

pub(super) fn object(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let fast = args.get(3).is_some_and(|option| is_word(option, "fast"));
    let (now_ms, policy) = (cx.keys.now_ms, cx.keys.keyspace.access_policy);
    let entry = cx.keys.raw(args.at(2)).ok_or(CommandError::NoSuchKey)?;
    let mut text =
        format!("Value at:{:p} refcount:1 encoding:{}", entry.key().as_ptr(), entry.encoding().name());
    if !fast {
        let _ = write!(text, " serializedlength:{}", saved_len(&entry));
    }
    let clock = entry.clock();
    let _ = if policy.is_lfu() {
        let frequency = policy.frequency(clock, now_ms);
        write!(text, " lfu_freq:{frequency} lfu_access_time_minutes:{}", clock >> 8)
    } else {
        write!(text, " lru:{clock} lru_seconds_idle:{}", idle_seconds(clock, now_ms))
    };
    if let (Encoding::Quicklist, Some(list)) = (entry.encoding(), entry.value::<List>()) {
        describe_nodes(&list, fast, &mut text);
    }
    cx.reply.simple(&text);
    Ok(())
}

/// Bytes that the value takes in a snapshot.
fn saved_len(entry: &Entry) -> u64 {
    let mut writer = Writer::counting(WriterOptions::default());
    // A counting sink takes everything.
    let _ = write_value(entry, &mut writer);
    writer.bytes_written()
}

/// The figures of a quicklist's nodes.
fn describe_nodes(list: &List, fast: bool, text: &mut String) {
    let Some(figures) = list.node_figures() else { return };
    let average = figures.len as f64 / figures.nodes.max(1) as f64;
    let compressed = u8::from(figures.compress_depth != 0);
    let _ = write!(
        text,
        " ql_nodes:{} ql_avg_node:{average:.2} ql_listpack_max:{} ql_compressed:{compressed}",
        figures.nodes, figures.fill
    );
    if !fast {
        let _ = write!(text, " ql_uncompressed_size:{}", figures.uncompressed_bytes);
    }
}

/// How a table is filled, in the manner of Valkey's own description.
fn describe(statistics: &BucketStatistics, text: &mut String) {
    let _ = writeln!(text, "Hash table 0 stats (main hash table):");
    let _ = writeln!(text, " table size: {}", statistics.slots);
    let _ = writeln!(text, " number of elements: {}", statistics.elements);
    let _ = writeln!(text, " top-level buckets: {}", statistics.top_level_buckets);
    let _ = writeln!(text, " child buckets: {}", statistics.child_buckets);
    let _ = writeln!(text, " memory used: {}", statistics.bytes);
    for (children, buckets) in statistics.chain_lengths.iter().enumerate() {
        let _ = writeln!(text, "   {children}: {buckets}");
    }
}

pub(super) fn table_of_database(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let number = parse_i64(args.at(2)).ok_or(CommandError::NotAnInteger)?;
    let database = usize::try_from(number)
        .ok()
        .and_then(|number| cx.keys.keyspace.databases().get(number))
        .ok_or(CommandError::DebugOutOfRangeDb)?;
    let mut text = "[Dictionary HT]\n".to_owned();
    describe(&database.table().bucket_statistics(), &mut text);
    let _ = writeln!(text, "[Expires HT]\n number of elements: {}", database.expires());
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

pub(super) fn table_of_value(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let entry = cx.keys.peek(args.at(2)).ok_or(CommandError::NoSuchKey)?;
    let statistics = (entry.value::<Set>().and_then(|set| set.bucket_statistics()))
        .or_else(|| entry.value::<Hash>().and_then(|hash| hash.bucket_statistics()))
        .or_else(|| entry.value::<SortedSet>().and_then(|sorted_set| sorted_set.bucket_statistics()));
    let statistics = statistics.ok_or_else(|| {
        CommandError::custom(
            "ERR The value stored at the specified key is not represented using an hash table",
        )
    })?;
    let mut text = String::new();
    describe(&statistics, &mut text);
    cx.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

pub(super) fn listpack(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let entry = cx.keys.peek(args.at(2)).ok_or(CommandError::NoSuchKey)?;
    if entry.encoding().name() != "listpack" {
        return Err(CommandError::DebugNotListpack);
    }
    tracing::info!("Listpack of {}: {} bytes", String::from_utf8_lossy(args.at(2)), entry.weight());
    cx.reply.simple("Listpack structure printed on stdout");
    Ok(())
}
