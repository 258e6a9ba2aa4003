//! The wire protocol: request parser, reply writer, every error text.
//!
//! What parses does not know what executes: [`Parser`] turns the bytes of a [`QueryBuffer`] into argument ranges,
//! [`Reply`] collects the bytes to send, [`CommandError`] and [`ProtocolError`] hold the texts. Nothing here knows a
//! command or a connection.
#![deny(clippy::indexing_slicing)]

mod errors;
mod parser;
mod query_buffer;
mod reply;

pub use errors::{CommandError, ProtocolError, ServerTitle};
pub use parser::{ArgRange, BIG_ARGUMENT, INLINE_MAX, Limits, Parser, Progress};
pub use query_buffer::QueryBuffer;
pub use reply::{DeferredLength, Protocol, Reply};
