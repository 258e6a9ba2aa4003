//! What replication is made of: identifiers of histories, the stream that replicas are fed with, and what is known of
//! each replica.
//!
//! Nothing here reads a clock, the configuration or a socket. The state of the process (who is primary, who is fed) is
//! `server::replication`'s; the socket of a replica is its connection's.
#![deny(clippy::indexing_slicing)]

mod id;
mod primary;
mod replica;
mod stream;

pub use id::ReplicationId;
pub use primary::{CachedPrimary, PrimaryStream};
pub use replica::{Capabilities, Replica, ReplicaState, SnapshotFile, SnapshotFilter};
pub use stream::{Cursor, Stream};
