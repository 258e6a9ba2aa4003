//! Which clients CLIENT LIST and CLIENT KILL are about.
//!
//! Every condition has to hold; an option that is given twice counts as it was given last, as in Valkey.

use std::mem::discriminant;

use crate::algorithms::numbers::parse_i64;
use crate::commands::arguments::{is_word, small_integer};
use crate::resp::CommandError;
use crate::server::client::ClientClass;
use crate::server::command::Args;
use crate::server::{Client, ClientKey, Context};

/// The letters that FLAGS knows.
const FLAG_LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";
/// The letters that CAPA knows.
const CAPABILITY_LETTERS: &[u8] = b"r";

/// A property of a client, with the value it is compared to.
#[derive(Debug, Clone)]
enum Property<'a> {
    Ids(Vec<i64>),
    Class(ClientClass),
    Address(&'a [u8]),
    LocalAddress(&'a [u8]),
    User(&'a [u8]),
    Flags(&'a [u8]),
    Name(&'a [u8]),
    LibraryName(&'a [u8]),
    LibraryVersion(&'a [u8]),
    Database(usize),
    Capabilities(&'a [u8]),
    Ip(&'a [u8]),
    OlderThan(i64),
    IdleFor(i64),
}

/// The conditions of a CLIENT LIST or CLIENT KILL.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    /// Properties, and whether clients that have them are wanted.
    conditions: Vec<(Property<'a>, bool)>,
    skip_me: Option<bool>,
}

impl<'a> Filter<'a> {
    /// Clients of this address.
    pub(super) fn of_address(address: &'a [u8]) -> Self {
        Self { conditions: vec![(Property::Address(address), true)], skip_me: None }
    }

    /// Leaves the calling client out unless SKIPME said otherwise.
    pub(super) fn skipping_me(mut self) -> Self {
        self.skip_me = self.skip_me.or(Some(true));
        self
    }

    /// Reads options and their values.
    pub(super) fn parse(args: Args<'a>, cx: &Context<'_>) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        let mut at = 0;
        while let Some(option) = args.get(at) {
            let (name, wanted) = match option.get(..4) {
                Some(prefix) if is_word(prefix, "not-") => (option.get(4..).unwrap_or_default(), false),
                _ => (option, true),
            };
            if is_word(name, "id") {
                at += 1 + filter.add_ids(args.from(at + 1), wanted)?;
                continue;
            }
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            if wanted && is_word(name, "skipme") {
                filter.skip_me = Some(yes_or_no(value)?);
            } else {
                filter.add(property(name, value, wanted, cx)?, wanted);
            }
            at += 2;
        }
        Ok(filter)
    }

    /// Adds numbers up to the first word that is none; gives how many.
    fn add_ids(&mut self, args: Args<'a>, wanted: bool) -> Result<usize, CommandError> {
        let ids: Vec<i64> = args.iter().map_while(parse_i64).collect();
        if ids.iter().any(|id| *id < 1) {
            return Err(CommandError::ClientIdNotPositive);
        }
        let count = ids.len();
        let known = self.conditions.iter_mut().find_map(|(property, is_wanted)| match property {
            Property::Ids(known) if *is_wanted == wanted => Some(known),
            _ => None,
        });
        match known {
            Some(known) => known.extend(ids),
            None => self.conditions.push((Property::Ids(ids), wanted)),
        }
        Ok(count)
    }

    fn add(&mut self, property: Property<'a>, wanted: bool) {
        let kind = discriminant(&property);
        self.conditions.retain(|(other, is_wanted)| discriminant(other) != kind || *is_wanted != wanted);
        self.conditions.push((property, wanted));
    }

    /// Whether a client meets every condition; `own` is the calling client.
    pub(super) fn matches(&self, client: &Client, own: ClientKey, now_ms: i64) -> bool {
        let skipped = self.skip_me == Some(true) && client.key == own;
        !skipped && self.conditions.iter().all(|(property, wanted)| property.is_of(client, now_ms) == *wanted)
    }
}

fn yes_or_no(value: &[u8]) -> Result<bool, CommandError> {
    match value {
        word if is_word(word, "yes") => Ok(true),
        word if is_word(word, "no") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

/// Reads an option that takes one value.
fn property<'a>(
    name: &[u8],
    value: &'a [u8],
    wanted: bool,
    cx: &Context<'_>,
) -> Result<Property<'a>, CommandError> {
    Ok(match name.to_ascii_lowercase().as_slice() {
        b"type" => {
            Property::Class(class(value).ok_or_else(|| CommandError::UnknownClientType(value.into()))?)
        }
        b"addr" => Property::Address(value),
        b"laddr" => Property::LocalAddress(value),
        b"user" if cx.server.acl.user(value).is_some() => Property::User(value),
        b"user" => return Err(CommandError::NoSuchUser(value.into())),
        b"flags" => Property::Flags(letters(value, FLAG_LETTERS, "flags", "FLAGS", wanted)?),
        b"capa" => Property::Capabilities(letters(value, CAPABILITY_LETTERS, "capa", "CAPA", wanted)?),
        b"name" => Property::Name(value),
        b"lib-name" => Property::LibraryName(value),
        b"lib-ver" => Property::LibraryVersion(value),
        b"db" => Property::Database(database(value, wanted, cx)?),
        b"ip" => Property::Ip(value),
        b"maxage" if wanted => {
            let seconds = parse_i64(value).ok_or(CommandError::ClientMaxageNumber)?;
            Property::OlderThan(
                Some(seconds).filter(|seconds| *seconds > 0).ok_or(CommandError::ClientMaxage)?,
            )
        }
        b"idle" if wanted => {
            let seconds = parse_i64(value).ok_or(CommandError::ClientIdleNumber)?;
            Property::IdleFor(Some(seconds).filter(|seconds| *seconds > 0).ok_or(CommandError::ClientIdle)?)
        }
        _ => return Err(CommandError::Syntax),
    })
}

fn class(name: &[u8]) -> Option<ClientClass> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Some(ClientClass::Normal),
        b"slave" | b"replica" => Some(ClientClass::Replica),
        b"pubsub" => Some(ClientClass::Pubsub),
        b"master" | b"primary" => Some(ClientClass::Primary),
        b"slot-import" => Some(ClientClass::SlotImport),
        b"slot-export" => Some(ClientClass::SlotExport),
        _ => None,
    }
}

/// A value of known letters only.
fn letters<'a>(
    value: &'a [u8],
    known: &[u8],
    what: &str,
    option: &str,
    wanted: bool,
) -> Result<&'a [u8], CommandError> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value);
    }
    let place = if wanted { "provided".to_owned() } else { format!("NOT-{option}") };
    let text = format!("ERR Unknown {what} found in the {place} filter: ");
    Err(CommandError::custom([text.as_bytes(), value].concat()))
}

fn database(value: &[u8], wanted: bool, cx: &Context<'_>) -> Result<usize, CommandError> {
    let (option, not_a_number) = match wanted {
        true => ("DB", CommandError::ClientDbNumber),
        false => ("NOT-DB", CommandError::ClientNotDbNumber),
    };
    let index = small_integer(value).map_err(|_| not_a_number)?;
    let count = cx.keys.keyspace.databases().len();
    usize::try_from(index).ok().filter(|index| *index < count).ok_or_else(|| {
        CommandError::custom(format!(
            "ERR {option} number should be between 0 and {}",
            count.saturating_sub(1)
        ))
    })
}

impl Property<'_> {
    fn is_of(&self, client: &Client, now_ms: i64) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&client.id.cast_signed()),
            Self::Class(class) => client.class() == *class,
            Self::Address(address) => client.address.as_bytes() == *address,
            Self::LocalAddress(address) => client.local_address.as_bytes() == *address,
            Self::User(name) => client.login.name() == Some(*name),
            Self::Flags(letters) => {
                let flags = client.flags();
                letters.iter().all(|letter| flags.as_bytes().contains(letter))
            }
            Self::Name(name) => !client.name.is_empty() && client.name == *name,
            Self::LibraryName(name) => !client.library_name.is_empty() && client.library_name == *name,
            Self::LibraryVersion(version) => {
                !client.library_version.is_empty() && client.library_version == *version
            }
            Self::Database(index) => client.database == *index,
            Self::Capabilities(letters) => letters.is_empty() || client.follows_redirects,
            Self::Ip(ip) => is_from(&client.address, ip),
            Self::OlderThan(seconds) => (now_ms - client.created_ms) / 1000 >= *seconds,
            Self::IdleFor(seconds) => client.idle_seconds(now_ms) >= *seconds,
        }
    }
}

/// Whether a peer's `ip:port` or `[ip]:port` has this IP; the address of a unix socket (port 0) has none.
fn is_from(address: &str, ip: &[u8]) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    port != "0" && host.as_bytes() == ip
}
