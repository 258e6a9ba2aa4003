//! REPLCONF: what a replica says of itself before it asks for data, and how far it is afterwards.

use super::super::arguments::{integer, is_word};
use crate::algorithms::numbers::parse_i64;
use crate::config::split_arguments;
use crate::replication::Replica;
use crate::resp::CommandError;
use crate::server::Context;
use crate::server::command::{Args, Command, Group, Outcome, flag};

/// An address is shorter than this (Valkey: `NET_HOST_STR_LEN`).
const ADDRESS_MAX: usize = 256;

pub(super) const REPLCONF: Command = Command {
    name: "replconf",
    arity: -1,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
    group: Group::Server,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Tells a primary what a replica is and how far it has come. For servers.",
    handler: replconf,
    ..Command::DEFAULT
};

fn replconf(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    for index in (1..args.len()).step_by(2) {
        let (option, value) = (args.at(index), args.at(index + 1));
        if is_word(option, "ack") {
            acknowledge(cx, value, args.from(index + 2));
            return Ok(());
        }
        if is_word(option, "getack") {
            // Nothing for any other client than the primary.
            cx.server.write_acknowledgement(cx.client, cx.reply);
            return Ok(());
        }
        set(cx, option, value)?;
    }
    cx.reply.ok();
    Ok(())
}

/// `ack <offset> [fack <offset>]` is never replied to, whatever it says.
fn acknowledge(cx: &mut Context<'_>, offset: &[u8], rest: Args<'_>) {
    let Some(executed) = parse_i64(offset) else { return };
    let mut on_disk = None;
    if rest.len() >= 2 && is_word(rest.at(0), "fack") {
        let Some(offset) = parse_i64(rest.at(1)) else { return };
        on_disk = Some(offset);
    }
    cx.server.note_acknowledgement(cx.client, executed, on_disk);
}

fn set(cx: &mut Context<'_>, option: &[u8], value: &[u8]) -> Result<(), CommandError> {
    let dual_channel = cx.server.config.dual_channel_replication_enabled;
    let diskless = cx.server.config.repl_diskless_sync;
    if is_word(option, "set-rdb-client-id") {
        let id = integer(value)?;
        if !cx.server.replication.awaits_psync_for(id.cast_unsigned()) {
            return Err(CommandError::ReplconfClient(id));
        }
    }
    if is_word(option, "set-cluster-node-id") {
        let cluster = cx.server.cluster.as_ref().ok_or(CommandError::ClusterDisabled)?;
        if cluster.find(value).is_none() {
            return Err(CommandError::custom([b"ERR Unknown node ".as_slice(), value].concat()));
        }
    }
    let Some(client) = cx.client_mut() else { return Ok(()) };
    let replica = client.replica.get_or_insert_default();
    match option.to_ascii_lowercase().as_slice() {
        b"listening-port" => replica.port = integer(value)?,
        b"ip-address" if value.len() < ADDRESS_MAX => replica.address = value.to_vec(),
        b"ip-address" => return Err(CommandError::ReplconfAddress(value.len())),
        b"capa" if is_word(value, "dual-channel") => {
            if dual_channel && !diskless {
                tracing::info!("Dual channel capability ignored: repl-diskless-sync disabled");
            }
            replica.capabilities.dual_channel |= dual_channel && diskless;
        }
        b"capa" => set_capability(replica, value),
        b"rdb-only" => replica.snapshot_only = switch(value)?,
        b"rdb-filter-only" => set_filter(replica, value)?,
        b"version" => {
            let version = version(value).ok_or_else(|| CommandError::ReplconfVersion(value.into()))?;
            replica.version = version;
        }
        b"rdb-channel" => replica.filter.own_channel = switch(value)?,
        b"set-rdb-client-id" => replica.snapshot_client = integer(value)?.cast_unsigned(),
        b"set-cluster-node-id" => replica.node_id = value.to_vec(),
        _ => return Err(CommandError::ReplconfOption(option.into())),
    }
    Ok(())
}

/// What a replica understands; what this server does not know is left out.
fn set_capability(replica: &mut Replica, name: &[u8]) {
    let capabilities = &mut replica.capabilities;
    match name.to_ascii_lowercase().as_slice() {
        b"eof" => capabilities.eof = true,
        b"psync2" => capabilities.psync2 = true,
        b"skip-rdb-checksum" => capabilities.skip_checksum = true,
        _ => {}
    }
}

/// The parts of a snapshot that are wanted, parted by blanks; the others are left out.
fn set_filter(replica: &mut Replica, value: &[u8]) -> Result<(), CommandError> {
    let wanted = split_arguments(value).ok_or(CommandError::ReplconfFilterMissing)?;
    replica.filter.without_data = true;
    replica.filter.without_functions = true;
    for part in wanted {
        if !is_word(&part, "functions") {
            return Err(CommandError::ReplconfFilter(part.into()));
        }
        replica.filter.without_functions = false;
    }
    Ok(())
}

/// 0 or 1.
fn switch(value: &[u8]) -> Result<bool, CommandError> {
    match integer(value)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CommandError::OutOfLimits(0, 1)),
    }
}

/// `major.minor.patch` as one number.
fn version(text: &[u8]) -> Option<u32> {
    let mut parts = std::str::from_utf8(text).ok()?.split('.').map(|part| part.parse::<u8>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    let version = u32::from(major) << 16 | u32::from(minor) << 8 | u32::from(patch);
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_have_three_parts() {
        assert_eq!(version(b"9.1.0"), Some(0x09_01_00));
        assert_eq!(version(b"255.255.255"), Some(0xff_ff_ff));
        for text in [&b"9.1"[..], b"9.1.0.0", b"9.x.1", b"256.0.0", b""] {
            assert_eq!(version(text), None);
        }
    }

    #[test]
    fn a_filter_names_what_is_wanted() {
        let mut replica = Replica::default();
        set_filter(&mut replica, b"functions").unwrap();
        assert!(replica.filter.without_data && !replica.filter.without_functions);
        let mut replica = Replica::default();
        set_filter(&mut replica, b"").unwrap();
        assert!(replica.filter.without_data && replica.filter.without_functions);
        assert_eq!(set_filter(&mut replica, b"\"functions"), Err(CommandError::ReplconfFilterMissing));
        assert_eq!(set_filter(&mut replica, b"keys"), Err(CommandError::ReplconfFilter(b"keys"[..].into())));
    }
}
