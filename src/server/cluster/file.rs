//! The node file (`cluster-config-file`): one line for each node and one of variables, as Valkey writes it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Cluster, ID_LENGTH};
use crate::algorithms::slot::SLOTS;
use crate::config::split_arguments;

/// Why a node file cannot be used.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// A line is wrong; the line.
    Corrupt(String),
    /// It knows of other nodes, with which this server cannot speak; the first of them.
    OtherNodes(String),
}

/// Reads a node file; `None` when there is none, or an empty one.
///
/// # Errors
/// See [`FileError`].
pub fn load(path: &Path) -> Result<Option<Cluster>, FileError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::Unreadable(error)),
    };
    if text.is_empty() {
        return Ok(None);
    }
    parse(&String::from_utf8_lossy(&text)).map(Some)
}

/// Reads the text of a node file.
///
/// # Errors
/// A wrong line, and other nodes.
pub fn parse(text: &str) -> Result<Cluster, FileError> {
    let mut cluster = Cluster::default();
    let mut found = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let corrupt = || FileError::Corrupt(line.to_owned());
        let words = split_arguments(line.as_bytes()).ok_or_else(corrupt)?;
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        match words.as_slice() {
            ["vars", variables @ ..] => parse_variables(&mut cluster, variables).ok_or_else(corrupt)?,
            [id, address, flags, _, _, _, epoch, _, slots @ ..] => {
                if !flags.split(',').any(|flag| flag == "myself") {
                    return Err(FileError::OtherNodes((*id).to_owned()));
                }
                if std::mem::replace(&mut found, true) {
                    return Err(corrupt());
                }
                parse_node(&mut cluster, id, address, epoch, slots).ok_or_else(corrupt)?;
            }
            _ => return Err(corrupt()),
        }
    }
    cluster.current_epoch = cluster.current_epoch.max(cluster.config_epoch);
    if found { Ok(cluster) } else { Err(FileError::Corrupt(String::new())) }
}

fn parse_variables(cluster: &mut Cluster, variables: &[&str]) -> Option<()> {
    let (pairs, []) = variables.as_chunks::<2>() else { return None };
    for [name, value] in pairs {
        match name.to_ascii_lowercase().as_str() {
            "currentepoch" => cluster.current_epoch = value.parse().ok()?,
            "lastvoteepoch" => cluster.last_vote_epoch = value.parse().ok()?,
            _ => tracing::info!("Skipping unknown cluster config variable '{name}'"),
        }
    }
    Some(())
}

/// Whether this is an id: 40 lower-case hexadecimal digits.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn parse_node(cluster: &mut Cluster, id: &str, address: &str, epoch: &str, slots: &[&str]) -> Option<()> {
    if !is_id(id) {
        return None;
    }
    cluster.id = id.to_owned();
    cluster.config_epoch = epoch.parse().ok()?;
    // What is announced is configured anew at each start; of the rest only the shard is the file's to know.
    for field in address.split(',').skip(2) {
        let (name, value) = field.split_once('=')?;
        match name {
            "shard-id" if is_id(value) => cluster.shard_id = value.to_owned(),
            "nodename" | "tcp-port" | "tls-port" | "client-ipv4" | "client-ipv6" | "client-tcp-port"
            | "client-tls-port" | "availability-zone" => {}
            _ => return None,
        }
    }
    for range in slots {
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let (start, end): (u16, u16) = (start.parse().ok()?, end.parse().ok()?);
        if usize::from(start.max(end)) >= SLOTS {
            return None;
        }
        (start..=end).for_each(|slot| cluster.assign(slot));
    }
    Some(())
}

/// Replaces a node file; it is the old one or the new one at any time.
///
/// # Errors
/// The system's.
pub fn save(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}-{}", std::process::id(), crate::sys::clock::unix_ms()));
    let written = fs::File::create(&temporary).and_then(|mut file| file.write_all(text.as_bytes()));
    let replaced = written.and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}
