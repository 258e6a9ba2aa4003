//! XTRIM, and the options it shares with XADD.

use super::strict_id;
use crate::commands::arguments::{integer, is_word};
use crate::config::EventClasses;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, KeySpec, Outcome, category, flag, key_flag};
use crate::types::Stream;
use crate::types::stream::{StreamId, Trim, TrimTo};

/// The documented form of a trim.
pub(super) const TRIM_ARGUMENTS: &[Arg] = &[
    Arg::one_of("strategy", &[Arg::flag("maxlen", "MAXLEN"), Arg::flag("minid", "MINID").since("6.2.0")]),
    Arg::one_of("operator", &[Arg::flag("equal", "="), Arg::flag("approximately", "~")]).optional(),
    Arg::string("threshold"),
    Arg::integer("count").token("LIMIT").since("6.2.0").optional(),
];

pub(super) const XTRIM: Command = Command {
    name: "xtrim",
    arity: -4,
    flags: flag::WRITE,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries removed; whole nodes of entries go at once",
    summary: "Removes entries at the front of a stream and replies with their number.",
    arguments: &[Arg::key("key"), Arg::block("trim", TRIM_ARGUMENTS)],
    history: &[("6.2.0", "The strategy `MINID` and the option `LIMIT`.")],
    tips: &["nondeterministic_output"],
    handler: xtrim,
    ..Command::DEFAULT
};

fn xtrim(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut options = TrimOptions::default();
    let mut at = 2;
    while at < args.len() {
        at = options.parse(args, at)?.ok_or(CommandError::Syntax)?;
    }
    if options.to.is_none() && options.limit.unwrap_or(0) == 0 {
        return Err(CommandError::XtrimStrategy);
    }
    let Some(trim) = options.finish(cx)? else { return Ok(()) };
    let key = args.at(1);
    let Some(mut stream) = cx.keys.write_as::<Stream>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = stream.trim(trim);
    let exact = options.exact(&stream);
    drop(stream);
    cx.reply.int(removed as i64);
    if removed > 0 {
        if let Some((at, bound)) = exact {
            cx.propagate_with(args, &[(at - 1, b"="), (at, bound.as_bytes())]);
        }
        cx.touched(key);
        cx.notify(EventClasses::STREAM, "xtrim", key);
        cx.count_changes(usize::try_from(removed).unwrap_or(usize::MAX));
    }
    Ok(())
}

/// The options of a trim, as far as they were read.
#[derive(Default)]
pub(super) struct TrimOptions {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<u64>,
    /// Where the bound stands.
    bound_at: usize,
}

impl TrimOptions {
    /// After an approximate trim, the bound of the exact one that comes to the same, and where it stands; the operator
    /// is before it.
    pub(super) fn exact(&self, trimmed: &Stream) -> Option<(usize, String)> {
        let bound = match self.to.filter(|_| self.approximate)? {
            TrimTo::Length(_) => trimmed.len().to_string(),
            // Valkey's edge of a stream without entries is the greatest id.
            TrimTo::Id(_) if trimmed.is_empty() => StreamId::MAX.to_string(),
            TrimTo::Id(_) => trimmed.first_id().to_string(),
        };
        Some((self.bound_at, bound))
    }

    /// Reads the option at `at`; gives where the next argument is, `None` when it is no option of a trim.
    pub(super) fn parse(&mut self, args: Args<'_>, at: usize) -> Result<Option<usize>, CommandError> {
        let (option, more) = (args.at(at), args.len() - 1 - at);
        if more == 0 {
            return Ok(None);
        }
        if is_word(option, "limit") {
            let limit = integer(args.at(at + 1))?;
            self.limit = Some(u64::try_from(limit).map_err(|_| CommandError::LimitArgument)?);
            return Ok(Some(at + 2));
        }
        let by_length = is_word(option, "maxlen");
        if !by_length && !is_word(option, "minid") {
            return Ok(None);
        }
        if self.to.is_some() {
            return Err(CommandError::MaxlenAndMinid);
        }
        let operator = more >= 2 && matches!(args.at(at + 1), b"~" | b"=");
        self.approximate = operator && args.at(at + 1) == b"~";
        let value_at = at + 1 + usize::from(operator);
        let value = args.at(value_at);
        self.bound_at = value_at;
        self.to = Some(if by_length {
            TrimTo::Length(u64::try_from(integer(value)?).map_err(|_| CommandError::MaxlenArgument)?)
        } else {
            TrimTo::Id(strict_id(value, 0)?)
        });
        Ok(Some(value_at + 1))
    }

    /// The trim; `None` when none was asked for.
    pub(super) fn finish(&self, cx: &Context<'_>) -> Result<Option<Trim>, CommandError> {
        /// What a trim of whole nodes removes at most when the size of nodes says nothing.
        const UNSIZED_LIMIT: u64 = 10_000;
        const GREATEST_LIMIT: u64 = 1_000_000;
        let Some(to) = self.to else {
            return match self.limit {
                Some(1..) => Err(CommandError::LimitWithoutStrategy),
                Some(0) => Err(CommandError::LimitWithoutTilde),
                None => Ok(None),
            };
        };
        let limit = match self.limit {
            // Where the request comes from, it removed what it could; here all of it has to go.
            _ if cx.is_obeyed() => 0,
            Some(_) if !self.approximate => return Err(CommandError::LimitWithoutTilde),
            Some(limit) => limit,
            None if !self.approximate => 0,
            None => match cx.server.limits.stream.node_entries as u64 {
                0 => UNSIZED_LIMIT,
                entries => entries.saturating_mul(100).min(GREATEST_LIMIT),
            },
        };
        Ok(Some(Trim { to, approximate: self.approximate, limit }))
    }
}
