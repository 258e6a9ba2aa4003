//! A snapshot on a connection of its own: the stream behind it comes over the main connection at the same time, and is
//! kept here until the snapshot is loaded. That spares the primary's memory.

use std::cell::Cell;
use std::path::PathBuf;

use tokio::sync::Notify;

use super::wire::Wire;
use super::{AT_ONCE, Failure, LATER, Link};
use crate::algorithms::numbers::parse_i64;
use crate::config::{VALKEY_VERSION, os_reason};
use crate::replication::{PrimaryStream, ReplicationId};
use crate::server::primary_link::LinkState;
use crate::sys::signals;

/// Where in the primary's history the snapshot stands, and who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndOffset {
    offset: i64,
    id: ReplicationId,
    database: usize,
    /// The number of the client that the primary sends the snapshot to.
    client: u64,
}

/// `$ENDOFF:<offset> <id> <database> <client>`.
fn end_offset(line: &[u8]) -> Option<EndOffset> {
    let mut words = line.strip_prefix(b"$ENDOFF:")?.split(|byte| *byte == b' ');
    let mut word = || words.next();
    let offset = parse_i64(word()?)?;
    let id = ReplicationId::parse(word()?)?;
    let database = usize::try_from(parse_i64(word()?)?).unwrap_or(0);
    let client = std::str::from_utf8(word()?).ok()?.parse().ok()?;
    Some(EndOffset { offset, id, database, client })
}

impl Link {
    /// Takes over the primary's data by two connections and brings the link up.
    pub(super) async fn take_snapshot_by_own_channel(&self, mut main: Wire) -> Result<(), Failure> {
        let mut channel = Wire::new(self.connect("dual channel replication").await?);
        let outcome = async {
            let end = self.open_channel(&mut channel).await?;
            self.engine()?.server.primary_link.announced = Some(end.id);
            let finished = self.load_while_buffering(&mut main, &mut channel, &end).await;
            finished.map(|file| (end, file))
        }
        .await;
        let (end, file) = outcome.inspect_err(|failure| {
            if *failure != Failure::Superseded {
                tracing::info!("Dual channel replication: Aborting dual channel sync");
            }
            let engine = &mut *self.shared.engine.borrow_mut();
            engine.server.background.free_buffer(main.take_unread());
            if engine.server.is_current_attempt(self.attempt) {
                let link = &mut engine.server.primary_link;
                (link.waiting_bytes, link.unread_usage) = (0, 0);
            }
        })?;
        {
            let server = &mut self.engine()?.server;
            server.enter_history(end.id, end.offset);
            server.primary_link.waiting_bytes = 0;
        }
        self.engine()?.restart_aof(file.as_deref());
        self.adopt(main, PrimaryStream::new(end.id, end.offset), end.database)?;
        tracing::info!("Dual channel replication: Successfully streamed replication data into memory");
        tracing::info!("PRIMARY <-> REPLICA sync: Finished with success");
        Ok(())
    }

    /// Introduces the second connection and asks for the snapshot.
    async fn open_channel(&self, channel: &mut Wire) -> Result<EndOffset, Failure> {
        self.authenticate(channel).await?;
        let (port, address) = self.announced_address()?;
        let request: [&[u8]; 11] = [
            b"REPLCONF",
            b"capa",
            b"eof",
            b"rdb-only",
            b"1",
            b"rdb-channel",
            b"1",
            b"listening-port",
            port.as_bytes(),
            b"version",
            VALKEY_VERSION.as_bytes(),
        ];
        self.send(channel, &request).await?;
        let reply = self.reply(channel).await?;
        if reply.starts_with(b"-") {
            let reply = String::from_utf8_lossy(&reply);
            tracing::info!(
                "Dual channel replication: Server does not support sync with offset, dual channel sync approach cannot \
                 be used: {reply}"
            );
            tracing::warn!("Dual channel sync failed with error {reply}");
            return Err(LATER);
        }
        if !address.is_empty() {
            self.send(channel, &[b"REPLCONF", b"ip-address", address.as_bytes()]).await?;
            let reply = self.reply(channel).await?;
            if reply.starts_with(b"-") {
                let reply = String::from_utf8_lossy(&reply);
                tracing::warn!("Dual channel replication: Primary rejected REPLCONF ip-address: {reply}");
                return Err(LATER);
            }
        }
        channel.send_raw(b"SYNC\r\n").await.map_err(|error| {
            let reason = os_reason(&error);
            tracing::warn!("Dual channel replication: I/O error writing to Primary: {reason}");
            LATER
        })?;
        channel.only_receive();
        loop {
            let line = self.reply(channel).await?;
            if line.is_empty() {
                // The primary is alive and has not begun yet.
                continue;
            }
            return end_offset(&line).ok_or_else(|| {
                let line = String::from_utf8_lossy(&line);
                tracing::warn!("Dual channel replication: Received unexpected $ENDOFF response: {line}");
                LATER
            });
        }
    }

    /// Loads the snapshot from the one connection while the stream is kept that comes over the other. Gives the file that
    /// holds the snapshot, if there is one.
    async fn load_while_buffering(
        &self,
        main: &mut Wire,
        channel: &mut Wire,
        end: &EndOffset,
    ) -> Result<Option<PathBuf>, Failure> {
        let (granted, news) = (Cell::new(false), Notify::new());
        let stream = async {
            self.ask_for_rest(main, end).await?;
            granted.set(true);
            news.notify_one();
            self.buffer(main).await
        };
        let load = self.receive(channel);
        let (mut stream, mut load) = (std::pin::pin!(stream), std::pin::pin!(load));
        let mut loaded = None;
        while loaded.is_none() || !granted.get() {
            let waits = loaded.is_some();
            tokio::select! {
                failure = &mut stream => return Err(failure.err().unwrap_or(AT_ONCE)),
                received = &mut load, if loaded.is_none() => loaded = Some(received?.file),
                () = news.notified() => {}
            }
            if waits && granted.get() {
                tracing::trace!("Dual channel replication: Psync established after rdb load");
            }
        }
        Ok(loaded.flatten())
    }

    /// Asks on the main connection for the stream behind the snapshot.
    async fn ask_for_rest(&self, main: &mut Wire, end: &EndOffset) -> Result<(), Failure> {
        let client = end.client.to_string();
        self.send(main, &[b"REPLCONF", b"set-rdb-client-id", client.as_bytes()])
            .await
            .map_err(|_| AT_ONCE)?;
        let reply = self.reply(main).await.map_err(at_once)?;
        if reply.starts_with(b"-") {
            tracing::info!(
                "Dual channel replication: Primary does not understand REPLCONF identify: {}",
                String::from_utf8_lossy(&reply)
            );
            return Err(AT_ONCE);
        }
        if self.engine()?.server.debug.pause_after_fork {
            signals::stop_until_continued();
        }
        let (id, next) = (end.id.to_string(), (end.offset + 1).to_string());
        tracing::info!(
            "Dual channel replication: Trying a partial resynchronization using main channel (request {id}:{next})."
        );
        self.send(main, &[b"PSYNC", id.as_bytes(), next.as_bytes()]).await.map_err(at_once)?;
        let reply = loop {
            let line = self.reply(main).await.map_err(at_once)?;
            if !line.is_empty() {
                break line;
            }
        };
        if !reply.starts_with(b"+CONTINUE") {
            tracing::warn!(
                "Dual channel replication: Aborting dual channel sync. Main channel psync result {}",
                String::from_utf8_lossy(&reply)
            );
            return Err(AT_ONCE);
        }
        tracing::info!(
            "Dual channel replication: PRIMARY <-> REPLICA sync: Primary accepted a Partial Resynchronization, RDB load \
             in background."
        );
        self.set_state(LinkState::Transfer)
    }

    /// Keeps what comes, up to the limit of a replica's output: the rest waits at the primary. Ends only with the
    /// connection.
    async fn buffer(&self, main: &mut Wire) -> Result<(), Failure> {
        loop {
            let limit = {
                let server = &mut self.engine()?.server;
                let link = &mut server.primary_link;
                link.waiting_bytes = main.waiting();
                link.unread_usage = main.usage();
                link.waiting_peak = link.waiting_peak.max(link.waiting_bytes);
                server.config.client_output_buffer_limit.replica.hard_bytes
            };
            if limit > 0 && main.waiting() as u64 > limit {
                tracing::info!(
                    "Dual channel replication: Replication buffer limit reached ({limit} bytes), stopping buffering. \
                     Further accumulation will occur on primary side."
                );
                std::future::pending::<()>().await;
            }
            match main.keep_more().await {
                Ok(1..) => {}
                _ => {
                    self.engine()?;
                    tracing::warn!("Dual channel replication: Provisional primary closed connection");
                    return Err(AT_ONCE);
                }
            }
        }
    }
}

/// What fails once the snapshot is on its way is tried again at once.
fn at_once(failure: Failure) -> Failure {
    if failure == Failure::Superseded { failure } else { AT_ONCE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_snapshot_is_read_as_valkey_writes_it() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let end = end_offset(format!("$ENDOFF:4711 {id} 3 99").as_bytes());
        let expected = ReplicationId::parse(id.as_bytes()).map(|id| EndOffset {
            offset: 4711,
            id,
            database: 3,
            client: 99,
        });
        assert_eq!(end, expected);
        // A primary that has not selected a database yet says -1.
        assert_eq!(end_offset(format!("$ENDOFF:1 {id} -1 2").as_bytes()).map(|end| end.database), Some(0));
        for wrong in ["", "$100", "$ENDOFF:x y z", &format!("$ENDOFF:1 {id} 3")] {
            assert_eq!(end_offset(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
