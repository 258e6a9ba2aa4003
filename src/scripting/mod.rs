//! Scripts: their language, its libraries, and what they may ask of the server, which is known here as a trait alone.

pub mod host;
pub mod library;
pub mod lua;
mod replies;

/// The names of a script's flags, in the order in which they are listed.
pub const FLAG_NAMES: [&str; 5] =
    ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];
