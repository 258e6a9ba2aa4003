//! SORT and SORT_RO: the elements of a list, a set or a sorted set in an order of their own or by other keys.

use std::cmp::Ordering;

use super::super::arguments::{integer, is_word};
use crate::algorithms::numbers::parse_f64;
use crate::algorithms::slot::{slot_of, slot_of_pattern};
use crate::config::EventClasses;
use crate::keyspace::{Entry, Keys, StringRef, ValueRef};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{
    Arg, ArgKind, Args, Begin, Command, Find, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::structures::quicklist::End;
use crate::types::{Hash, List, Set, SortedSet, ValueType};

/// What is asked for.
struct Plan<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: (i64, i64),
    descending: bool,
    alphabetic: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Plan<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut plan = Self {
            by: None,
            get: Vec::new(),
            limit: (0, -1),
            descending: false,
            alphabetic: false,
            store: None,
        };
        let mut index = 2;
        while let Some(word) = args.get(index) {
            let (value, second) = (args.get(index + 1), args.get(index + 2));
            index += 1;
            match (value, second) {
                _ if is_word(word, "asc") => plan.descending = false,
                _ if is_word(word, "desc") => plan.descending = true,
                _ if is_word(word, "alpha") => plan.alphabetic = true,
                (Some(start), Some(count)) if is_word(word, "limit") => {
                    plan.limit = (integer(start)?, integer(count)?);
                    index += 2;
                }
                (Some(key), _) if may_store && is_word(word, "store") => {
                    plan.store = Some(key);
                    index += 1;
                }
                (Some(pattern), _) if is_word(word, "by") => {
                    plan.by = Some(pattern);
                    index += 1;
                }
                (Some(pattern), _) if is_word(word, "get") => {
                    plan.get.push(pattern);
                    index += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(plan)
    }

    /// A node of a cluster can only read keys of the slot that it was asked for: patterns must stand for no others.
    fn check_slot(&self, key: &[u8]) -> Result<(), CommandError> {
        let denied = |option: &str| {
            CommandError::custom(format!(
                "ERR {option} option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots."
            ))
        };
        let slot = Some(slot_of(key));
        let elsewhere = |pattern: &[u8]| slot_of_pattern(pattern) != slot;
        if self.by.is_some_and(|pattern| pattern.contains(&b'*') && elsewhere(pattern)) {
            return Err(denied("BY"));
        }
        if self.get.iter().any(|pattern| *pattern != b"#" && elsewhere(pattern)) {
            return Err(denied("GET"));
        }
        Ok(())
    }

    /// Patterns stand for any key, so that the user has to have the right to read them all.
    fn check_rights(&self, cx: &Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
        let sorts_by_keys = self.by.is_some_and(|pattern| pattern.contains(&b'*'));
        if !sorts_by_keys && self.get.is_empty() || cx.server.may_read_every_key(cx.client, cx.command, args)
        {
            return Ok(());
        }
        Err(if sorts_by_keys { CommandError::SortByDenied } else { CommandError::SortGetDenied })
    }

    /// Which of `len` elements LIMIT leaves.
    fn window(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.limit.0.max(0)).unwrap_or(len).min(len);
        let end = match usize::try_from(self.limit.1) {
            Ok(count) => start.saturating_add(count).min(len),
            Err(_) => len,
        };
        start..end
    }
}

pub(super) const SORT: Command = Command {
    name: "sort",
    arity: -2,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS,
    categories: category::DANGEROUS | category::LIST | category::SET | category::SORTEDSET,
    keys: &[
        KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
        KeySpec {
            flags: key_flag::RO | key_flag::ACCESS,
            begin: Begin::Unknown,
            find: Find::Unknown,
            notes: "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort",
        },
        KeySpec {
            flags: key_flag::OW | key_flag::UPDATE,
            begin: Begin::Unknown,
            find: Find::Unknown,
            notes: "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array",
        },
    ],
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(N+M*log(M)), N being the elements and M those returned",
    summary: "Sorts a list, a set or a sorted set, and gives or stores the result.",
    arguments: &[
        Arg::key("key"),
        Arg::new("by-pattern", ArgKind::Pattern).shown_as("pattern").of_key_spec(1).token("BY").optional(),
        Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional(),
        Arg::new("get-pattern", ArgKind::Pattern)
            .shown_as("pattern")
            .of_key_spec(1)
            .token("GET")
            .optional()
            .multiple_token(),
        Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional(),
        Arg::flag("sorting", "ALPHA").optional(),
        Arg::new("destination", ArgKind::Key).of_key_spec(2).token("STORE").optional(),
    ],
    handler: sort,
    ..Command::DEFAULT
};

fn sort(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    sort_key(cx, args, true)
}

pub(super) const SORT_RO: Command = Command {
    name: "sort_ro",
    arity: -2,
    flags: flag::READONLY | flag::MOVABLE_KEYS,
    categories: category::DANGEROUS | category::LIST | category::SET | category::SORTEDSET,
    keys: &[
        KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
        KeySpec {
            flags: key_flag::RO | key_flag::ACCESS,
            begin: Begin::Unknown,
            find: Find::Unknown,
            notes: "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort",
        },
    ],
    group: Group::Generic,
    since: "7.0.0",
    complexity: "O(N+M*log(M)), N being the elements and M those returned",
    summary: "Sorts a list, a set or a sorted set, and gives the result.",
    arguments: Arg::all_but_last(SORT.arguments),
    handler: sort_ro,
    ..Command::DEFAULT
};

fn sort_ro(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    sort_key(cx, args, false)
}

fn sort_key(cx: &mut Context<'_>, args: Args<'_>, may_store: bool) -> Outcome {
    let mut plan = Plan::parse(args, may_store)?;
    if cx.server.cluster.is_some() {
        plan.check_slot(args.at(1))?;
    }
    plan.check_rights(cx, args)?;
    let (mut elements, is_set) = elements(&mut cx.keys, args.at(1))?;
    // BY a pattern without a star asks for no order. A set has none of its own, and what is stored must not depend
    // on chance.
    let mut unsorted = plan.by.is_some_and(|pattern| !pattern.contains(&b'*'));
    // What is stored, and what a script sees, must not depend on how the set lies in memory.
    if unsorted && is_set && (plan.store.is_some() || cx.server.scripting.is_calling()) {
        unsorted = false;
        plan.alphabetic = true;
        plan.by = None;
    }
    if unsorted {
        if plan.descending {
            elements.reverse();
        }
    } else {
        elements = sorted(&mut cx.keys, elements, &plan)?;
    }
    let window = plan.window(elements.len());
    let elements = elements.get(window).unwrap_or_default();
    match plan.store {
        Some(target) => store(cx, &plan, elements, target),
        None => reply(cx, &plan, elements),
    }
    Ok(())
}

/// The elements under a key in their own order, and whether they are a set's.
fn elements(keys: &mut Keys<'_>, key: &[u8]) -> Result<(Vec<Vec<u8>>, bool), CommandError> {
    let mut elements = Vec::new();
    let Some(entry) = keys.read(key) else { return Ok((elements, false)) };
    let mut push = |element: &[u8]| elements.push(element.to_vec());
    match entry.value_type() {
        ValueType::List => {
            let list = ValueRef::<List>::of(&entry);
            list.into_iter().for_each(|list| list.for_each(&mut push));
        }
        ValueType::Set => {
            let set = ValueRef::<Set>::of(&entry);
            set.into_iter().for_each(|set| set.for_each(&mut push));
        }
        ValueType::SortedSet => {
            let sorted_set = ValueRef::<SortedSet>::of(&entry);
            sorted_set.into_iter().for_each(|members| members.for_each(|member, _| push(member)));
        }
        ValueType::String | ValueType::Hash | ValueType::Stream => return Err(CommandError::WrongType),
    }
    let value_type = entry.value_type();
    // Valkey sorts from the skip list, and leaves the sorted set so: OBJECT ENCODING shows it.
    if value_type == ValueType::SortedSet
        && let Some(mut sorted_set) = keys.write_as::<SortedSet>(key)?
    {
        sorted_set.leave_listpack();
    }
    Ok((elements, value_type == ValueType::Set))
}

/// What an element is compared by.
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
}

fn sorted(
    keys: &mut Keys<'_>,
    elements: Vec<Vec<u8>>,
    plan: &Plan<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut weighed = Vec::with_capacity(elements.len());
    // Every weight is looked up, be an earlier one no number: look-ups that miss are told of.
    let mut are_numbers = true;
    for element in elements {
        let weight = match plan.by {
            Some(pattern) => value_by_pattern(keys, pattern, &element),
            None => Some(element.clone()),
        };
        let weight = match weight {
            weight if plan.alphabetic => Weight::Text(weight),
            Some(text) => {
                let number = weight_number(&text);
                are_numbers &= number.is_some();
                Weight::Number(number.unwrap_or(0.0))
            }
            None => Weight::Number(0.0),
        };
        weighed.push((weight, element));
    }
    if !are_numbers {
        return Err(CommandError::SortNotDouble);
    }
    weighed.sort_by(|(first, first_element), (second, second_element)| {
        let order = match (first, second) {
            (Weight::Number(first), Weight::Number(second)) => first
                .partial_cmp(second)
                .unwrap_or(Ordering::Equal)
                .then_with(|| first_element.cmp(second_element)),
            (Weight::Text(first), Weight::Text(second)) => first.cmp(second),
            _ => Ordering::Equal,
        };
        if plan.descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// A weight's number; to Valkey the text ends with its first zero byte.
fn weight_number(text: &[u8]) -> Option<f64> {
    parse_f64(text.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// The string that a pattern leads to once the element has taken the place of its star: under a key, or in the field
/// of a hash (`key->field`); `#` is the element itself.
fn value_by_pattern(keys: &mut Keys<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = memchr::memchr(b'*', pattern)?;
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = memchr::memmem::find(after, b"->").filter(|arrow| arrow + 2 < after.len());
    let (after, field) = match arrow {
        Some(arrow) => (&after[..arrow], Some(&after[arrow + 2..])),
        None => (after, None),
    };
    let key = [before, element, after].concat();
    let now_ms = keys.now_ms;
    let entry = keys.read(&key)?;
    match field {
        Some(field) => {
            let hash = ValueRef::<Hash>::of(&entry)?;
            hash.get(field, now_ms).map(|value| value.as_bytes(&mut itoa::Buffer::new()).to_vec())
        }
        None => StringRef::of(&entry).map(StringRef::to_vec),
    }
}

fn reply(cx: &mut Context<'_>, plan: &Plan<'_>, elements: &[Vec<u8>]) {
    cx.reply.array(elements.len() * plan.get.len().max(1));
    for element in elements {
        if plan.get.is_empty() {
            cx.reply.bulk(element);
        }
        for pattern in &plan.get {
            match value_by_pattern(&mut cx.keys, pattern, element) {
                Some(value) => cx.reply.bulk(&value),
                None => cx.reply.null(),
            }
        }
    }
}

fn store(cx: &mut Context<'_>, plan: &Plan<'_>, elements: &[Vec<u8>], target: &[u8]) {
    let mut values = Vec::new();
    for element in elements {
        if plan.get.is_empty() {
            values.push(element.clone());
        }
        for pattern in &plan.get {
            values.push(value_by_pattern(&mut cx.keys, pattern, element).unwrap_or_default());
        }
    }
    let replaced = if values.is_empty() {
        let removed = cx.keys.remove_any(target);
        if removed.is_some() {
            cx.changed(EventClasses::GENERIC, "del", target);
        }
        removed
    } else {
        let mut list = List::default();
        list.push(End::Tail, values.iter().map(Vec::as_slice), cx.server.limits.list);
        let replaced = cx.keys.put(target, Entry::collection(target, list, None));
        cx.changed(EventClasses::LIST, "sortstore", target);
        cx.count_changes(values.len() - 1);
        replaced
    };
    cx.free_replaced(replaced);
    cx.reply.int(values.len() as i64);
}
