//! The append-only file on disk: its parts and their list, reading them back, writing a base.
//!
//! A directory holds a manifest, a base (the data set at one instant) and increments (the commands since). Nothing here
//! knows a server: loading yields requests, and what writes is told what to write.

mod base;
mod commands;
mod directory;
mod load;
mod manifest;
mod requests;
#[cfg(test)]
mod tests;

pub use base::{finished_base, unfinished_base, write_base};
pub use commands::{CommandOptions, annotation, write_commands};
pub use directory::{Directory, ManifestFailure};
pub use load::{AofLoadError, AofLoader, Step};
pub use manifest::{FileKind, ListedFile, Manifest, ManifestError};
pub use requests::{Record, RecordError, Requests};
