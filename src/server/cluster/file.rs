//! The node file (`cluster-config-file`): one line for each node and one of variables, as Valkey writes it.
//!
//! A lock on it says that a node uses it. The file is replaced with each save, so the lock is on a file beside it only in
//! name: the one that was there at the start stays open, and a second node that opens the new one would not see it; like
//! Valkey's, it keeps two nodes apart that are started one after the other with the same file.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::Cluster;
use super::node::{Address, Node, NodeKey, node_flag};
use crate::algorithms::slot::SLOTS;
use crate::bus::NodeId;
use crate::config::split_arguments;
use crate::sys::files::{self, SyncFile};

/// Why a node file cannot be used.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// A line is wrong; the line.
    Corrupt(String),
    /// It cannot be locked.
    Unlockable(io::Error),
    /// Another node uses it.
    InUse,
}

/// A step of saving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SaveStep {
    /// Making the temporary file.
    Open,
    /// Writing it.
    Write,
    /// Making it last.
    Sync,
    /// Putting it in its place.
    Rename,
    /// Making its name last.
    SyncDirectory,
}

impl SaveStep {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Open, Self::Write, Self::Sync, Self::Rename, Self::SyncDirectory];

    /// What the log says when it failed.
    #[must_use]
    pub const fn failure(self) -> &'static str {
        match self {
            Self::Open => "Could not open temp cluster config file",
            Self::Write => "Failed after writing to tmp cluster config file",
            Self::Sync => "Could not sync tmp cluster config file",
            Self::Rename => "Could not rename tmp cluster config file",
            Self::SyncDirectory => "Could not sync cluster config file dir",
        }
    }
}

/// Locks a node file, which is made if there is none. The lock holds as long as the file is open.
///
/// # Errors
/// See [`FileError`].
pub fn lock(path: &Path) -> Result<File, FileError> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(FileError::Unlockable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FileError::InUse),
        Err(TryLockError::Error(error)) => Err(FileError::Unlockable(error)),
    }
}

/// Reads a node file; `None` when there is none, or an empty one.
///
/// # Errors
/// See [`FileError`].
pub fn load(path: &Path, now_ms: i64) -> Result<Option<Cluster>, FileError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::Unreadable(error)),
    };
    if text.is_empty() {
        return Ok(None);
    }
    parse(&String::from_utf8_lossy(&text), now_ms).map(Some)
}

/// Reads the text of a node file.
///
/// # Errors
/// A wrong line.
pub fn parse(text: &str, now_ms: i64) -> Result<Cluster, FileError> {
    let mut reader = Reading { cluster: Cluster::without_nodes(), myself: None, read: Vec::new(), now_ms };
    for line in text.lines().filter(|line| !line.is_empty()) {
        reader.line(line).ok_or_else(|| FileError::Corrupt(line.to_owned()))?;
    }
    let Reading { mut cluster, myself, .. } = reader;
    cluster.myself = myself.ok_or_else(|| FileError::Corrupt(String::new()))?;
    cluster.current_epoch = cluster.highest_epoch();
    cluster.todo = super::Todo::default();
    Ok(cluster)
}

/// A node file that is being read.
struct Reading {
    cluster: Cluster,
    myself: Option<NodeKey>,
    /// Nodes whose lines have been read: others were only named.
    read: Vec<NodeKey>,
    now_ms: i64,
}

impl Reading {
    fn line(&mut self, line: &str) -> Option<()> {
        let words = split_arguments(line.as_bytes())?;
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        match words.as_slice() {
            [vars, variables @ ..] if vars.eq_ignore_ascii_case("vars") => self.variables(variables),
            [id, address, flags, primary, ping, pong, epoch, _, slots @ ..] => {
                let key = self.node(id)?;
                if self.read.contains(&key) {
                    tracing::warn!("Duplicate nodeid detected: {id}");
                    return None;
                }
                self.read.push(key);
                let has_shard = self.address(key, address)?;
                self.flags(key, flags)?;
                self.primary(key, primary, has_shard)?;
                let node = &mut self.cluster.nodes[key];
                let time = |word: &str| if word == "0" { 0 } else { self.now_ms };
                (node.ping_sent_ms, node.pong_received_ms) = (time(ping), time(pong));
                let epoch = epoch.parse().ok()?;
                node.config_epoch = if node.is_replica() && node.primary.is_some() { 0 } else { epoch };
                slots.iter().try_for_each(|slot| self.slots(key, slot))
            }
            _ => None,
        }
    }

    fn variables(&mut self, variables: &[&str]) -> Option<()> {
        let (pairs, []) = variables.as_chunks::<2>() else { return None };
        for [name, value] in pairs {
            match name.to_ascii_lowercase().as_str() {
                "currentepoch" => self.cluster.current_epoch = value.parse().ok()?,
                "lastvoteepoch" => self.cluster.last_vote_epoch = value.parse().ok()?,
                _ => tracing::info!("Skipping unknown cluster config variable '{name}'"),
            }
        }
        Some(())
    }

    /// The node of an id, which is new if it was not named before.
    fn node(&mut self, id: &str) -> Option<NodeKey> {
        let id = NodeId::parse(id.as_bytes())?;
        let nodes = &mut self.cluster.nodes;
        nodes.find(id).or_else(|| nodes.add(Node::new(id, 0, self.now_ms)))
    }

    /// `ip:port@busport,hostname,name=value...`; says whether the shard was among them.
    fn address(&mut self, key: NodeKey, text: &str) -> Option<bool> {
        let mut fields = text.split(',');
        let (ip, ports) = fields.next()?.rsplit_once(':')?;
        let (port, bus_port) = match ports.split_once('@') {
            Some((port, bus_port)) => (port.parse().ok()?, Some(bus_port.parse().ok()?)),
            None => (ports.parse().ok()?, None),
        };
        let node = &mut self.cluster.nodes[key];
        let otherwise = |port: u16| port.wrapping_add(super::BUS_PORT_OFFSET);
        let bus_port = bus_port.unwrap_or_else(|| otherwise(port));
        node.address = Address { ip: ip.to_owned(), port, tls_port: 0, bus_port };
        node.announced.hostname = fields.next().unwrap_or_default().to_owned();
        let mut shard = None;
        for field in fields {
            let (name, value) = field.split_once('=').filter(|(_, value)| !value.contains('='))?;
            let announced = &mut node.announced;
            let is_plain = super::gossip::is_plain(value);
            match name {
                "shard-id" => shard = Some(NodeId::parse(value.as_bytes())?),
                "tcp-port" => node.address.port = value.parse().ok()?,
                "tls-port" => node.address.tls_port = value.parse().ok()?,
                "client-tcp-port" => announced.client_port = value.parse().ok()?,
                "client-tls-port" => announced.client_tls_port = value.parse().ok()?,
                "client-ipv4" if value.parse::<std::net::Ipv4Addr>().is_ok() => {
                    announced.client_ipv4 = value.to_owned();
                }
                "client-ipv6" if value.parse::<std::net::Ipv6Addr>().is_ok() => {
                    announced.client_ipv6 = value.to_owned();
                }
                "nodename" if is_plain => announced.human_name = value.to_owned(),
                "availability-zone" if is_plain => announced.zone = value.to_owned(),
                _ => return None,
            }
        }
        if let Some(shard) = shard {
            self.set_shard(key, shard);
        }
        Some(shard.is_some())
    }

    /// A node's shard, which is that of its replicas too.
    fn set_shard(&mut self, key: NodeKey, shard: NodeId) {
        self.cluster.nodes[key].shard = shard;
        for replica in self.cluster.replicas_of(key) {
            self.cluster.nodes[replica].shard = shard;
        }
    }

    fn flags(&mut self, key: NodeKey, text: &str) -> Option<()> {
        for name in text.split(',') {
            let flags = match name.to_ascii_lowercase().as_str() {
                "myself" if self.myself.is_none() => {
                    self.myself = Some(key);
                    node_flag::MYSELF
                }
                "master" | "primary" => node_flag::PRIMARY,
                "slave" | "replica" => node_flag::REPLICA,
                "fail?" => node_flag::PFAIL,
                "fail" => node_flag::FAIL,
                "handshake" => node_flag::HANDSHAKE,
                "noaddr" => node_flag::NOADDR | node_flag::FAIL,
                "nofailover" => node_flag::NOFAILOVER,
                "noflags" => 0,
                _ => return None,
            };
            self.cluster.nodes[key].set(flags);
        }
        if self.cluster.nodes[key].is(node_flag::FAIL) {
            self.cluster.nodes[key].failed_ms = self.now_ms;
        }
        Some(())
    }

    fn primary(&mut self, key: NodeKey, id: &str, has_shard: bool) -> Option<()> {
        if id == "-" {
            return Some(());
        }
        let primary = self.node(id).filter(|primary| *primary != key)?;
        let shard = self.cluster.nodes[primary].shard;
        if !has_shard || self.read.contains(&primary) {
            self.cluster.nodes[key].shard = shard;
        } else {
            // The primary's line, which comes later, has the last word.
            self.cluster.nodes[primary].shard = self.cluster.nodes[key].shard;
        }
        self.cluster.attach_replica(key, primary);
        Some(())
    }

    /// `start-end`, one slot, or `[slot->-id]` and `[slot-<-id]` for one on its way.
    fn slots(&mut self, key: NodeKey, text: &str) -> Option<()> {
        let number = |text: &str| text.parse().ok().filter(|slot: &u16| usize::from(*slot) < SLOTS);
        if let Some(open) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let (slot, rest) = open.split_once('-')?;
            let (direction, id) = rest.split_once('-')?;
            let (slot, node) = (number(slot)?, self.node(id)?);
            match direction {
                ">" => self.cluster.migrating.insert(slot, node),
                "<" => self.cluster.importing.insert(slot, node),
                _ => return None,
            };
            return Some(());
        }
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        for slot in number(start)?..=number(end)? {
            self.cluster.give_slot(key, slot);
        }
        Some(())
    }
}

/// Replaces a node file; it is the old one or the new one at any time. `sync`, if there is one, makes files and
/// directories last.
///
/// # Errors
/// The step that failed, and the system's reason.
pub fn save(path: &Path, text: &str, sync: Option<SyncFile<'_>>) -> Result<(), (SaveStep, io::Error)> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}-{}", std::process::id(), crate::sys::clock::unix_ms()));
    let write = || {
        let at = |step| move |error| (step, error);
        let mut file = File::create(&temporary).map_err(at(SaveStep::Open))?;
        file.write_all(text.as_bytes()).map_err(at(SaveStep::Write))?;
        if let Some(sync) = sync {
            sync(&file).map_err(at(SaveStep::Sync))?;
        }
        fs::rename(&temporary, path).map_err(at(SaveStep::Rename))?;
        let Some(sync) = sync else { return Ok(()) };
        let directory = File::open(files::directory_of(path));
        directory.and_then(|directory| sync(&directory)).map_err(at(SaveStep::SyncDirectory))
    };
    let saved = write();
    if saved.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&temporary);
    }
    saved
}
