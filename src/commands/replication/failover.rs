//! FAILOVER: this server changes places with one of its replicas.

use super::super::arguments::{integer, is_word};
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Arg, Args, Command, Group, Outcome, flag};
use crate::server::replication::PrimaryAddress;

pub(super) const FAILOVER: Command = Command {
    name: "failover",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
    group: Group::Server,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Has a replica become the primary in this server's place, without losing a write.",
    arguments: &[
        Arg::block(
            "target",
            &[Arg::string("host"), Arg::integer("port"), Arg::flag("force", "FORCE").optional()],
        )
        .token("TO")
        .optional(),
        Arg::flag("abort", "ABORT").optional(),
        Arg::integer("milliseconds").token("TIMEOUT").optional(),
    ],
    handler: failover,
    ..Command::DEFAULT
};

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    target: Option<PrimaryAddress>,
    timeout_ms: Option<i64>,
    force: bool,
}

impl Wish {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut wish = Self::default();
        let mut index = 0;
        while index < args.len() {
            let (word, left) = (args.at(index), args.len() - index - 1);
            if is_word(word, "timeout") && left >= 1 && wish.timeout_ms.is_none() {
                let timeout_ms = integer(args.at(index + 1))?;
                if timeout_ms <= 0 {
                    return Err(CommandError::FailoverTimeout);
                }
                wish.timeout_ms = Some(timeout_ms);
                index += 1;
            } else if is_word(word, "to") && left >= 2 && wish.target.is_none() {
                let port = u16::try_from(integer(args.at(index + 2))?);
                let port = port.map_err(|_| CommandError::FailoverTarget)?;
                wish.target = Some(PrimaryAddress { host: args.at(index + 1).to_vec(), port });
                index += 2;
            } else if is_word(word, "force") && !wish.force {
                wish.force = true;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(wish)
    }
}

fn failover(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if cx.server.cluster.is_some() {
        return Err(CommandError::custom(
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
        ));
    }
    if args.len() == 2 && is_word(args.at(1), "abort") {
        if cx.server.replication.failover.is_none() {
            return Err(CommandError::FailoverNone);
        }
        cx.server.abort_failover("Failover manually aborted");
    } else {
        let Wish { target, timeout_ms, force } = Wish::parse(args.from(1))?;
        cx.server.begin_failover(target, timeout_ms, force)?;
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::command::Request;

    fn parse(words: &[&str]) -> Result<Wish, CommandError> {
        let mut request = Request::default();
        for word in words {
            request.push(word.as_bytes());
        }
        Wish::parse(request.args())
    }

    #[test]
    fn options_stand_in_any_order_and_once() {
        let target = Some(PrimaryAddress { host: b"host".to_vec(), port: 6379 });
        let wish = Wish { target, timeout_ms: Some(100), force: true };
        assert_eq!(parse(&["force", "TIMEOUT", "100", "to", "host", "6379"]), Ok(wish));
        assert_eq!(parse(&[]), Ok(Wish::default()));
        assert_eq!(parse(&["timeout", "0"]), Err(CommandError::FailoverTimeout));
        for words in [&["to", "host"][..], &["force", "force"], &["abort", "force"], &["timeout"]] {
            assert_eq!(parse(words), Err(CommandError::Syntax));
        }
    }
}
