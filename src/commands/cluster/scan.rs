//! CLUSTERSCAN: a scan whose cursor says by its hash tag which node goes on with it.
//!
//! A cursor is `fingerprint-{tag}-cursor`: the tag's slot is the first of those still to be scanned, slot after slot as
//! far as this node serves them in a row. The fingerprint ties a cursor to the hashing of keys; with another one the slot
//! is scanned from its beginning.

use super::{CLUSTER_COMMAND, enabled};
use crate::algorithms::hash::hash;
use crate::algorithms::numbers::parse_u64;
use crate::algorithms::slot::{SLOTS, slot_of, slot_of_pattern};
use crate::commands::scan::{ScanOptions, ScanReply, Scanned};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, ArgKind, Args, Command, KeySpec, Outcome, category, flag, key_flag};

/// What stands for "not begun" in the place of a fingerprint.
const NOT_BEGUN: &str = "0";

/// Bits that a cursor within a slot has at most.
const CURSOR_BITS: u32 = 48;
const CURSOR: u64 = (1 << CURSOR_BITS) - 1;

pub(super) const CLUSTERSCAN: Command = Command {
    name: "clusterscan",
    arity: -2,
    flags: flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::NOT_KEY)],
    since: "9.1.0",
    complexity: "O(N), N keys looked at.",
    summary: "Lists the keys of a cluster a piece at a time.",
    arguments: &[
        Arg::string("cursor"),
        Arg::new("match-pattern", ArgKind::Pattern).token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::string("type").token("TYPE").optional(),
        Arg::integer("slot").token("SLOT").optional(),
    ],
    tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
    handler: clusterscan,
    ..CLUSTER_COMMAND
};

/// The tag of this slot, without braces: the first of the shortest ones, as in Valkey's table.
fn tag_of(slot: u16) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let tag = |length: u32, number: usize| -> Vec<u8> {
        (0..length).rev().map(|place| DIGITS[number / 62_usize.pow(place) % 62]).collect()
    };
    let tags = (1..=3).flat_map(|length| (0..62_usize.pow(length)).map(move |number| tag(length, number)));
    let found = tags.into_iter().find(|tag| slot_of(tag) == slot).unwrap_or_default();
    String::from_utf8_lossy(&found).into_owned()
}

fn cursor_text(fingerprint: &str, slot: u16, cursor: u64) -> String {
    format!("{fingerprint}-{{{}}}-{cursor}", tag_of(slot))
}

/// Six characters that follow from the key that hashes are made under.
fn fingerprint() -> String {
    let bits = hash(b"CLUSTERSCAN") as u32;
    (0..6).rev().map(|place| char::from(b'0' + (bits >> (6 * place) & 63) as u8)).collect()
}

/// The slot and the place in it that a cursor names.
fn parse_cursor(text: &[u8]) -> Option<(u16, u64)> {
    let mut parts = text.splitn(3, |byte| *byte == b'-');
    let (begun, tag, cursor) = (parts.next()?, parts.next()?, parts.next()?);
    let cursor = parse_u64(cursor)?;
    let is_own = begun == fingerprint().as_bytes();
    Some((slot_of(tag), if is_own { cursor } else { 0 }))
}

fn clusterscan(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    enabled(cx)?;
    let options = ScanOptions::parse(args, 2, Scanned::Slots)?;
    let by_pattern = options.pattern.and_then(slot_of_pattern);
    let contradiction = options.slot.zip(by_pattern).is_some_and(|(slot, other)| slot != other);
    if args.at(1) == b"0" {
        let slot = options.slot.or(by_pattern).unwrap_or(0);
        reply_nothing(cx, (!contradiction).then_some(slot));
        return Ok(());
    }
    let (slot, cursor) =
        parse_cursor(args.at(1)).ok_or_else(|| CommandError::custom("ERR Invalid cursor"))?;
    if options.slot.is_some_and(|wanted| wanted != slot) {
        return Err(CommandError::custom("ERR Cursor slot mismatch with SLOT argument"));
    }
    if let Some(other) = by_pattern.filter(|other| *other != slot) {
        // Only forwards, or the scan would never end.
        reply_nothing(cx, (!contradiction && other > slot).then_some(other));
        return Ok(());
    }
    let alone = options.slot.is_some() || by_pattern.is_some();
    let last = if alone { slot } else { last_in_row(cx, slot)? };
    scan_slots(cx, &options, cursor, slot, last, alone);
    Ok(())
}

/// The last of the slots in a row from this one on that this node serves.
fn last_in_row(cx: &mut Context<'_>, slot: u16) -> Result<u16, CommandError> {
    let cluster = enabled(cx)?;
    let serves = cluster.serves(slot);
    Ok((slot..SLOTS as u16).take_while(|next| cluster.serves(*next) == serves).last().unwrap_or(slot))
}

/// A reply without keys: the scan goes on at the beginning of a slot, or ends.
fn reply_nothing(cx: &mut Context<'_>, next: Option<u16>) {
    let cursor = next.map_or_else(|| "0".to_owned(), |slot| cursor_text(NOT_BEGUN, slot, 0));
    cx.reply.array(2);
    cx.reply.bulk(cursor.as_bytes());
    cx.reply.array(0);
}

/// A slot and a cursor within it as one number, which is not 0. What a client makes up for a cursor is cut to size.
fn pack(slot: u16, cursor: u64) -> u64 {
    (u64::from(slot) + 1) << CURSOR_BITS | cursor & CURSOR
}

fn unpack(place: u64) -> (u16, u64) {
    ((place >> CURSOR_BITS).saturating_sub(1) as u16, place & CURSOR)
}

fn scan_slots(
    cx: &mut Context<'_>,
    options: &ScanOptions<'_>,
    cursor: u64,
    first: u16,
    last: u16,
    alone: bool,
) {
    let (now_ms, hides) = (cx.now_ms(), cx.keys.keyspace.hides_expired());
    let mut found = ScanReply::new(cx.reply);
    let mut expired = Vec::new();
    let (keyspace, database) = (&*cx.keys.keyspace, cx.keys.db());
    let step = |place| {
        let (slot, cursor) = unpack(place);
        let mut seen = 0;
        let next = database.scan_slot(slot, cursor, |entry| {
            seen += 1;
            let wanted = options.value_type.is_none_or(|wanted| wanted == entry.value_type())
                && !keyspace.is_hidden(entry.key())
                && options.matches(entry.key());
            if !wanted {
                return;
            }
            if hides && entry.is_expired(now_ms) {
                expired.push(entry.key().to_vec());
            } else {
                found.push(entry.key());
            }
        });
        if next != 0 {
            return (pack(slot, next), seen);
        }
        let further = (slot + 1..=last).find(|slot| database.keys_in_slot(*slot) > 0);
        (further.map_or(0, |slot| pack(slot, 0)), seen)
    };
    let place = options.walk(pack(first, cursor), step);
    for key in &expired {
        // Looking for it deletes it.
        let _ = cx.keys.contains(key);
    }
    let text = if place != 0 {
        let (slot, cursor) = unpack(place);
        cursor_text(&fingerprint(), slot, cursor)
    } else if !alone && usize::from(last) + 1 < SLOTS {
        cursor_text(NOT_BEGUN, last + 1, 0)
    } else {
        "0".to_owned()
    };
    found.finish_at(text.as_bytes(), cx.reply);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag() {
        for slot in (0..SLOTS as u16).step_by(7).chain([16383]) {
            assert_eq!(slot_of(tag_of(slot).as_bytes()), slot);
        }
        assert_eq!([0, 1, 2, 7].map(tag_of), ["06S", "Qi", "5L5", "1LV"]);
    }

    #[test]
    fn cursors_come_back_as_they_went() {
        assert_eq!(parse_cursor(cursor_text(&fingerprint(), 12182, 77).as_bytes()), Some((12182, 77)));
        assert_eq!(parse_cursor(cursor_text("other!", 12182, 77).as_bytes()), Some((12182, 0)));
        for wrong in ["invalid", "abc-def-ghi", "0-", "0-{0}", "0-{0}-x"] {
            assert_eq!(parse_cursor(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
