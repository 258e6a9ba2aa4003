//! Starting this process anew: the same id, the same arguments, another image of the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use super::barrier::Quiet;

/// How this process was called, as far as it takes to call it once more.
#[derive(Debug, Clone, Default)]
pub struct OwnCall {
    executable: PathBuf,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
}

impl OwnCall {
    /// Notes it. To be called before the title of the process is set, which overwrites the arguments, and before the
    /// working directory changes, from which they may count.
    #[must_use]
    pub fn note() -> Self {
        Self {
            executable: std::env::current_exe().unwrap_or_default(),
            arguments: std::env::args_os().collect(),
            directory: std::env::current_dir().ok(),
        }
    }

    /// Has the program called with these arguments in the place of those that `change` is given.
    pub fn change_arguments(&mut self, change: impl FnOnce(&[OsString]) -> Vec<OsString>) {
        if let Some((name, arguments)) = self.arguments.split_first() {
            let arguments = change(arguments);
            self.arguments = std::iter::once(name.clone()).chain(arguments).collect();
        }
    }

    /// The program's file, where it was at the start.
    #[must_use]
    pub fn executable(&self) -> &PathBuf {
        &self.executable
    }

    /// Whether what is there now may be executed.
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        access(&self.executable, AccessFlags::X_OK).is_ok()
    }

    /// Closes every descriptor but the first three, waits, and calls the program again in the place of this one. Returns
    /// only when that is not possible, and then nothing can be done any more but to end.
    pub fn repeat(&self, _quiet: &Quiet<'_>, delay: Duration) -> io::Error {
        close_descriptors();
        std::thread::sleep(delay);
        let mut command = Command::new(&self.executable);
        if let Some((name, arguments)) = self.arguments.split_first() {
            command.arg0(name).args(arguments);
        }
        let here = std::env::current_dir();
        if let Some(directory) = &self.directory {
            // A directory that is gone is no loss unless a path counts from it: then the new process says so.
            let _ = std::env::set_current_dir(directory);
        }
        let error = command.exec();
        if let Ok(here) = here {
            // The log may be here.
            let _ = std::env::set_current_dir(here);
        }
        error
    }
}

/// Clients and locks of files do not have to wait for the delay.
fn close_descriptors() {
    // SAFETY: the owners of the descriptors are neither used nor dropped: helper threads hold still, and the process
    // becomes another one or ends. Needs Linux 5.9; on older kernels they are closed by the call of the program.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}
