//! CLIENT TRACKING and its kin: how a connection learns that what it has cached is out of date.

use std::rc::Rc;

use crate::algorithms::numbers::parse_i64;
use crate::commands::arguments::is_word;
use crate::resp::CommandError;
use crate::server::command::{Arg, Args, Command, Group, Outcome, category, flag};
use crate::server::tracking::{ClientId, ClientTracking, TrackingMode};
use crate::server::{Context, Server};

const CONNECTION_COMMAND: Command = Command {
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
    categories: category::CONNECTION,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    ..Command::DEFAULT
};

pub(super) const CLIENT_TRACKING: Command = Command {
    name: "tracking",
    arity: -3,
    complexity: "O(1). Some options may introduce additional complexity.",
    summary: "Has the connection told when keys change that it may have cached.",
    arguments: &[
        Arg::one_of("status", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")]),
        Arg::integer("client-id").token("REDIRECT").optional(),
        Arg::string("prefix").token("PREFIX").optional().multiple_token(),
        Arg::flag("bcast", "BCAST").optional(),
        Arg::flag("optin", "OPTIN").optional(),
        Arg::flag("optout", "OPTOUT").optional(),
        Arg::flag("noloop", "NOLOOP").optional(),
    ],
    handler: tracking,
    ..CONNECTION_COMMAND
};

#[derive(Default)]
struct Options<'a> {
    redirect: Option<ClientId>,
    broadcasts: bool,
    opts_in: bool,
    opts_out: bool,
    no_loop: bool,
    prefixes: Vec<&'a [u8]>,
}

fn tracking(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(cx.server, args)?;
    if is_word(args.at(2), "off") {
        cx.server.stop_tracking(cx.client);
    } else if is_word(args.at(2), "on") {
        let old = cx.client().and_then(|client| client.tracking.as_deref());
        options.check(old)?;
        cx.server.start_tracking(cx.client, options.tracking());
    } else {
        return Err(CommandError::Syntax);
    }
    cx.reply.ok();
    Ok(())
}

impl<'a> Options<'a> {
    fn parse(server: &Server, args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 3;
        while let Some(word) = args.get(at) {
            let value = args.get(at + 1);
            at += 1;
            match value {
                Some(id) if is_word(word, "redirect") => {
                    if options.redirect.is_some() {
                        return Err(CommandError::TrackingRedirectOnce);
                    }
                    options.redirect = redirect(server, id)?;
                    at += 1;
                }
                Some(prefix) if is_word(word, "prefix") => {
                    options.prefixes.push(prefix);
                    at += 1;
                }
                _ if is_word(word, "bcast") => options.broadcasts = true,
                _ if is_word(word, "optin") => options.opts_in = true,
                _ if is_word(word, "optout") => options.opts_out = true,
                _ if is_word(word, "noloop") => options.no_loop = true,
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }

    /// Whether the options go together, and with how the client has tracked until now.
    fn check(&self, old: Option<&ClientTracking>) -> Outcome {
        if !self.broadcasts && !self.prefixes.is_empty() {
            return Err(CommandError::TrackingPrefixBcast);
        }
        if old.is_some_and(|old| (old.mode == TrackingMode::Broadcast) != self.broadcasts) {
            return Err(CommandError::TrackingBcastSwitch);
        }
        if self.broadcasts && (self.opts_in || self.opts_out) {
            return Err(CommandError::TrackingOptBcast);
        }
        if self.opts_in && self.opts_out {
            return Err(CommandError::TrackingOptBoth);
        }
        let was = |mode| old.is_some_and(|old| old.mode == mode);
        if (self.opts_in && was(TrackingMode::OptOut)) || (self.opts_out && was(TrackingMode::OptIn)) {
            return Err(CommandError::TrackingOptSwitch);
        }
        self.check_prefixes(old.map_or(&[], |old| &old.prefixes))
    }

    /// A change is to be told once: no prefix may begin with another.
    fn check_prefixes(&self, old: &[Rc<[u8]>]) -> Outcome {
        for prefix in &self.prefixes {
            // The old ones are in order, and none begins with another: only the neighbours can overlap.
            let place = old.partition_point(|existing| **existing < **prefix);
            let neighbours = [place.checked_sub(1), Some(place)].into_iter().flatten();
            let mut existing = neighbours.filter_map(|place| old.get(place));
            if let Some(existing) = existing.find(|existing| overlap(existing, prefix)) {
                return Err(overlaps(prefix, "an existing prefix", existing));
            }
        }
        let mut sorted = self.prefixes.clone();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [one, other] = pair
                && overlap(one, other)
            {
                let first = self.prefixes.iter().position(|prefix| prefix == one);
                let later = self.prefixes.iter().position(|prefix| prefix == other);
                let (prefix, another) = if first <= later { (one, other) } else { (other, one) };
                return Err(overlaps(prefix, "another provided prefix", another));
            }
        }
        Ok(())
    }

    fn tracking(self) -> ClientTracking {
        let mode = match self {
            Self { broadcasts: true, .. } => TrackingMode::Broadcast,
            Self { opts_in: true, .. } => TrackingMode::OptIn,
            Self { opts_out: true, .. } => TrackingMode::OptOut,
            _ => TrackingMode::Reads,
        };
        let mut prefixes: Vec<Rc<[u8]>> = self.prefixes.into_iter().map(Rc::from).collect();
        if self.broadcasts && prefixes.is_empty() {
            // Every key.
            prefixes.push(Rc::from(&[][..]));
        }
        ClientTracking {
            mode,
            no_loop: self.no_loop,
            redirect: self.redirect,
            redirect_is_broken: false,
            caching: false,
            prefixes,
        }
    }
}

fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn overlaps(prefix: &[u8], what: &str, other: &[u8]) -> CommandError {
    CommandError::custom(format!(
        "ERR Prefix '{}' overlaps with {what} '{}'. Prefixes for a single client must not overlap.",
        String::from_utf8_lossy(prefix),
        String::from_utf8_lossy(other)
    ))
}

/// The client that is to be told; 0 stands for none.
fn redirect(server: &Server, id: &[u8]) -> Result<Option<ClientId>, CommandError> {
    let id = parse_i64(id).ok_or(CommandError::NotAnInteger)?;
    let client = u64::try_from(id).ok().and_then(|id| server.clients.by_id(id));
    let client = client.ok_or(CommandError::TrackingRedirectUnknown)?;
    Ok(Some(ClientId { id: client.id, key: client.key }))
}

pub(super) const CLIENT_CACHING: Command = Command {
    name: "caching",
    arity: 3,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    summary: "Says whether the keys of the next command are tracked.",
    arguments: &[Arg::one_of("mode", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")])],
    handler: caching,
    ..CONNECTION_COMMAND
};

fn caching(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let tracking = cx.client_mut().and_then(|client| client.tracking.as_mut());
    let Some(tracking) = tracking else { return Err(CommandError::CachingWithoutTracking) };
    let (mode, error) = match args.at(2) {
        word if is_word(word, "yes") => (TrackingMode::OptIn, CommandError::CachingYes),
        word if is_word(word, "no") => (TrackingMode::OptOut, CommandError::CachingNo),
        _ => return Err(CommandError::Syntax),
    };
    if tracking.mode != mode {
        return Err(error);
    }
    tracking.caching = true;
    cx.reply.ok();
    Ok(())
}

pub(super) const CLIENT_GETREDIR: Command = Command {
    name: "getredir",
    arity: 2,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    summary: "Replies where invalidation messages of the connection go.",
    handler: getredir,
    ..CONNECTION_COMMAND
};

fn getredir(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let redirect = cx.client().map_or(-1, |client| client.redirect());
    cx.reply.int(redirect);
    Ok(())
}

pub(super) const CLIENT_TRACKINGINFO: Command = Command {
    name: "trackinginfo",
    arity: 2,
    since: "6.2.0",
    summary: "Replies how the keys that the connection reads are tracked.",
    handler: trackinginfo,
    ..CONNECTION_COMMAND
};

fn trackinginfo(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Context { server, reply, client, .. } = cx;
    let client = server.clients.get(*client);
    let tracking = client.and_then(|client| client.tracking.as_deref());
    reply.map(3);
    reply.bulk(b"flags");
    let flags = tracking.map_or_else(|| vec!["off"], flags_of);
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(client.map_or(-1, |client| client.redirect()));
    reply.bulk(b"prefixes");
    let prefixes = tracking.map_or(&[][..], |tracking| &tracking.prefixes);
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}

fn flags_of(tracking: &ClientTracking) -> Vec<&'static str> {
    let is = |mode| tracking.mode == mode;
    [
        (true, "on"),
        (is(TrackingMode::Broadcast), "bcast"),
        (is(TrackingMode::OptIn), "optin"),
        (is(TrackingMode::OptIn) && tracking.caching, "caching-yes"),
        (is(TrackingMode::OptOut), "optout"),
        (is(TrackingMode::OptOut) && tracking.caching, "caching-no"),
        (tracking.no_loop, "noloop"),
        (tracking.redirect_is_broken, "broken_redirect"),
    ]
    .into_iter()
    .filter_map(|(is_so, name)| is_so.then_some(name))
    .collect()
}
