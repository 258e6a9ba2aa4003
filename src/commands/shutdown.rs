//! SHUTDOWN: ends the process, with a last snapshot if one is wanted.

use super::arguments::is_word;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::shutdown::{Asked, ShutdownOptions, abort, shut_down};

/// The family.
pub(super) const COMMANDS: &[Command] = &[SHUTDOWN];

const SHUTDOWN: Command = Command {
    name: "shutdown",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
    categories: category::ADMIN | category::DANGEROUS,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) when saving, N being the keys of all databases, otherwise O(1)",
    summary: "Ends the server, after a last snapshot if there are save points or SAVE is given.",
    arguments: &[Arg::one_of(
        "abort-selector",
        &[
            Arg::block(
                "save-selector-block",
                &[
                    Arg::one_of("save-selector", &[Arg::flag("nosave", "NOSAVE"), Arg::flag("save", "SAVE")])
                        .optional(),
                    Arg::flag("now", "NOW").since("7.0.0").optional(),
                    Arg::flag("force", "FORCE").since("7.0.0").optional(),
                    Arg::flag("safe", "SAFE").since("9.0.0").optional(),
                    Arg::flag("failover", "FAILOVER").since("9.0.0").optional(),
                ],
            ),
            Arg::flag("abort", "ABORT").since("7.0.0"),
        ],
    )
    .optional()],
    history: &[("7.0.0", "Takes `NOW`, `FORCE` and `ABORT`."), ("9.0.0", "Takes `SAFE` and `FAILOVER`.")],
    handler: shutdown,
    ..Command::DEFAULT
};

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    options: ShutdownOptions,
    nosave: bool,
    save: bool,
    abort: bool,
    /// Some option other than ABORT.
    other: bool,
}

impl Wish {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut wish = Self::default();
        for word in args.from(1).iter() {
            wish.other |= !is_word(word, "abort");
            match word.to_ascii_lowercase().as_slice() {
                b"nosave" => wish.nosave = true,
                b"save" => wish.save = true,
                b"force" => wish.options.force = true,
                b"abort" => wish.abort = true,
                b"failover" => wish.options.failover = true,
                b"now" => wish.options.now = true,
                b"safe" => wish.options.safe = true,
                _ => return Err(CommandError::Syntax),
            }
        }
        if wish.abort && wish.other || wish.save && wish.nosave {
            return Err(CommandError::Syntax);
        }
        wish.options.save = if wish.save || wish.nosave { Some(wish.save) } else { None };
        Ok(wish)
    }
}

fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let wish = Wish::parse(args)?;
    if wish.options.failover && cx.server.cluster.is_none() {
        return Err(CommandError::ShutdownFailover);
    }
    if wish.abort {
        if !abort(cx.server) {
            return Err(CommandError::ShutdownNone);
        }
        cx.reply.ok();
        return Ok(());
    }
    if let Some(busy) = cx.server.scripting.busy_error(cx.server.title()).filter(|_| !wish.nosave) {
        return Err(busy);
    }
    let hide = cx.server.config.hide_user_data_from_log;
    let client = cx.client().map(|client| client.short_description(hide)).unwrap_or_default();
    let waits = shut_down(cx.keys.keyspace, cx.server, Some(&client), wish.options) == Asked::Waits;
    let request = BlockRequest::for_event(TimeoutReply::Shutdown);
    if waits && cx.block(request) { Ok(()) } else { Err(CommandError::ShutdownErrors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::command::Request;

    fn parse(words: &[&str]) -> Result<Wish, CommandError> {
        let mut request = Request::default();
        for word in ["shutdown"].iter().chain(words) {
            request.push(word.as_bytes());
        }
        Wish::parse(request.args())
    }

    #[test]
    fn options_combine_unless_they_contradict_each_other() {
        let wish = parse(&["NOSAVE", "now", "Force"]).map(|wish| wish.options);
        assert_eq!(
            wish,
            Ok(ShutdownOptions { save: Some(false), force: true, now: true, ..ShutdownOptions::default() })
        );
        assert_eq!(parse(&[]).map(|wish| wish.options), Ok(ShutdownOptions::default()));
        for words in [&["save", "nosave"][..], &["abort", "now"], &["never"]] {
            assert_eq!(parse(words).err(), Some(CommandError::Syntax));
        }
        assert_eq!(parse(&["abort"]).map(|wish| wish.abort), Ok(true));
    }
}
