//! What a script says of itself: `#!lua flags=no-writes,allow-oom`.

use crate::config::split_arguments;
use crate::resp::CommandError;
use crate::scripting::FLAG_NAMES;
use crate::server::command::flag;

/// The flags of a script or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScriptFlags {
    /// It has no shebang: what it may do is found out as it does it.
    pub undeclared: bool,
    /// It does not write.
    pub no_writes: bool,
    /// It runs even when memory is short.
    pub allow_oom: bool,
    /// It runs even on a replica whose data is stale.
    pub allow_stale: bool,
    /// It does not run in a cluster.
    pub no_cluster: bool,
    /// Its keys may be in several slots.
    pub allow_cross_slot_keys: bool,
}

impl ScriptFlags {
    /// Sets a flag by name; false if there is none of that name.
    pub fn set(&mut self, name: &[u8]) -> bool {
        let Some(place) = FLAG_NAMES.iter().position(|known| known.as_bytes() == name) else { return false };
        *self.places()[place] = true;
        true
    }

    /// Those that a function was registered with.
    #[must_use]
    pub fn of_function(set: [bool; FLAG_NAMES.len()]) -> Self {
        let mut flags = Self::default();
        for (place, set) in flags.places().into_iter().zip(set) {
            *place = set;
        }
        flags
    }

    fn places(&mut self) -> [&mut bool; 5] {
        [
            &mut self.no_writes,
            &mut self.allow_oom,
            &mut self.allow_stale,
            &mut self.no_cluster,
            &mut self.allow_cross_slot_keys,
        ]
    }

    /// The flags of a command that runs a script of these flags (Valkey: `scriptFlagsToCmdFlags`).
    #[must_use]
    pub fn of_command(self, command: u64) -> u64 {
        if self.undeclared {
            return command;
        }
        let mut flags = command & !(flag::STALE | flag::DENYOOM | flag::WRITE | flag::MAY_REPLICATE);
        if !self.allow_oom && !self.no_writes {
            flags |= flag::DENYOOM;
        }
        if !self.no_writes {
            flags |= flag::WRITE;
        }
        if self.allow_stale {
            flags |= flag::STALE;
        }
        flags
    }

    /// The names of those that are set.
    pub fn names(mut self) -> impl Iterator<Item = &'static str> {
        let set = self.places().map(|flag| *flag);
        FLAG_NAMES.into_iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| name)
    }
}

fn error(text: &[u8]) -> CommandError {
    CommandError::Script([b"ERR ", text].concat().into())
}

/// Where the first line ends. As a string of C it has no end where a NUL comes first.
pub(super) fn end_of_line(source: &[u8]) -> Option<usize> {
    memchr::memchr2(0, b'\n', source).filter(|end| source.get(*end) == Some(&b'\n'))
}

/// The flags of a script, and where its code begins: at the end of the first line, so that lines keep their numbers.
///
/// # Errors
/// What is wrong with the first line.
pub(super) fn parse_shebang(body: &[u8]) -> Result<(ScriptFlags, usize), CommandError> {
    if !body.starts_with(b"#!") {
        return Ok((ScriptFlags { undeclared: true, ..ScriptFlags::default() }, 0));
    }
    let Some(end) = end_of_line(body) else { return Err(error(b"Invalid script shebang")) };
    let words = split_arguments(&body[..end]).unwrap_or_default();
    let mut words = words.iter().map(Vec::as_slice);
    let Some(engine) = words.next().and_then(|word| word.get(2..)) else {
        return Err(error(b"Invalid engine in script shebang"));
    };
    let mut flags = ScriptFlags::default();
    for word in words {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err(error(&[b"Unknown lua shebang option: ", word].concat()));
        };
        for name in list.split(|byte| *byte == b',').filter(|_| !list.is_empty()) {
            if !flags.set(name) {
                return Err(error(&[b"Unexpected flag in script shebang: ", name].concat()));
            }
        }
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(error(&[b"Could not find scripting engine '", engine, b"'"].concat()));
    }
    Ok((flags, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_line_declares() {
        let (flags, start) = parse_shebang(b"#!lua flags=no-writes,allow-stale\nreturn 1").unwrap();
        assert_eq!(flags.names().collect::<Vec<_>>(), ["no-writes", "allow-stale"]);
        assert_eq!(start, 33);
        assert!(parse_shebang(b"return 1").unwrap().0.undeclared);
        for (source, text) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!lua flags=what\n", "ERR Unexpected flag in script shebang: what"),
            ("#!lua name=what\n", "ERR Unknown lua shebang option: name=what"),
            ("#!not-lua\n", "ERR Could not find scripting engine 'not-lua'"),
        ] {
            assert_eq!(parse_shebang(source.as_bytes()), Err(CommandError::Script(text.as_bytes().into())));
        }
    }
}
