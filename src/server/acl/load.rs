//! ACL LOAD: a helper thread reads the file of users, and only the client waits for the disk.
//!
//! What the file says is put in force in one go once it is there. Inside of a transaction, and at the start, the engine
//! thread reads it itself.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use super::DEFAULT_USER;
use super::file::parse;
use super::user::User;
use crate::config::os_reason;
use crate::memory::{usable_size, vec_usage};
use crate::resp::CommandError;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::client::ClientKey;
use crate::server::command::Outcome;
use crate::server::file_save::Counted;
use crate::server::waiter::Waiter;
use crate::server::{Context, Server, Task};
use crate::sys::barrier::Worker;

/// The last word of the command.
const COMMAND: &str = "load";

/// A file of users that is to be read, and who waits for it.
#[derive(Debug)]
pub struct PendingLoad {
    path: PathBuf,
    waiter: Option<Waiter>,
    counted: Counted,
}

/// A file of users that was read, or could not be.
pub struct EndedLoad {
    text: io::Result<Vec<u8>>,
    waiter: Option<Waiter>,
    /// The text counts until the users are there.
    _counted: Counted,
}

/// Reads within announced system calls: a fork does not wait for the disk.
struct Announced<'a>(&'a Worker, File);

impl Read for Announced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.in_system_call(|| self.1.read(buffer))
    }
}

impl PendingLoad {
    /// Reads the file. For the helper thread.
    #[must_use]
    pub fn read(mut self, worker: &Worker) -> EndedLoad {
        let text = File::open(&self.path).and_then(|file| {
            let mut text = Vec::new();
            Announced(worker, file).read_to_end(&mut text)?;
            Ok(text)
        });
        self.counted.add(text.as_ref().map_or(0, vec_usage));
        EndedLoad { text, waiter: self.waiter, _counted: self.counted }
    }
}

impl Context<'_> {
    /// Replaces all users by those of the file.
    ///
    /// # Errors
    /// Inside of a transaction what is wrong with the file; elsewhere the client is told later.
    pub fn load_users(&mut self) -> Outcome {
        let waits = self.block(BlockRequest::for_event(TimeoutReply::Never));
        if waits {
            // The working directory may be another one by then.
            let path = std::path::absolute(self.server.config.aclfile.as_path());
            let path = path.map_err(|error| CommandError::custom(format!("ERR {}", os_reason(&error))))?;
            let counted = Counted::new(&self.server.file_saves, usable_size(path.as_os_str().len()));
            let waiter = self.server.waiter(self.client);
            self.server.ask(Task::LoadUsers(Box::new(PendingLoad { path, waiter, counted })));
            return Ok(());
        }
        // What ACL SAVE was asked for before is to be there.
        self.server.aof.queue().wait_until_idle();
        self.server.load_users(Some(self.client)).map_err(refusal)?;
        self.reply.ok();
        Ok(())
    }
}

fn refusal(faults: Vec<u8>) -> CommandError {
    CommandError::custom([b"ERR ", faults.as_slice()].concat())
}

impl Server {
    /// Replaces all users by those of the file, and closes clients whose user is gone or lost channels that they subscribe
    /// to.
    ///
    /// # Errors
    /// Everything that is wrong with the file; nothing is changed then.
    pub fn load_users(&mut self, running: Option<ClientKey>) -> Result<(), Vec<u8>> {
        let users = self.users_of(fs::read(self.config.aclfile.as_path()))?;
        self.put_users(users, running);
        Ok(())
    }

    /// Has the helper thread that writes the file read it, and `tell` what became of that there.
    pub fn submit_load(&self, pending: Box<PendingLoad>, tell: impl FnOnce(EndedLoad) + Send + 'static) {
        self.aof.queue().submit(move |worker| tell(pending.read(worker)));
    }

    /// The file was read, or could not be: its users are in force, and the client has its reply.
    pub fn end_load(&mut self, ended: EndedLoad) {
        let users = self.users_of(ended.text);
        let waiting = ended.waiter.filter(|waiter| self.still_waits(*waiter, COMMAND));
        let running = waiting.map(Waiter::client);
        // First the reply: the client itself may have to go once it has it.
        let users = match users {
            Ok(users) => {
                waiting.into_iter().for_each(|waiter| self.answer(waiter, COMMAND, Ok(())));
                users
            }
            Err(faults) => {
                if let Some(waiter) = waiting {
                    self.answer(waiter, COMMAND, Err(refusal(faults)));
                }
                return;
            }
        };
        self.put_users(users, running);
    }

    fn users_of(&self, text: io::Result<Vec<u8>>) -> Result<Vec<User>, Vec<u8>> {
        let file = self.config.aclfile.as_str();
        let text = text.map_err(|error| {
            format!("Error loading ACLs, opening file '{file}': {}", os_reason(&error)).into_bytes()
        })?;
        let mut loaded = parse(&text, &file, self.rule_context())?;
        if loaded.user(DEFAULT_USER).is_none() {
            loaded.put(User::unrestricted(DEFAULT_USER));
        }
        Ok(loaded.users)
    }

    fn put_users(&mut self, users: Vec<User>, running: Option<ClientKey>) {
        let former = std::mem::take(&mut self.acl.users);
        for user in users {
            self.acl.put(user);
        }
        for former in &former {
            match self.acl.user(&former.name).map(|user| user.channels_left(former)) {
                None => self.close_clients_of(&former.name, running),
                Some(None) => {}
                Some(Some(left)) => self.close_subscribers(&former.name, &left, running),
            }
        }
        self.users_changed();
    }
}
