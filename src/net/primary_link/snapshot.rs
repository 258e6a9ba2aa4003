//! A snapshot that comes over a socket: where it ends, and its way to the helper thread and from there to the keyspace.

use std::path::PathBuf;
use std::time::Duration;

use super::data::Target;
use super::handshake::History;
use super::wire::{CHUNK_BYTES, Wire};
use super::{AT_ONCE, Failure, Link};
use crate::config::{ReplDisklessLoad, os_reason};
use crate::memory::vec_usage;
use crate::persistence::{Finished, LoadError, LoadOptions, Transfer, create_temporary};
use crate::replication::PrimaryStream;
use crate::server::primary_link::LinkState;
use crate::sys::barrier::JobQueue;
use crate::sys::clock;

/// Between two looks at whether a script still runs.
const SCRIPT_WAIT: Duration = Duration::from_millis(1);
/// Length of the mark that a snapshot of unknown length ends with.
const MARK_BYTES: usize = 40;

/// What says where the snapshot ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// So many bytes are missing.
    After(u64),
    /// It ends with this mark.
    Mark(Box<[u8]>),
}

/// What the snapshot's first line says.
fn announced(line: &[u8]) -> Option<End> {
    let length = line.strip_prefix(b"$")?;
    match length.strip_prefix(b"EOF:") {
        Some(mark) => mark.get(..MARK_BYTES).map(|mark| End::Mark(mark.into())),
        // As Valkey reads it: what is no number counts as 0.
        None => Some(End::After(std::str::from_utf8(length).ok()?.trim().parse().unwrap_or(0))),
    }
}

/// Cuts the snapshot out of what the socket brings.
#[derive(Debug)]
pub(super) struct Framing {
    end: End,
    /// The last bytes received, which may be the beginning of the mark.
    tail: Vec<u8>,
    done: bool,
}

impl Framing {
    fn new(end: End) -> Self {
        let done = end == End::After(0);
        Self { end, tail: Vec::new(), done }
    }

    /// What the next bytes of the socket are to be appended to.
    fn start(&mut self) -> Vec<u8> {
        let mut chunk = std::mem::take(&mut self.tail);
        chunk.reserve(CHUNK_BYTES);
        chunk
    }

    /// Takes a chunk that began with [`Framing::start`]. Gives the snapshot's part of it, and what follows the snapshot.
    fn take(&mut self, mut chunk: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        match &mut self.end {
            End::After(missing) => {
                let own = usize::try_from(*missing).unwrap_or(usize::MAX).min(chunk.len());
                *missing -= own as u64;
                self.done = *missing == 0;
                let rest = chunk.split_off(own);
                (chunk, rest)
            }
            End::Mark(mark) => {
                self.done = chunk.ends_with(mark);
                self.tail = chunk.split_off(chunk.len().saturating_sub(MARK_BYTES));
                (chunk, Vec::new())
            }
        }
    }
}

/// How a snapshot goes on from the socket.
enum Way {
    /// It is decoded as it comes.
    Memory,
    /// It is stored in a file and loaded from there.
    Disk,
}

/// A snapshot that was received and is the data now.
pub(super) struct Received {
    /// What there is to say of it.
    pub(super) finished: Finished,
    /// The file that holds it, if it went by way of the disk.
    pub(super) file: Option<PathBuf>,
}

impl Link {
    /// Takes over the primary's data and brings the link up.
    pub(super) async fn take_snapshot(&self, mut wire: Wire, history: History) -> Result<(), Failure> {
        self.set_state(LinkState::Transfer)?;
        self.engine()?.server.primary_link.announced = Some(history.id);
        let Received { finished, file } = self.receive(&mut wire).await?;
        let database = finished.origin.stream_database.and_then(|number| usize::try_from(number).ok());
        {
            let server = &mut self.engine()?.server;
            server.enter_history(history.id, history.offset);
        }
        self.engine()?.restart_aof(file.as_deref());
        tracing::info!("PRIMARY <-> REPLICA sync: Finished with success");
        self.adopt(wire, PrimaryStream::new(history.id, history.offset), database.unwrap_or(0))
    }

    /// A primary in a cluster tells which slots are on their way, and whose keys are there before them.
    fn adopt_slot_states(&self, finished: &Finished) -> Result<(), Failure> {
        let engine = &mut *self.engine()?;
        let server = &mut engine.server;
        if let (Some(cluster), Some(states)) = (&mut server.cluster, &finished.origin.slot_states) {
            cluster.adopt_open_slots(states);
        }
        server.adopt_slot_imports(&mut engine.keyspace, &finished.origin.slot_imports);
        Ok(())
    }

    /// Receives a snapshot and makes it the data.
    pub(super) async fn receive(&self, wire: &mut Wire) -> Result<Received, Failure> {
        let (way, target) = {
            let engine = self.engine()?;
            match engine.server.config.repl_diskless_load {
                ReplDisklessLoad::Swapdb => (Way::Memory, Target::Aside),
                ReplDisklessLoad::FlushBeforeLoad => (Way::Memory, Target::InPlace),
                ReplDisklessLoad::OnEmptyDb if engine.keyspace.is_empty() => (Way::Memory, Target::InPlace),
                _ => (Way::Disk, Target::InPlace),
            }
        };
        let outcome = match way {
            Way::Memory => self.receive_to_memory(wire, target).await,
            Way::Disk => self.receive_to_disk(wire).await,
        };
        outcome.inspect_err(|failure| {
            if *failure != Failure::Superseded {
                tracing::warn!("Failed to load RDB");
            }
        })
    }

    async fn receive_to_memory(&self, wire: &mut Wire, target: Target) -> Result<Received, Failure> {
        let framing = self.announcement(wire).await?;
        match &framing.end {
            End::Mark(_) => tracing::info!(
                "PRIMARY <-> REPLICA sync: receiving streamed RDB from primary with EOF to parser"
            ),
            End::After(bytes) => {
                tracing::info!("PRIMARY <-> REPLICA sync: receiving {bytes} bytes from primary to parser");
            }
        }
        let total = if let End::After(bytes) = framing.end { bytes } else { 0 };
        self.prepare_load(false).await?;
        let (queue, options) = self.helper()?;
        self.begin_load(target, "socket", total)?;
        let transfer = Transfer::decode(&queue, options);
        let outcome = self.pump(wire, Some(framing), &transfer).await;
        match outcome? {
            Ok(finished) => {
                self.finish_load(true)?;
                self.adopt_slot_states(&finished)?;
                Ok(Received { finished, file: None })
            }
            Err(error) => {
                tell("the received snapshot", &error);
                self.abandon_load();
                Err(AT_ONCE)
            }
        }
    }

    async fn receive_to_disk(&self, wire: &mut Wire) -> Result<Received, Failure> {
        tracing::info!("Replica main thread creating Bio thread to save RDB to disk");
        let framing = self.announcement(wire).await?;
        match &framing.end {
            End::Mark(_) => tracing::info!(
                "Replica bio thread: PRIMARY <-> REPLICA sync: receiving streamed RDB from primary with EOF to disk"
            ),
            End::After(bytes) => tracing::info!(
                "Replica bio thread: PRIMARY <-> REPLICA sync: receiving {bytes} bytes from primary to disk"
            ),
        }
        let (queue, options) = self.helper()?;
        let (file, path) = create_temporary(clock::unix_ms()).map_err(|error| {
            let reason = os_reason(&error);
            tracing::warn!("Opening the temp file needed for PRIMARY <-> REPLICA synchronization: {reason}");
            AT_ONCE
        })?;
        let temporary = Temporary { path: Some(path), queue: queue.clone() };
        let transfer = Transfer::store(&queue, file, options);
        let outcome = self.pump(wire, Some(framing), &transfer).await?;
        drop(transfer);
        if let Err(error) = outcome {
            tell("the received snapshot", &error);
            tracing::warn!(
                "Failed trying to load the PRIMARY synchronization DB from disk, check server logs."
            );
            tracing::info!("PRIMARY <-> REPLICA sync: Skipping flush, no new data was loaded.");
            return Err(AT_ONCE);
        }
        tracing::info!("Replica bio thread: Done downloading RDB");
        tracing::info!("Replica main thread detected RDB download completion in Bio thread");
        self.load_from_disk(wire, temporary).await
    }

    async fn load_from_disk(&self, wire: &mut Wire, mut temporary: Temporary) -> Result<Received, Failure> {
        tracing::info!("Loading the RDB and finalizing primary-replica sync...");
        self.prepare_load(true).await?;
        let (queue, options) = self.helper()?;
        let target = {
            let server = &self.engine()?.server;
            PathBuf::from(server.config.dbfilename.as_path())
        };
        let Some(received) = temporary.path.clone() else { return Err(AT_ONCE) };
        let total = std::fs::metadata(&received).map_or(0, |metadata| metadata.len());
        self.begin_load(Target::InPlace, "disk", total)?;
        let transfer = Transfer::load(&queue, received, target.clone(), options);
        let outcome = self.pump(wire, None, &transfer).await?;
        drop(transfer);
        if !matches!(outcome, Err(LoadError::Place(_))) {
            // The file has its own name now.
            temporary.path = None;
        }
        match outcome {
            Ok(finished) => {
                self.finish_load(false)?;
                self.adopt_slot_states(&finished)?;
                self.drop_needless_file(&target)?;
                Ok(Received { finished, file: Some(target) })
            }
            Err(error) => {
                tell(&target.display().to_string(), &error);
                self.abandon_load();
                self.drop_needless_file(&target)?;
                Err(AT_ONCE)
            }
        }
    }

    /// Removes the snapshot if this server keeps no others (`rdb-del-sync-files`).
    fn drop_needless_file(&self, path: &std::path::Path) -> Result<(), Failure> {
        let engine = self.engine()?;
        if engine.server.config.rdb_del_sync_files && engine.server.keeps_no_files() {
            tracing::info!(
                "Removing the RDB file obtained from the primary. This replica has persistence disabled"
            );
            drop(engine);
            let (queue, _) = self.helper()?;
            queue.remove_later(vec![path.to_path_buf()]);
        }
        Ok(())
    }

    /// The thread that decodes, and how.
    fn helper(&self) -> Result<(JobQueue, LoadOptions), Failure> {
        let mut engine = self.engine()?;
        let access = engine.keyspace.access_policy;
        let server = &mut engine.server;
        let options =
            LoadOptions { drop_expired: false, ..LoadOptions::new(&server.config, server.limits, access) };
        match server.replication_helper() {
            Ok(queue) => Ok((queue, options)),
            Err(error) => {
                tracing::warn!(
                    "No thread for the PRIMARY <-> REPLICA synchronization: {}",
                    os_reason(&error)
                );
                Err(AT_ONCE)
            }
        }
    }

    /// Waits for the line that announces the snapshot.
    async fn announcement(&self, wire: &mut Wire) -> Result<Framing, Failure> {
        loop {
            let line = wire.line().await.map_err(|error| {
                tracing::warn!("I/O error reading bulk count from PRIMARY: {}", os_reason(&error));
                AT_ONCE
            })?;
            self.note_io()?;
            if line.is_empty() {
                // The primary is alive.
                continue;
            }
            let shown = String::from_utf8_lossy(&line);
            if let Some(error) = shown.strip_prefix('-') {
                tracing::warn!("PRIMARY aborted replication with an error: {error}");
                return Err(AT_ONCE);
            }
            let Some(end) = announced(&line) else {
                tracing::warn!(
                    "Bad protocol from PRIMARY, the first byte is not '$' (we received '{shown}'), are you sure the \
                     host and port are right?"
                );
                return Err(AT_ONCE);
            };
            let total_bytes = if let End::After(bytes) = end { i64::try_from(bytes).unwrap_or(0) } else { 0 };
            self.engine()?.server.primary_link.snapshot.total_bytes = total_bytes;
            return Ok(Framing::new(end));
        }
    }

    /// Carries bytes from the socket to the helper thread, and entries from there to the keyspace, until all is done.
    async fn pump(
        &self,
        wire: &mut Wire,
        mut framing: Option<Framing>,
        transfer: &Transfer,
    ) -> Result<Result<Finished, LoadError>, Failure> {
        if framing.as_ref().is_some_and(|framing| framing.done) {
            transfer.complete();
        }
        let mut pinged_ms = 0;
        self.engine()?.server.primary_link.transfer = None;
        loop {
            self.wait_for_script().await?;
            if let Some(batch) = transfer.take_batch() {
                if let Err(error) = self.put(batch, transfer)? {
                    return Ok(Err(error));
                }
                let now_ms = clock::unix_ms();
                if now_ms / 1000 != pinged_ms / 1000 {
                    pinged_ms = now_ms;
                    wire.send_newline();
                }
                // Requests of clients go from their sockets through their tasks and the executor.
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            let reading = framing.as_mut().filter(|framing| !framing.done);
            if let Some(outcome) = transfer.take_outcome() {
                return match (reading, &outcome) {
                    (Some(framing), Ok(_)) => self.await_mark(wire, framing, outcome).await,
                    _ => Ok(outcome),
                };
            }
            match reading {
                Some(framing) if transfer.has_room() => {
                    let mut chunk = framing.start();
                    self.weigh(wire, &chunk, transfer)?;
                    let read = tokio::select! {
                        () = transfer.news() => None,
                        read = wire.chunk(&mut chunk) => Some(read),
                    };
                    let Some(read) = read else {
                        framing.tail = chunk;
                        continue;
                    };
                    self.note_read(read)?;
                    let (own, rest) = framing.take(chunk);
                    let done = framing.done;
                    transfer.offer(own);
                    if done {
                        wire.put_back(rest);
                        transfer.complete();
                    }
                }
                _ => {
                    self.weigh(wire, &Vec::new(), transfer)?;
                    transfer.news().await;
                }
            }
        }
    }

    /// Until no script is put aside: nothing but the script touches the data meanwhile.
    async fn wait_for_script(&self) -> Result<(), Failure> {
        while self.engine()?.server.scripting.is_busy() {
            tokio::time::sleep(SCRIPT_WAIT).await;
        }
        Ok(())
    }

    /// Notes what is on its way from the socket to the keyspace.
    fn weigh(&self, wire: &Wire, chunk: &Vec<u8>, transfer: &Transfer) -> Result<(), Failure> {
        let link = &mut self.engine()?.server.primary_link;
        link.transfer_bytes = wire.usage() + vec_usage(chunk);
        link.transfer.get_or_insert_with(|| transfer.scales());
        Ok(())
    }

    /// The snapshot is whole, and its mark has to be all that is left.
    async fn await_mark(
        &self,
        wire: &mut Wire,
        framing: &mut Framing,
        outcome: Result<Finished, LoadError>,
    ) -> Result<Result<Finished, LoadError>, Failure> {
        while !framing.done {
            let mut chunk = framing.start();
            let read = wire.chunk(&mut chunk).await;
            self.note_read(read)?;
            let (more, rest) = framing.take(chunk);
            wire.put_back(rest);
            if !more.is_empty() && matches!(framing.end, End::Mark(_)) {
                tracing::warn!("Replication stream EOF marker is broken");
                self.abandon_load();
                return Err(AT_ONCE);
            }
        }
        Ok(outcome)
    }

    /// Counts what the socket brought; its end is an error.
    fn note_read(&self, read: std::io::Result<usize>) -> Result<(), Failure> {
        let mut engine = self.engine()?;
        match read {
            Ok(count @ 1..) => {
                let server = &mut engine.server;
                server.primary_link.last_io_ms = clock::unix_ms();
                server.primary_link.snapshot.read_bytes += count as i64;
                server.stats.primary_bytes_in += count as u64;
                server.stats.bytes_in += count as u64;
                Ok(())
            }
            Ok(_) => {
                tracing::warn!("I/O error trying to sync with PRIMARY: connection lost");
                Err(AT_ONCE)
            }
            Err(error) => {
                tracing::warn!("I/O error trying to sync with PRIMARY: {}", os_reason(&error));
                Err(AT_ONCE)
            }
        }
    }
}

/// Says in the log what is wrong with a snapshot.
fn tell(name: &str, error: &LoadError) {
    for line in error.lines(std::path::Path::new(name)) {
        tracing::warn!("{line}");
    }
}

/// A file that goes with this value, unless it has found its place; on a helper thread, as it may be large.
struct Temporary {
    path: Option<PathBuf>,
    queue: JobQueue,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.queue.remove_later(vec![path]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(framing: &mut Framing, bytes: &[u8], at_once: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        for part in bytes.chunks(at_once) {
            if framing.done {
                rest.extend_from_slice(part);
                continue;
            }
            let mut chunk = framing.start();
            chunk.extend_from_slice(part);
            let (more, after) = framing.take(chunk);
            own.extend(more);
            rest.extend(after);
        }
        (own, rest)
    }

    #[test]
    fn a_snapshot_of_known_length_ends_there() {
        for at_once in [1, 3, 100] {
            let mut framing = Framing::new(announced(b"$10").unwrap_or(End::After(0)));
            let (own, rest) = frame(&mut framing, b"0123456789*1\r\n", at_once);
            assert_eq!((own.as_slice(), rest.as_slice()), (b"0123456789".as_slice(), b"*1\r\n".as_slice()));
            assert!(framing.done);
        }
    }

    #[test]
    fn a_snapshot_of_unknown_length_ends_with_its_mark() {
        let mark = [b'm'; MARK_BYTES];
        let line = [b"$EOF:".as_slice(), &mark].concat();
        for at_once in [1, 7, 39, 40, 41, 1000] {
            let mut framing = Framing::new(announced(&line).unwrap_or(End::After(0)));
            let bytes = [b"snapshot mmm and more".as_slice(), &mark].concat();
            let (own, _) = frame(&mut framing, &bytes, at_once);
            assert_eq!(own, b"snapshot mmm and more", "{at_once}");
            assert!(framing.done);
        }
        assert_eq!(announced(b"$EOF:short"), None);
        assert_eq!(announced(b"+OK"), None);
    }
}
