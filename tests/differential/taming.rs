//! Requests whose replies or effects would depend on the moment, on chance, or on how Valkey's structures happen to look
//! are changed so that they do not.

use super::link::{Words, words};

fn integer(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn seconds(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Whether what the request leaves behind depends on the moment or on chance.
pub fn is_lossy(request: &Words) -> bool {
    let name = request[0].to_ascii_lowercase();
    matches!(name.as_slice(), b"spop") || name == b"xadd" && request.iter().any(|word| word == b"*")
}

/// Moves times that would pass during the session far away, and has blocking commands wait for a moment only. Returns
/// whether something lives for a millisecond.
pub fn tame(request: &mut Words) -> bool {
    let name = request[0].to_ascii_lowercase();
    let mut pause = false;
    tame_time(request, &name, &mut pause);
    tame_idle(request, &name);
    tame_timeout(request, &name);
    if name.starts_with(b"sort") {
        tame_order(request);
    }
    tame_lexicographic(request, &name);
    tame_scan(request, &name);
    // As many random members as are asked for, be it more than memory holds.
    let is_random = matches!(name.as_slice(), b"srandmember" | b"hrandfield" | b"zrandmember");
    if is_random && request.len() > 2 && integer(&request[2]).is_some_and(|count| count < -1000) {
        request[2] = b"-1000".to_vec();
    }
    // No names are looked up, and nobody listens there.
    if name == b"migrate" && request.len() > 3 {
        request[1] = b"127.0.0.1".to_vec();
        request[2] = b"1".to_vec();
    }
    // Valkey takes a key of these names for the option when it rewrites the request, and reports another key's change.
    if name == b"hsetex" && request.get(1).is_some_and(|key| is_condition(key)) {
        request[1] = b"hash:1".to_vec();
    }
    pause
}

/// Ranges by words are asked only of sorted sets whose scores are all the same: of others Valkey's answer depends on
/// how its skip list happens to look.
fn tame_lexicographic(request: &mut Words, name: &[u8]) {
    let is_lexicographic = name.windows(3).any(|part| part == b"lex")
        || name.starts_with(b"zrange") && request.iter().any(|word| word.eq_ignore_ascii_case(b"bylex"));
    let keys = if name == b"zrangestore" { 2 } else { 1 };
    if is_lexicographic {
        for key in request.iter_mut().skip(1).take(keys) {
            let number = key.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 4;
            *key = format!("words:{number}").into_bytes();
        }
    }
}

fn is_condition(word: &[u8]) -> bool {
    [&b"nx"[..], b"xx", b"fnx", b"fxx"].iter().any(|condition| word.eq_ignore_ascii_case(condition))
}

/// A scan comes across all expired keys, not across those of its first buckets.
fn tame_scan(request: &mut Words, name: &[u8]) {
    if name != b"scan" || request.len() < 2 {
        return;
    }
    if integer(&request[1]).is_some() {
        request[1] = b"0".to_vec();
    }
    match request.iter().position(|word| word.eq_ignore_ascii_case(b"count")) {
        None => request.extend(words("COUNT 100000")),
        Some(place) => {
            if let Some(count) = request.get_mut(place + 1).filter(|count| integer(count).is_some()) {
                *count = b"100000".to_vec();
            }
        }
    }
}

/// What depends on the order of elements of the same weight is not stored, nor are weights looked up for it.
fn tame_order(request: &mut Words) {
    let place =
        |request: &Words, option: &[u8]| request.iter().position(|word| word.eq_ignore_ascii_case(option));
    if place(request, b"by").is_none() {
        return;
    }
    if place(request, b"get").is_some() {
        while let Some(limit) = place(request, b"limit") {
            request[limit] = b"ASC".to_vec();
            request.drain(limit + 1..(limit + 3).min(request.len()));
        }
    }
    if place(request, b"store").is_some() {
        while let Some(alpha) = place(request, b"alpha") {
            request[alpha] = b"ASC".to_vec();
        }
    }
}

fn tame_time(request: &mut Words, name: &[u8], pause: &mut bool) {
    let fixed = match name {
        b"expire" | b"pexpire" | b"hexpire" | b"hpexpire" | b"setex" | b"psetex" | b"restore" => Some(2),
        _ => None,
    };
    let is_restore = name == b"restore";
    for index in 1..request.len() {
        let before = request[index - 1].to_ascii_lowercase();
        let is_time = fixed == Some(index)
            || matches!(name, b"set" | b"getex" | b"hgetex" | b"hsetex" | b"msetex")
                && matches!(before.as_slice(), b"ex" | b"px");
        let Some(time) = integer(&request[index]).filter(|_| is_time) else { continue };
        let in_milliseconds =
            is_restore || name.starts_with(b"p") || name.starts_with(b"hp") || before == b"px";
        if time == 1 && in_milliseconds {
            *pause = true;
        } else if (1..10_000_000).contains(&time) && in_milliseconds {
            request[index] = (time + 10_000_000_000).to_string().into_bytes();
        } else if (1..10_000).contains(&time) {
            request[index] = (time + 1_000_000).to_string().into_bytes();
        }
    }
}

fn tame_idle(request: &mut Words, name: &[u8]) {
    for index in 1..request.len() {
        let after_idle = request[index - 1].eq_ignore_ascii_case(b"idle");
        let is_idle = match name {
            b"xclaim" | b"xautoclaim" => index == 4,
            b"xpending" => after_idle,
            _ => false,
        };
        if is_idle && integer(&request[index]).is_some_and(|idle| (1..1_000_000_000).contains(&idle)) {
            request[index] = b"0".to_vec();
        }
    }
}

fn tame_timeout(request: &mut Words, name: &[u8]) {
    let last = request.len() - 1;
    let place = match name {
        b"blpop" | b"brpop" | b"bzpopmin" | b"bzpopmax" | b"blmove" | b"brpoplpush" => Some(last),
        b"blmpop" | b"bzmpop" => Some(1),
        b"migrate" => Some(5),
        _ => None,
    };
    for index in 1..request.len() {
        if place == Some(index) && seconds(&request[index]).is_some_and(|time| time == 0.0 || time > 0.01) {
            request[index] = if name == b"migrate" { b"1000".to_vec() } else { b"0.002".to_vec() };
        }
        // Hexadecimal is a number too.
        if place == Some(index) && request[index].iter().any(|byte| matches!(byte, b'x' | b'X' | 0)) {
            request[index] = b"abc".to_vec();
        }
        let blocks =
            matches!(name, b"xread" | b"xreadgroup") && request[index - 1].eq_ignore_ascii_case(b"block");
        if blocks && integer(&request[index]).is_some_and(|time| time >= 0) {
            request[index] = b"2".to_vec();
        }
    }
}
