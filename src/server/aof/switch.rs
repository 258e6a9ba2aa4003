//! Turning the append-only file on and off: at the start, by CONFIG SET, and at the end of the process.

use std::fs::File;
use std::sync::Arc;

use super::{Aof, AofState, Stage};
use crate::config::os_reason;
use crate::keyspace::Keyspace;
use crate::persistence::aof::write_base;
use crate::persistence::{NoObserver, SaveOptions};
use crate::server::{Server, shutdown};
use crate::sys::clock;

impl Aof {
    pub(super) fn forget_trouble(&mut self) {
        if self.trouble.sync.take().is_some() {
            tracing::warn!("AOF reopen, just ignore the AOF fsync error in bio job");
        }
        if self.trouble.write.take().is_some() {
            tracing::warn!("AOF reopen, just ignore the last error.");
        }
    }
}

impl Server {
    /// Opens the append-only file once what it holds is loaded: makes a base if there is none, and goes on with the last
    /// increment. Effects are written to it from here on.
    ///
    /// # Errors
    /// The line for the log; the server cannot start.
    pub fn open_aof(&mut self, keyspace: &Keyspace) -> Result<(), String> {
        self.aof.directory.create()?;
        let had_increments = !self.aof.manifest.increments.is_empty();
        if self.aof.manifest.is_empty() {
            self.make_first_base(keyspace)?;
        }
        let aof = &mut self.aof;
        let name = match aof.manifest.increments.last() {
            Some(last) => last.name.clone(),
            None => aof.manifest.begin_increment(aof.directory.append_filename()),
        };
        let file = aof.directory.open_increment(&name, false)?;
        if !had_increments {
            aof.directory.write_manifest(&aof.manifest, &File::sync_all)?;
        }
        aof.increment_size = aof.directory.size(&name).unwrap_or(0);
        aof.file = Some(Arc::new(file));
        aof.last_sync_ms = clock::unix_ms();
        aof.synced_replication = self.replication.offset();
        tracing::info!(
            "{} AOF incr file {} on server start",
            if had_increments { "Opening" } else { "Creating" },
            String::from_utf8_lossy(&name)
        );
        self.propagation.set_aof_listens(true);
        Ok(())
    }

    fn make_first_base(&mut self, keyspace: &Keyspace) -> Result<(), String> {
        let snapshot = self.config.aof_use_rdb_preamble;
        let name = self.aof.manifest.begin_base(self.aof.directory.append_filename(), snapshot);
        let mut options = SaveOptions::new(&self.config, keyspace.access_policy, clock::unix_ms());
        options.aof_base = true;
        let target = self.aof.directory.file(&name);
        let timestamp = self.config.aof_timestamp_enabled;
        write_base(keyspace, &options, snapshot, timestamp, &target, &mut NoObserver)
            .map_err(|error| error.line)?;
        tracing::info!("Creating AOF base file {} on server start", String::from_utf8_lossy(&name));
        Ok(())
    }

    /// Turns the append-only file on or off as the option `appendonly` says now.
    ///
    /// # Errors
    /// It cannot be turned on; it is off.
    pub fn apply_appendonly(&mut self, keyspace: &mut Keyspace) -> Result<(), String> {
        match (self.config.appendonly, self.aof.state) {
            (true, AofState::Off) => self.start_aof(keyspace),
            (false, AofState::On | AofState::WaitRewrite) => {
                self.stop_aof();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Turns the append-only file on: it begins with a rewrite, at once or as soon as it can.
    ///
    /// # Errors
    /// The rewrite cannot be started; the file is off.
    pub fn start_aof(&mut self, keyspace: &mut Keyspace) -> Result<(), String> {
        self.aof.state = AofState::WaitRewrite;
        self.propagation.set_aof_listens(true);
        if self.persistence.is_rewriting() || self.aof.rewrites.running {
            tracing::info!(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and \
                 starting a rewrite now."
            );
            self.persistence.kill_rewrite();
            self.aof.rewrites.scheduled = true;
        } else if self.persistence.has_child() {
            self.aof.rewrites.scheduled = true;
            tracing::info!(
                "AOF was enabled but there is already another background operation. An AOF background was scheduled \
                 to start when possible."
            );
        } else if self.propagation.is_pending() {
            // The child would see half of what goes out as one unit after the fork.
            self.aof.rewrites.scheduled = true;
            tracing::info!(
                "AOF was enabled during a transaction. An AOF background was scheduled to start when possible."
            );
        } else if !self.begins_with_rewrite(keyspace) {
            self.aof.state = AofState::Off;
            self.aof.rewrites.collecting = false;
            self.propagation.set_aof_listens(false);
            tracing::warn!(
                "The server needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the \
                 above logs for more info about the error."
            );
            return Err("Unable to turn on AOF. Check server logs.".to_owned());
        }
        self.aof.last_sync_ms = self.now_ms;
        self.aof.forget_trouble();
        Ok(())
    }

    /// Starts the rewrite. If its increment is not open yet this waits until it is, which takes no sync.
    fn begins_with_rewrite(&mut self, keyspace: &mut Keyspace) -> bool {
        if let Some(Err(line)) = &self.aof.opened {
            tracing::warn!("{line}");
            self.aof.opened = None;
            self.aof.rewrites.last_ok = false;
            return false;
        }
        let started = self.rewrite_aof(keyspace);
        if started && self.aof.file.is_none() {
            self.settle_aof();
        }
        started && self.aof.file.is_some()
    }

    /// Turns the append-only file off. What was fed to it is written, and synced in the background; no reply waits for
    /// that any more.
    pub fn stop_aof(&mut self) {
        if !matches!(self.aof.stage, Stage::None) {
            self.settle_aof();
        }
        self.flush_aof(true);
        self.aof.request_sync(self.replication.offset(), self.now_ms);
        if let Some(file) = self.aof.file.take() {
            self.aof.helper.close(file);
        }
        self.aof.state = AofState::Off;
        self.propagation.set_aof_listens(false);
        if std::mem::take(&mut self.aof.rewrites.scheduled) {
            tracing::info!("AOF was disabled but there is a scheduled AOF background, cancel it.");
        }
        self.aof.rewrites.collecting = false;
        self.aof.increment_size = 0;
        self.aof.synced_replication = -1;
        self.aof.forget_unsynced();
        self.persistence.kill_rewrite();
    }

    /// Writes and syncs everything before the process ends; `false` forbids the end, because the data set would be lost:
    /// the append-only file is still being made.
    pub fn close_aof(&mut self, force: bool) -> bool {
        self.settle_aof();
        if self.aof.rewrites.running {
            if self.aof.state == AofState::WaitRewrite && !force {
                tracing::warn!("Writing initial AOF, can't exit.");
                shutdown::notify_supervisor(self, "STATUS=Writing initial AOF, can't exit.\n");
                return false;
            }
            if self.aof.state == AofState::WaitRewrite {
                tracing::warn!("Writing initial AOF. Exit anyway.");
            }
            if self.persistence.is_rewriting() {
                tracing::warn!("There is a child rewriting the AOF. Killing it!");
                self.persistence.abandon_child();
            }
        }
        if self.aof.state != AofState::Off {
            tracing::info!("Calling fsync() on the AOF file.");
            self.flush_aof(true);
            if let Some(Err(error)) = self.aof.file.as_ref().map(|file| file.sync()) {
                tracing::warn!("Fail to fsync the AOF file: {}.", os_reason(&error));
            }
        }
        true
    }
}
