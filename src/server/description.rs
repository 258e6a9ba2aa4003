//! A client in one line, as CLIENT LIST, CLIENT INFO and the log show it.

use std::io::Write;

use super::client::{Client, ClientClass};
use super::pubsub::Kind;
use crate::memory::MemoryUsage;
use crate::resp::Protocol;

/// Output up to this size is what Valkey keeps in a client's own buffer (`PROTO_REPLY_CHUNK_BYTES`): it is `obl`, and
/// anything larger is `oll` and `omem`.
const OWN_BUFFER: usize = 16 * 1024;

/// What stands for what users chose.
const HIDDEN: &[u8] = b"*redacted*";

impl Client {
    /// The letters of its state, `N` for none, in Valkey's order.
    #[must_use]
    pub fn flags(&self) -> String {
        let [tracks, is_broken, broadcasts] = self.tracking_flags();
        let letters = [
            (self.monitor, 'O'),
            (self.primary.is_some(), 'M'),
            (self.class() == ClientClass::Replica && !self.monitor, 'S'),
            (self.subscriptions.is_some(), 'P'),
            (self.transaction.is_some(), 'x'),
            (self.blocked.is_some(), 'b'),
            (tracks, 't'),
            (is_broken, 'R'),
            (broadcasts, 'B'),
            (self.watch_broken, 'd'),
            (self.close_after_reply, 'c'),
            (self.close_now, 'A'),
            (self.unix_socket, 'U'),
            (self.readonly, 'r'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
            (self.import_source, 'I'),
            (self.class() == ClientClass::SlotImport, 'i'),
            (self.class() == ClientClass::SlotExport, 'E'),
        ];
        let flags: String =
            letters.into_iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.unix_socket || self.address.starts_with("127.") || self.address.starts_with("[::1]")
    }

    /// Bytes of output beyond what a client's own buffer holds (`omem`).
    #[must_use]
    pub fn large_output_bytes(&self) -> usize {
        if self.output.len() > OWN_BUFFER { self.output.memory_usage() } else { 0 }
    }

    /// The line, without an end of line, and without what users chose if that is to be hidden. While its own request runs, the caller sees to it that `output` is complete.
    #[must_use]
    pub fn describe(&self, now_ms: i64, hide_user_data: bool) -> Vec<u8> {
        let mut line = Vec::with_capacity(400);
        // Writing to a vector cannot fail.
        let _ = self.write_identity(&mut line, now_ms, hide_user_data);
        let _ = self.write_buffers(&mut line);
        let _ = self.write_session(&mut line, hide_user_data);
        line
    }

    fn user_name(&self) -> &[u8] {
        self.login.name().unwrap_or(b"(superuser)")
    }

    /// Who the client is and nothing else, for the log.
    #[must_use]
    pub fn short_description(&self, hide_user_data: bool) -> String {
        let (name, user) =
            if hide_user_data { (HIDDEN, HIDDEN) } else { (self.name.as_slice(), self.user_name()) };
        let Self { id, address, local_address, descriptor, .. } = self;
        let text = |bytes| String::from_utf8_lossy(bytes);
        format!(
            "id={id} addr={address} laddr={local_address} fd={descriptor} name={} user={} lib-name={} lib-ver={}",
            text(name),
            text(user),
            text(&self.library_name),
            text(&self.library_version)
        )
    }

    fn write_identity(&self, line: &mut Vec<u8>, now_ms: i64, hide_user_data: bool) -> std::io::Result<()> {
        let Self { id, address, local_address, descriptor, .. } = self;
        write!(line, "id={id} addr={address} laddr={local_address} fd={descriptor} name=")?;
        line.write_all(if hide_user_data { HIDDEN } else { &self.name })?;
        let age = (now_ms - self.created_ms).max(0) / 1000;
        let idle = self.idle_seconds(now_ms);
        let capabilities = if self.follows_redirects { "r" } else { "" };
        let multi = self.transaction.as_ref().map_or(-1, |transaction| transaction.queue.len() as i64);
        write!(
            line,
            " age={age} idle={idle} flags={} capa={capabilities} db={}",
            self.flags(),
            self.database
        )?;
        let subscribed = |kind| self.subscriptions.as_ref().map_or(0, |all| all.count(kind));
        let [channels, patterns, shards] = [Kind::Channel, Kind::Pattern, Kind::Shard].map(subscribed);
        write!(
            line,
            " sub={channels} psub={patterns} ssub={shards} multi={multi} watch={}",
            self.watched.len()
        )
    }

    fn write_buffers(&self, line: &mut Vec<u8>) -> std::io::Result<()> {
        let query = &self.query;
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.memory_usage());
        write!(line, " qbuf={} qbuf-free={} argv-mem={}", query.pending, query.spare, query.arguments)?;
        let (length, allocated) = (self.output.len(), self.output.memory_usage());
        let (own, chunks) = if length > OWN_BUFFER { (0, 1) } else { (length, 0) };
        write!(line, " multi-mem={queued} rbs={allocated} rbp={allocated} obl={own} oll={chunks}")?;
        let events = if self.output.is_empty() { "r" } else { "rw" };
        let (large, total) = (self.large_output_bytes(), self.memory_usage());
        write!(line, " omem={large} tot-mem={total} events={events}")
    }

    fn write_session(&self, line: &mut Vec<u8>, hide_user_data: bool) -> std::io::Result<()> {
        let command = self.last_command.map_or("NULL", |entry| entry.full_name.as_str());
        write!(line, " cmd={command} user=")?;
        line.write_all(if hide_user_data { HIDDEN } else { self.user_name() })?;
        let version = match self.output.protocol() {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        write!(line, " redir={} resp={version} lib-name=", self.redirect())?;
        line.write_all(&self.library_name)?;
        line.write_all(b" lib-ver=")?;
        line.write_all(&self.library_version)?;
        let Self { bytes_in, bytes_out, commands, .. } = self;
        write!(line, " tot-net-in={bytes_in} tot-net-out={bytes_out} tot-cmds={commands}")
    }
}
