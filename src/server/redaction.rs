//! Which arguments are secrets, and stand as `(redacted)` wherever commands are shown: the monitor and the command log.

use super::command::{Args, TableEntry};
use crate::config::{Flags, find_option};

/// What stands for a secret.
pub(super) const REDACTED: &[u8] = b"(redacted)";

/// Whether the argument at `index` is a secret: passwords of AUTH, HELLO and MIGRATE, users and their
/// rules, values of sensitive options.
pub(super) fn is_redacted(entry: &TableEntry, args: Args<'_>, index: usize) -> bool {
    match entry.full_name.as_str() {
        "auth" => index >= 1,
        "acl|setuser" | "acl|deluser" | "acl|getuser" => index >= 2,
        "hello" => {
            let follows = |back: usize| {
                index.checked_sub(back).is_some_and(|at| at >= 2 && args.at(at).eq_ignore_ascii_case(b"auth"))
            };
            follows(1) || follows(2)
        }
        "migrate" => migrate_hides(args, index),
        "config|set" => {
            index >= 3
                && index % 2 == 1
                && find_option(args.at(index - 1)).is_some_and(|(spec, _)| spec.flags.has(Flags::SENSITIVE))
        }
        _ => false,
    }
}

/// MIGRATE's AUTH and AUTH2 are followed by what is secret, unless they stand among the keys.
fn migrate_hides(args: Args<'_>, index: usize) -> bool {
    let mut at = 6;
    while let Some(word) = args.get(at) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let secrets = match () {
            () if is(b"keys") => return false,
            () if is(b"auth") => 1,
            () if is(b"auth2") => 2,
            () => 0,
        };
        if (at + 1..=at + secrets).contains(&index) {
            return true;
        }
        at += 1 + secrets;
    }
    false
}
