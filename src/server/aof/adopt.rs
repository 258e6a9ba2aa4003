//! A snapshot's file becomes the base of the append-only file: after a full synchronization by way of the disk, what a
//! rewrite would write is there already (Valkey: `restartAOFWithSyncRdb`).
//!
//! The file is moved at once, so that no later snapshot can take its place. Opening the increment and writing the
//! manifest is the helper thread's work; what is fed meanwhile is kept in the buffer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::helper::{Adopted, Outcome, sync};
use super::rewrite::remove_history;
use super::{Aof, AofState, Stage};
use crate::config::os_reason;
use crate::persistence::aof::{Directory, Manifest};
use crate::server::Server;
use crate::sys::barrier::Worker;

/// What is to be once the helper thread is done.
#[derive(Debug)]
pub(super) struct Adoption {
    /// Lists the snapshot as its base.
    pub(super) manifest: Manifest,
    /// The offset of the replication stream at which the snapshot stands.
    replication: i64,
}

impl Server {
    /// Begins the append-only file, which is off, with the file of a snapshot of just what the data is now; says whether
    /// that is under way. The reason of a failure is in the log.
    pub fn start_aof_with(&mut self, snapshot: &Path) -> bool {
        if !matches!(self.aof.stage, Stage::None) || self.aof.rewrites.running {
            return false;
        }
        let aof = &mut self.aof;
        let mut manifest = aof.manifest.clone();
        let base = manifest.begin_base(aof.directory.append_filename(), true);
        manifest.retire_increments(0);
        manifest.begin_increment(aof.directory.append_filename());
        let target = aof.directory.file(&base);
        if let Err(line) = aof.directory.create().and_then(|()| rename(snapshot, &target)) {
            tracing::warn!("{line}");
            return false;
        }
        aof.state = AofState::WaitRewrite;
        aof.rewrites.collecting = true;
        aof.forget_unsynced();
        aof.forget_trouble();
        let listed = manifest.clone();
        let keeps_history = self.config.aof_disable_auto_gc;
        if !keeps_history {
            manifest.history.clear();
        }
        aof.stage = Stage::Adopting(Adoption { manifest, replication: self.replication.offset() });
        let directory = aof.directory.clone();
        let back = snapshot.to_owned();
        aof.helper
            .run(move |worker| Outcome::Adopted(adopt(worker, &directory, listed, &back, keeps_history)));
        self.propagation.aof.reset_database();
        self.propagation.set_aof_listens(true);
        true
    }

    /// The snapshot is listed as the base, or could not be.
    pub(super) fn adopted(&mut self, result: Result<Adopted, String>) {
        let Stage::Adopting(adoption) = std::mem::replace(&mut self.aof.stage, Stage::None) else { return };
        let now_ms = self.now_ms;
        let aof = &mut self.aof;
        aof.rewrites.collecting = false;
        match result {
            Ok(adopted) => {
                adopted.lines.iter().for_each(|line| tracing::info!("{line}"));
                aof.begin_with(adopted, adoption, now_ms);
            }
            Err(line) => {
                tracing::warn!("{line}");
                aof.state = AofState::Off;
                aof.forget_unsynced();
                // The cron begins with a rewrite instead.
                self.propagation.set_aof_listens(false);
            }
        }
        self.settle_stage();
    }
}

impl Aof {
    fn begin_with(&mut self, adopted: Adopted, adoption: Adoption, now_ms: i64) {
        self.manifest = adoption.manifest;
        self.file = Some(adopted.file);
        self.increment_size = 0;
        (self.current_size, self.base_size) = (adopted.base_bytes, adopted.base_bytes);
        (self.rewrites.last_ok, self.rewrites.failures) = (true, 0);
        self.last_sync_ms = now_ms;
        self.synced_replication = adoption.replication;
        self.state = AofState::On;
        let base = self.manifest.base.as_ref().map(|file| file.name.as_slice()).unwrap_or_default();
        tracing::info!(
            "Reused RDB file from primary sync as AOF base file: {}",
            String::from_utf8_lossy(base)
        );
    }
}

fn rename(snapshot: &Path, target: &Path) -> Result<(), String> {
    fs::rename(snapshot, target).map_err(|error| {
        let (from, to, reason) = (snapshot.display(), target.display(), os_reason(&error));
        format!("Error trying to rename the RDB file {from} into {to}: {reason}")
    })
}

/// Opens the increment and lists both. After a failure the snapshot is where it was, unless the manifest on disk lists it
/// or another one has taken its place.
fn adopt(
    worker: &Worker,
    directory: &Directory,
    manifest: Manifest,
    back: &PathBuf,
    keeps_history: bool,
) -> Result<Adopted, String> {
    let name = |file: Option<&crate::persistence::aof::ListedFile>| {
        file.map(|file| file.name.clone()).unwrap_or_default()
    };
    let base = directory.file(&name(manifest.base.as_ref()));
    let increment = name(manifest.increments.last());
    let opened = directory.open_increment(&increment, true).and_then(|file| {
        directory.write_manifest(&manifest, &|file| sync(worker, file))?;
        Ok(file)
    });
    let file = opened.inspect_err(|_| {
        if !directory.read_manifest().is_ok_and(|on_disk| on_disk == manifest) {
            worker.remove(&directory.file(&increment));
            // Unlike a renaming, a link does not replace a snapshot that was made since.
            let _ = fs::hard_link(&base, back);
            worker.remove(&base);
        }
    })?;
    let base_bytes = fs::metadata(&base).map_or(0, |metadata| metadata.len());
    let mut lines = Vec::new();
    if !keeps_history {
        remove_history(worker, directory, manifest, &mut lines);
    }
    Ok(Adopted { file: Arc::new(file), lines, base_bytes })
}
