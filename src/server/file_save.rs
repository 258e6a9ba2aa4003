//! Small files that a command writes anew and that are to last before it is answered: the configuration (CONFIG REWRITE),
//! the users (ACL SAVE), the nodes of the cluster (CLUSTER SAVECONFIG).
//!
//! What is to be written is taken at the instant of the command. A helper thread writes and syncs, one file after the
//! other in the order of the commands, and only the client waits. The replies of EXEC cannot be put off: there the engine
//! thread does it, and waits for what is on its way, since Sentinel rewrites the configuration in a transaction.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::blocking::{BlockRequest, TimeoutReply};
use super::cluster;
use super::waiter::Waiter;
use super::{Context, Server, Task};
use crate::config::{Rewriting, os_reason, replace_file};
use crate::memory::{MemoryUsage, usable_size, vec_usage};
use crate::resp::CommandError;
use crate::sys::barrier::{JobQueue, Worker};
use crate::sys::files::SyncFile;

/// What is written.
pub enum Content {
    /// The options.
    Configuration(Rewriting),
    /// A line for each user.
    Users(Vec<u8>),
    /// The node file's text.
    Nodes(String),
}

/// Which of them, once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Configuration,
    Users,
    Nodes,
}

impl Kind {
    /// The last word of the command.
    const fn command(self) -> &'static str {
        match self {
            Self::Configuration => "rewrite",
            Self::Users => "save",
            Self::Nodes => "saveconfig",
        }
    }

    /// Tells the log what came of it, and gives what the client is told.
    fn conclude(self, result: io::Result<()>) -> Result<(), CommandError> {
        let Err(error) = result else {
            if self == Self::Configuration {
                tracing::info!("CONFIG REWRITE executed with success.");
            }
            return Ok(());
        };
        let reason = os_reason(&error);
        Err(match self {
            Self::Configuration => {
                tracing::warn!("CONFIG REWRITE failed: {reason}");
                CommandError::ConfigRewrite(reason.into())
            }
            Self::Users => {
                tracing::warn!("Writing ACL file for ACL SAVE: {reason}");
                CommandError::AclSave
            }
            Self::Nodes => {
                CommandError::custom(format!("ERR error saving the cluster node config: {reason}"))
            }
        })
    }
}

/// Bytes that a client's request keeps while a helper thread works for it; they count as long as this is there.
#[derive(Debug)]
pub struct Counted {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Counted {
    /// So many bytes more in the total.
    #[must_use]
    pub fn new(total: &Arc<AtomicUsize>, bytes: usize) -> Self {
        let mut counted = Self { bytes: 0, total: Arc::clone(total) };
        counted.add(bytes);
        counted
    }

    /// There are so many more.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A file that is to be written.
pub struct FileSave {
    path: PathBuf,
    content: Content,
    _counted: Counted,
}

impl FileSave {
    fn new(path: &Path, content: Content, total: &Arc<AtomicUsize>) -> io::Result<Self> {
        // The working directory may be another one by then.
        let path = std::path::absolute(path)?;
        let bytes = usable_size(path.capacity())
            + match &content {
                Content::Configuration(rewriting) => rewriting.memory_usage(),
                Content::Users(text) => vec_usage(text),
                Content::Nodes(text) => usable_size(text.capacity()),
            };
        Ok(Self { path, content, _counted: Counted::new(total, bytes) })
    }

    const fn kind(&self) -> Kind {
        match self.content {
            Content::Configuration(_) => Kind::Configuration,
            Content::Users(_) => Kind::Users,
            Content::Nodes(_) => Kind::Nodes,
        }
    }

    fn write(&self, sync: SyncFile<'_>) -> io::Result<()> {
        match &self.content {
            Content::Configuration(rewriting) => rewriting.write(&self.path, sync),
            Content::Users(text) => replace_file(&self.path, text, sync),
            Content::Nodes(text) => {
                cluster::file::save(&self.path, text, Some(sync)).map_err(|(step, error)| {
                    tracing::warn!("{}: {}", step.failure(), os_reason(&error));
                    error
                })
            }
        }
    }
}

/// Contents hold passwords.
impl fmt::Debug for FileSave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSave({})", self.path.display())
    }
}

/// A file on its way to the disk, and who waits for it.
#[derive(Debug)]
pub struct PendingSave {
    save: FileSave,
    waiter: Option<Waiter>,
}

/// What is left of it when the file is there, or could not be written.
pub struct EndedSave {
    kind: Kind,
    waiter: Option<Waiter>,
    result: io::Result<()>,
}

impl PendingSave {
    /// Writes the file. For the helper thread.
    #[must_use]
    pub fn write(self, worker: &Worker) -> EndedSave {
        let result = self.save.write(&|file| worker.in_system_call(|| file.sync_all()));
        EndedSave { kind: self.save.kind(), waiter: self.waiter, result }
    }
}

impl Context<'_> {
    /// Writes a file; the client has its reply when the file is there to stay.
    ///
    /// # Errors
    /// Inside of a transaction what writing it led to; elsewhere the client is told later.
    pub fn save_file(&mut self, path: &Path, content: Content) -> Result<(), CommandError> {
        let save = FileSave::new(path, content, &self.server.file_saves);
        let save = save.map_err(|error| CommandError::custom(format!("ERR {}", os_reason(&error))))?;
        let waits = self.block(BlockRequest::for_event(TimeoutReply::Never));
        if waits {
            let waiter = self.server.waiter(self.client);
            self.server.ask(Task::SaveFile(Box::new(PendingSave { save, waiter })));
            return Ok(());
        }
        self.server.queue_of(&save).wait_until_idle();
        save.kind().conclude(save.write(&File::sync_all))?;
        self.reply.ok();
        Ok(())
    }
}

impl Server {
    /// The thread that writes this file: always the same one, so that what was asked for last is there in the end.
    fn queue_of(&self, save: &FileSave) -> JobQueue {
        let nodes = self.cluster.as_ref().filter(|_| save.kind() == Kind::Nodes);
        nodes.and_then(|cluster| cluster.save_queue()).unwrap_or_else(|| self.aof.queue())
    }

    /// Has the helper thread write a file, and `tell` what became of it there.
    pub fn submit_save(&self, pending: Box<PendingSave>, tell: impl FnOnce(EndedSave) + Send + 'static) {
        self.queue_of(&pending.save).submit(move |worker| tell(pending.write(worker)));
    }

    /// A file is there, or could not be written: the client has its reply.
    pub fn end_save(&mut self, ended: EndedSave) {
        let outcome = ended.kind.conclude(ended.result);
        if let Some(waiter) = ended.waiter {
            self.answer(waiter, ended.kind.command(), outcome);
        }
    }
}
