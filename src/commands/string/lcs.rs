//! LCS: the longest common subsequence of two strings, by the table of the lengths of all prefixes.

use super::super::arguments::{integer, is_word};
use crate::resp::{CommandError, Reply};
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};

pub(super) const LCS: Command = Command {
    name: "lcs",
    arity: -3,
    flags: flag::READONLY,
    categories: category::STRING,
    keys: &[KeySpec::range(1, 1, 1, key_flag::RO | key_flag::ACCESS)],
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M), N and M being the lengths of the strings",
    summary: "Finds the longest common subsequence of two strings.",
    arguments: &[
        Arg::key("key1"),
        Arg::key("key2"),
        Arg::flag("len", "LEN").optional(),
        Arg::flag("idx", "IDX").optional(),
        Arg::integer("min-match-len").token("MINMATCHLEN").optional(),
        Arg::flag("withmatchlen", "WITHMATCHLEN").optional(),
    ],
    handler: lcs,
    ..Command::DEFAULT
};

#[derive(Default)]
struct Options {
    length: bool,
    indexes: bool,
    match_lengths: bool,
    shortest_match: i64,
}

fn options(args: Args<'_>) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut index = 3;
    while let Some(word) = args.get(index) {
        index += 1;
        if is_word(word, "idx") {
            options.indexes = true;
        } else if is_word(word, "len") {
            options.length = true;
        } else if is_word(word, "withmatchlen") {
            options.match_lengths = true;
        } else if is_word(word, "minmatchlen") {
            options.shortest_match = integer(args.get(index).ok_or(CommandError::Syntax)?)?.max(0);
            index += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.length && options.indexes {
        return Err(CommandError::LcsBothForms);
    }
    Ok(options)
}

fn lcs(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    // Valkey looks at the keys before it looks at the options.
    // Both keys are looked up, whatever the first one holds.
    let (first, second) = (string(cx, args.at(1)), string(cx, args.at(2)));
    let (first, second) = (first?, second?);
    let options = options(args)?;
    let table = Table::new(&first, &second, cx.server.config.proto_max_bulk_len)?;
    if options.length {
        cx.reply.int(i64::from(table.length()));
    } else if options.indexes {
        table.reply_ranges(cx.reply, &options);
    } else {
        let mut found = Vec::with_capacity(table.length() as usize);
        table.trace_back(|step| {
            if let Step::Match(at, _) = step {
                found.push(first[at]);
            }
        });
        found.reverse();
        cx.reply.bulk(&found);
    }
    Ok(())
}

fn string(cx: &mut Context<'_>, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    match cx.keys.read_string(key) {
        Ok(value) => Ok(value.map(|value| value.to_vec()).unwrap_or_default()),
        Err(_) => Err(CommandError::LcsNotStrings),
    }
}

/// The lengths for all pairs of prefixes.
struct Table<'a> {
    first: &'a [u8],
    second: &'a [u8],
    lengths: Vec<u32>,
}

/// A step from the ends of both strings towards their beginnings.
enum Step {
    /// Both bytes, at these places, are equal and part of the subsequence.
    Match(usize, usize),
    /// One string is shortened.
    Skip,
}

/// A run of matches: inclusive ends in both strings.
#[derive(Clone, Copy)]
struct Run {
    first: (usize, usize),
    second: (usize, usize),
}

impl<'a> Table<'a> {
    fn new(first: &'a [u8], second: &'a [u8], most_bytes: u64) -> Result<Self, CommandError> {
        const LONGEST: usize = u32::MAX as usize - 1;
        if first.len() >= LONGEST || second.len() >= LONGEST {
            return Err(CommandError::LcsTooLong);
        }
        let cells = (first.len() as u128 + 1) * (second.len() as u128 + 1);
        if cells * 4 > u128::from(most_bytes) {
            return Err(CommandError::LcsMemoryLimit);
        }
        let cells = usize::try_from(cells).map_err(|_| CommandError::LcsMemory)?;
        let mut lengths = Vec::new();
        lengths.try_reserve_exact(cells).map_err(|_| CommandError::LcsMemory)?;
        lengths.resize(cells, 0);
        let mut table = Self { first, second, lengths };
        table.fill();
        Ok(table)
    }

    fn fill(&mut self) {
        let width = self.second.len() + 1;
        for (row, a) in self.first.iter().enumerate() {
            let (above, below) = self.lengths.split_at_mut((row + 1) * width);
            let above = &above[row * width..];
            let mut left = 0;
            for (column, b) in self.second.iter().enumerate() {
                left = if a == b { above[column] + 1 } else { above[column + 1].max(left) };
                below[column + 1] = left;
            }
        }
    }

    fn at(&self, first: usize, second: usize) -> u32 {
        self.lengths[first * (self.second.len() + 1) + second]
    }

    fn length(&self) -> u32 {
        self.at(self.first.len(), self.second.len())
    }

    fn trace_back(&self, mut visit: impl FnMut(Step)) {
        let (mut i, mut j) = (self.first.len(), self.second.len());
        while i > 0 && j > 0 {
            if self.first[i - 1] == self.second[j - 1] {
                i -= 1;
                j -= 1;
                visit(Step::Match(i, j));
            } else {
                if self.at(i - 1, j) > self.at(i, j - 1) {
                    i -= 1;
                } else {
                    j -= 1;
                }
                visit(Step::Skip);
            }
        }
    }

    fn reply_ranges(&self, reply: &mut Reply, options: &Options) {
        reply.map(2);
        reply.bulk(b"matches");
        let ranges = reply.deferred();
        let mut count = 0;
        let mut emit = |run: Run, reply: &mut Reply| {
            let len = (run.first.1 - run.first.0 + 1) as i64;
            if len < options.shortest_match {
                return;
            }
            reply.array(if options.match_lengths { 3 } else { 2 });
            for (start, end) in [run.first, run.second] {
                reply.array(2);
                reply.int(start as i64);
                reply.int(end as i64);
            }
            if options.match_lengths {
                reply.int(len);
            }
            count += 1;
        };
        let mut open: Option<Run> = None;
        self.trace_back(|step| match (step, open) {
            (Step::Match(a, b), Some(run)) if run.first.0 == a + 1 && run.second.0 == b + 1 => {
                open = Some(Run { first: (a, run.first.1), second: (b, run.second.1) });
            }
            (Step::Match(a, b), run) => {
                if let Some(run) = run {
                    emit(run, reply);
                }
                open = Some(Run { first: (a, a), second: (b, b) });
            }
            (Step::Skip, run) => {
                if let Some(run) = run {
                    emit(run, reply);
                }
                open = None;
            }
        });
        if let Some(run) = open {
            emit(run, reply);
        }
        reply.set_array(ranges, count);
        reply.bulk(b"len");
        reply.int(i64::from(self.length()));
    }
}
